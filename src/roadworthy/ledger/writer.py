"""Who writes: a caller that is alone does so itself, and those who come meanwhile share the next sync.

One thread a process writes for all who share: to wake it and be woken by it costs about as much as a sync of a fast
disk, so whoever finds nobody else there goes without.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol, TypeVar

from roadworthy.core.errors import Conflict, LedgerError
from roadworthy.core.types import Guard
from roadworthy.ledger.engine import Append, Busy, Store
from roadworthy.ledger.heads import Bundle, Group

GROUP_ROWS: Final = 2_000
"""Rows after which a group is committed though more are waiting."""

GROUP_BYTES: Final = 16 * 2**20
"""Bytes after which a group is committed though more are waiting."""

GATHER_S: Final = 0.002
"""Seconds at most that a group waits for those who shared the last one, and are likely to come again."""

_LOOKS: Final = 20
"""How often in that time it is looked whether they have come."""

_log = logging.getLogger("roadworthy.ledger")
T = TypeVar("T")
_Told = Callable[[list[Group]], Any]


class _Waiting(Protocol):
    """Somebody who handed entries over."""

    append: Append

    def begins(self) -> bool:
        """Whether it is still wanted."""
        ...

    def written(self, groups: list[Group]) -> None:
        """It is durable."""
        ...

    def failed(self, failure: BaseException) -> None:
        """It is not."""
        ...


class _Thread:
    """A thread that waits: a bare lock is by far the cheapest way."""

    __slots__ = ("_done", "_failure", "_groups", "append")

    def __init__(self, append: Append) -> None:
        self.append = append
        self._groups: list[Group] = []
        self._failure: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def begins(self) -> bool:
        return True

    def written(self, groups: list[Group]) -> None:
        self._groups = groups
        self._done.release()

    def failed(self, failure: BaseException) -> None:
        self._failure = failure
        self._done.release()

    def wait(self) -> list[Group]:
        self._done.acquire()
        if self._failure is not None:
            raise self._failure
        return self._groups


class _Task:
    """A task of an event loop. The loops of one commit are woken once, whoever waits in them."""

    __slots__ = ("append", "failure", "future", "groups", "loop")

    def __init__(self, append: Append) -> None:
        self.append = append
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[list[Group]] = self.loop.create_future()
        self.groups: list[Group] = []
        self.failure: BaseException | None = None

    def begins(self) -> bool:
        return True

    def written(self, groups: list[Group]) -> None:
        self.groups = groups

    def failed(self, failure: BaseException) -> None:
        self.failure = failure

    def settle(self) -> None:
        """In its own loop. Whoever was cancelled meanwhile is told nothing."""
        if self.future.done():
            return
        if self.failure is None:
            self.future.set_result(self.groups)
        else:
            self.future.set_exception(self.failure)


class _Promise:
    """Whoever asked for a future, which can be cancelled until the entries are being written."""

    __slots__ = ("_told", "append", "future")

    def __init__(self, append: Append, told: _Told) -> None:
        self.append = append
        self.future: Future[Any] = Future()
        self._told = told

    def begins(self) -> bool:
        return self.future.set_running_or_notify_cancel()

    def written(self, groups: list[Group]) -> None:
        self.future.set_result(self._told(groups))

    def failed(self, failure: BaseException) -> None:
        self.future.set_exception(failure)


class Writer:
    """Takes bundles of entries from any thread and writes them in the order in which they came.

    After a failure that will not go away by itself it takes nothing more: what happened on the disk is not known well
    enough to build on it, so the ledger must be opened again. The store is the writer's to close, when all is written.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._door = threading.Lock()
        """Who hands something over while it is closed is refused; so nothing comes after the end."""
        self._writing = threading.Lock()
        """Held by whoever writes."""
        self._pending = 0
        """How many were handed over and are not written yet: nobody goes before them."""
        self._closing = False
        self._broken: str | None = None
        self.thread = threading.Thread(target=self._work, name="roadworthy-ledger", daemon=True)
        self.thread.start()

    def write(self, bundles: Sequence[Bundle], guards: Sequence[Guard]) -> list[Group]:
        """Write entries that belong together, and return their groups when they are durable.

        Raises Conflict where a guard does not hold; those who share the transaction notice nothing.
        """
        waiting = _Thread((bundles, guards))
        if not (self._store.direct and self._written_here(waiting)):
            self._hand_over(waiting)
        return waiting.wait()

    def _written_here(self, waiting: _Thread) -> bool:
        """Write in this thread, unless others write or wait."""
        if not self._alone():
            return False
        try:
            self._commit([waiting])
        finally:
            self._writing.release()
        return True

    def _alone(self) -> bool:
        """Whether nobody else writes or waits; then it is the caller who writes, until it gives the lock back."""
        with self._door:
            self._refuse()
            return not self._pending and self._writing.acquire(blocking=False)

    async def awrite(self, bundles: Sequence[Bundle], guards: Sequence[Guard]) -> list[Group]:
        """As `write`, without blocking the event loop. Once called, it writes, even when the caller is cancelled."""
        if self._store.direct and not self._store.waits:  # memory is written sooner than a thread is woken
            here = _Thread((bundles, guards))
            if self._written_here(here):
                return here.wait()
        waiting = _Task((bundles, guards))
        self._hand_over(waiting)
        return await waiting.future

    def submit(self, bundles: Sequence[Bundle], told: Callable[[list[Group]], T]) -> Future[T]:
        """As `write`, later. The future is done when the entries are durable, and has what `told` makes of them."""
        waiting = _Promise((bundles, ()), told)
        self._hand_over(waiting)
        return waiting.future

    def _hand_over(self, waiting: _Waiting) -> None:
        with self._door:
            self._refuse()
            self._pending += 1
            self._waiting.put(waiting)

    def _refuse(self) -> None:
        if self._broken is not None:
            raise LedgerError(f"nothing is written to {self._store.name} since this happened: {self._broken}")
        if self._closing:
            raise LedgerError(f"{self._store.name} was closed: open it again to append to it")

    def close(self) -> None:
        """Write what was handed over, then end the thread. May be called twice, and by the thread itself."""
        with self._door:
            if not self._closing:
                self._closing = True
                self._waiting.put(None)
        if threading.current_thread() is not self.thread:
            self.thread.join()

    def _work(self) -> None:
        last = 1
        try:
            while True:
                group, more = self._next_group(last)
                if group:
                    with self._writing:
                        self._commit(group)
                    last = len(group)
                if not more:
                    return
        finally:
            with self._writing:
                self._store.close()

    def _next_group(self, last: int) -> tuple[list[_Waiting], bool]:
        """Who shares the next commit, and whether anybody can come after them. `last` shared the one before."""
        group: list[_Waiting] = []
        rows = size = 0
        first = self._waiting.get()
        if last > 2:
            self._gather(last)
        while first is not None:
            if not first.begins():
                with self._door:
                    self._pending -= 1
            else:
                group.append(first)
                for bundle in first.append[0]:
                    rows += len(bundle.lines)
                    size += bundle.size
            if rows >= GROUP_ROWS or size >= GROUP_BYTES:
                return group, True
            try:
                first = self._waiting.get_nowait()
            except Empty:
                return group, True
        return group, False

    def _gather(self, last: int) -> None:
        # Who has just been told comes again a moment later. Going off with the first of them would make small groups,
        # each with a sync of its own, as long as the others need to get ready: half of them are worth waiting for.
        until = time.monotonic() + GATHER_S
        while self._waiting.qsize() < last // 2 and time.monotonic() < until and not self._closing:
            time.sleep(GATHER_S / _LOOKS)

    def _commit(self, group: Sequence[_Waiting]) -> None:
        try:
            results = self._store.write([waiting.append for waiting in group])
        except (KeyboardInterrupt, SystemExit) as wish:
            if threading.current_thread() is self.thread:
                self._fail(list(group), wish)
                return
            raise  # of the caller that writes here itself: the store has rolled back, and goes on with the next
        except BaseException as failure:  # whatever it was, nobody may wait for ever and nothing may be acknowledged
            self._fail(list(group), failure)
            return
        self._took(group)
        for waiting, result in zip(group, results, strict=True):
            if isinstance(result, Conflict):
                waiting.failed(result)
            else:
                waiting.written(result)
        _wake(group)

    def _took(self, group: Sequence[_Waiting]) -> None:
        if threading.current_thread() is self.thread:
            with self._door:
                self._pending -= len(group)

    def _fail(self, refused: list[_Waiting], failure: BaseException) -> None:
        known = failure if isinstance(failure, LedgerError) else LedgerError(f"{type(failure).__name__}: {failure}")
        self._took(refused)
        if not isinstance(failure, Busy):
            _log.error("the ledger %s takes no more entries: %s", self._store.name, known.text)
            with self._door:
                self._broken = known.text
                while not self._waiting.empty():
                    waiting = self._waiting.get_nowait()
                    if waiting is not None and waiting.begins():
                        refused.append(waiting)
                if self._closing:
                    self._waiting.put(None)
        for waiting in refused:
            # Each caller gets an error of its own: raising one object in several threads would mix their tracebacks.
            own = type(known)(known.text)
            own.__cause__ = failure
            waiting.failed(own)
        _wake(refused)


def _wake(group: Sequence[_Waiting]) -> None:
    """Tell the tasks among them, each in its loop."""
    tasks: dict[asyncio.AbstractEventLoop, list[_Task]] = {}
    for waiting in group:
        if isinstance(waiting, _Task):
            tasks.setdefault(waiting.loop, []).append(waiting)
    for loop, theirs in tasks.items():
        try:
            loop.call_soon_threadsafe(_settle, theirs)
        except RuntimeError:
            # The loop was closed, so nobody waits in it any more. What was written stays written.
            _log.debug("an event loop was closed while its entries were written")


def _settle(tasks: Sequence[_Task]) -> None:
    for task in tasks:
        task.settle()
