"""The tools that are reached from what an application has built: lists, toolkits, workbenches, agents, teams, graphs.

Frameworks are known by the shape of their objects and never imported. What is found twice counts once, and what is no
function here (a tool that runs at the model's provider, a server that cannot be asked) is told, never left out in
silence.
"""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Final, Literal, cast

from roadworthy.contract.code import CodeTool, is_schema, is_tool, no_tool, own_tool, tool_of

_DEEP: Final = 30
_STEPS: Final = 4
"""So many functions inside of each other are looked through."""
_CALLED: Final = ("func", "_func", "coroutine", "function")
"""Where tools of frameworks keep what they run."""
_MOST: Final = 5_000
"""So many objects are looked at, and no more."""
_WAIT_S: Final = 60.0
"""So long may a workbench or server take to list its tools."""

_Place = Literal["given", "tools", "inside"]
"""Where something stood: the caller gave it as a tool, a framework keeps it as one, or it may be anything."""

_INSIDE: Final = (
    "tools", "_tools",  # toolkits and agents; AutoGen's keep theirs private
    "tools_by_name",  # LangGraph's ToolNode
    "toolsets", "wrapped",  # Pydantic AI
    "nodes", "bound", "runnable", "steps", "first", "middle", "last",  # LangGraph, and the runnables of LangChain
    "agents", "tasks", "manager_agent", "agent",  # CrewAI
    "_workbench", "workbench", "_participants", "participants", "_agent", "_team",  # AutoGen
    "handoffs", "_agent_ref", "mcp_servers", "mcp_tools",  # OpenAI Agents, Microsoft Agent Framework
    "default_options", "executors",
)  # fmt: skip
"""Where frameworks keep tools, or what has tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What was found."""

    tools: tuple[CodeTool, ...]
    left_out: tuple[str, ...] = ()
    """What is a tool, or has some, and could not be read: each with why."""


def reach(source: Any) -> Reached:
    """The tools in a module, a list, a mapping from names to tools, an agent and all that it is made of, or one tool.

    A workbench or a server that must be asked is asked. Raises UsageError for what is no tool and has none.
    """
    walk = _Walk()
    walk.go(source, None, 0, "given")
    return Reached(tools=tuple(walk.found.values()), left_out=tuple(dict.fromkeys(walk.left_out)))


def code_tools(source: Any) -> tuple[CodeTool, ...]:
    """The tools that `reach` finds, and nothing of what it could not read."""
    return reach(source).tools


