"""Calls of tools: what runs, with which arguments, and what the model learns of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from roadworthy.adapters.conformance.bench import Bench, BrokenLedger, Failed, contains, equal, expect
from roadworthy.adapters.conformance.case import case
from roadworthy.adapters.conformance.script import Call, Script
from roadworthy.adapters.conformance.shop import CONTRACT, NOTE, ORDER, REFUND, Shop
from roadworthy.core.errors import HarnessError, LedgerError

TOLD = "what the model was told of its call"
DID = "what the tools have done"


def _breaks() -> tuple[Exception, ...]:
    return ZeroDivisionError("boom"), LedgerError("the disk is full")


def results(script: Script, count: int) -> list[str]:
    """What the model was told of its calls, which must be this many."""
    found = script.results
    equal(len(found), count, "the number of calls that the model was told of")
    return found


@case("calls")
def an_allowed_call_reaches_the_tool_and_its_result_the_model(bench: Bench) -> None:
    """What the contract allows is done as if there were no gate."""
    gate, script = bench.gate(), Script([ORDER], [REFUND], "Your money is on its way.")
    equal(bench.talk(gate, script, run=gate.run(capability="refunds")), "Your money is on its way.", "the reply")
    equal(bench.shop.did, [("find_order", {"order_no": "7"}), ("refund", {"order_no": "7", "amount": 20})], DID)
    told = [json.loads(text) for text in results(script, 2)]
    equal(told, [{"order_no": "7", "total": "80.00"}, {"refund_no": "R-7"}], TOLD)


@case("calls")
def arguments_arrive_as_the_contract_types_them(bench: Bench) -> None:
    """The tool gets the arguments that were judged, and not those that the model wrote."""
    gate = bench.gate()
    script = Script([("shop_refund", {"order_no": "7", "amount": "20.50", "note": None})], "done")
    bench.talk(gate, script, run=gate.run(capability="refunds"))
    equal(bench.shop.did, [("refund", {"order_no": "7", "amount": 20.5})], DID)


@case("calls")
def the_names_of_the_contract_and_of_the_model_are_one(bench: Bench) -> None:
    """A tool that the model knows by another name is the same tool."""
    gate, script = bench.gate(), Script([NOTE], "done")
    run = gate.run(capability="refunds")
    bench.talk(gate, script, run=run)
    equal(bench.shop.did, [("notify", {"text": "hello"})], DID)
    equal(results(script, 1), ["sent"], TOLD)
    equal([e.body["tool"] for e in bench.ledger.entries(run=run.id, kind="action")], ["shop.notify"], "the action")


@case("calls")
def a_denied_call_tells_the_model_why(bench: Bench) -> None:
    """The model can tell its user, or do something else, only when it knows the reason."""
    gate, script = bench.gate(), Script([("shop_refund", {"order_no": "frozen", "amount": 20})], "It is frozen, sorry.")
    equal(bench.talk(gate, script, run=gate.run(capability="refunds")), "It is frozen, sorry.", "the reply")
    equal(bench.shop.did, [], DID)
    contains(results(script, 1)[0], "This order is frozen", TOLD)


@case("calls")
def a_value_that_does_not_fit_tells_the_model_what_would(bench: Bench) -> None:
    """An amount above what the contract allows is refused with the bound."""
    gate, script = bench.gate(), Script([("shop_refund", {"order_no": "7", "amount": 20000})], "done")
    bench.talk(gate, script, run=gate.run(capability="refunds"))
    equal(bench.shop.did, [], DID)
    contains(results(script, 1)[0], "500", TOLD)


@case("calls")
def a_call_that_needs_clarifying_tells_the_model_so(bench: Bench) -> None:
    """The user must say more, and the model is told what."""
    gate, script = bench.gate(), Script([("shop_refund", {"order_no": "some", "amount": 20})], "Which order?")
    bench.talk(gate, script, run=gate.run(capability="refunds"))
    equal(bench.shop.did, [], DID)
    contains(results(script, 1)[0], "The order must be named", TOLD)


@case("calls")
def a_tool_that_the_contract_does_not_list_is_denied(bench: Bench) -> None:
    """What nobody has thought of is not done."""
    gate, script = bench.gate(), Script([("wipe", {})], "no")
    bench.talk(gate, script, run=gate.run(capability="refunds"))
    equal(bench.shop.did, [], DID)
    contains(results(script, 1)[0], "wipe", TOLD)


@case("calls")
def nothing_runs_when_no_capability_is_open(bench: Bench) -> None:
    """A run that is for nothing yet may do nothing."""
    gate = bench.gate()
    bench.talk(gate, Script([REFUND], "no"), run=gate.run())
    equal(bench.shop.did, [], DID)


@case("calls")
def nothing_runs_when_the_gate_breaks(bench: Bench) -> None:
    """An error of the gate or of its ledger is no yes, and ends no talk."""
    for kind in ("action", "verdict", "intent"):
        for error in _breaks():
            gate = bench.gate(ledger=BrokenLedger(bench.ledger, kind, error))
            script = Script([REFUND], "It does not work right now.")
            reply = bench.talk(gate, script, run=gate.run(capability="refunds"))
            equal(reply, "It does not work right now.", f"the reply when the {kind} cannot be written")
            equal(bench.shop.did, [], DID)
            contains(results(script, 1)[0], "Nothing was done", TOLD)


@case("calls")
def the_model_does_not_repeat_what_the_gate_lost_sight_of(bench: Bench) -> None:
    """A tool that was called, and whose outcome could not be written, is in doubt."""
    for error in _breaks():
        bench.shop.did.clear()
        gate = bench.gate(ledger=BrokenLedger(bench.ledger, "outcome", error))
        script = Script([REFUND], "I am not sure that it worked.")
        bench.talk(gate, script, run=gate.run(capability="refunds"))
        equal(bench.shop.did, [("refund", {"order_no": "7", "amount": 20})], DID)
        (told,) = results(script, 1)
        expect("Nothing was done" not in told, f"{TOLD} does not say that nothing was done: {told!r}")
        contains(told, "scalate", TOLD)


@case("calls")
def the_model_learns_that_a_tool_failed(bench: Bench) -> None:
    """A tool that raises is told as failed, and the talk goes on."""
    gate, script = bench.gate(), Script([("shop_fail", {})], [REFUND], "Half of it worked.")
    equal(bench.talk(gate, script, run=gate.run(capability="refunds")), "Half of it worked.", "the reply")
    equal([name for name, _ in bench.shop.did], ["fail", "refund"], DID)
    told = results(script, 2)[0]
    contains(told, "failed", TOLD)
    contains(told, "the printer is on fire", TOLD)


@case("calls")
def a_result_comes_to_the_model_as_the_gate_has_edited_it(bench: Bench) -> None:
    """What the gate withholds of a result, and puts in its place, is what the model reads."""
    gate, script = bench.gate(), Script([("shop_find_order", {"order_no": "odd"})], "done")
    bench.talk(gate, script, run=gate.run(capability="refunds"))
    (told,) = results(script, 1)
    contains(told, "answered something unusable", TOLD)
    expect('"total"' not in told, f"the result itself is withheld, and the model was told {told!r}")


@case("calls")
def in_shadow_nothing_is_done_and_the_model_is_told_what_would_come_back(bench: Bench) -> None:
    """A simulated result stands in the place of the tool's own."""
    gate = bench.gate(CONTRACT.replace("start: autonomous", "start: shadow"))
    script = Script([REFUND], "done")
    run = gate.run(capability="refunds")
    bench.talk(gate, script, run=run)
    equal(bench.shop.did, [], DID)
    equal([e.body["done"] for e in bench.ledger.entries(run=run.id, kind="outcome")], ["simulated"], "the outcome")
    expect("R-7" not in results(script, 1)[0], f"{TOLD} is no result of the tool, which did not run")


