"""A ledger's entries as spans: what a collector gets over the wire, what a file holds, and what neither ever does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import StatusCode

from roadworthy import Contract, Gate, Ledger
from roadworthy.audit import otlp
from roadworthy.cli.app import main
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Draft

LAW = """
roadworthy: 1
agent: refund-bot
version: "1"
goal: Give people their money back.
owner: {team: Care, accountable: lead}
types:
  Money: {type: decimal, unit: EUR, min: "0.01", max: "900.00"}
tools:
  find: {effect: read, args: {no: string}, returns: {no: string, name: string}}
  refund:
    effect: write
    args: {no: string, amount: Money}
    returns: string
    lookup: {tool: find, args: {no: args.no}, done_when: "result.no == args.no"}
capabilities:
  refunds:
    means: Somebody wants money back.
    tools: [find, refund]
    autonomy: {start: autonomous, ceiling: autonomous, approver: lead}
    success: [{id: one, check: count.refund <= 1}, {id: stays, signal: ticket_reopened, expect: false}]
rules:
  - {id: large, tools: [refund], when: args.amount > 100.00, then: ask, because: Large refunds are signed.}
  - {id: huge, tools: [refund], when: args.amount > 500.00, then: deny, because: That is too much.}
"""
SECRETS = ("Hopper", "INV-77", "4711.00", "dear Grace", "sorry to hear", "too much", "C-000123", "was late")


def find(no: str) -> dict[str, str]:
    return {"no": no, "name": "Grace Hopper"}


def refund(no: str, amount: str) -> str:
    if float(amount) == 13:
        raise OSError("dear Grace, the line broke")
    return f"paid {amount} for {no}"


@pytest.fixture
def contract() -> Contract:
    return Contract.loads(LAW)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "runs.db") as opened:
        yield opened


Story = Callable[..., None]


@pytest.fixture
def story(contract: Contract, clock: VirtualClock) -> Story:
    """Writes a run in which there is a bit of everything."""

    def tell(ledger: Ledger, run: str = "r1") -> None:
        gate = Gate(contract, ledger, clock=clock, tools={"find": find, "refund": refund})
        with gate.run(id=run, principal="bot", capability="refunds") as it:
            it.heard("it is about INV-77")
            clock.sleep(1)
            assert it.call("find", {"no": "INV-77"}, find).ok
            clock.sleep(1)
            assert it.call("refund", {"no": "INV-77", "amount": "899.00"}, refund).status == "denied"
            assert it.call("refund", {"no": "INV-77", "amount": "200.00"}, refund).status == "held"
            clock.sleep(3600)
            gate.answer(gate.questions()[0].id, by="lead", ruling="approve", because="sorry to hear")
            it.heard("and now?")
            assert it.call("refund", {"no": "INV-77", "amount": "13.00"}, refund).status == "ok"
            assert it.call("Grace Hopper", {}, None).status == "denied"
            it.say("dear Grace, all is done")
        ledger.append(
            [Draft(kind="signal", world="production", run=run, body={"name": "ticket_reopened", "value": "was late"},
                   at=clock.now())]
        )  # fmt: skip

    return tell


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def root_of(spans: Sequence[ReadableSpan]) -> ReadableSpan:
    (root,) = [span for span in spans if span.name.startswith("invoke_agent")]
    return root


# what is made ---------------------------------------------------------------------------------------------------------


def test_a_run_is_a_trace_and_each_action_a_span(ledger: Ledger, story: Story, contract: Contract) -> None:
    story(ledger)
    spans = list(otlp.spans(ledger))
    root = root_of(spans)
    assert told(root) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "refund-bot",
        "gen_ai.agent.version": "1",
        "gen_ai.conversation.id": "r1",
        "roadworthy.contract": contract.digest,
        "roadworthy.enforce": True,
        "roadworthy.principal": "bot",
        "roadworthy.run_status": "open",
        "roadworthy.world": "production",
    }
    actions = [entry for entry in ledger.entries(run="r1", kind="action")]
    made = {told(span)["roadworthy.action"]: span for span in spans if span.name.startswith("execute_tool")}
    assert list(made) == [entry.body["id"] for entry in actions]
    for entry in actions:
        span = made[entry.body["id"]]
        assert span.context is not None
        assert root.context is not None
        assert span.parent is not None
        assert span.context.trace_id == root.context.trace_id
        assert span.start_time == int(entry.at.timestamp()) * 10**9
        assert told(span)["roadworthy.seq"] == entry.seq
    assert {span.name for span in made.values()} == {"execute_tool find", "execute_tool refund", "execute_tool"}


def test_pieces_of_work_are_spans_around_the_calls_made_for_them(
    ledger: Ledger, contract: Contract, clock: VirtualClock
) -> None:
    def find(no: str) -> dict[str, Any]:
        clock.sleep(1)
        return {"no": no, "name": "Grace", "paid": "100.00"}

    run = Gate(contract, ledger, clock=clock).run(id="r1", principal="bot", capability="refunds")
    run.call("find", {"no": "1"}, find, agent="triage")
    outer = run.handover("billing", source="triage", how="delegate", text="of Grace")
    run.call("find", {"no": "2"}, find, agent="billing")
    inner = run.handover("archive", source="billing", how="delegate")
    run.call("find", {"no": "3"}, find, agent="archive")
    run.returned(inner)
    run.handover("care", source="billing")
    run.call("find", {"no": "4"}, find)
    run.returned(outer, "by Grace")
    run.call("find", {"no": "5"}, find)
    spans = [span for span in otlp.spans(ledger) if span.name != "roadworthy.contract"]
    by_id = {span.context.span_id: span for span in spans if span.context is not None}
    tree: list[tuple[str, str | None, str | None, int]] = []
    for span in spans:
        above = by_id[span.parent.span_id].name if span.parent is not None else None
        assert span.end_time is not None
        assert span.start_time is not None
        agent = told(span).get("gen_ai.agent.name")
        tree.append((span.name, above, agent, (span.end_time - span.start_time) // 10**9))
    assert tree == [
        ("invoke_agent refund-bot", None, "refund-bot", 5),
        ("invoke_agent billing", "invoke_agent refund-bot", "billing", 3),
        ("invoke_agent archive", "invoke_agent billing", "archive", 1),
        ("execute_tool find", "invoke_agent refund-bot", "triage", 1),
        ("execute_tool find", "invoke_agent billing", "billing", 1),
        ("execute_tool find", "invoke_agent archive", "archive", 1),
        ("execute_tool find", "invoke_agent billing", "refund-bot", 1),
        ("execute_tool find", "invoke_agent refund-bot", "refund-bot", 1),
    ]
    billing = told(spans[1])
    assert (billing["roadworthy.agent"], billing["roadworthy.handover"]) == ("refund-bot", outer)
    assert "of Grace" not in repr([span.to_json() for span in spans])
    again = {span.context.span_id for span in otlp.spans(ledger) if span.context is not None}
    assert by_id.keys() <= again, "whoever sends them again sends the same"


def test_rulings_ends_and_errors_stand_on_their_spans(ledger: Ledger, story: Story) -> None:
    story(ledger)
    found = [
        [told(span).get(f"roadworthy.{key}") for key in ("ruling", "rule", "status", "done", "by")]
        for span in otlp.spans(ledger)
        if span.name.startswith("execute_tool")
    ]
    assert found == [
        ["allow", None, "ok", "executed", None],
        ["deny", "huge", None, None, None],
        ["allow", "large", "ok", "executed", None],
        ["allow", None, "ok", "executed", None],
        ["allow", "lookup", "ok", "executed", "lookup"],
        ["deny", "access", None, None, None],
    ]


def test_what_is_in_doubt_and_stays_so_is_an_error(ledger: Ledger, contract: Contract, clock: VirtualClock) -> None:
    gate = Gate(contract, ledger, clock=clock)
    with gate.run(id="r1", principal="bot", capability="refunds") as run:
        assert run.call("refund", {"no": "1", "amount": "13.00"}, refund).status == "in_doubt"
    (span,) = [span for span in otlp.spans(ledger) if span.name == "execute_tool refund"]
    assert (span.status.status_code, told(span)["error.type"]) == (StatusCode.ERROR, "in_doubt")


def test_an_action_lasts_until_what_people_decided_about_it_is_done(ledger: Ledger, story: Story) -> None:
    story(ledger)
    held = next(
        span for span in otlp.spans(ledger) if any(event.name == "roadworthy.question" for event in span.events)
    )
    assert held.start_time is not None
    assert held.end_time is not None
    assert held.end_time - held.start_time == 3600 * 10**9
    names = [event.name.removeprefix("roadworthy.") for event in held.events]
    assert names == ["action", "verdict", "question", "answer", "verdict", "intent", "outcome"]


def test_look_ups_of_the_gate_are_under_what_they_were_made_for(ledger: Ledger, story: Story) -> None:
    story(ledger)
    spans = {told(span).get("roadworthy.action"): span for span in otlp.spans(ledger)}
    (look,) = [span for span in spans.values() if told(span).get("roadworthy.by") == "lookup"]
    above = spans[told(look)["roadworthy.for"]]
    assert look.parent is not None
    assert above.context is not None
    assert look.parent.span_id == above.context.span_id


def test_every_entry_is_told_of_once(ledger: Ledger, story: Story, clock: VirtualClock) -> None:
    story(ledger, "r1")
    story(ledger, "r2")
    stop = {"capability": None, "because": "enough", "by": "lead"}
    ledger.append([Draft(kind="stop", world="production", run=None, body=stop, at=clock.now())])
    seqs: list[int] = []
    for span in otlp.spans(ledger):
        if span.events:
            seqs += [int(str((event.attributes or {})["roadworthy.seq"])) for event in span.events]
        else:
            seqs.append(told(span)["roadworthy.seq"])
    assert sorted(seqs) == [entry.seq for entry in ledger.entries()]
    (stopped,) = [span for span in otlp.spans(ledger) if span.name == "roadworthy.stop"]
    assert told(stopped)["roadworthy.stop.by"] == "lead"


def test_exporting_again_gives_the_same_spans_and_more_where_there_is_more(ledger: Ledger, story: Story) -> None:
    story(ledger)
    first, again = ([span.to_json() for span in otlp.spans(ledger)] for _ in range(2))
    assert first == again
    story(ledger, "r2")
    ids = {json.loads(text)["context"]["span_id"] for text in first}
    more = {json.loads(span.to_json())["context"]["span_id"] for span in otlp.spans(ledger)}
    assert ids < more
    assert len(more) == len(list(otlp.spans(ledger)))


def test_other_ledgers_have_other_ids(tmp_path: Path, story: Story) -> None:
    found: list[set[int]] = []
    for name in ("a.db", "b.db"):
        with Ledger.open(tmp_path / name) as ledger:
            story(ledger)
            found.append({span.context.trace_id for span in otlp.spans(ledger) if span.context is not None})
    assert not found[0] & found[1]


def test_runs_of_a_time_and_a_world_only(ledger: Ledger, story: Story, clock: VirtualClock) -> None:
    story(ledger, "early")
    clock.sleep(86_400)
    between = clock.now()
    clock.sleep(86_400)
    story(ledger, "late")

    def runs(**only: Any) -> set[Any]:
        found = (told(span).get("gen_ai.conversation.id") for span in otlp.spans(ledger, **only))
        return {run for run in found if run is not None}

    assert runs() == {"early", "late"}
    assert runs(since=between) == {"late"}
    assert runs(until=between) == {"early"}
    assert runs(since=between, until=between + timedelta(seconds=1)) == set()
    assert runs(world="production") == {"early", "late"}
    assert not list(otlp.spans(ledger, world="shadow"))


def test_a_span_that_was_told_live_is_linked(ledger: Ledger, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    story(ledger)
    named = [entry.body["trace"] for entry in ledger.entries(run="r1", kind="action")]
    links = [
        [f"{link.context.trace_id:032x}-{link.context.span_id:016x}" for link in span.links]
        for span in otlp.spans(ledger)
        if span.name.startswith("execute_tool")
    ]
    assert links == [[name] for name in named]


def test_what_is_private_is_in_no_span_with_or_without_a_vault(tmp_path: Path, story: Story) -> None:
    (tmp_path / "book").mkdir()
    (tmp_path / "keys").mkdir(mode=0o700)
    path, vault = tmp_path / "book" / "runs.db", tmp_path / "keys" / "vault.db"
    with Ledger.open(path, vault=vault) as ledger:
        story(ledger)
        opened = [span.to_json() for span in otlp.spans(ledger)]
    with Ledger.open(path, read_only=True) as ledger:
        sealed = [span.to_json() for span in otlp.spans(ledger)]
    assert opened == sealed
    for secret in SECRETS:
        assert secret not in "".join(opened)


# where it goes --------------------------------------------------------------------------------------------------------


class Collector:
    """An OTLP/HTTP receiver on loopback."""

    def __init__(self, status: int = 200) -> None:
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.requests: list[ExportTraceServiceRequest] = []
        here = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                here.paths.append(self.path)
                here.headers.append({key.lower(): value for key, value in self.headers.items()})
                body = self.rfile.read(int(self.headers["content-length"]))
                here.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(status)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def spans(self) -> list[Any]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_a_collector_gets_them_all(ledger: Ledger, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    story(ledger)
    made = list(otlp.spans(ledger))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer abc")
    with Collector() as collector:
        assert otlp.send(made, collector.url) == len(made)
    assert collector.paths == ["/v1/traces"]
    assert collector.headers[0]["authorization"] == "Bearer abc"
    got = {(span.trace_id, span.span_id): span for span in collector.spans()}
    assert len(got) == len(made)
    for span in made:
        assert span.context is not None
        sent = got[span.context.trace_id.to_bytes(16), span.context.span_id.to_bytes(8)]
        assert (sent.name, sent.start_time_unix_nano, sent.end_time_unix_nano) == (
            span.name,
            span.start_time,
            span.end_time,
        )
        assert [event.name for event in sent.events] == [event.name for event in span.events]
        assert sent.parent_span_id == (b"" if span.parent is None else span.parent.span_id.to_bytes(8))
    resource = collector.requests[0].resource_spans[0].resource
    assert {a.key: a.value.string_value for a in resource.attributes} == {
        "service.name": "roadworthy",
        "roadworthy.ledger": ledger.id,
    }


def test_many_spans_are_sent_in_batches(ledger: Ledger, clock: VirtualClock) -> None:
    drafts = [Draft(kind="run", world="shadow", run=f"r{n}", body={"agent": "a"}, at=clock.now()) for n in range(600)]
    ledger.append(drafts)
    with Collector() as collector:
        assert otlp.send(otlp.spans(ledger), f"{collector.url}/custom/path") == 600
    assert collector.paths == ["/custom/path"] * 3
    assert len(collector.spans()) == 600


def test_a_collector_that_refuses_is_told_of(ledger: Ledger, story: Story) -> None:
    story(ledger)
    with Collector(status=400) as collector:
        address = collector.url.replace("http://", "http://grace:hunter2@")
        with pytest.raises(UsageError, match=r"did not take the spans after the first 0: .*400") as refused:
            otlp.send(otlp.spans(ledger), address)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("url", ["", "here", "ftp://here", "http://", "http://[", "grpc://127.0.0.1:4317"])
def test_what_is_no_address_is_refused(ledger: Ledger, url: str) -> None:
    with pytest.raises(UsageError, match="no address of a collector"):
        otlp.send(otlp.spans(ledger), url)


def test_a_file_holds_them_as_otlp_writes_json(ledger: Ledger, story: Story) -> None:
    story(ledger)
    made = list(otlp.spans(ledger))
    (line,) = otlp.lines(made)
    found = [s for r in json.loads(line)["resourceSpans"] for scope in r["scopeSpans"] for s in scope["spans"]]
    assert [(s["traceId"], s["spanId"], s["name"], s["kind"]) for s in found] == [
        (f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}", span.name, 1)
        for span in made
        if span.context is not None
    ]


# the command ----------------------------------------------------------------------------------------------------------

Capture = pytest.CaptureFixture[str]


def test_the_command_writes_a_file(ledger: Ledger, story: Story, tmp_path: Path, capsys: Capture) -> None:
    story(ledger)
    file = tmp_path / "spans.jsonl"
    count = len(list(otlp.spans(ledger)))
    assert main(["ledger", "export", str(tmp_path / "runs.db"), "--otlp-file", str(file)]) == 0
    assert f"Wrote {count} spans to {file}." in capsys.readouterr().out
    assert file.read_bytes() == b"".join(otlp.lines(otlp.spans(ledger)))
    args = ["--otlp-file", str(file), "--world", "test", "--json"]
    assert main(["ledger", "export", str(tmp_path / "runs.db"), *args]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(file), "spans": 0}
    assert file.read_bytes() == b""
    assert sorted(path.name for path in tmp_path.glob("spans*")) == ["spans.jsonl"]


def test_the_command_sends_to_a_collector(ledger: Ledger, story: Story, tmp_path: Path, capsys: Capture) -> None:
    story(ledger)
    with Collector() as collector:
        assert main(["ledger", "export", str(tmp_path / "runs.db"), "--otlp", collector.url]) == 0
    assert f"Sent {len(collector.spans())} spans." in capsys.readouterr().out
    assert len(collector.spans()) == len(list(otlp.spans(ledger)))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "say what to write, one of --jsonl FILE"),
        (["--otlp", "http://127.0.0.1:1", "--jsonl", "x"], "say what to write, one of --jsonl FILE"),
        (["--jsonl", "x", "--since", "2026-03-01"], "hold a ledger whole"),
        (["--otlp-file", "none/x"], "cannot be written"),
        (["--otlp-file", "x", "--since", "soon"], "is no day or time"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    ledger: Ledger, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, given: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ledger.size == 0
    assert main(["ledger", "export", "runs.db", *given]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_without_the_sdk_it_says_what_to_install() -> None:
    code = """
import sys
sys.modules["opentelemetry.sdk.trace"] = None
from roadworthy import Ledger
from roadworthy.audit import otlp
from roadworthy.core.errors import UsageError
try:
    list(otlp.spans(Ledger.open()))
except UsageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'roadworthy[otel]'" in done.stdout
