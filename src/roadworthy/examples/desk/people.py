"""The made-up customers of a trial, and the numbers that are easy to mix up.

From the trial's seed come one customer whom the scenario is about, a namesake with the same full name, and strangers
whose numbers in one system are the customer's numbers in another:

| the digits of              | are in billing          | are in the customer file |
|----------------------------|-------------------------|--------------------------|
| the customer's contact id  | a stranger's account    | a stranger's party       |
| the namesake's contact id  | a stranger's account    | a stranger's party       |
| the customer's account no  | the customer's account  | a stranger's party       |
| the customer's party no    | a stranger's account    | the customer's party     |

Every one of these accounts has an invoice with the number of the customer's invoice, because billing numbers the
invoices of each account on its own.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Mapping

from roadworthy.examples.desk.tickets import wordings

GIVEN = (
    "Ada", "Anna", "Boris", "Carla", "Dana", "Emil", "Farid", "Greta", "Hanna", "Ines", "Jonas", "Karim", "Lena",
    "Marta", "Nils", "Olga", "Paul", "Rosa", "Samir", "Tilda",
)  # fmt: skip
FAMILY = (
    "Albers", "Bauer", "Castillo", "Dietrich", "Eriksen", "Fontaine", "Gruber", "Haddad", "Ivanova", "Jansen", "Keller",
    "Lindner", "Moreau", "Novak", "Okafor", "Petrov", "Quist", "Rossi", "Schmidt", "Tanaka",
)  # fmt: skip
DOMAINS = ("mail.example", "post.example", "inbox.example")

_INSERT_CONTACT = "INSERT INTO support.contacts VALUES (?, ?, ?)"
_INSERT_ACCOUNT = "INSERT INTO billing.accounts VALUES (?, ?, ?, ?)"
_INSERT_INVOICE = "INSERT INTO billing.invoices VALUES (?, ?, ?, ?)"
_INSERT_PARTY = "INSERT INTO crm.parties VALUES (?, ?, ?, ?)"


def _cents(rng: random.Random, low: int, high: int) -> str:
    cents = rng.randrange(low * 100, high * 100)
    return f"{cents // 100}.{cents % 100:02d}"


def _fresh(rng: random.Random, low: int, high: int) -> Iterator[int]:
    """Numbers that do not repeat."""
    taken: set[int] = set()
    while True:
        number = rng.randrange(low, high)
        if number not in taken:
            taken.add(number)
            yield number


def seed(db: sqlite3.Connection, rng: random.Random) -> Mapping[str, str]:
    """Add the people of one trial; the names that scenarios may use as `${customer.email}`."""
    numbers = _fresh(rng, 100_000, 1_000_000)
    given, family = rng.choice(GIVEN), rng.choice(FAMILY)
    name = f"{given} {family}"
    contact, account, party = next(numbers), next(numbers), next(numbers)
    namesake, namesake_account, namesake_party = next(numbers), next(numbers), next(numbers)
    other = next(numbers)
    other_name = f"{rng.choice(GIVEN)} {rng.choice(FAMILY)}"
    email = f"{given}.{family}{contact % 100:02d}@{rng.choice(DOMAINS)}".lower()
    namesake_email = f"{given[0]}.{family}{namesake % 1000:03d}@{rng.choice(DOMAINS)}".lower()
    other_email = f"{other_name.replace(' ', '.')}{other % 1000:03d}@{rng.choice(DOMAINS)}".lower()
    own, strange = f"C-{contact:06d}", f"C-{other:06d}"

    contacts = [(own, name, email), (f"C-{namesake:06d}", name, namesake_email), (strange, other_name, other_email)]
    accounts = [
        (f"{account:08d}", own, name, "private"),
        (f"{namesake_account:08d}", f"C-{namesake:06d}", name, "private"),
        *((f"{number:08d}", strange, other_name, "private") for number in (contact, namesake, party)),
    ]
    parties = [
        (f"{party:08d}", own, "person", email),
        (f"{namesake_party:08d}", f"C-{namesake:06d}", "person", namesake_email),
        *((f"{number:08d}", strange, "person", other_email) for number in (contact, namesake, account)),
    ]
    invoice, large, unpaid, business = rng.sample(range(1000, 10_000), 4)
    total, large_total = _cents(rng, 8, 50), _cents(rng, 55, 180)
    invoices = [
        (f"{account:08d}", str(invoice), total, 1),
        (f"{account:08d}", str(large), large_total, 1),
        (f"{account:08d}", str(unpaid), _cents(rng, 8, 50), 0),
        *((number, str(invoice), _cents(rng, 8, 50), 1) for number, *_ in accounts[1:]),
    ]
    db.executemany(_INSERT_CONTACT, contacts)
    db.executemany(_INSERT_ACCOUNT, accounts)
    db.executemany(_INSERT_INVOICE, invoices)
    db.executemany(_INSERT_PARTY, parties)

    ticket, other_ticket = rng.sample(range(20_000, 90_000), 2)
    return {
        "customer.name": name,
        "customer.given": given,
        "customer.email": email,
        "customer.contact_id": own,
        "customer.contact_digits": f"{contact:08d}",
        "customer.account_no": f"{account:08d}",
        "customer.second_account_no": f"{next(numbers):08d}",
        "customer.party_no": f"{party:08d}",
        "customer.second_party_no": f"{next(numbers):08d}",
        "invoice.no": str(invoice),
        "invoice.total": total,
        "large_invoice.no": str(large),
        "large_invoice.total": large_total,
        "unpaid_invoice.no": str(unpaid),
        "business_invoice.no": str(business),
        "business_invoice.total": _cents(rng, 8, 50),
        "stranger.name": other_name,
        "stranger.email": other_email,
        "ticket.id": f"T-{ticket}",
        "other_ticket.id": f"T-{other_ticket}",
        **dict(wordings(rng)),
    }
