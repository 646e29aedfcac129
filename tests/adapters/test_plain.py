"""The adapter for plain Python."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from conformance import CAREFUL, CONTRACT, Conformance, Script, Shop, within

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.plain import (
    adispatch,
    areply,
    back,
    dispatch,
    gated,
    guard,
    hear,
    news,
    refuse_hosted,
    reply,
    tool_schemas,
)
from roadworthy.core.errors import UsageError
from roadworthy.examples.scripted.messages import Message, answer
from roadworthy.gate.run import Run, current_run


def run_of_talk() -> Run:
    run = current_run()
    assert run is not None
    return run


def blocking_talk(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    """A loop over an OpenAI-style chat model."""
    run = run_of_talk()
    messages: list[Message] = [*news(run), {"role": "user", "content": text}]
    while True:
        said = answer(script, messages, tool_schemas(gate.contract))
        messages.append(said)
        if said.get("tool_calls"):
            messages += [dispatch(run, call, shop.functions()) for call in said["tool_calls"]]
        elif (told := reply(run, said["content"], deliver=False)).back is None:
            return told.text
        else:
            messages.append(back(told))


def async_talk(gate: Gate, shop: Shop, script: Script, text: str) -> str:
    """The same, async, with async functions."""

    async def loop() -> str:
        run = run_of_talk()
        messages: list[Message] = [*news(run), {"role": "user", "content": text}]
        while True:
            said = answer(script, messages, tool_schemas(gate.contract))
            messages.append(said)
            if said.get("tool_calls"):
                messages += [await adispatch(run, call, shop.afunctions()) for call in said["tool_calls"]]
            elif (told := await areply(run, said["content"], deliver=False)).back is None:
                return told.text
            else:
                messages.append(back(told))

    return within(20, loop())


class TestBlocking(Conformance):
    talk = staticmethod(blocking_talk)


class TestAsync(Conformance):
    talk = staticmethod(async_talk)


@pytest.fixture
def gate() -> Gate:
    return Gate(Contract.loads(CONTRACT), Ledger.open(":memory:"))


@pytest.fixture
def shop() -> Shop:
    return Shop()


class TestGated:
    def test_a_function_keeps_its_signature_and_returns_its_result(self, gate: Gate, shop: Shop) -> None:
        tools = guard(shop.functions(), gate)
        refund = tools["shop_refund"]
        assert inspect.signature(refund) == inspect.signature(shop.functions()["shop_refund"])
        with gate.run(capability="refunds") as run, run.bind():
            assert refund("7", amount=20) == {"refund_no": "R-7"}
            assert tools["send_note"]("hello") == "sent"
        assert shop.did == [("refund", {"order_no": "7", "amount": 20}), ("notify", {"text": "hello"})]

    def test_a_refused_call_returns_the_text_for_the_model(self, gate: Gate, shop: Shop) -> None:
        refund = guard(shop.functions(), gate)["shop_refund"]
        with gate.run(capability="refunds") as run, run.bind():
            assert "This order is frozen" in refund("frozen", 20)
            assert "amount" in refund("7")
            assert "amuont" in refund("7", amuont=20)
            assert "named values" in refund("7", order_no="7", amount=20)
        assert shop.did == []

    def test_without_a_run_no_tool(self, gate: Gate, shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
        refund = guard(shop.functions(), gate)["shop_refund"]
        assert "belongs to no run" in refund("7", 20)
        assert shop.did == []
        assert "run.bind()" in caplog.text

    def test_a_run_under_another_contract_is_refused(self, gate: Gate, shop: Shop) -> None:
        other = Gate(Contract.loads(CONTRACT.replace("50.00", "51.00")), gate.ledger)
        with other.run(capability="refunds") as run, run.bind():
            assert "another contract" in guard(shop.functions(), gate)["shop_refund"]("7", 20)
        assert shop.did == []

    def test_a_name_of_its_own(self, gate: Gate, shop: Shop) -> None:
        @gated(gate, "shop.notify")
        def tell(text: str) -> str:
            shop.note("tell", text=text)
            return "told"

        with gate.run(capability="refunds") as run, run.bind():
            assert tell("hello") == "told"
        assert shop.did == [("tell", {"text": "hello"})]

    def test_named_arguments_of_any_name_are_arguments(self, gate: Gate, shop: Shop) -> None:
        @gated(gate, "shop.notify")
        def tell(**words: str) -> str:
            shop.note("tell", **words)
            return "told"

        with gate.run(capability="refunds") as run, run.bind():
            assert tell(text="hello") == "told"
        assert shop.did == [("tell", {"text": "hello"})]

    async def test_async_functions(self, gate: Gate, shop: Shop) -> None:
        tools = guard(list(shop.afunctions().values()), gate)
        refund = next(tool for tool in tools if tool.__name__ == "shop_refund")
        with gate.run(capability="refunds") as run, run.bind():
            assert await refund("7", 20) == {"refund_no": "R-7"}
            assert "One refund a talk is enough" in await refund("7", 20)
        assert len(shop.did) == 1


class TestDispatch:
    def test_calls_of_the_openai_library_are_objects(self, gate: Gate, shop: Shop) -> None:
        class Function:
            name = "shop_refund"
            arguments = '{"order_no": "7", "amount": 20}'

        class ToolCall:
            id = "call_1"
            function = Function()

        answered = dispatch(gate.run(capability="refunds"), ToolCall(), shop.functions())
        assert answered == {
            "role": "tool",
            "tool_call_id": "call_1",
            "name": "shop_refund",
            "content": '{"refund_no":"R-7"}',
        }

    def test_functions_go_by_the_names_of_the_contract_too(self, gate: Gate, shop: Shop) -> None:
        functions: Mapping[str, Callable[..., Any]] = {"shop.refund": shop.functions()["shop_refund"]}
        call = {"id": "1", "function": {"name": "shop_refund", "arguments": '{"order_no": "7", "amount": 20}'}}
        assert "R-7" in dispatch(gate.run(capability="refunds"), call, functions)["content"]

    async def test_the_agent_that_asks_is_recorded(self, gate: Gate, shop: Shop) -> None:
        run = gate.run(id="r", capability="refunds")
        call = {"id": "1", "function": {"name": "shop_find_order", "arguments": '{"order_no": "7"}'}}
        dispatch(run, call, shop.functions(), agent="clerk")
        await adispatch(run, call, shop.afunctions(), agent="payer")
        assert [e.body["agent"] for e in gate.ledger.entries(run="r", kind="action")] == ["clerk", "payer"]

    @pytest.mark.parametrize("arguments", ["[" * 100_000, '{"a":' * 100_000, "{", "9" * 5000])
    def test_arguments_that_nobody_can_read_are_refused(self, gate: Gate, shop: Shop, arguments: str) -> None:
        call = {"id": "1", "function": {"name": "shop_refund", "arguments": arguments}}
        answered = dispatch(gate.run(capability="refunds"), call, shop.functions())
        assert answered["content"] == "The arguments must be a JSON object with named values."

    def test_a_missing_function_runs_nothing(self, gate: Gate, shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
        call = {"id": "1", "function": {"name": "shop_refund", "arguments": '{"order_no": "7", "amount": 20}'}}
        run = gate.run(capability="refunds")
        assert "Nothing was done" in dispatch(run, call)["content"]
        assert "no function was given for shop.refund" in caplog.text


class TestTurns:
    def test_the_users_words_are_heard_and_news_come_before_them(self, gate: Gate, shop: Shop) -> None:
        run = gate.run(id="r", capability="refunds")
        assert hear(run, "51 euro back") == [{"role": "user", "content": "51 euro back"}]
        run.call("shop.refund", {"order_no": "7", "amount": 51}, shop.functions()["shop_refund"])
        (asked,) = gate.questions()
        gate.answer(asked.id, by="shop-lead", ruling="deny", because="not yet")
        first, second = hear(run, "And?")
        assert "not yet" in first["content"]
        assert second == {"role": "user", "content": "And?"}
        assert news(run) == []

    async def test_a_reply_is_told_or_goes_back(self, shop: Shop) -> None:
        gate = Gate(Contract.loads(CAREFUL), Ledger.open(":memory:"))
        run = gate.run(id="r", capability="refunds")
        assert reply(run, "Hello.").text == "Hello."
        assert (await areply(run, "Hello again.")).outcome.done == "executed"
        told = reply(run, "It was refunded.")
        assert told.text == ""
        assert back(told)["role"] == "user"
        assert "shop.refund was not carried out" in back(told)["content"]
        entries = list(gate.ledger.entries(run="r", kind="said"))
        assert [e.body.get("status", "ok") for e in entries] == ["ok", "ok", "denied"]


class TestHostedTools:
    @pytest.mark.parametrize(
        "tool",
        [
            {"type": "web_search_preview"},
            {"type": "web_search_20250305", "name": "web_search"},
            {"google_search": {}},
            "code_interpreter",
        ],
        ids=str,
    )
    def test_they_are_refused_unless_the_contract_accepts_them(self, gate: Gate, tool: Any) -> None:
        name = tool if isinstance(tool, str) else tool.get("name") or tool.get("type") or next(iter(tool))
        with pytest.raises(UsageError, match=r"runs at the model's provider.*hosted_tools: refuse"):
            refuse_hosted(gate.contract, [*tool_schemas(gate.contract), tool])
        refuse_hosted(Contract.loads(f"{CONTRACT}hosted_tools: [{name}]\n"), [tool])
        with pytest.raises(UsageError, match=r"hosted_tools: \[other\]"):
            refuse_hosted(Contract.loads(f"{CONTRACT}hosted_tools: [other]\n"), [tool])

    def test_functions_are_no_business_of_it(self, gate: Gate) -> None:
        refuse_hosted(gate.contract, [*tool_schemas(gate.contract), {"name": "f", "input_schema": {}}, print])


class TestSchemas:
    def schema(self, contract: Contract, name: str) -> dict[str, Any]:
        return next(s["function"] for s in tool_schemas(contract) if s["function"]["name"] == name)

    def test_the_models_names_and_what_is_offered_beside_them(self, gate: Gate) -> None:
        names = [s["function"]["name"] for s in tool_schemas(gate.contract, "refunds")]
        assert names == ["shop_find_order", "shop_refund", "send_note", "shop_fail", "ask_user", "escalate"]

    def test_arguments_are_json_schema(self, gate: Gate) -> None:
        assert self.schema(gate.contract, "shop_refund")["parameters"] == {
            "type": "object",
            "properties": {
                "order_no": {"type": "string"},
                "amount": {"type": "number", "minimum": 0.01, "maximum": 500, "description": "in EUR"},
                "note": {"type": "string"},
            },
            "required": ["order_no", "amount"],
            "additionalProperties": False,
        }

    def test_only_the_tools_of_the_capabilities(self) -> None:
        text = CONTRACT.replace("tools: [shop.find_order, shop.refund, shop.notify, shop.fail]", "tools: [shop.refund]")
        more = text.replace(
            "rules:",
            "  letters:\n    means: Something is to be said.\n    tools: [shop.notify]\n"
            "    autonomy: {start: autonomous, ceiling: autonomous, approver: shop-lead}\n"
            "    success: [{id: said, check: count.shop.notify == 1}]\n"
            "common: [shop.find_order, shop.fail]\nrules:",
        )
        contract = Contract.loads(more)
        names = [s["function"]["name"] for s in tool_schemas(contract, ["letters"])]
        assert names == ["shop_find_order", "send_note", "shop_fail", "ask_user", "escalate"]

    def test_an_unknown_capability_is_named(self, gate: Gate) -> None:
        with pytest.raises(UsageError, match=r"no capability 'refnds'; it has refunds"):
            tool_schemas(gate.contract, "refnds")

    def test_every_type_of_a_contract_has_a_schema(self) -> None:
        everything = CONTRACT.replace(
            "shop.fail: {effect: read, args: {}, returns: string}",
            """shop.fail:
    effect: read
    args:
      kind: {type: string, enum: [a, b], description: What it is.}
      many: {type: array, items: {type: integer, minimum: 1}, maxItems: 3, uniqueItems: true}
      deep: {type: object, properties: {on: {type: string, format: date}, sure: {type: boolean, optional: true}}}
      none: {type: string, nullable: true, pattern: "[A-Z]+"}
      map: {type: object, additionalProperties: {type: number}}
      rest: {type: integer, default: 5}
    returns: string""",
        )
        parameters = self.schema(Contract.loads(everything), "shop_fail")["parameters"]
        properties = cast("dict[str, Any]", parameters["properties"])
        assert properties["kind"] == {"type": "string", "enum": ["a", "b"], "description": "What it is."}
        assert properties["many"] == {
            "type": "array",
            "items": {"type": "integer", "minimum": 1},
            "maxItems": 3,
            "uniqueItems": True,
        }
        assert properties["deep"] == {
            "type": "object",
            "properties": {"on": {"type": "string", "format": "date"}, "sure": {"type": "boolean"}},
            "required": ["on"],
            "additionalProperties": False,
        }
        assert properties["none"] == {"anyOf": [{"type": "string", "pattern": "^(?:[A-Z]+)$"}, {"type": "null"}]}
        assert properties["map"]["additionalProperties"] == {"type": "number"}
        assert properties["rest"] == {"type": "integer", "default": 5}
        assert parameters["required"] == ["kind", "many", "deep", "none", "map"]
