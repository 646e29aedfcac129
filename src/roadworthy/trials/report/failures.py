"""Failing trials as conversations that a person can read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from roadworthy.trials.report.wording import ENDINGS, WOULD, args_of, shown, words
from roadworthy.trials.results import GradedChange, ScenarioReport, TestReport, TrialResult, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a transcript, ready to be set."""

    kind: str
    """`user`, `agent`, `agents`, `tool` or `trial`."""
    who: str
    agent: str
    """Which one, where the application has several."""
    at: str
    text: str
    tool: str = ""
    args: tuple[tuple[str, str], ...] = ()
    long: bool = False
    """The arguments need a line each."""
    chip: str = ""
    """The kind of the ruling or outcome, for its colour."""
    state: str = ""
    """What became of the call, or of words that were not simply said."""
    rule: str = ""
    why: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    """What the trial did to this call: a fault, planted text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeLine:
    """One change of the world: expected, or found, or both."""

    chip: str
    state: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One trial that did not pass."""

    anchor: str
    trial: TrialResult
    ending: str
    steps: tuple[Step, ...]
    changes: tuple[ChangeLine, ...]
    command: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """The trials of one scenario that did not pass, the first ones in full."""

    anchor: str
    scenario: ScenarioReport
    shown: tuple[Failure, ...]
    more: int
    """How many more did not pass."""
    others: tuple[int, ...]
    """The numbers of the first of those."""


_LONG = 64
"""A call with more characters of arguments than that is set on several lines."""

_OTHERS = 8
"""How many failures that are not shown are named by their numbers."""


def failures_of(report: TestReport, lost: Sequence[TrialResult], first: int) -> tuple[FailureGroup, ...]:
    """The scenarios with trials that did not pass, the most of them first; `first` of each in full."""
    by_scenario: dict[str, list[TrialResult]] = defaultdict(list)
    for trial in lost:
        by_scenario[trial.scenario].append(trial)
    reports = {s.scenario: s for s in report.scenarios}
    found: list[FailureGroup] = []
    for number, (name, trials) in enumerate(sorted(by_scenario.items(), key=lambda item: -len(item[1])), 1):
        told = _telling(trials, first)
        kept = {t.index for t in told}
        found.append(
            FailureGroup(
                anchor=f"failures-{number}",
                scenario=reports[name],
                shown=tuple(
                    Failure(
                        anchor=f"failure-{number}-{t.index}",
                        trial=t,
                        ending=ENDINGS[t.ending],
                        steps=tuple(_step(turn) for turn in t.transcript),
                        changes=tuple(_changes(t)),
                        command=report.command_for(t),
                    )
                    for t in told
                ),
                more=len(trials) - len(told),
                others=tuple(t.index for t in trials if t.index not in kept)[:_OTHERS],
            )
        )
    return tuple(found)


def _telling(trials: Sequence[TrialResult], first: int) -> list[TrialResult]:
    """The first trials that have something to tell, different reasons before more of the same."""
    told = [t for t in trials if t.transcript or t.status == "error"]
    seen: Counter[tuple[str, ...]] = Counter()
    ranked: list[tuple[int, int, TrialResult]] = []
    for number, trial in enumerate(told):
        ranked.append((seen[trial.why], number, trial))
        seen[trial.why] += 1
    chosen = sorted(ranked, key=lambda r: r[:2])[:first]
    return [trial for _, _, trial in sorted(chosen, key=lambda r: r[1])]


def _step(turn: Turn) -> Step:
    at = f"{turn.at_s:g} s" if turn.at_s else ""
    if turn.who != "tool":
        who = {"user": "User", "agent": "Agent", "agents": "Agents", "trial": "Trial"}[turn.who]
        chip, state = _told(turn)
        return Step(
            kind=turn.who,
            who="Agent asks" if turn.question else who,
            agent=turn.agent or "",
            at=at,
            text=turn.text,
            chip=chip,
            state=state,
            rule=turn.rule or "",
            why=turn.why,
        )
    marks: list[str] = []
    if turn.fault:
        marks.append(f"fault: {words(turn.fault)}")
    if turn.attack:
        marks.append("carries a planted instruction")
    chip, state = _state(turn)
    args = args_of(turn)
    return Step(
        kind="tool",
        who="Tool call",
        agent=turn.agent or "",
        at=at,
        text=turn.text,
        tool=turn.tool or "",
        args=args,
        long=sum(len(name) + len(value) + 4 for name, value in args) > _LONG,
        chip=chip,
        state=state,
        rule=turn.rule or "",
        why=tuple(w for w in turn.why if w not in turn.text),
        marks=tuple(marks),
    )


def _told(turn: Turn) -> tuple[str, str]:
    """What became of words, where there is more to say than that they were said."""
    if turn.status == "denied":
        return "denied", "held back: the user was not told"
    if turn.ruling not in (None, "allow"):
        return turn.ruling, "told, would have been held back"
    if turn.done == "simulated":
        return "", "not delivered: in shadow nobody is told"
    return "", ""


def _state(turn: Turn) -> tuple[str, str]:
    match turn.status:
        case "ok" if turn.answer:
            return "ok", "a person approved it"
        case "ok" if turn.ruling not in (None, "allow") and turn.answer is None:
            return turn.ruling, f"executed, would have been {WOULD[turn.ruling]}"
        case "ok":
            return "ok", "simulated" if turn.done == "simulated" else "executed"
        case "denied" if turn.answer is False:
            return "denied", "a person refused it"
        case "denied":
            return "denied", "denied"
        case "clarify":
            return "clarify", "the user must say more"
        case "held":
            return "held", "held for a person"
        case "failed":
            return "failed", "failed"
        case "in_doubt":
            return "in_doubt", "in doubt: it may have been done"
        case _:
            return "", turn.status or ""


def _changes(trial: TrialResult) -> Iterable[ChangeLine]:
    for text in trial.missing:
        yield ChangeLine(chip="block", state="required, missing", text=text)
    order = {"forbidden": 0, "required": 1, "allowed": 2}
    for graded in sorted(trial.changes, key=lambda g: order[g.grade]):
        chip, state = {
            "forbidden": ("block", "forbidden, found"),
            "required": ("pass", "required, found"),
            "allowed": ("", "allowed, found"),
        }[graded.grade]
        yield ChangeLine(chip=chip, state=state, text=_change(graded))


def _change(graded: GradedChange) -> str:
    change = graded.change
    if change.change == "update" and change.before is not None and change.after is not None:
        before = change.before
        key = next(iter(change.after.items()), None)
        parts = [] if key is None else [f"{key[0]}: {shown(key[1])}"]
        parts += [
            f"{name}: {shown(before.get(name))} \u2192 {shown(value)}"
            for name, value in change.after.items()
            if before.get(name) != value
        ]
        return f"{change.table}: update " + ", ".join(parts)
    row = ", ".join(f"{name}: {shown(value)}" for name, value in change.row.items() if value is not None)
    return f"{change.table}: {change.change} {row}"
