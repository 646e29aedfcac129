"""Chat messages in the words of whoever recorded them, as messages of a recorded run.

OpenAI (chat and responses), LangChain (dumped, serialised and plain), Anthropic, OpenTelemetry and OpenInference write
the same few things in different words. What is none of them is left out: traces hold much that is no message.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeGuard, cast

from roadworthy.trials.recorded import Message, ToolCall, tool_call

Role = Literal["system", "user", "assistant", "tool"]

_ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "ai": "assistant", "AIMessageChunk": "assistant", "model": "assistant", "tool": "tool", "function": "tool",
}  # fmt: skip
_CLASSES: Mapping[str, Role] = {
    "SystemMessage": "system", "HumanMessage": "user", "AIMessage": "assistant", "AIMessageChunk": "assistant",
    "ToolMessage": "tool", "FunctionMessage": "tool",
}  # fmt: skip
_DEEP = 12
_INSIDE = ("messages", "choices", "generations", "input", "output", "message", "candidates", "content")
"""Where the messages of a request or an answer stand, the likeliest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """Messages, and the tools that were offered with them."""

    messages: tuple[Message, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(slots=True)
class _Found:
    messages: list[Message] = field(default_factory=list[Message])
    tools: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])


def chat_of(value: object, *, bare: Role) -> Chat:
    """The messages in a recorded request or answer, JSON or parsed. Bare text is a message of the role `bare`."""
    found = _Found()
    _look(value, bare, found, 0)
    return Chat(messages=tuple(found.messages), tools=tuple(found.tools))


def is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    """A mapping with names."""
    return isinstance(value, Mapping)


def listed(value: object) -> list[Any]:
    """The items of a list; none of what is no list."""
    return list(cast("Sequence[Any]", value)) if isinstance(value, list | tuple) else []


def parsed(text: object) -> Any:
    """What a text of JSON, or of Python's own notation, holds where that is an object or a list; else the text."""
    if not isinstance(text, str) or text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        value: Any = ast.literal_eval(
            text.strip()
        )  # LangChain records the arguments of some tools as Python writes them
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, SystemError):
        return text
    return cast("Any", value) if isinstance(value, dict | list) else text


def text_of(value: object) -> str:
    """A recorded result as the model was told it: a tool message's content, text, or JSON."""
    given = parsed(value)
    if is_object(given):
        inner = _unwrapped(given)
        if _role(inner) == "tool" and "content" in inner:
            return _words(inner["content"])
        if set(inner) == {"output"} or set(inner) == {"result"}:
            return text_of(next(iter(inner.values())))
        if is_object(inner.get("kwargs")):  # a LangChain Command or another object that was dumped whole
            return json.dumps(inner["kwargs"], default=str)
    if given is None:
        return ""
    return value if isinstance(value, str) else json.dumps(given, default=str)


def arguments_of(value: object) -> object:
    """The arguments of a tool as they were recorded: an object, or text where it is none."""
    given = parsed(value)
    if is_object(given):
        if set(given) == {"input"} and isinstance(given["input"], str | Mapping):
            inner = parsed(cast("object", given["input"]))
            return inner if is_object(inner) else given
        if given.get("type") == "tool_call" and is_object(given.get("args")):
            return given["args"]
    return given


# -- looking ----------------------------------------------------------------------------------------------------------


def _look(value: object, bare: Role, found: _Found, depth: int) -> None:
    if depth > _DEEP:
        return
    value = parsed(value)
    if isinstance(value, str):
        if value.strip():
            found.messages.append(Message(role=bare, text=value))
    elif isinstance(value, list | tuple):
        items = listed(cast("object", value))
        if len(items) == 2 and all(isinstance(i, str) for i in items) and items[0] in _ROLES:  # ("user", "hello")
            found.messages.append(Message(role=_ROLES[items[0]], text=items[1]))
            return
        if items and all(_is_part(i) for i in items):
            found.messages.extend(_expanded(bare, items))
            return
        for item in items:
            _look(item, bare, found, depth + 1)
    elif is_object(value):
        _look_in(_unwrapped(value), bare, found, depth)


def _look_in(value: Mapping[str, Any], bare: Role, found: _Found, depth: int) -> None:
    definition = _definition(value)
    if definition is not None:
        found.tools.append(definition)
        return
    item = _item(value)
    if item is not None:
        found.messages.append(item)
        return
    role = _role(value)
    if role is not None and any(k in value for k in ("content", "parts", "tool_calls", "contents")):
        found.messages.extend(_message(role, value))
        return
    for definitions in ("tools", "functions"):
        for tool in listed(parsed(value.get(definitions))):
            known = _definition(tool) if is_object(tool) else None
            if known is not None:
                found.tools.append(known)
    for before in ("system", "instructions", "system_instruction"):
        if value.get(before):
            _look(value[before], "system", found, depth + 1)
    for name in _INSIDE:
        if name not in value:
            continue
        inner = value[name]
        if name == "choices":  # each is another answer to the same request; the first was gone on with
            inner = listed(inner)[:1]
        elif name == "generations":
            inner = listed(inner)[:1]
            inner = listed(cast("object", inner[0]))[:1] if inner and isinstance(inner[0], list) else inner
        _look(inner, bare, found, depth + 1)
        return
    if isinstance(value.get("text"), str):
        _look(value["text"], bare, found, depth + 1)


