"""What may be used up: by one run, and in a day by all runs together.

A run's own budget is judged with every other check. The budgets of a day are shared between processes, so they are not
judged here but reserved: `reservations` go into the transaction that writes the intent, and a Conflict there is the
denial. What was reserved is given back when nothing came of the call.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, cast
from zoneinfo import ZoneInfo

from roadworthy.contract.model import Contract, DayBudget
from roadworthy.core.errors import Conflict
from roadworthy.core.types import Action, Realm, Reason, Reservation

if TYPE_CHECKING:
    from datetime import datetime

    from roadworthy.gate.policy import Policy, ToolPolicy
    from roadworthy.gate.state import RunState

Per = Literal["agent", "subject", "principal", "run"]

_WHOSE: Mapping[Per, str] = {
    "agent": "",
    "subject": " for one customer",
    "principal": " for whoever runs the agent",
    "run": " in one run",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DayPolicy:
    """One budget of a day, as it concerns one tool."""

    what: tuple[str, str]
    """What it is about, in words that stay the same from version to version: `("sum", "billing.refund.amount")`."""
    arg: str | None
    """The argument whose values are added up; None where calls are counted."""
    per: Per
    limit: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPolicy:
    """The budgets of a contract."""

    agent: str
    zone: ZoneInfo
    """Where its days begin and end."""
    tool_calls: int | None
    writes: int | None
    wall_s: float | None
    """Time, without what the run waited for people."""
    model_tokens: int | None
    model_cost: Decimal | None
    days: Mapping[str, tuple[DayPolicy, ...]]
    """By tool; tools that no budget speaks of are left out."""

    def model_used_up(self, tokens: int, cost: Decimal) -> str | None:
        """Which budget of language models a run has used up, in words; None while there is some left of each."""
        if self.model_tokens is not None and tokens >= self.model_tokens:
            return f"All {self.model_tokens} tokens of the model for this run are used."
        if self.model_cost is not None and cost >= self.model_cost:
            return f"The {self.model_cost} that models may cost in this run are used."
        return None


def compile_budgets(contract: Contract) -> BudgetPolicy | None:
    """The budgets of a contract; None where it has none."""
    run, days = contract.budgets.run, contract.budgets.day
    if not days and (run.tool_calls, run.writes, run.wall, run.model_tokens, run.model_cost) == (None,) * 5:
        return None
    escape = contract.escalate.tool if contract.escalate is not None else None
    by_tool: dict[str, tuple[DayPolicy, ...]] = {}
    for name, tool in contract.tools.items():
        # The way to a person stays open, and what the gate takes back is not the agent's doing.
        if name == escape or tool.only == "undo":
            continue
        found = tuple(_compiled(budget) for budget in days if _concerns(budget, name, tool.effect))
        if found:
            by_tool[name] = found
    return BudgetPolicy(
        agent=contract.agent,
        zone=ZoneInfo(contract.zone),
        tool_calls=run.tool_calls,
        writes=run.writes,
        wall_s=run.wall,
        model_tokens=run.model_tokens,
        model_cost=None if run.model_cost is None else Decimal(run.model_cost),
        days=by_tool,
    )


def _concerns(budget: DayBudget, tool: str, effect: str) -> bool:
    if budget.sum is not None:
        return budget.sum.tool == tool
    count = budget.count
    return count is not None and (count.tool == tool if count.tool is not None else count.effect == effect)


def _compiled(budget: DayBudget) -> DayPolicy:
    limit = Decimal(budget.max)
    if budget.sum is not None:
        what = ("sum", f"{budget.sum.tool}.{budget.sum.arg}")
        return DayPolicy(what=what, arg=budget.sum.arg, per=budget.per, limit=limit)
    count = budget.count
    what = ("count", "") if count is None else ("count", count.tool or f"effect {count.effect}")
    return DayPolicy(what=what, arg=None, per=budget.per, limit=limit)


# The budget of a run -------------------------------------------------------------------------------------------------


def _denied(text: str) -> Reason:
    return Reason(rule="budgets", code="budget", text=f"{text} Escalate to a person.", ruling="deny")


def judge(policy: Policy, state: RunState, tool: ToolPolicy, now: datetime, reasons: list[Reason]) -> None:
    """Add what speaks against a call by the budget of its run. The way to a person costs nothing."""
    budget = policy.budgets
    if budget is None or tool.escalates:
        return
    if budget.tool_calls is not None and state.tool_calls >= budget.tool_calls:
        reasons.append(_denied(f"All {budget.tool_calls} tool calls of this run are used."))
    if budget.writes is not None and tool.acts and state.writes >= budget.writes:
        reasons.append(_denied(f"All {budget.writes} changes of this run are used."))
    if budget.wall_s is not None and (now - state.started).total_seconds() - state.waited_s > budget.wall_s:
        reasons.append(_denied(f"This run has lasted longer than its {budget.wall_s:g} s."))
    used_up = budget.model_used_up(state.tokens, state.cost)
    if used_up is not None:
        reasons.append(_denied(used_up))


# The budgets of a day ------------------------------------------------------------------------------------------------


def reservations(policy: Policy, action: Action, world: Realm) -> tuple[Reservation, ...]:
    """What a call takes from the budgets of its day: guards for the append that writes its intent.

    `world`: where it counts; shadow and trials have accounts of their own, and what is simulated is shadow. The day is
    that of `action.at`, in the contract's zone. Nothing is looked up, so this is as pure as a decision.
    """
    budget = policy.budgets
    found = budget.days.get(action.tool) if budget is not None else None
    if budget is None or not found:
        return ()
    day = action.at.astimezone(budget.zone).date().isoformat()
    reserved: list[Reservation] = []
    for one in found:
        amount = Decimal(1) if one.arg is None else _amount(action.args.get(one.arg))
        if amount > 0:
            account = json.dumps(["day", day, world, budget.agent, *one.what, one.per, *_whose(one.per, action)])
            reserved.append(Reservation(account=account, amount=amount, limit=one.limit))
    return tuple(reserved)


def _amount(value: Any) -> Decimal:
    """What an argument adds to a sum. An amount below nothing adds nothing: it would give budget back."""
    if value is None or isinstance(value, bool):
        return Decimal(0)
    return max(Decimal(repr(value)) if isinstance(value, float) else Decimal(value), Decimal(0))


def _whose(per: Per, action: Action) -> tuple[str, ...]:
    if per == "agent":
        return ()
    if per == "principal":
        return (action.principal,)
    if per == "subject" and action.subject is not None:
        return (action.subject,)
    # While nobody knows whom a run acts for, it stands for one customer: strangers do not use up each other's budget.
    return ("", action.run) if per == "subject" else (action.run,)


def unlimited(reserved: Iterable[Reservation]) -> tuple[Reservation, ...]:
    """The same amounts with no limit: for a gate that only watches, where the call is made and counts all the same."""
    return tuple(replace(one, limit=None) for one in reserved)


def releases(reserved: Iterable[Reservation]) -> tuple[Reservation, ...]:
    """Guards that give back what was reserved, for the append that says that nothing came of the call.

    They name the accounts of the reservations: the day is the one of the intent, whenever the outcome comes.
    """
    return tuple(Reservation(account=one.account, amount=-one.amount, limit=None) for one in reserved)


def written(reserved: Sequence[Reservation]) -> list[list[str]]:
    """Reservations as they stand in the body of an intent, so that another process can give them back."""
    return [[one.account, format(one.amount, "f")] for one in reserved]


def read(body: object) -> tuple[Reservation, ...]:
    """The reservations behind what `written` made; none where the body holds nothing of the kind."""
    found: list[Reservation] = []
    for pair in cast("list[Any]", body) if isinstance(body, list) else ():
        try:
            account, amount = pair
            found.append(Reservation(account=str(account), amount=Decimal(amount), limit=None))
        except (TypeError, ValueError, ArithmeticError):
            continue
    return tuple(found)


def reason_of(conflict: Conflict) -> Reason | None:
    """A budget that is used up, as the ground of a denial; None where the conflict is about something else.

    It says nothing of what is left: that is other customers' doing, and an invitation to split the call.
    """
    guard = conflict.guard
    if not isinstance(guard, Reservation):
        return None
    try:
        kind, _day, _world, _agent, what, name, per, *_ = cast("list[str]", json.loads(guard.account))
        whose = _WHOSE[cast("Per", per)]
    except (ValueError, TypeError, KeyError):
        return None
    if kind != "day":
        return None
    if what == "sum":
        text = f"This would pass the budget of the day{whose}: {guard.limit} for {name} in all."
    else:
        calls = f"calls with {name}" if name.startswith("effect ") else f"calls of {name}"
        text = f"All {guard.limit} {calls} of the day{whose} are used."
    return _denied(text)
