"""The gate: every action passes it, in test, in shadow and in production alike."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Never, cast
from weakref import WeakKeyDictionary, WeakValueDictionary

from roadworthy.contract.load import assure
from roadworthy.contract.model import Contract
from roadworthy.core.clock import Clock, SystemClock
from roadworthy.core.errors import Conflict, HarnessError, Unreadable, UsageError
from roadworthy.core.types import LEVELS, Action, Draft, Entry, Level, Realm, Reason, Verdict
from roadworthy.gate.carry import Carrier, ToolFunction
from roadworthy.gate.carry.drift import Learned
from roadworthy.gate.core import Steps, adrive, drive
from roadworthy.gate.decide import normalise
from roadworthy.gate.entries import contract_drafts
from roadworthy.gate.journal import Journal
from roadworthy.gate.levels import Levels, compile_levels, level_body
from roadworthy.gate.passage import recover
from roadworthy.gate.people.answers import (
    Answered,
    Answering,
    Question,
    answer_payload,
    check_answer,
    place_of,
    standing,
)
from roadworthy.gate.people.questions import Pending, open_questions
from roadworthy.gate.policy import Policy, policy_of
from roadworthy.gate.replay import readable, whatever
from roadworthy.gate.run import AskUser, Core, Run, new_session
from roadworthy.gate.state import RunState
from roadworthy.gate.stops import Stops, lift_body, stop_body
from roadworthy.gate.undo import Undoable, Undone, undo, undo_body, undoable
from roadworthy.gate.values import BadValue

if TYPE_CHECKING:  # the gate needs no engine of its own: any ledger will do
    from roadworthy.ledger.store import Appender

Approver = Callable[[Action, Verdict], bool | None]
"""Answers a held action at once, in a trial: True carries it, False denies it, None leaves it held."""

_log = logging.getLogger("roadworthy.gate")

REPLIES = 20
"""How often an answer is tried while others answer the same question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question that waits for a person, with all that the person should see."""

    question: Question
    tool: str
    args: Mapping[str, Any]
    text: str
    """Why it is asked."""
    at: datetime
    subject: str | None
    capability: str | None
    origins: Mapping[str, tuple[str, ...]]
    """Where the checked arguments were seen."""
    suspended: bool
    """Whether the run stands still meanwhile."""
    answers: Sequence[tuple[Mapping[str, Any], datetime]] = ()
    """What was answered so far, each with its time; whether it counts, `answers.standing` says."""

    @property
    def id(self) -> str:
        """The id to answer by."""
        return self.question.id

    @property
    def run(self) -> str:
        """The run that waits."""
        return self.question.run

    @classmethod
    def of(cls, pending: Pending, question: Question) -> Asked:
        """One question of a held action."""
        return cls(
            question=question,
            tool=pending.tool,
            args=pending.args,
            text=pending.text,
            at=pending.at,
            subject=pending.subject,
            capability=pending.capability,
            origins=pending.origins,
            suspended=pending.suspend,
            answers=tuple(pending.answers.get(question.id, ())),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How a run stands with its held actions."""

    unsettled: int
    """Actions that wait for people, or for somebody who does what they decided."""
    suspended: bool
    """It stopped for a held action, and is to be driven again from its start once that is settled."""
    over: bool
    """Nothing more is to be done in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What the application says of a run as it opens it."""

    principal: str | None
    """As it was given."""
    who: str
    subject: str | None
    facts: Mapping[str, Any] | None
    wanted: list[str]
    """Capabilities to open."""
    requester: str | None = None
    suspendable: bool = False


_CHECKED: set[str] = set()
_OPENING = Lock()
_STANDINGS: WeakKeyDictionary[Appender, dict[str, Levels]] = WeakKeyDictionary()
"""What levels stand in each ledger, by contract: read once a process, then kept up with."""
_LEARNED: WeakKeyDictionary[Appender, Learned] = WeakKeyDictionary()
"""What is known of the answers of the tools behind each ledger's gates."""
_LIVE: WeakKeyDictionary[Appender, WeakValueDictionary[tuple[str, str], Core]] = WeakKeyDictionary()
"""The runs that are open in this process, by ledger, then by id and contract."""


def _standing_of(contract: Contract, ledger: Appender) -> Levels:
    with _OPENING:
        known = _STANDINGS.setdefault(ledger, {})
        standing = known.get(contract.digest)
        if standing is None:
            standing = known[contract.digest] = Levels(compile_levels(contract), ledger.id)
        return standing


