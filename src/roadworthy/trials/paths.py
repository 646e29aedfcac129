"""Changing one field somewhere inside what a tool returned, without touching the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast


def changed(value: Any, path: Sequence[str], change: Callable[[dict[str, Any], str], None]) -> tuple[Any, bool]:
    """A copy of `value` in which `change(parent, name)` was applied to the field at `path`, and whether it was there.

    Lists on the way are gone through item by item.
    """
    if isinstance(value, (list, tuple)):
        items = [changed(item, path, change) for item in cast("Sequence[Any]", value)]
        return [item for item, _ in items], any(found for _, found in items)
    if not isinstance(value, Mapping) or not path or path[0] not in value:
        return cast("Any", value), False
    copy = dict(cast("Mapping[str, Any]", value))
    name = path[0]
    if len(path) == 1:
        change(copy, name)
        return copy, True
    copy[name], found = changed(copy[name], path[1:], change)
    return copy, found
