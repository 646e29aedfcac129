"""Finding an agent's tools in the user's code: `module`, or `module:name`."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from roadworthy.contract.names import did_you_mean
from roadworthy.core.errors import UsageError


def find_tools(name: str, *, calling: bool = False) -> Any:
    """The module, or the object in it. Raises UsageError where there is none, or where importing it fails.

    `calling`: `module:name()` is what the function gives when it is called without arguments.
    """
    module_name, colon, inside = name.partition(":")
    called = calling and inside.endswith("()")
    inside = inside.removesuffix("()") if called else inside
    if not module_name or (colon and not inside):
        raise UsageError(f"{name!r} does not name tools; write module:name, such as my_agent.tools:ALL")
    here = str(Path.cwd())
    if here not in sys.path:  # a console script has its own folder there, not the user's
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(missing + "."):
            text = f"there is no module {missing!r}; run from the folder that holds it, or install it"
        else:
            text = f"{module_name} needs {missing!r}, which is not installed"
        raise UsageError(text) from error
    except Exception as error:  # importing runs the user's code, which may raise anything
        raise UsageError(f"{module_name} cannot be imported: {type(error).__name__}: {error}") from error
    for part in inside.split(".") if inside else ():
        if not hasattr(found, part):
            names = [n for n in dir(found) if not n.startswith("_")]
            raise UsageError(f"{module_name} has no {part!r}; {did_you_mean(part, names)}")
        found = getattr(found, part)
    if not called:
        return found
    try:
        made = found()
    except Exception as error:  # the user's code, which may raise anything
        raise UsageError(f"{name} fails when it is called: {type(error).__name__}: {error}") from error
    return asyncio.run(made) if inspect.iscoroutine(made) else made
