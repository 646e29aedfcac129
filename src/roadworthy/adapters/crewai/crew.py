"""Crews of CrewAI: a kickoff is one piece of work, and a stream hands its reply out whole, once it was judged."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any, cast

from crewai.types.streaming import CrewStreamingOutput, StreamChunk, StreamChunkType

from roadworthy.adapters.crewai.turn import last_look
from roadworthy.adapters.crewai.work import near_user, working
from roadworthy.adapters.replies import holds_replies
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run, current_run

_STREAMED: ContextVar[list[str] | None] = ContextVar("roadworthy_crewai_streamed", default=None)
"""Where a crew that streams puts its reply, once it was judged."""


class _JudgedChunk(StreamChunk):
    """A reply that was judged."""


def crew_methods(kind: Any, gate: Gate, guard_agent: Callable[[Any], None]) -> dict[str, Any]:
    """What a guarded crew does its own way."""

    def _post_kickoff(self: Any, result: Any) -> Any:
        result = last_look(near_user() if holds_replies(gate) else None, kind._post_kickoff(self, result))
        streamed = _STREAMED.get()
        if streamed is not None:
            streamed.append(str(result.raw))
        return result

    def _create_manager_agent(self: Any) -> None:
        kind._create_manager_agent(self)
        guard_agent(self.manager_agent)  # CrewAI may have made it by itself

    methods: dict[str, Any] = {
        "_post_kickoff": _post_kickoff,
        "_create_manager_agent": _create_manager_agent,
        "kickoff": _streaming(kind.kickoff, gate),
    }
    for name in ("kickoff_async", "akickoff", "kickoff_for_each_async", "akickoff_for_each"):
        methods[name] = _astreaming(getattr(kind, name), gate)
    return methods


def _streaming(method: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    @functools.wraps(method)
    def kickoff(self: Any, *args: Any, **kwargs: Any) -> Any:
        with working():
            return _screened(method(self, *args, **kwargs), gate)

    return kickoff


def _astreaming(method: Callable[..., Awaitable[Any]], gate: Gate) -> Callable[..., Any]:
    @functools.wraps(method)
    async def kickoff(self: Any, *args: Any, **kwargs: Any) -> Any:
        with working():
            return _screened(await method(self, *args, **kwargs), gate)

    return kickoff


def _screened(result: Any, gate: Gate) -> Any:
    """A crew that streams begins when its stream is read; it belongs to the run that was bound when it was started."""
    if isinstance(result, CrewStreamingOutput):
        run = current_run()
        holds = holds_replies(gate) and near_user() is not None
        parts = cast("Any", result)
        if parts._sync_iterator is not None:
            parts._sync_iterator = _chunks(parts._sync_iterator, run, holds=holds)
        if parts._async_iterator is not None:
            parts._async_iterator = _achunks(parts._async_iterator, run, holds=holds)
    return result


class _Chunks:
    """Holds words back while a crew streams; at the end there is its reply."""

    def __init__(self) -> None:
        self.replies: list[str] = []
        self._last: StreamChunk | None = None

    def passes(self, chunk: Any) -> bool:
        if isinstance(chunk, _JudgedChunk) or chunk.chunk_type != StreamChunkType.TEXT:
            return True
        self._last = chunk
        return False

    def end(self) -> list[_JudgedChunk]:
        like: dict[str, Any] = self._last.model_dump() if self._last is not None else {}
        return [_JudgedChunk.model_validate({**like, "content": reply}) for reply in self.replies]


def _chunks(items: Iterator[Any], run: Run | None, *, holds: bool) -> Iterator[Any]:
    chunks = _Chunks()
    try:
        while True:
            token = _STREAMED.set(chunks.replies if holds else None)
            try:
                with run.bind() if run is not None else nullcontext():
                    chunk = next(items, None)  # the first of these starts the crew
            finally:
                _STREAMED.reset(token)
            if chunk is None:
                break
            if not holds or chunks.passes(chunk):
                yield chunk
    finally:
        cast("Any", items).close()
    yield from chunks.end() if holds else ()


async def _achunks(items: AsyncIterator[Any], run: Run | None, *, holds: bool) -> AsyncIterator[Any]:
    chunks = _Chunks()
    try:
        while True:
            token = _STREAMED.set(chunks.replies if holds else None)
            try:
                with run.bind() if run is not None else nullcontext():
                    chunk = await anext(items, None)
            finally:
                _STREAMED.reset(token)
            if chunk is None:
                break
            if not holds or chunks.passes(chunk):
                yield chunk
    finally:
        await cast("Any", items).aclose()
    for chunk in chunks.end() if holds else ():
        yield chunk
