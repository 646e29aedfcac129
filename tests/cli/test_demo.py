"""`roadworthy demo`: it runs, says that its agent is scripted, and shows what the gate is worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from roadworthy.cli.app import main
from roadworthy.ledger.store import Ledger


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def demo(folder: Path, *more: str) -> int:
    return main(["demo", "--trials", "2", "--out", str(folder / "out"), *more])


def test_people_read_what_happened_and_what_to_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path) == 0
    said = capsys.readouterr().out
    for part in (
        "scripted agent",
        "synthetic",
        "billing_question",
        "curated tickets",
        "one-reset-per-run",
        "which belongs to somebody else",
        "times harm was done without the gate:",
        "What to mend first:",
        "Release verdict: BLOCK",
        "roadworthy ledger show",
    ):
        assert part in said, part
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "scripted agent" in page
    assert "without the gate" in page


def test_the_run_that_it_names_is_in_the_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path) == 0
    (named,) = (line.split()[-1] for line in capsys.readouterr().out.splitlines() if "roadworthy ledger show" in line)
    with Ledger.open(tmp_path / "out" / "ledger.db", read_only=True) as ledger:
        kinds = [entry.kind for entry in ledger.entries(run=named)]
    assert {"heard", "action", "verdict", "trial"} <= set(kinds)
    assert main(["ledger", "show", str(tmp_path / "out" / "ledger.db"), named]) == 0


def test_programs_read_a_line_a_trial_and_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path, "--json") == 0
    *trials, last = lines(capsys.readouterr().out)
    assert {"scenario", "seed", "capability", "conditions", "passed", "why"} <= trials[0].keys()
    summary = last["summary"]
    assert summary["trials"] == len(trials)
    assert summary["verdict"] == "BLOCK"
    assert summary["curated"]["rate"] > summary["messy"]["rate"]
    shown = summary["demo"]
    assert (shown["framework"], shown["scripted"]) == ("plain", True)
    assert sum(shown["harmful_without_gate"].values()) > sum(shown["harmful_with_gate"].values())


def test_the_report_goes_where_it_is_told_to(tmp_path: Path) -> None:
    page = tmp_path / "pages" / "desk.html"
    assert demo(tmp_path, "--html", str(page)) == 0
    assert page.exists()


def test_a_framework_that_is_not_there_is_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path, "--framework", "langgrahp") == 2
    assert "langgraph" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("a file stands in the way", encoding="utf-8")
    assert demo(tmp_path) == 2
    assert "--out" in capsys.readouterr().err
