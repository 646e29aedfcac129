"""`roadworthy ledger cosign`: have witnesses sign how far a ledger has come, or ask what they have signed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Final

import typer

from roadworthy.cli.ledgers import Book, VaultChoice, appending, reading
from roadworthy.cli.terminal import err, json_line, out, shown
from roadworthy.core.errors import UsageError
from roadworthy.ledger.cosigning import Contradicted, NoAnswer, WitnessAt, cosign
from roadworthy.ledger.cosigning import compare as compared
from roadworthy.ledger.store import Ledger

_SIGNED: Final = 0
_OTHER: Final = 1
_NO_ANSWER: Final = 2
_UNKNOWN: Final = 3
_WORST_FIRST: Final = (_OTHER, _NO_ANSWER, _UNKNOWN, _SIGNED)
_TIME: Final = "%Y-%m-%d %H:%M:%S"


def command(
    ledger: Book,
    witness: Annotated[list[str], typer.Option(metavar="URL", help="Where a witness listens; once for each.")],
    key: Annotated[
        list[str], typer.Option(metavar="VKEY", help="The public key of the witness; in the order of the witnesses.")
    ],
    compare: Annotated[
        bool, typer.Option("--compare", help="Have nothing signed: ask what each witness has signed, and compare.")
    ] = False,
    every: Annotated[
        float | None, typer.Option(min=0.05, help="Go on; seconds between two looks whether the ledger has grown.")
    ] = None,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON for each witness.")] = False,
) -> int:
    """Have witnesses sign the ledger's last checkpoint, and keep their signatures in the ledger.

    Where a witness has signed another history than this ledger holds, the ledger was rewritten or set back. With
    --compare the ledger is only read, as an auditor does it, and needs no vault. Exit codes: 0 signed, or the same; 1
    another history; 2 no answer, or broken input; 3 with --compare: a witness never signed anything of it.
    """
    if len(witness) != len(key):
        raise UsageError(f"{len(witness)} witnesses and {len(key)} keys were given: give one --key for each --witness")
    if compare and every is not None:
        raise UsageError("--compare asks once: leave --every out")
    asked = [WitnessAt.parse(url, vkey) for url, vkey in zip(witness, key, strict=True)]
    if compare:
        with reading(ledger, vault) as opened:
            return _ask_all(opened, asked, sign=False, json=json)
    with appending(ledger, vault) as opened:
        return _ask_all(opened, asked, json=json) if every is None else _go_on(opened, asked, every, json=json)


def _ask_all(ledger: Ledger, witnesses: Sequence[WitnessAt], *, sign: bool = True, json: bool) -> int:
    """Ask each of them, whatever the others answer; the worst exit code."""
    came = {_ask(ledger, witness, sign=sign, json=json) for witness in witnesses}
    return next(code for code in _WORST_FIRST if code in came)


def _ask(ledger: Ledger, witness: WitnessAt, *, sign: bool, json: bool) -> int:
    name = witness.key.name
    try:
        found = cosign(ledger, witness) if sign else compared(ledger, witness)
    except Contradicted as error:
        return _bad_news(name, "contradicted", error.text, _OTHER, note=error.note, json=json)
    except NoAnswer as error:
        return _bad_news(name, "no_answer", error.text, _NO_ANSWER, json=json)
    if found is None:
        return _bad_news(name, "unknown", f"{name} never signed anything of this ledger", _UNKNOWN, json=json)
    after = ledger.size - found.size
    if json:
        json_line({"witness": name, "state": "signed", "size": found.size, "at": found.at, "after": after})
    else:
        when = found.at.strftime(_TIME)
        text = f"{name} has signed the first {found.size:,} entries, at {when} UTC; {after:,} came after"
        out().print(shown(text, lines=False))
    return _SIGNED


def _bad_news(name: str, state: str, text: str, code: int, *, note: str | None = None, json: bool) -> int:
    err().print(shown(text, lines=False))
    if json:
        json_line({"witness": name, "state": state, "text": text, "note": note})
    elif note is not None:
        out().print(shown(note), end="")
    return code


def _go_on(ledger: Ledger, witnesses: Sequence[WitnessAt], every_s: float, *, json: bool) -> int:
    """Ask whenever the ledger has grown, until the process is told to end, or a witness speaks against the ledger."""
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = [(number, signal.signal(number, stop)) for number in (signal.SIGTERM, signal.SIGINT)]
    done = 0
    try:
        while not stopping.is_set():
            size = ledger.size
            if size > done:
                code = _ask_all(ledger, witnesses, json=json)
                if code == _OTHER:
                    return code
                done = size if code == _SIGNED else 0  # who did not answer is asked again
            stopping.wait(every_s)
        return 0
    finally:
        for number, handler in before:
            signal.signal(number, handler)
