"""What is appended can be read, in its order, by everybody."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Draft, Entry
from roadworthy.ledger.rows import MAX_BODY
from roadworthy.ledger.store import Ledger

Make = Callable[..., Draft]


@pytest.fixture
def ledger(url: str) -> Any:
    with Ledger.open(url) as opened:
        yield opened


def _numbers(entries: Any) -> list[int]:
    return [entry.body["n"] for entry in entries]


def test_places_are_counted_without_gaps(ledger: Ledger, make: Make) -> None:
    first = ledger.append([make(0, run="a"), make(1, run="b"), make(2, run=None, kind="stop")])
    second = ledger.append([make(3, run="a")])
    assert [(e.seq, e.run, e.run_seq) for e in [*first, *second]] == [
        (1, "a", 1),
        (2, "b", 1),
        (3, None, 0),
        (4, "a", 2),
    ]
    assert list(ledger.entries()) == [*first, *second]


def test_an_entry_says_what_its_draft_said(ledger: Ledger) -> None:
    at = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))
    body = {"amount": Decimal("42.00"), "ratio": 0.1, "big": 2**70, "deep": [{"$float": "no"}], "none": None}
    ledger.append([Draft(kind="action", world="shadow", run="r", body=body, at=at, cause="r#1")])
    (entry,) = ledger.entries()
    assert entry == Entry(
        seq=1,
        at=at,
        world="shadow",
        run="r",
        run_seq=1,
        kind="action",
        cause="r#1",
        body={"amount": "42.00", "ratio": 0.1, "big": 2**70, "deep": [{"$float": "no"}], "none": None},
    )
    assert entry.at.utcoffset() == timedelta(0)


def test_what_is_returned_is_what_will_be_read(ledger: Ledger, make: Make) -> None:
    appended = ledger.append([make(n, body={"amount": Decimal(n)}) for n in range(5)])
    read = list(ledger.entries())
    assert list(appended) == read
    assert appended[-1] == read[-1]
    assert appended[1:3] == tuple(read[1:3])
    with pytest.raises(IndexError):
        appended[5]


def test_later_changes_to_a_body_do_not_reach_the_ledger(ledger: Ledger, make: Make) -> None:
    values = ["as it was"]
    batch = ledger.batch()
    made = batch.append([make(body={"values": values})])
    values.append("slipped in")
    batch.commit()
    assert [e.body for e in (*ledger.entries(), *made)] == [{"values": ["as it was"]}] * 2


def test_readers_choose(ledger: Ledger, make: Make) -> None:
    ledger.append([make(n, run=f"run-{n % 3}", kind=("heard", "said")[n % 2]) for n in range(12)])
    ledger.append([make(12, world="test"), make(13, run=None, kind="contract")])
    assert _numbers(ledger.entries(run="run-1")) == [1, 4, 7, 10, 12]
    assert _numbers(ledger.entries(run="run-1", kind="said")) == [1, 7]
    assert _numbers(ledger.entries(run="run-1", after=5, limit=2)) == [7, 10]
    assert _numbers(ledger.entries(kind="contract")) == [13]
    assert _numbers(ledger.entries(world="test")) == [12]
    assert _numbers(ledger.entries(world="production", kind="heard", after=9)) == [10]
    assert _numbers(ledger.entries(limit=0)) == []
    assert _numbers(ledger.entries(run="nobody")) == []


def test_long_readings_are_whole(ledger: Ledger, make: Make) -> None:
    ledger.append([make(n) for n in range(1203)])
    assert _numbers(ledger.entries()) == list(range(1203))
    assert _numbers(ledger.entries(run="run-1", after=3, limit=1100)) == list(range(3, 1103))


def test_a_reader_sees_what_is_written_while_it_reads(shared: str, make: Make) -> None:
    with Ledger.open(shared) as ledger:
        ledger.append([make(n, run=f"run-{n % 2}") for n in range(600)])
        reading = ledger.entries()
        assert next(reading).seq == 1
        ledger.append([make(600)])
        assert sum(1 for _ in reading) == 600


def test_all_or_none(ledger: Ledger, make: Make) -> None:
    with pytest.raises(LedgerError, match="cannot be written"):
        ledger.append([make(0), make(1, body={"x": object()})])
    assert list(ledger.entries()) == []
    ledger.append([make(2)])
    assert [e.seq for e in ledger.entries()] == [1]


def test_nothing_to_append_is_nothing(ledger: Ledger) -> None:
    assert list(ledger.append([])) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kind": "gossip"}, "'gossip'"),
        ({"world": "prod"}, "'prod'"),
        ({"kind": "stop"}, "belongs to no run"),
        ({"body": {"x": {1, 2}}}, "a set cannot stand"),
        ({"body": {"x": "y" * (MAX_BODY + 1)}}, "somewhere else"),
    ],
)
def test_what_no_ledger_can_keep_is_refused(ledger: Ledger, make: Make, wrong: dict[str, Any], says: str) -> None:
    for appender in (ledger, ledger.batch()):
        with pytest.raises(LedgerError, match=says):
            appender.append([make(0, **wrong)])


def test_a_time_without_a_zone_is_refused(ledger: Ledger) -> None:
    naive = Draft(kind="heard", world="test", run="r", body={}, at=datetime(2026, 1, 1))
    with pytest.raises(LedgerError, match="times are aware"):
        ledger.append([naive])


def test_a_body_within_itself_is_refused(ledger: Ledger, make: Make) -> None:
    endless: dict[str, Any] = {}
    endless["again"] = [endless]
    with pytest.raises(LedgerError, match="cannot be written"):
        ledger.append([make(body=endless)])


def test_text_that_tools_send_is_kept_to_the_letter(ledger: Ledger, make: Make) -> None:
    body = {"text": "null\x00 bell\x07 \u202eover\ud800 🚀", "k\ud800": math.inf}
    ledger.append([make(body=body)])
    (entry,) = ledger.entries()
    assert entry.body == {"text": body["text"], "k\\ud800": math.inf}


def test_a_clock_that_goes_back_changes_no_order(ledger: Ledger, make: Make) -> None:
    for n in (5, 3, 4):
        ledger.append([make(n)])
    assert [(e.seq, e.body["n"]) for e in ledger.entries(run="run-1")] == [(1, 5), (2, 3), (3, 4)]


def test_a_ledger_is_there_when_it_is_opened_again(path: Path, make: Make) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([make(0)])
    for url in (path, str(path), f"sqlite:///{path}"):
        with Ledger.open(url) as ledger:
            last = ledger.append([make(1)])[-1]
            assert (last.seq, last.run_seq) == (len(list(ledger.entries())), last.seq)
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]


def test_memory_is_each_ones_own(make: Make) -> None:
    with Ledger.open() as one, Ledger.open(":memory:") as other:
        one.append([make(0)])
        assert list(other.entries()) == []


async def test_many_tasks_append_at_once(ledger: Ledger, make: Make) -> None:
    made = await asyncio.gather(*(ledger.aappend([make(n, run=f"run-{n % 5}")]) for n in range(100)))
    assert sorted(entry.seq for entries in made for entry in entries) == list(range(1, 101))
    assert [e.run_seq for e in ledger.entries(run="run-3")] == list(range(1, 21))


async def test_a_cancelled_task_has_written(ledger: Ledger, make: Make) -> None:
    task = asyncio.ensure_future(ledger.aappend([make(7)]))
    await asyncio.sleep(0)  # the task has handed its draft over, and waits
    task.cancel()
    await asyncio.wait([task])  # cancelled, or done before: memory is written at once
    ledger.append([make(8)])
    assert _numbers(ledger.entries()) == [7, 8]


def test_controls_are_seen_by_every_gate(shared: str, make: Make) -> None:
    with Ledger.open(shared) as mine, Ledger.open(shared) as theirs:
        mine.append([make(0), make(1)])
        assert mine.controls() == ()
        theirs.append([make(2, run=None, kind="stop")])
        (stop,) = mine.controls()
        assert (stop.seq, stop.kind, stop.body) == (3, "stop", {"n": 2})
        assert mine.controls(after=3) == ()
        mine.append([make(3), make(4, run=None, kind="level"), make(5, run=None, kind="stop")])
        for ledger in (mine, theirs):
            assert [e.seq for e in ledger.controls()] == [3, 5, 6]
            assert [e.seq for e in ledger.controls(5)] == [6]


def test_controls_in_memory(make: Make) -> None:
    with Ledger.open() as ledger:
        assert ledger.controls() == ()
        ledger.append([make(0), make(1, run=None, kind="stop")])
        assert [e.seq for e in ledger.controls()] == [2]
        assert ledger.controls(2) == ()


def test_runs_at_a_glance(ledger: Ledger, make: Make) -> None:
    began = {"agent": "desk", "principal": "bot", "subject": None, "capabilities": ["billing"]}
    ledger.append([make(0, run="a", kind="run", body=began)])
    ledger.append([make(1, run="b", kind="run", body={**began, "subject": "C-1"}, world="test")])
    ledger.append(
        [
            make(2, run="a", kind="action", body={"tool": "t", "subject": "C-2"}),
            make(3, run="a", kind="action", body={"tool": "t", "subject": "C-2"}),
            make(4, run="a", kind="question", body={}),
            make(5, run=None, kind="stop"),
        ]
    )
    a, b = ledger.runs()
    assert (a.run, a.world, a.entries, a.status, a.agent, a.principal, a.subject) == (
        "a", "production", 4, "held", "desk", "bot", "C-2",
    )  # fmt: skip
    assert a.counts == {"action": 2, "question": 1, "run": 1}
    assert (a.last - a.first).total_seconds() == 4
    assert (b.run, b.world, b.status, b.subject) == ("b", "test", "open", "C-1")
    assert [run.run for run in ledger.runs(world="test")] == ["b"]
    assert [run.run for run in ledger.runs(limit=1)] == ["a"]


@pytest.mark.parametrize(
    ("kinds", "status"),
    [
        ("", "open"),
        ("question", "held"),
        ("question answer", "open"),
        ("handover", "escalated"),
        ("handover run", "closed"),
        ("question outcome said", "held"),
    ],
)
def test_a_runs_status_is_the_last_one(ledger: Ledger, make: Make, kinds: str, status: str) -> None:
    later = [make(1, kind=kind, body={"status": "closed"}) for kind in kinds.split()]
    ledger.append([make(0, kind="run", body={"agent": "desk"}), *later])
    (run,) = ledger.runs()
    assert run.status == status


def test_read_only_reads_while_another_writes(shared: str, make: Make) -> None:
    with Ledger.open(shared) as writer, Ledger.open(shared, read_only=True) as reader:
        writer.append([make(0), make(1, run=None, kind="stop")])
        assert len(list(reader.entries())) == 2
        writer.append([make(2)])
        assert len(list(reader.entries())) == 3
        assert len(reader.controls()) == 1
        assert [run.run for run in reader.runs()] == ["run-1"]
        with pytest.raises(LedgerError, match="opened to read"):
            reader.append([make(3)])
        with pytest.raises(LedgerError, match="opened to read"):
            reader.submit(b"[]")


def test_closed_is_closed(shared: str, make: Make) -> None:
    ledger = Ledger.open(shared)
    batch = ledger.batch()
    batch.append([make(0)])
    done = batch.submit()
    ledger.close()
    ledger.close()
    assert [e.seq for e in done.result(timeout=0)] == [1]
    for act in (lambda: ledger.append([make(1)]), lambda: list(ledger.entries()), ledger.controls, ledger.runs):
        with pytest.raises(LedgerError, match="was closed"):
            act()
