"""What tracing tools export tells the same conversation, whoever wrote it down.

The files in `traces/` were written by the exporters themselves (OpenInference 0.1.66 and 0.1.80, OpenLLMetry 0.62.4,
Pydantic AI 2.68, Microsoft Agent Framework 1.23, LangSmith 0.15, Langfuse 5.0.4), less what differs from machine to
machine. Those of Langfuse's API and blob storage are made of what its SDK sent, by the fields that Langfuse documents.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from roadworthy.core.errors import RunsError, UsageError
from roadworthy.trials.recorded import BrokenLine, RecordedRun
from roadworthy.trials.traces.read import Format, format_named, guess, read_recorded

FILES = Path(__file__).with_name("traces")

KNOWN: dict[str, Format] = {
    "openinference-langchain.otlp.json": "openinference",
    "openinference-openai.spans.json": "openinference",
    "openllmetry-openai.otlp.json": "otel",
    "pydantic-ai.spans.jsonl": "otel",
    "agent-framework.spans.json": "otel",
    "langsmith-langchain.jsonl": "langsmith",
    "langsmith-openai.jsonl": "langsmith",
    "langfuse-langchain.otlp.json": "langfuse",
    "langfuse-api.json": "langfuse",
    "langfuse-blob.csv": "langfuse",
}


def read(path: Path, format: Format | None = None) -> list[RecordedRun]:
    runs = list(read_recorded(path, format))
    broken = [run.text for run in runs if isinstance(run, BrokenLine)]
    assert not broken
    return [run for run in runs if isinstance(run, RecordedRun)]


@pytest.mark.parametrize("name", KNOWN)
def test_a_trace_is_one_conversation_with_calls_and_results(name: str) -> None:
    assert guess(FILES / name) == KNOWN[name]
    (run,) = read(FILES / name)
    assert read(FILES / name, KNOWN[name]) == [run]
    spoken = [m for m in run.messages if m.role != "system"]
    assert [m.role for m in spoken] == ["user", "assistant", "tool", "assistant"]
    user, asked, told, said = spoken
    assert user.text in ("Where is 1001?", "Where is it?")
    (call,) = asked.calls
    assert call.name == "get_order"
    assert call.arguments is not None
    assert call.arguments["order_no"] in ("1001", "a")
    assert told.call_id == call.id
    assert json.loads(told.text)["status"] == "sent"
    assert "sent" in said.text
    (offered,) = run.tools
    assert offered.get("function", offered)["name"] == "get_order"


def test_every_file_is_read_by_one_of_the_tests() -> None:
    assert {p.name for p in FILES.iterdir()} == set(KNOWN)


# forms that no exporter here writes any more, or that need a server -------------------------------------------------


def attributes(**given: Any) -> list[dict[str, Any]]:
    return [{"key": k.replace("__", "."), "value": {"stringValue": v}} for k, v in given.items()]


def otlp(*spans: dict[str, Any], **resource: Any) -> dict[str, Any]:
    common = {"traceId": "t1", "startTimeUnixNano": "1000", "endTimeUnixNano": "2000"}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [{**common, **span} for span in spans]}]}], **resource}


def write(path: Path, *documents: Any) -> Path:
    path.write_text("\n".join(json.dumps(d) for d in documents), encoding="utf-8")
    return path


def heard(run: RecordedRun) -> list[tuple[Any, ...]]:
    return [(m.role, m.text, *((c.name, c.arguments) for c in m.calls)) for m in run.messages]


WHOLE = [
    ("user", "Where is 1001?"),
    ("assistant", "", ("get_order", {"order_no": "1001"})),
    ("tool", "sent"),
    ("assistant", "It was sent."),
]


def as_openllmetry() -> dict[str, Any]:
    first = {
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": "Where is 1001?",
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.tool_calls.0.id": "c1",
        "gen_ai.completion.0.tool_calls.0.name": "get_order",
        "gen_ai.completion.0.tool_calls.0.arguments": '{"order_no": "1001"}',
        "llm.request.functions.0.name": "get_order",
        "llm.request.functions.0.parameters": '{"type": "object", "properties": {}}',
    }
    tool = {
        "traceloop.span.kind": "tool",
        "traceloop.entity.name": "get_order",
        "traceloop.entity.input": '{"args": [], "kwargs": {"order_no": "1001"}}',
        "traceloop.entity.output": "sent",
    }
    last = {
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": "Where is 1001?",
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.content": "It was sent.",
    }
    return otlp(
        {"spanId": "1", "name": "openai.chat", "attributes": attributes(**first)},
        {"spanId": "2", "name": "get_order.tool", "startTimeUnixNano": "3000", "endTimeUnixNano": "4000"}
        | {"attributes": attributes(**tool)},
        {"spanId": "3", "name": "openai.chat", "startTimeUnixNano": "5000", "attributes": attributes(**last)},
    )


def as_span_events() -> dict[str, Any]:
    call = [{"id": "c1", "function": {"name": "get_order", "arguments": '{"order_no": "1001"}'}}]
    asked = {"name": "gen_ai.user.message", "attributes": attributes(content="Where is 1001?")}
    chose = {"name": "gen_ai.choice", "attributes": attributes(message=json.dumps({"tool_calls": call}))}
    called = {"name": "gen_ai.assistant.message", "attributes": attributes(tool_calls=json.dumps(call))}
    told = {"name": "gen_ai.tool.message", "attributes": attributes(id="c1", content="sent")}
    said = {"name": "gen_ai.choice", "attributes": attributes(message=json.dumps({"content": "It was sent."}))}
    return otlp(
        {"spanId": "1", "name": "chat m", "events": [asked, chose]},
        {"spanId": "2", "name": "chat m", "startTimeUnixNano": "3000", "events": [asked, called, told, said]},
    )


def as_log_records() -> dict[str, Any]:
    def record(span: str, at: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        values = [{"key": k, "value": {"stringValue": v}} for k, v in body.items()]
        told = {"traceId": "t1", "spanId": span, "timeUnixNano": at, "eventName": name}
        return {**told, "body": {"kvlistValue": {"values": values}}}

    call = json.dumps([{"id": "c1", "function": {"name": "get_order", "arguments": '{"order_no": "1001"}'}}])
    logs = [
        record("1", "1000", "gen_ai.user.message", {"content": "Where is 1001?"}),
        record("1", "1500", "gen_ai.choice", {"message": json.dumps({"tool_calls": json.loads(call)})}),
        record("2", "3000", "gen_ai.tool.message", {"id": "c1", "content": "sent"}),
        record("2", "3500", "gen_ai.choice", {"message": json.dumps({"content": "It was sent."})}),
    ]
    return otlp(
        {"spanId": "1", "name": "chat m"},
        {"spanId": "2", "name": "chat m", "startTimeUnixNano": "3000"},
        resourceLogs=[{"scopeLogs": [{"logRecords": logs}]}],
    )


def as_tool_spans() -> dict[str, Any]:
    """Only the tools are traced, and what the application was asked."""
    given = {"openinference.span.kind": "AGENT", "input.value": "Where is 1001?"}
    tool = {
        "openinference.span.kind": "TOOL",
        "tool.name": "get_order",
        "input.value": '{"order_no": "1001"}',
        "output.value": "sent",
    }
    last = {
        "openinference.span.kind": "LLM",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.contents.0.message_content.type": "text",
        "llm.output_messages.0.message.contents.0.message_content.text": "It was sent.",
    }
    return otlp(
        {"spanId": "1", "name": "agent", "attributes": attributes(**given)},
        {"spanId": "2", "parentSpanId": "1", "name": "tool", "startTimeUnixNano": "3000"}
        | {"attributes": attributes(**tool)},
        {"spanId": "3", "parentSpanId": "1", "name": "llm", "startTimeUnixNano": "5000", "endTimeUnixNano": "6000"}
        | {"attributes": attributes(**last)},
    )


def as_langfuse_trace() -> dict[str, Any]:
    """A trace that was downloaded, of Anthropic's messages."""
    use = {"type": "tool_use", "id": "c1", "name": "get_order", "input": {"order_no": "1001"}}
    asked: list[Any] = [{"role": "user", "content": "Where is 1001?"}]
    answered = [{"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "sent"}]}]
    more = [*asked, {"role": "assistant", "content": [use]}, {"role": "user", "content": answered}]
    return {
        "trace": {"id": "t1", "sessionId": "s1", "timestamp": "2026-03-01T10:00:00Z"},
        "observations": [
            {
                "id": "o2",
                "type": "GENERATION",
                "startTime": "2026-03-01T10:00:02Z",
                "input": {"messages": more},
                "output": {"role": "assistant", "content": [{"type": "text", "text": "It was sent."}]},
            },
            {
                "id": "o1",
                "type": "GENERATION",
                "startTime": "2026-03-01T10:00:01Z",
                "input": {"messages": asked},
                "output": {"role": "assistant", "content": [use]},
            },
        ],
    }


def as_responses() -> dict[str, Any]:
    """OpenAI's responses, in LangSmith."""
    call = {"type": "function_call", "call_id": "c1", "name": "get_order", "arguments": '{"order_no": "1001"}'}
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It was sent."}]}
    told = {"type": "function_call_output", "call_id": "c1", "output": "sent"}
    asked = {"role": "user", "content": "Where is 1001?"}
    root: dict[str, Any] = {
        "id": "r0",
        "trace_id": "r0",
        "run_type": "chain",
        "name": "agent",
        "inputs": {},
        "outputs": {},
    }
    first = {"inputs": {"input": [asked]}, "outputs": {"output": [call]}}
    second = {"inputs": {"input": [asked, call, told]}, "outputs": {"output": [said]}}
    return {
        **root,
        "child_runs": [
            {"id": "r1", "run_type": "llm", "name": "openai", "start_time": "2026-03-01T10:00:01", **first},
            {"id": "r2", "run_type": "llm", "name": "openai", "start_time": "2026-03-01T10:00:02", **second},
        ],
    }


@pytest.mark.parametrize(
    "made", [as_openllmetry, as_span_events, as_log_records, as_tool_spans, as_langfuse_trace, as_responses]
)
def test_other_forms_tell_it_as_well(tmp_path: Path, made: Callable[[], Any]) -> None:
    (run,) = read(write(tmp_path / "traces.json", made()))
    assert heard(run) == WHOLE
    call_ids = [c.id for m in run.messages for c in m.calls]
    assert [m.call_id for m in run.messages if m.role == "tool"] == call_ids
    assert all(call_ids)


def test_traces_of_one_conversation_are_one_run_and_repeated_words_stay(tmp_path: Path) -> None:
    def span(trace: str, at: int, asked: list[tuple[str, str]], said: str) -> dict[str, Any]:
        def messages(pairs: list[tuple[str, str]]) -> str:
            return json.dumps([{"role": r, "parts": [{"type": "text", "content": t}]} for r, t in pairs])

        given = {
            "gen_ai.operation.name": "chat",
            "gen_ai.conversation.id": "talk",
            "gen_ai.input.messages": messages(asked),
            "gen_ai.output.messages": messages([("assistant", said)]),
        }
        return otlp(
            {"traceId": trace, "spanId": trace, "startTimeUnixNano": str(at), "attributes": attributes(**given)}
        )

    first = span("t1", 1000, [("user", "yes")], "Really?")
    second = span("t2", 5000, [("user", "yes"), ("assistant", "Really?"), ("user", "yes")], "Done.")
    (run,) = read(write(tmp_path / "lines.jsonl", second, first))
    assert run.id == "talk"
    assert heard(run) == [("user", "yes"), ("assistant", "Really?"), ("user", "yes"), ("assistant", "Done.")]


def test_a_call_that_two_instrumentations_recorded_is_one_call(tmp_path: Path) -> None:
    document = json.loads((FILES / "openllmetry-openai.otlp.json").read_text(encoding="utf-8"))
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            inner = [{**s, "spanId": f"i{s['spanId']}", "parentSpanId": s["spanId"]} for s in scope["spans"]]
            scope["spans"] = [*scope["spans"], *(s for s in inner if s["name"] == "openai.chat")]
    (once,) = read(FILES / "openllmetry-openai.otlp.json")
    (twice,) = read(write(tmp_path / "twice.json", document))
    assert heard(twice) == heard(once)


def test_a_tool_that_failed_is_told_as_an_error(tmp_path: Path) -> None:
    run = {"id": "1", "trace_id": "1", "run_type": "tool", "name": "pay", "inputs": {"input": "{'amount': 5}"}}
    (read_run,) = read(write(tmp_path / "runs.jsonl", {**run, "outputs": None, "error": "no such order"}))
    assert heard(read_run) == [("assistant", "", ("pay", {"amount": 5})), ("tool", "Error: no such order")]


def test_calls_without_their_arguments_are_named_and_not_judged(tmp_path: Path) -> None:
    given = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "pay"}
    (broken,) = read_recorded(write(tmp_path / "t.json", otlp({"spanId": "1", "attributes": attributes(**given)})))
    assert isinstance(broken, BrokenLine)
    assert "calls pay, but holds no arguments" in broken.text


def test_broken_lines_are_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "runs.jsonl", as_responses())
    path.write_text(path.read_text(encoding="utf-8") + "\n{broken\n", encoding="utf-8")
    broken, run = read_recorded(path)
    assert isinstance(broken, BrokenLine)
    assert broken.line == 2
    assert isinstance(run, RecordedRun)


