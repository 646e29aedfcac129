"""What trials leave behind: one `TrialResult` each, one `TestReport` for all.

Everything here is plain data. The text, JSON, JUnit and HTML reports are made from it and from nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar, Literal

import orjson

from roadworthy.core.types import Level, Ruling
from roadworthy.trials.scenario import Approver, Ending
from roadworthy.trials.world import Change

Status = Literal["passed", "failed", "error"]
"""`failed`: the agent's doing, crash and timeout included. `error`: the trial itself is broken; it never passes."""

Verdict = Literal["PASS", "BLOCK", "ERROR", "INCONCLUSIVE"]
"""May this agent be released?"""

EXIT_CODES: Mapping[Verdict, int] = {"PASS": 0, "BLOCK": 1, "ERROR": 2, "INCONCLUSIVE": 3}
"""The exit code of `roadworthy test` for each release verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One step of a trial, in order: words of the user or the agent, or a tool call with what became of it."""

    who: Literal["user", "agent", "agents", "tool", "trial"]
    """`agents`: one agent gave way or work to another, or work came back. `trial`: what the trial itself did or found,
    such as a fault that was injected or a crash."""
    text: str
    """What was said; for a call: what the model was told about it (result or reason)."""
    question: bool = False
    """The agent asked the user."""
    agent: str | None = None
    """Which agent said or asked it, where the application has several."""
    tool: str | None = None
    """The contract's name of the tool, for calls."""
    args: Mapping[str, Any] | None = None
    ruling: Ruling | None = None
    rule: str | None = None
    """The rule that decided, where one spoke against the call, or against what the agent had for the user."""
    why: tuple[str, ...] = ()
    """The texts of all reasons."""
    status: str | None = None
    """ok, denied, clarify, held, failed or in_doubt. Of the agent's words: ok, or denied: the user was not told."""
    done: str | None = None
    """executed, simulated, held or blocked."""
    answer: bool | None = None
    """What the approver said to a held call; None where nobody was asked or nobody answered."""
    fault: str | None = None
    """The kind of fault that hit this call."""
    attack: bool = False
    """The result carried the planted instruction."""
    at_s: float = 0.0
    """Seconds of the trial's own clock since its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedChange:
    """A change of the world and what the scenario says about it."""

    change: Change
    grade: Literal["required", "allowed", "forbidden"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultHit:
    """A declared fault (or the attack, kind `attack`) and whether the agent ever met it."""

    tool: str
    kind: str
    call: int
    reached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one scorer found."""

    scorer: str
    """Its name and version, such as `diff@1`."""
    ok: bool
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """One run of one scenario with one seed."""

    scenario: str
    index: int
    """Which trial of its scenario, from 0."""
    seed: int
    """Its own seed, made from the test's seed, the scenario's id and the index."""
    capability: str
    conditions: tuple[str, ...]
    status: Status
    why: tuple[str, ...] = ()
    """Why it did not pass, in short; empty when it passed."""
    notes: tuple[str, ...] = ()
    """What should be known although it decides nothing, such as a declared fault that was never reached."""
    ending: Ending = "settled"
    level: Level = "autonomous"
    approver: Approver = "vigilant"
    run: str = ""
    """The run's id in the ledger."""
    calls: int = 0
    """Tool calls that the agent made."""
    verdicts: Mapping[str, int] = field(default_factory=dict[str, int])
    """How often each ruling was given: allow, clarify, ask, deny."""
    stops: tuple[tuple[str, str, str, int], ...] = ()
    """(rule, ruling, tool, times) for each call that the gate did not let through at once."""
    asks: int = 0
    """Held actions that were put to a person."""
    clarifies: int = 0
    """Questions put to the user, by the agent or because the gate wanted one."""
    turns: int = 0
    """Times that the agent spoke to the user."""
    faults: tuple[FaultHit, ...] = ()
    duration_s: float = 0.0
    """Wall time."""
    virtual_s: float = 0.0
    """Seconds that passed on the trial's own clock."""
    scores: tuple[Score, ...] = ()
    """Only of those trials that are kept whole: a bounded number."""
    changes: tuple[GradedChange, ...] = ()
    """As for `scores`."""
    missing: tuple[str, ...] = ()
    """Required changes that did not happen, in words."""
    transcript: tuple[Turn, ...] = ()
    """As for `changes`; but of passed trials those are kept that are the first to show what a rule stops."""

    @property
    def passed(self) -> bool:
        """True only for `passed`: neither a failure nor an ERROR passes."""
        return self.status == "passed"

    def slim(self) -> TrialResult:
        """Without what takes room: scores, changes and transcript."""
        if not (self.scores or self.changes or self.transcript or self.missing):
            return self
        return replace(self, scores=(), changes=(), transcript=(), missing=())

    def line(self) -> dict[str, Any]:
        """What `--json` prints of it."""
        return {
            "scenario": self.scenario,
            "seed": self.seed,
            "capability": self.capability,
            "conditions": list(self.conditions),
            "passed": self.passed,
            "why": list(self.why),
            "status": self.status,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many of how many, and what that says. ERRORs count as trials that did not pass."""

    trials: int
    passed: int
    failed: int
    errors: int
    low: float
    """The lower end of the interval for the true pass rate."""
    high: float
    confidence: float = 0.95
    """Of the two-sided interval."""
    method: str = "wilson"
    """`wilson`, or `clustered` where trials of several scenarios are pooled."""

    @property
    def rate(self) -> float | None:
        """Passed of trials; None where there was no trial."""
        return self.passed / self.trials if self.trials else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioReport:
    """All trials of one scenario."""

    scenario: str
    about: str
    capability: str
    conditions: tuple[str, ...]
    must_pass: bool
    rate: Rate
    pass_k: Mapping[int, float]
    """k -> the chance that k fresh trials of it all pass."""
    why: tuple[tuple[str, int], ...]
    """The reasons of failures and ERRORs with their counts, the most frequent first."""
    verdict: Verdict
    """BLOCK: a `must_pass` scenario failed, or it surely passes less often than the floor. INCONCLUSIVE: not all of its
    trials were run, none of a few passed, or a declared fault or attack was reached in no trial."""
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityReport:
    """All trials of one capability."""

    capability: str
    rate: Rate
    curated: Rate
    messy: Rate
    pass_k: Mapping[int, float]
    """Mean over its scenarios."""
    bar: str | None
    """The contract's evidence: the pass rate that must be shown; None where it asks for none."""
    confidence: str | None
    low: float | None
    """The one-sided lower bound of the pass rate at that confidence; PASS when it reaches the bar."""
    high: float | None
    """The one-sided upper bound; BLOCK when it is below the bar."""
    verdict: Verdict
    reasons: tuple[str, ...]
    more_trials: int | None
    """INCONCLUSIVE: about how many more trials would decide, if the rate stays; None where none would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionReport:
    """What one condition costs."""

    condition: str
    rate: Rate
    without: Rate
    """The curated trials of the same capabilities, mixed in the proportions of those that have it."""
    capability: str | None = None
    """None: over all capabilities."""

    @property
    def cost(self) -> float | None:
        """Curated pass rate minus that with it; None where one of them has no trial."""
        if self.rate.rate is None or self.without.rate is None:
            return None
        return self.without.rate - self.rate.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """What the gate did not let through at once, by rule."""

    rule: str
    """Id of the contract's rule or name of a built-in check."""
    ruling: Ruling
    tool: str
    times: int
    trials: int
    """In how many trials."""
    because: str | None
    """The rule's own words; None for built-in checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultCell:
    """One kind of fault in one tool, or the instruction planted in its results (kind `attack`)."""

    tool: str
    kind: str
    declared: int
    """Trials that were to meet it."""
    reached: int
    """Trials that met it."""
    passed: int
    """Trials that met it and passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultCoverage:
    """Which faults were tried, of those that can happen (every tool x every kind of fault)."""

    cells: tuple[FaultCell, ...]
    possible: int

    @property
    def exercised(self) -> int:
        """Cells of faults that at least one trial reached; planted instructions are no faults."""
        return sum(1 for c in self.cells if c.reached and c.kind != "attack")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioEntry:
    """What the manifest seals about a scenario."""

    id: str
    digest: str
    capability: str
    conditions: tuple[str, ...]
    must_pass: bool
    level: Level
    about: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarEntry:
    """What the contract asks of a capability before it may be released."""

    pass_rate: str
    confidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is going to be run and how it will be judged, hashed into the ledger before the first trial."""

    agent: str
    """The contract's name of the agent."""
    version: str
    contract: str
    """The digest of the contract."""
    tried: str
    """What was tried: `module:function`, or its name where it was given in Python."""
    world: str
    """Name and digest of the worlds."""
    ground: Literal["in memory", "files and SMTP"]
    scenarios: tuple[ScenarioEntry, ...]
    bars: Mapping[str, BarEntry | None]
    """By capability: what the contract asks for as evidence."""
    trials: int
    """Per scenario."""
    seed: int
    scorers: tuple[str, ...]
    """With their versions."""
    roadworthy: str
    """Version of this program."""
    scenario_floor: str = "0.50"
    """A scenario that surely passes less often than this blocks, however well the others do."""
    alpha: float = 0.05
    """One minus the confidence of the intervals that are shown, and of the floor."""
    looks: int = 1
    """How often the verdict is looked at: once, after the last trial."""
    enforce: bool = True
    """False: the gate only reported and every tool ran. Then nothing is shown about the agent behind the gate."""
    most_entries: int = 3000
    """A trial that writes more of them is cut, and has failed."""
    most_wall_s: float = 60.0
    """As long may a trial take."""
    about: str = ""
    """What the agent says of itself in the first line of its docstring, such as that its model is scripted."""

    @property
    def digest(self) -> str:
        """SHA-256, in hex."""
        return hashlib.sha256(orjson.dumps(self, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """May this agent be released? A pure function of manifest and trials: anyone can compute it again."""

    verdict: Verdict
    reasons: tuple[str, ...]
    """The deciding ones first."""

    @property
    def exit_code(self) -> int:
        """0 PASS, 1 BLOCK, 2 ERROR, 3 INCONCLUSIVE."""
        return EXIT_CODES[self.verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestReport:
    """All that a test found."""

    __test__: ClassVar[bool] = False  # pytest would take the name for a test case

    manifest: Manifest
    started: datetime
    duration_s: float
    trials: Sequence[TrialResult]
    """In the order of the manifest's scenarios, then by index. Transcripts only of failures, of a bounded number."""
    total: Rate
    curated: Rate
    messy: Rate
    scenarios: tuple[ScenarioReport, ...]
    capabilities: tuple[CapabilityReport, ...]
    conditions: tuple[ConditionReport, ...]
    stops: tuple[Stop, ...]
    """What the gate stopped, the most frequent first."""
    faults: FaultCoverage
    release: Release
    notes: tuple[str, ...] = ()
    """What a reader should know although it decides nothing, such as a declared fault that no trial reached."""
    interrupted: bool = False
    """Ctrl-C came before all trials were run; the report covers those that were."""
    enforced: bool = True
    """False: the gate only reported."""
    ledger: str | None = None
    """Where the ledger lies; None where it was kept in memory."""
    reproduce: str | None = None
    """The command line that runs the test again; `command_for` adds one trial to it. None from Python."""

    @property
    def failures(self) -> list[TrialResult]:
        """Trials that did not pass and still have their transcript, ERRORs included."""
        return [t for t in self.trials if not t.passed and t.transcript]

    def command_for(self, trial: TrialResult) -> str | None:
        """The command line that runs this one trial again."""
        if self.reproduce is None:
            return None
        return f"{self.reproduce} --only {trial.scenario} --trial {trial.index}"

    def summary(self) -> dict[str, Any]:
        """What the last line of `--json` says."""
        return {
            "verdict": self.release.verdict,
            "reasons": list(self.release.reasons),
            "trials": self.total.trials,
            "passed": self.total.passed,
            "failed": self.total.failed,
            "errors": self.total.errors,
            "curated": _rate(self.curated),
            "messy": _rate(self.messy),
            "capabilities": {
                c.capability: {
                    **_rate(c.rate),
                    "curated": _rate(c.curated),
                    "messy": _rate(c.messy),
                    "pass_k": {str(k): v for k, v in c.pass_k.items()},
                    "bar": c.bar,
                    "confidence": c.confidence,
                    "verdict": c.verdict,
                    "reasons": list(c.reasons),
                }
                for c in self.capabilities
            },
            "scenarios": {
                s.scenario: {
                    **_rate(s.rate),
                    "pass_k": {str(k): v for k, v in s.pass_k.items()},
                    "verdict": s.verdict,
                }
                for s in self.scenarios
            },
            "conditions": {c.condition: {**_rate(c.rate), "cost": c.cost} for c in self.conditions},
            "stops": [
                {"rule": s.rule, "ruling": s.ruling, "tool": s.tool, "times": s.times, "trials": s.trials}
                for s in self.stops
            ],
            "faults": {"exercised": self.faults.exercised, "possible": self.faults.possible},
            "manifest": self.manifest.digest,
            "contract": self.manifest.contract,
            "seed": self.manifest.seed,
            "ground": self.manifest.ground,
            "enforced": self.enforced,
            "interrupted": self.interrupted,
            "notes": list(self.notes),
            "duration_s": round(self.duration_s, 3),
            "ledger": self.ledger,
        }


def _rate(rate: Rate) -> dict[str, Any]:
    return {
        "trials": rate.trials,
        "passed": rate.passed,
        "errors": rate.errors,
        "rate": rate.rate,
        "low": rate.low,
        "high": rate.high,
    }


def trial_to_json(trial: TrialResult) -> bytes:
    """A trial as JSON bytes, for the way from a worker process to its parent and into files."""
    return orjson.dumps(trial, default=str, option=orjson.OPT_NON_STR_KEYS)


def trial_from_json(data: bytes | Mapping[str, Any]) -> TrialResult:
    """The trial behind such bytes. What tools had returned as other than JSON comes back as text."""
    raw: dict[str, Any] = dict(data) if isinstance(data, Mapping) else orjson.loads(data)
    for name in ("conditions", "why", "notes", "missing"):
        raw[name] = tuple(raw[name])
    raw["stops"] = tuple(tuple(stop) for stop in raw["stops"])
    raw["faults"] = tuple(FaultHit(**f) for f in raw["faults"])
    raw["scores"] = tuple(Score(**_with_tuple(s)) for s in raw["scores"])
    raw["changes"] = tuple(GradedChange(change=Change(**c["change"]), grade=c["grade"]) for c in raw["changes"])
    raw["transcript"] = tuple(Turn(**_with_tuple(t)) for t in raw["transcript"])
    return TrialResult(**raw)


def _with_tuple(raw: dict[str, Any]) -> dict[str, Any]:
    raw["why"] = tuple(raw["why"])
    return raw
