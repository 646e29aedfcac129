"""`roadworthy model`: an endpoint in a process of its own, for agents in any language."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.scripted_upstream import ask, chat, said, scripted_upstream, user

from roadworthy import Contract, Gate, Ledger
from roadworthy.cli.app import main

MODEL = [sys.executable, "-c", "import sys; from roadworthy.cli import main; sys.exit(main())", "model"]
LAW = """
roadworthy: 1
agent: desk
version: "1"
goal: Answer.
owner: {team: Care, accountable: lead}
tools:
  find: {effect: read, args: {no: string}, returns: string}
capabilities:
  questions:
    means: Somebody asks something.
    tools: [find]
    autonomy: {start: autonomous, ceiling: autonomous, approver: lead}
    success: [{id: one, check: count.find <= 1}]
budgets: {run: {model_tokens: 20}}
"""
BODY: dict[str, Any] = {"model": "m", "messages": [user("a")]}


class Served:
    """A process that serves, and what it said when it had ended."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.code = -1
        self.stderr = ""


@contextmanager
def serving(*words: str, json_line: bool = False, **env: str) -> Generator[Served]:
    process = subprocess.Popen(
        [*MODEL, *words, *(["--json"] if json_line else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )
    late = threading.Timer(60, process.kill)
    late.start()
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        if not first:
            raise AssertionError(process.communicate()[1])
        served = Served(process, json.loads(first)["base_url"] if json_line else first.strip())
        yield served
        process.send_signal(signal.SIGINT)
        rest, served.stderr = process.communicate()
        served.code = process.returncode
        assert rest == ""
    finally:
        late.cancel()
        process.kill()
        process.communicate()


def test_record_and_replay_from_the_command_line(tmp_path: Path) -> None:
    cassette = str(tmp_path / "c.jsonl")
    with scripted_upstream(lambda path, body: chat("from the model")) as upstream:
        words = ("record", "--upstream", upstream.url, "--cassette", cassette, "--key-env", "MY_KEY")
        with serving(*words, MY_KEY="a-key-of-the-tests") as served:
            assert said(ask(served.url, BODY)) == "from the model"
        assert upstream.headers[0]["authorization"] == "Bearer a-key-of-the-tests"
    assert (served.code, "a-key" in served.stderr + Path(cassette).read_text()) == (0, False)
    with serving("replay", "--cassette", cassette, json_line=True) as served:
        assert said(ask(served.url, BODY)) == "from the model"
    assert (served.code, served.stderr) == (0, "")


def test_what_was_not_recorded_is_told_on_standard_error_and_by_the_exit_code(tmp_path: Path) -> None:
    cassette = str(tmp_path / "c.jsonl")
    with (
        scripted_upstream(lambda path, body: chat("yes")) as upstream,
        serving("record", "--upstream", upstream.url, "--cassette", cassette) as served,
    ):
        ask(served.url, BODY)
    with serving("replay", "--cassette", cassette) as served:
        assert ask(served.url, {**BODY, "messages": [user("\x1b[2Jb")]})[0] == 404
    assert served.code == 1
    assert "messages[0].content: recorded 'a', asked" in served.stderr
    assert "\x1b" not in served.stderr


def test_a_run_of_another_process_counts_and_gets_back_what_it_was_told(tmp_path: Path) -> None:
    (tmp_path / "law.yaml").write_text(LAW)
    run_of = ("--contract", str(tmp_path / "law.yaml"), "--ledger", str(tmp_path / "runs.db"), "--run", "r")
    answers = [chat("first"), chat("second"), chat("never")]
    with (
        scripted_upstream(lambda path, body: answers.pop(0)) as upstream,
        Ledger.open(tmp_path / "runs.db") as ledger,
    ):
        record = ("record", "--upstream", upstream.url, "--extend", *run_of)
        with serving(*record, "--cassette", str(tmp_path / "1")) as served:
            status, body = ask(served.url, BODY)
            assert (status, body["error"]["code"]) == (403, "run")
            run = Gate(Contract.load(tmp_path / "law.yaml"), ledger).run(id="r", capability="questions")
            assert said(ask(served.url, BODY)) == "first"
        with serving(*record, "--cassette", str(tmp_path / "2")) as served:  # the run is driven again
            told = [ask(served.url, BODY) for _ in range(3)]
        assert [said(one) for one in told[:2]] == ["first", "second"]
        assert (told[2][0], told[2][1]["error"]["code"]) == (403, "budget")
        assert run.call("find", {"no": "7"}, str).status == "denied"
        assert len(upstream.asked) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["record", "--upstream", "nowhere", "--cassette", "c"], "no base URL"),
        (["record", "--upstream", "http://127.0.0.1:9/v1", "--cassette", "there"], "there already"),
        (["record", "--upstream", "http://127.0.0.1:9/v1", "--cassette", "c", "--key-env", "NO_KEY"], "NO_KEY"),
        (["record", "--upstream", "http://127.0.0.1:9/v1", "--cassette", "c", "--run", "r"], "--run needs --contract"),
        (
            ["record", "--upstream", "http://127.0.0.1:9/v1", "--cassette", "c", "--prices", "bad"],
            "m.input is .cheap., and no price",
        ),
        (["replay", "--cassette", "missing"], "cannot be read: No such file or directory"),
        (["replay", "--cassette", "there"], "no JSON"),
    ],
)
def test_what_cannot_be_served_is_said_and_exits_with_2(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_text("mine")
    (tmp_path / "bad").write_text("m: {input: cheap, output: 1}")
    assert main(["model", *words]) == 2
    assert re.search(says, capsys.readouterr().err)
    assert (tmp_path / "there").read_text() == "mine"
