"""A run survives kill -9 at any point: each effect exactly once, or in doubt and handed to a person."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KILLS = int(os.environ.get("ROADWORTHY_KILLS", "12"))
"""How often the job is killed; many in `make nightly`."""

LAW = """
roadworthy: 1
agent: refund-bot
version: "1"
goal: Give people their money back.
owner: {team: Care, accountable: lead}
types:
  Money: {type: decimal, unit: EUR, min: "0.01", max: "500.00"}
tools:
  find:
    effect: read
    args: {order_no: string}
    returns: {order_no: string, status: {type: string, enum: [lost, refunded]}}
  refund:
    effect: write
    args: {order_no: string, amount: Money}
    returns: {refund_no: string}
    SETTLED
  note: {effect: write, args: {order_no: string}, returns: string}
capabilities:
  refunds:
    means: A parcel was lost.
    tools: [find, refund, note]
    autonomy: {start: autonomous, ceiling: autonomous, approver: lead}
    success: [{id: some, check: count.refund >= 1}]
rules:
  - id: large
    tools: [refund]
    when: args.amount > 100.00
    then: ask
    ask: {role: lead, meanwhile: suspend}
    because: Large refunds are signed.
escalate: {to: lead, on: [in_doubt, diverged]}
"""
SETTLED = """idempotent: {key: [order_no], passed_as: request_id, scope: forever}
    lookup: {tool: find, done_when: 'result.status == "refunded"'}"""


def killed(folder: Path, law: str, seed: int, kills: int) -> dict[str, Any]:
    (folder / "contract.yaml").write_text(law)
    script = Path(__file__).with_name("dying.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(seed), str(kills)],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def once_or_handed_over(ended: dict[str, Any]) -> None:
    """No effect twice; what is missing was handed to a person."""
    assert ended["killed"], "nothing was tried"
    assert all(count == 1 for count in (*ended["payments"].values(), *ended["notes"].values())), ended
    everything = {"1", "2", "3", "4"}
    if set(ended["payments"]) == set(ended["notes"]) == everything and not ended["handed_over"]:
        assert ended["status"] == "closed", ended
    else:
        assert ended["status"] == "escalated", ended
        assert ended["doubts"], ended
        assert ended["handed_over"] >= 1, ended


@pytest.mark.parametrize("seed", [1, 2])
def test_what_cannot_be_settled_is_done_once_or_handed_over(tmp_path: Path, seed: int) -> None:
    once_or_handed_over(killed(tmp_path, LAW.replace("    SETTLED\n", ""), seed, KILLS))


@pytest.mark.parametrize("seed", [2, 3])
def test_what_can_be_settled_is_done_just_once(tmp_path: Path, seed: int) -> None:
    ended = killed(tmp_path, LAW.replace("SETTLED", SETTLED), seed, KILLS)
    once_or_handed_over(ended)
    assert "refund" in ended["doubts"], "these seeds kill it while it pays"
    if "note" not in ended["doubts"]:
        assert ended["payments"] == dict.fromkeys(("1", "2", "3", "4"), 1), ended
        assert ended["status"] == "closed", ended


def test_nobody_kills_it_and_it_ends(tmp_path: Path) -> None:
    ended = killed(tmp_path, LAW.replace("SETTLED", SETTLED), 0, 0)
    assert ended["payments"] == ended["notes"] == dict.fromkeys(("1", "2", "3", "4"), 1)
    assert (ended["status"], ended["killed"], ended["handed_over"]) == ("closed", 0, 0)
