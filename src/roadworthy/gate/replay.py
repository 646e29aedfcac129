"""A run brought back by its entries: the same events through the same state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from roadworthy.core.types import Entry
from roadworthy.gate.policy import ToolPolicy
from roadworthy.gate.state import RunState
from roadworthy.gate.values import BadValue


def loose(tool: ToolPolicy, args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that do not fit the contract, or not any more: what would be added up is left out."""
    return {name: value for name, value in args.items() if name not in tool.summed}


class Replay:
    """Feeds entries of a run to its state, in order; may be fed again as other processes add to the run."""

    __slots__ = ("actions", "intents", "seen", "state")

    def __init__(self, state: RunState) -> None:
        self.state = state
        self.seen = 0
        """The seq up to which the run's entries are in the state."""
        self.actions: dict[str, Mapping[str, Any]] = {}
        self.intents: set[str] = set()
        """Actions whose outcome has not been fed yet; after a crash they stay in doubt, and count."""

    def feed(self, entries: Iterable[Entry]) -> None:
        """Bring entries into the state."""
        for entry in entries:
            self._feed(entry)
            self.state.last_at = max(self.state.last_at, entry.at)
            self.seen = max(self.seen, entry.seq)

    def _feed(self, entry: Entry) -> None:
        state, body = self.state, entry.body
        if entry.kind == "run":
            self._run(body)
        elif entry.kind == "heard":
            state.hear(body["text"], entry.at)
        elif entry.kind == "action":
            self.actions[body["id"]] = body
        elif entry.kind == "handover":
            state.status, state.status_why = "escalated", str(body.get("reason", ""))
        elif entry.kind == "question":
            state.status, state.status_why = "held", f"{body.get('role') or 'a person'} must approve {body.get('tool')}"
        elif entry.kind == "answer":
            state.status, state.status_why = "open", ""
        elif entry.kind in ("intent", "outcome", "verdict") and entry.cause in self.actions:
            self._action(entry, self.actions[entry.cause])

    def _run(self, body: Mapping[str, Any]) -> None:
        state = self.state
        spec = state.policy.contract.principals.get(state.principal)
        for name in (*body.get("capabilities", ()), *((body["opened"],) if "opened" in body else ())):
            # A later contract may lack a capability, or have taken it from this principal.
            if name in state.policy.contract.capabilities and (spec is None or name in spec.capabilities):
                state.open(name)
        if body.get("subject") is not None:
            state.set_subject(body["subject"])
        if body.get("facts"):
            state.facts = {**state.facts, **state.policy.facts.coerce_some(body["facts"])}
        if "status" in body:
            state.status, state.status_why = body["status"], str(body.get("why", ""))

    def _action(self, entry: Entry, action: Mapping[str, Any]) -> None:
        state = self.state
        tool = state.policy.tools.get(action["tool"])
        if tool is None:
            return
        body, raw = entry.body, action["args"]
        try:
            args = tool.arguments.coerce(raw)
        except BadValue:
            args = raw
        if entry.kind == "verdict":
            if body["ruling"] == "deny" and body.get("enforce", True):
                state.deny(tool.name, args, body["reasons"][0]["rule"])
            return
        if args is raw:
            args = loose(tool, raw)
        if entry.kind == "intent":
            self.intents.add(str(entry.cause))
            state.reserve(tool, args)
        elif entry.cause in self.intents:
            self.intents.discard(entry.cause)
            status, done = body["status"], body["done"]
            if status == "failed" or done == "blocked":
                state.release(tool, args, called=done != "blocked")
            state.observe(tool, args, status, done, body.get("value", body.get("text")))
