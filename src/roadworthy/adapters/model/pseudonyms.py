"""Names in the place of values that nobody should read in a cassette, and the values back in their place in a replay.

A cassette holds no value behind a name, and no key from which one could be guessed. In a replay, a recorded request is
laid over the one that is asked: where the recording has a name, the request has the value, and that value goes into the
recorded answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from roadworthy.adapters.model.asked import line_of
from roadworthy.adapters.model.labelled import Value

_MOST: Final = 2000
"""Characters that one name can stand for in a replay."""
_LONGEST: Final = 40
"""Characters of a label that stand in a name."""
_EMAIL: Final = re.compile(r"[^@\s\"'<>]+@[^@\s\"'<>]+\.[^@\s\"'<>]+")
_WORDS: Final = re.compile(r"[^a-z0-9]+")
_NAMES: Final = re.compile(r"(«)?([a-z0-9-]{1,60}-\d{1,9})(?:\.([ajlmuv]))?(?(1)»|@pseudonym\.invalid)")
"""What names look like; the domain is one that nobody can have (RFC 2606). A name is short: texts are strangers'."""
_IN_WORD: Final = r"\w"
_IN_EMAIL: Final = r"\w.+-"
_SHORT: Final = 5
"""Values below that length are hidden where they stand as a word, and not within others."""


def _in_json(value: str) -> str:
    return json.dumps(value)[1:-1]


def _in_plain_json(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]


_FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "a": _in_json,
    "j": _in_plain_json,
    "l": str.lower,
    "m": lambda value: _in_json(value.lower()),
    "u": str.upper,
    "v": lambda value: _in_json(value.upper()),
}
"""Other ways in which a value is written; the letter stands in its name."""

Bound = Mapping[str, str]
"""By name, the value that it stands for in one conversation."""


class Pseudonyms:
    """The names of one cassette. The same value has the same name in all of it."""

    def __init__(self) -> None:
        self._by_value: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._pattern: re.Pattern[str] | None = None

    def __len__(self) -> int:
        return len(self._by_value)

    def known(self, value: Any) -> None:
        """Names that stand in a value that was written before: no other value gets one of them."""
        for text in texts_of(value):
            for found in _NAMES.finditer(text):
                label, _, number = found[2].rpartition("-")
                self._counts[label] = max(self._counts.get(label, 0), int(number))

    def learn(self, values: Iterable[Value]) -> set[str]:
        """Give names to values that have none; those values, in all their forms."""
        new: dict[str, str] = {}
        for value, label in values:
            if not value.strip() or value in self._by_value or value in new or _NAMES.fullmatch(value):
                continue
            stem = _WORDS.sub("-", label.lower())[:_LONGEST].strip("-") or "label"
            self._counts[stem] = number = self._counts.get(stem, 0) + 1
            email = _EMAIL.fullmatch(value) is not None
            new[value] = _name(f"{stem}-{number}", "", email)
            for form, write in _FORMS.items():
                new.setdefault(write(value), _name(f"{stem}-{number}", form, email))
        return self._take(new)

    def bind(self, bound: Bound) -> None:
        """Names that stand for values by a replay are those of the values from now on."""
        names: dict[str, str] = {}
        for name, value in sorted(bound.items(), key=lambda one: len(one[0])):
            names.setdefault(value, name)  # where two forms are the same, it has the shorter name
        self._take(names)

    def hide(self, value: Any) -> Any:
        """The same with names in the place of values, in all texts of it."""
        pattern = self._pattern
        if pattern is None:
            return value

        def named(text: str) -> str:
            return pattern.sub(lambda found: self._by_value[found[0]], text)

        return _mapped(value, named)

    def hides(self, values: set[str], value: Any) -> bool:
        """Whether one of these values would be hidden in it."""
        pattern = self._pattern
        if pattern is None:
            return False
        return any(found[0] in values for text in texts_of(value) for found in pattern.finditer(text))

    def _take(self, names: Mapping[str, str]) -> set[str]:
        new = names.keys() - self._by_value.keys()
        if new:
            self._by_value |= {value: names[value] for value in new}
            ordered = sorted(self._by_value, key=len, reverse=True)
            self._pattern = re.compile("|".join(_whole(value) for value in ordered))
        return new


