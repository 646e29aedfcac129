"""Graphs of LangGraph that wait: interrupts, retries, checkpointers, and runs that a person must decide about first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from conformance import CONTRACT, FIND, Script, Shop, within
from langchain_core.messages import AIMessage
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked as such
    START,
    MessagesState,
    StateGraph,
)
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, RetryPolicy, interrupt
from langgraph_agents import ask, atools, by_hand, create, said, texts, thread, tools
from langgraph_teams import Turns, agent, asked_by, handed, swarm, transfer_to

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.langgraph import RoadworthyMiddleware, adrive, drive, gated, guard
from roadworthy.core.errors import Suspended, UsageError
from roadworthy.examples.scripted.langgraph import model

SUSPENDS = CONTRACT.replace("then: ask\n", "then: ask\n    ask: {role: shop-lead, meanwhile: suspend}\n")
BIG: Any = ("shop_refund", {"order_no": "7", "amount": 51})
NOTE: Any = ("send_note", {"text": "hello"})


async def waited(given: Any) -> Any:
    return await given


def go(app: Any, given: Any, use_async: bool, config: Any = None) -> Any:
    config = config or thread()
    return within(20, waited(app.ainvoke(given, config))) if use_async else app.invoke(given, config)


both = pytest.mark.parametrize("use_async", [False, True])


def asking(shop: Shop) -> StructuredTool:
    """A tool that waits for a person by LangGraph's own means."""

    def send_note(text: str) -> str:
        """Send the customer a note."""
        if interrupt(f"Send {text!r}?") != "yes":
            return "not sent"
        shop.note("notify", text=text)
        return "sent"

    return StructuredTool.from_function(send_note)


