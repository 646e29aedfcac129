"""What people have decided comes to an agent that is driven again as the result of its call, and in no other way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger, Suspended
from roadworthy.adapters.conformance.shop import CONTRACT, SUSPENDING, Shop
from roadworthy.audit.redecide import Redeciding

BIG = {"order_no": "7", "amount": 51}


def call(run: Any, shop: Shop, **args: Any) -> str:
    return run.call("shop.refund", {**BIG, **args}, shop.functions()["shop_refund"]).text


def answer(gate: Gate, ruling: Any, **more: Any) -> None:
    (asked,) = gate.questions()
    gate.answer(asked.id, by="shop-lead", ruling=ruling, **more)


def suspended(gate: Gate, shop: Shop) -> None:
    run = gate.run(id="r", capability="refunds", suspendable=True)
    with pytest.raises(Suspended):
        call(run, shop)


class TestEdited:
    def test_the_call_does_what_the_person_wrote_and_says_so(self, tmp_path: Path) -> None:
        ledger = Ledger.open(tmp_path / "runs.db")
        gate, shop = Gate(Contract.loads(SUSPENDING), ledger), Shop()
        suspended(gate, shop)
        answer(gate, "edit", args={"order_no": "7", "amount": "40.00", "note": "in part"})
        told = call(gate.resume("r"), shop)
        assert shop.did == [("refund", {"order_no": "7", "amount": 40})]
        assert "R-7" in told
        assert "A person wrote other arguments for it: amount 40, note 'in part'." in told
        assert call(gate.resume("r"), shop) == told
        assert len(shop.did) == 1
        assert Redeciding(ledger).run("r").same

    def test_what_the_person_wrote_is_judged_and_may_be_refused(self) -> None:
        gate, shop = Gate(Contract.loads(SUSPENDING), Ledger.open(":memory:")), Shop()
        suspended(gate, shop)
        answer(gate, "edit", args={"order_no": "frozen", "amount": "40.00"})
        told = call(gate.resume("r"), shop)
        assert "This order is frozen" in told
        assert shop.did == []
        assert call(gate.resume("r"), shop) == told

    def test_in_a_talk_that_went_on_the_news_say_so(self) -> None:
        gate, shop = Gate(Contract.loads(CONTRACT), Ledger.open(":memory:")), Shop()
        run = gate.run(id="r", capability="refunds")
        call(run, shop)
        answer(gate, "edit", args={"order_no": "7", "amount": "40.00"})
        run.heard("And?")
        (told,) = run.news()
        assert "A person wrote other arguments for it: amount 40." in told


class TestNews:
    def test_what_is_the_result_of_a_call_is_told_once(self) -> None:
        gate, shop = Gate(Contract.loads(SUSPENDING), Ledger.open(":memory:")), Shop()
        suspended(gate, shop)
        answer(gate, "approve")
        for _ in range(2):
            run = gate.resume("r")
            assert run.news() == []
            assert "R-7" in call(run, shop)
            assert run.news() == []

    def test_it_is_told_where_the_gate_has_the_tools_too(self) -> None:
        shop = Shop()
        tools = {"shop.refund": shop.functions()["shop_refund"]}
        gate = Gate(Contract.loads(SUSPENDING), Ledger.open(":memory:"), tools=tools)
        suspended(gate, shop)
        answer(gate, "approve")
        run = gate.resume("r")
        assert shop.did == [("refund", BIG)]
        assert run.news() == []
        assert "R-7" in call(run, shop)
        assert run.news() == []

    def test_a_talk_that_went_on_is_told_the_same_at_the_same_turn(self) -> None:
        gate, shop = Gate(Contract.loads(CONTRACT), Ledger.open(":memory:")), Shop()

        def turns(run: Any) -> list[list[str]]:
            """A refund that is held in the first turn, and done when the user speaks again."""
            run.heard("51 euro back")
            told = [run.news()]
            call(run, shop)
            if gate.questions():
                answer(gate, "approve")
            run.heard("And?")
            told.append(run.news())
            call(run, shop, order_no="8", amount=20)
            run.heard("Thanks.")
            return [*told, run.news()]

        first = turns(gate.run(id="r", capability="refunds", suspendable=True))
        assert [len(told) for told in first] == [0, 1, 0]
        assert turns(gate.resume("r")) == first
        assert turns(gate.resume("r")) == first
        assert [args["order_no"] for _, args in shop.did] == ["7"]


class TestBeside:
    def test_a_call_that_came_when_the_run_had_stopped_is_judged_when_it_goes_on(self, tmp_path: Path) -> None:
        ledger = Ledger.open(tmp_path / "runs.db")
        gate, shop = Gate(Contract.loads(SUSPENDING), ledger), Shop()

        def note(run: Any) -> Any:
            return run.call("shop.notify", {"text": "hello"}, shop.functions()["send_note"])

        suspended(gate, shop)
        run = gate.run(id="r")
        assert note(run).status == "denied"
        assert note(gate.resume("r")).status == "denied"
        answer(gate, "approve")
        for _ in range(2):
            run = gate.resume("r")
            assert "R-7" in call(run, shop)
            assert note(run).text == "sent"
        assert shop.did == [("refund", BIG), ("notify", {"text": "hello"})]
        assert Redeciding(ledger).run("r").same


LOOKED = """
roadworthy: 1
agent: shop
version: "1"
goal: Pay what is due.
owner: {team: Care, accountable: care-lead}
tools:
  look: {effect: read, args: {}, returns: string}
  pay: {effect: write, args: {amount: integer}, returns: string}
  ship: {effect: write, args: {amount: integer}, returns: string}
