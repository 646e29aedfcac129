"""What conditions say when they hold, and that everything that could silently never hold is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from roadworthy.contract.conditions import ConditionError, compile_conditions, conditions_of
from roadworthy.core.errors import ContractError

from .cases import bind, compiled, contract, faults, holds, rule

TRUE = [
    "args.amount == 50.00",
    "args.amount >= 50.0 && !(args.amount > 50.00)",
    "args.amount in [49.99, 50.00]",
    "args.ratio == 0.5",
    "args.parts + 1 == 4 && args.parts * 2 - 1 == 5 && args.parts % 2 == 1",
    'args.iban == "DE1234" && args.iban.startsWith("DE") && args.iban.endsWith("34") && args.iban.contains("12")',
    'args.iban.matches("^DE[0-9]+$") && !args.name.matches("^a")',
    'args.kind == "paid" && args.kind in ["paid", "open"] && args.kind != "open"',
    "!args.urgent",
    'size(args.tags) == 2 && "vip" in args.tags && !("old" in args.tags)',
    'args.tags == ["new", "vip"] && args.tags[1] == "vip"',
    'size(args.codes) > 0 && args.codes.all(c, c == "a") && args.tags.exists_one(t, t == "new")',
    'args.tags.exists(t, t == "new")',
    'total(args.lines, "price") == 0.30',
    'total(args.lines.filter(l, l.text == "y"), "price") == 0.20',
    "total(args.lines.map(l, l.price)) == 0.30",
    "args.lines.exists(l, has(l.off) && l.off == 0.05) && args.lines.exists(l, !has(l.off))",
    'args.prices["one"] == 1.10 && args.prices.one > 1.00 && "one" in args.prices && !("two" in args.prices)',
    'args.prices.exists(k, args.prices[k] > 1.00) && args.stock["s1"].price < 10.00',
    'args.for == "f"',
    'args.zip_code == "10115"',
    "!has(args.note) && !has(args.fee) && !has(args.address) && !has(args.address.door) && !has(args.extras)",
    '!has(args.note) || args.note == "x"',
    'has(args.note) ? args.note == "x" : true',
    '!has(args.left) && args.left == null && (args.left == null || args.left == "x")',
    "has(args.amount)",
    "has(args.free.deep) && int(args.free.deep[0]) == 1 && string(args.free.deep[1]) == 'two'",
    "args.free.deep.exists(x, type(x) == string && string(x) == 'two')",
    "add(args.amount, 0.10) == 50.10 && sub(args.amount, 0.10) == 49.90 && mul(args.amount, 0.10) == 5.00",
    "add(0.10, 0.20) == 0.30",
    'args.lines.exists(l, has(args.cards["a"].balance) || l.price == 0.10)',
    "args.parts < 5 && !(args.name in args.cards && has(args.cards[args.name].balance)"
    " && args.cards[args.name].balance > 5.00)",
    "add(sum.pay.now.amount, args.amount) > facts.limit",
    "sum.pay.now.parts == 7 && count.pay.now == 2 && count.pay.look == 0",
    "double(count.pay.now) < args.amount",
    'facts.tier == "gold" && has(facts.tier)',
    'heard.matches("(?i)REFUND") && heard.contains("please")',
    'now > timestamp("2026-03-31T22:00:00Z") && now - duration("36h") < now',
    'now.getHours("Europe/Berlin") == 0 && now.getHours("UTC") == 22',
    'today == "2026-04-01"',
    'seen.status == "paid" && seen.total == 80.00 && !has(seen.note)',
    "args.amount <= mul(seen.total, 0.75)",
    "(args.urgent ? 1.00 : 2.00) == 2.00",
    '{"paid": 1, "open": 2}[args.kind] == 1',
    "1 / 0 == 1 || true",
    "!(1 / 0 == 1 && false)",
    "[1, 2].exists(x, 2 / (x - 1) == 2)",
]


@pytest.mark.parametrize("when", TRUE)
def test_holds(when: str) -> None:
    assert holds(when) is True
    assert holds(f"!({when})") is False


REFUSED = {
    # misspelt names
    "args.amuont > 5.00": "did you mean amount?",
    "seen.totl > 5.00": "did you mean total?",
    "seem.total > 5.00": "did you mean seen?",
    "arg.amount > 5.00": "did you mean args?",
    "count.pay.nwo > 1": "did you mean count.pay.now?",
    "sum.pay.now.amuont > 1.00": "did you mean sum.pay.now.amount?",
    "facts.teir == 'gold'": "did you mean tier?",
    "args.lines.exists(l, l.prise > 1.00)": "did you mean price?",
    'total(args.lines, "prise") > 1.00': "did you mean price?",
    "args.tags.exist(t, t == 'x')": "did you mean exists?",
    "args.address.zpi == 'x'": "did you mean zip?",
    # types that do not meet
    "args.amount > 50": "write 50.00 instead of 50",
    "50 < args.amount": "write 50.00 instead of 50",
    "args.amount in [1, 2]": "write 50.00 instead of 50",
    "has(args.fee) && args.fee > 5": "write 50.00 instead of 50",
    "args.ratio > 1": "write 50.00 instead of 50",
    "count.pay.now > 1.0": "write 50.00 instead of 50",
    'args.amount > "5,000"': "between text and a number",
    'args.parts > "5"': "between text and a number",
    "args.iban > 5": "between text and a number",
    'args.urgent == "true"': "compare values of one type",
    "args.amount": "a condition is true or false",
    "args.amount && args.urgent": "true or false",
    "facts": "a condition is true or false",
    # arithmetic that is not exact
    "args.amount + 1.00 > 2.00": "add(a, b)",
    "args.amount - 1.00 > 2.00": "sub(a, b)",
    "args.amount * 2.00 > 2.00": "mul(a, b)",
    "args.amount / 2.00 > 2.00": "multiply the other side",
    "args.amount + 1 > 2.00": "add(a, b)",
    "add(args.amount, 1) > 2.00": "literals with a point",
    "args.amount > 50.000000000000001": "at most 15",
    "args.amount > 1e999": "at most 15",
    'string(args.amount) == "50"': "compare the number instead",
    # what may not be there
    'args.note == "x"': "has(args.note)",
    'has(args.note) || args.note == "x"': "has(args.note)",
    '!has(args.note) && args.note == "x"': "has(args.note)",
    'has(args.note) ? true : args.note == "x"': "has(args.note)",
    'has(args.fee) && args.note == "x"': "has(args.note)",
    'args.left != "x"': "has(args.left)",
    'args.left == null && args.left == "x"': "has(args.left)",
    'args.address.zip == "x"': "has(args.address)",
    "has(args.address) && args.address.door > 1": "has(args.address.door)",
    "args.lines.all(l, l.off > 1.00)": "has(l.off)",
    "has(args.note) && args.lines.exists(args, args.note == 'x')": "there is no field 'note'",
    "args.extras.all(e, e == 'x')": "has(args.extras)",
    'seen.note == "x"': "has(seen.note)",
    "has(args.cards[args.name].balance) && args.cards[args.iban].balance > 5.00": "has(args.cards[args.iban].balance)",
    "has(args.cards[args.tags[0]].balance) && args.cards[args.tags[1]].balance > 5.00": "may be missing",
    "args.tags.all(t, has(args.cards[t].balance) && args.codes.all(t, args.cards[t].balance > 5.00))": "may be missing",
    "has(args.tags)": "size(args.tags) > 0",
    "args.address == null": "has(args.address)",
    "args.amount == null": "never null",
    "has(facts.tier) || facts.tier == 'gold'": "has(facts.tier)",
    # lists with nothing in them
    '!args.tags.all(t, t == "new")': "size(args.tags) > 0 && …",
    'args.tags.all(t, t == "new") == false': "size(args.tags) > 0 && …",
    'args.urgent || !args.tags.filter(t, t != "").all(t, t == "new")': "size(args.tags) > 0 && …",
    # values that cannot be
    'args.kind == "payed"': "did you mean paid?",
    'args.kind != "payed"': "did you mean paid?",
    '"payed" == args.kind': "did you mean paid?",
    'args.kind in ["paid", "opne"]': "did you mean open?",
    'args.kind in {"payed": true}': "did you mean paid?",
    '{"payed": 1}[args.kind] == 1': "did you mean paid?",
    '(args.urgent ? "payed" : "open") == args.kind': "did you mean paid?",
    '["payed"].exists(k, k == args.kind)': "did you mean paid?",
    'args.kind.startsWith("pay")': "no value of args.kind",
    'args.kind.matches("^opn")': "no value of args.kind",
    'string(args.kind) == "payed"': "did you mean paid?",
    '"c" in args.codes': "args.codes is never",
    'args.codes.exists(c, c == "c")': "c is never",
    "args.kind == facts.tier": "no value in common",
    'args.iban == "1234"': "DE[0-9]{4}",
    'args.iban in ["DE1234", "AT1234"]': "DE[0-9]{4}",
    # literals that fail only when they are read
    'args.name.matches("(")': "no regular expression",
    'args.name.matches("a(?=b)")': "no regular expression",
    'duration("7d") > duration("1h")': 'duration("168h")',
    'now > timestamp("2026-01-01")': "the zone, too",
    'now > timestamp("2026-01-01T10:00:00")': "zone",
    'now.getHours("Mars/Base") > 1': "no time zone",
    "now.getHours() > 18": 'now.getHours("Europe/Berlin")',
    'int("x") == 1': "write a whole number",
    # values without a type
    'args.free == "x"': "no type",
    "args.free.deep == 5": "no type",
    "args.free.deep[0] > 1.0": "no type",
    '"two" in args.free.deep': "exists(x, string(x)",
    'args.grid[0][0] == "u"': "no type",
    "dyn(args.amount) > 5": "go round the types",
    '[1, "a"].exists(x, x == "a")': "several types",
    # words of other languages, and of other places
    "not args.urgent": "write !",
    "args.urgent and true": "write &&",
    "args.urgent OR true": "write ||",
    "args.urgent = true": "write ==",
    "args.parts <> 1": "write !=",
    'args.in == "i"': "`as:`",
    'args.un spoken == "x"': "no CEL",
    'args.un == "x"': "give it one by `as:`",
    'args["name"] == "Ada"': "compare values of one type",
    "(args.urgent": "bracket",
    'args.name == "Ada': "quote",
    "args.name.lower() == 'ada'": "(?i)",
    'result == "x"': "`with:`",
    "calls.pay.now.size() > 1": "success checks only",
    "rw.M0{} == rw.M0{}": "only looks at what there is",
}


@pytest.mark.parametrize("when", REFUSED)
def test_refused_with_a_cure(when: str) -> None:
    found = faults(when)
    assert found, f"{when} was accepted"
    assert any(REFUSED[when] in text for text in found), found


def test_all_findings_come_at_once_with_their_paths_and_places() -> None:
    made = contract(
        [
            rule("args.amuont > 5.00 && args.kind == 'payed'"),
            rule("args.parts > 1", unless='args.note == "x"', id="s"),
            rule("args.amount > 5 || args.nmae == 'x'", id="t"),
        ]
    )
    with pytest.raises(ContractError) as caught:
        conditions_of(made)
    found = [(f.path, f.text) for f in caught.value.findings]
    assert [path for path, _ in found] == [
        ("rules", 0, "when"),
        ("rules", 1, "unless"),
        ("rules", 2, "when"),
        ("rules", 2, "when"),
    ]
    assert "at character 5)" in found[0][1]
    assert all(f.code == "condition" for f in caught.value.findings)


# how a neighbour's policy silently fails open: none of it may pass here ----------------------------------------------


@pytest.mark.parametrize(
    ("amount", "fires"),
    [("5000.01", True), ("5000.00", False), ("4999.99", False), ("0.00", False), ("10000.00", True)],
)
@pytest.mark.parametrize(
    "when",
    [
        "(args.amount > 5000.00)",
        "((args.amount > 5000.00) && (true))",
        "!(args.amount <= 5000.00)",
        "args.amount > 5000.00 && !args.urgent",
        'args.amount > 5000.00 && args.iban.matches("^DE")',
        'args.amount > 5000.00 && args.kind == "paid"',
    ],
)
def test_a_deny_rule_fires_where_a_neighbours_does_not(when: str, amount: str, *, fires: bool) -> None:
    """Brackets, `not`, `==` and `matches` inside a condition silenced the whole rule there."""
    assert holds(when, args={"amount": Decimal(amount)}) is fires


@pytest.mark.parametrize("when", ["args.amount > 5,000.00", 'args.amount > "5,000"', "args.ammount > 5000.00"])
def test_what_silenced_a_rule_elsewhere_is_refused_when_the_contract_is_loaded(when: str) -> None:
    assert faults(when)


ERRORS = [
    "1 / (args.parts - 3) == 1",
    "args.tags[7] == 'x'",
    'args.prices["none"] > 1.00',
    "string(args.free.nothing) == 'x'",
    "double(args.free.deep[1]) > 1.0",
    "mul(args.amount, mul(0.123456789, 0.987654321)) > 1.00",
    "args.iban.matches(args.name + '(')",
]


@pytest.mark.parametrize("when", ERRORS)
def test_an_error_denies_in_when_and_in_unless(when: str) -> None:
    """CEL hands an error back as a value that Python takes for true; negated it would be taken for false."""
    for condition in (when, f"!({when})", f"{when} && true", f"false || {when}"):
        conditions = compiled(condition)
        with pytest.raises(ConditionError) as caught:
            conditions.rules["r"].holds(bind(conditions))
        assert caught.value.code == "condition_error"
    for unless in (when, f"!({when})"):
        conditions = compiled("true", unless=unless)
        with pytest.raises(ConditionError):
            conditions.rules["r"].holds(bind(conditions))


def test_an_error_in_when_is_not_hidden_by_unless() -> None:
    conditions = compiled("args.tags[7] == 'x'", unless="true")
    with pytest.raises(ConditionError):
        conditions.rules["r"].holds(bind(conditions))


@pytest.mark.parametrize("when", ["args.tags[7] == 'x' || true", "true || args.tags[7] == 'x'"])
def test_or_true_hides_an_error_as_cel_says(when: str) -> None:
    assert holds(when) is True


WRONG_VALUES: list[dict[str, Any]] = [
    {"amount": "50.00x"},
    {"amount": Decimal("1234567890.1234567")},
    {"amount": True},
    {"amount": None},
    {"kind": 5},
    {"kind": None},
    {"parts": 2**64},
    {"parts": True},
    {"ratio": float("nan")},
    {"urgent": "false"},
    {"tags": "new"},
    {"tags": [1]},
    {"lines": [{"text": "x"}]},
]


@pytest.mark.parametrize("args", WRONG_VALUES, ids=str)
def test_a_value_of_the_wrong_type_denies(args: dict[str, Any]) -> None:
    """The gate types values first; should one slip through, no comparison is false by accident."""
    (name,) = args
    asks = {
        "amount": "args.amount > 60.00",
        "kind": 'args.kind == "open"',
        "parts": "args.parts > 4",
        "ratio": "args.ratio > 1.0",
        "urgent": "args.urgent",
        "tags": '"old" in args.tags',
        "lines": "args.lines.exists(l, l.price > 1.00)",
    }
    conditions = compiled(asks[name])
    condition = conditions.rules["r"]
    for ask in (condition.holds, condition.programs[0].ask_cel):
        with pytest.raises(ConditionError):
            ask(bind(conditions, args=args))


def test_a_fact_that_is_not_given_denies_unless_it_is_asked_for() -> None:
    with pytest.raises(ConditionError) as caught:
        holds('facts.tier == "gold"', facts={})
    assert "tier is missing" in caught.value.text
    assert holds('has(facts.tier) && facts.tier == "gold"', facts={}) is False
    assert holds("!has(facts.tier)", facts={}) is True


def test_a_result_without_a_required_field_denies() -> None:
    with pytest.raises(ConditionError) as caught:
        holds("seen.total > 1.00", given={"r/seen": {"status": "paid"}})
    assert "total is missing" in caught.value.text


def test_text_with_a_nul_is_read_to_its_end() -> None:
    assert holds('heard.contains("refund")', heard="hello\0refund") is True
    conditions = compiled('heard.contains("refund") && now > timestamp("2020-01-01T00:00:00Z")')
    assert conditions.rules["r"].holds(bind(conditions, heard="hello\0refund")) is True


def test_half_a_character_does_not_end_the_process() -> None:
    """JSON can carry one; CEL's engine dies of it unless it is kept away."""
    conditions = compiled('args.name.contains("x")')
    (program,) = conditions.rules["r"].programs
    for name in ("half \ud800", "half \ud800 x"):
        binding = bind(conditions, args={"name": name}, heard=name)
        assert program.evaluate(binding) is name.endswith("x")
        with pytest.raises(ConditionError, match="name"):
            program.ask_cel(binding)


