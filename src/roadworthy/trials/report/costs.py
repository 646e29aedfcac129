"""What each condition costs beside curated trials."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from roadworthy.trials.report.wording import AXIS
from roadworthy.trials.results import Rate, TestReport


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


def costs_of(report: TestReport) -> tuple[Cost, ...]:
    """The conditions of the test, the costliest first."""
    curated = {c.capability: c.curated for c in report.capabilities if c.curated.trials}
    found: list[Cost] = []
    for condition in report.conditions:
        if condition.condition in AXIS or condition.capability is not None or not condition.rate.trials:
            continue
        trials = [t for t in report.trials if condition.condition in t.conditions]
        mix = Counter(t.capability for t in trials if t.capability in curated)
        if not mix:
            continue
        base = mixed(mix, curated)
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


def mixed(mix: Mapping[str, int], rates: Mapping[str, Rate]) -> Rate:
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
