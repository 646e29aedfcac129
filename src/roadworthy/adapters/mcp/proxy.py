"""A gate in front of an MCP server: every `tools/call` of any client, in any language, passes it.

    proxy = Proxy(contract, ledger, Command(words=["my-server"], env={...}), pins, capabilities=["support"])
    await proxy.serve_stdio()

The client talks to the proxy and the proxy to the server, both through the official SDK, and what is not named here
goes no further: other methods are refused, and what the server sends unasked is dropped. One MCP session is one run.
"""

from __future__ import annotations

from roadworthy.core.errors import UsageError

try:
    import anyio
    from mcp import types
    from mcp.server.lowlevel import NotificationOptions
    from mcp.server.lowlevel import Server as Front
    from mcp.server.models import InitializationOptions
    from mcp.server.session import ServerSession
    from mcp.shared.exceptions import McpError
    from mcp.shared.message import ServerMessageMetadata, SessionMessage
except ImportError as error:
    raise UsageError("the MCP SDK is not installed: `pip install 'roadworthy[mcp]'` brings it along") from error

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, cast

import orjson
from anyio.abc import TaskGroup
from pydantic import BaseModel

from roadworthy.adapters.calls import abring
from roadworthy.adapters.mcp.pins import Fault, Told, fault_of
from roadworthy.adapters.mcp.server import Address, Behind, Command, Listed, Server, value_of
from roadworthy.adapters.mcp.streams import MOST_BYTES, Incoming, Outgoing, standard_streams
from roadworthy.adapters.replies import notice
from roadworthy.contract.model import Contract
from roadworthy.contract.resolve import shapes_of
from roadworthy.core.errors import HarnessError, RoadworthyError, Suspended
from roadworthy.core.types import Draft, Outcome
from roadworthy.gate.carry import NotDone
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run
from roadworthy.ledger.store import Ledger

__all__ = ["PASSABLE", "Address", "Command", "Proxy", "listed_by"]

logger = logging.getLogger("roadworthy.adapters")

PASSABLE: Final[Mapping[str, type[BaseModel]]] = {
    "resources/list": types.ListResourcesResult,
    "resources/templates/list": types.ListResourceTemplatesResult,
    "resources/read": types.ReadResourceResult,
    "prompts/list": types.ListPromptsResult,
    "prompts/get": types.GetPromptResult,
}
"""Methods beside tools that an operator may let through, with their answers. All others are always refused."""
_REQUESTS: Final = frozenset(("initialize", "ping", "tools/list", "tools/call"))
_NOTIFICATIONS: Final = frozenset(("notifications/initialized", "notifications/cancelled"))
_EVERY_S: Final = 1.0
"""How often a session with held actions looks whether people have answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """For whom a session acts, as the operator or the operator's own front door says."""

    principal: str | None = None
    subject: str | None = None


class Refused(Exception):
    """A request that goes no further, with what the client is told."""

    def __init__(self, text: str, code: int = types.INVALID_REQUEST) -> None:
        super().__init__(text)
        self.error = types.ErrorData(code=code, message=text)


