"""Entries of earlier versions, read as those of today. What is stored and hashed is never written again.

Each entry says which version (`v`) of its kind's form its body has. When the form of a kind changes, a step is added
here that turns a body of the version before into one of the next; new entries get the next version by themselves, and
every reader sees old ones in today's form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from roadworthy.core.errors import LedgerError

Body: TypeAlias = Mapping[str, Any]
Step: TypeAlias = Callable[[Body], Body]
"""Turns a body into one of the next version of its kind. Private fields that cannot be read are missing from it."""

FIRST = 1
"""The version of every kind's first form."""

STEPS: dict[tuple[str, int], Step] = {}
"""By kind, and the version that is read: how it becomes the next one. A kind's steps begin at 1 and leave no gap."""


def version_of(kind: str) -> int:
    """The version in which entries of a kind are written today."""
    version = FIRST
    while (kind, version) in STEPS:
        version += 1
    return version


def upcast(kind: str, version: int, body: Body) -> Body:
    """A body as its kind is written today. Raises LedgerError for one that only a newer Roadworthy understands."""
    found = version
    while (step := STEPS.get((kind, found))) is not None:
        body = step(body)
        found += 1
    if found != FIRST and (found != version_of(kind) or version < FIRST):
        raise LedgerError(
            f"an entry of kind {kind!r} has version {version}, and this Roadworthy knows {version_of(kind)}: "
            "upgrade, with `pip install --upgrade roadworthy`"
        )
    return body
