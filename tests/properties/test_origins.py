"""The index of origins against a slow reference that reads all events again for every question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from roadworthy import Contract
from roadworthy.core.types import STRICTNESS
from roadworthy.gate import forms
from roadworthy.gate.confirm import affirms
from roadworthy.gate.origins.checked import (
    AGENT,
    FACTS,
    GOOD,
    SIMULATED,
    TRUSTED,
    UNTRUSTED,
    USER,
    CheckedArg,
    meanings,
)
from roadworthy.gate.origins.judge import MOST_WORDS, judge
from roadworthy.gate.origins.sightings import APART, ENCODED
from roadworthy.gate.origins.spoken import spoken
from roadworthy.gate.policy import Policy, policy_of
from roadworthy.gate.state import RunState
from roadworthy.gate.walk import Leaf

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
CONTRACT = Contract.loads("""
roadworthy: 1
agent: a
version: "1"
goal: g
owner: {team: t, accountable: x}
facts: {branch: {type: string}}
entities: {Account: {key: nr, pattern: "[0-9]{4}"}, Contact: {key: id}}
tools:
  look: {effect: read, args: {nr: Account}, returns: {nr: Account, owner: string, total: {type: decimal, unit: EUR}}}
  list:
    effect: read
    args: {}
    returns: {type: array, items: {nr: Account, owner: string, note: {type: string, trust: untrusted}}}
  contact: {effect: read, args: {}, returns: {id: Contact, seats: integer}}
  page: {effect: read, args: {}}
  pay:
    effect: write
    args:
      nr: Account
      to: {type: string, origin: [user, trusted, facts]}
      amount: {type: decimal, unit: EUR, origin: {not: [untrusted, agent]}}
      count: {type: integer, origin: [user, trusted], optional: true}
    returns: {to: string}
capabilities:
  c:
    means: m
    tools: [look, list, contact, page, pay]
    autonomy: {start: autonomous, ceiling: autonomous, approver: x}
    success: [{id: s, check: count.pay <= 1}]
