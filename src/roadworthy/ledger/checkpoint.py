"""Checkpoints and the signatures under them, in the formats of C2SP: signed-note, tlog-checkpoint, tlog-cosignature.

    roadworthy/4f2a…                                    the origin: which log this is
    1042                                                how many entries it had
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=        the root of the tree over them

    — roadworthy/4f2a… Az3grlgtzPICa5OS8npV…            who signed: name, and key id with signature

A note is text, an empty line, and lines of signatures. A public key is written as a **vkey**:
`name+hex of the key id+base64 of algorithm and key`. Signatures of unknown keys are passed over; one of a known key
that is not right spoils the whole note. Everything is read in the one way in which it is written, or not at all.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Self

from roadworthy.core.curve import weak
from roadworthy.core.errors import UsageError

if TYPE_CHECKING:  # OpenSSL takes its time to load, and a ledger without a vault signs nothing
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

Algorithm = Literal[0x01, 0x04]
"""What a key signs: 0x01 the text of a note; 0x04 the text with a time, as a witness does (cosignature/v1)."""

LOG: Final[Algorithm] = 0x01
WITNESS: Final[Algorithm] = 0x04

_NOTE_BYTES: Final = 1_000_000
_SIGNATURES: Final = 100
"""More of either is no note that anybody needs to read; the specification asks for at least 16 signatures."""
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_LATEST: Final = 2**63
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")
_DECIMAL = re.compile("0|[1-9][0-9]{0,18}")
_KEY_ID = re.compile("[0-9a-f]{8}")
_DASH: Final = "— "


class NoteError(UsageError):
    """A text is no note, checkpoint or key of a log, or a signature under it is wrong."""


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _unbase64(text: str) -> bytes | None:
    """The bytes behind base64 (RFC 4648, section 4); None unless it is written in its one way."""
    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, ValueError):
        return None
    return data if _base64(data) == text else None


def _named(name: str) -> bool:
    return bool(name) and "+" not in name and not _CONTROL.search(name) and not any(map(str.isspace, name))


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:100] + "…")


# The text -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a log says of itself at one moment. Source: C2SP tlog-checkpoint."""

    origin: str
    """Which log: the name of its key."""
    size: int
    """How many leaves the tree has."""
    root: bytes
    """The root of the tree, 32 bytes."""
    extensions: tuple[str, ...] = ()
    """Further lines. Roadworthy writes none, and reads nothing from them."""

    def text(self) -> str:
        """What is signed: origin, size and root, a line each."""
        more = "".join(f"{line}\n" for line in self.extensions)
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n{more}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The checkpoint that a note's text holds. Raises NoteError for any other text."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not all(lines) or len(text) > _NOTE_BYTES or _CONTROL.search(text):
            raise NoteError(f"{_shown(text)} is no checkpoint: that is an origin, a size and a root, a line each")
        origin, size, written, *more = lines
        if not _DECIMAL.fullmatch(size) or int(size) >= _LATEST:
            raise NoteError(f"a checkpoint's size is a plain number, and this one is {_shown(size)}")
        root = _unbase64(written)
        if root is None or len(root) != _KEY_BYTES:
            raise NoteError(f"a checkpoint's root is 32 bytes in base64, and this one is {_shown(written)}")
        return cls(origin=origin, size=int(size), root=root, extensions=tuple(more))


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One line under a note."""

    name: str
    """Of the key that signed."""
    key_id: bytes
    """4 bytes that tell keys of one name apart."""
    signature: bytes
    """A witness's begins with its time, 8 bytes."""

    def line(self) -> str:
        """As it stands in the note, with the line feed."""
        return f"{_DASH}{self.name} {_base64(self.key_id + self.signature)}\n"

    @classmethod
    def parse(cls, line: str) -> Self:
        """The signature in a line, with or without its line feed. Raises NoteError for any other line."""
        dash, name, written = (line[:2], *line[2:].removesuffix("\n").rpartition(" ")[::2])
        data = _unbase64(written)
        if dash != _DASH or not _named(name) or data is None or len(data) <= _ID_BYTES:
            raise NoteError(f"{_shown(line)} is no line of a signature: that is a dash, a name and base64")
        return cls(name=name, key_id=data[:_ID_BYTES], signature=data[_ID_BYTES:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A signature that was found to be right."""

    by: Verifier
    at: int | None
    """When a witness signed, in seconds since 1970; None for what a log signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text with signatures under it. Source: C2SP signed-note."""

    text: str
    """Ends with a line feed."""
    signatures: tuple[Signature, ...] = ()
    """Of known keys and others, right or wrong: `checked` tells."""

    def __str__(self) -> str:
        lines = "".join(one.line() for one in self.signatures)
        return f"{self.text}\n{lines}" if lines else self.text

    @classmethod
    def parse(cls, written: str, *, unsigned: bool = False) -> Self:
        """The note in a text. Raises NoteError for what is none.

        With `unsigned`, text that has no empty line is a note that nobody has signed, as a ledger without a vault
        keeps it.
        """
        if len(written) > _NOTE_BYTES:
            raise NoteError(f"this is no note: it is longer than {_NOTE_BYTES:,} characters")
        if _CONTROL.search(written) or not written.endswith("\n"):
            raise NoteError("this is no note: it has characters that a note cannot have, or does not end with a line")
        text, gap, lines = written.rpartition("\n\n")
        if not gap and unsigned:
            return cls(text=written)
        if not gap or not lines:
            raise NoteError("this is no signed note: no signatures stand under an empty line")
        rows = lines[:-1].split("\n")
        if len(rows) > _SIGNATURES:
            raise NoteError(f"this note has more than {_SIGNATURES} signatures; nobody needs so many")
        return cls(text=text + "\n", signatures=tuple(map(Signature.parse, rows)))

    def plus(self, *more: Signature) -> Self:
        """The note with further signatures; those that it has already are not added again."""
        return type(self)(text=self.text, signatures=tuple(dict.fromkeys((*self.signatures, *more))))

    def checked(self, known: Iterable[Verifier]) -> tuple[Signed, ...]:
        """Which of the known keys have signed this, in the order of the lines; signatures of others are passed over.

        Raises NoteError where a signature claims to be by a known key and is not right. Empty where none has signed:
        such a note must not be trusted.
        """
        keys = tuple(known)
        found: list[Signed] = []
        for one in self.signatures:
            by = [key for key in keys if (key.name, key.key_id) == (one.name, one.key_id)]
            right = next((key for key in by if key.verify(self.text, one.signature)), None)
            if right is not None:
                found.append(Signed(by=right, at=right.time_of(one.signature)))
            elif by:
                raise NoteError(f"the signature by {one.name} is not right: the text or the signature was changed")
        return tuple(found)


# The keys -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _public(data: bytes) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(data)


def _cosigned(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """A public key that notes are checked with."""

    name: str
    algorithm: Algorithm
    public: bytes
    """32 bytes (RFC 8032)."""
    key_id: bytes = field(init=False)
    """The first 4 bytes of SHA-256 over name, line feed, algorithm and key."""

    def __post_init__(self) -> None:
        named = self.name.encode() + b"\n" + bytes((self.algorithm,)) + self.public
        object.__setattr__(self, "key_id", sha256(named).digest()[:_ID_BYTES])

    @property
    def vkey(self) -> str:
        """The key as text."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(bytes((self.algorithm,)) + self.public)}"

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """The key that a text holds. Raises NoteError for any other text, and for algorithms that are not known."""
        parts = vkey.split("+", 2)
        name, key_id, written = parts if len(parts) == 3 else ("", "", "")
        data = _unbase64(written)
        if not _named(name) or not _KEY_ID.fullmatch(key_id) or not data:
            raise NoteError(f"{_shown(vkey)} is no public key of a log or witness: that is name+hex+base64")
        if data[0] not in (LOG, WITNESS) or len(data) != 1 + _KEY_BYTES:
            raise NoteError(
                f"{_shown(vkey)} is a key of another kind; Roadworthy reads Ed25519 (1) and cosignature (4)"
            )
        if weak(data[1:]):
            raise NoteError(f"with the key in {_shown(vkey)} anybody could sign; it was not made by Roadworthy")
        found = cls(name=name, algorithm=data[0], public=data[1:])
        if found.key_id.hex() != key_id:
            raise NoteError(f"the id in {_shown(vkey)} is not that of its key; was it copied whole?")
        return found

    def verify(self, text: str, signature: bytes) -> bool:
        """Whether a note's text was signed with this key. Never raises."""
        message = text.encode(errors="surrogatepass")
        if self.algorithm == WITNESS:
            at = self.time_of(signature)
            if at is None:
                return False
            message, signature = _cosigned(text, at), signature[_TIME_BYTES:]
        from cryptography.exceptions import InvalidSignature

        try:
            _public(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def time_of(self, signature: bytes) -> int | None:
        """When a witness made a signature, in seconds since 1970; None for a log's, which has no time."""
        if self.algorithm != WITNESS or len(signature) <= _TIME_BYTES:
            return None
        at = int.from_bytes(signature[:_TIME_BYTES], "big")
        return at if at < _LATEST else None


class _Key:
    """A private key with a name. It shows itself nowhere."""

    __slots__ = ("_head", "_private", "_raw_id", "name", "verifier", "vkey")
    algorithm: ClassVar[Algorithm]

    def __init__(self, private: Ed25519PrivateKey, *, name: str) -> None:
        if not _named(name):
            raise NoteError(f"{_shown(name)} cannot name a key: no spaces, no plus, and not nothing")
        self._private = private
        self.name = name
        self.verifier = Verifier(name=name, algorithm=self.algorithm, public=private.public_key().public_bytes_raw())
        """The public half."""
        self.vkey = self.verifier.vkey
        """The public half as text."""
        self._raw_id = self.verifier.key_id
        self._head = f"{_DASH}{name} "

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vkey={self.vkey!r})"

    @classmethod
    def new(cls, name: str) -> Self:
        """A fresh key. Raises NoteError for what cannot name one."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate(), name=name)

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str) -> Self:
        """The key that `to_bytes` gave. Raises NoteError where these are not 32 bytes."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if len(data) != _KEY_BYTES:
            raise NoteError(f"the private key of {name} has {len(data)} bytes instead of {_KEY_BYTES}; was it changed?")
        return cls(Ed25519PrivateKey.from_private_bytes(data), name=name)

    def to_bytes(self) -> bytes:
        """The private key, 32 bytes. Whoever has them can sign."""
        return self._private.private_bytes_raw()


class LogKey(_Key):
    """The key that a ledger's checkpoints are signed with."""

    __slots__ = ()
    algorithm = LOG

    def sign(self, text: str) -> str:
        """The line that goes under a note's text, with its line feed: the note is `f"{text}\\n{line}"`."""
        return self._head + binascii.b2a_base64(self._raw_id + self._private.sign(text.encode())).decode()


class WitnessKey(_Key):
    """The key of a witness: what it signs has a time. Source: C2SP tlog-cosignature, cosignature/v1."""

    __slots__ = ()
    algorithm = WITNESS

    def cosign(self, text: str, *, at: int) -> str:
        """The line that goes under a checkpoint, with its line feed; `at` in seconds since 1970.

        It says that the largest tree that the witness has seen of this log, at that time, had this root.
        Raises ValueError for a time that cannot be written.
        """
        if not 0 <= at < _LATEST:
            raise ValueError(f"a cosignature cannot be of {at} seconds after 1970")
        signed = at.to_bytes(_TIME_BYTES, "big") + self._private.sign(_cosigned(text, at))
        return self._head + binascii.b2a_base64(self._raw_id + signed).decode()
