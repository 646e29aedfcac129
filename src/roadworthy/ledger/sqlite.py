"""A ledger in one SQLite file: write-ahead log, every commit synced."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import secrets
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Index, Select, Table, bindparam, func, select, text
from sqlalchemy.dialects import sqlite as dialects
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

from roadworthy.core.canonical import loads
from roadworthy.core.errors import Conflict, LedgerError
from roadworthy.core.types import Realm
from roadworthy.ledger.engine import Append, Busy
from roadworthy.ledger.guards import Tally
from roadworthy.ledger.rows import CONTROLS, OF_THE_WHOLE, SOUGHT, Place, Row, RunSummary, time_of
from roadworthy.ledger.schema import (
    OF_NO_RUN,
    OF_SOUGHT_KIND,
    VERSION,
    about,
    accounts,
    by_kind,
    by_run,
    by_sought,
    claims,
    entries,
    identity,
)

APPLICATION_ID: Final = 0x52574C47
""""RWLG": how `file` and we tell a ledger from other SQLite files."""

BUSY_S: Final = 5.0
"""Seconds to wait for another process that writes."""

_FOREIGN_COMMITS: Final = 50
"""Commits of other processes between ours after which it is said that one writer would be faster."""

_KNOWN_RUNS: Final = 20_000

# SQLAlchemy's own writes an offset for SQLite, whose value it wants to be given.
_LIMIT: Final = " LIMIT :limit"

_log = logging.getLogger("roadworthy.ledger")
_T = TypeVar("_T")
_open_stores: weakref.WeakSet[SqliteStore] = weakref.WeakSet()


def _sql(statement: ClauseElement) -> str:
    dialect = dialects.dialect(paramstyle="named")
    return str(cast("SQLCompiler", statement.compile(dialect=dialect)))


@cache
def _insert() -> str:
    names = [column.name for column in entries.columns]
    return str(entries.insert().values({name: bindparam(name) for name in names}).compile(dialect=dialects.dialect()))


@cache
def _read(*, run: bool, kind: bool, whole: bool, sought: bool, world: bool) -> str:
    found: Select[Any] = select(entries).where(entries.c.seq > bindparam("after"))
    if run:
        found = found.where(entries.c.run == bindparam("run"))
    if kind:
        found = found.where(entries.c.kind == bindparam("kind"))
    if whole:
        found = found.where(OF_NO_RUN)
    if sought:
        found = found.where(OF_SOUGHT_KIND)
    if world:
        found = found.where(entries.c.world == bindparam("world"))
    order = entries.c.run_seq if run else entries.c.seq
    return _sql(found.order_by(order)) + _LIMIT


@cache
def _identity() -> str:
    return _sql(select(identity.c.id))


@cache
def _total() -> str:
    return _sql(select(accounts.c.total).where(accounts.c.account == bindparam("account")))


@cache
def _claimed() -> str:
    return _sql(select(claims.c.value).where(claims.c.key == bindparam("key")))


@cache
def _keep_total() -> str:
    put = dialects.insert(accounts).values(account=bindparam("account"), total=bindparam("total"))
    return _sql(put.on_conflict_do_update(index_elements=["account"], set_={"total": put.excluded.total}))


@cache
def _keep_claim() -> str:
    put = dialects.insert(claims).values(key=bindparam("key"), value=bindparam("value"))
    return _sql(put.on_conflict_do_nothing(index_elements=["key"]))


@cache
def _controls() -> str:
    kinds = text("kind IN ({})".format(", ".join(f"'{kind}'" for kind in CONTROLS)))
    return _sql(select(entries).where(OF_NO_RUN, kinds, entries.c.seq > bindparam("after")).order_by(entries.c.seq))


@cache
def _runs(*, world: bool) -> str:
    spans = (
        select(
            entries.c.run,
            func.min(entries.c.seq).label("first"),
            func.max(entries.c.seq).label("last"),
            func.count().label("entries"),
        )
        .where(entries.c.run.is_not(None))
        .group_by(entries.c.run)
        .subquery()
    )
    first, last = entries.alias(), entries.alias()
    found = (
        select(spans.c.run, spans.c.entries, first.c.world, first.c.at, last.c.at)
        .join(first, first.c.seq == spans.c.first)
        .join(last, last.c.seq == spans.c.last)
        .order_by(spans.c.last.desc())
    )
    return _sql(found.where(first.c.world == bindparam("world")) if world else found) + _LIMIT


@cache
def _counts() -> str:
    counted = select(entries.c.kind, func.count()).where(entries.c.run == bindparam("run")).group_by(entries.c.kind)
    return _sql(counted.order_by(entries.c.kind))


@cache
def _story() -> str:
    telling = text("kind IN ('run', 'handover', 'question', 'answer')")
    told = select(entries.c.kind, entries.c.body).where(entries.c.run == bindparam("run"), telling)
    return _sql(told.order_by(entries.c.run_seq))


@cache
def _last_action() -> str:
    actions = select(entries.c.body).where(entries.c.run == bindparam("run"), text("kind = 'action'"))
    return _sql(actions.order_by(entries.c.run_seq.desc())) + _LIMIT


def trouble(cause: sqlite3.Error, name: str) -> LedgerError:
    """What an SQLite error means for whoever runs the machine, and what to do."""
    word = getattr(cause, "sqlite_errorname", None) or type(cause).__name__
    if word.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Busy(
            f"another process has held the ledger {name} for more than {BUSY_S:g} s, so nothing was written: end it "
            f"(`fuser {name}` shows it), or give each long-lived process a ledger of its own"
        )
    meaning = {
        "SQLITE_FULL": "the disk is full, so nothing was written: free some space, then open the ledger again",
        "SQLITE_READONLY": "it may only be read: give this user the right to write the file and its folder",
        "SQLITE_CANTOPEN": "it cannot be opened: see that the folder is there, and that this user may write in it",
        "SQLITE_PERM": "this user may not open it: give it the right to read and write the file and its folder",
        "SQLITE_AUTH": "this user may not open it: give it the right to read and write the file and its folder",
        "SQLITE_NOTADB": "it is no ledger, but some other file: give another path",
        "SQLITE_CORRUPT": (
            "the file is damaged: keep a copy, restore the ledger from a backup, and save what the copy still holds "
            "with `sqlite3 COPY .recover`"
        ),
        "SQLITE_IOERR": (
            "the disk failed, and what was not acknowledged before may be missing: see to the disk, then open the "
            "ledger again"
        ),
    }.get("_".join(word.split("_")[:2]), "SQLite refused: open the ledger again")
    return LedgerError(f"the ledger {name}: {meaning} ({word}: {cause})")


class SqliteStore:
    """Rows in an SQLite file, or in memory where `path` is None.

    Raises LedgerError when the file is no ledger, is of a newer version, or cannot be opened.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self.read_only = read_only
        self._path = path
        self._id: str | None = None
        self._tip = 0
        self._tips: dict[str, int] = {}
        self._foreign = 0
        self._closed = False
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.RLock()
        self._control_lock = threading.Lock()
        self._control: sqlite3.Connection | None = None
        self._control_version = -1
        self._known_controls: list[tuple[Row, Place]] = []
        if path is not None:
            self._look_at(path)
        self._main = self._patiently(self._open_main)
        _open_stores.add(self)

    @property
    def name(self) -> str:
        return "in memory" if self._path is None else str(self._path)

    @property
    def id(self) -> str:
        if self._id is None:
            with self._reader() as connection:
                if identity.name in self._tables(connection):
                    found = connection.execute(_identity()).fetchone()
                    self._id = found[0] if found is not None else None
            if self._id is None:
                raise LedgerError(
                    f"the ledger {self.name} was written by an earlier version and has no id yet: open it once "
                    "without read_only, and it gets one"
                )
        return self._id

    # -- opening --------------------------------------------------------------------------------------------------

    def _look_at(self, path: Path) -> None:
        """What the file system says clearer than SQLite does."""
        try:
            if path.is_dir():
                raise LedgerError(f"{path} is a folder: give the path of a file in it, such as {path / 'runs.db'}")
            if not path.parent.is_dir():
                raise LedgerError(f"the folder {path.parent} is not there: create it, or give another path")
            if self.read_only and not path.exists():
                raise LedgerError(f"there is no ledger at {path}: give the path of one that was written before")
        except OSError as cause:
            raise LedgerError(f"the ledger {path} cannot be reached: {cause}") from cause

    def _patiently(self, attempt: Callable[[], _T]) -> _T:
        # Turning the write-ahead log on and recovering it do not always wait as `timeout` says, so this does.
        until = time.monotonic() + BUSY_S
        while True:
            try:
                return attempt()
            except sqlite3.Error as cause:
                problem = trouble(cause, self.name)
                if not isinstance(problem, Busy) or time.monotonic() > until:
                    raise problem from cause
            time.sleep(0.01)

    def _connect(self, mode: str) -> sqlite3.Connection:
        target = ":memory:" if self._path is None else f"{self._path.absolute().as_uri()}?{mode}"
        return sqlite3.connect(
            target, uri=self._path is not None, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )

    def _open_main(self) -> sqlite3.Connection:
        if self.read_only:
            try:
                return self._opened("mode=ro", self._known)
            except sqlite3.OperationalError:
                # Without the right to write beside the file SQLite cannot join its log; with no log there is no need.
                log = Path(f"{self._path}-wal")
                if log.exists() and log.stat().st_size:
                    raise
                return self._opened("immutable=1", self._known)
        return self._opened("mode=rwc", self._writable)

    def _opened(self, mode: str, prepare: Callable[[sqlite3.Connection], object]) -> sqlite3.Connection:
        connection = self._connect(mode)
        try:
            prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _writable(self, connection: sqlite3.Connection) -> None:
        known = self._known(connection)
        if self._path is not None:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA fullfsync=ON")
            connection.execute("PRAGMA checkpoint_fullfsync=ON")
            sync = connection.execute("PRAGMA synchronous").fetchone()[0]
            if mode != "wal" or sync != 2:
                raise LedgerError(
                    f"the ledger {self.name} cannot be kept safely there (journal {mode}, sync {sync}): put it on a "
                    "disk of this machine, not on a network drive"
                )
        if not known or self._beside(connection):
            self._create(connection)
        self._tip = connection.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()[0]

    def _known(self, connection: sqlite3.Connection) -> bool:
        """Whether the tables are there; False for an empty file. Raises LedgerError for what is no ledger of ours."""
        tables = self._tables(connection)
        mark = connection.execute("PRAGMA application_id").fetchone()[0]
        if not tables and mark in (0, APPLICATION_ID) and not self.read_only:
            return False
        if mark != APPLICATION_ID or about.name not in tables:
            raise LedgerError(f"{self.name} is no ledger, but another SQLite file: give another path")
        (version,) = connection.execute("SELECT max(version) FROM ledger").fetchone()
        if not isinstance(version, int):
            raise LedgerError(f"the ledger {self.name} is damaged, its version is missing: restore it from a backup")
        if version != VERSION:
            raise LedgerError(
                f"the ledger {self.name} was written by a newer Roadworthy (its format is {version}, this one knows "
                f"{VERSION}): upgrade, with `pip install --upgrade roadworthy`. Nothing was changed."
            )
        return True

    @staticmethod
    def _tables(connection: sqlite3.Connection) -> set[str]:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def _beside(self, connection: sqlite3.Connection) -> list[Table | Index]:
        """What a ledger of an earlier version lacks beside its entries."""
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        return [part for part in (identity, accounts, claims, by_sought) if part.name not in there]

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not self._known(connection):  # nobody was faster
                for table in (about, entries):
                    connection.execute(_sql(CreateTable(table)))
                for index in (by_run, by_kind):
                    connection.execute(_sql(CreateIndex(index)))
                connection.execute("INSERT INTO ledger (version) VALUES (?)", (VERSION,))
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            for part in self._beside(connection):
                connection.execute(_sql(CreateTable(part) if isinstance(part, Table) else CreateIndex(part)))
                if part is identity:
                    connection.execute("INSERT INTO identity (id) VALUES (?)", (secrets.token_hex(16),))
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    # -- writing --------------------------------------------------------------------------------------------------

    def write(self, appends: Sequence[Append]) -> list[list[Place] | Conflict]:
        with self._lock if self._path is None else contextlib.nullcontext():
            try:
                return self._write(appends)
            except sqlite3.Error as cause:
                raise trouble(cause, self.name) from cause

    def _write(self, appends: Sequence[Append]) -> list[list[Place] | Conflict]:
        connection = self._main
        connection.execute("BEGIN IMMEDIATE")
        try:
            (seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()
            if seq != self._tip:
                self._others_wrote()
            elif len(self._tips) > _KNOWN_RUNS:
                self._tips.clear()
            tips = self._tips
            tally: Tally | None = None
            written: list[list[Place] | Conflict] = []
            values: list[tuple[Any, ...]] = []
            for rows, guards in appends:
                if guards:
                    tally = tally or Tally(self._total, self._claimed)
                    conflict = tally.admit(guards)
                    if conflict is not None:
                        written.append(conflict)
                        continue
                places: list[Place] = []
                for at, world, run, kind, cause, body in rows:
                    seq += 1
                    run_seq = 0
                    if run is not None:
                        last = tips.get(run)
                        if last is None:
                            (last,) = connection.execute(
                                "SELECT coalesce(max(run_seq), 0) FROM entries WHERE run = ?", (run,)
                            ).fetchone()
                        run_seq = tips[run] = last + 1
                    places.append((seq, run_seq))
                    values.append((seq, at, world, run, run_seq, kind, cause, body))
                written.append(places)
            connection.executemany(_insert(), values)
            if tally is not None:
                self._keep(tally)
            connection.execute("COMMIT")
        except BaseException:
            self._tips.clear()
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        self._tip = seq
        return written

    def _total(self, account: str) -> Decimal | None:
        found = self._main.execute(_total(), {"account": account}).fetchone()
        if found is None:
            return None
        try:
            total = Decimal(found[0])
        except (InvalidOperation, TypeError, ValueError):
            total = None
        if total is None or not total.is_finite():
            raise LedgerError(
                f"the ledger {self.name} is damaged, its account {account} holds {found[0]!r}: restore it from a backup"
            )
        return total

    def _claimed(self, key: str) -> str | None:
        found = self._main.execute(_claimed(), {"key": key}).fetchone()
        return None if found is None else str(found[0])

    def _keep(self, tally: Tally) -> None:
        totals = [{"account": account, "total": format(total, "f")} for account, total in tally.totals.items()]
        self._main.executemany(_keep_total(), totals)
        self._main.executemany(_keep_claim(), [{"key": key, "value": value} for key, value in tally.claims.items()])

    def _others_wrote(self) -> None:
        self._tips.clear()
        self._foreign += 1
        if self._foreign == _FOREIGN_COMMITS:
            _log.warning(
                "several processes keep writing to the ledger %s and wait for each other; one writer is faster",
                self.name,
            )

    # -- reading --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _reader(self) -> Generator[sqlite3.Connection]:
        """A connection that nobody else reads with: file ledgers are read while they are written."""
        try:
            if self._path is None:
                with self._lock:
                    self._stay_open()
                    yield self._main
            else:
                connection = self._borrow()
                try:
                    yield connection
                finally:
                    self._give_back(connection)
        except sqlite3.Error as cause:
            raise trouble(cause, self.name) from cause

    def _borrow(self) -> sqlite3.Connection:
        with self._lock:
            self._stay_open()
            if self._idle:
                return self._idle.pop()
        return self._patiently(self._open_reader)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if self._closed:
                connection.close()
            else:
                self._idle.append(connection)

    def _stay_open(self) -> None:
        if self._closed:
            raise LedgerError(f"the ledger {self.name} was closed: open it again to read it")

    def _open_reader(self) -> sqlite3.Connection:
        if self.read_only:
            return self._open_main()
        return self._opened("mode=rw", lambda connection: connection.execute("PRAGMA query_only=ON"))

    def _rows(self, connection: sqlite3.Connection, sql: str, given: Mapping[str, object]) -> list[tuple[Row, Place]]:
        return [
            ((at, world, run, kind, cause, body), (seq, run_seq))
            for seq, at, world, run, run_seq, kind, cause, body in connection.execute(sql, given)
        ]

    def read(
        self, *, run: str | None, kind: str | None, world: str | None, after: int, limit: int
    ) -> Sequence[tuple[Row, Place]]:
        sql = _read(
            run=run is not None,
            kind=kind is not None,
            whole=kind in OF_THE_WHOLE,
            sought=kind in SOUGHT and run is None,
            world=world is not None,
        )
        wanted = {"run": run, "kind": kind, "world": world}
        given: dict[str, object] = {name: value for name, value in wanted.items() if value is not None}
        with self._reader() as connection:
            return self._rows(connection, sql, {**given, "after": after, "limit": limit})

    def controls(self, after: int) -> Sequence[tuple[Row, Place]]:
        with self._control_lock:
            if self._path is None:
                with self._reader() as connection:
                    self._learn_controls(connection)
            else:
                self._follow_controls()
            known = self._known_controls
            if not known or known[-1][1][0] <= after:
                return ()
            return [found for found in known if found[1][0] > after]

    def _follow_controls(self) -> None:
        with self._lock:
            self._stay_open()
        if self._control is None:
            self._control = self._patiently(self._open_reader)
        try:
            # It changes when any other connection has committed, in this process or another. Read before the entries:
            # what is committed in between is then found next time.
            (version,) = self._control.execute("PRAGMA data_version").fetchone()
            if version != self._control_version:
                self._learn_controls(self._control)
                self._control_version = version
        except sqlite3.Error as cause:
            raise trouble(cause, self.name) from cause

    def _learn_controls(self, connection: sqlite3.Connection) -> None:
        last = self._known_controls[-1][1][0] if self._known_controls else 0
        self._known_controls += self._rows(connection, _controls(), {"after": last})

    def runs(self, *, world: str | None, limit: int | None) -> Sequence[RunSummary]:
        given: dict[str, object] = {"limit": -1 if limit is None else limit}
        if world is not None:
            given["world"] = world
        with self._reader() as connection:
            found = connection.execute(_runs(world=world is not None), given).fetchall()
            return [self._summary(connection, *row) for row in found]

    def _summary(
        self, connection: sqlite3.Connection, run: str, count: int, world: str, first: int, last: int
    ) -> RunSummary:
        given = {"run": run}
        status = "open"
        known: dict[str, Any] = {}
        for kind, body in connection.execute(_story(), given):
            if kind == "run":
                said = cast("dict[str, Any]", loads(body))
                status = str(said.get("status", status))
                known |= {k: v for k, v in said.items() if k in ("agent", "principal", "subject") and v is not None}
            else:
                status = {"handover": "escalated", "question": "held", "answer": "open"}[kind]
        acted = connection.execute(_last_action(), {**given, "limit": 1}).fetchone()
        if acted is not None:
            known["subject"] = cast("dict[str, Any]", loads(acted[0])).get("subject") or known.get("subject")
        return RunSummary(
            run=run,
            world=cast("Realm", world),
            first=time_of(first),
            last=time_of(last),
            entries=count,
            agent=known.get("agent"),
            principal=known.get("principal"),
            subject=known.get("subject"),
            status=status,
            counts=dict(connection.execute(_counts(), given).fetchall()),
        )

    # -- closing --------------------------------------------------------------------------------------------------

    def _connections(self) -> list[sqlite3.Connection]:
        return [*self._idle, *([self._control] if self._control is not None else []), self._main]

    def close(self) -> None:
        with self._control_lock, self._lock:
            if self._closed:
                return
            self._closed = True
            # The writing one is the last, so that it empties the log into the file.
            for connection in self._connections():
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
            self._idle.clear()

    def abandon(self) -> None:
        """Keep the connections for ever: in a forked child, to close one would touch the parent's file and locks."""
        for connection in self._connections():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _abandon_all() -> None:
    for store in list(_open_stores):
        store.abandon()


os.register_at_fork(after_in_child=_abandon_all)
