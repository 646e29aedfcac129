"""`verify` over a real ledger: on every engine, while others write, after an erasure, and from the shell."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.conftest import START, raw

import roadworthy.verify_ledger as single
from roadworthy import Ledger
from roadworthy.audit.verify import verify
from roadworthy.cli import main
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Draft, Entry
from roadworthy.ledger import jsonl
from roadworthy.ledger.checkpoint import LogKey
from roadworthy.ledger.erase import erase
from roadworthy.ledger.rotation import rotate
from roadworthy.verify_ledger import Asked, Key, Report, check_export

Make = Callable[..., Draft]


def codes(report: Report, severity: str = "error") -> set[str]:
    return {found.code for found in report.findings if found.severity == severity}


def fill(ledger: Ledger, make: Make, count: int = 600) -> None:
    """Groups of several lengths, of runs and of none, over several tiles."""
    at = 0
    while at < count:
        drafts = [make(at + i, run=f"run-{at % 7}") for i in range(1 + at % 40)]
        ledger.append(drafts)
        at += len(drafts)
        if at % 3 == 0:
            ledger.append([make(at, run=None, kind="stop", body={"capability": None, "lifted": False})])
            ledger.append([make(at, run="run-1", kind="question", body={"question": f"q{at}"})])
    assert ledger.size > 512


def test_what_was_written_is_intact_on_every_engine(url: str, make: Make) -> None:
    with Ledger.open(url) as ledger:
        assert verify(ledger).intact
        assert check_export(jsonl.lines(ledger))[0].size == 0
        fill(ledger, make)
        report = verify(ledger)
        assert (report.intact, report.size) == (True, ledger.size)
        exported, _ = check_export(jsonl.lines(ledger))
        assert (exported.intact, exported.root, exported.size) == (True, report.root, report.size)


SPOILT = {
    "groups": "UPDATE groups SET run = 'x' WHERE first = (SELECT max(first) FROM groups)",
    "groups at": "UPDATE groups SET at = at + 1 WHERE first = (SELECT min(first) FROM groups)",
    "groups gone": "DELETE FROM groups WHERE first = (SELECT min(first) FROM groups WHERE first > 1)",
    "sought": "DELETE FROM sought WHERE kind = 'stop' AND seq = (SELECT min(seq) FROM sought WHERE kind = 'stop')",
    "sought more": "INSERT INTO sought VALUES ('level', 3)",
    "tiles": "DELETE FROM tiles WHERE level = 0 AND idx = 1",
    "tiles root": "UPDATE tiles SET root = hashes WHERE level = 0 AND idx = 0",
    "tip": "UPDATE tip SET size = size + 1",
    "identity": "INSERT INTO identity VALUES ('another')",
    "cosigned": "INSERT INTO cosigned VALUES (3, 'nonsense')",
}


@pytest.mark.parametrize("name", SPOILT)
def test_tables_that_were_changed_are_found_on_every_engine(shared: str, make: Make, name: str) -> None:
    with Ledger.open(shared) as ledger:
        fill(ledger, make)
    with raw(shared) as db:
        db.execute(SPOILT[name])
    with Ledger.open(shared, read_only=True) as ledger:
        assert codes(verify(ledger))


def test_verify_looks_at_one_moment_while_others_write(shared: str, make: Make) -> None:
    with Ledger.open(shared) as ledger:
        fill(ledger, make)
        done = threading.Event()

        def write() -> None:
            at = 0
            while not done.is_set():
                ledger.append([make(at, run=f"w{at % 5}"), make(at, run=None, kind="stop", body={"lifted": False})])
                at += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            with Ledger.open(shared, read_only=True) as reader:
                sizes = [verify(reader).size]
                while len(sizes) < 4 or sizes[-1] == sizes[0]:
                    report = verify(reader)
                    assert report.intact, report.findings
                    sizes.append(report.size)
                    exported, _ = check_export(jsonl.lines(reader))
                    assert exported.intact, exported.findings
        finally:
            done.set()
            writer.join()
    assert sizes == sorted(sizes)


@pytest.fixture
def vaulted(tmp_path: Path) -> tuple[Path, Path]:
    """Where a ledger and its vault may be made."""
    for name in ("ledger", "vault"):
        (tmp_path / name).mkdir()
    return tmp_path / "ledger" / "runs.db", tmp_path / "vault" / "keys.db"


def personal(run: str, words: str, subject: str) -> Draft:
    return Draft(kind="heard", world="production", run=run, body={"text": words}, at=START, subject=subject)


def test_what_was_erased_verifies_as_before(vaulted: tuple[Path, Path]) -> None:
    path, vault = vaulted
    with Ledger.open(path, vault=vault) as ledger:
        ledger.append([personal("r1", "I am Ada", "ada"), personal("r2", "I am Bob", "bob")])
        kept = str(ledger.checkpoint())
        erase(ledger, subject="ada", by="officer", because="she asked", at=START)
        entries: list[Entry] = list(ledger.entries(run="r1"))
        assert entries[0].withheld == {"erased"}
        report = verify(ledger, since=kept)
        assert report.intact
        assert check_export(jsonl.lines(ledger))[0].intact


def test_a_ledger_that_got_its_vault_later_is_signed_from_then_on(vaulted: tuple[Path, Path], make: Make) -> None:
    path, vault = vaulted
    with Ledger.open(path) as ledger:
        ledger.append([make()])
        kept = str(ledger.checkpoint())
    with Ledger.open(path, vault=vault) as ledger:
        pass  # a key is there now, and nothing was signed
    with Ledger.open(path, vault=vault) as ledger:
        ledger.append([make()])
        report = verify(ledger, since=kept)
        assert report.intact
        assert report.signed is not None


def test_a_signature_that_was_taken_away_is_not_replaced(vaulted: tuple[Path, Path], make: Make) -> None:
    """Else the next commit would sign whatever somebody without the key has written."""
    path, vault = vaulted
    with Ledger.open(path, vault=vault) as ledger:
        ledger.append([make()])
    with raw(path) as db:
        db.execute("UPDATE tip SET note = substr(note, 1, instr(note, char(10) || char(10)))")
    with pytest.raises(Exception, match="bears no signature, and earlier ones did"), Ledger.open(path, vault=vault):
        pass
    for table in ("groups", "tiles", "tip", "sought"):
        with raw(path) as db:
            db.execute(f"DELETE FROM {table}")
    with pytest.raises(Exception, match="bears no signature, and earlier ones did"), Ledger.open(path, vault=vault):
        pass


def test_a_key_that_was_followed_by_another_leads_to_it(vaulted: tuple[Path, Path], make: Make) -> None:
    path, vault = vaulted
    with Ledger.open(path, vault=vault) as ledger:
        ledger.append([make()])
        first = str(verify(ledger).signed)
        for _ in range(2):
            rotate(ledger, by="ada", because="a year has gone by")
            for report in (verify(ledger, keys=[first]), check_export(jsonl.lines(ledger), asked(first))[0]):
                assert (report.intact, report.trusted) == (True, True)
                assert report.signed != first
        ledger.append([make(1)])
        assert verify(ledger, keys=[first]).intact
        evil = LogKey.new(f"roadworthy/{ledger.id}")
        ledger.append([make(2, run=None, kind="key", body={"vkey": evil.vkey})])
        assert codes(verify(ledger, keys=[first])) == {"key"}
        assert codes(check_export(jsonl.lines(ledger), asked(first))[0]) == {"key"}


def asked(vkey: str) -> Asked:
    return Asked(keys=(Key.parse(vkey),))


def test_what_was_pruned_is_intact_where_an_entry_says_so(shared: str, make: Make) -> None:
    with Ledger.open(shared) as ledger:
        fill(ledger, make)
        kept, gone = str(ledger.checkpoint()), [g for g in islice(ledger.groups(after=50), 9) if g.kinds == "heard"]
        before = verify(ledger).root
        said = [[group.first, group.last] for group in gone[:2]]
        ledger.append([make(run=None, kind="prune", body={"ranges": said})])
        ledger.give_up([group.first for group in gone[:2]])
        for report in (verify(ledger, since=kept), check_export(jsonl.lines(ledger), Asked(since=kept))[0]):
            assert report.intact, report.findings
            assert "pruned" in codes(report, "note")
        assert verify(ledger).root != before
        ledger.give_up([gone[3].first])
        for report in (verify(ledger), check_export(jsonl.lines(ledger))[0]):
            assert codes(report) == {"pruned"}
            assert next(f.seq for f in report.findings if f.code == "pruned") == gone[3].first


def test_what_is_no_key_and_no_checkpoint_is_refused(make: Make) -> None:
    with Ledger.open() as ledger:
        ledger.append([make()])
        for wrong in ({"keys": ["x"]}, {"witnesses": ["x+y+z"]}, {"since": "no checkpoint"}):
            with pytest.raises(UsageError):
                verify(ledger, **wrong)  # pyright: ignore[reportArgumentType]  # each names one of them
        assert codes(verify(ledger, keys=[LogKey.new(f"roadworthy/{ledger.id}").vkey])) & {"key", "signature"}


# From the shell -------------------------------------------------------------------------------------------------------


def shell(*arguments: object) -> int:
    return main(["ledger", *map(str, arguments)])


def test_the_verbs_prove_and_hand_on(path: Path, tmp_path: Path, make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    with Ledger.open(path) as ledger:
        fill(ledger, make)
        size, kept, name = ledger.size, str(ledger.checkpoint()), ledger.id
    assert shell("verify", path) == 0
    assert capfd.readouterr().out.startswith(f"Intact: ledger {name}, {size} entries")
    assert shell("verify", path, "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["intact"], told["size"], told["window"]) == (True, size, None)
    export, remembered = tmp_path / "runs.jsonl", tmp_path / "kept.txt"
    assert shell("export", path, "--jsonl", export) == 0
    capfd.readouterr()
    assert shell("export", path, "--jsonl", "-") == 0
    assert capfd.readouterr().out == export.read_text(encoding="utf-8")
    remembered.write_text(kept, encoding="utf-8")
    assert shell("verify", path, "--since", remembered) == 0
    alone = [sys.executable, "-I", str(Path(single.__file__)), str(export), "--since", str(remembered)]
    assert subprocess.run(alone, capture_output=True, check=False).returncode == 0

    spoilt = tmp_path / "spoilt.db"
    shutil.copy(path, spoilt)
    with raw(spoilt) as db:
        db.execute("UPDATE groups SET heads = CAST(replace(heads, 'heard', 'haerd') AS BLOB) WHERE first = 1")
    capfd.readouterr()
    assert shell("verify", spoilt) == 1
    told_so = capfd.readouterr().out
    assert told_so.startswith("NOT INTACT")
    assert "wrong  leaf: entry 1 is not the one that was written there" in told_so


def test_what_cannot_be_read_is_said(path: Path, tmp_path: Path) -> None:
    assert shell("verify", path) == 2
    path.write_bytes(b"nothing of ours" * 100)
    assert shell("verify", path) == 2
    whole = tmp_path / "a.db"
    with Ledger.open(whole):
        pass
    assert shell("verify", whole) == 0
    assert shell("verify", whole, "--since", tmp_path / "none") == 2
    assert shell("verify", whole, "--key", "x") == 2
    assert shell("export", whole) == 2
    assert shell("export", whole, "--jsonl", tmp_path / "none" / "x") == 2


def test_the_clock_may_go_back_and_is_told(make: Make) -> None:
    with Ledger.open() as ledger:
        late: Any = START + timedelta(days=1)
        ledger.append([Draft(kind="heard", world="production", run="r", body={}, at=late)])
        ledger.append([make(run="r")])
        report = verify(ledger)
    assert report.intact
    assert "clock" in codes(report, "note")
