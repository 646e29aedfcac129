"""A witness over HTTP, as C2SP tlog-witness has it: what comes in is bounded in size, in time and in number.

Nothing here decides anything: a request's body goes to `Witness.add_checkpoint`, and its answer goes back. What is sent
is no secret and what comes back is signed, so plain HTTP loses nothing but who talked to whom.
"""

from __future__ import annotations

import io
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from roadworthy.core.errors import LedgerError, UsageError, told_why
from roadworthy.ledger.witness import MAX_REQUEST, Answer, Witness

REQUEST_S: Final = 10.0
"""How long one request may take to arrive, from its first byte to its last."""

IDLE_S: Final = 30.0
"""How long a connection may wait for its next request."""

CONNECTIONS: Final = 64
"""Connections at once; those above are closed as they come."""

_PARTING_S: Final = 1.0
_PARTING_READS: Final = 16

_log = logging.getLogger("roadworthy.witness")


class WitnessServer(ThreadingHTTPServer):
    """Serves a witness: POST /add-checkpoint, and GET /HASH/checkpoint for what it has last signed for a log.

    HASH is the SHA-256 of the log's origin, in hex. Listens from the time it is made; raises UsageError where it
    cannot. `request_s` and `idle_s` bound a connection's patience, in seconds.
    """

    daemon_threads = True
    # What is answered is already on disk: nobody has to wait for connections that only idle.
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], witness: Witness, *, request_s: float = REQUEST_S, idle_s: float = IDLE_S
    ) -> None:
        self.witness = witness
        self.request_s = request_s
        self.idle_s = idle_s
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        try:
            super().__init__(address, _Handler)
        except OSError as cause:
            raise UsageError(
                f"nobody can listen on {address[0]} port {address[1]}: {told_why(cause)}; give another "
                "HOST:PORT, port 0 for any free one"
            ) from cause

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.server_address[:2]
        host = host.decode() if isinstance(host, bytes | bytearray) else host
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, if there is a place left."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and free its place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is the client's affair: it is said, and no traceback is printed."""
        _log.debug("the connection of %s broke", client_address, exc_info=True)


class _Deadline(io.RawIOBase):
    """A connection's bytes until a time: a client that sends them one by one does not hold a place for ever."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.ends = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long to arrive")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer  # pyright: ignore[reportIncompatibleVariableOverride]  # the one class that makes them
    protocol_version = "HTTP/1.1"
    server_version = "roadworthy-witness"
    sys_version = ""
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._refused = False
        self.rfile.close()
        self._bytes = _Deadline(self.connection)
        self.rfile = self._reader = io.BufferedReader(self._bytes)

    def handle_one_request(self) -> None:
        # The first byte may let itself be waited for; from then on the request has its own time.
        self._bytes.ends = time.monotonic() + self.server.idle_s
        try:
            waited = self._reader.peek(1)
        except OSError:  # TimeoutError is one
            waited = b""
        if not waited:
            self.close_connection = True
            return
        self._bytes.ends = time.monotonic() + self.server.request_s
        super().handle_one_request()

    def do_POST(self) -> None:
        if self.path != "/add-checkpoint":
            self._refuse(HTTPStatus.NOT_FOUND, "there is only /add-checkpoint to post to")
            return
        # What was not read would be taken for the next request, so these close the connection.
        if self.headers.get("Transfer-Encoding") is not None:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "say how long the body is: Content-Length")
            return
        lengths = self.headers.get_all("Content-Length") or []
        if len(lengths) != 1 or not lengths[0].isascii() or not lengths[0].isdigit():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "say how long the body is: Content-Length")
            return
        if len(lengths[0]) > 9 or int(lengths[0]) > MAX_REQUEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {MAX_REQUEST} bytes")
            return
        body = self.rfile.read(int(lengths[0]))
        if len(body) != int(lengths[0]):
            self.close_connection = True
            return
        self._answer(lambda: self.server.witness.add_checkpoint(body))

    def do_GET(self) -> None:
        parts = self.path.split("/")
        if len(parts) != 3 or parts[2] != "checkpoint":
            self._refuse(HTTPStatus.NOT_FOUND, "there is only /HASH/checkpoint to get, HASH being the log's")
            return
        self._answer(lambda: self.server.witness.latest(parts[1]))

    def _answer(self, judge: Callable[[], Answer]) -> None:
        try:
            answer = judge()
        except LedgerError as error:
            _log.error("%s", error)
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "the witness cannot keep what it signs; its log says why")
            return
        self._send(answer)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self._refused = self.close_connection = True
        self._send(Answer(status=status, body=f"{text}\n"))

    def finish(self) -> None:
        """Whoever is refused may still be sending: what they send is taken for a moment, or they would be cut off
        before they have read why."""
        super().finish()
        if not self._refused:
            return
        self._bytes.ends = time.monotonic() + min(_PARTING_S, self.server.request_s)
        rest = bytearray(65_536)
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            for _ in range(_PARTING_READS):
                if not self._bytes.readinto(rest):
                    return

    def _send(self, answer: Answer) -> None:
        body = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.media)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.connection.settimeout(self.server.request_s)
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses by itself, in plain text: it would answer with a page."""
        del explain
        self._refused = self.close_connection = True
        self._send(Answer(status=code, body=f"{message or HTTPStatus(code).phrase}\n"))

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug("%s %s", self.client_address[0], (format % args).encode("unicode_escape").decode())
