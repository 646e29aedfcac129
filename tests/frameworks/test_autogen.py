"""The adapter for AutoGen."""

from __future__ import annotations

from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import TextMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core.tools import FunctionTool, StaticWorkbench
from conformance import BoundConformance, Script, Shop, within

from roadworthy import Gate
from roadworthy.adapters.autogen import guard
from roadworthy.examples.scripted.autogen import model


def tools(functions: dict[str, Any]) -> list[Any]:
    return [FunctionTool(f, description=f.__doc__ or "", name=name) for name, f in functions.items()]


def assistant(script: Script, own: list[Any]) -> AssistantAgent:
    return AssistantAgent("desk", model(script), tools=own, max_tool_iterations=10)


def said(result: Any) -> str:
    return str(result.messages[-1].content)


def talk_blocking_tools(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = guard(assistant(script, tools(shop.functions())), gate)

    async def go() -> str:
        return said(await agent.run(task=text))

    return within(20, go())


def talk_async_tools(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = guard(assistant(script, tools(shop.afunctions())), gate)

    async def go() -> str:
        return said(await agent.run(task=text))

    return within(20, go())


def talk_workbench(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    """An agent that is given a guarded workbench."""
    bench = guard(StaticWorkbench(tools(shop.afunctions())), gate)
    agent = guard(AssistantAgent("desk", model(script), workbench=bench, max_tool_iterations=10), gate)

    async def go() -> str:
        return said(await agent.run(task=text))

    return within(20, go())


def talk_team(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    team = guard(
        RoundRobinGroupChat(
            [assistant(script, tools(shop.functions()))], termination_condition=TextMessageTermination("desk")
        ),
        gate,
    )

    async def go() -> str:
        return said(await team.run(task=text))

    return within(20, go())


class TestBlockingTools(BoundConformance):
    talk = staticmethod(talk_blocking_tools)


class TestAsyncTools(BoundConformance):
    talk = staticmethod(talk_async_tools)


class TestWorkbench(BoundConformance):
    talk = staticmethod(talk_workbench)


class TestTeam(BoundConformance):
    talk = staticmethod(talk_team)
