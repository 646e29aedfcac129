"""Crews, agents and flows of CrewAI that are driven: they end where a person must decide, and leave nothing behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from conformance import FIND, REFUND, Script, Shop, within
from crewai import Agent, Crew, Process, Task
from crewai.events import CrewKickoffFailedEvent, crewai_event_bus
from crewai.flow.flow import Flow, and_, listen, start
from crewai.tools import tool as crew_tool  # pyright: ignore[reportUnknownVariableType]  # overloads without types
from test_crewai_agents import WORKING

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.crewai import adrive, drive, guard
from roadworthy.adapters.plain import gated
from roadworthy.core.errors import Suspended, UsageError
from roadworthy.examples.scripted.crewai import model, quiet

tool = cast("Any", crew_tool)
flow_of = cast("Any", listen)
SUSPENDS = WORKING.replace("then: ask\n", "then: ask\n    ask: {role: shop-lead, meanwhile: suspend}\n")
BIG = ("shop_refund", {"order_no": "7", "amount": 51})
NOTE = ("send_note", {"text": "hello"})
Build = Callable[[Gate, Shop], Any]


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    with quiet():
        yield


@pytest.fixture
def gate(ledger: Ledger) -> Gate:
    return Gate(Contract.loads(SUSPENDS), ledger)


def agent(role: str, script: Any, shop: Shop | None = None, **more: Any) -> Any:
    own = [tool(f) for f in shop.functions().values()] if shop is not None else []
    return Agent(role=role, goal="help", backstory="kind", llm=model(script), tools=own, **more)


def task(of: Any, **more: Any) -> Any:
    return Task(description="{what}", expected_output="an answer", agent=of, **more)


def crew(*tasks: Any, agents: list[Any] | None = None, **more: Any) -> Any:
    return Crew(agents=agents or [one.agent for one in tasks], tasks=list(tasks), tracing=False, **more)


def desk(shop: Shop) -> Any:
    return agent("Desk", Script([BIG], [NOTE], "Done."), shop)


def by_itself(gate: Gate, shop: Shop) -> Any:
    return guard(desk(shop), gate)


def alone(gate: Gate, shop: Shop) -> Any:
    return guard(crew(task(desk(shop))), gate)


def after_another(gate: Gate, shop: Shop) -> Any:
    return guard(crew(task(agent("Scout", Script([FIND], "Hm."), shop)), task(desk(shop))), gate)


def beside_another(gate: Gate, shop: Shop) -> Any:
    scout = agent("Scout", Script("Hm."), shop)
    return guard(crew(task(scout, async_execution=True), task(desk(shop))), gate)


def of_a_coworker(gate: Gate, shop: Shop) -> Any:
    call = ("delegate_work_to_coworker", {"task": "refund", "context": "none", "coworker": "Desk"})
    boss = agent("Boss", Script([call], "Done."), allow_delegation=True)
    return guard(crew(task(boss), agents=[boss, desk(shop)]), gate)


def of_a_manager(gate: Gate, shop: Shop) -> Any:
    call = ("delegate_work_to_coworker", {"task": "refund", "context": "none", "coworker": "Desk"})
    made = Crew(
        agents=[desk(shop)],
        tasks=[Task(description="{what}", expected_output="an answer")],
        process=Process.hierarchical,
        manager_llm=model(Script([call], "Done.")),
        tracing=False,
    )
    return guard(made, gate)


class Returns(Flow[Any]):
    """A flow of a gated function and a crew."""

    def __init__(self, find: Any, crew: Any) -> None:
        super().__init__()
        vars(self).update(find=find, crew=crew)

    @start()
    def look(self) -> str:
        self.state["looked"] = self.state.get("looked", 0) + 1
        return str(self.__dict__["find"](order_no="7"))

    @flow_of(look)
    def refund(self) -> str:
        assert self.state["looked"] == 1
        return str(self.__dict__["crew"].kickoff({"what": "please"}).raw)


def in_a_flow(gate: Gate, shop: Shop) -> Any:
    return guard(Returns(gated(gate)(shop.functions()["shop_find_order"]), alone(gate, shop)), gate)


ALL = [by_itself, alone, after_another, beside_another, of_a_coworker, of_a_manager, in_a_flow]


def begin(thing: Any) -> Any:
    return "please" if isinstance(thing, Agent) else {"what": "please"}


def words(came: Any) -> str:
    return str(getattr(came, "raw", came))


class Blocking:
    """`drive`, and `adrive` in a loop of its own."""

    @staticmethod
    def drive(thing: Any, run: Any, start: Any = None) -> Any:
        return drive(thing, run, start)


class Async:
    @staticmethod
    def drive(thing: Any, run: Any, start: Any = None) -> Any:
        async def go() -> Any:
            before = asyncio.all_tasks()
            came = await adrive(thing, run, start)
            assert asyncio.all_tasks() <= before
            return came

        return within(30, go())


@pytest.fixture(params=[Blocking, Async])
def driving(request: pytest.FixtureRequest) -> Any:
    return request.param.drive


def gone(before: set[threading.Thread]) -> bool:
    """Whether no thread is left that was not there before, or is just about to end."""
    left = threads() - before
    for thread in left:
        thread.join(5)
    return not any(thread.is_alive() for thread in left)


def threads() -> set[threading.Thread]:
    """Threads beside those that CrewAI's event bus keeps for good."""
    return {t for t in threading.enumerate() if not t.name.lower().startswith(("crewai", "threadpoolexecutor"))}


