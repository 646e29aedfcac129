"""What every adapter's `drive` has in common: an agent runs to its end, or until a person must decide.

    run = gate.run(id="ticket-42", capability="billing_question", suspendable=True)
    run.heard(text)
    came = drive(agent, run, text)
    if isinstance(came, Suspended):
        ...                             # it waits for a person; this process may end

    run = gate.resume("ticket-42")      # later, here or in another process, once a person has answered
    run.heard(text)
    came = drive(agent, run)            # what it was started with is in the ledger

A run of several turns is driven again turn by turn, as it was the first time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from roadworthy.core.canonical import dumps, loads
from roadworthy.core.errors import Suspended, UsageError
from roadworthy.gate.passage import as_recorded
from roadworthy.gate.run import Run

T = TypeVar("T")


def drive(run: Run, start: Any, go: Callable[[Any], T]) -> T | Suspended:
    """Call `go` with what the agent is to be started with, while the run is bound.

    What `go` comes to comes back, or, as a value, the Suspended that says what the run waits for. `start` may be None
    in a run that is driven again. Raises UsageError for a start that the ledger cannot keep or that is another than it
    was.
    """
    with run.bind():
        try:
            return go(_start(run, start))
        except Suspended as waits:
            return waits


async def adrive(run: Run, start: Any, go: Callable[[Any], Awaitable[T]]) -> T | Suspended:
    """`drive` for async code."""
    with run.bind():
        try:
            return await go(await asyncio.to_thread(_start, run, start))
        except Suspended as waits:
            return waits


def in_a_loop_of_its_own(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run an async drive in blocking code. Raises UsageError where an event loop runs already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    coroutine.close()
    raise UsageError("an event loop runs here, which drive() would block: `await adrive(...)` instead")


def not_guarded(agent: object) -> UsageError:
    """What is raised for an agent whose tools would pass no gate."""
    return UsageError(
        f"drive() was given a {type(agent).__name__} that is not guarded, so its tools would pass no gate: give it "
        "what guard(agent, gate) handed back"
    )


def refuse_memory(run: Run, given: Mapping[str, Any], *names: str) -> None:
    """Raise UsageError where a suspendable run is given what keeps a conversation outside of it, under these names."""
    kept = [name for name in names if given.get(name)]
    if kept and run.state.suspendable:
        raise UsageError(
            f"{kept[0]}= keeps a conversation to which an agent that is driven again would add once more: leave it "
            "out, and begin with the conversation so far, as `start`"
        )


def _start(run: Run, start: Any) -> Any:
    """What the agent is started with: what it was given, or what it was started with when it was driven before."""
    if not run.state.suspendable:
        if start is None:
            raise _nothing_to_start_with(run)
        return start

    def first() -> Any:
        if start is None:
            raise _nothing_to_start_with(run)
        return _kept(start)

    found = run.recall("start", first)
    if start is None:
        return found
    if found != _kept(start):
        raise UsageError(
            f"run {run.id} was started with something else before: give drive() the same start, or none, and it is "
            "taken from the ledger"
        )
    return start


def _kept(start: Any) -> Any:
    """The start as the ledger gives it back, to the byte; an entry would cut what is too large, and name objects."""
    try:
        whole = loads(dumps(start))
    except (TypeError, ValueError, RecursionError) as error:
        raise _no_start(start) from error
    if as_recorded(whole) != whole:
        raise _no_start(start)
    return whole


def _no_start(start: Any) -> UsageError:
    return UsageError(
        f"this {type(start).__name__} cannot be kept in the ledger as it is, and a suspendable run is started again "
        "from there: start it with text, or with lists and mappings of it, that are not too large"
    )


def _nothing_to_start_with(run: Run) -> UsageError:
    return UsageError(
        f"drive() was given no start, and run {run.id} is not driven again: say what the agent is to be started with"
    )
