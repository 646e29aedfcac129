"""A YAML text as data with the place of everything in it, and without the traps of YAML.

Read strictly: one document, no anchors, aliases, merge keys or tags, no key twice, nothing that one YAML reader takes
for text and another for a number, a time or a truth value. All that is wrong is reported at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLStreamError
from ruamel.yaml.reader import ReaderError

from roadworthy.core.errors import Finding

Severity = Literal["error", "warning", "note"]
Path = tuple[str | int, ...]

_DEPTH = 40
_SIZE = 2_000_000
_INT_DIGITS = 15
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+")
_OTHER_NUMBER = re.compile(
    r"[-+]?(0[0-9_]+|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?)"
)
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?")
_HALF_BOOLEANS = {"yes": True, "y": True, "on": True, "no": False, "n": False, "off": False}
_NULLS = {"", "~", "null", "Null", "NULL"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something stands, counted from 1, and how it is written there."""

    line: int
    column: int
    text: str | None = None
    """A scalar as it is written; None for lists and mappings."""
    plain: bool = True
    """Not quoted."""
    flow: bool = False
    """Inside `{}` or `[]`."""


@dataclass(kw_only=True)
class Written:
    """A text as data, the place of everything, and what is wrong with it."""

    file: str
    data: Any = None
    """Text, numbers, truth values, None, tuples and mappings; None where nothing could be read."""
    findings: list[Finding] = field(default_factory=list[Finding])
    keys: dict[Path, Place] = field(default_factory=dict[Path, Place])
    """Where the key of a mapping's entry stands."""
    values: dict[Path, Place] = field(default_factory=dict[Path, Place])
    holes: set[Path] = field(default_factory=set[Path])
    """What has been reported already and is left out, so that the rest can be judged."""
    kept: dict[Path, list[int]] = field(default_factory=dict[Path, list[int]])
    """For each list with a hole: which items are left, as they are counted in the text."""

    def found(
        self, path: Path, text: str, *, code: str, at: Place | None = None, severity: Severity = "error"
    ) -> Finding:
        """A finding at a path of the contract; its place is that of the nearest thing around it."""
        written, place = self.locate(path)
        place = at or place
        return Finding(
            text=text, path=written, file=self.file, line=place.line, column=place.column, code=code, severity=severity
        )

    def locate(self, path: Path) -> tuple[Path, Place]:
        """The path as it is written and its place: short forms leave out `properties` and `type`."""
        at: Path = ()
        for i, step in enumerate(path):
            if isinstance(step, int) and at in self.kept and step < len(self.kept[at]):
                step = self.kept[at][step]
            further = (*at, step)
            if further in self.values or further in self.keys:
                at = further
            elif step not in ("properties", "type") or (i == len(path) - 1 and isinstance(self.at(at), dict)):
                shown = further if isinstance(step, str) and i == len(path) - 1 else at
                return shown, self.place(at)
        return at, self.place(at)

    def place(self, at: Path) -> Place:
        """Where the thing at a path as written stands: a scalar itself, else the key of the list or mapping."""
        value, key = self.values.get(at), self.keys.get(at)
        if value is not None and (value.text or key is None):
            return value
        return key or value or Place(line=1, column=1)

    def at(self, path: Path) -> Any:
        """The data at a path as written; None where there is none."""
        value = self.data
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def left(self) -> Any:
        """The data without the holes."""
        self.kept.clear()
        return self._left(self.data, ())

    def _left(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            entries: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]  # built by _Reader.mapping
            return {k: self._left(v, (*path, k)) for k, v in entries.items() if (*path, k) not in self.holes}
        if isinstance(value, tuple):
            items: tuple[Any, ...] = value  # pyright: ignore[reportUnknownVariableType]  # built by _Reader.sequence
            indexes = [i for i in range(len(items)) if (*path, i) not in self.holes]
            if len(indexes) < len(items):
                self.kept[path] = indexes
            return tuple(self._left(items[i], (*path, i)) for i in indexes)
        return value

    def ghosts(self) -> frozenset[str]:
        """All words in the holes: names that were written, though they were left out."""
        words: set[str] = set()
        for places in (self.keys, self.values):
            for path, place in places.items():
                if any(path[:n] in self.holes for n in range(len(path) + 1)):
                    words.add(place.text or "")
                    words.update(step for step in path[-1:] if isinstance(step, str))
        for hole in self.holes:
            words.update(step for step in hole[-1:] if isinstance(step, str))
        return frozenset(words)


