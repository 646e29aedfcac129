"""Laws of privacy: whatever a run says, does and is told, nothing of it is in plain, and what is erased is gone."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy import Contract, Gate, Ledger
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import RoadworthyError
from roadworthy.gate.run import Run
from roadworthy.ledger.erase import erase
from roadworthy.ledger.verify import verify

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)

LAW = Contract.loads("""
roadworthy: 1
agent: desk
version: "1"
goal: Help the customer.
owner: {team: Care, accountable: lead}
subject: {entity: Customer, established_by: [find]}
entities: {Customer: {key: key}}
facts:
  mail: string
types:
  Person:
    key: Customer
    name: {type: string, nullable: true}
    orders: {type: array, items: {total: integer, for: {type: string, nullable: true}}}
tools:
  find: {effect: read, args: {mail: string}, returns: {key: Customer, name: string}}
  search:
    effect: read
    before_subject: true
    args: {name: string}
    returns: {note: {type: string, nullable: true}, found: {type: array, items: Person}}
  as_text: {effect: read, before_subject: true, args: {name: string}, returns: {type: array, items: Person}}
  change: {effect: write, args: {what: string}, returns: string}
  back: {effect: write, args: {what: string}, returns: string, only: undo}
  pay: {effect: write, args: {amount: {type: decimal}, what: string}, returns: string, undo: {tool: back, args: {what: args.what}}}
common: [find, search, as_text]
capabilities:
  help:
    means: Somebody wants help.
    tools: [change, pay]
    autonomy: {start: autonomous, ceiling: autonomous, approver: lead}
    success: [{id: one, check: count.pay <= 1}]
rules:
  - {id: large, tools: [pay], when: args.amount > 100.00, then: ask, ask: {role: lead}, because: Large sums wait.}
""")  # noqa: E501  (a tool in one line)

KEYS = ("ada", "bob", "eve")


class Marks:
    """Makes words that stand for somebody's data, each unlike all others."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self.of: dict[str, list[str]] = {key: [] for key in KEYS}

    def new(self, key: str) -> str:
        word = f"mark{next(self._numbers)}of{key}x"
        self.of[key].append(word)
        return word


@contextmanager
def desk(tools: dict[str, Any]) -> Generator[tuple[Ledger, Gate, Path]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ledger").mkdir()
        with Ledger.open(folder / "ledger" / "runs.db", vault=folder / "vault.db") as ledger:
            yield ledger, Gate(LAW, ledger, tools=tools, clock=VirtualClock(NOW)), folder


def readable(ledger: Ledger) -> str:
    return json.dumps([dict(entry.body) for entry in ledger.entries()], default=str)


def in_plain(folder: Path, marks: Marks) -> list[str]:
    held = b"\0".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return [word for words in marks.of.values() for word in words if word.encode() in held]


# -- results about several --------------------------------------------------------------------------------------------

people = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.booleans(),
        st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=2),
    ),
    max_size=4,
)


def result(marks: Marks, found: list[tuple[str, bool, list[tuple[int, bool]]]]) -> list[dict[str, Any]]:
    return [
        {
            "key": key,
            "name": marks.new(key) if named else None,
            "orders": [{"total": total, "for": marks.new(key) if said else None} for total, said in orders],
        }
        for key, named, orders in found
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    found=people, more=people, subject=st.sampled_from([None, *KEYS]), first=st.sampled_from(KEYS), noted=st.booleans()
)
def test_what_results_say_of_anybody_is_gone_with_them_and_with_nobody_else(
    found: Any, more: Any, subject: str | None, first: str, noted: bool
) -> None:
    marks = Marks()
    rows, texts = result(marks, found), result(marks, more)
    note = marks.new(subject) if noted and subject is not None else None

    def search(name: str) -> Any:
        return {"note": note, "found": rows}

    def as_text(name: str) -> str:
        return json.dumps(texts)

    with desk({"search": search, "as_text": as_text}) as (ledger, gate, folder):
        run = gate.run(id="r", subject=subject, capability="help")
        assert run.call("search", {"name": "x"}).ok
        assert run.call("as_text", {"name": "x"}).ok
        whole = readable(ledger)
        assert all(word in whole for words in marks.of.values() for word in words)
        assert in_plain(folder, marks) == []
        left = set(KEYS)
        for gone in (first, *(key for key in KEYS if key != first)):
            try:
                erase(ledger, subject=gone, by="kim", because="request 1", at=NOW)
            except RoadworthyError:
                assert not marks.of[gone] or gone not in left
                continue
            left.discard(gone)
            now = readable(ledger)
            assert [word for word in marks.of[gone] if word in now] == []
            for key in left:  # the rows of the others are theirs alone
                for row in rows:
                    if row["key"] == key and row["name"] is not None and subject in (*left, None):
                        assert row["name"] in now
        assert verify(ledger).intact


