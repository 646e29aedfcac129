"""Agents in AutoGen (AgentChat 0.7): assistant agents, teams, and workbenches of one's own.

    agent = guard(AssistantAgent("desk", model_client, tools=[...]), gate)
    with gate.run(principal="support-bot", capability="billing_question") as run, run.bind():
        run.heard(text)
        result = await agent.run(task=text)
        run.say(result.messages[-1].to_text())

A call belongs to the bound run; the application hears and says for itself. Guard a team as a whole: it then carries
the run of each `run` to its agents itself, whichever runtime they live in.

The last message of an agent or team is its reply. It is judged before it comes out: one that the contract holds back
goes back to the agents, at most twice, and then what comes out says that a person will look at it. Tokens come out
sentence by sentence where the contract says anything of replies. What agents say to each other vouches for nothing,
though it comes to them with the role of a user; where it may not be told, watchers of a team do not see it.

An exception in a workbench leaves `AssistantAgent.run` waiting for ever (autogen 0.7.5, `_process_model_result` waits
on a queue that its failed task never fills), so a call that is guarded here always ends in a result.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, TypeGuard, TypeVar, cast

from autogen_agentchat.agents import AssistantAgent, MessageFilterAgent, SocietyOfMindAgent, UserProxyAgent
from autogen_agentchat.base import Handoff, Response, TaskResult
from autogen_agentchat.messages import (
    BaseChatMessage,
    BaseTextChatMessage,
    ModelClientStreamingChunkEvent,
    TextMessage,
    ThoughtEvent,
)
from autogen_agentchat.teams import BaseGroupChat
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

from roadworthy.adapters.calls import OFFERED, abring, inside_tool, logger, refuse_hosted
from roadworthy.adapters.replies import (
    GATE,
    Sentences,
    allowed_by,
    asettle_reply,
    holds_replies,
    news_of,
)
from roadworthy.core.errors import HarnessError, Suspended, UsageError
from roadworthy.core.types import Outcome
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run, current_run

__all__ = ["GuardedWorkbench", "guard"]

A = TypeVar("A")
Event = Callable[[Any], None]
"""Where what a tool streams goes."""


class _Scope:
    """What guarded workbenches of one agent or team share."""

    def __init__(self) -> None:
        self.carrying = False
        """Whether a guarded team runs now. Its runtime's own context may be of another time, and lend a foreign run."""
        self.run: Run | None = None
        """The run that the team carries while it runs; None: there is none."""
        self.broken: HarnessError | Suspended | None = None
        """What must be raised when the agent has ended: no exception may leave a workbench."""
        self.people: set[str] = set()
        """Names of agents that speak for a person."""
        self._read: set[str] = set()
        """Ids of messages of other agents that the run has read, in this run of the team."""

    def find(self) -> Run | None:
        return self.run if self.carrying else current_run()

    def raise_broken(self) -> None:
        if self.broken is not None:
            broken, self.broken = self.broken, None
            raise broken

    def begin(self, run: Run | None) -> None:
        self.run, self.carrying = run, True
        self._read.clear()

    def end(self) -> None:
        self.run, self.carrying = None, False
        self._read.clear()

    async def read(self, run: Run, messages: Sequence[BaseChatMessage], reader: str) -> None:
        """What other agents say to one. They have the role of a user in its eyes, and are none."""
        for message in messages:
            if message.source in ("user", GATE, reader, *self.people) or message.id in self._read:
                continue
            self._read.add(message.id)
            await asyncio.to_thread(run.read, message.to_model_text(), trust="agent", source=message.source)


class _ToolFailed(Exception):
    """The workbench says that the tool failed; its text goes to the model."""


