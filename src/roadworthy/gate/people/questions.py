"""Questions that wait for people, as a run remembers them: made from its actions, live and on replay alike.

The question that an answer is held against is made here, from the action and from this gate's own contract. A ledger
says that a question was put, with which nonce and when. Who may answer, why it is asked and where the values came from
is found out anew, by deciding about the action as the run stood then; a yes never covers more than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from roadworthy.core.types import Action, Entry, Outcome, Reason, Verdict
from roadworthy.gate.decide import approver_of, decide, normalise
from roadworthy.gate.people.answers import REQUESTER, Answering, Question, action_digest, standing
from roadworthy.gate.policy import USER, Asking, Policy, ToolPolicy
from roadworthy.gate.state import RunState, frozen

TRIAL: Final = "trial"
"""Who gives the answers of a trial's approver, beside whom there is nobody."""


@dataclass(slots=True)
class Pending:
    """One action that waits."""

    action: str
    tool: str
    args: Mapping[str, Any]
    """Typed."""
    rules: frozenset[str]
    """The grounds on which it was put to people, and which their yes discharges."""
    text: str
    """Why, in words."""
    at: datetime
    suspend: bool
    questions: dict[str, Question] = field(default_factory=dict[str, Question])
    """By id, one for each role that must agree."""
    answers: dict[str, list[tuple[Mapping[str, Any], datetime]]] = field(
        default_factory=dict[str, list[tuple[Mapping[str, Any], datetime]]]
    )
    """By question, each with the time at which it was written."""
    settled: bool = False
    """What was decided has been done, or cannot be done any more."""
    subject: str | None = None
    capability: str | None = None
    origins: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    trace: str | None = None
    """The span in which it was held, as the action's entry names it."""
    outcome: Outcome | None = None
    """What came of it when this process did what was decided."""

    @property
    def key(self) -> Any:
        """What tells the action from others."""
        return self.tool, frozen(self.args)

    def decided(self, policy: Policy, now: datetime) -> tuple[Answering | None, Mapping[str, Any] | None]:
        """What all answers amount to, and the one that decided; None while it is open. One no is a no for all."""
        approved = True
        last: Mapping[str, Any] | None = None
        for question in self.questions.values():
            found = standing(policy.people, question, self.answers.get(question.id, ()), now=now)
            if found.ruling is None:
                approved = False
            elif found.ruling != "approve":
                return found.ruling, found.counted[-1] if found.by else None
            else:
                last = found.counted[-1]
        return ("approve", last) if approved else (None, None)


def _asked(policy: Policy, state: RunState, tool: ToolPolicy, rules: Iterable[str]) -> list[Asking]:
    """Who must agree: each role that a rule names, and where none does, the capability's approver."""
    named = set(rules)
    by_role: dict[str, Asking] = {}
    plain: list[Asking] = []
    for rule in tool.rules:
        asking = rule.asking
        if rule.id not in named or asking is None:
            continue
        if asking.role is None:
            plain.append(asking)
        elif asking.role != USER:
            by_role[asking.role] = _stricter(by_role[asking.role], asking) if asking.role in by_role else asking
    if not by_role:
        role = approver_of(policy, state, tool)
        merged = Asking(role=role)
        for asking in plain:
            merged = _stricter(merged, asking)
        return [merged]
    found = list(by_role.values())
    for asking in plain:
        found[0] = _stricter(found[0], asking)
    return found


def _stricter(one: Asking, other: Asking) -> Asking:
    limits = [s for s in (one.within_s, other.within_s) if s is not None]
    return Asking(
        role=one.role,
        approvals=max(one.approvals, other.approvals),
        excluded=tuple(dict.fromkeys((*one.excluded, *other.excluded))),
        within_s=min(limits) if limits else None,
        suspend=one.suspend or other.suspend,
    )