def read(text: str, *, file: str) -> Written:
    """The text as data. Never raises for what stands in the text; see `findings`."""
    written = Written(file=file)
    if len(text) > _SIZE:
        text_too_long = f"the file has more than {_SIZE:,} characters; a contract is text for people, split the agent"
        written.findings.append(_at(file, 1, 1, text_too_long))
        return written
    try:
        _Reader(written=written, events=_events(text)).document()
    except _NoYaml as error:
        written.data = None
        written.findings.append(_at(file, error.line, error.column, f"this is no YAML: {error}"))
    return written


def _at(file: str, line: int, column: int, text: str) -> Finding:
    return Finding(text=text, file=file, line=line, column=column, code="yaml")


class _NoYaml(Exception):
    def __init__(self, text: str, line: int = 1, column: int = 1) -> None:
        super().__init__(text)
        self.line = line
        self.column = column


_EventKind = Literal["document", "mapping", "sequence", "scalar", "alias", "end", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """One step of the parser, typed (ruamel's own events are not)."""

    kind: _EventKind
    place: Place
    text: str = ""
    plain: bool = False
    flow: bool = False
    anchor: str | None = None
    tag: str | None = None


_KINDS: dict[str, _EventKind] = {
    "DocumentStartEvent": "document",
    "MappingStartEvent": "mapping",
    "SequenceStartEvent": "sequence",
    "ScalarEvent": "scalar",
    "AliasEvent": "alias",
    "MappingEndEvent": "end",
    "SequenceEndEvent": "end",
}


def _events(text: str) -> Iterator[_Event]:
    parser: Any = YAML(typ="safe", pure=True)
    try:
        for event in parser.parse(text):
            kind: _EventKind = _KINDS.get(type(event).__name__, "other")
            scalar = kind == "scalar"
            written = str(event.value) if scalar else ""
            plain = scalar and event.style is None
            place = Place(
                line=event.start_mark.line + 1,
                column=event.start_mark.column + 1,
                text=written if scalar else None,
                plain=plain,
            )
            yield _Event(
                kind=kind,
                place=place,
                text=written,
                plain=plain,
                flow=bool(getattr(event, "flow_style", False)),
                anchor=getattr(event, "anchor", None),
                tag=getattr(event, "tag", None),
            )
    except MarkedYAMLError as error:
        raise _syntax(error, text) from error
    except ReaderError as error:
        raise _unreadable(error, text) from error
    except (YAMLError, YAMLStreamError, ValueError, RecursionError) as error:
        raise _NoYaml(f"{error}; check the file with a YAML editor") from error


def _unreadable(error: Any, text: str) -> _NoYaml:
    before = text[: error.position]
    line, column = before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1
    name = f"U+{ord(text[error.position]):04X}"
    return _NoYaml(f"the character {name} cannot stand in a YAML file; remove it", line, column)


def _syntax(error: Any, text: str) -> _NoYaml:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    lines = text.splitlines()
    here: str = lines[line] if line < len(lines) else ""
    problem = str(error.problem or error)
    cure = "check the indentation, the quotes and the brackets of this line and the one above"
    if "\t" in here[: column + 1]:
        problem, cure = "a tab stands here", "indent with spaces"
    elif "mapping values are not allowed" in problem:
        problem = "a colon followed by a space cannot stand in unquoted text"
        cure = "quote the whole text, or check the indentation"
    elif "flow" in str(error.context or "") and "expected" in problem:
        problem, cure = "a bracket or brace is not closed, or a comma is missing", "check this line and those above"
    elif "found unexpected end of stream" in problem:
        problem, cure = "a quote is opened and never closed", "close it"
    elif "could not find expected ':'" in problem:
        problem, cure = "this line is no `key: value`", "add the colon, or indent it as part of the text above"
    elif here[column : column + 1] in ("%", "`", "@"):
        problem, cure = f"unquoted text cannot start with {here[column]}", "quote it"
    elif "alphabetic or numeric" in problem:
        problem, cure = "unquoted text cannot start with * or &", "quote it"
    return _NoYaml(f"{problem}; {cure}", line + 1, column + 1)


class _Missing:
    """Marks a value that could not be read, so that its key is left out."""


_MISSING = _Missing()


@dataclass(kw_only=True)
class _Reader:
    written: Written
    events: Iterator[_Event]

    def wrong(self, path: Path, place: Place, text: str, code: str = "yaml") -> None:
        self.written.findings.append(self.written.found(path, text, code=code, at=place))

    def document(self) -> None:
        documents = 0
        for event in self.events:
            if event.kind == "document":
                documents += 1
                if documents == 2:
                    text = "a second document starts here; a contract is one document, remove `---`"
                    self.wrong((), event.place, text)
            elif event.kind in ("mapping", "sequence", "scalar", "alias"):
                if documents > 1:
                    self.skip(event)
                    continue
                value = self.value(event, (), flow=False)
                self.written.data = None if value is _MISSING else value

    def skip(self, event: _Event) -> None:
        depth = 1 if event.kind in ("mapping", "sequence") else 0
        while depth:
            inner = next(self.events)
            depth += {"mapping": 1, "sequence": 1, "end": -1}.get(inner.kind, 0)

    def value(self, event: _Event, path: Path, *, flow: bool) -> Any:
        if event.kind == "alias":
            text = f"*{event.anchor} repeats something by reference; write it out, or give a type a name"
            self.wrong(path, event.place, text)
            return _MISSING
        self.unadorned(event, path)
        if len(path) > _DEPTH:
            self.wrong(path, event.place, f"this is nested more than {_DEPTH} deep; flatten it")
            self.skip(event)
            return _MISSING
        self.written.values[path] = replace(event.place, flow=flow)
        if event.kind == "mapping":
            return self.mapping(path, flow=flow or event.flow)
        if event.kind == "sequence":
            return self.sequence(path, flow=flow or event.flow)
        return self.scalar(event, path)

    def unadorned(self, event: _Event, path: Path) -> None:
        if event.anchor is not None:
            text = f"&{event.anchor} names a part for later use, which hides what is allowed; remove it"
            self.wrong(path, event.place, text)
        if event.tag is not None:
            text = f"the tag {event.tag} has no meaning here; remove it, and quote the value if it is text"
            self.wrong(path, event.place, text)

    def sequence(self, path: Path, *, flow: bool) -> tuple[Any, ...]:
        items: list[Any] = []
        for event in self.events:
            if event.kind == "end":
                break
            at = (*path, len(items))
            value = self.value(event, at, flow=flow)
            if value is _MISSING:
                self.written.holes.add(at)
            items.append(None if value is _MISSING else value)
        return tuple(items)

    def mapping(self, path: Path, *, flow: bool) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        first: dict[str, Place] = {}
        for event in self.events:
            if event.kind == "end":
                break
            key = self.key(event, path)
            value_event = next(self.events)
            if key is None:
                self.skip(value_event)
                continue
            at = (*path, key)
            if key in first:
                text = f"{key} stands here a second time (first on line {first[key].line}); keep one of them"
                self.wrong(at, event.place, text, "duplicate_key")
                self.skip(value_event)
                continue
            first[key] = self.written.keys[at] = replace(event.place, flow=flow)
            value = self.value(value_event, at, flow=flow)
            if value is _MISSING:
                self.written.holes.add(at)
            entries[key] = None if value is _MISSING else value
        return entries

    def key(self, event: _Event, path: Path) -> str | None:
        if event.kind != "scalar":
            self.wrong(path, event.place, "a key is one word, never a list, a mapping or a reference; write a name")
            self.skip(event)
            return None
        self.unadorned(event, (*path, event.text))
        if event.text == "<<" and event.plain:
            text = "<< merges another part in, which hides what is allowed; write it out"
            self.wrong(path, event.place, text)
            return None
        if not event.text:
            self.wrong(path, event.place, "a key is empty; write a name before the colon")
            return None
        return event.text

    def scalar(self, event: _Event, path: Path) -> Any:
        text = event.text
        if not event.plain:
            return text
        if text in _NULLS:
            return None
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        trap = trap_of(text)
        if trap is not None:
            self.wrong(path, event.place, trap, "yaml_trap")
            return _MISSING
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        return text


def trap_of(text: str) -> str | None:
    """Why an unquoted scalar means different things to different readers, and the cure; None where it does not."""
    half = _HALF_BOOLEANS.get(text.lower())
    if half is not None:
        word = "true" if half else "false"
        return f'unquoted {text} is text to some readers and {word} to others; write "{text}" for the text, or {word}'
    if _SEXAGESIMAL.fullmatch(text):
        return f'unquoted {text} is a time to some readers and a number to others; write "{text}"'
    if _DAY.fullmatch(text):
        return f'unquoted {text} is text to some readers and a date to others; write "{text}"'
    if _NOT_FINITE.fullmatch(text):
        return f'{text} is no number that can be compared; write one, or "{text}" for the text'
    if _OTHER_NUMBER.fullmatch(text):
        return f'unquoted {text} is not the same number to all readers; write "{text}" for the text, or plain digits'
    if _INT.fullmatch(text) and len(text) > _INT_DIGITS:
        return "this number has too many digits to be kept exactly; write it as text, in quotes"
    if _FLOAT.fullmatch(text) and text.removeprefix("+") != repr(float(text)):
        number = repr(float(text))
        return (
            f"unquoted {text} becomes {number} and loses how it is written; "
            f'write "{text}" for a version or an amount, or {number} for a number'
        )
    return None
