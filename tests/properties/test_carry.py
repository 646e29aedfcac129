"""Laws of carrying and reading: nothing that a tool does or returns escapes; what is learnt depends on no order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.core import canonical
from roadworthy.core.clock import VirtualClock
from roadworthy.gate.carry import UNSURE, Carriage, Carried, Carrier, NotDone
from roadworthy.gate.carry.bounded import bounded
from roadworthy.gate.carry.breaker import Breaker, BreakerSpec
from roadworthy.gate.carry.drift import ENOUGH, Learned
from roadworthy.gate.values import as_text, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    name: str
    carriage: Carriage | None


class Overloaded(Exception):
    status = 503


acts = st.one_of(
    st.sampled_from(
        ["here", NotDone("no"), Overloaded(), ConnectionRefusedError(), TimeoutError(), KeyError("k"), None]
    ),
    st.floats(0, 40),  # seconds that the tool takes before it answers
)
carriages = st.builds(
    Carriage,
    timeout_s=st.one_of(st.none(), st.floats(0.5, 30)),
    attempts=st.integers(1, 4),
    concurrency=st.one_of(st.none(), st.integers(1, 2)),
    breaker=st.one_of(
        st.none(),
        st.builds(BreakerSpec, failures=st.integers(1, 3), within_s=st.just(30.0), open_for_s=st.floats(1, 90)),
    ),
)


class Played:
    """A tool that does one thing after the other on a clock of its own."""

    def __init__(self, clock: VirtualClock, script: list[Any]) -> None:
        self.clock = clock
        self.script = script
        self.called_at: list[float] = []
        self.did: list[Any] = []

    def __call__(self) -> Any:
        self.called_at.append(self.clock.monotonic())
        act = self.script[len(self.called_at) % len(self.script)]
        self.did.append(act)
        if isinstance(act, Exception):
            raise act
        if isinstance(act, float):
            self.clock.advance(act)
        return act


@given(carriages, st.lists(acts, min_size=1, max_size=8), st.one_of(st.none(), st.floats(0, 60)), st.integers(1, 6))
@settings(max_examples=200, deadline=None)
def test_blocking_and_async_make_the_same_attempts_in_time(
    carriage: Carriage, script: list[Any], left_s: float | None, calls: int
) -> None:
    clocks = VirtualClock(), VirtualClock()
    tools = [Played(clock, script) for clock in clocks]
    carriers = [Carrier(clock, direct=True) for clock in clocks]
    policy = Tool(name="t", carriage=carriage)
    for n in range(calls):
        before = len(tools[0].called_at)
        began = clocks[0].monotonic()
        one = carriers[0].call(policy, tools[0], {}, left_s=left_s, key=str(n))
        two = asyncio.run(carriers[1].acall(policy, tools[1], {}, left_s=left_s, key=str(n)))
        assert one == two
        assert tools[0].called_at == tools[1].called_at
        made = tools[0].called_at[before:]
        assert len(made) == one.attempts <= carriage.attempts
        limits = [x for x in (left_s, carriage.timeout_s and carriage.timeout_s * carriage.attempts) if x is not None]
        assert all(at - began <= min(limits, default=1e9) for at in made), "no attempt begins after the deadline"
        if one.ending in ("raised", "refused"):
            # Nothing was done is said only where no attempt is in doubt.
            assert not any(isinstance(did, TimeoutError | KeyError | Overloaded) for did in tools[0].did[before:])
        if one.ending == "refused":
            assert made == []
        if one.ending in UNSURE:
            assert made


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from(["well", "badly", "unknown"])), max_size=60))
def test_a_breaker_lets_nothing_through_while_it_rests(steps: list[tuple[float, Any]]) -> None:
    breaker = Breaker(BreakerSpec(failures=3, within_s=30, open_for_s=25))
    now, opened = 0.0, None
    for wait, ended in steps:
        now += wait
        resting = breaker.enter(now)
        if opened is not None and now < opened + 25:
            assert resting is not None
        if resting is None:
            breaker.leave(now, ended, began=now)
            opened = now if breaker.open and ended == "badly" else (opened if breaker.open else None)
        else:
            assert breaker.open


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(st.characters()),
    st.binary(max_size=20),
    st.dates(),
    st.sets(st.text(max_size=3), max_size=3),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(st.characters(), max_size=8), st.integers()), inner, max_size=4),
    ),
    max_leaves=30,
)


@given(values)
@settings(max_examples=300)
def test_what_is_bounded_can_be_told_and_recorded_and_stays_as_it_is(value: Any) -> None:
    found = plain(value)
    assert plain(found) == found
    as_text(found).encode()
    recorded = canonical.loads(canonical.dumps(found))
    assert canonical.dumps(recorded) == canonical.dumps(canonical.loads(canonical.dumps(plain(recorded))))


@given(values, st.integers(0, 400))
def test_cutting_keeps_the_size_and_never_passes_in_silence(value: Any, size: int) -> None:
    whole, found = bounded(value), bounded(value, size=size)
    assert not found.notes or found.value != whole.value or whole.notes
    if found.value != whole.value:
        assert found.notes
    assert _characters(found.value) <= size + 200


def _characters(value: Any) -> int:
    if isinstance(value, str):
        # What cannot be written as UTF-8 takes six characters, or ten, for one.
        return len(value) if "\\" not in value else len(value) // 10
    if isinstance(value, dict):
        return sum(_characters(k) + _characters(v) for k, v in value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return sum(_characters(v) for v in value) if isinstance(value, list) else 0  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


forms = st.recursive(
    st.sampled_from([None, 1, "x", True]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "c", "2026-01-05"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(forms, min_size=1, max_size=6), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_answers_of_forms_that_were_usual_never_confirm_a_change(usual: list[Any], seed: int) -> None:
    """Once every form has come often enough in turn, no order of them is a breaking change."""
    learned = Learned()
    for n in range(2 * ENOUGH):
        for i, value in enumerate(usual):
            learned.see("t", "p", {"n": n, "i": i}, plain(value))
    order = [(seed >> i) % len(usual) for i in range(24)]
    for n, i in enumerate(order):
        found = learned.see("t", "p", {"later": n}, plain(usual[i])).findings
        assert not any(f.breaking for f in found)


@given(st.lists(st.lists(forms, min_size=25, max_size=25), min_size=2, max_size=3))
@settings(max_examples=30, deadline=None)
def test_what_several_processes_know_comes_together_in_any_order(streams: list[list[Any]]) -> None:
    bodies: list[Any] = []
    for stream in streams:
        learned = Learned()
        for n, value in enumerate(stream):
            observation = learned.see("t", "p", {"n": n}, plain(value)).observation
            bodies += [observation] if observation is not None else []
    one, two = Learned(), Learned()
    for body in bodies:
        assert one.restore(body)
    for body in [*bodies[::-1], *bodies]:
        assert two.restore(body)
    ends = [learned.see("t", "p", {"n": -1}, {}).findings for learned in (one, two)]
    assert ends[0] == ends[1]


def test_a_result_that_was_carried_is_the_value_itself() -> None:
    value = {"a": Decimal("1.50")}
    found = Carrier(VirtualClock(), direct=True).call(Tool(name="t", carriage=None), lambda: value, {})
    assert found == Carried(ending="returned", value=value)
