"""Taking back what a run has done, by the compensations that the contract declares.

A person or a rule asks for it, never the agent. What is taken back is read from the ledger: the writes of the run that
were carried, last first. Each compensation is an action of its own with intent and outcome; it is admitted because it
matches, so capability, level, budgets and stops do not speak against it, and its arguments are typed all the same.

One effect is taken back once: the intent of its compensation claims it, in the same transaction. Whoever comes second
finds out what became of the first, and tries again only where the first is known to have done nothing, or passes the
same idempotency key.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from roadworthy.contract.model import Contract
from roadworthy.core.canonical import dumps
from roadworthy.core.errors import Conflict, UsageError
from roadworthy.core.types import Action, Claim, Entry, Outcome, Status
from roadworthy.gate import telemetry
from roadworthy.gate.carry import ToolFunction, is_async
from roadworthy.gate.core import Steps, cause_of
from roadworthy.gate.entries import Context, Step
from roadworthy.gate.passage import at_path, conclude, was_done
from roadworthy.gate.policy import Policy, ToolPolicy
from roadworthy.gate.replay import readable, root_of
from roadworthy.gate.values import MISSING, BadValue
from roadworthy.gate.verdicts import of_an_undo

Came = Literal["undone", "not_done", "left"]
"""`undone`: it was taken back. `not_done`: it never happened, as its look-up shows. `left`: a person must see to it."""

RULE: Final = "rule:"
"""How `by` begins where no person but a rule of the contract asks: `rule:ID`."""

ATTEMPTS: Final = 20
"""The most compensations of one effect that are looked at; more were begun only where something is very wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoable:
    """One call that an undo would look at."""

    action: str
    tool: str
    args: Mapping[str, Any]
    by: str | None
    """The tool that takes it back; None where the contract names none."""
    in_doubt: bool
    """Nobody knows yet whether it was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """What became of one call."""

    action: str
    tool: str
    args: Mapping[str, Any]
    came: Came
    text: str
    """The same in words, with what to do about it."""
    code: str
    """A stable word for programs: `undone`, `not_done`, or why it is left, such as `no_undo` or `in_doubt`."""
    by: str | None = None
    """The id of the action that took it back, or tried to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What an undo came to."""

    run: str
    reversals: tuple[Reversal, ...] = ()
    """In the order in which they were made: the last call first. Calls that were taken back before are left out."""

    @property
    def undone(self) -> tuple[Reversal, ...]:
        """What was taken back now."""
        return tuple(r for r in self.reversals if r.came == "undone")

    @property
    def left(self) -> tuple[Reversal, ...]:
        """What could not be taken back; a person must see to it."""
        return tuple(r for r in self.reversals if r.came == "left")


# Who may ask ----------------------------------------------------------------------------------------------------------


def undo_body(
    *, ledger: str, run: str, contract: str, actions: Sequence[str], by: str, because: str, nonce: str | None = None
) -> dict[str, Any]:
    """What is asked for. Where the contract names people, `keys.seal` it for the purpose `undo`.

    `actions`: what it is about, the last one first, so that a signature is good for just these. `nonce`: random; drawn
    here unless it is given.
    """
    return {
        "ledger": ledger,
        "run": run,
        "contract": contract,
        "actions": list(actions),
        "by": by,
        "because": because,
        "nonce": nonce or secrets.token_hex(16),
    }


def roles_of(contract: Contract) -> tuple[str, ...]:
    """Who may undo: whoever is accountable, whoever a run is handed to, and whoever approves a capability's actions."""
    names = [contract.owner.accountable]
    if contract.escalate is not None:
        names.append(contract.escalate.to)
    names += [spec.autonomy.approver for spec in contract.capabilities.values() if spec.autonomy.approver is not None]
    return tuple(dict.fromkeys(names))


