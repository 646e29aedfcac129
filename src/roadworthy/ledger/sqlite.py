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
from collections.abc import Callable, Generator, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from sqlalchemy import Table, bindparam, select
from sqlalchemy.dialects import sqlite as dialects
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

from roadworthy.core.errors import Conflict, LedgerError
from roadworthy.ledger import queries
from roadworthy.ledger.address import look_at
from roadworthy.ledger.compose import ORIGIN, Composer, Tip, Watch
from roadworthy.ledger.engine import Append, Busy, Outdated
from roadworthy.ledger.heads import Group
from roadworthy.ledger.merkle import leaf_hash
from roadworthy.ledger.rows import LOOKED_FOR
from roadworthy.ledger.schema import (
    VERSION,
    about,
    accounts,
    claims,
    cosigned,
    groups,
    identity,
    metadata,
    sought,
    tiles,
    tip,
)
from roadworthy.ledger.tree import TILE, Frontier

if TYPE_CHECKING:
    from roadworthy.ledger.vault import Vault

APPLICATION_ID: Final = 0x52574C47
""""RWLG": how `file` and we tell a ledger from other SQLite files."""

BUSY_S: Final = 5.0
"""Seconds to wait for another process that writes."""

_FOREIGN_COMMITS: Final = 50
"""Commits of other processes between ours after which it is said that one writer would be faster."""

_FAULTS: Final = 20
"""The most that the engine is asked to find wrong."""

_BESIDE: Final = frozenset({("table", "alembic_version")})
"""What may stand beside our tables: the mark of the migrations."""

# SQLAlchemy's own writes an offset for SQLite, whose value it wants to be given.
_LIMIT: Final = " LIMIT :limit"

_log = logging.getLogger("roadworthy.ledger")
_T = TypeVar("_T")
_open_stores: weakref.WeakSet[SqliteStore] = weakref.WeakSet()


def _sql(statement: ClauseElement) -> str:
    dialect = dialects.dialect(paramstyle="named")
    return str(cast("SQLCompiler", statement.compile(dialect=dialect)))


@cache
def _insert(table: Table) -> str:
    names = [column.name for column in table.columns]
    return str(table.insert().values({name: bindparam(name) for name in names}).compile(dialect=dialects.dialect()))


@cache
def _groups(*, run: bool, world: bool, kind: bool, sought_kind: bool) -> str:
    return _sql(queries.groups_after(run=run, world=world, kind=kind, sought_kind=sought_kind)) + _LIMIT


@cache
def _sought() -> str:
    return _sql(queries.places_after())


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
def _keep(table: Table, key: str) -> str:
    put = dialects.insert(table).values({column.name: bindparam(column.name) for column in table.columns})
    rest = {column.name: put.excluded[column.name] for column in table.columns if column.name != key}
    return _sql(put.on_conflict_do_update(index_elements=[key], set_=rest))


@cache
def _keep_claim() -> str:
    put = dialects.insert(claims).values(key=bindparam("key"), value=bindparam("value"))
    return _sql(put.on_conflict_do_nothing(index_elements=["key"]))


@cache
def _controls() -> str:
    return _sql(queries.controls_after())


@cache
def _recent_runs(*, world: bool) -> str:
    return _sql(queries.recent_runs(world=world)) + _LIMIT