@dataclass(slots=True)
class _Walk:
    found: dict[str, CodeTool] = field(default_factory=dict[str, CodeTool])
    left_out: list[str] = field(default_factory=list[str])
    seen: dict[int, object] = field(default_factory=dict[int, object])
    """Everything that was looked at, kept alive so that no id is given out again."""

    def go(self, value: Any, name: str | None, depth: int, place: _Place) -> None:
        if depth > _DEEP or len(self.seen) > _MOST or (id(value) in self.seen and name is None):
            return
        self.seen[id(value)] = value
        if isinstance(value, weakref.ReferenceType):
            self.go(cast("Any", value()), None, depth + 1, place)
        elif isinstance(value, ModuleType):
            for key, inner in vars(value).items():
                if not key.startswith("_") and own_tool(inner, value):
                    self.add(tool_of(inner, None))
        elif isinstance(value, Mapping):
            self._mapping(cast("Mapping[str, Any]", value), name, depth, place)
        elif is_tool(value):
            self.add(tool_of(value, name))
            for inside in ("_agent", "_team", "_agent_instance"):  # an agent that is a tool calls tools of its own
                self.go(_attribute(value, inside), None, depth + 1, "inside")
            for name in _CALLED:
                self._behind(getattr(value, name, None), depth, 0)
        elif self._holds(value):
            self._holder(value, depth)
        elif isinstance(value, list | tuple) or (place == "given" and _several(cast("object", value))):
            for item in list(cast("Iterable[Any]", value)):
                self.go(item, None, depth + 1, place)
        elif callable(cast("object", value)) and not inspect.isclass(value) and place != "inside":
            self.add(tool_of(value, name))
        elif place == "given":
            raise no_tool(cast("object", value), name)
        elif place == "tools" and value is not None:
            said = name or getattr(cast("object", value), "name", None)
            who = said if isinstance(said, str) and said else type(cast("object", value)).__name__
            self.left_out.append(f"{who} is no function here: where it runs there is no gate")

    def _behind(self, function: Any, depth: int, steps: int) -> None:
        """An agent that a framework made a tool of is held by nothing but the function that runs it."""
        if function is None or steps > _STEPS or id(function) in self.seen:
            return
        self.seen[id(function)] = function
        plain = inspect.unwrap(getattr(function, "__func__", getattr(function, "func", function)))
        for cell in getattr(plain, "__closure__", None) or ():
            try:
                held = cell.cell_contents
            except ValueError:  # it is not bound yet
                continue
            if inspect.isfunction(held) or inspect.ismethod(held):
                self._behind(held, depth, steps + 1)
            elif not isinstance(held, Mapping | ModuleType) and not is_tool(held) and self._holds(held):
                self.go(held, None, depth + 1, "inside")

    def _mapping(self, value: Mapping[str, Any], name: str | None, depth: int, place: _Place) -> None:
        if is_schema(value):
            self.add(tool_of(value, name))
            return
        if isinstance(value.get("type"), str) and place != "inside":
            self.left_out.append(f"{value['type']} runs at the model's provider, where there is no gate")
            return
        listed = value.get("tools")
        if isinstance(listed, list | tuple):  # the answer of an MCP server, the options of an agent
            self.go(listed, None, depth + 1, "tools")
            return
        for key, inner in value.items():
            self.go(inner, str(key), depth + 1, place)

    def _holds(self, value: Any) -> bool:
        """Whether an object is of a framework, and holds tools or what has some."""
        if isinstance(value, list | tuple | set | frozenset) or _plain(value):
            return False
        return _asks(value) or any(_attribute(value, name) is not None for name in _INSIDE)

    def _holder(self, value: Any, depth: int) -> None:
        if self._renamed(value, depth):
            return
        for name in _INSIDE:
            inside = _attribute(value, name)
            place: _Place = "tools" if name in ("tools", "_tools", "mcp_tools") else "inside"
            if isinstance(inside, Mapping) and name != "default_options":
                inside = list(cast("Mapping[str, Any]", inside).values())
            self.go(inside, None, depth + 1, place)
        if _asks(value) and not _attribute(value, "_tools") and not _attribute(value, "tools"):
            self._ask(value, depth)

    def _renamed(self, value: Any, depth: int) -> bool:
        """Pydantic AI's toolsets that call the tools of another by other names; False for what is none."""
        prefix, names = _attribute(value, "prefix"), _attribute(value, "name_map")
        if _attribute(value, "wrapped") is None or not (isinstance(prefix, str) or isinstance(names, Mapping)):
            return False
        inner = _Walk()  # of its own: another may call the same tools by other names again
        inner.go(value.wrapped, None, depth + 1, "inside")
        by_old = {old: new for new, old in cast("Mapping[str, str]", names).items()} if names else {}
        for old, tool in inner.found.items():
            self.add(replace(tool, name=by_old.get(old) or (f"{prefix}_{old}" if isinstance(prefix, str) else old)))
        self.left_out += inner.left_out
        return True

    def _ask(self, value: Any, depth: int) -> None:
        try:
            listed = _list_tools(value)
        except Exception as error:  # a server or program of others: whatever it raises is told
            said = getattr(value, "name", None)
            who = said if isinstance(said, str) else type(value).__name__
            why = f"{type(error).__name__}: {error}".strip(": ")
            self.left_out.append(
                f"{who} cannot be asked for its tools ({why}); if it is an MCP server, draft from it by itself: "
                "roadworthy init -- COMMAND"
            )
            return
        for item in listed:
            self.go(item, None, depth + 1, "tools")

    def add(self, tool: CodeTool) -> None:
        known = self.found.setdefault(tool.name, tool)
        if known.parameters != tool.parameters:
            self.left_out.append(
                f"another tool is called {tool.name} and takes other arguments; give each its own name"
            )


def _plain(value: object) -> bool:
    return isinstance(value, str | bytes | int | float | bool) or inspect.isclass(value)


def _several(value: object) -> bool:
    return isinstance(value, Iterable) and not _plain(cast("object", value))


def _attribute(value: Any, name: str) -> Any:
    """An attribute that is no method. Properties of others may raise anything."""
    try:
        found = getattr(value, name, None)
    except Exception:
        return None
    return None if inspect.isroutine(found) else found


def _asks(value: Any) -> bool:
    """Whether an object lists its tools when it is asked: workbenches, MCP servers and sessions."""
    return all(inspect.iscoroutinefunction(getattr(value, name, None)) for name in ("list_tools", "call_tool"))


def _list_tools(value: Any) -> Iterable[Any]:
    async def ask() -> Any:
        if hasattr(value, "__aenter__"):
            async with value:
                return await value.list_tools()
        try:
            return await value.list_tools()
        finally:
            stop = getattr(value, "stop", None)
            if inspect.iscoroutinefunction(stop):
                await stop()

    def alone() -> Any:
        return asyncio.run(asyncio.wait_for(ask(), _WAIT_S))

    # In a thread of its own: the caller may be in an event loop.
    with ThreadPoolExecutor(max_workers=1) as threads:
        listed = threads.submit(alone).result()
    inner = getattr(listed, "tools", listed)  # an MCP session gives a page
    return cast("Iterable[Any]", inner)
