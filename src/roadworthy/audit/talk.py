"""What the agents of one run said and did among themselves, made ready for a page: as a tree, and as a map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias, cast

from roadworthy.audit.account import Told, call_text, in_words
from roadworthy.audit.drawing import Drawing, Mark, Node, Said
from roadworthy.core.types import Entry
from roadworthy.gate.replay import root_of
from roadworthy.ledger.agents import Branch, Stretch, several_agents, stretches, told_of, tree_of
from roadworthy.ledger.withheld import marked

USER: Final = "\0user"
"""The id of the user's node: no agent has it for a name."""
NAMELESS: Final = "an agent"
_RULINGS: Final = ("deny", "clarify", "ask")


@dataclass(slots=True, kw_only=True)
class Called:
    """A call with what became of it."""

    at: datetime
    seq: int
    call: str
    by: str = ""
    """Why the gate itself made it; empty where the agent did."""
    chips: list[str] = field(default_factory=list[str])
    """Words that say how it went: the ruling, then the status."""
    told: list[str] = field(default_factory=list[str])
    """Reasons, questions, answers and results."""


@dataclass(slots=True, kw_only=True)
class Scene:
    """One agent at work."""

    agent: str
    came: str
    """How it came to its work, in words that go on after its name; empty where it began or shows by its calls only."""
    at: datetime | None
    goes_on: bool
    parts: list[Part] = field(default_factory=list["Part"])


@dataclass(slots=True, kw_only=True)
class Piece:
    """A line of work: the run's own, or what one agent gave to another."""

    scenes: list[Scene | Told] = field(default_factory=list["Scene | Told"])
    given: bool = False
    """It was given by another agent."""
    back: Told | None = None
    """What came back of it."""


Part: TypeAlias = Called | Told | Piece


def kind_of(part: Scene | Part) -> Literal["scene", "call", "told", "piece"]:
    """For templates, which know no types."""
    if isinstance(part, Scene):
        return "scene"
    if isinstance(part, Called):
        return "call"
    return "piece" if isinstance(part, Piece) else "told"


def talk_of(entries: Sequence[Entry]) -> Piece | None:
    """The agents of a run as a tree; None where it has but one."""
    if not several_agents(entries):
        return None
    return _Made(entries).piece(_tree(entries))


def map_of(entries: Sequence[Entry]) -> Drawing | None:
    """The agents of a run as a map: who gave way or work to whom in which order, and what the gate said to each.

    None where it has but one.
    """
    if not several_agents(entries):
        return None
    tree = _tree(entries)
    agents = dict.fromkeys(_id(stretch) for stretch in sorted(stretches(tree), key=_seq))
    began = _first(tree)
    ways = sorted(_ways(tree), key=lambda way: way[0])
    taken = [(one, other) for _, one, other in ways]
    if began is not None and any(entry.kind == "heard" for entry in entries):
        taken.insert(0, (USER, _id(began)))
    nodes = [Node(id=one, label=one or NAMELESS, kind="agent") for one in agents]
    if taken and taken[0][0] == USER:
        nodes.insert(0, Node(id=USER, label="user", kind="start"))
    marks = [mark for stretch in stretches(tree) for mark in _marks(stretch)]
    return Drawing(title="Its agents", nodes=nodes, taken=taken, visited=list(agents), marks=marks)


def _tree(entries: Sequence[Entry]) -> Branch:
    return tree_of(marked(entry) for entry in entries)


def _id(stretch: Stretch) -> str:
    return stretch.agent or ""


def _first(branch: Branch) -> Stretch | None:
    return next((item for item in branch.items if isinstance(item, Stretch)), None)


def _ways(branch: Branch) -> Iterator[tuple[int, str, str]]:
    """The seq at which it was, from whom, and to whom; what leads from an agent to itself is left out."""
    before = branch.giver
    for item in branch.items:
        if not isinstance(item, Stretch):
            continue
        if before is not None and not item.goes_on and before.agent != item.agent:
            yield _seq(item), _id(before), _id(item)
        before = item
        for part in item.parts:
            if isinstance(part, Branch):
                yield from _ways(part)
    if branch.returned is not None and branch.giver is not None and before is not None:
        yield branch.returned.seq, _id(before), _id(branch.giver)


def _seq(stretch: Stretch) -> int:
    """The entry with which an agent began."""
    if stretch.given is not None and not stretch.goes_on:
        return stretch.given.seq
    return next((part.seq for part in stretch.parts if isinstance(part, Entry)), 0)


def _marks(stretch: Stretch) -> Iterator[Mark]:
    """What became of the calls that an agent made."""
    said: dict[str, Said] = {}
    for part in stretch.parts:
        if not isinstance(part, Entry):
            continue
        body, of = part.body, root_of(part.cause)
        if part.kind == "action" and "by" not in body:
            said[str(body.get("id"))] = "in_doubt"  # until the gate has said something
        elif of in said and part.kind == "verdict" and "~" not in str(part.cause):
            ruling = str(body.get("ruling"))
            said[of] = cast("Said", ruling) if ruling in _RULINGS else "allow"
        elif of in said and part.kind == "outcome" and body.get("status") in ("failed", "in_doubt"):
            said[of] = "failed" if body["status"] == "failed" else "in_doubt"
    for verdict in said.values():
        yield Mark(node=_id(stretch), verdict=verdict)


class _Made:
    """The tree as a page shows it."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.whole = {entry.seq: entry for entry in entries}
        """Entries as they stand in the ledger, without the marks of what is missing."""

    def piece(self, branch: Branch) -> Piece:
        made = Piece(given=branch.giver is not None)
        for item in branch.items:
            if isinstance(item, Stretch):
                made.scenes.append(self._scene(item))
            else:
                made.scenes += in_words(self.whole[item.seq])
        if branch.returned is not None:
            made.back = next(iter(in_words(branch.returned)), None)
        return made

    def _scene(self, stretch: Stretch) -> Scene:
        came = stretch.given if not stretch.goes_on else None
        first = came or next((part for part in stretch.parts if isinstance(part, Entry)), None)
        scene = Scene(
            agent=stretch.agent or NAMELESS,
            came=told_of(came.body) if came is not None else "",
            at=first.at if first is not None else None,
            goes_on=stretch.goes_on,
        )
        calls: dict[str, Called] = {}
        for part in stretch.parts:
            if isinstance(part, Branch):
                scene.parts.append(self.piece(part))
                continue
            entry = self.whole[part.seq]
            if part.kind == "action":
                called = calls[str(part.body.get("id"))] = Called(
                    at=part.at, seq=part.seq, call=call_text(entry), by=str(part.body.get("by") or "")
                )
                scene.parts.append(called)
            elif root_of(part.cause) in calls:
                _learn(calls[root_of(part.cause)], entry)
            else:
                scene.parts += in_words(entry)
        return scene


def _learn(called: Called, entry: Entry) -> None:
    for told in in_words(entry):
        if entry.kind in ("verdict", "outcome", "answer"):
            called.chips.append(told.what)
        by = f"{told.by}: " if told.by else ""
        if told.text and told.text != "null":
            called.told.append(f"{by}{told.text}")
