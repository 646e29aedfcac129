"""Conditions work with the protobuf that AutoGen pins, too: messages, wrappers, maps and values without a type."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import google.protobuf
import pytest

from roadworthy.contract.conditions import conditions_of
from roadworthy.contract.model import Contract

pytestmark = pytest.mark.frameworks

CONDITIONS = [
    "args.amount > 49.99 && add(args.amount, 0.01) == 50.01",
    'has(args.note) && args.note == "x"',
    "!has(args.fee) && args.address.door == 7",
    'args.stock["a"].price < 2.00 && args.lines.exists(l, l.price == 0.10)',
    "int(args.free.deep[0]) == 1 && now > timestamp('2020-01-01T00:00:00Z')",
    'total(args.lines, "price") == 0.30 && count.pay == 1',
]


def test_the_pinned_protobuf_is_an_old_one() -> None:
    assert int(google.protobuf.__version__.split(".")[0]) < 7


@pytest.mark.parametrize("when", CONDITIONS)
def test_conditions_hold_by_cel_and_by_python(when: str) -> None:
    price = {"type": "object", "properties": {"price": "decimal"}}
    args = {
        "amount": "decimal",
        "note": {"type": "string", "optional": True},
        "fee": {"type": "decimal", "optional": True},
        "address": {"type": "object", "properties": {"door": "integer"}},
        "stock": {"type": "object", "additionalProperties": price},
        "lines": {"type": "array", "items": price},
        "free": "any",
    }
    contract = Contract.model_validate(
        {
            "roadworthy": 1,
            "agent": "desk",
            "version": "1",
            "goal": "Pay.",
            "owner": {"team": "Finance", "accountable": "cfo"},
            "tools": {"pay": {"effect": "write", "args": args, "returns": "string"}},
            "capabilities": {"paying": {"means": "Pay.", "tools": ["pay"]}},
            "rules": [{"id": "r", "tools": ["pay"], "when": when, "then": "deny", "because": "It is so."}],
        }
    )
    conditions = conditions_of(contract)
    binding = conditions.bind(
        "pay",
        args={
            "amount": Decimal(50),
            "note": "x",
            "address": {"door": 7},
            "stock": {"a": {"price": Decimal("1.5")}},
            "lines": [{"price": Decimal("0.1")}, {"price": Decimal("0.2")}],
            "free": {"deep": [1]},
        },
        facts={},
        heard="",
        now=datetime(2026, 1, 1, tzinfo=UTC),
        counts={"pay": 1},
        sums={},
        given={},
    )
    condition = conditions.rules["r"]
    assert condition.holds(binding) is True
    assert all(program.ask_cel(binding) is True for program in condition.programs)