""")
POLICY = policy_of(CONTRACT)

words = st.sampled_from(
    ["Ada", "Bob", "Lovelace", "1234", "5678", "42.00", "42", "7", "9.99", "AB-7731", "eve@evil.example", "tomorrow",
     "2026-01-06", "two", "yes", "please", "DE89370400440532013000", "https://a.example/x", "all of"]
)  # fmt: skip
texts = st.lists(words, min_size=1, max_size=5).map(" ".join)
questions = st.one_of(
    texts, texts.map(lambda t: f"Shall I take {t}?"), st.tuples(texts, texts).map("{0[0]}. Is it {0[1]}?".format)
)
keys = st.sampled_from(["1234", "5678", "9012"])
POOL = [
    "Ada",
    "Bob",
    "Ada Lovelace",
    "AB-7731",
    "eve@evil.example",
    "DE89370400440532013000",
    "1234",
    "5678",
    "9012",
    "7",
]
AMOUNTS = ["42.00", "9.99", "51.99", "7", "84"]


@dataclass(frozen=True)
class Event:
    kind: str
    text: str = ""
    tool: str = ""
    args: Mapping[str, Any] | None = None
    leaves: tuple[Leaf, ...] = ()


@cache
def whole_text(text: str) -> set[str]:
    found = set(forms.keys(text))
    for inner in forms.decoded(text) if ENCODED.search(text) else ():
        found |= forms.keys(inner)
    run = forms.words(text)
    return found | {f"2:{a} {b}" for a, b in pairwise(run)}


class Reference:
    """Knows nothing but the list of events, and reads all of it for each question."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def mask(self, place: str, until: int | None = None) -> int:
        events = self.events[:until]
        return sum({bit for n, event in enumerate(events) for bit in self.bits(n, event, place)})

    def bits(self, n: int, event: Event, place: str) -> Iterable[int]:
        if event.kind == "heard":
            said = forms.keys(event.text) | {f"n:{count}" for count in spoken(event.text).counts}
            question = self.question(n)
            if place in said or (question and affirms(event.text, question) and place in forms.keys(question)):
                yield USER
        elif event.kind in ("said", "untrusted"):
            if place in whole_text(event.text):
                yield AGENT if event.kind == "said" else UNTRUSTED
        elif event.kind == "trusted":
            if place in self.vouched_text(event.text):
                yield TRUSTED if place.startswith("2:") else self.taint(place.removeprefix("~"), n) or TRUSTED
        elif event.kind == "facts":
            if place in forms.keys(event.text) | set(forms.seen(event.text, None)):
                yield FACTS
        elif event.kind == "result":
            strange = [leaf.value for leaf in event.leaves if not leaf.trusted]
            if place in whole_text(APART.join(sorted({v for v in strange if isinstance(v, str)}))):
                yield UNTRUSTED
            if any(place in forms.seen(value) for value in strange if not isinstance(value, str)):
                yield UNTRUSTED
            for leaf in event.leaves:
                if leaf.trusted:
                    yield from self.vouched(n, event, leaf, place)

    def question(self, n: int) -> str:
        said: list[str] = []
        for event in reversed(self.events[:n]):
            if event.kind == "heard":
                break
            if event.kind == "said":
                said.insert(0, event.text)
        sentences = [s.strip() for line in said for s in line.replace("?", "?\n").replace(". ", ".\n").split("\n")]
        return " ".join(s for s in sentences if s.endswith("?"))

    @staticmethod
    @cache
    def vouched_text(text: str) -> set[str]:
        run = forms.words(text)
        pairs = {f"2:{a} {b}" for a, b in pairwise(run)}
        return {f"~{form}" if forms.weak(form) else form for form in forms.keys(text)} | pairs

    def vouched(self, n: int, event: Event, leaf: Leaf, place: str) -> Iterable[int]:
        until = n + 1 if event.tool == "pay" else n
        free = isinstance(leaf.value, str) and leaf.shape is not None and leaf.shape.entity is None
        own = set(forms.seen(leaf.value, leaf.shape))
        if free and place in self.vouched_text(leaf.value):
            form = place.removeprefix("~")
            yield TRUSTED if place.startswith("2:") else self.taint(form, until) or TRUSTED
        assert leaf.shape is not None
        means = meanings(str([p for p in leaf.path if isinstance(p, str)][-1]), leaf.shape)
        for form in own:
            places = {f"~{form}", *(f"{form}\x1f{m}" for m in means)} if forms.weak(form) else {form}
            if place in places:
                yield self.taint(form, until) or TRUSTED

    def taint(self, form: str, until: int) -> int:
        """What an earlier write says of a form that it took from where nobody vouches for it."""
        taint = 0
        for n, event in enumerate(self.events[:until]):
            if event.tool != "pay" or event.kind != "result":
                continue
            for value in (event.args or {}).values():
                for number, piece in enumerate(self.pieces(value)):
                    named = [f for f in piece if not forms.weak(f) and (number == 0 or not f.startswith("w:"))]
                    sighted = 0
                    for f in piece:
                        sighted |= self.mask(f, n) | self.mask(f"~{f}", n)
                    if form in named and not sighted & GOOD:
                        one = self.mask(form, n) | self.mask(f"~{form}", n)
                        taint = next((bit for bit in (SIMULATED, UNTRUSTED, AGENT) if one & bit), AGENT)
        return taint

    @staticmethod
    def pieces(value: Any) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = [forms.seen(value)]
        if isinstance(value, str):
            spans: dict[tuple[int, int], list[str]] = {}
            for one in forms.scan(value):
                spans.setdefault((one.start, one.end), []).append(one.form)
            end = -1
            for start, stop in sorted(spans, key=lambda span: (span[0], -span[1])):
                if start >= end:
                    found.append(tuple(spans[start, stop]))
                    end = stop
        return found

    def groups(self, entity: str, key: str) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = []
        for event in self.events:
            named: dict[str, None] = {}
            for leaf in event.leaves:
                in_list = any(isinstance(p, int) for p in leaf.path)
                if leaf.trusted and in_list and leaf.shape is not None and leaf.shape.entity == entity:
                    named[str(leaf.value)] = None
            if len(named) > 1 and key in named and tuple(named) not in found:
                found.append(tuple(named))
        return found

    def user(self) -> set[str]:
        heard = [e.text for e in self.events if e.kind == "heard"]
        return {f for text in heard for f in forms.keys(text) | {f"n:{c}" for c in spoken(text).counts}}


def asked(policy: Policy) -> list[tuple[CheckedArg, Any]]:
    assert policy.origins is not None
    found: list[tuple[CheckedArg, Any]] = []
    for checked in policy.origins.tools["pay"].checked:
        values: list[Any] = [*POOL, *AMOUNTS] if checked.shape.type == "string" else [7, 42]
        found += [(checked, value) for value in values]
    return found


ASKED = asked(POLICY)


