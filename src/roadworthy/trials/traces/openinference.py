"""OpenInference, as Phoenix and Arize record it: spans of the kinds LLM, TOOL, AGENT, CHAIN.

Messages are flat attributes (`llm.input_messages.0.message.content`), tools have `tool.name`, `input.value` and
`output.value`. Source: the semantic conventions of OpenInference, 0.1.42.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from roadworthy.trials.traces.chat import Chat, arguments_of, chat_of, is_object, listed, parsed, text_of
from roadworthy.trials.traces.conversation import ModelCall, Record, ToolUse
from roadworthy.trials.traces.spans import Span, nested, numbered

_KIND = "openinference.span.kind"


def is_of(span: Span) -> bool:
    """Whether a span follows these conventions."""
    return _KIND in span.attributes


def records(spans: Iterable[Span]) -> Iterator[Record]:
    """What the spans tell of models and tools."""
    for span in spans:
        given = span.attributes
        kind = str(given.get(_KIND) or "").upper()
        session = given.get("session.id")
        yield Record(
            trace=span.trace,
            conversation=session if isinstance(session, str) and session else None,
            id=span.id,
            parent=span.parent,
            line=span.line,
            start=span.start,
            end=span.end,
            model=_model(given) if kind == "LLM" else None,
            tool=_tool(span) if kind == "TOOL" else None,
            opening=_opening(given) if span.parent is None else None,
        )


def _model(given: Mapping[str, Any]) -> ModelCall | None:
    tree = nested({k: v for k, v in given.items() if k.startswith("llm.")}).get("llm")
    llm: Mapping[str, Any] = tree if is_object(tree) else {}
    asked = [_message(m) for m in numbered(llm.get("input_messages"))]
    said = [_message(m) for m in numbered(llm.get("output_messages"))]
    schemas = [_schema(t) for t in numbered(llm.get("tools"))]
    offered = chat_of({"tools": [s for s in schemas if s is not None]}, bare="user").tools
    before = chat_of(asked, bare="user") if asked else chat_of(given.get("input.value"), bare="user")
    after = chat_of(said, bare="assistant") if said else chat_of(given.get("output.value"), bare="assistant")
    if not before.messages and not after.messages:
        return None
    return ModelCall(asked=Chat(messages=before.messages, tools=offered or before.tools), said=after)


def _message(value: object) -> Mapping[str, Any]:
    outer: Mapping[str, Any] = value if is_object(value) else {}
    inner = outer.get("message")
    message: Mapping[str, Any] = inner if is_object(inner) else outer
    parts = numbered(message.get("contents"))
    return {
        **message,
        "content": message.get("content") if message.get("content") is not None else parts or None,
        "tool_calls": numbered(message.get("tool_calls")),
    }


def _schema(value: object) -> object:
    tool = value.get("tool") if is_object(value) else None
    return parsed(tool.get("json_schema")) if is_object(tool) else None


def _tool(span: Span) -> ToolUse | None:
    given = span.attributes
    value, told = given.get("input.value"), given.get("output.value")
    result = text_of(told) if told is not None else f"Error: {span.error}" if span.error else None
    answer = parsed(told)
    data = answer.get("data", answer) if is_object(answer) else None
    call_id = given.get("tool_call.id") or (data.get("tool_call_id") if is_object(data) else None)
    return ToolUse(
        name=str(given.get("tool.name") or span.name),
        given=arguments_of(value),
        result=result,
        call_id=call_id if isinstance(call_id, str) and call_id else None,
    )


def _opening(given: Mapping[str, Any]) -> str | None:
    value = parsed(given.get("input.value"))
    if isinstance(value, str) and value.strip():
        return value
    users = [m.text for m in chat_of(value, bare="user").messages if m.role == "user"]
    if users:
        return users[-1]
    texts = [v for v in value.values() if isinstance(v, str) and v.strip()] if is_object(value) else []
    return texts[0] if len(texts) == 1 and not listed(value) else None
