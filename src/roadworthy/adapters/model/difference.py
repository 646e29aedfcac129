"""Where two requests to a model differ, in words for whoever must find out why nothing was recorded for one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from roadworthy.adapters.model.asked import Asked, line_of

_SHOWN: Final = 6
"""The most places that are told."""
_AROUND: Final = 60
"""Characters that are shown of a value, from shortly before it differs."""
_MISSING: Final = object()


def likeness(one: Asked, other: Asked) -> tuple[int, int, int, int]:
    """How near two requests are; greater is nearer. The length of the conversation that both begin with counts most."""
    shared = 0
    for mine, theirs in zip(one.messages, other.messages, strict=False):
        if mine != theirs:
            break
        shared += 1
    fields = sum(other.body.get(name, _MISSING) == value for name, value in one.body.items())
    apart = abs(len(one.messages) - len(other.messages))
    return one.path == other.path, shared, -apart, fields


def differences(recorded: Asked, asked: Asked) -> list[str]:
    """The first places where a request differs from a recorded one, a line each; empty where they are the same."""
    found: list[str] = []
    if recorded.path != asked.path:
        found.append(f"recorded /v1/{recorded.path}, asked /v1/{asked.path}")
    for place, was, now in _walk("", recorded.body, asked.body):
        if len(found) == _SHOWN:
            found.append("and more")
            break
        at = _first_difference(was, now)
        found.append(f"{place}: recorded {_told(was, at)}, asked {_told(now, at)}")
    return found


def _walk(place: str, was: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    if was == now and type(was) is type(now):
        return
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        mine, theirs = cast("Mapping[str, Any]", was), cast("Mapping[str, Any]", now)
        for name in sorted({*mine, *theirs}):
            inner = f"{place}.{name}" if place else name
            yield from _walk(inner, mine.get(name, _MISSING), theirs.get(name, _MISSING))
    elif isinstance(was, list) and isinstance(now, list):
        mine, theirs = cast("list[Any]", was), cast("list[Any]", now)
        for n in range(max(len(mine), len(theirs))):
            a = mine[n] if n < len(mine) else _MISSING
            b = theirs[n] if n < len(theirs) else _MISSING
            yield from _walk(f"{place}[{n}]", a, b)
    else:
        yield place, was, now


def _first_difference(was: Any, now: Any) -> int:
    if not isinstance(was, str) or not isinstance(now, str):
        return 0
    pairs = zip(was, now, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(was), len(now)))


def _told(value: Any, at: int) -> str:
    if value is _MISSING:
        return "nothing"
    text = value if isinstance(value, str) else line_of(value).decode("utf-8", "replace")
    start = max(0, at - _AROUND // 3)
    cut = text[start : start + _AROUND]
    before, after = "…" if start else "", "…" if start + _AROUND < len(text) else ""
    return repr(f"{before}{cut}{after}") if isinstance(value, str) else f"{before}{cut}{after}"
