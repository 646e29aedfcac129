"""A rule's `examples`, run when the contract is loaded: what it must catch and what it must let pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

from roadworthy.contract.conditions import Condition, ConditionError, Conditions
from roadworthy.contract.model import Contract, Example, Rule
from roadworthy.contract.references import tools_of
from roadworthy.contract.shapes import Shape, Shapes
from roadworthy.core.errors import Finding

Path = tuple[str | int, ...]

_SOME_DAY = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def typed(value: Any, shape: Shape | None) -> Any:
    """A value as written in a contract, in the form in which the gate holds it: decimals as Decimal."""
    if shape is None or value is None:
        return value
    if shape.type == "decimal" and isinstance(value, str):
        try:
            return Decimal(value)
        except InvalidOperation:
            return value
    if shape.type == "array" and isinstance(value, list | tuple):
        return [typed(item, shape.items) for item in cast("list[Any]", value)]
    if shape.type == "object" and isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        return {name: typed(inner, shape.fields.get(name, shape.extra)) for name, inner in fields.items()}
    return value


def run_examples(contract: Contract, shapes: Shapes, conditions: Conditions) -> list[Finding]:
    """A finding for each example with which its rule does something else than it says."""
    return [
        Finding(text=text, path=path, code="example")
        for i, rule in enumerate(contract.rules)
        for text, path in _of_rule(rule, ("rules", i, "examples"), contract, shapes, conditions)
    ]


def _of_rule(
    rule: Rule, path: Path, contract: Contract, shapes: Shapes, conditions: Conditions
) -> Iterator[tuple[str, Path]]:
    condition = conditions.rules.get(rule.id)
    if condition is None and (rule.when is not None or rule.unless is not None):
        return  # it does not compile, which is reported where it stands
    kinds: tuple[tuple[Literal["caught", "passed"], tuple[Example, ...]], ...] = (
        ("caught", rule.examples.caught),
        ("passed", rule.examples.passed),
    )
    for kind, examples in kinds:
        for j, example in enumerate(examples):
            tools = [t for t in tools_of(rule, contract) if all(arg in shapes.args[t] for arg in example.args)]
            if not tools:
                yield (
                    "no tool of this rule takes these arguments together; name arguments of one tool",
                    (*path, kind, j),
                )
            for tool in tools:
                text = _fault(rule, kind, example, tool, condition, contract, shapes, conditions)
                if text is not None:
                    yield text, (*path, kind, j)
                    break


def _fault(
    rule: Rule,
    kind: Literal["caught", "passed"],
    example: Example,
    tool: str,
    condition: Condition | None,
    contract: Contract,
    shapes: Shapes,
    conditions: Conditions,
) -> str | None:
    if condition is None:
        if kind == "caught":
            return None
        return (
            f"the rule has no condition, so that it says {rule.then} to every call; add `when`, or remove this example"
        )
    if example.now is None and condition.roots & {"now", "today"}:
        return 'the rule looks at the time; say which, such as now: "2026-01-05T12:00:00"'
    binding = conditions.bind(
        tool,
        args={name: typed(value, shapes.args[tool][name]) for name, value in example.args.items()},
        facts={name: typed(value, shapes.facts.get(name)) for name, value in example.facts.items()},
        heard=example.heard,
        now=_moment(example, contract),
        counts=example.count,
        sums={_split(name): Decimal(value) for name, value in example.sum.items()},
        given={
            f"{rule.id}/{name}": typed(value, shapes.returns.get(rule.with_[name].call))
            for name, value in example.given.items()
            if name in rule.with_
        },
    )
    try:
        fired = condition.holds(binding)
    except ConditionError as error:
        return f"with this example the rule comes to no answer: {error.text}; give what is missing in the example"
    if fired == (kind == "caught"):
        return None
    if kind == "caught":
        return (
            f"the rule lets this call of {tool} pass, though it is to be caught: `{condition.text}` is false; "
            "mend the condition or move the example under passed"
        )
    return (
        f"the rule says {rule.then} to this call of {tool}, though it is to pass: `{condition.text}` is true; "
        "mend the condition or move the example under caught"
    )


def _moment(example: Example, contract: Contract) -> datetime:
    if example.now is None:
        return _SOME_DAY
    moment = datetime.fromisoformat(example.now)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(contract.zone))


def _split(name: str) -> tuple[str, str]:
    tool, _, arg = name.rpartition(".")
    return tool, arg
