"""One run of one agent for one subject: where actions come in and outcomes go out.

`call` and `acall` are two thin drivers over the same steps: begin (decide and write the intent), carry, finish (learn
and write the outcome). The steps do no waiting of their own, so there is one gate and not two.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, cast

from roadworthy.contract.conditions import ConditionError
from roadworthy.core.errors import LedgerError, UsageError
from roadworthy.core.types import Action, Done, Draft, Entry, Kind, Level, Outcome, Realm, Reason, Status, Verdict
from roadworthy.gate.carry import Carried, ToolFunction, acarry, carry
from roadworthy.gate.decide import asked_role, decide, find_tool, normalise, uses_simulated, verdict_of
from roadworthy.gate.policy import ToolPolicy
from roadworthy.gate.replay import Replay, loose
from roadworthy.gate.simulate import simulated
from roadworthy.gate.state import RunState, RunStatus
from roadworthy.gate.values import MISSING, BadValue, as_text, plain, wire

if TYPE_CHECKING:
    from roadworthy.gate.gate import Gate
    from roadworthy.ledger.store import Appender

AskUser = Callable[[str], str | None]
"""The channel to the user: gives them a question and comes back with their answer, or None when they are gone."""

REPEATS = 3
"""The same call denied this often ends the run with a person."""

_CURRENT: ContextVar[Run | None] = ContextVar("roadworthy_run", default=None)


def current_run() -> Run | None:
    """The run that `with run.bind()` has bound to this thread or task, if any."""
    return _CURRENT.get()


@dataclass(slots=True)
class _Step:
    """One call on its way through the gate."""

    action: Action
    tool: ToolPolicy | None
    verdict: Verdict
    realm: Realm
    drafts: list[Draft] = field(default_factory=list[Draft])
    outcome: Outcome | None = None
    """Set when the call ends here, without a tool."""
    carry: bool = False
    simulate: bool = False
    unjudged: bool = False
    """Made though nobody could judge it, because this gate only watches."""
    typed: Any = MISSING
    """The result in the contract's types, once it was read."""


class Core:
    """What all handles on one run share: its memory, the lock around it, and what it has seen of its entries."""

    __slots__ = ("__weakref__", "calls", "controls_seen", "id", "lock", "replay", "session", "state")

    def __init__(self, id: str, state: RunState, session: str) -> None:
        self.id = id
        self.state = state
        self.session = session
        self.lock = threading.RLock()
        self.calls = 0
        self.controls_seen = 0
        self.replay = Replay(state)

    @property
    def mark(self) -> str | None:
        """The cause of entries that follow from no action: it tells ours from those of other processes."""
        return f"{self.id}#0{self.session}" if self.session else None

    def catch_up(self, ledger: Appender, *, before: int | None = None) -> bool:
        """Bring in what other processes have added to the run, up to a seq; whether there was anything."""
        if not self.session:
            return False  # a trial's run lives in one process
        found: list[Entry] = []
        for entry in ledger.entries(run=self.id, after=self.replay.seen):
            if before is not None and entry.seq >= before:
                break
            if entry.cause is not None and entry.cause.endswith(self.session):
                self.replay.seen = max(self.replay.seen, entry.seq)
            else:
                found.append(entry)
        self.replay.feed(found)
        return bool(found)


