"""`run.bound(stream)`: each item is made for the run, and nothing else is."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from roadworthy import Gate, Ledger
from roadworthy.gate.run import current_run

from .office import law

CLOSED: list[str | None] = []


def here() -> str | None:
    run = current_run()
    return run.id if run is not None else None


async def stream() -> AsyncGenerator[str | None]:
    try:
        for _ in range(3):
            yield here()
    finally:
        CLOSED.append(here())


@pytest.fixture
def gate() -> Gate:
    CLOSED.clear()
    return Gate(law("role: lead"), Ledger.open(":memory:"))


async def test_streams_that_take_turns_are_made_each_for_its_run(gate: Gate) -> None:
    one, two = (gate.run(id=name, principal="bot").bound(stream()) for name in ("one", "two"))
    seen: list[str | None] = []
    async for item in one:
        seen += [item, here(), await anext(two), here()]
    assert seen == ["one", None, "two", None] * 3
    assert CLOSED == ["one"]


async def test_what_is_left_early_is_closed_for_its_run(gate: Gate) -> None:
    bound = gate.run(id="one", principal="bot").bound(stream())
    assert await anext(bound) == "one"
    with gate.run(id="other", principal="bot").bind():
        await bound.aclose()
        assert here() == "other"
    assert CLOSED == ["one"]


async def test_an_error_in_the_stream_comes_out_and_nothing_stays_bound(gate: Gate) -> None:
    async def broken() -> AsyncGenerator[int]:
        yield 1
        raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"):
        assert [item async for item in gate.run(principal="bot").bound(broken())] == [1]
    assert here() is None
