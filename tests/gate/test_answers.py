"""Whose answers to a held action count, and what proves that they gave them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.contract.keys import SigningKey, seal
from roadworthy.contract.people import Member, People
from roadworthy.core import canonical
from roadworthy.core.errors import Conflict
from roadworthy.core.types import Draft
from roadworthy.gate.people.answers import (
    ANSWERINGS,
    Answering,
    Question,
    action_digest,
    answer_payload,
    check_answer,
    place_of,
    signed_answer,
    standing,
)
from roadworthy.ledger.store import Ledger

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
KEYS = {name: SigningKey.new() for name in ("ada", "grace", "joan", "bot")}
PEOPLE = People(
    people=1,
    roles=("lead", "audit"),
    members={
        "ada": Member(roles=("lead",), keys=(KEYS["ada"].public,)),
        "grace": Member(roles=("lead", "audit"), keys=(KEYS["grace"].public,)),
        "joan": Member(roles=("audit",), keys=(KEYS["joan"].public,)),
        "bot": Member(roles=("lead",), keys=(KEYS["bot"].public,)),
        "idle": Member(roles=("lead",)),
    },
)
ACTION: Mapping[str, Any] = {
    "principal": "bot",
    "subject": "C-1",
    "tool": "billing.refund",
    "args": {"invoice_no": "4711", "amount": Decimal("60.00")},
    "contract": "c0ffee",
    "origins": {"amount": ("user", "trusted")},
}


MORE: Mapping[str, Mapping[str, Any]] = {"edit": {"args": {"amount": "1"}}, "answer": {"text": "Wait."}}


def digest_with(name: str, value: Any) -> str:
    return action_digest(**dict(ACTION, **{name: value}))


def question(**changes: Any) -> Question:
    asked: dict[str, Any] = {
        "id": "q1",
        "ledger": "l1",
        "run": "r1",
        "role": "lead",
        "nonce": "n1",
        "expires": NOW + timedelta(hours=4),
        "principal": "bot",
        "digest": action_digest(**ACTION),
        **changes,
    }
    return Question(**asked)


def signed(
    by: str, ruling: Answering = "approve", *, to: Question | None = None, key: str | None = None, **more: Any
) -> dict[str, Any]:
    return signed_answer(to or question(), KEYS[key or by], by=by, ruling=ruling, **more)


def told(answer: Mapping[str, Any], asked: Question | None = None, *, people: People | None = PEOPLE) -> str | None:
    return check_answer(people, asked or question(), answer, now=NOW)


def test_one_who_holds_the_role_answers_with_their_own_key() -> None:
    for ruling in ("approve", "deny", "take"):
        assert told(signed("ada", ruling, because="Finance agrees.")) is None
    assert told(signed("ada", "edit", args={"invoice_no": "4711", "amount": Decimal("40.00")})) is None
    assert told(signed("ada", "answer", text="Ask for the order number first.")) is None


def test_an_answer_is_the_same_after_a_ledger_has_kept_it() -> None:
    answer = signed("ada", "edit", args={"amount": Decimal("40.00"), "rate": 0.25, "day": NOW.date()}, because="é")
    assert told(canonical.loads(canonical.dumps(answer))) is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (signed("joan"), "does not hold the role lead; ada, grace, bot, idle can answer"),
        (signed("bot"), "runs the agent"),
        (signed("ada", key="grace"), "not the signature of ada"),
        (answer_payload(question(), by="ada", ruling="approve"), "has not signed"),
        (answer_payload(question(), by="idle", ruling="approve") | {"signature": "x"}, "not the signature"),
        (answer_payload(question(), by="eve", ruling="approve"), "not a member"),
        (seal(KEYS["ada"], "level", answer_payload(question(), by="ada", ruling="approve")), "not the signature"),
        ({}, "names who gives it"),
        ({"by": ["ada"]}, "names who gives it"),
        ({"by": "ada", "ruling": ["approve"]}, "is no answer"),
        ({"by": "ada", "ruling": "approve", "because": 1}, "is text"),
        (signed("ada") | {"args": {"amount": "1"}}, "An edit says"),
        (signed("ada", "edit"), "An edit says"),
        (signed("ada", "answer"), "has words"),
        (signed("ada", "answer", text=" "), "has words"),
        (signed("ada", text="and more"), "has words"),
        (signed("ada") | {"forever": True}, "has no forever"),
    ],
)
def test_what_does_not_count_says_why(answer: Mapping[str, Any], why: str) -> None:
    said = told(answer)
    assert said is not None
    assert why in said


def changed(value: Any) -> Any:
    if isinstance(value, dict):
        return {"amount": "100"}
    return "deny" if value == "approve" else f"{value}x"


@pytest.mark.parametrize("ruling", ANSWERINGS)
def test_whatever_is_changed_in_a_signed_answer_it_counts_no_longer(ruling: Answering) -> None:
    answer = signed("ada", ruling, because="It is right.", **MORE.get(ruling, {}))
    assert told(answer) is None
    for key in answer:
        assert told({**answer, key: changed(answer[key])}) is not None, key
        assert told({k: v for k, v in answer.items() if k != key}) is not None, key


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "q2"),
        ("ledger", "l2"),
        ("run", "r2"),
        ("role", "audit"),
        ("nonce", "n2"),
        ("expires", NOW + timedelta(hours=5)),
        ("expires", None),
        ("digest", digest_with("args", {"invoice_no": "4711", "amount": Decimal("600.00")})),
    ],
)
def test_an_answer_to_one_question_answers_no_other(name: str, value: Any) -> None:
    other = question(**{name: value})
    assert told(signed("grace"), other) is not None
    assert told(signed("grace", to=other), other) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("principal", "other"),
        ("subject", None),
        ("tool", "billing.reverse"),
        ("args", {"invoice_no": "4711", "amount": Decimal("60.01")}),
        ("contract", "decaf"),
        ("origins", {"amount": ("user", "untrusted")}),
    ],
)
def test_another_action_has_another_digest(name: str, value: Any) -> None:
    assert action_digest(**ACTION) != digest_with(name, value)


def test_the_digest_is_the_same_for_live_and_for_kept_arguments() -> None:
    kept = canonical.loads(canonical.dumps(ACTION["args"]))
    same: Mapping[str, Any] = {**ACTION, "args": kept, "origins": {"amount": ["trusted", "user"]}}
    assert action_digest(**same) == action_digest(**ACTION)


def test_an_expired_question_is_a_no_by_nobody() -> None:
    asked = question()
    late = NOW + timedelta(hours=4)
    assert check_answer(PEOPLE, asked, signed("ada"), now=late - timedelta(microseconds=1)) is None
    said = check_answer(PEOPLE, asked, signed("ada"), now=late)
    assert said is not None
    assert "expired" in said
    assert standing(PEOPLE, asked, [], now=late).ruling == "deny"
    assert standing(PEOPLE, asked, [(signed("ada"), late)], now=late).by == ()
    assert standing(PEOPLE, asked, [(signed("ada"), NOW)], now=late).ruling == "approve"


def test_who_wants_it_and_who_is_excluded_may_not_answer() -> None:
    wanted = question(excluded=("requester",), requester="Ada")
    assert "wants this" in str(told(signed("ada", to=wanted), wanted))
    assert told(signed("grace", to=wanted), wanted) is None
    two_hats = question(excluded=("audit",))
    assert "does not let audit" in str(told(signed("grace", to=two_hats), two_hats))
    assert told(signed("ada", to=two_hats), two_hats) is None
    by_name = question(excluded=("ada",))
    assert told(signed("ada", to=by_name), by_name) is not None


def test_only_the_user_answers_for_the_user_and_nobody_for_nobody() -> None:
    for role, why in (("user", "in the conversation"), (None, "names nobody")):
        asked = question(role=role)
        assert why in str(told(signed("ada", to=asked), asked))


def test_without_people_in_the_contract_names_are_taken_as_given() -> None:
    asked = question(role=None)
    answer = answer_payload(asked, by="anybody", ruling="approve")
    assert told(answer, asked, people=None) is None
    for by in ("bot", " BOT ", "", " "):
        assert told(answer_payload(asked, by=by, ruling="approve"), asked, people=None) is not None


def test_two_people_must_agree_and_one_no_is_a_no() -> None:
    asked = question(approvals=2)
    ada, again = signed("ada", to=asked), signed("ada", to=asked, because="Really.")
    grace, no = signed("grace", to=asked), signed("grace", "deny", to=asked)

    def stands(*answers: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...], int]:
        found = standing(PEOPLE, asked, [(one, NOW) for one in answers], now=NOW)
        return found.ruling, found.by, found.missing

    assert stands() == (None, (), 2)
    assert stands(ada) == (None, ("ada",), 1)
    assert stands(ada, ada, again) == (None, ("ada",), 1)
    assert stands(ada, grace) == ("approve", ("ada", "grace"), 0)
    assert stands(ada, no, grace) == ("deny", ("grace",), 0)
    assert stands(grace, no) == (None, ("grace",), 1)
    assert stands(ada, grace, signed("ada", "take", to=asked)) == ("approve", ("ada", "grace"), 0)


def test_one_person_changes_nothing_that_several_must_agree_to() -> None:
    for asked in (question(approvals=2), question(sole=False)):
        said = told(signed("ada", "edit", to=asked, args={"amount": "1"}), asked)
        assert said is not None
        assert "Several people must agree" in said
        assert told(signed("ada", "approve", to=asked), asked) is None


def test_answers_that_do_not_count_are_passed_over() -> None:
    asked = question()
    forged = answer_payload(asked, by="ada", ruling="deny") | {"signature": signed("ada")["signature"]}
    found = standing(PEOPLE, asked, [(forged, NOW), (signed("joan"), NOW), (signed("ada"), NOW)], now=NOW)
    assert (found.ruling, found.by, len(found.counted)) == ("approve", ("ada",), 1)


def test_of_two_who_answer_at_once_one_comes_first() -> None:
    asked = question()
    with Ledger.open() as ledger:

        def write(by: str, ruling: Answering, place: Any) -> None:
            body = signed(by, ruling)
            ledger.append([Draft(kind="answer", world="production", run="r1", body=body, at=NOW)], [place])

        open_ = standing(PEOPLE, asked, [], now=NOW)
        write("ada", "approve", place_of(asked, open_, by="ada"))
        with pytest.raises(Conflict):
            write("grace", "deny", place_of(asked, open_, by="grace"))
        kept = [(entry.body, entry.at) for entry in ledger.entries(kind="answer")]
    found = standing(PEOPLE, asked, kept, now=NOW)
    assert (found.ruling, found.by) == ("approve", ("ada",))
    late = check_answer(PEOPLE, asked, signed("grace", "deny"), now=NOW, earlier=found.counted)
    assert late is not None
    assert "answered already: approve, by ada" in late


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


@given(st.dictionaries(st.sampled_from([*signed("ada"), "args", "text"]) | st.text(), anything))
def test_nothing_that_a_ledger_may_hold_raises_or_approves(strange: dict[str, Any]) -> None:
    whole = {**signed("ada"), **strange}
    assert told(strange) is not None
    assert (told(whole) is None) == (whole == signed("ada"))


@given(st.permutations(["ada", "grace", "joan", "bot", "idle", "eve"]), st.integers(1, 3))
def test_only_distinct_holders_of_the_role_make_a_yes(order: list[str], approvals: int) -> None:
    asked = question(approvals=approvals)
    make: Callable[[str], dict[str, Any]] = lambda by: signed(by, to=asked, key=by if by in KEYS else "ada")  # noqa: E731
    found = standing(PEOPLE, asked, [(make(by), NOW) for by in order * 2], now=NOW)
    able = [by for by in order if by in ("ada", "grace")]
    assert found.by == tuple(able[:approvals])
    assert found.ruling == ("approve" if approvals <= 2 else None)