class TestInterrupts:
    @both
    @pytest.mark.parametrize("kind", ["by hand", "create_agent", "middleware"])
    def test_what_was_done_beside_an_interrupted_call_is_not_done_again(
        self, gate: Gate, shop: Shop, ledger: Ledger, kind: str, use_async: bool
    ) -> None:
        own = [*(tool for tool in tools(shop) if tool.name != "send_note"), asking(shop)]
        script = Script([FIND, NOTE], "Done.")
        saver = InMemorySaver()
        if kind == "by hand":
            app = guard(by_hand(gate, shop, script, node=ToolNode(own), checkpointer=saver), gate)
        else:
            middleware = [RoadworthyMiddleware(gate)] if kind == "middleware" else []
            app = create(model(script), own, checkpointer=saver, middleware=middleware)
            app = guard(app, gate) if kind == "create_agent" else app
        first = go(app, ask("please"), use_async)
        assert [i.value for i in first["__interrupt__"]] == ["Send 'hello'?"]
        assert said(go(app, Command(resume="yes"), use_async)) == "Done."
        assert [name for name, _ in shop.did] == ["find_order", "notify"]
        assert (texts(ledger, "heard"), texts(ledger, "said")) == (["please"], ["Done."])

    @both
    def test_what_comes_after_it_is_new_though_the_model_uses_an_id_again(
        self, gate: Gate, shop: Shop, use_async: bool
    ) -> None:
        class WithOneId(Script):
            def __call__(self, messages: Any, tools: Any) -> Any:
                said = super().__call__(messages, tools)
                for call in said.get("tool_calls") or ():
                    call["id"] = call["function"]["name"]
                return said

        own = [*(tool for tool in tools(shop) if tool.name != "send_note"), asking(shop)]
        small: Any = ("shop_refund", {"order_no": "7", "amount": 20})
        script = WithOneId([small], [NOTE], [small], "Done.")
        app = guard(by_hand(gate, shop, script, node=ToolNode(own), checkpointer=InMemorySaver()), gate)
        go(app, ask("please"), use_async)
        assert said(go(app, Command(resume="yes"), use_async)) == "Done."
        assert [name for name, _ in shop.did] == ["refund", "notify"]
        assert "One refund a talk is enough" in script.results[-1]

    @both
    def test_nor_is_it_in_another_process(self, shop: Shop, tmp_path: Any, use_async: bool) -> None:
        saver = InMemorySaver()  # stands for a checkpointer that both processes reach

        def process() -> Any:
            gate = Gate(Contract.loads(CONTRACT), Ledger.open(tmp_path / "runs.db"))
            own = [*(tool for tool in tools(shop) if tool.name != "send_note"), asking(shop)]
            return guard(
                by_hand(gate, shop, Script([FIND, NOTE], "Done."), node=ToolNode(own), checkpointer=saver), gate
            )

        go(process(), ask("please"), use_async)
        assert said(go(process(), Command(resume="yes"), use_async)) == "Done."
        assert [name for name, _ in shop.did] == ["find_order", "notify"]

    @both
    def test_a_node_that_waits_after_it_acted(self, gate: Gate, shop: Shop, ledger: Ledger, use_async: bool) -> None:
        functions = shop.afunctions() if use_async else shop.functions()
        note: Any = gated(gate, "send_note")(functions["send_note"])
        find: Any = gated(gate, "shop_find_order")(functions["shop_find_order"])

        def act(state: MessagesState) -> dict[str, Any]:
            for _ in range(2):
                find(order_no="7")
            note(text="first")
            answer = interrupt("Go on?")
            note(text=answer)
            return {"messages": [AIMessage("Done.")]}

        async def aact(state: MessagesState) -> dict[str, Any]:
            for _ in range(2):
                await find(order_no="7")
            await note(text="first")
            answer = interrupt("Go on?")
            await note(text=answer)
            return {"messages": [AIMessage("Done.")]}

        graph: Any = cast("Any", StateGraph)(MessagesState)
        graph.add_node("act", aact if use_async else act)
        graph.add_node("tools", ToolNode(tools(shop)))
        graph.add_edge(START, "act")
        app = guard(graph.compile(checkpointer=InMemorySaver()), gate)
        go(app, ask("please"), use_async)
        go(app, Command(resume="second"), use_async)
        assert shop.did == [
            ("find_order", {"order_no": "7"}),
            ("find_order", {"order_no": "7"}),
            ("notify", {"text": "first"}),
            ("notify", {"text": "second"}),
        ]
        assert len(list(ledger.entries(run="t1", kind="action"))) == 4

    def test_what_was_refused_is_judged_anew(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        own = [*(tool for tool in tools(shop) if tool.name != "send_note"), asking(shop)]
        frozen: Any = ("shop_refund", {"order_no": "frozen", "amount": 1})
        script = Script([frozen, NOTE], "Done.")
        app = guard(by_hand(gate, shop, script, node=ToolNode(own), checkpointer=InMemorySaver()), gate)
        go(app, ask("please"), use_async=False)
        go(app, Command(resume="no"), use_async=False)
        assert "This order is frozen" in script.results[0]
        assert shop.did == []

    def test_the_same_call_in_a_later_turn_is_another_one(self, gate: Gate, shop: Shop) -> None:
        class Forgetful(Script):
            """A model that gives all of its calls the same id."""

            def __call__(self, messages: Any, tools: Any) -> Any:
                said = super().__call__(messages, tools)
                for call in said.get("tool_calls", ()):
                    call["id"] = f"same-{call['function']['name']}"
                return said

        own = [*(tool for tool in tools(shop) if tool.name != "send_note"), asking(shop)]
        script = Forgetful([FIND, NOTE], "Done.", [FIND, NOTE], "Done again.")
        app = guard(by_hand(gate, shop, script, node=ToolNode(own), checkpointer=InMemorySaver()), gate)
        for words in ("one", "two"):
            go(app, ask(words), use_async=False)
            go(app, Command(resume="yes"), use_async=False)
        assert [name for name, _ in shop.did] == ["find_order", "notify"] * 2

    def test_work_that_was_interrupted_is_the_same_work_afterwards(
        self, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        own = [*(tool for tool in tools(shop) if tool.name != "send_note"), asking(shop)]
        alice = create(
            model(Script([FIND], [("transfer_to_bob", {"reason": "x"})])), [*own, transfer_to("bob")], name="alice"
        )
        bob = create(model(Turns([NOTE], "Done.")), own, name="bob")
        app = guard(swarm([alice, bob], checkpointer=InMemorySaver()), gate, handovers=["transfer_to_bob"])
        go(app, ask("please"), use_async=False)
        go(app, Command(resume="yes"), use_async=False)
        assert asked_by(ledger) == [
            ("alice", "shop.find_order"),
            ("bob", "shop.notify"),
            ("bob", "shop.notify"),
        ]
        assert handed(ledger) == [(None, "delegate", "alice"), ("alice", "handoff", "bob"), (None, "back", "alice")]
        assert [name for name, _ in shop.did] == ["find_order", "notify"]


class TestRetries:
    @both
    def test_a_step_that_is_tried_again_does_nothing_twice(
        self, gate: Gate, shop: Shop, ledger: Ledger, use_async: bool
    ) -> None:
        note: Any = gated(gate, "send_note")(shop.functions()["send_note"])
        failed = threading.Event()

        def act(state: MessagesState) -> dict[str, Any]:
            note(text="hello")
            if not failed.is_set():
                failed.set()
                raise ConnectionError("the other side hung up")
            return {"messages": [AIMessage("Done.")]}

        graph: Any = cast("Any", StateGraph)(MessagesState)
        graph.add_node("act", act, retry_policy=RetryPolicy(max_attempts=2, initial_interval=0.0, jitter=False))
        graph.add_node("tools", ToolNode(tools(shop)))
        graph.add_edge(START, "act")
        assert said(go(guard(graph.compile(), gate), ask("please"), use_async)) == "Done."
        assert [name for name, _ in shop.did] == ["notify"]
        assert len(list(ledger.entries(run="t1", kind="action"))) == 1


Build = Callable[..., Any]


def build_agent(gate: Gate, shop: Shop, script: Script, **more: Any) -> Any:
    return guard(create(model(script), tools(shop), **more), gate)


def build_by_hand(gate: Gate, shop: Shop, script: Script, **more: Any) -> Any:
    return guard(by_hand(gate, shop, script, **more), gate)


def build_with_handled_errors(gate: Gate, shop: Shop, script: Script, **more: Any) -> Any:
    return guard(by_hand(gate, shop, script, node=ToolNode(tools(shop), handle_tool_errors=True), **more), gate)


@pytest.fixture(params=[build_agent, build_by_hand, build_with_handled_errors])
def build(request: pytest.FixtureRequest) -> Build:
    return request.param


def driven(app: Any, run: Any, start: Any, use_async: bool, config: Any = None) -> Any:
    return within(20, adrive(app, run, start, config)) if use_async else drive(app, run, start, config)


class TestDrive:
    @both
    @pytest.mark.parametrize("checkpointed", [False, True])
    def test_until_a_person_has_decided(
        self, build: Build, shop: Shop, tmp_path: Any, checkpointed: bool, use_async: bool
    ) -> None:
        saver = InMemorySaver() if checkpointed else None  # stands for one that all processes reach

        def process() -> tuple[Gate, Any, Script]:
            gate = Gate(Contract.loads(SUSPENDS), Ledger.open(tmp_path / "runs.db"))
            script = Script([NOTE], [BIG], "Done.")
            return gate, build(gate, shop, script, checkpointer=saver), script

        gate, app, script = process()
        run = gate.run(id="r", capability="refunds", suspendable=True)
        run.heard("51 back")
        waits = driven(app, run, ask("51 back"), use_async)
        assert isinstance(waits, Suspended)
        assert "shop-lead must approve" in str(waits) or "The lead signs refunds" in str(waits)
        assert len(script.seen) == 2  # nobody asked the model what to make of it
        assert [name for name, _ in shop.did] == ["notify"]
        (asked,) = gate.questions()
        gate.answer(asked.id, by="shop-lead", ruling="approve")

        gate, app, script = process()
        run = gate.resume("r")
        run.heard("51 back")
        state = driven(app, run, None, use_async)
        assert said(state) == "Done."
        assert [name for name, _ in shop.did] == ["notify", "refund"]
        assert "R-7" in script.results[-1]
        assert [m.type for m in state["messages"]] == ["human", "ai", "tool", "ai", "tool", "ai"]
        entries = len(list(gate.ledger.entries(run="r")))

        gate, app, again = process()
        run = gate.resume("r")
        run.heard("51 back")
        assert said(driven(app, run, ask("51 back"), use_async)) == "Done."
        assert [name for name, _ in shop.did] == ["notify", "refund"]
        assert again.seen == script.seen
        assert len(list(gate.ledger.entries(run="r"))) == entries

    def test_a_person_said_no(self, build: Build, ledger: Ledger, shop: Shop) -> None:
        gate = Gate(Contract.loads(SUSPENDS), ledger)
        script = Script([BIG], "Sorry.")
        app = build(gate, shop, script)
        assert isinstance(
            drive(app, gate.run(id="r", capability="refunds", suspendable=True), ask("51 back")), Suspended
        )
        (asked,) = gate.questions()
        gate.answer(asked.id, by="shop-lead", ruling="deny")
        assert said(drive(app, gate.resume("r"))) == "Sorry."
        assert shop.did == []

    @both
    def test_a_thread_of_others_is_left_alone(self, ledger: Ledger, shop: Shop, use_async: bool) -> None:
        gate, saver = Gate(Contract.loads(SUSPENDS), ledger), InMemorySaver()
        theirs: Any = {"configurable": {"thread_id": "theirs"}}
        before = build_agent(gate, shop, Script("Hello."), checkpointer=saver)
        with gate.run(id="other", capability="refunds").bind():
            before.invoke(ask("hello"), theirs)
        app = build_agent(gate, shop, Script([BIG], "Done."), checkpointer=saver)
        ours: Any = {"configurable": {"thread_id": "ours"}}
        run = gate.run(id="r", capability="refunds", suspendable=True)
        assert isinstance(driven(app, run, ask("51 back"), use_async, ours), Suspended)
        with pytest.raises(UsageError, match="in the thread 'ours' before, and not in 'theirs'"):
            driven(app, gate.resume("r"), None, use_async, theirs)
        assert [str(m.text) for m in app.get_state(theirs).values["messages"]] == ["hello", "Hello."]
        (asked,) = gate.questions()
        gate.answer(asked.id, by="shop-lead", ruling="approve")
        assert isinstance(driven(app, gate.resume("r"), None, use_async), dict)
        assert "R-7" in str(app.get_state(ours).values["messages"])

    @both
    def test_a_thread_with_a_past_goes_on_from_it(self, ledger: Ledger, shop: Shop, use_async: bool) -> None:
        gate = Gate(Contract.loads(SUSPENDS), ledger)
        saver = InMemorySaver()
        before = build_agent(gate, shop, Script("Hello."), checkpointer=saver)
        config = {"configurable": {"thread_id": "ours"}}
        with gate.run(id="earlier", capability="refunds").bind():
            before.invoke(ask("hello"), config)
        app = build_agent(gate, shop, Script("unused", [BIG], "Done."), checkpointer=saver)
        run = gate.run(id="r", capability="refunds", suspendable=True)
        assert isinstance(driven(app, run, ask("51 back"), use_async, config), Suspended)
        (asked,) = gate.questions()
        gate.answer(asked.id, by="shop-lead", ruling="approve")
        state = driven(app, gate.resume("r"), None, use_async, config)
        assert [str(m.text) for m in state["messages"] if m.type in ("human", "ai")] == [
            "hello",
            "Hello.",
            "51 back",
            "",
            "Done.",
        ]
        assert app.get_state(config).values["messages"][-1].text == "Done."
        assert [name for name, _ in shop.did] == ["refund"]

    async def test_nothing_goes_on_when_a_run_has_stopped(self, ledger: Ledger, shop: Shop) -> None:
        gate = Gate(Contract.loads(SUSPENDS), ledger)
        inside, go_on = asyncio.Event(), asyncio.Event()
        ended: list[str] = []

        async def send_note(text: str) -> str:
            """Send the customer a note."""
            inside.set()
            await go_on.wait()
            ended.append(text)
            return "sent"

        own = [*(t for t in atools(shop) if t.name != "send_note"), StructuredTool.from_function(coroutine=send_note)]

        for builder in ("create_agent", "by hand"):
            for event in (inside, go_on):
                event.clear()
            script = Script([NOTE, BIG], "Done.")
            app: Any = (
                create(model(script), own)
                if builder == "create_agent"
                else by_hand(gate, shop, script, node=ToolNode(own))
            )
            before = asyncio.all_tasks()
            run = gate.run(id=builder, capability="refunds", suspendable=True)
            driving = asyncio.create_task(adrive(guard(app, gate), run, ask("51 back")))
            await asyncio.wait_for(inside.wait(), 20)
            go_on.set()
            assert isinstance(await asyncio.wait_for(driving, 20), Suspended)
            assert asyncio.all_tasks() - before <= {driving}
            assert [e.body["status"] for e in ledger.entries(run=builder, kind="outcome")] in (["ok"], ["ok", "held"])

    def test_threads_end_when_a_run_has_stopped(self, ledger: Ledger, shop: Shop) -> None:
        gate = Gate(Contract.loads(SUSPENDS), ledger)
        app = build_by_hand(gate, shop, Script([NOTE, FIND, BIG], "Done."))
        drive(app, gate.run(id="warm", capability="refunds", suspendable=True), ask("51 back"))
        before = threading.active_count()
        for number in range(5):
            run = gate.run(id=f"r{number}", capability="refunds", suspendable=True)
            assert isinstance(drive(app, run, ask("51 back")), Suspended)
        assert threading.active_count() <= before

    def test_several_agents_are_driven_again(self, ledger: Ledger, shop: Shop) -> None:
        gate = Gate(Contract.loads(SUSPENDS), ledger)

        def team() -> Any:
            alice = agent("alice", shop, [FIND], [("transfer_to_bob", {"reason": "x"})], more=[transfer_to("bob")])
            return guard(swarm([alice, agent("bob", shop, [BIG], "Done.")]), gate, handovers=["transfer_to_bob"])

        run = gate.run(id="r", capability="refunds", suspendable=True)
        assert isinstance(drive(team(), run, ask("51 back")), Suspended)
        (asked,) = gate.questions()
        gate.answer(asked.id, by="shop-lead", ruling="approve")
        assert said(drive(team(), gate.resume("r"))) == "Done."
        assert [name for name, _ in shop.did] == ["find_order", "refund"]
        assert asked_by(ledger, "r") == [("alice", "shop.find_order"), ("bob", "shop.refund")]
        ways = [(None, "delegate", "alice"), ("alice", "handoff", "bob"), (None, "back", "alice")]
        assert handed(ledger, "r") == ways

    def test_an_agent_that_is_not_guarded_is_refused(self, gate: Gate, shop: Shop) -> None:
        with pytest.raises(UsageError, match="not guarded"):
            drive(create(model(Script("Done.")), tools(shop)), gate.run(capability="refunds"), ask("hello"))
