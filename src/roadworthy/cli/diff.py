"""`roadworthy diff`: what a new version of a contract allows that the old one did not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from roadworthy.cli.ledgers import VaultChoice, reading
from roadworthy.cli.terminal import json_line, out, shown
from roadworthy.contract.diff import WIDENING, Change, Kind, differences, place_of
from roadworthy.contract.model import Contract
from roadworthy.core.errors import UsageError
from roadworthy.gate.signed import last_signed, version_of
from roadworthy.ledger.address import on_server

_HEADS: Final[tuple[tuple[Kind, str], ...]] = (
    ("widens", "It allows more:"),
    ("unclear", "It may allow more, which counts as more:"),
    ("narrows", "It allows less:"),
    ("neutral", "It allows the same:"),
)
_SQLITE: Final = b"SQLite format 3\x00"


def command(
    old: Annotated[str, typer.Argument(help="The old version: a contract file, or a ledger that holds it.")],
    new: Annotated[Path, typer.Argument(help="The new version: a contract file.")],
    digest: Annotated[
        str | None, typer.Option(help="Of a ledger: the version whose digest begins so. Default: the last signed one.")
    ] = None,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON a change, and one of summary.")] = False,
) -> int:
    """Say what changed between two versions of a contract: what is allowed now that was not, and what is no longer.

    A version that only narrows a signed one inherits its signatures. Exit codes: 0 it only narrows, or nothing
    changed; 1 it allows more, or may; 2 broken input.
    """
    after = Contract.load(new)
    before = _before(old, after, digest, vault)
    changes = differences(before, after)
    wider = sum(change.kind in WIDENING for change in changes)
    if json:
        for change in changes:
            found = place_of(change, before, after)
            place = {"file": found.file, "line": found.line, "column": found.column}
            path = list(change.path)
            json_line({"kind": change.kind, "text": change.text, "path": path, "gone": change.gone, **place})
        versions = {
            name: {"agent": law.agent, "version": law.version, "digest": law.digest}
            for name, law in (("old", before), ("new", after))
        }
        json_line({"summary": {**versions, "changes": len(changes), "only_narrows": not wider}})
    else:
        _print(before, after, changes, wider=bool(wider))
    return 1 if wider else 0


def _before(old: str, new: Contract, digest: str | None, vault: str | None) -> Contract:
    if not on_server(old) and not _is_ledger(Path(old)):
        if digest is not None:
            raise UsageError(f"--digest names a version in a ledger, and {old} is none; leave it out")
        return Contract.load(old)
    with reading(old, vault) as ledger:
        return last_signed(new, ledger) if digest is None else version_of(ledger, digest, new)


def _is_ledger(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False  # the loader of contracts says what is wrong with the path


def _print(before: Contract, after: Contract, changes: list[Change], *, wider: bool) -> None:
    console = out()
    console.print(shown(f"{after.agent}: version {after.version} against version {before.version}.", lines=False))
    for kind, head in _HEADS:
        of_kind = [change for change in changes if change.kind == kind]
        if of_kind:
            console.print(f"\n{head}")
        for change in of_kind:
            found = place_of(change, before, after)
            line = f":{found.line}:{found.column or 1}" if found.line is not None else ""
            where = f"{found.file}{line}: " if found.file is not None else ""
            console.print(shown(f"  {where}{change.text}", lines=False))
    console.print(f"\n{_verdict(changes, wider=wider)}")


def _verdict(changes: list[Change], *, wider: bool) -> str:
    if wider:
        return "It is wider: signatures of the old version do not hold for it, and it must be signed anew."
    if changes:
        return "It only narrows: whoever has signed the old version has signed enough."
    return "They mean the same, and have one digest."
