"""One call's way through the gate: normalise, decide, intent, carry, outcome.

Written once, as steps that `core.drive` and `core.adrive` go through; see there. Nothing waits while it holds the
run's lock.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from roadworthy.contract.conditions import ConditionError
from roadworthy.core.canonical import dumps, loads
from roadworthy.core.errors import Conflict, HarnessError, LedgerError, Suspended, UsageError
from roadworthy.core.types import (
    Action,
    Claim,
    Draft,
    Entry,
    Guard,
    Outcome,
    Realm,
    Reason,
    Reservation,
    Status,
    Verdict,
)
from roadworthy.gate import budgets, telemetry
from roadworthy.gate.agents import named
from roadworthy.gate.carry import Carried, ToolFunction, responses
from roadworthy.gate.core import Carry, Quiesce, Steps, cause_of
from roadworthy.gate.decide import decide, find_tool, normalise, uses_simulated, verdict_of
from roadworthy.gate.entries import Context, Step
from roadworthy.gate.journal import Past
from roadworthy.gate.people import held
from roadworthy.gate.policy import Policy, ToolPolicy
from roadworthy.gate.replay import loose
from roadworthy.gate.simulate import simulated
from roadworthy.gate.state import RunState, frozen, key_of
from roadworthy.gate.values import MISSING, BadValue, as_text, plain, shown, wire
from roadworthy.gate.verdicts import of_a_conflict, of_a_look, of_another_way, of_no_way_back, told_of_denial
from roadworthy.ledger.rows import Appended

_log = logging.getLogger("roadworthy.gate")


def call(
    ctx: Context,
    name: str,
    given: Mapping[str, Any],
    fn: ToolFunction | None,
    call_id: str | None,
    agent: str | None = None,
) -> Steps[Outcome]:
    """Bring a call of the agent to the gate; `agent` is its name, where the application has several."""
    span = telemetry.span_of(ctx)
    steps = _call(ctx, name, given, fn, call_id, named(agent), span)
    return steps if span is None else span.around(steps)


def _call(
    ctx: Context,
    name: str,
    given: Mapping[str, Any],
    fn: ToolFunction | None,
    call_id: str | None,
    agent: str | None,
    span: telemetry.CallSpan | None,
) -> Steps[Outcome]:
    step: Step | None = None
    try:
        with ctx.core.lock:
            begun = _begin(ctx, name, given, fn, call_id, agent, span)
        if isinstance(begun, Outcome):
            return begun
        step = begun
        if step.entered:
            return (yield from conclude(ctx, step, fn))
        decided = held.decided_otherwise(ctx, step)
        if decided is not None:
            outcome = yield from held.do_decided(ctx, decided, fn)
            if outcome is not None:
                return outcome
            held.wait(ctx, step, decided)
        if step.outcome is None and step.tool is not None and not step.unjudged:
            yield from _verify(ctx, step)
            with ctx.core.lock:
                _decide(ctx, step, fn)
            if step.question is not None and ctx.channel is not None:
                yield from _put_to_user(ctx, step, fn)
            if step.carry:
                yield from _read_before(ctx, step)
        yield from intend(ctx, step)
    except LedgerError as error:
        if step is None or not _goes_on_without_ledger(ctx, step):
            if span is not None:
                span.broke(error)
            return _unwritable(ctx, error, step)
        ctx.core.unrecorded += 1
    except (UsageError, HarnessError, Suspended):
        raise  # of whoever builds the agent or the trial, and of who drives the run
    except Exception as error:  # nobody may take a broken check for a yes, nor be broken by one
        if span is not None:
            span.broke(error)
        return _broken(ctx, error, step)
    if step.suspends:
        yield Quiesce(ctx.core)
        raise Suspended(ctx.core.id, step.outcome.text if step.outcome is not None else "")
    if step.unjudged and fn is not None:
        return (yield from _watch(ctx, step, given, fn))
    if step.outcome is not None or step.tool is None:
        return cast("Outcome", step.outcome)
    return (yield from conclude(ctx, step, fn))


def gate_read(ctx: Context, tool: ToolPolicy, args: Mapping[str, Any], by: str, cause: Action) -> Steps[Outcome]:
    """A look-up that the gate itself makes, because the contract says so: typed and journaled, and open to it."""
    span = telemetry.span_of(ctx)
    steps = _gate_read(ctx, tool, args, by, cause, span)
    return steps if span is None else span.around(steps)


def _gate_read(
    ctx: Context, tool: ToolPolicy, args: Mapping[str, Any], by: str, cause: Action, span: telemetry.CallSpan | None
) -> Steps[Outcome]:
    if not ctx.gate.has_function(tool.name):
        return Outcome(status="failed", done="blocked", text=f"The gate has no function for {tool.name}.")
    try:
        typed = tool.arguments.coerce(args)
    except BadValue as bad:
        return Outcome(status="failed", done="blocked", text=f"{tool.name} cannot be asked: {bad}")
    with ctx.core.lock:
        action = _action(ctx, tool.name, typed, None, tool)
        verdict = of_a_look(by, ctx.state.level_of(tool), action=cause.id, tool=cause.tool)
        step = Step(action=action, tool=tool, verdict=verdict, realm=ctx.gate.world, by=by, cause=action.id)
        step.key, step.carry, step.serves = action.id, True, cause.id
        ctx.core.flying += 1
        if span is not None:
            span.open(step)
    written = yield ctx.write([ctx.action(step), ctx.verdict(step), ctx.intent(step)])
    if span is not None:
        span.wrote(written)
    return (yield from conclude(ctx, step, None))


def conclude(ctx: Context, step: Step, fn: ToolFunction | None) -> Steps[Outcome]:
    """Carry what was intended, learn from it, write the outcome, settle what is in doubt."""
    tool = cast("ToolPolicy", step.tool)
    if step.simulate:
        carried = Carried(ending="returned", value=simulated(tool.result.shape))
        ctx.core.landed()
    else:
        function = cast("ToolFunction", ctx.gate.function_for(tool.name, fn))
        try:
            carried = yield Carry(ctx.gate, ctx.core, tool, function, _wired(step, tool), step.key, _left_s(ctx, step))
        except BaseException as error:
            if isinstance(error, Suspended) and error.within:
                error.within = False
                yield ctx.write([ctx.draft("observation", {"within": step.action.id}, cause=step.cause)])
            else:
                _interrupted(ctx, step)
            raise
        finally:
            ctx.core.landed()
    with ctx.core.lock:
        try:
            outcome, drafts = _learn(ctx, step, carried)
        except Exception as error:  # it was called, whatever its answer does to us
            outcome, drafts = _not_learnt(ctx, step, error)
    guards = _given_back(step) if outcome.status == "failed" else ()
    try:
        yield ctx.write(drafts, guards)
    except LedgerError as error:
        if not _goes_on_without_ledger(ctx, step):
            return _unrecorded(step, error)
    if step.span is not None:
        step.span.came(outcome, carried)
    if outcome.status == "in_doubt" and step.by is None and ctx.gate.enforce:
        outcome = yield from _settle(ctx, step, outcome)
    return outcome


# the beginning --------------------------------------------------------------------------------------------------------


def _begin(
    ctx: Context,
    name: str,
    given: Mapping[str, Any],
    fn: ToolFunction | None,
    call_id: str | None,
    agent: str | None,
    span: telemetry.CallSpan | None,
) -> Step | Outcome:
    """The call in the contract's types. An Outcome where an earlier drive knows what came of it."""
    ctx.refresh_controls()
    ctx.core.catch_up(ctx.gate.ledger)
    name = name if isinstance(cast("object", name), str) else shown(name)  # what is no name stands for no tool
    tool = find_tool(ctx.gate.policy, name)
    if isinstance(tool, Reason):
        args, refused, tool = plain(given), tool, None
    else:
        found = normalise(tool, given)
        refused = found if isinstance(found, Reason) else None
        args = plain(given) if isinstance(found, Reason) else found
    known = tool.name if tool is not None else name
    past = ctx.core.journal.take_call(known, args) if ctx.core.journal is not None else None
    if past is not None:
        found = _of_the_past(ctx, past)
        if found is not None:
            return found
    action = _action(ctx, known, args, call_id, tool, past)
    if refused is not None:
        return _refuse(ctx, action, tool, refused, fn, agent, span)
    step = Step(action=action, tool=tool, verdict=verdict_of([], "shadow"), realm=ctx.gate.world, agent=agent)
    step.cause = action.id if past is None else cause_of(action.id, ctx.core.session)
    if span is not None:
        held_before = ctx.state.pending.get(action.id)
        span.open(step, held_in=held_before.trace if held_before is not None else None, judged=False)
    step.key = key_for(ctx, step)
    if past is not None and past.within and past.outcome is None:
        step.entered = step.carry = True
        ctx.core.flying += 1
    return step


