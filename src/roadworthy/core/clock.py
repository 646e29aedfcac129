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

    def sleep(self, seconds: float) -> None:
        """Wait. `seconds` is at least 0."""
        ...

    async def asleep(self, seconds: float) -> None:
        """Wait, and let others work meanwhile. `seconds` is at least 0."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        import asyncio  # who only reads the time need not load it

        await asyncio.sleep(seconds)


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

    def sleep(self, seconds: float) -> None:
        """Move the clock on, in no time."""
        self.advance(seconds)

    async def asleep(self, seconds: float) -> None:
        """Move the clock on, in no time; other tasks get their turn."""
        import asyncio

        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """Move the clock on. `seconds` is at least 0."""
        if seconds < 0:
            raise ValueError(f"a clock cannot go back: {seconds} s")
        self._elapsed += seconds
        self._now = self._start + timedelta(seconds=self._elapsed)
