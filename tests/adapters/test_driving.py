"""What `drive` of every adapter has in common, in plain Python."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from conformance import CONTRACT, Shop, within

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters import driving
from roadworthy.adapters.plain import adrive, drive
from roadworthy.core.errors import Suspended, UsageError
from roadworthy.gate.run import Run, current_run

SUSPENDS = CONTRACT.replace("then: ask\n", "then: ask\n    ask: {role: shop-lead, meanwhile: suspend}\n")


@pytest.fixture
def gate() -> Gate:
    return Gate(Contract.loads(SUSPENDS), Ledger.open(":memory:"))


@pytest.fixture
def shop() -> Shop:
    return Shop()


def agent_of(shop: Shop) -> Any:
    """An agent that refunds what it is started with."""

    def agent(run: Run, start: Mapping[str, Any]) -> str:
        assert current_run() is run
        return run.call("shop.refund", dict(start), shop.functions()["shop_refund"]).text

    return agent


def approved(gate: Gate) -> None:
    (asked,) = gate.questions()
    gate.answer(asked.id, by="shop-lead", ruling="approve")


BIG = {"order_no": "7", "amount": 51}


class TestDrive:
    def test_what_waits_comes_back_as_a_value_and_goes_on_without_a_start(self, gate: Gate, shop: Shop) -> None:
        waits = drive(agent_of(shop), gate.run(id="r", capability="refunds", suspendable=True), BIG)
        assert isinstance(waits, Suspended)
        assert (waits.run, shop.did) == ("r", [])
        assert "The lead signs refunds" in str(waits)
        assert current_run() is None
        approved(gate)
        assert drive(agent_of(shop), gate.resume("r")) == '{"refund_no":"R-7"}'
        assert drive(agent_of(shop), gate.resume("r")) == '{"refund_no":"R-7"}'
        assert shop.did == [("refund", BIG)]

    def test_driven_before_the_answer_it_waits_again(self, gate: Gate, shop: Shop) -> None:
        drive(agent_of(shop), gate.run(id="r", capability="refunds", suspendable=True), BIG)
        assert isinstance(drive(agent_of(shop), gate.resume("r"), BIG), Suspended)
        assert len(gate.questions()) == 1

    async def test_async(self, gate: Gate, shop: Shop) -> None:
        async def agent(run: Run, start: Mapping[str, Any]) -> str:
            return (await run.acall("shop.refund", dict(start), shop.afunctions()["shop_refund"])).text

        run = gate.run(id="r", capability="refunds", suspendable=True)
        assert isinstance(await adrive(agent, run, BIG), Suspended)
        approved(gate)
        resumed = gate.resume("r")
        assert await adrive(agent, resumed) == '{"refund_no":"R-7"}'
        assert shop.did == [("refund", BIG)]

    def test_turns_are_started_again_one_by_one(self, gate: Gate) -> None:
        def agent(run: Run, start: str) -> str:
            return start.upper()

        run = gate.run(id="r", capability="refunds", suspendable=True)
        assert [drive(agent, run, text) for text in ("one", "two")] == ["ONE", "TWO"]
        run = gate.resume("r")
        assert [drive(agent, run), drive(agent, run)] == ["ONE", "TWO"]
        with pytest.raises(UsageError, match="no start"):
            drive(agent, run)

    def test_another_start_is_refused(self, gate: Gate, shop: Shop) -> None:
        drive(agent_of(shop), gate.run(id="r", capability="refunds", suspendable=True), BIG)
        with pytest.raises(UsageError, match="started with something else"):
            drive(agent_of(shop), gate.resume("r"), {**BIG, "amount": 52})

    @pytest.mark.parametrize("start", [object(), {"deep": object()}, "x" * 5_000_000], ids=["object", "inside", "huge"])
    def test_a_start_that_the_ledger_cannot_keep_is_refused(self, gate: Gate, start: Any) -> None:
        run = gate.run(id="r", capability="refunds", suspendable=True)
        with pytest.raises(UsageError, match="cannot be kept in the ledger"):
            drive(lambda run, start: start, run, start)
        assert list(gate.ledger.entries(run="r", kind="observation")) == []

    def test_a_run_that_cannot_be_driven_again_takes_any_start_and_keeps_none(self, gate: Gate) -> None:
        start = object()
        run = gate.run(id="r", capability="refunds")
        assert drive(lambda run, start: start, run, start) is start
        assert list(gate.ledger.entries(run="r", kind="observation")) == []
        with pytest.raises(UsageError, match="no start"):
            drive(lambda run, start: start, run)

    def test_what_the_agent_raises_is_raised(self, gate: Gate) -> None:
        def broken(run: Run, start: str) -> str:
            raise RuntimeError("of the agent")

        with pytest.raises(RuntimeError, match="of the agent"):
            drive(broken, gate.run(capability="refunds"), "please")


class TestBlockingCode:
    async def test_within_a_loop_the_other_one_is_named(self) -> None:
        async def never() -> None:
            await asyncio.Event().wait()

        with pytest.raises(UsageError, match="adrive"):
            driving.in_a_loop_of_its_own(never())

    def test_without_one_it_is_run(self) -> None:
        async def soon() -> int:
            return 3

        assert driving.in_a_loop_of_its_own(soon()) == 3
        assert within(5, soon()) == 3
