"""What an agent did in a span of time, gathered from a ledger for people who must answer for it.

Every run is read once, and only the latest of each thing is kept in full: all others are counted, so that a ledger of
any size makes a report that people can read. Nothing is judged here, and what cannot be read is counted as such.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

from roadworthy.audit.laws import Laws
from roadworthy.contract.model import Contract
from roadworthy.core.canonical import dumps
from roadworthy.core.types import Entry, Kind, Realm
from roadworthy.gate import budgets
from roadworthy.gate.people.questions import TRIAL
from roadworthy.gate.replay import root_of
from roadworthy.gate.signed import Standing, standing
from roadworthy.ledger.agents import layout_of, told_of
from roadworthy.ledger.between import between_agents
from roadworthy.ledger.store import Ledger
from roadworthy.ledger.withheld import marked

Body: TypeAlias = Mapping[str, Any]
T = TypeVar("T")

MOST: Final = 100
"""Of each thing, so many are told in full: the latest."""
MOST_STORY: Final = 2_000
"""Entries of a single run that are told."""
CUT: Final = 1_200
"""Characters of one text."""
ERASED: Final = "[erased]"
SEALED: Final = "[sealed]"


class Latest(Generic[T]):
    """Counts all that it is given, and keeps the latest."""

    __slots__ = ("_kept", "_most", "count")

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: list[tuple[datetime, int, T]] = []
        self.count = 0

    def add(self, at: datetime, seq: int, item: T) -> None:
        self.count += 1
        if len(self._kept) < self._most:
            heapq.heappush(self._kept, (at, seq, item))
        else:
            heapq.heappushpop(self._kept, (at, seq, item))

    def __iter__(self) -> Iterator[T]:
        """In the order of time."""
        return (item for _, _, item in sorted(self._kept, key=lambda kept: kept[:2]))

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def left_out(self) -> int:
        """How many were counted only."""
        return self.count - len(self._kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person has answered."""

    at: datetime
    by: str
    role: str | None
    ruling: str
    because: str
    words: str | None
    args: str | None
    """The arguments that the person has put in the place of those asked about."""
    signed: bool
    """It bears a signature; whether that is good, the check of the ledger says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question, as a person saw it."""

    id: str
    at: datetime
    role: str | None
    approvals: int
    text: str
    shown: str
    """The call that stood before the person."""
    seen: tuple[tuple[str, str], ...]
    """By argument, where its value had been seen."""
    answers: tuple[Answer, ...]


@dataclass(slots=True, kw_only=True)
class Deed:
    """One action of the agent, and what became of it."""

    id: str
    run: str
    at: datetime
    seq: int
    world: Realm
    tool: str
    call: str
    subject: str | None
    capability: str | None
    agent: str | None = None
    """Which agent of the application asked, where it has several."""
    ruling: str = ""
    level: str = ""
    watched: bool = False
    """The gate only watched: nothing was held back."""
    reasons: tuple[tuple[str, str, str, bool], ...] = ()
    """Rule, ruling, text, enforced."""
    done: str = ""
    status: str = ""
    told: str = ""
    asked: list[Asked] = field(default_factory=list[Asked])
    undone: str = ""

    @property
    def state(self) -> str:
        """In a word: what was done, or why nothing was."""
        if self.undone:
            return "undone"
        if self.status in ("failed", "in_doubt"):
            return self.status
        if self.done:
            return self.done
        if self.ruling in ("deny", "clarify"):
            return "blocked"
        if self.ruling != "ask":
            return "in_doubt"
        return "answered" if self.asked and all(one.answers for one in self.asked) else "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Something that happened, in words."""

    at: datetime
    seq: int
    run: str | None
    what: str
    """A word, such as `handover`."""
    text: str
    by: str | None = None
    more: str = ""


