"""The gate as a middleware of `create_agent`."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, cast

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_NOSTREAM
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.runtime import Runtime

from roadworthy.adapters.calls import OFFERED, refuse_hosted
from roadworthy.adapters.langgraph_call import Result, awrapper, offered_tool, wrapper
from roadworthy.adapters.langgraph_runs import RUN, carried, config_here, configurable, new_words, opened
from roadworthy.adapters.langgraph_screen import from_gate
from roadworthy.adapters.langgraph_turn import areworded, mark, near_user, raise_suspended, reply_of, reworded
from roadworthy.adapters.replies import asettle_last, holds_replies, news_of, settle_last
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run

_KEPT = 1024
"""How many threads a middleware remembers between the beginning and the end of their turn."""


class RoadworthyMiddleware(AgentMiddleware[Any, Any, Any]):
    """The gate as a middleware of `create_agent`. Put it last in the list, so that it stands next to the tools.

    `handovers`: as in `guard`. What agents hand to each other is recorded where the outermost graph is guarded.
    """

    def __init__(self, gate: Gate, *, handovers: Collection[str] = ()) -> None:
        super().__init__()
        self.gate = gate
        self.tools = [offered_tool(extra) for extra in OFFERED]
        self._threads: OrderedDict[str, Run] = OrderedDict()
        self._lock = threading.Lock()
        self._sync = wrapper(gate, self._find, handovers)
        self._async = awrapper(gate, self._find, handovers)

    def _find(self, config: RunnableConfig | None) -> Run | None:
        run = carried(config)
        if run is not None:
            return run
        thread = configurable(config).get("thread_id")
        with self._lock:
            known = self._threads.get(str(thread))
        return known or self._keep(opened(self.gate, config))

    def _keep(self, run: Run | None) -> Run | None:
        if run is not None:
            with self._lock:
                self._threads[run.id] = run
                self._threads.move_to_end(run.id)
                while len(self._threads) > _KEPT:
                    self._threads.popitem(last=False)
        return run

    def _near(self) -> RunnableConfig | None:
        """The config of the node that runs now, where a user is near."""
        config = config_here()
        return config if near_user(config) else None

    def _own(self, config: RunnableConfig | None) -> bool:
        """Whether this middleware hears and says; else whoever has bound the run, or guards the graph, does."""
        return config is not None and carried(config) is None

    def before_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        config = self._near()
        run = self._begun(config)
        if run is None:
            return None
        if self._own(config):
            for words in new_words(state["messages"]):
                run.heard(words)
        return _news(run)

    async def abefore_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        config = self._near()
        run = await asyncio.to_thread(self._begun, config)
        if run is None:
            return None
        if self._own(config):
            for words in new_words(state["messages"]):
                await run.aheard(words)
        return await asyncio.to_thread(_news, run)

    def _begun(self, config: RunnableConfig | None) -> Run | None:
        if config is None:
            return None
        return self._keep(opened(self.gate, config)) if self._own(config) else carried(config)

    def _ended(self) -> Run | None:
        """The run whose turn ends here, where this middleware says what the user is told."""
        config = self._near()
        if config is None:
            return None
        run = carried(config)
        if run is not None:
            raise_suspended(run)
            return None
        with self._lock:
            return self._threads.pop(str(configurable(config).get("thread_id")), None)

    def after_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        run, message = self._ended(), reply_of(state["messages"])
        if run is None or message is None:
            return None
        told = settle_last(run, str(message.text), deliver=True)
        return {"messages": [mark(message.model_copy(deep=True), run, told.outcome, told.text)]}

    async def aafter_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        run, message = self._ended(), reply_of(state["messages"])
        if run is None or message is None:
            return None
        told = await asettle_last(run, str(message.text), deliver=True)
        return {"messages": [mark(message.model_copy(deep=True), run, told.outcome, told.text)]}

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        refuse_hosted(self.gate.contract, _described(request.tools))
        run = self._judging()
        if run is None:
            return handler(request)
        quiet = _quiet(request)
        return reworded(run, lambda extra: handler(_asking(quiet, extra)), _words)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        refuse_hosted(self.gate.contract, _described(request.tools))
        run = await asyncio.to_thread(self._judging)
        if run is None:
            return await handler(request)
        quiet = _quiet(request)

        async def ask(extra: Sequence[BaseMessage]) -> ModelResponse[Any]:
            return await handler(_asking(quiet, extra))

        return await areworded(run, ask, _words)

    def _judging(self) -> Run | None:
        config = self._near()
        run = self._find(config) if config is not None else None
        if run is not None:
            raise_suspended(run)
        return run if holds_replies(self.gate) else None

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Result:
        return self._sync(request, handler)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Result:
        return await self._async(request, handler)


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


def _news(run: Run) -> dict[str, Any] | None:
    told = news_of(run)
    return {"messages": [from_gate(told)]} if told is not None else None
