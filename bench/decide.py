"""What one decision costs: eight frozen calls against ten rules, in a run of 20 (and of 200) earlier events.

    python bench/decide.py [--json] [--seconds S] [--no-peers]

Each call is normalised and decided as the gate does it, origins and flow included; the ledger and the tool are left
out, for they cost the same whoever decides. Beside it the same job hand-written in Python, which is what a team would
write at first: it checks types and rules, and keeps neither reasons nor origins. Other gates stand beside it where they
are installed (`make bench-peers`), each with the calls that it decides otherwise. All are timed in turn, in one run.
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

from _decide_job import CALLS, USER, history
from _decide_peers import peers
from roadworthy import Contract
from roadworthy.core.types import Action, Reason
from roadworthy.gate.decide import decide, find_tool, normalise
from roadworthy.gate.policy import policy_of
from roadworthy.gate.state import RunState

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
Job = Callable[[str, dict[str, Any]], str]
_TURN_NS = 4_000_000
"""How long one job is timed before the next has its turn; slower ones do the eight calls once."""


def gate(events: int) -> Job:
    """Our decision, in a run with this many events behind it (a call and its result are two)."""
    contract = Contract.load(Path(__file__).with_name("decide.yaml"))
    policy = policy_of(contract)
    state = RunState(policy, principal="bench", started=NOW, levels=policy.start_levels)
    state.open("care")
    state.hear(USER)
    for name, args, result in history(events):
        tool = policy.tools[name]
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


def handwritten() -> Job:
    """The same job as plain Python: the least that it can cost."""
    total, refunds, mails = 0, 0, 0
    known = {"ann@example.com"}

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
            if args["to"] not in known:
                return "deny"
            return "deny" if CARD.search(args["body"]) or mails >= 5 else "allow"
        return "allow" if tool in ("get_customer", "get_order", "search_kb", "read_web") else "deny"

    return one


def otherwise(job: Job, says: dict[str, str] | None = None) -> list[str]:
    """The calls that a job decides in another way than they are meant."""
    wrong: list[str] = []
    for number, (tool, args, want) in enumerate(CALLS, 1):
        got = job(tool, args)
        if got != (says or {}).get(want, want):
            wrong.append(f"{number} {tool}: {got}, not {want}")
    return wrong


def measure(jobs: dict[str, Job], seconds: float) -> dict[str, dict[str, float]]:
    """Microseconds by job: the median over the eight calls, and the median of the slowest of them; rounds in turn."""
    clock = time.perf_counter_ns
    taken: dict[str, list[list[int]]] = {name: [[] for _ in CALLS] for name in jobs}
    passes: dict[str, int] = {}
    for name, job in jobs.items():
        for tool, args, _ in CALLS * 3:  # caches fill before anything is timed
            job(tool, args)
        began = clock()
        for tool, args, _ in CALLS:
            job(tool, args)
        passes[name] = max(1, min(50, _TURN_NS // (clock() - began)))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, job in jobs.items():
            for _ in range(passes[name]):
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--no-peers", action="store_true")
    asked = parser.parse_args()
    jobs = {"20": gate(20), "200": gate(200), "handwritten": handwritten()}
    for name, job in jobs.items():
        if wrong := otherwise(job):
            raise SystemExit(f"{name} decides wrongly: {wrong}")
    others, missing = ({}, {}) if asked.no_peers else peers()
    differs = {name: otherwise(peer.decide, dict(peer.says)) for name, peer in others.items()}
    found = measure({**jobs, **{name: peer.decide for name, peer in others.items()}}, asked.seconds)
    ours = found["20"]["p50"]
    figures: dict[str, Any] = {
        "p50_us_20": round(ours, 2),
        "p50_us_200": round(found["200"]["p50"], 2),
        "ratio_200": round(found["200"]["p50"] / ours, 3),
        "worst_tool_us": round(found["20"]["worst"], 2),
        "handwritten_us": round(found["handwritten"]["p50"], 2),
        "peers": {
            name: {
                "p50_us": round(found[name]["p50"], 1),
                "times_ours": round(found[name]["p50"] / ours, 1),
                "decides_otherwise": differs[name],
                "note": peer.note,
            }
            for name, peer in others.items()
        },
        "peers_missing": missing,
    }
    if asked.json:
        print(json.dumps(figures))
        return
    print(f"a decision after 20 events   {ours:9.2f} us (median over the 8 calls)")
    print(f"a decision after 200 events  {figures['p50_us_200']:9.2f} us ({figures['ratio_200']:.2f} times that)")
    print(f"the slowest of the 8 calls   {figures['worst_tool_us']:9.2f} us (median, 20 events)")
    print(f"hand-written Python          {figures['handwritten_us']:9.2f} us")
    for name, peer in figures["peers"].items():
        print(f"{name:40} {peer['p50_us']:9.1f} us  {peer['times_ours']:7.1f} times ours; {peer['note']}")
        for wrong in peer["decides_otherwise"]:
            print(f"{'':40} decides otherwise: {wrong}")
    if missing:
        print("not measured: " + ", ".join(f"{name} {why}" for name, why in missing.items()))


if __name__ == "__main__":
    main()
