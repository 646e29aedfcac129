"""What a run has done is taken back, last first and once, or listed to a person."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.contract.keys import SigningKey, seal
from roadworthy.contract.people import Member, People
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import LedgerError, UsageError
from roadworthy.core.types import Entry
from roadworthy.gate.run import Run
from roadworthy.gate.undo import Undone

from .board import CONTRACT, Office


@dataclass
class Setting:
    """An office, and a run of its agent that may be looked at from several processes."""

    office: Office
    contract: Contract
    path: Path
    ledger: Ledger
    clock: VirtualClock
    gate: Gate
    run: Run

    def call(self, tool: str, **args: Any) -> Any:
        return self.run.call(tool, args, self.office.tools[tool])

    def again(self, ledger: Ledger) -> Gate:
        """The gate as another process has it."""
        return Gate(self.contract, ledger, tools=self.office.tools, clock=self.clock)

    def undo(self, **more: Any) -> Undone:
        return self.gate.undo("r1", **{"by": "ada", "because": "It was all wrong", **more})

    def entries(self, kind: Any) -> list[Entry]:
        return list(self.ledger.entries(run="r1", kind=kind))


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    office, clock = Office(tmp_path / "office.db"), VirtualClock()
    contract = Contract.load(CONTRACT)
    with Ledger.open(tmp_path / "runs.db") as ledger:
        gate = Gate(contract, ledger, tools=office.tools, clock=clock)
        run = gate.run(id="r1", capability="office")
        yield Setting(office, contract, tmp_path / "runs.db", ledger, clock, gate, run)


def test_everything_is_taken_back_the_last_first(setting: Setting) -> None:
    before = setting.office.world()
    assert setting.call("board.write", place="door", text="Back at noon").ok
    assert setting.call("books.book", account="rent", amount="12.50").ok
    assert setting.call("board.write", place="door", text="Closed").ok
    assert setting.call("shop.order", item="paper").ok
    assert setting.office.world() != before
    done = setting.undo()
    assert [r.tool for r in done.undone] == ["shop.order", "board.write", "books.book", "board.write"]
    assert not done.left
    assert setting.office.world() == before
    assert [e.body["tool"] for e in setting.entries("action") if e.body.get("by") == "undo"] == [
        "shop.cancel", "board.write", "books.reverse", "board.write",
    ]  # fmt: skip


def test_a_call_that_was_taken_back_is_not_taken_back_again(setting: Setting) -> None:
    assert setting.call("board.write", place="door", text="Closed").ok
    assert len(setting.undo().undone) == 1
    setting.office.tools["board.write"](place="door", text="Written by a person meanwhile")
    seen = len(list(setting.ledger.entries()))
    again = setting.undo()
    assert again == Undone(run="r1")
    assert len(list(setting.ledger.entries())) == seen
    assert setting.office.world()["board"] == [("door", "Written by a person meanwhile")]


def test_the_ledger_tells_who_took_back_what_and_with_which_action(setting: Setting) -> None:
    booked = setting.call("books.book", account="rent", amount="12.50")
    assert booked.ok
    setting.undo()
    asked, came = setting.entries("undo")
    assert (asked.body["by"], asked.body["because"]) == ("ada", "It was all wrong")
    (action,) = [e for e in setting.entries("action") if e.body.get("by") == "undo"]
    assert asked.body["actions"] == [came.body["action"]] == [action.body["for"]]
    assert came.body["with"] == action.body["id"]
    assert (came.body["came"], came.body["tool"]) == ("undone", "books.book")
    kinds = [e.kind for e in setting.ledger.entries(run="r1") if e.cause == action.body["id"]]
    assert kinds == ["action", "verdict", "intent", "outcome"]
    (verdict,) = [e for e in setting.entries("verdict") if e.cause == action.body["id"]]
    assert verdict.body["ruling"] == "allow"
    assert "ada takes back books.book" in verdict.body["reasons"][0]["text"]


# -- what is in doubt --------------------------------------------------------------------------------------------------


def test_a_call_in_doubt_is_settled_by_its_lookup_and_taken_back(setting: Setting) -> None:
    before = setting.office.world()
    setting.office.goes("shop.order", "lost_after")
    setting.office.goes("shop.status", "refused")  # the run itself learns nothing, and it stays in doubt
    assert setting.call("shop.order", item="paper").status == "in_doubt"
    done = setting.undo()
    assert [r.came for r in done.reversals] == ["undone"]
    assert setting.office.world() == before
    settled = [e.body for e in setting.entries("outcome") if "settled_by" in e.body]
    assert [(b["status"], b["settled_by"]) for b in settled] == [("ok", "shop.status")]


def test_a_call_in_doubt_that_never_happened_is_no_loss(setting: Setting) -> None:
    setting.office.goes("books.book", "lost_before")
    assert setting.call("books.book", account="rent", amount="12.50").status == "in_doubt"
    done = setting.undo()
    assert [(r.came, r.code) for r in done.reversals] == [("not_done", "not_done")]
    assert not setting.office.world()["books"]
    assert not setting.entries("handover")


def test_what_arrives_late_is_taken_back_by_the_next_undo(setting: Setting) -> None:
    before = setting.office.world()
    setting.office.goes("shop.order", "lost_before")
    failed = setting.call("shop.order", item="paper")
    assert failed.status == "failed"  # its look-up says so, for now
    assert [r.came for r in setting.undo().reversals] == ["not_done"]
    key = next(e.body["key"] for e in setting.entries("intent") if e.body["key"] != e.cause)
    setting.office.tools["shop.order"](item="paper", request_id=key)
    assert setting.office.world() != before
    assert [r.came for r in setting.undo().reversals] == ["undone"]
    assert setting.office.world() == before


def test_what_nobody_can_settle_is_listed_to_a_person(setting: Setting) -> None:
    setting.office.goes("board.write", "lost_after")
    assert setting.call("board.write", place="door", text="Closed").status == "in_doubt"
    done = setting.undo()
    assert [(r.came, r.code) for r in done.reversals] == [("left", "in_doubt")]
    (handover,) = setting.entries("handover")
    assert handover.body["to"] == "office-lead"
    assert "Nobody knows whether board.write was done" in handover.body["reason"]
    assert setting.run.status == "escalated"


def test_a_result_that_was_lost_cannot_be_taken_back_by_it(setting: Setting) -> None:
    setting.office.goes("books.book", "lost_after")
    assert setting.call("books.book", account="rent", amount="12.50").ok  # settled at once by its look-up
    (left,) = setting.undo().left
    assert left.code == "value_not_known"
    assert "result.entry_no is not known" in left.text
    assert setting.entries("handover")


def test_a_call_that_may_still_run_is_not_taken_for_undone(setting: Setting) -> None:
    tools, found = setting.office.tools, list[Undone]()

    def slow(**args: Any) -> Any:
        found.append(setting.gate.undo("r1", by="ada", because="Stop this"))
        return tools["books.book"](**args)

    assert setting.run.call("books.book", {"account": "rent", "amount": "1.00"}, slow).ok
    assert [(r.came, r.code) for r in found[0].reversals] == [("left", "in_doubt")]
    assert [r.came for r in setting.undo().reversals] == ["undone"]
    assert not setting.office.world()["books"]


# -- what cannot be taken back -----------------------------------------------------------------------------------------


def test_what_has_no_compensation_is_listed_and_the_rest_taken_back(setting: Setting) -> None:
    assert setting.call("board.write", place="door", text="Closed").ok
    assert setting.call("post.send", body="We are closed").ok
    done = setting.undo()
    assert [(r.tool, r.code) for r in done.reversals] == [("post.send", "no_undo"), ("board.write", "undone")]
    assert setting.office.world()["board"] == []
    (handover,) = setting.entries("handover")
    assert "post.send was done, and the contract says nothing that takes it back" in handover.body["reason"]
    again = setting.undo()
    assert [r.code for r in again.left] == ["no_undo"]
    assert len(setting.entries("handover")) == 1  # a person knows already


def test_a_compensation_that_did_nothing_is_tried_again_by_the_next_undo(setting: Setting) -> None:
    before = setting.office.world()
    assert setting.call("books.book", account="rent", amount="12.50").ok
    setting.office.goes("books.reverse", "refused")
    (left,) = setting.undo().left
    assert left.code == "failed"
    assert "does not work today" in left.text
    assert setting.office.world() != before
    assert [r.came for r in setting.undo().reversals] == ["undone"]
    assert setting.office.world() == before


@pytest.mark.parametrize("mishap", ["lost_before", "lost_after"])
def test_a_compensation_in_doubt_is_never_repeated_blindly(setting: Setting, mishap: Any) -> None:
    assert setting.call("board.write", place="door", text="Closed").ok
    setting.office.goes("board.write", mishap)
    (left,) = setting.undo().left
    assert left.code == "undo_in_doubt"
    setting.office.tools["board.write"](place="door", text="By hand")
    assert [r.code for r in setting.undo().reversals] == ["undo_in_doubt"]
    assert setting.office.world()["board"] == [("door", "By hand")]
    assert len(setting.entries("handover")) == 1


def test_a_compensation_in_doubt_counts_once_the_call_no_longer_shows(setting: Setting) -> None:
    before = setting.office.world()
    assert setting.call("books.book", account="rent", amount="12.50").ok
    setting.office.goes("books.reverse", "lost_after")
    done = setting.undo()
    assert [r.came for r in done.reversals] == ["undone"]
    assert setting.office.world() == before
    assert not setting.entries("handover")


@pytest.mark.parametrize("mishap", ["lost_before", "lost_after"])
def test_a_compensation_with_a_key_is_sent_again_under_the_same_key(setting: Setting, mishap: Any) -> None:
    before = setting.office.world()
    assert setting.call("shop.order", item="paper").ok
    setting.office.goes("shop.cancel", mishap)
    setting.office.goes("shop.status", "refused", "refused")
    assert [r.code for r in setting.undo().reversals] == ["undo_in_doubt"]
    assert [r.code for r in setting.undo().reversals] == ["undone"]
    assert setting.office.world() == before
    keys = {
        e.body["key"] for e in setting.entries("intent") for a in setting.entries("action")
        if a.body["id"] == e.cause and a.body["tool"] == "shop.cancel"
    }  # fmt: skip
    assert len(keys) == 1


def test_calls_with_one_key_have_one_effect_and_are_taken_back_once(setting: Setting) -> None:
    before = setting.office.world()
    assert setting.call("shop.order", item="paper").ok
    assert setting.call("shop.order", item="paper").ok
    done = setting.undo()
    assert [r.came for r in done.reversals] == ["undone", "undone"]
    assert len({r.by for r in done.reversals}) == 1
    assert setting.office.world() == before
    assert setting.undo() == Undone(run="r1")


# -- what does not hold it up ------------------------------------------------------------------------------------------


def test_neither_stop_nor_level_nor_budget_nor_the_end_of_a_run_keeps_it_from_being_undone(setting: Setting) -> None:
    before = setting.office.world()
    for place in range(19):
        assert setting.call("board.write", place=str(place), text="Closed").ok
    setting.gate.stop(because="enough", by="ada")
    setting.gate.set_level("office", "shadow", because="enough", by="ada")
    setting.run.close()
    setting.clock.sleep(2 * 3600)  # longer than the run's own time
    assert setting.call("board.write", place="x", text="y").status == "denied"
    done = setting.undo()
    assert len(done.undone) == 19
    assert setting.office.world() == before


def test_what_a_compensation_is_given_is_typed(setting: Setting) -> None:
    text = CONTRACT.read_text().replace(
        "books.reverse: {effect: write, args: {entry_no: string}",
        'books.reverse: {effect: write, args: {entry_no: {type: string, pattern: "E[0-9]+"}}',
    )
    with Ledger.open(":memory:") as ledger:
        gate = Gate(Contract.loads(text), ledger, tools=setting.office.tools)
        run = gate.run(id="r1", capability="office")
        assert run.call("books.book", {"account": "rent", "amount": "1.00"}, setting.office.tools["books.book"]).ok
        (left,) = gate.undo("r1", by="ada", because="Wrong").left
    assert left.code == "bad_arguments"
    assert "entry_no" in left.text


def test_what_was_only_simulated_needs_no_undo(setting: Setting) -> None:
    text = CONTRACT.read_text().replace("start: autonomous", "start: shadow")
    with Ledger.open(":memory:") as ledger:
        gate = Gate(Contract.loads(text), ledger, tools=setting.office.tools)
        run = gate.run(id="r1", capability="office")
        assert run.call("board.write", {"place": "door", "text": "x"}, setting.office.tools["board.write"]).ok
        assert gate.undoable("r1") == []
        assert gate.undo("r1", by="ada", because="Wrong") == Undone(run="r1")


def test_what_a_watching_gate_let_run_is_taken_back(setting: Setting) -> None:
    before = setting.office.world()
    with Ledger.open(":memory:") as ledger:
        gate = Gate(setting.contract, ledger, tools=setting.office.tools, enforce=False)
        run = gate.run(id="r1")  # no capability is open: it would have been denied
        assert run.call("board.write", {"place": "door", "text": "x"}, setting.office.tools["board.write"]).ok
        assert setting.office.world() != before
        assert len(gate.undo("r1", by="ada", because="Wrong").undone) == 1
    assert setting.office.world() == before


async def test_async_code_undoes_by_the_same_steps(setting: Setting) -> None:
    before = setting.office.world()

    async def book(**args: Any) -> Any:
        await asyncio.sleep(0)
        return setting.office.tools["books.book"](**args)

    assert (await setting.run.acall("books.book", {"account": "rent", "amount": "12.50"}, book)).ok
    done = await setting.gate.aundo("r1", by="ada", because="Wrong")
    assert [r.came for r in done.reversals] == ["undone"]
    assert setting.office.world() == before


def test_an_approved_action_is_taken_back_as_it_was_done(setting: Setting) -> None:
    held = setting.call("books.book", account="rent", amount="700.00")
    assert held.status == "held"
    (asked,) = setting.gate.questions()
    setting.gate.answer(asked.id, by="bob", ruling="edit", args={"account": "rent", "amount": "70.00"})
    assert setting.gate.settle("r1") == 1
    assert setting.office.world()["books"] == [("rent", "70")]
    (reversal,) = setting.undo().undone
    assert reversal.args["amount"] == "70"
    assert setting.office.world()["books"] == []


# -- the run afterwards ------------------------------------------------------------------------------------------------


def test_the_agent_is_told_and_the_counts_stay(setting: Setting) -> None:
    assert setting.call("books.book", account="rent", amount="12.50").ok
    setting.undo(because="The rent was paid twice")
    assert setting.run.news() == ["books.book was taken back by ada: The rent was paid twice."]
    assert setting.run.news() == []
    state = setting.run.state
    assert state.counts["books.book"] == 1
    assert state.sums[("books.book", "amount")] == Decimal("12.50")
    assert state.counts.get("books.reverse", 0) == 0
    assert setting.run.status == "open"
    assert setting.call("board.write", place="door", text="Going on").ok


def test_another_process_comes_to_the_same_state(setting: Setting) -> None:
    setting.office.goes("shop.status", "refused")
    setting.office.goes("shop.order", "lost_after")
    setting.call("shop.order", item="paper")
    setting.call("board.write", place="door", text="Closed")
    setting.call("books.book", account="rent", amount="12.50")
    setting.undo()
    mine = setting.run.state
    with Ledger.open(setting.path) as other:
        theirs = setting.again(other).run(id="r1").state
        for name in ("counts", "sums", "writes", "tool_calls", "last_calls", "keys", "news", "status", "order"):
            assert getattr(theirs, name) == getattr(mine, name), name


def test_what_was_seen_before_an_undo_is_old(setting: Setting) -> None:
    text = CONTRACT.read_text().replace(
        "  post.send: {effect: send, args: {body: string}, returns: string}",
        "  post.send:\n    effect: send\n    args: {place: string, body: string}\n    returns: string\n"
        "    needs: [{call: board.read, same: [place], since: [board.write]}]",
    )
    sent: list[str] = []
    with Ledger.open(":memory:") as ledger:
        gate = Gate(Contract.loads(text), ledger, tools=setting.office.tools)
        run = gate.run(id="r1", capability="office")
        tools = setting.office.tools
        assert run.call("board.write", {"place": "door", "text": "Closed"}, tools["board.write"]).ok
        assert run.call("board.read", {"place": "door"}, tools["board.read"]).ok
        gate.undo("r1", by="ada", because="Wrong")

        def send(place: str, body: str) -> str:
            sent.append(body)
            return "sent"

        stale = run.call("post.send", {"place": "door", "body": "It says closed"}, send)
        assert stale.status == "denied"
        assert "board.write was called" in stale.text
        assert run.call("board.read", {"place": "door"}, tools["board.read"]).ok
        assert run.call("post.send", {"place": "door", "body": "It says nothing"}, send).ok
    assert sent == ["It says nothing"]


def test_a_key_whose_call_was_taken_back_does_not_pass_again(setting: Setting) -> None:
    assert setting.call("shop.order", item="paper").ok
    setting.undo()
    again = setting.call("shop.order", item="paper")
    assert again.status == "denied"
    assert "taken back" in again.text
    assert setting.office.world()["shop"] == []
    with Ledger.open(setting.path) as other:
        run = setting.again(other).run(id="r1")
        assert run.call("shop.order", {"item": "paper"}, setting.office.tools["shop.order"]).status == "denied"


def test_what_was_taken_back_may_not_be_claimed_any_more(setting: Setting) -> None:
    text = CONTRACT.read_text() + (
        "claims:\n  - {says: [it is booked], needs: books.book}\n  - {says: [it is on the board], needs: board.write}\n"
    )
    with Ledger.open(":memory:") as ledger:
        gate = Gate(Contract.loads(text), ledger, tools=setting.office.tools)
        run = gate.run(id="r1", capability="office")
        assert run.call("books.book", {"account": "rent", "amount": "1.00"}, setting.office.tools["books.book"]).ok
        assert run.call("board.write", {"place": "a", "text": "x"}, setting.office.tools["board.write"]).ok
        assert run.say("It is booked, and it is on the board.").ok
        gate.undo("r1", by="ada", because="Wrong")
        for claim in ("It is booked.", "It is on the board."):
            assert run.say(claim).status == "denied"
        reopened = Gate(gate.contract, ledger, tools=setting.office.tools)
        for claim in ("It is booked.", "It is on the board."):
            assert reopened.run(id="r1").say(claim).status == "denied"


# -- who may ask -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "because", "said"),
    [
        ("", "x", "by and because must not be empty"),
        ("ada", "  ", "by and because must not be empty"),
        ("board-bot", "x", "runs the agent"),
        (" Board-Bot ", "x", "runs the agent"),
        ("rule:none", "x", "no rule 'none'"),
    ],
)
def test_an_undo_names_a_person_and_a_reason(setting: Setting, by: str, because: str, said: str) -> None:
    assert setting.call("board.write", place="door", text="Closed").ok
    with pytest.raises(UsageError, match=re.escape(said)):
        setting.undo(by=by, because=because)
    assert setting.office.world()["board"] == [("door", "Closed")]
    assert not setting.entries("undo")


def test_a_rule_of_the_contract_may_ask(setting: Setting) -> None:
    assert setting.call("board.write", place="door", text="Closed").ok
    assert len(setting.undo(by="rule:large-amounts-ask").undone) == 1


def test_a_run_that_is_not_there_or_under_another_contract_is_refused(setting: Setting) -> None:
    assert setting.call("board.write", place="door", text="Closed").ok
    with pytest.raises(UsageError, match="no run 'r2'"):
        setting.gate.undo("r2", by="ada", because="x")
    changed = Contract.loads(CONTRACT.read_text().replace('version: "1"', 'version: "2"'))
    with pytest.raises(UsageError, match=r"another contract \(version 1"):
        Gate(changed, setting.ledger, tools=setting.office.tools).undo("r1", by="ada", because="x")


def test_without_the_functions_nothing_is_begun(setting: Setting) -> None:
    assert setting.call("board.write", place="door", text="Closed").ok
    assert setting.call("books.book", account="rent", amount="12.50").ok
    some = {name: fn for name, fn in setting.office.tools.items() if name != "books.reverse"}
    with pytest.raises(UsageError, match=r"the function of books\.reverse"):
        Gate(setting.contract, setting.ledger, tools=some).undo("r1", by="ada", because="x")
    assert setting.office.world()["board"] == [("door", "Closed")]
    assert not setting.entries("undo")


def test_blocking_code_does_not_begin_what_it_cannot_wait_for(setting: Setting) -> None:
    async def reverse(**args: Any) -> Any:
        return setting.office.tools["books.reverse"](**args)

    assert setting.call("books.book", account="rent", amount="12.50").ok
    gate = Gate(setting.contract, setting.ledger, tools={**setting.office.tools, "books.reverse": reverse})
    with pytest.raises(UsageError, match=r"books\.reverse can only be waited for: use `await gate\.aundo"):
        gate.undo("r1", by="ada", because="Wrong")
    assert not setting.entries("undo")
    assert len(asyncio.run(gate.aundo("r1", by="ada", because="Wrong")).undone) == 1


KEYS = {name: SigningKey.new() for name in ("ada", "bob", "eve")}
PEOPLE = People(
    people=1,
    roles=("office-lead", "audit"),
    members={
        "ada": Member(roles=("office-lead",), keys=(KEYS["ada"].public,)),
        "bob": Member(roles=("audit",), keys=(KEYS["bob"].public,)),
    },
)


@pytest.fixture
def staffed(setting: Setting) -> Iterator[Setting]:
    """The same, under a contract that names people."""
    contract = Contract.loads(f"{CONTRACT.read_text()}people: people.yaml\n").with_people(PEOPLE)
    with Ledger.open(setting.path.with_name("staffed.db")) as ledger:
        gate = Gate(contract, ledger, tools=setting.office.tools, clock=setting.clock)
        run = gate.run(id="r1", capability="office")
        yield Setting(setting.office, contract, setting.path, ledger, setting.clock, gate, run)


def ask(setting: Setting, by: str, key: str | None = None, **change: Any) -> dict[str, Any]:
    """A word of somebody, signed with a key, and changed afterwards."""
    body = setting.gate.undo_request("r1", by=by, because="Wrong")
    if key is not None:
        body = seal(KEYS[key], "undo", body)
    body |= change
    return {name: body[name] for name in ("by", "because", "nonce", "signature") if name in body}


def test_where_the_contract_names_people_their_signature_is_wanted(staffed: Setting) -> None:
    assert staffed.call("board.write", place="door", text="Closed").ok
    for word, said in (
        (ask(staffed, "ada"), "ada has not signed it"),
        (ask(staffed, "ada", "bob"), "not the signature of ada"),
        (ask(staffed, "ada", "ada", because="Something else"), "not the signature of ada"),
        (ask(staffed, "ada", "ada", nonce="another"), "not the signature of ada"),
        (ask(staffed, "bob", "bob"), "bob holds none of the roles that may undo (office-lead); ada can"),
        (ask(staffed, "eve", "eve"), "eve is not a member"),
    ):
        with pytest.raises(UsageError, match=re.escape(said)):
            staffed.gate.undo("r1", **word)
    assert staffed.office.world()["board"] == [("door", "Closed")]
    assert len(staffed.gate.undo("r1", **ask(staffed, "ada", "ada")).undone) == 1
    assert PEOPLE.sealed("undo", staffed.entries("undo")[0].body)


def test_a_signature_is_good_for_what_was_done_until_then_and_once(staffed: Setting) -> None:
    assert staffed.call("books.book", account="rent", amount="1.00").ok
    word = ask(staffed, "ada", "ada")
    staffed.office.goes("books.reverse", "refused")
    assert len(staffed.gate.undo("r1", **word).left) == 1
    with pytest.raises(UsageError, match="was used before"):
        staffed.gate.undo("r1", **word)
    word = ask(staffed, "ada", "ada")
    with Ledger.open(":memory:") as elsewhere:
        other = Gate(staffed.contract, elsewhere, tools=staffed.office.tools, clock=staffed.clock)
        assert other.run(id="r1", capability="office").call(
            "books.book", {"account": "rent", "amount": "1.00"}, staffed.office.tools["books.book"]
        ).ok  # fmt: skip
        with pytest.raises(UsageError, match="not the signature of ada"):
            other.undo("r1", **word)
    assert staffed.call("board.write", place="door", text="Closed").status == "denied"  # a person has taken over
    assert len(staffed.gate.undo("r1", **word).undone) == 1


# -- several processes, and those that break off -----------------------------------------------------------------------

ANOTHER = """
import json, sys
sys.path.insert(0, {here!r})
from board import CONTRACT, Office
from pathlib import Path
from roadworthy import Contract, Gate, Ledger

