"""What was tried against the gate as a whole, from outside, and must not work: each is one way that once did."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.core.errors import LedgerError, UsageError
from roadworthy.core.types import Draft, Kind
from roadworthy.gate import passage
from roadworthy.gate.confirm import affirms
from roadworthy.gate.flow import judge as flow
from roadworthy.gate.run import Run

CONTRACT = Contract.loads(
    """
roadworthy: 1
agent: till
version: "1"
goal: Give money back.
owner: {team: Care, accountable: lead}
labels: {personal: {readers: nobody}}
tools:
  look:
    effect: read
    args: {ticket: string}
    returns:
      subject: {type: string, trust: untrusted}
      body: {type: string, trust: untrusted}
      zip: {type: string, trust: untrusted, optional: true}
      secret: {type: string, labels: [personal], optional: true}
  refund:
    effect: write
    args: {invoice: {type: string, origin: [user, trusted]}, amount: {type: decimal, origin: [user, trusted]}}
    returns: string
    confirm: {by: user, read_out: [invoice, amount]}
  note: {effect: write, args: {text: string}, returns: string}
  wipe_all: {effect: write, args: {note: {type: string, optional: true}}, returns: string}
  order: {effect: write, args: {item: string}, returns: {no: string}, undo: {tool: cancel, args: {no: result.no}}}
  cancel: {effect: write, args: {no: string}, returns: string, only: undo}
  show: {effect: read, args: {account: string}, returns: string}
  close: {effect: write, args: {account: string}, returns: string}
capabilities:
  care:
    means: Money back.
    tools: [look, refund, note, wipe_all, show, close, order]
    autonomy: {start: autonomous, approver: lead}
    success: [{id: one, check: count.refund >= 1}]
rules:
  - {id: asks, tools: [note], when: args.text == "ask", then: ask, because: A person should look.}
  - {id: final, tools: [wipe_all, close], then: ask, ask: {role: user}, because: This cannot be undone.}
claims: [{says: [paid back], needs: refund}]
escalate: {to: lead, on: [repeated_denial]}
"""
)
REFUND = {"invoice": "4711", "amount": "40.00"}
QUESTION = "Shall I refund 40.00 for invoice 4711?"


def answering(answer: Any) -> Callable[..., Any]:
    """A tool that answers this."""

    def tool(**_: Any) -> Any:
        return answer

    return tool


@dataclass
class Till:
    """A gate over a file, and the money that left it."""

    path: Path
    ledger: Ledger
    gate: Gate
    run: Run
    paid: list[Mapping[str, Any]]

    def refund(self) -> str:
        return self.run.call("refund", REFUND, self.pay).status

    def pay(self, **args: Any) -> str:
        self.paid.append(args)
        return "paid"

    def write(self, kind: Kind, body: Mapping[str, Any], cause: str | None = None) -> None:
        """What somebody writes who can write the file, and has nobody's key."""
        at = datetime(2026, 5, 4, tzinfo=UTC)
        self.ledger.append([Draft(kind=kind, world="production", run="r", body=body, at=at, cause=cause)])

    def elsewhere(self) -> Run:
        """The run as another process has it."""
        return Gate(CONTRACT, Ledger.open(self.path)).run(id="r")


@pytest.fixture
def till(tmp_path: Path, ledger: Ledger) -> Till:
    gate = Gate(CONTRACT, ledger)
    run = gate.run(id="r", capability="care")
    run.heard("Hello, it is about invoice 4711, the 40.00")
    return Till(path=tmp_path / "runs.db", ledger=ledger, gate=gate, run=run, paid=[])


# -- a yes to what ---------------------------------------------------------------------------------------------------


def test_a_question_that_never_reached_the_user_is_affirmed_by_nobody(till: Till) -> None:
    asked = till.run.ask_user(QUESTION)
    assert asked.status == "clarify"
    till.run.say("Would you like to hear our news?")
    till.run.heard("yes")
    assert till.refund() == "clarify"
    assert till.elsewhere().call("refund", REFUND, till.pay).status == "clarify"
    assert not till.paid


