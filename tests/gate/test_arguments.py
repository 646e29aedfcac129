"""Whatever a model sends as arguments is carried as it is, or denied with a text: never an exception, never a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.core.types import Outcome
from roadworthy.gate.run import Run
from roadworthy.gate.values import MOST_DEEP, MOST_TEXT, MOST_VALUES

DATA = Path(os.environ.get("ROADWORTHY_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")

PLACES: dict[str, Any] = {
    "text": "string",
    "short": {"type": "string", "maxLength": 40},
    "coded": {"type": "string", "pattern": "[A-Z]-[0-9]{3}"},
    "address": {"type": "string", "format": "email"},
    "link": {"type": "string", "format": "uri"},
    "day": {"type": "string", "format": "date"},
    "moment": {"type": "string", "format": "date-time"},
    "hour": {"type": "string", "format": "time"},
    "uuid": {"type": "string", "format": "uuid"},
    "kind": {"type": "string", "enum": ["one", "two"]},
    "whole": "integer",
    "number": "number",
    "amount": {"type": "decimal", "unit": "EUR"},
    "sure": "boolean",
    "customer": "shop.Customer",
    "checked": {"type": "string", "origin": ["user", "trusted"]},
    "to": {"type": "string", "format": "email", "destination": ["https://help.example.com/"]},
    "tags": {"type": "array", "items": "string"},
    "unique": {"type": "array", "items": "string", "uniqueItems": True},
    "loose": {"type": "array"},
    "record": {"type": "object", "properties": {"name": "string", "on": {"type": "string", "format": "date"}}},
    "map": {"type": "object", "additionalProperties": "string"},
    "any": "any",
}


@pytest.fixture(scope="module")
def contract() -> Contract:
    tools = {
        f"use_{place}": {"effect": "write", "args": {place: given, "note": {"type": "string", "optional": True}}}
        for place, given in PLACES.items()
    }
    return Contract.model_validate(
        {
            "roadworthy": 1,
            "agent": "a",
            "version": "1",
            "goal": "g",
            "owner": {"team": "t", "accountable": "x"},
            "entities": {"shop.Customer": {"key": "customer"}},
            "labels": {"personal": {"readers": "owner"}},
            "tools": tools,
            "capabilities": {
                "c": {
                    "means": "m",
                    "tools": list(tools),
                    "autonomy": {"start": "autonomous", "ceiling": "autonomous", "approver": "somebody"},
                    "success": [{"id": "s", "check": "count.use_text >= 0"}],
                }
            },
        }
    )


Use = Callable[[str, Any], Outcome]


def done(**args: Any) -> str:
    return "done"


def gate_of(contract: Contract, ledger: Ledger, tool: Callable[..., Any] = done) -> Gate:
    return Gate(contract, ledger, world="test", tools=dict.fromkeys(contract.tools, tool))


@pytest.fixture
def use(contract: Contract) -> Iterator[Use]:
    """Calls the tool of one place with a value for it, in a run of its own every hundred calls."""
    with Ledger.open(":memory:") as ledger:
        gate = gate_of(contract, ledger)
        runs: list[Run] = []
        calls = [0]

        def call(place: str, value: Any) -> Outcome:
            if calls[0] % 100 == 0 or runs[-1].status != "open":
                runs.append(gate.run(id=f"r{len(runs)}", principal="p", capability="c"))
            calls[0] += 1
            return runs[-1].call(f"use_{place}", {place: value})

        yield call


def fine(outcome: Outcome) -> None:
    """It was done, or the model knows in writable words why not."""
    assert outcome.status in ("ok", "denied", "clarify", "held"), outcome
    assert outcome.text
    assert len(outcome.text) < 2_000
    outcome.text.encode()
    json.dumps(outcome.text)
    if outcome.status == "denied":
        assert outcome.done == "blocked"


def deep(levels: int, inner: Any = "x") -> Any:
    for _ in range(levels):
        inner = [inner]
    return inner


def looped() -> Any:
    ring: list[Any] = []
    ring.append(ring)
    return ring


class Sly:
    """An object that fails when it is looked at."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


HOSTILE: list[Any] = [
    "",
    "\x00",
    "\ud800",
    "a\udfffb",
    "\u202e" * 50,
    "e" + "\u0301" * 5_000,
    "x" * (MOST_TEXT + 1),
    "9" * 100_000,
    "[" * 50_000,
    "((a+)+)+$" + "a" * 5_000 + "!",
    "-" * 5_000,
    float("nan"),
    float("inf"),
    -float("inf"),
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("1E+999999"),
    Decimal("1E-999999"),
    10**5_000,
    -(10**30),
    2**63,
    1e308,
    -0.0,
    True,
    None,
    [],
    {},
    ["x"] * (MOST_VALUES + 1),
    ["\ud800"],
    {"\ud800": "x"},
    {"x" * 100_000: "y"},
    {1: 2},
    {None: None},
    [float("nan")],
    [10**5_000],
    deep(MOST_DEEP + 5),
    deep(50_000),
    looped(),
    {"a": deep(2_000)},
    [["x"] * 200] * 200,
    object(),
    Sly(),
    {Sly(): 1},
    {1, 2},
    b"\xff",
    lambda: 1,
    date(2026, 3, 31),
    datetime(2026, 3, 31),
    ValueError("x"),
]


@pytest.mark.parametrize("place", PLACES)
def test_hostile_values_are_denied_or_carried(place: str, use: Use) -> None:
    for value in HOSTILE:
        fine(use(place, value))


