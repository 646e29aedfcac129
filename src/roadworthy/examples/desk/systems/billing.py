"""The billing system: it knows accounts (`00012345`), and numbers each account's invoices on its own.

Like many a billing interface it is forgiving: it pays any refund for an invoice that exists, twice if it is asked
twice, and above the invoice's total. What stops an agent from doing so stands in the contract. It honours a request
id, as good interfaces do: the same one again pays nothing more.
"""

from __future__ import annotations

import sqlite3
from decimal import Decimal, InvalidOperation
from typing import Any

from roadworthy.core.clock import Clock
from roadworthy.examples.desk.systems.faces import Refused, one

SCHEMA = """
CREATE TABLE billing.accounts (
  account_no TEXT PRIMARY KEY, contact_id TEXT NOT NULL, holder TEXT NOT NULL, label TEXT NOT NULL DEFAULT 'private');
CREATE INDEX billing.accounts_by_contact ON accounts (contact_id);
CREATE TABLE billing.invoices (
  account_no TEXT NOT NULL, invoice_no TEXT NOT NULL, total TEXT NOT NULL, paid INTEGER NOT NULL,
  PRIMARY KEY (account_no, invoice_no));
CREATE TABLE billing.refunds (
  refund_no TEXT PRIMARY KEY, account_no TEXT NOT NULL, invoice_no TEXT NOT NULL, amount TEXT NOT NULL,
  note TEXT, at TEXT NOT NULL, request_id TEXT UNIQUE);
CREATE INDEX billing.refunds_by_invoice ON refunds (account_no, invoice_no);
"""


class Billing:
    """The tools of the billing system over one database connection. Money goes in and out as text, in EUR."""

    def __init__(self, db: sqlite3.Connection, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def find_account(self, contact_id: str) -> list[dict[str, Any]]:
        """The accounts of a contact of the support system: none, one or several."""
        found = self._db.execute(
            "SELECT account_no, label FROM billing.accounts WHERE contact_id = ? ORDER BY account_no", (contact_id,)
        )
        return [{"account_no": account_no, "label": label} for account_no, label in found]

    def get_invoice(self, account_no: str, invoice_no: str) -> dict[str, Any]:
        """One invoice of one account; it is `refunded` once refunds have reached its total."""
        row = one(
            self._db,
            "SELECT account_no, invoice_no, total, paid FROM billing.invoices WHERE account_no = ? AND invoice_no = ?",
            (account_no, invoice_no),
            f"account {account_no} has no invoice {invoice_no}",
        )
        given_back = sum(
            Decimal(amount)
            for (amount,) in self._db.execute(
                "SELECT amount FROM billing.refunds WHERE account_no = ? AND invoice_no = ?", (account_no, invoice_no)
            )
        )
        settled = "paid" if row.pop("paid") else "open"
        return {**row, "status": "refunded" if given_back >= Decimal(row["total"]) else settled}

    def refund(
        self, account_no: str, invoice_no: str, amount: str, note: str | None = None, request_id: str | None = None
    ) -> dict[str, Any]:
        """Pay back `amount` of an invoice; under a `request_id` that is known already, nothing more is paid."""
        try:
            money = Decimal(amount)
        except InvalidOperation as e:
            raise Refused(f"{amount!r} is no amount of money") from e
        self.get_invoice(account_no, invoice_no)
        known = self._db.execute(
            "SELECT refund_no, amount FROM billing.refunds WHERE request_id = ?", (request_id,)
        ).fetchone()
        if known is not None:
            return {"refund_no": known[0], "amount": known[1]}
        ((count,),) = self._db.execute("SELECT count(*) FROM billing.refunds")
        number = f"R-{count + 1:06d}"
        self._db.execute(
            "INSERT INTO billing.refunds VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, account_no, invoice_no, f"{money:.2f}", note, self._clock.now().isoformat(), request_id),
        )
        return {"refund_no": number, "amount": f"{money:.2f}"}

    def reverse_refund(self, refund_no: str) -> dict[str, Any]:
        """Take a refund back, which bookkeeping does by a refund below nothing. Once: again, nothing more happens."""
        row = one(
            self._db,
            "SELECT account_no, invoice_no, amount FROM billing.refunds WHERE refund_no = ?",
            (refund_no,),
            f"there is no refund {refund_no}",
        )
        number = f"{refund_no}-X"
        self._db.execute(
            "INSERT OR IGNORE INTO billing.refunds VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                row["account_no"],
                row["invoice_no"],
                f"{-Decimal(row['amount']):.2f}",
                f"takes back {refund_no}",
                self._clock.now().isoformat(),
                None,
            ),
        )
        return {"reversal_no": number}