class GuardedWorkbench(Workbench):
    """A workbench whose every call passes the gate. The model is offered `ask_user` and `escalate`, too."""

    component_type = "workbench"

    def __init__(self, inner: Workbench, gate: Gate, *, offer: bool = True) -> None:
        self._inner = inner
        self._gate = gate
        self._scope = _Scope()
        self._extras = OFFERED if offer else ()
        self._listed: list[ToolSchema] | None = None

    @property
    def gate(self) -> Gate:
        """The gate that stands before the tools."""
        return self._gate

    async def list_tools(self) -> list[ToolSchema]:
        try:
            listed = await self._inner.list_tools()
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

        run = self._scope.find()
        if self._scope.broken is not None:
            return ToolResult(name=name, result=[TextResultContent(content=_ENDED)], is_error=True)

        async def run_tool(**args: Any) -> Any:
            # Agents inside the tool belong to this run, whatever run the context of the runtime was made in.
            with cast("Run", run).bind():
                return await self._run_tool(name, args, token or CancellationToken(), call_id, event)

        given: Mapping[str, Any] = {} if arguments is None else arguments
        try:
            outcome = await abring(self._gate, run, name, given, run_tool, call_id=call_id)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            outcome = _interrupted(name)  # by its cancellation token, while the agent itself goes on
        except (HarnessError, Suspended) as error:
            self._scope.broken = error
            outcome = Outcome(status="failed", done="blocked", text=_ENDED)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            logger.error("a call of %s was torn down", name, exc_info=error)
            outcome = _interrupted(name)
        return ToolResult(name=name, result=[TextResultContent(content=outcome.text)], is_error=not outcome.ok)

    async def _run_tool(
        self, name: str, args: Mapping[str, Any], token: CancellationToken, call_id: str | None, event: Event | None
    ) -> Any:
        tool = _tool_of(self._inner, name)
        if tool is None:
            result = await self._inner.call_tool(name, args, token, call_id)
            text = result.to_text(replace_image="[image]")
            if result.is_error:
                raise _ToolFailed(text)
            return text
        # The tool itself, because a workbench would turn a mapping into Python's text for it, which is no JSON.
        if event is not None and isinstance(tool, StreamTool):
            raw = await _streamed(tool, args, token, call_id, event)
        else:
            future = asyncio.ensure_future(tool.run_json(args, token, call_id=call_id))
            token.link_future(future)
            raw = await future
        plain = cast("Any", BaseTool).return_value_as_string
        own = cast("Any", type(tool)).return_value_as_string
        return raw if own is plain else tool.return_value_as_string(raw)

    async def start(self) -> None:
        await self._inner.start()

    async def stop(self) -> None:
        await self._inner.stop()

    async def reset(self) -> None:
        await self._inner.reset()

    async def save_state(self) -> Mapping[str, Any]:
        return await self._inner.save_state()

    async def load_state(self, state: Mapping[str, Any]) -> None:
        await self._inner.load_state(state)

    def _to_config(self) -> Any:
        raise UsageError("a guarded workbench cannot be dumped: what is loaded again would have no gate; guard it anew")


class GuardedStreamWorkbench(GuardedWorkbench, StaticStreamWorkbench):
    """The same for tools that stream. AgentChat streams from `StaticStreamWorkbench` alone, so it has to be one."""

    def __init__(self, inner: StaticStreamWorkbench, gate: Gate, *, offer: bool = True) -> None:
        GuardedWorkbench.__init__(self, inner, gate, offer=offer)
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
        while (event := await events.get()) is not None:
            yield event
        yield await task


_ENDED = "This ends here for now. End your turn."
"""What the model sees when the run was suspended or the trial broke, which is raised when the agent has ended."""


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


# -- guarding ---------------------------------------------------------------------------------------------------------


def guard(agent: A, gate: Gate) -> A:
    """Put all tools of an assistant agent, of every agent of a team, or of a workbench behind the gate.

    An agent or team is changed and handed back; for a workbench a guarded one comes back, to be used instead. Agents
    inside other agents, teams and tools are guarded, too. Raises UsageError for what no gate could stand before: agents
    that run code, kinds of agents that are not known here, and hand-offs outside a guarded team.
    """
    if isinstance(agent, Workbench):
        return cast("A", _workbench(agent, gate, _Scope(), offer=True))
    _Guarding(gate).guard(agent)
    return agent


