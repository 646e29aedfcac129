"""`roadworthy contract`: sign a contract, so that a level may be used, and put it on a page for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from roadworthy.audit.page import page_of, render_html
from roadworthy.cli.ledgers import LEDGER_ENV, GateBook, VaultChoice, appending, its_folder, reading
from roadworthy.cli.signing import KEYS_ENV, KEYS_HELP, find_key
from roadworthy.cli.terminal import json_line, out, shown
from roadworthy.contract.keys import project_of, seal
from roadworthy.contract.model import Contract
from roadworthy.contract.names import did_you_mean
from roadworthy.contract.people import People
from roadworthy.core.clock import SystemClock
from roadworthy.core.errors import UsageError
from roadworthy.core.types import LEVELS, Draft, Level
from roadworthy.gate.entries import contract_drafts
from roadworthy.gate.levels import RANK, Levels, compile_levels, signature_body, signature_fault
from roadworthy.gate.signed import standing as signed_so_far
from roadworthy.pages.paper import write_page

app = typer.Typer(add_completion=False)


@app.callback()
def group() -> None:
    """Sign a contract, so that its levels may be used, and put it on a page for people who write no code."""


@app.command()
def sign(
    contract: Annotated[Path, typer.Argument(help="The contract file.")],
    person: Annotated[str, typer.Option("--as", help="Who signs: a person in the contract's people file.")],
    role: Annotated[str, typer.Option(help="The role in which they sign.")],
    level: Annotated[str, typer.Option(help="approval or autonomous: may be used up to this level.")],
    ledger: GateBook,
    keys: Annotated[Path | None, typer.Option("--keys", envvar=KEYS_ENV, help=KEYS_HELP)] = None,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="The entry that was written, as a line of JSON.")] = False,
) -> int:
    """Sign this version of a contract, so that it may be used up to a level.

    The signature goes into the ledger. It is about this contract and its people file as they are now: a changed one
    must be signed anew. Exit codes: 0 signed, 1 the same signature stands there already, 2 broken input.
    """
    law = Contract.load(contract)
    people = _people(law, contract)
    if level not in get_args(Level):
        raise UsageError(f"there is no level {level!r}: it is one of {', '.join(LEVELS)}")
    _assure(law, people, person, role, cast("Level", level))
    key = find_key(person, keys, {"the project": project_of(contract), **its_folder(ledger)})
    if key.public not in people.members[person].keys:
        raise UsageError(
            f"the key of {person} in {keys} is not one of those in {people.file}; which one is out of date?"
        )
    body = seal(key, "contract", signature_body(law, level=cast("Level", level), role=role, by=person))
    policy = compile_levels(law)
    fault = signature_fault(policy, body)
    if fault is not None:
        raise UsageError(f"this would count for nothing: {fault}")
    with appending(ledger, vault, create=True) as opened:
        standing = Levels(policy, opened.id)
        standing.refresh(opened)
        twice = any(
            entry.body.get("signature") == body["signature"] and entry.world == "production"
            for entry in opened.entries(kind="signature")
        )
        if not twice:
            now = SystemClock().now()
            draft = Draft(kind="signature", world="production", run=None, body=body, at=now)
            opened.append([*contract_drafts(law, opened, now), draft])
            standing.refresh(opened)
        cap = standing.cap
        missing: dict[Level, list[str]] = {at: sorted(standing.missing(at)) for at in LEVELS if standing.missing(at)}
    if json:
        json_line({"written": not twice, "usable_up_to": cap, "missing": missing, **body})
    else:
        _tell(law, person, role, level, cap, missing, twice=twice)
    return 1 if twice else 0


def _people(law: Contract, file: Path) -> People:
    if law.members is None:
        raise UsageError(f"{file} names no `people`, so nobody can sign it; make a file with `roadworthy people add`")
    return law.members


def _assure(law: Contract, people: People, person: str, role: str, level: Level) -> None:
    """Raises UsageError for a signature that nobody asks for, or that this person cannot give."""
    asked = {name for at, names in law.signatures.items() if RANK[at] <= RANK[level] for name in names}
    if not asked:
        raise UsageError(f"this contract asks for no signature for {level}; name roles under `signatures`")
    if role not in asked:
        raise UsageError(f"this contract wants no signature of {role!r} for {level}; {did_you_mean(role, asked)}")
    if person not in people.members:
        raise UsageError(f"{person!r} does not stand in {people.file}; {did_you_mean(person, people.members)}")
    if not people.holds(person, role):
        able = ", ".join(people.holding(role)) or "nobody"
        raise UsageError(f"{person} does not hold the role {role}; {able} can sign as {role}")


def _tell(
    law: Contract, person: str, role: str, level: str, cap: Level, missing: dict[Level, list[str]], *, twice: bool
) -> None:
    console = out()
    what = f"{law.agent} version {law.version} for {level}"
    done = "had signed it already" if twice else "has signed it"
    console.print(shown(f"{person} ({role}) {done}: {what}."))
    console.print(
        shown(f"It may be used up to {cap}; the contract's ceilings and what was set since hold beside that.")
    )
    for at, roles in missing.items():
        console.print(shown(f"Not signed for {at} yet: {', '.join(roles)}."))


@app.command()
def page(
    contract: Annotated[Path, typer.Argument(help="The contract file.")],
    html: Annotated[Path, typer.Option("--html", help="Where the page goes.")],
    ledger: Annotated[
        str | None,
        typer.Option(
            "--ledger", envvar=LEDGER_ENV, help="Its ledger: then the page tells signatures and changes, too."
        ),
    ] = None,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="Where the page went, as a line of JSON.")] = False,
) -> int:
    """Write a contract as one page in plain words, for people who decide about an agent and write no code.

    What it may do alone, what a person must agree to, what it may never do, its limits, who answers for it and, with
    a ledger, who has signed it and what changed since the version that was signed last. Exit codes: 0 written,
    2 broken input.
    """
    law = Contract.load(contract)
    standing, now = None, None
    if ledger is not None:
        with reading(ledger, vault) as opened:
            standing = signed_so_far(law, opened)
            levels = Levels(compile_levels(law), opened.id)
            levels.refresh(opened)
            now = levels.levels
    text = render_html(page_of(law, standing=standing, levels=now), at=SystemClock().now())
    path = write_page(text, html, "the page")
    if json:
        json_line({"html": str(path), "agent": law.agent, "version": law.version, "digest": law.digest})
    else:
        out().print(shown(f"Written: {path}", lines=False))
    return 0
