"""A checked condition as a Python function, for the part of CEL that Python says in the same words.

CEL stays the only language: its compiler has typed every node before this file sees it, and whatever the Python
function does not settle without an exception is asked of CEL itself. So the function needs to be right only where no
error is involved, and there both give the same answer, which a differential property test holds. Regular expressions
are always matched by CEL's own engine (RE2), once per text.

Python's short circuit can be one-sided because of that rule: `error || true` raises here, and CEL answers true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

from roadworthy.contract import exact, literals
from roadworthy.contract.messages import is_map, may_be_absent, spoken
from roadworthy.contract.shapes import Shape
from roadworthy.contract.syntax import Node

Fast = Callable[[Any], bool]


class Unsettled(Exception):
    """CEL must be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a variable is found in a binding, as a Python expression over `b`."""

    code: str
    shape: Shape


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    raise Unsettled


def _integer(value: Any) -> int:
    if type(value) is int and -9223372036854775808 <= value <= 9223372036854775807:
        return value
    raise Unsettled


def _decimal(value: Any) -> Decimal:
    if type(value) is Decimal:
        return exact.fits(value)
    raise Unsettled


def _number(value: Any) -> float:
    if type(value) is float or type(value) is int:
        number = float(value)
        if number - number == 0.0:
            return number
    raise Unsettled


def _boolean(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise Unsettled


def _list(value: Any) -> Sequence[Any]:
    if type(value) is list or type(value) is tuple:
        return cast("Sequence[Any]", value)
    raise Unsettled


def _map(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    raise Unsettled


def _at(items: Sequence[Any], index: int) -> Any:
    if index < 0:
        raise Unsettled
    return items[index]


def _has(value: Any, keys: tuple[str, ...]) -> bool:
    for key in keys:
        if not isinstance(value, Mapping):
            raise Unsettled
        value = cast("Mapping[str, Any]", value).get(key)
        if value is None:
            return False
    return len(cast("Sequence[Any]", value)) > 0 if isinstance(value, list | tuple) else True


def _has_required(value: Any, keys: tuple[str, ...]) -> bool:
    """The same of a field that is there whenever its object is: without it the value is not what it should be."""
    *way, last = keys
    if way and not _has(value, tuple(way)):
        return False
    for key in way:
        value = value[key]
    if value[last] is None:
        raise Unsettled
    return True


_NAMES: Mapping[str, Any] = {
    "__builtins__": {"any": any, "all": all, "sum": sum, "len": len, "float": float},
    "S": _text,
    "I": _integer,
    "D": _decimal,
    "N": _number,
    "B": _boolean,
    "L": _list,
    "M": _map,
    "AT": _at,
    "H": _has,
    "R": _has_required,
    "EXACT": exact.decimal_of,
    "ADD": exact.add,
    "SUB": exact.sub,
    "MUL": exact.mul,
    "TOTAL": exact.total,
    "Z": Decimal(0),
}
_OPERATORS = {"_==_": "==", "_!=_": "!=", "_<_": "<", "_<=_": "<=", "_>_": ">", "_>=_": ">="}
_ARITHMETIC = {"_+_": "+", "_-_": "-", "_*_": "*"}
_READ = {
    "string": ("S", "str"),
    "integer": ("I", "int"),
    "decimal": ("D", "dec"),
    "number": ("N", "flt"),
    "boolean": ("B", "bool"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    code: str
    kind: str
    """`bool`, `int`, `str`, `dec` (Decimal), `flt` (float), `num` (a literal that is either), `obj`, `list`, `map`."""
    shape: Shape | None = None
    value: Any = None
    """Of a literal."""


@dataclass(kw_only=True)
class _Writer:
    sources: Mapping[str, Source]
    names: dict[str, Any] = field(default_factory=lambda: dict(_NAMES))
    items: dict[str, _Code] = field(default_factory=dict[str, _Code])
    used: int = 0

    def name(self, value: Any) -> str:
        """A name in the function for a value of any kind, so that no text of a contract becomes code."""
        name = f"k{len(self.names)}"
        self.names[name] = value
        return name

    def read(self, code: str, shape: Shape | None) -> _Code:
        if shape is None:
            raise Unsettled
        if shape.type in _READ:
            reader, kind = _READ[shape.type]
            return _Code(code=f"{reader}({code})", kind=kind, shape=shape)
        if shape.type == "array":
            return _Code(code=f"L({code})", kind="list", shape=shape)
        if is_map(shape):
            return _Code(code=f"M({code})", kind="map", shape=shape)
        if shape.type == "object":
            return _Code(code=code, kind="obj", shape=shape)
        raise Unsettled

    def bool(self, node: Node) -> str:
        made = self.make(node)
        if made.kind != "bool":
            raise Unsettled
        return made.code

    def text(self, node: Node) -> str:
        made = self.make(node)
        if made.kind != "str":
            raise Unsettled
        return made.code

    def make(self, node: Node) -> _Code:
        if node.kind == "const":
            return self.constant(node)
        if node.kind == "name":
            if node.name in self.items:
                return self.items[node.name]
            source = self.sources.get(node.name)
            if source is None:
                raise Unsettled
            return self.read(source.code, source.shape)
        if node.kind == "select":
            return self.select(self.make(node.parts[0]), node.name)
        if node.kind == "has":
            return self.has(node)
        if node.kind == "loop":
            return self.loop(node)
        if node.kind == "call":
            return self.call(node)
        raise Unsettled

    def constant(self, node: Node) -> _Code:
        if node.type == "double":
            return _Code(code="", kind="num", value=node.value)
        kind = {"bool": "bool", "int": "int", "string": "str", "null": "null"}.get(node.type)
        if kind is None:
            raise Unsettled
        return _Code(code=self.name(node.value), kind=kind, value=node.value)

    def select(self, owner: _Code, name: str) -> _Code:
        if owner.shape is None or owner.kind not in ("obj", "map"):
            raise Unsettled
        if owner.kind == "map":
            return self.read(f"{owner.code}[{self.name(name)}]", owner.shape.extra)
        for key, shape in owner.shape.fields.items():
            if spoken(key, shape) == name:
                return self.read(f"{owner.code}[{self.name(key)}]", shape)
        raise Unsettled

    def has(self, node: Node) -> _Code:
        """`H(root, (key, key))`: nothing on the way needs to be there."""
        keys: list[str] = []
        names = [node.name]
        operand = node.parts[0]
        while operand.kind == "select":
            names.append(operand.name)
            operand = operand.parts[0]
        root = self.make(operand)
        shape = root.shape
        if shape is None or root.kind not in ("obj", "map"):
            raise Unsettled
        # A fact that is not given is unknown, whatever the contract says.
        required = not (operand.kind == "name" and operand.name == "facts" and len(names) == 1)
        for name in reversed(names):
            if is_map(shape):
                inner = shape.extra
                if name is not names[0] or inner is None or may_be_absent(inner) or inner.type in ("any", "array"):
                    raise Unsettled
                keys.append(name)
                shape, required = inner, False
                break
            key = next((k for k, s in shape.fields.items() if spoken(k, s) == name), None)
            if key is None:
                raise Unsettled
            keys.append(key)
            shape = shape.fields[key]
        if shape.type == "any" or is_map(shape):
            raise Unsettled  # CEL asks whether these hold anything, each in its own way
        function = "R" if required and not may_be_absent(shape) else "H"
        return _Code(code=f"{function}({root.code}, {self.name(tuple(keys))})", kind="bool")

    # loops ---------------------------------------------------------------------------------------------------------

    def loop(self, node: Node) -> _Code:
        if node.name not in ("all", "exists", "exists_one", "filter"):
            raise Unsettled
        over = self.make(node.parts[0])
        self.used += 1
        variable = f"v{self.used}"
        if over.kind == "list" and over.shape is not None:
            if over.shape.items is not None and over.shape.items.nullable:
                raise Unsettled
            item = self.read(variable, over.shape.items)
        elif over.kind == "map" and node.name != "filter":
            item = _Code(code=f"S({variable})", kind="str")
        else:
            raise Unsettled
        outer = self.items.get(node.variable)
        self.items[node.variable] = item
        asked = self.bool(node.parts[1])
        if outer is None:
            del self.items[node.variable]
        else:
            self.items[node.variable] = outer
        if node.name == "filter":
            return _Code(code=f"[{variable} for {variable} in {over.code} if {asked}]", kind="list", shape=over.shape)
        if node.name == "exists_one":
            return _Code(code=f"(sum([{asked} for {variable} in {over.code}]) == 1)", kind="bool")
        function = "all" if node.name == "all" else "any"
        return _Code(code=f"{function}({asked} for {variable} in {over.code})", kind="bool")

    # calls ---------------------------------------------------------------------------------------------------------

    def call(self, node: Node) -> _Code:
        name, parts = node.name, node.parts
        if name == "_&&_" or name == "_||_":
            word = "and" if name == "_&&_" else "or"
            return _Code(code=f"({self.bool(parts[0])} {word} {self.bool(parts[1])})", kind="bool")
        if name == "!_":
            return _Code(code=f"(not {self.bool(parts[0])})", kind="bool")
        if name in _OPERATORS:
            return self.compare(_OPERATORS[name], parts[0], parts[1])
        if name == "@in":
            return self.membership(parts[0], parts[1])
        if name == "size":
            of = self.make(parts[0])
            if of.kind not in ("str", "list", "map"):
                raise Unsettled
            return _Code(code=f"len({of.code})", kind="int")
        if name == "contains":
            return _Code(code=f"({self.text(parts[1])} in {self.text(parts[0])})", kind="bool")
        if name in ("startsWith", "endsWith"):
            return _Code(code=f"{self.text(parts[0])}.{name.lower()}({self.text(parts[1])})", kind="bool")
        if name == "matches" and parts[1].kind == "const":
            return _Code(code=f"{self.name(literals.regex(parts[1].value))}({self.text(parts[0])})", kind="bool")
        if name == "_[_]":
            return self.index(parts[0], parts[1])
        if name == "_?_:_":
            return self.choice(parts)
        if name in ("add", "sub", "mul"):
            left, right = (self.decimal(self.make(p)) for p in parts)
            return _Code(code=f"{name.upper()}({left}, {right})", kind="dec")
        if name == "total" and len(parts) == 2:
            return self.total(parts[0], parts[1])
        if name in _ARITHMETIC:
            return self.arithmetic(_ARITHMETIC[name], parts)
        if name == "string" and parts[0].type == "string":
            return self.make(parts[0])
        if name == "double" and parts[0].type == "int":
            made = self.make(parts[0])
            return _Code(code=f"float({made.code})", kind="flt")
        raise Unsettled

    def decimal(self, made: _Code) -> str:
        """The operand of exact arithmetic."""
        if made.kind == "num":
            return self.name(exact.decimal_of(made.value))
        if made.kind == "dec":
            return made.code
        if made.kind == "flt":
            return f"EXACT({made.code})"
        raise Unsettled

    def same_kind(self, left: _Code, right: _Code) -> tuple[str, str]:
        """Both sides as values that Python compares as CEL compares doubles."""
        kinds = {left.kind, right.kind}
        if kinds <= {"dec", "num"} and "dec" in kinds:
            return self.decimal(left), self.decimal(right)
        if kinds <= {"dec", "flt", "num"}:
            return self.float(left), self.float(right)
        if len(kinds) == 1 and left.kind in ("int", "str", "bool"):
            return left.code, right.code
        raise Unsettled

    def float(self, made: _Code) -> str:
        if made.kind == "num":
            return self.name(made.value)
        return f"float({made.code})" if made.kind == "dec" else made.code

    def compare(self, operator: str, left_node: Node, right_node: Node) -> _Code:
        if "null" in (left_node.type, right_node.type):
            raise Unsettled
        left, right = self.make(left_node), self.make(right_node)
        if left.kind == "list" and right.kind == "list":
            one, other = (self.texts(made) for made in (left, right))
            return _Code(code=f"({one} {operator} {other})", kind="bool")
        one, other = self.same_kind(left, right)
        return _Code(code=f"({one} {operator} {other})", kind="bool")

    def texts(self, made: _Code) -> str:
        """A list of text as a Python list."""
        items = made.shape.items if made.shape is not None else None
        if items is None or items.type != "string" or items.nullable:
            raise Unsettled
        self.used += 1
        return f"[S(v{self.used}) for v{self.used} in {made.code}]"

    def membership(self, item_node: Node, among: Node) -> _Code:
        item = self.make(item_node)
        if among.kind == "list":
            members = [self.make(part) for part in among.parts]
            if not members:
                raise Unsettled
            if item.kind in ("str", "int") and all(m.kind == item.kind and m.value is not None for m in members):
                return _Code(code=f"({item.code} in {self.name(frozenset(m.value for m in members))})", kind="bool")
            tests = [self.same_kind(item, member) for member in members]
            return _Code(code="(" + " or ".join(f"{a} == {b}" for a, b in tests) + ")", kind="bool")
        hay = self.make(among)
        if hay.kind == "map" and item.kind == "str":
            return _Code(code=f"({item.code} in {hay.code})", kind="bool")
        if hay.kind == "list" and item.kind == "str":
            return _Code(code=f"({item.code} in {self.texts(hay)})", kind="bool")
        raise Unsettled

    def index(self, of: Node, at: Node) -> _Code:
        owner, key = self.make(of), self.make(at)
        if owner.shape is None:
            raise Unsettled
        if owner.kind == "list" and key.kind == "int":
            return self.read(f"AT({owner.code}, {key.code})", owner.shape.items)
        if owner.kind == "map" and key.kind == "str":
            return self.read(f"{owner.code}[{key.code}]", owner.shape.extra)
        raise Unsettled

    def choice(self, parts: Sequence[Node]) -> _Code:
        asked, yes, no = self.bool(parts[0]), self.make(parts[1]), self.make(parts[2])
        if yes.kind == no.kind == "num":
            return _Code(code=f"({self.decimal(yes)} if {asked} else {self.decimal(no)})", kind="dec")
        one, other = self.same_kind(yes, no)
        kind = yes.kind
        if kind in ("num", "dec", "flt"):
            kind = "flt" if "flt" in (yes.kind, no.kind) else "dec"
        return _Code(code=f"({one} if {asked} else {other})", kind=kind)

    def total(self, of: Node, named: Node) -> _Code:
        over = self.make(of)
        if over.kind != "list" or over.shape is None or over.shape.items is None:
            raise Unsettled
        self.used += 1
        variable = f"v{self.used}"
        item = self.select(_Code(code=variable, kind="obj", shape=over.shape.items), str(named.value))
        one = item.code if item.kind == "dec" else f"EXACT({item.code})"
        return _Code(code=f"TOTAL([{one} for {variable} in {over.code}])", kind="dec")

    def arithmetic(self, operator: str, parts: Sequence[Node]) -> _Code:
        made = [self.make(part) for part in parts]
        kinds = {m.kind for m in made}
        if kinds == {"int"}:
            return _Code(code=f"I({made[0].code} {operator} {made[1].code})", kind="int")
        if kinds == {"str"} and operator == "+":
            return _Code(code=f"({made[0].code} + {made[1].code})", kind="str")
        raise Unsettled


def compile_fast(node: Node, sources: Mapping[str, Source]) -> Fast | None:
    """The condition as a function of a binding, or None where it holds something that only CEL says.

    The function returns True or False, or raises anything at all, whereupon CEL is to be asked.
    """
    writer = _Writer(sources=sources)
    try:
        code = writer.bool(node)
        return cast("Fast", eval(compile(f"lambda b: {code}", "<condition>", "eval"), writer.names))
    except (Unsettled, ArithmeticError, SyntaxError, RecursionError, MemoryError, ValueError):
        return None
