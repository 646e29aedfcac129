"""`roadworthy test`: run an agent through scenarios and give a release verdict."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from roadworthy.cli.progress import progress_bar
from roadworthy.cli.terminal import json_line, out, shown
from roadworthy.contract.model import Contract
from roadworthy.contract.names import did_you_mean
from roadworthy.core.errors import UsageError, told_why
from roadworthy.core.types import LEVELS
from roadworthy.trials.junit import write_junit
from roadworthy.trials.load import load_scenarios
from roadworthy.trials.report.html import prepare, write_html
from roadworthy.trials.report.markdown import write_markdown
from roadworthy.trials.results import TestReport, TrialResult
from roadworthy.trials.runner import OnTrial, run_trials
from roadworthy.trials.scenario import Scenario
from roadworthy.trials.textreport import render_text

_INTERRUPTED = 130


def command(
    contract: Annotated[Path, typer.Argument(help="The contract file.")],
    agent: Annotated[str, typer.Option(help="module:function, called as agent(run, user).")],
    scenarios: Annotated[Path, typer.Option(help="A scenario file, or a folder of them.")],
    trials: Annotated[int, typer.Option(min=1, help="Trials of each scenario.")] = 10,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal trials.")] = 0,
    level: Annotated[str | None, typer.Option(help="shadow, approval or autonomous, for all trials.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the work.")] = 1,
    ledger: Annotated[
        str | None,
        typer.Option(help="Write manifest, entries and verdict there: a path, or postgresql://HOST/DATABASE."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON a trial, and one of summary.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML page to this file.")] = None,
    summary: Annotated[
        Path | None,
        typer.Option(envvar="GITHUB_STEP_SUMMARY", help="Add the report as Markdown to the end of this file."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only the scenario with this id; may be repeated.")] = None,
    trial: Annotated[int | None, typer.Option(min=0, help="Only the trial with this number.")] = None,
    no_enforce: Annotated[bool, typer.Option("--no-enforce", help="The gate only reports; every tool runs.")] = False,
) -> int:
    """Run an agent through scenarios and give a release verdict.

    Exit codes: 0 PASS, 1 BLOCK, 2 ERROR or broken input, 3 INCONCLUSIVE, 130 Ctrl-C.
    """
    if level is not None and level not in LEVELS:
        raise UsageError(f"{level!r} is no level; {did_you_mean(level, LEVELS)}")
    for file in (junit, html, summary):
        if file is not None:
            _writable(file)
    if html is not None:
        prepare()
    law = Contract.load(contract)
    found = _chosen(load_scenarios(scenarios, contract=law), only)
    words = ["roadworthy", "test", str(contract), "--agent", agent, "--scenarios", str(scenarios)]
    words += ["--trials", str(trials), "--seed", str(seed)]
    words += ["--level", level] if level is not None else []
    words += ["--no-enforce"] if no_enforce else []
    with ExitStack() as stack:
        count = len(found) * (1 if trial is not None else trials)
        report = run_trials(
            law,
            agent,
            found,
            trials=trials,
            seed=seed,
            level=level,
            workers=workers,
            ledger=ledger,
            enforce=not no_enforce,
            only_trial=trial,
            on_trial=_watcher(stack, count, as_json=json),
            reproduce=shlex.join(words),
        )
    # The verdict first: what became of hours of trials must not hang on a full disk.
    if json:
        json_line({"summary": report.summary()})
    else:
        out().print(shown(render_text(report)))
    broken = _write(report, junit=junit, html=html, summary=summary)
    if not json:
        _say_where(*(file for file in (junit, html) if file not in broken))
    if broken:
        raise UsageError("; ".join(broken.values()))
    return _INTERRUPTED if report.interrupted else report.release.exit_code


def _write(
    report: TestReport, *, junit: Path | None, html: Path | None, summary: Path | None
) -> dict[Path | None, str]:
    """Write the files that were asked for, each whatever becomes of the others; what is wrong with the failed ones."""

    def to_junit(path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            write_junit(report, file)

    def to_html(path: Path) -> None:
        write_html(report, path)

    def to_summary(path: Path) -> None:
        write_markdown(report, path, append=True)

    wanted = (("--junit", junit, to_junit), ("--html", html, to_html), ("--summary", summary, to_summary))
    broken: dict[Path | None, str] = {}
    for option, file, write in wanted:
        if file is None:
            continue
        try:
            write(file)
        except (OSError, UsageError) as e:
            cause = e.text if isinstance(e, UsageError) else told_why(e)
            broken[file] = f"{file} was not written ({cause}): make room there, or give {option} another path"
    return broken


def _say_where(*files: Path | None) -> None:
    for file in files:
        if file is not None:
            out().print(f"Report: {file}")


def _chosen(scenarios: tuple[Scenario, ...], only: list[str] | None) -> tuple[Scenario, ...]:
    if not only:
        return scenarios
    known = {s.scenario: s for s in scenarios}
    for name in only:
        if name not in known:
            raise UsageError(f"there is no scenario {name!r}; {did_you_mean(name, known)}")
    return tuple(known[name] for name in dict.fromkeys(only))


def _writable(file: Path) -> None:
    """Found out before the trials, not after them."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8"):
            pass
    except OSError as e:
        raise UsageError(f"{file} cannot be written: {told_why(e)}") from e


def _watcher(stack: ExitStack, count: int, *, as_json: bool) -> OnTrial | None:
    bar = progress_bar(stack, count)
    if not as_json:
        return bar

    def each(trial: TrialResult) -> None:
        json_line(trial.line())
        if bar is not None:
            bar(trial)

    return each
