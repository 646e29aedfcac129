"""What a run has done is taken back, last first and once, or listed to a person."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Entry
from roadworthy.gate.run import Run
from roadworthy.gate.undo import Undone

from .board import CONTRACT, Office


@dataclass
class Setting:
    """An office, and a run of its agent that may be looked at from several processes."""

    office: Office
    contract: Contract
    path: Path
    ledger: Ledger
    clock: VirtualClock
    gate: Gate
    run: Run

    def call(self, tool: str, **args: Any) -> Any:
        return self.run.call(tool, args, self.office.tools[tool])

    def again(self, ledger: Ledger) -> Gate:
        """The gate as another process has it."""
        return Gate(self.contract, ledger, tools=self.office.tools, clock=self.clock)

    def undo(self, **more: Any) -> Undone:
        return self.gate.undo("r1", **{"by": "ada", "because": "It was all wrong", **more})

    def entries(self, kind: Any) -> list[Entry]:
        return list(self.ledger.entries(run="r1", kind=kind))


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    office, clock = Office(tmp_path / "office.db"), VirtualClock()
    contract = Contract.load(CONTRACT)
    with Ledger.open(tmp_path / "runs.db") as ledger:
        gate = Gate(contract, ledger, tools=office.tools, clock=clock)
        run = gate.run(id="r1", capability="office")
        yield Setting(office, contract, tmp_path / "runs.db", ledger, clock, gate, run)


def test_everything_is_taken_back_the_last_first(setting: Setting) -> None:
    before = setting.office.world()
    assert setting.call("board.write", place="door", text="Back at noon").ok
    assert setting.call("books.book", account="rent", amount="12.50").ok
    assert setting.call("board.write", place="door", text="Closed").ok
    assert setting.call("shop.order", item="paper").ok
    assert setting.office.world() != before
    done = setting.undo()
    assert [r.tool for r in done.undone] == ["shop.order", "board.write", "books.book", "board.write"]
    assert not done.left
    assert setting.office.world() == before
    assert [e.body["tool"] for e in setting.entries("action") if e.body.get("by") == "undo"] == [
        "shop.cancel", "board.write", "books.reverse", "board.write",
    ]  # fmt: skip
