"""What Python decides in CEL's place is what CEL decides: the law that the fast path rests on."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import cache
from typing import Any

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from roadworthy.contract.conditions import Binding, ConditionError, Conditions, Program, compile_conditions
from roadworthy.contract.literals import quoted

from .cases import bind, compiled, contract, rule
from .test_conditions import TRUE

# values: each argument of the payment, mostly as the gate types it, sometimes broken ----------------------------------

WORDS = st.sampled_from(["", "a", "b", "ab", "new", "DE1234", "é", "😀", "a\0b", "A\nb", "paid"]) | st.text(max_size=4)
DECIMALS = st.sampled_from(["0", "0.1", "0.10", "0.3", "50", "50.00", "-1", "1E+2", "99999999999999.9"]).map(
    Decimal
) | (st.decimals(min_value=-1000, max_value=1000, places=2, allow_nan=False))
INTEGERS = st.integers(-3, 5) | st.sampled_from([2**63 - 1, -(2**63), 2**53 + 1])
NUMBERS = st.sampled_from([0.1, 0.2, 0.1 + 0.2, 0.5, 50.0, 1e300, 5e-324]) | INTEGERS | st.floats(allow_nan=False)
KINDS = st.sampled_from(["paid", "open", "refunded"])
LINE: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"price": DECIMALS, "text": WORDS}, optional={"off": DECIMALS}
)
ARGS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "amount": DECIMALS,
        "iban": st.sampled_from(["DE1234", "DE9999"]),
        "name": WORDS,
        "left": st.none() | WORDS,
        "kind": KINDS,
        "parts": INTEGERS,
        "ratio": NUMBERS,
        "urgent": st.booleans(),
        "tags": st.lists(WORDS, max_size=3),
        "codes": st.lists(st.sampled_from(["a", "b"]), max_size=2),
        "lines": st.lists(LINE, max_size=3),
        "prices": st.dictionaries(st.sampled_from(["one", "two", "a"]), DECIMALS, max_size=2),
        "stock": st.dictionaries(st.sampled_from(["s1", "s2"]), st.fixed_dictionaries({"price": DECIMALS}), max_size=2),
    },
    optional={
        "fee": DECIMALS,
        "note": WORDS,
        "extras": st.lists(WORDS, max_size=2),
        "address": st.fixed_dictionaries({"zip": WORDS}, optional={"door": INTEGERS}),
    },
)
BROKEN: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["amount", "kind", "parts", "ratio", "urgent", "tags", "lines", "name"]),
    st.sampled_from([None, 5, True, "5", 1.5, Decimal("1.234567890123456789"), [], ["x", 1], {}, 2**70, float("nan")]),
    max_size=1,
)
GIVEN: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "args": ARGS,
        "facts": st.fixed_dictionaries({"limit": DECIMALS}, optional={"tier": st.sampled_from(["gold", "standard"])}),
        "heard": WORDS,
        "counts": st.dictionaries(st.just("pay.now"), st.integers(0, 3)),
        "sums": st.dictionaries(
            st.sampled_from([("pay.now", "amount"), ("pay.now", "parts")]), st.integers(0, 9).map(Decimal)
        ),
        "given": st.fixed_dictionaries({"status": st.sampled_from(["paid", "open"]), "total": DECIMALS}).map(
            lambda seen: {"r/seen": seen}
        ),
    }
)

# conditions, from the words of the part of CEL that the fast path knows ---------------------------------------------

TEXT = st.sampled_from(
    ["args.name", "args.iban", "heard", "today", "string(args.name)", "args.tags[0]", "args.tags[2]"]
) | (st.sampled_from(["", "a", "b", "new", "é", "😀", "A\nb"]).map(quoted))
WHOLE = st.sampled_from(
    ["args.parts", "count.pay.now", "sum.pay.now.parts", "size(args.tags)", "args.name.size()", "0", "1", "2", "-1"]
) | st.sampled_from(["args.parts + 1", "args.parts * args.parts", "size(args.lines) - 1", "size(args.prices)"])
AMOUNT = (
    st.sampled_from(
        ["args.amount", "args.ratio", "sum.pay.now.amount", "facts.limit", "seen.total", "0.10", "0.3", "50.00", "1.5"]
    )
    | st.sampled_from(
        ['args.prices["one"]', "args.prices.two", 'args.stock["s1"].price', "args.lines[0].price", "double(args.parts)"]
    )
    | st.sampled_from(['total(args.lines, "price")', 'total(args.lines.filter(l, l.text == "a"), "price")'])
)
SUMS = st.tuples(st.sampled_from(["add", "sub", "mul"]), AMOUNT, AMOUNT).map(lambda t: f"{t[0]}({t[1]}, {t[2]})")
DOUBLE = AMOUNT | SUMS | st.tuples(AMOUNT, AMOUNT).map(lambda t: f"(args.urgent ? {t[0]} : {t[1]})")
SIGN = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])


def _pair(side: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(side, SIGN, side).map(" ".join)


ATOM = st.one_of(
    _pair(TEXT),
    _pair(WHOLE),
    _pair(DOUBLE),
    st.tuples(TEXT, st.sampled_from(["contains", "startsWith", "endsWith"]), TEXT).map(
        lambda t: f"{t[0]}.{t[1]}({t[2]})"
    ),
    st.tuples(TEXT, st.sampled_from(["^a", "(?i)A.B", "[a-z]+$", "é|😀", "^$"])).map(
        lambda t: f"{t[0]}.matches({quoted(t[1])})"
    ),
    st.sampled_from(
        [
            "args.urgent",
            "true",
            "args.urgent == false",
            'args.kind == "paid"',
            'args.kind in ["open", "paid"]',
            "args.kind == seen.status",
            'args.amount in [0.10, 50.00]',
            "args.ratio in [0.5, 50.0]",
            "args.parts in [1, 2, count.pay.now]",
            '"a" in args.tags',
            "args.name in args.tags",
            '"one" in args.prices',
            "args.name in args.prices",
            "has(args.note)",
            "has(args.address.door)",
            "has(args.extras)",
            "has(args.amount)",
            "has(args.stock.s1)",
            'has(args.note) && args.note == "a"',
            'args.note != "a" && has(args.note)',
            '!has(args.fee) || args.fee > args.amount',
            "has(args.address.door) && args.address.door > 1",
            'has(facts.tier) && facts.tier == "gold"',
            'facts.limit > 10.00',
            'args.tags == args.codes',
            "args.tags.exists(t, t == args.name)",
            "args.tags.all(t, size(t) > 0)",
            'args.tags.exists_one(t, t == "a")',
            "args.lines.exists(l, l.price > 0.10 && args.tags.exists(t, t == l.text))",
            "args.lines.all(l, has(l.off) && l.off < l.price)",
            "args.prices.exists(k, args.prices[k] > 1.00)",
            "args.codes.filter(c, c == \"a\").exists(c, c in args.tags)",
        ]
    ),
)  # fmt: skip
CONDITION = st.recursive(
    ATOM,
    lambda inner: st.one_of(
        inner.map(lambda c: f"!({c})"),
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]}) ? ({t[1]}) : ({t[2]})"),
    ),
    max_leaves=4,
)


@cache
def _program(when: str) -> tuple[Conditions, Program] | None:
    made = contract([rule(when)])
    conditions, findings = compile_conditions(made, made.shapes)
    return None if findings else (conditions, conditions.rules["r"].programs[0])


def _answer(ask: Callable[[Binding], bool], binding: Binding) -> bool | str:
    """True, False or the code of the error."""
    try:
        return ask(binding)
    except ConditionError as error:
        return error.code


@settings(max_examples=400, deadline=None)
@given(when=CONDITION, values=GIVEN)
def test_python_and_cel_agree(when: str, values: dict[str, Any]) -> None:
    found = _program(when)
    assume(found is not None)
    assert found is not None
    conditions, program = found
    assert program.fast is not None, f"{when} is left to CEL"
    binding = bind(conditions, **values)
    expected = _answer(program.ask_cel, binding)
    event(f"CEL says {expected}")
    try:
        answer: object = program.fast(binding)
    except Exception:
        event("Python leaves it to CEL")
    else:
        assert answer is expected, f"{when}: Python says {answer}, CEL {expected}"
    assert _answer(program.evaluate, binding) == expected


@settings(max_examples=200, deadline=None)
@given(when=CONDITION, values=GIVEN, broken=BROKEN)
def test_a_broken_value_is_never_decided_otherwise_than_by_cel(
    when: str, values: dict[str, Any], broken: dict[str, Any]
) -> None:
    """CEL refuses a broken value as a whole; Python may not have looked at it, and then it does not matter."""
    found = _program(when)
    assume(found is not None)
    assert found is not None
    conditions, program = found
    binding = bind(conditions, **{**values, "args": {**values["args"], **broken}})
    expected = _answer(program.ask_cel, binding)
    answer = _answer(program.evaluate, binding)
    if expected == "condition_value" and answer != expected:
        expected = _answer(program.ask_cel, bind(conditions, **values))
    assert answer == expected, f"{when}: {answer} with {broken}"


@settings(max_examples=200, deadline=None)
@given(left=DECIMALS, right=DECIMALS)
def test_decimals_of_fifteen_digits_compare_and_add_as_decimals(left: Decimal, right: Decimal) -> None:
    """Through doubles, in CEL and in Python: no cent is lost on the way."""
    seen = {"r/seen": {"status": "paid", "total": right}}
    for sign, expected in (("<", left < right), ("==", left == right), (">=", left >= right)):
        conditions, program = _decimal_program(f"args.amount {sign} seen.total")
        binding = bind(conditions, args={"amount": left}, given=seen)
        assert program.evaluate(binding) is expected
        assert program.ask_cel(binding) is expected
    with localcontext(prec=60):
        results = {name: value.normalize() for name, value in _results(left, right).items()}
    for name, exact in results.items():
        if len(exact.as_tuple().digits) <= 15:
            conditions, program = _decimal_program(f"{name}(args.amount, seen.total) == facts.limit")
            binding = bind(conditions, args={"amount": left}, given=seen, facts={"limit": exact})
            assert program.evaluate(binding) is True
            assert program.ask_cel(binding) is True


def _results(left: Decimal, right: Decimal) -> dict[str, Decimal]:
    return {"add": left + right, "sub": left - right, "mul": left * right}


@cache
def _decimal_program(when: str) -> tuple[Conditions, Program]:
    conditions = compiled(when)
    return conditions, conditions.rules["r"].programs[0]


ASKS_CEL = ("now", "free", "left ==", "map(", "{", "1 / 0", "% 2", "2 /", 'tags == ["new"')


@pytest.mark.parametrize("when", [w for w in TRUE if not any(word in w for word in ASKS_CEL)])
def test_ordinary_conditions_need_no_cel(when: str) -> None:
    """Else a decision over ten rules would cost ten times as much."""
    conditions = compiled(when)
    (program,) = conditions.rules["r"].programs
    assert program.fast is not None
    assert program.fast(bind(conditions)) is True


def test_what_python_cannot_settle_is_asked_of_cel() -> None:
    """`||` is one-sided in Python: the error on the left is CEL's to forgive."""
    conditions = compiled('args.tags[9] == "x" || args.parts == 3')
    (program,) = conditions.rules["r"].programs
    assert program.fast is not None
    with pytest.raises(IndexError):
        program.fast(bind(conditions))
    assert program.evaluate(bind(conditions)) is True


def test_no_text_of_a_contract_becomes_code() -> None:
    trap = "') or __import__('os').abort() or ('"
    conditions = compiled(f"args.name == {quoted(trap)} || heard.matches({quoted('__import__')})")
    assert conditions.rules["r"].holds(bind(conditions, args={"name": trap})) is True
    assert conditions.rules["r"].holds(bind(conditions)) is False
