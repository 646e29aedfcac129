"""`roadworthy backtest`: judge recorded runs by a contract without running them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from roadworthy.cli.terminal import columns, err, json_line, out, shown
from roadworthy.contract.model import Contract
from roadworthy.contract.names import did_you_mean
from roadworthy.core.errors import UsageError
from roadworthy.core.types import LEVELS
from roadworthy.trials.backtest import BacktestReport, JudgedRun, judge_runs, report_of
from roadworthy.trials.recorded import BrokenLine

_SHOWN = 20
"""Interrupted calls of good runs that are printed for people; `--json` has all."""


def command(
    contract: Annotated[Path, typer.Argument(help="The contract file.")],
    runs: Annotated[Path, typer.Argument(help="Recorded runs: JSON Lines, one run a line.")],
    level: Annotated[str, typer.Option(help="shadow, approval or autonomous, for every capability.")] = "autonomous",
    json: Annotated[bool, typer.Option("--json", help="A line of JSON a call, and one of summary.")] = False,
) -> int:
    """Judge recorded runs by a contract without running them.

    User messages are heard, recorded results are observed, every tool call is judged; approvals count as not given.
    Exit codes: 0 every line was judged, 2 a line was skipped (all others were judged) or nothing could be read.
    """
    if level not in LEVELS:
        raise UsageError(f"{level!r} is no level; {did_you_mean(level, LEVELS)}")
    law = Contract.load(contract)
    judged: list[JudgedRun] = []
    skipped: list[BrokenLine] = []
    for found in judge_runs(law, runs, level=level):
        if isinstance(found, BrokenLine):
            skipped.append(found)
            err().print(shown(f"{runs}:{found.line}: skipped: {found.text}", lines=False))
            continue
        judged.append(found)
        if json:
            for call in found.calls:
                json_line(call.as_json())
    report = report_of(law, runs, level, judged, skipped)
    if json:
        json_line({"summary": report.summary()})
    else:
        for line in _text(report):
            out().print(line)
    return 2 if skipped else 0


def _text(report: BacktestReport) -> Iterator[str]:
    summary = report.summary()
    what = f"{report.agent} version {report.version}, level {report.level}"
    yield shown(f"{what}: {_number(summary['runs'], 'run')}, {_number(summary['calls'], 'tool call')}.", lines=False)
    yield "   ".join(f"{ruling} {summary[ruling]}" for ruling in ("allow", "clarify", "ask", "deny"))
    if report.rules:
        yield ""
        rows = [
            (rule, str(figures["calls"]), str(figures["failed_runs"]), str(figures["passed_runs"]))
            for rule, figures in report.rules.items()
        ]
        yield from columns(("what decided", "calls", "failed runs", "passed runs"), rows)
    disturbed = [call for run in report.of(True) for call in run.interrupted]
    if disturbed:
        yield ""
        yield "Good runs that would have been interrupted, to be looked at one by one:"
        for call in disturbed[:_SHOWN]:
            yield shown(f"  {call.run}  {call.tool}  {call.ruling}: {call.why}", lines=False)
        if len(disturbed) > _SHOWN:
            yield f"  and {len(disturbed) - _SHOWN} more calls; --json has all."
    yield ""
    if summary["interrupted"]:
        refused = f"{summary['interrupted_failed']} of {_number(summary['interrupted'], 'interrupted call')}"
        yield f"In the recordings {refused} failed anyway: the tool itself refused."
    if "failed_runs" in summary:
        yield f"Failed runs with an interrupted call: {summary['failed_runs_interrupted']} of {summary['failed_runs']}."
        yield f"Passed runs with an interrupted call: {summary['passed_runs_interrupted']} of {summary['passed_runs']}."
    else:
        yield f"Runs with an interrupted call: {summary['interrupted_runs']} of {summary['runs']}."
    if report.skipped:
        yield f"Skipped: {_number(len(report.skipped), 'line')}, named on standard error; all others were judged."


def _number(count: int, one: str) -> str:
    return f"{count} {one if count == 1 else one + 's'}"
