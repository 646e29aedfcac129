"""Agents in CrewAI: crews, single agents, flows, and tools.

    crew = guard(Crew(agents=[...], tasks=[...]), gate)
    with gate.run(principal="support-bot", capability="billing_question") as run, run.bind():
        run.heard(text)
        answer = crew.kickoff(inputs={"ticket": text})
        run.say(answer.raw)

A call belongs to the bound run; the application hears and says for itself. All tools that an agent gets for a task
pass the gate, those that CrewAI adds by itself (delegation, memory, skills, MCP) included: what the contract does not
list is denied. CrewAI's own tool cache is bypassed, since it answers without asking anybody.

The reply is what the last task, or a talk, comes to. It is judged before it comes out: one that the contract holds back
goes back to the agent in the same conversation, at most twice, and then what comes out says that a person will look at
it. Where the contract says anything of replies, a crew that streams hands its reply out whole, once it was judged; step
and task callbacks see what was held back, too. What one agent hands on to another, and what comes from memory, vouches
for nothing.

Where there is more than one agent, calls are recorded with the role of the one that asked, and so is who got the word
from whom: `turn` as one task follows another, `delegate` for work and questions to coworkers.

In a guarded flow every step acts for the bound run. Crews and agents that a step makes are guarded where they are made;
those that are not reach no tool.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from roadworthy.core.errors import Suspended, UsageError

try:
    from crewai import Agent, Crew
    from crewai.flow.flow import Flow
    from crewai.tools import BaseTool
except ImportError as error:
    raise UsageError(
        "CrewAI is not installed, or older than the oldest that is known here: "
        "`pip install 'roadworthy[crewai]'` brings it along"
    ) from error

from roadworthy.adapters import driving
from roadworthy.adapters.calls import refuse_hosted
from roadworthy.adapters.crewai.crew import crew_methods
from roadworthy.adapters.crewai.flow import end_steps, flow_methods
from roadworthy.adapters.crewai.tools import GatedTool, all_gated, gated_list, set_tripwire
from roadworthy.adapters.crewai.turn import (
    ajudged,
    ajudged_talk,
    atalk_ended,
    atask_ended,
    judged,
    judged_talk,
    talk_ended,
    task_ended,
    with_memory,
)
from roadworthy.adapters.crewai.work import Work, working
from roadworthy.adapters.reach import reached
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run

__all__ = ["GatedTool", "adrive", "drive", "guard"]

C = TypeVar("C")


_ASKED: tuple[type[Any], ...] = (Crew, Agent, Flow)


def guard(thing: C, gate: Gate) -> C:
    """Put all tools of a crew, of an agent, of a flow, or of a list of tools behind the gate.

    A crew, agent or flow is changed and handed back; for tools, gated ones come back, to be used instead. Raises
    UsageError for what no gate could stand before: agents of other frameworks in a crew.
    """
    given = cast("Any", thing)
    if isinstance(given, Crew):
        _guard_crew(given, gate)
    elif isinstance(given, Agent):
        _guard_agent(given, gate)
    elif isinstance(given, Flow):
        _guard_flow(cast("Any", given), gate)
    elif isinstance(thing, BaseTool):
        return cast("C", GatedTool.around(thing, gate, None))
    elif isinstance(thing, list | tuple):
        tools = cast("Iterable[Any]", thing)
        return cast("C", type(cast("list[Any]", thing))(guard(tool, gate) for tool in tools))
    else:
        raise UsageError(
            f"guard() takes a Crew, an Agent, a Flow or tools of CrewAI, not a {type(cast('object', thing)).__name__}"
        )
    return thing


def _guard_crew(crew: Crew, gate: Gate) -> None:
    agents: list[Any] = [*crew.agents, *(task.agent for task in crew.tasks), crew.manager_agent]
    for agent in agents:
        if agent is None:
            continue
        if not isinstance(agent, Agent):
            raise UsageError(
                f"guard() cannot see what a {type(agent).__name__} does inside a crew; guard it in its own framework"
            )
        _guard_agent(agent, gate)
    tools: list[Any] = []
    for task in crew.tasks:
        tools += task.tools or []
        task.tools = gated_list(task.tools, gate)
    crew.cache = False
    refuse_hosted(gate.contract, _hosted(crew.manager_llm))
    _change_class(crew, gate, crew_methods(type(crew), gate, lambda agent: _guard_agent(agent, gate)))
    _guard_asked(tools, gate)


def _guard_agent(agent: Agent, gate: Gate) -> None:
    if _same_contract(type(agent), gate):
        return
    kind = cast("Any", type(agent))
    refuse_hosted(gate.contract, _hosted(agent.llm))
    agent.cache = False
    agent.tools_handler.cache = None
    tools: list[Any] = list(agent.tools or [])
    agent.tools = gated_list(agent.tools, gate)
    methods: dict[str, Any] = {
        "_add_skill_loader_tool": all_gated(kind, gate),
        "_retrieve_memory_context": with_memory(kind._retrieve_memory_context),
        "execute_task": task_ended(kind.execute_task),
        "aexecute_task": atask_ended(kind.aexecute_task),
        "kickoff": talk_ended(kind.kickoff),
        "kickoff_async": atalk_ended(kind.kickoff_async),
        "akickoff": atalk_ended(kind.akickoff),
        "_execute_without_timeout": judged(kind._execute_without_timeout),
        "_aexecute_without_timeout": ajudged(kind._aexecute_without_timeout),
        "_execute_and_build_output": judged_talk(kind._execute_and_build_output),
        "_execute_and_build_output_async": ajudged_talk(kind._execute_and_build_output_async),
    }
    _change_class(agent, gate, methods)
    set_tripwire()
    _guard_asked(tools, gate)


def _guard_asked(tools: Iterable[Any], gate: Gate) -> None:
    """Guard the agents, crews and flows that functions of tools ask by themselves."""
    new = [tool for tool in tools if not isinstance(tool, GatedTool)]
    for asked in reached([part for tool in new for part in (getattr(tool, "func", None), tool._run)], _ASKED):
        guard(asked, gate)


def _guard_flow(flow: Any, gate: Gate) -> None:
    parts = cast("dict[str, Any]", vars(flow))
    for part in list(parts.values()):
        if isinstance(part, Crew | Agent):
            guard(part, gate)
    _change_class(flow, gate, flow_methods(type(flow)))
    set_tripwire()


def _hosted(llm: Any) -> list[Any]:
    """What a model is offered by its own settings, as far as it can be seen."""
    more: Any = getattr(llm, "additional_params", None)
    given = cast("Mapping[str, Any]", more if isinstance(more, Mapping) else {})
    options = ["web_search"] if given.get("web_search_options") is not None else []
    return [*(getattr(llm, "builtin_tools", None) or ()), *(given.get("tools") or ()), *options]


def _same_contract(kind: type[Any], gate: Gate) -> bool:
    """Whether a class is guarded already. Raises UsageError when that is for another contract."""
    known = getattr(kind, "roadworthy_gate", None)
    if known is not None and known.contract.digest != gate.contract.digest:
        raise UsageError("this is guarded by a gate of another contract already; build it again for this one")
    return known is not None


def _change_class(thing: Any, gate: Gate, methods: dict[str, Any]) -> None:
    """Give an object a subclass of its own class: it stays what it was, its copies are guarded, no twin is left."""
    kind: Any = cast("Any", type(thing))
    if _same_contract(kind, gate):
        return
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    guarded: Any = type(kind)(kind.__name__, (kind,), {**methods, **names})
    type.__setattr__(guarded, "roadworthy_gate", gate)
    object.__setattr__(thing, "__class__", guarded)


# -- driving ----------------------------------------------------------------------------------------------------------


def drive(agent: Any, run: Run, start: Any = None, **more: Any) -> Any:
    """Let a guarded crew, agent or flow begin with `start`, or go on where it was suspended.

    `start` are the inputs of a crew or flow, and the words for an agent; `more` goes to its `kickoff`. Gives what that
    gives, or Suspended as a value: then nothing of it goes on, and it may be driven again with `gate.resume(run.id)`.
    Without `start` it comes from the ledger. Raises UsageError for what `guard` has not seen, for a crew or flow that
    streams, and for memory in a suspendable run.
    """
    _may_be_driven(agent, run)

    def go(given: Any) -> Any:
        kept = _kept(agent)
        with working() as work:
            try:
                return agent.kickoff(given, **more)
            except Suspended:
                work.wait_quiet()
                _put_back(agent, kept)
                raise

    return driving.drive(run, start, go)


async def adrive(agent: Any, run: Run, start: Any = None, **more: Any) -> Any:
    """`drive` for async code. A cancelled drive ends what it had begun; a tool that blocks is waited for."""
    _may_be_driven(agent, run)

    async def go(given: Any) -> Any:
        kept = _kept(agent)
        kickoff = cast("Any", agent).kickoff_async if isinstance(agent, Flow) else agent.akickoff
        with working() as work:
            try:
                return await kickoff(given, **more)
            except (Suspended, asyncio.CancelledError):
                await end_steps(work)
                await _in_a_thread(work)
                _put_back(agent, kept)
                raise

    return await driving.adrive(run, start, go)


async def _in_a_thread(work: Work) -> None:
    """Wait for what goes on in threads of CrewAI's, without one of the loop's own pool."""
    loop, quiet = asyncio.get_running_loop(), asyncio.Event()

    def wait() -> None:
        work.wait_quiet()
        loop.call_soon_threadsafe(quiet.set)

    waiting = threading.Thread(target=wait, name="roadworthy-crewai", daemon=True)
    waiting.start()
    await quiet.wait()
    waiting.join()


def _may_be_driven(agent: Any, run: Run) -> None:
    if getattr(type(cast("object", agent)), "roadworthy_gate", None) is None:
        raise driving.not_guarded(agent)
    if getattr(agent, "stream", False):
        raise UsageError("drive() gives the end of a crew or flow, and this one streams: set stream=False")
    holders: list[Any] = [] if isinstance(agent, Flow) else [agent, *getattr(agent, "agents", ())]
    if run.state.suspendable and any(getattr(one, "memory", None) for one in holders):
        raise UsageError(
            "memory keeps what an agent that is driven again would add once more: a crew of a suspendable run has none"
        )


def _kept(agent: Any) -> Any:
    """The state of a flow, so that one that is suspended can begin from it again."""
    return copy.deepcopy(cast("Any", agent)._state) if isinstance(agent, Flow) else None


def _put_back(agent: Any, kept: Any) -> None:
    if isinstance(agent, Flow):
        cast("Any", agent)._state = kept
