"""What is written, as a `Contract`; what does not fit is reported and left out, so that the rest is read, too."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from roadworthy.contract.model import Contract, TypeSpec
from roadworthy.contract.names import did_you_mean, nearest
from roadworthy.contract.written import Path, Place, Written

_ROUNDS = 50
_STAND_INS: Mapping[str, Any] = {
    "roadworthy": 1,
    "agent": "?",
    "version": "?",
    "goal": "?",
    "owner": {"team": "?", "accountable": "?"},
    "tools": {},
    "capabilities": {},
}
_LOOKS_LIKE = {
    "roadworthy": "roadworthy: 1",
    "version": 'version: "1"',
    "owner": "owner: {team: Customer Care, accountable: care-lead}",
    "effect": "effect: read (or compute, write, send)",
    "because": "because: the reason, for the people and the agent that it stops",
    "means": "means: one sentence about what the user wants",
    "then": "then: deny (or clarify, ask)",
    "goal": "goal: one sentence",
    "people": "people: 1",
    "members": "members: {ada: {roles: [engineering], keys: [...]}}",
}
_OTHER_SCHEMA = {
    "anyOf", "oneOf", "allOf", "not", "$ref", "$defs", "definitions", "if", "then", "patternProperties", "prefixItems",
    "contains", "dependentRequired", "dependentSchemas", "unevaluatedProperties", "propertyNames", "$schema", "$id",
    "minProperties", "maxProperties", "contentEncoding",
}  # fmt: skip
_MISFITS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "tuple_type": "a list",
    "literal_error": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    path: Path
    """As written."""
    kind: str
    text: str
    """Empty where another problem says the same better."""
    leave_out: Path
    place: Place | None = None


_M = TypeVar("_M", bound=BaseModel)


def build(written: Written) -> Contract | None:
    """The contract without what does not fit, which is added to `written.findings`. None where nothing is left."""
    return fitted(written, Contract, stand_ins=_STAND_INS)


def fitted(written: Written, model: type[_M], *, stand_ins: Mapping[str, Any]) -> _M | None:
    """As `build`, for any model; `stand_ins` take the place of what it cannot be without."""
    _empty(written)
    reported: set[tuple[Path, str]] = {(f.path, f.text) for f in written.findings}
    for _ in range(_ROUNDS):
        data = written.left()
        stand_in = {k: v for k, v in stand_ins.items() if (k,) in written.holes}
        try:
            return model.model_validate({**data, **stand_in}, strict=True)
        except ValidationError as error:
            problems = _problems(error, written, model)
        for problem in problems:
            known = problem.leave_out in written.holes or problem.path in written.holes
            if problem.text and not known and (problem.path, problem.text) not in reported:
                reported.add((problem.path, problem.text))
                finding = written.found(problem.path, problem.text, code=problem.kind, at=problem.place)
                written.findings.append(finding)
            if problem.leave_out in written.holes and problem.leave_out:
                written.holes.add(problem.leave_out[:-1])
            written.holes.add(problem.leave_out)
        if () in written.holes:
            return None
    return None


def _empty(written: Written) -> None:
    """A key without a value would read as if it were not there: `when:` with nothing behind it would always fire."""
    for path, place in written.values.items():
        if written.at(path) is not None or path in written.holes or not path:
            continue
        inside = path[:-1]
        if path[-1] in ("const", "default") or "enum" in inside or "examples" in inside or inside[-1:] == ("type",):
            continue
        cure = "write a value, or leave the key out"
        if place.flow and not place.text:
            cure = f"{cure}; if it belongs to the text before it, quote that text as a whole"
        text = f"nothing stands after `{path[-1]}`; {cure}"
        written.findings.append(written.found(path, text, code="no_value", at=written.keys.get(path)))
        written.holes.add(path)


def _problems(error: ValidationError, written: Written, root: type[BaseModel]) -> list[_Problem]:
    found = [_problem(cast("dict[str, Any]", e), written, root) for e in error.errors(include_url=False)]
    kept: list[_Problem] = []
    for problem in found:
        others = [p for p in found if p is not problem]
        if problem.kind == "misfit":
            if any(len(p.path) > len(problem.path) and p.path[: len(problem.path)] == problem.path for p in others):
                continue  # another reading of the same thing came further
            if any(p.path == problem.path and p.kind not in ("misfit",) for p in others):
                continue
        if problem.kind == "missing_key" and _misspelt(problem, found):
            problem = replace(problem, text="")
        if all((p.path, p.text) != (problem.path, problem.text) for p in kept):
            kept.append(problem)
    return _joined(kept)


def _misspelt(missing: _Problem, found: list[_Problem]) -> bool:
    """Whether the key stands there under a name that is nearly its own, which is reported already."""
    beside = [str(p.path[-1]) for p in found if p.kind == "unknown_key" and p.path[:-1] == missing.path[:-1]]
    return any(nearest(word, [str(missing.path[-1])]) for word in beside)


def _joined(problems: list[_Problem]) -> list[_Problem]:
    """One problem where a value fits none of several readings."""
    by_path: dict[Path, list[_Problem]] = {}
    for problem in problems:
        by_path.setdefault(problem.path, []).append(problem)
    joined: list[_Problem] = []
    for group in by_path.values():
        misfits = [p for p in group if p.kind == "misfit"]
        if len(misfits) > 1:
            first = misfits[0]
            wanted = " or ".join(dict.fromkeys(p.text.split(" stands here, not ")[0] for p in misfits))
            rest = first.text.split(" stands here, not ", 1)[-1]
            joined.append(replace(first, text=f"{wanted} stands here, not {rest}"))
            group = [p for p in group if p.kind != "misfit"]
        joined.extend(group)
    return joined


def _problem(error: dict[str, Any], written: Written, root: type[BaseModel]) -> _Problem:
    loc = cast("tuple[str | int, ...]", error["loc"])
    kind: str = error["type"]
    path = _as_written(loc, written)
    about_key = bool(loc) and loc[-1] == "[key]"
    if kind == "missing":
        return _missing(loc, path, written)
    if kind == "extra_forbidden":
        return _unknown(loc, path, written, root)
    value = error["input"]
    place = written.keys.get(path) if about_key else None
    text = _explain(kind, error, value, path, loc, written, root)
    code = "misfit" if kind in _MISFITS and kind != "literal_error" else "value"
    return _Problem(path=path, kind=code, text=text, leave_out=path, place=place)


def _as_written(loc: Path, written: Written) -> Path:
    """pydantic's location without the names of readings and without what short forms leave out."""
    at: Path = ()
    for step in loc:
        if isinstance(step, int) and at in written.kept and step < len(written.kept[at]):
            step = written.kept[at][step]
        if (*at, step) in written.keys or (*at, step) in written.values:
            at = (*at, step)
    return at