class Proxy:
    """What stands between MCP clients and a server: the contract, the ledger, the server, and what was accepted of it.

    `capabilities` are open in every run; where the contract has one only, it need not be named. `who_headers`: the
    names of the HTTP headers that say principal and subject; without a name the one of `who` holds. `passing`: methods
    of `PASSABLE` that go through. Raises UsageError.
    """

    def __init__(
        self,
        contract: Contract,
        ledger: Ledger,
        behind: Behind,
        pins: Mapping[str, Told],
        *,
        who: Who | None = None,
        principal_header: str | None = None,
        subject_header: str | None = None,
        capabilities: Sequence[str] = (),
        facts: Mapping[str, Any] | None = None,
        passing: Sequence[str] = (),
        timeout_s: float = 60.0,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        for method in passing:
            if method not in PASSABLE:
                raise UsageError(f"{method!r} cannot be let through; these can: {', '.join(PASSABLE)}")
        self.contract = contract
        self.behind = behind
        self.pins = pins
        self.who = who or Who()
        self.principal_header = principal_header
        self.subject_header = subject_header
        self.capabilities = _opened(contract, capabilities)
        self.facts = facts
        self.passing = frozenset(passing)
        self.timeout_s = timeout_s
        self.most_bytes = most_bytes
        self.shapes = shapes_of(contract)
        self.gate = Gate(contract, ledger, tools={name: _carried(name) for name in contract.tools})
        if principal_header is None:
            self._check_principal()

    def _check_principal(self) -> None:
        """What every session would be refused for. Raises UsageError."""
        known, principal = self.contract.principals, self.who.principal
        if known and principal not in known:
            raise UsageError(f"say who the clients are, with --principal: the contract knows {', '.join(known)}")
        for name in self.capabilities:
            self.gate.check_capability(name, principal or self.contract.agent)

    async def serve_stdio(self) -> None:
        """Serve the client at our standard streams until it leaves."""
        front = self.front()
        async with standard_streams(most=self.most_bytes) as (incoming, outgoing):
            await front.run(incoming, outgoing, front.create_initialization_options())

    def front(self) -> Front[Any, Any]:
        """The server that clients see. Each of its runs is a session."""
        return _Front(self)

    async def look(self) -> None:
        """Ask the server for its tools once, and say what of them is refused. Raises UsageError where it cannot be."""
        listed = await listed_by(self.behind, timeout_s=self.timeout_s)
        for name in self.offered():
            fault = fault_of(self.contract.model_name(name), self.pins, listed.tools, listed.twice)
            if fault is not None:
                logger.warning("%s is refused: %s", name, fault.text)

    def connect(self) -> Server:
        """A new connection to the server behind, not yet held."""
        return Server(self.behind, timeout_s=self.timeout_s, most_bytes=self.most_bytes)

    def offered(self) -> tuple[str, ...]:
        """The tools of the contract that clients may see, as far as the server has them as they were accepted."""
        law = self.contract
        opened = {*law.common, *(tool for name in self.capabilities for tool in law.capabilities[name].tools)}
        handing_over = law.escalate.tool if law.escalate is not None else None
        return tuple(n for n, t in law.tools.items() if n in opened and t.only != "undo" and n != handing_over)


def _opened(contract: Contract, wanted: Sequence[str]) -> tuple[str, ...]:
    for name in wanted:
        if name not in contract.capabilities:
            known = ", ".join(contract.capabilities)
            raise UsageError(f"the contract of {contract.agent} has no capability {name!r}; it has {known}")
    if wanted or len(contract.capabilities) == 1:
        return tuple(wanted) or tuple(contract.capabilities)
    known = ", ".join(contract.capabilities)
    raise UsageError(f"say what the clients are for, with --capability: the contract has {known}")


async def listed_by(behind: Behind, *, timeout_s: float) -> Listed:
    """What a server lists now. Raises UsageError where it cannot be asked."""
    server = Server(behind, timeout_s=timeout_s)
    listed: Listed | Exception | None = None
    async with anyio.create_task_group() as group:
        await group.start(server.keep)
        try:
            listed = await server.list()
        except Exception as error:  # whatever a server does, whoever runs this command must see to it
            listed = error
        server.leave()
    if not isinstance(listed, Listed):
        raise UsageError(f"the MCP server cannot be asked for its tools: {listed}")
    return listed


# -- a session --------------------------------------------------------------------------------------------------------

_SESSION: ContextVar[_Session | None] = ContextVar("roadworthy_mcp_session", default=None)
"""Whose call it is that the gate carries now."""


def _carried(tool: str) -> Callable[..., Any]:
    """The tool of the server that is connected for the session in which it is called."""

    async def carried(**args: Any) -> Any:
        session = _SESSION.get()
        if session is None:
            raise NotDone("it belongs to no MCP session")
        return await session.carry(tool, args)

    return carried


class _Session:
    """One client's session: its run, its own connection to the server, and what the server lists there."""

    def __init__(self, proxy: Proxy, group: TaskGroup) -> None:
        self._proxy = proxy
        self._group = group
        self._server: Server | None = None
        self._run: Run | None = None
        self._who: Who | None = None
        self._refused: Refused | None = None
        self._listed = Listed(tools={}, twice=frozenset())
        self._stale = False
        self._looking = anyio.Lock()
        self._drifted: set[tuple[str, str]] = set()
        self._client: ServerSession | None = None

    # -- its beginning and end ----------------------------------------------------------------------------------------

    async def admit(self, message: SessionMessage) -> None:
        """Let a request in, or raise Refused. The first one opens the run and connects the server."""
        who = self._who_sends(message)
        if self._refused is not None:
            raise self._refused
        if self._who is not None:
            if who != self._who:
                raise Refused("this session is somebody else's: principal and subject never change within one")
            return
        try:
            await self._begin(who)
        except Refused as refused:
            self._refused = refused
            raise
        except RoadworthyError as refused:
            logger.error("a session was refused: %s", refused)
            self._refused = Refused(f"This session cannot be opened: {refused.text}")
            raise self._refused from refused
        except Exception as error:  # the ledger or the gate broke: nobody gets in then
            logger.error("a session was refused", exc_info=error)
            self._refused = Refused(f"This session cannot be opened ({type(error).__name__}).", types.INTERNAL_ERROR)
            raise self._refused from error
        self._who = who

    def _who_sends(self, message: SessionMessage) -> Who:
        proxy = self._proxy
        names = (proxy.principal_header, proxy.subject_header)
        if names == (None, None):
            return proxy.who
        metadata = message.metadata
        request = metadata.request_context if isinstance(metadata, ServerMessageMetadata) else None
        headers: Any = getattr(request, "headers", None)
        found: list[str | None] = []
        for name, otherwise in zip(names, (proxy.who.principal, proxy.who.subject), strict=True):
            if name is None:
                found.append(otherwise)
                continue
            values = list(headers.getlist(name)) if headers is not None else []
            if len(values) != 1 or not values[0].strip():
                raise Refused(f"the header {name} is missing, or stands there more than once")
            found.append(values[0].strip())
        return Who(principal=found[0], subject=found[1])

    async def _begin(self, who: Who) -> None:
        proxy = self._proxy
        self._server = server = proxy.connect()
        server.on_change = self._changed
        await self._group.start(server.keep)
        if server.gone is not None:
            raise Refused(f"This session cannot be opened: {server.gone}", types.INTERNAL_ERROR)
        self._run = await asyncio.to_thread(
            proxy.gate.run,
            principal=who.principal,
            subject=who.subject,
            facts=proxy.facts,
            capability=proxy.capabilities,
        )
        await self._look()
        self._group.start_soon(self._follow)

    async def end(self) -> None:
        """The client has left: the run is over, unless people still have to answer in it."""
        if self._server is not None:
            self._server.leave()
        run = self._run
        if run is not None and run.status == "open":
            try:
                await asyncio.to_thread(run.close, "the MCP session has ended")
            except RoadworthyError as error:
                logger.error("the end of run %s could not be recorded: %s", run.id, error)

    async def _follow(self) -> None:
        """Do what people have decided while the client waits, or does something else."""
        while True:
            await anyio.sleep(_EVERY_S)
            await self._settle()

    async def _settle(self) -> None:
        run = self._run
        if run is None or run.status != "held":
            return
        try:
            await run.asettle()
        except Exception as error:  # it stays held, and the next look may do it
            logger.error("what people decided in run %s could not be done", run.id, exc_info=error)

    # -- what the server lists ----------------------------------------------------------------------------------------

    def _changed(self) -> None:
        self._stale = True
        self._group.start_soon(self._tell_of_change)

    async def _tell_of_change(self) -> None:
        before = self.tools()
        try:
            await self._look()
        except Exception as error:
            logger.error("the MCP server has changed its tools, and cannot say how: %s", error)
        if self._client is not None and self.tools() != before:
            with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                await self._client.send_tool_list_changed()

    async def _look(self, *, anew: bool = False) -> None:
        """Ask the server for its tools where that is due, and write down what is not as it was accepted."""
        server = self._server
        if server is None or self._run is None:
            raise NotDone("there is no MCP session")
        async with self._looking:
            if not (anew or self._stale or not self._listed.tools):
                return
            self._stale = False
            try:
                self._listed = await server.list()
            except BaseException:
                self._stale = True  # until it is known again, nothing is called
                raise
            await self._write_drift()

    async def _write_drift(self) -> None:
        proxy, run = self._proxy, cast("Run", self._run)
        drafts: list[Draft] = []
        for name in proxy.contract.tools:
            fault = self._fault(name)
            if fault is None or (fault.change == "missing" and proxy.contract.model_name(name) not in proxy.pins):
                continue
            if (name, fault.drift) in self._drifted:
                continue
            self._drifted.add((name, fault.drift))
            body: dict[str, Any] = {
                "tool": name,
                "principal": run.principal,
                "change": f"description_{fault.change}",
                "path": "",
                "text": fault.drift,
                "breaking": True,
                "confirmed": True,
            }
            at = proxy.gate.clock.now()
            drafts.append(
                Draft(kind="drift", world=proxy.gate.world, run=run.id, body=body, at=at, subject=run.subject)
            )
            logger.warning("%s is refused: %s", name, fault.text)
        if drafts:
            await proxy.gate.ledger.aappend(drafts)

    def _fault(self, tool: str) -> Fault | None:
        name = self._proxy.contract.model_name(tool)
        return fault_of(name, self._proxy.pins, self._listed.tools, self._listed.twice)

    def tools(self) -> list[types.Tool]:
        """What the client sees: tools of the contract that are as they were accepted, described as they were then."""
        proxy, law = self._proxy, self._proxy.contract
        seen: list[types.Tool] = []
        for name in proxy.offered():
            if self._fault(name) is not None:
                continue
            spec, pinned = law.tools[name], proxy.pins[law.model_name(name)]
            filled = {spec.idempotent.passed_as} if spec.idempotent is not None else set[str]()
            args = [arg for arg in proxy.shapes.args[name] if arg not in filled]
            seen.append(
                types.Tool(
                    name=law.model_name(name),
                    description=spec.description or pinned.get("description"),
                    inputSchema=_narrowed(pinned["inputSchema"], args),
                    annotations=types.ToolAnnotations(readOnlyHint=spec.effect in ("read", "compute")),
                )
            )
        return seen

    # -- what the client asks -----------------------------------------------------------------------------------------

    async def list(self, client: ServerSession) -> types.ListToolsResult:
        """Answer `tools/list`; the server is asked anew, so that what has changed is not shown."""
        self._client = client
        try:
            await self._look(anew=True)
        except Exception as error:
            raise McpError(
                types.ErrorData(code=types.INTERNAL_ERROR, message=f"The tools cannot be listed: {error}")
            ) from error
        return types.ListToolsResult(tools=self.tools())

    async def call(self, client: ServerSession, name: str, args: object, call_id: str) -> types.CallToolResult:
        """Answer `tools/call`: through the gate, or not at all."""
        self._client = client
        run = self._run
        if run is None:
            return _said("Nothing was done: this session has no run.", wrong=True)
        await self._settle()
        tool = self._proxy.contract.tool_names.get(name)
        if tool is None:
            outcome = await self._unknown(run, name, args, call_id)
        else:
            fault = await self._standing_fault(tool)
            if fault is not None:
                return _said(f"Nothing was done: {fault}.", wrong=True)
            outcome = await abring(self._proxy.gate, run, tool, args, _carried(tool), call_id=call_id)
        return _answer(outcome, await self._news(run))

    async def _unknown(self, run: Run, name: str, args: object, call_id: str) -> Outcome:
        """A tool that no contract names: the gate says so, and writes it down."""
        given = cast("Mapping[str, Any]", args if isinstance(args, Mapping) else {})
        try:
            return await run.acall(name, given, None, call_id=call_id)
        except (HarnessError, Suspended):
            raise
        except Exception as error:
            logger.error("the gate failed at a call of %r", name, exc_info=error)
            return Outcome(status="denied", done="blocked", text=f"Nothing was done ({type(error).__name__}).")

    async def _standing_fault(self, tool: str) -> str | None:
        try:
            await self._look()
        except Exception as error:
            return f"the tools of the MCP server cannot be compared with what was accepted ({error})"
        fault = self._fault(tool)
        return None if fault is None else fault.text

    async def carry(self, tool: str, args: Mapping[str, Any]) -> Any:
        """Call a tool of the server, for the gate. What was decided meanwhile may be about a tool that has changed."""
        fault = await self._standing_fault(tool)
        if fault is not None or self._server is None:
            raise NotDone(fault or "there is no MCP server")
        result = await self._server.call(self._proxy.contract.model_name(tool), args)
        return value_of(result, self._proxy.shapes.returns.get(tool))

    async def _news(self, run: Run) -> list[str]:
        try:
            return await asyncio.to_thread(run.news)
        except RoadworthyError as error:  # it is told next time
            logger.error("news of run %s: %s", run.id, error)
            return []

    async def pass_on(self, request: Any, method: str) -> types.ServerResult:
        """Let a method through that the operator has named; what comes back is read by the run as untrusted."""
        if self._server is None or self._run is None:
            raise McpError(types.ErrorData(code=types.INTERNAL_ERROR, message="there is no MCP session"))
        params: Any = request.params
        if params is not None:
            # What the method has, and nothing that a client put beside it.
            kind = cast("type[BaseModel]", type(params))
            params = kind(**{name: getattr(params, name) for name in kind.model_fields if name != "meta"})
        try:
            result = await self._server.ask(type(request)(params=params), PASSABLE[method])
            text = orjson.dumps(result.model_dump(mode="json", by_alias=True, exclude_none=True)).decode()
            await asyncio.to_thread(self._run.read, text, trust="untrusted", source=f"mcp {method}")
        except Exception as error:  # what the run has not read, the client does not get
            text = f"{method} failed: {type(error).__name__}: {error}"
            raise McpError(types.ErrorData(code=types.INTERNAL_ERROR, message=text)) from error
        return types.ServerResult(cast("Any", result))


def _narrowed(schema: Mapping[str, Any], args: Sequence[str]) -> dict[str, Any]:
    """A pinned schema without the arguments that the contract does not have, or that the gate fills in."""
    narrowed = dict(schema)
    given: Any = schema.get("properties")
    properties = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    narrowed["type"] = "object"
    narrowed["properties"] = {name: properties.get(name, {}) for name in args}
    required: Any = schema.get("required")
    if isinstance(required, list):
        narrowed["required"] = [name for name in cast("list[Any]", required) if name in args]
    narrowed["additionalProperties"] = False
    return narrowed


def _said(text: str, *, wrong: bool) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], isError=wrong)


