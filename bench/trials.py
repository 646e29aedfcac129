"""What does a trial cost?

Runs the plain desk agent through all scenarios of the desk: world reset, simulated user, gate, tools, framed diff,
success checks and a ledger on disk included, in one process. The figure is CPU time of this process, user and system,
all threads, by trial; start-up is left out (everything has run once before). With `--json` the last line is one JSON
object: `cpu_ms_per_trial`, `rss_mb` (the most memory that was resident), `trials`, `wall_ms_per_trial`,
`entries_per_trial`, `gate_calls_per_trial` and `cpu_ms_best` (of 5 rounds, the least disturbed one).
`--trials N` runs so many trials instead of about 4,000; `--agent`, `--contract` and `--scenarios` measure other ones.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import roadworthy.examples.desk
from roadworthy.contract.model import Contract
from roadworthy.ledger.store import Ledger
from roadworthy.trials.load import load_scenarios
from roadworthy.trials.results import TestReport
from roadworthy.trials.runner import run_trials

DESK = Path(roadworthy.examples.desk.__file__).parent
ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One measured test."""

    cpu_s: float
    wall_s: float
    report: TestReport


def measure(contract_file: Path, agent: str, scenario_folder: Path, trials: int) -> dict[str, float | int]:
    """The cost of a trial, over `ROUNDS` tests of `trials` trials in all."""
    contract = Contract.load(contract_file)
    scenarios = load_scenarios(scenario_folder, contract=contract)
    each = max(1, trials // (len(scenarios) * ROUNDS))
    run_trials(contract, agent, scenarios, trials=1)
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "bench.db") as ledger:
        for seed in range(ROUNDS):
            cpu, wall = time.process_time(), time.perf_counter()
            report = run_trials(contract, agent, scenarios, trials=each, seed=seed, ledger=ledger)
            rounds.append(Round(cpu_s=time.process_time() - cpu, wall_s=time.perf_counter() - wall, report=report))
        entries = sum(1 for _ in ledger.entries())
    if any(t.status == "error" for r in rounds for t in r.report.trials):
        raise SystemExit("a trial was an ERROR, so nothing was measured")
    total = sum(len(r.report.trials) for r in rounds)
    calls = sum(t.calls for r in rounds for t in r.report.trials)
    by_round = [r.cpu_s / len(r.report.trials) * 1000 for r in rounds]
    return {
        "cpu_ms_per_trial": round(statistics.median(by_round), 3),
        "cpu_ms_best": round(min(by_round), 3),
        "wall_ms_per_trial": round(sum(r.wall_s for r in rounds) / total * 1000, 3),
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "trials": total,
        "entries_per_trial": round(entries / total, 1),
        "gate_calls_per_trial": round(calls / total, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What does a trial cost?")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--trials", type=int, default=4000)
    parser.add_argument("--contract", type=Path, default=DESK / "contract.yaml")
    parser.add_argument("--agent", default="roadworthy.examples.desk.agents.plain:agent")
    parser.add_argument("--scenarios", type=Path, default=DESK / "scenarios")
    given = parser.parse_args()
    result = measure(given.contract, given.agent, given.scenarios, given.trials)
    print(
        f"a trial: {result['cpu_ms_per_trial']} ms CPU (median of {ROUNDS} rounds; best {result['cpu_ms_best']}), "
        f"{result['wall_ms_per_trial']} ms wall, {result['gate_calls_per_trial']} tool calls, "
        f"{result['entries_per_trial']} ledger entries; {result['rss_mb']} MB after {result['trials']} trials"
    )
    if given.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
