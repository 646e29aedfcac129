"""A witness: somebody elsewhere who remembers how far a log had come, and signs no second history of it.

For each log the witness keeps the latest checkpoint that it has signed. It signs a further one only with a proof that
this one continues that, and only once the new one is on its disk; so it never goes back and never signs two roots for
one size, however often and wherever it is killed. It learns a log's size and root, and nothing of what stands in it.

Source: C2SP tlog-witness, tlog-cosignature (cosignature/v1).
"""

from __future__ import annotations

import binascii
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, Self

from roadworthy.core.clock import Clock, SystemClock
from roadworthy.core.errors import UsageError
from roadworthy.ledger.checkpoint import LOG, Checkpoint, Note, NoteError, Signature, Verifier
from roadworthy.ledger.merkle import EMPTY, HASH_BYTES, consistent
from roadworthy.ledger.witness_memory import Dispute, Memory, hold, place_of, wake

MAX_REQUEST: Final = 131_072
"""Bytes of a request: 63 hashes, and a checkpoint with more signatures than any log has."""

SIZE_MEDIA: Final = "text/x.tlog.size"
"""The kind of answer that says which size the witness has seen."""

_TEXT_MEDIA: Final = "text/plain; charset=utf-8"
_PROOF_LINES: Final = 63
_SIGNATURES: Final = 16
"""Of a log's keys that are kept under what was signed; two are enough for a ledger that gets a new key."""
_OLD = re.compile("old (0|[1-9][0-9]{0,18})")

_log = logging.getLogger("roadworthy.witness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back to whoever asked."""

    status: int
    """Of HTTP; the protocol gives each its meaning."""
    body: str
    media: str = _TEXT_MEDIA


class _Refused(Exception):
    """A request that nothing is signed for."""

    def __init__(self, status: HTTPStatus, text: str, *, media: str = _TEXT_MEDIA) -> None:
        super().__init__(text)
        self.answer = Answer(status=status, body=f"{text}\n", media=media)


class Witness:
    """A witness, with its key and its memory in a folder. Used by any number of threads, and by one process at a time.

    Raises LedgerError where the folder cannot be read or written: then nothing is signed.
    """

    def __init__(
        self, folder: Path, logs: Iterable[str], *, name: str | None = None, clock: Clock | None = None
    ) -> None:
        """Opens the folder, or makes it, with a new key.

        `logs`: the vkeys of the logs to sign for; several of one name are keys of one log, any of which will do. `name`
        is for a new key. Raises UsageError for a vkey that is none, for another name than the key has, and where the
        key or the memory is missing: a witness that has forgotten would sign a second history.
        """
        self._logs = _trusted(logs)
        self._clock = clock or SystemClock()
        with ExitStack() as opened:
            opened.callback(hold(folder))
            self.memory = opened.enter_context(Memory(folder))
            self._key = wake(self.memory, name)
            self._end = opened.pop_all()

    @property
    def vkey(self) -> str:
        """The witness's public key, for those who trust it."""
        return self._key.vkey

    @property
    def logs(self) -> Sequence[str]:
        """The origins of the logs that it signs for."""
        return tuple(self._logs)

    def close(self) -> None:
        """Give the folder to another process. May be called twice."""
        self._end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_checkpoint(self, request: bytes) -> Answer:
        """Judge the body of an add-checkpoint request. What is signed is on disk before this returns.

        Raises LedgerError where it cannot be written, or what was written before is damaged.
        """
        try:
            old, proof, note = _parsed(request)
            new = _checkpoint(note)
            signed = self._signed(note, new)
            if old > new.size:
                raise _Refused(HTTPStatus.BAD_REQUEST, f"old size {old} is above the checkpoint's, {new.size}")
            with self.memory.transaction(keep_on=_Refused):
                line = self._judge(old, proof, new, signed)
        except _Refused as refused:
            return refused.answer
        return Answer(status=HTTPStatus.OK, body=line)

    def latest(self, place: str) -> Answer:
        """The latest checkpoint that was signed for a log, by the SHA-256 of its origin in hex."""
        with self.memory.transaction():
            seen = self.memory.seen(place)
        if seen is None:
            return Answer(status=HTTPStatus.NOT_FOUND, body="nothing was ever signed for such a log\n")
        return Answer(status=HTTPStatus.OK, body=str(seen.note))

    def _signed(self, note: Note, checkpoint: Checkpoint) -> Note:
        """The note with the signatures of the log only. Raises _Refused where there are none."""
        keys = self._logs.get(checkpoint.origin)
        if keys is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "this witness signs for no log of that origin")
        try:
            right = {(one.by.name, one.by.key_id) for one in note.checked(keys)}
        except NoteError as wrong:
            raise _Refused(HTTPStatus.FORBIDDEN, wrong.text) from wrong
        if not right:
            raise _Refused(HTTPStatus.FORBIDDEN, "no key that this witness knows for the log has signed the checkpoint")
        # One of each key, and not all that somebody who has the key can make: what is kept must be read again.
        mine: dict[tuple[str, bytes], Signature] = {}
        for one in note.signatures:
            if (one.name, one.key_id) in right:
                mine.setdefault((one.name, one.key_id), one)
        return Note(text=note.text, signatures=tuple(mine.values())[:_SIGNATURES])

    def _judge(self, old: int, proof: Sequence[bytes], new: Checkpoint, note: Note) -> str:
        """Keep a checkpoint and sign it; the signature's line, which counts once the transaction has come to its end.

        Raises _Refused, and remembers what the log's own signature stands under although it proves nothing.
        """
        place = place_of(new.origin)
        seen = self.memory.seen(place)
        size = 0 if seen is None else seen.checkpoint.size
        now = int(self._clock.now().timestamp())
        if old != size:
            raise _Refused(HTTPStatus.CONFLICT, str(size), media=SIZE_MEDIA)
        wrong = _against(old, proof, new, None if seen is None else seen.checkpoint)
        if wrong is not None:
            why, certain = wrong
            given, known = str(note), None if seen is None else str(seen.note)
            self.memory.keep_dispute(Dispute(at=now, certain=certain, why=why, given=given, known=known), place)
            if certain:
                _log.warning("the log %r has signed two histories: %s", new.origin, why)
            raise _Refused(HTTPStatus.UNPROCESSABLE_ENTITY, why)
        # The machine's clock may be set back; what the witness says of time is not. A time of 0 would mean none.
        line = self._key.cosign(note.text, at=max(now, 1, 0 if seen is None else seen.at))
        self.memory.keep(note.plus(Signature.parse(line)), place)
        return line


