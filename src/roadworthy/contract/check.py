"""What is wrong with a contract that can be loaded: what never happens, what proves nothing, what nobody decided.

A warning is something to act on; a note is something to know. Errors are found by `load`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from roadworthy.contract.conditions import Binding, Condition, ConditionError, Conditions, conditions_of
from roadworthy.contract.model import Capability, Contract, Rule, TypeSpec
from roadworthy.contract.references import tools_of
from roadworthy.contract.shapes import Shape, Shapes
from roadworthy.core.errors import Finding
from roadworthy.core.types import LEVELS, STRICTNESS
from roadworthy.stats.rates import trials_needed

Path = tuple[str | int, ...]

_CHANGING = ("write", "send")
_BOUND = re.compile(r"args\.([A-Za-z_][A-Za-z0-9_]*) *(>=|<=|>|<|==) *(-?[0-9]+(?:\.[0-9]+)?)")
_NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def check(contract: Contract) -> list[Finding]:
    """Warnings and notes about a contract, in the order of its lines. Raises ContractError where it is not sound."""
    checker = _Checker(contract=contract, shapes=contract.shapes, conditions=conditions_of(contract))
    checker.everything()
    return sorted(checker.findings, key=lambda f: (f.line or 0, f.column or 0))


def callable_tools(contract: Contract) -> frozenset[str]:
    """The tools that an agent can ever be offered: those of a capability, the common ones, and its way to a person."""
    tools = {*contract.common, *(tool for c in contract.capabilities.values() for tool in c.tools)}
    if contract.escalate is not None and contract.escalate.tool is not None:
        tools.add(contract.escalate.tool)
    return frozenset(tools)


def internal_tools(contract: Contract) -> frozenset[str]:
    """The tools that the gate itself calls: to undo, to settle, to verify."""
    tools = {d.verify.tool for d in contract.directories.values() if d.verify is not None}
    for tool in contract.tools.values():
        if tool.undo is not None:
            tools |= {tool.undo.tool} | ({tool.undo.before} if tool.undo.before is not None else set[str]())
        if tool.lookup is not None:
            tools.add(tool.lookup.tool)
    return frozenset(tools)


@dataclass(kw_only=True)
class _Checker:
    contract: Contract
    shapes: Shapes
    conditions: Conditions
    findings: list[Finding] = field(default_factory=list[Finding])

    def say(self, severity: Literal["warning", "note"], path: Path, code: str, text: str) -> None:
        finding = Finding(text=text, path=path, code=code, severity=severity)
        self.findings.append(self.contract.located(finding))

    def warn(self, path: Path, code: str, text: str) -> None:
        self.say("warning", path, code, text)

    def note(self, path: Path, code: str, text: str) -> None:
        self.say("note", path, code, text)

    def everything(self) -> None:
        self.head()
        self.tools()
        self.capabilities()
        self.rules()
        self.unused()

    # who answers, who acts ---------------------------------------------------------------------------------------

    def head(self) -> None:
        contract = self.contract
        if not contract.signatures:
            text = "no signatures are asked for: whoever can change this file can raise what the agent may do"
            self.note((), "no_signatures", text)
        elif contract.people is None:
            text = "signatures are asked for, and `people` names no file with the keys of those who may give them"
            self.warn(("signatures",), "no_people", text)
        elif contract.members is None:
            self.note(("people",), "people_not_read", "the people file was not read; load the contract from its file")
        self.answers()
        if not contract.principals:
            self.note((), "no_principals", "no principals are named: any application may run this agent")
        elif contract.capabilities:
            allowed = {name for p in contract.principals.values() for name in p.capabilities}
            for name in contract.capabilities:
                if name not in allowed:
                    text = f"no principal may use {name}; add it under principals, or remove it"
                    self.warn(("capabilities", name), "unreachable_capability", text)
        if contract.escalate is None:
            self.note((), "no_escalation", "nobody is named under `escalate`: what the agent cannot do ends there")
        if isinstance(contract.hosted_tools, tuple) and contract.hosted_tools:
            names = ", ".join(contract.hosted_tools)
            text = f"{names} run at the model's provider and never pass the gate; no rule here holds for them"
            self.warn(("hosted_tools",), "hosted_tools", text)
        self.subject()

    def answers(self) -> None:
        """Whether those who are to decide can: there are enough of them, and each has a key."""
        contract, people = self.contract, self.contract.members
        wanted: list[tuple[Path, str, int, tuple[str, ...]]] = [
            *(
                (("signatures", level, i), role, 1, ())
                for level, roles in contract.signatures.items()
                for i, role in enumerate(roles)
            ),
            *(
                (("capabilities", name, "autonomy", "approver"), spec.autonomy.approver, 1, ())
                for name, spec in contract.capabilities.items()
                if spec.autonomy.approver is not None
            ),
            *(
                (("rules", i, "ask", "role"), rule.ask.role, rule.ask.approvals, rule.ask.not_)
                for i, rule in enumerate(contract.rules)
                if rule.ask is not None and rule.ask.role != "user"
            ),
        ]
        if contract.people is None and any(path[0] != "signatures" for path, *_ in wanted):
            text = "no `people` are named: answers to held actions need no signature, so that anybody may give them"
            self.note((), "unsigned_answers", text)
        if people is None:
            return
        for path, role, count, excluded in wanted:
            out = {name for who in excluded for name in (who, *people.holding(who))}
            able = [n for n in people.holding(role) if people.members[n].keys and n not in out]
            able = [n for n in able if n.casefold() not in {p.casefold() for p in contract.principals}]
            if len(able) < count:
                having = f"only {', '.join(able)} can" if able else "nobody can"
                need = "somebody" if count == 1 else f"{count} people"
                text = f"{need} with the role {role} and a key of their own must decide this, and {having}"
                self.warn(path, "nobody_to_decide", f"{text}; see {people.file}")
        known = {*people.roles, *people.members}
        if contract.owner.accountable not in known:
            text = f"{contract.owner.accountable} is neither a role nor a person in {people.file}"
            self.warn(("owner", "accountable"), "unknown_person", text)

    def subject(self) -> None:
        contract = self.contract
        if contract.subject is None:
            for name, tool in contract.tools.items():
                if tool.before_subject:
                    text = "before_subject has no effect, as no `subject` is declared; declare one or leave it out"
                    self.warn(("tools", name, "before_subject"), "no_subject", text)
                for arg, shape in self.shapes.args[name].items():
                    if tool.effect in _CHANGING and shape.entity is not None and not shape.anyone:
                        text = (
                            f"no `subject` is declared, so that nothing says whose {shape.entity} this may be; "
                            "declare one, or write `of: anyone`"
                        )
                        self.warn(("tools", name, "args", arg), "no_subject", text)
            return
        offered = callable_tools(contract)
        established = contract.subject.established_by
        for i, name in enumerate(established):
            if name not in offered:
                text = f"{name} is in no capability and not common, so that no run learns its subject by it"
                self.warn(("subject", "established_by", i), "unreachable_tool", text)
        if not established:
            text = "no look-up establishes the subject: only the application can, and until it does nothing is open"
            self.note(("subject",), "subject_by_application", text)

    # tools -------------------------------------------------------------------------------------------------------

    def tools(self) -> None:
        contract = self.contract
        offered, internal = callable_tools(contract), internal_tools(contract)
        for name, tool in contract.tools.items():
            path: Path = ("tools", name)
            if name not in offered | internal:
                undone = "no tool's `undo` names it" if tool.only == "undo" else "it is in no capability and not common"
                self.warn(path, "unreachable_tool", f"nobody can call {name}: {undone}; add it there or remove it")
            if tool.returns is None:
                more = ", and in shadow it answers null" if tool.effect in _CHANGING else ""
                text = f"{name} does not say what it returns: its result is untrusted and untyped{more}; add `returns:`"
                self.note(path, "untyped_result", text)

    # capabilities ------------------------------------------------------------------------------------------------

    def capabilities(self) -> None:
        for name, capability in self.contract.capabilities.items():
            path: Path = ("capabilities", name)
            if not capability.tools:
                self.warn(path, "no_tools", f"{name} opens no tool of its own; add `tools:`")
            self.evidence(name, capability, path)
            self.success(name, capability, path)

    def evidence(self, name: str, capability: Capability, path: Path) -> None:
        autonomy = capability.autonomy
        if capability.evidence is not None:
            rate, confidence = capability.evidence.pass_rate, capability.evidence.confidence
            needed = trials_needed(float(rate), float(confidence))
            text = f"pass_rate {rate} at confidence {confidence} needs at least {needed} clean trials"
            self.note((*path, "evidence"), "trials_needed", text)
        elif LEVELS.index(autonomy.ceiling) > LEVELS.index(autonomy.start):
            text = (
                f"{name} may rise from {autonomy.start} to {autonomy.ceiling} by a person's word alone; "
                'to ask for trials add evidence: {pass_rate: "0.95", confidence: "0.95"}'
            )
            self.note((*path, "autonomy"), "no_evidence", text)
        if autonomy.start == "autonomous" and any(self.contract.tools[t].effect in _CHANGING for t in capability.tools):
            text = f"{name} writes or sends alone from its first day; start it at shadow or approval"
            self.warn((*path, "autonomy", "start"), "starts_autonomous", text)

    def success(self, name: str, capability: Capability, path: Path) -> None:
        checks = [(i, c) for i, c in enumerate(capability.success) if c.check is not None]
        if not capability.success:
            self.warn(path, "no_success", f"nothing says when {name} has succeeded; add `success:` with a check")
            return
        if not checks:
            text = f"no trial can tell whether {name} succeeded: signals come later and judges are opt-in; add a check"
            self.warn((*path, "success"), "no_check", text)
            return
        for i, criterion in checks:
            condition = self.conditions.success.get((name, criterion.id))
            for part in condition.vacuous if condition is not None else ():
                text = f"{part} is true where there was no such call; add a check that there was one"
                self.warn((*path, "success", i, "check"), "vacuous_success", text)
        idle = self.conditions.bind_success(counts={}, sums={}, calls={}, facts={}, heard="", now=_NOON)
        if all(_certain(self.conditions.success.get((name, c.id)), idle) for _, c in checks):
            text = f"a run of {name} that does nothing passes every check; add one that a call must have been made"
            self.warn((*path, "success"), "vacuous_success", text)

    # rules -------------------------------------------------------------------------------------------------------

    def rules(self) -> None:
        rules = self.contract.rules
        offered = callable_tools(self.contract)
        for i, rule in enumerate(rules):
            path: Path = ("rules", i)
            tools = tools_of(rule, self.contract)
            if not rule.enforce:
                self.note(
                    (*path, "enforce"), "not_enforced", f"{rule.id} is on trial: it is recorded and stops nothing"
                )
            missing = [t for t in tools if t not in offered]
            if tools and len(missing) == len(tools):
                self.warn((*path, "tools"), "unreachable_rule", f"{rule.id} never fires: nobody can call {missing[0]}")
            settled = self.settled(rule)
            if settled is False:
                self.warn(path, "unreachable_rule", f"{rule.id} never fires: its condition is always false")
            elif settled is True and (rule.when is not None or rule.unless is not None):
                text = f"the condition of {rule.id} is always true; leave it out, or mend it"
                self.warn(path, "constant_condition", text)
            if settled is not False:
                self.against_others(i, rule, tools)

    def settled(self, rule: Rule) -> bool | None:
        """What a rule's condition always is; None where that depends on the call."""
        condition = self.conditions.rules.get(rule.id)
        if condition is None:
            return True
        tools = tools_of(rule, self.contract)
        if condition.constant and tools:
            return _holds(condition, self.nothing(tools[0]))
        bound = _Bound.of(rule)
        verdicts = {_by_type(bound, self.shapes.args[t].get(bound.arg)) for t in tools} if bound is not None else {None}
        return verdicts.pop() if len(verdicts) == 1 else None

    def nothing(self, tool: str) -> Binding:
        return self.conditions.bind(tool, args={}, facts={}, heard="", now=_NOON, counts={}, sums={}, given={})

    def against_others(self, i: int, rule: Rule, tools: Sequence[str]) -> None:
        """A rule that another one contradicts, repeats or always goes before."""
        for j, other in enumerate(self.contract.rules):
            if i == j or not other.enforce or not rule.enforce or not set(tools) & set(tools_of(other, self.contract)):
                continue
            line = self.contract.located(Finding(text="", path=("rules", j))).line
            where = f"{other.id} (line {line})" if line is not None else other.id
            same = _meaning(rule) == _meaning(other)
            if same and rule.then != other.then:
                if j < i:
                    text = f"{rule.id} says {rule.then} and {where} says {other.then} on the same condition; keep one"
                    self.warn(("rules", i), "contradiction", text)
                continue
            covered = set(tools) <= set(tools_of(other, self.contract))
            stricter = STRICTNESS[other.then] > STRICTNESS[rule.then]
            alike = other.then == rule.then and other.ask == rule.ask
            if not covered or not (stricter or (alike and (j < i or not same))):
                continue
            if same:
                self.warn(("rules", i), "shadowed_rule", f"{rule.id} repeats {where}; remove one")
            elif self.settled(other) is True and (stricter or self.settled(rule) is not True):
                text = f"{rule.id} has no effect: {where} says {other.then} to every such call; remove one"
                self.warn(("rules", i), "unreachable_rule", text)
            elif _implies(rule, other):
                text = f"{rule.id} has no effect: whenever it fires {where} says {other.then}; remove it or mend it"
                self.warn(("rules", i), "shadowed_rule", text)

    # what is declared and never used -----------------------------------------------------------------------------

    def unused(self) -> None:
        contract = self.contract
        shapes = [s for args in self.shapes.args.values() for a in args.values() for _, s in a.walk()]
        shapes += [s for r in self.shapes.returns.values() if r is not None for _, s in r.walk()]
        used_types = {s.type_name for s in shapes} | set(_type_words(contract))
        entities = {s.entity for s in shapes} | {contract.subject.entity if contract.subject is not None else None}
        labels = {label for s in shapes for label in s.labels}
        places = {p for s in shapes for p in s.destination or ()} | {r.only_to for r in contract.flow}
        for section, used in (
            ("types", used_types),
            ("entities", entities),
            ("labels", labels),
            ("directories", places),
        ):
            for name in getattr(contract, section):
                if name not in used:
                    text = f"{name} is declared and nothing uses it; mark what it is about, or remove it"
                    self.warn((section, name), "unused", text)


