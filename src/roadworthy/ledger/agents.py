"""The agents of one run as a tree: who had the word when, who gave whom a piece of work, and what came back.

Made of entries alone, for whoever shows them. What follows from a call stands with the call, though others came
between; what nobody is named for stands with whoever had the word last. An agent that is named by its calls only, and
was handed nothing, simply has the word from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from roadworthy.core.types import Entry
from roadworthy.ledger.between import between_agents

OF_THE_RUN: Final = frozenset(("run", "contract", "stop", "level", "signal", "incident", "undo", "trial"))
"""Kinds that are told beside the agents, as the user's words are."""


@dataclass(slots=True, kw_only=True, eq=False)
class Stretch:
    """One agent at work, from when it has the word until another one has it or the user speaks."""

    agent: str | None
    """None where nobody said who it is."""
    given: Entry | None = None
    """The handover by which it came to its work; None where it began, or shows by its calls only."""
    goes_on: bool = False
    """It had the word before, and the user has spoken meanwhile."""
    parts: list[Entry | Branch] = field(default_factory=list["Entry | Branch"])
    """What it did, in order, and the pieces of work that it gave to others."""


@dataclass(slots=True, kw_only=True, eq=False)
class Branch:
    """A line of work: agents one after the other. That of a run, or a piece of work that one agent gave to another."""

    items: list[Entry | Stretch] = field(default_factory=list["Entry | Stretch"])
    """Agents at work; between them what belongs to the whole run, such as the user's words."""
    within: Branch | None = None
    """The line of work that it was given from; None for the run's own."""
    giver: Stretch | None = None
    """Who gave it, at work in `within`."""
    returned: Entry | None = None
    """The entry by which a piece of work came back; None while it has not."""
    agent: str | None = None
    """Who has the word."""
    given: Entry | None = None
    """The handover by which that agent came to it."""

    @property
    def current(self) -> Stretch:
        """Whoever is at work, from now on where nobody was."""
        last = self.items[-1] if self.items else None
        if isinstance(last, Stretch):
            return last
        made = Stretch(agent=self.agent, given=self.given, goes_on=self.agent is not None and bool(self.items))
        self.items.append(made)
        return made

    @property
    def idle(self) -> bool:
        """Whether nobody has been at work yet."""
        return self.agent is None and not any(isinstance(item, Stretch) for item in self.items)

    def hand(self, agent: str | None, given: Entry | None) -> None:
        """Another agent has the word from now on."""
        self.agent, self.given = agent, given
        self.items.append(Stretch(agent=agent, given=given))


def layout_of(observation: Mapping[str, Any]) -> tuple[str, str] | None:
    """How an application is put together (`graph`), or which way it went there (`way`): that word, and it in words.

    None for the body of any other observation.
    """
    graph, path = observation.get("graph"), observation.get("path")
    nodes: list[Any] = []
    if isinstance(graph, Mapping):
        listed = cast("Mapping[str, Any]", graph).get("nodes")
        nodes = cast("list[Any]", listed) if isinstance(listed, list) else []
    elif isinstance(path, list):
        steps = cast("list[Any]", path)
        nodes = [cast("Mapping[str, Any]", step).get("node") for step in steps if isinstance(step, Mapping)]
    else:
        return None
    return "way" if graph is None else "graph", f"{observation.get('source')}: {', '.join(map(str, nodes))}"


_HOW: Final = {
    "handoff": (" takes over", " takes over from "),
    "delegate": (", on a piece of work", ", for "),
    "turn": (" has the word", " has the word after "),
}


def several_agents(entries: Iterable[Entry]) -> bool:
    """Whether a run had more agents than one, as far as its entries say."""
    names: set[str] = set()
    for entry in entries:
        if entry.kind == "handover" and between_agents(entry.body):
            return True
        name = _agent_of(entry)
        if name is not None:
            names.add(name)
        if len(names) > 1:
            return True
    return False


def tree_of(entries: Iterable[Entry]) -> Branch:
    """The agents of a run, of its entries in their order."""
    weaving = _Weaving()
    for entry in entries:
        weaving.take(entry)
    return weaving.root


def stretches(branch: Branch) -> Iterator[Stretch]:
    """All stretches of a line of work, and then those of the pieces of work within it."""
    for one in _branches(branch):
        yield from (item for item in one.items if isinstance(item, Stretch))


def agents_of(root: Branch, action: str) -> list[Stretch]:
    """The agents behind a call: the one that made it, then who gave it the work, up to the first; empty for none."""
    inside: dict[int, Branch] = {}
    found: Stretch | None = None
    for branch in _branches(root):
        for item in branch.items:
            if isinstance(item, Stretch):
                inside[id(item)] = branch
                if any(isinstance(p, Entry) and p.kind == "action" and p.body.get("id") == action for p in item.parts):
                    found = item
    chain: list[Stretch] = []
    while found is not None:
        chain.append(found)
        found = inside[id(found)].giver
    return chain


