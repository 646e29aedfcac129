"""The MCP server behind the proxy: one connection to it for each session, with the credentials that only we hold.

What it is asked is asked through the official SDK's client. It is offered nothing itself: no sampling, no elicitation,
no roots, so that it cannot reach the client's model or user around the gate.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final, TypeVar, cast

import anyio
import httpx
from anyio.abc import TaskStatus
from mcp import types
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import McpError
from mcp.shared.session import RequestResponder
from pydantic import BaseModel

from roadworthy.adapters.mcp.pins import FIELDS, Told
from roadworthy.adapters.mcp.streams import MOST_BYTES, Incoming, Outgoing, process_streams
from roadworthy.contract.shapes import Shape
from roadworthy.core.errors import UsageError
from roadworthy.gate.carry import NotDone

logger = logging.getLogger("roadworthy.adapters")

_MOST_TOOLS: Final = 2_000
"""So many tools may a server list; one that lists more, or for ever, is not followed."""
_NOT_DONE: Final = (types.INVALID_PARAMS, types.METHOD_NOT_FOUND, types.INVALID_REQUEST, types.PARSE_ERROR)
"""Errors by which a server says that it has not even begun."""

R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A server that we start, and talk to over its standard streams."""

    words: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    """All of its environment, credentials with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A server that runs elsewhere, and is reached by streamable HTTP."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """What is sent with every request, credentials with it."""


Behind = Command | Address


class ServerGone(NotDone):
    """The server cannot be asked any more, so that nothing was done."""


class ServerRefused(NotDone):
    """The server says that it cannot even begin."""


class ServerFailed(Exception):
    """The server failed on the way; nobody knows how far it came."""


class ToolFailed(Exception):
    """The tool says that it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a server lists at one moment."""

    tools: Mapping[str, Told]
    twice: frozenset[str]
    """Names that it lists more than once."""


class Server:
    """A connection to a server. `keep` holds it; all else asks through it."""

    def __init__(self, behind: Behind, *, timeout_s: float, most_bytes: int = MOST_BYTES) -> None:
        self._behind = behind
        self._timeout_s = timeout_s
        self._most = most_bytes
        self._client: ClientSession | None = None
        self._leaving = anyio.Event()
        self._gone: str | None = None
        self.methods: frozenset[str] = frozenset()
        """What the server says that it can do beside tools."""
        self.on_change: Callable[[], None] | None = None
        """Told when the server says that its tools have changed."""

    @property
    def gone(self) -> str | None:
        """Why it cannot be asked any more; None while it can."""
        return self._gone

    async def keep(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Hold the connection until `leave`; started once it stands, or once it is known that it never will."""
        started = False
        try:
            async with _streams(self._behind, self._ended, self._timeout_s, self._most) as (incoming, outgoing):
                about = types.Implementation(name="roadworthy", version=version("roadworthy"))
                async with ClientSession(incoming, outgoing, message_handler=self._came, client_info=about) as client:
                    with anyio.fail_after(self._timeout_s):
                        await client.initialize()
                    self._client = client
                    started = True
                    task_status.started()
                    await self._leaving.wait()
        except Exception as error:  # a server, a network or a program of others: whatever it raises ends here
            self._ended(_why(error, self._timeout_s))
            logger.error("%s", self._gone)
        finally:
            self._client = None
            if not started:
                task_status.started()

    def leave(self) -> None:
        """End the connection."""
        self._leaving.set()

    async def list(self) -> Listed:
        """The tools that it has now. Raises ServerGone and ServerFailed."""
        tools: dict[str, Told] = {}
        twice: set[str] = set()
        cursor, seen = None, set[str]()
        while True:
            params = types.PaginatedRequestParams(cursor=cursor) if cursor is not None else None
            page = await self.ask(types.ListToolsRequest(params=params), types.ListToolsResult)
            for tool in page.tools:
                if tool.name in tools:
                    twice.add(tool.name)
                tools[tool.name] = told_of(tool)
            cursor = page.nextCursor
            if cursor is None:
                return Listed(tools=tools, twice=frozenset(twice))
            if cursor in seen or len(tools) > _MOST_TOOLS:
                raise ServerFailed("the MCP server lists its tools without an end")
            seen.add(cursor)

    async def call(self, name: str, args: Mapping[str, Any]) -> types.CallToolResult:
        """Call a tool. Raises ToolFailed where its answer says so, else as `ask`, and TimeoutError."""
        params = types.CallToolRequestParams(name=name, arguments=dict(args))
        result = await self.ask(types.CallToolRequest(params=params), types.CallToolResult)
        if result.isError:
            raise ToolFailed(text_of(result.content) or "it gave no reason")
        return result

    async def ask(self, request: Any, answer: type[R]) -> R:
        """Ask for anything. Raises ServerGone and ServerRefused where nothing was done, ServerFailed, TimeoutError."""
        client = self._client
        if client is None or self._gone is not None:
            raise ServerGone(self._gone or "the MCP server is not connected")
        number = client._request_id  # pyright: ignore[reportPrivateUsage]  # the id that this request will have
        try:
            with anyio.fail_after(self._timeout_s):
                return await client.send_request(types.ClientRequest(request), answer)
        except TimeoutError:
            await self._give_up(client, number)
            raise TimeoutError(f"the MCP server gave no answer within {self._timeout_s:g} s") from None
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._give_up(client, number)
            raise
        except McpError as error:
            if error.error.code in _NOT_DONE:
                raise ServerRefused(error.error.message) from error
            raise ServerFailed(self._gone or error.error.message) from error
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            raise ServerFailed(self._gone or "the connection to the MCP server broke") from error

    async def _give_up(self, client: ClientSession, number: int) -> None:
        """Tell the server that nobody waits any more. It may go on all the same."""
        params = types.CancelledNotificationParams(requestId=number, reason="nobody waits for it any more")
        with anyio.move_on_after(0.5):
            try:
                await client.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))
            except Exception as error:  # the connection is gone, or going
                logger.debug("could not give up a request: %s", type(error).__name__)

    def _ended(self, why: str) -> None:
        if self._gone is None and not self._leaving.is_set():
            self._gone = why

    async def _came(
        self,
        message: RequestResponder[types.ServerRequest, types.ClientResult] | types.ServerNotification | Exception,
    ) -> None:
        """What comes unasked. Nothing of it goes on to the client; that tools have changed is looked into."""
        if not isinstance(message, types.ServerNotification) or self.on_change is None:
            return
        if isinstance(message.root, types.ToolListChangedNotification):
            self.on_change()


