"""The files that `roadworthy test` writes: the page, and the summary of a build."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import pytest

from roadworthy.cli.app import main


def run(*more: str) -> int:
    with as_file(files("roadworthy.examples.desk")) as home:
        words = ["test", str(home / "contract.yaml"), "--scenarios", str(home / "scenarios"), "--trials", "1"]
        agent = "roadworthy.examples.desk.agents.plain:agent"
        return main(
            [*words, "--agent", agent, "--only", "refund-known-invoice", "--only", "refund-missing-field", *more]
        )


def test_page_and_summary_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    page, summary = tmp_path / "out" / "report.html", tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    assert run("--html", str(page), "--summary", str(summary)) in (1, 3)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert summary.read_text(encoding="utf-8").startswith("before\n## ")
    assert str(page) in capsys.readouterr().out


def test_a_github_workflow_gets_its_summary_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run()
    assert "The reality gap" in summary.read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_found_out_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert run("--html", str(tmp_path / "file" / "report.html")) == 2
    printed = capsys.readouterr()
    assert "cannot be written" in printed.err
    assert "Release verdict" not in printed.out
