"""The incomplete beta function and its inverse, from which the exact intervals and Student's t come.

In plain Python, so that a contract can be checked and a trial counted without the weight of scipy.
"""

from __future__ import annotations

import math
from functools import lru_cache

_TINY = 1e-300
_EPS = 1e-15
_MOST_TERMS = 100_000


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b): the chance that a Beta(a, b) variable is at most x.

    0 <= x <= 1; a, b > 0.  Source: NIST Digital Library of Mathematical Functions, section 8.17(v), evaluated by
    Lentz's method (Press et al., Numerical Recipes, 3rd ed., section 6.4).
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    front = math.exp(log_front)
    if x < (a + 1.0) / (a + b + 2.0):  # where the fraction converges fast
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1.0 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c = 1.0
    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    result = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = 1.0 + term / c
            c = c if abs(c) > _TINY else _TINY
            result *= d * c
        if abs(d * c - 1.0) < _EPS:
            break
    return result


@lru_cache(maxsize=4096)
def beta_quantile(p: float, a: float, b: float) -> float:
    """The x for which a Beta(a, b) variable is at most x with chance p.  0 <= p <= 1; a, b > 0."""
    if p <= 0.0:
        return 0.0
    if p >= 1.0:
        return 1.0
    # Newton's steps, and a halving of the bracket wherever a step would leave it.
    low, high = 0.0, 1.0
    x = a / (a + b)
    log_scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    for _ in range(200):
        above = beta_cdf(x, a, b) - p
        if above > 0.0:
            high = x
        else:
            low = x
        log_density = log_scale + (a - 1.0) * math.log(x) + (b - 1.0) * math.log1p(-x)
        step = above / math.exp(log_density) if log_density > -700.0 else math.inf
        following = x - step
        if not low < following < high:
            following = (low + high) / 2.0
        if abs(following - x) <= 1e-15 * x or following in (low, high):
            return following
        x = following
    return x


def t_quantile(p: float, df: float) -> float:
    """The p-quantile of Student's t with `df` degrees of freedom.  0 < p < 1, df > 0.

    Source: DLMF 8.17; P(|T| > t) = I_x(df/2, 1/2) with x = df / (df + t**2).
    """
    if p == 0.5:
        return 0.0
    tail = 2.0 * min(p, 1.0 - p)
    x = beta_quantile(tail, df / 2.0, 0.5)
    # Where x is near 1 its distance from 1 is what matters, so that is asked for directly.
    rest = beta_quantile(1.0 - tail, 0.5, df / 2.0) if x > 0.5 else 1.0 - x
    t = math.sqrt(df * rest / x)
    return t if p > 0.5 else -t


def binomial_tail(at_least: int, n: int, p: float) -> float:
    """The chance of `at_least` or more successes in n independent trials of chance p."""
    if at_least <= 0:
        return 1.0
    if at_least > n:
        return 0.0
    return beta_cdf(p, at_least, n - at_least + 1)
