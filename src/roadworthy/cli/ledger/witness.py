"""`roadworthy ledger witness`: remember how far other machines' ledgers had come, and sign no second history."""

from __future__ import annotations

import logging
import signal
import threading
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer

from roadworthy.cli.terminal import columns, err, json_line, out, shown
from roadworthy.core.errors import UsageError
from roadworthy.ledger.witness import Witness
from roadworthy.ledger.witness_memory import Memory, read_key

_DEFAULT: Final = "127.0.0.1:8477"
_TIME: Final = "%Y-%m-%d %H:%M:%S"

_log = logging.getLogger("roadworthy.witness")


def command(
    state: Annotated[
        Path, typer.Option(help="The folder with the witness's key and memory; made where there is none.")
    ],
    log: Annotated[
        list[str] | None, typer.Option(help="The key of a ledger to sign for, as `ledger key show` prints it.")
    ] = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 is any free one.")
    ] = _DEFAULT,
    name: Annotated[
        str | None, typer.Option(help="What a new key is named, such as example.com/witness. It stays.")
    ] = None,
    show_key: Annotated[bool, typer.Option("--show-key", help="Print the witness's public key, and leave.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print what the witness knows of each log, and leave.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Lines of JSON.")] = False,
) -> int:
    """Be the witness of ledgers on other machines: sign their checkpoints, and never two that contradict each other.

    Run it where whoever can write the ledger cannot: another machine, another account, another organisation. It ends on
    SIGTERM or Ctrl-C. Exit codes: 0 ended, 2 broken input; with --show, 1 where a log has signed two histories.
    """
    if show_key:
        key = read_key(state).vkey
        json_line({"vkey": key}) if json else out().print(key)
        return 0
    if show:
        return _show(state, json=json)
    if not log:
        raise UsageError("a witness signs for the logs that it knows: give --log with each ledger's key")
    host, port = _address(listen)
    # The server's own library takes its time to load, and the other verbs of this group do without.
    from roadworthy.ledger.witness_http import WitnessServer

    with Witness(state, log, name=name) as witness, WitnessServer((host, port), witness) as server:
        stopping = threading.Event()

        def stop(_number: int, _frame: FrameType | None) -> None:
            stopping.set()

        before = [(number, signal.signal(number, stop)) for number in (signal.SIGTERM, signal.SIGINT)]
        serving = threading.Thread(target=server.serve_forever, name="witness", daemon=True)
        told = logging.StreamHandler()
        _log.addHandler(told)
        serving.start()
        try:
            _say(server.url, witness, json=json)
            stopping.wait()
        finally:
            server.shutdown()
            serving.join()
            _log.removeHandler(told)
            for number, handler in before:
                signal.signal(number, handler)
    return 0


def _say(url: str, witness: Witness, *, json: bool) -> None:
    if json:
        json_line({"url": url, "vkey": witness.vkey, "logs": list(witness.logs)})
        return
    out().print(f"Listening on {url}")
    out().print(f"key  {witness.vkey}")
    for origin in witness.logs:
        out().print(shown(f"log  {origin}", lines=False))


def _show(state: Path, *, json: bool) -> int:
    with Memory(state, looking=True) as memory:
        known = [(seen, memory.disputes(seen.checkpoint.origin)) for seen in memory.all_seen()]
    if json:
        for seen, disputes in known:
            json_line({
                "origin": seen.checkpoint.origin, "size": seen.checkpoint.size, "at": seen.time, "note": str(seen.note),
                "disputes": [asdict(one) for one in disputes],
            })  # fmt: skip
    elif known:
        rows = [
            (seen.checkpoint.origin, str(seen.checkpoint.size), seen.time.strftime(_TIME), str(len(disputes)))
            for seen, disputes in known
        ]
        for line in columns(("log", "entries", "signed (UTC)", "refused"), rows):
            out().print(line)
        for seen, disputes in known:
            for one in disputes:
                if one.certain:
                    out().print(shown(f"{seen.checkpoint.origin} has signed two histories: {one.why}", lines=False))
    else:
        err().print("Nothing was signed yet.")
    return 1 if any(one.certain for _, disputes in known for one in disputes) else 0


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise UsageError(f"{listen!r} is no place to listen: give HOST:PORT, such as {_DEFAULT}")
    return host.removeprefix("[").removesuffix("]"), int(port)
