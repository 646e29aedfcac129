"""What a durable, signed and encrypted entry costs beside the disk itself, and what proving it costs afterwards.

Appends of 1 KB records, in turns in one run, so that all variants meet the same machine: *raw*: the finished bytes
appended to a file, then fdatasync: the physical limit; *plain*: canonical JSON into a plain SQLite table with an index
by run, write-ahead log, synced at every commit; *tree*: a ledger without a vault; *ours*: a ledger with one: Merkle
tree, signed checkpoint a commit, private fields encrypted under 200 subjects' keys. Then several appenders at once
(threads), each an entry at a time; a whole audit by `verify`; inclusion proofs; an export that DuckDB groups. Ratios
are medians of the rounds' ratios. With `--postgres URL` the same appends go to that server, in a schema that is made
and dropped, beside a plain table on it. With `--json` the last line is one JSON object.
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
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from roadworthy.core.canonical import dumps
from roadworthy.core.types import Draft, Kind
from roadworthy.ledger.merkle import inclusion
from roadworthy.ledger.parquet import export_months
from roadworthy.ledger.store import Ledger
from roadworthy.ledger.verify import verify

BATCHES = (1, 10, 100, 1000)
APPENDERS = (1, 8, 64, 256)
AUDITED = 100_000
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
            "CREATE TABLE entries (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, run TEXT NOT NULL, "
            "run_seq INTEGER NOT NULL, kind TEXT NOT NULL, cause TEXT, body BLOB NOT NULL)"
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


class PlainServer:
    """The same table on a server: one transaction a batch, copied in."""

    def __init__(self, url: str, schema: str) -> None:
        import psycopg

        self._db = psycopg.connect(url, autocommit=True)
        self._db.execute(f"SET search_path TO {schema}".encode())
        self._db.execute(
            "CREATE TABLE entries (seq BIGINT PRIMARY KEY, at BIGINT NOT NULL, run TEXT NOT NULL, "
            "run_seq INTEGER NOT NULL, kind TEXT NOT NULL, cause TEXT, body BYTEA NOT NULL)"
        )
        self._db.execute("CREATE UNIQUE INDEX by_run ON entries (run, run_seq)")
        self._seq = 0

    def append(self, drafts: Sequence[Draft]) -> None:
        with self._db.cursor() as cursor, cursor.copy("COPY entries FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int8", "int8", "text", "int4", "text", "text", "bytea"])
            for draft in drafts:
                self._seq += 1
                at = int(draft.at.timestamp() * 1e6)
                copy.write_row((self._seq, at, draft.run, self._seq, draft.kind, draft.cause, dumps(draft.body)))

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


def proving(ledger: Ledger, drafts: Sequence[Draft]) -> dict[str, float]:
    """An audit of 100,000 entries, and proofs in them: seconds, and milliseconds each."""
    for at in range(ledger.size, AUDITED, 1000):
        ledger.append(drafts[at % 9000 : at % 9000 + min(1000, AUDITED - at)])
    size = ledger.size
    begin = time.perf_counter()
    report = verify(ledger)
    audit_s = time.perf_counter() - begin
    assert report.intact, report.findings
    assert report.size >= AUDITED
    rng = random.Random(3)
    took: list[float] = []
    with Ledger.open(ledger.name, read_only=True) as fresh:  # nothing is remembered of the tree
        for index in (rng.randrange(size) for _ in range(200)):
            begin = time.perf_counter()
            inclusion(index, size, fresh.node)
            took.append(1e3 * (time.perf_counter() - begin))
    return {"audit_100k_s": round(audit_s, 2), "proof_ms": round(statistics.median(took), 3), "first_proof_ms": took[0]}


def exporting(folder: Path, entries: int) -> dict[str, float]:
    """A ledger of calls by month as Parquet, and a question to it through DuckDB: seconds."""
    try:
        import duckdb
    except ModuleNotFoundError:
        print("DuckDB is not installed: no export was measured")
        return {}
    kinds = ("action", "verdict", "intent", "outcome")
    with Ledger.open(folder / "calls.db") as ledger:
        for begin in range(0, entries, 10_000):
            ledger.append([call(number, kinds[number % 4]) for number in range(begin, begin + 10_000)])
        started = time.perf_counter()
        made = export_months(ledger, folder / "months", now=START + timedelta(days=400))
        export_s = time.perf_counter() - started
    assert sum(one.entries for one in made) == entries
    started = time.perf_counter()
    asked = f"SELECT tool, ruling, count(*) FROM '{folder}/months/*.parquet' GROUP BY ALL ORDER BY ALL"
    rows = duckdb.connect().execute(asked).fetchall()
    group_s = time.perf_counter() - started
    assert sum(count for *_, count in rows) == entries
    size = sum(one.file.stat().st_size for one in made)
    print(f"{entries:,} entries to {len(made)} Parquet files of {size / 1e6:.0f} MB: {export_s:.2f} s; ", end="")
    print(f"grouped by DuckDB: {group_s:.3f} s")
    return {"export_s": round(export_s, 2), "group_by_s": round(group_s, 3)}


def call(number: int, kind: Kind) -> Draft:
    """What four entries of a call say in public."""
    run = number // 40
    said = {"id": f"run-{run}#{number % 40 // 4}", "tool": f"billing.tool_{number // 4 % 7}", "principal": "desk"}
    body = {
        "action": said,
        "verdict": {"ruling": ("allow", "ask", "deny")[number // 4 % 3], "level": "autonomous"},
        "intent": {"key": f"k-{number}"},
        "outcome": {"status": "ok", "done": "executed"},
    }[kind]
    at = START + timedelta(seconds=number)
    return Draft(kind=kind, world="test", run=f"run-{run}", body=body, at=at, cause=said["id"])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--exported", type=int, default=1_000_000, help="entries of the export")
    parser.add_argument("--postgres", metavar="URL", help="measure a ledger on this server, too")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    drafts = [record(number) for number in range(10_000)]
    size = round(statistics.mean(len(dumps(draft.body)) + 200 for draft in drafts[:100]))
    print(f"a record is {size} bytes with what stands around it")
    with tempfile.TemporaryDirectory() as kept, tempfile.TemporaryDirectory() as keys:
        folder = Path(kept)
        raw, plain = Raw(folder, size), Plain(folder)
        with (
            Ledger.open(folder / "tree.db") as tree,
            Ledger.open(folder / "ours.db", vault=Path(keys) / "v.db") as ours,
        ):
            for ledger in (tree, ours):
                ledger.append(drafts)
            variants: dict[str, Callable[[Sequence[Draft]], object]] = {
                "raw": raw.append, "plain": plain.append, "tree": tree.append, "ours": ours.append,
            }  # fmt: skip
            took = compare(variants, drafts, given)
            ratios = {str(batch): round(_ratio(took, "raw", "ours", batch), 3) for batch in BATCHES}
            cost = {str(batch): round(1 - _ratio(took, "plain", "ours", batch), 3) for batch in BATCHES}
            together = in_threads(raw, ours, drafts, given)
        served = on_server(given.postgres, raw, Path(keys), drafts, given) if given.postgres else {}
        with Ledger.open(folder / "audited.db", vault=Path(keys) / "v.db") as audited:
            proved = proving(audited, drafts)
            print(f"audit of {AUDITED:,} entries: {proved['audit_100k_s']} s; inclusion proof: {proved['proof_ms']} ms")
        exported = exporting(folder, given.exported)
        raw.close()
        plain.close()
    if given.json:
        figures = {
            "ratio": ratios,
            "appenders_64": together[64],
            "integrity_cost": cost,
            **proved,
            **exported,
            **served,
        }
        print(json.dumps(figures))


def compare(
    variants: Mapping[str, Callable[[Sequence[Draft]], object]], drafts: Sequence[Draft], given: argparse.Namespace
) -> dict[tuple[str, int], list[float]]:
    """Seconds an entry by variant and size of a batch, a figure a round, and the table of them."""
    took: dict[tuple[str, int], list[float]] = {}
    for _ in range(given.rounds):
        for batch in BATCHES:
            for name, append in variants.items():
                took.setdefault((name, batch), []).append(per_entry(append, drafts, batch, given.seconds))
    print(f"{'':8}" + "".join(f"{f'batch {batch}':>24}" for batch in BATCHES))
    for name in variants:
        cells = [
            f"{1e6 * statistics.median(took[name, batch]):9.1f} us {_ratio(took, 'raw', name, batch):6.2f} raw"
            for batch in BATCHES
        ]
        print(f"{name:8}" + "".join(f"{cell:>24}" for cell in cells))
    return took


def in_threads(raw: Raw, ledger: Ledger, drafts: Sequence[Draft], given: argparse.Namespace) -> dict[int, float]:
    """How many times the raw single writer so many appenders are together."""
    many: dict[int, list[float]] = {}
    for _ in range(given.rounds):
        one = per_entry(raw.append, drafts, 1, given.seconds)
        for count in APPENDERS:
            many.setdefault(count, []).append(one / appenders(ledger, drafts, count, 2 * given.seconds))
    together = {count: round(statistics.median(found), 2) for count, found in many.items()}
    print("appenders, times the raw single writer: " + ", ".join(f"{c}: {x}" for c, x in together.items()))
    return together


def on_server(url: str, raw: Raw, keys: Path, drafts: Sequence[Draft], given: argparse.Namespace) -> dict[str, Any]:
    """The same appends on a PostgreSQL server."""
    import psycopg

    schema = f"rw_bench_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as administrator:
        (version,) = administrator.execute("SHOW server_version").fetchone() or ("?",)
        print(f"PostgreSQL {version}:")
        administrator.execute(f"CREATE SCHEMA {schema}".encode())
        try:
            plain = PlainServer(url, schema)
            with Ledger.open(f"{url}?schema={schema}", vault=keys / "server.db") as ours:
                ours.append(drafts)
                variants = {"raw": raw.append, "plain": plain.append, "ours": ours.append}
                took = compare(variants, drafts, given)
                together = in_threads(raw, ours, drafts, given)
            plain.close()
        finally:
            administrator.execute(f"DROP SCHEMA {schema} CASCADE".encode())
    return {
        "postgres_ratio": {str(batch): round(_ratio(took, "raw", "ours", batch), 3) for batch in BATCHES},
        "postgres_cost": {str(batch): round(1 - _ratio(took, "plain", "ours", batch), 3) for batch in BATCHES},
        "postgres_appenders_64": together[64],
    }


def _ratio(took: dict[tuple[str, int], list[float]], base: str, name: str, batch: int) -> float:
    """How fast one is beside the other, 1 for as fast."""
    return statistics.median(b / n for b, n in zip(took[base, batch], took[name, batch], strict=True))


if __name__ == "__main__":
    main()
