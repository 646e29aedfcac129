"""Every way in which a policy was seen to open silently elsewhere: here it does not load, or it stops the call.

Each is a contract with one rule. Either it is refused when it is read, with the place and the cure, or its rule stops
the call at the gate; whatever the rule asks for (`deny`, `ask`, `clarify`). A rule on trial (`enforce: false`) stops
nothing, but is refused for the same faults and leaves what it would have done in the ledger.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.contract.check import check
from roadworthy.core.errors import ContractError
from roadworthy.core.types import Outcome

HEAD = """\
roadworthy: 1
agent: payer
version: "1"
goal: Pay what is owed.
owner: {team: t, accountable: x}
facts:
  tier: {type: string, enum: [standard, gold]}
tools:
  pay:
    effect: write
    args:
      amount: {type: decimal, min: "0.01", max: "100000.00"}
      kind: {type: string, enum: [invoice, salary]}
      payee: string
      note: {type: string, optional: true}
      until: {type: string, nullable: true, optional: true}
      tags: {type: array, items: string}
      parts: {type: integer, optional: true}
      free: {type: any, optional: true}
    returns: string
  look: {effect: read, args: {payee: string}, returns: {limit: decimal, open: boolean}}
capabilities:
  paying: {means: Somebody is to be paid., tools: [pay, look], autonomy: {ceiling: autonomous, approver: boss}}
rules:
"""
RULE = """\
  - id: guard
    tools: [pay]
    {said}
    then: {then}
    enforce: {enforce}
    because: It is guarded.
