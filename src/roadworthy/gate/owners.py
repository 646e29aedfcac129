"""Whose the data in a tool's result are, where they are not about the subject of the run.

A ledger with a vault seals what an entry says under the key of its subject. What a result says of somebody else, such
as the other matches of a search, is theirs: it is sealed under their key, and erased with them. By the contract alone:
a record is about those whom its trusted fields name, and where a result names nobody, those whom the arguments name.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from roadworthy.gate.policy import Policy, ToolPolicy
from roadworthy.gate.state import RunState
from roadworthy.gate.values import MISSING
from roadworthy.gate.walk import MOST_DEEP, Path

_log = logging.getLogger("roadworthy.gate")

JOINT: Final = "\n"
"""Between the names of several to whom one thing belongs: it goes with the first of them that is erased."""


def owners_of(
    policy: Policy, state: RunState, tool: ToolPolicy, args: Mapping[str, Any], body: Mapping[str, Any], typed: Any
) -> dict[str, str]:
    """By JSON Pointer into the body of an outcome, to whom belongs what is not the subject's.

    `typed`: the result as `tool.result` reads it, MISSING where it could not be read.
    """
    if not tool.names_persons or body["status"] != "ok":
        return {}
    try:
        return _owners_of(policy, state, tool, args, body, typed)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        # The call was made, and what came of it is written whatever it looks like: it stays with the subject.
        _log.exception("whose the data in a result of %s are could not be found out", tool.name)
        return {}


def _owners_of(
    policy: Policy, state: RunState, tool: ToolPolicy, args: Mapping[str, Any], body: Mapping[str, Any], typed: Any
) -> dict[str, str]:
    value = body.get("value", body["text"])
    found: dict[Path, str] = {}
    mine = False
    for leaf in policy.walks[tool.name].leaves(value, typed):
        if leaf.is_key:
            continue
        owner = _owner(policy, state, [(e, key) for e, keys in leaf.entities.items() for key in keys])
        if owner is None:
            mine = True
        else:
            found[leaf.path] = owner
    if not found and mine:
        named = [(spec.entity, str(key)) for spec in tool.entity_args for key in spec.keys(args)]
        says = typed is not MISSING and _says_whose(policy, tool)
        whole = None if says else _owner(policy, state, named)
        if whole is None:
            return {}
        found, mine = {(): whole}, False
    if not found:
        return {}
    # The result in words, and a value that is one text, hold it all.
    together = set(found.values()) | ({state.subject} if mine and state.subject is not None else set[str]())
    all_of = JOINT.join(sorted(together))
    owners = {"/text": all_of}
    if "value" in body:
        if isinstance(value, Mapping | list | tuple):
            owners |= _places(value, found, "/value")
        else:
            owners["/value"] = all_of
    return owners


def _owner(policy: Policy, state: RunState, named: Iterable[tuple[str, str]]) -> str | None:
    """The name under which somebody's data are sealed; None for the subject's own, and for what is about nobody."""
    persons = {one for one in named if one[0] in policy.persons}
    subject = (policy.subject_entity, state.subject)
    if not persons or subject in persons or persons & state.own:
        return None
    same = {one for one in persons if one[0] == policy.subject_entity} or persons
    return JOINT.join(sorted(key if entity == policy.subject_entity else f"{entity}:{key}" for entity, key in same))


def _says_whose(policy: Policy, tool: ToolPolicy) -> bool:
    shape = tool.result.shape
    return shape is not None and any(inner.entity in policy.persons for _, inner in shape.walk())


def _places(value: Any, found: Mapping[Path, str], at: str) -> dict[str, str]:
    """The largest parts of a value that belong to one owner each."""
    return _part(value, (), found, at)[1]


_NOBODYS: Final = ""
"""What holds no data of its own, such as an empty list: it goes with what it stands in."""


def _part(value: Any, path: Path, found: Mapping[Path, str], at: str) -> tuple[str | None, dict[str, str]]:
    """Who owns a whole part, None where it is not one other owner; and where others own some of it."""
    if path in found:
        return found[path], {at: found[path]}
    if len(path) > MOST_DEEP:
        return None, {}
    items: Iterable[tuple[str | int, Any]]
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
    elif isinstance(value, list | tuple):
        items = enumerate(cast("Sequence[Any]", value))
    else:
        return (_NOBODYS if value is None else None), {}
    parts: dict[str, str] = {}
    owners: set[str | None] = set()
    for name, inner in items:
        below = f"{at}/{str(name).replace('~', '~0').replace('/', '~1')}"
        owner, places = _part(inner, (*path, name), found, below)
        owners.add(owner)
        parts |= places
    owners.discard(_NOBODYS)
    if not owners:
        return _NOBODYS, {}
    if len(owners) == 1 and None not in owners:
        (only,) = owners
        return only, {at: cast("str", only)}
    return None, parts
