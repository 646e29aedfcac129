"""Drafted contracts: what was seen becomes types, what was guessed is marked, and the result always loads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy import Contract
from roadworthy.contract.draft import draft, effect_of, small
from roadworthy.contract.learn import REMARK, Call, learn, learn_tools
from roadworthy.contract.reach import code_tools


def drafted(*calls: Call) -> Contract:
    return Contract.loads(draft(learn_tools(calls), agent="seen", source="runs.jsonl").text)


LEARNT: list[tuple[list[Any], dict[str, Any]]] = [
    ([True, False], {"type": "boolean"}),
    ([3, 1, 400], {"type": "integer", REMARK: "seen: 1 to 400"}),
    ([1, 2.5], {"type": "number", REMARK: "seen: 1 to 2.5"}),
    (["a@b.example", "c@d.example"], {"type": "string", "format": "email"}),
    (["2026-03-01"], {"type": "string", "format": "date"}),
    (["#W2378156", "#W0000001"], {"type": "string", REMARK: "seen: #W[0-9]{7}"}),
    (["open", "paid"] * 5, {"type": "string", "enum": ["open", "paid"], REMARK: "review: only the words seen"}),
    (["open", "paid"], {"type": "string"}),
    ([None, "text"], {"type": "string", "nullable": True}),
    ([1, "one"], {"type": "any", REMARK: "seen: several types"}),
    ([[1], [2, 3]], {"type": "array", "items": {"type": "integer", REMARK: "seen: 1 to 3"}}),
    ([[]], {"type": "array"}),
    ([], {"type": "any"}),
    (
        [{"a": "x", "b": True}, {"a": "y"}],
        {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "boolean", "optional": True}}},
    ),
    (
        [{"item_1001": {"ok": True}, "item_1002": {"ok": False}}],
        {"type": "object", "additionalProperties": {"type": "object", "properties": {"ok": {"type": "boolean"}}}},
    ),
]


@pytest.mark.parametrize(("values", "schema"), LEARNT)
def test_what_was_seen_becomes_a_type(values: list[Any], schema: dict[str, Any]) -> None:
    assert learn(values, words=True) == schema


def test_words_in_results_are_told_and_bind_nothing() -> None:
    assert learn(["open", "paid"] * 5) == {"type": "string", REMARK: "seen: open, paid"}


def test_money_is_pointed_out() -> None:
    assert "decimal" in learn([45.5, 46.0], name="unit_price")[REMARK]


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("find_user", "read"), ("support.getTicket", "read"), ("list-all", "read"), ("calculate", "compute"),
        ("send_mail", "send"), ("cancel_order", "write"), ("frobnicate", "write"), ("", "write"),
    ],
)  # fmt: skip
def test_effects_are_guessed_carefully(name: str, effect: str) -> None:
    assert effect_of(name) == effect


def test_a_contract_from_calls() -> None:
    contract = drafted(
        Call(tool="get_order", args={"order_id": "#W1", "full": True}, result='{"id": "#W1", "total": 4.5}'),
        Call(tool="get_order", args={"order_id": "#W2"}, result='{"id": "#W2", "total": 5, "note": null}'),
        Call(tool="get_order", args={"order_id": "#W3"}, result="Error: order not found"),
        Call(tool="cancel-order", args={"order id": "#W1"}, result="done"),
        Call(tool="transfer_to_human_agents", args={"summary": "angry"}),
    )
    order, cancel = contract.tools["get_order"], contract.tools["cancel_order"]
    assert (order.effect, order.fails_when) == ("read", 'text.startsWith("Error:")')
    assert contract.shapes.args["get_order"]["full"].optional
    assert not contract.shapes.args["get_order"]["order_id"].optional
    returns = contract.shapes.returns["get_order"]
    assert returns is not None
    assert {name: shape.type for name, shape in returns.fields.items()} == {
        "id": "string",
        "total": "number",
        "note": "any",
    }
    assert cancel.name == "cancel-order"
    assert contract.tool_names["cancel-order"] == "cancel_order"
    assert contract.shapes.args["cancel_order"]["order id"].alias == "_order_id"
    assert contract.escalate is not None
    assert contract.escalate.tool == "transfer_to_human_agents"


def test_nothing_is_allowed_beyond_shadow() -> None:
    contract = drafted(Call(tool="delete_all", args={}))
    for capability in contract.capabilities.values():
        assert (capability.autonomy.start, capability.autonomy.ceiling) == ("shadow", "shadow")
    assert small("x").text.count("ceiling: shadow") == 1


def test_every_guess_is_marked() -> None:
    made = draft(learn_tools([Call(tool="find_it", args={"a": 1})]), agent="seen", source="runs.jsonl")
    (effect,) = [line for line in made.text.splitlines() if "effect:" in line]
    assert effect.endswith("# review: guessed from its name, called once")
    assert made.review == made.text.count("# review")


def test_a_contract_from_functions() -> None:
    def find_order(order_id: str, lines: list[dict[str, int]] | None = None) -> dict[str, str]:
        """Find an order: by its id, "quoted" or #not.

        More about it.
        """
        return {"id": f"{order_id}{lines}"}

    contract = Contract.loads(draft(code_tools([find_order]), agent="desk", source="tools").text)
    tool = contract.tools["find_order"]
    assert tool.description == 'Find an order: by its id, "quoted" or #not.'
    lines = contract.shapes.args["find_order"]["lines"]
    assert (lines.type, lines.optional, lines.nullable) == ("array", True, True)


def test_the_small_contract_loads_and_passes_its_own_examples() -> None:
    contract = Contract.loads(small("no: 'quotes' \"here\"").text)
    assert contract.agent == "no: 'quotes' \"here\""
    assert contract.rules[0].examples.caught


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.text(min_size=1, max_size=12) | st.sampled_from(["a.b", "a", "a_b", "reply", "escalate", "no", "type", "1"])
KEYWORDS = st.sampled_from(
    ["type", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "items", "properties", "required",
     "format", "anyOf", "$ref", "description", "default", "multipleOf", "exclusiveMinimum", "additionalProperties"]
)  # fmt: skip
SCHEMAS = st.recursive(
    st.dictionaries(
        KEYWORDS,
        st.sampled_from(["string", "integer", "object", "array", "^[a-z]+$", "^(a+)+$", "email", "#/$defs/x"])
        | st.integers()
        | st.lists(st.text(max_size=5), max_size=3),
        max_size=4,
    ),
    lambda inner: (
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(st.text(max_size=8), inner, max_size=3)}
        )
        | st.fixed_dictionaries({"type": st.just("array"), "items": inner})
    ),
    max_leaves=6,
)
CALLS = st.builds(
    Call,
    tool=NAMES,
    args=st.dictionaries(st.text(min_size=1, max_size=8), JSON, max_size=4),
    result=st.none() | st.text(max_size=12) | JSON.map(json.dumps),
)
GENTLE = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@GENTLE
@given(st.lists(CALLS, min_size=1, max_size=5))
def test_whatever_was_recorded_the_draft_loads(calls: list[Call]) -> None:
    assert drafted(*calls).tools


@GENTLE
@given(
    st.dictionaries(
        NAMES, st.dictionaries(st.text(min_size=1, max_size=8), SCHEMAS, max_size=3), min_size=1, max_size=3
    )
)
def test_whatever_a_tool_declares_the_draft_loads(tools: dict[str, dict[str, Any]]) -> None:
    declared = [
        {"name": name, "description": f"{name} does it", "parameters": {"type": "object", "properties": properties}}
        for name, properties in tools.items()
    ]
    made = draft(code_tools(declared), agent="x", source="tools.json")
    assert len(Contract.loads(made.text).tools) == len(tools)
