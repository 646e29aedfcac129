"""What a tool's answers look like is learnt; a change is told from an optional field, a map and a list that varies."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from roadworthy.core import canonical
from roadworthy.gate.carry.drift import BREAKING, CLOSED, ENOUGH, MAX_FIELDS, MAX_PLACES, SETTLED, Drift, Learned

Answer = Callable[[int], Any]


def invoice(n: int) -> dict[str, Any]:
    return {
        "invoice_no": str(n),
        "status": ("open", "paid", "refunded")[n % 3],
        "total": n / 4,
        "paid": n % 2 == 0,
        "lines": [{"sku": "a", "price": 1.5}, {"sku": "b", "price": 2}][: 2 - n % 2] * 2,
        "owner": {"name": "Ada", "address": None if n % 5 == 0 else "x"},
    }


def grown(answer: Answer = invoice, calls: int = ENOUGH, tool: str = "get", principal: str = "bot") -> Learned:
    learned = Learned()
    for n in range(calls):
        assert learned.see(tool, principal, {"n": n}, answer(n)).findings == ()
    return learned


def shown(learned: Learned, value: Any, n: int = 1000) -> list[tuple[str, str, bool, bool]]:
    found = learned.see("get", "bot", {"n": n}, value).findings
    return [(f.kind, f.path, f.breaking, f.confirmed) for f in found]


def without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: inner for name, inner in value.items() if name not in names}


CHANGES: list[tuple[Callable[[dict[str, Any]], Any], str, str]] = [
    (lambda v: without(v, "total"), "missing", "result.total"),
    (lambda v: without(v, "owner"), "missing", "result.owner"),
    (lambda v: {**without(v, "total"), "total_amount": v["total"]}, "renamed", "result.total"),
    (lambda v: {**without(v, "invoice_no"), "invoiceNo": "7"}, "renamed", "result.invoice_no"),
    (lambda v: {**v, "total": str(v["total"])}, "retyped", "result.total"),
    (lambda v: {**v, "owner": ["Ada"]}, "retyped", "result.owner"),
    (lambda v: {**v, "total": None}, "null", "result.total"),
    (lambda v: {**v, "lines": v["lines"][:1]}, "cut", "result.lines"),
    (lambda v: {**v, "lines": []}, "cut", "result.lines"),
    (lambda v: {**v, "lines": [*v["lines"], {"sku": "c"}]}, "missing", "result.lines[].price"),
    (lambda v: {**v, "lines": [{**x, "price": "1"} for x in v["lines"]]}, "retyped", "result.lines[].price"),
    (lambda v: {**v, "owner": {"name": None, "address": "x"}}, "null", "result.owner.name"),
    (lambda v: [v], "retyped", "result"),
    (lambda v: "see attachment", "retyped", "result"),
    (lambda v: None, "null", "result"),
]


@pytest.mark.parametrize(("change", "kind", "path"), CHANGES)
def test_breaking_changes_are_suspected_and_then_confirmed(
    change: Callable[[dict[str, Any]], Any], kind: str, path: str
) -> None:
    learned = grown()
    assert shown(learned, change(invoice(2)), 1000) == [(kind, path, True, False)]
    assert shown(learned, change(invoice(2)), 1001) == [(kind, path, True, True)]
    assert shown(learned, change(invoice(2)), 1002) == [(kind, path, True, True)]


def test_additions_are_told_once_and_break_nothing() -> None:
    learned = grown()
    assert shown(learned, {**invoice(2), "vat": 0}) == [("new", "result.vat", False, True)]
    assert shown(learned, {**invoice(2), "vat": 0}) == []


def test_a_new_member_of_an_enum_is_an_addition_and_free_text_has_none() -> None:
    learned = grown(calls=CLOSED)
    (found,) = learned.see("get", "bot", {"n": -1}, {**invoice(2), "status": "disputed"}).findings
    assert (found.kind, found.path, found.breaking) == ("enum", "result.status", False)
    assert found.text == "result.status has a value that was never seen: disputed"
    assert shown(learned, {**invoice(2), "invoice_no": "never seen"}) == []


def test_before_there_is_enough_evidence_nothing_is_said() -> None:
    learned = Learned()
    for n in range(ENOUGH - 1):
        learned.see("get", "bot", {"n": n}, invoice(n))
    assert shown(learned, {}) == []


def test_the_same_call_over_and_over_is_little_evidence() -> None:
    learned = Learned()
    for _ in range(ENOUGH):
        learned.see("get", "bot", {"n": 1}, invoice(1))
    assert learned.calls("get", "bot") == 1 + (ENOUGH - 1) // 10
    assert shown(learned, {}) == []


def test_a_tool_without_arguments_is_learnt_by_its_answers() -> None:
    learned = Learned()
    for n in range(ENOUGH):
        learned.see("status", "bot", {}, {"state": "up", "since": n})
    findings = [learned.see("status", "bot", {}, {"state": "up"}).findings for _ in range(2)]
    assert [[f.confirmed for f in found] for found in findings] == [[False], [True]]


def test_the_same_call_cannot_confirm_what_it_showed_itself() -> None:
    learned = grown()
    for _ in range(5):
        assert shown(learned, without(invoice(2), "total"), 1000) == [("missing", "result.total", True, False)]
    assert shown(learned, without(invoice(2), "total"), 1001) == [("missing", "result.total", True, True)]


def test_one_answer_of_the_old_form_shows_that_both_are_usual() -> None:
    learned = grown()
    assert len(shown(learned, without(invoice(2), "total"), 1000)) == 1
    assert shown(learned, invoice(2), 1001) == []
    for n in (1002, 1003, 1004):
        assert shown(learned, without(invoice(2), "total"), n) == []


def test_a_change_that_stays_is_the_form_in_the_end() -> None:
    learned = grown()
    for n in range(SETTLED - 1):
        ((kind, _, breaking, _),) = shown(learned, without(invoice(2), "total"), 1000 + n)
        assert (kind, breaking) == ("missing", True)
    assert shown(learned, without(invoice(2), "total"), 2000) == [("settled", "result.total", False, True)]
    assert shown(learned, without(invoice(2), "total"), 2001) == []


def test_a_field_that_came_later_is_missed_after_a_while() -> None:
    learned = grown()
    for n in range(4 * ENOUGH):
        shown(learned, {**invoice(n), "vat": 0}, 1000 + n)
    assert shown(learned, invoice(2), 3000) == [("missing", "result.vat", True, False)]


def test_principals_and_tools_are_told_apart() -> None:
    learned = grown()
    for n in range(ENOUGH):
        learned.see("get", "guest", {"n": n}, {"invoice_no": "1"})
    assert learned.see("get", "guest", {"n": 100}, {"invoice_no": "1"}).findings == ()
    assert learned.see("list", "bot", {"n": 1}, {}).findings == ()
    assert shown(learned, {"invoice_no": "1"})


def test_keys_that_are_data_are_no_fields() -> None:
    def by_day(n: int) -> dict[str, Any]:
        return {f"2026-01-{day:02}": {"price": 1} for day in range(1 + n // 15, 4 + n // 15)}

    learned = grown(by_day, 60)
    assert shown(learned, {"2027-12-24": {"price": 2}}) == []
    assert shown(learned, {"2027-12-24": {"price": None}}, 1001) == [("null", "result.*.price", True, False)]


def test_many_different_keys_are_a_map() -> None:
    def by_name(n: int) -> dict[str, Any]:
        return {"always": 1, **{f"k_{chr(97 + n % 26)}{chr(97 + i)}": 1 for i in range(5)}}

    learned = Learned()
    for n in range(MAX_FIELDS):
        learned.see("get", "bot", {"n": n}, by_name(n))
    assert shown(learned, {"brand_new": 1}) == []


def test_what_is_known_outlives_the_process_and_several_processes_bring_theirs_together() -> None:
    first, second = grown(calls=ENOUGH), grown(lambda n: without(invoice(n), "paid"), calls=ENOUGH)
    bodies = [_told(first), _told(second)]
    assert canonical.loads(canonical.dumps(bodies)) == bodies
    for order in (bodies, bodies[::-1], bodies * 2):
        learned = Learned()
        assert all(learned.restore(body) for body in order)
        assert learned.calls("get", "bot") == 2 * ENOUGH
        assert shown(learned, without(invoice(2), "total")) == [("missing", "result.total", True, False)]


def _told(learned: Learned) -> dict[str, Any]:
    """The observation that follows when twice as much is known."""
    for n in range(ENOUGH, 2 * ENOUGH + 1):
        seen = learned.see("get", "bot", {"n": n}, invoice(n))
        if seen.observation is not None and seen.observation["calls"] == 2 * ENOUGH:
            return dict(seen.observation)
    raise AssertionError("nothing was told")


def test_what_is_known_is_written_down_ever_more_seldom() -> None:
    learned = Learned()
    told = [n + 1 for n in range(1000) if learned.see("get", "bot", {"n": n}, invoice(n)).observation is not None]
    assert told == [5, 10, 20, 40, 80, 160, 320, 640]


def test_that_a_form_was_not_the_only_one_is_written_down_at_once() -> None:
    learned = grown()
    shown(learned, without(invoice(2), "total"), 1000)
    assert learned.see("get", "bot", {"n": 1001}, invoice(2)).observation is not None


def test_texts_are_not_written_down() -> None:
    learned = Learned()
    bodies = [
        learned.see("get", "bot", {"n": n}, {"email": "ada@example.com", "by": {"ada@example.com": 1}}).observation
        for n in range(ENOUGH)
    ]
    assert any(bodies)
    assert b"ada" not in canonical.dumps([body for body in bodies if body is not None])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"told": "something else"},
        {"tool": "get", "principal": "bot", "epoch": 0, "calls": 1, "form": None},
        {"tool": "get", "principal": "bot", "epoch": "x", "calls": 1, "form": {}},
        {"tool": "get", "principal": "bot", "epoch": 0, "calls": 1, "form": {"fields": [1]}},
        {"tool": "get", "principal": "bot", "epoch": 0, "calls": 1, "form": {"fields": {"a": 3}}},
    ],
)
def test_observations_of_other_kinds_are_passed_over(body: dict[str, Any]) -> None:
    learned = Learned()
    assert not learned.restore(body)
    assert learned.calls("get", "bot") == 0


def test_what_was_forgotten_stays_forgotten() -> None:
    learned = grown()
    old = _told(learned)
    news = learned.forget("get", "bot")
    assert learned.calls("get", "bot") == 0
    other = Learned()
    for body in (old, news, old):
        other.restore(body)
    assert other.calls("get", "bot") == 0


def test_it_grows_no_larger_than_it_may() -> None:
    def wide(n: int) -> dict[str, Any]:
        return {f"a{i}": {f"b{j}": {f"c{k}": n for k in range(6)} for j in range(6)} for i in range(40)}

    learned = Learned()
    body: Any = None
    for n in range(ENOUGH):
        body = learned.see("get", "bot", {"n": n}, wide(n)).observation or body
    assert str(body["form"]).count("'n'") <= MAX_PLACES
    deep: Any = 1
    for _ in range(60):
        deep = {"a": [deep]}
    for n in range(ENOUGH):
        learned.see("deep", "bot", {"n": n}, deep)


def test_arguments_of_any_kind_will_do() -> None:
    assert Learned().see("get", "bot", {"a": object()}, {}).findings == ()


def test_optional_fields_nulls_and_varying_lists_raise_less_than_one_alarm_in_a_hundred_answers() -> None:
    """The bar for false alarms, on the fields that provoke them most; `bench/drift.py` measures more."""
    chance = random.Random(7)
    answers = alarms = 0
    for tool in range(60):
        learned = Learned()
        there = [chance.choice((0.5, 0.8, 0.9, 0.95, 0.99, 0.999)) for _ in range(12)]
        for n in range(300):
            value: dict[str, Any] = {"id": str(n)}
            for i, p in enumerate(there):
                if chance.random() < p:
                    value[f"f{i}"] = "x" if i % 2 else (None if chance.random() > p else 1)
            value["items"] = [{"n": 1}] * chance.randint(1, 40)
            found = learned.see(str(tool), "bot", {"n": n}, value).findings
            answers += 1
            alarms += any(f.kind in BREAKING and f.confirmed for f in found)
    assert alarms / answers < 0.01


def test_findings_say_what_changed() -> None:
    learned = grown()
    value: dict[str, Any] = {**without(invoice(2), "total"), "sum": 1, "paid": None, "owner": 3, "lines": []}
    (texts,) = [[f.text for f in learned.see("get", "bot", {"n": 99}, value).findings]]
    assert texts == [
        "result.total was always there; now there is result.sum instead",
        "result.paid was never null and is null now",
        "result.lines always had at least 2 items and has 0 now",
        "result.owner was always an object and is a number now",
    ]
    assert Drift(kind="new", path="p", text="t", breaking=False).body("get", "bot")["change"] == "new"
