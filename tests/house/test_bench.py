"""The contracts that benchmarks are measured by are taken by the gate as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadworthy import Contract, Gate
from roadworthy.contract.check import check
from roadworthy.ledger.batch import Batch

BENCH = Path(__file__).parents[2] / "bench"
CONTRACTS = sorted(path.relative_to(BENCH) for path in BENCH.rglob("*.yaml") if path.parent.name != "scenarios")


def test_there_are_contracts() -> None:
    assert {"decide.yaml", "agentdojo/workspace.yaml", "agentdojo/slack.yaml"} <= {str(path) for path in CONTRACTS}


@pytest.mark.parametrize("path", CONTRACTS, ids=str)
def test_a_contract_of_a_benchmark_is_taken_by_the_gate(path: Path) -> None:
    contract = Contract.load(BENCH / path)
    assert not [finding for finding in check(contract) if finding.severity == "error"]
    Gate(contract, Batch(), world="test")
