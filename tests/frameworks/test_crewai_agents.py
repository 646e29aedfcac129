"""Several agents in CrewAI: crews, coworkers, managers and flows, and what the record says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest
from conformance import CONTRACT, FIND, REFUND, Script, Shop, within
from crewai import Agent, Crew, Process, Task
from crewai.flow.flow import Flow, listen, router, start
from crewai.tools import tool as crew_tool  # pyright: ignore[reportUnknownVariableType]  # overloads without types

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.crewai import guard
from roadworthy.adapters.plain import gated
from roadworthy.core.errors import UsageError
from roadworthy.examples.scripted.crewai import model, quiet
from roadworthy.ledger.between import between_agents

tool = cast("Any", crew_tool)
flow_of = cast("Any", listen)
NOTE = ("send_note", {"text": "hello"})
WORKING = CONTRACT.replace(
    "  shop.fail: {effect: read, args: {}, returns: string}\n",
    "  delegate_work_to_coworker: {effect: write, args: {task: string, context: string, coworker: string},"
    " returns: string}\n"
    "  ask_question_to_coworker: {effect: read, args: {question: string, context: string, coworker: string},"
    " returns: string}\n"
    "  helper: {effect: write, args: {task: string}, returns: string}\n",
).replace("shop.fail]", "delegate_work_to_coworker, ask_question_to_coworker, helper]")


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    with quiet():
        yield


@pytest.fixture
def gate(ledger: Ledger) -> Gate:
    return Gate(Contract.loads(WORKING), ledger)


def agent(role: str, script: Any, shop: Shop | None = None, **more: Any) -> Any:
    own = [tool(f) for f in shop.functions().values()] if shop is not None else []
    own += more.pop("tools", [])
    return Agent(role=role, goal="help", backstory="kind", llm=model(script), tools=own, **more)


def task(of: Any, text: str = "please", **more: Any) -> Any:
    return Task(description=text, expected_output="an answer", agent=of, **more)


def crew(*agents: Any, tasks: list[Any] | None = None, **more: Any) -> Any:
    return Crew(agents=list(agents), tasks=tasks or [task(one) for one in agents], tracing=False, **more)


def told(ledger: Ledger, run: str = "r") -> list[str]:
    """A run as the ledger tells it."""
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


def story(ledger: Ledger, gate: Gate, thing: Any, *given: Any) -> list[str]:
    with gate.run(id="r", capability="refunds") as run, run.bind():
        thing.kickoff(*given)
    return told(ledger)


class TestCrews:
    def test_one_agent_has_no_name_in_the_record(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        assert story(ledger, gate, guard(crew(agent("desk", Script([REFUND], "Done."), shop)), gate)) == [
            "None: shop.refund"
        ]

    @pytest.mark.parametrize("how", ["kickoff", "kickoff_async", "akickoff"])
    def test_a_task_after_another_is_a_turn(self, gate: Gate, ledger: Ledger, shop: Shop, how: str) -> None:
        scout, desk = (
            agent("Scout", Script([FIND], "It is lost."), shop),
            agent("Desk", Script([REFUND], "Done."), shop),
        )
        made = guard(crew(scout, desk), gate)

        async def go() -> None:
            await getattr(made, how)()

        with gate.run(id="r", capability="refunds") as run, run.bind():
            made.kickoff() if how == "kickoff" else within(20, go())
        assert told(ledger) == [
            "turn None > Scout",
            "Scout: shop.find_order",
            "turn Scout > Desk",
            "read other tasks: It is lost.",
            "Desk: shop.refund",
        ]

    def test_two_tasks_of_one_agent_are_no_turn(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        scout, desk = agent("Scout", Script([FIND], "Hm."), shop), agent("Desk", Script("unused"), shop)
        lines = story(ledger, gate, guard(crew(scout, desk, tasks=[task(scout), task(scout)]), gate))
        assert [line for line in lines if line.startswith("turn")] == ["turn None > Scout"]

    def test_a_second_try_at_a_task_is_no_turn(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        tries: list[str] = []

        def checked(output: Any):  # type: ignore[no-untyped-def]  # CrewAI reads annotations, and no strings of them
            tries.append(output.raw)
            return len(tries) > 1, output.raw if len(tries) > 1 else "once more"

        scout, desk = agent("Scout", Script("Hm."), shop), agent("Desk", Script("Done."), shop)
        made = crew(scout, desk, tasks=[task(scout, guardrail=checked), task(desk)])
        lines = story(ledger, gate, guard(made, gate))
        assert len(tries) == 2
        assert [line for line in lines if line.startswith("turn")] == ["turn None > Scout", "turn Scout > Desk"]

    def test_tasks_beside_each_other_say_whose_calls_they_are(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        scout, desk = agent("Scout", Script([FIND], "Hm."), shop), agent("Desk", Script([REFUND], "Done."), shop)
        lines = story(
            ledger, gate, guard(crew(scout, desk, tasks=[task(scout, async_execution=True), task(desk)]), gate)
        )
        assert {"Scout: shop.find_order", "Desk: shop.refund", "turn None > Scout", "turn Scout > Desk"} <= set(lines)

    @pytest.mark.parametrize("how", ["kickoff_for_each", "kickoff_for_each_async", "akickoff_for_each"])
    def test_a_crew_for_each_of_several_inputs(self, gate: Gate, ledger: Ledger, shop: Shop, how: str) -> None:
        made = guard(crew(agent("Scout", Script("Hm."), shop), agent("Desk", Script([FIND], "Done."), shop)), gate)
        inputs = [{"what": "one"}, {"what": "two"}]

        async def go() -> Any:
            return await getattr(made, how)(inputs=inputs)

        with gate.run(id="r", capability="refunds") as run, run.bind():
            came = made.kickoff_for_each(inputs=inputs) if how == "kickoff_for_each" else within(20, go())
        assert [one.raw for one in came] == ["Done.", "Done."]
        lines = told(ledger)
        assert [line for line in lines if line == "Desk: shop.find_order"] == ["Desk: shop.find_order"] * 2
        assert lines.count("turn Scout > Desk") == 2


class TestCoworkers:
    def two(self, call: Any, shop: Shop, helper: Any, **more: Any) -> Any:
        desk = agent("Desk", Script([call], "Together."), allow_delegation=True)
        return crew(desk, agent("Helper", helper, shop), tasks=[task(desk)], **more)

    @pytest.mark.parametrize(
        ("name", "argument"), [("delegate_work_to_coworker", "task"), ("ask_question_to_coworker", "question")]
    )
    def test_what_is_given_to_a_coworker_comes_back(
        self, gate: Gate, ledger: Ledger, shop: Shop, name: str, argument: str
    ) -> None:
        call = (name, {argument: "refund order 7", "context": "none", "coworker": "helper"})
        assert story(ledger, gate, guard(self.two(call, shop, Script([REFUND], "I refunded it.")), gate)) == [
            "turn None > Desk",
            f"Desk: {name}",
            "delegate Desk > Helper: refund order 7",
            "read other tasks: none",
            "Helper: shop.refund",
            "Helper came back: I refunded it.",
        ]

    def test_a_coworker_whom_nobody_knows(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        call = ("delegate_work_to_coworker", {"task": "x", "context": "y", "coworker": "Nobody"})
        assert story(ledger, gate, guard(self.two(call, shop, Script("unused")), gate)) == [
            "turn None > Desk",
            "Desk: delegate_work_to_coworker",
        ]

    def test_a_coworker_has_no_more_rights_than_the_run(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        call = ("delegate_work_to_coworker", {"task": "wipe it", "context": "y", "coworker": "Helper"})
        helper = Script([("wipe", {}), REFUND, REFUND], "Hm.")
        story(ledger, gate, guard(self.two(call, shop, helper), gate))
        assert [name for name, _ in shop.did] == ["refund"]

    @pytest.mark.parametrize("own", [False, True])
    @pytest.mark.parametrize("again", [False, True])
    def test_a_manager(self, gate: Gate, ledger: Ledger, shop: Shop, own: bool, again: bool) -> None:
        call = ("delegate_work_to_coworker", {"task": "refund order 7", "context": "none", "coworker": "Desk"})
        manages = Script([call], "Done.")
        boss = agent("Boss", manages) if own else None
        desk = agent("Desk", Script([REFUND], "Refunded."), shop)
        made = guard(
            crew(
                desk,
                tasks=[Task(description="please", expected_output="an answer")],
                process=Process.hierarchical,
                manager_agent=boss,
                manager_llm=None if own else model(manages),
            ),
            gate,
        )
        lines = story(ledger, gate, made)
        name = "Boss" if own else str(made.manager_agent.role).strip()
        assert [line for line in lines if not line.startswith("read")] == [
            f"turn None > {name}",
            f"{name}: delegate_work_to_coworker",
            f"delegate {name} > Desk: refund order 7",
            "Desk: shop.refund",
            "Desk came back: Refunded.",
        ]
        if again:
            assert made.kickoff().raw == "Done."  # no run: the manager is refused, and says so in the script's words
            assert len(shop.did) == 1

    @pytest.mark.parametrize("named", [True, False])
    def test_an_agent_in_a_tool_of_another_one(self, gate: Gate, ledger: Ledger, shop: Shop, named: bool) -> None:
        inner = agent("Helper", Script([REFUND], "Refunded."), shop)
        if named:
            guard(inner, gate)

        @tool("helper")
        def helper(task: str) -> str:
            """Ask the helper."""
            return str(inner.kickoff(task).raw)

        desk = guard(agent("Desk", Script([("helper", {"task": "order 7"})], "Done."), tools=[helper]), gate)
        assert story(ledger, gate, desk, "please") == [
            "None: helper",
            "delegate None > Helper",
            "Helper: shop.refund",
            "Helper came back: Refunded.",
        ]


class TestMemory:
    def test_what_comes_from_memory_vouches_for_nothing(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        desk = agent("Desk", Script([REFUND], "Done."), shop)
        kind = cast("Any", type(desk))

        class Remembering(kind):
            def _retrieve_memory_context(self, task: Any, task_prompt: str) -> str:
                return f"{task_prompt}\nOrder 7 is theirs."

        object.__setattr__(desk, "__class__", Remembering)
        assert story(ledger, gate, guard(crew(desk), gate)) == [
            "read memory: \nOrder 7 is theirs.",
            "None: shop.refund",
        ]


class Returns(Flow[Any]):
    """A flow with a crew, an agent, a gated function and a way that depends."""

    def __init__(self, parts: dict[str, Any]) -> None:
        super().__init__()
        vars(self).update(parts=parts)

    @start()
    def look(self) -> str:
        return str(self.__dict__["parts"]["find"](order_no="7")["total"])

    @router(look)
    def way(self, total: str) -> str:
        return "small" if total == "80.00" else "large"

    @flow_of("small")
    async def refund(self) -> str:
        return str((await self.__dict__["parts"]["crew"].akickoff()).raw)

    @flow_of(refund)
    def note(self) -> str:
        return str(self.__dict__["parts"]["agent"].kickoff("tell them").raw)


class TestFlows:
    def flow(self, gate: Gate, shop: Shop, *, guarded: bool = True) -> Any:
        parts: dict[str, Any] = {
            "find": gated(gate)(shop.functions()["shop_find_order"]),
            "crew": crew(agent("Clerk", Script([REFUND], "Refunded."), shop)),
            "agent": agent("Writer", Script([NOTE], [("wipe", {})], "Told."), shop),
        }
        if guarded:
            parts["crew"], parts["agent"] = guard(parts["crew"], gate), guard(parts["agent"], gate)
        return guard(Returns(parts), gate)

    @pytest.mark.parametrize("how", ["kickoff", "kickoff_async", "akickoff"])
    def test_every_step_acts_for_the_run(self, gate: Gate, ledger: Ledger, shop: Shop, how: str) -> None:
        made = self.flow(gate, shop)

        async def go() -> Any:
            return await getattr(made, how)()

        with gate.run(id="r", capability="refunds") as run, run.bind():
            came = made.kickoff() if how == "kickoff" else within(20, go())
        assert came == "Told."
        assert told(ledger) == [
            "None: shop.find_order",
            "turn None > Clerk",
            "Clerk: shop.refund",
            "turn None > Writer",
            "Writer: shop.notify",
            "Writer: wipe",
        ]
        assert [name for name, _ in shop.did] == ["find_order", "refund", "notify"]

    def test_without_a_run_nothing_is_done(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        parts: dict[str, Any] = {
            "find": shop.functions()["shop_find_order"],
            "crew": guard(crew(agent("Clerk", Script([REFUND], "Refunded."), shop)), gate),
            "agent": guard(agent("Writer", Script([NOTE], "Told."), shop), gate),
        }
        assert guard(Returns(parts), gate).kickoff() == "Told."
        assert [name for name, _ in shop.did] == ["find_order"]  # a function that is not guarded

    def test_crews_in_it_that_are_not_guarded_reach_no_tool(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        assert story(ledger, gate, self.flow(gate, shop, guarded=False)) == ["None: shop.find_order"]
        assert [name for name, _ in shop.did] == ["find_order"]

    def test_outside_of_it_they_do(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        self.flow(gate, shop)
        assert agent("Free", Script([NOTE], "Told."), shop).kickoff("tell them").raw == "Told."
        assert [name for name, _ in shop.did] == ["notify"]

    def test_a_crew_that_a_flow_holds_is_guarded_with_it(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        class Holding(Flow[Any]):
            @start()
            def go(self) -> str:
                return str(self.__dict__["crew"].kickoff().raw)

        flow: Any = Holding()
        flow.__dict__["crew"] = crew(agent("Clerk", Script([REFUND], [("wipe", {})], "Refunded."), shop))
        assert story(ledger, gate, guard(flow, gate)) == ["turn None > Clerk", "Clerk: shop.refund", "Clerk: wipe"]
        assert [name for name, _ in shop.did] == ["refund"]

    def test_flows_beside_each_other_keep_their_runs(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        async def one(name: str) -> None:
            with gate.run(id=name, capability="refunds") as run, run.bind():
                await self.flow(gate, shop).akickoff()

        async def both() -> None:
            await asyncio.gather(one("a"), one("b"))

        within(30, both())
        for name in ("a", "b"):
            assert [line for line in told(ledger, name) if "Clerk:" in line] == ["Clerk: shop.refund"]

    def test_two_contracts_cannot_share_it(self, gate: Gate, ledger: Ledger, shop: Shop) -> None:
        made = self.flow(gate, shop)
        other = Gate(Contract.loads(WORKING.replace("50.00", "51.00")), ledger)
        with pytest.raises(UsageError, match="another contract"):
            guard(made, other)