def _of_the_past(ctx: Context, past: Past) -> Outcome | None:
    """What an earlier drive came to; None where the call must be looked at again."""
    if past.outcome is not None and past.outcome.done != "held":
        return past.outcome
    if past.within:
        return None
    if past.begun:  # the process died while the tool ran; `Gate.resume` has settled it or handed it over
        text = "Nobody knows whether this was done: the run was broken off meanwhile. Do not call it again."
        return Outcome(status="in_doubt", done="executed", text=text)
    return None


def _refuse(
    ctx: Context,
    action: Action,
    tool: ToolPolicy | None,
    reason: Reason,
    fn: ToolFunction | None,
    agent: str | None,
    span: telemetry.CallSpan | None,
) -> Step:
    """A call that cannot be judged: no such tool, or arguments that do not fit. Where we only watch, it is made."""
    verdict = verdict_of([reason], ctx.state.level_of(tool) if tool is not None else "shadow")
    step = Step(action=action, tool=tool, verdict=verdict, realm=ctx.gate.world, cause=action.id, key=action.id)
    step.agent = agent
    if span is not None:
        span.open(step)
    step.inexact = tool is not None and normalise(tool, as_recorded(action.args)) != reason
    if ctx.gate.enforce or fn is None or ctx.gate.world == "test":
        _deny(ctx, step)
        return step
    step.unjudged = True
    if tool is not None:
        ctx.state.reserve(tool, loose(tool, action.args))
    ctx.core.flying += 1
    step.drafts = [ctx.action(step), ctx.verdict(step), ctx.intent(step)]
    return step


