"""Agents in LangGraph and LangChain: graphs of `create_agent`, graphs with a `ToolNode`, tools that nodes call.

    agent = guard(create_agent(model, tools), gate)                                   # an agent that stands
    agent = create_agent(model, tools, middleware=[..., RoadworthyMiddleware(gate)])  # or as it is built: put it last

    config = {"configurable": {"thread_id": "42", "principal": "support-bot"}}
    answer = agent.invoke({"messages": [user_message]}, config)

Whose run a call belongs to: the run that is bound (`with run.bind():`), and then the application hears and says for
itself; else the run whose id is the `thread_id`, and then the new user messages of the input are heard and the final
reply is said; but not in a graph that a tool runs, whose messages a model wrote. `principal`, `subject`, `facts` and
`capability` are read from the config's `configurable` beside the `thread_id`; a server that lets its clients write
`configurable` must bind the run instead. Where no capability is named, all that the principal may use are open.

A reply is judged before it is told: one that the contract holds back goes back to the model, at most twice, and then
the user is told that a person will look at it. Where the contract says anything of what may be told, what a guarded
graph streams goes out sentence by sentence; a middleware by itself lets no token of a reply out before all of it was
judged. What the model itself reports to callbacks of the application is out of reach for both.

Messages of the name `roadworthy` are the gate's, for the model: what became of held actions, and why a reply was held
back. They are nobody's words, and no application should show them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar, cast

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.base import RunnableBinding
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.constants import TAG_NOSTREAM
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.pregel import Pregel  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked as such
from langgraph.runtime import Runtime
from langgraph.types import Command

from roadworthy.adapters import plain
from roadworthy.adapters.calls import OFFERED, Offered, abring, bring, refuse_hosted
from roadworthy.adapters.langgraph_runs import RUN, carried, config_here, configurable, new_words, opened
from roadworthy.adapters.langgraph_screen import from_gate
from roadworthy.adapters.langgraph_turn import (
    ajudged_node,
    areworded,
    guarded_class,
    judged_node,
    mark,
    near_user,
    raise_suspended,
    reply_of,
    reworded,
)
from roadworthy.adapters.replies import asettle_last, holds_replies, news_of, settle_last
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Outcome
from roadworthy.gate.carry import NotDone
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run

__all__ = ["RoadworthyMiddleware", "gated", "guard"]

G = TypeVar("G")
Result = ToolMessage | Command[Any]

_KEPT = 1024
"""How many threads a middleware remembers between the beginning and the end of their turn."""


# -- a tool call ------------------------------------------------------------------------------------------------------


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

    @property
    def name(self) -> str:
        return self.request.tool_call["name"]

    @property
    def call_id(self) -> str | None:
        return self.request.tool_call["id"]

    def request_with(self, args: Mapping[str, Any]) -> ToolCallRequest:
        call = {**self.request.tool_call, "args": dict(args)}
        tool = self.request.tool
        if isinstance(tool, StructuredTool):
            # The framework turns results into text, some of it no JSON; the gate wants the value itself.
            copy = tool.model_copy(update={"func": self._noting(tool.func), "coroutine": self._anoting(tool.coroutine)})
            return self.request.override(tool_call=cast("Any", call), tool=copy)
        if tool is not None:
            copy = tool.model_copy()
            for method, noted in (("_run", self._noting_errors), ("_arun", self._anoting_errors)):
                if getattr(type(tool), method) is not getattr(BaseTool, method):
                    object.__setattr__(copy, method, noted(getattr(copy, method)))
            return self.request.override(tool_call=cast("Any", call), tool=copy)
        return self.request.override(tool_call=cast("Any", call))

    def _noting(self, fn: Callable[..., Any] | None) -> Callable[..., Any] | None:
        if fn is None:
            return None

        note = self._noting_errors(fn)

        @functools.wraps(fn)
        def noting(*args: Any, **kwargs: Any) -> Any:
            self.raw.append(note(*args, **kwargs))
            return self.raw[-1]

        return noting

    def _anoting(self, fn: Callable[..., Awaitable[Any]] | None) -> Callable[..., Awaitable[Any]] | None:
        if fn is None:
            return None

        note = self._anoting_errors(fn)

        @functools.wraps(fn)
        async def anoting(*args: Any, **kwargs: Any) -> Any:
            self.raw.append(await note(*args, **kwargs))
            return self.raw[-1]

        return anoting

    def _noting_errors(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def noting(*args: Any, **kwargs: Any) -> Any:
            self.reached = True
            try:
                return fn(*args, **kwargs)
            except Exception as error:
                self.error = error
                raise

        return noting

    def _anoting_errors(self, fn: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(fn)
        async def anoting(*args: Any, **kwargs: Any) -> Any:
            self.reached = True
            try:
                return await fn(*args, **kwargs)
            except Exception as error:
                self.error = error
                raise

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


_CARRIED: ContextVar[Any] = ContextVar("roadworthy_langgraph_call", default=None)
"""The call that has passed a gate and is carried now: a graph may be guarded, and have the middleware, too."""

Find = Callable[[RunnableConfig | None], Run | None]


def _wrapper(gate: Gate, find: Find) -> Callable[[ToolCallRequest, Callable[[ToolCallRequest], Any]], Result]:
    def wrap_tool_call(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Result:
        if _CARRIED.get() is cast("Any", request).runtime:
            return execute(request)
        call = _Call(request)

        def run_tool(**args: Any) -> Any:
            token = _CARRIED.set(cast("Any", request).runtime)
            try:
                return call.value(execute(call.request_with(args)))
            except GraphBubbleUp as bubble:
                call.bubbled = bubble
                if isinstance(bubble, GraphInterrupt):
                    raise _NotReached("it waits, and begins anew when the graph goes on") from bubble
                raise
            finally:
                _CARRIED.reset(token)

        run = find(cast("Any", request).runtime.config)
        return call.answer(bring(gate, run, call.name, request.tool_call["args"], run_tool, call_id=call.call_id))

    return wrap_tool_call


def _awrapper(
    gate: Gate, find: Find
) -> Callable[[ToolCallRequest, Callable[[ToolCallRequest], Awaitable[Any]]], Awaitable[Result]]:
    async def awrap_tool_call(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[Any]]) -> Result:
        if _CARRIED.get() is cast("Any", request).runtime:
            return await execute(request)
        call = _Call(request)

        async def run_tool(**args: Any) -> Any:
            token = _CARRIED.set(cast("Any", request).runtime)
            try:
                return call.value(await execute(call.request_with(args)))
            except GraphBubbleUp as bubble:
                call.bubbled = bubble
                if isinstance(bubble, GraphInterrupt):
                    raise _NotReached("it waits, and begins anew when the graph goes on") from bubble
                raise
            finally:
                _CARRIED.reset(token)

        run = find(cast("Any", request).runtime.config)
        outcome = await abring(gate, run, call.name, request.tool_call["args"], run_tool, call_id=call.call_id)
        return call.answer(outcome)

    return awrap_tool_call


def _tool(extra: Offered) -> BaseTool:
    """A tool to offer. Its calls go to the gate; the function behind it is never reached."""

    def unreachable(**_: Any) -> str:
        return "Nothing was done: no gate stands before this tool."

    return StructuredTool(
        name=extra.name, description=extra.description, args_schema=extra.parameters, func=unreachable
    )


# -- guarding what stands ---------------------------------------------------------------------------------------------


def guard(agent: G, gate: Gate, *, messages_key: str = "messages") -> G:
    """Put all tools of a compiled graph, or of one `ToolNode`, behind the gate. Changes it and hands it back.

    Every `ToolNode` of the graph and of its subgraphs is gated, whatever it is wrapped in, and so is one that a node's
    function refers to by name; each invocation is tied to its run. In graphs of `create_agent` the model is offered
    `ask_user` and `escalate`, too. A function that a node calls by itself, and a `ToolNode` that it makes while it
    runs, cannot be seen from outside: put `@gated(gate)` on the function. Raises UsageError where there is no
    `ToolNode` to gate, for a kind of `ToolNode` that runs tools in a way of its own, and for tools that run at the
    model's provider, which no gate can see.
    """
    _guard(agent, gate, messages_key)
    return agent


def _guard(agent: Any, gate: Gate, messages_key: str) -> None:
    if isinstance(agent, ToolNode):
        _refuse_own_kind(agent)
        _gate_node(agent, gate, carried)
        return
    if not isinstance(agent, Pregel):
        raise UsageError(
            f"guard() takes a compiled graph or a ToolNode, not a {type(agent).__name__}; "
            "put @gated(gate) on functions that your nodes call"
        )
    graph = cast("Any", agent)
    kind: type[Any] = graph.__class__
    known = getattr(kind, "roadworthy_gate", None)
    if known is not None:
        if known.contract.digest == gate.contract.digest:
            return
        raise UsageError("this graph is guarded by a gate of another contract already; build it again for this one")
    walk = _Walk(graph)
    if not walk.nodes:
        raise UsageError(
            "this graph has no ToolNode, so there is nothing that guard() could put behind the gate; "
            "put @gated(gate) on the functions that its nodes call"
        )
    for node in walk.nodes:
        _refuse_own_kind(node)
    refuse_hosted(gate.contract, walk.bound_tools)
    for found in walk.graphs:
        _offer(found, gate)
    for node in walk.nodes:
        _gate_node(node, gate, carried)
    object.__setattr__(graph, "__class__", guarded_class(kind, gate, messages_key))


class _Walk:
    """Everything that a graph would run, as far as it can be seen from outside: its tool nodes and its subgraphs.

    Followed are the runnables that a runnable holds (fallbacks, retries, branches, parallel steps), and what a function
    refers to by name, in its closure, its defaults or its module. Tools and models are not: tools are behind the gate
    once their node is.
    """

    def __init__(self, graph: Any) -> None:
        self.nodes: list[ToolNode] = []
        self.graphs: list[Any] = []
        self.bound_tools: list[Any] = []
        """What models were bound to, as far as it can be seen."""
        self._seen: dict[int, Any] = {}
        """What was looked at, by its id; held, so that no id comes up twice."""
        self._waiting: list[Any] = [graph]
        while self._waiting:
            part = self._waiting.pop()
            if id(part) not in self._seen:
                self._seen[id(part)] = part
                self._look(part)

    def _look(self, part: Any) -> None:
        if isinstance(part, ToolNode):
            self.nodes.append(part)
        elif isinstance(part, Pregel):
            graph = cast("Any", part)
            self.graphs.append(graph)
            self._waiting += [held for node in graph.nodes.values() for held in (node.bound, *node.writers)]
            self._waiting += [found for _, found in graph.get_subgraphs()]
        elif isinstance(part, BaseTool | BaseLanguageModel | type | str | bytes):
            return
        elif isinstance(part, Mapping):
            self._waiting += cast("Mapping[Any, Any]", part).values()
        elif isinstance(part, list | tuple | set | frozenset):
            self._waiting += cast("list[Any]", part)
        elif isinstance(part, FunctionType):
            self._waiting += _named_in(part)
        elif isinstance(part, MethodType):
            owner = cast("Any", part.__self__)
            self._waiting += [part.__func__, *getattr(owner, "__dict__", {}).values()]
            if isinstance(owner, Runnable | tuple):
                self._waiting.append(cast("Any", owner))
        elif isinstance(part, functools.partial):
            made = cast("functools.partial[Any]", part)
            self._waiting += [made.func, *made.args, *made.keywords.values()]
        elif isinstance(part, RunnableBinding):
            binding = cast("Any", part)
            self.bound_tools += binding.kwargs.get("tools") or ()
            self._waiting.append(binding.bound)
        elif isinstance(part, Runnable):
            self._waiting += getattr(cast("Any", part), "__dict__", {}).values()
        elif not _of_others(type(cast("object", part))) and callable(cast("object", part)):
            # An object that is called as a function is.
            self._waiting += [type(part).__call__, *getattr(part, "__dict__", {}).values()]


_OTHERS = frozenset({*sys.stdlib_module_names, "langchain", "langchain_core", "langgraph", "pydantic", "roadworthy"})
"""Whose functions refer to nothing of the application's by a global name."""