def undo_fault(policy: Policy, body: Mapping[str, Any], *, principal: str) -> str | None:
    """Why nobody may undo on this word; None where it counts."""
    by, because = body.get("by"), body.get("because")
    if not isinstance(by, str) or not by.strip() or not isinstance(because, str) or not because.strip():
        return "an undo names who wants it and why: by and because must not be empty"
    if by.startswith(RULE):
        rule = by.removeprefix(RULE)
        if any(r.id == rule for r in policy.contract.rules):
            return None
        return f"the contract has no rule {rule!r}"
    if by.strip().casefold() == principal.strip().casefold():
        return f"{by} runs the agent, and cannot undo what it did; a person must"
    people = policy.people
    if people is None:
        return None
    roles = roles_of(policy.contract)
    if by not in people.members:
        return f"{by} is not a member of the contract's people"
    if by not in roles and not any(people.holds(by, role) for role in roles):
        able = sorted({name for role in roles for name in people.holding(role)})
        return f"{by} holds none of the roles that may undo ({', '.join(roles)}); {', '.join(able) or 'nobody'} can"
    if body.get("signature") is None:
        return f"{by} has not signed it"
    if not people.sealed("undo", body):
        return f"this is not the signature of {by} under it, or the run has gone on since it was signed: sign anew"
    return None


# What there is to undo ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Deed:
    """A write of the agent that was begun."""

    action: str
    tool: str
    args: Mapping[str, Any]
    """As the ledger has them."""
    begun: int = 0
    """The seq of its intent; 0 before it is known."""
    key: str = ""
    status: Status | None = None
    """None: nothing says how it ended."""
    done: str = "executed"
    settled: bool = False
    """A look-up said how it ended."""
    value: Any = MISSING
    before: Any = MISSING
    undone: bool = False
    listed: bool = False
    """It was left before, and a person knows."""

    @property
    def stands(self) -> bool:
        """Whether it has an effect, or may have one."""
        if not self.begun or self.undone or self.done != "executed":
            return False
        # What a look-up did not show yet may have arrived since.
        return self.status != "failed" or self.settled

    @property
    def sure(self) -> bool:
        return self.status in ("ok", "denied")  # denied: it was done, and its result withheld


def deeds_of(policy: Policy, entries: Iterable[Entry]) -> list[_Deed]:
    """The writes of a run that stand or may stand, the last one first."""
    deeds: dict[str, _Deed] = {}
    for entry in entries:
        body = entry.body
        if entry.kind == "action":
            tool = policy.tools.get(str(body["tool"]))
            # What the gate itself looks up or takes back is no deed of the agent, and neither is asking for a person.
            if body.get("by") is None and (tool is None or (tool.acts and not tool.escalates)):
                deeds.setdefault(body["id"], _Deed(action=body["id"], tool=body["tool"], args=body["args"]))
            continue
        deed = deeds.get(str(body.get("action")) if entry.kind == "undo" else root_of(entry.cause))
        if deed is None:
            continue
        # How a call ended is written once: what comes later cannot point an undo at something else.
        ended = deed.begun > 0 and deed.status not in (None, "in_doubt")
        if entry.kind == "intent" and not ended:
            deed.begun, deed.key = entry.seq, str(body.get("key", ""))
            deed.args, deed.before = body.get("args", deed.args), body.get("before", MISSING)
            deed.status = None
        elif entry.kind == "outcome" and (not ended or (deed.settled and "settled_by" in body)):
            deed.status, deed.done, deed.settled = body["status"], body["done"], "settled_by" in body
            if not deed.settled:  # a look-up says that it was done, and not what it returned
                deed.value = body.get("value", body.get("text") if body["status"] == "ok" else MISSING)
        elif entry.kind == "undo":
            deed.undone |= body.get("came") == "undone"
            deed.listed |= body.get("came") == "left"
    return sorted((d for d in deeds.values() if d.stands), key=lambda d: -d.begun)


