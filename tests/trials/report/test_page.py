"""The numbers of a report, from the results alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from roadworthy.trials.report.page import page_of
from roadworthy.trials.report.plots import RATES, curve, curve_ticks, difference_scale
from roadworthy.trials.report.wording import percent, points, required_percent, sentence
from roadworthy.trials.results import TestReport, TrialResult


def _some(scenario: str, conditions: tuple[str, ...], passed: int, count: int) -> list[TrialResult]:
    return [
        TrialResult(
            scenario=scenario,
            index=i,
            seed=i,
            capability="billing_question",
            conditions=conditions,
            status="passed" if i < passed else "failed",
            why=() if i < passed else ("the agent crashed: KeyError: 'total'",),
        )
        for i in range(count)
    ]


def test_the_interval_of_a_cost_is_newcombes(build_report: Callable[[list[TrialResult]], TestReport]) -> None:
    # Statistics in Medicine 17 (1998), example (a) of table II, method 10: 56/70 - 48/80 is 0.2000 (0.0524, 0.3339).
    trials = _some("refund-known-invoice", ("curated",), 48, 80)
    trials += _some("refund-timeout", ("messy", "timeout_after_commit"), 56, 70)
    (cost,) = page_of(build_report(trials)).costs
    assert cost.delta == pytest.approx(0.2)
    assert (cost.low, cost.high) == (pytest.approx(0.0524, abs=5e-4), pytest.approx(0.3339, abs=5e-4))


def test_a_condition_is_compared_with_curated_trials_of_its_own_capabilities(report: TestReport) -> None:
    costs = {c.condition: c for c in page_of(report).costs}
    assert set(costs) == {
        "ambiguous_name", "colliding_ids", "injection", "missing_field", "other_language", "timeout_after_commit",
        "two_topics",
    }  # fmt: skip
    routing = next(c for c in report.capabilities if c.capability == "routing")
    assert costs["two_topics"].base == routing.curated
    assert page_of(report).costs[0].condition == "timeout_after_commit"


def test_a_hard_capability_does_not_pass_for_a_hard_condition(
    build_report: Callable[[list[TrialResult]], TestReport],
) -> None:
    # The condition is met 30 times where curated trials always pass and 10 times where they pass half the time.
    trials = _some("refund-known-invoice", ("curated",), 20, 20)
    trials += _some("refund-timeout", ("messy", "late"), 30, 30)
    easy = [replace(t, capability="routing") for t in _some("route-parcel", ("curated",), 10, 20)]
    hard = [replace(t, capability="routing") for t in _some("route-two-topics", ("messy", "late"), 5, 10)]
    (cost,) = page_of(build_report(trials + easy + hard)).costs
    assert cost.delta == pytest.approx(0.0, abs=0.02)
    assert cost.low < 0 < cost.high


def test_failures_under_one_condition_are_mended_together(
    build_report: Callable[[list[TrialResult]], TestReport],
) -> None:
    trials = _some("refund-known-invoice", ("curated",), 10, 10)
    lost = _some("refund-timeout", ("messy", "timeout_after_commit"), 0, 4)
    lost = [replace(t, why=(f"forbidden: refund {t.index} of '{t.seed}'", "ended escalated")) for t in lost]
    lost += [
        replace(t, capability="routing", why=("missing: update of tickets", "missing: mail"), index=t.index + 4)
        for t in _some("route-two-topics", ("messy", "timeout_after_commit"), 1, 3)
        if not t.passed
    ]
    (mend,) = page_of(build_report(trials + lost)).mends
    assert (mend.title, mend.lost, mend.share) == ("timeout after commit", 6, 1.0)
    assert mend.whys == (
        "Forbidden: refund 0 of '0' (4 trials).",
        "Ended escalated (4).",
        "Missing: update of tickets (2), mail (2).",
    )
    assert [(lift.capability, lift.now, lift.then) for lift in mend.lifts] == [
        ("billing_question", 10 / 14, 1.0),
        ("routing", 0.0, 1.0),
    ]


def test_failures_under_no_condition_are_counted_by_capability(
    build_report: Callable[[list[TrialResult]], TestReport],
) -> None:
    (mend,) = page_of(build_report(_some("refund-known-invoice", ("curated",), 6, 10))).mends
    assert (mend.title, mend.lost) == ("billing_question", 4)
    assert mend.whys == ("The agent crashed: KeyError: 'total'.",)


def test_what_costs_most_stands_first(report: TestReport) -> None:
    page = page_of(report)
    assert [m.lost for m in page.mends] == sorted((m.lost for m in page.mends), reverse=True)
    assert sum(m.lost for m in page.mends) == page.lost == report.total.trials - report.total.passed
    assert page.mends[0].title == "timeout after commit"


def test_stops_are_counted_by_rule_with_a_case_each(report: TestReport) -> None:
    ask, deny, access = page_of(report).stops
    assert (ask.rule, ask.times, ask.because) == ("refund-above-50-asks", 61, "Finance signs refunds above 50 EUR.")
    assert ask.call == 'billing.refund(account_no: "12345678", invoice_no: "4711", amount: "80.00")'
    assert (deny.rule, deny.scenario != "", deny.anchor is not None) == ("one-refund-per-run", True, True)
    assert (access.rule, access.times, access.call) == ("access", 10, "")
    assert access.tools == (("billing.find_account", 7), ("mail.send", 3))


def test_different_reasons_are_shown_before_more_of_the_same(report: TestReport) -> None:
    def why(t: TrialResult) -> TrialResult:
        odd = t.scenario == "refund-timeout" and t.index == 15
        return replace(t, why=("the agent crashed: KeyError: 'total'",)) if odd else t

    page = page_of(replace(report, trials=[why(t) for t in report.trials]))
    shown = next(g for g in page.failures if g.scenario.scenario == "refund-timeout").shown
    assert [f.trial.index for f in shown] == [0, 1, 15]


def test_the_curve_of_a_capability_is_the_mean_over_its_scenarios(report: TestReport) -> None:
    curves = {c.capability: c for c in page_of(report).curves}
    scenarios = [s for s in report.scenarios if s.capability == "routing" and "messy" in s.conditions]
    assert curves["routing"].messy[2] == pytest.approx(sum(s.pass_k[2] for s in scenarios) / 2)
    assert curves["routing"].messy[1] >= curves["routing"].messy[2] >= curves["routing"].messy[16]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.614, "61"), (0, "0"), (1, "100"), (0.999, "99.9"), (0.9999, ">99.9"), (0.004, "0.4"), (0.00001, "<0.1")],
)
def test_nearly_all_is_never_shown_as_all(value: float, shown: str) -> None:
    assert percent(value) == f"{shown}\u202f%"


def test_numbers_in_words() -> None:
    assert [points(v) for v in (-0.9, 0.0, 0.126)] == ["\u221290", "0", "+13"]
    assert [required_percent(v) for v in (0.98, 0.995, 1.0)] == ["98\u202f%", "99.5\u202f%", "100\u202f%"]
    assert sentence("missing: insert of mail.sent") == "Missing: insert of mail.sent."
    assert sentence("routing: 4 of 9 passed") == "routing: 4 of 9 passed."


def test_marks_stay_inside_the_plot() -> None:
    assert RATES.x(0) == "1.50%"
    assert RATES.x(1) == RATES.x(1.7) == "98.50%"
    scale = difference_scale(-0.3, 0.1)
    assert (scale.low, scale.high) == (-0.5, 0.25)
    assert [t.text for t in scale.ticks(0.25, signed=True)] == ["\u221250", "\u221225", "0", "+25"]
    dots, segments = curve({1: 1.0, 2: 0.5, 4: 0.0}, 4)
    assert [d.y for d in dots] == ["10.0", "70.0", "130.0"]
    assert len(segments) == 2
    assert [t.text for t in curve_ticks(16)] == ["k = 1", "2", "4", "8", "16"]
    assert [t.text for t in curve_ticks(1)] == ["k = 1"]
