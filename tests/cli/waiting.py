"""An agent for jobs and its tools, for processes of their own: what the tools really did stands in files."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from roadworthy import Contract, Gate, Ledger, Suspended
from roadworthy.gate.run import Run

NAMES = ("bot",)


def _did(line: str) -> None:
    with Path("did.txt").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def _maybe_die(at: str) -> None:
    """Die as by kill -9, once, at the place that a file names."""
    wish = Path(f"die-{at}")
    if wish.exists():
        wish.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def find_invoice(invoice_no: str) -> dict[str, str]:
    _did(f"find {invoice_no}")
    return {"invoice_no": invoice_no, "total": "80.00"}


def refund(invoice_no: str, amount: str) -> dict[str, str]:
    _maybe_die("before-refund")
    _did(f"refund {invoice_no} {amount}")
    _maybe_die("after-refund")
    return {"refund_no": f"R-{invoice_no}"}


def note(text: str) -> str:
    _did(f"note {text}")
    _maybe_die("after-note")
    return "noted"


TOOLS: dict[str, Callable[..., object]] = {"find_invoice": find_invoice, "refund": refund, "note": note}


def job(run: Run) -> None:
    """Look at an invoice, refund it, note what came of it."""
    found = run.call("find_invoice", {"invoice_no": "4711"}, find_invoice)
    total = found.value["total"]
    done = run.call("refund", {"invoice_no": "4711", "amount": total}, refund)
    run.call("note", {"text": f"{done.status}: {done.value or done.text}"}, note)


def failing(run: Run) -> None:
    """An agent with a bug behind the approval."""
    run.call("refund", {"invoice_no": "4711", "amount": "80.00"}, refund)
    raise RuntimeError("the model's answer was no JSON")


def begin(run_id: str, drive: str) -> str:
    """Begin a job or a chat in this process, up to where it waits; how it stands then."""
    with Ledger.open("data/runs.db") as ledger:
        gate = Gate(Contract.load("contract.yaml"), ledger)
        with gate.run(id=run_id, principal="bot", capability="refunds", suspendable=drive == "job") as run:
            try:
                job(run)
            except Suspended:
                return "suspended"
            return run.status


if __name__ == "__main__":
    print(begin(sys.argv[1], sys.argv[2]))
