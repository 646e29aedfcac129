"""The desk as the tests of the examples need it: its contract, its scenarios, its plain agent."""

from __future__ import annotations

from pathlib import Path

import pytest

import roadworthy.examples.desk as desk
from roadworthy.contract.model import Contract
from roadworthy.trials.load import load_scenarios
from roadworthy.trials.scenario import Scenario

HOME = Path(desk.__file__).parent


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract.load(HOME / "contract.yaml")


@pytest.fixture(scope="session")
def scenarios(contract: Contract) -> tuple[Scenario, ...]:
    return load_scenarios(HOME / "scenarios", contract=contract)
