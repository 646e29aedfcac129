"""What the user of a crew or an agent in CrewAI is told, and what agents make of each other's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from conformance import (
    CAREFUL,
    CONTRACT,
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
    within,
)
from crewai import Agent, Crew, Task
from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.llm_events import LLMCallType, LLMStreamChunkEvent
from crewai.tools import tool as crew_tool  # pyright: ignore[reportUnknownVariableType]  # overloads without types

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.crewai import guard
from roadworthy.adapters.replies import HANDED_OVER
from roadworthy.core.errors import UsageError
from roadworthy.examples.scripted.crewai import ScriptedLLM, model, quiet

tool = cast("Any", crew_tool)


def agent(llm: Any, shop: Shop, role: str = "desk", **more: Any) -> Any:
    own = [tool(f) for f in shop.functions().values()]
    return Agent(role=role, goal="help", backstory="kind", llm=llm, tools=own, **more)


def crew(*agents: Any, text: str = "please", **more: Any) -> Any:
    tasks = [Task(description=text, expected_output="an answer", agent=each) for each in agents]
    return Crew(agents=[*agents], tasks=tasks, tracing=False, **more)


def says_untrue(output: Any) -> tuple[bool, str]:
    """A guardrail that lets everything pass, and makes something else of it."""
    del output
    return True, UNTRUE


@pytest.fixture
def gate(ledger: Ledger) -> Gate:
    return Gate(Contract.loads(CAREFUL), ledger)


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    with quiet():
        yield


def kickoff(thing: Any, gate: Gate, **inputs: Any) -> Any:
    with gate.run(id="r", capability="refunds") as run, run.bind():
        return thing.kickoff(**inputs)


def denied(ledger: Ledger) -> list[str]:
    return [e.body["text"] for e in ledger.entries(run="r", kind="said") if e.body.get("status") == "denied"]


class TestCrews:
    def test_only_what_the_crew_comes_to_is_a_reply(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        first, second = Script(UNTRUE), Reacting("It was refunded!", HONEST, "unused")
        result = kickoff(guard(crew(agent(model(first), shop, "scout"), agent(model(second), shop)), gate), gate)
        assert result.raw == HONEST
        assert result.tasks_output[-1].raw == HONEST
        assert denied(ledger) == ["It was refunded!"]
        assert len(first.seen) == 1

    @pytest.mark.parametrize("use_async", [False, True])
    def test_what_one_agent_hands_on_to_another_vouches_for_nothing(
        self, shop: Shop, ledger: Ledger, use_async: bool
    ) -> None:
        known = "      order_no: {type: string, origin: [user, trusted]}\n"
        gate = Gate(Contract.loads(CONTRACT.replace("      order_no: string\n", known)), ledger)
        call: Call = ("shop_refund", {"order_no": "B-90210", "amount": 20})
        first, second = Script("Refund order B-90210."), Script([call], "A person looks at it.")
        made = guard(crew(agent(model(first), shop, "scout"), agent(model(second), shop)), gate)
        with gate.run(id="r", capability="refunds") as run, run.bind():
            run.heard("my money back, please")
            if use_async:

                async def go() -> str:
                    return str((await made.akickoff()).raw)

                within(20, go())
            else:
                made.kickoff()
        assert shop.did == []
        (read,) = ledger.entries(run="r", kind="observation")
        assert (read.body["read"], read.body["trust"]) == ("Refund order B-90210.", "agent")
        (verdict,) = ledger.entries(run="r", kind="verdict")
        assert verdict.body["ruling"] == "ask"
        assert verdict.body["origins"] == {"order_no": ["agent"]}

    def test_a_crew_inside_a_tool_speaks_with_a_model_and_not_with_the_user(self, shop: Shop, ledger: Ledger) -> None:
        contract = CAREFUL.replace("shop.fail", "delegate_work_to_coworker").replace(
            "args: {}", "args: {task: string, context: string, coworker: string}"
        )
        gate = Gate(Contract.loads(contract), ledger)
        args = {"task": "help", "context": "none", "coworker": "helper"}
        first = agent(model(Script([("delegate_work_to_coworker", args)], [REFUND], "It was refunded.")), shop)
        first.allow_delegation = True
        made = crew(first)
        made.agents.append(agent(model(Script(UNTRUE)), shop, "helper"))
        assert kickoff(guard(made, gate), gate).raw == "It was refunded."
        assert denied(ledger) == []

    def test_what_a_guardrail_made_of_a_reply_is_looked_at_last(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        made = crew(agent(model(Script(HONEST)), shop))
        made.tasks[-1]._guardrail = says_untrue
        result = kickoff(guard(made, gate), gate)
        assert (result.raw, result.tasks_output[-1].raw) == (HANDED_OVER, HANDED_OVER)
        assert gate.run(id="r").status == "escalated"

    def test_a_timeout_of_an_agent_keeps_its_replies_judged(self, gate: Gate, shop: Shop, ledger: Ledger) -> None:
        made = crew(agent(model(Reacting(UNTRUE, HONEST, "unused")), shop, max_execution_time=20))
        assert kickoff(guard(made, gate), gate).raw == HONEST
        assert denied(ledger) == [UNTRUE]

    def test_only_the_first_task_brings_the_news(self, shop: Shop, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(CONTRACT), ledger)
        run = gate.run(id="r", capability="refunds")
        run.call("shop.refund", {"order_no": "7", "amount": 51}, shop.functions()["shop_refund"])
        (asked,) = gate.questions()
        gate.answer(asked.id, by="shop-lead", ruling="deny", because="not yet")
        run.heard("And?")
        first, second = Script("I see."), Script("No, not yet.")
        kickoff(guard(crew(agent(model(first), shop, "scout"), agent(model(second), shop)), gate), gate)
        assert [len(noticed(script.seen[0])) for script in (first, second)] == [1, 0]


class InTokens(ScriptedLLM):
    """A model that streams what it says, as those of providers do: by events."""

    def call(self, messages: Any, tools: Any = None, *args: Any, **kwargs: Any) -> Any:
        said = super().call(messages, tools, *args, **kwargs)
        for token in said if isinstance(said, str) else ():
            crewai_event_bus.emit(
                self,
                LLMStreamChunkEvent(
                    chunk=token,
                    call_type=LLMCallType.LLM_CALL,
                    call_id="c",
                    from_task=kwargs.get("from_task"),
                    from_agent=kwargs.get("from_agent"),
                ),
            )
        return said


class TestStreams:
    def made(self, script: Any, gate: Gate, shop: Shop) -> Any:
        return guard(crew(agent(InTokens(model="scripted", respond=script), shop), stream=True), gate)

    @pytest.mark.parametrize(
        ("script", "reply", "held"),
        [(Reacting(UNTRUE, HONEST, "unused"), HONEST, 1), (Stubborn(UNTRUE), HANDED_OVER, 3)],
        ids=["once", "for good"],
    )
    def test_a_reply_goes_out_whole_once_it_was_judged(
        self, gate: Gate, shop: Shop, ledger: Ledger, script: Any, reply: str, held: int
    ) -> None:
        with gate.run(id="r", capability="refunds") as run, run.bind():
            streaming = self.made(script, gate, shop).kickoff()
        chunks = [chunk.content for chunk in streaming]  # the run is that of the kickoff
        assert chunks == [reply]
        assert streaming.result.raw == reply
        assert denied(ledger) == [UNTRUE] * held

    @pytest.mark.parametrize("method", ["kickoff_async", "akickoff"])
    async def test_async_streams_too(self, gate: Gate, shop: Shop, ledger: Ledger, method: str) -> None:
        made = self.made(Reacting(UNTRUE, HONEST, "unused"), gate, shop)
        with gate.run(id="r", capability="refunds") as run, run.bind():
            streaming = await getattr(made, method)()
        assert [chunk.content async for chunk in streaming] == [HONEST]
        assert streaming.result.raw == HONEST
        assert denied(ledger) == [UNTRUE]

    def test_where_nothing_is_held_back_tokens_go_out(self, shop: Shop, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(CONTRACT), ledger)
        with gate.run(id="r", capability="refunds") as run, run.bind():
            streaming = self.made(Script([REFUND], "Done."), gate, shop).kickoff()
        assert [chunk.content for chunk in streaming] == [*"Done."]
        assert [name for name, _ in shop.did] == ["refund"]


class TestTalks:
    def test_a_guardrail_of_the_agent_has_no_last_word(self, gate: Gate, shop: Shop) -> None:
        desk = agent(model(Script(HONEST)), shop, guardrail=says_untrue)
        assert kickoff(guard(desk, gate), gate, messages="please").raw == HANDED_OVER

    def test_a_conversation_that_is_given_as_messages_gets_the_news_first(self, shop: Shop, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(CONTRACT), ledger)
        run = gate.run(id="r", capability="refunds")
        run.call("shop.refund", {"order_no": "7", "amount": 51}, shop.functions()["shop_refund"])
        (asked,) = gate.questions()
        gate.answer(asked.id, by="shop-lead", ruling="deny", because="not yet")
        run.heard("And?")
        script = Script("No, not yet.")
        talk: list[Message] = [
            {"role": "user", "content": "51 euro back"},
            {"role": "assistant", "content": "A person looks at it."},
            {"role": "user", "content": "And?"},
        ]

        class Last(Script):
            def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
                script.seen.append(messages)
                return {"role": "assistant", "content": "No, not yet."}

        kickoff(guard(agent(model(Last()), shop), gate), gate, messages=talk)
        assert len(noticed(script.seen[0])) == 1
        assert script.seen[0][-1]["content"] == "And?"


class TestHostedTools:
    def llm(self) -> Any:
        made = model(Script("Done."))
        made.additional_params = {"tools": [{"type": "web_search"}]}
        return made

    def test_those_of_a_model_are_refused(self, gate: Gate, shop: Shop) -> None:
        with pytest.raises(UsageError, match="'web_search' runs at the model's provider"):
            guard(agent(self.llm(), shop), gate)

    def test_those_that_the_contract_accepts_may_be_offered(self, shop: Shop, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(f"{CONTRACT}hosted_tools: [web_search]\n"), ledger)
        assert kickoff(guard(agent(self.llm(), shop), gate), gate, messages="please").raw == "Done."
