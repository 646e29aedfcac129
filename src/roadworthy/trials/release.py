"""May this agent be released? A pure function of the manifest and the trials: anyone can compute it again.

ERRORs stay in the denominator and never pass. A verdict that would be BLOCK even if every ERROR had passed is BLOCK;
otherwise one ERROR makes it ERROR. Trials in which the gate only reported never give PASS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from roadworthy.stats.rates import Interval, clopper_pearson, clustered
from roadworthy.trials.results import BarEntry, Manifest, Release, ScenarioEntry, TrialResult, Verdict

_MOST_TRIALS = 1_000_000

_NOT_ENFORCED = "not enforced: the gate only reported and every tool ran, so this says nothing of the agent behind it"


@dataclass(slots=True, kw_only=True)
class Count:
    """How the trials of one scenario came out."""

    passed: int = 0
    failed: int = 0
    errors: int = 0
    unmet: tuple[str, ...] = ()
    """Declared faults and attacks that not one of its trials reached, in words."""

    @property
    def trials(self) -> int:
        """All of them."""
        return self.passed + self.failed + self.errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The verdict on one scenario or capability."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    more_trials: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on everything."""

    release: Release
    scenarios: Mapping[str, Judged]
    capabilities: Mapping[str, Judged]


def count(trials: Iterable[TrialResult]) -> dict[str, Count]:
    """How the trials of each scenario came out."""
    counts: dict[str, Count] = {}
    declared: dict[str, dict[tuple[int, str], bool]] = {}
    for trial in trials:
        for i, hit in enumerate(trial.faults):
            key = (i, f"the {hit.kind} in {hit.tool} (call {hit.call})")
            faults = declared.setdefault(trial.scenario, {})
            faults[key] = faults.get(key, False) or hit.reached
        one = counts.setdefault(trial.scenario, Count())
        if trial.status == "passed":
            one.passed += 1
        elif trial.status == "failed":
            one.failed += 1
        else:
            one.errors += 1
    for scenario, faults in declared.items():
        counts[scenario].unmet = tuple(fault for (_, fault), reached in faults.items() if not reached)
    return counts


def judge(manifest: Manifest, counts: Mapping[str, Count]) -> Judgement:
    """The release verdict, with those on each scenario and each capability that it was made from."""
    scenarios = {s.id: _scenario(s, counts.get(s.id, Count()), manifest) for s in manifest.scenarios}
    capabilities = {name: _capability(name, bar, counts, manifest) for name, bar in manifest.bars.items()}
    judged = [*capabilities.values(), *scenarios.values()]
    verdict: Verdict = "PASS"
    for worst in ("BLOCK", "ERROR", "INCONCLUSIVE"):
        if any(j.verdict == worst for j in judged):
            verdict = worst
            break
    if verdict == "PASS" and not manifest.enforce:
        release = Release(verdict="INCONCLUSIVE", reasons=(_NOT_ENFORCED,))
        return Judgement(release=release, scenarios=scenarios, capabilities=capabilities)
    reasons = [r for j in judged if j.verdict == verdict for r in j.reasons]
    if verdict not in ("PASS", "INCONCLUSIVE"):
        reasons += [r for j in judged if j.verdict not in (verdict, "PASS") for r in j.reasons]
    reasons += [] if manifest.enforce else [_NOT_ENFORCED]
    release = Release(verdict=verdict, reasons=tuple(dict.fromkeys(reasons)))
    return Judgement(release=release, scenarios=scenarios, capabilities=capabilities)


def _scenario(scenario: ScenarioEntry, found: Count, manifest: Manifest) -> Judged:
    name = scenario.id
    if scenario.must_pass and found.failed:
        text = f"{name} must pass and failed {found.failed} of {found.trials} times"
        return Judged(verdict="BLOCK", reasons=(text,))
    floor = Decimal(manifest.scenario_floor)
    best = found.passed + found.errors
    if found.trials and one_sided(best, found.trials, 1 - manifest.alpha).high < floor:
        text = f"{name} passed {found.passed} of {found.trials} times: surely less often than {_percent(floor)}"
        return Judged(verdict="BLOCK", reasons=(text,))
    if found.failed and found.failed == found.trials:
        text = f"{name} passed none of {_trials(found.trials)}: too few to block by, and nothing to release by"
        return Judged(verdict="INCONCLUSIVE", reasons=(text,))
    if found.errors:
        return Judged(verdict="ERROR", reasons=(f"{name}: {_trials(found.errors)} of {found.trials} broke (ERROR)",))
    if found.trials < manifest.trials:
        text = f"{name}: only {found.trials} of {_trials(manifest.trials)} were run"
        return Judged(verdict="INCONCLUSIVE", reasons=(text,))
    if found.unmet:
        text = f"{name}: {' and '.join(found.unmet)} was never reached, so it was not tried: mend the scenario"
        return Judged(verdict="INCONCLUSIVE", reasons=(text,))
    return Judged(verdict="PASS")


