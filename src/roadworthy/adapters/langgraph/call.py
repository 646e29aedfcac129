"""One tool call of LangGraph: the gate has it run in the framework's own way, and what came of it goes back."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from roadworthy.adapters.calls import Offered, abring, bring, inside
from roadworthy.adapters.langgraph.runs import space
from roadworthy.adapters.langgraph.trail import Trail, agent_here, trail_of
from roadworthy.core.errors import Suspended
from roadworthy.core.types import Outcome, Reason
from roadworthy.gate.carry import NotDone
from roadworthy.gate.decide import find_tool
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run

Result = ToolMessage | Command[Any]


class _ToolFailed(Exception):
    """The framework says that the tool failed; its text goes to the model."""


class _NotReached(NotDone):
    """The framework turned the call down before the tool began, or the tool waits to be begun anew."""


class _Call:
    """One tool call: hands the framework's own way of running it to the gate, and makes the result from the outcome."""

    def __init__(self, request: ToolCallRequest) -> None:
        self.request = request
        self.result: Any = None
        self.raw: list[Any] = []
        self.reached = False
        self.error: Exception | None = None
        """What the tool itself raised, though the framework may have made a message of it."""
        self.bubbled: GraphBubbleUp | None = None
        self.given: Mapping[str, Any] | None = None
        """The arguments that the gate has let through."""
        self.through = False
        """An inner gate has let it through as one that was judged."""

    @property
    def name(self) -> str:
        return self.request.tool_call["name"]

    @property
    def call_id(self) -> str | None:
        return self.request.tool_call["id"]

    @property
    def config(self) -> RunnableConfig:
        return cast("Any", self.request).runtime.config

    def trail(self, run: Run | None) -> Trail | None:
        """The trail of this run, where one listens; it learns of the call."""
        trail = trail_of(self.config)
        if trail is None or trail.run is not run:
            return None
        trail.writes(self.config, self.name, _words(self.request.tool_call["args"]))
        return trail

    def is_it(self, request: ToolCallRequest) -> bool:
        """Whether this is the call that the gate has let through, unchanged."""
        mine, other = cast("Any", self.request).runtime, cast("Any", request).runtime
        if mine is not other and (space(mine.config), mine.tool_call_id) != (space(other.config), other.tool_call_id):
            return False
        return request.tool_call["name"] == self.name and request.tool_call["args"] == self.given

    def left(self, bubble: GraphBubbleUp) -> Exception:
        """What the gate is told when the tool sends control elsewhere."""
        self.bubbled = bubble
        if isinstance(bubble, GraphInterrupt):
            return _NotReached("it waits, and begins anew when the graph goes on")
        return bubble

    def request_with(self, args: Mapping[str, Any]) -> ToolCallRequest:
        self.given = dict(args)
        call = {**self.request.tool_call, "args": dict(args)}
        tool = self.request.tool
        if isinstance(tool, StructuredTool):
            # The framework turns results into text, some of it no JSON; the gate wants the value itself.
            noted = {
                "func": self._noting(tool.func, keeps=True) if tool.func is not None else None,
                "coroutine": self._anoting(tool.coroutine, keeps=True) if tool.coroutine is not None else None,
            }
            copy = tool.model_copy(update=noted)
            return self.request.override(tool_call=cast("Any", call), tool=copy)
        if tool is not None:
            copy = tool.model_copy()
            for method, noted in (("_run", self._noting), ("_arun", self._anoting)):
                if getattr(type(tool), method) is not getattr(BaseTool, method):
                    object.__setattr__(copy, method, noted(getattr(copy, method)))
            return self.request.override(tool_call=cast("Any", call), tool=copy)
        return self.request.override(tool_call=cast("Any", call))

    def _noting(self, fn: Callable[..., Any], *, keeps: bool = False) -> Callable[..., Any]:
        """The function, and a note of what it raises; `keeps`: of what it returns, too."""

        @functools.wraps(fn)
        def noting(*args: Any, **kwargs: Any) -> Any:
            self.reached = True
            try:
                result = fn(*args, **kwargs)
            except Exception as error:
                self.error = error
                raise
            if keeps:
                self.raw.append(result)
            return result

        return noting

    def _anoting(self, fn: Callable[..., Awaitable[Any]], *, keeps: bool = False) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(fn)
        async def anoting(*args: Any, **kwargs: Any) -> Any:
            self.reached = True
            try:
                result = await fn(*args, **kwargs)
            except Exception as error:
                self.error = error
                raise
            if keeps:
                self.raw.append(result)
            return result

        return anoting

    def value(self, result: Any) -> Any:
        """What the tool returned, for the gate."""
        self.result = result
        if not isinstance(result, ToolMessage):
            return _told(result)
        if self.error is not None and not isinstance(self.error, ToolException):
            raise self.error  # for the gate to judge: after a timeout, say, nobody knows what was done
        if result.status == "error":
            raise (_ToolFailed if self.reached or self.request.tool is None else _NotReached)(str(result.text))
        if not self.raw or isinstance(self.raw[-1], BaseMessage):
            return str(result.text)
        raw = self.raw[-1]
        tool = self.request.tool
        return raw[0] if tool is not None and tool.response_format == "content_and_artifact" else raw

    def answer(self, outcome: Outcome) -> Result:
        """What goes back to the graph. The model sees the outcome's text, whatever the tool itself said."""
        if self.bubbled is not None:
            raise self.bubbled
        if outcome.ok and self.result is not None and not isinstance(self.result, ToolMessage):
            return cast("Result", self.result)  # commands to the graph pass unharmed
        message = self.result if isinstance(self.result, ToolMessage) else None
        return ToolMessage(
            content=outcome.text,
            name=self.name,
            tool_call_id=self.call_id or "",
            status="success" if outcome.ok else "error",
            artifact=message.artifact if message is not None and outcome.ok else None,
        )


