"""What a graph of LangGraph would run, as far as it can be seen from outside."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import FunctionType, MethodType
from typing import Any, cast

from langchain_core.language_models import BaseLanguageModel
from langchain_core.runnables import Runnable
from langchain_core.runnables.base import RunnableBinding
from langchain_core.tools import BaseTool
from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked as such

from roadworthy.adapters.reach import named_in, of_others


class Walk:
    """Everything that a graph would run, as far as it can be seen from outside: its tool nodes and its subgraphs.

    Followed are the runnables that a runnable holds (fallbacks, retries, branches, parallel steps), and what a function
    refers to by name, in its closure, its defaults or its module; so is a tool of a tool node, since it may ask another
    agent, whose tools are not behind the gate because the tool is. Models are not followed.
    """

    def __init__(self, graph: Any) -> None:
        self.nodes: list[ToolNode] = []
        self.graphs: list[Any] = []
        self.bound_tools: list[Any] = []
        """What models were bound to, as far as it can be seen."""
        self._seen: dict[int, Any] = {}
        """What was looked at, by its id; held, so that no id comes up twice."""
        self._waiting: list[Any] = [graph]
        while self._waiting:
            part = self._waiting.pop()
            if id(part) not in self._seen:
                self._seen[id(part)] = part
                self._look(part)

    def _look(self, part: Any) -> None:
        if isinstance(part, ToolNode):
            self.nodes.append(part)
            for tool in part.tools_by_name.values():
                own = [getattr(tool, name, None) for name in ("func", "coroutine", "_run", "_arun")]
                self._waiting += [*own, *vars(tool).values()]
        elif isinstance(part, Pregel):
            graph = cast("Any", part)
            self.graphs.append(graph)
            self._waiting += [held for node in graph.nodes.values() for held in (node.bound, *node.writers)]
            self._waiting += [found for _, found in graph.get_subgraphs()]
        elif isinstance(part, BaseTool | BaseLanguageModel | type | str | bytes):
            return
        elif isinstance(part, Mapping):
            self._waiting += cast("Mapping[Any, Any]", part).values()
        elif isinstance(part, list | tuple | set | frozenset):
            self._waiting += cast("list[Any]", part)
        elif isinstance(part, FunctionType):
            self._waiting += named_in(part)
        elif isinstance(part, MethodType):
            owner = cast("Any", part.__self__)
            self._waiting += [part.__func__, *getattr(owner, "__dict__", {}).values()]
            if isinstance(owner, Runnable | tuple):
                self._waiting.append(cast("Any", owner))
        elif isinstance(part, functools.partial):
            made = cast("functools.partial[Any]", part)
            self._waiting += [made.func, *made.args, *made.keywords.values()]
        elif isinstance(part, RunnableBinding):
            binding = cast("Any", part)
            self.bound_tools += binding.kwargs.get("tools") or ()
            self._waiting.append(binding.bound)
        elif isinstance(part, Runnable):
            self._waiting += getattr(cast("Any", part), "__dict__", {}).values()
        elif not of_others(type(cast("object", part))) and callable(cast("object", part)):
            # An object that is called as a function is.
            self._waiting += [type(part).__call__, *getattr(part, "__dict__", {}).values()]
