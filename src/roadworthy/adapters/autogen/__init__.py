"""Agents in AutoGen (AgentChat 0.7): assistant agents, teams, and workbenches of one's own.

    agent = guard(AssistantAgent("desk", model_client, tools=[...]), gate)
    with gate.run(principal="support-bot", capability="billing_question") as run, run.bind():
        run.heard(text)
        result = await agent.run(task=text)
        run.say(result.messages[-1].to_text())

A call belongs to the bound run; the application hears and says for itself. Guard a team as a whole: it then carries
the run of each `run` to its agents itself, whichever runtime they live in. An agent may sit in several guarded teams,
and works in one of them at a time.

The last message of an agent or team is its reply. It is judged before it comes out: one that the contract holds back
goes back to the agents, at most twice, and then what comes out says that a person will look at it. Tokens come out
sentence by sentence where the contract says anything of replies. What agents say to each other vouches for nothing,
though it comes to them with the role of a user; where it may not be told, watchers of a team do not see it.

Where there is more than one agent, calls are recorded with the name of the one that asked, and so is who got the word
from whom: `turn` where the team gives it, `handoff` where an agent asked for another one, `delegate` for agents and
teams that are tools, or sit inside others.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from roadworthy.core.errors import Suspended, UsageError

try:
    from autogen_agentchat.agents import AssistantAgent, MessageFilterAgent, SocietyOfMindAgent, UserProxyAgent
    from autogen_agentchat.base import Handoff
    from autogen_agentchat.teams import BaseGroupChat, GraphFlow
    from autogen_core import CancellationToken, FunctionCall
    from autogen_core.tools import FunctionTool, Workbench
except ImportError as error:
    raise UsageError(
        "AutoGen is not installed, or older than the oldest that is known here: "
        "`pip install 'roadworthy[autogen]'` brings it along"
    ) from error

from roadworthy.adapters import driving
from roadworthy.adapters.autogen.scope import Circle, Scope, Seat
from roadworthy.adapters.autogen.turn import EndsEarly, agent_stream, end_all, team_stream, word_stream
from roadworthy.adapters.autogen.workbench import GuardedWorkbench, guarded_workbench, tools_of
from roadworthy.adapters.calls import refuse_hosted
from roadworthy.adapters.reach import reached
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run

__all__ = ["GuardedWorkbench", "adrive", "drive", "guard"]

A = TypeVar("A")


def guard(agent: A, gate: Gate) -> A:
    """Put all tools of an assistant agent, of every agent of a team, or of a workbench behind the gate.

    An agent or team is changed and handed back; for a workbench a guarded one comes back, to be used instead. Agents
    inside other agents, teams and tools are guarded, too. Raises UsageError for what no gate could stand before: agents
    that run code, kinds of agents that are not known here, and hand-offs outside a guarded team.
    """
    if isinstance(agent, Workbench):
        alone = Seat("")
        alone.sit(Scope())
        return cast("A", guarded_workbench(agent, gate, alone, offer=True))
    _Guarding(gate).guard(agent)
    return agent


class _Guarding:
    """One call of `guard`: walks from a team or agent to everything inside it."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.scope = Scope()

    def guard(
        self, agent: Any, *, circle: Circle | None = None, name: str | None = None, owner: str | None = None
    ) -> None:
        """Guard an agent or team. `circle`: the team that it sits in; `name`: what that team calls it."""
        if isinstance(agent, BaseGroupChat):
            self._team(agent, circle, owner)
        elif isinstance(agent, AssistantAgent):
            self._assistant(agent, circle, name or agent.name)
        elif isinstance(agent, MessageFilterAgent):
            self._hands_on(agent, circle)
            self.guard(cast("Any", agent)._wrapped_agent, circle=circle, name=name or agent.name)
        elif isinstance(agent, SocietyOfMindAgent):
            parts = cast("Any", agent)
            refuse_hosted(self.gate.contract, _hosted(parts._model_client))
            self._hands_on(agent, circle)
            self.guard(parts._team, circle=circle or Circle(), owner=name or agent.name)
        elif isinstance(agent, UserProxyAgent):
            self.scope.people.add(agent.name)
        else:
            raise UsageError(
                f"guard() cannot see what a {type(cast('object', agent)).__name__} does; it takes assistant agents, "
                "teams of them, and workbenches"
            )

    def _team(self, team: BaseGroupChat, circle: Circle | None, owner: str | None) -> None:
        seat = _seat_of(team, self.gate) or Seat(team.name)
        parts = cast("Any", team)
        refuse_hosted(self.gate.contract, _hosted(cast("Any", getattr(parts, "_model_client", None))))  # of a selector
        if parts._initialized and not seat.places:
            raise UsageError(f"the team {team.name} has run already: guard it before its first run")
        if not seat.places and (parts._termination_condition is not None or not isinstance(team, GraphFlow)):
            parts._termination_condition = EndsEarly(seat, parts._termination_condition)
        own = Circle()
        before = len(self.scope.seats)
        for participant in cast("Sequence[Any]", parts._participants):
            self.guard(participant, circle=own)
        inside = self.scope.seats[before:]
        if len(inside) > 1 or circle is not None:
            for one in inside:
                one.named = True
        if not seat.places and circle is not None:
            seat.sit(Scope())  # what it is when it runs by itself
        seat.sit(self.scope, circle)
        seat.owner = owner or seat.owner
        _change_class(
            team, self.gate, seat, {"run_stream": team_stream(type(team), seat, seat.places[0].scope, self.gate)}
        )

    def _hands_on(self, agent: Any, circle: Circle | None) -> None:
        """An agent with another agent or a team inside it gets the word itself."""
        seat = _seat_of(agent, self.gate) or Seat(agent.name)
        seat.named = circle is not None
        seat.sit(self.scope, circle)
        _change_class(agent, self.gate, seat, {"on_messages_stream": word_stream(type(cast("object", agent)), seat)})

    def _assistant(self, agent: AssistantAgent, circle: Circle | None, name: str) -> None:
        parts = cast("Any", agent)  # an agent's workbenches, hand-offs and model are arguments, and private afterwards
        for handoff in parts._handoffs.values():
            if type(handoff) is not Handoff:
                raise UsageError(f"the hand-off {handoff.name!r} of {agent.name} runs code of its own past the gate")
            if circle is None:
                raise UsageError(
                    f"{agent.name} may hand off to {handoff.target}, and hand-offs pass no workbench: "
                    "guard the team in which it hands off, or offer it `escalate` instead"
                )
        refuse_hosted(self.gate.contract, _hosted(parts._model_client))
        seat = _seat_of(agent, self.gate) or Seat(name)
        seat.name = name
        seat.sit(self.scope, circle)
        offer = bool(parts._model_client.model_info["function_calling"])
        guarded: list[GuardedWorkbench] = []
        for inner in cast("Sequence[Workbench]", parts._workbench):
            self._inside_tools(inner, seat)
            guarded.append(guarded_workbench(inner, self.gate, seat, offer=offer and not guarded))
        parts._workbench = guarded
        parts._tools = []  # what its workbench was made of; nothing reads it any more
        parts._handoff_tools = [_safe(tool) for tool in parts._handoff_tools]
        stream = agent_stream(type(agent), seat, self.gate)
        _change_class(agent, self.gate, seat, {"on_messages_stream": stream, "_execute_tool_call": _read_first(agent)})

    def _inside_tools(self, workbench: Workbench, seat: Seat) -> None:
        for tool in tools_of(workbench):
            runner = getattr(tool, "_task_runner", None)
            function = getattr(tool, "_func", None)
            for inner in [runner] if runner is not None else reached([function], (AssistantAgent, BaseGroupChat)):
                guarding = _Guarding(self.gate)
                guarding.guard(inner)
                if (its := _seat_of(inner, self.gate)) is not None:
                    self.scope.inside.append((inner, its))
                for one in (seat, *guarding.scope.seats):
                    one.named = True


