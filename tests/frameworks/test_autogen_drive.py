"""Agents and teams of AutoGen that are driven: they end where a person must decide, go on later, and leave nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import Handoff
from autogen_agentchat.conditions import TextMessageTermination
from autogen_agentchat.teams import DiGraphBuilder, GraphFlow, RoundRobinGroupChat, SelectorGroupChat, Swarm
from autogen_agentchat.tools import AgentTool, TeamTool
from autogen_core import SingleThreadedAgentRuntime
from autogen_core.tools import FunctionTool, StaticWorkbench
from conformance import CONTRACT, FIND, REFUND, Script, Shop

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.autogen import adrive, drive, guard
from roadworthy.core.errors import Suspended, UsageError
from roadworthy.examples.scripted.autogen import model

SUSPENDS = (
    CONTRACT.replace("then: ask\n", "then: ask\n    ask: {role: shop-lead, meanwhile: suspend}\n")
    .replace("shop.fail", "helper")
    .replace("args: {}", "args: {task: string}")
)
BIG = ("shop_refund", {"order_no": "7", "amount": 51})
NOTE = ("send_note", {"text": "hello"})
Build = Callable[[Shop], Any]


@pytest.fixture
def gate(ledger: Ledger) -> Gate:
    return Gate(Contract.loads(SUSPENDS), ledger)


def agent(name: str, script: Any, shop: Shop | None = None, **more: Any) -> AssistantAgent:
    functions = shop.afunctions() if shop is not None else {}
    own = [FunctionTool(f, description=f.__doc__ or "", name=name) for name, f in functions.items()]
    own += more.pop("tools", [])
    return AssistantAgent(name, model(script), tools=own, max_tool_iterations=10, description=f"{name}.", **more)


def lone(shop: Shop) -> Any:
    return agent("desk", Script([BIG], [NOTE], "Done."), shop)


def round_robin(shop: Shop) -> Any:
    """Without a condition on which it would end: it has to be ended."""
    return RoundRobinGroupChat([agent("scout", Script(*["Refund it."] * 50), shop), lone(shop)], max_turns=40)


def ending(shop: Shop) -> Any:
    return RoundRobinGroupChat(
        [agent("scout", Script("Refund it."), shop), lone(shop)], termination_condition=TextMessageTermination("desk")
    )


def selected(shop: Shop) -> Any:
    return SelectorGroupChat(
        [agent("scout", Script("unused"), shop), lone(shop)],
        model(Script("unused")),
        selector_func=lambda messages: "desk",
        termination_condition=TextMessageTermination("desk"),
    )


def swarm(shop: Shop) -> Any:
    front = agent("front", Script([("transfer_to_desk", {})]), handoffs=[Handoff(target="desk")])
    return Swarm([front, lone(shop)], termination_condition=TextMessageTermination("desk"))


def beside_each_other(shop: Shop) -> Any:
    """Two agents at work at once, and one of them is suspended."""
    first, left, right = (
        agent("first", Script("Go."), shop),
        agent("left", Script([FIND], "Left."), shop),
        lone(shop),
    )
    builder = DiGraphBuilder()
    for node in (first, left, right):
        builder.add_node(node)
    builder.add_edge(first, left).add_edge(first, right)
    return GraphFlow(participants=builder.get_participants(), graph=builder.build())


def in_a_tool(shop: Shop) -> Any:
    helper = agent("helper", Script([BIG], [NOTE], "Done."), shop)
    return agent(
        "desk",
        Script([("helper", {"task": "refund"})], "Done."),
        tools=[AgentTool(helper, return_value_as_last_message=True)],
    )


def in_a_team_in_a_tool(shop: Shop) -> Any:
    tool = TeamTool(ending(shop), name="helper", description="Helps.", return_value_as_last_message=True)
    return agent("desk", Script([("helper", {"task": "refund"})], "Done."), tools=[tool])


PLAIN = [lone, ending, selected, swarm, beside_each_other]
INSIDE = [in_a_tool, in_a_team_in_a_tool]


def others() -> set[str]:
    """What goes on in this loop beside the test."""
    return {repr(task.get_coro()) for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def suspended(gate: Gate, thing: Any, **more: Any) -> Suspended:
    run = gate.run(id="r", capability="refunds", suspendable=True)
    await run.aheard("please")
    came = await asyncio.wait_for(adrive(thing, run, "please", **more), 20)
    assert isinstance(came, Suspended)
    return came


def answer(gate: Gate, ruling: Any = "approve") -> None:
    (asked,) = gate.questions()
    gate.answer(asked.id, by="shop-lead", ruling=ruling, because="no money")


async def resumed(gate: Gate, thing: Any) -> str:
    run = gate.resume("r")
    await run.aheard("please")
    came = await asyncio.wait_for(adrive(thing, run), 20)
    return str(came.messages[-1].content)


class TestSuspension:
    @pytest.mark.parametrize("build", [*PLAIN, round_robin, *INSIDE])
    async def test_it_ends_and_leaves_nothing(self, gate: Gate, shop: Shop, build: Build) -> None:
        before = threading.active_count()
        came = await suspended(gate, guard(build(shop), gate))
        assert came.run == "r"
        assert "refund" not in [name for name, _ in shop.did]
        assert others() == set()
        assert threading.active_count() <= before + 2  # of the loop's own pool, which keeps its threads
        assert len(gate.questions()) == 1

    @pytest.mark.parametrize("build", [*PLAIN, *INSIDE])
    async def test_the_same_agent_goes_on_when_a_person_has_answered(
        self, gate: Gate, shop: Shop, ledger: Ledger, build: Build
    ) -> None:
        thing = guard(build(shop), gate)
        await suspended(gate, thing)
        answer(gate)
        assert await resumed(gate, thing) == "Done."
        assert sorted(name for name, _ in shop.did if name != "find_order") == ["notify", "refund"]
        assert others() == set()
        handovers = [e.body for e in ledger.entries(run="r", kind="handover")]
        assert len({repr(h) for h in handovers}) == len(handovers)  # none is written twice

    @pytest.mark.parametrize("build", [*PLAIN, *INSIDE])
    async def test_another_agent_goes_on_too(self, gate: Gate, shop: Shop, build: Build) -> None:
        await suspended(gate, guard(build(shop), gate))
        answer(gate)
        again = Gate(gate.contract, gate.ledger)
        assert await resumed(again, guard(build(shop), again)) == "Done."
        assert [name for name, _ in shop.did].count("refund") == 1

    @pytest.mark.parametrize("build", [*PLAIN, *INSIDE])
    async def test_a_no_reaches_the_model(self, gate: Gate, shop: Shop, build: Build) -> None:
        thing = guard(build(shop), gate)
        await suspended(gate, thing)
        answer(gate, "deny")
        assert await resumed(gate, thing) == "Done."
        assert [name for name, _ in shop.did if name != "find_order"] == ["notify"]

    async def test_of_two_calls_at_once_the_other_one_finishes_first(self, gate: Gate, shop: Shop) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def send_note(text: str) -> str:
            begun.set()
            await go_on.wait()
            shop.note("notify", text=text)
            return "sent"

        own = [
            FunctionTool(send_note, description="Send.", name="send_note"),
            FunctionTool(shop.afunctions()["shop_refund"], description="Pay.", name="shop_refund"),
        ]
        thing = guard(agent("desk", Script([NOTE, BIG], "Done."), tools=own), gate)
        talk = asyncio.create_task(suspended(gate, thing))
        await asyncio.wait_for(begun.wait(), 20)
        assert not talk.done()
        go_on.set()
        await talk
        assert [name for name, _ in shop.did] == ["notify"]
        assert others() == set()

    async def test_a_runtime_of_ones_own_goes_on(self, gate: Gate, shop: Shop) -> None:
        runtime = SingleThreadedAgentRuntime()
        runtime.start()
        team = guard(
            RoundRobinGroupChat([lone(shop), agent("scout", Script("Hm."), shop)], max_turns=2, runtime=runtime), gate
        )
        await suspended(gate, team)
        answer(gate)
        assert await resumed(gate, team) != ""
        assert [name for name, _ in shop.did][:2] == ["refund", "notify"]
        await runtime.stop()
        assert others() == set()

    def test_in_blocking_code(self, gate: Gate, shop: Shop) -> None:
        thing = guard(lone(shop), gate)
        run = gate.run(id="r", capability="refunds", suspendable=True)
        assert isinstance(drive(thing, run, "please"), Suspended)
        answer(gate)
        assert drive(thing, gate.resume("r")).messages[-1].content == "Done."

    async def test_without_drive_it_is_raised(self, gate: Gate, shop: Shop) -> None:
        team = guard(round_robin(shop), gate)
        run = gate.run(id="r", capability="refunds", suspendable=True)
        with run.bind(), pytest.raises(Suspended, match="The lead signs refunds"):
            await asyncio.wait_for(team.run(task="please"), 20)
        assert others() == set()


class TestCancelling:
    def waiting(self, shop: Shop) -> tuple[Any, asyncio.Event]:
        begun = asyncio.Event()

        async def shop_refund(order_no: str, amount: float) -> str:
            begun.set()
            await asyncio.Event().wait()
            return "never"

        return FunctionTool(shop_refund, description="Pay.", name="shop_refund"), begun

    @pytest.mark.parametrize("where", ["lone", "team", "tool", "selector"])
    async def test_a_cancelled_drive_leaves_nothing_and_the_call_in_doubt(
        self, gate: Gate, shop: Shop, ledger: Ledger, where: str
    ) -> None:
        own, begun = self.waiting(shop)
        thing: Any = agent("helper", Script([REFUND], "Done.", "Done."), tools=[own])
        if where == "team":
            thing = RoundRobinGroupChat([thing, agent("scout", Script(*["Hm."] * 50), shop)], max_turns=50)
        elif where == "selector":
            thing = SelectorGroupChat(
                [thing, agent("scout", Script("unused"))], model(Script("unused")), selector_func=lambda _: "helper"
            )
        elif where == "tool":
            thing = agent("desk", Script([("helper", {"task": "refund"})], "Done."), tools=[AgentTool(thing)])
        guard(thing, gate)
        drive = asyncio.create_task(adrive(thing, gate.run(id="r", capability="refunds"), "please"))
        await asyncio.wait_for(begun.wait(), 20)
        drive.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(drive, 20)
        assert others() == set()
        (refund,) = [e for e in ledger.entries(run="r", kind="action") if e.body["tool"] == "shop.refund"]
        ends = [e.body["status"] for e in ledger.entries(run="r", kind="outcome") if e.cause == refund.body["id"]]
        assert ends == ["in_doubt"]

    async def test_an_agent_that_was_cancelled_may_be_driven_once_more(self, gate: Gate, shop: Shop) -> None:
        own, begun = self.waiting(shop)
        team: Any = guard(
            RoundRobinGroupChat([agent("desk", Script([REFUND], "Done."), tools=[own])], max_turns=1), gate
        )
        for name in ("a", "b"):
            begun.clear()
            drive = asyncio.create_task(adrive(team, gate.run(id=name, capability="refunds"), "please"))
            await asyncio.wait_for(begun.wait(), 20)
            drive.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(drive, 20)
        assert others() == set()

    async def test_a_stream_that_is_left_ends_its_team(self, gate: Gate, shop: Shop) -> None:
        team: Any = guard(ending(shop), gate)
        with gate.run(id="r", capability="refunds") as run, run.bind():
            stream = team.run_stream(task="please")
            await anext(stream)
            await asyncio.wait_for(stream.aclose(), 20)
        assert others() == set()


class TestNothingIsLeft:
    @pytest.mark.parametrize("call", [REFUND, ("wipe", {}), BIG], ids=["allow", "deny", "held"])
    @pytest.mark.parametrize("team", [False, True])
    async def test_after_a_talk(self, ledger: Ledger, shop: Shop, call: Any, team: bool) -> None:
        gate = Gate(Contract.loads(CONTRACT), ledger)
        thing: Any = agent("desk", Script([call], "Done."), shop)
        if team:
            thing = RoundRobinGroupChat([thing, agent("scout", Script("Hm."), shop)], max_turns=2)
        before = threading.active_count()
        came = await asyncio.wait_for(adrive(guard(thing, gate), gate.run(capability="refunds"), "please"), 20)
        assert came.messages
        assert others() == set()
        assert threading.active_count() <= before + 2


class TestWrongUse:
    async def test_an_agent_that_is_not_guarded(self, gate: Gate, shop: Shop) -> None:
        with pytest.raises(UsageError, match="not guarded"):
            await adrive(lone(shop), gate.run(capability="refunds"), "please")

    async def test_blocking_code_in_a_loop(self, gate: Gate, shop: Shop) -> None:
        with pytest.raises(UsageError, match="adrive"):
            drive(guard(lone(shop), gate), gate.run(capability="refunds"), "please")


class TestTripwire:
    async def test_no_attribute_of_an_agent_leads_to_a_bare_tool(self, gate: Gate, shop: Shop) -> None:
        desk = guard(agent("desk", Script("unused"), shop), gate)
        bench = guard(
            StaticWorkbench([FunctionTool(shop.afunctions()["wipe"], description="Wipe.", name="wipe")]), gate
        )
        parts: Any = desk
        assert parts._tools == []
        benches: list[Any] = [*parts._workbench, bench]
        for own in benches:
            result = await own.call_tool("wipe", {})
            assert result.is_error
            assert not hasattr(own._inner, "_tools")
        assert shop.did == []
