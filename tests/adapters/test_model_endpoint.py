"""The model endpoint: what is recorded, what is replayed, and who may ask."""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.adapters.scripted_upstream import ask, chat, said, scripted_upstream, user

from roadworthy.adapters.model.asked import same_asked
from roadworthy.adapters.model.endpoint import ModelEndpoint
from roadworthy.adapters.model.upstream import Upstream
from roadworthy.core.errors import UsageError


def counting(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    counting.n += 1  # type: ignore[attr-defined]
    return chat(f"answer {counting.n}")  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _from_one() -> None:
    counting.n = 0  # type: ignore[attr-defined]


def test_what_was_recorded_is_replayed_and_nobody_is_asked(tmp_path: Path) -> None:
    cassette = tmp_path / "c.jsonl"
    first, second = {"model": "m", "messages": [user("a")]}, {"model": "m", "messages": [user("b")]}
    with scripted_upstream(counting) as upstream:
        with ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=cassette, mode="record") as endpoint:
            url = endpoint.url()
            live = [said(ask(url, body)) for body in (first, second, first)]
        assert len(upstream.asked) == 3
    with ModelEndpoint(cassette=cassette) as endpoint:
        url = endpoint.url()
        assert [said(ask(url, body)) for body in (first, second, first)] == live == ["answer 1", "answer 2", "answer 3"]
        assert said(ask(endpoint.url(), first)) == "answer 1"  # another conversation begins anew
    assert stat.S_IMODE(cassette.stat().st_mode) == 0o600


def test_a_miss_is_refused_and_says_what_differs_from_the_nearest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cassette = tmp_path / "c.jsonl"
    talk = [user("Please cancel my order of Monday"), {"role": "assistant", "content": "Which?"}, user("The red one")]
    with (
        scripted_upstream(counting) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=cassette, mode="record") as endpoint,
    ):
        ask(endpoint.url(), {"model": "m", "messages": [user("Something else")]})
        ask(endpoint.url(), {"model": "m", "messages": talk, "temperature": 0.0})
    with ModelEndpoint(cassette=cassette) as endpoint, caplog.at_level(logging.WARNING, "roadworthy.model"):
        status, body = ask(
            endpoint.url(), {"model": "m", "messages": [*talk[:2], user("The blue one")], "temperature": 0}
        )
        again = [ask(url, {"model": "m", "messages": talk, "temperature": 0}) for url in [endpoint.url()] * 2]
    assert (status, body["error"]["code"]) == (404, "not_recorded")
    assert "messages[2].content: recorded 'The red one', asked 'The blue one'" in body["error"]["message"]
    assert "Something else" not in body["error"]["message"]
    assert "The blue one" in caplog.text
    assert again[0][0] == 200
    assert "recorded for: trial 0, 1. time" in again[1][1]["error"]["message"]


def test_ids_of_calls_are_chance_and_do_not_tell_requests_apart(tmp_path: Path) -> None:
    def talk(id: str) -> dict[str, Any]:
        call = {"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        answer = {"role": "tool", "tool_call_id": id, "content": "done"}
        return {"model": "m", "messages": [user("a"), {"role": "assistant", "tool_calls": [call]}, answer]}

    with (
        scripted_upstream(counting) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint,
    ):
        ask(endpoint.url(), talk("call_8f2"))
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint:
        assert said(ask(endpoint.url(), talk("call_zz"))) == "answer 1"
        swapped = talk("call_zz")
        swapped["messages"][2]["tool_call_id"] = "another"
        assert ask(endpoint.url(), swapped)[0] == 404


def test_a_message_is_written_once(tmp_path: Path) -> None:
    cassette = tmp_path / "c.jsonl"
    long = user("A long text. " * 200)
    with (
        scripted_upstream(counting) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=cassette, mode="record") as endpoint,
    ):
        for n in range(5):
            ask(endpoint.url(), {"model": "m", "messages": [long, *([user("more")] * n)]})
    assert cassette.read_text().count("A long text. A long text.") == 100  # of 200 in the one part
    with ModelEndpoint(cassette=cassette) as endpoint:
        assert said(ask(endpoint.url(), {"model": "m", "messages": [long, *([user("more")] * 4)]})) == "answer 5"


