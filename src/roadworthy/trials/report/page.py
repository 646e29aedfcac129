"""What a report says, in the order in which a release manager asks: numbers and words, no markup.

`page_of` makes a Page from a TestReport; `html` and `markdown` only set it.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import Any

from roadworthy.core.types import Ruling
from roadworthy.trials.results import (
    CapabilityReport,
    GradedChange,
    Rate,
    ScenarioReport,
    Stop,
    TestReport,
    TrialResult,
    Turn,
    Verdict,
)

AXIS = frozenset({"curated", "messy"})
"""The two conditions that every scenario has one of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """One reason of the release verdict."""

    text: str
    verdict: Verdict
    anchor: str | None
    """Where the page shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A failing trial that stands on the page."""

    scenario: str
    index: int
    anchor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """What mending would do for one capability."""

    capability: str
    now: float
    """Its pass rate, in [0, 1]."""
    then: float
    """The same if these trials had passed: the most that mending can bring in these trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mend:
    """One thing to mend, with what it costs now."""

    title: str
    """The condition under which the agent fails; for failures under none the capability."""
    whys: tuple[str, ...]
    """Reasons, the most frequent first, with the number of trials of each where not all have it."""
    lost: int
    """Trials that did not pass."""
    share: float
    """Of all trials that did not pass, in (0, 1]."""
    lifts: tuple[Lift, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Curated beside messy for one capability."""

    capability: CapabilityReport
    required: float | None
    """The pass rate that the contract asks for, in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one condition costs: its pass rate beside that of curated trials of the same capabilities."""

    condition: str
    rate: Rate
    base: Rate
    delta: float
    """In [-1, 1]; negative: it costs."""
    low: float
    high: float
    scenarios: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """pass^k of one capability: k -> the chance that k fresh trials of a scenario all pass, averaged over scenarios."""

    capability: str
    curated: Mapping[int, float]
    messy: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopLine:
    """What one rule did not let through, with a case in words."""

    rule: str
    ruling: Ruling
    times: int
    tools: tuple[tuple[str, int], ...]
    """Tool and times, the most frequent first."""
    title: str
    """What it did to the calls, in words."""
    because: str
    """The rule's own words, or what the built-in check of that name looks at."""
    scenario: str = ""
    """Where the case comes from; empty where no failed trial has one."""
    call: str = ""
    told: str = ""
    """What the model was told beyond the rule's own words."""
    anchor: str | None = None


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
class Step:
    """One step of a transcript, ready to be set."""

    kind: str
    """`user`, `agent`, `tool` or `trial`."""
    who: str
    at: str
    text: str
    tool: str = ""
    args: tuple[tuple[str, str], ...] = ()
    long: bool = False
    """The arguments need a line each."""
    chip: str = ""
    """The kind of the ruling or outcome, for its colour."""
    state: str = ""
    """What became of the call, in words."""
    rule: str = ""
    why: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    """What the trial did to this call: a fault, planted text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeLine:
    """One change of the world: expected, or found, or both."""

    chip: str
    state: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One trial that did not pass."""

    anchor: str
    trial: TrialResult
    ending: str
    steps: tuple[Step, ...]
    changes: tuple[ChangeLine, ...]
    command: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """The trials of one scenario that did not pass, the first ones in full."""

    anchor: str
    scenario: ScenarioReport
    shown: tuple[Failure, ...]
    more: int
    """How many more did not pass."""
    others: tuple[int, ...]
    """The numbers of the first of those."""


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


_PER_CENT = "\u202f%"
"""The sign after a thin space that does not break."""

_FIRST = 3
"""How many failures of a scenario are shown in full unless the caller says otherwise."""

_LONG = 64
"""A call with more characters of arguments than that is set on several lines."""

_OTHERS = 8
"""How many failures that are not shown are named by their numbers."""

_MENDS = 8
"""How many things to mend are listed; the rest is counted."""

