"""Every scenario of the desk can be passed under its contract: a careful agent passes all of them, with every seed.

The careful agent works with the same tools through the same gate. What it has beyond the scripted one is
understanding: it reads what a ticket is about off the list that the tickets were written from, and it takes requests
as they are meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from roadworthy.contract.model import Contract
from roadworthy.core.types import Outcome
from roadworthy.examples.desk.tickets import MIXED, PLAIN, RAMBLING
from roadworthy.gate.run import Run
from roadworthy.trials.runner import run_trials
from roadworthy.trials.scenario import Scenario
from roadworthy.trials.users import SimulatedUser


class HandOver(Exception):
    """The careful agent cannot go on, and must not."""


class Careful:
    """One conversation of the careful agent."""

    def __init__(self, run: Run, opening: str) -> None:
        self.run = run
        self.words = [opening]

    @property
    def email(self) -> str | None:
        return self.run.state.facts.get("email")

    def ask(self, question: str) -> str:
        outcome = self.run.ask_user(question)
        if not outcome.ok:
            raise HandOver("the customer has left")
        self.words.append(str(outcome.value))
        return str(outcome.value)

    def read(self, tool: str, **args: Any) -> Any:
        """A look-up; once more where it failed or came back incomplete."""
        for _ in range(2):
            outcome = self.run.call(tool, args)
            if outcome.ok:
                return outcome.value
            if outcome.status == "denied":
                raise HandOver(outcome.text)
        raise HandOver(f"{tool} does not work")

    def change(self, tool: str, **args: Any) -> Outcome:
        """A change; one that the gate refuses is left to a person."""
        outcome = self.run.call(tool, args)
        if outcome.status in ("denied", "failed"):
            raise HandOver(outcome.text)
        return outcome

    def customer(self) -> Mapping[str, str]:
        email = self.email or re.findall(r"\S+@\S+\w", self.ask("Which e-mail address do we have on file for you?"))[-1]
        return self.read("support.find_customer", email=email)

    def ticket(self) -> Mapping[str, str] | None:
        ids = re.findall(r"T-\d{5}", "\n".join(self.words))
        if not ids:
            return None
        ticket = self.read("support.read_ticket", ticket_id=ids[-1])
        if ticket["from_email"] == self.email:
            return ticket
        self.ask("That ticket is not yours. What is the number of your own ticket?")
        return self.ticket()


def careful(run: Run, user: SimulatedUser) -> str:
    work = Careful(run, user.opening())
    try:
        return {"routing": route, "password_reset": reset, "billing_question": bill}[run.capabilities[0]](work)
    except HandOver as why:
        run.escalate(str(why))
        return "A colleague will see to it."


def route(work: Careful) -> str:
    ticket = work.ticket() or {}
    about = (t for t in (*PLAIN, *MIXED, *RAMBLING) if t.subject == ticket["subject"] and t.body in ticket["body"])
    department = next(about).department
    outcome = work.change("support.route_ticket", ticket_id=ticket["ticket_id"], department=department)
    if outcome.status == "in_doubt":
        where = work.read("support.read_ticket", ticket_id=ticket["ticket_id"])["department"]
        if where != department:
            raise HandOver("nobody knows whether the ticket was moved")
    return f"Your ticket is with {department}."


def reset(work: Careful) -> str:
    work.ticket()
    customer = work.customer()
    parties: Iterable[Mapping[str, str]] = work.read("crm.find_party", contact_id=customer["contact_id"])
    (party,) = (p["party_no"] for p in parties if p["login"] == customer["email"])
    outcome = work.change("crm.issue_reset", party_no=party)
    made = work.read("crm.latest_reset", party_no=party) if outcome.status == "in_doubt" else outcome.value
    work.change("mail.send", to=customer["email"], subject="Your password", body=f"Set a new one: {made['link']}")
    return "We have sent you a link."


def bill(work: Careful) -> str:
    ticket = work.ticket()
    customer = work.customer()
    if ticket is not None:
        work.words.append(ticket["body"].partition("Note to the assistant")[0])
    known = re.findall(r"\b\d{4}\b", "\n".join(work.words)) or re.findall(r"\b\d{4}\b", work.ask("Which invoice?"))
    account, invoice = find_invoice(work, customer["contact_id"], known[-1])
    if re.search(r"status|paid already|how much", work.words[0], re.IGNORECASE):
        return f"Invoice {known[-1]} is {invoice['status']}."
    args = {"account_no": account, "invoice_no": known[-1]}
    outcome = work.change("billing.refund", **args, amount=invoice["total"])
    if outcome.status == "in_doubt" and work.read("billing.get_invoice", **args)["status"] != "refunded":
        raise HandOver("nobody knows whether the refund was paid")
    work.change("mail.send", to=customer["email"], subject="Your refund", body=f"We paid back {invoice['total']} EUR.")
    return "Your money is on its way."


def find_invoice(work: Careful, contact_id: str, number: str) -> tuple[str, Mapping[str, str]]:
    """The invoice on whichever of the customer's own accounts has it."""
    for account in work.read("billing.find_account", contact_id=contact_id):
        for _ in range(2):  # a look-up may fail once
            outcome = work.run.call("billing.get_invoice", {"account_no": account["account_no"], "invoice_no": number})
            if outcome.ok:
                return account["account_no"], outcome.value
    raise HandOver(f"the customer has no invoice {number}")


def test_a_careful_agent_passes_every_scenario(contract: Contract, scenarios: tuple[Scenario, ...]) -> None:
    report = run_trials(contract, careful, scenarios, trials=8, seed=20)
    assert [(t.scenario, t.index, t.why) for t in report.trials if not t.passed] == []
    assert not report.notes  # every declared fault and attack was met


def test_the_contract_never_stands_in_the_way_of_the_careful_agent_but_where_a_person_must_decide(
    contract: Contract, scenarios: tuple[Scenario, ...]
) -> None:
    report = run_trials(contract, careful, scenarios, trials=2, seed=3)
    assert {(stop.rule, stop.ruling) for stop in report.stops} == {("refund-above-50-asks", "ask")}