def _type_words(contract: Contract) -> Iterator[str]:
    """Every type name written anywhere, for types that are used only inside another."""

    def words(spec: TypeSpec) -> Iterator[str]:
        yield from (spec.type,) if isinstance(spec.type, str) else spec.type or ()
        inner = [*(spec.properties or {}).values(), spec.items, spec.additional_properties]
        for part in inner:
            if isinstance(part, TypeSpec):
                yield from words(part)

    for tool in contract.tools.values():
        for spec in (*tool.args.values(), tool.returns):
            if spec is not None:
                yield from words(spec)
    for spec in (*contract.types.values(), *contract.facts.values()):
        yield from words(spec)


def _certain(condition: Condition | None, binding: Binding) -> bool:
    return condition is not None and _holds(condition, binding) is True


def _holds(condition: Condition, binding: Binding) -> bool | None:
    try:
        return condition.holds(binding)
    except ConditionError:
        return None


def _meaning(rule: Rule) -> tuple[Any, ...]:
    """A rule's condition, white space aside, with what it looks up."""
    texts = tuple("".join(text.split()) if text is not None else None for text in (rule.when, rule.unless))
    return (*texts, tuple(sorted((name, w.call, w.same) for name, w in rule.with_.items())))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bound:
    """A condition that is one comparison of one argument with one number."""

    arg: str
    sign: str
    number: Decimal

    @classmethod
    def of(cls, rule: Rule) -> _Bound | None:
        if rule.unless is not None or rule.when is None:
            return None
        found = _BOUND.fullmatch(rule.when.strip())
        return cls(arg=found[1], sign=found[2], number=Decimal(found[3])) if found is not None else None