@dataclass(slots=True, kw_only=True)
class Law:
    """One version of a contract that was in force."""

    digest: str
    agent: str
    version: str
    owner: Mapping[str, str]
    written: datetime | None
    runs: int = 0
    first: datetime | None = None
    last: datetime | None = None
    contract: Contract | None = None
    signed: Standing | None = None

    @property
    def approvers(self) -> tuple[tuple[str, str], ...]:
        """Capabilities and who approves their actions."""
        found = self.contract.capabilities if self.contract is not None else {}
        return tuple((name, spec.autonomy.approver or "nobody named") for name, spec in found.items())

    @property
    def unsigned(self) -> tuple[tuple[str, str], ...]:
        """Levels, and the roles that have not signed for them."""
        if self.signed is None:
            return ()
        return tuple((level, ", ".join(roles)) for level, roles in self.signed.missing.items() if roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What was taken from one budget of a day."""

    day: str
    about: str
    whose: str
    world: str
    taken: Decimal
    limit: Decimal | None
    """By the latest contract of that agent; None where it sets none any more."""


@dataclass(slots=True, kw_only=True)
class Tool:
    """What became of the calls of one tool."""

    name: str
    calls: int = 0
    states: Counter[str] = field(default_factory=Counter[str])
    rulings: Counter[str] = field(default_factory=Counter[str])


@dataclass(slots=True, kw_only=True)
class Account:
    """All that a report tells."""

    ledger: str
    since: datetime | None
    until: datetime | None
    run: str | None
    entries: int = 0
    runs: int = 0
    subjects: int = 0
    worlds: Counter[str] = field(default_factory=Counter[str])
    agents: Counter[str] = field(default_factory=Counter[str])
    first: datetime | None = None
    last: datetime | None = None
    watched: int = 0
    """Runs in which the gate only watched."""
    withheld: Counter[str] = field(default_factory=Counter[str])
    """Entries with fields that are erased or sealed."""
    laws: list[Law] = field(default_factory=list[Law])
    tools: list[Tool] = field(default_factory=list[Tool])
    states: Counter[str] = field(default_factory=Counter[str])
    rulings: Counter[str] = field(default_factory=Counter[str])
    rules: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    """Rule, ruling, how many calls it decided."""
    replies: Counter[str] = field(default_factory=Counter[str])
    controls: Latest[Told] = field(default_factory=Latest[Told])
    decided: Latest[Deed] = field(default_factory=Latest[Deed])
    waiting: Latest[Deed] = field(default_factory=Latest[Deed])
    stopped: Latest[Deed] = field(default_factory=Latest[Deed])
    undone: Latest[Told] = field(default_factory=Latest[Told])
    doubts: Latest[Deed] = field(default_factory=Latest[Deed])
    gaps: Latest[Told] = field(default_factory=Latest[Told])
    handovers: Latest[Told] = field(default_factory=Latest[Told])
    drift: Latest[Told] = field(default_factory=Latest[Told])
    signals: Latest[Told] = field(default_factory=Latest[Told])
    budgets: list[Budget] = field(default_factory=list[Budget])
    budgets_left_out: int = 0
    handed_on: Latest[Told] = field(default_factory=Latest[Told])
    """Erasures, exports, prunings, new keys."""
    story: list[Told] = field(default_factory=list[Told])
    story_left_out: int = 0
    of_the_run: list[Entry] = field(default_factory=list[Entry])
    """The entries that the story tells."""
    names: list[str] = field(default_factory=list[str])
    """The runs."""

    @property
    def calls(self) -> int:
        """How many calls the agent has made."""
        return sum(self.rulings.values())


def account(
    ledger: Ledger,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    world: Realm | None = None,
    run: str | None = None,
) -> Account:
    """What happened in a ledger from `since` up to and without `until`, or in one run."""
    return _Gathering(ledger, Account(ledger=ledger.id, since=since, until=until, run=run), world).whole()


def text_of(value: Any) -> str:
    """A value in writing, cut where it is very long."""
    text = value if isinstance(value, str) else dumps(value).decode()
    return text if len(text) <= CUT else f"{text[:CUT]}… ({len(text):,} characters)"


class _Gathering:
    def __init__(self, ledger: Ledger, made: Account, world: Realm | None) -> None:
        self.ledger = ledger
        self.made = made
        self.world = world
        self.laws = Laws(ledger)
        self.versions: dict[str, Law] = {}
        self.tools: dict[str, Tool] = {}
        self.rules: Counter[tuple[str, str]] = Counter()
        self.taken: dict[str, Decimal] = {}
        self.who: set[tuple[str, str]] = set()

    def whole(self) -> Account:
        made = self.made
        for summary in self.ledger.runs():
            if made.run is not None and summary.run != made.run:
                continue
            if self._outside(summary.first, summary.last) or (self.world not in (None, summary.world)):
                continue
            self._run(summary.run)
        for kind in ("stop", "level", "signature", "contract"):
            self._of_the_whole(cast("Kind", kind), self._control, made.controls)
        for kind in ("erasure", "export", "prune", "key"):
            self._of_the_whole(cast("Kind", kind), self._hand_on, made.handed_on)
        made.laws = sorted(self.versions.values(), key=lambda law: str(law.first))
        for law in made.laws:
            law.contract = self.laws.of(law.digest)
            if law.contract is not None:
                law.signed = standing(law.contract, self.ledger)
        made.tools = sorted(self.tools.values(), key=lambda tool: (-tool.calls, tool.name))
        made.rules = [(rule, ruling, count) for (rule, ruling), count in self.rules.most_common(MOST)]
        made.subjects = len(self.who)
        self._budgets()
        return made

    def _outside(self, first: datetime, last: datetime) -> bool:
        made = self.made
        return (made.since is not None and last < made.since) or (made.until is not None and first >= made.until)

    def _within(self, at: datetime) -> bool:
        return not self._outside(at, at)

    # -- runs ---------------------------------------------------------------------------------------------------------

    def _run(self, run: str) -> None:
        made, told = self.made, _RunTold(run)
        seen = False
        for entry in self.ledger.entries(run=run):
            told.take(entry)
            if entry.kind == "run" and "contract" in entry.body:
                self._under(entry)
            if not self._within(entry.at):
                continue
            seen = True
            made.entries += 1
            made.withheld.update(entry.withheld)
            made.first = entry.at if made.first is None else min(made.first, entry.at)
            made.last = entry.at if made.last is None else max(made.last, entry.at)
            self._note(entry, told)
        if not seen:
            return
        made.runs += 1
        made.names.append(run)
        made.worlds[told.world] += 1
        made.agents[told.agent or "unknown"] += 1
        made.watched += told.watched
        if told.subject is not None:
            self.who.add((told.agent or "", told.subject))
        for deed in told.deeds.values():
            if self._within(deed.at):
                self._deed(deed)

    def _under(self, entry: Entry) -> None:
        body = entry.body
        digest = str(body["contract"])
        law = self.versions.get(digest)
        if law is None:
            written = next((e for e in self.laws.written if e.body.get("digest") == digest), None)
            owner: Mapping[str, str] = written.body.get("owner") or {} if written is not None else {}
            law = self.versions[digest] = Law(
                digest=digest,
                agent=str(body.get("agent") or (written.body.get("agent") if written else "?")),
                version=str(body.get("version", "?")),
                owner=owner,
                written=written.at if written is not None else None,
            )
        law.runs += 1
        law.first = entry.at if law.first is None else min(law.first, entry.at)
        law.last = entry.at if law.last is None else max(law.last, entry.at)

    def _note(self, entry: Entry, told: _RunTold) -> None:
        made, body, kind = self.made, entry.body, entry.kind
        if kind == "handover" and not between_agents(body):
            made.handovers.add(
                entry.at, entry.seq, _told(entry, "handed over", f"to {body.get('to')}: {_words(entry, 'reason')}")
            )
        elif kind == "undo" and "came" in body:
            made.undone.add(
                entry.at,
                entry.seq,
                _told(entry, str(body["came"]), _words(entry, "text"), by=body.get("by"), more=told.call_of(body)),
            )
        elif kind == "gap":
            text = f"{body.get('unrecorded_reads')} reads are not in the ledger: {body.get('why')}"
            made.gaps.add(entry.at, entry.seq, _told(entry, "gap", text))
        elif kind == "drift":
            text = body.get("text") or {key: value for key, value in body.items()}
            made.drift.add(entry.at, entry.seq, _told(entry, "drift", text_of(text)))
        elif kind in ("signal", "incident"):
            value = f": {text_of(body['value'])}" if body.get("value") is not None else ""
            made.signals.add(
                entry.at, entry.seq, _told(entry, kind, f"{body.get('name', '')}{value}", by=body.get("by"))
            )
        elif kind == "said" and body.get("status") == "denied":
            made.replies["held back"] += 1
        elif kind == "said":
            made.replies[str(body.get("done"))] += 1
        elif kind == "intent":
            for one in budgets.read(body.get("reserved")):
                self.taken[one.account] = self.taken.get(one.account, Decimal(0)) + one.amount
        elif kind == "outcome" and (body.get("status") == "failed" or body.get("done") == "blocked"):
            for one in told.reserved.pop(str(entry.cause), ()):
                self.taken[one.account] = self.taken.get(one.account, Decimal(0)) - one.amount
        if made.run is not None:
            if len(made.story) < MOST_STORY:
                made.story += in_words(entry)
                made.of_the_run.append(entry)
            else:
                made.story_left_out += 1

    def _deed(self, deed: Deed) -> None:
        made = self.made
        tool = self.tools.setdefault(deed.tool, Tool(name=deed.tool))
        tool.calls += 1
        tool.states[deed.state] += 1
        tool.rulings[deed.ruling] += 1
        made.states[deed.state] += 1
        made.rulings[deed.ruling] += 1
        if deed.reasons and deed.ruling != "allow":
            self.rules[(deed.reasons[0][0], deed.ruling)] += 1
        if any(asked.answers for asked in deed.asked):
            made.decided.add(deed.at, deed.seq, deed)
        elif deed.asked and deed.state == "held":
            made.waiting.add(deed.at, deed.seq, deed)
        elif deed.ruling in ("deny", "clarify") or (deed.ruling == "ask" and not deed.asked):
            made.stopped.add(deed.at, deed.seq, deed)
        if deed.state == "in_doubt":
            made.doubts.add(deed.at, deed.seq, deed)

    # -- the whole ledger -------------------------------------------------------------------------------------------

    def _of_the_whole(self, kind: Kind, tell: Any, into: Latest[Told]) -> None:
        for entry in self.ledger.entries(kind=kind):
            if self.made.run is None and self._within(entry.at):
                self.made.entries += 1
                into.add(entry.at, entry.seq, tell(entry))
            elif self.made.run is not None and kind in ("stop", "level", "signature"):
                into.add(entry.at, entry.seq, tell(entry))

    def _control(self, entry: Entry) -> Told:
        body, kind = entry.body, entry.kind
        by, because = _text(body.get("by")), _text(body.get("because"))
        if kind == "stop":
            what = "stop taken back" if body.get("lifted") else "stop"
            text = str(body.get("capability") or "the whole agent")
            # Anybody may stop, and signs nothing.
            return _told(entry, what, text, by=by, more=because, note=self._counts(entry) if body.get("lifted") else "")
        if kind == "level":
            text = f"{body.get('capability')} of {body.get('agent')} to {body.get('level')}"
            return _told(entry, "level", text, by=by, more=because, note=self._counts(entry))
        if kind == "signature":
            text = f"version {body.get('version')} ({str(body.get('contract'))[:12]}) for {body.get('level')}"
            return _told(entry, "signed", text, by=f"{by}, as {body.get('role')}", note=self._counts(entry))
        text = f"{body.get('agent')}, version {body.get('version')} ({str(body.get('digest'))[:12]})"
        return _told(entry, "contract", text)

    def _counts(self, entry: Entry) -> str:
        """What is to be said against an entry by which people control the agent."""
        if entry.world != "production":
            return "of a trial: it has no effect"
        return "" if entry.body.get("signature") else "not signed"

    def _hand_on(self, entry: Entry) -> Told:
        body, kind = entry.body, entry.kind
        if kind == "erasure":
            text = f"{body.get('entries', '?')} entries of {body.get('runs', '?')} runs lost fields"
            return _told(entry, "erased", text, by=_text(body.get("by")), more=_text(body.get("because")))
        if kind == "export":
            name = body.get("path") or body.get("file") or "?"
            text = f"{body.get('what') or body.get('form') or 'export'}: {name}"
            return _told(entry, "handed on", text, more=f"SHA-256 {body.get('sha256')}")
        if kind == "prune":
            return _told(entry, "pruned", text_of(body))
        return _told(entry, "key", text_of({key: value for key, value in body.items() if key != "signature"}))

    def _budgets(self) -> None:
        limits: dict[tuple[str, str, str, str], Decimal] = {}
        for law in self.made.laws:
            if law.contract is None:
                continue
            compiled = budgets.compile_budgets(law.contract)
            for one in (day for days in (compiled.days.values() if compiled is not None else ()) for day in days):
                limits[(law.agent, *one.what, one.per)] = one.limit
        found: list[Budget] = []
        for name, taken in self.taken.items():
            try:
                _, day, world, agent, what, about, per, *whose = cast("list[str]", json.loads(name))
            except ValueError:
                continue
            said = f"{about}, in all" if what == "sum" else about or "calls"
            limit = limits.get((agent, what, about, per))
            who = " ".join(part for part in (per, *whose) if part)
            found.append(Budget(day=day, about=said, whose=who, world=world, taken=taken, limit=limit))
        found.sort(key=lambda b: (-(b.taken / b.limit if b.limit else Decimal(0)), b.day, b.about, b.whose))
        self.made.budgets = found[:MOST]
        self.made.budgets_left_out = len(found) - len(self.made.budgets)


class _RunTold:
    """What the entries of one run say of its actions, as they come."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.agent: str | None = None
        self.subject: str | None = None
        self.world: Realm = "production"
        self.watched = False
        self.deeds: dict[str, Deed] = {}
        self.asked: dict[str, tuple[Deed, int]] = {}
        self.reserved: dict[str, tuple[Any, ...]] = {}
        self._began = False

    def call_of(self, body: Body) -> str:
        """The call that an undo took back."""
        deed = self.deeds.get(str(body.get("action")))
        return deed.call if deed is not None else ""

    def take(self, entry: Entry) -> None:
        body, kind = entry.body, entry.kind
        if not self._began:
            self._began, self.world = True, entry.world
        if kind == "run":
            self.agent = body.get("agent") or self.agent
            self.subject = body.get("subject") or self.subject
            self.watched = self.watched or body.get("enforce") is False
        elif kind == "action" and "by" not in body:
            self._action(entry)
        elif kind == "intent":
            self.reserved[str(entry.cause)] = budgets.read(body.get("reserved"))
        elif kind == "answer":
            self._answer(entry)
        deed = self.deeds.get(str(body.get("action")) if kind == "undo" else root_of(entry.cause))
        if deed is None:
            return
        if kind == "verdict":
            self._verdict(entry, deed)
        elif kind == "question":
            self._question(entry, deed)
        elif kind == "intent" and "args" in body:
            deed.call = _call(deed.tool, body["args"])
        elif kind == "outcome":
            deed.status, deed.done = str(body.get("status", "")), str(body.get("done", ""))
            deed.told = _words(entry, "text")
        elif kind == "undo" and body.get("came") == "undone":
            deed.undone = f"by {body.get('by')}"

    def _action(self, entry: Entry) -> None:
        body = entry.body
        self.subject = body.get("subject") or self.subject
        tool = str(_field(entry, "tool"))
        self.deeds[str(body.get("id"))] = Deed(
            id=str(body.get("id")),
            run=self.run,
            at=entry.at,
            seq=entry.seq,
            world=entry.world,
            tool=tool,
            call=call_text(entry),
            subject=body.get("subject"),
            capability=body.get("capability"),
            agent=body.get("agent"),
        )

    def _verdict(self, entry: Entry, deed: Deed) -> None:
        body = entry.body
        reasons = cast("Sequence[Body]", body.get("reasons") or ())
        missing = _missing(entry)
        # What was said when a held action was carried stands beside what was said at first, and does not hide it.
        if deed.ruling and "~" in str(entry.cause):
            return
        deed.ruling, deed.level = str(body.get("ruling", "")), str(body.get("level", ""))
        deed.watched = body.get("enforce", True) is False
        deed.reasons = tuple(
            (
                str(r.get("rule")),
                str(r.get("ruling")),
                text_of(r.get("text", missing)),
                bool(r.get("enforced", True)),
            )
            for r in reasons
        )

    def _question(self, entry: Entry, deed: Deed) -> None:
        body = entry.body
        origins = cast("Mapping[str, Sequence[str]]", body.get("origins") or {})
        asked = Asked(
            id=str(body.get("question", deed.id)),
            at=entry.at,
            role=body.get("role"),
            approvals=int(body.get("approvals", 1)),
            text=_words(entry, "text"),
            shown=_call(str(body.get("tool", deed.tool)), _field(entry, "args")),
            seen=tuple((name, ", ".join(places) or "nowhere") for name, places in origins.items()),
            answers=(),
        )
        self.asked[asked.id] = (deed, len(deed.asked))
        deed.asked.append(asked)

    def _answer(self, entry: Entry) -> None:
        body = entry.body
        found = self.asked.get(str(body.get("question")))
        if found is None or body.get("by") == TRIAL:
            return
        deed, place = found
        answer = Answer(
            at=entry.at,
            by=str(body.get("by")),
            role=body.get("role"),
            ruling=str(body.get("ruling")),
            because=_words(entry, "because"),
            words=body.get("text"),
            args=text_of(body["args"]) if body.get("args") is not None else None,
            signed=bool(body.get("signature")) or bool(entry.withheld),
        )
        asked = deed.asked[place]
        deed.asked[place] = Asked(
            id=asked.id, at=asked.at, role=asked.role, approvals=asked.approvals, text=asked.text, shown=asked.shown,
            seen=asked.seen, answers=(*asked.answers, answer),
        )  # fmt: skip


def _missing(entry: Entry) -> str:
    return ERASED if "erased" in entry.withheld else SEALED if entry.withheld else ""


def _field(entry: Entry, name: str) -> Any:
    """A field of an entry, or why it cannot be read."""
    return entry.body.get(name, _missing(entry))


def _words(entry: Entry, name: str) -> str:
    return text_of(_field(entry, name))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _told(entry: Entry, what: str, text: str, *, by: object = None, more: str = "", note: str = "") -> Told:
    whole = "; ".join(part for part in (more, note) if part)
    return Told(
        at=entry.at, seq=entry.seq, run=entry.run, what=what, text=text, by=None if by is None else str(by), more=whole
    )


def _call(tool: str, args: object) -> str:
    if not isinstance(args, Mapping):
        return f"{tool}({args})"
    given = cast("Body", args)
    return text_of(f"{tool}({', '.join(f'{name}={dumps(value).decode()}' for name, value in given.items())})")


def _beginning(body: Body) -> str:
    """How a run began. Whatever else its entry holds stands after it, as it is."""
    rest = {key: value for key, value in body.items() if value not in (None, {}, [])}
    agent, version, digest = (str(rest.pop(name, "?")) for name in ("agent", "version", "contract"))
    who = f", run by {rest.pop('principal')}" if "principal" in rest else ""
    whom = f", for {rest.pop('subject')}" if "subject" in rest else ""
    levels = cast("Mapping[str, object]", rest.pop("levels", {}))
    opened = [f"{name} ({levels.get(name, '?')})" for name in cast("Sequence[str]", rest.pop("capabilities", ()))]
    open_now = f"; open: {', '.join(opened)}" if opened else "; no capability is open"
    loose = "; NOT ENFORCED: verdicts are recorded, and every tool runs" if rest.pop("enforce", True) is False else ""
    more = f"; {dumps(rest).decode()}" if rest else ""
    return text_of(f"{agent}, contract version {version} ({digest[:12]}){who}{whom}{open_now}{loose}{more}")


def call_text(entry: Entry) -> str:
    """The call that an `action` entry tells of."""
    return _call(str(_field(entry, "tool")), _field(entry, "args"))


def in_words(entry: Entry) -> Iterable[Told]:
    """One entry of a run's story."""
    body, kind = entry.body, entry.kind
    if kind == "heard":
        yield _told(entry, "user", _words(entry, "text"))
    elif kind == "said":
        note = "held back: the user has not seen it" if body.get("status") == "denied" else ""
        yield _told(entry, "agent", _words(entry, "text"), by=body.get("agent"), more=note)
    elif kind == "action":
        why = f"by the gate itself ({body['by']})" if "by" in body else ""
        who = f"asked by {body['agent']}" if "agent" in body else ""
        yield _told(entry, "calls", call_text(entry), more=why or who)
    elif kind == "verdict":
        reasons = cast("Sequence[Body]", body.get("reasons") or ())
        why = " ".join(f"{r.get('rule')}: {r.get('text', _missing(entry))}" for r in reasons)
        yield _told(entry, str(body.get("ruling")), text_of(why), more=f"level {body.get('level')}")
    elif kind == "question":
        yield _told(entry, "asked", _words(entry, "text"), by=body.get("role"))
    elif kind == "answer":
        yield _told(entry, str(body.get("ruling")), _words(entry, "because"), by=body.get("by"))
    elif kind == "outcome":
        value = body.get("value", _field(entry, "text"))
        yield _told(entry, str(body.get("status")), text_of(value), more=str(body.get("done", "")))
    elif kind == "handover" and between_agents(body):
        shown = marked(entry)
        text = shown.body.get("text") if "returned" in body else f"{shown.body.get('agent')}{told_of(shown.body)}"
        yield _told(entry, "back" if "returned" in body else "agents", text_of(text or ""))
    elif kind == "observation" and (layout := layout_of(body)) is not None:
        yield _told(entry, layout[0], text_of(layout[1]))
    elif kind == "handover":
        to = f"to {body['to']}: " if "to" in body else ""
        yield _told(entry, "handed over", f"{to}{_words(entry, 'reason')}", by=body.get("by"))
    elif kind == "signal":
        value = f": {text_of(body['value'])}" if "value" in body else ""
        yield _told(entry, "signal", f"{text_of(_field(entry, 'name'))}{value}", by=body.get("by"))
    elif kind == "run" and "agent" in body:
        yield _told(entry, "run", _beginning(body), more=_missing(entry))
    elif kind == "intent":
        return
    else:
        shown = {key: value for key, value in body.items() if value not in (None, {}, [])}
        yield _told(entry, kind, text_of(shown), more=_missing(entry))
