"""Recorded runs judged by a contract: what would have been stopped, asked and allowed.

Every recorded tool call goes through the gate's own decision. Nothing is carried: the recorded results are observed as
if they had just come in, also where the call would have been ruled out, because the rest of the conversation rests on
them. Approvals count as not given, so a call that a person would have been asked about is an interrupted one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from roadworthy.contract.conditions import ConditionError
from roadworthy.contract.load import assure
from roadworthy.contract.model import Contract
from roadworthy.core.clock import SystemClock
from roadworthy.core.errors import UsageError
from roadworthy.core.types import LEVELS, Action, Level, Reason, Ruling, Status, Verdict
from roadworthy.gate.decide import decide, find_tool, normalise, verdict_of
from roadworthy.gate.policy import Policy, ToolPolicy, policy_of
from roadworthy.gate.state import RunState
from roadworthy.gate.values import BadValue
from roadworthy.trials.recorded import BrokenLine, RecordedRun, ToolCall
from roadworthy.trials.traces.read import Format, read_recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCall:
    """One recorded tool call and what the gate would have said."""

    run: str
    call_id: str | None
    tool: str
    """The contract's name of the tool; the recorded one where the contract knows no such tool."""
    ruling: Ruling
    rule: str | None
    """What decided; None where nothing spoke against the call."""
    why: str
    """All enforced reasons in words; empty for an allowed call."""
    failed: bool = False
    """The recorded result says that the tool itself refused, so that little was lost by an interruption."""

    def as_json(self) -> dict[str, Any]:
        """The line that `--json` prints for it."""
        return {
            "run": self.run,
            "call_id": self.call_id,
            "tool": self.tool,
            "ruling": self.ruling,
            "rule": self.rule,
            "why": self.why,
        }

    @property
    def interrupted(self) -> bool:
        """The agent would not have got its result there and then."""
        return self.ruling != "allow"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRun:
    """One recorded run, call by call."""

    run: str
    passed: bool | None
    calls: tuple[JudgedCall, ...]

    @property
    def interrupted(self) -> tuple[JudgedCall, ...]:
        """The calls that would not have gone through as they were."""
        return tuple(call for call in self.calls if call.interrupted)


@dataclass(frozen=True, kw_only=True)
class BacktestReport:
    """A file of recorded runs, judged."""

    agent: str
    version: str
    digest: str
    """Of the contract."""
    file: str
    """What the runs were read from."""
    level: str
    """That of every capability, or how each came to its own."""
    runs: tuple[JudgedRun, ...]
    skipped: tuple[BrokenLine, ...]
    """Lines that could not be judged; all others were."""

    @property
    def calls(self) -> Iterator[JudgedCall]:
        """All calls, run by run."""
        for run in self.runs:
            yield from run.calls

    def of(self, passed: bool | None) -> tuple[JudgedRun, ...]:
        """The runs with a label: passed, failed, or None for unknown."""
        return tuple(run for run in self.runs if run.passed is passed)

    @cached_property
    def rules(self) -> Mapping[str, Mapping[str, int]]:
        """By rule: the calls that it decided, and the failed and passed runs that have one, the busiest rule first."""
        calls, failed, passed = Counter[str](), Counter[str](), Counter[str]()
        for run in self.runs:
            deciding = [call.rule or "" for call in run.interrupted]
            calls.update(deciding)
            if run.passed is not None:
                (passed if run.passed else failed).update(set(deciding))
        return {
            rule: {"calls": count, "failed_runs": failed[rule], "passed_runs": passed[rule]}
            for rule, count in calls.most_common()
        }

    def summary(self) -> dict[str, Any]:
        """The figures, as `--json` prints them in its last line."""
        rulings = Counter(call.ruling for call in self.calls)
        failed, passed = self.of(False), self.of(True)
        summary: dict[str, Any] = {
            "contract": self.agent,
            "version": self.version,
            "digest": self.digest,
            "file": self.file,
            "level": self.level,
            "runs": len(self.runs),
            "skipped": len(self.skipped),
            "calls": rulings.total(),
            **{ruling: rulings[ruling] for ruling in ("allow", "clarify", "ask", "deny")},
            "interrupted": sum(call.interrupted for call in self.calls),
            "interrupted_failed": sum(call.interrupted and call.failed for call in self.calls),
            "interrupted_runs": sum(bool(run.interrupted) for run in self.runs),
        }
        if failed or passed:
            summary |= {
                "failed_runs": len(failed),
                "failed_runs_interrupted": sum(bool(run.interrupted) for run in failed),
                "passed_runs": len(passed),
                "passed_runs_interrupted": sum(bool(run.interrupted) for run in passed),
            }
        return summary | {"rules": {rule: dict(figures) for rule, figures in self.rules.items()}}


