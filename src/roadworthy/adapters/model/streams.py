"""Answers that come piece by piece, as server-sent events: put together as they pass, and taken apart again.

A cassette and a ledger keep the whole answer. What is told again in pieces says the same as what was streamed, in
pieces of our own length. Source: OpenAI's API reference, `chat.completion.chunk` and the events of `/v1/responses`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

_PIECE: Final = 24
"""Characters of text in one piece."""
_ONCE: Final = ("id", "role", "type", "index")
"""What some servers say in every piece anew."""
_COMPLETE: Final = ("response.completed", "response.incomplete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One server-sent event."""

    raw: bytes
    """As it came, with the blank line behind it."""
    data: str
    """Its `data`, in one text; empty for a comment."""

    @property
    def value(self) -> Mapping[str, Any]:
        """The object in it; an empty one where there is none."""
        try:
            read: object = json.loads(self.data)
        except (ValueError, RecursionError):
            return {}
        return cast("dict[str, Any]", read) if isinstance(read, dict) else {}


def event_of(lines: list[bytes]) -> Event:
    """An event, from its lines."""
    data = [line[5:].strip() for line in lines if line.startswith(b"data:")]
    return Event(raw=b"\n".join(lines) + b"\n\n", data=b"\n".join(data).decode("utf-8", "replace"))


class Assembling(Protocol):
    """Puts an answer together."""

    def feed(self, event: Event) -> bool:
        """Take an event; whether it is for the client, who may not have asked for all that we did."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the last event was the one behind which nothing comes."""
        ...

    def whole(self) -> dict[str, Any] | None:
        """The answer; None where it is not complete."""
        ...


def assembling(path: str, *, usage: bool) -> Assembling:
    """What puts together an answer of one of PATHS. `usage`: the client wants to be told what was used."""
    return _Chat(usage=usage) if path == "chat/completions" else _Response()


def told_again(path: str, answer: Mapping[str, Any], *, usage: bool) -> Iterator[bytes]:
    """An answer in pieces."""
    return _chat_again(answer, usage=usage) if path == "chat/completions" else _response_again(answer)


class Begun:
    """Pieces of which the first has come: what went wrong until then was no stream. Close it."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._first: bytes | None = next(pieces, b"")

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        first, self._first = self._first, None
        if first:
            return first
        return next(self._pieces)

    def close(self) -> None:
        """Nobody wants the rest."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


# chat completions -----------------------------------------------------------------------------------------------------


class _Chat:
    def __init__(self, *, usage: bool) -> None:
        self._usage = usage
        self._whole: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._broke = False
        self.ended = False

    def feed(self, event: Event) -> bool:
        if event.data == "[DONE]":
            self.ended = True
            return True
        chunk = event.value
        if "error" in chunk:
            self._broke = True
        choices = cast("list[Mapping[str, Any]]", chunk.get("choices") or [])
        for name, value in chunk.items():
            if name not in ("choices", "object") and (value is not None or name not in self._whole):
                self._whole[name] = value
        for choice in choices:
            self._take(choice)
        return bool(choices) or self._usage or chunk.get("usage") is None

    def _take(self, choice: Mapping[str, Any]) -> None:
        index = int(choice.get("index") or 0)
        made = self._choices.setdefault(index, {"index": index, "message": {}, "finish_reason": None})
        for name, value in choice.items():
            if name == "delta":
                _merge(made["message"], cast("Mapping[str, Any]", value or {}))
            elif name == "finish_reason":
                made[name] = value or made[name]
            elif name != "index" and value is not None:
                _merge(made, {name: value})

    def whole(self) -> dict[str, Any] | None:
        choices = [self._choices[index] for index in sorted(self._choices)]
        if self._broke or not choices or any(choice["finish_reason"] is None for choice in choices):
            return None
        for choice in choices:
            message = choice["message"]
            message.setdefault("role", "assistant")
            message.setdefault("content", None)
            for call in message.get("tool_calls") or ():
                call.pop("index", None)
        return {**self._whole, "object": "chat.completion", "choices": choices}


