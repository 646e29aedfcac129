"""`roadworthy ledger export`: hand a ledger on, in a form that others can read or check."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from roadworthy.cli.ledgers import Book, VaultChoice, reading
from roadworthy.cli.terminal import json_line, out, shown
from roadworthy.core.errors import UsageError
from roadworthy.ledger import jsonl


def command(
    ledger: Book,
    lines: Annotated[
        Path | None,
        typer.Option("--jsonl", metavar="FILE", help="JSON Lines with all proofs, for verify_ledger.py; - for stdout."),
    ] = None,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="What was written, as a line of JSON.")] = False,
) -> int:
    """Hand a ledger on, in a form that others can read or check.

    What is encrypted in the ledger stays encrypted in JSON Lines, so that an erasure holds for them, too. Exit codes:
    0 written, 2 broken input.
    """
    if lines is None:
        raise UsageError("say what to write: --jsonl FILE")
    with reading(ledger, vault) as opened:
        if str(lines) == "-":
            for line in jsonl.lines(opened):
                sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            return 0
        count, size = _write(lines, jsonl.lines(opened)), opened.size
    if json:
        json_line({"file": str(lines), "lines": count, "entries": size})
    else:
        out().print(shown(f"Wrote {size:,} entries to {lines}. Check them anywhere: python verify_ledger.py {lines}"))
    return 0


def _write(file: Path, lines: Iterable[bytes]) -> int:
    """Write lines to a file, whole or not at all; how many there were. Raises UsageError."""
    part = file.with_name(f"{file.name}.part")
    count = 0
    try:
        with part.open("wb") as to:
            for line in lines:
                to.write(line)
                count += 1
            to.flush()
            os.fsync(to.fileno())
        part.replace(file)
    except OSError as cause:
        raise UsageError(f"{file} cannot be written ({cause.strerror or cause}): give another path") from cause
    finally:
        part.unlink(missing_ok=True)
    return count
