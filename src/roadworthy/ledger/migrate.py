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
from sqlalchemy.pool import StaticPool

Engine = Literal["sqlite", "postgresql+psycopg"]

_STEPS = Path(__file__).with_name("migrations")


def migrate(raw: Any, engine: Engine, *, start: int | None, to: int) -> None:
    """Take a ledger from version `start` (None: there are no tables yet) to version `to`, and commit.

    `raw`: the driver's connection, on which a transaction has begun and which nobody else uses meanwhile. Where a step
    fails, everything is as it was. Raises whatever the step raises.
    """
    with create_engine(f"{engine}://", creator=lambda: raw, poolclass=StaticPool).connect() as connection:
        _steps(connection, start, to)
        if start is None:
            connection.execute(text("INSERT INTO ledger (version) VALUES (:to)"), {"to": to})
        else:
            connection.execute(text("UPDATE ledger SET version = :to"), {"to": to})
        connection.commit()


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
