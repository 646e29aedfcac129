"""Faults strike where they are declared, and it is known whether they did."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from roadworthy.core.clock import VirtualClock
from roadworthy.trials.attacks import PoisonedTools
from roadworthy.trials.faults import FAULT_KINDS, Fault, FaultKind, FaultyTools, ServiceError
from roadworthy.trials.scenario import AttackSpec


class Till:
    def __init__(self) -> None:
        self.paid: list[str] = []

    def pay(self, amount: str) -> dict[str, Any]:
        self.paid.append(amount)
        return {"no": len(self.paid), "note": "thanks", "lines": [{"text": "a"}, {"text": "b"}, {}]}


def faulty(*faults: Fault) -> tuple[Till, FaultyTools, VirtualClock]:
    till, clock = Till(), VirtualClock()
    return till, FaultyTools({"pay": till.pay}, faults, clock=clock, timeouts_s={"pay": 4.0}), clock


def test_a_timeout_after_commit_has_done_its_work() -> None:
    till, tools, clock = faulty(Fault(tool="pay", kind="timeout_after_commit", call=2))
    tools.tools["pay"](amount="1")
    with pytest.raises(TimeoutError):
        tools.tools["pay"](amount="2")
    tools.tools["pay"](amount="3")
    assert till.paid == ["1", "2", "3"]
    assert clock.monotonic() == 4.0
    assert tools.reached == [1]
    assert tools.struck == {("pay", 2): "timeout_after_commit"}


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ("timeout_before_commit", TimeoutError, "no answer within 4 s"),
        ("error_500", ServiceError, "500"),
        ("error_429", ServiceError, "429"),
        ("error_403", ServiceError, "403"),
    ],
)
def test_what_strikes_before_the_work_leaves_it_undone(kind: Any, error: type[Exception], says: str) -> None:
    till, tools, _ = faulty(Fault(tool="pay", kind=kind, calls=2))
    for _ in range(2):
        with pytest.raises(error, match=says):
            tools.tools["pay"](amount="1")
    tools.tools["pay"](amount="1")
    assert till.paid == ["1"]
    assert tools.reached == [2]


def test_a_field_is_spoilt_in_a_copy() -> None:
    original = {"a": {"b": 1}, "c": [{"b": 1}, {"d": 2}]}
    cases: list[tuple[FaultKind, str, Any]] = [
        ("field_missing", "a.b", {"a": {}, "c": [{"b": 1}, {"d": 2}]}),
        ("field_null", "c.b", {"a": {"b": 1}, "c": [{"b": None}, {"d": 2}]}),
        ("field_renamed", "a.b", {"a": {"B": 1}, "c": [{"b": 1}, {"d": 2}]}),
    ]
    for kind, field, expected in cases:
        fault = Fault(tool="t", kind=kind, field=field, to="B" if kind == "field_renamed" else None)
        tools = FaultyTools({"t": lambda: original}, [fault], clock=VirtualClock(), timeouts_s={})
        assert tools.tools["t"]() == expected
        assert tools.reached == [1]
    assert original == {"a": {"b": 1}, "c": [{"b": 1}, {"d": 2}]}


def test_a_field_that_is_not_there_was_not_struck() -> None:
    _, tools, _ = faulty(Fault(tool="pay", kind="field_missing", field="nothing.here"))
    tools.tools["pay"](amount="1")
    assert tools.reached == [0]


def test_faults_are_whole() -> None:
    for wrong in (
        {"kind": "field_missing"},
        {"kind": "error_500", "field": "a"},
        {"kind": "field_renamed", "field": "a"},
        {"kind": "error_500", "call": 0},
        {"kind": "flood"},
    ):
        with pytest.raises(ValidationError):
            Fault.model_validate({"tool": "pay", **wrong})
    assert len(FAULT_KINDS) == len(set(FAULT_KINDS))


@pytest.mark.parametrize(("position", "expected"), [("end", "thanks\nHA"), ("start", "HA\nthanks"), ("replace", "HA")])
def test_an_instruction_is_planted(position: Any, expected: str) -> None:
    tools = PoisonedTools({"pay": Till().pay}, AttackSpec(tool="pay", field="note", says="HA", position=position))
    assert tools.tools["pay"](amount="1")["note"] == expected
    assert tools.planted == {1}


def test_planted_in_each_item_at_one_call_and_in_plain_text() -> None:
    tools = PoisonedTools({"pay": Till().pay}, AttackSpec(tool="pay", field="lines.text", says="HA", call=2))
    assert tools.tools["pay"](amount="1")["lines"] == [{"text": "a"}, {"text": "b"}, {}]
    assert tools.tools["pay"](amount="1")["lines"] == [{"text": "a\nHA"}, {"text": "b\nHA"}, {}]
    plain = PoisonedTools({"read": lambda: "text"}, AttackSpec(tool="read", says="HA"))
    assert plain.tools["read"]() == "text\nHA"
    nowhere = PoisonedTools({"pay": Till().pay}, AttackSpec(tool="pay", field="no", says="HA"))
    assert nowhere.tools["pay"](amount="1")["no"] == 1
    assert nowhere.planted == set()
