"""What does a contract written from a policy catch in real runs, whom does it disturb, and how fast is that told?

Judges 100 recorded runs of a model agent in tau-bench's shop (73 passed, 27 failed by its checker) by the contract in
`roadworthy/examples/retail`. The recordings are not part of this repository: they are looked for in
$ROADWORTHY_DATA/tau-retail, else in ../shared/data/tau-retail; without them the script says so and ends well.

With `--json` the last line is one JSON object: `runs`, `calls`, `failed_runs`, `failed_runs_interrupted`,
`passed_runs`, `passed_runs_interrupted`, `interrupted`, `interrupted_failed` (calls that the tool itself refused, too)
and `us_per_call` (the whole backtest, reading included); or `skipped` with the reason.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.resources import files
from pathlib import Path

from roadworthy.contract.model import Contract
from roadworthy.trials.backtest import backtest

DATA = Path(os.environ.get("ROADWORTHY_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
RUNS = DATA / "tau-retail" / "runs.jsonl"
FIGURES = (
    "runs", "calls", "failed_runs", "failed_runs_interrupted", "passed_runs", "passed_runs_interrupted",
    "interrupted", "interrupted_failed",
)  # fmt: skip
ROUNDS = 5


def measure() -> dict[str, object]:
    """The figures of the backtest, and the least time a call took over some rounds."""
    contract = Contract.load(Path(str(files("roadworthy.examples.retail"))) / "contract.yaml")
    report = backtest(contract, RUNS)
    took: list[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        backtest(contract, RUNS)
        took.append(time.perf_counter() - start)
    summary = report.summary()
    return {
        **{figure: summary[figure] for figure in FIGURES},
        "rules": summary["rules"],
        "us_per_call": round(min(took) / summary["calls"] * 1e6, 1),
    }


def main() -> int:
    """Print the figures, or why there are none."""
    if not RUNS.exists():
        reason = "the recorded runs are not there; name the folder that holds tau-retail/ in ROADWORTHY_DATA"
        print(f"skipped: {reason}")
        if "--json" in sys.argv[1:]:
            print(json.dumps({"skipped": reason}))
        return 0
    result = measure()
    print(
        f"{result['runs']} real runs, {result['calls']} tool calls: "
        f"{result['failed_runs_interrupted']} of {result['failed_runs']} failed runs caught, "
        f"{result['passed_runs_interrupted']} of {result['passed_runs']} passed runs disturbed; "
        f"{result['interrupted_failed']} of {result['interrupted']} interrupted calls were refused by the tool itself. "
        f"{result['us_per_call']} µs a call."
    )
    if "--json" in sys.argv[1:]:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