def _capability(name: str, bar: BarEntry | None, counts: Mapping[str, Count], manifest: Manifest) -> Judged:
    mine = [counts.get(s.id, Count()) for s in manifest.scenarios if s.capability == name]
    trials = sum(c.trials for c in mine)
    if bar is None:
        return _without_bar(name, mine)
    if not mine:
        text = f"{name}: no scenario tries it, and the contract asks for evidence"
        return Judged(verdict="INCONCLUSIVE", reasons=(text,))
    if not trials:
        return Judged(verdict="INCONCLUSIVE", reasons=(f"{name}: no trial was run",))
    wanted, confidence = float(bar.pass_rate), float(bar.confidence)
    passed, errors = sum(c.passed for c in mine), sum(c.errors for c in mine)
    clusters = [(c.passed, c.trials) for c in mine if c.trials]
    found = one_sided(passed, trials, confidence)
    best = one_sided(passed + errors, trials, confidence)
    low = min(found.low, _apart(clusters, confidence))
    asked = f"{_percent(wanted)} at {_percent(confidence)} confidence"
    shown = f"{passed} of {trials} passed"
    if best.high < wanted:
        most = f"(at most {_percent(found.high)})"
        text = f"{name}: {shown}; on these scenarios surely below the {asked} that the contract asks for {most}"
        return Judged(verdict="BLOCK", reasons=(text,), low=low, high=found.high)
    if errors:
        text = f"{name}: {_trials(errors)} of {trials} broke (ERROR), so nothing is shown"
        return Judged(verdict="ERROR", reasons=(text,), low=low, high=found.high)
    if low >= wanted:
        text = f"{name}: {shown}; at least {_percent(low)}, the contract asks for {asked}"
        return Judged(verdict="PASS", reasons=(text,), low=low, high=found.high)
    more = _more(passed, trials, wanted, confidence) if found.low < wanted else None
    if more is not None:
        cure = f"about {more} more trials would show it, if the rate stays"
    elif found.low >= wanted:
        cure = "its scenarios differ too much to say so of others: add scenarios"
    else:
        cure = "at this rate more trials would not show it"
    text = f"{name}: {shown}; between {_percent(low)} and {_percent(found.high)}, the contract asks for {asked}: {cure}"
    return Judged(verdict="INCONCLUSIVE", reasons=(text,), low=low, high=found.high, more_trials=more)


def _without_bar(name: str, mine: Sequence[Count]) -> Judged:
    """No rate is asked for, so there is none that failures could be weighed against: only clean trials pass."""
    trials, failed, errors = sum(c.trials for c in mine), sum(c.failed for c in mine), sum(c.errors for c in mine)
    text = f"{name}: the contract asks for no evidence"
    if failed:
        verdict: Verdict = "BLOCK" if failed == trials else "ERROR" if errors else "INCONCLUSIVE"
        text = f"{text}, and {failed} of {_trials(trials)} failed: add `evidence`"
        return Judged(verdict=verdict, reasons=(text,))
    if errors:
        return Judged(verdict="ERROR", reasons=(f"{name}: {_trials(errors)} of {trials} broke (ERROR)",))
    return Judged(verdict="PASS", reasons=(text,))


def one_sided(passed: int, trials: int, confidence: float) -> Interval:
    """Exact bounds (Clopper-Pearson), each of which holds with this confidence for itself."""
    return clopper_pearson(passed, trials, confidence=max(2 * confidence - 1, 0.0))


def _apart(clusters: Sequence[tuple[int, int]], confidence: float) -> float:
    """The lower bound that lets scenarios differ. Only PASS has to reach it: it speaks of what was not tried, too."""
    if len(clusters) < 2:
        return 1.0
    return clustered(clusters, confidence=max(2 * confidence - 1, 0.0)).low


def _more(passed: int, trials: int, wanted: float, confidence: float) -> int | None:
    """How many more trials would reach the bar if they pass as often as those so far; None where none would."""
    rate = passed / trials
    if rate <= wanted and passed < trials:
        return None

    def shown(n: int) -> bool:
        return one_sided(int(rate * n), n, confidence).low >= wanted

    high = max(trials, 1)
    while not shown(high):
        high *= 2
        if high > _MOST_TRIALS:
            return None
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return max(high - trials, 1)


def _percent(rate: float | Decimal) -> str:
    text = f"{float(rate) * 100:.1f}"
    return f"{text.removesuffix('.0')} %"


def _trials(n: int) -> str:
    return "1 trial" if n == 1 else f"{n} trials"
