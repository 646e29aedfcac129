"""What OpenTelemetry is told of a run: which spans there are, what stands in them, and what never does."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from roadworthy import Contract, Gate, Ledger, Suspended
from roadworthy.core.errors import LedgerError
from roadworthy.gate import passage
from roadworthy.gate.carry import NotDone

from .board import CONTRACT as BOARD
from .board import Office as Board
from .conftest import Calls, Desk
from .office import Office, law

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
Real = Callable[..., Calls]


class Collector:
    """The spans that have ended."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (found,) = self.named(name)
        return found

    def calls(self, tool: str) -> list[ReadableSpan]:
        return self.named(f"execute_tool {tool}")


def listen(monkeypatch: pytest.MonkeyPatch, provider: TracerProvider) -> Collector:
    """As `trace.set_tracer_provider`, which holds for the rest of a process."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return Collector(exporter)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Collector:
    monkeypatch.delenv(CONTENT, raising=False)
    return listen(monkeypatch, TracerProvider(shutdown_on_exit=False))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Callable[..., Office]]:
    opened: list[Office] = []

    def open_it(ask: str = "role: lead", *rules: str, **kwargs: Any) -> Office:
        opened.append(Office(tmp_path, law(ask, *rules, **kwargs)))
        return opened[-1]

    yield open_it
    for one in opened:
        one.open.close()


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def name_of(span: ReadableSpan) -> str:
    """As entries name spans."""
    assert span.context is not None
    return f"{span.context.trace_id:032x}-{span.context.span_id:016x}"


def is_under(child: ReadableSpan, parent: ReadableSpan) -> bool:
    assert parent.context is not None
    return child.parent is not None and child.parent.span_id == parent.context.span_id


def links_of(span: ReadableSpan) -> list[str]:
    return [f"{link.context.trace_id:032x}-{link.context.span_id:016x}" for link in span.links]


# nobody listens -------------------------------------------------------------------------------------------------------


def test_without_a_provider_no_entry_names_a_span(real: Real, ledger: Ledger) -> None:
    calls = real().ready()
    with calls.run:
        calls.refund()
    assert all("trace" not in entry.body for entry in ledger.entries())


def test_a_thread_that_is_importing_it_disturbs_no_other(
    real: Real, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = ModuleType("opentelemetry.trace")  # as other threads see it until its last line has run
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", half)
    calls = real().ready()
    with calls.run:
        assert calls.refund().status == "held"
    assert all("trace" not in entry.body for entry in ledger.entries())


def test_a_program_that_does_not_use_opentelemetry_does_not_load_it() -> None:
    code = f"""
import sys
from roadworthy import Contract, Gate, Ledger
contract = Contract.load({str(Path(__file__).with_name("desk.yaml"))!r})
with Ledger.open() as ledger, Gate(contract, ledger).run(principal="bot", capability="chat") as run:
    assert run.call("status_page", {{}}, lambda: "fine").ok
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_spans_that_are_not_sampled_are_named_nowhere(
    real: Real, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = listen(monkeypatch, TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False))
    calls = real()
    with calls.run:
        assert calls("status_page").ok
    assert not found.all()
    assert all("trace" not in entry.body for entry in ledger.entries())


def test_a_call_says_which_agent_asked_where_there_are_several(real: Real, spans: Collector) -> None:
    calls = real()
    with calls.run:
        calls.run.call("status_page", {}, calls.desk["status_page"], agent="triage")
        calls("status_page")
    first, second = (told(span) for span in spans.all() if span.name == "execute_tool status_page")
    assert (first["gen_ai.agent.name"], first["roadworthy.agent"]) == ("triage", "desk")
    assert second["gen_ai.agent.name"] == "desk"
    assert "roadworthy.agent" not in second


# what there is --------------------------------------------------------------------------------------------------------


