"""Every framework's own OpenAI client at the endpoint: recorded from a scripted upstream, replayed without one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from agents import Agent as OpenAIAgent
from agents import OpenAIChatCompletionsModel, OpenAIResponsesModel, RunConfig, Runner, function_tool
from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import ModelFamily, ModelInfo
from autogen_ext.models.openai import OpenAIChatCompletionClient
from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool as crew_tool
from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType]  # a generic left open
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, NotFoundError, OpenAI, PermissionDeniedError
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.openai import OpenAIResponsesModel as PydanticResponses
from pydantic_ai.providers.openai import OpenAIProvider
from tests.adapters.scripted_upstream import chat, scripted_upstream

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters import langgraph as guarded
from roadworthy.adapters.model import ModelEndpoint, Upstream
from roadworthy.adapters.model.streams import told_again

CREATE_AGENT: Any = cast("Any", create_agent)
CHAT: Any = ChatOpenAI
CREW: Any = Crew
DONE: list[str] = []


def find_order(no: str) -> str:
    """When an order comes."""
    DONE.append(no)
    return f"order {no} comes on Monday"


def _response(id: int, output: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"resp_{id}",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "model": "scripted-1",
        "output": [output],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "prompt_cache_diagnostics": None,
        "temperature": 1.0,
        "top_p": 1.0,
        "usage": {
            "input_tokens": 8,
            "output_tokens": 2,
            "total_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def model(path: str, body: Mapping[str, Any]) -> Any:
    """Looks the order up, then says what it found."""
    said: list[dict[str, Any]] = body.get("messages") or body.get("input") or []
    results = [m for m in said if m.get("role") == "tool" or m.get("type") == "function_call_output"]
    if path == "responses":
        if results:
            part: dict[str, Any] = {"type": "output_text", "text": f"So: {results[-1]['output']}", "annotations": []}
            item: dict[str, Any] = {
                "type": "message",
                "id": "m1",
                "role": "assistant",
                "status": "completed",
                "content": [part],
            }
        else:
            item = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "find_order", "status": "completed"}
            item["arguments"] = json.dumps({"no": "7"})
        answer = _response(len(results), item)
    elif results:
        content = results[-1]["content"]
        answer = chat(f"So: {content if isinstance(content, str) else content[0]['text']}")
    else:
        answer = chat(None, ("c1", "find_order", {"no": "7"}))
    answer["model"] = body["model"]
    return list(told_again(path, answer, usage=True)) if body.get("stream") else answer


def langgraph_invoke(url: str) -> str:
    agent = CREATE_AGENT(CHAT(model="m", base_url=url, api_key="any"), tools=[find_order])
    return agent.invoke({"messages": [{"role": "user", "content": "When?"}]})["messages"][-1].content


def langgraph_stream(url: str) -> str:
    agent: Any = CREATE_AGENT(CHAT(model="m", base_url=url, api_key="any", streaming=True), tools=[find_order])

    async def talk() -> str:
        text = ""
        async for chunk, _ in agent.astream(
            {"messages": [{"role": "user", "content": "When?"}]}, stream_mode="messages"
        ):
            text += chunk.content if chunk.type == "AIMessageChunk" else ""
        return text

    return asyncio.run(talk())


def langgraph_responses(url: str) -> str:
    client: Any = CHAT(model="m", base_url=url, api_key="any", use_responses_api=True)
    agent = CREATE_AGENT(client, tools=[find_order])
    return agent.invoke({"messages": [{"role": "user", "content": "When?"}]})["messages"][-1].text


def autogen(url: str, *, stream: bool = False) -> str:
    info = ModelInfo(
        vision=False, function_calling=True, json_output=False, family=ModelFamily.UNKNOWN, structured_output=False
    )

    async def talk() -> str:
        client = OpenAIChatCompletionClient(model="m", base_url=url, api_key="any", model_info=info)
        agent = AssistantAgent("desk", client, tools=[find_order], reflect_on_tool_use=True, model_client_stream=stream)
        answer: Any = (await agent.run(task="When?")).messages[-1]
        await client.close()
        return answer.content

    return asyncio.run(talk())


def autogen_stream(url: str) -> str:
    return autogen(url, stream=True)


def crewai(url: str) -> str:
    llm = LLM(model="openai/gpt-4o-mini", base_url=url, api_key="any")
    agent: Any = Agent(role="desk", goal="help", backstory="none", llm=llm, tools=[crew_tool("find_order")(find_order)])
    task = Task(description="When?", expected_output="a day", agent=agent)
    return CREW(agents=[agent], tasks=[task]).kickoff().raw


def openai_agents(url: str, kind: Any = OpenAIChatCompletionsModel, *, stream: bool = False) -> str:
    async def talk() -> str:
        async with AsyncOpenAI(base_url=url, api_key="any") as client:
            desk: Any = OpenAIAgent(name="desk", model=kind("m", client), tools=[function_tool(find_order)])
            config = RunConfig(tracing_disabled=True)
            if not stream:
                return (await Runner.run(desk, "When?", run_config=config)).final_output
            running = Runner.run_streamed(desk, "When?", run_config=config)
            async for _ in running.stream_events():
                pass
            return running.final_output

    return asyncio.run(talk())


def openai_agents_responses(url: str) -> str:
    return openai_agents(url, OpenAIResponsesModel)


def openai_agents_stream(url: str) -> str:
    return openai_agents(url, stream=True)


def openai_agents_responses_stream(url: str) -> str:
    return openai_agents(url, OpenAIResponsesModel, stream=True)


def pydantic_ai(url: str, kind: Any = OpenAIChatModel, *, stream: bool = False) -> str:
    async def talk() -> str:
        async with AsyncOpenAI(base_url=url, api_key="any") as client:
            desk = PydanticAgent(kind("m", provider=OpenAIProvider(openai_client=client)), tools=[find_order])
            if not stream:
                return (await desk.run("When?")).output
            async with desk.run_stream("When?") as result:
                return await result.get_output()

    return asyncio.run(talk())


def pydantic_ai_responses(url: str) -> str:
    return pydantic_ai(url, PydanticResponses)


def pydantic_ai_stream(url: str) -> str:
    return pydantic_ai(url, stream=True)


def pydantic_ai_responses_stream(url: str) -> str:
    return pydantic_ai(url, PydanticResponses, stream=True)


TALKS: list[Callable[[str], str]] = [
    langgraph_invoke,
    langgraph_stream,
    langgraph_responses,
    autogen,
    autogen_stream,
    crewai,
    openai_agents,
    openai_agents_stream,
    openai_agents_responses,
    openai_agents_responses_stream,
    pydantic_ai,
    pydantic_ai_stream,
    pydantic_ai_responses,
    pydantic_ai_responses_stream,
]


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.__name__)
def test_what_a_framework_was_told_is_replayed_to_it(tmp_path: Path, talk: Callable[[str], str]) -> None:
    DONE.clear()
    with scripted_upstream(model) as upstream:
        with ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint:
            live = talk(endpoint.url())
        assert len(upstream.asked) >= 2
        assert all("authorization" not in headers for headers in upstream.headers)
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint:
        assert talk(endpoint.url()) == live == "So: order 7 comes on Monday"
        assert endpoint.missed == 0
    assert DONE == ["7", "7"]


@pytest.mark.parametrize("streamed", [False, True])
def test_the_official_client_reads_what_is_told(tmp_path: Path, streamed: bool) -> None:
    asked: Any = {"model": "m", "messages": [{"role": "user", "content": "When?"}]}
    with (
        scripted_upstream(model) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint,
        OpenAI(base_url=endpoint.url(), api_key="any") as client,
    ):
        live: Any
        if streamed:
            with client.chat.completions.stream(**asked) as stream:
                live = cast("Any", stream.get_final_completion())
        else:
            live = cast("Any", client.chat.completions.create(**asked))
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint, OpenAI(base_url=endpoint.url(), api_key="any") as client:
        whole = cast("Any", client.chat.completions.create(**asked))
        client.base_url = endpoint.url()
        with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
            pieces = cast("Any", stream.get_final_completion())
        assert [model.id for model in client.models.list()] == ["m"]
    for came in (live, whole, pieces):
        (call,) = came.choices[0].message.tool_calls
        assert (call.type, call.function.name, call.function.arguments) == ("function", "find_order", '{"no": "7"}')
    assert whole.usage == pieces.usage
    assert whole.usage is not None


def test_a_client_does_not_try_again_what_nobody_will_answer(tmp_path: Path) -> None:
    with (
        scripted_upstream(model) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record"),
    ):
        pass
    with (
        ModelEndpoint(cassette=tmp_path / "c") as endpoint,
        OpenAI(base_url=endpoint.url(), api_key="any", max_retries=5) as client,
    ):
        with pytest.raises(NotFoundError, match="nothing is recorded"):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Who?"}])
        assert endpoint.missed == 1


LAW = """
roadworthy: 1
agent: desk
version: "1"
goal: Say when orders come.
owner: {team: Care, accountable: lead}
tools:
  find_order: {effect: read, args: {no: string}, returns: string}
