"""What the gate stopped, by rule, with a case each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from roadworthy.core.types import Ruling
from roadworthy.trials.report.wording import WOULD, args_of
from roadworthy.trials.results import Stop, TestReport, TrialResult, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class StopLine:
    """What one rule did not let through, with a case in words."""

    rule: str
    ruling: Ruling
    times: int
    tools: tuple[tuple[str, int], ...]
    """Tool and times, the most frequent first."""
    title: str
    """What it did to the calls, in words."""
    because: str
    """The rule's own words, or what the built-in check of that name looks at."""
    scenario: str = ""
    """Where the case comes from; empty where no failed trial has one."""
    call: str = ""
    told: str = ""
    """What the model was told beyond the rule's own words."""
    anchor: str | None = None


_RULED: Mapping[Ruling, str] = {
    "deny": "denied",
    "ask": "asked a person",
    "clarify": "asked the user",
    "allow": "allowed",
}

_CHECKS: Mapping[str, str] = {
    "access": "The tool is not open here, or it was called with what belongs to somebody else.",
    "values": "The arguments are not what the tool takes.",
    "budgets": "The run has used up what the contract grants it.",
    "level": "At this level a person decides about every write.",
    "stop": "Somebody stopped the agent, or this capability of it.",
    "origins": "A value stands nowhere, was written by somebody who vouches for nothing, or is one of several.",
    "destinations": "Nobody whom the contract names knows where this would go.",
    "labels": "Data that belongs to one person would reach another.",
    "links": "A link that an outsider wrote would be handed on.",
    "claims": "Something would be told that was not done.",
    "confirm": "The user must say yes to what was read out.",
    "idempotent": "The same key was used for another call.",
    "approval": "An approved action is carried once.",
    "scope": "It is not clear what the user wants, or it is not what this agent is for.",
    "journal": "Driven again, the agent took another way than before.",
    "undo": "What could not be taken back is not done.",
    "gate": "A check could not be made, so nothing was done.",
    "flow": "What leaves could not be looked over, so it did not leave.",
}
"""What the gate's own checks look at; rules say it in their own words."""
_NEEDS = "Something must be read first, or anew."


def stops_of(report: TestReport, anchors: Mapping[tuple[str, int], str]) -> tuple[StopLine, ...]:
    """A line for each rule and ruling, the most frequent first."""
    by_rule: dict[tuple[str, Ruling], list[Stop]] = defaultdict(list)
    for stop in report.stops:
        by_rule[stop.rule, stop.ruling].append(stop)
    shown = _stopped_calls(report, anchors)
    lines: list[StopLine] = []
    for (rule, ruling), stops in by_rule.items():
        because = stops[0].because or _CHECKS.get(rule, "") or (_NEEDS if rule.startswith("needs ") else "")
        trial, turn = shown.get((rule, ruling), (None, None))
        lines.append(
            StopLine(
                rule=rule or "no rule",
                ruling=ruling,
                times=sum(s.times for s in stops),
                tools=tuple((s.tool, s.times) for s in stops),
                title=_RULED[ruling] if report.enforced else f"would have been {WOULD[ruling]}",
                because=because,
                scenario=trial.scenario if trial is not None else "",
                call=_call(turn) if turn is not None else "",
                told=next((w for w in turn.why if not because or because.rstrip(".") not in w), "")
                if turn is not None
                else "",
                anchor=anchors.get((trial.scenario, trial.index)) if trial is not None else None,
            )
        )
    return tuple(sorted(lines, key=lambda line: -line.times))


def _stopped_calls(
    report: TestReport, anchors: Mapping[tuple[str, int], str]
) -> dict[tuple[str, Ruling], tuple[TrialResult, Turn]]:
    """A call for each rule and ruling, from a trial that stands on the page where there is one."""
    found: dict[tuple[str, Ruling], tuple[TrialResult, Turn]] = {}
    told = [t for t in report.trials if t.transcript]
    for trial in sorted(told, key=lambda t: (t.scenario, t.index) not in anchors):
        for turn in trial.transcript:
            if turn.ruling is not None and turn.ruling != "allow":
                found.setdefault((turn.rule or "", turn.ruling), (trial, turn))
    return found


def _call(turn: Turn) -> str:
    if turn.tool is None:
        return f'{"ask_user" if turn.question else "reply"}: "{turn.text}"'
    return f"{turn.tool}({', '.join(f'{name}: {value}' for name, value in args_of(turn))})"
