"""What is old can be given up: it is archived before, and the tree still proves its place."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from roadworthy.core.errors import LedgerError, UsageError
from roadworthy.core.types import Draft, Entry, Kind
from roadworthy.ledger.merkle import consistency, consistent, included, inclusion, leaf_hash, root
from roadworthy.ledger.prune import RETENTION, Pruned, prune, pruned_ranges
from roadworthy.ledger.store import Ledger
from roadworthy.ledger.verify import verify

pytest.importorskip("pyarrow", reason="Parquet needs the extra `parquet`")

from roadworthy.ledger.parquet import FIELDS, Archive, export_months, heads_of, sha256_of

OLD = datetime(2026, 1, 10, tzinfo=UTC)
NOW = datetime(2026, 11, 20, tzinfo=UTC)
DAY = timedelta(days=1)


def entry(run: str | None, at: datetime, kind: Kind = "outcome", text: str = "done", **more: str) -> Draft:
    body = {"status": "ok", "done": "executed", "text": text, **more}
    return Draft(kind=kind, world="production", run=run, subject=None, body=body, at=at)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A ledger with 300 old runs, one that went on, one that waits, and what belongs to none."""
    (tmp_path / "book").mkdir()
    path = tmp_path / "book" / "runs.db"
    with Ledger.open(path, vault=tmp_path / "vault.db") as ledger:
        ledger.append([entry(None, OLD, "contract", text="the law")])
        for tens in range(0, 300, 10):
            old = [(f"run-{number}", OLD + number * DAY / 20) for number in range(tens, tens + 10)]
            ledger.append([one for run, at in old for one in (entry(run, at, text="secret"), entry(run, at, "said"))])
        ledger.append(
            [entry("long", OLD), entry("waits", OLD, "question", question="waits#1"), entry(None, OLD, "stop")]
        )
        ledger.append([entry("learns", OLD, "observation")])
        ledger.append([entry(f"new-{number}", NOW - DAY) for number in range(400)])
        ledger.append([entry("long", NOW - DAY)])
    return path


def opened(book: Path) -> Ledger:
    return Ledger.open(book, vault=book.parents[1] / "vault.db")


def archived(ledger: Ledger, folder: Path) -> list[Archive]:
    return export_months(ledger, folder, now=NOW)


def pruned(
    ledger: Ledger, folder: Path, *, before: datetime = datetime(2026, 3, 1, tzinfo=UTC), **more: object
) -> Pruned:
    retention = more.get("retention", RETENTION)
    assert isinstance(retention, timedelta)
    return prune(ledger, before=before, archives=folder, by="ada", because="old", now=NOW, retention=retention)


def texts(entries: Sequence[Entry]) -> list[str]:
    return [str(one.body.get("text")) for one in entries]


def test_what_is_archived_is_given_up_and_still_proved(book: Path, tmp_path: Path) -> None:
    with opened(book) as ledger:
        heads = dict(ledger.heads())
        before = {size: root(size, ledger.node) for size in (1, 17, 600, ledger.size)}
        archived(ledger, tmp_path / "out")
        done = pruned(ledger, tmp_path / "out")
        assert done.runs == 300
        assert done.entries == 600
        assert done.files == ("entries-2026-01.parquet",)
        kept = dict(ledger.heads())
        assert len(heads) - 600 < len(kept) < len(heads)
        size, now = ledger.size, root(ledger.size, ledger.node)
        for seq, head in heads.items():
            assert included(leaf_hash(head), seq - 1, size, inclusion(seq - 1, size, ledger.node), now)
        for old, at in before.items():
            assert consistent(old, size, at, now, consistency(old, size, ledger.node))
        assert {run for a, b in pruned_ranges(ledger) for run in range(a, b + 1)} == set(heads) - set(kept)
        archive = dict(heads_of(tmp_path / "out" / "entries-2026-01.parquet"))
        assert all(archive[seq] == heads[seq] for seq in set(heads) - set(kept))
    with opened(book) as ledger:
        ledger.append([entry("more", NOW)])
        assert root(ledger.size, ledger.node) != now


def test_what_is_needed_stays(book: Path, tmp_path: Path) -> None:
    with opened(book) as ledger:
        archived(ledger, tmp_path / "out")
        pruned(ledger, tmp_path / "out")
        assert len(list(ledger.entries(run="long"))) == 2
        assert texts(list(ledger.entries(kind="contract"))) == ["the law"]
        assert len(ledger.controls()) == 1
        assert len(list(ledger.entries(kind="question"))) == 1
        assert len(list(ledger.entries(kind="observation"))) == 1
        assert {one.run for one in ledger.runs()} == {"long", "waits", "learns", *(f"new-{n}" for n in range(400))}


def test_a_run_that_was_pruned_is_not_taken_for_a_new_one(book: Path, tmp_path: Path) -> None:
    with opened(book) as ledger:
        archived(ledger, tmp_path / "out")
        pruned(ledger, tmp_path / "out")
        with pytest.raises(LedgerError, match=r"entries \d+ to \d+ of run run-7 were pruned.*archive"):
            list(ledger.entries(run="run-7"))
        assert ledger.append([entry("run-7", NOW)])[0].run_seq == 3


