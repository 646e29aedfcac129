"""A model's endpoint that answers from a script: no model is behind it, and what it says was written for the tests."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import urlsplit

from roadworthy.adapters.model.streams import assembling, event_of

Script = Callable[[str, Mapping[str, Any]], Any]
"""What is answered to a path and a body: an object; `(status, object)`; or a list of bytes, which are streamed."""


@dataclass
class ScriptedUpstream:
    """What was asked of it, and where it is."""

    url: str
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])


@contextmanager
def scripted_upstream(script: Script) -> Generator[ScriptedUpstream]:
    """Serve a script on loopback while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve({})

        def do_POST(self) -> None:
            self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _serve(self, body: dict[str, Any]) -> None:
            path = self.path.removeprefix("/v1/")
            upstream.asked.append((path, body))
            upstream.headers.append({name.lower(): value for name, value in self.headers.items()})
            said = script(path, body)
            status, said = cast("tuple[int, Any]", said) if isinstance(said, tuple) else (200, said)
            pieces = cast("list[bytes] | None", said if isinstance(said, list) else None)
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if pieces is None else "text/event-stream")
            self.end_headers()
            for piece in [json.dumps(said).encode()] if pieces is None else pieces:
                self.wfile.write(piece)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        upstream = ScriptedUpstream(url=f"http://127.0.0.1:{server.server_port}/v1")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield upstream
        finally:
            server.shutdown()
            thread.join()


def chat(content: str | None = None, *calls: tuple[str, str, dict[str, Any]], tokens: int = 10) -> dict[str, Any]:
    """A chat completion that says something, or calls tools: `(id, name, arguments)`."""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = [
            {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
            for id, name, args in calls
        ]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "scripted-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": {"prompt_tokens": tokens - 2, "completion_tokens": 2, "total_tokens": tokens},
    }


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def ask(
    url: str,
    body: Mapping[str, Any] | bytes | None,
    path: str = "chat/completions",
    headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    try:
        connection.request("GET" if data is None else "POST", f"{parts.path}/{path}", data, dict(headers or {}))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def said(answer: tuple[int, dict[str, Any]]) -> str:
    status, body = answer
    assert status == 200, body
    return body["choices"][0]["message"]["content"]


def stream(url: str, body: Mapping[str, Any], path: str = "chat/completions") -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request("POST", f"{parts.path}/{path}", json.dumps({**body, "stream": True}))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def put_together(path: str, data: bytes | Iterable[bytes], *, usage: bool = True) -> dict[str, Any] | None:
    whole = assembling(path, usage=usage)
    text = data if isinstance(data, bytes) else b"".join(data)
    for block in text.split(b"\n\n"):
        if block:
            assert not whole.ended
            whole.feed(event_of(block.split(b"\n")))
    assert whole.ended
    return whole.whole()


def chunk(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> bytes:
    made = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "scripted-1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **more,
    }
    return f"data: {json.dumps(made)}\n\n".encode()


DONE = b"data: [DONE]\n\n"
USAGE: dict[str, Any] = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
TOOL_CALL = [
    b": the server is awake\n\n",
    chunk({"role": "assistant", "content": None}),
    chunk({"tool_calls": [{"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a": '}}]}),
    chunk({"tool_calls": [{"index": 1, "id": "t2", "type": "function", "function": {"name": "g", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
    chunk({"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]}),
    chunk({}, "tool_calls"),
    chunk({}, choices=[], usage=USAGE),
    DONE,
]
