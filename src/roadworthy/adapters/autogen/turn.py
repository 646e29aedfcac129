"""What guarded agents and teams of AutoGen do in a turn: whose run it is, what comes out, and how it ends early."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, TypeGuard

from autogen_agentchat.base import Response, TaskResult, TerminationCondition
from autogen_agentchat.messages import (
    BaseChatMessage,
    BaseTextChatMessage,
    MemoryQueryEvent,
    ModelClientStreamingChunkEvent,
    StopMessage,
    TextMessage,
    ThoughtEvent,
    ToolCallExecutionEvent,
)
from autogen_core import ComponentBase
from pydantic import BaseModel

from roadworthy.adapters.autogen.scope import Scope, Seat
from roadworthy.adapters.calls import inside_tool
from roadworthy.adapters.replies import GATE, Sentences, allowed_by, asettle_reply, holds_replies, news_of
from roadworthy.core.errors import UsageError
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run, current_run


def from_gate(text: str) -> TextMessage:
    """What the gate says to agents."""
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
        before = sentences.stopped
        return await self._noted(sentences, sentences.add(event, event.content), before=before)

    async def flush(self) -> list[Any]:
        """The tokens that may be seen because something else comes."""
        passed: list[Any] = []
        for sentences in list(self._tokens.values()):
            before = sentences.stopped
            passed += await self._noted(sentences, sentences.end(), before=before)
        return passed

    async def _noted(self, sentences: Sentences[Any], passed: Sequence[Any], *, before: bool) -> Sequence[Any]:
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


async def end_all(scope: Scope, run: Run | None) -> None:
    """End what AutoGen would leave behind. A call in flight is in doubt then."""
    while left := scope.left_behind(run):
        for task in left:
            task.cancel()
        await asyncio.wait(left)


# -- teams ------------------------------------------------------------------------------------------------------------


def team_stream(kind: type[Any], seat: Seat, own: Scope, gate: Gate) -> Any:
    """`run_stream` of a guarded team."""

    async def run_stream(self: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        if seat.scope.carrying and seat.scope is not own:  # the team around it carries the run and says what is told
            steps = _inner_steps(kind, self, seat, kwargs)
        else:
            steps = _outer_steps(kind, self, own, gate, kwargs)
        async with contextlib.aclosing(steps):
            async for item in steps:
                yield item

    return run_stream


async def _outer_steps(
    kind: type[Any], team: Any, scope: Scope, gate: Gate, kwargs: dict[str, Any]
) -> AsyncGenerator[Any, None]:
    bound = current_run()
    run = _near_user(bound)
    scope.begin(bound)
    try:
        if run is not None:
            kwargs["task"] = await _with_news(run, kwargs.get("task"))
        steps = (
            _team_held(kind, team, scope, run, kwargs)
            if run is not None and holds_replies(gate)
            else _team_steps(kind, team, scope, kwargs)
        )
        async with contextlib.aclosing(steps):
            async for item in steps:
                yield item
    finally:
        scope.end()


async def _inner_steps(kind: type[Any], team: Any, seat: Seat, kwargs: dict[str, Any]) -> AsyncGenerator[Any, None]:
    """A team inside a team: it gets a piece of work, and comes back with what it made of it."""
    scope = seat.scope
    run, given = scope.run, kwargs.get("task")
    work = None
    if run is not None:
        others = [m.source for m in given or () if isinstance(m, BaseChatMessage) and not scope.by_nobody_else(m, "")]
        source = seat.owner or (others[-1] if others else None)
        work = await run.ahandover(seat.name, source=source, how="delegate")
    last: Any = None
    async with contextlib.aclosing(kind.run_stream(team, **kwargs)) as items:
        async for item in items:
            if isinstance(item, BaseChatMessage):
                last = item
            yield item
    if seat.owner is not None and scope.over(run):
        raise _Over
    if run is not None and work is not None and not scope.over(run):
        await run.areturned(work, last.to_text() if last is not None else "")


async def _with_news(run: Run, task: Any) -> Any:
    told = await asyncio.to_thread(news_of, run)
    if told is None:
        return task
    if task is None:
        return from_gate(told)
    given = [TextMessage(content=task, source="user")] if isinstance(task, str) else task
    return [from_gate(told), *(given if isinstance(given, list) else [given])]


async def _team_steps(kind: type[Any], team: Any, scope: Scope, kwargs: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
    """What a team does, without what the gate said to it."""
    run = scope.run
    try:
        async with contextlib.aclosing(kind.run_stream(team, **kwargs)) as items:  # a team that is left must still end
            async for item in items:
                if isinstance(item, TaskResult):
                    messages = [m for m in item.messages if m.source != GATE]
                    yield item.model_copy(update={"messages": messages})
                elif getattr(item, "source", None) != GATE:
                    yield item
    except Exception:
        await end_all(scope, run)  # an agent has broken, and AutoGen leaves those beside it at work
        scope.raise_broken(run)
        raise
    scope.raise_broken(run)


async def _team_held(
    kind: type[Any], team: Any, scope: Scope, run: Run, kwargs: dict[str, Any]
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
        kwargs["task"] = from_gate(settled.back)


def _is_reply(item: Any, scope: Scope) -> TypeGuard[BaseChatMessage]:
    return isinstance(item, BaseChatMessage) and item.source not in ("user", *scope.people)


def _result(result: TaskResult, messages: list[Any]) -> TaskResult:
    return result.model_copy(update={"messages": messages})


def _all_shown(screen: _Screen, scope: Scope, items: Sequence[Any]) -> list[Any]:
    return [shown for item in items if (shown := _shown(screen, scope, item)) is not None]


def _shown(screen: _Screen, scope: Scope, item: Any) -> Any:
    return screen.shows(item) if _is_reply(item, scope) or isinstance(item, ThoughtEvent) else item


# -- agents -----------------------------------------------------------------------------------------------------------


async def _within(run: Run | None, items: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    """A stream whose every step belongs to one run. Between the steps the context is the caller's own."""
    async with contextlib.aclosing(items):
        while True:
            with run.bind() if run is not None else contextlib.nullcontext():
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            yield item


