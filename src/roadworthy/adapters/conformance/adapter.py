"""What somebody writes to have an adapter tested: how agents are built in the framework, talk, and are driven."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from roadworthy.adapters.conformance.script import Respond
from roadworthy.adapters.driving import in_a_loop_of_its_own
from roadworthy.core.errors import Suspended
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run


class Adapter:
    """One framework's adapter, as the suite sees it. Made anew, without arguments, for every case.

    The blocking and the async form of a method stand for each other: write both, or the one that the framework has.
    The class must stand at the top of a module that another process can import.
    """

    finds_runs: ClassVar[bool] = True
    """Whether the adapter finds the bound run by itself. False where every call is handed its run."""
    timeout_s: ClassVar[float] = 60.0
    """How long a case may take before the agent counts as hanging."""

    def build(self, gate: Gate, functions: Mapping[str, Callable[..., Any]], respond: Respond) -> Any:
        """An agent with these functions as its tools and this script as its model, guarded by the gate.

        `functions` are by the names that the model uses, blocking ones or async ones; the agent remembers nothing of
        other agents that were built.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how its agents are built: write build()")

    def talk(self, agent: Any, text: str) -> str:
        """One turn of the agent; comes to its reply. The run is bound, if there is one. Raises what the agent does."""
        self._needs("talk", "atalk")
        return in_a_loop_of_its_own(self.atalk(agent, text))

    async def atalk(self, agent: Any, text: str) -> str:
        """`talk` in async code."""
        self._needs("talk", "atalk")
        return await asyncio.to_thread(self.talk, agent, text)

    def drive(self, agent: Any, run: Run, start: str | None) -> str | Suspended:
        """The adapter's own `drive`: comes to the reply, or to Suspended. No `start`: what the ledger has."""
        self._needs("drive", "adrive")
        return in_a_loop_of_its_own(self.adrive(agent, run, start))

    async def adrive(self, agent: Any, run: Run, start: str | None) -> str | Suspended:
        """`drive` in async code."""
        self._needs("drive", "adrive")
        return await asyncio.to_thread(self.drive, agent, run, start)

    def reach(self, agent: Any) -> Iterable[tuple[str, Callable[[Mapping[str, Any]], Any]]]:
        """Every tool that whoever holds the agent can get at, and how it is called without the model.

        Pairs of the tool's name and a function of its arguments, which may be async. A tool that is there in several
        forms stands there several times; `reach.found` finds them. Each tool of the agent must be among them.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say where its agents' tools are: write reach()")

    def _needs(self, *names: str) -> None:
        if all(getattr(type(self), name) is getattr(Adapter, name) for name in names):
            raise NotImplementedError(f"{type(self).__name__} needs {' or '.join(f'{name}()' for name in names)}")
