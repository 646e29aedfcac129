"""What every adapter must do, the same for all of them.

A test file names its framework's way to run a talk (`Talk`), subclasses `Conformance`, and inherits the tests. The
model is a script, and the agent gets the functions of a small shop that writes down what was really done.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import pytest

from roadworthy import Contract, Entry, Gate, Ledger
from roadworthy.core.errors import HarnessError, LedgerError
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


def within(seconds: float, talk: Awaitable[str]) -> str:
    """Run an async talk to its end, or fail: an agent that hangs must not hang the tests."""

    async def limited() -> str:
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
