"""Budgets: of one run, and of a day that many runs and processes share."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy import Contract, Ledger
from roadworthy.core.errors import Conflict
from roadworthy.core.types import Action, Claim, Draft, Realm, Reason, Reservation
from roadworthy.gate.budgets import judge, read, reason_of, releases, reservations, unlimited, written
from roadworthy.gate.policy import Policy, policy_of
from roadworthy.gate.state import RunState
from roadworthy.ledger.batch import Batch

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)

YAML = """
roadworthy: 1
agent: payer
version: "1"
goal: Pay people.
owner: {team: IT, accountable: it-lead}
zone: Europe/Berlin
subject: {entity: shop.Customer}
entities: {shop.Customer: {key: customer_no}}
tools:
  look: {effect: read, args: {x: string}, returns: string}
  pay:
    effect: write
    args: {amount: {type: decimal, optional: true}, boxes: {type: integer, optional: true}}
    returns: string
  mail: {effect: send, args: {to: string}, returns: string}
  unpay: {effect: write, args: {amount: decimal}, returns: string, only: undo}
  person: {effect: send, args: {reason: string}, returns: string}
capabilities:
  pay:
    means: Somebody wants money.
    tools: [look, pay, mail]
    autonomy: {start: autonomous, approver: it-lead}
escalate: {to: it-lead, tool: person}
budgets:
  run: {tool_calls: 5, writes: 2, wall: 60s, model_tokens: 1000}
  day:
    - {sum: {tool: pay, arg: amount}, max: "100.00", per: agent}
    - {count: {effect: send}, max: 2, per: subject}
    - {count: {tool: pay}, max: 3, per: principal}
    - {count: {effect: write}, max: 9, per: run}
