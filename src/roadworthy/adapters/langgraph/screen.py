"""What streams out of a graph of LangGraph, without what the user may not be told.

A reply that comes token by token goes out sentence by sentence, each after all of the reply so far was judged. A
message that may not be said is left out wherever it appears: among values, updates, tasks and events.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from pydantic import BaseModel

from roadworthy.adapters.replies import GATE, Sentences, allowed_by
from roadworthy.gate.run import Run

_DEEPEST = 50
"""How deep in a chunk messages are looked for."""
WITHHELD = "withheld"
"""Marks, among a message's own keywords, what stands in the place of a reply that was held back, and why it was."""


def from_gate(text: str, *, withheld: bool = False) -> HumanMessage:
    """Something that the gate tells the model. Its name says that no user wrote it."""
    marks: dict[str, Any] = {GATE: WITHHELD} if withheld else {}
    return HumanMessage(text, name=GATE, additional_kwargs=marks)


def is_withheld(message: Any) -> bool:
    """Whether a message only stands for a reply that was held back, or tells the model why it was."""
    return isinstance(message, BaseMessage) and message.additional_kwargs.get(GATE) == WITHHELD


def is_reply(message: Any) -> bool:
    """Whether a message is words for the user, and nothing else."""
    return (
        isinstance(message, AIMessage)
        and not isinstance(message, AIMessageChunk)
        and not message.tool_calls
        and not message.invalid_tool_calls
        and bool(str(message.text))
    )


def without_words(message: AIMessage) -> AIMessage:
    """A message with its calls and without its words."""
    content = message.content
    if isinstance(content, list):
        blocks = [cast("dict[str, Any]", block) for block in cast("list[Any]", content) if isinstance(block, dict)]
        kept = [block for block in blocks if block.get("type") != "text"]
        return message.model_copy(update={"content": kept})
    return message.model_copy(update={"content": ""})


class Shape:
    """In which form a caller wants the chunks of a stream; inside, all modes come with their names."""

    def __init__(self, wanted: str | Sequence[str], *, subgraphs: bool, version: str) -> None:
        self.modes: Sequence[str] = [wanted] if isinstance(wanted, str) else list(wanted)
        self._alone = isinstance(wanted, str)
        self._subgraphs = subgraphs
        self._parts = version == "v2"
        self.inner = list(dict.fromkeys([*self.modes, "values"]))
        """The modes to ask the graph for: `values` shows the reply, whatever the caller looks at."""

    def read(self, chunk: Any) -> tuple[tuple[str, ...], str, Any]:
        """Where in a nest of graphs a chunk comes from, its mode, and what it says."""
        if self._parts:
            return chunk["ns"], chunk["type"], chunk["data"]
        if self._subgraphs:
            return chunk
        mode, payload = chunk
        return (), mode, payload

    def write(self, chunk: Any, payload: Any) -> Any:
        """The chunk as the caller wants it, with this to say."""
        if self._parts:
            return {**chunk, "data": payload}
        space, mode, _ = self.read(chunk)
        return self.make(space, mode, payload)

    def make(self, space: tuple[str, ...], mode: str, payload: Any) -> Any:
        """A chunk that the graph itself has not made."""
        if self._parts:
            part: dict[str, Any] = {"type": mode, "ns": space, "data": payload}
            return {**part, "interrupts": ()} if mode == "values" else part
        parts = ([space] if self._subgraphs else []) + ([] if self._alone else [mode]) + [payload]
        return tuple(parts) if len(parts) > 1 else payload


