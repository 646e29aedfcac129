"""Where a ledger lies: in a file, on a server, or in memory; and how that is said without giving a password away."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from roadworthy.core.errors import LedgerError

_MEMORY: Final = (":memory:", "sqlite://", "sqlite:///:memory:")
_SERVERS: Final = ("postgresql", "postgres", "postgresql+psycopg")


def on_server(url: str | Path) -> bool:
    """Whether a database server keeps it, so that it is no file of this machine."""
    return isinstance(url, str) and url.partition("://")[0].lower() in _SERVERS and "://" in url


def file_of(url: str | Path) -> Path | None:
    """The file that it is; None for one on a server or in memory. Raises LedgerError for what is neither."""
    if isinstance(url, Path):
        return url.expanduser()
    if url in _MEMORY or on_server(url):
        return None
    if url.startswith("sqlite:///"):
        url = url.removeprefix("sqlite:///")
    elif "://" in url:
        raise LedgerError(
            f"a ledger cannot be kept in {url.split('://')[0]!r}: give a path, sqlite:///PATH, "
            "postgresql://HOST/DATABASE or :memory:"
        )
    if not url:
        raise LedgerError("a ledger needs a path: give one, or :memory:")
    return Path(url).expanduser()


def look_at(path: Path, *, read_only: bool) -> None:
    """What the file system says of a ledger's file, clearer than SQLite does. Raises LedgerError."""
    try:
        if path.is_dir():
            raise LedgerError(f"{path} is a folder: give the path of a file in it, such as {path / 'runs.db'}")
        if not path.parent.is_dir():
            raise LedgerError(f"the folder {path.parent} is not there: create it, or give another path")
        if read_only and not path.exists():
            raise LedgerError(f"there is no ledger at {path}: give the path of one that was written before")
        if read_only and not path.stat().st_size:
            raise LedgerError(f"{path} is no ledger, but an empty file: give another path")
    except OSError as cause:
        raise LedgerError(f"the ledger {path} cannot be reached: {cause}") from cause


def told(url: str | Path) -> str:
    """The address for messages, reports and logs: without user, password and what else stands in a URL."""
    if not on_server(url):
        return str(url)
    try:
        parts = urlsplit(str(url))
        host, port = parts.hostname or "", parts.port
    except ValueError:  # whatever it is, a password may be part of it
        return "postgresql://…"
    if ":" in host:
        host = f"[{host}]"
    return f"postgresql://{host}{f':{port}' if port else ''}{parts.path}"
