"""The proxy over streamable HTTP: a door that asks for the host's name and a token before anything else.

A page in a browser can send requests to loopback (DNS rebinding), so that listening there alone keeps nobody out: the
`Host` header must be one of ours, an `Origin` is refused, and the token is compared before the body is read.
Source: MCP specification 2025-11-25, Streamable HTTP, Security Warning.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvicorn
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from roadworthy.adapters.mcp.proxy import Proxy
from roadworthy.core.errors import UsageError, told_why

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_SHORTEST_TOKEN: Final = 20
_IDLE_S: Final = 30 * 60.0
"""How long a session may be silent before it is closed."""
_SESSIONS: Final = 100
"""The most sessions at a time: each has a server of its own behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where clients come in, and what they must bring."""

    address: str
    port: int
    """0: any that is free."""
    token: str = field(repr=False)
    names: tuple[str, ...] = ()
    """Host names, without a port, by which clients may reach us beside loopback."""
    shown: bool = False
    """Whether the token was made here, so that whoever started us must be told."""

    @classmethod
    def of(cls, text: str, *, token: str | None, names: Sequence[str], shown: bool) -> Door:
        """From HOST:PORT or :PORT, which is loopback. Raises UsageError."""
        found = re.fullmatch(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]]*):(?P<port>\d{1,5})", text)
        if found is None or int(found["port"]) > 65_535:
            raise UsageError(f"--http {text!r} is no address; write HOST:PORT, such as 127.0.0.1:8800")
        host = found["host"].strip("[]") or "127.0.0.1"
        if not names and not _is_loopback(host):
            raise UsageError(
                f"--http {text} can be reached from outside: say by which names clients reach it with --host, and put "
                "TLS in front of it"
            )
        port = int(found["port"])
        return cls(address=host, port=port, token=token or secrets.token_urlsafe(32), names=tuple(names), shown=shown)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(path: Path | None) -> str | None:
    """The token that clients must bring; None where a new one is to be made. Raises UsageError."""
    if path is None:
        return None
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {told_why(error)}") from error
    if re.fullmatch(rf"[A-Za-z0-9_\-.~]{{{_SHORTEST_TOKEN},}}", token) is None:
        raise UsageError(f"{path} holds no token: write at least {_SHORTEST_TOKEN} letters and digits, and no blanks")
    return token


async def serve_http(proxy: Proxy, door: Door, *, ready: Callable[[str], None]) -> None:
    """Serve clients until SIGTERM or Ctrl-C. `ready` is told where, once they may come. Raises UsageError."""
    await proxy.look()
    manager = StreamableHTTPSessionManager(
        proxy.front(),
        session_idle_timeout=_IDLE_S,
        max_sessions=_SESSIONS,
        max_request_body_size=proxy.most_bytes,
    )
    try:
        listening = _listen(door)
    except OSError as error:
        raise UsageError(f"nobody can be served at {door.address}:{door.port}: {error.strerror}") from error
    with listening:
        port = listening.getsockname()[1]
        app = _guarded(manager, door, port)
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        server = _Quiet(config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.leave)
        host = f"[{door.address}]" if ":" in door.address else door.address
        text = f"Serving http://{host}:{port}/mcp"
        if door.shown:
            text += f"\nClients send the header `Authorization: Bearer {door.token}`."
        async with manager.run():
            ready(text)
            await server.serve(sockets=[listening])


def _listen(door: Door) -> socket.socket:
    family = socket.AF_INET6 if ":" in door.address else socket.AF_INET
    return socket.create_server((door.address, door.port), family=family)


class _Quiet(uvicorn.Server):
    """uvicorn without signal handlers of its own, which raise the signal anew once it has left."""

    def capture_signals(self) -> Any:
        return nullcontext()

    def leave(self) -> None:
        self.should_exit = True


def _guarded(manager: StreamableHTTPSessionManager, door: Door, port: int) -> Any:
    names = (*_LOOPBACK, *door.names) if _is_loopback(door.address) else door.names
    hosts = {*(f"{name}:{port}".lower() for name in names), *(name.lower() for name in door.names)}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = _refusal(Headers(scope=scope), scope["path"], hosts, door.token)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await manager.handle_request(scope, receive, send)

    return app


def _refusal(headers: Headers, path: str, hosts: set[str], token: str) -> PlainTextResponse | None:
    """Why a request is turned away at the door; None where it may come in."""
    if len(headers.getlist("host")) != 1 or headers["host"].lower() not in hosts:
        return PlainTextResponse("This name is not served here: see --host.\n", 421)
    if "origin" in headers:
        return PlainTextResponse("Pages in browsers are not served here.\n", 403)
    given = headers.getlist("authorization")
    kind, _, value = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if kind.lower() != "bearer" or not secrets.compare_digest(value.strip().encode(), token.encode()):
        text = "The token is missing or wrong: send `Authorization: Bearer TOKEN`.\n"
        return PlainTextResponse(text, 401, headers={"WWW-Authenticate": "Bearer"})
    if path != "/mcp":
        return PlainTextResponse("There is nothing here: ask for /mcp.\n", 404)
    return None
