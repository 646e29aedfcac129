"""What a report says, in the order in which a release manager asks: numbers and words, no markup.

`page_of` makes a Page from a TestReport; `html` and `markdown` only set it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from roadworthy.trials.report.costs import Cost, costs_of
from roadworthy.trials.report.failures import FailureGroup, failures_of
from roadworthy.trials.report.mending import Mend, mends_of
from roadworthy.trials.report.method import method_of
from roadworthy.trials.report.stops import StopLine, stops_of
from roadworthy.trials.report.wording import curated, percent, plural
from roadworthy.trials.results import CapabilityReport, ScenarioReport, TestReport, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """One reason of the release verdict."""

    text: str
    verdict: Verdict
    anchor: str | None
    """Where the page shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Curated beside messy for one capability."""

    capability: CapabilityReport
    required: float | None
    """The pass rate that the contract asks for, in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """pass^k of one capability: k -> the chance that k fresh trials of a scenario all pass, averaged over scenarios."""

    capability: str
    curated: Mapping[int, float]
    messy: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number with its name."""

    name: str
    value: str
    beside: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioLine:
    """How one scenario went."""

    report: ScenarioReport
    notes: tuple[str, ...]
    anchor: str | None
    """Where its failures stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioGroup:
    """The scenarios of one capability."""

    capability: str
    lines: tuple[ScenarioLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultMark:
    """One kind of fault in one tool."""

    kind: str
    reached: int
    passed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultLine:
    """The faults of one tool."""

    tool: str
    marks: tuple[FaultMark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The whole report."""

    report: TestReport
    date: str
    sentence: str
    grounds: tuple[Ground, ...]
    """The first of them decide."""
    notices: tuple[tuple[str, str], ...]
    """(headline, text): not enforced, interrupted, broken trials."""
    lost: int
    """Trials that did not pass."""
    mends: tuple[Mend, ...]
    more_mends: int
    gaps: tuple[Gap, ...]
    costs: tuple[Cost, ...]
    curves: tuple[Curve, ...]
    stops: tuple[StopLine, ...]
    figures: tuple[Figure, ...]
    worth: tuple[Figure, ...]
    """What happened in the same trials with the gate and without it, where both were run."""
    groups: tuple[ScenarioGroup, ...]
    faults: tuple[FaultLine, ...]
    failures: tuple[FailureGroup, ...]
    method: tuple[tuple[str, str], ...]


_FIRST = 3
"""How many failures of a scenario are shown in full unless the caller says otherwise."""

_MENDS = 8
"""How many things to mend are listed; the rest is counted."""


def page_of(report: TestReport, *, first: int = _FIRST, worth: Sequence[Figure] = ()) -> Page:
    """All that a report says of these results; `first` failures of each scenario in full.

    `worth`: figures of the same trials with the gate and without it, from whoever has run them twice.
    """
    lost = [t for t in report.trials if not t.passed]
    failures = failures_of(report, lost, first)
    anchors = {(f.trial.scenario, f.trial.index): f.anchor for group in failures for f in group.shown}
    mends = mends_of(report, lost, anchors)
    return Page(
        report=report,
        date=f"{report.started.day} {report.started:%B %Y}",
        sentence=_sentence(report),
        grounds=_grounds(report, {g.scenario.scenario: g.anchor for g in failures}),
        notices=tuple(_notices(report)),
        lost=len(lost),
        mends=mends[:_MENDS],
        more_mends=max(0, len(mends) - _MENDS),
        gaps=tuple(Gap(capability=c, required=float(c.bar) if c.bar else None) for c in report.capabilities),
        costs=costs_of(report),
        curves=_curves(report),
        stops=stops_of(report, anchors),
        figures=_figures(report),
        worth=tuple(worth),
        groups=_groups(report, {g.scenario.scenario: g.anchor for g in failures}),
        faults=_faults(report),
        failures=failures,
        method=tuple(method_of(report)),
    )


def _sentence(report: TestReport) -> str:
    name = report.manifest.agent
    match report.release.verdict:
        case "PASS":
            return f"{name} reached every pass rate that its contract asks for. It may be released as it was tested."
        case "BLOCK":
            short = [c.capability for c in report.capabilities if c.verdict == "BLOCK"]
            if short:
                kept = len(report.capabilities)
                return (
                    f"{name} must not be released as it is: "
                    f"{len(short)} of {plural(kept, 'capability', 'capabilities')} "
                    f"{'stays' if len(short) == 1 else 'stay'} below what the contract asks for."
                )
            return f"{name} must not be released as it is."
        case "ERROR":
            return "The test itself broke, so it says nothing about the agent. Mend the test and run it again."
        case "INCONCLUSIVE":
            return f"Not decided: these trials neither forbid releasing {name} nor show that it is fit."


def _grounds(report: TestReport, anchors: Mapping[str, str]) -> tuple[Ground, ...]:
    known: dict[str, Ground] = {}
    for scenario in report.scenarios:
        for text in scenario.reasons:
            known[text] = Ground(text=text, verdict=scenario.verdict, anchor=anchors.get(scenario.scenario))
    for capability in report.capabilities:
        for text in capability.reasons:
            known[text] = Ground(text=text, verdict=capability.verdict, anchor="gap")
    release = report.release
    return tuple(known.get(t, Ground(text=t, verdict=release.verdict, anchor=None)) for t in release.reasons)


def _notices(report: TestReport) -> Iterable[tuple[str, str]]:
    if not report.enforced:
        yield (
            "Not enforced.",
            "The gate only watched. Every action ran as if there were no contract, and what is called stopped on this "
            "page is what would have been stopped. The pass rates are those of the agent without its contract.",
        )
    if report.interrupted:
        declared = report.manifest.trials * len(report.manifest.scenarios)
        yield (
            "Interrupted.",
            f"{len(report.trials):,} of {plural(declared, 'trial')} were run before somebody stopped the test. "
            "The report covers those.",
        )
    if report.total.errors:
        yield (
            f"{plural(report.total.errors, 'trial')} broke.",
            "The world, a fault, a scorer or a simulated user failed, not the agent. Such trials never count as "
            "passed and stay in every count of trials.",
        )


def _curves(report: TestReport) -> tuple[Curve, ...]:
    return tuple(
        Curve(
            capability=c.capability,
            curated=_mean_curve(s for s in report.scenarios if s.capability == c.capability and curated(s)),
            messy=_mean_curve(s for s in report.scenarios if s.capability == c.capability and not curated(s)),
        )
        for c in report.capabilities
    )


def _mean_curve(scenarios: Iterable[ScenarioReport]) -> dict[int, float]:
    """Mean over scenarios, as far as all of them have enough trials."""
    curves = [s.pass_k for s in scenarios if s.pass_k]
    if not curves:
        return {}
    common = sorted(set[int](curves[0]).intersection(*curves[1:]))
    return {k: sum(curve[k] for curve in curves) / len(curves) for k in common}


def _figures(report: TestReport) -> tuple[Figure, ...]:
    trials = report.trials
    calls = sum(t.calls for t in trials)
    verdicts = Counter[str]()
    for trial in trials:
        verdicts.update(trial.verdicts)
    endings = Counter(t.ending for t in trials)
    asked = sum(1 for t in trials if t.asks)
    clarified = sum(1 for t in trials if t.clarifies)
    count = len(trials)
    found = [
        Figure(name="tool calls", value=f"{calls:,}", beside=f"{verdicts['allow']:,} allowed at once"),
        Figure(name="put to a person", value=f"{sum(t.asks for t in trials):,}", beside=_in_trials(asked, count)),
        Figure(
            name="put to the user", value=f"{sum(t.clarifies for t in trials):,}", beside=_in_trials(clarified, count)
        ),
        Figure(name="handed over", value=f"{endings['escalated']:,}", beside=_share(endings["escalated"], count)),
    ]
    crashes = endings["crashed"]
    if crashes:
        found.append(Figure(name="crashed", value=f"{crashes:,}", beside=_share(crashes, count)))
    return tuple(found)


def _in_trials(some: int, count: int) -> str:
    return f"in {percent(some / count)} of trials" if some else "in no trial"


def _share(some: int, count: int) -> str:
    return f"{percent(some / count)} of trials" if some else "no trial"


def _groups(report: TestReport, anchors: Mapping[str, str]) -> tuple[ScenarioGroup, ...]:
    asks, clarifies = Counter[str](), Counter[str]()
    unreached: set[str] = set()
    for trial in report.trials:
        asks[trial.scenario] += trial.asks
        clarifies[trial.scenario] += trial.clarifies
        if any(not fault.reached for fault in trial.faults):
            unreached.add(trial.scenario)
    lines: dict[str, list[ScenarioLine]] = defaultdict(list)
    for scenario in report.scenarios:
        notes: list[str] = []
        if asks[scenario.scenario]:
            notes.append(f"{asks[scenario.scenario]:,}\u00d7 put to a person")
        if clarifies[scenario.scenario]:
            notes.append(f"{clarifies[scenario.scenario]:,}\u00d7 put to the user")
        if scenario.rate.errors:
            notes.append(f"{scenario.rate.errors:,}\u00d7 broken")
        if scenario.scenario in unreached:
            notes.append("a declared fault was not always met")
        lines[scenario.capability].append(
            ScenarioLine(report=scenario, notes=tuple(notes), anchor=anchors.get(scenario.scenario))
        )
    return tuple(ScenarioGroup(capability=name, lines=tuple(some)) for name, some in lines.items())


def _faults(report: TestReport) -> tuple[FaultLine, ...]:
    tools: dict[str, list[FaultMark]] = defaultdict(list)
    for cell in report.faults.cells:
        tools[cell.tool].append(FaultMark(kind=cell.kind, reached=cell.reached, passed=cell.passed))
    return tuple(FaultLine(tool=tool, marks=tuple(marks)) for tool, marks in tools.items())
