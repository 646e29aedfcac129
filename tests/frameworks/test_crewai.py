"""The adapter for CrewAI."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
from conformance import CONTRACT, REFUND, BoundConformance, Script, Shop, within
from crewai import Agent, Crew, Task
from crewai.hooks.tool_hooks import get_before_tool_call_hooks
from crewai.tools import tool as crew_tool  # pyright: ignore[reportUnknownVariableType]  # overloads without types

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.crewai import guard
from roadworthy.core.errors import UsageError
from roadworthy.examples.scripted.crewai import ScriptedLLM, model, quiet
from roadworthy.examples.scripted.messages import Message, ToolSchema

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


# -- what breaks CrewAI -----------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    with quiet():
        yield


def kickoff(thing: Any, gate: Gate, **inputs: Any) -> str:
    with gate.run(id="r", capability="refunds") as run, run.bind():
        return str(thing.kickoff(**inputs).raw)


class TestTripwire:
    def test_a_tool_that_came_past_the_gate_is_refused(self, gate: Gate, shop: Shop) -> None:
        wipe = tool(shop.functions()["wipe"])
        script = Script([("wipe", {})], "no")
        desk = guard(agent(script, Shop()), gate)
        kind = cast("Any", type(desk))
        gated = kind._add_skill_loader_tool

        def smuggling(self: Any, tools: list[Any], task: Any = None) -> list[Any]:
            return [t for t in gated(self, tools, task=task) if t.name != "wipe"] + [wipe]

        kind._add_skill_loader_tool = smuggling
        with gate.run(capability="refunds") as run, run.bind():
            assert desk.kickoff("please").raw == "no"
        assert shop.did == []
        assert "blocked" in script.results[0]

    def test_crews_without_a_gate_are_left_alone(self, gate: Gate, shop: Shop) -> None:
        guard(agent(Script("unused"), shop), gate)
        script = Script([("wipe", {})], "yes")
        assert agent(script, shop).kickoff("please").raw == "yes"
        assert [name for name, _ in shop.did] == ["wipe"]

    def test_it_is_set_once(self, gate: Gate, shop: Shop) -> None:
        guard(agent(Script("unused"), shop), gate)
        before = len(get_before_tool_call_hooks())
        guard(agent(Script("unused"), shop), gate)
        assert len(get_before_tool_call_hooks()) == before


class TestWhatCrewAIDoesByItself:
    def test_its_cache_answers_nothing(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        find: Any = ("shop_find_order", {"order_no": "7"})

        def cached() -> Any:
            own = [tool(f) for f in shop.functions().values()]
            llm = model(Script([find], [find], "Done."))
            desk = Agent(role="desk", goal="help", backstory="kind", llm=llm, tools=own, cache=True)
            task = Task(description="please", expected_output="an answer", agent=desk)
            return Crew(agents=[desk], tasks=[task], cache=True, tracing=False)

        cached().kickoff()
        assert len(shop.did) == 1  # without a gate, the second call never reaches the tool
        kickoff(guard(cached(), gate), gate)
        assert len(shop.did) == 3
        assert len(list(ledger.entries(run="r", kind="action"))) == 2

    def test_a_refusal_is_not_taken_for_the_final_answer(self, gate: Gate, shop: Shop) -> None:
        desk = agent(Script([("shop_refund", {"order_no": "frozen", "amount": 20})], "It is frozen."), shop)
        for own in desk.tools:
            own.result_as_answer = True
        assert kickoff(guard(desk, gate), gate, messages="please") == "It is frozen."

    def test_a_result_may_be_the_final_answer(self, gate: Gate, shop: Shop) -> None:
        desk = agent(Script([("send_note", {"text": "hello"})], "unused"), shop)
        for own in desk.tools:
            own.result_as_answer = True
        assert kickoff(guard(desk, gate), gate, messages="please") == "sent"

    def test_a_limit_of_uses_is_kept(self, gate: Gate, shop: Shop) -> None:
        note: Any = ("send_note", {"text": "hello"})
        desk = agent(Script([note], [note], "Done."), shop)
        for own in desk.tools:
            own.max_usage_count = 1
        script = desk.llm.respond
        kickoff(guard(desk, gate), gate, messages="please")
        assert len(shop.did) == 1
        assert "usage limit" in script.results[1]

    def test_tools_named_in_prose_are_found(self, gate: Gate, shop: Shop) -> None:
        script = Script([("shop_refund", {"order_no": "7", "amount": 20})], "Done.")
        desk = Agent(
            role="desk",
            goal="help",
            backstory="kind",
            llm=model(script),
            tools=[tool("Shop Refund")(shop.functions()["shop_refund"])],
        )
        kickoff(guard(desk, gate), gate, messages="please")
        assert [name for name, _ in shop.did] == ["refund"]

    @pytest.mark.parametrize("use_async", [False, True])
    def test_calls_in_text_pass_the_gate_too(self, gate: Gate, shop: Shop, use_async: bool) -> None:
        class TextLLM(ScriptedLLM):
            """A model without function calling: CrewAI reads its calls from the text."""

            def supports_function_calling(self) -> bool:
                return False

        seen: list[str] = []

        def respond(messages: list[Message], tools: list[ToolSchema]) -> Message:
            seen.append(str(messages[-1]["content"]) + str(messages[-2]["content"]))
            calls = [
                'Action: shop_refund\nAction Input: {"order_no": "7", "amount": 20}',
                'Action: shop_refund\nAction Input: {"order_no": "8", "amount": 20}',
                "Final Answer: Done.",
            ]
            return {"role": "assistant", "content": f"Thought: I think.\n{calls[len(seen) - 1]}"}

        own = [tool(f) for f in shop.functions().values()]
        llm = TextLLM(model="scripted", respond=respond)
        desk: Any = Agent(role="desk", goal="help", backstory="kind", llm=llm, tools=own)
        task = Task(description="please", expected_output="x", agent=desk)
        made = cast("Any", guard(Crew(agents=[desk], tasks=[task], tracing=False), gate))

        async def go() -> str:
            return str((await made.akickoff()).raw)

        with gate.run(capability="refunds") as run, run.bind():
            raw = within(20, go()) if use_async else str(made.kickoff().raw)
        assert raw == "Done."
        assert shop.did == [("refund", {"order_no": "7", "amount": 20})]
        assert "R-7" in seen[1]
        assert "One refund a talk is enough" in seen[2]

    def test_large_results_that_crewai_puts_aside_can_still_be_read(self, gate: Gate) -> None:
        class SmallLLM(ScriptedLLM):
            def is_tool_result_overflowing_threshold(self, tool_result: str) -> tuple[bool, int]:
                return len(tool_result) > 1000, len(tool_result) // 4

        @tool("send_note")
        def send_note(text: str) -> str:
            """Send a note."""
            return "x" * 2000

        def respond(messages: list[Message], tools: list[ToolSchema]) -> Message:
            results = [m["content"] for m in messages if m["role"] == "tool"]
            if not results:
                return said_call("send_note", {"text": "hello"})
            if len(results) == 1:
                path = re.search(r"relative file path `([^`]+)`", results[0])
                reader = next(t["function"]["name"] for t in tools if "deferred" in t["function"]["name"])
                return said_call(reader, {"file_path": path[1] if path else "it was not put aside"})
            return {"role": "assistant", "content": results[-1]}

        llm = SmallLLM(model="scripted", respond=respond)
        desk: Any = Agent(
            role="desk", goal="help", backstory="kind", llm=llm, tools=[send_note], use_better_compaction=True
        )
        assert kickoff(guard(desk, gate), gate, messages="please") == "x" * 2000


def said_call(name: str, args: dict[str, Any]) -> Message:
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


class TestCrews:
    def two(self, script: Script, shop: Shop, **more: Any) -> Any:
        first = agent(script, shop)
        first.allow_delegation = True
        second = agent(Script("I helped."), shop)
        second.role = "helper"
        task = Task(description="please", expected_output="an answer", agent=first)
        return Crew(agents=[first, second], tasks=[task], tracing=False, **more)

    def test_delegation_needs_the_contract(self, gate: Gate, shop: Shop) -> None:
        args = {"task": "help", "context": "none", "coworker": "helper"}
        script = Script([("delegate_work_to_coworker", args)], "Alone, then.")
        assert kickoff(guard(self.two(script, shop), gate), gate) == "Alone, then."
        assert "delegate_work_to_coworker" in script.results[0]
        assert "I helped." not in script.results[0]

    def test_delegation_that_the_contract_lists(self, shop: Shop) -> None:
        contract = CONTRACT.replace("shop.fail", "delegate_work_to_coworker").replace(
            "args: {}", "args: {task: string, context: string, coworker: string}"
        )
        gate = Gate(Contract.loads(contract), Ledger.open(":memory:"))
        args = {"task": "help", "context": "none", "coworker": "helper"}
        script = Script([("delegate_work_to_coworker", args)], "Together.")
        assert kickoff(guard(self.two(script, shop), gate), gate) == "Together."
        assert script.results == ["I helped."]

    def test_tools_of_tasks_are_gated(self, gate: Gate, shop: Shop) -> None:
        script = Script([("wipe", {}), REFUND], "Done.")
        desk: Any = Agent(role="desk", goal="help", backstory="kind", llm=model(script))
        own: list[Any] = [tool(f) for f in shop.functions().values()]
        made = Crew(
            agents=[desk],
            tasks=[Task(description="please", expected_output="x", agent=desk, tools=own)],
            tracing=False,
        )
        kickoff(guard(made, gate), gate)
        assert [name for name, _ in shop.did] == ["refund"]

    def test_copies_of_a_crew_are_guarded(self, gate: Gate, shop: Shop) -> None:
        made = guard(crew(Script([("wipe", {}), REFUND], "Done."), shop, "{what}"), gate)
        with gate.run(capability="refunds") as run, run.bind():
            made.kickoff_for_each(inputs=[{"what": "one"}, {"what": "two"}])
        assert [name for name, _ in shop.did] == ["refund"]

    def test_tasks_beside_each_other_belong_to_the_same_run(self, gate: Gate, shop: Shop) -> None:
        desks = [agent(Script([REFUND], "Done."), shop) for _ in range(2)]
        tasks = [
            Task(description="please", expected_output="x", agent=desks[0], async_execution=True),
            Task(description="please", expected_output="x", agent=desks[1]),
        ]
        kickoff(guard(Crew(agents=desks, tasks=tasks, tracing=False), gate), gate)
        assert [name for name, _ in shop.did] == ["refund"]

    def test_the_same_object_comes_back_and_two_contracts_cannot_share_it(self, gate: Gate, shop: Shop) -> None:
        made = crew(Script("unused"), shop, "please")
        assert guard(made, gate) is made
        assert guard(made, gate) is made
        assert isinstance(made, Crew)
        other = Gate(Contract.loads(CONTRACT.replace("50.00", "51.00")), cast("Ledger", gate.ledger))
        with pytest.raises(UsageError, match="another contract"):
            guard(made, other)

    def test_tools_alone_come_back_gated(self, gate: Gate, shop: Shop) -> None:
        own: list[Any] = guard([tool(f) for f in shop.functions().values()], gate)
        refund = next(t for t in own if t.name == "shop_refund")
        assert "belongs to no run" in refund.run(order_no="7", amount=20)
        with gate.run(capability="refunds") as run, run.bind():
            assert "R-7" in refund.run(order_no="7", amount=20)
        assert len(shop.did) == 1

    def test_what_is_none_of_crewais_is_refused(self, gate: Gate) -> None:
        with pytest.raises(UsageError, match="takes a Crew, an Agent, a Flow or tools of CrewAI, not a str"):
            guard("agent", gate)