@pytest.mark.parametrize(
    ("name", "text", "format", "said"),
    [
        ("a.json", json.dumps(otlp()), None, "holds no runs in the format otel"),
        ("a.json", "[]", "langsmith", "holds no runs in the format langsmith"),
        ("a.csv", "id,timestamp,name\n1,2,3\n", None, "export the observations of Langfuse"),
        ("a.json", "[" * 100_000, None, "nested too deep"),
        ("none.json", None, None, "cannot be read"),
        ("a.json", "\ud800", "otel", "is no UTF-8"),
    ],
)
def test_a_file_without_runs_is_refused(
    tmp_path: Path, name: str, text: str | None, format: Format | None, said: str
) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RunsError, match=said):
        list(read_recorded(tmp_path / name, format))


def test_an_unknown_format_is_refused() -> None:
    assert format_named("otel") == "otel"
    with pytest.raises(UsageError, match="'otlp' is no format of recorded runs"):
        format_named("otlp")


JUNK: list[Any] = [
    None, True, -1, 3.5, "", "x", "[1,2", "²", [], [[]], {}, [None], {"type": ["text"]}, ["user", "x"],
    {"role": "user", "content": {"a": 1}}, {"0": {"message": 1}}, {"kwargs": 3, "lc": 1}, "1" * 30,
]  # fmt: skip


