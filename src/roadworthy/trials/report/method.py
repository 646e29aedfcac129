"""How it was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC

from roadworthy.trials.report.wording import curated, percent, plural, required_percent
from roadworthy.trials.results import TestReport


def method_of(report: TestReport) -> Iterable[tuple[str, str]]:
    """Terms and what they were in this test."""
    manifest = report.manifest
    yield "Agent", f"{manifest.agent}, contract version {manifest.version}, tried as {manifest.tried}"
    if manifest.about:
        yield "Of itself", f"\u201c{manifest.about}\u201d"
    yield "Contract", f"digest {manifest.contract}"
    yield "Gate", "enforcing the contract" if report.enforced else "watching only: nothing was stopped"
    yield "World", f"{manifest.world}, {manifest.ground}; a fresh one for every trial"
    yield "Levels", _levels(report)
    yield "Approver", _approvers(report)
    mix = Counter("curated" if curated(s) else "messy" for s in report.scenarios)
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
