"""Flows of CrewAI: every step acts for the run that was bound when the flow began, and no tool comes past a gate."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

from roadworthy.adapters.crewai.work import IN_FLOW, Work, work_here, working
from roadworthy.gate.run import current_run


def flow_methods(kind: Any) -> dict[str, Any]:
    """What a guarded flow does its own way."""
    return {"kickoff_async": _begun(kind.kickoff_async), "_execute_method": _step(kind._execute_method)}


def _begun(method: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def kickoff_async(self: Any, *args: Any, **kwargs: Any) -> Any:
        run = current_run()
        token = IN_FLOW.set(True)
        try:
            with working() as work, run.bind() if run is not None else nullcontext():
                try:
                    result = await method(self, *args, **kwargs)
                except BaseException:
                    await end_steps(work)
                    work.raise_broken()
                    raise
                work.raise_broken()
                return result
        finally:
            IN_FLOW.reset(token)

    return kickoff_async


def _step(method: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def _execute_method(self: Any, *args: Any, **kwargs: Any) -> Any:
        work = work_here()
        task = asyncio.current_task()
        if work is None or task is None:
            return await method(self, *args, **kwargs)
        work.steps.add(task)
        try:
            with work.going():
                result = await method(self, *args, **kwargs)
            work.raise_broken()  # where a step has called a gated tool by itself
            return result
        finally:
            work.steps.discard(task)

    return _execute_method


async def end_steps(work: Work) -> None:
    """End the steps beside one that broke. Blocking ones are in threads, and are waited for."""
    while left := {task for task in work.steps if task is not asyncio.current_task() and not task.done()}:
        for task in left:
            task.cancel()
        await asyncio.wait(left)
