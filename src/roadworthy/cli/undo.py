"""`roadworthy undo`: take back what a run has done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from roadworthy.cli.ledgers import GateBook, VaultChoice, appending, its_folder, reading
from roadworthy.cli.signing import KEYS_ENV, KEYS_HELP, find_key
from roadworthy.cli.terminal import columns, json_line, out, shown
from roadworthy.cli.tools import find_tools
from roadworthy.cli.worker import functions_of
from roadworthy.contract.keys import project_of, seal
from roadworthy.contract.model import Contract
from roadworthy.core.canonical import dumps
from roadworthy.core.errors import UsageError
from roadworthy.gate.carry import ToolFunction, is_async
from roadworthy.gate.gate import Gate
from roadworthy.gate.undo import RULE, Undoable, Undone
from roadworthy.ledger.store import Ledger

_CUT: Final = 120


def command(
    run: Annotated[str, typer.Argument(help="The run's id, as `ledger show` lists it.")],
    by: Annotated[str, typer.Option(help="Who wants it: you.")],
    because: Annotated[str, typer.Option(help="Why; the agent is told so.")],
    ledger: GateBook,
    contract: Annotated[Path, typer.Option(help="The contract that the run was under.")] = Path("contract.yaml"),
    tools: Annotated[
        str | None, typer.Option(help="module:name of the tools: a module, or a mapping from names to functions.")
    ] = None,
    keys: Annotated[Path | None, typer.Option("--keys", envvar=KEYS_ENV, help=KEYS_HELP)] = None,
    vault: VaultChoice = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be taken back, and do nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON, and nothing else.")] = False,
) -> int:
    """Take back what a run has done, the last call first, by what the contract declares under `undo`.

    What cannot be taken back is listed here, and to a person in the ledger. May be called again: what was taken back
    stays so. Exit codes: 0 all was taken back, or there was nothing to take back; 1 something is left; 2 broken input.
    """
    law = Contract.load(contract)
    if by.startswith(RULE):
        raise UsageError(f"--by {by} names no person: say who you are")
    functions: Mapping[str, ToolFunction] = functions_of(law, find_tools(tools)) if tools is not None else {}
    with reading(ledger, vault) if dry_run else appending(ledger, vault) as opened:
        _must_know(opened, run)
        gate = Gate(law, opened, tools=functions)
        if dry_run:
            return _would(gate.undoable(run), run, json=json)
        word: Mapping[str, Any] = {}
        if law.members is not None:
            folders = {"the project": project_of(contract), **its_folder(ledger)}
            sealed = seal(find_key(by, keys, folders), "undo", gate.undo_request(run, by=by, because=because))
            word = {"nonce": sealed["nonce"], "signature": sealed["signature"]}
        if any(is_async(function) for function in functions.values()):
            done = asyncio.run(gate.aundo(run, by=by, because=because, **word))
        else:
            done = gate.undo(run, by=by, because=because, **word)
    if json:
        json_line({"run": run, "by": by, "because": because, "reversals": [asdict(r) for r in done.reversals]})
    else:
        _tell(done)
    return 1 if done.left else 0


def _must_know(ledger: Ledger, run: str) -> None:
    if next(ledger.entries(run=run, limit=1), None) is None:
        near = get_close_matches(run, [summary.run for summary in ledger.runs()], n=1)
        cure = f"do you mean {near[0]!r}?" if near else "`roadworthy ledger show` lists the runs"
        raise UsageError(f"{ledger.name} holds no run {run!r}; {cure}")


def _would(found: list[Undoable], run: str, *, json: bool) -> int:
    left = any(one.by is None for one in found)
    if json:
        json_line({"run": run, "undoable": [asdict(one) for one in found]})
    elif not found:
        out().print(shown(f"There is nothing to take back in run {run}."))
    else:
        rows: list[tuple[str, ...]] = []
        for one in found:
            doubt = "in doubt" if one.in_doubt else ""
            rows.append((one.action, _call(one.tool, one.args), one.by or "nothing takes it back", doubt))
        for line in columns(("action", "call", "taken back by", ""), rows):
            out().print(line)
    return 1 if left else 0


def _tell(done: Undone) -> None:
    if not done.reversals:
        out().print(shown(f"There is nothing to take back in run {done.run}."))
        return
    for line in columns(
        ("", "action", "call", "what came of it"),
        [(_CAME[r.came], r.action, _call(r.tool, r.args), r.text) for r in done.reversals],
    ):
        out().print(line)
    if done.left:
        what = "1 call is left" if len(done.left) == 1 else f"{len(done.left)} calls are left"
        out().print(f"{what}: a person must see to it.")


_CAME: Final[Mapping[str, str]] = {"undone": "taken back", "not_done": "never done", "left": "LEFT"}


def _call(tool: str, args: Mapping[str, Any]) -> str:
    text = f"{tool}({', '.join(f'{name}={dumps(value).decode()}' for name, value in args.items())})"
    return text if len(text) <= _CUT else f"{text[:_CUT]}…"