def undoable(policy: Policy, entries: Iterable[Entry]) -> list[Undoable]:
    """What an undo would look at now, the last call first."""
    found: list[Undoable] = []
    for deed in deeds_of(policy, entries):
        tool = policy.tools.get(deed.tool)
        by = tool.undoing.tool if tool is not None and tool.undoing is not None else None
        found.append(Undoable(action=deed.action, tool=deed.tool, args=deed.args, by=by, in_doubt=not deed.sure))
    return found


# How it is undone -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Undo:
    """One undo on its way."""

    ctx: Context
    by: str
    because: str
    began: int
    """The seq of the entry with which it began."""
    taken: dict[str, str] = field(default_factory=dict[str, str])
    """By effect that was taken back now, the action that did it."""


def undo(
    ctx: Context, *, by: str, because: str, nonce: str | None, signature: str | None, blocking: bool
) -> Steps[Undone]:
    """Take back what the run has done. Raises UsageError for what nobody may ask for, before anything is done.

    `blocking`: the steps are driven from blocking code, which can wait for no async function.
    """
    gate, run = ctx.gate, ctx.core.id
    deeds = deeds_of(gate.policy, readable(gate.ledger.entries(run=run)))
    body = undo_body(
        ledger=gate.ledger.id,
        run=run,
        contract=gate.contract.digest,
        actions=[d.action for d in deeds],
        by=by,
        because=because,
        nonce=nonce,
    )
    if signature is not None:
        body["signature"] = signature
    fault = undo_fault(gate.policy, body, principal=ctx.state.principal)
    if fault is not None:
        raise UsageError(f"run {run!r} was not undone: {fault}")
    if not deeds:
        return Undone(run=run)
    _must_have_functions(ctx, deeds, blocking=blocking)
    try:
        asked = yield ctx.write([ctx.draft("undo", body)], [Claim(key=f"undo-request/{body['nonce']}", value=by)])
    except Conflict:
        raise UsageError(f"run {run!r} was not undone: this word of {by} was used before; sign anew") from None
    work = _Undo(ctx=ctx, by=by, because=because, began=asked[-1].seq)
    reversals: list[Reversal] = []
    fresh: list[Reversal] = []
    for deed in deeds:
        reversal = yield from _reverse(work, deed)
        reversals.append(reversal)
        if reversal.code == "elsewhere":
            continue  # whoever is at it says what comes of it
        if reversal.came != "left" or not deed.listed:
            yield ctx.write([ctx.draft("undo", _entry(work, reversal), cause=_mark(ctx, deed.action))])
        if reversal.came == "left" and not deed.listed:
            fresh.append(reversal)
        if reversal.came == "undone":
            _taken_back(work, deed, reversal)
    if fresh:
        why = f"undone by {by}, but not all of it: {' '.join(r.text for r in fresh)}"
        yield ctx.write([ctx.handover(why)])
        with ctx.core.lock:
            ctx.set_status("escalated", why)
    return Undone(run=run, reversals=tuple(reversals))


def _must_have_functions(ctx: Context, deeds: Sequence[_Deed], *, blocking: bool) -> None:
    """Half an undo for want of a function would be worse than none."""
    wanted: dict[str, None] = {}
    for deed in deeds:
        tool = ctx.gate.policy.tools.get(deed.tool)
        if tool is None or tool.undoing is None:
            continue
        back = ctx.gate.policy.tools[tool.undoing.tool]
        wanted[back.name] = None
        for one in (tool, back):
            if one.settling is not None:
                wanted[one.settling.tool] = None
    missing = [name for name in wanted if not ctx.gate.has_function(name)]
    if missing:
        raise UsageError(
            f"run {ctx.core.id!r} was not undone, for nobody gave the function of {', '.join(missing)}: "
            "build the gate with Gate(..., tools={name: function})"
        )
    if blocking:
        late = [name for name in wanted if is_async(cast("ToolFunction", ctx.gate.function_for(name, None)))]
        if late:
            raise UsageError(
                f"run {ctx.core.id!r} was not undone, for {', '.join(late)} can only be waited for: "
                "use `await gate.aundo(...)`"
            )


