"""Everything around an AI agent that decides whether it may drive: contract, gate, ledger, road test."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roadworthy.contract.model import Contract
    from roadworthy.core.errors import ContractError, RoadworthyError, Suspended
    from roadworthy.core.types import Action, Entry, Outcome, Principal, Verdict
    from roadworthy.gate.gate import Gate
    from roadworthy.ledger.store import Ledger
    from roadworthy.trials.faults import Fault
    from roadworthy.trials.runner import run_trials
    from roadworthy.trials.scenario import Scenario
    from roadworthy.trials.world import World

_HOMES = {
    "Contract": "roadworthy.contract.model",
    "Gate": "roadworthy.gate.gate",
    "Ledger": "roadworthy.ledger.store",
    "Action": "roadworthy.core.types",
    "Verdict": "roadworthy.core.types",
    "Outcome": "roadworthy.core.types",
    "Entry": "roadworthy.core.types",
    "Principal": "roadworthy.core.types",
    "Scenario": "roadworthy.trials.scenario",
    "World": "roadworthy.trials.world",
    "Fault": "roadworthy.trials.faults",
    "run_trials": "roadworthy.trials.runner",
    "RoadworthyError": "roadworthy.core.errors",
    "ContractError": "roadworthy.core.errors",
    "Suspended": "roadworthy.core.errors",
}

__all__ = [
    "Action",
    "Contract",
    "ContractError",
    "Entry",
    "Fault",
    "Gate",
    "Ledger",
    "Outcome",
    "Principal",
    "RoadworthyError",
    "Scenario",
    "Suspended",
    "Verdict",
    "World",
    "run_trials",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'roadworthy' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
