"""Text of strangers is shown as what it is."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.core.visible import pieces, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode, 日本語, שלום", "plain, ünïcode, 日本語, שלום"),
        ("one\ntwo\r\nthree", "one\ntwo\nthree"),
        ("a\x1b[2Jb", "a<U+001B>[2Jb"),
        ("pay\u202efdp.exe", "pay<U+202E>fdp.exe"),
        ("in\u2066ner\u2069", "in<U+2066>ner<U+2069>"),
        ("zero\u200bwidth", "zero<U+200B>width"),
        ("tag\U000e0041", "tag<U+E0041>"),
        ("blank\u3164filler", "blank<U+3164>filler"),
        ("lone\ud800surrogate", "lone<U+D800>surrogate"),
        ("back\rspace\x08", "back<U+000D>space<U+0008>"),
        ("👩\u200d🚀 ❤\ufe0f", "👩\u200d🚀 ❤\ufe0f"),
        ("a\u200db\ufe0f", "a<U+200D>b<U+FE0F>"),
    ],
)
def test_hidden_characters_become_code_points(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_one_line_stays_one_line() -> None:
    assert visible("one\ntwo", lines=False) == "one<U+000A>two"


@given(st.text())
def test_nothing_is_lost_and_nothing_hidden_is_left(text: str) -> None:
    parts = pieces(text)
    restored = "".join(chr(int(piece[2:], 16)) if named else piece for piece, named in parts)
    assert restored == text.replace("\r\n", "\n")
    plain = "".join(piece for piece, named in parts if not named)
    assert not [c for c in plain if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} and c != "\n"]
    assert not set(plain) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200e\u200f\ufeff")