def _merge(into: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Add a piece to what has come: texts are joined, lists by the index of their items, other values replaced."""
    for name, value in delta.items():
        had = into.get(name)
        if had is None or (name in _ONCE and value):
            into[name] = _copied(value)
        elif value is None or name in _ONCE:
            continue
        elif isinstance(had, str) and isinstance(value, str):
            into[name] = had if name == "name" and had == value else had + value
        elif isinstance(had, dict) and isinstance(value, Mapping):
            _merge(cast("dict[str, Any]", had), cast("Mapping[str, Any]", value))
        elif isinstance(had, list) and isinstance(value, list):
            _merge_items(cast("list[Any]", had), cast("list[Any]", value))
        else:
            into[name] = value


def _merge_items(had: list[Any], added: list[Any]) -> None:
    for item in added:
        index = cast("dict[str, Any]", item).get("index") if isinstance(item, dict) else None
        numbered = (cast("dict[str, Any]", one) for one in had if isinstance(one, dict))
        same = next((one for one in numbered if one.get("index") == index), None)
        if index is None or same is None:
            had.append(_copied(item))
        else:
            _merge(same, cast("dict[str, Any]", item))


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _chat_again(answer: Mapping[str, Any], *, usage: bool) -> Iterator[bytes]:
    lead = {name: value for name, value in answer.items() if name not in ("choices", "usage", "object")}
    lead["object"] = "chat.completion.chunk"

    def chunk(choices: list[Any], **more: Any) -> bytes:
        return _data({**lead, "choices": choices, **more})

    for choice in cast("list[Mapping[str, Any]]", answer.get("choices") or []):
        rest = {name: value for name, value in choice.items() if name not in ("message", "finish_reason")}
        rest.setdefault("index", 0)
        first = True
        for delta in _deltas(cast("Mapping[str, Any]", choice.get("message") or {})):
            told = rest if first else {"index": rest["index"]}  # log probabilities stand with the first piece
            yield chunk([{**told, "delta": delta, "finish_reason": None}])
            first = False
        yield chunk([{"index": rest["index"], "delta": {}, "finish_reason": choice.get("finish_reason")}])
    if usage:
        yield chunk([], usage=answer.get("usage"))
    yield b"data: [DONE]\n\n"


def _deltas(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    texts = ("content", "reasoning_content", "reasoning", "refusal")
    whole = {name: value for name, value in message.items() if name != "tool_calls" and name not in texts}
    content = message.get("content")
    yield {**whole, "role": message.get("role", "assistant"), "content": None if content is None else ""}
    for name in (*texts[1:], texts[0]):
        value = message.get(name)
        if isinstance(value, str):
            for piece in _pieces(value):
                yield {name: piece}
        elif value is not None:
            yield {name: value}
    for index, call in enumerate(cast("list[Mapping[str, Any]]", message.get("tool_calls") or [])):
        function = call.get("function")
        if not isinstance(function, Mapping):
            yield {"tool_calls": [{**call, "index": index}]}
            continue
        known = cast("Mapping[str, Any]", function)
        yield {"tool_calls": [{**call, "index": index, "function": {**known, "arguments": ""}}]}
        for piece in _pieces(str(known.get("arguments") or "")):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


# responses ------------------------------------------------------------------------------------------------------------


class _Response:
    def __init__(self) -> None:
        self._whole: dict[str, Any] | None = None
        self.ended = False

    def feed(self, event: Event) -> bool:
        value = event.value
        if value.get("type") in _COMPLETE and isinstance(value.get("response"), dict):
            self._whole = value["response"]
            self.ended = True
        elif value.get("type") in ("response.failed", "error"):
            self.ended = True
        return True

    def whole(self) -> dict[str, Any] | None:
        return self._whole


def _response_again(answer: Mapping[str, Any]) -> Iterator[bytes]:
    number = 0

    def event(kind: str, **fields: Any) -> bytes:
        nonlocal number
        number += 1
        return f"event: {kind}\n".encode() + _data({"type": kind, "sequence_number": number - 1, **fields})

    begun: dict[str, Any] = {**answer, "status": "in_progress", "output": [], "usage": None}
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    for index, item in enumerate(cast("list[Mapping[str, Any]]", answer.get("output") or [])):
        at: dict[str, Any] = {"output_index": index, "item_id": item.get("id")}
        if item.get("type") == "message":
            yield event(
                "response.output_item.added", output_index=index, item={**item, "status": "in_progress", "content": []}
            )
            for n, part in enumerate(cast("list[Mapping[str, Any]]", item.get("content") or [])):
                yield from _part_again(event, {**at, "content_index": n}, part)
        elif item.get("type") == "function_call":
            arguments = str(item.get("arguments") or "")
            empty = {**item, "status": "in_progress", "arguments": ""}
            yield event("response.output_item.added", output_index=index, item=empty)
            for piece in _pieces(arguments):
                yield event("response.function_call_arguments.delta", **at, delta=piece)
            done = {**at, "name": item.get("name"), "arguments": arguments}
            yield event("response.function_call_arguments.done", **done)
        else:
            yield event("response.output_item.added", output_index=index, item=item)
        yield event("response.output_item.done", output_index=index, item=item)
    ending = "response.incomplete" if answer.get("status") == "incomplete" else "response.completed"
    yield event(ending, response=answer)


def _part_again(event: Any, at: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[bytes]:
    kind, name = ("refusal", "refusal") if part.get("type") == "refusal" else ("output_text", "text")
    text = str(part.get(name) or "")
    yield event("response.content_part.added", **at, part={**part, name: ""})
    more: dict[str, Any] = {"logprobs": []} if name == "text" else {}
    for piece in _pieces(text):
        yield event(f"response.{kind}.delta", **at, delta=piece, **more)
    yield event(f"response.{kind}.done", **at, **{name: text}, **more)
    yield event("response.content_part.done", **at, part=part)


def _pieces(text: str) -> Iterator[str]:
    return (text[n : n + _PIECE] for n in range(0, len(text), _PIECE))


def _data(value: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"
