"""What the user of an agent or team in AutoGen is told, and what agents make of each other's words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent, UserProxyAgent
from autogen_agentchat.base import TaskResult
from autogen_agentchat.conditions import MaxMessageTermination, TextMessageTermination
from autogen_agentchat.messages import (
    BaseChatMessage,
    ModelClientStreamingChunkEvent,
    TextMessage,
    ThoughtEvent,
    ToolCallSummaryMessage,
)
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core.models import CreateResult
from autogen_core.tools import FunctionTool
from conformance import (
    CAREFUL,
    CONTRACT,
    FIND,
    HONEST,
    REFUND,
    UNTRUE,
    Call,
    Message,
    Reacting,
    Script,
    Shop,
    Stubborn,
    ToolSchema,
    noticed,
)

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.autogen import guard
from roadworthy.adapters.replies import GATE, HANDED_OVER
from roadworthy.core.errors import UsageError
from roadworthy.examples.scripted.autogen import ScriptedClient, model


class InTokens(ScriptedClient):
    """A model client that streams what it says character by character, and can be made to wait after some of it."""

    def __init__(self, respond: Any, *, after: str = "", go_on: asyncio.Event | None = None) -> None:
        super().__init__(respond)
        self.after, self.go_on = after, go_on

    async def create_stream(self, *args: Any, **kwargs: Any) -> AsyncGenerator[str | CreateResult, None]:
        result = await self.create(*args, tools=kwargs.get("tools", ()))
        so_far = ""
        for token in result.content if isinstance(result.content, str) else ():
            yield token
            so_far += token
            if self.go_on is not None and so_far == self.after:
                await asyncio.wait_for(self.go_on.wait(), 20)
        yield result


def tools(functions: dict[str, Any]) -> list[Any]:
    return [FunctionTool(f, description=f.__doc__ or "", name=name) for name, f in functions.items()]


def assistant(client: Any, shop: Shop, name: str = "desk", **more: Any) -> AssistantAgent:
    return AssistantAgent(name, client, tools=tools(shop.afunctions()), max_tool_iterations=10, **more)


def lone(client: Any, shop: Shop, **more: Any) -> Any:
    return assistant(client, shop, **more)


def in_a_team(client: Any, shop: Shop, **more: Any) -> Any:
    return RoundRobinGroupChat([assistant(client, shop, **more)], termination_condition=TextMessageTermination("desk"))


Build = Callable[..., Any]


@pytest.fixture(params=[lone, in_a_team])
def build(request: pytest.FixtureRequest) -> Build:
    return request.param


@pytest.fixture
def gate(ledger: Ledger) -> Gate:
    return Gate(Contract.loads(CAREFUL), ledger)


async def items_of(agent: Any, gate: Gate, task: Any = "please", **more: Any) -> list[Any]:
    with gate.run(id="r", capability="refunds", **more) as run, run.bind():
        return [item async for item in agent.run_stream(task=task)]


def shown(items: Sequence[Any]) -> str:
    """All that a watcher could read of the agents' words."""
    found: list[str] = []
    for item in items:
        if isinstance(item, TaskResult):
            found += [shown(item.messages)]
        elif isinstance(item, ModelClientStreamingChunkEvent | ThoughtEvent):
            found.append(item.content)
        elif isinstance(item, BaseChatMessage):
            found.append(item.to_text())
    return "".join(found)


def denied(ledger: Ledger) -> list[str]:
    return [e.body["text"] for e in ledger.entries(run="r", kind="said") if e.body.get("status") == "denied"]


