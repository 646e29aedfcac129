"""The proxy over HTTP: the official client in front of it, and requests that should never get in."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from mcp import ClientSession, McpError, types
from mcp.client.streamable_http import streamable_http_client
from mcp_desk import ROADWORTHY, Desk, accepted_in, desk_in, roadworthy, text

from roadworthy.adapters.mcp.http import Door
from roadworthy.adapters.mcp.proxy import Address
from roadworthy.core.errors import UsageError

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": types.LATEST_PROTOCOL_VERSION,
        "capabilities": {},
        "clientInfo": {"name": "n", "version": "1"},
    },
}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A proxy that serves."""

    url: str
    token: str
    pid: int

    @asynccontextmanager
    async def client(self, **headers: str) -> AsyncGenerator[ClientSession]:
        given = {"Authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        async with (
            httpx.AsyncClient(headers=given, timeout=60) as http,
            streamable_http_client(self.url, http_client=http) as (incoming, outgoing, _),
            ClientSession(incoming, outgoing) as session,
        ):
            await session.initialize()
            yield session


@contextmanager
def serving(words: list[str]) -> Generator[Served]:
    process = subprocess.Popen([*ROADWORTHY, *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    late = threading.Timer(60, process.kill)
    late.start()
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if "Bearer" in line:
            break
    late.cancel()
    url = next((line.split()[1] for line in said if line.startswith("Serving ")), None)
    assert url is not None, said
    rest = threading.Thread(target=process.stderr.read, daemon=True)
    rest.start()
    try:
        yield Served(url=url, token=said[-1].split("Bearer ")[1].split("`")[0], pid=process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        rest.join(10)
        process.stderr.close()


@pytest.fixture(scope="module")
def pins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = desk_in(tmp_path_factory.mktemp("accepted"))
    made.accept()
    return made.lock


@pytest.fixture
def desk(tmp_path: Path, pins: Path) -> Desk:
    return accepted_in(tmp_path, pins)


async def test_clients_over_http_pass_the_gate_each_in_a_run_of_its_own(desk: Desk) -> None:
    with serving(desk.words("--http", "127.0.0.1:0")) as served:
        async with served.client() as one, served.client() as two:
            assert len((await one.list_tools()).tools) == 3
            found = await one.call_tool("find_order", {"order_no": "A1"})
            stranger = await two.call_tool("pay-back", {"order_no": "A1", "amount": "20"})
            own = await one.call_tool("pay-back", {"order_no": "A1", "amount": "20"})
            with pytest.raises(McpError, match="refused"):
                await one.list_resources()
    assert not found.isError
    assert stranger.isError
    assert text(own) == "done: pay-back"
    assert len({e.run for e in desk.entries("action")}) == 2


def test_nobody_gets_in_without_the_token_or_by_another_name(desk: Desk) -> None:
    with serving(desk.words("--http", "127.0.0.1:0")) as served, httpx.Client(headers=ACCEPT) as http:
        port = httpx.URL(served.url).port
        right = {"Authorization": f"Bearer {served.token}"}

        def status(path: str = "/mcp", **headers: str) -> int:
            return http.post(f"http://127.0.0.1:{port}{path}", json=HELLO, headers=headers).status_code

        assert status() == 401
        assert status(Authorization="Bearer wrong") == 401
        assert status(Authorization=f"Basic {served.token}") == 401
        assert status(**right, Host="evil.example") == 421
        assert status(**right, Host=f"evil.example:{port}") == 421
        assert status(**right, Host="127.0.0.1:1") == 421
        assert status(**right, Origin="http://evil.example") == 403
        assert status(**right, Origin=f"http://127.0.0.1:{port}") == 403
        assert status("/", **right) == 404
        assert status(f"/mcp?token={served.token}") == 401
        assert http.get(f"http://127.0.0.1:{port}/mcp").status_code == 401
        assert http.delete(f"http://127.0.0.1:{port}/mcp").status_code == 401
        assert status(**right, **{"Mcp-Session-Id": "of-somebody"}) == 404
        huge = http.post(served.url, content=b"x" * 17_000_000, headers={**right, "Content-Type": "application/json"})
        assert huge.status_code == 413
        assert status(**right) == 200
    assert desk.did == []


SUBJECTS = """
subject: {entity: shop.Order}
entities:
  shop.Order: {key: order_no}
"""


async def test_principal_and_subject_come_from_headers_and_never_change(tmp_path: Path) -> None:
    desk = desk_in(tmp_path)
    law = desk.contract.read_text().replace("tools:\n", f"{SUBJECTS}tools:\n", 1)
    law = law.replace(
        "    args: {order_no: string}\n    returns",
        "    args: {order_no: {type: string, entity: shop.Order}}\n    returns",
    )
    desk.contract.write_text(law + "principals:\n  shop-bot: {capabilities: [lost_parcel]}\n")
    done = desk.accept()
    assert "find_order is accepted" in done.stdout, done.stderr
    headers = ("--principal-header", "X-Agent", "--subject-header", "X-Order")
    with serving(desk.words("--http", ":0", *headers)) as served:
        async with served.client(X_Agent="shop-bot", X_Order="A1") as client:
            own = await client.call_tool("find_order", {"order_no": "A1"})
            other = await client.call_tool("find_order", {"order_no": "B2"})
        right = {"Authorization": f"Bearer {served.token}", **ACCEPT}
        async with httpx.AsyncClient(headers=right, timeout=60) as http:
            missing = await http.post(served.url, json=HELLO)
            assert "X-Agent is missing" in missing.text
            stranger = await http.post(served.url, json=HELLO, headers={"X-Agent": "root", "X-Order": "A1"})
            assert "no principal" in stranger.text
            known = {"X-Agent": "shop-bot", "X-Order": "A1"}
            opened = await http.post(served.url, json=HELLO, headers=known)
            session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
            ask = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
            moved = await http.post(served.url, json=ask, headers={**session, "X-Agent": "shop-bot", "X-Order": "B2"})
            assert "somebody else" in moved.text
            stayed = await http.post(served.url, json=ask, headers={**session, **known})
            assert "find_order" in stayed.text
    assert not own.isError
    assert other.isError
    (began, *_) = [e for e in desk.entries("run") if "principal" in e.body]
    assert (began.body["principal"], began.body["subject"]) == ("shop-bot", "A1")
    assert desk.did == ['find_order {"order_no": "A1"}']


async def test_a_server_elsewhere_gets_its_credentials_from_us_alone(desk: Desk) -> None:
    """A proxy in front of a proxy: the inner one stands for a server with a token of its own."""
    with serving(desk.words("--http", "127.0.0.1:0")) as behind:
        (desk.folder / "outer").mkdir()
        outer = desk_in(desk.folder / "outer")
        secret = outer.folder / "headers"
        secret.write_text(f"Authorization: Bearer {behind.token}\n")
        base = [
            "proxy", str(outer.contract), "--ledger", str(outer.folder / "runs.db"), "--url", behind.url,
            "--headers", str(secret),
        ]  # fmt: skip
        done = roadworthy(*base, "--accept-all")
        assert "find_order is accepted" in done.stdout, done.stderr
        with serving([*base, "--http", "127.0.0.1:0"]) as front:
            async with front.client() as client:
                found = await client.call_tool("find_order", {"order_no": "A1"})
                early = await client.call_tool("pay-back", {"order_no": "B2", "amount": "20"})
        secret.write_text("Authorization: Bearer wrong\n")
        wrong = roadworthy(*base, "--accept-all")
    assert not found.isError
    assert early.isError
    assert desk.did == ['find_order {"order_no": "A1"}']
    assert outer.entries("action")
    assert wrong.returncode == 2
    assert "cannot be asked" in wrong.stderr
    assert behind.token not in wrong.stderr


@pytest.mark.parametrize("text", ["", "8800", "host", "127.0.0.1:99999", "127.0.0.1:-1", "a:b:1"])
def test_what_is_no_address_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        Door.of(text, token=None, names=[], shown=True)


def test_a_door_to_the_outside_needs_names() -> None:
    with pytest.raises(UsageError, match="--host"):
        Door.of("0.0.0.0:1", token=None, names=[], shown=True)
    assert Door.of("0.0.0.0:1", token=None, names=["a.example"], shown=True).names == ("a.example",)


def test_credentials_are_never_shown() -> None:
    door = Door.of(":1", token="t" * 30, names=[], shown=False)
    there = Address(url="https://a.example", headers={"Authorization": "Bearer abc"})
    assert "ttt" not in repr(door)
    assert "abc" not in repr(there)
