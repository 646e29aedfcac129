"""What `roadworthy check` finds in contracts that load."""

from __future__ import annotations

import pytest

from roadworthy import Contract
from roadworthy.contract.check import check

from .edits import MARK, REFERENCE, edited, place_of_mark


def found(text: str) -> dict[str, list[tuple[str, str]]]:
    """Severity and text of all findings, by code."""
    by_code: dict[str, list[tuple[str, str]]] = {}
    for finding in check(Contract.loads(text)):
        by_code.setdefault(finding.code, []).append((finding.severity, finding.text))
    return by_code


def test_the_reference_contract_has_nothing_to_act_on() -> None:
    findings = check(Contract.loads(REFERENCE))
    assert [f.severity for f in findings] == ["note"] * len(findings)
    assert "pass_rate 0.95 at confidence 0.95 needs at least 59 clean trials" in [f.text for f in findings]


RULE = """
  - id: {id}
    tools: [{tool}]
    when: {when}
    then: {then}
    because: It is so.
"""


def with_rules(*rules: tuple[str, str, str, str], mark: str | None = None) -> str:
    """The reference contract with rules (id, tool, when, then) before its own, and the mark before a text of theirs."""
    text = "".join(RULE.format(id=i, tool=tool, when=when, then=then) for i, tool, when, then in rules)
    if mark is not None:
        assert mark in text
        text = text.replace(mark, MARK + mark, 1)
    return edited(("\nrules:\n", "\nrules:" + text))


WARNINGS = [
    pytest.param(
        edited(("  staff: {readers", "  ‸staffed: {readers"), ("labels: [internal, staff]", "labels: [internal]")),
        "unused",
        "staffed is declared and nothing uses it",
        id="unused-label",
    ),
    pytest.param(
        edited(("types:\n", "types:\n  ‸Day: {type: string, format: date}\n")),
        "unused",
        "Day is declared",
        id="unused-type",
    ),
    pytest.param(
        edited(
            ("common: [stays.find_guest, stays.bookings, hotel.nights]", "common: [stays.find_guest, stays.bookings]"),
            ("  hotel.nights:", "  ‸hotel.nights:"),
        ),
        "unreachable_tool",
        "nobody can call hotel.nights: it is in no capability",
        id="unreachable-tool",
    ),
    pytest.param(
        edited(
            ("  ledger.reverse: {", "  ‸ledger.reverse: {"),
            ("    undo: {tool: ledger.reverse, args: {credit_no: result.credit_no}}\n", ""),
        ),
        "unreachable_tool",
        "no tool's `undo` names it",
        id="undo-of-nothing",
    ),
    pytest.param(
        edited(
            ("{id: cancelled-once, check: count.stays.cancel == 1}", "{id: once, check: count.stays.cancel <= 1}"),
            ("\n    success:\n", "\n    ‸success:\n"),
        ),
        "vacuous_success",
        "a run of cancel_stay that does nothing passes every check",
        id="idle-success",
    ),
    pytest.param(
        edited(
            (
                "      - {id: cancelled-once, check: count.stays.cancel == 1}",
                "      - {id: cancelled-once, check: count.stays.cancel == 1}\n"
                "      - {id: ill, check: ‸'calls.stays.cancel.all(c, c.args.reason == \"illness\")'}",
            )
        ),
        "vacuous_success",
        "is true where there was no such call",
        id="all-of-nothing",
    ),
    pytest.param(
        edited(
            ("    success:\n      - {id: one-credit, check: count.ledger.credit == 1}\n", "    ‸success:\n"),
        ),
        "no_check",
        "no trial can tell whether credit succeeded",
        id="only-a-judge",
    ),
    pytest.param(
        edited(
            ("{authenticated_by: token, capabilities: [cancel_stay, credit]}", "{capabilities: [credit]}"),
            ("  cancel_stay:\n    means", "  ‸cancel_stay:\n    means"),
        ),
        "unreachable_capability",
        "no principal may use cancel_stay",
        id="capability-of-nobody",
    ),
    pytest.param(
        edited(("start: approval, ceiling: autonomous", "start: ‸autonomous, ceiling: autonomous")),
        "starts_autonomous",
        "writes or sends alone from its first day",
        id="autonomous-at-once",
    ),
    pytest.param(
        edited(("hosted_tools: refuse", "‸hosted_tools: [web_search]")),
        "hosted_tools",
        "never pass the gate",
        id="hosted",
    ),
    pytest.param(
        edited(
            ("established_by: [stays.find_guest]", "established_by: [‸stays.find_guest]"),
            ("common: [stays.find_guest, ", "common: ["),
        ),
        "unreachable_tool",
        "no run learns its subject by it",
        id="subject-look-up-not-open",
    ),
    # rules
    pytest.param(
        with_rules(
            ("first", "stays.cancel", "args.reason == 'other'", "ask"),
            ("second", "stays.cancel", "args.reason=='other'", "deny"),
            mark="id: second",
        ),
        "contradiction",
        "second says deny and first",
        id="contradiction",
    ),
    pytest.param(
        with_rules(
            ("first", "ledger.credit", "args.amount > 100.00", "deny"),
            ("second", "ledger.credit", "args.amount > 200.00", "deny"),
            mark="id: second",
        ),
        "shadowed_rule",
        "whenever it fires first",
        id="shadowed-by-a-wider-bound",
    ),
    pytest.param(
        with_rules(
            ("first", "ledger.credit", "args.amount > 100.00", "deny"),
            ("second", "ledger.credit", "args.amount >= 100.01", "clarify"),
            mark="id: second",
        ),
        "shadowed_rule",
        "whenever it fires first",
        id="shadowed-by-a-stricter-rule",
    ),
    pytest.param(
        with_rules(("first", "ledger.credit", "args.amount >= 6000.00", "deny"), mark="id: first"),
        "unreachable_rule",
        "its condition is always false",
        id="never-by-type",
    ),
    pytest.param(
        with_rules(("first", "ledger.credit", "args.amount >= 0.01", "ask"), mark="id: first"),
        "constant_condition",
        "is always true",
        id="always-by-type",
    ),
    pytest.param(
        with_rules(("first", "hotel.directory", "args.email == 'x'", "deny"), mark="tools: [hotel"),
        "unreachable_rule",
        "first never fires: nobody can call hotel.directory",
        id="rule-about-a-closed-tool",
    ),
    pytest.param(
        edited(
            (
                "\nrules:\n",
                "\nrules:\n  - {id: zero, tools: [stays.cancel], then: deny, because: No.}\n"
                "  - ‸id: first\n    tools: [stays.cancel]\n    when: args.reason == 'other'\n    then: ask\n"
                "    because: It is so.\n",
            )
        ),
        "unreachable_rule",
        "first has no effect: zero",
        id="rule-behind-a-rule-without-condition",
    ),
]


