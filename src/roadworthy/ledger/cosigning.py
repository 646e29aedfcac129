"""Asking witnesses to sign a ledger's checkpoint, and keeping what they have signed.

A witness gets the size and the root of the tree, a proof that this continues what it had signed before, and nothing of
what stands in the entries. What it answers is worth as much as its signature, whoever carried it: plain HTTP will do.

Source: C2SP tlog-witness.
"""

from __future__ import annotations

import binascii
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from roadworthy.core.errors import LedgerError, UsageError
from roadworthy.ledger.checkpoint import WITNESS, Checkpoint, Note, NoteError, Signature, Verifier
from roadworthy.ledger.compose import ORIGIN
from roadworthy.ledger.exposure import Cosigned, Grown, contradiction
from roadworthy.ledger.merkle import consistency
from roadworthy.ledger.rehash import Stored, root_of_entries

if TYPE_CHECKING:
    from urllib.request import Request

TIMEOUT_S: Final = 10.0
"""How long a witness may take to answer."""

_TRIES: Final = 4
"""Others may have the same ledger signed at the same time, and each time the proof is to be made anew."""
_ANSWER_BYTES: Final = 262_144
_SAID: Final = 200
"""Characters of a witness's own words in a message."""


class NoAnswer(LedgerError):
    """A witness cannot be reached, or does not answer as the protocol has it. Nothing is wrong with the ledger."""


