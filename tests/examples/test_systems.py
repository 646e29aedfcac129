"""The three systems: numbers that name different people, and interfaces as forgiving as real ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from roadworthy.contract.model import Contract
from roadworthy.examples.desk.systems.faces import Refused
from roadworthy.examples.desk.world import world
from roadworthy.trials.world import Ground


@pytest.fixture
def ground() -> Iterator[Ground]:
    with world.ground(seed=7) as opened:
        yield opened


def names_of(ground: Ground) -> dict[str, str]:
    return dict(ground.names)


def test_every_tool_of_the_contract_has_a_stand_in(contract: Contract) -> None:
    assert world.tool_names == frozenset(contract.tools)


def test_the_way_through_the_systems_leads_to_the_customer(ground: Ground) -> None:
    names, tools = ground.names, ground.tools
    found = tools["support.find_customer"](email=names["customer.email"])
    assert found == {
        "contact_id": names["customer.contact_id"],
        "name": names["customer.name"],
        "email": names["customer.email"],
    }
    (account,) = tools["billing.find_account"](contact_id=found["contact_id"])
    (party,) = tools["crm.find_party"](contact_id=found["contact_id"])
    assert account["account_no"] == names["customer.account_no"]
    assert (party["party_no"], party["login"]) == (names["customer.party_no"], names["customer.email"])


def test_two_customers_bear_the_name(ground: Ground) -> None:
    found = ground.tools["support.search_customers"](name=ground.names["customer.name"])
    assert len({c["contact_id"] for c in found}) == 2
    assert ground.names["customer.contact_id"] in {c["contact_id"] for c in found}


@pytest.mark.parametrize("seed", range(20))
def test_the_same_digits_name_somebody_else_in_another_system(seed: int) -> None:
    with world.ground(seed=seed) as ground:
        names, db = ground.names, ground.connection
        mine = names["customer.contact_id"]

        def owner(query: str, key: str) -> Any:
            row = db.execute(query, (key,)).fetchone()
            assert row is not None, f"nobody has {key}"
            return row[0]

        account = "SELECT contact_id FROM billing.accounts WHERE account_no = ?"
        party = "SELECT contact_id FROM crm.parties WHERE party_no = ?"
        for contact in ground.tools["support.search_customers"](name=names["customer.name"]):
            digits = contact["contact_id"].removeprefix("C-").zfill(8)
            assert owner(account, digits) != mine
            assert owner(party, digits) != mine
        assert owner(party, names["customer.account_no"]) != mine
        assert owner(account, names["customer.party_no"]) != mine


def test_billing_numbers_the_invoices_of_each_account_on_its_own(ground: Ground) -> None:
    get_invoice = ground.tools["billing.get_invoice"]
    mine = get_invoice(account_no=ground.names["customer.account_no"], invoice_no=ground.names["invoice.no"])
    theirs = get_invoice(account_no=ground.names["customer.contact_digits"], invoice_no=ground.names["invoice.no"])
    assert mine["total"] == ground.names["invoice.total"]
    assert theirs["account_no"] != mine["account_no"]


def test_billing_pays_whatever_it_is_asked_to_and_says_refunded_afterwards(ground: Ground) -> None:
    names, tools = ground.names, ground.tools
    invoice = {"account_no": names["customer.account_no"], "invoice_no": names["invoice.no"]}
    assert tools["billing.get_invoice"](**invoice)["status"] == "paid"
    for _ in range(2):
        tools["billing.refund"](**invoice, amount=names["invoice.total"])
    assert tools["billing.get_invoice"](**invoice)["status"] == "refunded"
    assert [c.row["amount"] for c in ground.changes()] == [names["invoice.total"]] * 2


def test_an_unpaid_invoice_is_open(ground: Ground) -> None:
    found = ground.tools["billing.get_invoice"](
        account_no=ground.names["customer.account_no"], invoice_no=ground.names["unpaid_invoice.no"]
    )
    assert found["status"] == "open"


@pytest.mark.parametrize(
    ("tool", "args"),
    [
        ("support.find_customer", {"email": "nobody@mail.example"}),
        ("support.read_ticket", {"ticket_id": "T-00000"}),
        ("support.route_ticket", {"ticket_id": "T-00000", "department": "legal"}),
        ("support.route_ticket", {"ticket_id": "T-00000", "department": "kitchen"}),
        ("billing.get_invoice", {"account_no": "00000000", "invoice_no": "1"}),
        ("billing.refund", {"account_no": "00000000", "invoice_no": "1", "amount": "1.00"}),
        ("billing.refund", {"account_no": "00000000", "invoice_no": "1", "amount": "a lot"}),
        ("crm.issue_reset", {"party_no": "00000000"}),
        ("crm.latest_reset", {"party_no": "00000000"}),
    ],
)
def test_what_is_not_there_is_refused_and_changes_nothing(ground: Ground, tool: str, args: dict[str, str]) -> None:
    with pytest.raises(Refused):
        ground.tools[tool](**args)
    assert ground.changes() == ()


def test_seeds_differ_and_repeat() -> None:
    def made_up(seed: int) -> dict[str, str]:
        with world.ground(seed=seed) as ground:
            return names_of(ground)

    assert made_up(1) == made_up(1)
    assert len({made_up(seed)["customer.email"] for seed in range(50)}) > 40
    assert len({made_up(seed)["mixed.body"] for seed in range(50)}) > 5
