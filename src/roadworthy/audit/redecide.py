"""Runs decided again, from the ledger alone: the same decisions over the same events, at the same times.

Under the contract that a run was under, every verdict, every question to people, every reply that was judged, what the
user's words opened and the levels that a run began with must come out byte for byte as they were written. Under another
contract the same events show what it would have ruled. No tool runs and nothing is written: what tools returned and
what people answered is taken as it stands.

A run's events are taken in the order in which they were written. Calls that ran side by side may have been decided in
another one; then the order of their beginnings, and the places near the written one, are tried as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import combinations
from typing import Any, Final, Literal, TypeAlias, cast

from roadworthy.audit.laws import Laws
from roadworthy.audit.spent import Spent
from roadworthy.contract.model import Contract
from roadworthy.core.canonical import dumps, loads
from roadworthy.core.errors import Conflict, LedgerError, UsageError
from roadworthy.core.types import LEVELS, Action, Claim, Entry, Guard, Kind, Level, Realm, Reason, Verdict
from roadworthy.gate import budgets
from roadworthy.gate.decide import decide, find_tool, normalise, verdict_of
from roadworthy.gate.levels import Levels, compile_levels
from roadworthy.gate.passage import key_of_action, simulates, used_key
from roadworthy.gate.people.held import approved, discharged, question_body, told_no, told_to_ask, user_question
from roadworthy.gate.people.questions import TRIAL, Pending, asks, pending_of
from roadworthy.gate.policy import Policy, ToolPolicy, policy_of
from roadworthy.gate.replay import Replay, root_of
from roadworthy.gate.speech import Sink, placed, said_body, weigh
from roadworthy.gate.state import RunState, frozen
from roadworthy.gate.stops import Stops
from roadworthy.gate.values import BadValue
from roadworthy.gate.verdicts import (
    CARRIED_BEFORE,
    of_a_conflict,
    of_a_look,
    of_an_undo,
    of_another_way,
    of_no_way_back,
    told_of_denial,
    verdict_body,
)
from roadworthy.ledger.store import Ledger

Body: TypeAlias = Mapping[str, Any]

_NOTHING: Final[Body] = {}

What = Literal["verdict", "question", "said", "scope", "levels"]
"""What is decided again: a verdict, a question to people, a reply, what the user's words open, a run's first levels."""

Undecided = Literal["erased", "sealed", "no_contract", "no_beginning", "unreadable", "gap"]
"""Why a run cannot be decided again."""

NEAR: Final = 12
"""How many places of a run before and after the written one are tried, where calls ran side by side."""

FAR: Final = 60
"""How many places before the written one, where a call was allowed first and then denied by what others had taken."""
MOST_TAKEN_BACK: Final = 6
"""How many calls that were taken back again are tried as counted at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision of a run, as it was written and as it comes out now."""

    what: What
    seq: int
    """The entry that holds it, or that it follows from."""
    at: datetime
    action: str | None
    """The id of the action that it is about."""
    tool: str | None
    was: Body
    now: Body
    call: Body | None = None
    """Of a verdict: the body of the `action` entry."""
    came: Body | None = None
    """Of a verdict: the body of the first `outcome` entry of its action, where there is one."""
    again: bool = False
    """Of a verdict: it was made when a held action was to be carried, or by a process that went on with the run."""

    @property
    def same(self) -> bool:
        """Whether the two are the same bytes."""
        return dumps(self.was) == dumps(self.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redecided:
    """One run, decided again."""

    run: str
    world: Realm | None
    contract: str | None
    """The digest of the contract that it was judged by, the last one where it was under several."""
    version: str | None
    other: bool
    """It was judged by another contract than its own."""
    decisions: tuple[Decision, ...] = ()
    """All that were made again, in their order."""
    differing: tuple[Decision, ...] = ()
    """Under its own contract those that are not the same to the byte; under another one those that change what may be
    done."""
    regrounded: int = 0
    """Under another contract: decisions that come to the same, on other grounds."""
    passed: bool | None = None
    """Of a trial: whether it passed."""
    side_by_side: bool = False
    """Some calls ran side by side, and were decided in another order than they were written in."""
    undecided: Undecided | None = None
    why: str = ""
    """The same in words, with what to do about it."""

    @property
    def same(self) -> bool:
        """Whether all of it was decided again, and nothing differs."""
        return self.undecided is None and not self.differing


class Redeciding:
    """Decides runs of one ledger again. What many runs need together is read once."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        contract: Contract | None = None,
        level: Level | None = None,
        also: Iterable[Contract] = (),
    ) -> None:
        """`contract`: judge by this one, whatever the runs were under. `also`: contracts that the ledger lacks.

        `level`: under another contract that of every capability; default: what each run had, as far as that contract
        lets it.
        """
        self.ledger = ledger
        self.level: Level | None = level
        self.contract = contract
        self.laws = Laws(ledger, also=[*also, *([contract] if contract is not None else [])])
        self.controls = tuple(ledger.controls())

    @cached_property
    def spent(self) -> Spent:
        """What was taken from shared budgets when; a pass over the whole ledger, for runs that share any."""
        return Spent(self.ledger.entries())

    def run(self, id: str) -> Redecided:
        """One run. Raises UsageError for one that is not in the ledger."""
        entries = list(self.ledger.entries(run=id))
        if not entries:
            raise UsageError(
                f"{self.ledger.name} holds no run {id!r}: `roadworthy ledger show {self.ledger.name}` lists the runs"
            )
        return _Run(self, id, entries).decided()

    def runs(
        self, *, since: datetime | None = None, until: datetime | None = None, world: Realm | None = None
    ) -> Iterator[Redecided]:
        """All runs that had begun before `until` and had not ended before `since`."""
        for summary in self.ledger.runs():
            outside = (since is not None and summary.last < since) or (until is not None and summary.first >= until)
            if not outside and (world is None or summary.world == world):
                yield self.run(summary.run)