@case("calls")
def of_two_calls_at_once_the_held_one_never_runs(bench: Bench) -> None:
    """Each of the calls that a model makes side by side is judged by itself."""
    turn: list[Call] = [ORDER, ("shop_refund", {"order_no": "7", "amount": 51})]
    gate, script = bench.gate(), Script(turn, "A person looks at it.")
    run = gate.run(capability="refunds")
    equal(bench.talk(gate, script, run=run), "A person looks at it.", "the reply")
    expect("refund" not in [name for name, _ in bench.shop.did], "what is held is not done")
    equal(run.status, "held", "the run's status")
    contains(results(script, 2)[1], "The lead signs refunds above 50 EUR", TOLD)


@case("calls")
def of_two_calls_at_once_only_one_gets_what_is_left(bench: Bench) -> None:
    """Calls side by side do not both take the last of a budget."""
    turn: list[Call] = [("shop_refund", {"order_no": number, "amount": 20}) for number in "12345678"]
    gate, script = bench.gate(), Script(turn, "done")
    run = gate.run(capability="refunds")
    bench.talk(gate, script, run=run)
    equal(len(bench.shop.did), 1, "how many refunds were made")
    denied = sum("One refund a talk is enough" in text for text in results(script, 8))
    equal(denied, 7, "how many of the calls were told why they were denied")
    equal(len(list(bench.ledger.entries(run=run.id, kind="intent"))), 1, "the intents")