_ENDINGS: Mapping[str, str] = {
    "settled": "the agent gave its last reply",
    "escalated": "handed to a person",
    "asked": "a question to the user was left open",
    "held": "an action waits for a person",
    "stopped": "the run was stopped",
    "silent": "the agent came back without a word",
    "crashed": "the agent crashed",
}

_WOULD: Mapping[Ruling, str] = {
    "deny": "denied",
    "ask": "put to a person",
    "clarify": "put to the user",
    "allow": "allowed",
}

_RULED: Mapping[Ruling, str] = {
    "deny": "denied",
    "ask": "asked a person",
    "clarify": "asked the user",
    "allow": "allowed",
}

_CHECKS: Mapping[str, str] = {
    "access": "The tool is not open here, or it was called with what belongs to somebody else.",
    "values": "The arguments are not what the tool takes.",
    "budgets": "The run has used up what the contract grants it.",
    "level": "At this level a person decides about every write.",
    "stop": "Somebody stopped the agent, or this capability of it.",
}
"""What the gate's own checks look at; rules say it in their own words."""


def page_of(report: TestReport, *, first: int = _FIRST, worth: Sequence[Figure] = ()) -> Page:
    """All that a report says of these results; `first` failures of each scenario in full.

    `worth`: figures of the same trials with the gate and without it, from whoever has run them twice.
    """
    lost = [t for t in report.trials if not t.passed]
    failures = _failures(report, lost, first)
    anchors = {(f.trial.scenario, f.trial.index): f.anchor for group in failures for f in group.shown}
    mends = _mends(report, lost, anchors)
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
        costs=_costs(report),
        curves=_curves(report),
        stops=_stops(report, anchors),
        figures=_figures(report),
        worth=tuple(worth),
        groups=_groups(report, {g.scenario.scenario: g.anchor for g in failures}),
        faults=_faults(report),
        failures=failures,
        method=tuple(_method(report)),
    )


def percent(value: float) -> str:
    """`0.614` as `61 %`; what is not quite all or nothing never reads as 100 % or 0 %."""
    value = round(value, 9)  # an interval that ends at 1 may fall short of it by the last digit of a float
    shown = round(value * 100)
    if (shown == 100 and value < 1) or (shown == 0 and value > 0):
        near = f"{value * 100:.1f}"
        return f"{'<0.1' if near == '0.0' else '>99.9' if near == '100.0' else near}{_PER_CENT}"
    return f"{shown}{_PER_CENT}"


def interval(rate: Rate) -> str:
    """`84\u2013100 %`; empty where there was no trial."""
    if not rate.trials:
        return ""
    return f"{percent(rate.low).removesuffix(_PER_CENT)}\u2013{percent(rate.high)}"


def required_percent(value: float) -> str:
    """A rate that a contract asks for, with all its digits: `98 %`, `99.5 %`."""
    return f"{value * 100:.4f}".rstrip("0").rstrip(".") + _PER_CENT


def points(value: float) -> str:
    """A difference of rates in points of per cent, with a sign."""
    shown = round(value * 100)
    if shown == 0:
        return "0"
    return f"+{shown}" if shown > 0 else f"\u2212{-shown}"


def words(name: str) -> str:
    """A name of a program as words: `timeout_after_commit` as `timeout after commit`."""
    return name.replace("_", " ").replace("-", " ")


_STARTS = ("missing:", "forbidden:", "check ", "ended ", "the ", "a ", "an ")
"""How reasons start that are words, not names."""


def sentence(text: str) -> str:
    """A reason as a sentence: a capital where it starts with a word, not with a name, and a point at its end."""
    if text.startswith(_STARTS):
        text = text[0].upper() + text[1:]
    text = re.sub(r"(?<=\d) %", _PER_CENT, text)
    return text if not text or text[-1] in ".!?:;\u2026" else text + "."


