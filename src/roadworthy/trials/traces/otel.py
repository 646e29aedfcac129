"""OpenTelemetry's conventions for generative AI, in the forms that instrumentations have written them in.

Since 1.37 messages stand in `gen_ai.input.messages` and `gen_ai.output.messages` (as attributes, or in the event
`gen_ai.client.inference.operation.details`); until then each was an event of its own (`gen_ai.user.message`,
`gen_ai.choice`). OpenLLMetry wrote `gen_ai.prompt.0.role`, and tools as `traceloop.entity.input`. Tools are
`execute_tool` spans. Source: OpenTelemetry semantic conventions for GenAI 1.28 to 1.41, and its own repository since.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from roadworthy.trials.traces.chat import Chat, arguments_of, chat_of, is_object, parsed, text_of
from roadworthy.trials.traces.conversation import ModelCall, Record, ToolUse
from roadworthy.trials.traces.spans import Span, nested, numbered

_MODEL = frozenset(("chat", "text_completion", "generate_content", "completion"))
_DETAILS = "gen_ai.client.inference.operation.details"
_ASKED = ("gen_ai.system.message", "gen_ai.user.message", "gen_ai.assistant.message", "gen_ai.tool.message")


def records(spans: Iterable[Span]) -> Iterator[Record]:
    """What the spans tell of models and tools."""
    kept, logged = list[Span](), defaultdict[tuple[str, str | None], list[Span]](list)
    for span in spans:
        if "/gen_ai." in span.id:
            logged[span.trace, span.parent].append(span)
        else:
            kept.append(span)
    for span in kept:
        events = (*span.events, *(e for s in logged.pop((span.trace, span.id), ()) for e in s.events))
        yield _record(span, events)
    for (_, of), rest in logged.items():  # the events of spans that are in another file
        yield _record(rest[0], tuple(e for s in rest for e in s.events), at=of)


def is_of(span: Span) -> bool:
    """Whether a span follows these conventions."""
    return any(name.startswith(("gen_ai.", "traceloop.")) for name in span.attributes) or any(
        name.startswith("gen_ai.") for name, _ in span.events
    )


def _record(span: Span, events: tuple[tuple[str, Mapping[str, Any]], ...], at: str | None = None) -> Record:
    model = _model(span, events)
    offered = chat_of({"tools": span.attributes.get("gen_ai.tool.definitions")}, bare="user").tools
    conversation = span.attributes.get("gen_ai.conversation.id")
    return Record(
        trace=span.trace,
        conversation=conversation if isinstance(conversation, str) and conversation else None,
        id=at or span.id,
        parent=span.parent if at is None else None,
        line=span.line,
        start=span.start,
        end=span.end,
        model=model,
        tool=None if model is not None else _tool(span),
        tools=offered,
    )


def _model(span: Span, events: tuple[tuple[str, Mapping[str, Any]], ...]) -> ModelCall | None:
    given = span.attributes
    operation = given.get("gen_ai.operation.name")
    if operation not in (None, *_MODEL):
        return None
    sources: list[Mapping[str, Any]] = [given]
    for name, event in events:
        if name == _DETAILS:
            body = event.get("body")
            sources.append({**event, **(nested(body).get("gen_ai", {}) if is_object(body) else {})})
            sources.append(body if is_object(body) else {})
    for source in sources:
        asked, said = source.get("gen_ai.input.messages"), source.get("gen_ai.output.messages")
        if asked is not None or said is not None:
            system = chat_of(source.get("gen_ai.system_instructions"), bare="system").messages
            before = chat_of(asked, bare="user")
            whole = Chat(messages=(*system, *before.messages), tools=before.tools)
            return ModelCall(asked=whole, said=chat_of(said, bare="assistant"))
    asked = [m for name, event in events if name in _ASKED for m in _event(name, event)]
    said = [m for name, event in events if name == "gen_ai.choice" for m in _event(name, event)]
    if asked or said:
        return ModelCall(asked=chat_of(asked, bare="user"), said=chat_of(said, bare="assistant"))
    return _numbered(given)


def _event(name: str, event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A message that was an event of its own: in the body of a log record, or in the attributes of a span event."""
    body = parsed(event.get("body", event.get("gen_ai.event.content", event.get("content"))))
    value: Mapping[str, Any] = body if is_object(body) else {**event, "content": body}
    if name == "gen_ai.choice":
        inner = parsed(value.get("message"))
        value = (
            inner if is_object(inner) else {**value, "content": inner if inner is not None else value.get("content")}
        )
    role = name.split(".")[1] if name != "gen_ai.choice" else "assistant"
    yield (
        {"tool_call_id": value.get("id"), **value, "role": value.get("role") or role}
        if role == "tool"
        else {
            **value,
            "role": value.get("role") or role,
            "tool_calls": parsed(value.get("tool_calls")),
            "content": value.get("content"),
        }
    )


