"""Who may call what, and on whose behalf."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.core.errors import ContractError, UsageError

from .conftest import Calls, Desk, always

Open = Callable[..., Calls]


def test_an_unknown_tool_is_denied_with_the_nearest_name(tested: Open) -> None:
    outcome = tested()("refnd", amount="1")
    assert (outcome.status, outcome.done) == ("denied", "blocked")
    assert "Do you mean refund?" in outcome.text


def test_a_tool_outside_the_open_capability_is_denied(tested: Open, desk: Desk) -> None:
    calls = tested(capability="chat").ready
    outcome = tested(capability="chat", id="r2")("refund", account_no="1234", invoice_no="7", amount="1")
    assert outcome.status == "denied"
    assert "not open in this run (open: chat)" in outcome.text
    assert "refund" not in desk.names()
    assert calls is not None


def test_a_tool_that_nobody_may_call_is_denied(tested: Open) -> None:
    assert tested().ready()("wipe").status == "denied"


def test_before_the_subject_is_known_only_the_look_up_and_harmless_tools_are_open(tested: Open, desk: Desk) -> None:
    calls = tested()
    denied = calls("search_accounts", name="Ada")
    assert denied.status == "denied"
    assert "find_customer" in denied.text
    assert calls("status_page").ok
    assert calls.run.subject is None
    assert calls("find_customer", email="ada@example.com").ok
    assert calls.run.subject == "C-001"
    assert calls("search_accounts", name="Ada").ok
    assert desk.names() == ["status_page", "find_customer", "search_accounts"]


def test_an_entity_argument_must_belong_to_the_subject(tested: Open, desk: Desk) -> None:
    calls = tested().ready()
    for stranger in ("9999", "5678"):
        outcome = calls("get_invoice", account_no=stranger, invoice_no="7")
        assert outcome.status == "denied"
        assert stranger in outcome.text
    assert desk.names().count("get_invoice") == 1


def test_a_search_result_bridges_to_nobody(tested: Open) -> None:
    calls = tested()
    calls("find_customer", email="ada@example.com")
    assert calls("search_accounts", name="Ada").ok
    assert calls("get_invoice", account_no="1234", invoice_no="7").status == "denied"
    assert calls("find_account", contact_id="C-001").ok
    assert calls("get_invoice", account_no="1234", invoice_no="7").ok


def test_the_look_up_of_a_second_subject_is_withheld(tested: Open, desk: Desk) -> None:
    calls = tested().ready()
    before = copy.deepcopy(calls.run.state.kept)
    desk.answers["find_customer"] = {"contact_id": "C-002", "email": "bob@example.com"}
    outcome = calls("find_customer", email="bob@example.com")
    assert (outcome.status, outcome.done, outcome.value) == ("denied", "executed", None)
    assert "C-002" not in outcome.text
    assert "bob" not in outcome.text
    assert calls.run.subject == "C-001"
    assert calls.run.state.kept == before


def test_a_given_subject_is_the_subject(contract: Contract, ledger: Ledger, desk: Desk) -> None:
    run = Gate(contract, ledger).run(principal="bot", subject="C-001", capability="money_back")
    assert run.call("find_account", {"contact_id": "C-001"}, desk["find_account"]).ok
    assert run.call("find_account", {"contact_id": "C-002"}, desk["find_account"]).status == "denied"
    with pytest.raises(UsageError, match=r"no crm\.Customer"):
        Gate(contract, ledger).run(principal="bot", subject="ada")


def test_a_capability_is_opened_by_the_application_only_for_those_who_may(contract: Contract, ledger: Ledger) -> None:
    gate = Gate(contract, ledger)
    with pytest.raises(UsageError, match="may not use the capability 'money_back'"):
        gate.run(principal="reader", capability="money_back")
    with pytest.raises(UsageError, match="no capability 'money'"):
        gate.run(principal="bot", capability="money")
    with pytest.raises(UsageError, match="say who runs the agent"):
        gate.run(capability="chat")
    with pytest.raises(UsageError, match="knows no principal 'eve'"):
        gate.run(principal="eve")
    run = gate.run(principal="bot")
    run.open("chat")
    assert run.capabilities == ("chat",)


def test_a_rule_made_in_python_that_could_never_fire_is_refused(contract: Contract, ledger: Ledger) -> None:
    rule = contract.rules[0].model_copy(update={"id": "typo", "tools": ("refnd",)})
    with pytest.raises(ContractError, match="refnd"):
        Gate(contract.model_copy(update={"rules": (*contract.rules, rule)}), ledger)


def test_levels_and_approvers_are_for_test_worlds(contract: Contract, ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="test worlds"):
        Gate(contract, ledger, level="autonomous")
    with pytest.raises(UsageError, match="test worlds"):
        Gate(contract, ledger, approver=always(True))


ROWS = """
roadworthy: 1
agent: rows
version: "1"
goal: g
owner: {team: t, accountable: x}
subject: {entity: Cust, established_by: [find]}
entities: {Cust: {key: id}, Acc: {key: nr}}
types:
  Who: {type: integer, entity: Cust}
  Accounts: {type: array, items: {nr: Acc}}
tools:
  find: {effect: read, args: {}, returns: {id: Who}}
  accounts: {effect: read, args: {id: {type: Who, optional: true}}, returns: Accounts}
  many: {effect: read, args: {ids: {type: array, items: Who}}, returns: Accounts}
  pay: {effect: write, args: {nr: Acc}, returns: string}
capabilities: {c: {means: m, tools: [find, accounts, many, pay], autonomy: {start: autonomous, approver: x}}}
"""


@pytest.mark.parametrize(("tool", "args", "own"), [
    ("accounts", {}, False), ("many", {"ids": []}, False), ("accounts", {"id": 5}, True), ("many", {"ids": [5]}, True),
])  # fmt: skip
def test_a_look_up_about_nobody_makes_nothing_the_subjects(
    ledger: Ledger, tool: str, args: dict[str, object], own: bool
) -> None:
    def rows(**_: object) -> list[dict[str, str]]:
        return [{"nr": "1"}, {"nr": "2"}]

    def pay(nr: str) -> str:
        return f"paid {nr}"

    run = Gate(Contract.loads(ROWS), ledger).run(capability="c")
    run.heard("pay number 2")
    assert run.call("find", {}, lambda: {"id": 5}).ok
    assert run.call(tool, args, rows).ok
    assert run.call("pay", {"nr": "2"}, pay).ok is own
