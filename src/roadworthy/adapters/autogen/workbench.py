"""Workbenches of AutoGen whose every call passes the gate.

An exception in a workbench leaves `AssistantAgent.run` waiting for ever (autogen 0.7.5, `_process_model_result` waits
on a queue that its failed task never fills), so a call that is guarded here always ends in a result.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, cast

from autogen_agentchat.tools._task_runner_tool import TaskRunnerTool  # what AgentTool and TeamTool have in common
from autogen_core import CancellationToken
from autogen_core.tools import (
    BaseTool,
    StaticStreamWorkbench,
    StaticWorkbench,
    StreamTool,
    TextResultContent,
    Tool,
    ToolResult,
    ToolSchema,
    Workbench,
)

from roadworthy.adapters.autogen.scope import Scope, Seat
from roadworthy.adapters.calls import OFFERED, abring, hosting, logger
from roadworthy.core.errors import HarnessError, Suspended, UsageError
from roadworthy.core.types import Outcome
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run

__all__ = ["GuardedStreamWorkbench", "GuardedWorkbench", "guarded_workbench", "tools_of"]

Event = Callable[[Any], None]
"""Where what a tool streams goes."""


class _ToolFailed(Exception):
    """The workbench says that the tool failed; its text goes to the model."""


class GuardedWorkbench(Workbench):
    """A workbench whose every call passes the gate. The model is offered `ask_user` and `escalate`, too."""

    component_type = "workbench"

    def __init__(self, inner: Workbench, gate: Gate, *, offer: bool = True, seat: Seat | None = None) -> None:
        self._inner: Callable[[], Workbench] = lambda: inner  # no attribute of a guarded agent leads to a bare tool
        self._gate = gate
        self._seat = seat if seat is not None else Seat("")
        if seat is None:
            self._seat.sit(Scope())
        self._extras = OFFERED if offer else ()
        self._listed: list[ToolSchema] | None = None

    @property
    def gate(self) -> Gate:
        """The gate that stands before the tools."""
        return self._gate

    def seen_by(self, seat: Seat, *, offer: bool) -> GuardedWorkbench:
        """The same workbench in the hands of one agent: its calls say whose they are."""
        return type(self)(cast("Any", self._inner()), self._gate, offer=offer, seat=seat)

    async def list_tools(self) -> list[ToolSchema]:
        try:
            listed = await self._inner().list_tools()
        except Exception as error:
            # Asked again during a call, where an exception would hang the agent: then the last list is good enough.
            if self._listed is None:
                raise
            logger.error("a workbench could not list its tools", exc_info=error)
            return self._listed
        names = {tool["name"] for tool in listed}
        extras = [
            cast("ToolSchema", {"name": e.name, "description": e.description, "parameters": e.parameters})
            for e in self._extras
            if e.name not in names
        ]
        self._listed = [*listed, *extras]
        return self._listed

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> ToolResult:
        return await self._result(name, arguments, cancellation_token, call_id, None)

    async def _result(
        self,
        name: str,
        arguments: Mapping[str, Any] | None,
        token: CancellationToken | None,
        call_id: str | None,
        event: Event | None,
    ) -> ToolResult:
        """The end of a call, whatever happens. Only a cancelled task and the end of the process raise."""
        scope = self._seat.scope
        run = scope.find()
        if scope.broken(run) is not None:
            return _ended(name)

        async def run_tool(**args: Any) -> Any:
            # Agents inside the tool belong to this run, whatever run the context of the runtime was made in.
            with cast("Run", run).bind():
                return await self._run_tool(cast("Run", run), name, args, token or CancellationToken(), call_id, event)

        given: Mapping[str, Any] = {} if arguments is None else arguments
        try:
            with scope.at_work(run):
                outcome = await abring(self._gate, run, name, given, run_tool, call_id=call_id, agent=self._seat.label)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            outcome = _interrupted(name)  # by its cancellation token, while the agent itself goes on
        except (HarnessError, Suspended) as error:
            scope.broke(run, error)
            return _ended(name)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            logger.error("a call of %s was torn down", name, exc_info=error)
            outcome = _interrupted(name)
        return ToolResult(name=name, result=[TextResultContent(content=outcome.text)], is_error=not outcome.ok)

    async def _run_tool(
        self,
        run: Run,
        name: str,
        args: Mapping[str, Any],
        token: CancellationToken,
        call_id: str | None,
        event: Event | None,
    ) -> Any:
        inner = self._inner()
        tool = _tool_of(inner, name)
        if tool is None:
            result = await inner.call_tool(name, args, token, call_id)
            text = result.to_text(replace_image="[image]")
            if result.is_error:
                raise _ToolFailed(text)
            return text
        if not isinstance(tool, TaskRunnerTool):
            return _told(tool, await _ran(tool, args, token, call_id, event))
        # An agent or a team that is a tool: what it does until it comes back is its own.
        runner = cast("Any", tool)._task_runner
        work = await run.ahandover(runner.name, source=self._seat.label, how="delegate", text=str(args.get("task", "")))
        try:
            with hosting():
                told = _told(tool, await _ran(tool, args, token, call_id, event))
        except (HarnessError, Suspended):
            raise  # it has not come back: the run ends here, or goes on in there
        except Exception:
            await run.areturned(work)
            raise
        await run.areturned(work, str(told))
        return told

    async def start(self) -> None:
        await self._inner().start()

    async def stop(self) -> None:
        await self._inner().stop()

    async def reset(self) -> None:
        await self._inner().reset()

    async def save_state(self) -> Mapping[str, Any]:
        return await self._inner().save_state()

    async def load_state(self, state: Mapping[str, Any]) -> None:
        await self._inner().load_state(state)

    def _to_config(self) -> Any:
        raise UsageError("a guarded workbench cannot be dumped: what is loaded again would have no gate; guard it anew")


class GuardedStreamWorkbench(GuardedWorkbench, StaticStreamWorkbench):
    """The same for tools that stream. AgentChat streams from `StaticStreamWorkbench` alone, so it has to be one."""

    def __init__(
        self, inner: StaticStreamWorkbench, gate: Gate, *, offer: bool = True, seat: Seat | None = None
    ) -> None:
        GuardedWorkbench.__init__(self, inner, gate, offer=offer, seat=seat)
        # What the base would look into, were one of its methods left as it is: it finds no tool there.
        self._tools: list[BaseTool[Any, Any]] = []
        self._tool_overrides = {}
        self._override_name_to_original = {}

    async def call_tool_stream(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> AsyncGenerator[Any | ToolResult, None]:
        events: asyncio.Queue[Any] = asyncio.Queue()
        task = asyncio.create_task(self._result(name, arguments, cancellation_token, call_id, events.put_nowait))
        task.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            yield await task
        finally:
            if not task.done():  # nobody waits for it any more
                task.cancel()
                await asyncio.wait([task])


def guarded_workbench(inner: Workbench, gate: Gate, seat: Seat, *, offer: bool) -> GuardedWorkbench:
    """A workbench in the hands of one agent. Raises UsageError for one that is guarded under another contract."""
    if isinstance(inner, GuardedWorkbench):
        if inner.gate.contract.digest != gate.contract.digest:
            raise UsageError("this is guarded by a gate of another contract already; build it again for this one")
        return inner.seen_by(seat, offer=offer)
    if isinstance(inner, StaticStreamWorkbench):
        return GuardedStreamWorkbench(inner, gate, offer=offer, seat=seat)
    return GuardedWorkbench(inner, gate, offer=offer, seat=seat)


def tools_of(workbench: Workbench) -> list[Tool]:
    """The tools of a workbench that keeps them in a list."""
    if isinstance(workbench, GuardedWorkbench):
        return tools_of(cast("Any", workbench)._inner())
    if not isinstance(workbench, StaticWorkbench):
        return []
    return list(cast("list[Tool]", cast("Any", workbench)._tools))


_ENDED = "This ends here for now. End your turn."
"""What the model would see when the run was suspended or the trial broke, which is raised as soon as it can be."""


def _ended(name: str) -> ToolResult:
    return ToolResult(name=name, result=[TextResultContent(content=_ENDED)], is_error=True)


def _interrupted(name: str) -> Outcome:
    text = f"{name} was interrupted. It may or may not have been done: do not call it again; escalate to a person."
    return Outcome(status="in_doubt", done="executed", text=text)


def _tool_of(inner: Workbench, name: str) -> Tool | None:
    """The tool behind a name, where a workbench keeps its tools in a list."""
    if not isinstance(inner, StaticWorkbench):
        return None
    parts = cast("Any", inner)  # private, and there is no public way to a result that is not yet text
    original: str = parts._override_name_to_original.get(name, name)
    return next((tool for tool in cast("list[Tool]", parts._tools) if tool.name == original), None)


async def _ran(
    tool: Tool, args: Mapping[str, Any], token: CancellationToken, call_id: str | None, event: Event | None
) -> Any:
    """The tool itself, because a workbench would turn a mapping into Python's text for it, which is no JSON."""
    if event is not None and isinstance(tool, StreamTool):
        return await _streamed(tool, args, token, call_id, event)
    future = asyncio.ensure_future(tool.run_json(args, token, call_id=call_id))
    token.link_future(future)
    return await future


def _told(tool: Tool, raw: Any) -> Any:
    """What a tool came to, by its own way of saying it where it has one."""
    plain = cast("Any", BaseTool).return_value_as_string
    own = cast("Any", type(tool)).return_value_as_string
    return raw if own is plain else tool.return_value_as_string(raw)


async def _streamed(
    tool: StreamTool, args: Mapping[str, Any], token: CancellationToken, call_id: str | None, event: Event
) -> Any:
    """Run a tool that streams: everything but the last goes out as events, the last is the result."""
    last: Any = None
    async for item in tool.run_json_stream(args, token, call_id=call_id):
        if last is not None:
            event(last)
        last = item
    return last
