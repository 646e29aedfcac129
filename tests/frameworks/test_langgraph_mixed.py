"""Many users, streams that take turns, and graphs that are guarded more than once: runs stay apart, calls pass once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import Annotated, Any, cast

import pytest
from conformance import CONTRACT, FIND, REFUND, Script, Shop, within
from langchain.agents.middleware import AgentMiddleware
from langchain.tools import InjectedState, InjectedStore, ToolRuntime
from langchain_core.messages import AIMessage, ToolCall
from langchain_core.tools import StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked as such
    START,
    MessagesState,
    StateGraph,
)
from langgraph.prebuilt import ToolNode
from langgraph.store.memory import InMemoryStore
from langgraph_agents import InTokens, ask, by_hand, create, said, texts, thread, tools
from langgraph_teams import Turns, asked_by

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.langgraph import RoadworthyMiddleware, guard
from roadworthy.examples.scripted.langgraph import model
from roadworthy.gate.run import Run


def by_guard(gate: Gate, shop: Shop, script: Script, **more: Any) -> Any:
    return guard(create(model(script), tools(shop), **more), gate)


def by_middleware(gate: Gate, shop: Shop, script: Script, **more: Any) -> Any:
    return create(model(script), tools(shop), middleware=[RoadworthyMiddleware(gate)], **more)


both = pytest.mark.parametrize("build", [by_guard, by_middleware])


class TestStreamsThatTakeTurns:
    """A binding around a `yield` leaks to whoever asks for the next step; documentation warns of it."""

    def answering(self, run: Run, agent: Any) -> Any:
        with run.bind():
            yield from agent.stream(ask("20 euro back"), stream_mode="updates")

    async def aanswering(self, run: Run, agent: Any) -> Any:
        with run.bind():
            async for chunk in agent.astream(ask("20 euro back"), stream_mode="updates"):
                yield chunk

    @both
    def test_each_acts_for_the_run_that_it_began_with(self, build: Any, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        runs = [gate.run(id=name, capability="refunds") for name in ("a", "b", "c")]
        numbers = {"a": "1", "b": "2", "c": "3"}
        streams = [
            self.answering(
                run, build(gate, shop, Script([("shop_refund", {"order_no": numbers[run.id], "amount": 2})], "Done."))
            )
            for run in runs
        ]

        def take_turns(streams: list[Any]) -> None:
            while streams:
                streams = [stream for stream in streams if next(stream, None) is not None]

        copy_context().run(take_turns, streams)  # what leaks ends here
        for name, number in numbers.items():
            (action,) = ledger.entries(run=name, kind="action")
            assert action.body["args"]["order_no"] == number

    @both
    async def test_async_streams_too(self, build: Any, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        numbers = {"a": "1", "b": "2", "c": "3"}
        streams = [
            self.aanswering(
                gate.run(id=name, capability="refunds"),
                build(gate, shop, Script([("shop_refund", {"order_no": number, "amount": 2})], "Done.")),
            )
            for name, number in numbers.items()
        ]

        async def take_turns(streams: list[Any]) -> None:
            while streams:
                streams = [stream for stream in streams if await anext(stream, None) is not None]

        await asyncio.create_task(take_turns(streams))
        for name, number in numbers.items():
            (action,) = ledger.entries(run=name, kind="action")
            assert action.body["args"]["order_no"] == number

    def test_a_thread_that_goes_on_acts_for_the_run_that_is_bound_then(
        self, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        agent = by_middleware(
            gate, shop, Script([REFUND], "Done."), checkpointer=InMemorySaver(), interrupt_before=["tools"]
        )
        with gate.run(id="a", capability="refunds").bind():
            agent.invoke(ask("20 euro back"), thread("t"))
        with gate.run(id="b", capability="refunds").bind():
            agent.invoke(None, thread("t"))
        assert list(ledger.entries(run="a", kind="action")) == []
        assert len(list(ledger.entries(run="b", kind="action"))) == 1

    @both
    async def test_many_at_once_keep_apart(self, build: Any, shop: Shop, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(CONTRACT), ledger)

        class Own(Script):
            """Refunds the order that the user names."""

            def __call__(self, messages: Any, tools: Any) -> Any:
                number = messages[0]["content"]
                turn: Any = [[("shop_refund", {"order_no": number, "amount": 2})], f"Done with {number}."]
                return Script(*turn)(messages, tools)

        agent = build(gate, shop, Own())
        await asyncio.gather(*(agent.ainvoke(ask(str(n)), thread(f"t{n}")) for n in range(200)))
        for n in range(200):
            (action,) = ledger.entries(run=f"t{n}", kind="action")
            assert action.body["args"]["order_no"] == str(n)
            assert (texts(ledger, "heard", f"t{n}"), texts(ledger, "said", f"t{n}")) == ([str(n)], [f"Done with {n}."])
        assert sorted(args["order_no"] for _, args in shop.did) == sorted(map(str, range(200)))


class Again(AgentMiddleware[Any, Any, Any]):
    """Calls every tool twice."""

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        handler(request)
        return handler(request)


class Greedy(AgentMiddleware[Any, Any, Any]):
    """Changes the amount on the way to the tool."""

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        call = request.tool_call
        return handler(request.override(tool_call={**call, "args": {**call["args"], "amount": 499}}))


class Copying(AgentMiddleware[Any, Any, Any]):
    """Hands on a request of its own making."""

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        from dataclasses import replace

        return handler(request.override(runtime=replace(request.runtime)))


class TestGuardedMoreThanOnce:
    def nested(self, inner: Any, how: str) -> Any:
        def call(state: MessagesState) -> dict[str, Any]:
            return {"messages": inner.invoke(state)["messages"][-1:]}

        graph: Any = cast("Any", StateGraph)(MessagesState)
        graph.add_node("work", inner if how == "node" else call)
        graph.add_edge(START, "work")
        return graph.compile()

    @pytest.mark.parametrize("how", ["node", "function"])
    @pytest.mark.parametrize("inner_guarded", [False, True])
    def test_an_inner_agent_with_the_middleware_passes_the_gate_once(
        self, gate: Gate, shop: Shop, ledger: Ledger, how: str, inner_guarded: bool
    ) -> None:
        inner = by_middleware(gate, shop, Script([REFUND], "Done."), name="inner")
        app = guard(self.nested(guard(inner, gate) if inner_guarded else inner, how), gate)
        app.invoke(ask("20 euro back"), thread())
        assert asked_by(ledger) == [("inner", "shop.refund")]
        assert len(shop.did) == 1
        assert texts(ledger, "said") == ["Done."]

    @pytest.mark.parametrize("between", [None, Copying()])
    def test_what_stands_between_two_gates_changes_nothing_of_that(
        self, gate: Gate, shop: Shop, ledger: Ledger, between: Any
    ) -> None:
        middleware = [RoadworthyMiddleware(gate), *([between] if between is not None else [])]
        app = guard(create(model(Script([REFUND], "Done.")), tools(shop), middleware=middleware), gate)
        app.invoke(ask("20 euro back"), thread())
        assert len(asked_by(ledger)) == 1
        assert len(shop.did) == 1

    def test_who_tries_again_between_two_gates_is_judged_again(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        middleware = [RoadworthyMiddleware(gate), Again()]
        app = guard(create(model(Script([REFUND], "Done.")), tools(shop), middleware=middleware), gate)
        app.invoke(ask("20 euro back"), thread())
        assert len(shop.did) == 1
        assert sorted(e.body["ruling"] for e in ledger.entries(run="t1", kind="verdict")) == ["allow", "deny"]

    def test_who_changes_the_arguments_between_two_gates_is_judged_again(
        self, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        middleware = [RoadworthyMiddleware(gate), Greedy()]
        app = guard(create(model(Script([REFUND], "Done.")), tools(shop), middleware=middleware), gate)
        app.invoke(ask("20 euro back"), thread())
        assert shop.did == []  # 499 is more than anybody may pay back without the lead


class TestArgumentsOfTheGraph:
    def test_state_store_and_runtime_reach_the_tool_and_no_model_can_write_them(
        self, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        @tool
        def send_note(
            text: str,
            state: Annotated[dict[str, Any], InjectedState],
            store: Annotated[Any, InjectedStore],
            runtime: ToolRuntime[Any, Any],
        ) -> str:
            """Send the customer a note."""
            shop.note("notify", text=text, said=len(state["messages"]), known=store.get(("k",), "x").value["v"])
            return str(runtime.tool_call_id)

        store = InMemoryStore()
        store.put(("k",), "x", {"v": 7})
        forged: Any = ("send_note", {"text": "hello", "state": {"messages": []}})
        script = Script([("send_note", {"text": "hello"})], [forged], "Done.")
        app = guard(create(model(script), [send_note], store=store), gate)
        app.invoke(ask("please"), thread())
        assert shop.did == [("notify", {"text": "hello", "said": 2, "known": 7})]
        (first, second) = ledger.entries(run="t1", kind="action")
        assert first.body["args"] == {"text": "hello"}
        assert "state" in script.results[1]
        assert second.body["args"]["state"] == {"messages": []}

    @pytest.mark.parametrize("allowed", [True, False])
    def test_a_result_that_is_the_answer_is_said(self, gate: Gate, ledger: Ledger, allowed: bool) -> None:
        @tool(return_direct=True)
        def shop_find_order(order_no: str) -> dict[str, str]:
            """Look an order up."""
            return {"order_no": order_no, "total": "5.00"}

        script = Script([FIND if allowed else ("shop_find_order", {"wrong": "x"})], "Unused.")
        app = guard(create(model(script), [shop_find_order]), gate)
        state = app.invoke(ask("what is it?"), thread())
        assert len(script.seen) == 1
        assert (state["messages"][-1].status == "success") is allowed

    def test_errors_that_a_tool_node_handles_are_the_gates_to_judge(
        self, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        def handled(error: ValueError) -> str:
            return f"handled: {error}"

        def shop_fail() -> str:
            """Do something that breaks."""
            raise ValueError("no such thing")

        script = Script([("shop_fail", {})], "Sorry.")
        node = ToolNode([StructuredTool.from_function(shop_fail)], handle_tool_errors=handled)
        guard(by_hand(gate, shop, script, node=node), gate).invoke(ask("please"), thread())
        assert [e.body["status"] for e in ledger.entries(run="t1", kind="outcome")] == ["failed"]
        assert "no such thing" in script.results[0]


class TestAroundTheGate:
    def node(self, app: Any) -> ToolNode:
        return app.nodes["tools"].bound

    def test_a_tool_that_somebody_finds_in_the_graph_passes_the_gate(
        self, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        app = by_guard(gate, shop, Script("Done."))
        found: Any = self.node(app).tools_by_name["shop_refund"]

        def by_function(args: dict[str, Any]) -> Any:
            return found.func(**args)

        def by_method(args: dict[str, Any]) -> Any:
            return found._run(**args, config={})

        def in_async_code(args: dict[str, Any]) -> Any:
            return within(20, waited(found.ainvoke(args)))

        ways: list[Callable[[dict[str, Any]], Any]] = [found.invoke, found.run, by_function, by_method, in_async_code]
        frozen: dict[str, Any] = {"order_no": "frozen", "amount": 1}
        for way in ways:
            assert "belongs to no run" in way(frozen)
            with gate.run(capability="refunds").bind():
                assert "This order is frozen" in way(frozen)
        assert shop.did == []
        with gate.run(id="r", capability="refunds").bind():
            assert "R-7" in str(found.invoke({"order_no": "7", "amount": 20}))
        assert [name for name, _ in shop.did] == ["refund"]
        assert len(list(ledger.entries(run="r", kind="action"))) == 1

    def test_a_tool_that_calls_another_one_takes_it_through_the_gate(self, gate: Gate, shop: Shop) -> None:
        @tool
        def send_note(text: str, runtime: ToolRuntime[Any, Any]) -> str:
            """Send the customer a note."""
            others = {other.name: other for other in cast("Any", runtime).tools}
            return str(others["shop_refund"].invoke({"order_no": "frozen", "amount": 1}))

        own = [*(t for t in tools(shop) if t.name != "send_note"), send_note]
        script = Script([("send_note", {"text": "hello"})], "Done.")
        guard(create(model(script), own), gate).invoke(ask("please"), thread())
        assert "This order is frozen" in script.results[0]
        assert shop.did == []

    def test_the_node_itself_passes_the_gate(self, gate: Gate, shop: Shop) -> None:
        app = by_guard(gate, shop, Script("Done."))
        call = ToolCall(name="shop_refund", args={"order_no": "frozen", "amount": 1}, id="1")
        graph: Any = cast("Any", StateGraph)(MessagesState)
        graph.add_node("around", self.node(app))
        graph.add_edge(START, "around")
        with gate.run(capability="refunds").bind():
            state = graph.compile().invoke({"messages": [AIMessage("", tool_calls=[call])]})
        assert "This order is frozen" in said(state)
        assert shop.did == []


class TestCustomStreams:
    def test_a_reply_that_a_stream_does_not_show_is_said(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        app = guard(create(InTokens(respond=Turns([REFUND], "Done.")), tools(shop)), gate)
        assert list(app.stream(ask("20 euro back"), thread(), stream_mode="custom")) == []
        assert (texts(ledger, "heard"), texts(ledger, "said")) == (["20 euro back"], ["Done."])


async def waited(given: Any) -> Any:
    return await given