def backtest(
    contract: Contract | str | Path,
    path: str | Path,
    *,
    level: Level = "autonomous",
    now: datetime | None = None,
    format: Format | None = None,
) -> BacktestReport:
    """A file of recorded runs judged by a contract.

    `format`: what the file holds; None: what it looks like. `level` is that of every capability. `now` stands for the
    time of every call, because not all recordings carry one; default: the time of day.
    Raises ContractError for a contract that no gate would keep, RunsError for a file that cannot be read.
    """
    law = contract if isinstance(contract, Contract) else Contract.load(contract)
    judged: list[JudgedRun] = []
    skipped: list[BrokenLine] = []
    for found in judge_runs(law, Path(path), level=level, now=now, format=format):
        if isinstance(found, JudgedRun):
            judged.append(found)
        else:
            skipped.append(found)
    return report_of(law, path, level, judged, skipped)


def report_of(
    contract: Contract, path: str | Path, level: str, runs: Sequence[JudgedRun], skipped: Sequence[BrokenLine]
) -> BacktestReport:
    """The report over runs that were judged one by one."""
    return BacktestReport(
        agent=contract.agent,
        version=contract.version,
        digest=contract.digest,
        file=str(path),
        level=level,
        runs=tuple(runs),
        skipped=tuple(skipped),
    )


def judge_runs(
    contract: Contract,
    path: Path,
    *,
    level: Level = "autonomous",
    now: datetime | None = None,
    format: Format | None = None,
) -> Iterator[JudgedRun | BrokenLine]:
    """Each run of a file, judged as soon as it is read."""
    if level not in LEVELS:
        raise UsageError(f"there is no level {level!r}; choose from {', '.join(LEVELS)}")
    assure(contract)
    policy = policy_of(contract)
    at = now or SystemClock().now()
    for found in read_recorded(path, format):
        if isinstance(found, BrokenLine):
            yield found
            continue
        try:
            yield _Judge(policy=policy, run=found, state=_state(policy, found, level, at), at=at).judge()
        except UsageError as error:
            yield BrokenLine(line=found.line, text=error.text)


def _state(policy: Policy, run: RecordedRun, level: Level, at: datetime) -> RunState:
    contract, meta = policy.contract, run.meta
    principal = meta.get("principal")
    if contract.principals and principal is not None and principal not in contract.principals:
        raise UsageError(f"the contract knows no principal {principal!r}; it knows {', '.join(contract.principals)}")
    subject = meta.get("subject")
    if subject is not None and (contract.subject is None or not isinstance(subject, str)):
        raise UsageError("`meta` names a subject, but the contract has none, or it is no text")
    try:
        facts = policy.facts.coerce(cast("Mapping[str, Any]", meta["facts"])) if meta.get("facts") else {}
    except (BadValue, AttributeError, TypeError) as bad:
        raise UsageError(f"the facts do not fit the contract's `facts`: {bad}") from None
    state = RunState(
        policy,
        principal=str(principal) if principal is not None else contract.agent,
        started=at,
        levels=dict.fromkeys(contract.capabilities, level),
        subject=subject,
        facts=facts,
    )
    for name in _capabilities(contract, meta, principal):
        state.open(name)
    return state


def _capabilities(contract: Contract, meta: Mapping[str, Any], principal: object) -> Sequence[str]:
    """Those that `meta` names, else all that the principal may use."""
    spec = contract.principals.get(principal) if isinstance(principal, str) else None
    allowed = spec.capabilities if spec is not None else tuple(contract.capabilities)
    given: object = meta.get("capability")
    if given is None:
        return allowed
    names = cast("Sequence[object]", given if isinstance(given, list) else [given])
    for name in names:
        if name not in contract.capabilities:
            raise UsageError(f"the contract has no capability {name!r}; it has {', '.join(contract.capabilities)}")
        if name not in allowed:
            raise UsageError(f"the principal {principal!r} may not use the capability {name!r}")
    return [str(name) for name in names]


