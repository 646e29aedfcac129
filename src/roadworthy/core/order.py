"""The order of keys, kept beside a value whose canonical bytes sort them.

Where a person wrote one thing before another, texts that are made of both follow that order. Whoever reads the value
back can put its keys where they stood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

HERE = ""
"""The name under which the order of a mapping's own keys stands; those of its values stand under their keys."""


def order_of(value: Any) -> dict[str, Any]:
    """The order of all keys in a JSON value, as far as it is not the sorted one; lists go by place."""
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value)
        keys = list(items)
        order: dict[str, Any] = {} if keys == sorted(keys) else {HERE: keys}
    elif isinstance(value, list | tuple):
        items = {str(at): inner for at, inner in enumerate(cast("Sequence[Any]", value))}
        order = {}
    else:
        return {}
    for key, inner in items.items():
        below = order_of(inner)
        if below:
            order[f"/{key}"] = below
    return order


def in_order(value: Any, order: object) -> Any:
    """The value with its keys in an order that `order_of` gave. Keys that the order does not name come last."""
    given: Mapping[str, Any] = cast("Mapping[str, Any]", order) if isinstance(order, Mapping) else {}
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value)
        named = [key for key in cast("Sequence[Any]", given.get(HERE) or ()) if key in items]
        keys = dict.fromkeys([*named, *items])
        return {key: in_order(items[key], given.get(f"/{key}")) for key in keys}
    if isinstance(value, list):
        return [in_order(inner, given.get(f"/{at}")) for at, inner in enumerate(cast("list[Any]", value))]
    return value
