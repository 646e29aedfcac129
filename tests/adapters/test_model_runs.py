"""A run's model, asked through the endpoint: it answers the same when the run is driven again, and it is counted."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.adapters.scripted_upstream import (
    DONE,
    TOOL_CALL,
    ask,
    chat,
    chunk,
    put_together,
    scripted_upstream,
    stream,
    user,
)
from tests.gate.office import LAW, PEOPLE, Office

from roadworthy import Contract, Suspended
from roadworthy.adapters.model.endpoint import ModelEndpoint
from roadworthy.adapters.model.prices import Price
from roadworthy.adapters.model.upstream import Upstream
from roadworthy.core.errors import LedgerError
from roadworthy.gate.models import Used
from roadworthy.gate.run import Run


def law(run: str = "") -> Contract:
    text = LAW.replace("ASK", "role: lead, meanwhile: suspend").replace("RULES", "")
    return Contract.loads(text.replace("ESCALATE", f"budgets: {{run: {{{run}}}}}" if run else "")).with_people(PEOPLE)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Callable[..., Office]]:
    opened: list[Office] = []

    def open_it(run: str = "") -> Office:
        opened.append(Office(tmp_path, law(run)))
        return opened[-1]

    yield open_it
    for one in opened:
        one.open.close()


def job(at: Office, run: Run, url: str, *, streamed: bool) -> list[Any]:
    """An agent's loop: it asks the model, does what it says, and tells it what came of it. Returns what it was told."""
    messages: list[Any] = [user("money back for 7")]
    while True:
        body = {"model": "m", "messages": messages}
        if streamed:
            status, data = stream(url, body)
            assert status == 200, data
            answer = put_together("chat/completions", data, usage=False) or {}
        else:
            status, answer = ask(url, body)
            assert status == 200, answer
        message = answer["choices"][0]["message"]
        messages = [*messages, message]
        if not message.get("tool_calls"):
            return messages
        for call in message["tool_calls"]:
            args = json.loads(call["function"]["arguments"])
            outcome = run.call(call["function"]["name"], args, getattr(at.till, call["function"]["name"]))
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": outcome.text})


def live(path: str, body: Mapping[str, Any]) -> Any:
    """A model whose ids and words are others at every answer."""
    live.n += 1  # type: ignore[attr-defined]
    n, turns = live.n, len(body["messages"])  # type: ignore[attr-defined]
    if turns == 1:
        return chat(None, (f"call-{n}", "note", {"text": f"thought {n}"}))
    if turns == 3:
        return chat(None, (f"call-{n}", "refund", {"no": "7", "amount": "250.00"}))
    return chat(f"Done, says answer {n}.")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_suspended_run_goes_on_with_a_live_model_as_if_it_had_never_stopped(
    office: Callable[..., Office], streamed: bool
) -> None:
    live.n = 0  # type: ignore[attr-defined]
    at = office()
    with (
        scripted_upstream(live) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), mode="pass") as endpoint,
    ):
        run = at.run(suspendable=True)
        with pytest.raises(Suspended):
            job(at, run, endpoint.url(run), streamed=streamed)
        assert len(upstream.asked) == 2
    at.answer("ada")
    with (
        scripted_upstream(live) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), mode="pass") as endpoint,
    ):
        run = at.elsewhere().resume("r")
        messages = job(at, run, endpoint.url(run), streamed=streamed)
        assert len(upstream.asked) == 1, "only what was not answered before"
        assert upstream.asked[0][1]["messages"] == messages[:-1]
    assert messages[-1]["content"] == "Done, says answer 3."
    assert (at.till.notes, at.till.paid) == (["thought 1"], [("7", "250")])
    with ModelEndpoint(upstream=Upstream.of("http://127.0.0.1:9/v1"), mode="pass") as endpoint:
        run = at.elsewhere().resume("r")
        assert job(at, run, endpoint.url(run), streamed=streamed) == messages, "finished, it needs no model at all"
    assert run.state.tokens == 30
    assert (at.till.notes, at.till.paid) == (["thought 1"], [("7", "250")])


def spending(office: Callable[..., Office], budget: str) -> tuple[Office, Run]:
    at = office(budget)
    return at, at.run()


