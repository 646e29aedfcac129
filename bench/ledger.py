"""What a durable, signed and encrypted entry costs beside the disk itself, and what proving it costs afterwards.

Appends of 1 KB records, in turns in one run, so that all variants meet the same machine: *raw*: the finished bytes
appended to a file, then fdatasync: the physical limit; *plain*: canonical JSON into a plain SQLite table with an index
by run, write-ahead log, synced at every commit; *tree*: a ledger without a vault; *ours*: a ledger with one: Merkle
tree, signed checkpoint a commit, private fields encrypted under 200 subjects' keys. Then several appenders at once
(threads), each an entry at a time; a whole audit by `verify`; inclusion proofs; an export that DuckDB groups. Ratios
are medians of the rounds' ratios. With `--json` the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from roadworthy.core.canonical import dumps
from roadworthy.core.types import Draft
from roadworthy.ledger.store import Ledger

BATCHES = (1, 10, 100, 1000)
APPENDERS = (1, 8, 64, 256)
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
_WORDS = random.Random(7)


def record(number: int) -> Draft:
    """An outcome as a gate writes it, about 1 KB as JSON; a run has 50 of them, and 200 subjects take turns."""
    run = number // 50
    value = {"order": f"o-{number:08d}", "note": "".join(_WORDS.choices("abcdefghijklmnopqrstuvwxyz ", k=700))}
    body = {"status": "ok", "done": "executed", "text": f"refunded order o-{number:08d}", "value": value}
    return Draft(
        kind="outcome",
        world="production",
        run=f"run-{run:08d}",
        subject=f"customer-{run % 200:04d}",
        body=body,
        at=START + timedelta(milliseconds=number),
        cause=f"run-{run:08d}#{number % 50}",
    )


class Raw:
    """The physical limit: finished bytes, one write and one sync a batch."""

    def __init__(self, folder: Path, size: int) -> None:
        self._file = os.open(folder / "raw.bin", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._bytes = os.urandom(size)

    def append(self, drafts: Sequence[Draft]) -> None:
        os.write(self._file, self._bytes * len(drafts))
        os.fdatasync(self._file)

    def close(self) -> None:
        os.close(self._file)


class Plain:
    """What one would write without us: a table with an index by run."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "plain.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(
            "CREATE TABLE entries (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, run TEXT NOT NULL, run_seq INTEGER NOT "
            "NULL, kind TEXT NOT NULL, cause TEXT, body BLOB NOT NULL)"
        )
        self._db.execute("CREATE UNIQUE INDEX by_run ON entries (run, run_seq)")
        self._seq = 0

    def append(self, drafts: Sequence[Draft]) -> None:
        rows: list[tuple[Any, ...]] = []
        for draft in drafts:
            self._seq += 1
            at = int(draft.at.timestamp() * 1e6)
            rows.append((self._seq, at, draft.run, self._seq, draft.kind, draft.cause, dumps(draft.body)))
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()


def per_entry(append: Callable[[Sequence[Draft]], object], drafts: Sequence[Draft], batch: int, wait_s: float) -> float:
    """Seconds an entry, over appends of one size for about so long."""
    done, at, begin = 0, 0, time.perf_counter()
    while True:
        append(drafts[at : at + batch])
        done += batch
        at = (at + batch) % (len(drafts) - batch + 1)
        spent = time.perf_counter() - begin
        if spent > wait_s:
            return spent / done


def appenders(ledger: Ledger, drafts: Sequence[Draft], count: int, wait_s: float) -> float:
    """Seconds an entry, with so many threads that append one at a time."""
    until = time.perf_counter() + wait_s
    done = [0] * count

    def work(who: int) -> None:
        at = who
        while time.perf_counter() < until:
            ledger.append([drafts[at % len(drafts)]])
            at += count
            done[who] += 1

    threads = [threading.Thread(target=work, args=(who,)) for who in range(count)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - begin) / sum(done)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    drafts = [record(number) for number in range(10_000)]
    size = round(statistics.mean(len(dumps(draft.body)) + 200 for draft in drafts[:100]))
    print(f"a record is {size} bytes with what stands around it")
    with tempfile.TemporaryDirectory() as kept, tempfile.TemporaryDirectory() as keys:
        folder = Path(kept)
        raw, plain = Raw(folder, size), Plain(folder)
        with Ledger.open(folder / "tree.db") as tree, Ledger.open(folder / "ours.db", vault=Path(keys) / "v.db") as ours:
            for ledger in (tree, ours):
                ledger.append(drafts)
            variants: dict[str, Callable[[Sequence[Draft]], object]] = {
                "raw": raw.append, "plain": plain.append, "tree": tree.append, "ours": ours.append,
            }  # fmt: skip
            took: dict[tuple[str, int], list[float]] = {}
            for _ in range(given.rounds):
                for batch in BATCHES:
                    for name, append in variants.items():
                        spent = per_entry(append, drafts, batch, given.seconds)
                        took.setdefault((name, batch), []).append(spent)
            print(f"{'':8}" + "".join(f"{f'batch {batch}':>24}" for batch in BATCHES))
            for name in variants:
                cells = [
                    f"{1e6 * statistics.median(took[name, batch]):9.1f} us {_ratio(took, 'raw', name, batch):6.2f} raw"
                    for batch in BATCHES
                ]
                print(f"{name:8}" + "".join(f"{cell:>24}" for cell in cells))
            ratios = {str(batch): round(_ratio(took, "raw", "ours", batch), 3) for batch in BATCHES}
            cost = {str(batch): round(1 - _ratio(took, "plain", "ours", batch), 3) for batch in BATCHES}
            many: dict[int, list[float]] = {}
            for _ in range(given.rounds):
                one = per_entry(raw.append, drafts, 1, given.seconds)
                for count in APPENDERS:
                    many.setdefault(count, []).append(one / appenders(ours, drafts, count, 2 * given.seconds))
            together = {count: round(statistics.median(found), 2) for count, found in many.items()}
            print("appenders, times the raw single writer: " + ", ".join(f"{c}: {x}" for c, x in together.items()))
        raw.close()
        plain.close()
    if given.json:
        print(json.dumps({"ratio": ratios, "appenders_64": together[64], "integrity_cost": cost}))


def _ratio(took: dict[tuple[str, int], list[float]], base: str, name: str, batch: int) -> float:
    """How fast one is beside the other, 1 for as fast."""
    return statistics.median(b / n for b, n in zip(took[base, batch], took[name, batch], strict=True))


if __name__ == "__main__":
    main()
