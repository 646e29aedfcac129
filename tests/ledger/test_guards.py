"""Guards: budgets that are shared and things that happen once, in the transaction that writes the entries."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from roadworthy.core.errors import Conflict
from roadworthy.core.types import Claim, Draft, Reservation
from roadworthy.ledger.batch import Batch
from roadworthy.ledger.store import Appender, Ledger

Make = Callable[..., Draft]


def spend(amount: str, limit: str | None = "100", account: str = "refunds") -> Reservation:
    return Reservation(account=account, amount=Decimal(amount), limit=None if limit is None else Decimal(limit))


@pytest.fixture(params=["file", "memory", "batch"])
def appender(request: pytest.FixtureRequest, path: Path) -> Appender:
    if request.param == "batch":
        return Batch()
    return Ledger.open(path if request.param == "file" else ":memory:")


def test_a_budget_is_spent_and_given_back(appender: Appender, make: Make) -> None:
    appender.append([make(0)], [spend("60.50")])
    with pytest.raises(Conflict, match="refunds holds 60.50, and 39.51 more would pass its limit of 100") as caught:
        appender.append([make(1)], [spend("39.51")])
    assert caught.value.code == "RW-302"
    assert caught.value.guard == spend("39.51")
    assert caught.value.found == Decimal("60.50")
    appender.append([make(2)], [spend("39.50")])
    appender.append([make(3)], [spend("-60.50", None)])
    appender.append([make(4)], [spend("60.50")])
    assert [entry.body["n"] for entry in appender.entries()] == [0, 2, 3, 4]


def test_the_first_claim_wins(appender: Appender, make: Make) -> None:
    appender.append([make(0)], [Claim(key="question 1", value="approve")])
    for value in ("deny", "approve"):
        with pytest.raises(Conflict, match="question 1 was claimed before, for approve") as caught:
            appender.append([make(1)], [Claim(key="question 1", value=value)])
        assert caught.value.found == "approve"
    with pytest.raises(Conflict):
        appender.append([make(1)], [Claim(key="question 1", value="deny", again=True)])
    appender.append([make(2)], [Claim(key="question 1", value="approve", again=True)])
    assert [entry.body["n"] for entry in appender.entries()] == [0, 2]
