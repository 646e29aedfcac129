"""The public names are exactly the ones that were promised, and each of them is what its home says."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import roadworthy

NAMES = {
    "Action": "roadworthy.core.types",
    "Contract": "roadworthy.contract.model",
    "ContractError": "roadworthy.core.errors",
    "Entry": "roadworthy.core.types",
    "Fault": "roadworthy.trials.faults",
    "Gate": "roadworthy.gate.gate",
    "Ledger": "roadworthy.ledger.store",
    "Outcome": "roadworthy.core.types",
    "Principal": "roadworthy.core.types",
    "RoadworthyError": "roadworthy.core.errors",
    "Scenario": "roadworthy.trials.scenario",
    "Suspended": "roadworthy.core.errors",
    "Verdict": "roadworthy.core.types",
    "World": "roadworthy.trials.world",
    "run_trials": "roadworthy.trials.runner",
}


def test_public_names_are_exact() -> None:
    assert sorted(roadworthy.__all__) == sorted(NAMES)
    assert set(dir(roadworthy)) >= set(NAMES)


@pytest.mark.parametrize(("name", "home"), sorted(NAMES.items()))
def test_each_name_is_its_home_s(name: str, home: str) -> None:
    assert getattr(roadworthy, name) is getattr(import_module(home), name)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(roadworthy.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("roadworthy.")
        for alias in node.names
    }
    assert seen == NAMES


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Gaet'"):
        _ = roadworthy.Gaet  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportAttributeAccessIssue]  # the misspelling is the test
