"""`roadworthy ledger verify`: prove that a ledger is what was written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from roadworthy.audit.verify import verify
from roadworthy.cli.ledgers import Book, VaultChoice, reading
from roadworthy.cli.terminal import json_line, out, shown
from roadworthy.core.errors import UsageError
from roadworthy.verify_ledger import told


def command(
    ledger: Book,
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="VKEY", help="A public key of the ledger that you trust; may be repeated."),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A checkpoint that you have kept: the ledger must go on from it."),
    ] = None,
    witness: Annotated[
        list[str] | None, typer.Option(metavar="VKEY", help="A witness that you trust; may be repeated.")
    ] = None,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="All of it as a line of JSON.")] = False,
) -> int:
    """Prove that nobody has changed a ledger: its entries, its signatures, its tables, and what people have signed.

    Without --key the ledger vouches for itself: keep the key that is printed, and give it next time. With --since, what
    was cut off the end or written anew since is found, too. The ledger is only read; without the vault, what is
    encrypted is checked for being what was written, and not for what it says. Exit codes: 0 intact, 1 something is
    wrong, 2 it cannot be read.
    """
    try:
        remembered = since.read_text(encoding="utf-8") if since is not None else None
    except (OSError, ValueError) as cause:
        raise UsageError(f"the checkpoint {since} cannot be read ({cause}): give a file that holds one") from cause
    with reading(ledger, vault) as opened:
        report = verify(opened, keys=key or (), witnesses=witness or (), since=remembered)
    if json:
        json_line(asdict(report) | {"intact": report.intact})
    else:
        for line in told(report):
            style = "red" if line.startswith(("wrong", "NOT INTACT")) else "green" if line.startswith("Intact") else ""
            out().print(Text(shown(line, lines=False), style=style))
    return 0 if report.intact else 1
