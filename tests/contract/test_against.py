"""Code and contract compared: functions, framework-like tools and OpenAI function schemas."""

from __future__ import annotations

import enum
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypedDict

import pytest
from pydantic import BaseModel

from roadworthy import Contract
from roadworthy.contract.against import against
from roadworthy.contract.reach import code_tools
from roadworthy.core.errors import UsageError

CONTRACT = """
roadworthy: 1
agent: desk
version: "1"
goal: Settle it.
owner: {team: Care, accountable: lead}
tools:
  desk.find: {effect: read, args: {email: string, limit: {type: integer, optional: true}}, returns: {id: string}}
  desk.refund:
    effect: write
    args:
      id: string
      amount: {type: decimal, wire: number}
      reason: {enum: [late, broken]}
    returns: string
    idempotent: {key: [id, amount], passed_as: request_id}
capabilities:
  refunds:
    means: The customer wants money back.
    tools: [desk.find, desk.refund]
    autonomy: {ceiling: autonomous, approver: lead}
    success: [{id: once, check: count.desk.refund == 1}]
"""


def find(email: str, limit: int = 10) -> dict[str, str]:
    return {"id": f"{email}{limit}"}


def refund(id: str, amount: float, reason: Literal["late", "broken"], request_id: str) -> str:
    return f"{id}{amount}{reason}{request_id}"


def compare(*tools: Callable[..., Any]) -> dict[str, str]:
    """The texts of all findings, by code and path."""
    contract = Contract.loads(CONTRACT, file="desk.yaml")
    findings = against(contract, list(tools))
    assert all(f.file == "desk.yaml" and f.line for f in findings)
    return {f"{f.code} {'.'.join(map(str, f.path))}": f.text for f in findings}


def test_code_that_agrees_has_no_findings() -> None:
    assert compare(find, refund) == {}


def test_functions_are_found_by_any_of_their_names() -> None:
    contract = Contract.loads(CONTRACT)
    assert against(contract, {"desk.find": find, "desk_refund": refund}) == []
    module = types.ModuleType("tools_of_a_desk")
    exec("def find(email: str, limit: int = 1): ...\ndef _hidden(): ...\nfrom json import dumps\n", vars(module))
    vars(module)["find"].__module__ = "tools_of_a_desk"
    (missing,) = against(contract, module)
    assert missing.path == ("tools", "desk.refund")


def test_a_renamed_tool_is_named_on_both_sides() -> None:
    def refnd(id: str) -> str:
        return id

    found = compare(find, refnd)
    assert "did you mean refnd?" in found["missing_tool tools.desk.refund"]
    assert "a tool refnd that the contract does not know" in found["extra_tool tools"]


def test_arguments_that_differ_are_named() -> None:
    def find(mail: str, limit: int) -> str:
        return f"{mail}{limit}"

    found = compare(find, refund)
    assert "did you mean mail?" in found["missing_argument tools.desk.find.args.email"]
    assert "did you mean email?" in found["extra_argument tools.desk.find.args"]
    assert "cannot do without limit" in found["required_argument tools.desk.find.args.limit"]


def test_types_that_differ_are_named() -> None:
    def refund(id: int, amount: str, reason: Literal["late"], request_id: str) -> str:
        return f"{id}{amount}{reason}{request_id}"

    found = compare(find, refund)
    assert "write type: integer" in found["argument_type tools.desk.refund.args.id"]
    assert "write wire: string" in found["argument_type tools.desk.refund.args.amount"]
    assert "does not take broken" in found["argument_enum tools.desk.refund.args.reason"]


def test_the_argument_that_the_gate_fills_must_be_there() -> None:
    def refund(id: str, amount: float, reason: str) -> str:
        return f"{id}{amount}{reason}"

    assert list(compare(find, refund)) == ["missing_argument tools.desk.refund.idempotent.passed_as"]


def test_a_function_that_takes_anything_agrees() -> None:
    def refund(**args: Any) -> str:
        return str(args)

    assert compare(find, refund) == {}


class FindInput(BaseModel):
    email: str
    limit: int | None = None


@dataclass
class FrameworkTool:
    """What LangChain's and CrewAI's tools look like from outside."""

    name: str
    args_schema: Any
    description: str = "Finds a customer."


def test_framework_tools_are_read_by_their_schema() -> None:
    (tool,) = code_tools([FrameworkTool(name="find", args_schema=FindInput)])
    assert tool.description == "Finds a customer."
    assert tool.parameters["email"].required
    assert tool.parameters["limit"].schema == {"type": "integer", "nullable": True}
    assert not tool.parameters["limit"].required


def test_openai_schemas_are_read() -> None:
    schema = {
        "type": "function",
        "function": {
            "name": "desk_find",
            "parameters": {
                "type": "object",
                "properties": {"email": {"type": "string", "description": "Where they write from."}},
                "required": ["email"],
            },
        },
    }
    for given in (schema, [schema], schema["function"], {"desk_find": schema}):
        (tool,) = code_tools(given)
        assert (tool.name, tool.parameters["email"].description) == ("desk_find", "Where they write from.")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Line(TypedDict):
    sku: str
    count: int


@dataclass
class Order:
    lines: list[Line]
    total: Decimal


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (int | None, {"type": "integer", "nullable": True}),
        (int | str, {"type": "any"}),
        (Decimal, {"type": "decimal"}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Colour, {"type": "string", "enum": ["red", "blue"]}),
        (Mapping[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (list[Colour], {"type": "array", "items": {"type": "string", "enum": ["red", "blue"]}}),
        (object, {"type": "any"}),
        (
            Order,
            {
                "type": "object",
                "properties": {
                    "lines": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"sku": {"type": "string"}, "count": {"type": "integer"}},
                        },
                    },
                    "total": {"type": "decimal"},
                },
            },
        ),
    ],
)
def test_annotations_in_the_words_of_a_contract(annotation: Any, schema: Mapping[str, Any]) -> None:
    def tool(value: Any) -> None:
        del value

    tool.__annotations__["value"] = annotation
    (read,) = code_tools([tool])
    assert read.parameters["value"].schema == schema


@pytest.mark.parametrize("what", [[1], {"a": None}, ["text"], [str]])
def test_what_is_no_tool_is_refused(what: Any) -> None:
    with pytest.raises(UsageError, match="is no tool: give functions"):
        code_tools(what)
