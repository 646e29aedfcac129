"""Actions that wait for a person: how they are put to people, and what is done when it is decided."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from roadworthy.core.errors import Conflict, LedgerError
from roadworthy.core.types import Action, Claim, Draft, Outcome, Reason, Verdict
from roadworthy.gate import telemetry
from roadworthy.gate.carry import ToolFunction, is_async
from roadworthy.gate.core import Blocking, Steps, cause_of
from roadworthy.gate.decide import decide, normalise, verdict_of
from roadworthy.gate.people.answers import Answering, Question
from roadworthy.gate.people.questions import TRIAL, Pending, asks, pending_of, tell, why_of
from roadworthy.gate.policy import USER, Policy, ToolPolicy
from roadworthy.gate.state import RunState, frozen
from roadworthy.gate.values import shown
from roadworthy.gate.verdicts import CARRIED_BEFORE

if TYPE_CHECKING:
    from roadworthy.gate.entries import Context, Step


def ask(ctx: Context, step: Step, fn: ToolFunction | None) -> bool:
    """Put a held action to whoever decides. True when it was approved at once, which happens in trials only."""
    gate, state = ctx.gate, ctx.state
    tool, action, verdict = cast("ToolPolicy", step.tool), step.action, step.verdict
    grounds = asks(verdict)
    step.question = user_question(gate.policy, action, grounds)
    if step.question is not None:
        text = told_to_ask(step.question)
        step.outcome = Outcome(status="clarify", done="blocked", value=step.question, text=text)
        step.drafts = [*ctx.opening(step), ctx.verdict(step)]
        return False
    waiting = next(
        (p for p in state.pending.values() if not p.settled and p.key == (tool.name, frozen(action.args))), None
    )
    begun = bool(step.cause.partition("~")[1])
    opening = ctx.opening(step)
    if waiting is not None and (waiting.action != action.id or begun):
        step.outcome = _held(waiting)
        step.suspends = _suspends(ctx, waiting)
        step.drafts = [] if begun else [*opening, ctx.verdict(step)]
        if step.suspends:
            ctx.set_status("held", why_of(waiting))
        return False
    pending = pending_of(
        gate.policy,
        state,
        tool,
        ledger=gate.ledger.id,
        run=ctx.core.id,
        action=action.id,
        args=action.args,
        rules=frozenset(r.rule for r in grounds),
        text=verdict.text,
        at=action.at,
        nonce=secrets.token_hex(16) if ctx.core.session else "trial",
        subject=action.subject,
        capability=action.capability,
        origins=verdict.origins,
    )
    questions = [_question_draft(ctx, step, pending, q) for q in pending.questions.values()]
    answer = gate.approver(action, verdict) if gate.approver is not None else None
    if answer is not None:
        ruling = "approve" if answer else "deny"
        role = next(iter(pending.questions.values())).role
        body = {"question": action.id, "ruling": ruling, "by": TRIAL, "role": role}
        questions.append(ctx.draft("answer", body, cause=step.cause, realm=step.realm))
        if answer:
            step.drafts = questions
            return True
        step.outcome = Outcome(status="denied", done="blocked", text=told_no(role, verdict))
        step.drafts = [*opening, ctx.verdict(step), *questions]
        return False
    state.pending[action.id] = pending
    if step.span is not None:
        pending.trace = step.span.trace
    if fn is not None:
        ctx.core.functions = ctx.core.functions or {}
        ctx.core.functions[tool.name] = fn
    step.outcome = _held(pending)
    step.suspends = _suspends(ctx, pending)
    if step.suspends:
        ctx.set_status("held", why_of(pending))
    step.drafts = [*opening, ctx.verdict(step), *questions]
    gate.asked(pending)
    return False


def still_waits(ctx: Context, step: Step) -> bool:
    """Whether a call that an earlier drive put to people waits for them still; it then ends here again."""
    pending = ctx.state.pending.get(step.action.id)
    if pending is None or pending.settled:
        return False
    decided = pending.decided(ctx.gate.policy, ctx.gate.clock.now())[0] is not None
    if decided and ctx.state.status != "held":  # while the run waits for another answer, no yes is used up
        return False
    wait(ctx, step, pending)
    return True


def wait(ctx: Context, step: Step, pending: Pending) -> None:
    """Have a call end with its action still held."""
    step.outcome = _held(pending)
    step.suspends = _suspends(ctx, pending)


def _suspends(ctx: Context, pending: Pending) -> bool:
    """Whether the run stops here. Only a run that can be driven again from its start may; else the chat goes on."""
    return pending.suspend and ctx.state.suspendable


def user_question(policy: Policy, action: Action, grounds: Sequence[Reason]) -> str | None:
    """What the user is asked before an action, in words; None where the grounds ask for no word of the user."""
    names = {reason.rule for reason in grounds}
    for rule in policy.tools[action.tool].rules:
        if rule.role == USER and rule.id in names:
            read = ", ".join(f"{name} {value}" for name, value in action.args.items())
            called = policy.contract.model_name(action.tool)
            return f"{rule.because} Shall I go on with {called}{': ' if read else ''}{read}?"
    return None


def told_to_ask(question: str) -> str:
    """What the agent is told that is to put a question to the user."""
    return f"The user must say yes first. Ask them, in these words: {question}"


def question_body(pending: Pending, question: Question) -> dict[str, Any]:
    """The body of a `question` entry."""
    body: dict[str, Any] = {
        "question": question.id,
        "action": pending.action,
        "role": question.role,
        "tool": pending.tool,
        "args": pending.args,
        "text": pending.text,
        "rules": sorted(pending.rules),
        "approvals": question.approvals,
        "nonce": question.nonce,
        "digest": question.digest,
    }
    if question.excluded:
        body["not"] = list(question.excluded)
    if question.expires is not None:
        body["expires"] = question.expires
    if pending.suspend:
        body["meanwhile"] = "suspend"
    if pending.origins:
        body["origins"] = {name: list(found) for name, found in pending.origins.items()}
    return body


def _question_draft(ctx: Context, step: Step, pending: Pending, question: Question) -> Draft:
    # At the time of the decision, so that whoever makes the question anew comes to the same one.
    body = question_body(pending, question)
    return ctx.draft("question", body, cause=step.cause, realm=step.realm, at=pending.at)


def told_no(role: str | None, verdict: Verdict) -> str:
    """What the agent of a trial is told whose approver says no at once."""
    return f"{role or 'A person'} said no. {verdict.text}"


def _held(pending: Pending) -> Outcome:
    text = (
        f"Held: {pending.text} Tell the user that this waits for a person's decision. Do not call it again; you will "
        "be told what was decided."
    )
    return Outcome(status="held", done="held", text=text)


def approval_of(ctx: Context, step: Step) -> Pending | None:
    """The approved action that a call repeats, where there is one."""
    state = ctx.state
    return approved(ctx.gate.policy, state, step.action, now=ctx.gate.clock.now()) if state.pending else None


def approved(policy: Policy, state: RunState, action: Action, *, now: datetime) -> Pending | None:
    """The same, at a time."""
    key = (action.tool, frozen(action.args))
    for pending in state.pending.values():
        if not pending.settled and pending.key == key and pending.decided(policy, now)[0] == "approve":
            return pending
    return None


def discharged(verdict: Verdict, approval: Pending) -> Verdict:
    """A verdict after people have said yes: what they were asked about stands no more against it, and nothing else."""
    reasons: list[Reason] = []
    for reason in verdict.reasons:
        if reason.ruling == "ask" and reason.enforced and reason.rule in approval.rules:
            reasons.append(replace(reason, ruling="allow", text=f"Approved: {reason.text}"))
        else:
            reasons.append(reason)
    return replace(verdict_of(reasons, verdict.level), origins=verdict.origins)


def decided_otherwise(ctx: Context, step: Step) -> Pending | None:
    """The held action that a call of an earlier drive is, where people have decided anything but a plain yes.

    A plain yes lets the call itself be carried. Everything else is what came of the call, whatever would be decided
    about it now.
    """
    pending = ctx.state.pending.get(step.action.id) if ctx.core.journal is not None else None
    if pending is None or pending.settled:
        return None
    with ctx.core.lock:
        _go_on(ctx)
        ruling = pending.decided(ctx.gate.policy, ctx.gate.clock.now())[0]
        if ruling in (None, "approve") or (ruling == "edit" and ctx.state.status == "held"):
            return None
    return pending


def do_decided(ctx: Context, pending: Pending, fn: ToolFunction | None) -> Steps[Outcome | None]:
    """Do what people have decided in the place of a call; None where that cannot be done here and now."""
    if fn is not None:
        ctx.core.functions = ctx.core.functions or {}
        ctx.core.functions[pending.tool] = fn
    ruling, answer = pending.decided(ctx.gate.policy, ctx.gate.clock.now())
    yield from _settle_one(ctx, pending, cast("Answering", ruling), answer)
    return pending.outcome


def carried_before(verdict: Verdict) -> bool:
    """Whether somebody else was faster to carry an approved action; then it is theirs to record."""
    return any(reason.code == CARRIED_BEFORE for reason in verdict.reasons)


def once(approval: Pending) -> Claim:
    """What makes sure that an approved action is carried once, whoever comes first."""
    return Claim(key=f"carry/{approval.action}", value=approval.action)


def settle(ctx: Context) -> Steps[int]:
    """Do what was decided about held actions meanwhile; how many were settled. The run is told by `news`."""
    done = 0
    with ctx.core.lock:
        ctx.refresh_controls()
        _go_on(ctx)
    for pending in list(ctx.state.pending.values()):
        if pending.settled:
            continue
        ruling, answer = pending.decided(ctx.gate.policy, ctx.gate.clock.now())
        if ruling is None:
            continue
        if ruling in ("approve", "edit") and ctx.state.status == "held":
            continue  # the run waits for another answer: it is done when the run goes on
        try:
            done += yield from _settle_one(ctx, pending, ruling, answer)
        except LedgerError:
            continue  # it stays decided, and whoever comes next does it
    return done


def _go_on(ctx: Context) -> None:
    """A run that has stopped for people goes on when all that it has stopped for is decided."""
    state, now = ctx.state, ctx.gate.clock.now()
    suspended = [p for p in state.pending.values() if p.suspend and not p.settled]
    if state.status == "held" and all(p.decided(ctx.gate.policy, now)[0] is not None for p in suspended):
        ctx.set_status("open", "")


def _settle_one(ctx: Context, pending: Pending, ruling: Answering, answer: Mapping[str, Any] | None) -> Steps[int]:
    tool = ctx.gate.policy.tools[pending.tool]
    if ruling not in ("approve", "edit"):
        outcome, over = _refused(pending, ruling, answer)
        step = _again(ctx, pending, tool, pending.args)
        drafts = [ctx.outcome(step, outcome, more={"decided": ruling})]
        if over is not None:
            with ctx.core.lock:
                ctx.set_status("escalated", over)
            drafts.append(ctx.handover(over, cause=step.cause))
        try:
            yield ctx.write(drafts, [once(pending)])
        except Conflict:
            return 0
        _tell(ctx, pending, outcome)
        return 1
    args = pending.args
    if ruling == "edit":
        found = normalise(tool, cast("Mapping[str, Any]", cast("Mapping[str, Any]", answer)["args"]))
        if isinstance(found, Reason):
            outcome = Outcome(status="denied", done="blocked", text=f"It was changed to what cannot be: {found.text}")
            step = _again(ctx, pending, tool, pending.args)
            try:
                yield ctx.write([ctx.outcome(step, outcome, more={"decided": ruling})], [once(pending)])
            except Conflict:
                return 0
            _tell(ctx, pending, outcome)
            return 1
        args = found
    fn = (ctx.core.functions or {}).get(tool.name)
    function = ctx.gate.function_for(tool.name, fn)
    if function is None or (is_async(function) and (yield Blocking())):
        return 0  # nobody here can do it; a worker with the tools, async code, or the next call will
    span = telemetry.span_of(ctx)
    steps = _carry_decided(ctx, pending, ruling, args, fn, span)
    return (yield from steps if span is None else span.around(steps))


def _carry_decided(
    ctx: Context,
    pending: Pending,
    ruling: Answering,
    args: Mapping[str, Any],
    fn: ToolFunction | None,
    span: telemetry.CallSpan | None,
) -> Steps[int]:
    """Carry what people have agreed to, where it still may be."""
    from roadworthy.gate.passage import begin_carrying, conclude, intend

    tool = ctx.gate.policy.tools[pending.tool]
    step = _again(ctx, pending, tool, args)
    if span is not None:
        span.open(step, held_in=pending.trace)
    if ruling == "edit":
        step.note = f"A person wrote other arguments for it: {_read(args, but=pending.args)}."
    with ctx.core.lock:
        step.fed = len(ctx.core.fed)
        step.verdict = discharged(decide(ctx.gate.policy, ctx.state, step.action, now=step.action.at), pending)
        step.realm = ctx.realm(step.verdict.level)
        if step.verdict.ruling in ("allow",) or not ctx.gate.enforce:
            begin_carrying(ctx, step, fn)
            step.guards.append(once(pending))
    if not step.carry:
        text = f"It was approved, and cannot be done any more: {step.verdict.text}"
        outcome = Outcome(status="denied", done="blocked", text=text)
        try:
            ended = ctx.outcome(step, outcome, more={"decided": ruling})
            yield ctx.write([ctx.verdict(step), ended], [once(pending)])
        except Conflict:
            return 0
        if step.verdict.ruling == "deny":
            with ctx.core.lock:
                ctx.state.deny(tool.name, args, step.verdict.rule)
        if span is not None:
            span.came(outcome)
        _tell(ctx, pending, outcome)
        return 1
    yield from intend(ctx, step)
    if not step.carry:
        if carried_before(step.verdict):
            return 0
        outcome = cast("Outcome", step.outcome)
        if not pending.settled:  # what it would use is used up: it ends here, and is not tried for ever
            try:
                yield ctx.write([ctx.outcome(step, outcome, more={"decided": ruling})], [once(pending)])
            except Conflict:
                return 0
        _tell(ctx, pending, outcome)
        return 1
    pending.settled = True
    outcome = yield from conclude(ctx, step, fn)
    if span is not None:
        span.came(outcome)
    _tell(ctx, pending, outcome)
    return 1


def _read(args: Mapping[str, Any], *, but: Mapping[str, Any]) -> str:
    """Arguments in words, as far as they are others than before."""
    changed = [
        f"{name} {value if isinstance(value, Decimal) else shown(value)}"
        for name, value in args.items()
        if name not in but or but[name] != value
    ]
    return ", ".join([*changed, *(f"no {name}" for name in but if name not in args)]) or "the same ones"


def _again(ctx: Context, pending: Pending, tool: ToolPolicy, args: Mapping[str, Any]) -> Step:
    from roadworthy.gate.entries import Step
    from roadworthy.gate.passage import key_for

    action = Action(
        id=pending.action,
        run=ctx.core.id,
        principal=ctx.state.principal,
        subject=ctx.state.subject,
        capability=pending.capability,
        tool=tool.name,
        args=args,
        call_id=None,
        at=ctx.gate.clock.now(),
    )
    step = Step(
        action=action,
        tool=tool,
        verdict=verdict_of([], ctx.state.level_of(tool)),
        realm=ctx.gate.world,
        cause=cause_of(pending.action, ctx.core.session),
    )
    step.key = key_for(ctx, step)
    step.approval = pending
    return step


def _refused(pending: Pending, ruling: Answering, answer: Mapping[str, Any] | None) -> tuple[Outcome, str | None]:
    if answer is None:
        return Outcome(
            status="denied", done="blocked", text=f"Nobody answered in time, so {pending.tool} was not done."
        ), None
    by, because = str(answer["by"]), str(answer.get("because") or "")
    why = f" ({because})" if because else ""
    if ruling == "answer":
        text = f"{pending.tool} was not done. {by} answers: {answer['text']}"
        return Outcome(status="denied", done="blocked", text=text), None
    if ruling == "take":
        text = f"{by} has taken over{why}. Tell the user so, and call no more tools."
        return Outcome(status="denied", done="blocked", text=text), f"{by} has taken over{why}"
    return Outcome(status="denied", done="blocked", text=f"{by} said no to {pending.tool}{why}."), None


def _tell(ctx: Context, pending: Pending, outcome: Outcome) -> None:
    pending.settled, pending.outcome = True, outcome
    tell(ctx.state, pending, outcome.text)
