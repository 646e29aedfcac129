"""The agents of every framework, as the conformance suite wants them. The frameworks are imported when they are needed.

A class a framework: processes of the suite import this file by itself.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from roadworthy.adapters.conformance import Adapter, found
from roadworthy.adapters.conformance.script import Respond
from roadworthy.core.errors import Suspended
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run

Reached = Iterable[tuple[str, Callable[[Mapping[str, Any]], Any]]]
Functions = Mapping[str, Callable[..., Any]]


class OpenAIAgents(Adapter):
    """The OpenAI Agents SDK."""

    def build(self, gate: Gate, functions: Functions, respond: Respond) -> Any:
        from agents import Agent, function_tool, set_tracing_disabled

        from roadworthy.adapters.openai_agents import guard
        from roadworthy.examples.scripted.openai_agents import model

        set_tracing_disabled(True)
        tools: list[Any] = [function_tool(f, name_override=name) for name, f in functions.items()]
        return guard(Agent(name="desk", model=model(respond), tools=tools), gate)

    async def atalk(self, agent: Any, text: str) -> str:
        from agents import Runner

        return str((await Runner.run(agent, text)).final_output)

    async def adrive(self, agent: Any, run: Run, start: str | None) -> str | Suspended:
        from roadworthy.adapters.openai_agents import adrive

        came = await adrive(agent, run, start)
        return came if isinstance(came, Suspended) else str(came.final_output)

    def reach(self, agent: Any) -> Reached:
        from agents import FunctionTool, RunContextWrapper
        from agents.tool_context import ToolContext

        def calling(tool: Any) -> Callable[[Mapping[str, Any]], Any]:
            def call(args: Mapping[str, Any]) -> Any:
                given = json.dumps(args)
                context = ToolContext(context=None, tool_name=tool.name, tool_call_id="by hand", tool_arguments=given)
                return tool.on_invoke_tool(context, given)

            return call

        tools = [*found(agent, FunctionTool), *asyncio.run(agent.get_all_tools(RunContextWrapper(None)))]
        return [(tool.name, calling(tool)) for tool in tools]


class PydanticAI(Adapter):
    """Pydantic AI."""

    def build(self, gate: Gate, functions: Functions, respond: Respond) -> Any:
        from pydantic_ai import Agent

        from roadworthy.adapters.pydantic_ai import guard
        from roadworthy.examples.scripted.pydantic_ai import model

        return guard(Agent(model(respond), tools=list(functions.values())), gate)

    async def atalk(self, agent: Any, text: str) -> str:
        return str((await agent.run(text)).output)

    async def adrive(self, agent: Any, run: Run, start: str | None) -> str | Suspended:
        from roadworthy.adapters.pydantic_ai import adrive

        came = await adrive(agent, run, start)
        return came if isinstance(came, Suspended) else str(came.output)

    def reach(self, agent: Any) -> Reached:
        from pydantic_ai import RunContext, Tool
        from pydantic_ai.models.test import TestModel
        from pydantic_ai.toolsets import AbstractToolset
        from pydantic_ai.usage import RunUsage

        def calling(function: Any) -> Callable[[Mapping[str, Any]], Any]:
            return lambda args: function(**args)

        def through(toolset: Any, name: str) -> Callable[[Mapping[str, Any]], Any]:
            async def call(args: Mapping[str, Any]) -> Any:
                context: Any = RunContext(deps=None, model=TestModel(), usage=RunUsage())
                tools = await toolset.get_tools(context)
                return await toolset.call_tool(name, dict(args), context, tools[name])

            return call

        tools = found(agent, Tool)
        names = dict.fromkeys(tool.name for tool in tools)
        return [
            *((tool.name, calling(tool.function)) for tool in tools),
            *((tool.name, calling(tool.function_schema.function)) for tool in tools),
            *((name, through(toolset, name)) for toolset in found(agent, AbstractToolset) for name in names),
        ]


class AgentFramework(Adapter):
    """Microsoft Agent Framework."""

    def build(self, gate: Gate, functions: Functions, respond: Respond) -> Any:
        from agent_framework import Agent

        from roadworthy.adapters.agent_framework import guard
        from roadworthy.examples.scripted.agent_framework import model

        return guard(Agent(model(respond), tools=list(functions.values())), gate)

    async def atalk(self, agent: Any, text: str) -> str:
        return str((await agent.run(text)).text)

    async def adrive(self, agent: Any, run: Run, start: str | None) -> str | Suspended:
        from roadworthy.adapters.agent_framework import adrive

        came = await adrive(agent, run, start)
        return came if isinstance(came, Suspended) else str(came.text)

    def reach(self, agent: Any) -> Reached:
        from agent_framework import FunctionTool

        def invoking(tool: Any) -> Callable[[Mapping[str, Any]], Any]:
            return lambda args: tool.invoke(arguments=dict(args))

        def calling(function: Any) -> Callable[[Mapping[str, Any]], Any]:
            return lambda args: function(**args)

        tools = found(agent, FunctionTool)
        return [
            *((tool.name, invoking(tool)) for tool in tools),
            *((tool.name, calling(tool)) for tool in tools),
            *((tool.name, calling(tool.func)) for tool in tools if tool.func is not None),
        ]


class LangGraph(Adapter):
    """LangGraph."""

    def build(self, gate: Gate, functions: Functions, respond: Respond) -> Any:
        from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType]  # left open there
        from langchain_core.tools import StructuredTool

        from roadworthy.adapters.langgraph import guard
        from roadworthy.examples.scripted.langgraph import model

        def tool(name: str, function: Callable[..., Any]) -> Any:
            if inspect.iscoroutinefunction(function):
                return StructuredTool.from_function(coroutine=function, name=name)
            return StructuredTool.from_function(function, name=name)

        tools = [tool(name, function) for name, function in functions.items()]
        return guard(cast("Any", create_agent)(model(respond), tools), gate)

    def talk(self, agent: Any, text: str) -> str:
        return _last(agent.invoke(_asking(text)))

    async def atalk(self, agent: Any, text: str) -> str:
        return _last(await agent.ainvoke(_asking(text)))

    def drive(self, agent: Any, run: Run, start: str | None) -> str | Suspended:
        from roadworthy.adapters.langgraph import drive

        came = drive(agent, run, _asking(start) if start is not None else None)
        return came if isinstance(came, Suspended) else _last(came)

    async def adrive(self, agent: Any, run: Run, start: str | None) -> str | Suspended:
        from roadworthy.adapters.langgraph import adrive

        came = await adrive(agent, run, _asking(start) if start is not None else None)
        return came if isinstance(came, Suspended) else _last(came)

    def reach(self, agent: Any) -> Reached:
        from langchain_core.tools import BaseTool

        def invoking(tool: Any) -> Callable[[Mapping[str, Any]], Any]:
            return lambda args: tool.ainvoke(dict(args))

        def calling(function: Any) -> Callable[[Mapping[str, Any]], Any]:
            return lambda args: function(**args)

        tools: list[Any] = found(agent, BaseTool)
        functions = [(t.name, f) for t in tools for f in (getattr(t, "func", None), getattr(t, "coroutine", None)) if f]
        return [
            *((tool.name, invoking(tool)) for tool in tools),
            *((name, calling(function)) for name, function in functions),
        ]


def _asking(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def _last(state: Any) -> str:
    return str(state["messages"][-1].text)


class AutoGen(Adapter):
    """AutoGen."""

    def build(self, gate: Gate, functions: Functions, respond: Respond) -> Any:
        from autogen_agentchat.agents import AssistantAgent
        from autogen_core.tools import FunctionTool

        from roadworthy.adapters.autogen import guard
        from roadworthy.examples.scripted.autogen import model

        tools: list[Any] = [FunctionTool(f, description=f.__doc__ or "", name=name) for name, f in functions.items()]
        return guard(AssistantAgent("desk", model(respond), tools=tools, max_tool_iterations=10), gate)

    async def atalk(self, agent: Any, text: str) -> str:
        return str((await agent.run(task=text)).messages[-1].content)

    async def adrive(self, agent: Any, run: Run, start: str | None) -> str | Suspended:
        from roadworthy.adapters.autogen import adrive

        came: Any = await adrive(agent, run, start)
        return came if isinstance(came, Suspended) else str(came.messages[-1].content)

    def reach(self, agent: Any) -> Reached:
        from autogen_core import CancellationToken
        from autogen_core.tools import BaseTool, Workbench

        def running(tool: Any) -> Callable[[Mapping[str, Any]], Any]:
            return lambda args: tool.run_json(dict(args), CancellationToken())

        def through(bench: Any, name: str) -> Callable[[Mapping[str, Any]], Any]:
            return lambda args: bench.call_tool(name, dict(args))

        async def listed() -> list[tuple[Any, str]]:
            benches: list[Any] = found(agent, Workbench)
            return [(bench, tool["name"]) for bench in benches for tool in await bench.list_tools()]

        tools: list[Any] = found(agent, BaseTool)
        return [
            *((tool.name, running(tool)) for tool in tools),
            *((name, through(bench, name)) for bench, name in asyncio.run(listed())),
        ]


class CrewAI(Adapter):
    """CrewAI."""

    def build(self, gate: Gate, functions: Functions, respond: Respond) -> Any:
        from roadworthy.examples.scripted.crewai import model  # first: it imports CrewAI without its calls home

        from crewai import Agent, Crew, Task  # isort: skip
        from crewai.tools import tool  # pyright: ignore[reportUnknownVariableType]  # isort: skip  # overloads without types

        from roadworthy.adapters.crewai import guard

        made: Any = tool
        own = [made(f) for f in functions.values()]
        desk: Any = Agent(role="desk", goal="help", backstory="kind", llm=model(respond), tools=own)
        task = Task(description="{words}", expected_output="an answer", agent=desk)
        return guard(Crew(agents=[desk], tasks=[task], tracing=False), gate)

    def talk(self, agent: Any, text: str) -> str:
        from roadworthy.examples.scripted.crewai import quiet

        with quiet():
            return str(agent.kickoff(inputs={"words": text}).raw)

    async def atalk(self, agent: Any, text: str) -> str:
        from roadworthy.examples.scripted.crewai import quiet

        with quiet():
            return str((await agent.akickoff(inputs={"words": text})).raw)

    def drive(self, agent: Any, run: Run, start: str | None) -> str | Suspended:
        from roadworthy.adapters.crewai import drive
        from roadworthy.examples.scripted.crewai import quiet

        with quiet():
            came: Any = drive(agent, run, {"words": start} if start is not None else None)
        return came if isinstance(came, Suspended) else str(came.raw)

    async def adrive(self, agent: Any, run: Run, start: str | None) -> str | Suspended:
        from roadworthy.adapters.crewai import adrive
        from roadworthy.examples.scripted.crewai import quiet

        with quiet():
            came: Any = await adrive(agent, run, {"words": start} if start is not None else None)
        return came if isinstance(came, Suspended) else str(came.raw)

    def reach(self, agent: Any) -> Reached:
        from crewai.tools import BaseTool
        from crewai.tools.structured_tool import CrewStructuredTool

        def calling(function: Any) -> Callable[[Mapping[str, Any]], Any]:
            return lambda args: function(**args)

        tools: list[Any] = found(agent, (BaseTool, CrewStructuredTool))
        calls: list[tuple[str, Callable[..., Any]]] = []
        for tool in tools:
            for way in ("run", "_run", "arun", "_arun", "func"):
                function = getattr(tool, way, None)
                if function is not None:
                    calls.append((tool.name, calling(function)))
        return calls
