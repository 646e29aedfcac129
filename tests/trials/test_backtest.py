"""Recorded runs through the gate's decision: what is heard, observed, counted and judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from roadworthy.contract.model import Contract
from roadworthy.core.errors import UsageError
from roadworthy.trials.backtest import BacktestReport, JudgedCall, backtest

CONTRACT = """
roadworthy: 1
agent: refund-bot
version: "1"
goal: Give people their money back.
owner: {team: Care, accountable: care-lead}
subject: {entity: shop.Customer, established_by: [find_customer]}
facts: {tier: {type: string, enum: [standard, gold]}}
entities:
  shop.Customer: {key: customer_no, pattern: "C[0-9]+"}
  shop.Order: {key: order_no}
tools:
  find_customer: {effect: read, args: {email: string}, returns: shop.Customer, fails_when: 'text.startsWith("Error:")'}
  orders.of: {effect: read, args: {customer_no: shop.Customer}, returns: {orders: {type: array, items: shop.Order}}}
  orders.get:
    effect: read
    args: {order_no: {type: shop.Order, of: anyone}}
    returns: {order_no: shop.Order, customer_no: shop.Customer, status: {type: string, enum: [open, lost]}}
  orders.refund:
    effect: write
    args: {order_no: shop.Order, amount: {type: decimal, max: "100.00"}}
    returns: {refund_no: string}
    fails_when: 'text.startsWith("Error:")'
  hand_over: {effect: write, args: {reason: string}, returns: string}
common: [find_customer]
capabilities:
  refunds: {means: Refund., tools: [orders.of, orders.get, orders.refund], autonomy: {approver: care-lead}}
  looking: {means: Look., tools: [orders.of, orders.get]}
rules:
  - id: only-lost
    tools: [orders.refund]
    with: {order: {call: orders.get, same: [order_no]}}
    when: order.status != "lost"
    then: deny
    because: Only lost parcels.
  - {id: one-refund, tools: [orders.refund], when: count.orders.refund >= 1, then: deny, because: One is enough.}
  - {id: asked-for, tools: [orders.refund], when: '!heard.contains("refund")', then: clarify, because: Nobody asked.}
  - {id: gold, tools: [orders.refund], when: args.amount > 50.00, unless: facts.tier == "gold", then: ask, because: No.}
principals:
  bot: {capabilities: [refunds, looking]}
  viewer: {capabilities: [looking]}
