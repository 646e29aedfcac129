"""The tools that a program has, as far as its code tells: functions, framework tools and OpenAI function schemas.

Frameworks are known by the shape of their objects and never imported: `.args_schema` or `.args` (LangChain, CrewAI),
`.schema` (AutoGen), a mapping with `parameters` (OpenAI).
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from types import ModuleType
from typing import Any, Literal, Union, cast, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel

from roadworthy.core.errors import UsageError

Schema = Mapping[str, Any]
"""A type in the words of a contract, long form: `{"type": "string", "enum": [...]}`; `{"type": "any"}` says nothing."""

_ANY: Schema = {"type": "any"}
_MOST_DEEP = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One argument of a tool."""

    schema: Schema
    required: bool
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTool:
    """A tool as its code declares it."""

    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict[str, Parameter])
    open: bool = False
    """It takes any further argument (`**kwargs`)."""
    description: str | None = None
    returns: Schema = field(default_factory=lambda: _ANY)
    fails: str | None = None
    """How results begin that report failure, where that was seen."""
    effect: str | None = None
    """What somebody says of its effect; None where only its name tells."""
    why: str | None = None
    """Who says so, and what else, for a remark."""
    seen: int = 0
    """How many calls were seen, where it was learnt from calls."""


def own_tool(value: Any, module: ModuleType) -> bool:
    """Whether something in a module is a tool of its own, and nothing that it imported to be used."""
    if inspect.isfunction(value):
        return value.__module__ == module.__name__
    return not inspect.isclass(value) and not inspect.ismodule(value) and _framework_schema(value) is not None


def is_tool(value: object) -> bool:
    """Whether something is a function, a tool of a framework or a function schema."""
    mapping = _mapping(value)
    if mapping is not None:
        return is_schema(mapping)
    return inspect.isroutine(value) or _framework_schema(value) is not None


def no_tool(value: object, name: str | None) -> UsageError:
    """The error to raise for what is no tool."""
    shown = name or type(value).__name__
    return UsageError(f"{shown} is no tool: give functions, tools or agents of a framework, or OpenAI function schemas")


def _mapping(value: object) -> Mapping[str, Any] | None:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else None


def _sequence(value: object) -> list[Any]:
    return list(cast("Sequence[Any]", value)) if isinstance(value, list | tuple) else []


def is_schema(value: Mapping[str, Any]) -> bool:
    """Whether a mapping is a function schema of OpenAI (chat or responses), Anthropic or MCP."""
    function = _mapping(value.get("function", value))
    return function is not None and isinstance(function.get("name"), str)


def tool_of(value: object, name: str | None) -> CodeTool:
    """One tool, under this name or its own. Raises UsageError for what is none."""
    mapping = _mapping(value)
    if mapping is not None and is_schema(mapping):
        function: Mapping[str, Any] = mapping.get("function", mapping)
        schemas = (function.get(k) for k in ("parameters", "input_schema", "inputSchema"))
        given: object = next(filter(None, schemas), None) or {}
        made = _from_schema(name or str(function["name"]), given, function.get("description"), None)
        return _as_told(made, function.get("outputSchema"), function.get("annotations"))
    schema = _framework_schema(value)
    if schema is not None:
        inner = next((f for k in _FUNCTIONS if callable(f := getattr(value, k, None))), None)
        if inner is None:
            inner = _enclosed(
                getattr(value, "on_invoke_tool", None), frozenset(_mapping(schema.get("properties")) or ())
            )
        known_as: Any = name or getattr(value, "name", None) or getattr(inner, "__name__", "tool")
        made = _from_schema(str(known_as), schema, _said(getattr(value, "description", None)), inner)
        if getattr(value, "response_format", None) == "content_and_artifact":  # LangChain: the model is told the first
            parts = get_args(_hints(inner).get("return")) if inner is not None else ()
            made = dataclasses.replace(made, returns=of_annotation(parts[0]) if parts else _ANY)
        if made.returns == _ANY:
            made = dataclasses.replace(made, returns=_declared_return(value))
        told: Any = getattr(value, "annotations", None)
        hints = told.model_dump(exclude_none=True) if isinstance(told, BaseModel) else told
        return _as_told(made, getattr(value, "outputSchema", None), hints)
    if callable(value) and not inspect.isclass(value):
        return _from_function(value, name)
    raise no_tool(value, name)


