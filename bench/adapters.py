"""What an adapter and the gate behind it cost at one tool call, beside the bare framework.

    .venv-frameworks/bin/python bench/adapters.py [--json] [--only NAME …] [--rounds N] [--calls N]

One conversation of a scripted model, which calls a tool that does nothing so many times and then says a word; each call
has an argument of its own. The bare agent and the guarded one take turns, and CPU time of the process is counted.
The ledger is one in memory, and what its appends cost is counted apart: `overhead_ms` is what is left, which is adapter
and gate. `append_ms` is that part, `durable_ms` (wall) the same calls against a file on disk, less those in memory.

`mcp` is the proxy: a client in this process asks a server in another one, directly and through the proxy, which is in
this process as well; so all that the proxy does counts, its second way over the protocol included.

Each round asks the bare agent twice. `noise_ms` is how far the two were apart (median): what is less than that is not
known. `slowed` says how much CPU a loop of additions took at the median, against its best: 1.0 on a quiet machine.
Frameworks that are not installed are left out, and said.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import gc
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from roadworthy import Contract, Gate, Ledger
from roadworthy.core.types import Draft, Entry, Guard

LAW = """
roadworthy: 1
agent: bench
version: "1"
goal: Show what a call costs.
owner: {team: Bench, accountable: bench-lead}
tools:
  note: {effect: write, args: {text: string, amount: {type: decimal, unit: EUR, max: "500.00"}}, returns: string}
capabilities:
  noting:
    means: Something is to be noted.
    tools: [note]
    autonomy: {start: autonomous, ceiling: autonomous, approver: bench-lead}
    success: [{id: noted, check: count.note >= 1}]
rules:
  - {id: small, tools: [note], when: args.amount > 400.00, then: deny, because: It is too much.}
