"""What the CEL checker lets pass and a policy must not: ways of saying something that silently never holds.

Judged on the checked syntax tree of one condition: fields that may be absent and are used without `has()`, values that
an enum or a pattern can never have, untyped values that are compared without being converted, literals that are no
regular expression, duration or time, numbers with more digits than can be compared.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from roadworthy.contract import literals
from roadworthy.contract.exact import MAX_DIGITS
from roadworthy.contract.messages import is_map, may_be_absent, spoken
from roadworthy.contract.names import did_you_mean
from roadworthy.contract.shapes import Shape
from roadworthy.contract.syntax import Node

Path = tuple[str, ...]
_COMPARISONS = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"})
_CONVERSIONS = frozenset({"string", "int", "double", "bool", "timestamp", "duration", "type", "size"})
_TEXT_TESTS = frozenset({"startsWith", "endsWith", "contains", "matches"})
_ZONED = re.compile(r"timestamp_to_\w+")
_ANY = Shape(type="any")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something unsound, at a place in the condition counted from 0."""

    at: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What was learnt about a condition."""

    faults: tuple[Fault, ...]
    roots: frozenset[str]
    """The names it reads: `args`, `facts`, `heard`, `now`, `today`, `count`, `sum`, `result`, what `with` binds."""
    fields: Mapping[str, frozenset[str] | None]
    """By variable, the fields that are read of it; None where it is used as a whole."""
    vacuous: tuple[str, ...]
    """Each `x.all(…)` that is true of an empty list, with nothing beside it that asks for an item."""
    empty: tuple[Empty, ...]
    """The same with its place and what it does there, but for lists that are never empty."""
    constant: bool
    """It reads nothing, and so holds always or never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty:
    """An `x.all(…)` that is true of an empty list, and so makes the whole condition true or false."""

    at: int
    text: str
    over: str
    """The list, as it is written."""
    makes: frozenset[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What is known of a value."""

    shape: Shape | None = None
    path: Path | None = None
    """How to find it again, from a variable down; None where it cannot be named."""
    constants: tuple[Any, ...] | None = None
    """All values that it can have, where they stand in the condition."""


@dataclass(kw_only=True)
class _Examiner:
    text: str
    variables: Mapping[str, Shape]
    zone: str
    faults: list[Fault] = field(default_factory=list[Fault])
    roots: set[str] = field(default_factory=set[str])
    fields: dict[str, set[str] | None] = field(default_factory=dict[str, set[str] | None])
    items: dict[str, _Seen] = field(default_factory=dict[str, _Seen])
    """What loops call their item."""

    def wrong(self, node: Node, text: str) -> None:
        fault = Fault(at=node.at, text=text)
        if fault not in self.faults:
            self.faults.append(fault)

    # values --------------------------------------------------------------------------------------------------------

    def see(self, node: Node, known: frozenset[Path], *, guarded: bool = True, whole: bool = True) -> _Seen:
        """Judge a node and all below it. `known`: what is certainly there. `guarded=False`: it may be absent here.

        `whole=False`: only a field of it is read.
        """
        if node.kind == "const":
            self.constant(node)
            return _Seen(constants=(node.value,))
        if node.kind == "name":
            return self.named(node, whole=whole)
        if node.kind == "select":
            return self.select(node, known, guarded=guarded)
        if node.kind == "has":
            self.has(node, known)
            return _Seen()
        if node.kind == "loop":
            return self.loop(node, known)
        if node.kind == "list":
            seen = [self.see(part, known) for part in node.parts]
            for part in node.parts:
                self.typed(part, "stand in a list")
            if "dyn" in node.type and node.parts:
                self.wrong(node, "the items of this list are of several types; write items of one type")
            return _Seen(constants=_all_constants(seen))
        if node.kind == "map":
            keys = [self.see(part, known) for part in node.parts[::2]]
            for part in node.parts[1::2]:
                self.see(part, known)
            if "dyn" in node.type and node.parts:
                self.wrong(node, "the entries of this map are of several types; write keys and values of one type each")
            return _Seen(constants=_all_constants(keys))
        if node.kind == "message":
            self.wrong(node, f"{node.name} {{…}} makes a new value; a condition only looks at what there is")
            return _Seen()
        return self.call(node, known)

    def constant(self, node: Node) -> None:
        if node.type != "double":
            return
        written = re.match(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?", self.text[node.at :])
        digits = len(re.sub(r"[eE].*|\D", "", written[0]).strip("0")) if written else 0
        if not math.isfinite(node.value) or digits > MAX_DIGITS:
            shown = written[0] if written else str(node.value)
            self.wrong(node, f"{shown} has more digits than can be compared exactly; write at most {MAX_DIGITS}")

    def named(self, node: Node, *, whole: bool) -> _Seen:
        if node.name in self.items:
            return self.items[node.name]
        if node.type == "type":  # the name of a type, as in `type(x) == string`
            return _Seen()
        self.roots.add(node.name.split(".", 1)[0])
        if whole:
            self.fields[node.name] = None
        else:
            self.fields.setdefault(node.name, set())
        return _Seen(shape=self.variables.get(node.name), path=(node.name,))

    def select(self, node: Node, known: frozenset[Path], *, guarded: bool) -> _Seen:
        (operand,) = node.parts
        owner = self.see(operand, known, guarded=guarded, whole=False)
        self.read(operand, node.name)
        seen = _field_of(owner, node.name)
        if (
            guarded
            and seen.shape is not None
            and owner.shape is not None
            and not is_map(owner.shape)
            and may_be_absent(seen.shape)
            and (seen.path is None or seen.path not in known)
        ):
            name = _written(node)
            what = "null" if seen.shape.nullable and not seen.shape.optional else "missing"
            self.wrong(
                node, f"{name} may be {what}; write has({name}) && … (or !has({name}) || …) around what is said of it"
            )
        return seen

    def read(self, operand: Node, name: str) -> None:
        if operand.kind == "name" and operand.name not in self.items:
            fields = self.fields.get(operand.name)
            if fields is not None:
                fields.add(name)

    def has(self, node: Node, known: frozenset[Path]) -> None:
        (operand,) = node.parts
        owner = self.see(operand, known, guarded=False, whole=False)
        self.read(operand, node.name)
        shape = _field_of(owner, node.name).shape
        if shape is None or may_be_absent(shape) or owner.shape is None or is_map(owner.shape):
            return
        if shape.type == "array" or is_map(shape):
            name = _written(node)
            self.wrong(
                node, f"has({name}) is false of an empty list, and {name} is always there; write size({name}) > 0"
            )

    def typed(self, node: Node, use: str) -> None:
        """A value without a type must be converted first: compared as it is, it may silently never match."""
        if _untyped(node.type):
            name = _written(node)
            self.wrong(
                node,
                f"the contract gives {name} no type, so it cannot {use} as it is; "
                f"declare its type, or convert it: string({name}), double({name})",
            )

    # calls ---------------------------------------------------------------------------------------------------------

    def call(self, node: Node, known: frozenset[Path]) -> _Seen:
        name, parts = node.name, node.parts
        if name == "_&&_":
            left, right = parts
            self.see(left, known | _there(right, True))
            self.see(right, known | _there(left, True))
            return _Seen()
        if name == "_||_":
            left, right = parts
            self.see(left, known | _there(right, False))
            self.see(right, known | _there(left, False))
            return _Seen()
        if name == "_?_:_":
            asked, yes, no = parts
            self.see(asked, known)
            seen = [self.see(yes, known | _there(asked, True)), self.see(no, known | _there(asked, False))]
            if _untyped(node.type):
                self.wrong(node, "the two results are of different types; make them the same type")
            return _Seen(shape=seen[0].shape or seen[1].shape, constants=_all_constants(seen))
        if name in _COMPARISONS and any(p.type == "null" for p in parts):
            return self.against_null(node, known)
        if name == "_[_]":
            return self.index(node, known)
        seen = [self.see(part, known) for part in parts]
        if name in _CONVERSIONS:
            same = seen[0].shape is not None and seen[0].shape.type == "string"
            self.literal(node)
            return seen[0] if name == "string" and same else _Seen()
        if name == "@in":
            self.typed(parts[0], "be looked for")
            self.membership(node, seen)
            return _Seen()
        for part in parts:
            self.typed(part, "be used")
        if name in _COMPARISONS:
            self.possible(parts[0], seen[0].shape, seen[1].constants, node)
            self.possible(parts[1], seen[1].shape, seen[0].constants, node)
            self.disjoint(node, seen)
        elif name in _TEXT_TESTS:
            self.text_test(node, seen)
        elif name == "total":
            self.total(node, seen)
        elif node.overloads and _ZONED.match(node.overloads[0]):
            self.zoned(node)
        return _Seen()

    def against_null(self, node: Node, known: frozenset[Path]) -> _Seen:
        for part in node.parts:
            if part.type == "null":
                continue
            self.see(part, known, guarded=False)
            if node.name not in ("_==_", "_!=_"):
                self.wrong(node, "null has no order; compare with == or !=, or use has()")
            elif not (part.type.startswith("wrapper(") or _untyped(part.type)) or part.kind == "name":
                self.wrong(node, f"{_written(part)} is never null in a condition; use has({_written(part)})")
        return _Seen()

    def index(self, node: Node, known: frozenset[Path]) -> _Seen:
        of, at = node.parts
        owner = self.see(of, known)
        key = self.see(at, known)
        self.typed(at, "be an index")
        shape = owner.shape
        inner = None if shape is None else shape.extra if is_map(shape) else shape.items
        if of.kind == "map":
            self.possible(at, key.shape, owner.constants, node)
        return _Seen(shape=inner, path=_path(node))

    def membership(self, node: Node, seen: list[_Seen]) -> None:
        (item, among), (needle, hay) = node.parts, seen
        if "dyn" in among.type and not among.type.startswith("map(string"):
            self.wrong(
                among, f"the items of {_written(among)} have no type; write {_written(among)}.exists(x, string(x) == …)"
            )
        self.possible(item, needle.shape, hay.constants, node)
        if hay.shape is not None and hay.shape.type == "array":
            self.possible(among, hay.shape.items, needle.constants, node)

    def possible(self, node: Node, shape: Shape | None, constants: tuple[Any, ...] | None, at: Node) -> None:
        """Every literal must be a value that the other side can have."""
        if shape is None or constants is None:
            return
        for value in constants:
            if value is None:
                continue
            if shape.enum is not None and not any(_same(value, member) for member in shape.enum):
                members = [str(m) for m in shape.enum]
                cure = did_you_mean(str(value), members)
                self.wrong(at, f"{_written(node)} is never {_shown(value)}; {cure}")
            elif (
                shape.pattern is not None
                and isinstance(value, str)
                and at.name in ("_==_", "_!=_", "@in")
                and re.fullmatch(shape.pattern, value) is None
            ):
                self.wrong(at, f"{_written(node)} is never {_shown(value)}; its values look like {shape.pattern}")

    def disjoint(self, node: Node, seen: list[_Seen]) -> None:
        left, right = seen[0].shape, seen[1].shape
        if left is None or right is None or left.enum is None or right.enum is None:
            return
        if not any(_same(a, b) for a in left.enum for b in right.enum):
            names = f"{_written(node.parts[0])} and {_written(node.parts[1])}"
            self.wrong(node, f"{names} have no value in common; compare fields of one meaning")

    def text_test(self, node: Node, seen: list[_Seen]) -> None:
        subject, wanted = seen[0], seen[1]
        constant = wanted.constants[0] if wanted.constants is not None and len(wanted.constants) == 1 else None
        if not isinstance(constant, str):
            return
        if node.name == "matches":
            fault = literals.regex_fault(constant)
            if fault is not None:
                self.wrong(node.parts[1], fault)
                return
        enum = subject.shape.enum if subject.shape is not None else None
        if enum is not None and not any(_passes(str(member), node.name, constant) for member in enum):
            members = ", ".join(str(m) for m in enum)
            self.wrong(node, f"no value of {_written(node.parts[0])} ({members}) {node.name} {_shown(constant)}")

    def literal(self, node: Node) -> None:
        """`duration("7d")` and `timestamp("yesterday")` fail only when they are read: read them now."""
        (part,) = node.parts[:1]
        if (
            part.kind == "const"
            and isinstance(part.value, str)
            and node.name in ("duration", "timestamp", "int", "double", "bool")
        ):
            fault = literals.conversion_fault(node.name, part.value)
            if fault is not None:
                self.wrong(node, fault)

    def zoned(self, node: Node) -> None:
        if len(node.parts) == 2:
            _, zone = node.parts
            if zone.kind == "const" and isinstance(zone.value, str):
                fault = literals.zone_fault(zone.value)
                if fault is not None:
                    self.wrong(zone, fault)
        elif self.zone != "UTC":
            name = "".join(_written(part) for part in node.parts)
            self.wrong(
                node,
                f"{node.name}() without a zone counts in UTC, not in {self.zone}; "
                f'write {name}.{node.name}("{self.zone}")',
            )

    def total(self, node: Node, seen: list[_Seen]) -> None:
        if len(node.parts) < 2:
            return
        named, shape = node.parts[1], seen[0].shape
        items = shape.items if shape is not None else None
        if items is None or items.type != "object" or is_map(items):
            self.wrong(node, f"total adds up a field of a list of objects, and {_written(node.parts[0])} is none")
            return
        if named.kind != "const":
            self.wrong(named, 'the field that total adds up is a literal; write total(list, "field")')
            return
        by_name = {spoken(k, s): s for k, s in items.fields.items()}
        found = by_name.get(str(named.value))
        if found is None:
            self.wrong(named, f"there is no field {named.value!r}; {did_you_mean(str(named.value), by_name)}")
        elif found.type not in ("decimal", "number", "integer"):
            self.wrong(named, f"{named.value} is no number; name a field of type decimal, number or integer")
        elif may_be_absent(found):
            self.wrong(named, f"{named.value} may be missing; total needs a field that every item has")

    # loops ---------------------------------------------------------------------------------------------------------

    def loop(self, node: Node, known: frozenset[Path]) -> _Seen:
        range_, asked, *made = node.parts
        over = self.see(range_, known)
        if _untyped(range_.type) and not range_.type.startswith("dyn"):
            over = _Seen()
        shape = over.shape
        inner = shape.items if shape is not None and shape.type == "array" else None
        item = _Seen(shape=inner, path=(node.variable,), constants=over.constants)
        outer = self.items.get(node.variable)
        self.items[node.variable] = item
        mine = re.compile(rf"(?<![\w.]){re.escape(node.variable)}(?![\w])")
        inside = frozenset(p for p in known if not any(mine.search(step) for step in (p[0], *_indexes(p))))
        self.see(asked, inside)
        for part in made:
            self.see(part, inside | _there(asked, True))
        if outer is None:
            del self.items[node.variable]
        else:
            self.items[node.variable] = outer
        if node.name == "filter":
            return _Seen(shape=shape)
        return _Seen()


def _field_of(owner: _Seen, name: str) -> _Seen:
    path = (*owner.path, name) if owner.path is not None else None
    shape = owner.shape
    if shape is None or shape.type != "object":
        return _Seen(path=path)
    if is_map(shape):
        return _Seen(shape=shape.extra, path=path)
    for key, inner in shape.fields.items():
        if spoken(key, inner) == name:
            return _Seen(shape=inner, path=path)
    return _Seen(path=path)


def _path(node: Node) -> Path | None:
    if node.kind == "name":
        return (node.name,)
    if node.kind in ("select", "has"):
        inner = _path(node.parts[0])
        return None if inner is None else (*inner, node.name)
    if node.kind == "call" and node.name == "_[_]":
        of, at = node.parts
        inner, index = _path(of), (repr(at.value),) if at.kind == "const" else _path(at)
        return None if inner is None or index is None else (*inner, f"[{'.'.join(index)}]")
    return None


def _indexes(path: Path) -> Path:
    return tuple(step for step in path if step.startswith("["))


def _there(node: Node, holds: bool) -> frozenset[Path]:
    """The paths that are certainly there when a condition is true (`holds`) or false."""
    if node.kind == "has":
        path = _path(node)
        # A field that is there lies in an object that is there.
        return frozenset(path[: i + 1] for i in range(len(path))) if holds and path is not None else frozenset()
    if node.kind != "call":
        return frozenset()
    if node.name == "!_":
        return _there(node.parts[0], not holds)
    if node.name in ("_&&_", "_||_"):
        left, right = (_there(part, holds) for part in node.parts)
        return left | right if (node.name == "_&&_") == holds else left & right
    if node.name == "_?_:_":
        asked, yes, no = node.parts
        return (_there(asked, True) | _there(yes, holds)) & (_there(asked, False) | _there(no, holds))
    if node.name in ("_==_", "_!=_") and (node.name == "_!=_") == holds:
        for part, other in (node.parts, node.parts[::-1]):
            path = _path(part)
            if other.type == "null" and part.type.startswith("wrapper(") and path is not None:
                return frozenset({path})
    return frozenset()


def _all_constants(seen: list[_Seen]) -> tuple[Any, ...] | None:
    found: list[Any] = []
    for one in seen:
        if one.constants is None:
            return None
        found.extend(one.constants)
    return tuple(found)


def _same(value: Any, member: Any) -> bool:
    if isinstance(value, str) or isinstance(member, str) or isinstance(value, bool) or isinstance(member, bool):
        return type(value) is type(member) and value == member
    return bool(float(value) == float(member))


def _passes(member: str, test: str, text: str) -> bool:
    if test == "matches":
        return literals.regex(text)(member)
    if test == "contains":
        return text in member
    return member.startswith(text) if test == "startsWith" else member.endswith(text)


def _untyped(type_: str) -> bool:
    return "dyn" in re.findall(r"\w+", type_) or "google.protobuf.Value" in type_


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _written(node: Node) -> str:
    """A node as somebody would write it, as far as it has a name."""
    if node.kind == "name":
        return node.name
    if node.kind in ("select", "has"):
        return f"{_written(node.parts[0])}.{node.name}"
    if node.kind == "const":
        return _shown(node.value)
    if node.kind == "call" and node.name == "_[_]":
        return f"{_written(node.parts[0])}[{_written(node.parts[1])}]"
    if node.kind == "call" and node.name[:1].isalpha():
        return f"{node.name}(…)"
    return "this value"


def _vacuous(node: Node) -> Iterator[tuple[Node, Node]]:
    """Each `all` that an empty list fulfils and nothing beside it asks for an item of, and the list as it is named."""
    asks_for_one = {p for n in node.walk() for p in _asked_for(n)}
    for loop in node.walk():
        if loop.kind != "loop" or loop.name != "all":
            continue
        over = loop.parts[0]
        if over.kind == "list" and over.parts:
            continue
        path = _path(over)
        while over.kind == "loop" and over.name == "filter":
            over = over.parts[0]
        if path is None or path not in asks_for_one:
            yield loop, over


def _all_of(loop: Node, over: Node) -> str:
    return f"{_written(over)}.all({loop.variable}, …)"


_BOTH = frozenset({True, False})


def _makes(node: Node, loop: Node, makes: frozenset[bool]) -> frozenset[bool]:
    """What a part that is true can make of the whole: `makes` is what a true `node` makes of it."""
    if node is loop:
        return makes
    found: frozenset[bool] = frozenset()
    for part in node.parts:
        if node.kind == "call" and node.name == "!_":
            inner = frozenset(not made for made in makes)
        elif node.kind == "call" and (
            node.name in ("_&&_", "_||_") or (node.name == "_?_:_" and part is not node.parts[0])
        ):
            inner = makes
        else:
            inner = _BOTH
        found |= _makes(part, loop, inner)
    return found


def _never_empty(node: Node, variables: Mapping[str, Shape]) -> bool:
    """Whether the contract says that a list has an item."""
    path = _path(node)
    if path is None or path[0] not in variables:
        return False
    shape: Shape | None = variables[path[0]]
    for step in path[1:]:
        shape = shape.fields.get(step) if shape is not None else None
    return shape is not None and (shape.min_items or 0) > 0


def _asked_for(node: Node) -> Iterator[Path]:
    """The lists that something is asked of which an empty one does not fulfil, roughly: their size, an item of them."""
    if node.kind == "call" and node.name == "size":
        path = _path(node.parts[0])
        if path is not None:
            yield path
    if node.kind == "loop" and node.name in ("exists", "exists_one"):
        path = _path(node.parts[0])
        if path is not None:
            yield path
    if node.kind == "has":
        path = _path(node)
        if path is not None:
            yield path
    if node.kind == "name" and node.name.startswith("count."):
        yield ("calls." + node.name.removeprefix("count."),)


def examine(node: Node, *, text: str, variables: Mapping[str, Shape], zone: str) -> Meaning:
    """Everything that is unsound about a checked condition, and what it reads."""
    examiner = _Examiner(text=text, variables=_asked_facts(node, variables), zone=zone)
    examiner.see(node, frozenset())
    examiner.faults.sort(key=lambda fault: fault.at)
    return Meaning(
        faults=tuple(examiner.faults),
        roots=frozenset(examiner.roots),
        fields={name: None if names is None else frozenset(names) for name, names in examiner.fields.items()},
        vacuous=tuple(dict.fromkeys(_all_of(loop, over) for loop, over in _vacuous(node))),
        empty=tuple(
            Empty(
                at=loop.at,
                text=_all_of(loop, over),
                over=_written(over),
                makes=_makes(node, loop, frozenset({True})),
            )
            for loop, over in _vacuous(node)
            if not (over is loop.parts[0] and _never_empty(over, variables))
        ),
        constant=not examiner.roots,
    )


def asked_for(node: Node, variable: str) -> frozenset[str]:
    """The fields of a variable that a condition asks about with `has()`."""
    return frozenset(
        n.name for n in node.walk() if n.kind == "has" and n.parts[0].kind == "name" and n.parts[0].name == variable
    )


def _asked_facts(node: Node, variables: Mapping[str, Shape]) -> Mapping[str, Shape]:
    """A fact that is not given is unknown: whoever asks for it with `has()` must do so wherever the fact is used."""
    facts, asked = variables.get("facts"), asked_for(node, "facts")
    if facts is None or not asked:
        return variables
    fields = {
        key: replace(shape, optional=True, default=None) if spoken(key, shape) in asked else shape
        for key, shape in facts.fields.items()
    }
    return {**variables, "facts": replace(facts, fields=fields)}
