"""What models answer and use up for a run: it comes back when the run is driven again, and it counts."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger, Suspended
from roadworthy.core.errors import ContractError, UsageError
from roadworthy.gate.models import Used
from roadworthy.gate.run import Run

from .office import LAW, PEOPLE, Office


def limited(run: str) -> Contract:
    text = LAW.replace("ASK", "role: lead, meanwhile: suspend").replace("RULES", "")
    return Contract.loads(text.replace("ESCALATE", f"budgets: {{run: {{{run}}}}}")).with_people(PEOPLE)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path, limited("model_tokens: 100, model_cost: '1.5'"))
    yield made
    made.open.close()


def answers(run: Run, key: str, live: list[Any], **used: Any) -> Any:
    """What an endpoint does."""
    came = run.model_answer(key)
    if came is None:
        came = live.pop(0)
        run.model_answered(key, came, Used(**used))
    return came


def test_a_run_that_is_driven_again_gets_the_answers_it_had_and_asks_for_the_rest(office: Office) -> None:
    live: list[Any] = [{"n": 1, "t": 0.25}, {"n": 2, "t": None}, {"n": 3}]
    seen: list[Any] = []

    def job(run: Run) -> None:
        seen.append([answers(run, "a", live, output=3), answers(run, "a", live, output=4)])
        office.refund(run)
        seen.append(answers(run, "a", live, output=5))

    with pytest.raises(Suspended):
        job(office.run(suspendable=True))
    office.answer("ada")
    other = office.elsewhere()
    run = other.resume("r")
    assert run.state.tokens == 7
    job(run)
    assert seen == [[{"n": 1, "t": 0.25}, {"n": 2, "t": None}]] * 2 + [{"n": 3}]
    assert run.state.tokens == 12
    assert other.resume("r").state.tokens == 12


def test_what_a_model_said_is_sealed_and_what_it_used_is_not(office: Office, tmp_path: Path) -> None:
    path, vault = tmp_path / "book" / "runs.db", tmp_path / "keys" / "vault.db"
    path.parent.mkdir()
    vault.parent.mkdir()
    with Ledger.open(path, vault=vault) as ledger:
        run = Gate(office.contract, ledger, clock=office.clock).run(id="r", principal="bot", capability="refunds")
        used = Used(input=3, output=4, cost=Decimal("0.002"), model="secret-1")
        run.model_answered("secret-key", {"text": "secret"}, used)
        (entry,) = [e for e in ledger.entries(run="r") if e.kind == "model_call"]
        numbers = {"tokens": 7, "input": 3, "output": 4, "cost": "0.002"}
        words = {"model": "secret-1", "recall": "model:secret-key", "value": {"text": "secret"}}
        assert entry.body == {**numbers, **words}
    with Ledger.open(path, read_only=True) as ledger:
        (entry,) = [e for e in ledger.entries(run="r") if e.kind == "model_call"]
        assert entry.body == numbers


def test_what_is_used_up_is_used_up_in_every_process(office: Office) -> None:
    run = office.run()
    run.spent(model_tokens=60)
    other = office.run(gate=office.elsewhere())
    other.spent(model_tokens=39)
    assert run.models_used_up() is None
    other.spent(model_tokens=1)
    assert run.models_used_up() == "All 100 tokens of the model for this run are used."
    assert other.models_used_up() == run.models_used_up()
    assert "All 100 tokens" in run.call("find", {"no": "7"}, office.till.find).text


def test_what_models_cost_counts_too(office: Office) -> None:
    run = office.run()
    run.spent(model_cost=Decimal("1.4999999"))
    assert run.call("find", {"no": "7"}, office.till.find).ok
    run.model_answered("k", {}, Used(output=1, cost=Decimal("0.0000001")))
    assert run.models_used_up() == "The 1.5 that models may cost in this run are used."
    assert run.call("find", {"no": "7"}, office.till.find).status == "denied"
    assert office.run(gate=office.elsewhere()).models_used_up() == run.models_used_up()


def test_a_gate_that_only_watches_keeps_no_model_from_being_asked(office: Office) -> None:
    run = office.run(gate=office.elsewhere(enforce=False))
    run.spent(model_tokens=1000)
    assert run.models_used_up() is None


@pytest.mark.parametrize("used", [{"output": -1}, {"input": -1}, {"cost": Decimal(-1)}, {"cost": Decimal("NaN")}])
def test_less_than_nothing_is_no_use(used: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="not less than nothing"):
        Used(**used)


@pytest.mark.parametrize(("cost", "says"), [("'-1'", "negative budget"), ("0.5", "must be quoted")])
def test_a_budget_of_cost_that_means_nothing_is_refused(cost: str, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        limited(f"model_cost: {cost}")
