"""A scripted model as a LangChain chat model, for LangGraph and everything else that takes one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, InvalidToolCall, ToolCall, convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from roadworthy.examples.scripted.messages import Message, Respond, ToolSchema, answer, plain_message, plain_tool


class ScriptedChatModel(BaseChatModel):
    """A LangChain chat model that says what a script says."""

    respond: Respond

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        return self.bind(tools=[plain_tool(convert_to_openai_tool(tool)) for tool in tools])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        heard: list[Message] = convert_to_openai_messages(messages)
        tools = cast("list[ToolSchema]", kwargs.get("tools") or [])
        said = answer(self.respond, [plain_message(m) for m in heard], tools)
        return ChatResult(generations=[ChatGeneration(message=_message(said))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages, stop, **kwargs)


def _message(said: Message) -> AIMessage:
    good: list[ToolCall] = []
    bad: list[InvalidToolCall] = []
    for call in said.get("tool_calls", ()):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        try:
            args = json.loads(arguments)
        except ValueError:
            args = None
        if isinstance(args, dict):
            good.append(ToolCall(type="tool_call", id=call["id"], name=name, args=cast("dict[str, Any]", args)))
        else:
            why = "the arguments are no JSON object"
            bad.append(InvalidToolCall(type="invalid_tool_call", id=call["id"], name=name, args=arguments, error=why))
    return AIMessage(content=said["content"] or "", tool_calls=good, invalid_tool_calls=bad)


def model(respond: Respond) -> ScriptedChatModel:
    """The script as a LangChain chat model."""
    return ScriptedChatModel(respond=respond)