"""


@pytest.fixture(scope="module")
def policy() -> Policy:
    return policy_of(Contract.loads(YAML))


def action(tool: str, /, *, at: datetime = NOON, run: str = "r1", subject: str | None = "7", **args: Any) -> Action:
    return Action(
        id=f"{run}#1", run=run, principal="bot", subject=subject, capability="pay", tool=tool, args=args, call_id=None,
        at=at,
    )  # fmt: skip


def accounts(policy: Policy, one: Action, world: Realm = "production") -> dict[str, Decimal]:
    return {r.account: r.amount for r in reservations(policy, one, world)}


# -- of a run ---------------------------------------------------------------------------------------------------------


def judged(policy: Policy, tool: str, **changes: Any) -> list[str]:
    state = RunState(policy, principal="bot", started=NOON, levels=policy.start_levels)
    for name, value in changes.items():
        setattr(state, name, value)
    reasons: list[Reason] = []
    judge(policy, state, policy.tools[tool], NOON + timedelta(seconds=60), reasons)
    assert all((r.rule, r.code, r.ruling) == ("budgets", "budget", "deny") for r in reasons)
    return [r.text for r in reasons]


def test_what_a_run_may_use(policy: Policy) -> None:
    assert judged(policy, "look") == []
    assert judged(policy, "look", tool_calls=4, writes=2, tokens=999) == []
    assert judged(policy, "look", tool_calls=5) == ["All 5 tool calls of this run are used. Escalate to a person."]
    assert judged(policy, "mail", writes=2) == ["All 2 changes of this run are used. Escalate to a person."]
    assert judged(policy, "look", tokens=1000)[0].startswith("All 1000 tokens of the model")
    assert judged(policy, "look", started=NOON - timedelta(seconds=1))[0].startswith("This run has lasted longer")
    assert judged(policy, "look", started=NOON - timedelta(seconds=9), waited_s=9.0) == []
    assert len(judged(policy, "mail", tool_calls=5, writes=2, tokens=1000, started=NOON - timedelta(days=1))) == 4


def test_the_way_to_a_person_is_never_too_dear(policy: Policy) -> None:
    spent = {"tool_calls": 5, "writes": 2, "tokens": 1000, "started": NOON - timedelta(days=1)}
    assert judged(policy, "person", **spent) == []
    assert reservations(policy, action("person", reason="x"), "production") == ()


def test_a_contract_without_budgets_pays_nothing() -> None:
    policy = policy_of(Contract.loads(YAML[: YAML.index("budgets:")]))
    assert policy.budgets is None
    assert judged(policy, "mail", tool_calls=10**6) == []
    assert reservations(policy, action("pay", amount=Decimal(1)), "production") == ()


# -- of a day ---------------------------------------------------------------------------------------------------------


def test_what_a_call_takes_from_the_day(policy: Policy) -> None:
    assert reservations(policy, action("look", x="x"), "production") == ()
    assert reservations(policy, action("unpay", amount=Decimal(9)), "production") == ()
    assert sorted(accounts(policy, action("pay", amount=Decimal("42.50"))).values()) == [1, 1, Decimal("42.50")]
    assert list(accounts(policy, action("mail", to="ada")).values()) == [1]
    assert {r.limit for r in reservations(policy, action("pay", amount=Decimal(1)), "test")} == {100, 3, 9}


@pytest.mark.parametrize("amount", [None, Decimal(0), Decimal("-5")])
def test_no_amount_gives_budget_back(policy: Policy, amount: Decimal | None) -> None:
    args: dict[str, Any] = {} if amount is None else {"amount": amount}
    found = accounts(policy, action("pay", **args))
    assert set(found.values()) == {1}
    assert not any("amount" in account for account in found)


def test_accounts_are_told_apart(policy: Policy) -> None:
    one = action("mail", to="ada")
    others = [
        accounts(policy, one, "shadow"),
        accounts(policy, one, "test"),
        accounts(policy, replace(one, subject="8")),
        accounts(policy, replace(one, subject=None)),
        accounts(policy, replace(one, subject=None, run="r2")),
        accounts(policy, replace(one, subject=None, run='r2", "x')),
        accounts(policy, replace(one, at=NOON + timedelta(days=1))),
    ]
    every = [accounts(policy, one), *others]
    assert len({account for found in every for account in found}) == len(every)
    assert accounts(policy, replace(one, run="r2")) == accounts(policy, one)
    assert accounts(policy, replace(one, at=NOON + timedelta(hours=2))) == accounts(policy, one)


def test_a_later_version_of_the_contract_spends_from_the_same_accounts(policy: Policy) -> None:
    text = YAML.replace('version: "1"', 'version: "2"').replace('"100.00"', '"50.00"')
    first, *rest = text[text.index("    - {sum") :].splitlines()
    later = policy_of(Contract.loads("\n".join([text[: text.index("    - {sum")].rstrip(), *rest, first])))
    one = action("pay", amount=Decimal(7))
    assert accounts(later, one) == accounts(policy, one)


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (datetime(2026, 1, 5, 22, 59, 59, tzinfo=UTC), "2026-01-05"),
        (datetime(2026, 1, 5, 23, 0, tzinfo=UTC), "2026-01-06"),
        (datetime(2026, 7, 5, 21, 59, 59, tzinfo=UTC), "2026-07-05"),
        (datetime(2026, 7, 5, 22, 0, tzinfo=UTC), "2026-07-06"),
    ],
)
def test_a_day_ends_where_the_contract_is_at_home(policy: Policy, at: datetime, day: str) -> None:
    (account,) = accounts(policy, action("mail", to="ada", at=at))
    assert json.loads(account)[1] == day


def test_what_was_reserved_is_given_back_to_its_own_day(policy: Policy) -> None:
    reserved = reservations(policy, action("pay", amount=Decimal("60.00")), "production")
    assert read(json.loads(json.dumps(written(reserved)))) == unlimited(reserved)
    batch = Batch()
    for _ in range(4):
        batch.append([_draft(0)], reserved)
        batch.append([_draft(1)], releases(read(written(reserved))))
    with pytest.raises(Conflict):
        batch.append([_draft(0)], [*reserved, *reserved])


@pytest.mark.parametrize("body", [None, 7, "x", [1], [["a"]], [["a", "b"]], [["a", None]], [["a", "1", "2"]]])
def test_what_is_no_reservation_gives_nothing_back(body: object) -> None:
    assert read(body) == ()


def test_a_budget_of_the_day_that_is_used_up_says_so(policy: Policy) -> None:
    batch = Batch()
    batch.append([], reservations(policy, action("pay", amount=Decimal("60.00")), "production"))
    with pytest.raises(Conflict) as caught:
        batch.append([], reservations(policy, action("pay", amount=Decimal("40.01")), "production"))
    reason = reason_of(caught.value)
    assert reason is not None
    assert (reason.code, reason.ruling) == ("budget", "deny")
    assert "100.00 for pay.amount" in reason.text
    assert "60" not in reason.text
    for _ in range(2):
        batch.append([], reservations(policy, action("mail", to="ada"), "production"))
    with pytest.raises(Conflict) as caught:
        batch.append([], reservations(policy, action("mail", to="ada"), "production"))
    reason = reason_of(caught.value)
    assert reason is not None
    assert "All 2 calls with effect send of the day for one customer are used" in reason.text


def test_a_conflict_about_something_else_is_no_budget() -> None:
    assert reason_of(Conflict(Claim(key="a", value="b"), "c")) is None
    for account in ("plain", "[1]", '["day"]', json.dumps(["week", *"abcdef"]), json.dumps(["day", *"abcde", "agent"])):
        one = Reservation(account=account, amount=Decimal(1), limit=Decimal(0))
        assert (reason_of(Conflict(one, Decimal(0))) is None) is (not account.startswith('["day", "a"'))


@given(st.lists(st.tuples(st.integers(1, 6000), st.booleans()), max_size=30))
def test_what_is_spent_never_passes_the_budget(calls: list[tuple[int, bool]]) -> None:
    policy = policy_of(Contract.loads(YAML.replace("max: 3, per: principal", "max: 99, per: principal")))
    batch, spent = Batch(), Decimal(0)
    for number, (cents, fails) in enumerate(calls):
        amount = Decimal(cents) / 100
        reserved = reservations(policy, action("pay", run=f"r{number}", amount=amount), "production")
        fits = spent + amount <= 100
        try:
            batch.append([], reserved)
        except Conflict:
            assert not fits
            continue
        assert fits
        if fails:
            batch.append([], releases(reserved))
        else:
            spent += amount


def _draft(number: int) -> Draft:
    return Draft(kind="intent", world="production", run="r1", body={"n": number}, at=NOON)


_SPEND = """
import json, sys
from datetime import UTC, datetime
from decimal import Decimal
from roadworthy import Contract, Ledger
from roadworthy.core.errors import Conflict
from roadworthy.core.types import Action, Draft
from roadworthy.gate.budgets import releases, reservations
from roadworthy.gate.policy import policy_of

