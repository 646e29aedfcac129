"""The thread of a graph with a checkpointer, when a run is driven again from its start."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.runnables import RunnableConfig

from roadworthy.adapters.langgraph.runs import configurable
from roadworthy.core.errors import UsageError
from roadworthy.gate.run import Run

_THREAD = "langgraph.thread"
"""Under this name the run keeps which thread a turn was driven in."""
_BEFORE = "langgraph.checkpoint"
"""Under this name the run keeps which checkpoint its thread had before a turn; empty where it had none."""


class Thread:
    """Puts a thread back to where it was before a turn that is driven again.

    What a run did comes back from its journal as its agent is driven from its start; a graph that went on from the
    middle would ask for none of it. So a turn that is driven again forks the thread where the turn began.
    """

    def __init__(self, graph: Any, run: Run, config: RunnableConfig | None) -> None:
        self._graph = graph
        self._run = run
        self._config: RunnableConfig = {**(config or {})}
        self._kept = bool(graph.checkpointer) and graph.checkpointer is not True
        self._named = configurable(self._config).get("thread_id") is not None
        if self._kept and not self._named:
            self._config["configurable"] = {**configurable(self._config), "thread_id": run.id}

    def begin(self) -> RunnableConfig:
        """The config for the turn that begins now."""
        if not self._kept or not self._run.state.suspendable:
            return self._config
        self._find()
        now = _checkpoint(self._graph.get_state(self._config))
        before = self._run.recall(_BEFORE, lambda: now)
        if before == now:
            return self._config
        if before:
            back = self._at(before)
            return back if _checkpoint(self._graph.get_state(back)) == before else self._config
        self._graph.checkpointer.delete_thread(self._id)
        return self._config

    async def abegin(self) -> RunnableConfig:
        """`begin` for async code."""
        if not self._kept or not self._run.state.suspendable:
            return self._config
        await asyncio.to_thread(self._find)
        now = _checkpoint(await self._graph.aget_state(self._config))
        before = await asyncio.to_thread(self._run.recall, _BEFORE, lambda: now)
        if before == now:
            return self._config
        if before:
            back = self._at(before)
            return back if _checkpoint(await self._graph.aget_state(back)) == before else self._config
        await self._graph.checkpointer.adelete_thread(self._id)
        return self._config

    def _find(self) -> None:
        """Take the thread that this turn was first driven in. Raises UsageError where the config names another one.

        What a turn that stopped has left in its thread is taken away, and no other conversation is to lose anything.
        """
        thread = self._run.recall(_THREAD, lambda: self._id)
        if thread == self._id:
            return
        if self._named:
            raise UsageError(
                f"run {self._run.id} was driven in the thread {thread!r} before, and not in {self._id!r}: name that "
                "thread in the config, or none"
            )
        self._config["configurable"] = {**configurable(self._config), "thread_id": thread}

    @property
    def _id(self) -> str:
        return str(configurable(self._config)["thread_id"])

    def _at(self, checkpoint: str) -> RunnableConfig:
        return {**self._config, "configurable": {**configurable(self._config), "checkpoint_id": checkpoint}}


def _checkpoint(state: Any) -> str:
    """The id of a state that was kept; empty for one that nothing was kept of."""
    if state.created_at is None:
        return ""
    return str(configurable(state.config).get("checkpoint_id") or "")
