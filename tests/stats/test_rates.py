"""Rates and intervals, against scipy, against published figures and against simulation's exact counterpart."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import product
from typing import Any

import pytest
import scipy.stats as reference  # pyright: ignore[reportMissingTypeStubs]
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.stats.errors import BadCount
from roadworthy.stats.paired import mcnemar
from roadworthy.stats.rates import (
    Interval,
    clopper_pearson,
    clustered,
    difference,
    failure_ceiling,
    pass_k,
    pass_k_interval,
    trials_needed,
    wilson,
)
from roadworthy.stats.special import beta_cdf, beta_quantile, t_quantile

_scipy: Any = reference
_GRID = [
    (successes, trials)
    for trials in (1, 2, 3, 7, 10, 59, 100, 1000, 100_000)
    for successes in sorted({0, 1, trials // 3, trials // 2, trials - 1, trials})
]
_CONFIDENCES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 0.9999)


def _counts(most: int = 200) -> st.SearchStrategy[tuple[int, int]]:
    return st.integers(1, most).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(("successes", "trials"), _GRID)
def test_intervals_are_scipys(successes: int, trials: int) -> None:
    for confidence in _CONFIDENCES[1:]:
        for ours, method in ((clopper_pearson, "exact"), (wilson, "wilson")):
            # The tolerance is scipy's: it searches the exact ends to 2e-12.
            theirs = _scipy.binomtest(successes, trials).proportion_ci(confidence, method)
            assert ours(successes, trials, confidence) == pytest.approx(tuple(theirs), rel=1e-9, abs=5e-12)


@pytest.mark.parametrize(("a", "b"), [*product((0.5, 1, 3, 60, 1000, 50_000), repeat=2)])
def test_beta_is_scipys(a: float, b: float) -> None:
    mean, sd = a / (a + b), math.sqrt(a * b / (a + b + 1)) / (a + b)
    for x in (mean - 4 * sd, mean - sd, mean, mean + sd, mean + 4 * sd):
        if 0 < x < 1:
            assert beta_cdf(x, a, b) == pytest.approx(_scipy.beta.cdf(x, a, b), rel=1e-8, abs=1e-14)
    for p in (1e-6, 0.025, 0.5, 0.975, 1 - 1e-6):
        assert beta_quantile(p, a, b) == pytest.approx(_scipy.beta.ppf(p, a, b), rel=1e-8)


@pytest.mark.parametrize("df", [1, 2, 3, 5, 10, 30, 100, 5000])
def test_students_t_is_scipys(df: int) -> None:
    for p in (1e-5, 0.025, 0.4, 0.499, 0.5, 0.501, 0.75, 0.95, 0.975, 0.9999):
        assert t_quantile(p, df) == pytest.approx(_scipy.t.ppf(p, df), rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.93])
@pytest.mark.parametrize("trials", [5, 20, 77])
def test_the_exact_interval_covers_what_it_says(trials: int, p: float) -> None:
    for confidence in (0.5, 0.8, 0.95):
        held = 0.0
        for successes in range(trials + 1):
            low, high = clopper_pearson(successes, trials, confidence)
            held += float(_scipy.binom.pmf(successes, trials, p)) * (low <= p <= high)
        assert held >= confidence - 1e-12


@given(_counts(), st.sampled_from(_CONFIDENCES[1:]))
def test_intervals_hold_the_rate_and_mirror(counts: tuple[int, int], confidence: float) -> None:
    successes, trials = counts
    for interval in (wilson, clopper_pearson):
        low, high = interval(successes, trials, confidence)
        assert 0 <= low <= successes / trials + 1e-12
        assert successes / trials - 1e-12 <= high <= 1
        mirrored = interval(trials - successes, trials, confidence)
        assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high), abs=1e-9)


@given(_counts(60), st.data())
def test_more_confidence_is_never_narrower(counts: tuple[int, int], data: st.DataObject) -> None:
    less, more = sorted(data.draw(st.tuples(st.floats(0, 0.999), st.floats(0, 0.999))))
    for interval in (wilson, clopper_pearson):
        inner, outer = interval(*counts, less), interval(*counts, more)
        assert outer.low <= inner.low + 1e-9
        assert inner.high <= outer.high + 1e-9


def test_without_trials_everything_is_possible() -> None:
    assert wilson(0, 0) == clopper_pearson(0, 0) == Interval(0.0, 1.0)


@pytest.mark.parametrize(
    ("rate", "confidence", "trials"),
    [(0.95, 0.95, 59), (0.9, 0.95, 29), (0.99, 0.95, 299), (0.5, 0.5, 1), (0.9, 0.19, 2), (0.999, 0.9, 2302)],
)
def test_clean_trials_needed(rate: float, confidence: float, trials: int) -> None:
    assert trials_needed(rate, confidence) == trials


@given(st.floats(0.01, 0.999), st.floats(0.01, 0.999))
def test_needed_trials_reach_the_bar_and_one_fewer_do_not(rate: float, confidence: float) -> None:
    n = trials_needed(rate, confidence)
    one_sided = max(2 * confidence - 1, 0.0)
    if confidence >= 0.5:
        assert clopper_pearson(n, n, one_sided).low >= rate - 1e-7
        assert n == 1 or clopper_pearson(n - 1, n - 1, one_sided).low < rate + 1e-7
    assert failure_ceiling(n, confidence) <= 1 - rate + 1e-7


@pytest.mark.parametrize("trials", [30, 59, 100, 1000, 10**6])
def test_the_rule_of_three(trials: int) -> None:
    assert failure_ceiling(trials) == pytest.approx(3 / trials, rel=0.06)
    assert failure_ceiling(trials) == pytest.approx(1 - clopper_pearson(trials, trials, 0.9).low, rel=1e-6)


def test_pass_k_of_the_paper() -> None:
    assert pass_k(3, 4, 1) == 0.75
    assert pass_k(3, 4, 2) == 0.5
    assert pass_k(3, 4, 4) == 0.0
    assert pass_k(10, 10, 8) == 1.0


@given(st.integers(1, 12), st.floats(0, 1), st.data())
def test_pass_k_is_unbiased(trials: int, rate: float, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, trials))
    expected = sum(
        math.comb(trials, c) * rate**c * (1 - rate) ** (trials - c) * pass_k(c, trials, k) for c in range(trials + 1)
    )
    assert expected == pytest.approx(rate**k, abs=1e-9)


@given(_counts(40), st.integers(1, 10))
def test_pass_k_interval_holds_the_plain_power(counts: tuple[int, int], k: int) -> None:
    low, high = pass_k_interval(*counts, k)
    assert low <= (counts[0] / counts[1]) ** k <= high


def test_scenarios_that_differ_widen_the_interval() -> None:
    alike, apart = [(5, 10)] * 10, [(10, 10)] * 5 + [(0, 10)] * 5
    assert clustered(alike) == Interval(0.5, 0.5)
    low, high = clustered(apart)
    # By hand: variance = 10 * 5**2 / 100**2 * 10/9, t(0.975, 9) = 2.262157.
    assert (low, high) == pytest.approx((0.5 - 2.262157 / 6, 0.5 + 2.262157 / 6), abs=1e-6)
    exact = clopper_pearson(50, 100)
    assert high - low > exact.high - exact.low


@given(st.lists(_counts(30), min_size=2, max_size=12))
def test_with_single_trials_the_clustered_interval_is_students(clusters: list[tuple[int, int]]) -> None:
    singles = [(int(s * 2 > n), 1) for s, n in clusters]
    values = [s for s, _ in singles]
    low, high = clustered(singles, 0.9)
    if len(set(values)) == 1:
        assert low == high == values[0]
        return
    theirs = _scipy.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (low, high) == pytest.approx((max(0, theirs.low), min(1, theirs.high)), abs=1e-9)


def test_clusters_without_trials_are_left_out() -> None:
    assert clustered([(1, 4), (0, 0), (3, 4)]) == clustered([(1, 4), (3, 4)])


def test_a_difference_of_rates_as_published() -> None:
    # Newcombe 1998, table II, method 10.
    assert difference(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert difference(9, 10, 3, 10) == pytest.approx((0.1705, 0.8090), abs=5e-5)
    assert difference(10, 10, 0, 20) == pytest.approx((0.6791, 1.0), abs=5e-5)
    assert difference(5, 56, 0, 29) == pytest.approx((-0.0381, 0.1926), abs=5e-5)


@given(_counts(), _counts())
def test_a_difference_changes_sign_with_its_sides(first: tuple[int, int], second: tuple[int, int]) -> None:
    low, high = difference(*first, *second)
    assert difference(*second, *first) == pytest.approx((-high, -low), abs=1e-12)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int) -> None:
    n = first + second
    expected = _scipy.binomtest(first, n, 0.5).pvalue if n else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-8, abs=1e-300)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: wilson(3, 2),
        lambda: wilson(-1, 2),
        lambda: clopper_pearson(1, 2, 1.0),
        lambda: clopper_pearson(1, 2, -0.1),
        lambda: wilson(1, 2, math.nan),
        lambda: pass_k(1, 2, 3),
        lambda: pass_k(1, 2, 0),
        lambda: pass_k_interval(1, 2, 0),
        lambda: trials_needed(1.0, 0.95),
        lambda: trials_needed(0.95, 1.0),
        lambda: trials_needed(0.0, 0.95),
        lambda: failure_ceiling(0),
        lambda: clustered([(1, 2)]),
        lambda: clustered([(1, 2), (0, 0)]),
        lambda: clustered([(1, 2), (3, 2)]),
        lambda: difference(0, 0, 1, 2),
        lambda: mcnemar(-1, 2),
    ],
)
def test_what_cannot_be_counted_is_refused(wrong: Any) -> None:
    with pytest.raises(BadCount):
        wrong()


def test_no_heavy_library_is_imported() -> None:
    code = (
        "import sys, roadworthy.stats.rates, roadworthy.stats.paired\n"
        "print([m for m in ('numpy', 'scipy', 'pydantic', 'roadworthy.core.errors') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
