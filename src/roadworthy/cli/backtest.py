"""`roadworthy backtest`: judge recorded runs by a contract without running them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final, cast

import typer

from roadworthy.audit.redecide import Redecided, Redeciding
from roadworthy.cli.ledgers import VaultChoice, reading
from roadworthy.cli.spans import Since, Until, World, moment, world_of
from roadworthy.cli.terminal import columns, err, json_line, out, shown
from roadworthy.contract.model import Contract
from roadworthy.contract.names import did_you_mean
from roadworthy.core.errors import UsageError
from roadworthy.core.types import LEVELS, Ruling
from roadworthy.trials.backtest import BacktestReport, JudgedCall, JudgedRun, judge_runs, report_of
from roadworthy.trials.recorded import BrokenLine
from roadworthy.trials.traces.read import format_named

_SHOWN = 20
"""Interrupted calls of good runs that are printed for people; `--json` has all."""


_AS_IT_WAS: Final = "levels as each run had them"


def command(
    contract: Annotated[Path, typer.Argument(help="The contract file.")],
    runs: Annotated[
        Path | None, typer.Argument(help="Recorded runs, one a line, or what a tracing tool exported.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(help="openai, otel, openinference, langfuse or langsmith. Default: what the file looks like."),
    ] = None,
    ledger: Annotated[str | None, typer.Option(help="Judge the runs of this ledger instead.")] = None,
    since: Since = None,
    until: Until = None,
    world: World = None,
    level: Annotated[
        str | None,
        typer.Option(
            help="shadow, approval or autonomous, for every capability. Default: autonomous; over a ledger: the level "
            "that each run had."
        ),
    ] = None,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON a call, and one of summary.")] = False,
) -> int:
    """Judge recorded runs by a contract without running them.

    User messages are heard, recorded results are observed, every tool call is judged; approvals count as not given,
    but where a ledger holds them. Exit codes: 0 every run was judged, 2 one was skipped (all others were judged) or
    nothing could be read.
    """
    if (runs is None) == (ledger is None):
        raise UsageError("name a file of recorded runs, or a ledger with --ledger")
    if ledger is None and not since is until is world is None:
        raise UsageError("--since, --until and --world choose among the runs of a --ledger")
    if level is not None and level not in LEVELS:
        raise UsageError(f"{level!r} is no level; {did_you_mean(level, LEVELS)}")
    if format is not None and runs is None:
        raise UsageError("--format says what a file holds; a --ledger needs none")
    named = format_named(format) if format is not None else None
    law, given = Contract.load(contract), level
    judged: list[JudgedRun] = []
    skipped: list[BrokenLine] = []
    with ExitStack() as stack:
        found: Iterable[tuple[str, JudgedRun | BrokenLine]]
        if runs is not None:
            source = str(runs)
            judging = judge_runs(law, runs, level=given or "autonomous", format=named)
            found = ((f"{runs}:{_line(one)}", one) for one in judging)
        else:
            opened = stack.enter_context(reading(cast("str", ledger), vault))
            source = opened.name
            deciding = Redeciding(opened, contract=law, level=given)
            again = deciding.runs(since=moment(since, "since"), until=moment(until, "until"), world=world_of(world))
            found = ((f"{source}: run {one.run}", _of_ledger(one, n)) for n, one in enumerate(again, start=1))
        for place, one in found:
            if isinstance(one, BrokenLine):
                skipped.append(one)
                err().print(shown(f"{place}: skipped: {one.text}", lines=False))
                continue
            judged.append(one)
            if json:
                for call in one.calls:
                    json_line(call.as_json())
    at = given or ("autonomous" if runs is not None else _AS_IT_WAS)
    report = report_of(law, source, at, judged, skipped)
    if json:
        json_line({"summary": report.summary()})
    else:
        for line in _text(report, one="line" if runs is not None else "run"):
            out().print(line)
    return 2 if skipped else 0


def _line(found: JudgedRun | BrokenLine) -> int | str:
    return found.line if isinstance(found, BrokenLine) else found.run


def _of_ledger(one: Redecided, n: int) -> JudgedRun | BrokenLine:
    """A run that was decided again, as one of a file would be judged: the agent's own calls, each once."""
    if one.undecided is not None:
        return BrokenLine(line=n, text=one.why)
    calls: list[JudgedCall] = []
    for decision in one.decisions:
        if decision.what != "verdict" or decision.again or decision.call is None or "by" in decision.call:
            continue
        reasons = [r for r in decision.now.get("reasons", ()) if r["enforced"]]
        ruling: Ruling = decision.now["ruling"]
        calls.append(
            JudgedCall(
                run=one.run,
                call_id=decision.call.get("call_id"),
                tool=str(decision.tool),
                ruling=ruling,
                rule=next((r["rule"] for r in reasons if r["ruling"] == ruling), None) if ruling != "allow" else None,
                why=" ".join(dict.fromkeys(str(r["text"]) for r in reasons)) if ruling != "allow" else "",
                failed=decision.came is not None and decision.came.get("status") == "failed",
            )
        )
    return JudgedRun(run=one.run, passed=one.passed, calls=tuple(calls))


def _text(report: BacktestReport, *, one: str) -> Iterator[str]:
    summary = report.summary()
    level = report.level if report.level == _AS_IT_WAS else f"level {report.level}"
    what = f"{report.agent} version {report.version}, {level}"
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
        yield f"Skipped: {_number(len(report.skipped), one)}, named on standard error; all others were judged."


def _number(count: int, one: str) -> str:
    return f"{count} {one if count == 1 else one + 's'}"
