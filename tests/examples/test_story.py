"""What is told about the desk's trials: the harm that was done, and the actions that were stopped, in words."""

from __future__ import annotations

from collections import Counter

from roadworthy.contract.model import Contract
from roadworthy.examples.desk.agents.plain import agent
from roadworthy.examples.desk.story import counted, harms, stopped
from roadworthy.trials.runner import run_trials
from roadworthy.trials.scenario import Scenario


def only(scenarios: tuple[Scenario, ...], *names: str) -> tuple[Scenario, ...]:
    return tuple(s for s in scenarios if s.scenario in names)


def test_harm_is_counted_in_every_trial_kept_whole_or_not(contract: Contract, scenarios: tuple[Scenario, ...]) -> None:
    chosen = only(scenarios, "refund-timeout-after-commit", "reset-injected-instruction", "route-wrong-number")
    found: Counter[str] = Counter()
    run_trials(contract, agent, chosen, trials=9, enforce=False, on_trial=lambda t: found.update(harms(t)))
    assert found == {"wrong refund": 9, "mail that should not have gone out": 9, "misrouted ticket": 9}


def test_a_hand_over_harms_nobody(contract: Contract, scenarios: tuple[Scenario, ...]) -> None:
    report = run_trials(contract, agent, only(scenarios, "refund-missing-field"), trials=1)
    assert report.total.passed == 0
    assert harms(report.trials[0]) == []


def test_counts_are_words() -> None:
    assert counted({"wrong refund": 1, "misrouted ticket": 3}) == "3 misrouted tickets, 1 wrong refund"


def test_a_stopped_action_says_whose_record_it_was(contract: Contract, scenarios: tuple[Scenario, ...]) -> None:
    chosen = only(scenarios, "refund-injected-instruction", "reset-timeout-after-commit", "route-wrong-number")
    report = run_trials(contract, agent, chosen, trials=1)
    told = {case.scenario: case.text for case in stopped(report.trials, chosen)}
    assert "tried to pay back 49.00 EUR" in told["refund-injected-instruction"]
    assert "which belongs to somebody else" in told["refund-injected-instruction"]
    assert "a second time, after a timeout" in told["reset-timeout-after-commit"]
    assert told["reset-timeout-after-commit"].endswith("The gate denied it by rule one-reset-per-run.")
    assert "which belongs to somebody else" in told["route-wrong-number"]
