"""Several handles on one run: in one process, in several, and over time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Draft, Entry, Guard

ONCE = """
roadworthy: 1
agent: once
version: "1"
goal: g
owner: {team: t, accountable: x}
subject: {entity: Cust, established_by: [find]}
entities: {Cust: {key: id, pattern: "C-[0-9]"}}
facts: {email: {type: string, optional: true}, tier: {type: string, optional: true}}
tools:
  find: {effect: read, args: {}, returns: {id: Cust}}
  pay: {effect: write, args: {n: integer}, returns: string}
  look: {effect: read, args: {x: string}, returns: string, before_subject: true}
capabilities:
  c: {means: m, tools: [find, pay, look], autonomy: {start: autonomous, approver: x}}
  d: {means: m, tools: [look], autonomy: {start: autonomous, approver: x}}
rules:
  - {id: once, tools: [pay], when: count.pay >= 1, then: deny, because: Once is enough.}
  - {id: own, tools: [look], when: 'has(facts.email) && args.x != facts.email', then: deny, because: Only the own.}
budgets: {run: {wall: 60s}}
principals: {bot: {capabilities: [c, d]}}
"""
CONTRACT = Contract.loads(ONCE)


def pay(n: int) -> str:
    return f"paid {n}"


def look(x: str) -> str:
    return f"seen {x}"


@pytest.fixture
def gate(ledger: Ledger) -> Gate:
    return Gate(CONTRACT, ledger)


def test_two_handles_on_one_run_share_its_memory(gate: Gate, ledger: Ledger) -> None:
    one = gate.run(id="t", principal="bot", capability="c", subject="C-1")
    two = Gate(CONTRACT, ledger).run(id="t", principal="bot")
    assert one.call("pay", {"n": 1}, pay).ok
    assert two.call("pay", {"n": 2}, pay).status == "denied"
    one.escalate("enough")
    assert two.status == "escalated"


def test_two_threads_that_open_and_pay_at_once_pay_once(gate: Gate) -> None:
    meet = threading.Barrier(4)
    statuses: list[str] = []

    def turn(n: int) -> None:
        meet.wait()
        run = gate.run(id="t", principal="bot", capability="c", subject="C-1")
        statuses.append(run.call("pay", {"n": n}, pay).status)

    threads = [threading.Thread(target=turn, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == ["denied", "denied", "denied", "ok"]


def test_two_processes_see_each_other(gate: Gate, tmp_path: Path) -> None:
    """Two ledgers over one file know of each other as little as two processes do."""
    with Ledger.open(tmp_path / "runs.db") as other:
        one = gate.run(id="t", principal="bot", capability="c", subject="C-1")
        two = Gate(CONTRACT, other).run(id="t", principal="bot")
        two.heard("pay me")
        assert two.call("pay", {"n": 1}, pay).ok
        assert one.call("pay", {"n": 2}, pay).status == "denied"
        assert one.state.words == "pay me"
        two.close("the end")
        assert one.call("look", {"x": "a"}, look).status == "denied"
        assert one.status == "closed"


def test_a_call_of_another_process_between_decision_and_intent_bites(
    ledger: Ledger, gate: Gate, tmp_path: Path
) -> None:
    done: list[str] = []

    class Meddled(Ledger):
        """Another process pays just before our intent is written."""

        def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
            if not done and any(d.kind == "intent" for d in drafts):
                done.append(gate.run(id="t", principal="bot").call("pay", {"n": 1}, pay).status)
            return super().append(drafts, guards)

    gate.run(id="t", principal="bot", capability="c", subject="C-1")
    with Meddled.open(tmp_path / "runs.db") as meddled:
        mine = Gate(CONTRACT, meddled).run(id="t", principal="bot")
        outcome = mine.call("pay", {"n": 2}, pay)
        assert done == ["ok"]
        assert (outcome.status, outcome.done) == ("denied", "blocked")
        assert mine.state.counts["pay"] == 1
    assert gate.run(id="t", principal="bot").state.counts["pay"] == 1


def test_another_thread_that_learns_of_it_first_hides_it_from_no_call(
    ledger: Ledger, gate: Gate, tmp_path: Path
) -> None:
    done: list[str] = []

    class Meddled(Ledger):
        """Another process pays just before our intent is written, and another call of this process comes to know."""

        def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
            if done or not any(d.kind == "intent" for d in drafts):
                return super().append(drafts, guards)
            done.append(gate.run(id="t", principal="bot").call("pay", {"n": 1}, pay).status)
            written = super().append(drafts, guards)
            done.append(mine.call("look", {"x": "a"}, look).status)
            return written

    gate.run(id="t", principal="bot", capability="c", subject="C-1")
    with Meddled.open(tmp_path / "runs.db") as meddled:
        mine = Gate(CONTRACT, meddled).run(id="t", principal="bot")
        assert (mine.call("pay", {"n": 2}, pay).status, mine.call("look", {"x": "b"}, look).status) == ("denied", "ok")
        assert done == ["ok", "ok"]
        assert mine.state.counts["pay"] == 1


def test_facts_may_be_added_and_never_changed(gate: Gate, tmp_path: Path) -> None:
    first = gate.run(id="t", principal="bot", capability="c")
    assert first.call("look", {"x": "eve"}, look).ok
    second = gate.run(id="t", principal="bot", facts={"email": "ada"})
    assert second.call("look", {"x": "eve"}, look).status == "denied"
    assert first.call("look", {"x": "eve"}, look).status == "denied"
    with pytest.raises(UsageError, match="another 'email'"):
        gate.run(id="t", principal="bot", facts={"email": "eve"})
    with Ledger.open(tmp_path / "runs.db") as later:
        third = Gate(CONTRACT, later).run(id="t", principal="bot", facts={"tier": "gold"})
        assert third.state.facts == {"email": "ada", "tier": "gold"}


def test_an_established_subject_stays(gate: Gate, tmp_path: Path) -> None:
    gate.run(id="t", principal="bot", capability="c").call("find", {}, lambda: {"id": "C-1"})
    with pytest.raises(UsageError, match="never changes its subject"):
        gate.run(id="t", principal="bot", subject="C-2")
    gate.run(id="u", principal="bot", capability="c")
    gate.run(id="u", principal="bot", subject="C-2")
    with Ledger.open(tmp_path / "runs.db") as later:
        again = Gate(CONTRACT, later)
        assert again.run(id="t", principal="bot").subject == "C-1"
        assert again.run(id="u", principal="bot").subject == "C-2"
        with pytest.raises(UsageError, match="never changes its subject"):
            again.run(id="t", principal="bot", subject="C-2")


def test_a_later_contract_takes_capabilities_away(gate: Gate, ledger: Ledger) -> None:
    gate.run(id="t", principal="bot", capability=["c", "d"], subject="C-1")
    narrower = Contract.loads(ONCE.replace("capabilities: [c, d]", "capabilities: [d]"))
    run = Gate(narrower, ledger).run(id="t", principal="bot")
    assert run.capabilities == ("d",)
    assert run.call("pay", {"n": 1}, pay).status == "denied"
    assert [e.body["contract"] for e in ledger.entries(run="t", kind="run")] == [CONTRACT.digest, narrower.digest]


def test_waiting_for_the_user_does_not_use_up_the_time(ledger: Ledger) -> None:
    clock = VirtualClock()

    def ask(_question: str) -> str:
        clock.advance(3000)
        return "yes"

    gate = Gate(CONTRACT, ledger, clock=clock)
    run = gate.run(id="t", principal="bot", capability="c", ask_user=ask)
    run.heard("hello")
    assert run.ask_user("Sure?").ok
    clock.advance(50)
    assert run.call("look", {"x": "a"}, look).ok
    clock.advance(9000)
    run.heard("still there?")
    assert run.call("look", {"x": "b"}, look).ok
    clock.advance(11)
    assert "longer than its 60 s" in run.call("look", {"x": "c"}, look).text
