"""`roadworthy ledger export`: hand a ledger on, in a form that others can read or check."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from json import dumps
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from roadworthy.audit.derived import register
from roadworthy.audit.otlp import lines as span_lines
from roadworthy.audit.otlp import send
from roadworthy.audit.otlp import spans as otlp_spans
from roadworthy.audit.runs import recordings
from roadworthy.cli.ledgers import Book, VaultChoice, appending, reading
from roadworthy.cli.spans import Since, Until, World, moment, world_of
from roadworthy.cli.terminal import json_line, out, shown
from roadworthy.core.clock import SystemClock
from roadworthy.core.errors import UsageError, told_why
from roadworthy.core.types import Realm
from roadworthy.ledger import jsonl
from roadworthy.ledger.parquet import export_months
from roadworthy.ledger.store import Ledger


def command(
    ledger: Book,
    lines: Annotated[
        Path | None,
        typer.Option("--jsonl", metavar="FILE", help="JSON Lines with all proofs, for verify_ledger.py; - for stdout."),
    ] = None,
    parquet: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A Parquet file for each month that is over, registered in the ledger."),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Recorded runs, as chat messages: for `backtest`, `init` and scenarios. Registered."
        ),
    ] = None,
    otlp: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Spans, to an OpenTelemetry collector such as http://127.0.0.1:4318."),
    ] = None,
    otlp_file: Annotated[
        Path | None, typer.Option("--otlp-file", metavar="FILE", help="The same spans, as OTLP writes them in JSON.")
    ] = None,
    since: Since = None,
    until: Until = None,
    world: World = None,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="What was written, as a line of JSON.")] = False,
) -> int:
    """Hand a ledger on, in a form that others can read or check.

    What is encrypted in the ledger stays encrypted in JSON Lines, so that an erasure holds for them, too, and is in no
    span. Recorded runs are in plain: they are registered in the ledger, so that an erasure names the file. --since,
    --until and --world choose among the runs of --runs and --otlp. Exit codes: 0 written, 2 broken input.
    """
    forms = {
        "--jsonl FILE": lines,
        "--parquet DIR": parquet,
        "--runs FILE": runs,
        "--otlp URL": otlp,
        "--otlp-file FILE": otlp_file,
    }
    if sum(given is not None for given in forms.values()) != 1:
        raise UsageError(f"say what to write, one of {', '.join(forms)}")
    if parquet is not None:
        if (since, until, world) != (None, None, None):
            raise UsageError("each month is written whole, so that it can be pruned: leave out --since and the like")
        with appending(ledger, vault) as opened:
            return _months(opened, parquet, json=json)
    if lines is not None and (since, until, world) != (None, None, None):
        raise UsageError("JSON Lines hold a ledger whole, with its proofs: leave out --since, --until and --world")
    if runs is not None:
        chosen = _Chosen(since=moment(since, "since"), until=moment(until, "until"), world=world_of(world))
        with appending(ledger, vault) as opened:
            return _runs(opened, runs, chosen, json=json)
    with reading(ledger, vault) as opened:
        if lines is not None:
            return _lines(opened, lines, json=json)
        made = otlp_spans(opened, since=moment(since, "since"), until=moment(until, "until"), world=world_of(world))
        return _spans(made, otlp, otlp_file, json=json)


def _months(ledger: Ledger, folder: Path, *, json: bool) -> int:
    made = export_months(ledger, folder, now=SystemClock().now())
    for one in made:
        if json:
            json_line({**one.body(), "file": str(one.file)})
        else:
            out().print(shown(f"Wrote {one.entries:,} entries of {one.month:%Y-%m} to {one.file}, {one.sha256[:16]}…"))
    if not made and not json:
        out().print("Nothing to write: every month that is over has been written before.")
    return 0


def _lines(ledger: Ledger, file: Path, *, json: bool) -> int:
    if str(file) == "-":
        for line in jsonl.lines(ledger):
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        return 0
    count, size = _write(file, jsonl.lines(ledger)), ledger.size
    if json:
        json_line({"file": str(file), "lines": count, "entries": size})
    else:
        out().print(shown(f"Wrote {size:,} entries to {file}. Check them: python -m roadworthy.verify_ledger {file}"))
    return 0


class _Chosen(NamedTuple):
    """Which runs are meant."""

    since: datetime | None
    until: datetime | None
    world: Realm | None


def _runs(ledger: Ledger, file: Path, chosen: _Chosen, *, json: bool) -> int:
    if file.exists() and not file.is_file():
        raise UsageError(f"{file} is no file: recorded runs are registered in the ledger, and so want one of their own")
    names: list[str] = []
    withheld: Counter[str] = Counter()

    def readable() -> Iterator[bytes]:
        for one in recordings(ledger, since=chosen.since, until=chosen.until, world=chosen.world):
            if one.line is None:
                withheld[one.withheld or "sealed"] += 1
            else:
                names.append(one.run)
                yield f"{dumps(one.line)}\n".encode()

    _write(file, readable())
    entry = register(
        ledger, file, what="runs", at=SystemClock().now(), runs=names, since=chosen.since, until=chosen.until
    )
    if json:
        json_line({"file": str(file), "runs": len(names), "withheld": dict(withheld), "registered": entry.seq})
        return 0
    what = "1 run" if len(names) == 1 else f"{len(names):,} runs"
    out().print(shown(f"Wrote {what} to {file}, registered as entry {entry.seq}.", lines=False))
    for why, count in withheld.items():
        out().print(f"Left out: {count:,} that {'are' if count != 1 else 'is'} {why}.")
    return 0


def _spans(made: Iterable[Any], url: str | None, file: Path | None, *, json: bool) -> int:
    counted = _Counted(made)
    if url is not None:
        send(counted, url)
        said = {"spans": counted.count}
    else:
        assert file is not None  # one of them was given
        _write(file, span_lines(counted))
        said = {"file": str(file), "spans": counted.count}
    if json:
        json_line(said)
    else:
        out().print(shown(f"Wrote {counted.count:,} spans to {file}." if file else f"Sent {counted.count:,} spans."))
    return 0


class _Counted:
    """Counts what goes by."""

    def __init__(self, made: Iterable[Any]) -> None:
        self._made = made
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        for one in self._made:
            self.count += 1
            yield one


def _write(file: Path, lines: Iterable[bytes]) -> int:
    """Write lines to a file, whole or not at all; how many there were. Raises UsageError."""
    file = file.resolve()  # the file behind a link is replaced, and not the link: /dev/stdout is one
    part = file.with_name(f"{file.name}.part")
    count = 0
    try:
        with part.open("wb") as to:
            for line in lines:
                to.write(line)
                count += 1
            to.flush()
            os.fsync(to.fileno())
        part.replace(file)
    except OSError as cause:
        raise UsageError(f"{file} cannot be written ({told_why(cause)}): give another path") from cause
    finally:
        part.unlink(missing_ok=True)
    return count
