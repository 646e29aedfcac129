"""Agents of Microsoft Agent Framework, AutoGen's successor.

    agent = guard(Agent(client, instructions=..., tools=[...]), gate)
    with gate.run(principal="support-bot", capability="billing_question") as run, run.bind():
        run.heard(text)
        result = await agent.run(text)
        run.say(result.text)

A call belongs to the run that was bound when `agent.run` was called; the application hears and says for itself. All
tools that the agent has when it is asked pass the gate, those of MCP servers, of context providers and of a single run
included; an agent that is a tool of another is guarded with it. The gate stands innermost, behind all middleware of the
agent, so that every attempt is one that it sees.

What the agent comes to is its reply. It is judged before it comes out: one that the contract holds back goes back to
the model, at most twice, and then what comes out says that a person will look at it. Where the contract says anything
of replies, a stream hands the reply out whole, once it was judged.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from roadworthy.adapters import driving
from roadworthy.adapters.armed import armed, carried, unarmed
from roadworthy.adapters.calls import OFFERED, abring, hosting, inside_tool, refuse_hosted
from roadworthy.adapters.company import delegated, has_called, takes_word
from roadworthy.adapters.reach import reached
from roadworthy.adapters.replies import allowed_by, asettle_reply, holds_replies, news_of
from roadworthy.core.errors import HarnessError, Suspended, UsageError
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run, current_run

try:
    from agent_framework import (
        Agent,
        AgentExecutor,
        ChatContext,
        ChatMiddleware,
        ChatMiddlewareLayer,
        ChatResponse,
        ChatResponseUpdate,
        Content,
        FunctionInvocationContext,
        FunctionInvocationLayer,
        FunctionMiddleware,
        FunctionTool,
        Message,
        ResponseStream,
        Workflow,
        WorkflowAgent,
        WorkflowExecutor,
    )
except ImportError as error:
    raise UsageError(
        "Microsoft Agent Framework is not installed: `pip install 'roadworthy[agent-framework]'` brings it along"
    ) from error

__all__ = ["adrive", "drive", "guard"]

A = TypeVar("A")
Next = Callable[[], Awaitable[None]]

_ENDED = "This ends here for now. End your turn."
"""What the model would see when the run was suspended or the trial broke, which is raised instead of asking it."""
_CALLS = frozenset({"function_call", "function_approval_request"})
"""Kinds of what a model puts out that leave its turn unfinished."""


class _Turn:
    """What one run of an agent knows beside the framework."""

    def __init__(self, agent: str | None) -> None:
        self.agent = agent
        """The agent's name, where it is one of several."""
        self.run = current_run()
        self.near = None if inside_tool() else self.run
        """The run, where what comes out goes to its user, and not to the model that called a tool."""
        self.news: str | None = None
        """What the model was told of held actions at the beginning."""
        self.news_at: int | None = None
        """Before which of the messages the news stand; None: nobody has looked yet."""
        self.broken: HarnessError | Suspended | None = None
        """What must be raised instead of going on: the framework makes a text of an exception."""

    def raise_broken(self) -> None:
        if self.broken is not None:
            broken, self.broken = self.broken, None
            raise broken


# -- guarding ---------------------------------------------------------------------------------------------------------


def guard(agent: A, gate: Gate) -> A:
    """Put all tools of an agent, and of agents that it has as tools or its tools ask, behind the gate; judge its words.

    A workflow is guarded with all agents in it, those of workflows within it too; what its other steps do by themselves
    nobody sees from outside. What is given is changed and handed back. Raises UsageError for what no gate could stand
    before: kinds of agents and clients that are not known here, tools that somebody else carries out, and tools at the
    model's provider that the contract does not accept. Those that only a run brings are refused as the model is asked.
    """
    if isinstance(agent, Workflow | WorkflowAgent):
        _guard_workflow(agent, gate)
        return agent
    if not isinstance(agent, Agent):
        raise UsageError(
            f"guard() cannot see what a {type(agent).__name__} does; it takes agents of the class Agent, and workflows "
            "of them"
        )
    guarded: Any = cast("Any", agent)
    kind = cast("Any", type(guarded))
    known: Gate | None = getattr(kind, "roadworthy_gate", None)
    if known is not None:
        if known.contract.digest != gate.contract.digest:
            raise UsageError("this agent is guarded by a gate of another contract already; build it again for this one")
        return guarded
    client: Any = guarded.client
    if not isinstance(client, FunctionInvocationLayer) or not isinstance(client, ChatMiddlewareLayer):
        raise UsageError(
            f"the client {type(cast('object', client)).__name__} runs no middleware, where the gate would stand: give "
            "it the bases FunctionInvocationLayer and ChatMiddlewareLayer"
        )
    own: list[Any] = list(guarded.default_options.get("tools") or ())
    helpers = _check(gate, own)
    names = {tool.name for tool in own if isinstance(tool, FunctionTool)}
    offered = [
        FunctionTool(name=e.name, description=e.description, input_model=e.parameters, func=_never)
        for e in OFFERED
        if e.name not in names
    ]
    guarded.default_options["tools"] = [*(_kept(tool) for tool in own), *offered]
    more = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    more |= {"roadworthy_gate": gate, "roadworthy_name": None, "run": _run(kind, gate)}
    guarded.__class__ = type(kind.__name__, (kind,), more)
    functions = [unarmed(tool.func) for tool in own if isinstance(tool, FunctionTool) and tool.func is not None]
    helpers += [guard(asked, gate) for asked in reached(functions, Agent)]
    if helpers:
        _tell_apart([guarded, *helpers])
    return guarded


