"""What passes between a run and people: what the user says, what the user is told, and who takes over."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from roadworthy.core.errors import LedgerError, UsageError
from roadworthy.core.types import STRICTNESS, Done, Outcome, Reason
from roadworthy.gate.agents import named
from roadworthy.gate.core import AskUser, Steps
from roadworthy.gate.entries import Context
from roadworthy.gate.passage import blocked, call
from roadworthy.gate.people import held
from roadworthy.gate.policy import Policy
from roadworthy.gate.state import RunState

_log = logging.getLogger("roadworthy.gate")

Sink = Literal["reply", "ask_user", "escalate"]


def heard(ctx: Context, text: str, *, answers: str | None = None) -> Steps[None]:
    """The user said something. What people have decided meanwhile is done before the agent takes its turn."""
    if not isinstance(cast("object", text), str):
        raise UsageError(f"what a user says is text, and not a {type(text).__name__}")
    journal = ctx.core.journal
    if journal is not None and answers is None and journal.take_heard(text):
        return
    body = {"text": text} if answers is None else {"text": text, "answers": answers}
    draft, last = ctx.draft("heard", body), ctx.state.last_at
    yield ctx.write([draft])
    with ctx.core.lock:
        _hear(ctx, text, draft.at, last, answers)
    if ctx.gate.policy.scope is not None and answers is None:
        yield from _scope(ctx, text)
    if ctx.state.pending:
        with ctx.core.lock:
            ctx.core.catch_up(ctx.gate.ledger)
        yield from held.settle(ctx)


def _hear(ctx: Context, text: str, at: datetime, last: datetime, answers: str | None) -> None:
    ctx.state.last_at = last
    ctx.state.hear(text, at, answers=answers)


def _scope(ctx: Context, text: str) -> Steps[None]:
    """Find out from a turn of the user what this run is for, where the application has not said so."""
    gate, state = ctx.gate, ctx.state
    if ctx.core.given or state.status != "open" or gate.policy.scope is None:
        return
    found = placed(gate.policy, state, text)
    for name in found.opened:
        yield ctx.write([ctx.draft("run", {"opened": name, "by": "scope"})])
        with ctx.core.lock:
            state.open(name)
    if found.scope is not None and found.scope != state.scope:
        if found.scope != "in":
            yield ctx.write([ctx.draft("run", {"scope": found.scope, "by": "scope"})])
        state.scope = found.scope
    if found.scope == "out" and ctx.escalates_on("out_of_scope"):
        why = "what the user wants is not what this agent is for"
        with ctx.core.lock:
            ctx.set_status("escalated", why)
        yield ctx.write([ctx.handover(why)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What a turn of the user says of what a run is for."""

    opened: tuple[str, ...] = ()
    """The capabilities that it opens, in the order in which they are opened."""
    scope: Literal["in", "uncertain", "out"] | None = None
    """None: it changes nothing."""


def placed(policy: Policy, state: RunState, text: str) -> Placed:
    """What a turn of the user opens, where nobody else has said what the run is for. As pure as a decision."""
    from roadworthy.gate.scope import classify

    if policy.scope is None:
        return Placed()
    found = classify(policy.scope, text)
    spec = policy.contract.principals.get(state.principal)
    wanted = [name for name in found.within if spec is None or name in spec.capabilities]
    if found.certainty == "in" and wanted:
        return Placed(opened=tuple(name for name in wanted if name not in state.capabilities), scope="in")
    if state.capabilities:
        return Placed()  # a later turn that is hard to place takes nothing away
    return Placed(scope="out" if found.certainty == "out" else "uncertain")


def say(
    ctx: Context, text: str, sink: Sink = "reply", *, shown: bool = True, agent: str | None = None
) -> Steps[Outcome]:
    """Tell the user something, through the gate: labelled data, links and untrue claims are held back.

    `shown`: it reaches the user now. What does not, the user cannot have said yes to. `agent`: who says it, where the
    application has several agents.
    """
    agent = named(agent)
    if not isinstance(cast("object", text), str):
        return blocked(f"The user was not told this: it is a {type(text).__name__}, and no text.")
    journal = ctx.core.journal
    past = journal.take_said(text) if journal is not None else None
    if past is not None:
        return past
    with ctx.core.lock:
        weighed = _weighed(ctx, text, sink)
    outcome = weighed.outcome
    try:
        yield ctx.write([ctx.draft("said", said_body(text, sink, weighed, shown=shown, agent=agent))])
    except LedgerError as error:
        return blocked(f"Nothing was done: the ledger cannot be written ({error.text}). Tell the user so.")
    with ctx.core.lock:
        if outcome.ok and outcome.done == "executed" and shown:
            ctx.state.said(text, question=sink == "ask_user")
        elif weighed.stopped and sink == "reply":
            ctx.state.withheld += 1
    return outcome


def said_body(text: str, sink: Sink, weighed: Weighed, *, shown: bool, agent: str | None = None) -> dict[str, Any]:
    """The body of a `said` entry."""
    outcome = weighed.outcome
    body: dict[str, Any] = {"text": text, "done": outcome.done if shown or not outcome.ok else "blocked"}
    if sink != "reply":
        body["sink"] = sink
    if agent is not None:
        body["agent"] = agent
    if weighed.stopped:
        body |= {"status": "denied", "told": outcome.text}
    if weighed.reasons:
        body["reasons"] = [
            {"rule": r.rule, "code": r.code, "text": r.text, "ruling": r.ruling, "enforced": r in weighed.stopped}
            for r in weighed.reasons
        ]
    return body


