"""Files that are made of a ledger. Each is registered there, so that an erasure can name it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from roadworthy.core.types import Draft, Entry
from roadworthy.ledger.store import Ledger

MOST_RUNS: Final = 500
"""A file of more runs than this is registered as one of any run."""


def register(
    ledger: Ledger,
    path: str | Path,
    *,
    what: str,
    at: datetime,
    runs: Sequence[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Entry:
    """Write down that a file holds what was read from the ledger: where it lies, its hash, and which runs it is about.

    `what`: `report` or `runs`. `runs`: None where it may hold any. Raises OSError where the file cannot be read,
    LedgerError.
    """
    file = Path(path).absolute()
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    body: dict[str, Any] = {"what": what, "path": str(file), "sha256": digest}
    if runs is not None and len(runs) <= MOST_RUNS:
        body["runs"] = list(runs)
    if since is not None:
        body["since"] = since
    if until is not None:
        body["until"] = until
    return ledger.append([Draft(kind="export", world="production", run=None, body=body, at=at)])[0]
