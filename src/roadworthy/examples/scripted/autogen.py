"""A scripted model as an AutoGen chat completion client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal

from autogen_core import CancellationToken, FunctionCall
from autogen_core.models import (
    AssistantMessage,
    ChatCompletionClient,
    CreateResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    ModelFamily,
    ModelInfo,
    RequestUsage,
    SystemMessage,
)
from autogen_core.tools import Tool, ToolSchema
from pydantic import BaseModel

from roadworthy.examples.scripted import messages as shared
from roadworthy.examples.scripted.messages import Message, Respond


class ScriptedClient(ChatCompletionClient):
    """An AutoGen model client that says what a script says."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._usage = RequestUsage(prompt_tokens=0, completion_tokens=0)

    async def create(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: Tool | Literal["auto", "required", "none"] = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
    ) -> CreateResult:
        heard = [plain for message in messages for plain in _plain(message)]
        said = shared.answer(self._respond, heard, [_tool(tool) for tool in tools])
        calls = [
            FunctionCall(id=call["id"], name=call["function"]["name"], arguments=call["function"]["arguments"])
            for call in said.get("tool_calls", ())
        ]
        if calls:
            return CreateResult(
                finish_reason="function_calls", content=calls, thought=said["content"], usage=self._usage, cached=False
            )
        return CreateResult(finish_reason="stop", content=said["content"] or "", usage=self._usage, cached=False)

    async def create_stream(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: Tool | Literal["auto", "required", "none"] = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
    ) -> AsyncGenerator[str | CreateResult, None]:
        result = await self.create(messages, tools=tools)
        if isinstance(result.content, str) and result.content:
            yield result.content
        yield result

    async def close(self) -> None:
        """Nothing is open."""

    def actual_usage(self) -> RequestUsage:
        return self._usage

    def total_usage(self) -> RequestUsage:
        return self._usage

    def count_tokens(self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()) -> int:
        return 0

    def remaining_tokens(self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()) -> int:
        return 1_000_000

    @property
    def capabilities(self) -> ModelInfo:  # pyright: ignore[reportIncompatibleMethodOverride]  # the base's type is deprecated
        return self.model_info

    @property
    def model_info(self) -> ModelInfo:
        return ModelInfo(
            vision=False,
            function_calling=True,
            json_output=False,
            family=ModelFamily.UNKNOWN,
            structured_output=False,
            multiple_system_messages=True,
        )


def _plain(message: LLMMessage) -> list[Message]:
    if isinstance(message, SystemMessage):
        return [{"role": "system", "content": message.content}]
    if isinstance(message, FunctionExecutionResultMessage):
        return [
            {"role": "tool", "tool_call_id": result.call_id, "name": result.name, "content": result.content}
            for result in message.content
        ]
    if isinstance(message, AssistantMessage):
        if isinstance(message.content, str):
            return [{"role": "assistant", "content": message.content or None}]
        calls = [shared.plain_call(call.id, call.name, call.arguments) for call in message.content]
        return [{"role": "assistant", "content": message.thought, "tool_calls": calls}]
    return [{"role": "user", "content": shared.text_of(message.content)}]


def _tool(tool: Tool | ToolSchema) -> shared.ToolSchema:
    schema = tool.schema if isinstance(tool, Tool) else tool
    return shared.plain_tool({"function": schema})


def model(respond: Respond) -> ScriptedClient:
    """The script as an AutoGen model client."""
    return ScriptedClient(respond)
