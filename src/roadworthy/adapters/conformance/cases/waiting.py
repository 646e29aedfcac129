"""Actions that wait for a person: the talk goes on, or the run stops and is driven again from its start."""

from __future__ import annotations

from typing import Any

from roadworthy.adapters.conformance.bench import Bench, Failed, contains, equal, expect
from roadworthy.adapters.conformance.case import case
from roadworthy.adapters.conformance.cases.calls import DID, TOLD, results
from roadworthy.adapters.conformance.script import Script, noticed
from roadworthy.adapters.conformance.shop import BIG, NOTE, ORDER, REFUND, SUSPENDING
from roadworthy.core.errors import Suspended, UsageError
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run

REFUNDED = ("refund", {"order_no": "7", "amount": 51})
NOTED = ("notify", {"text": "hello"})


def answer(gate: Gate, ruling: Any, **more: Any) -> None:
    """Answer the one question that waits."""
    asked = gate.questions()
    equal(len(asked), 1, "how many questions wait for a person")
    gate.answer(asked[0].id, by="shop-lead", ruling=ruling, **more)


def suspendable(gate: Gate) -> Run:
    """A run that may stop for a person."""
    return gate.run(id="r", capability="refunds", suspendable=True)


def waits(came: object) -> None:
    """Fail the case unless a drive came to Suspended."""
    if not isinstance(came, Suspended):
        raise Failed(f"drive() must give back Suspended while a person must decide, and it gave {came!r}")
    equal(came.run, "r", "the run of the Suspended")
    contains(came, "The lead signs refunds", "the text of the Suspended")


@case("waiting")
def a_held_call_waits_and_the_conversation_goes_on(bench: Bench) -> None:
    """The model is told that a person decides, and does what else there is."""
    gate, script = bench.gate(), Script([BIG], [REFUND], "A person looks at it.")
    run = gate.run(capability="refunds")
    equal(bench.talk(gate, script, run=run), "A person looks at it.", "the reply")
    equal(bench.shop.did, [("refund", {"order_no": "7", "amount": 20})], DID)
    equal(run.status, "held", "the run's status")
    held, carried = results(script, 2)
    contains(held, "The lead signs refunds above 50 EUR", TOLD)
    contains(held, "user", TOLD)
    expect(carried != held, "the second call was carried, and its result is not that of the first")


@case("waiting")
def the_model_learns_at_the_next_turn_what_became_of_a_held_call(bench: Bench) -> None:
    """What was approved meanwhile is done when the user speaks again, and the model is told once."""
    gate = bench.gate()
    run = gate.run(id="r", capability="refunds")
    run.heard("51 euro back for order 7")
    bench.talk(gate, Script([BIG], "A person looks at it."), run=run)
    answer(gate, "approve")
    run = gate.run(id="r")
    run.heard("And?")
    if not bench.shop.did:  # blocking code can carry no async tool, and leaves that to async code
        bench.finish(run.aheard("Well?"))
    equal(bench.shop.did, [REFUNDED], DID)
    script = Script("It was done.", "Anything else?")
    equal(bench.talk(gate, script, "And?", run=run), "It was done.", "the reply")
    news = noticed(script.seen[0])
    equal(len(news), 1, "how many notices the model sees")
    contains(news[0], "R-7", "the notice")
    again = Script("Anything else?")
    bench.talk(gate, again, "No.", run=run)
    equal(noticed(again.seen[0]), [], "the notices of the turn after that")


@case("waiting")
def a_run_that_suspends_ends_the_agent_and_goes_on_when_it_is_driven_again(bench: Bench) -> None:
    """Also where the framework's own entry is called: Suspended comes out of it."""
    gate = bench.gate(SUSPENDING)
    turns = ([BIG], [NOTE], "Done.")
    try:
        came = bench.talk(gate, Script(*turns), run=suspendable(gate))
    except Suspended as waits:
        contains(waits, "The lead signs refunds", "the text of the Suspended")
    else:
        raise Failed(f"Suspended was expected to come out of the agent, which said {came!r}")
    equal(bench.shop.did, [], DID)
    answer(gate, "approve")
    equal(bench.talk(gate, Script(*turns), run=gate.resume("r")), "Done.", "the reply")
    equal([name for name, _ in bench.shop.did], ["refund", "notify"], DID)


@case("waiting")
def drive_goes_to_the_end_where_nobody_must_decide(bench: Bench) -> None:
    """A driven agent is otherwise like any."""
    gate, script = bench.gate(SUSPENDING), Script([ORDER], [NOTE], "Done.")
    equal(bench.drive(gate, script, suspendable(gate)), "Done.", "the reply")
    equal(bench.shop.did, [("find_order", {"order_no": "7"}), NOTED], DID)


