"""A ledger in a PostgreSQL database, which several processes and machines append to.

One of them writes at a time: a commit takes an advisory lock, reads the tip again, and places its entries after it, so
that places are gap-free and in the order of commits, which no serial of the database is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

from sqlalchemy import Table, bindparam, select
from sqlalchemy.dialects import postgresql as dialects
from sqlalchemy.dialects.postgresql.psycopg import dialect as psycopg_dialect
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

from roadworthy.core.errors import Conflict, LedgerError
from roadworthy.core.types import Reservation
from roadworthy.ledger import queries
from roadworthy.ledger.compose import ORIGIN, Composed, Composer, Tip, Watch
from roadworthy.ledger.engine import Append, Busy, Outdated
from roadworthy.ledger.heads import Group
from roadworthy.ledger.merkle import leaf_hash
from roadworthy.ledger.rows import LOOKED_FOR
from roadworthy.ledger.schema import VERSION, accounts, claims, cosigned, groups, metadata, sought, tiles, tip
from roadworthy.ledger.server import BUSY_S, Gone, Server
from roadworthy.ledger.tree import TILE, Frontier

if TYPE_CHECKING:
    from roadworthy.ledger.server import Session
    from roadworthy.ledger.vault import Vault

DOUBT_S: Final = 30.0
"""Seconds to wait for a server that hung up in the middle of a commit, until it says what became of that."""

_IDLE: Final = 8
"""Connections that are kept open for reading."""

_AT_ONCE: Final = 200
"""Rows that are fetched at a time where a whole table is read."""

_COPY: Final = 16
"""Groups from which on they are copied in, and not inserted one by one."""

_COPY_BYTES: Final = 64 * 2**10
"""Bytes of heads from which on they are, too."""

_CATCH_UP: Final = 2_000
"""Entries that others may have written for the tree to be followed, and not taken up anew."""

_TYPES: Final = ("int8", "int8", "text", "int4", "text", "int8", "text", "bytea", "bytea")
"""Of the columns of groups, as COPY wants to know them."""

_T = TypeVar("_T")
_open_stores: weakref.WeakSet[PostgresStore] = weakref.WeakSet()


def _sql(statement: ClauseElement, paramstyle: Literal["format", "pyformat"] = "pyformat") -> bytes:
    return str(cast("SQLCompiler", statement.compile(dialect=psycopg_dialect(paramstyle=paramstyle)))).encode()


@cache
def _groups(*, run: bool, world: bool, kind: bool, sought_kind: bool) -> bytes:
    found = queries.groups_after(run=run, world=world, kind=kind, sought_kind=sought_kind)
    return _sql(found) + b" LIMIT %(limit)s"


@cache
def _query(name: str) -> bytes:
    return _sql(getattr(queries, name)())


@cache
def _recent_runs(*, world: bool) -> bytes:
    return _sql(queries.recent_runs(world=world)) + b" LIMIT %(limit)s"


@cache
def _names(table: Table) -> str:
    return ", ".join(column.name for column in table.columns)


@cache
def _keep(table: Table, key: str) -> bytes:
    """Takes the values of all columns, in their order."""
    put = dialects.insert(table).values({column.name: bindparam(column.name) for column in table.columns})
    rest = {column.name: put.excluded[column.name] for column in table.columns if column.name != key}
    return _sql(put.on_conflict_do_update(index_elements=[key], set_=rest), "format")


@cache
def _keep_claim() -> bytes:
    put = dialects.insert(claims).values(key=bindparam("key"), value=bindparam("value"))
    return _sql(put.on_conflict_do_nothing(index_elements=["key"]), "format")


_LOCK: Final = "SELECT pg_advisory_xact_lock(%s)"
_TIP: Final = "SELECT size, note FROM tip"
_TOTALS: Final = "SELECT account, total FROM accounts WHERE account = ANY(%s)"
_CLAIMS: Final = "SELECT key, value FROM claims WHERE key = ANY(%s)"
_RUN_ENDS: Final = (
    "SELECT name, (SELECT run_first + last - first FROM groups WHERE run = name ORDER BY run_first DESC LIMIT 1) "
    "FROM unnest(%s::text[]) AS name"
)
_GIVE_UP: Final = (
    "WITH gone AS (UPDATE groups SET heads = '', sealed = NULL WHERE first = ANY(%(firsts)s) "
    "RETURNING first, last, run) "
    "DELETE FROM sought USING gone WHERE gone.run IS NOT NULL AND seq BETWEEN gone.first AND gone.last"
)
_TILE: Final = "SELECT hashes FROM tiles WHERE level = %s AND idx = %s"
_ROOTS: Final = "SELECT root FROM tiles WHERE level = %s AND idx >= %s ORDER BY idx"


def lock_key(ledger_id: str) -> int:
    """The advisory lock under which a ledger is written to: 64 bits that no other ledger of the database has."""
    return int.from_bytes(sha256(b"roadworthy ledger " + ledger_id.encode()).digest()[:8], "big", signed=True)


class PostgresStore:
    """Groups in a database. `url`: as libpq takes it, with `schema=` for the schema that the tables stand in.

    Raises LedgerError when the server cannot be reached, or what is there is no ledger or one of another version.
    """

    def __init__(self, url: str, *, read_only: bool = False, vault: Vault | None = None) -> None:
        self.read_only = read_only
        self.direct = False  # a session that is broken off by Ctrl-C is lost, and the network costs more anyway
        self.waits = True
        self._server = Server(url)
        self._vault = vault
        self._id: str | None = None
        self._writing: Session | None = None
        self._composer: Composer | None = None
        self._seen: list[Frontier] = []
        """The edge of the tree when it was last looked at; by the thread that writes."""
        self._closed = False
        self._idle: list[Session] = []
        self._lock = threading.RLock()
        self._control_lock = threading.Lock()
        self._watch = Watch(self.name)
        _open_stores.add(self)
        try:
            self._prepare()
            if not read_only:
                self._begin()
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        return self._server.name

    @property
    def _key(self) -> int:
        return lock_key(self.id)

    @property
    def id(self) -> str:
        if self._id is None:
            found = self._reading(lambda session: session.execute("SELECT id FROM identity").fetchone())
            if found is None:
                raise LedgerError(f"the ledger {self.name} is damaged, its id is missing: restore it from a backup")
            self._id = str(found[0])
        return self._id

    # -- opening --------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """See that the tables are there, as this version writes them. Makes or changes them where that is allowed."""
        session = self._server.session(read_only=self.read_only)
        try:
            version = self._version(session)
            if version == VERSION:
                if not self.read_only:
                    self._undisturbed(session)
                return
            if self.read_only:
                if version is None:
                    raise LedgerError(
                        f"there is no ledger at {self.name}: give the address of one that was written before"
                    )
                raise Outdated(
                    f"the ledger {self.name} was written by an earlier Roadworthy (its format is {version}, this one "
                    f"reads {VERSION}): open it once to append, with `Ledger.open(...)`, and it is brought up to date"
                )
            self._make()
        except self._server.errors as cause:
            raise self._server.trouble(cause) from cause
        finally:
            session.close()

    def _undisturbed(self, session: Session) -> None:
        """Raises LedgerError where something would change what is written: what is acknowledged must be there."""
        acting = _acting(session)
        if acting:
            raise LedgerError(
                f"the ledger {self.name} is not what was written: {acting[0]}. Nothing was appended. `roadworthy "
                "ledger verify` says what else was changed; drop it, or restore the ledger from a backup"
            )

    def _version(self, session: Session) -> int | None:
        """The version of the tables; None where there are none. Raises LedgerError for what is no ledger of ours."""
        (there,) = session.execute("SELECT to_regclass('ledger') IS NOT NULL").fetchone() or (False,)
        if not there:
            return None
        columns = session.execute(
            "SELECT attname FROM pg_attribute "
            "WHERE attrelid = to_regclass('ledger') AND attnum > 0 AND NOT attisdropped"
        ).fetchall()
        if columns != [("version",)]:
            raise LedgerError(
                f"{self.name} is no ledger, but has another table of the name `ledger`: give the ledger a schema of "
                "its own, with ?schema=NAME"
            )
        (version,) = session.execute("SELECT max(version) FROM ledger").fetchone() or (None,)
        if not isinstance(version, int):
            raise LedgerError(f"the ledger {self.name} is damaged, its version is missing: restore it from a backup")
        if version > VERSION:
            raise LedgerError(
                f"the ledger {self.name} was written by a newer Roadworthy (its format is {version}, this one knows "
                f"{VERSION}): upgrade, with `pip install --upgrade roadworthy`. Nothing was changed."
            )
        return version

    def _make(self) -> None:
        """Make the tables, or bring those of an earlier version into today's form; of several who try, one does it."""
        with self._server.session(read_only=False) as session:
            if self._server.schema is not None:
                with contextlib.suppress(self._server.driver.errors.UniqueViolation):  # somebody was faster
                    session.execute(f"CREATE SCHEMA IF NOT EXISTS {self._server.quoted}".encode())
            session.autocommit = False
            if self._turn(session) is None:
                self._create(session)
                session.commit()
                return
            session.rollback()
            from roadworthy.ledger.migrate import migrate  # takes its time to import, and is needed once

            migrate(session, "postgresql+psycopg", to=VERSION, begin=lambda: self._turn(session))

    def _turn(self, session: Session) -> int | None:
        """Wait for the turn to make or change tables; the version that they have then."""
        session.execute(_LOCK, [lock_key(f"new {self._server.schema}")])
        version = self._version(session)
        if version is not None:
            session.execute("LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE")
        return version

    def _create(self, session: Session) -> None:
        try:
            for table in metadata.sorted_tables:
                session.execute(_sql(CreateTable(table)))
                for index in sorted(table.indexes, key=lambda one: str(one.name)):
                    session.execute(_sql(CreateIndex(index)))
        except self._server.driver.errors.DuplicateTable as cause:
            raise LedgerError(
                f"{self.name} holds tables that are not a ledger's ({cause.diag.message_primary}): give the ledger a "
                "schema of its own, with ?schema=NAME"
            ) from cause
        session.execute("INSERT INTO identity (id) VALUES (%s)", [secrets.token_hex(16)])
        session.execute("INSERT INTO ledger (version) VALUES (%s)", [VERSION])

    def _begin(self) -> None:
        """Take up the tree where it stands. Raises LedgerError where the ledger is not what was written."""
        origin = f"{ORIGIN}{self.id}"
        keys = None
        if self._vault is not None:
            from roadworthy.ledger.sealing import LogKeys

            keys = LogKeys(self._vault, self.id, origin)
        composer = Composer(self.name, origin, keys)

        tip: Tip | None = None

        def look(session: Session) -> None:
            nonlocal tip
            # Tip and entries of one moment: others may be writing.
            session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                tip = _stored_tip(session)
                composer.follow(tip, _Medium(session, self.name))
            finally:
                session.rollback()

        while self._composer is None:
            before = tip
            try:
                self._reading(look)
                self._composer = composer
            except LedgerError:
                # The key under a tip is gone when another process has brought in the next one meanwhile.
                if tip == before:
                    raise

    # -- writing --------------------------------------------------------------------------------------------------

    def write(self, appends: Sequence[Append]) -> list[list[Group] | Conflict]:
        until = time.monotonic() + BUSY_S
        while True:
            try:
                return self._write(appends)
            except Gone as gone:  # and nothing of it was written
                self._hang_up()
                if time.monotonic() > until:
                    raise Busy(f"{gone.text}; nothing was written, and the next append tries again") from gone
            time.sleep(0.05)

    def _write(self, appends: Sequence[Append]) -> list[list[Group] | Conflict]:
        composer = cast("Composer", self._composer)
        session = self._writing
        if session is None:
            session = self._writing = self._server.session(read_only=False)
        made: Composed | None = None
        transaction = ""
        try:
            medium = _Medium(session, self.name, appends, self._seen)
            transaction, stored = self._take_turn(session, medium)
            composer.follow(stored, medium)
            made = composer.compose(appends, medium)
            self._put(session, made)
        except BaseException as failure:
            composer.forget()
            if not isinstance(failure, self._server.errors):
                self._give_up(session)
                raise
            problem = self._server.trouble(failure)
            if not isinstance(problem, Gone):
                self._give_up(session)
            elif made is not None and self._was_committed(transaction, made):
                return made.results
            raise problem from failure
        composer.keep(made)
        return made.results

    def _take_turn(self, session: Session, medium: _Medium) -> tuple[str, Tip | None]:
        """Wait for the lock, and read in one round trip what every commit needs; the transaction's id, and the tip."""
        asked, names = medium.asked()
        with self._server.sender(session) as cursor:
            cursor.execute(f"BEGIN; {_LOCK}; SELECT pg_current_xact_id()::text; {_TIP}{asked}", [self._key, *names])
            cursor.nextset()
            cursor.nextset()
            (transaction,) = cursor.fetchone()
            cursor.nextset()
            row = cursor.fetchone()
            while cursor.nextset():
                medium.answer(cursor.fetchall())
        return str(transaction), None if row is None else Tip(*row)

    def _put(self, session: Session, made: Composed) -> None:
        """Write a commit, and end the transaction; in one round trip unless there is much to write."""
        said: list[bytes] = []
        given: list[Any] = []
        if len(made.groups) >= _COPY or sum(len(group.heads) for group in made.groups) > _COPY_BYTES:
            _copy(session, made.groups)
        else:
            _insert(said, given, groups, made.groups)
        _insert(said, given, sought, made.sought)
        _insert(said, given, tiles, made.tiles)
        _say(said, given, _keep(accounts, "account"), [(name, format(sum_, "f")) for name, sum_ in made.totals.items()])
        _say(said, given, _keep_claim(), list(made.claims.items()))
        if made.groups:
            _say(said, given, _keep(tip, "id"), [(1, *made.tip)])
        with self._server.sender(session) as cursor:
            cursor.execute(b";".join([*said, b"COMMIT"]), given)

    def _give_up(self, session: Session) -> None:
        try:
            session.rollback()
        except self._server.errors:
            self._hang_up()

    def _hang_up(self) -> None:
        session, self._writing = self._writing, None
        if session is not None:
            session.close()

    def _was_committed(self, transaction: str, made: Composed) -> bool:
        """Whether a commit was made whose acknowledgement was lost. Raises LedgerError where nobody can say."""
        self._hang_up()
        until = time.monotonic() + DOUBT_S
        while True:
            try:
                with contextlib.closing(self._server.session(read_only=True)) as session:
                    (status,) = session.execute("SELECT pg_xact_status(%s::xid8)", [transaction]).fetchone() or (None,)
                    if status == "committed":
                        # After the server was restored from a backup, the same number may mean another transaction.
                        return all(_stands(session, group) for group in made.groups)
                    if status != "in progress":
                        return False
            except (*self._server.errors, LedgerError) as cause:
                if time.monotonic() > until:
                    raise LedgerError(
                        f"the ledger {self.name}: the server hung up in the middle of a commit and cannot be reached "
                        "any more, so that nobody knows whether the last entries were written: see to the server, then "
                        "open the ledger again"
                    ) from cause
            if time.monotonic() > until + DOUBT_S:
                raise LedgerError(
                    f"the ledger {self.name}: the server has not ended the last commit, and does not say what becomes "
                    "of it: see to the server, then open the ledger again"
                )
            time.sleep(0.05)

    def keep_cosigned(self, size: int, note: str) -> None:
        with contextlib.closing(self._server.session(read_only=False)) as session:
            try:
                session.execute(_keep(cosigned, "size"), [size, note])
            except self._server.errors as cause:
                raise self._server.trouble(cause) from cause

    def give_up(self, firsts: Sequence[int]) -> None:
        with contextlib.closing(self._server.session(read_only=False)) as session:
            try:
                session.execute(_GIVE_UP, {"firsts": list(firsts)})
            except self._server.errors as cause:
                raise self._server.trouble(cause) from cause
            # What was there stays in the table's files until the server tidies up, so it is asked to.
            with contextlib.suppress(*self._server.errors):
                session.execute("SET statement_timeout = 0")
                session.execute("VACUUM groups, sought")

    # -- reading --------------------------------------------------------------------------------------------------

    def _reading(self, look: Callable[[Session], _T]) -> _T:
        """Read, on a new connection once more where an idle one was found dead. Raises LedgerError."""
        while True:
            session, fresh = self._borrow()
            try:
                found = look(session)
            except self._server.errors as cause:
                session.close()
                problem = self._server.trouble(cause)
                if fresh or not isinstance(problem, Gone):
                    raise problem from cause
            except BaseException:
                session.close()
                raise
            else:
                self._give_back(session)
                return found

    def _borrow(self) -> tuple[Session, bool]:
        with self._lock:
            if self._closed:
                raise LedgerError(f"the ledger {self.name} was closed: open it again to read it")
            if self._idle:
                return self._idle.pop(), False
        return self._server.session(read_only=True), True

    def _give_back(self, session: Session) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < _IDLE:
                self._idle.append(session)
                return
        session.close()

    def groups(
        self, *, run: str | None, kind: str | None, world: str | None, after: int, limit: int
    ) -> Sequence[Group]:
        looked_for = kind in LOOKED_FOR and run is None
        sql = _groups(run=run is not None, world=world is not None, kind=kind is not None, sought_kind=looked_for)
        given = {"run": run, "kind": kind, "world": world, "after": after, "limit": limit}
        return self._reading(lambda session: _found_groups(session, sql, given))

    def sought(self, kind: str, after: int) -> Sequence[int]:
        given = {"kind": kind, "after": after}
        rows = self._reading(lambda session: session.execute(_query("places_after"), given).fetchall())
        return [seq for (seq,) in rows]

    def tip(self) -> tuple[int, str]:
        return self._reading(_stored_tip) or (0, "")

    def tile(self, level: int, index: int) -> bytes | None:
        found = self._reading(lambda session: session.execute(_TILE, [level, index], binary=True).fetchone())
        if found is not None or not level:
            return None if found is None else found[0]
        given = [level - 1, index * TILE]
        roots = self._reading(
            lambda session: session.execute(f"{_ROOTS} LIMIT {TILE}".encode(), given, binary=True).fetchall()
        )
        return b"".join(root for (root,) in roots)

    def cosigned(self) -> Sequence[tuple[int, str]]:
        rows = self._reading(
            lambda session: session.execute("SELECT size, note FROM cosigned ORDER BY size").fetchall()
        )
        return [(size, note) for size, note in rows]

    def rows(self, table: str) -> Iterator[tuple[Any, ...]]:
        found = metadata.tables[table]
        sql = _sql(select(found).order_by(*found.primary_key.columns))
        session, _ = self._borrow()
        try:
            session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            with session.cursor(name="rows", binary=True) as cursor:
                cursor.itersize = _AT_ONCE
                yield from cursor.execute(sql)
            session.rollback()
        except self._server.errors as cause:
            raise self._server.trouble(cause) from cause
        finally:
            session.close()

    def faults(self) -> Sequence[str]:
        return self._reading(_faults)

    def control_groups(self, after: int) -> Sequence[Group]:
        with self._control_lock:
            self._watch.learn(
                lambda last: self._reading(lambda session: _new_controls(session, last)),
                lambda: self._reading(_stored_tip) or (0, ""),
            )
            known = self._watch.groups
            if not known or known[-1].last <= after:
                return ()
            return [found for found in known if found.last > after]

    def recent_runs(self, *, world: str | None, limit: int | None) -> Sequence[str]:
        given = {"world": world, "limit": limit}
        sql = _recent_runs(world=world is not None)
        return [run for (run,) in self._reading(lambda session: session.execute(sql, given).fetchall())]

    # -- closing --------------------------------------------------------------------------------------------------

    def _sessions(self) -> list[Session]:
        return [*self._idle, *([self._writing] if self._writing is not None else [])]

    def close(self) -> None:
        with self._control_lock, self._lock:
            if self._closed:
                return
            self._closed = True
            for session in self._sessions():
                session.close()
            self._idle.clear()
            self._writing = None

    def abandon(self) -> None:
        """Keep the connections for ever: in a forked child, to close one would end the parent's session."""
        for session in self._sessions():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