# -- everything that a run can say ------------------------------------------------------------------------------------


def acts(run: Run, gate: Gate, marks: Marks) -> Iterator[Any]:
    """All that puts words of or about somebody into a ledger."""

    def word() -> str:
        return marks.new("ada")

    yield lambda: run.heard(word())
    yield lambda: run.say(word())
    yield lambda: run.read(word(), source=word())
    yield lambda: run.recall(word(), word)
    yield lambda: run.ask_user(word())
    yield lambda: run.call("find", {"mail": word()}, call_id=word())
    yield lambda: run.call("change", {"what": word()})
    yield lambda: run.call(word(), {word(): word()})
    yield lambda: run.call("change", {word(): word()})
    yield lambda: run.call("pay", {"amount": "7.00", "what": word()})
    yield lambda: run.call("pay", {"amount": "700.00", "what": word()})
    yield lambda: [
        gate.answer(asked.id, by="lead", ruling="edit", because=word(), args={"amount": "5.00", "what": word()})
        for asked in gate.questions()
    ]
    yield lambda: run.call("pay", {"amount": "900.00", "what": word()})
    yield lambda: [
        gate.answer(asked.id, by="lead", ruling="answer", text=word(), because=word()) for asked in gate.questions()
    ]
    yield run.settle
    yield run.news
    yield lambda: gate.undo("r", by="lead", because=word())
    yield lambda: gate.run(id="r", facts={"mail": word()})
    yield lambda: run.escalate(word())
    yield lambda: run.close(word())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(order=st.permutations(range(12)), known=st.booleans())
def test_whatever_a_run_says_is_sealed_and_gone_once_it_is_erased(order: list[int], known: bool) -> None:
    marks = Marks()

    def echo(**args: Any) -> str:
        return f"{marks.new('ada')} {args}"

    def find(mail: str) -> Any:
        return {"key": "ada", "name": marks.new("ada")}

    def fail(what: str, **_: Any) -> str:
        raise ValueError(marks.new("ada") + what)

    with desk({"find": find, "change": fail, "pay": echo, "back": echo}) as (ledger, gate, folder):
        run = gate.run(
            id="r", subject="ada" if known else None, capability="help", requester=marks.new("ada"), suspendable=True
        )
        steps = list(acts(run, gate, marks))
        for n in [*order, *range(12, len(steps))]:
            try:
                steps[n]()
            except RoadworthyError:
                continue
        run.call("find", {"mail": marks.new("ada")})
        assert in_plain(folder, marks) == []
        whole = readable(ledger)
        assert sum(word in whole for word in marks.of["ada"]) > 10
        if run.subject == "ada":
            erase(ledger, subject="ada", by="kim", because="request 1", at=NOW)
        else:
            erase(ledger, run="r", by="kim", because="request 1", at=NOW)
        assert [word for word in marks.of["ada"] if word in readable(ledger)] == []
        assert in_plain(folder, marks) == []
        assert verify(ledger).intact


# -- results that nobody expects --------------------------------------------------------------------------------------

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.sampled_from(KEYS), st.binary()
)
names = st.one_of(st.sampled_from(["key", "name", "found", "orders", "note", "~/", ""]), st.text(max_size=2))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(names, inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    results=st.lists(
        st.one_of(values, values.map(repr), st.fixed_dictionaries({"note": values, "found": values})),
        min_size=1,
        max_size=5,
    ),
    subject=st.sampled_from([None, "ada"]),
)
def test_whatever_a_tool_returns_is_written_and_read_again(results: list[Any], subject: str | None) -> None:
    answers = iter(results)

    def search(name: str) -> Any:
        return next(answers)

    with desk({"search": search}) as (ledger, gate, _):
        run = gate.run(id="r", subject=subject, capability="help")
        told = [run.call("search", {"name": "x"}) for _ in results]
        written = list(ledger.entries(run="r", kind="outcome"))
        assert [entry.body["status"] for entry in written] == [one.status for one in told]
        assert [entry.body["text"] for entry in written] == [one.text for one in told]
        assert not any(entry.withheld for entry in written)
