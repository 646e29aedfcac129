"""Functions of a guarded agent's tools: they run while the gate carries their tool, and refuse everybody else.

Whoever holds an agent can get at its tools and call them by hand. That is a mistake and no attack, since the same code
could call the function itself; it must not pass silently, though.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from roadworthy.core.errors import UsageError
from roadworthy.gate.carry import is_async

_CARRIED: ContextVar[bool] = ContextVar("roadworthy_carried", default=False)


@contextmanager
def carried() -> Generator[None]:
    """The gate carries a tool now. Around the framework's own call of it, and never around a `yield`."""
    with _set(True):
        yield


@contextmanager
def _set(value: bool) -> Generator[None]:
    token = _CARRIED.set(value)
    try:
        yield
    finally:
        _CARRIED.reset(token)


def armed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function of a tool, behind the tripwire; raises UsageError when it is called around the gate.

    It keeps its signature. The function itself is not among its attributes; `unarmed` gives it to adapters. What it
    calls is not carried with it: one tool does not open the way to another.
    """
    if hasattr(function, "roadworthy_function"):
        return function
    if is_async(function):

        async def acalled(*args: Any, **kwargs: Any) -> Any:
            _refuse(name)
            with _set(False):
                return await function(*args, **kwargs)

        return _like(acalled, function)

    def called(*args: Any, **kwargs: Any) -> Any:
        _refuse(name)
        with _set(False):
            return function(*args, **kwargs)

    return _like(called, function)


def unarmed(function: Any) -> Any:
    """The function itself, for looking at it."""
    behind = getattr(function, "roadworthy_function", None)
    return behind() if behind is not None else function


def _refuse(name: str) -> None:
    if not _CARRIED.get():
        raise UsageError(
            f"{name} was called around the gate, and was not done: let the agent call it, or call it by "
            f"run.call({name!r}, ...)"
        )


def _like(wrapper: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    functools.update_wrapper(wrapper, function)
    del wrapper.__wrapped__  # it would lead around the tripwire
    wrapper.__signature__ = inspect.signature(function)
    wrapper.roadworthy_function = lambda: function
    return wrapper
