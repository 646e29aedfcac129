"""The entries of one trial: kept in memory while it runs, written as one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Draft, Entry, Guard
from roadworthy.ledger.guards import Tally, checked
from roadworthy.ledger.rows import CONTROLS, Appended, Place, Row, draft_of, entry_of, pack, row_of

Submit = Callable[[Sequence[Row]], Future[Sequence[Entry]]]
"""Hands rows to a ledger; the future is done when they are durable."""


class Batch:
    """Looks like a ledger to the gate, and becomes durable once, at its end.

    Places in it are provisional: they count from 1, and `commit` gives the final ones. A batch without a ledger is for
    worker processes: `pack` gives its bytes for `Ledger.submit` in the process that writes. Guards are judged within
    the batch, against nothing but the batch: a trial spends nobody else's budget, and two trials never collide.
    """

    __slots__ = ("__weakref__", "_controls", "_lock", "_rows", "_searched", "_submit", "_submitted", "_tally")

    id = "test"
    """No ledger has this id, so nothing that was signed for a trial counts anywhere else."""

    def __init__(self, submit: Submit | None = None) -> None:
        self._submit = submit
        self._submitted = False
        self._rows: list[Row] = []
        self._controls: list[int] = []
        self._searched = 0
        self._tally: Tally | None = None
        self._lock = threading.Lock()

    def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
        """Add drafts, all or none.

        Raises Conflict where a guard does not hold, LedgerError for what no ledger can keep and after `submit`.
        """
        rows = [row_of(draft) for draft in drafts]
        checked(guards)
        with self._lock:
            if self._submitted:
                raise LedgerError("this batch was committed, and nothing can be added to it: begin another one")
            if guards:
                self._tally = self._tally or Tally()
                conflict = self._tally.admit(guards)
                if conflict is not None:
                    raise conflict
            first = len(self._rows)
            self._rows += rows
        return Appended(len(rows), lambda i: entry_of(rows[i], self._place(first, i)))

    def _place(self, first: int, index: int) -> Place:
        at = first + index
        run = self._rows[at][2]
        return at + 1, 0 if run is None else sum(row[2] == run for row in self._rows[: at + 1])

    async def aappend(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
        """As `append`."""
        return self.append(drafts, guards)

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
        seen: dict[str, int] = {}
        for seq, row in enumerate(list(self._rows), start=1):
            run_seq = 0
            if row[2] is not None:
                run_seq = seen[row[2]] = seen.get(row[2], 0) + 1
            if seq <= after or (run is not None and row[2] != run):
                continue
            if kind in (None, row[3]) and world in (None, row[1]):
                if found == limit:
                    return
                found += 1
                yield entry_of(row, (seq, run_seq))

    def controls(self, after: int = 0) -> Sequence[Entry]:
        """Stops, level changes and signatures of this batch with seq > after."""
        with self._lock:
            fresh = range(self._searched, len(self._rows))
            self._controls += [at for at in fresh if self._rows[at][3] in CONTROLS]
            self._searched = fresh.stop
        return tuple(entry_of(self._rows[at], self._place(at, 0)) for at in self._controls if at >= after)

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
