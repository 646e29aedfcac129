"""A contract made ready for deciding: everything that can be looked up beforehand, looked up once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from roadworthy.contract.conditions import Condition, Conditions, conditions_of
from roadworthy.contract.model import Ask, Contract, Rule, Tool, ToolSet
from roadworthy.contract.people import People
from roadworthy.contract.resolve import shapes_of
from roadworthy.contract.shapes import Shape, Shapes
from roadworthy.core.types import Level
from roadworthy.gate.budgets import BudgetPolicy, compile_budgets
from roadworthy.gate.carry import Carriage
from roadworthy.gate.carry.breaker import BreakerSpec
from roadworthy.gate.flow.labelled import FlowPolicy, compile_flow
from roadworthy.gate.origins.checked import OriginPolicy, compile_origins
from roadworthy.gate.scope import ScopePolicy, compile_scope
from roadworthy.gate.values import Arguments, Result
from roadworthy.gate.walk import Walk, compile_walks

Effect = Literal["read", "compute", "write", "send"]
ACTING: frozenset[str] = frozenset({"write", "send"})
"""Effects that change something, and so wait for the level."""


USER = "user"
"""The role that means the user of the run, and nobody of the staff."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a rule wants to have seen: the latest result of `call` with the same values of `same`."""

    name: str
    call: str
    same: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How a held action is put to people."""

    role: str | None
    """Who answers; `user` is the user; None: the capability's approver."""
    approvals: int = 1
    """How many people must agree."""
    excluded: tuple[str, ...] = ()
    """Who may not answer: `requester`, or a role."""
    within_s: float | None = None
    """How long an answer may take; no answer by then is a no."""
    suspend: bool = False
    """The run waits; else the conversation goes on meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledNeed:
    """What must have been seen before a call."""

    look: Look
    where: Condition | None
    within_s: float | None
    """How old it may be."""
    since: tuple[str, ...]
    """Tools after whose calls it must be seen again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """The idempotency key that the gate passes to a tool."""

    args: tuple[str, ...]
    """The arguments that make two calls the same."""
    passed_as: str
    """The argument in which the tool gets the key."""
    forever: bool
    """Over all runs; else within the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """How a write in doubt is settled: a look-up, its arguments, and when it shows that the write was done."""

    tool: str
    args: tuple[tuple[str, tuple[str, ...]], ...]
    """By argument, where its value comes from: `("args", "invoice_no")`."""
    done_when: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoing:
    """How a call is taken back."""

    tool: str
    args: tuple[tuple[str, tuple[str, ...]], ...]
    """By argument, where its value comes from: `("result", "refund_no")`, `("before", "department")`."""
    before: str | None
    """A read that is made before the call, with the arguments of the same names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRule:
    id: str
    then: Literal["deny", "clarify", "ask"]
    because: str
    asking: Asking | None
    enforce: bool
    looks: tuple[Look, ...]
    condition: Condition | None
    """None: the rule holds whenever its tool is called."""

    @property
    def role(self) -> str | None:
        """Who is asked by it, where it says so itself."""
        return self.asking.role if self.asking is not None else None


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
    """The argument lists under which results are kept for `with` and `needs`."""
    needs: tuple[CompiledNeed, ...] = ()
    read_out: tuple[str, ...] = ()
    """The arguments that the user must have said yes to; empty where no confirmation is needed."""
    asks_user: bool = False
    """Whether a rule about it asks the user."""
    keyed: Keyed | None = None
    carriage: Carriage | None = None
    """How its calls are carried; None for a plain tool: one attempt, however long it takes."""
    settling: Settling | None = None
    undoing: Undoing | None = None
    names_persons: bool = False
    """Its results or arguments say whom they are about, so that they may be about another than the subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All of a contract that decisions read."""

    contract: Contract
    conditions: Conditions
    tools: Mapping[str, ToolPolicy]
    subject_entity: str | None
    bridged: frozenset[str]
    """Entities that can be reached by a `same_as` look-up only."""
    persons: frozenset[str]
    """The entity that runs act for, and what it is in other systems."""
    facts: Arguments
    walks: Mapping[str, Walk]
    """By tool, how its results are taken apart."""
    origins: OriginPolicy | None
    """None where no argument is checked for where its value comes from."""
    confirms: bool
    """Whether any call wants the user's yes, so that questions and answers must be remembered."""
    flow: FlowPolicy | None
    """None where the contract says nothing about labels, destinations and claims."""
    scope: ScopePolicy | None
    """None where no capability says what users say."""
    budgets: BudgetPolicy | None
    people: People | None
    """Who may decide, and the keys that prove it; None where the contract names nobody."""
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


