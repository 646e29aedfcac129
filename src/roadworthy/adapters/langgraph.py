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

A reply that is streamed token by token is on the screen before it is whole; `stream` holds back its last chunk only.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar, cast

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.utils import convert_to_messages
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.pregel import Pregel  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked as such
from langgraph.runtime import Runtime
from langgraph.types import Command

from roadworthy.adapters import plain
from roadworthy.adapters.calls import OFFERED, Offered, abring, bring, inside_tool
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Outcome
from roadworthy.gate.carry import NotDone
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run, current_run

__all__ = ["RoadworthyMiddleware", "gated", "guard"]

G = TypeVar("G")
Result = ToolMessage | Command[Any]

_RUN = "__roadworthy_run"
"""Where a run travels in `configurable`: keys that begin so are kept out of checkpoints and traces."""

_KEPT = 1024
"""How many threads a middleware remembers between the beginning and the end of their turn."""


# -- whose run a call belongs to --------------------------------------------------------------------------------------


def _configurable(config: RunnableConfig | None) -> Mapping[str, Any]:
    return (config or {}).get("configurable") or {}


def _config() -> RunnableConfig:
    """The config of the node or tool that runs now; empty outside a graph."""
    try:
        return get_config()
    except RuntimeError:
        return {}


def _space(config: RunnableConfig | None) -> str:
    """Where in a nest of graphs something runs: `node:task`, joined by `|`; empty outside all graphs."""
    return _configurable(config).get("checkpoint_ns") or ""


def _carried(config: RunnableConfig | None) -> Run | None:
    run = _configurable(config).get(_RUN)
    return run if isinstance(run, Run) else current_run()


def _opened(gate: Gate, config: RunnableConfig | None) -> Run | None:
    """The run of the thread, created or opened again; None where the config names no thread."""
    given = _configurable(config)
    thread = given.get("thread_id")
    if thread is None:
        return None
    principals = gate.contract.principals
    principal = given.get("principal") or (next(iter(principals)) if len(principals) == 1 else None)
    capability = given.get("capability")
    if capability is None:
        spec = principals.get(principal) if principal is not None else None
        capability = spec.capabilities if spec is not None else tuple(gate.contract.capabilities)
    return gate.run(
        id=str(thread),
        principal=principal,
        subject=given.get("subject"),
        facts=given.get("facts"),
        capability=capability,
    )


def _new_words(messages: Sequence[BaseMessage]) -> list[str]:
    """What the user says in this turn: the user messages at the end of the input, after any other message."""
    words: list[str] = []
    for message in reversed(messages):
        if not isinstance(message, HumanMessage):
            break
        words.insert(0, str(message.text))
    return words


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


Find = Callable[[RunnableConfig | None], Run | None]


def _wrapper(gate: Gate, find: Find) -> Callable[[ToolCallRequest, Callable[[ToolCallRequest], Any]], Result]:
    def wrap_tool_call(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Result:
        call = _Call(request)

        def run_tool(**args: Any) -> Any:
            try:
                return call.value(execute(call.request_with(args)))
            except GraphBubbleUp as bubble:
                call.bubbled = bubble
                if isinstance(bubble, GraphInterrupt):
                    raise _NotReached("it waits, and begins anew when the graph goes on") from bubble
                raise

        run = find(cast("Any", request).runtime.config)
        return call.answer(bring(gate, run, call.name, request.tool_call["args"], run_tool, call_id=call.call_id))

    return wrap_tool_call


def _awrapper(
    gate: Gate, find: Find
) -> Callable[[ToolCallRequest, Callable[[ToolCallRequest], Awaitable[Any]]], Awaitable[Result]]:
    async def awrap_tool_call(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[Any]]) -> Result:
        call = _Call(request)

        async def run_tool(**args: Any) -> Any:
            try:
                return call.value(await execute(call.request_with(args)))
            except GraphBubbleUp as bubble:
                call.bubbled = bubble
                if isinstance(bubble, GraphInterrupt):
                    raise _NotReached("it waits, and begins anew when the graph goes on") from bubble
                raise

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


# -- the reply --------------------------------------------------------------------------------------------------------


