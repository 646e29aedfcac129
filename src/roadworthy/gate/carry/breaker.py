"""What keeps a tool that is in trouble from being called on and on: a breaker, and a bound on the calls at a time.

Both know nothing of tools. The breaker is told the time; the slots are one queue for threads and for tasks alike.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSpec:
    """When a tool is left alone."""

    failures: int
    """So many failures …"""
    within_s: float
    """… in so many seconds open it …"""
    open_for_s: float
    """… for so long; then one call is let through to see how things are."""


class Breaker:
    """Closed: calls pass. Open: none passes. Half open: one passes, and its end decides. Thread-safe.

    Every `enter` that gave None is followed by one `leave`, which says when the call began.
    """

    __slots__ = ("_failed", "_lock", "_opened", "_probe", "spec")

    def __init__(self, spec: BreakerSpec) -> None:
        self.spec = spec
        self._lock = threading.Lock()
        self._failed: deque[float] = deque(maxlen=spec.failures)
        """When the latest failures were."""
        self._opened: float | None = None
        self._probe = False
        """One call is under way to see whether the tool is well again."""

    @property
    def open(self) -> bool:
        """Whether it has opened and not closed since; a single call may be let through all the same."""
        return self._opened is not None

    def resting_s(self, now: float) -> float | None:
        """How long a call would have to wait; None when it would be let through. Asking changes nothing."""
        if self._opened is None:
            return None
        left = self._opened + self.spec.open_for_s - now
        if left > 0:
            return left
        return 0.0 if self._probe else None

    def enter(self, now: float) -> float | None:
        """Let a call through (None), or say how many seconds the tool is left alone."""
        with self._lock:
            resting = self.resting_s(now)
            if resting is None and self._opened is not None:
                self._probe = True
            return resting

    def leave(self, now: float, ended: Literal["well", "badly", "unknown"], *, began: float) -> None:
        """A call that was let through has ended. `unknown` says nothing about the tool: a mistake of ours, say."""
        with self._lock:
            if self._opened is not None:
                if began < self._opened:
                    return  # it was under way when the breaker opened, and is no news
                self._probe = False
                if ended == "well":
                    self._opened = None
                    self._failed.clear()
                elif ended == "badly":
                    self._opened = now
                return
            if ended == "badly":
                self._failed.append(now)
                if len(self._failed) == self.spec.failures and now - self._failed[0] <= self.spec.within_s:
                    self._opened = now


class Slots:
    """So many calls at a time, first come first served, whether they come from threads or from tasks. Thread-safe.

    Whoever waits hands in a function that is called once, from any thread, when a slot is theirs.
    """

    __slots__ = ("_free", "_lock", "_waiting", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._free = size
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def free(self) -> int:
        """How many calls could begin now."""
        return self._free

    def take(self, yours: Callable[[], None]) -> bool:
        """Take a slot at once (True), or be called when there is one."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return True
            self._waiting.append(yours)
            return False

    def give_up(self, yours: Callable[[], None]) -> bool:
        """Wait no longer; False when the slot was handed over meanwhile, and must be given back."""
        with self._lock:
            try:
                self._waiting.remove(yours)
            except ValueError:
                return False
            return True

    def give_back(self) -> None:
        """The call has ended; the slot goes to whoever waits longest."""
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            yours = self._waiting.popleft()
        yours()