def _missing(loc: Path, path: Path, written: Written) -> _Problem:
    key = str(loc[-1])
    if path and path[-1] == key and path in written.keys:  # the same word stands above; what is missing is below it
        path = path if isinstance(written.at(path), Mapping) else path[:-1]
    looks = _LOOKS_LIKE.get(key, f"{key}:")
    text = f"`{key}` is missing; add {looks}"
    leave_out = path if path else (key,)
    return _Problem(path=(*path, key), kind="missing_key", text=text, leave_out=leave_out, place=written.place(path))


def _unknown(loc: Path, path: Path, written: Written, root: type[BaseModel]) -> _Problem:
    key = str(loc[-1])
    model = _model_at(root, loc[:-1])
    known = [f.alias or name for name, f in model.model_fields.items()] if model else []
    place = written.keys.get(path)
    value = written.at(path)
    beside = written.at(path[:-1])
    free = [k for k in known if not isinstance(beside, Mapping) or k not in beside]
    near = nearest(key, free)
    if model is TypeSpec and key in _OTHER_SCHEMA:
        cure = "this part of JSON Schema cannot be judged before a call; write one type, or `any`"
    elif near is None and model is TypeSpec and isinstance(value, str | Mapping):
        cure = "if `type` and this are fields of an object, write {type: object, properties: {...}}"
    else:
        where = _elsewhere(key, model, root)
        cure = f"did you mean {near}?" if near else where or did_you_mean(key, free)
    text = f"there is no key {key!r} here; {cure}"
    return _Problem(path=path, kind="unknown_key", text=text, leave_out=path, place=place)


def _elsewhere(key: str, model: type[BaseModel] | None, root: type[BaseModel]) -> str | None:
    """Where a key that is right in another part belongs: a part below this one, else one of the whole."""
    for part in (model, root):
        if part is None:
            continue
        homes = [
            field.alias or name
            for name, field in part.model_fields.items()
            for inner in [_model_of(field.annotation)]
            if inner is not None and inner is not model and key in [f.alias or n for n, f in inner.model_fields.items()]
        ]
        if homes:
            return f"it belongs under {' or '.join(homes)}"
    return None