def capital(text: str) -> str:
    """Words with a capital in front. A name with a line or a point in it keeps its own."""
    return text[0].upper() + text[1:] if text and not re.search("[_.]", text.split(" ", 1)[0]) else text


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 trial`, `2 trials`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


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


def _mends(report: TestReport, lost: Sequence[TrialResult], anchors: Mapping[tuple[str, int], str]) -> tuple[Mend, ...]:
    """Failures by what is hard about their scenarios: that is what one change of the agent is most likely to mend."""
    alike: dict[tuple[str, ...], list[TrialResult]] = defaultdict(list)
    for trial in lost:
        if trial.status == "failed":
            hard = tuple(words(c) for c in trial.conditions if c not in AXIS)
            alike[hard or (trial.capability,)].append(trial)
    rates = {c.capability: c.rate for c in report.capabilities}
    found: list[Mend] = []
    for hard, trials in alike.items():
        first = {t.scenario: t for t in reversed(trials) if (t.scenario, t.index) in anchors}
        by_capability = Counter(t.capability for t in trials)
        found.append(
            Mend(
                title=" and ".join(hard),
                whys=_whys(trials),
                lost=len(trials),
                share=len(trials) / len(lost),
                lifts=tuple(
                    Lift(
                        capability=name,
                        now=rates[name].passed / rates[name].trials,
                        then=(rates[name].passed + count) / rates[name].trials,
                    )
                    for name, count in by_capability.most_common()
                ),
                examples=tuple(
                    Example(scenario=t.scenario, index=t.index, anchor=anchors[t.scenario, t.index])
                    for t in sorted(first.values(), key=lambda t: t.scenario)
                ),
            )
        )
    return tuple(sorted(found, key=lambda m: (-m.lost, m.title)))


def _whys(trials: Sequence[TrialResult]) -> tuple[str, ...]:
    """The reasons of these trials, those that start alike in one line, with how many trials have each."""
    counts, shown = Counter[str](), dict[str, str]()
    for trial in trials:
        for why in dict.fromkeys(trial.why or (_ENDINGS[trial.ending],)):
            # Numbers and quoted words differ from trial to trial; the reason is the same.
            alike = re.sub(r"\d+([.,:-]\d+)*|'[^']*'|\"[^\"]*\"", "\u2026", why)
            counts[alike] += 1
            shown.setdefault(alike, why)
    lines: dict[str, list[str]] = defaultdict(list)
    for alike, n in counts.most_common():
        head, colon, rest = shown[alike].partition(": ")
        if head not in ("missing", "forbidden"):
            head, colon, rest = shown[alike], "", ""
        times = "" if n == len(trials) else f" ({plural(n, 'trial')})" if not lines else f" ({n:,})"
        lines[head + colon].append(rest + times)
    return tuple(sentence(head + ", ".join(parts)) for head, parts in lines.items())


def _costs(report: TestReport) -> tuple[Cost, ...]:
    curated = {c.capability: c.curated for c in report.capabilities if c.curated.trials}
    found: list[Cost] = []
    for condition in report.conditions:
        if condition.condition in AXIS or condition.capability is not None or not condition.rate.trials:
            continue
        trials = [t for t in report.trials if condition.condition in t.conditions]
        mix = Counter(t.capability for t in trials if t.capability in curated)
        if not mix:
            continue
        base = _mixed(mix, curated)
        delta, low, high = _difference(condition.rate, base)
        found.append(
            Cost(
                condition=condition.condition,
                rate=condition.rate,
                base=base,
                delta=delta,
                low=low,
                high=high,
                scenarios=len({t.scenario for t in trials}),
            )
        )
    return tuple(sorted(found, key=lambda c: (c.delta, c.condition)))


def _mixed(mix: Mapping[str, int], rates: Mapping[str, Rate]) -> Rate:
    """The rates of several capabilities in the proportions of `mix`, so that a hard capability does not pass for a
    hard condition. The interval is that of a weighted sum (MOVER: Zou and Donner, Statistics in Medicine 27, 2008)."""
    if len(mix) == 1:
        return rates[next(iter(mix))]
    total = sum(mix.values())
    value = below = above = 0.0
    for capability, count in mix.items():
        rate, weight = rates[capability], count / total
        middle = rate.passed / rate.trials
        value += weight * middle
        below += (weight * (middle - rate.low)) ** 2
        above += (weight * (rate.high - middle)) ** 2
    parts = [rates[c] for c in mix]
    trials = sum(r.trials for r in parts)
    return Rate(
        trials=trials,
        passed=round(value * trials),
        failed=trials - round(value * trials),
        errors=0,
        low=max(0.0, value - math.sqrt(below)),
        high=min(1.0, value + math.sqrt(above)),
        confidence=parts[0].confidence,
        method="mixed",
    )


def _difference(rate: Rate, base: Rate) -> tuple[float, float, float]:
    """Rate minus base with its interval (Newcombe's method 10, Statistics in Medicine 17, 1998)."""
    one, two = rate.passed / rate.trials, base.passed / base.trials
    below = math.sqrt((one - rate.low) ** 2 + (base.high - two) ** 2)
    above = math.sqrt((rate.high - one) ** 2 + (two - base.low) ** 2)
    return one - two, max(-1.0, one - two - below), min(1.0, one - two + above)


def _curves(report: TestReport) -> tuple[Curve, ...]:
    return tuple(
        Curve(
            capability=c.capability,
            curated=_mean_curve(s for s in report.scenarios if s.capability == c.capability and _curated(s)),
            messy=_mean_curve(s for s in report.scenarios if s.capability == c.capability and not _curated(s)),
        )
        for c in report.capabilities
    )


def _curated(scenario: ScenarioReport) -> bool:
    return "curated" in scenario.conditions


def _mean_curve(scenarios: Iterable[ScenarioReport]) -> dict[int, float]:
    """Mean over scenarios, as far as all of them have enough trials."""
    curves = [s.pass_k for s in scenarios if s.pass_k]
    if not curves:
        return {}
    common = sorted(set[int](curves[0]).intersection(*curves[1:]))
    return {k: sum(curve[k] for curve in curves) / len(curves) for k in common}


def _stops(report: TestReport, anchors: Mapping[tuple[str, int], str]) -> tuple[StopLine, ...]:
    by_rule: dict[tuple[str, Ruling], list[Stop]] = defaultdict(list)
    for stop in report.stops:
        by_rule[stop.rule, stop.ruling].append(stop)
    shown = _stopped_calls(report, anchors)
    lines: list[StopLine] = []
    for (rule, ruling), stops in by_rule.items():
        because = stops[0].because or _CHECKS.get(rule, "")
        trial, turn = shown.get((rule, ruling), (None, None))
        lines.append(
            StopLine(
                rule=rule or "no rule",
                ruling=ruling,
                times=sum(s.times for s in stops),
                tools=tuple((s.tool, s.times) for s in stops),
                title=_RULED[ruling] if report.enforced else f"would have been {_WOULD[ruling]}",
                because=because,
                scenario=trial.scenario if trial is not None else "",
                call=_call(turn) if turn is not None else "",
                told=next((w for w in turn.why if not because or because.rstrip(".") not in w), "")
                if turn is not None
                else "",
                anchor=anchors.get((trial.scenario, trial.index)) if trial is not None else None,
            )
        )
    return tuple(sorted(lines, key=lambda line: -line.times))


def _stopped_calls(
    report: TestReport, anchors: Mapping[tuple[str, int], str]
) -> dict[tuple[str, Ruling], tuple[TrialResult, Turn]]:
    """A call for each rule and ruling, from a trial that stands on the page where there is one."""
    found: dict[tuple[str, Ruling], tuple[TrialResult, Turn]] = {}
    told = [t for t in report.trials if t.transcript]
    for trial in sorted(told, key=lambda t: (t.scenario, t.index) not in anchors):
        for turn in trial.transcript:
            if turn.ruling is not None and turn.ruling != "allow":
                found.setdefault((turn.rule or "", turn.ruling), (trial, turn))
    return found


def _call(turn: Turn) -> str:
    return f"{turn.tool}({', '.join(f'{name}: {value}' for name, value in _args(turn))})"


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


def _failures(report: TestReport, lost: Sequence[TrialResult], first: int) -> tuple[FailureGroup, ...]:
    by_scenario: dict[str, list[TrialResult]] = defaultdict(list)
    for trial in lost:
        by_scenario[trial.scenario].append(trial)
    reports = {s.scenario: s for s in report.scenarios}
    found: list[FailureGroup] = []
    for number, (name, trials) in enumerate(sorted(by_scenario.items(), key=lambda item: -len(item[1])), 1):
        told = _telling(trials, first)
        kept = {t.index for t in told}
        found.append(
            FailureGroup(
                anchor=f"failures-{number}",
                scenario=reports[name],
                shown=tuple(
                    Failure(
                        anchor=f"failure-{number}-{t.index}",
                        trial=t,
                        ending=_ENDINGS[t.ending],
                        steps=tuple(_step(turn) for turn in t.transcript),
                        changes=tuple(_changes(t)),
                        command=report.command_for(t),
                    )
                    for t in told
                ),
                more=len(trials) - len(told),
                others=tuple(t.index for t in trials if t.index not in kept)[:_OTHERS],
            )
        )
    return tuple(found)


def _telling(trials: Sequence[TrialResult], first: int) -> list[TrialResult]:
    """The first trials that have something to tell, different reasons before more of the same."""
    told = [t for t in trials if t.transcript or t.status == "error"]
    seen: Counter[tuple[str, ...]] = Counter()
    ranked: list[tuple[int, int, TrialResult]] = []
    for number, trial in enumerate(told):
        ranked.append((seen[trial.why], number, trial))
        seen[trial.why] += 1
    chosen = sorted(ranked, key=lambda r: r[:2])[:first]
    return [trial for _, _, trial in sorted(chosen, key=lambda r: r[1])]


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Decimal):
        return format(value, "f")
    return json.dumps(value, ensure_ascii=False, default=str)


def _args(turn: Turn) -> tuple[tuple[str, str], ...]:
    return tuple((name, _shown(value)) for name, value in (turn.args or {}).items())


def _step(turn: Turn) -> Step:
    at = f"{turn.at_s:g} s" if turn.at_s else ""
    if turn.who != "tool":
        who = {"user": "User", "agent": "Agent", "trial": "Trial"}[turn.who]
        return Step(kind=turn.who, who="Agent asks" if turn.question else who, at=at, text=turn.text)
    marks: list[str] = []
    if turn.fault:
        marks.append(f"fault: {words(turn.fault)}")
    if turn.attack:
        marks.append("carries a planted instruction")
    chip, state = _state(turn)
    args = _args(turn)
    return Step(
        kind="tool",
        who="Tool call",
        at=at,
        text=turn.text,
        tool=turn.tool or "",
        args=args,
        long=sum(len(name) + len(value) + 4 for name, value in args) > _LONG,
        chip=chip,
        state=state,
        rule=turn.rule or "",
        why=tuple(w for w in turn.why if w not in turn.text),
        marks=tuple(marks),
    )


def _state(turn: Turn) -> tuple[str, str]:
    match turn.status:
        case "ok" if turn.answer:
            return "ok", "a person approved it"
        case "ok" if turn.ruling not in (None, "allow") and turn.answer is None:
            return turn.ruling, f"executed, would have been {_WOULD[turn.ruling]}"
        case "ok":
            return "ok", "simulated" if turn.done == "simulated" else "executed"
        case "denied" if turn.answer is False:
            return "denied", "a person refused it"
        case "denied":
            return "denied", "denied"
        case "clarify":
            return "clarify", "the user must say more"
        case "held":
            return "held", "held for a person"
        case "failed":
            return "failed", "failed"
        case "in_doubt":
            return "in_doubt", "in doubt: it may have been done"
        case _:
            return "", turn.status or ""


def _changes(trial: TrialResult) -> Iterable[ChangeLine]:
    for text in trial.missing:
        yield ChangeLine(chip="block", state="required, missing", text=text)
    order = {"forbidden": 0, "required": 1, "allowed": 2}
    for graded in sorted(trial.changes, key=lambda g: order[g.grade]):
        chip, state = {
            "forbidden": ("block", "forbidden, found"),
            "required": ("pass", "required, found"),
            "allowed": ("", "allowed, found"),
        }[graded.grade]
        yield ChangeLine(chip=chip, state=state, text=_change(graded))


def _change(graded: GradedChange) -> str:
    change = graded.change
    if change.change == "update" and change.before is not None and change.after is not None:
        before = change.before
        key = next(iter(change.after.items()), None)
        parts = [] if key is None else [f"{key[0]}: {_shown(key[1])}"]
        parts += [
            f"{name}: {_shown(before.get(name))} \u2192 {_shown(value)}"
            for name, value in change.after.items()
            if before.get(name) != value
        ]
        return f"{change.table}: update " + ", ".join(parts)
    row = ", ".join(f"{name}: {_shown(value)}" for name, value in change.row.items() if value is not None)
    return f"{change.table}: {change.change} {row}"


def _method(report: TestReport) -> Iterable[tuple[str, str]]:
    manifest = report.manifest
    yield "Agent", f"{manifest.agent}, contract version {manifest.version}, tried as {manifest.tried}"
    if manifest.about:
        yield "Of itself", f"\u201c{manifest.about}\u201d"
    yield "Contract", f"digest {manifest.contract}"
    yield "Gate", "enforcing the contract" if report.enforced else "watching only: nothing was stopped"
    yield "World", f"{manifest.world}, {manifest.ground}; a fresh one for every trial"
    yield "Levels", _levels(report)
    yield "Approver", _approvers(report)
    mix = Counter("curated" if _curated(s) else "messy" for s in report.scenarios)
    yield (
        "Scenarios",
        f"{len(manifest.scenarios):,} ({mix['curated']:,} curated, {mix['messy']:,} messy), "
        f"{plural(manifest.trials, 'trial')} each, {plural(len(report.trials), 'trial')} run. "
        "No rate is aimed at; the mix is declared by the scenarios.",
    )
    yield "Seed", f"{manifest.seed}; the seed of each trial follows from it, the scenario and the number of the trial"
    yield (
        "Intervals",
        f"{percent(1 - manifest.alpha)} two-sided: Wilson for one scenario, clustered by scenario where several are "
        "pooled; differences by Newcombe\u2019s method; "
        f"the verdict looked at {'once' if manifest.looks == 1 else f'{manifest.looks} times'}",
    )
    yield "pass^k", "the chance that k fresh trials of one scenario all pass: C(passed, k) / C(trials, k), averaged"
    yield "Scorers", ", ".join(manifest.scorers)
    yield (
        "Release verdict",
        "a function of the manifest and the trials. At the confidence that the contract asks for, one-sided: a "
        "capability blocks where the exact upper bound (Clopper-Pearson) stays below what is asked for, and passes "
        "where the exact and the clustered lower bound reach it. A scenario that surely passes less often than "
        f"{required_percent(float(manifest.scenario_floor))} blocks, and so does one failure of a scenario that must "
        "pass. Broken trials never pass and stay in the denominator",
    )
    yield "Manifest", f"digest {manifest.digest}"
    yield "Ledger", report.ledger or "kept in memory"
    started = report.started.astimezone(UTC)
    yield "Date", f"{started:%Y-%m-%d %H:%M} UTC, took {_duration(report.duration_s)}"
    yield "Roadworthy", manifest.roadworthy


def _levels(report: TestReport) -> str:
    return _spread((t.level for t in report.trials), {"shadow": "shadow (writes are simulated)"})


def _approvers(report: TestReport) -> str:
    return _spread(
        (t.approver for t in report.trials),
        {
            "vigilant": "vigilant (tries an action on a copy of the world and approves what may change)",
            "absent": "absent (never answers)",
            "rubber_stamp": "rubber stamp (approves everything)",
        },
    )


def _spread(values: Iterable[str], named: Mapping[str, str]) -> str:
    counts = Counter(values)
    if len(counts) == 1:
        only = next(iter(counts))
        return named.get(only, only)
    return "; ".join(f"{named.get(v, v)}: {plural(n, 'trial')}" for v, n in counts.most_common())


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min"
