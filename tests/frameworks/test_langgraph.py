"""The adapter for LangGraph and LangChain."""

from __future__ import annotations

from typing import Any, cast

from conformance import BoundConformance, Script, Shop, within
from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType]  # generic over unknown schemas
from langchain_core.tools import StructuredTool
from langgraph.graph import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked as such
    START,
    MessagesState,
    StateGraph,
)
from langgraph.prebuilt import ToolNode, tools_condition

from roadworthy import Gate
from roadworthy.adapters.langgraph import RoadworthyMiddleware, guard
from roadworthy.examples.scripted.langgraph import model

create = cast("Any", create_agent)


def tools(shop: Shop) -> list[Any]:
    return [StructuredTool.from_function(f) for f in shop.functions().values()]


def atools(shop: Shop) -> list[Any]:
    return [StructuredTool.from_function(coroutine=f) for f in shop.afunctions().values()]


def said(state: Any) -> str:
    return str(state["messages"][-1].content)


def talk_guarded(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = guard(create(model(script), tools(shop)), gate)
    return said(agent.invoke({"messages": [{"role": "user", "content": text}]}))


def talk_guarded_async(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = guard(create(model(script), atools(shop)), gate)

    async def go() -> str:
        return said(await agent.ainvoke({"messages": [{"role": "user", "content": text}]}))

    return within(20, go())


def talk_guarded_async_with_blocking_tools(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = guard(create(model(script), list(shop.functions().values())), gate)

    async def go() -> str:
        return said(await agent.ainvoke({"messages": [{"role": "user", "content": text}]}))

    return within(20, go())


def talk_middleware(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = create(model(script), tools(shop), middleware=[RoadworthyMiddleware(gate)])
    return said(agent.invoke({"messages": [{"role": "user", "content": text}]}))


def talk_middleware_async(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = create(model(script), atools(shop), middleware=[RoadworthyMiddleware(gate)])

    async def go() -> str:
        return said(await agent.ainvoke({"messages": [{"role": "user", "content": text}]}))

    return within(20, go())


def by_hand(gate: Gate, shop: Shop, script: Script) -> Any:
    """A graph built by hand, with a ToolNode for all calls of a turn. It offers what its author binds."""
    own = tools(shop)
    extras = RoadworthyMiddleware(gate).tools
    bound = model(script).bind_tools([*own, *extras])

    def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [bound.invoke(state["messages"])]}

    graph: Any = cast("Any", StateGraph)(MessagesState)
    graph.add_node("think", think)
    graph.add_node("act", ToolNode(own))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", tools_condition, {"tools": "act", "__end__": "__end__"})
    graph.add_edge("act", "think")
    return graph.compile()


def talk_by_hand(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = guard(by_hand(gate, shop, script), gate)
    return said(agent.invoke({"messages": [{"role": "user", "content": text}]}))


class TestGuarded(BoundConformance):
    talk = staticmethod(talk_guarded)


class TestGuardedAsync(BoundConformance):
    talk = staticmethod(talk_guarded_async)


class TestGuardedAsyncWithBlockingTools(BoundConformance):
    talk = staticmethod(talk_guarded_async_with_blocking_tools)


class TestMiddleware(BoundConformance):
    talk = staticmethod(talk_middleware)


class TestMiddlewareAsync(BoundConformance):
    talk = staticmethod(talk_middleware_async)


class TestByHand(BoundConformance):
    talk = staticmethod(talk_by_hand)
