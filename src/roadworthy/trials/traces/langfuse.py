"""Observations of Langfuse: from its interface (JSON, JSONL or CSV), its API, its blob storage, a trace that was
downloaded, and the spans that its SDK sends.

Source: Langfuse's observations API (v1, v2) and the fields of its blob storage export; samples were recorded with the
SDK 5.0.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from roadworthy.trials.traces.chat import arguments_of, chat_of, is_object, listed, parsed, text_of
from roadworthy.trials.traces.conversation import ModelCall, Record, ToolUse
from roadworthy.trials.traces.spans import Span, nanoseconds

_TYPES: Final = frozenset((
    "span", "generation", "event", "agent", "tool", "chain", "retriever", "evaluator", "embedding", "guardrail",
))  # fmt: skip


def is_of(value: object) -> bool:
    """Whether an object is an observation of Langfuse, or a trace with its observations."""
    if not is_object(value):
        return False
    if is_object(value.get("trace")) and "observations" in value:
        return True
    if "observations" in value and ("timestamp" in value or "id" in value):
        return True
    kind = value.get("type")
    return isinstance(kind, str) and kind.lower() in _TYPES and _get(value, "traceId") is not None


def is_span(span: Span) -> bool:
    """Whether a span was sent by Langfuse's SDK."""
    return "langfuse.observation.type" in span.attributes


def of_spans(spans: Iterable[Span]) -> Iterator[Record]:
    """What the spans of Langfuse's SDK tell of models and tools."""
    for span in spans:
        given = span.attributes
        metadata = {
            k.removeprefix("langfuse.observation.metadata."): parsed_scalar(v)
            for k, v in given.items()
            if k.startswith("langfuse.observation.metadata.")
        }
        yield _record(
            {
                "traceId": span.trace,
                "id": span.id,
                "parentObservationId": span.parent,
                "type": given.get("langfuse.observation.type"),
                "name": span.name,
                "startTime": span.start,
                "endTime": span.end,
                "input": given.get("langfuse.observation.input"),
                "output": given.get("langfuse.observation.output"),
                "metadata": metadata,
                "sessionId": given.get("session.id"),
                "statusMessage": span.error,
                "level": "ERROR" if span.error else None,
            },
            span.line,
            None,
        )


def records(values: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[Record]:
    """What observations, each with the line that it stands in, tell of models and tools."""
    for line, value in values:
        inside = listed(parsed(value.get("observations")))
        if "observations" not in value:
            yield _record(value, line, None)
            continue
        outer = value.get("trace")
        trace: Mapping[str, Any] = outer if is_object(outer) else value
        for observation in inside:
            if is_object(observation):
                yield _record(observation, line, trace)


def parsed_scalar(value: object) -> object:
    """Langfuse's SDK writes metadata as JSON, texts with their quotes."""
    return value[1:-1] if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"' else value


def _record(value: Mapping[str, Any], line: int, trace: Mapping[str, Any] | None) -> Record:
    kind = str(value.get("type") or "").lower()
    session = _get(value, "sessionId") or (_get(trace, "sessionId") if trace is not None else None)
    parent = _get(value, "parentObservationId")
    given, told = parsed(value.get("input")), parsed(value.get("output"))
    own = str(value.get("id") or f"line-{line}")
    in_trace = _get(value, "traceId") or (trace.get("id") if trace is not None else None) or own
    return Record(
        trace=str(in_trace),
        conversation=str(session) if session else None,
        id=own,
        parent=str(parent) if parent else None,
        line=line,
        start=nanoseconds(_get(value, "startTime")),
        end=nanoseconds(_get(value, "endTime")),
        model=_model(given, told) if kind == "generation" else None,
        tool=_tool(value, given, told) if kind == "tool" else None,
        opening=_opening(given, trace) if not parent else None,
    )


def _model(given: object, told: object) -> ModelCall | None:
    asked, said = chat_of(given, bare="user"), chat_of(told, bare="assistant")
    return ModelCall(asked=asked, said=said) if asked.messages or said.messages else None


def _tool(value: Mapping[str, Any], given: object, told: object) -> ToolUse:
    failed = str(value.get("level") or "").upper() == "ERROR"
    why = _get(value, "statusMessage")
    result = text_of(told) if told is not None else f"Error: {why or 'failed'}" if failed else None
    metadata = parsed(value.get("metadata"))
    call_id: object = metadata.get("tool_call_id") if is_object(metadata) else None
    if call_id is None and is_object(told):
        call_id = told.get("tool_call_id")
    return ToolUse(
        name=str(value.get("name") or "tool"),
        given=arguments_of(given),
        result=result,
        call_id=call_id if isinstance(call_id, str) and call_id else None,
    )


def _opening(given: object, trace: Mapping[str, Any] | None) -> str | None:
    for value in (given, parsed(trace.get("input")) if trace is not None else None):
        users = [m.text for m in chat_of(value, bare="user").messages if m.role == "user"]
        if users:
            return users[-1]
    return None


def _get(value: Mapping[str, Any], name: str) -> Any:
    """A field, by its name in the API or by that in blob storage and CSV: `traceId`, `trace_id`."""
    if name in value:
        return value[name]
    return value.get("".join(f"_{c.lower()}" if c.isupper() else c for c in name))
