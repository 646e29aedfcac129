"""The gate: every action passes it, in test, in shadow and in production alike."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Never
from weakref import WeakKeyDictionary, WeakValueDictionary

from roadworthy.contract.load import assure
from roadworthy.contract.model import Contract
from roadworthy.core.clock import Clock, SystemClock
from roadworthy.core.errors import ContractError, HarnessError, UsageError
from roadworthy.core.types import Action, Draft, Level, Realm, Verdict
from roadworthy.gate.carry import ToolFunction
from roadworthy.gate.policy import Policy, policy_of
from roadworthy.gate.run import AskUser, Core, Run, new_session
from roadworthy.gate.state import RunState
from roadworthy.gate.support import without_effect
from roadworthy.gate.values import BadValue

if TYPE_CHECKING:  # the gate needs no engine of its own: any ledger will do
    from roadworthy.ledger.store import Appender

Approver = Callable[[Action, Verdict], bool | None]
"""Answers a held action at once, in a trial: True carries it, False denies it, None leaves it held."""

_CHECKED: set[str] = set()
_OPENING = Lock()
_LIVE: WeakKeyDictionary[Appender, WeakValueDictionary[tuple[str, str], Core]] = WeakKeyDictionary()
"""The runs that are open in this process, by ledger, then by id and contract."""


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
        if id is None:
            return Run(self, self._begin(uuid.uuid4().hex, who, subject, facts, wanted), ask_user=ask_user)
        if self.world == "test":
            return Run(self, self._open(id, principal, who, subject, facts, wanted), ask_user=ask_user)
        # All handles on one run of this process share its memory, however often and wherever it is opened.
        with _OPENING:
            live = _LIVE.setdefault(self.ledger, WeakValueDictionary())
            core = live.get((id, self.contract.digest))
            if core is None:
                core = self._open(id, principal, who, subject, facts, wanted)
                live[(id, self.contract.digest)] = core
                return Run(self, core, ask_user=ask_user)
        with core.lock:
            core.catch_up(self.ledger)
            self._join(core, principal, subject, facts, wanted)
        return Run(self, core, ask_user=ask_user)

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

    def _begin(
        self, run_id: str, who: str, subject: str | None, facts: Mapping[str, Any] | None, wanted: Sequence[str]
    ) -> Core:
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
        core = Core(run_id, state, new_session(self.world))
        draft = Draft(kind="run", world=self.world, run=run_id, body=body, at=now, cause=core.mark)
        self.ledger.append([*self._contract_drafts(), draft])
        for name in wanted:
            state.open(name)
        return core

    def _open(
        self,
        run_id: str,
        principal: str | None,
        who: str,
        subject: str | None,
        facts: Mapping[str, Any] | None,
        wanted: Sequence[str],
    ) -> Core:
        """The run with this id, brought back by its entries; a new one where there are none."""
        entries = list(self.ledger.entries(run=run_id))
        if not entries:
            return self._begin(run_id, who, subject, facts, wanted)
        first = next((e for e in entries if e.kind == "run" and "principal" in e.body), None)
        if first is None:
            raise UsageError(f"run {run_id!r} stands in the ledger, but not how it began; use another id")
        began = first.body
        state = RunState(self.policy, principal=began["principal"], started=first.at, levels=self._levels)
        core = Core(run_id, state, new_session(self.world))
        core.replay.feed(entries)
        core.calls = len(core.replay.actions)
        self._join(core, principal, subject, facts, wanted, changed=began["contract"] != self.contract.digest)
        return core

    def _join(
        self,
        core: Core,
        principal: str | None,
        subject: str | None,
        facts: Mapping[str, Any] | None,
        wanted: Sequence[str],
        *,
        changed: bool = False,
    ) -> None:
        """What is newly said of a run that began before: more may be known, nothing may be contradicted."""
        state = core.state
        if principal is not None and principal != state.principal:
            raise UsageError(f"run {core.id!r} belongs to principal {state.principal!r}, not to {principal!r}")
        if self._subject(subject) is not None and state.subject not in (None, subject):
            raise UsageError(f"run {core.id!r} acts for {state.subject!r}; a run never changes its subject")
        typed = self._facts(facts)
        for name, value in typed.items():
            if name in state.facts and state.facts[name] != value:
                raise UsageError(f"run {core.id!r} was told another {name!r}; facts may be added and never changed")
        body: dict[str, Any] = {}
        if subject is not None and state.subject is None:
            body["subject"] = subject
        if any(name not in state.facts for name in typed):
            body["facts"] = typed
        new = [name for name in wanted if name not in state.capabilities]
        if new:
            body["capabilities"] = new
        if changed:
            body.update(contract=self.contract.digest, version=self.contract.version, levels=dict(self._levels))
        if not body:
            return
        at = self.clock.now()
        draft = Draft(
            kind="run", world=self.world, run=core.id, body={**body, "reopened": True}, at=at, cause=core.mark
        )
        self.ledger.append([*(self._contract_drafts() if changed else ()), draft])
        if "subject" in body:
            state.set_subject(body["subject"])
        state.facts = {**state.facts, **typed}
        for name in new:
            state.open(name)
