"""The ledger: what every run did, in order, on disk before anybody is told that it was written."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, cast

from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Draft, Entry, Guard, Kind, Realm
from roadworthy.ledger.batch import Batch
from roadworthy.ledger.engine import Store
from roadworthy.ledger.guards import checked
from roadworthy.ledger.rows import Row, RunSummary, entry_of, row_of, unpack
from roadworthy.ledger.writer import Writer

_PAGE = 500
_MEMORY = (":memory:", "sqlite://", "sqlite:///:memory:")


class Appender(Protocol):
    """What the gate writes to: a ledger, or the batch of a trial."""

    @property
    def id(self) -> str:
        """What tells it from all other ledgers, for as long as it exists: signed answers are bound to it."""
        ...

    def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
        """Write all drafts or none, and return when they are as durable as this appender makes them.

        All guards must hold as the drafts are written, in the same transaction. Raises Conflict where one does not:
        then nothing was written, nothing reserved and nothing claimed.
        """
        ...

    async def aappend(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
        """As `append`, without blocking the event loop."""
        ...

    def entries(
        self,
        *,
        run: str | None = None,
        kind: Kind | None = None,
        world: Realm | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> Iterator[Entry]:
        """Entries in order, those with seq > after."""
        ...

    def controls(self, after: int = 0) -> Sequence[Entry]:
        """Stops, level changes and signatures with seq > after."""
        ...


class Ledger:
    """A ledger that is open, shared by all threads of this process.

    Other processes may read it and append to it at the same time. Raises LedgerError for whatever keeps entries from
    being written or read; after a failure of the disk nothing more is written until the ledger is opened again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pid = os.getpid()
        self._writer = None if store.read_only else Writer(store)
        # At the end of the process, too: what was handed over is written, and the file is left whole.
        self._end = weakref.finalize(self, _shut, store, self._writer, self._pid)

    @classmethod
    def open(cls, url: str | Path = ":memory:", *, read_only: bool = False) -> Self:
        """Open a ledger, or make one.

        `url`: a path, `sqlite:///PATH`, or `:memory:` for one that is gone when it is closed. `read_only` neither
        creates a ledger nor appends to one, and reads while somebody else is writing.
        """
        path = _path_of(url)
        if path is None and read_only:
            raise LedgerError("a ledger in memory is empty when it is opened, so there is nothing to read: give a path")
        # SQLAlchemy takes its time to import, and worker processes that fill batches never need it.
        engine = import_module("roadworthy.ledger.sqlite")
        return cls(cast("Store", engine.SqliteStore(path, read_only=read_only)))

    @property
    def name(self) -> str:
        """Where it lies."""
        return self._store.name

    @property
    def id(self) -> str:
        """What tells this ledger from all others, drawn when it was made. A copy of its file has the same.

        Raises LedgerError where it has none: one of an earlier version gets it when it is next opened to append.
        """
        return self._store.id

    # -- writing --------------------------------------------------------------------------------------------------

    def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
        """Write all drafts or none, and return when they are on disk.

        Raises Conflict where a guard does not hold: then nothing was written, nothing reserved and nothing claimed.
        Guards see what all processes have committed, so two of them never pass a limit together.
        """
        return self._submit([row_of(draft) for draft in drafts], guards).result()

    async def aappend(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
        """As `append`, without blocking the event loop. Once called, it writes, even when the caller is cancelled."""
        return await asyncio.shield(asyncio.wrap_future(self._submit([row_of(draft) for draft in drafts], guards)))

    def batch(self) -> Batch:
        """A batch that will be written to this ledger as one transaction."""
        self._here()
        return Batch(self._submit)

    def submit(self, packed: bytes) -> Future[Sequence[Entry]]:
        """Write a batch that another process has packed, as one transaction; the future is done when it is on disk."""
        return self._submit(unpack(packed))

    def _submit(self, rows: Sequence[Row], guards: Sequence[Guard] = ()) -> Future[Sequence[Entry]]:
        self._here()
        if self._writer is None:
            raise LedgerError(f"the ledger {self.name} was opened to read: open it without read_only to append to it")
        return self._writer.submit(rows, tuple(checked(guards)) if guards else ())

    # -- reading --------------------------------------------------------------------------------------------------

    def entries(
        self,
        *,
        run: str | None = None,
        kind: Kind | None = None,
        world: Realm | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> Iterator[Entry]:
        """Entries with seq > after, in order; at most `limit`. Sees what is committed while it reads."""
        self._here()
        return self._pages(run=run, kind=kind, world=world, after=after, limit=limit)

    def _pages(
        self, *, run: str | None, kind: str | None, world: str | None, after: int, limit: int | None
    ) -> Iterator[Entry]:
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            page = self._store.read(run=run, kind=kind, world=world, after=after, limit=size)
            for row, place in page:
                yield entry_of(row, place)
            if len(page) < size:
                return
            after = page[-1][1][0]
            left = None if left is None else left - size

    def runs(self, *, world: Realm | None = None, limit: int | None = None) -> Iterator[RunSummary]:
        """A line about each run, the latest active first."""
        self._here()
        return iter(self._store.runs(world=world, limit=limit))

    def controls(self, after: int = 0) -> Sequence[Entry]:
        """Stops, level changes and signatures with seq > after, whoever wrote them.

        Takes microseconds where there are none.
        """
        self._here()
        return tuple(entry_of(row, place) for row, place in self._store.controls(after))

    # -- closing --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write what was handed over, and give the file back. May be called twice."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _here(self) -> None:
        if os.getpid() != self._pid:
            raise LedgerError(
                f"the ledger {self.name} was opened in process {self._pid}, and this is {os.getpid()}, a fork of it: "
                "open it again here, or fill a Batch() and send its pack() to the parent"
            )


def _shut(store: Store, writer: Writer | None, pid: int) -> None:
    if os.getpid() != pid:
        return  # a fork: the parent closes what is the parent's
    if writer is None:
        store.close()
    else:
        writer.close()


def _path_of(url: str | Path) -> Path | None:
    """The file that a URL means; None for memory."""
    if isinstance(url, Path):
        return url.expanduser()
    if url in _MEMORY:
        return None
    if url.startswith("sqlite:///"):
        url = url.removeprefix("sqlite:///")
    elif "://" in url:
        raise LedgerError(
            f"a ledger cannot be kept in {url.split('://')[0]!r}: give a path, sqlite:///PATH or :memory:"
        )
    if not url:
        raise LedgerError("a ledger needs a path: give one, or :memory:")
    return Path(url).expanduser()
