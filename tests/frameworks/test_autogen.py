"""The adapter for AutoGen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from autogen_agentchat.agents import (
    AssistantAgent,
    BaseChatAgent,
    MessageFilterAgent,
    MessageFilterConfig,
    SocietyOfMindAgent,
    UserProxyAgent,
)
from autogen_agentchat.base import Handoff, Response
from autogen_agentchat.conditions import HandoffTermination, TextMessageTermination
from autogen_agentchat.messages import BaseChatMessage, TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat, Swarm
from autogen_agentchat.tools import AgentTool
from autogen_core import CancellationToken, SingleThreadedAgentRuntime
from autogen_core.tools import (
    FunctionTool,
    StaticWorkbench,
    TextResultContent,
    ToolOverride,
    ToolResult,
    ToolSchema,
    Workbench,
)
from conformance import CONTRACT, REFUND, BoundConformance, Script, Shop, within
from pydantic import BaseModel

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.autogen import guard
from roadworthy.core.errors import UsageError
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


# -- what breaks AutoGen ----------------------------------------------------------------------------------------------


async def talk(agent: Any, gate: Gate, **more: Any) -> str:
    """One talk within a run of its own, that must end."""
    with gate.run(id="r", capability="refunds") as run, run.bind():
        return said(await asyncio.wait_for(agent.run(task="please", **more), 20))


def own_tool(function: Any, name: str) -> Any:
    return FunctionTool(function, description="A tool.", name=name)


class TornDown(BaseException):
    """What no `except Exception` catches."""


class TestNothingHangs:
    async def test_whatever_a_tool_raises(self, gate: Gate, ledger: Ledger) -> None:
        async def refund(order_no: str, amount: float) -> str:
            raise TornDown

        script = Script([REFUND], "Something broke.")
        agent = guard(assistant(script, [own_tool(refund, "shop_refund")]), gate)
        assert await talk(agent, gate) == "Something broke."
        assert "do not call it again" in script.results[0]
        assert [e.body["status"] for e in ledger.entries(run="r", kind="outcome")] == ["in_doubt"]

    async def test_a_tool_that_is_cancelled_by_its_token(self, gate: Gate, ledger: Ledger) -> None:
        token = CancellationToken()

        async def refund(order_no: str, amount: float) -> str:
            token.cancel()
            await asyncio.Event().wait()
            return "never"

        script = Script([REFUND], "Something broke.")
        agent = guard(assistant(script, [own_tool(refund, "shop_refund")]), gate)
        # AutoGen itself may end by raising, or go on to the next model call; it must not wait for ever.
        ended = await asyncio.wait_for(
            asyncio.gather(talk(agent, gate, cancellation_token=token), return_exceptions=True), 20
        )
        assert not isinstance(ended[0], TimeoutError)
        assert [e.body["status"] for e in ledger.entries(run="r", kind="outcome")] == ["in_doubt"]

    async def test_a_cancelled_agent_lets_a_call_in_flight_finish(self, gate: Gate, ledger: Ledger) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def refund(order_no: str, amount: float) -> dict[str, str]:
            begun.set()
            await go_on.wait()
            return {"refund_no": "R-7"}

        agent = guard(assistant(Script([REFUND], "Done."), [own_tool(refund, "shop_refund")]), gate)
        task = asyncio.create_task(talk(agent, gate))
        await asyncio.wait_for(begun.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        for _ in range(1000):
            if list(ledger.entries(run="r", kind="outcome")):
                break
            await asyncio.sleep(0)
        left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        await asyncio.wait_for(asyncio.gather(*left, return_exceptions=True), 20)
        assert [e.body["status"] for e in ledger.entries(run="r", kind="outcome")] == ["ok"]

    async def test_a_workbench_that_cannot_list_its_tools_any_more(self, gate: Gate) -> None:
        bench = OwnWorkbench(listings=1)
        agent = guard(
            AssistantAgent("desk", model(Script([REFUND], "unused")), workbench=bench, max_tool_iterations=1), gate
        )
        assert "R-7" in await talk(agent, gate)
        assert bench.calls == [("shop_refund", {"order_no": "7", "amount": 20})]


class OwnWorkbench(Workbench):
    """A workbench that is none of AutoGen's own, as that of an MCP server."""

    def __init__(self, *, listings: int = 100, error: bool = False) -> None:
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.listings = listings
        self.error = error

    async def list_tools(self) -> list[ToolSchema]:
        self.listings -= 1
        if self.listings < 0:
            raise ConnectionError("the server is gone")
        return [{"name": "shop_refund", "description": "Pay money back."}]

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> ToolResult:
        self.calls.append((name, dict(arguments or {})))
        text = "no such order" if self.error else '{"refund_no": "R-7"}'
        return ToolResult(name=name, result=[TextResultContent(content=text)], is_error=self.error)

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def reset(self) -> None: ...
    async def save_state(self) -> Mapping[str, Any]:
        return {}

    async def load_state(self, state: Mapping[str, Any]) -> None: ...
    def _to_config(self) -> BaseModel:
        raise NotImplementedError


