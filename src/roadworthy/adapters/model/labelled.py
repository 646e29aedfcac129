"""Which values in a conversation with a model carry a label of the contract, and what in it looks like a credential."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from roadworthy.adapters.model.asked import Asked
from roadworthy.contract.model import Contract
from roadworthy.contract.shapes import Shape

CREDENTIAL: Final = "credential"
"""The label of what looks like one."""
_SECRETS: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:(?!-----BEGIN ).)*?-----END [A-Z ]*PRIVATE KEY-----"
    r"|\beyJ[\w-]{8,1000}\.[\w-]{8,16000}\.[\w-]{8,}"  # JSON web tokens
    r"|\b(?:sk|pk|rk)[-_](?:[A-Za-z0-9]+[-_])*[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic, Stripe
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bxox[abeoprs]-[\w-]{10,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,}|\bhf_[A-Za-z0-9]{20,}"
    r"|(?<=[Bb]earer )[\w.~+/=-]{16,}"
    r"|(?<=://)[^\s/:@\"'\\]+:[^\s/@\"'\\]+(?=@)",  # user:password@host
    re.DOTALL,
)
_NAMED: Final = re.compile(
    r"""(?ix) \b (?:api[_-]?key | access[_-]?token | auth[_-]?token | client[_-]?secret | password | passwd | secret)
    \b (?:\\*["'])* \s* [:=] \s* (?:\\*["'])* ([^\s"'\\,;}{]{6,})"""
)
"""What is named as one, such as `api_key=...`. A backslash before it is no part of it, nor of what comes before it: in
the JSON of a tool's arguments it begins an escape, as of a line break."""

Value = tuple[str, str]
"""A text that is to be hidden, and its label."""


def credentials_in(text: str) -> Iterator[Value]:
    """What looks like a credential in a text."""
    for found in _SECRETS.finditer(text):
        yield found[0], CREDENTIAL
    for found in _NAMED.finditer(text):
        yield found[1], CREDENTIAL


class Labelled:
    """What a contract labels in the results of its tools."""

    def __init__(self, contract: Contract) -> None:
        self._names = {contract.model_name(name): name for name in contract.tools}
        self._results = {
            name: shape for name, shape in contract.shapes.returns.items() if shape is not None and _carries(shape)
        }

    def in_result(self, tool: str, result: Any) -> Iterator[Value]:
        """Labelled values of a result. A text that should be an object and cannot be read as one is labelled whole."""
        shape = self._results.get(self._names.get(tool, tool))
        if shape is not None:
            yield from _within(shape, _read(result), (), "")

    def in_request(self, asked: Asked) -> Iterator[Value]:
        """Labelled values in the results that a request tells the model of."""
        called: dict[str, str] = {}
        for message in asked.messages if self._results else ():
            if isinstance(message, dict):
                yield from self._in_message(cast("dict[str, Any]", message), called)

    def _in_message(self, message: Mapping[str, Any], called: dict[str, str]) -> Iterator[Value]:
        for call in cast("list[dict[str, Any]]", message.get("tool_calls") or []):
            function: dict[str, Any] = call.get("function") or {}
            called[str(call.get("id"))] = str(function.get("name"))
        if message.get("type") == "function_call":
            called[str(message.get("call_id"))] = str(message.get("name"))
        elif message.get("type") == "function_call_output":
            yield from self.in_result(called.get(str(message.get("call_id")), ""), _text(message.get("output")))
        elif message.get("role") == "tool":
            yield from self.in_result(called.get(str(message.get("tool_call_id")), ""), _text(message.get("content")))


def _carries(shape: Shape) -> bool:
    return any(inner.labels for _, inner in shape.walk())


def _text(content: Any) -> Any:
    """The text of a message that comes in parts."""
    if not isinstance(content, list):
        return content
    parts = [cast("dict[str, Any]", part).get("text") for part in cast("list[Any]", content) if isinstance(part, dict)]
    return "".join(part for part in parts if isinstance(part, str))


def _read(value: Any) -> Any:
    """What a text of a tool or a model says; numbers stay as they are written."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(value)  # some frameworks tell the model of results in Python's words
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, SystemError):
        return value  # the last one comes, seldom, of parsing in several threads at a time (python/cpython#106905)


def _within(shape: Shape, value: Any, above: tuple[str, ...], name: str) -> Iterator[Value]:
    labels = shape.labels or above
    if isinstance(value, Mapping) and (shape.fields or shape.extra is not None or not labels):
        for key, inner in cast("Mapping[str, Any]", value).items():
            known = shape.fields.get(key) or shape.extra or Shape(type="any")
            yield from _within(known, inner, labels, str(key))
    elif isinstance(value, list | tuple) and (shape.items is not None or not labels):
        for inner in cast("list[Any]", value):
            yield from _within(shape.items or Shape(type="any"), inner, labels, "")
    elif labels:
        yield from ((text, labels[0]) for text in _spelled(value, name))
    elif isinstance(value, str) and value and (shape.fields or shape.items is not None) and _carries(shape):
        label = next(inner.labels[0] for _, inner in shape.walk() if inner.labels)
        yield from ((text, label) for text in _spelled(value, ""))


_SHORT: Final = 3
"""Texts below that length stand everywhere; they are hidden together with the field that they stand in."""


def _spelled(value: Any, name: str) -> Iterator[str]:
    """The ways in which a value stands in texts."""
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, Any]", value).items():
            yield from _spelled(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in cast("list[Any]", value):
            yield from _spelled(inner, name)
    elif isinstance(value, str) and len(value) >= _SHORT:
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool) and len(repr(value)) >= _SHORT:
        yield repr(value)
    elif value is not None and value != "" and name:
        written = {json.dumps(value), repr(value), *([value] if isinstance(value, str) else [])}
        for key in (json.dumps(name), repr(name)):
            for text in sorted(written):
                for between in (": ", ":"):
                    yield f"{key}{between}{text}"
