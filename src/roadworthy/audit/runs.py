"""Recorded runs from a ledger: conversations as chat messages, to be judged by another contract or made scenarios of.

    {"run": id, "messages": [OpenAI chat messages], "passed": true | false | null, "meta": {…}}

The form carries what was said, called and returned. It carries no times, nothing that the agent read by no tool, no
people's answers and no calls that the gate made by itself. `meta.blocked` names the calls that were never made: what
stands under their ids as a result is what the agent was told instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from roadworthy.core.canonical import dumps
from roadworthy.core.types import Entry, Realm, Withheld
from roadworthy.gate.replay import root_of
from roadworthy.gate.values import as_text
from roadworthy.ledger.store import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One run of a ledger as a line of recorded runs."""

    run: str
    line: Mapping[str, Any] | None
    """None where the run cannot be read."""
    withheld: Withheld | None = None
    """Why not."""


def recordings(
    ledger: Ledger, *, since: datetime | None = None, until: datetime | None = None, world: Realm | None = None
) -> Iterator[Recording]:
    """The runs that had begun before `until` and had not ended before `since`, one by one."""
    for summary in ledger.runs():
        outside = (since is not None and summary.last < since) or (until is not None and summary.first >= until)
        if not outside and (world is None or summary.world == world):
            yield recorded_run(summary.run, ledger.entries(run=summary.run), source=ledger.id)


def recorded_run(run: str, entries: Iterable[Entry], *, source: str) -> Recording:
    """One run, from its entries in their order. `source`: the id of the ledger."""
    talk = _Talk(meta={"ledger": source})
    for entry in entries:
        if entry.withheld:
            why: Withheld = "erased" if "erased" in entry.withheld else "sealed"
            return Recording(run=run, line=None, withheld=why)
        talk.take(entry)
    line = {"run": run, "messages": talk.messages, "passed": talk.passed, "meta": talk.whole_meta()}
    return Recording(run=run, line=line)


@dataclass(slots=True)
class _Talk:
    """The messages of one run, as they come."""

    meta: dict[str, Any]
    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    passed: bool | None = None
    capabilities: dict[str, None] = field(default_factory=dict[str, None])
    calls: dict[str, str] = field(default_factory=dict[str, str])
    """By action of the agent, the id of its call in the messages."""
    told: dict[str, int] = field(default_factory=dict[str, int])
    """By action, the place of what the agent was told about it."""
    blocked: list[str] = field(default_factory=list[str])

    def take(self, entry: Entry) -> None:
        body = entry.body
        if entry.kind == "run":
            self._run(entry)
        elif entry.kind == "heard":
            self.messages.append({"role": "user", "content": str(body.get("text", ""))})
        elif entry.kind == "said" and body.get("done") == "executed":
            self.messages.append({"role": "assistant", "content": str(body.get("text", ""))})
        elif entry.kind == "action" and "by" not in body:
            self._called(body)
        elif entry.kind == "verdict":
            self._judged(root_of(entry.cause), body)
        elif entry.kind == "intent":
            self._begun(root_of(entry.cause))
        elif entry.kind == "outcome":
            self._came(root_of(entry.cause), body)
        elif entry.kind == "trial":
            self.passed = body.get("status") == "passed"

    def _run(self, entry: Entry) -> None:
        body = entry.body
        if "principal" in body and "world" not in self.meta:
            self.meta |= {"world": entry.world, "at": entry.at.isoformat()}
        for key in ("agent", "version", "contract", "principal", "subject", "facts", "levels"):
            if body.get(key):
                self.meta[key] = body[key]
        named = cast("Iterable[str]", body.get("capabilities") or ())
        self.capabilities |= dict.fromkeys([*named, *([str(body["opened"])] if "opened" in body else [])])

    def _called(self, body: Mapping[str, Any]) -> None:
        action = str(body["id"])
        call = str(body.get("call_id") or action)
        if call in self.calls.values():
            call = action  # models use some ids twice
        self.calls[action] = call
        function = {"name": str(body["tool"]), "arguments": dumps(body["args"]).decode()}
        made = {"id": call, "type": "function", "function": function}
        last = self.messages[-1] if self.messages else {}
        if last.get("role") == "assistant" and last.get("tool_calls"):
            last["tool_calls"].append(made)  # they ran side by side
        else:
            self.messages.append({"role": "assistant", "content": None, "tool_calls": [made]})

    def _judged(self, action: str, body: Mapping[str, Any]) -> None:
        """What the agent is told of a call that is not made; until something else comes of it."""
        if action not in self.calls or body.get("ruling") == "allow" or body.get("enforce", True) is False:
            return
        reasons = cast("Iterable[Mapping[str, Any]]", body.get("reasons") or ())
        told = body.get("told") or " ".join(dict.fromkeys(str(r.get("text")) for r in reasons if r.get("enforced")))
        self._tell(action, str(told))
        if self.calls[action] not in self.blocked:
            self.blocked.append(self.calls[action])

    def _begun(self, action: str) -> None:
        call = self.calls.get(action)
        if call in self.blocked:
            self.blocked.remove(call)

    def _came(self, action: str, body: Mapping[str, Any]) -> None:
        call = self.calls.get(action)
        if call is None:
            return
        value = body.get("value")
        self._tell(action, str(body.get("text", "")) if value is None else as_text(value))
        if body.get("done") == "blocked" and call not in self.blocked:
            self.blocked.append(call)

    def _tell(self, action: str, text: str) -> None:
        if action in self.told:
            self.messages[self.told[action]]["content"] = text
            return
        self.told[action] = len(self.messages)
        self.messages.append({"role": "tool", "tool_call_id": self.calls[action], "content": text})

    def whole_meta(self) -> dict[str, Any]:
        meta = dict(self.meta)
        if self.capabilities:
            meta["capability"] = list(self.capabilities)
        if self.blocked:
            meta["blocked"] = self.blocked
        return meta