def test_extending_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    cassette = tmp_path / "c.jsonl"
    bodies = [{"model": "m", "messages": [user(text)]} for text in "ab"]
    with scripted_upstream(counting) as upstream:
        for known in (0, 1, 2):
            with ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=cassette, mode="extend") as endpoint:
                url = endpoint.url()
                assert [said(ask(url, body)) for body in bodies[: known + 1]] == ["answer 1", "answer 2"][: known + 1]
        assert len(upstream.asked) == 2


def test_trials_of_one_conversation_are_kept_apart(tmp_path: Path) -> None:
    body = {"model": "m", "messages": [user("a")]}
    with (
        scripted_upstream(counting) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint,
    ):
        live = [said(ask(endpoint.url(trial=trial), body)) for trial in range(3)]
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint:
        assert [said(ask(endpoint.url(trial=trial), body)) for trial in (2, 0, 1)] == [live[2], live[0], live[1]]
        assert ask(endpoint.url(trial=3), body)[0] == 404


def test_what_would_be_another_answer_tomorrow_is_passed_on_and_not_kept(tmp_path: Path) -> None:
    answers = [(429, {"error": {"message": "slower"}}), (400, {"error": {"message": "too long"}}), chat("at last")]
    body = {"model": "m", "messages": [user("a")]}
    with (
        scripted_upstream(lambda path, body: answers.pop(0)) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint,
    ):
        url = endpoint.url()
        live = [ask(url, body) for _ in range(3)]
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint:
        url = endpoint.url()
        assert [ask(url, body) for _ in range(2)] == live[1:]
    assert [status for status, _ in live] == [429, 400, 200]


def test_an_upstream_that_is_not_there_is_an_error_and_no_recording(tmp_path: Path) -> None:
    with scripted_upstream(counting) as upstream:
        url = upstream.url
    with ModelEndpoint(upstream=Upstream.of(url), cassette=tmp_path / "c", mode="record") as endpoint:
        status, body = ask(endpoint.url(), {"model": "m", "messages": [user("a")]})
    assert (status, body["error"]["code"]) == (502, "upstream")
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint:
        assert "which is empty" in ask(endpoint.url(), {"model": "m", "messages": []})[1]["error"]["message"]


def test_the_key_goes_upstream_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "a-key-of-the-tests")
    echo = {"error": {"message": "wrong key: a-key-of-the-tests"}}
    answers: list[Any] = [(400, echo), chat("a-key-of-the-tests is your key"), (401, echo)]
    with scripted_upstream(lambda path, body: answers.pop(0)) as upstream:
        known = Upstream.of(upstream.url, key_env="MY_KEY")
        with ModelEndpoint(upstream=known, cassette=tmp_path / "c", mode="record") as endpoint:
            told = [
                ask(endpoint.url(), {"model": "m", "messages": []}, headers={"Authorization": "Bearer the-client's"})
                for _ in range(3)
            ]
        assert {headers["authorization"] for headers in upstream.headers} == {"Bearer a-key-of-the-tests"}
    assert "a-key-of" not in json.dumps(told) + (tmp_path / "c").read_text() + repr(known)
    assert "the-client" not in (tmp_path / "c").read_text()


def test_without_a_key_none_is_sent(tmp_path: Path) -> None:
    with (
        scripted_upstream(counting) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), mode="pass") as endpoint,
    ):
        ask(endpoint.url(), {"model": "m", "messages": []}, headers={"Authorization": "Bearer the-client's"})
        assert "authorization" not in upstream.headers[0]


@pytest.mark.parametrize(
    ("url", "key_env", "says"),
    [
        ("localhost:8000", None, "no base URL"),
        ("ftp://127.0.0.1/v1", None, "no base URL"),
        ("http://user:secret@127.0.0.1/v1", None, "holds a credential"),
        ("http://127.0.0.1/v1?key=secret", None, "no base URL"),
        ("https://models.example/v1", "NO_SUCH_KEY", "NO_SUCH_KEY holds no key"),
        ("http://models.example/v1", "MY_KEY", "unencrypted"),
    ],
)
def test_an_upstream_that_cannot_be_right_is_refused(
    url: str, key_env: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "k")
    with pytest.raises(UsageError, match=says) as caught:
        Upstream.of(url, key_env=key_env)
    assert "user:secret" not in str(caught.value)