def test_a_run_and_its_calls_are_spans_by_the_conventions(
    real: Real, ledger: Ledger, contract: Contract, spans: Collector
) -> None:
    calls = real(id="ticket-7")
    with calls.run:
        calls.run.call("find_customer", {"email": "ada@example.com"}, calls.desk["find_customer"], call_id="call_9")
    drive, call = spans.one("invoke_agent desk"), spans.one("execute_tool find_customer")
    assert told(drive) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "desk",
        "gen_ai.agent.version": "1",
        "gen_ai.conversation.id": "ticket-7",
        "roadworthy.contract": contract.digest,
        "roadworthy.world": "production",
        "roadworthy.enforce": True,
        "roadworthy.principal": "bot",
        "roadworthy.run_status": "open",
    }
    (action,) = ledger.entries(kind="action")
    assert told(call) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.agent.name": "desk",
        "gen_ai.agent.version": "1",
        "gen_ai.conversation.id": "ticket-7",
        "gen_ai.tool.name": "find_customer",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "call_9",
        "roadworthy.action": action.body["id"],
        "roadworthy.capability": "money_back",
        "roadworthy.contract": contract.digest,
        "roadworthy.world": "production",
        "roadworthy.enforce": True,
        "roadworthy.seq": action.seq,
        "roadworthy.ruling": "allow",
        "roadworthy.level": "approval",
        "roadworthy.status": "ok",
        "roadworthy.done": "executed",
    }
    assert is_under(call, drive)
    assert call.kind is drive.kind is SpanKind.INTERNAL
    assert call.status.status_code is StatusCode.UNSET
    assert action.body["trace"] == name_of(call)


def test_each_call_has_a_span_and_each_entry_names_its_own(real: Real, ledger: Ledger, spans: Collector) -> None:
    calls = real().ready()
    with calls.run:
        calls("status_page")
        calls.refund("10.00")
        calls("mail", to="eve@example.com", body="hello")
        calls("nonsense", x=1)
    by_action = {told(span)["roadworthy.action"]: name_of(span) for span in spans.all() if "execute" in span.name}
    named = {entry.body["id"]: entry.body["trace"] for entry in ledger.entries(kind="action")}
    assert by_action == named
    assert len(named) == 7


def test_a_tool_of_no_contract_is_not_named(real: Real, spans: Collector) -> None:
    real()("my card is 4111 1111 1111 1111")
    found = spans.one("execute_tool")
    assert "gen_ai.tool.name" not in told(found)
    assert told(found)["roadworthy.codes"] == ("unknown_tool",)
    assert not any("4111" in str(value) for value in told(found).values())


# who is under whom ----------------------------------------------------------------------------------------------------


def _at_work(tracer: trace.Tracer) -> str:
    with tracer.start_as_current_span("work"):
        return "all is well"


def test_what_a_tool_does_is_under_its_call_and_the_call_under_the_application(real: Real, spans: Collector) -> None:
    tracer = trace.get_tracer_provider().get_tracer("app")
    calls = real()
    calls.desk.answers["status_page"] = lambda: _at_work(tracer)
    with tracer.start_as_current_span("request"):
        calls("status_page")
    request, call, work = spans.one("request"), spans.one("execute_tool status_page"), spans.one("work")
    assert is_under(work, call)
    assert is_under(call, request)


def test_a_tool_that_is_given_a_thread_for_its_timeout_is_under_its_call(real: Real, spans: Collector) -> None:
    tracer = trace.get_tracer_provider().get_tracer("app")
    calls = real().ready()
    calls.run.gate.set_level("money_back", "autonomous", because="it does well", by="care-lead")
    calls = real().ready()
    threads: list[threading.Thread] = []

    def refund(**_: Any) -> dict[str, str]:
        threads.append(threading.current_thread())
        _at_work(tracer)
        return {"refund_no": "R1"}

    calls.desk.answers["refund"] = refund
    assert calls.refund().ok
    assert threads != [threading.current_thread()]
    assert is_under(spans.one("work"), spans.one("execute_tool refund"))


