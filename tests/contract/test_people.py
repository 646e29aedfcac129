"""Who may decide what, and what proves that it was they."""

from __future__ import annotations

import pytest

from roadworthy.contract.keys import SigningKey
from roadworthy.contract.people import People

ADA, GRACE = SigningKey.new(), SigningKey.new()
TEXT = f"""\
people: 1
roles: [engineering, finance]
members:
  ada: {{roles: [engineering], keys: [{ADA.public}]}}
  grace: {{roles: [engineering, finance], keys: [{GRACE.public}]}}
  joan: {{roles: [finance]}}
"""


@pytest.fixture
def people() -> People:
    return People.loads(TEXT)


def test_roles_are_held_by_those_who_were_given_them(people: People) -> None:
    assert people.holds("grace", "finance")
    assert not people.holds("ada", "finance")
    assert not people.holds("eve", "finance")
    assert people.holding("finance") == ("grace", "joan")


def test_a_signature_holds_for_one_person_purpose_and_payload(people: People) -> None:
    payload = {"question": "q1", "ruling": "approve", "amount": "50.00", "rate": 0.5, "name": "Zoë"}
    signature = ADA.sign("answer", payload)
    assert people.verify("ada", "answer", payload, signature)
    assert people.verify("ada", "answer", dict(reversed(payload.items())), signature)
    assert not people.verify("grace", "answer", payload, signature)
    assert not people.verify("joan", "answer", payload, signature)
    assert not people.verify("eve", "answer", payload, signature)
    assert not people.verify("ada", "contract", payload, signature)
    assert not people.verify("ada", "answer", {**payload, "amount": "500.00"}, signature)
    assert not people.verify("ada", "answer", {**payload, "more": None}, signature)
