"""What a call needs: a fresh look, the user's yes, a key; and what becomes of a write whose answer was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Draft, Entry, Guard, Outcome
from roadworthy.gate.carry import NotDone
from roadworthy.gate.confirm import affirms, refuses
from roadworthy.gate.run import Run

CONTRACT = Contract.load(Path(__file__).with_name("refunds.yaml"))


@dataclass
class Shop:
    """A shop that honours request ids, as its contract says."""

    status: dict[str, str] = field(default_factory=lambda: {"1": "lost", "2": "lost", "3": "delivered"})
    paid: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """By request id, order and amount: what really left the account."""
    asked: list[str] = field(default_factory=list[str])
    lose: Callable[[], None] | None = None
    """Raises after the money is gone, or before."""
    before: Callable[[], None] | None = None

    def find(self, order_no: str) -> dict[str, str]:
        self.asked.append(order_no)
        return {"order_no": order_no, "paid": "42.00", "status": self.status[order_no]}

    def refund(self, order_no: str, amount: str, request_id: str, note: str = "") -> dict[str, str]:
        if self.before is not None:
            self.before()
        self.paid.setdefault(request_id, (order_no, amount))
        self.status[order_no] = "refunded"
        if self.lose is not None:
            self.lose()
        return {"refund_no": f"R-{order_no}"}

    def cancel(self, order_no: str, day: str) -> str:
        return f"{order_no} ends {day}"

    def note(self, order_no: str, text: str) -> str:
        return f"{order_no}: {text}"

    @property
    def tools(self) -> dict[str, Callable[..., Any]]:
        return {
            "orders.find": self.find,
            "orders.refund": self.refund,
            "orders.cancel": self.cancel,
            "orders.note": self.note,
        }


@dataclass
class Desk:
    gate: Gate
    shop: Shop
    clock: VirtualClock
    ledger: Ledger

    def run(self, id: str = "r", **kwargs: Any) -> Run:
        return self.gate.run(id=id, capability="refunds", **kwargs)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Ledger.open(tmp_path / "runs.db") as ledger:
        shop, clock = Shop(), VirtualClock()
        yield Desk(Gate(CONTRACT, ledger, tools=shop.tools, clock=clock), shop, clock, ledger)


def find(run: Run, order: str = "1") -> Outcome:
    return run.call("orders.find", {"order_no": order})


def refund(run: Run, order: str = "1", amount: str = "42.00", **more: str) -> Outcome:
    return run.call("orders.refund", {"order_no": order, "amount": amount, **more})


# needs ----------------------------------------------------------------------------------------------------------------


def test_what_was_not_read_must_be_read_first(desk: Desk) -> None:
    run = desk.run()
    assert "Call orders.find with the same order_no first" in refund(run).text
    find(run, "2")
    assert refund(run).status == "denied"
    find(run)
    assert refund(run).ok


def test_what_was_read_must_allow_it(desk: Desk) -> None:
    run = desk.run()
    find(run, "3")
    denied = refund(run, "3")
    assert denied.status == "denied"
    assert "must hold" in denied.text
    find(run)
    assert refund(run, amount="42.01").status == "denied"


def test_what_was_read_long_ago_must_be_read_again(desk: Desk) -> None:
    run = desk.run()
    find(run)
    desk.clock.advance(600)
    assert desk.gate.run(id="r").call("orders.find", {"order_no": "2"}).ok
    desk.clock.advance(1)
    late = refund(run)
    assert "older than 600 s" in late.text
    assert refund(run, "2").ok


def test_after_a_refund_the_order_must_be_read_again(desk: Desk) -> None:
    run = desk.run()
    find(run)
    find(run, "2")
    assert refund(run).ok
    denied = refund(run, "2")
    assert "Since orders.find was read, orders.refund was called" in denied.text
    find(run, "2")
    assert refund(run, "2").ok


def test_what_was_seen_is_known_in_another_process_too(desk: Desk, tmp_path: Path) -> None:
    find(desk.run())
    with Ledger.open(tmp_path / "runs.db") as other:
        again = Gate(CONTRACT, other, tools=desk.shop.tools, clock=desk.clock).run(id="r")
        assert refund(again).ok
    assert "Since orders.find was read" in refund(desk.run()).text


# confirm --------------------------------------------------------------------------------------------------------------

CANCEL = {"order_no": "4711", "day": "2026-03-31"}


@pytest.mark.parametrize(
    "question",
    [
        "Shall I cancel order 4711 on 2026-03-31?",
        "Cancel 4711 on 31 March 2026, right?",
        "Order 4711 ends on March 31, 2026. Shall I?",
    ],
)
def test_a_yes_to_what_was_read_out_is_a_yes(desk: Desk, question: str) -> None:
    run = desk.run()
    assert run.call("orders.cancel", CANCEL).status == "clarify"
    run.say(question)
    run.heard("Yes, please.")
    assert run.call("orders.cancel", CANCEL).ok
    again = run.call("orders.cancel", CANCEL)
    assert again.status == "clarify", "one yes is for one call"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Shall I cancel order 4711?", "yes"),
        ("Shall I cancel order 4712 on 2026-03-31?", "yes"),
        ("Shall I cancel order 4711 on 2026-03-30?", "yes"),
        ("Shall I cancel order 4711 on 2026-03-31?", "no"),
        ("Shall I cancel order 4711 on 2026-03-31?", "yes, but not before April"),
        ("Shall I cancel order 4711 on 2026-03-31?", "maybe"),
        ("Shall I cancel order 4711 on 2026-03-31?", "what does it cost?"),
        ("Shall I cancel order 4711 on 2026-03-31?", "yes, 4712"),
    ],
)
def test_anything_less_is_none(desk: Desk, question: str, answer: str) -> None:
    run = desk.run()
    run.say(question)
    run.heard(answer)
    outcome = run.call("orders.cancel", CANCEL)
    assert (outcome.status, outcome.done) == ("clarify", "blocked")
    assert "must say yes" in outcome.text


def test_a_later_no_takes_the_yes_back(desk: Desk) -> None:
    run = desk.run()
    run.say("Shall I cancel order 4711 on 2026-03-31?")
    run.heard("yes")
    run.heard("wait, stop")
    assert run.call("orders.cancel", CANCEL).status == "clarify"


def test_a_yes_is_remembered_by_the_ledger(desk: Desk, tmp_path: Path) -> None:
    run = desk.run()
    run.say("Shall I cancel order 4711 on 2026-03-31?")
    run.heard("yes")
    with Ledger.open(tmp_path / "runs.db") as other:
        again = Gate(CONTRACT, other, tools=desk.shop.tools, clock=desk.clock).run(id="r")
        assert again.call("orders.cancel", CANCEL).ok
    assert run.call("orders.cancel", CANCEL).status == "clarify"


@pytest.mark.parametrize("answer", ["yes", "Yes please", "ok", "Ja, genau", "oui", "sí", "go ahead", "That's correct."])
def test_plain_yesses(answer: str) -> None:
    assert affirms(answer, "Shall I?")
    assert not refuses(answer)


@pytest.mark.parametrize(
    "answer", ["", "yes?", "yes but", "no", "not yet", "yesterday", "okay, only if it is free", "ja, aber", "sure, 5"]
)
def test_what_is_no_plain_yes(answer: str) -> None:
    assert not affirms(answer, "Shall I?")


# a rule that asks the user ------------------------------------------------------------------------------------------


def always(answer: str) -> Callable[[str], str]:
    """A user who gives the same answer to whatever they are asked."""

    def channel(_question: str) -> str:
        return answer

    return channel


NOTE = {"order_no": "1", "text": "please ring twice"}


def test_the_user_is_asked_through_the_channel(desk: Desk) -> None:
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return "yes"

    run = desk.run(ask_user=answer)
    assert run.call("orders.note", NOTE).ok
    assert len(asked) == 1
    assert "please ring twice" in asked[0]
    assert "Nobody writes a long note unasked." in asked[0]
    assert run.call("orders.note", {"order_no": "1", "text": "short"}).ok
    assert len(asked) == 1


def test_the_user_is_asked_through_the_channel_in_async_code(desk: Desk) -> None:
    run = desk.run(ask_user=always("yes"))
    assert asyncio.run(run.acall("orders.note", NOTE)).ok


def test_a_no_of_the_user_is_a_no(desk: Desk) -> None:
    run = desk.run(ask_user=always("no"))
    assert run.call("orders.note", NOTE).status == "clarify"


def test_without_a_channel_the_agent_asks_in_its_reply(desk: Desk) -> None:
    run = desk.run()
    outcome = run.call("orders.note", NOTE)
    assert outcome.status == "clarify"
    run.say(str(outcome.value))
    run.heard("yes please")
    assert run.call("orders.note", NOTE).ok
    assert run.call("orders.note", NOTE).status == "clarify"


# keys and doubt -----------------------------------------------------------------------------------------------------


def timeout() -> None:
    raise TimeoutError("no answer")


def crash() -> None:
    raise RuntimeError("boom")


@pytest.mark.parametrize("lose", [timeout, crash])
def test_a_lost_answer_is_settled_by_the_look_up(desk: Desk, lose: Callable[[], None]) -> None:
    run = desk.run()
    find(run)
    desk.shop.lose = lose
    outcome = refund(run)
    assert (outcome.status, outcome.done) == ("ok", "executed")
    assert "orders.find shows it" in outcome.text
    assert len(desk.shop.paid) == 1
    assert run.status == "open"
    kinds = [(e.kind, e.body.get("by"), e.body.get("settled_by")) for e in desk.ledger.entries(run="r")]
    assert ("action", "lookup", None) in kinds
    assert ("outcome", None, "orders.find") in kinds


@pytest.mark.parametrize("lose", [timeout, crash])
def test_what_was_not_done_may_be_done_again_with_the_same_key(desk: Desk, lose: Callable[[], None]) -> None:
    run = desk.run()
    find(run)
    desk.shop.before = lose
    first = refund(run)
    assert first.status == "failed"
    assert "may be called again as it was" in first.text
    desk.shop.before = None
    find(run)
    assert refund(run).ok
    assert len(desk.shop.paid) == 1
    assert run.state.counts["orders.refund"] == 1


def test_what_cannot_be_settled_goes_to_a_person(desk: Desk) -> None:
    run = desk.run()
    find(run)
    desk.shop.lose = timeout

    def broken(order_no: str) -> dict[str, str]:
        raise OSError("down")

    desk.gate._tools = {**desk.shop.tools, "orders.find": broken}  # pyright: ignore[reportPrivateUsage]
    outcome = refund(run)
    assert outcome.status == "in_doubt"
    assert "A person takes over" in outcome.text
    assert run.status == "escalated"
    assert [e.body["to"] for e in desk.ledger.entries(run="r", kind="handover")] == ["lead"]


def test_the_key_is_the_gates_and_the_same_over_all_runs(desk: Desk) -> None:
    for name in ("a", "b"):
        run = desk.run(name)
        desk.shop.status["1"] = "lost"
        find(run)
        assert refund(run).ok
    assert len(desk.shop.paid) == 1, "the shop knows the key and pays once"
    assert refund(desk.run("c"), request_id="mine").status == "denied", "the model knows nothing of the key"


def test_the_same_key_with_other_arguments_is_refused(desk: Desk) -> None:
    run = desk.run("a")
    find(run)
    assert refund(run, note="one").ok
    desk.shop.status["1"] = "lost"
    find(run)
    assert "same order_no, amount and other arguments" in refund(run, note="two").text
    other = desk.run("b")
    find(other)
    assert "same key" in refund(other, note="two").text
    assert len(desk.shop.paid) == 1


def test_nothing_done_is_nothing_in_doubt(desk: Desk) -> None:
    run = desk.run()
    find(run)

    def refuse() -> None:
        raise NotDone("closed today")

    desk.shop.before = refuse
    assert refund(run).status == "failed"
    assert run.status == "open"


# handing over, budgets, a ledger that is down -------------------------------------------------------------------------


def test_tokens_of_the_model_are_a_budget(desk: Desk) -> None:
    run = desk.run()
    run.spent(model_tokens=999)
    assert find(run).ok
    run.spent(model_tokens=1)
    denied = find(run)
    assert denied.status == "denied"
    assert "tokens" in denied.text
    assert run.status == "escalated", "escalate.on names the budget"


class Broken(Ledger):
    """A ledger that can be told to fail."""

    down = False

    def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
        if self.down:
            raise LedgerError("disk full")
        return super().append(drafts, guards)


def test_reads_go_on_while_the_ledger_is_down_and_the_gap_is_told(tmp_path: Path) -> None:
    shop = Shop()
    with Broken.open(tmp_path / "runs.db") as ledger:
        run = Gate(CONTRACT, ledger, tools=shop.tools).run(id="r", capability="refunds")
        ledger.down = True
        assert find(run).ok
        assert find(run, "2").ok
        denied = refund(run)
        assert (denied.status, denied.done) == ("denied", "blocked")
        assert shop.paid == {}
        ledger.down = False
        assert refund(run).ok
        gaps = [e.body["unrecorded_reads"] for e in ledger.entries(run="r", kind="gap")]
        assert gaps == [2]


def test_a_gate_that_only_watches_makes_no_two_calls_one_and_settles_nothing(tmp_path: Path) -> None:
    shop = Shop()
    with Ledger.open(tmp_path / "watched.db") as ledger:
        run = Gate(CONTRACT, ledger, tools=shop.tools, enforce=False).run(id="r", capability="refunds")
        assert refund(run).ok
        assert refund(run).ok
        assert len(shop.paid) == 2, "each call has a key of its own"
        shop.lose = timeout
        assert refund(run).status == "in_doubt"
        assert shop.asked == []
