"""`roadworthy ledger receipt`: prove to somebody else that an entry stands in a ledger, and check such a proof."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, cast, get_args

import typer

from roadworthy.cli.ledgers import VaultChoice, reading
from roadworthy.cli.terminal import err, json_line, out, shown
from roadworthy.core.errors import UsageError, told_why
from roadworthy.core.types import Entry, Kind
from roadworthy.ledger.explain import find
from roadworthy.ledger.receipt import Proven, Unproven, check_receipt, receipt, still_there
from roadworthy.ledger.store import Ledger

_LATEST: Final[Sequence[Kind]] = ("outcome", "verdict", "action")
"""Which entry of an action is meant where nobody says: what came of it, or else what was ruled."""
_LONGEST: Final = 16_000_000
"""Bytes of a receipt's file."""


def command(
    ledger: Annotated[str | None, typer.Argument(metavar="LEDGER", help="The ledger: a path or postgresql://…")] = None,
    entry: Annotated[
        str | None, typer.Argument(metavar="ENTRY", help="An entry's number, or an action's id such as RUN#3.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="Of an action: the entry of this kind. Without it: its outcome, else its verdict."),
    ] = None,
    write: Annotated[Path | None, typer.Option("--out", help="Write the receipt to this file.")] = None,
    check: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Check this receipt instead; no ledger is needed.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="VKEY", help="With --check: the ledger's key, as you were told it.")
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(metavar="VKEY", help="With --check: a witness that must have signed, too. Once or more often."),
    ] = None,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON.")] = False,
) -> int:
    """Prove an entry to somebody who has not got the ledger, or check such a proof.

    `receipt LEDGER ENTRY` writes a receipt, `receipt --check FILE --key VKEY` checks one; with LEDGER as well, also
    that the ledger still holds everything that it held when the receipt was given. Exit codes: 0 given or proven, 1
    not proven, 2 broken input.
    """
    if check is None:
        if ledger is None or entry is None:
            raise UsageError(
                "say of what: `roadworthy ledger receipt LEDGER ENTRY`, or --check FILE to check a receipt"
            )
        if key is not None or witness:
            raise UsageError("--key and --witness are for checking a receipt: give --check FILE as well")
        return _give(ledger, entry, kind, write, vault, json=json)
    if entry is not None or kind is not None or write is not None:
        raise UsageError("with --check there is nothing to write: leave ENTRY, --kind and --out away")
    if key is None:
        raise UsageError(
            "a receipt is checked against a key that you know from elsewhere: give --key, which the ledger's keeper "
            "prints with `roadworthy ledger key show LEDGER`"
        )
    return _check(_text(check), key, witness or (), ledger, vault, json=json)


def _give(ledger: str, entry: str, kind: str | None, write: Path | None, vault: str | None, *, json: bool) -> int:
    if kind is not None and kind not in get_args(Kind):
        raise UsageError(f"there is no kind {kind!r}: it is one of {', '.join(get_args(Kind))}")
    with reading(ledger, vault) as opened:
        seq = _place(opened, entry, cast("Kind | None", kind))
        text = receipt(opened, seq)
    if write is not None:
        try:
            write.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"the receipt cannot be written to {write}: {told_why(error)}") from error
    if json:
        json_line({"seq": seq, "receipt": text, "file": None if write is None else str(write)})
    elif write is None:
        out().print(text, end="")
    else:
        err().print(shown(f"The receipt for entry {seq} is in {write}."))
    return 0


def _place(ledger: Ledger, entry: str, kind: Kind | None) -> int:
    if entry.isascii() and entry.isdecimal():
        if kind is not None:
            raise UsageError(f"--kind chooses among the entries of an action, and {entry} is one entry")
        return int(entry[:19])
    action, entries = find(ledger, entry)
    mine = [one for one in entries if one.cause == action or (one.kind == "action" and one.body.get("id") == action)]
    for wanted in _LATEST if kind is None else (kind,):
        found = [one for one in mine if one.kind == wanted]
        if found:
            return found[-1].seq
    raise UsageError(f"the action {action} has no entry of kind {kind}; it has {_kinds(mine)}")


def _kinds(entries: Sequence[Entry]) -> str:
    return ", ".join(dict.fromkeys(entry.kind for entry in entries)) or "none"


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST + 1).decode()
    except OSError as error:
        raise UsageError(f"the receipt {path} cannot be read: {told_why(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no receipt: it is no text in UTF-8") from error


def _check(text: str, key: str, witnesses: Sequence[str], ledger: str | None, vault: str | None, *, json: bool) -> int:
    try:
        proven = check_receipt(text, key, witnesses=witnesses)
        missing = set(witnesses) - {one.by.vkey for one in proven.witnesses}
        if missing:
            raise Unproven(f"the receipt has no signature of the witness {', '.join(sorted(missing))}")
        if ledger is not None:
            with reading(ledger, vault) as opened:
                gone = still_there(opened, proven)
            if gone is not None:
                raise Unproven(f"{gone}: entries were cut off or rewritten since")
    except Unproven as error:
        if json:
            json_line({"proven": False, "why": error.text})
        else:
            out().print(shown(f"Not proven: {error.text}."))
        return 1
    if json:
        json_line(_facts(proven, held=ledger is not None))
    else:
        _tell(proven, held=ledger is not None)
    return 0


def _facts(proven: Proven, *, held: bool) -> dict[str, Any]:
    return {
        "proven": True,
        "seq": proven.seq,
        "origin": proven.checkpoint.origin,
        "size": proven.checkpoint.size,
        "vkey": proven.by.vkey,
        "witnesses": [{"vkey": one.by.vkey, "at": _time(one.at)} for one in proven.witnesses],
        "entry": proven.entry,
        "still_there": held or None,
    }


def _tell(proven: Proven, *, held: bool) -> None:
    entry, checkpoint, console = proven.entry, proven.checkpoint, out()
    run = f" of run {entry.get('run')}" if entry.get("run") is not None else ""
    console.print(shown(f"Proven: entry {proven.seq}, kind {entry.get('kind')}{run}.", lines=False))
    console.print(shown(f"ledger    {checkpoint.origin}, when it had {checkpoint.size} entries", lines=False))
    console.print(f"signed    {proven.by.vkey}")
    for one in proven.witnesses:
        console.print(shown(f"witness   {one.by.name}, {_time(one.at)}", lines=False))
    if not proven.witnesses:
        console.print("witness   none was asked for: the ledger's keeper alone vouches for it")
    if held:
        console.print("now       the ledger still holds all that it held then")
    console.print(shown(f"entry     {proven.head.decode(errors='replace')}", lines=False))


def _time(at: int | None) -> str:
    # A witness may sign with any number up to 2**63; people's calendars end before.
    return datetime.fromtimestamp(min(at or 0, 253_402_300_799), UTC).isoformat()
