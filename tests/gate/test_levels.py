"""Which level is in effect, and whose word it takes to change it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy import Contract, Ledger
from roadworthy.contract.keys import SigningKey, seal
from roadworthy.contract.model import Budgets, RunBudget
from roadworthy.contract.people import People
from roadworthy.core.types import LEVELS, Draft, Kind, Level, Realm
from roadworthy.gate.levels import (
    RANK,
    Levels,
    compile_levels,
    level_body,
    signature_body,
    signature_fault,
)
from roadworthy.ledger.batch import Batch
from roadworthy.ledger.store import Appender

NAMES = ("lena", "ed", "sam", "carl", "eve")
KEYS = {name: SigningKey.new() for name in NAMES}
PEOPLE = People.loads(
    f"""
people: 1
roles: [lead, engineering, security]
members:
  lena: {{roles: [lead], keys: ["{KEYS["lena"].public}"]}}
  ed: {{roles: [engineering], keys: ["{KEYS["ed"].public}"]}}
  sam: {{roles: [security], keys: ["{KEYS["sam"].public}"]}}
  carl: {{roles: [engineering], keys: ["{KEYS["carl"].public}"]}}
"""
)
YAML = """
roadworthy: 1
agent: desk
version: "1"
goal: Help people.
owner: {team: IT, accountable: lead}
tools: {look: {effect: read, args: {x: string}, returns: string}}
capabilities:
  low: {means: Something harmless., tools: [look], autonomy: {start: shadow, ceiling: approval, approver: lead}}
  high: {means: Something else., tools: [look], autonomy: {start: approval, ceiling: autonomous, approver: lead}}
