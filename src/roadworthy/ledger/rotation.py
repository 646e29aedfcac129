"""The keys that a ledger's checkpoints were signed with, one after the other, and how the next one comes into use.

Every key stands in the ledger, in an entry of kind `key`. The first one says `{"vkey": …}`. A later one says which key
it follows, and has a signature of that earlier key over both, so that whoever trusts one key of a ledger can follow to
all later ones, and to no earlier one. A checkpoint is signed with the key of the last such entry that it covers.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from roadworthy.core.clock import SystemClock
from roadworthy.core.errors import Conflict, LedgerError, UsageError
from roadworthy.core.types import Claim, Draft
from roadworthy.ledger.checkpoint import LOG, LogKey, Note, NoteError, Signature, Verifier

if TYPE_CHECKING:
    from roadworthy.ledger.store import Ledger
    from roadworthy.ledger.vault import Vault

_MARK: Final = "roadworthy/key/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What one entry of kind `key` comes to."""

    seq: int
    key: Verifier | None
    """The key that the entry brings into use; None where it brings none."""
    wrong: str | None = None
    """Why it brings none: it was not written by this ledger as it stands there."""


def statement(old: Verifier, new: Verifier) -> str:
    """The text that the old key signs: no checkpoint can be read from it, and it can be read from no checkpoint."""
    return f"{_MARK}\n{old.vkey}\n{new.vkey}\n"


def succession(old: LogKey, new: LogKey, *, by: str, because: str) -> dict[str, Any]:
    """The body of the entry that brings a new key into use."""
    signed = Signature.parse(old.sign(statement(old.verifier, new.verifier)))
    return {
        "after": old.vkey,
        "because": because,
        "by": by,
        "signature": base64.b64encode(signed.key_id + signed.signature).decode(),
        "vkey": new.vkey,
    }


def links(bodies: Iterable[tuple[int, Mapping[str, Any]]], *, origin: str) -> Iterator[Link]:
    """What the entries of kind `key` of a ledger come to: their seq and body, in order. Never raises.

    Each is held against the last one before it that was right. The first one is taken as it stands: whether it is this
    ledger's key, only somebody who was told the key can say.
    """
    held: Verifier | None = None
    for seq, body in bodies:
        found = followed(held, body, origin)
        if isinstance(found, Verifier):
            held = found
            yield Link(seq=seq, key=found)
        else:
            yield Link(seq=seq, key=None, wrong=found)


def followed(held: Verifier | None, body: Mapping[str, Any], origin: str) -> Verifier | str:
    """The key that the body of an entry brings into use after the one that was; or why it brings none."""
    try:
        new = Verifier.parse(str(body.get("vkey")))
    except NoteError as error:
        return error.text
    if new.algorithm != LOG or new.name != origin:
        return f"the key {new.vkey} is not one of {origin}"
    if held is None:
        return "the first key of a ledger follows none, and this one says that it does" if "after" in body else new
    if body.get("after") != held.vkey:
        return f"the key {new.vkey} does not follow {held.vkey}, which was in use"
    try:
        signed = base64.b64decode(str(body.get("signature")), validate=True)
    except (binascii.Error, ValueError):
        signed = b""
    if signed[:4] != held.key_id or not held.verify(statement(held, new), signed[4:]):
        return f"the key {new.vkey} has no signature of {held.vkey}, which it follows"
    return new


def in_force(found: Iterable[Link], size: int) -> Verifier | None:
    """The key that signs the checkpoint of so many entries; None where it is not signed."""
    return next((link.key for link in reversed(tuple(found)) if link.key is not None and link.seq <= size), None)


def followers(trusted: Verifier, bodies: Iterable[Mapping[str, Any]]) -> tuple[Verifier, ...]:
    """A key that is trusted, and those that have followed it one after the other by what these bodies say.

    What does not follow is passed over: earlier keys, and forged ones.
    """
    known = [trusted]
    for body in bodies:
        found = followed(known[-1], body, trusted.name)
        if isinstance(found, Verifier):
            known.append(found)
    return tuple(known)


def keys_of(ledger: Ledger) -> Sequence[Link]:
    """The keys of a ledger, the first one first."""
    return tuple(links(((entry.seq, entry.body) for entry in ledger.entries(kind="key")), origin=_origin(ledger)))


def rotate(ledger: Ledger, *, by: str, because: str) -> Link:
    """Bring a new key into use, and destroy the old one in the vault once the ledger holds the entry that says so.

    The checkpoint over that entry is signed with both keys, later ones with the new one alone. Other processes that
    write to the ledger follow at their next append. Raises UsageError where there is no key yet, LedgerError where
    the ledger has no vault, or somebody else was first.
    """
    vault = ledger.vault
    if vault is None:
        raise LedgerError(f"the ledger {ledger.name} was opened without its vault, where its keys are: give the vault")
    origin = _origin(ledger)
    old = _in_use(ledger, vault, origin)
    new = LogKey.new(origin)
    vault.keep_log_key(ledger.id, new)  # before the entry: a ledger whose key is nowhere could not be written to
    draft = Draft(
        kind="key", world="production", run=None, body=succession(old, new, by=by, because=because),
        at=SystemClock().now(),
    )  # fmt: skip
    followed_once = Claim(key=f"log key {old.verifier.key_id.hex()} followed", value=new.vkey)
    try:
        (entry,) = ledger.append([draft], [followed_once])
    except Conflict as conflict:
        vault.forget_log_key(ledger.id, new)
        raise LedgerError(
            f"somebody else has given the ledger {ledger.name} a new key meanwhile, {conflict.found}: "
            "`roadworthy ledger key show` tells; rotate again if you still want to"
        ) from conflict
    vault.forget_log_key(ledger.id, old)
    return Link(seq=entry.seq, key=new.verifier)


def _in_use(ledger: Ledger, vault: Vault, origin: str) -> LogKey:
    note: Note | None = None
    while True:
        before, note = note, Note.parse(ledger.checkpoint() or "\n", unsigned=True)
        signed = [one.key_id for one in note.signatures if one.name == origin]
        if not signed:
            raise UsageError(
                f"the ledger {ledger.name} has no key yet: it gets one with the first entry that is written with its "
                "vault"
            )
        for key in vault.log_keys(ledger.id, origin):
            if key.verifier.key_id == signed[-1]:
                return key
        if note == before:  # else another process has brought in the next one meanwhile
            raise LedgerError(
                f"the vault does not have the key that signs {ledger.name}: give the one that it is written with"
            )


def _origin(ledger: Ledger) -> str:
    return f"roadworthy/{ledger.id}"