@case("waiting")
def drive_comes_back_while_a_person_must_decide_and_goes_on_after_it(bench: Bench) -> None:
    """What was done before is not done again; driven too early, it waits again and asks nobody twice."""
    gate = bench.gate(SUSPENDING)
    turns = ([NOTE], [BIG], "Done.")
    waits(bench.drive(gate, Script(*turns), suspendable(gate)))
    equal(bench.shop.did, [NOTED], DID)
    waits(bench.drive(gate, Script(*turns), gate.resume("r"), None))
    answer(gate, "approve")
    script = Script(*turns)
    equal(bench.drive(gate, script, gate.resume("r"), None), "Done.", "the reply")
    equal(bench.shop.did, [NOTED, REFUNDED], DID)
    contains(results(script, 2)[1], "R-7", TOLD)


@case("waiting")
def of_two_calls_at_once_one_suspends_and_each_is_done_once(bench: Bench) -> None:
    """The call beside the one that waits is done now, or when the agent is driven again, and never twice."""
    gate = bench.gate(SUSPENDING)
    for turn in ([NOTE, BIG], [BIG, NOTE]):
        bench.shop.did.clear()
        run = f"r{len(list(bench.ledger.entries(kind='question')))}"
        first = gate.run(id=run, capability="refunds", suspendable=True)
        came = bench.drive(gate, Script(turn, "Done."), first)
        expect(isinstance(came, Suspended), f"drive() must give back Suspended, and it gave {came!r}")
        expect("refund" not in [name for name, _ in bench.shop.did], "what is held is not done")
        answer(gate, "approve")
        script = Script(turn, "Done.")
        equal(bench.drive(gate, script, gate.resume(run), None), "Done.", "the reply")
        equal(sorted(bench.shop.did), sorted([NOTED, REFUNDED]), DID)
        equal(["R-7" in text for text in results(script, 2)], [call is BIG for call in turn], "whose result is whose")


@case("waiting")
def a_denied_answer_reaches_the_model(bench: Bench) -> None:
    """The person's no comes to the model as the result of its call."""
    gate = bench.gate(SUSPENDING)
    turns = ([BIG], "They say no.")
    waits(bench.drive(gate, Script(*turns), suspendable(gate)))
    answer(gate, "deny", because="The parcel was delivered.")
    script = Script(*turns)
    equal(bench.drive(gate, script, gate.resume("r"), None), "They say no.", "the reply")
    equal(bench.shop.did, [], DID)
    contains(results(script, 1)[0], "The parcel was delivered.", TOLD)


@case("waiting")
def an_edited_action_is_done_as_the_person_wrote_it(bench: Bench) -> None:
    """The tool gets the person's arguments, and the model is told that they are others than its own."""
    gate = bench.gate(SUSPENDING)
    turns = ([BIG], "Done.")
    waits(bench.drive(gate, Script(*turns), suspendable(gate)))
    answer(gate, "edit", args={"order_no": "7", "amount": "40.00"})
    script = Script(*turns)
    equal(bench.drive(gate, script, gate.resume("r"), None), "Done.", "the reply")
    equal(bench.shop.did, [("refund", {"order_no": "7", "amount": 40})], DID)
    contains(results(script, 1)[0], "40", TOLD)


@case("waiting")
def one_agent_is_driven_again_in_the_same_process(bench: Bench) -> None:
    """The object remembers nothing of a drive that stopped."""
    gate = bench.gate(SUSPENDING)
    script = Script([BIG], "Done.")
    agent = bench.build(gate, script)
    waits(bench.drive_agent(agent, suspendable(gate)))
    answer(gate, "approve")
    equal(bench.drive_agent(agent, gate.resume("r"), None), "Done.", "the reply")
    equal(bench.shop.did, [REFUNDED], DID)
    equal(script.seen[0], script.seen[1], "what the model is asked first in the second drive, as in the first")


@case("waiting")
def another_start_is_refused(bench: Bench) -> None:
    """An agent that is driven again with other words would not come to the same place."""
    gate = bench.gate(SUSPENDING)
    waits(bench.drive(gate, Script([BIG], "Done."), suspendable(gate)))
    script = Script([BIG], "Done.")
    try:
        bench.drive(gate, script, gate.resume("r"), "something else")
    except UsageError:
        equal(script.seen, [], "what the model was asked")
    else:
        raise Failed("drive() must refuse a start that is another than it was, with UsageError")
