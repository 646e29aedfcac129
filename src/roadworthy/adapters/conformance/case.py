"""The list of what every adapter must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from roadworthy.adapters.conformance.bench import Bench

CASES: list[Case] = []
"""All cases, in the order in which they were written; `suite` imports the files that hold them."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that every adapter must do."""

    name: str
    """What it must do, in words joined by underscores."""
    group: str
    """What it is about."""
    run: Callable[[Bench], None]
    """Raises AssertionError where an adapter does not."""
    bound: bool = False
    """It is asked of adapters only that find the run by themselves."""


def case(group: str, *, bound: bool = False) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    """Put a function on the list; its name says what must be."""

    def listed(function: Callable[[Bench], None]) -> Callable[[Bench], None]:
        CASES.append(Case(function.__name__, group, function, bound))
        return function

    return listed
