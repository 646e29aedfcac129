"""Two agents in the same worlds, with the same users, faults and seeds, trial by trial."""

from __future__ import annotations

from roadworthy.stats.errors import BadCount
from roadworthy.stats.special import binomial_tail


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p-value of "both pass equally often", from the pairs in which only one of the two passed.

    Exact. Pairs in which both passed or both failed say nothing about which is better, and do not count.
    Both counts >= 0; the p-value lies in (0, 1]. Raises BadCount.
    Source: McNemar, Psychometrika 12 (1947) 153, with the binomial distribution in place of chi-square.
    """
    if only_first < 0 or only_second < 0:
        raise BadCount(f"pairs cannot be fewer than none: {only_first}, {only_second}")
    n = only_first + only_second
    if only_first == only_second:
        return 1.0
    return min(1.0, 2.0 * binomial_tail(max(only_first, only_second), n, 0.5))
