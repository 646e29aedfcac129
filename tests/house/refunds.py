"""What the pages on frameworks have at hand beside what they show: a scripted model, and a server for their users."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from roadworthy.examples.scripted.messages import Message, ToolSchema


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


WORLD = """
from roadworthy import World


def tools(db, clock, post):
    def find_order(order_no):
        return {"order_no": order_no, "status": db.execute("SELECT status FROM orders").fetchone()[0]}

    def refund(order_no, amount):
        db.execute("INSERT INTO refunds (order_no, amount) VALUES (?, ?)", (order_no, amount))
        return f"{amount} EUR are on their way"

    return {"find_order": find_order, "refund": refund}


world = World(
    "shop",
    "CREATE TABLE orders (order_no TEXT PRIMARY KEY, status TEXT); CREATE TABLE refunds (order_no TEXT, amount TEXT);",
    tools,
    rows={"orders": [{"order_no": "1002", "status": "delivered"}]},
)
"""
SCENARIO = """
scenario: delivered-parcel
world: shop_world:world
capability: lost_parcel
conditions: [curated]
user: {opening: Order 1002 never came.}
expect: {}
"""


def write_scenarios() -> None:
    """A world and a scenario, in which nothing is to be refunded, in the current folder."""
    Path("shop_world.py").write_text(WORLD, encoding="utf-8")
    Path("scenarios").mkdir()
    Path("scenarios", "refunds.yaml").write_text(SCENARIO, encoding="utf-8")
