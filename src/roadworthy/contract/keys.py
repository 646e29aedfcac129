"""Ed25519 keys of people, what they sign, and the files that private keys are kept in (RFC 8032).

What is signed is `roadworthy/1/PURPOSE`, a line feed, and the canonical JSON of the payload: a signature given for one
purpose is worth nothing for another. Keys and signatures are text, `ed25519:` and base64url without padding.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from roadworthy.core import canonical
from roadworthy.core.curve import weak
from roadworthy.core.errors import UsageError, told_why

if TYPE_CHECKING:  # OpenSSL takes its time to load, and only a contract that names people needs it
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Purpose = Literal["answer", "contract", "level", "stop", "undo"]
"""What a signature is for: to answer a question, to sign a contract for a level, to set a level, to lift a stop,
to undo a run."""

_PREFIX: Final = "ed25519:"
_TEXT = re.compile(r"ed25519:([A-Za-z0-9_-]+)")
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_FILE_BYTES: Final = 65_536
"""More than any key file has."""
_PURPOSES: Final = frozenset[str](get_args(Purpose))


def message_of(purpose: Purpose, payload: Mapping[str, Any]) -> bytes:
    """The bytes that are signed. Raises TypeError for what has no canonical JSON."""
    return b"roadworthy/1/" + purpose.encode() + b"\n" + canonical.dumps(payload)


def _text_of(data: bytes) -> str:
    return _PREFIX + base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes_of(text: object, size: int) -> bytes | None:
    """The bytes behind a key or signature; None unless it is written in the one way in which they are written."""
    found = _TEXT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    try:
        data = base64.urlsafe_b64decode(found[1] + "=" * (-len(found[1]) % 4))
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == size and _text_of(data) == text else None


def wrong_with_key(text: str) -> str | None:
    """What is wrong with a public key as text; None where nothing is."""
    data = _bytes_of(text, _KEY_BYTES)
    if data is None:
        return f"{text!r} is no public key; `roadworthy people key NAME` makes one and prints it, ed25519:…"
    if weak(data):
        return "with this public key anybody could sign; make a new pair with `roadworthy people key NAME`"
    return None


def verify(public: str, purpose: str, payload: Mapping[str, Any], signature: object) -> bool:
    """Whether a signature was made for this purpose and payload with the private key of a public one. Never raises."""
    key, signed = _bytes_of(public, _KEY_BYTES), _bytes_of(signature, _SIGNATURE_BYTES)
    if key is None or signed is None or purpose not in _PURPOSES or wrong_with_key(public) is not None:
        return False
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        # ValueError: the bytes are no point of the curve; TypeError: the payload has no canonical JSON.
        Ed25519PublicKey.from_public_bytes(key).verify(signed, message_of(purpose, payload))  # pyright: ignore[reportArgumentType]  # looked up above
    except (InvalidSignature, ValueError, TypeError, RecursionError):
        return False
    return True


class SigningKey:
    """A person's private key. It shows itself nowhere."""

    __slots__ = ("_private", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = _text_of(private.public_key().public_bytes_raw())
        """The public key, as it stands in a people file."""

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public!r})"

    @classmethod
    def new(cls) -> SigningKey:
        """A fresh key."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    def sign(self, purpose: Purpose, payload: Mapping[str, Any]) -> str:
        """The signature as text. Raises ValueError for a purpose that there is not, TypeError for what is no JSON."""
        if purpose not in _PURPOSES:
            raise ValueError(f"nothing is signed for {purpose!r}; choose from {', '.join(sorted(_PURPOSES))}")
        return _text_of(self._private.sign(message_of(purpose, payload)))

    def save(self, path: Path, *, passphrase: str | None = None) -> None:
        """Write it to a new file that only its owner may read, encrypted where there is a passphrase.

        Raises UsageError where a file stands there already: a key that is overwritten is gone.
        """
        from cryptography.hazmat.primitives import serialization as form

        encryption: form.KeySerializationEncryption = form.NoEncryption()
        if passphrase is not None:
            encryption = form.BestAvailableEncryption(passphrase.encode())
        pem = self._private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, encryption)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise UsageError(f"{path} stands there already; a key is never overwritten, use another folder") from None
        except OSError as error:
            raise UsageError(f"no key can be written to {path}: {told_why(error)}") from error
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(handle)

    @classmethod
    def load(cls, path: Path, *, passphrase: str | None = None) -> SigningKey:
        """The key in a file. Raises KeyLocked for one that is encrypted, without its passphrase or with a wrong one.

        Raises UsageError for a file that others may read, too, or that holds no such key.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        pem = _private(path)
        encrypted = b"ENCRYPTED" in pem.split(b"\n", 1)[0]
        if encrypted and not passphrase:
            raise KeyLocked(f"the key in {path} is encrypted: give its passphrase")
        try:
            found = load_pem_private_key(pem, passphrase.encode() if encrypted and passphrase else None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            if encrypted:
                raise KeyLocked(f"this is not the passphrase of the key in {path}, or the file is damaged") from error
            raise UsageError(f"{path} holds no private key that can be read; was it changed?") from error
        if not isinstance(found, Ed25519PrivateKey):
            raise UsageError(f"{path} holds another kind of key; make one with `roadworthy people key NAME`")
        return cls(found)

    @classmethod
    def public_of(cls, path: Path) -> str | None:
        """The public half of a key in a file; None for one that is encrypted. Raises UsageError as `load` does."""
        try:
            return cls.load(path).public
        except KeyLocked:
            return None


class KeyLocked(UsageError):
    """A private key is encrypted, and its passphrase was not given or is another one."""


def seal(key: SigningKey, purpose: Purpose, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a ledger entry with a signature over all of it; who signs stands in it under `by`.

    `People.sealed` tells whether that was so. Raises as `SigningKey.sign`, and ValueError where nobody is named.
    """
    if not body.get("by") or "signature" in body:
        raise ValueError("who signs stands under `by`, and a signature is added once")
    return {**body, "signature": key.sign(purpose, body)}


def _private(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise UsageError(f"there is no key at {path}; `roadworthy people key NAME` makes one") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UsageError(f"{path} is a link; name the folder that the key itself lies in") from error
        raise UsageError(f"the key at {path} cannot be read: {told_why(error)}") from error
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise UsageError(f"{path} is no file; name the folder that private keys lie in")
        if facts.st_mode & 0o077:
            raise UsageError(f"others may read the key in {path}; `chmod 600` it, and think of it as known to them")
        return os.read(handle, _FILE_BYTES)
    finally:
        os.close(handle)


# Where private keys may lie -------------------------------------------------------------------------------------------

_ROOTS: Final = (".git", ".hg", ".jj", "pyproject.toml")


def project_of(file: Path) -> Path:
    """The folder of the project that a file belongs to: the nearest one above it that is under version control or
    holds a `pyproject.toml`, but never the home folder; else the file's own folder.
    """
    own = file.expanduser().resolve().parent
    home = Path.home().resolve()
    for folder in (own, *own.parents):
        if folder == home or folder in home.parents:
            break
        if any((folder / mark).exists() for mark in _ROOTS):
            return folder
    return own


def refuse_inside(keys: Path, folders: Mapping[str, Path]) -> None:
    """Raises UsageError where a folder of private keys lies in one of some folders, each given with what it is.

    What is committed, copied or served with the project or the ledger would take the keys along.
    """
    where = keys.expanduser().resolve()
    for what, folder in folders.items():
        if where.is_relative_to(folder.expanduser().resolve()):
            raise UsageError(
                f"private keys do not belong into {what} ({folder}), which {keys} lies in: "
                "whoever gets a copy of it could sign; keep them in a folder elsewhere"
            )