def _guard_workflow(workflow: Workflow | WorkflowAgent, gate: Gate) -> None:
    agents = _agents_of(workflow)
    for agent in agents:
        guard(agent, gate)
    if len(agents) > 1:
        _tell_apart(agents)
    cast("Any", workflow).roadworthy_gate = gate


def _agents_of(workflow: Workflow | WorkflowAgent) -> list[Any]:
    if isinstance(workflow, WorkflowAgent):
        return _agents_of(workflow.workflow)
    found: list[Any] = []
    for step in workflow.get_executors_list():
        if isinstance(step, AgentExecutor):
            found += _agents_of(step.agent) if isinstance(step.agent, WorkflowAgent) else [step.agent]
        elif isinstance(step, WorkflowExecutor):
            found += _agents_of(step.workflow)
    return found


def _tell_apart(agents: Sequence[Any]) -> None:
    """Have the record say which of several agents asks."""
    for agent in agents:
        cast("Any", type(agent)).roadworthy_name = agent.name


def drive(agent: Any, run: Run, start: Any = None, **more: Any) -> Any:
    """Run a guarded agent until it ends or a person must decide: then Suspended comes back, as a value.

    `run` comes from `gate.run(..., suspendable=True)`, or from `gate.resume(id)` to drive it again; `start` may then be
    left out, and is what the agent was started with. A workflow that stopped is to be built anew before it is driven
    again. `more` is for `agent.run`. Raises UsageError for an agent that is
    not guarded, a start that is another than it was, and a session beside a suspendable run.
    """
    return driving.in_a_loop_of_its_own(adrive(agent, run, start, **more))


async def adrive(agent: Any, run: Run, start: Any = None, **more: Any) -> Any:
    """`drive` for async code."""
    if getattr(agent, "roadworthy_gate", None) is None:
        raise driving.not_guarded(agent)
    driving.refuse_memory(run, more, "session")

    if getattr(agent, "roadworthy_stopped", False):
        raise UsageError(
            "this workflow remembers a drive that stopped, and no workflow can be made to forget: build it anew, and "
            "drive that"
        )

    async def go(given: Any) -> Any:
        try:
            return await agent.run(given, **more)
        except Suspended:
            if isinstance(agent, Workflow | WorkflowAgent):
                cast("Any", agent).roadworthy_stopped = True
            raise

    return await driving.adrive(run, start, go)


def _kept(tool: Any) -> Any:
    """A tool as it lies in a guarded agent: whoever calls it there, around the model, runs into the tripwire."""
    if not isinstance(tool, FunctionTool) or tool.func is None or tool.func is _never:
        return tool
    kept: Any = copy.copy(cast("Any", tool))
    kept.func = armed(kept.func, kept.name)
    return kept


def _never(**_: Any) -> str:
    raise AssertionError("the gate answers calls of what it offers by itself")


def _check(gate: Gate, tools: Sequence[Any]) -> list[Any]:
    """Raise UsageError for tools that would run past the gate; agents that are tools are guarded, and come back."""
    helpers: list[Any] = []
    for tool in tools:
        if not isinstance(tool, FunctionTool):
            described: object = cast("Any", tool) if isinstance(tool, Mapping) else {"type": type(tool).__name__}
            refuse_hosted(gate.contract, [described])
        elif tool.declaration_only:
            raise UsageError(
                f"the tool {tool.name!r} is carried out by somebody else, past the gate: give it a function"
            )
        elif (helper := _helper(tool)) is not None:
            helpers.append(guard(helper, gate))
    return helpers


def _helper(tool: FunctionTool) -> Any:
    """The agent that a tool is; None for all other tools."""
    if not getattr(tool.func, "__qualname__", "").endswith("as_tool.<locals>._agent_wrapper"):
        return None
    return inspect.getclosurevars(unarmed(tool.func)).nonlocals.get("self")


def _run(kind: type[Any], gate: Gate) -> Any:
    def run(self: Any, messages: Any = None, *, stream: bool = False, middleware: Any = None, **more: Any) -> Any:
        turn = _Turn(self.roadworthy_name)
        added = [*(middleware or ()), _Calls(gate, turn), _Words(gate, turn)]
        result = kind.run(self, messages, stream=stream, middleware=added, **more)
        return result if stream else _ended(result, turn)

    return run


async def _ended(result: Awaitable[Any], turn: _Turn) -> Any:
    response = await result
    turn.raise_broken()  # nobody has asked the model since
    return response


# -- tools ------------------------------------------------------------------------------------------------------------


