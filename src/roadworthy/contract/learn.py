"""Types from values: what the arguments and results of recorded calls have in common.

What was seen is not what may be: ranges and forms are told as remarks, for a person to turn into bounds. Only words of
which few different ones come again and again become an `enum`, and that is marked for review, too.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from roadworthy.contract.code import CodeTool, Parameter

REMARK = "#"
"""The key under which a learnt type carries a remark for its author."""

_ENUM_SEEN = 10
_ENUM_MOST = 8
_WORD = re.compile(r"[A-Za-z][A-Za-z _-]{0,30}")
_FORMATS = {
    "email": re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+"),
    "date": re.compile(r"\d{4}-\d{2}-\d{2}"),
    "date-time": re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?"),
    "uri": re.compile(r"https?://\S+"),
}
_MOST_FIELDS = 12
_DEEP = 8
_SPECIAL = re.compile(r"[.^$*+?{}\[\]\\|()]")
_MONEY = re.compile(r"(^|_)(amount|price|total|cost|fee|refund|balance|payment)($|_)")
_KEPT = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One recorded call of a tool."""

    tool: str
    args: Mapping[str, Any]
    result: str | None = None
    """What the model was told; None where the recording does not say."""


@dataclass(kw_only=True)
class _Seen:
    calls: int = 0
    args: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    results: list[Any] = field(default_factory=list[Any])
    failures: Counter[str] = field(default_factory=Counter[str])


def learn_tools(calls: Iterable[Call], declared: Iterable[CodeTool] = ()) -> tuple[CodeTool, ...]:
    """The tools that were called, in the order of their first call, with the types of what was seen.

    Of a tool that was declared to the model, too, the declared types hold, and what was seen is told as a remark;
    declared tools that were never called come last.
    """
    seen: dict[str, _Seen] = {}
    for call in calls:
        tool = seen.setdefault(call.tool, _Seen())
        tool.calls += 1
        for name, value in call.args.items():
            _keep(tool.args.setdefault(name, []), value)
        if call.result is not None:
            failure = re.match(r"[Ee]rror\b:?", call.result)
            if failure is not None:
                tool.failures[failure[0]] += 1
            else:
                _keep(tool.results, _parsed(call.result))
    known = {tool.name: tool for tool in declared}
    learnt = {name: _tool(name, tool) for name, tool in seen.items()}
    both = [_both(known[name], tool) if name in known else tool for name, tool in learnt.items()]
    return (*both, *(tool for name, tool in known.items() if name not in learnt))


def _both(declared: CodeTool, seen: CodeTool) -> CodeTool:
    """What was declared of a tool, with what was seen of it."""
    parameters: dict[str, Parameter] = {}
    for name, told in declared.parameters.items():
        found = seen.parameters.get(name)
        schema = dict(told.schema)
        if found is not None and schema.get("type", "any") == "any":
            schema = dict(found.schema)
        elif found is not None and schema.get("type") == found.schema.get("type") and "enum" not in schema:
            remark = _remark_of(found.schema)
            schema |= {REMARK: remark} if remark else {}
        parameters[name] = replace(told, schema=schema)
    for name, found in seen.parameters.items():
        if name not in parameters:
            remark = "review: seen, but not declared to the model"
            parameters[name] = replace(found, schema={**found.schema, REMARK: remark}, required=False)
    returns = declared.returns if declared.returns.get("type", "any") != "any" else seen.returns
    return replace(declared, parameters=parameters, returns=returns, fails=seen.fails, seen=seen.seen)


def _remark_of(schema: Mapping[str, Any]) -> str | None:
    words = cast("Sequence[Any]", schema.get("enum") or ())
    if words:
        return f"seen: {', '.join(map(str, words))}"
    form = schema.get("format")
    return schema.get(REMARK) or (f"seen: {form}" if form else None)


def _keep(values: list[Any], value: Any) -> None:
    if len(values) < _KEPT:
        values.append(value)


