"""Typed values for conditions: shapes as protobuf messages in a pool of their own.

A scalar that is always there has presence all the same (`proto3_optional`), so that `has()` tells the truth about it;
a scalar that may be missing or null is a wrapper, which is null and never zero when it is absent. What no message can
type (`any`, lists of lists) is a `google.protobuf.Value`. Fields whose name is no identifier need `as:`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from cel_expr_python import cel  # pyright: ignore[reportMissingTypeStubs]  # its .pyi lies in the package
from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    message_factory,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)

from roadworthy.contract.exact import decimal_of
from roadworthy.contract.shapes import Shape

Convert = Callable[[Any], Any]
"""A typed value as a condition wants it. Raises Unfit."""

_F = descriptor_pb2.FieldDescriptorProto
_DIGITS = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNSPEAKABLE = frozenset({"true", "false", "null", "in"})
"""Words of CEL that cannot stand behind a point."""
_SCALARS: Mapping[str, tuple[Any, str, cel.Type]] = {
    "string": (_F.TYPE_STRING, "StringValue", cel.Type.STRING),
    "integer": (_F.TYPE_INT64, "Int64Value", cel.Type.INT),
    "number": (_F.TYPE_DOUBLE, "DoubleValue", cel.Type.DOUBLE),
    "decimal": (_F.TYPE_DOUBLE, "DoubleValue", cel.Type.DOUBLE),
    "boolean": (_F.TYPE_BOOL, "BoolValue", cel.Type.BOOL),
}
_WELL_KNOWN = (any_pb2, wrappers_pb2, struct_pb2, timestamp_pb2, duration_pb2)
_WRAPPERS_FILE, _STRUCT_FILE = "google/protobuf/wrappers.proto", "google/protobuf/struct.proto"


class Unfit(ValueError):
    """A value is not of the type that the contract says; the text says which."""


def speakable(name: str) -> bool:
    """Whether a condition can name a field so; else it needs `as:`."""
    return _NAME.fullmatch(name) is not None and name not in _UNSPEAKABLE


def spoken(name: str, shape: Shape) -> str:
    """The name of a field in conditions."""
    return shape.alias or name


def may_be_absent(shape: Shape) -> bool:
    """Whether a field can be missing or null once defaults are filled in."""
    return shape.nullable or (shape.optional and shape.default is None)


def is_map(shape: Shape) -> bool:
    """An object without named fields: a map from any key."""
    return shape.type == "object" and not shape.fields and shape.extra is not None


def _text(value: Any) -> str:
    if type(value) is not str:
        raise Unfit(f"{value!r} is no text")
    return value


def _inline_text(value: Any) -> str:
    """Text that stands in no message. CEL would cut it at a NUL, and a lone surrogate would end the process."""
    text = _text(value)
    if "\0" in text or not _encodable(text):
        raise Unfit("the text holds a NUL or half a character")
    return text


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _integer(value: Any) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise Unfit(f"{value!r} is no whole number of 64 bits")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unfit(f"{value!r} is no number")
    number = float(value)
    if not math.isfinite(number):
        raise Unfit(f"{value!r} is no number that can be compared")
    return number


def _decimal(value: Any) -> float:
    """Arguments come as Decimal; raw results may hold the same amount as a number or as text."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = Decimal(value)
    try:
        return float(decimal_of(value))
    except TypeError:
        raise Unfit(f"{value!r} is no decimal") from None
    except ArithmeticError:
        raise Unfit(f"{value} has more than 15 digits") from None


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise Unfit(f"{value!r} is neither true nor false")
    return value


