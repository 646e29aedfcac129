"""Every framework conforms, in one process and in three."""

from __future__ import annotations

import conforming

from roadworthy.adapters.conformance import Conformance


class TestLangGraph(Conformance):
    adapter = conforming.LangGraph


class TestAutoGen(Conformance):
    adapter = conforming.AutoGen


class TestCrewAI(Conformance):
    adapter = conforming.CrewAI


class TestOpenAIAgents(Conformance):
    adapter = conforming.OpenAIAgents


class TestPydanticAI(Conformance):
    adapter = conforming.PydanticAI


class TestAgentFramework(Conformance):
    adapter = conforming.AgentFramework
