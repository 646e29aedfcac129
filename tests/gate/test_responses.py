"""What the model is told of an answer: whole, cut, partial, changed, unreadable or in doubt."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from roadworthy import Contract
from roadworthy.core import canonical
from roadworthy.core.types import Action, Level
from roadworthy.gate.carry import Carried, Ending
from roadworthy.gate.carry.bounded import MAX_BITS, MAX_SIZE, bounded, fingerprint
from roadworthy.gate.carry.drift import CONFIRMED, ENOUGH, Learned
from roadworthy.gate.carry.responses import Judged, judge
from roadworthy.gate.policy import policy_of
from roadworthy.gate.values import MISSING, as_text
from roadworthy.ledger.rows import MAX_BODY

CONTRACT = Contract.loads("""
roadworthy: 1
agent: desk
version: "1"
goal: g
owner: {team: t, accountable: x}
entities: {Customer: {key: id}}
subject: {entity: Customer, established_by: [find]}
tools:
  find:
    effect: read
    args: {name: string}
    returns: {id: Customer, notes: {type: array, items: string, optional: true}}
  page: {effect: read, args: {n: {type: integer, optional: true}}}
  get: {effect: read, args: {n: integer}, returns: {total: {type: decimal}}}
  lines: {effect: read, args: {}, returns: {type: array, items: {n: integer}}}
  refund: {effect: write, args: {n: {type: integer, optional: true}}, returns: {refund_no: string}}
  push: {effect: write, args: {}, fails_when: 'result.startsWith("Error:")', returns: string}
  look: {effect: read, args: {}, fails_when: 'result.startsWith("Error:")', returns: string}
capabilities:
  c: {means: m, tools: [page, get, lines, refund, push, look], autonomy: {start: autonomous, approver: x}}
