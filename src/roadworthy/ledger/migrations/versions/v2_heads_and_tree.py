"""Version 2: entries become heads, the leaves of a Merkle tree, and stand together in groups.

The body of each entry becomes part of its head as it is, to the byte. Nothing is encrypted and nothing is signed: what
was written in plain has been read by whoever could read the file.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson
from alembic import op
from sqlalchemy import BigInteger, Column, Connection, Integer, LargeBinary, Text, inspect, text

from roadworthy.core.errors import LedgerError
from roadworthy.ledger.merkle import EMPTY, leaf_hash, root_of

revision = "2"
down_revision = "1"

# What stands here is as it was for version 2, whatever becomes of it elsewhere.
_OF_THE_WHOLE: Final = frozenset(
    ("contract", "level", "stop", "signature", "manifest", "release", "export", "prune", "key")
)
_SOUGHT: Final = frozenset(("question", "answer", "undo", "observation", "drift"))
_PAGE: Final = 1_000
_GROUP: Final = 256
_TILE: Final = 256

_Row = tuple[int, int, str, str | None, int, str, str | None, bytes]


def upgrade() -> None:
    """Take every entry over, build the tree above them, and drop the old table."""
    bind = op.get_bind()
    there = set(inspect(bind).get_table_names())
    ledger_id = _beside(bind, there)
    _tables()
    tree = _Tree(bind)
    after = 0
    while page := _page(bind, after):
        for group in _groups(page):
            _take_over(bind, tree, group)
        after = page[-1][0]
    tree.close(ledger_id, after)
    op.drop_table("entries")


def _beside(bind: Connection, there: set[str]) -> str:
    """The ledger's id, after what the earliest ledgers lack beside their entries has been made."""
    if "accounts" not in there:
        op.create_table("accounts", Column("account", Text, primary_key=True), Column("total", Text, nullable=False))
    if "claims" not in there:
        op.create_table("claims", Column("key", Text, primary_key=True), Column("value", Text, nullable=False))
    if "identity" not in there:
        op.create_table("identity", Column("id", Text, nullable=False))
        bind.execute(text("INSERT INTO identity (id) VALUES (:id)"), {"id": secrets.token_hex(16)})
    return str(bind.execute(text("SELECT id FROM identity")).scalar_one())