def _branches(branch: Branch) -> Iterator[Branch]:
    yield branch
    for item in branch.items:
        for part in item.parts if isinstance(item, Stretch) else ():
            if isinstance(part, Branch):
                yield from _branches(part)


def told_of(body: Mapping[str, Any]) -> str:
    """How an agent came to its work, by the body of the `handover` entry, in words that go on after its name:
    `, for triage: Is 7 paid?`.
    """
    source, text = body.get("source"), body.get("text")
    lone, of = _HOW.get(str(body.get("how")), _HOW["handoff"])
    return (f"{of}{source}" if source else lone) + (f": {text}" if text else "")


def _agent_of(entry: Entry) -> str | None:
    name = entry.body.get("agent") if entry.kind in ("action", "said") else None
    return name if isinstance(name, str) else None


class _Weaving:
    """Entries on their way into the tree."""

    def __init__(self) -> None:
        self.root = Branch()
        self.active = self.root
        """Where something was done last."""
        self.open: dict[str, Branch] = {}
        """By the id of its handover, each piece of work that has not come back; the one that was busy last is last."""
        self.calls: dict[str, Stretch] = {}

    def take(self, entry: Entry) -> None:
        kind, body = entry.kind, entry.body
        of = self.calls.get(str(body.get("for")) if kind == "action" and "by" in body else _root(entry.cause))
        if of is not None:
            of.parts.append(entry)
            if kind == "action":
                self.calls[str(body.get("id"))] = of
        elif kind == "handover" and between_agents(body):
            self._handover(entry)
        elif _of_the_run(entry):
            self.root.items.append(entry)
            if not self.open:
                self.active = self.root
        else:
            self._act(entry)

    def _act(self, entry: Entry) -> None:
        name = _agent_of(entry)
        if name is None and entry.kind == "handover":
            name = _text(entry.body.get("source"))
        if name is None and entry.kind in ("observation", "model_call") and self.root.idle:
            self.root.items.append(entry)
            return
        stretch = self._word_of(name)
        stretch.parts.append(entry)
        if entry.kind == "action":
            self.calls[str(entry.body.get("id"))] = stretch

    def _word_of(self, name: str | None) -> Stretch:
        """The stretch in which an agent is at work; whoever has the word, where nobody is named."""
        if name is None:
            return self.active.current
        branch = self._branch_of(name)
        if branch is None:
            branch = self.active
            if branch.agent is not None:
                branch.hand(name, None)
            else:
                branch.current.agent = name
                branch.agent = name
        self._busy(branch)
        return branch.current

    def _branch_of(self, name: str) -> Branch | None:
        """Where an agent has the word; of several places the one that was busy last."""
        if self.active.agent == name:
            return self.active
        return next((b for b in (*reversed(self.open.values()), self.root) if b.agent == name), None)

    def _nameless(self) -> Branch:
        """Around what is done now, where an agent without a name is at work: it gives out work without a name, too."""
        branch: Branch | None = self.active
        while branch is not None and branch.agent is not None:
            branch = branch.within
        return branch or self.active

    def _busy(self, branch: Branch) -> None:
        self.active = branch
        for id, one in self.open.items():
            if one is branch:
                del self.open[id]
                self.open[id] = one
                return

    def _handover(self, entry: Entry) -> None:
        body = entry.body
        if "returned" in body:
            self._returned(entry, str(body["returned"]))
            return
        to, source = _text(body.get("agent")), _text(body.get("source"))
        if body.get("how") == "delegate":
            if source is None:
                self.active = self._nameless()
            giver = self._word_of(source)
            branch = Branch(within=self.active, giver=giver)
            giver.parts.append(branch)
            self.open[str(body["id"])] = branch
        else:
            branch = (self._branch_of(source) if source is not None else None) or self.active
        branch.hand(to, entry)
        self._busy(branch)

    def _returned(self, entry: Entry, id: str) -> None:
        branch = self.open.pop(id, None)
        if branch is None:  # what was handed over for good has come back all the same
            self.active.current.parts.append(entry)
            return
        branch.returned = entry
        for inner, one in list(self.open.items()):
            above = one.within
            while above is not None and above is not branch:
                above = above.within
            if above is branch:
                del self.open[inner]  # nobody waits for it any more
        self._busy(branch.within or self.root)


def _of_the_run(entry: Entry) -> bool:
    if entry.kind == "heard":
        return "answers" not in entry.body
    return entry.kind in OF_THE_RUN or (entry.kind == "observation" and layout_of(entry.body) is not None)


def _root(cause: str | None) -> str:
    return (cause or "").partition("~")[0]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
