"""A session with a PostgreSQL server, set up so that what it acknowledges is durable; errors that say what to do."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from urllib.parse import unquote, urlsplit

from roadworthy.core.errors import LedgerError
from roadworthy.ledger.address import told
from roadworthy.ledger.engine import Busy

if TYPE_CHECKING:  # an extra: only ledgers and vaults on a server need it
    import psycopg

    Session: TypeAlias = psycopg.Connection[tuple[Any, ...]]

BUSY_S: Final = 5.0
"""Seconds to wait for another process that writes, and for a server that does not answer."""

_STATEMENT_S: Final = 30.0
"""Seconds after which a statement that writes is given up; none of ours takes nearly as long."""

_QUESTION_S: Final = 300.0
"""Seconds after which one that reads is."""

_IDLE_S: Final = 30.0
"""Seconds after which the server takes its locks back from a process that stands still within a transaction."""

_OLDEST: Final = 13_00_00
"""The oldest server that tells what became of a transaction (`pg_xact_status`)."""

_MEANINGS: Final = {
    "25006": "it may only be read: give the address of the primary server, not of a standby",
    "28": "the server refuses this user: see to user and password, or to the server's pg_hba.conf",
    "3D": "the server has no such database: make it with `createdb`, or give another one",
    "3F": "the database has no such schema, and this user may not make one",
    "42501": "this user may not do that: give it the right to make and change tables in the ledger's schema",
    "42P01": "its tables are gone: restore it from a backup",
    "53100": "the server's disk is full, so nothing was written: free some space, then open the ledger again",
    "XX001": "the server found damaged pages: keep a copy of its files, and restore the ledger from a backup",
    "XX002": "the server found a damaged index: keep a copy of its files, and restore the ledger from a backup",
}

_STOOD_STILL: Final = "25P03"
"""The server has hung up on a process that stood still within a transaction."""

_RETRY: Final = ("40001", "40P01", "53300", "55P03", "57014", "57P03")
"""Codes after which nothing was written and the same may work a moment later."""


class Gone(LedgerError):
    """The connection was lost."""


def driver() -> Any:
    """psycopg. Raises LedgerError where it is not installed."""
    try:
        return import_module("psycopg")
    except ImportError as cause:
        raise LedgerError(
            "a ledger or a vault on a PostgreSQL server needs psycopg: install it with "
            "`pip install 'roadworthy[postgres]'`"
        ) from cause


class Server:
    """Where a server is, and how one speaks to it. Its name holds no credentials, and no error of it does."""

    def __init__(self, url: str) -> None:
        self.driver = driver()
        self.errors: tuple[type[Exception], ...] = (self.driver.Error,)
        """What its connections raise."""
        scheme, _, rest = url.partition("://")
        del scheme  # postgres, postgresql and SQLAlchemy's postgresql+psycopg mean the same
        try:
            parts = urlsplit(f"postgresql://{rest}")
            # As libpq reads it: a plus sign is a plus sign.
            query = parts.query.split("&") if parts.query else []
            named = [unquote(part.partition("=")[2], errors="strict") for part in query if part.startswith("schema=")]
            kept = "&".join(part for part in query if not part.startswith("schema="))
            self._conninfo = self.driver.conninfo.make_conninfo(
                f"postgresql://{parts.netloc}{parts.path}{f'?{kept}' if kept else ''}"
            )
            self._password = parts.password
        except (ValueError, self.driver.Error) as cause:
            # The driver quotes what it cannot read, and a password may be part of that.
            raise LedgerError(
                f"{told(url)} is no address of a database: write postgresql://USER@HOST:PORT/DATABASE?schema=NAME, and "
                "special characters of a password as %XX"
            ) from (cause if isinstance(cause, ValueError) and "@" not in str(cause) else None)
        if len(named) > 1 or not all(named):
            raise LedgerError(f"{told(url)} names its schema twice, or not at all: write ?schema=NAME once")
        self.schema: str | None = named[0] if named else None
        """The schema that its tables stand in; None: the one that the server gives this user."""
        self.name = told(url) + (f"?schema={self.schema}" if self.schema else "")

    @property
    def quoted(self) -> str:
        """The schema's name as SQL."""
        return '"{}"'.format((self.schema or "public").replace('"', '""'))

    def session(self, *, read_only: bool) -> Session:
        """A connection that commits each statement by itself unless a transaction is begun. Raises LedgerError."""
        try:
            session = cast(
                "Session",
                self.driver.connect(
                    self._conninfo,
                    autocommit=True,
                    connect_timeout=int(BUSY_S),
                    fallback_application_name="roadworthy",
                    client_encoding="UTF8",
                    keepalives_idle=10,
                    keepalives_interval=5,
                    keepalives_count=3,
                ),
            )
        except self.driver.Error as cause:
            raise self._unreachable(cause) from None
        try:
            self._set_up(session, read_only=read_only)
        except self.driver.Error as cause:
            session.close()
            raise self.trouble(cause) from cause
        except BaseException:
            session.close()
            raise
        return session

    def sender(self, session: Session) -> Any:
        """A cursor that sends several statements in one round trip, with the values written into them.

        Nothing is prepared on the server, so that it may be reached through a pool of connections.
        """
        return self.driver.ClientCursor(session)

    def _unreachable(self, cause: Exception) -> Gone:
        said = " ".join(str(cause).split())
        for secret in {self._password, unquote(self._password or "")} - {None, ""}:
            said = said.replace(str(secret), "…")
        return Gone(
            f"{self.name} cannot be opened: see that the server runs, that the database is there, and that this user "
            f"may connect to it ({said})"
        )

    def _set_up(self, session: Session, *, read_only: bool) -> None:
        if session.info.server_version < _OLDEST:
            raise LedgerError(
                f"{self.name}: the server has version {session.info.server_version // 10_000}, and 13 is the oldest "
                "that is known to work: upgrade it"
            )
        settings = {
            "lock_timeout": f"{BUSY_S:g}s",
            "statement_timeout": f"{_QUESTION_S if read_only else _STATEMENT_S:g}s",
            "idle_in_transaction_session_timeout": f"{_IDLE_S:g}s",
            # Each statement after the lock must see what was committed before it was given.
            "default_transaction_isolation": "read committed",
            "default_transaction_read_only": "on" if read_only else "off",
        }
        if self.schema is not None:
            settings["search_path"] = self.quoted
        # All in one round trip: `set_config` beside the settings that tell whether this server keeps its word.
        asked = ", ".join(["set_config(%s, %s, false)"] * len(settings))
        given = [text for pair in settings.items() for text in pair]
        found = session.execute(
            "SELECT current_setting('fsync'), current_setting('server_encoding'), "
            f"current_setting('synchronous_commit'), {asked}",  # pyright: ignore[reportArgumentType]  (no user's text)
            given,
        ).fetchone()
        assert found is not None  # a SELECT without FROM has a row
        fsync, encoding, commit = found[:3]
        if encoding != "UTF8":
            raise LedgerError(
                f"{self.name}: the database keeps text as {encoding}, in which not every text can be written: make one "
                "with `createdb --encoding UTF8 --template template0`"
            )
        if read_only:
            return
        if fsync != "on":
            raise LedgerError(
                f"{self.name} cannot be kept safely there: the server runs with fsync off, so that what it has "
                "acknowledged may be lost: turn it on"
            )
        if commit == "off":
            session.execute("SET synchronous_commit = on")
            (commit,) = session.execute("SHOW synchronous_commit").fetchone() or ("off",)
            if commit == "off":
                raise LedgerError(
                    f"{self.name} cannot be kept safely there: the server acknowledges before it has written"
                )

    def trouble(self, cause: Exception) -> LedgerError:
        """What an error of the driver means for whoever runs the machine, and what to do."""
        state = str(getattr(cause, "sqlstate", None) or "")
        if state in _RETRY:
            return Busy(
                f"the ledger {self.name} was held by others, or its server busy, for {BUSY_S:g} s ({state}); nothing "
                "was written: try again; `SELECT * FROM pg_stat_activity` on the server shows who holds it"
            )
        if state == _STOOD_STILL or (isinstance(cause, self.driver.OperationalError) and state[:2] in ("", "08", "57")):
            return Gone(
                f"the ledger {self.name}: the server cannot be reached, or has hung up: see that it runs and that this "
                "machine may connect to it"
            )
        meaning = _MEANINGS.get(state) or _MEANINGS.get(state[:2])
        if meaning is None:
            meaning = "the server refused: open the ledger again"
        diagnosis = getattr(cause, "diag", None)
        said = getattr(diagnosis, "message_primary", None)
        return LedgerError(
            f"the ledger {self.name}: {meaning} ({state or type(cause).__name__}: {said or 'no reason given'})"
        )
