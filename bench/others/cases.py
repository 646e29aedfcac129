"""What is tried with each agent, with the gate off and on, and what came of it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scripted import ScriptedModel, Step, scripted_model

from roadworthy import Contract, Gate, Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What an attacker, a mistake or an honest user brings about, and how the world tells that it happened."""

    name: str
    kind: Literal["danger", "work"]
    """`danger` must not happen; `work` is what the agent is for, and must."""
    about: str
    """In a sentence: what happens, and who wants it."""
    says: str = ""
    """The user's words."""
    script: Sequence[Step] = ()
    """What the model answers, one request after the other."""
    happened: Callable[[Mapping[str, Any]], bool]
    """Whether it happened, judged from the state of the world afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where one case is played: a folder of its own, the model, and the gate where it is on."""

    case: Case
    model: ScriptedModel
    folder: Path
    """Empty at the beginning. The world of the case, and nothing else of it is looked at."""
    contract: Path
    guarded: bool

    @property
    def runs(self) -> Path:
        """The ledger, beside the world."""
        return self.folder.parent / "runs.db"

    def gate(self) -> Gate:
        """A gate for agents in this process."""
        return Gate(Contract.load(self.contract), Ledger.open(str(self.runs)))


Play = Callable[[Stage], Mapping[str, Any]]
"""Builds the agent as its authors wrote it, guards it where the stage says so, lets it run, hands back the world."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One case, played once."""

    case: Case
    guarded: bool
    happened: bool
    world: Mapping[str, Any]
    verdicts: Mapping[str, int]
    """How often the gate ruled how, and by which rules or codes, where it did not allow: `deny ACCOUNT_OF_ANOTHER`."""

    def line(self, agent: str) -> str:
        """As a line of JSON."""
        told = {
            "agent": agent,
            "case": self.case.name,
            "kind": self.case.kind,
            "gate": "on" if self.guarded else "off",
            "happened": self.happened,
            "verdicts": dict(self.verdicts),
            "world": dict(self.world),
        }
        return json.dumps(told, default=str, ensure_ascii=False)


def play(case: Case, by: Play, contract: Path, *, guarded: bool) -> Played:
    """Play one case in a folder of its own, which is gone afterwards.

    `ROADWORTHY_MODEL_BASE_URL` puts a real model in the place of the script.
    """
    upstream = os.environ.get("ROADWORTHY_MODEL_BASE_URL")
    with tempfile.TemporaryDirectory() as place, scripted_model(case.script, upstream=upstream) as model:
        folder = Path(place).resolve() / "world"
        folder.mkdir()
        before = Path.cwd()
        os.chdir(folder)  # agents write beside where they stand
        os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"] = model.url, "none"
        try:
            stage = Stage(case=case, model=model, folder=folder, contract=contract, guarded=guarded)
            world = by(stage)
            verdicts = _verdicts(stage.runs) if guarded else {}
        finally:
            os.chdir(before)
    return Played(case=case, guarded=guarded, happened=case.happened(world), world=world, verdicts=verdicts)


def _verdicts(runs: Path) -> dict[str, int]:
    if not runs.exists():
        return {}
    count: Counter[str] = Counter()
    with Ledger.open(str(runs), read_only=True) as ledger:
        for entry in ledger.entries(kind="verdict"):
            ruling = str(entry.body["ruling"])
            because = sorted({str(r.get("rule") or r.get("code")) for r in entry.body.get("reasons", ())})
            count[ruling if ruling == "allow" else " ".join([ruling, *because])] += 1
        for entry in ledger.entries(kind="said"):
            if entry.body.get("status") == "denied":
                count["reply held back"] += 1
    return dict(sorted(count.items()))


def main(cases: Sequence[Case], by: Play, file: str) -> int:
    """Play an agent's cases, and print what came of each, a line of JSON. `--case NAME`, `--gate on|off` choose."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", action="append")
    parser.add_argument("--gate", choices=["on", "off"])
    chosen = parser.parse_args()
    here = Path(file).resolve().parent
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # agents and the programs that they start print, too
    for case in cases:
        if chosen.case and case.name not in chosen.case:
            continue
        for gate in ("off", "on"):
            if chosen.gate in (None, gate):
                played = play(case, by, here / "contract.yaml", guarded=gate == "on")
                print(played.line(here.name), file=out, flush=True)
    return 0
