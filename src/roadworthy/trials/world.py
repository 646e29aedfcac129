"""Simulated systems that tools work on: tables, a clock and a post office, fresh for every trial.

A `World` is declared once: SQL schema, base rows, tools. `world.ground()` is one state of it in memory, made in
microseconds: the base is built once per process, each trial lies in a savepoint that is rolled back. `world.wired()` is
the same world on SQLite files and real SMTP; both must give equal results.

Each tool call is one transaction: what a tool that raises had done is undone, and tools need no `commit`.
"""

from __future__ import annotations

import inspect
import random
import smtplib
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import cached_property, update_wrapper
from pathlib import Path
from threading import RLock
from typing import Any, Literal

import orjson

from roadworthy.core import canonical
from roadworthy.core.clock import Clock, VirtualClock
from roadworthy.core.errors import HarnessError
from roadworthy.trials.names import fill_rows
from roadworthy.trials.scenario import ChangeKind

MAIL = "mail.sent"
"""The name under which sent mails stand among the changes of a ground."""

Row = Mapping[str, Any]
"""Column -> value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One row that is not what it was: the net effect, not each step there."""

    table: str
    """As in the schema, with its system: `billing.refunds`; mails are inserts into `mail.sent`."""
    change: ChangeKind
    before: Row | None
    """None for inserts."""
    after: Row | None
    """None for deletes."""

    @property
    def row(self) -> Row:
        """The row afterwards, or for a delete the row that was."""
        row = self.after if self.after is not None else self.before
        return row if row is not None else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A message that was handed to the post."""

    to: str
    subject: str
    body: str
    sender: str


class Post:
    """Where tools send mail. `sent` holds what was handed over, also where it then really went out by SMTP."""

    __slots__ = ("_deliver", "_trying", "sent")

    def __init__(self, deliver: Callable[[Mail], None] | None = None) -> None:
        self.sent: list[Mail] = []
        self._deliver = deliver
        self._trying = False

    def send(self, *, to: str, body: str, subject: str = "", sender: str = "desk@example.com") -> str:
        """Hand over a mail; the id of the message. Raises ValueError where an address or subject has a line break."""
        for name, value in (("to", to), ("subject", subject), ("sender", sender)):
            if "\n" in value or "\r" in value:
                raise ValueError(f"{name} contains a line break")
        mail = Mail(to=to, subject=subject, body=body, sender=sender)
        if self._deliver is not None and not self._trying:
            self._deliver(mail)
        self.sent.append(mail)
        return f"mail-{len(self.sent)}"

    def _begin_attempt(self) -> int:
        self._trying = True
        return len(self.sent)

    def _end_attempt(self, mark: int) -> None:
        del self.sent[mark:]
        self._trying = False


ToolsFactory = Callable[[sqlite3.Connection, Clock, Post], Mapping[str, Callable[..., Any]]]
"""Called for every trial: the tools over this connection, clock and post, by the contract's name of the tool."""

SeedRows = Callable[[sqlite3.Connection, random.Random], Mapping[str, str] | None]
"""Adds rows that depend on the trial's seed. What it returns are names for scenarios: `${name}` in their texts."""


class _Books(sqlite3.Connection):
    """A connection on which a transaction is never ended by a tool: the ground does that after each call."""

    def commit(self) -> None:
        """Nothing: each tool call is a transaction of its own."""

    def rollback(self) -> None:
        """Undo what this tool call has done."""
        self.execute("ROLLBACK TO rw_call")

    def __enter__(self) -> _Books:
        self.execute("SAVEPOINT rw_with")
        return self

    def __exit__(self, kind: object, value: object, traceback: object) -> Literal[False]:
        if kind is not None:
            self.execute("ROLLBACK TO rw_with")
        self.execute("RELEASE rw_with")
        return False


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    sql: str
    """The quoted name."""
    columns: tuple[str, ...]