async def test_async_calls_side_by_side_each_have_their_own(real: Real, spans: Collector) -> None:
    tracer = trace.get_tracer_provider().get_tracer("app")
    calls = real()
    both = asyncio.Barrier(2)

    async def work(email: str) -> dict[str, str]:
        await both.wait()
        with tracer.start_as_current_span(email):
            await both.wait()
        return {"contact_id": "C-001", "email": email}

    async with calls.run:
        await asyncio.gather(
            calls.run.acall("find_customer", {"email": "a@example.com"}, work),
            calls.run.acall("find_customer", {"email": "b@example.com"}, work),
        )
    first, second = spans.calls("find_customer")
    a, b = spans.one("a@example.com"), spans.one("b@example.com")
    assert {is_under(a, first), is_under(a, second)} == {True, False}
    assert is_under(b, second if is_under(a, first) else first)
    drive = spans.one("invoke_agent desk")
    assert is_under(first, drive)
    assert is_under(second, drive)


def test_a_call_from_a_thread_that_knows_of_no_span_is_under_its_run(real: Real, spans: Collector) -> None:
    calls = real()
    with calls.run:
        thread = threading.Thread(target=calls, args=("status_page",))
        thread.start()
        thread.join()
    assert is_under(spans.one("execute_tool status_page"), spans.one("invoke_agent desk"))


def test_one_block_within_another_is_one_drive(real: Real, spans: Collector) -> None:
    calls = real(id="r")
    with calls.run, calls.run.gate.run(id="r", principal="bot") as again:
        again.call("status_page", {}, calls.desk["status_page"])
    assert is_under(spans.one("execute_tool status_page"), spans.one("invoke_agent desk"))
    with calls.run:
        pass
    assert len(spans.named("invoke_agent desk")) == 2


def test_a_run_within_another_is_under_it(real: Real, spans: Collector) -> None:
    outer, inner = real(id="outer"), real(id="inner")
    with outer.run, inner.run:
        inner("status_page")
    first, second = spans.named("invoke_agent desk")
    assert told(first)["gen_ai.conversation.id"] == "inner"
    assert is_under(first, second)
    assert is_under(spans.one("execute_tool status_page"), first)


def test_nothing_is_left_behind(real: Real, spans: Collector) -> None:
    calls = real()
    with calls.run:
        calls("status_page")
        assert trace.get_current_span().get_span_context().is_valid
    assert not trace.get_current_span().get_span_context().is_valid
    calls("status_page")
    assert not trace.get_current_span().get_span_context().is_valid
    assert spans.calls("status_page")[-1].parent is None


def test_a_stream_may_be_finished_by_somebody_else(
    real: Real, spans: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    calls = real()

    async def stream() -> AsyncGenerator[str, None]:
        async with calls.run:
            yield calls("status_page").value
            yield "never"

    async def first() -> AsyncGenerator[str, None]:
        made = stream()
        await anext(made)
        return made

    async def both() -> None:
        made = await asyncio.create_task(first())
        await asyncio.create_task(made.aclose())

    asyncio.run(both())
    assert is_under(spans.one("execute_tool status_page"), spans.one("invoke_agent desk"))
    assert not caplog.records


# how calls end --------------------------------------------------------------------------------------------------------


def test_a_denied_call_is_no_error(real: Real, spans: Collector) -> None:
    calls = real().ready()
    calls("mail", to="eve@example.com", body="hello")
    found = spans.one("execute_tool mail")
    assert (told(found)["roadworthy.ruling"], told(found)["roadworthy.rule"]) == ("deny", "to-the-customer")
    assert (told(found)["roadworthy.status"], told(found)["roadworthy.done"]) == ("denied", "blocked")
    assert found.status.status_code is StatusCode.UNSET
    assert "error.type" not in told(found)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (NotDone("4111 1111 1111 1111"), "failed", "NotDone"),
        (KeyError("4111 1111 1111 1111"), "failed", "KeyError"),
        (TimeoutError("4111 1111 1111 1111"), "failed", "timed_out"),
    ],
)
def test_a_tool_that_fails_is_an_error_and_only_its_kind_is_told(
    real: Real, spans: Collector, error: Exception, status: str, kind: str
) -> None:
    calls = real()
    calls.desk.answers["status_page"] = error
    assert calls("status_page").status == status
    found = spans.one("execute_tool status_page")
    assert (found.status.status_code, found.status.description) == (StatusCode.ERROR, None)
    assert told(found)["error.type"] == kind
    assert not any("4111" in str(value) for value in told(found).values())
    assert not found.events


