"""A result taken apart by its type: every value with where it stands, who may be believed about it and whose it is.

The model reads what a tool really returned, not only what the contract names. So the raw result and the typed one are
walked together: what stands in the raw one alone is handed out, too, and nobody vouches for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import orjson

from roadworthy.contract.conditions import Condition, ConditionError, Conditions
from roadworthy.contract.shapes import Shape, Shapes
from roadworthy.gate.values import MISSING, as_text

Path = tuple[str | int, ...]
Entities = Mapping[str, tuple[str, ...]]
"""By entity the keys of one record; several where a record names several of one entity."""

NO_ENTITIES: Entities = MappingProxyType({})
MOST_LEAVES = 50_000
"""What comes after so many values of one result is not looked at: it counts as seen nowhere."""
MOST_DEEP = 48
"""What lies deeper is one piece of text that nobody vouches for."""


class Leaf(NamedTuple):
    """One scalar of a result, or one key of an object that the contract does not name."""

    path: Path
    """From the result down: field names, and places in lists."""
    value: Any
    """Typed where the contract names it, else as the tool returned it; never None, a list or an object."""
    shape: Shape | None
    """None where the contract does not say what it is."""
    trusted: bool
    """Whether it vouches for values. Nothing below an untrusted part does, nor what the contract does not name."""
    labels: tuple[str, ...]
    """Its own labels and those of all that it stands in."""
    entities: Entities
    """The trusted keys of the record it stands in; of the nearest record, entity by entity."""
    is_key: bool = False
    """It is the key of an object, not a value."""


class Walk:
    """How the results of one tool are taken apart. Made once per contract."""

    __slots__ = ("_root",)

    def __init__(self, shape: Shape | None, conditions: Mapping[tuple[str, ...], Condition], bind: Any) -> None:
        self._root = _Node(shape, (), conditions, bind) if shape is not None else None

    def leaves(self, raw: Any, typed: Any = MISSING) -> list[Leaf]:
        """Every value of a result, at most `MOST_LEAVES` of them.

        `raw` is what the tool returned, as JSON would carry it; `typed` the same as `Result.read` gives it. Without a
        typed result, or without a declared type, nobody vouches for any of it.
        """
        found: list[Leaf] = []
        root = self._root
        if root is None or typed is MISSING:
            if isinstance(raw, str) and raw[:1] in ("{", "["):
                raw = _parsed(raw)
            if root is None:
                _undeclared(raw, (), (), NO_ENTITIES, False, 0, found)
            else:
                root.glance(raw, (), (), found)
        else:
            if isinstance(raw, str) and not isinstance(typed, str):
                raw = _parsed(raw)
            root.visit(raw, typed, (), True, False, (), NO_ENTITIES, found)
        return found


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


class _Node:
    """One type in the tree of a result's types, ready to be walked."""

    __slots__ = ("bind", "entity", "extra", "fields", "items", "keyed", "labels", "says", "shape", "untrusted", "when")

    def __init__(
        self, shape: Shape, path: tuple[str, ...], conditions: Mapping[tuple[str, ...], Condition], bind: Any
    ) -> None:
        self.shape = shape
        self.labels = shape.labels
        self.entity = shape.entity
        self.when = conditions.get(path)
        self.bind = bind
        self.untrusted = shape.trust == "untrusted" and self.when is None
        self.says = shape.trust == "trusted" or self.when is not None
        """Somebody has written here that it is to be believed, so that even `any` is."""
        self.fields = {n: _Node(inner, (*path, n), conditions, bind) for n, inner in shape.fields.items()}
        self.items = _Node(shape.items, (*path, "*"), conditions, bind) if shape.items is not None else None
        self.extra = _Node(shape.extra, (*path, "*"), conditions, bind) if shape.extra is not None else None
        self.keyed = tuple((n, f) for n, f in self.fields.items() if f.entity is not None or f.holds_keys())
        """The fields that name an entity, or objects that do."""

    def holds_keys(self) -> bool:
        """Whether it names entities that the record around it is about; lists of records are records of their own."""
        return bool(self.keyed) or (self.items is not None and self.items.entity is not None)

    def trusts(self, value: Any) -> bool:
        """Whether this part, seen by itself, is to be believed."""
        if self.when is None:
            return not self.untrusted
        try:
            return self.when.holds(self.bind(value))
        except ConditionError:
            return False

    def keys(self, fields: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """The entities that an object names in its own fields and, where those say nothing, in objects within it."""
        own: dict[str, tuple[str, ...]] = {}
        within: dict[str, tuple[str, ...]] = {}
        for name, node in self.keyed:
            value = fields.get(name)
            if value is None or not node.trusts(value):
                continue
            if node.entity is not None:
                own[node.entity] = (*own.get(node.entity, ()), str(value))
            elif node.items is not None:
                entity = cast("str", node.items.entity)
                named = tuple(str(v) for v in value if v is not None and node.items.trusts(v))
                if named:
                    own[entity] = (*own.get(entity, ()), *named)
            else:
                for entity, inner in node.keys(value).items():
                    within[entity] = (*within.get(entity, ()), *inner)
        return {**within, **own} if within else own

    def visit(
        self,
        raw: Any,
        typed: Any,
        path: Path,
        trusted: bool,
        said: bool,
        labels: tuple[str, ...],
        entities: Entities,
        found: list[Leaf],
    ) -> None:
        if typed is None or len(found) >= MOST_LEAVES:
            return
        trusted = trusted and self.trusts(typed)
        said = said or self.says
        if self.labels:
            labels = tuple(dict.fromkeys((*labels, *self.labels))) if labels else self.labels
        kind = self.shape.type
        if kind == "object":
            self._object(raw, typed, path, trusted, said, labels, entities, found)
        elif kind == "array":
            given = cast("Sequence[Any]", raw)
            node = self.items
            if node is None:
                _undeclared(given, path, labels, entities, trusted and said, len(path), found)
                return
            for i, value in enumerate(cast("Sequence[Any]", typed)):
                node.visit(given[i], value, (*path, i), trusted, said, labels, entities, found)
        elif kind == "any":
            _undeclared(typed, path, labels, entities, trusted and said, len(path), found)
        else:
            found.append(Leaf(path, typed, self.shape, trusted, labels, entities))

    def glance(self, raw: Any, path: Path, labels: tuple[str, ...], found: list[Leaf]) -> None:
        """A result that does not fit its type: nobody vouches for it, but its labels hold as far as it can be told."""
        if self.labels:
            labels = tuple(dict.fromkeys((*labels, *self.labels)))
        if isinstance(raw, Mapping) and self.shape.type == "object":
            for name, value in cast("Mapping[str, Any]", raw).items():
                node = self.fields.get(name, self.extra)
                if name not in self.fields:
                    found.append(Leaf((*path, name), name, None, False, labels, NO_ENTITIES, True))
                if node is not None:
                    node.glance(value, (*path, name), labels, found)
                else:
                    _undeclared(value, (*path, name), labels, NO_ENTITIES, False, len(path), found)
        elif isinstance(raw, list) and self.items is not None:
            for i, value in enumerate(cast("list[Any]", raw)):
                self.items.glance(value, (*path, i), labels, found)
        else:
            _undeclared(raw, path, labels, NO_ENTITIES, False, len(path), found)

    def _object(
        self,
        raw: Any,
        typed: Mapping[str, Any],
        path: Path,
        trusted: bool,
        said: bool,
        labels: tuple[str, ...],
        entities: Entities,
        found: list[Leaf],
    ) -> None:
        given = cast("Mapping[str, Any]", raw)
        if trusted and self.keyed:
            own = self.keys(typed)
            if own:
                entities = {**entities, **own}
        fields, extra = self.fields, self.extra
        for name, value in typed.items():
            node = fields.get(name)
            if node is None:
                found.append(Leaf((*path, name), name, None, trusted, labels, entities, True))
                node = cast("_Node", extra)
            node.visit(given.get(name, value), value, (*path, name), trusted, said, labels, entities, found)
        if extra is None and len(given) > 0:
            for name, value in given.items():
                if name not in fields:
                    found.append(Leaf((*path, name), name, None, False, labels, entities, True))
                    _undeclared(value, (*path, name), labels, entities, False, len(path), found)


def _undeclared(
    value: Any, path: Path, labels: tuple[str, ...], entities: Entities, trusted: bool, depth: int, found: list[Leaf]
) -> None:
    """What the contract does not name: as it is, keys and all."""
    if value is None or len(found) >= MOST_LEAVES:
        return
    if depth > MOST_DEEP and isinstance(value, Mapping | list | tuple):
        found.append(Leaf(path, as_text(value), None, False, labels, entities))
    elif isinstance(value, Mapping):
        for name, inner in cast("Mapping[str, Any]", value).items():
            found.append(Leaf((*path, name), name, None, trusted, labels, entities, True))
            _undeclared(inner, (*path, name), labels, entities, trusted, depth + 1, found)
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(cast("Sequence[Any]", value)):
            _undeclared(inner, (*path, i), labels, entities, trusted, depth + 1, found)
    else:
        found.append(Leaf(path, value, None, trusted, labels, entities))


def compile_walks(shapes: Shapes, conditions: Conditions) -> Mapping[str, Walk]:
    """By tool, how its results are taken apart."""
    walks: dict[str, Walk] = {}
    for tool, shape in shapes.returns.items():
        trust = {path: held for (name, path), held in conditions.trust.items() if name == tool}

        def bind(item: Any, tool: str = tool) -> Any:
            return conditions.bind_result(tool, item, {})

        walks[tool] = Walk(shape, trust, bind)
    return walks