def _persons(contract: Contract) -> frozenset[str]:
    found = {contract.subject.entity} if contract.subject is not None else set[str]()
    for _ in contract.same_as:
        found |= {bridge.to for bridge in contract.same_as if bridge.from_ in found}
    return frozenset(found)


def _source(text: str) -> tuple[str, ...]:
    return tuple(text.split("."))


def _settling(name: str, tool: Tool, shapes: Shapes, conditions: Conditions) -> Settling | None:
    lookup = tool.lookup
    if lookup is None:
        return None
    if lookup.args is not None:
        args = tuple((arg, _source(text)) for arg, text in lookup.args.items())
    else:
        args = tuple((arg, ("args", arg)) for arg in shapes.args[lookup.tool] if arg in shapes.args[name])
    return Settling(tool=lookup.tool, args=args, done_when=conditions.done_when[name])


def _carriage(tool: Tool) -> Carriage | None:
    if tool.timeout is None and not tool.retries and not tool.concurrency and not tool.breaker and not tool.idempotent:
        return None
    breaker = tool.breaker
    return Carriage(
        timeout_s=tool.timeout,
        # A write whose tool knows no key might be done twice; the loader refuses retries there, and so do we.
        attempts=1 + tool.retries if tool.effect not in ACTING or tool.idempotent is not None else 1,
        concurrency=tool.concurrency,
        breaker=(
            BreakerSpec(failures=breaker.failures, within_s=breaker.within, open_for_s=breaker.open_for)
            if breaker is not None
            else None
        ),
        passed_as=tool.idempotent.passed_as if tool.idempotent is not None else None,
    )


def _undoing(tool: Tool) -> Undoing | None:
    if tool.undo is None:
        return None
    args = tuple((arg, _source(text)) for arg, text in tool.undo.args.items())
    return Undoing(tool=tool.undo.tool, args=args, before=tool.undo.before)


def _asking(ask: Ask | None) -> Asking | None:
    if ask is None:
        return None
    return Asking(
        role=ask.role,
        approvals=ask.approvals,
        excluded=ask.not_,
        within_s=ask.within,
        suspend=ask.meanwhile == "suspend",
    )


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
                asking=_asking(rule.ask),
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
    for tool in contract.tools.values():
        for need in tool.needs:
            kept.setdefault(need.call, set()).add(need.same)
    bridges: dict[str, set[str]] = {}
    for bridge in contract.same_as:
        bridges.setdefault(bridge.by, set()).add(bridge.to)
    established_by = contract.subject.established_by if contract.subject is not None else ()
    persons = _persons(contract)
    tools: dict[str, ToolPolicy] = {}
    for name, tool in contract.tools.items():
        arg_shapes = shapes.args[name]
        named = [inner for shape in (*arg_shapes.values(), shapes.returns[name]) if shape for _, inner in shape.walk()]
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
            needs=tuple(
                CompiledNeed(
                    look=Look(name="result", call=need.call, same=need.same),
                    where=conditions.needs_where.get((name, index)),
                    within_s=need.within,
                    since=need.since,
                )
                for index, need in enumerate(tool.needs)
            ),
            read_out=tool.confirm.read_out if tool.confirm is not None else (),
            asks_user=any(r.role == USER for rule, r in rules if applies_to(rule, name, tool.effect)),
            keyed=(
                Keyed(
                    args=tool.idempotent.key,
                    passed_as=tool.idempotent.passed_as,
                    forever=tool.idempotent.scope == "forever",
                )
                if tool.idempotent is not None
                else None
            ),
            carriage=_carriage(tool),
            settling=_settling(name, tool, shapes, conditions),
            undoing=_undoing(tool),
            names_persons=any(inner.entity in persons for inner in named),
        )
    return Policy(
        contract=contract,
        conditions=conditions,
        tools=tools,
        subject_entity=contract.subject.entity if contract.subject is not None else None,
        bridged=frozenset(bridge.to for bridge in contract.same_as),
        persons=persons,
        facts=Arguments(shapes.facts),
        walks=compile_walks(shapes, conditions),
        origins=compile_origins(contract, shapes),
        confirms=any(t.confirm is not None for t in contract.tools.values())
        or any(r.ask is not None and r.ask.role == USER for r in contract.rules),
        flow=compile_flow(contract, shapes),
        scope=compile_scope(contract),
        budgets=compile_budgets(contract),
        people=contract.members,
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