folder = Path(sys.argv[1])
with Ledger.open(folder / "runs.db") as ledger:
    gate = Gate(Contract.load(CONTRACT), ledger, tools=Office(folder / "office.db").tools)
    print("ready", flush=True)
    sys.stdin.readline()
    done = gate.undo("r1", by=sys.argv[2], because="Wrong")
    print(json.dumps([[r.action, r.came, r.code] for r in done.reversals]))
"""


def test_two_processes_at_once_take_each_call_back_once(setting: Setting) -> None:
    before = setting.office.world()
    for number in range(6):
        assert setting.call("books.book", account=f"a{number}", amount="1.00").ok
        assert setting.call("board.write", place="door", text=str(number)).ok
    script = setting.path.with_name("another.py")
    script.write_text(ANOTHER.format(here=str(CONTRACT.parent)))
    words = [sys.executable, str(script), str(setting.path.parent)]
    both = [
        subprocess.Popen([*words, by], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for by in ("ada", "bob")
    ]
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in both:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    found = [json.loads(one.communicate(timeout=60)[0]) for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert setting.office.world() == before
    backs = [e.body for e in setting.entries("action") if e.body.get("by") == "undo"]
    assert len(backs) == len({b["for"] for b in backs}) == 12
    said = {action for reversals in found for action, came, _ in reversals if came == "undone"}
    assert len(said) == 12
    assert setting.gate.undo("r1", by="ada", because="Wrong") == Undone(run="r1")


class Breaks:
    """A ledger whose next appends fail, as after a kill: nothing that follows is written."""

    def __init__(self, ledger: Ledger, after: int) -> None:
        self._ledger = ledger
        self._left = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def append(self, drafts: Any, guards: Any = ()) -> Any:
        if self._left == 0:
            raise LedgerError("the process was killed")
        self._left -= 1
        return self._ledger.append(drafts, guards)


@pytest.mark.parametrize("after", range(8))
def test_an_undo_that_broke_off_anywhere_goes_on_and_repeats_nothing(setting: Setting, after: int) -> None:
    before = setting.office.world()
    assert setting.call("shop.order", item="paper").ok
    assert setting.call("books.book", account="rent", amount="12.50").ok
    broken: Any = Breaks(setting.ledger, after)
    gate = Gate(setting.contract, broken, tools=setting.office.tools, clock=setting.clock)
    try:
        gate.undo("r1", by="ada", because="Wrong")
    except LedgerError:
        assert after < 7
    with Ledger.open(setting.path) as other:
        again = setting.again(other)
        done = again.undo("r1", by="bob", because="Wrong")
        assert not done.left
        assert setting.office.world() == before
        assert again.undo("r1", by="bob", because="Wrong") == Undone(run="r1")
        came = [e.body["action"] for e in other.entries(run="r1", kind="undo") if e.body.get("came") == "undone"]
        assert len(came) == len(set(came)) == 2


@pytest.mark.parametrize("after", [2, 3])
def test_a_run_that_is_driven_again_settles_an_undo_that_broke_off(tmp_path: Path, after: int) -> None:
    office, clock = Office(tmp_path / "office.db"), VirtualClock()
    before = office.world()
    with Ledger.open(tmp_path / "runs.db") as ledger:
        gate = Gate(Contract.load(CONTRACT), ledger, tools=office.tools, clock=clock)
        run = gate.run(id="r1", capability="office", suspendable=True)
        assert run.call("books.book", {"account": "rent", "amount": "12.50"}, office.tools["books.book"]).ok
        broken: Any = Breaks(ledger, after)
        with pytest.raises(LedgerError):
            Gate(gate.contract, broken, tools=office.tools, clock=clock).undo("r1", by="ada", because="Wrong")
    with Ledger.open(tmp_path / "runs.db") as ledger:
        gate = Gate(Contract.load(CONTRACT), ledger, tools=office.tools, clock=clock)
        again = gate.resume("r1")
        state = again.state
        assert (state.counts["books.book"], state.counts.get("books.reverse", 0), state.writes) == (1, 0, 1)
        # What the run did comes back as it was, and is not done again, though it was taken back.
        assert again.call("books.book", {"account": "rent", "amount": "12.50"}, office.tools["books.book"]).ok
        assert not gate.undo("r1", by="ada", because="Wrong").left
        assert office.world() == before