def pending_of(
    policy: Policy,
    state: RunState,
    tool: ToolPolicy,
    *,
    ledger: str,
    run: str,
    action: str,
    args: Mapping[str, Any],
    rules: frozenset[str],
    text: str,
    at: datetime,
    nonce: str,
    subject: str | None,
    capability: str | None,
    origins: Mapping[str, tuple[str, ...]],
) -> Pending:
    digest = action_digest(
        principal=state.principal,
        subject=subject,
        tool=tool.name,
        args=args,
        contract=policy.contract.digest,
        origins=origins,
    )
    asked = _asked(policy, state, tool, rules)
    pending = Pending(
        action=action,
        tool=tool.name,
        args=args,
        rules=rules,
        text=text,
        at=at,
        suspend=any(one.suspend for one in asked),
        subject=subject,
        capability=capability,
        origins=origins,
    )
    for n, one in enumerate(asked):
        question = Question(
            id=action if n == 0 else f"{action}/{n + 1}",
            ledger=ledger,
            run=run,
            role=one.role,
            approvals=one.approvals,
            sole=len(asked) == 1,
            excluded=one.excluded,
            nonce=nonce,
            expires=None if one.within_s is None else at + timedelta(seconds=one.within_s),
            principal=state.principal,
            requester=state.requester if REQUESTER in one.excluded else None,
            digest=digest,
        )
        pending.questions[question.id] = question
    return pending


def asks(verdict: Verdict) -> list[Reason]:
    """The reasons of a verdict that people may discharge."""
    return [r for r in verdict.reasons if r.enforced and r.ruling == "ask"]


def recall(state: RunState, policy: Policy, entry: Entry, ledger: str, action: Mapping[str, Any]) -> None:
    """A question that stands in the ledger, made anew from its action, in the state of the run at that time.

    `action`: the body of the action's entry. A question that this gate would not put is none.
    """
    body = entry.body
    identity = str(action["id"])
    if identity in state.pending:
        return
    tool = policy.tools.get(str(action["tool"]))
    if tool is None:
        return
    args = normalise(tool, action["args"])
    if isinstance(args, Reason):
        return
    again = Action(
        id=identity,
        run=str(entry.run),
        principal=state.principal,
        subject=action.get("subject"),
        capability=action.get("capability"),
        tool=tool.name,
        args=args,
        call_id=None,
        at=entry.at,
    )
    verdict = decide(policy, state, again, now=entry.at)
    # What was asked then, as far as it would be asked now: a yes to less than all never stands for all.
    put = {str(r) for r in body.get("rules", ())}
    grounds = [r for r in asks(verdict) if r.rule in put]
    if not grounds:
        return
    pending = pending_of(
        policy,
        state,
        tool,
        ledger=ledger,
        run=str(entry.run),
        action=identity,
        args=args,
        rules=frozenset(r.rule for r in grounds),
        text=" ".join(dict.fromkeys(r.text for r in grounds)),
        at=entry.at,
        nonce=str(body.get("nonce", "")),
        subject=action.get("subject"),
        capability=action.get("capability"),
        origins=verdict.origins,
    )
    pending.trace = action.get("trace")
    state.pending[identity] = pending
    if pending.suspend and state.suspendable and state.status == "open":
        state.status, state.status_why = "held", why_of(pending)


def end(state: RunState, identity: str) -> None:
    """What was decided about a held action was done, in this process or another; a run that stopped for it goes on."""
    pending = state.pending.get(identity)
    if pending is None:
        return
    pending.settled = True
    if state.status == "held" and not any(p.suspend and not p.settled for p in state.pending.values()):
        state.status, state.status_why = "open", ""


def hear_answer(state: RunState, entry: Entry, at: datetime) -> None:
    """An answer that stands in the ledger. Whether it counts is judged when it matters, by the contract's people.

    `at`: when it was written, at the earliest.
    """
    asked = str(entry.body.get("question", ""))
    for pending in state.pending.values():
        if asked in pending.questions:
            pending.answers.setdefault(asked, []).append((entry.body, at))
            return


def open_questions(pendings: Iterable[Pending], policy: Policy, now: datetime) -> Sequence[tuple[Pending, Question]]:
    """The questions that somebody may still answer."""
    found: list[tuple[Pending, Question]] = []
    for pending in pendings:
        if pending.settled or pending.decided(policy, now)[0] is not None:
            continue
        for question in pending.questions.values():
            if standing(policy.people, question, pending.answers.get(question.id, ()), now=now).ruling is None:
                found.append((pending, question))
    return found


def tell(state: RunState, pending: Pending, text: str) -> None:
    """Have the agent be told of a held action that was settled."""
    told = f"About {pending.tool}, which waited for a person: {text}"
    state.news.append(told)
    if pending.suspend:
        state.results.add(told)


def why_of(pending: Pending) -> str:
    roles = " and ".join(q.role or "a person" for q in pending.questions.values())
    return f"{roles} must approve {pending.tool}"
