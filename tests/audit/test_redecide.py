"""Runs are decided again from the ledger alone: the same bytes under their own contract, the differences under others.

`tests/gate/conftest.py` holds the same for whatever the gate's own tests do.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.gate.office import Office, law

import roadworthy.examples.desk as desk
from roadworthy import Contract, Gate, Ledger
from roadworthy.audit.laws import Laws
from roadworthy.audit.redecide import Redecided, Redeciding, as_begun
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Draft, Entry
from roadworthy.examples.desk.agents.plain import agent
from roadworthy.gate.run import Run
from roadworthy.ledger.store import Appender
from roadworthy.ledger.vault import Vault
from roadworthy.trials.load import load_scenarios
from roadworthy.trials.runner import run_trials

BUDGET = """
roadworthy: 1
agent: till
version: "1"
goal: Pay.
owner: {team: Care, accountable: lead}
types: {Money: {type: decimal, unit: EUR, min: "0.01"}}
tools:
  pay: {effect: write, args: {zeta: string, amount: Money, alpha: string}, returns: string}
  once:
    effect: write
    args: {name: string, text: string}
    idempotent: {key: [name], passed_as: key, scope: forever}
    returns: string
capabilities:
  paying:
    means: Somebody is to be paid.
    tools: [pay, once]
    autonomy: {start: autonomous, ceiling: autonomous}
    success: [{id: one, check: count.pay <= 9}]
rules:
  - {id: large, tools: [pay], when: args.amount > LIMIT, then: deny, because: Nobody pays that much.}
budgets:
  day:
    - {sum: {tool: pay, arg: amount}, per: agent, max: "100.00"}
