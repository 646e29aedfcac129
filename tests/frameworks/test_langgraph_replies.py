"""What the user of an agent in LangGraph is told, and what never leaves the graph."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from conformance import (
    CAREFUL,
    CONTRACT,
    FIND,
    HONEST,
    REFUND,
    UNTRUE,
    Message,
    Reacting,
    Script,
    Shop,
    Stubborn,
    ToolSchema,
    noticed,
    within,
)
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked as such
    START,
    MessagesState,
    StateGraph,
)
from langgraph.prebuilt import ToolNode
from langgraph_agents import InTokens, ask, by_hand, create, never_waits, texts, thread, tools

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.langgraph import RoadworthyMiddleware, guard
from roadworthy.adapters.replies import GATE, HANDED_OVER
from roadworthy.core.errors import Suspended, UsageError
from roadworthy.examples.scripted.langgraph import ScriptedChatModel, model

Build = Callable[..., Any]


def build_guarded(gate: Gate, shop: Shop, script: Script, **more: Any) -> Any:
    return guard(create(InTokens(respond=script), tools(shop), **more), gate)


def build_with_middleware(gate: Gate, shop: Shop, script: Script, **more: Any) -> Any:
    middleware = [RoadworthyMiddleware(gate)]
    return create(InTokens(respond=script), tools(shop), middleware=middleware, **more)


def build_both(gate: Gate, shop: Shop, script: Script, **more: Any) -> Any:
    return guard(build_with_middleware(gate, shop, script, **more), gate)


def build_by_hand(gate: Gate, shop: Shop, script: Script, **more: Any) -> Any:
    return guard(by_hand(gate, shop, script, **more), gate)


@pytest.fixture(params=[build_guarded, build_with_middleware, build_both, build_by_hand])
def build(request: pytest.FixtureRequest) -> Build:
    return request.param


@pytest.fixture
def gate(ledger: Ledger) -> Gate:
    return Gate(Contract.loads(CAREFUL), ledger)


def told(ledger: Ledger) -> list[str]:
    """What the user has been told."""
    return [e.body["text"] for e in ledger.entries(run="t1", kind="said") if e.body.get("status", "ok") == "ok"]


def held_back(ledger: Ledger) -> list[str]:
    return [e.body["text"] for e in ledger.entries(run="t1", kind="said") if e.body.get("status") == "denied"]


def shown(chunks: Any) -> str:
    """All that a watcher of a stream could read of the agent's words, tokens put together."""
    found: list[str] = []

    def look(value: Any) -> None:
        if isinstance(value, BaseMessage):
            if isinstance(value, AIMessage):
                found.append(str(value.text))
        elif isinstance(value, dict):
            for inner in cast("dict[str, Any]", value).values():
                look(inner)
        elif isinstance(value, list | tuple):
            for inner in cast("list[Any]", value):
                look(inner)

    look(chunks)
    return "".join(found)


