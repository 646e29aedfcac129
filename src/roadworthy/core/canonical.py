"""One way to write a value as bytes, so that equal values have equal bytes and hashes.

JSON with sorted keys and no white space. Money and rates are written as strings; a float is written as
`{"$float": "<shortest repr>"}`, because two programs seldom agree on the digits of a float. A mapping that itself has
a single key with a dollar sign in front gets a second one, so that nobody's data is taken for such a mark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, cast

import orjson

_OPTIONS = orjson.OPT_SORT_KEYS
_MAX_INT = 2**53


def _tame(value: Any) -> Any:
    # Exact types first: they are nearly all there is, and every entry of the ledger passes here.
    kind = cast("type[Any]", type(value))
    if kind is str or value is None or kind is bool:
        return value
    if kind is dict:
        items = cast("dict[Any, Any]", value)
        if len(items) == 1:
            return _marked(items)
        return {k if type(k) is str else str(k): v if type(v) is str else _tame(v) for k, v in items.items()}
    if kind is list or kind is tuple:
        return [v if type(v) is str else _tame(v) for v in cast("list[Any]", value)]
    if kind is Decimal:
        return format(value, "f")
    if isinstance(value, int):
        return value if -_MAX_INT <= value <= _MAX_INT else {"$int": str(value)}
    if isinstance(value, float):
        return {"$float": repr(value)}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return _tame(dict(cast("Mapping[Any, Any]", value)))
    if isinstance(value, (list, tuple)):
        return [_tame(v) for v in cast("list[Any]", value)]
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    raise TypeError(f"a {kind.__name__} cannot stand in a ledger entry; pass text, numbers, lists or mappings")


def _marked(items: Mapping[Any, Any]) -> dict[str, Any]:
    ((key, inner),) = items.items()
    name = str(key)
    return {f"${name}" if name.startswith("$") else name: _tame(inner)}


def _whole(value: Any) -> Any:
    """Tamed values once more, with text that has no UTF-8 (lone surrogates, as broken tools send them) marked."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return {"$utf8": value.encode("utf-8", "surrogatepass").hex()}
    elif isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {k.encode("utf-8", "backslashreplace").decode(): _whole(v) for k, v in items.items()}
    elif isinstance(value, list):
        return [_whole(v) for v in cast("list[Any]", value)]
    return value


def _clean(value: Any) -> bool:
    """Whether orjson writes a value just as it must be written, so that no tamed copy is needed. Nearly all are so."""
    kind = cast("type[Any]", type(value))
    inside: Iterable[Any]
    if kind is dict:
        items = cast("dict[Any, Any]", value)
        if len(items) == 1 and next(iter(items))[:1] == "$":
            return False
        inside = items.values()
    elif kind is list:
        inside = cast("list[Any]", value)
    elif kind is int:
        return -_MAX_INT <= value <= _MAX_INT
    else:
        return kind is str or value is None or kind is bool or kind is Decimal
    for inner in inside:  # noqa: SIM110  (a generator costs more than the loop, and every entry passes here)
        if type(inner) is not str and not _clean(inner):
            return False
    return True


def _written(value: Any) -> str:
    if type(value) is Decimal:
        return format(value, "f")
    raise TypeError(f"a {type(value).__name__} cannot stand in a ledger entry")


def dumps(value: Any) -> bytes:
    """The canonical bytes of a value. Raises TypeError for what is no JSON, a Decimal, a time or bytes."""
    try:
        if _clean(value):
            return orjson.dumps(value, _written, _OPTIONS)
    except TypeError:
        pass  # a key that is no text, or text that is no UTF-8: the tamed copy knows what to do about it
    tamed = _tame(value)
    try:
        return orjson.dumps(tamed, option=_OPTIONS)
    except TypeError:
        return orjson.dumps(_whole(tamed), option=_OPTIONS)


def _wild(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        if len(items) == 1:
            ((key, inner),) = items.items()
            if key == "$float":
                return float(inner)
            if key == "$int":
                return int(inner)
            if key == "$bytes":
                return bytes.fromhex(inner)
            if key == "$utf8":
                return bytes.fromhex(inner).decode("utf-8", "surrogatepass")
            if key.startswith("$$"):
                return {key[1:]: _wild(inner)}
        return {k: _wild(v) for k, v in items.items()}
    if isinstance(value, list):
        return [_wild(v) for v in cast("list[Any]", value)]
    return value


def loads(data: bytes | str) -> Any:
    """The value behind canonical bytes. Decimals and times come back as the text that they were written as."""
    value = orjson.loads(data)
    return _wild(value) if b"$" in (data if isinstance(data, bytes) else data.encode()) else value


def digest(value: Any) -> str:
    """SHA-256 over the canonical bytes, in hex."""
    return hashlib.sha256(dumps(value)).hexdigest()