def _unwrapped(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """LangChain's dumps without their wrapping: `{"lc": 1, "kwargs": {…}}`, `{"type": "human", "data": {…}}`."""
    kwargs, data = value.get("kwargs"), value.get("data")
    if "lc" in value and is_object(kwargs):
        named = listed(value.get("id"))
        role = _CLASSES.get(str(named[-1])) if named else None
        return {**kwargs, "role": role} if role is not None else kwargs
    if _word(value, "type") in _ROLES and is_object(data) and "content" in data:
        return {**data, "type": value["type"]}
    return value


def _definition(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A function schema. Langfuse's handler for LangChain records them as messages of a tool."""
    content = value.get("content")
    if value.get("role") == "tool" and is_object(content) and content.get("type") == "function":
        value = content
    inner = value.get("function", value)
    if not is_object(inner) or "role" in value or "content" in value or "arguments" in inner:
        return None
    schema = inner.get("parameters") or inner.get("input_schema") or inner.get("inputSchema")
    known = isinstance(inner.get("name"), str) and (is_object(schema) or value.get("type") == "function")
    return value if known and "args" not in value else None


def _role(value: Mapping[str, Any]) -> Role | None:
    for name in (value.get("role"), value.get("type")):
        if isinstance(name, str) and name in _ROLES:
            return _ROLES[name]
    return None


def _item(value: Mapping[str, Any]) -> Message | None:
    """An item of OpenAI's responses: a call, or what came of it."""
    call_id = value.get("call_id")
    if value.get("type") == "function_call" and isinstance(value.get("name"), str):
        call = tool_call(_id(call_id or value.get("id")), value["name"], value.get("arguments"))
        return Message(role="assistant", text="", calls=(call,))
    if value.get("type") == "function_call_output":
        return Message(role="tool", text=_words(value.get("output")), call_id=_id(call_id))
    return None


# -- one message -----------------------------------------------------------------------------------------------------


def _message(role: Role, value: Mapping[str, Any]) -> Iterator[Message]:
    parts: object = value.get("parts", value.get("content", value.get("contents")))
    more: object = value.get("additional_kwargs")
    calls = listed(value.get("tool_calls")) or (listed(more.get("tool_calls")) if is_object(more) else [])
    known = tuple(call for call in map(_called, calls) if call is not None)
    if role == "tool":
        answers = [m for m in _expanded(role, listed(parts)) if m.call_id is not None]
        if answers:
            yield from answers
            return
        call_id = value.get("tool_call_id", value.get("id") if "parts" in value else None)
        yield Message(role="tool", text=_words(parts), call_id=_id(call_id))
        return
    if isinstance(parts, list | tuple):
        made = list(_expanded(role, listed(cast("object", parts))))
    else:
        made = [Message(role=role, text=_words(parts))]
    spoken = next((i for i, m in enumerate(made) if m.role == role), None)
    if spoken is None:
        if known or not made:
            made.append(Message(role=role, text="", calls=known if role == "assistant" else ()))
    elif known and role == "assistant":
        seen = {c.id for c in made[spoken].calls if c.id is not None}
        made[spoken] = replace(made[spoken], calls=(*made[spoken].calls, *(c for c in known if c.id not in seen)))
    yield from made


_PARTS = frozenset((
    "text", "input_text", "output_text", "refusal", "tool_use", "tool_result", "tool_call", "tool_call_response",
    "image", "image_url", "input_image", "file", "blob", "uri", "audio", "reasoning", "thinking", "redacted_thinking",
    "function_call",
))  # fmt: skip


def _is_part(value: object) -> bool:
    if not is_object(value) or "role" in value or "call_id" in value:
        return False
    return is_object(value.get("message_content")) or (_word(value, "type") in _PARTS and "args" not in value)


def _expanded(role: Role, parts: Sequence[Any]) -> Iterator[Message]:
    """A message of parts: its results as messages of their own, and then its words and calls."""
    texts: list[str] = []
    calls: list[ToolCall] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        if not is_object(part):
            continue
        inner: object = part.get("message_content")
        given = inner if is_object(inner) else part
        kind = given.get("type")
        if kind in ("tool_result", "tool_call_response"):
            answer = given.get("response", given.get("result", given.get("content")))
            call_id = _id(given.get("tool_use_id", given.get("id")))
            yield Message(role="tool", text=_words(answer), call_id=call_id)
        elif kind in ("tool_use", "tool_call", "function_call") or ("name" in given and "arguments" in given):
            call = _called(given)
            if call is not None:
                calls.append(call)
        elif kind in (None, "text", "input_text", "output_text", "refusal"):
            words = given.get("text", given.get("content", given.get("refusal")))
            texts.append(words if isinstance(words, str) else "")
    if texts or calls:
        yield Message(role=role, text="".join(texts), calls=tuple(calls) if role == "assistant" else ())


def _called(value: object) -> ToolCall | None:
    """A tool call as OpenAI, LangChain, Anthropic, OpenTelemetry or OpenInference write it."""
    if not is_object(value):
        return None
    inner = value.get("tool_call")
    call = inner if is_object(inner) else value
    function = call.get("function")
    named = function if is_object(function) else call
    name = named.get("name")
    if not isinstance(name, str) or not name:
        return None
    given = next((named[k] for k in ("arguments", "args", "input") if named.get(k) is not None), None)
    return tool_call(_id(call.get("id")), name, given)


def _words(value: object) -> str:
    """Content as text: itself, its parts, or as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    parts = listed(value)
    if parts and all(isinstance(p, str) or _is_part(p) for p in parts):
        return "".join(m.text for m in _expanded("user", parts))
    return json.dumps(value, default=str)


def _word(value: Mapping[str, Any], name: str) -> str | None:
    found = value.get(name)
    return found if isinstance(found, str) else None


def _id(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
