"""Where the values of one run were seen: an index that grows by events only.

What the user said, what the application vouches for, what the agent said, what came in by no tool, and results: each
event adds its forms (`gate/forms`) once, so a decision costs the same after two events and after two thousand. Words
count as the user's when the user typed them or said yes to a question they stood in; a role in a message list proves
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any, cast

from roadworthy.contract.conditions import zone_of
from roadworthy.contract.shapes import Shape
from roadworthy.gate import forms
from roadworthy.gate.confirm import affirms
from roadworthy.gate.forms import Form
from roadworthy.gate.origins.checked import (
    AGENT,
    CONTRACT,
    DERIVED,
    FACTS,
    GOOD,
    SIMULATED,
    TRUSTED,
    UNTRUSTED,
    USER,
    Mask,
    OriginPolicy,
    meanings,
    weak,
)
from roadworthy.gate.origins.spoken import Spoken, spoken
from roadworthy.gate.walk import Entities, Leaf

MOST_TEXT = 200_000
"""Characters of one text that are looked at. What comes after them counts as seen nowhere, so it is asked about."""
MOST_NUMBERS = 128
MOST_DAYS = 64
MOST_RECORDS = 32
"""So many of the latest are remembered: numbers to calculate with, days to count from, records of one value."""
MOST_TOLD = 16
"""So many of the agent's latest messages can settle which candidate is meant."""
APART = "\n|\n"
"""What keeps the values of untrusted fields apart while they are looked through together."""
COUNT = "#"
"""The unit of whole numbers that say how many."""
_PLAIN_NUMBERS = frozenset(f"n:{number}" for number in (0, 1, 2, 7, 10, 12, 24, 30, 60, 100, 365, 1000))
"""Numbers that stand in calculations by themselves: hours of a day, months of a year, a hundred for percents."""
ENCODED = re.compile(r"%[0-9A-Fa-f]{2}|&#?\w{1,8};|=[0-9A-F]{2}|[A-Za-z0-9+/_-]{24,}={0,2}")
"""What gives away that a text may hold encoded parts: to look for them in every text would cost more than all else."""
_ALL = re.compile(
    r"(?i)\b(both|(?:each|all) of (?:them|these|those|it)|every(?:thing|where)|all (?:two|three|four)|"
    r"alle beide|alles|überall|beide[nrs]?)\b"
)
_ALL_OF = re.compile(
    r"(?i)\b(?:all|any|every|each|alle[nr]?|jede[nrs]?|sämtliche[nr]?|toutes?|tous|todos|todas)\b"
    r"(?: (?:of|my|our|the|these|those|other|open|pending|unread|old|new|meine[nr]?|les|mes|los|las|mis))* (\w+)"
)
_OBJECTIONS = """
no nope nah not wrong incorrect other another different neither none instead
nein nicht kein keine falsch andere anderen anderer sondern non pas autre no otro otra
"""
_OBJECTS = frozenset(_OBJECTIONS.split())
"""Words of an answer after which what the agent named is not what the user meant."""
_ORDINALS = {
    "first": 0, "1st": 0, "former": 0, "erste": 0, "ersten": 0, "second": 1, "2nd": 1, "zweite": 1, "zweiten": 1,
    "third": 2, "3rd": 2, "dritte": 2, "dritten": 2, "fourth": 3, "4th": 3, "last": -1, "latter": -1, "letzte": -1,
    "letzten": -1,
}  # fmt: skip
_GLUE_WORDS = """
the and for from with von vom der die das und für mit zum zur les des une pour avec los las del para con
"""
GLUE = frozenset(_GLUE_WORDS.split())
"""Words that hold others together; like words of up to two letters they need not have been seen."""
_SHORT = 40
_TELLING = 12
"""A value with more forms is prose."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


class Index:
    """Where the values of one run were seen. Not thread-safe: its run holds a lock around it."""

    __slots__ = (
        "asked",
        "choices",
        "days",
        "everything",
        "features",
        "figures",
        "first",
        "groups",
        "kinds",
        "masks",
        "numbers",
        "owners",
        "policy",
        "records",
        "seen_days",
        "spoken",
        "tainted",
        "times",
        "told",
        "totals",
        "user",
        "where",
        "worked_out",
    )

    def __init__(self, policy: OriginPolicy) -> None:
        self.policy = policy
        self.masks: dict[str, Mask] = {}
        """By form: the origins. Weak forms of results stand under the form and what the field means; `2:` two words
        side by side; `~` forms that count only as a part of a longer value."""
        self.first: dict[Form, str] = {}
        """By form: the first tool or text without trust that it came by."""
        self.user: set[Form] = set()
        """The forms of the user's own words."""
        self.where: dict[Form, set[int]] = {}
        """By word: the trusted records it stood in; empty once there are too many."""
        self.records = 0
        self.owners: dict[Form, list[Entities]] = {}
        """By form: the trusted records that a value stood in; empty once there are too many to tell anything."""
        self.kinds: dict[Form, set[str]] = {}
        """By form: the entities whose key it is, by trusted results."""
        self.features: dict[tuple[str, str], set[Form]] = {}
        """By entity and key: what trusted results say about it."""
        self.figures: dict[tuple[str, str], dict[str, Any]] = {}
        """By entity and key: its numbers and days by the names of their fields, to find the largest or the latest."""
        self.groups: dict[tuple[str, str], list[tuple[str, ...]]] = {}
        """By entity and key: the lists of candidates that it stood in."""
        self.tainted: dict[Form, Mask] = {}
        """What the agent wrote somewhere without anybody vouching for it: reading it back proves nothing."""
        self.worked_out: dict[Form, Mask] = {}
        """By form of a computed result: the worst origin of what it was computed from."""
        self.numbers: dict[tuple[Decimal, str | None], Mask] = {}
        """The latest numbers, with their units, that somebody vouches for."""
        self.totals: dict[tuple[Decimal, str | None], None] = {}
        """The latest sums of columns of trusted lists, with their units."""
        self.spoken = Spoken()
        """Days, times and counts in the user's words that only mean something beside others."""
        self.days: dict[date, None] = {}
        """The days on which the user spoke."""
        self.seen_days: dict[date, None] = {}
        """The latest days that somebody vouches for."""
        self.times: dict[int, None] = {}
        """The latest times of day that somebody vouches for, in minutes."""
        self.asked: list[str] = []
        """What the agent has said since the user's last turn."""
        self.told: list[frozenset[Form]] = []
        """The forms of each of the agent's latest messages that the user went along with."""
        self.choices: list[tuple[int, Mapping[Form, int]]] = []
        """Which of those that a question names the user took, with the places of all forms in it."""
        self.everything: set[str] = set()
        """What the user wants all of, by name; empty text where they said "all of them", "both" or the like."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index) and all(getattr(self, n) == getattr(other, n) for n in Index.__slots__)

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # it changes with every event

    # events --------------------------------------------------------------------------------------------------------

    def heard(self, text: str, at: datetime | None = None, *, answers: str | None = None) -> None:
        """The authenticated user's words. `at` is when: relative days count from it, in the contract's zone.

        `answers`: the question that they answer, where it was put by itself.
        """
        text = text[:MOST_TEXT]
        if at is not None:
            self.days[at.astimezone(zone_of(self.policy.zone)).date()] = None
        message = "\n".join(self.asked if answers is None else [*self.asked, answers[:MOST_TEXT]])
        self.asked.clear()
        if message:
            self._answered(text, message)
        said = spoken(text)
        found = forms.keys(text)
        found.update(f"n:{count}" for count in said.counts)
        self._add(found, USER)
        if self.policy.phrases:
            self._add(pairs_of(forms.words(text)), USER)
        self.user.update(found)
        self._note(found, USER)
        self.spoken = self.spoken.with_(said)
        if _ALL.search(text):
            self.everything.add("")
        self.everything.update(noun.casefold() for noun in _ALL_OF.findall(text))

    def said(self, text: str) -> None:
        """The agent's words to the user: they vouch for nothing, but the user may say yes to them."""
        self.asked.append(text[:MOST_TEXT])
        self.overheard(text)

    def overheard(self, text: str, source: str = "the agent's own words") -> None:
        """What an agent said, and the user did not answer: it vouches for nothing."""
        self._text(text, AGENT, source)

    def facts(self, given: Mapping[str, Any]) -> None:
        """Values that the application vouches for."""
        for name, value in given.items():
            shape = self.policy.facts.get(name)
            for inner in scalars(value):
                found = set(forms.seen(inner, shape))
                if isinstance(inner, str):
                    found |= forms.keys(inner)
                self._add(found, FACTS)
                self._note(found, FACTS)

    def read(self, text: str, *, trusted: bool, source: str = "what was read") -> None:
        """Text that came by no tool, such as retrieved pages or memory."""
        if trusted:
            self._vouched_text(text[:MOST_TEXT], self._record())
        else:
            self._text(text, UNTRUSTED, source)

    def result(self, tool: str, args: Mapping[str, Any], leaves: Sequence[Leaf], *, simulated: bool = False) -> None:
        """What a tool returned, taken apart, and what it was called with."""
        spec = self.policy.tools[tool]
        if simulated:
            for leaf in leaves:
                found = set(forms.seen(leaf.value, leaf.shape))
                if isinstance(leaf.value, str):
                    found |= forms.keys(leaf.value[:MOST_TEXT])
                self._add(found, SIMULATED)
            return
        worst = self._worst(args) if spec.computes else 0
        if spec.acts:
            self._write(tool, args)
        about: dict[str, tuple[str, ...]] = {}
        if self.policy.entities:
            for entity in spec.entities:
                assert entity.entity is not None
                keys = tuple(str(v) for v in values_at(args, entity.path))
                about[entity.entity] = (*about.get(entity.entity, ()), *keys)
        strange: dict[str, None] = {}
        merged: dict[int, Entities] = {}
        records: dict[int, int] = {}
        totals: dict[tuple[str, ...], tuple[Decimal, int, str | None]] = {}
        candidates: dict[str, dict[str, None]] = {}
        for leaf in leaves:
            if not leaf.trusted:
                if isinstance(leaf.value, str):
                    strange[leaf.value] = None
                else:
                    self._unvouched(forms.seen(leaf.value, leaf.shape), UNTRUSTED, tool)
                continue
            if spec.computes:
                self._computed(leaf, worst, tool)
                continue
            entities = merged.get(id(leaf.entities))
            if entities is None:
                entities = merged[id(leaf.entities)] = {**about, **leaf.entities} if about else leaf.entities
            record = records.get(id(leaf.entities))
            if record is None or not leaf.entities:
                record = records[id(leaf.entities)] = self._record()
            self._vouched(leaf, entities, record)
            shape = leaf.shape
            if shape is None:
                continue
            if shape.entity in self.policy.picks and any(isinstance(p, int) for p in leaf.path):
                candidates.setdefault(shape.entity, {})[str(leaf.value)] = None
            if shape.type in ("decimal", "number", "integer"):
                self._total(leaf, totals)
        if strange:  # all in one go: to begin with a text costs more than to go on with it
            # In an order of their own: a ledger keeps the fields of a record in another one than they came in.
            self._text(APART.join(sorted(strange)), UNTRUSTED, tool)
        for total, count, unit in totals.values():
            if count > 1:
                self.totals[total, unit] = None
                if len(self.totals) > MOST_DAYS:
                    del self.totals[next(iter(self.totals))]
        for entity, keys in candidates.items():
            if len(keys) > 1:
                group = tuple(keys)
                for key in group:
                    kept = self.groups.setdefault((entity, key), [])
                    if group not in kept:
                        kept.append(group)
                        del kept[:-MOST_RECORDS]

    # their parts ---------------------------------------------------------------------------------------------------

    def _record(self) -> int:
        self.records += 1
        return self.records

    def _add(self, found: Iterable[str], bit: Mask) -> None:
        masks = self.masks
        for form in found:
            masks[form] = masks.get(form, 0) | bit

    def _unvouched(self, found: Iterable[Form], bit: Mask, source: str) -> None:
        masks, first = self.masks, self.first
        for form in found:
            known = masks.get(form, 0)
            if not known & bit:
                masks[form] = known | bit
                first.setdefault(form, source)

    def _text(self, text: str, bit: Mask, source: str) -> None:
        """Text that nobody vouches for."""
        text = text[:MOST_TEXT]
        self._unvouched(forms.keys(text), bit, source)
        if ENCODED.search(text):
            for said in forms.decoded(text):
                self._unvouched(forms.keys(said), bit, source)
        if self.policy.phrases:
            self._unvouched(pairs_of(forms.words(text)), bit, source)

    def _note(self, found: Iterable[Form], bit: Mask) -> None:
        """Numbers, days and times to reckon with."""
        for form in found:
            kind, _, rest = form.partition(":")
            if kind == "n":
                self._number(Decimal(rest), None, bit)
            elif kind in ("d", "dt", "t"):
                self._moment(kind, rest)

    def _number(self, number: Decimal, unit: str | None, bit: Mask) -> None:
        key = (number, unit)
        known = self.numbers.pop(key, 0)
        self.numbers[key] = known | bit
        if len(self.numbers) > MOST_NUMBERS:
            del self.numbers[next(iter(self.numbers))]

    def _moment(self, kind: str, rest: str) -> None:
        day, minute = moment_of(kind, rest)
        if day is not None:
            self.seen_days.pop(day, None)
            self.seen_days[day] = None
            if len(self.seen_days) > MOST_DAYS:
                del self.seen_days[next(iter(self.seen_days))]
        if minute is not None:
            self.times.pop(minute, None)
            self.times[minute] = None
            if len(self.times) > MOST_DAYS:
                del self.times[next(iter(self.times))]

    def _vouched_text(self, text: str, record: int) -> frozenset[Form] | set[Form]:
        """Text of a trusted result: its words count, alone where they mean something, else within longer values."""
        found = _keys(text)
        masks = self.masks
        tainted = self.tainted
        for form in found:
            place = f"~{form}" if weak(form) else form
            masks[place] = masks.get(place, 0) | (tainted.get(form, TRUSTED) if tainted else TRUSTED)
        if self.policy.phrases:
            run = forms.words(text)
            for pair in pairs_of(run):
                masks[pair] = masks.get(pair, 0) | TRUSTED
            for word in set(run):
                self._place(f"w:{word}", record)
        return found

    def _place(self, word: Form, record: int) -> None:
        known = self.where.get(word)
        if known is None:
            self.where[word] = {record}
        elif known:
            known.add(record)
            if len(known) > MOST_RECORDS:
                known.clear()

    def _vouched(self, leaf: Leaf, entities: Entities, record: int) -> None:
        """One value of a trusted result."""
        value, shape, masks = leaf.value, leaf.shape, self.masks
        whole = forms.seen(value, shape)
        found: Iterable[Form] = whole
        if isinstance(value, str) and (shape is None or (shape.format is None and shape.entity is None)):
            found = self._vouched_text(value[:MOST_TEXT], record) | set(whole)
        meanings = _meanings_of(leaf)
        for form in whole:
            bit = self.tainted.get(form, TRUSTED)
            if weak(form):
                for meaning in meanings:
                    place = f"{form}\x1f{meaning}"
                    masks[place] = masks.get(place, 0) | bit
                form = f"~{form}"
            elif self.policy.entities:
                self._own(form, entities)
                if shape is not None and shape.entity is not None:
                    self.kinds.setdefault(form, set()).add(shape.entity)
            masks[form] = masks.get(form, 0) | bit
            kind, _, rest = form.partition(":")
            if kind in ("d", "dt", "t") and bit == TRUSTED:
                self._moment(kind, rest)
        if self.policy.picks:
            self._feature(leaf, entities, whole, found)

    def _feature(self, leaf: Leaf, entities: Entities, whole: Iterable[Form], found: Iterable[Form]) -> None:
        """What a value says about the candidate in whose record it stands."""
        shape, all_ = leaf.shape, set(found)
        # A short value is known by its words; of a long one, single words say nothing.
        telling = {f for f in all_ if not weak(f) or _says(f)} if len(all_) <= _TELLING else set[Form]()
        figure = _figure(leaf.value, whole) if shape is not None and shape.entity is None else None
        for entity, keys in entities.items():
            if entity in self.policy.picks and len(keys) == 1:
                self.features.setdefault((entity, keys[0]), set()).update(telling, whole)
                if figure is not None and leaf.path and isinstance(leaf.path[-1], str):
                    self.figures.setdefault((entity, keys[0]), {})[leaf.path[-1]] = figure
        if shape is not None and shape.entity in self.policy.picks:
            self.features.setdefault((shape.entity, str(leaf.value)), set()).update(whole)

    def _own(self, form: Form, entities: Entities) -> None:
        known = self.owners.get(form)
        if known is None:
            self.owners[form] = [entities]
        elif known and entities not in known:
            known.append(entities)
            if len(known) > MOST_RECORDS:
                known.clear()

    def _total(self, leaf: Leaf, totals: dict[tuple[str, ...], tuple[Decimal, int, str | None]]) -> None:
        shape = cast("Shape", leaf.shape)
        number = decimal_of(leaf.value)
        if number is None or any(form in self.tainted for form in forms.seen(leaf.value, shape)):
            return
        unit = shape.unit or (COUNT if shape.type == "integer" else None)
        self._number(number, unit, TRUSTED)
        if any(isinstance(part, int) for part in leaf.path):
            column = tuple("*" if isinstance(part, int) else part for part in leaf.path)
            total, count, unit = totals.get(column, (Decimal(0), 0, unit))
            totals[column] = (total + number, count + 1, unit)

    def _computed(self, leaf: Leaf, worst: Mask, tool: str) -> None:
        """A computed result is as good as the worst that went into it."""
        found = set(forms.seen(leaf.value, leaf.shape))
        if isinstance(leaf.value, str):
            found |= forms.keys(leaf.value[:MOST_TEXT])
        if not worst & GOOD:
            self._unvouched(found, worst, tool)
            return
        for form in found:
            self.worked_out[form] = worse(self.worked_out.get(form, worst), worst)

    def _worst(self, args: Mapping[str, Any]) -> Mask:
        """The worst origin among the pieces of some arguments; what was seen nowhere is the agent's own."""
        worst = TRUSTED
        for value in scalars(args):
            if isinstance(value, bool):
                continue
            for piece in pieces_of(value[:MOST_TEXT]) if isinstance(value, str) else (forms.seen(value),):
                mask = self.sighted(piece)
                if not mask and (not _PLAIN_NUMBERS.isdisjoint(piece) or all(form.startswith("w:") for form in piece)):
                    continue  # "sum" and "60" are how it is computed, not what from
                worst = worse(worst, best(mask))
        return worst

    def sighted(self, piece: Iterable[Form]) -> Mask:
        mask = 0
        for form in piece:
            mask |= self.masks.get(form, 0) | self.masks.get(f"~{form}", 0) | self.worked_out.get(form, 0)
        return mask

    def _write(self, tool: str, args: Mapping[str, Any]) -> None:
        """What a write puts somewhere without anybody vouching for it does not get better by being read back."""
        for value in scalars(args):
            if isinstance(value, bool):
                continue
            pieces = [forms.seen(value), *(pieces_of(value[:MOST_TEXT]) if isinstance(value, str) else ())]
            for number, piece in enumerate(pieces):
                named = [f for f in piece if not weak(f) and (number == 0 or not f.startswith("w:"))]
                if named and not self.sighted(piece) & GOOD:
                    for form in named:
                        self.tainted[form] = best(self.sighted((form,)))

    def _answered(self, answer: str, message: str) -> None:
        """A yes makes the user's own what stood in the question itself; what was told around it stays the agent's.

        Which of several candidates is meant is another matter: there it counts that the agent named one, and that the
        user did not object.
        """
        said = forms.words(answer)
        if not _OBJECTS.isdisjoint(said):
            return
        found = forms.keys(message)
        self.told.append(frozenset(found))
        del self.told[:-MOST_TOLD]
        question = " ".join(s for s in _SENTENCE.split(message) if s.rstrip().endswith("?"))
        if question and affirms(answer, question):
            agreed = forms.keys(question)
            self._add(agreed, USER)
            if self.policy.phrases:
                self._add(pairs_of(forms.words(question)), USER)
            self._note(agreed, USER)
        for word in said[:12]:
            taken = _ORDINALS.get(word)
            if taken is not None:
                places: dict[Form, int] = {}
                for one in forms.scan(message):
                    places[one.form] = min(one.start, places.get(one.form, one.start))
                self.choices.append((taken, places))
                del self.choices[:-MOST_TOLD]
                return


