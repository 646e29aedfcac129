"""One thread writes for all: callers share a sync, and a broken disk is never mistaken for a written entry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, cast

import pytest

from roadworthy.core.canonical import loads
from roadworthy.core.errors import Conflict, LedgerError
from roadworthy.core.types import Draft, Entry
from roadworthy.ledger.engine import Append, Busy, Store
from roadworthy.ledger.heads import Group, placed
from roadworthy.ledger.store import Ledger

Make = Callable[..., Draft]


class Disk:
    """A store whose next write waits for permission, and fails when told to."""

    read_only = False
    name = "the test's disk"
    id = "disk"

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.heads: list[bytes] = []
        self.fail: BaseException | None = None
        self.may_write = threading.Event()
        self.writing = threading.Event()
        self.closed = False

    def write(self, appends: Sequence[Append]) -> list[list[Group] | Conflict]:
        self.writing.set()
        assert self.may_write.wait(10)
        if self.fail is not None:
            raise self.fail
        self.groups.append(sum(len(bundle.lines) for bundles, _ in appends for bundle in bundles))
        written: list[list[Group] | Conflict] = []
        for bundles, _ in appends:
            groups: list[Group] = []
            for bundle in bundles:
                group, _ = placed(bundle, len(self.heads) + 1, 1)
                self.heads += group.lines
                groups.append(group)
            written.append(groups)
        return written

    @property
    def numbers(self) -> list[int]:
        """Those of the drafts that were written, in order."""
        return [loads(head)["body"]["n"] for head in self.heads]

    def __getattr__(self, name: str) -> Any:
        """Nothing of this store is read."""

        def empty(*_: object, **__: object) -> tuple[()]:
            return ()

        return empty

    def close(self) -> None:
        self.closed = True


def _hand_over(ledger: Ledger, drafts: Sequence[Draft]) -> Future[Sequence[Entry]]:
    batch = ledger.batch()
    batch.append(drafts)
    return batch.submit()


def test_those_who_come_while_the_disk_works_share_the_next_sync(make: Make) -> None:
    disk = Disk()
    with Ledger(cast("Store", disk)) as ledger:
        first = _hand_over(ledger, [make(0)])
        assert disk.writing.wait(10)
        others = [_hand_over(ledger, [make(n), make(n)]) for n in range(1, 20)]
        assert not first.done()
        disk.may_write.set()
        places = [[entry.seq for entry in done.result(10)] for done in [first, *others]]
    assert disk.groups == [1, 38]
    assert places == [[1], *([n, n + 1] for n in range(2, 40, 2))]
    assert disk.numbers == [0, *(n for n in range(1, 20) for _ in range(2))]


@pytest.mark.parametrize("failure", [LedgerError("the disk is full"), OSError("gone"), MemoryError()])
def test_after_a_failure_nothing_is_acknowledged(make: Make, failure: BaseException) -> None:
    disk = Disk()
    disk.fail = failure
    ledger = Ledger(cast("Store", disk))
    first = _hand_over(ledger, [make(0)])
    assert disk.writing.wait(10)
    waiting = _hand_over(ledger, [make(1)])
    disk.may_write.set()
    errors = [done.exception(10) for done in (first, waiting)]
    assert all(isinstance(error, LedgerError) for error in errors)
    assert errors[0] is not errors[1]
    disk.fail = None
    with pytest.raises(LedgerError, match="nothing is written to the test's disk since"):
        ledger.append([make(2)])
    ledger.close()
    assert disk.groups == []
    assert disk.closed


def test_a_busy_ledger_may_be_tried_again(make: Make) -> None:
    disk = Disk()
    disk.may_write.set()
    with Ledger(cast("Store", disk)) as ledger:
        disk.fail = Busy("somebody else writes")
        with pytest.raises(LedgerError, match="somebody else writes"):
            ledger.append([make(0)])
        disk.fail = None
        ledger.append([make(1)])
    assert disk.numbers == [1]


def test_a_cancelled_batch_is_left_out(make: Make) -> None:
    disk = Disk()
    with Ledger(cast("Store", disk)) as ledger:
        first = _hand_over(ledger, [make(0)])
        assert disk.writing.wait(10)
        second, third = _hand_over(ledger, [make(1)]), _hand_over(ledger, [make(2)])
        assert second.cancel()
        disk.may_write.set()
        third.result(10)
        assert first.done()
    assert disk.numbers == [0, 2]


def test_closing_writes_what_was_handed_over(make: Make) -> None:
    disk = Disk()
    ledger = Ledger(cast("Store", disk))
    done = [_hand_over(ledger, [make(n)]) for n in range(50)]
    disk.may_write.set()
    ledger.close()
    assert all(one.done() for one in done)
    assert len(disk.heads) == 50
    assert disk.closed
