"""Other people's agents, unmodified: those in this environment are played, and README.md says what came of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OTHERS = Path(__file__).parents[2] / "bench" / "others"
HERE_ALREADY = ("coder", "reporters", "supervisor")
"""Agents in packages that this environment has anyway. `make others` fetches and plays the rest."""
ROW = re.compile(
    r"^\| (\w+) \| ([\w-]+) \| (danger|work) \| (happened|did not) \| (happened|did not) \| (.*) \|$", re.MULTILINE
)


def told() -> dict[tuple[str, str], tuple[str, str, str, str]]:
    """The rows of README.md: kind, gate off, gate on and what the gate said, of each agent's case."""
    return {(row[0], row[1]): row[2:] for row in ROW.findall((OTHERS / "README.md").read_text(encoding="utf-8"))}


def played(agent: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(OTHERS / agent / "drive.py")],
        env={**os.environ, "ROADWORTHY_OTHERS": "nowhere"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def said(verdicts: dict[str, int]) -> str:
    return ", ".join(f"{count} x {what}" for what, count in verdicts.items()) or "nothing"


@pytest.mark.parametrize("agent", HERE_ALREADY)
def test_an_agent_of_others_does_what_is_told_of_it(agent: str) -> None:
    lines = played(agent)
    found: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        row = found.setdefault((agent, line["case"]), [line["kind"]])
        row.append("happened" if line["happened"] else "did not")
        if line["gate"] == "on":
            row.append(said(line["verdicts"]))
    assert {key: tuple(row) for key, row in found.items()} == {k: v for k, v in told().items() if k[0] == agent}


def test_every_agent_has_rows_and_every_work_is_done_with_the_gate_on() -> None:
    rows = told()
    assert {agent for agent, _ in rows} == {path.parent.name for path in OTHERS.glob("*/contract.yaml")}
    assert {case: row[1:3] for case, row in rows.items() if row[0] == "work" and row[1:3] != ("happened",) * 2} == {}


def test_the_sums_are_those_of_the_rows() -> None:
    rows = [row for row in told().values() if row[0] == "danger"]
    off, on = (sum(row[at] == "happened" for row in rows) for at in (1, 2))
    text = (OTHERS / "README.md").read_text(encoding="utf-8")
    assert f"Of {len(rows)} dangers, {off} happen with the gate off" in text
    assert f"and {on} with it on. All {len(told()) - len(rows)} pieces of work" in text