class TestStreams:
    async def test_what_may_not_be_told_is_nowhere_in_a_stream(
        self, build: Build, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        client = InTokens(Reacting(UNTRUE, HONEST, "unused"))
        items = await items_of(guard(build(client, shop, model_client_stream=True), gate), gate)
        assert "refunded" not in shown(items)
        assert items[-1].messages[-1].content == HONEST
        assert [getattr(m, "source", "") for m in items[-1].messages] == ["user", "desk"]
        assert GATE not in {getattr(item, "source", "") for item in items}
        assert denied(ledger) == [UNTRUE]

    async def test_a_reply_comes_out_sentence_by_sentence(
        self, build: Build, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        go_on = asyncio.Event()
        client = InTokens(Script("I looked. It costs 5.00 EUR. Bye"), after="I looked. ", go_on=go_on)
        agent = guard(build(client, shop, model_client_stream=True), gate)
        seen = ""
        with gate.run(id="r", capability="refunds") as run, run.bind():
            async for item in agent.run_stream(task="please"):
                if isinstance(item, ModelClientStreamingChunkEvent):
                    seen += item.content
                if seen == "I looked. ":
                    go_on.set()
        assert seen == "I looked. It costs 5.00 EUR. Bye"

    async def test_where_nothing_is_held_back_tokens_come_out_as_they_come(
        self, build: Build, shop: Shop, ledger: Ledger
    ) -> None:
        gate, go_on = Gate(Contract.loads(CONTRACT), ledger), asyncio.Event()
        client = InTokens(Script("I looked."), after="I", go_on=go_on)
        agent = guard(build(client, shop, model_client_stream=True), gate)
        seen = ""
        with gate.run(id="r", capability="refunds") as run, run.bind():
            async for item in agent.run_stream(task="please"):
                if isinstance(item, ModelClientStreamingChunkEvent):
                    seen += item.content
                if seen == "I":
                    go_on.set()
        assert seen == "I looked."

    async def test_what_was_on_the_screen_already_is_recorded(
        self, build: Build, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        client = InTokens(Reacting("I looked. It was refunded. Bye.", HONEST, "unused"))
        items = await items_of(guard(build(client, shop, model_client_stream=True), gate), gate)
        tokens = shown([item for item in items if isinstance(item, ModelClientStreamingChunkEvent)])
        assert tokens == f"I looked. {HONEST}"
        said = [e.body["text"] for e in ledger.entries(run="r", kind="said") if "status" not in e.body]
        assert said == ["I looked. "]

    async def test_thoughts_beside_calls_are_held_back_too(
        self, build: Build, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        class Talkative(Script):
            def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
                said = super().__call__(messages, tools)
                return {**said, "content": UNTRUE} if said.get("tool_calls") else said

        items = await items_of(guard(build(model(Talkative([FIND], "Hello.")), shop), gate), gate)
        assert "refunded" not in shown(items)
        assert [name for name, _ in shop.did] == ["find_order"]

    async def test_a_summary_of_calls_is_a_reply(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        script = Script([FIND], "I looked it up.")
        agent = guard(
            AssistantAgent("desk", model(script), tools=tools(shop.afunctions()), max_tool_iterations=1), gate
        )
        items = await items_of(agent, gate)
        assert not isinstance(items[-1].messages[-1], ToolCallSummaryMessage)
        assert items[-1].messages[-1].content == "I looked it up."
        assert [("A-48213" in text) for text in denied(ledger)] == [True]


class TestTeams:
    def team(self, first: Script, second: Script, shop: Shop, **more: Any) -> Any:
        return RoundRobinGroupChat(
            [assistant(model(first), shop, "scout"), assistant(model(second), shop, "desk")],
            termination_condition=TextMessageTermination("desk"),
            **more,
        )

    async def test_the_last_message_is_the_reply_and_the_team_tries_again(
        self, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        second = Reacting(UNTRUE, HONEST, "unused")
        items = await items_of(guard(self.team(Script("I have no idea.", "Nor now."), second, shop), gate), gate)
        assert items[-1].messages[-1].content == HONEST
        assert "refunded" not in shown(items)
        assert denied(ledger) == [UNTRUE]

    async def test_a_team_that_knows_no_other_words_hands_over(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        team = self.team(Stubborn("Tell them something."), Stubborn(UNTRUE), shop)
        items = await items_of(guard(team, gate), gate)
        assert items[-1].messages[-1].content == HANDED_OVER
        assert gate.run(id="r").status == "escalated"

    async def test_watchers_do_not_see_what_agents_may_only_say_to_each_other(
        self, gate: Gate, shop: Shop, ledger: Ledger
    ) -> None:
        second = Script("Hello.")
        items = await items_of(guard(self.team(Script(UNTRUE), second, shop), gate), gate)
        assert "refunded" not in shown(items)
        assert UNTRUE in str(second.seen[0])
        assert denied(ledger) == []

    async def test_the_words_of_other_agents_vouch_for_nothing(self, shop: Shop, ledger: Ledger) -> None:
        contract = CONTRACT.replace(
            "      order_no: string\n", "      order_no: {type: string, origin: [user, trusted]}\n"
        )
        gate = Gate(Contract.loads(contract), ledger)
        call: Call = ("shop_refund", {"order_no": "B-90210", "amount": 20})
        second = Script([call], "A person looks at it.")
        with gate.run(id="r", capability="refunds") as run, run.bind():
            run.heard("my money back, please")
            await guard(self.team(Script("Refund order B-90210."), second, shop), gate).run(
                task="my money back, please"
            )
        assert shop.did == []
        (read,) = ledger.entries(run="r", kind="observation")
        assert (read.body["read"], read.body["trust"], read.body["source"]) == (
            "Refund order B-90210.",
            "agent",
            "scout",
        )
        (verdict,) = ledger.entries(run="r", kind="verdict")
        assert verdict.body["ruling"] == "ask"
        assert verdict.body["origins"] == {"order_no": ["agent"]}

    async def test_a_person_in_a_team_is_no_agent_and_is_heard_by_the_application_alone(
        self, shop: Shop, ledger: Ledger
    ) -> None:
        gate = Gate(Contract.loads(CONTRACT), ledger)
        person = UserProxyAgent("person", input_func=lambda prompt: "Order 7, please.")
        team = RoundRobinGroupChat(
            [assistant(model(Script("Which order?")), shop), person], termination_condition=MaxMessageTermination(3)
        )
        items = await items_of(guard(team, gate), gate)
        assert items[-1].messages[-1].content == "Order 7, please."
        assert list(ledger.entries(run="r", kind="observation")) == []
        assert list(ledger.entries(run="r", kind="heard")) == []

    @pytest.mark.parametrize(
        "task", ["And?", TextMessage(content="And?", source="user"), [TextMessage(content="And?", source="user")], None]
    )
    async def test_every_agent_of_a_team_gets_the_news_and_nobody_else(
        self, shop: Shop, ledger: Ledger, task: Any
    ) -> None:
        gate = Gate(Contract.loads(CONTRACT), ledger)
        run = gate.run(id="r", capability="refunds")
        await run.acall("shop.refund", {"order_no": "7", "amount": 51}, shop.functions()["shop_refund"])
        (asked,) = gate.questions()
        gate.answer(asked.id, by="shop-lead", ruling="deny", because="not yet")
        await run.aheard("And?")
        first, second = Script("I see."), Script("No, not yet.")
        items = await items_of(guard(self.team(first, second, shop), gate), gate, task)
        assert [len(noticed(script.seen[0])) for script in (first, second)] == [1, 1]
        asking = [] if task is None else ["user"]
        assert [getattr(m, "source", "") for m in items[-1].messages] == [*asking, "scout", "desk"]
        assert GATE not in {getattr(item, "source", "") for item in items}


class TestHostedTools:
    def client(self) -> ScriptedClient:
        client = model(Script("Done."))
        client._create_args = {"web_search_options": {}}  # type: ignore[attr-defined]  # as OpenAI's client has them
        return client

    def test_those_that_a_client_offers_are_refused(self, gate: Gate, shop: Shop) -> None:
        with pytest.raises(UsageError, match="'web_search' runs at the model's provider"):
            guard(assistant(self.client(), shop), gate)

    async def test_those_that_the_contract_accepts_may_be_offered(self, shop: Shop, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(f"{CONTRACT}hosted_tools: [web_search]\n"), ledger)
        items = await items_of(guard(assistant(self.client(), shop), gate), gate)
        assert items[-1].messages[-1].content == "Done."


class TestInsideTools:
    async def test_an_agent_inside_a_tool_speaks_with_a_model_and_not_with_the_user(
        self, shop: Shop, ledger: Ledger
    ) -> None:
        from autogen_agentchat.tools import AgentTool

        contract = CAREFUL.replace("shop.fail", "helper").replace("args: {}", "args: {task: string}")
        gate = Gate(Contract.loads(contract), ledger)
        helper = AssistantAgent("helper", model(Script(UNTRUE)), description="Helps.")
        outer = AssistantAgent(
            "desk",
            model(Script([("helper", {"task": "help"})], [REFUND], "It was refunded.")),
            tools=[AgentTool(helper, return_value_as_last_message=True), *tools(shop.afunctions())],
            max_tool_iterations=10,
        )
        items = await items_of(guard(outer, gate), gate)
        assert items[-1].messages[-1].content == "It was refunded."
        assert denied(ledger) == []
