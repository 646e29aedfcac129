"""From the records of a trace to the conversation that they tell of.

Each call of a model was given the conversation so far; what of it has not been seen before is added, then what the
model said. Calls of tools that no model call shows are put in where they happened.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from roadworthy.trials.recorded import BrokenLine, Message, RecordedRun, tool_call
from roadworthy.trials.traces.chat import Chat


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """A model was asked and answered."""

    asked: Chat
    said: Chat


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """A tool was called."""

    name: str
    given: object = None
    """The arguments as they were recorded: an object, or text; None where the recording leaves them out."""
    result: str | None = None
    """None where the recording leaves it out."""
    call_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One span, run or observation."""

    trace: str
    conversation: str | None = None
    """What joins several traces into one conversation, where that was recorded."""
    id: str
    parent: str | None = None
    line: int
    start: int = 0
    """Nanoseconds; 0 where it was not recorded, and the order of the file stands for it."""
    end: int = 0
    model: ModelCall | None = None
    tool: ToolUse | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    """Function schemas of tools that were there, besides those that a model call names."""
    opening: str | None = None
    """Of a first record: what the application was asked, where that is text."""


def runs_of(records: Iterable[Record | BrokenLine]) -> Iterator[RecordedRun | BrokenLine]:
    """A run for each conversation, or each trace that belongs to none, in the order of the file."""
    kept: list[Record] = []
    for record in records:
        if isinstance(record, BrokenLine):
            yield record
        else:
            kept.append(record)
    joined = {r.trace: r.conversation for r in kept if r.conversation is not None}
    groups: dict[str, list[Record]] = {}
    for record in kept:
        groups.setdefault(joined.get(record.trace, record.trace), []).append(record)
    for name, group in groups.items():
        run = _run(name, group)
        if run is not None:
            yield run


def _run(name: str, records: Sequence[Record]) -> RecordedRun | BrokenLine | None:
    own = _once(records)
    models = sorted((r for r in own if r.model is not None), key=lambda r: r.start)
    uses = sorted((r for r in own if r.tool is not None), key=lambda r: r.start)
    opening = next(
        (r.opening for r in sorted(own, key=lambda r: r.start) if r.opening and not (r.model or r.tool)), None
    )
    if not models and not uses and opening is None:
        return None  # a trace of something else: a database, a web server
    line = min(r.line for r in records)
    book = _Book()
    for record in models:
        book.add_model(record)
    for record in uses:
        book.add_use(record)
    if book.blank and not book.told:
        return BrokenLine(
            line=line,
            text=f"the trace {name} calls {book.blank[0]}, but holds no arguments; let your instrumentation record "
            "content (OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true in many)",
        )
    messages = book.messages()
    if opening is not None and not any(m.role == "user" for m in messages):
        messages = (Message(role="user", text=opening), *messages)
    offered = [t for r in own for t in ((*r.model.asked.tools, *r.tools) if r.model else r.tools)]
    return RecordedRun(id=name, line=line, messages=messages, passed=None, meta={}, tools=tuple(_different(offered)))


def _different(tools: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return list({json.dumps(t, sort_keys=True, default=str): t for t in tools}.values())


def _once(records: Sequence[Record]) -> list[Record]:
    """Without what is told twice: a model call inside of another, a tool inside of itself."""
    by_id = {(r.trace, r.id): r for r in records}
    own: list[Record] = []
    for record in records:
        above, seen, told = record.parent, {record.id}, False
        while above is not None and above not in seen and not told:
            seen.add(above)
            outer = by_id.get((record.trace, above))
            if outer is None:
                break
            if record.model is not None and outer.model is not None:
                told = bool(outer.model.said.messages)
            elif record.tool is not None and outer.tool is not None:
                told = record.tool.name == outer.tool.name
            above = outer.parent
        if not told:
            own.append(record)
    return own


def _ended(record: Record) -> int:
    return max(record.start, record.end)


_Place = tuple[int, int]


@dataclass(slots=True)
class _Book:
    """Messages with their places in time."""

    placed: list[tuple[_Place, Message]] = field(default_factory=list[tuple[_Place, Message]])
    known: Counter[str] = field(default_factory=Counter[str])
    blank: list[str] = field(default_factory=list[str])
    """Tools whose calls are recorded without arguments."""
    told: bool = False
    """A call with arguments is there."""
    answered: set[str] = field(default_factory=set[str])
    taken: set[str] = field(default_factory=set[str])
    """Ids of calls that a recorded use of a tool belongs to."""

    def add_model(self, record: Record) -> None:
        if record.model is None:
            return
        left = Counter(self.known)
        for message in record.model.asked.messages:
            name = _name_of(message)
            if left[name] > 0:
                left[name] -= 1
            else:
                self._place(record.start, message)
        for message in record.model.said.messages:
            name = _name_of(message)
            if message.role == "assistant" and message.calls and left[name] > 0:
                continue  # the same answer, recorded by two instrumentations
            self._place(_ended(record), message)

    def _place(self, at: int, message: Message) -> None:
        self.known[_name_of(message)] += 1
        calls = tuple(
            c if c.id is not None else replace(c, id=f"call-{len(self.placed) + 1}-{i}")
            for i, c in enumerate(message.calls, 1)
        )
        if message.role == "tool" and message.call_id is not None:
            self.answered.add(message.call_id)
        self.told = self.told or any(c.arguments is not None for c in calls)
        self.placed.append(((at, len(self.placed)), replace(message, calls=calls)))

    def add_use(self, record: Record) -> None:
        use = record.tool
        if use is None:
            return
        calls = [(place, c) for place, m in self.placed for c in m.calls if c.id not in self.taken]
        found = next(((p, c) for p, c in calls if use.call_id is not None and c.id == use.call_id), None)
        if found is None:
            made = tool_call(use.call_id, use.name, use.given)
            found = next(
                (
                    (p, c)
                    for p, c in calls
                    if c.name == use.name and (use.given is None or _same(c.arguments, made.arguments))
                ),
                None,
            )
        if found is not None:
            place, call = found
            self.taken.add(str(call.id))
            if use.result is not None and call.id not in self.answered:
                self.answered.add(str(call.id))
                told = Message(role="tool", text=use.result, call_id=call.id)
                at = _ended(record)
                self.placed.append(((max(at, place[0]), len(self.placed)), told))
            return
        if use.given is None:
            self.blank.append(use.name)
            return
        call = tool_call(use.call_id or f"use-{record.id}", use.name, use.given)
        self.told = True
        self.placed.append(((record.start, len(self.placed)), Message(role="assistant", text="", calls=(call,))))
        if use.result is not None:
            told = Message(role="tool", text=use.result, call_id=call.id)
            self.placed.append(((_ended(record), len(self.placed)), told))

    def messages(self) -> tuple[Message, ...]:
        return tuple(message for _, message in sorted(self.placed, key=lambda p: p[0]))


def _same(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> bool:
    """Equal, but for what one of them leaves out: frameworks add defaults before they call."""
    if a is None or b is None:
        return a is b
    return all(a[name] == b[name] for name in a.keys() & b.keys()) and (bool(a.keys() & b.keys()) or not (a and b))


def _name_of(message: Message) -> str:
    """What makes two messages the same one."""
    if message.role == "tool" and message.call_id is not None:
        return f"tool {message.call_id}"
    calls = [
        c.id if c.id is not None else [c.name, c.arguments if c.arguments is not None else c.raw] for c in message.calls
    ]
    if calls and all(isinstance(c, str) for c in calls):
        return f"calls {json.dumps(calls)}"
    return json.dumps([message.role, message.text.strip(), calls], sort_keys=True, default=str)
