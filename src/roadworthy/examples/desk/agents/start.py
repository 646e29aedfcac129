"""What the desk's agents have in common, whatever they are built with."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from roadworthy.contract.model import Contract
from roadworthy.core.clock import SystemClock
from roadworthy.examples.desk.model import brief
from roadworthy.examples.desk.world import tools
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run
from roadworthy.ledger.batch import Batch
from roadworthy.trials.users import SimulatedUser
from roadworthy.trials.world import Post

CONTRACT = Path(__file__).parent.parent / "contract.yaml"
"""The contract that the desk's agents are guarded by."""

MOST_STEPS = 30
"""A conversation of more model calls than this has come to nothing."""

UNFINISHED = "I could not settle this; please write to our desk."
"""The last words of a conversation that has come to nothing."""


def first_message(run: Run, user: SimulatedUser) -> str:
    """The first user message for the model: who has signed in, and what the customer wrote."""
    return brief(user.opening(), run.state.facts.get("email"))


@cache
def build_gate() -> Gate:
    """A gate to build a guarded agent with. Its contract is what counts: each call belongs to the run that is bound."""
    return Gate(Contract.load(CONTRACT), Batch(), world="test")


@cache
def functions() -> Mapping[str, Callable[..., Any]]:
    """The tools that a framework is given, by the names that the model knows.

    In trials the gate calls the stand-ins of the trial's world in their place. A call that got past the gate would find
    empty systems: the trial's own world cannot be touched from here.
    """
    contract = build_gate().contract
    empty = sqlite3.connect(":memory:", check_same_thread=False)
    handing_over = contract.escalate.tool if contract.escalate is not None else None
    found = tools(empty, SystemClock(), Post())
    return {contract.model_name(name): function for name, function in found.items() if name != handing_over}


def description(name: str) -> str:
    """What the contract says a tool does, by the name that the model knows."""
    contract = build_gate().contract
    return contract.tools[contract.tool_names[name]].description or name