_FUNCTIONS = ("func", "coroutine", "_func", "function")
"""Where tools of frameworks keep the function behind them."""


def _enclosed(invoke: Any, args: frozenset[str], steps: int = 0) -> Callable[..., Any] | None:
    """The function that OpenAI Agents made a tool of: the one with its arguments among what its closures hold."""
    inner = getattr(invoke, "_invoke_tool_impl", invoke)
    if steps > _MOST_DEEP or not inspect.isfunction(inner):
        return None
    for cell in inner.__closure__ or ():
        try:
            held = cell.cell_contents
        except ValueError:  # it is not bound yet
            continue
        if inspect.isfunction(held) and args and args <= set(inspect.signature(held).parameters):
            return held
        found = _enclosed(held, args, steps + 1)
        if found is not None:
            return found
    return None


def _declared_return(tool: Any) -> Schema:
    """What a tool without a function says that it returns: AutoGen's `return_type()`."""
    declared: Any = getattr(tool, "return_type", None)
    if not inspect.ismethod(declared):
        return _ANY
    try:
        return of_annotation(declared())
    except Exception:  # code of others
        return _ANY


def _as_told(tool: CodeTool, returns: object, hints: object) -> CodeTool:
    """What an MCP server tells beside a tool's arguments. It is a stranger's word, and stays marked for review."""
    schema, told = _mapping(returns), _mapping(hints) or {}
    if schema is not None:
        definitions = _mapping(schema.get("$defs") or schema.get("definitions")) or {}
        inner = _mapping(schema.get("properties")) or {}
        wrapped = schema.get("x-fastmcp-wrap-result") or (set(inner) == {"result"} and "result" in str(schema))
        tool = dataclasses.replace(
            tool, returns=in_our_words(inner["result"] if wrapped and inner else schema, definitions)
        )
    read, destroys, again = (told.get(k) for k in ("readOnlyHint", "destructiveHint", "idempotentHint"))
    if read is True:
        return dataclasses.replace(tool, effect="read", why="the server says that it only reads")
    said = [
        text
        for text, is_said in (
            ("the server says that it destroys", destroys is True),
            ("the server says that a repeat changes nothing more", again is True),
        )
        if is_said
    ]
    if said or read is False or destroys is not None:
        return dataclasses.replace(
            tool, effect="write", why="; ".join(said) or "the server says that it does not only read"
        )
    return tool


def _said(description: object) -> str | None:
    """A tool's own words: CrewAI writes name and arguments in front of them."""
    text = _text(description)
    return text.rpartition("Tool Description: ")[2] if text is not None and text.startswith("Tool Name:") else text


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _framework_schema(value: Any) -> Schema | None:
    """The JSON Schema of a framework tool's arguments; None where the object is none."""
    if inspect.isfunction(value) or inspect.ismethod(value) or inspect.isclass(value):
        return None
    for name in ("tool_call_schema", "args_schema"):
        model: Any = getattr(value, name, None)
        if inspect.isclass(model) and issubclass(model, BaseModel):
            return model.model_json_schema()
        if isinstance(model, Mapping):
            return cast("Schema", model)
    for name in ("params_json_schema", "inputSchema"):  # OpenAI Agents; a tool that an MCP client was told of
        written: Any = getattr(value, name, None)
        if isinstance(written, Mapping) and isinstance(getattr(value, "name", None), str):
            return cast("Schema", written)
    written = getattr(getattr(value, "function_schema", None), "json_schema", None)  # Pydantic AI
    if isinstance(written, Mapping):
        return cast("Schema", written)
    if inspect.ismethod(parameters := getattr(value, "parameters", None)) and callable(getattr(value, "invoke", None)):
        try:  # Microsoft Agent Framework
            written = parameters()
        except Exception:  # code of others
            written = None
        if isinstance(written, Mapping):
            return cast("Schema", written)
    declared: Any = getattr(value, "schema", None)
    if isinstance(declared, Mapping) and "parameters" in declared:
        return cast("Schema", declared["parameters"])
    arguments: Any = getattr(value, "args", None)
    if isinstance(arguments, Mapping) and isinstance(getattr(value, "name", None), str):
        properties = cast("Mapping[str, Any]", arguments)
        return {"type": "object", "properties": properties, "required": list(properties)}
    return None