def _name(stem: str, form: str, email: bool) -> str:
    name = f"{stem}.{form}" if form else stem
    return f"{name}@pseudonym.invalid" if email else f"«{name}»"


def _of_all_forms(name: str, value: str) -> dict[str, str]:
    """What a name stands for, and the names of its value's other forms, as far as the value is known by this one."""
    found = _NAMES.fullmatch(name)
    assert found is not None, "names are found by their pattern"
    if found[3] in ("l", "m", "u", "v"):
        return {name: value}
    if found[3] is not None:
        try:
            value = json.loads(f'"{value}"')
        except ValueError:
            return {name: value}
    email = not found[1]
    bound = {_name(found[2], form, email): write(value) for form, write in _FORMS.items()}
    return {_name(found[2], "", email): value, **bound}


def holds_names(value: Any) -> bool:
    """Whether there is a name in it."""
    return any(_NAMES.search(text) for text in texts_of(value))


def revealed(value: Any, bound: Bound) -> Any:
    """The same with values in the place of the names that stand for one."""
    if not bound:
        return value

    def told(text: str) -> str:
        return _NAMES.sub(lambda found: bound.get(found[0], found[0]), text)

    return _mapped(value, told)


def laid_over(recorded: Any, asked: Any, bound: Bound) -> dict[str, str] | None:
    """What the names in a recorded value stand for, if what is asked is the same but for them; None where it is not.

    `bound`: what they stand for in this conversation already.
    """
    found = dict(bound)
    return found if _same(recorded, asked, found) else None


def _same(recorded: Any, asked: Any, found: dict[str, str]) -> bool:
    if isinstance(recorded, str) and isinstance(asked, str):
        return recorded == asked or _fits(recorded, asked, found)
    if isinstance(recorded, dict) and isinstance(asked, dict):
        mine, theirs = cast("dict[str, Any]", recorded), cast("dict[str, Any]", asked)
        return mine.keys() == theirs.keys() and all(_same(value, theirs[name], found) for name, value in mine.items())
    if isinstance(recorded, list) and isinstance(asked, list):
        ours, others = cast("list[Any]", recorded), cast("list[Any]", asked)
        return len(ours) == len(others) and all(_same(a, b, found) for a, b in zip(ours, others, strict=True))
    return line_of(recorded) == line_of(asked)  # 1 is not true


def _fits(recorded: str, asked: str, found: dict[str, str]) -> bool:
    """Whether a text is a recorded one with values for its names; each value ends where the text behind it begins."""
    at = end = 0
    waiting: str | None = None
    for place in (*_NAMES.finditer(recorded), None):
        literal = recorded[end : len(recorded) if place is None else place.start()]
        name = None if place is None else place[0]
        if place is not None:
            end = place.end()
            if place[0] in found:
                literal, name = literal + found[place[0]], None
        if waiting is not None and (literal or place is None):
            start = len(asked) - len(literal) if place is None else asked.find(literal, at + 1)
            if not at < start <= at + _MOST or not asked.startswith(literal, start):
                return False
            found.update(_of_all_forms(waiting, asked[at:start]))
            at, waiting = start, None
        if waiting is not None or not asked.startswith(literal, at):
            return False  # two names without anything between them tell nobody where one ends
        at += len(literal)
        waiting = name
    return at == len(asked)


def _whole(value: str) -> str:
    """A pattern of a value, where it is not a part of a longer one that is another."""
    email = _EMAIL.fullmatch(value) is not None
    if len(value) >= _SHORT and not email:
        return re.escape(value)
    # Within JSON in JSON, a line break in front of a word is `\\n`.
    start = rf"(?:(?<![{_IN_EMAIL if email else _IN_WORD}])|(?<=\\[nrt]))" if value[:1].isalnum() else ""
    return start + re.escape(value) + (r"(?!\w)" if value[-1:].isalnum() else "")


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: _mapped(inner, change) for name, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_mapped(inner, change) for inner in cast("list[Any]", value)]
    return value


def texts_of(value: Any) -> Iterable[str]:
    """All texts in it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in cast("Mapping[str, Any]", value).values():
            yield from texts_of(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from texts_of(inner)