capabilities:
  delivery:
    means: Somebody asks when an order comes.
    tools: [find_order]
    autonomy: {start: autonomous, ceiling: autonomous, approver: lead}
    success: [{id: one, check: count.find_order >= 1}]
budgets: {run: {model_tokens: 25}}
"""


def test_a_guarded_agent_with_a_live_model_is_counted_and_driven_again(tmp_path: Path) -> None:
    law = Contract.loads(LAW)

    def talk(run: Any, url: str) -> str:
        agent = CREATE_AGENT(CHAT(model="m", base_url=url, api_key="any"), tools=[find_order])
        with run.bind():
            return (
                guarded.guard(agent, run.gate)
                .invoke({"messages": [{"role": "user", "content": "When?"}]})["messages"][-1]
                .content
            )

    with Ledger.open(tmp_path / "runs.db") as ledger:
        gate = Gate(law, ledger)
        run = gate.run(id="r", capability="delivery", suspendable=True)
        DONE.clear()
        with (
            scripted_upstream(model) as upstream,
            ModelEndpoint(upstream=Upstream.of(upstream.url), mode="pass") as endpoint,
        ):
            first = talk(run, endpoint.url(run))
            again = talk(gate.resume("r"), endpoint.url(gate.resume("r")))
            assert (len(upstream.asked), DONE) == (2, ["7"])
            run = gate.run(id="r")
            assert run.state.tokens == 20
            run.spent(model_tokens=5)
            with pytest.raises(PermissionDeniedError, match="All 25 tokens"):
                talk(run, endpoint.url(run))
    assert first == again == "So: order 7 comes on Monday"
