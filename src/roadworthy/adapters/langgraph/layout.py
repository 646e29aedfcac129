"""How a graph of LangGraph is laid out: its steps, which of them are agents, and what each of these is called."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.runnables.base import RunnableBinding
from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked as such

logger = logging.getLogger("roadworthy.adapters")

_NAMELESS = "LangGraph"
"""What LangGraph calls a graph that nobody has named."""
_DEEPEST = 8
"""How deep graphs within graphs are looked at; one may hold itself."""
MOST_NODES = 200
"""A graph with more nodes than these is kept without those of its subgraphs; with more of its own, not at all."""
ENDS = ("__start__", "__end__")


def own_name(name: str | None) -> str | None:
    """The name that a graph was given; None for one that was given none."""
    return None if name == _NAMELESS else name or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node of a graph."""

    name: str
    tools: bool = False
    """It carries out tool calls for others, and is nobody by itself."""
    graph: Layout | None = None
    """The graph that this node is, or that its function holds."""
    is_graph: bool = False
    """It is that graph, and no function that calls it."""

    @property
    def called(self) -> str:
        """The name of the agent that this node is: its graph's own, else its own."""
        return (self.graph.name if self.graph is not None and self.is_graph else None) or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What can be seen of a graph before it runs."""

    name: str | None = None
    nodes: Mapping[str, Node] = field(default_factory=dict[str, Node])
    several: bool = False
    """Its nodes are agents of their own: it holds graphs, several tool nodes, or nodes that send control to others."""

    def agent(self, node: str) -> str | None:
        """The agent that a node is, in a graph of several agents; None for one that only carries out calls."""
        known = self.nodes.get(node)
        if not self.several or known is None or known.tools:
            return None
        return known.called


def layout_of(graph: Any, depth: int = 0) -> Layout:
    """The layout of a compiled graph."""
    subgraphs = _subgraphs(graph)
    specs: Mapping[str, Any] = getattr(getattr(graph, "builder", None), "nodes", {})
    nodes: dict[str, Node] = {}
    sends = False
    for name, node in cast("Mapping[str, Any]", graph.nodes).items():
        if name in ENDS:
            continue
        bound = _unbound(node.bound)
        inner: Any = cast("Any", bound) if isinstance(bound, Pregel) else subgraphs.get(name)
        nodes[name] = Node(
            name=name,
            tools=isinstance(bound, ToolNode),
            graph=layout_of(inner, depth + 1) if inner is not None and depth < _DEEPEST else None,
            is_graph=isinstance(bound, Pregel),
        )
        ends: Iterable[str] = getattr(specs.get(name), "ends", None) or ()
        sends = sends or any(end not in ENDS for end in ends)
    several = sends or any(n.graph is not None for n in nodes.values()) or sum(n.tools for n in nodes.values()) > 1
    return Layout(name=own_name(graph.name), nodes=nodes, several=several)


def _unbound(bound: Any) -> Any:
    while isinstance(bound, RunnableBinding):
        bound = cast("Any", bound).bound
    return bound


def _subgraphs(graph: Any) -> dict[str, Any]:
    try:
        return dict(graph.get_subgraphs())
    except Exception:  # a graph of another kind: it is walked without what its functions hold
        logger.debug("the subgraphs of %r cannot be seen", graph, exc_info=True)
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Nodes and edges of a graph; a node of a subgraph is `node:inner node`."""

    nodes: Sequence[str]
    edges: Sequence[tuple[str, str, bool]]
    """From, to, and whether it depends."""


def drawn(graph: Any) -> Drawn | None:
    """A graph with its subgraphs. None for one that cannot be looked at, or is too large to be drawn."""
    for deep in (True, False):
        try:
            found = graph.get_graph(xray=deep)
        except Exception:  # foreign code, and a picture is not worth a failed run
            logger.debug("the graph %r cannot be drawn", graph, exc_info=True)
            continue
        nodes: list[str] = list(found.nodes)
        if len(nodes) <= MOST_NODES:
            edges = {(edge.source, edge.target): bool(edge.conditional) for edge in found.edges}
            return Drawn(nodes=nodes, edges=[(source, target, cond) for (source, target), cond in edges.items()])
    return None
