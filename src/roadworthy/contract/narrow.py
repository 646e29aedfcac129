"""Whether a contract only narrows another one: then whoever has signed the other one has signed enough.

The answer is yes only where every difference is known to take something away. Whatever is not looked at here must be
equal, so a part of contracts that is added later is a widening until somebody has thought about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from roadworthy.contract.model import Budgets, Capability, Confirm, Contract, DayBudget, PrincipalSpec, Rule, Tool
from roadworthy.core.types import LEVELS, Level


def only_narrows(new: Contract, old: Contract) -> bool:
    """Whether `new` allows no action that `old`, with the same people, would not have allowed."""
    parts = ("version", "goal", "signatures", "tools", "common", "capabilities", "rules", "claims", "budgets")
    more = ("principals", "hosted_tools", "ledger_down")
    rest = new.model_copy(update={name: getattr(old, name) for name in (*parts, *more)})
    return (
        rest.digest == old.digest
        and all(set(old.signatures.get(level, ())) <= set(new.signatures.get(level, ())) for level in LEVELS)
        and all(name in old.tools and _tool(tool, old.tools[name]) for name, tool in new.tools.items())
        and _open(new, old)
        and new.capabilities.keys() == old.capabilities.keys()
        and all(_capability(spec, old.capabilities[name]) for name, spec in new.capabilities.items())
        and _rules(new.rules, old.rules)
        and all(claim in new.claims for claim in old.claims)
        and _budgets(new.budgets, old.budgets)
        and _principals(new.principals, old.principals)
        and _hosted(new.hosted_tools, old.hosted_tools)
        and (new.ledger_down == old.ledger_down or new.ledger_down.reads == "deny")
    )


def _tool(new: Tool, old: Tool) -> bool:
    rest = new.model_copy(update={"description": old.description, "needs": old.needs, "confirm": old.confirm})
    return rest == old and all(need in new.needs for need in old.needs) and _confirm(new.confirm, old.confirm)


def _confirm(new: Confirm | None, old: Confirm | None) -> bool:
    if old is None or new is None:
        return old is None
    return new.by == old.by and set(old.read_out) <= set(new.read_out)


def _open(new: Contract, old: Contract) -> bool:
    """What is open is taken away altogether or not at all: where one of several places is left, its level counts."""
    if not set(new.common) <= set(old.common):
        return False
    listed = [*new.common, *(tool for spec in new.capabilities.values() for tool in spec.tools)]
    gone = set(old.common) - set(new.common)
    for name, spec in old.capabilities.items():
        gone |= set(spec.tools) - set(new.capabilities[name].tools if name in new.capabilities else ())
    return gone.isdisjoint(listed)


def _capability(new: Capability, old: Capability) -> bool:
    rest = new.model_copy(update={"tools": old.tools, "autonomy": old.autonomy})
    return (
        rest == old
        and set(new.tools) <= set(old.tools)
        and new.autonomy.approver == old.autonomy.approver
        and _no_freer(new.autonomy.start, old.autonomy.start)
        and _no_freer(new.autonomy.ceiling, old.autonomy.ceiling)
    )


def _no_freer(new: Level, old: Level) -> bool:
    return LEVELS.index(new) <= LEVELS.index(old)


def _rules(new: tuple[Rule, ...], old: tuple[Rule, ...]) -> bool:
    """The same rules in the same order, and more behind them that name nobody: the first to ask says who is asked."""
    return len(new) >= len(old) and all(
        rule.model_copy(update={"because": was.because, "examples": was.examples}) == was
        for rule, was in zip(new, old, strict=False)
    ) and all(rule.ask is None for rule in new[len(old) :])  # fmt: skip


def _budgets(new: Budgets, old: Budgets) -> bool:
    for name, limit in old.run:
        now = getattr(new.run, name)
        if limit is not None and (now is None or now > limit):
            return False
    return all(any(_day(now, was) for now in new.day) for was in old.day)


def _day(new: DayBudget, old: DayBudget) -> bool:
    return new.model_copy(update={"max": old.max}) == old and Decimal(new.max) <= Decimal(old.max)


def _principals(new: Mapping[str, PrincipalSpec], old: Mapping[str, PrincipalSpec]) -> bool:
    """Without principals anybody may run the agent."""
    return not old or (
        bool(new)
        and all(
            name in old
            and spec.model_copy(update={"capabilities": old[name].capabilities}) == old[name]
            and set(spec.capabilities) <= set(old[name].capabilities)
            for name, spec in new.items()
        )
    )


def _hosted(new: str | tuple[str, ...], old: str | tuple[str, ...]) -> bool:
    return isinstance(new, str) or (not isinstance(old, str) and set(new) <= set(old))
