"""A model behind an address of our own: what it answers is recorded, replayed, or only passed on.

with ModelEndpoint(upstream=Upstream.of("http://127.0.0.1:8000/v1"), cassette="desk.jsonl", mode="record") as endpoint:
    agent = build(base_url=endpoint.url())
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, cast

from roadworthy.adapters.model.asked import PATHS, Asked, asked_of, same_asked
from roadworthy.adapters.model.cassette import Cassette, Recording
from roadworthy.adapters.model.conversation import Conversation, LateRun, Unmetered
from roadworthy.adapters.model.difference import differences
from roadworthy.adapters.model.labelled import Labelled, Value
from roadworthy.adapters.model.prices import Price
from roadworthy.adapters.model.pseudonyms import revealed
from roadworthy.adapters.model.serving import Doorway, LoopbackServer, Request, Response, refused
from roadworthy.adapters.model.streams import Assembling, Begun, Event, assembling, told_again
from roadworthy.adapters.model.upstream import Reply, Unanswered, Upstream
from roadworthy.contract.model import Contract
from roadworthy.core.errors import LedgerError, UsageError
from roadworthy.core.visible import visible
from roadworthy.gate.chat_spans import ChatSpan
from roadworthy.gate.run import Run

_log = logging.getLogger("roadworthy.model")

Mode = Literal["record", "extend", "replay", "pass"]
"""`record`: ask the model, into a new cassette. `extend`: ask it only for what the cassette lacks. `replay`: never ask
it. `pass`: ask it, and keep no cassette."""
MODES: Final[tuple[Mode, ...]] = ("record", "extend", "replay", "pass")

_UNMETERED: Final = (
    "the answer does not say how many tokens it used, and the run's contract limits them: use one that says so, "
    "or take `model_tokens` and `model_cost` out of the contract's budgets"
)
_MOST_BYTES: Final = 32 * 1024 * 1024
_KEPT_STATUS: Final = frozenset((200, 400, 404, 413, 422))
"""Answers that would be the same tomorrow. What is about keys, load or the network is only passed on."""


class ModelEndpoint:
    """An OpenAI-compatible endpoint on 127.0.0.1, while the `with` block lasts. Safe to share between threads.

    `upstream`: where the model is; needless for `replay`. `cassette`: a file; needless for `pass`. `contract`: what
    carries its labels gets other names in the cassette; where a run is given, its own contract is taken. `prices`: by
    model, for contracts with `model_cost`. `port`: 0 takes any that is free. Raises UsageError for what does not go
    together, and for a cassette that cannot be read or written.
    """

    def __init__(
        self,
        *,
        upstream: Upstream | None = None,
        cassette: str | Path | None = None,
        mode: Mode = "replay",
        contract: Contract | None = None,
        prices: Mapping[str, Price] | None = None,
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
        self._contract = contract
        self._labelled: dict[str, Labelled] = {}
        self._prices = dict(prices or {})
        self._conversations: dict[str, Conversation] = {}
        self.missed = 0
        """How often something was asked in a replay that is not recorded."""
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
        for talk in list(self._conversations.values()):
            self._hide_the_rest(talk)

    def url(self, run: Run | LateRun | None = None, *, trial: int = 0) -> str:
        """A base URL for one conversation, with a token of its own: give it to the client with any API key.

        `run`: the run that the model is asked for. Its budgets hold, and when it is driven again, what the model
        answered before comes back from the ledger: take a new URL then. What is asked several times in one conversation
        has several answers, which count from 0 with every new URL. `trial` tells conversations that begin alike apart.
        """
        if self._server is None:
            raise UsageError("the endpoint does not serve yet: use it inside of `with ModelEndpoint(…) as endpoint:`")
        made = Conversation(run, trial, self._prices)
        with self._guard:
            self._conversations[made.name] = made
        return f"http://127.0.0.1:{self._server.port}/r/{made.token}/v1"

    def close_url(self, url: str) -> None:
        """Forget a conversation, and with it its run: its URL is served no more."""
        name = url.rpartition("/r/")[2].partition(".")[0]
        with self._guard:
            talk = self._conversations.pop(name, None)
        if talk is not None:
            self._hide_the_rest(talk)

    @contextmanager
    def conversation(self, run: Run | LateRun | None = None, *, trial: int = 0) -> Generator[str]:
        """`url` for the `with` block, and `close_url` after it."""
        url = self.url(run, trial=trial)
        try:
            yield url
        finally:
            self.close_url(url)

    # -- one request --------------------------------------------------------------------------------------------------

    def _find(self, path: str) -> tuple[Conversation, str] | None:
        """The conversation that a path names, and what is asked for below `/v1/`."""
        lead, _, rest = path.partition("?")[0].partition("/r/")
        token, _, asked = rest.partition("/v1/")
        name, _, secret = token.partition(".")
        with self._guard:
            found = self._conversations.get(name)
        return (found, asked) if found is not None and not lead and found.opens(secret) else None

    def _handle(self, request: Request) -> Response:
        found = self._find(request.path)
        if found is None:
            return refused(404, "path", "nothing is here")
        talk, path = found
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
        try:
            refusal = talk.without_run()
        except LedgerError as error:
            _log.error("%s", error)
            return refused(503, "ledger", f"the run cannot be read: {error.text}")
        if refusal is not None:
            return refusal
        known = cast("dict[str, Any]", body)
        return self._answer(talk, asked_of(path, known), known, request)

    def _answer(self, talk: Conversation, asked: Asked, body: Mapping[str, Any], request: Request) -> Response:
        turn = _Turn(talk, asked, talk.begin(asked), _Wants.of(body), talk.span(asked, request.trace))
        try:
            return self._from_somewhere(turn, body, request)
        except LedgerError as error:
            _log.error("%s", error)
            turn.nothing("ledger")
            return refused(503, "ledger", f"the answer cannot be recorded, so it is not given: {error.text}")
        except Unmetered:
            turn.nothing("usage")
            return refused(502, "usage", _UNMETERED)
        except Unanswered as error:
            turn.nothing("upstream")
            told = {"message": str(error), "type": "roadworthy", "param": None, "code": "upstream"}
            return Response(status=502, body={"error": told})  # clients may try again
        except BaseException:
            turn.nothing("defect")
            raise

    def _from_somewhere(self, turn: _Turn, body: Mapping[str, Any], request: Request) -> Response:
        talk, asked = turn.talk, turn.asked
        before = talk.before(asked)
        if before is not None:
            return turn.given(*before, source="journal")
        refusal = talk.refusal(asked)
        if refusal is not None:
            turn.nothing("budget")
            return refusal
        if self._cassette is not None and self.mode in ("replay", "extend"):
            found = self._cassette.find(asked, talk.trial, turn.nth, talk.bound)
            if found is not None:
                talk.bound, answer = found.bound, found.answer
                talk.keep(asked, found.recording.status, answer)
                return turn.given(found.recording.status, answer, source="cassette")
            if self.mode == "replay":
                turn.nothing("not_recorded")
                return self._missed(self._cassette, turn)
        return self._live(turn, body, request)

    def _live(self, turn: _Turn, body: Mapping[str, Any], request: Request) -> Response:
        upstream, asked = self._upstream, turn.asked
        assert upstream is not None, "only a replay has no upstream"
        reply = upstream.send(asked.path, json.dumps(turn.wants.widened(asked.path, body)).encode())
        if reply.streams and turn.wants.stream:
            return Response(status=reply.status, body=Begun(self._passed(turn, reply)))
        with reply:
            answer = reply.json()
        if request.gone():  # whoever asked has given up, and may ask again
            turn.talk.spent(asked, answer)
            turn.nothing("gone")
        elif reply.status not in _KEPT_STATUS:
            turn.nothing(str(reply.status))
        else:
            self._keep(turn, reply.status, answer)
            return turn.given(reply.status, answer, source="live")
        wait = {} if reply.retry_after is None else {"Retry-After": reply.retry_after}
        return Response(status=reply.status, body=answer, headers=wait)

    def _passed(self, turn: _Turn, reply: Reply) -> Iterator[bytes]:
        """The events of an answer as they come. The last one waits until the whole is kept."""
        why = "upstream"
        with reply:
            events, whole = reply.events(), assembling(turn.asked.path, usage=turn.wants.usage)
            try:
                for event in events:
                    passes = whole.feed(event)
                    if whole.ended:
                        why = self._kept_whole(turn, reply.status, whole)
                        yield event.raw
                        return
                    if passes:
                        yield event.raw
                why = self._kept_whole(turn, reply.status, whole)  # it said no `[DONE]`
                if why:
                    raise Unanswered("the upstream broke off before its answer was complete")
            except GeneratorExit:
                why = "gone"
                self._count_the_rest(turn, events, whole)
                raise
            except (Unanswered, Unmetered, LedgerError) as error:
                _log.warning("%s", _UNMETERED if isinstance(error, Unmetered) else error)
                raise
            finally:
                if why:
                    turn.nothing(why)

    def _kept_whole(self, turn: _Turn, status: int, whole: Assembling) -> str:
        answer = whole.whole()
        if answer is None:
            return "upstream"
        self._keep(turn, status, answer)
        turn.told(answer, source="live")
        return ""

    def _count_the_rest(self, turn: _Turn, events: Iterator[Event], whole: Assembling) -> None:
        """What a run has asked for it pays for, though nobody waits for it any more."""
        if turn.talk.run is None or whole.ended:
            return
        try:
            for event in events:
                whole.feed(event)
            turn.talk.spent(turn.asked, whole.whole() or {})
        except (Unanswered, LedgerError) as error:
            _log.warning("what an answer used that nobody waited for is not counted: %s", error)

    def _keep(self, turn: _Turn, status: int, answer: Mapping[str, Any]) -> None:
        talk, asked = turn.talk, turn.asked
        talk.keep(asked, status, answer)
        if self._cassette is not None:
            made = Recording(asked=asked, trial=talk.trial, nth=turn.nth, status=status, answer=answer)
            self._cassette.add(made, self._labelled_in(talk, made))

    def _labelled_in(self, talk: Conversation, made: Recording | None) -> list[Value]:
        """What carries a label in a recording, and in what the run has learnt."""
        contract = talk.run.gate.contract if talk.run is not None else self._contract
        if contract is None or not contract.labels:
            return []
        labelled = self._labelled.setdefault(contract.digest, Labelled(contract))
        found = [*talk.learnt(labelled)]
        if made is not None:
            found += labelled.in_request(made.asked)
        return found

    def _hide_the_rest(self, talk: Conversation) -> None:
        """What the run has learnt after it asked the model for the last time may stand in what it asked."""
        if self._cassette is None or self.mode == "replay":
            return
        try:
            self._cassette.hide(self._labelled_in(talk, None))
        except LedgerError as error:
            _log.warning("labelled values may stand in %s: %s", self._cassette.path.name, error)

    def _missed(self, cassette: Cassette, turn: _Turn) -> Response:
        asked, trial, nth = turn.asked, turn.talk.trial, turn.nth
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
            recorded = same_asked(near.asked.path, revealed(near.asked.body, turn.talk.bound))
            told = "\n".join(f"  {line}" for line in differences(recorded, asked))
            text += f". It differs from the nearest recording, {near.asked.key[:12]}, in:\n{told}"
        with self._guard:
            self.missed += 1
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


@dataclass(slots=True)
class _Turn:
    """One request, on its way to its answer."""

    talk: Conversation
    asked: Asked
    nth: int
    wants: _Wants
    span: ChatSpan | None
    over: bool = False

    def given(self, status: int, answer: Mapping[str, Any], *, source: str) -> Response:
        """It has an answer, as the client wants it."""
        self.told(answer, source=source)
        return self.wants.response(self.asked.path, status, answer)

    def told(self, answer: Mapping[str, Any], *, source: str) -> None:
        """It has an answer."""
        self.over = True
        if self.span is not None:
            self.span.ended(source=source, answer=answer, used=self.talk.used(self.asked, answer))

    def nothing(self, why: str) -> None:
        """Nobody gets an answer to it, unless somebody has."""
        if self.over:
            return
        self.over = True
        self.talk.give_back(self.asked)
        if self.span is not None:
            self.span.failed(why)


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
