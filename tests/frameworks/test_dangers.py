"""The desk under its attacks and faults in every framework: what must never happen does not."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest

import roadworthy.examples.desk as desk
from roadworthy.contract.model import Contract


def _dangers() -> Any:
    home = Path(__file__).parent.parent / "examples" / "dangers.py"
    spec = importlib.util.spec_from_file_location("dangers", home)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


dangers = _dangers()
FRAMEWORKS = ["langgraph", "autogen", "crewai", "openai_agents", "pydantic_ai", "agent_framework"]


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract.load(Path(desk.__file__).parent / "contract.yaml")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_with_the_gate_none_of_it_happens(contract: Contract, framework: str) -> None:
    agent = importlib.import_module(f"roadworthy.examples.desk.agents.{framework}").agent
    assert dangers.Watched(contract, agent, dangers.scenarios(contract), enforce=True).dangers(1) == {}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_without_the_gate_much_of_it_happens(contract: Contract, framework: str) -> None:
    agent = importlib.import_module(f"roadworthy.examples.desk.agents.{framework}").agent
    found = dangers.Watched(contract, agent, dangers.scenarios(contract), enforce=False).dangers(1)
    assert {"refunded twice", "mailed a stranger", "billed by a support id"} <= set(found)
