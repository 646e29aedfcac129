"""The ledger: what every run did, in order, on disk before anybody is told that it was written."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, cast

from roadworthy.core.clock import SystemClock
from roadworthy.core.errors import Conflict, LedgerError
from roadworthy.core.types import Draft, Entry, Guard, Kind, Realm
from roadworthy.ledger.address import file_of, look_at, on_server
from roadworthy.ledger.batch import Batch
from roadworthy.ledger.engine import Store
from roadworthy.ledger.guards import checked
from roadworthy.ledger.heads import Bundle, Group, Openers, bundles, entries_of, entry_of_head
from roadworthy.ledger.merkle import leaf_hash
from roadworthy.ledger.rows import CONTROLS, Appended, Row, RunSummary, Span, binding, row_of, unpack
from roadworthy.ledger.signals import signal
from roadworthy.ledger.summary import summary_of
from roadworthy.ledger.tree import Nodes
from roadworthy.ledger.writer import Writer

if TYPE_CHECKING:
    from roadworthy.ledger.sealing import Sealing
    from roadworthy.ledger.vault import Vault

VAULT_ENV: Final = "ROADWORTHY_VAULT"
"""Names the vault where nobody gives one."""

_FIRST_PAGE: Final = 64
_PAGE: Final = 500


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

    def __init__(self, store: Store, vault: Vault | None = None) -> None:
        self._store = store
        self._pid = os.getpid()
        self.vault = vault
        """Where the keys are that this ledger is signed and encrypted with; None: it was opened without."""
        self._openers: Openers | None = vault.opener if vault is not None else None
        self._sealing: Sealing | None = None
        if vault is not None and not store.read_only:
            self._sealing = _sealing(vault, store.id)
        self._own: Vault | None = None
        """The vault, where it was opened for this ledger alone."""
        self._nodes = Nodes(store.tile, self._leaves)
        self._writer = None if store.read_only else Writer(store)
        # At the end of the process, too: what was handed over is written, and the file is left whole.
        self._end = weakref.finalize(self, _shut, store, self._writer, self._pid)

    @classmethod
    def open(
        cls, url: str | Path = ":memory:", *, read_only: bool = False, vault: str | Path | Vault | None = None
    ) -> Self:
        """Open a ledger, or make one.

        `url`: a path, `sqlite:///PATH`, `postgresql://HOST/DATABASE`, or `:memory:` for one that is gone when it is
        closed. `read_only` neither creates a ledger nor appends to one, and reads while somebody else is writing.

        `vault`: where the keys lie, by which checkpoints are signed and what is private is encrypted: a path outside
        of the ledger's folder, `postgresql://HOST/DATABASE`, or a Vault that is open. None: what the environment's
        ROADWORTHY_VAULT names, and where that is not set, no vault: entries are then written in plain and checkpoints
        are not signed. A ledger that was signed once is appended to only with its vault.
        """
        path = file_of(url)
        if read_only and path is None and not on_server(url):
            raise LedgerError("a ledger in memory is empty when it is opened, so there is nothing to read: give a path")
        if path is not None:
            look_at(path, read_only=read_only)
        keys = _vault(vault, url, read_only=read_only)
        try:
            if keys is not None:
                keys.keep_apart(url)
            # SQLAlchemy takes its time to import, and worker processes that fill batches never need it.
            if on_server(url):
                engine = import_module("roadworthy.ledger.postgres")
                store = cast("Store", engine.PostgresStore(str(url), read_only=read_only, vault=keys))
            else:
                engine = import_module("roadworthy.ledger.sqlite")
                store = cast("Store", engine.SqliteStore(path, read_only=read_only, vault=keys))
        except BaseException:
            if keys is not None and keys is not vault:
                keys.close()
            raise
        opened = cls(store, keys)
        if keys is not None and keys is not vault:
            opened._own = keys
        return opened

    @property
    def name(self) -> str:
        """Where it lies."""
        return self._store.name

    @property
    def id(self) -> str:
        """What tells this ledger from all others, drawn when it was made. A copy of it has the same."""
        return self._store.id

    # -- writing --------------------------------------------------------------------------------------------------

    def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
        """Write all drafts or none, and return when they are on disk.

        Raises Conflict where a guard does not hold: then nothing was written, nothing reserved and nothing claimed.
        Guards see what all processes have committed, so two of them never pass a limit together.
        """
        try:
            return self._appended(self._ready().write(*self._given(drafts, guards)))
        except Conflict as conflict:
            raise self._told(conflict, guards) from None

    async def aappend(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
        """As `append`, without blocking the event loop. Once called, it writes, even when the caller is cancelled."""
        try:
            return self._appended(await self._ready().awrite(*self._given(drafts, guards)))
        except Conflict as conflict:
            raise self._told(conflict, guards) from None

    def batch(self) -> Batch:
        """A batch that will be written to this ledger as one transaction."""
        self._here()
        return Batch(self._submit_rows)

    def submit(self, packed: bytes) -> Future[Sequence[Entry]]:
        """Write a batch that another process has packed, as one transaction; the future is done when it is on disk."""
        return self._submit_rows(unpack(packed))

    def _given(self, drafts: Sequence[Draft], guards: Sequence[Guard]) -> tuple[Sequence[Bundle], Sequence[Guard]]:
        known = tuple(checked(guards)) if guards else ()
        if self._sealing is None:
            return bundles([row_of(draft) for draft in drafts]), known
        return self._sealing.bundles(drafts), self._sealing.guards(known)

    def _submit_rows(self, rows: Sequence[Row]) -> Future[Sequence[Entry]]:
        writer = self._ready()
        if self._sealing is not None and any(row[1] != "test" for row in rows):
            raise LedgerError(
                "a batch is for trials, and this one holds entries of another world than `test`: append those to the "
                "ledger itself, which encrypts what is private in them"
            )
        return writer.submit(bundles(rows), self._appended)

    def _ready(self) -> Writer:
        self._here()
        if self._writer is None:
            raise LedgerError(f"the ledger {self.name} was opened to read: open it without read_only to append to it")
        return self._writer

    def _appended(self, groups: Sequence[Group]) -> Sequence[Entry]:
        made: list[Entry] = []

        def at(index: int) -> Entry:
            if not made:
                made.extend(entry for group in groups for entry in self._read(group))
            return made[index]

        count = sum(group.last - group.first + 1 for group in groups)
        runs = {group.run for group in groups}
        if len(runs) != 1 or None in runs:
            return Appended(count, at)
        span = Span(groups[0].first, groups[-1].last, groups[0].run_first)
        return Appended(count, at, span)

    def _told(self, conflict: Conflict, guards: Sequence[Guard]) -> Conflict:
        """A conflict over the guard that the caller knows, and not over the one with the encrypted name."""
        if self._sealing is None:
            return conflict
        named = self._sealing.guards(guards)
        return Conflict(guards[named.index(conflict.guard)], conflict.found)

    def signal(
        self,
        run: str,
        name: str,
        *,
        value: Any = None,
        by: str | None = None,
        at: datetime | None = None,
        id: str | None = None,
    ) -> Entry:
        """Report what became known of a run later, such as `ticket_reopened`; the entry that tells of it.

        `value`: what JSON can carry. `by`: who reports it. `at`: when it happened, aware. `id`: the reporter's own;
        what is sent twice under one id is written once. Raises UsageError for an unknown run, for a name that the run's
        contract does not wait for where it waits for any, and for an id under which something else was reported.
        """
        return signal(self, run, name, value=value, by=by, at=at, id=id, now=SystemClock().now()).entry

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
        """Entries with seq > after, in order; at most `limit`. Sees what is committed while it reads.

        Raises LedgerError where entries of a run are missing between others, or stand there that are of another one.
        """
        self._here()
        pages = self._pages(run=run, kind=kind, world=world, after=after, limit=limit)
        if run is not None:
            pages = self._of_run(run, pages, whole=kind is None and world is None and after == 0)
        found = (
            entry for group in pages for entry in self._read(group) if entry.seq > after and kind in (None, entry.kind)
        )
        return found if limit is None else islice(found, limit)

    def _of_run(self, run: str, groups: Iterator[Group], *, whole: bool) -> Iterator[Group]:
        """Groups of a run, which follow each other where they are read whole."""
        expected = 1
        for group in groups:
            if not group.heads:
                raise LedgerError(
                    f"entries {group.first} to {group.last} of run {run} were pruned: they stand in the archive that "
                    "the ledger's `prune` entry names, and the run cannot go on"
                )
            if whole and group.run_first != expected:
                raise self._torn(run, f"its entry {expected} is not there")
            head = entry_of_head(group.lines[0])
            if (head.run, head.run_seq) != (run, group.run_first):
                raise self._torn(run, f"entry {group.first} is entry {head.run_seq} of {head.run!r}")
            yield group
            expected = group.run_first + group.last - group.first + 1

    def _torn(self, run: str, what: str) -> LedgerError:
        return LedgerError(
            f"run {run!r} of the ledger {self.name} is not what was written: {what}. `roadworthy ledger verify` says "
            "what was changed; restore the ledger from a backup"
        )

    def _read(self, group: Group) -> Sequence[Entry]:
        return entries_of(group, self._openers, binding(self.id) if group.sealed else b"")

    def _pages(
        self,
        *,
        run: str | None = None,
        kind: str | None = None,
        world: str | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> Iterator[Group]:
        size = _FIRST_PAGE if limit is None else max(1, min(limit, _FIRST_PAGE))
        while True:
            page = self._store.groups(run=run, kind=kind, world=world, after=after, limit=size)
            yield from page
            if len(page) < size:
                return
            after = page[-1].last
            size = _PAGE

    def runs(self, *, world: Realm | None = None, limit: int | None = None) -> Iterator[RunSummary]:
        """A line about each run, the latest active first."""
        self._here()
        return (summary_of(run, self.entries(run=run)) for run in self._store.recent_runs(world=world, limit=limit))

    def controls(self, after: int = 0) -> Sequence[Entry]:
        """Stops, level changes and signatures with seq > after, whoever wrote them.

        Takes microseconds where there are none.
        """
        self._here()
        groups = self._store.control_groups(after)
        if not groups:
            return ()
        return tuple(
            entry for group in groups for entry in self._read(group) if entry.seq > after and entry.kind in CONTROLS
        )

    # -- what it is proved with -------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many entries were ever written, those that were pruned since with them."""
        self._here()
        return self._store.tip()[0]

    def checkpoint(self) -> str | None:
        """The checkpoint of the last commit, a signed note of C2SP; None in a ledger without entries.

        Without a vault nobody has signed it: then it is the text of a checkpoint and no more.
        """
        self._here()
        return self._store.tip()[1] or None

    def groups(self, after: int = 0) -> Iterator[Group]:
        """What is stored, as it is stored: groups that hold entries with seq > after, in order."""
        self._here()
        return self._pages(after=after)

    def heads(self, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """Each entry's place and its head, the bytes that are hashed, from seq > after on."""
        for group in self.groups(after):
            for seq, head in enumerate(group.lines, start=group.first):
                if seq > after:
                    yield seq, head

    def head(self, seq: int) -> bytes:
        """The head of one entry. Raises LookupError where it is not there: nobody wrote it, or it was pruned."""
        self._here()
        for group in self._store.groups(run=None, kind=None, world=None, after=seq - 1, limit=1):
            if group.first <= seq:
                return group.lines[seq - group.first]
        raise LookupError(f"the ledger {self.name} has no entry {seq}")

    def node(self, level: int, index: int) -> bytes:
        """The hash over the 2**level entries from seq index * 2**level + 1 on (RFC 6962, 2.1).

        Raises LookupError where the ledger does not reach so far.
        """
        return self._nodes(level, index)

    def _leaves(self, start: int, end: int) -> Sequence[bytes]:
        found: list[bytes] = []
        for seq, head in self.heads(start):
            if seq > end or seq != start + len(found) + 1:
                break
            found.append(leaf_hash(head))
        return found

    def cosigned(self) -> Sequence[tuple[int, str]]:
        """Checkpoints that witnesses have signed, by size."""
        self._here()
        return self._store.cosigned()

    def keep_cosigned(self, size: int, note: str) -> None:
        """Keep a checkpoint that a witness has signed, in place of one of the same size. Durable on return."""
        self._ready()
        self._store.keep_cosigned(size, note)

    def rows(self, table: str) -> Iterator[tuple[Any, ...]]:
        """What stands in a table of `schema`, by its primary key and as of one moment: for whoever checks it."""
        self._here()
        return self._store.rows(table)

    def faults(self) -> Sequence[str]:
        """What the engine finds wrong with its medium, and what stands beside a ledger's tables that is not ours."""
        self._here()
        return self._store.faults()

    def give_up(self, firsts: Sequence[int]) -> None:
        """Take the content of the groups that begin there. Their places and hashes stay; durable on return.

        For `prune`, which says before in the ledger what goes, and has seen to it that an archive holds it.
        """
        self._ready()
        self._store.give_up(firsts)

    # -- closing --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write what was handed over, and give the file back. May be called twice."""
        self._end()
        if self._own is not None:
            self._own.close()

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


def _vault(given: str | Path | Vault | None, ledger: str | Path, *, read_only: bool) -> Vault | None:
    if given is None:
        given = os.environ.get(VAULT_ENV) or None
    if given is None or not isinstance(given, str | Path):
        return given
    from roadworthy.ledger.vault import Vault, file_apart, file_of_vault  # OpenSSL takes its time to load

    path = file_of_vault(given)
    if path is not None:
        file_apart(path, ledger)  # before one is made where it may not be
    return Vault.open(given, create=not read_only)


def _sealing(vault: Vault, ledger_id: str) -> Sealing:
    from roadworthy.ledger.sealing import Sealing

    return Sealing(vault, ledger_id)
