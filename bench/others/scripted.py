"""A model that says what a script says, behind the interface that everybody's client speaks.

It is no language model. It answers one request after the other with the next step of its script, whatever it was told
meanwhile: a model that was talked into something and does not let itself be stopped by words. A step may hand on what
it was told, so that a model can copy what it has really read.
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Calls:
    """A step in which the model calls tools: pairs of a name and arguments."""

    calls: tuple[tuple[str, dict[str, Any]], ...]


def call(name: str, **args: Any) -> Calls:
    """The step that calls one tool."""
    return Calls(((name, args),))


Answer = str | Calls
"""What the model answers one request with: words, or calls of tools."""
Step = Answer | Callable[[str], Answer]
"""An answer, or what makes one of the last thing that the model was told."""


@dataclass(slots=True)
class ScriptedModel:
    """The endpoint, and what it was asked."""

    url: str
    """What a client takes for `base_url`."""
    steps: list[Step]
    """What is still to be said. After the last one, every answer is "Done."."""
    upstream: str | None = None
    """A real model in the place of the script: the base URL of its endpoint."""
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The bodies of the requests so far."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, request: dict[str, Any]) -> tuple[int, Answer]:
        """The number of this request and the answer to it."""
        with self.lock:
            self.requests.append(request)
            step = self.steps.pop(0) if self.steps else "Done."
            return len(self.requests), step if isinstance(step, str | Calls) else step(_last_told(request))


def _last_told(request: dict[str, Any]) -> str:
    last = (request.get("messages") or request.get("input") or [""])[-1]
    if isinstance(last, str):
        return last
    told = last.get("content") or last.get("output") or ""
    return told if isinstance(told, str) else " ".join(str(part.get("text", "")) for part in told)


@contextmanager
def scripted_model(steps: Sequence[Step], *, upstream: str | None = None) -> Generator[ScriptedModel]:
    """Serve a script on loopback, under a free port; or hand on what is asked to a real model, and keep it."""
    server = _Server(("127.0.0.1", 0), _Handler)
    model = server.model = ScriptedModel(url=f"http://127.0.0.1:{server.server_port}/v1", steps=list(steps))
    model.upstream = upstream
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    model: ScriptedModel


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model = cast("_Server", self.server).model
        if model.upstream is not None:
            model.requests.append(given)
            self._send(*_asked(model.upstream + self.path.removeprefix("/v1"), given))
            return
        number, step = model.next(given)
        response = self.path.endswith("/responses")
        whole = _response(given, number, step) if response else _completion(given, number, step)
        if given.get("stream"):
            events = _response_events(whole) if response else _completion_events(whole)
            self._send("text/event-stream", "".join(events).encode())
        else:
            self._send("application/json", json.dumps(whole).encode())

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _asked(url: str, given: dict[str, Any]) -> tuple[str, bytes]:
    """What a real model answers: the kind of its body, and the body."""
    request = urllib.request.Request(url, json.dumps(given).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return answer.headers["Content-Type"], answer.read()


def _completion(given: dict[str, Any], number: int, step: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    if isinstance(step, Calls):
        message["tool_calls"] = [
            {"id": f"call_{number}_{at}", "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
            for at, (name, args) in enumerate(step.calls)
        ]
    else:
        message["content"] = step
    reason = "tool_calls" if isinstance(step, Calls) else "stop"
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": given["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _completion_events(whole: dict[str, Any]) -> Iterator[str]:
    choice = whole["choices"][0]
    message = dict(choice["message"])
    for at, made in enumerate(message.get("tool_calls", ())):
        made["index"] = at
    usage = whole.pop("usage")
    chunk = {**whole, "object": "chat.completion.chunk"}
    yield _event({**chunk, "choices": [{"index": 0, "delta": message, "finish_reason": None}]})
    yield _event({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    yield _event({**chunk, "choices": [], "usage": usage})
    yield "data: [DONE]\n\n"


def _response(given: dict[str, Any], number: int, step: Answer) -> dict[str, Any]:
    output: list[dict[str, Any]]
    if isinstance(step, Calls):
        output = [
            {
                "type": "function_call",
                "id": f"fc_{number}_{at}",
                "call_id": f"call_{number}_{at}",
                "name": name,
                "arguments": json.dumps(args),
                "status": "completed",
            }
            for at, (name, args) in enumerate(step.calls)
        ]
    else:
        words = {"type": "output_text", "text": step, "annotations": list[Any]()}
        output = [
            {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed", "content": [words]}
        ]
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 0,
        "model": given["model"],
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "output": output,
        "parallel_tool_calls": True,
        "prompt_cache_diagnostics": None,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": 1,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 1,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 2,
        },
    }


def _response_events(whole: dict[str, Any]) -> Iterator[str]:
    yield _event({"type": "response.created", "sequence_number": 0, "response": {**whole, "output": []}})
    for at, item in enumerate(whole["output"]):
        yield _event({"type": "response.output_item.done", "sequence_number": at + 1, "output_index": at, "item": item})
    yield _event({"type": "response.completed", "sequence_number": len(whole["output"]) + 1, "response": whole})


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"