class Contradicted(LedgerError):
    """A witness has signed another history of this ledger than this one. `note` is what it has signed, where it showed
    that: the checkpoint with its signature, which proves it to others."""

    def __init__(self, text: str, note: str | None = None) -> None:
        super().__init__(text)
        self.note = note


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessAt:
    """A witness that is trusted, and where it listens."""

    url: str
    """What `/add-checkpoint` is put behind."""
    key: Verifier

    @classmethod
    def parse(cls, url: str, vkey: str) -> WitnessAt:
        """Raises UsageError for what is no address, and for what is no key of a witness."""
        try:
            parts = urlsplit(url)
            named = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            named, parts = False, urlsplit("")
        if not named or parts.username is not None or parts.query or parts.fragment:
            raise UsageError(
                "a witness is at http://HOST:PORT or https://HOST/PATH, and what was given is no such address"
            )
        key = Verifier.parse(vkey)
        if key.algorithm != WITNESS:
            raise UsageError(f"{vkey} is no key of a witness: `ledger witness --show-key` prints it, over there")
        return cls(url=url.rstrip("/"), key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back from a witness."""

    status: int
    media: str
    body: str


Ask = Callable[[str, bytes | None], Reply]
"""(address, body): posts the body, or gets what is there. Raises NoAnswer where nothing comes back."""


class Held(Grown, Stored, Protocol):
    """What is asked of a ledger that is held against what a witness has signed."""


class Signable(Held, Protocol):
    """What is asked of a ledger that is to be signed by witnesses."""

    @property
    def name(self) -> str: ...
    def checkpoint(self) -> str | None: ...
    def keep_cosigned(self, size: int, note: str) -> None: ...


def over_http(address: str, body: bytes | None) -> Reply:
    """Ask over HTTP, within TIMEOUT_S. Proxies of the environment are used, but not for this machine."""
    # Who has nothing to ask need not load it.
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

    class Straight(HTTPRedirectHandler):
        def redirect_request(self, req: Request, fp: object, code: int, msg: str, headers: object, newurl: str) -> None:
            return None  # who is asked is who was named

    own = urlsplit(address).hostname in ("localhost", "127.0.0.1", "::1")
    opener = build_opener(Straight, *([ProxyHandler({})] if own else []))
    request = Request(address, data=body, headers={"User-Agent": "roadworthy"})
    if body is not None:
        request.add_header("Content-Type", "application/octet-stream")
    ends = time.monotonic() + TIMEOUT_S
    try:
        try:
            answer = opener.open(request, timeout=TIMEOUT_S)
        except HTTPError as refused:
            answer = refused
        with answer:
            found = b""
            while len(found) <= _ANSWER_BYTES and (part := answer.read1(65_536)):
                found += part
                if time.monotonic() > ends:
                    raise TimeoutError("it takes too long")
            if len(found) > _ANSWER_BYTES:
                raise NoAnswer(f"the witness at {address} sends more than anybody asked for: is it a witness?")
            return Reply(
                status=answer.status or 0,
                media=(answer.headers.get("Content-Type") or "").partition(";")[0].strip().lower(),
                body=found.decode(errors="replace"),
            )
    except (OSError, HTTPException, ValueError) as cause:
        raise NoAnswer(
            f"the witness at {address} cannot be reached ({cause or type(cause).__name__}): see that it runs and that "
            "this machine may talk to it. The ledger is as it was"
        ) from cause


def cosign(ledger: Signable, witness: WitnessAt, *, ask: Ask = over_http) -> Cosigned:
    """Have a witness sign the ledger's last checkpoint, and keep its signature in the ledger.

    Raises Contradicted where the witness has signed another history, NoAnswer where it does not sign for another
    reason, UsageError for a ledger whose checkpoints nobody signs.
    """
    old = _last(ledger, witness)
    for _ in range(_TRIES):
        note, new = _tip(ledger)
        if old > new.size:
            raise _contradicted(
                ledger,
                witness,
                ask,
                f"{witness.key.name} says that it has signed a checkpoint of {old:,} entries, and this ledger holds "
                f"{new.size:,}: were entries cut off, or an old copy put in its place?",
            )
        reply = ask(f"{witness.url}/add-checkpoint", _request(ledger, old, new.size, note))
        if reply.status == 409:
            old = _size(witness, reply)
        elif reply.status == 200:
            return _keep(ledger, witness, note, new, reply)
        elif reply.status == 422:
            raise _contradicted(
                ledger,
                witness,
                ask,
                f"{witness.key.name} does not take this ledger for the one that it has signed {old:,} entries of "
                f"({_said(reply)}): was it rewritten, or is it another copy?",
            )
        else:
            raise _refused(witness, new, reply)
    raise NoAnswer(f"{witness.key.name} names another size each time: is somebody else having this ledger signed?")


def compare(ledger: Held, witness: WitnessAt, *, ask: Ask = over_http) -> Cosigned | None:
    """What a witness has signed of a ledger last, which this ledger continues. Nothing is sent and nothing kept.

    Reads the whole ledger: each entry is hashed anew.

    None where it never signed anything of it. Raises Contradicted where it has signed another history, NoAnswer where
    it does not say.
    """
    place = sha256(f"{ORIGIN}{ledger.id}".encode()).hexdigest()
    reply = ask(f"{witness.url}/{place}/checkpoint", None)
    if reply.status == 404:
        return None
    if reply.status != 200:
        raise NoAnswer(f"{witness.key.name} does not show what it has signed ({reply.status}, {_said(reply)})")
    try:
        note = Note.parse(reply.body)
        checkpoint = Checkpoint.parse(note.text)
        at = next((signed.at for signed in note.checked([witness.key])), None)
    except NoteError as wrong:
        raise NoAnswer(f"what {witness.key.name} shows cannot be read: {wrong.text}") from wrong
    if not at:
        raise NoAnswer(
            f"what the witness at {witness.url} shows is not signed by {witness.key.name}: is it another one?"
        )
    wrong = contradiction(ledger, checkpoint, witness.key.name)
    if wrong is None and root_of_entries(ledger, checkpoint.size) != checkpoint.root:
        wrong = (
            f"{witness.key.name} has signed other entries than this ledger holds: among the first "
            f"{checkpoint.size:,} some were changed by hand; `roadworthy ledger verify` says which"
        )
    if wrong is not None:
        raise Contradicted(wrong, str(note))
    return _cosigned(witness, checkpoint, at)


def _contradicted(ledger: Held, witness: WitnessAt, ask: Ask, says: str) -> LedgerError:
    """What it means that a witness speaks against a ledger: what it has signed counts for more than what it says."""
    try:
        shown = compare(ledger, witness, ask=ask)
    except Contradicted as proven:
        return proven
    except NoAnswer:
        shown = None
    if shown is None:
        return Contradicted(says)
    return NoAnswer(
        f"{witness.key.name} does not sign, and what it shows to have signed last, of {shown.size:,} entries, is what "
        f"this ledger holds: something is wrong with the witness. It said: {says}"
    )


def _tip(ledger: Signable) -> tuple[Note, Checkpoint]:
    written = ledger.checkpoint()
    if written is None:
        raise UsageError(f"the ledger {ledger.name} holds no entries yet, so there is nothing to sign")
    try:
        note = Note.parse(written, unsigned=True)
        checkpoint = Checkpoint.parse(note.text)
    except NoteError as wrong:
        raise LedgerError(f"the last checkpoint of the ledger {ledger.name} cannot be read: {wrong.text}") from wrong
    if not note.signatures:
        raise UsageError(
            f"the checkpoints of the ledger {ledger.name} are not signed, and a witness tells logs by their keys: give "
            "the ledger a vault"
        )
    return note, checkpoint


def _request(ledger: Grown, old: int, size: int, note: Note) -> bytes:
    try:
        proof = consistency(old, size, ledger.node)
    except LookupError as cause:
        raise LedgerError(f"the tree of the ledger cannot be read: {cause}") from cause
    lines = "".join(binascii.b2a_base64(one).decode() for one in proof)
    return f"old {old}\n{lines}\n{note}".encode()


def _last(ledger: Grown, witness: WitnessAt) -> int:
    """The size that the witness has signed last, as far as the ledger knows; the witness says where it is not so."""
    for size, written in sorted(ledger.cosigned(), reverse=True):
        try:
            if Note.parse(written).checked([witness.key]):
                return size
        except NoteError:
            continue
    return 0


def _size(witness: WitnessAt, reply: Reply) -> int:
    said = reply.body.removesuffix("\n")
    if reply.media != "text/x.tlog.size" or not (said.isascii() and said.isdigit()) or len(said) > 18:
        raise NoAnswer(f"{witness.key.name} does not say which size it has signed ({_said(reply)}): is it a witness?")
    return int(said)


def _keep(ledger: Signable, witness: WitnessAt, note: Note, new: Checkpoint, reply: Reply) -> Cosigned:
    try:
        lines = [Signature.parse(line) for line in reply.body.removesuffix("\n").split("\n")]
        signed = Note(text=note.text, signatures=tuple(lines)).checked([witness.key])
    except NoteError as wrong:
        raise NoAnswer(f"what {witness.key.name} has answered is no signature of it: {wrong.text}") from wrong
    own = [line for line in lines if (line.name, line.key_id) == (witness.key.name, witness.key.key_id)]
    if not signed or not signed[-1].at:
        raise NoAnswer(f"the witness at {witness.url} did not sign as {witness.key.name}: is it another one?")
    ledger.keep_cosigned(new.size, str(_merged(ledger, witness, note, new.size).plus(own[-1])))
    return _cosigned(witness, new, signed[-1].at)


def _merged(ledger: Grown, witness: WitnessAt, note: Note, size: int) -> Note:
    """The checkpoint with what other witnesses have signed under it already."""
    for kept, written in ledger.cosigned():
        if kept == size:
            try:
                before = Note.parse(written)
            except NoteError:
                continue
            if before.text == note.text:
                others = [s for s in before.signatures if (s.name, s.key_id) != (witness.key.name, witness.key.key_id)]
                return note.plus(*others)
    return note


def _cosigned(witness: WitnessAt, checkpoint: Checkpoint, at: int) -> Cosigned:
    return Cosigned(witness=witness.key.name, size=checkpoint.size, at=datetime.fromtimestamp(at, UTC))


def _refused(witness: WitnessAt, new: Checkpoint, reply: Reply) -> NoAnswer:
    means = {
        403: "it knows another key of this ledger: end it, and start it with --log and the present key too",
        404: f"it does not sign for {new.origin}: start it with --log and the ledger's key, or look at the address",
    }.get(reply.status, "look at what it says, over there")
    return NoAnswer(f"{witness.key.name} did not sign ({reply.status}, {_said(reply)}): {means}")


def _said(reply: Reply) -> str:
    text = reply.body.strip()
    return repr(text if len(text) <= _SAID else f"{text[:_SAID]}…")


def cosign_all(
    ledger: Signable, witnesses: Sequence[WitnessAt], *, ask: Ask = over_http
) -> list[Cosigned | NoAnswer | Contradicted]:
    """Ask every witness once, whatever the others answer; what came of it, in their order.

    For whoever drives a ledger, such as a worker: the last checkpoint of a ledger that did not grow is signed anew,
    which says that it is still the last.
    """
    found: list[Cosigned | NoAnswer | Contradicted] = []
    for witness in witnesses:
        try:
            found.append(cosign(ledger, witness, ask=ask))
        except (NoAnswer, Contradicted) as error:
            found.append(error)
    return found
