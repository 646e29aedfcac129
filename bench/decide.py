"""What one decision costs: eight frozen calls against ten rules, in a run of 20 (and of 200) earlier events.

    python bench/decide.py [--json] [--seconds S]

Each call is normalised and decided, as the gate does it; the ledger and the tool are left out, for they cost the same
whoever decides. Beside it the same job hand-written in Python, which is what a team would write at first: it checks
types and rules, and keeps no reasons. Both are timed in turn, in one run.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from roadworthy import Contract
from roadworthy.core.types import Action, Reason
from roadworthy.gate.decide import decide, find_tool, normalise
from roadworthy.gate.policy import policy_of
from roadworthy.gate.state import RunState

CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("refund", {"customer_id": "C123456", "amount": 45}, "allow"),
    ("refund", {"customer_id": "C123456", "amount": 250}, "ask"),
    ("refund", {"customer_id": "C123456", "amount": 5000}, "deny"),
    ("send_email", {"to": "ann@example.com", "body": "Your parcel is on its way."}, "allow"),
    ("send_email", {"to": "eve@evil.test", "body": "Your parcel is on its way."}, "deny"),
    ("send_email", {"to": "ann@example.com", "body": "Card 4111 1111 1111 1111 confirmed"}, "deny"),
    ("get_customer", {"customer_id": "C123456"}, "allow"),
    ("delete_customer", {"customer_id": "C123456"}, "deny"),
]
USER = "Please refund order 7 (45 euros) to customer C123456 and write to ann@example.com"
TOOLS = ("search_kb", "get_order", "read_web", "search_kb", "get_customer", "get_order", "search_kb", "get_order")
NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)


def gate(events: int) -> Callable[[str, dict[str, Any]], str]:
    """Our decision, in a run with this many events behind it (a call and its result are two)."""
    contract = Contract.load(Path(__file__).with_name("decide.yaml"))
    policy = policy_of(contract)
    state = RunState(policy, principal="bench", started=NOW, levels=policy.start_levels)
    state.open("care")
    state.hear(USER)
    for n in range(events // 2):
        tool = policy.tools[TOOLS[n % len(TOOLS)]]
        if tool.name == "get_customer":
            args, result = {"customer_id": "C123456"}, {"name": "Ann Lee", "email": "ann@example.com", "card": "4111"}
        else:
            args, result = {"query": f"query {n}"}, f"result {n} lorem ipsum dolor sit amet " * 8
        state.reserve(tool, args)
        state.observe(tool, args, "ok", "executed", result)

    def one(name: str, given: dict[str, Any]) -> str:
        tool = find_tool(policy, name)
        if isinstance(tool, Reason):
            return tool.ruling
        args = normalise(tool, given)
        if isinstance(args, Reason):
            return args.ruling
        action = Action(
            id="b#1", run="b", principal="bench", subject=None, capability="care", tool=tool.name, args=args,
            call_id=None, at=NOW,
        )  # fmt: skip
        return decide(policy, state, action, now=NOW).ruling

    return one


CARD = re.compile(r"(?:[0-9][ -]?){13,16}")
CUSTOMER = re.compile(r"C[0-9]{6}")


def handwritten() -> Callable[[str, dict[str, Any]], str]:
    """The same job as plain Python: the least that it can cost."""
    total, refunds, mails = 0, 0, 0

    def one(tool: str, args: dict[str, Any]) -> str:
        if tool == "delete_customer":
            return "deny"
        if tool == "refund":
            if not CUSTOMER.fullmatch(args["customer_id"]) or not isinstance(args["amount"], int | float):
                return "deny"
            if args["amount"] > 500 or total + args["amount"] > 800 or refunds >= 5 or "refund" not in USER.lower():
                return "deny"
            return "ask" if args["amount"] > 100 else "allow"
        if tool == "send_email":
            if args["to"].split("@")[-1] not in ("example.com", "partner.example"):
                return "deny"
            return "deny" if CARD.search(args["body"]) or mails >= 5 else "allow"
        return "allow" if tool in ("get_customer", "get_order", "search_kb", "read_web") else "deny"

    return one


def measure(jobs: dict[str, Callable[[str, dict[str, Any]], str]], seconds: float) -> dict[str, dict[str, float]]:
    """Microseconds by job: the median over the eight calls, and the median of the slowest of them; rounds in turn."""
    for name, job in jobs.items():
        wrong = [(tool, args, want, job(tool, args)) for tool, args, want in CALLS if job(tool, args) != want]
        if wrong:
            raise SystemExit(f"{name} decides wrongly: {wrong}")
    clock = time.perf_counter_ns
    taken: dict[str, list[list[int]]] = {name: [[] for _ in CALLS] for name in jobs}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, job in jobs.items():
            for _ in range(50):
                for n, (tool, args, _want) in enumerate(CALLS):
                    began = clock()
                    job(tool, args)
                    taken[name][n].append(clock() - began)
    return {
        name: {
            "p50": statistics.median(t for per in each for t in per) / 1000,
            "worst": max(statistics.median(per) for per in each) / 1000,
        }
        for name, each in taken.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=6.0)
    asked = parser.parse_args()
    found = measure({"20": gate(20), "200": gate(200), "handwritten": handwritten()}, asked.seconds)
    figures = {
        "p50_us_20": round(found["20"]["p50"], 2),
        "p50_us_200": round(found["200"]["p50"], 2),
        "worst_tool_us": round(found["20"]["worst"], 2),
        "handwritten_us": round(found["handwritten"]["p50"], 2),
    }
    if asked.json:
        print(json.dumps(figures))
    else:
        print(f"a decision after 20 events   {figures['p50_us_20']:7.2f} us (median over the 8 calls)")
        print(f"a decision after 200 events  {figures['p50_us_200']:7.2f} us")
        print(f"the slowest of the 8 calls   {figures['worst_tool_us']:7.2f} us (median, 20 events)")
        print(f"hand-written Python          {figures['handwritten_us']:7.2f} us")


if __name__ == "__main__":
    main()
