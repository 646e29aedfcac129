"""`roadworthy ledger export --parquet` and `roadworthy ledger prune`, as they are typed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from roadworthy.cli.app import main
from roadworthy.core.types import Draft
from roadworthy.ledger.store import Ledger

pytest.importorskip("pyarrow", reason="Parquet needs the extra `parquet`")


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ledger with runs of January 2026 and of today."""
    (tmp_path / "book").mkdir()
    monkeypatch.setenv("ROADWORTHY_VAULT", str(tmp_path / "vault.db"))
    times = [datetime(2026, 1, 5, tzinfo=UTC)] * 300 + [datetime.now(UTC)] * 300
    drafts = [
        Draft(kind="outcome", world="production", run=f"run-{n // 100}", body={"status": "ok", "text": "x"}, at=at)
        for n, at in enumerate(times)
    ]
    with Ledger.open(tmp_path / "book" / "runs.db") as ledger:
        ledger.append(drafts)
    return str(tmp_path / "book" / "runs.db")


def test_export_prune_verify(book: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["ledger", "export", book, "--parquet", out, "--json"]) == 0
    (said,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert said["entries"] == 301  # with the ledger's key, which is dated as the first of them
    assert main(["ledger", "export", book, "--parquet", out]) == 0
    assert "Nothing to write" in capsys.readouterr().out
    pruned = ["ledger", "prune", book, "--before", "2026-03-01", "--archives", out, "--by", "ada", "--because", "old"]
    assert main([*pruned, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["files"] == ["entries-2026-01.parquet"]
    assert 0 < done["entries"] <= 300
    assert main(["ledger", "verify", book]) == 0
    assert "were pruned" in capsys.readouterr().out
    assert main(pruned) == 0
    assert "Nothing to give up" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--before", "yesterday"], "'yesterday' is no day: write it as 2026-01-31"),
        (["--before", f"{datetime.now(UTC) - timedelta(days=30):%Y-%m-%d}"], "kept for 184 days at least"),
        (["--before", "2026-03-01"], "holds no export of a month before 2026-03"),
    ],
)
def test_what_is_refused_says_why(
    book: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], says: str
) -> None:
    words = ["ledger", "prune", book, "--archives", str(tmp_path), "--by", "ada", "--because", "old", *more]
    assert main(words) == 2
    assert says in capsys.readouterr().err


def test_a_month_is_exported_whole(book: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "export", book, "--parquet", str(tmp_path), "--since", "2026-01-02"]) == 2
    assert "each month is written whole" in capsys.readouterr().err
