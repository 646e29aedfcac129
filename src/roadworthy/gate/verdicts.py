"""What stands in an entry about a verdict, and the verdicts that come from no rule but from the gate's own workings.

All of it is pure, and made here alone, so that whoever decides again from a ledger comes to the same bytes.
"""

from __future__ import annotations

from typing import Any, Final

from roadworthy.contract.model import Contract
from roadworthy.core.errors import Conflict
from roadworthy.core.types import Action, Claim, Level, Reason, Verdict
from roadworthy.gate import budgets
from roadworthy.gate.decide import verdict_of
from roadworthy.gate.policy import Policy, ToolPolicy
from roadworthy.gate.state import RunState, frozen

REPEATS: Final = 3
"""The same call denied this often ends the run with a person."""

CARRIED_BEFORE: Final = "carried_before"
"""The code of a denial because somebody else was faster to carry an approved action."""


def verdict_body(
    verdict: Verdict, *, enforce: bool, told: str | None = None, question: str | None = None
) -> dict[str, Any]:
    """The body of a `verdict` entry.

    `enforce`: whether the gate does more than watch. `told`: what the agent was told where nothing was done; it stands
    there where it is not just the reasons. `question`: what the user must be asked first.
    """
    body: dict[str, Any] = {"ruling": verdict.ruling, "level": verdict.level}
    if verdict.reasons:
        body["reasons"] = [
            {"rule": r.rule, "code": r.code, "text": r.text, "ruling": r.ruling, "enforced": r.enforced and enforce}
            for r in verdict.reasons
        ]
    if verdict.origins:
        body["origins"] = {name: list(found) for name, found in verdict.origins.items()}
    if not enforce:
        body["enforce"] = False
    if told is not None and told != verdict.text:
        body["told"] = told
    if question is not None:
        body["question"] = question
    return body


def escalates_on(contract: Contract, event: str) -> bool:
    """Whether a contract hands a run over on an event. Repeated denials do so unless it says otherwise."""
    spec = contract.escalate
    if spec is None or not spec.on:
        return event == "repeated_denial"
    return event in spec.on


def told_of_denial(policy: Policy, state: RunState, action: Action, verdict: Verdict) -> tuple[str, str | None]:
    """What the agent is told of a denial that is about to be counted, and why the run is over by it; None: it goes on.

    Only where the gate does more than watch.
    """
    text = verdict.text
    if state.status != "open":
        return text, None
    denied = state.denials[(action.tool, frozen(action.args), verdict.rule)] + 1
    if denied >= REPEATS and escalates_on(policy.contract, "repeated_denial"):
        more = "The same call was denied again and again, so a person takes over: tell the user so."
        return f"{text} {more}", "the same call was denied repeatedly"
    if verdict.reasons and verdict.reasons[0].code == "budget" and escalates_on(policy.contract, "budget"):
        return f"{text} A person takes over: tell the user so.", verdict.reasons[0].text
    return text, None


def of_a_look(by: str, level: Level, *, action: str, tool: str) -> Verdict:
    """On a look-up that the gate itself makes for an action, because the contract says so: it is open to the gate."""
    reason = Reason(rule=by, code="gate", text=f"for {action} ({tool})", ruling="allow")
    return Verdict(ruling="allow", level=level, reasons=(reason,))


def of_an_undo(level: Level, *, by: str, because: str, action: str, tool: str) -> Verdict:
    """On the call that takes an action back: it is admitted because it matches."""
    text = f"{by} takes back {tool} ({action}): {because}"
    reason = Reason(rule="undo", code="undo", text=text, ruling="allow")
    return Verdict(ruling="allow", level=level, reasons=(reason,))


def of_another_way() -> Verdict:
    """On a call of an agent that is driven again and does what it did not do before."""
    text = (
        "This run was driven again and took another way than before, so nothing more is done. A person takes over: "
        "tell the user so."
    )
    return verdict_of([Reason(rule="journal", code="diverged", text=text, ruling="deny")], "shadow")


def of_no_way_back(tool: ToolPolicy, look: str, why: str, level: Level) -> Verdict:
    """On a call that could not be taken back later, because what it would change cannot be read now."""
    text = f"{tool.name} could not be taken back later, for {look} cannot be read now ({why}) Try again later."
    return verdict_of([Reason(rule="undo", code="unreadable_before", text=text, ruling="deny")], level)


def of_a_conflict(conflict: Conflict, level: Level) -> Verdict:
    """On a call that was allowed, until what other runs have used up or claimed was looked at."""
    return verdict_of([_conflicted(conflict)], level)


def _conflicted(conflict: Conflict) -> Reason:
    short = budgets.reason_of(conflict)
    if short is not None:
        return short
    guard = conflict.guard
    if isinstance(guard, Claim) and guard.key.startswith("key/"):
        text = "The same key was used for a call with other arguments. Repeat that call as it was, or escalate."
        return Reason(rule="idempotent", code="same_key", text=text, ruling="deny")
    text = "Somebody else has carried this approved action already: do not call it again."
    return Reason(rule="approval", code=CARRIED_BEFORE, text=text, ruling="deny")