def _from_schema(name: str, schema: Any, description: Any, function: Callable[..., Any] | None) -> CodeTool:
    if not isinstance(schema, Mapping):
        raise UsageError(f"{name}: its parameters are no JSON Schema of an object")
    whole = cast("Schema", schema)
    properties = _mapping(whole.get("properties")) or {}
    required = _sequence(whole.get("required"))
    definitions = _mapping(whole.get("$defs") or whole.get("definitions")) or {}
    return CodeTool(
        name=name,
        parameters={
            arg: Parameter(
                schema=in_our_words(inner, definitions),
                required=arg in required,
                description=_said_of(arg, inner),
            )
            for arg, inner in properties.items()
        },
        open=bool(whole.get("additionalProperties", False)) and not properties,
        description=_text(description),
        returns=_returned(function) if function is not None else _ANY,
    )


def _said_of(arg: str, schema: Any) -> str | None:
    text = _text((_mapping(schema) or {}).get("description"))
    return text if text != arg else None


_KEPT = (
    "pattern", "format", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "multipleOf", "minItems", "maxItems", "uniqueItems",
)  # fmt: skip
_FORMATS = ("email", "uri", "date", "date-time", "time", "uuid")


def in_our_words(schema: Any, definitions: Mapping[str, Any], depth: int = 0) -> Schema:
    """A JSON Schema as a contract can say it; what it cannot say becomes `any`."""
    if not isinstance(schema, Mapping) or depth > _MOST_DEEP:
        return _ANY
    given = cast("Schema", schema)
    reference = given.get("$ref")
    if isinstance(reference, str):
        return in_our_words(definitions.get(reference.rsplit("/", 1)[-1]), definitions, depth + 1)
    options = given.get("anyOf") or given.get("oneOf") or given.get("allOf")
    if isinstance(options, Sequence) and not isinstance(options, str):
        return _one_of(cast("Sequence[Any]", options), definitions, depth)
    kind = given.get("type")
    if isinstance(kind, Sequence) and not isinstance(kind, str):
        words = [w for w in cast("Sequence[str]", kind) if w != "null"]
        if len(words) != 1:
            return _ANY
        return {**in_our_words({**given, "type": words[0]}, definitions, depth + 1), "nullable": True}
    if kind is None and isinstance(given.get("properties"), Mapping):
        kind = "object"
    if kind is None and (given.get("enum") or "const" in given):
        return _words(given)
    if kind not in ("string", "integer", "number", "boolean", "array", "object"):
        return _ANY
    ours: dict[str, Any] = {"type": kind}
    ours |= {key: given[key] for key in _KEPT if given.get(key) is not None}
    if ours.get("format") not in _FORMATS:
        ours.pop("format", None)
    if given.get("enum") or "const" in given:
        ours["enum"] = _words(given).get("enum", [])
    if kind == "array" and "items" in given:
        ours["items"] = in_our_words(given["items"], definitions, depth + 1)
    if kind == "object":
        ours |= _fields(given, definitions, depth)
    return ours


_WORD_TYPES = {"str": "string", "int": "integer", "bool": "boolean"}


def _words(given: Schema) -> Schema:
    values = _sequence(given.get("enum")) or [given.get("const")]
    real = [v for v in values if v is not None]
    kinds = {_WORD_TYPES.get(type(v).__name__) for v in real}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is None:
        return _ANY
    return {"type": kind, "enum": list(dict.fromkeys(real))} | ({"nullable": True} if None in values else {})


def _one_of(options: Sequence[Any], definitions: Mapping[str, Any], depth: int) -> Schema:
    kinds = [cast("Schema", o).get("type") if isinstance(o, Mapping) else None for o in options]
    real = [o for o, kind in zip(options, kinds, strict=True) if kind != "null"]
    nullable: Schema = {"nullable": True} if len(real) < len(options) else {}
    if len(real) == 1:
        return {**in_our_words(real[0], definitions, depth + 1), **nullable}
    if set(kinds) - {"null"} == {"number", "string"}:  # what pydantic writes for a Decimal
        return {"type": "decimal", **nullable}
    return {**_ANY, **nullable}


