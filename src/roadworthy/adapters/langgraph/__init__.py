"""Agents in LangGraph and LangChain: graphs of `create_agent`, graphs with a `ToolNode`, tools that nodes call.

    agent = guard(create_agent(model, tools), gate)                                   # an agent that stands
    agent = create_agent(model, tools, middleware=[..., RoadworthyMiddleware(gate)])  # or as it is built: put it last

    config = {"configurable": {"thread_id": "42", "principal": "support-bot"}}
    answer = agent.invoke({"messages": [user_message]}, config)

Whose run a call belongs to: the run that is bound (`with run.bind():`), and then the application hears and says for
itself; else the run whose id is the `thread_id`, and then the new user messages of the input are heard and the final
reply is said; but not in a graph that a tool runs, whose messages a model wrote. `principal`, `subject`, `facts` and
`capability` are read from the config's `configurable` beside the `thread_id`; a server that lets its clients write
`configurable` must bind the run instead. Where no capability is named, all that the principal may use are open.

A reply is judged before it is told: one that the contract holds back goes back to the model, at most twice, and then
the user is told that a person will look at it. Where the contract says anything of what may be told, what a guarded
graph streams goes out sentence by sentence; a middleware by itself lets no token of a reply out before all of it was
judged. What the model itself reports to callbacks of the application is out of reach for both.

Several agents in one graph: which of them asks stands on every action, and who gives way to whom in entries of their
own. A tool that does nothing but hand over to another agent is no tool of the contract: name it in `handovers`. Those
of langgraph-supervisor and langgraph-swarm are known.

Messages of the name `roadworthy` are the gate's, for the model: what became of held actions, and why a reply was held
back. They are nobody's words, and no application should show them.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, cast

from roadworthy.core.errors import Suspended, UsageError

try:
    from langchain_core.runnables import RunnableConfig
    from langgraph.prebuilt import ToolNode
    from langgraph.pregel import Pregel  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked as such
except ImportError as error:
    raise UsageError(
        "LangGraph is not installed, or older than the oldest that is known here: "
        "`pip install 'roadworthy[langgraph]'` brings it along"
    ) from error

from roadworthy.adapters import driving, plain
from roadworthy.adapters.calls import refuse_hosted
from roadworthy.adapters.langgraph.map import Map
from roadworthy.adapters.langgraph.middleware import RoadworthyMiddleware
from roadworthy.adapters.langgraph.nodes import gate_node, offer, refuse_own_kind
from roadworthy.adapters.langgraph.runs import carried, config_here
from roadworthy.adapters.langgraph.threads import Thread
from roadworthy.adapters.langgraph.trail import agent_here, trail_of
from roadworthy.adapters.langgraph.turn import guarded_class
from roadworthy.adapters.langgraph.walk import Walk
from roadworthy.gate.carry import is_async
from roadworthy.gate.decide import find_tool
from roadworthy.gate.gate import Gate
from roadworthy.gate.policy import ToolPolicy
from roadworthy.gate.run import Run

__all__ = ["RoadworthyMiddleware", "adrive", "drive", "gated", "guard"]

G = TypeVar("G")


def guard(agent: G, gate: Gate, *, messages_key: str = "messages", handovers: Collection[str] = ()) -> G:
    """Put all tools of a compiled graph, or of one `ToolNode`, behind the gate. Changes it and hands it back.

    Every `ToolNode` of the graph, of its subgraphs and of agents that its tools ask is gated, whatever it is wrapped
    in, and so is one that a node's function refers to by name; each invocation is tied to its run. In graphs of
    `create_agent` the model is offered `ask_user` and `escalate`, too. A function that a node calls by itself, and a
    `ToolNode` that it makes while it runs, cannot be seen from outside: put `@gated(gate)` on the function.
    `handovers` names tools that do nothing but give way to another agent, by a `Command` or by asking it: they are
    recorded as handovers and are no actions. Raises UsageError where there is no `ToolNode` to gate, for a kind of
    `ToolNode` that runs tools in a way of its own, and for tools that run at the model's provider, which no gate can
    see.
    """
    _guard(agent, gate, messages_key, handovers)
    return agent


def _guard(agent: Any, gate: Gate, messages_key: str, handovers: Collection[str]) -> None:
    if isinstance(agent, ToolNode):
        refuse_own_kind(agent)
        _check_handovers(handovers, [agent], gate)
        gate_node(agent, gate, carried, handovers)
        return
    if not isinstance(agent, Pregel):
        raise UsageError(
            f"guard() takes a compiled graph or a ToolNode, not a {type(agent).__name__}; "
            "put @gated(gate) on functions that your nodes call"
        )
    graph = cast("Any", agent)
    kind: type[Any] = graph.__class__
    known = getattr(kind, "roadworthy_gate", None)
    if known is not None:
        if known.contract.digest == gate.contract.digest:
            return
        raise UsageError("this graph is guarded by a gate of another contract already; build it again for this one")
    walk = Walk(graph)
    if not walk.nodes:
        raise UsageError(
            "this graph has no ToolNode, so there is nothing that guard() could put behind the gate; "
            "put @gated(gate) on the functions that its nodes call"
        )
    for node in walk.nodes:
        refuse_own_kind(node)
    _check_handovers(handovers, walk.nodes, gate)
    refuse_hosted(gate.contract, walk.bound_tools)
    for found in walk.graphs:
        offer(found, gate)
    for node in walk.nodes:
        gate_node(node, gate, carried, handovers)
    object.__setattr__(graph, "__class__", guarded_class(kind, gate, messages_key, Map(graph)))


def _check_handovers(handovers: Collection[str], nodes: Collection[ToolNode], gate: Gate) -> None:
    """Refuse names that stand for no tool, and tools that the contract has: these are actions."""
    if isinstance(handovers, str):
        raise UsageError(f"handovers={handovers!r} is one text: give the names of the tools as a list")
    known = {name for node in nodes for name in node.tools_by_name}
    for name in handovers:
        if name not in known:
            tools = ", ".join(sorted(known))
            raise UsageError(f"handovers names {name!r}, which is no tool of this graph; its tools are {tools}")
        if isinstance(find_tool(gate.policy, name), ToolPolicy):
            raise UsageError(
                f"the contract has a tool {name!r}, so calls of it are actions: take it out of handovers, or out of "
                "the contract"
            )


# -- driving it -------------------------------------------------------------------------------------------------------


def drive(agent: Any, run: Run, start: Any = None, config: RunnableConfig | None = None, **more: Any) -> Any:
    """Run a guarded graph to its end, or until a person must decide: its last state, or Suspended as a value.

    `start` is the graph's input. It may be left out in a run that is driven again, in this process or another one.
    `config` and `more` go to the graph's `invoke`. A graph with a checkpointer runs in the thread that `config` names,
    else in one that is called as the run; when the run is driven again, that thread goes on from where it was before.
    """
    _must_be_guarded(agent)
    thread = Thread(agent, run, config)

    def go(given: Any) -> Any:
        return agent.invoke(given, thread.begin(), **more)

    return driving.drive(run, start, go)


async def adrive(
    agent: Any, run: Run, start: Any = None, config: RunnableConfig | None = None, **more: Any
) -> Any | Suspended:
    """`drive` for async code."""
    _must_be_guarded(agent)
    thread = Thread(agent, run, config)

    async def go(given: Any) -> Any:
        return await agent.ainvoke(given, await thread.abegin(), **more)

    return await driving.adrive(run, start, go)


def _must_be_guarded(agent: Any) -> None:
    if getattr(cast("type[Any]", agent.__class__), "roadworthy_gate", None) is None:
        raise driving.not_guarded(agent)


# -- functions that nodes call ----------------------------------------------------------------------------------------


def gated(gate: Gate, name: str | None = None) -> Callable[[plain.F], plain.F]:
    """Put a function that a node calls by itself behind the gate, blocking or async; see `adapters.plain.gated`.

    The run is the bound one, or the one of the guarded graph that the node belongs to. A node that is begun anew, after
    an interrupt or for a retry, calls the function again: what was done before comes back, and nothing is done twice.
    """

    def wrap(function: plain.F) -> plain.F:
        called: Any = plain.gated(gate, name, run=_run_here, beside=_beside)(function)
        if not is_async(function):
            return cast("plain.F", called)

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            trail = trail_of(config_here())
            if trail is not None and trail.waits:
                await asyncio.to_thread(trail.flush)
            return await called(*args, **kwargs)

        return cast("plain.F", awaited)

    return wrap


def _run_here() -> Run | None:
    return carried(config_here())


def _beside(tool: str, given: object) -> Mapping[str, Any]:
    config = config_here()
    trail, run = trail_of(config), carried(config)
    if trail is None or trail.run is not run:
        return {"agent": agent_here(config, run)}
    call_id = trail.name_call(config, tool, given)
    again = trail.asks(config, call_id)
    trail.flush()
    return {"agent": trail.agent(config), "call_id": call_id, "again": again}
