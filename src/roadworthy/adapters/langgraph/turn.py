"""One turn of a graph of LangGraph: what the user says goes in, and a reply comes out once it was judged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.utils import convert_to_messages
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.types import Command

from roadworthy.adapters.calls import inside_tool
from roadworthy.adapters.langgraph.map import Map
from roadworthy.adapters.langgraph.runs import RUN, carried, config_here, configurable, new_words, opened, space
from roadworthy.adapters.langgraph.screen import Screen, Shape, from_gate, is_reply, without_words
from roadworthy.adapters.langgraph.trail import Trail, trail_of
from roadworthy.adapters.replies import Reply, allowed_by, asettle_reply, holds_replies, news_of, settle_reply
from roadworthy.core.errors import Suspended, UsageError
from roadworthy.core.types import Outcome
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run, current_run

logger = logging.getLogger("roadworthy.adapters")

T = TypeVar("T")
_PAUSED = "__interrupt__"
"""What a graph says beside its values when it waits to go on."""
EVENTS = "__roadworthy_events"
"""Says in `configurable` that events are made of a stream."""
Extra = Sequence[BaseMessage]
"""Messages that a model gets beside those of its conversation: what was held back, and why."""


def reply_of(messages: Any) -> AIMessage | None:
    """The last message, where it is words for the user."""
    if not isinstance(messages, Sequence) or not messages:
        return None
    last = cast("Sequence[Any]", messages)[-1]
    return last if is_reply(last) else None


def mark(message: AIMessage, run: Run, outcome: Outcome, text: str) -> AIMessage:
    """Say on the message what came of the reply: in shadow it is `simulated`, and the application keeps it back."""
    message.response_metadata["roadworthy"] = {"run": run.id, "status": outcome.status, "done": outcome.done}
    if text != str(message.text):
        message.content = text
    return message


def near_user(config: RunnableConfig | None) -> bool:
    """Whether a node's graph speaks with the user, and not with another graph or with the model that called a tool."""
    return "|" not in space(config) and not inside_tool()


def raise_suspended(run: Run) -> None:
    """A tool node may have made a message of the exception that stopped the run."""
    state = run.state
    if state.suspendable and state.status == "held":
        raise Suspended(run.id, state.status_why)


# -- inside the node that asks the model ----------------------------------------------------------------------------


def reworded(run: Run, ask: Callable[[Extra], T], said: Callable[[T], AIMessage | None]) -> T:
    """Ask a model until what it says may be told, and no longer than it has chances.

    `ask(extra)` asks it with these messages beside those of the conversation, in which only what may be told will
    stand; `said` finds its message in the answer, which may be changed.
    """
    extra: list[BaseMessage] = []
    while True:
        answer = ask(extra)
        message = said(answer)
        if message is None or not _for_user(run, message):
            return answer
        reply = settle_reply(run, str(message.text), deliver=False)
        if _settled(message, reply, extra):
            return answer


async def areworded(run: Run, ask: Callable[[Extra], Awaitable[T]], said: Callable[[T], AIMessage | None]) -> T:
    """`reworded` for async code."""
    extra: list[BaseMessage] = []
    while True:
        answer = await ask(extra)
        message = said(answer)
        if message is None or not _for_user(run, message):
            return answer
        reply = await asettle_reply(run, str(message.text), deliver=False)
        if _settled(message, reply, extra):
            return answer


def _for_user(run: Run, message: AIMessage) -> bool:
    """Whether a message is a reply. Words beside calls that may not be told are dropped: nobody waits for them."""
    if is_reply(message):
        return True
    text = str(message.text)
    if text and not allowed_by(run)(text):
        message.content = without_words(message).content
    return False


def _settled(message: AIMessage, reply: Reply, extra: list[BaseMessage]) -> bool:
    if reply.back is None:
        if reply.text != str(message.text):
            message.content, message.id = reply.text, str(uuid4())  # watchers take the old id for what they have seen
        return True
    extra += [message, from_gate(reply.back)]
    return False


def command_words(answer: Any) -> AIMessage | None:
    """The message of the model in what the model node of `create_agent` returns: updates, one or several."""
    for part in reversed(cast("list[Any]", answer) if isinstance(answer, list) else [answer]):
        update = part.update if isinstance(part, Command) else part
        messages = cast("Mapping[str, Any]", update).get("messages") if isinstance(update, Mapping) else None
        for message in reversed(cast("list[Any]", messages) if isinstance(messages, list) else []):
            if isinstance(message, AIMessage):
                return message
    return None


