"""Time as a thing that is passed in, so that tests and trials need not wait."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the gate, the worlds and the ledger ask for the time."""

    def now(self) -> datetime:
        """The time of day, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, for durations."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class VirtualClock:
    """A clock that stands still until it is moved: a day passes in no time."""

    __slots__ = ("_elapsed", "_now", "_start")

    def __init__(self, start: datetime = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = 0.0
        self._now = start

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Move the clock on. `seconds` is at least 0."""
        if seconds < 0:
            raise ValueError(f"a clock cannot go back: {seconds} s")
        self._elapsed += seconds
        self._now = self._start + timedelta(seconds=self._elapsed)
