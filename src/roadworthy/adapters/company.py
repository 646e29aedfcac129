"""The agents of one application in one run, for frameworks that do not say who gives way to whom.

What is written here decides nothing, so a ledger that cannot be written ends no agent: no action passes without it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from roadworthy.adapters.calls import inside_tool, logger
from roadworthy.core.errors import HarnessError, LedgerError, Suspended
from roadworthy.gate.agents import How
from roadworthy.gate.core import Core
from roadworthy.gate.run import Run


@dataclass(frozen=True, slots=True)
class Asking:
    """An agent whose tool runs now."""

    agent: str | None
    tool: str


_ASKING: ContextVar[Asking | None] = ContextVar("roadworthy_asking", default=None)
_WORD: WeakKeyDictionary[Core, str] = WeakKeyDictionary()
"""Who had the word last in each run that is open here."""
_CALLED: WeakKeyDictionary[Core, frozenset[str]] = WeakKeyDictionary()
"""What whoever has the word has called last."""


@contextmanager
def asking(agent: str | None, tool: str) -> Generator[None]:
    """While a tool of an agent runs: whichever agent begins to work in it was asked by it."""
    token = _ASKING.set(Asking(agent, tool))
    try:
        yield
    finally:
        _ASKING.reset(token)


async def takes_word(run: Run | None, name: str | None, *, by: str = "") -> None:
    """An agent begins to speak with the user. Written where another one has spoken before it in the run.

    `by`: a name of calls by which others hand over to it; else the word just goes on.
    """
    if run is None or not name or inside_tool():
        return
    before, called = _WORD.get(_core(run)), _CALLED.pop(_core(run), ())
    _WORD[_core(run)] = name
    if before is not None and before != name:
        await _handed(run, name, before, "handoff" if by in called else "turn", "")


def has_called(run: Run | None, calls: Iterable[str]) -> None:
    """What the agent that has the word has called last, by name; one of these may be how it gives the word away."""
    if run is not None and not inside_tool():
        _CALLED[_core(run)] = frozenset(calls)


async def gives_word(run: Run | None, source: str | None, to: str, text: str) -> None:
    """An agent hands control over to another one."""
    if run is None:
        return
    if not inside_tool():
        _WORD[_core(run)] = to
    await _handed(run, to, source, "handoff", text)


def _core(run: Run) -> Core:
    return run._core  # pyright: ignore[reportPrivateUsage]  # what all handles on the run share


@asynccontextmanager
async def delegated(run: Run | None, to: str, source: str | None, text: str) -> AsyncGenerator[Callable[[str], None]]:
    """Around a piece of work that another agent does: what it came to is given to the function that this yields.

    It has come back when the block ends, but for exceptions that end the run or hold it up.
    """
    work = await _handed(run, to, source, "delegate", text) if run is not None else None
    came = [""]

    def comes_to(told: str) -> None:
        came[0] = told

    try:
        yield comes_to
    except (HarnessError, Suspended):
        raise  # it has not come back: the run ends here, or goes on in there
    except Exception:
        await _returned(run, work, "")
        raise
    await _returned(run, work, came[0])


@asynccontextmanager
async def working(run: Run | None, name: str | None, text: str) -> AsyncGenerator[Callable[[str], None]]:
    """Around all that an agent does: asked by another one's tool, or with the word to the user."""
    asked = _ASKING.get() if inside_tool() else None
    if asked is None or run is None:
        await takes_word(run, name)
        yield _nobody
        return
    async with delegated(run, name or asked.tool, asked.agent, text) as comes_to:
        yield comes_to


def _nobody(_: str) -> None:
    """Nobody asked for it."""


async def _returned(run: Run | None, work: str | None, text: str) -> None:
    if run is None or work is None:
        return
    try:
        await run.areturned(work, text)
    except LedgerError as error:
        logger.error("run %s could not be told that work came back", run.id, exc_info=error)


async def _handed(run: Run, to: str, source: str | None, how: How, text: str) -> str | None:
    try:
        return await run.ahandover(to, source=source, how=how, text=text)
    except LedgerError as error:
        logger.error("run %s could not be told that %s gave way to %s", run.id, source, to, exc_info=error)
        return None
