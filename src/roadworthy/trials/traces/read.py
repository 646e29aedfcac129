"""Recorded runs from whatever people have: our own lines, and what tracing tools export.

A file's format is guessed by what stands in it; where several could be meant, the caller says which.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any, Literal, cast, get_args

from roadworthy.contract.names import did_you_mean
from roadworthy.core.errors import RunsError, UsageError, told_why
from roadworthy.trials.recorded import BrokenLine, RecordedRun, read_runs
from roadworthy.trials.traces import langfuse, langsmith, openinference, otel
from roadworthy.trials.traces.chat import is_object, listed
from roadworthy.trials.traces.conversation import Record, runs_of
from roadworthy.trials.traces.spans import Span, is_span_file, spans_of

Format = Literal["openai", "otel", "openinference", "langfuse", "langsmith"]
FORMATS: tuple[Format, ...] = get_args(Format)
"""What `--format` can be; `openai` is the form of our own recorded runs."""

_Document = tuple[int, Any]
"""A JSON value, and the line that it begins in."""


def format_named(name: str) -> Format:
    """The format of this name. Raises UsageError."""
    if name not in FORMATS:
        raise UsageError(f"{name!r} is no format of recorded runs; {did_you_mean(name, FORMATS)}")
    return name


def read_recorded(path: Path, format: Format | None = None) -> Iterator[RecordedRun | BrokenLine]:
    """The runs of a file, of this format or of the one that it looks like.

    Raises RunsError when the file cannot be read, or holds nothing that can be taken for runs.
    """
    named = format or guess(path)
    if named == "openai":
        yield from read_runs(path)
        return
    found = False
    for run in runs_of(_records(path, named)):
        found = True
        yield run
    if not found:
        raise RunsError(
            f"{path} holds no runs in the format {named}: nothing in it tells of a model or a tool; "
            f"if it is of another format, name it with --format ({', '.join(FORMATS)})"
        )


def guess(path: Path) -> Format:
    """The format that a file looks like; `openai` where it looks like none. Raises RunsError."""
    if path.suffix.lower() == ".csv":
        return "langfuse"
    for _, value in _flat(_first(path)):
        if is_span_file(value):
            return _of_spans(path)
        if langsmith.is_of(value):
            return "langsmith"
        if langfuse.is_of(value):
            return "langfuse"
        break
    return "openai"


def holds_runs(value: object) -> bool:
    """Whether a JSON value is a trace or a recorded run, and no list of function schemas."""
    for _, inner in _flat([(1, value)]):
        return is_span_file(inner) or langsmith.is_of(inner) or langfuse.is_of(inner) or _is_run(inner)
    return False


def _is_run(value: object) -> bool:
    return is_object(value) and isinstance(value.get("messages"), list)


def _of_spans(path: Path) -> Format:
    for span in _spans(path):
        if langfuse.is_span(span):
            return "langfuse"
        if openinference.is_of(span):
            return "openinference"
        if otel.is_of(span):
            return "otel"
    return "otel"


def _records(path: Path, named: Format) -> Iterator[Record | BrokenLine]:
    broken: list[BrokenLine] = []
    spans, values = list[Span](), list[tuple[int, Mapping[str, Any]]]()
    for line, value in _flat(_documents(path, broken)):
        if is_span_file(value):
            spans.extend(spans_of(value, line))
        elif is_object(value):
            values.append((line, value))
    yield from broken
    match named:
        case "otel":
            yield from otel.records(spans)
        case "openinference":
            yield from openinference.records(spans)
        case "langfuse":
            if spans:
                yield from langfuse.of_spans(spans)
            yield from langfuse.records(values)
        case "langsmith":
            yield from langsmith.records(values)
        case _:
            raise AssertionError(named)


def _spans(path: Path) -> Iterator[Span]:
    for line, value in _flat(_documents(path, [])):
        if is_span_file(value):
            yield from spans_of(value, line)


# -- files ------------------------------------------------------------------------------------------------------------


def _first(path: Path) -> Iterator[_Document]:
    """The first document, without reading more of the file than it takes where its lines are documents."""
    try:
        with path.open("rb") as file:
            line = next((data for data in file if data.strip()), b"")
    except OSError as error:
        raise RunsError(f"{path} cannot be read ({told_why(error)}); check the path") from None
    try:
        yield 1, json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        yield from _documents(path, [])


def _flat(documents: Iterator[_Document] | Sequence[_Document]) -> Iterator[_Document]:
    """Lists and pages of an API as what stands in them."""
    for line, value in documents:
        items = _items(value)
        if items is None:
            yield line, value
        else:
            yield from ((line, item) for item in items)


def _items(value: object) -> list[Any] | None:
    if is_object(value):
        return next((listed(value[k]) for k in ("data", "runs", "traces") if listed(value.get(k))), None)
    return listed(cast("object", value)) if isinstance(value, list) else None


def _documents(path: Path, broken: list[BrokenLine]) -> Iterator[_Document]:
    """The JSON values of a file: one, one a line, or one after another. Lines that are none are added to `broken`."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RunsError(f"{path} cannot be read ({told_why(error)}); check the path") from None
    except UnicodeDecodeError as error:
        raise RunsError(f"{path} is no UTF-8 (byte {error.start + 1}); save it as UTF-8") from None
    if path.suffix.lower() == ".csv":
        yield from _rows(path, text)
        return
    try:
        yield 1, json.loads(text)
        return
    except RecursionError:
        raise RunsError(f"{path} is nested too deep to be a file of runs") from None
    except ValueError:
        pass
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    found = [_line(line) for _, line in lines[:1]]
    if found and found[0] is not None:
        for number, line in lines:
            value = _line(line)
            if value is None:
                broken.append(BrokenLine(line=number, text="this is no JSON; write one object a line"))
            else:
                yield number, value
        return
    yield from _one_after_another(text, broken)


def _line(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _one_after_another(text: str, broken: list[BrokenLine]) -> Iterator[_Document]:
    """As a console exporter prints: each over several lines, with nothing between them."""
    decoder, at = json.JSONDecoder(), 0
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at >= len(text):
            return
        line = text.count("\n", 0, at) + 1
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            broken.append(BrokenLine(line=line, text="from here on this is no JSON; what stands before it was read"))
            return
        yield line, value


def _rows(path: Path, text: str) -> Iterator[_Document]:
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    reader = csv.DictReader(StringIO(text, newline=""))
    names = {n.strip() for n in reader.fieldnames or ()}
    if not {"type"} <= names or not names & {"traceId", "trace_id"}:
        raise RunsError(
            f"{path} has no columns `type` and `traceId` (or `trace_id`): export the observations of Langfuse, "
            "not its traces"
        )
    for row in chain(reader):
        yield reader.line_num, {k.strip(): v or None for k, v in row.items() if isinstance(k, str)}
