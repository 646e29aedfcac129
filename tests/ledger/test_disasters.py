"""Whatever ends a process or fails a disk: what was acknowledged is there, whole, and verifies."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from roadworthy.core.types import Draft
from roadworthy.ledger.store import Ledger
from roadworthy.ledger.verify import verify

KILLS = int(os.environ.get("ROADWORTHY_KILLS", "4"))
"""How often a writer is killed, and how often a disk fails; many in `make nightly`."""
SCRIPT = Path(__file__).with_name("appending.py")
SYNCS = "fsync,fdatasync,pwrite64"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Where a ledger may be made; its vault is `vault.db` in the folder above."""
    (tmp_path / "book").mkdir()
    return tmp_path / "book" / "runs.db"


def vault_of(book: Path) -> Path:
    return book.parents[1] / "vault.db"


def command(book: Path, name: str, count: int, threads: int = 1) -> list[str]:
    return [sys.executable, "-u", str(SCRIPT), str(book), str(vault_of(book)), name, str(count), str(threads)]


def assert_whole(book: Path, acknowledged: list[str]) -> None:
    """The ledger verifies, holds everything that was acknowledged just once, and goes on."""
    with Ledger.open(book, vault=vault_of(book)) as ledger:
        report = verify(ledger)
        assert report.intact, report.findings
        texts = Counter(entry.body["text"] for entry in ledger.entries(kind="heard"))
        assert set(acknowledged) - set(texts) == set()
        assert set(texts.values()) <= {1}
        before = ledger.size
        body = {"text": f"after {before}"}
        ledger.append([Draft(kind="heard", world="production", run="after", body=body, at=datetime.now(UTC))])
        assert ledger.size == before + 1 + (before == 0)  # an empty one begins with its key


def test_nothing_acknowledged_is_lost_by_kill_9(book: Path) -> None:
    rng = random.Random(11)
    acknowledged: list[str] = []
    for kill in range(KILLS):
        two = [
            subprocess.Popen(command(book, f"{kill}.{which}", 100_000, threads), stdout=subprocess.PIPE, text=True)
            for which, threads in (("a", 8), ("b", 1))
        ]
        first, second = two
        assert first.stdout is not None
        assert second.stdout is not None
        for _ in range(rng.randrange(1, 60)):
            line = first.stdout.readline()
            assert line, "the writer ended by itself"
            acknowledged.append(line.strip())
        for process in two:
            process.kill()
        for process in two:
            assert process.stdout is not None
            # A line that was cut off was not told.
            acknowledged += [line[:-1] for line in process.stdout if line.endswith("\n")]
            process.wait()
            process.stdout.close()
        assert_whole(book, [text for text in acknowledged if not text.startswith("refused")])
    assert len(acknowledged) > KILLS


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace, which fails system calls on demand")
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_nothing_acknowledged_is_lost_when_the_disk_fails(book: Path, tmp_path: Path, error: str) -> None:
    log = tmp_path / "calls"

    def trace(*inject: str) -> list[str]:
        wrapped = ["strace", "-f", "-qq", "-e", f"trace={SYNCS}", *inject, "-o", str(log), *command(book, name, 25)]
        done = subprocess.run(wrapped, capture_output=True, text=True, check=False)
        if "ptrace" in done.stderr:
            pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout.splitlines()

    name = "clean"
    acknowledged = trace()
    assert len(acknowledged) == 25
    calls = Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE))
    assert calls["pwrite64"] > 25
    rng = random.Random(error)
    failed = 0
    for turn in range(KILLS):
        name = f"{error}.{turn}"
        call = rng.choice([call for call in calls if call in SYNCS.split(",")])
        told = trace("-e", f"inject={call}:error={error}:when={rng.randrange(1, calls[call] + 1)}")
        assert "(INJECTED)" in log.read_text() or len(told) == 25
        refused = [line for line in told if line.startswith("refused")]
        failed += bool(refused)
        for line in refused:
            assert re.search(r"open the ledger again|cannot be|disk", line), line
        acknowledged += [line for line in told if not line.startswith("refused")]
        assert_whole(book, acknowledged)
    assert failed, "no failure was ever noticed"


def test_a_clock_that_goes_back_loses_no_order(book: Path) -> None:
    now = datetime(2026, 5, 1, 12, tzinfo=UTC)
    with Ledger.open(book, vault=vault_of(book)) as ledger:
        for back in (0, 3600, 7200, 60):
            at = now - timedelta(seconds=back)
            ledger.append([Draft(kind="heard", world="production", run="r", body={"back": back}, at=at)])
        assert [entry.body["back"] for entry in ledger.entries(run="r")] == [0, 3600, 7200, 60]
        assert [entry.run_seq for entry in ledger.entries(run="r")] == [1, 2, 3, 4]
        report = verify(ledger)
    assert report.intact
    assert any(found.code == "clock" for found in report.findings)


def test_a_second_writer_is_served_and_extends_the_same_tree(book: Path) -> None:
    with Ledger.open(book, vault=vault_of(book)) as mine:
        other = subprocess.run(command(book, "other", 20), capture_output=True, text=True, check=True)
        told = other.stdout.splitlines()
        body = {"text": "mine"}
        mine.append([Draft(kind="heard", world="production", run="r", body=body, at=datetime.now(UTC))])
        assert mine.size == 22  # with the key
    assert_whole(book, [*told, "mine"])
