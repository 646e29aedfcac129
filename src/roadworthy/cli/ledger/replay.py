"""`roadworthy ledger replay`: decide runs again from the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer

from roadworthy.audit.redecide import Decision, Redecided, Redeciding
from roadworthy.cli.ledgers import Book, VaultChoice, reading
from roadworthy.cli.spans import Since, Until, World, moment, world_of
from roadworthy.cli.terminal import json_line, out, shown
from roadworthy.contract.model import Contract
from roadworthy.core.errors import UsageError

_SHOWN: Final = 50
"""Differences that are printed for people; `--json` has all."""


def command(
    ledger: Book,
    run: Annotated[str | None, typer.Argument(help="The run's id.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Every run of the ledger.")] = False,
    contract: Annotated[
        Path | None, typer.Option(help="Judge by this contract. Without it: by the one that each run was under.")
    ] = None,
    since: Since = None,
    until: Until = None,
    world: World = None,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON a run, and one of summary.")] = False,
) -> int:
    """Decide runs again from what the ledger holds. No tool runs, and nothing is written.

    Under its own contract every decision of a run must come out as it was written, byte for byte; under another one,
    what it would let happen or keep from happening is shown. Exit codes: 0 nothing differs, 1 something does, 2 no such
    ledger or run, 3 nothing differs, and a run could not be decided again: erased, sealed, or its contract is missing.
    """
    if (run is None) == (not all):
        raise UsageError("name a run, or give --all for every run of the ledger")
    if run is not None and (since is not None or until is not None or world is not None):
        raise UsageError("--since, --until and --world choose among runs: give them with --all")
    law = Contract.load(contract) if contract is not None else None
    tally: Counter[str] = Counter()
    with reading(ledger, vault) as opened:
        deciding = Redeciding(opened, contract=law)
        found: Iterable[Redecided]
        if run is not None:
            found = [deciding.run(run)]
        else:
            found = deciding.runs(since=moment(since, "since"), until=moment(until, "until"), world=world_of(world))
        for one in found:
            _count(tally, one)
            if json:
                json_line(_as_json(one))
            else:
                for line in _text(one, alone=run is not None):
                    out().print(line)
    if json:
        json_line({"summary": {key: tally[key] for key in _KEYS}})
    elif run is None:
        out().print(_summary(tally))
    return 1 if tally["differing_runs"] else 3 if tally["undecided"] else 0


_KEYS: Final = ("runs", "decisions", "same_runs", "differing_runs", "differing", "undecided", "side_by_side")


def _count(tally: Counter[str], one: Redecided) -> None:
    tally["runs"] += 1
    tally["decisions"] += len(one.decisions)
    tally["side_by_side"] += one.side_by_side
    if one.undecided is not None:
        tally["undecided"] += 1
    elif one.differing:
        tally["differing_runs"] += 1
        tally["differing"] += len(one.differing)
    else:
        tally["same_runs"] += 1


def _as_json(one: Redecided) -> dict[str, Any]:
    return {
        "run": one.run,
        "world": one.world,
        "contract": one.contract,
        "version": one.version,
        "other": one.other,
        "decisions": len(one.decisions),
        "same": one.same,
        "regrounded": one.regrounded,
        "side_by_side": one.side_by_side,
        "undecided": one.undecided,
        "why": one.why,
        "differing": [
            {"what": d.what, "seq": d.seq, "at": d.at, "action": d.action, "tool": d.tool, "was": d.was, "now": d.now}
            for d in one.differing
        ],
    }


def _text(one: Redecided, *, alone: bool) -> Iterator[str]:
    name = shown(one.run, lines=False)
    law = "the contract given" if one.other else "its own contract"
    under = f"{law}, version {shown(one.version or '?', lines=False)} ({(one.contract or '')[:12]})"
    if one.undecided is not None:
        yield f"{name}: not decided again: {one.undecided}: {shown(one.why, lines=False)}"
    elif not one.differing:
        if alone:
            same = "would let happen the same" if one.other else "the same, byte for byte"
            more = f"; {_number(one.regrounded, 'ruling')} on other grounds" if one.regrounded else ""
            yield f"{name}: {_number(len(one.decisions), 'decision')} under {under}: {same}{more}."
            if one.side_by_side:
                yield "Calls that ran side by side were decided in another order than they were written in."
    else:
        of = f"{len(one.differing)} of {_number(len(one.decisions), 'decision')}"
        verb = "differs" if len(one.differing) == 1 else "differ"
        yield f"{name}: {of} under {under} {verb}:"
        if one.other:
            yield "  From the first of them on, the run itself would have gone another way; it is judged as it went."
        for decision in one.differing[:_SHOWN]:
            yield from _difference(decision)
        if len(one.differing) > _SHOWN:
            yield f"  and {len(one.differing) - _SHOWN} more; --json has all."


def _difference(one: Decision) -> Iterator[str]:
    about = f"{one.tool} ({one.action})" if one.action is not None else _ABOUT[one.what]
    yield shown(f"  entry {one.seq}, {one.at:%Y-%m-%d %H:%M:%S} UTC, {about}", lines=False)
    if one.what == "verdict":
        yield shown(f"    was {_ruled(one.was)}", lines=False)
        yield shown(f"    now {_ruled(one.now)}", lines=False)
        return
    keys = sorted(key for key in {*one.was, *one.now} if one.was.get(key) != one.now.get(key))
    for key in keys:
        yield shown(f"    {key}: was {one.was.get(key)!r}, now {one.now.get(key)!r}", lines=False)


_ABOUT: Final[Mapping[str, str]] = {
    "said": "a reply",
    "scope": "what the user's words open",
    "levels": "the levels that the run begins with",
    "question": "a question to people",
    "verdict": "a verdict",
}


def _ruled(body: Mapping[str, Any]) -> str:
    reasons = cast("Sequence[Mapping[str, Any]]", body.get("reasons") or ())
    why = "; ".join(f"{r.get('rule')}: {r.get('text')}" for r in reasons)
    return f"{body.get('ruling')} at level {body.get('level')}{f' ({why})' if why else ''}"


def _summary(tally: Mapping[str, int]) -> str:
    decided = f"{_number(tally['runs'], 'run')}, {_number(tally['decisions'], 'decision')}"
    parts = [f"{tally['same_runs']} the same", f"{tally['differing_runs']} with differences"]
    if tally["undecided"]:
        parts.append(f"{tally['undecided']} not decided again")
    return f"{decided}: {', '.join(parts)}."


def _number(count: int, one: str) -> str:
    return f"{count:,} {one if count == 1 else one + 's'}"
