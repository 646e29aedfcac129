"""What all handles on one run share, and how its steps wait: one set of steps, driven from blocking or async code.

A step is written once, as a generator that yields what it waits for (`Write`, `Carry`, `AskUser`, `Quiesce`).
`drive` and `adrive` wait for it, each in its own way, and send back what came of it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

from roadworthy.core.types import Draft, Entry, Guard
from roadworthy.gate.carry import Carried, ToolFunction
from roadworthy.gate.journal import Journal
from roadworthy.gate.policy import ToolPolicy
from roadworthy.gate.replay import Replay
from roadworthy.gate.state import RunState
from roadworthy.ledger.rows import Appended

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from roadworthy.gate.gate import Gate
    from roadworthy.gate.stops import Stops
    from roadworthy.ledger.store import Appender

AskUserChannel = Callable[[str], str | None]
"""The channel to the user: gives them a question and comes back with their answer, or None when they are gone."""

T = TypeVar("T")


class Request(Protocol):
    """What a step waits for."""

    def now(self) -> Any:
        """Wait for it in this thread."""
        ...

    async def later(self) -> Any:
        """Wait for it without blocking the event loop."""
        ...


Steps: TypeAlias = Generator[Request, Any, T]
"""Steps that come to a T."""


def drive(steps: Steps[T]) -> T:
    """Go through steps in this thread."""
    try:
        request = next(steps)
        while True:
            try:
                came = request.now()
            except BaseException as error:
                request = steps.throw(error)
            else:
                request = steps.send(came)
    except StopIteration as stop:
        return stop.value


async def adrive(steps: Steps[T]) -> T:
    """Go through steps in async code."""
    try:
        request = next(steps)
        while True:
            try:
                came = await request.later()
            except BaseException as error:
                request = steps.throw(error)
            else:
                request = steps.send(came)
    except StopIteration as stop:
        return stop.value


class Core:
    """What all handles on one run share: its memory, the lock around it, and what it has seen of its entries."""

    __slots__ = (
        "__weakref__",
        "_quiet",
        "asked_news",
        "calls",
        "controls_seen",
        "fed",
        "flying",
        "functions",
        "given",
        "handovers",
        "id",
        "journal",
        "levels_after",
        "lock",
        "replay",
        "run_seen",
        "session",
        "span",
        "state",
        "stops",
        "unrecorded",
    )

    def __init__(self, id: str, state: RunState, session: str, ledger: str) -> None:
        self.id = id
        self.state = state
        self.session = session
        self.lock = threading.RLock()
        self.calls = 0
        self.handovers = 0
        """What agents handed to each other in this process."""
        self.controls_seen = 0
        self.levels_after = 0
        """The seq up to which the run's levels are those that it began with."""
        self.replay = Replay(state, ledger)
        self.fed: list[int] = []
        """The seqs of what others have added to the run, as this process came to know of it."""
        self.run_seen = 0
        """The run_seq up to which all of the run's entries are known; less than that where only a look would tell."""
        self.flying = 0
        """Calls whose tools are running now."""
        self.functions: dict[str, ToolFunction] | None = None
        """The functions that held actions came with, should they be approved while this process lives."""
        self.given = False
        """Whether the application has said which capabilities are open, so that nobody need find out."""
        self.journal: Journal | None = None
        """What the run did before, while it is driven again from its start."""
        self.stops: Stops | None = None
        """What is stopped, as far as the run has followed the ledger; None where nothing ever was."""
        self.asked_news = 0
        """How often somebody has asked for news since the run was opened or driven again."""
        self.unrecorded = 0
        """Reads that were made while the ledger could not be written, as far as the contract lets them."""
        self.span: Span | None = None
        """Of the drive that goes on now, for whoever listens."""
        self._quiet: threading.Condition | None = None

    @property
    def mark(self) -> str | None:
        """The cause of entries that follow from no action: it tells ours from those of other processes."""
        return f"{self.id}#0{self.session}" if self.session else None

    def catch_up(self, ledger: Appender, *, before: int | None = None) -> bool:
        """Bring in what other processes have added to the run, up to a seq; whether there was anything new."""
        if not self.session:
            return False  # a trial's run lives in one process
        found = False
        for entry in ledger.entries(run=self.id, after=self.replay.seen):
            if before is not None and entry.seq >= before:
                break
            if entry.kind != "answer" and self._ours(entry.cause):
                self.replay.pass_over(entry)
            else:
                self.replay.feed((entry,))
                self.fed.append(entry.seq)
                found = True
            self.run_seen = entry.run_seq
        return found

    def _ours(self, cause: str | None) -> bool:
        return cause is not None and cause.endswith(self.session)

    def wrote(self, drafts: Sequence[Draft], written: Sequence[Entry]) -> None:
        """Pass over what was just written, where it follows what is known: nobody else has written in between.

        Whatever the state has to look at itself is left to `catch_up`, and all that comes after it.
        """
        if not isinstance(written, Appended) or written.span is None or not self.session:
            return
        span, replay = written.span, self.replay
        with self.lock:
            if span.run_first != self.run_seen + 1 or span.first <= replay.seen:
                return
            for draft in drafts:
                if draft.kind in _LOOKED_AT or not self._ours(draft.cause):
                    return
                if draft.kind == "action" and draft.body["id"] in self.state.pending:
                    return
            self.run_seen += len(drafts)
            replay.seen = span.last
            replay.latest = max(replay.latest, max(draft.at for draft in drafts))

    def landed(self) -> None:
        """A tool that was running has ended."""
        with self.lock:
            self.flying -= 1
            if self._quiet is not None:
                self._quiet.notify_all()

    def wait_quiet(self, others: int) -> None:
        """Wait until no more than this many tools are running."""
        with self.lock:
            self._quiet = self._quiet or threading.Condition(self.lock)
            while self.flying > others:
                self._quiet.wait()