def test_the_yes_to_one_question_is_no_yes_to_another_that_is_asked_meanwhile(till: Till) -> None:
    asked, answered = threading.Event(), threading.Event()

    def channel(question: str) -> str:
        if question == QUESTION:
            asked.set()
            assert answered.wait(30)
            return "no"
        assert asked.wait(30)
        return "yes"

    till.run.ask_user_channel = channel
    thread = threading.Thread(target=till.run.ask_user, args=(QUESTION,))
    thread.start()
    assert till.run.ask_user("Do you like coffee?").value == "yes"
    assert till.refund() == "clarify"
    answered.set()
    thread.join()
    assert till.refund() == "clarify"
    assert not till.paid


def test_the_yes_to_a_question_that_was_put_by_itself_counts_here_and_elsewhere(till: Till) -> None:
    till.run.ask_user_channel = lambda _: "yes, please"
    assert till.run.ask_user(QUESTION).ok
    assert till.elsewhere().call("refund", REFUND, till.pay).ok
    assert till.refund() == "clarify", "one yes, one refund"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Your invoice 4711 has a total of 40.00. Anything else I can do for you?", "yes"),
        ("Rechnung 4711, 40.00. Kann ich sonst noch etwas tun?", "ja"),
        (QUESTION, "ok I see, tell me about the weather instead of"),
        (QUESTION, "ok and what is the other one about"),
        (QUESTION, "right, I had an account with a bank once"),
    ],
)
def test_a_word_that_takes_note_is_no_yes(till: Till, question: str, answer: str) -> None:
    till.run.say(question)
    till.run.heard(answer)
    assert till.refund() == "clarify"


@pytest.mark.parametrize(
    "answer",
    ["ok", "ok thanks", "okay, please refund it to my card", "sure, go ahead and do it", "right, do that for me",
     "ok ok", "Sure thing", "yes refund it to the card that I have paid with", "OK, that's fine with me",
     "correct, yes"],
)  # fmt: skip
def test_people_say_yes_in_many_ways(answer: str) -> None:
    assert affirms(answer, f"I found it. {QUESTION}")
    assert affirms(answer, "- Invoice: 4711\n- Amount: 40.00\n\nDo you want me to go ahead (yes/no)?")


def test_what_asks_the_user_asks_though_there_is_nothing_to_read_out(till: Till) -> None:
    wipe = answering("wiped")
    first = till.run.call("wipe_all", {}, wipe)
    assert first.status == "clarify"
    till.run.say("Do you like coffee?")
    till.run.heard("yes")
    assert till.run.call("wipe_all", {}, wipe).status == "clarify"
    assert till.run.call("wipe_all", {"note": None}, wipe).status == "clarify"
    till.run.say(str(first.value))
    till.run.heard("yes")
    assert till.run.call("wipe_all", {}, wipe).ok
    assert till.run.call("wipe_all", {}, wipe).status == "clarify", "one yes, one call"


def test_a_yes_to_one_tool_is_none_to_another_with_the_same_arguments(till: Till) -> None:
    till.run.say("Shall I show account 1234?")
    till.run.heard("yes")
    assert till.run.call("close", {"account": "1234"}, answering("closed")).status == "clarify"
    till.run.say("Shall I close account 1234?")
    till.run.heard("yes")
    assert till.run.call("close", {"account": "1234"}, answering("closed")).ok


# -- what a ledger says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["escalated", "closed"])
def test_no_entry_opens_a_run_again(till: Till, end: str) -> None:
    if end == "closed":
        till.run.close()
    else:
        till.run.escalate("enough")
    till.write("run", {"status": "open"})
    till.write("run", {"status": "held"})
    for run in (till.run, till.elsewhere()):
        assert run.call("look", {"ticket": "1"}, answering({})).status == "denied"
        assert run.status == end


