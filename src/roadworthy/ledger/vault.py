"""The vault: the keys of a ledger, kept apart from it.

It holds a key for each subject, under which a ledger seals what is about them, and the keys that sign checkpoints. What
is sealed under a key can be read for as long as the key is there; `erase` destroys it, here and for every process, and
then nobody can read it any more, in the ledger and in all its copies. Names of subjects and runs stand in the vault
only as HMACs under a secret of its own.

A key is kept under a **slot**, 16 random bytes that the ledger writes beside what it seals. Of a key that was given up
the slot stays, so that `erased` differs from `sealed`: known to another vault, or to none.
"""

from __future__ import annotations

import hmac
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeAlias, cast
from urllib.parse import urlsplit

from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Withheld
from roadworthy.ledger.address import file_of

if TYPE_CHECKING:
    from roadworthy.ledger.checkpoint import LogKey

SLOT_BYTES: Final = 16
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
"""Random. A key seals far fewer than 2**32 texts, up to which that is safe. Source: NIST SP 800-38D, section 8.3."""

LOOKS_S: Final = 0.25
"""So long a process may go on reading what another has erased. What is sealed is never sealed under such a key."""

JOINT: Final = "\n"
"""Between the names of several subjects."""

_CACHED: Final = 50_000
"""Slots that are remembered in memory."""

Open: TypeAlias = Callable[[bytes, bytes], bytes]
"""Gives back what a slot has sealed, of nonce and ciphertext, and what they are bound to."""


_SIGNED: Final = "signed"
"""Stands among the keys of a ledger in place of a name, which has a slash in it."""


class Keeper(Protocol):
    """Keeps keys on a medium; owners come as HMACs. May be called by several threads, one at a time."""

    name: str
    """Where it lies, for messages."""
    path: Path | None
    """The file; None where it is none."""
    secret: bytes
    """Under which owners become HMACs."""

    def erasures(self) -> int:
        """How often anything was erased so far, by any process. Cheap."""
        ...

    def take(self, wanted: Sequence[tuple[bytes, bytes | None]]) -> list[tuple[bytes, bytes]]:
        """Slot and key of each owner, durable when this returns. Beside an owner may stand a run of theirs."""
        ...

    def key_of(self, slot: bytes) -> bytes | Withheld:
        """The key of a slot, or why there is none."""
        ...

    def slots_of(self, owner: bytes) -> tuple[bytes, ...]:
        """The slots of an owner and of their runs."""
        ...

    def erase(self, owner: bytes) -> tuple[bytes, ...]:
        """Destroy the keys of an owner and of their runs, so that they are found nowhere on the medium; their slots."""
        ...

    def erase_slots(self, slots: Sequence[bytes]) -> tuple[bytes, ...]:
        """Destroy the keys of these slots in the same way; those that were there."""
        ...

    def signing(self, ledger: str) -> Sequence[tuple[str, bytes]]:
        """Names and keys that were kept to sign a ledger, the oldest first."""
        ...

    def keep_signing(self, ledger: str, name: str, key: bytes) -> None:
        """Keep one more, durably."""
        ...

    def forget_signing(self, ledger: str, key: bytes) -> None:
        """Destroy one, so that it is found nowhere on the medium."""
        ...

    def shared_with(self, ledger: str) -> bool:
        """Whether the address of a ledger on a server leads to where this lies, by whatever name it is called."""
        ...

    def close(self) -> None:
        """Give the medium back. May be called twice."""
        ...


