"""A tool in trouble is left alone, tried out once, and called again when it is well."""

from __future__ import annotations

import threading

import pytest

from roadworthy.gate.carry.breaker import Breaker, BreakerSpec, Slots

SPEC = BreakerSpec(failures=3, within_s=30, open_for_s=60)


def fail(breaker: Breaker, *times: float) -> None:
    for now in times:
        assert breaker.enter(now) is None
        breaker.leave(now, "badly", began=now)


def test_failures_close_together_open_it_and_others_do_not() -> None:
    breaker = Breaker(SPEC)
    fail(breaker, 0, 1)
    assert breaker.enter(40) is None
    breaker.leave(40, "badly", began=40)
    assert not breaker.open  # the first two are too long ago
    fail(breaker, 41, 42)
    assert breaker.open
    assert breaker.enter(50) == pytest.approx(52)  # pyright: ignore[reportUnknownMemberType]


def test_mistakes_of_ours_are_no_failures_of_the_tool() -> None:
    breaker = Breaker(SPEC)
    for _ in range(10):
        assert breaker.enter(0) is None
        breaker.leave(0, "unknown", began=0)
    assert not breaker.open


def test_one_call_tries_it_out_and_its_end_decides() -> None:
    breaker = Breaker(SPEC)
    fail(breaker, 0, 0, 0)
    assert breaker.resting_s(60) is None
    assert breaker.enter(60) is None
    assert breaker.enter(60) == 0.0  # only one at a time
    breaker.leave(61, "badly", began=60)
    assert breaker.enter(62) == 59
    assert breaker.enter(121) is None
    breaker.leave(122, "well", began=121)
    assert not breaker.open
    fail(breaker, 123, 124)
    assert not breaker.open  # the old failures are forgotten


def test_a_trial_call_that_says_nothing_is_followed_by_another() -> None:
    breaker = Breaker(SPEC)
    fail(breaker, 0, 0, 0)
    assert breaker.enter(60) is None
    breaker.leave(61, "unknown", began=60)
    assert breaker.enter(61) is None


def test_calls_that_began_before_it_opened_are_no_news() -> None:
    breaker = Breaker(SPEC)
    assert breaker.enter(0) is None  # a slow one
    fail(breaker, 1, 1, 1)
    breaker.leave(30, "well", began=0)
    assert breaker.open
    assert breaker.enter(61) is None
    breaker.leave(62, "well", began=0)
    assert breaker.open, "the call that tries it out is still under way"


def test_slots_go_to_whoever_waits_longest() -> None:
    slots = Slots(1)
    turns: list[str] = []
    assert slots.take(lambda: turns.append("nobody"))
    first, second = (lambda: turns.append("first")), (lambda: turns.append("second"))
    assert not slots.take(first)
    assert not slots.take(second)
    slots.give_back()
    assert turns == ["first"]
    assert slots.give_up(second)
    slots.give_back()
    assert (turns, slots.free) == (["first"], 1)


def test_a_slot_that_was_handed_over_cannot_be_given_up() -> None:
    slots = Slots(1)
    slots.take(lambda: None)
    waiting = threading.Event()
    assert not slots.take(waiting.set)
    slots.give_back()
    assert waiting.is_set()
    assert not slots.give_up(waiting.set)