class _Calls(FunctionMiddleware):
    """The gate before every call of a tool."""

    def __init__(self, gate: Gate, turn: _Turn) -> None:
        self._gate = gate
        self._turn = turn

    async def process(self, context: FunctionInvocationContext, call_next: Next) -> None:
        turn, tool = self._turn, context.function
        if turn.broken is not None:
            context.result = _ENDED
            return
        call_id: Any = context.metadata.get("call_id")

        async def run_tool(**args: Any) -> Any:
            context.arguments = args
            # The tool itself, since the framework would make a text of its result, and of its exceptions, too.
            helper = _helper(tool)
            if helper is None:
                return await invoke(args)
            # An agent that is a tool: what it does until it comes back is its own.
            text = json.dumps(args, default=str, ensure_ascii=False)
            async with delegated(turn.run, helper.name or tool.name, turn.agent, text) as comes_to:
                with hosting():
                    result = await invoke(args)
                comes_to(str(result))
            return result

        async def invoke(args: Mapping[str, Any]) -> Any:
            with carried():
                coming = tool.invoke(arguments=args, context=context, tool_call_id=call_id, skip_parsing=True)
                return _plain(await coming)

        given: Any = context.arguments
        args: object = given.model_dump(exclude_unset=True) if isinstance(given, BaseModel) else given
        fn = None if tool.func is _never else run_tool
        try:
            outcome = await abring(self._gate, turn.run, tool.name, args, fn, call_id=call_id, agent=turn.agent)
        except (HarnessError, Suspended) as error:
            turn.broken = error
            context.result = _ENDED
            return
        context.result = outcome.text


def _plain(result: Any) -> Any:
    """A result without classes of the framework and of pydantic. Images and files are not handed on."""
    if isinstance(result, Content):
        return result.text or ""
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json")
    if isinstance(result, list | tuple):
        parts = cast("Sequence[Any]", result)
        if parts and all(isinstance(part, Content) for part in parts):
            return "".join(part.text or "" for part in parts)
        return [_plain(part) for part in parts]
    return result


# -- the model --------------------------------------------------------------------------------------------------------


class _Words(ChatMiddleware):
    """Judges what a model says before the agent has it."""

    def __init__(self, gate: Gate, turn: _Turn) -> None:
        self._gate = gate
        self._turn = turn

    async def process(self, context: ChatContext, call_next: Next) -> None:
        run, stream = self._turn.near, context.stream
        await self._begin(context)
        if run is None or not holds_replies(self._gate):
            await call_next()
            self._called(context.result)
            return
        context.stream = False
        try:
            while True:
                await call_next()
                response = cast("ChatResponse[Any]", context.result)
                if any(content.type in _CALLS for message in response.messages for content in message.contents):
                    allowed = allowed_by(run)  # words beside calls are no reply, but whoever watches the run sees them
                    for message in response.messages:
                        message.contents = [c for c in message.contents if c.type != "text" or allowed(c.text or "")]
                    break
                text = response.text
                if not text:
                    break
                reply = await asettle_reply(run, text, deliver=False)
                if reply.back is None:
                    if reply.text != text:
                        response = copy.copy(response)
                        response.messages = [Message("assistant", [reply.text])]
                    break
                context.messages = [
                    *context.messages,
                    Message("assistant", [text]),
                    Message("user", [reply.back]),
                ]
        finally:
            context.stream = stream
        self._called(response)
        context.result = _streamed(response) if stream else response

    def _called(self, response: Any) -> None:
        if self._turn.agent is not None and isinstance(response, ChatResponse):
            contents = [c for message in cast("ChatResponse[Any]", response).messages for c in message.contents]
            has_called(self._turn.run, [c.name for c in contents if c.type == "function_call" and c.name])

    async def _begin(self, context: ChatContext) -> None:
        turn = self._turn
        turn.raise_broken()
        options = cast("Mapping[str, Any]", context.options or {})
        _check(self._gate, options.get("tools") or ())
        if options.get("web_search_options"):
            refuse_hosted(self._gate.contract, ["web_search"])
        messages = list(context.messages)
        if turn.news_at is None:
            turn.news_at = max(0, len(messages) - 1)
            # The name that handoff orchestrations give their tools.
            await takes_word(turn.run, turn.agent, by=f"handoff_to_{turn.agent}")
            turn.news = await asyncio.to_thread(news_of, turn.near) if turn.near is not None else None
        if turn.news is not None:
            at = min(turn.news_at, len(messages))
            context.messages = [*messages[:at], Message("user", [turn.news]), *messages[at:]]


def _streamed(response: ChatResponse[Any]) -> Any:
    """A whole response as a stream."""

    async def updates() -> AsyncIterator[Any]:
        for message in response.messages:
            yield ChatResponseUpdate(
                contents=message.contents,
                role=cast("Any", message.role),
                author_name=message.author_name,
                message_id=message.message_id,
                response_id=response.response_id,
                conversation_id=response.conversation_id,
                model=response.model,
                finish_reason=cast("Any", response.finish_reason),
            )

    return ResponseStream(updates(), finalizer=lambda _: response)