_RUN_END: Final = "SELECT run_first + last - first FROM groups WHERE run = ? ORDER BY run_first DESC LIMIT 1"
_GIVE_UP: Final = "UPDATE groups SET heads = x'', sealed = NULL WHERE first = ?"
_GIVE_UP_PLACES: Final = (
    "DELETE FROM sought WHERE seq >= ? AND seq <= (SELECT last FROM groups WHERE first = ? AND run IS NOT NULL)"
)
_TIP: Final = "SELECT size, note FROM tip"
_TILE: Final = "SELECT hashes FROM tiles WHERE level = ? AND idx = ?"
_ROOTS: Final = "SELECT root FROM tiles WHERE level = ? AND idx >= ? ORDER BY idx"


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
        "SQLITE_AUTH": (
            "it has a trigger or a view, which would change what is written, so nothing was: `roadworthy ledger "
            "verify` names it; restore the ledger from a backup"
        ),
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

    def __init__(self, path: Path | None, *, read_only: bool = False, vault: Vault | None = None) -> None:
        self.read_only = read_only
        self.direct = True
        self.waits = path is not None
        self._path = path
        self._vault = vault
        self._id: str | None = None
        self._composer: Composer | None = None
        self._closed = False
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.RLock()
        self._control_lock = threading.Lock()
        self._control: sqlite3.Connection | None = None
        self._control_version = -1
        self._watch = Watch(self.name)
        if path is not None:
            look_at(path, read_only=read_only)
        self._main = self._patiently(self._open_main)
        _open_stores.add(self)
        if not read_only:
            try:
                self._begin()
            except BaseException:
                self.close()
                raise

    @property
    def writing(self) -> sqlite3.Connection:
        """The connection that writes; for a commit alone."""
        return self._main

    @property
    def name(self) -> str:
        return "in memory" if self._path is None else str(self._path)

    @property
    def id(self) -> str:
        if self._id is None:
            with self._reader() as connection:
                found = connection.execute(_identity()).fetchone()
            if found is None:
                raise LedgerError(f"the ledger {self.name} is damaged, its id is missing: restore it from a backup")
            self._id = str(found[0])
        return self._id

    # -- opening --------------------------------------------------------------------------------------------------

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
        version = self._known(connection)
        if self._path is not None:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            self._synced(connection)
            sync = connection.execute("PRAGMA synchronous").fetchone()[0]
            if mode != "wal" or sync != 2:
                raise LedgerError(
                    f"the ledger {self.name} cannot be kept safely there (journal {mode}, sync {sync}): put it on a "
                    "disk of this machine, not on a network drive"
                )
        foreign = connection.execute(
            "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view')"
        ).fetchall()
        if foreign:
            raise LedgerError(
                f"the ledger {self.name} is not what was written: it has the {' '.join(foreign[0])}, which would "
                "change what is written to it. Nothing was appended. `roadworthy ledger verify` says what else was "
                "changed; restore it from a backup"
            )
        if version is None:
            self._create(connection)
        elif version < VERSION:
            self._bring_up(connection)

    @staticmethod
    def _synced(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA fullfsync=ON")
        connection.execute("PRAGMA checkpoint_fullfsync=ON")
        connection.set_authorizer(_by_itself)  # somebody may make a trigger later: what it would do is refused

    def _known(self, connection: sqlite3.Connection) -> int | None:
        """The version of the tables; None for an empty file. Raises LedgerError for what is no ledger of ours."""
        tables = self._tables(connection)
        mark = connection.execute("PRAGMA application_id").fetchone()[0]
        if not tables and mark in (0, APPLICATION_ID) and not self.read_only:
            return None
        if mark != APPLICATION_ID or about.name not in tables:
            raise LedgerError(f"{self.name} is no ledger, but another SQLite file: give another path")
        (version,) = connection.execute("SELECT max(version) FROM ledger").fetchone()
        if not isinstance(version, int):
            raise LedgerError(f"the ledger {self.name} is damaged, its version is missing: restore it from a backup")
        if version > VERSION:
            raise LedgerError(
                f"the ledger {self.name} was written by a newer Roadworthy (its format is {version}, this one knows "
                f"{VERSION}): upgrade, with `pip install --upgrade roadworthy`. Nothing was changed."
            )
        if version < VERSION and self.read_only:
            raise Outdated(
                f"the ledger {self.name} was written by an earlier Roadworthy (its format is {version}, this one "
                f"reads {VERSION}): keep a copy, then open it once to append: `Ledger.open(...)` brings it up to date"
            )
        return version

    @staticmethod
    def _tables(connection: sqlite3.Connection) -> set[str]:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            if self._known(connection) is None:  # nobody was faster
                for table in metadata.sorted_tables:
                    connection.execute(_sql(CreateTable(table)))
                    for index in table.indexes:
                        connection.execute(_sql(CreateIndex(index)))
                connection.execute("INSERT INTO identity (id) VALUES (?)", (secrets.token_hex(16),))
                connection.execute("INSERT INTO ledger (version) VALUES (?)", (VERSION,))
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _bring_up(self, connection: sqlite3.Connection) -> None:
        """Bring the tables of an earlier version into today's form."""
        from roadworthy.ledger.migrate import migrate  # takes its time to import, and is needed once

        def begin() -> int | None:
            connection.execute("BEGIN IMMEDIATE")
            return self._known(connection)

        migrate(connection, "sqlite", to=VERSION, begin=begin)
        _log.info("the ledger %s was brought up to format %s", self.name, VERSION)

    def _begin(self) -> None:
        """Take up the tree where it stands. Raises LedgerError where the ledger is not what was written."""
        origin = f"{ORIGIN}{self.id}"
        keys = None
        if self._vault is not None:
            from roadworthy.ledger.sealing import LogKeys

            keys = LogKeys(self._vault, self.id, origin)
        self._composer = Composer(self.name, origin, keys)
        tip: Tip | None = None
        with self._lock:
            while True:
                before = tip
                try:
                    self._main.execute("BEGIN")
                    try:
                        tip = self._stored_tip(self._main)
                        return self._composer.follow(tip, _Medium(self))
                    finally:
                        self._main.execute("COMMIT")
                except LedgerError:
                    # The key under a tip is gone when another process has brought in the next one meanwhile.
                    if tip == before:
                        raise
                except sqlite3.Error as cause:
                    raise trouble(cause, self.name) from cause

    # -- writing --------------------------------------------------------------------------------------------------

    def write(self, appends: Sequence[Append]) -> list[list[Group] | Conflict]:
        with self._lock if self._path is None else contextlib.nullcontext():
            try:
                return self._write(appends)
            except sqlite3.Error as cause:
                raise trouble(cause, self.name) from cause

    def _write(self, appends: Sequence[Append]) -> list[list[Group] | Conflict]:
        connection, composer = self._main, cast("Composer", self._composer)
        connection.execute("BEGIN IMMEDIATE")
        try:
            medium = _Medium(self)
            composer.follow(self._stored_tip(connection), medium)
            made = composer.compose(appends, medium)
            connection.executemany(_insert(groups), made.groups)
            if made.sought:
                connection.executemany(_insert(sought), made.sought)
            if made.tiles:
                connection.executemany(_insert(tiles), made.tiles)
            if made.totals:
                given = [{"account": account, "total": format(total, "f")} for account, total in made.totals.items()]
                connection.executemany(_keep(accounts, "account"), given)
            if made.claims:
                connection.executemany(_keep_claim(), [{"key": k, "value": v} for k, v in made.claims.items()])
            if made.groups:
                connection.execute(_keep(tip, "id"), {"id": 1, "size": made.tip.size, "note": made.tip.note})
            connection.execute("COMMIT")
        except BaseException:
            composer.forget()
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        composer.keep(made)
        if composer.moved == _FOREIGN_COMMITS:
            composer.moved += 1
            _log.warning(
                "several processes keep writing to the ledger %s and wait for each other; one writer is faster",
                self.name,
            )
        return made.results

    def keep_cosigned(self, size: int, note: str) -> None:
        def put() -> None:
            connection = self._opened("mode=rw", self._synced) if self._path is not None else self._main
            try:
                connection.execute(_keep(cosigned, "size"), {"size": size, "note": note})
            finally:
                if self._path is not None:
                    connection.close()

        with self._lock if self._path is None else contextlib.nullcontext():
            self._stay_open()
            self._patiently(put)

    def give_up(self, firsts: Sequence[int]) -> None:
        connection = self._opened("mode=rw", self._synced) if self._path is not None else self._main
        try:
            with self._lock if self._path is None else contextlib.nullcontext():
                self._stay_open()
                connection.execute("PRAGMA secure_delete=ON")
                connection.execute("BEGIN IMMEDIATE")
                try:
                    connection.executemany(_GIVE_UP_PLACES, [(first, first) for first in firsts])
                    connection.executemany(_GIVE_UP, [(first,) for first in firsts])
                    connection.execute("COMMIT")
                except BaseException:
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    raise
        except sqlite3.Error as cause:
            raise trouble(cause, self.name) from cause
        finally:
            if self._path is not None:
                connection.close()

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

    def groups(
        self, *, run: str | None, kind: str | None, world: str | None, after: int, limit: int
    ) -> Sequence[Group]:
        looked_for = kind in LOOKED_FOR and run is None
        sql = _groups(run=run is not None, world=world is not None, kind=kind is not None, sought_kind=looked_for)
        wanted = {"run": run, "kind": kind, "world": world}
        given: dict[str, object] = {name: value for name, value in wanted.items() if value is not None}
        with self._reader() as connection:
            return [Group(*row) for row in connection.execute(sql, {**given, "after": after, "limit": limit})]

    def sought(self, kind: str, after: int) -> Sequence[int]:
        with self._reader() as connection:
            return [seq for (seq,) in connection.execute(_sought(), {"kind": kind, "after": after})]

    def tip(self) -> tuple[int, str]:
        with self._reader() as connection:
            return self._stored_tip(connection) or (0, "")

    def _stored_tip(self, connection: sqlite3.Connection) -> Tip | None:
        found = connection.execute(_TIP).fetchone()
        return None if found is None else Tip(*found)

    def tile(self, level: int, index: int) -> bytes | None:
        with self._reader() as connection:
            found = connection.execute(_TILE, (level, index)).fetchone()
            if found is None and level:
                roots = connection.execute(f"{_ROOTS} LIMIT {TILE}", (level - 1, index * TILE)).fetchall()
                found = (b"".join(_hashes(root) for (root,) in roots),)
        return None if found is None else _hashes(found[0])

    def cosigned(self) -> Sequence[tuple[int, str]]:
        with self._reader() as connection:
            return connection.execute("SELECT size, note FROM cosigned ORDER BY size").fetchall()

    def rows(self, table: str) -> Iterator[tuple[Any, ...]]:
        found = metadata.tables[table]
        with self._reader() as connection:
            yield from connection.execute(_sql(select(found).order_by(*found.primary_key.columns)))

    def faults(self) -> Sequence[str]:
        with self._reader() as connection:
            wrong = [str(text) for (text,) in connection.execute(f"PRAGMA integrity_check({_FAULTS})")]
            there = connection.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite%'").fetchall()
        ours = {("table", name) for name in metadata.tables} | _BESIDE
        ours |= {("index", str(index.name)) for table in metadata.tables.values() for index in table.indexes}
        found = [] if wrong == ["ok"] else wrong
        found += [f"the {kind} {name} is none of a ledger's" for kind, name in there if (kind, name) not in ours]
        return found + [f"the {kind} {name} is missing" for kind, name in ours - _BESIDE - set(there)]

    def control_groups(self, after: int) -> Sequence[Group]:
        with self._control_lock:
            if self._path is None:
                with self._reader() as connection:
                    self._learn_controls(connection)
            else:
                self._follow_controls()
            known = self._watch.groups
            if not known or known[-1].last <= after:
                return ()
            return [found for found in known if found.last > after]

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
        self._watch.learn(
            lambda after: [Group(*row) for row in connection.execute(_controls(), {"after": after})],
            lambda: self._stored_tip(connection) or (0, ""),
        )

    def recent_runs(self, *, world: str | None, limit: int | None) -> Sequence[str]:
        given: dict[str, object] = {"limit": -1 if limit is None else limit}
        if world is not None:
            given["world"] = world
        with self._reader() as connection:
            return [run for (run,) in connection.execute(_recent_runs(world=world is not None), given)]

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


class _Medium:
    """What a commit looks up, on the connection that writes."""

    __slots__ = ("_connection", "_name")

    def __init__(self, store: SqliteStore) -> None:
        self._connection = store.writing
        self._name = store.name

    def total(self, account: str) -> Decimal | None:
        found = self._connection.execute(_total(), {"account": account}).fetchone()
        if found is None:
            return None
        try:
            total = Decimal(found[0])
        except (InvalidOperation, TypeError, ValueError):
            total = None
        if total is None or not total.is_finite():
            raise LedgerError(
                f"the ledger {self._name} is damaged, its account {account} holds {found[0]!r}: restore it from a "
                "backup"
            )
        return total

    def claimed(self, key: str) -> str | None:
        found = self._connection.execute(_claimed(), {"key": key}).fetchone()
        return None if found is None else str(found[0])

    def controls(self, after: int) -> list[Group]:
        return [Group(*row) for row in self._connection.execute(_controls(), {"after": after})]

    def run_end(self, run: str) -> int:
        found = self._connection.execute(_RUN_END, (run,)).fetchone()
        return 0 if found is None else int(found[0])

    def edge(self, size: int) -> Frontier:
        return Frontier.at(size, lambda level: self._open_tile(size, level))

    def _open_tile(self, size: int, level: int) -> list[bytes]:
        begin = size >> (8 * (level + 1)) << 8
        if level:
            return [_hashes(root) for (root,) in self._connection.execute(_ROOTS, (level - 1, begin))]
        sql = _groups(run=False, world=False, kind=False, sought_kind=False)
        found: list[bytes] = []
        for row in self._connection.execute(sql, {"after": begin, "limit": -1}):
            group = Group(*row)
            found += map(leaf_hash, group.lines[max(0, begin + 1 - group.first) :])
        return found


def _by_itself(action: int, one: str | None, other: str | None, database: str | None, within: str | None) -> int:
    """Whether a statement may do what it does: not within a trigger or a view, of which a ledger has none."""
    del action, one, other, database
    return sqlite3.SQLITE_OK if within is None else sqlite3.SQLITE_DENY


def _hashes(stored: Any) -> bytes:
    """What stands in a tile. In a file that was changed by hand it may be a number, of which no bytes are made."""
    if type(stored) is not bytes:
        raise LedgerError(
            "a tile of the ledger's tree is damaged, what is stored there are no bytes: `roadworthy ledger verify` "
            "says which; restore the ledger from a backup"
        )
    return stored


def _abandon_all() -> None:
    for store in list(_open_stores):
        store.abandon()


os.register_at_fork(after_in_child=_abandon_all)