async def _steps(scope: Scope, run: Run | None, items: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    """What an agent does, up to where its run was suspended or its trial broke."""
    async with contextlib.aclosing(_within(run, items)) as within:
        async for item in within:
            if isinstance(item, MemoryQueryEvent) and run is not None:
                for found in item.content:
                    await asyncio.to_thread(run.read, str(found.content), source="memory")
            # All calls of a turn have ended here, so nothing is left behind.
            if isinstance(item, ToolCallExecutionEvent | Response) and scope.over(run):
                if scope.carrying:
                    yield _last_word()
                    return
                scope.raise_broken(run)
            yield item


def _last_word() -> Response:
    """What an agent gives its team when it can only end: an exception would leave the team's runtime unusable."""
    return Response(chat_message=from_gate("This ends here for now."), inner_messages=[])


class EndsEarly(TerminationCondition, ComponentBase[BaseModel]):
    """When a team ends: by its own condition, or where its run was suspended, its trial broke, or it was cancelled."""

    def __init__(self, seat: Seat, own: TerminationCondition | None) -> None:
        self._seat = seat
        self._own = own

    @property
    def terminated(self) -> bool:
        return self._own is not None and self._own.terminated

    async def __call__(self, messages: Sequence[Any]) -> StopMessage | None:
        scope = self._seat.scope
        if scope.over(scope.run):
            return StopMessage(content="This ends here for now.", source=GATE)
        return await self._own(messages) if self._own is not None else None

    async def reset(self) -> None:
        if self._own is not None:
            await self._own.reset()

    def _to_config(self) -> Any:
        raise UsageError("a guarded team cannot be dumped: what is loaded again would have no gate; guard it anew")


def word_stream(kind: type[Any], seat: Seat) -> Any:
    """`on_messages_stream` of what hands the word on to an agent or a team inside it."""

    async def on_messages_stream(self: Any, messages: Any, cancellation_token: Any) -> AsyncGenerator[Any, None]:
        scope = seat.scope
        if scope.carrying:
            await scope.pass_word(seat, messages)
        try:
            async with contextlib.aclosing(kind.on_messages_stream(self, messages, cancellation_token)) as items:
                async for item in items:
                    yield item
        except _Over:
            yield _last_word()

    return on_messages_stream


class _Over(Exception):
    """The team inside an agent has ended early, and the agent is to make nothing of it."""


def agent_stream(kind: type[Any], seat: Seat, gate: Gate) -> Any:
    """`on_messages_stream` of a guarded agent."""

    async def on_messages_stream(self: Any, messages: Any, cancellation_token: Any) -> AsyncGenerator[Any, None]:
        scope = seat.scope
        run = scope.find()
        if scope.carrying:  # the team says what is told
            steps = _in_team(kind, self, seat, messages, cancellation_token)
        else:
            if run is not None:
                await scope.read(run, messages, self.name)
            near = _near_user(run)
            if near is not None and (told := await asyncio.to_thread(news_of, near)) is not None:
                messages = [from_gate(told), *messages]
            steps = (
                _agent_held(kind, self, scope, near, messages, cancellation_token)
                if near is not None and holds_replies(gate)
                else _steps(scope, run, kind.on_messages_stream(self, messages, cancellation_token))
            )
        async with contextlib.aclosing(steps):
            async for item in steps:
                yield item

    return on_messages_stream


async def _in_team(kind: type[Any], agent: Any, seat: Seat, messages: Any, token: Any) -> AsyncGenerator[Any, None]:
    scope = seat.scope
    run = scope.run
    with scope.at_work(run):
        async with scope.one_by_one or contextlib.nullcontext():
            if scope.over(run):
                yield _last_word()
                return
            if run is not None:
                await scope.pass_word(seat, messages)
                await scope.read(run, messages, agent.name)
            async with contextlib.aclosing(
                _steps(scope, run, kind.on_messages_stream(agent, messages, token))
            ) as steps:
                async for item in steps:
                    yield item


async def _agent_held(
    kind: type[Any], agent: Any, scope: Scope, run: Run, messages: Any, token: Any
) -> AsyncGenerator[Any, None]:
    """What an agent does while its replies are held back."""
    screen = _Screen(run)
    inner: list[Any] = []
    while True:
        back: str | None = None
        async with contextlib.aclosing(_steps(scope, run, kind.on_messages_stream(agent, messages, token))) as items:
            async for item in items:
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
                back = reply.back
        if back is None:
            return
        messages = [from_gate(back)]