"""


DESK = Path(str(desk.__file__)).parent
NOTES = "id: late, tools: [note], when: count.note > {most}, then: deny, because: Enough is noted."


def pay(**_: str) -> str:
    return "paid"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "runs.db") as opened:
        yield opened


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(
        tmp_path, law("role: lead", 'id: late, tools: [note], when: count.note > 1, then: deny, because: "x"')
    )
    with made.open:
        yield made


def till(limit: str = "90.00") -> Contract:
    return Contract.loads(BUDGET.replace("LIMIT", limit))


def again(ledger: Appender, run: str, **kwargs: Any) -> Redecided:
    assert isinstance(ledger, Ledger)
    return Redeciding(ledger, **kwargs).run(run)


def whats(found: Redecided) -> list[str]:
    return [one.what for one in found.decisions]


def test_every_trial_of_the_desk_comes_to_the_same_bytes(ledger: Ledger) -> None:
    scenarios = load_scenarios(DESK / "scenarios")
    report = run_trials(Contract.load(DESK / "contract.yaml"), agent, scenarios, trials=1, ledger=ledger)
    found = list(Redeciding(ledger).runs())
    assert len(found) >= report.total.trials
    assert {(one.undecided, one.differing) for one in found} == {(None, ())}
    assert sum(len(one.decisions) for one in found) > 2 * len(found)


def test_people_levels_stops_and_an_undo_are_part_of_it(office: Office) -> None:
    run = office.run()
    run.heard("my money back, please")
    assert office.refund(run).status == "held"
    office.answer("ada")
    run.heard("and?")
    assert office.till.paid == [("7", "250")]
    office.gate.set_level("refunds", "approval", because="careful", by="joan")
    assert office.note(run).status == "held"
    office.gate.stop(because="enough", by="ada")
    assert office.note(run, "another").status == "denied"
    found = again(office.gate.ledger, run.id)
    assert found.same
    assert whats(found).count("verdict") >= 4
    assert whats(found).count("question") == 2
    assert "levels" in whats(found)


def test_arguments_that_a_person_has_changed_are_judged_as_they_were_changed(office: Office) -> None:
    run = office.run()
    assert office.refund(run).status == "held"
    office.answer("ada", "edit", args={"no": "7", "amount": "120.00"})
    run.heard("and?")
    assert office.till.paid == [("7", "120")]
    assert again(office.gate.ledger, run.id).same


def test_a_run_that_went_on_in_another_process_is_one_run(office: Office) -> None:
    run = office.run()
    office.note(run)
    other = office.run(gate=office.elsewhere())
    office.note(other)
    office.note(run)
    found = again(office.gate.ledger, run.id)
    assert found.same
    assert whats(found).count("verdict") == 3


def test_what_other_runs_had_used_up_is_known(ledger: Ledger) -> None:
    gate = Gate(till(), ledger, clock=VirtualClock())
    for n in range(3):
        gate.run(id=f"r{n}", capability="paying").call("pay", {"zeta": "z", "amount": "45.00", "alpha": "a"}, pay)
    found = [again(ledger, f"r{n}") for n in range(3)]
    assert [one.same for one in found] == [True, True, True]
    assert [one.decisions[-1].was["ruling"] for one in found] == ["allow", "allow", "deny"]
    assert found[2].decisions[-1].was["reasons"][0]["rule"] == "budgets"


def test_a_denial_that_no_budget_bears_out_is_found(ledger: Ledger) -> None:
    gate = Gate(till(), ledger, clock=VirtualClock())
    gate.run(id="r0", capability="paying").call("pay", {"zeta": "z", "amount": "45.00", "alpha": "a"}, pay)
    entries = list(ledger.entries(run="r0"))
    text = "This would pass the budget of the day: 100.00 for pay.amount in all. Escalate to a person."
    reason = {"rule": "budgets", "code": "budget", "text": text, "ruling": "deny", "enforced": True}
    for entry in entries:
        if entry.kind in ("action", "verdict"):
            body = {**entry.body, **({"id": "r0#9"} if entry.kind == "action" else {})}
            if entry.kind == "verdict":
                body |= {"ruling": "deny", "reasons": [reason]}
            draft = Draft(kind=entry.kind, world=entry.world, run="r0", body=body, at=entry.at, cause="r0#9")
            ledger.append([draft])
    (differs,) = again(ledger, "r0").differing
    assert (differs.was["ruling"], differs.now["ruling"]) == ("deny", "allow")


def test_a_key_that_another_run_has_used_for_something_else_is_known(ledger: Ledger) -> None:
    gate = Gate(till(), ledger, clock=VirtualClock())
    for n, text in enumerate(("one", "one", "other")):
        gate.run(id=f"r{n}", capability="paying").call("once", {"name": "k", "text": text}, pay)
    found = [again(ledger, f"r{n}") for n in range(3)]
    assert [one.same for one in found] == [True, True, True]
    assert [one.decisions[-1].was["ruling"] for one in found] == ["allow", "allow", "deny"]


def test_names_keep_the_order_in_which_the_contract_has_them(ledger: Ledger) -> None:
    """Reasons and questions follow it, and the ledger sorts what it holds."""
    gate = Gate(till(), ledger)
    gate.run(id="r", capability="paying").call("pay", {"amount": "1.00", "alpha": "a"}, pay)
    held = Laws(ledger).of(till().digest)
    assert held is not None
    assert list(held.tools["pay"].args) == ["zeta", "amount", "alpha"]


def test_a_verdict_that_was_changed_is_found(office: Office) -> None:
    run = office.run()
    office.note(run)
    ledger = office.gate.ledger
    told = [e for e in ledger.entries(run="r") if e.kind in ("action", "verdict")]
    for entry in told:  # an action with a verdict that no contract gives, appended as a gate would
        body = {**entry.body, **({"id": "r#77"} if entry.kind == "action" else {"level": "shadow"})}
        ledger.append([Draft(kind=entry.kind, world=entry.world, run="r", body=body, at=entry.at, cause="r#77")])
    (differs,) = again(ledger, "r").differing
    assert (differs.what, differs.was["level"], differs.now["level"]) == ("verdict", "shadow", "autonomous")


def test_another_contract_shows_what_it_would_have_ruled(ledger: Ledger) -> None:
    gate = Gate(till(), ledger)
    run = gate.run(id="r", capability="paying")
    for amount in ("5.00", "15.00", "95.00"):
        run.call("pay", {"zeta": "z", "amount": amount, "alpha": "a"}, pay)
    found = again(ledger, "r", contract=till("10.00"))
    assert found.other
    assert [(d.was["ruling"], d.now["ruling"]) for d in found.differing] == [("allow", "deny")]
    assert again(ledger, "r", contract=till()).other is False


def test_a_yes_stands_under_another_contract_for_what_it_was_given_for(office: Office) -> None:
    run = office.run()
    assert office.refund(run).status == "held"
    office.answer("ada")
    run.heard("and?")
    other = law("role: lead", NOTES.format(most=5))
    found = again(office.gate.ledger, run.id, contract=other)
    assert found.other
    assert found.differing == ()


def test_a_contract_that_the_ledger_lacks_is_asked_for(ledger: Ledger) -> None:
    gate = Gate(till(), ledger, world="test", tools={"pay": pay, "once": pay})
    gate.run(id="r", capability="paying").call("pay", {"zeta": "z", "amount": "1.00", "alpha": "a"})
    assert again(ledger, "r").undecided == "no_contract"
    assert again(ledger, "r", also=[till()]).same


def test_a_run_that_is_not_there_is_said_so(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="holds no run 'nobody'"):
        again(ledger, "nobody")


def test_what_was_written_out_of_order_is_taken_in_the_order_in_which_it_began(ledger: Ledger) -> None:
    gate = Gate(till(), ledger)
    run = gate.run(id="r", capability="paying")
    for _ in range(2):
        run.call("pay", {"zeta": "z", "amount": "1.00", "alpha": "a"}, pay)
    entries = list(ledger.entries(run="r"))
    first = [e for e in entries if str(e.cause).startswith("r#1")]
    second = [e for e in entries if str(e.cause).startswith("r#2")]
    rest = [e for e in entries if e not in first and e not in second]
    turned = _numbered([*rest, *second, *first])
    begun = as_begun("r", turned)
    assert begun is not None
    assert [e.cause for e in begun if e.kind == "action"] == [first[0].cause, second[0].cause]
    assert as_begun("r", entries) is None


def _numbered(entries: Sequence[Entry]) -> list[Entry]:
    return [replace(entry, seq=seq) for seq, entry in enumerate(entries, start=1)]


def test_an_erased_run_is_not_decided_again(tmp_path: Path) -> None:
    for name in ("keys", "runs"):
        (tmp_path / name).mkdir()
    file, vault = tmp_path / "runs" / "runs.db", Vault.open(tmp_path / "keys" / "vault.db")
    with Ledger.open(file, vault=vault) as ledger:
        gate = Gate(till(), ledger)
        run: Run = gate.run(id="r", capability="paying")
        run.heard("pay Ada")
        for _ in range(3):
            run.call("pay", {"zeta": "z", "amount": "45.00", "alpha": "a"}, pay)
        found = again(ledger, "r")
        assert found.same
        assert [one.was["ruling"] for one in found.decisions if one.what == "verdict"] == ["allow", "allow", "deny"]
        vault.erase(ledger.id, run="r")
        found = again(ledger, "r")
        assert (found.undecided, found.same) == ("erased", False)
    with Ledger.open(file, read_only=True) as sealed:
        assert again(sealed, "r").undecided in ("sealed", "erased")


CROWD = """
roadworthy: 1
agent: till
version: "1"
goal: Pay.
owner: {team: Care, accountable: lead}
tools:
  look: {effect: read, args: {item: string}, returns: {item: string}}
  pay: {effect: write, args: {item: string}, returns: string, needs: [{call: look, same: [item]}]}
