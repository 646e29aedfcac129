"""The entries of one trial: kept in memory while it runs, written as one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Draft, Entry
from roadworthy.ledger.rows import CONTROLS, Appended, Place, Row, draft_of, entry_of, pack, row_of

Submit = Callable[[Sequence[Row]], Future[Sequence[Entry]]]
"""Hands rows to a ledger; the future is done when they are durable."""


class Batch:
    """Looks like a ledger to the gate, and becomes durable once, at its end.

    Places in it are provisional: they count from 1, and `commit` gives the final ones. A batch without a ledger is for
    worker processes: `pack` gives its bytes for `Ledger.submit` in the process that writes.
    """

    __slots__ = ("_lock", "_places", "_rows", "_runs", "_submit", "_submitted")

    def __init__(self, submit: Submit | None = None) -> None:
        self._submit = submit
        self._submitted = False
        self._rows: list[Row] = []
        self._places: list[Place] = []
        self._runs: dict[str, int] = {}
        self._lock = threading.Lock()

    def append(self, drafts: Sequence[Draft]) -> Sequence[Entry]:
        """Add drafts, all or none. Raises LedgerError for what no ledger can keep, and after `submit` or `commit`."""
        rows = [row_of(draft) for draft in drafts]
        with self._lock:
            if self._submitted:
                raise LedgerError("this batch was committed, and nothing can be added to it: begin another one")
            places = self._places
            first = len(places)
            seen = self._runs
            for row in rows:
                run = row[2]
                run_seq = 0
                if run is not None:
                    run_seq = seen[run] = seen.get(run, 0) + 1
                places.append((len(places) + 1, run_seq))
            self._rows += rows
            return Appended(rows, places[first:])

    async def aappend(self, drafts: Sequence[Draft]) -> Sequence[Entry]:
        """As `append`."""
        return self.append(drafts)

    def entries(
        self,
        *,
        run: str | None = None,
        kind: str | None = None,
        world: str | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> Iterator[Entry]:
        """The batch's own entries, as they would be read from a ledger."""
        found = 0
        for row, place in list(zip(self._rows[after:], self._places[after:], strict=False)):
            if limit is not None and found >= limit:
                return
            if (run is None or row[2] == run) and (kind is None or row[3] == kind) and world in (None, row[1]):
                found += 1
                yield entry_of(row, place)

    def controls(self, after: int = 0) -> Sequence[Entry]:
        """Stops and level changes of this batch with seq > after."""
        if len(self._rows) <= after:
            return ()
        rows = zip(self._rows[after:], self._places[after:], strict=False)
        return tuple(entry_of(row, place) for row, place in rows if row[3] in CONTROLS)

    @property
    def drafts(self) -> tuple[Draft, ...]:
        """All drafts so far, as a ledger would keep them."""
        return tuple(draft_of(row) for row in self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def pack(self) -> bytes:
        """The batch as bytes for `Ledger.submit`, so that it crosses to another process without pickle."""
        return pack(self._rows)

    def submit(self) -> Future[Sequence[Entry]]:
        """Hand all entries to the ledger as one transaction; the future is done when they are durable.

        Raises LedgerError for a batch without a ledger, and for one that was handed over before.
        """
        with self._lock:
            if self._submit is None:
                raise LedgerError("this batch has no ledger: send pack() to Ledger.submit in the process that has one")
            if self._submitted:
                raise LedgerError("this batch was committed before: begin another one")
            self._submitted = True
        return self._submit(self._rows)

    def commit(self) -> Sequence[Entry]:
        """As `submit`, and wait until all entries are durable. Raises LedgerError."""
        return self.submit().result()
