"""A scripted model as a chat client of Microsoft Agent Framework."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any

from agent_framework import (
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    FunctionInvocationLayer,
    FunctionTool,
    Message,
    ResponseStream,
)

from roadworthy.examples.scripted import messages as shared
from roadworthy.examples.scripted.messages import Respond


class ScriptedChatClient(FunctionInvocationLayer[Any], ChatMiddlewareLayer[Any], BaseChatClient[Any]):
    """A chat client that says what a script says. It streams its words character by character."""

    def __init__(self, respond: Respond) -> None:
        super().__init__()
        self._respond = respond

    def _inner_get_response(
        self, *, messages: Sequence[Message], stream: bool, options: Mapping[str, Any], **kwargs: Any
    ) -> Awaitable[ChatResponse[Any]] | ResponseStream[ChatResponseUpdate, ChatResponse[Any]]:
        instructions = options.get("instructions")
        heard: list[shared.Message] = [{"role": "system", "content": instructions}] if instructions else []
        names: dict[str, str] = {}
        heard += [plain for message in messages for plain in _plain(message, names)]
        tools = [_tool(tool) for tool in options.get("tools") or () if isinstance(tool, FunctionTool)]
        if not stream:
            return self._whole(heard, tools)
        return ResponseStream(self._pieces(heard, tools), finalizer=ChatResponse.from_updates)

    async def _whole(self, heard: list[shared.Message], tools: list[shared.ToolSchema]) -> ChatResponse[Any]:
        return ChatResponse(messages=Message("assistant", _contents(shared.answer(self._respond, heard, tools))))

    async def _pieces(
        self, heard: list[shared.Message], tools: list[shared.ToolSchema]
    ) -> AsyncIterator[ChatResponseUpdate]:
        for content in _contents(shared.answer(self._respond, heard, tools)):
            for piece in [Content.from_text(c) for c in content.text or ""] or [content]:
                yield ChatResponseUpdate(role="assistant", contents=[piece])


def _contents(said: shared.Message) -> list[Content]:
    contents = [Content.from_text(said["content"])] if said["content"] else []
    for call in said.get("tool_calls", ()):
        function = call["function"]
        contents.append(Content.from_function_call(call["id"], function["name"], arguments=function["arguments"]))
    return contents


def _plain(message: Message, names: dict[str, str]) -> list[shared.Message]:
    if message.role == "tool":
        return [
            {
                "role": "tool",
                "tool_call_id": content.call_id,
                "name": names.get(str(content.call_id)),
                "content": shared.text_of(content.result),
            }
            for content in message.contents
            if content.type == "function_result"
        ]
    if message.role != "assistant":
        return [{"role": message.role, "content": message.text}]
    told: shared.Message = {"role": "assistant", "content": message.text or None}
    calls = [content for content in message.contents if content.type == "function_call"]
    names.update({str(call.call_id): str(call.name) for call in calls})
    if calls:
        told["tool_calls"] = [
            shared.plain_call(str(call.call_id), str(call.name), call.arguments or {}) for call in calls
        ]
    return [told]


def _tool(tool: FunctionTool) -> shared.ToolSchema:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters()}
    return shared.plain_tool({"function": function})


def model(respond: Respond) -> ScriptedChatClient:
    """The script as a chat client of Microsoft Agent Framework."""
    return ScriptedChatClient(respond)
