"""When two values are the same, however they are written.

A value has *forms*: canonical keys such as `n:42.5` (a number), `d:2026-03-31` (a date), `t:14:30` (a time of day),
`dt:2026-03-31T12:30:00Z` (a moment; without `Z`: no zone is known), `e:ada@example.com`, `p:+49301234567`,
`i:DE89370400440532013000`, `u:https://example.com/`, `x:c-000123` (an id; groups of letters and of digits, joined by
hyphens) and `w:ada lovelace` (words, joined by blanks). A value stands in a text when the two have a form in common.

Index a typed value under `seen`, a text under `scan` (or `keys`, where nobody asks for the places), and look a value
up by `sought`. `forms_of` is what both have in common, and safe on either side; the others add what holds in one
direction only, such as a date without its year: "31 March" may mean 2026-03-31, but 2025-03-31 does not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple, cast
from urllib.parse import unquote

from roadworthy.contract.shapes import Shape
from roadworthy.gate.values import exact

Form = str
"""The canonical key of a value: its kind, a colon, the value."""


class Found(NamedTuple):
    """A form that stands in a text, from `start` up to `end` of the text as it was given."""

    form: Form
    start: int
    end: int
    unit: str | None = None
    """The currency that stands beside a number, as in ISO 4217; `%` beside a percentage."""


_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"(?<![\w.,])-?\d+(?:[.,]\d+)?(?![\w])")
_DAY = re.compile(r"(?<![\w.-])\d{4}-\d{2}-\d{2}(?![\w-])")
_EMAIL = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
_TOKEN = re.compile(r"(?<![\w-])[#]?\w+(?:[-_]\w+)*(?![\w-])")
_GROUP = re.compile(r"[^\W\d_]+|\d+")


def _plain(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def words(text: str) -> list[str]:
    """The words of a text, in order: letters and digits only, without case."""
    return _WORD.findall(_plain(text).casefold())


def shingles(found: Sequence[str], n: int) -> list[str]:
    """All runs of `n` words, joined by blanks."""
    return [" ".join(found[i : i + n]) for i in range(len(found) - n + 1)]


def compact(text: str) -> str:
    """Letters and digits only, without case: what is left of a value that was split, quoted or embedded."""
    return "".join(words(text))


def decoded(text: str) -> Iterator[str]:
    """What the encoded parts of a text say."""
    if "%" in text and (said := unquote(text)) != text:
        yield said


def weak(form: Form) -> bool:
    """Whether a form is so common that it proves nothing: it counts only in a field of the same meaning."""
    kind, _, rest = form.partition(":")
    if kind == "n":
        return len(rest.strip("-").replace(".", "").strip("0")) < 3
    return kind in ("w", "x") and sum(map(str.isalnum, rest)) < 4


def _token(text: str) -> Form:
    return "x:" + "-".join(_GROUP.findall(_plain(text).casefold()))


def _number(value: int | float | Decimal) -> Form:
    if isinstance(value, float):
        value = Decimal(repr(value))
    return f"n:{exact(Decimal(value)):f}"


def forms_of(value: Any, shape: Shape | None = None) -> tuple[Form, ...]:
    """The forms of a scalar: none for null, for lists and for objects."""
    if isinstance(value, bool):
        return (f"w:{str(value).lower()}",)
    if isinstance(value, int | float | Decimal):
        if value != value or value in (float("inf"), float("-inf")):
            return ()
        return (_number(value), f"x:{value}") if isinstance(value, int) and value >= 0 else (_number(value),)
    if isinstance(value, datetime):
        return (f"dt:{value.isoformat()}",)
    if isinstance(value, date):
        return (f"d:{value.isoformat()}",)
    if isinstance(value, time):
        return (f"t:{value:%H:%M}",)
    if not isinstance(value, str):
        return ()
    text = value.strip()
    if _EMAIL.fullmatch(text):
        return (f"e:{text.lower()}",)
    if _DAY.fullmatch(text):
        return (f"d:{text}",)
    found = words(text)
    if len(found) == 1 or (any(c.isdigit() for c in text) and _TOKEN.fullmatch(text)):
        return (_token(text),) if any(c.isdigit() for c in text) else (f"w:{found[0]}",)
    return (f"w:{' '.join(found)}",) if found else ()


def sought(value: Any, shape: Shape | None = None) -> tuple[Form, ...]:
    """The forms by which a value is looked up: its own, and looser ones that only a text can have."""
    return forms_of(value, shape)


def seen(value: Any, shape: Shape | None = None) -> tuple[Form, ...]:
    """The forms under which a typed value is kept: its own, and those by which shorter ways of writing it ask."""
    return forms_of(value, shape)


def parts(value: Any, shape: Shape | None = None) -> tuple[Form, ...]:
    """Forms that say the value together, such as the day and the hour of a moment; empty where there are none."""
    return ()


def scan(text: str) -> list[Found]:
    """Every value that stands in a text, with its place. The time is linear in the length of the text."""
    found: list[Found] = []
    for match in _EMAIL.finditer(text):
        found.append(Found(f"e:{match[0].lower()}", match.start(), match.end()))
    for match in _DAY.finditer(text):
        found.append(Found(f"d:{match[0]}", match.start(), match.end()))
    for match in _NUMBER.finditer(text):
        found.append(Found(_number(Decimal(match[0].replace(",", "."))), match.start(), match.end()))
    for match in _TOKEN.finditer(text):
        if any(c.isdigit() for c in match[0]):
            found.append(Found(_token(match[0]), match.start(), match.end()))
    for match in _WORD.finditer(text):
        found.append(Found(f"w:{_plain(match[0]).casefold()}", match.start(), match.end()))
    return found


def keys(text: str) -> set[Form]:
    """The forms of a text without their places; quicker than `scan`."""
    return {one.form for one in scan(text)}


def mentions(text: str, value: Any, shape: Shape | None = None) -> bool:
    """Whether a text reads a value out, in any way of writing it that leaves no doubt."""
    if value is None:
        return True
    if isinstance(value, list | tuple):
        return all(mentions(text, inner, shape.items if shape else None) for inner in cast("Sequence[Any]", value))
    there = keys(text)
    asked = sought(value, shape)
    if any(form in there for form in asked):
        return True
    phrases = [form[2:].split(" ") for form in asked if form.startswith("w:")]
    said = words(text)
    return any(" ".join(phrase) in shingles(said, len(phrase)) for phrase in phrases)