def judged_node(function: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    """The blocking function of a model node, whose replies are judged before they stand in the conversation."""

    def node(state: Any, *args: Any, **kwargs: Any) -> Any:
        run = _judging(gate, state)
        if run is None:
            return function(state, *args, **kwargs)
        return reworded(run, lambda extra: _clear(function(_with(state, extra), *args, **kwargs), extra), command_words)

    return node


def ajudged_node(function: Callable[..., Awaitable[Any]], gate: Gate) -> Callable[..., Awaitable[Any]]:
    """The same for its async function."""

    async def node(state: Any, *args: Any, **kwargs: Any) -> Any:
        run = _judging(gate, state)
        if run is None:
            return await function(state, *args, **kwargs)

        async def ask(extra: Extra) -> Any:
            return _clear(await function(_with(state, extra), *args, **kwargs), extra)

        return await areworded(run, ask, command_words)

    return node


def _judging(gate: Gate, state: Any) -> Run | None:
    config = config_here()
    run = carried(config)
    if run is None or not isinstance(state, Mapping):
        return None
    return run if holds_replies(gate) and near_user(config) else None


def _with(state: Mapping[str, Any], extra: Extra) -> Mapping[str, Any]:
    return {**state, "messages": [*state["messages"], *extra]} if extra else state


def _clear(answer: Any, extra: Extra) -> Any:
    """Where the framework writes the whole conversation anew, what was held back must not get into it."""
    ours = {id(message) for message in extra}
    for part in cast("list[Any]", answer) if ours and isinstance(answer, list) else []:
        update = part.update if isinstance(part, Command) else None
        if isinstance(update, dict) and isinstance(cast("dict[str, Any]", update).get("messages"), list):
            messages: list[Any] = cast("dict[str, Any]", update)["messages"]
            messages[:] = [message for message in messages if id(message) not in ours]
    return cast("Any", answer)


# -- around a whole graph -------------------------------------------------------------------------------------------


class Turn:
    """One invocation of a guarded graph."""

    def __init__(
        self, gate: Gate, messages_key: str, given: Any, config: RunnableConfig | None, map: Map | None = None
    ) -> None:
        around = config_here()
        outer = config if config is not None and "configurable" in config else around
        self.gate = gate
        self.key = messages_key
        self.given = given
        """What goes into the graph."""
        self.last: AIMessage | None = None
        self.tokens: tuple[str | None, str] = (None, "")
        """Id and text so far of the message whose tokens pass by."""
        # What a node of another graph puts in comes from there, and what comes out goes there: no user is near.
        near = not (space(outer) or space(around) or inside_tool())
        run = current_run() or carried(outer)
        self.bound = run is not None
        """The application hears and says for itself."""
        self.run = run if run is not None else opened(gate, outer)
        self.near = near and self.run is not None
        self.holds = self.near and holds_replies(gate)
        self.config: RunnableConfig = {**(config or {})}
        self.trail: Trail | None = None
        """Listens where this turn goes; None where the graph around this one does, or where there is no run."""
        self.map = map
        if self.run is not None:
            self.config["configurable"] = {**configurable(outer), RUN: self.run}
            self._listen(around)

    def _listen(self, around: RunnableConfig) -> None:
        callbacks = self.config.get("callbacks", around.get("callbacks"))
        known = trail_of({"callbacks": callbacks})
        if self.map is None or (known is not None and known.run is self.run):
            return
        goes_on = self.given is None or isinstance(self.given, Command)
        self.trail = Trail(cast("Run", self.run), self.map.layout, goes_on=goes_on)
        merged = merge_configs({"callbacks": callbacks}, {"callbacks": [self.trail]})
        self.config["callbacks"] = merged.get("callbacks")

    def tell(self) -> None:
        """What agents handed to each other so far is written before what comes of it is said."""
        if self.trail is not None:
            self.trail.flush()

    def leave(self) -> None:
        """However the turn ends: which way it went is written down."""
        if self.trail is not None and self.map is not None:
            self.tell()
            self.map.write(self.trail)

    # -- what goes in ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The user is heard, and the model told what became of held actions."""
        for words in self._words():
            cast("Run", self.run).heard(words)
        self._tell_news()

    async def abegin(self) -> None:
        """`begin` for async code."""
        for words in self._words():
            await cast("Run", self.run).aheard(words)
        if self.near:
            await asyncio.to_thread(self._tell_news)

    def _words(self) -> list[str]:
        return new_words(self._messages()) if self.near and not self.bound else []

    def _tell_news(self) -> None:
        if not self.near or not isinstance(self.given, Mapping):
            return  # a turn that goes on after an interruption takes no messages
        messages = self._messages()
        told = news_of(cast("Run", self.run)) if messages else None
        if told is not None:
            given = cast("Mapping[str, Any]", self.given)
            at = len(messages) - len(new_words(messages))
            self.given = {**given, self.key: [*messages[:at], from_gate(told), *messages[at:]]}

    def _messages(self) -> list[BaseMessage]:
        given = self.given
        found: Any = (
            cast("Mapping[str, Any]", given).get(self.key)
            if isinstance(given, Mapping)
            else getattr(given, self.key, None)
        )
        if found is None or isinstance(given, Command):
            return []
        return list(convert_to_messages(cast("list[Any]", found) if isinstance(found, list) else [found]))

    # -- what comes out ----------------------------------------------------------------------------------------------

    def look(self, chunk: Any) -> None:
        """Remember the latest reply that passes by, in whichever form the stream has."""
        self.look_for_pause(chunk)
        if isinstance(chunk, AIMessageChunk):
            known, text = self.tokens
            self.tokens = (chunk.id, (text if chunk.id == known else "") + str(chunk.text))
        elif isinstance(chunk, AIMessage):
            self.last = reply_of([chunk]) or self.last
        elif isinstance(chunk, Mapping):
            fields = cast("Mapping[str, Any]", chunk)
            reply = reply_of(fields.get(self.key))
            if reply is not None:
                self.last = reply
                return
            for inner in fields.values():
                if isinstance(inner, Mapping | AIMessage | tuple):
                    self.look(inner)
        elif isinstance(chunk, tuple):
            for inner in cast("tuple[Any, ...]", chunk):
                if isinstance(inner, Mapping | AIMessage | tuple):
                    self.look(inner)

    def look_for_pause(self, values: Any) -> None:
        """Remember that the graph waits before its next node."""
        if self.trail is not None and isinstance(values, Mapping) and _PAUSED in values:
            self.trail.paused = True

    def end(self) -> None:
        """Where nothing is held back: the reply passes the gate before the last chunk goes out."""
        if self.run is None:
            return
        raise_suspended(self.run)
        self.tell()
        if not self.near or self.bound:
            return
        if self.last is not None:
            reply = settle_reply(self.run, str(self.last.text), deliver=True)
            mark(self.last, self.run, reply.outcome, reply.text)
        elif self.tokens[1]:
            self.run.say(self.tokens[1])
        elif self.trail is not None:
            # A stream of something else: what the graph came to is all that can be known of the reply.
            final = self.trail.final
            came = reply_of(cast("Mapping[str, Any]", final).get(self.key)) if isinstance(final, Mapping) else None
            if came is not None:
                self.run.say(str(came.text))


class HeldStream:
    """A stream of a guarded graph whose replies are held back until they were judged."""

    def __init__(self, turn: Turn, graph: Any, kwargs: dict[str, Any]) -> None:
        self.turn = turn
        self.graph = graph
        self.run = cast("Run", turn.run)
        wanted = kwargs.get("stream_mode") or graph.stream_mode
        self.shape = Shape(wanted, subgraphs=bool(kwargs.get("subgraphs")), version=str(kwargs.get("version") or "v1"))
        self.kwargs = {**kwargs, "stream_mode": self.shape.inner}
        self.config: RunnableConfig = {**turn.config}
        self.screen = Screen(self.run)
        self.words = False
        """The last chunk was words that were judged; others wait for what follows them, in case the turn ends there."""
        self.waits = False
        """Nothing goes out before all is done: whoever makes events of this leaves at a chunk of a second run."""
        self._began = False
        self._known: set[str | None] = set()
        self._final: Any = None
        self._metadata: Mapping[str, Any] = {}
        """What came with the latest token."""

    def take(self, chunk: Any) -> list[Any]:
        """What may go out now that a chunk has come."""
        space_of, mode, payload = self.shape.read(chunk)
        self.turn.look_for_pause(payload)
        if mode == "values" and not space_of:
            if not self._began:
                self._began = True
                before = self._before(payload)
                self.screen.know(before)
                self._known = {message.id for message in before if isinstance(message, BaseMessage)}
            self._final = payload
        self.words = mode == "messages"
        if self.words:
            return self._take_message(chunk, payload)
        passed = list(self.screen.flush())
        if mode in self.shape.modes:
            passed.append(self.shape.write(chunk, self.screen.clean(payload)))
        return passed

    def _before(self, values: Any) -> list[Any]:
        """What of the first state is from before this turn: all where a turn goes on, else up to the user's words.

        A graph may have no state to show before its first node has spoken.
        """
        messages = self._listed(values)
        if not isinstance(self.turn.given, Mapping):
            return messages
        ends = [at for at, message in enumerate(messages, 1) if isinstance(message, HumanMessage)]
        return messages[: ends[-1]] if ends else []

    def _take_message(self, chunk: Any, payload: Any) -> list[Any]:
        message, self._metadata = payload
        if isinstance(message, AIMessageChunk):
            return list(self.screen.token(message.id or "", self.shape.write(chunk, payload), message))
        cleaned = self.screen.message(message)
        if cleaned is None:
            return []
        return [self.shape.write(chunk, payload if cleaned is message else (cleaned, self._metadata))]

    def ended(self) -> list[Any]:
        """What had waited for more to come."""
        return list(self.screen.flush())

    @property
    def reply(self) -> AIMessage | None:
        """The reply of this turn; None where there is none, or it was there before."""
        found = reply_of(self._listed(self._final))
        return found if found is not None and (found.id is None or found.id not in self._known) else None

    def partly(self) -> list[str]:
        """What was on the screen of replies that were held back then; each is recorded once."""
        taken, self.screen.partly = self.screen.partly, []
        return taken

    def settle(self, message: AIMessage, reply: Reply) -> tuple[Any, list[Any]]:
        """What goes into the graph next, should the model have to find other words, and what else goes out."""
        if reply.back is not None:
            self.config.pop("run_id", None)  # tracers know one run by it, and that has ended
            self.waits = bool(configurable(self.turn.config).get(EVENTS))
            stands = message.model_copy(update={"content": "(This reply was held back.)"})
            stands.additional_kwargs = {**message.additional_kwargs, **from_gate("", withheld=True).additional_kwargs}
            why = from_gate(reply.back, withheld=True)
            if self._checkpointed():
                return {self.turn.key: [stands, why]}, []
            messages = [stands if one is message else one for one in self._listed(self._final)]
            final: Any = self._final
            whole = cast("Mapping[str, Any]", final if isinstance(final, Mapping) else vars(final))
            return {**whole, self.turn.key: [*messages, why]}, []
        text = str(message.text)
        if not self.turn.bound:
            mark(message, self.run, reply.outcome, reply.text)
        if reply.text == text:
            return None, []
        message.content = reply.text
        self._replace(message)
        return None, [
            self.shape.make((), mode, made)
            for mode in self.shape.modes
            if (made := self._made(mode, message)) is not None
        ]

    def _made(self, mode: str, message: AIMessage) -> Any:
        """What a watcher sees in place of a reply that was held back for good."""
        if mode == "values":
            return self.screen.clean(self._final)
        if mode == "updates":
            return {"roadworthy": {self.turn.key: [message]}}
        if mode == "messages":
            return AIMessageChunk(content=str(message.text), id=message.id), dict(self._metadata)
        return None

    def _listed(self, values: Any) -> list[Any]:
        found: Any = (
            cast("Mapping[str, Any]", values).get(self.turn.key)
            if isinstance(values, Mapping)
            else getattr(values, self.turn.key, None)
        )
        return cast("list[Any]", found) if isinstance(found, list) else []

    def _checkpointed(self) -> bool:
        return bool(self.graph.checkpointer) and configurable(self.turn.config).get("thread_id") is not None

    def _replace(self, message: AIMessage) -> None:
        """Put the words that the user got into the thread, in place of those that were held back."""
        if not self._checkpointed():
            return
        try:
            self.graph.update_state(self.turn.config, {self.turn.key: [message]})
        except Exception:  # a state of the application's own kind: the user sees the right words all the same
            logger.exception("a reply that was held back could not be taken out of the thread of run %s", self.run.id)


def held_stream(kind: type[Any], graph: Any, turn: Turn, kwargs: dict[str, Any]) -> Iterator[Any]:
    """The stream of a graph that holds replies back."""
    stream = HeldStream(turn, graph, kwargs)
    given, again = turn.given, True
    held: list[Any] = []
    while again:
        for chunk in kind.stream(graph, given, stream.config, **stream.kwargs):
            out = stream.take(chunk)
            for text in stream.partly():
                stream.run.say(text)
            if out and not stream.waits:
                yield from held
                held.clear()
                if stream.words:
                    yield from out
                    continue
            held += out
        held += stream.ended()
        raise_suspended(stream.run)
        turn.tell()
        message, again = stream.reply, False
        if message is not None:
            reply = settle_reply(stream.run, str(message.text), deliver=not turn.bound)
            given, more = stream.settle(message, reply)
            again = given is not None
            held += more
    yield from held


async def aheld_stream(kind: type[Any], graph: Any, turn: Turn, kwargs: dict[str, Any]) -> AsyncIterator[Any]:
    """`held_stream` for async code."""
    stream = HeldStream(turn, graph, kwargs)
    given, again = turn.given, True
    held: list[Any] = []
    while again:
        async for chunk in kind.astream(graph, given, stream.config, **stream.kwargs):
            out = stream.take(chunk)
            for text in stream.partly():
                await stream.run.asay(text)
            if out and not stream.waits:
                for one in [*held, *(out if stream.words else ())]:
                    yield one
                held.clear()
                if stream.words:
                    continue
            held += out
        held += stream.ended()
        raise_suspended(stream.run)
        await asyncio.to_thread(turn.tell)
        message, again = stream.reply, False
        if message is not None:
            reply = await asettle_reply(stream.run, str(message.text), deliver=not turn.bound)
            given, more = await asyncio.to_thread(stream.settle, message, reply)
            again = given is not None
            held += more
    for one in held:
        yield one


def guarded_class(kind: type[Any], gate: Gate, messages_key: str, map: Map) -> type[Any]:
    """The graph's own class, with every invocation tied to a run. (All of `invoke`, `batch` and events are streams.)"""

    def stream(self: Any, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        turn = Turn(gate, messages_key, input, config, map)
        try:
            turn.begin()
            if turn.holds:
                yield from held_stream(kind, self, turn, kwargs)
                return
            held: list[Any] = []
            for chunk in kind.stream(self, turn.given, turn.config, **kwargs):
                yield from held
                turn.look(chunk)
                held = [chunk]
            turn.end()
            yield from held
        finally:
            turn.leave()

    async def astream(self: Any, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        turn = await asyncio.to_thread(Turn, gate, messages_key, input, config, map)
        try:
            await turn.abegin()
            if turn.holds:
                async for chunk in aheld_stream(kind, self, turn, kwargs):
                    yield chunk
                return
            held: list[Any] = []
            async for chunk in kind.astream(self, turn.given, turn.config, **kwargs):
                for kept in held:
                    yield kept
                turn.look(chunk)
                held = [chunk]
            await asyncio.to_thread(turn.end)
            for kept in held:
                yield kept
        finally:
            await asyncio.to_thread(turn.leave)

    def stream_events(self: Any, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        _refuse_protocol(gate, kwargs)
        return kind.stream_events(self, input, config, **kwargs)

    def astream_events(self: Any, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        _refuse_protocol(gate, kwargs)
        if kwargs.get("version") == "v3" or not holds_replies(gate):
            return kind.astream_events(self, input, config, **kwargs)
        outer = config if config is not None and "configurable" in config else config_here()
        known: RunnableConfig = {**(config or {}), "configurable": {**configurable(outer), EVENTS: True}}
        # The model reports its tokens past the stream, so here they have to be looked through once more.
        return _screened(gate, config, kind.astream_events(self, input, known, **kwargs))

    namespace = {
        "stream": stream,
        "astream": astream,
        "stream_events": stream_events,
        "astream_events": astream_events,
        "roadworthy_gate": gate,
        "__doc__": kind.__doc__,
    }
    return type(kind.__name__, (kind,), namespace)


def _refuse_protocol(gate: Gate, kwargs: Mapping[str, Any]) -> None:
    if kwargs.get("version") == "v3" and holds_replies(gate):
        raise UsageError(
            "the contract holds replies back until they were judged, and the events of version 'v3' cannot be held "
            "back; use version='v2', or stream(stream_mode='messages')"
        )


async def _screened(gate: Gate, config: RunnableConfig | None, events: AsyncIterator[Any]) -> AsyncIterator[Any]:
    turn = await asyncio.to_thread(Turn, gate, "", None, config)
    if not turn.holds:
        async for event in events:
            yield event
        return
    screen = Screen(cast("Run", turn.run))
    async for event in events:
        for one in screen.event(event):
            yield one
        for text in screen.partly:
            await cast("Run", turn.run).asay(text)
        screen.partly.clear()
    for one in screen.flush():
        yield one
