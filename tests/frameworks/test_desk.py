"""The desk's agent in every framework: the same trials, the same outcome, turn by turn."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import roadworthy.examples.desk as desk
from roadworthy.contract.model import Contract
from roadworthy.trials.load import load_scenarios
from roadworthy.trials.results import TestReport
from roadworthy.trials.runner import run_trials
from roadworthy.trials.scenario import Scenario

HOME = Path(desk.__file__).parent
FRAMEWORKS = ["langgraph", "autogen", "crewai", "openai_agents", "pydantic_ai", "agent_framework"]


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract.load(HOME / "contract.yaml")


@pytest.fixture(scope="module")
def scenarios(contract: Contract) -> tuple[Scenario, ...]:
    return load_scenarios(HOME / "scenarios", contract=contract)


def run(contract: Contract, framework: str, scenarios: tuple[Scenario, ...], *, enforce: bool = True) -> TestReport:
    agent = f"roadworthy.examples.desk.agents.{framework}:agent"
    return run_trials(contract, agent, scenarios, trials=1, seed=5, enforce=enforce)


def outcome(report: TestReport) -> list[tuple[Any, ...]]:
    """All of a trial but how long it took, and the name of the test in keys that are made of it."""
    return [
        (
            *(t.scenario, t.seed, t.status, t.why, t.ending, t.calls, t.verdicts, t.stops, t.turns, t.transcript),
            re.sub(r"test-[0-9a-f]{8}", "test", repr(t.changes)),
        )
        for t in report.trials
    ]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_same_outcome_as_in_plain_python(
    contract: Contract, scenarios: tuple[Scenario, ...], framework: str
) -> None:
    assert outcome(run(contract, framework, scenarios)) == outcome(run(contract, "plain", scenarios))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_same_harm_without_the_gate(contract: Contract, scenarios: tuple[Scenario, ...], framework: str) -> None:
    harmful = tuple(s for s in scenarios if "injected_instruction" in s.conditions or "overlapping_ids" in s.conditions)
    found = run(contract, framework, harmful, enforce=False)
    assert outcome(found) == outcome(run(contract, "plain", harmful, enforce=False))
    assert found.total.passed == 0
