"""A scripted model as a model of Pydantic AI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from pydantic_ai.messages import (
    ModelRequest,
    ModelResponse,
    RetryFeedbackPart,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from roadworthy.examples.scripted.messages import Message, Respond, answer, plain_call, plain_tool, text_of


def model(respond: Respond) -> FunctionModel:
    """The script as a model of Pydantic AI. It streams its words character by character."""

    def said(messages: list[Any], info: AgentInfo) -> Message:
        tools = [
            plain_tool(
                {"function": {"name": t.name, "description": t.description, "parameters": t.parameters_json_schema}}
            )
            for t in (*info.function_tools, *info.output_tools)
        ]
        return answer(respond, _messages(messages, info.instructions), tools)

    def whole(messages: list[Any], info: AgentInfo) -> ModelResponse:
        told = said(messages, info)
        parts: list[Any] = [TextPart(told["content"])] if told["content"] else []
        parts += [
            ToolCallPart(call["function"]["name"], call["function"]["arguments"], tool_call_id=call["id"])
            for call in told.get("tool_calls", ())
        ]
        return ModelResponse(parts=parts)

    async def streamed(messages: list[Any], info: AgentInfo) -> AsyncIterator[Any]:
        told = said(messages, info)
        for token in told["content"] or "":
            yield token
        for index, call in enumerate(told.get("tool_calls", ()), start=1):
            function = call["function"]
            yield {index: DeltaToolCall(function["name"], function["arguments"], tool_call_id=call["id"])}

    return FunctionModel(whole, stream_function=streamed)


def _messages(given: Sequence[Any], instructions: str | None) -> list[Message]:
    found: list[Message] = [{"role": "system", "content": instructions}] if instructions else []
    for message in given:
        if isinstance(message, ModelRequest):
            found += [plain for part in message.parts if (plain := _asked(part)) is not None]
        else:
            found.append(_told(message))
    return found


def _asked(part: Any) -> Message | None:
    if isinstance(part, SystemPromptPart):
        return {"role": "system", "content": part.content}
    if isinstance(part, UserPromptPart):
        return {"role": "user", "content": text_of(part.content)}
    if isinstance(part, ToolReturnPart):
        content = part.model_response_str()
        return {"role": "tool", "tool_call_id": part.tool_call_id, "name": part.tool_name, "content": content}
    if isinstance(part, RetryFeedbackPart):
        return {"role": "user", "content": str(part.content)}
    return None


def _told(response: ModelResponse) -> Message:
    text = "".join(part.content for part in response.parts if isinstance(part, TextPart))
    calls = [
        plain_call(part.tool_call_id, part.tool_name, part.args_as_json_str())
        for part in response.parts
        if isinstance(part, ToolCallPart)
    ]
    told: Message = {"role": "assistant", "content": text or None}
    return {**told, "tool_calls": calls} if calls else told
