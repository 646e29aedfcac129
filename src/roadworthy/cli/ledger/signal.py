"""`roadworthy ledger signal`: report what became known of a run after it was over."""

from __future__ import annotations

import json as parser
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from roadworthy.cli.ledgers import Book, VaultChoice, appending
from roadworthy.cli.terminal import json_line, out, shown
from roadworthy.core.clock import SystemClock
from roadworthy.core.errors import UsageError
from roadworthy.ledger.signals import signal


def command(
    ledger: Book,
    run: Annotated[str, typer.Argument(help="The run of which something became known.")],
    name: Annotated[str, typer.Argument(help="What became known, such as ticket_reopened.")],
    value: Annotated[str | None, typer.Option(help="More about it: JSON, or else text.")] = None,
    by: Annotated[str | None, typer.Option(help="Who reports it: a person or a system.")] = None,
    at: Annotated[
        str | None, typer.Option(help="When it happened, with its zone, such as 2026-01-05T09:00:00Z.")
    ] = None,
    id: Annotated[str | None, typer.Option("--id", help="The reporter's id: sent twice, it is written once.")] = None,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="The entry as a line of JSON.")] = False,
) -> int:
    """Report what became known of a run later: the ticket was opened again, the parcel came, the customer complained.

    The name must be one of those for which the contract waits under `success`, where it waits for any.
    Exit codes: 0 it stands in the ledger, 2 no such ledger, run or name.
    """
    with appending(ledger, vault) as opened:
        found = signal(opened, run, name, value=_value(value), by=by, at=_time(at), id=id, now=SystemClock().now())
    if json:
        json_line({**asdict(found.entry), "withheld": sorted(found.entry.withheld)})
    elif found.new:
        out().print(shown(f"Noted of run {run}: {name} (entry {found.entry.seq}).", lines=False))
    else:
        out().print(shown(f"This was noted of run {run} before (entry {found.entry.seq}).", lines=False))
    return 0


def _value(given: str | None) -> Any:
    if given is None:
        return None
    try:
        return parser.loads(given, parse_float=str, parse_constant=str)  # rates stay the digits that were written
    except (ValueError, RecursionError):
        return given


def _time(given: str | None) -> datetime | None:
    if given is None:
        return None
    try:
        return datetime.fromisoformat(given)
    except ValueError as cause:
        raise UsageError(f"--at {given!r} is no time: write it as 2026-01-05T09:00:00Z") from cause