def _reply(messages: Any) -> AIMessage | None:
    """The last message, where it is words for the user."""
    if not isinstance(messages, Sequence) or not messages:
        return None
    last = cast("Sequence[Any]", messages)[-1]
    if not isinstance(last, AIMessage) or isinstance(last, AIMessageChunk):
        return None
    return last if not last.tool_calls and not last.invalid_tool_calls and str(last.text) else None


def _mark(message: AIMessage, run: Run, outcome: Outcome) -> AIMessage:
    """Say on the message what came of the reply: in shadow it is `simulated`, and the application keeps it back."""
    message.response_metadata["roadworthy"] = {"run": run.id, "status": outcome.status, "done": outcome.done}
    if not outcome.ok:
        message.content = outcome.text
    return message


class _Turn:
    """One invocation of a guarded graph."""

    def __init__(self, gate: Gate, messages_key: str, given: Any, config: RunnableConfig | None) -> None:
        around = _config()
        outer = config if config is not None and "configurable" in config else around
        self.key = messages_key
        self.last: AIMessage | None = None
        self.tokens: tuple[str | None, str] = (None, "")
        """Id and text so far of the message whose tokens pass by."""
        self.ours = False
        run = current_run() or _carried(outer)
        if run is None:
            run = _opened(gate, outer)
            # What a node of another graph puts in comes from there, and what comes out goes there: no user is near.
            self.ours = run is not None and not (_space(outer) or _space(around) or inside_tool())
            if run is not None and self.ours:
                for words in _new_words(self._messages(given)):
                    run.heard(words)
        self.run = run
        self.config: RunnableConfig = {**(config or {})}
        if run is not None:
            self.config["configurable"] = {**_configurable(outer), _RUN: run}

    def _messages(self, given: Any) -> list[BaseMessage]:
        found: Any = (
            cast("Mapping[str, Any]", given).get(self.key)
            if isinstance(given, Mapping)
            else getattr(given, self.key, None)
        )
        if found is None or isinstance(given, Command):
            return []
        return list(convert_to_messages(cast("list[Any]", found) if isinstance(found, list) else [found]))

    def look(self, chunk: Any) -> None:
        """Remember the latest reply that passes by, in whichever form the stream has."""
        if isinstance(chunk, AIMessageChunk):
            known, text = self.tokens
            self.tokens = (chunk.id, (text if chunk.id == known else "") + str(chunk.text))
        elif isinstance(chunk, AIMessage):
            self.last = _reply([chunk]) or self.last
        elif isinstance(chunk, Mapping):
            fields = cast("Mapping[str, Any]", chunk)
            reply = _reply(fields.get(self.key))
            if reply is not None:
                self.last = reply
                return
            for inner in fields.values():
                if isinstance(inner, Mapping | AIMessage | tuple):
                    self.look(inner)
        elif isinstance(chunk, tuple):
            for inner in cast("tuple[Any, ...]", chunk):
                if isinstance(inner, Mapping | AIMessage):
                    self.look(inner)

    def say(self) -> None:
        """At the end: the reply passes the gate before the last chunk goes out."""
        if self.run is None or not self.ours:
            return
        if self.last is not None:
            _mark(self.last, self.run, self.run.say(str(self.last.text)))
        elif self.tokens[1]:
            self.run.say(self.tokens[1])


