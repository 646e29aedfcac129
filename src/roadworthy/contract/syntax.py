"""The checked syntax tree of a CEL expression, read back from the compiler.

`cel-expr-python` hands out a checked expression only as bytes: a `cel.expr.CheckedExpr`, whose descriptor it does not
ship. The part of it that is read here stands below, after cel/expr/checked.proto and cel/expr/syntax.proto of the CEL
specification (github.com/google/cel-spec).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from cel_expr_python import cel  # pyright: ignore[reportMissingTypeStubs]  # its .pyi lies in the package
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

_PROTO = """
CheckedExpr: 2 reference_map {int64 Reference}, 3 type_map {int64 Type}, 4 expr Expr, 5 source_info SourceInfo
SourceInfo: 4 positions {int64 int32}
Reference: 1 name string, 3 overload_id [string]
Type: 1 dyn Empty, 2 null int32, 3 primitive int32, 4 wrapper int32, 5 well_known int32, 6 list_type ListType, \
7 map_type MapType, 9 message_type string, 10 type_param string, 11 type Type, 12 error Empty, 14 abstract_type Empty
Empty:
ListType: 1 elem_type Type
MapType: 1 key_type Type, 2 value_type Type
Expr: 2 id int64, 3 const_expr Constant, 4 ident_expr Ident, 5 select_expr Select, 6 call_expr Call, \
7 list_expr CreateList, 8 struct_expr CreateStruct, 9 comprehension_expr Comprehension
Constant: 1 null_value int32, 2 bool_value bool, 3 int64_value int64, 4 uint64_value uint64, 5 double_value double, \
6 string_value string, 7 bytes_value bytes
Ident: 1 name string
Select: 1 operand Expr, 2 field string, 3 test_only bool
Call: 1 target Expr, 2 function string, 3 args [Expr]
CreateList: 1 elements [Expr]
CreateStruct: 1 message_name string, 2 entries [Entry]
Entry: 3 map_key Expr, 4 value Expr
Comprehension: 1 iter_var string, 2 iter_range Expr, 3 accu_var string, 4 accu_init Expr, 5 loop_condition Expr, \
6 loop_step Expr, 7 result Expr
"""
_F = descriptor_pb2.FieldDescriptorProto
_SCALARS: Mapping[str, Any] = {
    "int32": _F.TYPE_INT32,
    "int64": _F.TYPE_INT64,
    "uint64": _F.TYPE_UINT64,
    "double": _F.TYPE_DOUBLE,
    "bool": _F.TYPE_BOOL,
    "string": _F.TYPE_STRING,
    "bytes": _F.TYPE_BYTES,
}
_ONE_OF = ("Type", "Expr", "Constant")
_PRIMITIVES = {1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"}
_WELL_KNOWN = {1: "dyn", 2: "timestamp", 3: "duration"}


def _set_type(field_: descriptor_pb2.FieldDescriptorProto, word: str) -> None:
    if word in _SCALARS:
        field_.type = _SCALARS[word]
    else:
        field_.type = _F.TYPE_MESSAGE
        field_.type_name = f".cel.expr.{word}"


@cache
def _checked_expr() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="cel/expr/checked.proto", package="cel.expr", syntax="proto3")
    for line in _PROTO.strip().splitlines():
        name, fields = line.split(":", 1)
        message = file.message_type.add(name=name)
        if name in _ONE_OF:
            message.oneof_decl.add(name="kind")
        for number, field_name, word in re.findall(r"(\d+) (\w+) (\w+|\[\w+\]|\{\w+ \w+\})", fields):
            added = message.field.add(name=field_name, number=int(number), label=_F.LABEL_OPTIONAL)
            if word.startswith("{"):
                key, value = word[1:-1].split()
                entry_name = "".join(part.title() for part in field_name.split("_")) + "Entry"
                entry = message.nested_type.add(name=entry_name)
                entry.options.map_entry = True
                _set_type(entry.field.add(name="key", number=1, label=_F.LABEL_OPTIONAL), key)
                _set_type(entry.field.add(name="value", number=2, label=_F.LABEL_OPTIONAL), value)
                _set_type(added, f"{name}.{entry_name}")
                added.label = _F.LABEL_REPEATED
                continue
            if word.startswith("["):
                added.label = _F.LABEL_REPEATED
            elif name in _ONE_OF and field_name != "id":
                added.oneof_index = 0
            _set_type(added, word.strip("[]"))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("cel.expr.CheckedExpr"))


Kind = Literal["const", "name", "select", "has", "call", "list", "map", "message", "loop"]
Macro = Literal["all", "exists", "exists_one", "map", "filter"]


@dataclass(slots=True, kw_only=True)
class Node:
    """One node of a checked expression."""

    kind: Kind
    type: str
    """The checked type: `bool`, `double`, `list(string)`, `wrapper(double)`, `map(string, dyn)` or a message's name."""
    at: int
    """Where it stands in the text, in characters from 0."""
    value: Any = None
    """Of a constant."""
    name: str = ""
    """Of a variable (`count.billing.refund`), a field, a function, or the macro of a loop."""
    overloads: tuple[str, ...] = ()
    parts: tuple[Node, ...] = ()
    """Operand of select and has; target and arguments of a call; elements; keys and values in turn; for a loop the
    range, then what is asked of each item, then (`map`) what is made of it."""
    variable: str = ""
    """What a loop calls its item."""

    def walk(self) -> Iterator[Node]:
        """Itself and everything below it."""
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass(slots=True, kw_only=True)
class _Reader:
    types: Mapping[int, Any]
    references: Mapping[int, Any]
    positions: Mapping[int, int]
    unknown: list[str] = field(default_factory=list[str])

    def read(self, expr: Any) -> Node:
        kind: str | None = expr.WhichOneof("kind")
        common: dict[str, Any] = {
            "type": _type_word(self.types[expr.id]) if expr.id in self.types else "dyn",
            "at": self.positions.get(expr.id, 0),
        }
        reference = self.references.get(expr.id)
        if kind in ("ident_expr", "select_expr") and reference is not None and reference.name:
            return Node(kind="name", name=reference.name, **common)
        if kind == "const_expr":
            constant = expr.const_expr
            which: str | None = constant.WhichOneof("kind")
            value = None if which in (None, "null_value") else getattr(constant, which)
            return Node(kind="const", value=value, **common)
        if kind == "ident_expr":
            return Node(kind="name", name=expr.ident_expr.name, **common)
        if kind == "select_expr":
            select = expr.select_expr
            part = self.read(select.operand)
            return Node(kind="has" if select.test_only else "select", name=select.field, parts=(part,), **common)
        if kind == "call_expr":
            call = expr.call_expr
            parts = [self.read(call.target)] if call.HasField("target") else []
            parts += [self.read(arg) for arg in call.args]
            overloads = tuple(reference.overload_id) if reference is not None else ()
            return Node(kind="call", name=call.function, overloads=overloads, parts=tuple(parts), **common)
        if kind == "list_expr":
            return Node(kind="list", parts=tuple(self.read(e) for e in expr.list_expr.elements), **common)
        if kind == "struct_expr":
            struct = expr.struct_expr
            if struct.message_name:
                return Node(kind="message", name=struct.message_name, **common)
            pairs = [self.read(part) for entry in struct.entries for part in (entry.map_key, entry.value)]
            return Node(kind="map", parts=tuple(pairs), **common)
        return self.loop(expr.comprehension_expr, common)

    def loop(self, loop: Any, common: dict[str, Any]) -> Node:
        """The macro behind a comprehension, told by how it goes on from item to item."""
        range_, step = self.read(loop.iter_range), self.read(loop.loop_step)
        macro: Macro | None = None
        parts: tuple[Node, ...] = ()
        accumulator = step.parts[0] if step.kind == "call" and step.parts else None
        if step.kind == "call" and accumulator is not None:
            onto = accumulator.kind == "name" and accumulator.name == loop.accu_var
            if step.name == "_&&_" and onto:
                macro, parts = "all", step.parts[1:]
            elif step.name == "_||_" and onto:
                macro, parts = "exists", step.parts[1:]
            elif step.name == "_+_" and onto and step.parts[1].kind == "list":
                macro, parts = "map", (_TRUE, *step.parts[1].parts)
            elif step.name == "_?_:_" and step.parts[1].kind == "call" and step.parts[1].name == "_+_":
                asked, added = step.parts[0], step.parts[1].parts[1]
                if added.kind == "const":
                    macro, parts = "exists_one", (asked,)
                elif added.kind == "list":
                    (made,) = added.parts
                    same = made.kind == "name" and made.name == loop.iter_var
                    macro, parts = ("filter", (asked,)) if same else ("map", (asked, made))
        if macro is None:
            self.unknown.append(loop.iter_var)
            macro, parts = "map", (_TRUE, step)
        return Node(kind="loop", name=macro, variable=loop.iter_var, parts=(range_, *parts), **common)


