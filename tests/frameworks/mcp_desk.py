"""What the tests of the MCP proxy share: a contract, a server whose mood can be changed, and clients in front."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import anyio
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.shared.memory import create_client_server_memory_streams

from roadworthy import Contract, Ledger
from roadworthy.adapters.mcp.pins import load_pins
from roadworthy.adapters.mcp.proxy import Command, Proxy
from roadworthy.core.types import Entry

SERVER = Path(__file__).parent / "mcp_servers" / "desk.py"
ROADWORTHY = (sys.executable, "-c", "import sys; from roadworthy.cli import main; sys.exit(main())")
CONTRACT = """
roadworthy: 1
agent: refund-bot
version: "1"
goal: Give people their money back for parcels that never arrived.
owner: {team: Care, accountable: care-lead}
tools:
  find_order:
    effect: read
    args: {order_no: string}
    returns: {order_no: string, status: string, note: {type: string, trust: untrusted}}
  refund:
    name: pay-back
    effect: write
    args: {order_no: string, amount: {type: decimal, unit: EUR, max: "500.00"}}
    returns: string
  close_order: {effect: write, args: {order_no: string}, returns: string}
  who_am_i: {effect: read, returns: string}
capabilities:
  lost_parcel:
    means: A parcel was lost and the customer wants the money back.
    tools: [find_order, refund, close_order, who_am_i]
    autonomy: {start: autonomous, ceiling: autonomous, approver: care-lead}
    success: [{id: one-refund-at-most, check: count.refund <= 1}]
rules:
  - id: only-lost-parcels
    tools: [refund]
    with: {order: {call: find_order, same: [order_no]}}
    when: order.status != "lost"
    then: deny
    because: Only parcels that were lost are refunded.
  - id: big-ones-wait
    tools: [refund]
    when: args.amount > 100.0
    then: ask
    because: Refunds above 100 euro need a person.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A folder with a contract, what was accepted, a ledger, and a server behind."""

    folder: Path

    @property
    def contract(self) -> Path:
        return self.folder / "contract.yaml"

    @property
    def lock(self) -> Path:
        return self.folder / "contract.mcp.lock.json"

    @property
    def did(self) -> list[str]:
        """What the server has really done."""
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def mood(self, mood: str) -> None:
        (self.folder / "mood").write_text(mood)

    def words(self, *options: str, server: Sequence[str] = (sys.executable, str(SERVER))) -> list[str]:
        """The command line of the proxy, without the interpreter."""
        return [
            "proxy", str(self.contract), "--ledger", str(self.folder / "runs.db"),
            "--env-file", str(self.folder / "server.env"), *options, "--", *server,
        ]  # fmt: skip

    def accept(self, *options: str, server: Sequence[str] | None = None) -> subprocess.CompletedProcess[str]:
        words = self.words(*(options or ("--accept-all",)))
        if server is not None:
            words = self.words(*(options or ("--accept-all",)), server=server)
        return roadworthy(*words)

    @property
    def behind(self) -> Command:
        """The server, as the proxy starts it."""
        lines = (self.folder / "server.env").read_text().splitlines()
        env = dict(line.split("=", 1) for line in lines)
        return Command(words=(sys.executable, str(SERVER)), env={**env, "PATH": os.environ["PATH"]})

    def proxy(self, ledger: Ledger, **options: Any) -> Proxy:
        pins = load_pins(self.lock)
        assert pins is not None
        return Proxy(Contract.load(self.contract), ledger, self.behind, pins, **options)

    @asynccontextmanager
    async def inside(self, *, told: Any = None, **options: Any) -> AsyncGenerator[ClientSession]:
        """The official client and the proxy in this process, and the server in one of its own."""
        with Ledger.open(str(self.folder / "runs.db")) as ledger:
            async with session_of(self.proxy(ledger, **options), told=told) as client:
                yield client

    def entries(self, kind: str | None = None) -> list[Entry]:
        with Ledger.open(str(self.folder / "runs.db"), read_only=True) as ledger:
            return [entry for entry in ledger.entries() if kind in (None, entry.kind)]

    @asynccontextmanager
    async def client(
        self, *options: str, told: Any = None, errors: TextIO | None = None, **more: Any
    ) -> AsyncGenerator[ClientSession]:
        """The official client over stdio, with the proxy in between."""
        words = [*ROADWORTHY, *self.words(*options, **more)]
        server = StdioServerParameters(command=words[0], args=words[1:], env=dict(os.environ))
        async with (
            stdio_client(server, errlog=errors or sys.stderr) as (incoming, outgoing),
            ClientSession(incoming, outgoing, message_handler=told) as session,
        ):
            await session.initialize()
            yield session


@asynccontextmanager
async def session_of(proxy: Proxy, *, told: Any = None) -> AsyncGenerator[ClientSession]:
    """A session of the official client with a proxy in this process."""
    front = proxy.front()
    async with create_client_server_memory_streams() as (ours, theirs), anyio.create_task_group() as group:
        group.start_soon(front.run, *theirs, front.create_initialization_options())
        async with ClientSession(*ours, message_handler=told) as client:
            await client.initialize()
            yield client
        await ours[1].aclose()


def desk_in(folder: Path) -> Desk:
    """A desk whose server was accepted as it is, but for the tool that it does not have yet."""
    desk = Desk(folder=folder)
    desk.contract.write_text(CONTRACT)
    desk.mood("")
    env = {"DESK_LOG": folder / "log", "DESK_MOOD": folder / "mood", "DESK_KEY": "sk-very-secret"}
    (folder / "server.env").write_text("".join(f"{name}={value}\n" for name, value in env.items()))
    return desk


def accepted_in(folder: Path, pins: Path) -> Desk:
    """A desk whose pins were made before."""
    desk = desk_in(folder)
    desk.lock.write_bytes(pins.read_bytes())
    return desk


def roadworthy(*words: str) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    return subprocess.run([*ROADWORTHY, *words], capture_output=True, text=True, timeout=60, check=False)


async def until(holds: Callable[[], bool], within_s: float = 30.0) -> None:
    """Wait for something that happens in another process. Raises TimeoutError."""
    with anyio.fail_after(within_s):
        while not holds():  # noqa: ASYNC110  # what another process does sets no event of ours
            await anyio.sleep(0.02)


def text(result: types.CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))
