"""`roadworthy proxy`: a gate in front of an MCP server, for any client in any language."""

from __future__ import annotations

import asyncio
import json as json_format
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from roadworthy.cli.ledgers import GateBook, VaultChoice, appending
from roadworthy.cli.mcp_servers import EnvFile, EnvNames, Headers, need_mcp, server_named
from roadworthy.cli.terminal import err, json_line, log_to_standard_error, out, shown
from roadworthy.contract.model import Contract
from roadworthy.contract.names import did_you_mean
from roadworthy.core.errors import UsageError

if TYPE_CHECKING:
    from roadworthy.adapters.mcp.pins import Told
    from roadworthy.adapters.mcp.server import Behind, Listed


def command(
    contract: Annotated[Path, typer.Argument(help="The contract that the clients are under.")],
    ledger: GateBook,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="After `--`: the command that starts the MCP server.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Instead of a command: a server that runs already, by streamable HTTP.")
    ] = None,
    headers: Headers = None,
    env_file: EnvFile = None,
    env: EnvNames = None,
    capability: Annotated[
        list[str] | None, typer.Option(help="A capability that is open to the clients; repeatable.")
    ] = None,
    principal: Annotated[str | None, typer.Option(help="Who the clients are, as the contract names it.")] = None,
    subject: Annotated[str | None, typer.Option(help="For whom they act: the key of the contract's subject.")] = None,
    fact: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What you vouch for; VALUE is JSON, or text.")
    ] = None,
    http: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Serve over HTTP instead of standard input and output.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="With --http: holds the token that clients bring; else a new one is shown.")
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option(help="With --http: a name that clients may reach us by; repeatable.")
    ] = None,
    principal_header: Annotated[
        str | None, typer.Option(help="With --http: the header in which your own front door says the principal.")
    ] = None,
    subject_header: Annotated[
        str | None, typer.Option(help="With --http: the header in which your own front door says the subject.")
    ] = None,
    passing: Annotated[
        list[str] | None, typer.Option("--pass", metavar="METHOD", help="Let through, too, such as resources/read.")
    ] = None,
    pins: Annotated[
        Path | None, typer.Option(help="What was accepted of the server; default: NAME.mcp.lock.json by the contract.")
    ] = None,
    accept: Annotated[
        list[str] | None, typer.Option(metavar="TOOL", help="Accept what the server says of it now, and leave.")
    ] = None,
    accept_all: Annotated[
        bool, typer.Option("--accept-all", help="Accept all tools of the contract as they are now, and leave.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that the server may take for an answer.")] = 60.0,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="With --accept: a line of JSON for each tool.")] = False,
) -> int:
    """Put a gate in front of an MCP server: every tool call of every client passes it.

    Clients see only the contract's tools, and only as you have accepted them (--accept-all, once, before the first
    use); all other methods are refused. The server gets its credentials from files that the clients need not be able to
    read. Each MCP session is a run. Exit codes: 0 it ran, 1 tools were not accepted, 2 broken input.
    """
    law = Contract.load(contract)
    need_mcp()
    from roadworthy.adapters.mcp.pins import load_pins, lock_of

    behind = server_named(words or [], url, headers, env_file, env or [])
    lock = pins or lock_of(contract)
    accepted = load_pins(lock)
    if accept or accept_all:
        return _accept(law, behind, lock, accepted or {}, accept or [], timeout_s=timeout, json=json)
    if accepted is None:
        raise UsageError(
            f"nobody has accepted the tools of this server yet ({lock} is not there): look at them with the same "
            "command and `--accept-all`, which writes that file"
        )
    if http is None and (token_file or host or principal_header or subject_header):
        raise UsageError("--token-file, --host, --principal-header and --subject-header go with --http")
    facts = _facts(fact or [])
    log_to_standard_error()
    with appending(ledger, vault, create=True) as opened:
        from roadworthy.adapters.mcp.proxy import Proxy, Who

        proxy = Proxy(
            law,
            opened,
            behind,
            accepted,
            who=Who(principal=principal, subject=subject),
            principal_header=principal_header,
            subject_header=subject_header,
            capabilities=capability or [],
            facts=facts,
            passing=passing or [],
            timeout_s=timeout,
        )
        if http is None:
            asyncio.run(_until_told(proxy.serve_stdio()))
            return 0
        from roadworthy.adapters.mcp.http import Door, read_token, serve_http

        door = Door.of(http, token=read_token(token_file), names=host or [], shown=token_file is None)
        asyncio.run(serve_http(proxy, door, ready=lambda told: err().print(shown(told))))
    return 0