class TestWorkbenches:
    async def test_one_of_ones_own(self, gate: Gate, ledger: Ledger) -> None:
        bench = OwnWorkbench()
        script = Script([REFUND], "Done.")
        agent = guard(AssistantAgent("desk", model(script), workbench=bench, max_tool_iterations=5), gate)
        await talk(agent, gate)
        assert bench.calls == [("shop_refund", {"order_no": "7", "amount": 20})]
        assert script.results == ['{"refund_no": "R-7"}']

    async def test_an_error_that_it_reports_leaves_a_write_in_doubt(self, gate: Gate, ledger: Ledger) -> None:
        script = Script([REFUND], "Sorry.")
        bench = OwnWorkbench(error=True)
        agent = guard(AssistantAgent("desk", model(script), workbench=bench, max_tool_iterations=5), gate)
        await talk(agent, gate)
        assert "no such order" in script.results[0]
        assert [e.body["status"] for e in ledger.entries(run="r", kind="outcome")] == ["in_doubt"]

    async def test_renamed_tools_are_found(self, gate: Gate, shop: Shop) -> None:
        own = own_tool(shop.afunctions()["shop_refund"], "pay")
        bench = StaticWorkbench([own], tool_overrides={"pay": ToolOverride(name="shop_refund")})
        script = Script([REFUND], "Done.")
        agent = guard(AssistantAgent("desk", model(script), workbench=bench, max_tool_iterations=5), gate)
        await talk(agent, gate)
        assert len(shop.did) == 1

    def test_a_guarded_agent_is_not_dumped_without_its_gate(self, gate: Gate) -> None:
        with pytest.raises(UsageError, match="cannot be dumped"):
            guard(StaticWorkbench([]), gate).dump_component()

    async def test_tools_are_offered_once(self, gate: Gate) -> None:
        script = Script("Hello.")
        benches = [StaticWorkbench([]), OwnWorkbench()]
        agent = guard(AssistantAgent("desk", model(script), workbench=benches), gate)
        await talk(agent, gate)
        assert sorted(script.offered) == ["ask_user", "escalate", "shop_refund"]