def _workbench(inner: Workbench, gate: Gate, scope: _Scope, *, offer: bool) -> GuardedWorkbench:
    if isinstance(inner, GuardedWorkbench):
        _same_contract(inner.gate, gate)
        guarded = inner
    elif isinstance(inner, StaticStreamWorkbench):
        guarded = GuardedStreamWorkbench(inner, gate, offer=offer)
    else:
        guarded = GuardedWorkbench(inner, gate, offer=offer)
    cast("Any", guarded)._scope = scope
    return guarded


def _same_contract(known: Gate, gate: Gate) -> None:
    if known.contract.digest != gate.contract.digest:
        raise UsageError("this agent is guarded by a gate of another contract already; build it again for this one")


class _Guarding:
    """One call of `guard`: walks from a team or agent to everything inside it."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.scope = _Scope()

    def guard(self, agent: Any, *, team: BaseGroupChat | None = None) -> None:
        if isinstance(agent, BaseGroupChat):
            self._team(agent, outermost=team is None)
        elif isinstance(agent, AssistantAgent):
            self._assistant(agent, in_team=team is not None)
        elif isinstance(agent, MessageFilterAgent):
            self.guard(cast("Any", agent)._wrapped_agent, team=team)
        elif isinstance(agent, SocietyOfMindAgent):
            self.guard(cast("Any", agent)._team, team=team)
        elif isinstance(agent, UserProxyAgent):
            self.scope.people.add(agent.name)
        else:
            raise UsageError(
                f"guard() cannot see what a {type(cast('object', agent)).__name__} does; it takes assistant agents, "
                "teams of them, and workbenches"
            )

    def _team(self, team: BaseGroupChat, *, outermost: bool) -> None:
        for participant in cast("Sequence[Any]", cast("Any", team)._participants):
            self.guard(participant, team=team)
        if outermost:
            _change_class(team, self.gate, {"run_stream": _team_stream(type(team), self.scope, self.gate)})

    def _assistant(self, agent: AssistantAgent, *, in_team: bool) -> None:
        parts = cast("Any", agent)  # an agent's workbenches, hand-offs and model are arguments, and private afterwards
        for handoff in parts._handoffs.values():
            if type(handoff) is not Handoff:
                raise UsageError(f"the hand-off {handoff.name!r} of {agent.name} runs code of its own past the gate")
            if not in_team:
                raise UsageError(
                    f"{agent.name} may hand off to {handoff.target}, and hand-offs pass no workbench: "
                    "guard the team in which it hands off, or offer it `escalate` instead"
                )
        refuse_hosted(self.gate.contract, _hosted(parts._model_client))
        offer = bool(parts._model_client.model_info["function_calling"])
        guarded: list[GuardedWorkbench] = []
        for inner in cast("Sequence[Workbench]", parts._workbench):
            self._inside_tools(inner)
            guarded.append(_workbench(inner, self.gate, self.scope, offer=offer and not guarded))
        parts._workbench = guarded
        stream = _agent_stream(type(agent), self.scope, self.gate)
        _change_class(agent, self.gate, {"on_messages_stream": stream})

    def _inside_tools(self, workbench: Workbench) -> None:
        if isinstance(workbench, StaticWorkbench) and not isinstance(workbench, GuardedWorkbench):
            for tool in cast("list[Any]", cast("Any", workbench)._tools):
                inner = getattr(tool, "_task_runner", None)
                if inner is not None:
                    _Guarding(self.gate).guard(inner)


def _change_class(thing: object, gate: Gate, methods: Mapping[str, Any]) -> None:
    """Give an object a subclass of its own class, so that it stays what it was and no unguarded twin is left."""
    kind = type(thing)
    known = getattr(kind, "roadworthy_gate", None)
    if known is not None:
        _same_contract(known, gate)
        return
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    thing.__class__ = type(kind.__name__, (kind,), {**methods, **names, "roadworthy_gate": gate})


def _hosted(client: Any) -> list[Any]:
    """What a model client offers its model by itself, as far as it can be seen."""
    given: Any = getattr(client, "_create_args", None)
    if not isinstance(given, Mapping):
        return []
    args = cast("Mapping[str, Any]", given)
    return [*(args.get("tools") or ()), *(["web_search"] if args.get("web_search_options") is not None else [])]


# -- running ----------------------------------------------------------------------------------------------------------


def _from_gate(text: str) -> TextMessage:
    return TextMessage(content=text, source=GATE)


def _near_user(run: Run | None) -> Run | None:
    """The run, where what comes out goes to its user, and not to the model that called a tool."""
    return None if inside_tool() else run


class _Screen:
    """What a stream shows while replies are held back."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._allowed = allowed_by(run)
        self._tokens: dict[str, Sentences[Any]] = {}

    async def token(self, event: ModelClientStreamingChunkEvent) -> Sequence[Any]:
        """The tokens that may be seen now."""
        key = f"{event.source}/{event.full_message_id}"
        sentences = self._tokens.setdefault(key, Sentences(self._allowed))
        return await self._noted(sentences, lambda: sentences.add(event, event.content))

    async def flush(self) -> list[Any]:
        """The tokens that may be seen because something else comes."""
        return [piece for s in list(self._tokens.values()) for piece in await self._noted(s, s.end)]

    async def _noted(self, sentences: Sentences[Any], step: Callable[[], Sequence[Any]]) -> Sequence[Any]:
        before = sentences.stopped
        passed = step()
        if sentences.stopped and not before and sentences.passed.strip():
            await self._run.asay(sentences.passed)  # it was on the screen before the rest was held back
        return passed

    def shows(self, item: Any) -> Any:
        """An event or message as watchers may see it; None where they may not."""
        if isinstance(item, ThoughtEvent):
            return item if self._allowed(item.content) else None
        if isinstance(item, BaseChatMessage) and not self._allowed(item.to_text()):
            return TextMessage(content="(This was held back.)", source=item.source, id=item.id)
        return item