capabilities:
  paying:
    means: Somebody is to be paid.
    tools: [look, pay]
    autonomy: {start: autonomous, ceiling: autonomous}
    success: [{id: one, check: count.pay <= 9}]
rules:
  - {id: few, tools: [pay], when: count.pay >= 4, then: deny, because: Enough.}
budgets:
  run: {tool_calls: 14}
  day: [{count: {tool: pay}, per: agent, max: 20}]
"""


def look(item: str) -> dict[str, str]:
    return {"item": item}


def settle(item: str) -> str:
    return f"paid {item}"


def test_calls_that_run_side_by_side_past_what_they_may_use_are_found_again(ledger: Ledger) -> None:
    """Six threads in one run: what is written overtakes what was decided, and denials come after later calls."""
    gate = Gate(Contract.loads(CROWD), ledger)

    def work(run: Run, start: threading.Barrier, n: int) -> None:
        start.wait()
        for item in (str(n % 3), str((n + 1) % 3), "2"):
            run.call("look", {"item": item}, look)
            run.call("pay", {"item": item}, settle)

    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for r in range(8):
            run, start = gate.run(id=f"r{r}", capability="paying"), threading.Barrier(6)
            threads = [threading.Thread(target=work, args=(run, start, n)) for n in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(switching)
    found = list(Redeciding(ledger).runs())
    assert [one.run for one in found if not one.same] == []
    rules = {r["rule"] for one in found for d in one.decisions for r in d.was.get("reasons", ())}
    assert {"budgets", "few"} <= rules
