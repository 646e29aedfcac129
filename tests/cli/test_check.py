"""`roadworthy check`: exit codes, lines of JSON, and text that cannot play tricks on a terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from roadworthy.cli.app import main

CLEAN = """
roadworthy: 1
agent: reset-bot
version: "1"
goal: Get people back in.
owner: {team: IT, accountable: it-lead}
tools:
  find_user: {effect: read, args: {email: string}, returns: {user_id: string, email: string}}
  send_reset: {effect: write, args: {user_id: string}, returns: string}
capabilities:
  password_reset:
    means: The person cannot sign in.
    tools: [find_user, send_reset]
    autonomy: {start: approval, ceiling: autonomous, approver: it-lead}
    success: [{id: sent-once, check: count.send_reset == 1}]
"""
TOOLS = "def find_user(email: str) -> dict: ...\n\ndef send_reset(user: str) -> str: ...\n"


def contract(folder: Path, text: str = CLEAN) -> str:
    path = folder / "contract.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_clean_is_0_and_says_what_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", contract(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "reset-bot version 1: 2 tools, 1 capability, 0 rules; 0 warnings, 5 notes." in printed
    assert "note: " in printed


def test_findings_are_1_with_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = contract(tmp_path, CLEAN.replace("== 1", "<= 1"))
    assert main(["check", path]) == 1
    assert f"warning: {path}:15:5: capabilities.password_reset.success: " in capsys.readouterr().out


def test_what_cannot_be_loaded_is_2_with_every_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = contract(tmp_path, CLEAN.replace("effect: read", "effect: raed").replace('"1"', "1"))
    assert main(["check", path]) == 2
    said = capsys.readouterr().err
    assert f'{path}:4:10: version: text stands here, not 1, which is a number; quote it: "1"' in said
    assert f"{path}:8:23: tools.find_user.effect: raed is none of the words" in said
    assert main(["check", str(tmp_path / "none.yaml")]) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_json_is_one_line_a_finding_and_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = contract(tmp_path, CLEAN.replace("== 1", "<= 1"))
    assert main(["check", path, "--json"]) == 1
    *findings, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert last["summary"]["warnings"] == 1
    assert len(last["summary"]["digest"]) == 64
    (warning,) = [f for f in findings if f["severity"] == "warning"]
    assert (warning["code"], warning["line"]) == ("vacuous_success", 15)
    assert main(["check", contract(tmp_path, "a: b: c"), "--json"]) == 2
    (broken,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert broken["error"]["findings"][0]["line"] == 1


def test_against_code(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reset_tools.py").write_text(TOOLS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = contract(tmp_path)
    assert main(["check", path, "--against", "reset_tools"]) == 1
    assert "send_reset takes no argument user_id; did you mean user?" in capsys.readouterr().out
    assert main(["check", path, "--against", "reset_tools:find_user"]) == 1
    assert "there is no code for send_reset" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_tools", "there is no module 'no_such_tools'"),
        ("json:dmps", "json has no 'dmps'; did you mean dumps?"),
        ("json:", "does not name tools; write module:name"),
        ("json:__name__", "is no tool"),
    ],
)
def test_tools_that_cannot_be_had_are_2(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", contract(tmp_path), "--against", name]) == 2
    assert said in capsys.readouterr().err


def test_hidden_characters_are_shown_as_code_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = CLEAN.replace("password_reset:", '"password\\u202Ereset\\u001b[2J":')
    assert main(["check", contract(tmp_path, bad)]) == 2
    said = capsys.readouterr().err
    assert "\u202e" not in said
    assert "\x1b" not in said
    assert "<U+202E>" in said
