"""What a tool returned, as JSON would carry it: whole where that is reasonable, cut and marked where it is not.

Results are foreign: endless, cyclic, 10,000 deep, 50 MB, with objects that fail when asked for their text. The way
through them is bounded in depth, number and size, and says what it left out. What comes out can be written as JSON,
sent to a model and put into the ledger.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import Any, cast

MAX_DEPTH = 64
"""Levels of lists and mappings."""
MAX_VALUES = 100_000
MAX_SIZE = 2**20
"""Characters of text, keys included; other values count for a few."""
MAX_BITS = 4_096
"""The longest whole number, in binary digits."""
MAX_NOTES = 4
MAX_PRINTED = 200_000
"""The most parts of a value that its fingerprint covers."""
_SCALAR = 24
"""What a number, a null or a bracket is reckoned to take."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """A value as JSON would carry it."""

    value: Any
    notes: tuple[str, ...] = ()
    """What was left out or cannot be read, in words; empty when nothing was."""

    @property
    def whole(self) -> bool:
        return not self.notes


class _Room:
    """What may still come, and what was left out so far."""

    __slots__ = ("cut", "notes", "size", "values")

    def __init__(self, size: int) -> None:
        self.size = size
        self.cut = False
        """Something was left out for want of room."""
        self.values = MAX_VALUES
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        if len(self.notes) < MAX_NOTES and text not in self.notes:
            self.notes.append(text)

    def full(self) -> bool:
        """Whether there is room for nothing more; asked when there is more."""
        if self.size > 0 and self.values > 0:
            return False
        self.cut = True
        self.note("it is too large, and its end is left out")
        return True


def bounded(value: Any, *, size: int = MAX_SIZE) -> Bounded:
    """Bring a value into JSON's types, at most about `size` characters of it. Never raises for what the value does."""
    room = _Room(size)
    try:
        plain = _plain(value, room, MAX_DEPTH)
    except RecursionError:  # we were called at the end of a long chain
        room.note("it is nested too deeply to be read")
        plain = None
    return Bounded(value=plain, notes=tuple(room.notes))


def _text(value: str, room: _Room) -> str:
    if len(value) > room.size:
        kept = max(room.size, 0)
        room.cut = True
        room.note(f"a text of {len(value):,} characters is cut after {kept:,}")
        value = value[:kept]
    room.size -= len(value)
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a character: no model and no file would take it
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def _plain(value: Any, room: _Room, depth: int) -> Any:
    kind = cast("type[Any]", type(value))
    room.values -= 1
    if kind is str:
        return _text(value, room)
    if kind is int:
        room.size -= _SCALAR
        return value if -(2**63) <= value < 2**63 else _large(value, room)
    if value is None or kind is bool:
        room.size -= _SCALAR
        return value
    if kind is float:
        room.size -= _SCALAR
        return value if value - value == 0 else _no_number(value)
    if kind is dict:
        return _mapping(cast("dict[Any, Any]", value), room, depth)
    if kind is list or kind is tuple:
        return _items(cast("list[Any]", value), room, depth)
    try:
        return _other(value, room, depth)
    except RecursionError:
        raise
    except Exception as error:  # foreign objects may do anything when they are looked at
        name, why = kind.__name__, type(error).__name__
        room.note(f"a {name} in it cannot be read ({why})")
        return f"(a {name} that cannot be read: {why})"


def _no_number(value: float) -> str:
    # JSON has no way to write these, and most writers would make them null without a word.
    return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")


def _large(value: int, room: _Room) -> int | str:
    bits = value.bit_length()
    if bits > MAX_BITS:
        room.note(f"a whole number of {bits:,} binary digits is left out")
        return f"(a whole number of {bits:,} binary digits)"
    room.size -= bits // 3
    return value


def _key(key: Any, room: _Room) -> str:
    if type(key) is str:
        return _text(key, room)
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, int) and key.bit_length() > MAX_BITS:
        return str(_large(key, room))
    try:
        return _text(str(key), room)
    except RecursionError:
        raise
    except Exception as error:  # as in `_plain`: foreign objects may do anything
        name, why = type(key).__name__, type(error).__name__
        room.note(f"the name of a field, a {name}, cannot be read ({why})")
        return f"(a {name} that cannot be read: {why})"


