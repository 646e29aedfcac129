"""What the faces of all three systems share."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any


class Refused(Exception):
    """A system will not do what it was asked to, and says why."""


def one(db: sqlite3.Connection, query: str, values: Sequence[Any], missing: str) -> dict[str, Any]:
    """The one row of a query, by column. Raises Refused with the text `missing` where there is none."""
    found = db.execute(query, values)
    row = found.fetchone()
    if row is None:
        raise Refused(missing)
    return {column[0]: value for column, value in zip(found.description, row, strict=True)}
