"""What a contract says about where data may go, compiled once; and what one run remembers of labelled data.

Judging is in `flow`; here stands what it looks at. Everything that a run remembers grows by its events alone, so that
a run that is fed its events again remembers the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal, cast

from roadworthy.contract.model import Contract
from roadworthy.contract.shapes import Shape, Shapes
from roadworthy.gate.flow import links
from roadworthy.gate.flow.claims import CompiledClaim, compile_claims
from roadworthy.gate.flow.directories import CompiledDirectory, Entries, Owner, compile_directories
from roadworthy.gate.flow.leaks import Leaks
from roadworthy.gate.walk import Leaf

Path = tuple[str, ...]
Readers = Literal["owner", "nobody"] | frozenset[str]
_TO_USER = ("reply", "ask_user")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledFlow:
    """One flow rule, as it concerns one label and one sink."""

    id: str
    only_to: CompiledDirectory | None
    then: Literal["deny", "ask"]
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """An argument, or a part of one, that says where a call sends something."""

    path: Path
    """From the arguments down; `*` stands for each item."""
    directories: tuple[CompiledDirectory, ...]
    prefixes: tuple[links.Link, ...]
    otherwise: Literal["ask", "deny"]
    named: str
    """Who vouches, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """Something that carries text out of the run, and what may be in it."""

    name: str
    to_user: bool
    outward: bool
    """The readers of labels hold here, even where no flow rule names it."""
    staff: str | None
    """The role that reads what goes in here, where it goes to staff."""
    rules: Mapping[str, tuple[CompiledFlow, ...]]
    """By label."""
    destinations: tuple[Destination, ...]
    links: bool
    claims: tuple[CompiledClaim, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """How results of one tool are learnt from."""

    labelled: bool
    entities: bool
    """Its results name entities, so that a labelled value among them has an owner of its own."""
    args: tuple[tuple[str, Path], ...]
    """The arguments that name entities: what is found out with them belongs to these, where nothing else is said."""
    fills: tuple[CompiledDirectory, ...]
    links: bool
    does: bool
    """A claim waits for it, or for its being taken back."""
    undoes: tuple[str, ...]
    """The tools of which a claim waits and that this one takes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowPolicy:
    """Where data may go, as far as a contract says."""

    readers: Mapping[str, Readers]
    """By label."""
    sinks: Mapping[str, Sink]
    """By tool, and `reply`, `ask_user` and `escalate`."""
    sources: Mapping[str, Source]
    """By tool."""
    prefixes: tuple[links.Link, ...]
    """Every beginning of addresses that the contract declares somewhere."""
    known_links: str
    """Links that the contract itself writes."""
    links: bool
    subject: str | None
    """The entity that runs act for."""
    personal: frozenset[str]
    """It, and the entities that are the same in other systems."""


def _walk(shapes: Mapping[str, Shape]) -> Iterator[tuple[Path, Shape]]:
    for name, shape in shapes.items():
        yield from shape.walk((name,))


def compile_flow(contract: Contract, shapes: Shapes) -> FlowPolicy | None:
    """The flow of a contract; None where it says nothing about labels, destinations, claims and whom to believe."""
    labelled = {name for name, shape in shapes.returns.items() if shape and any(s.labels for _, s in shape.walk())}
    addressed = {name: [(p, s) for p, s in _walk(args) if s.destination] for name, args in shapes.args.items()}
    judges_links = shapes.judges_links
    if not judges_links and not contract.claims:
        return None
    subject = contract.subject.entity if contract.subject is not None else None
    personal = {subject} if subject is not None else set[str]()
    for _ in contract.same_as:
        personal |= {bridge.to for bridge in contract.same_as if bridge.from_ in personal}
    directories = compile_directories(contract.directories, frozenset(personal))
    claims = compile_claims(contract.claims)
    prefixes = {
        place: link
        for found in addressed.values()
        for _, shape in found
        for place in shape.destination or ()
        if place not in directories and (link := links.read(place)) is not None and link.host
    }
    sinks = _sinks(contract, labelled, addressed, directories, prefixes, claims, judges_links)
    return FlowPolicy(
        readers={
            name: frozenset(label.readers) if isinstance(label.readers, tuple) else label.readers
            for name, label in contract.labels.items()
        },
        sinks=sinks,
        sources=_sources(contract, shapes, labelled, directories, claims, judges_links),
        prefixes=tuple(prefixes.values()),
        known_links=" ".join(sorted(_written_links(shapes))) if judges_links else "",
        links=judges_links,
        subject=subject,
        personal=frozenset(personal),
    )


def _written_links(shapes: Shapes) -> set[str]:
    everything = [*shapes.args.values(), shapes.facts, {n: s for n, s in shapes.returns.items() if s is not None}]
    values = (v for group in everything for _, s in _walk(group) for v in (*(s.enum or ()), s.default))
    return {value for value in values if isinstance(value, str) and "." in value}


def _sinks(
    contract: Contract,
    labelled: set[str],
    addressed: Mapping[str, list[tuple[Path, Shape]]],
    directories: Mapping[str, CompiledDirectory],
    prefixes: Mapping[str, links.Link],
    claims: tuple[CompiledClaim, ...],
    judges_links: bool,
) -> dict[str, Sink]:
    staff = contract.escalate.to if contract.escalate is not None else contract.owner.accountable
    hand_over = contract.escalate.tool if contract.escalate is not None else None

    def rules(*names: str) -> dict[str, tuple[CompiledFlow, ...]]:
        found: dict[str, tuple[CompiledFlow, ...]] = {}
        for rule in contract.flow:
            if any(name in rule.into for name in names):
                only_to = directories[rule.only_to] if rule.only_to is not None else None
                compiled = CompiledFlow(id=rule.id, only_to=only_to, then=rule.then, because=rule.because)
                found[rule.label] = (*found.get(rule.label, ()), compiled)
        return found

    def destination(path: Path, shape: Shape) -> Destination:
        places = shape.destination or ()
        return Destination(
            path=path,
            directories=tuple(directories[place] for place in places if place in directories),
            prefixes=tuple(prefixes[place] for place in places if place in prefixes),
            otherwise=shape.destination_else,
            named=" or ".join(places),
        )

    sinks: dict[str, Sink] = {}
    for name in _TO_USER:
        # What may not be in a reply may not be in a question to the same user, either.
        names = ("reply", name)
        sinks[name] = Sink(
            name=name, to_user=True, outward=bool(labelled), staff=None, rules=rules(*names), destinations=(),
            links=judges_links, claims=claims,
        )  # fmt: skip
    for name, tool in contract.tools.items():
        places = tuple(destination(path, shape) for path, shape in addressed[name])
        hands_over = name == hand_over
        own_rules = rules(name, "escalate") if hands_over else rules(name)
        sends = (tool.effect == "send" or bool(places)) and not hands_over
        if not (own_rules or sends):
            continue
        sinks[name] = Sink(
            name=name, to_user=False, outward=sends, staff=staff if hands_over else None, rules=own_rules,
            destinations=places, links=judges_links and sends, claims=claims if tool.effect == "send" else (),
        )  # fmt: skip
    own_rules = rules("escalate")
    if own_rules:
        sinks["escalate"] = Sink(
            name="escalate", to_user=False, outward=False, staff=staff, rules=own_rules, destinations=(), links=False,
            claims=(),
        )  # fmt: skip
    return sinks


def _sources(
    contract: Contract,
    shapes: Shapes,
    labelled: set[str],
    directories: Mapping[str, CompiledDirectory],
    claims: tuple[CompiledClaim, ...],
    judges_links: bool,
) -> dict[str, Source]:
    needed = {claim.needs for claim in claims}
    sources: dict[str, Source] = {}
    for name in contract.tools:
        shape = shapes.returns[name]
        undoes = {t for t in needed if (undo := contract.tools[t].undo) is not None and undo.tool == name and t != name}
        source = Source(
            labelled=name in labelled,
            entities=shape is not None and any(inner.entity for _, inner in shape.walk()),
            args=tuple((s.entity, path) for path, s in _walk(shapes.args[name]) if s.entity is not None),
            fills=tuple(directory for directory in directories.values() if name in directory.tools),
            links=judges_links,
            does=name in needed,
            undoes=tuple(sorted(undoes)),
        )
        if source.labelled or source.fills or source.links or source.does or source.undoes:
            sources[name] = source
    return sources


def at(value: Any, path: Path) -> Iterator[Any]:
    """The values at a path below an object; `*` goes into every item of a list or map."""
    if not path:
        if value is not None:
            yield value
    elif path[0] == "*":
        items = cast("Mapping[str, Any]", value).values() if isinstance(value, Mapping) else value
        if isinstance(value, Mapping | list | tuple):
            for inner in cast("Sequence[Any]", items):
                yield from at(inner, path[1:])
    elif isinstance(value, Mapping) and path[0] in value:
        yield from at(value[path[0]], path[1:])


def leaves_of(value: Any, path: Path) -> list[tuple[Path, Any]]:
    """Every value below arguments with its path, and every key that the contract does not name."""
    found: list[tuple[Path, Any]] = []
    _gather(value, path, found)
    return found


def _gather(value: Any, path: Path, found: list[tuple[Path, Any]]) -> None:
    if type(value) is str:
        found.append((path, value))
    elif isinstance(value, dict | Mapping):  # a dict is told much faster than a mapping
        for name, inner in cast("Mapping[Any, Any]", value).items():
            if path:
                found.append(((*path, "*"), str(name)))
            _gather(inner, (*path, str(name)), found)
    elif isinstance(value, list | tuple):
        for inner in cast("Sequence[Any]", value):
            _gather(inner, (*path, "*"), found)
    elif value is not None and not isinstance(value, bool):
        found.append((path, value))


def written(value: Any) -> str:
    """A number or another value that is no text, as a tool or a reader gets it."""
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def is_destination(sink: Sink, path: Path) -> bool:
    """Whether a path below the arguments of a call leads to where it sends something."""
    for place in sink.destinations:
        wanted = place.path
        if wanted == path:
            return True
        if len(wanted) == len(path) and all(one in ("*", other) for one, other in zip(wanted, path, strict=True)):
            return True
    return False


NOBODY_KNOWS: frozenset[Owner] = frozenset([("", "")])
"""The owner of what may belong to anybody."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Where a labelled value comes from and whose it is."""

    labels: tuple[str, ...]
    owners: frozenset[Owner]
    """Empty: the subject of the run. Several: it is told only to who is all of them."""
    origin: str
    """In words."""


class Labelled:
    """The labelled data, the directories and the links of one run."""

    __slots__ = ("_policy", "_started", "done", "entries", "leaks", "seen", "simulated")

    def __init__(self, policy: FlowPolicy, started: date) -> None:
        self._policy = policy
        self._started = started
        self.leaks: Leaks | None = None
        """None until something labelled was seen."""
        self.entries = Entries()
        self.seen: links.SeenLinks | None = None
        """None until a link was seen."""
        self.done: dict[str, int] = {}
        """By tool for which a claim waits, how often it was really done and not taken back."""
        self.simulated: set[str] = set()
        """Those of these tools that were simulated."""

    def heard(self, text: str) -> None:
        """The user said something: telling it back gives nothing away, and the links in it are known."""
        if self._policy.links and links.links_in(text):
            if self.seen is None:
                self.seen = links.SeenLinks()
            self.seen.heard(text)
        if self.leaks is None and any(source.labelled for source in self._policy.sources.values()):
            self.leaks = Leaks(self._started)
        if self.leaks is not None:
            self.leaks.heard(text)

    def told(self, text: str) -> None:
        """The user was told something: the rest of a value may follow."""
        if self.leaks is not None:
            self.leaks.sent(text)

    def saw(self, text: str, *, trusted: bool) -> None:
        """The run read a text that no tool returned, or heard one."""
        if self._policy.links and links.links_in(text):
            if self.seen is None:
                self.seen = links.SeenLinks()
            self.seen.learn(text, trusted=trusted)

    def sent(self, tool: str, args: Mapping[str, Any]) -> None:
        """A call was let go: the rest of a value that left with it may follow."""
        sink = self._policy.sinks.get(tool)
        if self.leaks is None or sink is None:
            return
        texts = [
            value if isinstance(value, str) else written(value)
            for path, value in leaves_of(args, ())
            if not is_destination(sink, path) or "://" in str(value)
        ]
        self.leaks.sent("\n".join(texts))

    def finished(self, tool: str, *, simulated: bool) -> None:
        """A call was carried out, or simulated."""
        source = self._policy.sources.get(tool)
        if source is None or not (source.does or source.undoes):
            return
        if simulated:
            self.simulated.add(tool)
            return
        if source.does:
            self.done[tool] = self.done.get(tool, 0) + 1
        for undone in source.undoes:
            self.done[undone] = max(self.done.get(undone, 0) - 1, 0)

    def restored(self, tool: str) -> None:
        """A call was taken back by another call of the same tool, which has been counted as one more."""
        if tool in self.done:
            self.done[tool] = max(self.done[tool] - 2, 0)

    def result(self, tool: str, args: Mapping[str, Any], leaves: Sequence[Leaf], *, fits: bool) -> None:
        """A result came that the agent sees. `fits`: it is what the contract says that the tool returns."""
        source = self._policy.sources.get(tool)
        if source is None:
            return
        if source.links:
            for leaf in leaves:
                if isinstance(leaf.value, str):
                    self.saw(leaf.value, trusted=leaf.trusted)
        for directory in source.fills:
            self.entries.fill(directory, leaves)
            if directory.verify is not None and directory.verify[0] == tool:
                for arg in directory.verify[1]:
                    if arg in args:
                        self.entries.asked(directory, str(args[arg]))
        if source.labelled:
            self._label(tool, source, args, leaves, fits)

    def _label(self, tool: str, source: Source, args: Mapping[str, Any], leaves: Sequence[Leaf], fits: bool) -> None:
        if self.leaks is None:
            self.leaks = Leaks(self._started)
        fallback: frozenset[Owner] | None = None
        together: dict[tuple[Any, ...], list[tuple[str, Labels]]] = {}
        for leaf in leaves:
            if not leaf.labels:
                continue
            owners = self._people((entity, key) for entity, keys in leaf.entities.items() for key in keys)
            if not owners:
                if fallback is None:
                    fallback = self._owners_of_all(source, args, leaves, fits)
                owners = fallback
            name = next((part for part in reversed(leaf.path) if isinstance(part, str)), "result")
            labels = Labels(leaf.labels, owners, f"{name} of {tool}")
            telling = self.leaks.add(leaf.value, leaf.shape, name, labels)
            if not telling and isinstance(leaf.value, str) and leaf.value[:1].isupper() and leaf.value.isalpha():
                together.setdefault(leaf.path[:-1], []).append((leaf.value, labels))
        for words in together.values():
            if len(words) > 1:
                first = words[0][1]
                self.leaks.add_together([word for word, _ in words], first)

    def _owners_of_all(
        self, source: Source, args: Mapping[str, Any], leaves: Sequence[Leaf], fits: bool
    ) -> frozenset[Owner]:
        """Whose a value is in whose record no key stands: theirs whom the result names, else the arguments."""
        if source.entities:
            if not fits:
                return NOBODY_KNOWS
            named = self._people(
                (leaf.shape.entity, str(leaf.value)) for leaf in leaves if leaf.shape is not None and leaf.shape.entity
            )
            if named:
                return named
        return self._people((entity, str(key)) for entity, path in source.args for key in at(args, path))

    def _people(self, named: Iterable[Owner]) -> frozenset[Owner]:
        """Those of some entities that own data: people like the subject, where there are any among them."""
        found = frozenset(named)
        if len(found) > 1:
            for group in ({self._policy.subject}, self._policy.personal):
                narrowed = frozenset(owner for owner in found if owner[0] in group)
                if narrowed:
                    return narrowed
        return found
