"""What the tests of the LangGraph adapter build and look at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, cast

from conformance import Script, Shop
from langchain.agents import (
    create_agent,  # pyright: ignore[reportUnknownVariableType]  # generic over unknown schemas
)
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import StructuredTool
from langgraph.graph import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked as such
    START,
    MessagesState,
    StateGraph,
)
from langgraph.prebuilt import ToolNode, tools_condition

from roadworthy import Gate, Ledger
from roadworthy.adapters.langgraph import RoadworthyMiddleware
from roadworthy.core.types import Kind
from roadworthy.examples.scripted.langgraph import ScriptedChatModel

create = cast("Any", create_agent)


def tools(shop: Shop) -> list[Any]:
    return [StructuredTool.from_function(f) for f in shop.functions().values()]


def atools(shop: Shop) -> list[Any]:
    return [StructuredTool.from_function(coroutine=f) for f in shop.afunctions().values()]


def said(state: Any) -> str:
    return str(state["messages"][-1].content)


def by_hand(gate: Gate, shop: Shop, script: Script, *, node: Any = None, **more: Any) -> Any:
    """A graph built by hand, with a ToolNode for all calls of a turn. It offers what its author binds."""
    own = tools(shop)
    extras = RoadworthyMiddleware(gate).tools
    bound = InTokens(respond=script).bind_tools([*own, *extras])

    def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [bound.invoke(state["messages"])]}

    graph: Any = cast("Any", StateGraph)(MessagesState)
    graph.add_node("think", think)
    graph.add_node("act", node or ToolNode(own))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", tools_condition, {"tools": "act", "__end__": "__end__"})
    graph.add_edge("act", "think")
    return graph.compile(**more)


def ask(*words: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text} for text in words]}


def thread(name: str = "t1", **more: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": name, **more}}


def texts(ledger: Ledger, kind: Kind, run: str = "t1") -> list[str]:
    return [entry.body["text"] for entry in ledger.entries(run=run, kind=kind)]


def never_waits(so_far: str) -> None:
    """What models do between their tokens, unless a test says otherwise."""


class InTokens(ScriptedChatModel):
    """A model that streams what it says character by character."""

    after: ClassVar[Callable[[str], None]] = staticmethod(never_waits)
    """Called with what was said so far."""

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        said = self._generate(messages, **{k: v for k, v in kwargs.items() if k == "tools"})
        whole = cast("AIMessage", said.generations[0].message)
        calls = [
            {"name": c["name"], "args": json.dumps(c["args"]), "id": c["id"], "index": i}
            for i, c in enumerate(whole.tool_calls)
        ]
        so_far = ""
        for part in [*str(whole.content)] or [""]:
            yield ChatGenerationChunk(message=AIMessageChunk(content=part, tool_call_chunks=cast("Any", calls)))
            so_far += part
            type(self).after(so_far)
