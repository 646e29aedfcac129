"""One way to write a value as bytes, so that equal values have equal bytes and hashes.

JSON with sorted keys and no white space. Money and rates are written as strings; a float is written as
`{"$float": "<shortest repr>"}`, because two programs seldom agree on the digits of a float.
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
    if value is None or value is True or value is False or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if -_MAX_INT <= value <= _MAX_INT else {"$int": str(value)}
    if isinstance(value, float):
        return {"$float": repr(value)}
    if isinstance(value, Mapping):
        return {str(k): _tame(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_tame(v) for v in cast("list[Any]", value)]
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    raise TypeError(f"a {type(value).__name__} cannot stand in a ledger entry; pass text, numbers, lists or mappings")


def dumps(value: Any) -> bytes:
    """The canonical bytes of a value. Raises TypeError for what is no JSON, a Decimal, a time or bytes."""
    return orjson.dumps(_tame(value), option=_OPTIONS)


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
