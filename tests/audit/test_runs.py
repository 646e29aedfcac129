"""Runs of a ledger as recorded runs: what was said, called and returned, judged again to the same verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.gate.office import Office, law

import roadworthy.examples.desk as desk
from roadworthy import Contract, Ledger
from roadworthy.audit.derived import register
from roadworthy.audit.redecide import Redeciding
from roadworthy.audit.runs import recorded_run, recordings
from roadworthy.core.clock import VirtualClock
from roadworthy.examples.desk.agents.plain import agent
from roadworthy.trials.backtest import backtest
from roadworthy.trials.load import load_scenarios
from roadworthy.trials.runner import run_trials

DESK = Path(str(desk.__file__)).parent


def written(ledger: Ledger, file: Path) -> Path:
    lines = [json.dumps(one.line, default=str) for one in recordings(ledger)]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_recorded_runs_of_the_desk_come_to_the_same_rulings(tmp_path: Path) -> None:
    """As far as the form carries them: the runs have no facts that come later, no people and no simulated results."""
    contract = Contract.load(DESK / "contract.yaml")
    with Ledger.open(tmp_path / "runs.db") as ledger:
        run_trials(contract, agent, load_scenarios(DESK / "scenarios"), trials=1, ledger=ledger, level="autonomous")
        report = backtest(contract, written(ledger, tmp_path / "runs.jsonl"))
        assert not report.skipped
        compared = 0
        again = {run.run: run for run in report.runs}
        for found in Redeciding(ledger).runs():
            mine = [d for d in found.decisions if d.what == "verdict" and d.call is not None and "by" not in d.call]
            rulings = [d.was["ruling"] for d in mine if not d.again]
            assert [call.ruling for call in again[found.run].calls] == rulings, found.run
            compared += len(rulings)
        assert compared > 60


def test_what_was_never_done_is_named_and_told(tmp_path: Path) -> None:
    office = Office(tmp_path, law("role: lead"))
    with office.open:
        run = office.run()
        run.heard("my money back")
        run.call("find", {"no": "7"}, office.till.find, call_id="c1")
        assert run.call("wipe", {}, office.till.note, call_id="c2").status == "denied"
        run.say("I cannot do that.")
        line = recorded_run("r", office.gate.ledger.entries(run="r"), source="here").line
    assert line is not None
    roles = [message["role"] for message in line["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert line["messages"][2] == {
        "role": "tool",
        "tool_call_id": "c1",
        "content": '{"no":"7","remark":"none","total":"250.00"}',
    }
    assert "There is no tool 'wipe'" in line["messages"][4]["content"]
    meta: dict[str, Any] = line["meta"]
    assert (meta["blocked"], meta["capability"], meta["principal"]) == (["c2"], ["refunds"], "bot")


def test_calls_that_ran_side_by_side_stand_in_one_message(tmp_path: Path) -> None:
    office = Office(tmp_path, law("role: lead"))
    with office.open:
        run = office.run()

        def outer(text: str) -> str:
            office.note(run, "within")
            return "noted"

        run.call("note", {"text": "around"}, outer)
        line = recorded_run("r", office.gate.ledger.entries(run="r"), source="here").line
    assert line is not None
    assert [len(m.get("tool_calls", ())) for m in line["messages"]] == [2, 0, 0]


def test_a_file_is_registered_with_its_hash_and_its_runs(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("x", encoding="utf-8")
    at = VirtualClock().now()
    with Ledger.open(tmp_path / "runs.db") as ledger:
        body = register(ledger, file, what="report", at=at, runs=["r1", "r2"]).body
        assert (body["path"], body["runs"], len(body["sha256"])) == (str(file), ["r1", "r2"], 64)
        assert "runs" not in register(ledger, file, what="report", at=at, runs=[str(n) for n in range(501)]).body
        with pytest.raises(OSError, match="missing"):
            register(ledger, tmp_path / "missing", what="report", at=at)