def _numbered(given: Mapping[str, Any]) -> ModelCall | None:
    """OpenLLMetry until 2025: `gen_ai.prompt.0.content`, `gen_ai.completion.0.tool_calls.0.name`."""
    tree = nested({k: v for k, v in given.items() if k.startswith(("gen_ai.prompt.", "gen_ai.completion."))})
    inner = tree.get("gen_ai")
    if not is_object(inner):
        return None

    def messages(part: str) -> list[Mapping[str, Any]]:
        return [
            {"content": None, **m, "tool_calls": numbered(m.get("tool_calls"))}
            for m in numbered(inner.get(part))
            if is_object(m)
        ]

    asked = [m if m.get("role") else {**m, "role": "user"} for m in messages("prompt")]
    said = [m if m.get("role") else {**m, "role": "assistant"} for m in messages("completion")]
    functions = nested({k: v for k, v in given.items() if k.startswith("llm.request.functions.")})
    offered: object = functions
    for step in ("llm", "request", "functions"):
        offered = offered.get(step, {}) if is_object(offered) else {}
    tools = [{**f, "parameters": parsed(f.get("parameters"))} for f in numbered(offered) if is_object(f)]
    return ModelCall(asked=chat_of([*asked, *tools], bare="user"), said=chat_of(said, bare="assistant"))


def _tool(span: Span) -> ToolUse | None:
    given = span.attributes
    if given.get("gen_ai.operation.name") == "execute_tool" and isinstance(given.get("gen_ai.tool.name"), str):
        arguments = _first(given, "gen_ai.tool.call.arguments", "tool_arguments", "gen_ai.tool.arguments")
        result = _first(given, "gen_ai.tool.call.result", "tool_response", "gen_ai.tool.result")
        name, call_id = given["gen_ai.tool.name"], given.get("gen_ai.tool.call.id")
    elif given.get("traceloop.span.kind") == "tool":
        arguments, result = _inner(given.get("traceloop.entity.input")), given.get("traceloop.entity.output")
        name, call_id = given.get("traceloop.entity.name", span.name), None
    else:
        return None
    told = text_of(result) if result is not None else f"Error: {span.error}" if span.error else None
    return ToolUse(
        name=str(name),
        given=arguments_of(arguments),
        result=told,
        call_id=call_id if isinstance(call_id, str) and call_id else None,
    )


def _inner(value: object) -> object:
    """OpenLLMetry's decorators write what a tool was called with as `{"args": […], "kwargs": {…}}`, or `inputs`."""
    given = parsed(value)
    if is_object(given):
        for name in ("kwargs", "inputs"):
            if is_object(given.get(name)) and given[name]:
                return given[name]
        if isinstance(given.get("input_str"), str):
            return parsed(given["input_str"])
    return given


def _first(given: Mapping[str, Any], *names: str) -> Any:
    return next((given[n] for n in names if given.get(n) is not None), None)
