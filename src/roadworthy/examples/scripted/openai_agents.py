"""A scripted model as a model of the OpenAI Agents SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

from agents import FunctionTool, Model, ModelResponse, Usage
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
)

from roadworthy.examples.scripted.messages import Message, Respond, answer, plain_call, plain_tool, text_of


class ScriptedModel(Model):
    """A model of the OpenAI Agents SDK that says what a script says."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[Any],
        model_settings: Any,
        tools: list[Any],
        output_schema: Any,
        handoffs: list[Any],
        tracing: Any,
        **_: Any,
    ) -> ModelResponse:
        heard = _messages(system_instructions, input)
        offered = [plain_tool({"function": _tool(tool)}) for tool in tools if isinstance(tool, FunctionTool)]
        offered += [plain_tool({"function": _handoff(handoff)}) for handoff in handoffs]
        said = answer(self._respond, heard, offered)
        return ModelResponse(output=_output(said, len(heard)), usage=Usage(), response_id=None)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[Any],
        model_settings: Any,
        tools: list[Any],
        output_schema: Any,
        handoffs: list[Any],
        tracing: Any,
        **more: Any,
    ) -> AsyncIterator[Any]:
        response = await self.get_response(
            system_instructions, input, model_settings, tools, output_schema, handoffs, tracing, **more
        )
        for index, item in enumerate(response.output):
            if isinstance(item, ResponseOutputMessage):
                async for token in self.tokens("".join(text_of([part.model_dump()]) for part in item.content)):
                    yield ResponseTextDeltaEvent(
                        content_index=0,
                        delta=token,
                        item_id=item.id,
                        logprobs=[],
                        output_index=index,
                        sequence_number=0,
                        type="response.output_text.delta",
                    )
        whole = Response(
            id="scripted",
            created_at=0,
            model="scripted",
            object="response",
            output=response.output,
            parallel_tool_calls=True,
            tool_choice="auto",
            tools=[],
        )
        yield ResponseCompletedEvent(response=whole, sequence_number=0, type="response.completed")

    async def tokens(self, text: str) -> AsyncIterator[str]:
        """The pieces in which words are streamed: all at once."""
        yield text


def _output(said: Message, place: int) -> list[Any]:
    output: list[Any] = []
    if said["content"]:
        text = ResponseOutputText(annotations=[], text=said["content"], type="output_text")
        output.append(
            ResponseOutputMessage(
                id=f"message_{place}", content=[text], role="assistant", status="completed", type="message"
            )
        )
    for call in said.get("tool_calls", ()):
        function = call["function"]
        output.append(
            ResponseFunctionToolCall(
                call_id=call["id"], name=function["name"], arguments=function["arguments"], type="function_call"
            )
        )
    return output


def _messages(instructions: str | None, given: str | Sequence[Any]) -> list[Message]:
    found: list[Message] = [{"role": "system", "content": instructions}] if instructions else []
    names: dict[str, str] = {}
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        part = cast("Mapping[str, Any]", item)
        kind = part.get("type", "message")
        if kind == "message" and part["role"] == "assistant":
            found.append({"role": "assistant", "content": text_of(part["content"]) or None})
        elif kind == "message":
            role = "system" if part["role"] == "developer" else part["role"]
            found.append({"role": role, "content": text_of(part["content"])})
        elif kind == "function_call":
            names[part["call_id"]] = part["name"]
            if not found or found[-1]["role"] != "assistant":
                found.append({"role": "assistant", "content": None})
            calls = found[-1].setdefault("tool_calls", [])
            calls.append(plain_call(part["call_id"], part["name"], part["arguments"]))
        elif kind == "function_call_output":
            call_id = part["call_id"]
            content = text_of(part["output"])
            found.append({"role": "tool", "tool_call_id": call_id, "name": names.get(call_id), "content": content})
    return found


def _tool(tool: FunctionTool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": tool.params_json_schema}


def _handoff(handoff: Any) -> dict[str, Any]:
    return {
        "name": handoff.tool_name,
        "description": handoff.tool_description,
        "parameters": handoff.input_json_schema,
    }


def model(respond: Respond) -> ScriptedModel:
    """The script as a model of the OpenAI Agents SDK."""
    return ScriptedModel(respond)
