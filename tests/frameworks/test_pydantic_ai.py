"""The adapter for Pydantic AI."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from conformance import (
    CAREFUL,
    CONTRACT,
    FIND,
    REFUND,
    UNTRUE,
    BoundConformance,
    BrokenLedger,
    Message,
    Reacting,
    Script,
    Shop,
    Stubborn,
    ToolSchema,
    noticed,
    said,
    within,
)
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, RunContext, TextOutput, Tool
from pydantic_ai.agent import WrapperAgent
from pydantic_ai.capabilities import NativeTool
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.native_tools import WebSearchTool
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import ExternalToolset, FunctionToolset

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.pydantic_ai import guard
from roadworthy.core.errors import LedgerError, UsageError
from roadworthy.examples.scripted.pydantic_ai import model

HELPED = CONTRACT.replace("shop.fail", "ask_helper").replace("args: {}", "args: {input: string}")
"""The same, where one agent may ask another one."""


def tools(functions: dict[str, Any]) -> list[Any]:
    return [Tool(f, name=name) for name, f in functions.items()]


def desk(script: Script, functions: dict[str, Any], **more: Any) -> Any:
    return Agent(model(script), tools=tools(functions), **more)


def talk_blocking_tools(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = guard(desk(script, shop.functions()), gate)
    loop = asyncio.new_event_loop()  # `run_sync` keeps its loop open, and leaves it to the end of the thread
    asyncio.set_event_loop(loop)
    try:
        return agent.run_sync(text).output
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def talk_async_tools(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = guard(desk(script, shop.afunctions()), gate)

    async def go() -> str:
        return (await agent.run(text)).output

    return within(20, go())


def talk_streamed(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = guard(desk(script, shop.afunctions()), gate)

    async def go() -> str:
        async with agent.run_stream(text) as result:
            seen = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
            assert "".join(seen) == await result.get_output()
        return "".join(seen)

    return within(20, go())


class TestBlockingTools(BoundConformance):
    talk = staticmethod(talk_blocking_tools)


class TestAsyncTools(BoundConformance):
    talk = staticmethod(talk_async_tools)


class TestStreamed(BoundConformance):
    talk = staticmethod(talk_streamed)


# -- what Pydantic AI has beside plain tools --------------------------------------------------------------------------


class Answer(BaseModel):
    text: str


async def talk(agent: Any, gate: Gate, **more: Any) -> Any:
    """One talk within a run of its own, that must end."""
    with gate.run(id="r", capability="refunds") as run, run.bind():
        return (await asyncio.wait_for(agent.run("please", **more), 20)).output


class TestSeveralAgents:
    """Who asked, and who handed what to whom, stands in the record."""

    def asked(self, ledger: Ledger) -> list[tuple[str, str | None]]:
        return [(e.body["tool"], e.body.get("agent")) for e in ledger.entries(run="r", kind="action")]

    def handed(self, ledger: Ledger) -> list[dict[str, Any]]:
        return [{k: v for k, v in e.body.items() if k != "id"} for e in ledger.entries(run="r", kind="handover")]

    async def test_one_agent_has_no_name(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        await talk(guard(desk(Script([REFUND], "Done."), shop.afunctions()), gate), gate)
        assert self.asked(ledger) == [("shop.refund", None)]
        assert self.handed(ledger) == []

    @pytest.mark.parametrize("name", ["helper", None])
    async def test_an_agent_that_a_tool_asks(self, shop: Shop, ledger: Ledger, name: str | None) -> None:
        gate = Gate(Contract.loads(HELPED), ledger)
        helper: Any = guard(
            Agent(model(Script([REFUND], "I did.")), name=name, tools=list(shop.afunctions().values())), gate
        )

        async def ask_helper(input: str) -> str:
            return (await helper.run(input)).output

        asking = model(Script([("ask_helper", {"input": "refund order 7"})], "Done."))
        assert await talk(guard(Agent(asking, name="desk", tools=[ask_helper]), gate), gate) == "Done."
        assert self.asked(ledger) == [("ask_helper", "desk"), ("shop.refund", name)]
        handed, back = self.handed(ledger)
        assert handed == {
            "agent": name or "ask_helper",
            "source": "desk",
            "how": "delegate",
            "text": "refund order 7",
        }
        assert back["text"] == "I did."

    async def test_a_helper_that_breaks_has_come_back(self, shop: Shop, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(HELPED), ledger)

        def broken(messages: list[Message], tools: list[ToolSchema]) -> Message:
            raise RuntimeError("of the model")

        helper: Any = guard(Agent(model(broken), name="helper"), gate)

        async def ask_helper(input: str) -> str:
            return (await helper.run(input)).output

        asking = model(Script([("ask_helper", {"input": "refund order 7"})], "It broke."))
        assert await talk(guard(Agent(asking, name="desk", tools=[ask_helper]), gate), gate) == "It broke."
        assert [body.get("how") for body in self.handed(ledger)] == ["delegate", None]

    async def test_one_after_the_other(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        first, second = (
            cast("Any", guard(Agent(model(Script([FIND], "Done.")), name=n, tools=[*shop.afunctions().values()]), gate))
            for n in ("triage", "clerk")
        )
        with gate.run(id="r", capability="refunds") as run, run.bind():
            for agent in (first, first, second):
                await agent.run("please")
        assert self.handed(ledger) == [{"agent": "clerk", "source": "triage", "how": "turn", "text": ""}]
        assert self.asked(ledger) == [("shop.find_order", name) for name in ("triage", "triage", "clerk")]

    async def test_a_ledger_that_breaks_ends_no_agent(self, ledger: Ledger, shop: Shop) -> None:
        broken = BrokenLedger(ledger, "handover", LedgerError("the disk is full"))
        gate = Gate(Contract.loads(HELPED), broken)
        helper: Any = guard(Agent(model(Script([REFUND], "I did.")), tools=[*shop.afunctions().values()]), gate)

        async def ask_helper(input: str) -> str:
            return (await helper.run(input)).output

        asking = model(Script([("ask_helper", {"input": "refund order 7"})], "Done."))
        assert await talk(guard(Agent(asking, name="desk", tools=[ask_helper]), gate), gate) == "Done."
        assert [name for name, _ in shop.did] == ["refund"]


class TestEveryToolIsGated:
    async def test_that_a_run_brings_or_that_is_added_later(self, gate: Gate, shop: Shop) -> None:
        functions = shop.afunctions()
        agent: Any = guard(Agent(model(Script([("wipe", {}), REFUND, FIND], "Done."))), gate)
        agent.tool_plain(functions["wipe"])
        more: Any = FunctionToolset([functions["shop_refund"], functions["shop_find_order"]])
        assert await talk(agent, gate, toolsets=[more]) == "Done."
        assert sorted(name for name, _ in shop.did) == ["find_order", "refund"]

    async def test_whatever_model_a_run_brings(self, careful: Gate, shop: Shop) -> None:
        agent = guard(desk(Script("unused"), shop.afunctions()), careful)
        script = Reacting(UNTRUE, [REFUND], "It was refunded.")
        assert await talk(agent, careful, model=model(script)) == "It was refunded."
        assert len(shop.did) == 1

    async def test_tools_get_their_context_and_typed_arguments(self, gate: Gate) -> None:
        got: list[Any] = []

        async def shop_refund(ctx: RunContext[str], order_no: str, amount: float, note: Answer | None = None) -> Answer:
            got.append((ctx.deps, ctx.tool_name, order_no, amount, note))
            return Answer(text="R-7")

        contract = CONTRACT.replace("note: {type: string, optional: true}", "note: {type: any, optional: true}")
        gate = Gate(
            Contract.loads(contract.replace("returns: {refund_no: string}", "returns: {text: string}")), gate.ledger
        )
        call = ("shop_refund", {"order_no": "7", "amount": "20.5", "note": {"text": "sorry"}})
        script = Script([call], "Done.")
        agent: Any = guard(Agent(model(script), deps_type=str, tools=[shop_refund]), gate)
        assert await talk(agent, gate, deps="shop") == "Done."
        assert got == [("shop", "shop_refund", "7", 20.5, Answer(text="sorry"))]
        assert script.results == ['{"text":"R-7"}']

    async def test_a_write_that_asks_to_be_tried_again_is_in_doubt(self, gate: Gate, ledger: Ledger) -> None:
        async def shop_refund(order_no: str, amount: float) -> str:
            raise ModelRetry("the bank did not answer")

        script = Script([REFUND], "Sorry.")
        agent: Any = guard(Agent(model(script), tools=[shop_refund]), gate)
        assert await talk(agent, gate) == "Sorry."
        assert [e.body["status"] for e in ledger.entries(run="r", kind="outcome")] == ["in_doubt"]

    @pytest.mark.parametrize("inside", ["guarded", "as it is", "in a mapping"])
    async def test_of_agents_inside_tools(self, shop: Shop, ledger: Ledger, inside: str) -> None:
        contract = CAREFUL.replace("shop.fail", "helper").replace("args: {}", "args: {task: string}")
        gate = Gate(Contract.loads(contract), ledger)
        inner: Any = desk(Script([("wipe", {}), REFUND], UNTRUE), shop.afunctions())
        if inside == "guarded":
            guard(inner, gate)
        known = {"refunds": inner} if inside == "in a mapping" else {}

        async def helper(task: str) -> str:
            return (await (known or {"": inner})[next(iter(known), "")].run(task)).output

        script = Script([("helper", {"task": "refund order 7"})], "It was refunded.")
        agent: Any = guard(Agent(model(script), tools=[helper]), gate)
        assert await talk(agent, gate) == "It was refunded."
        assert [name for name, _ in shop.did] == ["refund"]
        assert said(ledger, gate.run(id="r")) == []


class TestWhatNoGateCanStandBefore:
    async def test_tools_at_the_provider_unless_the_contract_accepts_them(self, gate: Gate, ledger: Ledger) -> None:
        searching: Any = Agent(model(Script("Hi.")), capabilities=[NativeTool(WebSearchTool())])
        with pytest.raises(UsageError, match="'web_search' runs at the model's provider"):
            guard(searching, gate)
        agent: Any = guard(Agent(model(Script("Hi."))), gate)
        with pytest.raises(UsageError, match="'web_search' runs at the model's provider"):
            await talk(agent, gate, capabilities=[NativeTool(WebSearchTool())])
        with pytest.raises(UsageError, match="'web_search' runs at the model's provider"):
            await talk(agent, gate, model_settings={"extra_body": {"tools": [{"type": "web_search"}]}})
        guard(searching, Gate(Contract.loads(f"{CONTRACT}hosted_tools: [web_search]\n"), ledger))

    @pytest.mark.parametrize("kind", ["tool", "text"])
    async def test_output_functions(self, gate: Gate, kind: str) -> None:
        sent: list[str] = []

        def send(text: str) -> str:
            sent.append(text)
            return text

        said = [("final_result", {"text": "hello"})] if kind == "tool" else "hello"
        output: Any = send if kind == "tool" else TextOutput(send)
        agent: Any = guard(Agent(model(Script(said)), output_type=output), gate)
        with pytest.raises(UsageError, match="output function 'send' runs past the gate"):
            await talk(agent, gate)
        assert sent == []

    async def test_tools_that_somebody_else_carries_out(self, gate: Gate) -> None:
        elsewhere: Any = ExternalToolset([ToolDefinition(name="shop_refund")])
        agent: Any = guard(Agent(model(Script([REFUND], "unused")), toolsets=[elsewhere]), gate)
        with pytest.raises(UsageError, match="carried out by somebody else"):
            await talk(agent, gate)

    def test_realtime_and_agents_of_other_kinds(self, gate: Gate) -> None:
        agent: Any = Agent(model(Script("Hi.")))
        with pytest.raises(UsageError, match="cannot see what a WrapperAgent does"):
            guard(WrapperAgent(agent), gate)
        with pytest.raises(UsageError, match="realtime"):
            guard(agent, gate).realtime()

    def test_two_contracts_cannot_share_an_agent(self, gate: Gate, ledger: Ledger) -> None:
        agent: Any = Agent(model(Script("Hi.")))
        assert guard(agent, gate) is agent
        assert guard(agent, gate) is agent
        with pytest.raises(UsageError, match="another contract"):
            guard(agent, Gate(Contract.loads(CONTRACT.replace("50.00", "51.00")), ledger))


class TestReplies:
    async def test_an_output_of_a_type_is_a_reply(self, careful: Gate, ledger: Ledger) -> None:
        class Typed(Script):
            def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
                self.turns = [[("final_result", {"text": "No." if noticed(messages) else UNTRUE})]] * 9
                return super().__call__(messages, tools)

        agent: Any = guard(Agent(model(Typed()), output_type=Answer), careful)
        assert (await talk(agent, careful)) == Answer(text="No.")
        assert [status for _, status in said(ledger, careful.run(id="r"))] == ["denied"]

    async def test_words_that_are_no_output_of_its_type_end_the_run(self, careful: Gate) -> None:
        script = Script(*[[("final_result", {"text": UNTRUE})]] * 9)
        agent: Any = guard(Agent(model(script), output_type=Answer), careful)
        with pytest.raises(UnexpectedModelBehavior, match="A person will look at it"):
            await talk(agent, careful)

    async def test_what_may_not_be_told_is_nowhere_in_a_stream(self, careful: Gate, shop: Shop) -> None:
        class Talkative(Script):
            def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
                words = super().__call__(messages, tools)
                return {**words, "content": UNTRUE} if words.get("tool_calls") else words

        agent: Any = guard(desk(Talkative([FIND], "Hello."), shop.afunctions()), careful)
        everything = ""
        with careful.run(id="r", capability="refunds") as run, run.bind():
            async with agent.run_stream_events("please") as events:
                async for event in events:
                    everything += repr(event)
        assert "Hello." in everything
        assert "refunded" not in everything
        assert [name for name, _ in shop.did] == ["find_order"]

    async def test_where_nothing_is_held_back_tokens_come_out_as_they_come(self, gate: Gate) -> None:
        agent: Any = guard(Agent(model(Script("I looked."))), gate)
        with gate.run(id="r", capability="refunds") as run, run.bind():
            async with agent.run_stream("please") as result:
                pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
        assert pieces == list("I looked.")

    async def test_who_says_the_same_again_is_spoken_for_and_the_talk_goes_on(self, careful: Gate) -> None:
        agent: Any = guard(Agent(model(Stubborn(UNTRUE))), careful)
        with careful.run(id="r", capability="refunds") as run, run.bind():
            result = await agent.run("please")
        assert UNTRUE not in str(result.all_messages())

    async def test_news_stand_in_every_question_of_a_turn(self, gate: Gate, shop: Shop) -> None:
        run = gate.run(id="r", capability="refunds")
        await run.acall("shop.refund", {"order_no": "7", "amount": 51}, shop.functions()["shop_refund"])
        (asked,) = gate.questions()
        gate.answer(asked.id, by="shop-lead", ruling="deny", because="not yet")
        await run.aheard("And?")
        script = Script([FIND], "No, not yet.")
        with run.bind():
            await guard(desk(script, shop.afunctions(), instructions="Be kind."), gate).run("And?")
        assert [len(noticed(seen)) for seen in script.seen] == [1, 1]
        assert [[m["role"] for m in seen[:3]] for seen in script.seen] == [["system", "user", "user"]] * 2
