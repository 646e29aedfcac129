"""Which way a graph of LangGraph goes while it runs: which agent asks for what, and who gives way to whom.

LangGraph tells its callbacks of every graph, node and tool that begins and ends, wherever one is nested in another. A
`Trail` listens for one turn of one run. It keeps what it hears until the next tool call or the end of the turn, and
then has it written; it decides nothing, and nothing waits for it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.callbacks.base import BaseCallbackManager
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp, GraphInterrupt, ParentCommand
from langgraph.types import Command, Send

from roadworthy.adapters.langgraph.layout import ENDS, Layout, own_name
from roadworthy.adapters.langgraph.runs import space
from roadworthy.core.errors import HarnessError, Suspended
from roadworthy.gate.replay import readable
from roadworthy.gate.run import Run

logger = logging.getLogger("roadworthy.adapters")

_STEP = "graph:step:"
"""Begins the tag of a run that is a node of a graph."""
_HIDDEN = "langsmith:hidden"
_HANDED_BACK = "__is_handoff_back"
"""Marks messages that langgraph-supervisor writes in an agent's name when it has ended."""
MOST_STEPS = 1000
"""How many nodes of one turn are kept."""
_NOWHERE = Layout()


@dataclass(slots=True, eq=False)
class _Part:
    """Something that runs: a graph, a node of one, a tool, or a step inside of these."""

    name: str
    around: _Part | None
    kind: Literal["graph", "node", "tool", "step"] = "step"
    layout: Layout = _NOWHERE
    """Of a graph."""
    arrivals: dict[str, list[str | None]] = field(default_factory=dict[str, list["str | None"]])
    """Of a graph: the nodes that got control from another one and have not begun, with the work that went along."""
    first: object = None
    """Of the outermost graph: its first step in this turn."""
    arrived: bool = False
    """Of a node: another agent handed control over to it."""
    work: str | None = None
    """Of a graph or a node: the piece of work that is done when it has ended."""
    step: dict[str, Any] | None = None
    """Of a node: what is kept of it."""
    anew: bool = False
    """Of a node: it may have begun before, and is begun from its start once more."""
    calls: dict[str, int] = field(default_factory=dict[str, int])
    """Of a node: the tool calls that came from it, and how often."""

    def out(self) -> Iterator[_Part]:
        """This, and what it is in, from the inside out."""
        part: _Part | None = self
        while part is not None:
            yield part
            part = part.around

    def within(self, kind: str) -> _Part | None:
        """The next thing of a kind that this is in."""
        return next((part for part in self.out() if part is not self and part.kind == kind), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """One agent gave way to another one."""

    key: str
    to: str
    source: str | None
    how: Literal["handoff", "delegate"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Back:
    """A piece of work is done."""

    key: str
    text: str


class Trail(BaseCallbackHandler):
    """What is heard of one turn of one run."""

    run_inline = True
    """In async code, too, things are heard in the order in which they happen."""
    ignore_llm = True  # pyright: ignore[reportAssignmentType,reportIncompatibleMethodOverride]  # a property there
    ignore_chat_model = True  # pyright: ignore[reportAssignmentType,reportIncompatibleMethodOverride]  # as above
    ignore_retriever = True  # pyright: ignore[reportAssignmentType,reportIncompatibleMethodOverride]  # as above

    def __init__(self, run: Run, layout: Layout, *, goes_on: bool = False) -> None:
        super().__init__()
        self.run = run
        self.path: list[dict[str, Any]] = []
        """The nodes that were begun, in this order: `{"node": "outer:inner", "calls": [ids of tool calls]}`."""
        self._layout = layout
        self._goes_on = goes_on
        """The turn goes on where it was interrupted: work that is not back yet is the same work."""
        self._parts: dict[UUID, _Part] = {}
        self.final: Any = None
        """What the graph came to."""
        self.paused = False
        """The turn waits to go on where it is, and is not at its end."""
        self._begun: set[str] = set()
        """The steps that were begun in this turn."""
        self._asked: dict[str, str] = {}
        """The agents behind the tool calls of a graph of several, by the ids of the calls."""
        self._words: dict[_Part, dict[str, str]] = {}
        """What agents write to those that they give way to, by the node and the tool in which they do."""
        self._waiting: deque[_Given | _Back] = deque()
        self._ids: dict[str, str] = {}
        self._open: dict[str, str] | None = None
        """Where the turn goes on: the work that was not back when it was interrupted, and who had it then."""
        self._count = 0
        self._lock = threading.RLock()
        self._writing = threading.Lock()

    # -- asked by the adapter -----------------------------------------------------------------------------------------

    def agent(self, config: RunnableConfig | None, call_id: str | None = None) -> str | None:
        """The agent that asks for a call, by the config of the tool or node that runs."""
        here = self._here(config)
        with self._lock:
            return self._agent(here, call_id) if here is not None else None

    def asks(self, config: RunnableConfig | None, call_id: str | None) -> bool:
        """A tool call comes from here. Whether it may be one that was made before, in a step that is begun anew."""
        here = self._here(config)
        node = next((part for part in here.out() if part.kind == "node"), None) if here is not None else None
        if node is None or call_id is None:
            return False
        with self._lock:
            before = node.calls.get(call_id, 0)
            node.calls[call_id] = before + 1
            if node.step is not None and before == 0:
                node.step.setdefault("calls", []).append(call_id)
        return node.anew and before == 0

    def name_call(self, config: RunnableConfig | None, tool: str, given: object) -> str | None:
        """An id for a call that has none, which is the same when its step is begun anew."""
        here = self._here(config)
        node = next((part for part in here.out() if part.kind == "node"), None) if here is not None else None
        if node is None:
            return None
        with self._lock:
            key = f"{tool} {given!r}"
            place = node.calls[key] = node.calls.get(key, 0) + 1
        return f"{space(config)}#{tool}#{place}"

    def writes(self, config: RunnableConfig | None, tool: str, text: str) -> None:
        """What goes along when the tool that is called here gives way to another agent."""
        here = self._here(config)
        if here is not None:
            with self._lock:
                self._words.setdefault(here, {})[tool] = text

    @property
    def waits(self) -> bool:
        """Whether there is something to be written, or somebody writes it."""
        return bool(self._waiting) or self._writing.locked()

    def flush(self) -> None:
        """Have all that was heard so far written. It is only a record: where the ledger fails, the run goes on."""
        if not self.waits:
            return
        with self._writing:
            while True:
                try:
                    told = self._waiting.popleft()
                except IndexError:
                    return
                try:
                    self._write(told)
                except HarnessError:
                    raise
                except Exception:  # the gate itself stops a run whose ledger cannot be written
                    logger.exception("a handover between agents of run %s was not recorded", self.run.id)

    def _write(self, told: _Given | _Back) -> None:
        if isinstance(told, _Back):
            known = self._ids.get(told.key)
            if known is not None:
                self.run.returned(known, told.text)
            return
        if told.how == "delegate" and self._goes_on:
            if self._open is None:
                self._open = _work_of(self.run)
            known = next((id for id, whose in self._open.items() if whose == told.to), None)
            if known is not None:
                del self._open[known]
                self._ids[told.key] = known
                return
        self._ids[told.key] = self.run.handover(told.to, source=told.source, how=told.how, text=told.text)

    def _here(self, config: RunnableConfig | None) -> _Part | None:
        callbacks = (config or {}).get("callbacks")
        known = getattr(callbacks, "parent_run_id", None)
        return self._parts.get(known) if known is not None else None

    def _agent(self, part: _Part, call_id: str | None = None) -> str | None:
        """The agent in which something runs: the innermost that has a name."""
        graph = False
        for at in part.out():
            if at.kind == "graph":
                if at.layout.name is not None:
                    return at.layout.name
                graph = True
            elif at.kind == "tool" and graph:
                return at.name
            elif at.kind == "node":
                around = at.within("graph")
                layout = around.layout if around is not None else _NOWHERE
                name = layout.agent(at.name)
                if name is None and layout.several and call_id is not None:
                    name = self._asked.get(call_id)
                if name is not None:
                    return name
        return None

    # -- told by LangGraph --------------------------------------------------------------------------------------------

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: Any = None,
        name: str | None = None,
        **_: Any,
    ) -> None:
        """A graph, a node, or a step inside of one begins."""
        with self._lock:
            around = self._parts.get(parent_run_id) if parent_run_id is not None else None
            part = self._parts[run_id] = _Part(name or "", around)
            if around is not None and any(tag.startswith(_STEP) for tag in tags or ()):
                if around.kind == "step":
                    self._enter(around)
                if around.kind == "graph" and _HIDDEN not in (tags or ()):
                    told = cast("Mapping[str, Any]", metadata or {})
                    self._visit(
                        part, around, str(told.get("langgraph_checkpoint_ns") or ""), told.get("langgraph_step")
                    )

    def on_tool_start(
        self,
        serialized: Any,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        name: str | None = None,
        **_: Any,
    ) -> None:
        """A tool begins."""
        with self._lock:
            around = self._parts.get(parent_run_id) if parent_run_id is not None else None
            called = name or str(cast("dict[str, Any]", serialized or {}).get("name") or "")
            self._parts[run_id] = _Part(called, around, kind="tool")

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """A tool has ended."""
        self._forget(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A tool has raised something."""
        self._forget(run_id)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """A graph, a node or a step has ended."""
        with self._lock:
            part = self._forget(run_id)
            if part is None or part.kind not in ("node", "graph"):
                return
            if part.kind == "node":
                self._left(part, outputs)
            elif part.within("node") is None and self.path and not self.paused:
                self.path.append({"node": ENDS[1]})
                self.final = outputs
            if part.work is not None:
                self._waiting.append(_Back(key=part.work, text=_last_words(outputs)))

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """It has raised something, as it does to send control out of a graph."""
        with self._lock:
            part = self._forget(run_id)
            self.paused = self.paused or isinstance(error, GraphInterrupt)
            raised: tuple[Any, ...] = cast("Any", error).args if isinstance(error, ParentCommand) else ()
            command = raised[0] if raised else None
            if part is not None and part.work is not None and not isinstance(error, GraphBubbleUp | Suspended):
                self._waiting.append(_Back(key=part.work, text=""))  # it failed, and nobody works on it any more
            if part is None or part.kind != "node" or not isinstance(command, Command):
                return
            graph = part.within("graph")
            node = graph.within("node") if graph is not None else None
            if graph is None or node is None or cast("Any", command).graph != Command.PARENT:
                return
            outer = node.within("graph")
            if outer is not None:
                work, graph.work, node.work = graph.work or node.work, None, None
                self._hand_over(part, outer, cast("Command[Any]", command), work)

    # -- what follows from it -----------------------------------------------------------------------------------------

    def _forget(self, run_id: UUID) -> _Part | None:
        with self._lock:
            return self._parts.pop(run_id, None)

    def _enter(self, graph: _Part) -> None:
        """The first node of a graph begins, so it is one, and somebody gave way to it."""
        graph.kind = "graph"
        node, tool = graph.within("node"), graph.within("tool")
        if node is None:
            graph.layout = self._layout if self._layout.name == own_name(graph.name) else _named(graph.name)
            return
        outer = node.within("graph")
        known = outer.layout.nodes.get(node.name) if outer is not None else None
        in_tool = tool is not None and any(part is node for part in tool.out())
        if known is not None and known.graph is not None and not in_tool and known.graph.name == own_name(graph.name):
            graph.layout = known.graph
        else:
            graph.layout = self._anywhere(graph.name) or _named(graph.name)
        name = self._agent(graph)
        if name is None:
            return
        words = ""
        if in_tool:
            source = self._agent(node, self._call_of(node))
            words = self._words.get(node, {}).get(cast("_Part", tool).name, "")
        else:
            mine = outer.layout.agent(node.name) if outer is not None else None
            is_it = known is not None and known.is_graph
            if node.arrived and (is_it or mine == name):
                return
            source = mine if mine is not None and not is_it and mine != name else self._agent(outer) if outer else None
        if name == source:
            return
        graph.work = self._give(_Given(key=self._key(), to=name, source=source, how="delegate", text=words))

    def _call_of(self, node: _Part) -> str | None:
        calls = node.step.get("calls") if node.step is not None else None
        return calls[-1] if calls else None

    def _anywhere(self, name: str) -> Layout | None:
        """The one graph of this name among all that can be seen from outside."""
        found: list[Layout] = []

        def look(layout: Layout) -> None:
            for node in layout.nodes.values():
                if node.graph is not None:
                    if node.graph.name is not None and node.graph.name == name:
                        found.append(node.graph)
                    look(node.graph)

        look(self._layout)
        return found[0] if found else None

    def _visit(self, node: _Part, graph: _Part, step: str, number: object) -> None:
        """A node begins, in the so-many-th step of its graph."""
        node.kind = "node"
        node.anew = step in self._begun or (self._goes_on and self._goes_on_in(graph, number))
        self._begun.add(step)
        carried = graph.arrivals.get(node.name)
        if carried:
            node.arrived, node.work = True, carried.pop(0)
        if len(self.path) < MOST_STEPS:
            inside = [part.name for part in node.out() if part.kind == "node"]
            node.step = {"node": ":".join(reversed(inside))}
            self.path.append(node.step)

    def _goes_on_in(self, graph: _Part, number: object) -> bool:
        """Whether a step is where the turn goes on. What comes after that is new, though models use an id again."""
        outer = graph.within("node")
        if outer is not None:
            return outer.anew
        if graph.first is None:
            graph.first = number
        return number == graph.first

    def _left(self, node: _Part, outputs: Any) -> None:
        """A node has ended: it may have asked for tools, or sent control somewhere."""
        graph = node.within("graph")
        if graph is None or not graph.layout.several:
            return
        name = graph.layout.agent(node.name)
        for message in _messages(outputs):
            for call in message.tool_calls:
                if call["id"] is not None and name is not None:
                    self._asked[call["id"]] = name
        for part in cast("list[Any]", outputs) if isinstance(outputs, list) else [outputs]:
            if isinstance(part, Command) and cast("Any", part).graph is None:
                self._hand_over(node, graph, cast("Command[Any]", part), None)

    def _hand_over(self, node: _Part, graph: _Part, command: Command[Any], work: str | None) -> None:
        """A node sends control to others of this graph. What was to be done goes along with the first of them."""
        source = self._agent(node, self._call_of(node))
        written = list(self._words.pop(node, {}).values())
        words = written[0] if len(written) == 1 else ""
        for target in _targets(command.goto):
            known = graph.layout.nodes.get(target)
            to = graph.layout.agent(target) if known is not None else target
            if target in ENDS or to is None or to == source:
                continue
            self._give(_Given(key=self._key(), to=to, source=source, how="handoff", text=words))
            graph.arrivals.setdefault(target, []).append(work)
            work = None
        if work is not None:
            self._waiting.append(_Back(key=work, text=""))

    def _give(self, given: _Given) -> str:
        self._waiting.append(given)
        return given.key

    def _key(self) -> str:
        self._count += 1
        return str(self._count)


def _work_of(run: Run) -> dict[str, str]:
    """The pieces of work of a run that are not back, and the agents that have them by now."""
    found: dict[str, str] = {}
    for entry in readable(run.gate.ledger.entries(run=run.id, kind="handover")):
        body = entry.body
        if "returned" in body:
            found.pop(body["returned"], None)
        elif body.get("how") == "delegate":
            found[body["id"]] = body["agent"]
        elif body.get("how") == "handoff":
            held = next((id for id, whose in reversed(found.items()) if whose == body["source"]), None)
            if held is not None:
                found[held] = body["agent"]
    return found


def _named(name: str) -> Layout:
    return Layout(name=own_name(name))


def _targets(goto: Any) -> Iterable[str]:
    for one in cast("Sequence[Any]", goto) if isinstance(goto, list | tuple) else [goto]:
        target = one.node if isinstance(one, Send) else one
        if isinstance(target, str) and target:
            yield target


def _messages(outputs: Any, depth: int = 0) -> Iterable[AIMessage]:
    """The messages of models in what a node or a graph gives back."""
    if isinstance(outputs, AIMessage):
        yield outputs
    elif isinstance(outputs, Command):
        yield from _messages(cast("Any", outputs).update, depth)
    elif depth < 3:
        if isinstance(outputs, Mapping):
            outputs = list(cast("Mapping[str, Any]", outputs).values())
        for part in cast("list[Any]", outputs) if isinstance(outputs, list) else ():
            yield from _messages(part, depth + 1)


def _last_words(outputs: Any) -> str:
    last = None
    for message in _messages(outputs):
        if not message.response_metadata.get(_HANDED_BACK):
            last = message
    return str(last.text) if last is not None else ""


def trail_of(config: RunnableConfig | None) -> Trail | None:
    """The trail that listens where this config comes from."""
    callbacks: Any = (config or {}).get("callbacks")
    handlers: Any = callbacks.handlers if isinstance(callbacks, BaseCallbackManager) else callbacks
    return next((h for h in cast("list[Any]", handlers or ()) if isinstance(h, Trail)), None)


def agent_here(config: RunnableConfig | None, run: Run | None, call_id: str | None = None) -> str | None:
    """The agent that asks for a call: by the trail, else by the name that `create_agent` gives what it runs."""
    trail = trail_of(config)
    if trail is not None and trail.run is run:
        return trail.agent(config, call_id)
    return ((config or {}).get("metadata") or {}).get("lc_agent_name")
