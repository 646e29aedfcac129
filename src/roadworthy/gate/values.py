"""Arguments and results made comparable before anything is judged or hashed.

500, "500.0" and 500.0 are one amount; "5,000" is none. What cannot be read without guessing is refused, with a text
that the model can act on.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

import orjson

from roadworthy.contract.exact import MAX_DIGITS
from roadworthy.contract.shapes import Shape
from roadworthy.core import canonical
from roadworthy.gate.carry.bounded import bounded

Coerce = Callable[[Any, str], Any]
"""(value, where) -> the typed value. Raises BadValue."""

MOST_DEEP = 32
"""Levels of lists and objects in the arguments of one call."""
MOST_VALUES = 10_000
"""Values in the arguments of one call."""
MOST_TEXT = 650_000
"""Characters in the arguments of one call, names of fields included."""
MOST_BITS = 256
"""The longest whole number that is looked at, in binary digits."""

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_EMAIL = re.compile(
    r"[^@\s\x00-\x1f<>()\[\],;:\"\\]+@[^@\s\x00-\x1f<>()\[\],;:\"\\.]+(\.[^@\s\x00-\x1f<>()\[\],;:\"\\.]+)*"
)
_TOO_LARGE = Decimal(10) ** MAX_DIGITS


class BadValue(Exception):
    """A value that does not fit its type; the text says where, what is expected and what came."""


class _Missing:
    pass


MISSING = _Missing()


def shown(value: Any) -> str:
    """A value as a text may quote it: short, whatever it is."""
    if isinstance(value, str):
        value = value[:60]
    elif isinstance(value, int) and value.bit_length() > MOST_BITS:
        return "a number of more than 75 digits"
    elif isinstance(value, Mapping):
        return "an object with fields" if value else "{}"
    elif isinstance(value, list | tuple | set | frozenset):
        return f"a list of {len(cast('Sequence[Any]', value)):,}" if value else "[]"
    try:
        text = repr(value)
    except Exception:  # a foreign object that fails when it is asked for its text
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def _string(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    raise BadValue(f"{where} must be text, not {shown(value)}.")


def _integer(value: Any, where: str) -> int:
    if isinstance(value, bool):
        raise BadValue(f"{where} must be a whole number, not {value!r}.")
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return value
        raise BadValue(f"{where} must be a whole number of at most 18 digits, not {shown(value)}.")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if (
        isinstance(value, Decimal)
        and value.is_finite()
        and value.adjusted() < 18
        and value == value.to_integral_value()
    ):
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise BadValue(f"{where} must be a whole number, not {shown(value)}.")


def _number(value: Any, where: str) -> float | int:
    if isinstance(value, bool):
        raise BadValue(f"{where} must be a number, not {value!r}.")
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return int(value) if value.is_integer() and abs(value) < 2**53 else value
    elif (isinstance(value, Decimal) and value.is_finite()) or (isinstance(value, str) and _DECIMAL.fullmatch(value)):
        return _number(float(value), where)
    raise BadValue(f"{where} must be a number such as 12.5, not {shown(value)}.")


def _exponent(value: Decimal) -> int:
    return cast("int", value.as_tuple().exponent)


def exact(value: Decimal) -> Decimal:
    """The one way to write a decimal: no trailing zeros, no exponent, no negative zero."""
    if value == 0:
        return Decimal(0)
    stripped = value.normalize()
    return stripped.quantize(Decimal(1)) if _exponent(stripped) > 0 else stripped


def _decimal(value: Any, where: str) -> Decimal:
    if isinstance(value, str):
        if not _DECIMAL.fullmatch(value):
            raise BadValue(
                f"{where} must be a number such as 12.50, without separators or currency, not {shown(value)}."
            )
        found = Decimal(value)
    elif isinstance(value, bool):
        raise BadValue(f"{where} must be a number such as 12.50, not {value!r}.")
    elif isinstance(value, Decimal) or (isinstance(value, int) and value.bit_length() <= MOST_BITS):
        found = Decimal(value)
    elif isinstance(value, float) and math.isfinite(value):
        found = Decimal(repr(value))
    else:
        raise BadValue(f"{where} must be a number such as 12.50, not {shown(value)}.")
    if not found.is_finite():
        raise BadValue(f"{where} must be a number such as 12.50, not {shown(value)}.")
    found = exact(found) if abs(found) < _TOO_LARGE else found
    if abs(found) >= _TOO_LARGE or len(found.as_tuple().digits) > MAX_DIGITS or -_exponent(found) > MAX_DIGITS:
        raise BadValue(f"{where} has more than {MAX_DIGITS} digits: {shown(value)}.")
    return found


def _boolean(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    if value == "true":
        return True
    if value == "false":
        return False
    raise BadValue(f"{where} must be true or false, not {shown(value)}.")


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme) and bool(parts.netloc or parts.path) and not re.search(r"\s", text)


_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?"


def _parses(read: Callable[[str], object], pattern: str = "") -> Callable[[str], bool]:
    """Whether text is written as the pattern says and means something. Python alone reads `2026-W14-2` as a date."""
    written = re.compile(pattern, re.IGNORECASE) if pattern else None

    def check(text: str) -> bool:
        if written is not None and written.fullmatch(text) is None:
            return False
        try:
            read(text.upper() if written is not None else text)
        except ValueError:
            return False
        return True

    return check


_FORMATS: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "email": (lambda text: _EMAIL.fullmatch(text) is not None, "an e-mail address"),
    "uri": (_is_uri, "a full address such as https://example.com/page"),
    "date": (_parses(date.fromisoformat, _DAY), "a date such as 2026-03-31"),
    "date-time": (_parses(datetime.fromisoformat, f"{_DAY}[T ]{_CLOCK}"), "a time such as 2026-03-31T14:30:00Z"),
    "time": (_parses(time.fromisoformat, _CLOCK), "a time of day such as 14:30:00"),
    "uuid": (_parses(UUID), "a UUID"),
}


@lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _limits(shape: Shape, where: str, value: Any) -> None:
    if shape.minimum is not None and value < shape.minimum:
        raise BadValue(f"{where} must be at least {shape.minimum}, not {value}.")
    if shape.maximum is not None and value > shape.maximum:
        raise BadValue(f"{where} must be at most {shape.maximum}, not {value}.")
    if shape.exclusive_minimum is not None and value <= shape.exclusive_minimum:
        raise BadValue(f"{where} must be more than {shape.exclusive_minimum}, not {value}.")
    if shape.exclusive_maximum is not None and value >= shape.exclusive_maximum:
        raise BadValue(f"{where} must be less than {shape.exclusive_maximum}, not {value}.")
    if (
        shape.multiple_of is not None
        and Decimal(repr(value) if isinstance(value, float) else value) % shape.multiple_of
    ):
        raise BadValue(f"{where} must be a multiple of {shape.multiple_of}, not {value}.")


def _compile_scalar(shape: Shape) -> Coerce:
    base: Coerce = {
        "string": _string,
        "integer": _integer,
        "number": _number,
        "decimal": _decimal,
        "boolean": _boolean,
    }[shape.type]
    numeric = shape.type in ("integer", "number", "decimal")
    limited = numeric and any(
        x is not None
        for x in (shape.minimum, shape.maximum, shape.exclusive_minimum, shape.exclusive_maximum, shape.multiple_of)
    )
    enum = frozenset(base(m, "enum") for m in shape.enum) if shape.enum is not None else None
    members = ", ".join(str(m) for m in shape.enum or ())
    pattern = _pattern(shape.pattern) if shape.pattern is not None else None
    check, meaning = _FORMATS[shape.format] if shape.format is not None else (None, "")
    sized = shape.min_length is not None or shape.max_length is not None
    if enum is None and pattern is None and check is None and not limited and not sized:
        return base

    def coerce(value: Any, where: str) -> Any:
        typed: Any = base(value, where)
        if enum is not None and typed not in enum:
            raise BadValue(f"{where} must be one of {members}, not {shown(typed)}.")
        if pattern is not None and pattern.fullmatch(typed) is None:
            raise BadValue(f"{where} must look like {shape.pattern}, not {shown(typed)}.")
        if check is not None and not check(typed):
            raise BadValue(f"{where} must be {meaning}, not {shown(typed)}.")
        if shape.min_length is not None and len(typed) < shape.min_length:
            raise BadValue(f"{where} must have at least {shape.min_length} characters.")
        if shape.max_length is not None and len(typed) > shape.max_length:
            raise BadValue(f"{where} must have at most {shape.max_length} characters.")
        if limited:
            _limits(shape, where, typed)
        return typed

    return coerce


def _compile_array(shape: Shape, *, strict: bool) -> Coerce:
    inner = compile_shape(shape.items, strict=strict) if shape.items is not None else None

    def coerce(value: Any, where: str) -> Any:
        if type(value) is not list and (isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence)):
            raise BadValue(f"{where} must be a list, not {shown(value)}.")
        items = cast("Sequence[Any]", value)
        typed = [inner(v, f"{where}[{i}]") for i, v in enumerate(items)] if inner is not None else list(items)
        if shape.min_items is not None and len(typed) < shape.min_items:
            raise BadValue(f"{where} must have at least {shape.min_items} items, not {len(typed)}.")
        if shape.max_items is not None and len(typed) > shape.max_items:
            raise BadValue(f"{where} must have at most {shape.max_items} items, not {len(typed)}.")
        if shape.unique_items and len({canonical.dumps(plain(item)) for item in typed}) < len(typed):
            raise BadValue(f"{where} names an item twice.")
        return typed

    return coerce


def _compile_object(shape: Shape, *, strict: bool) -> Coerce:
    fields = {name: (compile_shape(inner, strict=strict), inner) for name, inner in shape.fields.items()}
    extra = compile_shape(shape.extra, strict=strict) if shape.extra is not None else None

    def coerce(value: Any, where: str) -> Any:
        if type(value) is not dict and not isinstance(value, Mapping):
            raise BadValue(f"{where} must be an object with fields, not {shown(value)}.")
        given = cast("Mapping[str, Any]", value)
        typed: dict[str, Any] = {}
        for name, (inner, inner_shape) in fields.items():
            found = given.get(name, MISSING)
            if found is MISSING or (found is None and inner_shape.optional and not inner_shape.nullable):
                if inner_shape.default is not None:
                    typed[name] = inner(inner_shape.default, f"{where}.{name}")
                elif not inner_shape.optional:
                    raise BadValue(f"{where}.{name} is missing.")
                continue
            typed[name] = inner(found, f"{where}.{name}")
        for name, found in given.items():
            if name in fields:
                continue
            if extra is not None:
                typed[name] = extra(found, f"{where}.{name}")
            elif strict:
                near = near_name(name, fields)
                raise BadValue(f"{where} has no field {shown(name)}" + (f"; do you mean {near!r}?" if near else "."))
        return typed

    return coerce


def _as_it_is(value: Any, where: str) -> Any:
    return value


def _one_of(shape: Shape, inner: Coerce) -> Coerce:
    """Hold a value without a scalar type to its enum, compared as JSON: 1 is not true."""
    if shape.enum is None:
        return inner
    members = frozenset(canonical.dumps(inner(member, "enum")) for member in shape.enum)
    listed = ", ".join(as_text(member) for member in shape.enum)

    def coerce(value: Any, where: str) -> Any:
        typed = inner(value, where)
        try:
            known = canonical.dumps(plain(typed)) in members
        except TypeError:
            known = False
        if not known:
            raise BadValue(f"{where} must be one of {listed}, not {shown(value)}.")
        return typed

    return coerce


def compile_shape(shape: Shape, *, strict: bool = True) -> Coerce:
    """A function that brings a value into the shape, or says why it does not fit.

    `strict`: fields that the shape does not name are refused, as in arguments; else they are left out, as in results.
    """
    inner: Coerce
    if shape.type == "any":
        inner = _one_of(shape, _as_it_is)
    elif shape.type == "array":
        inner = _one_of(shape, _compile_array(shape, strict=strict))
    elif shape.type == "object":
        inner = _one_of(shape, _compile_object(shape, strict=strict))
    else:
        inner = _compile_scalar(shape)
    if not shape.nullable:
        return inner

    def nullable(value: Any, where: str) -> Any:
        return None if value is None else inner(value, where)

    return nullable


def near_name(name: Any, known: Iterable[str]) -> str | None:
    """The known name that somebody may have meant."""
    if not isinstance(name, str) or len(name) > 100:
        return None
    return next(iter(get_close_matches(name, list(known), n=1)), None)


_MOST_WRONG = 8
"""So many complaints about one call are enough."""


def check_bounds(given: Mapping[str, Any]) -> None:
    """That the arguments of a call are JSON that can be looked at, carried and written down.

    Raises BadValue where they are no object, too deep, too many or too long, or hold what JSON has no way to write:
    half of a character, not-a-number, infinity, objects of a program.
    """
    # Exact types first: every call passes here.
    if type(cast("object", given)) is not dict and not isinstance(cast("object", given), Mapping):
        raise BadValue("The arguments must be an object with a field for each argument.")
    size = 0
    for name, value in given.items():
        kind: type[object] = type(cast("object", value))
        if kind is str:
            size += len(value)
            if not value.isascii():
                _check_text(value, name)
        elif kind is not int and kind is not bool and kind is not Decimal and value is not None:
            _check_inside(given)
            return
    if size > MOST_TEXT or len(given) > MOST_VALUES:
        _check_inside(given)


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise BadValue(f"{_named(where)} has half of a character (U+{code:04X}): send whole characters.") from None


def _named(where: Any) -> str:
    """A place as a text may name it."""
    return where if isinstance(where, str) and len(where) <= 100 and where.isprintable() else shown(where)


def _check_inside(given: Mapping[str, Any]) -> None:
    size = values = 0
    open_: list[tuple[Any, str, int]] = [(given, "", 0)]
    while open_:
        value, where, deep = open_.pop()
        values += 1
        if isinstance(value, str):
            size += len(value)
            if not value.isascii():
                _check_text(value, where)
        elif isinstance(value, Mapping):
            if deep > MOST_DEEP:
                raise BadValue(f"{where} is nested more than {MOST_DEEP} levels deep. Send it flatter.")
            fields = cast("Mapping[Any, Any]", value)
            if values + len(fields) > MOST_VALUES:
                raise BadValue(f"{where or 'The call'} holds more than {MOST_VALUES:,} values. Send fewer at a time.")
            for name, inner in fields.items():
                if not isinstance(name, str):
                    raise BadValue(
                        f"{where or 'The call'} has a field whose name is a {type(name).__name__}, not text."
                    )
                size += len(name)
                if not name.isascii():
                    _check_text(name, f"the name of a field{f' of {where}' if where else ''}")
                open_.append((inner, where or _named(name), deep + 1))
        elif isinstance(value, list | tuple):
            items = cast("Sequence[Any]", value)
            if deep > MOST_DEEP:
                raise BadValue(f"{where} is nested more than {MOST_DEEP} levels deep. Send it flatter.")
            if values + len(items) > MOST_VALUES:
                raise BadValue(f"{where} holds more than {MOST_VALUES:,} values. Send fewer at a time.")
            open_ += [(inner, where, deep + 1) for inner in items]
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise BadValue(f"{where} holds {value}, which is no number. Send a number, or leave it out.")
        elif isinstance(value, int):
            if value.bit_length() > MOST_BITS:
                raise BadValue(f"{where} holds a number of more than 75 digits. Send it as text.")
        elif isinstance(value, Decimal):
            if not value.is_finite():
                raise BadValue(f"{where} holds {value}, which is no number. Send a number, or leave it out.")
        elif not (value is None or isinstance(value, date | bytes)):
            raise BadValue(f"{where} holds a {type(value).__name__}, which is no JSON. Send text, numbers or objects.")
        if size > MOST_TEXT:
            raise BadValue(f"The arguments have more than {MOST_TEXT:,} characters together. Send less at a time.")


class Arguments:
    """The arguments of one tool: brings a model's call into the types of the contract."""

    __slots__ = ("_fields", "_names", "decimals", "required")

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self._fields: tuple[tuple[str, Coerce, Shape], ...] = tuple((n, compile_shape(s), s) for n, s in shapes.items())
        self._names = frozenset(shapes)
        self.decimals = tuple(n for n, s in shapes.items() if s.type in ("decimal", "array", "object"))
        self.required = tuple(n for n, s in shapes.items() if not s.optional and s.default is None)

    def coerce_some(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the arguments that fit, typed; the others are left out."""
        typed: dict[str, Any] = {}
        for name, coerce, _ in self._fields:
            if name in given:
                try:
                    typed[name] = coerce(given[name], name)
                except BadValue:
                    continue
        return typed

    def coerce(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The typed arguments. Raises BadValue with everything that is wrong, in one text."""
        check_bounds(given)
        typed: dict[str, Any] = {}
        wrong: list[str] = []
        for name, coerce, shape in self._fields:
            value = given.get(name, MISSING)
            if value is MISSING or (value is None and shape.optional and not shape.nullable):
                if shape.default is not None:
                    value = shape.default
                elif shape.optional:
                    continue
                else:
                    wrong.append(f"{name} is missing.")
                    continue
            try:
                typed[name] = coerce(value, name)
            except BadValue as bad:
                wrong.append(str(bad))
        if len(given) > len(typed) or wrong:
            for name in given:
                if name not in self._names:
                    near = near_name(name, self._names)
                    known = ", ".join(sorted(self._names)) or "no arguments"
                    wrong.append(
                        f"There is no argument {shown(name)}"
                        + (f"; do you mean {near!r}?" if near else f"; it takes {known}.")
                    )
                    if len(wrong) > _MOST_WRONG:
                        break
        if wrong:
            raise BadValue(" ".join(wrong))
        return typed


def wire(value: Any, shape: Shape | None) -> Any:
    """A typed value as the tool wants it: a decimal becomes text, or a number where its shape says `wire: number`."""
    if isinstance(value, Decimal):
        if shape is not None and shape.wire == "number":
            return int(value) if value == value.to_integral_value() else float(value)
        return format(value, "f")
    if isinstance(value, list):
        inner = shape.items if shape is not None else None
        return [wire(v, inner) for v in cast("list[Any]", value)]
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {
            k: wire(v, (shape.fields.get(k) or shape.extra) if shape is not None else None) for k, v in fields.items()
        }
    return value


def plain(value: Any) -> Any:
    """What a tool returned, as JSON would carry it: models and dataclasses as mappings, other objects as their text.

    Bounded: what is endless, too deep or too large is cut; `bounded` says where.
    """
    return bounded(value).value


def as_text(value: Any) -> str:
    """A result as the model reads it: text as it is, everything else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, default=_json_default, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # integers beyond 64 bits, and text that is no UTF-8
        return json.dumps(value, default=str, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def _json_default(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value).__name__} is no JSON")


class Result:
    """The result of one tool: read by the contract's `returns`, as far as it fits."""

    __slots__ = ("_coerce", "shape")

    def __init__(self, shape: Shape | None) -> None:
        self.shape = shape
        self._coerce = compile_shape(shape, strict=False) if shape is not None else None

    def read(self, value: Any) -> Any:
        """The typed result. Raises BadValue where it is not what the contract says; where that is nothing, all goes."""
        if self._coerce is None or self.shape is None:
            return value
        if isinstance(value, str) and self.shape.type in ("object", "array"):
            try:
                value = orjson.loads(value)
            except orjson.JSONDecodeError:
                raise BadValue(f"the result must be JSON with the declared fields, not {shown(value)}.") from None
            parsed = bounded(value)
            if not parsed.whole:
                raise BadValue(f"the result cannot be read as a whole: {parsed.notes[0]}.")
        elif isinstance(value, str) and self.shape.type in ("decimal", "number", "integer", "boolean"):
            value = value.strip()
        return self._coerce(value, "result")