def _seat_of(thing: object, gate: Gate) -> Seat | None:
    """The seat of what is guarded already. Raises UsageError when that is under another contract."""
    kind = type(thing)
    known = getattr(kind, "roadworthy_gate", None)
    if known is None:
        return None
    if known.contract.digest != gate.contract.digest:
        raise UsageError("this agent is guarded by a gate of another contract already; build it again for this one")
    return cast("Seat", cast("Any", kind).roadworthy_seat)


def _change_class(thing: object, gate: Gate, seat: Seat, methods: Mapping[str, Any]) -> None:
    """Give an object a subclass of its own class, so that it stays what it was and no unguarded twin is left."""
    kind = type(thing)
    if _seat_of(thing, gate) is not None:
        return
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    marks = {"roadworthy_gate": gate, "roadworthy_seat": seat}
    thing.__class__ = type(kind.__name__, (kind,), {**methods, **names, **marks})


def _hosted(client: Any) -> list[Any]:
    """What a model client offers its model by itself, as far as it can be seen."""
    given: Any = getattr(client, "_create_args", None)
    if not isinstance(given, Mapping):
        return []
    args = cast("Mapping[str, Any]", given)
    return [*(args.get("tools") or ()), *(["web_search"] if args.get("web_search_options") is not None else [])]


