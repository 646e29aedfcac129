"""One way to write a value as bytes, so that equal values have equal bytes and hashes.

JSON with sorted keys and no white space. Money and rates are written as strings; a float is written as
`{"$float": "<shortest repr>"}`, because two programs seldom agree on the digits of a float. A mapping that itself has
a single key with a dollar sign in front gets a second one, so that nobody's data is taken for such a mark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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


def dumps(value: Any) -> bytes:
    """The canonical bytes of a value. Raises TypeError for what is no JSON, a Decimal, a time or bytes."""
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
