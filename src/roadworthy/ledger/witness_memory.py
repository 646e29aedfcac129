"""What a witness keeps in its folder: the key, the memory of what it has signed, and a lock on both.

    folder/key          the private key, as text that only its owner may read
    folder/seen.db      the latest checkpoint of each log, and checkpoints that the witness did not sign
    folder/lock         held as long as the witness runs

A witness that has lost its memory must not go on with its key: it could be made to sign a second history.
"""

from __future__ import annotations

import binascii
import fcntl
import os
import secrets
import sqlite3
import stat
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from roadworthy.core.errors import LedgerError, UsageError, told_why
from roadworthy.ledger.checkpoint import Checkpoint, Note, NoteError, Verifier, WitnessKey

_KEPT_DISPUTES: Final = 100
"""Of each log and each sort. The first ones are kept: whoever holds the log's key shall not wash them out with more."""
_KEY_MARK: Final = "PRIVATE+KEY"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS witness (vkey TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS seen (place TEXT PRIMARY KEY, note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS disputed (
    id INTEGER PRIMARY KEY, place TEXT NOT NULL, at INTEGER NOT NULL, certain INTEGER NOT NULL, why TEXT NOT NULL,
    given TEXT NOT NULL, known TEXT, UNIQUE (place, given)
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The latest that a witness has signed of one log."""

    checkpoint: Checkpoint
    at: int
    """When it signed, in seconds since 1970."""
    note: Note
    """The checkpoint with the log's signature and the witness's."""

    @property
    def time(self) -> datetime:
        """When it signed, UTC."""
        return datetime.fromtimestamp(self.at, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """A checkpoint that a log has signed, and that the witness did not sign."""

    at: int
    """When it came, in seconds since 1970."""
    certain: bool
    """Whether it cannot be true beside what the log had signed before: then `given` and `known` prove what the log's
    keeper did. Otherwise only the proof that came with it was wrong, which anybody can send."""
    why: str
    given: str
    """The checkpoint, with the log's signature."""
    known: str | None
    """The latest that the witness had signed then, with the log's signature and the witness's."""


def place_of(origin: str) -> str:
    """What stands for a log in addresses and in the memory: the SHA-256 of its origin, in hex."""
    return sha256(origin.encode()).hexdigest()


class Memory:
    """The memory of one witness. Used by any number of threads; `looking` opens it to read, beside a running one.

    Raises LedgerError where it cannot be read or written, or is damaged: then nothing may be signed; UsageError where
    somebody is `looking` at a folder that has none.
    """

    def __init__(self, folder: Path, *, looking: bool = False) -> None:
        if looking and not (folder / "seen.db").exists():
            raise UsageError(f"no witness has signed anything in {folder}: give the folder that its --state names")
        self.folder = folder
        self._lock = threading.Lock()
        self._begin = "BEGIN" if looking else "BEGIN IMMEDIATE"
        try:
            self._database = _connect(folder / "seen.db", looking=looking)
        except sqlite3.Error as cause:
            raise self._broken(cause) from cause
        self.key: Verifier | None = None
        """Of the witness that the memory belongs to; None in a new one."""
        try:
            with self.transaction():
                found = self._database.execute("SELECT vkey FROM witness").fetchone()
            if found is not None:
                self.key = Verifier.parse(found[0])
        except BaseException:
            self._database.close()
            raise

    def belong_to(self, key: Verifier) -> None:
        """Make it the memory of the witness with this key."""
        with self.transaction():
            self._database.execute("DELETE FROM witness")
            self._database.execute("INSERT INTO witness (vkey) VALUES (?)", (key.vkey,))
        self.key = key

    def close(self) -> None:
        """Give the file back. May be called twice."""
        with self._lock:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self, *, keep_on: type[Exception] | tuple[()] = ()) -> Generator[None]:
        """What is done within is on disk when this ends, or not done at all.

        An exception of the kind `keep_on` keeps what was done, and goes on its way afterwards.
        """
        with self._lock:
            database = self._database
            try:
                database.execute(self._begin)
                try:
                    yield
                except keep_on:
                    database.execute("COMMIT")
                    raise
                database.execute("COMMIT")
            except sqlite3.Error as cause:
                raise self._broken(cause) from cause
            finally:
                with suppress(sqlite3.Error):  # a closed one has no transaction
                    if database.in_transaction:
                        database.execute("ROLLBACK")

    # -- within a transaction -----------------------------------------------------------------------------------------

    def seen(self, place: str) -> Seen | None:
        """The latest that was signed of a log; None where nothing was."""
        found = self._database.execute("SELECT note FROM seen WHERE place = ?", (place,)).fetchone()
        if found is None:
            return None
        try:
            note = Note.parse(found[0])
            checkpoint = Checkpoint.parse(note.text)
            at = next((signed.at for signed in note.checked([] if self.key is None else [self.key])), None)
        except (NoteError, TypeError) as cause:
            raise self._damaged() from cause
        if at is None or place_of(checkpoint.origin) != place:
            raise self._damaged()
        return Seen(checkpoint=checkpoint, at=at, note=note)

    def keep(self, note: Note, place: str) -> None:
        """Remember the latest that was signed of a log."""
        self._database.execute("REPLACE INTO seen (place, note) VALUES (?, ?)", (place, str(note)))

    def keep_dispute(self, dispute: Dispute, place: str) -> None:
        """Remember a checkpoint that was not signed: each once, and the first ones of each log."""
        database = self._database
        (count,) = database.execute(
            "SELECT count(*) FROM disputed WHERE place = ? AND certain = ?", (place, dispute.certain)
        ).fetchone()
        if count < _KEPT_DISPUTES:
            database.execute(
                "INSERT OR IGNORE INTO disputed (place, at, certain, why, given, known) VALUES (?, ?, ?, ?, ?, ?)",
                (place, dispute.at, dispute.certain, dispute.why, dispute.given, dispute.known),
            )

    # -- to look at ---------------------------------------------------------------------------------------------------

    def all_seen(self) -> Sequence[Seen]:
        """The latest that was signed of every log."""
        with self.transaction():
            places = self._database.execute("SELECT place FROM seen ORDER BY place").fetchall()
            return [seen for (place,) in places if (seen := self.seen(place)) is not None]

    def disputes(self, origin: str) -> Sequence[Dispute]:
        """The checkpoints of a log that were not signed, the earliest first."""
        wanted = "SELECT at, certain, why, given, known FROM disputed WHERE place = ? ORDER BY id"
        with self.transaction():
            found = self._database.execute(wanted, (place_of(origin),)).fetchall()
        return [
            Dispute(at=at, certain=bool(certain), why=why, given=given, known=known)
            for at, certain, why, given, known in found
        ]

    def _broken(self, cause: sqlite3.Error) -> LedgerError:
        return LedgerError(
            f"the memory of the witness in {self.folder} cannot be read or written ({cause}), so nothing was signed: "
            "see that it is there, that the disk has space and that it may be written"
        )

    def _damaged(self) -> LedgerError:
        return LedgerError(
            f"what the witness in {self.folder} has signed before is damaged, so it signs nothing more for this log: "
            "make a new witness, in a new folder, and tell those who trusted this one"
        )


def _connect(path: Path, *, looking: bool) -> sqlite3.Connection:
    where = f"{path.absolute().as_uri()}?mode={'ro' if looking else 'rwc'}"
    database = sqlite3.connect(where, uri=True, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        if looking:
            return database
        mode = database.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        database.execute("PRAGMA synchronous=FULL")
        database.execute("PRAGMA fullfsync=ON")
        if mode != "wal" or database.execute("PRAGMA synchronous").fetchone()[0] != 2:
            raise LedgerError(f"{path} cannot be kept safely there: put it on a disk of this machine")
        database.executescript(f"BEGIN IMMEDIATE;{_TABLES}COMMIT;")
    except BaseException:
        database.close()
        raise
    return database


# Key and lock ---------------------------------------------------------------------------------------------------------


def wake(memory: Memory, name: str | None) -> WitnessKey:
    """The key of the witness whose memory this is. Where nothing was ever signed there is a new one, named `name`.

    Raises UsageError where the key or the memory is gone, or belongs to another witness, or has another name.
    """
    folder, file = memory.folder, memory.folder / "key"
    if file.exists():
        if memory.key is None:
            raise UsageError(
                f"the witness in {folder} has its key and no memory of what it has signed (seen.db): it could be made "
                "to sign a second history. Bring the memory back, or make a new witness in a new folder"
            )
        key = read_key(folder)
        if key.vkey != memory.key.vkey:
            raise UsageError(f"the key in {file} is not the one that this witness has signed with: {memory.key.vkey}")
        if name is not None and name != key.name:
            raise UsageError(f"the witness in {folder} is named {key.name!r}, and a name stays: leave --name out")
        return key
    if memory.all_seen():
        raise UsageError(
            f"the witness in {folder} has lost its key: bring it back, or make a new witness in a new folder"
        )
    key = WitnessKey.new(name or f"witness/{secrets.token_hex(4)}")
    # The memory comes first: a key without one is taken for a witness that has forgotten.
    memory.belong_to(key.verifier)
    _write_key(file, key)
    return key


def hold(folder: Path) -> Callable[[], None]:
    """Take a folder, which is made where there is none, for this process alone; what comes back lets it go.

    Raises UsageError where another process holds it, LedgerError where it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as cause:
        raise LedgerError(f"no witness can be kept in {folder}: {told_why(cause)}") from cause
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as cause:
        os.close(held)
        if isinstance(cause, BlockingIOError):
            raise UsageError(f"another process is the witness in {folder}: end it, or give another folder") from None
        raise LedgerError(f"the folder {folder} cannot be locked: {told_why(cause)}") from cause
    return lambda: os.close(held)


def _write_key(path: Path, key: WitnessKey) -> None:
    """Whole or not at all, and on disk."""
    data = bytes((key.algorithm,)) + key.to_bytes()
    written = binascii.b2a_base64(data, newline=False).decode()
    text = f"{_KEY_MARK}+{key.name}+{key.verifier.key_id.hex()}+{written}\n"
    draft = path.with_suffix(".new")
    try:
        with suppress(FileNotFoundError):
            draft.unlink()  # of a start that was killed
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
        os.replace(draft, path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as cause:
        raise LedgerError(f"the key of the witness cannot be written to {path}: {told_why(cause)}") from cause


def read_key(folder: Path) -> WitnessKey:
    """The key of the witness in a folder, which may be running. Raises UsageError where there is none to be used."""
    path = folder / "key"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as cause:
        raise UsageError(f"no key of a witness can be read at {path}: {told_why(cause)}") from cause
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode) or facts.st_mode & 0o077:
            raise UsageError(f"others may read {path}, or it is no file: `chmod 600` it, and think of it as known")
        written = file.read(4096)
    try:
        private, word, name, key_id, encoded = written.decode().removesuffix("\n").split("+", 4)
        data = binascii.a2b_base64(encoded, strict_mode=True)
        key = WitnessKey.from_bytes(data[1:], name=name)
    except (ValueError, NoteError) as cause:
        raise UsageError(f"{path} holds no key of a witness; was it changed?") from cause
    if f"{private}+{word}" != _KEY_MARK or data[0] != key.algorithm or key.verifier.key_id.hex() != key_id:
        raise UsageError(f"{path} holds no key of a witness; was it changed?")
    return key
