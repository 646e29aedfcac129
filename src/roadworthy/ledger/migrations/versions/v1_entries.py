"""Version 1: one row an entry, whole and in plain."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text, text

revision = "1"
down_revision = None

_OF_NO_RUN = text("run IS NULL")
_SOUGHT = text(
    "({})".format(" OR ".join(f"kind = '{k}'" for k in ("question", "answer", "undo", "observation", "drift")))
)


def upgrade() -> None:
    """Make the tables as they were. New ledgers are made in today's form; this is where the way to it begins."""
    op.create_table("ledger", Column("version", Integer, nullable=False))
    op.create_table(
        "entries",
        Column("seq", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
        Column("at", BigInteger, nullable=False),
        Column("world", Text, nullable=False),
        Column("run", Text),
        Column("run_seq", Integer, nullable=False),
        Column("kind", Text, nullable=False),
        Column("cause", Text),
        Column("body", LargeBinary, nullable=False),
    )
    op.create_index("entries_by_run", "entries", ["run", "run_seq"], unique=True)
    for name, where in (("entries_by_kind", _OF_NO_RUN), ("entries_by_sought", _SOUGHT)):
        op.create_index(name, "entries", ["kind", "seq"], sqlite_where=where, postgresql_where=where)
    op.create_table("identity", Column("id", Text, nullable=False))
    op.create_table("accounts", Column("account", Text, primary_key=True), Column("total", Text, nullable=False))
    op.create_table("claims", Column("key", Text, primary_key=True), Column("value", Text, nullable=False))