"""
GOOD: dict[str, Any] = {"amount": "10.00", "kind": "invoice", "payee": "Ada", "tags": ["checked"]}
THEN = ("deny", "ask", "clarify")
STOPPED = {"deny": ("denied", "blocked"), "ask": ("held", "held"), "clarify": ("clarify", "blocked")}
"""What a rule that fires makes of a call: status and what was done."""


@dataclass
class Bank:
    """A run whose contract has one rule, over tools that keep book."""

    contract: Contract
    ledger: Ledger
    paid: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def __post_init__(self) -> None:
        gate = Gate(self.contract, self.ledger, world="test", tools={"pay": self._pay, "look": self._look})
        self.run = gate.run(id="r", capability="paying")

    def _pay(self, **args: Any) -> str:
        self.paid.append(args)
        return "paid"

    def _look(self, payee: str) -> dict[str, Any]:
        return {"limit": "5.00", "open": payee == "Ada"}

    def __call__(self, tool: str = "pay", /, **args: Any) -> Outcome:
        return self.run.call(tool, {**GOOD, **args} if tool == "pay" else args)

    def reasons(self) -> list[dict[str, Any]]:
        """All grounds that the ledger holds."""
        return [r for e in self.ledger.entries(run="r", kind="verdict") for r in e.body.get("reasons", ())]


def written(said: str, then: str = "deny", *, enforce: bool = True) -> str:
    lines = "\n    ".join(said.split("\n"))
    return HEAD + RULE.format(said=lines, then=then, enforce=str(enforce).lower())


Opened = Callable[..., Bank]


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Opened]:
    def opened(said: str, then: str = "deny", *, enforce: bool = True) -> Bank:
        ledger = Ledger.open(tmp_path / f"{len(list(tmp_path.iterdir()))}.db")
        ledgers.append(ledger)
        return Bank(Contract.loads(written(said, then, enforce=enforce)), ledger)

    ledgers: list[Ledger] = []
    yield opened
    for ledger in ledgers:
        ledger.close()


# refused when the contract is read ----------------------------------------------------------------------------------

REFUSED = [
    # a field, a tool, a fact, a key that does not exist
    ("when: args.amuont > 5.00", "did you mean amount?"),
    ("when: arg.amount > 5.00", "did you mean args?"),
    ("when: Args.amount > 5.00", "did you mean args?"),
    ("when: args.Amount > 5.00", "did you mean amount?"),
    ("when: count.Pay >= 1", "did you mean count.pay?"),
    ("when: sum.pay.amonut > 5.00", "did you mean sum.pay.amount?"),
    ("when: facts.teir == 'gold'", "did you mean tier?"),
    ("wehn: args.amount > 5.00", "did you mean when?"),
    ("with: {seen: {call: lok, same: [payee]}}\nwhen: seen.limit > 5.00", "did you mean look?"),
    ("with: {seen: {call: look, same: [paye]}}\nwhen: seen.limit > 5.00", "did you mean payee?"),
    ("with: {seen: {call: look, same: [payee]}}\nwhen: seen.limmit > 5.00", "did you mean limit?"),
    # words of other languages
    ("when: not (args.amount > 5.00)", "write !"),
    ("when: args.amount > 5.00 and args.kind == 'salary'", "write &&"),
    ("when: args.amount > 5.00 or args.kind == 'salary'", "write ||"),
    ("when: args.payee = 'Ada'", "write =="),
    ("when: args.payee <> 'Ada'", "write !="),
    ("when: args.payee matches 'A.*'", "this is no CEL"),
    ("when: '{{ args.amount > 5.00 }}'", "this is no CEL"),
    ("when: {gt: [amount, 5]}", "text stands here, not a mapping"),
    ("when: [args.amount > 5.00]", "text stands here, not a list"),
    # brackets and quotes that do not close
    ("when: (args.amount > 5.00", "bracket"),
    ("when: args.payee == \"Ada", "quote"),
    # values that do not meet
    ("when: args.amount > 5,000.00", "this is no CEL"),
    ("when: 'args.amount > \"5,000\"'", "between text and a number"),
    ("when: args.amount > 5000", "write 50.00 instead of 50"),
    ("when: count.pay >= '1'", "between text and a number"),
    ("when: args.payee in 'Ada, Bob'", "compare values of one type"),
    ("when: args.amount", "a condition is true or false"),
    ("when: '\"true\"'", "a condition is true or false"),
    ("when: size(args.tags)", "a condition is true or false"),
    ("when: args.amount > null", "never null"),
    # values that cannot be: wrong case, blanks, look-alikes
    ("when: args.kind == 'Invoice'", "did you mean invoice?"),
    ("when: args.kind == 'invoice '", "did you mean invoice?"),
    ("when: args.kind == 'inv\u043eice'", "did you mean invoice?"),
    ("when: args.kind != 'salery'", "did you mean salary?"),
    ("when: args.kind in ['SALARY']", "did you mean salary?"),
    ("when: facts.tier == 'Gold'", "did you mean gold?"),
    ("when: args.kind.matches('^Inv')", "no value of args.kind"),
    # patterns that are none
    ("when: args.payee.matches('(')", "no regular expression"),
    ("when: args.payee.matches('a(?=b)')", "no regular expression"),
    ("when: heard.matches('*refund')", "no regular expression"),
    # what may be absent, null or of any type
    ("when: args.note.contains('secret')", "has(args.note)"),
    ("when: 'has(args.parts) || args.parts > 3'", "has(args.parts)"),
    ("when: args.until == '2026-01-01'", "has(args.until)"),
    ("when: args.parts > 3", "has(args.parts)"),
    ("when: has(args.free) && args.free == 'x'", "no type"),
    # lists with nothing in them
    ("when: '!args.tags.all(t, t == \"checked\")'", "say what an empty one means: size(args.tags) > 0 && …"),
    ("unless: args.tags.all(t, t == 'checked')", "say what an empty one means: size(args.tags) > 0 && …"),
    ("when: 'true'\nunless: 'args.amount < 5.00 || args.tags.all(t, t == \"checked\")'", "an empty list"),
    # nothing said, twice said, something else said
    ("when:", "nothing stands after `when`"),
    ("when: ~", "nothing stands after `when`"),
    ("when: ''", "this is empty"),
    ("when: true", "quote it"),
    ("when: yes", "true"),
    ("when: args.amount > 5.00\nwhen: args.amount > 90000.00", "a second time"),
    ("when: args.amount > 5.00\nthen: ask", "a second time"),
    ("when: args.amount > 5.00\nenforce: no", "a second time"),
    # names that hide others
    ("with: {args: {call: look, same: [payee]}}\nwhen: args.amount > 5.00", "choose another name"),
    ("with: {count: {call: look, same: [payee]}}\nwhen: count.limit > 5.00", "choose another name"),
    ("with: {facts: {call: look, same: [payee]}}\nwhen: facts.limit > 5.00", "choose another name"),
    ("when: has(args.note) && args.tags.exists(args, args.note == 'x')", "a text has no fields"),
]  # fmt: skip


@pytest.mark.parametrize("enforce", [True, False])
@pytest.mark.parametrize("then", THEN)
@pytest.mark.parametrize(("said", "cure"), REFUSED, ids=[said for said, _ in REFUSED])
def test_a_rule_that_would_never_fire_is_refused_with_its_place_and_a_cure(
    said: str, cure: str, then: str, enforce: bool
) -> None:
    text = written(said, then, enforce=enforce)
    with pytest.raises(ContractError) as caught:
        Contract.loads(text, file="payer.yaml")
    findings = [f for f in caught.value.findings if cure in f.text]
    assert findings, [str(f) for f in caught.value.findings]
    first = HEAD.count("\n") + 1
    for finding in findings:
        assert finding.file == "payer.yaml"
        assert first <= (finding.line or 0) <= text.count("\n")
        assert finding.column
        assert finding.severity == "error"


WRONG_RULES = [
    ("  - {id: a, tools: [Pay], then: deny, because: b}", "did you mean pay?"),
    ("  - {id: a, tools: pay, then: deny, because: b}", "tools"),
    ("  - {id: a, tools: [], then: deny, because: b}", "tools"),
    ("  - {id: a, tools: [p\u0430y], then: deny, because: b}", "is not a tool here"),
    ("  - {id: a, tools: ['*'], then: deny, because: b}", "is not a tool here"),
    ("  - {id: a, tools: {effect: wrte}, then: deny, because: b}", "did you mean write?"),
    ("  - {id: a, tools: {effect: send}, then: deny, because: b}", "send"),
    ("  - {id: a, tools: [pay], then: Deny, because: b}", "did you mean deny?"),
    ("  - {id: a, tools: [pay], then: block, because: b}", "deny"),
    ("  - {id: a, tools: [pay], then: allow, because: b}", "deny"),
    ("  - {id: a, tools: [pay], because: b}", "`then` is missing"),
    ("  - {id: a, tools: [pay], then: deny, because: b, enforce: no}", "false"),
    ("  - {id: a, tools: [pay], then: deny, because: b, enforce: 0}", "true or false"),
    ("  - {id: a, tools: [pay], then: deny, because: b, enforced: true}", "did you mean enforce?"),
    ("  - {id: a, tools: [pay], then: deny, because: b}\n  - {id: a, tools: [look], then: deny, because: c}", "a"),
    ("  - {id: a, tools: [pay], then: deny, because: b}\nrules: []", "a second time"),
    ("  - {id: a, tools: [pay], then: deny, because: b}\nRules: []", "there is no key 'Rules'"),
]


@pytest.mark.parametrize(("rules", "said"), WRONG_RULES, ids=[rules for rules, _ in WRONG_RULES])
def test_a_rule_about_nothing_is_refused(rules: str, said: str) -> None:
    with pytest.raises(ContractError) as caught:
        Contract.loads(HEAD + rules + "\n")
    findings = [f for f in caught.value.findings if said in str(f)]
    assert findings, [str(f) for f in caught.value.findings]
    assert all(f.line is not None and f.line > HEAD.count("\n") for f in findings)


# stops the call ------------------------------------------------------------------------------------------------------

FIRES: list[tuple[str, dict[str, Any]]] = [
    ("when: args.amount > 5000.00", {"amount": "5000.01"}),
    ("when: args.amount > 5000.00", {"amount": 5000.01}),
    ("when: args.amount > 5000.00", {"amount": "05000.010"}),
    ("when: (args.amount > 5000.00)", {"amount": 6000}),
    ("when: ((args.amount > 5000.00) && ('true' == 'true'))", {"amount": 6000}),
    ("when: '!(args.amount <= 5000.00)'", {"amount": 6000}),
    ("when: args.amount > 5000.00 && !(args.kind == 'salary')", {"amount": 6000}),
    ("when: args.kind == 'salary'", {"kind": "salary"}),
    ("when: args.kind != 'invoice'", {"kind": "salary"}),
    ("when: args.kind in ['salary']", {"kind": "salary"}),
    ("when: args.payee.matches('(?i)^mallory$')", {"payee": "MALLORY"}),
    ("when: '!args.payee.matches(\"^A\")'", {"payee": "Bob"}),
    ("when: has(args.note) && args.note.contains('secret')", {"note": "a secret"}),
    ("when: '!has(args.note)'", {}),
    ("when: '!has(args.note)'", {"note": None}),
    ("when: '!has(args.until)'", {"until": None}),
    ("when: '!has(args.parts) || args.parts > 3'", {}),
    ("when: args.tags.all(t, t == 'checked')", {"tags": []}),
    ("unless: size(args.tags) > 0 && args.tags.all(t, t == 'checked')", {"tags": []}),
    ("unless: args.tags.exists(t, t == 'checked')", {"tags": []}),
    ("unless: has(args.note) && args.note == 'ok'", {}),
    ("unless: args.amount < 5.00", {}),
    ("when: args.tags.exists(args, args == 'checked')", {}),
    ("when: size(args.payee) > 2", {}),
    ("when: args.amount > 5.00 // up to here && args.kind == 'salary'", {}),
    ("", {}),
]


@pytest.mark.parametrize("then", THEN)
@pytest.mark.parametrize(("said", "args"), FIRES, ids=[f"{said} {json.dumps(args)}" for said, args in FIRES])
def test_a_rule_that_holds_stops_the_call(said: str, args: dict[str, Any], then: str, bank: Opened) -> None:
    guarded = bank(said, then)
    outcome = guarded(**args)
    assert (outcome.status, outcome.done) == STOPPED[then]
    assert guarded.paid == []
    assert "It is guarded" in outcome.text


@pytest.mark.parametrize("then", THEN)
@pytest.mark.parametrize(("said", "args"), FIRES, ids=[f"{said} {json.dumps(args)}" for said, args in FIRES])
def test_a_rule_on_trial_stops_nothing_and_says_what_it_would_have_done(
    said: str, args: dict[str, Any], then: str, bank: Opened
) -> None:
    guarded = bank(said, then, enforce=False)
    assert guarded(**args).ok
    assert len(guarded.paid) == 1
    (reason,) = guarded.reasons()
    assert (reason["rule"], reason["ruling"], reason["enforced"]) == ("guard", then, False)


BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("when: args.tags[7] == 'x'", {}),
    ("when: args.tags[0] == 'x'", {"tags": []}),
    ("when: '!(args.tags[7] == \"x\")'", {}),
    ("when: args.tags[7] == 'x' && args.amount > 5.00", {}),
    ("when: has(args.parts) && 10 / args.parts == 1", {"parts": 0}),
    ("unless: args.tags[7] == 'x'", {}),
    ("unless: '!(args.tags[7] == \"x\")'", {}),
    ("when: args.tags[7] == 'x'\nunless: 'true'", {}),
    ("when: args.payee.matches(args.tags[0])", {"tags": ["("]}),
    ("when: has(args.free) && string(args.free.role) == 'admin'", {"free": {"name": "x"}}),
    ("when: has(args.free) && bool(args.free)", {"free": "maybe"}),
    ("when: has(args.free) && int(args.free) > 3", {"free": "three"}),
    ("when: facts.tier == 'gold'", {}),
    ("unless: facts.tier == 'gold'", {}),
    ("with: {seen: {call: look, same: [payee]}}\nwhen: args.amount > seen.limit", {}),
    ("with: {seen: {call: look, same: [payee]}}\nunless: seen.open", {}),
]
"""Conditions that come to no answer: an error, a value that is no truth value, something that was never seen."""


@pytest.mark.parametrize("then", THEN)
@pytest.mark.parametrize(("said", "args"), BROKEN, ids=[f"{said} {json.dumps(args)}" for said, args in BROKEN])
def test_a_condition_without_an_answer_denies(said: str, args: dict[str, Any], then: str, bank: Opened) -> None:
    guarded = bank(said, then)
    outcome = guarded(**args)
    assert (outcome.status, outcome.done) == ("denied", "blocked")
    assert guarded.paid == []
    (reason,) = guarded.reasons()
    assert reason["rule"] == "guard"
    assert reason["code"] in ("condition_error", "condition_value", "read_it_first")


@pytest.mark.parametrize(("said", "args"), BROKEN, ids=[f"{said} {json.dumps(args)}" for said, args in BROKEN])
def test_a_condition_without_an_answer_on_trial_is_recorded(said: str, args: dict[str, Any], bank: Opened) -> None:
    guarded = bank(said, enforce=False)
    assert guarded(**args).ok
    (reason,) = guarded.reasons()
    assert (reason["ruling"], reason["enforced"]) == ("deny", False)


# what the model may send to get past a rule --------------------------------------------------------------------------

ODD_ARGS: list[dict[str, Any]] = [
    {"amount": "5,000"},
    {"amount": "5.000,00"},
    {"amount": "€5000"},
    {"amount": "5e3"},
    {"amount": "0x1388"},
    {"amount": "\uff15\uff10\uff10\uff10"},
    {"amount": " "},
    {"amount": None},
    {"amount": True},
    {"amount": math.nan},
    {"amount": "NaN"},
    {"amount": math.inf},
    {"amount": "-1"},
    {"amount": ["1"]},
    {"amount": {"value": "1"}},
    {"amount": "100000.01"},
    {"kind": "Invoice"},
    {"kind": "INVOICE"},
    {"kind": "invoice "},
    {"kind": "inv\u043eice"},
    {"kind": "\uff49nvoice"},
    {"kind": "in\u200bvoice"},
    {"kind": "invoice\x00"},
    {"kind": ""},
    {"kind": None},
    {"kind": ["invoice"]},
    {"payee": None},
    {"payee": 5},
    {"note": 5},
    {"parts": "three"},
    {"parts": 2.5},
    {"parts": True},
    {"tags": None},
    {"tags": "checked"},
    {"tags": {"0": "checked"}},
    {"tags": [None]},
    {"tags": [["checked"]]},
    {"amuont": "1.00"},
    {"Amount": "1.00"},
    {"\u0430mount": "1.00"},
    {"amount ": "1.00"},
    {"": "1.00"},
    {"enforce": False},
]


@pytest.mark.parametrize("args", ODD_ARGS, ids=ascii)
def test_arguments_that_must_be_guessed_are_denied_and_never_read_as_harmless(
    args: dict[str, Any], bank: Opened
) -> None:
    """A rule that compares 5000.00 must not be passed by a value that only the tool takes for 5000."""
    guarded = bank("when: args.amount > 1000.00 || args.kind == 'salary'")
    outcome = guarded(**args)
    assert (outcome.status, outcome.done) == ("denied", "blocked")
    assert guarded.paid == []
    assert outcome.text


@pytest.mark.parametrize("left_out", ["amount", "kind", "payee", "tags"])
def test_a_required_argument_that_is_left_out_is_denied(left_out: str, bank: Opened) -> None:
    guarded = bank("when: args.amount > 1000.00")
    outcome = guarded.run.call("pay", {name: value for name, value in GOOD.items() if name != left_out})
    assert (outcome.status, guarded.paid) == ("denied", [])
    assert left_out in outcome.text


@pytest.mark.parametrize(
    "name", ["Pay", "PAY", "pay ", " pay", "p\u0430y", "\uff50ay", "pay\u200b", "pay()", "tools.pay", ""]
)
def test_a_tool_by_nearly_its_name_is_denied(name: str, bank: Opened) -> None:
    """A rule names `pay`; what only looks or sounds like it must not be carried round the rule."""
    guarded = bank("when: args.amount > 1000.00")
    outcome = guarded.run.call(name, dict(GOOD))
    assert (outcome.status, outcome.done) == ("denied", "blocked")
    assert guarded.paid == []


def test_what_the_rule_judged_is_what_the_tool_gets(bank: Opened) -> None:
    guarded = bank("when: args.amount > 1000.00")
    assert guarded(amount="010.0").ok
    assert [args["amount"] for args in guarded.paid] == ["10"]


def test_a_rule_is_not_passed_by_the_second_call(bank: Opened) -> None:
    guarded = bank("when: add(sum.pay.amount, args.amount) > 15.00")
    assert guarded().ok
    assert guarded().status == "denied"
    assert guarded(amount="5.00").ok
    assert guarded(amount="0.01").status == "denied"


def test_a_look_at_something_else_does_not_serve(bank: Opened) -> None:
    guarded = bank("with: {seen: {call: look, same: [payee]}}\nunless: seen.open")
    assert guarded("look", payee="Bob").ok
    assert guarded().status == "denied"
    assert guarded(payee="Bob").status == "denied"
    assert guarded("look", payee="Ada").ok
    assert guarded().ok


# what loads and says little is pointed out ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "code"),
    [("when: 'true'", "constant_condition"), ("when: 'false'", "unreachable_rule")],
)
def test_a_condition_that_depends_on_nothing_is_pointed_out(said: str, code: str) -> None:
    assert code in {finding.code for finding in check(Contract.loads(written(said)))}
