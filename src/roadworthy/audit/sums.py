"""Whether budgets and claims stand as the entries say: nobody has given any back, or let something happen twice.

What a call takes from the budgets of a day stands in its intent, and is given back with an outcome that says that
nothing came of it. A claim is made with the entry that it guards. Accounts and claims of others than the gate are
passed over, for no entry tells what they must be.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from roadworthy.audit.acts import UNREADABLE
from roadworthy.core.types import Entry, Reservation
from roadworthy.gate import budgets
from roadworthy.gate.replay import root_of
from roadworthy.ledger.store import Ledger
from roadworthy.verify_ledger import Findings


def check_sums(ledger: Ledger, findings: Findings) -> None:
    """Add where accounts or claims are not what the entries say."""
    try:
        size, totals, claims = ledger.size, dict(ledger.rows("accounts")), dict(ledger.rows("claims"))
        told = _Told()
        for entry in ledger.entries():
            if entry.seq > size:
                break
            told.take(entry)
        if ledger.size != size:
            findings.note("sums", "budgets and claims were not checked, for entries were written meanwhile")
            return
    except UNREADABLE as broken:
        findings.add("sums", f"budgets and claims cannot be checked: {broken}")
        return
    if told.gone or told.unreadable:
        many = "1 entry is" if told.unreadable == 1 else f"{told.unreadable} entries are"
        why = "entries were pruned" if told.gone else f"{many} erased or encrypted"
        findings.note("sums", f"budgets and claims were not checked, for {why}")
        return
    for name, total in told.totals.items():
        there = totals.get(_stored(ledger, name))
        if _number(there) != total:
            findings.add("sums", f"the budget {name} is used up to {there}, and the entries come to {total}")
    for key, (value, seq) in told.claims.items():
        there = claims.get(_stored(ledger, key))
        if there != value:
            findings.add("sums", f"the claim {key} stands for {there!r}, and entry {seq} says {value!r}", seq)


def _stored(ledger: Ledger, name: str) -> str:
    return name if ledger.vault is None else ledger.vault.pseudonym(ledger.id, name)


def _number(text: Any) -> Decimal | None:
    try:
        return Decimal(text)
    except (InvalidOperation, TypeError, ValueError):
        return None


class _Told:
    """What entries say of accounts and claims. Trials keep theirs to themselves."""

    def __init__(self) -> None:
        self.totals: dict[str, Decimal] = {}
        self.claims: dict[str, tuple[str, int]] = {}
        """By key, what it must stand for and the entry that says so."""
        self.unreadable = 0
        self.gone = False
        """Entries are missing, which were pruned or taken away."""
        self._seq = 0
        self._held: dict[str, tuple[Reservation, ...]] = {}
        self._answers: dict[str, int] = {}

    def take(self, entry: Entry) -> None:
        """Take the next entry in."""
        self.gone |= entry.seq != self._seq + 1
        self._seq = entry.seq
        if entry.world == "test":
            return
        if entry.withheld and entry.kind in ("intent", "answer", "undo"):
            self.unreadable += 1
        elif entry.kind == "intent":
            self._intent(entry)
        elif entry.kind == "outcome":
            self._outcome(entry)
        elif entry.kind == "answer":
            self._answer(entry)
        elif entry.kind == "undo" and "nonce" in entry.body:
            self._claim(entry, f"undo-request/{entry.body['nonce']}", entry.body.get("by"))

    def _intent(self, entry: Entry) -> None:
        reserved = budgets.read(entry.body.get("reserved"))
        if reserved:
            self._held[str(entry.cause)] = reserved
            self._add(reserved, 1)
        approved = entry.body.get("approved")
        if approved is not None:
            self._claim(entry, f"carry/{approved}", approved)

    def _outcome(self, entry: Entry) -> None:
        body: Mapping[str, Any] = entry.body
        if "decided" in body:
            action = root_of(entry.cause)
            self._claim(entry, f"carry/{action}", action)
        if body.get("status") == "in_doubt":
            return
        reserved = self._held.pop(str(entry.cause), ())
        if body.get("status") == "failed" or body.get("done") == "blocked":
            self._add(reserved, -1)

    def _answer(self, entry: Entry) -> None:
        question = str(entry.body.get("question"))
        place = self._answers[question] = self._answers.get(question, -1) + 1
        self._claim(entry, f"answer:{question}:{place}", entry.body.get("by"))

    def _add(self, reserved: tuple[Reservation, ...], sign: int) -> None:
        for one in reserved:
            self.totals[one.account] = self.totals.get(one.account, Decimal(0)) + sign * one.amount

    def _claim(self, entry: Entry, key: str, value: Any) -> None:
        self.claims.setdefault(key, (str(value), entry.seq))