def _tables() -> None:
    count = BigInteger().with_variant(Integer(), "sqlite")
    op.create_table(
        "groups",
        Column("first", count, primary_key=True, autoincrement=False),
        Column("last", BigInteger, nullable=False),
        Column("run", Text),
        Column("run_first", Integer, nullable=False),
        Column("world", Text, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("kinds", Text, nullable=False),
        Column("heads", LargeBinary, nullable=False),
        Column("sealed", LargeBinary),
    )
    of_a_run = text("run IS NOT NULL")
    op.create_index(
        "groups_by_run", "groups", ["run", "run_first"], unique=True, sqlite_where=of_a_run, postgresql_where=of_a_run
    )
    op.create_table(
        "sought",
        Column("kind", Text, primary_key=True),
        Column("seq", count, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tiles",
        Column("level", Integer, primary_key=True, autoincrement=False),
        Column("idx", count, primary_key=True, autoincrement=False),
        Column("hashes", LargeBinary, nullable=False),
        Column("root", LargeBinary, nullable=False),
    )
    op.create_table(
        "tip",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("size", BigInteger, nullable=False),
        Column("note", Text, nullable=False),
    )
    op.create_table(
        "cosigned",
        Column("size", count, primary_key=True, autoincrement=False),
        Column("note", Text, nullable=False),
    )


def _page(bind: Connection, after: int) -> Sequence[_Row]:
    found = bind.execute(
        text(
            "SELECT seq, at, world, run, run_seq, kind, cause, body FROM entries "
            "WHERE seq > :after ORDER BY seq LIMIT :limit"
        ),
        {"after": after, "limit": _PAGE},
    ).all()
    if found and [row[0] for row in found] != list(range(after + 1, after + len(found) + 1)):
        raise LedgerError(
            f"entries after {after} are missing from the ledger, so that it was left as it is: restore it from a backup"
        )
    return [(*row[:7], bytes(row[7])) for row in found]


def _groups(page: Sequence[_Row]) -> Iterator[list[_Row]]:
    """Neighbours of one run and world. Which of them were one append is not known any more."""
    group: list[_Row] = []
    for row in page:
        if group and (len(group) == _GROUP or row[2:4] != group[0][2:4]):
            yield group
            group = []
        group.append(row)
    yield group


def _head(row: _Row, index: int) -> bytes:
    seq, at, world, run, run_seq, kind, cause, body = row
    head = b'{"at":%d,"body":%b,"cause":%b,"i":%d,"kind":%b,"run":%b,"run_seq":%d,' % (
        at, body, orjson.dumps(cause), index, orjson.dumps(kind), orjson.dumps(run), run_seq,
    )  # fmt: skip
    head += b'"sealed":[],"seq":%d,"v":1,"world":%b}' % (seq, orjson.dumps(world))
    try:
        whole = b"\n" not in head and orjson.loads(head)["seq"] == seq and isinstance(orjson.loads(body), dict)
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise LedgerError(
            f"entry {seq} cannot be read, its bytes are damaged, so that the ledger was left as it is: restore it from "
            "a backup"
        )
    return head


def _take_over(bind: Connection, tree: _Tree, group: list[_Row]) -> None:
    heads = [_head(row, index) for index, row in enumerate(group)]
    seq, at, world, run, run_seq = group[0][:5]
    bind.execute(
        text(
            "INSERT INTO groups (first, last, run, run_first, world, at, kinds, heads, sealed) "
            "VALUES (:first, :last, :run, :run_first, :world, :at, :kinds, :heads, NULL)"
        ),
        {
            "first": seq,
            "last": group[-1][0],
            "run": run,
            "run_first": run_seq,
            "world": world,
            "at": at,
            "kinds": ",".join(sorted({row[5] for row in group})),
            "heads": b"\n".join(heads),
        },
    )
    sought = [{"kind": row[5], "seq": row[0]} for row in group if row[5] in _OF_THE_WHOLE or row[5] in _SOUGHT]
    if sought:
        bind.execute(text("INSERT INTO sought (kind, seq) VALUES (:kind, :seq)"), sought)
    for head in heads:
        tree.add(leaf_hash(head))


class _Tree:
    """The tree while it grows: of every level, the hashes that fill no tile yet."""

    def __init__(self, bind: Connection) -> None:
        self._bind = bind
        self._open: list[list[bytes]] = [[]]
        self._full: list[int] = [0]

    def add(self, found: bytes, level: int = 0) -> None:
        """Append a leaf, or a node of height 8 * level."""
        if level == len(self._open):
            self._open.append([])
            self._full.append(0)
        hashes = self._open[level]
        hashes.append(found)
        if len(hashes) < _TILE:
            return
        above = root_of(hashes)
        self._bind.execute(
            text("INSERT INTO tiles (level, idx, hashes, root) VALUES (:level, :idx, :hashes, :root)"),
            {"level": level, "idx": self._full[level], "hashes": b"".join(hashes), "root": above},
        )
        self._full[level] += 1
        self._open[level] = []
        self.add(above, level + 1)

    def close(self, ledger_id: str, size: int) -> None:
        """Write the checkpoint of the whole tree, unsigned. A ledger without entries has none."""
        if not size:
            return
        root: list[bytes] = []
        for hashes in self._open:
            if hashes or root:
                root = [root_of([*hashes, *root])]
        told = base64.b64encode(root[0] if root else EMPTY).decode()
        note: dict[str, Any] = {"size": size, "note": f"roadworthy/{ledger_id}\n{size}\n{told}\n"}
        self._bind.execute(text("INSERT INTO tip (id, size, note) VALUES (1, :size, :note)"), note)