def test_unless_takes_away_from_when() -> None:
    conditions = compiled("args.amount > 10.00", unless='facts.tier == "gold"')
    condition = conditions.rules["r"]
    assert condition.holds(bind(conditions)) is False
    assert condition.holds(bind(conditions, facts={"tier": "standard"})) is True
    assert condition.holds(bind(conditions, facts={"tier": "standard"}, args={"amount": Decimal(10)})) is False
    assert condition.text == 'args.amount > 10.00 && !(facts.tier == "gold")'
    assert condition.roots == {"args", "facts"}


def test_a_rule_without_conditions_has_none() -> None:
    made = contract([{"id": "always"}])
    assert conditions_of(made).rules == {}


def test_a_rule_over_several_tools_is_checked_for_each_of_them() -> None:
    tools: dict[str, Any] = {
        "a": {"effect": "write", "args": {"n": "integer", "x": {"type": "string", "enum": ["p", "q"]}}},
        "b": {"effect": "write", "args": {"n": "integer", "x": {"type": "string", "enum": ["p"]}}},
        "c": {"effect": "read", "args": {}},
    }
    capabilities = {"all": {"means": "All.", "tools": ["a", "b", "c"]}}
    rules = [{"id": "r", "tools": {"effect": "write"}, "when": 'args.n > 1 && args.x != "q"'}]
    made = contract(rules, tools=tools, capabilities=capabilities)
    _, findings = compile_conditions(made, made.shapes)
    assert [f.text[:7] for f in findings] == ["for b: "]
    made = contract([{**rules[0], "when": "args.n > 1"}], tools=tools, capabilities=capabilities)
    conditions = conditions_of(made)
    for tool in ("a", "b"):
        binding = conditions.bind(
            tool, args={"n": 2, "x": "p"}, facts={}, heard="", now=datetime.now(UTC), counts={}, sums={}, given={}
        )
        assert conditions.rules["r"].holds(binding) is True


