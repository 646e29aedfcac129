"""Runs: opened, opened again, stopped, handed over; the user's words and the reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.core.errors import UsageError
from roadworthy.gate.run import Run, current_run

from .conftest import Calls, Desk

Open = Callable[..., Calls]


def test_a_call_leaves_its_story(tested: Open, ledger: Ledger) -> None:
    calls = tested()
    calls.run.heard("I am ada@example.com")
    calls("find_customer", email="ada@example.com")
    entries = list(ledger.entries(run="r1"))
    assert [e.kind for e in entries] == ["run", "heard", "action", "verdict", "intent", "outcome"]
    assert [e.run_seq for e in entries] == [1, 2, 3, 4, 5, 6]
    action, outcome = entries[2], entries[5]
    assert action.body["args"] == {"email": "ada@example.com"}
    assert outcome.cause == action.body["id"]
    assert outcome.body["value"] == {"contact_id": "C-001", "email": "ada@example.com"}
    assert entries[0].body["contract"] == calls.run.gate.contract.digest


def test_the_contract_stands_in_the_ledger_once(real: Open, ledger: Ledger, contract: Contract) -> None:
    real(id="a")
    real(id="b")
    (entry,) = ledger.entries(kind="contract")
    assert entry.body["digest"] == contract.digest
    assert entry.body["owner"]["accountable"] == "care-lead"


def test_a_run_is_opened_again_where_it_was(contract: Contract, ledger: Ledger, desk: Desk, tmp_path: Path) -> None:
    def open_run(on: Ledger) -> Calls:
        gate = Gate(contract, on, world="test", tools={n: desk[n] for n in contract.tools})
        return Calls(gate.run(id="r", principal="bot", capability="money_back", facts={"tier": "gold"}), desk)

    first = open_run(ledger).ready()
    first.run.heard("my money, please")
    assert first.refund().ok
    first.refund()
    ledger.close()
    with Ledger.open(tmp_path / "runs.db") as again:
        second = open_run(again)
        a, b = first.run.state, second.run.state
        for name in a.__slots__:
            if name not in ("policy", "started"):
                assert getattr(a, name) == getattr(b, name), name
        assert b.started == a.started
        assert second.run.subject == "C-001"
        assert second.refund("41.00").status == "denied"
        assert desk.changes() == ["refund"]
        ids = [e.body["id"] for e in again.entries(run="r", kind="action")]
        assert len(ids) == len(set(ids))


def test_a_run_opened_again_keeps_principal_and_subject(contract: Contract, ledger: Ledger) -> None:
    gate = Gate(contract, ledger)
    gate.run(id="r", principal="bot", subject="C-001")
    with pytest.raises(UsageError, match="belongs to principal 'bot'"):
        gate.run(id="r", principal="reader")
    with pytest.raises(UsageError, match="never changes its subject"):
        gate.run(id="r", principal="bot", subject="C-002")
    assert gate.run(id="r", principal="bot").subject == "C-001"


def test_held_and_escalated_runs_stay_so(tested: Open, desk: Desk) -> None:
    held = tested(id="held").ready()
    held.refund("60.00")
    assert tested(id="held").run.status == "held"
    handed = tested(id="handed")
    handed.run.escalate("too hard")
    again = tested(id="handed")
    assert (again.run.status, again.run.status_why) == ("escalated", "too hard")
    assert again("status_page").status == "denied"


def test_a_stop_bites_at_the_next_decision_of_every_gate(
    contract: Contract, ledger: Ledger, desk: Desk, tmp_path: Path
) -> None:
    calls = Calls(Gate(contract, ledger).run(principal="bot", capability=["money_back", "chat"]), desk)
    assert calls("status_page").ok
    with Ledger.open(tmp_path / "runs.db") as other:
        Gate(contract, other).stop("money_back", because="wrong refunds", by="care-lead")
        calls("find_customer", email="ada@example.com")
        outcome = calls("find_account", contact_id="C-001")
        assert outcome.status == "denied"
        assert "wrong refunds, by care-lead" in outcome.text
        assert calls("status_page").ok
        Gate(contract, other).stop(because="all of it", by="care-lead")
        assert "The agent was stopped" in calls("status_page").text
        Gate(contract, other).lift(because="mended", by="care-lead")
        Gate(contract, other).lift("money_back", because="mended", by="care-lead")
        assert calls("status_page").ok
        assert calls("find_account", contact_id="C-001").ok


def test_a_stop_written_between_decision_and_intent_bites(contract: Contract, ledger: Ledger, desk: Desk) -> None:
    gate = Gate(contract, ledger)

    class Meddled:
        """Somebody stops the agent just before our intent is written."""

        id = ledger.id

        def append(self, drafts: Any, guards: Any = ()) -> Any:
            if any(d.kind == "intent" for d in drafts):
                gate.stop(because="now", by="care-lead")
            return ledger.append(drafts, guards)

        async def aappend(self, drafts: Any, guards: Any = ()) -> Any:
            return self.append(drafts, guards)

        def entries(self, **kwargs: Any) -> Any:
            return ledger.entries(**kwargs)

        def controls(self, after: int = 0) -> Any:
            return ledger.controls(after)

    run = Gate(contract, Meddled()).run(principal="bot", capability="chat")
    assert run.call("status_page", {}, desk["status_page"]).status == "denied"
    assert desk.did == []


def test_a_stop_names_who_and_why_and_what_exists(contract: Contract, ledger: Ledger) -> None:
    gate = Gate(contract, ledger)
    with pytest.raises(UsageError, match="who and why"):
        gate.stop(because=" ", by="me")
    with pytest.raises(UsageError, match="no capability 'refunds'"):
        gate.stop("refunds", because="x", by="me")


def test_the_user_is_asked_and_heard(tested: Open, ledger: Ledger) -> None:
    asked: list[str] = []

    def channel(question: str) -> str | None:
        asked.append(question)
        return "the blue one" if len(asked) == 1 else None

    run = tested(ask_user=channel).run
    answer = run.ask_user("Which one?")
    assert (answer.status, answer.value) == ("ok", "the blue one")
    assert run.state.words == "the blue one"
    assert run.ask_user("Sure?").status == "failed"
    assert [e.body["text"] for e in ledger.entries(run="r1", kind="said")] == ["Which one?", "Sure?"]


def test_async_code_hears_says_and_hands_over(tested: Open, ledger: Ledger, desk: Desk) -> None:
    async def chat() -> Calls:
        calls = tested()
        await calls.run.aheard("help me")
        assert (await calls.run.asay("at once")).ok
        desk.answers["hand_over"] = TimeoutError()
        assert (await calls.run.aescalate("nobody answers")).ok
        return calls

    calls = asyncio.run(chat())
    assert (calls.run.state.words, calls.run.status) == ("help me", "escalated")
    kinds = [e.kind for e in ledger.entries(run="r1")]
    assert kinds == ["run", "heard", "said", "action", "verdict", "intent", "outcome", "handover"]


def test_without_a_channel_the_question_becomes_the_reply(tested: Open) -> None:
    outcome = asyncio.run(tested().run.aask_user("Which one?"))
    assert (outcome.status, outcome.value) == ("clarify", "Which one?")


def test_handing_over_ends_the_run_and_tells_who_takes_over(tested: Open, desk: Desk, ledger: Ledger) -> None:
    calls = tested()
    assert calls.run.escalate("a legal matter").ok
    assert desk.did == [("hand_over", {"reason": "a legal matter"})]
    (entry,) = ledger.entries(run="r1", kind="handover")
    assert entry.body == {"to": "care-oncall", "reason": "a legal matter"}
    assert calls.run.status == "escalated"
    assert calls.run.escalate("again").status == "denied"
    assert calls.run.say("A colleague will write to you.").ok


def test_the_model_may_hand_over_by_the_tool_itself(tested: Open) -> None:
    calls = tested()
    assert calls("hand_over", reason="help").ok
    assert calls.run.status == "escalated"


def test_a_closed_run_is_over(tested: Open) -> None:
    calls = tested()
    calls.run.close("the chat ended")
    assert "the chat ended" in calls("status_page").text
    assert tested().run.status == "closed"


def test_a_bound_run_is_found_and_let_go(tested: Open) -> None:
    outer = tested(id="outer").run
    assert current_run() is None
    with outer.bind():
        inner = tested(id="inner").run

        async def within() -> Run | None:
            with inner.bind():
                return await asyncio.to_thread(current_run)

        assert asyncio.run(within()) is inner
        assert current_run() is outer
    assert current_run() is None


def test_the_contract_in_the_ledger_is_the_contract(real: Open, ledger: Ledger, contract: Contract) -> None:
    real()
    (entry,) = ledger.entries(kind="contract")
    assert Contract.model_validate(entry.body["contract"]).digest == contract.digest
