"""Recorded runs are read line by line, and a broken line loses no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from roadworthy.core.errors import RunsError
from roadworthy.trials.recorded import BrokenLine, RecordedRun, read_runs

GOOD: dict[str, Any] = {"run": "a", "messages": [{"role": "user", "content": "hello"}]}


def call(arguments: Any, **more: Any) -> dict[str, Any]:
    function = {"name": "look", "arguments": arguments}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }
    return {"run": "a", "messages": [{**message, **more}]}


def read(path: Path, *lines: Any) -> list[RecordedRun | BrokenLine]:
    written = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(written))
    return list(read_runs(path))


def test_a_run_is_read_with_calls_results_label_and_meta(tmp_path: Path) -> None:
    messages = [
        {"role": "developer", "content": "rules"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "two "}, {"type": "image_url"}, {"type": "text", "text": "parts"}],
        },
        *call('{"id": 1}')["messages"],
        {"role": "tool", "tool_call_id": "c", "content": "found"},
    ]
    (run,) = read(tmp_path / "r", {"run": 7, "messages": messages, "passed": False, "meta": {"subject": "s"}})
    assert isinstance(run, RecordedRun)
    assert (run.id, run.line, run.passed, run.meta) == ("7", 1, False, {"subject": "s"})
    system, user, assistant, tool = run.messages
    assert (system.role, user.text) == ("system", "two parts")
    assert (assistant.text, assistant.calls[0].name, assistant.calls[0].arguments) == ("", "look", {"id": 1})
    assert (tool.call_id, tool.text) == ("c", "found")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [({"id": 1}, {"id": 1}), ("", {}), (None, {}), ("{broken", None), ("[1]", None), ("7", None)],
)
def test_arguments_that_are_no_object_are_kept_as_written(tmp_path: Path, arguments: Any, expected: Any) -> None:
    (run,) = read(tmp_path / "r", call(arguments))
    assert isinstance(run, RecordedRun)
    assert run.messages[0].calls[0].arguments == expected


BROKEN: list[tuple[Any, str]] = [
    (b'{"run": "a", ', "this is no JSON"),
    (b"\xff{}", "no UTF-8"),
    (b"[" * 100_000, "nested too deep"),
    ([1], "an object in braces, not a list"),
    ({"passed": True}, "`run` is missing"),
    ({"messages": [], "tools": 3}, "`tools` is a list of function schemas"),
    ({"run": "b"}, "`messages` is missing"),
    ({"run": "b", "messages": [], "passed": "yes"}, "`passed` is true, false or null"),
    ({"run": "b", "messages": [], "meta": 3}, "`meta` is an object in braces, not a number"),
    ({"run": "b", "messages": ["hello"]}, "message 1 is an object"),
    ({"run": "b", "messages": [{"role": "robot"}]}, "message 1 has the role 'robot'"),
    ({"run": "b", "messages": [{"role": "user", "content": 5}]}, "the content of message 1"),
    ({"run": "b", "messages": [{"role": "user", "tool_calls": [{}]}]}, "only an assistant does"),
    ({"run": "b", "messages": [{"role": "assistant", "tool_calls": [{}]}]}, "`function` of a tool call"),
    ({"run": "b", "messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]}, "names no function"),
    ({"run": "b", "messages": [{"role": "tool", "tool_call_id": 5}]}, "id in message 1 is text"),
    (GOOD, "stands in line 1 already"),
]


@pytest.mark.parametrize(("line", "said"), BROKEN, ids=str)
def test_a_broken_line_is_named_and_the_others_are_read(tmp_path: Path, line: Any, said: str) -> None:
    first, broken, last = read(tmp_path / "r", GOOD, line, {**GOOD, "run": "z"})
    assert isinstance(first, RecordedRun)
    assert isinstance(last, RecordedRun)
    assert isinstance(broken, BrokenLine)
    assert broken.line == 2
    assert said in broken.text


def test_blank_lines_and_a_byte_order_mark_are_no_runs(tmp_path: Path) -> None:
    found = read(tmp_path / "r", b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), b"", b"   ")
    assert [isinstance(one, RecordedRun) for one in found] == [True]


def test_no_file_and_no_lines_are_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(RunsError, match="cannot be read"):
            list(read_runs(path))
    with pytest.raises(RunsError, match="holds no runs"):
        read(tmp_path / "empty", b"")
