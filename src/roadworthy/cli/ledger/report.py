"""`roadworthy ledger report`: a page for an auditor, or for whoever must find out what happened."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from roadworthy.audit.account import account
from roadworthy.audit.derived import register
from roadworthy.audit.redecide import Redeciding
from roadworthy.audit.report import again_of, render
from roadworthy.audit.verify import verify
from roadworthy.cli.ledgers import Book, VaultChoice, appending, reading
from roadworthy.cli.spans import Since, Until, World, moment, world_of
from roadworthy.cli.terminal import json_line, out, shown
from roadworthy.core.clock import SystemClock
from roadworthy.core.errors import LedgerError, UsageError
from roadworthy.pages.paper import write_page


def command(
    ledger: Book,
    page: Annotated[Path, typer.Option("--html", metavar="FILE", help="Where the page goes.")],
    since: Since = None,
    until: Until = None,
    world: World = None,
    run: Annotated[str | None, typer.Option(help="Only this run, entry by entry.")] = None,
    replay: Annotated[
        bool | None,
        typer.Option("--replay/--no-replay", help="Decide the runs again. Default: for a single run."),
    ] = None,
    check: Annotated[bool, typer.Option("--verify/--no-verify", help="Check the ledger.")] = True,
    key: Annotated[list[str] | None, typer.Option(metavar="VKEY", help="A public key of the ledger to trust.")] = None,
    witness: Annotated[list[str] | None, typer.Option(metavar="VKEY", help="A witness that you trust.")] = None,
    no_register: Annotated[
        bool, typer.Option("--no-register", help="Leave the ledger alone: an erasure will not name this copy.")
    ] = False,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="What was written, as a line of JSON.")] = False,
) -> int:
    """Write a page about what an agent did: who answers for it, what was allowed, decided by people and held back.

    The page is one file without scripts. It holds data of the runs in plain, so it is registered in the ledger, and an
    erasure names it. Exit codes: 0 written, 1 written and the ledger is not intact, 2 broken input.
    """
    began, ends = moment(since, "since"), moment(until, "until")
    if run is not None and (began is not None or ends is not None or world is not None):
        raise UsageError("--run is one run, whenever it was: leave out --since, --until and --world")
    now = SystemClock().now()
    with ExitStack() as stack:
        opened = stack.enter_context(reading(ledger, vault) if no_register else appending(ledger, vault))
        if run is not None and next(opened.entries(run=run, limit=1), None) is None:
            raise UsageError(
                f"{opened.name} holds no run {run!r}: `roadworthy ledger show {opened.name}` lists the runs"
            )
        told = account(opened, since=began, until=ends, world=world_of(world), run=run)
        checked, wrong = None, None
        if check:
            try:
                checked = verify(opened, keys=key or (), witnesses=witness or ())
            except LedgerError as error:
                wrong = error.text
        again = None
        if replay or (replay is None and run is not None):
            deciding = Redeciding(opened)
            again = again_of(map(deciding.run, told.names))
        text = render(told, source=opened.name, at=now, check=checked, again=again, wrong=wrong)
        target = write_page(text, page, "the report")
        entry = None
        if not no_register:
            entry = register(opened, target, what="report", at=now, runs=told.names, since=began, until=ends)
    intact = checked.intact if checked is not None else None
    if json:
        json_line(
            {
                "html": str(target),
                "runs": told.runs,
                "entries": told.entries,
                "intact": intact,
                "registered": entry.seq if entry is not None else None,
            }
        )
    else:
        what = f"{told.runs:,} {'run' if told.runs == 1 else 'runs'}, {told.entries:,} entries"
        noted = f", registered as entry {entry.seq}" if entry is not None else ""
        out().print(shown(f"Wrote {target}: {what}{noted}.", lines=False))
        if intact is False:
            out().print("The ledger is NOT INTACT: `roadworthy ledger verify` says what was found.")
    return 1 if intact is False or wrong is not None else 0