@pytest.mark.parametrize("name", ["args", "now", "count", "result"])
def test_with_cannot_take_a_name_that_has_a_meaning(name: str) -> None:
    made = contract([{"id": "r", "with": {name: {"call": "pay.look"}}, "when": "true"}])
    _, findings = compile_conditions(made, made.shapes)
    assert findings[0].path == ("rules", 0, "with", name)


# other places ---------------------------------------------------------------------------------------------------------


def _tool(**more: Any) -> dict[str, Any]:
    return {"effect": "read", "args": {"id": "string"}, **more}


def _one_tool(**more: Any) -> Any:
    made = contract(tools={"t": _tool(**more)}, capabilities={"c": {"means": "All.", "tools": ["t"]}})
    return conditions_of(made)


def test_fails_when_reads_the_result_as_text_and_as_typed() -> None:
    conditions = _one_tool(returns="string", fails_when='result.startsWith("Error:")')
    failed = conditions.fails_when["t"]
    assert failed.holds(conditions.bind_result("t", "Error: no such order", {})) is True
    assert failed.holds(conditions.bind_result("t", "fine", {})) is False
    conditions = _one_tool(returns={"sum": "decimal"}, fails_when='text.startsWith("Error:") || result.sum < 0.00')
    failed = conditions.fails_when["t"]
    assert failed.holds(conditions.bind_result("t", "Error: no such order", {})) is True
    assert failed.holds(conditions.bind_result("t", {"sum": -1}, {})) is True
    assert failed.holds(conditions.bind_result("t", '{"sum": 1.5}', {})) is False
    with pytest.raises(ConditionError):
        failed.holds(conditions.bind_result("t", "what?", {}))


