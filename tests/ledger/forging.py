"""What somebody can do who may write to a ledger's file and has no key: change heads, and mend the tree over them."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from roadworthy.core.canonical import dumps, loads
from roadworthy.ledger.merkle import leaf_hash, root_of

Head = dict[str, Any]


def rewrite(path: Path, change: Callable[[Head], Head | None], *, mend: bool = True) -> int:
    """Change heads in the file itself; `change` gives the new head or None. How many were changed.

    With `mend`, tiles and checkpoint are made anew, as they can be where nobody has signed.
    """
    count = 0
    with closing(sqlite3.connect(path)) as at, at:
        for first, heads in at.execute("SELECT first, heads FROM groups ORDER BY first").fetchall():
            lines = bytes(heads).split(b"\n")
            for i, line in enumerate(lines):
                new = change(orjson.loads(line))
                if new is not None:
                    lines[i] = orjson.dumps(new, option=orjson.OPT_SORT_KEYS)
                    count += 1
            at.execute("UPDATE groups SET heads = ? WHERE first = ?", (b"\n".join(lines), first))
        if mend:
            chain_anew(at)
    return count


def chain_anew(at: sqlite3.Connection) -> None:
    """Make the tiles and an unsigned checkpoint for the heads that are there."""
    rows = at.execute("SELECT heads FROM groups ORDER BY first").fetchall()
    hashes = [leaf_hash(line) for (heads,) in rows for line in bytes(heads).split(b"\n")]
    at.execute("DELETE FROM tiles")
    root, level, size = root_of(hashes), 0, len(hashes)
    while len(hashes) >= 256:
        above: list[bytes] = []
        for begin in range(0, len(hashes) - 255, 256):
            tile = hashes[begin : begin + 256]
            above.append(root_of(tile))
            at.execute("INSERT INTO tiles VALUES (?, ?, ?, ?)", (level, begin >> 8, b"".join(tile), above[-1]))
        hashes, level = above, level + 1
    (note,) = at.execute("SELECT note FROM tip").fetchone()
    origin = note.split("\n")[0]
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    at.execute("UPDATE tip SET size = ?, note = ?", (size, text))


def falsify(path: Path, kind: str, run: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change what entries of a kind say in a run, and mend the tree over them."""

    def told(head: Head) -> Head | None:
        if (head["kind"], head["run"]) != (kind, run):
            return None
        return {**head, "body": orjson.loads(dumps(change(loads(orjson.dumps(head["body"])))))}

    assert rewrite(path, told), f"there is no {kind}"
