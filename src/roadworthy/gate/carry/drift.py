"""What a tool's answers usually look like, learnt from them, and what has changed.

Beyond what a contract declares, each tool's form is learnt per principal (services show different people different
fields): which fields are always there, of which types, never null, how long lists are at least. A change is told
apart from an optional field by evidence. After `ENOUGH` different calls in which something never happened it is
*suspected* when it happens, and *confirmed* when it happens again in the next different call: were it only rare, all
orders of the ENOUGH + 2 answers would be equally likely, so the two would come last with a chance of at most
2 / ((ENOUGH + 1) * (ENOUGH + 2)), 0.43 % for 20. One answer of the old form in between shows that both forms are
usual. A change that stays is the new form after `SETTLED` answers.

Everything here is arithmetic on values that were seen: no clock, no ledger.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal, cast
from zlib import crc32

from roadworthy.core import canonical

ENOUGH = 20
"""Answers to different calls after which what never happened is unusual."""
CONFIRMED = 2
"""Different calls in a row that show a change before it counts."""
SETTLED = 20
"""Answers in the new form after which it is the form."""
CLOSED = 50
"""Answers after which a text field with few values, each seen often, is taken for an enum."""
MAX_MEMBERS = 8
MAX_FIELDS = 64
"""More than these in one place, and they are taken for the keys of a map."""
MAX_PLACES = 400
"""The most places of one tool's answers that are remembered."""
MAX_LEVELS = 8
MAX_ITEMS = 32
"""So many items of a list are looked at, spread over it."""
MAX_FORMS = 4_096
"""The most pairs of tool and principal that are remembered."""
RECENT = 64
"""The same call counts again as evidence when so many others came between, else one time in ten."""

Change = Literal["missing", "new", "renamed", "retyped", "null", "enum", "cut", "unfit", "partial", "settled"]
"""`null`: where none was ever seen. `cut`: a list is half as long as the shortest so far, or shorter. `unfit`: not what
the contract's `returns` says. `partial`: it says itself that there is more. `settled`: a change that has stayed."""

BREAKING: frozenset[Change] = frozenset({"missing", "renamed", "retyped", "null", "cut", "unfit"})

