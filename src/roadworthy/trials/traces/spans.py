"""Spans out of files: OTLP as JSON (one document, or the lines of a collector's file exporter), spans as the Python SDK
of OpenTelemetry prints them, and spans as Phoenix exports them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from roadworthy.trials.traces.chat import is_object, listed

_LONGEST: Final = 40
"""Digits of a number that is meant as one."""
_DEEPEST: Final = 100
"""How deep flat names are nested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span."""

    trace: str
    id: str
    parent: str | None
    name: str
    line: int
    start: int
    """Nanoseconds since the epoch; 0 where it was not recorded."""
    end: int
    attributes: Mapping[str, Any]
    """Flat: `llm.input_messages.0.message.role`."""
    events: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    error: str | None = None
    """What the span says went wrong."""


def is_span_file(value: object) -> bool:
    """Whether a document of a file holds spans."""
    if not is_object(value):
        return False
    if any(k in value for k in ("resourceSpans", "resource_spans", "resourceLogs", "resourceMetrics")):
        return True
    context = value.get("context")
    return is_object(context) and "trace_id" in context and "span_id" in context


def spans_of(value: Mapping[str, Any], line: int) -> Iterator[Span]:
    """The spans of one document."""
    if is_object(value.get("context")):
        yield _printed(value, line)
        return
    for resource in listed(value.get("resourceSpans", value.get("resource_spans"))):
        scopes = _get(resource, "scopeSpans", "scope_spans", "instrumentationLibrarySpans")
        for scope in listed(scopes):
            for span in listed(_get(scope, "spans")):
                if is_object(span):
                    yield _otlp(span, line)
    yield from _logged(value, line)


def nanoseconds(value: object) -> int:
    """A recorded moment: a number or its digits as nanoseconds, or ISO 8601. 0 where it is neither."""
    if isinstance(value, bool) or value is None:
        return 0
    if isinstance(value, int | float):
        return int(value) if math.isfinite(value) else 0
    if not isinstance(value, str):
        return 0
    if value.isdecimal():
        return whole(value) or 0
    try:
        moment = datetime.fromisoformat(value.strip().replace(" UTC", ""))
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


def whole(digits: str) -> int | None:
    """The number that digits write, with a sign or without; None for what is none, or too long to be meant as one."""
    return int(digits) if len(digits) <= _LONGEST and digits.removeprefix("-").isdecimal() else None


def nested(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Flat names as a tree: `a.0.b` is in `tree["a"]["0"]["b"]`. What would be nested too deep is left out."""
    tree: dict[str, Any] = {}
    for name, value in attributes.items():
        at: dict[str, Any] = tree
        *steps, last = name.split(".")
        if len(steps) > _DEEPEST:
            continue
        for step in steps:
            inner: object = at.get(step)
            if not isinstance(inner, dict):
                inner = at[step] = dict[str, Any]()
            at = cast("dict[str, Any]", inner)
        if not isinstance(at.get(last), dict):
            at[last] = value
    return tree


def numbered(tree: object) -> list[Any]:
    """The values under `0`, `1`, … in their order; the items, where it is a list already."""
    if not is_object(tree):
        return listed(tree)
    places = {k: place for k in tree if (place := whole(k)) is not None and place >= 0}
    return [tree[k] for k in sorted(places, key=lambda k: places[k])]


def _get(value: object, *names: str) -> Any:
    if not is_object(value):
        return None
    return next((value[n] for n in names if n in value), None)


def _otlp(span: Mapping[str, Any], line: int) -> Span:
    status = _get(span, "status")
    code = _get(status, "code")
    said = _get(status, "message")
    events = tuple(
        (str(_get(e, "name") or ""), _attributes(_get(e, "attributes"))) for e in listed(_get(span, "events"))
    )
    return Span(
        trace=str(_get(span, "traceId", "trace_id") or ""),
        id=str(_get(span, "spanId", "span_id") or ""),
        parent=_text(_get(span, "parentSpanId", "parent_span_id")),
        name=str(_get(span, "name") or ""),
        line=line,
        start=nanoseconds(_get(span, "startTimeUnixNano", "start_time_unix_nano")),
        end=nanoseconds(_get(span, "endTimeUnixNano", "end_time_unix_nano")),
        attributes=_attributes(_get(span, "attributes")),
        events=events,
        error=str(said or "failed") if code in (2, "STATUS_CODE_ERROR") else None,
    )


