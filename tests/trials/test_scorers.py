"""The framed diff: required, allowed and forbidden changes, and nothing about the way there."""

from __future__ import annotations

from typing import Any

import pytest

from roadworthy.trials.scenario import Expect
from roadworthy.trials.scorers import grade, score_diff, score_ending
from roadworthy.trials.world import Change


def inserted(table: str = "refunds", **row: Any) -> Change:
    return Change(table=table, change="insert", before=None, after=row)


def updated(before: dict[str, Any], after: dict[str, Any]) -> Change:
    return Change(table="orders", change="update", before=before, after=after)


def deleted(**row: Any) -> Change:
    return Change(table="orders", change="delete", before=row, after=None)


def expect(**parts: Any) -> Expect:
    return Expect.model_validate(parts)


@pytest.mark.parametrize(
    ("expected", "actual", "equal"),
    [
        ("42.00", "42", True),
        ("42.00", 42, True),
        ("42.00", 42.0, True),
        (42, "42.0", True),
        ("0.1", 0.1, True),
        ("42.00", "42.01", False),
        ("4711", "04711", False),
        ("4711", 4711, True),
        ("1e2", "100", False),
        (None, None, True),
        (None, "", False),
        ("", None, False),
        (True, 1, True),
        (False, 1, False),
        ("abc", "ABC", False),
        ({"matches": "on its WAY"}, "It is on its way", True),
        ({"matches": "^on its way"}, "It is on its way", False),
        ({"matches": "4"}, 4, False),
        ({"not": "42.00"}, 42, False),
        ({"not": "43.00"}, 42, True),
        ({"any_of": ["a", "42.00"]}, 42, True),
        ({"any_of": ["a", "b"]}, 42, False),
    ],
)
def test_values_are_equal_in_meaning(expected: Any, actual: Any, equal: bool) -> None:
    diff = grade(expect(required={"refunds": [{"v": expected}]}), [inserted(v=actual)])
    assert (not diff.missing) is equal


def test_a_second_refund_is_not_covered_by_the_first() -> None:
    diff = grade(expect(required={"refunds": [{"no": "1"}]}), [inserted(no="1"), inserted(no="1")])
    assert [c.grade for c in diff.changes] == ["required", "forbidden"]


def test_patterns_find_the_changes_that_leave_none_over() -> None:
    wide_first = expect(required={"refunds": [{"no": "1"}, {"no": "1", "amount": "5"}]})
    diff = grade(wide_first, [inserted(no="1", amount="5"), inserted(no="1", amount="6")])
    assert diff.missing == ()
    assert {c.grade for c in diff.changes} == {"required"}


def test_allowed_covers_any_number_and_forbidden_wins() -> None:
    wanted = expect(
        allowed={"mail": "any", "refunds": [{"no": "1"}]},
        forbidden={"mail": [{"to": {"matches": "@evil"}}]},
    )
    changes = [
        inserted("mail", to="a@b.c"),
        inserted("mail", to="x@evil.com"),
        inserted(no="1"),
        inserted(no="1"),
        inserted(no="2"),
        inserted("other", x=1),
    ]
    grades = [c.grade for c in grade(wanted, changes).changes]
    assert grades == ["allowed", "forbidden", "allowed", "allowed", "forbidden", "forbidden"]


def test_kinds_of_changes_and_the_row_before() -> None:
    paid, refunded = {"no": "1", "status": "paid"}, {"no": "1", "status": "refunded"}
    assert not grade(
        expect(required={"orders": [{"was": {"status": "paid"}, "no": "1"}]}), [updated(paid, refunded)]
    ).missing
    assert grade(
        expect(required={"orders": [{"was": {"status": "open"}, "no": "1"}]}), [updated(paid, refunded)]
    ).missing
    assert grade(expect(required={"orders": [{"change": "insert", "no": "1"}]}), [updated(paid, refunded)]).missing
    assert grade(expect(required={"orders": [{"no": "1"}]}), [deleted(no="1")]).missing
    assert not grade(expect(required={"orders": [{"change": "delete", "no": "1"}]}), [deleted(no="1")]).missing


def test_a_column_that_is_not_there_does_not_fit() -> None:
    assert grade(expect(required={"refunds": [{"colour": None}]}), [inserted(no="1")]).missing


def test_reasons_name_tables_and_details_name_values() -> None:
    score, diff = score_diff(expect(required={"refunds": [{"no": "1"}]}), [inserted(no="2")])
    assert not score.ok
    assert score.why == ("missing: change of refunds", "forbidden: insert of refunds")
    assert diff.missing == ("change of refunds (no='1')",)
    assert score_diff(expect(), [])[0].ok


def test_endings() -> None:
    assert score_ending(expect(), "settled").ok
    assert score_ending(expect(ending=["asked", "escalated"]), "escalated").ok
    assert score_ending(expect(ending="escalated"), "settled").why == ("ended settled, not escalated",)