def _verify(ctx: Context, step: Step) -> Steps[None]:
    """Look up destinations that nobody has vouched for yet, where the contract says how."""
    policy = ctx.gate.policy
    if policy.flow is None:
        return
    from roadworthy.gate.flow import judge as flow

    tool = cast("ToolPolicy", step.tool)
    with ctx.core.lock:
        wanted = flow.lookups(policy, ctx.state, tool, step.action.args)
    for look in wanted:
        yield from gate_read(ctx, policy.tools[look.tool], look.args, "verify", step.action)


def _decide(ctx: Context, step: Step, fn: ToolFunction | None) -> None:
    gate, state = ctx.gate, ctx.state
    tool, action = cast("ToolPolicy", step.tool), step.action
    journal = ctx.core.journal
    if journal is not None and held.still_waits(ctx, step):
        return
    if journal is not None and journal.left and tool.acts and not step.cause.partition("~")[1]:
        _diverge(ctx, step)
        return
    step.fed = len(ctx.core.fed)
    step.verdict = decide(gate.policy, state, action, now=action.at)
    approval = held.approval_of(ctx, step)
    if approval is not None:
        step.verdict = held.discharged(step.verdict, approval)
    verdict = step.verdict
    step.realm = ctx.realm(verdict.level)
    if gate.enforce:
        if verdict.ruling == "deny":
            _deny(ctx, step)
            return
        if verdict.ruling == "clarify":
            step.outcome = Outcome(status="clarify", done="blocked", text=verdict.text)
            step.drafts = [*ctx.opening(step), ctx.verdict(step)]
            return
        if verdict.ruling == "ask" and not held.ask(ctx, step, fn):
            return
    begin_carrying(ctx, step, fn)
    if approval is not None:
        step.guards.append(held.once(approval))
        step.approval = approval
        if step.span is not None and approval.action != action.id:
            step.span.link(approval.trace)


def _put_to_user(ctx: Context, step: Step, fn: ToolFunction | None) -> Steps[None]:
    """Ask the user what a rule asks the user, and decide again with the answer."""
    from roadworthy.gate.speech import ask_user

    answered = yield from ask_user(ctx, cast("str", step.question), step.agent)
    if not answered.ok or answered.done != "executed":
        return
    with ctx.core.lock:
        step.question, step.outcome, step.drafts = None, None, []
        _decide(ctx, step, fn)


