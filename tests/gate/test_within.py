"""A tool that is another agent: where the run is suspended in there, it goes on in there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger, Suspended
from roadworthy.adapters.calls import bring, hosting
from roadworthy.audit.redecide import Redeciding
from roadworthy.audit.verify import verify
from roadworthy.gate.run import Run

LAW = """
roadworthy: 1
agent: office
version: "1"
goal: Settle what people want.
owner: {team: Care, accountable: lead}
tools:
  delegate: {effect: EFFECT, args: {task: string}, returns: string}
  refund: {effect: write, args: {no: string}, returns: string}
  note: {effect: write, args: {text: string}, returns: string}
capabilities:
  money:
    means: The user wants money back.
    tools: [delegate, refund, note]
    autonomy: {start: autonomous, ceiling: autonomous, approver: lead}
    success: [{id: one, check: count.refund <= 1}]
rules:
  - id: ask
    tools: [refund]
    when: count.delegate <= 1
    then: ask
    ask: {role: lead, meanwhile: suspend}
    because: The lead signs refunds.
  - id: once
    tools: [delegate]
    when: count.delegate >= 1
    then: deny
    because: It is asked once.
"""


class Desk:
    """An agent that gives its work to another one, whose own calls come to the gate."""

    def __init__(self, *, hosts: bool = True) -> None:
        self.hosts = hosts
        self.did: list[str] = []

    def note(self, text: str) -> str:
        self.did.append(text)
        return "noted"

    def refund(self, no: str) -> str:
        self.did.append(f"paid {no}")
        return "paid"

    def helper(self, run: Run) -> Callable[..., str]:
        def delegate(task: str) -> str:
            run.call("note", {"text": f"began {task}"}, self.note)
            paid = run.call("refund", {"no": "7"}, self.refund)
            run.call("note", {"text": "ended"}, self.note)
            return f"It is {paid.text}."

        def hosted(task: str) -> str:
            with hosting():
                return delegate(task)

        return hosted if self.hosts else delegate

    def job(self, run: Run) -> list[Any]:
        told = bring(run.gate, run, "delegate", {"task": "order 7"}, self.helper(run))
        last = bring(run.gate, run, "note", {"text": "done"}, self.note)
        return [told, last]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "r.db")


def gate_of(ledger: Ledger, effect: str = "write") -> Gate:
    return Gate(Contract.loads(LAW.replace("EFFECT", effect)), ledger)


def suspended(gate: Gate, desk: Desk) -> None:
    with pytest.raises(Suspended):
        desk.job(gate.run(id="r", capability="money", suspendable=True))


def answered(gate: Gate, ruling: Any = "approve") -> None:
    (asked,) = gate.questions()
    gate.answer(asked.id, by="lead", ruling=ruling, because="so")


@pytest.mark.parametrize("effect", ["read", "write"])
def test_it_goes_on_in_there(ledger: Ledger, effect: str) -> None:
    desk = Desk()
    suspended(gate_of(ledger, effect), desk)
    assert desk.did == ["began order 7"]
    answered(gate_of(ledger, effect))
    gate = gate_of(ledger, effect)
    run = gate.resume("r")
    told, last = desk.job(run)
    assert (told.status, told.text) == ("ok", "It is paid.")
    assert last.ok
    assert desk.did == ["began order 7", "paid 7", "ended", "done"]
    assert (run.status, run.replaying) == ("open", False)
    # What it came to is known from here on: a third drive executes nothing.
    again = gate_of(ledger, effect)
    assert [o.text for o in desk.job(again.resume("r"))] == [told.text, last.text]
    assert desk.did == ["began order 7", "paid 7", "ended", "done"]


@pytest.mark.parametrize("effect", ["read", "write"])
def test_it_may_be_suspended_in_there_again(ledger: Ledger, effect: str) -> None:
    desk = Desk()
    suspended(gate_of(ledger, effect), desk)
    with pytest.raises(Suspended):  # nobody has answered yet
        desk.job(gate_of(ledger, effect).resume("r"))
    answered(gate_of(ledger, effect), "deny")
    told, last = desk.job(gate_of(ledger, effect).resume("r"))
    assert told.ok
    assert "lead" in told.text
    assert last.ok
    assert desk.did == ["began order 7", "ended", "done"]


def test_it_counts_once_and_what_counts_goes_on_counting(ledger: Ledger) -> None:
    desk = Desk()
    suspended(gate_of(ledger), desk)
    answered(gate_of(ledger))
    run = gate_of(ledger).resume("r")
    desk.job(run)
    once_more = bring(run.gate, run, "delegate", {"task": "again"}, desk.helper(run))
    assert once_more.status == "denied"
    assert "It is asked once" in once_more.text


def test_a_tool_that_is_more_than_an_agent_is_in_doubt(ledger: Ledger) -> None:
    desk = Desk(hosts=False)
    suspended(gate_of(ledger), desk)
    answered(gate_of(ledger))
    told, _ = desk.job(gate_of(ledger).resume("r"))
    assert told.status == "in_doubt"
    assert desk.did.count("began order 7") == 1


def test_the_ledger_verifies_and_would_be_decided_so_again(ledger: Ledger) -> None:
    desk, gate = Desk(), gate_of(ledger)
    suspended(gate, desk)
    answered(gate)
    desk.job(gate_of(ledger).resume("r"))
    (within,) = [e for e in ledger.entries(run="r", kind="observation") if "within" in e.body]
    (delegated,) = [e for e in ledger.entries(run="r", kind="action") if e.body["tool"] == "delegate"]
    assert within.body["within"] == delegated.body["id"]
    ends = [
        e.body["status"]
        for e in ledger.entries(run="r", kind="outcome")
        if str(e.cause).startswith(delegated.body["id"])
    ]
    assert ends == ["ok"]
    assert verify(ledger).intact
    assert Redeciding(ledger).run("r").same
