"""`roadworthy ledger erase`: give up the keys of a person's data, so that nobody can read them any more."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from roadworthy.cli.ledgers import Book, VaultChoice, appending
from roadworthy.cli.terminal import err, json_line, out, shown
from roadworthy.core.clock import SystemClock
from roadworthy.core.errors import UsageError
from roadworthy.ledger.erase import NAMED, Erasure, erase, erase_again, erased_before, plan


def command(
    ledger: Book,
    by: Annotated[str, typer.Option(help="Who erases: you. Stays in the ledger for good.")],
    because: Annotated[str, typer.Option(help="Why, without naming the subject. Stays in the ledger for good.")],
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="SUBJECT", help="The subject's key, as `ledger show` lists it; ENTITY:KEY for a bridged one."
        ),
    ] = None,
    run: Annotated[str | None, typer.Option(help="In place of a subject: a run whose subject was never known.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="In place of a subject: all that was erased before, in a restored vault.")
    ] = False,
    vault: VaultChoice = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be erased, and erase nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask once more.")] = False,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON, and nothing else.")] = False,
) -> int:
    """Erase a person's data: destroy their keys in the vault, and write down that it was done, without their name.

    The ledger can be verified afterwards as before. Files that were made of it, and copies of the vault, are yours to
    see to: they are listed. Exit codes: 0 erased, 1 you said no when asked once more, 2 nothing to erase, and why.
    """
    if (subject is not None) + (run is not None) + again != 1:
        raise UsageError(
            "say whose data go: give the subject, or --run for a run whose subject was never known, or --again"
        )
    asks = sys.stdin.isatty() and not json and not again
    if not (yes or dry_run or asks):
        raise UsageError(
            "destroyed keys never come back, and nobody can be asked here: look with --dry-run, then give --yes"
        )
    if again:
        return _again(ledger, vault, by, because, dry_run=dry_run, json=json)
    with appending(ledger, vault) as opened:
        if not yes or dry_run:
            found = plan(opened, subject=subject, run=run)
            if dry_run:
                _tell(found, json=json, done=False)
                return 0
            _tell(found, json=False, done=False)
            if found.slots and not typer.confirm("Erase this for good?"):
                return 1
        done = erase(opened, subject=subject, run=run, by=by, because=because, at=SystemClock().now())
    _tell(done, json=json, done=True)
    return 0


def _again(ledger: str, vault: str | None, by: str, because: str, *, dry_run: bool, json: bool) -> int:
    with appending(ledger, vault) as opened:
        if dry_run:
            slots = erased_before(opened)
            found = Erasure(slots=slots, entries=0, runs=(), derived=(), plain=())
        else:
            found = erase_again(opened, by=by, because=because, at=SystemClock().now())
    if json:
        json_line({**asdict(found), "erased": not dry_run})
    elif not found.slots:
        out().print("Nothing that was erased has come back.")
    elif dry_run:
        out().print(f"Keys that were erased and are there again: {len(found.slots)}.")
    else:
        _tell(found, json=False, done=True)
    return 0


def _tell(found: Erasure, *, json: bool, done: bool) -> None:
    if json:
        json_line({**asdict(found), "erased": done})
        return
    keys = "1 key" if len(found.slots) == 1 else f"{len(found.slots)} keys"
    entries = "1 entry" if found.entries == 1 else f"{found.entries} entries"
    runs = "1 run" if len(found.runs) == 1 else f"{len(found.runs)} runs"
    if done:
        out().print(f"Erased: {keys}. What was private in {entries} of {runs} cannot be read any more.")
        out().print(f"It stands in entry {found.seq}, without the name. The ledger can be verified as before.")
    else:
        out().print(f"To be erased: {keys}, and with them what is private in {entries} of {runs}.")
    if found.derived:
        out().print("These files were made of the ledger and may hold it, too; see to them by hand:")
        for one in found.derived:
            out().print(shown(f"  {one.path} ({one.what}, entry {one.seq})", lines=False))
    if found.plain:
        listed = ", ".join(map(str, found.plain)) + (" and more" if len(found.plain) == NAMED else "")
        err().print(
            f"The subject's key itself stands in plain in entries {listed}: in an id, or before there was a vault."
        )
    if done:
        err().print("Copies of the vault from before hold the keys: destroy these, too, or it is not erased.")
