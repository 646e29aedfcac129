"""`roadworthy init`: from nothing, from functions, from function schemas and from recorded runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract
from roadworthy.cli.app import main

TOOLS = '''
def find_user(email: str) -> dict[str, str]:
    """Find a user."""

def send_reset(user_id: str, urgent: bool = False) -> str: ...

EVERY = [find_user, send_reset]
'''


def run(number: int, **arguments: Any) -> str:
    call = {"id": "c1", "type": "function", "function": {"name": "get_order", "arguments": json.dumps(arguments)}}
    messages = [
        {"role": "user", "content": "where is it?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": json.dumps({"status": "sent", **arguments})},
    ]
    return json.dumps({"run": f"r{number}", "messages": messages, "passed": True})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "init_tools.py").write_text(TOOLS, encoding="utf-8")
    return tmp_path


def test_a_small_contract_that_check_finds_clean(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--agent", "night-desk"]) == 0
    printed = capsys.readouterr().out
    assert "Wrote contract.yaml: 2 tools, all in shadow" in printed
    assert "Next: roadworthy check contract.yaml" in printed
    assert Contract.load(folder / "contract.yaml").agent == "night-desk"
    assert main(["check", "contract.yaml"]) == 0


def test_a_file_is_not_overwritten_unasked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "contract.yaml").write_text("mine", encoding="utf-8")
    assert main(["init"]) == 2
    assert "contract.yaml is there already" in capsys.readouterr().err
    assert (folder / "contract.yaml").read_text(encoding="utf-8") == "mine"
    assert main(["init", "--force"]) == 0
    assert Contract.load(folder / "contract.yaml").tools


@pytest.mark.parametrize("source", ["init_tools:EVERY", "init_tools"])
def test_from_functions_and_then_against_them(folder: Path, source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--from", source, "--out", "drafted.yaml"]) == 0
    contract = Contract.load(folder / "drafted.yaml")
    assert {name: tool.effect for name, tool in contract.tools.items()} == {"find_user": "read", "send_reset": "send"}
    assert contract.shapes.args["send_reset"]["urgent"].optional
    main(["check", "drafted.yaml", "--against", source, "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    codes = {line["code"] for line in lines if "code" in line}
    assert not codes & {"missing_tool", "extra_tool", "missing_argument", "extra_argument", "argument_type"}


def test_from_function_schemas(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = {
        "type": "function",
        "function": {"name": "cancel", "parameters": {"properties": {"id": {"type": "string"}}}},
    }
    (folder / "tools.json").write_text(json.dumps([schema]), encoding="utf-8")
    assert main(["init", "--from", "tools.json", "--out", "-"]) == 0
    contract = Contract.loads(capsys.readouterr().out)
    assert contract.tools["cancel"].effect == "write"
    assert contract.shapes.args["cancel"]["id"].optional


def test_from_recorded_runs_with_a_broken_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [run(1, order_id="#W1234567"), "{broken", run(2, order_id="#W7654321")]
    (folder / "runs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert main(["init", "--from", "runs.jsonl"]) == 0
    captured = capsys.readouterr()
    assert "runs.jsonl:2: left out: this is no JSON" in captured.err
    text = (folder / "contract.yaml").read_text(encoding="utf-8")
    assert "order_id: string  # seen: #W[0-9]{7}" in text
    assert "effect: read  # review: guessed from its name, called 2 times" in text
    contract = Contract.load(folder / "contract.yaml")
    returns = contract.shapes.returns["get_order"]
    assert returns is not None
    assert set(returns.fields) == {"status", "order_id"}
    assert contract.capabilities["everything"].autonomy.ceiling == "shadow"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("none.jsonl", "none.jsonl cannot be read"),
        ("none.json", "none.json cannot be read"),
        ("broken.json", "broken.json is no JSON"),
        ("empty.jsonl", "it must have one JSON object a line"),
        ("talk.jsonl", "no run in talk.jsonl calls a tool"),
        ("init_tools:NONE", "init_tools has no 'NONE'"),
        ("init_tools:__name__", "is no tool"),
        ("no_such_module_here", "there is no module"),
    ],
)
def test_what_cannot_be_drafted_from_is_2(
    folder: Path, source: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.json").write_text("{", encoding="utf-8")
    (folder / "empty.jsonl").write_text("", encoding="utf-8")
    talk = {"run": "r", "messages": [{"role": "user", "content": "hello"}], "passed": None}
    (folder / "talk.jsonl").write_text(json.dumps(talk), encoding="utf-8")
    assert main(["init", "--from", source]) == 2
    assert said in capsys.readouterr().err
    assert not (folder / "contract.yaml").exists()
