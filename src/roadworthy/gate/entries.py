"""What a gate writes about a run: the drafts of its entries, each kind made in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from roadworthy.contract.model import Contract
from roadworthy.core.order import order_of
from roadworthy.core.types import Action, Draft, Guard, Kind, Level, Outcome, Realm, Reservation, Verdict
from roadworthy.gate import budgets
from roadworthy.gate.core import AskUserChannel, Core, Write
from roadworthy.gate.owners import owners_of
from roadworthy.gate.policy import ToolPolicy
from roadworthy.gate.values import MISSING
from roadworthy.gate.verdicts import escalates_on, verdict_body

if TYPE_CHECKING:
    from roadworthy.gate.gate import Gate
    from roadworthy.gate.people.questions import Pending
    from roadworthy.gate.state import RunStatus
    from roadworthy.gate.telemetry import CallSpan
    from roadworthy.ledger.store import Appender


def contract_drafts(contract: Contract, ledger: Appender, at: datetime, *, world: Realm = "production") -> list[Draft]:
    """The entry that holds a contract and its people, so that all that was decided by them can be read beside them.

    None where the ledger holds this contract already; one without its people, as they were written once, is not it.
    """
    people = contract.members
    for entry in ledger.entries(kind="contract"):
        if entry.body.get("digest") == contract.digest and (people is None or "people" in entry.body):
            return []
    body: dict[str, Any] = {
        "digest": contract.digest,
        "agent": contract.agent,
        "version": contract.version,
        "owner": contract.owner.model_dump(),
        "contract": contract.model_dump(mode="json", by_alias=True, exclude_defaults=True),
    }
    if people is not None:
        body["people"] = people.model_dump(mode="json")
    order = order_of({key: body[key] for key in ("contract", "people") if key in body})
    if order:
        body["order"] = order  # reasons and questions follow it, and the ledger sorts what it holds
    return [Draft(kind="contract", world=world, run=None, body=body, at=at)]


@dataclass(slots=True)
class Step:
    """One call on its way through the gate."""

    action: Action
    tool: ToolPolicy | None
    verdict: Verdict
    realm: Realm
    drafts: list[Draft] = field(default_factory=list[Draft])
    guards: list[Guard] = field(default_factory=list[Guard])
    """What must hold in the ledger as the intent is written."""
    outcome: Outcome | None = None
    """Set when the call ends here, without a tool."""
    carry: bool = False
    simulate: bool = False
    unjudged: bool = False
    """Made though nobody could judge it, because this gate only watches."""
    suspends: bool = False
    """The run stops here until a person has answered."""
    typed: Any = MISSING
    """The result in the contract's types, once it was read."""
    before: Any = MISSING
    """What was read before the call, so that it can be taken back."""
    cause: str = ""
    """The cause of its entries: the action's id, or where another process continues it, more."""
    by: str | None = None
    """Why the gate itself makes this call: `verify`, `before`, `lookup`, `undo`; None: the agent does."""
    serves: str | None = None
    """The id of the action for which the gate makes it."""
    key: str = ""
    """The idempotency key."""
    question: str | None = None
    """What the user must be asked first."""
    approval: Pending | None = None
    """The approved action that this call carries out."""
    agent: str | None = None
    """Which agent of the application asks, where it has several and somebody knows; nothing is decided by it."""
    inexact: bool = False
    """Its arguments cannot be written down as they came: they are cut, or escaped."""
    entered: bool = False
    """Its tool is another agent in which the run was suspended, and which is entered again: it was decided then."""
    note: str = ""
    """What the agent must be told beside the result."""
    fed: int = 0
    """How much of what others have written was known when it was decided."""
    span: CallSpan | None = None
    """What tells of it outside of the ledger; None where nobody listens."""


