"""The adapter for Microsoft Agent Framework."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from agent_framework import (
    Agent,
    BaseChatClient,
    FunctionInvocationContext,
    FunctionTool,
    WorkflowBuilder,
    WorkflowExecutor,
)
from agent_framework_orchestrations import HandoffBuilder
from conformance import (
    CAREFUL,
    CONTRACT,
    FIND,
    REFUND,
    UNTRUE,
    BoundConformance,
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

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.agent_framework import adrive, guard
from roadworthy.adapters.conformance.shop import BIG, SUSPENDING
from roadworthy.adapters.replies import HANDED_OVER
from roadworthy.core.errors import Suspended, UsageError
from roadworthy.examples.scripted.agent_framework import model

HELPED = CONTRACT.replace("shop.fail", "ask_helper").replace("args: {}", "args: {task: string}")
"""The same, where one agent may ask another one."""


def approve(gate: Gate) -> None:
    (asked,) = gate.questions()
    gate.answer(asked.id, by="shop-lead", ruling="approve")


def tools(functions: dict[str, Any]) -> list[Any]:
    return [FunctionTool(name=name, description=f.__doc__ or "", func=f) for name, f in functions.items()]


def desk(script: Script, functions: dict[str, Any], **more: Any) -> Any:
    return Agent(model(script), tools=tools(functions), **more)


def talk_blocking_tools(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = guard(desk(script, shop.functions()), gate)

    async def go() -> str:
        return (await agent.run(text)).text

    return within(20, go())


def talk_async_tools(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = guard(desk(script, shop.afunctions()), gate)

    async def go() -> str:
        return (await agent.run(text)).text

    return within(20, go())


def talk_streamed(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = guard(desk(script, shop.afunctions()), gate)

    async def go() -> str:
        return "".join([update.text async for update in agent.run(text, stream=True)])

    return within(20, go())


class TestBlockingTools(BoundConformance):
    talk = staticmethod(talk_blocking_tools)


class TestAsyncTools(BoundConformance):
    talk = staticmethod(talk_async_tools)


class TestStreamed(BoundConformance):
    talk = staticmethod(talk_streamed)


# -- what the framework has beside plain tools ------------------------------------------------------------------------


class Note(BaseModel):
    text: str


async def talk(agent: Any, gate: Gate, **more: Any) -> str:
    """One talk within a run of its own, that must end."""
    with gate.run(id="r", capability="refunds") as run, run.bind():
        return (await asyncio.wait_for(agent.run("please", **more), 20)).text


class TestSeveralAgents:
    """Who asked, and who handed what to whom, stands in the record."""

    def asked(self, ledger: Ledger) -> list[tuple[str, str | None]]:
        return [(e.body["tool"], e.body.get("agent")) for e in ledger.entries(run="r", kind="action")]

    def handed(self, ledger: Ledger) -> list[dict[str, Any]]:
        return [{k: v for k, v in e.body.items() if k != "id"} for e in ledger.entries(run="r", kind="handover")]

    async def test_one_agent_has_no_name(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        await talk(guard(desk(Script([REFUND], "Done."), shop.afunctions(), name="desk"), gate), gate)
        assert self.asked(ledger) == [("shop.refund", None)]
        assert self.handed(ledger) == []

    @pytest.mark.parametrize("name", ["helper", None])
    async def test_an_agent_that_is_a_tool(self, shop: Shop, ledger: Ledger, name: str | None) -> None:
        gate = Gate(Contract.loads(HELPED), ledger)
        helper = desk(Script([REFUND], "I did."), shop.afunctions(), name=name)
        script = Script([("ask_helper", {"task": "refund order 7"})], "Done.")
        agent: Any = Agent(model(script), name="desk", tools=[helper.as_tool(name="ask_helper")])
        assert await talk(guard(agent, gate), gate) == "Done."
        assert self.asked(ledger) == [("ask_helper", "desk"), ("shop.refund", name)]
        handed, back = self.handed(ledger)
        assert (handed["source"], handed["agent"], handed["how"]) == ("desk", name or "ask_helper", "delegate")
        assert "refund order 7" in handed["text"]
        assert back["text"] == "I did."

    async def test_a_run_that_is_suspended_inside_of_an_agent_goes_on_in_there(
        self, shop: Shop, ledger: Ledger
    ) -> None:
        suspends = "then: ask\n    ask: {role: shop-lead, meanwhile: suspend}\n"
        gate = Gate(Contract.loads(HELPED.replace("then: ask\n", suspends)), ledger)

        def build() -> Any:
            helper = desk(Script([("send_note", {"text": "hello"})], [BIG], "I did."), shop.afunctions(), name="helper")
            script = Script([("ask_helper", {"task": "refund order 7"})], "Done.")
            return guard(Agent(model(script), name="desk", tools=[helper.as_tool(name="ask_helper")]), gate)

        run = gate.run(id="r", capability="refunds", suspendable=True)
        assert isinstance(await adrive(build(), run, "please"), Suspended)
        approve(gate)
        resumed = gate.resume("r")
        assert (await adrive(build(), resumed)).text == "Done."
        assert [name for name, _ in shop.did] == ["notify", "refund"]
        assert [body.get("how") for body in self.handed(ledger)] == ["delegate", None]


class TestWorkflows:
    def workflow(self, gate: Gate, shop: Shop, *, inside: bool = False) -> Any:
        def paying(messages: list[Message], tools: list[ToolSchema]) -> Message:
            if messages[-1]["role"] == "tool":
                return {"role": "assistant", "content": "Done."}
            name, args = BIG
            call = {"id": "p", "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
            return {"role": "assistant", "content": None, "tool_calls": [call]}

        finder = desk(Script([FIND], "Found it."), shop.afunctions(), name="finder")
        payer: Any = Agent(model(paying), name="payer", tools=tools(shop.afunctions()))
        built = WorkflowBuilder(start_executor=finder).add_edge(finder, payer).build()
        if inside:
            built = WorkflowBuilder(start_executor=WorkflowExecutor(built, id="inner")).build()
        return guard(built, gate)

    @pytest.mark.parametrize("inside", [False, True])
    async def test_all_agents_of_one_are_guarded_and_told_apart(
        self, gate: Gate, shop: Shop, ledger: Ledger, inside: bool
    ) -> None:
        workflow = self.workflow(gate, shop, inside=inside)
        with gate.run(id="r", capability="refunds") as run, run.bind():
            await asyncio.wait_for(workflow.run("please"), 20)
        assert [name for name, _ in shop.did] == ["find_order"]
        asked = [(e.body["tool"], e.body["agent"]) for e in ledger.entries(run="r", kind="action")]
        assert asked == [("shop.find_order", "finder"), ("shop.refund", "payer")]
        (handed,) = ledger.entries(run="r", kind="handover")
        assert (handed.body["source"], handed.body["agent"], handed.body["how"]) == ("finder", "payer", "turn")
        assert run.status == "held"

    async def test_hand_offs_within_one(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        def triage(messages: list[Message], tools: list[ToolSchema]) -> Message:
            call = {"id": "h", "type": "function", "function": {"name": "handoff_to_payer", "arguments": "{}"}}
            return {"role": "assistant", "content": None, "tool_calls": [call]}

        agents = [
            Agent(
                model(script),
                name=name,
                tools=tools(shop.afunctions()),
                require_per_service_call_history_persistence=True,
            )
            for name, script in (("triage", triage), ("payer", Script([REFUND], "Done.")))
        ]
        workflow = guard(HandoffBuilder(participants=agents).with_start_agent(agents[0]).build(), gate)
        with gate.run(id="r", capability="refunds") as run, run.bind():
            result = await asyncio.wait_for(workflow.run("please"), 20)
        assert result.get_outputs()[-1].text == "Done."
        assert [name for name, _ in shop.did] == ["refund"]
        assert [e.body["agent"] for e in ledger.entries(run="r", kind="action")] == ["payer"]
        (handed,) = ledger.entries(run="r", kind="handover")
        assert (handed.body["source"], handed.body["agent"], handed.body["how"]) == ("triage", "payer", "handoff")

    @pytest.mark.parametrize("as_agent", [False, True])
    async def test_one_is_driven(self, shop: Shop, ledger: Ledger, as_agent: bool) -> None:
        gate = Gate(Contract.loads(SUSPENDING), ledger)
        run = gate.run(id="r", capability="refunds", suspendable=True)

        def build() -> Any:
            built = self.workflow(gate, shop)
            return guard(built.as_agent(), gate) if as_agent else built

        stopped = build()
        assert isinstance(await adrive(stopped, run, "please"), Suspended)
        approve(gate)
        resumed = gate.resume("r")
        with pytest.raises(UsageError, match="build it anew"):
            await adrive(stopped, resumed)
        result = await adrive(build(), resumed)
        last = result.messages[-1] if as_agent else result.get_outputs()[-1]
        assert last.text == "Done."
        assert [name for name, _ in shop.did] == ["find_order", "refund"]
        assert len(list(ledger.entries(run="r", kind="handover"))) == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}


class TestEveryToolIsGated:
    async def test_that_only_a_run_brings(self, gate: Gate, shop: Shop) -> None:
        script = Script([("wipe", {}), REFUND], "Done.")
        agent: Any = guard(Agent(model(script)), gate)
        assert await talk(agent, gate, tools=tools(shop.afunctions())) == "Done."
        assert [name for name, _ in shop.did] == ["refund"]
        assert {"ask_user", "escalate", "shop_refund"} <= set(script.offered)

    async def test_of_agents_that_are_tools(self, shop: Shop, ledger: Ledger) -> None:
        contract = CAREFUL.replace("shop.fail", "helper").replace("args: {}", "args: {task: string}")
        gate = Gate(Contract.loads(contract), ledger)
        helper: Any = desk(Script([("wipe", {}), REFUND], UNTRUE), shop.afunctions(), name="helper")
        script = Script([("helper", {"task": "refund order 7"})], "It was refunded.")
        agent: Any = guard(Agent(model(script), tools=[helper.as_tool()]), gate)
        assert await talk(agent, gate) == "It was refunded."
        assert [name for name, _ in shop.did] == ["refund"]
        assert said(ledger, gate.run(id="r")) == []

    async def test_of_agents_that_tools_ask(self, shop: Shop, ledger: Ledger) -> None:
        contract = CAREFUL.replace("shop.fail", "helper").replace("args: {}", "args: {task: string}")
        gate = Gate(Contract.loads(contract), ledger)
        inner: Any = desk(Script([("wipe", {}), REFUND], UNTRUE), shop.afunctions(), name="inner")

        async def helper(task: str) -> str:
            return (await inner.run(task)).text

        script = Script([("helper", {"task": "refund order 7"})], "It was refunded.")
        agent: Any = guard(Agent(model(script), tools=[FunctionTool(name="helper", func=helper)]), gate)
        assert await talk(agent, gate) == "It was refunded."
        assert [name for name, _ in shop.did] == ["refund"]
        assert said(ledger, gate.run(id="r")) == []

    async def test_behind_middleware_that_tries_again(self, gate: Gate, ledger: Ledger) -> None:
        tried: list[str] = []

        async def shop_find_order(order_no: str) -> dict[str, str]:
            tried.append(order_no)
            return {"order_no": order_no, "total": "80.00"}

        async def twice(context: FunctionInvocationContext, call_next: Callable[[], Any]) -> None:
            await call_next()
            await call_next()

        tool = FunctionTool(name="shop_find_order", func=shop_find_order)
        agent: Any = guard(Agent(model(Script([FIND], "Done.")), tools=[tool], middleware=[twice]), gate)
        assert await talk(agent, gate) == "Done."
        assert len(tried) == 2
        assert len(list(ledger.entries(run="r", kind="intent"))) == 2

    async def test_tools_get_what_they_get_without_a_gate(self, ledger: Ledger) -> None:
        got: list[Any] = []

        async def shop_refund(ctx: FunctionInvocationContext, order_no: str, amount: float, note: Note) -> Note:
            got.append((ctx.kwargs["shop"], order_no, amount, note))
            return Note(text="R-7")

        contract = CONTRACT.replace("note: {type: string, optional: true}", "note: {type: any, optional: true}")
        gate = Gate(Contract.loads(contract.replace("{refund_no: string}", "{text: string}")), ledger)
        script = Script([("shop_refund", {"order_no": "7", "amount": 20.5, "note": {"text": "sorry"}})], "Done.")
        agent: Any = guard(Agent(model(script), tools=[FunctionTool(name="shop_refund", func=shop_refund)]), gate)
        assert await talk(agent, gate, function_invocation_kwargs={"shop": "ours"}) == "Done."
        assert got == [("ours", "7", 20.5, {"text": "sorry"})]  # a mapping, as without a gate
        assert script.results == ['{"text":"R-7"}']


class TestWhatNoGateCanStandBefore:
    async def test_tools_at_the_provider_unless_the_contract_accepts_them(self, gate: Gate, ledger: Ledger) -> None:
        search: Any = {"type": "web_search"}
        with pytest.raises(UsageError, match="'web_search' runs at the model's provider"):
            guard(Agent(model(Script("Hi.")), tools=[search]), gate)
        agent: Any = guard(Agent(model(Script("Hi."))), gate)
        with pytest.raises(UsageError, match="'web_search' runs at the model's provider"):
            await talk(agent, gate, tools=[search])
        with pytest.raises(UsageError, match="'web_search' runs at the model's provider"):
            await talk(agent, gate, options={"web_search_options": {"search_context_size": "low"}})
        guard(
            Agent(model(Script("Hi.")), tools=[search]),
            Gate(Contract.loads(f"{CONTRACT}hosted_tools: [web_search]\n"), ledger),
        )

    async def test_tools_that_somebody_else_carries_out(self, gate: Gate) -> None:
        elsewhere = FunctionTool(name="shop_refund", input_model={"type": "object", "properties": {}})
        with pytest.raises(UsageError, match="carried out by somebody else"):
            guard(Agent(model(Script("Hi.")), tools=[elsewhere]), gate)
        agent: Any = guard(Agent(model(Script("Hi."))), gate)
        with pytest.raises(UsageError, match="carried out by somebody else"):
            await talk(agent, gate, tools=[elsewhere])

    def test_clients_without_middleware_and_agents_of_other_kinds(self, gate: Gate) -> None:
        class Bare(BaseChatClient[Any]):
            def _inner_get_response(self, **_: Any) -> Any:
                raise AssertionError("never asked")

        with pytest.raises(UsageError, match="the client Bare runs no middleware"):
            guard(Agent(Bare()), gate)
        with pytest.raises(UsageError, match="cannot see what a str does"):
            guard("desk", gate)

    def test_two_contracts_cannot_share_an_agent(self, gate: Gate, ledger: Ledger) -> None:
        agent: Any = Agent(model(Script("Hi.")))
        assert guard(agent, gate) is agent
        assert guard(agent, gate) is agent
        with pytest.raises(UsageError, match="another contract"):
            guard(agent, Gate(Contract.loads(CONTRACT.replace("50.00", "51.00")), ledger))


class TestReplies:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_what_may_not_be_told_is_nowhere(self, careful: Gate, shop: Shop, stream: bool) -> None:
        class Talkative(Script):
            def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
                words = super().__call__(messages, tools)
                return {**words, "content": UNTRUE} if words.get("tool_calls") else words

        agent: Any = guard(desk(Talkative([FIND], "Hello."), shop.afunctions()), careful)
        with careful.run(id="r", capability="refunds") as run, run.bind():
            if stream:
                items = agent.run("please", stream=True)
                everything = "".join([str(update.to_dict()) async for update in items])
                assert (await items.get_final_response()).text == "Hello."
            else:
                everything = str((await agent.run("please")).to_dict())
        assert "Hello." in everything
        assert "refunded" not in everything
        assert [name for name, _ in shop.did] == ["find_order"]

    async def test_where_nothing_is_held_back_tokens_come_out_as_they_come(self, gate: Gate) -> None:
        agent: Any = guard(Agent(model(Script("I looked."))), gate)
        with gate.run(id="r", capability="refunds") as run, run.bind():
            pieces = [update.text async for update in agent.run("please", stream=True)]
        assert pieces == list("I looked.")

    async def test_a_session_remembers_what_was_told_and_nothing_else(self, careful: Gate) -> None:
        script = Stubborn(UNTRUE)
        agent: Any = guard(Agent(model(script)), careful)
        session = agent.create_session()
        assert await talk(agent, careful, session=session) == HANDED_OVER
        script.turns = ("Hello.",)
        with careful.run(id="q", capability="refunds") as run, run.bind():
            assert (await agent.run("And?", session=session)).text == "Hello."
        assert [m["content"] for m in script.seen[-1]] == ["please", HANDED_OVER, "And?"]

    async def test_the_model_may_do_first_what_it_wanted_to_tell(self, careful: Gate, shop: Shop) -> None:
        agent: Any = guard(desk(Reacting(UNTRUE, [REFUND], "It was refunded."), shop.afunctions()), careful)
        with careful.run(id="r", capability="refunds") as run, run.bind():
            pieces = [update.text async for update in agent.run("please", stream=True)]
        assert "".join(pieces) == "It was refunded."
        assert len(shop.did) == 1

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
