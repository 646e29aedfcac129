"""Two hundred conversations at once in one process, in every framework: nobody gets what is another's.

In threads and in tasks; every other user reads a stream. Where a framework's agent can serve many, one
serves all.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from conforming import AgentFramework, AutoGen, CrewAI, LangGraph, OpenAIAgents, PydanticAI
from crowd import (
    PATIENCE_S,
    USERS,
    Meeting,
    amount,
    check,
    clerk,
    contact,
    crowd_of,
    in_tasks,
    in_threads,
    open_run,
    respond,
    words,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from roadworthy import Gate, Ledger
from roadworthy.adapters.conformance import Adapter

Functions = Mapping[str, Callable[..., Any]]


def streams(user: int) -> bool:
    """Every other pair of users."""
    return user // 2 % 2 == 0


class Served:
    """The agents of one framework: how one is made, asked and read as a stream."""

    adapter: type[Adapter]
    one_for_all = True
    blocks = False
    """Whether it calls async tools in loops of their own."""

    def __init__(self, gate: Gate, functions: Functions) -> None:
        self.gate = gate
        self.functions = functions
        self.made = self.adapter()
        self.shared = self.build() if self.one_for_all else None

    def build(self) -> Any:
        return self.made.build(self.gate, self.functions, respond)

    def agent(self) -> Any:
        return self.shared if self.one_for_all else self.build()

    def talk(self, user: int, text: str) -> str:
        return self.stream(self.agent(), text) if streams(user) else self.made.talk(self.agent(), text)

    async def atalk(self, user: int, text: str) -> str:
        if streams(user):
            return await self.astream(self.agent(), text)
        return await self.made.atalk(self.agent(), text)

    def stream(self, agent: Any, text: str) -> str:
        return asyncio.run(self.astream(agent, text))

    async def astream(self, agent: Any, text: str) -> str:
        raise NotImplementedError


class ServedByLangGraph(Served):
    adapter = LangGraph

    def stream(self, agent: Any, text: str) -> str:
        chunks = agent.stream({"messages": [("user", text)]}, stream_mode="messages")
        return "".join(chunk.text for chunk, _ in chunks if chunk.type in ("ai", "AIMessageChunk"))

    async def astream(self, agent: Any, text: str) -> str:
        chunks = agent.astream({"messages": [("user", text)]}, stream_mode="messages")
        return "".join([chunk.text async for chunk, _ in chunks if chunk.type in ("ai", "AIMessageChunk")])


class ServedByAutoGen(Served):
    adapter = AutoGen
    one_for_all = False  # an AssistantAgent remembers

    async def astream(self, agent: Any, text: str) -> str:
        items = [item async for item in agent.run_stream(task=text)]
        return str(items[-1].messages[-1].content)


class ServedByCrewAI(Served):
    adapter = CrewAI
    one_for_all = False  # a Crew keeps what its tasks came to
    blocks = True

    def stream(self, agent: Any, text: str) -> str:
        from roadworthy.examples.scripted.crewai import quiet

        agent.stream = True
        with quiet():
            return "".join(chunk.content for chunk in agent.kickoff(inputs={"words": text}))

    async def astream(self, agent: Any, text: str) -> str:
        from roadworthy.examples.scripted.crewai import quiet

        agent.stream = True
        with quiet():
            return "".join([chunk.content async for chunk in await agent.akickoff(inputs={"words": text})])


class ServedByOpenAIAgents(Served):
    adapter = OpenAIAgents

    async def astream(self, agent: Any, text: str) -> str:
        from agents import Runner

        running = Runner.run_streamed(agent, text)
        told = ""
        async for event in running.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                told += event.data.delta
        return told


class ServedByPydanticAI(Served):
    adapter = PydanticAI

    async def astream(self, agent: Any, text: str) -> str:
        async with agent.run_stream(text) as running:
            return "".join([part async for part in running.stream_text(delta=True)])


class ServedByAgentFramework(Served):
    adapter = AgentFramework

    async def astream(self, agent: Any, text: str) -> str:
        return "".join([update.text async for update in agent.run(text, stream=True)])


ALL = [
    ServedByLangGraph,
    ServedByAutoGen,
    ServedByCrewAI,
    ServedByOpenAIAgents,
    ServedByPydanticAI,
    ServedByAgentFramework,
]
every = pytest.mark.parametrize("served", ALL, ids=[each.adapter.__name__ for each in ALL])


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with Ledger.open(":memory:") as ledger:
        yield ledger


@every
def test_threads_keep_their_runs_apart(served: type[Served], ledger: Ledger) -> None:
    gate, shop = crowd_of(ledger)
    agents = served(gate, shop.blocking())
    check(ledger, shop, in_threads(gate, shop, agents.talk))


@every
async def test_tasks_keep_their_runs_apart(served: type[Served], ledger: Ledger) -> None:
    gate, shop = crowd_of(ledger)
    agents = served(gate, shop.blocking() if served.blocks else shop.awaited())
    check(ledger, shop, await in_tasks(gate, shop, agents.atalk))


def application(served: Served, gate: Gate) -> Starlette:
    """A web application around one agent: who the user is stands in a header, which its front door has checked."""

    async def ask(request: Request) -> PlainTextResponse:
        user = int(request.headers["x-user"])
        text = (await request.body()).decode()
        async with open_run(gate, user) as run:
            with run.bind():
                await run.aheard(text)
                told = await served.atalk(user, text)
                said = await run.asay(told)
        return PlainTextResponse(told, status_code=200 if said.ok else 500)

    return Starlette(routes=[Route("/ask", ask, methods=["POST"])])


@contextmanager
def serving(app: Starlette) -> Generator[str]:
    """The application behind uvicorn on a free port of this machine; it has ended when this ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=2 * USERS) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", backlog=2 * USERS))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


