"""What an MCP server says of its tools, as somebody has accepted it: a file beside the contract.

What a server says of a tool is read by a model and is as good as an instruction to it, so that a server (or whoever
has got into it) must not be able to change it unseen. The file holds the descriptions and schemas themselves, one tool
after another and sorted, so that a review of a change shows what has changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from roadworthy.core.errors import UsageError, told_why

_FORMAT: Final = 1
_TEXTS: Final = ("title", "description")
_SCHEMAS: Final = ("inputSchema", "outputSchema", "annotations")
FIELDS: Final = (*_TEXTS, *_SCHEMAS)
"""What of a tool is pinned: all that a client shows to a model or goes by."""

Told = Mapping[str, Any]
"""What a server says of one tool: those of `FIELDS` that it says anything of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a tool of the contract is refused, though the contract has it."""

    change: Literal["new", "changed", "missing", "twice"]
    text: str
    """For the client: it holds nothing of what the server says now."""
    drift: str
    """For the ledger and for people: what the server says now, beside what was accepted."""


def lock_of(contract: Path) -> Path:
    """Where the pins of a contract lie: `support.yaml` has `support.mcp.lock.json`."""
    return contract.with_name(f"{contract.stem}.mcp.lock.json")


def load_pins(path: Path) -> Mapping[str, Told] | None:
    """What was accepted, by the server's names of the tools; None where there is no such file. Raises UsageError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {told_why(error)}") from error
    again = "put the file back from version control, or take it away and accept the tools again"
    try:
        found: Any = json.loads(text, object_pairs_hook=_once)
    except ValueError as error:
        raise UsageError(f"{path} is no file of pins ({error}); {again}") from error
    if not isinstance(found, dict) or cast("dict[str, Any]", found).get("roadworthy") != _FORMAT:
        raise UsageError(f"{path} is no file of pins of this version (`roadworthy: {_FORMAT}` is missing); {again}")
    tools: Any = cast("dict[str, Any]", found).get("tools")
    if not isinstance(tools, dict):
        raise UsageError(f"{path} holds no `tools`; {again}")
    pins: dict[str, Told] = {}
    for name, told in cast("dict[str, Any]", tools).items():
        if not isinstance(told, dict) or not _well_formed(cast("dict[str, Any]", told)):
            raise UsageError(f"{path}: what is written of the tool {name!r} is no pin; {again}")
        pins[name] = cast("Told", told)
    return pins


def save_pins(path: Path, pins: Mapping[str, Told]) -> None:
    """Write what was accepted, whole or not at all."""
    text = json.dumps({"roadworthy": _FORMAT, "tools": dict(pins)}, indent=2, sort_keys=True, ensure_ascii=False)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {told_why(error)}; give another place with --pins") from error


def fault_of(name: str, pins: Mapping[str, Told], listed: Mapping[str, Told], twice: Iterable[str]) -> Fault | None:
    """Why the tool of this name may not be called now; None where it is what was accepted."""
    accept = f"whoever runs the proxy may accept it with `--accept {name}`"
    if name in twice:
        return Fault(
            change="twice",
            text=f"the MCP server lists {name} twice, and nobody can tell which one is meant",
            drift=f"The MCP server lists {name} twice.",
        )
    now, pinned = listed.get(name), pins.get(name)
    if now is None:
        return Fault(
            change="missing",
            text=f"the MCP server has no tool {name}",
            drift=f"The MCP server has no tool {name} any more.",
        )
    if pinned is None:
        return Fault(
            change="new",
            text=f"nobody has accepted {name} of the MCP server; {accept}",
            drift=f"The MCP server has a tool {name} that nobody has accepted: {_cut(now)}",
        )
    changed = [field for field in FIELDS if now.get(field) != pinned.get(field)]
    if not changed:
        return None
    return Fault(
        change="changed",
        text=f"the MCP server has changed {name} since it was accepted ({', '.join(changed)}); {accept}",
        drift=" ".join(
            f"{field} of {name} was {_cut(pinned.get(field))} and is {_cut(now.get(field))}." for field in changed
        ),
    )


def _cut(value: Any, most: int = 600) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return text if len(text) <= most else text[:most] + " ..."


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys stand there once: a second one would be read by some, and the first by others."""
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a key stands there twice")
    return read


def _well_formed(told: Mapping[str, Any]) -> bool:
    if not isinstance(told.get("inputSchema"), dict):
        return False
    for field, value in told.items():
        if field not in FIELDS or not isinstance(value, str if field in _TEXTS else dict):
            return False
    return True
