"""Conditions: CEL over typed values, compiled when the contract is loaded.

The names that a condition may use, by where it stands:

    rules          args, facts, heard, now, today, count.TOOL, sum.TOOL.ARG, what `with` binds
    fails_when     args, result, text (the result as the model would read it)
    needs.where    args, result
    done_when      args, result
    success check  facts, heard, now, today, count.TOOL, sum.TOOL.ARG, calls.TOOL (a list of {args, result})
    trust.when     item

`add`, `sub`, `mul` and `total` are exact in Decimal. Whatever could silently never hold is refused here (`soundness`);
what goes wrong at run time raises ConditionError, which denies: CEL hands errors back as values that Python takes for
true, so a result counts only when it *is* True or False.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Any, cast
from zoneinfo import ZoneInfo

import orjson
from cel_expr_python import cel  # pyright: ignore[reportMissingTypeStubs]  # its .pyi lies in the package

from roadworthy.contract import exact
from roadworthy.contract.cel_errors import explain
from roadworthy.contract.fastpath import Fast, Source, compile_fast
from roadworthy.contract.messages import Convert, Types, Unfit
from roadworthy.contract.model import Contract, Rule, ToolSet
from roadworthy.contract.shapes import Shape, Shapes
from roadworthy.contract.soundness import Empty, asked_for, examine
from roadworthy.contract.syntax import read
from roadworthy.core.errors import ContractError, Finding

Path = tuple[str | int, ...]
RESERVED = frozenset({"args", "facts", "heard", "now", "today", "count", "sum", "result", "text", "item", "calls"})
"""Names that `with` cannot bind."""

_STRING, _INTEGER, _DECIMAL = Shape(type="string"), Shape(type="integer"), Shape(type="decimal")
_ZERO = Decimal(0)
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NO_SUMS: Mapping[tuple[str, str], Decimal] = MappingProxyType({})


class ConditionError(Exception):
    """A condition came to no answer. Whoever asked must take the safe side: deny."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        """`condition_value`: a value was missing or of another type; `condition_error`: CEL reported an error."""
        self.text = text


class Binding:
    """The values that the conditions of one action look at. Nothing is converted before a condition wants it."""

    __slots__ = ("args", "calls", "counts", "facts", "given", "heard", "now", "result", "sums", "tool", "zone")

    def __init__(
        self,
        tool: str | None,
        zone: str,
        args: Mapping[str, Any] = _NOTHING,
        facts: Mapping[str, Any] = _NOTHING,
        heard: str = "",
        now: datetime | None = None,
        counts: Mapping[str, int] = _NOTHING,
        sums: Mapping[tuple[str, str], Decimal] = _NO_SUMS,
        given: Mapping[str, Any] = _NOTHING,
        result: Any = None,
        calls: Mapping[str, Sequence[Mapping[str, Any]]] = _NOTHING,
    ) -> None:
        self.tool = tool
        self.zone = zone
        self.args = args
        self.facts = facts
        self.heard = heard
        self.now = now
        self.counts = counts
        self.sums = sums
        self.given = given
        self.result = result
        self.calls = calls

    @property
    def today(self) -> str:
        """The day in the contract's zone, such as `2026-03-31`."""
        if self.now is None:
            raise Unfit("it is not known what time it is")
        return self.now.astimezone(zone_of(self.zone)).date().isoformat()

    @property
    def text(self) -> str:
        """The result as text: as it is, else as JSON."""
        if isinstance(self.result, str):
            return self.result
        try:
            return orjson.dumps(self.result, default=_as_json, option=orjson.OPT_NON_STR_KEYS).decode()
        except (TypeError, ValueError):
            return str(self.result)

    def whole(self, tool: str, arg: str) -> int:
        """The sum of an integer argument."""
        return int(self.sums.get((tool, arg), _ZERO))


def _as_json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value).__name__} is no JSON")


