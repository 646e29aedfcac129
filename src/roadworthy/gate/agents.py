"""The agents of one application among themselves: who hands what to whom is recorded, and decides nothing.

All of them work in the run of their application, for its principal and its subject, by its capabilities, levels and
budgets. A name is what the framework calls an agent; whoever is handed something gains nothing by it, and what agents
write to each other vouches for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, get_args

from roadworthy.core.canonical import dumps
from roadworthy.core.errors import UsageError
from roadworthy.gate.core import Steps
from roadworthy.gate.entries import Context

How = Literal["handoff", "delegate", "turn"]
"""How an agent comes to its work: control moves over, a piece of work that comes back, or the word in a team."""

MOST_NODES: Final = 1000
"""A graph that is larger is not told."""
_HOWS: Final = get_args(How)


def named(agent: object) -> str | None:
    """The name of an agent; None for nobody's, which an empty one is, too. Raises UsageError for what is no text."""
    if agent is None or isinstance(agent, str):
        return agent or None
    raise UsageError(f"an agent is named by a text, or by None, and not by a {type(agent).__name__}")


def handover(ctx: Context, to: str, source: str | None, how: How, text: str) -> Steps[str]:
    """One agent gives control, a piece of work or the word to another one. Comes to the id of it."""
    if named(to) is None:
        raise UsageError("a handover needs the name of the agent that it goes to: run.handover('billing')")
    if how not in _HOWS:
        raise UsageError(f"how={how!r} is none of {', '.join(_HOWS)}")
    text = _text(text)
    body: dict[str, Any] = {"agent": to, "source": named(source), "how": how, "text": text}
    with ctx.core.lock:
        journal = ctx.core.journal
        past = journal.take_handover(body) if journal is not None else None
        if past is not None:
            return past
        ctx.core.handovers += 1
        body["id"] = f"h{ctx.core.handovers}{ctx.core.session}"
    yield from _record(ctx, body)
    return body["id"]


def returned(ctx: Context, id: str, text: str) -> Steps[None]:
    """A piece of work that was handed to another agent is done, and control is where it was."""
    body = {"returned": id, "text": _text(text)}
    with ctx.core.lock:
        state, journal = ctx.state, ctx.core.journal
        if id not in state.handed:
            raise UsageError(f"run {ctx.core.id} holds no handover {id!r}: pass what run.handover(...) gave")
        if journal is not None and journal.take_returned(id):
            return
        if id in state.back:
            return
    yield from _record(ctx, body)


def _record(ctx: Context, body: Mapping[str, Any]) -> Steps[None]:
    yield ctx.write([ctx.draft("handover", body)])
    with ctx.core.lock:
        ctx.state.passed_on(body)


def connected(ctx: Context, nodes: Sequence[str], edges: Iterable[Sequence[Any]], source: str) -> Steps[None]:
    """How an application is put together: its agents or steps, and the ways between them. Told once a run."""
    known = [named(node) for node in nodes]
    if None in known or len(set(known)) < len(known) or len(known) > MOST_NODES:
        raise UsageError(
            f"a graph has up to {MOST_NODES} nodes, each named by a text of its own; this one has {known!r:.200}"
        )
    ways = [_way(edge, known) for edge in edges]
    body = {"graph": {"nodes": known, "edges": ways}, "source": source}
    told = dumps(body)
    with ctx.core.lock:
        if told in ctx.state.graphs:
            return
        ctx.state.graphs.add(told)
    yield ctx.write([ctx.draft("observation", body)])


def _way(edge: Sequence[Any], nodes: Sequence[str | None]) -> list[Any]:
    found = [*edge, False] if len(edge) == 2 else list(edge)
    if len(found) != 3 or found[0] not in nodes or found[1] not in nodes or not isinstance(found[2], bool):
        raise UsageError(
            f"an edge is (source, target, conditional) between two nodes of the graph, and not {edge!r:.200}"
        )
    return found


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise UsageError(f"what agents write to each other is text, and not a {type(given).__name__}")
    return given
