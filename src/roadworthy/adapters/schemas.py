"""The contract's tools as a model is offered them: OpenAI function schemas."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from roadworthy.adapters.calls import OFFERED
from roadworthy.contract.model import Contract
from roadworthy.contract.resolve import shapes_of
from roadworthy.contract.shapes import Shape
from roadworthy.core.errors import UsageError


def tool_schemas(contract: Contract, capabilities: str | Iterable[str] | None = None) -> list[dict[str, Any]]:
    """The tools of these capabilities (all, unless told), the common ones, and `ask_user` and `escalate`.

    Names carry no points. Arguments that the gate fills itself are left out, as are tools that only undo.
    Raises UsageError for a capability that the contract lacks.
    """
    wanted = [capabilities] if isinstance(capabilities, str) else list(capabilities or contract.capabilities)
    for name in wanted:
        if name not in contract.capabilities:
            known = ", ".join(contract.capabilities)
            raise UsageError(f"the contract of {contract.agent} has no capability {name!r}; it has {known}")
    open_tools = {*contract.common, *(tool for name in wanted for tool in contract.capabilities[name].tools)}
    handing_over = contract.escalate.tool if contract.escalate is not None else None
    shapes = shapes_of(contract)
    schemas: list[dict[str, Any]] = []
    for name, tool in contract.tools.items():
        if name not in open_tools or tool.only == "undo" or name == handing_over:
            continue
        filled = {tool.idempotent.passed_as} if tool.idempotent is not None else set[str]()
        args = {arg: shape for arg, shape in shapes.args[name].items() if arg not in filled}
        schemas.append(_function(contract.model_name(name), tool.description or name, _object(args)))
    for extra in OFFERED:
        schemas.append(_function(extra.name, extra.description, extra.parameters))
    return schemas


def _function(name: str, description: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def _object(fields: dict[str, Shape]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: shape_schema(shape) for name, shape in fields.items()},
        "required": [name for name, shape in fields.items() if not shape.optional and shape.default is None],
        "additionalProperties": False,
    }


_KEYS = {
    "minimum": "minimum",
    "maximum": "maximum",
    "exclusive_minimum": "exclusiveMinimum",
    "exclusive_maximum": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_items": "minItems",
    "max_items": "maxItems",
    "format": "format",
}


def shape_schema(shape: Shape) -> dict[str, Any]:
    """One type as JSON Schema. A decimal is offered as a number: models write those, and the gate reads them."""
    schema: dict[str, Any]
    if shape.type == "any":
        schema = {}
    elif shape.type == "decimal":
        schema = {"type": "number"}
    elif shape.type == "object":
        schema = _object(dict(shape.fields))
        if shape.extra is not None:
            schema["additionalProperties"] = shape_schema(shape.extra)
    elif shape.type == "array":
        schema = {"type": "array", "items": shape_schema(shape.items) if shape.items is not None else {}}
    else:
        schema = {"type": shape.type}
    for attribute, key in _KEYS.items():
        value = getattr(shape, attribute)
        if value is not None:
            schema[key] = _number(value) if isinstance(value, Decimal) else value
    if shape.unique_items:
        schema["uniqueItems"] = True
    if shape.pattern is not None:
        schema["pattern"] = f"^(?:{shape.pattern})$"
    if shape.enum is not None:
        schema["enum"] = [_number(m) if isinstance(m, Decimal) else m for m in shape.enum]
    if shape.default is not None:
        schema["default"] = _number(shape.default) if isinstance(shape.default, Decimal) else shape.default
    if shape.nullable:
        schema = {"anyOf": [schema, {"type": "null"}]}
    description = shape.description or (f"in {shape.unit}" if shape.unit else None)
    if description is not None:
        schema["description"] = description
    return schema


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
