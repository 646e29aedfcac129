"""`roadworthy ledger prune`: give up what nobody needs any more, and keep the proofs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from roadworthy.cli.ledgers import Book, VaultChoice, appending
from roadworthy.cli.terminal import json_line, out, shown
from roadworthy.core.clock import SystemClock
from roadworthy.core.errors import UsageError
from roadworthy.ledger.prune import RETENTION, prune


def command(
    ledger: Book,
    before: Annotated[
        str, typer.Option(metavar="DAY", help="Give up runs whose last entry is older than this day (UTC), 2026-01-31.")
    ],
    archives: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the files lie that `ledger export --parquet` has written.")
    ],
    by: Annotated[str, typer.Option(help="Who gives them up, for the ledger.")],
    because: Annotated[str, typer.Option(help="Why, for the ledger.")],
    keep_days: Annotated[
        int, typer.Option(min=0, help="Keep whatever is younger. The law may ask for six months at least.")
    ] = RETENTION.days,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="What was given up, as a line of JSON.")] = False,
) -> int:
    """Give up old runs that an archive holds: their content goes, their places and hashes stay in the tree.

    Only what stands in the archives word for word is given up. Contracts, levels, stops, signatures and keys stay, and
    so does what tools have answered, and whatever waits for a person. Exit codes: 0 done, 2 refused.
    """
    day = _day(before)
    with appending(ledger, vault) as opened:
        done = prune(
            opened,
            before=day,
            archives=archives,
            by=by,
            because=because,
            now=SystemClock().now(),
            retention=timedelta(days=keep_days),
        )
    if json:
        json_line({"entries": done.entries, "runs": done.runs, "files": list(done.files)})
    elif done.entries:
        out().print(
            shown(
                f"Gave up {done.entries:,} entries of {done.runs:,} runs. They stand in {', '.join(done.files)}; "
                "`roadworthy ledger verify` goes on to prove all places."
            )
        )
    else:
        out().print("Nothing to give up: no run has rested for so long, or the archives do not hold it.")
    return 0


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(f"{text!r} is no day: write it as 2026-01-31") from None