def may_say(ctx: Context, text: str) -> Outcome:
    """What telling the user something would come to. Nothing is written, and nobody is told."""
    journal = ctx.core.journal
    with ctx.core.lock:
        past = journal.look_said(text) if journal is not None else None
        return past if past is not None else _weighed(ctx, text, "reply").outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What would come of telling somebody a text."""

    outcome: Outcome
    reasons: Sequence[Reason]
    """All that speaks against it."""
    stopped: Sequence[Reason]
    """What of that holds it back, the strictest first."""


def _weighed(ctx: Context, text: str, sink: Sink) -> Weighed:
    return weigh(ctx.gate.policy, ctx.state, text, sink, enforce=ctx.gate.enforce)


def weigh(policy: Policy, state: RunState, text: str, sink: Sink, *, enforce: bool) -> Weighed:
    """What would come of saying something. As pure as a decision; `enforce`: whether the gate does more than watch."""
    reasons = judged(policy, state, text, sink)
    stopped = [r for r in reasons if r.enforced and r.ruling != "allow"] if enforce else []
    if not stopped:
        done: Done = "simulated" if enforce and state.all_in_shadow else "executed"
        return Weighed(outcome=Outcome(status="ok", done=done, value=text, text=text), reasons=reasons, stopped=stopped)
    stopped.sort(key=lambda r: -STRICTNESS[r.ruling])
    told = f"The user was not told this. {' '.join(dict.fromkeys(r.text for r in stopped))}"
    return Weighed(outcome=Outcome(status="denied", done="blocked", text=told), reasons=reasons, stopped=stopped)


def judged(policy: Policy, state: RunState, text: str, sink: Sink) -> Sequence[Reason]:
    """What speaks against telling somebody a text."""
    if policy.flow is None:
        return ()
    from roadworthy.gate.flow.judge import judge_text

    try:
        return judge_text(policy, state, sink, text)
    except Exception as error:  # nobody may take a broken check for a yes, nor be broken by one
        _log.exception("a text to the user could not be judged")
        why = f"This could not be judged ({type(error).__name__}). Write less, or escalate to a person."
        return (Reason(rule="gate", code="unjudged", text=why, ruling="deny"),)


def ask_user(ctx: Context, question: str, agent: str | None = None) -> Steps[Outcome]:
    """Put a question to the user; the answer is heard, and is the value of the outcome."""
    with ctx.core.lock:
        if ctx.state.status != "open":
            return blocked(f"This run is {ctx.state.status}: ask nothing more.")
    said = yield from say(ctx, question, "ask_user", shown=ctx.channel is not None, agent=agent)
    if not said.ok:
        return said
    if said.done == "simulated":
        return Outcome(status="ok", done="simulated", text="In shadow the user was not asked. End your turn.")
    answer = ctx.core.journal.take_answer(question) if ctx.core.journal is not None else None
    if answer is not None:
        return Outcome(status="ok", done="executed", value=answer, text=answer)
    if ctx.channel is None:
        text = "Put this question to the user as your reply, and end your turn."
        return Outcome(status="clarify", done="blocked", value=question, text=text)
    answer = yield AskUser(ctx.gate, ctx.channel, question)
    if answer is None:
        return Outcome(status="failed", done="executed", text="The user has left the conversation. End your turn.")
    try:
        yield from heard(ctx, answer, answers=question)
    except LedgerError as error:
        return blocked(f"Nothing was done: the ledger cannot be written ({error.text}). Tell the user so.")
    return Outcome(status="ok", done="executed", value=answer, text=answer)


def escalate(ctx: Context, reason: str, agent: str | None = None) -> Steps[Outcome]:
    """Hand the run to a person, by the contract's hand-over tool where there is one; then the run is over."""
    spec = ctx.gate.contract.escalate
    if ctx.state.status != "open":
        return blocked(f"This run is {ctx.state.status}: nothing is left to hand over.")
    with ctx.core.lock:
        stopped = [
            r for r in judged(ctx.gate.policy, ctx.state, reason, "escalate") if r.enforced and r.ruling == "deny"
        ]
    if stopped and ctx.gate.enforce:
        return blocked(" ".join(dict.fromkeys(r.text for r in stopped)))
    if spec is not None and spec.tool is not None and ctx.gate.has_function(spec.tool):
        outcome = yield from call(ctx, spec.tool, {"reason": reason}, None, None, agent)
        if outcome.ok:
            return outcome
    try:
        yield ctx.write([ctx.handover(reason, agent=named(agent))])
    except LedgerError as error:
        return blocked(f"Nothing was done: the ledger cannot be written ({error.text}). Tell the user so.")
    with ctx.core.lock:
        ctx.set_status("escalated", reason)
    text = "A person takes over. Tell the user so, and call no more tools."
    return Outcome(status="ok", done="simulated" if ctx.shadow() else "executed", text=text)
