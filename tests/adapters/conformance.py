"""What every adapter must do, for the ways to run an agent that a test file names as one function.

A test file names its framework's way to run a talk (`Talk`), subclasses `Conformance`, and inherits the cases of one
talk. All cases are those of `roadworthy.adapters.conformance`, which want an adapter that can also be driven.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import ClassVar, Protocol, TypeVar

from roadworthy.adapters.conformance.adapter import Adapter
from roadworthy.adapters.conformance.bench import Bench, BrokenLedger, Way
from roadworthy.adapters.conformance.case import CASES
from roadworthy.adapters.conformance.cases.replies import said
from roadworthy.adapters.conformance.script import (
    Call,
    Message,
    Reacting,
    Script,
    Stubborn,
    ToolSchema,
    Turn,
    noticed,
)
from roadworthy.adapters.conformance.shop import CAREFUL, CONTRACT, FIND, HONEST, REFUND, UNTRUE, Shop
from roadworthy.adapters.conformance.suite import with_cases
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run

__all__ = [
    "CAREFUL",
    "CONTRACT",
    "FIND",
    "HONEST",
    "REFUND",
    "UNTRUE",
    "BoundConformance",
    "BrokenLedger",
    "Call",
    "Conformance",
    "Message",
    "Reacting",
    "Script",
    "Shop",
    "Stubborn",
    "Talk",
    "ToolSchema",
    "Turn",
    "noticed",
    "said",
    "within",
]

T = TypeVar("T")

_DRIVEN = ("drive_", "one_agent_", "another_start", "of_two_calls_at_once_one_suspends", "a_denied_", "an_edited_")
"""How cases begin that want more than a talk."""
_OF_A_TALK = [
    case
    for case in CASES
    if case.group in ("calls", "replies", "waiting")
    and (case.group != "waiting" or not case.name.startswith(_DRIVEN))
    and case.name not in ("no_task_goes_on_when_the_agent_has_ended", "two_runs_at_once_are_kept_apart")
]


class Talk(Protocol):
    """How a framework runs one talk: builds its agent, guards it by the gate, and comes back with the reply.

    The caller has bound the run, if there is one.
    """

    def __call__(self, gate: Gate, shop: Shop, script: Script, text: str) -> str: ...


def within(seconds: float, talk: Awaitable[T]) -> T:
    """Run an async talk to its end, or fail: an agent that hangs must not hang the tests."""

    async def limited() -> T:
        return await asyncio.wait_for(talk, seconds)

    return asyncio.run(limited())


class _TalkBench(Bench):
    """A bench whose agents are run by one function."""

    def __init__(self, way: Way, talk: Talk) -> None:
        super().__init__(Adapter(), way)
        self._talk = talk

    def talk(self, gate: Gate, script: Script, text: str = "please", *, run: Run | None = None) -> str:
        if run is None:
            return self._talk(gate, self.shop, script, text)
        with run.bind():
            return self._talk(gate, self.shop, script, text)


@with_cases(_OF_A_TALK, ["blocking"])
class Conformance:
    """The cases of one talk. A subclass says how its framework talks."""

    talk: ClassVar[Talk]
    finds_runs: ClassVar[bool] = False

    def bench(self, way: Way) -> Bench:
        return _TalkBench(way, type(self).talk)


class BoundConformance(Conformance):
    """The same where the adapter finds the run by itself."""

    finds_runs = True
