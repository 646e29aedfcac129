"""Drafts to write, and a script runner for what must happen in another process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from roadworthy.core.types import Draft, Kind, Realm

START = datetime(2026, 1, 5, 9, tzinfo=UTC)


def draft(
    number: int = 0,
    *,
    run: str | None = "run-1",
    kind: Kind = "heard",
    world: Realm = "production",
    body: Mapping[str, Any] | None = None,
    cause: str | None = None,
) -> Draft:
    """A draft that can be told from others by its number."""
    at = START + timedelta(seconds=number)
    return Draft(kind=kind, world=world, run=run, body={"n": number} if body is None else body, at=at, cause=cause)


@pytest.fixture
def make() -> Callable[..., Draft]:
    """Makes drafts: `make(3, run="a")`."""
    return draft


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger may be made; the name needs escaping in a URI."""
    return tmp_path / "runs 100%?#.db"


_PRELUDE = """
import json, os, sys
from datetime import UTC, datetime
from pathlib import Path
from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Draft
from roadworthy.ledger.batch import Batch
from roadworthy.ledger.store import Ledger

def draft(n, run="r", kind="heard", size=0):
    return Draft(kind=kind, world="production", run=run, body={"n": n, "text": "x" * size}, at=datetime.now(UTC))

path = Path(sys.argv[1])
"""


@pytest.fixture
def script() -> Callable[..., subprocess.Popen[str]]:
    """Starts Python code over a ledger's path in a process of its own."""

    def start(
        code: str, path: Path, *more: str, wrap: tuple[str, ...] = (), stdin: int | None = None
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*wrap, sys.executable, "-u", "-W", "error", "-c", _PRELUDE + code, str(path), *more],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
