"""A job that is killed again and again, for a process of its own: `dying.py FOLDER SEED KILLS`.

Forks a child for every drive, so that what is imported is imported once. A child is killed by SIGKILL at a random
moment; the next one resumes the run from the ledger alone. What was really paid stands in a database of the bank's.
Prints how it ended, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from roadworthy import Contract, Gate, Ledger, Suspended
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Draft, Entry, Guard
from roadworthy.gate.run import Run

ORDERS = ("1", "2", "3", "4")
LARGE = "3"
"""The order whose refund a person must approve."""


class Death:
    """Kills this process as by kill -9, at the n-th thing that it does: a write to the ledger or to the bank."""

    def __init__(self, left: int | None) -> None:
        self.left = left

    def step(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Mortal(Ledger):
    """A ledger whose process may die before and after every write."""

    death: Death

    def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
        self.death.step()
        written = super().append(drafts, guards)
        self.death.step()
        return written


class Bank:
    """Pays for real, as far as a table can: every payment is committed on its own."""

    def __init__(self, path: Path, death: Death) -> None:
        self.path = path
        self.death = death
        with self._open() as at:
            at.execute("CREATE TABLE IF NOT EXISTS payments (order_no TEXT, amount TEXT, request_id TEXT UNIQUE)")
            at.execute("CREATE TABLE IF NOT EXISTS notes (order_no TEXT)")

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=30, isolation_level=None)

    def find(self, order_no: str) -> dict[str, str]:
        with self._open() as at:
            paid = at.execute("SELECT count(*) FROM payments WHERE order_no = ?", (order_no,)).fetchone()[0]
        return {"order_no": order_no, "status": "refunded" if paid else "lost"}

    def refund(self, order_no: str, amount: str, request_id: str | None = None) -> dict[str, str]:
        self.death.step()
        with self._open() as at:
            at.execute("INSERT OR IGNORE INTO payments VALUES (?, ?, ?)", (order_no, amount, request_id))
        self.death.step()
        return {"refund_no": f"R-{order_no}"}

    def note(self, order_no: str) -> str:
        self.death.step()
        with self._open() as at:
            at.execute("INSERT INTO notes VALUES (?)", (order_no,))
        self.death.step()
        return "noted"

    @property
    def tools(self) -> dict[str, Callable[..., Any]]:
        return {"find": self.find, "refund": self.refund, "note": self.note}


def job(run: Run) -> None:
    """The agent: refunds every order, and tries again only what is known not to have been done."""
    run.heard("all four parcels were lost")
    for order in ORDERS:
        while True:
            run.call("find", {"order_no": order})
            done = run.call("refund", {"order_no": order, "amount": "200.00" if order == LARGE else "20.00"})
            if done.status != "failed":
                break
        run.call("note", {"order_no": order})
    run.say("All done.")
    run.close()


def drive(folder: Path, wait_s: float | None, steps: int | None) -> None:
    """One drive in this process, which may not live to its end."""
    death = Death(steps)
    if wait_s is not None:
        timer = threading.Timer(wait_s, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
    contract = Contract.load(folder / "contract.yaml")
    bank = Bank(folder / "bank.db", death)
    with Mortal.open(folder / "runs.db") as ledger:
        ledger.death = death
        gate = Gate(contract, ledger, tools=bank.tools)
        try:
            run = gate.resume("job")
        except UsageError:
            run = gate.run(id="job", capability="refunds", suspendable=True)
        try:
            job(run)
        except Suspended:
            asked = gate.questions()
            if asked:
                gate.answer(asked[0].id, by="lead", ruling="approve")
            os._exit(3)
    os._exit(0)


def main(folder: Path, seed: int, kills: int) -> None:
    chance = random.Random(seed)
    killed = 0
    began = time.monotonic()
    drive_s = 0.5
    for _ in range(kills * 3 + 20):
        wait = steps = None
        if killed < kills and killed % 3 == 2:
            wait = chance.uniform(0.0, drive_s)
        elif killed < kills:
            steps = chance.randrange(24)
        before = time.monotonic()
        child = os.fork()
        if child == 0:
            try:
                drive(folder, wait, steps)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
            continue
        code = os.WEXITSTATUS(status)
        if code == 1:
            sys.exit(1)
        drive_s = max(0.05, min(drive_s, time.monotonic() - before))
        if code == 0:
            break
    with sqlite3.connect(folder / "bank.db") as at:
        payments = at.execute("SELECT order_no, count(*) FROM payments GROUP BY order_no").fetchall()
        notes = at.execute("SELECT order_no, count(*) FROM notes GROUP BY order_no").fetchall()
    with Ledger.open(folder / "runs.db") as ledger:
        entries = list(ledger.entries(run="job"))
        run = Gate(Contract.load(folder / "contract.yaml"), ledger).run(id="job")
        tools = {e.body["id"]: e.body["tool"] for e in entries if e.kind == "action"}
        print(
            json.dumps(
                {
                    "killed": killed,
                    "payments": dict(payments),
                    "notes": dict(notes),
                    "status": run.status,
                    "doubts": [
                        tools[str(e.cause).partition("~")[0]]
                        for e in entries
                        if e.kind == "outcome" and e.body["status"] == "in_doubt"
                    ],
                    "handed_over": sum(e.kind == "handover" for e in entries),
                    "seconds": round(time.monotonic() - began, 1),
                }
            )
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
