"""`roadworthy demo`: watch a support agent take its road test and see the report."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

import roadworthy.examples.desk as desk
from roadworthy.cli.progress import progress_bar
from roadworthy.cli.terminal import columns, json_line, out, shown
from roadworthy.contract.model import Contract
from roadworthy.contract.names import did_you_mean
from roadworthy.core.errors import UsageError, told_why
from roadworthy.examples.desk.model import SCRIPTED
from roadworthy.examples.desk.story import counted, harms, stopped
from roadworthy.trials.load import load_scenarios
from roadworthy.trials.report.html import prepare, render_html
from roadworthy.trials.report.page import Figure, page_of
from roadworthy.trials.results import Rate, TestReport, TrialResult
from roadworthy.trials.runner import OnTrial, run_trials
from roadworthy.trials.scenario import Scenario

_INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """One way in which the desk's agent is built."""

    module: str | None
    """What must be installed; None: nothing but Roadworthy."""
    trials: int
    """Of each scenario, unless told: what fits into a minute or so."""


FRAMEWORKS: Mapping[str, Framework] = {
    "plain": Framework(module=None, trials=40),
    "langgraph": Framework(module="langchain", trials=12),
    "autogen": Framework(module="autogen_agentchat", trials=8),
    "crewai": Framework(module="crewai", trials=4),
    "openai-agents": Framework(module="agents", trials=8),
    "pydantic-ai": Framework(module="pydantic_ai", trials=8),
    "agent-framework": Framework(module="agent_framework", trials=8),
}
"""By the name that `--framework` takes."""


def command(
    framework: Annotated[
        str, typer.Option(help="plain, langgraph, autogen, crewai, openai-agents, pydantic-ai or agent-framework.")
    ] = "plain",
    trials: Annotated[int | None, typer.Option(min=1, help="Trials of each scenario.")] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal trials, in every framework.")] = 0,
    html: Annotated[Path | None, typer.Option(help="The report; default: report.html in the folder of --out.")] = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON a trial, and one of summary.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the work.")] = 1,
    out_dir: Annotated[Path, typer.Option("--out", help="Where report and ledger go.")] = Path("roadworthy-out"),
) -> int:
    """Watch a support agent take its road test and see the report.

    The agent is scripted (no language model is behind it) and its world is synthetic: three systems in memory. Every
    trial is run twice, with the gate and without, so that you see what the gate is worth. Exit codes: 0 it ran, 2 it
    could not, 130 Ctrl-C.
    """
    kind = FRAMEWORKS.get(framework)
    if kind is None:
        raise UsageError(f"there is no agent for {framework!r}; {did_you_mean(framework, FRAMEWORKS)}")
    if kind.module is not None and find_spec(kind.module) is None:
        raise UsageError(f"{framework} is not installed: `pip install 'roadworthy[{framework}]'` brings it along")
    page = html or out_dir / "report.html"
    _make_room(out_dir, page.parent)
    prepare()
    plan = _Plan.of(framework, trials or kind.trials, seed, workers)
    ledger = out_dir / "ledger.db"
    with ExitStack() as stack:
        show = progress_bar(stack, 2 * plan.trials * len(plan.scenarios))
        with_gate = _Watch(show, as_json=json)
        report = plan.run(with_gate, ledger=ledger)
        without = _Watch(show, as_json=False)
        bare = plan.run(without, enforce=False) if not report.interrupted else None
    interrupted = report.interrupted or (bare is not None and bare.interrupted)
    harmful = _Harm(gated=with_gate.harmful, bare=None if bare is None or bare.interrupted else without.harmful)
    told = replace(report, notes=(f"{SCRIPTED} Its world is synthetic and lies in memory.", *report.notes))
    page.write_text(render_html(told, worth=harmful.figures()), encoding="utf-8")
    if json:
        extra = {
            "scripted": True,
            "world": "synthetic, in memory (SQLite)",
            "framework": framework,
            **harmful.as_json(),
        }
        json_line({"summary": {**report.summary(), "demo": extra}})
    else:
        for paragraph in _told(report, plan, harmful):
            out().print(shown(paragraph) + "\n")
        out().print(shown(_places(report, page, ledger)))
    return _INTERRUPTED if interrupted else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Harm:
    """In how many trials harm was done, by kind, with the gate and without it."""

    gated: Counter[str]
    bare: Counter[str] | None
    """None where these trials were not finished."""

    def figures(self) -> Sequence[Figure]:
        """For the report; none where there is nothing to compare with."""
        if self.bare is None:
            return ()
        both = (("times harm was done without the gate", self.bare), ("times harm was done with the gate", self.gated))
        return [Figure(name=name, value=f"{_sum(harm):,}", beside=counted(harm)) for name, harm in both]

    def as_json(self) -> dict[str, Any]:
        return {
            "harmful_with_gate": dict(self.gated),
            "harmful_without_gate": dict(self.bare) if self.bare is not None else None,
        }


