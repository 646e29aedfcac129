"""What can be reached from an object: through its attributes and what it contains, as anybody could who holds it."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

T = TypeVar("T")

_PLAIN = (str, bytes, int, float, complex, bool, type(None), type, types.ModuleType, types.CodeType)


def found(agent: object, kind: type[T] | tuple[type[T], ...], *, at_most: int = 200_000) -> list[T]:
    """All objects of a kind that are reachable from an agent: attributes, private ones too, items of containers.

    Functions are not looked into: what only a closure holds cannot be got at by mistake. Raises RuntimeError when there
    are more than `at_most` objects, since then the search was no search.
    """
    seen: dict[int, object] = {}
    waiting: list[object] = [agent]
    hits: list[T] = []
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, _PLAIN) or id(thing) in seen:
            continue
        if len(seen) >= at_most:
            raise RuntimeError(f"more than {at_most} objects hang together with this {type(agent).__name__}")
        seen[id(thing)] = thing  # kept, so that no id comes twice
        if isinstance(thing, kind):
            hits.append(thing)
        waiting.extend(_inside(thing))
    return hits


def _inside(thing: object) -> Iterator[object]:
    if isinstance(thing, types.MethodType):
        yield thing.__self__
        return
    if isinstance(thing, types.BuiltinFunctionType):
        return
    yield from _items(thing)
    own: Any = getattr(thing, "__dict__", None)
    if isinstance(own, dict):
        yield from list(cast("dict[str, object]", own).values())
    for name in _slots(type(thing)):
        value = getattr(thing, name, None)
        if value is not None:
            yield value


def _items(thing: object) -> Iterable[object]:
    if isinstance(thing, dict | types.MappingProxyType):
        items = cast("Mapping[object, object]", thing)
        return [*items.keys(), *items.values()]
    if isinstance(thing, list | tuple | set | frozenset | deque):
        return list(cast("Iterable[object]", thing))
    return ()


def _slots(kind: type[Any]) -> Iterator[str]:
    for base in kind.__mro__:
        slots: Any = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            if name not in ("__dict__", "__weakref__"):
                yield f"_{base.__name__.lstrip('_')}{name}" if name.startswith("__") else name