common: [find]
""")
POLICY = policy_of(CONTRACT)


def action(tool: str, **args: Any) -> Action:
    return Action(
        id="r#1",
        run="r",
        principal="desk",
        subject=None,
        capability="c",
        tool=tool,
        args=args,
        call_id=None,
        at=datetime(2026, 1, 5, tzinfo=UTC),
    )


def answered(
    tool: str,
    value: Any = None,
    *,
    level: Level = "autonomous",
    enforce: bool = True,
    learned: Learned | None = None,
    n: int | None = None,
    ending: Ending = "returned",
    **carried: Any,
) -> Judged:
    args = {"n": n} if n is not None else {}
    ended = Carried(ending=ending, value=value, **carried)
    return judge(
        POLICY,
        POLICY.tools[tool],
        action(tool, **args),
        ended,
        level=level,
        simulate=False,
        enforce=enforce,
        learned=learned,
    )


# -- how the tool ended -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "read", "write"),
    [
        ("raised", ("failed", "executed"), ("failed", "executed")),
        ("lost", ("failed", "executed"), ("in_doubt", "executed")),
        ("timed_out", ("failed", "executed"), ("in_doubt", "executed")),
        ("refused", ("failed", "blocked"), ("failed", "blocked")),
    ],
)
def test_endings(ending: Ending, read: tuple[str, str], write: tuple[str, str]) -> None:
    for tool, wanted in (("page", read), ("refund", write)):
        outcome = answered(tool, ending=ending, error="it broke").outcome
        assert (outcome.status, outcome.done) == wanted
        assert "it broke" in outcome.text


def test_a_call_that_was_refused_is_told_as_not_made() -> None:
    text = answered("refund", ending="refused", error="4 calls of it are under way already", attempts=0).outcome.text
    assert text.startswith("refund was not called, and nothing was done: 4 calls")


def test_several_attempts_are_recorded() -> None:
    assert answered("page", "fine", attempts=3).more == {"attempts": 3}
    assert answered("page", "fine").more == {}
    assert answered("page", ending="lost", error="e", attempts=2).more == {"attempts": 2}


def test_a_failure_told_after_a_lost_attempt_proves_nothing() -> None:
    assert answered("push", "Error: done already").outcome.status == "failed"
    assert answered("push", "Error: done already", after_doubt=True).outcome.status == "in_doubt"
    assert answered("look", "Error: no", after_doubt=True).outcome.status == "failed"
    assert answered("push", "sent", after_doubt=True).outcome.status == "ok"


# -- answers that cannot be read --------------------------------------------------------------------------------------


class Unsayable:
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Endless(Mapping[str, int]):
    """A mapping without an end."""

    def __init__(self, *, same: bool = False) -> None:
        self.same = same

    def __getitem__(self, key: str) -> int:
        return 1

    def __len__(self) -> int:
        return 2**31

    def __iter__(self) -> Iterator[str]:
        n = 0
        while True:
            yield "same" if self.same else f"k{n}"
            n += 1


class Colour(Enum):
    RED = "red"


def deep(levels: int) -> list[Any]:
    nest: list[Any] = []
    for _ in range(levels):
        nest = [nest]
    return nest


def cyclic() -> list[Any]:
    ring: list[Any] = []
    ring += [ring, ring]
    return ring


def shared() -> list[Any]:
    """40 levels of two, all the same objects: a million millions of leaves in a few hundred bytes."""
    value: list[Any] = ["x"]
    for _ in range(40):
        value = [value, value]
    return value


HOSTILE: dict[str, Any] = {
    "50 MB": "x" * 50_000_000,
    "50 MB of bytes": b"x" * 50_000_000,
    "control characters": "\x00" * 3_000_000,
    "quotes": '"\\' * 2_000_000,
    "emoji": "\U0001f600" * 3_000_000,
    "many values": [{"a": i, "b": "y" * 30} for i in range(300_000)],
    "deep": deep(10_000),
    "deep mapping": {"a": deep(10_000)},
    "deep JSON": "[" * 10_000 + "]" * 10_000,
    "deep but lawful JSON": "[" * 1_000 + "]" * 1_000,
    "cyclic": cyclic(),
    "shared": shared(),
    "endless": Endless(),
    "endless, always the same": Endless(same=True),
    "NaN": float("nan"),
    "NaN inside": {"total": float("nan"), "id": float("inf")},
    "decimal NaN": {"total": Decimal("sNaN")},
    "decimal of a million digits": {"total": Decimal("1E+999999")},
    "lone surrogate": {"total": "\ud800", "\udfff": 1},
    "huge number": {"n": 10**5000},
    "unsayable": {"a": Unsayable()},
    "set of the unsayable": {Unsayable()},
    "a class": dict,
    "not JSON": "<html>502 Bad Gateway</html>",
    "broken JSON": '{"total": ',
    "nothing": None,
    "two keys alike": {1: "a", "1": "b"},
    "bytes that are no text": b"\xff\xfe",
}


CALLS: list[tuple[str, Level]] = [
    ("page", "autonomous"), ("get", "autonomous"), ("get", "approval"), ("refund", "autonomous"),
    ("find", "autonomous"), ("push", "autonomous"),
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_comes_back_ends_in_an_outcome_that_can_be_told_and_recorded(name: str) -> None:
    learned = Learned()
    for tool, level in CALLS:
        began = time.perf_counter()
        judged = answered(tool, HOSTILE[name], level=level, learned=learned)
        outcome = judged.outcome
        assert time.perf_counter() - began < 10
        assert not (POLICY.tools[tool].acts and outcome.status == "failed"), "a write that answered was done"
        outcome.text.encode()
        body = {"text": outcome.text, "value": outcome.value, **judged.more}
        assert len(canonical.dumps(body)) < MAX_BODY


def test_a_large_text_is_cut_and_says_so_with_the_digest_of_the_whole() -> None:
    judged = answered("page", "x" * 50_000_000)
    assert judged.outcome.ok
    assert judged.outcome.text.endswith("(Incomplete: a text of 50,000,000 characters is cut after 1,048,576.)")
    assert judged.outcome.value == "x" * MAX_SIZE
    assert judged.more["sha256"] == hashlib.sha256(b"x" * 50_000_000).hexdigest()
    assert answered("page", "x" * 1000).more == {}


def test_a_list_without_end_keeps_its_beginning_and_is_no_typed_result() -> None:
    judged = answered("lines", [{"n": n} for n in range(50_000)])
    assert judged.outcome.ok
    assert judged.outcome.value[:2] == [{"n": 0}, {"n": 1}]
    assert "(Incomplete: it is too large, and its end is left out.)" in judged.outcome.text
    assert judged.typed is MISSING
    assert len(judged.more["sha256"]) == 64


def test_a_look_up_that_could_name_somebody_else_is_withheld_when_it_is_cut() -> None:
    value = {"id": "C-1", "notes": ["n" * 1000] * 2000}
    judged = answered("find", value)
    assert (judged.outcome.status, judged.outcome.value) == ("failed", None)


def test_a_write_whose_failure_text_may_have_been_cut_off_is_in_doubt() -> None:
    assert answered("push", "x" * (MAX_SIZE + 1)).outcome.status == "in_doubt"
    assert answered("look", "x" * (MAX_SIZE + 1)).outcome.status == "ok"


def test_numbers_that_json_lacks_are_named_and_no_numbers() -> None:
    assert answered("page", {"a": float("nan"), "b": [float("-inf")]}).outcome.text == '{"a":"NaN","b":["-Infinity"]}'
    assert answered("get", {"total": float("nan")}).outcome.status == "failed"
    assert answered("get", {"total": "12.50"}).typed == {"total": Decimal("12.5")}


def test_values_come_as_json_carries_them() -> None:
    found = bounded({"c": Colour.RED, "d": Decimal("1.50"), "s": {"b", "a"}, "n": 2**MAX_BITS, "t": True, None: 1})
    assert found.value == {
        "c": "red",
        "d": Decimal("1.50"),
        "s": ["a", "b"],
        "n": f"(a whole number of {MAX_BITS + 1:,} binary digits)",
        "t": True,
        "None": 1,
    }
    assert found.notes == (f"a whole number of {MAX_BITS + 1:,} binary digits is left out",)
    assert bounded({"a": [1, None, "ü"]}).whole


def test_fingerprints_tell_values_apart() -> None:
    values: list[Any] = [
        "1",
        1,
        1.5,
        True,
        None,
        [],
        {},
        ["1"],
        [1],
        [[1], 2],
        [1, [2]],
        {"a": 1},
        {"a": "1"},
        {"1": "a"},
    ]
    prints = [fingerprint(value) for value in values]
    assert None not in prints
    assert len(set(prints)) == len(values)
    assert fingerprint({"a": [1, {"b": None}]}) == fingerprint({"a": [1, {"b": None}]})
    assert fingerprint(cyclic()) is None
    assert fingerprint([Unsayable()]) is None


# -- answers that are only a part -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"items": [1], "next_page": "https://x/2"}, "result.next_page"),
        ({"items": [1], "hasMore": True}, "result.hasMore"),
        ({"data": {"truncated": True}}, "result.data.truncated"),
        ({"items": [1, 2], "total_count": 40}, "result.total_count"),
        ({"value": [], "@odata.nextLink": "https://x/2"}, "result.@odata.nextLink"),
        ('{"items": [1], "nextPageToken": "abc"}', "result.nextPageToken"),
    ],
)
def test_an_answer_that_says_that_there_is_more_is_marked(value: Any, where: str) -> None:
    judged = answered("page", value)
    assert judged.outcome.ok
    assert f"(Incomplete: {where} " in judged.outcome.text
    assert [(f.kind, f.path, f.breaking) for f in judged.findings] == [("partial", where, False)]


@pytest.mark.parametrize(
    "value",
    [
        {"items": [1], "next_page": None, "has_more": False},
        {"items": [1, 2], "total_count": 2},
        {"total": 120, "items": [1]},
        {"next_page": "", "truncated": "no"},
        {"page": 1, "partial": 0},
        "truncated: true",
    ],
)
def test_a_whole_answer_is_not_marked(value: Any) -> None:
    judged = answered("page", value)
    assert (judged.findings, judged.outcome.text) == ((), as_text(value))


# -- answers that have changed ----------------------------------------------------------------------------------------


def grown(tool: str, **extra: Any) -> Learned:
    learned = Learned()
    for n in range(ENOUGH):
        value = {"total": "1", "refund_no": "R", "status": "paid", **extra}
        assert answered(tool, value, learned=learned, n=n).findings == ()
    return learned


def test_a_changed_read_is_marked_first_and_withheld_once_it_is_certain() -> None:
    learned = grown("get")
    first = answered("get", {"total": "1", "refund_no": "R"}, learned=learned, n=100)
    assert first.outcome.ok
    assert "(Unusual: result.status was always there and is missing now." in first.outcome.text
    assert [(f.kind, f.confirmed) for f in first.findings] == [("missing", False)]
    second = answered("get", {"total": "1", "refund_no": "R"}, learned=learned, n=101)
    assert (second.outcome.status, second.outcome.value, second.typed) == ("failed", None, MISSING)
    assert "in another form than it always did" in second.outcome.text
    assert CONFIRMED == 2


def test_a_changed_write_is_in_doubt_with_its_effect_recorded() -> None:
    learned = grown("refund")
    changed = [answered("refund", {"refund_no": "R"}, learned=learned, n=n) for n in (100, 101)]
    assert [c.outcome.status for c in changed] == ["ok", "in_doubt"]
    assert changed[1].outcome.value == {"refund_no": "R"}
    assert "Do not call it again" in changed[1].outcome.text


@pytest.mark.parametrize(("level", "enforce"), [("approval", True), ("shadow", True), ("autonomous", False)])
def test_where_somebody_looks_on_a_changed_answer_is_marked(level: Level, enforce: bool) -> None:
    learned = grown("get")
    for n in (100, 101, 102):
        judged = answered("get", {"total": "1"}, learned=learned, n=n, level=level, enforce=enforce)
        assert judged.outcome.ok
        assert "(Unusual: result.refund_no was always there and is missing now; result.status" in judged.outcome.text


def test_what_was_added_is_recorded_and_not_told() -> None:
    learned = grown("get")
    judged = answered("get", {"total": "1", "refund_no": "R", "status": "paid", "vat": "0"}, learned=learned, n=100)
    assert [(f.kind, f.path, f.breaking) for f in judged.findings] == [("new", "result.vat", False)]
    assert "vat is new" not in judged.outcome.text


def test_an_answer_that_breaks_the_contract_is_a_finding() -> None:
    judged = answered("get", {"sum": "1"})
    assert judged.outcome.status == "failed"
    assert [(f.kind, f.breaking, f.text) for f in judged.findings] == [("unfit", True, "result.total is missing.")]
    body = judged.findings[0].body("get", "desk")
    assert canonical.loads(canonical.dumps(body)) == body


def test_answers_in_text_that_is_json_are_learnt_as_what_they_say() -> None:
    learned = Learned()
    for n in range(ENOUGH):
        answered("page", '{"a": 1, "b": 2}', learned=learned, n=n)
    judged = answered("page", '{"a": 1}', learned=learned, n=100)
    assert [f.path for f in judged.findings] == ["result.b"]


def test_a_simulated_call_teaches_nothing() -> None:
    learned = Learned()
    judged = judge(
        POLICY,
        POLICY.tools["refund"],
        action("refund"),
        Carried(ending="returned", value={"refund_no": "simulated:refund_no"}),
        level="shadow",
        simulate=True,
        enforce=True,
        learned=learned,
    )
    assert (judged.outcome.status, judged.outcome.done) == ("ok", "simulated")
    assert learned.calls("refund", "desk") == 0
