"""What can be wrong with a file or a disk, said so that somebody can mend it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.forging import rewrite

from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Draft
from roadworthy.ledger.sqlite import SqliteStore
from roadworthy.ledger.store import Ledger

Make = Callable[..., Draft]
Script = Callable[..., "subprocess.Popen[str]"]


def _edit(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


@pytest.fixture
def written(path: Path, make: Make) -> Path:
    """A ledger of 400 entries, closed."""
    with Ledger.open(path) as ledger:
        ledger.append([make(n, body={"n": n, "text": "x" * 200}) for n in range(400)])
    return path


def test_every_commit_is_synced(path: Path) -> None:
    store = SqliteStore(path)
    # Nothing but a power cut shows from outside what is asked here.
    connection = store._main  # pyright: ignore[reportPrivateUsage]
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


def test_a_newer_ledger_is_left_alone(written: Path) -> None:
    _edit(written, "UPDATE ledger SET version = 7")
    before = written.read_bytes()
    for read_only in (False, True):
        with pytest.raises(LedgerError, match=r"newer Roadworthy \(its format is 7.*pip install --upgrade"):
            Ledger.open(written, read_only=read_only)
    assert written.read_bytes() == before


def test_a_ledger_without_its_version_is_refused(written: Path) -> None:
    _edit(written, "DELETE FROM ledger")
    with pytest.raises(LedgerError, match="version is missing"):
        Ledger.open(written)


def test_another_database_is_left_alone(path: Path) -> None:
    _edit(path, "CREATE TABLE customers (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="another SQLite file"):
        Ledger.open(path)
    assert path.read_bytes() == before


def test_another_file_is_left_alone(path: Path) -> None:
    path.write_text("Dear diary, " * 500)
    for read_only in (False, True):
        with pytest.raises(LedgerError, match="no ledger, but some other file"):
            Ledger.open(path, read_only=read_only)
    assert path.read_text().startswith("Dear diary")


def test_an_empty_file_becomes_a_ledger(path: Path, make: Make) -> None:
    path.touch()
    with pytest.raises(LedgerError):
        Ledger.open(path, read_only=True)
    with Ledger.open(path) as ledger:
        assert ledger.append([make(0)])[0].seq == 1


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("/nowhere/at/all/runs.db", "is not there: create it"),
        ("mysql://host/db", "cannot be kept in 'mysql'"),
        ("", "needs a path"),
        ("sqlite:///", "needs a path"),
    ],
)
def test_a_path_that_cannot_be(url: str, says: str) -> None:
    with pytest.raises(LedgerError, match=says):
        Ledger.open(url)


def test_a_folder_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"is a folder.*runs\.db"):
        Ledger.open(tmp_path)


def test_there_must_be_something_to_read(path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger at"):
        Ledger.open(path, read_only=True)
    assert not path.exists()
    with pytest.raises(LedgerError, match="nothing to read"):
        Ledger.open(":memory:", read_only=True)


def test_a_locked_ledger_is_tried_again_later(written: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadworthy.ledger.sqlite.BUSY_S", 0.05)
    with Ledger.open(written) as ledger, closing(sqlite3.connect(written, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="another process has held the ledger"):
            ledger.append([make(400)])
        assert len(list(ledger.entries())) == 400  # reading goes on
        other.execute("ROLLBACK")
        assert ledger.append([make(400)])[0].seq == 401


def test_a_ledger_in_another_mode_that_is_locked_cannot_be_opened(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadworthy.ledger.sqlite.BUSY_S", 0.05)
    with closing(sqlite3.connect(written, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerError, match="another process has held the ledger"):
            Ledger.open(written)


def test_a_damaged_file_is_reported_where_it_is_read(written: Path, make: Make) -> None:
    data = bytearray(written.read_bytes())
    for page in range(len(data) // 8192, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xde\xad" * 32
    written.write_bytes(data)
    with Ledger.open(written, read_only=True) as ledger, pytest.raises(LedgerError, match=r"damaged.*backup"):
        list(ledger.entries())
    with pytest.raises(LedgerError, match="damaged"), Ledger.open(written) as ledger:
        ledger.append([make(400)])


def test_a_damaged_entry_is_named(written: Path) -> None:
    _edit(written, "UPDATE groups SET heads = CAST(replace(heads, ',\"seq\":17,', ',') AS BLOB)")
    damaged = r"cannot be read, its bytes are damaged.*verify"
    with Ledger.open(written, read_only=True) as ledger, pytest.raises(LedgerError, match=damaged):
        list(ledger.entries())


@pytest.mark.parametrize(
    "odd",
    [
        {"body": []}, {"body": None}, {"body": {"$float": "1"}}, {"seq": "3"}, {"seq": True}, {"run_seq": 1.5},
        {"i": None}, {"at": "now"}, {"kind": {}}, {"kind": None}, {"world": 7}, {"run": ["r"]}, {"cause": 7},
        {"body": {"x": {"$bytes": "no"}}}, {"body": {"x": {"$int": []}}},
    ],
    ids=repr,
)  # fmt: skip
def test_an_entry_in_which_anything_stands_is_damaged(written: Path, odd: dict[str, Any]) -> None:
    """Whoever reads on could only guess what is meant."""
    assert rewrite(written, lambda head: {**head, **odd} if head["seq"] == 3 else None)
    with Ledger.open(written, read_only=True) as ledger, pytest.raises(LedgerError, match="damaged"):
        list(ledger.entries())


@pytest.mark.parametrize("odd", ["4611686018427387904", "-1", "'x'", "1.5"])
@pytest.mark.parametrize("column", ["hashes", "root"])
def test_a_tile_in_which_anything_stands_is_damaged(written: Path, column: str, odd: str) -> None:
    """Of a number as many bytes would be made as it says."""
    _edit(written, f"UPDATE tiles SET {column} = {odd}")
    with Ledger.open(written, read_only=True) as ledger, pytest.raises(LedgerError, match="are no bytes"):
        ledger.node(0, 5) if column == "hashes" else ledger.node(8, 0)
    with pytest.raises(LedgerError, match="are no bytes") if column == "root" else nullcontext():
        Ledger.open(written).close()


@pytest.mark.parametrize("odd", ["7", "'text'", "1.5"])
def test_heads_that_are_no_bytes_are_damaged(written: Path, odd: str) -> None:
    _edit(written, f"UPDATE groups SET heads = {odd} WHERE first = (SELECT min(first) FROM groups)")
    with Ledger.open(written, read_only=True) as ledger:
        with pytest.raises(LedgerError, match="no line of bytes"):
            list(ledger.entries())
        with pytest.raises(LedgerError, match="no line of bytes"):
            list(ledger.heads())


LOSES = "CREATE TRIGGER t AFTER INSERT ON groups BEGIN DELETE FROM groups WHERE first = new.first; END"
"""What was acknowledged would be gone."""


def test_a_file_that_changes_what_is_written_is_not_appended_to(written: Path) -> None:
    _edit(written, LOSES)
    with pytest.raises(LedgerError, match=r"it has the trigger t, .*Nothing was appended"):
        Ledger.open(written)
    with Ledger.open(written, read_only=True) as ledger:
        assert "the trigger t is none of a ledger's" in ledger.faults()


def test_what_would_change_what_is_written_is_refused_though_it_came_later(written: Path, make: Make) -> None:
    with Ledger.open(written) as ledger:
        before = ledger.append([make(400)])[0].seq
        _edit(written, LOSES)
        with pytest.raises(LedgerError, match="a trigger or a view"):
            ledger.append([make(401)])
    _edit(written, "DROP TRIGGER t")
    with Ledger.open(written) as ledger:
        assert ledger.append([make(402)])[0].seq == before + 1
        assert [entry.seq for entry in ledger.entries()] == list(range(1, before + 2))


@pytest.mark.parametrize("size", ["-1", "'x'", "1.5", "x'00'", "4611686018427387904"])
def test_a_last_checkpoint_of_impossible_size_ends_no_process(written: Path, size: str) -> None:
    _edit(written, f"UPDATE tip SET size = {size}")
    with pytest.raises(LedgerError, match=r"not what was written.*checkpoint"):
        Ledger.open(written)


def test_a_time_out_of_the_calendar_is_named(written: Path) -> None:
    assert rewrite(written, lambda head: {**head, "at": 2**62} if head["seq"] == 3 else None)
    with Ledger.open(written) as ledger, pytest.raises(LedgerError, match="is no time"):
        list(ledger.entries())


def test_a_file_that_may_only_be_read(written: Path, make: Make) -> None:
    with Ledger.open(written) as ledger:
        # SQLite asks for the right when it opens the file; a connection that may not change it behaves the same.
        _forbid(ledger)
        with pytest.raises(LedgerError, match="it may only be read"):
            ledger.append([make(400)])
        with pytest.raises(LedgerError, match="nothing is written"):
            ledger.append([make(400)])
        assert len(list(ledger.entries())) == 400


def _forbid(ledger: Ledger) -> None:
    store = ledger._store  # pyright: ignore[reportPrivateUsage]
    assert isinstance(store, SqliteStore)
    store._main.execute("PRAGMA query_only=ON")  # pyright: ignore[reportPrivateUsage]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write wherever it likes")
def test_a_folder_that_may_only_be_read(written: Path) -> None:
    written.parent.chmod(0o555)
    written.chmod(0o444)
    try:
        with pytest.raises(LedgerError, match=r"may only be read|cannot be opened"):
            Ledger.open(written)
        with Ledger.open(written, read_only=True) as ledger:
            assert len(list(ledger.entries())) == 400
    finally:
        written.parent.chmod(0o755)


_FILL = """
import resource
limit = sys.argv[2]
ledger = Ledger.open(path)
ledger.append([draft(0)])
if limit == "file size":
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 300_000, resource.RLIM_INFINITY))
acknowledged, errors = 1, []
try:
    for n in range(1, 5000):
        ledger.append([draft(n, size=2000), draft(n, run="twin")])
        acknowledged += 1