def _printed(span: Mapping[str, Any], line: int) -> Span:
    """As `ConsoleSpanExporter` and Phoenix write it."""
    context = span["context"]
    status = _get(span, "status")
    code = str(_get(status, "status_code") or span.get("status_code") or "")
    said = _get(status, "description") or span.get("status_message")
    events = tuple((str(_get(e, "name") or ""), _flat(_get(e, "attributes") or {})) for e in listed(span.get("events")))
    given = span.get("attributes")
    attributes = _flat(given) if is_object(given) else {}
    for name, value in span.items():  # Phoenix's tables have a column for each
        if name.startswith("attributes."):
            attributes |= _flat({name.removeprefix("attributes."): value})
    if isinstance(span.get("span_kind"), str):
        attributes.setdefault("openinference.span.kind", span["span_kind"])
    return Span(
        trace=str(context.get("trace_id") or ""),
        id=str(context.get("span_id") or ""),
        parent=_text(span.get("parent_id")),
        name=str(span.get("name") or ""),
        line=line,
        start=nanoseconds(span.get("start_time")),
        end=nanoseconds(span.get("end_time")),
        attributes=attributes,
        events=events,
        error=str(said or "failed") if code.upper() == "ERROR" else None,
    )


def _logged(value: Mapping[str, Any], line: int) -> Iterator[Span]:
    """Events of OpenTelemetry that came as log records: each as a span that lasted no time, beside the one it is of."""
    for resource in listed(_get(value, "resourceLogs")):
        for scope in listed(_get(resource, "scopeLogs")):
            for number, record in enumerate(listed(_get(scope, "logRecords"))):
                attributes = _attributes(_get(record, "attributes"))
                name = _text(_get(record, "eventName")) or _text(attributes.get("event.name"))
                if name is None or not name.startswith("gen_ai."):
                    continue
                body = _value(_get(record, "body") or {})
                at = nanoseconds(_get(record, "timeUnixNano", "observedTimeUnixNano"))
                of = str(_get(record, "spanId") or "")
                yield Span(
                    trace=str(_get(record, "traceId") or ""),
                    id=f"{of}/{name}/{at}/{number}",
                    parent=of or None,
                    name=name,
                    line=line,
                    start=at,
                    end=at,
                    attributes={},
                    events=((name, {**attributes, "body": body}),),
                )


def _attributes(given: object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in listed(given):
        name = _get(one, "key")
        if isinstance(name, str):
            found |= _flat({name: _value(_get(one, "value") or {})})
    return found


def _value(value: object, depth: int = 0) -> Any:
    """A value of OTLP: `{"stringValue": "…"}`. JSON writes 64-bit integers as text."""
    if not is_object(value) or depth > 20:
        return None
    for name, given in value.items():
        match name:
            case "intValue" | "int_value":
                number = whole(given) if isinstance(given, str) else None
                return given if number is None else number
            case "arrayValue" | "array_value":
                return [_value(v, depth + 1) for v in listed(_get(given, "values"))]
            case "kvlistValue" | "kvlist_value":
                return {str(_get(p, "key")): _value(_get(p, "value"), depth + 1) for p in listed(_get(given, "values"))}
            case _:
                return given
    return None


def _flat(given: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Trees as flat names: Phoenix exports `{"llm": {"input_messages": [{…}]}}`. Lists of plain values stay lists."""
    flat: dict[str, Any] = {}
    for name, value in given.items():
        full = f"{before}{name}"
        items = listed(value)
        if is_object(value) and not before.endswith("message.") and value:
            flat |= _flat(value, f"{full}.")
        elif items and all(is_object(i) for i in items):
            flat |= _flat({str(i): item for i, item in enumerate(items)}, f"{full}.")
        else:
            flat[full] = value
    return flat


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
