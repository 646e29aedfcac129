"""Finding an agent or a world by its name `module:name`."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roadworthy.contract.names import did_you_mean
from roadworthy.core.errors import UsageError
from roadworthy.trials.world import World


def _find(name: str, what: str, example: str) -> Any:
    module_name, colon, inside = name.partition(":")
    if not colon or not module_name or not inside:
        raise UsageError(f"{name!r} does not name {what}; write {example}")
    here = str(Path.cwd())
    if here not in sys.path:  # a console script has its own folder there, not the user's
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as e:
        if e.name is not None and (module_name == e.name or module_name.startswith(e.name + ".")):
            raise UsageError(
                f"{what} {name!r}: there is no module {e.name!r}; run from the folder that holds it, or install it"
            ) from e
        raise UsageError(f"{what} {name!r}: its module needs {e.name!r}, which is not installed") from e
    except KeyboardInterrupt:
        raise
    except BaseException as e:  # importing runs the author's code, which may raise anything, or call sys.exit()
        raise UsageError(f"{what} {name!r} cannot be imported: {type(e).__name__}: {e}") from e
    for part in inside.split("."):
        if not hasattr(found, part):
            names = [n for n in dir(found) if not n.startswith("_")]
            raise UsageError(f"{what} {name!r}: {module_name} has no {part!r}; {did_you_mean(part, names)}")
        found = getattr(found, part)
    return found


def find_agent(name: str) -> Callable[..., Any]:
    """The function behind `module:function`. Raises UsageError, also where it is not callable as `agent(run, user)`."""
    agent = _find(name, "the agent", "module:function, such as my_agents:support")
    check_agent(agent, name)
    return agent


def check_agent(agent: Any, name: str) -> None:
    """Raises UsageError where something is no agent for trials."""
    if not callable(agent):
        raise UsageError(f"the agent {name!r} is a {type(agent).__name__}; give a function `def agent(run, user)`")
    called = agent if inspect.isroutine(agent) else getattr(agent, "__call__", agent)  # noqa: B004
    if any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in (agent, called)):
        raise UsageError(
            f"the agent {name!r} is a generator function, which does nothing when it is called; return the last reply "
            "in place of `yield`, and say what comes before it by user.tell(text)"
        )
    try:
        inspect.signature(agent).bind(object(), object())
    except (TypeError, ValueError) as e:
        raise UsageError(
            f"the agent {name!r} cannot be called as agent(run, user) ({e}); write `def agent(run, user):` or "
            "`async def agent(run, user):`, and wrap what needs other arguments"
        ) from e


def find_world(name: str) -> World:
    """The world behind `module:name`. Raises UsageError."""
    world = _find(name, "the world", "module:name, such as my_worlds:shop")
    if not isinstance(world, World):
        raise UsageError(f"the world {name!r} is a {type(world).__name__}; give a roadworthy World(...)")
    return world


def name_of(agent: Callable[..., Any]) -> str | None:
    """`module:function` of a function that can be imported by it; None for others (nested, lambda, __main__)."""
    module, name = getattr(agent, "__module__", None), getattr(agent, "__qualname__", None)
    if module is None or name is None or "<" in name or module == "__main__":
        return None
    return f"{module}:{name}"
