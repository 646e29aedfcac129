"""A model behind an address of our own: what it answers is recorded, replayed, or only passed on.

with ModelEndpoint(upstream=Upstream.of("http://127.0.0.1:8000/v1"), cassette="desk.jsonl", mode="record") as endpoint:
    agent = build(base_url=endpoint.url())
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, cast

from roadworthy.adapters.model.asked import PATHS, Asked, asked_of
from roadworthy.adapters.model.cassette import Cassette, Recording
from roadworthy.adapters.model.difference import differences
from roadworthy.adapters.model.serving import Doorway, LoopbackServer, Request, Response, refused
from roadworthy.adapters.model.streams import Begun, assembling, told_again
from roadworthy.adapters.model.upstream import Reply, Unanswered, Upstream
from roadworthy.core.errors import UsageError
from roadworthy.core.visible import visible

_log = logging.getLogger("roadworthy.model")

Mode = Literal["record", "extend", "replay", "pass"]
"""`record`: ask the model, into a new cassette. `extend`: ask it only for what the cassette lacks. `replay`: never ask
it. `pass`: ask it, and keep no cassette."""
MODES: Final[tuple[Mode, ...]] = ("record", "extend", "replay", "pass")

_MOST_BYTES: Final = 32 * 1024 * 1024
_KEPT_STATUS: Final = frozenset((200, 400, 404, 413, 422))
"""Answers that would be the same tomorrow. What is about keys, load or the network is only passed on."""


@dataclass(slots=True)
class _Line:
    """One conversation with the model: a run, or a trial of one."""

    name: str
    secret: str = field(repr=False)
    trial: int
    asked: Counter[str] = field(default_factory=Counter[str])
    """By key, how often it was asked."""


class ModelEndpoint:
    """An OpenAI-compatible endpoint on 127.0.0.1, while the `with` block lasts. Safe to share between threads.

    `upstream`: where the model is; needless for `replay`. `cassette`: a file; needless for `pass`. `port`: 0 takes any
    that is free. Raises UsageError for what does not go together, and for a cassette that cannot be read or written.
    """

    def __init__(
        self,
        *,
        upstream: Upstream | None = None,
        cassette: str | Path | None = None,
        mode: Mode = "replay",
        port: int = 0,
    ) -> None:
        if mode not in MODES:
            raise UsageError(f"mode={mode!r} is none of {', '.join(MODES)}")
        if (upstream is None) != (mode == "replay"):
            raise UsageError(
                "a replay asks no model: leave upstream= out"
                if upstream is not None
                else f"mode={mode!r} asks a model: say where it is with upstream=Upstream.of(URL)"
            )
        if (cassette is None) != (mode == "pass"):
            raise UsageError(
                f"mode={mode!r} needs a cassette=FILE" if cassette is None else "mode='pass' keeps no cassette"
            )
        self.mode: Mode = mode
        self._upstream = upstream
        self._cassette = _cassette(Path(cassette), mode) if cassette is not None else None
        self._port = port
        self._lines: dict[str, _Line] = {}
        self._guard = threading.Lock()
        self._server: LoopbackServer | None = None

    def __enter__(self) -> Self:
        try:
            server = LoopbackServer(
                Doorway(known=lambda path: self._find(path) is not None, handle=self._handle, most_bytes=_MOST_BYTES),
                self._port,
            )
        except (OSError, OverflowError) as error:
            raise UsageError(f"nobody can be served at 127.0.0.1:{self._port}: {error}") from error
        server.start()
        self._server = server
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        if self._server is not None:
            self._server.close()
            self._server = None

    def url(self, *, trial: int = 0) -> str:
        """A base URL for one conversation, with a token of its own: give it to the client with any API key.

        What is asked several times in one conversation has several answers, which count from 0 with every new URL.
        `trial` tells several conversations that begin alike apart, in the cassette.
        """
        if self._server is None:
            raise UsageError("the endpoint does not serve yet: use it inside of `with ModelEndpoint(…) as endpoint:`")
        line = _Line(name=secrets.token_hex(4), secret=secrets.token_urlsafe(24), trial=trial)
        with self._guard:
            self._lines[line.name] = line
        return f"http://127.0.0.1:{self._server.port}/r/{line.name}.{line.secret}/v1"

    def close_url(self, url: str) -> None:
        """Forget a conversation: its URL is served no more."""
        name = url.rpartition("/r/")[2].partition(".")[0]
        with self._guard:
            self._lines.pop(name, None)

    # -- one request --------------------------------------------------------------------------------------------------

    def _find(self, path: str) -> tuple[_Line, str] | None:
        """The conversation that a path names, and what is asked for below `/v1/`."""
        lead, _, rest = path.partition("?")[0].partition("/r/")
        token, _, asked = rest.partition("/v1/")
        name, _, secret = token.partition(".")
        with self._guard:
            line = self._lines.get(name)
        # A name that is not known takes as long as one that is.
        right = secrets.compare_digest(secret.encode(), (line.secret if line is not None else " ").encode())
        return (line, asked) if line is not None and right and not lead else None

    def _handle(self, request: Request) -> Response:
        found = self._find(request.path)
        if found is None:
            return refused(404, "path", "nothing is here")
        line, path = found
        if request.method == "GET" and path == "models":
            return self._models()
        if request.method != "POST" or path not in PATHS:
            served = ", ".join(f"/v1/{name}" for name in PATHS)
            return refused(404, "path", f"{request.method} /v1/{path} is not served here; {served} and /v1/models are")
        try:
            body: object = json.loads(request.body)
        except (ValueError, RecursionError):
            return refused(400, "body", "the body is no JSON")
        if not isinstance(body, dict):
            return refused(400, "body", "the body is no JSON object")
        return self._answer(line, path, cast("dict[str, Any]", body), request)

    def _answer(self, line: _Line, path: str, body: Mapping[str, Any], request: Request) -> Response:
        asked = asked_of(path, body)
        with self._guard:
            nth = line.asked[asked.key]
            line.asked[asked.key] += 1
        wants = _Wants.of(body)
        if self.mode in ("replay", "extend") and self._cassette is not None:
            recording = self._cassette.find(asked.key, line.trial, nth)
            if recording is not None:
                return wants.response(asked.path, recording.status, recording.answer)
            if self.mode == "replay":
                self._not_asked(line, asked)
                return self._missed(self._cassette, asked, line.trial, nth)
        try:
            return self._live(line, asked, nth, body, wants, request)
        except Unanswered as error:
            self._not_asked(line, asked)
            return Response(
                status=502,
                body={"error": {"message": str(error), "type": "roadworthy", "param": None, "code": "upstream"}},
            )

    def _live(
        self, line: _Line, asked: Asked, nth: int, body: Mapping[str, Any], wants: _Wants, request: Request
    ) -> Response:
        upstream = self._upstream
        assert upstream is not None, "only a replay has no upstream"
        reply = upstream.send(asked.path, json.dumps(wants.widened(asked.path, body)).encode())
        if reply.streams and wants.stream:
            return Response(status=reply.status, body=Begun(self._passed(line, asked, nth, wants, reply)))
        with reply:
            answer = reply.json()
        if reply.status not in _KEPT_STATUS or request.gone():
            self._not_asked(line, asked)
            wait = {} if reply.retry_after is None else {"Retry-After": reply.retry_after}
            return Response(status=reply.status, body=answer, headers=wait)
        self._keep(line, asked, nth, reply.status, answer)
        return wants.response(asked.path, reply.status, answer)

    def _passed(self, line: _Line, asked: Asked, nth: int, wants: _Wants, reply: Reply) -> Iterator[bytes]:
        """The events of an answer as they come. The last one waits until the whole is kept."""
        kept = False
        try:
            with reply:
                whole = assembling(asked.path, usage=wants.usage)
                for event in reply.events():
                    passes = whole.feed(event)
                    if whole.ended:
                        answer = whole.whole()
                        if answer is not None:
                            self._keep(line, asked, nth, reply.status, answer)
                            kept = True
                        yield event.raw
                        return
                    if passes:
                        yield event.raw
                answer = whole.whole()
                if answer is None:
                    raise Unanswered("the upstream broke off before its answer was complete")
                self._keep(line, asked, nth, reply.status, answer)  # it said no `[DONE]`
                kept = True
        except Unanswered as error:
            _log.warning("%s", error)
            raise
        finally:
            if not kept:
                self._not_asked(line, asked)

    def _keep(self, line: _Line, asked: Asked, nth: int, status: int, answer: Mapping[str, Any]) -> None:
        if self._cassette is not None:
            self._cassette.add(Recording(asked=asked, trial=line.trial, nth=nth, status=status, answer=answer))

    def _not_asked(self, line: _Line, asked: Asked) -> None:
        """What nobody got an answer to is asked again, for the same answer."""
        with self._guard:
            line.asked[asked.key] -= 1

    def _missed(self, cassette: Cassette, asked: Asked, trial: int, nth: int) -> Response:
        times = "" if nth == 0 else f", asked for the {nth + 1}. time in this conversation"
        text = f"nothing is recorded for this request (trial {trial}{times}) in {cassette.path.name}"
        near = cassette.nearest(asked)
        if near is None:
            text += ", which is empty"
        elif near.asked.key == asked.key:
            same = [one for one in cassette if one.asked.key == asked.key]
            known = ", ".join(f"trial {one.trial}, {one.nth + 1}. time" for one in same)
            text += f"; the same request is recorded for: {known}"
        else:
            told = "\n".join(f"  {line}" for line in differences(near.asked, asked))
            text += f". It differs from the nearest recording, {near.asked.key[:12]}, in:\n{told}"
        _log.warning("%s", visible(text))
        return refused(404, "not_recorded", text)

    def _models(self) -> Response:
        if self._upstream is not None:
            try:
                with self._upstream.send("models", None) as reply:
                    return Response(status=reply.status, body=reply.json())
            except Unanswered as error:
                return refused(502, "upstream", str(error))
        names = sorted({one.asked.model for one in self._cassette or ()})
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "roadworthy"} for name in names]
        return Response(status=200, body={"object": "list", "data": data})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wants:
    """How a client wants its answer."""

    stream: bool
    usage: bool
    """It wants to be told at the end of a stream what was used."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> _Wants:
        options = body.get("stream_options")
        usage = isinstance(options, Mapping) and bool(cast("Mapping[str, Any]", options).get("include_usage"))
        return cls(stream=bool(body.get("stream")), usage=usage)

    def widened(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is asked of the model: what the client asks, and what was used, which is counted."""
        if not self.stream or path != "chat/completions":
            return body
        options = cast("Mapping[str, Any]", body.get("stream_options") or {})
        return {**body, "stream_options": {**options, "include_usage": True}}

    def response(self, path: str, status: int, answer: Mapping[str, Any]) -> Response:
        """A whole answer, as the client wants it. Errors come whole."""
        if self.stream and status == 200:
            return Response(status=200, body=told_again(path, answer, usage=self.usage))
        return Response(status=status, body=answer)


def _cassette(path: Path, mode: Mode) -> Cassette:
    if mode == "record" or (mode == "extend" and not path.exists()):
        return Cassette.new(path)
    return Cassette.read(path)