def test_a_run_that_has_used_its_tokens_gets_no_more(office: Callable[..., Office]) -> None:
    at, run = spending(office, "model_tokens: 20")
    with (
        scripted_upstream(lambda path, body: chat("yes")) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), mode="pass") as endpoint,
        endpoint.conversation(run) as url,
    ):
        assert [ask(url, {"model": "m", "messages": [user(t)]})[0] for t in "ab"] == [200, 200]
        status, body = ask(url, {"model": "m", "messages": [user("c")]})
        assert len(upstream.asked) == 2
    assert (status, body["error"]["code"]) == (403, "budget")
    assert body["error"]["message"].startswith("All 20 tokens of the model for this run are used.")
    assert run.call("find", {"no": "7"}, at.till.find).status == "denied"


def test_tokens_count_in_a_replay_too(office: Callable[..., Office], tmp_path: Path) -> None:
    _, run = spending(office, "model_tokens: 5")
    body = {"model": "m", "messages": [user("a")]}
    with (
        scripted_upstream(lambda path, body: chat("yes")) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint,
    ):
        assert ask(endpoint.url(), body)[0] == 200
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint:
        url = endpoint.url(run)
        assert [ask(url, body)[0] for _ in range(2)] == [200, 403]


def test_what_models_cost_is_counted_by_the_prices(office: Callable[..., Office]) -> None:
    _, run = spending(office, "model_cost: '0.000018'")
    prices = {"m": Price(input=Decimal("1.00"), cached=Decimal("0.50"), output=Decimal("4.00"))}
    answer = chat("yes", tokens=10)
    answer["usage"]["prompt_tokens_details"] = {"cached_tokens": 4}
    with (
        scripted_upstream(lambda path, body: answer) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), mode="pass", prices=prices) as endpoint,
        endpoint.conversation(run) as url,
    ):
        assert ask(url, {"model": "m", "messages": []})[0] == 200
        assert run.state.cost == Decimal("0.000014")  # (8-4)*1.00 + 4*0.50 + 2*4.00, for a million
        status, body = ask(url, {"model": "another", "messages": []})
        assert (status, body["error"]["code"]) == (403, "price")
        assert "'another'" in body["error"]["message"]
        assert [ask(url, {"model": "m", "messages": []})[0] for _ in range(2)] == [200, 403]


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_cannot_be_counted_is_not_given_where_it_must_be(
    office: Callable[..., Office], streamed: bool
) -> None:
    at, run = spending(office, "model_tokens: 5")
    silent: Any = [*TOOL_CALL[:-2], DONE] if streamed else {**chat("yes"), "usage": None}
    with (
        scripted_upstream(lambda path, body: silent) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), mode="pass") as endpoint,
    ):
        body: dict[str, Any] = {"model": "m", "messages": []}
        if streamed:
            with pytest.raises(Exception, match="IncompleteRead"):
                stream(endpoint.url(run), body)
        else:
            status, told = ask(endpoint.url(run), body)
            assert (status, told["error"]["code"]) == (502, "usage")
        assert not [e for e in at.gate.ledger.entries(run="r") if e.kind == "model_call"]
        free = at.run("free", gate=at.elsewhere(enforce=False))
        assert (stream if streamed else ask)(endpoint.url(free), body)[0] == 200


def test_an_answer_that_cannot_be_recorded_is_not_given(
    office: Callable[..., Office], monkeypatch: pytest.MonkeyPatch
) -> None:
    at, run = spending(office, "model_tokens: 500")

    def broken(*_: object) -> None:
        raise LedgerError("the disk is full")

    with (
        scripted_upstream(lambda path, body: chat("yes")) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), mode="pass") as endpoint,
    ):
        url = endpoint.url(run)
        monkeypatch.setattr(at.gate.ledger, "append", broken)
        status, body = ask(url, {"model": "m", "messages": []})
        assert (status, body["error"]["code"]) == (503, "ledger")
        assert "the disk is full" in body["error"]["message"]
        monkeypatch.undo()
        assert ask(url, {"model": "m", "messages": []})[0] == 200


