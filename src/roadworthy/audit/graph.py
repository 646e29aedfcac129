"""The graphs that an application is put together as, with the way that a run took and what the gate said on it.

They come from entries of kind `observation`: `graph` is told once a run, `path` at each turn, with the ids of the tool
calls that came from a step. Where no path is told, the handovers between agents are the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from roadworthy.audit.drawing import Drawing, Edge, Kind, Mark, Node, Said
from roadworthy.core.types import Entry
from roadworthy.gate.replay import root_of
from roadworthy.ledger.between import between_agents

_START: Final = "__start__"
_END: Final = "__end__"
Way = tuple[str, str]


def drawings_of(entries: Sequence[Entry]) -> list[Drawing]:
    """A drawing for each graph that the entries of one run tell of, in this order."""
    observed = [entry.body for entry in entries if entry.kind == "observation"]
    graphs = [_Graph(body) for body in observed if "graph" in body]
    for body in observed:
        if "path" in body:
            path = cast("Sequence[Mapping[str, Any]]", body["path"])
            graph = next((g for g in graphs if g.source == body.get("source") and g.knows(path)), None)
            if graph is not None:
                graph.follow(path)
    for graph in graphs:
        if not graph.steps:
            graph.follow_handovers(entries)
    for call in _calls(entries):
        node = next(((g, found) for g in graphs if (found := g.node_of(call)) is not None), None)
        if node is not None:
            node[0].said[(node[1], call.said)] += 1
    return [graph.drawing() for graph in graphs]


@dataclass(slots=True, kw_only=True)
class _Call:
    """One tool call, and what came of it."""

    call_id: str | None
    agent: str | None
    said: Said = "deny"


def _calls(entries: Iterable[Entry]) -> Iterable[_Call]:
    """The calls of agents that were judged, in the order in which they came."""
    found: dict[str, _Call] = {}
    judged: dict[str, None] = {}
    for entry in entries:
        body = entry.body
        if entry.kind == "action" and "by" not in body:
            found[body["id"]] = _Call(call_id=body.get("call_id"), agent=body.get("agent"))
            continue
        call = found.get(root_of(entry.cause))
        if call is None:
            continue
        if entry.kind == "verdict":
            call.said = body["ruling"]
            judged[root_of(entry.cause)] = None
        elif entry.kind == "outcome" and call.said == "allow" and body["status"] in ("failed", "in_doubt"):
            call.said = body["status"]
    return [found[action] for action in judged]


@dataclass(slots=True, eq=False)
class _Graph:
    """A graph, without the ends of the graphs in it: who enters one of these comes to its first nodes."""

    body: Mapping[str, Any]
    nodes: list[str] = field(init=False)
    edges: dict[Way, bool] = field(init=False)
    steps: list[str] = field(default_factory=list[str])
    """The nodes that the run came to."""
    taken: list[Way] = field(default_factory=list[Way])
    said: Counter[tuple[str, Said]] = field(default_factory=Counter[tuple[str, Said]])
    called: dict[str, str] = field(default_factory=dict[str, str])
    """The nodes that tool calls came from, by the ids of the calls."""
    first: dict[str, list[str]] = field(init=False)
    """The nodes at which the graphs within the graph begin, by the nodes that these are."""
    entered: dict[str, list[str | None]] = field(default_factory=dict[str, list["str | None"]])
    """From where the run has entered graphs within the graph, whose first node has not begun."""

    def __post_init__(self) -> None:
        graph = self.body["graph"]
        every: list[str] = list(graph["nodes"])
        self.nodes = [node for node in every if not _passed_through(node)]
        ways: dict[str, list[tuple[str, bool]]] = {}
        for source, target, conditional in graph["edges"]:
            ways.setdefault(source, []).append((target, bool(conditional)))
        around = {node.rpartition(":")[0] for node in every} - {""}
        self.first = {name: [node for node, _ in _beyond(f"{name}:{_START}", ways)] for name in around}
        self.edges = {}
        for node in self.nodes:
            for target, conditional in _beyond(node, ways):
                self.edges[node, target] = self.edges.get((node, target), True) and conditional

    @property
    def source(self) -> Any:
        return self.body.get("source")

    def knows(self, path: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a path leads through this graph."""
        return any(self._node(step["node"])[0] is not None for step in path)

    def _node(self, step: str) -> tuple[str | None, bool]:
        """The node that a step is in, and whether it is that node: what runs inside of a function is not drawn."""
        parts = step.split(":")
        for length in range(len(parts), 0, -1):
            name = ":".join(parts[:length])
            if name in self.nodes:
                return name, length == len(parts)
        return None, False

    def follow(self, path: Sequence[Mapping[str, Any]]) -> None:
        """Go the way of one turn."""
        first = True
        for step in path:
            begins = self.first.get(step["node"])
            if begins and step["node"] not in self.nodes:
                self.entered.setdefault(step["node"], []).append(self._enters(step["node"], begins, first=first))
                continue
            node, exactly = self._node(step["node"])
            if node is None:
                continue
            for call in step.get("calls", ()):
                self.called[call] = node
            if exactly or not self.steps or self.steps[-1] != node:
                before = self._before(node, first=first)
                if before is not None:
                    self.taken.append((before, node))
                self.steps.append(node)
                first = False

    def _enters(self, graph: str, begins: Sequence[str], *, first: bool) -> str | None:
        """The node from which the run comes to a graph within the graph."""
        for around, waiting in self.entered.items():
            if graph.startswith(f"{around}:") and waiting and set(begins) & set(self.first[around]):
                return waiting.pop(0)
        if first:
            return self._came(begins[0], first=True)
        ways = [one for one in reversed(self.steps) for node in begins if (one, node) in self.edges]
        came = next((one for one in ways if not one.startswith(f"{graph}:")), ways[0] if ways else None)
        return self._left(came, begins[0]) if came is not None else self._came(begins[0], first=False)

    def _before(self, node: str, *, first: bool) -> str | None:
        """The node that the run came from."""
        for around, waiting in self.entered.items():
            if node.startswith(f"{around}:") and waiting and node in self.first[around]:
                return waiting.pop(0)
        return self._came(node, first=first)

    def _came(self, node: str, *, first: bool) -> str | None:
        """The latest node with a way to this one: others may have run beside it."""
        if first and (_START, node) in self.edges:
            return _START
        came = next((one for one in reversed(self.steps) if (one, node) in self.edges), None)
        if came is None or node == _END:
            return self.steps[-1] if self.steps else None
        return self._left(came, node)

    def _left(self, came: str, node: str) -> str:
        """Control that a tool sends out of its graph leaves there, and not at the last node with a way out."""
        last, inside = self.steps[-1], came.rpartition(":")[0]
        return last if inside and last.rpartition(":")[0] == inside and not node.startswith(inside + ":") else came

    def follow_handovers(self, entries: Iterable[Entry]) -> None:
        """Where no path is told: from one agent to the next."""
        for entry in entries:
            if entry.kind == "handover" and between_agents(entry.body) and "agent" in entry.body:
                source, target = entry.body.get("source"), entry.body["agent"]
                if target in self.nodes:
                    self.steps.append(target)
                    if source in self.nodes and source != target:
                        self.taken.append((source, target))

    def node_of(self, call: _Call) -> str | None:
        """Where a call came from."""
        if call.call_id in self.called:
            return self.called[call.call_id]
        return call.agent if call.agent in self.nodes else None

    def drawing(self) -> Drawing:
        """What was found."""
        nodes = [Node(id=node, label=_LABELS.get(node, ""), kind=self._kind(node)) for node in self.nodes]
        edges = [Edge(source=one, target=other, conditional=cond) for (one, other), cond in self.edges.items()]
        marks = [Mark(node=node, verdict=said, count=count) for (node, said), count in self.said.items()]
        title = f"The graph of {self.source}" if self.source else "The graph"
        return Drawing(
            title=title,
            nodes=nodes,
            edges=edges,
            taken=self.taken,
            visited=list(dict.fromkeys(self.steps)),
            marks=marks,
        )

    def _kind(self, node: str) -> Kind:
        if node in (_START, _END):
            return "start" if node == _START else "end"
        if node in self.called.values() or node.rpartition(":")[2] == "tools":
            return "tool"
        return "step"


_LABELS: Final = {_START: "start", _END: "end"}


def _passed_through(node: str) -> bool:
    """Whether a node is the beginning or the end of a graph within the graph."""
    around, _, name = node.rpartition(":")
    return bool(around) and name in (_START, _END)


def _beyond(node: str, ways: Mapping[str, Sequence[tuple[str, bool]]]) -> Iterable[tuple[str, bool]]:
    """The nodes that come next, beyond the ends of graphs within the graph, and whether that depends."""
    seen: set[str] = set()
    waiting = list(ways.get(node, ()))
    while waiting:
        target, conditional = waiting.pop(0)
        if not _passed_through(target):
            yield target, conditional
        elif target not in seen:
            seen.add(target)
            waiting += [(further, conditional or depends) for further, depends in ways.get(target, ())]
