"""`roadworthy worker`: do what people have decided, in a process of its own."""

from __future__ import annotations

import asyncio
import inspect
import re
import secrets
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import FrameType, ModuleType
from typing import Annotated, Any, Final, cast

import typer

from roadworthy.cli.ledgers import GateBook, VaultChoice, appending
from roadworthy.cli.terminal import err, json_line, out, shown
from roadworthy.cli.tools import find_tools
from roadworthy.contract.model import Contract
from roadworthy.core.errors import Conflict, RoadworthyError, Suspended, Unreadable, UsageError
from roadworthy.core.types import Claim, Draft, Entry, Kind
from roadworthy.gate.carry import ToolFunction
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run

_MOST_DRIVES: Final = 3
"""How often a run is driven again that ends in nothing each time; then a person takes over."""


def command(
    contract: Annotated[Path, typer.Argument(help="The contract that the agent runs under.")],
    ledger: GateBook,
    tools: Annotated[
        str | None, typer.Option(help="module:name of the tools: a module, or a mapping from names to functions.")
    ] = None,
    agent: Annotated[
        str | None, typer.Option(help="module:function that drives a run, called as agent(run); for runs that stopped.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Do what is there to do, and leave.")] = False,
    every: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks at the ledger.")] = 2.0,
    lease: Annotated[
        float, typer.Option(min=1.0, help="Seconds without an entry, after which a run's driver is taken for dead.")
    ] = 600.0,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON for all that was done.")] = False,
) -> int:
    """Do what people have decided: carry what was approved, and drive on the runs that stopped for it.

    Any number of workers may share a ledger; each action is carried once. It ends on SIGTERM or Ctrl-C, when what it is
    at has come to its end. Exit codes: 0 done, 2 broken input.
    """
    law = Contract.load(contract)
    functions = functions_of(law, find_tools(tools)) if tools is not None else None
    drive = _agent(agent) if agent is not None else None
    with appending(ledger, vault) as opened:
        worker = Worker(Gate(law, opened, tools=functions), drive, lease_s=lease, json=json)
        stopping = threading.Event()
        before = [(number, signal.signal(number, _stopper(stopping))) for number in (signal.SIGTERM, signal.SIGINT)]
        try:
            if not once:
                out().print("Waiting for answers.") if not json else json_line({"waiting": True})
            while True:
                busy = worker.look()
                if stopping.is_set() or (once and not busy):
                    return 0
                if not busy:
                    stopping.wait(every)
        finally:
            for number, handler in before:
                signal.signal(number, handler)


def functions_of(law: Contract, found: Any) -> Mapping[str, ToolFunction]:
    """The functions among a user's tools, by the contract's names. Raises UsageError where there is none.

    A module's own functions, or a mapping from names to functions; a name is the contract's, the model's, or the last
    part of the contract's.
    """
    if isinstance(found, ModuleType):
        named = {name: value for name, value in vars(found).items() if not name.startswith("_") and callable(value)}
    elif isinstance(found, Mapping):
        named = {str(name): value for name, value in cast("Mapping[Any, Any]", found).items()}
    else:
        raise UsageError(f"the tools are a {type(found).__name__}; give a module, or a mapping from names to functions")
    functions: dict[str, ToolFunction] = {}
    for name, value in named.items():
        tool = law.tool_names.get(name)
        if tool is None:
            ends = [key for key in law.tools if re.split(r"\.", key)[-1] == name]
            tool = ends[0] if len(ends) == 1 else None
        if tool is not None and callable(value):
            functions[tool] = value
    if not functions:
        raise UsageError(f"there are no tools of {law.agent} among these; name functions as the contract does")
    return functions


def _agent(name: str) -> Callable[[Run], Any]:
    found = find_tools(name)
    if not callable(found) or inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
        raise UsageError(f"{name!r} drives no run; give a function `def agent(run)`, async or not")
    try:
        inspect.signature(found).bind(object())
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name!r} cannot be called as agent(run): {error}") from error
    return cast("Callable[[Run], Any]", found)