@case("calls")
def a_run_of_another_gate_under_the_same_contract_is_good(bench: Bench) -> None:
    """An agent is guarded once, and works in runs that other gates open."""
    other = bench.gate()
    bench.talk(bench.gate(), Script([REFUND], "done"), run=other.run(capability="refunds"))
    equal([name for name, _ in bench.shop.did], ["refund"], DID)


@case("calls")
def arguments_that_are_no_object_run_nothing(bench: Bench) -> None:
    """Frameworks differ in what they do about such a call by themselves; it must end, and do nothing."""
    for arguments in ('{"order_no": ', "[]", '"7"'):
        gate = bench.gate()
        bench.talk(gate, Script([("shop_refund", arguments)], "done"), run=gate.run(capability="refunds"))
        equal(bench.shop.did, [], DID)


@case("calls")
def the_model_may_ask_the_user(bench: Bench) -> None:
    """The agent is offered `ask_user`, and what the user answers is the user's own word."""
    gate, script = bench.gate(), Script([("ask_user", {"question": "Which order?"})], "Order 7, then.")
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return "Order 7."

    run = gate.run(capability="refunds", ask_user=answer)
    bench.talk(gate, script, run=run)
    expect({"ask_user", "escalate"} <= set(script.offered), f"ask_user and escalate are offered: {script.offered}")
    equal(asked, ["Which order?"], "what the user was asked")
    equal(results(script, 1), ["Order 7."], TOLD)
    equal([e.body["text"] for e in bench.ledger.entries(run=run.id, kind="heard")], ["Order 7."], "what was heard")


@case("calls")
def the_model_may_hand_over(bench: Bench) -> None:
    """The agent is offered `escalate`, after which it does nothing more."""
    gate = bench.gate()
    script = Script([("escalate", {"reason": "They want a lawyer."})], [REFUND], "A person takes over.")
    run = gate.run(capability="refunds")
    equal(bench.talk(gate, script, run=run), "A person takes over.", "the reply")
    equal(run.status, "escalated", "the run's status")
    equal(bench.shop.did, [], DID)


@case("calls")
def in_a_trial_the_stand_ins_run_and_nothing_else(bench: Bench) -> None:
    """The tools that an agent was built with are not called in a test world."""
    stood_in: list[Mapping[str, Any]] = []

    def refund(**args: Any) -> dict[str, str]:
        stood_in.append(args)
        return {"refund_no": "S-1"}

    gate = bench.gate(world="test", tools={"shop.refund": refund})
    script = Script([REFUND], "done")
    bench.talk(gate, script, run=gate.run(capability="refunds"))
    equal(bench.shop.did, [], DID)
    equal(stood_in, [{"order_no": "7", "amount": 20}], "what the stand-in was called with")
    equal(json.loads(results(script, 1)[0]), {"refund_no": "S-1"}, TOLD)


