"""A ledger as JSON Lines: all that its proofs need, for whoever checks it without Roadworthy.

    {"format":1,"ledger":"…","origin":"roadworthy/…","vkeys":["…"]}
    {"cosigned":"…"}                                      a checkpoint that witnesses have cosigned
    {"group":[1,3],"heads":["…","…","…"],"sealed":null}   entries, their heads as they are stored and hashed
    {"checkpoint":"…","size":3}                           the last checkpoint

Every line is canonical JSON. Where the earlier part of a ledger was pruned, the first line has `pruned` too: how many
entries are gone, and the roots of the complete subtrees over them, the largest first. What is encrypted stays so: no
vault is asked for. `roadworthy.verify_ledger` reads it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson

from roadworthy.core.errors import LedgerError
from roadworthy.ledger.checkpoint import Checkpoint, Note, NoteError
from roadworthy.ledger.heads import Group

if TYPE_CHECKING:
    from roadworthy.ledger.store import Ledger

FORMAT: Final = 1
"""What stands in the first line; `verify_ledger.FORMAT` is the same."""


def lines(ledger: Ledger) -> Iterator[bytes]:
    """The export of a ledger, line by line, each with its line feed; as it stood when the first one was asked for.

    Holds one group of entries at a time. Raises LedgerError for what cannot be read.
    """
    note = ledger.checkpoint()
    try:
        size = 0 if note is None else Checkpoint.parse(Note.parse(note, unsigned=True).text).size
    except NoteError as broken:
        raise LedgerError(
            f"the ledger {ledger.name} cannot be exported, its last checkpoint is damaged ({broken.text}): "
            "`roadworthy ledger verify` says what else is wrong"
        ) from broken
    # As of one moment, and in the order of the table's key, so that a column that was changed misleads nobody.
    groups = (Group(*row) for row in ledger.rows("groups"))
    first = next(groups, None)
    yield _line(_front(ledger, 0 if first is None else first.first - 1))
    for of, cosigned in ledger.cosigned():
        if of <= size:
            yield _line({"cosigned": cosigned})
    while first is not None and first.first <= size:
        yield _line(_group(first))
        first = next(groups, None)
    yield _line({"checkpoint": note, "size": size})


def _front(ledger: Ledger, gone: int) -> dict[str, Any]:
    vkeys = [str(entry.body.get("vkey")) for entry in ledger.entries(kind="key")]
    front: dict[str, Any] = {
        "format": FORMAT,
        "ledger": ledger.id,
        "origin": f"roadworthy/{ledger.id}",
        "vkeys": vkeys,
    }
    if gone:
        front["pruned"] = {"nodes": [base64.b64encode(node).decode() for node in peaks(ledger, gone)], "size": gone}
    return front


def peaks(ledger: Ledger, size: int) -> list[bytes]:
    """The roots of the complete subtrees over the first entries of a ledger, the largest first."""
    found: list[bytes] = []
    done = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            found.append(ledger.node(level, done >> level))
            done += 1 << level
    return found


def _group(group: Group) -> dict[str, Any]:
    try:
        return {
            "group": [group.first, group.last],
            "heads": group.heads.decode().split("\n"),
            "sealed": None if group.sealed is None else base64.b64encode(group.sealed).decode(),
        }
    except UnicodeDecodeError as cause:
        raise LedgerError(
            f"the entries {group.first} to {group.last} cannot be exported, their bytes are damaged ({cause}): "
            "`roadworthy ledger verify` says what is wrong"
        ) from cause


def _line(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
