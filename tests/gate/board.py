"""An office with books, a board and a shop, kept in a real SQLite file, whose tools fail as they are told to."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from roadworthy.gate.carry import NotDone

CONTRACT = Path(__file__).with_name("board.yaml")

Mishap = Literal["fine", "refused", "lost_before", "lost_after"]
"""How a call goes: nothing was done, and it says so; the line broke before it was done, or after."""

_TABLES = """
create table if not exists board (place text primary key, text text);
create table if not exists books (entry_no integer primary key autoincrement, account text, amount text, reversed int);
create table if not exists shop (item text primary key, ordered int);
create table if not exists answers (key text primary key, answer text);
create table if not exists post (body text);
"""


def plain(amount: object) -> str:
    """An amount as the books have it."""
    return format(Decimal(str(amount)).normalize(), "f")


class LineBroke(Exception):
    """Nobody knows whether the other side has done it."""


class Office:
    """The tools, and the world behind them. Each tool commits what it did by itself, as services do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mishaps: dict[str, deque[Mishap]] = {}
        with self.opened() as db:
            db.executescript(_TABLES)

    def opened(self) -> closing[sqlite3.Connection]:
        """The file itself, for who wants to look."""
        db = sqlite3.connect(self.path)
        db.execute("pragma synchronous = off")  # it outlives processes, and need not outlive a loss of power
        return closing(db)

    def goes(self, tool: str, *mishaps: Mishap) -> None:
        """How the next calls of a tool go."""
        self.mishaps.setdefault(tool, deque()).extend(mishaps)

    def world(self) -> dict[str, Any]:
        """All that stands, without numbers and keys that were given out on the way."""
        with self.opened() as db:
            return {
                "board": sorted(db.execute("select place, text from board where text is not null").fetchall()),
                "books": sorted(db.execute("select account, amount from books where not reversed").fetchall()),
                "shop": sorted(db.execute("select item, ordered from shop where ordered != 0").fetchall()),
                "post": sorted(db.execute("select body from post").fetchall()),
            }

    @property
    def tools(self) -> Mapping[str, Callable[..., Any]]:
        return {
            "board.read": self._tool("board.read", self._read),
            "board.write": self._tool("board.write", self._write),
            "books.book": self._tool("books.book", self._book),
            "books.find": self._tool("books.find", self._find),
            "books.reverse": self._tool("books.reverse", self._reverse),
            "shop.order": self._tool("shop.order", self._order),
            "shop.status": self._tool("shop.status", self._status),
            "shop.cancel": self._tool("shop.cancel", self._cancel),
            "post.send": self._tool("post.send", self._send),
            "office.hand_over": self._tool("office.hand_over", self._hand_over),
        }

    def _tool(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def tool(**args: Any) -> Any:
            queue = self.mishaps.get(name)
            mishap = queue.popleft() if queue else "fine"
            if mishap == "refused":
                raise NotDone(f"{name} does not work today")
            if mishap == "lost_before":
                raise LineBroke(name)
            with self.opened() as db, db:
                result = work(db, **args)
            if mishap == "lost_after":
                raise LineBroke(name)
            return result

        return tool

    # -- the tools ----------------------------------------------------------------------------------------------------

    def _read(self, db: sqlite3.Connection, place: str) -> Any:
        row = db.execute("select text from board where place = ?", (place,)).fetchone()
        return {"text": row[0] if row else None}

    def _write(self, db: sqlite3.Connection, place: str, text: str | None) -> str:
        db.execute("insert or replace into board values (?, ?)", (place, text))
        return "written"

    def _book(self, db: sqlite3.Connection, account: str, amount: Any) -> Any:
        cursor = db.execute("insert into books (account, amount, reversed) values (?, ?, 0)", (account, plain(amount)))
        return {"entry_no": str(cursor.lastrowid)}

    def _find(self, db: sqlite3.Connection, account: str, amount: Any) -> Any:
        found = db.execute(
            "select 1 from books where account = ? and amount = ? and not reversed",
            (account, plain(amount)),
        )
        return {"found": found.fetchone() is not None}

    def _reverse(self, db: sqlite3.Connection, entry_no: str) -> str:
        done = db.execute("update books set reversed = reversed + 1 where entry_no = ?", (int(entry_no),))
        if done.rowcount != 1:
            raise NotDone(f"{entry_no} was never booked")
        return "reversed"

    def _order(self, db: sqlite3.Connection, item: str, request_id: str) -> str:
        return self._once(db, request_id, item, 1, "ordered")

    def _status(self, db: sqlite3.Connection, item: str) -> Any:
        row = db.execute("select ordered from shop where item = ?", (item,)).fetchone()
        return {"ordered": bool(row and row[0] > 0)}

    def _cancel(self, db: sqlite3.Connection, item: str, request_id: str) -> str:
        return self._once(db, request_id, item, -1, "cancelled")

    def _once(self, db: sqlite3.Connection, key: str, item: str, more: int, answer: str) -> str:
        known = db.execute("select answer from answers where key = ?", (key,)).fetchone()
        if known:
            return str(known[0])
        db.execute("insert or ignore into shop values (?, 0)", (item,))
        db.execute("update shop set ordered = ordered + ? where item = ?", (more, item))
        db.execute("insert into answers values (?, ?)", (key, answer))
        return answer

    def _send(self, db: sqlite3.Connection, body: str) -> str:
        db.execute("insert into post values (?)", (body,))
        return "sent"

    def _hand_over(self, _db: sqlite3.Connection, reason: str) -> str:
        return f"taken: {reason}"
