"""The decision: pure, total and deterministic. `(policy, run state, action) -> verdict`.

Nothing here calls a tool, reads a clock or writes an entry, so a decision can be fuzzed, replayed and backtested
without mocks. Every ground is kept; the strictest enforced one rules: deny > clarify > ask > allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from roadworthy.contract.conditions import ConditionError
from roadworthy.core.types import LEVELS, STRICTNESS, Action, Level, Reason, Ruling, Verdict
from roadworthy.gate import budgets, needs
from roadworthy.gate.flow import judge as flow
from roadworthy.gate.origins import judge as origins
from roadworthy.gate.policy import USER, CompiledRule, Policy, ToolPolicy
from roadworthy.gate.state import SIMULATED, RunState, frozen, leaves
from roadworthy.gate.values import BadValue, near_name, shown


def _deny(rule: str, code: str, text: str) -> Reason:
    return Reason(rule=rule, code=code, text=text, ruling="deny")


def find_tool(policy: Policy, name: str) -> ToolPolicy | Reason:
    """The tool that a model means by a name, or why there is none."""
    key = policy.contract.tool_names.get(name)
    if key is not None:
        return policy.tools[key]
    near = near_name(name, policy.contract.tool_names)
    hint = f" Do you mean {near}?" if near else " Use only the tools you were given."
    return _deny("access", "unknown_tool", f"There is no tool {shown(name)} in the contract.{hint}")


def normalise(tool: ToolPolicy, args: Mapping[str, Any]) -> dict[str, Any] | Reason:
    """The arguments in the contract's types, or what is wrong with them."""
    try:
        return tool.arguments.coerce(args)
    except BadValue as bad:
        return _deny("values", "bad_arguments", f"{bad} Correct the arguments and call {tool.name} again.")


def decide(policy: Policy, state: RunState, action: Action, *, now: datetime) -> Verdict:
    """The verdict on a normalised action in a run, at a time. Total: a check that fails speaks against the action."""
    try:
        return _decide(policy, state, action, now)
    except Exception as error:  # nobody may take a broken check for a yes
        text = f"This could not be judged ({type(error).__name__}: {error}). Escalate to a person."
        return verdict_of([_deny("gate", "unjudged", text)], "shadow")


def _decide(policy: Policy, state: RunState, action: Action, now: datetime) -> Verdict:
    tool = policy.tools[action.tool]
    reasons: list[Reason] = []
    level = state.level_of(tool)
    _access(policy, state, action, tool, reasons)
    budgets.judge(policy, state, tool, now, reasons)
    if tool.needs or tool.read_out or tool.keyed is not None:
        needs.judge(policy, state, tool, action.args, now, reasons)
    if tool.rules:
        _rules(policy, state, action, tool, now, reasons)
    seen: Mapping[str, tuple[str, ...]] | None = None
    if policy.origins is not None:
        wrong, seen = origins.judge(policy, state, tool, action.args)
        reasons += wrong
    if policy.flow is not None:
        reasons += flow.judge_call(policy, state, tool, action.args)
    if tool.acts and level == "approval" and not tool.escalates:
        _level(policy, state, tool, reasons)
    return verdict_of(reasons, level, seen)


_ALLOWED: Mapping[Level, Verdict] = {level: Verdict(ruling="allow", level=level) for level in LEVELS}


def verdict_of(reasons: list[Reason], level: Level, seen: Mapping[str, tuple[str, ...]] | None = None) -> Verdict:
    """The verdict that a list of reasons amounts to; `seen` are the origins of the arguments that were looked at."""
    if not reasons:
        return Verdict(ruling="allow", level=level, origins=seen) if seen else _ALLOWED[level]
    ruling: Ruling = "allow"
    for reason in reasons:
        if reason.enforced and STRICTNESS[reason.ruling] > STRICTNESS[ruling]:
            ruling = reason.ruling
    if len(reasons) > 1:
        reasons.sort(key=lambda r: (not r.enforced, -STRICTNESS[r.ruling]))
    return Verdict(ruling=ruling, reasons=tuple(reasons), level=level, origins=seen or {})


def _access(policy: Policy, state: RunState, action: Action, tool: ToolPolicy, reasons: list[Reason]) -> None:
    if state.status != "open":
        reasons.append(_deny("access", f"run_{state.status}", _STATUS_TEXT[state.status].format(why=state.status_why)))
    if tool.only_undo:
        reasons.append(_deny("access", "only_undo", f"{tool.name} undoes things, and only the gate calls it."))
        return
    open_for = state.open_for(tool)
    if state.stopped:
        _stops(state, tool, open_for, reasons)
    if tool.escalates:
        return
    if not open_for and not tool.common:
        if state.scope in ("uncertain", "out"):
            reasons.append(_unclear(policy, state))
            return
        opened = ", ".join(state.capabilities) or "none"
        text = f"{tool.name} is not open in this run (open: {opened}). If the user needs it, escalate to a person."
        reasons.append(_deny("access", "tool_not_open", text))
    if policy.subject_entity is None:
        return
    if state.subject is None:
        if tool.establishes:
            return
        if not tool.before_subject:
            subject = policy.contract.subject
            ways = " or ".join(subject.established_by) if subject is not None and subject.established_by else ""
            cure = (
                f"First find out whom this is about, by {ways}." if ways else "The application must give the subject."
            )
            reasons.append(_deny("access", "no_subject", f"It is not known yet whom this run acts for. {cure}"))
            return
    for spec in tool.entity_args:
        for key in spec.keys(action.args):
            if (spec.entity, key) not in state.own:
                where = ".".join(spec.path)
                text = (
                    f"{where} {key!r} is not known to belong to the customer of this run ({spec.entity}). "
                    "Look up what belongs to this customer first, or escalate to a person."
                )
                reasons.append(_deny("access", "not_the_subjects", text))


