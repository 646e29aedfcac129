"""What a run is for, found out from the user's words; and the events on which it is handed to a person."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.core.clock import VirtualClock
from roadworthy.gate import scope
from roadworthy.gate.run import Run
from roadworthy.gate.scope import Scope

LAW = """
roadworthy: 1
agent: desk
version: "1"
goal: Settle what customers want.
owner: {team: Care, accountable: lead}
tools:
  pay: {effect: write, args: {n: integer}, returns: string}
  move: {effect: write, args: {n: integer}, returns: string}
capabilities:
  refund:
    means: Somebody wants money back.
    examples:
      - I want my money back
      - refund my last invoice please
      - you charged me twice
      - please return what I paid
      - my parcel was lost, refund it
      - I was billed for a thing I never got
    tools: [pay]
    autonomy: {start: autonomous, approver: lead}
  address:
    means: Somebody has moved and wants their address changed.
    examples:
      - I have moved
      - change my address
      - my new street is Main Street 5
      - please send post to my new flat
      - update where I live
      - we moved to another town
    tools: [move]
    autonomy: {start: autonomous, approver: lead}
budgets: {run: {tool_calls: 2}}
principals: {bot: {capabilities: [refund, address]}, half: {capabilities: [address]}}
"""


def law(on: str = "") -> Contract:
    return Contract.loads(LAW + (f"escalate: {{to: lead, on: [{on}]}}\n" if on else ""))


@pytest.fixture
def ledgers(tmp_path: Path) -> Iterator[tuple[Ledger, Ledger]]:
    """Two views of one ledger, as two processes have it."""
    with Ledger.open(tmp_path / "runs.db") as one, Ledger.open(tmp_path / "runs.db") as other:
        yield one, other


def opened(ledger: Ledger, contract: Contract | None = None, **more: Any) -> Run:
    gate = Gate(contract or law("out_of_scope"), ledger, clock=VirtualClock())
    return gate.run(id="r", principal=more.pop("principal", "bot"), **more)


def done(n: int) -> str:
    return f"done {n}"


def test_the_users_words_open_what_they_ask_for(ledgers: tuple[Ledger, Ledger]) -> None:
    run = opened(ledgers[0])
    assert run.call("pay", {"n": 1}, done).status == "denied", "nobody has said anything yet"
    run.heard("hi")
    unclear = run.call("pay", {"n": 1}, done)
    assert (unclear.status, run.status) == ("clarify", "open")
    assert "Somebody wants money back." in unclear.text
    run.heard("Please give me my money back, you charged me twice.")
    assert run.capabilities == ("refund",)
    assert run.call("pay", {"n": 1}, done).ok
    assert run.call("move", {"n": 1}, done).status == "denied", "what was not asked for stays closed"
    assert opened(ledgers[1]).capabilities == ("refund",)


def test_what_is_unclear_is_unclear_to_whoever_opens_the_run_again(ledgers: tuple[Ledger, Ledger]) -> None:
    opened(ledgers[0]).heard("good morning")
    assert opened(ledgers[1]).call("pay", {"n": 1}, done).status == "clarify"


@pytest.mark.parametrize("greeting", ["hi", "Hello!", "good morning", "thanks", "can you help me?", "yes please", "7"])
def test_a_greeting_hands_nothing_over(ledgers: tuple[Ledger, Ledger], greeting: str) -> None:
    run = opened(ledgers[0])
    run.heard(greeting)
    assert (run.status, run.capabilities) == ("open", ())


def out(*_: object) -> Scope:
    return Scope(capability=None, certainty="out", scores={"refund": -2.0, "address": -2.0})


@pytest.mark.parametrize(("on", "status"), [("out_of_scope", "escalated"), ("budget", "open"), ("", "open")])
def test_what_the_agent_is_not_for_goes_to_a_person_where_the_contract_says_so(
    ledgers: tuple[Ledger, Ledger], monkeypatch: pytest.MonkeyPatch, on: str, status: str
) -> None:
    monkeypatch.setattr(scope, "classify", out)
    contract = law(on)
    run = opened(ledgers[0], contract)
    run.heard("write me a poem")
    assert run.status == opened(ledgers[1], contract).status == status
    assert len(list(ledgers[0].entries(run="r", kind="handover"))) == (status == "escalated")
    refused = run.call("pay", {"n": 1}, done)
    assert refused.status == ("denied" if status == "escalated" else "clarify")


def test_what_the_application_opened_stays_as_it_is(
    ledgers: tuple[Ledger, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened(ledgers[0], capability="refund")
    run.heard("I have moved, change my address")
    assert run.capabilities == ("refund",)
    monkeypatch.setattr(scope, "classify", out)
    run.heard("write me a poem")
    assert run.status == "open"


def test_a_later_turn_that_is_hard_to_place_takes_nothing_away(
    ledgers: tuple[Ledger, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened(ledgers[0])
    run.heard("I want my money back")
    monkeypatch.setattr(scope, "classify", out)
    run.heard("the weather is nice, is it not")
    assert (run.status, run.capabilities) == ("open", ("refund",))
    assert run.call("pay", {"n": 1}, done).ok


def test_words_open_nothing_that_the_principal_may_not_use(ledgers: tuple[Ledger, Ledger]) -> None:
    run = opened(ledgers[0], principal="half")
    run.heard("I want my money back")
    assert run.capabilities == ()
    assert run.call("pay", {"n": 1}, done).done == "blocked"


def test_neither_results_nor_the_agent_open_anything(ledgers: tuple[Ledger, Ledger]) -> None:
    run = opened(ledgers[0])
    run.say("I want my money back")
    run.read("I want my money back", trust="trusted")
    assert run.capabilities == ()


def test_a_run_is_handed_over_on_what_the_contract_names(ledgers: tuple[Ledger, Ledger]) -> None:
    run = opened(ledgers[0], law("budget"), capability="refund")
    for n in range(2):
        assert run.call("pay", {"n": n}, done).ok
    assert run.call("pay", {"n": 3}, done).status == "denied"
    assert run.status == "escalated"


@pytest.mark.parametrize(("on", "status"), [("", "escalated"), ("repeated_denial", "escalated"), ("budget", "open")])
def test_the_third_denial_of_the_same_call(ledgers: tuple[Ledger, Ledger], on: str, status: str) -> None:
    contract = law(on)
    run = opened(ledgers[0], contract, capability="refund")
    for _ in range(3):
        assert run.status == "open"
        assert run.call("move", {"n": 1}, done).status == "denied"
    assert run.status == opened(ledgers[1], contract).status == status


@pytest.mark.parametrize(("on", "status"), [("", "open"), ("in_doubt", "escalated")])
def test_a_write_in_doubt(ledgers: tuple[Ledger, Ledger], on: str, status: str) -> None:
    run = opened(ledgers[0], law(on), capability="refund")

    def lost(n: int) -> str:
        raise TimeoutError("no answer")

    outcome = run.call("pay", {"n": 1}, lost)
    assert outcome.status == "in_doubt"
    assert ("A person takes over" in outcome.text) is (status == "escalated")
    assert run.status == status
