"""A run brought back by its entries: the same events through the same state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from roadworthy.core.canonical import dumps
from roadworthy.core.errors import Unreadable
from roadworthy.core.types import Entry, Kind
from roadworthy.gate.people.questions import TRIAL, end, hear_answer, recall, tell
from roadworthy.gate.policy import ToolPolicy
from roadworthy.gate.state import RunState
from roadworthy.gate.values import BadValue
from roadworthy.ledger.between import between_agents

if TYPE_CHECKING:
    from roadworthy.ledger.store import Appender


def loose(tool: ToolPolicy, args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that do not fit the contract, or not any more: what would be added up is left out."""
    return {name: value for name, value in args.items() if name not in tool.summed}


def readable(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Entries, as long as all of each can be read. Raises Unreadable at the first of which a part is withheld."""
    for entry in entries:
        if entry.withheld:
            raise unreadable(entry)
        yield entry


def whatever(ledger: Appender, kind: Kind, passed: Callable[[Unreadable], object]) -> Iterator[Entry]:
    """All entries of a kind that can be read, for what may do without the others; `passed` is told of those."""
    after = 0
    while True:
        try:
            for entry in ledger.entries(kind=kind, after=after):
                after = entry.seq
                yield entry
        except Unreadable as error:
            if error.last <= after:
                raise
            passed(error)
            after = error.last
        else:
            return


def unreadable(entry: Entry) -> Unreadable:
    """Why nothing can be done on the word of an entry of which a part is withheld."""
    where = f"entry {entry.seq} ({entry.kind}) of run {entry.run} cannot be read"
    if "erased" in entry.withheld:
        text = f"{where}: the data of whom it is about were erased, and nothing brings them back. Begin another run"
        return Unreadable(entry.run, "erased", text)
    text = (
        f"{where}: it is encrypted, and its key is not there. Open the ledger with the vault that it was written with, "
        "by vault=…, --vault or ROADWORTHY_VAULT"
    )
    return Unreadable(entry.run, "sealed", text)


class Replay:
    """Feeds entries of a run to its state, in order; may be fed again as other processes add to the run."""

    __slots__ = ("actions", "carried", "doubts", "intents", "latest", "ledger", "looked", "seen", "state", "within")

    def __init__(self, state: RunState, ledger: str) -> None:
        self.state = state
        self.ledger = ledger
        """The id of the ledger, to which answers are bound."""
        self.seen = 0
        """The seq up to which the run's entries are in the state."""
        self.latest = datetime.min.replace(tzinfo=UTC)
        """The latest time that any of them bears: what comes after them was not written before it."""
        self.actions: dict[str, Mapping[str, Any]] = {}
        self.intents: dict[str, Mapping[str, Any]] = {}
        """By action, the arguments of those whose end is not known: running, in doubt, or broken off by a crash."""
        self.carried: set[str] = set()
        """The actions that were intended at all."""
        self.doubts: set[str] = set()
        """Those in doubt of which the agent may know."""
        self.looked: set[str] = set()
        """Those about which a look-up was made, to find out whether they were done."""
        self.within: set[str] = set()
        """Those whose tool is another agent in which the run was suspended: their end is known when it is driven on."""

    def feed(self, entries: Iterable[Entry]) -> None:
        """Bring entries into the state."""
        for entry in readable(entries):
            try:
                self._feed(entry)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                # A run is not brought back in part: what could not be read may be what speaks against the next call.
                text = (
                    f"entry {entry.seq} ({entry.kind}) of run {entry.run} cannot be read ({type(error).__name__}: "
                    f"{error}); `roadworthy ledger verify` tells whether it was changed"
                )
                raise Unreadable(entry.run, None, text) from error
            self.state.last_at = max(self.state.last_at, entry.at)
            self.pass_over(entry)

    def pass_over(self, entry: Entry) -> None:
        """Note an entry whose event the state knows already."""
        if entry.kind == "action" and entry.body.get("id") in self.state.pending:
            self.actions[entry.body["id"]] = entry.body  # another process may carry it, and this one hears of it
        self.seen = max(self.seen, entry.seq)
        self.latest = max(self.latest, entry.at)

    def _feed(self, entry: Entry) -> None:
        state, body = self.state, entry.body
        if entry.kind == "run":
            self._run(body)
        elif entry.kind == "heard":
            state.hear(body["text"], entry.at, answers=body.get("answers"))
        elif entry.kind == "action":
            self.actions[body["id"]] = body
        elif entry.kind == "handover":
            if between_agents(body):
                state.passed_on(body)
            else:
                state.status, state.status_why = "escalated", str(body.get("reason", ""))
        elif entry.kind == "said":
            if body.get("done") == "executed":
                state.said(body["text"], question=body.get("sink") == "ask_user")
            elif body.get("status") == "denied" and "sink" not in body:
                state.withheld += 1
        elif entry.kind == "question":
            action = self.actions.get(root_of(entry.cause))
            if action is not None and action["id"] not in self.carried:
                recall(state, state.policy, entry, self.ledger, action)
        elif entry.kind == "answer":
            # Whoever holds an answer back cannot slip it in before what was written meanwhile.
            hear_answer(state, entry, max(entry.at, self.latest))
            if entry.world == "test" and body.get("by") == TRIAL:
                end(state, root_of(entry.cause))  # the approver of a trial answers at once: nothing waits
        elif entry.kind == "undo":
            self._undone(body)
        elif entry.kind == "observation":
            self._observation(body)
        elif entry.kind == "model_call":
            state.tokens += int(body.get("tokens", 0))
            state.cost += Decimal(body.get("cost", 0))
        elif entry.kind in ("intent", "outcome", "verdict"):
            action = self.actions.get(root_of(entry.cause))
            if action is not None:
                self._action(entry, action)

    def _undone(self, body: Mapping[str, Any]) -> None:
        tool = self.state.policy.tools.get(str(body.get("tool")))
        if body.get("came") == "undone" and tool is not None:
            args = _typed(tool, body["args"])
            self.state.undone(tool, body["args"] if args is None else args, str(body["text"]))

    def _observation(self, body: Mapping[str, Any]) -> None:
        if "read" in body:
            self.state.overheard(body["read"], body["trust"], str(body.get("source", "")))
        elif "graph" in body:
            self.state.graphs.add(dumps(body))
        elif "within" in body:
            self.within.add(body["within"])
        elif "told" in body:
            told = set(body["told"])
            self.state.news[:] = [text for text in self.state.news if text not in told]

    def _run(self, body: Mapping[str, Any]) -> None:
        state = self.state
        spec = state.policy.contract.principals.get(state.principal)
        for name in (*body.get("capabilities", ()), *((body["opened"],) if "opened" in body else ())):
            # A later contract may lack a capability, or have taken it from this principal.
            if name in state.policy.contract.capabilities and (spec is None or name in spec.capabilities):
                state.open(name)
        # What a run began with stays: who wants it, whom it is for, what the application has vouched for.
        if "requester" in body and state.requester is None:
            state.requester = body["requester"]
        if body.get("suspendable"):
            state.suspendable = True
        if body.get("by") == "scope":
            state.scope = body.get("scope", "in")
        if body.get("subject") is not None and state.subject is None:
            state.set_subject(body["subject"])
        if body.get("facts"):
            state.facts = {**state.policy.facts.coerce_some(body["facts"]), **state.facts}
        if body.get("status") == "closed" and state.status in ("open", "held"):
            # Nothing that is written opens a run again, or takes it back from the person who has it.
            state.status, state.status_why = "closed", str(body.get("why", ""))

    def _action(self, entry: Entry, action: Mapping[str, Any]) -> None:
        state, body = self.state, entry.body
        tool = state.policy.tools.get(action["tool"])
        if tool is None:
            if entry.kind == "verdict" and body["ruling"] == "deny" and body.get("enforce", True):
                state.deny(str(action["tool"]), action["args"], body["reasons"][0]["rule"])
            return
        mine, by_agent = root_of(entry.cause), action.get("by") is None
        if entry.kind == "verdict":
            if body["ruling"] == "deny" and body.get("enforce", True):
                args = _typed(tool, action["args"])
                state.deny(tool.name, action["args"] if args is None else args, body["reasons"][0]["rule"])
        elif entry.kind == "intent":
            raw = body.get("args", action["args"])
            args = _typed(tool, raw)
            self.intents[mine] = loose(tool, raw) if args is None else args
            self.carried.add(mine)
            for identity in (body.get("approved"), mine):
                end(state, str(identity))
            if by_agent:
                state.reserve(tool, self.intents[mine])
        elif "decided" in body:
            pending = state.pending.get(mine)
            if pending is not None:
                end(state, mine)
                tell(state, pending, str(body["text"]))
        elif mine in self.intents:
            if action.get("by") == "lookup":
                self.looked.add(str(action.get("for")))
            self._outcome(entry, tool, mine, by_agent=by_agent)

    def _outcome(self, entry: Entry, tool: ToolPolicy, mine: str, *, by_agent: bool) -> None:
        state, body = self.state, entry.body
        args, status, done = self.intents[mine], body["status"], body["done"]
        if status != "in_doubt":
            del self.intents[mine]
        elif not body.get("interrupted"):
            self.doubts.add(mine)
        if (status == "failed" or done == "blocked") and by_agent:
            state.release(tool, args, called=done != "blocked")
        if "settled_by" not in body:
            value = body.get("value", body.get("text") if status == "ok" else None)
            state.observe(tool, args, status, done, value, at=entry.at)
        elif status == "ok" and state.flow is not None:
            state.flow.finished(tool.name, simulated=False)
        if "~" in str(entry.cause) and mine in state.pending:
            tell(state, state.pending[mine], str(body["text"]))


def _typed(tool: ToolPolicy, raw: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return tool.arguments.coerce(raw)
    except BadValue:
        return None


def root_of(cause: str | None) -> str:
    """The action that an entry follows from, whichever process continued it."""
    return (cause or "").partition("~")[0]
