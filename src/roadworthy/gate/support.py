"""What a contract may say that this gate cannot keep yet. Such a contract is refused, never half obeyed."""

from __future__ import annotations

from collections.abc import Iterator

from roadworthy.contract.model import Contract
from roadworthy.core.errors import Finding

_TEXT = "{what} has no effect in this version of the gate; take it out, or the contract would promise what nobody keeps"


def _finding(what: str, *path: str | int) -> Finding:
    return Finding(text=_TEXT.format(what=what), path=path, code="no_effect")


def without_effect(contract: Contract) -> Iterator[Finding]:
    """Every construct of a contract that the gate would have to ignore."""
    if contract.hosted_tools != "refuse":
        yield _finding("accepting `hosted_tools`", "hosted_tools")
