"""The release verdict is a pure function of manifest and counts, and errs on the careful side."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from roadworthy.stats.rates import trials_needed
from roadworthy.trials.release import Count, Judgement, count, judge
from roadworthy.trials.results import BarEntry, FaultHit, Manifest, ScenarioEntry, TrialResult


def manifest(
    scenarios: dict[str, tuple[str, bool]], bars: dict[str, tuple[str, str] | None], *, trials: int = 10
) -> Manifest:
    return Manifest(
        agent="a",
        version="1",
        contract="c",
        tried="m:f",
        world="w",
        ground="in memory",
        scenarios=tuple(
            ScenarioEntry(
                id=name, digest="d", capability=capability, conditions=("curated",), must_pass=must, level="autonomous"
            )
            for name, (capability, must) in scenarios.items()
        ),
        bars={n: BarEntry(pass_rate=b[0], confidence=b[1]) if b else None for n, b in bars.items()},
        trials=trials,
        seed=1,
        scorers=("diff@1",),
        roadworthy="0",
    )


def verdict(
    counts: dict[str, tuple[int, int, int]], *, bar: tuple[str, str] | None = ("0.90", "0.95"), must: bool = False
) -> Judgement:
    trials = max((sum(c) for c in counts.values()), default=10)
    made = manifest({name: ("refunds", must) for name in counts}, {"refunds": bar}, trials=trials)
    return judge(made, {n: Count(passed=p, failed=f, errors=e) for n, (p, f, e) in counts.items()})


@pytest.mark.parametrize(
    ("counts", "more", "expected", "said"),
    [
        ({"a": (29, 0, 0)}, {}, "PASS", "at least 90.2 %"),
        ({"a": (28, 0, 0)}, {}, "INCONCLUSIVE", "about 1 more trials"),
        ({"a": (70, 30, 0)}, {}, "BLOCK", "surely below the 90 % at 95 % confidence"),
        ({"a": (85, 15, 0)}, {}, "INCONCLUSIVE", "more trials would not show it"),
        ({"a": (60, 0, 0), "b": (58, 2, 0)}, {"bar": ("0.85", "0.95")}, "PASS", "118 of 120"),
        ({"a": (60, 0, 0), "b": (58, 2, 0)}, {}, "INCONCLUSIVE", "add scenarios"),
        ({"a": (100, 0, 0), "b": (100, 0, 0), "c": (65, 35, 0)}, {}, "INCONCLUSIVE", "would not show it"),
        ({"a": (400, 0, 0), "b": (400, 0, 0), "c": (320, 80, 0)}, {}, "INCONCLUSIVE", "add scenarios"),
        ({"a": (99, 1, 0)}, {"must": True}, "BLOCK", "a must pass and failed 1 of 100 times"),
        ({"a": (1000, 0, 0), "b": (0, 10, 0)}, {}, "BLOCK", "b passed 0 of 10 times"),
        ({"a": (4, 0, 0)}, {"bar": None}, "PASS", ""),
        ({"a": (0, 1, 0)}, {"bar": None}, "BLOCK", "asks for no evidence, and 1 of 1 trial failed: add `evidence`"),
        ({"a": (0, 4, 0)}, {"bar": None}, "BLOCK", "asks for no evidence, and 4 of 4 trials failed: add `evidence`"),
        ({"a": (99, 1, 0)}, {"bar": None}, "INCONCLUSIVE", "and 1 of 100 trials failed: add `evidence`"),
        ({"a": (9, 0, 0), "b": (0, 3, 0)}, {"bar": None}, "INCONCLUSIVE", "b passed none of 3 trials"),
        ({"a": (5, 4, 1)}, {"bar": None}, "ERROR", "1 trial of 10 broke"),
        ({"a": (0, 3, 1)}, {"bar": None}, "ERROR", "and 3 of 4 trials failed"),  # it might have passed
        ({f"s{i}": (3, 0, 0) for i in range(60)} | {"z": (0, 3, 0)}, {}, "INCONCLUSIVE", "z passed none of 3 trials"),
        ({"a": (0, 5, 0)}, {"bar": None}, "BLOCK", "surely less often than 50 %"),
        ({"a": (99, 0, 1)}, {}, "ERROR", "1 trial of 100 broke"),
        ({"a": (50, 49, 1)}, {}, "BLOCK", "50 of 100 passed"),
        ({"a": (0, 0, 10)}, {}, "ERROR", "10 trials of 10 broke"),
        ({"a": (0, 1, 9)}, {"must": True}, "BLOCK", "must pass"),
        ({"a": (0, 0, 0)}, {}, "INCONCLUSIVE", "no trial was run"),
        ({"a": (100, 0, 0), "b": (90, 0, 0)}, {}, "INCONCLUSIVE", "only 90 of 100 trials were run"),
    ],
)
def test_verdicts(counts: Any, more: dict[str, Any], expected: str, said: str) -> None:
    found = verdict(counts, **more)
    assert found.release.verdict == expected, found.release.reasons
    assert not said or any(said in reason for reason in found.release.reasons), found.release.reasons
    assert found.release.exit_code == {"PASS": 0, "BLOCK": 1, "ERROR": 2, "INCONCLUSIVE": 3}[expected]


@pytest.mark.parametrize(("counts", "expected"), [((100, 0, 0), "INCONCLUSIVE"), ((50, 50, 0), "BLOCK")])
def test_what_was_not_enforced_never_passes(counts: tuple[int, int, int], expected: str) -> None:
    passed, failed, errors = counts
    enforced = manifest({"a": ("refunds", False)}, {"refunds": ("0.90", "0.95")}, trials=100)
    watched = replace(enforced, enforce=False)
    assert watched.digest != enforced.digest
    found = judge(watched, {"a": Count(passed=passed, failed=failed, errors=errors)}).release
    assert found.verdict == expected
    assert any("not enforced" in reason for reason in found.reasons)


@pytest.mark.parametrize("must", [False, True])
def test_faults_that_no_trial_reached_show_nothing(must: bool) -> None:
    made = manifest({"a": ("refunds", must)}, {"refunds": ("0.50", "0.90")})

    def found(*reached: tuple[bool, bool]) -> Judgement:
        trials = [
            TrialResult(
                scenario="a",
                index=i,
                seed=i,
                capability="refunds",
                conditions=("messy",),
                status="passed",
                faults=(
                    FaultHit(tool="shop.refund", kind="error_500", call=2, reached=fault),
                    FaultHit(tool="shop.find", kind="attack", call=1, reached=attack),
                ),
            )
            for i, (fault, attack) in enumerate(reached)
        ]
        return judge(made, count(trials))

    assert found(*[(False, True)] * 5, *[(True, False)] * 5).release.verdict == "PASS"
    unmet = found(*[(False, True)] * 10)
    assert unmet.scenarios["a"].verdict == unmet.release.verdict == "INCONCLUSIVE"
    assert unmet.release.reasons == (
        "a: the error_500 in shop.refund (call 2) was never reached, so it was not tried: mend the scenario",
    )


def test_a_capability_that_is_asked_for_and_not_tried_is_open() -> None:
    made = manifest({"a": ("refunds", False)}, {"refunds": ("0.5", "0.9"), "resets": ("0.5", "0.9")})
    found = judge(made, {"a": Count(passed=10)})
    assert found.capabilities["refunds"].verdict == "PASS"
    assert found.release.verdict == "INCONCLUSIVE"
    assert found.release.reasons == ("resets: no scenario tries it, and the contract asks for evidence",)


def test_the_number_of_clean_trials_is_the_one_that_check_names() -> None:
    needed = trials_needed(0.95, 0.95)
    assert verdict({"a": (needed, 0, 0)}, bar=("0.95", "0.95")).release.verdict == "PASS"
    assert verdict({"a": (needed - 1, 0, 0)}, bar=("0.95", "0.95")).release.verdict == "INCONCLUSIVE"


def test_a_bad_agent_seldom_passes_and_a_good_one_is_seldom_blocked() -> None:
    dice = random.Random(5)

    def verdicts(rate: float) -> list[str]:
        found: list[str] = []
        for _ in range(300):
            passed = sum(dice.random() < rate for _ in range(100))
            found.append(verdict({"a": (passed, 100 - passed, 0)}).release.verdict)
        return found

    assert verdicts(0.90).count("PASS") <= 300 * 0.08  # the bound is 5 %, and this a sample
    assert verdicts(0.90).count("BLOCK") <= 300 * 0.08
    assert verdicts(0.80).count("BLOCK") > 240
    assert verdicts(0.99).count("PASS") > 290


def test_more_trials_are_named_so_that_they_suffice() -> None:
    found = verdict({"a": (38, 1, 0)}).capabilities["refunds"]
    assert found.more_trials is not None
    n = 39 + found.more_trials
    passed = int(38 / 39 * n)
    assert verdict({"a": (passed, n - passed, 0)}).release.verdict == "PASS"
    assert verdict({"a": (int(38 / 39 * (n - 2)), n - 2 - int(38 / 39 * (n - 2)), 0)}).release.verdict == "INCONCLUSIVE"


def test_an_error_never_helps() -> None:
    order = ["PASS", "INCONCLUSIVE", "ERROR", "BLOCK"]
    for passed in range(0, 40, 3):
        for failed in range(0, 40 - passed, 4):
            clean = verdict({"a": (passed + 1, failed, 0)}).release.verdict
            broken = verdict({"a": (passed, failed, 1)}).release.verdict
            assert broken in ("ERROR", "BLOCK")
            assert order.index(broken) >= order.index(clean)
