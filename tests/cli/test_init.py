"""`roadworthy init`: from nothing, from functions, from function schemas, recorded runs and traces; and a world."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract
from roadworthy.cli.app import main

TRACES = Path(__file__).parents[1] / "trials" / "traces"

TOOLS = '''
def find_user(email: str) -> dict[str, str]:
    """Find a user."""

def send_reset(user_id: str, urgent: bool = False) -> str: ...

EVERY = [find_user, send_reset]
NOBODY = []

def made():
    return {"find": find_user}

async def made_later():
    return EVERY

def fails():
    raise ValueError("no")
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
    (tmp_path / "law.yaml").write_text("roadworthy: 1", encoding="utf-8")
    sys.modules.pop("init_tools", None)
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
    (folder / "init_tools.py").write_text(TOOLS.partition("NOBODY")[0], encoding="utf-8")
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
        ("init_tools.py", "as init_tools:tools"),
        ("init_tools:fails()", "init_tools:fails() fails when it is called: ValueError: no"),
        ("init_tools:NOBODY", "there are no tools in init_tools:NOBODY"),
        ("law.yaml", "law.yaml is a contract already"),
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


def test_from_what_a_function_gives(folder: Path) -> None:
    assert main(["init", "--from", "init_tools:made()"]) == 0
    assert set(Contract.load(folder / "contract.yaml").tools) == {"find"}
    assert main(["init", "--from", "init_tools:made_later()", "--force"]) == 0
    assert set(Contract.load(folder / "contract.yaml").tools) == {"find_user", "send_reset"}


@pytest.mark.parametrize("name", sorted(p.name for p in TRACES.iterdir()))
def test_from_traces_with_the_types_that_the_model_was_told(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--from", str(TRACES / name)]) == 0
    contract = Contract.load(folder / "contract.yaml")
    assert set(contract.tools) == {"get_order"}
    assert contract.shapes.args["get_order"]["order_no"].type == "string"
    returns = contract.shapes.returns["get_order"]
    assert returns is not None
    assert returns.fields["status"].type == "string"
    assert contract.capabilities["everything"].autonomy.ceiling == "shadow"
    capsys.readouterr()
    assert main(["check", "contract.yaml"]) == 1
    assert main(["backtest", "contract.yaml", str(TRACES / name)]) == 0
    assert "1 tool call" in capsys.readouterr().out


def test_what_was_declared_holds_and_what_was_seen_is_told(folder: Path) -> None:
    line = json.loads(run(1, order_id="#W1234567", page=3, extra=True))
    properties = {"order_id": {"type": "string"}, "page": {"type": "integer", "maximum": 9}}
    schema = {"name": "get_order", "parameters": {"type": "object", "properties": properties, "required": ["page"]}}
    other: dict[str, Any] = {"name": "cancel_order", "parameters": {"type": "object", "properties": {}}}
    line["tools"] = [{"type": "function", "function": schema}, {"type": "function", "function": other}]
    (folder / "runs.jsonl").write_text(json.dumps(line), encoding="utf-8")
    assert main(["init", "--from", "runs.jsonl"]) == 0
    text = (folder / "contract.yaml").read_text(encoding="utf-8")
    assert "page: {type: integer, maximum: 9}  # seen: 3" in text
    assert "extra: {type: boolean, optional: true}  # review: seen, but not declared to the model" in text
    assert list(Contract.load(folder / "contract.yaml").tools) == ["get_order", "cancel_order"]


def test_a_format_that_is_named_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(TRACES / "openinference-openai.spans.json")
    assert main(["init", "--from", source, "--format", "langsmith"]) == 2
    assert "holds no runs in the format langsmith" in capsys.readouterr().err
    assert main(["init", "--from", source, "--format", "opentelemetry"]) == 2
    assert "is no format of recorded runs" in capsys.readouterr().err
    assert main(["init", "--from", source, "--format", "openinference"]) == 0


def test_a_hosted_tool_is_told_and_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool: dict[str, Any] = {"type": "function", "name": "cancel", "parameters": {"type": "object", "properties": {}}}
    (folder / "tools.json").write_text(json.dumps([tool, {"type": "web_search"}]), encoding="utf-8")
    assert main(["init", "--from", "tools.json"]) == 0
    assert "left out: web_search runs at the model's provider" in capsys.readouterr().err
    assert "# review: left out: web_search runs" in (folder / "contract.yaml").read_text(encoding="utf-8")
    (folder / "tools.json").write_text(json.dumps([{"type": "web_search"}]), encoding="utf-8")
    assert main(["init", "--from", "tools.json", "--force"]) == 2
    assert "there are no tools in tools.json" in capsys.readouterr().err


def test_what_an_mcp_server_lists_is_drafted_by_its_own_words(folder: Path) -> None:
    said = {
        "tools": [
            {"name": "log", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
            {"name": "delete_log", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
            {
                "name": "find_log",
                "inputSchema": {"type": "object", "properties": {"day": {"type": "string", "format": "date"}}},
                "outputSchema": {"type": "object", "properties": {"lines": {"type": "integer"}}, "required": ["lines"]},
                "annotations": {"destructiveHint": True, "idempotentHint": True},
            },
        ]
    }
    (folder / "tools.json").write_text(json.dumps(said), encoding="utf-8")
    assert main(["init", "--from", "tools.json"]) == 0
    contract = Contract.load(folder / "contract.yaml")
    assert {n: t.effect for n, t in contract.tools.items()} == {
        "log": "read",
        "delete_log": "write",
        "find_log": "write",
    }
    assert contract.shapes.args["find_log"]["day"].format == "date"
    returns = contract.shapes.returns["find_log"]
    assert returns is not None
    assert returns.fields["lines"].type == "integer"
    text = (folder / "contract.yaml").read_text(encoding="utf-8")
    assert "# review: the server says that it only reads, its name does not" in text
    assert "# review: the server says that it destroys; the server says that a repeat changes nothing more" in text


def test_a_world_that_is_tried(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--from", "init_tools:EVERY", "--world", "init_trial"]) == 0
    printed = capsys.readouterr().out
    assert "Wrote init_trial: 3 files" in printed
    following = printed.rpartition("Next: roadworthy ")[2].split()
    assert main([*following, "--trials", "2", "--json"]) == 1
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]
    assert summary["verdict"] == "BLOCK"
    assert main(["init", "--from", "contract.yaml", "--world", "init_trial"]) == 2
    assert "init_trial is there already" in capsys.readouterr().err
    assert main(["init", "--from", "contract.yaml", "--world", "init_trial", "--force"]) == 0


@pytest.mark.parametrize(
    ("world", "said"),
    [
        ("my-trial", "by words that Python can import"),
        ("../trial", "by words that Python can import"),
        ("/trial", "by words that Python can import"),
        ("json", "Python has a module json already"),
        ("pytest", "Python has a module pytest already"),
        ("sys", "Python has a module sys already"),
    ],
)
def test_a_world_that_python_could_not_import_is_refused_before_anything_is_written(
    folder: Path, world: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--from", "init_tools:EVERY", "--world", world]) == 2
    assert said in capsys.readouterr().err
    assert not (folder / "contract.yaml").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "init_tools", "--", "server"], "either from an MCP server"),
        (["--url", "http://127.0.0.1:1/mcp", "--format", "otel"], "either from an MCP server"),
        (["--env", "HOME"], "are for an MCP server"),
        (["init_tools:EVERY"], "write --from init_tools:EVERY"),
    ],
)
def test_what_does_not_go_together_is_2(
    folder: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", *words]) == 2
    assert said in capsys.readouterr().err
