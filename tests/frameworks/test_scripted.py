"""The bridges: one script, every framework, the same messages and the same talk."""

from __future__ import annotations

import copy
import json
import os
from typing import Any, cast

import pytest
from agent_framework import Agent as MicrosoftAgent
from agent_framework import Message as MicrosoftMessage
from agents import Agent as OpenAIAgent
from agents import RunConfig, Runner, function_tool
from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import AssistantMessage, UserMessage
from autogen_core.tools import FunctionTool
from crewai import Agent
from crewai.tools import tool as crew_tool  # pyright: ignore[reportUnknownVariableType]  # overloads without types
from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType]  # generic over unknown schemas
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart

from roadworthy.examples.scripted import agent_framework, autogen, crewai, langgraph, openai_agents, pydantic_ai
from roadworthy.examples.scripted.messages import Message, ToolSchema


class Script:
    """Looks two customers up at once, then says what was found."""

    def __init__(self) -> None:
        self.seen: list[list[Message]] = []
        self.tools: list[list[ToolSchema]] = []

    def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
        self.seen.append(copy.deepcopy(messages))
        self.tools.append(tools)
        results = [m["content"] for m in messages if m["role"] == "tool"]
        if results:
            return {"role": "assistant", "content": f"found {' and '.join(results)}"}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": f"t{i}",
                    "type": "function",
                    "function": {"name": "find_user", "arguments": json.dumps({"email": e})},
                }
                for i, e in enumerate(["ada@example.com", "grace@example.com"])
            ],
        }


def find_user(email: str) -> str:
    """Find a user by e-mail address."""
    return f"U-{email}"


graph = cast("Any", create_agent)
"""Its result is generic over schemas that LangChain leaves unknown."""

CONVERSATION: list[Message] = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "Hello, whom are you looking for?"},
    {"role": "user", "content": "ada and grace"},
]
SAID = "found U-ada@example.com and U-grace@example.com"
EXPECTED: list[Message] = [
    *CONVERSATION,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": f"t{i}",
                "type": "function",
                "function": {"name": "find_user", "arguments": json.dumps({"email": email})},
            }
            for i, email in enumerate(["ada@example.com", "grace@example.com"])
        ],
    },
    *(
        {"role": "tool", "tool_call_id": f"t{i}", "name": "find_user", "content": f"U-{email}"}
        for i, email in enumerate(["ada@example.com", "grace@example.com"])
    ),
]


def check(script: Script, said: object) -> None:
    assert said == SAID
    assert [[m for m in seen if m["role"] != "system"] for seen in script.seen] == [CONVERSATION, EXPECTED]
    assert [m["role"] for m in script.seen[0]].count("system") == 1
    (function,) = [tool["function"] for tool in script.tools[0]]
    assert function["name"] == "find_user"
    assert function["parameters"]["properties"]["email"]["type"] == "string"


def test_langgraph_hands_over_openai_messages() -> None:
    script = Script()
    agent = graph(langgraph.model(script), tools=[find_user], system_prompt="Be kind.")
    state = agent.invoke({"messages": copy.deepcopy(CONVERSATION)})
    check(script, state["messages"][-1].content)


async def test_langgraph_async_is_the_same() -> None:
    script = Script()
    agent = graph(langgraph.model(script), tools=[find_user], system_prompt="Be kind.")
    state = await agent.ainvoke({"messages": copy.deepcopy(CONVERSATION)})
    check(script, state["messages"][-1].content)


async def test_autogen_hands_over_openai_messages() -> None:
    script = Script()
    agent = AssistantAgent(
        "desk",
        autogen.model(script),
        tools=[FunctionTool(find_user, description="Find a user by e-mail address.")],
        system_message="Be kind.",
        max_tool_iterations=5,
    )
    await agent.model_context.add_message(UserMessage(content="hello", source="user"))
    await agent.model_context.add_message(AssistantMessage(content="Hello, whom are you looking for?", source="desk"))
    result = await agent.run(task="ada and grace")
    check(script, getattr(result.messages[-1], "content", None))


def test_crewai_hands_over_openai_messages() -> None:
    script = Script()
    with crewai.quiet():
        agent: Any = Agent(
            role="desk", goal="help", backstory="kind", llm=crewai.model(script), tools=[crew_tool(find_user)]
        )
        said = agent.kickoff(copy.deepcopy(CONVERSATION))
    check(script, said.raw)


async def test_crewai_async_is_the_same() -> None:
    script = Script()
    with crewai.quiet():
        agent: Any = Agent(
            role="desk", goal="help", backstory="kind", llm=crewai.model(script), tools=[crew_tool(find_user)]
        )
        said = await agent.akickoff(copy.deepcopy(CONVERSATION))
    check(script, said.raw)


async def test_openai_agents_hand_over_openai_messages() -> None:
    script = Script()
    agent: OpenAIAgent[Any] = OpenAIAgent(
        name="desk", instructions="Be kind.", model=openai_agents.model(script), tools=[function_tool(find_user)]
    )
    given = cast("Any", copy.deepcopy(CONVERSATION))
    result = await Runner.run(agent, given, run_config=RunConfig(tracing_disabled=True))
    check(script, result.final_output)


async def test_pydantic_ai_hands_over_openai_messages() -> None:
    script = Script()
    agent: PydanticAgent[Any, str] = PydanticAgent(
        pydantic_ai.model(script), instructions="Be kind.", tools=[find_user]
    )
    before = [
        ModelRequest(parts=[UserPromptPart("hello")]),
        ModelResponse(parts=[TextPart("Hello, whom are you looking for?")]),
    ]
    result = await agent.run("ada and grace", message_history=before)
    check(script, result.output)


async def test_agent_framework_hands_over_openai_messages() -> None:
    script = Script()
    agent: Any = MicrosoftAgent(agent_framework.model(script), "Be kind.", tools=[find_user])
    result = await agent.run([MicrosoftMessage(m["role"], [m["content"]]) for m in CONVERSATION])
    check(script, result.text)


def test_quiet_puts_the_environment_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWAI_TRACING_ENABLED", "true")
    monkeypatch.delenv("CREWAI_DISABLE_TELEMETRY", raising=False)
    with crewai.quiet():
        with crewai.quiet():
            pass
        assert os.environ["CREWAI_TRACING_ENABLED"] == "false"
    assert os.environ["CREWAI_TRACING_ENABLED"] == "true"
    assert "CREWAI_DISABLE_TELEMETRY" not in os.environ
