"""Receipts: that an entry stands in a ledger, for somebody who has neither the ledger nor a reason to trust it.

    c2sp.org/tlog-proof@v1
    extra eyJoZWFkIjoi…                                 the entry's head, and keys that have followed one another
    index 1041                                          its place, counted from 0
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=        from the entry up to the root of the tree
    …

    roadworthy/4f2a…                                    the checkpoint that it was proven against, with its signatures
    1042
    …

Source: C2SP tlog-proof. A receipt says that the ledger's keeper has signed for the entry, in this place and with these
bytes; and, where a witness has cosigned the checkpoint, that nobody was shown another history up to there.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from roadworthy.core.errors import LedgerError, UsageError
from roadworthy.ledger.checkpoint import Checkpoint, Note, NoteError, Signed, Verifier
from roadworthy.ledger.merkle import HASH_BYTES, included, inclusion, leaf_hash
from roadworthy.ledger.rehash import root_of_entries
from roadworthy.ledger.rotation import followers

if TYPE_CHECKING:
    from roadworthy.ledger.store import Ledger

_FIRST: Final = "c2sp.org/tlog-proof@v1"
_MOST: Final = 16_000_000
"""Characters. An entry may be large where nothing of it is private, as in trials."""
_HASHES: Final = 63
_PLACE: Final = re.compile("0|[1-9][0-9]{0,18}")


class Unproven(UsageError):
    """A receipt does not prove what it is held against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A receipt as it stands there; nothing of it is checked yet."""

    index: int
    """The entry's place, counted from 0: its seq is one more."""
    proof: tuple[bytes, ...]
    note: Note
    checkpoint: Checkpoint
    head: bytes | None
    """The entry's head, if the receipt brings it along."""
    keys: tuple[Mapping[str, Any], ...]
    """Bodies of entries that brought new keys into use."""

    def __str__(self) -> str:
        lines = [_FIRST]
        if self.head is not None:
            extra: dict[str, Any] = {"head": self.head.decode()}
            if self.keys:
                extra["keys"] = [dict(body) for body in self.keys]
            lines.append(f"extra {_base64(orjson.dumps(extra, option=orjson.OPT_SORT_KEYS))}")
        lines += [f"index {self.index}", *map(_base64, self.proof)]
        return "\n".join(lines) + f"\n\n{self.note}"

    @classmethod
    def parse(cls, text: str) -> Receipt:
        """The receipt that a text holds. Raises NoteError for any other text."""
        top, gap, below = text.partition("\n\n")
        first, *lines = top.split("\n")
        if first != _FIRST or not gap or len(text) > _MOST:
            raise NoteError(f"this is no receipt: it does not begin with a line {_FIRST}")
        extra: dict[str, Any] = {}
        if lines and lines[0].startswith("extra "):
            extra = _extra(lines.pop(0).removeprefix("extra "))
        index = lines.pop(0).removeprefix("index ") if lines and lines[0].startswith("index ") else ""
        if not _PLACE.fullmatch(index):
            raise NoteError("this is no receipt: it does not say where the entry stands")
        proof = tuple(map(_unbase64, lines[: _HASHES + 1]))
        if len(proof) > _HASHES or any(len(one) != HASH_BYTES for one in proof):
            raise NoteError("this is no receipt: its proof is not made of hashes, 32 bytes each in base64")
        note = Note.parse(below)
        head, keys = extra.get("head"), extra.get("keys")
        named = cast("list[Any]", keys) if isinstance(keys, list) else []
        return cls(
            index=int(index),
            proof=proof,
            note=note,
            checkpoint=Checkpoint.parse(note.text),
            head=head.encode() if isinstance(head, str) else None,
            keys=tuple(cast("Mapping[str, Any]", one) for one in named if isinstance(one, dict)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What a receipt has proven."""

    seq: int
    head: bytes
    """The entry's head, byte for byte as it was signed for."""
    entry: Mapping[str, Any]
    """The head, read."""
    checkpoint: Checkpoint
    by: Verifier
    """The ledger's key that signed."""
    witnesses: tuple[Signed, ...]
    """Which of the trusted witnesses have cosigned, and when."""


def receipt(ledger: Ledger, seq: int) -> str:
    """The receipt for an entry, by the latest checkpoint over it that a witness has cosigned, or else by the latest.

    Raises UsageError for an entry that there is not, LedgerError where the ledger is not signed or was changed.
    """
    note, checkpoint = _checkpoint(ledger, seq)
    if not 1 <= seq <= checkpoint.size:
        raise UsageError(f"{ledger.name} holds {checkpoint.size} entries, and no entry {seq}: they are counted from 1")
    try:
        head = ledger.head(seq)
    except LookupError:
        raise LedgerError(f"entry {seq} was pruned from {ledger.name}: what is gone gets no receipt") from None
    proof = tuple(inclusion(seq - 1, checkpoint.size, ledger.node))
    if not included(leaf_hash(head), seq - 1, checkpoint.size, proof, checkpoint.root):
        raise LedgerError(
            f"entry {seq} of {ledger.name} is not what was signed for, or others are not: `roadworthy ledger verify` "
            "says which; restore the ledger from a backup"
        )
    rotations = ledger.entries(kind="key")
    keys = tuple(entry.body for entry in rotations if "after" in entry.body and entry.seq <= checkpoint.size)
    return str(Receipt(index=seq - 1, proof=proof, note=note, checkpoint=checkpoint, head=head, keys=keys))


def _checkpoint(ledger: Ledger, seq: int) -> tuple[Note, Checkpoint]:
    cosigned = [text for size, text in ledger.cosigned() if size >= seq]
    written = cosigned[-1] if cosigned else ledger.checkpoint()
    if written is None:
        raise UsageError(f"{ledger.name} holds no entries, so there is nothing to give a receipt for")
    try:
        note = Note.parse(written, unsigned=True)
        checkpoint = Checkpoint.parse(note.text)
    except NoteError as error:
        raise LedgerError(f"a checkpoint of {ledger.name} is damaged: {error.text}") from error
    if not note.signatures:
        raise LedgerError(
            f"the ledger {ledger.name} is not signed, so a receipt would prove nothing: it is signed from the first "
            "entry on that is written with a vault (--vault, ROADWORTHY_VAULT)"
        )
    return note, checkpoint


def check_receipt(
    text: str, key: Verifier | str, head: bytes | None = None, *, witnesses: Iterable[Verifier | str] = ()
) -> Proven:
    """What a receipt proves to somebody who trusts one key of the ledger, this one or an earlier one.

    `head`: the entry that it must be for; without it, the one that the receipt brings along. Signatures of trusted
    witnesses are checked where they stand; which there are, the answer says. Raises Unproven, or NoteError for what
    is no receipt or no key.
    """
    found = Receipt.parse(text)
    trusted = Verifier.parse(key) if isinstance(key, str) else key
    known = followers(trusted, found.keys)
    watching = [Verifier.parse(one) if isinstance(one, str) else one for one in witnesses]
    checkpoint = found.checkpoint
    if checkpoint.origin != trusted.name:
        raise Unproven(f"the receipt is of the ledger {checkpoint.origin}, and the key of {trusted.name}")
    try:
        signed = found.note.checked((*known, *watching))
    except NoteError as error:
        raise Unproven(error.text) from error
    by = [one.by for one in signed if one.by in known]
    if not by:
        raise Unproven(f"the receipt has no signature of {trusted.vkey}, nor of a key that has followed it")
    told = found.head if head is None else head
    if told is None:
        raise Unproven("the receipt does not bring its entry along: give the entry's head")
    if found.head is not None and found.head != told:
        raise Unproven("the receipt is for another entry than this one, or the entry was changed")
    if not included(leaf_hash(told), found.index, checkpoint.size, found.proof, checkpoint.root):
        raise Unproven("the receipt's proof does not lead from its entry to what was signed: one of them was changed")
    entry = _read(told)
    if entry.get("seq") != found.index + 1:
        raise Unproven(f"what was signed for stands in place {found.index + 1}, and says of itself that it does not")
    return Proven(
        seq=found.index + 1,
        head=told,
        entry=entry,
        checkpoint=checkpoint,
        by=by[-1],
        witnesses=tuple(one for one in signed if one.by not in known),
    )


def still_there(ledger: Ledger, proven: Proven) -> str | None:
    """What of a receipt no longer agrees with its ledger; None where the ledger still holds all that it held then.

    This finds what nobody can find in the ledger alone: that it was cut, or written anew with its own key. Every entry
    is hashed anew, for whoever changes one in the file leaves the tree's tiles as they are.
    """
    checkpoint = proven.checkpoint
    if checkpoint.origin != f"roadworthy/{ledger.id}":
        return f"the receipt is of the ledger {checkpoint.origin}, and this is roadworthy/{ledger.id}"
    if ledger.size < checkpoint.size:
        return f"the ledger held {checkpoint.size} entries, and now it holds {ledger.size}"
    with suppress(LookupError):  # it was pruned: the tree still tells
        if ledger.head(proven.seq) != proven.head:
            return f"entry {proven.seq} was another one when the receipt was given"
    if root_of_entries(ledger, checkpoint.size) != checkpoint.root:
        return f"the first {checkpoint.size} entries are not those that were there when the receipt was given"
    return None


def _read(head: bytes) -> Mapping[str, Any]:
    try:
        entry = orjson.loads(head)
    except orjson.JSONDecodeError as error:
        raise Unproven(f"what was signed for is no entry: {error}") from error
    if not isinstance(entry, dict):
        raise Unproven("what was signed for is no entry: it is no object of JSON")
    return cast("dict[str, Any]", entry)


def _extra(written: str) -> dict[str, Any]:
    try:
        extra = orjson.loads(_unbase64(written))
    except orjson.JSONDecodeError:
        return {}  # somebody else's: the specification leaves it open what stands there
    return cast("dict[str, Any]", extra) if isinstance(extra, dict) else {}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str) -> bytes:
    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, ValueError):
        data = None
    if data is None or _base64(data) != text:
        raise NoteError("this is no receipt: something in it is not base64 as it is written")
    return data
