"""One thread a process that writes: callers that come while it waits for the disk share the next sync."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias, TypeVar

from roadworthy.core.errors import Conflict, LedgerError
from roadworthy.core.types import Guard
from roadworthy.ledger.engine import Append, Busy, Store
from roadworthy.ledger.heads import Bundle, Group

GROUP_ROWS = 2_000
"""Rows after which a group is committed though more are waiting."""

GROUP_BYTES = 16 * 2**20
"""Bytes after which a group is committed though more are waiting."""

_log = logging.getLogger("roadworthy.ledger")
T = TypeVar("T")
_Wanted: TypeAlias = tuple[Append, Future[Any], Callable[[list[Group]], Any]]


class Writer:
    """Takes bundles of entries from any thread and writes them in the order in which they came.

    After a failure that will not go away by itself it takes nothing more: what happened on the disk is not known well
    enough to build on it, so the ledger must be opened again. The store is the writer's to close, when all is written.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[_Wanted] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._broken: str | None = None
        self.thread = threading.Thread(target=self._work, name="roadworthy-ledger", daemon=True)
        self.thread.start()

    def submit(self, bundles: Sequence[Bundle], guards: Sequence[Guard], told: Callable[[list[Group]], T]) -> Future[T]:
        """Hand over entries that belong together. The future is done when they are durable, and has what `told` makes
        of their groups.

        Where a guard does not hold it ends with a Conflict, and those who share the transaction notice nothing.
        """
        done: Future[T] = Future()
        with self._wake:
            if self._broken is not None:
                raise LedgerError(f"nothing is written to {self._store.name} since this happened: {self._broken}")
            if self._closing:
                raise LedgerError(f"{self._store.name} was closed: open it again to append to it")
            self._waiting.append(((bundles, guards), done, told))
            self._wake.notify()
        return done

    def close(self) -> None:
        """Write what was handed over, then end the thread. May be called twice, and by the thread itself."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if threading.current_thread() is not self.thread:
            self.thread.join()

    def _next_group(self) -> list[_Wanted]:
        with self._wake:
            while not self._waiting and not self._closing:
                self._wake.wait()
            group: list[_Wanted] = []
            rows = size = 0
            while self._waiting and rows < GROUP_ROWS and size < GROUP_BYTES:
                wanted = self._waiting.popleft()
                if wanted[1].set_running_or_notify_cancel():
                    group.append(wanted)
                    for bundle in wanted[0][0]:
                        rows += len(bundle.lines)
                        size += bundle.size
            return group

    def _work(self) -> None:
        try:
            while True:
                group = self._next_group()
                if group:
                    self._commit(group)
                    continue
                with self._wake:
                    if self._closing and not self._waiting:
                        return
        finally:
            self._store.close()

    def _commit(self, group: Sequence[_Wanted]) -> None:
        try:
            written = self._store.write([append for append, _, _ in group])
        except BaseException as failure:  # whatever it was, nobody may wait for ever and nothing may be acknowledged
            self._fail(group, failure)
            return
        for (_, done, told), groups in zip(group, written, strict=True):
            if isinstance(groups, Conflict):
                done.set_exception(groups)
            else:
                done.set_result(told(groups))

    def _fail(self, group: Sequence[_Wanted], failure: BaseException) -> None:
        refused = [done for _, done, _ in group]
        known = failure if isinstance(failure, LedgerError) else LedgerError(f"{type(failure).__name__}: {failure}")
        if not isinstance(failure, Busy):
            _log.error("the ledger %s takes no more entries: %s", self._store.name, known.text)
            with self._wake:
                self._broken = known.text
                refused += [done for _, done, _ in self._waiting if done.set_running_or_notify_cancel()]
                self._waiting.clear()
        for done in refused:
            # Each caller gets an error of its own: raising one object in several threads would mix their tracebacks.
            own = type(known)(known.text)
            own.__cause__ = failure
            done.set_exception(own)