def _of_others(thing: Any) -> bool:
    module = getattr(thing, "__module__", None) or ""
    return module.partition(".")[0] in _OTHERS and module != "__main__"


def _named_in(function: FunctionType) -> list[Any]:
    """What a function can reach by name. An attribute of a module or of an object counts when its name is written."""
    found: list[Any] = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # a name that is not bound yet
            found.append(cell.cell_contents)
    if (wrapped := getattr(function, "__wrapped__", None)) is not None:
        found.append(wrapped)
    codes, names = [function.__code__], set[str]()
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    if not _of_others(function):
        found += [function.__globals__[name] for name in names if name in function.__globals__]
    for holder in list(found):
        if isinstance(holder, ModuleType) and holder.__name__.partition(".")[0] in _OTHERS:
            continue
        if not isinstance(holder, type | Runnable | FunctionType | MethodType):
            attributes = cast("dict[str, Any]", getattr(holder, "__dict__", {}))
            found += [attributes[name] for name in names if name in attributes]
    return found


_RUNS_TOOLS = ("_func", "_afunc", "_run_one", "_arun_one", "_execute_tool_sync", "_execute_tool_async")
"""The methods of a ToolNode between which its wrappers stand."""


def _refuse_own_kind(node: ToolNode) -> None:
    """Refuse a ToolNode in which the gate would stand beside the way to its tools."""
    kind: Any = type(node)
    own = [name for name in _RUNS_TOOLS if getattr(kind, name, None) is not getattr(ToolNode, name, None)]
    if own or not hasattr(node, "_wrap_tool_call"):
        why = f"overrides {', '.join(own)}" if own else "takes no wrap_tool_call"
        raise UsageError(
            f"the ToolNode {node.name!r} is a {kind.__name__} that {why}, so its tools could run past the gate; "
            "use a plain ToolNode and give it what you need as wrap_tool_call"
        )