def begin_carrying(ctx: Context, step: Step, fn: ToolFunction | None) -> None:
    """Reserve what a call that may be made will use. Raises UsageError where nobody gave its function."""
    gate, state = ctx.gate, ctx.state
    tool, action, verdict = cast("ToolPolicy", step.tool), step.action, step.verdict
    function = gate.function_for(tool.name, fn)
    step.simulate = _simulates(ctx, tool, verdict, action.args)
    if function is None and not step.simulate:
        if gate.world == "test":
            gate.missing_stand_in(tool.name)
        raise UsageError(f"no function was given for {tool.name}: pass it as run.call({tool.name!r}, args, function)")
    step.carry = True
    state.reserve(tool, action.args)
    ctx.core.flying += 1
    if gate.policy.budgets is not None:
        reserved = budgets.reservations(gate.policy, action, "shadow" if step.simulate else step.realm)
        step.guards += reserved if gate.enforce else budgets.unlimited(reserved)
    if tool.keyed is not None and tool.keyed.forever:
        step.guards.append(used_key(step.key, action, step.realm))


def _simulates(ctx: Context, tool: ToolPolicy, verdict: Verdict, args: Mapping[str, Any]) -> bool:
    """Whether a call is only made up: a write in shadow, and whatever rests on what was made up before."""
    return ctx.gate.enforce and simulates(ctx.state, tool, verdict, args)


def simulates(state: RunState, tool: ToolPolicy, verdict: Verdict, args: Mapping[str, Any]) -> bool:
    """The same, for a gate that does more than watch."""
    return (tool.acts and verdict.level == "shadow") or uses_simulated(state, args)


def _read_before(ctx: Context, step: Step) -> Steps[None]:
    """Read what a later undo will restore."""
    tool = cast("ToolPolicy", step.tool)
    if tool.undoing is None or tool.undoing.before is None or step.simulate:
        return
    look = ctx.gate.policy.tools[tool.undoing.before]
    args = {name: step.action.args[name] for name in look.arg_shapes if name in step.action.args}
    read = yield from gate_read(ctx, look, args, "before", step.action)
    if read.ok:
        step.before = read.value
        return
    with ctx.core.lock:
        _take_back(ctx, step)
        step.verdict = of_no_way_back(tool, look.name, read.text, step.verdict.level)
        _deny(ctx, step)


def intend(ctx: Context, step: Step) -> Steps[None]:
    """Write the intent, and look again at what others wrote before it."""
    if not step.carry:
        if step.drafts:
            written = yield ctx.write(step.drafts)
            if step.span is not None:
                step.span.wrote(written)
        return
    kept = step.drafts  # a question and its answer, where a trial's approver has said yes at once
    try:
        opening = ctx.opening(step)
        written = yield ctx.write([*opening, ctx.verdict(step), *kept, ctx.intent(step)], step.guards)
    except Conflict as conflict:
        with ctx.core.lock:
            _take_back(ctx, step)
            step.verdict = of_a_conflict(conflict, step.verdict.level)
            step.guards = []
            _deny(ctx, step)
        if not (held.carried_before(step.verdict) and step.cause.partition("~")[1]):
            yield ctx.write(step.drafts)
        return
    if step.span is not None:
        step.span.wrote(written)
    with ctx.core.lock:
        draft = _recheck(ctx, step, written)
        if step.approval is not None:
            step.approval.settled = True
    if draft is not None:
        yield ctx.write([draft], _given_back(step))