_TRUE = Node(kind="const", type="bool", at=0, value=True)


def _type_word(type_: Any) -> str:
    kind: str | None = type_.WhichOneof("kind")
    if kind == "primitive":
        return _PRIMITIVES.get(type_.primitive, "dyn")
    if kind == "wrapper":
        return f"wrapper({_PRIMITIVES.get(type_.wrapper, 'dyn')})"
    if kind == "well_known":
        return _WELL_KNOWN.get(type_.well_known, "dyn")
    if kind == "list_type":
        return f"list({_type_word(type_.list_type.elem_type)})"
    if kind == "map_type":
        return f"map({_type_word(type_.map_type.key_type)}, {_type_word(type_.map_type.value_type)})"
    if kind == "message_type":
        return str(type_.message_type)
    return {"null": "null", "type": "type"}.get(kind or "", "dyn")


def read(expression: cel.Expression) -> Node:
    """The syntax tree of a compiled expression. Raises ValueError for a construct that is not known here."""
    wrapped = any_pb2.Any.FromString(expression.serialize())
    checked = _checked_expr().FromString(wrapped.value)
    reader = _Reader(
        types=dict(checked.type_map),
        references=dict(checked.reference_map),
        positions=dict(checked.source_info.positions),
    )
    node = reader.read(checked.expr)
    if reader.unknown:
        raise ValueError(f"the macro over {', '.join(reader.unknown)} is not known")
    return node
