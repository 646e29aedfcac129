"""Several threads, several processes, and processes that die."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.core.types import Draft
from roadworthy.ledger.store import Ledger

from .conftest import settle

Make = Callable[..., Draft]
Script = Callable[..., "subprocess.Popen[str]"]


def _finish(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.splitlines()


def _check(ledger: Ledger) -> None:
    """The order holds: places without gaps, in the ledger and in every run."""
    seen: Counter[str] = Counter()
    for place, entry in enumerate(ledger.entries(), start=1):
        assert entry.seq == place
        if entry.run is None:
            assert entry.run_seq == 0
        else:
            seen[entry.run] += 1
            assert entry.run_seq == seen[entry.run]


_APPENDS = st.lists(
    st.lists(st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=3), max_size=6), min_size=2, max_size=4
)


@settings(deadline=None, max_examples=30)
@given(_APPENDS)
def test_any_interleaving_of_threads_is_one_order(threads: list[list[list[str | None]]]) -> None:
    with Ledger.open() as ledger:
        begin = threading.Barrier(len(threads))
        got: list[list[list[int]]] = [[] for _ in threads]

        def work(me: int) -> None:
            begin.wait()
            for number, runs in enumerate(threads[me]):
                made = ledger.append([_draft(run, me, number) for run in runs])
                got[me].append([entry.seq for entry in made])

        workers = [threading.Thread(target=work, args=(me,)) for me in range(len(threads))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        _check(ledger)
        for me, appends in enumerate(got):
            flat = [seq for seqs in appends for seq in seqs]
            assert flat == sorted(flat)  # a thread's appends stand in the order in which it made them
            for number, seqs in enumerate(appends):
                assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))  # and nobody else's stand between
                entries = list(ledger.entries(after=seqs[0] - 1, limit=len(seqs)))
                assert all(e.body == {"thread": me, "number": number} for e in entries)


def _draft(run: str | None, thread: int, number: int) -> Draft:
    body = {"thread": thread, "number": number}
    kind = "stop" if run is None else "heard"
    return Draft(kind=kind, world="test", run=run, body=body, at=datetime(2026, 1, 1, tzinfo=UTC))


def test_readers_in_threads_see_whole_prefixes(shared: str, make: Make) -> None:
    with Ledger.open(shared) as ledger:
        done = threading.Event()
        wrong: list[object] = []

        def read() -> None:
            while not done.is_set():
                seqs = [entry.seq for entry in ledger.entries()]
                if seqs != list(range(1, len(seqs) + 1)) or len(seqs) % 3:
                    wrong.append(seqs)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for n in range(40):
            ledger.append([make(n)] * 3)
        done.set()
        for reader in readers:
            reader.join()
        assert wrong == []


_APPEND_MANY = """
with Ledger.open(path) as ledger:
    print("open")
    for n in range(60):
        places = [entry.seq for entry in ledger.append([draft(n, run=sys.argv[2]), draft(n, run="shared")])]
        print(json.dumps(places))
"""


def test_two_processes_extend_one_order(script: Script, shared: str) -> None:
    both = [script(_APPEND_MANY, shared, name) for name in ("left", "right")]
    lines = [_finish(process) for process in both]
    with Ledger.open(shared) as ledger:
        _check(ledger)
        assert len(list(ledger.entries())) == 240
        for name, said in zip(("left", "right"), lines, strict=True):
            acknowledged = [seq for line in said[1:] for seq in json.loads(line)[:1]]
            mine = list(ledger.entries(run=name))
            assert [entry.seq for entry in mine] == acknowledged
            assert [entry.body["n"] for entry in mine] == list(range(60))


def test_processes_that_keep_taking_turns_are_told(path: Path, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    with Ledger.open(path) as one, Ledger.open(path) as other, caplog.at_level(logging.WARNING):
        for n in range(60):
            one.append([make(n)])
            other.append([make(n)])
        _check(one)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert all("several processes keep writing" in message for message in told)


_APPEND_FOR_EVER = """
ledger = Ledger.open(path)
begin = sum(1 for _ in ledger.entries(run=sys.argv[2]))
for n in range(begin, 1_000_000):
    ledger.append([draft(n, run=sys.argv[2], size=3000), draft(n, run="shared")])
    os.write(1, b"%d\\n" % n)
"""


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(script: Script, shared: str) -> None:
    last = -1
    for acknowledgements in (1, 7, 40, 3, 120):
        process = script(_APPEND_FOR_EVER, shared, "killed")
        said = cast("IO[str]", process.stdout)
        for _ in range(acknowledgements):
            last = int(said.readline())
        process.send_signal(signal.SIGKILL)
        rest = said.read()  # communicate() would pass over what readline() has read ahead
        process.communicate(timeout=60)
        last = max([last, *(int(line) for line in rest.split("\n")[:-1])])
        assert process.returncode == -signal.SIGKILL
        settle(shared)
        with Ledger.open(shared, read_only=True) as ledger:
            _check(ledger)
            numbers = [entry.body["n"] for entry in ledger.entries(run="killed")]
            assert numbers[: last + 1] == list(range(last + 1))
            assert len(numbers) <= last + 2  # at most the one append that was under way
            assert len(list(ledger.entries(run="shared"))) == len(numbers)  # and never half of it


_LEAVE_WITHOUT_A_WORD = """
ledger = Ledger.open(path)
for n in range(200):
    batch = ledger.batch()
    batch.append([draft(n)])
    batch.submit()
"""


def test_a_process_that_ends_without_closing_has_written(script: Script, shared: str) -> None:
    _finish(script(_LEAVE_WITHOUT_A_WORD, shared))
    with Ledger.open(shared, read_only=True) as ledger:
        assert [entry.body["n"] for entry in ledger.entries()] == list(range(200))


_FORK = """
import gc
ledger = Ledger.open(path)
ledger.append([draft(0)])
list(ledger.entries())
child = os.fork()
if child == 0:
    for act in (lambda: ledger.append([draft(1)]), ledger.entries, ledger.controls, ledger.batch):
        try:
            act()
        except LedgerError as error:
            print(error.text)
    batch = Batch()
    batch.append([draft(2)])
    os.write(2, batch.pack())
    del ledger
    gc.collect()
    sys.exit(0)
os.waitpid(child, 0)
ledger.append([draft(3)])
ledger.close()
"""


def test_a_fork_is_refused_and_leaves_the_parents_ledger_alone(script: Script, shared: str) -> None:
    out, packed = script(_FORK, shared).communicate(timeout=60)
    assert len(out.splitlines()) == 4
    assert all("a fork of it" in line for line in out.splitlines())
    with Ledger.open(shared) as ledger:
        assert [entry.body["n"] for entry in ledger.entries()] == [0, 3]
        ledger.submit(packed.encode()).result()
        assert [entry.body["n"] for entry in ledger.entries()] == [0, 3, 2]