def test_runs_of_one_endpoint_are_kept_apart(office: Callable[..., Office]) -> None:
    at = office("model_tokens: 20")
    runs = [at.run(f"r{n}") for n in range(3)]
    with (
        scripted_upstream(lambda path, body: chat("yes", tokens=5 + len(body["messages"]))) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), mode="pass") as endpoint,
    ):
        for n, run in enumerate(runs):
            ask(endpoint.url(run), {"model": "m", "messages": [user("a")] * n})
    assert [run.state.tokens for run in runs] == [5, 6, 7]


def test_no_credential_and_no_token_is_in_the_ledger(
    office: Callable[..., Office], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "a-key-of-the-tests")
    at = office()
    run = at.run()

    def echo(path: str, body: Mapping[str, Any]) -> Any:
        return chat("your key is a-key-of-the-tests")

    with (
        scripted_upstream(echo) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url, key_env="MY_KEY"), mode="pass") as endpoint,
    ):
        url = endpoint.url(run)
        told = ask(url, {"model": "m", "messages": []}, headers={"Authorization": "Bearer the-client's"})
    token = url.rpartition("/r/")[2].removesuffix("/v1")
    written = "".join(str(entry) for entry in at.gate.ledger.entries())
    assert "[redacted]" in json.dumps(told)
    assert "[redacted]" in written
    assert not [one for one in ("a-key-of-the-tests", "the-client's", token) if one in json.dumps(told) + written]


def test_each_request_to_a_model_has_a_span_in_its_run(
    office: Callable[..., Office], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    body = {"model": "m", "messages": [user("secret words")]}
    at = office("model_tokens: 25")
    outside = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    with (
        scripted_upstream(lambda path, body: chat("yes")) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="extend") as endpoint,
        at.run() as run,
    ):
        url = endpoint.url(run)
        assert [ask(url, body)[0] for _ in range(2)] == [200, 200]
        assert ask(endpoint.url(run), body, headers={"traceparent": outside})[0] == 200
        assert ask(url, body)[0] == 403
        assert ask(endpoint.url(), {**body, "model": "none"})[0] == 200
    spans = [span for span in exporter.get_finished_spans() if span.name.startswith("chat")]
    (drive,) = [span for span in exporter.get_finished_spans() if span.name.startswith("invoke_agent")]
    told = [dict(span.attributes or {}) for span in spans]
    assert [span.name for span in spans] == ["chat m"] * 4 + ["chat none"]
    assert [one.get("roadworthy.model.source") for one in told] == ["live", "live", "cassette", None, "live"]
    assert [one.get("error.type") for one in told] == [None, None, None, "budget", None]
    assert (told[0]["gen_ai.usage.input_tokens"], told[0]["gen_ai.usage.output_tokens"]) == (8, 2)
    assert told[0]["gen_ai.conversation.id"] == "r"
    assert [span.parent and span.parent.span_id for span in spans[:2]] == [drive.get_span_context().span_id] * 2  # pyright: ignore[reportOptionalMemberAccess]  # of an SDK's span
    assert spans[2].parent is not None
    assert f"{spans[2].parent.span_id:016x}" == "b" * 16
    assert spans[4].parent is None
    assert "secret" not in str(told)


def test_a_client_that_leaves_is_counted_and_what_it_did_not_hear_is_not_kept(
    office: Callable[..., Office], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run = spending(office, "model_tokens: 500")
    counted = threading.Event()
    spent_on = Run.spent_on

    def told(self: Run, used: Used) -> None:
        spent_on(self, used)
        counted.set()

    monkeypatch.setattr(Run, "spent_on", told)
    long = [*TOOL_CALL[:2], *[chunk({"content": "x" * 60_000})] * 200, *TOOL_CALL[-3:]]
    with (
        scripted_upstream(lambda path, body: long) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), mode="pass") as endpoint,
    ):
        parts = urlsplit(endpoint.url(run))
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        body = {"model": "m", "messages": [user("a")], "stream": True}
        connection.request("POST", f"{parts.path}/chat/completions", json.dumps(body))
        response = connection.getresponse()
        response.read(10)
        response.close()
        connection.close()
        assert counted.wait(30)
    (entry,) = [e for e in run.gate.ledger.entries(run="r") if e.kind == "model_call"]
    assert "value" not in entry.body
    assert run.state.tokens == 7