def _unclear(policy: Policy, state: RunState) -> Reason:
    means = "; ".join(spec.means for spec in policy.contract.capabilities.values())
    what = "It is not clear what the user wants" if state.scope == "uncertain" else "This is not what this agent is for"
    text = f"{what}. Ask which of these it is, or escalate to a person: {means}"
    return Reason(rule="scope", code=f"scope_{state.scope}", text=text, ruling="clarify")


_STATUS_TEXT: Mapping[str, str] = {
    "held": "This run waits for a person's decision ({why}). Tell the user so and call no more tools.",
    "escalated": "A person has taken over ({why}). Tell the user so and call no more tools.",
    "stopped": "This run was stopped ({why}). Call no more tools.",
    "closed": "This run is over ({why}). Call no more tools.",
}


def _stops(state: RunState, tool: ToolPolicy, open_for: list[str], reasons: list[Reason]) -> None:
    if None in state.stopped:
        reasons.append(_deny("stop", "stopped", f"The agent was stopped: {state.stopped[None]}. Call no more tools."))
        return
    if tool.escalates:
        return
    names = state.capabilities if tool.common else open_for
    if names and all(name in state.stopped for name in names):
        why = "; ".join(f"{name}: {state.stopped[name]}" for name in names)
        reasons.append(_deny("stop", "stopped", f"This was stopped ({why}). Escalate to a person."))


def _rules(
    policy: Policy, state: RunState, action: Action, tool: ToolPolicy, now: datetime, reasons: list[Reason]
) -> None:
    given: dict[str, Any] = {}
    missing: dict[str, Reason] = {}
    for rule in tool.rules:
        for look in rule.looks:
            found = state.kept.get((look.call, look.same))
            key = tuple(frozen(action.args.get(name)) for name in look.same)
            if found is None or key not in found:
                same = f" with the same {', '.join(look.same)}" if look.same else ""
                missing[rule.id] = Reason(
                    rule=rule.id,
                    code="read_it_first",
                    text=f"Call {look.call}{same} first and read the result.",
                    ruling="deny",
                    enforced=rule.enforce,
                )
                break
            given[f"{rule.id}/{look.name}"] = found[key].value
    binding = policy.conditions.bind(
        tool.name,
        args=action.args,
        facts=state.facts,
        heard=state.words,
        now=now,
        counts=state.counts,
        sums=state.sums,
        given=given,
    )
    for rule in tool.rules:
        if rule.id in missing:
            reasons.append(missing[rule.id])
        elif rule.condition is None:
            _fire(policy, state, action, tool, rule, reasons)
        else:
            try:
                holds = rule.condition.holds(binding)
            except ConditionError as error:
                text = f"The condition of rule {rule.id} could not be judged ({error}). Escalate to a person."
                reasons.append(
                    Reason(rule=rule.id, code="condition_error", text=text, ruling="deny", enforced=rule.enforce)
                )
                continue
            if holds:
                _fire(policy, state, action, tool, rule, reasons)


def _fire(
    policy: Policy, state: RunState, action: Action, tool: ToolPolicy, rule: CompiledRule, reasons: list[Reason]
) -> None:
    if rule.role == USER and not needs.unconfirmed(policy, state, tool, action.args, tuple(action.args), named=True):
        return  # the user, who was to be asked, has said yes to just this
    reasons.append(_of_rule(policy, state, tool, rule))


_RULED: Mapping[str, str] = {
    "deny": "Not allowed: {because} (rule {id}).",
    "clarify": "Ask the user first: {because} (rule {id}).",
    "ask": "{role} must approve this: {because} (rule {id}).",
}


def _of_rule(policy: Policy, state: RunState, tool: ToolPolicy, rule: CompiledRule) -> Reason:
    role = rule.role or approver_of(policy, state, tool) or "a person" if rule.then == "ask" else ""
    return _ruled(rule.id, rule.then, rule.because, rule.enforce, role)


@lru_cache(maxsize=1_024)
def _ruled(rule: str, then: Ruling, because: str, enforced: bool, role: str) -> Reason:
    because = because[:-1] if because.endswith(".") else because
    text = _RULED[then].format(because=because, id=rule, role=role)
    return Reason(rule=rule, code=f"rule_{then}", text=text, ruling=then, enforced=enforced)


def approver_of(policy: Policy, state: RunState, tool: ToolPolicy) -> str | None:
    for name in state.open_for(tool) or state.capabilities:
        if policy.approvers[name] is not None:
            return policy.approvers[name]
    return None


def _level(policy: Policy, state: RunState, tool: ToolPolicy, reasons: list[Reason]) -> None:
    role = approver_of(policy, state, tool) or "a person"
    text = f"{role} must approve this: the capability acts with approval only."
    reasons.append(Reason(rule="level", code="level_approval", text=text, ruling="ask"))


def uses_simulated(state: RunState, args: Mapping[str, Any]) -> bool:
    """Whether a call rests on values that were made up in shadow, alone or within a text; then it is simulated, too."""
    if not state.simulated:
        return False
    texts = [value for value in leaves(args) if isinstance(value, str) and SIMULATED in value]
    return any(made_up in text for text in texts for made_up in state.simulated)