class Run:
    """One conversation or job of one agent for one subject. Made by `Gate.run`; safe to share between threads."""

    def __init__(self, gate: Gate, core: Core, *, ask_user: AskUser | None) -> None:
        self.gate = gate
        self.id = core.id
        self.ask_user_channel = ask_user
        self._core = core
        self._state = core.state
        self._lock = core.lock

    # -- what the application and the adapters read ---------------------------------------------------------------

    @property
    def principal(self) -> str:
        return self._state.principal

    @property
    def subject(self) -> str | None:
        """The key of the entity that this run acts for, once it is known."""
        return self._state.subject

    @property
    def status(self) -> RunStatus:
        return self._state.status

    @property
    def status_why(self) -> str:
        """Why the run is no longer open, in words; empty while it is."""
        return self._state.status_why

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The open capabilities, in the order in which they were opened."""
        return tuple(self._state.capabilities)

    @property
    def state(self) -> RunState:
        """What the run has seen and done so far; to be read, not changed."""
        return self._state

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leaving the block ends nothing: a run may be opened again by its id."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leaving the block ends nothing: a run may be opened again by its id."""

    @contextmanager
    def bind(self) -> Generator[Self]:
        """Make this the run that guarded tools of this thread or task belong to.

        Not around a `yield`: a generator hands the binding to whoever asks it for the next item.
        """
        token = _CURRENT.set(self)
        try:
            yield self
        finally:
            # A generator that is finished elsewhere leaves its binding where it began; there is nothing to undo here.
            with suppress(ValueError):
                _CURRENT.reset(token)

    # -- what comes in ----------------------------------------------------------------------------------------------

    def heard(self, text: str) -> None:
        """The authenticated user's words, and nothing else: not what other agents say, not what tools return."""
        with self._lock:
            draft, last = self._draft("heard", {"text": text}), self._state.last_at
            self._write([draft])
            self._hear(text, draft.at, last)

    async def aheard(self, text: str) -> None:
        """`heard` for async code."""
        draft, last = self._draft("heard", {"text": text}), self._state.last_at
        await self._awrite([draft])
        with self._lock:
            self._hear(text, draft.at, last)

    def open(self, capability: str) -> None:
        """Open a capability. For the application, which knows what the run is for; never on the model's word.

        Raises UsageError for a capability that the contract lacks or the principal may not use.
        """
        with self._lock:
            self.gate.check_capability(capability, self.principal)
            if capability in self._state.capabilities:
                return
            self._write([self._draft("run", {"opened": capability})])
            self._state.open(capability)

    # -- what goes out ----------------------------------------------------------------------------------------------

    def call(
        self, tool: str, args: Mapping[str, Any], fn: ToolFunction | None = None, *, call_id: str | None = None
    ) -> Outcome:
        """Bring a tool call to the gate. What comes back is a value, never an exception of the tool or the gate.

        `tool` is the contract's name or the model's; `fn(**args)` does the work when the gate lets it.
        """
        step: _Step | None = None
        try:
            with self._lock:
                step = self._begin(tool, args, fn, call_id)
                self._recheck(step, self._write(step.drafts))
        except LedgerError as error:
            return self._unwritable(error, step)
        if step.unjudged and fn is not None:
            carried = carry(fn, args, timeout_s=None, clock=self.gate.clock, direct=False)
            with self._lock:
                outcome, draft = self._watched(step, carried)
                try:
                    self._write([draft])
                except LedgerError as error:
                    return self._unrecorded(step, error)
            return outcome
        if step.outcome is not None or step.tool is None:
            return cast("Outcome", step.outcome)
        if step.simulate:
            carried = Carried(ending="returned", value=simulated(step.tool.result.shape))
        else:
            try:
                carried = carry(
                    self._function(step.tool, fn),
                    self._wire(step.tool, step.action.args),
                    timeout_s=step.tool.timeout_s,
                    clock=self.gate.clock,
                    direct=self.gate.world == "test",
                )
            except BaseException:
                self._interrupted(step)
                raise
        return self._finish(step, carried)

    async def acall(
        self, tool: str, args: Mapping[str, Any], fn: ToolFunction | None = None, *, call_id: str | None = None
    ) -> Outcome:
        """`call` for async code; `fn` may be async or not."""
        step: _Step | None = None
        try:
            with self._lock:
                step = self._begin(tool, args, fn, call_id)
            written = await self._awrite(step.drafts)
            with self._lock:
                self._recheck(step, written)
        except LedgerError as error:
            return self._unwritable(error, step)
        if step.unjudged and fn is not None:
            carried = await acarry(fn, args, timeout_s=None, clock=self.gate.clock, direct=False)
            with self._lock:
                outcome, draft = self._watched(step, carried)
            try:
                await self._awrite([draft])
            except LedgerError as error:
                return self._unrecorded(step, error)
            return outcome
        if step.outcome is not None or step.tool is None:
            return cast("Outcome", step.outcome)
        if step.simulate:
            carried = Carried(ending="returned", value=simulated(step.tool.result.shape))
        else:
            try:
                carried = await acarry(
                    self._function(step.tool, fn),
                    self._wire(step.tool, step.action.args),
                    timeout_s=step.tool.timeout_s,
                    clock=self.gate.clock,
                    direct=self.gate.world == "test",
                )
            except BaseException:
                self._interrupted(step)
                raise
        return await self._afinish(step, carried)

    def say(self, text: str) -> Outcome:
        """Tell the user something. A reply in shadow is recorded and not delivered: `done` is then `simulated`."""
        outcome, draft = self._reply(text)
        try:
            self._write([draft])
        except LedgerError as error:
            return self._unwritable(error)
        return outcome

    async def asay(self, text: str) -> Outcome:
        """`say` for async code."""
        outcome, draft = self._reply(text)
        try:
            await self._awrite([draft])
        except LedgerError as error:
            return self._unwritable(error)
        return outcome

    def ask_user(self, question: str) -> Outcome:
        """Put a question to the user; the answer is heard, and is the value of the outcome."""
        with self._lock:
            if self._state.status != "open":
                return Outcome(
                    status="denied", done="blocked", text=f"This run is {self._state.status}: ask nothing more."
                )
        said = self.say(question)
        if not said.ok:
            return said
        if said.done == "simulated":
            return Outcome(status="ok", done="simulated", text="In shadow the user was not asked. End your turn.")
        if self.ask_user_channel is None:
            text = "Put this question to the user as your reply, and end your turn."
            return Outcome(status="clarify", done="blocked", value=question, text=text)
        answer = self.ask_user_channel(question)
        if answer is None:
            return Outcome(status="failed", done="executed", text="The user has left the conversation. End your turn.")
        try:
            self.heard(answer)
        except LedgerError as error:
            return self._unwritable(error)
        return Outcome(status="ok", done="executed", value=answer, text=answer)

    async def aask_user(self, question: str) -> Outcome:
        """`ask_user` for async code; a channel that blocks is asked in a thread."""
        import asyncio

        return (
            self.ask_user(question) if self.gate.world == "test" else await asyncio.to_thread(self.ask_user, question)
        )

    def escalate(self, reason: str) -> Outcome:
        """Hand the run to a person, by the contract's hand-over tool where there is one; then the run is over."""
        spec = self.gate.contract.escalate
        if self._state.status != "open":
            return Outcome(
                status="denied", done="blocked", text=f"This run is {self._state.status}: nothing is left to hand over."
            )
        if spec is not None and spec.tool is not None and self.gate.has_function(spec.tool):
            outcome = self.call(spec.tool, {"reason": reason})
            if outcome.ok:
                return outcome
        try:
            self._write([self._draft("handover", self._handover_body(reason))])
        except LedgerError as error:
            return self._unwritable(error)
        return self._handed_over(reason)

    async def aescalate(self, reason: str) -> Outcome:
        """`escalate` for async code."""
        spec = self.gate.contract.escalate
        if self._state.status != "open":
            return Outcome(
                status="denied", done="blocked", text=f"This run is {self._state.status}: nothing is left to hand over."
            )
        if spec is not None and spec.tool is not None and self.gate.has_function(spec.tool):
            outcome = await self.acall(spec.tool, {"reason": reason})
            if outcome.ok:
                return outcome
        try:
            await self._awrite([self._draft("handover", self._handover_body(reason))])
        except LedgerError as error:
            return self._unwritable(error)
        return self._handed_over(reason)

    def close(self, why: str = "done") -> None:
        """End the run: later calls are refused."""
        with self._lock:
            if self._state.status == "open":
                self._set_status("closed", why)

    # -- the steps ----------------------------------------------------------------------------------------------------

    def _begin(self, name: str, given: Mapping[str, Any], fn: ToolFunction | None, call_id: str | None) -> _Step:
        state, gate = self._state, self.gate
        self._refresh_controls()
        self._core.catch_up(gate.ledger)
        tool = find_tool(gate.policy, name)
        if isinstance(tool, Reason):
            return self._refuse(self._action(name, plain(given), call_id, None), None, tool, fn)
        args = normalise(tool, given)
        if isinstance(args, Reason):
            return self._refuse(self._action(tool.name, plain(given), call_id, tool), tool, args, fn)
        action = self._action(tool.name, args, call_id, tool)
        verdict = decide(gate.policy, state, action, now=action.at)
        step = _Step(action=action, tool=tool, verdict=verdict, realm=self._realm(verdict.level, tool))
        step.drafts = [self._action_draft(step), self._verdict_draft(step)]
        if gate.enforce:
            if verdict.ruling == "deny":
                return self._denied(step)
            if verdict.ruling == "clarify":
                step.outcome = Outcome(status="clarify", done="blocked", text=verdict.text)
                return step
            if verdict.ruling == "ask" and not self._approved(step, tool):
                return step
        function = gate.function_for(tool.name, fn)
        step.simulate = gate.enforce and (
            (tool.acts and verdict.level == "shadow") or (uses_simulated(state, action.args))
        )
        if function is None and not step.simulate:
            if gate.world == "test":
                gate.missing_stand_in(tool.name)
            raise UsageError(
                f"no function was given for {tool.name}: pass it as run.call({tool.name!r}, args, function)"
            )
        step.carry = True
        state.reserve(tool, action.args)
        step.drafts.append(self._draft("intent", {"key": self._key(action)}, cause=action.id, realm=step.realm))
        return step

    def _refuse(self, action: Action, tool: ToolPolicy | None, reason: Reason, fn: ToolFunction | None) -> _Step:
        """A call that cannot be judged: no such tool, or arguments that do not fit. Where we only watch, it is made."""
        verdict = verdict_of([reason], self._state.level_of(tool) if tool is not None else "shadow")
        step = _Step(action=action, tool=tool, verdict=verdict, realm=self.gate.world)
        step.drafts = [self._action_draft(step), self._verdict_draft(step)]
        if self.gate.enforce or fn is None or self.gate.world == "test":
            return self._denied(step)
        step.unjudged = True
        if tool is not None:
            self._state.reserve(tool, loose(tool, action.args))
        step.drafts.append(self._draft("intent", {"key": self._key(action)}, cause=action.id, realm=step.realm))
        return step

    def _watched(self, step: _Step, carried: Carried) -> tuple[Outcome, Draft]:
        """What came of a call that nobody could judge."""
        tool = step.tool
        if carried.ending == "returned":
            value = plain(carried.value)
            outcome = Outcome(status="ok", done="executed", value=value, text=as_text(value))
        else:
            sure = carried.ending == "raised" or (tool is not None and not tool.acts)
            text = f"{step.action.tool} failed: {carried.error}"
            outcome = Outcome(status="failed" if sure else "in_doubt", done="executed", text=text)
        if tool is not None:
            args = loose(tool, step.action.args)
            if outcome.status == "failed":
                self._state.release(tool, args)
            self._state.observe(tool, args, outcome.status, outcome.done, outcome.value)
        body = {"status": outcome.status, "done": outcome.done, "text": outcome.text}
        return outcome, self._draft("outcome", body, cause=step.action.id, realm=step.realm)

    def _denied(self, step: _Step) -> _Step:
        text = step.verdict.text
        action = step.action
        if not self.gate.enforce:
            step.outcome = Outcome(status="denied", done="blocked", text=text)
            return step
        denied = self._state.deny(action.tool, action.args, step.verdict.rule)
        if denied >= REPEATS and self._state.status == "open":
            text += " The same call was denied again and again, so a person takes over: tell the user so."
            self._state.status, self._state.status_why = "escalated", "the same call was denied repeatedly"
            body = self._handover_body(self._state.status_why)
            step.drafts.append(self._draft("handover", body, cause=action.id))
        step.outcome = Outcome(status="denied", done="blocked", text=text)
        return step

    def _approved(self, step: _Step, tool: ToolPolicy) -> bool:
        """Put a held action to whoever decides. In trials an approver may answer at once; else the run waits."""
        role = asked_role(self.gate.policy, self._state, tool, step.verdict)
        question = {"role": role, "tool": tool.name, "args": step.action.args, "text": step.verdict.text}
        step.drafts.append(self._draft("question", question, cause=step.action.id, realm=step.realm))
        answer = self.gate.approver(step.action, step.verdict) if self.gate.approver is not None else None
        if answer is not None:
            ruling = "approve" if answer else "deny"
            body = {"ruling": ruling, "by": "trial", "role": role}
            step.drafts.append(self._draft("answer", body, cause=step.action.id, realm=step.realm))
        if answer:
            return True
        if answer is False:
            step.outcome = Outcome(
                status="denied", done="blocked", text=f"{role or 'A person'} said no. {step.verdict.text}"
            )
            return False
        why = f"{role or 'a person'} must approve {tool.name}"
        self._state.status, self._state.status_why = "held", why
        text = (
            f"Held: {step.verdict.text} Tell the user that this waits for a person's decision, and call no more tools."
        )
        step.outcome = Outcome(status="held", done="held", text=text)
        return False

    def _recheck(self, step: _Step, written: Sequence[Entry]) -> None:
        """What others wrote before our intent bites, though we decided before we saw it: a stop, or their own calls."""
        if not step.carry:
            return
        stopped = self._refresh_controls()
        core, tool = self._core, cast("ToolPolicy", step.tool)
        mine = written[-1].seq if core.session else 0
        if not core.catch_up(self.gate.ledger, before=mine) and not stopped:
            return
        self._state.release(tool, step.action.args, called=False)
        verdict = decide(self.gate.policy, self._state, step.action, now=step.action.at)
        if verdict.ruling == "allow" or not self.gate.enforce:
            self._state.reserve(tool, step.action.args)
            return
        step.carry = False
        step.outcome = Outcome(status="denied", done="blocked", text=verdict.text)
        body = {"status": "denied", "done": "blocked", "text": verdict.text}
        self._write([self._draft("outcome", body, cause=step.action.id, realm=step.realm)])

    def _judge(self, step: _Step, carried: Carried) -> Outcome:
        """What a call came to. What leaves a write's effect unknown is in_doubt, never failed: nobody may repeat it."""
        tool = cast("ToolPolicy", step.tool)
        done: Done = "simulated" if step.simulate else "executed"
        if carried.ending != "returned":
            if tool.acts and carried.ending in ("timed_out", "lost"):
                what = "gave no answer" if carried.ending == "timed_out" else "broke off"
                text = (
                    f"{tool.name} {what} ({carried.error}). It may or may not have been done: "
                    "do not call it again; escalate to a person."
                )
                return Outcome(status="in_doubt", done=done, text=text)
            return Outcome(status="failed", done=done, text=f"{tool.name} failed: {carried.error}")
        value = plain(carried.value)
        if step.simulate:
            text = f"{as_text(value)}\n(Simulated: nothing was changed.)"
            return Outcome(status="ok", done=done, value=value, text=text)
        if tool.fails_when is not None:
            failed = self._says_failed(tool, step.action, value)
            if failed is None and tool.acts:
                text = f"{as_text(value)}\n(Nobody can tell whether {tool.name} was done: do not call it again.)"
                return Outcome(status="in_doubt", done=done, value=value, text=text)
            if failed is not False:
                return Outcome(status="failed", done=done, value=value, text=as_text(value))
        try:
            step.typed = tool.result.read(value)
        except BadValue as bad:
            if tool.acts:
                text = (
                    f"{as_text(value)}\n({tool.name} was carried out, but its answer is not what it should be: {bad} "
                    "Do not call it again.)"
                )
                return Outcome(status="in_doubt", done=done, value=value, text=text)
            # A look-up that may have found somebody else is never shown unread.
            if (step.verdict.level == "autonomous" or tool.establishes) and self.gate.enforce:
                return Outcome(status="failed", done=done, text=f"{tool.name} answered something unusable: {bad}")
            return Outcome(status="ok", done=done, value=value, text=f"{as_text(value)}\n(Incomplete: {bad})")
        return Outcome(status="ok", done=done, value=value, text=as_text(value))

    def _says_failed(self, tool: ToolPolicy, action: Action, value: Any) -> bool | None:
        """Whether a result says that the tool failed; None where the condition cannot be asked about it."""
        conditions = self.gate.policy.conditions
        try:
            return cast("Any", tool.fails_when).holds(conditions.bind_result(tool.name, value, action.args))
        except ConditionError:
            return None

    def _learn(self, step: _Step, carried: Carried) -> tuple[Outcome, list[Draft]]:
        state, tool = self._state, cast("ToolPolicy", step.tool)
        outcome = self._judge(step, carried)
        second = state.observe(tool, step.action.args, outcome.status, outcome.done, outcome.value, typed=step.typed)
        if second is not None and self.gate.enforce:
            text = (
                f"This run acts for {state.subject}; {tool.name} found somebody else, so the result is withheld. "
                "If the user wants something for another customer, escalate to a person."
            )
            outcome = Outcome(status="denied", done=outcome.done, text=text)
        if outcome.status == "failed":
            state.release(tool, step.action.args)
        body: dict[str, Any] = {"status": outcome.status, "done": outcome.done, "text": outcome.text}
        if outcome.value is not None and outcome.value != outcome.text:
            body["value"] = outcome.value
        drafts = [self._draft("outcome", body, cause=step.action.id, realm=step.realm)]
        if tool.escalates and outcome.ok:
            reason = str(step.action.args.get("reason", ""))
            state.status, state.status_why = "escalated", reason
            drafts.append(self._draft("handover", self._handover_body(reason), cause=step.action.id))
        return outcome, drafts

    def _learnt(self, step: _Step, carried: Carried) -> tuple[Outcome, list[Draft]]:
        """What a call came to, whatever it returned: a result that breaks our reading of it ends the call, too."""
        try:
            return self._learn(step, carried)
        except Exception as error:  # results are foreign: deep, odd or broken beyond what was foreseen
            tool = cast("ToolPolicy", step.tool)
            text = f"{step.action.tool} answered something that cannot be read ({type(error).__name__}: {error})."
            if tool.acts:
                text += " It may have been done: do not call it again; escalate to a person."
            outcome = Outcome(status="in_doubt" if tool.acts else "failed", done="executed", text=text)
            body = {"status": outcome.status, "done": outcome.done, "text": text}
            return outcome, [self._draft("outcome", body, cause=step.action.id, realm=step.realm)]

    def _finish(self, step: _Step, carried: Carried) -> Outcome:
        with self._lock:
            outcome, drafts = self._learnt(step, carried)
            try:
                self._write(drafts)
            except LedgerError as error:
                return self._unrecorded(step, error)
        return outcome

    async def _afinish(self, step: _Step, carried: Carried) -> Outcome:
        with self._lock:
            outcome, drafts = self._learnt(step, carried)
        try:
            await self._awrite(drafts)
        except LedgerError as error:
            return self._unrecorded(step, error)
        return outcome

    def _interrupted(self, step: _Step) -> None:
        """The call was cancelled from outside while the tool ran: record that its end is unknown."""
        tool = cast("ToolPolicy", step.tool)
        status: Status = "in_doubt" if tool.acts else "failed"
        with self._lock:
            if status == "failed":
                self._state.release(tool, step.action.args)
            body = {"status": status, "done": "executed", "text": "interrupted while the tool was running"}
            try:
                self._write([self._draft("outcome", body, cause=step.action.id, realm=step.realm)])
            except LedgerError:
                return  # the intent without an outcome says the same: in_doubt

    # -- small things -----------------------------------------------------------------------------------------------

    def _hear(self, text: str, at: datetime, last: datetime) -> None:
        self._state.last_at = last
        self._state.hear(text, at)

    def _reply(self, text: str) -> tuple[Outcome, Draft]:
        done: Done = "simulated" if self._shadow() else "executed"
        outcome = Outcome(status="ok", done=done, value=text, text=text)
        return outcome, self._draft("said", {"text": text, "done": done})

    def _handed_over(self, reason: str) -> Outcome:
        with self._lock:
            self._state.status, self._state.status_why = "escalated", reason
        text = "A person takes over. Tell the user so, and call no more tools."
        return Outcome(status="ok", done="simulated" if self._shadow() else "executed", text=text)

    def _handover_body(self, reason: str) -> dict[str, Any]:
        spec = self.gate.contract.escalate
        return {"to": spec.to if spec is not None else self.gate.contract.owner.accountable, "reason": reason}

    def _set_status(self, status: RunStatus, why: str) -> None:
        self._write([self._draft("run", {"status": status, "why": why})])
        self._state.status, self._state.status_why = status, why

    def _shadow(self) -> bool:
        names = self._state.capabilities
        return self.gate.enforce and bool(names) and all(self._state.levels[n] == "shadow" for n in names)

    def _realm(self, level: Level, tool: ToolPolicy) -> Realm:
        return (
            "shadow" if self.gate.world == "production" and level == "shadow" and self.gate.enforce else self.gate.world
        )

    def _function(self, tool: ToolPolicy, fn: ToolFunction | None) -> ToolFunction:
        return cast("ToolFunction", self.gate.function_for(tool.name, fn))

    def _wire(self, tool: ToolPolicy, args: Mapping[str, Any]) -> dict[str, Any]:
        if not tool.arguments.decimals:
            return dict(args)
        return {name: wire(value, tool.arg_shapes[name]) for name, value in args.items()}

    def _action(self, tool: str, args: Mapping[str, Any], call_id: str | None, policy: ToolPolicy | None) -> Action:
        self._core.calls += 1
        open_for = self._state.open_for(policy) if policy is not None else []
        capability = open_for[0] if open_for else (self._state.capabilities[0] if self._state.capabilities else None)
        return Action(
            id=f"{self.id}#{self._core.calls}{self._core.session}",
            run=self.id,
            principal=self._state.principal,
            subject=self._state.subject,
            capability=capability,
            tool=tool,
            args=args,
            call_id=call_id,
            at=self.gate.clock.now(),
        )

    def _key(self, action: Action) -> str:
        """The idempotency key: one per intent. A retry of the same intent carries the same key."""
        return action.id

    def _draft(
        self, kind: Kind, body: Mapping[str, Any], *, cause: str | None = None, realm: Realm | None = None
    ) -> Draft:
        return Draft(
            kind=kind, world=realm or self.gate.world, run=self.id, body=body, at=self.gate.clock.now(), cause=cause
        )

    def _action_draft(self, step: _Step) -> Draft:
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
        return Draft(kind="action", world=step.realm, run=self.id, body=body, at=action.at, cause=action.id)

    def _verdict_draft(self, step: _Step) -> Draft:
        verdict = step.verdict
        body: dict[str, Any] = {"ruling": verdict.ruling, "level": verdict.level}
        if verdict.reasons:
            body["reasons"] = [
                {
                    "rule": r.rule,
                    "code": r.code,
                    "text": r.text,
                    "ruling": r.ruling,
                    "enforced": r.enforced and self.gate.enforce,
                }
                for r in verdict.reasons
            ]
        if not self.gate.enforce:
            body["enforce"] = False
        return Draft(kind="verdict", world=step.realm, run=self.id, body=body, at=step.action.at, cause=step.action.id)

    def _refresh_controls(self) -> bool:
        """Learn of stops that anybody has written since; whether there were any."""
        found = self.gate.ledger.controls(self._core.controls_seen)
        if not found:
            return False
        for entry in found:
            self._core.controls_seen = max(self._core.controls_seen, entry.seq)
            if entry.kind == "stop" and entry.world == "production":
                self.gate.apply_stop(self._state.stopped, entry.body)
        return True

    def _write(self, drafts: Sequence[Draft]) -> Sequence[Entry]:
        written = self.gate.ledger.append(drafts)
        self._state.last_at = max(self._state.last_at, drafts[-1].at)
        return written

    async def _awrite(self, drafts: Sequence[Draft]) -> Sequence[Entry]:
        written = await self.gate.ledger.aappend(drafts)
        self._state.last_at = max(self._state.last_at, drafts[-1].at)
        return written

    def _unwritable(self, error: LedgerError, step: _Step | None = None) -> Outcome:
        if step is not None and step.carry:
            with self._lock:
                self._state.release(cast("ToolPolicy", step.tool), step.action.args, called=False)
        return _blocked(f"Nothing was done: the ledger cannot be written ({error.text}). Tell the user so.")

    def _unrecorded(self, step: _Step, error: LedgerError) -> Outcome:
        name = step.action.tool
        text = f"{name} was called, but its outcome could not be recorded ({error.text}). Escalate to a person."
        return Outcome(status="in_doubt", done="executed", text=text)


def _blocked(text: str) -> Outcome:
    return Outcome(status="denied", done="blocked", text=text)


def new_session(world: Realm) -> str:
    """What tells actions of one process from those of another that works on the same run; nothing in trials."""
    return "" if world == "test" else "." + secrets.token_hex(3)
