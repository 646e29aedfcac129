"""How much of a ledger witnesses have signed, and how much came after: that could still be dropped or rewritten.

Whoever holds the keys of a ledger can write another history of it, and nothing in the ledger shows that. What a witness
has signed stays as it was: another history of it contradicts the witness. What came after the last signature does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from roadworthy.core.errors import LedgerError
from roadworthy.ledger.checkpoint import Checkpoint, Note, NoteError, Verifier
from roadworthy.ledger.compose import ORIGIN
from roadworthy.ledger.merkle import Node, root


class Grown(Protocol):
    """What is asked of a ledger here: its id, its tree, and the witnesses' signatures that it keeps."""

    @property
    def id(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def node(self) -> Node: ...
    def cosigned(self) -> Sequence[tuple[int, str]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """What one witness has signed of a ledger."""

    witness: str
    """The name of its key."""
    size: int
    at: datetime
    """When it signed, by its own clock, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What witnesses vouch for, and what they do not."""

    size: int
    """The first so many entries cannot be changed unnoticed; 0 where too few witnesses have signed."""
    at: datetime | None
    """When the last signature that this takes was made, UTC."""
    after: int
    """Entries that came later: whoever holds the ledger's keys could still drop or rewrite them."""
    witnesses: tuple[Cosigned, ...]
    """The last that each of the witnesses has signed and that this ledger continues, the largest first."""
    contradictions: tuple[str, ...]
    """What witnesses have signed and this ledger is not: it was rewritten, or set back."""


def exposure(ledger: Grown, trusted: Iterable[str], *, quorum: int = 1, notes: Iterable[str] = ()) -> Exposure:
    """What witnesses vouch for, by the signatures that the ledger keeps and those in `notes`.

    `trusted`: the vkeys of the witnesses; signatures of others count for nothing. `quorum`: how many of them must have
    signed, at least 1. The ledger's own tree is taken as its tiles and heads have it: whether it is whole, `verify`
    tells. Raises NoteError for a vkey that is none, LedgerError where the tree cannot be read.
    """
    keys = {key.public: key for key in map(Verifier.parse, trusted)}
    found: list[Cosigned] = []
    against: dict[str, None] = {}
    left = dict(keys)
    for note, checkpoint in _latest_first(ledger, notes):
        if not left:
            break
        for public, at in _signed(note, left):
            wrong = contradiction(ledger, checkpoint, left[public].name)
            if wrong is not None:
                against[wrong] = None  # an earlier signature may still stand
                continue
            found.append(Cosigned(witness=left.pop(public).name, size=checkpoint.size, at=at))
    enough = len(found) >= quorum > 0
    size = found[quorum - 1].size if enough else 0
    return Exposure(
        size=size,
        at=max(one.at for one in found[:quorum]) if enough else None,
        after=ledger.size - size,
        witnesses=tuple(found),
        contradictions=tuple(against),
    )


def contradiction(ledger: Grown, signed: Checkpoint, witness: str) -> str | None:
    """What is wrong where a ledger does not continue a checkpoint that a witness has signed; None where it does."""
    if signed.origin != f"{ORIGIN}{ledger.id}":
        return f"{witness} has signed a checkpoint of another log, {signed.origin}"
    if signed.size > ledger.size:
        return (
            f"{witness} has signed a checkpoint of {signed.size:,} entries, and this ledger holds {ledger.size:,}: "
            "entries were cut off, or an old copy was put in its place"
        )
    try:
        own = root(signed.size, ledger.node)
    except LookupError as cause:
        raise LedgerError(f"the tree of the ledger cannot be read at {signed.size} entries: {cause}") from cause
    if own != signed.root:
        return (
            f"{witness} has signed other entries than this ledger holds: somewhere in the first {signed.size:,} it was "
            "rewritten"
        )
    return None


def _latest_first(ledger: Grown, notes: Iterable[str]) -> Sequence[tuple[Note, Checkpoint]]:
    found: list[tuple[Note, Checkpoint]] = []
    for written in (*(note for _, note in ledger.cosigned()), *notes):
        try:
            note = Note.parse(written)
            found.append((note, Checkpoint.parse(note.text)))
        except NoteError:
            continue  # it proves nothing, neither for the ledger nor against it
    return sorted(found, key=lambda one: one[1].size, reverse=True)


def _signed(note: Note, keys: Mapping[bytes, Verifier]) -> Sequence[tuple[bytes, datetime]]:
    """Which of the keys have signed a note, and when. One that is wrong spoils no other."""
    found: dict[bytes, datetime] = {}
    for one in note.signatures:
        for public, key in keys.items():
            if (key.name, key.key_id) == (one.name, one.key_id) and key.verify(note.text, one.signature):
                at = key.time_of(one.signature)
                if at:
                    found[public] = _time(at)
    return list(found.items())


def _time(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # a witness may write any number
        return datetime.max.replace(tzinfo=UTC)