# what a condition may name ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Variable:
    """One name that a condition may use."""

    shape: Shape
    """What it is, for the examination of the condition."""
    type: cel.Type
    fetch: Callable[[Binding], Any]
    """The value in a binding. KeyError, AttributeError or Unfit where there is none."""
    convert: Convert
    """The value as CEL wants it."""
    code: str | None = None
    """Where the fast path finds it; None where only CEL reads it."""
    fields: Callable[..., Any] | None = None
    """Builds an object with named fields, filled only as far as the condition reads it."""


@dataclass(kw_only=True)
class Scope:
    """The names that conditions at one place may use, and the CEL environment that knows them."""

    variables: Mapping[str, _Variable]
    types: Types
    zone: str
    place: str
    """For messages: `a rule`, `fails_when`."""
    _env: cel.Env | None = None

    @property
    def env(self) -> cel.Env:
        if self._env is None:
            self._env = cel.NewEnv(
                descriptor_pool=self.types.pool,
                config=_config(),
                variables={name: v.type for name, v in self.variables.items()},
                functions=list(_functions()),
            )
        return self._env


_EXCLUDED: Mapping[str, tuple[str, ...]] = {
    "_+_": ("add_double",),
    "_-_": ("subtract_double",),
    "_*_": ("multiply_double",),
    "_/_": ("divide_double",),
    "string": ("double_to_string",),
    "dyn": ("to_dyn",),
}
"""What the environment leaves out: inexact arithmetic, the text of a double, and the way round the type checker."""


@cache
def _config() -> cel.EnvConfig:
    lines = ["stdlib:", "  exclude_functions:"]
    for function, overloads in _EXCLUDED.items():
        ids = ", ".join(f"{{id: {overload}}}" for overload in overloads)
        lines.append(f"    - {{name: {function}, overloads: [{ids}]}}")
    return cel.NewEnvConfigFromYaml("\n".join(lines))


def _exactly(function: Callable[[Decimal, Decimal], Decimal]) -> Callable[[float, float], float]:
    def compute(left: float, right: float) -> float:
        try:
            return float(function(exact.decimal_of(left), exact.decimal_of(right)))
        except ArithmeticError:
            raise ValueError(f"{function.__name__}({left!r}, {right!r}) has more than 15 digits") from None

    return compute


def _total_of(items: Sequence[Any], name: str) -> float:
    return _total([getattr(item, name) for item in items])


def _total(values: Sequence[Any]) -> float:
    try:
        return float(exact.total(exact.decimal_of(value) for value in values))
    except ArithmeticError:
        raise ValueError("the total has more than 15 digits") from None


def _functions() -> Iterator[cel.FunctionDecl]:
    double, kind = cel.Type.DOUBLE, cel.Type
    for name, function in (("add", exact.add), ("sub", exact.sub), ("mul", exact.mul)):
        overload = cel.Overload(f"rw_{name}", return_type=double, parameters=[double, double], impl=_exactly(function))
        yield cel.FunctionDecl(name, [overload])
    by_field = cel.Overload(
        "rw_total_field", return_type=double, parameters=[kind.List(kind.DYN), kind.STRING], impl=_total_of
    )
    of_list = cel.Overload("rw_total", return_type=double, parameters=[kind.List(double)], impl=_total)
    yield cel.FunctionDecl("total", [by_field, of_list])


# one expression -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One compiled expression in one scope."""

    text: str
    roots: frozenset[str]
    vacuous: tuple[str, ...]
    empty: tuple[Empty, ...]
    constant: bool
    fast: Fast | None
    expression: cel.Expression
    activation: Callable[[Binding], Any]

    def evaluate(self, binding: Binding) -> bool:
        """True or False. Raises ConditionError for everything else."""
        if self.fast is not None:
            try:
                return self.fast(binding)
            except Exception:  # whatever Python cannot settle, a missing value or a wrong type, CEL is asked
                pass
        return self.ask_cel(binding)

    def ask_cel(self, binding: Binding) -> bool:
        """What CEL says. Raises ConditionError where that is neither true nor false."""
        value: object = self.expression.eval(self.activation(binding)).value()
        if value is True:
            return True
        if value is False:
            return False
        raise ConditionError("condition_error", f"`{self.text}` gave {_reason(value)}")


