"""What the user is told passes the gate before the user sees it."""

from __future__ import annotations

from roadworthy.adapters.conformance.bench import Bench, BrokenLedger, contains, equal, expect
from roadworthy.adapters.conformance.case import case
from roadworthy.adapters.conformance.cases.calls import DID, TOLD, results
from roadworthy.adapters.conformance.script import Lasting, Reacting, Script, Stubborn, noticed
from roadworthy.adapters.conformance.shop import CAREFUL, FIND, HONEST, REFUND, UNTRUE
from roadworthy.adapters.replies import HANDED_OVER, NOT_NOW
from roadworthy.core.errors import LedgerError
from roadworthy.gate.run import Run
from roadworthy.ledger.store import Ledger


def said(ledger: Ledger, run: Run) -> list[tuple[str, str]]:
    """What was said in a run, and whether it was told."""
    return [(e.body["text"], e.body.get("status", "ok")) for e in ledger.entries(run=run.id, kind="said")]


@case("replies")
def what_was_not_done_is_not_told_and_the_model_may_do_it(bench: Bench) -> None:
    """A claim goes back to the model, which may make it true."""
    gate = bench.gate(CAREFUL)
    run = gate.run(capability="refunds")
    equal(bench.talk(gate, Reacting(UNTRUE, [REFUND], "It was refunded."), run=run), "It was refunded.", "the reply")
    equal([name for name, _ in bench.shop.did], ["refund"], DID)
    equal(said(bench.ledger, run), [(UNTRUE, "denied")], "what was said")
    expect(run.say("It was refunded.").ok, "what was done may be told")


@case("replies")
def a_reply_goes_back_to_the_model_until_it_may_be_told(bench: Bench) -> None:
    """The model learns why its words were held back, and finds others."""
    gate, script = bench.gate(CAREFUL), Reacting(UNTRUE, HONEST, "unused")
    run = gate.run(capability="refunds")
    equal(bench.talk(gate, script, run=run), HONEST, "the reply")
    notices = noticed(script.seen[-1])
    equal(len(notices), 1, "how many notices the model sees")
    contains(notices[0], "shop.refund was not carried out", "the notice")
    equal(said(bench.ledger, run), [(UNTRUE, "denied")], "what was said")
    equal(run.status, "open", "the run's status")


@case("replies")
def after_two_more_tries_a_person_looks_at_it_and_the_user_is_told_so(bench: Bench) -> None:
    """A model that insists does not get its way."""
    gate, script = bench.gate(CAREFUL), Stubborn(UNTRUE)
    run = gate.run(capability="refunds")
    told = bench.talk(gate, script, run=run)
    equal(told, HANDED_OVER, "the reply")
    equal(run.status, "escalated", "the run's status")
    equal(len(script.seen), 3, "how often the model was asked")
    equal(said(bench.ledger, run), [(UNTRUE, "denied")] * 3, "what was said")
    expect(run.say(told).ok, "that a person looks at it may be told")


@case("replies")
def labelled_data_is_not_told(bench: Bench) -> None:
    """Data that has no readers stays inside, however it is written."""
    gate = bench.gate(CAREFUL)
    run = gate.run(capability="refunds")
    script = Lasting([FIND], "It is the order A 48 213.", "I cannot tell.")
    equal(bench.talk(gate, script, run=run), "I cannot tell.", "the reply")
    equal(said(bench.ledger, run), [("It is the order A 48 213.", "denied")], "what was said")


@case("replies")
def a_question_that_may_not_be_put_never_reaches_the_user(bench: Bench) -> None:
    """`ask_user` is a way to tell the user something, too."""
    gate = bench.gate(CAREFUL)
    asked: list[str] = []
    script = Script(
        [FIND],
        [("ask_user", {"question": "Is A-48213 right?"})],
        [("ask_user", {"question": "Which order?"})],
        "Thank you.",
    )
    run = gate.run(capability="refunds", ask_user=lambda question: asked.append(question) or "Order 7.")
    equal(bench.talk(gate, script, run=run), "Thank you.", "the reply")
    equal(asked, ["Which order?"], "what the user was asked")
    contains(results(script, 3)[1], "was not told this", TOLD)


@case("replies")
def a_hand_over_that_may_not_say_so_is_refused(bench: Bench) -> None:
    """`escalate` is a way out for data, too."""
    rule = "flow: [{id: no-numbers, label: internal, into: [escalate], because: Staff need no numbers.}]\n"
    gate = bench.gate(CAREFUL + rule)
    script = Script(
        [FIND],
        [("escalate", {"reason": "They want A-48213 back."})],
        [("escalate", {"reason": "They want a lawyer."})],
        "A person takes over.",
    )
    run = gate.run(capability="refunds")
    equal(bench.talk(gate, script, run=run), "A person takes over.", "the reply")
    contains(results(script, 3)[1], "Staff need no numbers", TOLD)
    reasons = [e.body["reason"] for e in bench.ledger.entries(run=run.id, kind="handover")]
    equal(reasons, ["They want a lawyer."], "what the run was handed over for")


@case("replies")
def nothing_is_told_that_nobody_could_judge_or_record(bench: Bench) -> None:
    """Where the ledger breaks, the user is told nothing but that it does not work."""
    for error in (ZeroDivisionError("boom"), LedgerError("the disk is full")):
        gate, script = bench.gate(CAREFUL, BrokenLedger(bench.ledger, "said", error)), Stubborn(UNTRUE)
        equal(bench.talk(gate, script, run=gate.run(capability="refunds")), NOT_NOW, "the reply")
        equal(len(script.seen), 1, "how often the model was asked")


@case("replies")
def with_enforcement_off_it_is_told_and_recorded(bench: Bench) -> None:
    """A gate that only reports holds nothing back."""
    gate = bench.gate(CAREFUL, enforce=False)
    run = gate.run(capability="refunds")
    equal(bench.talk(gate, Stubborn(UNTRUE), run=run), UNTRUE, "the reply")
    expect(run.say(UNTRUE).ok, "with enforcement off all may be said")
    codes = [r["code"] for e in bench.ledger.entries(run=run.id, kind="said") for r in e.body["reasons"]]
    equal(codes, ["untrue_claim"], "why it would have been held back")