class _Then:
    """A ledger as it was before a seq, for what asks an open ledger about the levels."""

    def __init__(self, deciding: Redeciding, before: int) -> None:
        self._deciding = deciding
        self._before = before

    def controls(self, after: int = 0) -> Sequence[Entry]:
        return [e for e in self._deciding.controls if after < e.seq < self._before]

    def entries(self, *, kind: Kind) -> Iterator[Entry]:
        return (e for e in self._deciding.ledger.entries(kind=kind) if e.seq < self._before)


def _bytes_of(body: Body) -> Body:
    """A body as a ledger gives it back."""
    return cast("Body", loads(dumps(body)))


def session_of(run: str, cause: str | None) -> str:
    """What tells the process that wrote an entry from others that worked on the run; empty in trials."""
    text = cause or ""
    if "~" in text:
        return text.partition("~")[2]
    _, dot, session = text.removeprefix(f"{run}#").partition(".")
    return f"{dot}{session.partition('/')[0]}"


def number_of(run: str, action: str) -> int:
    """The how-manieth call of its process an action is; 0 for what bears no number."""
    digits = action.removeprefix(f"{run}#").partition(".")[0]
    return int(digits) if digits.isdecimal() else 0


# What a run knew ------------------------------------------------------------------------------------------------------


class _Memory:
    """What a run knew under one contract, as far as its entries were fed."""

    def __init__(
        self, deciding: Redeciding, contract: Contract, *, first: Entry, after: int, levels: Mapping[str, Level]
    ) -> None:
        ledger = deciding.ledger.id
        self.policy: Policy = policy_of(contract)
        self.state = RunState(self.policy, principal=first.body["principal"], started=first.at, levels=levels)
        self.replay = Replay(self.state, ledger)
        self._after = after
        self._controls = deciding.controls
        self._taken = 0
        self._stops = Stops(contract, ledger)
        self._levels = Levels(compile_levels(contract), ledger) if first.world != "test" else None

    def follow(self, before: int) -> None:
        """Learn what people stopped and lowered before a seq."""
        begun = self._taken
        while self._taken < len(self._controls) and self._controls[self._taken].seq < before:
            self._taken += 1
        fresh = self._controls[begun : self._taken]
        for entry in fresh:
            if entry.kind == "stop" and entry.world == "production":
                self._stops.feed(entry.body)
                self.state.stopped = dict(self._stops.standing)
        if self._levels is not None and any(entry.kind != "stop" for entry in fresh):
            self._levels.feed(fresh)
            self.state.levels = self._levels.bound(self.state.levels, self._after)

    def may_go_on(self, now: datetime) -> bool:
        """Whether a run that stands still for people could go on, because all that it waits for is decided."""
        state = self.state
        waits = [p for p in state.pending.values() if p.suspend and not p.settled]
        return state.status == "held" and all(p.decided(self.policy, now)[0] is not None for p in waits)


@dataclass(slots=True)
class _Story:
    """What must be looked up in a run's entries wherever it stands."""

    actions: dict[str, Body] = field(default_factory=dict[str, Body])
    looks: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """By action, what the gate read before it so that it could be taken back."""
    outcomes: dict[str, Body] = field(default_factory=dict[str, Body])
    """By action, what came of it first."""
    refused: dict[str, Body] = field(default_factory=dict[str, Body])
    """By action, the answer of a trial's approver who said no."""
    roles: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    """By action, who was asked first."""
    undos: list[tuple[int, str, Body]] = field(default_factory=list[tuple[int, str, Body]])
    """What people wanted undone: the seq, the process that was asked, and how."""
    carried: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """Actions that were begun, or whose approval was used, with the seq."""

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> _Story:
        story = cls()
        for entry in entries:
            body, root = entry.body, root_of(entry.cause)
            if entry.kind == "action":
                story.actions[str(body["id"])] = body
                if body.get("by") == "before":
                    story.looks.setdefault(str(body.get("for")), []).append(str(body["id"]))
            elif entry.kind == "outcome":
                story.outcomes.setdefault(root, body)
            elif entry.kind == "question":
                story.roles.setdefault(root, body.get("role"))
            elif entry.kind == "answer" and body.get("by") == TRIAL and body.get("ruling") == "deny":
                story.refused[root] = body
            elif entry.kind == "undo" and "actions" in body:
                story.undos.append((entry.seq, session_of(str(entry.run), entry.cause), body))
            elif entry.kind == "intent":
                story.carried += [(entry.seq, root), (entry.seq, str(body.get("approved", root)))]
        return story


