"""Recorded runs: conversations of any agent, as JSON Lines, one run a line.

    {"run": id, "messages": [OpenAI chat messages], "passed": true | false | null, "tools": […], "meta": {…}}

A line without `run` is called by its number, as `line-7`. `tools` are the function schemas that the model was offered.
`meta` may name the `capability` (or a list of them), the `subject`, the `principal`, `facts`, and as `blocked` the ids
of calls that were never made, whatever stands there as their result; other keys are passed over. A line that cannot be
read is handed on as such, so that one broken line loses no other.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from roadworthy.core.errors import RunsError, told_why


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call as the model made it."""

    id: str | None
    name: str
    arguments: Mapping[str, Any] | None
    """None where what the model wrote is no JSON object."""
    raw: str
    """The arguments as they stand in the recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    calls: tuple[ToolCall, ...] = ()
    """Of an assistant."""
    call_id: str | None = None
    """Of a tool's result: the call it answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """One recorded conversation."""

    id: str
    line: int
    """Counted from 1."""
    messages: tuple[Message, ...]
    passed: bool | None
    meta: Mapping[str, Any]
    tools: tuple[Mapping[str, Any], ...] = ()
    """The tools that the model was offered, as function schemas, where the recording says so."""

    @property
    def blocked(self) -> Collection[str]:
        """The ids of calls that were never made."""
        named: object = self.meta.get("blocked")
        return cast("list[str]", named) if isinstance(named, list) else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenLine:
    """A line that is no recorded run."""

    line: int
    """Counted from 1; of what spans several lines, its first."""
    text: str
    """What is wrong and what to do."""


class _Wrong(Exception):
    pass


def read_runs(path: Path) -> Iterator[RecordedRun | BrokenLine]:
    """The runs of a file, one by one. Raises RunsError when the file cannot be opened or holds no line at all."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise RunsError(f"{path} cannot be read ({told_why(error)}); check the path") from None
    lines = 0
    ids: dict[str, int] = {}
    with file:
        for number, data in enumerate(file, 1):
            if not data.strip():
                continue
            lines += 1
            try:
                run = _run(data, number)
                if run.id in ids:
                    raise _Wrong(f"the run {run.id!r} stands in line {ids[run.id]} already; give it an id of its own")
                ids[run.id] = number
                yield run
            except _Wrong as wrong:
                yield BrokenLine(line=number, text=str(wrong))
    if not lines:
        raise RunsError(f"{path} holds no runs; it must have one JSON object a line")


def _run(data: bytes, line: int) -> RecordedRun:
    try:
        value: object = json.loads(data.decode("utf-8-sig" if line == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise _Wrong(f"byte {error.start + 1} of the line is no UTF-8; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise _Wrong(f"this is no JSON ({error.msg}, character {error.pos + 1}); write one object a line") from None
    except RecursionError:
        raise _Wrong("this is nested too deep to be a conversation") from None
    run = _object(value, "a line")
    name = run.get("run", f"line-{line}" if "messages" in run else None)
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        raise _Wrong('`run` is missing; write "run": an id of its own')
    passed = run.get("passed")
    if passed is not None and not isinstance(passed, bool):
        raise _Wrong(f"`passed` is true, false or null, not {passed!r}")
    messages = run.get("messages")
    if not isinstance(messages, list):
        raise _Wrong("`messages` is missing; it is the list of chat messages")
    return RecordedRun(
        id=str(name),
        line=line,
        messages=tuple(_message(m, i) for i, m in enumerate(cast("list[object]", messages), 1)),
        passed=passed,
        meta=_object(run.get("meta") or {}, "`meta`"),
        tools=_tools(run.get("tools") or []),
    )


def _tools(value: object) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(value, list):
        raise _Wrong(f"`tools` is a list of function schemas, not {_kind(value)}")
    return tuple(_object(tool, "one of `tools`") for tool in cast("list[object]", value))


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong(f"{what} is an object in braces, not {_kind(value)}")
    return cast("Mapping[str, Any]", value)


def _message(value: object, number: int) -> Message:
    where = f"message {number}"
    message = _object(value, where)
    role = message.get("role")
    if role == "developer":
        role = "system"
    if role not in ("system", "user", "assistant", "tool"):
        raise _Wrong(f"{where} has the role {role!r}; it is system, user, assistant or tool")
    text = _text(message.get("content"), where)
    if role == "tool":
        return Message(role=role, text=text, call_id=_id(message.get("tool_call_id"), where))
    calls: object = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise _Wrong(f"`tool_calls` of {where} is a list")
    if calls and role != "assistant":
        raise _Wrong(f"{where} calls tools with the role {role}; only an assistant does")
    return Message(role=role, text=text, calls=tuple(_call(c, where) for c in cast("list[object]", calls)))


def _text(content: object, where: str) -> str:
    """Content is text, null, or a list of parts of which those of text count."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [_object(part, f"a part of {where}") for part in cast("Sequence[object]", content)]
        return "".join(str(part.get("text") or "") for part in parts)
    raise _Wrong(f"the content of {where} is text or a list of parts, not {_kind(content)}")


def _id(value: object, where: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise _Wrong(f"the call's id in {where} is text, not {_kind(value)}")


def _call(value: object, where: str) -> ToolCall:
    call = _object(value, f"a tool call of {where}")
    function = _object(call.get("function"), f"`function` of a tool call of {where}")
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise _Wrong(f"a tool call of {where} names no function")
    return tool_call(_id(call.get("id"), where), name, function.get("arguments"))


def tool_call(call_id: str | None, name: str, given: object) -> ToolCall:
    """A call with what stands as its arguments: text of JSON, an object, or nothing."""
    raw = given if isinstance(given, str) else json.dumps(given, default=str)
    arguments: object = given
    if isinstance(given, str):
        try:
            arguments = json.loads(given) if given.strip() else {}
        except (json.JSONDecodeError, RecursionError):
            arguments = None
    elif given is None:
        arguments = {}
    known = cast("Mapping[str, Any]", arguments) if isinstance(arguments, dict) else None
    return ToolCall(id=call_id, name=name, arguments=known, raw=raw)


def _kind(value: object) -> str:
    names = {"dict": "an object", "list": "a list", "str": "text", "NoneType": "null", "bool": "true or false"}
    return names.get(type(value).__name__, "a number")