def spoilt(value: Any, dice: random.Random, rate: float) -> Any:
    """A JSON value with some of its parts gone or replaced, also inside of texts that are JSON."""
    if dice.random() < rate:
        return dice.choice(JUNK)
    if isinstance(value, dict):
        inner = cast("dict[str, Any]", value)
        return {k: spoilt(v, dice, rate) for k, v in inner.items() if dice.random() > rate / 3}
    if isinstance(value, list):
        return [spoilt(v, dice, rate) for v in cast("list[Any]", value)]
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.dumps(spoilt(json.loads(value), dice, rate))
    return value


@pytest.mark.parametrize("name", [n for n in KNOWN if not n.endswith(".csv")])
def test_whatever_stands_in_a_trace_it_is_read_or_refused(tmp_path: Path, name: str) -> None:
    text, at, values = (FILES / name).read_text(encoding="utf-8"), 0, list[Any]()
    while text[at:].strip():
        value, at = json.JSONDecoder().raw_decode(text, at + len(text[at:]) - len(text[at:].lstrip()))
        values.append(value)
    for seed in range(25):
        dice = random.Random(seed)
        path = write(tmp_path / "spoilt.json", *(spoilt(v, dice, dice.choice([0.005, 0.02, 0.08])) for v in values))
        for format in (None, KNOWN[name]):
            with suppress(RunsError):
                for run in read_recorded(path, format):
                    assert isinstance(run, RecordedRun | BrokenLine)