def _parsed(text: str) -> Any:
    """A result as JSON where it is an object or a list; bare numbers and words stay text."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _tool(name: str, seen: _Seen) -> CodeTool:
    return CodeTool(
        name=name,
        parameters={
            arg: Parameter(schema=learn(values, name=arg, words=True), required=len(values) >= min(seen.calls, _KEPT))
            for arg, values in seen.args.items()
        },
        description=None,
        returns=learn(seen.results) if seen.results else {"type": "any"},
        fails=seen.failures.most_common(1)[0][0] if seen.failures else None,
        seen=seen.calls,
    )


def learn(values: Sequence[Any], *, name: str = "", words: bool = False, depth: int = 0) -> dict[str, Any]:
    """The type of all these values in the words of a contract; `any` where they have none in common.

    `words`: few words that come again and again become an `enum`; else they are told as a remark, since a result with
    another word would not be read any more.
    """
    real = [v for v in values if v is not None]
    schema = _learn(real, name, words, depth)
    if len(real) < len(values):
        schema = {**schema, "nullable": True}
    return schema


def _learn(values: list[Any], name: str, words: bool, depth: int) -> dict[str, Any]:
    kinds = {type(v).__name__ for v in values}
    if not values or depth > _DEEP:
        return {"type": "any"}
    if kinds == {"bool"}:
        return {"type": "boolean"}
    if kinds <= {"int", "float"}:
        return _numbers(values, name)
    if kinds == {"str"}:
        return _texts(values, words)
    if kinds == {"list"}:
        items = [item for value in values for item in value][:_KEPT]
        return {"type": "array", "items": learn(items, words=words, depth=depth + 1)} if items else {"type": "array"}
    if kinds == {"dict"}:
        return _objects(cast("list[Mapping[str, Any]]", values), words, depth)
    return {"type": "any", REMARK: "seen: several types"}


def _numbers(values: list[int | float], name: str) -> dict[str, Any]:
    least, most = f"{min(values):.10g}", f"{max(values):.10g}"
    whole = all(isinstance(v, int) for v in values)
    remark = f"seen: {least}" if least == most else f"seen: {least} to {most}"
    if _MONEY.search(name.lower()):
        remark += "; money is safer as {type: decimal, wire: number}"
    return {"type": "integer" if whole else "number", REMARK: remark}


def _texts(values: list[str], words: bool) -> dict[str, Any]:
    for word, pattern in _FORMATS.items():
        if all(pattern.fullmatch(v) for v in values):
            return {"type": "string", "format": word}
    counts = Counter(values)
    if (
        len(values) >= _ENUM_SEEN
        and 1 < len(counts) <= _ENUM_MOST
        and min(counts.values()) > 1
        and all(_WORD.fullmatch(v) for v in counts)
    ):
        if words:
            return {"type": "string", "enum": sorted(counts), REMARK: "review: only the words seen"}
        return {"type": "string", REMARK: f"seen: {', '.join(sorted(counts))}"}
    form = _form(values)
    return {"type": "string", REMARK: f"seen: {form}"} if form else {"type": "string"}


def _form(values: list[str]) -> str | None:
    """The one form that all values have, as a pattern, where they look like ids: `#W[0-9]{7}`."""
    forms = {_pattern(v) for v in values}
    form = forms.pop() if len(forms) == 1 else None
    return form if form is not None and "[0-9]" in form and len(set(values)) > 1 else None


def _pattern(text: str) -> str:
    if len(text) > 40:
        return text
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return "".join(_digits(len(p)) if p[0].isdecimal() else _SPECIAL.sub(r"\\\g<0>", p) for p in parts)


def _digits(count: int) -> str:
    return "[0-9]" if count == 1 else f"[0-9]{{{count}}}"


def _objects(values: list[Mapping[str, Any]], words: bool, depth: int) -> dict[str, Any]:
    present: dict[str, list[Any]] = {}
    for value in values:
        for key, inner in value.items():
            _keep(present.setdefault(key, []), inner)
    if _is_map(present, len(values)):
        inner = [v for found in present.values() for v in found][:_KEPT]
        return {"type": "object", "additionalProperties": learn(inner, words=words, depth=depth + 1)}
    fields: dict[str, Any] = {}
    for key, found in present.items():
        schema = learn(found, name=key, words=words, depth=depth + 1)
        fields[key] = schema if len(found) >= min(len(values), _KEPT) else {**schema, "optional": True}
    return {"type": "object", "properties": fields} if fields else {"type": "object"}


def _is_map(present: Mapping[str, list[Any]], objects: int) -> bool:
    """Whether the keys are data, such as ids or the names of options, and no names of fields."""
    if not present:
        return False
    if all(re.search(r"\d{3,}", key) for key in present):
        return True
    rare = sum(len(found) * 2 <= objects for found in present.values())
    kinds = {type(v).__name__ for found in present.values() for v in found}
    return len(present) > _MOST_FIELDS and rare >= 0.8 * len(present) and len(kinds) == 1
