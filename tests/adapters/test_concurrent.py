"""Two hundred conversations at once in plain Python, in threads and in tasks: nobody gets what is another's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from crowd import check, crowd_of, in_tasks, in_threads, respond

from roadworthy import Ledger
from roadworthy.adapters.plain import back, guard
from roadworthy.adapters.replies import asettle_reply, settle_reply
from roadworthy.examples.scripted.messages import answer
from roadworthy.gate.run import Run, current_run


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with Ledger.open(":memory:") as ledger:
        yield ledger


def bound() -> Run:
    run = current_run()
    assert run is not None
    return run


def asking(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_threads_keep_their_runs_apart(ledger: Ledger) -> None:
    gate, shop = crowd_of(ledger)
    tools = guard(shop.blocking(), gate)

    def talk(user: int, text: str) -> str:
        messages = asking(text)
        while True:
            said = answer(respond, messages, [])
            messages.append(said)
            for call in said.get("tool_calls", ()):
                function = call["function"]
                result = tools[function["name"]](**json.loads(function["arguments"]))
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": str(result)})
            if "tool_calls" not in said:
                told = settle_reply(bound(), said["content"], deliver=False)
                if told.back is None:
                    return told.text
                messages.append(back(told))

    check(ledger, shop, in_threads(gate, shop, talk))


async def test_tasks_keep_their_runs_apart(ledger: Ledger) -> None:
    gate, shop = crowd_of(ledger)
    tools = guard(shop.awaited(), gate)

    async def talk(user: int, text: str) -> str:
        messages = asking(text)
        while True:
            said = answer(respond, messages, [])
            messages.append(said)
            for call in said.get("tool_calls", ()):
                function = call["function"]
                result = await tools[function["name"]](**json.loads(function["arguments"]))
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": str(result)})
            if "tool_calls" not in said:
                told = await asettle_reply(bound(), said["content"], deliver=False)
                if told.back is None:
                    return told.text
                messages.append(back(told))

    check(ledger, shop, await in_tasks(gate, shop, talk))
