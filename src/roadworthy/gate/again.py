"""What came of a call that a framework makes once more, because it begins a step of the agent anew.

A graph that waits for a person goes on where it waited by beginning that step from its start, and one that has failed
may do the same. What was done in the step stands in the ledger already: a call of the same id, tool and arguments since
the user spoke last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roadworthy.core.types import Entry, Outcome, Reason
from roadworthy.gate.decide import find_tool, normalise
from roadworthy.gate.entries import Context
from roadworthy.gate.journal import key_of_call, past_outcome
from roadworthy.gate.replay import readable, root_of


def made_before(ctx: Context, name: str, given: Mapping[str, Any], call_id: str) -> Outcome | None:
    """What came of this very call; None where it was not made, was refused, or has failed: then it is judged anew."""
    tool = find_tool(ctx.gate.policy, name)
    if isinstance(tool, Reason):
        return None
    args = normalise(tool, given)
    if isinstance(args, Reason):
        return None
    wanted = key_of_call(tool.name, args)
    made: set[str] = set()
    came: Outcome | None = None
    begun = False
    for entry in readable(ctx.gate.ledger.entries(run=ctx.core.id)):
        body = entry.body
        if entry.kind == "heard" and "answers" not in body:
            made.clear()
            came, begun = None, False
        elif entry.kind == "action" and "by" not in body and body.get("call_id") == call_id:
            if key_of_call(body["tool"], body["args"]) == wanted:
                made.add(body["id"])
        elif root_of(entry.cause) in made:
            came, begun = _then(entry, came, begun)
    if came is None and begun:
        text = "Nobody knows whether this was done: the step was broken off meanwhile. Do not call it again."
        return Outcome(status="in_doubt", done="executed", text=text)
    return came


def _then(entry: Entry, came: Outcome | None, begun: bool) -> tuple[Outcome | None, bool]:
    if entry.kind == "intent":
        return None, True
    if entry.kind != "outcome":
        return came, begun
    outcome = past_outcome(entry.body)
    stands = outcome.status in ("ok", "in_doubt") or outcome.done == "held"
    return (outcome if stands else None), False