def _figure(value: Any, whole: Iterable[Form]) -> Any:
    """What of a value can be compared: a number, or a day or moment as text that sorts as they do; else None."""
    number = decimal_of(value)
    return number if number is not None else next((f for f in whole if f.startswith(("d:2", "d:1", "dt:"))), None)


def _says(form: Form) -> bool:
    """Whether a short word may still be a name."""
    return form.startswith("w:") and len(form) > len("w:ab") and form[2:] not in GLUE


@lru_cache(maxsize=4096)
def _kept_keys(text: str) -> frozenset[Form]:
    return frozenset(forms.keys(text))


def _keys(text: str) -> frozenset[Form] | set[Form]:
    """The forms of a text; those of short ones, such as names and states, come again and again."""
    return _kept_keys(text) if len(text) <= _SHORT else forms.keys(text)


def pairs_of(run: Sequence[str]) -> list[str]:
    return [f"2:{a} {b}" for a, b in pairwise(run)]


def _meanings_of(leaf: Leaf) -> tuple[str, ...]:
    name = next((part for part in reversed(leaf.path) if isinstance(part, str)), "")
    return (name.casefold(),) if leaf.shape is None else meanings(name, leaf.shape)


def scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for inner in cast("Mapping[str, Any]", value).values():
            yield from scalars(inner)
    elif isinstance(value, list | tuple):
        for inner in cast("Sequence[Any]", value):
            yield from scalars(inner)
    elif value is not None:
        yield value


