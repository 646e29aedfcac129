"""A witness over HTTP: the protocol's codes and kinds of answers, and clients that mean no good."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from roadworthy.cli.app import main
from roadworthy.core.errors import UsageError
from roadworthy.ledger.checkpoint import Note, Signature, Verifier
from roadworthy.ledger.witness import MAX_REQUEST, Witness
from roadworthy.ledger.witness_http import CONNECTIONS, WitnessServer
from roadworthy.ledger.witness_memory import Memory, place_of, read_key

from .logs import Log

LOG = Log().grow(200)
Capture = pytest.CaptureFixture[str]
MAIN = "import sys; from roadworthy.cli import main; sys.exit(main())"


@contextmanager
def serving(folder: Path, *, request_s: float = 10.0, idle_s: float = 30.0) -> Generator[WitnessServer]:
    with (
        Witness(folder, [LOG.key.vkey]) as witness,
        WitnessServer(("127.0.0.1", 0), witness, request_s=request_s, idle_s=idle_s) as server,
    ):
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WitnessServer]:
    with serving(tmp_path / "state") as started:
        yield started


def connect(server: WitnessServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)


def post(connection: http.client.HTTPConnection, body: bytes, path: str = "/add-checkpoint") -> tuple[int, str, str]:
    connection.request("POST", path, body)
    answer = connection.getresponse()
    return answer.status, answer.headers["Content-Type"], answer.read().decode()


def raw(server: WitnessServer, sent: bytes, *, end: bool = True) -> bytes:
    """What comes back for some bytes, until the server closes the connection."""
    found = b""
    address = ("127.0.0.1", server.server_address[1])
    # The server may have had enough before all was sent.
    with socket.create_connection(address, timeout=20) as connection, suppress(ConnectionError):
        connection.sendall(sent)
        if end:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            found += part
    return found


def test_one_connection_carries_many_requests(server: WitnessServer) -> None:
    with closing(connect(server)) as connection:
        status, _, line = post(connection, LOG.request(0, 100))
        assert status == 200
        key = Verifier.parse(server.witness.vkey)
        assert Note(text=LOG.text(100), signatures=(Signature.parse(line),)).checked([key])
        assert post(connection, LOG.request(50)) == (409, "text/x.tlog.size", "100\n")
        assert post(connection, LOG.request(100))[0] == 200
        assert post(connection, b"old")[0] == 400
        assert post(connection, LOG.request(200, 200))[0] == 200


def test_the_latest_checkpoint_is_served(server: WitnessServer) -> None:
    place = place_of(LOG.key.name)
    with closing(connect(server)) as connection:
        connection.request("GET", f"/{place}/checkpoint")
        answer = connection.getresponse()
        assert (answer.status, answer.read() != b"") == (404, True)
        post(connection, LOG.request(0, 100))
        connection.request("GET", f"/{place}/checkpoint")
        answer = connection.getresponse()
        note = Note.parse(answer.read().decode())
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
        assert len(note.checked([LOG.key.verifier, Verifier.parse(server.witness.vkey)])) == 2


def test_other_places_are_not_there(server: WitnessServer) -> None:
    for path in ("/", "/add-checkpoint/", "/add-checkpoint?x", "/../add-checkpoint"):
        with closing(connect(server)) as connection:
            assert post(connection, LOG.request(0), path)[0] == 404
    for method, path in (
        ("GET", "/add-checkpoint"),
        ("GET", "/"),
        ("GET", "/x/checkpoint"),
        ("GET", "/a/b/checkpoint"),
    ):
        with closing(connect(server)) as connection:
            connection.request(method, path)
            assert connection.getresponse().status == 404
    with closing(connect(server)) as connection:
        connection.request("PUT", "/add-checkpoint", LOG.request(0))
        assert connection.getresponse().status == 501


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("", b"411"),
        ("Transfer-Encoding: chunked\r\n", b"411"),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"411"),
        ("Content-Length: 3\r\nContent-Length: 3\r\n", b"411"),
        ("Content-Length: -1\r\n", b"411"),
        ("Content-Length: +3\r\n", b"411"),
        ("Content-Length: 3, 3\r\n", b"411"),
        (f"Content-Length: {MAX_REQUEST + 1}\r\n", b"413"),
        (f"Content-Length: {'9' * 4000}\r\n", b"413"),
        (f"Content-Length: {MAX_REQUEST + 1}\r\n\r\n" + "x" * 300_000, b"413"),
        ("X: " + "y" * 70_000 + "\r\n", b"431"),
        ("X: y\r\n" * 150, b"431"),
    ],
)
def test_what_is_not_bounded_is_not_read(server: WitnessServer, head: str, status: bytes) -> None:
    answer = raw(server, f"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\n{head}\r\nold".encode())
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.count(b"HTTP/1.1") == 1
    assert b"<html" not in answer.lower()


def test_nonsense_is_answered_or_dropped(server: WitnessServer) -> None:
    for sent in (b"\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"A" * 100_000, b"POST / HTTP/9.9\r\n\r\n", b""):
        assert b"<html" not in raw(server, sent).lower()
    with closing(connect(server)) as connection:
        assert post(connection, LOG.request(0))[0] == 200


def test_a_body_that_ends_early_is_no_request(server: WitnessServer) -> None:
    body = LOG.request(0)
    head = f"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body) + 1}\r\n\r\n".encode()
    assert raw(server, head + body) == b""
    with closing(connect(server)) as connection:
        assert post(connection, LOG.request(0))[0] == 200


def test_who_dawdles_is_left(tmp_path: Path) -> None:
    with serving(tmp_path, request_s=0.2, idle_s=0.2) as server:
        assert raw(server, b"POST /add-che", end=False) == b""
        assert raw(server, b"", end=False) == b""
        head = b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nold"
        assert raw(server, head, end=False) == b""
        with closing(connect(server)) as connection:
            assert post(connection, LOG.request(0))[0] == 200


def test_who_takes_all_places_keeps_them_only_for_a_while(tmp_path: Path) -> None:
    with serving(tmp_path, idle_s=0.3) as server:
        held = [
            socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=20) for _ in range(CONNECTIONS)
        ]
        for one in held:
            assert one.recv(1) == b""  # until the server has had enough of each
            one.close()
        with closing(connect(server)) as connection:
            assert post(connection, LOG.request(0))[0] == 200


def test_many_at_once_are_one_history(server: WitnessServer) -> None:
    forks = [LOG.grow(10).grow(50, f"fork {number} ") for number in range(12)]
    with closing(connect(server)) as connection:
        post(connection, LOG.request(0, 10))

    def submit(log: Log) -> int:
        with closing(connect(server)) as connection:
            return post(connection, log.request(10))[0]

    with ThreadPoolExecutor(len(forks)) as pool:
        assert sorted(pool.map(submit, forks)) == [200, *[409] * 11]


def test_a_witness_that_cannot_write_signs_nothing(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.witness.memory.close()
        with closing(connect(server)) as connection:
            status, _, text = post(connection, LOG.request(0))
        assert status == 500
        assert "—" not in text


def test_a_place_that_is_taken_is_said(server: WitnessServer, tmp_path: Path) -> None:
    port = server.server_address[1]
    with Witness(tmp_path / "other", []) as witness, pytest.raises(UsageError, match="nobody can listen"):
        WitnessServer(("127.0.0.1", port), witness)


# The verb -------------------------------------------------------------------------------------------------------------


@contextmanager
def started(folder: Path, *more: str) -> Generator[tuple[subprocess.Popen[str], int]]:
    words = ["ledger", "witness", "--state", str(folder), "--log", LOG.key.vkey, "--listen", "127.0.0.1:0", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", MAIN, *words, *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, int(json.loads(line)["url"].rpartition(":")[2])
    finally:
        process.kill()
        process.communicate()


def test_the_verb_serves_until_it_is_told_to_end(tmp_path: Path, capsys: Capture) -> None:
    with started(tmp_path, "--name", "example.com/w") as (process, port):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            assert post(connection, LOG.request(0, 100))[0] == 200
        assert main(["ledger", "witness", "--state", str(tmp_path), "--show"]) == 0
        assert "example.com/log  100" in capsys.readouterr().out
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert main(["ledger", "witness", "--state", str(tmp_path), "--show-key"]) == 0
    assert capsys.readouterr().out.strip() == read_key(tmp_path).vkey


def test_two_histories_are_shown(tmp_path: Path, capsys: Capture) -> None:
    with Witness(tmp_path, [LOG.key.vkey]) as witness:
        witness.add_checkpoint(LOG.request(0, 100))
        witness.add_checkpoint(LOG.grow(50).grow(100, "other ").request(100))
    assert main(["ledger", "witness", "--state", str(tmp_path), "--show"]) == 1
    assert "example.com/log has signed two histories" in capsys.readouterr().out
    assert main(["ledger", "witness", "--state", str(tmp_path), "--show", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["size"] == 100
    assert [one["certain"] for one in told["disputes"]] == [True]


@pytest.mark.parametrize(
    "words",
    [
        ["--listen", "127.0.0.1:0"],
        ["--listen", "127.0.0.1", "--log", LOG.key.vkey],
        ["--listen", ":1", "--log", LOG.key.vkey],
        ["--listen", "127.0.0.1:70000", "--log", LOG.key.vkey],
        ["--listen", "127.0.0.1:0", "--log", "nonsense"],
        ["--show-key"],
        ["--show"],
    ],
)
def test_a_command_line_that_is_wrong_is_said(tmp_path: Path, words: list[str], capsys: Capture) -> None:
    assert main(["ledger", "witness", "--state", str(tmp_path / "state"), *words]) == 2
    assert capsys.readouterr().err.startswith("[RW-")


def test_what_was_answered_is_known_after_kill_9(tmp_path: Path) -> None:
    random = Random(7)
    known = 0
    for _ in range(int(os.environ.get("ROADWORTHY_KILLS", "12")) // 3):
        with started(tmp_path) as (process, port):
            threading.Timer(random.uniform(0.01, 0.2), process.kill).start()
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
                try:
                    while known < 200:
                        status, _, said = post(connection, LOG.request(known, min(known + 1, 200)))
                        # After a kill the witness may know one more than it had answered, and never less.
                        assert status == 200 or (status, said) == (409, f"{known + 1}\n")
                        known += 1
                except (OSError, http.client.HTTPException):
                    pass
            process.wait(20)
    with Memory(tmp_path, looking=True) as memory:
        ((seen),) = memory.all_seen()
    assert known > 4
    assert seen.checkpoint.size in (known, known + 1)
