"""Tests that need the agent frameworks; `make test-frameworks` runs them in an environment that has them."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger

_HERE = Path(__file__).parent
_NEEDED = ("langgraph", "langchain", "autogen_agentchat", "crewai", "agents", "pydantic_ai", "agent_framework")
_MISSING = [name for name in _NEEDED if find_spec(name) is None]

sys.path[:0] = [str(_HERE), str(_HERE.parent / "adapters"), str(_HERE.parents[1] / "bench")]
pytest.register_assert_rewrite("conformance", "crowd")

collect_ignore_glob = ["test_*.py"] if _MISSING else []

if not _MISSING:
    # Frameworks warn while they are imported, and here warnings are errors; the tests themselves stay strict.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (
            "autogen_agentchat.agents",
            "autogen_ext.models.openai",
            "langchain.agents",
            "langchain_openai",
            "roadworthy.examples.scripted.crewai",
            "agents",
            "pydantic_ai",
        ):
            import_module(name)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.open(":memory:")


@pytest.fixture
def gate(ledger: Ledger) -> Gate:
    """Of the contract that most tests here go by; a file that has another one has its own gate."""
    from conformance import CONTRACT

    return Gate(Contract.loads(CONTRACT), ledger)


@pytest.fixture
def careful(ledger: Ledger) -> Gate:
    """Of the same contract, with replies that are held back."""
    from conformance import CAREFUL

    return Gate(Contract.loads(CAREFUL), ledger)


@pytest.fixture
def shop() -> Any:
    from conformance import Shop

    return Shop()


_OF_FRAMEWORKS = (
    "ignore::DeprecationWarning:crewai",  # it reads its own deprecated fields
)
"""Warnings of frameworks about themselves, which no user of theirs can mend."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.frameworks)
            for known in _OF_FRAMEWORKS:
                item.add_marker(pytest.mark.filterwarnings(known))
