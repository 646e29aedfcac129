"""Drafts to write, ledgers on every engine, and a script runner for what must happen in another process.

What a ledger promises is tested on every engine that keeps one: `url` is an address on each of them in turn, `shared`
on those that several connections and processes can open. PostgreSQL is the server that ROADWORTHY_TEST_POSTGRES names;
each test has a schema of its own there. Where no server answers, these tests are skipped and say so.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from psycopg import sql

from roadworthy.core.types import Draft, Kind, Realm

START = datetime(2026, 1, 5, 9, tzinfo=UTC)


def draft(
    number: int = 0,
    *,
    run: str | None = "run-1",
    kind: Kind = "heard",
    world: Realm = "production",
    body: Mapping[str, Any] | None = None,
    cause: str | None = None,
) -> Draft:
    """A draft that can be told from others by its number."""
    at = START + timedelta(seconds=number)
    return Draft(kind=kind, world=world, run=run, body={"n": number} if body is None else body, at=at, cause=cause)


@pytest.fixture
def make() -> Callable[..., Draft]:
    """Makes drafts: `make(3, run="a")`."""
    return draft


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger may be made; the name needs escaping in a URI."""
    return tmp_path / "runs 100%?#.db"


# -- engines ----------------------------------------------------------------------------------------------------------

SERVER = os.environ.get("ROADWORTHY_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
"""A PostgreSQL server on which the tests may make schemas."""

POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)


@cache
def _no_server() -> str | None:
    """Why there is no server to test with; None where there is one."""
    try:
        with psycopg.connect(SERVER, connect_timeout=3):
            return None
    except psycopg.Error as error:
        return f"no PostgreSQL server answers (ROADWORTHY_TEST_POSTGRES names another one): {error}"


@contextmanager
def schema() -> Generator[str]:
    """A schema of one's own on the server, as a ledger's address; dropped afterwards."""
    why = _no_server()
    if why is not None:
        pytest.skip(why)
    name = f"rw_test_{secrets.token_hex(6)}"
    with psycopg.connect(SERVER, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    try:
        yield f"{SERVER}?schema={name}"
    finally:
        with psycopg.connect(SERVER, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


def _address(engine: str, path: Path) -> Iterator[str]:
    if engine == "postgres":
        with schema() as made:
            yield made
    else:
        yield str(path) if engine == "file" else ":memory:"


@pytest.fixture(params=["memory", "file", POSTGRES])
def url(request: pytest.FixtureRequest, path: Path) -> Iterator[str]:
    """Where a ledger may be made, on every engine in turn."""
    yield from _address(request.param, path)


@pytest.fixture(params=["file", POSTGRES])
def shared(request: pytest.FixtureRequest, path: Path) -> Iterator[str]:
    """Where a ledger may be made that more than one connection can open, on every engine in turn."""
    yield from _address(request.param, path)


@pytest.fixture
def server() -> Iterator[str]:
    """Where a ledger may be made on a PostgreSQL server."""
    with schema() as made:
        yield made


@contextmanager
def raw(url: str | Path) -> Generator[Any]:
    """A connection of the driver below a ledger, to look at its tables and to spoil them; it commits at once."""
    if isinstance(url, str) and url.startswith("postgresql://"):
        parts = urlsplit(url)
        with psycopg.connect(parts._replace(query="").geturl(), autocommit=True) as connection:
            name = parse_qs(parts.query)["schema"][0]
            connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(name)))
            yield connection
    else:
        with closing(sqlite3.connect(url, isolation_level=None)) as connection:
            yield connection


@contextmanager
def held(url: str | Path) -> Generator[None]:
    """Nobody can append to the ledger in the meantime: somebody else is in the middle of a commit."""
    with raw(url) as connection:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")
        else:
            with connection.transaction():
                connection.execute("LOCK TABLE groups IN EXCLUSIVE MODE")
                yield


def settle(url: str | Path) -> None:
    """Wait until the server is done with what a killed process had sent it."""
    if isinstance(url, str) and url.startswith("postgresql://"):
        with held(url):
            pass


def beside(url: str | Path) -> tuple[dict[str, Decimal], dict[str, str]]:
    """The accounts and claims of a ledger, as they stand there."""
    with raw(url) as connection:
        totals = connection.execute("SELECT account, total FROM accounts").fetchall()
        claims = connection.execute("SELECT key, value FROM claims").fetchall()
        return {name: Decimal(total) for name, total in totals}, dict(claims)


# -- processes --------------------------------------------------------------------------------------------------------

_PRELUDE = """
import json, os, sys
from datetime import UTC, datetime
from pathlib import Path
from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Draft
from roadworthy.ledger.batch import Batch
from roadworthy.ledger.store import Ledger

def draft(n, run="r", kind="heard", size=0):
    return Draft(kind=kind, world="production", run=run, body={"n": n, "text": "x" * size}, at=datetime.now(UTC))

path = sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])
"""


@pytest.fixture
def script() -> Callable[..., subprocess.Popen[str]]:
    """Starts Python code over a ledger's path in a process of its own."""

    def start(
        code: str, path: Path | str, *more: str, wrap: tuple[str, ...] = (), stdin: int | None = None
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*wrap, sys.executable, "-u", "-W", "error", "-c", _PRELUDE + code, str(path), *more],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