def _say(said: list[bytes], given: list[Any], sql: bytes, rows: Sequence[Sequence[Any]]) -> None:
    """Say it once for each row."""
    for row in rows:
        said.append(sql)
        given += row


def _insert(said: list[bytes], given: list[Any], table: Table, rows: Sequence[Sequence[Any]]) -> None:
    """Say all rows in one statement."""
    if rows:
        row = f"({', '.join(['%s'] * len(table.columns))})"
        said.append(f"INSERT INTO {table.name} ({_names(table)}) VALUES {', '.join([row] * len(rows))}".encode())
        for one in rows:
            given += one


def _copy(session: Session, made: Sequence[Group]) -> None:
    into = f"COPY groups ({_names(groups)}) FROM STDIN (FORMAT BINARY)".encode()
    with session.cursor() as cursor, cursor.copy(into) as copy:
        copy.set_types(_TYPES)
        for group in made:
            copy.write_row(group)


def _found_groups(session: Session, sql: bytes, given: Mapping[str, object]) -> list[Group]:
    return [Group(*row) for row in session.execute(sql, given, binary=True)]


def _stored_tip(session: Session) -> Tip | None:
    found = session.execute(_TIP).fetchone()
    return None if found is None else Tip(*found)


def _faults(session: Session) -> list[str]:
    """What is missing of a ledger's tables, or would change what is written to them."""
    there = {
        str(name): (str(kind), str(kept))
        for name, kind, kept in session.execute(
            "SELECT relname, relkind, relpersistence FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
        )
    }
    ours = {("table", name) for name in metadata.tables}
    ours |= {("index", str(index.name)) for table in metadata.tables.values() for index in table.indexes}
    kinds = {"table": "r", "index": "i"}
    found = [
        f"the {kind} {name} is missing" for kind, name in sorted(ours) if there.get(name, "")[:1] != (kinds[kind],)
    ]
    found += [
        f"the table {name} is not written to the server's log, and is lost when it crashes"
        for name in sorted(metadata.tables)
        if there.get(name, ("r", "p"))[1] != "p"
    ]
    return found + _acting(session)


