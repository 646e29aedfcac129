"""`roadworthy backtest`: a line of JSON a call, honest exit codes, and text that cannot play tricks on a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from roadworthy.cli.app import main

CONTRACT = """
roadworthy: 1
agent: refund-bot
version: "1"
goal: Give people their money back.
owner: {team: Care, accountable: care-lead}
tools:
  refund: {effect: write, args: {order_no: string, amount: decimal}, returns: string}
capabilities:
  refunds:
    means: A refund.
    tools: [refund]
    autonomy: {start: approval, ceiling: autonomous, approver: care-lead}
    success: [{id: one, check: count.refund == 1}]
rules:
  - {id: small, tools: [refund], when: args.amount > 50.00, then: deny, because: Too much.}
"""


def run(name: str, amount: str, passed: bool | None = None, order: str = "1") -> dict[str, Any]:
    arguments = json.dumps({"order_no": order, "amount": amount})
    calls = [{"id": "c1", "type": "function", "function": {"name": "refund", "arguments": arguments}}]
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "refund"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "ok"},
    ]
    return {"run": name, "messages": messages, "passed": passed}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, Path]:
    contract, runs = tmp_path / "contract.yaml", tmp_path / "runs.jsonl"
    contract.write_text(CONTRACT, encoding="utf-8")
    lines = [run("a", "42.00", True), run("b", "60.00", True), run("c", "60.00", False), run("d", "1.00", False)]
    runs.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return str(contract), runs


def test_json_is_a_line_a_call_and_a_summary(files: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    contract, runs = files
    assert main(["backtest", contract, str(runs), "--json"]) == 0
    printed = capsys.readouterr()
    *calls, last = [json.loads(line) for line in printed.out.splitlines()]
    assert printed.err == ""
    assert all(list(call) == ["run", "call_id", "tool", "ruling", "rule", "why"] for call in calls)
    assert [(c["run"], c["ruling"], c["rule"]) for c in calls] == [
        ("a", "allow", None),
        ("b", "deny", "small"),
        ("c", "deny", "small"),
        ("d", "allow", None),
    ]
    assert "Too much" in calls[1]["why"]
    summary = last["summary"]
    assert (summary["failed_runs"], summary["failed_runs_interrupted"]) == (2, 1)
    assert (summary["passed_runs"], summary["passed_runs_interrupted"]) == (2, 1)
    assert (summary["runs"], summary["calls"], summary["skipped"]) == (4, 4, 0)


def test_people_read_what_was_caught_and_what_was_disturbed(
    files: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    contract, runs = files
    assert main(["backtest", contract, str(runs)]) == 0
    printed = capsys.readouterr().out
    assert "refund-bot version 1, level autonomous: 4 runs, 4 tool calls." in printed
    assert "small" in printed
    assert "  b  refund  deny: Not allowed: Too much (rule small)." in printed
    assert "Failed runs with an interrupted call: 1 of 2." in printed
    assert "Passed runs with an interrupted call: 1 of 2." in printed


def test_a_skipped_line_is_2_and_all_others_are_judged(
    files: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    contract, runs = files
    good = runs.read_text(encoding="utf-8").splitlines()
    runs.write_text("\n".join([good[0], "{broken", *good[1:]]), encoding="utf-8")
    assert main(["backtest", contract, str(runs), "--json"]) == 2
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [line.get("run") for line in lines] == ["a", "b", "c", "d", None]
    assert lines[-1]["summary"]["skipped"] == 1
    assert f"{runs}:2: skipped: this is no JSON" in printed.err
    assert main(["backtest", contract, str(runs)]) == 2
    assert "Skipped: 1 line" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.yaml", "{runs}"], "no such file"),
        (["{contract}", "none.jsonl"], "cannot be read"),
        (["{contract}", "{runs}", "--level", "autonomus"], "did you mean autonomous?"),
    ],
)
def test_what_cannot_be_read_is_2(
    files: tuple[str, Path], capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    contract, runs = files
    given = [word.format(contract=contract, runs=runs) for word in words]
    assert main(["backtest", *given, "--json"]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert said in json.loads(printed.out)["error"]["text"]


def test_the_level_holds_for_every_capability(files: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    contract, runs = files
    assert main(["backtest", contract, str(runs), "--level", "approval"]) == 0
    assert "allow 0   clarify 0   ask 2   deny 2" in capsys.readouterr().out


def test_text_of_a_recording_plays_no_tricks(files: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    contract, runs = files
    runs.write_text(json.dumps(run("\x1b[2Jevil\nrun", "60.00", True, order="\u202e")), encoding="utf-8")
    assert main(["backtest", contract, str(runs)]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "evil\nrun" not in printed
