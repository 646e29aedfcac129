"""Brings the tables of an earlier version into the form of today: Alembic's steps, each once, all or none.

The steps lie in `migrations/versions`, one file a version. The version that a ledger has stands in its table `ledger`,
as it always has; Alembic's own table is not used. A new ledger is made in today's form and goes through none of this.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

Engine = Literal["sqlite", "postgresql+psycopg"]

_STEPS = Path(__file__).with_name("migrations")


def migrate(raw: Any, engine: Engine, *, to: int, begin: Callable[[], int | None]) -> None:
    """Take a ledger from the version that it has to version `to`, and commit.

    `raw`: the driver's connection, which nobody else uses meanwhile. `begin` begins a transaction on it, under the
    ledger's lock, and gives the version that it finds then; None: there are no tables. Where a step fails, everything
    is as it was. Raises the driver's errors, and what a step raises.
    """
    # SQLAlchemy looks the connection over and rolls back before it hands it out, so the transaction begins after that.
    with create_engine(f"{engine}://", creator=lambda: raw, poolclass=StaticPool).connect() as connection:
        start = begin()
        try:
            if start is None or start < to:
                _steps(connection, start, to)
                put = (
                    "INSERT INTO ledger (version) VALUES (:to)" if start is None else "UPDATE ledger SET version = :to"
                )
                connection.execute(text(put), {"to": to})
            connection.commit()
        except DBAPIError as wrapped:
            raise (wrapped.orig or wrapped) from wrapped


def _steps(connection: Connection, start: int | None, to: int) -> None:
    # Alembic takes its time to import, and a ledger is migrated once.
    scripts = import_module("alembic.script").ScriptDirectory(str(_STEPS))
    context = import_module("alembic.runtime.migration").MigrationContext.configure(connection)
    wanted: list[Callable[[], None]] = []
    for step in scripts.walk_revisions(base="base", head=str(to)):
        if start is None or int(step.revision) > start:
            wanted.append(step.module.upgrade)
    with import_module("alembic.operations").Operations.context(context):
        for upgrade in reversed(wanted):
            upgrade()