class Screen:
    """Looks through what passes by, for one run."""

    def __init__(self, run: Run) -> None:
        self._allowed = allowed_by(run)
        self._verdicts: dict[tuple[str | None, str], bool] = {}
        self._known: set[str] = set()
        self._tokens: dict[str, Sentences[Any]] = {}
        self.partly: list[str] = []
        """What was on the screen already of replies whose rest was held back; to be recorded by whoever takes it."""

    def know(self, messages: Iterable[Any]) -> None:
        """Messages of earlier turns: they were judged then, and pass."""
        self._known.update(m.id for m in messages if isinstance(m, BaseMessage) and m.id is not None)

    def may(self, message: AIMessage) -> bool:
        """Whether the words of a message may be said."""
        text = str(message.text)
        if not text or message.id in self._known:
            return True
        key = (message.id, text)
        if key not in self._verdicts:
            self._verdicts[key] = self._allowed(text)
        return self._verdicts[key]

    # -- tokens -------------------------------------------------------------------------------------------------------

    def token(self, key: str, piece: Any, message: AIMessageChunk | str) -> Sequence[Any]:
        """The pieces that may go on now that this one has come."""
        sentences = self._tokens.get(key)
        if sentences is None:
            sentences = self._tokens[key] = Sentences(self._allowed)
        before = sentences.stopped
        text = message if isinstance(message, str) else str(message.text)
        out = list(sentences.add(piece, text))
        if not isinstance(message, str) and message.chunk_position == "last":
            out += self.ended(key)
        elif sentences.stopped and not before:
            self._note(sentences)
        return out

    def flush(self) -> Sequence[Any]:
        """The pieces that may go on now that something else comes; a message may still go on after it."""
        return [piece for key in list(self._tokens) for piece in self._judged(key)]

    def ended(self, key: str) -> Sequence[Any]:
        """The pieces that may go on because their message has ended."""
        out = self._judged(key)
        self._tokens.pop(key, None)
        return out

    def _judged(self, key: str) -> Sequence[Any]:
        sentences = self._tokens.get(key)
        if sentences is None:
            return ()
        before = sentences.stopped
        out = sentences.end()
        if sentences.stopped and not before:
            self._note(sentences)
        return out

    def _note(self, sentences: Sentences[Any]) -> None:
        if sentences.passed.strip():
            self.partly.append(sentences.passed)

    # -- everything else ----------------------------------------------------------------------------------------------

    def message(self, message: Any) -> Any:
        """A whole message without what may not be said; None where nothing is left of it."""
        if is_withheld(message):
            return None
        if isinstance(message, AIMessage) and not self.may(message):
            return without_words(message) if message.tool_calls else None
        return message

    def clean(self, value: Any, depth: int = 0) -> Any:
        """The same without what may not be said; the very same where nothing is to be left out."""
        if isinstance(value, BaseMessage):
            return without_words(value) if isinstance(value, AIMessage) and not self.may(value) else value
        if depth > _DEEPEST:
            return None  # nobody has looked at it
        if isinstance(value, Mapping):
            mapping = cast("Mapping[Any, Any]", value)
            cleaned = {key: self.clean(inner, depth + 1) for key, inner in mapping.items()}
            return mapping if all(cleaned[key] is mapping[key] for key in mapping) else cleaned
        if isinstance(value, list | tuple):
            return self._clean_items(cast("Sequence[Any]", value), depth)
        if isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type)):
            return self._clean_object(cast("Any", value), depth)
        return value

    def _clean_items(self, items: Sequence[Any], depth: int) -> Sequence[Any]:
        kept = [self.clean(item, depth + 1) for item in items if not self._left_out(item)]
        if len(kept) == len(items) and all(new is old for new, old in zip(kept, items, strict=True)):
            return items
        kind: Any = type(items)
        make: Callable[[list[Any]], Any] = getattr(kind, "_make", kind)  # tuples may have named fields
        return make(kept)

    def _clean_object(self, value: Any, depth: int) -> Any:
        """States may be dataclasses and models, too."""
        fields: dict[str, Any] = getattr(value, "__dict__", {})
        changed = {name: new for name, old in fields.items() if (new := self.clean(old, depth + 1)) is not old}
        if not changed:
            return value
        twin = copy.copy(value)
        for name, new in changed.items():
            object.__setattr__(twin, name, new)
        return twin

    def _left_out(self, item: Any) -> bool:
        return is_withheld(item) or (is_reply(item) and not self.may(item))

    def event(self, event: Any) -> Sequence[Any]:
        """What of an event of `astream_events` goes on, and what had to wait for it."""
        data: dict[str, Any] = event["data"]
        piece = data.get("chunk")
        if isinstance(piece, AIMessageChunk | str) and str(event["event"]).endswith("_stream"):
            return self.token(event["run_id"], event, piece)
        ended = self.ended(event["run_id"]) if str(event["event"]).endswith("_end") else ()
        cleaned = self.clean(data)
        return [*ended, event if cleaned is data else {**event, "data": cleaned}]