def _acting(session: Session) -> list[str]:
    """What would change what is written to a ledger's tables, or hide some of it."""
    found = session.execute(
        "SELECT 'trigger', tgname, relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
        "WHERE NOT tgisinternal AND relname = ANY(%(ours)s) AND relnamespace = current_schema()::regnamespace "
        "UNION ALL SELECT 'rule', rulename, tablename FROM pg_rules "
        "WHERE tablename = ANY(%(ours)s) AND schemaname = current_schema() "
        "UNION ALL SELECT 'policy', polname, relname FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid "
        "WHERE relname = ANY(%(ours)s) AND relnamespace = current_schema()::regnamespace",
        {"ours": sorted(metadata.tables)},
    ).fetchall()
    return [f"the {what} {name} of the table {table} is none of a ledger's" for what, name, table in found]


def _new_controls(session: Session, after: int) -> list[Group]:
    given = {"after": after}
    if session.execute(_query("last_control"), given).fetchone() is None:
        return []
    return _found_groups(session, _query("controls_after"), given)


def _stands(session: Session, group: Group) -> bool:
    found = session.execute("SELECT heads, sealed FROM groups WHERE first = %s", [group.first], binary=True).fetchone()
    return found == (group.heads, group.sealed)


class _Medium:
    """What a commit looks up, on the connection that writes; for many names at once, as far as they are known."""

    __slots__ = ("_accounts", "_claimed", "_claims", "_name", "_runs", "_seen", "_session", "_totals", "_wanted")

    def __init__(
        self, session: Session, name: str, appends: Sequence[Append] = (), seen: list[Frontier] | None = None
    ) -> None:
        self._session = session
        self._name = name
        self._seen = seen if seen is not None else []
        self._accounts: set[str] = set()
        self._claims: set[str] = set()
        self._wanted: set[str] = set()
        for bundles, guards in appends:
            self._wanted.update(bundle.run for bundle in bundles if bundle.run is not None)
            for guard in guards:
                if isinstance(guard, Reservation):
                    self._accounts.add(guard.account)
                else:
                    self._claims.add(guard.key)
        self._totals: dict[str, str] | None = None
        self._claimed: dict[str, str] = {}
        self._runs: dict[str, int] | None = None

    def asked(self) -> tuple[str, list[list[str]]]:
        """What to ask for the guards, beside what every commit asks; the answers come by `answer`, in this order."""
        wanted = [(_TOTALS, self._accounts), (_CLAIMS, self._claims)]
        named = [(sql, sorted(names)) for sql, names in wanted if names]
        return "".join(f"; {sql}" for sql, _ in named), [names for _, names in named]

    def answer(self, rows: Sequence[tuple[str, str]]) -> None:
        """The rows of the next thing that was asked."""
        if self._accounts and self._totals is None:
            self._totals = dict(rows)
        else:
            self._claimed = dict(rows)

    def total(self, account: str) -> Decimal | None:
        found = (self._totals or {}).get(account)
        if found is None:
            return None
        try:
            total = Decimal(found)
        except (InvalidOperation, ValueError):
            total = None
        if total is None or not total.is_finite():
            raise LedgerError(
                f"the ledger {self._name} is damaged, its account {account} holds {found!r}: restore it from a backup"
            )
        return total

    def claimed(self, key: str) -> str | None:
        return self._claimed.get(key)

    def run_end(self, run: str) -> int:
        if self._runs is None:
            rows = self._session.execute(_RUN_ENDS, [sorted(self._wanted)]).fetchall()
            self._runs = {name: ends or 0 for name, ends in rows}
        return self._runs[run]

    def controls(self, after: int) -> list[Group]:
        return _new_controls(self._session, after)

    def edge(self, size: int) -> Frontier:
        edge = self._grown(size) or Frontier.at(size, lambda level: self._open_tile(size, level))
        self._seen[:] = [edge.copy()]
        return edge

    def _grown(self, size: int) -> Frontier | None:
        """The edge that was seen last, with what was written since: where several write, that is little."""
        if not self._seen or not 0 < self._seen[0].size <= size <= self._seen[0].size + _CATCH_UP:
            return None
        edge = self._seen[0].copy()
        sql = _groups(run=False, world=False, kind=False, sought_kind=False)
        for group in _found_groups(self._session, sql, {"after": edge.size, "limit": None}):
            edge.extend(map(leaf_hash, group.lines[max(0, edge.size + 1 - group.first) :]))
        return edge if edge.size == size else None

    def _open_tile(self, size: int, level: int) -> list[bytes]:
        begin = size >> (8 * (level + 1)) << 8
        if level:
            return [root for (root,) in self._session.execute(_ROOTS, [level - 1, begin], binary=True)]
        sql = _groups(run=False, world=False, kind=False, sought_kind=False)
        found: list[bytes] = []
        for group in _found_groups(self._session, sql, {"after": begin, "limit": None}):
            found += map(leaf_hash, group.lines[max(0, begin + 1 - group.first) :])
        return found


def _abandon_all() -> None:
    for store in list(_open_stores):
        store.abandon()


os.register_at_fork(after_in_child=_abandon_all)