def _unlearned(error: Unreadable) -> None:
    _log.warning("what was learnt of tools' answers cannot be read: %s", error.text)


def _learned_of(ledger: Appender) -> Learned:
    with _OPENING:
        learned = _LEARNED.get(ledger)
        if learned is None:
            learned = _LEARNED[ledger] = Learned()
            for entry in whatever(ledger, "observation", _unlearned):
                if entry.world != "test":  # in shadow the reads are the real ones
                    learned.restore(entry.body)
        return learned


class Gate:
    """Decides every action of an agent by its contract, and writes down what it decided and what came of it.

    `enforce=False` reports only: tools run for real, verdicts are recorded as "would have", and every entry says so.
    `tools` are functions that the gate itself may call (the hand-over tool); in a test world they are the stand-ins of
    all tools, and nothing else is ever called. `level` and `approver` are for test worlds, and refused elsewhere.
    `on_question` is told of every question that is put to people, as it is put.
    Raises ContractError for a contract that was built or changed in Python and does not hold together.
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
        on_question: Callable[[Asked], object] | None = None,
    ) -> None:
        if world != "test" and (level is not None or approver is not None):
            raise UsageError(
                "level= and approver= are for test worlds: outside them a capability starts at its `autonomy.start`, "
                "and people decide held actions"
            )
        if contract.digest not in _CHECKED:
            assure(contract)  # one that was built or changed in Python was never read by the loader
            _CHECKED.add(contract.digest)
        self.contract = contract
        self.ledger = ledger
        self.enforce = enforce
        self.world: Realm = world
        self.clock: Clock = clock or SystemClock()
        self.approver = approver
        self.on_question = on_question
        self.policy: Policy = policy_of(contract)
        self.carrier = Carrier(self.clock, direct=world == "test")
        self.learned: Learned | None = None if world == "test" else _learned_of(ledger)
        self._tools = tools or {}
        self._forced: Mapping[str, Level] | None = None
        self._standing: Levels | None = None
        if world == "test":
            ceilings = self.policy.ceilings
            self._forced = {name: level or ceilings[name] for name in ceilings}
        else:
            self._standing = _standing_of(contract, ledger)
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
        requester: str | None = None,
        suspendable: bool = False,
        ask_user: AskUser | None = None,
    ) -> Run:
        """Create a run, or open again the one with this id, in this process or another.

        `principal`: who runs the agent; a key of the contract's `principals` where it has any. `subject`: the key of
        whom it acts for, where the application knows it. `facts`: what the application vouches for. `capability`: one
        or several to open now. `requester`: the person who wants it, who then may not approve it where a rule says
        `not: [requester]`. `suspendable`: the agent can be driven again from its start and takes every model response,
        time and random value through the run (`Run.recall`), so that it may stop for a person and go on in another
        process. `ask_user`: the channel to the user, for `Run.ask_user`. Raises UsageError.
        """
        who = self._principal(principal)
        wanted = [capability] if isinstance(capability, str) else list(capability or ())
        for name in wanted:
            self.check_capability(name, who)
        start = Start(
            principal=principal,
            who=who,
            subject=subject,
            facts=facts,
            wanted=wanted,
            requester=requester,
            suspendable=suspendable,
        )
        if id is None:
            return Run(self, self._begin(uuid.uuid4().hex, start), ask_user=ask_user)
        if self.world == "test":
            return Run(self, self._open(id, start), ask_user=ask_user)
        # All handles on one run of this process share its memory, however often and wherever it is opened.
        with _OPENING:
            live = _LIVE.setdefault(self.ledger, WeakValueDictionary())
            core = live.get((id, self.contract.digest))
            if core is None:
                core = self._open(id, start)
                live[(id, self.contract.digest)] = core
                return Run(self, core, ask_user=ask_user)
        with core.lock:
            core.catch_up(self.ledger)
            self._join(core, start)
        return Run(self, core, ask_user=ask_user)

    def stop(self, capability: str | None = None, *, because: str, by: str) -> None:
        """Stop a capability, or the whole agent, at the next decision of every gate over this ledger."""
        self._control(stop_body(capability=capability, because=because, by=by))

    def lift(
        self,
        capability: str | None = None,
        *,
        because: str,
        by: str,
        nonce: str | None = None,
        signature: str | None = None,
    ) -> None:
        """Take a stop back.

        Where the contract names people, that needs the signature of whoever is accountable over `stops.lift_body` with
        this `nonce`, for the purpose `stop`. Raises UsageError for what would have no effect.
        """
        body = lift_body(ledger=self.ledger.id, capability=capability, because=because, by=by, nonce=nonce)
        if signature is not None:
            body["signature"] = signature
        stops = Stops(self.contract, self.ledger.id)
        for entry in self.ledger.controls():
            if entry.kind == "stop" and entry.world == "production":
                stops.feed(entry.body)
        fault = stops.fault(body)
        if fault is not None:
            raise UsageError(f"the stop was not taken back: {fault}")
        self._control(body)

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

    def apply_controls(self, core: Core, found: Sequence[Entry]) -> None:
        """Bring what people have stopped or lowered since into a run."""
        state, standing = core.state, self._standing
        for entry in found:
            if entry.kind == "stop" and entry.world == "production":
                core.stops = core.stops or Stops(self.contract, self.ledger.id)
                core.stops.feed(entry.body)
                state.stopped = dict(core.stops.standing)
        if standing is not None and any(entry.kind != "stop" for entry in found):
            standing.refresh(self.ledger)
            state.levels = standing.bound(state.levels, core.levels_after)

    def asked(self, pending: Pending) -> None:
        """An action was put to people: tell whoever wants to know. What goes wrong there changes nothing here."""
        if self.on_question is None:
            return
        for question in pending.questions.values():
            try:
                self.on_question(Asked.of(pending, question))
            except Exception:  # the hook is the application's, and the question stands in the ledger all the same
                _log.exception("on_question failed for %s", question.id)

    # -- what people decide -----------------------------------------------------------------------------------------

    def questions(self, *, unreadable: Callable[[Unreadable], object] | None = None) -> list[Asked]:
        """The questions of this contract's runs that somebody may answer now, the oldest first.

        Runs that cannot be read are passed over: `unreadable` is told of each, and where it is not given the log is.
        """

        def pass_over(error: Unreadable) -> None:
            if unreadable is not None:
                unreadable(error)
            else:
                _log.warning("the questions of run %s are passed over: %s", error.run, error.text)

        now = self.clock.now()
        runs: dict[str, None] = {}
        for entry in whatever(self.ledger, "question", pass_over):
            if entry.run is not None and self._in_world(entry):
                runs[entry.run] = None
        found: list[Asked] = []
        for run in runs:
            try:
                core = self._known(run)
            except Unreadable as error:
                pass_over(error)
                continue
            if core is None:
                continue
            with core.lock:
                asked = open_questions(core.state.pending.values(), self.policy, now)
            found += [Asked.of(pending, question) for pending, question in asked]
        return sorted(found, key=lambda a: a.at)

    def question(self, id: str) -> Asked:
        """One question, open or not. Raises UsageError where this contract's runs have none of this id."""
        pending, question, _ = self._find(id)
        return Asked.of(pending, question)

    def answer(
        self,
        question: str,
        *,
        by: str,
        ruling: Answering,
        because: str = "",
        args: Mapping[str, Any] | None = None,
        text: str | None = None,
        signature: str | None = None,
    ) -> Answered:
        """Answer a question; what all answers to it then amount to.

        `ruling`: `approve`, `deny`, `edit` (with `args`: all arguments of the action as it shall be), `answer` (with
        `text` for the agent), `take` (the person takes over). `signature`: over `answer_payload`, where the contract
        names people. Raises UsageError, which says why, for an answer that does not count; nothing is written then.
        The action is carried by the run's next turn, or by `roadworthy worker`.
        """
        for _ in range(REPLIES):
            pending, asked, core = self._find(question)
            body = answer_payload(asked, by=by, ruling=ruling, because=because, args=args, text=text)
            if signature is not None:
                body["signature"] = signature
            now = self.clock.now()
            with core.lock:
                given = list(pending.answers.get(asked.id, ()))
                before = standing(self.policy.people, asked, given, now=now)
            fault = check_answer(self.policy.people, asked, body, now=now, earlier=before.counted)
            if fault is None and args is not None:
                fitting = normalise(self.policy.tools[pending.tool], args)
                fault = fitting.text if isinstance(fitting, Reason) else None
            if fault is None and pending.settled:
                fault = f"Question {question} is settled already."
            if fault is not None:
                raise UsageError(fault)
            draft = Draft(
                kind="answer",
                world=self.world,
                run=core.id,
                body=body,
                at=now,
                cause=asked.id,
                subject=pending.subject or core.state.subject,
            )
            try:
                self.ledger.append([draft], [place_of(asked, before, by=by)])
            except Conflict:
                continue  # somebody answered meanwhile: look again
            with core.lock:
                core.catch_up(self.ledger)
                return standing(self.policy.people, asked, pending.answers.get(asked.id, ()), now=now)
        raise UsageError(f"others are answering question {question} at the same time; look at it again")

    def resume(self, run: str, *, ask_user: AskUser | None = None) -> Run:
        """Open a suspendable run to be driven again from its start: give it to the agent as if it were new.

        What the run did before comes back without being done again. Actions that were approved meanwhile are carried,
        and what a crash left in doubt is settled by look-up or handed to a person, before this returns. Raises
        UsageError for a run that is not there, or was not opened as `suspendable`.
        """
        entries = list(self.ledger.entries(run=run))
        if not entries:
            raise UsageError(f"the ledger has no run {run!r}; `roadworthy ledger show` lists them")
        with _OPENING:
            live = _LIVE.setdefault(self.ledger, WeakValueDictionary())
            live.pop((run, self.contract.digest), None)
            core = self._reopened(run, entries)
            live[(run, self.contract.digest)] = core
        if not core.state.suspendable:
            raise UsageError(
                f"run {run!r} was not opened with gate.run(suspendable=True), so nobody promised that its agent can be "
                "driven again from its start"
            )
        handle = Run(self, core, ask_user=ask_user)
        drive(recover(handle._ctx))  # pyright: ignore[reportPrivateUsage]  # the two are one thing
        core.journal = Journal(readable(self.ledger.entries(run=run)))
        return handle

    def asking(self, run: str) -> Run | None:
        """A run that another process drives, so that models can be asked for it here; None for one that is not there.

        What they answered in drives that have ended comes back first. Nothing else is to be done with this handle.
        """
        entries = list(self.ledger.entries(run=run))
        if not entries:
            return None
        core = self._reopened(run, entries)
        core.journal = Journal(readable(entries))
        return Run(self, core, ask_user=None)

    def settle(self, run: str) -> int:
        """Carry out what people have decided about a run's held actions; how many were settled. For workers."""
        core = self._known(run)
        return 0 if core is None else Run(self, core, ask_user=None).settle()

    def waiting(self, run: str) -> Waiting | None:
        """How a run stands with its held actions; None for one that is not under this contract. For workers."""
        core = self._known(run)
        if core is None:
            return None
        with core.lock:
            state, pending = core.state, list(core.state.pending.values())
            return Waiting(
                unsettled=sum(not p.settled for p in pending),
                suspended=state.suspendable and any(p.suspend for p in pending),
                over=state.status in ("escalated", "stopped", "closed"),
            )

    def set_level(
        self,
        capability: str,
        level: Level,
        *,
        because: str,
        by: str,
        nonce: str | None = None,
        signature: str | None = None,
    ) -> None:
        """Raise or lower the level of a capability. A raised one holds from the next run on, a lowered one at once.

        Where the contract names people, raising needs the signature of whoever is accountable over `level_body`, for
        the purpose `level`. Raises UsageError for what would have no effect.
        """
        if self._standing is None:
            raise UsageError("levels of a test world are given with Gate(level=...)")
        self._standing.refresh(self.ledger)
        body = level_body(
            ledger=self.ledger.id,
            agent=self.contract.agent,
            capability=capability,
            level=level,
            because=because,
            by=by,
            nonce=nonce,
        )
        if signature is not None:
            body["signature"] = signature
        fault = self._standing.fault(body)
        if fault is not None:
            raise UsageError(f"the level of {capability} was not set: {fault}")
        self.ledger.append([Draft(kind="level", world="production", run=None, body=body, at=self.clock.now())])

    # -- what people take back ----------------------------------------------------------------------------------------

    def undoable(self, run: str) -> list[Undoable]:
        """What an undo of a run would look at now, the last call first. Raises UsageError for a run that is not there.

        Beside what was taken back before, what was only simulated or never done is left out.
        """
        self._to_undo(run)
        return undoable(self.policy, readable(self.ledger.entries(run=run)))

    def undo_request(self, run: str, *, by: str, because: str) -> dict[str, Any]:
        """What a person signs who wants a run undone as it stands now: `keys.seal` it for the purpose `undo`."""
        return undo_body(
            ledger=self.ledger.id,
            run=run,
            contract=self.contract.digest,
            actions=[one.action for one in self.undoable(run)],
            by=by,
            because=because,
        )

    def undo(
        self, run: str, *, by: str, because: str, nonce: str | None = None, signature: str | None = None
    ) -> Undone:
        """Take back what a run has done, by the contract's `undo`, the last call first.

        `by`: a person, or `rule:ID` for a rule of the contract that asks for it. Where the contract names people,
        `nonce` and `signature` are those of an `undo_request` that one of them has sealed. Nothing but that is asked:
        capability, level, budgets and stops hold the agent, and not whoever repairs what it did. What is left is
        listed to a person. May be called again: what was taken back stays so. Raises UsageError, before anything is
        done, for a run that is not there, for whoever may not ask, and where functions of tools are missing.
        """
        return drive(self._undo(run, by, because, nonce, signature, blocking=True))

    async def aundo(
        self, run: str, *, by: str, because: str, nonce: str | None = None, signature: str | None = None
    ) -> Undone:
        """`undo` for async code."""
        return await adrive(self._undo(run, by, because, nonce, signature, blocking=False))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _undo(
        self, run: str, by: str, because: str, nonce: str | None, signature: str | None, *, blocking: bool
    ) -> Steps[Undone]:
        handle = self._to_undo(run)
        ctx = handle._ctx  # pyright: ignore[reportPrivateUsage]  # the two are one thing
        return undo(ctx, by=by, because=because, nonce=nonce, signature=signature, blocking=blocking)

    def _to_undo(self, run: str) -> Run:
        core = self._known(run)
        if core is not None:
            return Run(self, core, ask_user=None)
        entries = list(self.ledger.entries(run=run))
        if not entries:
            raise UsageError(f"the ledger has no run {run!r}; `roadworthy ledger show` lists them")
        if not self._in_world(entries[0]):
            raise UsageError(f"run {run!r} is of the world {entries[0].world}, and this gate of {self.world}")
        version = next((e.body["version"] for e in reversed(entries) if e.kind == "run" and "version" in e.body), "?")
        raise UsageError(
            f"run {run!r} is under another contract (version {version}, digest {_law_of(entries)[:12]}) than this gate "
            f"(version {self.contract.version}, digest {self.contract.digest[:12]}): give the one that it ran under"
        )

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
        return contract_drafts(self.contract, self.ledger, self.clock.now(), world=self.world)

    def _control(self, body: Mapping[str, Any]) -> None:
        capability = body["capability"]
        if capability is not None and capability not in self.contract.capabilities:
            known = ", ".join(self.contract.capabilities)
            raise UsageError(f"the contract of {self.contract.agent} has no capability {capability!r}; it has {known}")
        if not str(body["because"]).strip() or not str(body["by"]).strip():
            raise UsageError("a stop names who and why: by= and because= must not be empty")
        self.ledger.append([Draft(kind="stop", world="production", run=None, body=body, at=self.clock.now())])

    def _begin(self, run_id: str, start: Start) -> Core:
        typed = self._facts(start.facts)
        now = self.clock.now()
        levels, after = self._levels_now()
        state = RunState(
            self.policy,
            principal=start.who,
            started=now,
            levels=levels,
            subject=self._subject(start.subject),
            facts=typed,
        )
        body: dict[str, Any] = {
            "agent": self.contract.agent,
            "version": self.contract.version,
            "contract": self.contract.digest,
            "principal": start.who,
            "subject": start.subject,
            "facts": typed,
            "capabilities": start.wanted,
            "levels": levels,
            "enforce": self.enforce,
        }
        if start.requester is not None:
            body["requester"] = state.requester = start.requester
        if start.suspendable:
            body["suspendable"] = state.suspendable = True
        core = Core(run_id, state, new_session(self.world), self.ledger.id)
        core.levels_after, core.given = after, bool(start.wanted)
        draft = Draft(
            kind="run", world=self.world, run=run_id, body=body, at=now, cause=core.mark, subject=state.subject
        )
        self.ledger.append([*self._contract_drafts(), draft])
        for name in start.wanted:
            state.open(name)
        return core

    def _levels_now(self) -> tuple[Mapping[str, Level], int]:
        """The levels that a run begins with now, and the seq up to which the ledger was read for them."""
        if self._standing is None:
            return self._forced or {}, 0
        self._standing.refresh(self.ledger)
        return self._standing.now

    def _open(self, run_id: str, start: Start) -> Core:
        """The run with this id, brought back by its entries; a new one where there are none."""
        entries = list(self.ledger.entries(run=run_id))
        if not entries:
            return self._begin(run_id, start)
        core = self._reopened(run_id, entries)
        self._join(core, start, changed=_law_of(entries) != self.contract.digest)
        return core

    def _reopened(self, run_id: str, entries: Sequence[Entry]) -> Core:
        first = next((e for e in entries if e.kind == "run" and "principal" in e.body), None)
        if first is None:
            raise UsageError(f"run {run_id!r} stands in the ledger, but not how it began; use another id")
        began = first.body
        now, _ = self._levels_now()
        levels: Mapping[str, Level] = now
        last = next(e for e in reversed(entries) if e.kind == "run" and "levels" in e.body)
        if self._standing is not None:
            # What the run began with may be lower than what stands now, and is never freer.
            had = cast("Mapping[str, Level]", last.body["levels"])
            levels = {name: _lower(level, had.get(name, level)) for name, level in levels.items()}
            levels = self._standing.bound(levels, last.seq)
        state = RunState(self.policy, principal=began["principal"], started=first.at, levels=levels)
        core = Core(run_id, state, new_session(self.world), self.ledger.id)
        core.levels_after = last.seq
        core.replay.feed(entries)
        core.calls = len(core.replay.actions)
        core.given = any(
            e.kind == "run" and "by" not in e.body and (e.body.get("capabilities") or "opened" in e.body)
            for e in entries
        )
        return core

    def _known(self, run: str) -> Core | None:
        """A run of this contract as it is now; None where the ledger has none, or it is under another contract."""
        with _OPENING:
            live = _LIVE.setdefault(self.ledger, WeakValueDictionary())
            core = live.get((run, self.contract.digest))
        if core is not None:
            with core.lock:
                core.catch_up(self.ledger)
            return core
        entries = list(self.ledger.entries(run=run))
        if not entries or _law_of(entries) != self.contract.digest or not self._in_world(entries[0]):
            return None
        core = self._reopened(run, entries)
        if self.world != "test":
            with _OPENING:
                core = live.setdefault((run, self.contract.digest), core)
        return core

    def _in_world(self, entry: Entry) -> bool:
        """Whether an entry is of a trial where this gate is, and of none where it is not."""
        return (entry.world == "test") == (self.world == "test")

    def _find(self, question: str) -> tuple[Pending, Question, Core]:
        run = question.rpartition("#")[0]
        core = self._known(run) if run else None
        for pending in core.state.pending.values() if core is not None else ():
            if question in pending.questions:
                return pending, pending.questions[question], core  # pyright: ignore[reportReturnType]
        raise UsageError(f"there is no question {question!r} under this contract; `roadworthy inbox list` shows them")

    def _join(self, core: Core, start: Start, *, changed: bool = False) -> None:
        """What is newly said of a run that began before: more may be known, nothing may be contradicted."""
        state = core.state
        principal, subject = start.principal, start.subject
        if principal is not None and principal != state.principal:
            raise UsageError(f"run {core.id!r} belongs to principal {state.principal!r}, not to {principal!r}")
        if self._subject(subject) is not None and state.subject not in (None, subject):
            raise UsageError(f"run {core.id!r} acts for {state.subject!r}; a run never changes its subject")
        typed = self._facts(start.facts)
        for name, value in typed.items():
            if name in state.facts and state.facts[name] != value:
                raise UsageError(f"run {core.id!r} was told another {name!r}; facts may be added and never changed")
        body: dict[str, Any] = {}
        if subject is not None and state.subject is None:
            body["subject"] = subject
        if any(name not in state.facts for name in typed):
            body["facts"] = typed
        new = [name for name in start.wanted if name not in state.capabilities]
        if new:
            body["capabilities"] = new
        if changed:
            body.update(contract=self.contract.digest, version=self.contract.version, levels=dict(state.levels))
        if not body:
            return
        at = self.clock.now()
        draft = Draft(
            kind="run",
            world=self.world,
            run=core.id,
            body={**body, "reopened": True},
            at=at,
            cause=core.mark,
            subject=state.subject or subject,
        )
        self.ledger.append([*(self._contract_drafts() if changed else ()), draft])
        if "subject" in body:
            state.set_subject(body["subject"])
        state.facts = {**state.facts, **typed}
        for name in new:
            state.open(name)
            core.given = True


def _lower(one: Level, other: Level) -> Level:
    return one if LEVELS.index(one) <= LEVELS.index(other) else other


def _law_of(entries: Sequence[Entry]) -> str:
    """The digest of the contract that a run is under: the one that it was last opened with."""
    return next((str(e.body["contract"]) for e in reversed(entries) if e.kind == "run" and "contract" in e.body), "")
