"""Several agents in AutoGen: who asked, who got the word from whom, and in which team an agent is at work."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent, MessageFilterAgent, MessageFilterConfig, SocietyOfMindAgent
from autogen_agentchat.agents._message_filter_agent import PerSourceFilter
from autogen_agentchat.base import Handoff
from autogen_agentchat.conditions import MaxMessageTermination, TextMessageTermination
from autogen_agentchat.teams import (
    DiGraphBuilder,
    GraphFlow,
    MagenticOneGroupChat,
    RoundRobinGroupChat,
    SelectorGroupChat,
    Swarm,
)
from autogen_agentchat.tools import AgentTool, TeamTool
from autogen_core.memory import ListMemory, MemoryContent, MemoryMimeType
from autogen_core.tools import FunctionTool
from conformance import CONTRACT, FIND, REFUND, Script, Shop

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.autogen import guard
from roadworthy.core.errors import UsageError
from roadworthy.examples.scripted.autogen import model
from roadworthy.examples.scripted.messages import Message, ToolSchema
from roadworthy.ledger.between import between_agents

NOTE = ("send_note", {"text": "hello"})
HELPED = CONTRACT.replace("shop.fail", "helper").replace("args: {}", "args: {task: string}")


@pytest.fixture
def gate(ledger: Ledger) -> Gate:
    return Gate(Contract.loads(HELPED), ledger)


def agent(name: str, script: Any, shop: Shop | None = None, **more: Any) -> AssistantAgent:
    functions = shop.afunctions() if shop is not None else {}
    own = [FunctionTool(f, description=f.__doc__ or "", name=name) for name, f in functions.items()]
    own += more.pop("tools", [])
    more.setdefault("description", f"{name}.")
    return AssistantAgent(name, model(script), tools=own, max_tool_iterations=10, **more)


async def story(ledger: Ledger, gate: Gate, thing: Any, task: str = "please", *, run: str = "r") -> list[str]:
    """One talk, as the ledger tells it."""
    with gate.run(id=run, capability="refunds") as opened, opened.bind():
        await asyncio.wait_for(thing.run(task=task), 20)
    return told(ledger, run)


def told(ledger: Ledger, run: str = "r") -> list[str]:
    lines: list[str] = []
    names: dict[str, str] = {}
    for entry in ledger.entries(run=run):
        body = entry.body
        if entry.kind == "action":
            lines.append(f"{body.get('agent')}: {body['tool']}")
        elif entry.kind == "handover" and between_agents(body):
            if "returned" in body:
                lines.append(f"{names[body['returned']]} came back: {body['text']}")
            else:
                names[body["id"]] = body["agent"]
                text = f": {body['text']}" if body["text"] else ""
                lines.append(f"{body['how']} {body['source']} > {body['agent']}{text}")
        elif entry.kind == "observation" and "read" in body:
            lines.append(f"read {body['source']}: {body['read']}")
    return lines


class TestOneAgent:
    async def test_it_has_no_name_in_the_record(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        assert await story(ledger, gate, guard(agent("desk", Script([REFUND], "Done."), shop), gate)) == [
            "None: shop.refund"
        ]

    async def test_nor_has_it_in_a_team_of_its_own(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        team = RoundRobinGroupChat(
            [agent("desk", Script([REFUND], "Done."), shop)], termination_condition=TextMessageTermination("desk")
        )
        assert await story(ledger, gate, guard(team, gate)) == ["None: shop.refund"]

    async def test_what_comes_from_its_memory_vouches_for_nothing(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        memory = ListMemory()
        await memory.add(MemoryContent(content="Order 7 is theirs.", mime_type=MemoryMimeType.TEXT))
        lines = await story(ledger, gate, guard(agent("desk", Script([REFUND], "Done."), shop, memory=[memory]), gate))
        assert lines == ["read memory: Order 7 is theirs.", "None: shop.refund"]


class TestTeams:
    async def test_turns_of_a_round_robin(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        scout, desk = (
            agent("scout", Script([FIND], "It is lost."), shop),
            agent("desk", Script([REFUND], "Done."), shop),
        )
        team = RoundRobinGroupChat([scout, desk], termination_condition=TextMessageTermination("desk"))
        assert await story(ledger, gate, guard(team, gate)) == [
            "turn None > scout",
            "scout: shop.find_order",
            "turn scout > desk",
            "read scout: It is lost.",
            "desk: shop.refund",
        ]

    async def test_a_selector_gives_the_word_and_the_same_speaker_has_it_already(
        self, gate: Gate, ledger: Ledger, shop: Shop
    ) -> None:
        scout, desk = (
            agent("scout", Script("I look.", "It is lost."), shop),
            agent("desk", Script([REFUND], "Done."), shop),
        )
        order = iter(["scout", "scout", "desk"])
        team = SelectorGroupChat(
            [scout, desk],
            model(Script("unused")),
            selector_func=lambda messages: next(order),
            allow_repeated_speaker=True,
            termination_condition=TextMessageTermination("desk"),
        )
        assert await story(ledger, gate, guard(team, gate)) == [
            "turn None > scout",
            "turn scout > desk",
            "read scout: I look.",
            "read scout: It is lost.",
            "desk: shop.refund",
        ]

    async def test_a_selector_that_asks_its_model(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        def chooses(messages: list[Message], tools: list[ToolSchema]) -> Message:
            return {"role": "assistant", "content": "desk"}

        team = SelectorGroupChat(
            [agent("scout", Script("unused"), shop), agent("desk", Script([REFUND], "Done."), shop)],
            model(chooses),
            termination_condition=TextMessageTermination("desk"),
        )
        assert await story(ledger, gate, guard(team, gate)) == ["turn None > desk", "desk: shop.refund"]

    async def test_hand_offs_of_a_swarm(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        front = agent(
            "front",
            Script([("transfer_to_desk", {})]),
            handoffs=[Handoff(target="desk", message="They want money back.")],
        )
        desk = agent("desk", Script([REFUND], "Done."), shop)
        team = Swarm([front, desk], termination_condition=TextMessageTermination("desk"))
        assert await story(ledger, gate, guard(team, gate)) == [
            "turn None > front",
            "handoff front > desk: They want money back.",
            "desk: shop.refund",
        ]

    @pytest.mark.parametrize("arguments", ["[]", '{"reason": "because"}', '"7"'])
    async def test_a_hand_off_with_arguments_that_it_does_not_take_hangs_nobody(
        self, gate: Gate, ledger: Ledger, shop: Shop, arguments: str
    ) -> None:
        front = agent("front", Script([("transfer_to_desk", arguments)]), handoffs=[Handoff(target="desk")])
        desk = agent("desk", Script("Done."), shop)
        team = Swarm([front, desk], termination_condition=TextMessageTermination("desk"))
        assert [line.split(":")[0] for line in await story(ledger, gate, guard(team, gate))] == [
            "turn None > front",
            "handoff front > desk",
        ]

    async def test_a_graph_with_branches_beside_each_other(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        first, last = agent("first", Script("Look, both."), shop), agent("last", Script([REFUND], "Done."), shop)
        left, right = agent("left", Script([FIND], "Left."), shop), agent("right", Script([NOTE], "Right."), shop)
        builder = DiGraphBuilder()
        for node in (first, left, right, last):
            builder.add_node(node)
        builder.add_edge(first, left).add_edge(first, right).add_edge(left, last).add_edge(right, last)
        team = GraphFlow(participants=builder.get_participants(), graph=builder.build())
        lines = await story(ledger, gate, guard(team, gate))
        assert lines[0] == "turn None > first"
        assert {"turn first > left", "turn first > right", "left: shop.find_order", "right: shop.notify"} < set(lines)
        assert lines[-1] == "last: shop.refund"
        assert [line for line in lines if line.endswith("> last")] in (["turn left > last"], ["turn right > last"])

    async def test_magentic_one_gives_instructions(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        asked: list[str] = []

        def orchestrates(messages: list[Message], tools: list[ToolSchema]) -> Message:
            asked.append(str(messages[-1]["content"]))
            if "JSON" not in asked[-1]:
                return {"role": "assistant", "content": "A plan."}
            over = sum("JSON" in text for text in asked) > 1
            answers = {
                "is_request_satisfied": over,
                "is_progress_being_made": True,
                "is_in_loop": False,
                "instruction_or_question": "Refund order 7.",
                "next_speaker": "desk",
            }
            said = {key: {"reason": "so", "answer": value} for key, value in answers.items()}
            return {"role": "assistant", "content": json.dumps(said)}

        desk = agent("desk", Script([REFUND], "Done."), shop)
        team = MagenticOneGroupChat([agent("scout", Script("unused"), shop), desk], model(orchestrates))
        lines = await story(ledger, gate, guard(team, gate))
        assert lines[0] == "turn MagenticOneOrchestrator > desk"
        assert lines[-2:] == ["read MagenticOneOrchestrator: Refund order 7.", "desk: shop.refund"]

    async def test_an_agent_behind_a_filter_has_the_name_that_the_team_knows(
        self, gate: Gate, ledger: Ledger, shop: Shop
    ) -> None:
        desk = MessageFilterAgent(
            "desk",
            agent("desk", Script([REFUND], "Done."), shop),
            MessageFilterConfig(per_source=[PerSourceFilter(source="user", position="last", count=1)]),
        )
        front = agent("front", Script([("transfer_to_desk", {})]), handoffs=[Handoff(target="desk", message="Go.")])
        team = Swarm([front, desk], termination_condition=TextMessageTermination("desk"))
        assert await story(ledger, gate, guard(team, gate)) == [
            "turn None > front",
            "handoff front > desk: Go.",
            "desk: shop.refund",
        ]

    async def test_a_second_turn_begins_anew(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        team = guard(
            RoundRobinGroupChat(
                [agent("scout", Script("One.", "Three."), shop), agent("desk", Script("Two.", "Four."), shop)],
                termination_condition=TextMessageTermination("desk"),
            ),
            gate,
        )
        await story(ledger, gate, team)
        lines = await story(ledger, gate, team, "and?")
        assert [line for line in lines if line.startswith("turn")] == ["turn None > scout", "turn scout > desk"] * 2


class TestAgentsThatWorkForOthers:
    async def test_an_agent_that_is_a_tool(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        helper = agent("helper", Script([REFUND], "I refunded order 7."), shop)
        desk = agent(
            "desk",
            Script([("helper", {"task": "refund order 7"})], [NOTE], "Done."),
            shop,
            tools=[AgentTool(helper, return_value_as_last_message=True)],
        )
        assert await story(ledger, gate, guard(desk, gate)) == [
            "desk: helper",
            "delegate desk > helper: refund order 7",
            "helper: shop.refund",
            "helper came back: I refunded order 7.",
            "desk: shop.notify",
        ]

    async def test_a_team_that_is_a_tool(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        inner = RoundRobinGroupChat(
            [agent("scout", Script("Refund it."), shop), agent("clerk", Script([REFUND], "Refunded."), shop)],
            name="back_office",
            termination_condition=TextMessageTermination("clerk"),
        )
        tool = TeamTool(inner, name="helper", description="Helps.", return_value_as_last_message=True)
        desk = agent("desk", Script([("helper", {"task": "refund order 7"})], "Done."), tools=[tool])
        assert await story(ledger, gate, guard(desk, gate)) == [
            "desk: helper",
            "delegate desk > back_office: refund order 7",
            "turn None > scout",
            "turn scout > clerk",
            "read scout: Refund it.",
            "clerk: shop.refund",
            "back_office came back: Refunded.",
        ]

    async def test_a_tool_that_fails_inside_has_come_back_too(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        def breaks(messages: list[Message], tools: list[ToolSchema]) -> Message:
            raise RuntimeError("no model")

        helper = agent("helper", breaks, shop)
        script = Script([("helper", {"task": "refund order 7"})], "Sorry.")
        lines = await story(ledger, gate, guard(agent("desk", script, tools=[AgentTool(helper)]), gate))
        assert lines == ["desk: helper", "delegate desk > helper: refund order 7", "helper came back: "]
        assert "no model" in script.results[0]

    async def test_a_society_of_mind(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        inner = RoundRobinGroupChat(
            [agent("scout", Script("Refund it."), shop), agent("clerk", Script([REFUND], "Refunded."), shop)],
            name="minds",
            termination_condition=TextMessageTermination("clerk"),
        )
        society = SocietyOfMindAgent("society", inner, model(Script("All said.")))
        team = RoundRobinGroupChat([agent("front", Script("Hm."), shop), society], max_turns=2)
        lines = await story(ledger, gate, guard(team, gate))
        assert [line for line in lines if not line.startswith("read")] == [
            "turn None > front",
            "turn front > society",
            "delegate society > minds",
            "turn front > scout",
            "turn scout > clerk",
            "clerk: shop.refund",
            "minds came back: Refunded.",
        ]

    async def test_a_team_inside_a_team(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        inner = RoundRobinGroupChat(
            [agent("scout", Script("Refund it."), shop), agent("clerk", Script([REFUND], "Refunded."), shop)],
            name="office",
            termination_condition=TextMessageTermination("clerk"),
        )
        team = RoundRobinGroupChat([agent("front", Script("Hm."), shop), inner], max_turns=2)
        lines = await story(ledger, gate, guard(team, gate))
        assert [line for line in lines if not line.startswith("read")] == [
            "turn None > front",
            "delegate front > office",
            "turn front > scout",
            "turn scout > clerk",
            "clerk: shop.refund",
            "office came back: Refunded.",
        ]

    async def test_a_team_that_was_guarded_before_it_was_put_into_another(
        self, gate: Gate, ledger: Ledger, shop: Shop
    ) -> None:
        clerk = agent("clerk", Script([REFUND], "Refunded.", "Again?"), shop)
        inner = guard(RoundRobinGroupChat([clerk], name="office", max_turns=1), gate)
        team = guard(RoundRobinGroupChat([agent("front", Script("Hm."), shop), inner], max_turns=2), gate)
        lines = await story(ledger, gate, team)
        assert "clerk: shop.refund" in lines
        assert [name for name, _ in shop.did] == ["refund"]
        again = await story(ledger, gate, guard(RoundRobinGroupChat([clerk], max_turns=1), gate), run="other")
        assert [line for line in again if line.startswith("turn front")] == []


class TestAnAgentInSeveralTeams:
    def teams(self, gate: Gate, desk: AssistantAgent, shop: Shop) -> tuple[Any, Any]:
        def of(name: str) -> Any:
            return RoundRobinGroupChat(
                [agent(name, Script("Hm."), shop), desk], termination_condition=TextMessageTermination("desk")
            )

        return guard(of("first"), gate), guard(of("second"), gate)

    async def test_it_acts_for_the_one_that_runs(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        one, two = self.teams(gate, agent("desk", Script([REFUND], "Done.", [NOTE], "Done."), shop), shop)
        assert (await story(ledger, gate, one, run="a"))[-1] == "desk: shop.refund"
        assert (await story(ledger, gate, two, run="b"))[-1] == "desk: shop.notify"
        assert [line.split()[1] for line in told(ledger, "b") if line.startswith("turn")] == ["None", "second"]
        assert {line.split(":")[0] for line in told(ledger, "a")} & {"read second"} == set()

    async def test_in_two_at_once_it_is_refused(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def shop_refund(order_no: str, amount: float) -> dict[str, str]:
            begun.set()
            await go_on.wait()
            return {"refund_no": "R-7"}

        own = FunctionTool(shop_refund, description="Pay back.", name="shop_refund")
        one, two = self.teams(gate, agent("desk", Script([REFUND], "Done."), tools=[own]), shop)
        first = asyncio.create_task(story(ledger, gate, one, run="a"))
        await asyncio.wait_for(begun.wait(), 20)
        with pytest.raises(UsageError, match="at work in another team"):
            await story(ledger, gate, two, run="b")
        go_on.set()
        assert (await first)[-1] == "desk: shop.refund"
        assert told(ledger, "b") == []

    async def test_by_itself_it_acts_for_the_bound_run(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        desk = agent("desk", Script([REFUND], "Done.", [NOTE], "Done."), shop)
        one, _ = self.teams(gate, desk, shop)
        await story(ledger, gate, one, run="a")
        assert await story(ledger, gate, desk, run="b") == ["desk: shop.notify"]


class TestState:
    async def test_what_a_guarded_team_has_saved_another_one_goes_on_with(
        self, gate: Gate, ledger: Ledger, shop: Shop
    ) -> None:
        def build(script: Script) -> Any:
            team = RoundRobinGroupChat([agent("desk", script, shop)], termination_condition=MaxMessageTermination(2))
            return guard(team, gate)

        first = build(Script([REFUND], "Done."))
        await story(ledger, gate, first, "refund order 7")
        script = Script("unused", "unused", "As I said.")
        second = build(script)
        await second.load_state(json.loads(json.dumps(await first.save_state())))
        await story(ledger, gate, second, "and?")
        assert "refund order 7" in str(script.seen[0])
        assert [name for name, _ in shop.did] == ["refund"]