"""
BAR_MS = 0.2
BAR_RATIO = 0.05


def note(text: str, amount: str) -> str:
    """Note something."""
    return "noted"


async def anote(text: str, amount: str) -> str:
    """Note something."""
    return "noted"


def script(calls: int) -> Callable[[list[dict[str, Any]], list[dict[str, Any]]], dict[str, Any]]:
    """A model that calls the tool so many times, one call after the other."""

    def respond(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
        done = sum(message["role"] == "tool" for message in messages)
        if done >= calls:
            return {"role": "assistant", "content": "done"}
        arguments = json.dumps({"text": f"the {done}th thing to note", "amount": f"{done}.50"})
        function = {"name": "note", "arguments": arguments}
        return {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": function}]}

    return respond


Talk = Callable[[], Awaitable[str]]
Build = Callable[[Any, Any], Callable[[], Talk]]
"""From a script and a gate (None: bare) to what makes the talk of a fresh conversation."""


def plain(respond: Any, gate: Gate | None) -> Callable[[], Talk]:
    from roadworthy.adapters.plain import guard
    from roadworthy.examples.scripted.messages import answer

    tools = {"note": note} if gate is None else guard({"note": note}, gate)

    def fresh() -> Talk:
        async def talk() -> str:
            messages: list[dict[str, Any]] = [{"role": "user", "content": "note things"}]
            while True:
                said = answer(respond, messages, [])
                messages.append(said)
                calls = said.get("tool_calls")
                if not calls:
                    return said["content"]
                for call in calls:
                    function = call["function"]
                    result = tools[function["name"]](**json.loads(function["arguments"]))
                    messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})

        return talk

    return fresh


def langgraph(respond: Any, gate: Gate | None) -> Callable[[], Talk]:
    from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType]  # a generic left open
    from langchain_core.tools import StructuredTool

    from roadworthy.adapters.langgraph import guard
    from roadworthy.examples.scripted.langgraph import model

    tool = StructuredTool.from_function(func=note, coroutine=anote, name="note")
    graph: Any = cast("Any", create_agent)(model(respond), [tool])
    graph = graph if gate is None else guard(graph, gate)

    def fresh() -> Talk:
        async def talk() -> str:
            start = {"messages": [{"role": "user", "content": "note things"}]}
            end = await graph.ainvoke(start, {"recursion_limit": 1000})
            return str(end["messages"][-1].text)

        return talk

    return fresh


def autogen(respond: Any, gate: Gate | None) -> Callable[[], Talk]:
    from autogen_agentchat.agents import AssistantAgent
    from autogen_core.tools import FunctionTool

    from roadworthy.adapters.autogen import guard
    from roadworthy.examples.scripted.autogen import model

    tool = FunctionTool(anote, name="note", description="Note something.")

    def fresh() -> Talk:
        assistant = AssistantAgent("bench", model(respond), tools=[tool], max_tool_iterations=1000)
        assistant = assistant if gate is None else guard(assistant, gate)

        async def talk() -> str:
            return (await assistant.run(task="note things")).messages[-1].to_text()

        return talk

    return fresh


def crewai(respond: Any, gate: Gate | None) -> Callable[[], Talk]:
    from roadworthy.examples.scripted.crewai import model, quiet

    with quiet():
        from crewai import Agent, Crew, Task
        from crewai.tools import tool

        from roadworthy.adapters.crewai import guard

    def fresh() -> Talk:
        with quiet():
            clerk = Agent(
                role="clerk", goal="note", backstory="a clerk", llm=model(respond), tools=[tool("note")(note)],
                max_iter=1000,
            )  # fmt: skip
            crew = Crew(agents=[clerk], tasks=[Task(description="note things", expected_output="done", agent=clerk)])
            crew = crew if gate is None else guard(crew, gate)

        async def talk() -> str:
            with quiet():
                return str((await asyncio.to_thread(cast("Any", crew).kickoff)).raw)

        return talk

    return fresh


def openai_agents(respond: Any, gate: Gate | None) -> Callable[[], Talk]:
    from agents import Agent, Runner, function_tool, set_tracing_disabled

    from roadworthy.adapters.openai_agents import guard
    from roadworthy.examples.scripted.openai_agents import model

    set_tracing_disabled(True)
    agent = Agent(name="bench", model=model(respond), tools=[function_tool(anote, name_override="note")])
    agent = agent if gate is None else guard(agent, gate)

    def fresh() -> Talk:
        async def talk() -> str:
            return str((await Runner.run(agent, "note things", max_turns=1000)).final_output)

        return talk

    return fresh


def pydantic_ai(respond: Any, gate: Gate | None) -> Callable[[], Talk]:
    from pydantic_ai import Agent, Tool, UsageLimits

    from roadworthy.adapters.pydantic_ai import guard
    from roadworthy.examples.scripted.pydantic_ai import model

    agent: Any = Agent(model(respond), tools=[Tool(anote, name="note")])
    agent = agent if gate is None else guard(agent, gate)

    def fresh() -> Talk:
        async def talk() -> str:
            return str((await agent.run("note things", usage_limits=UsageLimits(request_limit=None))).output)

        return talk

    return fresh


def agent_framework(respond: Any, gate: Gate | None) -> Callable[[], Talk]:
    from agent_framework import Agent, FunctionTool

    from roadworthy.adapters.agent_framework import guard
    from roadworthy.examples.scripted.agent_framework import model

    client = model(respond)
    client.function_invocation_configuration["max_iterations"] = 1000
    agent: Any = Agent(client, tools=[FunctionTool(name="note", description="Note something.", func=anote)])
    agent = agent if gate is None else guard(agent, gate)

    def fresh() -> Talk:
        async def talk() -> str:
            return str((await agent.run("note things")).text)

        return talk

    return fresh


BUILDS: dict[str, tuple[str | None, Build]] = {
    "plain": (None, plain),
    "langgraph": ("langchain", langgraph),
    "autogen": ("autogen_agentchat", autogen),
    "crewai": ("crewai", crewai),
    "openai-agents": ("agents", openai_agents),
    "pydantic-ai": ("pydantic_ai", pydantic_ai),
    "agent-framework": ("agent_framework", agent_framework),
}


class Counted:
    """A ledger, and the CPU time that its appends take."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.spent = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
        start = time.process_time_ns()
        try:
            return self._ledger.append(drafts, guards)
        finally:
            self.spent += time.process_time_ns() - start

    async def aappend(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
        start = time.process_time_ns()
        try:
            return await self._ledger.aappend(drafts, guards)
        finally:
            self.spent += time.process_time_ns() - start


@dataclass(slots=True)
class Measured:
    """CPU time of the process per call of the tool, in milliseconds, by round."""

    bare: list[float] = field(default_factory=list[float])
    bare_again: list[float] = field(default_factory=list[float])
    guarded: list[float] = field(default_factory=list[float])
    appends: list[float] = field(default_factory=list[float])
    durable: list[float] = field(default_factory=list[float])
    """Wall time on disk less that in memory."""
    loops: list[float] = field(default_factory=list[float])
    """Of a loop of additions, in milliseconds."""

    def told(self) -> dict[str, float]:
        """The medians."""
        pairs = zip(self.bare, self.bare_again, self.guarded, self.appends, strict=True)
        overhead = statistics.median(guarded - appends - (one + two) / 2 for one, two, guarded, appends in pairs)
        alone = statistics.median([*self.bare, *self.bare_again])
        apart = (abs(one - two) for one, two in zip(self.bare, self.bare_again, strict=True))
        return {
            "bare_ms": round(alone, 4),
            "overhead_ms": round(overhead, 4),
            "ratio": round(overhead / alone, 4),
            "append_ms": round(statistics.median(self.appends), 4),
            "durable_ms": round(statistics.median(self.durable), 4),
            "bar_ms": round(max(BAR_MS, BAR_RATIO * alone), 4),
            "noise_ms": round(statistics.median(apart), 4),
            "slowed": round(statistics.median(self.loops) / min(self.loops), 2),
        }


Talks = Callable[[], Awaitable[tuple[float, float]]]
"""One conversation: CPU and wall time, in milliseconds a call."""


async def _one(talk: Talk, gate: Gate | None, calls: int) -> tuple[float, float]:
    """One conversation: CPU and wall time, in milliseconds a call."""
    gc.collect()
    run = gate.run(capability="noting") if gate is not None else None
    with run.bind() if run is not None else contextlib.nullcontext():
        if run is not None:
            run.heard("note things")
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        said = await talk()
        cpu, wall = time.process_time_ns() - cpu, time.perf_counter_ns() - wall
    if said != "done":
        raise SystemExit(f"the conversation ended with {said!r}")
    if run is not None and run.state.counts.get("note") != calls:
        raise SystemExit(f"the gate has carried {run.state.counts.get('note')} calls, and not {calls}")
    return cpu / calls / 1e6, wall / calls / 1e6


def _loop() -> float:
    start = time.process_time_ns()
    total = 0
    for number in range(200_000):
        total += number
    return (time.process_time_ns() - start) / 1e6


async def _rounds(bare: Talks, guarded: Talks, written: Talks, counted: Counted, calls: int, rounds: int) -> Measured:
    """All of them in turn, in every second round the other way round."""
    found = Measured()
    for turn in range(-2, rounds):
        if turn == 0:
            gc.freeze()  # what the frameworks have loaded is not looked through again and again
        looped = _loop()
        first, _ = await bare() if turn % 2 else (0.0, 0.0)
        counted.spent = 0
        cpu, wall = await guarded()
        spent = counted.spent / calls / 1e6
        if not turn % 2:
            first, _ = await bare()
        again, _ = await bare()
        _, kept = await written()
        if turn >= 0:  # the first two warm caches
            found.loops.append(looped)
            found.bare.append(first)
            found.bare_again.append(again)
            found.guarded.append(cpu)
            found.appends.append(spent)
            found.durable.append(kept - wall)
    gc.unfreeze()
    return found


async def measure(build: Build, *, calls: int, rounds: int) -> dict[str, float]:
    """One framework, bare and guarded in turn."""
    respond = script(calls)
    contract = Contract.loads(LAW)
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "runs.db") as on_disk:
        counted = Counted(Ledger.open(":memory:"))
        in_memory, filed = Gate(contract, cast("Any", counted)), Gate(contract, on_disk)
        bare, guarded, written = build(respond, None), build(respond, in_memory), build(respond, filed)
        found = await _rounds(
            lambda: _one(bare(), None, calls),
            lambda: _one(guarded(), in_memory, calls),
            lambda: _one(written(), filed, calls),
            counted,
            calls,
            rounds,
        )
    return found.told()