def _by_type(bound: _Bound, shape: Shape | None) -> bool | None:
    """What a comparison always is, by the least and the greatest value that its argument can have."""
    if shape is None or shape.optional or shape.nullable:
        return None
    low, high = shape.minimum, shape.maximum
    answers: Mapping[str, tuple[bool, bool]] = {  # always true, always false
        ">": (low is not None and low > bound.number, high is not None and high <= bound.number),
        ">=": (low is not None and low >= bound.number, high is not None and high < bound.number),
        "<": (high is not None and high < bound.number, low is not None and low >= bound.number),
        "<=": (high is not None and high <= bound.number, low is not None and low > bound.number),
        "==": (
            False,
            (low is not None and low > bound.number) or (high is not None and high < bound.number),
        ),
    }
    always, never = answers[bound.sign]
    return True if always else False if never else None


def _implies(rule: Rule, other: Rule) -> bool:
    """Whether the other rule fires whenever this one does, as far as two bounds on one argument tell."""
    mine, its = _Bound.of(rule), _Bound.of(other)
    if mine is None or its is None or mine.arg != its.arg:
        return False
    a, b = mine.number, its.number
    table: Mapping[tuple[str, str], bool] = {
        (">", ">"): a >= b,
        (">", ">="): a >= b,
        (">=", ">="): a >= b,
        (">=", ">"): a > b,
        ("<", "<"): a <= b,
        ("<", "<="): a <= b,
        ("<=", "<="): a <= b,
        ("<=", "<"): a < b,
        ("==", ">"): a > b,
        ("==", ">="): a >= b,
        ("==", "<"): a < b,
        ("==", "<="): a <= b,
    }
    return table.get((mine.sign, its.sign), False)
