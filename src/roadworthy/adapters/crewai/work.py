"""Whose run the executions of CrewAI act for, which agent each is, and what must be raised when they have ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from crewai import Crew, Process

from roadworthy.adapters.calls import inside_tool
from roadworthy.core.errors import HarnessError, Suspended
from roadworthy.gate.run import Run, current_run

Broken = HarnessError | Suspended


class Work:
    """What one kickoff of a crew, a flow or an agent comes to, in however many threads."""

    def __init__(self) -> None:
        self.broken: Broken | None = None
        """What must be raised when the agents have ended: CrewAI turns exceptions of tools into text."""
        self.turned: set[Any] = set()
        """The tasks that an agent has been given, so that a second try at one is no turn of its own."""
        self.steps: set[asyncio.Task[Any]] = set()
        """Of a flow: those that go on."""
        self._going = 0
        self._quiet = threading.Condition()

    def broke(self, error: Broken) -> None:
        """Note it. All agents of this kickoff end their turns as soon as they can."""
        if self.broken is None:
            self.broken = error

    def raise_broken(self) -> None:
        """Raise what broke."""
        if self.broken is not None:
            raise self.broken

    @contextmanager
    def going(self) -> Generator[None]:
        """While an agent works."""
        with self._quiet:
            self._going += 1
        try:
            yield
        finally:
            with self._quiet:
                self._going -= 1
                self._quiet.notify_all()

    def wait_quiet(self) -> None:
        """Wait until no agent works any more; those in threads of their own end after the kickoff was broken off."""
        with self._quiet:
            self._quiet.wait_for(lambda: self._going == 0)


_WORK: ContextVar[Work | None] = ContextVar("roadworthy_crewai_work", default=None)


@contextmanager
def working() -> Generator[Work]:
    """The kickoff that goes on here, or a new one."""
    known = _WORK.get()
    if known is not None:
        yield known
        return
    work = Work()
    token = _WORK.set(work)
    try:
        yield work
    finally:
        _WORK.reset(token)


def work_here() -> Work | None:
    """The kickoff that goes on here."""
    return _WORK.get()


class Scope:
    """What the gated tools of one execution share."""

    def __init__(
        self, run: Run | None, work: Work | None = None, *, agent: str | None = None, replies: bool = False
    ) -> None:
        self.run = run
        """The run that was bound when the execution began; threads of CrewAI may have lost it."""
        self.work = work or Work()
        self.agent = agent
        """The role of the agent, where there are several."""
        self.replies = replies
        """What comes of it is a reply to the user, and is held back until it was judged."""

    def find(self) -> Run | None:
        """The run that a call belongs to."""
        return self.run or current_run()


EXECUTION: ContextVar[Scope | None] = ContextVar("roadworthy_crewai_execution", default=None)
"""The scope of the execution that begins now, until its tools have it."""

IN_FLOW: ContextVar[bool] = ContextVar("roadworthy_crewai_flow", default=False)
"""Whether a guarded flow runs here: there may be several crews and agents in it, and none without a gate."""


def near_user() -> Run | None:
    """The bound run, where what comes out goes to its user, and not to the model that called a tool."""
    return None if inside_tool() else current_run()


# -- who works --------------------------------------------------------------------------------------------------------


def label_of(agent: Any) -> str | None:
    """What the record calls an agent: its role, where there are others; else None."""
    role = str(agent.role).strip()
    crew = agent.crew
    if IN_FLOW.get() or inside_tool():
        return role
    if not isinstance(crew, Crew):
        return None
    others = [*crew.agents, *(task.agent for task in crew.tasks), crew.manager_agent]
    return role if any(other is not None and str(other.role).strip() != role for other in others) else None


def give_turn(run: Run | None, work: Work, agent: Any, task: Any) -> tuple[Run, str, str | None] | None:
    """What is to be recorded as a task begins: the run, the agent's role, and that of the one before. None: nothing."""
    role = label_of(agent)
    if run is None or role is None or inside_tool() or task.id in work.turned:
        return None
    work.turned.add(task.id)
    before = _agent_before(agent, task)
    return None if before == role else (run, role, before)


def _agent_before(agent: Any, task: Any) -> str | None:
    """The role of the agent that had the task before this one."""
    crew = agent.crew
    if not isinstance(crew, Crew):
        return None
    at = next((i for i, one in enumerate(crew.tasks) if one is task), 0)
    if at == 0:
        return None
    before = crew.manager_agent if crew.process == Process.hierarchical else crew.tasks[at - 1].agent
    return str(before.role).strip() if before is not None else None
