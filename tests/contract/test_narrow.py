"""What takes something away from a contract, and what does not."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from tests.contract.edits import REFERENCE, edited

from roadworthy import Contract
from roadworthy.contract.model import RunBudget
from roadworthy.contract.narrow import only_narrows
from roadworthy.contract.people import People

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def reference() -> Contract:
    return Contract.loads(REFERENCE, folder=HERE)


@cache
def changed(*changes: tuple[str, str]) -> Contract:
    return Contract.loads(edited(*changes), folder=HERE)


A_RULE = "  - {id: more, tools: [mail.send], when: args.to == 'x', then: THEN, because: Because.ASK}\n\nflow:"

NARROWER: dict[str, list[tuple[str, str]]] = {
    "nothing": [],
    "another version": [('version: "7"', 'version: "8"')],
    "another goal": [("goal: Change or cancel", "goal: Cancel")],
    "a signature more": [("approval: [engineering]", "approval: [finance, engineering]")],
    "another description": [("description: Find a guest", "description: Find the guest")],
    "a need more": [
        ("    needs:\n      - {call", "    needs:\n      - {call: stays.bookings, within: 5m}\n      - {call"),
    ],
    "a tool that is closed": [("ledger.credit, web.read]", "ledger.credit]")],
    "a common tool that is closed": [("stays.bookings, hotel.nights]", "stays.bookings]")],
    "a lower start": [("{start: approval, ceiling: autonomous", "{start: shadow, ceiling: autonomous")],
    "a lower ceiling": [("{start: approval, ceiling: autonomous", "{start: approval, ceiling: approval")],
    "another reason": [("because: Guests sleep.", "because: They sleep.")],
    "a rule that denies": [("\nflow:", A_RULE.replace("THEN", "deny").replace("ASK", ""))],
    "a rule that clarifies": [("\nflow:", A_RULE.replace("THEN", "clarify").replace("ASK", ""))],
    "a rule that asks the approver": [("\nflow:", A_RULE.replace("THEN", "ask").replace("ASK", ""))],
    "a claim more": [("\nbudgets:", '  - {says: ["booked"], needs: stays.cancel}\n\nbudgets:')],
    "fewer calls": [("tool_calls: 30", "tool_calls: 29")],
    "less time": [("wall: 5m", "wall: 4m")],
    "less a day": [('max: "1000.00"', 'max: "999.99"')],
    "fewer a day": [("max: 5, per: subject", "max: 0, per: subject")],
    "a budget of the day more": [("\nprincipals:", "    - {count: {effect: write}, max: 9}\n\nprincipals:")],
    "a rule that asks the approver, before others": [
        ("\nrules:\n", "\nrules:\n  - {id: a, tools: [mail.send], when: args.to == 'x', then: ask, because: Why.}\n"),
    ],
    "no reads without a ledger": [("{reads: allow, writes", "{reads: deny, writes")],
}  # fmt: skip

WIDER: dict[str, list[tuple[str, str]]] = {
    "a signature less": [("[engineering, finance]", "[engineering]")],
    "a signature for another level": [("  autonomous: [engineering, finance]\n", "")],
    "another owner": [("accountable: desk-lead", "accountable: grace")],
    "another time zone": [("zone: Europe/Vienna", "zone: Europe/Berlin")],
    "a label with readers": [("internal: {readers: nobody}", "internal: {readers: owner}")],
    "another type": [('max: "5000.00"', 'max: "5000.01"')],
    "another pattern": [("G-[0-9]{5}", "G-[0-9]+")],
    "a need less": [("where: 'result.status == \"booked\"', ", "")],
    "an older need": [("within: 10m", "within: 11m")],
    "no confirmation": [("    confirm: {by: user, read_out: [booking_id]}\n", "")],
    "another effect": [("  hotel.nights:\n    effect: compute", "  hotel.nights:\n    effect: read")],
    "a tool more": [
        ("\ncommon:", "\n  hotel.more: {effect: read, args: {}, returns: string}\n\ncommon:"),
        ("ledger.credit, web.read]", "ledger.credit, web.read, hotel.more]"),
    ],
    "an open tool more": [("ledger.credit, web.read]", "ledger.credit, web.read, mail.send]")],
    "a common tool more": [("stays.bookings, hotel.nights]", "stays.bookings, hotel.nights, web.read]")],
    "a tool that is left open at one place only": [("tools: [stays.read_booking, ledger.find", "tools: [ledger.find")],
    "a higher start": [("{start: shadow, ceiling: approval", "{start: approval, ceiling: approval")],
    "a higher ceiling": [("{start: shadow, ceiling: approval", "{start: shadow, ceiling: autonomous")],
    "another approver": [("ceiling: approval, approver: finance", "ceiling: approval, approver: reception")],
    "other words that open a capability": [("I can't come", "I will come")],
    "another meaning": [("means: The guest was charged too much.", "means: The guest wants money.")],
    "another rule": [("when: args.amount > 100.00", "when: args.amount > 100.01"), ("100.01\"}", "100.02\"}")],
    "a rule that only watches": [("    because: Guests sleep.", "    enforce: false\n    because: Guests sleep.")],
    "a rule that names somebody": [
        ("\nflow:", A_RULE.replace("THEN", "ask").replace("ASK", ", ask: {role: reception}")),
    ],
    "a principal who may less, where the rest asks somebody else": [
        ("capabilities: [cancel_stay, credit]", "capabilities: [cancel_stay]"),
    ],
    "another flow": [("into: [mail.send, reply]", "into: [mail.send]")],
    "a claim less": [('["credited", "money is on its way"]', '["credited"]')],
    "more calls": [("tool_calls: 30", "tool_calls: 31")],
    "calls without end": [("tool_calls: 30, ", "")],
    "more time": [("wall: 5m", "wall: 6m")],
    "more a day": [('max: "1000.00"', 'max: "1000.01"')],
    "less a day for somebody else": [('max: "1000.00", per: agent', 'max: "1.00", per: run')],
    "a budget of the day less": [("    - {count: {tool: stays.cancel}, max: 20}\n", "")],
    "a principal more": [
        ("hosted_tools:", "  night-bot: {authenticated_by: token, capabilities: [credit]}\nhosted_tools:"),
    ],
    "any principal": [
        ("principals:\n", ""),
        ("  desk-bot: {authenticated_by: token, capabilities: [cancel_stay, credit]}\n", ""),
    ],
    "a hosted tool": [("hosted_tools: refuse", "hosted_tools: [web_search]")],
    "another way to a person": [("escalate: {to: reception", "escalate: {to: finance")],
}  # fmt: skip


@pytest.mark.parametrize("name", NARROWER)
def test_what_takes_something_away(reference: Contract, name: str) -> None:
    new = changed(*NARROWER[name])
    assert only_narrows(new, reference)
    if name != "nothing":
        assert new.digest != reference.digest or name == "nothing"


@pytest.mark.parametrize("name", WIDER)
def test_what_may_give_something(reference: Contract, name: str) -> None:
    assert not only_narrows(changed(*WIDER[name]), reference)


@pytest.mark.parametrize("name", sorted(NARROWER.keys() - {"nothing"}))
def test_the_way_back_is_not_narrower(reference: Contract, name: str) -> None:
    free = {"another version", "another goal", "another description", "another reason"}
    assert only_narrows(reference, changed(*NARROWER[name])) is (name in free)


def test_one_step_after_another(reference: Contract) -> None:
    steps = [change for name, changes in NARROWER.items() if "rule" not in name for change in changes]
    chosen = [c for c in steps if c[0] not in ("{start: approval, ceiling: autonomous",)]
    new = changed(*chosen)
    assert only_narrows(new, reference)
    assert not only_narrows(reference, new)


def test_other_people_are_another_contract(reference: Contract) -> None:
    text = (HERE / "people.yaml").read_text().replace("roles: [finance]\n", "roles: [finance, engineering]\n", 1)
    assert not only_narrows(reference.with_people(People.loads(text)), reference)


def test_a_part_that_nobody_has_thought_about_is_no_narrowing(reference: Contract) -> None:
    for name in Contract.model_fields:
        value = getattr(reference, name)
        if isinstance(value, str) and name not in ("version", "goal", "hosted_tools"):
            assert not only_narrows(reference.model_copy(update={name: f"{value}x"}), reference), name


@pytest.mark.parametrize(("old", "new", "yes"), [(None, 3, True), (3, None, False), (3, 3, True), (0, None, False)])
def test_no_limit_is_the_widest(reference: Contract, old: int | None, new: int | None, yes: bool) -> None:
    def with_limit(limit: int | None) -> Contract:
        budgets = reference.budgets.model_copy(update={"run": RunBudget(writes=limit)})
        return reference.model_copy(update={"budgets": budgets})

    assert only_narrows(with_limit(new), with_limit(old)) is yes
