"""The tables of a ledger, the same for every engine.

Entries stand in `groups`, as they are hashed; everything else is made from them, or tells how to find them.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text

VERSION = 2
"""Of the tables below. A ledger of an earlier one is brought to it, one of a later one is refused."""

metadata = MetaData()

about = Table(
    "ledger",
    metadata,
    Column("version", Integer, nullable=False),
)
"""One row, and the one table that every version of a ledger has in this form."""

_COUNT = BigInteger().with_variant(Integer(), "sqlite")

groups = Table(
    "groups",
    metadata,
    # Gap-free from 1 and in commit order, so the writer gives it, under the lock: a serial would leave gaps.
    Column("first", _COUNT, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    Column("run", Text),
    Column("run_first", Integer, nullable=False),
    Column("world", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("kinds", Text, nullable=False),
    Column("heads", LargeBinary, nullable=False),
    Column("sealed", LargeBinary),
)
"""A row for the entries that one append has written side by side for one run and world.

`heads` are the entries as they are hashed, a line each; `sealed` is what of them is encrypted. All other columns say
again what the heads say, to find them by.
"""

OF_A_RUN = text("run IS NOT NULL")
"""Stands word for word in the index and in the queries that use it: engines recognise a partial index by that."""

by_run = Index(
    "groups_by_run",
    groups.c.run,
    groups.c.run_first,
    unique=True,
    sqlite_where=OF_A_RUN,
    postgresql_where=OF_A_RUN,
)

sought = Table(
    "sought",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("seq", _COUNT, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""Where the entries are that are looked for over the whole ledger, such as stops and open questions: few."""

tiles = Table(
    "tiles",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("idx", _COUNT, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
    Column("root", LargeBinary, nullable=False),
)
"""Complete tiles of the Merkle tree: 256 hashes of one height, and the one above them (C2SP tlog-tiles)."""

tip = Table(
    "tip",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
)
"""One row: how many entries there are, and the checkpoint of the commit that wrote the last one."""

cosigned = Table(
    "cosigned",
    metadata,
    Column("size", _COUNT, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
)
"""Checkpoints that witnesses have signed."""

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
