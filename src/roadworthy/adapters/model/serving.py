"""HTTP/1.1 on loopback: a door that looks at the name and the path before it reads a body.

A page in a browser can send requests to loopback (DNS rebinding), so that listening there alone keeps nobody out: the
`Host` header must be ours, an `Origin` is refused, and no answer bears a header that lets other origins read it.
"""

from __future__ import annotations

import json
import logging
import select
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, cast

_log = logging.getLogger("roadworthy.model")

_IDLE_S: Final = 300.0
"""How long a client may be silent, between two requests or within one."""
_CONNECTIONS: Final = 1024
"""The most connections at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    body: bytes
    trace: str | None
    """The client's `traceparent`, if it sent one."""
    gone: Callable[[], bool]
    """Whether the client has left meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What it gets."""

    status: int
    body: Mapping[str, Any] | Iterator[bytes]
    """An object, or events one after the other. An iterator is closed in any case."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def refused(status: int, code: str, text: str) -> Response:
    """An error in the form of OpenAI's API, which clients are told not to try again."""
    error = {"message": text, "type": "roadworthy", "param": None, "code": code}
    return Response(status=status, body={"error": error}, headers={"x-should-retry": "false"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Doorway:
    """What is behind the door."""

    known: Callable[[str], bool]
    """Whether a path may come in; asked before the body is read."""
    handle: Callable[[Request], Response]
    most_bytes: int
    """The most bytes of a request's body."""


class LoopbackServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listens on 127.0.0.1; a thread for each connection, all of which end with `close`."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, doorway: Doorway, port: int) -> None:
        self.doorway = doorway
        self._open: dict[socket.socket, threading.Thread | None] = {}
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)
        self.port: int = self.socket.getsockname()[1]
        self.hosts = frozenset((f"127.0.0.1:{self.port}", f"localhost:{self.port}"))
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="roadworthy-model", daemon=True)

    def start(self) -> None:
        """Serve, in threads of its own."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening, end what goes on, and wait for its threads."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._guard:
            going = dict(self._open)
        for connection in going:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in going.values():
            if thread is not None and thread is not threading.current_thread():
                thread.join(timeout=5.0)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for another connection."""
        del client_address
        with self._guard:
            if len(self._open) >= _CONNECTIONS:
                return False
            self._open[request] = None
            return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, in its own thread."""
        with self._guard:
            self._open[request] = threading.current_thread()
        super().process_request_thread(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """One connection is over."""
        with self._guard:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection broke: the client left, or something here is wrong, which the log tells."""
        del request, client_address
        _log.debug("a connection broke", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    disable_nagle_algorithm = True
    wbufsize = -1
    server_version = "roadworthy"
    sys_version = ""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        server = cast("LoopbackServer", self.server)
        if self.request_version != self.protocol_version:
            return self._turn_away(refused(505, "http", "HTTP/1.1 is spoken here"))
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or hosts[0].lower() not in server.hosts:
            return self._turn_away(refused(421, "host", "this name is not served here"))
        if "Origin" in self.headers:
            return self._turn_away(refused(403, "origin", "pages in browsers are not served here"))
        if not server.doorway.known(self.path):
            return self._turn_away(
                refused(404, "path", "nothing is here: the base URL ends in /r/TOKEN/v1, as the endpoint gave it")
            )
        try:
            body = self._body(server.doorway.most_bytes)
        except _BadBody as error:
            return self._turn_away(refused(error.status, "body", str(error)))
        try:
            response = server.doorway.handle(
                Request(
                    method=self.command,
                    path=self.path,
                    body=body,
                    trace=self.headers.get("traceparent"),
                    gone=self._gone,
                )
            )
        except Exception:  # the client must hear of it, and not wait
            _log.exception("a request to a model could not be served")
            response = refused(500, "defect", "the endpoint failed; its log says why")
        return self._give(response)

    def _body(self, most: int) -> bytes:
        if self.command == "GET":
            return b""
        if "Transfer-Encoding" in self.headers or "Content-Encoding" in self.headers:
            raise _BadBody(415, "the body is chunked or packed: send it plain, with its Content-Length")
        lengths = self.headers.get_all("Content-Length") or []
        if len(lengths) != 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
            raise _BadBody(411, "the body has no length: send one Content-Length")
        length = int(lengths[0])
        if length > most:
            raise _BadBody(413, f"the body has {length} bytes, and {most} are the most")
        body = self.rfile.read(length)
        if len(body) < length:
            raise _BadBody(400, "the body ended early")
        return body

    def _gone(self) -> bool:
        try:
            readable, _, _ = select.select([self.connection], [], [], 0)
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True

    def _turn_away(self, response: Response) -> None:
        self.close_connection = True  # its body was not read
        self._give(response)

    def _give(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        if isinstance(response.body, Mapping):
            data = json.dumps(response.body, separators=(",", ":")).encode()
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()
            return
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pieces = response.body
        try:
            for piece in pieces:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()
        except BaseException:
            self.close_connection = True  # a stream that breaks off has no last chunk, and so the client knows
            raise
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class says of requests that it cannot read or does not serve."""
        del explain
        self._turn_away(refused(int(code), "http", message or "this request is not served here"))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the path holds the token."""


class _BadBody(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
