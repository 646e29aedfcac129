"""Whose run the agents of AutoGen act for, who among them has the word, and what their framework must be told to end.

A `Scope` is one guarded team, or one guarded agent by itself. A `Seat` is one agent, which may sit in several teams.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator, Sequence
from typing import Any

from autogen_agentchat.messages import BaseChatMessage, HandoffMessage

from roadworthy.adapters.replies import GATE
from roadworthy.core.errors import HarnessError, Suspended, UsageError
from roadworthy.gate.run import Run, current_run

Broken = HarnessError | Suspended
"""What must be raised when an agent has ended: no exception may leave a workbench."""


class Scope:
    """What the guarded agents of one team share, those of teams inside it included."""

    def __init__(self) -> None:
        self.carrying = False
        """Whether a guarded team runs now. Its runtime's own context may be of another time, and lend a foreign run."""
        self.run: Run | None = None
        """The run that the team carries while it runs; None: there is none."""
        self.ending = False
        """Somebody has cancelled the team: nobody in it gets the word any more."""
        self.one_by_one: asyncio.Lock | None = None
        """In a run that may be driven again, agents beside each other work one after the other: in the same order."""
        self.people: set[str] = set()
        """Names of agents that speak for a person."""
        self.seats: list[Seat] = []
        self.inside: list[tuple[Any, Seat]] = []
        """Agents and teams that are tools here."""
        self._tasks: dict[asyncio.Task[Any], str] = {}
        """Calls in flight, and agents of a team that have the word, with the id of their run."""
        self._broken: dict[str, Broken] = {}
        """By run: agents by themselves may serve several runs side by side."""
        self._read: set[str] = set()
        """Ids of messages of other agents that the run has read, in this run of the team."""

    def find(self) -> Run | None:
        """The run that an agent acts for now."""
        return self.run if self.carrying else current_run()

    def begin(self, run: Run | None) -> None:
        """A team begins to run. Raises UsageError where it, or an agent of it, is at work already."""
        if self.carrying:
            raise UsageError(
                "this team is running already, and its agents can act for one run at a time: "
                "wait until it has ended, or build a team for each run"
            )
        for seat in self.seats:
            if any(place.scope.carrying for place in seat.places):
                raise UsageError(
                    f"{seat.name} is at work in another team, and an agent can act for one run at a time: "
                    "wait until that team has ended, or build the agent once for each team"
                )
        self.run, self.carrying, self.ending = run, True, False
        self.one_by_one = asyncio.Lock() if run is not None and run.state.suspendable else None
        self._read.clear()
        for seat in self.seats:
            for place in seat.places:
                if place.scope is self:
                    place.circle.speaker = None

    def end(self) -> None:
        """The team has ended."""
        self.run, self.carrying = None, False
        self._read.clear()

    def broke(self, run: Run | None, error: Broken) -> None:
        """Note what must be raised as soon as the framework is where it can be raised."""
        self._broken.setdefault(_id(run), error)

    def broken(self, run: Run | None) -> Broken | None:
        """What must be raised for this run."""
        return self._broken.get(_id(run))

    def over(self, run: Run | None) -> bool:
        """Whether agents are to do no more: something must be raised, or they were cancelled."""
        return self.ending or _id(run) in self._broken

    def raise_broken(self, run: Run | None) -> None:
        """Raise it, once: it is out then."""
        error = self._broken.pop(_id(run), None)
        if error is not None:
            raise error

    @contextlib.contextmanager
    def at_work(self, run: Run | None) -> Generator[None]:
        """The task that runs now is a call, or an agent of a team: AutoGen leaves it behind when it is cancelled."""
        task = asyncio.current_task()
        if task is None or task in self._tasks:
            yield
            return
        self._tasks[task] = _id(run)
        try:
            yield
        finally:
            del self._tasks[task]

    def left_behind(self, run: Run | None) -> set[asyncio.Task[Any]]:
        """What is still at work for a run, here and in agents that are tools, but for the task that asks."""
        found = {task for task, of in self._tasks.items() if of == _id(run)}
        for _, seat in self.inside:
            found = found.union(*(place.scope.left_behind(run) for place in seat.places))
        return found - {asyncio.current_task()}

    def workers(self) -> list[Any]:
        """The agents and teams that are tools here, and in those."""
        return [one for thing, seat in self.inside for one in (thing, *seat.scope.workers())]

    async def read(self, run: Run, messages: Sequence[BaseChatMessage], reader: str) -> None:
        """What other agents say to one. They have the role of a user in its eyes, and are none."""
        for message in messages:
            if self.by_nobody_else(message, reader) or message.id in self._read:
                continue
            self._read.add(message.id)
            await asyncio.to_thread(run.read, message.to_model_text(), trust="agent", source=message.source)

    def by_nobody_else(self, message: BaseChatMessage, reader: str) -> bool:
        """Whether a message is a person's, the gate's or the reader's own, and not another agent's."""
        return message.source in ("user", GATE, reader, *self.people)

    async def pass_word(self, seat: Seat, messages: Sequence[BaseChatMessage]) -> None:
        """The team gives the word to an agent, by a hand-off where another agent asked for that one."""
        circle, run = seat.circle_in(self), self.run
        if run is None or circle is None or not seat.named:
            return
        handoff = next((m for m in reversed(messages) if isinstance(m, HandoffMessage) and m.target == seat.name), None)
        if handoff is None and circle.speaker == seat.name:
            return
        source = circle.speaker
        if messages:  # the last of them is why it speaks now; None where that was a person
            source = None if self.by_nobody_else(messages[-1], seat.name) else messages[-1].source
        circle.speaker = seat.name
        if handoff is not None:
            self._read.add(handoff.id)
            await run.ahandover(seat.name, source=handoff.source, how="handoff", text=handoff.to_model_text())
        else:
            await run.ahandover(seat.name, source=source, how="turn")


class Circle:
    """One team among those of a scope: who in it has the word."""

    def __init__(self) -> None:
        self.speaker: str | None = None


class Place:
    """Where an agent sits."""

    def __init__(self, scope: Scope, circle: Circle | None) -> None:
        self.scope = scope
        self.circle = circle or Circle()


class Seat:
    """One guarded agent, or a team inside another one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.places: list[Place] = []
        self.owner: str | None = None
        """Of a team inside an agent: that agent's name."""
        self.named = False
        """Whether there are others beside it, so that a record has to say which of them it was."""

    def sit(self, scope: Scope, circle: Circle | None = None) -> None:
        """Take a place; an agent that is guarded once more in the same scope keeps the one that it has."""
        if all(place.scope is not scope for place in self.places):
            self.places.append(Place(scope, circle))
            scope.seats.append(self)

    @property
    def scope(self) -> Scope:
        """The one that it acts in now: that of the team that runs, else the first that it was guarded in."""
        return next((p.scope for p in self.places if p.scope.carrying), self.places[0].scope)

    @property
    def label(self) -> str | None:
        """What the record calls it; None where there is nobody else."""
        return self.name if self.named else None

    def circle_in(self, scope: Scope) -> Circle | None:
        """The team of a scope that it sits in."""
        return next((place.circle for place in self.places if place.scope is scope), None)


def _id(run: Run | None) -> str:
    return "" if run is None else run.id
