"""What rules, levels and budgets make of an action."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.core.clock import VirtualClock
from roadworthy.core.types import Outcome
from roadworthy.gate.carry import NotDone

from .conftest import Calls, Desk, always

Open = Callable[..., Calls]


def test_amounts_are_one_amount_however_they_are_written(tested: Open, desk: Desk) -> None:
    for n, amount in enumerate(("42", "42.00", 42, 42.0)):
        assert tested(id=f"r{n}").ready().refund(amount).ok
    assert [args["amount"] for name, args in desk.did if name == "refund"] == [42, 42, 42, 42]


@pytest.mark.parametrize("amount", ["5,000", "€42", "42 EUR", "NaN", "1e3", True, None, "", "-1", "1000.01"])
def test_an_amount_that_must_be_guessed_is_refused(tested: Open, desk: Desk, amount: object) -> None:
    outcome = tested().ready().refund(amount)
    assert outcome.status == "denied"
    assert "amount" in outcome.text
    assert desk.changes() == []


def test_a_misspelt_argument_is_refused_by_name(tested: Open) -> None:
    outcome = tested().ready()("refund", account_no="1234", invoice_no="7", amuont="1", amount="1")
    assert "do you mean 'amount'?" in outcome.text


def test_a_rule_that_needs_a_look_says_what_to_read(tested: Open) -> None:
    calls = tested()
    calls("find_customer", email="ada@example.com")
    calls("find_account", contact_id="C-001")
    assert "Call get_invoice with the same account_no, invoice_no first" in calls.refund().text
    calls("get_invoice", account_no="1234", invoice_no="7")
    assert calls.refund().ok


def test_a_look_is_judged_by_its_latest_result(tested: Open, desk: Desk) -> None:
    calls = tested().ready()
    desk.answers["get_invoice"] = {"invoice_no": "7", "status": "refunded", "total": "80.00"}
    calls("get_invoice", account_no="1234", invoice_no="7")
    outcome = calls.refund()
    assert outcome.status == "denied"
    assert "Only what was paid can be paid back (rule paid-invoices-only)" in outcome.text


def test_a_second_refund_is_denied_and_the_third_try_goes_to_a_person(tested: Open, desk: Desk) -> None:
    calls = tested().ready()
    assert calls.refund().ok
    assert calls.refund().status == "denied"
    assert calls.refund("43.00").status == "denied"
    assert calls.refund().status == "denied"
    assert calls.run.status == "open"
    assert "a person takes over" in calls.refund().text
    assert calls.run.status == "escalated"
    assert calls("status_page").status == "denied"
    assert desk.changes() == ["refund"]


def test_a_failed_refund_does_not_count_and_one_in_doubt_does(tested: Open, desk: Desk) -> None:
    calls = tested().ready()
    desk.answers["refund"] = NotDone("no such account")
    assert calls.refund().status == "failed"
    desk.answers["refund"] = TimeoutError()
    outcome = calls.refund()
    assert (outcome.status, outcome.done) == ("in_doubt", "executed")
    assert "do not call it again" in outcome.text
    desk.answers["refund"] = {"refund_no": "R1"}
    assert "rule one-refund" in calls.refund().text


def test_asking_holds_the_action_and_the_conversation_goes_on(tested: Open, desk: Desk) -> None:
    calls = tested().ready()
    outcome = calls.refund("60.00")
    assert (outcome.status, outcome.done) == ("held", "held")
    assert "finance must approve this" in outcome.text
    assert calls.run.status == "held"
    assert calls("status_page").ok
    assert calls.refund("60.00").status == "held"
    assert desk.changes() == []


@pytest.mark.parametrize(("answer", "status"), [(True, "ok"), (False, "denied"), (None, "held")])
def test_in_trials_an_approver_may_answer_at_once(tested: Open, desk: Desk, answer: bool | None, status: str) -> None:
    calls = tested(approver=always(answer)).ready()
    assert calls.refund("60.00").status == status
    assert desk.changes() == (["refund"] if answer else [])


def test_clarify_is_stricter_than_asking_and_no_approval_discharges_it(tested: Open, desk: Desk) -> None:
    calls = tested(level="approval", approver=always(True)).ready()
    outcome = calls("send_mail", to="ada@example.com", body="GOOD MORNING TO YOU")
    assert (outcome.status, outcome.done) == ("clarify", "blocked")
    assert "Ask the customer whether they want it in capitals" in outcome.text
    assert desk.changes() == []
    assert calls("send_mail", to="ada@example.com", body="Good morning").ok


def test_a_rule_on_trial_has_no_effect_but_is_recorded(tested: Open, ledger: Ledger) -> None:
    assert tested().ready()("send_mail", to="ada@example.com", body="a voucher for you").ok
    (verdict,) = [e for e in ledger.entries(run="r1", kind="verdict") if "reasons" in e.body]
    assert verdict.body["ruling"] == "allow"
    assert verdict.body["reasons"][0]["rule"] == "on-trial"
    assert verdict.body["reasons"][0]["enforced"] is False


def test_shadow_reads_for_real_and_simulates_the_rest(real: Open, desk: Desk, ledger: Ledger) -> None:
    calls = real(capability="chat", id="s1")
    assert calls("find_customer", email="ada@example.com").ok
    outcome = calls("send_mail", to="ada@example.com", body="hello")
    assert (outcome.status, outcome.done) == ("ok", "simulated")
    assert "nothing was changed" in outcome.text
    assert desk.names() == ["find_customer"]
    assert {e.world for e in ledger.entries(run="s1", kind="intent")} == {"shadow"}
    assert calls.run.say("Your mail is on its way.").done == "simulated"


def test_approval_asks_the_approver_of_the_capability(real: Open, desk: Desk) -> None:
    outcome = real().ready().refund()
    assert outcome.status == "held"
    assert "billing-lead must approve this" in outcome.text
    assert desk.changes() == []


def test_a_tool_in_several_open_capabilities_takes_the_lowest_level(real: Open) -> None:
    calls = real().ready()
    calls.run.open("chat")
    assert calls("send_mail", to="ada@example.com", body="hello").done == "simulated"


def test_without_enforcement_tools_run_and_every_verdict_says_so(
    contract: Contract, ledger: Ledger, desk: Desk
) -> None:
    gate = Gate(contract, ledger, enforce=False)
    calls = Calls(gate.run(id="w1", principal="bot", capability="chat"), desk)
    assert calls("refund", account_no="9999", invoice_no="1", amount="900.00").ok
    assert desk.changes() == ["refund"]
    (verdict,) = ledger.entries(run="w1", kind="verdict")
    assert verdict.body["ruling"] == "deny"
    assert verdict.body["enforce"] is False
    assert not any(reason["enforced"] for reason in verdict.body["reasons"])


@pytest.mark.parametrize("waits", [False, True])
def test_without_enforcement_what_nobody_can_judge_runs_too(
    contract: Contract, ledger: Ledger, desk: Desk, waits: bool
) -> None:
    """An undeclared tool, arguments that do not fit: a team that starts by watching must not lose a call."""
    gate = Gate(contract, ledger, enforce=False)
    run = gate.run(id="w", principal="bot", capability="chat")

    def call(tool: str, args: dict[str, Any]) -> Outcome:
        return asyncio.run(run.acall(tool, args, desk[tool])) if waits else run.call(tool, args, desk[tool])

    for _ in range(3):
        assert call("refund", {"amount": "5,000"}).value == {"refund_no": "R1"}
        assert call("unheard_of", {"x": 1}).ok
    desk.answers["unheard_of"] = TimeoutError()
    assert call("unheard_of", {"x": 1}).status == "in_doubt"
    assert len(desk.did) == 7
    assert desk.did[0] == ("refund", {"amount": "5,000"})
    assert run.status == "open"
    assert {e.body["ruling"] for e in ledger.entries(run="w", kind="verdict")} == {"deny"}
    assert not any(e.body["enforce"] for e in ledger.entries(run="w", kind="verdict"))
    assert len(list(ledger.entries(run="w", kind="intent"))) == len(list(ledger.entries(run="w", kind="outcome"))) == 7
    assert run.state.counts["refund"] == 3


def test_budgets_of_a_run(tested: Open, desk: Desk, clock: VirtualClock) -> None:
    calls = tested().ready()
    for n in range(3):
        assert calls("send_mail", to="ada@example.com", body=f"hello {n}").ok
    outcome = calls("send_mail", to="ada@example.com", body="hello again")
    assert "All 3 changes of this run are used" in outcome.text
    for _ in range(6):
        assert calls("status_page").ok
    assert "All 12 tool calls" in calls("status_page").text
    late = tested(id="late")
    clock.advance(601)
    assert "longer than its 600 s" in late("status_page").text


def test_a_fact_that_was_not_given_denies_what_depends_on_it(ledger: Ledger) -> None:
    contract = Contract.loads(
        """
roadworthy: 1
agent: a
version: "1"
goal: g
owner: {team: t, accountable: x}
facts: {tier: {type: string, enum: [standard, gold]}}
tools: {ring: {effect: write, args: {n: integer}, returns: string}}
capabilities: {c: {means: m, tools: [ring], autonomy: {approver: x}}}
rules:
  - {id: gold-only, tools: [ring], when: 'facts.tier == "standard"', then: deny, because: Only gold.}
"""
    )

    def ring(n: int) -> str:
        return f"rang {n} times"

    for facts, status in ((None, "denied"), ({"tier": "standard"}, "denied"), ({"tier": "gold"}, "ok")):
        gate = Gate(contract, ledger, world="test", tools={"ring": ring})
        assert gate.run(capability="c", facts=facts).call("ring", {"n": 1}).status == status