SERVER = """
from mcp.server.fastmcp import FastMCP
server = FastMCP("bench", log_level="ERROR")
@server.tool(structured_output=False)
def note(text: str, amount: str) -> str:
    "Note something."
    return "noted"
server.run()
"""


async def measure_proxy(*, calls: int, rounds: int) -> dict[str, float]:
    """A client that asks a server, directly and through the proxy."""
    import anyio
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client
    from mcp.shared.memory import create_client_server_memory_streams

    from roadworthy.adapters.mcp.proxy import Command, Proxy, listed_by

    words = (sys.executable, "-c", SERVER)
    behind = Command(words=words, env={"PATH": os.environ["PATH"]})
    pins = (await listed_by(behind, timeout_s=60)).tools

    @contextlib.asynccontextmanager
    async def through(proxy: Proxy) -> AsyncGenerator[ClientSession]:
        front = proxy.front()
        async with create_client_server_memory_streams() as (ours, theirs), anyio.create_task_group() as group:
            group.start_soon(front.run, *theirs, front.create_initialization_options())
            async with ClientSession(*ours) as client:
                await client.initialize()
                yield client
            await ours[1].aclose()

    async def ask(client: ClientSession) -> tuple[float, float]:
        gc.collect()
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        for done in range(calls):
            answer = await client.call_tool("note", {"text": f"the {done}th thing to note", "amount": f"{done}.50"})
            if answer.isError:
                raise SystemExit(f"the server said {answer.content!r}")
        return (time.process_time_ns() - cpu) / calls / 1e6, (time.perf_counter_ns() - wall) / calls / 1e6

    contract = Contract.loads(LAW)
    counted = Counted(Ledger.open(":memory:"))
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "runs.db") as on_disk:
        async with (
            stdio_client(StdioServerParameters(command=words[0], args=list(words[1:]))) as streams,
            ClientSession(*streams) as alone,
            through(Proxy(contract, cast("Any", counted), behind, pins)) as guarded,
            through(Proxy(contract, on_disk, behind, pins)) as written,
        ):
            await alone.initialize()
            found = await _rounds(
                lambda: ask(alone), lambda: ask(guarded), lambda: ask(written), counted, calls, rounds
            )
    return found.told()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What does the gate cost at a tool call?")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", nargs="*", choices=[*BUILDS, "mcp"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=20)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    measures: dict[str, tuple[str | None, Callable[..., Awaitable[dict[str, float]]]]] = {
        name: (needed, functools.partial(measure, build)) for name, (needed, build) in BUILDS.items()
    }
    measures["mcp"] = ("mcp", measure_proxy)
    results: dict[str, dict[str, float]] = {}
    for name, (needed, measured) in measures.items():
        if given.only and name not in given.only:
            continue
        if needed is not None and importlib.util.find_spec(needed) is None:
            print(f"{name}: not installed here, and left out", file=sys.stderr)
            continue

        async def one(measured: Callable[..., Awaitable[dict[str, float]]] = measured) -> dict[str, float]:
            return await measured(calls=given.calls, rounds=given.rounds)

        result = results[name] = asyncio.run(one())
        met = "" if result["overhead_ms"] <= result["bar_ms"] else "   over the bar"
        print(
            f"{name:16} bare {result['bare_ms']:.3f} ms CPU a call, gate and adapter {result['overhead_ms']:+.3f} ms "
            f"({result['ratio']:+.0%}, noise {result['noise_ms']:.3f}, slowed {result['slowed']:.2f}), "
            f"entries +{result['append_ms']:.3f} ms, on disk +{result['durable_ms']:.2f} ms wall; "
            f"bar {result['bar_ms']:.3f}{met}",
            flush=True,
        )
    if given.json:
        print(json.dumps({"overhead_ms": {name: r["overhead_ms"] for name, r in results.items()}, "all": results}))


if __name__ == "__main__":
    main()