class Context:
    """A run seen from one gate: its shared memory, and how its entries are made."""

    __slots__ = ("channel", "core", "gate", "state")

    def __init__(self, gate: Gate, core: Core, channel: AskUserChannel | None) -> None:
        self.gate = gate
        self.core = core
        self.state = core.state
        self.channel = channel

    # -- drafts -------------------------------------------------------------------------------------------------------

    def draft(
        self,
        kind: Kind,
        body: Mapping[str, Any],
        *,
        cause: str | None = None,
        realm: Realm | None = None,
        at: datetime | None = None,
        owners: Mapping[str, str] | None = None,
    ) -> Draft:
        """An entry of this run; now unless told."""
        return Draft(
            kind=kind,
            world=realm or self.gate.world,
            run=self.core.id,
            body=body,
            at=at or self.gate.clock.now(),
            cause=cause if cause is not None else self.core.mark,
            subject=self.state.subject,
            owners=owners or {},
        )

    def action(self, step: Step) -> Draft:
        """What the agent wants to do."""
        action = step.action
        body: dict[str, Any] = {
            "id": action.id,
            "tool": action.tool,
            "args": action.args,
            "principal": action.principal,
            "subject": action.subject,
            "capability": action.capability,
        }
        if action.call_id is not None:
            body["call_id"] = action.call_id
        if step.agent is not None:
            body["agent"] = step.agent
        if step.tool is None:
            body["unknown"] = True
        if step.inexact:
            body["inexact"] = True
        if step.by is not None:
            body["by"] = step.by
        if step.serves is not None:
            body["for"] = step.serves
        if step.span is not None and (trace := step.span.trace) is not None:
            body["trace"] = trace
        return self.draft("action", body, cause=step.cause, realm=step.realm, at=action.at)

    def opening(self, step: Step) -> list[Draft]:
        """What the agent wants to do, unless an earlier drive of the run has written it already."""
        return [] if step.cause.partition("~")[1] else [self.action(step)]

    def verdict(self, step: Step) -> Draft:
        """What the gate says about it, and why."""
        blocked = step.outcome is not None and step.outcome.done == "blocked"
        told = step.outcome.text if step.outcome is not None and blocked else None
        body = verdict_body(step.verdict, enforce=self.gate.enforce, told=told, question=step.question)
        # At the time of the decision, so that whoever decides again comes to the same verdict.
        return self.draft("verdict", body, cause=step.cause, realm=step.realm, at=step.action.at)

    def intent(self, step: Step) -> Draft:
        """What will be carried now."""
        body: dict[str, Any] = {"key": step.key}
        reserved = [g for g in step.guards if isinstance(g, Reservation)]
        if reserved:
            body["reserved"] = budgets.written(reserved)
        if step.approval is not None:
            body["approved"] = step.approval.action
            if step.action.id == step.approval.action and step.action.args != step.approval.args:
                body["args"] = step.action.args  # a person has changed them
        if step.before is not MISSING:
            body["before"] = step.before
        return self.draft("intent", body, cause=step.cause, realm=step.realm)

    def outcome(
        self, step: Step, outcome: Outcome, *, more: Mapping[str, Any] | None = None, at: datetime | None = None
    ) -> Draft:
        """What came of it."""
        body: dict[str, Any] = {"status": outcome.status, "done": outcome.done, "text": outcome.text}
        if outcome.value is not None and outcome.value != outcome.text:
            body["value"] = outcome.value
        if more:
            body.update(more)
        owners: Mapping[str, str] = {}
        if step.tool is not None and self.gate.world != "test":
            owners = owners_of(self.gate.policy, self.state, step.tool, step.action.args, body, step.typed)
        return self.draft("outcome", body, cause=step.cause, realm=step.realm, at=at, owners=owners)

    def handover(
        self, reason: str, *, cause: str | None = None, realm: Realm | None = None, agent: str | None = None
    ) -> Draft:
        """A person takes over; `agent`: from which agent of the application, where it has several."""
        spec = self.gate.contract.escalate
        to = spec.to if spec is not None else self.gate.contract.owner.accountable
        body = {"to": to, "reason": reason} if agent is None else {"to": to, "reason": reason, "source": agent}
        return self.draft("handover", body, cause=cause, realm=realm)

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Write:
        """To be yielded: on disk before the next step."""
        gap = self.core.unrecorded
        if gap:
            lost = {"unrecorded_reads": gap, "why": "the ledger could not be written"}
            drafts = [self.draft("gap", lost), *drafts]
        return Write(self.gate, self.core, drafts, guards, gap)

    # -- small things -------------------------------------------------------------------------------------------------

    def refresh_controls(self) -> bool:
        """Learn of stops and lowered levels that anybody has written since; whether there were any."""
        found = self.gate.ledger.controls(self.core.controls_seen)
        if not found:
            return False
        self.core.controls_seen = max(self.core.controls_seen, found[-1].seq)
        self.gate.apply_controls(self.core, found)
        return True

    def shadow(self) -> bool:
        """Whether all that is open is in shadow, so that nothing that is said is delivered."""
        return self.gate.enforce and self.state.all_in_shadow

    def realm(self, level: Level) -> Realm:
        """The world of a call's entries."""
        gate = self.gate
        return "shadow" if gate.world == "production" and level == "shadow" and gate.enforce else gate.world

    def set_status(self, status: RunStatus, why: str) -> None:
        """Only in memory; who calls writes the entry that says so."""
        self.state.status, self.state.status_why = status, why

    def escalates_on(self, event: str) -> bool:
        """Whether the contract hands a run over on this event. Repeated denials do so unless it says otherwise."""
        return escalates_on(self.gate.contract, event)
