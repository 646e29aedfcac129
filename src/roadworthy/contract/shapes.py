"""Types with everything looked up: what the gate coerces by, the worlds answer by and conditions are typed by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

JsonType = Literal["string", "integer", "number", "boolean", "decimal", "array", "object", "any"]

Origin = Literal["user", "trusted", "untrusted", "contract", "facts", "agent", "derived", "simulated"]
"""A place where a value can have been seen: the user's words, a trusted or untrusted result, the contract, the
application's facts, the agent's own words, what was worked out from others, a simulated result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One type, with the names of types and entities resolved."""

    type: JsonType
    """`object` with `extra` and no `fields` is a map from any key to `extra`."""
    nullable: bool = False
    optional: bool = False
    enum: tuple[Any, ...] | None = None
    """`const` is an enum of one."""
    default: Any = None
    pattern: str | None = None
    """Must match in full; an entity's pattern stands here too."""
    format: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    exclusive_minimum: Decimal | None = None
    exclusive_maximum: Decimal | None = None
    multiple_of: Decimal | None = None
    items: Shape | None = None
    """None: anything."""
    min_items: int | None = None
    max_items: int | None = None
    unique_items: bool = False
    fields: Mapping[str, Shape] = field(default_factory=dict[str, "Shape"])
    extra: Shape | None = None
    """The type of fields that are not named; None refuses them in arguments and ignores them in results."""
    entity: str | None = None
    labels: tuple[str, ...] = ()
    trust: Literal["trusted", "untrusted"] | None = None
    """As written here; None inherits from above."""
    trust_when: str | None = None
    """A CEL condition over `item`; where it is not true, `trust` holds."""
    origins: tuple[Origin, ...] | None = None
    """The origins that are good enough; None where the origin is not checked."""
    destination: tuple[str, ...] | None = None
    destination_else: Literal["ask", "deny"] = "ask"
    unit: str | None = None
    anyone: bool = False
    """The value need not belong to the subject of the run."""
    pick_any: bool = False
    wire: Literal["string", "number"] = "string"
    alias: str | None = None
    """The name in conditions of a field that is no identifier."""
    description: str | None = None
    type_name: str | None = None
    """The named type it came from."""

    def walk(self, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Shape]]:
        """Itself and everything below it, with the path there; `*` stands for each item of a list or map."""
        yield path, self
        for name, inner in self.fields.items():
            yield from inner.walk((*path, name))
        if self.items is not None:
            yield from self.items.walk((*path, "*"))
        if self.extra is not None:
            yield from self.extra.walk((*path, "*"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """All types of one contract, resolved."""

    args: Mapping[str, Mapping[str, Shape]]
    """By tool, then by argument."""
    returns: Mapping[str, Shape | None]
    """By tool; None where the contract says nothing."""
    facts: Mapping[str, Shape]
    types: Mapping[str, Shape]

    @property
    def judges_links(self) -> bool:
        """Whether links in texts are judged: somewhere it is said who may read, who vouches, or whom to believe."""
        args = [shape for shapes in self.args.values() for root in shapes.values() for _, shape in root.walk()]
        results = [shape for root in self.returns.values() if root is not None for _, shape in root.walk()]
        return any(s.destination or s.origins is not None for s in args) or any(
            s.labels or s.trust is not None or s.trust_when is not None for s in results
        )