def _recheck(ctx: Context, step: Step, written: Sequence[Entry]) -> Draft | None:
    """What others wrote before our intent bites, though we decided before we saw it: a stop, or their own calls."""
    stopped = ctx.refresh_controls()
    core, tool = ctx.core, cast("ToolPolicy", step.tool)
    if not _overtaken(ctx, step, written) and not stopped:
        return None
    ctx.state.release(tool, step.action.args, called=False)
    verdict = decide(ctx.gate.policy, ctx.state, step.action, now=step.action.at)
    approval = held.approval_of(ctx, step)
    if approval is not None:
        verdict = held.discharged(verdict, approval)
    less = not step.simulate and _simulates(ctx, tool, verdict, step.action.args)
    if not less and (verdict.ruling == "allow" or not ctx.gate.enforce):
        ctx.state.reserve(tool, step.action.args)
        return None
    step.carry = False
    core.landed()
    text = verdict.text
    if verdict.ruling == "allow":
        text = f"{tool.name} was not called: people have lowered meanwhile what may be done. You may call it again."
    step.outcome = Outcome(status="denied", done="blocked", text=text)
    return ctx.outcome(step, step.outcome)


def _overtaken(ctx: Context, step: Step, written: Sequence[Entry]) -> bool:
    """Whether others have written to the run before our intent, and after we decided; the state knows it then."""
    core = ctx.core
    if not core.session:
        return False
    span = written.span if isinstance(written, Appended) else None
    mine = written[-1].seq if span is None else span.last
    if mine > core.replay.seen:  # else all up to there is known
        core.catch_up(ctx.gate.ledger, before=mine)
    # Another thread of this process may have come to know of it first.
    return any(seq < mine for seq in core.fed[step.fed :])


def _deny(ctx: Context, step: Step) -> None:
    """The call ends here. The third denial on the same ground, and what the contract names, end the run."""
    action, state = step.action, ctx.state
    text, over = step.verdict.text, None
    if ctx.gate.enforce:
        text, over = told_of_denial(ctx.gate.policy, state, action, step.verdict)
        state.deny(action.tool, action.args, step.verdict.rule)
    step.outcome = Outcome(status="denied", done="blocked", text=text)
    step.drafts = [*ctx.opening(step), ctx.verdict(step)]
    if over is not None:
        ctx.set_status("escalated", over)
        step.drafts.append(ctx.handover(over, cause=step.cause, agent=step.agent))


def _diverge(ctx: Context, step: Step) -> None:
    """The agent, driven again, does what it did not do before: nothing is executed."""
    step.verdict = of_another_way()
    step.outcome = Outcome(status="denied", done="blocked", text=step.verdict.text)
    step.drafts = [ctx.action(step), ctx.verdict(step)]
    why = f"driven again, it called {step.action.tool} where it had not done so before"
    ctx.set_status("escalated", why)
    step.drafts.append(ctx.handover(why, cause=step.cause, agent=step.agent))


def _take_back(ctx: Context, step: Step) -> None:
    step.carry = False
    ctx.core.landed()
    ctx.state.release(cast("ToolPolicy", step.tool), step.action.args, called=False)


def _goes_on_without_ledger(ctx: Context, step: Step) -> bool:
    """Whether the contract lets this call go on though nothing can be written."""
    tool = step.tool
    return step.carry and tool is not None and not tool.acts and ctx.gate.contract.ledger_down.reads == "allow"


# the end --------------------------------------------------------------------------------------------------------------


def _learn(ctx: Context, step: Step, carried: Carried) -> tuple[Outcome, list[Draft]]:
    state, tool = ctx.state, cast("ToolPolicy", step.tool)
    judged = responses.judge(
        ctx.gate.policy,
        tool,
        step.action,
        carried,
        level=step.verdict.level,
        simulate=step.simulate,
        enforce=ctx.gate.enforce,
        learned=ctx.gate.learned,
    )
    outcome, at = judged.outcome, ctx.gate.clock.now()
    step.typed = judged.typed
    if ctx.state.suspendable:
        # What a later drive will give back is what the model sees now, to the byte.
        outcome = replace(outcome, value=loads(dumps(outcome.value)))
    second = state.observe(
        tool,
        step.action.args,
        outcome.status,
        outcome.done,
        outcome.value,
        typed=step.typed,
        at=at,
    )
    if second is not None and ctx.gate.enforce:
        text = (
            f"This run acts for {state.subject}; {tool.name} found somebody else, so the result is withheld. "
            "If the user wants something for another customer, escalate to a person."
        )
        outcome = Outcome(status="denied", done=outcome.done, text=text)
    if step.note:
        outcome = replace(outcome, text=f"{outcome.text}\n({step.note})")
    if outcome.status == "failed" and step.by is None:
        state.release(tool, step.action.args, called=outcome.done != "blocked")
    drafts = [ctx.outcome(step, outcome, more=judged.more, at=at)]
    for found in judged.findings:
        drafts.append(ctx.draft("drift", found.body(tool.name, state.principal), cause=step.cause, realm=step.realm))
    if judged.observation is not None:
        drafts.append(ctx.draft("observation", judged.observation, realm=step.realm))
    if tool.escalates and outcome.ok:
        reason = str(step.action.args.get("reason", ""))
        ctx.set_status("escalated", reason)
        drafts.append(ctx.handover(reason, cause=step.cause, agent=step.agent))
    return outcome, drafts