@pytest.mark.parametrize(("text", "code", "said"), WARNINGS)
def test_a_warning_stands_at_its_line(text: str, code: str, said: str) -> None:
    plain, line, column = place_of_mark(text)
    contract = Contract.loads(plain, file="contract.yaml")
    hits = [f for f in check(contract) if f.code == code and said in f.text]
    assert hits, [str(f) for f in check(contract)]
    assert hits[0].severity == "warning"
    assert (hits[0].file, hits[0].line, hits[0].column) == ("contract.yaml", line, column)


def test_rules_that_ask_different_people_do_not_shadow_each_other() -> None:
    text = with_rules(
        ("first", "ledger.credit", "args.amount > 100.00", "ask\n    ask: {role: finance}"),
        ("second", "ledger.credit", "args.amount > 500.00", "ask\n    ask: {role: board}"),
    )
    assert "shadowed_rule" not in found(text)
    assert "contradiction" not in found(text)


def test_a_rule_on_trial_neither_shadows_nor_contradicts() -> None:
    text = with_rules(
        ("first", "ledger.credit", "args.amount > 100.00", "deny\n    enforce: false"),
        ("second", "ledger.credit", "args.amount > 200.00", "deny"),
    )
    codes = found(text)
    assert "shadowed_rule" not in codes
    assert any("first is on trial" in said for _, said in codes["not_enforced"])


def test_what_is_worth_knowing_is_a_note() -> None:
    text = edited(
        ("signatures:\n  approval: [engineering]\n  autonomous: [engineering, finance]\n", ""),
        ("principals:\n  desk-bot: {authenticated_by: token, capabilities: [cancel_stay, credit]}\n", ""),
        ("    returns: {type: string, trust: untrusted}\n", ""),
        ('    evidence: {pass_rate: "0.95", confidence: "0.95"}\n', ""),
    )
    codes = found(text)
    for code in ("no_signatures", "no_principals", "untyped_result", "no_evidence"):
        assert [severity for severity, _ in codes[code]] == ["note"], code
    assert "web.read does not say what it returns" in codes["untyped_result"][0][1]
    assert MARK not in text
