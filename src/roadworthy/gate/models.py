"""What language models have answered and used up for a run: kept for when it is driven again, and counted.

A model is asked outside of the gate, which decides nothing about it. But what it answered must come back unchanged when
a suspended run is driven again from its start, and its tokens and their cost are part of the run's budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from roadworthy.core.errors import UsageError
from roadworthy.gate.core import Steps
from roadworthy.gate.entries import Context

_NAME: Final = "model:"
"""Tells what models answered from what applications recall by names of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What one answer of a model has used up. Raises UsageError for less than nothing."""

    input: int = 0
    """Tokens that the model read."""
    output: int = 0
    """Tokens that it wrote."""
    cost: Decimal | None = None
    """In the currency of the contract's `model_cost`; None where nobody knows."""
    model: str = ""
    """Its name, as it calls itself."""

    def __post_init__(self) -> None:
        if (
            self.input < 0
            or self.output < 0
            or (self.cost is not None and not (self.cost.is_finite() and self.cost >= 0))
        ):
            raise UsageError(f"{self!r}: what a model used is not less than nothing")

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.input + self.output

    def body(self) -> dict[str, Any]:
        """As it stands in an entry."""
        body: dict[str, Any] = {"tokens": self.tokens}
        if self.input:
            body |= {"input": self.input, "output": self.output}
        if self.cost is not None:
            body["cost"] = self.cost
        if self.model:
            body["model"] = self.model
        return body


def taken(ctx: Context, key: str) -> Mapping[str, Any] | None:
    """What a model answered to this in an earlier drive of the run; each answer comes once. None: it must be asked."""
    with ctx.core.lock:
        journal = ctx.core.journal
        found, value = journal.take_value(_NAME + key) if journal is not None else (False, None)
    return value if found else None


def answered(ctx: Context, key: str, answer: Mapping[str, Any], used: Used) -> Steps[None]:
    """Keep what a model answered, and count what it used, in one entry that is on disk before anybody acts on it."""
    body = {**used.body(), "recall": _NAME + key, "value": answer}
    yield ctx.write([ctx.draft("model_call", body)])
    count(ctx, used)


def spent(ctx: Context, used: Used) -> Steps[None]:
    """Count what a model used, for an answer that nobody keeps."""
    yield ctx.write([ctx.draft("model_call", used.body())])
    count(ctx, used)


def count(ctx: Context, used: Used) -> None:
    """Add to what the run has used."""
    with ctx.core.lock:
        ctx.state.tokens += used.tokens
        ctx.state.cost += used.cost or 0


def used_up(ctx: Context) -> str | None:
    """Why no model may be asked for the run any more, in words for the agent; None while one may."""
    budget = ctx.gate.policy.budgets
    if budget is None or not ctx.gate.enforce:
        return None
    with ctx.core.lock:
        ctx.core.catch_up(ctx.gate.ledger)
        return budget.model_used_up(ctx.state.tokens, ctx.state.cost)