def cause_of(action: str, session: str) -> str:
    """The cause of entries that continue an action which another process may have begun."""
    return f"{action}~{session}"


_LOOKED_AT: Final = frozenset(("answer", "question"))
"""Kinds of entries of ours that the state looks at as they come from the ledger."""

_inside: ContextVar[tuple[Core, ...]] = ContextVar("roadworthy_inside", default=())
"""The runs whose tools are running around this code, the outermost first; a run may be in it several times."""

# what a step waits for ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Write:
    """Entries that must be on disk before the next step. Comes to what was written; raises LedgerError."""

    gate: Gate
    core: Core
    drafts: Sequence[Draft]
    guards: Sequence[Guard] = ()
    gap: int = 0
    """Unrecorded reads that these entries tell of."""

    def now(self) -> Sequence[Entry]:
        written = (
            self.gate.ledger.append(self.drafts, self.guards) if self.guards else self.gate.ledger.append(self.drafts)
        )
        self._written(written)
        return written

    async def later(self) -> Sequence[Entry]:
        if self.guards:
            written = await self.gate.ledger.aappend(self.drafts, self.guards)
        else:
            written = await self.gate.ledger.aappend(self.drafts)
        self._written(written)
        return written

    def _written(self, written: Sequence[Entry]) -> None:
        self.core.unrecorded -= self.gap
        self.core.wrote(self.drafts, written)
        state = self.core.state
        if self.drafts[-1].at > state.last_at:
            state.last_at = self.drafts[-1].at


@dataclass(slots=True)
class Carry:
    """A tool that runs. Comes to how it ended."""

    gate: Gate
    core: Core
    tool: ToolPolicy | None
    """None for a call that nobody could judge."""
    fn: ToolFunction
    args: Mapping[str, Any]
    key: str
    left_s: float | None = None

    def now(self) -> Carried:
        outside = _inside.set((*_inside.get(), self.core))
        try:
            return self.gate.carrier.call(self.tool, self.fn, self.args, left_s=self.left_s, key=self.key)
        finally:
            _inside.reset(outside)

    async def later(self) -> Carried:
        outside = _inside.set((*_inside.get(), self.core))
        try:
            return await self.gate.carrier.acall(self.tool, self.fn, self.args, left_s=self.left_s, key=self.key)
        finally:
            _inside.reset(outside)


@dataclass(slots=True)
class Blocking:
    """Whether the steps are driven from blocking code, which can call no async function."""

    def now(self) -> bool:
        return True

    async def later(self) -> bool:
        return False


@dataclass(slots=True)
class AskUser:
    """A question that stands before the user. Comes to the answer, or None when the user is gone."""

    gate: Gate
    channel: AskUserChannel
    question: str

    def now(self) -> str | None:
        return self.channel(self.question)

    async def later(self) -> str | None:
        if self.gate.world == "test":
            return self.channel(self.question)
        return await asyncio.to_thread(self.channel, self.question)


@dataclass(slots=True)
class Quiesce:
    """The end of all tools that are running, but for those that wait for the call that stops here.

    A tool may be an agent by itself, whose own calls come to the same run.
    """

    core: Core

    def now(self) -> None:
        self.core.wait_quiet(self._around())

    async def later(self) -> None:
        await asyncio.to_thread(self.core.wait_quiet, self._around())

    def _around(self) -> int:
        return sum(core is self.core for core in _inside.get())
