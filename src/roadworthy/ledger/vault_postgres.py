"""A vault in a PostgreSQL database of its own, for a ledger that several machines share."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, parse_qs, urlencode, urlsplit

from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Withheld
from roadworthy.ledger.server import Server
from roadworthy.ledger.vault import KEY_BYTES, SLOT_BYTES

try:
    import psycopg
    from psycopg import sql
except ImportError as missing:  # pragma: no cover  (the tests have it)
    raise LedgerError(
        "a vault in PostgreSQL needs its driver: install it with `pip install 'roadworthy[postgres]'`"
    ) from missing

VERSION: Final = 1
"""Of the tables. A vault of another version is refused."""

BUSY_MS: Final = 5_000
"""Milliseconds to wait for another process that writes."""

_SCHEMA: Final = "roadworthy_vault"

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS vault (version INTEGER NOT NULL, secret BYTEA NOT NULL, erasures BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS slots (owner BYTEA PRIMARY KEY, slot BYTEA NOT NULL UNIQUE, key BYTEA NOT NULL)",
    "CREATE TABLE IF NOT EXISTS runs (run BYTEA NOT NULL, owner BYTEA NOT NULL, PRIMARY KEY (owner, run))",
    "CREATE TABLE IF NOT EXISTS erased (slot BYTEA PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS signing (n BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ledger TEXT NOT NULL, "
    "name TEXT NOT NULL, key BYTEA NOT NULL)",
)

_WHERE: Final = "SELECT pg_postmaster_start_time(), oid FROM pg_database WHERE datname = current_database()"
"""The same for all who are connected to one database, however they came there."""

_THEIRS: Final = b"owner = %(o)s OR owner IN (SELECT run FROM runs WHERE owner = %(o)s)"

_T = TypeVar("_T")


class ServerKeeper:
    """Keys in a database. Raises LedgerError where it cannot be reached, or holds no vault and none is to be made."""

    path: Path | None = None

    def __init__(self, url: str, *, create: bool) -> None:
        parts = urlsplit(url)
        wanted = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self._schema = wanted.pop("schema", _SCHEMA)
        self._url = parts._replace(query=urlencode(wanted)).geturl()
        self.name = _shown(parts)
        self._closed = False
        self._connection: psycopg.Connection[Any] | None = None
        self._saying(lambda: self._prepare(create=create))
        (self.secret,) = self._saying(lambda: self._one("SELECT secret FROM vault"))

    # -- opening ------------------------------------------------------------------------------------------------------

    def _open(self) -> psycopg.Connection[Any]:
        if self._closed:
            raise LedgerError(f"the vault {self.name} was closed: open it again")
        if self._connection is None or self._connection.closed:
            connection = psycopg.connect(self._url, autocommit=True, connect_timeout=10)
            try:
                connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(self._schema)))
                # What is sealed under a key must never be on disk before the key is.
                connection.execute("SET synchronous_commit TO on")
                connection.execute(sql.SQL("SET lock_timeout TO {}").format(sql.Literal(BUSY_MS)))
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _prepare(self, *, create: bool) -> None:
        connection = self._open()
        if connection.execute("SELECT to_regclass('vault')").fetchone() == (None,):
            if not create:
                raise LedgerError(f"there is no vault at {self.name}: give the one that the ledger was written with")
            with connection.transaction():
                # Two that begin at once would both make the tables.
                connection.execute("SELECT pg_advisory_xact_lock(hashtext('roadworthy vault'))")
                connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self._schema)))
                for table in _TABLES:
                    connection.execute(table)
                if connection.execute("SELECT 1 FROM vault").fetchone() is None:
                    fresh = (VERSION, secrets.token_bytes(KEY_BYTES))
                    connection.execute("INSERT INTO vault VALUES (%s, %s, 0)", fresh)
        version = connection.execute("SELECT version FROM vault").fetchone()
        if version != (VERSION,):
            raise LedgerError(
                f"the vault {self.name} has the format {version and version[0]}, and this Roadworthy knows {VERSION}: "
                "upgrade, with `pip install --upgrade roadworthy`. Nothing was changed."
            )

    def _saying(self, attempt: Callable[[], _T]) -> _T:
        """Try, once more on a new connection where the old one broke, and say what goes wrong."""
        try:
            try:
                return attempt()
            except psycopg.OperationalError:
                if self._connection is None or not self._connection.broken:
                    raise
                self._connection = None
                return attempt()
        except psycopg.Error as cause:
            raise LedgerError(
                f"the vault {self.name} cannot be used ({type(cause).__name__}): see that the server runs, that this "
                "user may use the schema, and that nobody holds its tables"
            ) from None  # the driver's words may hold the address with its password

    def _one(self, query: str, given: Sequence[object] = ()) -> Any:
        found = self._open().execute(query.encode(), given).fetchone()
        return found if found is not None else (None,)

    # -- keys ---------------------------------------------------------------------------------------------------------

    def erasures(self) -> int:
        return self._saying(lambda: self._one("SELECT erasures FROM vault"))[0]

    def take(self, wanted: Sequence[tuple[bytes, bytes | None]]) -> list[tuple[bytes, bytes]]:
        return self._saying(lambda: self._take(wanted))

    def _take(self, wanted: Sequence[tuple[bytes, bytes | None]]) -> list[tuple[bytes, bytes]]:
        connection = self._open()
        with connection.transaction(), connection.cursor() as cursor:
            # In one order for all, so that two processes never wait for each other.
            for owner, run in sorted(wanted, key=lambda one: one[0]):
                fresh = (owner, secrets.token_bytes(SLOT_BYTES), secrets.token_bytes(KEY_BYTES))
                cursor.execute("INSERT INTO slots VALUES (%s, %s, %s) ON CONFLICT (owner) DO NOTHING", fresh)
                if run is not None:
                    cursor.execute("INSERT INTO runs VALUES (%s, %s) ON CONFLICT DO NOTHING", (run, owner))
            owners = list({owner for owner, _ in wanted})
            cursor.execute("SELECT owner, slot, key FROM slots WHERE owner = ANY(%s)", (owners,))
            known = {owner: (slot, key) for owner, slot, key in cursor.fetchall()}
        return [known[owner] for owner, _ in wanted]

    def key_of(self, slot: bytes) -> bytes | Withheld:
        (key,) = self._saying(lambda: self._one("SELECT key FROM slots WHERE slot = %s", (slot,)))
        if key is not None:
            return key
        (gone,) = self._saying(lambda: self._one("SELECT 1 FROM erased WHERE slot = %s", (slot,)))
        return "sealed" if gone is None else "erased"

    def slots_of(self, owner: bytes) -> tuple[bytes, ...]:
        found = b"SELECT slot FROM slots WHERE " + _THEIRS
        return self._saying(lambda: tuple(row[0] for row in self._open().execute(found, {"o": owner}).fetchall()))

    def erase(self, owner: bytes) -> tuple[bytes, ...]:
        slots = self._saying(lambda: self._erase(owner))
        self._rewrite()
        return slots

    def erase_slots(self, slots: Sequence[bytes]) -> tuple[bytes, ...]:
        there = self._saying(lambda: self._erase_slots(list(slots)))
        self._rewrite()
        return there

    def _rewrite(self) -> None:
        # Rows that were deleted stay in the table's file until it is written anew.
        self._saying(lambda: self._open().execute("VACUUM (FULL) slots"))

    def _erase_slots(self, slots: list[bytes]) -> tuple[bytes, ...]:
        connection = self._open()
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute("UPDATE vault SET erasures = erasures + 1")
            cursor.execute("DELETE FROM slots WHERE slot = ANY(%s) RETURNING slot", (slots,))
            there = tuple(row[0] for row in cursor.fetchall())
            cursor.executemany("INSERT INTO erased VALUES (%s) ON CONFLICT DO NOTHING", [(slot,) for slot in there])
        return there

    def _erase(self, owner: bytes) -> tuple[bytes, ...]:
        connection = self._open()
        with connection.transaction(), connection.cursor() as cursor:
            # Before anything is read: whoever makes a key meanwhile waits, and makes it anew.
            cursor.execute("UPDATE vault SET erasures = erasures + 1")
            cursor.execute("LOCK TABLE slots, runs IN EXCLUSIVE MODE")
            cursor.execute(b"DELETE FROM slots WHERE " + _THEIRS + b" RETURNING slot", {"o": owner})
            slots = tuple(row[0] for row in cursor.fetchall())
            cursor.executemany("INSERT INTO erased VALUES (%s) ON CONFLICT DO NOTHING", [(slot,) for slot in slots])
            cursor.execute("DELETE FROM runs WHERE owner = %(o)s OR run = %(o)s", {"o": owner})
        return slots

    def signing(self, ledger: str) -> Sequence[tuple[str, bytes]]:
        found = b"SELECT name, key FROM signing WHERE ledger = %s ORDER BY n"
        return self._saying(lambda: self._open().execute(found, (ledger,)).fetchall())

    def keep_signing(self, ledger: str, name: str, key: bytes) -> None:
        kept = b"INSERT INTO signing (ledger, name, key) VALUES (%s, %s, %s)"
        self._saying(lambda: self._open().execute(kept, (ledger, name, key)))

    def forget_signing(self, ledger: str, key: bytes) -> None:
        gone = b"DELETE FROM signing WHERE ledger = %s AND key = %s"
        self._saying(lambda: self._open().execute(gone, (ledger, key)))
        self._saying(lambda: self._open().execute("VACUUM (FULL) signing"))  # as after an erasure

    def shared_with(self, ledger: str) -> bool:
        # `localhost` and `127.0.0.1` are one server, and a server has many more names than these.
        mine = self._saying(lambda: self._open().execute(_WHERE.encode()).fetchone())
        try:
            with Server(ledger).session(read_only=True) as session:
                return session.execute(_WHERE).fetchone() == mine
        except (LedgerError, psycopg.Error):
            return False  # whoever opens the ledger will be told what is wrong

    # -- closing ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        self._closed = True
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None


def _shown(parts: SplitResult) -> str:
    """An address without user and password."""
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
