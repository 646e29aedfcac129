"""What a scripted model is, whatever the framework: a function from messages and tools to the next message.

Messages are dicts in the OpenAI chat format, and every bridge hands over the same list for the same conversation:

    {"role": "system" | "user", "content": text}
    {"role": "assistant", "content": text or None,
     "tool_calls": [{"id": id, "type": "function", "function": {"name": name, "arguments": JSON text}}]}
    {"role": "tool", "tool_call_id": id, "name": name, "content": text}

`tool_calls` is absent where there is none. Tools are
`{"type": "function", "function": {"name", "description", "parameters"}}`.
CrewAI forgets text that stands beside tool calls, so a script does not rely on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

Message = dict[str, Any]
"""One chat message in the OpenAI format."""

ToolSchema = dict[str, Any]
"""One tool that the model is offered, in the OpenAI format."""

Respond = Callable[[list[Message], list[ToolSchema]], Message]
"""A scripted model: the messages so far and the tools on offer in, the assistant's next message out.

It must be a function of its arguments and hold no counter, so that a conversation may be cut, resumed and repeated.
"""


def text_of(content: object) -> str:
    """The text of a message's content, which frameworks write as a string or as a list of parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "".join(_text_of_part(part) for part in cast("Sequence[object]", content))
    return str(content)


def _text_of_part(part: object) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping):
        return text_of(cast("Mapping[str, object]", part).get("text"))
    return ""


def plain_call(call_id: str, name: str, arguments: str | Mapping[str, Any]) -> dict[str, Any]:
    """One tool call in the shared form. Arguments that are no JSON stay as they are: models write such things, too."""
    if isinstance(arguments, str):
        with suppress(ValueError):
            arguments = json.dumps(json.loads(arguments), ensure_ascii=False)
    else:
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def plain_message(message: Mapping[str, Any]) -> Message:
    """A message with the keys of the shared form and no others."""
    role = message["role"]
    text = text_of(message.get("content"))
    if role == "assistant":
        calls = [
            plain_call(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls") or ()
        ]
        plain: Message = {"role": role, "content": text or None}
        if calls:
            plain["tool_calls"] = calls
        return plain
    if role == "tool":
        return {"role": role, "tool_call_id": message["tool_call_id"], "name": message.get("name"), "content": text}
    return {"role": role, "content": text}


def plain_tool(tool: Mapping[str, Any]) -> ToolSchema:
    """A tool with the keys of the shared form and no others."""
    function = tool["function"]
    return {"type": "function", "function": {key: function.get(key) for key in ("name", "description", "parameters")}}


def answer(respond: Respond, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Message:
    """The script's next message, in the shared form; calls without an id get one made of their place in the talk."""
    said = dict(respond([dict(m) for m in messages], [dict(t) for t in tools]))
    said["role"] = "assistant"
    calls = cast("Sequence[Mapping[str, Any]]", said.get("tool_calls") or ())
    said["tool_calls"] = [{**call, "id": call.get("id") or f"call_{len(messages)}_{i}"} for i, call in enumerate(calls)]
    return plain_message(said)
