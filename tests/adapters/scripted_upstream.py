"""A model's endpoint that answers from a script: no model is behind it, and what it says was written for the tests."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

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
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
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