class Runs(RuleBasedStateMachine):
    """A run in which anything is said, read and returned, in any order."""

    @initialize(branch=st.none() | texts)
    def begin(self, branch: str | None) -> None:
        self.reference = Reference()
        facts = {"branch": branch} if branch is not None else None
        self.state = RunState(POLICY, principal="p", started=NOW, levels=POLICY.start_levels, facts=facts)
        self.state.open("c")
        if branch is not None:
            self.reference.events.append(Event("facts", branch))

    @rule(text=texts, later=st.integers(0, 3))
    def heard(self, text: str, later: int) -> None:
        self.state.hear(text, NOW + timedelta(days=later))
        self.reference.events.append(Event("heard", text))

    @rule(text=questions)
    def said(self, text: str) -> None:
        self.state.said(text)
        self.reference.events.append(Event("said", text))

    @rule(text=texts, trusted=st.booleans())
    def read(self, text: str, trusted: bool) -> None:
        self.state.read(text, trusted=trusted)
        self.reference.events.append(Event("trusted" if trusted else "untrusted", text))

    def saw(self, name: str, args: dict[str, Any], value: Any) -> None:
        tool = POLICY.tools[name]
        leaves = POLICY.walks[name].leaves(value, tool.result.read(value))
        self.state.observe(tool, args, "ok", "executed", value)
        self.reference.events.append(Event("result", tool=name, args=args, leaves=tuple(leaves)))

    @rule(no=keys, owner=texts, total=st.sampled_from(AMOUNTS), note=st.none() | texts)
    def look(self, no: str, owner: str, total: str, note: str | None) -> None:
        extra = {"remark": note} if note is not None else {}
        self.saw("look", {"nr": no}, {"nr": no, "owner": owner, "total": total, **extra})

    @rule(rows=st.lists(st.tuples(keys, texts, texts), max_size=3))
    def list(self, rows: list[tuple[str, str, str]]) -> None:
        self.saw("list", {}, [{"nr": no, "owner": owner, "note": note} for no, owner, note in rows])

    @rule(id=st.sampled_from(["1234", "AB-7731", "7"]), seats=st.sampled_from([1, 7, 42]))
    def contact(self, id: str, seats: int) -> None:
        self.saw("contact", {}, {"id": id, "seats": seats})

    @rule(text=texts)
    def page(self, text: str) -> None:
        self.saw("page", {}, {"html": text})

    @rule(no=keys, to=texts)
    def pay(self, no: str, to: str) -> None:
        self.saw("pay", {"nr": no, "to": to}, {"to": to})

    def teardown(self) -> None:
        """The index says what the events say."""
        if not hasattr(self, "reference"):
            return
        index = self.state.index
        assert index is not None
        for checked, value in ASKED:
            for place in checked.places(value):
                assert index.masks.get(place, 0) == self.reference.mask(place), place
        for key in ("1234", "5678", "9012"):
            assert index.groups.get(("Account", key), []) == self.reference.groups("Account", key)
        assert index.user == self.reference.user()


Runs.TestCase.settings = settings(max_examples=50, stateful_step_count=10, deadline=None)
TestRuns = Runs.TestCase


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "nr": draw(keys),
        "to": draw(texts),
        "amount": draw(st.decimals("0.01", "99", places=2)),
        "count": draw(st.integers(0, 99)),
    }


@given(heard=st.lists(texts, max_size=3), read=st.lists(texts, max_size=3), call=calls())
@settings(deadline=None)
def test_untrusted_text_never_makes_a_call_better(heard: list[str], read: list[str], call: dict[str, Any]) -> None:
    """Whatever outsiders write: an argument that was not good enough before stays so."""
    states = [RunState(POLICY, principal="p", started=NOW, levels=POLICY.start_levels) for _ in range(2)]
    for state in states:
        for text in heard:
            state.hear(text, NOW)
    for text in read:
        states[1].read(text, trusted=False)
    before, after = (judge(POLICY, state, POLICY.tools["pay"], call)[0] for state in states)
    assert bool(after) >= bool(before)
    assert len(after) >= len(before)
    for reason in after:
        assert STRICTNESS[reason.ruling] >= STRICTNESS["ask"]


@given(heard=st.lists(texts, min_size=1, max_size=3), call=calls())
@settings(deadline=None)
def test_saying_it_makes_any_value_the_users(heard: list[str], call: dict[str, Any]) -> None:
    state = RunState(POLICY, principal="p", started=NOW, levels=POLICY.start_levels)
    for text in heard:
        state.hear(text, NOW)
    state.hear(f"pay {call['amount']} to {call['to']} from {call['nr']}, {call['count']} times", NOW)
    reasons, seen = judge(POLICY, state, POLICY.tools["pay"], call)
    assert reasons == []
    for label, origins in seen.items():
        if label != "to" or len(forms.words(call["to"])) <= MOST_WORDS:  # the agent writes longer texts itself
            assert "user" in origins, label
