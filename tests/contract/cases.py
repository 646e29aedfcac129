"""A contract whose one tool has an argument of every kind, for the tests of conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from roadworthy.contract.conditions import Binding, Conditions, compile_conditions
from roadworthy.contract.model import Contract

NOW = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)

_OPTIONAL_DECIMAL = {"type": "decimal", "optional": True}
_LINE = {"type": "object", "properties": {"price": "decimal", "text": "string", "off": _OPTIONAL_DECIMAL}}
_ADDRESS = {"zip": "string", "door": {"type": "integer", "optional": True}}
ARGS: Mapping[str, Any] = {
    "amount": {"type": "decimal", "min": "0.00", "max": "10000.00"},
    "fee": _OPTIONAL_DECIMAL,
    "iban": {"type": "string", "pattern": "DE[0-9]{4}"},
    "name": "string",
    "note": {"type": "string", "optional": True},
    "left": {"type": "string", "nullable": True},
    "kind": {"type": "string", "enum": ["paid", "open", "refunded"]},
    "parts": "integer",
    "ratio": "number",
    "urgent": "boolean",
    "tags": {"type": "array", "items": "string"},
    "codes": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
    "extras": {"type": "array", "items": "string", "optional": True},
    "lines": {"type": "array", "items": _LINE},
    "prices": {"type": "object", "additionalProperties": "decimal"},
    "stock": {"type": "object", "additionalProperties": {"type": "object", "properties": {"price": "decimal"}}},
    "cards": {
        "type": "object",
        "additionalProperties": {"type": "object", "properties": {"balance": _OPTIONAL_DECIMAL}},
    },
    "address": {"type": "object", "optional": True, "properties": _ADDRESS},
    "grid": {"type": "array", "items": {"type": "array", "items": "string"}},
    "free": "any",
    "for": "string",
    "in": "string",
    "zip-code": {"type": "string", "as": "zip_code"},
    "un spoken": "string",
}
"""Every kind of type that an argument can have."""

VALUES: Mapping[str, Any] = {
    "amount": Decimal("50.00"),
    "iban": "DE1234",
    "name": "Ada",
    "left": None,
    "kind": "paid",
    "parts": 3,
    "ratio": 0.5,
    "urgent": False,
    "tags": ["new", "vip"],
    "codes": ["a"],
    "lines": [{"price": Decimal("0.10"), "text": "x"}, {"price": Decimal("0.20"), "text": "y", "off": Decimal("0.05")}],
    "prices": {"one": Decimal("1.10")},
    "stock": {"s1": {"price": Decimal("9.99")}},
    "cards": {"a": {"balance": Decimal("5.01")}, "Ada": {}},
    "grid": [["u"]],
    "free": {"deep": [1, "two", None]},
    "for": "f",
    "in": "i",
    "zip-code": "10115",
    "un spoken": "",
}
"""Arguments as the gate types them, without the optional ones."""


def contract(rules: Sequence[Mapping[str, Any]] = (), **more: Any) -> Contract:
    """A contract of one paying and one reading tool."""
    return Contract.model_validate(
        {
            "roadworthy": 1,
            "agent": "desk",
            "version": "1",
            "goal": "Pay what is due.",
            "owner": {"team": "Finance", "accountable": "cfo"},
            "zone": "Europe/Berlin",
            "facts": {"tier": {"type": "string", "enum": ["standard", "gold"]}, "limit": "decimal"},
            "tools": {
                "pay.now": {"effect": "write", "args": ARGS, "returns": "string"},
                "pay.look": {
                    "effect": "read",
                    "args": {"id": "string"},
                    "returns": {
                        "status": {"type": "string", "enum": ["paid", "open"]},
                        "total": "decimal",
                        "note": {"type": "string", "nullable": True},
                    },
                },
                "pay.raw": {"effect": "read", "args": {}},
            },
            "capabilities": {"paying": {"means": "Pay.", "tools": ["pay.now", "pay.look", "pay.raw"]}},
            "rules": [{"tools": ["pay.now"], "then": "deny", "because": "It is so.", **rule} for rule in rules],
            **more,
        }
    )


def rule(when: str | None = None, **more: Any) -> dict[str, Any]:
    """A rule about paying that may look at what was read last."""
    return {"id": "r", "with": {"seen": {"call": "pay.look"}}, **({} if when is None else {"when": when}), **more}


def compiled(when: str, **more: Any) -> Conditions:
    """The conditions of a contract with one rule. Fails where something is wrong with it."""
    made = contract([rule(when, **more)])
    conditions, findings = compile_conditions(made, made.shapes)
    assert not findings, findings[0].text
    return conditions


def faults(when: str, **more: Any) -> list[str]:
    """What is wrong with one rule."""
    made = contract([rule(when, **more)])
    return [finding.text for finding in compile_conditions(made, made.shapes)[1]]


def bind(conditions: Conditions, **given: Any) -> Binding:
    """The values for a payment, with single arguments replaced by name."""
    args = {**VALUES, **given.pop("args", {})}
    whole: dict[str, Any] = {
        "facts": {"tier": "gold", "limit": Decimal("100.00")},
        "heard": "please refund me",
        "now": NOW,
        "counts": {"pay.now": 2},
        "sums": {("pay.now", "amount"): Decimal("70.10"), ("pay.now", "parts"): Decimal(7)},
        "given": {"r/seen": {"status": "paid", "total": Decimal("80.00"), "note": None}},
        **given,
    }
    return conditions.bind("pay.now", args=args, **whole)


def holds(when: str, **given: Any) -> bool:
    """Whether a rule fires on the payment."""
    conditions = compiled(when)
    return conditions.rules["r"].holds(bind(conditions, **given))
