"""What a call came to: from how the tool ended and what it answered to what the model is told.

Two things must never happen. A write whose effect is unknown, or whose answer is not what it should be, must not read
as failed, for the model would do it again: it is `in_doubt`. And an answer that is incomplete, cut or changed must not
pass as a whole one: it is marked, or withheld where nobody looks on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import orjson

from roadworthy.contract.conditions import ConditionError
from roadworthy.core import canonical
from roadworthy.core.types import Action, Done, Level, Outcome
from roadworthy.gate.carry import UNSURE, Carried, told
from roadworthy.gate.carry.bounded import Bounded, bounded, fingerprint
from roadworthy.gate.carry.drift import Drift, Learned
from roadworthy.gate.policy import Policy, ToolPolicy
from roadworthy.gate.values import MISSING, BadValue, as_text

LARGE_TEXT = 2**18
"""From so many characters on it is looked at what a result takes in the ledger."""
MAX_RECORDED = 3 * 2**20
"""The most bytes of a result with its text; an entry of the ledger holds a third more."""
_SMALLER = 2**16
"""Characters that are kept of a result that takes too much there: control characters, say, are written in six."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one call came to, and what it showed of the tool."""

    outcome: Outcome
    typed: Any = MISSING
    """The result in the contract's types; MISSING where there is none."""
    findings: tuple[Drift, ...] = ()
    """In which ways the answer is not what it was or should be: the bodies of `drift` entries."""
    observation: Mapping[str, Any] | None = None
    """What is known of the tool's answers by now: the body of an `observation` entry, when there is news."""
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """For the outcome's entry: `attempts` where there were several, `cut` and `sha256` of what was cut."""


def judge(
    policy: Policy,
    tool: ToolPolicy,
    action: Action,
    carried: Carried,
    *,
    level: Level,
    simulate: bool,
    enforce: bool,
    learned: Learned | None = None,
) -> Judged:
    """What a call came to. Never raises for what the tool did or returned.

    `level` is that of the verdict; `simulate`: nothing was called, and the value is made up. `learned`: what is known
    of the tools' answers, which grows by this one; None where nothing is learnt.
    """
    try:
        judged = _judge(policy, tool, action, carried, level=level, simulate=simulate, enforce=enforce, learned=learned)
    except Exception as error:  # results are foreign: odd or broken beyond what was foreseen
        text = f"{tool.name} answered something that cannot be read ({told(error)})."
        judged = Judged(outcome=_unreadable(tool, text, "simulated" if simulate else "executed"))
    if carried.attempts > 1:
        return replace(judged, more={**judged.more, "attempts": carried.attempts})
    return judged


def _unreadable(tool: ToolPolicy, text: str, done: Done) -> Outcome:
    if tool.acts:
        text += " It may have been done: do not call it again; escalate to a person."
    return Outcome(status="in_doubt" if tool.acts else "failed", done=done, text=text)


def _judge(
    policy: Policy,
    tool: ToolPolicy,
    action: Action,
    carried: Carried,
    *,
    level: Level,
    simulate: bool,
    enforce: bool,
    learned: Learned | None,
) -> Judged:
    done: Done = "simulated" if simulate else "executed"
    if carried.ending != "returned":
        return Judged(outcome=_not_returned(tool, carried, done))
    found = bounded(carried.value)
    text = as_text(found.value)
    if len(text) > LARGE_TEXT and len(canonical.dumps([found.value, text])) > MAX_RECORDED:
        found = bounded(carried.value, size=_SMALLER)
        text = as_text(found.value)
    answer = _Answer(tool=tool, action=action, value=found.value, text=text, done=done)
    if simulate:
        return Judged(outcome=answer.told("ok", "Simulated: nothing was changed."))
    more: dict[str, Any] = {}
    if not found.whole:
        more["cut"] = list(found.notes)
        digest = fingerprint(carried.value)
        if digest is not None:
            more["sha256"] = digest
    if tool.fails_when is not None:
        outcome = _says_failed(policy, answer, carried, found)
        if outcome is not None:
            return Judged(outcome=outcome, more=more)
    judged = _read(answer, found, careful=enforce and (level == "autonomous" or tool.establishes))
    if found.whole and learned is not None:
        judged = _compared(judged, answer, learned, careful=enforce and level == "autonomous")
    return replace(judged, more=more) if more else judged


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    tool: ToolPolicy
    action: Action
    value: Any
    text: str
    done: Done

    def told(self, status: Any, *marks: str) -> Outcome:
        """The result as it is, with marks that the model cannot overlook."""
        text = "\n".join((self.text, *(f"({mark})" for mark in marks)))
        return Outcome(status=status, done=self.done, value=self.value, text=text)


def _not_returned(tool: ToolPolicy, carried: Carried, done: Done) -> Outcome:
    if carried.ending == "refused":
        text = (
            f"{tool.name} was not called, and nothing was done: {carried.error}. Go on without it, or tell the user "
            "that it does not work at the moment."
        )
        return Outcome(status="failed", done="blocked", text=text)
    if tool.acts and carried.ending in UNSURE:
        what = "gave no answer" if carried.ending == "timed_out" else "broke off"
        text = (
            f"{tool.name} {what} ({carried.error}). It may or may not have been done: "
            "do not call it again; escalate to a person."
        )
        return Outcome(status="in_doubt", done=done, text=text)
    return Outcome(status="failed", done=done, text=f"{tool.name} failed: {carried.error}")


