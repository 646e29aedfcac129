"""One way to write a value as bytes."""

from __future__ import annotations

import math
from collections import OrderedDict
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.core.canonical import digest, dumps, loads

_TEXT = st.text(alphabet=st.characters()) | st.sampled_from(["$float", "$$float", "$int", "$bytes", "$utf8", "$"])
_KEYS = st.text() | st.sampled_from(["$float", "$$float", "$int", "$bytes", "$utf8", "$"])
"""Without lone surrogates, which stand escaped in the written keys."""
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | _TEXT
    | st.binary(max_size=8)
    | st.text(alphabet=st.characters(categories=["Cs", "L"]))
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)


@given(_VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert loads(dumps(value)) == value


@given(_VALUES)
def test_reading_and_writing_again_gives_the_same_bytes(value: Any) -> None:
    assert dumps(loads(dumps(value))) == dumps(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"b": 1, "a": [True, None]}, b'{"a":[true,null],"b":1}'),
        (Decimal("12.50"), b'"12.50"'),
        (Decimal("1E+2"), b'"100"'),
        (1.5, b'{"$float":"1.5"}'),
        (2**53, b"9007199254740992"),
        (2**53 + 1, b'{"$int":"9007199254740993"}'),
        (b"\x00\xff", b'{"$bytes":"00ff"}'),
        (datetime(2026, 1, 5, 9, tzinfo=UTC), b'"2026-01-05T09:00:00+00:00"'),
        (date(2026, 1, 5), b'"2026-01-05"'),
        ({"$float": "rob me"}, b'{"$$float":"rob me"}'),
        ({1: "a", 2: "b"}, b'{"1":"a","2":"b"}'),
        ((1, (2,)), b"[1,[2]]"),
        ("lone\ud800", b'{"$utf8":"6c6f6e65eda080"}'),
        ({"k\ud800": 1}, b'{"k\\\\ud800":1}'),
    ],
)
def test_bytes(value: Any, written: bytes) -> None:
    assert dumps(value) == written


def test_equal_values_of_other_types_have_equal_bytes() -> None:
    class Word(str):
        __slots__ = ()

    plain = {"a": "x", "b": ["y", {"c": "z"}]}
    wrapped: Any = MappingProxyType(OrderedDict[str, Any](b=("y", MappingProxyType({"c": Word("z")})), a=Word("x")))
    assert dumps(plain) == dumps(wrapped)
    assert digest(plain) == digest(wrapped)


def test_not_a_number_comes_back() -> None:
    assert math.isnan(loads(dumps(math.nan)))


@pytest.mark.parametrize("value", [object(), {"a": {1, 2}}, [print]])
def test_what_is_no_value_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot stand in a ledger entry"):
        dumps(value)
