"""Pass rates from counts, and how far they can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

from roadworthy.stats.errors import BadCount
from roadworthy.stats.special import beta_quantile, t_quantile


class Interval(NamedTuple):
    """A confidence interval, both ends included."""

    low: float
    high: float


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """The score interval of a rate: close to its stated coverage on average, and never empty at 0 or 1.

    0 <= successes <= trials; 0 <= confidence < 1; two-sided, in [0, 1]. No trials: everything is possible.
    Raises BadCount.  Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209; Brown, Cai, DasGupta, Statist. Sci. 16 (2001)
    101, equation 4.
    """
    _check(successes, trials, confidence)
    if trials == 0:
        return Interval(0.0, 1.0)
    z = _z(confidence)
    rate = successes / trials
    spread = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    centre, scale = rate + z * z / (2 * trials), 1 + z * z / trials
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == trials else (centre + spread) / scale
    return Interval(low, high)


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """The exact interval of a rate: its coverage is never below `confidence`.

    Each end for itself holds with confidence (1 + confidence) / 2.
    0 <= successes <= trials; 0 <= confidence < 1; two-sided, in [0, 1]. No trials: everything is possible.
    Raises BadCount.  Source: Clopper, Pearson, Biometrika 26 (1934) 404, by quantiles of the beta distribution.
    """
    _check(successes, trials, confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else beta_quantile(tail, successes, trials - successes + 1)
    high = 1.0 if successes == trials else beta_quantile(1 - tail, successes + 1, trials - successes)
    return Interval(low, high)


def failure_ceiling(trials: int, confidence: float = 0.95) -> float:
    """The highest failure rate that `trials` trials without a failure leave possible; about 3 / trials at 0.95.

    trials >= 1; 0 <= confidence < 1; one-sided, in [0, 1]. Raises BadCount.
    Source: Hanley, Lippman-Hand, J. Am. Med. Assoc. 249 (1983) 1743, in its exact form.
    """
    _check(trials, trials, confidence)
    if trials == 0:
        raise BadCount("no trials leave everything possible: run one at least")
    return -math.expm1(math.log1p(-confidence) / trials)


def trials_needed(pass_rate: float, confidence: float) -> int:
    """How many trials, all passed, show a rate of at least `pass_rate` at this confidence: 59 for 0.95 at 0.95.

    0 < pass_rate < 1; 0 < confidence < 1; one-sided. Raises BadCount: no number of trials shows a rate of 1.
    Source: the smallest n with pass_rate**n <= 1 - confidence, which is Clopper-Pearson without failures.
    """
    if not 0 < pass_rate < 1:
        raise BadCount(f"a pass rate that trials can show lies between 0 and 1, both excluded: {pass_rate}")
    if not 0 < confidence < 1:
        raise BadCount(f"a confidence that trials can give lies between 0 and 1, both excluded: {confidence}")
    # The slack keeps 0.81 = 0.9 ** 2 from needing a third trial because of the last bit.
    return max(1, math.ceil(math.log1p(-confidence) / math.log(pass_rate) - 1e-9))


def pass_k(successes: int, trials: int, k: int) -> float:
    """The chance that k fresh trials of one scenario all succeed, estimated without bias.

    0 <= successes <= trials, 1 <= k <= trials; a probability in [0, 1].
    Raises BadCount when a bound is broken.  Source: arXiv:2406.12045, C(successes, k) / C(trials, k).
    """
    _check(successes, trials, 0.0)
    if not 1 <= k <= trials:
        raise BadCount(f"pass^{k} cannot be told from {trials} trials: k lies between 1 and their number")
    return math.comb(successes, k) / math.comb(trials, k)


def pass_k_interval(successes: int, trials: int, k: int, confidence: float = 0.95) -> Interval:
    """The interval of the chance that k fresh trials of one scenario all succeed.

    Exact: the ends of `clopper_pearson` to the power of k, because a power keeps order. Unlike the estimate it may ask
    for more trials in a row than were run.  0 <= successes <= trials, k >= 1. Raises BadCount.
    """
    if k < 1:
        raise BadCount(f"k trials in a row are at least one: {k}")
    low, high = clopper_pearson(successes, trials, confidence)
    return Interval(low**k, high**k)


def clustered(clusters: Sequence[tuple[int, int]], confidence: float = 0.95) -> Interval:
    """The interval of the mean rate over scenarios whose trials are alike among themselves.

    `clusters`: successes and trials of each scenario, two scenarios at least; those without trials are left out. The
    mean weighs each trial alike. Where all scenarios have one rate nothing is seen of how they differ, and the
    interval shrinks to a point: report the wider of this one and one of single trials.
    0 <= confidence < 1; two-sided, cut to [0, 1]. Raises BadCount.
    Source: Miller, arXiv:2411.00640, section 2.2 (clustered standard error), with the factor G / (G - 1) and Student's
    t with G - 1 degrees of freedom for few clusters: Cameron, Miller, J. Hum. Resour. 50 (2015) 317, section VI.
    """
    for successes, trials in clusters:
        _check(successes, trials, confidence)
    found = [(s, n) for s, n in clusters if n]
    if len(found) < 2:
        raise BadCount(f"how scenarios differ cannot be told from {len(found)} of them: give two at least")
    passed, total, groups = sum(s for s, _ in found), sum(n for _, n in found), len(found)
    mean = passed / total
    variance = sum((s - n * mean) ** 2 for s, n in found) / total**2 * groups / (groups - 1)
    reach = t_quantile((1 + confidence) / 2, groups - 1) * math.sqrt(variance)
    return Interval(max(0.0, mean - reach), min(1.0, mean + reach))


def difference(
    successes: int, trials: int, base_successes: int, base_trials: int, confidence: float = 0.95
) -> Interval:
    """The interval of a rate minus a base rate, from independent trials.

    Both with at least one trial; 0 <= confidence < 1; two-sided, in [-1, 1]. Raises BadCount.
    Source: Newcombe, Stat. Med. 17 (1998) 873, method 10 (score intervals, no continuity correction).
    """
    if trials == 0 or base_trials == 0:
        raise BadCount("rates cannot be compared without trials: run one at least on each side")
    low, high = wilson(successes, trials, confidence)
    base_low, base_high = wilson(base_successes, base_trials, confidence)
    rate, base = successes / trials, base_successes / base_trials
    gap = rate - base
    return Interval(
        max(-1.0, gap - math.hypot(rate - low, base_high - base)),
        min(1.0, gap + math.hypot(high - rate, base - base_low)),
    )


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _check(successes: int, trials: int, confidence: float) -> None:
    if not 0 <= successes <= trials:
        raise BadCount(f"{successes} successes of {trials} trials cannot be: 0 <= successes <= trials")
    if not 0 <= confidence < 1:
        raise BadCount(f"a confidence lies between 0 and 1, 1 excluded: {confidence}")
