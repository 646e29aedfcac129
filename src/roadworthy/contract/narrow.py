"""Whether a contract only narrows another one: then whoever has signed the other one has signed enough."""

from __future__ import annotations

from roadworthy.contract.diff import WIDENING, differences
from roadworthy.contract.model import Contract


def only_narrows(new: Contract, old: Contract) -> bool:
    """Whether `new` allows no action that `old`, in the same place of the same run, would not have allowed.

    The answer is yes only where every difference is known to take something away, or to change nothing.
    """
    return all(change.kind not in WIDENING for change in differences(old, new))