def _reason(value: object) -> str:
    return f"an error: {value.split(': ', 1)[-1]}" if isinstance(value, str) else repr(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fill:
    """How one variable of one expression is filled."""

    name: str
    fetch: Callable[[Binding], Any]
    convert: Convert


def _activation(scope: Scope, text: str, fills: tuple[_Fill, ...]) -> Callable[[Binding], Any]:
    make = scope.env.Activation

    def activate(binding: Binding) -> Any:
        data: dict[str, Any] = {}
        for fill in fills:
            try:
                data[fill.name] = fill.convert(fill.fetch(binding))
            except Unfit as unfit:
                raise ConditionError("condition_value", f"`{text}` cannot be read: {fill.name}: {unfit}") from None
            except (KeyError, AttributeError):
                raise ConditionError("condition_value", f"`{text}` cannot be read: {fill.name} is not known") from None
        return make(data)

    return activate


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with an expression, at a place counted from 0."""

    at: int | None
    text: str


def compile_text(text: str, scope: Scope, *, of_type: str = "BOOL") -> Program | list[Fault]:
    """One expression in a scope, or everything that is wrong with it."""
    try:
        expression = scope.env.compile(text)
    except RuntimeError as error:
        shapes = {name: variable.shape for name, variable in scope.variables.items()}
        messages = scope.types.by_name
        return [
            Fault(at=at, text=said)
            for at, said in explain(str(error), text=text, names=shapes, messages=messages, place=scope.place)
        ]
    returned = expression.return_type().name()
    if returned != of_type:
        what = "it has no declared type" if returned == "DYN" else f"this is a value of type {returned.lower()}"
        return [Fault(at=None, text=f"a condition is true or false, and {what}; write a comparison")]
    try:
        node = read(expression)
    except ValueError as error:
        return [Fault(at=None, text=f"{error}; write it with all, exists, exists_one, filter or map")]
    shapes = {name: variable.shape for name, variable in scope.variables.items()}
    meaning = examine(node, text=text, variables=shapes, zone=scope.zone)
    if meaning.faults:
        return [Fault(at=fault.at, text=fault.text) for fault in meaning.faults]
    fills: list[_Fill] = []
    for name, fields in meaning.fields.items():
        variable = scope.variables[name]
        convert = variable.convert
        if variable.fields is not None and fields is not None:
            lenient = asked_for(node, "facts") if name == "facts" else frozenset[str]()
            convert = _partly(variable.fields, fields, lenient)
        fills.append(_Fill(name=name, fetch=variable.fetch, convert=convert))
    sources = {
        name: Source(code=variable.code, shape=variable.shape)
        for name, variable in scope.variables.items()
        if variable.code is not None
    }
    return Program(
        text=text,
        roots=meaning.roots,
        vacuous=meaning.vacuous,
        empty=meaning.empty,
        constant=meaning.constant,
        fast=compile_fast(node, sources),
        expression=expression,
        activation=_activation(scope, text, tuple(fills)),
    )


def _partly(build: Callable[..., Any], fields: frozenset[str], lenient: frozenset[str]) -> Convert:
    return lambda value: build(value, only=fields, lenient=lenient)


# the conditions of a contract ---------------------------------------------------------------------------------------


class Condition:
    """A compiled condition. For a rule: `when` holds and `unless` does not, for each of its tools."""

    __slots__ = ("_any", "_by_tool", "roots", "rule", "text", "vacuous")

    def __init__(
        self, *, text: str, rule: str | None, by_tool: Mapping[str | None, tuple[Program | None, Program | None]]
    ) -> None:
        self.text = text
        self.rule = rule
        """The id of the rule it belongs to; None elsewhere."""
        self._by_tool = dict(by_tool)
        self._any = self._by_tool.get(None)
        programs = self.programs
        self.roots: frozenset[str] = frozenset[str]().union(*(p.roots for p in programs))
        """What it reads: `args`, `facts`, `heard`, `now`, `today`, `count`, `sum`, `result`, names bound by `with`."""
        self.vacuous: tuple[str, ...] = tuple(dict.fromkeys(v for p in programs for v in p.vacuous))
        """Each `x.all(…)` in it that is true of an empty list."""

    @property
    def programs(self) -> tuple[Program, ...]:
        """Its compiled expressions, over all tools."""
        return tuple(p for pair in self._by_tool.values() for p in pair if p is not None)

    @property
    def constant(self) -> bool:
        """It reads nothing, and so holds always or never."""
        return all(p.constant for p in self.programs)

    def holds(self, binding: Binding) -> bool:
        """Whether it is true. Raises ConditionError when that cannot be said: a caller denies then.

        An error in `when` or, where `when` is true, in `unless` is an error of the whole: neither hides the other.
        """
        pair = self._by_tool.get(binding.tool) or self._any
        if pair is None:
            raise ConditionError("condition_value", f"`{self.text}` says nothing about {binding.tool}")
        when, unless = pair
        if when is not None:
            fast = when.fast
            if fast is None:
                held = when.ask_cel(binding)
            else:
                try:
                    held = fast(binding)
                except Exception:  # `Program.evaluate`, spelt out: ten of these stand in every decision
                    held = when.ask_cel(binding)
            if not held:
                return False
        return unless is None or not unless.evaluate(binding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """All conditions of one contract."""

    rules: Mapping[str, Condition]
    """By rule; absent where a rule has neither `when` nor `unless` and always holds."""
    fails_when: Mapping[str, Condition]
    success: Mapping[tuple[str, str], Condition]
    """By capability and criterion."""
    needs_where: Mapping[tuple[str, int], Condition]
    done_when: Mapping[str, Condition]
    trust: Mapping[tuple[str, tuple[str, ...]], Condition]
    """By tool and path in its result, as `Shape.walk` gives it: where it is true, the part is trusted."""
    zone: str

    def bind(
        self,
        tool: str,
        *,
        args: Mapping[str, Any],
        facts: Mapping[str, Any],
        heard: str,
        now: datetime,
        counts: Mapping[str, int],
        sums: Mapping[tuple[str, str], Decimal],
        given: Mapping[str, Any],
    ) -> Binding:
        """The values for a tool's rules. All are typed: decimals are Decimal; `given` is keyed `RULE/NAME`."""
        return Binding(tool, self.zone, args, facts, heard, now, counts, sums, given)

    def bind_result(self, tool: str, value: Any, args: Mapping[str, Any]) -> Binding:
        """The values for `fails_when`, `needs.where` and `done_when`. The result is as the tool gave it, or typed."""
        return Binding(tool, self.zone, args, result=value)

    def bind_success(
        self,
        *,
        counts: Mapping[str, int],
        sums: Mapping[tuple[str, str], Decimal],
        calls: Mapping[str, Sequence[Mapping[str, Any]]],
        facts: Mapping[str, Any],
        heard: str,
        now: datetime,
    ) -> Binding:
        """The values for success checks; `calls` holds `{"args": …, "result": …}` by tool, in order."""
        return Binding(None, self.zone, facts=facts, heard=heard, now=now, counts=counts, sums=sums, calls=calls)


@cache
def zone_of(name: str) -> ZoneInfo:
    """The time zone of a name. Raises ZoneInfoNotFoundError."""
    return ZoneInfo(name)


def conditions_of(contract: Contract) -> Conditions:
    """The conditions of a contract, compiled once. Raises ContractError with every finding."""
    found = _KEPT.get(contract.digest)
    if found is None:
        found, findings = compile_conditions(contract, contract.shapes)
        if findings:
            raise ContractError(findings)
        if len(_KEPT) >= _MOST:
            _KEPT.pop(next(iter(_KEPT)))
        _KEPT[contract.digest] = found
    return found


_KEPT: dict[str, Conditions] = {}
_MOST = 64


def compile_conditions(contract: Contract, shapes: Shapes) -> tuple[Conditions, list[Finding]]:
    """All conditions of a contract beside everything that is wrong with them. Names of tools that do not exist are
    passed over: who reads the contract reports them."""
    return _Compiler(contract=contract, shapes=shapes).everything()


@dataclass(kw_only=True)
class _Compiler:
    contract: Contract
    shapes: Shapes
    types: Types = field(default_factory=Types)
    findings: list[Finding] = field(default_factory=list[Finding])
    scopes: dict[Any, Scope] = field(default_factory=dict[Any, Scope])

    def everything(self) -> tuple[Conditions, list[Finding]]:
        contract, shapes = self.contract, self.shapes
        rules: dict[str, Condition] = {}
        for index, rule in enumerate(contract.rules):
            condition = self.rule(index, rule)
            if condition is not None:
                rules[rule.id] = condition
        fails_when: dict[str, Condition] = {}
        needs_where: dict[tuple[str, int], Condition] = {}
        done_when: dict[str, Condition] = {}
        trust: dict[tuple[str, tuple[str, ...]], Condition] = {}
        for name, tool in contract.tools.items():
            if tool.fails_when is not None:
                made = self.single(
                    tool.fails_when, self.result_scope(name, name, text=True), ("tools", name, "fails_when")
                )
                if made is not None:
                    fails_when[name] = made
            for i, need in enumerate(tool.needs):
                if need.where is not None and need.call in shapes.returns:
                    path: Path = ("tools", name, "needs", i, "where")
                    made = self.single(need.where, self.result_scope(name, need.call), path, lets_pass=True)
                    if made is not None:
                        needs_where[name, i] = made
            if tool.lookup is not None and tool.lookup.tool in shapes.returns:
                path = ("tools", name, "lookup", "done_when")
                made = self.single(
                    tool.lookup.done_when, self.result_scope(name, tool.lookup.tool), path, lets_pass=True
                )
                if made is not None:
                    done_when[name] = made
            trust |= self.trust(name)
        success: dict[tuple[str, str], Condition] = {}
        for name, capability in contract.capabilities.items():
            for i, criterion in enumerate(capability.success):
                if criterion.check is not None:
                    path = ("capabilities", name, "success", i, "check")
                    made = self.single(criterion.check, self.success_scope(), path)
                    if made is not None:
                        success[name, criterion.id] = made
        conditions = Conditions(
            rules=rules,
            fails_when=fails_when,
            success=success,
            needs_where=needs_where,
            done_when=done_when,
            trust=trust,
            zone=contract.zone,
        )
        return conditions, self.findings

    # places --------------------------------------------------------------------------------------------------------

    def rule(self, index: int, rule: Rule) -> Condition | None:
        tools = [
            name
            for name, tool in self.contract.tools.items()
            if (tool.effect == rule.tools.effect if isinstance(rule.tools, ToolSet) else name in rule.tools)
        ]
        for name in rule.with_:
            if name in RESERVED:
                self.wrong(
                    ("rules", index, "with", name),
                    f"{name} has a meaning of its own in conditions; choose another name",
                )
        if rule.when is None and rule.unless is None:
            return None
        looks = {
            name: w.call for name, w in rule.with_.items() if name not in RESERVED and w.call in self.shapes.returns
        }
        text = " ".join(t for t in (rule.when, rule.unless) if t is not None)
        alone = not re.search(r"\bargs\b", text)
        by_tool: dict[str | None, tuple[Program | None, Program | None]] = {}
        before = len(self.findings)
        for tool in [None] if alone else tools:
            scope = self.rule_scope(rule.id, tool, looks)
            on = f"for {tool}: " if tool is not None and len(tools) > 1 else ""
            when = self.program(rule.when, scope, ("rules", index, "when"), on, lets_pass=False)
            unless = self.program(rule.unless, scope, ("rules", index, "unless"), on, lets_pass=True)
            by_tool[tool] = (when, unless)
        if len(self.findings) > before or not by_tool:
            return None
        unless_text = f"!({rule.unless})" if rule.unless is not None else None
        parts = [t for t in (rule.when, unless_text) if t is not None]
        return Condition(text=" && ".join(parts), rule=rule.id, by_tool=by_tool)

    def single(self, text: str, scope: Scope, path: Path, *, lets_pass: bool | None = None) -> Condition | None:
        program = self.program(text, scope, path, "", lets_pass=lets_pass)
        return None if program is None else Condition(text=text, rule=None, by_tool={None: (program, None)})

    def program(self, text: str | None, scope: Scope, path: Path, on: str, *, lets_pass: bool | None) -> Program | None:
        """The expression; `lets_pass` is the answer of it that permits something, if any does."""
        if text is None:
            return None
        made = compile_text(text, scope)
        if isinstance(made, Program):
            for empty in made.empty:
                if lets_pass in empty.makes:
                    cure = f"say what an empty one means: size({empty.over}) > 0 && … (or size({empty.over}) == 0 || …)"
                    said = f"{empty.text} is true of an empty list, which would let it pass unseen; {cure}"
                    self.wrong(path, f"{on}{said} (in `{_short(text)}`, at character {empty.at + 1})")
            return made
        for fault in made:
            at = f", at character {fault.at + 1}" if fault.at is not None else ""
            self.wrong(path, f"{on}{fault.text} (in `{_short(text)}`{at})")
        return None

    def wrong(self, path: Path, text: str) -> None:
        self.findings.append(Finding(text=text, path=path, code="condition"))

    def trust(self, tool: str) -> Mapping[tuple[str, tuple[str, ...]], Condition]:
        """`trust: {when: …}` is looked at over `item`, the value that it stands at."""
        found: dict[tuple[str, tuple[str, ...]], Condition] = {}
        returns = self.shapes.returns.get(tool)
        for path, shape in returns.walk() if returns is not None else ():
            if shape.trust_when is not None:
                variable = self.whole("item", shape, lambda b: b.result, "b.result")
                scope = Scope(variables={"item": variable}, types=self.types, zone=self.contract.zone, place="trust")
                place: Path = ("tools", tool, "returns", *path, "trust", "when")
                made = self.single(shape.trust_when, scope, place, lets_pass=True)
                if made is not None:
                    found[tool, path] = made
        return found

    # scopes --------------------------------------------------------------------------------------------------------

    def rule_scope(self, rule: str, tool: str | None, looks: Mapping[str, str]) -> Scope:
        key = ("rule", tool, rule if looks else None)
        if key not in self.scopes:
            variables = {**self.run_variables()}
            if tool is not None:
                variables["args"] = self.args(tool)
            for name, call in looks.items():
                given = f"{rule}/{name}"
                variables[name] = self.whole(name, self.shapes.returns[call], _given(given), f"b.given[{given!r}]")
            self.scopes[key] = Scope(variables=variables, types=self.types, zone=self.contract.zone, place="a rule")
        return self.scopes[key]

    def result_scope(self, tool: str, returned_by: str, *, text: bool = False) -> Scope:
        returns = self.shapes.returns[returned_by]
        result = self.whole("result", returns, _result(returns), "b.result")
        variables = {"args": self.args(tool), "result": result}
        if text:
            variables["text"] = self.whole("text", _STRING, lambda b: b.text, "b.text")
        place = "fails_when" if text else "this place"
        return Scope(variables=variables, types=self.types, zone=self.contract.zone, place=place)

    def success_scope(self) -> Scope:
        if "success" not in self.scopes:
            variables = {**self.run_variables()}
            for name, args in self.shapes.args.items():
                call = Shape(
                    type="object",
                    fields={
                        "args": Shape(type="object", fields=args),
                        "result": self.shapes.returns.get(name) or Shape(type="any", nullable=True),
                    },
                )
                variables[f"calls.{name}"] = self.whole(
                    f"calls.{name}", Shape(type="array", items=call), _calls(name), f"b.calls.get({name!r}, ())"
                )
            self.scopes["success"] = Scope(
                variables=variables, types=self.types, zone=self.contract.zone, place="a success check"
            )
        return self.scopes["success"]

    def run_variables(self) -> Mapping[str, _Variable]:
        """What conditions over a run may name, whatever the tool."""
        variables: dict[str, _Variable] = {
            "heard": self.whole("heard", _STRING, lambda b: b.heard, "b.heard"),
            "today": self.whole("today", Shape(type="string", format="date"), lambda b: b.today, "b.today"),
            "now": _Variable(
                shape=Shape(type="any"), type=cel.Type.TIMESTAMP, fetch=lambda b: b.now, convert=_time, code=None
            ),
        }
        if self.shapes.facts:
            facts = Shape(type="object", fields=self.shapes.facts)
            variables["facts"] = self.whole("facts", facts, lambda b: b.facts, "b.facts")
        for name, args in self.shapes.args.items():
            variables[f"count.{name}"] = self.whole(
                f"count.{name}", _INTEGER, _count(name), f"b.counts.get({name!r}, 0)"
            )
            for arg, shape in args.items():
                known_as = shape.alias or arg
                if shape.type == "integer":
                    code, fetch = f"b.whole({name!r}, {arg!r})", _whole(name, arg)
                    variables[f"sum.{name}.{known_as}"] = self.whole("sum", _INTEGER, fetch, code)
                elif shape.type in ("decimal", "number"):
                    code = f"b.sums.get({(name, arg)!r}, Z)"
                    variables[f"sum.{name}.{known_as}"] = self.whole("sum", _DECIMAL, _sum(name, arg), code)
        return variables

    def args(self, tool: str) -> _Variable:
        shape = Shape(type="object", fields=self.shapes.args[tool])
        return self.whole("args", shape, lambda b: b.args, "b.args")

    def whole(self, name: str, shape: Shape | None, fetch: Callable[[Binding], Any], code: str | None) -> _Variable:
        typed = self.types.typed(shape)
        return _Variable(
            shape=shape or Shape(type="any", nullable=True),
            type=typed.type,
            fetch=fetch,
            convert=typed.convert,
            code=code,
            fields=typed.message.build if typed.message is not None else None,
        )


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "…"


def _time(value: Any) -> Any:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise Unfit("it is not known what time it is")
    return value


def _result(shape: Shape | None) -> Callable[[Binding], Any]:
    """A result that the contract calls an object or a list may come as JSON text."""
    if shape is None or shape.type not in ("object", "array"):
        return lambda b: b.result

    def fetch(binding: Binding) -> Any:
        try:
            return orjson.loads(binding.result) if isinstance(binding.result, str) else binding.result
        except orjson.JSONDecodeError:
            return binding.result

    return fetch


def _given(key: str) -> Callable[[Binding], Any]:
    return lambda b: b.given[key]


def _count(tool: str) -> Callable[[Binding], Any]:
    return lambda b: b.counts.get(tool, 0)


def _sum(tool: str, arg: str) -> Callable[[Binding], Any]:
    return lambda b: b.sums.get((tool, arg), _ZERO)


def _whole(tool: str, arg: str) -> Callable[[Binding], Any]:
    return lambda b: b.whole(tool, arg)


def _calls(tool: str) -> Callable[[Binding], Any]:
    return lambda b: cast("Any", b.calls.get(tool, ()))