def suspended(gate: Gate, thing: Any, driving: Any) -> Suspended:
    run = gate.run(id="r", capability="refunds", suspendable=True)
    run.heard("please")
    came = driving(thing, run, begin(thing))
    assert isinstance(came, Suspended)
    return came


def answer(gate: Gate, ruling: Any = "approve") -> None:
    (asked,) = gate.questions()
    gate.answer(asked.id, by="shop-lead", ruling=ruling, because="so")


def resumed(gate: Gate, thing: Any, driving: Any) -> str:
    run = gate.resume("r")
    run.heard("please")
    return words(driving(thing, run))


class TestSuspension:
    @pytest.mark.parametrize("build", ALL)
    def test_it_ends_leaves_nothing_and_goes_on(
        self, gate: Gate, shop: Shop, ledger: Ledger, build: Build, driving: Any
    ) -> None:
        thing = build(gate, shop)
        before = threads()
        assert suspended(gate, thing, driving).run == "r"
        assert gone(before)
        assert "refund" not in [name for name, _ in shop.did]
        answer(gate)
        assert resumed(gate, thing, driving) == "Done."
        assert [name for name, _ in shop.did if name != "find_order"] == ["refund", "notify"]
        handovers = [repr(e.body) for e in ledger.entries(run="r", kind="handover")]
        assert len(set(handovers)) == len(handovers)  # none is written twice
        assert gone(before)

    @pytest.mark.parametrize("build", ALL)
    def test_another_agent_goes_on_too_and_a_no_reaches_the_model(self, gate: Gate, shop: Shop, build: Build) -> None:
        suspended(gate, build(gate, shop), Blocking.drive)
        answer(gate, "deny")
        again = Gate(gate.contract, gate.ledger)
        assert resumed(again, build(again, shop), Blocking.drive) == "Done."
        assert [name for name, _ in shop.did if name != "find_order"] == ["notify"]

    def test_the_model_is_asked_nothing_more(self, gate: Gate, shop: Shop) -> None:
        script = Script([BIG], "unused")
        suspended(gate, guard(crew(task(agent("Desk", script, shop))), gate), Blocking.drive)
        assert len(script.seen) == 1

    def test_an_agent_beside_it_ends_its_turn(self, gate: Gate, shop: Shop, driving: Any) -> None:
        """One in a thread of its own, which CrewAI leaves behind."""
        failed = threading.Event()

        class Slow(Script):
            def __call__(self, messages: Any, tools: Any) -> Any:
                assert failed.wait(20)
                return super().__call__(messages, tools)

        slow, fast = agent("Scout", Slow([NOTE], [NOTE], "Hm."), shop), agent("Desk", Script([BIG], "unused"), shop)
        both = [task(one, async_execution=True) for one in (fast, slow)]
        thing = guard(crew(*both, task(agent("Writer", Script("unused")))), gate)
        before = threads()
        with crewai_event_bus.scoped_handlers():

            @crewai_event_bus.on(CrewKickoffFailedEvent)
            def note(source: Any, event: Any) -> None:  # pyright: ignore[reportUnusedFunction]  # the bus calls it
                failed.set()

            suspended(gate, thing, driving)
        assert gone(before)
        assert shop.did == []

    def test_steps_of_a_flow_beside_it_are_ended(self, gate: Gate, shop: Shop) -> None:
        gone: list[str] = []
        held = alone(gate, shop)

        class Both(Flow[Any]):
            @start()
            async def waits(self) -> str:
                try:
                    await asyncio.Event().wait()
                finally:
                    gone.append("waits")
                return "never"

            @start()
            async def refunds(self) -> str:
                return str((await held.akickoff({"what": "please"})).raw)

            @flow_of(and_(waits, refunds))
            def after(self) -> str:
                return "never"

        assert suspended(gate, guard(Both(), gate), Async.drive)
        assert gone == ["waits"]

    def test_without_drive_it_is_raised(self, gate: Gate, shop: Shop) -> None:
        for build in (of_a_coworker, in_a_flow):
            thing = build(gate, shop)
            run = gate.run(id=build.__name__, capability="refunds", suspendable=True)
            with run.bind(), pytest.raises(Suspended, match="The lead signs refunds"):
                thing.kickoff(begin(thing))


