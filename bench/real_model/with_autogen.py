"""The desk's agent in AutoGen with a real model."""

from __future__ import annotations

from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import TextMessage
from autogen_core.models import CreateResult, ModelFamily, ModelInfo
from autogen_core.tools import FunctionTool
from autogen_ext.models.openai import OpenAIChatCompletionClient

from real_model.desk import MOST_TOKENS, PROMPT, SEED, STEPS, Hands, Looping, Model, Told
from roadworthy.adapters.autogen import guard

ABOUT = ModelInfo(
    vision=False, function_calling=True, json_output=False, structured_output=False, family=ModelFamily.UNKNOWN
)


class _Counting(OpenAIChatCompletionClient):
    """Counts what the model is asked."""

    calls = 0

    async def create(self, *given: Any, **named: Any) -> CreateResult:
        self.calls += 1
        return await super().create(*given, **named)


async def answer(model: Model, hands: Hands, request: str) -> Told:
    """Settle one customer's request. Raises Looping."""
    client = _Counting(
        model=model.name,
        base_url=model.base_url,
        api_key=model.key,
        model_info=ABOUT,
        temperature=0,
        seed=SEED,
        max_tokens=MOST_TOKENS,
        timeout=model.timeout_s,
        max_retries=0,
    )
    given = [
        FunctionTool(function, name=name, description=hands.described(name)) for name, function in hands.tools.items()
    ]
    assistant = AssistantAgent("desk", client, tools=[*given], system_message=PROMPT, max_tool_iterations=STEPS)
    try:
        with hands.bind():
            result = await hands.guard(assistant, guard).run(task=request)
    finally:
        await client.close()
    last = result.messages[-1]
    if not isinstance(last, TextMessage):  # it ended with a tool's result: there was no step left for an answer
        raise Looping(client.calls)
    return Told(text=last.content, calls=client.calls)
