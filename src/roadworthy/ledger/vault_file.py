"""A vault in one SQLite file that its owner alone may read."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import sqlite3
import stat
import threading
import weakref
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Withheld
from roadworthy.ledger.vault import KEY_BYTES, SLOT_BYTES

APPLICATION_ID: Final = 0x52575654
""""RWVT": how `file` and we tell a vault from other SQLite files."""

VERSION: Final = 1
"""Of the tables. A vault of another version is refused."""

BUSY_S: Final = 5.0
"""Seconds to wait for another process that writes."""

_TO_REWRITE: Final = 1
"""The file's user version between the end of a key and that of the last copy of it."""

_TABLES: Final = (
    "CREATE TABLE vault (version INTEGER NOT NULL, secret BLOB NOT NULL, erasures INTEGER NOT NULL)",
    "CREATE TABLE slots (owner BLOB NOT NULL UNIQUE, slot BLOB NOT NULL UNIQUE, key BLOB NOT NULL)",
    "CREATE TABLE runs (run BLOB NOT NULL, owner BLOB NOT NULL, PRIMARY KEY (owner, run)) WITHOUT ROWID",
    "CREATE TABLE erased (slot BLOB NOT NULL PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE signing (n INTEGER PRIMARY KEY AUTOINCREMENT, ledger TEXT NOT NULL, name TEXT NOT NULL, "
    "key BLOB NOT NULL)",
)

_THEIRS: Final = "owner = :owner OR owner IN (SELECT run FROM runs WHERE owner = :owner)"

_File: TypeAlias = tuple[int, int]
"""Device and inode."""

_T = TypeVar("_T")
_open_files: weakref.WeakSet[FileKeeper] = weakref.WeakSet()


# To close any descriptor of a file gives up all locks that this process has on it (POSIX), those of SQLite as well. So
# all keepers of one file share one, and the last closes it.
_watching: Final[dict[_File, list[int]]] = {}
_watch_lock: Final = threading.Lock()


def _watch(path: Path) -> tuple[_File, int]:
    """A descriptor to read a file with; to be given back with `_unwatch`."""
    with _watch_lock:
        found = path.stat()
        file = (found.st_dev, found.st_ino)
        known = _watching.get(file)
        if known is None:
            known = _watching[file] = [os.open(path, os.O_RDONLY | os.O_CLOEXEC), 0]
        known[1] += 1
        return file, known[0]


def _unwatch(watched: tuple[_File, int]) -> None:
    with _watch_lock:
        known = _watching[watched[0]]
        known[1] -= 1
        if not known[1]:
            os.close(known[0])
            del _watching[watched[0]]