def test_whoever_lacks_the_token_or_comes_by_another_name_is_turned_away(tmp_path: Path) -> None:
    with (
        scripted_upstream(counting) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), mode="pass") as endpoint,
    ):
        url, body = endpoint.url(), {"model": "m", "messages": [user("a")]}
        port = urlsplit(url).port
        lead, _, token = url.removesuffix("/v1").rpartition("/")
        name, _, secret = token.partition(".")
        for wrong in ("", "x.y", f"{name}.", f"{name}.{secret[:-1]}", f"{name}.{secret}x", f"00000000.{secret}"):
            assert ask(f"{lead}/{wrong}/v1", body)[0] == 404
        assert ask(f"http://127.0.0.1:{port}/v1", body)[0] == 404
        assert ask(url, body, headers={"Host": "rebound.example"})[0] == 421
        assert ask(url, body, headers={"Host": f"127.0.0.1:{port}x"})[0] == 421
        assert ask(url, body, headers={"Origin": "http://127.0.0.1"})[0] == 403
        assert ask(url, body, path="files")[0] == 404
        assert ask(url, b"[1]")[0] == ask(url, b"{")[0] == ask(url, b"[" * 100_000)[0] == 400
        assert ask(url, body, headers={"Content-Encoding": "gzip"})[0] == 415
        assert ask(url, b"x", headers={"Content-Length": "99999999999"})[0] == 413
        assert not upstream.asked
        assert ask(url, body, headers={"Host": f"localhost:{port}"})[0] == 200
        endpoint.close_url(url)
        assert ask(url, body)[0] == 404


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "is empty"),
        (['{"a": 1}'], ":1: this is no cassette"),
        (['{"format": "roadworthy-cassette", "version": 9}'], ":1: a cassette of version 9"),
        (['{"format": "roadworthy-cassette", "version": 1}', "{"], ":2: this is no JSON"),
        (['{"format": "roadworthy-cassette", "version": 1}', '{"key": "x"}'], ":2: this is no line of a cassette"),
    ],
)
def test_what_is_no_cassette_is_refused_with_its_place(tmp_path: Path, lines: list[str], says: str) -> None:
    (tmp_path / "c").write_text("\n".join(lines))
    with pytest.raises(UsageError, match=says):
        ModelEndpoint(cassette=tmp_path / "c")


@pytest.mark.parametrize(
    ("changed", "says"),
    [({"path": "files"}, "something else"), ({"trial": float("inf")}, "infinity"), ({"status": 10**9}, "its answer")],
)
def test_a_recording_that_somebody_has_made_up_is_refused(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    asked = same_asked(str(changed.get("path", "responses")), {"model": "m", "input": "a"})
    made: dict[str, Any] = {
        "key": asked.key,
        "path": "responses",
        "trial": 0,
        "nth": 0,
        "request": asked.body,
        "status": 200,
    }
    lines: list[dict[str, Any]] = [{"format": "roadworthy-cassette", "version": 1}, {**made, "answer": {}, **changed}]
    (tmp_path / "c").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(UsageError, match=f":2: this is no line of a cassette.*{says}"):
        ModelEndpoint(cassette=tmp_path / "c")


def test_a_recording_that_was_changed_is_refused(tmp_path: Path) -> None:
    with (
        scripted_upstream(counting) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint,
    ):
        ask(endpoint.url(), {"model": "m", "messages": [user("pay 10")]})
    (tmp_path / "c").write_text((tmp_path / "c").read_text().replace("pay 10", "pay 99"))
    with pytest.raises(UsageError, match="its request was changed"):
        ModelEndpoint(cassette=tmp_path / "c")


def test_a_recording_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("mine")
    with pytest.raises(UsageError, match="there already"):
        ModelEndpoint(upstream=Upstream.of("http://127.0.0.1:9/v1"), cassette=tmp_path / "c", mode="record")
    assert (tmp_path / "c").read_text() == "mine"
