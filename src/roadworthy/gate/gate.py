"""The gate: every action passes it, in test, in shadow and in production alike."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Never

from roadworthy.contract.load import assure
from roadworthy.contract.model import Contract
from roadworthy.core.clock import Clock, SystemClock
from roadworthy.core.errors import ContractError, HarnessError, UsageError
from roadworthy.core.types import Action, Draft, Entry, Level, Realm, Verdict
from roadworthy.gate.carry import ToolFunction
from roadworthy.gate.policy import Policy, policy_of
from roadworthy.gate.run import AskUser, Run, new_session
from roadworthy.gate.state import RunState
from roadworthy.gate.support import without_effect
from roadworthy.gate.values import BadValue

if TYPE_CHECKING:  # the gate needs no engine of its own: any ledger will do
    from roadworthy.ledger.store import Appender

Approver = Callable[[Action, Verdict], bool | None]
"""Answers a held action at once, in a trial: True carries it, False denies it, None leaves it held."""

_CHECKED: set[str] = set()


class Gate:
    """Decides every action of an agent by its contract, and writes down what it decided and what came of it.

    `enforce=False` reports only: tools run for real, verdicts are recorded as "would have", and every entry says so.
    `tools` are functions that the gate itself may call (the hand-over tool); in a test world they are the stand-ins of
    all tools, and nothing else is ever called. `level` and `approver` are for test worlds, and refused elsewhere.
    Raises ContractError for a contract that holds anything this gate cannot keep.
    """

    def __init__(
        self,
        contract: Contract,
        ledger: Appender,
        *,
        enforce: bool = True,
        world: Realm = "production",
        level: Level | None = None,
        tools: Mapping[str, ToolFunction] | None = None,
        clock: Clock | None = None,
        approver: Approver | None = None,
    ) -> None:
        if world != "test" and (level is not None or approver is not None):
            raise UsageError(
                "level= and approver= are for test worlds: outside them a capability starts at its `autonomy.start`, "
                "and people decide held actions"
            )
        if contract.digest not in _CHECKED:
            assure(contract)  # one that was built or changed in Python was never read by the loader
            findings = list(without_effect(contract))
            if findings:
                raise ContractError([contract.located(f) for f in findings])
            _CHECKED.add(contract.digest)
        self.contract = contract
        self.ledger = ledger
        self.enforce = enforce
        self.world: Realm = world
        self.clock: Clock = clock or SystemClock()
        self.approver = approver
        self.policy: Policy = policy_of(contract)
        self._tools = tools or {}
        self._levels: Mapping[str, Level]
        if world == "test":
            ceilings = self.policy.ceilings
            self._levels = {name: level or ceilings[name] for name in ceilings}
        else:
            self._levels = self.policy.start_levels
        self._contract_written = world == "test"

    # -- runs ---------------------------------------------------------------------------------------------------------

    def run(
        self,
        *,
        id: str | None = None,
        principal: str | None = None,
        subject: str | None = None,
        facts: Mapping[str, Any] | None = None,
        capability: str | Iterable[str] | None = None,
        ask_user: AskUser | None = None,
    ) -> Run:
        """Create a run, or open again the one with this id, in this process or another.

        `principal`: who runs the agent; a key of the contract's `principals` where it has any. `subject`: the key of
        whom it acts for, where the application knows it. `facts`: what the application vouches for. `capability`: one
        or several to open now. `ask_user`: the channel to the user, for `Run.ask_user`. Raises UsageError.
        """
        who = self._principal(principal)
        wanted = [capability] if isinstance(capability, str) else list(capability or ())
        for name in wanted:
            self.check_capability(name, who)
        if id is not None:
            entries = list(self.ledger.entries(run=id))
            if entries:
                return self._reopen(id, entries, who if principal is not None else None, subject, wanted, ask_user)
        run_id = id or uuid.uuid4().hex
        typed = self._facts(facts)
        now = self.clock.now()
        state = RunState(
            self.policy, principal=who, started=now, levels=self._levels, subject=self._subject(subject), facts=typed
        )
        body: dict[str, Any] = {
            "agent": self.contract.agent,
            "version": self.contract.version,
            "contract": self.contract.digest,
            "principal": who,
            "subject": subject,
            "facts": typed,
            "capabilities": wanted,
            "levels": dict(self._levels),
            "enforce": self.enforce,
        }
        drafts = [Draft(kind="run", world=self.world, run=run_id, body=body, at=now)]
        self.ledger.append([*self._contract_drafts(), *drafts])
        for name in wanted:
            state.open(name)
        return Run(self, state, id=run_id, ask_user=ask_user, session=new_session(self.world))

    def stop(self, capability: str | None = None, *, because: str, by: str) -> None:
        """Stop a capability, or the whole agent, at the next decision of every gate over this ledger."""
        self._control(capability, because=because, by=by, lifted=False)

    def lift(self, capability: str | None = None, *, because: str, by: str) -> None:
        """Take a stop back."""
        self._control(capability, because=because, by=by, lifted=True)

    # -- what runs ask their gate -----------------------------------------------------------------------------------

    def check_capability(self, name: str, principal: str) -> None:
        """Raises UsageError for a capability that the contract lacks or the principal may not use."""
        if name not in self.contract.capabilities:
            known = ", ".join(self.contract.capabilities)
            raise UsageError(f"the contract of {self.contract.agent} has no capability {name!r}; it has {known}")
        spec = self.contract.principals.get(principal)
        if spec is not None and name not in spec.capabilities:
            raise UsageError(
                f"principal {principal!r} may not use the capability {name!r}; "
                f"add it under principals.{principal}.capabilities"
            )

    def function_for(self, tool: str, fn: ToolFunction | None) -> ToolFunction | None:
        """The function behind a tool. In a test world its stand-in or nothing: a trial never touches the real thing."""
        if self.world == "test":
            return self._tools.get(tool)
        return fn if fn is not None else self._tools.get(tool)

    def has_function(self, tool: str) -> bool:
        """Whether the gate itself can call a tool."""
        return tool in self._tools

    def missing_stand_in(self, tool: str) -> Never:
        """Raises HarnessError: the world lacks a tool that the agent called."""
        known = ", ".join(sorted(self._tools)) or "none"
        raise HarnessError(
            f"the world has no stand-in for {tool}; it has {known}. Add one, or take the tool from the contract"
        )

    @staticmethod
    def apply_stop(stopped: dict[str | None, str], body: Mapping[str, Any]) -> None:
        """Bring a `stop` entry into the table of what is stopped."""
        capability = body.get("capability")
        if body.get("lifted"):
            stopped.pop(capability, None)
        else:
            stopped[capability] = f"{body.get('because')}, by {body.get('by')}"

    # -- inside -------------------------------------------------------------------------------------------------------

    def _principal(self, given: str | None) -> str:
        known = self.contract.principals
        if not known:
            return given or self.contract.agent
        if given is None:
            raise UsageError(f"say who runs the agent: gate.run(principal=...), one of {', '.join(known)}")
        if given not in known:
            raise UsageError(f"the contract knows no principal {given!r}; it knows {', '.join(known)}")
        return given

    def _subject(self, given: str | None) -> str | None:
        if given is None:
            return None
        subject = self.contract.subject
        if subject is None:
            raise UsageError("subject= was given, but the contract names no `subject`")
        pattern = self.contract.entities[subject.entity].pattern
        if pattern is not None and re.fullmatch(pattern, given) is None:
            raise UsageError(f"subject={given!r} is no {subject.entity}: its keys look like {pattern}")
        return given

    def _facts(self, given: Mapping[str, Any] | None) -> dict[str, Any]:
        try:
            return self.policy.facts.coerce(given) if given is not None else self._no_facts()
        except BadValue as bad:
            raise UsageError(f"the facts do not fit the contract's `facts`: {bad}") from None

    def _no_facts(self) -> dict[str, Any]:
        # A fact that is not given is unknown, and conditions over it deny; only given facts are checked as a whole.
        return {}

    def _contract_drafts(self) -> Sequence[Draft]:
        """The contract itself goes into the ledger once, so that every verdict can be read beside its law."""
        if self._contract_written:
            return ()
        self._contract_written = True
        digest = self.contract.digest
        if any(e.body.get("digest") == digest for e in self.ledger.entries(kind="contract")):
            return ()
        body = {
            "digest": digest,
            "agent": self.contract.agent,
            "version": self.contract.version,
            "owner": self.contract.owner.model_dump(),
            "contract": self.contract.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        }
        return (Draft(kind="contract", world=self.world, run=None, body=body, at=self.clock.now()),)

    def _control(self, capability: str | None, *, because: str, by: str, lifted: bool) -> None:
        if capability is not None and capability not in self.contract.capabilities:
            known = ", ".join(self.contract.capabilities)
            raise UsageError(f"the contract of {self.contract.agent} has no capability {capability!r}; it has {known}")
        if not because.strip() or not by.strip():
            raise UsageError("a stop names who and why: by= and because= must not be empty")
        body = {"capability": capability, "because": because, "by": by, "lifted": lifted}
        self.ledger.append([Draft(kind="stop", world="production", run=None, body=body, at=self.clock.now())])

    def _reopen(
        self,
        run_id: str,
        entries: Sequence[Entry],
        principal: str | None,
        subject: str | None,
        wanted: Sequence[str],
        ask_user: AskUser | None,
    ) -> Run:
        """Bring a run back by its entries: the same events through the same state."""
        first = next((e for e in entries if e.kind == "run" and "principal" in e.body), None)
        if first is None:
            raise UsageError(f"run {run_id!r} stands in the ledger, but not how it began; use another id")
        began = first.body
        if principal is not None and principal != began["principal"]:
            raise UsageError(f"run {run_id!r} belongs to principal {began['principal']!r}, not to {principal!r}")
        if subject is not None and began.get("subject") not in (None, subject):
            raise UsageError(f"run {run_id!r} acts for {began['subject']!r}; a run never changes its subject")
        state = RunState(
            self.policy,
            principal=began["principal"],
            started=first.at,
            levels=self._levels,
            subject=self._subject(began.get("subject") or subject),
            facts=self._facts(began.get("facts") or None),
        )
        calls = _replay(state, entries, self.enforce)
        run = Run(self, state, id=run_id, ask_user=ask_user, session=new_session(self.world), calls=calls)
        if began["contract"] != self.contract.digest:
            body = {"contract": self.contract.digest, "version": self.contract.version, "reopened": True}
            self.ledger.append(
                [
                    *self._contract_drafts(),
                    Draft(kind="run", world=self.world, run=run_id, body=body, at=self.clock.now()),
                ]
            )
        for name in wanted:
            run.open(name)
        return run


def _replay(state: RunState, entries: Sequence[Entry], enforce: bool) -> int:
    """Feed a run's entries to a fresh state; how many actions there were. An intent without an outcome is in_doubt."""
    actions: dict[str, Mapping[str, Any]] = {}
    open_intents: set[str] = set()
    for entry in entries:
        body = entry.body
        if entry.kind == "run":
            for name in (*body.get("capabilities", ()), *((body["opened"],) if "opened" in body else ())):
                if name in state.policy.contract.capabilities:
                    state.open(name)
            if "status" in body:
                state.status, state.status_why = body["status"], str(body.get("why", ""))
        elif entry.kind == "heard":
            state.hear(body["text"])
        elif entry.kind == "action":
            actions[body["id"]] = body
        elif entry.kind == "handover":
            state.status, state.status_why = "escalated", str(body.get("reason", ""))
        elif entry.kind == "question":
            state.status, state.status_why = "held", f"{body.get('role') or 'a person'} must approve {body.get('tool')}"
        elif entry.kind == "answer":
            state.status, state.status_why = "open", ""
        elif entry.kind in ("intent", "outcome", "verdict") and entry.cause in actions:
            _replay_action(state, entry, actions[entry.cause], open_intents, enforce)
    return len(actions)


def _replay_action(
    state: RunState, entry: Entry, action: Mapping[str, Any], open_intents: set[str], enforce: bool
) -> None:
    tool = state.policy.tools.get(action["tool"])
    if tool is None:
        return
    try:
        args = tool.arguments.coerce(action["args"])
    except BadValue:
        args = dict(action["args"])
    body = entry.body
    if entry.kind == "verdict":
        if body["ruling"] == "deny" and body.get("enforce", True):
            state.deny(tool.name, args, body["reasons"][0]["rule"])
    elif entry.kind == "intent":
        open_intents.add(str(entry.cause))
        state.reserve(tool, args)
    elif entry.cause in open_intents:
        open_intents.discard(entry.cause)
        status, done = body["status"], body["done"]
        if status == "failed" or done == "blocked":
            state.release(tool, args)
        state.observe(tool, args, status, done, body.get("value", body.get("text")))