async def ask_all(url: str) -> list[str]:
    """What two hundred users are told who ask at once, each over a connection of their own."""
    limits = httpx.Limits(max_connections=USERS)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=PATIENCE_S, trust_env=False) as client:

        async def one(user: int) -> str:
            answer = await client.post("/ask", headers={"x-user": str(user)}, content=words(user))
            assert answer.status_code == 200, answer.text
            return answer.text

        return list(await asyncio.gather(*(one(user) for user in range(USERS))))


@pytest.mark.parametrize("served", [ServedByLangGraph, ServedByPydanticAI], ids=["LangGraph", "PydanticAI"])
async def test_a_web_server_keeps_its_users_apart(served: type[Served], ledger: Ledger) -> None:
    gate, shop = crowd_of(ledger)
    Meeting(shop)
    with serving(application(served(gate, shop.awaited()), gate)) as url:
        check(ledger, shop, await ask_all(url))


async def test_a_web_server_names_the_thread_and_streams(ledger: Ledger) -> None:
    gate, shop = crowd_of(ledger)
    Meeting(shop)
    agent = ServedByLangGraph(gate, shop.awaited()).agent()

    async def ask(request: Request) -> StreamingResponse:
        user = int(request.headers["x-user"])
        who = {"principal": clerk(user), "facts": {"ceiling": amount(user)}, "capability": "money_back"}
        known = {"subject": contact(user)} if user % 3 == 0 else {}
        config = {"configurable": {"thread_id": f"run-{user}", **who, **known}}
        asked = {"messages": [("user", (await request.body()).decode())]}

        async def told() -> AsyncIterator[str]:
            async for chunk, _ in agent.astream(asked, config, stream_mode="messages"):
                if chunk.type in ("ai", "AIMessageChunk") and chunk.text:
                    yield chunk.text

        return StreamingResponse(told())

    with serving(Starlette(routes=[Route("/ask", ask, methods=["POST"])])) as url:
        check(ledger, shop, await ask_all(url))