def _not_learnt(ctx: Context, step: Step, error: Exception) -> tuple[Outcome, list[Draft]]:
    tool = cast("ToolPolicy", step.tool)
    _log.error("what %s answered could not be looked at", tool.name, exc_info=error)
    status: Status = "in_doubt" if tool.acts and not step.simulate else "failed"
    if status == "failed" and step.by is None:
        ctx.state.release(tool, step.action.args)
    text = f"{tool.name} was called, and what it answered could not be looked at ({type(error).__name__}). Escalate."
    outcome = Outcome(status=status, done="simulated" if step.simulate else "executed", text=text)
    return outcome, [ctx.outcome(step, outcome)]


def _settle(ctx: Context, step: Step, outcome: Outcome, *, crashed: bool = False) -> Steps[Outcome]:
    """Find out by its look-up whether a write in doubt was done; what stays in doubt is a person's, if so declared."""
    tool = cast("ToolPolicy", step.tool)
    settling = tool.settling
    if settling is not None:
        done = yield from was_done(ctx, step.action, tool)
        if done:
            text = f"{tool.name} was done: {settling.tool} shows it, though its own answer was lost."
            settled = Outcome(status="ok", done="executed", text=text)
        elif done is False and tool.keyed is not None:
            # Whoever repeats it passes the same key, so that a late arrival of the first cannot do it twice.
            text = f"{tool.name} was not done: {settling.tool} shows it. It may be called again as it was."
            settled = Outcome(status="failed", done="executed", text=text)
        else:
            settled = None
        if settled is not None:
            with ctx.core.lock:
                if settled.status == "failed":
                    if step.by is None:
                        ctx.state.release(tool, step.action.args)
                elif ctx.state.flow is not None:
                    ctx.state.flow.finished(tool.name, simulated=False)
            guards: Sequence[Guard] = _given_back(step) if settled.status == "failed" else ()
            yield ctx.write([ctx.outcome(step, settled, more={"settled_by": settling.tool})], guards)
            return settled
    if not (crashed or ctx.escalates_on("in_doubt")) or ctx.state.status not in ("open", "held"):
        return outcome
    yield from _hand_over(ctx, step)
    return replace(outcome, text=f"{outcome.text} A person takes over: tell the user so.")


def recover(ctx: Context) -> Steps[int]:
    """After a crash: settle what was begun and has no end, carry what was approved; how many were settled.

    What nobody can settle stays in doubt and goes to a person: it is never carried again.
    """
    settled = 0
    for identity, args in list(ctx.core.replay.intents.items()):
        body = ctx.core.replay.actions[identity]
        tool = ctx.gate.policy.tools[body["tool"]]
        if identity in ctx.core.replay.within:
            continue  # the agent in there is driven again, and comes to its end
        action = replace(_action(ctx, tool.name, args, None, tool, Past(action=identity)))
        step = Step(action=action, tool=tool, verdict=verdict_of([], ctx.state.level_of(tool)), realm=ctx.gate.world)
        step.cause, step.carry = cause_of(identity, ctx.core.session), True
        step.by = body.get("by")  # what the gate itself calls was never counted, so nothing of it is given back
        step.key = key_for(ctx, step)
        del ctx.core.replay.intents[identity]
        if identity in ctx.core.replay.doubts:
            # The agent may know of the doubt already, and what it saw stays as it was, unless it can be settled now.
            looked = identity in ctx.core.replay.looked
            settled += yield from _doubted(ctx, step, look=not looked)
            continue
        settled += 1
        if not tool.acts:
            text = f"{tool.name} was broken off; call it again if it is still needed."
            outcome = Outcome(status="failed", done="executed", text=text)
            if step.by is None:
                with ctx.core.lock:
                    ctx.state.release(tool, args)
            yield ctx.write([ctx.outcome(step, outcome)])
            continue
        text = f"{tool.name} was broken off while it ran. It may or may not have been done: do not call it again."
        outcome = Outcome(status="in_doubt", done="executed", text=text)
        # Should this process die, too, before it is settled or handed over, the next one begins here again.
        yield ctx.write([ctx.outcome(step, outcome, more={"interrupted": True})])
        yield from _settle(ctx, step, outcome, crashed=True)
    return settled + (yield from held.settle(ctx))