class TestAgentsInAgents:
    async def test_an_agent_that_is_a_tool_is_guarded_and_its_messages_still_stream(self, shop: Shop) -> None:
        contract = CONTRACT.replace("shop.fail", "helper").replace("args: {}", "args: {task: string}")
        gate = Gate(Contract.loads(contract), Ledger.open(":memory:"))
        inside = Script([("wipe", {}), REFUND], "I refunded order 7.")
        helper = AssistantAgent(
            "helper", model(inside), tools=tools(shop.afunctions()), max_tool_iterations=5, description="Helps."
        )
        script = Script([("helper", {"task": "refund order 7"})], "Done.")
        agent = guard(assistant(script, [AgentTool(helper, return_value_as_last_message=True)]), gate)
        sources: list[str] = []
        with gate.run(capability="refunds") as run, run.bind():
            async for item in agent.run_stream(task="please"):
                sources.append(str(getattr(item, "source", "result")))
        assert "helper" in sources
        assert [name for name, _ in shop.did] == ["refund"]
        assert script.results == ["I refunded order 7."]

    async def test_an_agent_that_a_tool_asks_by_itself_is_guarded(self, shop: Shop) -> None:
        contract = CONTRACT.replace("shop.fail", "helper").replace("args: {}", "args: {task: string}")
        gate = Gate(Contract.loads(contract), Ledger.open(":memory:"))
        inside = Script([("wipe", {}), REFUND], "I refunded order 7.")
        inner = AssistantAgent("inner", model(inside), tools=tools(shop.afunctions()), max_tool_iterations=5)

        async def helper(task: str) -> str:
            """Helps."""
            return (await inner.run(task=task)).messages[-1].to_text()

        script = Script([("helper", {"task": "refund order 7"})], "Done.")
        assert await talk(guard(assistant(script, [helper]), gate), gate)
        assert [name for name, _ in shop.did] == ["refund"]
        assert script.results == ["I refunded order 7."]

    async def test_agents_inside_a_team_inside_an_agent(self, gate: Gate, shop: Shop) -> None:
        script = Script([("wipe", {}), REFUND], "Done.")
        inner = RoundRobinGroupChat(
            [assistant(script, tools(shop.afunctions()))], termination_condition=TextMessageTermination("desk")
        )
        filtered = MessageFilterAgent(
            "filtered",
            SocietyOfMindAgent("society", inner, model(Script("All said."))),
            MessageFilterConfig(per_source=[]),
        )
        team = guard(RoundRobinGroupChat([filtered], max_turns=1), gate)
        await talk(team, gate)
        assert [name for name, _ in shop.did] == ["refund"]


