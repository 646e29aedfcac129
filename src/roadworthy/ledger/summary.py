"""A run at a glance, from its entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from roadworthy.core.types import Entry
from roadworthy.ledger.between import between_agents
from roadworthy.ledger.rows import RunSummary

_KNOWN: Final = ("agent", "principal", "subject")
_TELLING: Final = {"handover": "escalated", "question": "held", "answer": "open"}


def summary_of(run: str, entries: Iterable[Entry]) -> RunSummary:
    """All entries of a run, in order, as one line."""
    status = "open"
    known: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    first = last = None
    for entry in entries:
        first, last = first or entry, entry
        counts[entry.kind] += 1
        if entry.kind == "run":
            status = str(entry.body.get("status", status))
            known |= {key: entry.body[key] for key in _KNOWN if entry.body.get(key) is not None}
        elif entry.kind == "action":
            known["subject"] = entry.body.get("subject") or known.get("subject")
        elif entry.kind != "handover" or not between_agents(entry.body):
            status = _TELLING.get(entry.kind, status)
    if first is None or last is None:
        raise LookupError(f"run {run!r} has no entries")
    return RunSummary(
        run=run,
        world=first.world,
        first=first.at,
        last=last.at,
        entries=counts.total(),
        agent=known.get("agent"),
        principal=known.get("principal"),
        subject=known.get("subject"),
        status=status,
        counts=dict(sorted(counts.items())),
    )