def test_nothing_goes_that_no_archive_holds(book: Path, tmp_path: Path) -> None:
    with opened(book) as ledger:
        with pytest.raises(UsageError, match=r"holds no export of a month before 2026-03.*ledger export --parquet"):
            pruned(ledger, tmp_path / "out")
        (file,) = [one.file for one in archived(ledger, tmp_path / "out") if one.month == date(2026, 1, 1)]
        file.write_bytes(file.read_bytes() + b" ")
        with pytest.raises(LedgerError, match=r"is not the file that was exported.*Nothing was pruned"):
            pruned(ledger, tmp_path / "out")
        assert len(list(ledger.entries(run="run-7"))) == 2
        assert not list(ledger.entries(kind="prune"))


def test_six_months_are_kept_unless_somebody_says_otherwise(book: Path, tmp_path: Path) -> None:
    with opened(book) as ledger:
        archived(ledger, tmp_path / "out")
        with pytest.raises(UsageError, match="kept for 184 days at least"):
            pruned(ledger, tmp_path / "out", before=NOW - RETENTION + timedelta(seconds=1))
        assert pruned(ledger, tmp_path / "out", before=NOW - 8 * DAY, retention=7 * DAY).runs == 300


def test_a_second_prune_finds_nothing(book: Path, tmp_path: Path) -> None:
    with opened(book) as ledger:
        archived(ledger, tmp_path / "out")
        assert pruned(ledger, tmp_path / "out").entries == 600
        assert pruned(ledger, tmp_path / "out").entries == 0


def test_months_are_written_once_and_registered(book: Path, tmp_path: Path) -> None:
    with opened(book) as ledger:
        (first,) = archived(ledger, tmp_path / "out")
        assert first.entries == len([1 for _, head in ledger.heads() if b'"at":1768' in head or b'"at":1769' in head])
        assert archived(ledger, tmp_path / "out") == []
        (said,) = [one.body for one in ledger.entries(kind="export")]
        assert (said["file"], said["sha256"]) == ("entries-2026-01.parquet", sha256_of(first.file))
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "entries-2026-01.parquet").write_text("mine")
        with pytest.raises(UsageError, match="is there already, and is none that this ledger has written"):
            archived(ledger, tmp_path / "other")


def test_duckdb_reads_it_and_finds_nothing_private(book: Path, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    with opened(book) as ledger:
        (file,) = [one.file for one in archived(ledger, tmp_path / "out")]
        wanted = ledger.size
    found = duckdb.sql(f"SELECT kind, status, count(*) FROM '{file}' GROUP BY ALL ORDER BY ALL").fetchall()
    assert ("outcome", "ok", 301) in found
    assert sum(count for *_, count in found) < wanted
    assert set(FIELDS) < set(duckdb.sql(f"SELECT * FROM '{file}'").columns)
    assert b"secret" not in file.read_bytes()


def test_a_field_that_is_no_text_once_has_no_column_then(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "runs.db") as ledger:
        body = {"status": 7, "done": {"x": 1}, "tool": "a.b"}
        ledger.append([Draft(kind="outcome", world="test", run="r", body=body, at=OLD), entry("r", OLD)])
        (made,) = archived(ledger, tmp_path / "out")
        kept = dict(ledger.heads())
    assert made.entries == 2
    assert dict(heads_of(made.file)) == {seq: kept[seq] for seq in (1, 2)}


@pytest.mark.parametrize(
    "change", ["run = NULL", "run = 'run-8'", "world = 'test'", "at = 5", "kinds = 'said'", "run_first = 9"]
)
def test_what_is_left_of_a_pruned_group_cannot_be_changed(book: Path, tmp_path: Path, change: str) -> None:
    with opened(book) as ledger:
        archived(ledger, tmp_path / "out")
        pruned(ledger, tmp_path / "out")
        assert verify(ledger, acts=False).intact
    with closing(sqlite3.connect(book)) as at, at:
        at.execute("DROP INDEX groups_by_run")
        at.execute(f"UPDATE groups SET {change} WHERE first = 5")
    with Ledger.open(book, read_only=True) as ledger:
        report = verify(ledger, acts=False)
    assert not report.intact
    assert any("what is left of the groups that were pruned" in found.text for found in report.findings)


def test_a_prune_that_broke_off_is_finished_by_the_next(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(_: Ledger, firsts: Sequence[int]) -> None:
        raise KeyboardInterrupt

    with opened(book) as ledger:
        archived(ledger, tmp_path / "out")
        with monkeypatch.context() as patched:
            patched.setattr(Ledger, "give_up", dies)
            with pytest.raises(KeyboardInterrupt):
                pruned(ledger, tmp_path / "out")
        assert verify(ledger, acts=False).intact
        assert len(list(ledger.entries(run="run-7"))) == 2
        assert pruned(ledger, tmp_path / "out").entries == 600
        assert len(list(ledger.entries(kind="prune"))) == 1
        assert verify(ledger, acts=False).intact
