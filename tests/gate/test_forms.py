"""When two values are the same, however they are written."""

from __future__ import annotations

from decimal import Decimal

import pytest

from roadworthy.gate.forms import forms_of, keys, mentions


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("42.00"), "refund 42 euros"),
        (42, "refund 42.00 euros"),
        ("C-000123", "I am c-000123."),
        ("Ada@Example.com", "write to ada@example.com, please"),
        ("2026-03-31", "on 2026-03-31"),
        ("blue", "the Blue one"),
    ],
)
def test_a_value_is_found_however_it_is_written(value: object, text: str) -> None:
    assert set(forms_of(value)) & keys(text)
    assert mentions(text, value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("123456", "account 00123456"),
        ("C-000123", "I am C-0001234"),
        (Decimal("42.00"), "refund 420 euros"),
    ],
)
def test_what_is_only_alike_is_not_found(value: object, text: str) -> None:
    assert not set(forms_of(value)) & keys(text)
    assert not mentions(text, value)