def _doubted(ctx: Context, step: Step, *, look: bool) -> Steps[int]:
    """After a crash, a write that was in doubt before it: settle it, or hand it over where that was left undone."""
    outcome = Outcome(status="in_doubt", done="executed")
    if look:
        outcome = yield from _settle(ctx, step, outcome)
    elif ctx.escalates_on("in_doubt") and ctx.state.status in ("open", "held"):
        yield from _hand_over(ctx, step)
    return int(outcome.status != "in_doubt")


def _hand_over(ctx: Context, step: Step) -> Steps[None]:
    why = f"nobody knows whether {step.action.tool} was done"
    with ctx.core.lock:
        ctx.set_status("escalated", why)
    yield ctx.write([ctx.handover(why, cause=step.cause, agent=step.agent)])


def was_done(ctx: Context, action: Action, tool: ToolPolicy) -> Steps[bool | None]:
    """Whether a write in doubt was done, by its look-up; None where that cannot be told."""
    settling = tool.settling
    if settling is None:
        return None
    look = ctx.gate.policy.tools[settling.tool]
    args = {name: at_path({"args": action.args}, path) for name, path in settling.args}
    if any(value is MISSING for value in args.values()):
        return None
    read = yield from gate_read(ctx, look, args, "lookup", action)
    if not read.ok:
        return None
    try:
        binding = ctx.gate.policy.conditions.bind_result(tool.name, look.result.read(read.value), action.args)
        return settling.done_when.holds(binding)
    except (ConditionError, BadValue):
        return None


def at_path(root: Any, path: Sequence[str]) -> Any:
    """The value that a path such as `("args", "invoice_no")` leads to; MISSING where there is none."""
    for name in path:
        if not isinstance(root, Mapping) or name not in root:
            return MISSING
        root = cast("Mapping[str, Any]", root)[name]
    return root


def _interrupted(ctx: Context, step: Step) -> None:
    """The call was cancelled from outside while the tool ran: record that its end is unknown."""
    tool = cast("ToolPolicy", step.tool)
    status: Status = "in_doubt" if tool.acts else "failed"
    with ctx.core.lock:
        if status == "failed" and step.by is None:
            ctx.state.release(tool, step.action.args)
        ctx.state.observe(tool, step.action.args, status, "executed", None)
    outcome = Outcome(status=status, done="executed", text="interrupted while the tool was running")
    try:
        # Where it is a process that is broken off, the agent never sees this: whoever resumes the run settles it.
        ctx.write([ctx.outcome(step, outcome, more={"interrupted": True})]).now()
    except LedgerError:
        return  # the intent without an outcome says the same: in_doubt


def _watch(ctx: Context, step: Step, given: Mapping[str, Any], fn: Callable[..., Any]) -> Steps[Outcome]:
    """Make a call that nobody could judge, where we only watch."""
    tool = step.tool
    try:
        carried: Carried = yield Carry(ctx.gate, ctx.core, None, fn, given, step.key)
    finally:
        ctx.core.landed()
    if carried.ending == "returned":
        value = plain(carried.value)
        outcome = Outcome(status="ok", done="executed", value=value, text=as_text(value))
    else:
        sure = carried.ending == "raised" or (tool is not None and not tool.acts)
        text = f"{step.action.tool} failed: {carried.error}"
        outcome = Outcome(status="failed" if sure else "in_doubt", done="executed", text=text)
    if tool is not None:
        args = loose(tool, step.action.args)
        with ctx.core.lock:
            if outcome.status == "failed":
                ctx.state.release(tool, args)
            ctx.state.observe(tool, args, outcome.status, outcome.done, outcome.value)
    try:
        yield ctx.write([ctx.outcome(step, outcome)])
    except LedgerError as error:
        return _unrecorded(step, error)
    return outcome