path, name, text = sys.argv[1:]
policy = policy_of(Contract.loads(text))
at = datetime(2026, 1, 5, 12, tzinfo=UTC)
ended = {"paid": 0, "failed": 0, "refused": 0}
with Ledger.open(path) as ledger:
    print("open", flush=True)
    sys.stdin.readline()
    for n in range(40):
        run = f"{name}{n}"
        action = Action(
            id=run, run=run, principal=name, subject=run, capability="pay", tool="pay", call_id=None, at=at,
            args={"amount": Decimal("3.00")},
        )
        reserved = reservations(policy, action, "production")
        draft = Draft(kind="intent", world="production", run=run, body={"by": name}, at=at, cause=run)
        try:
            ledger.append([draft], reserved)
        except Conflict:
            ended["refused"] += 1
            continue
        if n % 4 == 3:
            ended["failed"] += 1
            ledger.append([Draft(kind="outcome", world="production", run=run, body={}, at=at)], releases(reserved))
        else:
            ended["paid"] += 1
print(json.dumps(ended))
"""


def test_processes_together_never_pass_the_budget_of_the_day(tmp_path: Path) -> None:
    text = YAML.replace("max: 3, per: principal", "max: 99, per: principal")
    path = tmp_path / "runs.db"
    with Ledger.open(path):
        pass
    command = [sys.executable, "-W", "error", "-c", _SPEND, str(path)]
    workers = [
        subprocess.Popen([*command, name, text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("left", "middle", "right")
    ]
    for worker in workers:  # all are there before the first one spends
        assert worker.stdout is not None
        assert worker.stdout.readline() == "open\n"
    total: Counter[str] = Counter()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        out, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0
        total.update(json.loads(out))
    assert total["paid"] == 33  # of 100.00 at 3.00 each, whoever was faster
    assert total["refused"] == 120 - 33 - total["failed"]
    with Ledger.open(path) as ledger:
        assert len(list(ledger.entries(kind="intent"))) == total["paid"] + total["failed"]
        policy = policy_of(Contract.loads(text))
        with pytest.raises(Conflict) as caught:
            ledger.append([], reservations(policy, action("pay", amount=Decimal("1.01")), "production"))
        assert caught.value.found == Decimal("99.00")
        ledger.append([], reservations(policy, action("pay", amount=Decimal("1.00")), "production"))