def _read_first(agent: AssistantAgent) -> Any:
    """How an agent carries a call: arguments that are nested too deep to be read would hang it (autogen 0.7.5)."""
    execute: Any = type(agent)._execute_tool_call  # pyright: ignore[reportPrivateUsage]

    async def _execute_tool_call(tool_call: FunctionCall, *args: Any, **more: Any) -> Any:
        try:
            json.loads(tool_call.arguments)
        except RecursionError:  # a text that is no JSON gets an answer that says so
            tool_call = FunctionCall(id=tool_call.id, name=tool_call.name, arguments="[")
        except ValueError:
            pass
        return await execute(tool_call, *args, **more)

    return staticmethod(_execute_tool_call)


class _SafeHandoff(FunctionTool):
    """The tool of a hand-off, which takes no arguments; what a model gives it all the same would hang the agent."""

    async def run_json(self, args: Any, cancellation_token: CancellationToken, call_id: str | None = None) -> Any:
        return await super().run_json({}, CancellationToken(), call_id=call_id)


def _safe(tool: Any) -> Any:
    if type(tool) is FunctionTool:
        tool.__class__ = _SafeHandoff
    return tool


# -- driving ----------------------------------------------------------------------------------------------------------


def drive(agent: Any, run: Run, start: Any = None, **more: Any) -> Any:
    """`adrive` for blocking code. Raises UsageError inside a running event loop."""
    return driving.in_a_loop_of_its_own(adrive(agent, run, start, **more))


async def adrive(agent: Any, run: Run, start: Any = None, **more: Any) -> Any:
    """Let a guarded agent or team begin with `start`, its task, or go on where it was suspended.

    Gives the TaskResult, or Suspended as a value: then nothing of it goes on, and the agent is what it was before, to
    be driven again with `gate.resume(run.id)`. Without `start` the task comes from the ledger. A cancelled drive ends
    what it had begun, too; a call in flight is in doubt then. Raises UsageError for what `guard` has not seen.
    """
    seat = cast("Seat | None", getattr(type(cast("object", agent)), "roadworthy_seat", None))
    if seat is None:
        raise driving.not_guarded(agent)

    async def go(given: Any) -> Any:
        token = more.get("cancellation_token") or CancellationToken()
        before = [(one, await one.save_state()) for one in (agent, *seat.scope.workers())]
        talk = asyncio.ensure_future(agent.run(task=given, **{**more, "cancellation_token": token}))
        try:
            await asyncio.wait([talk])
            return talk.result()
        except (Suspended, asyncio.CancelledError):
            seat.scope.ending = True
            token.cancel()
            talk.cancel()
            await end_all(seat.scope, run)
            await asyncio.wait([talk])
            for one, state in before:
                if isinstance(one, BaseGroupChat):
                    await one.reset()
                await one.load_state(state)
            raise

    return await driving.adrive(run, start, go)