def _answer(outcome: Outcome, news: Sequence[str]) -> types.CallToolResult:
    """An outcome as an MCP result. A held action is no error: it is told, and the conversation goes on."""
    texts = [outcome.text, *([notice(" ".join(news))] if news else [])]
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=text) for text in texts]
    structured: dict[str, Any] | None = None
    if outcome.ok and isinstance(outcome.value, Mapping):
        with suppress(ValueError, TypeError):
            read: Any = orjson.loads(outcome.text)  # what was recorded is what is told, in either form
            structured = cast("dict[str, Any]", read) if isinstance(read, dict) else None
    return types.CallToolResult(
        content=content,
        structuredContent=structured,
        isError=outcome.status not in ("ok", "held"),
        _meta={"roadworthy/status": outcome.status, "roadworthy/done": outcome.done},
    )


# -- what clients see -------------------------------------------------------------------------------------------------


class _Front(Front[Any, Any]):
    """An MCP server whose every run is a session of the proxy."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__("roadworthy", version=version("roadworthy"))
        self._proxy = proxy
        self.request_handlers[types.ListToolsRequest] = self._list
        self.request_handlers[types.CallToolRequest] = self._call
        for method, kind in _kinds().items():
            if method in proxy.passing:
                self.request_handlers[kind] = self._passing(method)

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        told = notification_options or NotificationOptions(tools_changed=True)
        return super().create_initialization_options(told, experimental_capabilities)

    async def run(
        self,
        read_stream: Incoming,
        write_stream: Outgoing,
        initialization_options: InitializationOptions,
        raise_exceptions: bool = False,
        stateless: bool = False,
    ) -> None:
        sifted, inner = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        async with anyio.create_task_group() as group:
            session = _Session(self._proxy, group)
            token = _SESSION.set(session)
            group.start_soon(self._sift, session, read_stream, write_stream, sifted)
            try:
                await super().run(inner, write_stream, initialization_options, raise_exceptions, stateless)
            finally:
                _SESSION.reset(token)
                with anyio.CancelScope(shield=True):
                    await session.end()
                group.cancel_scope.cancel()

    async def _sift(self, session: _Session, incoming: Incoming, outgoing: Outgoing, sifted: Any) -> None:
        """Let through what is named here. Whatever else a client sends is answered with an error, or dropped."""
        allowed = _REQUESTS | self._proxy.passing
        async with incoming, sifted:
            with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                async for message in incoming:
                    if isinstance(message, Exception):
                        logger.warning("the client sent what is no message: %s", type(message).__name__)
                        continue
                    root = message.message.root
                    if isinstance(root, types.JSONRPCRequest):
                        try:
                            self._check(root, allowed)
                            await session.admit(message)
                        except Refused as refused:
                            error = types.JSONRPCError(jsonrpc="2.0", id=root.id, error=refused.error)
                            await outgoing.send(SessionMessage(types.JSONRPCMessage(error)))
                            continue
                    elif not isinstance(root, types.JSONRPCNotification) or root.method not in _NOTIFICATIONS:
                        continue
                    await sifted.send(message)

    def _check(self, request: types.JSONRPCRequest, allowed: frozenset[str]) -> None:
        if request.method not in allowed:
            way = " (whoever runs it may let it through with --pass)" if request.method in PASSABLE else ""
            text = f"{request.method} is refused: this proxy lets tools through, and nothing else{way}"
            raise Refused(text, types.METHOD_NOT_FOUND)
        if request.method == "tools/call" and (request.params or {}).get("task") is not None:
            raise Refused("tools/call as a task is refused: its result would not pass the gate", types.INVALID_PARAMS)

    async def _list(self, request: types.ListToolsRequest) -> types.ServerResult:
        del request
        context = self.request_context
        return types.ServerResult(await _session().list(context.session))

    async def _call(self, request: types.CallToolRequest) -> types.ServerResult:
        context = self.request_context
        params = request.params
        arguments = params.arguments if params.arguments is not None else {}
        return types.ServerResult(
            await _session().call(context.session, params.name, arguments, str(context.request_id))
        )

    def _passing(self, method: str) -> Callable[[Any], Any]:
        async def handler(request: Any) -> types.ServerResult:
            return await _session().pass_on(request, method)

        return handler


def _session() -> _Session:
    session = _SESSION.get()
    if session is None:
        raise McpError(types.ErrorData(code=types.INTERNAL_ERROR, message="there is no MCP session"))
    return session


def _kinds() -> Mapping[str, type[Any]]:
    return {
        "resources/list": types.ListResourcesRequest,
        "resources/templates/list": types.ListResourceTemplatesRequest,
        "resources/read": types.ReadResourceRequest,
        "prompts/list": types.ListPromptsRequest,
        "prompts/get": types.GetPromptRequest,
    }