class _Watch:
    """Sees every trial as it ends: counts the harm done, moves the bar, prints its line."""

    def __init__(self, show: OnTrial | None, *, as_json: bool) -> None:
        self.harmful: Counter[str] = Counter()
        self._show = show
        self._json = as_json

    def __call__(self, trial: TrialResult) -> None:
        self.harmful.update(harms(trial))
        if self._show is not None:
            self._show(trial)
        if self._json:
            json_line(trial.line())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What the demo runs."""

    contract: Contract
    contract_file: Path
    scenarios: Sequence[Scenario]
    scenarios_folder: Path
    agent: str
    framework: str
    trials: int
    seed: int
    workers: int

    @classmethod
    def of(cls, framework: str, trials: int, seed: int, workers: int) -> _Plan:
        home = _from_here(Path(desk.__file__).parent)
        contract = Contract.load(home / "contract.yaml")
        return cls(
            contract=contract,
            contract_file=home / "contract.yaml",
            scenarios=load_scenarios(home / "scenarios", contract=contract),
            scenarios_folder=home / "scenarios",
            agent=f"roadworthy.examples.desk.agents.{framework.replace('-', '_')}:agent",
            framework=framework,
            trials=trials,
            seed=seed,
            workers=workers,
        )

    def run(self, watch: OnTrial, *, enforce: bool = True, ledger: Path | None = None) -> TestReport:
        again = ["roadworthy", "test", str(self.contract_file), "--agent", self.agent]
        again += ["--scenarios", str(self.scenarios_folder), "--seed", str(self.seed)]
        return run_trials(
            self.contract,
            self.agent,
            self.scenarios,
            trials=self.trials,
            seed=self.seed,
            workers=self.workers,
            ledger=ledger,
            enforce=enforce,
            on_trial=watch,
            reproduce=shlex.join(again),
        )


def _from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _make_room(*folders: Path) -> None:
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UsageError(f"{folder} cannot be made: {told_why(e)}; choose another folder with --out") from e


# What people read -----------------------------------------------------------------------------------------------------


def _told(report: TestReport, plan: _Plan, harmful: _Harm) -> Iterator[str]:
    yield "\n".join(
        [
            f"A support agent ({plan.framework}) takes its road test: {report.total.trials} trials of "
            f"{len(plan.scenarios)} scenarios, seed {plan.seed}, {report.duration_s:.0f} s.",
            f"{SCRIPTED} Its weaknesses are documented code: roadworthy/examples/desk/model.py.",
            "Its world is synthetic: three systems in memory (SQLite), a mail sink, no network.",
        ]
    )
    if report.interrupted:
        yield "INTERRUPTED: what follows covers the trials that were finished."
    page = page_of(report)
    rows = [(c.capability, _rate(c.curated), _rate(c.messy), c.verdict) for c in report.capabilities]
    rows.append(("all", _rate(report.curated), _rate(report.messy), report.release.verdict))
    yield "\n".join(columns(("capability", "curated tickets", "real conditions", "verdict"), rows))
    conditions = [
        (cost.condition, _rate(cost.rate), f"{cost.delta * 100:+.0f} points".replace("+0 ", "0 "))
        for cost in sorted(page.costs, key=lambda c: c.delta)
    ]
    if conditions:
        yield "What each condition costs, beside curated tickets:\n" + _indented(
            columns(("condition", "passed", "costs"), conditions)
        )
    yield "What the gate stopped:\n" + _indented(
        columns(
            ("times", "ruling", "tool", "by"),
            [(str(s.times), s.ruling, s.tool, s.rule) for s in report.stops],
        )
    )
    cases = stopped(report.trials, plan.scenarios)
    if cases:
        yield "For example:\n" + "\n".join(f"  - {case.text}" for case in cases[:_CASES])
    yield _worth(harmful)
    if page.mends:
        yield "What to mend first:\n" + "\n".join(
            f"  {i}. {mend.title}: {mend.lost} trials, {mend.share * 100:.0f} % of all failures; without them "
            + ", ".join(f"{lift.capability} {lift.now * 100:.0f} % -> {lift.then * 100:.0f} %" for lift in mend.lifts)
            for i, mend in enumerate(page.mends[:_MENDS], start=1)
        )
    verdict = report.release
    reasons = [f"  - {reason}" for reason in verdict.reasons[:_REASONS]]
    if len(verdict.reasons) > _REASONS:
        reasons.append(f"  - and {len(verdict.reasons) - _REASONS} more, in the report")
    yield "\n".join([f"Release verdict: {verdict.verdict}", *reasons])


_CASES = 4
_MENDS = 3
_REASONS = 6


def _worth(harmful: _Harm) -> str:
    gated = f"{_sum(harmful.gated)}{f' ({counted(harmful.gated)})' if harmful.gated else ''}"
    if harmful.bare is None:
        return f"Times that harm was done with the gate: {gated}."
    bare = f"{_sum(harmful.bare)}{f' ({counted(harmful.bare)})' if harmful.bare else ''}"
    return "\n".join(
        [
            "What the gate is worth: the same trials again, with the gate only watching.",
            f"  times harm was done without the gate: {bare}",
            f"  times harm was done with the gate:    {gated}",
        ]
    )


def _sum(harmful: Counter[str]) -> int:
    return sum(harmful.values())


def _places(report: TestReport, page: Path, ledger: Path) -> str:
    lines = [f"Report: {page}", f"Ledger: {ledger}"]
    failures = report.failures
    if failures:
        lines.append("Look at a failing run, and run it again:")
        lines.append(f"  roadworthy ledger show {shlex.quote(str(ledger))} {failures[0].run}")
        lines.append(f"  {report.command_for(failures[0])}")
    return "\n".join(lines)


def _rate(rate: Rate) -> str:
    if rate.rate is None:
        return "not tried"
    return f"{rate.rate * 100:.0f} % [{rate.low * 100:.0f}, {rate.high * 100:.0f}] of {rate.trials}"


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)
