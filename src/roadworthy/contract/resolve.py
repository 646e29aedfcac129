"""Types as written into types with everything looked up: `shapes_of(contract)`.

Everything that a type says must have an effect: a keyword that does not apply to its type, a bound that nothing can
meet or a default that does not fit is refused, because a check that silently never matches protects nobody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, cast

from roadworthy.contract.model import Contract, OriginNot, TrustWhen, TypeSpec
from roadworthy.contract.names import did_you_mean
from roadworthy.contract.shapes import JsonType, Origin, Shape, Shapes
from roadworthy.core.errors import ContractError, Finding

Path = tuple[str | int, ...]

_JSON: Mapping[str, JsonType] = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "decimal": "decimal",
    "array": "array",
    "object": "object",
    "any": "any",
}
_OTHER_WORDS = {
    "str": "string",
    "text": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
    "map": "object",
    "money": "decimal",
    "date": "string with `format: date`",
    "datetime": "string with `format: date-time`",
}
ORIGINS: tuple[Origin, ...] = ("user", "trusted", "untrusted", "contract", "facts", "agent", "derived", "simulated")
"""All the places where a value can have been seen."""

_TEXT: tuple[JsonType, ...] = ("string",)
_NUMERIC: tuple[JsonType, ...] = ("integer", "number")
_LISTS: tuple[JsonType, ...] = ("array",)
_OBJECTS: tuple[JsonType, ...] = ("object",)
APPLIES: Mapping[str, tuple[JsonType, ...]] = {
    "pattern": _TEXT,
    "format": _TEXT,
    "min_length": _TEXT,
    "max_length": _TEXT,
    "minimum": _NUMERIC,
    "maximum": _NUMERIC,
    "exclusive_minimum": _NUMERIC,
    "exclusive_maximum": _NUMERIC,
    "multiple_of": (*_NUMERIC, "decimal"),
    "min": ("decimal",),
    "max": ("decimal",),
    "items": _LISTS,
    "min_items": _LISTS,
    "max_items": _LISTS,
    "unique_items": _LISTS,
    "properties": _OBJECTS,
    "required": _OBJECTS,
    "additional_properties": _OBJECTS,
    "wire": ("decimal",),
    "unit": (*_NUMERIC, "decimal"),
    "entity": ("string", "integer"),
    "destination": _TEXT,
}
"""The types of values to which a keyword applies; keywords that are not listed apply to all."""
_INSTEAD = {
    ("decimal", "minimum"): "min, quoted",
    ("decimal", "maximum"): "max, quoted",
    ("integer", "min"): "minimum, unquoted",
    ("integer", "max"): "maximum, unquoted",
    ("number", "min"): "minimum, unquoted",
    ("number", "max"): "maximum, unquoted",
    ("string", "min"): "minLength",
    ("string", "max"): "maxLength",
    ("array", "min_length"): "minItems",
    ("array", "max_length"): "maxItems",
}
_PATTERN_LIMIT = 500
_REPEAT_OF_REPEAT = re.compile(r"\((?:\?:)?[^()]*[^\\()][*+](?:\?)?\)(?:[*+]|\{\d+,\})")


def pattern_fault(pattern: str) -> str | None:
    """Why a regular expression cannot be used, and the cure; None where it can.

    Bounded means: at most 500 characters, no repeat of a repeat such as `(a+)+` (its time can double with every
    character of an attacker's text), no references back.
    """
    if len(pattern) > _PATTERN_LIMIT:
        return f"the pattern has {len(pattern)} characters; write at most {_PATTERN_LIMIT}"
    try:
        re.compile(pattern)
    except re.error as error:
        return f"{pattern!r} is no regular expression: {error}"
    if _REPEAT_OF_REPEAT.search(pattern):
        return f"{pattern!r} repeats a repeat, which can take for ever on a hostile text; write one of the two"
    if re.search(r"\\[1-9]|\(\?P=", pattern):
        return f"{pattern!r} refers back to a group, which can take for ever on a hostile text; spell the parts out"
    return None


def shapes_of(contract: Contract) -> Shapes:
    """All types of a contract, resolved once. Raises ContractError with every finding."""
    return contract.shapes


def resolved(contract: Contract) -> Shapes:
    """What `Contract.shapes` keeps. Raises ContractError with every finding."""
    shapes, findings = resolve(contract)
    if findings:
        raise ContractError([contract.located(finding) for finding in findings])
    return shapes


def resolve(contract: Contract, *, ghosts: frozenset[str] = frozenset()) -> tuple[Shapes, list[Finding]]:
    """The resolved types beside all that is wrong with them; a type that is wrong resolves to `any`.

    `ghosts` are names that the author wrote but that were left out for another finding; they are not reported again.
    """
    resolver = _Resolver(contract=contract, ghosts=ghosts)
    return resolver.everything(), resolver.findings


_ANY = Shape(type="any")


@dataclass(kw_only=True)
class _Resolver:
    contract: Contract
    ghosts: frozenset[str] = frozenset()
    findings: list[Finding] = field(default_factory=list[Finding])
    done: dict[str, Shape] = field(default_factory=dict[str, Shape])
    open: list[str] = field(default_factory=list[str])

    def wrong(self, path: Path, text: str, code: str = "type") -> None:
        self.findings.append(Finding(text=text, path=path, code=code))

    def everything(self) -> Shapes:
        contract = self.contract
        types = {name: self.named(name, ("types", name)) or _ANY for name in contract.types}
        facts = {name: self.shape(spec, ("facts", name)) for name, spec in contract.facts.items()}
        args: dict[str, dict[str, Shape]] = {}
        returns: dict[str, Shape | None] = {}
        for name, tool in contract.tools.items():
            args[name] = {
                arg: self.optional_by_default(self.shape(spec, ("tools", name, "args", arg)), spec)
                for arg, spec in tool.args.items()
            }
            self.aliases(args[name], ("tools", name, "args"))
            returns[name] = None if tool.returns is None else self.shape(tool.returns, ("tools", name, "returns"))
        for name in contract.entities:
            if name in contract.types:
                self.wrong(("entities", name), f"{name} is both an entity and a type; give one of them another name")
        for name in contract.types:
            if name in _JSON:
                self.wrong(("types", name), f"{name} is a built-in type; choose another name")
        return Shapes(args=args, returns=returns, facts=facts, types=types)

    @staticmethod
    def optional_by_default(shape: Shape, spec: TypeSpec) -> Shape:
        return replace(shape, optional=True) if spec.default is not None else shape

    def named(self, name: str, path: Path) -> Shape | None:
        if name in self.done:
            return self.done[name]
        if name in self.open:
            circle = " -> ".join([*self.open[self.open.index(name) :], name])
            self.wrong(path, f"the type {name} contains itself ({circle}); use `any` at one of these places")
            return None
        self.open.append(name)
        shape = replace(self.shape(self.contract.types[name], ("types", name)), type_name=name)
        self.open.pop()
        self.done[name] = shape
        return shape

    # one type ------------------------------------------------------------------------------------------------------

    def shape(self, spec: TypeSpec, path: Path) -> Shape:
        base = self.start(spec, path)
        if base is None:
            return replace(_ANY, optional=bool(spec.optional))
        before = len(self.findings)
        self.applies(spec, base.type, path)
        if len(self.findings) > before:
            return base
        shape = self.content(spec, self.bounds(spec, self.meaning(spec, base, path), path), path)
        shape = self.bounds_meet(spec, shape, path)
        return self.values(spec, shape, path)

    def start(self, spec: TypeSpec, path: Path) -> Shape | None:
        """The type without its keywords: built in, named, an entity's, or read off the values of `enum`."""
        written = spec.type
        if written is None:
            return self.from_values(spec, path)
        nullable = False
        if isinstance(written, tuple):
            words = [w for w in written if w != "null"]
            nullable = len(words) < len(written)
            if len(words) != 1:
                self.wrong(
                    (*path, "type"),
                    "a value has one type, and null beside it where it may be missing: [string, null]; "
                    "write `any` where it may be several",
                )
                return None
            written = words[0]
        shape: Shape | None = None
        if written in _JSON:
            shape = Shape(type=_JSON[written])
        elif written in self.contract.types:
            shape = self.named(written, (*path, "type"))
            if shape is None:
                return None
        elif written in self.contract.entities:
            shape = self.entity_shape(written)
        elif written == "null":
            self.wrong((*path, "type"), "a type that is only null says nothing; write {type: any, nullable: true}")
        elif written not in self.ghosts:
            cure = (
                f"write {_OTHER_WORDS[written.lower()]}"
                if written.lower() in _OTHER_WORDS
                else did_you_mean(written, [*_JSON, *self.contract.types, *self.contract.entities])
            )
            self.wrong((*path, "type"), f"there is no type or entity {written!r}; {cure}", "unknown_name")
        if shape is None:
            return None
        return replace(shape, nullable=True) if nullable else shape

    def from_values(self, spec: TypeSpec, path: Path) -> Shape | None:
        values = list(spec.enum) if spec.enum is not None else [spec.const]
        if spec.enum is None and "const" not in spec.model_fields_set:
            self.wrong(path, "the type is missing; write `type:`, such as {type: string}")
            return None
        kinds = {_kind(v) for v in values if v is not None}
        if kinds == {"integer", "number"}:
            kinds: set[JsonType] = {"number"}
        if len(kinds) != 1:
            self.wrong(path, "the values are of several types or of none; write `type:` and values of that type")
            return None
        (kind,) = kinds
        return Shape(type=kind, nullable=None in values)

    def entity_shape(self, name: str) -> Shape:
        return Shape(type="string", entity=name, pattern=self.contract.entities[name].pattern)

    def applies(self, spec: TypeSpec, kind: JsonType, path: Path) -> None:
        for keyword, kinds in APPLIES.items():
            if keyword not in spec.model_fields_set or getattr(spec, keyword) is None or kind in kinds:
                continue
            written = TypeSpec.model_fields[keyword].alias or keyword
            instead = _INSTEAD.get((kind, keyword))
            cure = f"write {instead}" if instead else f"it belongs to {' or '.join(kinds)}; leave it out"
            self.wrong((*path, written), f"{written} has no effect on a value of type {kind}; {cure}", "no_effect")
        if spec.else_ is not None and spec.destination is None:
            self.wrong((*path, "else"), "else has no effect without destination; add one or leave it out", "no_effect")

    def meaning(self, spec: TypeSpec, shape: Shape, path: Path) -> Shape:
        """The keys of Roadworthy: entity, labels, trust, origin, destination and their like."""
        changes: dict[str, Any] = {}
        if spec.entity is not None:
            entity = self.contract.entities.get(spec.entity)
            if entity is None:
                if spec.entity not in self.ghosts:
                    cure = did_you_mean(spec.entity, self.contract.entities, none="declare it under entities")
                    self.wrong((*path, "entity"), f"there is no entity {spec.entity!r}; {cure}", "unknown_name")
            else:
                if shape.entity not in (None, spec.entity):
                    self.wrong((*path, "entity"), f"the type is already the key of {shape.entity}; name one entity")
                changes["entity"] = spec.entity
                if entity.pattern is not None:
                    if shape.type != "string":
                        self.wrong(
                            (*path, "entity"),
                            f"{spec.entity} has a pattern, which only text can match; write type: string",
                        )
                    else:
                        changes["pattern"] = entity.pattern
        if spec.labels is not None:
            for i, label in enumerate(spec.labels):
                if label not in self.contract.labels and label not in self.ghosts:
                    cure = did_you_mean(label, self.contract.labels, none="declare it under labels")
                    self.wrong((*path, "labels", i), f"there is no label {label!r}; {cure}", "unknown_name")
            changes["labels"] = tuple(dict.fromkeys((*shape.labels, *spec.labels)))
        if isinstance(spec.trust, TrustWhen):
            changes |= {"trust": spec.trust.else_, "trust_when": spec.trust.when}
        elif spec.trust is not None:
            changes |= {"trust": spec.trust, "trust_when": None}
        if spec.origin is not None:
            changes["origins"] = self.origins(spec.origin, (*path, "origin"))
        if spec.destination is not None:
            changes["destination"] = spec.destination
            changes["destination_else"] = spec.else_ or "ask"
            for i, place in enumerate(spec.destination):
                known = place in self.contract.directories or place in self.ghosts or "://" in place
                if not known:
                    cure = did_you_mean(
                        place,
                        self.contract.directories,
                        none="declare it under directories, or write an address (https://…)",
                    )
                    self.wrong((*path, "destination", i), f"there is no directory {place!r}; {cure}", "unknown_name")
        for keyword, changed in (("unit", "unit"), ("wire", "wire"), ("as_", "alias"), ("description", "description")):
            if getattr(spec, keyword) is not None:
                changes[changed] = getattr(spec, keyword)
        if spec.of is not None:
            changes["anyone"] = spec.of == "anyone"
        if spec.pick is not None:
            changes["pick_any"] = spec.pick == "any"
        if spec.nullable is not None:
            changes["nullable"] = spec.nullable
        if spec.optional is not None:
            changes["optional"] = spec.optional
        for keyword in ("of", "pick"):
            if getattr(spec, keyword) is not None and "entity" not in changes and shape.entity is None:
                self.wrong(
                    (*path, keyword), f"{keyword} has no effect without entity; add one or leave it out", "no_effect"
                )
        return replace(shape, **changes) if changes else shape

    def origins(self, written: tuple[str, ...] | OriginNot, path: Path) -> tuple[Origin, ...]:
        excluded = isinstance(written, OriginNot)
        words = written.not_ if isinstance(written, OriginNot) else written
        at: Path = (*path, "not") if excluded else path
        for i, word in enumerate(words):
            if word not in ORIGINS:
                self.wrong((*at, i), f"{word!r} is no origin; {did_you_mean(word, ORIGINS)}", "unknown_name")
        kept: tuple[Origin, ...] = tuple([o for o in ORIGINS if (o not in words) == excluded])
        if not kept or not words:
            self.wrong(at, "this leaves no origin that is good enough; name at least one")
        return kept

    def bounds(self, spec: TypeSpec, shape: Shape, path: Path) -> Shape:
        changes: dict[str, Any] = {}
        if spec.pattern is not None:
            fault = pattern_fault(spec.pattern)
            if fault is not None:
                self.wrong((*path, "pattern"), fault)
            if shape.pattern is not None and shape.pattern != spec.pattern:
                owner = shape.entity or shape.type_name
                self.wrong((*path, "pattern"), f"{owner} has a pattern already; write one or the other")
            changes["pattern"] = spec.pattern
        for keyword in ("format", "min_length", "max_length", "min_items", "max_items", "unique_items"):
            if getattr(spec, keyword) is not None:
                changes[keyword] = getattr(spec, keyword)
        for keyword in ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum", "multiple_of"):
            number: float | None = getattr(spec, keyword)
            if number is not None:
                changes[keyword] = _exact(number)
        if spec.min is not None:
            changes["minimum"] = self.decimal(spec.min, (*path, "min"))
        if spec.max is not None:
            changes["maximum"] = self.decimal(spec.max, (*path, "max"))
        return replace(shape, **changes) if changes else shape

    def decimal(self, text: str, path: Path) -> Decimal:
        number = Decimal(text)
        if len(number.as_tuple().digits) > 15:
            self.wrong(path, f"{text} has more than 15 digits, more than can be compared exactly; write fewer")
        return number

    def content(self, spec: TypeSpec, shape: Shape, path: Path) -> Shape:
        changes: dict[str, Any] = {}
        if spec.items is not None:
            changes["items"] = self.shape(spec.items, (*path, "items"))
        if spec.properties is not None:
            changes["fields"] = self.fields(spec, spec.properties, path)
        elif spec.required is not None:
            self.wrong(
                (*path, "required"), "required has no effect without properties; add them or leave it out", "no_effect"
            )
        more = spec.additional_properties
        if isinstance(more, TypeSpec):
            changes["extra"] = self.shape(more, (*path, "additionalProperties"))
        elif more is True or (more is None and spec.type == "object" and not spec.properties):
            changes["extra"] = _ANY
        elif more is False:
            changes["extra"] = None
        return replace(shape, **changes) if changes else shape

    def fields(self, spec: TypeSpec, properties: Mapping[str, TypeSpec], path: Path) -> dict[str, Shape]:
        fields: dict[str, Shape] = {}
        for name, inner in properties.items():
            shape = self.shape(inner, (*path, "properties", name))
            if spec.required is not None and inner.optional is None:
                shape = replace(shape, optional=name not in spec.required)
            fields[name] = shape
        for i, name in enumerate(spec.required or ()):
            if name not in properties:
                self.wrong((*path, "required", i), f"there is no field {name!r}; {did_you_mean(name, properties)}")
            elif properties[name].optional:
                self.wrong((*path, "required", i), f"{name} is marked optional as well; say one or the other")
        self.aliases(fields, (*path, "properties"))
        return fields

    def aliases(self, fields: Mapping[str, Shape], path: Path) -> None:
        taken: dict[str, str] = {}
        for name, shape in fields.items():
            known_as = shape.alias or name
            if known_as in taken:
                other = taken[known_as]
                self.wrong((*path, name), f"{name} and {other} are both {known_as} in conditions; change `as:`")
            taken[known_as] = name

    def bounds_meet(self, spec: TypeSpec, shape: Shape, path: Path) -> Shape:
        """Bounds that no value can keep are reported where they are written, and taken off."""
        pairs = (
            ("min_length", "max_length", "minLength is above maxLength"),
            ("min_items", "max_items", "minItems is above maxItems"),
            ("minimum", "maximum", "the least value is above the greatest"),
            ("exclusive_minimum", "exclusive_maximum", "exclusiveMinimum is above exclusiveMaximum"),
        )
        for low, high, text in pairs:
            least, most = getattr(shape, low), getattr(shape, high)
            if least is None or most is None or least <= most:
                continue
            written = {low, high, "min", "max"} if low == "minimum" else {low, high}
            if written & spec.model_fields_set:
                self.wrong(path, f"{text} ({least} > {most}), so that no value fits; exchange them")
            off: dict[str, Any] = {low: None, high: None}
            shape = replace(shape, **off)
        return shape

    def values(self, spec: TypeSpec, shape: Shape, path: Path) -> Shape:
        """`enum`, `const`, `default` and `examples`: each must be of the type."""
        changes: dict[str, Any] = {}
        given = spec.model_fields_set
        if spec.enum is not None:
            if not spec.enum:
                self.wrong((*path, "enum"), "an empty enum fits nothing; name at least one value")
            members = tuple(self.fits(v, shape, (*path, "enum", i)) for i, v in enumerate(spec.enum))
            if shape.enum is not None:
                for i, member in enumerate(members):
                    if member not in shape.enum:
                        allowed = ", ".join(map(str, shape.enum))
                        text = f"{member} is not among the values of {shape.type_name or 'the type'}: {allowed}"
                        self.wrong((*path, "enum", i), text)
            if len({repr(m) for m in members}) < len(members):
                self.wrong((*path, "enum"), "a value stands here twice; leave one out")
            if None in members:
                changes["nullable"] = True
            changes["enum"] = tuple(m for m in members if m is not None)
        if "const" in given and spec.const is not None:
            if spec.enum is not None:
                self.wrong((*path, "const"), "const and enum together; write one of them")
            changes["enum"] = (self.fits(spec.const, shape, (*path, "const")),)
        narrowed = replace(shape, **changes) if changes else shape
        if "default" in given:
            narrowed = replace(narrowed, default=self.fits(spec.default, narrowed, (*path, "default")))
        for i, example in enumerate(spec.examples or ()):
            self.fits(example, narrowed, (*path, "examples", i))
        return narrowed

    def fits(self, value: Any, shape: Shape, path: Path) -> Any:
        """The value in the form in which the gate compares it."""
        if value is None:
            if not shape.nullable and path[-1] != "default" and "enum" not in path:
                self.wrong(path, "null does not fit; add nullable: true or write a value")
            return None
        fault = misfit(value, shape)
        if fault is not None:
            self.wrong(path, fault)
            return value
        return Decimal(cast("str", value)) if shape.type == "decimal" else value


def _kind(value: Any) -> JsonType:
    found: list[JsonType] = [kind for kind, check in _IS.items() if check(value)]
    return found[0] if found else "any"


def _exact(number: float) -> Decimal:
    return Decimal(int(number)) if float(number).is_integer() else Decimal(repr(number))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_IS: Mapping[JsonType, Callable[[Any], bool]] = {
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": _is_number,
    "array": lambda v: isinstance(v, list | tuple),
    "object": lambda v: isinstance(v, Mapping),
}


def misfit(value: Any, shape: Shape) -> str | None:
    """Why a value written in a contract does not fit a type, and the cure; None where it fits."""
    if value is None:
        return None if shape.nullable else "null does not fit; write a value, or add nullable: true to the type"
    if shape.type == "decimal":
        if not isinstance(value, str) or not re.fullmatch(r"-?\d+(\.\d+)?", value):
            example = value if _is_number(value) else "50.00"
            return f'{value!r} does not fit a decimal; write a quoted number, such as "{example}"'
    elif shape.type != "any" and not _IS[shape.type](value):
        cure = f'; quote it: "{value}"' if shape.type == "string" else ""
        return f"{value!r} is no {shape.type}{cure}"
    number = Decimal(str(value)) if shape.type == "decimal" or _is_number(value) else None
    if shape.enum is not None and (number if shape.type == "decimal" else value) not in shape.enum:
        return f"{value!r} is not among {', '.join(map(str, shape.enum))}"
    if isinstance(value, str) and shape.type == "string":
        if shape.pattern is not None and not pattern_fault(shape.pattern) and not re.fullmatch(shape.pattern, value):
            return f"{value!r} does not match the pattern {shape.pattern}"
        if shape.min_length is not None and len(value) < shape.min_length:
            return f"{value!r} is shorter than {shape.min_length} characters"
        if shape.max_length is not None and len(value) > shape.max_length:
            return f"{value!r} is longer than {shape.max_length} characters"
    if number is not None:
        if shape.minimum is not None and number < shape.minimum:
            return f"{value} is below the least value, {shape.minimum}"
        if shape.maximum is not None and number > shape.maximum:
            return f"{value} is above the greatest value, {shape.maximum}"
    if isinstance(value, Mapping) and shape.type == "object":
        return _object_misfit(cast("Mapping[str, Any]", value), shape)
    if isinstance(value, list | tuple) and shape.items is not None:
        for item in cast("list[Any]", value):
            fault = misfit(item, shape.items)
            if fault is not None:
                return fault
    return None


def _object_misfit(value: Mapping[str, Any], shape: Shape) -> str | None:
    for name, inner in value.items():
        known = shape.fields.get(name, shape.extra)
        if known is None:
            return f"there is no field {name!r}; {did_you_mean(name, shape.fields)}"
        fault = misfit(inner, known)
        if fault is not None:
            return f"{name}: {fault}"
    return None
