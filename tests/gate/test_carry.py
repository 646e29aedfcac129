"""How calls of tools end, blocking and async, and what the model is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import HarnessError, LedgerError, UsageError
from roadworthy.core.types import Draft, Guard
from roadworthy.gate.carry import NotDone

from .conftest import Calls, Desk

Open = Callable[..., Calls]

SLOW = """
roadworthy: 1
agent: slow
version: "1"
goal: g
owner: {team: t, accountable: x}
tools:
  look: {effect: read, args: {}, returns: string, timeout: 50ms}
  push: {effect: write, args: {}, returns: string, timeout: 50ms}
capabilities: {c: {means: m, tools: [look, push], autonomy: {start: autonomous, approver: x}}}
"""


@pytest.mark.parametrize(("tool", "status"), [("look", "failed"), ("push", "in_doubt")])
def test_a_tool_that_does_not_answer_in_time(ledger: Ledger, tool: str, status: str) -> None:
    release = threading.Event()
    gate = Gate(Contract.loads(SLOW), ledger)

    def hang() -> str:
        release.wait(30)
        return "late"

    async def ahang() -> str:
        await asyncio.Event().wait()
        return "never"

    outcome = gate.run(id="b", capability="c").call(tool, {}, hang)
    release.set()
    assert (outcome.status, outcome.done) == (status, "executed")
    outcome = asyncio.run(gate.run(id="a", capability="c").acall(tool, {}, ahang))
    assert (outcome.status, outcome.done) == (status, "executed")
    assert "no answer within 0.05 s" in outcome.text


def test_a_late_answer_on_a_virtual_clock_is_a_timeout(tested: Open, desk: Desk, clock: VirtualClock) -> None:
    calls = tested().ready()

    def slow(**_: Any) -> dict[str, str]:
        clock.advance(2.5)
        return {"refund_no": "R1"}

    desk.answers["refund"] = slow
    assert calls.refund().status == "in_doubt"


class Refused(Exception):
    """As HTTP clients have it: the service turned the call down."""

    status_code = 422


class ReadTimeout(Exception):
    """As HTTP clients have it: no TimeoutError by inheritance."""


@pytest.mark.parametrize(
    ("error", "read", "write"),
    [
        (NotDone("no such thing"), "failed", "failed"),
        (ConnectionRefusedError("nobody there"), "failed", "failed"),
        (Refused(), "failed", "failed"),
        (ValueError("could be anything"), "failed", "in_doubt"),
        (ConnectionResetError("gone"), "failed", "in_doubt"),
        (ReadTimeout("slow"), "failed", "in_doubt"),
        (TimeoutError(), "failed", "in_doubt"),
    ],
)
def test_errors_of_tools_become_outcomes(tested: Open, desk: Desk, error: Exception, read: str, write: str) -> None:
    calls = tested().ready()
    desk.answers["get_invoice"] = error
    assert calls("get_invoice", account_no="1234", invoice_no="7").status == read
    desk.answers["refund"] = error
    assert calls.refund().status == write


def test_failure_that_is_told_in_text(tested: Open, desk: Desk) -> None:
    desk.answers["mail"] = "Error: mailbox full"
    outcome = tested().ready()("send_mail", to="ada@example.com", body="hello")
    assert (outcome.status, outcome.text) == ("failed", "Error: mailbox full")


def test_a_read_that_is_not_what_was_promised_fails_and_a_write_is_in_doubt(tested: Open, desk: Desk) -> None:
    calls = tested().ready()
    desk.answers["get_invoice"] = {"invoice_no": "7", "status": "paid"}
    outcome = calls("get_invoice", account_no="1234", invoice_no="7")
    assert outcome.status == "failed"
    assert "result.total is missing" in outcome.text
    desk.answers["refund"] = "done!"
    outcome = calls.refund()
    assert (outcome.status, outcome.done) == ("in_doubt", "executed")
    assert "Do not call it again" in outcome.text


def test_below_autonomous_an_incomplete_read_is_marked(tested: Open, desk: Desk) -> None:
    calls = tested(level="approval").ready()
    desk.answers["get_invoice"] = {"invoice_no": "7", "status": "paid"}
    outcome = calls("get_invoice", account_no="1234", invoice_no="7")
    assert outcome.ok
    assert "(Incomplete: result.total is missing.)" in outcome.text


@pytest.mark.parametrize("level", ["shadow", "approval", "autonomous"])
def test_a_look_up_that_cannot_be_read_is_never_shown(tested: Open, desk: Desk, level: str) -> None:
    calls = tested(level=level)
    desk.answers["find_customer"] = {"contact_id": "C-002", "iban": "DE99"}
    outcome = calls("find_customer", email="bob@example.com")
    assert (outcome.status, outcome.value) == ("failed", None)
    assert "DE99" not in outcome.text


@pytest.mark.parametrize(
    ("answer", "text"), [({"n": 2**70}, str(2**70)), ({"t": "\ud800"}, "ud800"), ({"t": {1: {2, 3}}}, "[2,3]")]
)
def test_odd_results_are_told_and_recorded(real: Open, desk: Desk, ledger: Ledger, answer: object, text: str) -> None:
    desk.answers["status_page"] = answer
    contract = Contract.loads(SLOW.replace("returns: string", "returns: {type: any}"))
    run = Gate(contract, ledger).run(id="odd", capability="c")
    outcome = run.call("look", {}, desk["status_page"])
    assert outcome.ok
    assert text in outcome.text
    assert [e.kind for e in ledger.entries(run="odd")][-1] == "outcome"


def test_what_cannot_even_be_read_ends_the_call(ledger: Ledger) -> None:
    nest: list[object] = []
    for _ in range(5000):
        nest = [nest]
    for tool, status in (("look", "failed"), ("push", "in_doubt")):
        run = Gate(Contract.loads(SLOW), ledger).run(id=tool, capability="c")
        assert run.call(tool, {}, lambda: nest).status == status
        assert [e.kind for e in ledger.entries(run=tool)][-1] == "outcome"


def test_blocking_and_async_drivers_give_the_same(
    contract: Contract, ledger: Ledger, desk: Desk, clock: VirtualClock
) -> None:
    script: list[tuple[str, dict[str, Any]]] = [
        ("refund", {"account_no": "1234", "invoice_no": "7", "amount": "42"}),
        ("find_customer", {"email": "ada@example.com"}),
        ("find_account", {"contact_id": "C-001"}),
        ("get_invoice", {"account_no": "1234", "invoice_no": "7"}),
        ("refund", {"account_no": "1234", "invoice_no": "7", "amount": "42"}),
        ("refund", {"account_no": "1234", "invoice_no": "7", "amount": "42"}),
        ("send_mail", {"to": "ada@example.com", "body": "a voucher"}),
        ("wipe", {}),
    ]
    gate = Gate(contract, ledger, world="test", clock=clock, tools={n: desk[n] for n in contract.tools})

    async def drive() -> list[Any]:
        run = gate.run(id="async", principal="bot", capability="money_back")
        return [await run.acall(tool, args) for tool, args in script]

    run = gate.run(id="block", principal="bot", capability="money_back")
    assert [run.call(tool, args) for tool, args in script] == asyncio.run(drive())

    def story(run_id: str) -> list[tuple[str, Any]]:
        text = [(e.kind, str(dict(e.body)).replace(run_id, "RUN")) for e in ledger.entries(run=run_id)]
        assert len(text) > 20
        return text

    assert story("block") == story("async")


def test_an_async_tool_in_blocking_code_is_an_error_of_the_caller(real: Open) -> None:
    async def find(email: str) -> dict[str, str]:
        return {"contact_id": "C-001", "email": email}

    with pytest.raises(UsageError, match="acall"):
        real().run.call("find_customer", {"email": "ada@example.com"}, find)


def test_two_refunds_at_once_are_one_refund(tested: Open, desk: Desk) -> None:
    calls = tested().ready()
    meet = threading.Barrier(2)
    desk.answers["refund"] = lambda **_: {"refund_no": "R1"}  # type: ignore[misc]
    outcomes: list[Any] = []

    def go() -> None:
        meet.wait()
        outcomes.append(calls.refund().status)

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["denied", "ok"]
    assert desk.changes() == ["refund"]


def test_two_async_refunds_at_once_are_one_refund(tested: Open, desk: Desk) -> None:
    calls = tested().ready()
    args = {"account_no": "1234", "invoice_no": "7", "amount": "42"}

    async def both() -> list[str]:
        outcomes = await asyncio.gather(calls.run.acall("refund", args), calls.run.acall("refund", args))
        return sorted(o.status for o in outcomes)

    assert asyncio.run(both()) == ["denied", "ok"]
    assert desk.changes() == ["refund"]


def test_a_trial_never_touches_the_real_thing(tested: Open, desk: Desk) -> None:
    calls = tested()
    touched: list[str] = []

    def real_thing(**_: Any) -> dict[str, str]:
        touched.append("!")
        return {"contact_id": "C-666", "email": "x@y.z"}

    assert calls.run.call("find_customer", {"email": "ada@example.com"}, real_thing).value["contact_id"] == "C-001"
    assert touched == []


def test_a_missing_stand_in_is_the_worlds_fault(contract: Contract, ledger: Ledger) -> None:
    run = Gate(contract, ledger, world="test", tools={}).run(principal="bot", capability="chat")
    with pytest.raises(HarnessError, match="no stand-in for status_page"):
        run.call("status_page", {})


def test_a_cancelled_write_is_recorded_as_in_doubt(tested: Open, desk: Desk, ledger: Ledger) -> None:
    calls = tested().ready()
    desk.answers["refund"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        calls.refund()
    (outcome,) = [e for e in ledger.entries(run="r1", kind="outcome") if e.body["status"] == "in_doubt"]
    assert "interrupted" in outcome.body["text"]


class Broken:
    """A ledger that stops taking entries after a while."""

    def __init__(self, ledger: Ledger, after: int) -> None:
        self.ledger = ledger
        self.left = after
        self.id = ledger.id

    def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Any:
        self.left -= 1
        if self.left < 0:
            raise LedgerError("the disk is full")
        return self.ledger.append(drafts, guards)

    async def aappend(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Any:
        return self.append(drafts, guards)

    def entries(self, **kwargs: Any) -> Any:
        return self.ledger.entries(**kwargs)

    def controls(self, after: int = 0) -> Any:
        return self.ledger.controls(after)


def test_nothing_is_done_that_cannot_be_written_down(contract: Contract, ledger: Ledger, desk: Desk) -> None:
    run = Gate(contract, Broken(ledger, after=1)).run(principal="bot", capability="chat")
    outcome = run.call("status_page", {}, desk["status_page"])
    assert (outcome.status, outcome.done) == ("denied", "blocked")
    assert "the disk is full" in outcome.text
    assert desk.did == []
    assert asyncio.run(run.acall("status_page", {}, desk["status_page"])).status == "denied"
    assert run.say("hello").status == "denied"
    assert run.escalate("help").status == "denied"


def test_an_outcome_that_cannot_be_written_is_in_doubt(contract: Contract, ledger: Ledger, desk: Desk) -> None:
    run = Gate(contract, Broken(ledger, after=2)).run(principal="bot", capability="chat")
    outcome = run.call("status_page", {}, desk["status_page"])
    assert (outcome.status, outcome.done) == ("in_doubt", "executed")
    assert desk.names() == ["status_page"]