def _mapping(value: Mapping[Any, Any], room: _Room, depth: int) -> Any:
    if depth <= 0:
        room.note(f"it is nested more than {MAX_DEPTH} levels deep")
        return "(nested too deeply)"
    room.size -= _SCALAR
    out: dict[str, Any] = {}
    for key, inner in value.items():
        if room.full():
            break
        name = _key(key, room)
        if name in out:
            room.note(f"it has two fields {name[:60]!r}, and only the first is kept")
            room.values -= 1
            continue
        out[name] = _plain(inner, room, depth - 1)
    return out


def _items(value: Iterable[Any], room: _Room, depth: int) -> Any:
    if depth <= 0:
        room.note(f"it is nested more than {MAX_DEPTH} levels deep")
        return "(nested too deeply)"
    room.size -= _SCALAR
    out: list[Any] = []
    for inner in value:
        if room.full():
            break
        item = _plain(inner, room, depth - 1)
        if room.cut and out:
            break  # half an item would read like a whole one
        out.append(item)
    return out


def _other(value: Any, room: _Room, depth: int) -> Any:
    """What is none of JSON's own types."""
    if isinstance(value, Enum):
        return _plain(value.value, room, depth - 1) if depth > 0 else str(value.name)
    if isinstance(value, Decimal):
        room.size -= _SCALAR
        if not value.is_finite():
            return str(value)
        # Written out in full, 1E+999999 is a million digits.
        return value if -100 <= value.adjusted() <= 100 and len(value.as_tuple().digits) <= 200 else f"{value:E}"[:300]
    if isinstance(value, str):
        return _text(str.__str__(value), room)
    if isinstance(value, int):
        return _plain(int(value), room, depth)
    if isinstance(value, float):
        return _plain(float(value), room, depth)
    if isinstance(value, Mapping):
        return _mapping(cast("Mapping[Any, Any]", value), room, depth)
    if isinstance(value, set | frozenset):
        # Their order differs from process to process, and what is recorded must not.
        return _items(sorted(islice(cast("set[Any]", value), MAX_VALUES), key=_order), room, depth)
    if isinstance(value, list | tuple):
        return _items(cast("list[Any]", value), room, depth)
    if isinstance(value, datetime | date | time):
        room.size -= _SCALAR
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(cast("bytes", value[: max(room.size, 0) * 4]))
        if len(cast("bytes", value)) > len(raw):
            room.note(f"{len(cast('bytes', value)):,} bytes are cut after {len(raw):,}")
        return _text(raw.decode("utf-8", "replace"), room)
    dump = cast("Callable[..., Any] | None", getattr(value, "model_dump", None))
    if callable(dump):
        return _plain(dump(mode="json"), room, depth - 1) if depth > 0 else "(nested too deeply)"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return _mapping(fields, room, depth)
    return _text(str(value), room)


def _order(value: Any) -> tuple[str, str]:
    return type(value).__name__, str(value)


def fingerprint(value: Any) -> str | None:
    """SHA-256 over a whole value, for what is recorded of it only in part.

    Of text and bytes it is that of the bytes; of lists and mappings that of their parts, each with its kind and
    length. None for what has more than MAX_PRINTED parts, or parts that are not JSON's.
    """
    if isinstance(value, str):
        return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    if isinstance(value, bytes | bytearray | memoryview):
        return hashlib.sha256(cast("bytes", value)).hexdigest()
    found = hashlib.sha256()
    stack: list[Any] = [value]
    for _ in range(MAX_PRINTED):
        if not stack:
            return found.hexdigest()
        part = stack.pop()
        kind = cast("type[Any]", type(part))
        if kind in (dict, list, tuple) and len(stack) + 2 * len(part) > MAX_PRINTED:
            return None
        if kind is str:
            raw = part.encode("utf-8", "surrogatepass")
            found.update(b"s%d:" % len(raw))
            found.update(raw)
        elif kind is dict:
            items = cast("dict[Any, Any]", part)
            found.update(b"{%d:" % len(items))
            for key, inner in items.items():
                stack += (inner, key)
        elif kind is list or kind is tuple:
            found.update(b"[%d:" % len(part))
            stack += part
        elif part is None or kind is bool or kind is float or (kind is int and part.bit_length() <= MAX_BITS):
            found.update(f"{kind.__name__}{part!r}:".encode())
        else:
            return None
    return None