def test_a_result_without_a_declared_type_must_be_converted() -> None:
    with pytest.raises(ContractError, match="string\\(result\\)"):
        _one_tool(fails_when='result.startsWith("Error:")')
    conditions = _one_tool(fails_when='string(result).startsWith("Error:")')
    assert conditions.fails_when["t"].holds(conditions.bind_result("t", "Error: x", {})) is True
    with pytest.raises(ConditionError):
        conditions.fails_when["t"].holds(conditions.bind_result("t", {"a": 1}, {}))


def test_needs_and_lookup_read_the_other_tools_result() -> None:
    look = {"effect": "read", "args": {"id": "string"}, "returns": {"status": {"type": "string", "enum": ["paid"]}}}
    pay = {
        "effect": "write",
        "args": {"id": "string"},
        "needs": [{"call": "look", "same": ["id"], "where": 'result.status == "paid" && args.id != ""'}],
        "lookup": {"tool": "look", "done_when": 'result.status == "paid"'},
    }
    made = contract(tools={"look": look, "pay": pay}, capabilities={"c": {"means": "All.", "tools": ["look", "pay"]}})
    conditions = conditions_of(made)
    binding = conditions.bind_result("pay", {"status": "paid"}, {"id": "7"})
    assert conditions.needs_where["pay", 0].holds(binding) is True
    assert conditions.done_when["pay"].holds(binding) is True