# small things ---------------------------------------------------------------------------------------------------------


def _action(
    ctx: Context,
    tool: str,
    args: Mapping[str, Any],
    call_id: str | None,
    policy: ToolPolicy | None,
    past: Past | None = None,
) -> Action:
    state = ctx.state
    if past is None:
        ctx.core.calls += 1
    open_for = state.open_for(policy) if policy is not None else []
    capability = open_for[0] if open_for else (state.capabilities[0] if state.capabilities else None)
    return Action(
        id=f"{ctx.core.id}#{ctx.core.calls}{ctx.core.session}" if past is None else past.action,
        run=ctx.core.id,
        principal=state.principal,
        subject=state.subject,
        capability=capability,
        tool=tool,
        args=args,
        call_id=call_id,
        at=ctx.gate.clock.now(),
    )


def key_for(ctx: Context, step: Step) -> str:
    """The idempotency key of a step."""
    return key_of_action(ctx.gate.policy, step.action, enforce=ctx.gate.enforce)


def key_of_action(policy: Policy, action: Action, *, enforce: bool) -> str:
    """The idempotency key: one per intent, or what the contract makes it of. A retry carries the same one."""
    tool = policy.tools[action.tool]
    if tool.keyed is None or not enforce:
        return action.id  # a gate that only watches makes no two calls one
    what: list[Any] = [policy.contract.agent, tool.name, frozen_text(key_of(tool.keyed.args, action.args))]
    if not tool.keyed.forever:
        what.append(action.run)
    return hashlib.sha256(dumps(what)).hexdigest()[:32]


def used_key(key: str, action: Action, realm: Realm) -> Claim:
    """What keeps one key from being used for two things, in whatever run."""
    return Claim(key=f"key/{realm}/{key}", value=hashlib.sha256(dumps(action.args)).hexdigest(), again=True)


def frozen_text(value: Any) -> str:
    """A frozen value in writing, the same in every process."""
    return repr(frozen(value))


def _left_s(ctx: Context, step: Step) -> float | None:
    """What is left of the run's time, in seconds; None where it has as much as it likes."""
    budget = ctx.gate.policy.budgets
    # What was done is found out, and taken back, however long the run has lasted.
    if budget is None or budget.wall_s is None or step.by in ("lookup", "undo"):
        return None
    state = ctx.state
    return max(0.0, budget.wall_s - ((ctx.gate.clock.now() - state.started).total_seconds() - state.waited_s))


def _wired(step: Step, tool: ToolPolicy) -> dict[str, Any]:
    args = step.action.args
    if tool.arguments.decimals:
        return {name: wire(value, tool.arg_shapes[name]) for name, value in args.items()}
    return dict(args)


def _given_back(step: Step) -> tuple[Reservation, ...]:
    return budgets.releases(g for g in step.guards if isinstance(g, Reservation)) if step.guards else ()


def as_recorded(value: Any) -> Any:
    """A value as the ledger gives it back."""
    return loads(dumps(plain(value)))


def _unwritable(ctx: Context, error: LedgerError, step: Step | None = None) -> Outcome:
    if step is not None and step.carry:
        with ctx.core.lock:
            _take_back(ctx, step)
    return blocked(f"Nothing was done: the ledger cannot be written ({error.text}). Tell the user so.")


def _broken(ctx: Context, error: Exception, step: Step | None) -> Outcome:
    _log.error("a call could not be judged", exc_info=error)
    if step is not None and step.carry:
        with ctx.core.lock:
            _take_back(ctx, step)
    text = f"Nothing was done: this could not be judged ({type(error).__name__}). Escalate to a person."
    return blocked(text)


def _unrecorded(step: Step, error: LedgerError) -> Outcome:
    name = step.action.tool
    text = f"{name} was called, but its outcome could not be recorded ({error.text}). Escalate to a person."
    return Outcome(status="in_doubt", done="executed", text=text)


def blocked(text: str) -> Outcome:
    """Nothing was done, and this is why."""
    return Outcome(status="denied", done="blocked", text=text)