def _says_failed(policy: Policy, answer: _Answer, carried: Carried, found: Bounded) -> Outcome | None:
    """The outcome where the result says that the tool failed, or where nobody can tell whether it does."""
    tool = answer.tool
    conditions = policy.conditions
    failed: bool | None
    try:
        binding = conditions.bind_result(tool.name, answer.value, answer.action.args)
        failed = cast("Any", tool.fails_when).holds(binding)
    except ConditionError:
        failed = None
    if failed is False and (found.whole or not tool.acts):
        return None
    # What a write says after an attempt that got lost may be about that one: "done already", say.
    unsure = failed is not True or carried.after_doubt
    if tool.acts and unsure:
        return answer.told("in_doubt", f"Nobody can tell whether {tool.name} was done: do not call it again.")
    return answer.told("failed")


def _read(answer: _Answer, found: Bounded, *, careful: bool) -> Judged:
    """The result read by the contract. `careful`: a look-up that cannot be read is withheld, not only marked."""
    tool, shape = answer.tool, answer.tool.result.shape
    marks = [f"Incomplete: {note}." for note in found.notes]
    try:
        typed = tool.result.read(answer.value)
    except BadValue as bad:
        finding = Drift(kind="unfit", path="result", text=str(bad), breaking=True)
        if tool.acts:
            mark = f"{tool.name} was carried out, but its answer is not what it should be: {bad} Do not call it again."
            return Judged(outcome=answer.told("in_doubt", *marks, mark), findings=(finding,))
        if careful:
            # Above all, a look-up that may have found somebody else is never shown unread.
            text = f"{tool.name} answered something unusable: {bad}"
            return Judged(outcome=Outcome(status="failed", done=answer.done, text=text), findings=(finding,))
        return Judged(outcome=answer.told("ok", *marks, f"Incomplete: {bad}"), findings=(finding,))
    findings = tuple(
        Drift(kind="partial", path=path, text=text, breaking=False) for path, text in _partial(answer.value)
    )
    marks += [f"Incomplete: {finding.text}." for finding in findings]
    if not found.whole and careful and tool.establishes:
        text = f"{tool.name} answered something unusable: {found.notes[0]}."
        return Judged(outcome=Outcome(status="failed", done=answer.done, text=text), findings=findings)
    known = typed if found.whole or (shape is not None and shape.type not in ("array", "object")) else MISSING
    return Judged(outcome=answer.told("ok", *marks), typed=known, findings=findings)


def _compared(judged: Judged, answer: _Answer, learned: Learned, *, careful: bool) -> Judged:
    """The result held against what the tool's answers usually look like."""
    tool, action = answer.tool, answer.action
    seen = learned.see(tool.name, action.principal, action.args, _structured(answer.value))
    judged = replace(judged, findings=judged.findings + seen.findings, observation=seen.observation)
    broken = [finding for finding in seen.findings if finding.breaking]
    if not broken or not judged.outcome.ok:
        return judged
    what = "; ".join(finding.text for finding in broken)
    if careful and any(finding.confirmed for finding in broken):
        if tool.acts:
            mark = f"{tool.name} was carried out, but its answer has changed: {what}. Do not call it again."
            outcome = replace(answer.told("in_doubt", mark), text=f"{judged.outcome.text}\n({mark})")
            return replace(judged, outcome=outcome, typed=MISSING)
        text = (
            f"{tool.name} answers in another form than it always did, so its answer is withheld: {what}. "
            "Go on without it, or escalate to a person."
        )
        return replace(judged, outcome=Outcome(status="failed", done=answer.done, text=text), typed=MISSING)
    text = f"{judged.outcome.text}\n(Unusual: {what}. Rely on nothing that may be missing here.)"
    return replace(judged, outcome=replace(judged.outcome, text=text))


def _structured(value: Any) -> Any:
    """What stands in a text that is JSON, as many tools answer; else the value itself."""
    if isinstance(value, str) and value[:1] in ("{", "[") and value[-1:] in ("}", "]"):
        try:
            parsed = bounded(orjson.loads(value))
        except orjson.JSONDecodeError:
            return value
        return parsed.value if parsed.whole else value
    return value


# -- answers that say that there is more ------------------------------------------------------------------------------

_FLAGS = frozenset(
    ("truncated", "istruncated", "partial", "ispartial", "incomplete", "hasmore", "hasnextpage", "morepages")
)
_POINTERS = frozenset(
    (
        "nextpage", "nextpagetoken", "nextcursor", "nexttoken", "nextlink", "nexturl", "odatanextlink",
        "continuationtoken",
    )
)  # fmt: skip
_TOTALS = frozenset({"totalcount", "totalresults", "totalitems", "totalhits", "totalrecords"})


def _partial(value: Any) -> Iterator[tuple[str, str]]:
    """Where a result says itself that it is only a part: flags, pointers to a next page, totals beyond the list."""
    if isinstance(value, str):
        value = _structured(value)
    if not isinstance(value, dict):
        return
    fields = cast("dict[str, Any]", value)
    if len(fields) > 64:
        return
    yield from _hints(fields, "result")
    for name, inner in fields.items():
        if isinstance(inner, dict) and len(cast("dict[str, Any]", inner)) <= 64:
            yield from _hints(cast("dict[str, Any]", inner), f"result.{name}")


def _hints(fields: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if value is None or value is False or isinstance(value, dict | list):
            continue
        plain = "".join(c for c in name if c.isalnum()).lower()
        where = f"{path}.{name}"
        if plain in _FLAGS and value is True:
            yield where, f"{where} says that there is more"
        elif plain in _POINTERS and value not in ("", 0):
            yield where, f"{where} leads to more"
        elif plain in _TOTALS and isinstance(value, int):
            lists = [cast("list[Any]", v) for v in fields.values() if isinstance(v, list)]
            if len(lists) == 1 and len(lists[0]) < value:
                yield where, f"{where} is {value}, and {len(lists[0])} are here"