def test_success_checks_read_counters_and_lists_of_calls() -> None:
    check = 'count.pay.now == 2 && calls.pay.now.exists(c, c.args.amount > 5.00 && c.result == "ok")'
    capability = {"means": "Pay.", "tools": ["pay.now"], "success": [{"id": "s", "check": check}]}
    conditions = conditions_of(contract(capabilities={"paying": capability}))
    calls = {"pay.now": [{"args": {"amount": Decimal(6)}, "result": "ok"}]}
    binding = conditions.bind_success(
        counts={"pay.now": 2}, sums={}, calls=calls, facts={}, heard="", now=datetime.now(UTC)
    )
    success = conditions.success["paying", "s"]
    assert success.holds(binding) is True
    assert success.vacuous == ()


@pytest.mark.parametrize(
    ("check", "vacuous"),
    [
        ("calls.pay.now.all(c, c.args.urgent)", 1),
        ("count.pay.now >= 1 && calls.pay.now.all(c, c.args.urgent)", 0),
        ("size(calls.pay.now) > 0 && calls.pay.now.all(c, c.args.urgent)", 0),
        ("calls.pay.now.filter(c, c.args.parts > 1).all(c, c.args.urgent)", 1),
        ("[1, 2].all(x, x > 0)", 0),
        ("[].all(x, x)", 1),
    ],
)
def test_all_over_what_may_be_empty_is_named(check: str, vacuous: int) -> None:
    capability = {"means": "Pay.", "tools": ["pay.now"], "success": [{"id": "s", "check": check}]}
    conditions = conditions_of(contract(capabilities={"paying": capability}))
    assert len(conditions.success["paying", "s"].vacuous) == vacuous


def test_trust_conditions_are_checked_too() -> None:
    trust = {"when": 'item.author == "us"', "else": "untrusted"}
    returns = {"type": "object", "properties": {"author": "string"}, "trust": trust}
    assert _one_tool(returns=returns) is not None
    with pytest.raises(ContractError, match="did you mean author"):
        _one_tool(returns={**returns, "trust": {**trust, "when": 'item.auhtor == "us"'}})
