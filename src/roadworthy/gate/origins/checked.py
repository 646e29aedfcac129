"""What a contract says about origins, made ready: which arguments are looked at, and what is good enough for each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast

from roadworthy.contract.model import Contract
from roadworthy.contract.resolve import ORIGINS
from roadworthy.contract.shapes import Shape, Shapes
from roadworthy.gate import forms

Mask = int
"""A set of origins: a bit for each word of `resolve.ORIGINS`."""

USER, TRUSTED, UNTRUSTED, CONTRACT, FACTS, AGENT, DERIVED, SIMULATED = (1 << n for n in range(len(ORIGINS)))
GOOD = USER | TRUSTED | CONTRACT | FACTS
"""Origins that vouch for a value by themselves."""
BY_DEFAULT = GOOD | SIMULATED
"""What is good enough for an entity's key where the contract does not say `origin`. A call that rests on a simulated
value is simulated itself, so such a value is never held against an argument."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedArg:
    """An argument, or a part of one, whose origins are looked at."""

    path: tuple[str, ...]
    """From the arguments down; `*` stands for each item."""
    label: str
    """The path as people read it."""
    shape: Shape
    allowed: Mask
    """The origins that are good enough; 0 where origins are only shown (`destination` alone)."""
    entity: str | None
    picked: bool
    """Where there are several candidates, the user's words must tell which."""
    contract: frozenset[Any]
    """Values that stand in the contract itself: members of an enum and the default."""
    meanings: tuple[str, ...]
    """What the value means; weak values such as "1" match a result only there."""
    nouns: tuple[str, ...]
    """What people call such an entity."""
    known: dict[Any, tuple[str, ...]] = field(default_factory=dict[Any, tuple[str, ...]], compare=False)
    """Where lately judged values are looked up."""

    def places(self, value: Any) -> tuple[str, ...]:
        """The keys of the index under which a value of this argument would have been put."""
        kept = (cast("type[Any]", type(value)), value)
        found = self.known.get(kept)
        if found is None:
            places: list[str] = []
            for form in forms.sought(value, self.shape):
                places.append(form)
                if weak(form):
                    places.extend(f"{form}\x1f{meaning}" for meaning in self.meanings)
            found = tuple(places)
            if not isinstance(value, str) or len(value) <= 200:
                if len(self.known) >= 256:
                    self.known.clear()
                self.known[kept] = found
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOrigins:
    """What is looked at in the calls of one tool, and how its results are learnt."""

    checked: tuple[CheckedArg, ...]
    entities: tuple[CheckedArg, ...]
    """The arguments that are keys of entities, checked or not."""
    acts: bool
    computes: bool
    echoes: bool
    """Its results repeat what it was given, and prove nothing about it: they take over where that came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginPolicy:
    """All of a contract that concerns origins."""

    tools: Mapping[str, ToolOrigins]
    facts: Mapping[str, Shape]
    phrases: bool
    """Some checked argument may be several words."""
    entities: bool
    """Some argument is an entity's key, so that it matters whose record a value stood in."""
    picks: frozenset[str]
    """Entities of which the user must pick one where there are several."""
    zone: str


_NOUN = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


def _mask(origins: Iterable[str]) -> Mask:
    mask = 0
    for origin in origins:
        mask |= 1 << ORIGINS.index(cast("Any", origin))
    return mask


@lru_cache(maxsize=512)
def names_of(mask: Mask) -> tuple[str, ...]:
    """The origins of a set, in the contract's order; empty for a value seen nowhere."""
    return tuple(name for n, name in enumerate(ORIGINS) if mask >> n & 1)


weak = lru_cache(maxsize=65536)(forms.weak)


def meanings(name: str, shape: Shape) -> tuple[str, ...]:
    """What a field means, for values that prove nothing by themselves."""
    if shape.entity is not None:
        return (f"entity {shape.entity}",)
    found = [name.casefold()]
    if shape.unit is not None:
        found.append(f"unit {shape.unit}")
    if shape.type_name is not None:
        found.append(f"type {shape.type_name}")
    return tuple(found)


def _nouns(entity: str | None) -> tuple[str, ...]:
    """`billing.OpenInvoice` is called an invoice."""
    found = _NOUN.findall(entity.rpartition(".")[2]) if entity is not None else []
    return (found[-1].casefold(),) if found else ()


def _checked(path: tuple[str, ...], shape: Shape, origins: Any, *, exempt: bool) -> CheckedArg:
    allowed = 0
    if origins is not None:
        allowed = _mask(origins) | SIMULATED
    elif shape.entity is not None and not exempt:
        allowed = BY_DEFAULT
    name = next((part for part in reversed(path) if part != "*"), "")
    members = shape.enum or ()
    return CheckedArg(
        path=path,
        label=".".join(path),
        shape=shape,
        allowed=allowed,
        entity=shape.entity,
        picked=shape.entity is not None and not shape.pick_any and not exempt,
        contract=frozenset(v for v in (*members, shape.default) if isinstance(v, str | int | float | Decimal)),
        meanings=meanings(name, shape),
        nouns=_nouns(shape.entity),
    )


def _spread(path: tuple[str, ...], shape: Shape, above: Any, *, exempt: bool) -> Iterator[CheckedArg]:
    """The scalars of an argument that are looked at. What is written at a list or object holds for all within."""
    origins = shape.origins if shape.origins is not None else above
    if shape.type == "object" and (shape.fields or shape.extra is not None):
        for name, inner in shape.fields.items():
            yield from _spread((*path, name), inner, origins, exempt=exempt)
        if shape.extra is not None:
            yield from _spread((*path, "*"), shape.extra, origins, exempt=exempt)
    elif shape.type == "array" and shape.items is not None:
        yield from _spread((*path, "*"), shape.items, origins, exempt=exempt)
    elif origins is not None or shape.entity is not None or shape.destination is not None:
        yield _checked(path, shape, origins, exempt=exempt)


def compile_origins(contract: Contract, shapes: Shapes) -> OriginPolicy | None:
    """What a contract says about origins; None where no argument has `origin`, `entity` or `destination`."""
    established_by = contract.subject.established_by if contract.subject is not None else ()
    tools: dict[str, ToolOrigins] = {}
    any_checked = False
    for name, tool in contract.tools.items():
        exempt = name in established_by
        found = [c for arg, s in shapes.args[name].items() for c in _spread((arg,), s, None, exempt=exempt)]
        checked = tuple(c for c in found if c.allowed or c.shape.destination is not None)
        any_checked = any_checked or bool(checked)
        tools[name] = ToolOrigins(
            checked=checked,
            entities=tuple(c for c in found if c.entity is not None),
            acts=tool.effect in ("write", "send"),
            computes=tool.effect == "compute",
            echoes=tool.effect in ("write", "send", "compute"),
        )
    if not any_checked:
        return None
    every = [c for tool in tools.values() for c in tool.checked]
    return OriginPolicy(
        tools=tools,
        facts=shapes.facts,
        phrases=any(_may_be_words(c.shape) for c in every),
        entities=any(tool.entities for tool in tools.values()),
        picks=frozenset(c.entity for t in tools.values() if t.acts for c in t.checked if c.entity and c.picked),
        zone=contract.zone,
    )


def _may_be_words(shape: Shape) -> bool:
    return shape.type in ("string", "any", "array", "object") and shape.format is None and shape.entity is None
