"""A ledger as JSON Lines: all that its proofs need, for whoever checks it without Roadworthy.

    {"format":1,"ledger":"…","origin":"roadworthy/…","vkeys":["…"]}
    {"cosigned":"…"}                                      a checkpoint that witnesses have cosigned
    {"group":[1,3],"heads":["…","…","…"],"sealed":null}   entries, their heads as they are stored and hashed
    {"checkpoint":"…","size":3}                           the last checkpoint

Every line is canonical JSON. Of entries that were pruned the hashes are left: `{"leaves":"…","pruned":[4,9]}`, 32 bytes
each, one after the other. What is encrypted stays so: no vault is asked for. `roadworthy.verify_ledger` reads it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, cast

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
    cosigned = ledger.cosigned()  # before the checkpoint, so that honest ones are no later than it
    note = ledger.checkpoint()
    try:
        size = 0 if note is None else Checkpoint.parse(Note.parse(note, unsigned=True).text).size
    except (NoteError, TypeError, AttributeError) as broken:
        raise LedgerError(
            f"the ledger {ledger.name} cannot be exported, its last checkpoint is damaged ({broken}): "
            "`roadworthy ledger verify` says what else is wrong"
        ) from broken
    # As of one moment, and in the order of the table's key, so that a column that was changed misleads nobody.
    groups = (Group(*row) for row in ledger.rows("groups"))
    yield _line(_front(ledger))
    for _, text in cosigned:
        yield _line({"cosigned": text})
    for group in groups:
        if not isinstance(cast("Any", group.first), int) or group.first > size:
            break
        yield _line(_group(group) if group.heads else _pruned(ledger, group))
    yield _line({"checkpoint": note, "size": size})


def _front(ledger: Ledger) -> dict[str, Any]:
    vkeys = [str(entry.body.get("vkey")) for entry in ledger.entries(kind="key")]
    return {"format": FORMAT, "ledger": ledger.id, "origin": f"roadworthy/{ledger.id}", "vkeys": vkeys}


def _group(group: Group) -> dict[str, Any]:
    try:
        return {
            "group": [group.first, group.last],
            "heads": group.heads.decode().split("\n"),
            "sealed": None if group.sealed is None else base64.b64encode(group.sealed).decode(),
        }
    except (UnicodeDecodeError, AttributeError, TypeError) as cause:
        raise LedgerError(
            f"the entries {group.first} to {group.last} cannot be exported, their bytes are damaged ({cause}): "
            "`roadworthy ledger verify` says what is wrong"
        ) from cause


def leaves_of(ledger: Ledger, group: Group) -> list[bytes]:
    """The hashes that are left of a group that was pruned. Raises LedgerError where they are not."""
    try:
        return [ledger.node(0, at) for at in range(group.first - 1, group.last)]
    except LookupError as cause:
        raise LedgerError(
            f"the entries {group.first} to {group.last} are missing, and so are their hashes: restore the ledger "
            "from a backup"
        ) from cause


def _pruned(ledger: Ledger, group: Group) -> dict[str, Any]:
    leaves = base64.b64encode(b"".join(leaves_of(ledger, group))).decode()
    return {"leaves": leaves, "pruned": [group.first, group.last]}


def _line(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
