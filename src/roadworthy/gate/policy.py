"""A contract made ready for deciding: everything that can be looked up beforehand, looked up once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from roadworthy.contract.conditions import Condition, Conditions, conditions_of
from roadworthy.contract.model import Contract, Rule, ToolSet
from roadworthy.contract.resolve import shapes_of
from roadworthy.contract.shapes import Shape
from roadworthy.core.types import Level
from roadworthy.gate.values import Arguments, Result

Effect = Literal["read", "compute", "write", "send"]
ACTING: frozenset[str] = frozenset({"write", "send"})
"""Effects that change something, and so wait for the level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a rule wants to have seen: the latest result of `call` with the same values of `same`."""

    name: str
    call: str
    same: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRule:
    id: str
    then: Literal["deny", "clarify", "ask"]
    because: str
    role: str | None
    enforce: bool
    looks: tuple[Look, ...]
    condition: Condition | None
    """None: the rule holds whenever its tool is called."""


def _at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """The values at a path; `*` goes into every item of a list or map."""
    if not path:
        if value is not None:
            yield value
        return
    head, rest = path[0], path[1:]
    if head == "*":
        if isinstance(value, Mapping):
            items: Iterator[Any] = iter(cast("Mapping[str, Any]", value).values())
        else:
            items = iter(cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ())
        for inner in items:
            yield from _at(inner, rest)
    elif isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        if head in fields:
            yield from _at(fields[head], rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityArg:
    """An argument, or a part of one, that names an entity of the subject."""

    path: tuple[str, ...]
    """From the arguments down; `*` stands for each item."""
    entity: str

    def keys(self, args: Mapping[str, Any]) -> Iterable[str]:
        """The keys that typed arguments hold there."""
        if len(self.path) == 1:
            key = args.get(self.path[0])
            return () if key is None else (str(key),)
        return map(str, _at(args, self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPolicy:
    name: str
    effect: Effect
    acts: bool
    arg_shapes: Mapping[str, Shape]
    arguments: Arguments
    result: Result
    entity_args: tuple[EntityArg, ...]
    summed: tuple[str, ...]
    """Top-level decimal and number arguments, whose sums rules may ask for."""
    capabilities: frozenset[str]
    common: bool
    before_subject: bool
    establishes: bool
    bridges_to: frozenset[str]
    """Entities that this look-up, and no other, leads to (`same_as`)."""
    escalates: bool
    only_undo: bool
    timeout_s: float | None
    fails_when: Condition | None
    rules: tuple[CompiledRule, ...]
    kept_by: tuple[tuple[str, ...], ...]
    """The argument lists under which results are kept for rules with `with`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All of a contract that decisions read."""

    contract: Contract
    conditions: Conditions
    tools: Mapping[str, ToolPolicy]
    subject_entity: str | None
    bridged: frozenset[str]
    """Entities that can be reached by a `same_as` look-up only."""
    facts: Arguments
    approvers: Mapping[str, str | None]
    start_levels: Mapping[str, Level]
    ceilings: Mapping[str, Level]


def _entity_args(shapes: Mapping[str, Shape]) -> tuple[EntityArg, ...]:
    found: list[EntityArg] = []
    for name, shape in shapes.items():
        for path, inner in shape.walk((name,)):
            if inner.entity is not None and not inner.anyone:
                found.append(EntityArg(path=path, entity=inner.entity))
    return tuple(found)


def applies_to(rule: Rule, tool: str, effect: str) -> bool:
    """Whether a rule speaks about a tool."""
    return rule.tools.effect == effect if isinstance(rule.tools, ToolSet) else tool in rule.tools


def _compile(contract: Contract) -> Policy:
    shapes = shapes_of(contract)
    conditions = conditions_of(contract)
    rules = [
        (
            rule,
            CompiledRule(
                id=rule.id,
                then=rule.then,
                because=rule.because,
                role=rule.ask.role if rule.ask is not None else None,
                enforce=rule.enforce,
                looks=tuple(Look(name=n, call=w.call, same=w.same) for n, w in rule.with_.items()),
                condition=conditions.rules.get(rule.id),
            ),
        )
        for rule in contract.rules
    ]
    kept: dict[str, set[tuple[str, ...]]] = {}
    for _, compiled in rules:
        for look in compiled.looks:
            kept.setdefault(look.call, set()).add(look.same)
    bridges: dict[str, set[str]] = {}
    for bridge in contract.same_as:
        bridges.setdefault(bridge.by, set()).add(bridge.to)
    established_by = contract.subject.established_by if contract.subject is not None else ()
    tools: dict[str, ToolPolicy] = {}
    for name, tool in contract.tools.items():
        arg_shapes = shapes.args[name]
        tools[name] = ToolPolicy(
            name=name,
            effect=tool.effect,
            acts=tool.effect in ACTING,
            arg_shapes=arg_shapes,
            arguments=Arguments(arg_shapes),
            result=Result(shapes.returns[name]),
            entity_args=_entity_args(arg_shapes) if contract.subject is not None else (),
            summed=tuple(n for n, s in arg_shapes.items() if s.type in ("decimal", "integer", "number")),
            capabilities=frozenset(c for c, spec in contract.capabilities.items() if name in spec.tools),
            common=name in contract.common,
            before_subject=tool.before_subject,
            establishes=name in established_by,
            bridges_to=frozenset(bridges.get(name, ())),
            escalates=contract.escalate is not None and contract.escalate.tool == name,
            only_undo=tool.only == "undo",
            timeout_s=tool.timeout,
            fails_when=conditions.fails_when.get(name),
            rules=tuple(compiled for rule, compiled in rules if applies_to(rule, name, tool.effect)),
            kept_by=tuple(sorted(kept.get(name, ()))),
        )
    return Policy(
        contract=contract,
        conditions=conditions,
        tools=tools,
        subject_entity=contract.subject.entity if contract.subject is not None else None,
        bridged=frozenset(bridge.to for bridge in contract.same_as),
        facts=Arguments(shapes.facts),
        approvers={name: spec.autonomy.approver for name, spec in contract.capabilities.items()},
        start_levels={name: spec.autonomy.start for name, spec in contract.capabilities.items()},
        ceilings={name: spec.autonomy.ceiling for name, spec in contract.capabilities.items()},
    )


_POLICIES: dict[str, Policy] = {}
_KEPT = 64


def policy_of(contract: Contract) -> Policy:
    """The policy of a contract, made once per meaning. Raises ContractError where the contract makes no sense."""
    policy = _POLICIES.get(contract.digest)
    if policy is None:
        policy = _compile(contract)
        if len(_POLICIES) >= _KEPT:
            _POLICIES.pop(next(iter(_POLICIES)))
        _POLICIES[contract.digest] = policy
    return policy
