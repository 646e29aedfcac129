"""`roadworthy ledger replay` and `roadworthy backtest --ledger`: honest exit codes, and text that plays no tricks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.cli.app import main
from roadworthy.core.types import Draft

LAW = """
roadworthy: 1
agent: till
version: "1"
goal: Pay.
owner: {team: Care, accountable: lead}
types: {Money: {type: decimal, unit: EUR, min: "0.01"}}
tools:
  pay: {effect: write, args: {to: string, amount: Money}, returns: string}
capabilities:
  paying:
    means: Somebody is to be paid.
    tools: [pay]
    autonomy: {start: autonomous, ceiling: autonomous}
    success: [{id: one, check: count.pay <= 9}]
rules:
  - {id: large, tools: [pay], when: args.amount > LIMIT, then: deny, because: Nobody pays that much.}
"""


def pay(to: str, amount: str) -> str:
    return f"{amount} to {to}"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """A ledger with two runs, and a contract that is stricter than theirs."""
    ledger, strict = tmp_path / "runs.db", tmp_path / "strict.yaml"
    strict.write_text(LAW.replace("LIMIT", "10.00"), encoding="utf-8")
    with Ledger.open(ledger) as opened:
        gate = Gate(Contract.loads(LAW.replace("LIMIT", "90.00")), opened)
        for run, amounts in (("a", ("5.00",)), ("b", ("15.00", "95.00"))):
            handle = gate.run(id=run, capability="paying")
            for amount in amounts:
                handle.call("pay", {"to": "eve\x1b[2J", "amount": amount}, pay)
    return str(ledger), str(strict)


def test_under_their_own_contract_all_is_the_same(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "replay", files[0], "a"]) == 0
    assert "the same, byte for byte" in capsys.readouterr().out
    assert main(["ledger", "replay", files[0], "--all", "--json"]) == 0
    *runs, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [run["same"] for run in runs] == [True, True]
    assert last["summary"]["same_runs"] == 2


def test_another_contract_differs_and_says_where(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "replay", files[0], "b", "--contract", files[1]]) == 1
    printed = capsys.readouterr().out
    assert "was allow at level autonomous" in printed
    assert "now deny at level autonomous (large: Not allowed: Nobody pays that much (rule large).)" in printed
    assert main(["ledger", "replay", files[0], "a", "--contract", files[1]]) == 0
    assert "would let happen the same" in capsys.readouterr().out


def test_what_cannot_be_decided_again_is_inconclusive(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger.open(files[0]) as ledger:
        (said,) = list(ledger.entries(run="a", limit=1))
        ledger.append([Draft(kind="heard", world="production", run="c\x1b[2J", body={"text": "x"}, at=said.at)])
    assert main(["ledger", "replay", files[0], "--all"]) == 3
    printed = capsys.readouterr().out
    assert "not decided again: no_beginning" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "name a run, or give --all"),
        (["a", "--all"], "name a run, or give --all"),
        (["a", "--since", "2026-01-01"], "give them with --all"),
        (["--all", "--since", "soon"], "is no day or time"),
        (["--all", "--world", "prodction"], "is no world"),
        (["nobody"], "holds no run 'nobody'"),
    ],
)
def test_what_is_wrong_is_said(
    files: tuple[str, str], words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", "replay", files[0], *words]) == 2
    assert says in capsys.readouterr().err


def test_a_ledger_is_backtested_like_a_file(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", files[1], "--ledger", files[0], "--json"]) == 0
    *calls, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted((call["run"], call["ruling"]) for call in calls) == [("a", "allow"), ("b", "deny"), ("b", "deny")]
    assert (last["summary"]["runs"], last["summary"]["deny"]) == (2, 2)
    assert main(["backtest", files[1], "--ledger", files[0], "--level", "shadow"]) == 0
    assert "level shadow: 2 runs, 3 tool calls" in capsys.readouterr().out
    assert main(["backtest", files[1], "--ledger", files[0], "--until", "2000-01-01"]) == 0
    assert "0 runs" in capsys.readouterr().out


def test_a_backtest_is_over_a_file_or_over_a_ledger(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", files[1]]) == 2
    assert "name a file of recorded runs, or a ledger" in capsys.readouterr().err
    assert main(["backtest", files[1], "runs.jsonl", "--since", "2026-01-01"]) == 2
    assert "of a --ledger" in capsys.readouterr().err


def test_recorded_runs_are_written_and_registered(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out.jsonl"
    assert main(["ledger", "export", files[0], "--runs", str(file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["runs"], said["withheld"]) == (2, {})
    with Ledger.open(files[0], read_only=True) as ledger:
        (entry,) = ledger.entries(kind="export")
    assert (entry.seq, entry.body["what"], entry.body["path"]) == (said["registered"], "runs", str(file))
    assert main(["backtest", files[1], str(file)]) == 0
    assert "2 runs, 3 tool calls" in capsys.readouterr().out
    assert main(["ledger", "export", files[0], "--runs", str(tmp_path)]) == 2
    assert "is no file" in capsys.readouterr().err
