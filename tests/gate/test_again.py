"""What came of a call that a framework makes once more; and which way a run went."""

from __future__ import annotations

from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.gate.run import Run

CONTRACT = """
roadworthy: 1
agent: shop
version: "1"
goal: Settle what customers want.
owner: {team: Care, accountable: lead}
tools:
  pay: {effect: write, args: {no: string, amount: {type: decimal, min: "0.01", max: "500.00"}}, returns: string}
capabilities:
  all:
    means: The customer wants something.
    tools: [pay]
    autonomy: {start: autonomous, ceiling: autonomous, approver: lead}
    success: [{id: one-at-most, check: count.pay <= 1}]
rules:
  - {id: never-x, tools: [pay], when: args.no == "x", then: deny, because: X is never paid.}
  - {id: ask-y, tools: [pay], when: args.no == "y", then: ask, because: Y is for the lead.}
"""


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.open(":memory:")


@pytest.fixture
def run(ledger: Ledger) -> Run:
    return Gate(Contract.loads(CONTRACT), ledger).run(id="r", capability="all")


def pay(no: str, amount: Any) -> str:
    return f"paid {no}"


def lost(no: str, amount: Any) -> str:
    raise TimeoutError("no answer")


def test_a_call_of_the_same_id_and_arguments_comes_back(run: Run) -> None:
    run.call("pay", {"no": "1", "amount": "5"}, pay, call_id="c")
    found = run.made_before("pay", {"no": "1", "amount": 5.00}, "c")
    assert found is not None
    assert (found.status, found.value) == ("ok", "paid 1")


@pytest.mark.parametrize(
    ("no", "amount", "call_id"), [("1", "5", "d"), ("2", "5", "c"), ("1", "6", "c"), ("1", "never", "c")]
)
def test_another_one_does_not(run: Run, no: str, amount: str, call_id: str) -> None:
    run.call("pay", {"no": "1", "amount": "5"}, pay, call_id="c")
    assert run.made_before("pay", {"no": no, "amount": amount}, call_id) is None


def test_a_later_turn_is_another_one(run: Run) -> None:
    run.heard("pay 1")
    run.call("pay", {"no": "1", "amount": "5"}, pay, call_id="c")
    run.heard("again")
    assert run.made_before("pay", {"no": "1", "amount": "5"}, "c") is None


def test_what_is_in_doubt_stays_so(run: Run) -> None:
    run.call("pay", {"no": "1", "amount": "5"}, lost, call_id="a")
    found = run.made_before("pay", {"no": "1", "amount": "5"}, "a")
    assert found is not None
    assert found.status == "in_doubt"


def test_what_waits_for_a_person_is_asked_about_once(run: Run) -> None:
    for _ in range(2):
        assert run.made_before("pay", {"no": "y", "amount": "5"}, "b") is None
        assert run.call("pay", {"no": "y", "amount": "5"}, pay, call_id="b").done == "held"
    assert len(run.gate.questions()) == 1


def test_what_was_refused_or_has_failed_is_judged_anew(run: Run) -> None:
    run.call("pay", {"no": "x", "amount": "5"}, pay, call_id="a")
    assert run.made_before("pay", {"no": "x", "amount": "5"}, "a") is None
    assert run.made_before("send", {"no": "x"}, "a") is None


def test_it_is_known_in_another_process_and_nothing_is_written(run: Run, ledger: Ledger) -> None:
    run.call("pay", {"no": "1", "amount": "5"}, pay, call_id="c")
    before = len(list(ledger.entries(run="r")))
    other = Gate(Contract.loads(CONTRACT), ledger).run(id="r")
    found = other.made_before("pay", {"no": "1", "amount": "5"}, "c")
    assert found is not None
    assert found.ok
    assert len(list(ledger.entries(run="r"))) == before


def test_the_way_that_a_run_went_is_written_once(ledger: Ledger) -> None:
    gate = Gate(Contract.loads(CONTRACT), ledger)
    way = [{"node": "model"}, {"node": "tools", "calls": ["c"]}]
    gate.run(id="s", capability="all", suspendable=True).went(way, source="langgraph")
    again = gate.resume("s")
    again.went(way, source="langgraph")
    paths = [e.body["path"] for e in ledger.entries(run="s", kind="observation")]
    assert paths == [way]
    again.went(way, source="langgraph")
    assert len(list(ledger.entries(run="s", kind="observation"))) == 2
