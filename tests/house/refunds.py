"""What the pages on frameworks have at hand beside what they show: a scripted model, and a server for their users."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from roadworthy.examples.scripted.messages import Message, ToolSchema
from roadworthy.gate.run import Run


def calling(name: str, call_id: str, **args: Any) -> Message:
    """A message of a model that calls one tool."""
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def respond(messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Message:
    """Looks order 1002 up, tries to refund it, and then says what it was told."""
    results = [str(message["content"]) for message in messages if message["role"] == "tool"]
    steps = [
        calling("find_order", "call-0", order_no="1002"),
        calling("refund", "call-1", order_no="1002", amount="19.00"),
    ]
    return steps[len(results)] if len(results) < 2 else {"role": "assistant", "content": results[-1]}


@contextmanager
def serving(app: Any) -> Generator[str]:
    """An ASGI application on a free port of 127.0.0.1, by uvicorn in a thread; its address."""
    uvicorn: Any = import_module("uvicorn")  # it comes with the frameworks
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


class OneQuestion:
    """A simulated user who says one thing, hears one reply, and leaves."""

    def __init__(self, run: Run, words: str) -> None:
        self._run, self._words = run, words

    def opening(self) -> str:
        self._run.heard(self._words)
        return self._words

    def tell(self, text: str) -> None:
        self._run.say(text)