@case("calls")
def a_broken_trial_is_not_taken_for_a_bad_agent(bench: Bench) -> None:
    """HarnessError comes out of the agent as it is."""
    gate = bench.gate(world="test", tools={})
    try:
        bench.talk(gate, Script([REFUND], "done"), run=gate.run(capability="refunds"))
    except HarnessError as error:
        contains(error, "no stand-in for shop.refund", "the error")
    else:
        raise Failed("HarnessError was expected to come out of the agent, and it ended as if nothing were wrong")
    equal(bench.shop.did, [], DID)


@case("calls")
def with_enforcement_off_tools_run_and_the_ledger_says_what_would_have_been(bench: Bench) -> None:
    """A gate that only reports changes nothing."""
    gate = bench.gate(enforce=False)
    run = gate.run(capability="refunds")
    bench.talk(gate, Script([("shop_refund", {"order_no": "frozen", "amount": 20})], "done"), run=run)
    equal([name for name, _ in bench.shop.did], ["refund"], DID)
    equal([e.body["ruling"] for e in bench.ledger.entries(run=run.id, kind="verdict")], ["deny"], "the verdict")


@case("calls", bound=True)
def without_a_run_no_tool(bench: Bench) -> None:
    """A call that belongs to no run is denied, and says how a run is opened."""
    script = Script([REFUND], "no")
    equal(bench.talk(bench.gate(), script), "no", "the reply")
    equal(bench.shop.did, [], DID)
    (told,) = results(script, 1)
    contains(told, "belongs to no run", TOLD)
    contains(told, "gate.run(", TOLD)


@case("calls", bound=True)
def a_run_under_another_contract_is_refused(bench: Bench) -> None:
    """A run does not lend its freedom to an agent that is guarded by another contract."""
    other, script = bench.gate(CONTRACT.replace("50.00", "5000.00")), Script([REFUND], "no")
    bench.talk(bench.gate(), script, run=other.run(capability="refunds"))
    equal(bench.shop.did, [], DID)
    contains(results(script, 1)[0], "another contract", TOLD)


@case("calls")
def no_task_goes_on_when_the_agent_has_ended(bench: Bench) -> None:
    """Allowed, denied, failed and suspended calls all leave an event loop as it was: the bench looks at every talk."""
    gate = bench.gate()
    turn: list[Call] = [ORDER, ("shop_refund", {"order_no": "frozen", "amount": 20}), ("shop_fail", {})]
    bench.way = "async"
    bench.talk(gate, Script(turn, "done"), run=gate.run(capability="refunds"))
    equal(sorted(name for name, _ in bench.shop.did), ["fail", "find_order"], DID)


@case("calls")
def two_runs_at_once_are_kept_apart(bench: Bench) -> None:
    """Agents that run side by side in one process act each for its own run."""
    import asyncio

    gate = bench.gate()
    bench.way = "async"
    shops = [Shop() for _ in range(4)]
    runs = [gate.run(id=f"run-{i}", capability="refunds") for i in range(4)]

    async def one(i: int) -> str:
        call: Call = ("shop_refund", {"order_no": str(i), "amount": 20})
        agent = bench.adapter.build(gate, bench.functions(shops[i]), Script([call], [NOTE], "done"))
        with runs[i].bind():
            return await bench.adapter.atalk(agent, "please")

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(one(i) for i in range(4)))

    equal(bench.finish(all_of_them()), ["done"] * 4, "the replies")
    for i, (run, shop) in enumerate(zip(runs, shops, strict=True)):
        refund = ("refund", {"order_no": str(i), "amount": 20})
        equal(shop.did, [refund, ("notify", {"text": "hello"})], f"what the tools of agent {i} have done")
        tools = [e.body["tool"] for e in bench.ledger.entries(run=run.id, kind="action")]
        equal(tools, ["shop.refund", "shop.notify"], f"the actions of run {i}")