async def _until_told(serving: Awaitable[None]) -> None:
    """Serve until the client leaves or we are told to; the server behind is ended in either case."""
    task = asyncio.ensure_future(serving)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


def _facts(given: Sequence[str]) -> Mapping[str, Any] | None:
    facts: dict[str, Any] = {}
    for pair in given:
        name, there, value = pair.partition("=")
        if not there or not name:
            raise UsageError(f"--fact {pair!r}: write NAME=VALUE")
        try:
            facts[name] = json_format.loads(value)
        except ValueError:
            facts[name] = value
    return facts or None


# -- what is accepted -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    """What became of one tool."""

    tool: str
    name: str
    change: str
    before: Told | None
    now: Told | None


def _accept(
    law: Contract,
    behind: Behind,
    lock: Path,
    accepted: Mapping[str, Told],
    wanted: Sequence[str],
    *,
    timeout_s: float,
    json: bool,
) -> int:
    from roadworthy.adapters.mcp.pins import fault_of, save_pins
    from roadworthy.adapters.mcp.proxy import listed_by

    for name in wanted:
        if name not in law.tool_names:
            raise UsageError(f"the contract of {law.agent} has no tool {name!r}; {did_you_mean(name, law.tool_names)}")
    tools = {law.tool_names[name] for name in wanted} or set(law.tools)
    listed: Listed = asyncio.run(listed_by(behind, timeout_s=timeout_s))
    kept = dict(accepted)
    news: list[_News] = []
    for tool in sorted(tools, key=law.model_name):
        name = law.model_name(tool)
        fault = fault_of(name, accepted, listed.tools, listed.twice)
        change = fault.change if fault is not None else "as accepted"
        now = listed.tools.get(name)
        if now is not None and change in ("new", "changed"):
            kept[name] = now
        news.append(_News(tool=tool, name=name, change=change, before=accepted.get(name), now=now))
    save_pins(lock, kept)
    for one in news:
        _tell(one, json=json)
    if not json:
        out().print(f"Written to {lock}. Read it before you let anybody in.")
    return 1 if any(one.change in ("missing", "twice") for one in news) else 0


_WORDS: Final[Mapping[str, Callable[[str], str]]] = {
    "new": lambda name: f"{name} is accepted:",
    "changed": lambda name: f"{name} is accepted as it is now:",
    "missing": lambda name: f"{name} cannot be accepted: the server has no tool of this name",
    "twice": lambda name: f"{name} cannot be accepted: the server lists it twice",
    "as accepted": lambda name: f"{name} is as it was accepted",
}


def _tell(one: _News, *, json: bool) -> None:
    if json:
        line: dict[str, Any] = {"tool": one.tool, "name": one.name, "change": one.change}
        json_line({**line, "before": one.before, "now": one.now})
        return
    out().print(shown(_WORDS[one.change](one.name)))
    if one.change not in ("new", "changed"):
        return
    now, before = cast("Told", one.now), one.before or {}
    for field in sorted({*now, *before}):
        if now.get(field) != before.get(field):
            if field in before:
                out().print(shown(f"  - {field}: {_line(before[field])}", lines=False))
            out().print(shown(f"  + {field}: {_line(now.get(field))}", lines=False))


def _line(value: Any) -> str:
    return value if isinstance(value, str) else json_format.dumps(value, ensure_ascii=False, sort_keys=True)