def _guarded_class(kind: type[Any], gate: Gate, messages_key: str) -> type[Any]:
    """The graph's own class, with every invocation tied to a run. (All of `invoke`, `batch` and events are streams.)"""

    def stream(self: Any, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        turn = _Turn(gate, messages_key, input, config)
        held: list[Any] = []
        for chunk in kind.stream(self, input, turn.config, **kwargs):
            yield from held
            turn.look(chunk)
            held = [chunk]
        turn.say()
        yield from held

    async def astream(self: Any, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        turn = await asyncio.to_thread(_Turn, gate, messages_key, input, config)
        held: list[Any] = []
        async for chunk in kind.astream(self, input, turn.config, **kwargs):
            for kept in held:
                yield kept
            turn.look(chunk)
            held = [chunk]
        await asyncio.to_thread(turn.say)
        for kept in held:
            yield kept

    namespace = {"stream": stream, "astream": astream, "roadworthy_gate": gate, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind,), namespace)


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
        _gate_node(agent, gate, _carried)
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
    for found in walk.graphs:
        _offer(found, gate)
    for node in walk.nodes:
        _gate_node(node, gate, _carried)
    object.__setattr__(graph, "__class__", _guarded_class(kind, gate, messages_key))


class _Walk:
    """Everything that a graph would run, as far as it can be seen from outside: its tool nodes and its subgraphs.

    Followed are the runnables that a runnable holds (fallbacks, retries, branches, parallel steps), and what a function
    refers to by name, in its closure, its defaults or its module. Tools and models are not: tools are behind the gate
    once their node is.
    """

    def __init__(self, graph: Any) -> None:
        self.nodes: list[ToolNode] = []
        self.graphs: list[Any] = []
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
    """Offer `ask_user` and `escalate` to the model of a `create_agent` graph, and refuse tools that run elsewhere.

    `create_agent` keeps the model's tools in a list that only its model node knows. Where a release of LangChain keeps
    them elsewhere, nothing is offered, and nothing else changes.
    """
    nodes = getattr(graph, "nodes", {})
    model, tools = nodes.get("model"), nodes.get("tools")
    node = tools.bound if tools is not None else None
    function = getattr(model.bound, "func", None) if model is not None else None
    cells = getattr(function, "__closure__", None) or ()
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    listed: Any = next((c.cell_contents for n, c in zip(names, cells, strict=False) if n == "default_tools"), None)
    if not isinstance(listed, list):
        return
    shown = cast("list[Any]", listed)
    _refuse_hosted(shown)
    if not isinstance(node, ToolNode):
        return
    for extra in OFFERED:
        if extra.name not in node.tools_by_name:
            tool = _tool(extra)
            node.tools_by_name[extra.name] = tool
            shown.append(tool)


def _refuse_hosted(tools: Sequence[Any]) -> None:
    for tool in tools:
        if isinstance(tool, Mapping):
            kind = cast("Mapping[str, Any]", tool).get("type")
            if kind is not None and kind not in ("function", "custom"):
                raise UsageError(
                    f"the tool {kind!r} runs at the model's provider, where no gate can see it; "
                    "take it from the agent's tools (the contract says `hosted_tools: refuse`)"
                )


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
        run = _carried(config)
        if run is not None:
            return run
        thread = _configurable(config).get("thread_id")
        with self._lock:
            known = self._threads.get(str(thread))
        return known or self._keep(_opened(self.gate, config))

    def _keep(self, run: Run | None) -> Run | None:
        if run is not None:
            with self._lock:
                self._threads[run.id] = run
                self._threads.move_to_end(run.id)
                while len(self._threads) > _KEPT:
                    self._threads.popitem(last=False)
        return run

    def _begin(self, messages: Sequence[BaseMessage], config: RunnableConfig) -> None:
        if _carried(config) is not None or "|" in _space(config) or inside_tool():
            return
        run = self._keep(_opened(self.gate, config))
        if run is not None:
            for words in _new_words(messages):
                run.heard(words)

    def _end(self, messages: Sequence[BaseMessage], config: RunnableConfig) -> dict[str, Any] | None:
        if _carried(config) is not None or "|" in _space(config) or inside_tool():
            return None
        with self._lock:
            run = self._threads.pop(str(_configurable(config).get("thread_id")), None)
        reply = _reply(messages)
        if run is None or reply is None:
            return None
        outcome = run.say(str(reply.text))
        return {"messages": [_mark(reply.model_copy(deep=True), run, outcome)]}

    def before_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        self._begin(state["messages"], _config())

    async def abefore_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        await asyncio.to_thread(self._begin, state["messages"], _config())

    def after_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        return self._end(state["messages"], _config())

    async def aafter_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        return await asyncio.to_thread(self._end, state["messages"], _config())

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        _refuse_hosted(request.tools)
        return handler(request)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        _refuse_hosted(request.tools)
        return await handler(request)

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Result:
        return self._sync(request, handler)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Result:
        return await self._async(request, handler)


# -- functions that nodes call ----------------------------------------------------------------------------------------


def gated(gate: Gate, name: str | None = None) -> Callable[[plain.F], plain.F]:
    """Put a function that a node calls by itself behind the gate, blocking or async; see `adapters.plain.gated`.

    The run is the bound one, or the one of the guarded graph that the node belongs to.
    """
    return plain.gated(gate, name, run=lambda: _carried(_config()))
