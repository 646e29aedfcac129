"""The nodes of a graph of LangGraph that run tools, or ask a model: how the gate gets between."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Collection
from typing import Any, cast

from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest

from roadworthy.adapters.calls import OFFERED, refuse_hosted
from roadworthy.adapters.langgraph.call import Find, awrapper, is_handover, offered_tool, stopping, wrapper
from roadworthy.adapters.langgraph.locked import locked
from roadworthy.adapters.langgraph.turn import ajudged_node, judged_node
from roadworthy.core.errors import UsageError
from roadworthy.gate.gate import Gate

_RUNS_TOOLS = ("_func", "_afunc", "_run_one", "_arun_one", "_execute_tool_sync", "_execute_tool_async")
"""The methods of a ToolNode between which its wrappers stand."""


def refuse_own_kind(node: ToolNode) -> None:
    """Refuse a ToolNode in which the gate would stand beside the way to its tools."""
    kind: Any = type(node)
    own = [name for name in _RUNS_TOOLS if getattr(kind, name, None) is not getattr(ToolNode, name, None)]
    if own or not hasattr(node, "_wrap_tool_call"):
        why = f"overrides {', '.join(own)}" if own else "takes no wrap_tool_call"
        raise UsageError(
            f"the ToolNode {node.name!r} is a {kind.__name__} that {why}, so its tools could run past the gate; "
            "use a plain ToolNode and give it what you need as wrap_tool_call"
        )


def gate_node(node: ToolNode, gate: Gate, find: Find, handovers: Collection[str] = ()) -> None:
    """Make the gate the innermost wrapper of a ToolNode, so that every retry of an outer one passes it again."""
    known = getattr(node, "roadworthy_gate", None)
    if known is not None:
        if known.contract.digest == gate.contract.digest:
            return
        raise UsageError("this ToolNode is guarded by a gate of another contract already; build it again for this one")
    inner: Any = wrapper(gate, find, handovers)
    ainner: Any = awrapper(gate, find, handovers)
    parts = cast("Any", node)  # the wrappers are arguments of the constructor, and private afterwards
    outer, aouter = parts._wrap_tool_call, parts._awrap_tool_call

    def wrap(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Any:
        def call_inner(changed: ToolCallRequest) -> Any:
            return inner(changed, execute)

        return outer(request, call_inner)

    async def awrap(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[Any]]) -> Any:
        async def call_inner(changed: ToolCallRequest) -> Any:
            return await ainner(changed, execute)

        return await aouter(request, call_inner)

    parts._wrap_tool_call = wrap if outer is not None else inner
    if aouter is not None:
        parts._awrap_tool_call = awrap
    elif outer is None:
        parts._awrap_tool_call = ainner
    # With a blocking wrapper only, the node itself runs that one in async code, and our blocking one inside it.
    func, afunc = parts.func, parts.afunc

    @functools.wraps(func)
    def run(*args: Any, **kwargs: Any) -> Any:
        with stopping():
            return func(*args, **kwargs)

    @functools.wraps(afunc)
    async def arun(*args: Any, **kwargs: Any) -> Any:
        with stopping():
            return await afunc(*args, **kwargs)

    parts.func, parts.afunc = run, arun
    for name, tool in node.tools_by_name.items():
        if name not in handovers and not is_handover(tool, gate):
            node.tools_by_name[name] = locked(tool, gate)
    parts.roadworthy_gate = gate


def offer(graph: Any, gate: Gate) -> None:
    """Judge what the model of a `create_agent` graph says, offer it our tools, and refuse tools that run elsewhere.

    `create_agent` keeps the model's tools in a list that only its model node knows. Where a release of LangChain keeps
    them elsewhere, nothing is offered, replies are judged when the graph has ended, and nothing else changes.
    """
    nodes = getattr(graph, "nodes", {})
    model, tools = nodes.get("model"), nodes.get("tools")
    node = tools.bound if tools is not None else None
    function = getattr(model.bound, "func", None) if model is not None else None
    cells = getattr(function, "__closure__", None) or ()
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    listed: Any = next((c.cell_contents for n, c in zip(names, cells, strict=False) if n == "default_tools"), None)
    if not isinstance(listed, list) or model is None or function is None:
        return
    shown = cast("list[Any]", listed)
    refuse_hosted(gate.contract, shown)
    model.bound.func = judged_node(function, gate)
    if model.bound.afunc is not None:
        model.bound.afunc = ajudged_node(model.bound.afunc, gate)
    if not isinstance(node, ToolNode):
        return
    for extra in OFFERED:
        if extra.name not in node.tools_by_name:
            tool = offered_tool(extra)
            node.tools_by_name[extra.name] = tool
            shown.append(tool)
