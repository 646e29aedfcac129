"""The adapter for CrewAI."""

from __future__ import annotations

from typing import Any, cast

from conformance import BoundConformance, Script, Shop, within
from crewai import Agent, Crew, Task
from crewai.tools import tool as crew_tool  # pyright: ignore[reportUnknownVariableType]  # overloads without types

from roadworthy import Gate
from roadworthy.adapters.crewai import guard
from roadworthy.examples.scripted.crewai import model, quiet

tool = cast("Any", crew_tool)


def agent(script: Script, shop: Shop) -> Any:
    own = [tool(f) for f in shop.functions().values()]
    return Agent(role="desk", goal="help", backstory="kind", llm=model(script), tools=own)


def crew(script: Script, shop: Shop, text: str) -> Any:
    desk = agent(script, shop)
    return Crew(agents=[desk], tasks=[Task(description=text, expected_output="an answer", agent=desk)], tracing=False)


def talk_agent(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    with quiet():
        return str(guard(agent(script, shop), gate).kickoff(text).raw)


def talk_agent_async(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    async def go() -> str:
        return str((await guard(agent(script, shop), gate).akickoff(text)).raw)

    with quiet():
        return within(20, go())


def talk_crew(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    with quiet():
        return str(guard(crew(script, shop, text), gate).kickoff().raw)


def talk_crew_in_a_thread(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    async def go() -> str:
        return str((await guard(crew(script, shop, text), gate).kickoff_async()).raw)

    with quiet():
        return within(20, go())


def talk_crew_async(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    async def go() -> str:
        return str((await guard(crew(script, shop, text), gate).akickoff()).raw)

    with quiet():
        return within(20, go())


class TestAgent(BoundConformance):
    talk = staticmethod(talk_agent)


class TestAgentAsync(BoundConformance):
    talk = staticmethod(talk_agent_async)


class TestCrew(BoundConformance):
    talk = staticmethod(talk_crew)


class TestCrewInAThread(BoundConformance):
    talk = staticmethod(talk_crew_in_a_thread)


class TestCrewAsync(BoundConformance):
    talk = staticmethod(talk_crew_async)