def told(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value} if isinstance(value, str) else value}


DIGITS = "9" * 5000
ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL = (told("gen_ai.operation.name", "execute_tool"), told("gen_ai.tool.name", "pay"))
HOSTILE: dict[str, tuple[Any, list[Any]]] = {
    "a time without end": (float("inf"), []),
    "a time that is none": (float("nan"), []),
    "a time of many digits": (DIGITS, []),
    "a number with two signs": ("1", [told("gen_ai.x", {"intValue": "--5"})]),
    "a number of many digits": ("1", [told("gen_ai.x", {"intValue": DIGITS})]),
    "a place of many digits": ("1", [told(f"gen_ai.prompt.{DIGITS}.role", "user")]),
    "a name of many parts": (
        "1",
        [told("gen_ai.prompt.0.role", "user"), told("gen_ai.prompt.0.content." + "0." * 5000 + "x", "hello")],
    ),
    "arguments with a list for a key": ("1", [*TOOL, told(ARGUMENTS, "{[1]: 2}")]),
    "arguments in many brackets": ("1", [*TOOL, told(ARGUMENTS, "{'a': " * 5000)]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_trace_that_somebody_has_made_to_do_harm_is_read_or_refused(tmp_path: Path, name: str) -> None:
    start, attributes = HOSTILE[name]
    span = {"traceId": "t", "spanId": "s", "name": "n", "startTimeUnixNano": start, "attributes": attributes}
    whole = {**span, "spanId": "s2", "startTimeUnixNano": "2", "attributes": [*TOOL, told(ARGUMENTS, '{"n": 1}')]}
    path = write(tmp_path / "made.json", {"resourceSpans": [{"scopeSpans": [{"spans": [span, whole]}]}]})
    (run,) = read_recorded(path)
    assert isinstance(run, RecordedRun)
    assert ("pay", {"n": 1}) in [(call.name, call.arguments) for message in run.messages for call in message.calls]