_GAP: Final = (
    "{count} reads of it were not recorded, because the ledger could not be written; what was decided after them may "
    "rest on them"
)

# One run --------------------------------------------------------------------------------------------------------------


class _Undecidable(Exception):
    def __init__(self, code: Undecided, why: str) -> None:
        super().__init__(why)
        self.code: Undecided = code
        self.why = why


class _Run:
    """One run on its way through the decisions."""

    def __init__(self, deciding: Redeciding, id: str, entries: Sequence[Entry]) -> None:
        self.deciding = deciding
        self.id = id
        self.entries = entries
        self.story = _Story()
        self.other = False

    def decided(self) -> Redecided:
        try:
            return self._decided()
        except _Undecidable as cannot:
            return Redecided(
                run=self.id, world=self.entries[0].world, contract=None, version=None, other=self.other,
                undecided=cannot.code, why=cannot.why,
            )  # fmt: skip
        except (LedgerError, LookupError, TypeError, ValueError, AttributeError) as error:
            # An entry that is not what a gate writes; whoever checks the ledger learns whether it was changed.
            told = error.text if isinstance(error, LedgerError) else f"an entry of it cannot be read ({error!r})"
            return Redecided(
                run=self.id, world=self.entries[0].world, contract=None, version=None, other=self.other,
                undecided="unreadable", why=told,
            )  # fmt: skip

    def _decided(self) -> Redecided:
        withheld = {why for entry in self.entries for why in entry.withheld}
        if "erased" in withheld:
            raise _Undecidable("erased", "what this run was told and did was erased, and cannot be decided again")
        if withheld:
            raise _Undecidable("sealed", "the entries of this run are sealed: give the vault that holds their keys")
        law = self._law()
        self.story = _Story.of(self.entries)
        found = _Pass(self, self.entries).go()
        side_by_side = False
        if not self.other and any(not one.same for one in found):
            ordered = as_begun(self.id, self.entries)
            if ordered is not None:
                again = _Pass(self, ordered).go()
                if sum(one.same for one in again) > sum(one.same for one in found):
                    found, side_by_side = again, True
            if any(not one.same for one in found):
                found, moved = self._near(found)
                side_by_side = side_by_side or moved
        differing = tuple(one for one in found if (changes(one) if self.other else not one.same))
        lost = next((e for e in self.entries if e.kind == "gap"), None)
        gap = lost is not None and any(not one.same and one.seq > lost.seq for one in found) and not self.other
        return Redecided(
            undecided="gap" if gap else None,
            why=_GAP.format(count=lost.body.get("unrecorded_reads")) if lost is not None and gap else "",
            run=self.id,
            world=self.entries[0].world,
            contract=law.digest,
            version=law.version,
            passed=next((e.body.get("status") == "passed" for e in self.entries if e.kind == "trial"), None),
            other=self.other,
            decisions=tuple(found),
            differing=differing,
            regrounded=sum(not one.same for one in found) - len(differing) if self.other else 0,
            side_by_side=side_by_side,
        )

    def _law(self) -> Contract:
        """The contract that the run was last under, or the other one that it is to be judged by."""
        digests = [str(e.body["contract"]) for e in self.entries if e.kind == "run" and "contract" in e.body]
        if not digests or self.first is None:
            raise _Undecidable("no_beginning", "the ledger does not hold how this run began")
        contract = self.deciding.contract
        if contract is not None and any(digest != contract.digest for digest in digests):
            self.other = True
            return contract
        for digest in dict.fromkeys(digests):
            if self.deciding.laws.of(digest) is None:
                raise _Undecidable(
                    "no_contract",
                    f"the ledger does not hold the contract with digest {digest[:12]} that this run was under; "
                    "give its file with --contract",
                )
        return cast("Contract", self.deciding.laws.of(digests[-1]))

    @cached_property
    def first(self) -> Entry | None:
        """How it began."""
        return next((e for e in self.entries if e.kind == "run" and "principal" in e.body), None)

    @cached_property
    def spents(self) -> Sequence[Spent]:
        """What others had used up. Trials that share a ledger share no budget, so there it may be the run's own."""
        if self.entries[0].world == "test":
            return (Spent(self.entries), self.deciding.spent)
        return (self.deciding.spent,)

    def _near(self, found: Sequence[Decision]) -> tuple[list[Decision], bool]:
        """Decide what differs again at other places near its own: side by side, others may have come before or after.

        Only what other calls wrote is moved; what the decision itself follows from stays before it. What another call
        had counted in the memory of its process before it was denied by a budget or a key counts, too.
        """
        mended, moved = list(found), False
        places = {entry.seq: at for at, entry in enumerate(self.entries)}
        for n, one in enumerate(found):
            if one.same or one.what not in ("verdict", "said"):
                continue
            again = self._elsewhere(places[one.seq])
            if again is not None:
                mended[n], moved = again, True
        return mended, moved

    def _elsewhere(self, at: int) -> Decision | None:
        """A decision at another place near its own where it comes out as it was written; None where it does nowhere."""
        entry = self.entries[at]
        mine = root_of(entry.cause)
        opening = [e for e in self.entries[:at] if e.kind == "action" and e.body["id"] == mine]
        taken_back = self._taken_back(at)
        several = range(len(taken_back) + 1)
        tried = [taken_back[:n] for n in several] + [list(some) for n in (1, 2) for some in combinations(taken_back, n)]
        near = [p for step in range(1, NEAR + 1) for p in (at - step, at + step)]
        # A call that others kept back was decided when it began, and its denial is written after theirs.
        began = [p for p in range(at - NEAR - 1, max(0, at - FAR), -1) if taken_back and self.entries[p].at >= entry.at]
        places = [p for p in (at, *near, *began) if 0 < p <= len(self.entries)]
        for counted in tried:
            for place in places:
                kept = [e for e in self.entries[:place] if e.seq != entry.seq and not _continues(e, mine, entry)]
                order = [*(e for e in kept if e not in opening), *opening, entry]
                again = _Pass(self, order, only=entry.seq, counted=counted).go()
                if again and again[-1].same:
                    return again[-1]
        return None

    def _taken_back(self, at: int) -> list[Body]:
        """Calls near a place that their process had counted, until a budget or a key of all runs kept them back."""
        session = session_of(self.id, self.entries[at].cause)
        found: list[Body] = []
        for entry in self.entries[max(0, at - 2 * NEAR) : at + 2 * NEAR]:
            late = entry.kind == "verdict" and _code_of(entry.body) in ("budget", "same_key", CARRIED_BEFORE)
            action = self.story.actions.get(root_of(entry.cause))
            if late and action is not None and entry.seq != self.entries[at].seq:
                found += [action] if session_of(self.id, entry.cause) == session else []
        return sorted(found, key=lambda body: number_of(self.id, str(body["id"])))[:MOST_TAKEN_BACK]


