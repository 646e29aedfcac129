"""Adding trials up, one by one and in little room, into a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar, cast

from roadworthy.contract.model import Contract
from roadworthy.core.types import Ruling
from roadworthy.stats.rates import clustered, pass_k, wilson
from roadworthy.trials.faults import FAULT_KINDS
from roadworthy.trials.keep import Keeper
from roadworthy.trials.release import Count, Judgement, count, judge
from roadworthy.trials.report.costs import mixed
from roadworthy.trials.results import (
    CapabilityReport,
    ConditionReport,
    FaultCell,
    FaultCoverage,
    Manifest,
    Rate,
    ScenarioEntry,
    ScenarioReport,
    Stop,
    TestReport,
    TrialResult,
)

_T = TypeVar("_T")


class Tally:
    """Takes trials as they come in and keeps what the report needs."""

    def __init__(self, manifest: Manifest, contract: Contract) -> None:
        self.manifest = manifest
        self.contract = contract
        self.trials: list[TrialResult] = []
        self.passed = 0
        self._keeper = Keeper()
        self._same: dict[object, object] = {}

    def add(self, trial: TrialResult) -> TrialResult:
        """Count a trial; what comes back is what is kept of it."""
        if trial.passed:
            self.passed += 1
        kept = trial
        if not self._keeper.wants(trial.scenario, passed=trial.passed, why=trial.why, stops=trial.stops):
            kept = trial.slim()
        kept = self._compact(kept)
        self.trials.append(kept)
        return kept

    def _compact(self, trial: TrialResult) -> TrialResult:
        """Most trials are alike: one object stands for all equal parts, so that many trials take little room."""
        parts = {
            "why": self._one(trial.why),
            "notes": self._one(trial.notes),
            "stops": self._one(trial.stops),
            "faults": self._one(trial.faults),
            "conditions": self._one(trial.conditions),
            "verdicts": self._counts(trial.verdicts),
        }
        if all(getattr(trial, name) is part for name, part in parts.items()):
            return trial
        return replace(trial, **parts)

    def _one(self, value: _T) -> _T:
        if len(self._same) > 10_000:
            self._same.clear()
        return cast("_T", self._same.setdefault(value, value))

    def _counts(self, verdicts: Mapping[str, int]) -> Mapping[str, int]:
        return cast("Mapping[str, int]", self._same.setdefault(("v", *verdicts.items()), verdicts))

    def judgement(self) -> Judgement:
        """The release verdict on the trials so far."""
        return judge(self.manifest, count(self.trials))

    def report(
        self,
        judgement: Judgement,
        *,
        started: datetime,
        duration_s: float,
        interrupted: bool,
        enforced: bool,
        ledger: str | None,
        reproduce: str | None,
    ) -> TestReport:
        """All that the trials found."""
        place = {s.id: i for i, s in enumerate(self.manifest.scenarios)}
        trials = sorted(self.trials, key=lambda t: (place[t.scenario], t.index))
        return _Report(self.manifest, self.contract, trials, judgement).whole(
            started=started,
            duration_s=duration_s,
            interrupted=interrupted,
            enforced=enforced,
            ledger=ledger,
            reproduce=reproduce,
        )


class _Report:
    def __init__(
        self, manifest: Manifest, contract: Contract, trials: Sequence[TrialResult], judgement: Judgement
    ) -> None:
        self.manifest = manifest
        self.contract = contract
        self.trials = trials
        self.judgement = judgement
        self.counts = count(trials)
        self.whys: dict[str, Counter[str]] = {}
        for trial in trials:
            if not trial.passed:
                self.whys.setdefault(trial.scenario, Counter()).update(trial.why)

    def whole(
        self,
        *,
        started: datetime,
        duration_s: float,
        interrupted: bool,
        enforced: bool,
        ledger: str | None,
        reproduce: str | None,
    ) -> TestReport:
        scenarios = self.manifest.scenarios
        return TestReport(
            manifest=self.manifest,
            started=started,
            duration_s=duration_s,
            trials=tuple(self.trials),
            total=self.rate(scenarios),
            curated=self.rate(s for s in scenarios if "curated" in s.conditions),
            messy=self.rate(s for s in scenarios if "messy" in s.conditions),
            scenarios=tuple(self._scenario(s) for s in scenarios),
            capabilities=tuple(self._capability(name) for name in self.manifest.bars),
            conditions=tuple(self._conditions()),
            stops=self._stops(),
            faults=self._faults(),
            release=self.judgement.release,
            notes=tuple(self._notes()),
            interrupted=interrupted,
            enforced=enforced,
            ledger=ledger,
            reproduce=reproduce,
        )

    def rate(self, scenarios: Iterable[ScenarioEntry]) -> Rate:
        found = [self.counts[s.id] for s in scenarios if s.id in self.counts]
        return _rate(found, confidence=1 - self.manifest.alpha)

    def _scenario(self, scenario: ScenarioEntry) -> ScenarioReport:
        judged = self.judgement.scenarios[scenario.id]
        return ScenarioReport(
            scenario=scenario.id,
            about=scenario.about,
            capability=scenario.capability,
            conditions=scenario.conditions,
            must_pass=scenario.must_pass,
            rate=self.rate([scenario]),
            pass_k=_pass_k(self.counts.get(scenario.id)),
            why=tuple(self.whys.get(scenario.id, Counter[str]()).most_common()),
            verdict=judged.verdict,
            reasons=judged.reasons,
        )

    def _capability(self, name: str) -> CapabilityReport:
        mine = [s for s in self.manifest.scenarios if s.capability == name]
        bar, judged = self.manifest.bars[name], self.judgement.capabilities[name]
        per_scenario = [_pass_k(self.counts.get(s.id)) for s in mine]
        shared = set(per_scenario[0]).intersection(*per_scenario) if per_scenario else set[int]()
        return CapabilityReport(
            capability=name,
            rate=self.rate(mine),
            curated=self.rate(s for s in mine if "curated" in s.conditions),
            messy=self.rate(s for s in mine if "messy" in s.conditions),
            pass_k={k: sum(p[k] for p in per_scenario) / len(per_scenario) for k in sorted(shared)},
            bar=bar.pass_rate if bar is not None else None,
            confidence=bar.confidence if bar is not None else None,
            low=judged.low,
            high=judged.high,
            verdict=judged.verdict,
            reasons=judged.reasons,
            more_trials=judged.more_trials,
        )

    def _conditions(self) -> Iterable[ConditionReport]:
        scenarios = self.manifest.scenarios
        rates = {
            name: self.rate(s for s in scenarios if s.capability == name and "curated" in s.conditions)
            for name in self.manifest.bars
        }
        curated = {name: rate for name, rate in rates.items() if rate.trials}
        names = dict.fromkeys(c for s in scenarios for c in s.conditions if c not in ("curated", "messy"))
        for name in names:
            having = [s for s in scenarios if name in s.conditions]
            mix = Counter[str]()
            for s in having:
                if s.id in self.counts and s.capability in curated:
                    mix[s.capability] += self.counts[s.id].trials
            without = mixed(mix, curated) if mix else self.rate(())
            yield ConditionReport(condition=name, rate=self.rate(having), without=without)

    def _stops(self) -> tuple[Stop, ...]:
        because = {rule.id: rule.because for rule in self.contract.rules}
        times: Counter[tuple[str, str, str]] = Counter()
        trials: Counter[tuple[str, str, str]] = Counter()
        for trial in self.trials:
            for rule, ruling, tool, n in trial.stops:
                times[rule, ruling, tool] += n
                trials[rule, ruling, tool] += 1
        return tuple(
            Stop(
                rule=key[0],
                ruling=cast("Ruling", key[1]),
                tool=key[2],
                times=n,
                trials=trials[key],
                because=because.get(key[0]),
            )
            for key, n in times.most_common()
        )

    def _faults(self) -> FaultCoverage:
        declared: Counter[tuple[str, str]] = Counter()
        reached: Counter[tuple[str, str]] = Counter()
        passed: Counter[tuple[str, str]] = Counter()
        for trial in self.trials:
            for key in {(f.tool, f.kind) for f in trial.faults}:
                declared[key] += 1
            for key in {(f.tool, f.kind) for f in trial.faults if f.reached}:
                reached[key] += 1
                passed[key] += trial.passed
        cells = tuple(
            FaultCell(tool=tool, kind=kind, declared=n, reached=reached[tool, kind], passed=passed[tool, kind])
            for (tool, kind), n in sorted(declared.items())
        )
        return FaultCoverage(cells=cells, possible=len(self.contract.tools) * len(FAULT_KINDS))

    def _notes(self) -> Iterable[str]:
        for note, n in Counter((t.scenario, note) for t in self.trials for note in t.notes).most_common():
            yield f"{note[0]}: {note[1]} in {n} of {self.counts[note[0]].trials} trials"
        for name in self.manifest.bars:
            for criterion in self.contract.capabilities[name].success:
                if criterion.check is None:
                    kind = "an outcome reported later" if criterion.signal is not None else "an opinion"
                    yield f"{name}: {criterion.id} is {kind} and was not judged in these trials"


def _rate(found: Sequence[Count], *, confidence: float) -> Rate:
    passed, failed, errors = sum(c.passed for c in found), sum(c.failed for c in found), sum(c.errors for c in found)
    trials = passed + failed + errors
    if not trials:
        return Rate(trials=0, passed=0, failed=0, errors=0, low=0.0, high=1.0, confidence=confidence)
    interval, method = wilson(passed, trials, confidence=confidence), "wilson"
    if len(found) > 1:
        apart = clustered([(c.passed, c.trials) for c in found], confidence=confidence)
        if apart.high - apart.low > interval.high - interval.low:
            interval, method = apart, "clustered"
    return Rate(
        trials=trials,
        passed=passed,
        failed=failed,
        errors=errors,
        low=interval.low,
        high=interval.high,
        confidence=confidence,
        method=method,
    )


def _pass_k(found: Count | None) -> dict[int, float]:
    if found is None or not found.trials:
        return {}
    ks = [k for k in (1, 2, 4, 8, 16, 32) if k <= found.trials]
    return {k: pass_k(found.passed, found.trials, k) for k in ks}