escalate: {to: care-lead, tool: hand_over}
"""
LAW = Contract.loads(CONTRACT)
ORDER = {"order_no": "1", "customer_no": "C1", "status": "lost"}
Turn = tuple[str, Any, Any] | str
FIND: Turn = ("find_customer", {"email": "ada@example.com"}, "C1")
GET: Turn = ("orders_get", {"order_no": "1"}, ORDER)
REFUND: Turn = ("orders_refund", {"order_no": "1", "amount": "42.00"}, {"refund_no": "R"})


def line(turns: Sequence[Turn], **more: Any) -> dict[str, Any]:
    """A recorded run: text is what the user said, a triple a call with its result (None: there is none)."""
    messages: list[dict[str, Any]] = []
    for number, turn in enumerate(turns):
        if isinstance(turn, str):
            messages.append({"role": "user", "content": turn})
            continue
        name, args, result = turn
        function = {"name": name, "arguments": args if isinstance(args, str) else json.dumps(args)}
        calls = [{"id": f"c{number}", "type": "function", "function": function}]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        if result is not None:
            content = result if isinstance(result, str) else json.dumps(result)
            messages.append({"role": "tool", "tool_call_id": f"c{number}", "content": content})
    return {"run": "r", "messages": messages, **more}


def judged(tmp_path: Path, *lines: dict[str, Any], **options: Any) -> BacktestReport:
    path = tmp_path / "runs.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in lines), encoding="utf-8")
    return backtest(LAW, path, now=datetime(2026, 1, 1, tzinfo=UTC), **options)


def calls(tmp_path: Path, *turns: Turn, **more: Any) -> list[JudgedCall]:
    report = judged(tmp_path, line(turns, **more))
    assert not report.skipped, report.skipped[0].text
    return list(report.calls)


def rulings(found: Sequence[JudgedCall]) -> list[str]:
    return [f"{c.ruling} {c.rule}" if c.rule else c.ruling for c in found]


def test_a_run_that_keeps_the_contract_is_left_alone(tmp_path: Path) -> None:
    found = calls(tmp_path, "please refund order 1", FIND, GET, REFUND)
    assert rulings(found) == ["allow", "allow", "allow"]
    assert [c.as_json() for c in found][2] == {
        "run": "r",
        "call_id": "c3",
        "tool": "orders.refund",
        "ruling": "allow",
        "rule": None,
        "why": "",
    }


def test_user_messages_are_heard_and_others_are_not(tmp_path: Path) -> None:
    run = line(["hello", FIND, GET, REFUND])
    run["messages"].insert(1, {"role": "assistant", "content": "Shall I refund it?"})
    run["messages"].insert(1, {"role": "system", "content": "refund"})
    assert rulings(list(judged(tmp_path, run).calls))[-1] == "clarify asked-for"
    assert rulings(calls(tmp_path, "hello", FIND, GET, "a refund please", REFUND))[-1] == "allow"


def test_the_subject_comes_from_the_look_up_or_from_meta(tmp_path: Path) -> None:
    found = calls(tmp_path, "refund 1", GET, REFUND)
    assert rulings(found) == ["deny access", "deny access"]
    assert "find_customer" in found[0].why
    assert rulings(calls(tmp_path, "refund 1", GET, REFUND, meta={"subject": "C1"})) == ["allow", "allow"]
    strangers = {**ORDER, "customer_no": "C2"}
    found = calls(tmp_path, "refund 1", ("orders_get", {"order_no": "1"}, strangers), REFUND, meta={"subject": "C1"})
    assert rulings(found) == ["allow", "deny access"]


def test_a_second_customer_is_withheld(tmp_path: Path) -> None:
    other: Turn = ("find_customer", {"email": "bob@example.com"}, "C2")
    found = calls(tmp_path, "refund 1", FIND, other, GET, REFUND)
    assert rulings(found) == ["allow", "deny access", "allow", "allow"]
    assert "C1" in found[1].why


def test_results_are_observed_also_where_the_call_was_ruled_out(tmp_path: Path) -> None:
    """The rest of the recorded conversation rests on them, and what was done was done."""
    early: Turn = ("orders.get", {"order_no": "1"}, ORDER)
    assert rulings(calls(tmp_path, "refund 1", early, FIND, REFUND)) == ["deny access", "allow", "deny access"]
    assert rulings(calls(tmp_path, "1", FIND, GET, REFUND, "refund 1", REFUND)) == [
        "allow",
        "allow",
        "clarify asked-for",
        "deny one-refund",
    ]


def test_a_result_that_says_it_failed_counts_for_nothing(tmp_path: Path) -> None:
    failed: Turn = ("orders.refund", {"order_no": "1", "amount": "42.00"}, "Error: try again")
    found = calls(tmp_path, "refund 1", FIND, GET, failed, REFUND, REFUND)
    assert rulings(found)[2:] == ["allow", "allow", "deny one-refund"]
    assert [c.failed for c in found] == [False, False, True, False, False]
    nobody: Turn = ("find_customer", {"email": "x"}, "Error: user not found")
    assert rulings(calls(tmp_path, "refund 1", nobody, FIND, GET, REFUND)) == ["allow"] * 4


def test_a_call_without_a_result_is_counted(tmp_path: Path) -> None:
    """Nobody knows that it was not done."""
    lost: Turn = ("orders.refund", {"order_no": "1", "amount": "42.00"}, None)
    assert rulings(calls(tmp_path, "refund 1", FIND, GET, lost, REFUND))[-1] == "deny one-refund"


def test_what_the_gate_would_not_even_judge_is_denied(tmp_path: Path) -> None:
    found = calls(
        tmp_path,
        "refund",
        FIND,
        GET,
        ("orders_refnd", {"order_no": "1"}, "ok"),
        ("orders_refund", {"order_no": "1", "amount": "5,000"}, "Error: amount"),
        ("orders_refund", {"order_no": "1", "amount": "142.00"}, "Error: amount"),
        ("orders_refund", '{"order_no": ', "Error: arguments"),
        REFUND,
    )
    assert rulings(found)[2:] == ["deny access", "deny values", "deny values", "deny values", "allow"]
    assert found[2].tool == "orders_refnd"


def test_approvals_count_as_not_given(tmp_path: Path) -> None:
    much: Turn = ("orders.refund", {"order_no": "1", "amount": "60.00"}, {"refund_no": "R"})
    assert rulings(calls(tmp_path, "refund 1", FIND, GET, much, meta={"facts": {"tier": "standard"}}))[-1] == "ask gold"
    assert rulings(calls(tmp_path, "refund 1", FIND, GET, much, meta={"facts": {"tier": "gold"}}))[-1] == "allow"
    unknown = calls(tmp_path, "refund 1", FIND, GET, much)[-1]
    assert rulings([unknown]) == ["deny gold"]
    assert "tier is missing" in unknown.why


def test_the_level_is_autonomous_unless_told(tmp_path: Path) -> None:
    run = line(["refund 1", FIND, GET, REFUND])
    assert [rulings(list(judged(tmp_path, run, level=level).calls))[-1] for level in ("approval", "shadow")] == [
        "ask level",
        "allow",
    ]
    with pytest.raises(UsageError, match="autonomous"):
        judged(tmp_path, run, level="full")


def test_capabilities_come_from_meta_or_all_are_open(tmp_path: Path) -> None:
    for capability in ("looking", ["looking"]):
        found = calls(tmp_path, "refund 1", FIND, GET, REFUND, meta={"capability": capability})
        assert rulings(found) == ["allow", "allow", "deny access"]
    found = calls(tmp_path, "refund 1", FIND, GET, REFUND, meta={"principal": "viewer"})
    assert rulings(found)[-1] == "deny access"


def test_after_a_hand_over_the_run_is_over(tmp_path: Path) -> None:
    over: Turn = ("hand_over", {"reason": "angry"}, "done")
    assert rulings(calls(tmp_path, "refund 1", over, FIND, GET)) == ["allow", "deny access", "deny access"]


def test_parallel_calls_see_each_other(tmp_path: Path) -> None:
    run = line(["refund 1", FIND, GET, REFUND, REFUND])
    *before, first, _, second, result = run["messages"]
    first["tool_calls"] += second["tool_calls"]
    run["messages"] = [*before, first, {**result, "tool_call_id": "c4"}, {**result, "tool_call_id": "c3"}]
    assert rulings(list(judged(tmp_path, run).calls))[2:] == ["allow", "deny one-refund"]


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"capability": "refnds"}, "no capability 'refnds'"),
        ({"principal": "nobody"}, "no principal 'nobody'"),
        ({"principal": "viewer", "capability": "refunds"}, "may not use"),
        ({"facts": {"tier": "platinum"}}, "facts do not fit"),
        ({"facts": [1]}, "facts do not fit"),
        ({"subject": 5}, "names a subject"),
    ],
    ids=str,
)
def test_a_line_whose_meta_does_not_fit_is_skipped_and_the_others_are_judged(
    tmp_path: Path, meta: dict[str, Any], said: str
) -> None:
    run = line(["refund 1", FIND])
    report = judged(tmp_path, {**run, "meta": meta}, {**run, "run": "s"})
    assert [one.run for one in report.runs] == ["s"]
    assert [(one.line, said in one.text) for one in report.skipped] == [(1, True)]


def test_the_summary_counts_runs_by_how_they_ended(tmp_path: Path) -> None:
    good, bad = ["refund 1", FIND, GET, REFUND], ["hello 1", FIND, GET, REFUND, REFUND]
    report = judged(
        tmp_path,
        line(good, passed=True),
        line(bad, passed=True) | {"run": "s"},
        line(bad, passed=False) | {"run": "t"},
        line(good, passed=False) | {"run": "u"},
        line(bad) | {"run": "v"},
    )
    summary = report.summary()
    assert summary["rules"] == {
        "asked-for": {"calls": 3, "failed_runs": 1, "passed_runs": 1},
        "one-refund": {"calls": 3, "failed_runs": 1, "passed_runs": 1},
    }
    expected = {
        "runs": 5,
        "skipped": 0,
        "calls": 18,
        "allow": 12,
        "clarify": 3,
        "ask": 0,
        "deny": 3,
        "interrupted_runs": 3,
        "failed_runs": 2,
        "failed_runs_interrupted": 1,
        "passed_runs": 2,
        "passed_runs_interrupted": 1,
    }
    assert {key: summary[key] for key in expected} == expected
    assert "failed_runs" not in judged(tmp_path, line(good)).summary()


def test_a_contract_may_be_given_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "contract.yaml").write_text(CONTRACT, encoding="utf-8")
    (tmp_path / "runs.jsonl").write_text(json.dumps(line(["refund 1", FIND])), encoding="utf-8")
    assert backtest(tmp_path / "contract.yaml", tmp_path / "runs.jsonl").summary()["allow"] == 1
