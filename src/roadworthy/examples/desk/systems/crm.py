"""The customer file: it knows parties (`00012345`, too, but numbered on their own) and how they sign in."""

from __future__ import annotations

import sqlite3
from typing import Any

from roadworthy.core.clock import Clock
from roadworthy.examples.desk.systems.faces import one

SCHEMA = """
CREATE TABLE crm.parties (
  party_no TEXT PRIMARY KEY, contact_id TEXT NOT NULL, kind TEXT NOT NULL DEFAULT 'person', login TEXT NOT NULL);
CREATE INDEX crm.parties_by_contact ON parties (contact_id);
CREATE TABLE crm.resets (reset_no TEXT PRIMARY KEY, party_no TEXT NOT NULL, link TEXT NOT NULL, at TEXT NOT NULL);
CREATE INDEX crm.resets_by_party ON resets (party_no);
"""


class Crm:
    """The tools of the customer file over one database connection."""

    def __init__(self, db: sqlite3.Connection, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def find_party(self, contact_id: str) -> list[dict[str, Any]]:
        """The parties of a contact of the support system: the person, perhaps a company, too."""
        found = self._db.execute(
            "SELECT party_no, kind, login FROM crm.parties WHERE contact_id = ? ORDER BY party_no", (contact_id,)
        )
        return [{"party_no": party_no, "kind": kind, "login": login} for party_no, kind, login in found]

    def issue_reset(self, party_no: str) -> dict[str, Any]:
        """Lock a party's password and make a link under which a new one can be set. It mails nothing."""
        one(
            self._db,
            "SELECT party_no FROM crm.parties WHERE party_no = ?",
            (party_no,),
            f"there is no party {party_no}",
        )
        ((count,),) = self._db.execute("SELECT count(*) FROM crm.resets")
        number = f"N-{count + 1:06d}"
        link = f"https://accounts.example.com/new-password/{number}"
        self._db.execute(
            "INSERT INTO crm.resets VALUES (?, ?, ?, ?)", (number, party_no, link, self._clock.now().isoformat())
        )
        return {"reset_no": number, "link": link}

    def latest_reset(self, party_no: str) -> dict[str, Any]:
        """The latest link that was made for a party."""
        return one(
            self._db,
            "SELECT reset_no, link FROM crm.resets WHERE party_no = ? ORDER BY reset_no DESC LIMIT 1",
            (party_no,),
            f"no link was made for party {party_no}",
        )
