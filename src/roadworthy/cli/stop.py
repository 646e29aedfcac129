"""`roadworthy stop`: stop an agent, or one capability, at its next action."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from roadworthy.cli.ledgers import Book, VaultChoice, appending, its_folder
from roadworthy.cli.signing import KEYS_ENV, KEYS_HELP, find_key
from roadworthy.cli.terminal import json_line, out, shown
from roadworthy.contract.keys import seal
from roadworthy.contract.model import Contract
from roadworthy.core.clock import SystemClock
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Draft
from roadworthy.gate.stops import lift_body, stop_body
from roadworthy.ledger.store import Ledger


def command(
    ledger: Book,
    by: Annotated[str, typer.Option(help="Who stops it.")],
    because: Annotated[str, typer.Option(help="Why; the agent is told so.")],
    capability: Annotated[str | None, typer.Option(help="Only this capability. Without it: everything.")] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Take the stop back.")] = False,
    keys: Annotated[
        Path | None, typer.Option(help=f"With --lift, where people are named: {KEYS_HELP}", envvar=KEYS_ENV)
    ] = None,
    contract: Annotated[
        Path | None, typer.Option(help="Check the capability's name by this contract, not by the ledger's.")
    ] = None,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="The entry that was written, as a line of JSON.")] = False,
) -> int:
    """Stop an agent, or one capability, at its next action.

    Every gate over the ledger, in any process, denies what was stopped from its next decision on. Where the contract
    names people, --lift counts only with the signature of whoever is accountable: --by NAME --keys DIR signs it.
    Exit codes: 0 written, 1 there was no such stop to lift, 2 broken input.
    """
    if not by.strip() or not because.strip():
        raise UsageError("a stop names who and why: --by and --because must not be empty")
    with appending(ledger, vault) as opened:
        if capability is not None:
            _check(capability, opened, contract)
        what = "the whole agent" if capability is None else f"capability {capability}"
        if lift and not _stopped(opened, capability):
            out().print(shown(f"Nothing to lift: {what} is not stopped in {opened.name}.")) if not json else json_line(
                {"lifted": False, "capability": capability}
            )
            return 1
        body = stop_body(capability=capability, because=because, by=by)
        if lift:
            body = lift_body(ledger=opened.id, capability=capability, because=because, by=by)
            if keys is not None:
                body = seal(find_key(by, keys, its_folder(ledger)), "stop", body)
            elif _names_people(opened):
                raise UsageError(
                    "the contract names people, so that a stop is taken back by a signature only: "
                    "--by NAME --keys DIR, of whoever is accountable"
                )
        draft = Draft(kind="stop", world="production", run=None, body=body, at=SystemClock().now())
        (entry,) = opened.append([draft])
    if json:
        json_line({"seq": entry.seq, "at": entry.at, **body})
    elif lift:
        out().print(shown(f"Lifted: {what} may act again, from the next decision on (entry {entry.seq})."))
    else:
        out().print(shown(f"Stopped: {what}, from the next decision of every gate on (entry {entry.seq})."))
    return 0


def _check(capability: str, ledger: Ledger, contract: Path | None) -> None:
    """A stop of a misspelt capability would stop nothing, and nobody would notice."""
    if contract is not None:
        known = set(Contract.load(contract).capabilities)
        where = str(contract)
    else:
        known: set[str] = set()
        where = f"the contracts in {ledger.name}"
        for entry in ledger.entries(kind="contract"):
            law = cast("Mapping[str, Any]", entry.body.get("contract") or {})
            known |= set(cast("Mapping[str, Any]", law.get("capabilities") or {}))
        if not known:
            raise UsageError(
                f"{ledger.name} holds no contract to check the capability's name by: give --contract FILE, "
                "or stop the whole agent by leaving --capability out"
            )
    if capability not in known:
        raise UsageError(f"there is no capability {capability!r} in {where}; there is {', '.join(sorted(known))}")


def _names_people(ledger: Ledger) -> bool:
    """Whether the contract that was written last names people."""
    last = None
    for entry in ledger.entries(kind="contract"):
        last = entry.body
    return last is not None and bool(last.get("people"))


def _stopped(ledger: Ledger, capability: str | None) -> bool:
    stops = [entry.body for entry in ledger.controls() if entry.kind == "stop" and entry.world == "production"]
    of_this = [body for body in stops if body.get("capability") == capability]
    return bool(of_this) and not of_this[-1].get("lifted")