def _raw(path: Path, value: Any, written: Written) -> str:
    place = written.values.get(path)
    return place.text if place is not None and place.text else str(value)


def _thing(value: Any, raw: str) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"{raw}, which is a truth value"
    if isinstance(value, int | float):
        return f"{raw}, which is a number"
    if isinstance(value, str):
        return f"the text {raw!r}"
    return "a list" if isinstance(value, list | tuple) else "a mapping"


def _explain(
    kind: str, error: dict[str, Any], value: Any, path: Path, loc: Path, written: Written, root: type[BaseModel]
) -> str:
    raw = _raw(path, value, written)
    context: dict[str, Any] = error.get("ctx") or {}
    version = next(iter(root.model_fields))
    if path == (version,):
        return f"{raw} is no version of this file format that can be read here; write `{version}: 1`"
    if kind == "value_error":
        return str(context.get("error", error["msg"]))
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        shown = raw if isinstance(value, str | int | float) else _thing(value, raw)
        cure = did_you_mean(str(value), words) if isinstance(value, str) else f"choose from: {', '.join(words)}"
        return f"{shown} is none of the words that can stand here; {cure}"
    if kind == "string_pattern_mismatch":
        return f"{value!r} is no name; write letters, digits and _, parts joined by points, no digit in front"
    if kind == "string_too_short":
        return "this is empty; write a condition or leave the key out"
    for word, phrase in (("greater_than_equal", "at least"), ("greater_than", "above"), ("less_than_equal", "at most")):
        if kind == word:
            limit = context.get("ge", context.get("gt", context.get("le")))
            return f"{raw} is out of range; write a number of {phrase} {limit}"
    if kind in _MISFITS:
        return _misfit(kind, value, raw, loc, written.values.get(path), root)
    return f"this does not fit: {error['msg']}"


def _misfit(kind: str, value: Any, raw: str, loc: Path, place: Place | None, root: type[BaseModel]) -> str:
    wanted = _MISFITS[kind]
    if kind == "model_type" and _model_at(root, loc) is TypeSpec:
        wanted = "a type (a word such as string, or a mapping)"
    thing = _thing(value, raw)
    cure = ""
    if kind == "string_type" and isinstance(value, int | float):
        cure = f'; quote it: "{raw}"'
    elif kind == "tuple_type" and isinstance(value, str | int | float):
        cure = f"; write [{raw}]"
    elif kind in ("int_type", "float_type", "bool_type") and isinstance(value, str) and place and not place.plain:
        cure = "; write it without quotes"
    elif wanted.startswith("a type") and loc and loc[-1] in _OTHER_SCHEMA:
        cure = "; this part of JSON Schema cannot be judged before a call, write one type, or `any`"
    elif wanted.startswith("a type") and isinstance(value, tuple):
        cure = "; for one of several values write {type: string, enum: [...]}"
    return f"{wanted} stands here, not {thing}{cure}"


# Which part of the model a location belongs to --------------------------------------------------------------------


def _model_at(annotation: Any, loc: Path) -> type[BaseModel] | None:
    if get_origin(annotation) is typing.Annotated:
        return _model_at(get_args(annotation)[0], loc)
    if get_origin(annotation) in (Union, types.UnionType):
        return _in_union(get_args(annotation), loc)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not loc:
            return annotation
        for name, field in annotation.model_fields.items():
            if loc[0] in (name, field.alias):
                return _model_at(field.annotation, loc[1:])
        return None
    if get_origin(annotation) is dict:
        return _model_at(get_args(annotation)[1], loc[1:]) if loc else None
    if get_origin(annotation) is tuple:
        return _model_at(get_args(annotation)[0], loc[1:]) if loc else None
    return None


def _in_union(options: tuple[Any, ...], loc: Path) -> type[BaseModel] | None:
    for option in options:
        inner = get_args(option)[0] if get_origin(option) is typing.Annotated else option
        if loc and isinstance(inner, type) and issubclass(inner, BaseModel) and inner.__name__ in str(loc[0]):
            return _model_at(inner, loc[1:])
    for option in options:
        found = _model_at(option, loc)
        if found is not None:
            return found
    return None


def _model_of(annotation: Any) -> type[BaseModel] | None:
    for loc in ((), ("x",), (0,)):
        found = _model_at(annotation, loc)
        if found is not None:
            return found
    return None