class TestThreads:
    def test_the_thread_has_what_the_user_was_told_and_nothing_else(
        self, build: Build, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        agent = build(gate, shop, Reacting(UNTRUE, HONEST, "unused"), checkpointer=InMemorySaver())
        state = agent.invoke(ask("my money?"), thread())
        assert state["messages"][-1].text == HONEST
        assert (told(ledger), held_back(ledger)) == ([HONEST], [UNTRUE])
        assert texts(ledger, "heard") == ["my money?"]
        assert UNTRUE not in str(state)
        assert UNTRUE not in str(agent.get_state(thread()))

    def test_a_person_looks_at_it_and_the_thread_says_so(
        self, build: Build, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        agent = build(gate, shop, Stubborn(UNTRUE), checkpointer=InMemorySaver())
        state = agent.invoke(ask("my money?"), thread())
        assert state["messages"][-1].text == HANDED_OVER
        assert (told(ledger), held_back(ledger)) == ([HANDED_OVER], [UNTRUE] * 3)
        assert gate.run(id="t1").status == "escalated"
        assert agent.get_state(thread()).values["messages"][-1].text == HANDED_OVER
        assert UNTRUE not in str(agent.get_state(thread()))

    async def test_async_is_the_same(self, build: Build, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        agent = build(gate, shop, Stubborn(UNTRUE), checkpointer=InMemorySaver())
        state = await agent.ainvoke(ask("my money?"), thread())
        assert state["messages"][-1].text == HANDED_OVER
        assert (told(ledger), held_back(ledger)) == ([HANDED_OVER], [UNTRUE] * 3)

    def test_the_next_turn_has_its_own_chances(self, build: Build, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        class Learning(Script):
            def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
                self.seen.append(messages)
                return {"role": "assistant", "content": HONEST if len(self.seen) % 3 == 0 else UNTRUE}

        agent = build(gate, shop, Learning(), checkpointer=InMemorySaver())
        for words in ("my money?", "really?"):
            assert agent.invoke(ask(words), thread())["messages"][-1].text == HONEST
        assert held_back(ledger) == [UNTRUE] * 4
        assert gate.run(id="t1").status == "open"

    def test_words_beside_a_call_are_dropped_where_they_may_not_be_told(
        self, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        class Talkative(Script):
            def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
                said = super().__call__(messages, tools)
                return {**said, "content": UNTRUE} if said.get("tool_calls") else said

        for build in (build_guarded, build_with_middleware):
            agent = build(gate, shop, Talkative([FIND], "Hello."))
            state = agent.invoke(ask("my money?"), thread())
            assert [name for name, _ in shop.did] == ["find_order"]
            assert UNTRUE not in shown(state)
            shop.did.clear()

    def test_news_reach_the_model_and_are_never_heard(self, build: Build, shop: Shop, ledger: Ledger) -> None:
        # Between the turns nobody holds the run, so the functions that a framework brought are gone.
        gate = Gate(Contract.loads(CONTRACT), ledger, tools={"shop.refund": shop.functions()["shop_refund"]})
        script = Script([("shop_refund", {"order_no": "7", "amount": 51})], "A person looks at it.", "It was done.")
        agent = build(gate, shop, script, checkpointer=InMemorySaver())
        agent.invoke(ask("51 euro back"), thread())
        (asked,) = gate.questions()
        gate.answer(asked.id, by="shop-lead", ruling="approve")
        state = agent.invoke(ask("And?"), thread())
        assert len(shop.did) == 1
        assert len(noticed(script.seen[-1])) == 1
        assert texts(ledger, "heard") == ["51 euro back", "And?"]
        assert [m.name for m in state["messages"] if m.name is not None and m.type == "human"] == [GATE]
        again = build(gate, shop, Script("unused", "unused", "unused", "Bye."))
        again.invoke({"messages": [*state["messages"], *ask("Thanks.")["messages"]]}, thread())
        assert texts(ledger, "heard") == ["51 euro back", "And?", "Thanks."]

    @pytest.mark.parametrize("use_async", [False, True])
    def test_a_turn_that_was_interrupted_goes_on_and_its_reply_is_judged(
        self, build: Build, gate: Gate, shop: Shop, ledger: Ledger, use_async: bool
    ) -> None:
        before = ["act" if build is build_by_hand else "tools"]
        script = Reacting(UNTRUE, [FIND], UNTRUE)
        agent = build(gate, shop, script, checkpointer=InMemorySaver(), interrupt_before=before)
        paused = agent.invoke(ask("my money?"), thread())
        assert paused["messages"][-1].tool_calls
        state = within(20, last_of(agent.ainvoke(None, thread()))) if use_async else agent.invoke(None, thread())
        assert state["messages"][-1].text == HANDED_OVER
        assert [name for name, _ in shop.did] == ["find_order"]
        assert (told(ledger), held_back(ledger)) == ([HANDED_OVER], [UNTRUE] * 3)

    def test_a_graph_that_shows_no_state_before_it_has_spoken(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        class State(MessagesState):
            question: str

        def think(state: State) -> dict[str, Any]:
            return {"messages": [HumanMessage(state["question"]), AIMessage(UNTRUE)]}

        graph: Any = cast("Any", StateGraph)(State)
        graph.add_node("think", think)
        graph.add_node("act", ToolNode(tools(shop)))
        graph.add_edge(START, "think")
        state = guard(graph.compile(), gate).invoke({"question": "my money?"}, thread())
        assert state["messages"][-1].text == HANDED_OVER
        assert UNTRUE not in str(state)
        assert held_back(ledger) == [UNTRUE] * 3


async def last_of(state: Any) -> Any:
    return await state


MODES: list[Any] = ["values", "updates", "messages", "debug", ["updates", "values"], ["messages", "updates"]]


class TestStreams:
    @pytest.mark.parametrize("mode", MODES, ids=str)
    @pytest.mark.parametrize("version", ["v1", "v2"])
    @pytest.mark.parametrize("subgraphs", [False, True])
    def test_what_may_not_be_told_is_in_no_chunk(
        self, build: Build, gate: Gate, shop: Shop, ledger: Ledger, mode: Any, version: str, subgraphs: bool
    ) -> None:
        if build is build_with_middleware and mode == "debug":
            pytest.skip("a middleware sees no stream; what is told of tasks is the graph's own")
        agent = build(gate, shop, Stubborn(UNTRUE), checkpointer=InMemorySaver())
        chunks = list(agent.stream(ask("my money?"), thread(), stream_mode=mode, version=version, subgraphs=subgraphs))
        assert "refunded" not in shown(chunks)
        if mode != "debug":
            assert HANDED_OVER in shown(chunks)
        assert (told(ledger), held_back(ledger)) == ([HANDED_OVER], [UNTRUE] * 3)

    @pytest.mark.parametrize("mode", MODES, ids=str)
    async def test_async_streams_too(self, build: Build, gate: Gate, shop: Shop, ledger: Ledger, mode: Any) -> None:
        if build is build_with_middleware and mode == "debug":
            pytest.skip("as above")
        agent = build(gate, shop, Reacting(UNTRUE, HONEST, "unused"))
        chunks = [chunk async for chunk in agent.astream(ask("my money?"), thread(), stream_mode=mode)]
        assert "refunded" not in shown(chunks)
        assert (told(ledger), held_back(ledger)) == ([HONEST], [UNTRUE])

    @pytest.mark.parametrize("builder", [build_guarded, build_both, build_by_hand])
    def test_a_reply_goes_out_sentence_by_sentence(
        self, builder: Build, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        words = "I looked. It costs 5.00 EUR. Bye"
        with waiting_after("I looked. ") as go_on:
            agent = builder(gate, shop, Script(words))
            seen = ""
            for chunk, _ in agent.stream(ask("hello"), thread(), stream_mode="messages"):
                seen += chunk.text
                if seen == "I looked. ":
                    go_on.set()
        assert seen == words
        assert told(ledger) == [words]

    @pytest.mark.parametrize("builder", [build_guarded, build_with_middleware, build_by_hand])
    def test_where_nothing_is_held_back_tokens_go_out_as_they_come(
        self, builder: Build, shop: Shop, ledger: Ledger
    ) -> None:
        with waiting_after("I loo") as go_on:
            agent = builder(Gate(Contract.loads(CONTRACT), ledger), shop, Script("I looked. Bye."))
            seen = ""
            for chunk, _ in agent.stream(ask("hello"), thread(), stream_mode="messages"):
                seen += chunk.text
                if seen == "I lo":  # the last chunk is held back until something follows it
                    go_on.set()
        assert seen == "I looked. Bye."

    @pytest.mark.parametrize("builder", [build_guarded, build_both])
    def test_what_was_on_the_screen_already_is_recorded(
        self, builder: Build, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        untrue = "I looked. It was refunded. Bye."
        agent = builder(gate, shop, Reacting(untrue, "Nothing was done.", "unused"))
        chunks = list(agent.stream(ask("my money?"), thread(), stream_mode="messages"))
        assert shown(chunks) == "I looked. Nothing was done."
        assert sorted(told(ledger)) == ["I looked. ", "Nothing was done."]
        assert held_back(ledger) == [untrue]

    @pytest.mark.parametrize("builder", [build_guarded, build_both, build_by_hand])
    async def test_events_of_the_model_are_looked_through(
        self, builder: Build, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        agent = builder(gate, shop, Reacting("I looked. It was refunded.", "Nothing was done.", "unused"))
        events = [e async for e in agent.astream_events(ask("my money?"), thread(), version="v2")]
        output = [e["data"] for e in events if not e["event"].endswith("_start")]
        output = [{k: v for k, v in data.items() if k != "input"} for data in output]
        assert "refunded" not in shown(output)
        assert "Nothing was done." in shown(output)
        assert told(ledger) == ["I looked. ", "Nothing was done."]
        assert held_back(ledger) == ["I looked. It was refunded."]

    async def test_a_protocol_that_cannot_be_held_back_is_refused(self, gate: Gate, shop: Shop) -> None:
        agent = build_guarded(gate, shop, Script("Hello."))
        with pytest.raises(UsageError, match="version='v2'"):
            agent.stream_events(ask("hello"), thread(), version="v3")
        with pytest.raises(UsageError, match="version='v2'"):
            agent.astream_events(ask("hello"), thread(), version="v3")


@contextmanager
def waiting_after(text: str) -> Generator[threading.Event]:
    """Let models say so much of a reply, and no more before the event; fails when nobody sets it in time."""
    go_on, late = threading.Event(), list[str]()

    def wait(so_far: str) -> None:
        if so_far == text and not go_on.wait(20):
            late.append(so_far)

    InTokens.after = staticmethod(wait)
    try:
        yield go_on
    finally:
        InTokens.after = staticmethod(never_waits)
    assert not late, "what was said so far did not come through"


class TestHostedTools:
    HOSTED: dict[str, Any] = {"type": "web_search_preview"}  # noqa: RUF012  # never changed

    def test_those_that_the_contract_accepts_may_be_offered(self, shop: Shop, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(f"{CONTRACT}hosted_tools: [web_search_preview]\n"), ledger)

        class Provided(ScriptedChatModel):
            """A model whose provider knows tools that are no functions."""

            def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
                return super().bind_tools([tool for tool in tools if not isinstance(tool, dict)])

        provided = Provided(respond=Script("Done."))
        for agent in (
            guard(create(provided, [*tools(shop), self.HOSTED]), gate),
            create(provided, [*tools(shop), self.HOSTED], middleware=[RoadworthyMiddleware(gate)]),
        ):
            assert agent.invoke(ask("hello"), thread())["messages"][-1].text == "Done."

    def test_those_that_a_model_was_bound_to_are_seen(self, shop: Shop, ledger: Ledger) -> None:
        bound = model(Script("Done.")).bind(tools=[self.HOSTED])
        agent = by_hand(Gate(Contract.loads(CONTRACT), ledger), shop, Script("Done."))

        def think(state: dict[str, Any]) -> dict[str, Any]:
            return {"messages": [bound.invoke(state["messages"])]}

        agent.nodes["think"].bound = RunnableLambda(think)
        with pytest.raises(UsageError, match="'web_search_preview' runs at the model's provider"):
            guard(agent, Gate(Contract.loads(CONTRACT), ledger))


class TestRedrive:
    @pytest.mark.parametrize("use_async", [False, True])
    def test_a_tool_node_that_handles_errors_does_not_swallow_that_a_run_stops(
        self, shop: Shop, ledger: Ledger, use_async: bool
    ) -> None:
        contract = CONTRACT.replace("then: ask\n", "then: ask\n    ask: {role: shop-lead, meanwhile: suspend}\n")
        gate = Gate(Contract.loads(contract), ledger)
        script = Script([("shop_refund", {"order_no": "7", "amount": 51})], "Done.")
        agent = build_by_hand(gate, shop, script, node=ToolNode(tools(shop), handle_tool_errors=True))
        run = gate.run(id="r", capability="refunds", suspendable=True)
        with run.bind(), pytest.raises(Suspended):
            within(20, as_text(agent.ainvoke(ask("51 back")))) if use_async else agent.invoke(ask("51 back"))
        assert shop.did == []

    def test_a_reply_of_an_earlier_drive_is_not_judged_anew(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        script = Reacting(UNTRUE, [REFUND], "It was refunded.")
        run = gate.run(id="r", capability="refunds", suspendable=True)
        for _ in range(2):
            with run.bind():
                state = guard(create(model(script), tools(shop)), gate).invoke(ask("my money?"))
            assert state["messages"][-1].text == "It was refunded."
            run = gate.resume("r")
        assert [name for name, _ in shop.did] == ["refund"]
        denied = [e for e in ledger.entries(run="r", kind="said") if e.body.get("status") == "denied"]
        assert len(denied) == 1


async def as_text(state: Any) -> str:
    return str((await state)["messages"][-1].text)