"""
SIGNED = f"{YAML}signatures: {{approval: [engineering], autonomous: [security]}}\n"
OPEN = Contract.loads(YAML)
STAFFED = OPEN.with_people(PEOPLE)
GUARDED = Contract.loads(f"{SIGNED}people: people.yaml\n").with_people(PEOPLE)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.open()


def put(ledger: Appender, kind: Kind, body: Mapping[str, Any], world: Realm = "production") -> None:
    ledger.append([Draft(kind=kind, world=world, run=None, body=body, at=datetime(2026, 1, 5, tzinfo=UTC))])


def standing(contract: Contract, ledger: Appender) -> Levels:
    found = Levels(compile_levels(contract), ledger.id)
    found.refresh(ledger)
    return found


def levels(contract: Contract, ledger: Appender) -> dict[str, Level]:
    return standing(contract, ledger).levels


def setting(
    ledger: Appender, level: Level, *, by: str = "lena", capability: str = "high", **more: Any
) -> dict[str, Any]:
    return level_body(
        ledger=ledger.id, agent="desk", capability=capability, level=level, because="it went well", by=by, **more
    )


def sealed(body: dict[str, Any], by: str | None = None) -> dict[str, Any]:
    return seal(KEYS[by or body["by"]], "level", body)


def sign(contract: Contract, level: Level, role: str, by: str) -> dict[str, Any]:
    return seal(KEYS[by], "contract", signature_body(contract, level=level, role=role, by=by))


def test_a_contract_says_where_to_begin(ledger: Ledger) -> None:
    assert levels(OPEN, ledger) == levels(STAFFED, ledger) == {"low": "shadow", "high": "approval"}
    assert levels(OPEN, Batch()) == {"low": "shadow", "high": "approval"}


# -- who may set a level ----------------------------------------------------------------------------------------------


def test_whoever_is_accountable_raises_a_level(ledger: Ledger) -> None:
    put(ledger, "level", sealed(setting(ledger, "autonomous")))
    assert levels(STAFFED, ledger)["high"] == "autonomous"
    assert levels(STAFFED, ledger)["low"] == "shadow"


def test_somebody_accountable_by_name_raises_a_level(ledger: Ledger) -> None:
    contract = Contract.loads(YAML.replace("accountable: lead", "accountable: ed")).with_people(PEOPLE)
    put(ledger, "level", sealed(setting(ledger, "autonomous")))
    assert levels(contract, ledger)["high"] == "approval"
    put(ledger, "level", sealed(setting(ledger, "autonomous", by="ed")))
    assert levels(contract, ledger)["high"] == "autonomous"


def test_without_people_anybody_raises_a_level(ledger: Ledger) -> None:
    put(ledger, "level", setting(ledger, "autonomous", by="whoever"))
    assert levels(OPEN, ledger)["high"] == "autonomous"
    assert levels(STAFFED, ledger)["high"] == "approval"


def _forged(ledger: Ledger) -> dict[str, dict[str, Any]]:
    good = setting(ledger, "autonomous")
    elsewhere = {**setting(ledger, "autonomous"), "ledger": "0" * 32}
    return {
        "no signature": good,
        "an empty signature": {**good, "signature": ""},
        "a signature of no form": {**good, "signature": {"ed25519": 1}},
        "another person's signature": sealed(good, "ed"),
        "a stranger's own signature": sealed({**good, "by": "eve"}),
        "of somebody who is not accountable": sealed(setting(ledger, "autonomous", by="ed")),
        "changed afterwards": {**sealed(setting(ledger, "approval")), "level": "autonomous"},
        "for another purpose": seal(KEYS["lena"], "answer", good),
        "of another capability": {**sealed(setting(ledger, "autonomous", capability="low")), "capability": "high"},
        "of another agent": sealed({**good, "agent": "robot"}),
        "for another ledger": sealed(elsewhere),
        "carried to this ledger": {**sealed(elsewhere), "ledger": ledger.id},
        "without a nonce": sealed({k: v for k, v in good.items() if k != "nonce"}),
        "with an empty nonce": sealed({**good, "nonce": ""}),
        "with more beside": {**sealed(good), "approved": True},
        "above the ceiling": sealed(setting(ledger, "autonomous", capability="low")),
        "no level": sealed({**good, "level": "boss"}),
        "a list of levels": sealed({**good, "level": ["autonomous"]}),
        "no capability": sealed({**good, "capability": "all"}),
        "a list of capabilities": sealed({**good, "capability": ["high"]}),
        "by nobody": {**good, "by": None},
        "nothing": {},
    }


def test_a_forged_level_has_no_effect(ledger: Ledger) -> None:
    for name, body in _forged(ledger).items():
        assert standing(STAFFED, ledger).fault(body) is not None, name
        put(ledger, "level", body)
        assert levels(STAFFED, ledger) == {"low": "shadow", "high": "approval"}, name


@pytest.mark.parametrize("world", ["test", "shadow"])
def test_a_level_of_a_trial_counts_nowhere_else(ledger: Ledger, world: Realm) -> None:
    put(ledger, "level", sealed(setting(ledger, "autonomous")), world)
    assert levels(STAFFED, ledger)["high"] == "approval"


def test_anybody_makes_an_agent_more_careful(ledger: Ledger) -> None:
    put(ledger, "level", setting(ledger, "shadow", by="a monitor"))
    assert levels(STAFFED, ledger)["high"] == "shadow"
    put(ledger, "level", setting(ledger, "approval", by="a monitor"))
    assert levels(STAFFED, ledger)["high"] == "shadow"
    put(ledger, "level", sealed(setting(ledger, "approval")))
    assert levels(STAFFED, ledger)["high"] == "approval"


def test_a_level_is_raised_once_by_one_signature(ledger: Ledger) -> None:
    raised = sealed(setting(ledger, "autonomous"))
    spare = sealed(setting(ledger, "autonomous"))
    for body in (raised, spare):  # the second one raises nothing, and is used up all the same
        put(ledger, "level", body)
    put(ledger, "level", sealed(setting(ledger, "approval")))
    for body in (raised, spare):
        assert "nonce" in str(standing(STAFFED, ledger).fault(body))
        put(ledger, "level", body)
        assert levels(STAFFED, ledger)["high"] == "approval"
    put(ledger, "level", sealed(setting(ledger, "autonomous")))
    assert levels(STAFFED, ledger)["high"] == "autonomous"


def test_when_a_signer_is_gone_nothing_is_freer_for_it(ledger: Ledger) -> None:
    put(ledger, "level", sealed(setting(ledger, "autonomous")))
    put(ledger, "level", setting(ledger, "approval", by="carl"))
    without = People.loads(
        f"people: 1\nroles: [lead]\nmembers: {{ed: {{roles: [lead], keys: ['{KEYS['ed'].public}']}}}}"
    )
    assert levels(OPEN.with_people(without), ledger)["high"] == "approval"


# -- when it bites ----------------------------------------------------------------------------------------------------


def test_a_lowered_level_bites_at_once_and_a_raised_one_when_a_run_begins(ledger: Ledger) -> None:
    live = standing(STAFFED, ledger)
    mine, seen = live.now
    put(ledger, "level", sealed(setting(ledger, "autonomous")))
    live.refresh(ledger)
    assert live.levels["high"] == "autonomous"
    assert live.bound(mine, seen) == {"low": "shadow", "high": "approval"}
    later, since = live.now
    put(ledger, "level", sealed(setting(ledger, "shadow")))
    put(ledger, "level", sealed(setting(ledger, "autonomous")))
    live.refresh(ledger)
    assert live.bound(later, since) == {"low": "shadow", "high": "shadow"}  # it was lowered meanwhile
    assert live.levels["high"] == "autonomous"
    assert live.bound(live.levels, live.seen)["high"] == "autonomous"
    assert standing(STAFFED, ledger).bound(later, since) == live.bound(later, since)  # in another process, too


def test_what_was_taken_in_is_not_taken_in_again(ledger: Ledger) -> None:
    live = standing(STAFFED, ledger)
    put(ledger, "level", sealed(setting(ledger, "autonomous")))
    put(ledger, "level", setting(ledger, "shadow"))
    entries = list(ledger.entries())
    live.feed(entries)
    live.feed(entries)
    assert live.levels["high"] == "shadow"
    assert live.seen == 2


_SETTINGS = st.lists(st.tuples(st.sampled_from(LEVELS), st.booleans()), max_size=8)


@given(_SETTINGS, st.integers(0, 8))
def test_a_run_is_never_freer_than_any_level_since_it_began(settings: list[tuple[Level, bool]], begun: int) -> None:
    ledger = Batch()
    for level, signed in settings[:begun]:
        put(ledger, "level", sealed(setting(ledger, level)) if signed else setting(ledger, level))
    start = standing(STAFFED, ledger)
    began, seen, lowest = start.levels, start.seen, start.levels["high"]
    for level, signed in settings[begun:]:
        before = start.levels["high"]
        put(ledger, "level", sealed(setting(ledger, level)) if signed else setting(ledger, level))
        lowest = min(lowest, levels(STAFFED, ledger)["high"], key=RANK.__getitem__)
        assert standing(STAFFED, ledger).bound(began, seen)["high"] == lowest
        start.refresh(ledger)
        assert start.bound(began, seen)["high"] == lowest
        assert start.levels == levels(STAFFED, ledger)
        assert signed or RANK[start.levels["high"]] <= RANK[before]


# -- who must have signed the contract --------------------------------------------------------------------------------


def test_a_contract_that_nobody_signed_stays_in_shadow(ledger: Ledger) -> None:
    assert standing(GUARDED, ledger).cap == "shadow"
    assert levels(GUARDED, ledger) == {"low": "shadow", "high": "shadow"}
    put(ledger, "level", sealed(setting(ledger, "autonomous")))
    assert levels(GUARDED, ledger)["high"] == "shadow"


def test_signatures_open_level_by_level(ledger: Ledger) -> None:
    put(ledger, "level", sealed(setting(ledger, "autonomous")))
    put(ledger, "signature", sign(GUARDED, "autonomous", "security", "sam"))
    assert levels(GUARDED, ledger)["high"] == "shadow"  # engineering has not signed for approval
    put(ledger, "signature", sign(GUARDED, "approval", "engineering", "ed"))
    assert levels(GUARDED, ledger)["high"] == "approval"  # nor for autonomous, which rests on it
    put(ledger, "signature", sign(GUARDED, "autonomous", "engineering", "carl"))
    assert levels(GUARDED, ledger) == {"low": "shadow", "high": "autonomous"}


def test_a_signature_for_a_level_is_one_for_those_below(ledger: Ledger) -> None:
    put(ledger, "signature", sign(GUARDED, "autonomous", "engineering", "ed"))
    assert levels(GUARDED, ledger) == {"low": "shadow", "high": "approval"}


def test_a_signature_is_about_one_version(ledger: Ledger) -> None:
    put(ledger, "signature", sign(GUARDED, "approval", "engineering", "ed"))
    changed = GUARDED.model_copy(update={"goal": "Do more."})
    assert standing(changed, ledger).cap == "shadow"
    assert standing(GUARDED, ledger).cap == "approval"


def _recorded(ledger: Appender, contract: Contract, **more: Any) -> None:
    body = contract.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    put(ledger, "contract", {"digest": contract.digest, "contract": body, **more})


def test_a_contract_that_only_narrows_a_signed_one_inherits_its_signatures(ledger: Ledger) -> None:
    put(ledger, "level", sealed(setting(ledger, "autonomous")))
    narrower = GUARDED.model_copy(update={"budgets": Budgets(run=RunBudget(writes=3)), "version": "2"})
    wider = GUARDED.model_copy(update={"zone": "Europe/Berlin"})
    put(ledger, "signature", sign(GUARDED, "autonomous", "engineering", "ed"))
    assert standing(narrower, ledger).cap == "shadow"  # nobody knows what was signed
    _recorded(ledger, GUARDED)
    assert standing(narrower, ledger).cap == "approval"
    assert standing(narrower, ledger).missing("autonomous") == {"security"}
    put(ledger, "signature", sign(narrower, "autonomous", "security", "sam"))
    assert levels(narrower, ledger) == {"low": "shadow", "high": "autonomous"}
    assert standing(GUARDED, ledger).cap == "approval"  # security has signed less than this
    assert standing(wider, ledger).cap == "shadow"


def test_a_version_with_fewer_people_inherits_what_those_who_are_left_have_signed(ledger: Ledger) -> None:
    people = PEOPLE.model_dump(mode="json")
    _recorded(ledger, GUARDED, agent="desk", people=people)
    put(ledger, "signature", sign(GUARDED, "autonomous", "engineering", "ed"))
    put(ledger, "signature", sign(GUARDED, "autonomous", "security", "sam"))
    members = dict(PEOPLE.members)

    def without(name: str) -> Contract:
        return GUARDED.with_people(
            People(people=1, roles=PEOPLE.roles, members={k: v for k, v in members.items() if k != name})
        )

    assert standing(without("carl"), ledger).cap == "autonomous"
    assert standing(without("sam"), ledger).cap == "approval"  # whose signature is nobody's any more
    more = People(
        people=1, roles=PEOPLE.roles, members={**members, "eve": members["carl"].model_copy(update={"keys": ()})}
    )
    assert standing(GUARDED.with_people(more), ledger).cap == "shadow"


def test_a_signed_contract_is_what_has_the_signed_digest(ledger: Ledger) -> None:
    narrower = GUARDED.model_copy(update={"budgets": Budgets(run=RunBudget(writes=3))})
    wide = GUARDED.model_copy(update={"zone": "Europe/Berlin"})
    put(ledger, "signature", sign(wide, "approval", "engineering", "ed"))
    _recorded(ledger, narrower, digest=wide.digest)
    for body in (None, 7, {}, {"agent": "desk"}):
        put(ledger, "contract", {"digest": wide.digest, "contract": body})
    assert standing(narrower, ledger).cap == "shadow"
    live = standing(wide.model_copy(update={"budgets": Budgets(run=RunBudget(writes=3))}), ledger)
    assert live.cap == "shadow"
    _recorded(ledger, wide)
    put(ledger, "stop", {"capability": None, "because": "x", "by": "y"})
    live.refresh(ledger)
    assert live.cap == "approval"


def test_a_forged_signature_has_no_effect(ledger: Ledger) -> None:
    good = signature_body(GUARDED, level="approval", role="engineering", by="ed")
    policy = compile_levels(GUARDED)
    assert signature_fault(policy, seal(KEYS["ed"], "contract", good)) is None
    forged: dict[str, dict[str, Any]] = {
        "no signature": good,
        "another person's": seal(KEYS["sam"], "contract", good),
        "a role that is not held": sign(GUARDED, "approval", "engineering", "sam"),
        "a stranger's": sign(GUARDED, "approval", "engineering", "eve"),
        "another purpose": seal(KEYS["ed"], "level", good),
        "another level": {**sign(GUARDED, "shadow", "engineering", "ed"), "level": "approval"},
        "another contract": {**sign(OPEN, "approval", "engineering", "ed"), "contract": GUARDED.digest},
        "another agent": seal(KEYS["ed"], "contract", {**good, "agent": "robot"}),
        "no level": seal(KEYS["ed"], "contract", {**good, "level": None}),
        "a list of roles": seal(KEYS["ed"], "contract", {**good, "role": ["engineering"]}),
        "nobody": {**good, "by": None},
        "nothing": {},
    }
    for name, body in forged.items():
        assert signature_fault(policy, body) is not None, name
        put(ledger, "signature", body)
        assert standing(GUARDED, ledger).cap == "shadow", name
    put(ledger, "signature", seal(KEYS["ed"], "contract", good), "test")
    assert standing(GUARDED, ledger).cap == "shadow"


def test_signatures_that_nobody_can_give_leave_it_in_shadow(ledger: Ledger) -> None:
    contract = Contract.loads(SIGNED)
    put(ledger, "signature", signature_body(contract, level="autonomous", role="engineering", by="ed"))
    put(ledger, "signature", signature_body(contract, level="autonomous", role="security", by="sam"))
    assert standing(contract, ledger).cap == "shadow"


def test_a_signature_that_comes_later_raises_nothing_in_a_run_that_is_under_way(ledger: Ledger) -> None:
    live = standing(GUARDED, ledger)
    mine, seen = live.now
    put(ledger, "signature", sign(GUARDED, "approval", "engineering", "ed"))
    live.refresh(ledger)
    assert live.levels["high"] == "approval"
    assert live.bound(mine, seen)["high"] == "shadow"


def test_a_level_says_who_and_why(ledger: Ledger) -> None:
    body = setting(ledger, "shadow")
    assert {"ledger", "agent", "capability", "level", "because", "by", "nonce"} == set(body)
    assert setting(ledger, "shadow")["nonce"] != body["nonce"]
    assert cast("str", setting(ledger, "shadow", nonce="n")["nonce"]) == "n"