_CONVERT: Mapping[str, Convert] = {
    "string": _text,
    "integer": _integer,
    "number": _number,
    "decimal": _decimal,
    "boolean": _boolean,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """How one field of a message is typed and filled."""

    key: str
    """In the value."""
    name: str
    """In conditions."""
    word: str
    """Type, label and presence in one word: equal words are equal fields."""
    convert: Convert
    absent: bool
    declare: Callable[[descriptor_pb2.DescriptorProto, descriptor_pb2.FieldDescriptorProto], str | None]
    """Fills in the type; gives the file that it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A protobuf message for an object with named fields."""

    name: str
    make: Callable[..., Any]
    fields: tuple[_Field, ...]
    unspoken: tuple[str, ...] = ()
    """Fields that no condition can name until they are given a name by `as:`."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.fields)

    def build(self, value: Any, *, only: frozenset[str] | None = None, lenient: frozenset[str] = frozenset()) -> Any:
        """The message for a value, filled as far as `only` wants it. Raises Unfit.

        `lenient` names required fields that may be missing all the same, because the condition asks with `has()`.
        """
        if not isinstance(value, Mapping):
            raise Unfit(f"{value!r} is no object with fields")
        given = cast("Mapping[str, Any]", value)
        filled: dict[str, Any] = {}
        for field in self.fields:
            if only is not None and field.name not in only:
                continue
            found = given.get(field.key)
            if found is None:
                if field.absent or field.name in lenient:
                    continue
                raise Unfit(f"{field.name} is missing")
            try:
                filled[field.name] = field.convert(found)
            except Unfit as unfit:
                raise Unfit(f"{field.name}: {unfit}") from None
        try:
            return self.make(**filled)
        except (ValueError, TypeError, UnicodeError) as error:
            raise Unfit(str(error)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """How a whole value (a result, the arguments) is typed and brought into a condition."""

    type: cel.Type
    convert: Convert
    message: Message | None = None
    """Where the value is an object with named fields."""


class Types:
    """The messages of one contract."""

    def __init__(self) -> None:
        self.pool = descriptor_pool.DescriptorPool()
        for module in _WELL_KNOWN:
            self.pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        self._messages: dict[tuple[tuple[str, str, str], ...], Message] = {}
        self.by_name: dict[str, Message] = {}
        self._value: Callable[..., Any] = self._class("google.protobuf.Value")
        self._list: Callable[..., Any] = self._class("google.protobuf.ListValue")
        self._struct: Callable[..., Any] = self._class("google.protobuf.Struct")
        self._wrappers: Mapping[str, Callable[..., Any]] = {
            kind: self._class(f"google.protobuf.{wrapper}") for kind, (_, wrapper, _) in _SCALARS.items()
        }

    def _class(self, name: str) -> Callable[..., Any]:
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def message(self, fields: Mapping[str, Shape]) -> Message:
        """The message for named fields; equal fields give the same message."""
        described = tuple(self._field(key, shape) for key, shape in fields.items() if speakable(spoken(key, shape)))
        signature = tuple((f.key, f.name, f.word) for f in described)
        known = self._messages.get(signature)
        if known is not None:
            return known
        name = f"M{len(self._messages)}"
        file = descriptor_pb2.FileDescriptorProto(name=f"rw/{name}.proto", package="rw", syntax="proto3")
        message = file.message_type.add(name=name)
        message.options.deprecated_legacy_json_field_conflicts = True
        needs: set[str] = set()
        for number, field in enumerate(described, 1):
            added = message.field.add(name=field.name, number=number, label=_F.LABEL_OPTIONAL)
            needed = field.declare(message, added)
            if needed is not None:
                needs.add(needed)
            if added.type != _F.TYPE_MESSAGE and added.label == _F.LABEL_OPTIONAL:
                added.proto3_optional = True
                added.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_rw{number}")
        file.dependency.extend(sorted(needs))
        self.pool.AddSerializedFile(file.SerializeToString())
        unspoken = tuple(key for key, shape in fields.items() if not speakable(spoken(key, shape)))
        made = Message(name=f"rw.{name}", make=self._class(f"rw.{name}"), fields=described, unspoken=unspoken)
        self._messages[signature] = made
        self.by_name[made.name] = made
        return made

    def typed(self, shape: Shape | None) -> Typed:
        """The type of a whole value."""
        if shape is None or shape.type == "any":
            return Typed(type=cel.Type("google.protobuf.Value"), convert=self.value)
        if shape.type == "string":
            return Typed(
                type=cel.Type("google.protobuf.StringValue"),
                convert=self._wrapped("string"),
            )
        if shape.type in _SCALARS:
            return Typed(type=_SCALARS[shape.type][2], convert=_CONVERT[shape.type])
        if shape.type == "array":
            inner = self._inner(shape.items)
            return Typed(type=cel.Type.List(inner.type), convert=_each(inner.convert))
        if is_map(shape):
            inner = self._inner(shape.extra)
            return Typed(
                type=cel.Type.Map(cel.Type.STRING, inner.type), convert=_each_value(inner.convert, _inline_text)
            )
        message = self.message(shape.fields)
        return Typed(type=cel.Type(message.name), convert=message.build, message=message)

    def _inner(self, shape: Shape | None) -> Typed:
        """The type of an item of a whole list or map."""
        if shape is not None and not shape.nullable:
            if shape.type == "string":
                return Typed(type=cel.Type.STRING, convert=_inline_text)
            if shape.type in _SCALARS or (shape.type == "object" and not is_map(shape)):
                return self.typed(shape)
        return self.typed(None)

    def _wrapped(self, kind: str) -> Convert:
        wrapper, convert = self._wrappers[kind], _CONVERT[kind]

        def wrap(value: Any) -> Any:
            try:
                return wrapper(value=convert(value))
            except UnicodeError as error:
                raise Unfit(str(error)) from None

        return wrap

    def value(self, value: Any) -> Any:
        """Anything at all as a `google.protobuf.Value`. Raises Unfit for what is no JSON."""
        if value is None:
            return self._value(null_value=0)
        if isinstance(value, bool):
            return self._value(bool_value=value)
        if isinstance(value, int | float | Decimal):
            return self._value(number_value=float(value))
        if isinstance(value, Mapping):
            fields = {str(k): self.value(v) for k, v in cast("Mapping[Any, Any]", value).items()}
            return self._value(struct_value=self._struct(fields=fields))
        if isinstance(value, list | tuple):
            items = [self.value(v) for v in cast("Sequence[Any]", value)]
            return self._value(list_value=self._list(values=items))
        if not isinstance(value, str):
            raise Unfit(f"{value!r} is no JSON")
        try:
            return self._value(string_value=value)
        except UnicodeError as error:
            raise Unfit(str(error)) from None

    # fields of messages --------------------------------------------------------------------------------------------

    def _field(self, key: str, shape: Shape) -> _Field:
        absent = may_be_absent(shape)
        word, convert, declare = self._of_type(shape, absent)
        return _Field(key=key, name=spoken(key, shape), word=word, convert=convert, absent=absent, declare=declare)

    def _of_type(self, shape: Shape, absent: bool) -> tuple[str, Convert, Callable[..., str | None]]:
        if shape.type in _SCALARS:
            kind, wrapper, _ = _SCALARS[shape.type]
            if absent:
                return (
                    f"?{shape.type}",
                    self._wrapped(shape.type),
                    _of_message(f"google.protobuf.{wrapper}", _WRAPPERS_FILE),
                )

            def scalar(message: Any, field: Any) -> None:
                field.type = kind

            return shape.type, _CONVERT[shape.type], scalar
        if shape.type == "array":
            word, convert, declare = self._of_item(shape.items)

            def repeated(message: Any, field: Any) -> str | None:
                field.label = _F.LABEL_REPEATED
                return declare(message, field)

            return f"[{word}]", _each(convert), repeated
        if is_map(shape):
            return self._of_map(shape)
        if shape.type == "object":
            inner = self.message(shape.fields)
            return f"{inner.name}{'?' if absent else ''}", inner.build, _of_message(inner.name, _file(inner.name))
        return "any", self.value, _of_message("google.protobuf.Value", _STRUCT_FILE)

    def _of_item(self, shape: Shape | None) -> tuple[str, Convert, Callable[..., str | None]]:
        if shape is None or shape.nullable or shape.type in ("any", "array") or is_map(shape):
            return "any", self.value, _of_message("google.protobuf.Value", _STRUCT_FILE)
        return self._of_type(shape, absent=False)

    def _of_map(self, shape: Shape) -> tuple[str, Convert, Callable[..., str | None]]:
        word, convert, declare = self._of_item(shape.extra)

        def mapped(message: Any, field: Any) -> str | None:
            entry_name = "".join(part[:1].upper() + part[1:] for part in field.name.split("_")) + "Entry"
            entry = message.nested_type.add(name=entry_name)
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, label=_F.LABEL_OPTIONAL, type=_F.TYPE_STRING)
            needed = declare(message, entry.field.add(name="value", number=2, label=_F.LABEL_OPTIONAL))
            field.label, field.type = _F.LABEL_REPEATED, _F.TYPE_MESSAGE
            field.type_name = f".rw.{message.name}.{entry_name}"
            return needed

        return f"{{{word}}}", _each_value(convert, _text), mapped


def _file(message: str) -> str:
    return f"{message.replace('.', '/')}.proto"


def _of_message(name: str, file: str) -> Callable[..., str | None]:
    def declare(message: Any, field: Any) -> str | None:
        field.type = _F.TYPE_MESSAGE
        field.type_name = f".{name}"
        return file

    return declare


def _each(convert: Convert) -> Convert:
    def items(value: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise Unfit(f"{value!r} is no list")
        return [convert(item) for item in cast("Sequence[Any]", value)]

    return items


def _each_value(convert: Convert, convert_key: Convert) -> Convert:
    def entries(value: Any) -> dict[Any, Any]:
        if not isinstance(value, Mapping):
            raise Unfit(f"{value!r} is no map")
        return {convert_key(k): convert(v) for k, v in cast("Mapping[Any, Any]", value).items()}

    return entries
