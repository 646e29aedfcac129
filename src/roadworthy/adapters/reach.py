"""What a function can reach by name: the agents that a tool asks are guarded with the agent that has the tool."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterable, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast

OTHERS = frozenset(
    {
        *sys.stdlib_module_names,
        "agent_framework",
        "anyio",
        "httpx",
        "langchain",
        "langchain_core",
        "langgraph",
        "openai",
        "pydantic",
        "pydantic_ai",
        "roadworthy",
    }
)
"""Packages whose functions refer to nothing of the application's by a global name."""
_MOST = 20_000
"""Objects that are looked at: an application's tools are reached long before."""


def of_others(thing: Any) -> bool:
    """Whether a function or class is of a package that knows nothing of the application."""
    module = getattr(thing, "__module__", None) or ""
    if module.startswith("agents."):  # the OpenAI Agents SDK, unless the application has a package of that name
        return hasattr(sys.modules.get("agents"), "Runner")
    return module.partition(".")[0] in OTHERS and module != "__main__"


def named_in(function: FunctionType) -> list[Any]:
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
    if not of_others(function):
        found += [function.__globals__[name] for name in names if name in function.__globals__]
    for holder in list(found):
        if isinstance(holder, ModuleType) and holder.__name__.partition(".")[0] in OTHERS:
            continue
        if not isinstance(holder, type | FunctionType | MethodType):
            attributes = cast("dict[str, Any]", getattr(holder, "__dict__", {}))
            found += [attributes[name] for name in names if name in attributes]
    return found


def reached(starts: Iterable[Any], kind: type[Any] | tuple[type[Any], ...]) -> list[Any]:
    """The agents without a gate that functions can reach by name, in what they close over, in containers and in `self`.

    `kind` is the framework's class of agents. What a function makes or finds while it runs cannot be seen from outside.
    """
    found: list[Any] = []
    seen: dict[int, Any] = {}
    waiting = list(starts)
    while waiting and len(seen) < _MOST:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part  # held, so that no id comes up twice
        if isinstance(part, kind):
            if getattr(part, "roadworthy_gate", None) is None:
                found.append(part)
        elif isinstance(part, type | str | bytes | int | float | ModuleType):
            continue
        elif isinstance(part, Mapping):
            waiting += cast("Mapping[Any, Any]", part).values()
        elif isinstance(part, list | tuple | set | frozenset):
            waiting += cast("list[Any]", part)
        elif isinstance(part, FunctionType):
            waiting += named_in(part)
        elif isinstance(part, MethodType):
            waiting += [part.__func__, *getattr(part.__self__, "__dict__", {}).values()]
        elif isinstance(part, functools.partial):
            made = cast("functools.partial[Any]", part)
            waiting += [made.func, *made.args, *made.keywords.values()]
        elif callable(cast("object", part)):
            waiting += getattr(part, "__dict__", {}).values()
            if not of_others(type(cast("object", part))):
                waiting.append(type(part).__call__)
    return found