@asynccontextmanager
async def _streams(
    behind: Behind, ended: Callable[[str], None], timeout_s: float, most: int
) -> AsyncGenerator[tuple[Incoming, Outgoing]]:
    if isinstance(behind, Command):
        async with process_streams(behind.words, env=behind.env, ended=ended, most=most) as streams:
            yield streams
        return
    timeout = httpx.Timeout(timeout_s, read=None)
    async with (
        httpx.AsyncClient(headers=dict(behind.headers), timeout=timeout, follow_redirects=False) as http,
        streamable_http_client(behind.url, http_client=http) as (incoming, outgoing, _),
    ):
        yield incoming, outgoing


def _why(error: BaseException, timeout_s: float) -> str:
    """What ended a connection, in one line. Groups of errors are told by their first."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    if isinstance(error, UsageError):
        return error.text
    if isinstance(error, TimeoutError):
        return f"the MCP server did not come up within {timeout_s:g} s"
    return f"the connection to the MCP server broke: {type(error).__name__}: {error}"


def told_of(tool: types.Tool) -> Told:
    """What a server says of a tool, as far as it is pinned."""
    told = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {name: told[name] for name in FIELDS if name in told}


def text_of(content: Sequence[types.ContentBlock]) -> str:
    """The text of an answer. What is no text cannot be judged, and is named instead of passed on."""
    parts: list[str] = []
    for block in content:
        if isinstance(block, types.TextContent):
            parts.append(block.text)
        elif isinstance(block, types.EmbeddedResource) and isinstance(block.resource, types.TextResourceContents):
            parts.append(block.resource.text)
        elif isinstance(block, types.ResourceLink):
            parts.append(str(block.uri))
        else:
            parts.append(f"[{block.type}: not passed on, because a gate can judge text only]")
    return "\n".join(parts)


def value_of(result: types.CallToolResult, shape: Shape | None) -> Any:
    """An answer as the contract's `returns` can read it: structured where it is, else its text, read as JSON.

    Servers wrap an answer that is no object as `{"result": ...}`; that is undone unless the contract expects it.
    """
    structured = result.structuredContent
    if structured is not None:
        wrapped = structured.keys() == {"result"}
        expected = shape is not None and shape.type == "object" and "result" in shape.fields
        return structured["result"] if wrapped and not expected else structured
    text = text_of(result.content)
    if shape is None or shape.type == "string":
        return text
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
