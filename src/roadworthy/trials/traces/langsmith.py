"""Runs of LangSmith, one a line, as `Client.list_runs` gives them and its exports write them.

Source: LangSmith's run data format; samples were recorded with langsmith 0.15.0 and langchain-core 1.7.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from roadworthy.trials.traces.chat import Chat, arguments_of, chat_of, is_object, listed, parsed, text_of
from roadworthy.trials.traces.conversation import ModelCall, Record, ToolUse
from roadworthy.trials.traces.spans import nanoseconds

_THREADS = ("thread_id", "session_id", "conversation_id")
"""Metadata by which LangSmith joins traces into a thread."""


def is_of(value: object) -> bool:
    """Whether an object is a run of LangSmith."""
    return is_object(value) and isinstance(value.get("run_type"), str) and ("inputs" in value or "trace_id" in value)


def records(values: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[Record]:
    """What runs, each with the line that it stands in, tell of models and tools."""
    for line, run in values:
        yield from _records(run, line, None)


def _records(run: Mapping[str, Any], line: int, above: Record | None) -> Iterator[Record]:
    own = str(run.get("id") or run.get("run_id") or f"line-{line}")
    parent = run.get("parent_run_id") or (above.id if above is not None else None)
    trace = run.get("trace_id") or (above.trace if above is not None else own)
    extra = parsed(run.get("extra"))
    known: Mapping[str, Any] = extra if is_object(extra) else {}
    metadata = parsed(known.get("metadata") or run.get("metadata"))
    thread = next((metadata[k] for k in _THREADS if metadata.get(k)), None) if is_object(metadata) else None
    kind = run.get("run_type")
    inputs, outputs = parsed(run.get("inputs")), parsed(run.get("outputs"))
    record = Record(
        trace=str(trace),
        conversation=str(thread) if thread is not None else None,
        id=own,
        parent=str(parent) if parent else None,
        line=line,
        start=nanoseconds(run.get("start_time")),
        end=nanoseconds(run.get("end_time")),
        model=_model(inputs, outputs, known) if kind == "llm" else None,
        tool=_tool(run, inputs, outputs, known) if kind == "tool" else None,
        opening=_opening(inputs) if not parent else None,
    )
    yield record
    for child in listed(run.get("child_runs")):
        if is_object(child):
            yield from _records(child, line, record)


def _model(inputs: object, outputs: object, extra: Mapping[str, Any]) -> ModelCall:
    asked = chat_of(inputs, bare="user")
    if not asked.messages and is_object(inputs):
        prompts = [p for p in listed(inputs.get("prompts")) if isinstance(p, str)]
        asked = Chat(messages=chat_of(prompts, bare="user").messages, tools=asked.tools)
    parameters = extra.get("invocation_params")
    offered = chat_of({"tools": parameters.get("tools")}, bare="user").tools if is_object(parameters) else ()
    return ModelCall(
        asked=Chat(messages=asked.messages, tools=asked.tools or offered), said=chat_of(outputs, bare="assistant")
    )


def _tool(run: Mapping[str, Any], inputs: object, outputs: object, extra: Mapping[str, Any]) -> ToolUse:
    error = run.get("error")
    told = text_of(outputs) if outputs is not None and not error else f"Error: {error}" if error else None
    call_id = extra.get("tool_call_id")
    output = outputs.get("output") if is_object(outputs) else None
    if call_id is None and is_object(output):
        inner = output.get("kwargs", output)
        call_id = inner.get("tool_call_id") if is_object(inner) else None
    return ToolUse(
        name=str(run.get("name") or "tool"),
        given=arguments_of(inputs),
        result=told,
        call_id=call_id if isinstance(call_id, str) and call_id else None,
    )


def _opening(inputs: object) -> str | None:
    users = [m.text for m in chat_of(inputs, bare="user").messages if m.role == "user"]
    if users:
        return users[-1]
    texts = [v for v in inputs.values() if isinstance(v, str) and v.strip()] if is_object(inputs) else []
    return texts[0] if len(texts) == 1 else None
