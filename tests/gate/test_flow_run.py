"""Flow through whole runs: what a gate lets out, and what it still knows when a run is opened again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.gate.run import Run

UNDO = "    undo: {tool: reverse_refund, args: {refund_no: result.refund_no}}\n"
CONTRACT = Contract.loads(Path(__file__).with_name("flow.yaml").read_text().replace(UNDO, ""))
ADA = {"contact_id": "C-000123", "name": "Ada Lovelace", "email": "ada@example.com"}
BOB = {"contact_id": "C-000456", "name": "Robert Nowak", "email": "bob.nowak@example.com"}
STAFF = {"eve@desk.example": "Eve"}


class Desk:
    """The tools of the flow desk, and what they were called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def tools(self) -> dict[str, Any]:
        answers: dict[str, Any] = {
            "find_customer": ADA,
            "search_customers": [BOB],
            "mail": "sent",
            "refund": {"refund_no": "R1"},
            "find_account": {"account_no": "00012345", "balance": "9.00", "iban": "-"},
        }

        def wrap(name: str) -> Any:
            def tool(**args: Any) -> Any:
                self.calls.append((name, args))
                if name == "staff_directory":
                    known = args["email"] in STAFF
                    return {"email": args["email"] if known else "", "name": STAFF.get(args["email"], "")}
                return answers[name]

            return tool

        return {name: wrap(name) for name in (*answers, "staff_directory")}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "runs.db") as opened:
        yield opened


def ready(run: Run, desk: Desk) -> Run:
    tools = desk.tools()
    run.heard("I am ada@example.com")
    assert run.call("find_customer", {"email": "ada@example.com"}, tools["find_customer"]).ok
    assert run.call("search_customers", {"name": "nowak"}, tools["search_customers"]).ok
    return run


def opened(ledger: Ledger, **more: Any) -> Run:
    return Gate(CONTRACT, ledger, **more).run(id="r1", principal="bot", capability="care")


def test_nothing_leaves_in_calls_replies_and_questions(ledger: Ledger) -> None:
    desk = Desk()
    run = ready(opened(ledger), desk)
    mail = desk.tools()["mail"]
    sent = run.call("mail", {"to": ["ada@example.com"], "body": "Hello Ada Lovelace"}, mail)
    assert sent.ok
    leaking = run.call("mail", {"to": ["ada@example.com"], "body": "Ask bob.nowak@example.com"}, mail)
    assert leaking.status == "denied"
    assert "personal-to-its-owner" in leaking.text
    assert run.say("You are Ada Lovelace.").ok
    assert run.say("He is Robert Nowak.").status == "denied"
    assert run.ask_user("Are you Robert Nowak?").status == "denied"
    assert [name for name, _ in desk.calls].count("mail") == 1


def test_the_gate_looks_a_colleague_up_before_it_bothers_anybody(ledger: Ledger) -> None:
    desk = Desk()
    tools = desk.tools()
    run = ready(opened(ledger, tools=tools), desk)
    assert run.call("mail", {"to": ["eve@desk.example"], "body": "A parcel was lost."}, tools["mail"]).ok
    assert ("staff_directory", {"email": "eve@desk.example"}) in desk.calls
    assert run.call("mail", {"to": ["eve@evil.test"], "body": "A parcel was lost."}, tools["mail"]).status == "held"


def test_a_run_that_is_opened_again_knows_whose_data_it_holds(ledger: Ledger) -> None:
    desk = Desk()
    ready(opened(ledger), desk).call(
        "mail", {"to": ["ada@example.com"], "body": "it begins with bob.now"}, desk.tools()["mail"]
    )
    again = opened(ledger)
    assert again.say("bob.nowak@example.com").status == "denied"
    assert again.say("and ends with ak@example.com").status == "denied"
    assert again.say("You are ada@example.com").ok


def test_what_was_done_may_be_told_after_a_run_was_opened_again(ledger: Ledger) -> None:
    desk = Desk()
    tools = desk.tools()
    run = ready(opened(ledger), desk)
    assert run.call("find_account", {"contact_id": "C-000123"}, tools["find_account"]).ok
    assert run.say("You were refunded.").status == "denied"
    done = run.call("refund", {"account_no": "00012345", "amount": "5.00"}, tools["refund"])
    assert done.ok, done.text
    assert run.say("You were refunded.").ok
    assert opened(ledger).say("You were refunded.").ok
