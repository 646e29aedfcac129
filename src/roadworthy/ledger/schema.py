"""The tables of a ledger, the same for every engine."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text

from roadworthy.ledger.rows import SOUGHT

VERSION = 1
"""Of the tables below. A ledger of another version is refused."""

metadata = MetaData()

about = Table(
    "ledger",
    metadata,
    Column("version", Integer, nullable=False),
)
"""One row, and the one table that every version of a ledger has in this form."""

entries = Table(
    "entries",
    metadata,
    # Gap-free from 1 and in commit order, so the writer gives it, under the lock: a serial would leave gaps.
    Column("seq", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("world", Text, nullable=False),
    Column("run", Text),
    Column("run_seq", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("cause", Text),
    Column("body", LargeBinary, nullable=False),
)

by_run = Index("entries_by_run", entries.c.run, entries.c.run_seq, unique=True)
"""Entries of no run have a null there, and nulls are never equal."""

OF_NO_RUN = text("run IS NULL")
"""Stands word for word in the index and in the queries that use it: engines recognise a partial index by that.

A cheap test, because every insert makes it: a list of kinds in its place doubled the cost of an insert.
"""

by_kind = Index("entries_by_kind", entries.c.kind, entries.c.seq, sqlite_where=OF_NO_RUN, postgresql_where=OF_NO_RUN)
"""Entries about the whole ledger, such as contracts and stops: few, and asked for by kind."""

OF_SOUGHT_KIND = text("({})".format(" OR ".join(f"kind = '{kind}'" for kind in SOUGHT)))
"""As with OF_NO_RUN, word for word. Single comparisons, which cost an insert far less than `kind IN (...)` does."""

by_sought = Index(
    "entries_by_sought", entries.c.kind, entries.c.seq, sqlite_where=OF_SOUGHT_KIND, postgresql_where=OF_SOUGHT_KIND
)
"""Entries of runs that are looked for over the whole ledger, such as open questions: few, and asked for by kind."""

# What follows stands beside the entries, and is made in ledgers of earlier times when they are next opened to append:
# readers of this version's entries need none of it.

identity = Table("identity", metadata, Column("id", Text, nullable=False))
"""One row: what tells this ledger from all others."""

accounts = Table(
    "accounts",
    metadata,
    Column("account", Text, primary_key=True),
    # As text: the engines' own numbers are binary, or differ.
    Column("total", Text, nullable=False),
)
"""The sums that reservations have come to."""

claims = Table(
    "claims",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""What was claimed, and for what."""
