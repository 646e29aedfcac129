"""What must have been seen, said or done before a call: `needs`, `confirm` and the idempotency key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from roadworthy.contract.conditions import ConditionError
from roadworthy.core.types import Reason
from roadworthy.gate.policy import CompiledNeed, Policy, ToolPolicy
from roadworthy.gate.state import TAKEN_BACK, RunState, frozen, key_of


def _deny(rule: str, code: str, text: str) -> Reason:
    return Reason(rule=rule, code=code, text=text, ruling="deny")


def judge(
    policy: Policy, state: RunState, tool: ToolPolicy, args: Mapping[str, Any], now: datetime, reasons: list[Reason]
) -> None:
    """Add what is missing before a tool may be called with these arguments."""
    for need in tool.needs:
        reason = _need(policy, state, tool, args, need, now)
        if reason is not None:
            reasons.append(reason)
    if tool.read_out:
        missing = unconfirmed(policy, state, tool, args, tool.read_out)
        if missing:
            reasons.append(
                Reason(rule="confirm", code="not_confirmed", text=_ask_text(tool, args, missing), ruling="clarify")
            )
    if tool.keyed is not None:
        standing = state.keys.get((tool.name, key_of(tool.keyed.args, args)))
        if standing is TAKEN_BACK:
            text = f"{tool.name} was done and then taken back; under the same key it is not done again. Escalate."
            reasons.append(_deny("idempotent", "taken_back", text))
        elif standing is not None and standing != frozen(args):
            names = ", ".join(tool.keyed.args)
            text = (
                f"{tool.name} was called before with the same {names} and other arguments. Repeat it as it was, or "
                "escalate to a person."
            )
            reasons.append(_deny("idempotent", "same_key", text))


def unconfirmed(
    policy: Policy,
    state: RunState,
    tool: ToolPolicy,
    args: Mapping[str, Any],
    names: tuple[str, ...],
    *,
    named: bool = False,
) -> list[str]:
    """The arguments that the user has not said yes to, or else the tool; empty when the user has.

    `named`: the question must have named the tool.
    """
    called = policy.contract.model_name(tool.name)
    if state.confirmations is None:
        return list(names) or [called]
    key = (tool.name, key_of(names, args))
    return state.confirmations.missing(key, args, tool.arg_shapes, names, tool=called, named=named)


def _ask_text(tool: ToolPolicy, args: Mapping[str, Any], missing: list[str]) -> str:
    read = ", ".join(f"{name} {args[name]}" for name in missing if args.get(name) is not None)
    return (
        f"The user must say yes to {tool.name} first. Ask a question that reads out {read or ', '.join(missing)}, and "
        "call it again after a plain yes."
    )


def _need(
    policy: Policy, state: RunState, tool: ToolPolicy, args: Mapping[str, Any], need: CompiledNeed, now: datetime
) -> Reason | None:
    look = need.look
    rule = f"needs {look.call}"
    same = f" with the same {', '.join(look.same)}" if look.same else ""
    seen = state.kept.get((look.call, look.same), {}).get(key_of(look.same, args))
    if seen is None:
        return _deny(rule, "read_it_first", f"Call {look.call}{same} first and read the result.")
    later = next((name for name in need.since if state.last_calls.get(name, 0) > seen.order), None)
    if later is not None:
        text = f"Since {look.call} was read, {later} was called. Call {look.call}{same} again and read the result."
        return _deny(rule, "read_it_again", text)
    if need.within_s is not None and (now - seen.at).total_seconds() > need.within_s:
        text = f"The result of {look.call} is older than {need.within_s:g} s. Call it{same} again and read the result."
        return _deny(rule, "read_it_again", text)
    if need.where is None:
        return None
    try:
        holds = need.where.holds(policy.conditions.bind_result(tool.name, seen.value, args))
    except ConditionError as error:
        text = f"What {tool.name} needs could not be judged ({error}). Escalate to a person."
        return _deny(rule, "condition_error", text)
    if holds:
        return None
    text = f"What {look.call} returned does not allow this: `{need.where.text}` must hold."
    return _deny(rule, "need_not_met", text)
