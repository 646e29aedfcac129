"""What a graph of LangGraph would run, as far as it can be seen from outside."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast

from langchain_core.language_models import BaseLanguageModel
from langchain_core.runnables import Runnable
from langchain_core.runnables.base import RunnableBinding
from langchain_core.tools import BaseTool
from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked as such


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
            self._waiting += _named_in(part)
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
        elif not _of_others(type(cast("object", part))) and callable(cast("object", part)):
            # An object that is called as a function is.
            self._waiting += [type(part).__call__, *getattr(part, "__dict__", {}).values()]


_OTHERS = frozenset({*sys.stdlib_module_names, "langchain", "langchain_core", "langgraph", "pydantic", "roadworthy"})
"""Whose functions refer to nothing of the application's by a global name."""


def _of_others(thing: Any) -> bool:
    module = getattr(thing, "__module__", None) or ""
    return module.partition(".")[0] in _OTHERS and module != "__main__"


def _named_in(function: FunctionType) -> list[Any]:
    """What a function can reach by name. An attribute of a module or of an object counts when its name is written."""
    found: list[Any] = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # a name that is not bound yet
            found.append(cell.cell_contents)
    if (wrapped := getattr(function, "__wrapped__", None)) is not None:
        found.append(wrapped)
    codes, names = [function.__code__], set[str]()
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    if not _of_others(function):
        found += [function.__globals__[name] for name in names if name in function.__globals__]
    for holder in list(found):
        if isinstance(holder, ModuleType) and holder.__name__.partition(".")[0] in _OTHERS:
            continue
        if not isinstance(holder, type | Runnable | FunctionType | MethodType):
            attributes = cast("dict[str, Any]", getattr(holder, "__dict__", {}))
            found += [attributes[name] for name in names if name in attributes]
    return found