class TestStreams:
    async def test_streams_that_take_turns_keep_their_runs(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        streams: list[Any] = []
        for name in ("a", "b"):
            agent = guard(assistant(Script([REFUND], "Done."), tools(shop.afunctions())), gate)
            with gate.run(id=name, capability="refunds") as run, run.bind():
                streams.append(agent.run_stream(task="please"))
                await anext(streams[-1])  # the task itself
                await anext(streams[-1])  # the call, before it is made
        for stream in streams:
            assert [item async for item in stream]
        for name in ("a", "b"):
            assert [e.body["tool"] for e in ledger.entries(run=name, kind="action")] == ["shop.refund"]
        assert len(shop.did) == 2


class TestTeams:
    async def test_a_runtime_of_another_time_does_not_lend_its_run(
        self, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        runtime = SingleThreadedAgentRuntime()
        with gate.run(id="old", capability="refunds") as old, old.bind():
            runtime.start()
        script = Script([REFUND], "Done.", [REFUND], "No.")
        agent = assistant(script, tools(shop.afunctions()))
        team = guard(
            RoundRobinGroupChat([agent], runtime=runtime, termination_condition=TextMessageTermination("desk")), gate
        )
        assert await talk(team, gate) == "Done."
        assert said(await team.run(task="without a run")) == "No."
        assert "belongs to no run" in script.results[-1]
        await runtime.stop()
        assert [e.kind for e in ledger.entries(run="old")] == ["run"]
        assert len(list(ledger.entries(run="r", kind="action"))) == 1

    async def test_an_agent_that_is_a_tool_acts_for_the_teams_run(self, shop: Shop) -> None:
        contract = CONTRACT.replace("shop.fail", "helper").replace("args: {}", "args: {task: string}")
        ledger = Ledger.open(":memory:")
        gate = Gate(Contract.loads(contract), ledger)
        runtime = SingleThreadedAgentRuntime()
        with gate.run(id="old", capability="refunds") as old, old.bind():
            runtime.start()
        inside = Script([REFUND], "I refunded order 7.")
        helper = AssistantAgent("helper", model(inside), tools=tools(shop.afunctions()), max_tool_iterations=5)
        script = Script([("helper", {"task": "refund order 7"})], "Done.")
        team = guard(
            RoundRobinGroupChat(
                [assistant(script, [AgentTool(helper, return_value_as_last_message=True)])],
                runtime=runtime,
                termination_condition=TextMessageTermination("desk"),
            ),
            gate,
        )
        assert await talk(team, gate) == "Done."
        await runtime.stop()
        assert [e.kind for e in ledger.entries(run="old")] == ["run"]
        assert [e.body["tool"] for e in ledger.entries(run="r", kind="action")] == ["helper", "shop.refund"]
        assert len(shop.did) == 1

    async def test_a_run_that_comes_too_early_is_refused_and_takes_nothing_over(
        self, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def shop_find_order(order_no: str) -> dict[str, str]:
            begun.set()
            await go_on.wait()
            return {"order_no": order_no, "total": "80.00"}

        script = Script([("shop_find_order", {"order_no": "7"})], [REFUND], "Done.", "unused")
        own = [own_tool(shop_find_order, "shop_find_order"), own_tool(shop.afunctions()["shop_refund"], "shop_refund")]
        team = guard(
            RoundRobinGroupChat([assistant(script, own)], termination_condition=TextMessageTermination("desk")), gate
        )
        first = asyncio.create_task(talk(team, gate))
        await asyncio.wait_for(begun.wait(), 20)
        with (
            gate.run(id="other", capability="refunds") as other,
            other.bind(),
            pytest.raises(UsageError, match="running already"),
        ):
            await team.run(task="me too")
        go_on.set()
        assert await first == "Done."
        assert [e.kind for e in ledger.entries(run="other")] == ["run"]
        actions = [e.body["tool"] for e in ledger.entries(run="r", kind="action")]
        assert actions == ["shop.find_order", "shop.refund"]
        assert len(shop.did) == 1

    async def test_handing_off_inside_a_guarded_team(self, gate: Gate, shop: Shop) -> None:
        front = AssistantAgent("front", model(Script([("transfer_to_desk", {})])), handoffs=[Handoff(target="desk")])
        desk = assistant(Script([REFUND, ("wipe", {})], "Done."), tools(shop.afunctions()))
        team = guard(Swarm([front, desk], termination_condition=TextMessageTermination("desk")), gate)
        await talk(team, gate)
        assert [name for name, _ in shop.did] == ["refund"]

    def test_a_handoff_out_of_sight_is_refused(self, gate: Gate) -> None:
        agent = AssistantAgent("front", model(Script("Hi.")), handoffs=[Handoff(target="somebody")])
        with pytest.raises(UsageError, match="hand-offs pass no workbench"):
            guard(agent, gate)

    def test_a_handoff_with_code_of_its_own_is_refused(self, gate: Gate) -> None:
        class Busy(Handoff):
            pass

        front = AssistantAgent("front", model(Script("Hi.")), handoffs=[Busy(target="user")])
        team = Swarm([front], termination_condition=HandoffTermination("user"))
        with pytest.raises(UsageError, match="runs code of its own"):
            guard(team, gate)

    def test_agents_that_nobody_knows_are_refused(self, gate: Gate) -> None:
        class Robot(BaseChatAgent):
            @property
            def produced_message_types(self) -> Sequence[type[BaseChatMessage]]:
                return (TextMessage,)

            async def on_messages(
                self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
            ) -> Response:
                raise AssertionError("never asked")

            async def on_reset(self, cancellation_token: CancellationToken) -> None: ...

        with pytest.raises(UsageError, match="cannot see what a Robot does"):
            guard(RoundRobinGroupChat([UserProxyAgent("user"), Robot("robot", "A robot.")]), gate)

    def test_the_same_object_comes_back_and_two_contracts_cannot_share_it(self, gate: Gate, shop: Shop) -> None:
        agent = assistant(Script("Hi."), tools(shop.functions()))
        assert guard(agent, gate) is agent
        assert guard(agent, gate) is agent
        other = Gate(Contract.loads(CONTRACT.replace("50.00", "51.00")), cast("Ledger", gate.ledger))
        with pytest.raises(UsageError, match="another contract"):
            guard(agent, other)