def test_an_escalated_run_is_not_closed_by_an_entry(till: Till) -> None:
    till.run.escalate("enough")
    till.write("run", {"status": "closed"})
    assert till.elsewhere().status == "escalated"


def test_no_entry_changes_what_a_run_began_with(tmp_path: Path, ledger: Ledger) -> None:
    contract = Contract.loads(
        """
roadworthy: 1
agent: own
version: "1"
goal: g
owner: {team: t, accountable: lead}
subject: {entity: Cust}
entities: {Cust: {key: id, pattern: "C-[0-9]"}}
facts: {tier: {type: string, optional: true}}
tools: {look: {effect: read, args: {id: Cust}, returns: string}}
capabilities:
  c: {means: m, tools: [look], autonomy: {start: autonomous, approver: lead}}
"""
    )
    run = Gate(contract, ledger).run(id="r", capability="c", subject="C-1", facts={"tier": "plain"}, requester="ann")
    body = {"subject": "C-2", "facts": {"tier": "gold"}, "requester": "zoe"}
    at = datetime(2026, 5, 4, tzinfo=UTC)
    ledger.append([Draft(kind="run", world="production", run="r", body=body, at=at)])
    with Ledger.open(tmp_path / "runs.db") as other:
        for one in (run, Gate(contract, other).run(id="r")):
            assert one.call("look", {"id": "C-2"}, answering("seen")).status == "denied"
            assert (one.subject, one.state.requester, one.state.facts) == ("C-1", "ann", {"tier": "plain"})


@pytest.mark.parametrize(
    ("kind", "body"),
    [("heard", {}), ("action", {}), ("run", {"capabilities": 5}),
     ("observation", {"read": 5, "trust": "x"}), ("model_call", {"tokens": "x"}), ("said", {"done": "executed"})],
)  # fmt: skip
def test_an_entry_that_nobody_can_read_stops_the_run_and_breaks_no_agent(
    till: Till, kind: Kind, body: Mapping[str, Any]
) -> None:
    till.write(kind, body)
    stopped = till.run.call("look", {"ticket": "1"}, answering({}))
    assert (stopped.status, stopped.done) == ("denied", "blocked")
    with pytest.raises(LedgerError, match="cannot be read"):
        till.elsewhere()


def test_no_later_entry_points_an_undo_at_something_else(tmp_path: Path, ledger: Ledger) -> None:
    cancelled: list[str] = []

    def cancel(no: str) -> str:
        cancelled.append(no)
        return "gone"

    gate = Gate(CONTRACT, ledger, tools={"cancel": cancel})
    run = gate.run(id="r", capability="care")
    assert run.call("order", {"item": "tea"}, answering({"no": "A1"})).ok
    action, intent = (next(e for e in ledger.entries(run="r") if e.kind == kind) for kind in ("action", "intent"))
    forged: list[tuple[Kind, Mapping[str, Any]]] = [
        ("outcome", {"status": "ok", "done": "executed", "text": "", "value": {"no": "B2"}}),
        ("action", {**action.body, "args": {"item": "all"}}),
        ("intent", intent.body),
        ("outcome", {"status": "ok", "done": "executed", "text": "", "value": {"no": "C3"}}),
    ]
    at = datetime(2026, 5, 4, tzinfo=UTC)
    ledger.append([Draft(kind=k, world="production", run="r", body=b, at=at, cause=intent.cause) for k, b in forged])
    gate.undo("r", by="ann", because="a mistake")
    assert cancelled == ["A1"]


# -- what two processes know -----------------------------------------------------------------------------------------


def test_calls_of_tools_that_there_are_not_are_counted_in_every_process(till: Till) -> None:
    assert till.run.call("nonsense", {"a": 1}).status == "denied"
    assert till.run.call("nonsense", {"a": 1}).status == "denied"
    other = till.elsewhere()
    assert other.state.denials == till.run.state.denials
    other.call("nonsense", {"a": 1})
    assert other.status == "escalated"