class TestCancelling:
    @pytest.mark.parametrize("where", ["agent", "crew", "coworker", "flow"])
    def test_a_cancelled_drive_leaves_nothing(self, gate: Gate, shop: Shop, ledger: Ledger, where: str) -> None:
        begun, go_on = threading.Event(), threading.Event()

        @tool("shop_refund")
        def refund(order_no: str, amount: float) -> str:
            """Pay money back."""
            begun.set()
            assert go_on.wait(20)
            return '{"refund_no": "R-7"}'

        worker = agent("Desk", Script([REFUND], "Done."))
        worker.tools = [refund]
        thing: Any = worker
        if where == "crew":
            thing = crew(task(worker))
        elif where == "coworker":
            call = ("delegate_work_to_coworker", {"task": "refund", "context": "none", "coworker": "Desk"})
            boss = agent("Boss", Script([call], "Done."), allow_delegation=True)
            thing = crew(task(boss), agents=[boss, worker])
        elif where == "flow":
            thing = Returns(lambda order_no: "x", crew(task(worker)))  # pyright: ignore[reportUnknownLambdaType]
        guard(thing, gate)
        before = threads()

        async def go() -> None:
            tasks = asyncio.all_tasks()
            drive = asyncio.create_task(adrive(thing, gate.run(id="r", capability="refunds"), begin(thing)))
            await asyncio.to_thread(begun.wait, 20)
            drive.cancel()
            asyncio.get_running_loop().call_soon(go_on.set)
            with pytest.raises(asyncio.CancelledError):
                await drive
            assert asyncio.all_tasks() <= tasks

        within(30, go())
        assert gone(before)
        (refund_call,) = [e for e in ledger.entries(run="r", kind="action") if e.body["tool"] == "shop.refund"]
        ends = [e.body["status"] for e in ledger.entries(run="r", kind="outcome") if e.cause == refund_call.body["id"]]
        assert len(ends) == 1


class TestNothingIsLeft:
    @pytest.mark.parametrize("call", [REFUND, ("wipe", {}), ("shop_refund", {"order_no": "7", "amount": 51})])
    def test_after_a_kickoff(self, ledger: Ledger, shop: Shop, call: Any, driving: Any) -> None:
        gate = Gate(Contract.loads(WORKING), ledger)
        thing = guard(crew(task(agent("Desk", Script([call], "Done."), shop))), gate)
        before = threads()
        assert words(driving(thing, gate.run(capability="refunds"), {"what": "please"})) == "Done."
        assert gone(before)


class TestWrongUse:
    def test_what_is_not_guarded(self, gate: Gate, shop: Shop) -> None:
        with pytest.raises(UsageError, match="not guarded"):
            drive(desk(shop), gate.run(capability="refunds"), "please")

    def test_a_crew_that_streams(self, gate: Gate, shop: Shop) -> None:
        thing = guard(crew(task(desk(shop)), stream=True), gate)
        with pytest.raises(UsageError, match="stream=False"):
            drive(thing, gate.run(capability="refunds"), {"what": "please"})

    def test_memory_in_a_run_that_may_be_driven_again(self, gate: Gate, shop: Shop) -> None:
        worker = desk(shop)
        object.__setattr__(worker, "memory", True)
        thing = guard(crew(task(worker)), gate)
        with pytest.raises(UsageError, match="memory keeps"):
            drive(thing, gate.run(capability="refunds", suspendable=True), {"what": "please"})


class TestTripwire:
    def test_no_attribute_of_a_crew_leads_to_a_bare_tool(self, gate: Gate, shop: Shop) -> None:
        worker = desk(shop)
        made = guard(crew(task(worker, tools=[tool(shop.functions()["wipe"])])), gate)
        own: list[Any] = [*made.agents[0].tools, *made.tasks[0].tools]
        assert len(own) == 6
        for one in own:
            given = {name: "7" for name in one.args_schema.model_fields}
            for way in (one.run, one._run, one.to_structured_tool().func):
                assert "belongs to no run" in str(way(**given))
            assert not hasattr(one, "func")
        assert shop.did == []