def values_at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """The scalars at a path; `*` goes into every item of a list and every value of a map."""
    if not path:
        if isinstance(value, Mapping | list | tuple):
            yield from scalars(cast("Any", value))
            if isinstance(value, Mapping):
                yield from map(str, cast("Mapping[str, Any]", value))
        elif value is not None:
            yield value
        return
    head, rest = path[0], path[1:]
    if head == "*":
        if isinstance(value, Mapping):
            inside: Iterable[Any] = cast("Mapping[str, Any]", value).values()
        else:
            inside = cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()
        for inner in inside:
            yield from values_at(inner, rest)
    elif isinstance(value, Mapping) and head in value:
        yield from values_at(cast("Mapping[str, Any]", value)[head], rest)


def decimal_of(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return number if number.is_finite() else None


_RANKED = (TRUSTED, FACTS, CONTRACT, USER, DERIVED, SIMULATED, UNTRUSTED, AGENT)
"""The best origin first. What nobody has seen is the agent's."""


def best(mask: Mask) -> Mask:
    return next((bit for bit in _RANKED if mask & bit), AGENT)


def worse(one: Mask, other: Mask) -> Mask:
    return one if _RANKED.index(one) >= _RANKED.index(other) else other


def pieces_of(text: str) -> list[tuple[Form, ...]]:
    """A text in pieces that do not overlap, the longest first at each place; each with its forms."""
    found = sorted(forms.scan(text), key=lambda one: (one.start, -one.end))
    pieces: list[tuple[Form, ...]] = []
    start = end = -1
    for one in found:
        if one.start >= end:
            pieces.append((one.form,))
            start, end = one.start, one.end
        elif one.start == start and one.end == end:
            pieces[-1] = (*pieces[-1], one.form)
    return pieces


def moment_of(kind: str, rest: str) -> tuple[date | None, int | None]:
    """The day and the minute of the day of a form; None for what it lacks or what is no real one."""
    day: date | None = None
    minute: int | None = None
    try:
        if kind in ("d", "dt"):
            day = date.fromisoformat(rest[:10])
        if kind == "t":
            minute = int(rest[:2]) * 60 + int(rest[3:5])
        elif kind == "dt" and len(rest) >= 16:
            minute = int(rest[11:13]) * 60 + int(rest[14:16])
    except ValueError:
        pass
    return day, minute
