"""Which trials are kept whole: enough to see what went wrong and what was stopped, however many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

KEPT = 300
"""Trials that did not pass, in all."""
KEPT_PER_SCENARIO = 6
KEPT_PER_REASON = 2


class Keeper:
    """Decides trial by trial, in the order in which they come.

    A worker process sees some of the trials in the same order, so it keeps at least those that its parent will keep.
    """

    __slots__ = ("_kept", "_shown")

    def __init__(self) -> None:
        self._kept: Counter[object] = Counter()
        self._shown: set[tuple[str, str]] = set()

    def wants(
        self, scenario: str, *, passed: bool, why: tuple[str, ...], stops: Sequence[tuple[str, str, str, int]]
    ) -> bool:
        """Whether to keep this one whole: it failed in a way not yet seen often, or is the first that shows a stop."""
        return self._shows(stops) if passed else self._fails(scenario, why)

    def _shows(self, stops: Sequence[tuple[str, str, str, int]]) -> bool:
        if not stops:
            return False
        new = {(rule, ruling) for rule, ruling, _, _ in stops} - self._shown
        self._shown |= new
        return bool(new)

    def _fails(self, scenario: str, why: tuple[str, ...]) -> bool:
        kept, reason = self._kept, (scenario, why)
        if kept[KEPT] >= KEPT or kept[scenario] >= KEPT_PER_SCENARIO or kept[reason] >= KEPT_PER_REASON:
            return False
        kept.update((KEPT, scenario, reason))
        return True