class _State:
    """One connection with schema, base rows and the triggers that note changes; used by one ground at a time."""

    __slots__ = ("books", "checked", "lock", "tables")

    def __init__(self, world: World, files: Path | None) -> None:
        self.lock = RLock()
        self.checked = False
        """The tools made over it are plain functions."""
        books = self.books = sqlite3.connect(
            ":memory:" if files is None else files / "main.db",
            isolation_level=None,
            factory=_Books,
            check_same_thread=False,
            cached_statements=512,
        )
        try:
            for system in world.systems:
                where = ":memory:" if files is None else str(files / f"{system}.db")
                books.execute(f"ATTACH ? AS {_quoted(system)}", (where,))
            books.executescript("PRAGMA foreign_keys=ON; PRAGMA recursive_triggers=ON; PRAGMA temp_store=MEMORY;")
            if files is None:
                books.executescript("PRAGMA journal_mode=MEMORY;")
            for system in ("main", *world.systems):  # what is made up need not outlive a power cut
                books.execute(f"PRAGMA {_quoted(system)}.synchronous=OFF")
            books.executescript(world.schema)
            self.tables = {t.name: t for t in self._find_tables(world.systems)}
            self._watch()
            books.execute("BEGIN")
            books.execute("PRAGMA defer_foreign_keys=ON")
            self.insert(world.rows)
            books.execute("COMMIT")
        except sqlite3.Error as e:
            books.close()
            raise HarnessError(f"world {world.name!r}: schema or base rows do not load: {e}") from e

    def _find_tables(self, systems: Sequence[str]) -> Iterable[_Table]:
        for system in ("main", *systems):
            names = self.books.execute(
                f"SELECT name FROM {_quoted(system)}.sqlite_master"
                " WHERE type = 'table' AND name NOT LIKE 'sqlite@_%' ESCAPE '@'"
            ).fetchall()
            for (name,) in names:
                info = self.books.execute(f"PRAGMA {_quoted(system)}.table_info({_quoted(name)})").fetchall()
                full = name if system == "main" else f"{system}.{name}"
                sql = _quoted(name) if system == "main" else f"{_quoted(system)}.{_quoted(name)}"
                yield _Table(full, sql, tuple(row[1] for row in info))

    def _watch(self) -> None:
        """Temp triggers write each change into a temp table, so that savepoints undo the notes with the changes."""
        books = self.books
        books.execute(
            "CREATE TEMP TABLE rw_log (id INTEGER PRIMARY KEY, tbl TEXT, was_key, is_key, was TEXT, now TEXT)"
        )
        books.execute("CREATE TEMP TABLE rw_on (yes)")  # one row once the trial has begun; what was before is no change
        for table in self.tables.values():
            rowid = self._key(table)
            for event, was, now in (("INSERT", None, "NEW"), ("UPDATE", "OLD", "NEW"), ("DELETE", "OLD", None)):
                values = (_key_of(was, rowid), _key_of(now, rowid), _row_of(was, table), _row_of(now, table))
                name = table.name.replace("'", "''")
                books.execute(
                    f"CREATE TEMP TRIGGER {_quoted(f'rw_{event}_{table.name}')} AFTER {event} ON {table.sql}"
                    " WHEN EXISTS (SELECT 1 FROM rw_on) BEGIN"
                    f" INSERT INTO rw_log (tbl, was_key, is_key, was, now) VALUES ('{name}', {', '.join(values)}); END"
                )

    def _key(self, table: _Table) -> tuple[str, ...]:
        try:
            self.books.execute(f"SELECT rowid FROM {table.sql} LIMIT 0")
        except sqlite3.OperationalError:  # a table WITHOUT ROWID
            system, _, name = table.name.rpartition(".")
            info = self.books.execute(f"PRAGMA {_quoted(system or 'main')}.table_info({_quoted(name)})").fetchall()
            return tuple(row[1] for row in info if row[5])
        return ("rowid",)

    def insert(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Add rows; raises HarnessError where a table or a column does not exist or a constraint is broken."""
        for name, some in rows.items():
            table = self.tables.get(name)
            if table is None:
                raise HarnessError(f"the world has no table {name!r}; it has {', '.join(sorted(self.tables))}")
            for row in some:
                unknown = [c for c in row if c not in table.columns]
                if unknown:
                    raise HarnessError(f"{name} has no column {unknown[0]!r}; it has {', '.join(table.columns)}")
                names = ", ".join(_quoted(c) for c in row)
                marks = ", ".join("?" * len(row))
                try:
                    self.books.execute(f"INSERT INTO {table.sql} ({names}) VALUES ({marks})", tuple(row.values()))
                except sqlite3.Error as e:
                    raise HarnessError(f"a row of {name} cannot be added: {e}; row: {dict(row)}") from e

    def watch(self) -> None:
        """Begin to note changes."""
        self.books.execute("INSERT INTO temp.rw_on VALUES (1)")

    def changes(self) -> list[Change]:
        """The net changes since the trial began."""
        notes = self.books.execute("SELECT tbl, was_key, is_key, was, now FROM temp.rw_log ORDER BY id").fetchall()
        if not notes:
            return []
        net: dict[tuple[str, Any], list[str | None]] = {}
        for tbl, was_key, is_key, was, now in notes:
            if was_key is not None and is_key is not None and was_key != is_key:
                steps = ((was_key, was, None), (is_key, None, now))
            else:
                steps = ((was_key if is_key is None else is_key, was, now),)
            for key, old, new in steps:
                seen = net.setdefault((tbl, key), [old, new])
                seen[1] = new
        found: list[Change] = []
        for (tbl, _), (old, new) in net.items():
            if old == new:
                continue
            columns = self.tables[tbl].columns
            before = None if old is None else dict(zip(columns, orjson.loads(old), strict=True))
            after = None if new is None else dict(zip(columns, orjson.loads(new), strict=True))
            change: ChangeKind = "insert" if old is None else "delete" if new is None else "update"
            found.append(Change(table=tbl, change=change, before=before, after=after))
        return found


def _key_of(which: str | None, key: tuple[str, ...]) -> str:
    if which is None:
        return "NULL"
    if key == ("rowid",):
        return f"{which}.rowid"
    return f"json_array({', '.join(f'{which}.{_quoted(c)}' for c in key)})"


def _row_of(which: str | None, table: _Table) -> str:
    if which is None:
        return "NULL"
    # json_array refuses blobs, which any column of SQLite may hold.
    cells = (f"{which}.{_quoted(c)}" for c in table.columns)
    return f"json_array({', '.join(f'iif(typeof({c}) = {_BLOB}, hex({c}), {c})' for c in cells)})"


_BLOB = "'blob'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What an action would do, tried on a copy of the world."""

    changes: tuple[Change, ...]
    """All that would be changed then, what the trial has changed before included."""
    value: Any = None
    error: Exception | None = None
    """What the tool raised, or None."""


class Ground:
    """One state of a world, for one trial. Close it to throw the state away."""

    __slots__ = ("_on_close", "_state", "clock", "names", "post", "tools", "wired", "world")

    def __init__(
        self,
        world: World,
        state: _State,
        post: Post,
        on_close: Callable[[_State], None],
        *,
        wired: bool,
        names: Mapping[str, str],
    ) -> None:
        self.world = world
        self.names = names
        """What the seed made up, for `${name}` in scenarios."""
        self.clock = VirtualClock()
        """Stands still until something moves it."""
        self.post = post
        self.wired = wired
        """True on files and SMTP, False in memory."""
        self._state = state
        self._on_close = on_close
        tools = world.tools(state.books, self.clock, post)
        if not state.checked:
            for name, tool in tools.items():
                if inspect.iscoroutinefunction(tool):
                    raise TypeError(f"{name} is async; a stand-in is a plain function")
            state.checked = True
        self.tools: Mapping[str, Callable[..., Any]] = {n: _in_transaction(t, state) for n, t in tools.items()}
        """The stand-ins, by the contract's name of the tool; called with keyword arguments."""

    @property
    def connection(self) -> sqlite3.Connection:
        """For tests and scorers that look into the tables; all systems are attached to it."""
        return self._state.books

    def changes(self) -> tuple[Change, ...]:
        """What is not as it was when the trial began: rows, and mails as inserts into `mail.sent`."""
        with self._state.lock:
            return (*self._state.changes(), *_mailed(self.post.sent))

    def attempt(self, try_it: Callable[[], Any]) -> Attempt:
        """The world after `try_it` (a tool call); then all is as it was before, and no mail has gone out."""
        state, books = self._state, self._state.books
        with state.lock:
            mails = self.post._begin_attempt()  # pyright: ignore[reportPrivateUsage]  # the two are one thing
            books.execute("SAVEPOINT rw_attempt")
            value, error = None, None
            try:
                value = try_it()
            except HarnessError:
                raise
            except Exception as e:  # a tool may raise anything
                error = e
            finally:
                changes = self.changes()
                books.execute("ROLLBACK TO rw_attempt")
                books.execute("RELEASE rw_attempt")
                self.post._end_attempt(mails)  # pyright: ignore[reportPrivateUsage]  # the two are one thing
            return Attempt(changes=changes, value=value, error=error)

    def close(self) -> None:
        """Throw the state away; harmless when done twice."""
        on_close, self._on_close = self._on_close, _nothing
        on_close(self._state)

    def __enter__(self) -> Ground:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _nothing(state: _State) -> None:
    del state


def _mailed(mails: Sequence[Mail]) -> list[Change]:
    return [
        Change(
            table=MAIL,
            change="insert",
            before=None,
            after={"to": m.to, "subject": m.subject, "body": m.body, "sender": m.sender},
        )
        for m in mails
    ]


def _in_transaction(tool: Callable[..., Any], state: _State) -> Callable[..., Any]:
    books, lock = state.books, state.lock

    def call(*args: Any, **kwargs: Any) -> Any:
        with lock:
            books.execute("SAVEPOINT rw_call")
            try:
                value = tool(*args, **kwargs)
            except BaseException:
                books.execute("ROLLBACK TO rw_call")
                books.execute("RELEASE rw_call")
                raise
            books.execute("RELEASE rw_call")
            return value

    return update_wrapper(call, tool, assigned=(), updated=())  # so that `inspect.signature` shows the tool's own


@dataclass(frozen=True, eq=False)
class World:
    """Simulated systems, declared once.

        world = World("shop", "CREATE TABLE orders (id TEXT PRIMARY KEY, status TEXT)", tools)

    Raises HarnessError when a state is built from a schema, rows or tools that do not work.
    """

    name: str
    schema: str
    """SQL. Tables of a system are written with its name: `CREATE TABLE billing.refunds (...)`."""
    tools: ToolsFactory
    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict[str, Sequence[Row]])
    """The base rows, by table."""
    seed: SeedRows | None = None
    systems: tuple[str, ...] = ()
    """Each is a database of its own, as it is in life; a file of its own where the world is wired."""
    _free: list[_State] = field(default_factory=list[_State], init=False, repr=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of name, schema and base rows, in hex. The code of the tools is not covered."""
        return canonical.digest({"name": self.name, "schema": self.schema, "rows": self.rows, "systems": self.systems})

    @cached_property
    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """The columns of each table, `mail.sent` included."""
        state = self._take()
        self._free.append(state)
        return {
            **{t.name: t.columns for t in state.tables.values()},
            MAIL: ("to", "subject", "body", "sender"),
        }

    @cached_property
    def tool_names(self) -> frozenset[str]:
        """The tools that have a stand-in."""
        with self.ground() as ground:
            return frozenset(ground.tools)

    def _take(self) -> _State:
        return self._free.pop() if self._free else _State(self, None)

    def ground(self, *, rows: Mapping[str, Sequence[Row]] | None = None, seed: int = 0) -> Ground:
        """A fresh state in memory, with these rows added. Several may be open at once; each has its own connection."""
        state = self._take()
        try:
            state.books.execute("SAVEPOINT rw_trial")
            return self._start(state, rows, seed, Post(), self._give_back, wired=False)
        except BaseException:
            state.books.close()
            raise

    def wired(
        self,
        folder: Path,
        *,
        rows: Mapping[str, Sequence[Row]] | None = None,
        seed: int = 0,
        smtp: tuple[str, int] | None = None,
    ) -> Ground:
        """A fresh state on SQLite files in an empty folder; mail goes out by SMTP to this host and port.

        Each call of a tool is committed to the files. `close()` closes them and leaves them there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.glob("*.db")):
            raise HarnessError(f"{folder} holds databases already; a wired world starts in an empty folder")
        state = _State(self, folder)
        try:
            return self._start(state, rows, seed, Post(_by_smtp(smtp) if smtp else None), _shut, wired=True)
        except BaseException:
            state.books.close()
            raise

    def _start(
        self,
        state: _State,
        rows: Mapping[str, Sequence[Row]] | None,
        seed: int,
        post: Post,
        on_close: Callable[[_State], None],
        *,
        wired: bool,
    ) -> Ground:
        books = state.books
        names: Mapping[str, str] = {}
        if rows or self.seed is not None:
            books.execute("SAVEPOINT rw_call")
            # No PRAGMA here: any of them makes SQLite compile every statement anew, which costs more than the trial.
            if self.seed is not None:
                try:
                    names = self.seed(books, random.Random(seed)) or {}
                except Exception as e:  # the author's code may raise anything
                    raise HarnessError(f"world {self.name!r}: seeding its rows failed: {type(e).__name__}: {e}") from e
            if rows:
                state.insert(fill_rows(rows, names))
            books.execute("RELEASE rw_call")
        state.watch()
        try:
            return Ground(self, state, post, on_close, wired=wired, names=names)
        except Exception as e:  # the author's code may raise anything
            raise HarnessError(f"world {self.name!r}: making its tools failed: {type(e).__name__}: {e}") from e

    def _give_back(self, state: _State) -> None:
        books = state.books
        if not books.in_transaction:
            books.close()
            raise HarnessError(f"world {self.name!r}: a tool ended the transaction of the trial; tools do not commit")
        books.execute("ROLLBACK TO rw_trial")
        books.execute("RELEASE rw_trial")
        self._free.append(state)


def _shut(state: _State) -> None:
    state.books.close()


def _by_smtp(address: tuple[str, int]) -> Callable[[Mail], None]:
    def deliver(mail: Mail) -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = mail.sender, mail.to, mail.subject
        message.set_content(mail.body)
        with smtplib.SMTP(*address, timeout=10) as server:
            server.send_message(message)

    return deliver