class Slot:
    """A key that something may be sealed under."""

    __slots__ = ("_encrypt", "id")

    def __init__(self, id: bytes, key: bytes) -> None:
        self.id = id
        """16 bytes."""
        self._encrypt = cast("Callable[[bytes, bytes, bytes | None], bytes]", _cipher(key).encrypt)

    def __repr__(self) -> str:
        return f"Slot(id={self.id.hex()})"

    def seal(self, data: bytes, aad: bytes) -> bytes:
        """Nonce and AES-256-GCM ciphertext of data, bound to `aad`."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._encrypt(nonce, data, aad)


class Vault:
    """A vault that is open, shared by all threads of this process. Raises LedgerError where it cannot do its work."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._erasures = keeper.erasures()
        self._looked = time.monotonic()
        self._slots: dict[tuple[str, str | None, str | None], Slot] = {}
        self._openers: dict[bytes, Open] = {}

    @classmethod
    def open(cls, url: str | Path, *, create: bool = True) -> Self:
        """Open a vault, or make one where there is none and `create` is true.

        `url`: a path; `postgresql://…` for a ledger that several machines share. A file must be readable by its owner
        alone (mode 0600), and is made so.
        """
        path = file_of_vault(url)
        if path is None:
            keeper: Any = import_module("roadworthy.ledger.vault_postgres").ServerKeeper(str(url), create=create)
        else:
            keeper = import_module("roadworthy.ledger.vault_file").FileKeeper(path, create=create)
        return cls(cast("Keeper", keeper))

    @property
    def name(self) -> str:
        """Where it lies, for messages."""
        return self._keeper.name

    def keep_apart(self, ledger: str | Path) -> None:
        """Raises LedgerError where a copy of the ledger would hold the vault as well.

        That is where the vault lies in the folder of the ledger's file or below, or in the same database.
        """
        path, text = self._keeper.path, str(ledger).removeprefix("sqlite:///")
        if text in (":memory:", "sqlite://"):
            return
        if "://" in text:
            if path is None and (_database(text) == _database(self.name) or self._keeper.shared_with(text)):
                raise LedgerError(
                    f"the vault lies in the database of the ledger, {self.name}: whoever dumps the one has the other, "
                    "and nothing could be erased. Give it a database of its own"
                )
            return
        if path is not None:
            file_apart(path, ledger)

    # -- sealing ------------------------------------------------------------------------------------------------------

    def slot(self, ledger_id: str, *, run: str | None, subject: str | None) -> Slot:
        """The slot of a subject, or where none is known of a run, or of neither: what is about nobody.

        Where there is none yet it is made, and durable when this returns. Given both, the vault remembers that the run
        is the subject's: what the run wrote before its subject was known is erased with theirs. For what belongs to
        somebody whom the run does not act for, give the subject alone; several, with line feeds between them, for what
        belongs to all of them and is erased with the first.
        """
        with self._lock:
            self._refresh()
            known = self._slots.get((ledger_id, run, subject))
        return known or self.slots(ledger_id, ((run, subject),))[0]

    def slots(self, ledger_id: str, wanted: Iterable[tuple[str | None, str | None]]) -> list[Slot]:
        """As `slot`, for several pairs of run and subject at once: those that are new are made durable together."""
        keys = [(ledger_id, run, subject) for run, subject in wanted]
        with self._lock:
            self._refresh()
            found = [self._slots.get(key) for key in keys]
            if None in found:
                lacking = list(dict.fromkeys(key for key, slot in zip(keys, found, strict=True) if slot is None))
                if len(self._slots) + len(lacking) > _CACHED:
                    self._slots.clear()
                wanted_keys = [self._owner(*key) for key in lacking]
                # What belongs to several has a key of its own, which is destroyed with the first of theirs.
                joint = [one for key in lacking for one in self._each(*key)]
                taken = self._keeper.take([*wanted_keys, *joint])[: len(lacking)]
                fresh = {key: Slot(id, secret) for key, (id, secret) in zip(lacking, taken, strict=True)}
                self._slots.update(fresh)
                found = [slot or fresh[key] for key, slot in zip(keys, found, strict=True)]
        return cast("list[Slot]", found)

    def _owner(self, ledger: str, run: str | None, subject: str | None) -> tuple[bytes, bytes | None]:
        mine = None if run is None else self._hmac("run", ledger, run)
        if subject is not None:
            return self._hmac("subject", ledger, subject), mine
        return (mine, None) if mine is not None else (self._hmac("nobody", ledger, ""), None)

    def _each(self, ledger: str, run: str | None, subject: str | None) -> list[tuple[bytes, bytes | None]]:
        if subject is None or JOINT not in subject:
            return []
        whole, _ = self._owner(ledger, None, subject)
        return [(self._hmac("subject", ledger, one), whole) for one in subject.split(JOINT)]

    def pseudonym(self, ledger_id: str, text: str) -> str:
        """What stands for a text in a ledger's tables: the same for the same text, and nothing without this vault."""
        return self._hmac("name", ledger_id, text).hex()

    def _hmac(self, what: str, ledger: str, text: str) -> bytes:
        said = f"{what}\0{ledger}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._keeper.secret, said, "sha256")

    # -- opening ------------------------------------------------------------------------------------------------------

    def opener(self, slot_id: bytes) -> Open | Withheld:
        """How to read what a slot has sealed, or why nobody can. The opener raises LedgerError for damaged bytes."""
        known = self._openers.get(slot_id)
        if known is not None and time.monotonic() - self._looked < LOOKS_S:
            return known
        with self._lock:
            self._refresh()
            known = self._openers.get(slot_id)
            if known is None:
                key = self._keeper.key_of(slot_id)
                if isinstance(key, str):
                    return key
                if len(self._openers) > _CACHED:
                    self._openers.clear()
                known = self._openers[slot_id] = _opener(key)
            return known

    def _refresh(self) -> None:
        """Forget keys that anybody has destroyed meanwhile."""
        if os.getpid() != self._pid:
            raise LedgerError(
                f"the vault {self.name} was opened in process {self._pid}, and this is {os.getpid()}, a fork of it: "
                "open it again here"
            )
        erasures = self._keeper.erasures()
        self._looked = time.monotonic()
        if erasures != self._erasures:
            self._slots.clear()
            self._openers.clear()
            self._erasures = erasures

    # -- erasing ------------------------------------------------------------------------------------------------------

    def slots_of(self, ledger_id: str, *, subject: str | None = None, run: str | None = None) -> tuple[bytes, ...]:
        """The slots whose keys `erase` would destroy now."""
        owner = self._whose(ledger_id, subject, run)
        with self._lock:
            self._refresh()
            return self._keeper.slots_of(owner)

    def erase(self, ledger_id: str, *, subject: str | None = None, run: str | None = None) -> tuple[bytes, ...]:
        """Destroy the keys of a subject, and those of their runs from before they were known; or the key of one run.

        The slots whose keys are gone, none where there were none. What the subject or the run writes from now on is
        sealed under a new key.
        """
        owner = self._whose(ledger_id, subject, run)
        with self._lock:
            self._refresh()
            slots = self._keeper.erase(owner)
            self._forget()
        return slots

    def erase_slots(self, slots: Sequence[bytes]) -> tuple[bytes, ...]:
        """Destroy the keys of just these slots, which a restored vault has again; those that were there."""
        with self._lock:
            self._refresh()
            there = self._keeper.erase_slots(slots)
            self._forget()
        return there

    def _forget(self) -> None:
        self._slots.clear()
        self._openers.clear()
        self._erasures = self._keeper.erasures()

    def _whose(self, ledger: str, subject: str | None, run: str | None) -> bytes:
        if (subject is None) == (run is None):
            raise LedgerError("erasing is about a subject or about a run: give one of them")
        return self._hmac("subject", ledger, subject) if subject is not None else self._hmac("run", ledger, run or "")

    # -- signing ------------------------------------------------------------------------------------------------------

    def log_key(self, ledger_id: str, name: str) -> LogKey | None:
        """The key that signs a ledger's checkpoints: the one of this name that was kept last."""
        keys = self.log_keys(ledger_id, name)
        return keys[-1] if keys else None

    def log_keys(self, ledger_id: str, name: str) -> tuple[LogKey, ...]:
        """All keys of this name, the oldest first: the earlier ones were rotated out, or never came into use."""
        from roadworthy.ledger.checkpoint import LogKey

        with self._lock:
            self._refresh()
            kept = self._keeper.signing(ledger_id)
        return tuple(LogKey.from_bytes(key, name=name) for mine, key in kept if mine == name)

    def keep_log_key(self, ledger_id: str, key: LogKey) -> None:
        """Keep a key to sign with; durable when this returns."""
        with self._lock:
            self._refresh()
            self._keeper.keep_signing(ledger_id, key.name, key.to_bytes())

    def forget_log_key(self, ledger_id: str, key: LogKey) -> None:
        """Destroy a key that signs no more: nobody can take it from here, and sign with it."""
        with self._lock:
            self._refresh()
            self._keeper.forget_signing(ledger_id, key.to_bytes())

    def note_signed(self, ledger_id: str) -> None:
        """Remember that a ledger's checkpoints bear a signature from now on; durable when this returns."""
        if not self.has_signed(ledger_id):
            with self._lock:
                self._keeper.keep_signing(ledger_id, _SIGNED, b"")

    def has_signed(self, ledger_id: str) -> bool:
        """Whether a ledger's checkpoints bear a signature: then one without any is none of its own."""
        with self._lock:
            self._refresh()
            return any(name == _SIGNED for name, _ in self._keeper.signing(ledger_id))

    # -- closing ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Forget all keys and give the medium back. May be called twice."""
        with self._lock:
            self._slots.clear()
            self._openers.clear()
            if os.getpid() == self._pid:
                self._keeper.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def file_of_vault(url: str | Path) -> Path | None:
    """The file that a vault is; None for one on a server. Raises LedgerError for what is neither."""
    text = str(url)
    if text.startswith(("postgresql://", "postgres://")):
        return None
    if text.startswith("sqlite:///"):
        text = text.removeprefix("sqlite:///")
    elif "://" in text:
        raise LedgerError(
            f"a vault cannot be kept in {text.split('://')[0]!r}: give the path of a file, or postgresql://…"
        )
    if not text:
        raise LedgerError("a vault needs a path: give one outside of the ledger's folder")
    return Path(text).expanduser()


