"""Several agents in one graph of LangGraph, in the forms in which people build them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

from conformance import Script, Shop
from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.graph import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked as such
    END,
    START,
    MessagesState,
    StateGraph,
)
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send
from langgraph_agents import atools, create, tools

from roadworthy import Ledger
from roadworthy.examples.scripted.langgraph import model
from roadworthy.examples.scripted.messages import Message, ToolSchema


class Turns(Script):
    """A script that counts how often this model was asked, and not what others have said before it."""

    def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
        asked = len(self.seen)
        self.seen.append(messages)
        turn = self.turns[asked]
        calls = [] if isinstance(turn, str) else list(turn)
        if not calls:
            return {"role": "assistant", "content": cast("str", turn)}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": f"{id(self)}-{asked}-{at}",
                    "type": "function",
                    "function": {"name": name, "arguments": arguments(given)},
                }
                for at, (name, given) in enumerate(calls)
            ],
        }


def arguments(given: Any) -> str:
    import json

    return given if isinstance(given, str) else json.dumps(given)


def transfer_to(agent: str) -> BaseTool:
    """A tool that hands control to another agent of the graph around it, as LangGraph's documentation writes it."""

    def transfer(reason: str, runtime: ToolRuntime[Any, Any]) -> Command[Any]:
        told = ToolMessage(f"Now {agent} takes over.", tool_call_id=runtime.tool_call_id)
        mine = [m for m in runtime.state["messages"] if isinstance(m, AIMessage)][-1:]
        return Command(goto=agent, graph=Command.PARENT, update={"messages": [*mine, told]})

    return StructuredTool.from_function(transfer, name=f"transfer_to_{agent}", description=f"Hand over to {agent}.")


def agent(name: str, shop: Shop, *turns: Any, more: Sequence[Any] = (), use_async: bool = False) -> Any:
    """An agent of `create_agent` with the shop's tools."""
    own = atools(shop) if use_async else tools(shop)
    return create(model(Turns(*turns)), [*own, *more], name=name)


def swarm(agents: Sequence[Any], **compiled: Any) -> Any:
    """A graph of agents that hand control to each other; the first begins."""
    graph: Any = cast("Any", StateGraph)(MessagesState)
    names = [one.name for one in agents]
    for one in agents:
        graph.add_node(one.name, one, destinations=tuple(name for name in names if name != one.name))
    graph.add_edge(START, names[0])
    return graph.compile(**compiled)


def by_commands(shop: Shop, front: Script, back: Script) -> Any:
    """Two agents as functions of one graph, each with a node for its tools; the front desk sends people to the back."""
    own = tools(shop)

    def thinking(script: Script) -> Callable[[Mapping[str, Any]], AIMessage]:
        bound = model(script).bind_tools(own)

        def think(state: Mapping[str, Any]) -> AIMessage:
            return bound.invoke(state["messages"])

        return think

    ask_front, ask_back = thinking(front), thinking(back)

    def front_desk(state: MessagesState) -> Command[Literal["front_tools", "back_office", "__end__"]]:
        said = ask_front(state)
        to = "front_tools" if said.tool_calls else "back_office"
        return Command(goto=cast("Any", to), update={"messages": [said]})

    def back_office(state: MessagesState) -> Command[Literal["back_tools", "__end__"]]:
        said = ask_back(state)
        return Command(goto=cast("Any", "back_tools" if said.tool_calls else END), update={"messages": [said]})

    graph: Any = cast("Any", StateGraph)(MessagesState)
    graph.add_node("front_desk", front_desk)
    graph.add_node("front_tools", ToolNode(own))
    graph.add_node("back_office", back_office)
    graph.add_node("back_tools", ToolNode(own))
    graph.add_edge(START, "front_desk")
    graph.add_edge("front_tools", "front_desk")
    graph.add_edge("back_tools", "back_office")
    return graph.compile()


def fan_out(worker: Any, jobs: Sequence[Mapping[str, Any]]) -> Any:
    """One worker for each job, side by side."""
    graph: Any = cast("Any", StateGraph)(MessagesState)
    graph.add_node("plan", lambda state: {})  # pyright: ignore[reportUnknownLambdaType]  # a node
    graph.add_node("worker", worker)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", lambda state: [Send("worker", job) for job in jobs], ["worker"])  # pyright: ignore[reportUnknownLambdaType]
    return graph.compile()


def asked_by(ledger: Ledger, run: str = "t1") -> list[tuple[str | None, str]]:
    """Which agent asked for which tool."""
    return [(e.body.get("agent"), e.body["tool"]) for e in ledger.entries(run=run, kind="action") if "by" not in e.body]


def handed(ledger: Ledger, run: str = "t1") -> list[tuple[str | None, str, str]]:
    """Who gave way to whom, and how; `back` and the agent for work that came back."""
    found: list[tuple[str | None, str, str]] = []
    whose: dict[str, str] = {}
    for entry in ledger.entries(run=run, kind="handover"):
        body = entry.body
        if "returned" in body:
            found.append((None, "back", whose[body["returned"]]))
        elif "agent" in body:
            whose[body["id"]] = body["agent"]
            found.append((body["source"], body["how"], body["agent"]))
    return found


def path(ledger: Ledger, run: str = "t1") -> list[str]:
    """The nodes that were begun."""
    return [s["node"] for e in ledger.entries(run=run, kind="observation") for s in e.body.get("path", ())]