class FileKeeper:
    """Keys in a file. Raises LedgerError where it is no vault, others may read it, or it cannot be opened."""

    def __init__(self, path: Path, *, create: bool) -> None:
        self.path: Path | None = path
        self.name = str(path)
        self._count = b""
        self._erasures = 0
        self._closed = False
        self._look_at(path, create=create)
        self._connection = self._saying(lambda: self._opened(path))
        self._watched = _watch(path)
        _open_files.add(self)
        try:
            self._saying(self._prepare)
            self.secret = self._secret()
        except BaseException:
            self.close()
            raise

    # -- opening ------------------------------------------------------------------------------------------------------

    def _look_at(self, path: Path, *, create: bool) -> None:
        try:
            if path.is_dir():
                raise LedgerError(f"{path} is a folder: give the path of a file in it, such as {path / 'vault.db'}")
            if not path.parent.is_dir():
                raise LedgerError(f"the vault's folder {path.parent} is not there: create it, or give another path")
            if create:
                with contextlib.suppress(FileExistsError):
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            found = path.stat()
        except FileNotFoundError:
            raise LedgerError(
                f"there is no vault at {path}: give the path of the one that the ledger was written with"
            ) from None
        except OSError as cause:
            raise LedgerError(f"the vault {path} cannot be reached: {cause}") from cause
        if os.name == "posix" and stat.S_IMODE(found.st_mode) & 0o077:
            raise LedgerError(
                f"others than its owner may read the vault {path} (mode {stat.S_IMODE(found.st_mode):04o}), and with "
                f"it all that it should keep from them: `chmod 600 {path}`, and see who has read it meanwhile"
            )

    def _opened(self, path: Path) -> sqlite3.Connection:
        self._writable = os.access(path, os.W_OK)
        mode = "rw" if self._writable else "ro"
        return sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )

    def _prepare(self) -> None:
        connection = self._connection
        both = "SELECT application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id"
        mark, tables = connection.execute(both).fetchone()
        if mark != APPLICATION_ID and (mark or tables):
            raise LedgerError(f"{self.name} is no vault, but another SQLite file: give another path")
        # A write-ahead log would keep destroyed keys until it is overwritten; this journal is emptied at once.
        connection.execute("PRAGMA journal_mode=TRUNCATE")
        connection.execute("PRAGMA synchronous=EXTRA")
        connection.execute("PRAGMA fullfsync=ON")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA mmap_size=0")
        if not tables:
            with self._writing():
                if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:  # nobody was faster
                    for table in _TABLES:
                        connection.execute(table)
                    connection.execute("INSERT INTO vault VALUES (?, ?, 0)", (VERSION, secrets.token_bytes(KEY_BYTES)))
                    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        (version,) = connection.execute("SELECT version FROM vault").fetchone() or (None,)
        if version != VERSION:
            raise LedgerError(
                f"the vault {self.name} has the format {version}, and this Roadworthy knows {VERSION}: upgrade, with "
                "`pip install --upgrade roadworthy`. Nothing was changed."
            )
        if connection.execute("PRAGMA user_version").fetchone()[0] == _TO_REWRITE and self._writable:
            self._rewrite()

    def _secret(self) -> bytes:
        return self._saying(lambda: self._connection.execute("SELECT secret FROM vault").fetchone()[0])

    def _saying(self, attempt: Callable[[], _T]) -> _T:
        try:
            return attempt()
        except sqlite3.Error as cause:
            raise self._trouble(cause) from cause

    def _trouble(self, cause: sqlite3.Error) -> LedgerError:
        word = getattr(cause, "sqlite_errorname", None) or type(cause).__name__
        if self._closed:
            return LedgerError(f"the vault {self.name} was closed: open it again")
        meaning = {
            "SQLITE_BUSY": f"another process has held it for more than {BUSY_S:g} s: end it, or try again",
            "SQLITE_FULL": "the disk is full: free some space, then open the ledger again",
            "SQLITE_READONLY": "it may only be read: give this user the right to write the file and its folder",
            "SQLITE_CANTOPEN": "it cannot be opened: see that the folder is there, and that this user may write in it",
            "SQLITE_PERM": "this user may not open it: see who owns the file",
            "SQLITE_AUTH": "this user may not open it: see who owns the file",
            "SQLITE_NOTADB": "it is no vault, but some other file: give another path",
            "SQLITE_CORRUPT": "the file is damaged: restore it from a backup; without its keys nothing can be read",
            "SQLITE_IOERR": "the disk failed: see to it, then open the ledger again",
        }.get("_".join(word.split("_")[:2]), "SQLite refused: open the ledger again")
        return LedgerError(f"the vault {self.name}: {meaning} ({word}: {cause})")

    @contextlib.contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    # -- keys ---------------------------------------------------------------------------------------------------------

    def erasures(self) -> int:
        if self._closed:
            raise LedgerError(f"the vault {self.name} was closed: open it again")
        # SQLite's count of the file's changes, which every commit raises; read by itself it costs no lock. Read before
        # the erasures: what is committed in between is then found next time. Source: SQLite file format, section 1.3.7.
        count = os.pread(self._watched[1], 4, 24)
        if count != self._count:
            found = self._saying(lambda: self._connection.execute("SELECT erasures FROM vault").fetchone())
            self._erasures, self._count = found[0], count
        return self._erasures

    def take(self, wanted: Sequence[tuple[bytes, bytes | None]]) -> list[tuple[bytes, bytes]]:
        return self._saying(lambda: self._known(wanted) or self._take(wanted))

    def _known(self, wanted: Sequence[tuple[bytes, bytes | None]]) -> list[tuple[bytes, bytes]]:
        """Slots and keys where nothing need be written for them; nothing where there is."""
        found: list[tuple[bytes, bytes]] = []
        for owner, run in wanted:
            row = self._connection.execute("SELECT slot, key FROM slots WHERE owner = ?", (owner,)).fetchone()
            if row is None:
                return []
            if run is not None:
                known = "SELECT 1 FROM runs WHERE owner = ? AND run = ?"
                if self._connection.execute(known, (owner, run)).fetchone() is None:
                    return []
            found.append(row)
        return found

    def _take(self, wanted: Sequence[tuple[bytes, bytes | None]]) -> list[tuple[bytes, bytes]]:
        with self._writing() as connection:
            for owner, run in wanted:
                fresh = (owner, secrets.token_bytes(SLOT_BYTES), secrets.token_bytes(KEY_BYTES))
                connection.execute("INSERT INTO slots VALUES (?, ?, ?) ON CONFLICT (owner) DO NOTHING", fresh)
                if run is not None:
                    connection.execute("INSERT INTO runs VALUES (?, ?) ON CONFLICT DO NOTHING", (run, owner))
            taken = self._known(wanted)
        return taken

    def key_of(self, slot: bytes) -> bytes | Withheld:
        return self._saying(lambda: self._key_of(slot))

    def _key_of(self, slot: bytes) -> bytes | Withheld:
        row = self._connection.execute("SELECT key FROM slots WHERE slot = ?", (slot,)).fetchone()
        if row is not None:
            return row[0]
        gone = self._connection.execute("SELECT 1 FROM erased WHERE slot = ?", (slot,)).fetchone()
        return "sealed" if gone is None else "erased"

    def slots_of(self, owner: bytes) -> tuple[bytes, ...]:
        found = f"SELECT slot FROM slots WHERE {_THEIRS}"
        return self._saying(lambda: tuple(row[0] for row in self._connection.execute(found, {"owner": owner})))

    def erase(self, owner: bytes) -> tuple[bytes, ...]:
        return self._saying(lambda: self._erase(owner))

    def _erase(self, owner: bytes) -> tuple[bytes, ...]:
        given = {"owner": owner}
        with self._writing() as connection:
            slots = tuple(row[0] for row in connection.execute(f"SELECT slot FROM slots WHERE {_THEIRS}", given))
            self._destroy(connection, slots)
            connection.execute("DELETE FROM runs WHERE owner = :owner OR run = :owner", given)
        self._rewrite()
        return slots

    def erase_slots(self, slots: Sequence[bytes]) -> tuple[bytes, ...]:
        return self._saying(lambda: self._erase_slots(slots))

    def _erase_slots(self, slots: Sequence[bytes]) -> tuple[bytes, ...]:
        with self._writing() as connection:
            there = tuple(slot for slot in slots if isinstance(self._key_of(slot), bytes))
            self._destroy(connection, there)
        self._rewrite()
        return there

    def _destroy(self, connection: sqlite3.Connection, slots: Sequence[bytes]) -> None:
        rows = [(slot,) for slot in slots]
        connection.executemany("INSERT INTO erased VALUES (?) ON CONFLICT DO NOTHING", rows)
        connection.executemany("DELETE FROM slots WHERE slot = ?", rows)
        connection.execute("UPDATE vault SET erasures = erasures + 1")
        connection.execute(f"PRAGMA user_version={_TO_REWRITE}")  # until it is done, whoever opens the file does it
        self._erasures += 1

    def _rewrite(self) -> None:
        # Pages that were split or merged earlier may hold a copy of what stood in them: the file is written anew.
        self._connection.execute("VACUUM")
        self._connection.execute("PRAGMA user_version=0")

    def signing(self, ledger: str) -> Sequence[tuple[str, bytes]]:
        found = "SELECT name, key FROM signing WHERE ledger = ? ORDER BY n"
        return self._saying(lambda: self._connection.execute(found, (ledger,)).fetchall())

    def keep_signing(self, ledger: str, name: str, key: bytes) -> None:
        with self._guarded() as connection:
            connection.execute("INSERT INTO signing (ledger, name, key) VALUES (?, ?, ?)", (ledger, name, key))

    def forget_signing(self, ledger: str, key: bytes) -> None:
        self._saying(lambda: self._forget_signing(ledger, key))

    def _forget_signing(self, ledger: str, key: bytes) -> None:
        with self._writing() as connection:
            connection.execute("DELETE FROM signing WHERE ledger = ? AND key = ?", (ledger, key))
        self._connection.execute("VACUUM")  # as after an erasure

    @contextlib.contextmanager
    def _guarded(self) -> Generator[sqlite3.Connection]:
        try:
            with self._writing() as connection:
                yield connection
        except sqlite3.Error as cause:
            raise self._trouble(cause) from cause

    def shared_with(self, ledger: str) -> bool:
        return False  # it is no server

    # -- closing ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        _unwatch(self._watched)

    def abandon(self) -> None:
        """Keep the connection for ever: in a forked child, to close it would touch the parent's file and locks."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))


def _abandon_all() -> None:
    for keeper in list(_open_files):
        keeper.abandon()


os.register_at_fork(after_in_child=_abandon_all)
