"""What a case works with: one adapter, one shop, one ledger, and the way in which the agent is run."""

from __future__ import annotations

import asyncio
import inspect
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextvars import copy_context
from functools import cache
from typing import Any, Literal, TypeVar, cast

from roadworthy.adapters.conformance.adapter import Adapter
from roadworthy.adapters.conformance.script import Script
from roadworthy.adapters.conformance.shop import CONTRACT, Shop
from roadworthy.contract.model import Contract
from roadworthy.core.errors import Suspended
from roadworthy.core.types import Draft, Entry, Guard, Kind, Realm
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run
from roadworthy.ledger.store import Ledger

Way = Literal["blocking", "async"]
"""How an agent is run, and of what functions it is built."""

WAYS: tuple[Way, ...] = ("blocking", "async")

T = TypeVar("T")

_TURNS_OF_THE_LOOP = 200
"""How often a loop may go round until what an agent has begun must have ended."""


class Failed(AssertionError):
    """An adapter does not do what every adapter must."""


def expect(holds: object, what: str) -> None:
    """Fail the case unless something holds; `what` says what was expected."""
    if not holds:
        raise Failed(what)


def equal(found: object, wanted: object, what: str) -> None:
    """Fail the case unless two values are equal; `what` names the value."""
    if found != wanted:
        raise Failed(f"{what}: {wanted!r} was expected, and it is {found!r}")


def contains(text: object, part: str, what: str) -> None:
    """Fail the case unless a text has a part; `what` names the text."""
    if part not in str(text):
        raise Failed(f"{what}: {part!r} was expected in it, and it is {text!r}")


class Bench:
    """One adapter in one way, for one case."""

    def __init__(self, adapter: Adapter, way: Way) -> None:
        self.adapter = adapter
        self.way: Way = way
        self.shop = Shop()
        self.ledger = Ledger.open(":memory:")

    def close(self) -> None:
        """Give back what the case has used."""
        self.ledger.close()

    def gate(self, contract: str = CONTRACT, ledger: Any = None, **more: Any) -> Gate:
        """A gate under one of the shop's contracts."""
        return Gate(_law(contract), self.ledger if ledger is None else ledger, **more)

    def functions(self, shop: Shop | None = None) -> Mapping[str, Callable[..., Any]]:
        """The shop's functions, async ones where the agent runs in async code."""
        shop = shop or self.shop
        return shop.afunctions() if self.way == "async" else shop.functions()

    def build(self, gate: Gate, script: Script) -> Any:
        """A guarded agent."""
        return self.adapter.build(gate, self.functions(), script)

    def talk(self, gate: Gate, script: Script, text: str = "please", *, run: Run | None = None) -> str:
        """One turn of a new agent. Raises what the agent raises; Failed when it does not end or leaves tasks behind."""
        agent = self.build(gate, script)
        adapter = self.adapter
        if self.way == "async":
            return self._bound(run, lambda: self.finish(adapter.atalk(agent, text)))
        return self._bound(run, lambda: self.limited(lambda: adapter.talk(agent, text)))

    def drive(self, gate: Gate, script: Script, run: Run, start: str | None = "please") -> str | Suspended:
        """A new agent, driven. Otherwise as `talk`."""
        return self.drive_agent(self.build(gate, script), run, start)

    def drive_agent(self, agent: Any, run: Run, start: str | None = "please") -> str | Suspended:
        """An agent that is there already, driven."""
        adapter = self.adapter
        if self.way == "async":
            return self.finish(adapter.adrive(agent, run, start))
        return self.limited(lambda: adapter.drive(agent, run, start))

    def hear(self, run: Run, text: str) -> None:
        """The run hears its user, in the way that can carry what was approved."""
        if self.way == "async":
            self.finish(run.aheard(text))
        else:
            run.heard(text)

    def call(self, function: Callable[[Mapping[str, Any]], Any], args: Mapping[str, Any]) -> Any:
        """Call a function of `reach`. What it raises comes back: to raise is one way to refuse."""

        async def awaited() -> Any:
            found = function(args)
            return await found if inspect.isawaitable(found) else found

        try:
            return self.finish(awaited())
        except Failed:
            raise
        except Exception as error:  # of whatever framework
            return error

    @staticmethod
    def _bound(run: Run | None, go: Callable[[], T]) -> T:
        if run is None:
            return go()
        with run.bind():
            return go()

    def finish(self, coming: Awaitable[T]) -> T:
        """Await something in a loop of its own, to its end and no task longer."""
        return self.limited(lambda: asyncio.run(_alone(coming, self.adapter.timeout_s)))

    def limited(self, go: Callable[[], T]) -> T:
        """Call something that may hang."""
        came: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
        context = copy_context()

        def work() -> None:
            try:
                came.put((context.run(go), None))
            except BaseException as error:  # it belongs to whoever waits
                came.put((None, error))

        threading.Thread(target=work, name="roadworthy-conformance", daemon=True).start()
        try:
            found, error = came.get(timeout=self.adapter.timeout_s)
        except queue.Empty:
            raise _hangs(self.adapter.timeout_s) from None
        if error is not None:
            raise error
        return cast("T", found)


@cache
def _law(text: str) -> Contract:
    return Contract.loads(text)


def _hangs(seconds: float) -> Failed:
    return Failed(f"the agent hangs: it has not ended within {seconds:g} s")


async def _alone(coming: Awaitable[T], timeout_s: float) -> T:
    try:
        return await _within(coming, timeout_s)
    finally:
        here = asyncio.current_task()
        left = asyncio.all_tasks() - {here}
        for _ in range(_TURNS_OF_THE_LOOP):
            if not left:
                break
            await asyncio.sleep(0)
            left = asyncio.all_tasks() - {here}
        if left:
            names = ", ".join(sorted(f"{task.get_name()} ({task.get_coro()})" for task in left))
            raise Failed(f"the agent has left tasks behind that go on: {names}")


async def _within(coming: Awaitable[T], timeout_s: float) -> T:
    limit = asyncio.timeout(timeout_s)
    try:
        async with limit:
            return await coming
    except TimeoutError:
        if limit.expired():
            raise _hangs(timeout_s) from None
        raise


class BrokenLedger:
    """A ledger that breaks at an entry of one kind, in a way that nobody foresaw or in the way that ledgers do."""

    def __init__(self, ledger: Ledger, kind: str, error: Exception) -> None:
        self.ledger, self.kind, self.error = ledger, kind, error
        self.id = ledger.id

    def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> tuple[Entry, ...]:
        """Append, unless there is an entry of the kind among them."""
        if any(draft.kind == self.kind for draft in drafts):
            raise self.error
        return tuple(self.ledger.append(drafts, guards))

    async def aappend(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> tuple[Entry, ...]:
        """The same."""
        return self.append(drafts, guards)

    def entries(
        self,
        *,
        run: str | None = None,
        kind: Kind | None = None,
        world: Realm | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> Iterator[Entry]:
        """Those of the whole ledger."""
        return self.ledger.entries(run=run, kind=kind, world=world, after=after, limit=limit)

    def controls(self, after: int = 0) -> Sequence[Entry]:
        """Those of the whole ledger."""
        return self.ledger.controls(after)