def _entry(work: _Undo, reversal: Reversal) -> dict[str, Any]:
    body: dict[str, Any] = {
        "action": reversal.action,
        "tool": reversal.tool,
        "args": reversal.args,
        "came": reversal.came,
        "code": reversal.code,
        "text": reversal.text,
        "by": work.by,
        "because": work.because,
    }
    if reversal.by is not None:
        body["with"] = reversal.by
    return body


def _taken_back(work: _Undo, deed: _Deed, reversal: Reversal) -> None:
    ctx = work.ctx
    tool = ctx.gate.policy.tools[deed.tool]
    with ctx.core.lock:
        ctx.state.undone(tool, _typed(tool, deed.args), reversal.text)


def _mark(ctx: Context, action: str) -> str:
    return cause_of(action, ctx.core.session)


def _typed(tool: ToolPolicy, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return tool.arguments.coerce(raw)
    except BadValue:
        return raw


def _reverse(work: _Undo, deed: _Deed) -> Steps[Reversal]:
    """Take one call back."""
    ctx = work.ctx
    tool = ctx.gate.policy.tools.get(deed.tool)
    if tool is None:
        return _left(deed, "unknown_tool", f"{deed.tool} does not stand in the contract, and nothing takes it back.")
    if not deed.sure:
        found = yield from _settled(work, deed, tool)
        if found is not None:
            return found
    if tool.undoing is None:
        return _left(deed, "no_undo", f"{deed.tool} was done, and the contract says nothing that takes it back.")
    back = ctx.gate.policy.tools[tool.undoing.tool]
    known = {"args": deed.args, "result": deed.value, "before": deed.before}
    given: dict[str, Any] = {}
    for name, path in tool.undoing.args:
        value = at_path(known, path)
        if value is not MISSING:
            given[name] = value
        elif not back.arg_shapes[name].optional:
            text = f"{deed.tool} was done, and {back.name} cannot take it back: {'.'.join(path)} is not known."
            return _left(deed, "value_not_known", text)
    try:
        typed = back.arguments.coerce(given)
    except BadValue as bad:
        return _left(deed, "bad_arguments", f"{deed.tool} was done, and {back.name} cannot take it back: {bad}")
    return (yield from _compensate(work, deed, tool, back, typed))


def _left(deed: _Deed, code: str, text: str, by: str | None = None) -> Reversal:
    return Reversal(
        action=deed.action,
        tool=deed.tool,
        args=deed.args,
        came="left",
        text=f"{text} ({deed.action})",
        code=code,
        by=by,
    )


def _back(work: _Undo, deed: _Deed, with_: str | None) -> Reversal:
    because = work.because.strip()
    text = f"{deed.tool} was taken back by {work.by}: {because}{'' if because.endswith(('.', '!', '?')) else '.'}"
    return Reversal(
        action=deed.action, tool=deed.tool, args=deed.args, came="undone", text=text, code="undone", by=with_
    )


def _settled(work: _Undo, deed: _Deed, tool: ToolPolicy) -> Steps[Reversal | None]:
    """Find out whether a call in doubt was done; None where it was, and is to be taken back."""
    ctx = work.ctx
    done = yield from was_done(ctx, _as_action(ctx, deed.action, tool, _typed(tool, deed.args)), tool)
    settling = tool.settling
    if settling is None or done is None:
        return _left(deed, "in_doubt", f"Nobody knows whether {deed.tool} was done, so that it was not taken back.")
    if done:
        text = f"{tool.name} was done: {settling.tool} shows it, though its own answer was lost."
        yield from _write_settled(work, deed.action, tool, text, settling.tool)
        return None
    if deed.status is None:
        text = f"{deed.tool} was begun and never ended; {settling.tool} does not show it, but it may still arrive."
        return _left(deed, "in_doubt", text)
    text = f"{deed.tool} was never done, as {settling.tool} shows: there is nothing to take back."
    return Reversal(action=deed.action, tool=deed.tool, args=deed.args, came="not_done", text=text, code="not_done")


def _write_settled(work: _Undo, action: str, tool: ToolPolicy, text: str, by: str) -> Steps[None]:
    ctx = work.ctx
    body = {"status": "ok", "done": "executed", "text": text, "settled_by": by}
    yield ctx.write([ctx.draft("outcome", body, cause=_mark(ctx, action))])
    with ctx.core.lock:
        ctx.core.replay.intents.pop(action, None)
        if ctx.state.flow is not None:
            ctx.state.flow.finished(tool.name, simulated=False)


def _effect(deed: _Deed, tool: ToolPolicy) -> str:
    """What tells one effect from others: calls with one idempotency key have one effect between them."""
    return deed.key if tool.keyed is not None and deed.key else deed.action


def _compensate(
    work: _Undo, deed: _Deed, tool: ToolPolicy, back: ToolPolicy, args: Mapping[str, Any]
) -> Steps[Reversal]:
    span = telemetry.span_of(work.ctx)
    steps = _carry_back(work, deed, tool, back, args, span)
    return steps if span is None else span.around(steps)


def _carry_back(
    work: _Undo,
    deed: _Deed,
    tool: ToolPolicy,
    back: ToolPolicy,
    args: Mapping[str, Any],
    span: telemetry.CallSpan | None,
) -> Steps[Reversal]:
    ctx, effect = work.ctx, _effect(deed, tool)
    if effect in work.taken:
        return _back(work, deed, work.taken[effect])
    for attempt in range(1, ATTEMPTS + 1):
        step = _step(work, deed, tool, back, args, effect)
        claim = Claim(key=f"undo/{effect}" if attempt == 1 else f"undo/{effect}/{attempt}", value=step.action.id)
        step.guards = [claim]
        if span is not None:
            span.open(step)
        with ctx.core.lock:
            ctx.core.flying += 1
        try:
            written = yield ctx.write([ctx.action(step), ctx.verdict(step), ctx.intent(step)], step.guards)
        except Conflict as conflict:
            ctx.core.landed()
            other = str(conflict.found)
            found = yield from _of_another(work, deed, tool, back, other)
            if found is not None:
                return found
            continue  # it did nothing, or will do it once together with ours
        except BaseException:
            ctx.core.landed()
            raise
        if span is not None:
            span.wrote(written)
        outcome = yield from conclude(ctx, step, None)
        if span is not None:
            span.came(outcome)
        return (yield from _came(work, deed, tool, back, step.action, outcome))
    return _left(deed, "failed", f"{deed.tool} was not taken back: {back.name} was tried {ATTEMPTS} times.")


def _came(
    work: _Undo, deed: _Deed, tool: ToolPolicy, back: ToolPolicy, action: Action, outcome: Outcome
) -> Steps[Reversal]:
    """What a compensation that was just carried came to."""
    done = outcome.status in ("ok", "denied") and outcome.done == "executed"
    if outcome.status == "in_doubt":
        done = (yield from _took_effect(work, deed, tool, back, action.id, action.args)) is True
        if not done:
            return _left(deed, "undo_in_doubt", _UNKNOWN.format(deed=deed.tool, back=back.name), action.id)
    if not done:
        return _left(deed, "failed", f"{deed.tool} was not taken back. {outcome.text}", action.id)
    work.taken[_effect(deed, tool)] = action.id
    return _back(work, deed, action.id)


def _of_another(work: _Undo, deed: _Deed, tool: ToolPolicy, back: ToolPolicy, other: str) -> Steps[Reversal | None]:
    """What became of a compensation that was begun before ours; None where ours may be tried."""
    ctx = work.ctx
    status: Status | None = None
    done, args, begun = "executed", None, 0
    for entry in ctx.gate.ledger.entries(run=other.rpartition("#")[0]):
        if entry.kind == "action" and entry.body["id"] == other:
            args, begun = cast("Mapping[str, Any] | None", entry.body.get("args")), entry.seq
        elif entry.kind == "outcome" and root_of(entry.cause) == other:
            status, done = entry.body["status"], entry.body["done"]
    if status in ("ok", "denied") and done == "executed":
        work.taken[_effect(deed, tool)] = other
        return _back(work, deed, other)
    if status == "failed" or done == "blocked":
        return None
    if args is None:  # it is of a run whose data were erased, or are sealed: nothing can be looked up by it
        return _left(deed, "undo_in_doubt", _UNKNOWN.format(deed=deed.tool, back=back.name), other)
    took = yield from _took_effect(work, deed, tool, back, other, _typed(back, args))
    if took is True:
        work.taken[_effect(deed, tool)] = other
        return _back(work, deed, other)
    if took is False:
        return None
    if status is None and begun > work.began:
        return _left(deed, "elsewhere", f"Somebody else is taking {deed.tool} back at this moment.", other)
    return _left(deed, "undo_in_doubt", _UNKNOWN.format(deed=deed.tool, back=back.name), other)


_UNKNOWN: Final = "Nobody knows whether {deed} was taken back: {back} was begun, and its end is not known."


def _took_effect(
    work: _Undo, deed: _Deed, tool: ToolPolicy, back: ToolPolicy, action: str, args: Mapping[str, Any]
) -> Steps[bool | None]:
    """Whether a compensation in doubt was done: True, or False where it may be tried again; None: nobody can tell."""
    ctx = work.ctx
    shown: bool | None = None
    by = ""
    if back.settling is not None:
        shown = yield from was_done(ctx, _as_action(ctx, action, back, args), back)
        by = back.settling.tool
    if shown is None and tool.settling is not None:
        # What shows that the call was done shows that it was taken back once it does not any more.
        stands = yield from was_done(ctx, _as_action(ctx, deed.action, tool, _typed(tool, deed.args)), tool)
        shown = None if stands is None else not stands
        by = tool.settling.tool
    if shown:
        text = f"{back.name} was done: {by} shows it, though its own answer was lost."
        if action.rpartition("#")[0] == ctx.core.id:
            yield from _write_settled(work, action, back, text, by)
        return True
    # Not shown: it may still arrive. Only with its key may it be sent again.
    return False if back.keyed is not None else None


def _as_action(ctx: Context, action: str, tool: ToolPolicy, args: Mapping[str, Any]) -> Action:
    return Action(
        id=action,
        run=ctx.core.id,
        principal=ctx.state.principal,
        subject=ctx.state.subject,
        capability=None,
        tool=tool.name,
        args=args,
        call_id=None,
        at=ctx.gate.clock.now(),
    )


def _step(work: _Undo, deed: _Deed, tool: ToolPolicy, back: ToolPolicy, args: Mapping[str, Any], effect: str) -> Step:
    ctx = work.ctx
    with ctx.core.lock:
        ctx.core.calls += 1
        identity = f"{ctx.core.id}#{ctx.core.calls}{ctx.core.session}"
        level = ctx.state.level_of(tool)
    verdict = of_an_undo(level, by=work.by, because=work.because, action=deed.action, tool=deed.tool)
    action = _as_action(ctx, identity, back, args)
    step = Step(action=action, tool=back, verdict=verdict, realm=ctx.gate.world, cause=identity)
    step.by, step.serves, step.carry = "undo", deed.action, True
    # Every attempt to take back one effect carries one key, and no call of the agent has it.
    named = hashlib.sha256(dumps(["undo", ctx.gate.contract.agent, effect])).hexdigest()[:32]
    step.key = named if back.keyed is not None else identity
    return step
