"""A trial as its entries tell it: counts for every trial, the whole talk for those that did not pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from roadworthy.core import canonical
from roadworthy.core.types import STRICTNESS, Draft
from roadworthy.ledger.agents import told_of
from roadworthy.ledger.between import between_agents
from roadworthy.trials.results import Turn

MOST_TEXT = 2000
"""Longer texts are cut in transcripts; the ledger has them whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What happened in a trial, in numbers."""

    calls: int
    verdicts: Mapping[str, int]
    stops: tuple[tuple[str, str, str, int], ...]
    """(rule, ruling, tool, times)"""
    asks: int


def counts_of(drafts: Sequence[Draft]) -> Counts:
    """Count the verdicts, and by rule what was not let through at once."""
    verdicts: dict[str, int] = {}
    stops: dict[tuple[str, str, str], int] = {}
    calls = asks = 0
    tool = ""
    for draft in drafts:
        kind = draft.kind
        if kind == "action":
            calls += 1
            tool = draft.body["tool"]
        elif kind == "verdict":
            ruling = draft.body["ruling"]
            verdicts[ruling] = verdicts.get(ruling, 0) + 1
            if ruling != "allow":
                key = (deciding_rule(draft.body) or "", ruling, tool)
                stops[key] = stops.get(key, 0) + 1
        elif kind == "question":
            asks += 1
        elif kind == "said":
            against = speaking_against(draft.body)
            if against is not None:
                key = (against["rule"], against["ruling"], draft.body.get("sink", "reply"))
                stops[key] = stops.get(key, 0) + 1
    return Counts(calls=calls, verdicts=verdicts, stops=tuple((*key, n) for key, n in stops.items()), asks=asks)


def speaking_against(said: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What speaks against words that the agent had for the user; they were held back, unless the gate only reports."""
    reasons = [reason for reason in said.get("reasons", ()) if reason["ruling"] != "allow"]
    return max(reasons, key=lambda reason: STRICTNESS[reason["ruling"]], default=None)


def deciding_rule(verdict: Mapping[str, Any]) -> str | None:
    """The rule behind a verdict's ruling, as its entry tells it."""
    for reason in verdict.get("reasons", ()):
        if reason["ruling"] == verdict["ruling"]:
            return reason["rule"]
    return None


def turns_of(
    drafts: Sequence[Draft],
    *,
    began: datetime,
    questions: Collection[str],
    faults: Mapping[tuple[str, int], str],
    attacked: Collection[tuple[str, int]],
    closing: str | None = None,
) -> tuple[Turn, ...]:
    """The talk of a trial. `faults` and `attacked` say which n-th executed call of a tool was hit."""
    by_action: dict[str, dict[str, Any]] = {}
    turns: list[Turn | str] = []
    carried: dict[str, int] = {}
    last = 0.0
    for draft in drafts:
        body, kind = draft.body, draft.kind
        at_s = last = (draft.at - began).total_seconds()
        if kind == "heard":
            turns.append(Turn(who="user", text=_cut(body["text"]), at_s=at_s))
        elif kind == "said":
            turns.append(_words(body, question=body["text"] in questions, at_s=at_s))
        elif kind == "action":
            by_action[body["id"]] = {
                "tool": body["tool"], "args": _json(body["args"]), "agent": body.get("agent"), "at_s": at_s,
            }  # fmt: skip
            turns.append(body["id"])
        elif kind == "handover" and between_agents(body):
            turns.append(Turn(who="agents", text=_cut(_given(body)), at_s=at_s))
        elif kind == "handover":
            turns.append(
                Turn(who="trial", text=_cut(f"handed over to {body.get('to')}: {body.get('reason')}"), at_s=at_s)
            )
        elif draft.cause in by_action:
            call = by_action[draft.cause]
            _learn(call, kind, body)
            if kind == "outcome" and body["done"] == "executed":
                n = carried[call["tool"]] = carried.get(call["tool"], 0) + 1
                call["fault"] = faults.get((call["tool"], n))
                call["attack"] = (call["tool"], n) in attacked
    if closing is not None:
        turns.append(Turn(who="trial", text=_cut(closing), at_s=last))
    return tuple(_call(by_action[turn]) if isinstance(turn, str) else turn for turn in turns)


def _given(body: Mapping[str, Any]) -> str:
    """What one agent gave to another, or what came back."""
    if "returned" in body:
        return f"back: {body['text']}" if body["text"] else "back"
    return f"{body['agent']}{told_of(body)}"


def _words(body: Mapping[str, Any], *, question: bool, at_s: float) -> Turn:
    against = speaking_against(body)
    return Turn(
        who="agent",
        agent=body.get("agent"),
        text=_cut(body["text"]),
        question=question or body.get("sink") == "ask_user",
        ruling=against["ruling"] if against is not None else None,
        rule=against["rule"] if against is not None else None,
        why=tuple(reason["text"] for reason in body.get("reasons", ())),
        status=body.get("status", "ok"),
        done=body["done"],
        at_s=at_s,
    )


def _learn(call: dict[str, Any], kind: str, body: Mapping[str, Any]) -> None:
    if kind == "verdict":
        call["ruling"] = body["ruling"]
        call["rule"] = deciding_rule(body)
        call["why"] = tuple(reason["text"] for reason in body.get("reasons", ()))
        if body["ruling"] in ("deny", "clarify") and body.get("enforce", True):
            call["status"], call["done"] = ("denied" if body["ruling"] == "deny" else "clarify"), "blocked"
    elif kind == "question":
        call["status"], call["done"] = "held", "held"
    elif kind == "answer":
        call["answer"] = body["ruling"] == "approve"
        if not call["answer"]:
            call["status"], call["done"] = "denied", "blocked"
    elif kind == "outcome":
        call["status"], call["done"], call["text"] = body["status"], body["done"], body.get("text", "")


def _call(call: dict[str, Any]) -> Turn:
    text = call.pop("text", None) or " ".join(call.get("why", ()))
    return Turn(who="tool", text=_cut(text), **call)


def _cut(text: Any) -> str:
    shown = str(text)
    return shown if len(shown) <= MOST_TEXT else f"{shown[:MOST_TEXT]}… ({len(shown) - MOST_TEXT} characters more)"


def _json(args: Any) -> Any:
    """Arguments as the ledger writes them: decimals become text."""
    try:
        return canonical.loads(canonical.dumps(args))
    except TypeError:
        return {"": str(args)}
