"""Models that follow a script, in OpenAI's chat format, for an adapter to put in the place of a real one.

    {"role": "system" | "user", "content": text}
    {"role": "assistant", "content": text or None,
     "tool_calls": [{"id": id, "type": "function", "function": {"name": name, "arguments": JSON text}}]}
    {"role": "tool", "tool_call_id": id, "name": name, "content": text}

What a script says next follows from the messages alone, so that a talk may be cut off and begun again anywhere.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Message = dict[str, Any]
"""One chat message in OpenAI's format."""

ToolSchema = dict[str, Any]
"""One tool that the model is offered: `{"type": "function", "function": {"name", "description", "parameters"}}`."""

Respond = Callable[[list[Message], list[ToolSchema]], Message]
"""A scripted model: the messages so far and the tools on offer in, the assistant's next message out."""

Call = tuple[str, Mapping[str, Any] | str]
"""A tool call of the script: the name that the model uses, and arguments (or text, where the model writes nonsense)."""

Turn = Sequence[Call] | str
"""What the model says next: tool calls, or words."""


class Script:
    """A scripted model that says one turn after another: a function of how often it has spoken in the talk."""

    def __init__(self, *turns: Turn) -> None:
        self.turns = turns
        self.seen: list[list[Message]] = []
        """The messages that the model got, request by request."""
        self.offered: list[str] = []
        """The names of the tools that it was offered last."""

    def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
        self.seen.append(copy.deepcopy(messages))
        self.offered = [tool["function"]["name"] for tool in tools]
        turn = self.turns[sum(message["role"] == "assistant" for message in messages)]
        if isinstance(turn, str):
            return {"role": "assistant", "content": turn}
        calls = [
            {
                "id": f"call_{len(messages)}_{i}",
                "type": "function",
                "function": {"name": name, "arguments": args if isinstance(args, str) else json.dumps(args)},
            }
            for i, (name, args) in enumerate(turn)
        ]
        return {"role": "assistant", "content": None, "tool_calls": calls}

    @property
    def results(self) -> list[str]:
        """What the model was told of its calls, in the order in which it made them."""
        return [message["content"] for message in self.seen[-1] if message["role"] == "tool"] if self.seen else []


def noticed(messages: Sequence[Message]) -> list[str]:
    """What the gate has told the model beside the results of its calls, in what it sees now."""
    return [str(m["content"]) for m in messages if m["role"] != "tool" and "notice of the gate" in str(m["content"])]


class Reacting(Script):
    """A scripted model that tells its user something untrue, and then does as the gate says."""

    def __init__(self, first: str, then: Turn, last: str) -> None:
        super().__init__()
        self.first, self.then, self.last = first, then, last

    def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
        self.seen.append(copy.deepcopy(messages))
        turn: Turn = self.then if noticed(messages) else self.first
        if any(message["role"] == "tool" for message in messages):
            turn = self.last
        self.turns = [turn] * (1 + sum(message["role"] == "assistant" for message in messages))
        self.seen.pop()
        return super().__call__(messages, tools)


class Stubborn(Script):
    """A scripted model that says the same whatever it is told."""

    def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
        self.seen.append(copy.deepcopy(messages))
        self.offered = [tool["function"]["name"] for tool in tools]
        (words,) = self.turns
        return {"role": "assistant", "content": words}


class Lasting(Script):
    """A script where frameworks keep what was held back out of the messages: a notice counts as a turn."""

    def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
        at = sum(message["role"] == "tool" for message in messages) + len(noticed(messages))
        turns, self.turns = self.turns, [self.turns[min(at, len(self.turns) - 1)]] * (1 + len(messages))
        try:
            return super().__call__(messages, tools)
        finally:
            self.turns = turns