@pytest.mark.real_data
@pytest.mark.parametrize("place", PLACES)
def test_naughty_strings_are_denied_or_carried_as_they_are(place: str, contract: Contract) -> None:
    path = DATA / "blns.json"
    if not path.exists():
        pytest.skip(f"the naughty strings are not at {path}; name their folder in ROADWORTHY_DATA")
    got: list[Any] = []
    with Ledger.open(":memory:") as ledger:

        def tool(**args: Any) -> None:
            got.append(args)

        gate = gate_of(contract, ledger, tool)
        for at, text in enumerate(json.loads(path.read_text())):
            wrapped = {
                "tags": [text],
                "unique": [text, "x"],
                "loose": [text],
                "map": {text: text},
                "record": {"name": text, "on": "2026-03-31"},
            }
            run = gate.run(id=f"r{at}", principal="p", capability="c")
            got.clear()
            outcome = run.call(f"use_{place}", {place: wrapped.get(place, text)})
            fine(outcome)
            if outcome.status == "ok" and place in ("text", "any", "tags", "loose", "map", "record"):
                assert got == [{place: wrapped.get(place, text)}]


def test_naughty_names_are_denied(contract: Contract) -> None:
    names = ["", "\ud800", "x" * 100_000, "use_txt", "__class__", "\x00", "'; DROP TABLE entries; --", "Ｕｓｅ"]  # noqa: RUF001
    with Ledger.open(":memory:") as ledger:
        gate = gate_of(contract, ledger)
        for at, name in enumerate(names):
            run = gate.run(id=f"r{at}", principal="p", capability="c")
            fine(run.call(name, {"text": "x"}))
            fine(run.call("use_text", {"text": "x", name: "y"}))
            fine(run.call("use_text", {name: "y"}))


@pytest.mark.parametrize("given", [None, [], "text", 3, [("text", "x")]])
def test_arguments_that_are_no_object_are_denied(given: Any, contract: Contract) -> None:
    with Ledger.open(":memory:") as ledger:
        run = gate_of(contract, ledger).run(principal="p", capability="c")
        outcome = run.call("use_text", given)
        assert outcome.status == "denied"
        assert "must be an object" in outcome.text


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("any", deep(MOST_DEEP + 1), "nested more than 32 levels deep"),
        ("loose", ["x"] * MOST_VALUES, "more than 10,000 values"),
        ("text", "x" * (MOST_TEXT + 1), "more than 650,000 characters"),
        ("text", "a\ud800", "half of a character (U+D800)"),
        ("map", {"a": "b", "\udc00": "c"}, "half of a character (U+DC00)"),
        ("any", [1.0, float("nan")], "holds nan, which is no number"),
        ("number", float("inf"), "holds inf, which is no number"),
        ("any", {"a": object()}, "holds a object, which is no JSON"),
        ("whole", 2**70, "at most 18 digits"),
        ("amount", 10**200, "more than 75 digits"),
        ("day", "2026-W14-2", "a date such as"),
    ],
)
def test_the_text_says_what_would_be_taken(place: str, value: Any, says: str, use: Use) -> None:
    outcome = use(place, value)
    assert outcome.status == "denied"
    assert says in outcome.text


def test_what_is_just_inside_the_bounds_is_carried(use: Use) -> None:
    assert use("any", deep(MOST_DEEP)).ok
    assert use("any", ["x"] * (MOST_VALUES - 3)).ok
    assert use("text", "x" * MOST_TEXT).ok
    assert use("text", "\x00" * MOST_TEXT).ok


@pytest.mark.parametrize(
    ("place", "values"),
    [
        ("day", ["2026-03-31", "2024-02-29", "0001-01-01"]),
        (
            "moment",
            [
                "2026-03-31T14:30:00Z",
                "2026-03-31t14:30:00z",
                "2026-03-31T14:30:00.123456789+02:00",
                "2026-03-31 14:30:00",
                "2026-03-31T14:30",
            ],
        ),
        ("hour", ["14:30", "14:30:00", "14:30:00Z", "14:30:00.5+02:00"]),
    ],
)
def test_days_and_times_are_written_as_in_rfc_3339(place: str, values: list[str], use: Use) -> None:
    for value in values:
        assert use(place, value).ok, value


@pytest.mark.parametrize(
    ("place", "values"),
    [
        (
            "day",
            [
                "2026-W01-1",
                "2026W011",
                "20260331",
                "2026-3-31",
                "2026-02-30",
                "2026-03-31T00:00",
                "\uff12\uff10\uff12\uff16-03-31",
                " 2026-03-31",
            ],
        ),
        (
            "moment",
            [
                "2026-W14-2T14:30:00Z",
                "20260331T143000Z",
                "2026-03-31",
                "2026-03-31T14",
                "2026-03-31T1430",
                "2026-03-31T14:30:00+02",
                "2026-03-31T14:30:00+0200",
                "2026-03-31T14:30:00,5Z",
                "2026-03-31_14:30:00",
                "2026-03-31T25:00:00Z",
                "2026-03-31T14:30:00Z\n",
            ],
        ),
        ("hour", ["14", "1430", "T14:30", "24:30", "14:30:61", "2:30"]),
    ],
)
def test_other_ways_of_writing_days_and_times_are_refused(place: str, values: list[str], use: Use) -> None:
    for value in values:
        assert use(place, value).status == "denied", value
