"""The support system: it knows contacts (`C-000123`) and their tickets."""

from __future__ import annotations

import sqlite3
from typing import Any

from roadworthy.core.clock import Clock
from roadworthy.examples.desk.systems.faces import Refused, one

SCHEMA = """
CREATE TABLE support.contacts (contact_id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE);
CREATE INDEX support.contacts_by_name ON contacts (name);
CREATE TABLE support.tickets (
  ticket_id TEXT PRIMARY KEY, from_email TEXT NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL,
  department TEXT NOT NULL DEFAULT 'inbox');
CREATE TABLE support.hand_overs (hand_over_no TEXT PRIMARY KEY, reason TEXT NOT NULL, at TEXT NOT NULL);
"""

DEPARTMENTS = ("billing", "access", "shipping", "technical", "legal")
"""Where a ticket can go."""


class Support:
    """The tools of the support system over one database connection."""

    def __init__(self, db: sqlite3.Connection, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def find_customer(self, email: str) -> dict[str, Any]:
        """The one contact who has this e-mail address."""
        return one(
            self._db,
            "SELECT contact_id, name, email FROM support.contacts WHERE email = ?",
            (email,),
            f"no contact has the address {email}",
        )

    def search_customers(self, name: str) -> list[dict[str, Any]]:
        """All contacts of this name."""
        found = self._db.execute(
            "SELECT contact_id, name FROM support.contacts WHERE name = ? ORDER BY contact_id", (name,)
        )
        return [{"contact_id": contact_id, "name": contact} for contact_id, contact in found]

    def read_ticket(self, ticket_id: str) -> dict[str, Any]:
        """A ticket as the customer wrote it."""
        return one(
            self._db,
            "SELECT ticket_id, from_email, subject, body, department FROM support.tickets WHERE ticket_id = ?",
            (ticket_id,),
            f"there is no ticket {ticket_id}",
        )

    def route_ticket(self, ticket_id: str, department: str) -> dict[str, Any]:
        """Move a ticket to the inbox of a department."""
        if department not in DEPARTMENTS:
            raise Refused(f"there is no department {department!r}; the departments are {', '.join(DEPARTMENTS)}")
        moved = self._db.execute(
            "UPDATE support.tickets SET department = ? WHERE ticket_id = ?", (department, ticket_id)
        )
        if moved.rowcount == 0:
            raise Refused(f"there is no ticket {ticket_id}")
        return {"ticket_id": ticket_id, "department": department}

    def hand_over(self, reason: str) -> str:
        """Give the conversation to a colleague."""
        ((count,),) = self._db.execute("SELECT count(*) FROM support.hand_overs")
        number = f"H-{count + 1:06d}"
        self._db.execute(
            "INSERT INTO support.hand_overs VALUES (?, ?, ?)", (number, reason, self._clock.now().isoformat())
        )
        return number
