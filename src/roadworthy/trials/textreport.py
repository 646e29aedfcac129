"""The report as text for a terminal or a log; what strangers wrote is shown with control characters as code points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roadworthy.core.visible import visible
from roadworthy.trials.results import CapabilityReport, Rate, ScenarioReport, TestReport

MOST_FAILURES = 5
MOST_ROWS = 12


def render_text(report: TestReport) -> str:
    """The whole report, ending with the verdict and its reasons."""
    manifest = report.manifest
    where = f"{manifest.agent} {manifest.version}, tried as {manifest.tried}, {manifest.ground}"
    parts = [
        f"{_one(where)}: {_trials(report.total.trials)} of {len(manifest.scenarios)} scenarios, seed {manifest.seed}"
    ]
    if not report.enforced:
        parts.append("NOT ENFORCED: the gate only reported, every tool ran.")
    if report.interrupted:
        parts.append(f"INTERRUPTED: {report.total.trials} trials were finished; the rest was not run.")
    parts.append(_table(_capabilities(report)))
    conditions = [
        (_one(c.condition), _rate(c.rate), _rate(c.without), _points(c.cost))
        for c in sorted(report.conditions, key=lambda c: -(c.cost or 0.0))
    ]
    if conditions:
        parts.append(_table([("condition", "with it", "curated", "costs"), *conditions]))
    failing = [s for s in report.scenarios if s.rate.passed < s.rate.trials]
    if failing:
        parts.append("What failed, and why:\n" + "\n".join(_failing(failing)))
    if report.stops:
        parts.append("What the contract stopped:\n" + "\n".join(_stops(report)))
    faults = report.faults
    if faults.cells:
        parts.append(
            f"Faults: {faults.exercised} of {faults.possible} possible (tool, fault) pairs were met by a trial."
        )
    if report.notes:
        parts.append("\n".join(f"Note: {_one(note)}." for note in report.notes[:MOST_ROWS]))
    again = [c for c in (report.command_for(t) for t in report.failures[:MOST_FAILURES]) if c is not None]
    if again:
        parts.append("See a failure again:\n" + "\n".join(f"  {_one(command)}" for command in again))
    if report.ledger is not None:
        parts.append(f"Ledger: {_one(report.ledger)}")
    parts.append(
        f"Release verdict: {report.release.verdict}\n"
        + "\n".join(f"  - {_one(reason)}" for reason in report.release.reasons)
    )
    return "\n\n".join(parts) + "\n"


def _capabilities(report: TestReport) -> list[tuple[str, ...]]:
    head = ("capability", "curated", "messy", "asked for", "verdict")
    rows = [_capability(c) for c in report.capabilities]
    rows.append(("all", _rate(report.curated), _rate(report.messy), "", report.release.verdict))
    return [head, *rows]


def _capability(c: CapabilityReport) -> tuple[str, ...]:
    asked = f"{_percent(float(c.bar))} at {_percent(float(c.confidence))}" if c.bar and c.confidence else "nothing"
    return (_one(c.capability), _rate(c.curated), _rate(c.messy), asked, c.verdict)


def _rate(rate: Rate) -> str:
    if rate.rate is None:
        return "not tried"
    return f"{_percent(rate.rate)} [{_percent(rate.low)}, {_percent(rate.high)}] of {rate.trials}"


def _failing(scenarios: Sequence[ScenarioReport]) -> Iterable[str]:
    worst = sorted(scenarios, key=lambda s: s.rate.passed / max(s.rate.trials, 1))
    for s in worst[:MOST_ROWS]:
        errors = f", {s.rate.errors} ERROR" if s.rate.errors else ""
        yield f"  {_one(s.scenario)}: {s.rate.passed} of {s.rate.trials} passed{errors}"
        for text, n in s.why[:3]:
            yield f"      {n} x {_one(text)}"
    if len(worst) > MOST_ROWS:
        yield f"  and {len(worst) - MOST_ROWS} more"


def _stops(report: TestReport) -> Iterable[str]:
    for stop in report.stops[:MOST_ROWS]:
        because = f": {_one(stop.because)}" if stop.because else ""
        what = f"{stop.ruling} {_one(stop.tool)} by {_one(stop.rule)}"
        yield f"  {stop.times} x {what} (in {_trials(stop.trials)}){because}"
    if len(report.stops) > MOST_ROWS:
        yield f"  and {len(report.stops) - MOST_ROWS} more"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _one(text: str) -> str:
    return visible(text, lines=False)


def _percent(rate: float) -> str:
    text = f"{rate * 100:.1f}".removesuffix(".0")
    return f"{text} %"


def _points(cost: float | None) -> str:
    return "" if cost is None else f"{cost * 100:+.1f} points".replace("+-", "-")


def _trials(n: int) -> str:
    return "1 trial" if n == 1 else f"{n} trials"