def test_an_approved_action_that_cannot_be_done_ends_in_every_process(till: Till) -> None:
    assert till.run.call("note", {"text": "ask"}, answering("noted")).status == "held"
    question = till.gate.questions()[0]
    till.gate.answer(question.id, by="ann", ruling="approve")
    till.run.escalate("enough")
    assert till.run.settle() == 1
    other = till.elsewhere()
    assert other.state.denials == till.run.state.denials
    assert other.state.news == till.run.state.news
    assert [p.settled for p in other.state.pending.values()] == [True]


def test_what_was_read_is_the_same_whatever_order_its_fields_came_in(till: Till) -> None:
    read = {"zip": "10115 Berlin", "subject": "pay now", "body": "the whole sum"}
    assert till.run.call("look", {"ticket": "1"}, answering(read)).ok
    mine, other = till.run.state.index, till.elsewhere().state.index
    assert mine is not None
    assert other is not None
    assert mine.masks == other.masks


# -- what was only made up ------------------------------------------------------------------------------------------


def test_nobody_is_written_to_about_what_was_only_simulated(ledger: Ledger) -> None:
    contract = Contract.loads(
        """
roadworthy: 1
agent: travel
version: "1"
goal: g
owner: {team: t, accountable: lead}
tools:
  book: {effect: write, args: {}, returns: {number: string}}
  tell: {effect: send, args: {text: string}, returns: string}
capabilities:
  c: {means: m, tools: [book], autonomy: {start: shadow, approver: lead}}
  d: {means: m, tools: [tell], autonomy: {start: autonomous, approver: lead}}
"""
    )
    run = Gate(contract, ledger).run(capability=["c", "d"])
    booked = run.call("book", {}, answering({}))
    assert booked.done == "simulated"
    text = f"Your booking {booked.value['number']} is confirmed."
    assert run.call("tell", {"text": text}, answering("told")).done == "simulated"
    assert run.call("tell", {"text": "We look into it."}, answering("told")).done == "executed"


# -- what breaks within ----------------------------------------------------------------------------------------------


def test_an_answer_that_breaks_the_gate_reaches_the_agent_as_an_outcome(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(passage.responses, "judge", broken)
    read = till.run.call("look", {"ticket": "1"}, answering({}))
    assert (read.status, read.done) == ("failed", "executed")
    noted = till.run.call("note", {"text": "a"}, answering("noted"))
    assert (noted.status, noted.done) == ("in_doubt", "executed")
    assert till.run.state.counts["note"] == 1
    assert till.elsewhere().state.counts == till.run.state.counts


def test_a_check_that_breaks_lets_nothing_through(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(passage.budgets, "reservations", broken)
    monkeypatch.setattr(passage.held, "approval_of", broken)
    outcome = till.run.call("note", {"text": "a"}, till.pay)
    assert (outcome.status, outcome.done) == ("denied", "blocked")
    assert not till.paid


@pytest.mark.parametrize("text", [None, 5, b"hello", ["hello"], {"text": "hello"}])
def test_what_is_no_text_is_told_nobody(till: Till, text: Any) -> None:
    for outcome in (till.run.say(text), till.run.ask_user(text)):
        assert (outcome.status, outcome.done) == ("denied", "blocked")
    for takes in (till.run.heard, till.run.read):
        with pytest.raises(UsageError, match="is text"):
            takes(text)
    till.elsewhere()


def test_a_reply_that_nobody_could_judge_is_held_back(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(flow, "judge_text", broken)
    assert till.run.say("Hello").status == "denied"


# -- what is no call -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [["refund"], {"name": "refund"}, None, 5, "", "refund\u200b", "\ud800"])
def test_what_is_no_name_is_no_tool(till: Till, name: Any) -> None:
    assert till.run.call(name, REFUND, till.pay).status == "denied"
    till.elsewhere()
    assert not till.paid
