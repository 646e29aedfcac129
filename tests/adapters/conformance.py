"""What every adapter must do, the same for all of them.

A test file names its framework's way to run a talk (`Talk`), subclasses `Conformance`, and inherits the tests. The
model is a script, and the agent gets the functions of a small shop that writes down what was really done.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

import pytest

from roadworthy import Contract, Entry, Gate, Ledger
from roadworthy.adapters.replies import HANDED_OVER, NOT_NOW
from roadworthy.core.errors import HarnessError, LedgerError, Suspended
from roadworthy.core.types import Draft, Guard, Kind, Realm
from roadworthy.examples.scripted.messages import Message, ToolSchema
from roadworthy.gate.run import Run

CONTRACT = """
roadworthy: 1
agent: shop
version: "1"
goal: Settle what customers of a small shop want.
owner: {team: Care, accountable: care-lead}
tools:
  shop.find_order: {effect: read, args: {order_no: string}, returns: {order_no: string, total: decimal}}
  shop.refund:
    effect: write
    args:
      order_no: string
      amount: {type: decimal, unit: EUR, min: "0.01", max: "500.00", wire: number}
      note: {type: string, optional: true}
    returns: {refund_no: string}
  shop.notify: {name: send_note, effect: send, args: {text: string}, returns: string}
  shop.fail: {effect: read, args: {}, returns: string}
capabilities:
  refunds:
    means: The customer wants money back.
    tools: [shop.find_order, shop.refund, shop.notify, shop.fail]
    autonomy: {start: autonomous, ceiling: autonomous, approver: shop-lead}
    success: [{id: one-at-most, check: count.shop.refund <= 1}]
rules:
  - id: big-ones-ask
    tools: [shop.refund]
    when: args.amount > 50.00
    then: ask
    because: The lead signs refunds above 50 EUR.
  - id: frozen-order
    tools: [shop.refund]
    when: args.order_no == "frozen"
    then: deny
    because: This order is frozen.
  - id: which-order
    tools: [shop.refund]
    when: args.order_no == "some"
    then: clarify
    because: The order must be named.
  - id: only-one
    tools: [shop.refund]
    when: count.shop.refund >= 1
    then: deny
    because: One refund a talk is enough.
"""

CAREFUL = (
    CONTRACT.replace("returns: {order_no: string, total: decimal}", "returns: {order_no: Internal, total: decimal}")
    + """
types:
  Internal: {type: string, labels: [internal]}
labels:
  internal: {readers: nobody}
claims:
  - {says: [refunded, "money is on its way"], needs: shop.refund}
