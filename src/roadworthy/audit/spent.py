"""What runs had taken from shared budgets, and which idempotency keys they had used, at any point of a ledger."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from roadworthy.core.canonical import dumps
from roadworthy.core.errors import Conflict
from roadworthy.core.types import Claim, Entry, Guard, Reservation
from roadworthy.gate import budgets
from roadworthy.gate.replay import root_of


class Spent:
    """Accounts and keys, as entries tell of them in their order."""

    __slots__ = ("_accounts", "_keys", "unreadable")

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._accounts: dict[str, tuple[list[int], list[Decimal]]] = {}
        self._keys: dict[str, tuple[int, str]] = {}
        self.unreadable = 0
        """Intents whose fields are erased or sealed: what they took is not known."""
        actions: dict[str, Mapping[str, Any]] = {}
        held: dict[str, tuple[Reservation, ...]] = {}
        for entry in entries:
            if entry.kind == "action":
                actions[str(entry.body.get("id"))] = entry.body
            elif entry.kind == "intent":
                self._intent(entry, actions, held)
            elif entry.kind == "outcome":
                self._outcome(entry, actions, held)

    def _intent(
        self, entry: Entry, actions: Mapping[str, Mapping[str, Any]], held: dict[str, tuple[Reservation, ...]]
    ) -> None:
        body, action = entry.body, root_of(entry.cause)
        self.unreadable += bool(entry.withheld) and "reserved" not in body
        reserved = budgets.read(body.get("reserved"))
        if reserved:
            held[str(entry.cause)] = reserved
            for one in reserved:
                self._add(one.account, entry.seq, one.amount)
        key = body.get("key")
        if isinstance(key, str) and key != action:
            args = body.get("args", actions.get(action, {}).get("args"))
            value = hashlib.sha256(dumps(args)).hexdigest()
            self._keys.setdefault(f"key/{entry.world}/{key}", (entry.seq, value))

    def _outcome(
        self, entry: Entry, actions: dict[str, Mapping[str, Any]], held: dict[str, tuple[Reservation, ...]]
    ) -> None:
        body = entry.body
        if body.get("status") == "in_doubt":
            return  # it may have been done: what it took stays taken
        reserved = held.pop(str(entry.cause), ())
        # What a process gives back, it gives back together with the outcome. One that comes after a crash cannot.
        if body.get("status") == "failed" or body.get("done") == "blocked":
            for one in reserved:
                self._add(one.account, entry.seq, -one.amount)
        actions.pop(root_of(entry.cause), None)

    def _add(self, account: str, seq: int, amount: Decimal) -> None:
        seqs, totals = self._accounts.setdefault(account, ([], []))
        seqs.append(seq)
        totals.append((totals[-1] if totals else Decimal(0)) + amount)

    def total(self, account: str, before: int) -> Decimal:
        """What an account held just before a seq."""
        seqs, totals = self._accounts.get(account, ([], []))
        place = bisect_left(seqs, before)
        return totals[place - 1] if place else Decimal(0)

    def conflict(self, guards: tuple[Guard, ...], after: int, before: int) -> Conflict | None:
        """The guard that did not hold for an append that was tried after one seq and before another."""
        for guard in guards:
            if isinstance(guard, Reservation):
                found = self._over(guard, after, before)
                if found is not None:
                    return Conflict(guard, found)
            else:
                claimed = self._claimed(guard, before)
                if claimed is not None:
                    return Conflict(guard, claimed)
        return None

    def _over(self, guard: Reservation, after: int, before: int) -> Decimal | None:
        if guard.limit is None:
            return None
        seqs, _ = self._accounts.get(guard.account, ([], []))
        moments = [before, *seqs[bisect_left(seqs, after) : bisect_left(seqs, before)]]
        for moment in moments:
            total = self.total(guard.account, moment)
            if total + guard.amount > guard.limit:
                return total
        return None

    def _claimed(self, guard: Claim, before: int) -> str | None:
        claimed = self._keys.get(guard.key)
        if claimed is None or claimed[0] >= before or claimed[1] == guard.value:
            return None
        return claimed[1]