def _continues(entry: Entry, action: str, decision: Entry) -> bool:
    """Whether an entry came of the decision that is being made."""
    return bool(action) and root_of(entry.cause) == action and entry.seq > decision.seq


def as_begun(run: str, entries: Sequence[Entry]) -> list[Entry] | None:
    """Entries with the openings of calls in the order in which each process began them; None where that changes none.

    A process numbers its calls as they begin, and decides each at once; only the writing may overtake.
    """
    openings: dict[str, tuple[int, int]] = {}  # by action: the place of its opening, its number
    sessions: dict[str, list[tuple[int, int]]] = {}
    for at, entry in enumerate(entries):
        if entry.kind == "action" and "by" not in entry.body:
            action = str(entry.body["id"])
            openings[action] = (at, number_of(run, action))
            sessions.setdefault(session_of(run, action), []).append(openings[action])
    moved: dict[str, int] = {}
    for action, (at, number) in openings.items():
        before = min((a for a, n in sessions[session_of(run, action)] if n > number and a < at), default=at)
        if before != at:
            moved[action] = before
    if not moved:
        return None

    def place(pair: tuple[int, Entry]) -> tuple[int, int, int]:
        at, entry = pair
        action = str(entry.body["id"]) if entry.kind == "action" else root_of(entry.cause)
        began = openings.get(action)
        opens = entry.kind in ("action", "verdict", "question", "intent") and "~" not in str(entry.cause)
        if began is None or not opens:
            return at, 1 << 30, at
        return moved.get(action, began[0]), began[1], at

    return [entry for _, entry in sorted(enumerate(entries), key=place)]


def changes(one: Decision) -> bool:
    """Whether another contract lets happen what did not, or keeps from happening what did."""
    if one.what == "said":
        return one.was.get("status") != one.now.get("status")
    if one.what == "verdict":
        return one.was.get("ruling") != one.now.get("ruling") or _made_up(one.was) != _made_up(one.now)
    return one.what == "scope" and not one.same


def _made_up(body: Body) -> bool:
    return body.get("ruling") == "allow" and body.get("level") == "shadow"