capabilities:
  bills:
    means: Something is due.
    tools: [look, pay, ship]
    autonomy: {start: autonomous, ceiling: autonomous, approver: lead}
    success: [{id: few, check: count.pay <= 9}]
rules:
  - {id: unseen, tools: [pay], when: count.look == 0, then: ask, ask: {role: lead}, because: Nobody has looked.}
  - {id: much, tools: [ship], when: args.amount > 1, then: ask, ask: {role: lead, meanwhile: suspend}, because: Much.}
"""


class Bills:
    """An agent that pays, looks, and ships; nobody would be asked about its payment once it has looked."""

    def __init__(self, *, tools: bool = False) -> None:
        self.did: list[tuple[str, Any]] = []
        functions = {name: self.function(name) for name in ("look", "pay", "ship")}
        self.ledger = Ledger.open(":memory:")
        self.gate = Gate(Contract.loads(LOOKED), self.ledger, tools=functions if tools else None)
        self.run = self.gate.run(id="r", capability="bills", suspendable=True)

    def function(self, name: str) -> Any:
        def done(**args: Any) -> str:
            self.did.append((name, args.get("amount")))
            return "done"

        return done

    def drive(self, run: Any) -> list[str]:
        told: list[str] = []
        for tool, args in (("pay", {"amount": 1}), ("look", {}), ("ship", {"amount": 5})):
            told.append(run.call(tool, args, self.function(tool)).text)
        return told

    def suspend(self) -> None:
        with pytest.raises(Suspended):
            self.drive(self.run)

    def answer(self, tool: str, ruling: Any, **more: Any) -> None:
        (asked,) = (one for one in self.gate.questions() if one.tool == tool)
        self.gate.answer(asked.id, by="lead", ruling=ruling, **more)


class TestAnsweredBetweenResumeAndCall:
    def test_a_no_is_a_no_though_nobody_would_be_asked_now(self) -> None:
        bills = Bills()
        bills.suspend()
        bills.answer("ship", "approve")
        run = bills.gate.resume("r")
        bills.answer("pay", "deny")
        told = bills.drive(run)
        assert told[0] == "lead said no to pay."
        assert bills.did == [("look", None), ("ship", 5)]
        assert bills.drive(bills.gate.resume("r")) == told
        assert Redeciding(bills.ledger).run("r").same

    @pytest.mark.parametrize("ruling", ["approve", "edit", "deny"])
    def test_what_the_run_waits_for_is_done_as_it_was_decided(self, ruling: Any) -> None:
        ledger = Ledger.open(":memory:")
        gate, shop = Gate(Contract.loads(SUSPENDING), ledger), Shop()
        suspended(gate, shop)
        run = gate.resume("r")
        more = {"args": {"order_no": "7", "amount": "40.00"}} if ruling == "edit" else {}
        answer(gate, ruling, **more)
        told = call(run, shop)
        did: dict[str, list[Any]] = {"approve": [("refund", BIG)], "edit": [("refund", {**BIG, "amount": 40})]}
        assert shop.did == did.get(ruling, [])
        assert ("said no" in told) == (ruling == "deny")
        assert call(gate.resume("r"), shop) == told
        assert Redeciding(ledger).run("r").same


class TestSeveralQuestions:
    @pytest.mark.parametrize(("ruling", "paid"), [("approve", 1), ("edit", 3)])
    def test_a_yes_is_not_used_up_while_the_run_waits_for_another(self, ruling: Any, paid: int) -> None:
        bills = Bills(tools=True)
        bills.suspend()
        bills.answer("pay", ruling, **({"args": {"amount": 3}} if ruling == "edit" else {}))
        assert bills.gate.settle("r") == 0
        run = bills.gate.resume("r")
        with pytest.raises(Suspended):
            bills.drive(run)
        assert bills.did == [("look", None)]
        bills.answer("ship", "approve")
        bills.drive(bills.gate.resume("r"))
        assert sorted(bills.did, key=str) == [("look", None), ("pay", paid), ("ship", 5)]

    def test_a_call_beside_that_asks_for_a_person_too_is_put_to_them_when_the_run_goes_on(self) -> None:
        bills = Bills()

        def ship(run: Any, amount: int) -> str:
            return run.call("ship", {"amount": amount}, bills.function("ship")).status

        with pytest.raises(Suspended):
            ship(bills.run, 5)
        assert ship(bills.run, 7) == "denied"
        bills.answer("ship", "approve")
        run = bills.gate.resume("r")
        assert ship(run, 5) == "ok"
        with pytest.raises(Suspended):
            ship(run, 7)
        bills.answer("ship", "approve")
        run = bills.gate.resume("r")
        assert [ship(run, 5), ship(run, 7)] == ["ok", "ok"]
        assert bills.did == [("ship", 5), ("ship", 7)]
