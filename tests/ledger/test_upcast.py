"""Entries of earlier versions are read as those of today, and stand as they were written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from roadworthy.core.canonical import loads
from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Draft
from roadworthy.ledger.store import Ledger
from roadworthy.ledger.upcast import STEPS, upcast, version_of

Make = Callable[..., Draft]
Body = Mapping[str, Any]


def _words(body: Body) -> Body:
    """In version 2, `n` is called `number`."""
    return {("number" if name == "n" else name): value for name, value in body.items()}


def _units(body: Body) -> Body:
    """In version 3, it has a unit."""
    return {**body, "unit": "EUR"}


@pytest.fixture
def later() -> Iterator[Callable[[], None]]:
    """Makes it a later time, in which the form of `heard` has changed twice."""
    yield lambda: STEPS.update({("heard", 1): _words, ("heard", 2): _units})
    STEPS.clear()


def test_old_entries_are_read_in_todays_form(shared: str, make: Make, later: Callable[[], None]) -> None:
    with Ledger.open(shared) as ledger:
        ledger.append([make(1), make(2, kind="said")])
        before = list(ledger.heads())
        later()
        ledger.append([make(3, body={"number": 3, "unit": "USD"}), make(4, kind="said")])
        assert [entry.body for entry in ledger.entries()] == [
            {"number": 1, "unit": "EUR"},
            {"n": 2},
            {"number": 3, "unit": "USD"},
            {"n": 4},
        ]
        heads = list(ledger.heads())
        assert heads[:2] == before
        assert [loads(head)["v"] for _, head in heads] == [1, 1, 3, 1]
    with Ledger.open(shared, read_only=True) as ledger:
        assert next(ledger.entries(run="run-1")).body == {"number": 1, "unit": "EUR"}


def test_an_entry_of_a_later_time_is_not_guessed_at(url: str, make: Make, later: Callable[[], None]) -> None:
    with Ledger.open(url) as ledger:
        later()
        ledger.append([make(1)])
        STEPS.clear()
        with pytest.raises(LedgerError, match=r"kind 'heard' has version 3, and this Roadworthy knows 1: upgrade"):
            list(ledger.entries())
        STEPS[("heard", 1)] = _words
        with pytest.raises(LedgerError, match="has version 3, and this Roadworthy knows 2"):
            list(ledger.entries())


def test_versions_count_the_steps(later: Callable[[], None]) -> None:
    assert version_of("heard") == 1
    later()
    assert (version_of("heard"), version_of("said")) == (3, 1)
    assert upcast("heard", 2, {"number": 7}) == {"number": 7, "unit": "EUR"}
    for wrong in (0, -1, 4):
        with pytest.raises(LedgerError, match=f"has version {wrong}"):
            upcast("heard", wrong, {})