@dataclass(slots=True)
class _Pending:
    """A call whose result is still to come."""

    tool: ToolPolicy
    args: Mapping[str, Any]
    index: int
    """Its place among the judged calls."""
    carried: bool
    """It was counted when it was judged."""


@dataclass(slots=True, kw_only=True)
class _Judge:
    """One run on its way through the gate's decision."""

    policy: Policy
    run: RecordedRun
    state: RunState
    at: datetime
    calls: list[JudgedCall] = field(default_factory=list[JudgedCall])
    pending: dict[str, _Pending] = field(default_factory=dict[str, _Pending])

    def judge(self) -> JudgedRun:
        for message in self.run.messages:
            if message.role == "user":
                self.state.hear(message.text)
            elif message.role == "assistant":
                if message.text:
                    self.state.said(message.text)
                for call in message.calls:
                    self.called(call)
            elif message.role == "tool":
                self.answered(message.call_id, message.text)
        return JudgedRun(run=self.run.id, passed=self.run.passed, calls=tuple(self.calls))

    def called(self, call: ToolCall) -> None:
        tool = find_tool(self.policy, call.name)
        key = call.id if call.id is not None else f"#{len(self.calls)}"
        if isinstance(tool, Reason):
            self.record(call, call.name, verdict_of([tool], "shadow"))
            self.pending.pop(key, None)
            return
        args = (
            Reason(rule="values", code="bad_arguments", text="The arguments are no JSON object.", ruling="deny")
            if call.arguments is None
            else normalise(tool, call.arguments)
        )
        if isinstance(args, Reason):
            self.record(call, tool.name, verdict_of([args], self.state.level_of(tool)))
            self.pending[key] = _Pending(tool, call.arguments or {}, len(self.calls) - 1, carried=False)
            return
        open_for = self.state.open_for(tool) or self.state.capabilities
        action = Action(
            id=f"{self.run.id}#{len(self.calls) + 1}",
            run=self.run.id,
            principal=self.state.principal,
            subject=self.state.subject,
            capability=open_for[0] if open_for else None,
            tool=tool.name,
            args=args,
            call_id=call.id,
            at=self.at,
        )
        self.record(call, tool.name, decide(self.policy, self.state, action, now=self.at))
        if call.id is not None and call.id in self.run.blocked:
            return  # it was never made: nothing came of it but words to the agent
        self.state.reserve(tool, args)
        self.pending[key] = _Pending(tool, args, len(self.calls) - 1, carried=True)

    def record(self, call: ToolCall, tool: str, verdict: Verdict) -> None:
        self.calls.append(
            JudgedCall(
                run=self.run.id,
                call_id=call.id,
                tool=tool,
                ruling=verdict.ruling,
                rule=verdict.rule,
                why=verdict.text if verdict.ruling != "allow" else "",
            )
        )

    def answered(self, call_id: str | None, text: str) -> None:
        """Learn from a recorded result, as a run learns from one that has just come in."""
        key = call_id if call_id is not None else next(iter(self.pending), None)
        pending = self.pending.pop(key, None) if key is not None else None
        if pending is None:
            return  # the result of a tool that the contract does not know
        tool, args = pending.tool, pending.args
        status = self.status(tool, args, text)
        second = self.state.observe(tool, args, status, "executed", text)
        if status == "failed" and pending.carried:
            self.state.release(tool, args)
        judged = self.calls[pending.index]
        if status == "failed":
            self.calls[pending.index] = replace(judged, failed=True)
        if second is not None and not judged.interrupted:
            why = f"This run acts for {self.state.subject}; {tool.name} found somebody else, so the result is withheld."
            self.calls[pending.index] = replace(judged, ruling="deny", rule="access", why=why)
        if tool.escalates and status == "ok" and not judged.interrupted:
            self.state.status, self.state.status_why = "escalated", "the agent handed over"

    def status(self, tool: ToolPolicy, args: Mapping[str, Any], text: str) -> Status:
        """What the result means: the tool says so itself, or it is not what the contract expects."""
        if tool.fails_when is not None:
            try:
                if tool.fails_when.holds(self.policy.conditions.bind_result(tool.name, text, args)):
                    return "failed"
            except ConditionError:
                pass  # the shape of the result decides, below
        try:
            tool.result.read(text)
        except BadValue:
            return "in_doubt" if tool.acts else "failed"
        return "ok"