def _fields(given: Schema, definitions: Mapping[str, Any], depth: int) -> Schema:
    properties = _mapping(given.get("properties")) or {}
    more = given.get("additionalProperties")
    if not properties:
        extra = in_our_words(more, definitions, depth + 1) if isinstance(more, Mapping) else None
        return {"additionalProperties": extra} if extra is not None else {}
    required = _sequence(given.get("required"))
    fields: dict[str, Any] = {}
    for name, inner in properties.items():
        ours = in_our_words(inner, definitions, depth + 1)
        fields[name] = ours if name in required else {**ours, "optional": True}
    return {"properties": fields}


# functions ----------------------------------------------------------------------------------------------------------


def _from_function(function: Callable[..., Any], name: str | None) -> CodeTool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name or function!r}: its arguments cannot be read: {error}") from error
    hints = _hints(function)
    parameters: dict[str, Parameter] = {}
    takes_any = False
    for arg, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_any = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            parameters[arg] = Parameter(
                schema=of_annotation(hints.get(arg, Any)), required=parameter.default is parameter.empty
            )
    return CodeTool(
        name=name or getattr(function, "__name__", type(function).__name__),
        parameters=parameters,
        open=takes_any,
        description=_first_line(inspect.getdoc(function)),
        returns=_returned(function),
    )


def _returned(function: Callable[..., Any]) -> Schema:
    return of_annotation(_hints(function).get("return", Any))


def _first_line(doc: str | None) -> str | None:
    return doc.strip().splitlines()[0] if doc and doc.strip() else None


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # a name that cannot be looked up here must not hide the other arguments
        return {k: v for k, v in getattr(function, "__annotations__", {}).items() if not isinstance(v, str)}


_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    Decimal: {"type": "decimal"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string", "format": "time"},
    UUID: {"type": "string", "format": "uuid"},
    dict: {"type": "object"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    set: {"type": "array"},
    Mapping: {"type": "object"},
    Sequence: {"type": "array"},
    Iterable: {"type": "array"},
}


def of_annotation(annotation: Any, depth: int = 0) -> Schema:
    """A Python annotation in the words of a contract; what it cannot say becomes `any`."""
    if depth > _MOST_DEEP:
        return _ANY
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return of_annotation(args[0], depth + 1)
    if origin is Literal:
        return _words({"enum": list(args)})
    if origin in (Union, types.UnionType):
        real = [a for a in args if a is not type(None)]
        if len(real) != 1:
            return _ANY
        inner = of_annotation(real[0], depth + 1)
        return {**inner, "nullable": True} if len(real) < len(args) else inner
    if origin in _PLAIN and args:
        schema = _PLAIN[origin]
        if origin is tuple and len({a for a in args if a is not Ellipsis}) > 1:
            return schema  # one place after another, each of its own type
        if schema["type"] == "array":
            return {"type": "array", "items": of_annotation(args[0], depth + 1)}
        return {"type": "object", "additionalProperties": of_annotation(args[-1], depth + 1)}
    if not inspect.isclass(annotation):
        return _ANY
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    return _of_class(annotation, depth)


def _of_class(annotation: type[Any], depth: int) -> Schema:
    if issubclass(annotation, enum.Enum):
        return _words({"enum": [member.value for member in annotation]})
    if issubclass(annotation, BaseModel):
        schema = annotation.model_json_schema()
        return in_our_words(schema, cast("Mapping[str, Any]", schema.get("$defs") or {}))
    if dataclasses.is_dataclass(annotation):
        hints = _hints(cast("Any", annotation))
        fields = {f.name: of_annotation(hints.get(f.name, Any), depth + 1) for f in dataclasses.fields(annotation)}
        return {"type": "object", "properties": fields}
    if typing.is_typeddict(annotation):
        optional: frozenset[str] = getattr(annotation, "__optional_keys__", frozenset[str]())
        fields = {
            name: {**of_annotation(hint, depth + 1), **({"optional": True} if name in optional else {})}
            for name, hint in _hints(annotation).items()
        }
        return {"type": "object", "properties": fields}
    return _ANY
