"""What people say instead of a date or a number."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from roadworthy.gate.origins.spoken import NOTHING, Spoken, spoken

MONDAY = date(2026, 1, 5)


@pytest.mark.parametrize(
    ("words", "days"),
    [
        ("tomorrow", ["2026-01-06"]),
        ("yesterday", ["2026-01-04"]),
        ("the day after tomorrow", ["2026-01-07"]),
        ("the day before yesterday", ["2026-01-03"]),
        ("in a fortnight", ["2026-01-19"]),
        ("a week later", ["2026-01-12"]),
        ("two days ago", ["2026-01-03"]),
        ("in three months", ["2026-04-05"]),
        ("next year", ["2027-01-05"]),
        ("übermorgen", ["2026-01-07"]),
        ("in zwei Wochen", ["2026-01-19"]),
        ("am 15.", ["2026-01-15"]),
        ("la semaine prochaine, mardi", ["2026-01-06", "2026-01-13"]),
        ("mañana", ["2026-01-06"]),
    ],
)
def test_days_are_counted_from_a_day(words: str, days: list[str]) -> None:
    said = spoken(words)
    for day in days:
        assert said.means(date.fromisoformat(day), MONDAY), day
    assert not said.means(date(2026, 6, 17), MONDAY)


@pytest.mark.parametrize("words", ["guten Morgen", "good morning", "thanks a lot", "", "once upon a time", "1234"])
def test_what_says_nothing_of_days_means_none(words: str) -> None:
    said = spoken(words)
    assert not any(said.means(date(2026, 1, day), MONDAY) for day in range(1, 32))


def test_the_end_of_a_month_is_kept() -> None:
    assert spoken("in one month").means(date(2026, 2, 28), date(2026, 1, 31))
    assert not spoken("in one month").means(date(2026, 2, 27), date(2026, 1, 31))


def test_a_week_and_a_month_are_all_of_their_days_and_no_others() -> None:
    assert [d for d in range(1, 32) if spoken("next week").means(date(2026, 1, d), MONDAY)] == list(range(12, 19))
    assert [m for m in range(1, 13) if spoken("next month").means(date(2026, m, 9), MONDAY)] == [2]


def test_how_long_how_many_and_what_part() -> None:
    assert spoken("for two hours").minutes == {120}
    assert spoken("for half an hour").minutes >= {30}
    assert spoken("90 minutes").minutes == {90}
    assert spoken("two of the three").counts == {2, 3}
    assert spoken("a third of it, or 12.5 %").parts == {3}
    assert spoken("a third of it, or 12.5 %").percents == {Decimal("12.5")}
    assert spoken("the cheapest and the latest").extremes == {1, -1}
    assert spoken("hello there") == NOTHING


def test_turns_add_up() -> None:
    both = spoken("tomorrow").with_(spoken("for two hours"))
    assert both == Spoken(offsets=frozenset({1}), minutes=frozenset({120}), counts=frozenset({2}))
    assert both.with_(NOTHING) is both