"""
)
"""The same, where replies are held back: numbers of orders stay inside, and refunds are made before they are told."""

UNTRUE = "Good news: it was refunded."
HONEST = "I could not do it."

T = TypeVar("T")
Call = tuple[str, Mapping[str, Any] | str]
"""A tool call of the script: the name that the model uses, and arguments (or text, where the model writes nonsense)."""

Turn = Sequence[Call] | str
"""What the model says next: tool calls, or words."""


class Script:
    """A scripted model that says one turn after another: a function of how often it has spoken in the talk."""

    def __init__(self, *turns: Turn) -> None:
        self.turns = turns
        self.seen: list[list[Message]] = []
        self.offered: list[str] = []

    def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
        self.seen.append(messages)
        self.offered = [tool["function"]["name"] for tool in tools]
        turn = self.turns[sum(message["role"] == "assistant" for message in messages)]
        if isinstance(turn, str):
            return {"role": "assistant", "content": turn}
        calls = [
            {
                "id": f"call_{len(messages)}_{i}",
                "type": "function",
                "function": {"name": name, "arguments": args if isinstance(args, str) else json.dumps(args)},
            }
            for i, (name, args) in enumerate(turn)
        ]
        return {"role": "assistant", "content": None, "tool_calls": calls}

    @property
    def results(self) -> list[str]:
        """What the model was told of its calls, in the order in which it made them."""
        return [message["content"] for message in self.seen[-1] if message["role"] == "tool"]


def noticed(messages: Sequence[Message]) -> list[str]:
    """What the gate has told the model beside the results of its calls, in what it sees now."""
    return [str(m["content"]) for m in messages if m["role"] != "tool" and "notice of the gate" in str(m["content"])]


class Reacting(Script):
    """A scripted model that tells its user something untrue, and then does as the gate says."""

    def __init__(self, first: str, then: Turn, last: str) -> None:
        super().__init__()
        self.first, self.then, self.last = first, then, last

    def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
        self.seen.append(messages)
        turn: Turn = self.then if noticed(messages) else self.first
        if any(message["role"] == "tool" for message in messages):
            turn = self.last
        self.turns = [turn] * (1 + sum(message["role"] == "assistant" for message in messages))
        self.seen.pop()
        return super().__call__(messages, tools)


class Stubborn(Script):
    """A scripted model that says the same whatever it is told."""

    def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
        self.seen.append(messages)
        self.offered = [tool["function"]["name"] for tool in tools]
        (words,) = self.turns
        return {"role": "assistant", "content": words}


@dataclass
class Shop:
    """The functions that the agent has. `did` is what they were really called with."""

    did: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])

    def note(self, name: str, **args: Any) -> None:
        self.did.append((name, args))

    def functions(self) -> dict[str, Callable[..., Any]]:
        """By the names that a model uses; the last is in no contract."""

        def shop_find_order(order_no: str) -> dict[str, Any]:
            """Look an order up."""
            self.note("find_order", order_no=order_no)
            return {"order_no": order_no, "total": "80.00"}

        def shop_refund(order_no: str, amount: float, note: str | None = None) -> dict[str, Any]:
            """Pay money back."""
            self.note("refund", order_no=order_no, amount=amount)
            return {"refund_no": f"R-{order_no}"}

        def send_note(text: str) -> str:
            """Send the customer a note."""
            self.note("notify", text=text)
            return "sent"

        def shop_fail() -> str:
            """Do something that breaks."""
            self.note("fail")
            raise RuntimeError("the printer is on fire")

        def wipe() -> str:
            """Delete everything."""
            self.note("wipe")
            return "gone"

        return {f.__name__: f for f in (shop_find_order, shop_refund, send_note, shop_fail, wipe)}

    def afunctions(self) -> dict[str, Callable[..., Any]]:
        """The same, async."""
        blocking = self.functions()

        async def shop_find_order(order_no: str) -> dict[str, Any]:
            """Look an order up."""
            await asyncio.sleep(0)
            return blocking["shop_find_order"](order_no=order_no)

        async def shop_refund(order_no: str, amount: float, note: str | None = None) -> dict[str, Any]:
            """Pay money back."""
            await asyncio.sleep(0)
            return blocking["shop_refund"](order_no=order_no, amount=amount, note=note)

        async def send_note(text: str) -> str:
            """Send the customer a note."""
            await asyncio.sleep(0)
            return blocking["send_note"](text=text)

        async def shop_fail() -> str:
            """Do something that breaks."""
            await asyncio.sleep(0)
            return blocking["shop_fail"]()

        async def wipe() -> str:
            """Delete everything."""
            await asyncio.sleep(0)
            return blocking["wipe"]()

        return {f.__name__: f for f in (shop_find_order, shop_refund, send_note, shop_fail, wipe)}


class Talk(Protocol):
    """How a framework runs one talk: builds its agent, guards it by the gate, and comes back with the reply.

    The caller has bound the run, if there is one.
    """

    def __call__(self, gate: Gate, shop: Shop, script: Script, text: str) -> str: ...


def within(seconds: float, talk: Awaitable[T]) -> T:
    """Run an async talk to its end, or fail: an agent that hangs must not hang the tests."""

    async def limited() -> T:
        return await asyncio.wait_for(talk, seconds)

    return asyncio.run(limited())


class BrokenLedger:
    """A ledger that breaks at an entry of one kind, in a way that nobody foresaw or in the way that ledgers do."""

    def __init__(self, ledger: Ledger, kind: str, error: Exception) -> None:
        self.ledger, self.kind, self.error = ledger, kind, error
        self.id = ledger.id

    def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> tuple[Entry, ...]:
        if any(draft.kind == self.kind for draft in drafts):
            raise self.error
        return tuple(self.ledger.append(drafts, guards))

    async def aappend(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> tuple[Entry, ...]:
        return self.append(drafts, guards)

    def entries(
        self,
        *,
        run: str | None = None,
        kind: Kind | None = None,
        world: Realm | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> Iterator[Entry]:
        return self.ledger.entries(run=run, kind=kind, world=world, after=after, limit=limit)

    def controls(self, after: int = 0) -> Sequence[Entry]:
        return self.ledger.controls(after)


BREAKS: list[Exception] = [ZeroDivisionError("boom"), LedgerError("the disk is full")]
FIND: Call = ("shop_find_order", {"order_no": "A-48213"})
REFUND: Call = ("shop_refund", {"order_no": "7", "amount": 20})


class Conformance:
    """The tests. A subclass says how its framework talks."""

    talk: ClassVar[Talk]

    @pytest.fixture
    def ledger(self) -> Iterator[Ledger]:
        with Ledger.open(":memory:") as ledger:
            yield ledger

    @pytest.fixture
    def gate(self, ledger: Ledger) -> Gate:
        return Gate(Contract.loads(CONTRACT), ledger)

    @pytest.fixture
    def shop(self) -> Shop:
        return Shop()

    def bound(self, run: Run, gate: Gate, shop: Shop, script: Script, text: str = "please") -> str:
        with run.bind():
            return type(self).talk(gate, shop, script, text)

    def test_an_allowed_call_reaches_the_tool_and_its_result_the_model(self, gate: Gate, shop: Shop) -> None:
        script = Script([("shop_find_order", {"order_no": "7"})], [REFUND], "Your money is on its way.")
        run = gate.run(capability="refunds")
        assert self.bound(run, gate, shop, script) == "Your money is on its way."
        assert shop.did == [("find_order", {"order_no": "7"}), ("refund", {"order_no": "7", "amount": 20})]
        assert [json.loads(text) for text in script.results] == [
            {"order_no": "7", "total": "80.00"},
            {"refund_no": "R-7"},
        ]

    def test_arguments_arrive_as_the_contract_types_them(self, gate: Gate, shop: Shop) -> None:
        script = Script([("shop_refund", {"order_no": "7", "amount": "20.50", "note": None})], "done")
        self.bound(gate.run(capability="refunds"), gate, shop, script)
        assert shop.did == [("refund", {"order_no": "7", "amount": 20.5})]

    def test_the_names_of_the_contract_and_of_the_model_are_one(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        script = Script([("send_note", {"text": "hello"})], "done")
        run = gate.run(capability="refunds")
        self.bound(run, gate, shop, script)
        assert shop.did == [("notify", {"text": "hello"})]
        assert script.results == ["sent"]
        assert [e.body["tool"] for e in ledger.entries(run=run.id, kind="action")] == ["shop.notify"]

    def test_a_denied_call_tells_the_model_why(self, gate: Gate, shop: Shop) -> None:
        script = Script([("shop_refund", {"order_no": "frozen", "amount": 20})], "It is frozen, sorry.")
        assert self.bound(gate.run(capability="refunds"), gate, shop, script) == "It is frozen, sorry."
        assert shop.did == []
        assert "This order is frozen" in script.results[0]

    def test_a_value_that_does_not_fit_tells_the_model_what_would(self, gate: Gate, shop: Shop) -> None:
        script = Script([("shop_refund", {"order_no": "7", "amount": 20000})], "done")
        self.bound(gate.run(capability="refunds"), gate, shop, script)
        assert shop.did == []
        assert "500" in script.results[0]

    def test_a_call_that_needs_clarifying_tells_the_model_so(self, gate: Gate, shop: Shop) -> None:
        script = Script([("shop_refund", {"order_no": "some", "amount": 20})], "Which order?")
        self.bound(gate.run(capability="refunds"), gate, shop, script)
        assert shop.did == []
        assert "The order must be named" in script.results[0]

    def test_a_held_call_waits_and_the_conversation_goes_on(self, gate: Gate, shop: Shop) -> None:
        script = Script([("shop_refund", {"order_no": "7", "amount": 51})], [REFUND], "A person looks at it.")
        run = gate.run(capability="refunds")
        assert self.bound(run, gate, shop, script) == "A person looks at it."
        assert shop.did == [("refund", {"order_no": "7", "amount": 20})]
        assert run.status == "held"
        held, carried = script.results
        assert "The lead signs refunds above 50 EUR" in held
        assert "user" in held
        assert carried != held

    def test_a_tool_that_the_contract_does_not_list_is_denied(self, gate: Gate, shop: Shop) -> None:
        script = Script([("wipe", {})], "no")
        self.bound(gate.run(capability="refunds"), gate, shop, script)
        assert shop.did == []
        assert "wipe" in script.results[0]

    def test_nothing_runs_when_no_capability_is_open(self, gate: Gate, shop: Shop) -> None:
        script = Script([REFUND], "no")
        self.bound(gate.run(), gate, shop, script)
        assert shop.did == []

    @pytest.mark.parametrize(
        "error", [ZeroDivisionError("boom"), LedgerError("the disk is full")], ids=["gate", "ledger"]
    )
    @pytest.mark.parametrize("kind", ["action", "verdict", "intent"])
    def test_nothing_runs_when_the_gate_breaks(self, ledger: Ledger, shop: Shop, kind: str, error: Exception) -> None:
        gate = Gate(Contract.loads(CONTRACT), BrokenLedger(ledger, kind, error))
        script = Script([REFUND], "It does not work right now.")
        assert self.bound(gate.run(capability="refunds"), gate, shop, script) == "It does not work right now."
        assert shop.did == []
        assert "Nothing was done" in script.results[0]

    @pytest.mark.parametrize(
        "error", [ZeroDivisionError("boom"), LedgerError("the disk is full")], ids=["gate", "ledger"]
    )
    def test_the_model_does_not_repeat_what_the_gate_lost_sight_of(
        self, ledger: Ledger, shop: Shop, error: Exception
    ) -> None:
        gate = Gate(Contract.loads(CONTRACT), BrokenLedger(ledger, "outcome", error))
        script = Script([REFUND], "I am not sure that it worked.")
        self.bound(gate.run(capability="refunds"), gate, shop, script)
        assert shop.did == [("refund", {"order_no": "7", "amount": 20})]
        assert "Nothing was done" not in script.results[0]
        assert "scalate" in script.results[0]

    def test_the_model_learns_that_a_tool_failed(self, gate: Gate, shop: Shop) -> None:
        script = Script([("shop_fail", {})], [REFUND], "Half of it worked.")
        assert self.bound(gate.run(capability="refunds"), gate, shop, script) == "Half of it worked."
        assert [name for name, _ in shop.did] == ["fail", "refund"]
        assert "failed" in script.results[0]
        assert "the printer is on fire" in script.results[0]

    def test_of_two_calls_at_once_the_held_one_never_runs(self, gate: Gate, shop: Shop) -> None:
        turn: list[Call] = [("shop_find_order", {"order_no": "7"}), ("shop_refund", {"order_no": "7", "amount": 51})]
        script = Script(turn, "A person looks at it.")
        run = gate.run(capability="refunds")
        assert self.bound(run, gate, shop, script) == "A person looks at it."
        assert "refund" not in [name for name, _ in shop.did]
        assert run.status == "held"
        assert len(script.results) == 2
        assert "The lead signs refunds above 50 EUR" in script.results[1]

    def test_of_two_calls_at_once_only_one_gets_what_is_left(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        turn: list[Call] = [("shop_refund", {"order_no": number, "amount": 20}) for number in "12345678"]
        run = gate.run(capability="refunds")
        script = Script(turn, "done")
        self.bound(run, gate, shop, script)
        assert len(shop.did) == 1
        assert sum("One refund a talk is enough" in text for text in script.results) == 7
        assert len(list(ledger.entries(run=run.id, kind="intent"))) == 1

    def test_a_run_of_another_gate_under_the_same_contract_is_good(
        self, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        script = Script([REFUND], "done")
        self.bound(Gate(Contract.loads(CONTRACT), ledger).run(capability="refunds"), gate, shop, script)
        assert [name for name, _ in shop.did] == ["refund"]

    def test_the_model_may_ask_the_user(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        script = Script([("ask_user", {"question": "Which order?"})], "Order 7, then.")
        asked: list[str] = []

        def answer(question: str) -> str:
            asked.append(question)
            return "Order 7."

        run = gate.run(capability="refunds", ask_user=answer)
        self.bound(run, gate, shop, script)
        assert {"ask_user", "escalate"} <= set(script.offered)
        assert asked == ["Which order?"]
        assert script.results == ["Order 7."]
        assert [e.body["text"] for e in ledger.entries(run=run.id, kind="heard")] == ["Order 7."]

    def test_the_model_may_hand_over(self, gate: Gate, shop: Shop) -> None:
        script = Script([("escalate", {"reason": "They want a lawyer."})], [REFUND], "A person takes over.")
        run = gate.run(capability="refunds")
        assert self.bound(run, gate, shop, script) == "A person takes over."
        assert run.status == "escalated"
        assert shop.did == []

    @pytest.mark.parametrize("arguments", ['{"order_no": ', "[]", '"7"'])
    def test_arguments_that_are_no_object_run_nothing(self, gate: Gate, shop: Shop, arguments: str) -> None:
        # Frameworks differ in what they do about such a call by themselves; it must end, and do nothing.
        self.bound(gate.run(capability="refunds"), gate, shop, Script([("shop_refund", arguments)], "done"))
        assert shop.did == []

    def test_in_a_trial_the_stand_ins_run_and_nothing_else(self, shop: Shop, ledger: Ledger) -> None:
        stood_in: list[Mapping[str, Any]] = []

        def refund(**args: Any) -> dict[str, str]:
            stood_in.append(args)
            return {"refund_no": "S-1"}

        gate = Gate(Contract.loads(CONTRACT), ledger, world="test", tools={"shop.refund": refund})
        script = Script([REFUND], "done")
        self.bound(gate.run(capability="refunds"), gate, shop, script)
        assert shop.did == []
        assert stood_in == [{"order_no": "7", "amount": 20}]
        assert json.loads(script.results[0]) == {"refund_no": "S-1"}

    def test_a_broken_trial_is_not_taken_for_a_bad_agent(self, shop: Shop, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(CONTRACT), ledger, world="test", tools={})
        with pytest.raises(HarnessError, match=r"no stand-in for shop\.refund"):
            self.bound(gate.run(capability="refunds"), gate, shop, Script([REFUND], "done"))
        assert shop.did == []

    def test_with_enforcement_off_tools_run_and_the_ledger_says_what_would_have_been(
        self, shop: Shop, ledger: Ledger
    ) -> None:
        gate = Gate(Contract.loads(CONTRACT), ledger, enforce=False)
        script = Script([("shop_refund", {"order_no": "frozen", "amount": 20})], "done")
        run = gate.run(capability="refunds")
        self.bound(run, gate, shop, script)
        assert [name for name, _ in shop.did] == ["refund"]
        assert [e.body["ruling"] for e in ledger.entries(run=run.id, kind="verdict")] == ["deny"]

    # -- what the user is told -----------------------------------------------------------------------------------------

    def test_what_was_not_done_is_not_told_and_the_model_may_do_it(self, shop: Shop, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(CAREFUL), ledger)
        script = Reacting(UNTRUE, [REFUND], "It was refunded.")
        run = gate.run(capability="refunds")
        assert self.bound(run, gate, shop, script) == "It was refunded."
        assert [name for name, _ in shop.did] == ["refund"]
        assert said(ledger, run) == [(UNTRUE, "denied")]
        assert run.say("It was refunded.").ok

    def test_a_reply_goes_back_to_the_model_until_it_may_be_told(self, shop: Shop, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(CAREFUL), ledger)
        script = Reacting(UNTRUE, HONEST, "unused")
        run = gate.run(capability="refunds")
        assert self.bound(run, gate, shop, script) == HONEST
        (why,) = noticed(script.seen[-1])
        assert "shop.refund was not carried out" in why
        assert said(ledger, run) == [(UNTRUE, "denied")]
        assert run.status == "open"

    def test_after_two_more_tries_a_person_looks_at_it_and_the_user_is_told_so(
        self, shop: Shop, ledger: Ledger
    ) -> None:
        gate = Gate(Contract.loads(CAREFUL), ledger)
        script = Stubborn(UNTRUE)
        run = gate.run(capability="refunds")
        told = self.bound(run, gate, shop, script)
        assert told == HANDED_OVER
        assert run.status == "escalated"
        assert len(script.seen) == 3
        assert said(ledger, run) == [(UNTRUE, "denied")] * 3
        assert run.say(told).ok

    def test_labelled_data_is_not_told(self, shop: Shop, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(CAREFUL), ledger)
        script = Script([FIND], "It is the order A 48 213.", "I cannot tell.")
        run = gate.run(capability="refunds")
        with run.bind():
            told = type(self).talk(gate, shop, lasting(script), "please")
        assert told == "I cannot tell."
        assert said(ledger, run) == [("It is the order A 48 213.", "denied")]

    def test_a_question_that_may_not_be_put_never_reaches_the_user(self, shop: Shop, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(CAREFUL), ledger)
        asked: list[str] = []
        script = Script(
            [FIND],
            [("ask_user", {"question": "Is A-48213 right?"})],
            [("ask_user", {"question": "Which order?"})],
            "Thank you.",
        )
        run = gate.run(capability="refunds", ask_user=lambda question: asked.append(question) or "Order 7.")
        assert self.bound(run, gate, shop, script) == "Thank you."
        assert asked == ["Which order?"]
        assert "was not told this" in script.results[1]

    def test_a_hand_over_that_may_not_say_so_is_refused(self, shop: Shop, ledger: Ledger) -> None:
        rule = "flow: [{id: no-numbers, label: internal, into: [escalate], because: Staff need no numbers.}]\n"
        gate = Gate(Contract.loads(CAREFUL + rule), ledger)
        script = Script(
            [FIND],
            [("escalate", {"reason": "They want A-48213 back."})],
            [("escalate", {"reason": "They want a lawyer."})],
            "A person takes over.",
        )
        run = gate.run(capability="refunds")
        assert self.bound(run, gate, shop, script) == "A person takes over."
        assert "Staff need no numbers" in script.results[1]
        assert [e.body["reason"] for e in ledger.entries(run=run.id, kind="handover")] == ["They want a lawyer."]

    @pytest.mark.parametrize("error", BREAKS, ids=["gate", "ledger"])
    def test_nothing_is_told_that_nobody_could_judge_or_record(
        self, ledger: Ledger, shop: Shop, error: Exception
    ) -> None:
        gate = Gate(Contract.loads(CAREFUL), BrokenLedger(ledger, "said", error))
        script = Stubborn(UNTRUE)
        assert self.bound(gate.run(capability="refunds"), gate, shop, script) == NOT_NOW
        assert len(script.seen) == 1

    def test_with_enforcement_off_it_is_told_and_recorded(self, shop: Shop, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(CAREFUL), ledger, enforce=False)
        run = gate.run(capability="refunds")
        assert self.bound(run, gate, shop, Stubborn(UNTRUE)) == UNTRUE
        assert run.say(UNTRUE).ok
        (entry,) = ledger.entries(run=run.id, kind="said")
        assert [reason["code"] for reason in entry.body["reasons"]] == ["untrue_claim"]

    # -- held actions --------------------------------------------------------------------------------------------------

    def test_the_model_learns_at_the_next_turn_what_became_of_a_held_call(self, gate: Gate, shop: Shop) -> None:
        held: Call = ("shop_refund", {"order_no": "7", "amount": 51})
        run = gate.run(id="r", capability="refunds")
        run.heard("51 euro back for order 7")
        self.bound(run, gate, shop, Script([held], "A person looks at it."))
        (asked,) = gate.questions()
        gate.answer(asked.id, by="shop-lead", ruling="approve")
        run = gate.run(id="r")
        run.heard("And?")
        if not shop.did:  # blocking code can carry no async tool, and leaves that to async code
            within(20, run.aheard("Well?"))
        assert shop.did == [("refund", {"order_no": "7", "amount": 51})]
        script = Script("It was done.", "Anything else?")
        assert self.bound(run, gate, shop, script, "And?") == "It was done."
        (news,) = noticed(script.seen[0])
        assert "R-7" in news
        again = Script("Anything else?")
        self.bound(run, gate, shop, again, "No.")
        assert noticed(again.seen[0]) == []

    def test_a_run_that_suspends_ends_the_agent_and_goes_on_when_it_is_driven_again(
        self, shop: Shop, ledger: Ledger
    ) -> None:
        contract = CONTRACT.replace("then: ask\n", "then: ask\n    ask: {role: shop-lead, meanwhile: suspend}\n")
        gate = Gate(Contract.loads(contract), ledger)
        turns: list[Turn] = [[REFUND], [("send_note", {"text": "hello"})], "Done."]
        turns[0] = [("shop_refund", {"order_no": "7", "amount": 51})]
        run = gate.run(id="r", capability="refunds", suspendable=True)
        with pytest.raises(Suspended, match="The lead signs refunds"):
            self.bound(run, gate, shop, Script(*turns))
        assert shop.did == []
        (asked,) = gate.questions()
        gate.answer(asked.id, by="shop-lead", ruling="approve")
        again = gate.resume("r")
        assert self.bound(again, gate, shop, Script(*turns)) == "Done."
        assert [name for name, _ in shop.did] == ["refund", "notify"]


def said(ledger: Ledger, run: Run) -> list[tuple[str, str]]:
    """What was said in a run, and whether it was told."""
    return [(e.body["text"], e.body.get("status", "ok")) for e in ledger.entries(run=run.id, kind="said")]


def lasting(script: Script) -> Script:
    """The script again, where frameworks keep what was held back out of the messages: a notice counts as a turn."""

    class Lasting(Script):
        def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
            script.seen.append(messages)
            kept = sum(message["role"] == "tool" for message in messages)
            at = kept + len(noticed(messages))
            return Script(*[script.turns[min(at, len(script.turns) - 1)]] * 9)(messages, tools)

    return Lasting()


class BoundConformance(Conformance):
    """The same where the adapter finds the run by itself."""

    def test_without_a_run_no_tool(self, gate: Gate, shop: Shop) -> None:
        script = Script([REFUND], "no")
        assert type(self).talk(gate, shop, script, "please") == "no"
        assert shop.did == []
        assert "belongs to no run" in script.results[0]
        assert "gate.run(" in script.results[0]

    def test_a_run_under_another_contract_is_refused(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        other = Gate(Contract.loads(CONTRACT.replace("50.00", "5000.00")), ledger)
        script = Script([REFUND], "no")
        self.bound(other.run(capability="refunds"), gate, shop, script)
        assert shop.did == []
        assert "another contract" in script.results[0]
