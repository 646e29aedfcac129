"""The proxy over stdio: the official client in front of it, a server that may do anything behind it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mcp_desk import Desk, desk_in, text

pytestmark = pytest.mark.frameworks


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = desk_in(tmp_path)
    done = made.accept()
    assert "find_order is accepted" in done.stdout, done.stderr
    return made


async def test_a_call_passes_the_gate_and_comes_back(desk: Desk) -> None:
    async with desk.client() as client:
        listed = await client.list_tools()
        assert [tool.name for tool in listed.tools] == ["find_order", "pay-back", "who_am_i"]
        found = await client.call_tool("find_order", {"order_no": "A1"})
        paid = await client.call_tool("pay-back", {"order_no": "A1", "amount": "20"})
    assert json.loads(text(found))["status"] == "lost"
    assert not found.isError
    assert text(paid) == "done: pay-back"
    assert desk.did == ['find_order {"order_no": "A1"}', 'pay-back {"amount": "20", "order_no": "A1"}']
    kinds = [entry.kind for entry in desk.entries()]
    assert kinds.count("intent") == kinds.count("outcome") == 2
    (ended,) = [e for e in desk.entries("run") if e.body.get("status") == "closed"]
    assert ended.run is not None


async def test_what_the_gate_denies_reaches_nobody_and_says_why(desk: Desk) -> None:
    async with desk.client() as client:
        denied = await client.call_tool("pay-back", {"order_no": "A1", "amount": "20"})
        unknown = await client.call_tool("wipe", {})
        odd = await client.call_tool("find_order", {"order_no": "A1", "and": "more"})
    assert denied.isError
    assert unknown.isError
    assert odd.isError
    assert "find_order" in text(denied)
    assert "wipe" in text(unknown)
    assert desk.did == []
    assert [e.body["ruling"] for e in desk.entries("verdict")] == ["deny", "deny", "deny"]