_KINDS: Mapping[type, str] = {str: "text", int: "number", float: "number", bool: "truth", dict: "object", list: "list"}
_WORDS: Mapping[str, str] = {"truth": "true or false", "object": "an object", "list": "a list", "number": "a number"}
_DATA_KEY = re.compile(r"[^A-Za-z_$@]|.*\d{3}|.+@|.{65}", re.DOTALL)
"""Keys that are data themselves, such as ids and dates: fields of a map, whose absence says nothing."""
_ITEM = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One way in which an answer is not what the tool's answers were."""

    kind: Change
    path: str
    """Where, from `result` down; `[]` stands for the items of a list, `*` for the values of a map."""
    text: str
    """What changed, in words, for the model and for people."""
    breaking: bool
    """Whoever relied on the old form is broken; else something was added, or came to rest."""
    confirmed: bool = True
    """False: seen once so far, and perhaps only rare."""

    def body(self, tool: str, principal: str) -> dict[str, Any]:
        """As a ledger entry of kind `drift` has it."""
        return {
            "tool": tool,
            "principal": principal,
            "change": self.kind,
            "path": self.path,
            "text": self.text,
            "breaking": self.breaking,
            "confirmed": self.confirmed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one answer showed."""

    findings: tuple[Drift, ...] = ()
    observation: Mapping[str, Any] | None = None
    """What is known by now, for a ledger entry of kind `observation`; None while there is little news."""


_NOTHING = Seen()


# -- one answer, summed up --------------------------------------------------------------------------------------------


class _Look:
    """What stands at one place of one answer; the items of a list are one place."""

    __slots__ = ("fields", "items", "kinds", "length", "null", "sometimes", "texts")

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.null = False
        self.fields: dict[str, _Look] | None = None
        self.sometimes: set[str] | None = None
        """Fields that some of the items here have and some lack."""
        self.items: _Look | None = None
        self.length: int | None = None
        """Of the shortest list here."""
        self.texts: set[str] | None = None

    def add(self, value: Any, level: int) -> None:
        """Take one more value into the summary."""
        if value is None:
            self.null = True
            return
        kind = _KINDS.get(cast("type[Any]", type(value)), "number")
        self.kinds.add(kind)
        if kind == "text":
            if len(value) <= 40:
                if self.texts is None:
                    self.texts = set()
                self.texts.add(value)
        elif kind == "object":
            if level > 0:
                self._add_fields(cast("dict[str, Any]", value), level - 1)
        elif kind == "list":
            items = cast("list[Any]", value)
            self.length = len(items) if self.length is None else min(self.length, len(items))
            if items and level > 0:
                if self.items is None:
                    self.items = _Look()
                step = max(1, len(items) // MAX_ITEMS)
                for item in items[::step][:MAX_ITEMS]:
                    self.items.add(item, level - 1)

    def _add_fields(self, value: dict[str, Any], level: int) -> None:
        before = self.fields
        if before is None:
            self.fields = fields = {}
        else:
            fields = before
            gone = before.keys() - value.keys()
            if gone:
                self.sometimes = (self.sometimes or set()) | gone
        for key, inner in value.items():
            name = _ITEM if _DATA_KEY.match(key) else key
            look = fields.get(name)
            if look is None:
                if len(fields) > 4 * MAX_FIELDS:
                    continue
                look = fields[name] = _Look()
                if before is not None:
                    self.sometimes = (self.sometimes or set()) | {name}
            look.add(inner, level)

    def lacks(self, name: str) -> bool:
        """Whether a field is missing from at least one of the objects here."""
        return name not in (self.fields or ()) or (self.sometimes is not None and name in self.sometimes)


# -- what is learnt ---------------------------------------------------------------------------------------------------


class _Place:
    """What is known of one place in a tool's answers."""

    __slots__ = (
        "away",
        "fields",
        "grew",
        "items",
        "kinds",
        "map",
        "members",
        "n",
        "nulls",
        "open",
        "shortest",
        "there",
    )

    def __init__(self) -> None:
        self.n = 0
        """Answers to different calls in which there was anything here."""
        self.there = 0
        """Answers in a row, up to now, in which it stood in every object that could have it."""
        self.away = 0
        """Answers in which it was missing."""
        self.nulls = 0
        self.kinds: set[str] = set()
        self.fields: dict[str, _Place] = {}
        self.grew = 0
        """How much was known when the latest field was added."""
        self.map = False
        """The fields are keys of a map."""
        self.items: _Place | None = None
        self.shortest: int | None = None
        self.members: dict[str, int] = {}
        """Digests of the texts seen here, with how often; texts themselves are nobody's business."""
        self.open = False
        """Too many texts for an enum."""

    def expected(self, enough: int) -> bool:
        """Whether it has been there long enough to be missed; every absence makes that four times as long."""
        return self.there >= enough * 4 ** min(self.away, 5)

    def absent(self) -> None:
        """It was missing, and that is usual."""
        self.away += 1
        self.there = 0

    def places(self) -> int:
        return 1 + sum(p.places() for p in self.fields.values()) + (self.items.places() if self.items else 0)

    def as_map(self) -> None:
        """Take the fields for keys of a map, and all that is known of them for what is known of its values."""
        merged = self.fields.get(_ITEM) or _Place()
        for name, place in self.fields.items():
            if name != _ITEM:
                merged.merge(place)
        self.fields = {_ITEM: merged}
        self.map = True

    def closed(self) -> bool:
        """Whether the texts here look like the members of an enum."""
        return (
            not self.open
            and self.n >= CLOSED
            and 0 < len(self.members) <= MAX_MEMBERS
            and all(times >= 3 for times in self.members.values())
        )

    def merge(self, other: _Place) -> None:
        """Bring in what another process knows; in whatever order and how often, it comes to the same."""
        self.n, self.nulls = max(self.n, other.n), max(self.nulls, other.nulls)
        self.away, self.there = max((self.away, self.there), (other.away, other.there))
        self.kinds |= other.kinds
        if other.shortest is not None:
            self.shortest = other.shortest if self.shortest is None else min(self.shortest, other.shortest)
        self.open = self.open or other.open
        for member, times in other.members.items():
            self.members[member] = max(self.members.get(member, 0), times)
        if self.open or len(self.members) > MAX_MEMBERS:
            self.open, self.members = True, {}
        if other.map and not self.map:
            self.as_map()
        for name, place in other.fields.items():
            mine = self.fields.setdefault(_ITEM if self.map else name, _Place())
            mine.merge(place)
        if len(self.fields) > MAX_FIELDS and not self.map:
            self.as_map()
        if other.items is not None:
            if self.items is None:
                self.items = _Place()
            self.items.merge(other.items)

    def written(self) -> dict[str, Any]:
        """As JSON, without what is not known."""
        out: dict[str, Any] = {"n": self.n}
        for key, value in (("there", self.there), ("away", self.away), ("nulls", self.nulls)):
            if value:
                out[key] = value
        if self.kinds:
            out["kinds"] = sorted(self.kinds)
        if self.shortest is not None:
            out["shortest"] = self.shortest
        if self.open:
            out["open"] = True
        elif self.members:
            out["members"] = dict(sorted(self.members.items()))
        if self.map:
            out["map"] = True
        if self.fields:
            out["fields"] = {name: place.written() for name, place in sorted(self.fields.items())}
        if self.items is not None:
            out["items"] = self.items.written()
        return out


def _read(body: Mapping[str, Any], level: int = MAX_LEVELS + 2) -> _Place:
    """What `written` wrote. Raises TypeError, ValueError or AttributeError for anything else."""
    place = _Place()
    place.n, place.there = int(body.get("n", 0)), int(body.get("there", 0))
    place.away, place.nulls = int(body.get("away", 0)), int(body.get("nulls", 0))
    place.kinds = {str(kind) for kind in body.get("kinds", ())}
    shortest = body.get("shortest")
    place.shortest = int(shortest) if shortest is not None else None
    place.open, place.map = body.get("open") is True, body.get("map") is True
    place.members = {str(k): int(v) for k, v in body.get("members", {}).items()}
    if level > 0:
        place.fields = {str(name): _read(inner, level - 1) for name, inner in body.get("fields", {}).items()}
        if body.get("items") is not None:
            place.items = _read(body["items"], level - 1)
    return place


@dataclass(slots=True)
class _Suspicion:
    times: int
    calls: set[int]
    """The calls that showed it."""
    kinds: frozenset[str]
    """The types seen there meanwhile."""
    length: int | None
    """The shortest list seen there meanwhile."""
    first: Drift
    """As it was told first, when a renamed field still had a new name."""


_Mark = tuple[str, str]
"""What is suspected, and where: `("missing", "result.total")`."""


@dataclass(slots=True)
class _Found:
    mark: _Mark
    drift: Drift
    look: _Look | None


class _Comparison:
    """One answer held against what is known."""

    __slots__ = ("additions", "clear", "enough", "found")

    def __init__(self, enough: int) -> None:
        self.enough = enough
        self.found: list[_Found] = []
        self.additions: list[Drift] = []
        self.clear: set[_Mark] = set()
        """What could have been unusual, and was not."""

    def _tell(self, kind: Change, mark: str, path: str, text: str, look: _Look | None = None) -> None:
        drift = Drift(kind=kind, path=path, text=text, breaking=True, confirmed=False)
        self.found.append(_Found((mark, path), drift, look))

    def look(self, place: _Place, look: _Look, path: str) -> None:
        """Compare what stands at one place, and below it."""
        known = place.n >= self.enough
        if known and place.kinds and not place.nulls:
            if look.null:
                self._tell("null", "null", path, f"{path} was never null and is null now")
            else:
                self.clear.add(("null", path))
        if known and place.kinds:
            strange = look.kinds - place.kinds
            if strange:
                now, then = _words(strange), _words(place.kinds)
                self._tell("retyped", "retyped", path, f"{path} was always {then} and is {now} now", look)
            else:
                self.clear.add(("retyped", path))
        if look.length is not None and known and place.shortest is not None and place.shortest >= 2:
            if look.length * 2 <= place.shortest:
                text = f"{path} always had at least {place.shortest} items and has {look.length} now"
                self._tell("cut", "cut", path, text, look)
            else:
                self.clear.add(("cut", path))
        if look.texts is not None and place.closed():
            strange = {t for t in look.texts if _member(t) not in place.members}
            if strange:
                text = f"{path} has a value that was never seen: {', '.join(sorted(strange)[:3])}"
                self.additions.append(Drift(kind="enum", path=path, text=text, breaking=False))
        if look.fields is not None and "object" in place.kinds:
            self._fields(place, look, path)
        if look.items is not None and place.items is not None:
            self.look(place.items, look.items, f"{path}[]")

    def _fields(self, place: _Place, look: _Look, path: str) -> None:
        fields = look.fields or {}
        new = [name for name in fields if name not in place.fields and not place.map and name != _ITEM]
        missing: list[str] = []
        for name, child in place.fields.items():
            if name == _ITEM or not child.expected(self.enough):
                continue
            if look.lacks(name):
                missing.append(name)
            else:
                self.clear.add(("missing", f"{path}.{name}"))
        for name in missing:
            where = f"{path}.{name}"
            other = _renamed_to(name, place.fields[name], new, fields)
            if other is not None:
                new.remove(other)
                text = f"{where} was always there; now there is {path}.{other} instead"
                self._tell("renamed", "missing", where, text)
            else:
                self._tell("missing", "missing", where, f"{where} was always there and is missing now")
        if place.n - place.grew >= self.enough:  # where fields come and go, one more is no news
            for name in new:
                where = f"{path}.{name}"
                self.additions.append(Drift(kind="new", path=where, text=f"{where} is new", breaking=False))
        for name, inner in fields.items():
            child = place.fields.get(_ITEM if place.map else name)
            if child is not None:
                self.look(child, inner, f"{path}.{_ITEM if place.map else name}")


def _words(kinds: set[str]) -> str:
    return " or ".join(_WORDS.get(kind, kind) for kind in sorted(kinds))


def _member(text: str) -> str:
    return f"{crc32(text.encode('utf-8', 'replace')):08x}"


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _renamed_to(name: str, place: _Place, new: Sequence[str], fields: Mapping[str, _Look]) -> str | None:
    """The new field that a missing one is called now: of the same type, and alike in name or the only one."""
    same = [other for other in new if fields[other].kinds and fields[other].kinds <= place.kinds]
    if not same:
        return None

    def likeness(other: str) -> float:
        mine, theirs = _folded(name), _folded(other)
        if mine and theirs and (mine in theirs or theirs in mine):
            return 1.0
        return SequenceMatcher(None, mine, theirs).ratio()

    best = max(same, key=likeness)
    return best if likeness(best) >= 0.6 or len(new) == 1 else None


class _Form:
    """All that is known of one tool's answers to one principal."""

    __slots__ = ("calls", "changed", "epoch", "marks", "places", "recent", "repeated", "root", "told")

    def __init__(self) -> None:
        self.root = _Place()
        self.marks: dict[_Mark, _Suspicion] = {}
        self.recent: dict[int, None] = {}
        self.repeated = 0
        self.calls = 0
        self.told = 0
        """How much was known when it was last written down."""
        self.changed = False
        """A form that was taken for usual turned out to be one of several."""
        self.places = 1
        self.epoch = 0
        """How often it was forgotten or has settled anew; knowledge of earlier epochs no longer counts."""

    def counts(self, call: int, *, bare: bool) -> bool:
        """Whether an answer is new evidence: the same call over and over shows little more than once."""
        if bare:
            return True
        if call in self.recent:
            self.repeated += 1
            return self.repeated % 10 == 0
        self.recent[call] = None
        if len(self.recent) > RECENT:
            del self.recent[next(iter(self.recent))]
        return True

    # -- learning -----------------------------------------------------------------------------------------------------

    def learn(self, look: _Look, held: frozenset[_Mark], *, counts: bool) -> None:
        """Take an answer in, all but what is suspected in it."""
        self._learn(self.root, look, "result", held, counts=counts)

    def _learn(self, place: _Place, look: _Look, path: str, held: frozenset[_Mark], *, counts: bool) -> None:
        mature = place.n >= ENOUGH
        if counts:
            place.n += 1
        if look.null and ("null", path) not in held:
            self.changed = self.changed or (mature and not place.nulls)
            place.nulls += 1
        if ("retyped", path) in held:
            return
        if look.kinds - place.kinds:
            self.changed = self.changed or (mature and bool(place.kinds))
            place.kinds |= look.kinds
        if (
            look.length is not None
            and ("cut", path) not in held
            and (place.shortest is None or look.length < place.shortest)
        ):
            self.changed = self.changed or mature
            place.shortest = look.length
        if look.texts is not None and not place.open:
            for text in look.texts:
                member = _member(text)
                place.members[member] = place.members.get(member, 0) + 1
            if len(place.members) > MAX_MEMBERS:
                place.open, place.members = True, {}
        if look.fields is not None:
            self._learn_fields(place, look, path, held, counts=counts)
        if look.items is not None:
            if place.items is None:
                place.items = _Place()
                self.places += 1
            self._learn(place.items, look.items, f"{path}[]", held, counts=counts)

    def _learn_fields(self, place: _Place, look: _Look, path: str, held: frozenset[_Mark], *, counts: bool) -> None:
        fields = look.fields or {}
        for name, child in place.fields.items():
            if name != _ITEM and look.lacks(name) and ("missing", f"{path}.{name}") not in held:
                self.changed = self.changed or child.expected(ENOUGH)
                child.absent()
        for name, inner in fields.items():
            known = _ITEM if place.map else name
            child = place.fields.get(known)
            if child is None:
                if self.places >= MAX_PLACES:
                    continue
                child = place.fields[known] = _Place()
                place.grew = place.n - 1
                self.places += 1
                if place.n > 1:
                    child.away += 1  # it was not there before
            if counts and not look.lacks(name):
                child.there += 1
            self._learn(child, inner, f"{path}.{known}", held, counts=counts)
        if len(place.fields) > MAX_FIELDS and not place.map:
            place.as_map()
            self.places = self.root.places()

    def accept(self, mark: _Mark, suspicion: _Suspicion) -> None:
        """Both forms are usual: what was suspected is no news any more."""
        self.changed = True
        for place, path in list(_walk(self.root, "result")):
            if path != mark[1]:
                continue
            if mark[0] == "missing":
                place.absent()
            elif mark[0] == "null":
                place.nulls += 1
            elif mark[0] == "cut":
                place.shortest = suspicion.length
            else:
                place.kinds |= suspicion.kinds


def _walk(place: _Place, path: str) -> Iterator[tuple[_Place, str]]:
    yield place, path
    for name, child in place.fields.items():
        yield from _walk(child, f"{path}.{name}")
    if place.items is not None:
        yield from _walk(place.items, f"{path}[]")


def _call(args: Mapping[str, Any]) -> int:
    try:
        return hash(canonical.dumps(args))
    except (TypeError, ValueError):  # calls that only watch may have any arguments
        return hash(repr(sorted(args)))


class Learned:
    """What is known of the answers of all tools, per principal; what stand-ins answer is none of it. Thread-safe."""

    __slots__ = ("_enough", "_forms", "_lock")

    def __init__(self, *, enough: int = ENOUGH) -> None:
        self._enough = enough
        self._forms: dict[tuple[str, str], _Form] = {}
        self._lock = threading.Lock()

    def see(self, tool: str, principal: str, args: Mapping[str, Any], value: Any) -> Seen:
        """Hold an answer against what is known, and learn from it.

        `value` is as JSON carries it, and whole. Costs a walk over the answer, at most MAX_ITEMS items of each list.
        """
        look = _Look()
        look.add(value, MAX_LEVELS)
        call = _call(args)
        with self._lock:
            form = self._form(tool, principal)
            findings = self._judge(form, look, call, bare=not args)
            counts = form.counts(call, bare=not args)
            form.learn(look, frozenset(form.marks), counts=counts)
            form.calls += counts
            observation = self._observation(form, tool, principal)
        return Seen(findings=findings, observation=observation) if findings or observation else _NOTHING

    def _form(self, tool: str, principal: str) -> _Form:
        form = self._forms.get((tool, principal))
        if form is None:
            if len(self._forms) >= MAX_FORMS:
                del self._forms[next(iter(self._forms))]
            form = self._forms[tool, principal] = _Form()
        return form

    def _judge(self, form: _Form, look: _Look, call: int, *, bare: bool) -> tuple[Drift, ...]:
        if form.calls < self._enough:
            return ()
        compared = _Comparison(self._enough)
        compared.look(form.root, look, "result")
        if not compared.found and not compared.additions and not form.marks:
            return ()
        findings: list[Drift] = list(compared.additions)
        for mark in [m for m in form.marks if m in compared.clear]:
            form.accept(mark, form.marks.pop(mark))
        for found in compared.found:
            suspicion = form.marks.setdefault(found.mark, _Suspicion(0, set(), frozenset(), None, found.drift))
            if found.look is not None:
                suspicion.kinds |= found.look.kinds
                if found.look.length is not None:
                    suspicion.length = min(found.look.length, suspicion.length or found.look.length)
            if bare or call not in suspicion.calls:
                suspicion.times += 1
                if len(suspicion.calls) < SETTLED:
                    suspicion.calls.add(call)
            drift = suspicion.first if found.drift.kind == "missing" else found.drift
            if suspicion.times >= SETTLED:
                form.accept(found.mark, form.marks.pop(found.mark))
                text = f"{drift.text}; it has stayed so and is taken for the usual form from now on"
                findings.append(Drift(kind="settled", path=drift.path, text=text, breaking=False))
                continue
            findings.append(
                Drift(
                    kind=drift.kind,
                    path=drift.path,
                    text=drift.text,
                    breaking=True,
                    confirmed=suspicion.times >= CONFIRMED,
                )
            )
        return tuple(findings[:MAX_MEMBERS])

    def _observation(self, form: _Form, tool: str, principal: str) -> Mapping[str, Any] | None:
        due = form.calls >= max(5, 2 * form.told)
        if not due and not (form.changed and form.told):
            return None
        form.told, form.changed = max(form.calls, 1) if due else form.told, False
        return self._body(form, tool, principal)

    @staticmethod
    def _body(form: _Form, tool: str, principal: str) -> dict[str, Any]:
        return {
            "tool": tool,
            "principal": principal,
            "epoch": form.epoch,
            "calls": form.calls,
            "form": form.root.written(),
        }

    def restore(self, body: Mapping[str, Any]) -> bool:
        """Bring in what an `observation` entry says; False where it is none of ours, or cannot be read."""
        try:
            tool, principal, epoch = str(body["tool"]), str(body["principal"]), int(body["epoch"])
            calls, root = int(body["calls"]), _read(body["form"])
        except (KeyError, TypeError, ValueError, AttributeError):
            return False
        with self._lock:
            form = self._form(tool, principal)
            if epoch < form.epoch:
                return True
            if epoch > form.epoch:
                fresh = _Form()
                fresh.epoch = epoch
                form = self._forms[tool, principal] = fresh
            form.root.merge(root)
            form.calls = max(form.calls, calls)
            form.told = max(form.told, calls)
            form.places = form.root.places()
        return True

    def forget(self, tool: str, principal: str) -> Mapping[str, Any]:
        """Begin anew, as after an announced change; gives the `observation` that tells other processes."""
        with self._lock:
            fresh = _Form()
            fresh.epoch = self._form(tool, principal).epoch + 1
            self._forms[tool, principal] = fresh
            return self._body(fresh, tool, principal)

    def calls(self, tool: str, principal: str) -> int:
        """How many different calls are known."""
        with self._lock:
            form = self._forms.get((tool, principal))
            return form.calls if form is not None else 0