def file_apart(vault: Path, ledger: str | Path) -> None:
    """Raises LedgerError where a vault's file lies in the folder of the ledger's file, or below."""
    file = file_of(ledger)
    if file is None:
        return
    folder = file.resolve().parent
    if folder in vault.resolve().parents:
        raise LedgerError(
            f"the vault {vault} lies in the folder of the ledger, {folder}: whoever copies or backs up the one has "
            "the other, and nothing could be erased. Keep it somewhere else, such as ~/.roadworthy/vault.db"
        )


def _database(url: str) -> tuple[str | None, int, str]:
    parts = urlsplit(url)
    return parts.hostname, parts.port or 5432, parts.path


def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # OpenSSL takes its time to load

    return AESGCM(key)


def _opener(key: bytes) -> Open:
    from cryptography.exceptions import InvalidTag

    decrypt = cast("Callable[[bytes, bytes, bytes | None], bytes]", _cipher(key).decrypt)

    def opened(sealed: bytes, aad: bytes) -> bytes:
        try:
            return decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad)
        except (InvalidTag, ValueError) as cause:
            raise LedgerError(
                "what was sealed does not open with its own key, so it was changed or damaged: `roadworthy ledger "
                "verify` says where; restore the ledger from a backup"
            ) from cause

    return opened
