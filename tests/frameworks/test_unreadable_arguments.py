"""Arguments of a model that are nested too deep end no run of the OpenAI Agents SDK, and hang no agent of AutoGen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from agents import Agent, function_tool
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ToolCallExecutionEvent
from autogen_core import FunctionCall
from autogen_core.models import CreateResult, ModelInfo, RequestUsage
from autogen_core.tools import FunctionTool
from autogen_ext.models.replay import ReplayChatCompletionClient
from conformance import within

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters import autogen
from roadworthy.adapters.conformance.shop import CONTRACT, Shop
from roadworthy.adapters.openai_agents import guard

pytestmark = pytest.mark.frameworks


@pytest.mark.parametrize("arguments", ["[" * 100_000, '{"order_no":' * 100_000, "{"])
async def test_they_are_refused(arguments: str) -> None:
    gate, shop = Gate(Contract.loads(CONTRACT), Ledger.open(":memory:")), Shop()
    tool = function_tool(shop.afunctions()["shop_find_order"], name_override="shop_find_order")
    agent: Any = guard(Agent(name="desk", tools=[tool]), gate)
    with gate.run(capability="refunds").bind():
        told = await agent.tools[0].on_invoke_tool(SimpleNamespace(tool_call_id="1"), arguments)
    assert told == "The arguments must be a JSON object with named values."


@pytest.mark.parametrize("arguments", ["[" * 100_000, '{"order_no":' * 100_000, "{"])
def test_they_hang_no_agent(arguments: str) -> None:
    gate, shop = Gate(Contract.loads(CONTRACT), Ledger.open(":memory:")), Shop()
    call = FunctionCall(id="1", name="shop_find_order", arguments=arguments)
    nothing = RequestUsage(prompt_tokens=0, completion_tokens=0)
    asked = CreateResult(finish_reason="function_calls", content=[call], usage=nothing, cached=False)
    able: ModelInfo = {
        "function_calling": True,
        "vision": False,
        "json_output": False,
        "family": "unknown",
        "structured_output": False,
    }
    client = ReplayChatCompletionClient([asked, "Done."], model_info=able)
    tool = FunctionTool(shop.afunctions()["shop_find_order"], description="Find an order.", name="shop_find_order")
    agent: Any = AssistantAgent("desk", client, tools=[tool], reflect_on_tool_use=True)
    with gate.run(capability="refunds").bind():
        ended = within(20, autogen.guard(agent, gate).run(task="please"))
    assert ended.messages[-1].content == "Done."
    (told,) = (m for m in ended.messages if isinstance(m, ToolCallExecutionEvent))
    assert told.content[0].is_error
    assert shop.did == []