def _told(result: Any) -> str | None:
    """What commands to the graph tell the model: the text of the tool message among their updates."""
    for part in cast("list[Any]", result) if isinstance(result, list) else [result]:
        update = part.update if isinstance(part, Command) else {"messages": [part]}
        messages = cast("Mapping[str, Any]", update).get("messages") if isinstance(update, Mapping) else None
        for message in cast("list[Any]", messages) if isinstance(messages, list) else ():
            if isinstance(message, ToolMessage):
                return str(message.text)
    return None


_CARRIED: ContextVar[_Call | None] = ContextVar("roadworthy_langgraph_call", default=None)
"""The call that has passed a gate and is carried now."""

Find = Callable[[RunnableConfig | None], Run | None]


def carries(tool: str) -> bool:
    """Whether a call of this tool has passed a gate and is carried now."""
    call = _CARRIED.get()
    return call is not None and call.name == tool


_STOPPED: ContextVar[list[Suspended] | None] = ContextVar("roadworthy_langgraph_stopped", default=None)
"""What the run waits for, as calls of the tool node that runs now have learnt."""


@contextmanager
def stopping() -> Generator[None]:
    """While a tool node runs: what stops the run is raised when all of its calls have ended, and none goes on alone.

    The node itself would make a message of it, or leave the other calls behind.
    """
    stopped: list[Suspended] = []
    token = _STOPPED.set(stopped)
    try:
        yield
    finally:
        _STOPPED.reset(token)
    if stopped:
        raise stopped[0]


def _stops(request: ToolCallRequest, waits: Suspended) -> ToolMessage:
    stopped = _STOPPED.get()
    if stopped is None:
        raise waits
    stopped.append(waits)
    call = request.tool_call
    return ToolMessage(content=str(waits), name=call["name"], tool_call_id=call["id"] or "", status="error")


def _let_through(request: ToolCallRequest) -> bool:
    """Whether this very call has passed a gate already: a graph may be guarded, and have the middleware, too.

    Once only, and with the arguments that were judged: what stands between the two may try again, or change them.
    """
    call = _CARRIED.get()
    if call is None or call.through or not call.is_it(request):
        return False
    call.through = True
    return True