class _Pass:
    """One pass over a run's entries in one order."""

    def __init__(
        self, run: _Run, entries: Sequence[Entry], *, only: int | None = None, counted: Sequence[Body] = ()
    ) -> None:
        """`only`: the seq of the one entry whose decision is wanted; those before it are merely fed.

        `counted`: calls that count as made at that decision, though nothing came of them.
        """
        self.run = run
        self.counted = counted
        self.deciding = run.deciding
        self.entries = entries
        self.only = only
        self.other = run.other
        self.found: list[Decision] = []
        self.memories: dict[str, _Memory] = {}
        self.law = ""
        """The digest of the contract that the run is under."""
        self.laws: dict[str, str] = {}
        """The same by process, for those that have gone on under an older one."""
        self.enforced: dict[str, bool] = {}
        self.given = False
        """Whether the application has said which capabilities are open."""
        self.pendings: dict[str, Pending] = {}
        self.opened: list[Body] = []
        """What the user's last words should have opened, and was not written yet."""

    def go(self) -> list[Decision]:
        for at, entry in enumerate(self.entries):
            self._take(at, entry)
        return self.found

    # -- events -------------------------------------------------------------------------------------------------------

    def _take(self, at: int, entry: Entry) -> None:
        wanted = self.only is None or self.only == entry.seq
        by_scope = entry.kind == "run" and entry.body.get("by") == "scope"
        if entry.kind == "run":
            self._run_entry(at, entry)
        session = session_of(self.run.id, entry.cause)
        memory = self._memory(session)
        if memory is None:
            return
        if wanted and entry.kind == "verdict" and root_of(entry.cause) in self.run.story.actions:
            self._verdict(memory, entry)
        elif wanted and entry.kind == "said":
            self._said(memory, entry, session)
        elif wanted and entry.kind == "question" and not self.other:
            self._question(memory, entry)
        if self.other and by_scope:
            return  # what the words open is found out anew
        for one in self.memories.values():
            one.replay.feed((entry,))
        if entry.kind == "heard":
            self._heard(memory, at, entry, wanted=wanted)

    def _run_entry(self, at: int, entry: Entry) -> None:
        body, session = entry.body, session_of(self.run.id, entry.cause)
        if "by" not in body and (body.get("capabilities") or "opened" in body):
            self.given = True
        if "enforce" in body:
            self.enforced[session] = bool(body["enforce"])
        if "contract" not in body or "levels" not in body:
            return
        self.law = self.laws[session] = str(body["contract"])
        contract = self.deciding.contract if self.other else self.deciding.laws.of(self.law)
        key = "" if self.other else self.law
        if contract is None:
            return
        levels = self._levels(contract, at, entry)
        if key in self.memories and self.other:
            return
        first = cast("Entry", self.run.first)
        memory = self.memories[key] = _Memory(
            self.deciding, contract, first=first, after=entry.seq, levels=body["levels"] if not self.other else levels
        )
        memory.replay.feed(self.entries[:at])

    def _memory(self, session: str) -> _Memory | None:
        return self.memories.get("" if self.other else self.laws.setdefault(session, self.law))

    def _levels(self, contract: Contract, at: int, entry: Entry) -> Mapping[str, Level]:
        """The levels that a run begins with, or goes on with under a new contract."""
        body = entry.body
        given = cast("Mapping[str, Level]", body["levels"])
        if self.other:
            found: dict[str, Level] = {}
            for name, spec in contract.capabilities.items():
                had = given.get(name, spec.autonomy.start)
                found[name] = self.deciding.level or _lower(had, spec.autonomy.ceiling)
            return found
        if entry.world == "test" or (self.only is not None and self.only != entry.seq):
            return given
        standing = Levels(compile_levels(contract), self.deciding.ledger.id)
        standing.refresh(cast("Any", _Then(self.deciding, entry.seq)))
        levels: Mapping[str, Level] = standing.levels
        earlier = next((e for e in reversed(self.entries[:at]) if e.kind == "run" and "levels" in e.body), None)
        if earlier is not None:
            had = cast("Mapping[str, Level]", earlier.body["levels"])
            levels = {name: _lower(level, had.get(name, level)) for name, level in levels.items()}
            levels = standing.bound(levels, earlier.seq)
        self._add("levels", entry, None, None, was=given, now=levels)
        return given

    def _heard(self, memory: _Memory, at: int, entry: Entry, *, wanted: bool) -> None:
        """What the user's words open, where nobody else has said what the run is for."""
        state = memory.state
        if memory.policy.scope is None or "answers" in entry.body or self.given or state.status != "open":
            return
        found = placed(memory.policy, state, str(entry.body["text"]))
        now: list[Body] = [{"opened": name, "by": "scope"} for name in found.opened]
        if found.scope is not None and found.scope not in ("in", state.scope):
            now.append({"scope": found.scope, "by": "scope"})
        if wanted:
            was = [e.body for e in _until_heard(self.entries[at + 1 :]) if e.kind == "run" and e.body.get("by")]
            self._add("scope", entry, None, None, was={"opens": was}, now={"opens": now})
        if self.other:
            for name in found.opened:
                state.open(name)
            if found.scope is not None:
                state.scope = found.scope

    # -- decisions ----------------------------------------------------------------------------------------------------

    def _add(
        self,
        what: What,
        entry: Entry,
        action: str | None,
        tool: str | None,
        *,
        was: Body,
        now: Body,
        call: Body | None = None,
    ) -> None:
        made = Decision(
            what=what,
            seq=entry.seq,
            at=entry.at,
            action=action,
            tool=tool,
            was=_bytes_of(was),
            now=_bytes_of(now),
            call=call,
            came=self.run.story.outcomes.get(action) if call is not None and action is not None else None,
            again=what == "verdict" and "~" in str(entry.cause),
        )
        self.found.append(made)

    def _said(self, memory: _Memory, entry: Entry, session: str) -> None:
        body = entry.body
        text, sink = str(body["text"]), cast("Sink", body.get("sink", "reply"))
        memory.follow(entry.seq)
        enforce = self.enforced.get(session, next(reversed(self.enforced.values()), True))
        weighed = weigh(memory.policy, memory.state, text, sink, enforce=enforce)
        shown = body.get("done") != "blocked" or "status" in body
        now = said_body(text, sink, weighed, shown=shown, agent=body.get("agent"))
        self._add("said", entry, None, None, was=body, now=now)

    def _question(self, memory: _Memory, entry: Entry) -> None:
        action = root_of(entry.cause)
        pending = self.pendings.get(action)
        body: Body = {}
        if pending is not None:
            question = pending.questions.get(str(entry.body.get("question")))
            body = {} if question is None else question_body(pending, question)
        tool = str(self.run.story.actions.get(action, {}).get("tool"))
        self._add("question", entry, action, tool, was=entry.body, now=body)

    def _verdict(self, memory: _Memory, entry: Entry) -> None:
        action = self.run.story.actions[root_of(entry.cause)]
        body: Body = {}
        for one in self.counted:
            tool = memory.policy.tools.get(str(one["tool"]))
            args = normalise(tool, one["args"]) if tool is not None else None
            if tool is not None and isinstance(args, dict):
                memory.state.reserve(tool, args)
        for before in self._moments(entry):
            memory.follow(before)
            body = _bytes_of(self._again(memory, entry, action))
            if dumps(body) == dumps(entry.body):
                break
            if memory.may_go_on(entry.at):
                memory.state.status, why = "open", memory.state.status_why
                going = _bytes_of(self._again(memory, entry, action))
                memory.state.status, memory.state.status_why = "held", why
                if dumps(going) == dumps(entry.body):
                    body = going
                    break
        self._add("verdict", entry, str(action["id"]), str(action["tool"]), was=entry.body, now=body, call=action)

    def _moments(self, entry: Entry) -> Sequence[int]:
        """Up to which seq people's stops and lowered levels may have been known.

        What was written between a decision and its intent bites all the same: then the call was not carried.
        """
        came = self.run.story.outcomes.get(root_of(entry.cause), _NOTHING)
        if entry.body.get("ruling") == "allow" and came.get("done") != "blocked":
            return (entry.seq,)
        earlier = max((e.seq for e in self.entries if e.seq < entry.seq and e.cause != entry.cause), default=0)
        fresh = [c.seq for c in self.deciding.controls if earlier < c.seq < entry.seq]
        return (*fresh, entry.seq)

    def _again(self, memory: _Memory, entry: Entry, action: Body) -> Body:
        """The body of a verdict, made anew."""
        policy, state = memory.policy, memory.state
        enforce = bool(entry.body.get("enforce", True))
        tool = find_tool(policy, str(action["tool"]))
        by = action.get("by")
        if by is not None and not isinstance(tool, Reason):
            return verdict_body(self._of_the_gate(state, tool, action, str(by), entry), enforce=enforce)
        if isinstance(tool, Reason):
            return self._refused(memory, entry, action, tool, None, enforce)
        if action.get("inexact") and _code_of(entry.body) == "bad_arguments" and entry.body["ruling"] == "deny":
            return entry.body  # what was wrong with them could not be written down
        args = normalise(tool, self._args(memory, entry, action))
        if isinstance(args, Reason):
            return self._refused(memory, entry, action, args, tool, enforce)
        made = self._made(entry, action, tool.name, args)
        if _rule_of(entry.body) == "journal" and state.suspendable and tool.acts:
            verdict = of_another_way()
            return verdict_body(verdict, enforce=enforce)
        verdict, approval = self._ruled(memory, entry, made)
        return self._ended(memory, entry, made, verdict, approval, enforce=enforce)

    def _args(self, memory: _Memory, entry: Entry, action: Body) -> Body:
        """The arguments that were judged: a person may have changed those of a held action."""
        pending = memory.state.pending.get(str(action["id"]))
        if "~" in str(entry.cause) and pending is not None and not pending.settled:
            ruling, answer = pending.decided(memory.policy, entry.at)
            if ruling == "edit" and answer is not None:
                return cast("Body", answer["args"])
        return cast("Body", action["args"])

    def _made(self, entry: Entry, action: Body, tool: str, args: Mapping[str, Any]) -> Action:
        return Action(
            id=str(action["id"]),
            run=self.run.id,
            principal=str(action["principal"]),
            subject=action.get("subject"),
            capability=action.get("capability"),
            tool=tool,
            args=args,
            call_id=action.get("call_id"),
            at=entry.at,
        )

    def _ruled(self, memory: _Memory, entry: Entry, action: Action) -> tuple[Verdict, Pending | None]:
        """What the rules say, and what people have said yes to."""
        policy, state = memory.policy, memory.state
        verdict = decide(policy, state, action, now=entry.at)
        if self.other:
            return _granted(verdict, entry.body), None
        held = state.pending.get(action.id)
        approval: Pending | None = None
        if "~" in str(entry.cause) and held is not None and not held.settled:
            if held.decided(policy, entry.at)[0] in ("approve", "edit"):
                approval = held
        elif state.pending:
            approval = approved(policy, state, action, now=entry.at)
        return (verdict if approval is None else discharged(verdict, approval)), approval

    def _ended(
        self,
        memory: _Memory,
        entry: Entry,
        action: Action,
        verdict: Verdict,
        approval: Pending | None,
        *,
        enforce: bool,
    ) -> Body:
        """What a ruling comes to where the call ends by it, or is to be carried."""
        policy, state = memory.policy, memory.state
        goes_on = verdict.ruling == "allow" or not enforce
        if verdict.ruling == "ask" and enforce:
            question = user_question(policy, action, asks(verdict))
            if question is not None:
                return verdict_body(verdict, enforce=True, told=told_to_ask(question), question=question)
            self.pendings[action.id] = self._pending(memory, entry, action, verdict)
            if action.id in self.run.story.refused:
                told = told_no(self.run.story.roles.get(action.id), verdict)
                return verdict_body(verdict, enforce=True, told=told)
            return verdict_body(verdict, enforce=True)
        if goes_on:
            late = self._too_late(memory, entry, action, verdict, approval, enforce=enforce)
            verdict = verdict if late is None else late
            if late is not None and not enforce:
                return verdict_body(late, enforce=False, told=late.text)
        if verdict.ruling == "deny" and enforce:
            # A held action that cannot be carried any more ends without being counted first.
            ends = "~" in str(entry.cause) and approval is not None and not goes_on
            told = None if ends else told_of_denial(policy, state, action, verdict)[0]
            if goes_on and self.only is not None and "told" not in entry.body:
                told = None  # it was denied later than it was allowed: others may have ended the run meanwhile
            return verdict_body(verdict, enforce=True, told=told)
        return verdict_body(verdict, enforce=enforce)

    def _refused(
        self, memory: _Memory, entry: Entry, action: Body, reason: Reason, tool: ToolPolicy | None, enforce: bool
    ) -> Body:
        """A call that could not be judged."""
        state = memory.state
        verdict = verdict_of([reason], state.level_of(tool) if tool is not None else "shadow")
        made = self._made(entry, action, str(action["tool"]), cast("Body", action["args"]))
        told = told_of_denial(memory.policy, state, made, verdict)[0] if enforce else None
        return verdict_body(verdict, enforce=enforce, told=told)

    def _of_the_gate(self, state: RunState, tool: ToolPolicy, action: Body, by: str, entry: Entry) -> Verdict:
        """A call that the gate made by itself."""
        story, serves = self.run.story, str(action.get("for"))
        served = str(story.actions.get(serves, _NOTHING).get("tool", _served(entry.body)))
        if by != "undo":
            return of_a_look(by, state.level_of(tool), action=serves, tool=served)
        mine = session_of(self.run.id, entry.cause)
        asked = next((b for seq, by_whom, b in reversed(story.undos) if seq < entry.seq and by_whom == mine), _NOTHING)
        wants, because = str(asked.get("by")), str(asked.get("because"))
        # An undo is at the level of what it takes back.
        level = state.level_of(state.policy.tools.get(served, tool))
        return of_an_undo(level, by=wants, because=because, action=serves, tool=served)

    def _pending(self, memory: _Memory, entry: Entry, action: Action, verdict: Verdict) -> Pending:
        """What is put to people, with the random number that was written."""
        nonce = next(
            (str(e.body.get("nonce")) for e in self.entries if e.kind == "question" and e.cause == entry.cause), ""
        )
        return pending_of(
            memory.policy,
            memory.state,
            memory.policy.tools[action.tool],
            ledger=self.deciding.ledger.id,
            run=self.run.id,
            action=action.id,
            args=action.args,
            rules=frozenset(r.rule for r in asks(verdict)),
            text=verdict.text,
            at=entry.at,
            nonce=nonce,
            subject=action.subject,
            capability=action.capability,
            origins=verdict.origins,
        )

    # -- what is found out after the rules have said yes --------------------------------------------------------------

    def _too_late(
        self,
        memory: _Memory,
        entry: Entry,
        action: Action,
        verdict: Verdict,
        approval: Pending | None,
        *,
        enforce: bool,
    ) -> Verdict | None:
        """The denial of a call that the rules allow: it could not be taken back, or others were first."""
        tool = memory.policy.tools[action.tool]
        simulate = enforce and simulates(memory.state, tool, verdict, action.args)
        unread = None if simulate else self._unread(memory.policy, tool, entry, action, verdict)
        if unread is not None:
            return unread
        realm: Realm = self.run.entries[0].world
        if realm != "test":
            realm = "shadow" if verdict.level == "shadow" and enforce else "production"
        guards: list[Guard] = []
        if memory.policy.budgets is not None:
            reserved = budgets.reservations(memory.policy, action, "shadow" if simulate else realm)
            guards += reserved if enforce else budgets.unlimited(reserved)
        if tool.keyed is not None and tool.keyed.forever:
            guards.append(used_key(key_of_action(memory.policy, action, enforce=enforce), action, realm))
        conflict = self._conflict(guards, entry)
        if conflict is None and _code_of(entry.body) == CARRIED_BEFORE:
            conflict = self._carried(memory, entry, action, approval)
        return None if conflict is None else of_a_conflict(conflict, verdict.level)

    def _unread(
        self, policy: Policy, tool: ToolPolicy, entry: Entry, action: Action, verdict: Verdict
    ) -> Verdict | None:
        if tool.undoing is None or tool.undoing.before is None:
            return None
        look = policy.tools[tool.undoing.before]
        reads = self.run.story.looks.get(action.id, ())
        for read in reads:
            came = self.run.story.outcomes.get(read)
            if came is not None and came.get("status") != "ok":
                return of_no_way_back(tool, look.name, str(came.get("text")), verdict.level)
        if reads or _code_of(entry.body) != "unreadable_before":
            return None
        try:
            look.arguments.coerce({name: action.args[name] for name in look.arg_shapes if name in action.args})
        except BadValue as bad:
            return of_no_way_back(tool, look.name, f"{look.name} cannot be asked: {bad}", verdict.level)
        return of_no_way_back(tool, look.name, f"The gate has no function for {look.name}.", verdict.level)

    def _conflict(self, guards: Sequence[Guard], entry: Entry) -> Conflict | None:
        if not guards:
            return None
        found: Conflict | None = None
        wanted = _rule_of(entry.body) in ("budgets", "idempotent")
        earlier = max((e.seq for e in self.entries if e.seq < entry.seq and e.kind != "action"), default=0)
        for spent in self.run.spents:
            # What was tried in vain was tried before the denial was written; what was written, at that very moment.
            found = spent.conflict(tuple(guards), earlier if wanted else entry.seq, entry.seq)
            if (found is not None) == wanted:
                break
        return found

    def _carried(self, memory: _Memory, entry: Entry, action: Action, approval: Pending | None) -> Conflict | None:
        key = (action.tool, frozen(action.args))
        same = [approval] if approval is not None else [p for p in memory.state.pending.values() if p.key == key]
        for pending in same:
            if any(done == pending.action for _, done in self.run.story.carried):
                return Conflict(Claim(key=f"carry/{pending.action}", value=pending.action), pending.action)
        return None


