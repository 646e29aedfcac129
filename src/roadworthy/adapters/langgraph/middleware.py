"""The gate as a middleware of `create_agent`."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, NotRequired, cast
from uuid import uuid4

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels import UntrackedValue  # pyright: ignore[reportMissingTypeStubs]
from langgraph.constants import TAG_NOSTREAM
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.runtime import Runtime

from roadworthy.adapters.calls import OFFERED, refuse_hosted
from roadworthy.adapters.langgraph.call import Result, awrapper, offered_tool, wrapper
from roadworthy.adapters.langgraph.runs import RUN, carried, config_here, configurable, new_words, opened
from roadworthy.adapters.langgraph.screen import from_gate
from roadworthy.adapters.langgraph.turn import areworded, mark, near_user, raise_suspended, reply_of, reworded
from roadworthy.adapters.replies import asettle_last, holds_replies, news_of, settle_last
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run

_KEPT = 1024
"""How many runs a middleware remembers between the beginning and the end of their turn."""
_TOKEN = "roadworthy_run"


class _State(AgentState[Any]):
    roadworthy_run: NotRequired[Annotated[str, UntrackedValue, PrivateStateAttr]]
    """Which bound run this invocation belongs to. It is not kept: who goes on with a thread may have bound another."""


class RoadworthyMiddleware(AgentMiddleware[Any, Any, Any]):
    """The gate as a middleware of `create_agent`. Put it last in the list, so that it stands next to the tools.

    `handovers`: as in `guard`. What agents hand to each other is recorded where the outermost graph is guarded.
    """

    state_schema = _State

    def __init__(self, gate: Gate, *, handovers: Collection[str] = ()) -> None:
        super().__init__()
        self.gate = gate
        self.tools = [offered_tool(extra) for extra in OFFERED]
        self._threads: OrderedDict[str, Run] = OrderedDict()
        self._lock = threading.Lock()
        self._bound: OrderedDict[str, Run] = OrderedDict()
        self._handovers = handovers

    def _find(self, config: RunnableConfig | None, state: Any) -> Run | None:
        run = self._carried(config, state)
        if run is not None:
            return run
        thread = configurable(config).get("thread_id")
        with self._lock:
            known = self._threads.get(str(thread))
        return known or self._keep(opened(self.gate, config))

    def _keep(self, run: Run | None) -> Run | None:
        if run is not None:
            _remember(self._threads, run.id, run, self._lock)
        return run

    def _carried(self, config: RunnableConfig | None, state: Any) -> Run | None:
        """The run that travels with an invocation, or was bound when it began.

        A stream's caller may have bound another run by the time it asks for the next step.
        """
        token = cast("Mapping[str, Any]", state).get(_TOKEN) if isinstance(state, Mapping) else None
        with self._lock:
            begun = self._bound.get(token) if isinstance(token, str) else None
        return carried(config) if begun is None or configurable(config).get(RUN) is not None else begun

    def _pinned(self, config: RunnableConfig | None) -> dict[str, Any]:
        """Remember the bound run for the rest of this invocation."""
        run = carried(config)
        if run is None or configurable(config).get(RUN) is not None:
            return {}
        token = uuid4().hex
        _remember(self._bound, token, run, self._lock)
        return {_TOKEN: token}

    def _near(self) -> RunnableConfig | None:
        """The config of the node that runs now, where a user is near."""
        config = config_here()
        return config if near_user(config) else None

    def _own(self, config: RunnableConfig | None) -> bool:
        """Whether this middleware hears and says; else whoever has bound the run, or guards the graph, does."""
        return config is not None and carried(config) is None

    def before_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        config = self._near()
        pinned = self._pinned(config_here())
        run = self._begun(config)
        if run is None:
            return pinned or None
        if self._own(config):
            for words in new_words(state["messages"]):
                run.heard(words)
        return {**pinned, **_news(run)} or None

    async def abefore_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        config = self._near()
        pinned = self._pinned(config_here())
        run = await asyncio.to_thread(self._begun, config)
        if run is None:
            return pinned or None
        if self._own(config):
            for words in new_words(state["messages"]):
                await run.aheard(words)
        return {**pinned, **await asyncio.to_thread(_news, run)} or None

    def _begun(self, config: RunnableConfig | None) -> Run | None:
        if config is None:
            return None
        return self._keep(opened(self.gate, config)) if self._own(config) else carried(config)

    def _ended(self, state: Any) -> Run | None:
        """The run whose turn ends here, where this middleware says what the user is told."""
        config = self._near()
        run = self._carried(config or config_here(), state)
        with self._lock:
            self._bound.pop(str(state.get(_TOKEN)), None)
        if config is None:
            return None
        if run is not None:
            raise_suspended(run)
            return None
        with self._lock:
            return self._threads.pop(str(configurable(config).get("thread_id")), None)

    def after_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        run, message = self._ended(state), reply_of(state["messages"])
        if run is None or message is None:
            return None
        told = settle_last(run, str(message.text), deliver=True)
        return {"messages": [mark(message.model_copy(deep=True), run, told.outcome, told.text)]}

    async def aafter_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        run, message = self._ended(state), reply_of(state["messages"])
        if run is None or message is None:
            return None
        told = await asettle_last(run, str(message.text), deliver=True)
        return {"messages": [mark(message.model_copy(deep=True), run, told.outcome, told.text)]}

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        refuse_hosted(self.gate.contract, _described(request.tools))
        run = self._judging(request.state)
        if run is None:
            return handler(request)
        quiet = _quiet(request)
        return reworded(run, lambda extra: handler(_asking(quiet, extra)), _words)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        refuse_hosted(self.gate.contract, _described(request.tools))
        run = await asyncio.to_thread(self._judging, request.state)
        if run is None:
            return await handler(request)
        quiet = _quiet(request)

        async def ask(extra: Sequence[BaseMessage]) -> ModelResponse[Any]:
            return await handler(_asking(quiet, extra))

        return await areworded(run, ask, _words)

    def _judging(self, state: Any) -> Run | None:
        config = self._near()
        run = self._find(config, state) if config is not None else None
        if run is not None:
            raise_suspended(run)
        return run if holds_replies(self.gate) else None

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Result:
        find = functools.partial(self._find, state=request.state)
        return wrapper(self.gate, find, self._handovers)(request, handler)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Result:
        find = functools.partial(self._find, state=request.state)
        return await awrapper(self.gate, find, self._handovers)(request, handler)


def _described(tools: Sequence[Any]) -> list[Any]:
    return [tool for tool in tools if isinstance(tool, Mapping)]


def _words(response: Any) -> AIMessage | None:
    messages: Sequence[Any] = getattr(response, "result", None) or ()
    return next((message for message in reversed(messages) if isinstance(message, AIMessage)), None)


def _asking(request: ModelRequest[Any], extra: Sequence[BaseMessage]) -> ModelRequest[Any]:
    return request.override(messages=[*request.messages, *cast("Any", extra)]) if extra else request


def _quiet(request: ModelRequest[Any]) -> ModelRequest[Any]:
    """Let no token out before all of the reply was judged, unless the guarded graph around it sees to that."""
    if configurable(config_here()).get(RUN) is not None:
        return request
    model = request.model
    return request.override(model=model.model_copy(update={"tags": [*(model.tags or ()), TAG_NOSTREAM]}))


def _news(run: Run) -> dict[str, Any]:
    told = news_of(run)
    return {"messages": [from_gate(told)]} if told is not None else {}


def _remember(runs: OrderedDict[str, Run], key: str, run: Run, lock: threading.Lock) -> None:
    with lock:
        runs[key] = run
        runs.move_to_end(key)
        while len(runs) > _KEPT:
            runs.popitem(last=False)
