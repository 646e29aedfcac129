"""Laws of the gate, over made-up runs: decisions are total and repeatable, and rules only narrow."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy import Contract, Gate, Ledger
from roadworthy.contract.model import Rule
from roadworthy.core.types import STRICTNESS, Action, Reason, Verdict
from roadworthy.gate.decide import decide, find_tool, normalise, verdict_of
from roadworthy.gate.policy import policy_of
from roadworthy.gate.state import RunState

CONTRACT = Contract.load(Path(__file__).parents[1] / "gate" / "desk.yaml")
NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)

ids = st.sampled_from(["C-001", "C-002", "1234", "5678", "7", "x"])
amounts = st.one_of(
    st.decimals("0", "1100", places=2).map(str), st.integers(-5, 1100), st.floats(), st.sampled_from(["5,000", None])
)
texts = st.one_of(st.sampled_from(["hello", "GOOD MORNING TO YOU", "voucher"]), st.text(max_size=12))
anything = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.lists(texts, max_size=2))
arguments = st.fixed_dictionaries(
    {},
    optional={
        "email": st.one_of(st.just("ada@example.com"), texts),
        "contact_id": ids,
        "account_no": ids,
        "invoice_no": ids,
        "amount": amounts,
        "to": st.one_of(st.just("ada@example.com"), texts),
        "body": texts,
        "name": texts,
        "reason": texts,
        "odd": anything,
    },
)
tools = st.sampled_from([*CONTRACT.tools, "send_mail", "nix"])
calls = st.lists(st.tuples(tools, arguments), max_size=8)
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("find_customer", {"email": "ada@example.com"}),
    ("find_account", {"contact_id": "C-001"}),
    ("get_invoice", {"account_no": "1234", "invoice_no": "7"}),
    ("refund", {"account_no": "1234", "invoice_no": "7", "amount": "42.00"}),
    ("send_mail", {"to": "ada@example.com", "body": "hello"}),
]
RESULTS: dict[str, Any] = {
    "find_customer": {"contact_id": "C-001", "email": "ada@example.com"},
    "find_account": {"account_no": "1234"},
    "search_accounts": [{"account_no": "5678"}],
    "get_invoice": {"invoice_no": "7", "status": "paid", "total": "80.00"},
    "refund": {"refund_no": "R1"},
    "mail": "sent",
    "status_page": "fine",
    "hand_over": "ok",
    "wipe": "gone",
}


def _give(value: Any, **_: Any) -> Any:
    return value


def judged(contract: Contract, level: Any, script: list[tuple[str, dict[str, Any]]]) -> list[Verdict]:
    """The verdicts on a script of calls, each allowed one with its result seen."""
    policy = policy_of(contract)
    state = RunState(policy, principal="bot", started=NOW, levels={name: level for name in contract.capabilities})
    state.open("money_back")
    verdicts: list[Verdict] = []
    for n, (name, given_args) in enumerate(script):
        tool = find_tool(policy, name)
        if isinstance(tool, Reason):
            verdicts.append(verdict_of([tool], "shadow"))
            continue
        args = normalise(tool, given_args)
        if isinstance(args, Reason):
            verdicts.append(verdict_of([args], "shadow"))
            continue
        action = Action(
            id=str(n), run="r", principal="bot", subject=state.subject, capability=None, tool=tool.name, args=args,
            call_id=None, at=NOW,
        )  # fmt: skip
        verdict = decide(policy, state, action, now=NOW)
        assert verdict == decide(policy, state, action, now=NOW)
        verdicts.append(verdict)
        if verdict.ruling == "allow":
            state.reserve(tool, args)
            state.observe(tool, args, "ok", "executed", RESULTS[tool.name])
    return verdicts


@given(script=calls, level=st.sampled_from(["shadow", "approval", "autonomous"]), prefix=st.integers(0, len(GOOD)))
def test_every_call_gets_a_verdict_and_always_the_same(script: Any, level: Any, prefix: int) -> None:
    whole = GOOD[:prefix] + script
    first = judged(CONTRACT, level, whole)
    assert len(first) == len(whole)
    assert first == judged(CONTRACT, level, whole)
    for verdict in first:
        enforced = [STRICTNESS[r.ruling] for r in verdict.reasons if r.enforced]
        assert STRICTNESS[verdict.ruling] == max(enforced, default=0)


rules = st.sampled_from(
    [
        {"tools": ["refund"], "when": "args.amount > 10.00", "then": "ask"},
        {"tools": ["refund"], "when": "args.amount > 10.00", "then": "deny"},
        {"tools": ["mail"], "when": 'args.body == "hello"', "then": "clarify"},
        {"tools": {"effect": "read"}, "when": "count.find_customer >= 1", "then": "deny"},
        {"tools": ["refund"], "when": "has(args.note)", "then": "deny"},
        {"tools": {"effect": "write"}, "then": "ask"},
        {
            "tools": ["refund"],
            "with": {"invoice": {"call": "get_invoice", "same": ["invoice_no"]}},
            "when": "args.amount < invoice.total",
            "then": "deny",
        },
    ]
)


@given(script=calls, extra=rules, prefix=st.integers(0, len(GOOD)), level=st.sampled_from(["approval", "autonomous"]))
@settings(deadline=None)
def test_one_more_rule_never_widens_the_next_decision(script: Any, extra: Any, prefix: int, level: Any) -> None:
    rule = Rule.model_validate({"id": "extra", "because": "of a test", **extra})
    narrower = CONTRACT.model_copy(update={"rules": (*CONTRACT.rules, rule)})
    before, after = (
        judged(c, level, GOOD[:prefix] + script)
        for c in (CONTRACT, Contract.model_validate(narrower.model_dump(by_alias=True, exclude_defaults=True)))
    )
    for old, new in zip(before, after, strict=True):
        assert STRICTNESS[new.ruling] >= STRICTNESS[old.ruling]
        if new.ruling != old.ruling:
            return  # from here on the two runs have seen different things


@given(script=calls, prefix=st.integers(0, len(GOOD)), answer=st.sampled_from([True, False, None]))
@settings(deadline=None, max_examples=60)
def test_a_run_opened_again_is_in_the_same_state(script: Any, prefix: int, answer: bool | None) -> None:
    with Ledger.open(":memory:") as ledger:

        def _approve(_action: Action, _verdict: Verdict) -> bool | None:
            return answer

        def gate() -> Gate:
            stand_ins = {name: partial(_give, value) for name, value in RESULTS.items()}
            return Gate(CONTRACT, ledger, world="test", tools=stand_ins, approver=_approve)

        run = gate().run(id="r", principal="bot", capability="money_back", facts={"tier": "gold"})
        for name, args in GOOD[:prefix] + script:
            run.call(name, args)
        again = gate().run(id="r", principal="bot")
        for name in run.state.__slots__:
            if name not in ("policy", "started", "denials"):
                assert getattr(run.state, name) == getattr(again.state, name), name
        known = {key: n for key, n in run.state.denials.items() if key[0] in CONTRACT.tools}
        assert {key: n for key, n in again.state.denials.items() if key[0] in CONTRACT.tools} == known
