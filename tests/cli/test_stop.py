"""`roadworthy stop`: an agent stops at its next action, whatever process it lives in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.cli.app import main

Capture = pytest.CaptureFixture[str]

LAW = """
roadworthy: 1
agent: greeter
version: "1"
goal: Look people up.
owner: {team: IT, accountable: it-lead}
tools:
  find_user: {effect: read, args: {email: string}, returns: {user_id: string}}
  count_users: {effect: read, args: {}, returns: integer}
capabilities:
  look_up:
    means: Somebody wants to know who somebody is.
    tools: [find_user]
    success: [{id: looked, check: count.find_user >= 1}]
  statistics:
    means: Somebody wants to know how many there are.
    tools: [count_users]
    success: [{id: counted, check: count.count_users >= 1}]
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A ledger that a gate has written to."""
    path = tmp_path / "runs.db"
    with Ledger.open(path) as ledger:
        Gate(Contract.loads(LAW), ledger).run(id="first", capability="look_up")
    return str(path)


def _stop(path: str, *words: str) -> int:
    return main(["stop", path, "--by", "lead", "--because", "odd answers", *words])


def test_a_running_gate_obeys_and_is_let_go_again(path: str) -> None:
    with Ledger.open(path) as ledger:
        gate = Gate(Contract.loads(LAW), ledger)
        run = gate.run(id="second", capability=["look_up", "statistics"])
        calls: list[str] = []

        def find(email: str) -> dict[str, str]:
            calls.append(email)
            return {"user_id": "u-1"}

        def ask() -> str:
            return run.call("find_user", {"email": f"{len(calls)}@example.com"}, find).status

        assert ask() == "ok"
        assert _stop(path, "--capability", "look_up") == 0
        assert ask() == "denied"
        assert run.call("count_users", {}, lambda: 3).status == "ok"
        assert _stop(path, "--capability", "look_up", "--lift") == 0
        assert ask() == "ok"
        assert _stop(path) == 0
        assert run.call("count_users", {}, lambda: 3).status == "denied"
        assert len(calls) == 2


def test_what_is_written_and_said(path: str, capsys: Capture) -> None:
    assert _stop(path, "--capability", "look_up", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    with Ledger.open(path, read_only=True) as ledger:
        (entry,) = ledger.controls()
    assert entry.body == {"capability": "look_up", "lifted": False, "by": "lead", "because": "odd answers"}
    assert (entry.kind, entry.world, entry.run) == ("stop", "production", None)
    assert {"seq": entry.seq, **entry.body}.items() <= said.items()
    assert _stop(path) == 0
    assert capsys.readouterr().out.startswith("Stopped: the whole agent")


def test_there_must_be_a_stop_to_lift(path: str, capsys: Capture) -> None:
    assert _stop(path, "--capability", "look_up") == 0
    assert _stop(path, "--lift") == 1
    assert "the whole agent is not stopped" in capsys.readouterr().out
    assert _stop(path, "--lift", "--capability", "look_up") == 0
    assert _stop(path, "--lift", "--capability", "look_up", "--json") == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"lifted": False, "capability": "look_up"}
    with Ledger.open(path, read_only=True) as ledger:
        assert len(ledger.controls()) == 2


def test_a_misspelt_capability_stops_nothing_and_says_so(path: str, tmp_path: Path, capsys: Capture) -> None:
    assert _stop(path, "--capability", "lookup") == 2
    assert "there is look_up, statistics" in capsys.readouterr().err
    law = tmp_path / "contract.yaml"
    law.write_text(LAW.replace("statistics:", "counting:"))
    assert _stop(path, "--capability", "statistics", "--contract", str(law)) == 2
    assert "contract.yaml" in capsys.readouterr().err
    assert _stop(path, "--capability", "counting", "--contract", str(law)) == 0


def test_before_the_first_run_the_name_cannot_be_checked(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "runs.db"
    Ledger.open(path).close()
    assert _stop(str(path), "--capability", "look_up") == 2
    assert "--contract FILE" in capsys.readouterr().err
    assert _stop(str(path)) == 0


def test_a_stop_needs_a_ledger_a_name_and_a_reason(path: str, tmp_path: Path, capsys: Capture) -> None:
    assert _stop(str(tmp_path / "other.db")) == 2
    assert "there is no ledger" in capsys.readouterr().err
    assert not (tmp_path / "other.db").exists()
    assert main(["stop", path, "--by", " ", "--because", "x"]) == 2
    assert "--by and --because must not be empty" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"notes to self, and no database at all"])
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path: Path, capsys: Capture, content: bytes) -> None:
    path = tmp_path / "z.db"
    path.write_bytes(content)
    assert _stop(str(path)) == 2
    told = capsys.readouterr()
    assert "Stopped" not in told.out
    assert str(path) in told.err
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["z.db"]


def test_a_ledger_that_nothing_was_written_to_can_be_stopped(tmp_path: Path, capsys: Capture) -> None:
    with Ledger.open(tmp_path / "new.db"):
        pass
    assert _stop(str(tmp_path / "new.db")) == 0
