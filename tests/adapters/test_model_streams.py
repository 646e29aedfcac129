"""Answers in pieces: what passes is what the model said, and what is told again says the same."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters.scripted_upstream import DONE, TOOL_CALL, USAGE, chat, put_together, scripted_upstream, stream

from roadworthy.adapters.model.endpoint import ModelEndpoint
from roadworthy.adapters.model.streams import told_again
from roadworthy.adapters.model.upstream import Upstream

ASSEMBLED: dict[str, Any] = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "scripted-1",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
                    {"id": "t2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                ],
            },
            "finish_reason": "tool_calls",
        }
    ],
    "usage": USAGE,
}


def test_a_stream_passes_as_it_comes_and_is_replayed_in_pieces_and_in_whole(tmp_path: Path) -> None:
    body: dict[str, Any] = {"model": "m", "messages": [], "stream_options": {"include_usage": True}}
    with (
        scripted_upstream(lambda path, body: TOOL_CALL) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint,
    ):
        assert stream(endpoint.url(), body) == (200, b"".join(TOOL_CALL))
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint:
        status, again = stream(endpoint.url(), body)
        assert (status, put_together("chat/completions", again)) == (200, ASSEMBLED)
        parts = urlsplit(url := endpoint.url())
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        connection.request("POST", f"{urlsplit(url).path}/chat/completions", json.dumps(body))
        assert json.loads(connection.getresponse().read()) == ASSEMBLED
        connection.close()


def test_usage_is_always_asked_for_and_told_only_to_who_wants_it(tmp_path: Path) -> None:
    with (
        scripted_upstream(lambda path, body: TOOL_CALL) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint,
    ):
        _, live = stream(endpoint.url(), {"model": "m", "messages": []})
        assert upstream.asked[0][1]["stream_options"] == {"include_usage": True}
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint:
        _, again = stream(endpoint.url(), {"model": "m", "messages": []})
    assert b"usage" not in live + again
    assert b"usage" in (tmp_path / "c").read_bytes()


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(TOOL_CALL[:5], id="broken off"),
        pytest.param([*TOOL_CALL[:3], b'data: {"error": {"message": "overloaded"}}\n\n', DONE], id="an error inside"),
        pytest.param([*TOOL_CALL[:4], DONE], id="no finish"),
    ],
)
def test_a_stream_that_is_not_complete_is_not_kept(tmp_path: Path, pieces: list[bytes]) -> None:
    said = [pieces, TOOL_CALL]
    with (
        scripted_upstream(lambda path, body: said.pop(0)) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint,
    ):
        url = endpoint.url()
        body: dict[str, Any] = {"model": "m", "messages": []}
        try:
            _, live = stream(url, body)
        except http.client.IncompleteRead as broken:  # how a client learns that it is not all
            live = broken.partial
            assert DONE not in live
        assert live.startswith(b"".join(TOOL_CALL[:3]))
        stream(url, body)
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint:
        assert put_together("chat/completions", stream(endpoint.url(), body)[1], usage=False) == {
            name: value for name, value in ASSEMBLED.items() if name != "usage"
        }


def test_a_server_that_ends_without_done_has_said_all(tmp_path: Path) -> None:
    with (
        scripted_upstream(lambda path, body: TOOL_CALL[:-1]) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint,
    ):
        stream(endpoint.url(), {"model": "m", "messages": []})
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint:
        assert stream(endpoint.url(), {"model": "m", "messages": []})[1].endswith(DONE)


def test_a_server_that_does_not_stream_is_told_again_in_pieces(tmp_path: Path) -> None:
    answer = chat("A text that is somewhat longer than one piece.")
    with (
        scripted_upstream(lambda path, body: answer) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), mode="pass") as endpoint,
    ):
        _, told = stream(endpoint.url(), {"model": "m", "messages": [], "stream_options": {"include_usage": True}})
    assert put_together("chat/completions", told) == answer
    assert told.count(b'"content":"') > 2


def test_errors_come_whole_though_a_stream_was_asked_for(tmp_path: Path) -> None:
    with ModelEndpoint(upstream=Upstream.of("http://127.0.0.1:9/v1"), mode="pass") as endpoint:
        status, body = stream(endpoint.url(), {"model": "m", "messages": []})
    assert (status, json.loads(body)["error"]["code"]) == (502, "upstream")
    with (
        scripted_upstream(lambda path, body: (400, {"error": {"message": "too long"}})) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), mode="pass") as endpoint,
    ):
        assert stream(endpoint.url(), {"model": "m", "messages": []}) == (400, b'{"error":{"message":"too long"}}')


RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "scripted-1",
    "output": [
        {"id": "rs_1", "type": "reasoning", "summary": []},
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "I look it up for you at once.", "annotations": []}],
        },
        {"id": "fc_1", "type": "function_call", "call_id": "t1", "name": "f", "arguments": '{"a": 1}'},
    ],
    "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
}


def test_responses_stream_too(tmp_path: Path) -> None:
    live = list(told_again("responses", RESPONSE, usage=False))
    with (
        scripted_upstream(lambda path, body: live) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint,
    ):
        assert stream(endpoint.url(), {"model": "m", "input": "hi"}, "responses") == (200, b"".join(live))
        assert upstream.asked == [("responses", {"model": "m", "input": "hi", "stream": True})]
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint:
        _, again = stream(endpoint.url(), {"model": "m", "input": "hi"}, "responses")
    assert put_together("responses", again) == RESPONSE
    assert again.count(b"event: ") == b"".join(live).count(b"event: ") > 10


def test_a_response_that_failed_is_not_kept(tmp_path: Path) -> None:
    failed = [b'event: response.failed\ndata: {"type": "response.failed", "response": {"status": "failed"}}\n\n']
    with (
        scripted_upstream(lambda path, body: failed) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint,
    ):
        assert stream(endpoint.url(), {"model": "m", "input": "hi"}, "responses") == (200, failed[0])
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint:
        assert stream(endpoint.url(), {"model": "m", "input": "hi"}, "responses")[0] == 404


_TEXTS = st.text(max_size=80)


def _call(id: str, name: str, args: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": args}}


_NAMES = st.text(min_size=1, max_size=5)
_CALLS = st.lists(st.builds(_call, _NAMES, _NAMES, _TEXTS), min_size=1, max_size=3)
_MESSAGES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | _TEXTS},
    optional={"tool_calls": _CALLS, "refusal": _TEXTS, "reasoning_content": _TEXTS},
)


@given(st.lists(_MESSAGES, min_size=1, max_size=3))
def test_what_is_told_again_says_what_was_said(messages: list[dict[str, Any]]) -> None:
    answer: dict[str, Any] = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": n, "message": one, "finish_reason": "stop"} for n, one in enumerate(messages)],
        "usage": USAGE,
    }
    came = put_together("chat/completions", told_again("chat/completions", answer, usage=True))
    for choice in [*answer["choices"], *(came or answer)["choices"]]:
        for name in ("refusal", "reasoning_content"):  # an empty one and none are the same
            if not choice["message"].get(name):
                choice["message"].pop(name, None)
    assert came == answer