def _lower(one: Level, other: Level) -> Level:
    return one if LEVELS.index(one) <= LEVELS.index(other) else other


def _until_heard(entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in entries:
        if entry.kind == "heard":
            return
        yield entry


def _granted(verdict: Verdict, was: Body) -> Verdict:
    """A verdict after the yes that people gave to the same rules, though they gave it under another contract."""
    given = {str(r["rule"]) for r in was.get("reasons", ()) if str(r.get("text", "")).startswith("Approved: ")}
    if not given:
        return verdict
    reasons = [
        Reason(rule=r.rule, code=r.code, text=f"Approved: {r.text}", ruling="allow", enforced=r.enforced)
        if r.ruling == "ask" and r.enforced and r.rule in given
        else r
        for r in verdict.reasons
    ]
    return verdict_of(reasons, verdict.level, verdict.origins)


def _first_reason(body: Body) -> Body:
    reasons = cast("Sequence[Body]", body.get("reasons") or ({},))
    return reasons[0]


def _rule_of(body: Body) -> str:
    return str(_first_reason(body).get("rule"))


def _code_of(body: Body) -> str:
    return str(_first_reason(body).get("code"))


def _served(body: Body) -> str:
    """The tool that a look-up served, where its action was never written: it stands in the reason."""
    return str(_first_reason(body).get("text", "")).rpartition(" (")[2].removesuffix(")")
