"""What changed in the tools of a contract, and in the types of what goes into them and comes out of them.

Types are compared as they are resolved, so it does not matter whether one has a name. A value that fits the new type
and fitted the old one must come out of both alike: a bound may be tighter, and hardly anything else may differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from roadworthy.contract import diff
from roadworthy.contract.diff import Change, Compare, Kind, Path, complete, limit, listed, same, seconds, told, unclear
from roadworthy.contract.model import Confirm, Contract, Need, Tool
from roadworthy.contract.shapes import Shape

_GOOD = frozenset({"user", "trusted", "contract", "facts"})
"""What is good enough for the key of an entity whose `origin` is not given."""


def types_changed(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> Iterator[Change]:
    """The named types that are written otherwise. What that allows shows at the tools that use them."""
    for name in (*old, *(name for name in new if name not in old)):
        if name not in new:
            yield Change(kind="neutral", path=(*path, name), text=f"the type {name} is gone", gone=True)
        elif name not in old:
            yield Change(kind="neutral", path=(*path, name), text=f"the type {name} is new")
        elif not same(old[name], new[name]):
            yield Change(kind="neutral", path=(*path, name), text=f"the type {name} is written otherwise")


def tools_changed(old: Contract, new: Contract) -> Iterator[Change]:
    """All that changed in tools, and what their types say together."""
    path: Path = ("tools",)
    for name in old.tools:
        if name not in new.tools:
            yield Change(kind="narrows", path=(*path, name), text=f"{name} is gone", gone=True)
    for name, tool in new.tools.items():
        at = (*path, name)
        if name not in old.tools:
            yield Change(kind="widens", path=at, text=f"the tool {name} is new ({tool.effect})")
            continue
        yield from _tool(old.tools[name], tool, name, at, frozenset(new.tools))
        yield from _types(old, new, name, at)
    if old.shapes.judges_links and not new.shapes.judges_links:
        text = "no argument or result says any more whom to believe, so links in texts are not judged any more"
        yield Change(kind="widens", path=path, text=text)
    facts = [name for name, shape in new.shapes.facts.items() if _told_apart(old.shapes.facts.get(name), shape)]
    for name in facts:
        if same(old.facts.get(name), new.facts.get(name)):  # else it is told as a fact
            yield Change(kind="unclear", path=("facts", name), text=f"the fact {name} has another type")


def _told_apart(old: Shape | None, new: Shape | None) -> bool:
    return old is None or new is None or _bare(old) != _bare(new)


def _bare(shape: Shape) -> Any:
    """A shape as something that can be compared: without descriptions, and with true told from 1."""
    found: dict[str, Any] = {}
    for one in fields(shape):
        value = getattr(shape, one.name)
        if one.name == "description":
            continue
        if isinstance(value, Shape):
            value = _bare(value)
        elif isinstance(value, Mapping):
            value = {name: _bare(inner) for name, inner in cast("Mapping[str, Shape]", value).items()}
        elif one.name in ("enum", "default"):
            value = repr(value)
        found[one.name] = value
    return found


def _tool(old: Tool, new: Tool, name: str, path: Path, known: frozenset[str]) -> Iterator[Change]:
    def needs(was: Sequence[Need], now: Sequence[Need], at: Path) -> Iterator[Change]:
        for need in was:
            if not any(_no_less(need, other, known) for other in now):
                text = f"{name} no longer needs {told(need)}"
                yield Change(kind="widens", path=at, text=text, gone=not now)
        for n, need in enumerate(now):
            if not any(same(need, other) for other in was):
                yield Change(kind="narrows", path=(*at, n), text=f"{name} needs {told(need)}")

    def confirm(was: Confirm | None, now: Confirm | None, at: Path) -> Iterator[Change]:
        before, after = (set(one.read_out) if one is not None else set[str]() for one in (was, now))
        if now is None:
            text = f"the user need not say yes to {name} any more"
            yield Change(kind="widens", path=at, text=text, gone=True)
            return
        if before - after:
            text = f"{listed(before - after)} need not be read out before {name}"
            yield Change(kind="widens", path=at, text=text)
        if after - before or was is None:
            text = f"the user must say yes to {name} with {listed(after)} read out"
            yield Change(kind="narrows", path=at, text=text)

    def retries(was: int, now: int, at: Path) -> Iterator[Change]:
        kind: Kind = "narrows" if now < was else "widens"
        yield Change(kind=kind, path=at, text=f"{name} is tried again {now} times instead of {was}")

    def breaker(was: object, now: object, at: Path) -> Iterator[Change]:
        if was is None:
            yield Change(kind="narrows", path=at, text=f"{name} rests when it keeps failing")
        elif now is None:
            yield Change(kind="widens", path=at, text=f"{name} is called however often it fails", gone=True)
        else:
            yield from unclear(was, now, at)

    def early(was: bool, now: bool, at: Path) -> Iterator[Change]:
        del was
        kind: Kind = "widens" if now else "narrows"
        text = f"{name} is {'open' if now else 'closed'} before it is known whom the run acts for"
        yield Change(kind=kind, path=at, text=text)

    def only(was: object, now: object, at: Path) -> Iterator[Change]:
        del was
        who = "only the gate calls it, to undo" if now else "the agent may call it, too"
        kind: Kind = "narrows" if now else "widens"
        yield Change(kind=kind, path=at, text=f"{name}: {who}", gone=now is None)

    by: dict[str, Compare] = {
        "args": diff.nothing,
        "returns": diff.nothing,
        "description": diff.wording(f"what the model is told about {name}"),
        "before_subject": early,
        "timeout": limit(f"time of {name}", show=seconds),
        "retries": retries,
        "concurrency": limit(f"calls of {name} at a time"),
        "breaker": breaker,
        "needs": complete(needs),
        "confirm": complete(confirm),
        "only": only,
    }
    yield from diff.fields(old, new, path, by)


def _no_less(old: Need, new: Need, known: frozenset[str]) -> bool:
    """Whether a need asks for all that another one asks for. What was seen last is looked at, so `same` must agree."""
    if old.call != new.call or set(old.same) != set(new.same):
        return False
    fresh = old.within is None or (new.within is not None and new.within <= old.within)
    stale = {tool for tool in old.since if tool in known} <= set(new.since)
    return fresh and stale and (old.where is None or old.where == new.where)


# Types ----------------------------------------------------------------------------------------------------------------


def _types(old: Contract, new: Contract, name: str, path: Path) -> Iterator[Change]:
    before, after = old.shapes.args[name], new.shapes.args[name]
    at = (*path, "args")
    for arg, shape in before.items():
        if arg not in after:
            spare = shape.optional and shape.default is None
            text = f"{name} takes no {arg} any more"
            yield Change(kind="narrows" if spare else "unclear", path=(*at, arg), text=text, gone=True)
    asked = new.tools[name].confirm is not None or any(
        rule.ask is not None and rule.ask.role == "user" for rule in new.rules
    )
    exempt = new.subject is not None and name in new.subject.established_by
    used = _type_names(new)
    for arg, shape in after.items():
        if arg not in before:
            yield Change(kind="unclear", path=(*at, arg), text=f"{name} takes {arg} as well")
        elif _told_apart(before[arg], shape):
            checked = any(
                s.origins is not None or s.entity is not None or s.destination is not None
                for root in (before[arg], shape)
                for _, s in root.walk()
            )
            types = _Types(tool=name, free=not checked and not asked, exempt=exempt, used=used)
            yield from types.compare(before[arg], shape, (*at, arg), arg, (None, None))
    if _told_apart(old.shapes.returns[name], new.shapes.returns[name]) and not (
        old.shapes.returns[name] is None and new.shapes.returns[name] is None
    ):
        text = f"what {name} returns has another type, so other things may follow from it"
        yield Change(kind="unclear", path=(*path, "returns"), text=text, gone=new.tools[name].returns is None)


def _type_names(contract: Contract) -> frozenset[str]:
    """The named types of what the gate sees values in."""
    seen = [shape for shape in contract.shapes.returns.values() if shape is not None]
    return frozenset(
        s.type_name for root in (*seen, *contract.shapes.facts.values()) for _, s in root.walk() if s.type_name
    )


_BOUNDS: Mapping[str, tuple[str, int]] = {
    "minimum": ("at least", 1),
    "exclusive_minimum": ("more than", 1),
    "maximum": ("at most", -1),
    "exclusive_maximum": ("less than", -1),
    "min_length": ("characters at least", 1),
    "max_length": ("characters at most", -1),
    "min_items": ("items at least", 1),
    "max_items": ("items at most", -1),
}
"""What a bound is called, and in which direction it grows tighter."""

_FLAGS: Mapping[str, tuple[bool, str, str]] = {
    "unique_items": (True, "must hold nothing twice", "may hold things twice"),
    "nullable": (False, "must not be null", "may be null"),
    "anyone": (False, "must belong to the subject of the run", "need not belong to the subject of the run"),
    "pick_any": (False, "must be picked by the user's words", "may be picked by the agent"),
}
"""The value that is stricter, and what both come to."""

_Above = tuple[Sequence[str] | None, Sequence[str] | None]
"""What is written about origins at the list or object around, in the old contract and in the new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Types:
    """The types of one argument, old and new."""

    tool: str
    free: bool
    """Nobody looks at where its value comes from or whether the user has heard it, so how it is written is all one."""
    exempt: bool
    """The tool establishes the subject, so that keys of entities need not have been seen."""
    used: frozenset[str]
    """Named types of results: a value that proves little counts where its type has the same name."""

    def compare(self, old: Shape, new: Shape, path: Path, name: str, above: _Above) -> Iterator[Change]:
        """What changed in a type and all below it."""
        who = f"{name} of {self.tool}"
        same_origins = replace(new, origins=old.origins) if old.origins != new.origins else new
        if not _told_apart(old, same_origins) and old.origins == new.origins and above[0] == above[1]:
            return
        for one in fields(Shape):
            was, now = getattr(old, one.name), getattr(new, one.name)
            if one.name in ("fields", "items", "extra", "origins", "description"):
                continue
            if one.name in ("enum", "default"):
                if repr(was) == repr(now):
                    continue
            elif was == now:
                continue
            yield self._field(one.name, was, now, path, who)
        origins: _Above = (
            old.origins if old.origins is not None else above[0],
            new.origins if new.origins is not None else above[1],
        )
        yield from self._origins(old, new, origins, path, who)
        yield from self._inside(old, new, path, name, origins)

    def _field(self, field: str, was: Any, now: Any, path: Path, who: str) -> Change:
        kind: Kind = "unclear"
        text = f"{who} has another {field.replace('_', ' ')}: {told(now)} instead of {told(was)}"
        if field in _BOUNDS:
            word, sign = _BOUNDS[field]
            tighter = now is not None and (was is None or (now - was) * sign > 0)
            kind = "narrows" if tighter else "widens"
            text = f"{who}: {word} {told(now)} instead of {told(was)}"
        elif field in _FLAGS:
            strict, stricter, looser = _FLAGS[field]
            kind = "narrows" if now is strict else "widens"
            text = f"{who} {stricter if now is strict else looser}"
        elif field == "optional" and not now:
            kind, text = "narrows", f"{who} must be given"
        elif field == "destination_else":
            kind = "narrows" if now == "deny" else "widens"
            text = f"{who}: a stranger's address is {'denied' if now == 'deny' else 'put to a person'}"
        elif field == "destination" and was is not None and now is not None:
            text = f"{who} may be what {listed(now)} vouches for, instead of {listed(was)}"
            kind = "narrows" if set(now) <= set(was) else "widens" if set(was) < set(now) else "unclear"
        elif field == "enum":
            kind, text = self._enum(was, now, who)
        elif field == "pattern" and was is None:
            kind = "narrows" if self.free else "unclear"
            text = f"{who} must look like {now}"
        elif field == "type_name" and (self.free or now is None or now not in self.used):
            kind, text = "neutral", f"{who} has its type by another name"
        return Change(kind=kind, path=path, text=text)

    def _enum(self, was: Sequence[Any] | None, now: Sequence[Any] | None, who: str) -> tuple[Kind, str]:
        if was is None:
            # What stands in the contract vouches for itself, and a link in it is no stranger's.
            harmless = self.free and not any("." in str(word) for word in now or ())
            return "narrows" if harmless else "unclear", f"{who} must be one of {told(now)}"
        if now is None:
            return "widens", f"{who} may be anything, instead of one of {told(was)}"
        before, after = set(map(repr, was)), set(map(repr, now))
        if after <= before:
            return "narrows", f"{who} may not be {', '.join(sorted(before - after))} any more"
        return "widens", f"{who} may be {', '.join(sorted(after - before))} as well"

    def _origins(self, old: Shape, new: Shape, origins: _Above, path: Path, who: str) -> Iterator[Change]:
        if (old.type in ("object", "array") and (old.fields or old.items or old.extra)) or origins[0] == origins[1]:
            return
        was, now = (self._good(shape, found) for shape, found in zip((old, new), origins, strict=True))
        if was == now:
            yield Change(kind="neutral", path=path, text=f"{who} says otherwise where it may come from")
        elif now is None:
            yield Change(kind="widens", path=path, text=f"{who} may come from anywhere")
        else:
            text = f"{who} must come from {listed(now)}"
            yield Change(kind="narrows" if was is None or now < was else "widens", path=path, text=text)

    def _good(self, shape: Shape, origins: Sequence[str] | None) -> frozenset[str] | None:
        if origins is not None:
            return frozenset(origins)
        return _GOOD if shape.entity is not None and not self.exempt else None

    def _inside(self, old: Shape, new: Shape, path: Path, name: str, origins: _Above) -> Iterator[Change]:
        for inner, shape in old.fields.items():
            if inner not in new.fields:
                spare = shape.optional and shape.default is None and old.extra is None and new.extra is None
                text = f"{name}.{inner} of {self.tool} is gone"
                yield Change(kind="narrows" if spare else "unclear", path=path, text=text, gone=True)
        for inner, shape in new.fields.items():
            if inner not in old.fields:
                yield Change(kind="unclear", path=path, text=f"{name}.{inner} of {self.tool} is new")
            else:
                yield from self.compare(old.fields[inner], shape, path, f"{name}.{inner}", origins)
        for what in ("items", "extra"):
            was, now = cast("Shape | None", getattr(old, what)), cast("Shape | None", getattr(new, what))
            if was is not None and now is not None:
                yield from self.compare(was, now, path, f"{name}.*", origins)
            elif was is not None and what == "extra":
                yield Change(kind="narrows", path=path, text=f"{name} of {self.tool} takes no other fields any more")
            elif was is not None or now is not None:
                yield Change(kind="unclear", path=path, text=f"what {name} of {self.tool} holds has another type")