def test_a_write_in_doubt_is_an_error(real: Real, spans: Collector) -> None:
    calls = real().ready()
    calls.run.gate.set_level("money_back", "autonomous", because="it does well", by="care-lead")
    calls = real().ready()
    calls.desk.answers["refund"] = OSError("broken pipe")
    assert calls.refund().status == "in_doubt"
    found = spans.one("execute_tool refund")
    assert (told(found)["roadworthy.status"], told(found)["error.type"]) == ("in_doubt", "OSError")


def test_a_tool_that_is_broken_off_ends_its_span(real: Real, spans: Collector) -> None:
    calls = real()
    calls.desk.answers["status_page"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        calls("status_page")
    assert told(spans.one("execute_tool status_page"))["error.type"] == "KeyboardInterrupt"
    assert not trace.get_current_span().get_span_context().is_valid


def test_an_error_of_the_agent_is_one_of_the_run(real: Real, spans: Collector) -> None:
    def agent() -> None:
        with real().run:
            raise LookupError("4111 1111 1111 1111")

    with pytest.raises(LookupError):
        agent()
    found = spans.one("invoke_agent desk")
    assert told(found)["error.type"] == "LookupError"
    assert found.status.status_code is StatusCode.ERROR
    assert not found.events


def test_a_call_that_cannot_be_written_is_an_error(
    real: Real, ledger: Ledger, spans: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = real()

    def full(*_: Any) -> Any:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(ledger, "append", full)
    assert calls("status_page").status == "denied"
    found = told(spans.one("execute_tool status_page"))
    assert (found["error.type"], found["roadworthy.status"]) == ("LedgerError", "denied")
    assert found["roadworthy.ruling"] == "allow"  # it was decided, and then could not be written


def test_a_call_that_cannot_be_judged_is_an_error_and_has_no_ruling(
    real: Real, spans: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(passage, "decide", broken)
    assert real()("status_page").status == "denied"
    found = told(spans.one("execute_tool status_page"))
    assert (found["error.type"], found["roadworthy.done"]) == ("ZeroDivisionError", "blocked")
    assert "roadworthy.ruling" not in found


# what is told ---------------------------------------------------------------------------------------------------------


def everything(spans: Collector) -> str:
    return "\n".join(span.to_json() for span in spans.all())


def test_what_was_said_and_returned_is_in_no_span(real: Real, spans: Collector) -> None:
    calls = real()
    with calls.run:
        calls.run.heard("it is about grace@example.net")
        calls("find_customer", email="grace@example.net")
        calls("search_accounts", name="Grace Hopper")
        calls.run.say("Hello Grace Hopper")
    assert len(spans.all()) == 3
    for secret in ("grace@example.net", "Hopper", "ada@example.com", "C-001"):
        assert secret not in everything(spans)


@pytest.mark.parametrize("switch", ["true", "SPAN_ONLY", "span_and_event"])
def test_arguments_and_results_are_told_where_the_application_wants_them(
    real: Real, spans: Collector, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    monkeypatch.setenv(CONTENT, switch)
    calls = real()
    calls("find_customer", email="ada@example.com")
    calls("status_page")
    found = told(spans.one("execute_tool find_customer"))
    assert found["gen_ai.tool.call.arguments"] == '{"email":"ada@example.com"}'
    assert found["gen_ai.tool.call.result"] == '{"contact_id":"C-001","email":"ada@example.com"}'
    assert told(spans.one("execute_tool status_page"))["gen_ai.tool.call.result"] == "all is well"


def test_what_the_model_may_not_see_is_told_in_no_case(
    real: Real, spans: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONTENT, "true")
    calls = real().ready()
    calls.desk.answers["find_customer"] = {"contact_id": "C-002", "email": "eve@example.com"}
    assert calls("find_customer", email="ada@example.com").status == "denied"
    assert "C-002" not in everything(spans)
    assert "eve@example.com" not in everything(spans)


# held, resumed, taken back --------------------------------------------------------------------------------------------


def test_a_call_that_people_approve_links_to_the_one_that_was_held(
    office: Callable[..., Office], spans: Collector
) -> None:
    at = office()
    run = at.run()
    at.refund(run)
    held = spans.one("execute_tool refund")
    assert (told(held)["roadworthy.ruling"], told(held)["roadworthy.status"]) == ("ask", "held")
    at.answer("ada")
    run.heard("and now?")
    assert at.till.paid == [("7", "250")]
    _, carried = spans.calls("refund")
    assert links_of(carried) == [name_of(held)]
    assert told(carried)["roadworthy.done"] == "executed"
    assert told(carried)["roadworthy.action"] == told(held)["roadworthy.action"]


def test_the_link_is_found_in_another_process(office: Callable[..., Office], spans: Collector) -> None:
    at = office()
    at.refund(at.run())
    at.answer("ada")
    assert at.elsewhere().settle("r") == 1
    held, carried = spans.calls("refund")
    assert links_of(carried) == [name_of(held)]


def test_a_call_that_uses_the_approval_of_another_links_to_it(office: Callable[..., Office], spans: Collector) -> None:
    at = office()
    run = at.run()
    at.refund(run)
    at.answer("ada")
    assert at.refund(run).done == "executed"
    held, carried = spans.calls("refund")
    assert links_of(carried) == [name_of(held)]


def test_what_people_refuse_has_no_span_of_its_own(office: Callable[..., Office], spans: Collector) -> None:
    at = office()
    run = at.run()
    at.refund(run)
    at.answer("ada", "deny", because="No.")
    run.heard("and now?")
    assert len(spans.calls("refund")) == 1


def test_a_run_that_is_driven_again_tells_only_of_what_is_done(office: Callable[..., Office], spans: Collector) -> None:
    at = office("role: lead, meanwhile: suspend")
    run = at.run(suspendable=True)

    def job() -> None:
        with run:
            run.call("find", {"no": "7"}, at.till.find)
            at.refund(run)

    with pytest.raises(Suspended):
        job()
    held = spans.one("execute_tool refund")
    first = spans.one("invoke_agent refund-bot")
    assert told(held)["roadworthy.status"] == "held"
    assert (told(first)["roadworthy.run_status"], first.status.status_code) == ("held", StatusCode.UNSET)
    at.answer("ada")
    with at.elsewhere().resume("r") as again:
        assert again.call("find", {"no": "7"}, at.till.find).ok
        assert at.refund(again).ok
    assert len(spans.calls("find")) == 1
    assert [links_of(span) for span in spans.calls("refund")] == [[], [name_of(held)]]


def test_what_the_gate_looks_up_and_takes_back_are_spans_that_say_why(tmp_path: Path, spans: Collector) -> None:
    board = Board(tmp_path / "world.db")
    with Ledger.open(tmp_path / "runs.db") as ledger:
        gate = Gate(Contract.load(BOARD), ledger, tools=board.tools)
        with gate.run(id="r", principal="bot", capability="office") as run:
            assert run.call("board.write", {"place": "door", "text": "Back soon."}, board.tools["board.write"]).ok
        gate.undo("r", by="ada", because="Wrong door.")
        by = {told(s)["roadworthy.action"]: told(s).get("roadworthy.by") for s in spans.all() if "execute" in s.name}
        named = {e.body["id"]: e.body.get("by") for e in ledger.entries(kind="action")}
    assert by == named
    assert sorted(str(why) for why in by.values()) == ["None", "before", "undo"]


# what goes wrong outside ----------------------------------------------------------------------------------------------


class Broken(SpanProcessor):
    """A collector that fails whenever it is asked."""

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        raise OSError("the collector is gone")

    def on_end(self, span: ReadableSpan) -> None:
        raise OSError("the collector is gone")


def test_a_broken_collector_stops_no_call(
    real: Real, desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Broken())
    listen(monkeypatch, provider)
    calls = real()
    with calls.run:
        assert calls("status_page").ok
    assert desk.names() == ["status_page"]
    assert "no span could be begun" in caplog.text