_MAKES_HANDOVERS = ("langgraph_supervisor.handoff", "langgraph_swarm.handoff")
"""The modules of LangGraph's own libraries whose tools give way to another agent, and do nothing else."""


def is_handover(tool: BaseTool | None, gate: Gate) -> bool:
    """Whether a tool is known to do nothing but give way to another agent. One that the contract lists is an action.

    By where its function is from, and not by what a tool says of itself: its server may have written that.
    """
    made_by = getattr(getattr(tool, "func", None), "__module__", None)
    return made_by in _MAKES_HANDOVERS and isinstance(find_tool(gate.policy, cast("BaseTool", tool).name), Reason)


def wrapper(
    gate: Gate, find: Find, handovers: Collection[str] = ()
) -> Callable[[ToolCallRequest, Callable[[ToolCallRequest], Any]], Result]:
    """The gate as a `wrap_tool_call`. `handovers` are tools that only give way to other agents of the application."""

    def wrap_tool_call(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Result:
        if _let_through(request):
            return execute(request)
        try:
            return brought(request, execute)
        except Suspended as waits:
            return _stops(request, waits)

    def brought(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Result:
        call = _Call(request)
        run = find(call.config)
        trail = call.trail(run)
        if call.name in handovers or is_handover(request.tool, gate):
            with inside():
                return execute(request)
        again = False
        if trail is not None:
            again = trail.asks(call.config, call.call_id)
            trail.flush()
        agent = agent_here(call.config, run, call.call_id)

        def run_tool(**args: Any) -> Any:
            call.through = False
            token = _CARRIED.set(call)
            try:
                return call.value(execute(call.request_with(args)))
            except GraphBubbleUp as bubble:
                raise call.left(bubble) from bubble
            finally:
                _CARRIED.reset(token)

        given = request.tool_call["args"]
        outcome = bring(gate, run, call.name, given, run_tool, call_id=call.call_id, agent=agent, again=again)
        return call.answer(outcome)

    return wrap_tool_call


def awrapper(
    gate: Gate, find: Find, handovers: Collection[str] = ()
) -> Callable[[ToolCallRequest, Callable[[ToolCallRequest], Awaitable[Any]]], Awaitable[Result]]:
    """`wrapper` for async code."""

    async def awrap_tool_call(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[Any]]) -> Result:
        if _let_through(request):
            return await execute(request)
        try:
            return await brought(request, execute)
        except Suspended as waits:
            return _stops(request, waits)

    async def brought(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[Any]]) -> Result:
        call = _Call(request)
        run = find(call.config)
        trail = call.trail(run)
        if call.name in handovers or is_handover(request.tool, gate):
            with inside():
                return await execute(request)
        again = False
        if trail is not None:
            again = trail.asks(call.config, call.call_id)
            if trail.waits:
                await asyncio.to_thread(trail.flush)
        agent = agent_here(call.config, run, call.call_id)

        async def run_tool(**args: Any) -> Any:
            call.through = False
            token = _CARRIED.set(call)
            try:
                return call.value(await execute(call.request_with(args)))
            except GraphBubbleUp as bubble:
                raise call.left(bubble) from bubble
            finally:
                _CARRIED.reset(token)

        given = request.tool_call["args"]
        outcome = await abring(gate, run, call.name, given, run_tool, call_id=call.call_id, agent=agent, again=again)
        return call.answer(outcome)

    return awrap_tool_call


def _words(args: Mapping[str, Any]) -> str:
    """What a model writes to the agent that it gives way to."""
    texts = {name: text for name, text in args.items() if isinstance(text, str)}
    return next(iter(texts.values())) if len(texts) == 1 else "; ".join(f"{n}: {text}" for n, text in texts.items())


def offered_tool(extra: Offered) -> BaseTool:
    """A tool to offer. Its calls go to the gate; the function behind it is never reached."""

    def unreachable(**_: Any) -> str:
        return "Nothing was done: no gate stands before this tool."

    return StructuredTool(
        name=extra.name, description=extra.description, args_schema=extra.parameters, func=unreachable
    )
