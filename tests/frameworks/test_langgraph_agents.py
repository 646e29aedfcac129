"""Several agents in one graph of LangGraph: who asked for what, who gave way to whom, and which way the graph went."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

import pytest
from conformance import CONTRACT, FIND, REFUND, Shop, within
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import StructuredTool
from langgraph.graph import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked as such
    START,
    MessagesState,
    StateGraph,
)
from langgraph_agents import ask, create, said, texts, thread, tools
from langgraph_teams import Turns, agent, asked_by, by_commands, fan_out, handed, path, swarm, transfer_to

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.langgraph import RoadworthyMiddleware, gated, guard
from roadworthy.core.errors import UsageError
from roadworthy.examples.scripted.langgraph import model


def run(agent: Any, use_async: bool, words: str = "20 euro back", **more: Any) -> Any:
    if use_async:
        return within(20, waited(agent.ainvoke(ask(words), thread(), **more)))
    return agent.invoke(ask(words), thread(), **more)


async def waited(given: Any) -> Any:
    return await given


both = pytest.mark.parametrize("use_async", [False, True])


def team(shop: Shop, use_async: bool = False, **compiled: Any) -> Any:
    alice = agent(
        "alice",
        shop,
        [FIND],
        [("transfer_to_bob", {"reason": "money"})],
        more=[transfer_to("bob")],
        use_async=use_async,
    )
    return swarm([alice, agent("bob", shop, [REFUND], "Done.", use_async=use_async)], **compiled)


class TestSwarms:
    @both
    def test_who_asked_and_who_handed_over_to_whom(
        self, gate: Gate, shop: Shop, ledger: Ledger, use_async: bool
    ) -> None:
        app = guard(team(shop, use_async), gate, handovers=["transfer_to_bob"])
        assert said(run(app, use_async)) == "Done."
        assert [name for name, _ in shop.did] == ["find_order", "refund"]
        assert asked_by(ledger) == [("alice", "shop.find_order"), ("bob", "shop.refund")]
        assert handed(ledger) == [(None, "delegate", "alice"), ("alice", "handoff", "bob"), (None, "back", "alice")]
        assert (texts(ledger, "heard"), texts(ledger, "said")) == (["20 euro back"], ["Done."])

    def test_each_stands_where_it_happened(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        run(guard(team(shop), gate, handovers=["transfer_to_bob"]), use_async=False)
        kinds = [e.kind for e in ledger.entries(run="t1") if e.kind in ("action", "handover", "said", "observation")]
        assert kinds == ["handover", "action", "handover", "action", "handover", "said", "observation", "observation"]
        words = [e.body.get("text") for e in ledger.entries(run="t1", kind="handover")]
        assert words == ["", "money", "Done."]

    def test_the_graph_and_the_way_through_it(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        run(guard(team(shop), gate, handovers=["transfer_to_bob"]), use_async=False)
        (graph,) = [e.body["graph"] for e in ledger.entries(run="t1", kind="observation") if "graph" in e.body]
        assert {"alice:model", "alice:tools", "bob:model", "bob:tools"} <= set(graph["nodes"])
        assert ["alice:model", "alice:tools", True] in graph["edges"]
        way = path(ledger)
        assert way[:3] == ["alice", "alice:model", "alice:tools"]
        assert way[-5:] == ["bob", "bob:model", "bob:tools", "bob:model", "__end__"]
        calls = [e.body["call_id"] for e in ledger.entries(run="t1", kind="action")]
        (way,) = [e.body["path"] for e in ledger.entries(run="t1", kind="observation") if "path" in e.body]
        called = {call: step["node"] for step in way for call in step.get("calls", ())}
        assert [called[call] for call in calls] == ["alice:tools", "bob:tools"]

    @pytest.mark.parametrize("mode", ["values", "updates", "messages", ["updates", "messages"], "debug", "tasks"])
    @pytest.mark.parametrize("version", ["v1", "v2"])
    @pytest.mark.parametrize("subgraphs", [False, True])
    def test_every_stream_says_the_same(
        self, gate: Gate, shop: Shop, ledger: Ledger, mode: Any, version: Any, subgraphs: bool
    ) -> None:
        app = guard(team(shop), gate, handovers=["transfer_to_bob"])
        chunks = list(app.stream(ask("hello"), thread(), stream_mode=mode, version=version, subgraphs=subgraphs))
        assert chunks
        assert asked_by(ledger) == [("alice", "shop.find_order"), ("bob", "shop.refund")]
        assert len(handed(ledger)) == 3
        assert texts(ledger, "said") == ["Done."]

    async def test_events_too(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        app = guard(team(shop), gate, handovers=["transfer_to_bob"])
        events = [event async for event in app.astream_events(ask("hello"), thread(), version="v2")]
        assert "Done." in str(events[-1])
        assert asked_by(ledger) == [("alice", "shop.find_order"), ("bob", "shop.refund")]

    def test_a_stream_that_nobody_reads_to_its_end_says_how_far_it_came(
        self, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        stream = guard(team(shop), gate, handovers=["transfer_to_bob"]).stream(ask("hello"), thread())
        next(stream)
        stream.close()
        assert handed(ledger)[:2] == [(None, "delegate", "alice"), ("alice", "handoff", "bob")]
        assert path(ledger)[:2] == ["alice", "alice:model"]

    def test_a_handover_tool_that_nobody_has_named_is_refused(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        alice = agent("alice", shop, [("transfer_to_bob", {"reason": "money"})], "No.", more=[transfer_to("bob")])
        app = guard(swarm([alice, agent("bob", shop, [REFUND], "Done.")]), gate)
        assert said(run(app, use_async=False)) == "No."
        assert shop.did == []
        assert [e.body["ruling"] for e in ledger.entries(run="t1", kind="verdict")] == ["deny"]

    def test_one_that_langgraphs_own_libraries_made_is_known(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        made = transfer_to("bob")
        cast("Any", made).func.__module__ = "langgraph_swarm.handoff"
        alice = agent("alice", shop, [("transfer_to_bob", {"reason": "money"})], more=[made])
        app = guard(swarm([alice, agent("bob", shop, [REFUND], "Done.")]), gate)
        assert said(run(app, use_async=False)) == "Done."
        assert handed(ledger)[1] == ("alice", "handoff", "bob")

    def test_what_a_tool_says_of_itself_makes_it_no_handover(self, gate: Gate, shop: Shop) -> None:
        def wipe(reason: str) -> str:
            """Delete everything."""
            shop.note("wipe")
            return "gone"

        liar = StructuredTool.from_function(wipe, metadata={"__handoff_destination": "bob"})
        app = guard(swarm([agent("alice", shop, [("wipe", {"reason": "x"})], "No.", more=[liar])]), gate)
        run(app, use_async=False)
        assert shop.did == []

    def test_names_that_make_no_sense_are_refused(self, gate: Gate, shop: Shop) -> None:
        with pytest.raises(UsageError, match="'transfer_to_rob', which is no tool of this graph"):
            guard(team(shop), gate, handovers=["transfer_to_rob"])
        with pytest.raises(UsageError, match="is one text"):
            guard(team(shop), gate, handovers="transfer_to_bob")
        with pytest.raises(UsageError, match="the contract has a tool 'shop_refund'"):
            guard(team(shop), gate, handovers=["shop_refund"])

    def test_a_handover_changes_nothing_of_what_may_be_done(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        alice = agent("alice", shop, [REFUND], [("transfer_to_bob", {"reason": "again"})], more=[transfer_to("bob")])
        app = guard(swarm([alice, agent("bob", shop, [REFUND], "No.")]), gate, handovers=["transfer_to_bob"])
        run(app, use_async=False)
        assert len(shop.did) == 1
        assert [e.body["ruling"] for e in ledger.entries(run="t1", kind="verdict")] == ["allow", "deny"]


class TestCommands:
    def test_functions_that_send_control_to_each_other(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        app = by_commands(shop, Turns([FIND], "over to you"), Turns([REFUND], "Done."))
        assert said(run(guard(app, gate), use_async=False)) == "Done."
        assert asked_by(ledger) == [("front_desk", "shop.find_order"), ("back_office", "shop.refund")]
        assert handed(ledger) == [("front_desk", "handoff", "back_office")]

    def test_a_gated_function_is_asked_for_by_its_node(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        refund = gated(gate)(shop.functions()["shop_refund"])

        def pay(state: MessagesState) -> dict[str, Any]:
            return {"messages": [AIMessage(str(refund(order_no="7", amount=20)))]}

        graph: Any = cast("Any", StateGraph)(MessagesState)
        graph.add_node("clerk", agent("clerk", shop, [FIND], "Found."))
        graph.add_node("pay", pay)
        graph.add_edge(START, "clerk")
        graph.add_edge("clerk", "pay")
        run(guard(graph.compile(), gate), use_async=False)
        assert asked_by(ledger) == [("clerk", "shop.find_order"), ("pay", "shop.refund")]

    def test_one_agent_that_nobody_has_named_has_no_name(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        run(guard(create(model(Turns([REFUND], "Done.")), tools(shop)), gate), use_async=False)
        assert asked_by(ledger) == [(None, "shop.refund")]
        assert handed(ledger) == []
        assert path(ledger) == ["model", "tools", "model", "__end__"]

    @pytest.mark.parametrize("how", ["guard", "middleware"])
    def test_one_that_has_a_name_is_called_by_it(self, gate: Gate, shop: Shop, ledger: Ledger, how: str) -> None:
        middleware = [RoadworthyMiddleware(gate)] if how == "middleware" else []
        one = create(model(Turns([REFUND], "Done.")), tools(shop), name="clerk", middleware=middleware)
        run(guard(one, gate) if how == "guard" else one, use_async=False)
        assert asked_by(ledger) == [("clerk", "shop.refund")]
        assert handed(ledger) == []


class TestDelegation:
    def outer(self, inner: Any, *, as_node: bool) -> Any:
        async def acall(state: MessagesState) -> dict[str, Any]:
            return {"messages": (await inner.ainvoke(state))["messages"][-1:]}

        def call(state: MessagesState) -> dict[str, Any]:
            return {"messages": inner.invoke(state)["messages"][-1:]}

        from langchain_core.runnables import RunnableLambda

        graph: Any = cast("Any", StateGraph)(MessagesState)
        graph.add_node("brief", lambda state: {"messages": [HumanMessage("Do it.", name="boss")]})  # pyright: ignore[reportUnknownLambdaType]  # a node
        graph.add_node("work", inner if as_node else RunnableLambda(call, acall))
        graph.add_edge(START, "brief")
        graph.add_edge("brief", "work")
        return graph.compile(name="boss")

    @both
    @pytest.mark.parametrize("as_node", [True, False])
    def test_a_graph_in_a_graph(self, gate: Gate, shop: Shop, ledger: Ledger, as_node: bool, use_async: bool) -> None:
        app = guard(self.outer(agent("clerk", shop, [REFUND], "Done."), as_node=as_node), gate)
        run(app, use_async)
        source = "boss" if as_node else "work"
        assert asked_by(ledger) == [("clerk", "shop.refund")]
        assert handed(ledger) == [(source, "delegate", "clerk"), (None, "back", "clerk")]

    @both
    @pytest.mark.parametrize("inside", ["plain", "middleware", "guarded"])
    def test_an_agent_that_is_a_tool(
        self, gate: Gate, shop: Shop, ledger: Ledger, use_async: bool, inside: str
    ) -> None:
        helper = create(
            model(Turns([REFUND], [("wipe", {})], "Helped.")),
            tools(shop),
            name="helper",
            middleware=[RoadworthyMiddleware(gate)] if inside == "middleware" else [],
        )
        if inside == "guarded":
            guard(helper, gate)

        def ask_helper(question: str) -> str:
            """Ask the helper."""
            return said(helper.invoke(ask(question)))

        async def aask_helper(question: str) -> str:
            return said(await helper.ainvoke(ask(question)))

        tool = StructuredTool.from_function(ask_helper, aask_helper)
        one = create(model(Turns([("ask_helper", {"question": "Please help."})], "Done.")), [tool], name="desk")
        state = run(guard(one, gate, handovers=["ask_helper"]), use_async)
        assert said(state) == "Done."
        assert "Helped." in [str(m.text) for m in state["messages"]]
        assert [name for name, _ in shop.did] == ["refund"]
        assert asked_by(ledger) == [("helper", "shop.refund"), ("helper", "wipe")]
        assert handed(ledger) == [("desk", "delegate", "helper"), (None, "back", "helper")]
        assert texts(ledger, "handover") == ["Please help.", "Helped."]
        assert (texts(ledger, "heard"), texts(ledger, "said")) == (["20 euro back"], ["Done."])

    @both
    def test_an_agent_that_nobody_names_is_guarded_in_the_tool_that_asks_it(
        self, shop: Shop, ledger: Ledger, use_async: bool
    ) -> None:
        law = CONTRACT.replace(
            "tools:\n", "tools:\n  ask_helper: {effect: compute, args: {question: string}, returns: string}\n", 1
        ).replace("tools: [shop.find_order,", "tools: [ask_helper, shop.find_order,", 1)
        frozen = ("shop_refund", {"order_no": "frozen", "amount": 20})
        helpers = {"helper": create(model(Turns([frozen, REFUND], "Helped.")), tools(shop), name="helper")}

        def ask_helper(question: str) -> str:
            """Ask the helper."""
            return said(helpers["helper"].invoke(ask(question)))

        async def aask_helper(question: str) -> str:
            return said(await helpers["helper"].ainvoke(ask(question)))

        tool = StructuredTool.from_function(ask_helper, aask_helper)
        one = create(model(Turns([("ask_helper", {"question": "Please help."})], "Done.")), [tool], name="desk")
        run(guard(one, Gate(Contract.loads(law), ledger)), use_async)
        assert [args["order_no"] for name, args in shop.did if name == "refund"] == ["7"]
        assert [tool for _, tool in asked_by(ledger)] == ["ask_helper", "shop.refund", "shop.refund"]

    @both
    def test_branches_side_by_side(self, gate: Gate, shop: Shop, ledger: Ledger, use_async: bool) -> None:
        workers = create(
            model(Turns(*[[("shop_find_order", {"order_no": number})] for number in "123"], *["ok"] * 3)),
            tools(shop),
            name="worker",
        )
        jobs = [ask(number) for number in "123"]
        run(guard(fan_out(workers, jobs), gate), use_async)
        assert asked_by(ledger) == [("worker", "shop.find_order")] * 3
        assert sorted(handed(ledger), key=str) == [(None, "back", "worker")] * 3 + [(None, "delegate", "worker")] * 3
        assert path(ledger).count("worker:tools") == 3


class TestSupervisors:
    @both
    def test_langgraphs_own_supervisor(self, gate: Gate, shop: Shop, ledger: Ledger, use_async: bool) -> None:
        supervisor: Any = import_module("langgraph_supervisor")
        clerk = agent("clerk", shop, [REFUND], "It was refunded.", use_async=use_async)
        script = Turns([("transfer_to_clerk", {})], "All done.")
        with pytest.warns(DeprecationWarning, match="create_react_agent"):
            app = supervisor.create_supervisor([clerk], model=model(script)).compile()
        guard(app, gate)
        assert said(run(app, use_async)) == "All done."
        assert [name for name, _ in shop.did] == ["refund"]
        assert asked_by(ledger) == [("clerk", "shop.refund")]
        assert handed(ledger) == [
            (None, "delegate", "supervisor"),
            ("supervisor", "handoff", "clerk"),
            (None, "back", "supervisor"),
            (None, "delegate", "supervisor"),
            (None, "back", "supervisor"),
        ]
        assert texts(ledger, "said") == ["All done."]
