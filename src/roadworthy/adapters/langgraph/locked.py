"""The tools that a guarded graph of LangGraph shows to whoever holds it: called around the gate, they go through it."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable
from typing import Any, cast

from langchain_core.tools import BaseTool

from roadworthy.adapters.calls import abring, bring
from roadworthy.adapters.langgraph.call import carries
from roadworthy.adapters.langgraph.runs import carried, config_here
from roadworthy.adapters.langgraph.trail import agent_here
from roadworthy.adapters.plain import result_of
from roadworthy.core.types import Outcome
from roadworthy.gate.gate import Gate

_FRAMEWORKS = frozenset({"config", "callbacks", "run_manager"})
"""What LangChain hands to a tool's function beside its arguments."""


def locked(tool: BaseTool, gate: Gate) -> BaseTool:
    """A tool that runs when the gate carries a call of it. Every other call of it is brought to the gate first."""
    copy = tool.model_copy()
    own = _Lock(tool, gate)
    for name in ("func", "coroutine"):
        function = getattr(tool, name, None)
        if function is not None:
            object.__setattr__(copy, name, own.awaited(function) if name == "coroutine" else own.blocking(function))
    if getattr(tool, "func", None) is None and getattr(tool, "coroutine", None) is None:
        for name, lock in (("_run", own.blocking), ("_arun", own.awaited)):
            if getattr(type(tool), name) is not getattr(BaseTool, name):
                object.__setattr__(copy, name, lock(getattr(tool, name)))
    return copy


class _Lock:
    def __init__(self, tool: BaseTool, gate: Gate) -> None:
        self._name = tool.name
        self._gate = gate
        self._artifact = tool.response_format == "content_and_artifact"
        injected = cast("Any", getattr(tool, "_injected_args_keys", None)) or ()
        self._aside = _FRAMEWORKS | frozenset(injected)

    def blocking(self, function: Callable[..., Any]) -> Callable[..., Any]:
        name, gate = self._name, self._gate

        def behind_the_gate(*args: Any, **kwargs: Any) -> Any:
            if carries(name):
                return function(*args, **kwargs)
            given, aside = self._parts(kwargs)
            run, config = carried(config_here()), config_here()

            def call(**known: Any) -> Any:
                return function(**known, **aside)

            brought: Any = args or given  # arguments without names are none that the gate could judge
            return self._answer(bring(gate, run, name, brought, call, agent=agent_here(config, run)))

        return _looking_like(function, behind_the_gate)

    def awaited(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        name, gate = self._name, self._gate

        async def behind_the_gate(*args: Any, **kwargs: Any) -> Any:
            if carries(name):
                return await function(*args, **kwargs)
            given, aside = self._parts(kwargs)
            run, config = carried(config_here()), config_here()

            async def call(**known: Any) -> Any:
                return await function(**known, **aside)

            brought: Any = args or given
            return self._answer(await abring(gate, run, name, brought, call, agent=agent_here(config, run)))

        return _looking_like(function, behind_the_gate)

    def _parts(self, kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The model's arguments, and what the framework adds to them."""
        aside = {key: value for key, value in kwargs.items() if key in self._aside}
        return {key: value for key, value in kwargs.items() if key not in aside}, aside

    def _answer(self, outcome: Outcome) -> Any:
        found = result_of(outcome)
        return (found, None) if self._artifact else found


def _looking_like(function: Callable[..., Any], lock: Any) -> Any:
    """The lock with the looks of the function. Not `functools.wraps`: that hands the function itself out."""
    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        value = getattr(function, name, None)
        if isinstance(value, str):
            setattr(lock, name, value)
    try:
        lock.__annotations__ = typing.get_type_hints(function, include_extras=True)
        lock.__signature__ = inspect.signature(function)
    except Exception:  # names that cannot be resolved here: the framework finds nothing in them either
        lock.__annotations__ = dict(getattr(function, "__annotations__", {}))
    return lock