def _with_words(message: BaseChatMessage, text: str) -> BaseChatMessage:
    """The message with what may be told in place of what it said."""
    if isinstance(message, BaseTextChatMessage):
        return message.model_copy(update={"content": text})
    return TextMessage(content=text, source=message.source, models_usage=message.models_usage)


def _team_stream(kind: type[Any], scope: _Scope, gate: Gate) -> Any:
    async def run_stream(self: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        if scope.carrying:
            raise UsageError(
                "this team is running already, and its agents can act for one run at a time: "
                "wait until it has ended, or build a team for each run"
            )
        bound = current_run()
        run = _near_user(bound)
        scope.begin(bound)
        try:
            if run is not None:
                kwargs["task"] = await _with_news(run, kwargs.get("task"))
            steps = (
                _team_held(kind, self, scope, run, kwargs)
                if run is not None and holds_replies(gate)
                else _team_steps(kind, self, scope, kwargs)
            )
            async for item in steps:
                yield item
        finally:
            scope.end()

    return run_stream


async def _with_news(run: Run, task: Any) -> Any:
    told = await asyncio.to_thread(news_of, run)
    if told is None:
        return task
    if task is None:
        return _from_gate(told)
    given = [TextMessage(content=task, source="user")] if isinstance(task, str) else task
    return [_from_gate(told), *(given if isinstance(given, list) else [given])]


async def _team_steps(
    kind: type[Any], team: Any, scope: _Scope, kwargs: Mapping[str, Any]
) -> AsyncGenerator[Any, None]:
    """What a team does, without what the gate said to it."""
    async with contextlib.aclosing(kind.run_stream(team, **kwargs)) as items:  # a team that is left must still end
        async for item in items:
            scope.raise_broken()
            if isinstance(item, TaskResult):
                messages = [m for m in item.messages if m.source != GATE]
                yield item.model_copy(update={"messages": messages})
            elif getattr(item, "source", None) != GATE:
                yield item


async def _team_held(
    kind: type[Any], team: Any, scope: _Scope, run: Run, kwargs: dict[str, Any]
) -> AsyncGenerator[Any, None]:
    """The same while replies are held back. The last message of the team is its reply."""
    screen = _Screen(run)
    before: list[Any] = []
    while True:
        result, last = TaskResult(messages=[]), None
        # Closed before the team is asked again: until its stream has ended it counts as running.
        async with contextlib.aclosing(_team_steps(kind, team, scope, kwargs)) as items:
            async for item in items:
                if isinstance(item, ModelClientStreamingChunkEvent):
                    for token in await screen.token(item):
                        yield token
                    continue
                for token in await screen.flush():
                    yield token
                if last is not None and (shown := _shown(screen, scope, last)) is not None:
                    yield shown
                last = item
                if isinstance(item, TaskResult):
                    result = item
                    break
        reply = result.messages[-1] if result.messages else None
        if not _is_reply(reply, scope):
            yield _result(result, [*before, *_all_shown(screen, scope, result.messages)])
            return
        settled = await asettle_reply(run, reply.to_text(), deliver=False)
        if settled.back is None:
            told = reply if settled.text == reply.to_text() else _with_words(reply, settled.text)
            yield told
            yield _result(result, [*before, *_all_shown(screen, scope, result.messages[:-1]), told])
            return
        before += _all_shown(screen, scope, result.messages[:-1])
        kwargs["task"] = _from_gate(settled.back)


def _is_reply(item: Any, scope: _Scope) -> TypeGuard[BaseChatMessage]:
    return isinstance(item, BaseChatMessage) and item.source not in ("user", *scope.people)


def _result(result: TaskResult, messages: list[Any]) -> TaskResult:
    return result.model_copy(update={"messages": messages})


def _all_shown(screen: _Screen, scope: _Scope, items: Sequence[Any]) -> list[Any]:
    return [shown for item in items if (shown := _shown(screen, scope, item)) is not None]


def _shown(screen: _Screen, scope: _Scope, item: Any) -> Any:
    return screen.shows(item) if _is_reply(item, scope) or isinstance(item, ThoughtEvent) else item


async def _within(run: Run | None, items: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    """A stream whose every step belongs to one run. Between the steps the context is the caller's own."""
    try:
        while True:
            with run.bind() if run is not None else contextlib.nullcontext():
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            yield item
    finally:
        await items.aclose()


def _agent_stream(kind: type[Any], scope: _Scope, gate: Gate) -> Any:
    async def on_messages_stream(self: Any, messages: Any, cancellation_token: Any) -> AsyncGenerator[Any, None]:
        run = scope.find()
        if run is not None:
            await scope.read(run, messages, self.name)
        if scope.carrying:  # the team says what is told
            async for item in kind.on_messages_stream(self, messages, cancellation_token):
                yield item
            return
        near = _near_user(run)
        if near is not None and (told := await asyncio.to_thread(news_of, near)) is not None:
            messages = [_from_gate(told), *messages]
        if near is None or not holds_replies(gate):
            async with contextlib.aclosing(kind.on_messages_stream(self, messages, cancellation_token)) as steps:
                async for item in _within(run, steps):
                    scope.raise_broken()
                    yield item
            return
        async for item in _agent_held(kind, self, scope, near, messages, cancellation_token):
            yield item

    return on_messages_stream


async def _agent_held(
    kind: type[Any], agent: Any, scope: _Scope, run: Run, messages: Any, token: Any
) -> AsyncGenerator[Any, None]:
    """What an agent does while its replies are held back."""
    screen = _Screen(run)
    inner: list[Any] = []
    while True:
        async for item in _within(run, kind.on_messages_stream(agent, messages, token)):
            scope.raise_broken()
            if isinstance(item, ModelClientStreamingChunkEvent):
                for piece in await screen.token(item):
                    yield piece
                continue
            for piece in await screen.flush():
                yield piece
            if not isinstance(item, Response):
                shown = screen.shows(item) if isinstance(item, ThoughtEvent) else item
                if shown is not None:
                    inner.append(shown)
                    yield shown
                continue
            said = item.chat_message
            reply = await asettle_reply(run, said.to_text(), deliver=False)
            if reply.back is None:
                told = said if reply.text == said.to_text() else _with_words(said, reply.text)
                yield Response(chat_message=told, inner_messages=inner)
                return
            messages = [_from_gate(reply.back)]