def _gate_node(node: ToolNode, gate: Gate, find: Find) -> None:
    """Make the gate the innermost wrapper of a ToolNode, so that every retry of an outer one passes it again."""
    known = getattr(node, "roadworthy_gate", None)
    if known is not None:
        if known.contract.digest == gate.contract.digest:
            return
        raise UsageError("this ToolNode is guarded by a gate of another contract already; build it again for this one")
    inner: Any = _wrapper(gate, find)
    ainner: Any = _awrapper(gate, find)
    parts = cast("Any", node)  # the wrappers are arguments of the constructor, and private afterwards
    outer, aouter = parts._wrap_tool_call, parts._awrap_tool_call

    def wrap(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Any:
        def call_inner(changed: ToolCallRequest) -> Any:
            return inner(changed, execute)

        return outer(request, call_inner)

    async def awrap(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[Any]]) -> Any:
        async def call_inner(changed: ToolCallRequest) -> Any:
            return await ainner(changed, execute)

        return await aouter(request, call_inner)

    parts._wrap_tool_call = wrap if outer is not None else inner
    if aouter is not None:
        parts._awrap_tool_call = awrap
    elif outer is None:
        parts._awrap_tool_call = ainner
    # With a blocking wrapper only, the node itself runs that one in async code, and our blocking one inside it.
    parts.roadworthy_gate = gate


