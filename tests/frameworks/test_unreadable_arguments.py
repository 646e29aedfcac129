"""Arguments of a model that nobody can read end no run of the OpenAI Agents SDK, and cancel no call beside them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from agents import Agent, function_tool

from roadworthy import Contract, Gate, Ledger
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
