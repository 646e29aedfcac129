"""What a test shows: text, JSON, JUnit, and exit codes, on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from roadworthy.cli.app import main
from roadworthy.ledger.store import Ledger

HERE = Path(__file__).parent


def verb(agent: str, *more: str, scenarios: str | Path = HERE / "scenarios") -> int:
    return main(["test", str(HERE / "shop.yaml"), "--agent", agent, "--scenarios", str(scenarios), *more])


def test_text_ends_with_the_verdict_and_a_way_to_see_a_failure_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert verb("trialshop:twice", "--trials", "6", "--seed", "2") == 1
    shown = capsys.readouterr()
    text = shown.out
    assert "Release verdict: BLOCK" in text
    assert "refunds" in text
    assert "forbidden: insert of till.refunds" in text
    assert shown.err == ""
    again = next(line for line in text.splitlines() if "--only answer-lost" in line)
    assert again.split()[-2:] == ["--trial", "0"]
    assert main(again.split()[1:]) in (1, 3)
    assert "1 trial of 1 scenarios" in capsys.readouterr().out


def test_json_is_lines_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert verb("trialshop:good", "--trials", "8", "--json") == 0
    shown = capsys.readouterr()
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert len(lines) == 41
    for line in lines[:-1]:
        assert {"scenario", "seed", "capability", "conditions", "passed", "why"} <= line.keys()
        assert line["passed"] is True
    summary = lines[-1]["summary"]
    assert (summary["verdict"], summary["trials"], summary["passed"], summary["errors"]) == ("PASS", 40, 40, 0)
    assert summary["capabilities"]["refunds"]["curated"]["trials"] == 16
    assert shown.err == ""


def test_json_of_broken_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert verb("trialshop:nobody", "--json") == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["error"]["code"] == "RW-201"


def test_exit_codes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert verb("trialshop:good", "--trials", "1") == 3
    assert verb("trialshop:nagging", "--trials", "1") == 2
    assert verb("trialshop:good", "--only", "plain-refnd") == 2
    assert "did you mean plain-refund?" in capsys.readouterr().err
    assert verb("trialshop:good", "--level", "autonomus") == 2
    assert "did you mean autonomous?" in capsys.readouterr().err
    assert verb("trialshop:good", "--junit", str(tmp_path)) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert verb("trialshop:good", scenarios=tmp_path / "none") == 2
    assert verb("trialshop:good", "--trials", "0") == 2


def test_junit_is_xml_whatever_the_agent_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out" / "junit.xml"
    assert verb("trialshop:crashing", "--trials", "3", "--junit", str(file)) == 1
    raw = file.read_text(encoding="utf-8")
    assert "\x1b" not in raw
    assert "<script>" not in raw
    root = ElementTree.fromstring(raw)
    assert root.tag == "testsuites"
    assert (root.attrib["tests"], root.attrib["failures"], root.attrib["errors"]) == ("15", "15", "0")
    assert [s.attrib["tests"] for s in root] == ["3"] * 5
    cases = root.findall(".//testcase")
    assert len(cases) == 15
    failure = cases[0].find("failure")
    assert failure is not None
    assert "out of ideas <script>" in failure.attrib["message"]
    assert "U+001B" in failure.attrib["message"]
    assert capsys.readouterr().out.rstrip().endswith(f"Report: {file}")


def test_the_ledger_and_the_page_are_written(tmp_path: Path) -> None:
    ledger, page = tmp_path / "l.db", tmp_path / "r.html"
    assert verb("trialshop:good", "--trials", "2", "--ledger", str(ledger), "--html", str(page)) in (0, 3)
    with Ledger.open(ledger, read_only=True) as opened:
        assert sum(1 for _ in opened.entries(kind="trial")) == 10
    assert "plain-refund" in page.read_text(encoding="utf-8")


def test_workers_and_levels_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--only", "plain-refund", "--trials", "3", "--json", "--level", "approval")
    outputs: list[str] = []
    for workers in ("1", "2"):
        verb("trialshop:good", *arguments, "--workers", workers)
        outputs.append("\n".join(capsys.readouterr().out.splitlines()[:-1]))
    assert outputs[0] == outputs[1]


def test_reporting_only_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    verb("trialshop:good", "--trials", "1", "--no-enforce")
    assert "NOT ENFORCED" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("option", ["--junit", "--html", "--summary"])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_full_disk_does_not_take_the_verdict(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str, as_json: bool
) -> None:
    files = {name: str(tmp_path / name.strip("-")) for name in ("--junit", "--html", "--summary")}
    files[option] = "/dev/full"
    words = [word for pair in files.items() for word in pair]
    code = verb("trialshop:good", "--only", "plain-refund", "--trials", "20", *words, *(["--json"] * as_json))
    assert code == 2
    told = capsys.readouterr()
    assert ('"verdict":"PASS"' if as_json else "Release verdict: PASS") in told.out
    assert "/dev/full was not written" in told.err
    assert f"give {option} another path" in told.err
    assert [name for name, file in files.items() if name != option and not Path(file).read_text("utf-8")] == []
    assert "Report: /dev/full" not in told.out