def _stopper(stopping: threading.Event) -> Callable[[int, FrameType | None], None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    return stop


class Worker:
    """Looks at a ledger, and does in its runs what people have decided."""

    def __init__(self, gate: Gate, agent: Callable[[Run], Any] | None, *, lease_s: float, json: bool = False) -> None:
        self.gate = gate
        self.agent = agent
        self.lease = timedelta(seconds=lease_s)
        self.json = json
        self.name = secrets.token_hex(4)
        self._runs: dict[str, None] = {}
        self._seen: dict[Kind, int] = {"question": 0, "answer": 0}

    def look(self) -> bool:
        """Do what there is to do now; whether anything was done, so that it is worth looking again at once."""
        self._learn()
        busy = False
        for run in list(self._runs):
            try:
                busy |= self._tend(run)
            except RoadworthyError as error:  # one run that cannot be read keeps nobody else waiting
                err().print(shown(f"{run}: {error}"))
                if isinstance(error, Unreadable):
                    del self._runs[run]  # it is said once, and again when somebody answers there
        return busy

    def _learn(self) -> None:
        """The runs in which anything was ever asked; those in which nothing is left to do are forgotten later."""
        for kind, seen in self._seen.items():
            for entry in self.gate.ledger.entries(kind=kind, after=seen):
                if entry.run is not None and entry.world != "test":
                    self._runs[entry.run] = None
                self._seen[kind] = entry.seq

    def _tend(self, run: str) -> bool:
        settled = self.gate.settle(run)
        if settled:
            self._tell(run, settled)
        stands = self.gate.waiting(run)
        if stands is None or (stands.over and not stands.unsettled):
            del self._runs[run]
            return bool(settled)
        if stands.unsettled:
            return bool(settled)
        if not stands.suspended or self.agent is None:
            del self._runs[run]
            return bool(settled)
        return self._drive(run) or bool(settled)

    # -- runs that stopped --------------------------------------------------------------------------------------------

    def _drive(self, run: str) -> bool:
        entries = list(self.gate.ledger.entries(run=run))
        drives = self._drives(entries)
        if (drives or _at_it(entries)) and self.gate.clock.now() - entries[-1].at < self.lease:
            return False  # somebody is at it, or was until not long ago
        body = {"driven_by": self.name, "reopened": True}
        draft = Draft(kind="run", world=self.gate.world, run=run, body=body, at=self.gate.clock.now())
        try:
            self.gate.ledger.append([draft], [Claim(key=f"drive/{run}/{entries[-1].seq}", value=self.name)])
        except Conflict:
            return False  # another worker was faster
        handle = self.gate.resume(run)
        if handle.status in ("escalated", "stopped", "closed"):
            self._say(run, f"it is {handle.status}: {handle.status_why}")
            return True
        if drives >= _MOST_DRIVES:
            handle.escalate(f"driven on {drives} times, and never came to an end")
            self._say(run, "handed over: it never came to an end")
            return True
        self._go(run, handle)
        return True

    def _drives(self, entries: list[Entry]) -> int:
        """How often the run was driven on since it was last asked something."""
        count = 0
        for entry in entries:
            if entry.kind == "question":
                count = 0
            count += entry.kind == "run" and "driven_by" in entry.body
        return count

    def _go(self, run: str, handle: Run) -> None:
        assert self.agent is not None  # asked before
        try:
            with handle, handle.bind():
                came = self.agent(handle)
                if inspect.isawaitable(came):
                    asyncio.run(_awaited(came))
        except Suspended:
            self._say(run, "waits for a person again")
        except Exception as error:  # the agent is foreign code, and may raise anything
            why = f"the agent failed while it was driven on: {type(error).__name__}: {error}"
            with suppress(RoadworthyError):
                handle.escalate(why)
            self._say(run, f"handed over: {why}")
        else:
            handle.close()
            self._say(run, f"driven on; it is {handle.status}")

    # -- what is told -------------------------------------------------------------------------------------------------

    def _tell(self, run: str, settled: int) -> None:
        """What came of the actions that were settled last."""
        found = [
            entry.body
            for entry in self.gate.ledger.entries(run=run)
            if entry.kind == "outcome" and ("decided" in entry.body or "~" in (entry.cause or ""))
        ]
        for body in found[-settled:]:
            self._say(run, f"{body.get('status')}: {body.get('text')}")

    def _say(self, run: str, text: str) -> None:
        if self.json:
            json_line({"run": run, "text": text, "at": self.gate.clock.now()})
        else:
            out().print(shown(f"{run}: {text}", lines=False))


def _at_it(entries: list[Entry]) -> bool:
    """Whether a call was begun and has no end: somebody is making it, or died over it."""
    begun: set[str | None] = set()
    for entry in entries:
        if entry.kind == "intent":
            begun.add(entry.cause)
        elif entry.kind == "outcome":
            begun.discard(entry.cause)
    return bool(begun)


async def _awaited(came: Awaitable[Any]) -> Any:
    return await came
