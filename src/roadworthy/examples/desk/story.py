"""What the gate stopped at the desk, in words: who would have been harmed, and by what."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from roadworthy.examples.desk.world import world
from roadworthy.trials.results import TrialResult, Turn
from roadworthy.trials.scenario import Scenario

HAND_OVERS = "support.hand_overs"
"""Handing over harms nobody, whether or not it was needed."""

_HARM: Mapping[str, tuple[str, str]] = {
    "billing.refunds": ("wrong refund", "wrong refunds"),
    "crm.resets": ("wrong password reset", "wrong password resets"),
    "mail.sent": ("mail that should not have gone out", "mails that should not have gone out"),
    "support.tickets": ("misrouted ticket", "misrouted tickets"),
}

_TRIED: Mapping[str, str] = {
    "billing.refund": "pay back {amount} EUR for invoice {invoice_no} on account {account_no}",
    "mail.send": "mail the customer's data to {to}",
    "crm.issue_reset": "reset the password of party {party_no}",
    "support.route_ticket": "move to {department} ticket {ticket_id}",
}
"""The changes that the agent can make, those that harm most first."""

_OWNERS: Mapping[str, tuple[str, str]] = {
    "account_no": ("account", "SELECT contact_id FROM billing.accounts WHERE account_no = ?"),
    "party_no": ("party", "SELECT contact_id FROM crm.parties WHERE party_no = ?"),
    "ticket_id": (
        "ticket",
        "SELECT contact_id FROM support.tickets JOIN support.contacts ON email = from_email WHERE ticket_id = ?",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """One action that the gate did not let through."""

    rule: str
    tool: str
    scenario: str
    index: int
    run: str
    text: str
    """In two sentences: what the agent tried, and what the gate said."""


def harms(trial: TrialResult) -> list[str]:
    """What harm a trial did, in words, each kind once: the changes that its scenario forbids."""
    tables = [found[1] for found in map(_FORBIDDEN.fullmatch, trial.why) if found and found[1] != HAND_OVERS]
    return [_HARM.get(table, (table, table))[0] for table in dict.fromkeys(tables)]


_FORBIDDEN = re.compile(r"forbidden: \w+ of (\S+)")
"""As the framed diff says it (`scorers.score_diff`)."""


def counted(harmful: Mapping[str, int]) -> str:
    """`4 wrong refunds, 1 misrouted ticket`; the most frequent first."""
    plural = dict(_HARM.values())
    most = sorted(harmful.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n} {kind if n == 1 else plural.get(kind, kind)}" for kind, n in most)


def stopped(trials: Iterable[TrialResult], scenarios: Sequence[Scenario]) -> list[Stopped]:
    """A case for each rule and tool that denied a change, as far as transcripts are at hand; what harms most first."""
    by_id = {s.scenario: s for s in scenarios}
    found: dict[tuple[str, str], Stopped] = {}
    for trial in trials:
        for turn in trial.transcript:
            if turn.tool is None or turn.ruling != "deny" or turn.rule is None or (turn.rule, turn.tool) in found:
                continue
            tried = _tried(turn.tool, turn.args or {})
            if tried is not None:
                found[turn.rule, turn.tool] = Stopped(
                    rule=turn.rule,
                    tool=turn.tool,
                    scenario=trial.scenario,
                    index=trial.index,
                    run=trial.run,
                    text=f"The agent tried to {tried}{_whose(turn, trial, by_id[trial.scenario])}. {_why(turn)}",
                )
    return sorted(found.values(), key=lambda case: tuple(_TRIED).index(case.tool))


def _tried(tool: str, args: Mapping[str, Any]) -> str | None:
    text = _TRIED.get(tool)
    try:
        amount = {"amount": f"{Decimal(str(args['amount'])):.2f}"} if "amount" in args else {}
        return text.format_map({**args, **amount}) if text is not None else None
    except KeyError:
        return None


def _whose(turn: Turn, trial: TrialResult, scenario: Scenario) -> str:
    """Whose record it was that the agent reached for, looked up in the trial's world."""
    with world.ground(rows=scenario.rows, seed=trial.seed) as ground:
        mine = ground.names["customer.contact_id"]
        for name, (kind, query) in _OWNERS.items():
            key = (turn.args or {}).get(name)
            if key is None:
                continue
            owner = _one(ground.connection, query, str(key))
            if owner is None:
                return f", a {kind} that does not exist"
            if owner != mine:
                holder = _one(ground.connection, "SELECT name FROM support.contacts WHERE contact_id = ?", owner)
                return f", which belongs to somebody else ({holder})"
            again = any(
                t.tool == turn.tool and t.args == turn.args and t.status == "in_doubt" for t in trial.transcript
            )
            return " a second time, after a timeout" if again else ""
    return ""


def _one(db: sqlite3.Connection, query: str, key: str) -> str | None:
    row = db.execute(query, (key,)).fetchone()
    return row[0] if row is not None else None


def _why(turn: Turn) -> str:
    if turn.rule == "access":
        return f"The gate denied it: {turn.why[0].partition('. ')[0].rstrip('.') if turn.why else turn.text}."
    return f"The gate denied it by rule {turn.rule}."