def _offer(graph: Any, gate: Gate) -> None:
    """Judge what the model of a `create_agent` graph says, offer it our tools, and refuse tools that run elsewhere.

    `create_agent` keeps the model's tools in a list that only its model node knows. Where a release of LangChain keeps
    them elsewhere, nothing is offered, replies are judged when the graph has ended, and nothing else changes.
    """
    nodes = getattr(graph, "nodes", {})
    model, tools = nodes.get("model"), nodes.get("tools")
    node = tools.bound if tools is not None else None
    function = getattr(model.bound, "func", None) if model is not None else None
    cells = getattr(function, "__closure__", None) or ()
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    listed: Any = next((c.cell_contents for n, c in zip(names, cells, strict=False) if n == "default_tools"), None)
    if not isinstance(listed, list) or model is None or function is None:
        return
    shown = cast("list[Any]", listed)
    refuse_hosted(gate.contract, shown)
    model.bound.func = judged_node(function, gate)
    if model.bound.afunc is not None:
        model.bound.afunc = ajudged_node(model.bound.afunc, gate)
    if not isinstance(node, ToolNode):
        return
    for extra in OFFERED:
        if extra.name not in node.tools_by_name:
            tool = _tool(extra)
            node.tools_by_name[extra.name] = tool
            shown.append(tool)


# -- guarding while it is built ---------------------------------------------------------------------------------------


class RoadworthyMiddleware(AgentMiddleware[Any, Any, Any]):
    """The gate as a middleware of `create_agent`. Put it last in the list, so that it stands next to the tools."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate
        self.tools = [_tool(extra) for extra in OFFERED]
        self._threads: OrderedDict[str, Run] = OrderedDict()
        self._lock = threading.Lock()
        self._sync = _wrapper(gate, self._find)
        self._async = _awrapper(gate, self._find)

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


# -- functions that nodes call ----------------------------------------------------------------------------------------


def gated(gate: Gate, name: str | None = None) -> Callable[[plain.F], plain.F]:
    """Put a function that a node calls by itself behind the gate, blocking or async; see `adapters.plain.gated`.

    The run is the bound one, or the one of the guarded graph that the node belongs to.
    """
    return plain.gated(gate, name, run=lambda: carried(config_here()))
