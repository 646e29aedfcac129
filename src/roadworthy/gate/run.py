"""One run of one agent for one subject: where actions come in and outcomes go out.

Every method that waits has an async twin. Both go through the same steps (`passage`, `speech`, `held`), so there is one
gate and not two.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast
from uuid import uuid4

from roadworthy.core.errors import UsageError
from roadworthy.core.types import Outcome, Realm
from roadworthy.gate import again, agents, models, passage, speech, telemetry
from roadworthy.gate.agents import How
from roadworthy.gate.carry import ToolFunction
from roadworthy.gate.chat_spans import ChatSpan, chat_span
from roadworthy.gate.core import AskUserChannel as AskUser
from roadworthy.gate.core import Core as Core
from roadworthy.gate.core import adrive, drive
from roadworthy.gate.entries import Context
from roadworthy.gate.models import Used
from roadworthy.gate.people import held
from roadworthy.gate.state import RunState, RunStatus

if TYPE_CHECKING:
    from roadworthy.gate.gate import Gate

__all__ = ["AskUser", "Core", "Run", "current_run", "new_session"]

T = TypeVar("T")

_CURRENT: ContextVar[Run | None] = ContextVar("roadworthy_run", default=None)


def current_run() -> Run | None:
    """The run that `with run.bind()` has bound to this thread or task, if any."""
    return _CURRENT.get()


class Run:
    """One conversation or job of one agent for one subject. Made by `Gate.run`; safe to share between threads."""

    __slots__ = ("__dict__", "_core", "_ctx", "_drives", "_state", "gate", "id")

    def __init__(self, gate: Gate, core: Core, *, ask_user: AskUser | None) -> None:
        self.gate = gate
        self.id = core.id
        self._core = core
        self._state = core.state
        self._ctx = Context(gate, core, ask_user)
        self._drives: list[telemetry.Drive] = []
        """The `with` blocks that go on now, where somebody listens."""

    # -- what the application and the adapters read ---------------------------------------------------------------

    @property
    def ask_user_channel(self) -> AskUser | None:
        """The channel to the user, where there is one."""
        return self._ctx.channel

    @ask_user_channel.setter
    def ask_user_channel(self, channel: AskUser | None) -> None:
        self._ctx.channel = channel

    @property
    def principal(self) -> str:
        return self._state.principal

    @property
    def subject(self) -> str | None:
        """The key of the entity that this run acts for, once it is known."""
        return self._state.subject

    @property
    def status(self) -> RunStatus:
        """`held` while an action waits for a person, though the conversation may go on meanwhile."""
        state = self._state
        if state.status == "open" and any(not p.settled for p in list(state.pending.values())):
            return "held"
        return state.status

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

    @property
    def replaying(self) -> bool:
        """Whether the run is driven again and has not yet come to where it was; what it says now was said before."""
        journal = self._core.journal
        return journal is not None and journal.left > 0

    def __enter__(self) -> Self:
        drive = telemetry.enter_run(self.gate, self._core)
        if drive is not None:
            self._drives.append(drive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaving the block ends nothing but its span: a run may be opened again by its id."""
        if self._drives:
            telemetry.leave_run(self._drives, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As `__exit__`."""
        self.__exit__(kind, error, trace)

    @contextmanager
    def bind(self) -> Generator[Self]:
        """Make this the run that guarded tools of this thread or task belong to.

        Not around a `yield`: a generator hands the binding to whoever asks it for the next item. See `bound`.
        """
        token = _CURRENT.set(self)
        try:
            yield self
        finally:
            # A generator that is finished elsewhere leaves its binding where it began; there is nothing to undo here.
            with suppress(ValueError):
                _CURRENT.reset(token)

    async def bound(self, stream: AsyncIterable[T]) -> AsyncGenerator[T]:
        """The items of a stream, each made while this run is bound; between two items it is not.

        This is how a generator, such as the body of an HTTP response, hands on what an agent streams. The stream is
        closed when this one is.
        """
        items = aiter(stream)
        try:
            while True:
                with self.bind():
                    try:
                        item = await anext(items)
                    except StopAsyncIteration:
                        return
                yield item
        finally:
            if isinstance(items, AsyncGenerator):
                with self.bind():
                    await items.aclose()

    # -- what comes in ----------------------------------------------------------------------------------------------

    def heard(self, text: str) -> None:
        """The authenticated user's words, and nothing else: not what other agents say, not what tools return.

        What people have decided about held actions meanwhile is done now; `news` says what came of it.
        """
        drive(speech.heard(self._ctx, text))

    async def aheard(self, text: str) -> None:
        """`heard` for async code."""
        await adrive(speech.heard(self._ctx, text))

    def read(self, text: str, *, trust: str = "untrusted", source: str = "") -> None:
        """What the agent learns by no tool: retrieval, memory, another agent.

        `trust`: `trusted`, `untrusted` or `agent`, for the words of other agents; `source` says where it came from.
        """
        if trust not in ("trusted", "untrusted", "agent"):
            raise UsageError(f"trust={trust!r} is none of trusted, untrusted and agent")
        if not isinstance(cast("object", text), str):
            raise UsageError(f"what an agent reads is text, and not a {type(text).__name__}")
        body = {"read": text, "trust": trust, "source": source}
        self._ctx.write([self._ctx.draft("observation", body)]).now()
        with self._core.lock:
            self._state.overheard(text, trust, source)

    def went(self, path: Sequence[Mapping[str, Any]], *, source: str = "") -> None:
        """Which way an agent went that is a graph of steps, for reports; nothing is decided by it.

        `path` are the steps in the order in which they began: `node`, as `connected` names it, and in `calls` the ids
        of its tool calls. `source` names the framework.
        """
        body = {"path": [dict(step) for step in path], "source": source}
        with self._core.lock:
            journal = self._core.journal
            known = journal is not None and journal.take_way(path)
        if not known:
            self._ctx.write([self._ctx.draft("observation", body)]).now()

    def handover(self, to: str, *, source: str | None = None, how: How = "handoff", text: str = "") -> str:
        """One agent of the application gives way to another one: recorded, and nothing is decided by it.

        `to` and `source` are the names of the agents, the source None where nobody knows it. `how`: `handoff` where
        control moves over, `delegate` for a piece of work that comes back (`returned` says when), `turn` where a team
        gives the word on. `text` is what goes along; like all words of agents it vouches for nothing. The run stays
        what it is, with its principal, subject, capabilities, levels and budgets. Gives the id of the handover, which
        is the old one when the run is driven again. To a person a run goes by `escalate`.
        """
        return drive(agents.handover(self._ctx, to, source, how, text))

    async def ahandover(self, to: str, *, source: str | None = None, how: How = "handoff", text: str = "") -> str:
        """`handover` for async code."""
        return await adrive(agents.handover(self._ctx, to, source, how, text))

    def returned(self, id: str, text: str = "") -> None:
        """A piece of work that `handover` gave an id is done, with `text` as its result; a second time says nothing.

        Raises UsageError for an id that the run does not have.
        """
        drive(agents.returned(self._ctx, id, text))

    async def areturned(self, id: str, text: str = "") -> None:
        """`returned` for async code."""
        await adrive(agents.returned(self._ctx, id, text))

    def connected(self, nodes: Sequence[str], edges: Iterable[tuple[str, str, bool]], *, source: str) -> None:
        """How the application is put together: recorded once, so that a report can draw which way a run took.

        `nodes` are the names of its agents or steps, `edges` the ways between two of them and whether a way is taken
        on a condition; `source` is the framework. What was told before in the run is not written again.
        """
        drive(agents.connected(self._ctx, nodes, edges, source))

    async def aconnected(self, nodes: Sequence[str], edges: Iterable[tuple[str, str, bool]], *, source: str) -> None:
        """`connected` for async code."""
        await adrive(agents.connected(self._ctx, nodes, edges, source))

    def open(self, capability: str) -> None:
        """Open a capability. For the application, which knows what the run is for; never on the model's word.

        Raises UsageError for a capability that the contract lacks or the principal may not use.
        """
        with self._core.lock:
            self.gate.check_capability(capability, self.principal)
            self._core.given = True
            if capability in self._state.capabilities:
                return
            self._ctx.write([self._ctx.draft("run", {"opened": capability})]).now()
            self._state.open(capability)

    def spent(self, *, model_tokens: int = 0, model_cost: Decimal | None = None) -> None:
        """What a model has used for this run: it counts against `model_tokens` and `model_cost` of `budgets.run`.

        Where the model is asked through a `ModelEndpoint`, that counts by itself.
        """
        self.spent_on(Used(output=model_tokens, cost=model_cost))

    def spent_on(self, used: Used) -> None:
        """The same, told in full."""
        drive(models.spent(self._ctx, used))

    def model_span(self, model: str, trace: str | None = None) -> ChatSpan | None:
        """A span for a request to a model, for endpoints; None where nobody listens. `trace`: a `traceparent`."""
        return chat_span(self._ctx, model, trace=trace)

    def model_answer(self, key: str) -> Mapping[str, Any] | None:
        """What a model answered to the request of this key in an earlier drive; each answer comes once. For endpoints.

        None: it is asked now, and `model_answered` keeps what it says.
        """
        return models.taken(self._ctx, key)

    def model_answered(self, key: str, answer: Mapping[str, Any], used: Used) -> None:
        """Keep what a model answered, so that it comes back when the run is driven again, and count what it used."""
        drive(models.answered(self._ctx, key, answer, used))

    def models_used_up(self) -> str | None:
        """Which budget of language models is used up, in words for the agent; None while they may be asked."""
        return models.used_up(self._ctx)

    def news(self) -> list[str]:
        """What came of held actions since this was last asked, in words for the agent; each is told once.

        An agent that is driven again is told the same where it was told before, and what it gets as the result of its
        call is not told beside that.
        """
        with self._core.lock:
            journal, state = self._core.journal, self._state
            self._core.asked_news += 1
            if journal is not None:
                before = journal.take_told(self._core.asked_news)
                if before or journal.left:
                    return before
                state.news[:] = [text for text in state.news if text not in state.results]
            told = list(state.news)
            if told:
                body = {"told": told, "at": self._core.asked_news} if state.suspendable else {"told": told}
                self._ctx.write([self._ctx.draft("observation", body)]).now()
                state.news.clear()
        return told

    # -- what goes out ----------------------------------------------------------------------------------------------

    def call(
        self,
        tool: str,
        args: Mapping[str, Any],
        fn: ToolFunction | None = None,
        *,
        call_id: str | None = None,
        agent: str | None = None,
    ) -> Outcome:
        """Bring a tool call to the gate. What comes back is a value, never an exception of the tool or the gate.

        `tool` is the contract's name or the model's; `fn(**args)` does the work when the gate lets it. `agent` is the
        name of the agent that asks, where the application has several: it is recorded, and decides nothing. Raises
        Suspended in a run that was opened as `suspendable`, when the rule that asks says `meanwhile: suspend`.
        """
        return drive(passage.call(self._ctx, tool, args, fn, call_id, agent))

    async def acall(
        self,
        tool: str,
        args: Mapping[str, Any],
        fn: ToolFunction | None = None,
        *,
        call_id: str | None = None,
        agent: str | None = None,
    ) -> Outcome:
        """`call` for async code; `fn` may be async or not."""
        return await adrive(passage.call(self._ctx, tool, args, fn, call_id, agent))

    def say(self, text: str, *, agent: str | None = None) -> Outcome:
        """Tell the user something. A reply in shadow is recorded and not delivered: `done` is then `simulated`.

        A reply that the contract holds back comes as `denied`, with what to say instead: the user has not seen it.
        """
        return drive(speech.say(self._ctx, text, agent=agent))

    def may_say(self, text: str) -> Outcome:
        """What `say` would come to; nothing is written, and nobody is told. For adapters that hold replies back."""
        return speech.may_say(self._ctx, text)

    async def asay(self, text: str, *, agent: str | None = None) -> Outcome:
        """`say` for async code."""
        return await adrive(speech.say(self._ctx, text, agent=agent))

    def ask_user(self, question: str, *, agent: str | None = None) -> Outcome:
        """Put a question to the user; the answer is heard, and is the value of the outcome."""
        return drive(speech.ask_user(self._ctx, question, agent=agent))

    async def aask_user(self, question: str, *, agent: str | None = None) -> Outcome:
        """`ask_user` for async code; a channel that blocks is asked in a thread."""
        return await adrive(speech.ask_user(self._ctx, question, agent=agent))

    def escalate(self, reason: str, *, agent: str | None = None) -> Outcome:
        """Hand the run to a person, by the contract's hand-over tool where there is one; then the run is over."""
        return drive(speech.escalate(self._ctx, reason, agent=agent))

    async def aescalate(self, reason: str, *, agent: str | None = None) -> Outcome:
        """`escalate` for async code."""
        return await adrive(speech.escalate(self._ctx, reason, agent=agent))

    def made_before(self, tool: str, args: Mapping[str, Any], call_id: str) -> Outcome | None:
        """What came of a call that a framework makes once more, because it begins a step of the agent anew.

        Found by id, tool and arguments among the calls since the user spoke last. None for one that was not made, was
        refused or has failed: that one goes to `call`. Nothing is written.
        """
        return again.made_before(self._ctx, tool, args, call_id)

    def settle(self) -> int:
        """Do what people have decided about held actions meanwhile, and settle what is in doubt; how many were.

        `heard` does it at every turn; this is for workers and for runs in which nobody speaks.
        """
        with self._core.lock:
            self._core.catch_up(self.gate.ledger)
        return drive(held.settle(self._ctx))

    async def asettle(self) -> int:
        """`settle` for async code."""
        with self._core.lock:
            self._core.catch_up(self.gate.ledger)
        return await adrive(held.settle(self._ctx))

    def close(self, why: str = "done") -> None:
        """End the run: later calls are refused."""
        with self._core.lock:
            if self._state.status == "open":
                self._ctx.write([self._ctx.draft("run", {"status": "closed", "why": why})]).now()
                self._ctx.set_status("closed", why)

    # -- what is the same when the run is driven again --------------------------------------------------------------

    def recall(self, name: str, make: Callable[[], Any]) -> Any:
        """A value that stays the same when the run is driven again: made once, then read from the ledger.

        `make` gives anything that JSON can carry: a model's response, a random choice. By name and occurrence.
        """
        with self._core.lock:
            journal = self._core.journal
            found, value = journal.take_value(name) if journal is not None else (False, None)
        if found:
            return value
        value = passage.as_recorded(make())
        self._ctx.write([self._ctx.draft("observation", {"recall": name, "value": value})]).now()
        return value

    def now(self) -> datetime:
        """The time, which is the same when the run is driven again."""
        return datetime.fromisoformat(self.recall("now", lambda: self.gate.clock.now().isoformat()))

    def uuid(self) -> str:
        """A fresh id, which is the same when the run is driven again."""
        return str(self.recall("uuid", lambda: str(uuid4())))


def new_session(world: Realm) -> str:
    """What tells actions of one process from those of another that works on the same run; nothing in trials."""
    return "" if world == "test" else "." + secrets.token_hex(3)