def _against(old: int, proof: Sequence[bytes], new: Checkpoint, seen: Checkpoint | None) -> tuple[str, bool] | None:
    """What speaks against signing a checkpoint after the one that was signed last, and whether that is the log's doing.

    None where nothing does. A wrong proof says little of the log: whoever has one of its checkpoints can send it.
    """
    if not new.size and new.root != EMPTY:
        return "the root is not that of a tree without leaves", True
    if seen is None or not old:
        return ("from size 0 there is nothing to prove, and there are hashes", False) if proof else None
    if old == new.size and new.root != seen.root:
        return f"the witness has signed another root for size {old}", True
    if not consistent(old, new.size, seen.root, new.root, proof):
        return f"the proof does not show that this continues what the witness has signed at size {old}", False
    return None


# What is asked --------------------------------------------------------------------------------------------------------


def _parsed(request: bytes) -> tuple[int, Sequence[bytes], Note]:
    try:
        head, gap, rest = request.decode().partition("\n\n")
    except UnicodeDecodeError:
        raise _Refused(HTTPStatus.BAD_REQUEST, "the request is no UTF-8") from None
    first, *lines = head.split("\n")
    old = _OLD.fullmatch(first)
    if not gap or old is None:
        raise _Refused(HTTPStatus.BAD_REQUEST, "a request is `old SIZE`, lines of a proof, an empty line, a checkpoint")
    if len(lines) > _PROOF_LINES:
        raise _Refused(HTTPStatus.BAD_REQUEST, f"a proof has at most {_PROOF_LINES} lines")
    try:
        return int(old[1]), [_proof_line(line) for line in lines], Note.parse(rest)
    except NoteError as wrong:
        raise _Refused(HTTPStatus.BAD_REQUEST, wrong.text) from wrong


def _proof_line(line: str) -> bytes:
    with suppress(binascii.Error, ValueError):
        data = binascii.a2b_base64(line.encode("ascii"), strict_mode=True)
        if len(data) == HASH_BYTES and binascii.b2a_base64(data, newline=False) == line.encode():
            return data
    raise _Refused(HTTPStatus.BAD_REQUEST, "a line of the proof is no hash in base64")


def _checkpoint(note: Note) -> Checkpoint:
    try:
        return Checkpoint.parse(note.text)
    except NoteError as wrong:
        raise _Refused(HTTPStatus.BAD_REQUEST, wrong.text) from wrong


def _trusted(logs: Iterable[str]) -> Mapping[str, tuple[Verifier, ...]]:
    found: dict[str, tuple[Verifier, ...]] = {}
    for vkey in logs:
        key = Verifier.parse(vkey)
        if key.algorithm != LOG:
            raise UsageError(f"{vkey} is the key of a witness; name the keys of logs, as `ledger key show` prints them")
        found[key.name] = (*found.get(key.name, ()), key)
    return found