except LedgerError as error:
    errors.append(error.text)
try:
    ledger.append([draft(-1)])
except LedgerError as error:
    errors.append(error.text)
readable = [entry.body["n"] for entry in ledger.entries(run="r")]
ledger.close()
if limit == "file size":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    (path.parent / "ballast").unlink()
with Ledger.open(path) as again:
    kept = [entry.body["n"] for entry in again.entries(run="r")]
    twins = [entry.body["n"] for entry in again.entries(run="twin")]
    after = again.append([draft(-2)])[0].seq
print(json.dumps([acknowledged, errors, readable, kept, twins, after]))
"""


def _check_full(process: subprocess.Popen[str], says: str) -> None:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    acknowledged, errors, readable, kept, twins, after = json.loads(out)
    assert 1 < acknowledged < 5000
    assert says in errors[0]
    assert "nothing is written" in errors[1]
    assert readable[:acknowledged] == list(range(acknowledged))
    assert kept[:acknowledged] == list(range(acknowledged))
    assert -1 not in kept
    assert twins == kept[1:]
    assert after == len(kept) + len(twins) + 1


def test_a_file_that_may_not_grow_loses_nothing(script: Script, path: Path) -> None:
    _check_full(script(_FILL, path, "file size"), "the disk failed")


def test_a_full_disk_loses_nothing(script: Script, tmp_path: Path) -> None:
    room = tmp_path / "room"
    room.mkdir()
    mount = f"mount -t tmpfs -o size=1m none {room} && head -c 400000 /dev/zero > {room}/ballast"
    probe = ["unshare", "--mount", "sh", "-c", mount]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("a small disk of one's own needs the right to mount one")
    wrap = ("unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh")
    _check_full(script(_FILL, room / "runs.db", "disk", wrap=wrap), "the disk is full")


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("how", ["its place", "its content", "the last of two"])
def test_a_stop_that_was_taken_out_is_missed(tmp_path: Path, make: Make, how: str, signed: bool) -> None:
    vault = tmp_path / "vault.db" if signed else None
    (tmp_path / "book").mkdir()
    path = tmp_path / "book" / "runs.db"
    with Ledger.open(path, vault=vault) as ledger:
        ledger.append([make(n) for n in range(300)])
        ledger.append([make(1, run=None, kind="stop", body={"because": "harm", "capability": None})])
        ledger.append([make(2, run=None, kind="level", body={"level": "shadow"})])
        ledger.append([make(n) for n in range(300)])
    if how == "its place":
        _edit(path, "DELETE FROM sought WHERE kind = 'stop'")
    elif how == "its content":
        assert rewrite(path, lambda head: {**head, "kind": "release"} if head["kind"] == "stop" else None, mend=False)
    else:
        _edit(path, "DELETE FROM sought WHERE kind = 'level'")
    with pytest.raises(LedgerError, match="stops, levels or signatures were taken out of it or changed"):
        Ledger.open(path, vault=vault)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("DELETE FROM groups WHERE first = 5", "its entry 3 is not there"),
        ("UPDATE groups SET run = 'run-0' WHERE first = 6", "its entry 4 is not there"),
        (
            "UPDATE groups SET run_first = run_first + 1000 WHERE first = 5",
            "entry 3 of 'run-0'|its entry 3 is not there",
        ),
    ],
)
def test_a_run_whose_rows_were_changed_is_not_read_on(path: Path, make: Make, change: str, says: str) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([make(n, run=f"run-{n % 2}") for n in range(400)])
        assert len(list(ledger.entries(run="run-0"))) == 200
    _edit(path, "DROP INDEX groups_by_run")
    _edit(path, change)
    with (
        Ledger.open(path, read_only=True) as ledger,
        pytest.raises(LedgerError, match=rf"run 'run-0' .*is not what was written.*({says})"),
    ):
        list(ledger.entries(run="run-0"))


@pytest.mark.parametrize("where", [301, 1_000])
def test_a_stop_that_was_put_in_reaches_no_gate_that_runs(tmp_path: Path, make: Make, where: int) -> None:
    (tmp_path / "book").mkdir()
    path = tmp_path / "book" / "runs.db"
    stop = make(1, run=None, kind="stop", body={"because": "harm", "capability": None})
    with Ledger.open(path, vault=tmp_path / "vault.db") as ledger:
        ledger.append([make(n) for n in range(299)])
        ledger.append([stop])
        assert [entry.body["because"] for entry in ledger.controls()] == ["harm"]
        ledger.append([make(n) for n in range(20)])
        with closing(sqlite3.connect(path)) as at, at:
            ((head,),) = at.execute("SELECT heads FROM groups WHERE kinds = 'stop'").fetchall()
            forged = head.replace(b'"because":"harm"', b'"because":"calm","lifted":true')
            forged = forged.replace(b'"seq":301', b'"seq":%d' % where)
            at.execute("DELETE FROM groups WHERE first = ?", (where + 1,))
            row = (where + 1, where + 1, None, 0, "production", 1, "stop", forged, None)
            at.execute("INSERT INTO groups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            at.execute("INSERT INTO sought VALUES ('stop', ?)", (where + 1,))
        if where < ledger.size:
            with pytest.raises(LedgerError, match="its last checkpoint does not know"):
                ledger.controls()
        else:  # behind the last checkpoint it is nothing that was committed
            assert [entry.body["because"] for entry in ledger.controls()] == ["harm"]
