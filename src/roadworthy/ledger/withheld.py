"""Entries of which a part cannot be read, for people: what is missing is marked where they look for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast

from roadworthy.core.types import Entry
from roadworthy.ledger.between import between_agents

LOOKED_FOR: Final[Mapping[str, tuple[str, ...]]] = {
    "heard": ("text",),
    "said": ("text",),
    "action": ("tool", "args", "subject"),
    "outcome": ("text",),
    "question": ("text", "args"),
    "answer": ("because", "signature"),
    "undo": ("text", "because"),
    "drift": ("text",),
    "signal": ("value",),
}
"""By kind, the private fields that its entries are looked at for; those of a handover go by whom it is to."""


def _of_a_handover(body: Mapping[str, Any]) -> tuple[str, ...]:
    if "returned" in body:
        return ("text",)
    return ("agent", "text") if between_agents(body) else ("reason",)


def mark_of(entry: Entry) -> str:
    """`[erased]` or `[sealed]`, or both; empty where all of an entry can be read."""
    return f"[{', '.join(sorted(entry.withheld))}]" if entry.withheld else ""


def marked(entry: Entry) -> Entry:
    """The entry with marks in the place of what cannot be read, as far as somebody would look for it there."""
    if not entry.withheld:
        return entry
    mark = mark_of(entry)
    body = dict(entry.body)
    for name in LOOKED_FOR.get(entry.kind, ()) if entry.kind != "handover" else _of_a_handover(body):
        # A subject that nobody knew stands there as null; of other fields null is left where a part was taken out.
        if name not in body or (body[name] is None and name != "subject"):
            body[name] = {"…": mark} if name == "args" else mark
    if isinstance(body.get("reasons"), list):
        reasons = cast("list[Mapping[str, Any]]", body["reasons"])
        body["reasons"] = [{**one, "text": mark} if one.get("text") is None else one for one in reasons]
    return replace(entry, body=body)
