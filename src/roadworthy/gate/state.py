"""What a run has seen and done so far: all that a decision reads beside the contract.

It grows by events only (`hear`, `open`, `reserve`, `observe`), so a run that is opened again in another process, or
replayed from recorded messages, comes to the same state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, cast

from roadworthy.contract.shapes import Shape
from roadworthy.core.types import LEVELS, Done, Level, Status
from roadworthy.gate.confirm import Confirmations
from roadworthy.gate.flow.labelled import Labelled
from roadworthy.gate.origins.sightings import Index
from roadworthy.gate.policy import Policy, ToolPolicy
from roadworthy.gate.values import MISSING, BadValue

if TYPE_CHECKING:
    from roadworthy.gate.people.questions import Pending

RunStatus = Literal["open", "held", "escalated", "stopped", "closed"]
SIMULATED = "simulated:"
"""How text that was made up in shadow begins."""
TAKEN_BACK = object()
"""Stands behind an idempotency key whose call was taken back: the tool would answer as if it were still done."""


def leaves(value: Any) -> Iterator[Any]:
    """All scalars of a value, keys left out."""
    if isinstance(value, Mapping):
        for inner in cast("Mapping[str, Any]", value).values():
            yield from leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in cast("Sequence[Any]", value):
            yield from leaves(inner)
    else:
        yield value


def frozen(value: Any) -> Any:
    """A hashable stand-in of a typed value; equal values have equal ones."""
    kind = cast("type[Any]", type(value))
    if kind is str or kind is Decimal:
        return value
    if isinstance(value, Mapping):
        return tuple(sorted((k, frozen(v)) for k, v in cast("Mapping[str, Any]", value).items()))
    if isinstance(value, list | tuple):
        return tuple(frozen(v) for v in cast("Sequence[Any]", value))
    return "nan" if value != value else value  # not-a-number is unlike itself, and would be a new value every time


def key_of(names: Sequence[str], args: Mapping[str, Any]) -> tuple[Any, ...]:
    """What some arguments of a call come to, to be compared with other calls."""
    return tuple(frozen(args.get(name)) for name in names)


@dataclass(frozen=True, slots=True)
class Kept:
    """A result that later calls may need to have seen."""

    value: Any
    """Typed."""
    at: datetime
    """When it was seen."""
    order: int
    """Its place among everything that the run has seen and done."""


class RunState:
    """The memory of one run. Not thread-safe: its run holds a lock around it."""

    __slots__ = (
        "_facts",
        "back",
        "calls_before",
        "capabilities",
        "confirmations",
        "cost",
        "counts",
        "denials",
        "flow",
        "graphs",
        "handed",
        "index",
        "kept",
        "keys",
        "last_at",
        "last_calls",
        "levels",
        "news",
        "order",
        "own",
        "pending",
        "policy",
        "principal",
        "requester",
        "results",
        "scope",
        "simulated",
        "started",
        "status",
        "status_why",
        "stopped",
        "subject",
        "sums",
        "suspendable",
        "tokens",
        "tool_calls",
        "waited_s",
        "withheld",
        "words",
        "writes",
    )

    def __init__(
        self,
        policy: Policy,
        *,
        principal: str,
        started: datetime,
        levels: Mapping[str, Level],
        subject: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.policy = policy
        self.principal = principal
        self.subject: str | None = None
        self.index: Index | None = Index(policy.origins) if policy.origins is not None else None
        """Where values were seen; None where the contract checks no argument for it."""
        self.flow: Labelled | None = Labelled(policy.flow, started.date()) if policy.flow is not None else None
        """Labelled data, directories and links; None where the contract says nothing about them."""
        self._facts: Mapping[str, Any] = {}
        if facts:
            self.facts = facts
        self.started = started
        self.last_at = started
        """When the last entry of the run was made."""
        self.waited_s = 0.0
        """How long the run has waited for the user's words so far; that time is not the agent's."""
        self.levels = dict(levels)
        self.capabilities: list[str] = []
        self.words = ""
        """Everything that the user said, a turn a line."""
        self.status: RunStatus = "open"
        self.status_why = ""
        self.stopped: dict[str | None, str] = {}
        """What was stopped, and why: a capability, or None for the whole agent."""
        self.own: set[tuple[str, str]] = set()
        """Entities that belong to the subject, as far as this run has learnt."""
        self.counts: dict[str, int] = {}
        self.sums: dict[tuple[str, str], Decimal] = {}
        self.kept: dict[tuple[str, tuple[str, ...]], dict[Any, Kept]] = {}
        self.order = 0
        self.last_calls: dict[str, int] = {}
        """By tool, the place of its latest call that did something or may have."""
        self.calls_before: dict[str, tuple[int, int | None]] = {}
        """By tool, the place of its latest call and of the one before, should it turn out that it was not made."""
        self.keys: dict[tuple[str, Any], Any] = {}
        """By tool and idempotency key, all arguments of the call that had it first."""
        self.confirmations: Confirmations | None = Confirmations() if policy.confirms else None
        self.tokens = 0
        """Tokens that models have used for this run, as far as anybody reported them."""
        self.cost = Decimal(0)
        """What they cost, as far as anybody knew."""
        self.tool_calls = 0
        self.writes = 0
        self.denials: Counter[Any] = Counter()
        self.simulated: set[str] = set()
        self.pending: dict[str, Pending] = {}
        """Actions that were put to people, by id; those that were settled among them."""
        self.news: list[str] = []
        self.results: set[str] = set()
        """Those of the news that an agent which is driven again gets as the result of its call."""
        """What came of held actions, and the agent was not told yet."""
        self.requester: str | None = None
        """The person who wants what the run does, where the application knows one beside the principal."""
        self.suspendable = False
        """Whether the run may stop for a person and be driven again from its start."""
        self.withheld = 0
        """Replies that were held back since the user spoke last."""
        self.handed: dict[str, str] = {}
        """What agents handed to each other: by the id of the handover, to whom. Nothing is decided by it."""
        self.graphs: set[bytes] = set()
        """How the application is put together, as far as it was told; nothing is decided by that either."""
        self.back: set[str] = set()
        """The handovers that came back."""
        self.scope: Literal["in", "uncertain", "out"] | None = None
        """What the user's words said of the run's purpose; None where nobody looked."""
        if subject is not None:
            self.set_subject(subject)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the application vouches for, in the contract's types."""
        return self._facts

    @facts.setter
    def facts(self, given: Mapping[str, Any]) -> None:
        self._facts = given
        if self.index is not None:
            self.index.facts(given)

    def set_subject(self, key: str) -> None:
        """The run acts for this entity from now on; who calls has made sure that it acts for no other."""
        self.subject = key
        if self.policy.subject_entity is not None:
            self.own.add((self.policy.subject_entity, key))

    def level_of(self, tool: ToolPolicy) -> Level:
        """The lowest level of the open capabilities under which a tool may be called."""
        names = self.capabilities if tool.common or tool.escalates else self.open_for(tool)
        if not names:
            return "shadow"
        lowest: Level = "autonomous"
        for name in names:
            if LEVELS.index(self.levels[name]) < LEVELS.index(lowest):
                lowest = self.levels[name]
        return lowest

    @property
    def all_in_shadow(self) -> bool:
        """Whether all that is open is in shadow; not where nothing is."""
        return bool(self.capabilities) and all(self.levels[name] == "shadow" for name in self.capabilities)

    def open_for(self, tool: ToolPolicy) -> list[str]:
        """The open capabilities that list a tool, in the order in which they were opened."""
        return [name for name in self.capabilities if name in tool.capabilities]

    def hear(self, text: str, at: datetime | None = None, *, answers: str | None = None) -> None:
        """The user said something; what passed since the last entry was waiting for it.

        `answers`: the question that these words answer, where it was put to the user by itself.
        """
        if at is not None:
            self.waited_s += (at - self.last_at).total_seconds()
            self.last_at = at
        self.withheld = 0
        self.words = f"{self.words}\n{text}" if self.words else text
        if self.confirmations is not None:
            self.confirmations.heard(text, answers)
        if self.index is not None:
            self.index.heard(text, at or self.last_at, answers=answers)
        if self.flow is not None:
            self.flow.heard(text)

    def said(self, text: str, *, question: bool = False) -> None:
        """The agent told the user something, and it was delivered.

        `question`: it was put by itself and waits for its own answer, which `hear` names: no other one affirms it.
        """
        if self.confirmations is not None and not question:
            self.confirmations.said(text)
        if self.index is not None:
            if question:
                self.index.overheard(text)
            else:
                self.index.said(text)
        if self.flow is not None:
            self.flow.told(text)

    def read(self, text: str, *, trusted: bool, source: str = "what was read") -> None:
        """The model was given text that came by no tool: retrieved pages, memory, what other agents wrote."""
        if self.index is not None:
            self.index.read(text, trusted=trusted, source=source)
        if self.flow is not None:
            self.flow.saw(text, trusted=trusted)

    def overheard(self, text: str, trust: str, source: str = "") -> None:
        """The agent learnt something by no tool: `trusted`, `untrusted`, or the words of another `agent`."""
        if trust != "agent":
            self.read(text, trusted=trust == "trusted", source=source or "what was read")
        elif self.index is not None:
            self.index.overheard(text, source or "the words of another agent")

    def passed_on(self, body: Mapping[str, Any]) -> None:
        """An agent handed something to another one, or gave it back, as the entry tells it."""
        if "returned" in body:
            self.back.add(body["returned"])
            source = self.handed.get(body["returned"], "")
        else:
            self.handed[body["id"]] = body["agent"]
            source = body.get("source") or ""
        if body.get("text"):
            self.overheard(body["text"], "agent", source)

    def open(self, capability: str) -> None:
        if capability not in self.capabilities:
            self.capabilities.append(capability)

    def reserve(self, tool: ToolPolicy, args: Mapping[str, Any]) -> None:
        """Count a call that is about to be carried or simulated, so that a parallel one sees it."""
        self._count(tool, args, 1)
        self.order += 1
        self.calls_before[tool.name] = (self.order, self.last_calls.get(tool.name))
        self.last_calls[tool.name] = self.order
        if tool.keyed is not None:
            self.keys.setdefault((tool.name, key_of(tool.keyed.args, args)), frozen(args))
        self._use_consent(tool, args, 1)
        if self.flow is not None:
            self.flow.sent(tool.name, args)

    def release(self, tool: ToolPolicy, args: Mapping[str, Any], *, called: bool = True) -> None:
        """Take back a reservation: nothing was done. A call that failed was a call all the same, and stays counted."""
        self._count(tool, args, -1)
        if called:
            self.tool_calls += 1
        else:
            place, before = self.calls_before.get(tool.name, (0, None))
            if self.last_calls.get(tool.name) == place:
                if before is None:
                    del self.last_calls[tool.name]
                else:
                    self.last_calls[tool.name] = before
        self._use_consent(tool, args, -1)

    def _use_consent(self, tool: ToolPolicy, args: Mapping[str, Any], by: int) -> None:
        if self.confirmations is None:
            return
        if tool.read_out:
            self.confirmations.use((tool.name, key_of(tool.read_out, args)), by)
        if tool.asks_user and (not args or tuple(args) != tool.read_out):
            self.confirmations.use((tool.name, key_of(tuple(args), args)), by)

    def _count(self, tool: ToolPolicy, args: Mapping[str, Any], by: int) -> None:
        self.counts[tool.name] = self.counts.get(tool.name, 0) + by
        for name in tool.summed:
            value = args.get(name)
            if value is not None:
                amount = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
                key = (tool.name, name)
                self.sums[key] = self.sums.get(key, Decimal(0)) + by * amount
        self.tool_calls += by
        if tool.acts:
            self.writes += by

    def undone(self, tool: ToolPolicy, args: Mapping[str, Any], text: str) -> None:
        """A call was taken back, by whom and why `text` says.

        It stays counted, and what it used up stays used: that it happened is still true, and an agent whose mistakes
        were repaired gets no more room than before. What was seen before it was taken back is old for `needs`.
        """
        self.order += 1
        self.last_calls[tool.name] = self.order
        if tool.undoing is not None:
            self.last_calls[tool.undoing.tool] = self.order
            if self.flow is not None and tool.undoing.tool == tool.name:
                self.flow.restored(tool.name)
        if tool.keyed is not None:
            self.keys[(tool.name, key_of(tool.keyed.args, args))] = TAKEN_BACK
        self.news.append(text)

    def deny(self, tool: str, args: Mapping[str, Any], rule: str | None) -> int:
        """Count a denied call; how often this very call has been denied on the same ground by now."""
        key = (tool, frozen(args), rule)
        self.denials[key] += 1
        return self.denials[key]

    def observe(
        self,
        tool: ToolPolicy,
        args: Mapping[str, Any],
        status: Status,
        done: Done,
        value: Any,
        *,
        typed: Any = MISSING,
        at: datetime | None = None,
    ) -> str | None:
        """Learn from a result: the subject, what belongs to it, what `with` and `needs` look at.

        `typed`: the result as `tool.result` reads it, where that was done already. `at`: when it came, for `needs`
        with `within`; the time of the last entry unless told. Returns the key of a *second*
        subject when the result of an establishing look-up names one: then nothing is learnt, and it must be withheld.
        """
        self.order += 1
        if tool.name in self.last_calls and status != "failed":
            self.last_calls[tool.name] = self.order
        if self.flow is not None and status == "ok":
            self.flow.finished(tool.name, simulated=done == "simulated")
        if done == "simulated":
            self.simulated.update(v for v in leaves(value) if isinstance(v, str) and v.startswith(SIMULATED))
            if self.index is not None:
                self.index.result(tool.name, args, self.policy.walks[tool.name].leaves(value), simulated=True)
            return None
        if status != "ok" or done != "executed":
            if self.flow is not None and done == "executed" and value is not None:
                self.flow.result(tool.name, args, self.policy.walks[tool.name].leaves(value), fits=False)
            return None
        shape = tool.result.shape
        if typed is MISSING:
            try:
                typed = tool.result.read(value)
            except BadValue:
                self._index(tool, args, value, MISSING)
                return None
        if tool.establishes and shape is not None:
            second = self._establish(typed, shape)
            if second is not None:
                return second
        self._index(tool, args, value, typed)
        for same in tool.kept_by:
            seen = Kept(typed, at or self.last_at, self.order)
            self.kept.setdefault((tool.name, same), {})[key_of(same, args)] = seen
        if self.subject is not None and self.policy.subject_entity is not None and shape is not None:
            named = [(spec.entity, key) for spec in tool.entity_args for key in spec.keys(args)]
            about = bool(named) and all(entity in self.own for entity in named)
            self._reach(typed, shape, about, tool)
        return None

    def _index(self, tool: ToolPolicy, args: Mapping[str, Any], value: Any, typed: Any) -> None:
        """Remember what a result says, as the model read it, and who vouches for it."""
        if self.index is None and self.flow is None:
            return
        found = self.policy.walks[tool.name].leaves(value, typed)
        if self.index is not None:
            self.index.result(tool.name, args, found)
        if self.flow is not None:
            self.flow.result(tool.name, args, found, fits=typed is not MISSING)

    def _establish(self, value: Any, shape: Shape) -> str | None:
        entity = self.policy.subject_entity
        found = {key for name, key in _entities(value, shape, trusted=True) if name == entity}
        if self.subject is None:
            if len(found) == 1:
                (self.subject,) = found
                self.own.add((cast("str", entity), self.subject))
            return None
        strangers = found - {self.subject}
        return min(strangers) if strangers else None

    def _reach(self, value: Any, shape: Shape, about: bool, tool: ToolPolicy) -> None:
        """Add what a trusted result about the subject names to what belongs to the subject."""
        if value is None or shape.trust == "untrusted" or shape.trust_when is not None:
            return
        if shape.type == "object" and isinstance(value, Mapping):
            fields = cast("Mapping[str, Any]", value)
            for name, inner in shape.fields.items():
                if inner.entity == self.policy.subject_entity and inner.trust != "untrusted" and name in fields:
                    about = str(fields[name]) == self.subject
                    if not about:
                        return
            for name, inner in fields.items():
                inner_shape = shape.fields.get(name) or shape.extra
                if inner_shape is not None:
                    self._reach(inner, inner_shape, about, tool)
        elif shape.type == "array" and isinstance(value, list) and shape.items is not None:
            for inner in cast("list[Any]", value):
                self._reach(inner, shape.items, about, tool)
        elif (
            about
            and shape.entity is not None
            and shape.entity != self.policy.subject_entity
            and (shape.entity not in self.policy.bridged or shape.entity in tool.bridges_to)
        ):
            self.own.add((shape.entity, str(cast("object", value))))


def _entities(value: Any, shape: Shape, *, trusted: bool) -> Iterator[tuple[str, str]]:
    if value is None or (trusted and (shape.trust == "untrusted" or shape.trust_when is not None)):
        return
    if shape.type == "object" and isinstance(value, Mapping):
        for name, inner in cast("Mapping[str, Any]", value).items():
            inner_shape = shape.fields.get(name) or shape.extra
            if inner_shape is not None:
                yield from _entities(inner, inner_shape, trusted=trusted)
    elif shape.type == "array" and isinstance(value, list) and shape.items is not None:
        for inner in cast("list[Any]", value):
            yield from _entities(inner, shape.items, trusted=trusted)
    elif shape.entity is not None:
        yield shape.entity, str(cast("object", value))
