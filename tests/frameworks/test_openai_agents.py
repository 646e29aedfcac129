"""The adapter for the OpenAI Agents SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from agents import (
    Agent,
    Model,
    ModelProvider,
    ModelSettings,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    Runner,
    ShellTool,
    SQLiteSession,
    WebSearchTool,
    function_tool,
    handoff,
    set_tracing_disabled,
)
from conformance import (
    CAREFUL,
    CONTRACT,
    FIND,
    HONEST,
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
from roadworthy.adapters.conformance.shop import BIG
from roadworthy.adapters.openai_agents import adrive, drive, guard
from roadworthy.adapters.replies import HANDED_OVER
from roadworthy.core.errors import Suspended, UsageError
from roadworthy.examples.scripted.openai_agents import ScriptedModel, model

set_tracing_disabled(True)

HELPED = CONTRACT.replace("shop.fail", "ask_helper").replace("args: {}", "args: {input: string}")
"""The same, where one agent may ask another one."""


def tools(functions: dict[str, Any]) -> list[Any]:
    return [function_tool(f, name_override=name) for name, f in functions.items()]


def desk(script: Script, functions: dict[str, Any], **more: Any) -> Agent[Any]:
    return Agent(name="desk", model=model(script), tools=tools(functions), **more)


def talk_blocking_tools(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = guard(desk(script, shop.functions()), gate)
    loop = asyncio.new_event_loop()  # `run_sync` keeps its loop open, and leaves it to the end of the thread
    asyncio.set_event_loop(loop)
    try:
        return str(Runner.run_sync(agent, text).final_output)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def talk_async_tools(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = guard(desk(script, shop.afunctions()), gate)

    async def go() -> str:
        return str((await Runner.run(agent, text)).final_output)

    return within(20, go())


def talk_streamed(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    agent = guard(desk(script, shop.afunctions()), gate)

    async def go() -> str:
        result = Runner.run_streamed(agent, text)
        async for _ in result.stream_events():
            pass
        return str(result.final_output)

    return within(20, go())


class TestBlockingTools(BoundConformance):
    talk = staticmethod(talk_blocking_tools)


class TestAsyncTools(BoundConformance):
    talk = staticmethod(talk_async_tools)


class TestStreamed(BoundConformance):
    talk = staticmethod(talk_streamed)


# -- what the SDK has beside plain tools ------------------------------------------------------------------------------


async def talk(agent: Agent[Any], gate: Gate, **more: Any) -> Any:
    """One talk within a run of its own, that must end."""
    with gate.run(id="r", capability="refunds") as run, run.bind():
        return (await asyncio.wait_for(Runner.run(agent, "please", **more), 20)).final_output


class TestEveryToolIsGated:
    async def test_of_agents_that_are_handed_off_to(self, gate: Gate, shop: Shop) -> None:
        clerk = Agent(name="clerk", model=model(Script("", [REFUND], "Done.")), tools=tools(shop.afunctions()))
        triage = Agent(name="triage", model=model(Script([("transfer_to_clerk", {})])), handoffs=[handoff(clerk)])
        guard(triage, gate)
        assert await talk(triage, gate) == "Done."
        assert [name for name, _ in shop.did] == ["refund"]
        shop.did.clear()
        assert await Runner.run(triage, "without a run")
        assert shop.did == []

    async def test_of_agents_that_hand_off_to_each_other(self, gate: Gate, shop: Shop) -> None:
        one: Agent[Any] = Agent(name="one", model=model(Script([REFUND], "Done.")), tools=tools(shop.afunctions()))
        two: Agent[Any] = Agent(name="two", handoffs=[one])
        one.handoffs.append(two)
        guard(two, gate)
        assert await talk(one, gate) == "Done."
        assert [name for name, _ in shop.did] == ["refund"]

    async def test_of_agents_that_are_tools(self, shop: Shop, ledger: Ledger) -> None:
        contract = CONTRACT.replace("shop.fail", "helper").replace("args: {}", "args: {input: string}")
        gate = Gate(Contract.loads(contract), ledger)
        inside = Script([("wipe", {}), REFUND], "I refunded order 7.")
        helper = Agent(name="helper", model=model(inside), tools=tools(shop.afunctions()))
        script = Script([("helper", {"input": "refund order 7"})], "Done.")
        agent = Agent(name="desk", model=model(script), tools=[helper.as_tool("helper", "Helps.")])
        assert await talk(guard(agent, gate), gate) == "Done."
        assert [name for name, _ in shop.did] == ["refund"]
        assert script.results == ["I refunded order 7."]

    @pytest.mark.parametrize("later", [False, True])
    async def test_of_agents_that_tools_ask(self, shop: Shop, ledger: Ledger, later: bool) -> None:
        contract = CONTRACT.replace("shop.fail", "helper").replace("args: {}", "args: {task: string}")
        gate = Gate(Contract.loads(contract), ledger)
        inside = Script([("wipe", {}), REFUND], "I refunded order 7.")
        inner: Agent[Any] = Agent(name="inner", model=model(inside), tools=tools(shop.afunctions()))

        async def helper(task: str) -> str:
            return str((await Runner.run(inner, task)).final_output)

        script = Script([("helper", {"task": "refund order 7"})], "Done.")
        agent: Agent[Any] = Agent(name="desk", model=model(script), tools=[] if later else [function_tool(helper)])
        guard(agent, gate)
        if later:
            agent.tools.append(function_tool(helper))
        assert await talk(agent, gate) == "Done."
        assert [name for name, _ in shop.did] == ["refund"]

    async def test_that_is_added_later_and_of_clones(self, gate: Gate, shop: Shop) -> None:
        script = Script([("wipe", {}), REFUND], "Done.")
        agent = guard(Agent(name="desk", model=model(script)), gate)
        agent.tools += tools(shop.afunctions())
        assert await talk(agent.clone(name="twin", model=model(script)), gate) == "Done."
        assert [name for name, _ in shop.did] == ["refund"]

    async def test_that_raises_what_nobody_catches_or_takes_too_long(self, gate: Gate, ledger: Ledger) -> None:
        async def refund(order_no: str, amount: float) -> str:
            await asyncio.Event().wait()
            return "never"

        script = Script([REFUND], "Something broke.")
        slow = function_tool(refund, name_override="shop_refund", timeout=0.01)
        assert await talk(guard(Agent(name="desk", model=model(script), tools=[slow]), gate), gate)
        assert [e.body["status"] for e in ledger.entries(run="r", kind="outcome")] == ["in_doubt"]
        assert "again" in script.results[0]
        assert "Please try again" not in script.results[0]

    async def test_a_failing_tool_does_not_cancel_the_calls_beside_it(self, gate: Gate, shop: Shop) -> None:
        script = Script([("shop_fail", {}), REFUND], "Half of it worked.")
        fail = function_tool(shop.afunctions()["shop_fail"], name_override="shop_fail", failure_error_function=None)
        own = [fail, *(t for t in tools(shop.afunctions()) if t.name != "shop_fail")]
        assert await talk(guard(Agent(name="desk", model=model(script), tools=own), gate), gate) == "Half of it worked."
        assert [name for name, _ in shop.did] == ["fail", "refund"]


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

    @pytest.mark.parametrize("streamed", [False, True])
    async def test_a_hand_off_and_the_next_turn(self, gate: Gate, shop: Shop, ledger: Ledger, streamed: bool) -> None:
        clerk = Agent(name="clerk", model=model(Script("", [REFUND], "Done.")), tools=tools(shop.afunctions()))
        triage = Agent(
            name="triage",
            model=model(Script([("shop_find_order", {"order_no": "7"}), ("transfer_to_clerk", {})])),
            handoffs=[handoff(clerk)],
            tools=tools(shop.afunctions()),
        )
        guard(triage, gate)
        with gate.run(id="r", capability="refunds") as run, run.bind():
            if streamed:
                result = Runner.run_streamed(triage, "please")
                async for _ in result.stream_events():
                    pass
            else:
                assert (await Runner.run(triage, "please")).final_output == "Done."
            await Runner.run(triage, "please")
        first = {"agent": "clerk", "source": "triage", "how": "handoff", "text": ""}
        assert self.handed(ledger) == [
            first,
            {"agent": "triage", "source": "clerk", "how": "turn", "text": ""},
            first,
        ]
        assert self.asked(ledger)[:2] == [("shop.find_order", "triage"), ("shop.refund", "clerk")]

    async def test_what_goes_along_with_a_hand_off(self, gate: Gate, ledger: Ledger) -> None:
        class Reason(BaseModel):
            why: str

        async def noted(ctx: Any, reason: Reason) -> None: ...

        listed = CONTRACT.replace("shop.fail", "transfer_to_clerk").replace("args: {}", "args: {why: string}")
        gate = Gate(Contract.loads(listed), ledger)
        clerk: Agent[Any] = Agent(name="clerk", model=model(Script("", "Done.")))
        passing = handoff(clerk, on_handoff=noted, input_type=Reason)
        asking = model(Script([("transfer_to_clerk", {"why": "They are angry."})]))
        triage: Agent[Any] = Agent(name="triage", model=asking, handoffs=[passing])
        assert await talk(guard(triage, gate), gate) == "Done."
        assert self.asked(ledger) == [("transfer_to_clerk", "triage")]
        (handed,) = self.handed(ledger)
        assert (handed["source"], handed["agent"]) == ("triage", "clerk")
        assert json.loads(handed["text"]) == {"why": "They are angry."}

    async def test_an_agent_that_is_a_tool(self, shop: Shop, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(HELPED), ledger)
        helper = Agent(name="helper", model=model(Script([REFUND], "I did.")), tools=tools(shop.afunctions()))
        script = Script([("ask_helper", {"input": "refund order 7"})], "Done.")
        agent = Agent(name="desk", model=model(script), tools=[helper.as_tool("ask_helper", "Helps.")])
        assert await talk(guard(agent, gate), gate) == "Done."
        assert self.asked(ledger) == [("ask_helper", "desk"), ("shop.refund", "helper")]
        handed, back = self.handed(ledger)
        assert (handed["source"], handed["agent"], handed["how"]) == ("desk", "helper", "delegate")
        assert "refund order 7" in handed["text"]
        assert back["text"] == "I did."

    async def test_a_run_that_is_suspended_inside_of_an_agent_goes_on_in_there(
        self, shop: Shop, ledger: Ledger
    ) -> None:
        suspends = "then: ask\n    ask: {role: shop-lead, meanwhile: suspend}\n"
        gate = Gate(Contract.loads(HELPED.replace("then: ask\n", suspends)), ledger)

        def build() -> Agent[Any]:
            inside = model(Script([("send_note", {"text": "hello"})], [BIG], "I did."))
            helper = Agent(name="helper", model=inside, tools=tools(shop.afunctions()))
            script = Script([("ask_helper", {"input": "refund order 7"})], "Done.")
            return guard(Agent(name="desk", model=model(script), tools=[helper.as_tool("ask_helper", "Helps.")]), gate)

        run = gate.run(id="r", capability="refunds", suspendable=True)
        assert isinstance(await adrive(build(), run, "please"), Suspended)
        (asked,) = gate.questions()
        gate.answer(asked.id, by="shop-lead", ruling="approve")
        resumed = gate.resume("r")
        result = await adrive(build(), resumed)
        assert result.final_output == "Done."
        assert [name for name, _ in shop.did] == ["notify", "refund"]
        assert [body.get("how") for body in self.handed(ledger)] == ["delegate", None]


class TestDrive:
    async def test_what_keeps_a_conversation_of_its_own_is_refused(self, gate: Gate) -> None:
        agent = guard(Agent(name="desk", model=model(Script("Hi."))), gate)
        run = gate.run(capability="refunds", suspendable=True)
        with pytest.raises(UsageError, match="session= keeps a conversation"):
            await adrive(agent, run, "please", session=SQLiteSession("s"))
        assert (await adrive(agent, run, "please")).final_output == "Hi."

    async def test_an_agent_without_a_gate_is_refused(self, gate: Gate) -> None:
        with pytest.raises(UsageError, match="is not guarded"):
            await adrive(Agent(name="desk"), gate.run(capability="refunds"), "please")

    async def test_blocking_code_within_a_loop_is_sent_to_the_other_one(self, gate: Gate) -> None:
        agent = guard(Agent(name="desk", model=model(Script("Hi."))), gate)
        with pytest.raises(UsageError, match="adrive"):
            drive(agent, gate.run(capability="refunds"), "please")


class TestWhatNoGateCanStandBefore:
    def test_tools_at_the_provider_unless_the_contract_accepts_them(self, gate: Gate, ledger: Ledger) -> None:
        agent: Agent[Any] = Agent(name="desk", tools=[WebSearchTool()])
        with pytest.raises(UsageError, match="'web_search' runs at the model's provider"):
            guard(agent, gate)
        guard(agent, Gate(Contract.loads(f"{CONTRACT}hosted_tools: [web_search]\n"), ledger))

    def test_those_that_settings_and_stored_prompts_bring(self, gate: Gate) -> None:
        settings = ModelSettings(extra_body={"tools": [{"type": "code_interpreter"}]})
        with pytest.raises(UsageError, match="'code_interpreter' runs at the model's provider"):
            guard(Agent(name="desk", model_settings=settings), gate)
        with pytest.raises(UsageError, match="'prompt'"):
            guard(Agent(name="desk", prompt={"id": "pmpt_1"}), gate)

    async def test_those_that_a_run_brings(self, gate: Gate) -> None:
        agent = guard(Agent(name="desk", model=model(Script("Hi."))), gate)
        settings = ModelSettings(extra_args={"web_search_options": {"search_context_size": "low"}})
        with pytest.raises(UsageError, match="'web_search'"):
            await talk(agent, gate, run_config=RunConfig(model_settings=settings))

    async def test_tools_that_run_code_of_their_own_now_or_later(self, gate: Gate) -> None:
        shell = ShellTool(executor=lambda request: "done")
        with pytest.raises(UsageError, match="offer a function tool"):
            guard(Agent(name="desk", tools=[shell]), gate)
        agent = guard(Agent(name="desk", model=model(Script("Hi."))), gate)
        agent.tools.append(shell)
        with pytest.raises(UsageError, match="offer a function tool"):
            await talk(agent, gate)

    def test_hand_offs_that_run_code_of_their_own(self, gate: Gate) -> None:
        called: list[str] = []
        clerk: Agent[Any] = Agent(name="clerk")
        with pytest.raises(UsageError, match=r"hand-off 'transfer_to_clerk' of desk runs code"):
            guard(Agent(name="desk", handoffs=[handoff(clerk, on_handoff=lambda ctx: called.append("x"))]), gate)

    def test_other_kinds_of_agents(self, gate: Gate) -> None:
        from agents.sandbox import SandboxAgent

        for other in (SandboxAgent(name="box"), "desk"):
            with pytest.raises(UsageError, match="cannot see what a"):
                guard(other, gate)

    def test_two_contracts_cannot_share_an_agent(self, gate: Gate, ledger: Ledger) -> None:
        agent: Agent[Any] = Agent(name="desk")
        assert guard(agent, gate) is agent
        assert guard(agent, gate) is agent
        with pytest.raises(UsageError, match="another contract"):
            guard(agent, Gate(Contract.loads(CONTRACT.replace("50.00", "51.00")), ledger))


# -- hand-offs with code of their own ---------------------------------------------------------------------------------

WITH_HAND_OFF = CONTRACT.replace(
    "tools:\n", "tools:\n  shop.fetch_clerk: {name: transfer_to_clerk, effect: write, returns: string}\n", 1
).replace("tools: [shop.find_order,", "tools: [shop.fetch_clerk, shop.find_order,", 1)


class TestHandOffsWithCode:
    """Their code passes the gate as the tool of that name."""

    def pair(self, script: Script, shop: Shop, did: list[str], *, fails: bool = False) -> Agent[Any]:
        def fetched(context: Any) -> None:
            did.append("fetched")
            if fails:
                raise RuntimeError("nobody is there")

        clerk: Agent[Any] = Agent(name="clerk", model=model(script), tools=tools(shop.afunctions()))
        return Agent(name="desk", model=model(script), handoffs=[handoff(clerk, on_handoff=fetched)])

    async def last(self, agent: Agent[Any], gate: Gate) -> str:
        with gate.run(id="r", capability="refunds") as run, run.bind():
            return (await Runner.run(agent, "please")).last_agent.name

    async def test_an_allowed_one_runs_it_and_hands_over(self, ledger: Ledger, shop: Shop) -> None:
        gate, did = Gate(Contract.loads(WITH_HAND_OFF), ledger), list[str]()
        script = Script([("transfer_to_clerk", {})], [FIND], "Hello.")
        assert await self.last(guard(self.pair(script, shop, did), gate), gate) == "clerk"
        assert did == ["fetched"]
        assert [name for name, _ in shop.did] == ["find_order"]
        assert [e.body["tool"] for e in ledger.entries(kind="action")] == ["shop.fetch_clerk", "shop.find_order"]

    async def test_a_denied_one_does_neither_and_the_model_learns_why(self, ledger: Ledger, shop: Shop) -> None:
        law = WITH_HAND_OFF + (
            "  - {id: nobody-in, tools: [shop.fetch_clerk], then: deny, because: The clerk is not in today.}\n"
        )
        gate, did = Gate(Contract.loads(law), ledger), list[str]()
        script = Script([("transfer_to_clerk", {})], "Hello.")
        assert await self.last(guard(self.pair(script, shop, did), gate), gate) == "desk"
        assert did == []
        assert "The clerk is not in today" in str(script.seen[-1])

    async def test_one_whose_code_fails_is_in_doubt_and_the_word_stays(self, ledger: Ledger, shop: Shop) -> None:
        gate, did = Gate(Contract.loads(WITH_HAND_OFF), ledger), list[str]()
        script = Script([("transfer_to_clerk", {})], "Hello.")
        assert await self.last(guard(self.pair(script, shop, did, fails=True), gate), gate) == "desk"
        assert did == ["fetched"]
        assert [e.body["status"] for e in ledger.entries(kind="outcome")] == ["in_doubt"]

    async def test_in_shadow_its_code_does_not_run_and_the_word_goes_over(self, ledger: Ledger, shop: Shop) -> None:
        gate, did = (
            Gate(Contract.loads(WITH_HAND_OFF.replace("start: autonomous", "start: shadow")), ledger),
            list[str](),
        )
        script = Script([("transfer_to_clerk", {})], "Hello.")
        assert await self.last(guard(self.pair(script, shop, did), gate), gate) == "clerk"
        assert did == []

    async def test_outside_a_run_nothing_is_done(self, ledger: Ledger, shop: Shop) -> None:
        gate, did = Gate(Contract.loads(WITH_HAND_OFF), ledger), list[str]()
        agent = guard(self.pair(Script([("transfer_to_clerk", {})], "Hello."), shop, did), gate)
        assert (await Runner.run(agent, "please")).last_agent.name == "desk"
        assert did == []

    async def test_one_that_is_added_later_and_not_listed_ends_the_run(self, gate: Gate, shop: Shop) -> None:
        did: list[str] = []
        agent: Agent[Any] = guard(Agent(name="desk", model=model(Script([("transfer_to_clerk", {})], "Hello."))), gate)
        agent.handoffs.append(handoff(Agent[Any](name="clerk"), on_handoff=lambda context: did.append("fetched")))
        with pytest.raises(UsageError, match="runs code of its own"):
            await self.last(agent, gate)
        assert did == []


# -- replies ----------------------------------------------------------------------------------------------------------


class InTokens(ScriptedModel):
    """A model that streams character by character, and can be made to wait after some of it."""

    def __init__(self, respond: Any, *, after: str = "", go_on: asyncio.Event | None = None) -> None:
        super().__init__(respond)
        self.after, self.go_on = after, go_on

    async def tokens(self, text: str) -> AsyncIterator[str]:
        so_far = ""
        for token in text:
            yield token
            so_far += token
            if self.go_on is not None and so_far == self.after:
                await asyncio.wait_for(self.go_on.wait(), 20)


async def streamed(
    agent: Agent[Any], gate: Gate, at: Callable[[str], None] = lambda seen: None
) -> tuple[str, Any, str]:
    """What a watcher read as it came, the result, and everything that was in any event."""
    seen, everything = "", ""
    with gate.run(id="r", capability="refunds") as run, run.bind():
        result = Runner.run_streamed(agent, "please")
        async for event in result.stream_events():
            everything += repr(event)
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                seen += event.data.delta
                at(seen)
    return seen, result.final_output, everything


class TestStreams:
    async def test_what_may_not_be_told_is_nowhere_in_a_stream(self, careful: Gate, ledger: Ledger) -> None:
        agent = guard(Agent(name="desk", model=InTokens(Reacting(UNTRUE, HONEST, "unused"))), careful)
        seen, final, everything = await streamed(agent, careful)
        assert (seen, final) == (HONEST, HONEST)
        assert "refunded" not in everything

    async def test_a_reply_comes_out_sentence_by_sentence(self, careful: Gate) -> None:
        go_on = asyncio.Event()
        script = Script("I looked. It costs 5.00 EUR. Bye")
        agent = guard(Agent(name="desk", model=InTokens(script, after="I looked. ", go_on=go_on)), careful)
        seen, final, _ = await streamed(agent, careful, lambda s: go_on.set() if s == "I looked. " else None)
        assert seen == final == "I looked. It costs 5.00 EUR. Bye"

    async def test_where_nothing_is_held_back_tokens_come_out_as_they_come(self, gate: Gate) -> None:
        go_on = asyncio.Event()
        agent = guard(Agent(name="desk", model=InTokens(Script("I looked."), after="I", go_on=go_on)), gate)
        seen, final, _ = await streamed(agent, gate, lambda s: go_on.set() if s == "I" else None)
        assert seen == final == "I looked."

    async def test_what_was_on_the_screen_already_is_recorded(self, careful: Gate, ledger: Ledger) -> None:
        model = InTokens(Reacting("I looked. It was refunded. Bye.", HONEST, "unused"))
        seen, final, _ = await streamed(guard(Agent(name="desk", model=model), careful), careful)
        assert (seen, final) == (f"I looked. {HONEST}", HONEST)
        assert ("I looked. ", "ok") in said(ledger, careful.run(id="r"))

    async def test_who_finds_no_words_is_spoken_for(self, careful: Gate) -> None:
        seen, final, _ = await streamed(guard(Agent(name="desk", model=InTokens(Stubborn(UNTRUE))), careful), careful)
        assert (seen, final) == (HANDED_OVER, HANDED_OVER)

    async def test_words_beside_calls_are_held_back_too(self, careful: Gate, shop: Shop) -> None:
        class Talkative(Script):
            def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
                words = super().__call__(messages, tools)
                return {**words, "content": UNTRUE} if words.get("tool_calls") else words

        agent = guard(desk(Talkative([FIND], "Hello."), shop.afunctions()), careful)
        _, final, everything = await streamed(agent, careful)
        assert final == "Hello."
        assert "refunded" not in everything
        assert [name for name, _ in shop.did] == ["find_order"]


class TestReplies:
    @pytest.mark.parametrize("stop", ["stop_on_first_tool", {"stop_at_tool_names": ["shop_find_order"]}])
    async def test_a_tools_result_that_comes_out_is_a_reply(
        self, careful: Gate, shop: Shop, ledger: Ledger, stop: Any
    ) -> None:
        script = Script([FIND], "I looked it up.")
        agent = guard(desk(script, shop.afunctions(), tool_use_behavior=stop), careful)
        assert await talk(agent, careful) == "I looked it up."
        assert ["A-48213" in text for text, status in said(ledger, careful.run(id="r")) if status == "denied"] == [True]
        assert len(noticed(script.seen[-1])) == 1

    async def test_a_tools_result_may_come_out_and_a_refusal_never_does(self, gate: Gate, shop: Shop) -> None:
        frozen = ("shop_refund", {"order_no": "frozen", "amount": 20})
        script = Script([frozen], [REFUND], "unused")
        agent = guard(desk(script, shop.afunctions(), tool_use_behavior="stop_on_first_tool"), gate)
        assert "R-7" in await talk(agent, gate)

    async def test_a_model_that_a_run_puts_in_its_place_is_judged_at_the_end(self, careful: Gate) -> None:
        agent = guard(Agent(name="desk", model=model(Script(HONEST))), careful)
        other = RunConfig(model=model(Stubborn(UNTRUE)))
        with pytest.raises(OutputGuardrailTripwireTriggered):
            await talk(agent, careful, run_config=other)
        with careful.run(id="q", capability="refunds") as run, run.bind():
            told = await Runner.run(agent, "please", run_config=RunConfig(model=model(Stubborn(HONEST))))
        assert told.final_output == HONEST

    async def test_words_that_are_no_output_of_its_type_end_the_run(self, careful: Gate) -> None:
        from agents import ModelRefusalError

        class Answer(BaseModel):
            text: str

        good = Agent(name="desk", model=model(Script('{"text": "Hello."}')), output_type=Answer)
        assert (await talk(guard(good, careful), careful)).text == "Hello."
        bad = Agent(name="desk", model=model(Stubborn('{"text": "It was refunded."}')), output_type=Answer)
        with (
            careful.run(id="q", capability="refunds") as run,
            run.bind(),
            pytest.raises(ModelRefusalError, match="A person will look at it"),
        ):
            await Runner.run(guard(bad, careful), "please")

    async def test_an_agent_inside_a_tool_speaks_with_a_model_and_not_with_the_user(
        self, shop: Shop, ledger: Ledger
    ) -> None:
        contract = CAREFUL.replace("shop.fail", "helper").replace("args: {}", "args: {input: string}")
        gate = Gate(Contract.loads(contract), ledger)
        helper = Agent(name="helper", model=model(Script(UNTRUE)))
        script = Script([("helper", {"input": "help"})], [REFUND], "It was refunded.")
        agent = desk(script, shop.afunctions())
        agent.tools.append(helper.as_tool("helper", "Helps."))
        assert await talk(guard(agent, gate), gate) == "It was refunded."
        assert [text for text, status in said(ledger, gate.run(id="r")) if status == "denied"] == []

    async def test_agents_that_name_their_model_get_it_from_the_provider(self, careful: Gate) -> None:
        class Provider(ModelProvider):
            def get_model(self, model_name: str | None) -> Model:
                return model(Stubborn(f"I am {model_name}."))

        agent = guard(Agent(name="desk", model="small-1"), careful, provider=Provider())
        assert await talk(agent, careful) == "I am small-1."

    async def test_news_stand_in_every_question_of_a_turn(self, gate: Gate, shop: Shop) -> None:
        run = gate.run(id="r", capability="refunds")
        await run.acall("shop.refund", {"order_no": "7", "amount": 51}, shop.functions()["shop_refund"])
        (asked,) = gate.questions()
        gate.answer(asked.id, by="shop-lead", ruling="deny", because="not yet")
        await run.aheard("And?")
        script = Script([FIND], "No, not yet.")
        with run.bind():
            await Runner.run(guard(desk(script, shop.afunctions()), gate), "And?")
        assert [len(noticed(seen)) for seen in script.seen] == [1, 1]
        assert [seen[0] for seen in script.seen] == [{"role": "user", "content": noticed(script.seen[0])[0]}] * 2
