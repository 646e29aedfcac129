"""What is wrong with an argument that came from the wrong place.

Five things can be. It stands nowhere (`invented`). It is one of several candidates, and the user's words do not tell
which (`ambiguous`). It belongs to another entity (`mixed_up`). It was seen only where nobody vouches for it
(`injected`). Labelled data in the wrong place is `gate/flow`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from roadworthy.contract.conditions import zone_of
from roadworthy.core.types import Reason
from roadworthy.gate import forms
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
    CheckedArg,
    Mask,
    OriginPolicy,
    ToolOrigins,
    names_of,
    weak,
)
from roadworthy.gate.origins.sightings import (
    COUNT,
    ENCODED,
    GLUE,
    MOST_TEXT,
    Index,
    best,
    decimal_of,
    moment_of,
    pairs_of,
    pieces_of,
    values_at,
    worse,
)
from roadworthy.gate.origins.spoken import Spoken
from roadworthy.gate.walk import Entities

if TYPE_CHECKING:
    from roadworthy.gate.policy import Policy, ToolPolicy
    from roadworthy.gate.state import RunState

MOST_WORDS = 8
"""A value of more words is prose: it is never called invented, and what it says is judged piece by piece."""
_COPIED = 4
"""So many words in a row, seen in untrusted text alone, are a copy of it."""
_SPECIAL = frozenset("eiupx")
"""Kinds of forms that name something even within prose: addresses, accounts, links, numbers of people, ids."""


def judge(
    policy: Policy, state: RunState, tool: ToolPolicy, args: Mapping[str, Any]
) -> tuple[list[Reason], dict[str, tuple[str, ...]]]:
    """What is wrong with where the checked arguments of a call come from, and where each was seen."""
    origins, index = policy.origins, state.index
    if origins is None or index is None:
        return [], {}
    spec = origins.tools[tool.name]
    reasons: list[Reason] = []
    shown: dict[str, tuple[str, ...]] = {}
    masks = index.masks
    plain = not origins.entities or not (index.owners or index.groups)
    for checked in spec.checked:
        path = checked.path
        if len(path) == 1:
            value = args.get(path[0])
            if value is None:
                continue
            if isinstance(value, dict | list):
                values: Iterable[Any] = values_at(value, ())
            else:
                mask = 0
                for place in checked.places(value):
                    mask |= masks.get(place, 0)
                if mask & checked.allowed and plain and not checked.contract:
                    shown[checked.label] = names_of(mask)  # as most are: seen in a good place, and nobody else's
                    continue
                values = (value,)
        else:
            values = values_at(args, path)
        total = -1
        for value in values:
            mask, reason = _Judging(policy, state, index, spec, checked, args, value).verdict()
            total = mask if total < 0 else total | mask
            if reason is not None:
                reasons.append(reason)
        if total >= 0:
            shown[checked.label] = names_of(total)
    return reasons, shown


class _Judging:
    """One value of one argument, looked at from all sides."""

    __slots__ = ("args", "checked", "index", "mask", "policy", "source", "spec", "state", "value")

    def __init__(
        self,
        policy: Policy,
        state: RunState,
        index: Index,
        spec: ToolOrigins,
        checked: CheckedArg,
        args: Mapping[str, Any],
        value: Any,
    ) -> None:
        self.policy = policy
        self.state = state
        self.index = index
        self.spec = spec
        self.checked = checked
        self.args = args
        self.value = value
        self.mask: Mask = 0
        self.source: str | None = None

    def verdict(self) -> tuple[Mask, Reason | None]:
        """Where the value was seen, and what is wrong with that."""
        checked, value, masks = self.checked, self.value, self.index.masks
        if value is True or value is False:
            return CONTRACT, None  # one of two, both of which the contract names by its type
        mask = 0
        for place in checked.places(value):
            mask |= masks.get(place, 0)
        if checked.contract and value in checked.contract:
            mask |= CONTRACT
        if checked.entity is not None and checked.entity == self.policy.subject_entity and self._is_subject():
            mask |= FACTS
        self.mask = mask
        if not checked.allowed:
            return mask, None
        if not mask & checked.allowed:
            return self._elsewhere()
        if mask & (FACTS | CONTRACT) or not cast("OriginPolicy", self.policy.origins).entities:
            return mask, None
        reason = self._mixed_up()
        if reason is None and checked.picked and self.spec.acts:
            reason = self._ambiguous()
        return mask, reason

    def _is_subject(self) -> bool:
        return self.state.subject is not None and str(self.value) == self.state.subject

    # seen under another form, or worked out ------------------------------------------------------------------------

    def _elsewhere(self) -> tuple[Mask, Reason | None]:
        """It was seen nowhere, or in no place that is good enough: was it put together from what was?"""
        checked, value = self.checked, self.value
        allowed = checked.allowed
        for worked in (self._computed(), self._moment(), self._reckoned(), self._decoded()):
            if worked & allowed:
                return self.mask | worked, None
        for part in forms.parts(value, checked.shape):
            self.mask |= self.index.masks.get(part, 0) & ~allowed
            self.source = self.source or self.index.first.get(part)
        if isinstance(value, str) and checked.entity is None and checked.shape.format is None:
            pieces = pieces_of(value[:MOST_TEXT])
            if checked.shape.pattern is not None:  # an id or a path: its parts prove nothing where they stood apart
                return self._in_one_piece(value)
            if len(pieces) > 1:
                prose = len(forms.words(value[:MOST_TEXT])) > MOST_WORDS
                return self._prose(pieces) if prose else self._phrase(pieces)
        return self.mask, self._unfounded(self.mask)

    def _computed(self) -> Mask:
        """A result of a computing tool, as good as the worst that went into it."""
        if not self.index.worked_out or not self.checked.allowed & DERIVED:
            return 0
        found = [self.index.worked_out[p] for p in self.checked.places(self.value) if p in self.index.worked_out]
        worst = found[0] if found else 0
        for one in found[1:]:
            worst = worse(worst, one)
        return worst | DERIVED if worst & self.checked.allowed else 0

    def _moment(self) -> Mask:
        """A day or a time that the user's words mean, counted from a day that is known."""
        if not isinstance(self.value, str):
            return 0
        for place in self.checked.places(self.value):
            kind, _, rest = place.partition(":")
            if kind not in ("d", "dt", "t") or "\x1f" in rest:
                continue
            day, minute = moment_of(kind, rest)
            readings = [(day, minute)]
            if kind == "dt" and rest.endswith("Z") and day is not None:
                local = _local(rest, cast("OriginPolicy", self.policy.origins).zone)
                if local is not None:
                    readings.append(local)
            for day, minute in readings:
                if day is None and minute is None:
                    continue
                found = self._day(day) if day is not None else USER
                if found and minute is not None:
                    at = self._minute(minute, alone=day is None)
                    found = found | at if at else 0
                if found & self.checked.allowed:
                    return found
        return 0

    def _day(self, day: date) -> Mask:
        index, allowed = self.index, self.checked.allowed
        mask = 0
        for form in forms.sought(day):
            mask |= index.masks.get(form, 0)
        if mask & allowed:
            return mask & allowed
        if day in index.days and allowed & FACTS:
            return FACTS
        if allowed & USER and any(index.spoken.means(day, base) for base in (*index.days, *index.seen_days)):
            return USER | DERIVED
        return 0

    def _minute(self, minute: int, *, alone: bool) -> Mask:
        index, allowed = self.index, self.checked.allowed
        if not alone and minute in (0, 1439):
            return USER  # the beginning or the end of a day that was found
        clock = f"t:{minute // 60:02d}:{minute % 60:02d}"
        mask = index.masks.get(clock, 0)
        if mask & allowed:
            return mask & allowed
        if minute in index.times:
            return TRUSTED
        if allowed & USER and any(
            (minute - other) % 1440 in index.spoken.minutes or (other - minute) % 1440 in index.spoken.minutes
            for other in index.times
        ):
            return USER | DERIVED
        return 0

    def _reckoned(self) -> Mask:
        """A sum, a difference, a product by a count, a share: exact, of numbers that are good enough themselves."""
        checked, index = self.checked, self.index
        allowed = checked.allowed
        # What stands in untrusted text came from there, whatever else it may happen to be the sum of.
        if not allowed & DERIVED or self.mask & (UNTRUSTED | SIMULATED):
            return 0
        target = decimal_of(self.value)
        if target is None and isinstance(self.value, str) and not checked.shape.format and not checked.entity:
            found = [p[2:] for p in checked.places(self.value) if p.startswith("n:") and "\x1f" not in p]
            target = Decimal(found[0]) if found else None
        if target is None or target == 0:
            return 0
        unit, whole = checked.shape.unit, checked.shape.type == "integer"
        if allowed & TRUSTED and ((target, unit) in index.totals or (unit is None and (target, None) in index.totals)):
            return TRUSTED | DERIVED
        # Small numbers come out of all kinds of others by chance, so these must be of the same kind, or the user's.
        chancy = weak(f"n:{target:f}")
        amounts: dict[Decimal, Mask] = {}
        every: dict[Decimal, Mask] = {}
        counts: dict[Decimal, Mask] = {Decimal(n): USER for n in index.spoken.counts}
        for (number, of), mask in index.numbers.items():
            good = mask & allowed
            if not good:
                continue
            if number == number.to_integral_value() and 1 < number <= 1000 and (of == COUNT or mask & USER):
                counts[number] = counts.get(number, 0) | good
            alike = (unit is not None and of == unit) or mask & USER
            if (of in (None, unit) or unit is None) and (of != COUNT or whole) and number > 0:
                every[number] = every.get(number, 0) | good
                if not chancy or alike:
                    amounts[number] = amounts.get(number, 0) | good
        return _reckon(target, amounts, every, counts, index.spoken)

    def _decoded(self) -> Mask:
        if not isinstance(self.value, str) or not ENCODED.search(self.value, 0, MOST_TEXT):
            return 0
        mask = 0
        for said in forms.decoded(self.value):
            for form in forms.sought(said, self.checked.shape):
                mask |= self.index.masks.get(form, 0)
        return mask & self.checked.allowed

    # several words -------------------------------------------------------------------------------------------------

    def _in_one_piece(self, value: str) -> tuple[Mask, Reason | None]:
        """A value such as `/out/march.txt`, all words of which stood side by side in a place that is good enough.

        Figures alone, such as 1234-5678, are no such value: any list of numbers has them side by side.
        """
        said = forms.words(value[:MOST_TEXT])
        pairs = pairs_of(said) if any(len(word) > 2 and word.isalpha() for word in said) else []
        found = self.checked.allowed if pairs else 0
        seen = self.mask
        for pair in pairs:
            found &= self.index.masks.get(pair, 0)
            seen |= self.index.masks.get(pair, 0)
        if found:
            return self.mask | found, None
        self.source = self.source or next((self.index.first[p] for p in pairs if p in self.index.first), None)
        return seen, self._unfounded(seen & ~self.checked.allowed)

    def _phrase(self, pieces: Sequence[tuple[Form, ...]]) -> tuple[Mask, Reason | None]:
        """A few words that name something: each must have been seen, and those side by side must belong together."""
        index, allowed = self.index, self.checked.allowed
        found = 0
        masks: list[tuple[str | None, Mask]] = []
        for piece in pieces:
            mask = index.sighted(piece)
            word = piece[0][2:] if len(piece) == 1 and piece[0].startswith("w:") else None
            masks.append((word, mask))
        named = [(w, m) for w, m in masks if w is None or not (len(w) <= 2 or w in GLUE)] or masks
        for number, (_word, mask) in enumerate(masks):
            if (_word, mask) in named and not mask & allowed:
                self.source = next((index.first[f] for f in pieces[number] if f in index.first), None)
                return found | mask, self._unfounded(mask)
            found |= mask & allowed
        for (left, one), (right, other) in pairwise(masks):
            if left is None or right is None or (one | other) & (USER | FACTS) & allowed:
                continue
            if {left, right} & GLUE or len(left) <= 2 or len(right) <= 2:
                continue
            pair = index.masks.get(f"2:{left} {right}", 0)
            if not pair & allowed and not self._together(left, right):
                self.source = index.first.get(f"2:{left} {right}")
                return found | pair, self._unfounded(pair)
        return found, None

    def _together(self, left: str, right: str) -> bool:
        """Whether two words stood in one trusted record. Words of very many records belong to all."""
        one, other = self.index.where.get(f"w:{left}"), self.index.where.get(f"w:{right}")
        if one is None or other is None:
            return False
        return not one or not other or not one.isdisjoint(other)

    def _prose(self, pieces: Sequence[tuple[Form, ...]]) -> tuple[Mask, Reason | None]:
        """Free text: what it names must come from a good place, and it must be no copy of untrusted text."""
        index, allowed = self.index, self.checked.allowed
        found = AGENT
        for piece in pieces:
            kinds = {form[0] for form in piece if form[1] == ":"}
            if not kinds & _SPECIAL or (kinds & {"n", "d", "t"}) or all(weak(form) for form in piece):
                continue
            mask = index.sighted(piece)
            if not mask & allowed:
                self.source = next((index.first[f] for f in piece if f in index.first), None)
                return found | mask, self._unfounded(mask, part=piece[0].partition(":")[2])
            found |= mask & allowed
        if not allowed & UNTRUSTED:
            copied = 1
            for pair in pairs_of(forms.words(cast("str", self.value)[:MOST_TEXT])):
                mask = index.masks.get(pair, 0)
                copied = copied + 1 if mask & UNTRUSTED and not mask & GOOD else 1
                if copied >= _COPIED:
                    self.source = index.first.get(pair)
                    return found | UNTRUSTED, self._unfounded(UNTRUSTED, part=pair[2:])
        return found, None

    # defects -------------------------------------------------------------------------------------------------------

    def _unfounded(self, mask: Mask, *, part: str | None = None) -> Reason:
        label, value = self.checked.label, _shown(self.value)
        what = f"{label} {value}" if part is None else f"{part!r} in {label}"
        if not mask & ~CONTRACT:
            text = (
                f"{what} stands nowhere: the user did not say it and no result holds it. "
                "Look it up, or ask the user for it in a question."
            )
            return Reason(rule="origins", code="invented", text=text, ruling="clarify")
        source = self.source
        if source is None:
            source = next((self.index.first[p] for p in self.checked.places(self.value) if p in self.index.first), None)
        if mask & UNTRUSTED:
            seen = "only in text that nobody vouches for" + (f" ({source})" if source else "")
        elif mask & AGENT and not mask & GOOD:
            seen = "only in the agent's own words"
        else:
            seen = f"only here: {', '.join(names_of(mask))}"
        good = ", ".join(n for n in names_of(self.checked.allowed) if n != "simulated")
        text = f"{what} was seen {seen}; it must come from: {good}. A person must look at this."
        return Reason(rule="origins", code="injected", text=text, ruling="ask")

    def _mixed_up(self) -> Reason | None:
        """It is another entity's: the key of something else, or a value of a record that this call is not about."""
        checked, index = self.checked, self.index
        said = bool(self.mask & USER)
        if said and not self.spec.acts:
            return None  # the user may ask about anything; what comes back says whose it is
        strong = [p for p in checked.places(self.value) if p in index.owners]
        if checked.entity is not None:
            for form in strong:
                kinds = index.kinds.get(form)
                if kinds and checked.entity not in kinds:
                    others = " or ".join(sorted(kinds))
                    text = (
                        f"{checked.label} {_shown(self.value)} is known as the key of {others}, not of "
                        f"{checked.entity}. Look up the key of {checked.entity} first."
                    )
                    return Reason(rule="origins", code="mixed_up", text=text, ruling="deny")
        if (said and checked.entity is None) or not strong or not self.spec.entities:
            return None
        about: dict[str, set[str]] = {}
        for spec in self.spec.entities:
            if spec.entity is not None and spec.entity != checked.entity:
                for key in values_at(self.args, spec.path):
                    about.setdefault(spec.entity, set()).add(str(key))
        if not about:
            return None
        for form in strong:
            records = index.owners[form]
            if not records or any(_fits(record, about) for record in records):
                return None
        text = (
            f"{checked.label} {_shown(self.value)} was seen only in records of another "
            f"{' or '.join(sorted(about))} than the one of this call. Use what belongs together."
        )
        return Reason(rule="origins", code="mixed_up", text=text, ruling="deny")

    def _ambiguous(self) -> Reason | None:
        """It is one of several candidates, and the user's words do not tell which."""
        index, entity = self.index, cast("str", self.checked.entity)
        key = str(self.value)
        groups = index.groups.get((entity, key))
        if not groups or self._is_subject() or (index.everything and self._wants_all()):
            return None
        if any(place in index.user for place in self.checked.places(self.value)):
            return None
        bound = self.policy.subject_entity is not None and not self.checked.shape.anyone
        for group in groups:
            rivals = [k for k in group if k != key and (not bound or (entity, k) in self.state.own)]
            if rivals and not self._picked(entity, key, rivals):
                text = (
                    f"{self.checked.label} {_shown(self.value)} is one of {len(rivals) + 1} that were found, and the "
                    "user's words do not tell which. Ask the user, naming what tells them apart."
                )
                return Reason(rule="origins", code="ambiguous", text=text, ruling="clarify")
        return None

    def _wants_all(self) -> bool:
        """Whether the user wants all of these: "both", "all of them", or by the name of what they are."""
        wanted = self.index.everything
        return "" in wanted or any(noun.startswith(name) for noun in wanted for name in self.checked.nouns)

    def _picked(self, entity: str, key: str, rivals: Sequence[str]) -> bool:
        index = self.index
        mine = index.features.get((entity, key), set())
        theirs = [index.features.get((entity, rival), set[Form]()) for rival in rivals]
        # What the application vouches for tells of the user, too: the address that they have signed in with, say.
        said = {form for form in mine if form in index.user or index.masks.get(form, 0) & FACTS}
        if said and all(not said <= other for other in theirs):
            return True
        if self._named(mine) and not any(map(self._named, theirs)):
            return True
        own = set(forms.seen(key))
        others = {form for rival in rivals for form in forms.seen(rival)}
        for told in index.told:
            if told & others:
                continue
            if told & own:
                return True
            named = any(_alone(form, mine, theirs) for form in mine & told)
            if named and not any(_alone(form, o, (mine, *theirs)) for o in theirs for form in o & told):
                return True
        if index.spoken.extremes and self._extreme(entity, key, rivals):
            return True
        for taken, places in index.choices:
            order = sorted(
                (min((places[f] for f in one if f in places and _alone(f, one, (mine, *theirs))), default=1 << 30), n)
                for n, one in enumerate((mine, *theirs))
            )
            standing = [n for place, n in order if place < 1 << 30]
            if len(standing) > 1 and -len(standing) <= taken < len(standing) and standing[taken] == 0:
                return True
        return False

    def _named(self, features: set[Form]) -> bool:
        """Whether the user said a name of several words in full, such as a file's; a longer name may contain it."""
        said = f" {' '.join(forms.words(self.state.words))} "
        return any(form.startswith("w:") and " " in form and f" {form[2:]} " in said for form in features)

    def _extreme(self, entity: str, key: str, rivals: Sequence[str]) -> bool:
        """Whether the user asked for the largest, the latest or the like, and no other candidate is as much so."""
        index = self.index
        mine = index.figures.get((entity, key), {})
        theirs = [index.figures.get((entity, rival), {}) for rival in rivals]
        for name, figure in mine.items():
            others = [other[name] for other in theirs if name in other]
            if len(others) == len(theirs) and all(type(other) is type(figure) for other in others):
                if 1 in index.spoken.extremes and all(figure > other for other in others):
                    return True
                if -1 in index.spoken.extremes and all(figure < other for other in others):
                    return True
        return False


def _alone(form: Form, one: set[Form], all_: Sequence[set[Form]]) -> bool:
    """Whether a form is known of one candidate and of none of the others, by itself telling it from them."""
    return not any(form in other for other in all_ if other is not one)


def _fits(record: Entities, about: Mapping[str, set[str]]) -> bool:
    """Whether a record may be about what a call is about: it names none of another key of the same entity."""
    return all(entity not in record or not keys.isdisjoint(record[entity]) for entity, keys in about.items())


def _local(rest: str, zone: str) -> tuple[date, int] | None:
    try:
        there = datetime.fromisoformat(rest).astimezone(zone_of(zone))
    except ValueError:
        return None
    return there.date(), there.hour * 60 + there.minute


def _shown(value: Any) -> str:
    text = repr(str(value))
    return text if len(text) <= 60 else text[:57] + "..."


def _shares(amounts: Mapping[Decimal, Mask], said: Spoken) -> Mapping[Decimal, Mask]:
    """The shares of amounts that the user speaks of: "19.5% of it", "half"; something may be added to them."""
    found: dict[Decimal, Mask] = {}
    for amount, mask in amounts.items():
        for percent in said.percents:
            found[(amount * percent / 100).quantize(_CENT)] = mask
        for part in said.parts:
            found[(amount / part).quantize(_CENT)] = mask
    return found


_CENT = Decimal("0.01")
_MOST_SHARES = 12
"""Into so many parts an amount is split on the user's word."""


def _reckon(
    target: Decimal,
    amounts: Mapping[Decimal, Mask],
    every: Mapping[Decimal, Mask],
    counts: Mapping[Decimal, Mask],
    said: Spoken,
) -> Mask:
    """The worst origin of numbers that come to the target, beside `derived`; 0 where none do.

    `every`: also amounts that a small target may come to by chance; a percentage that the user named is no chance.
    """

    def worst(*inputs: Mask) -> Mask:
        found = TRUSTED
        for one in inputs:
            found = worse(found, best(one))
        return found | DERIVED

    for amount, mask in amounts.items():
        rest = amounts.get(target - amount) or amounts.get(target + amount)
        if rest:
            return worst(mask, rest)
    for count, mask in counts.items():
        one = target / count
        if one in amounts and one * count == target:
            return worst(mask, amounts[one])
    for share, mask in _shares(amounts, said).items():
        rest = amounts.get(target - share) or amounts.get(share - target)
        if rest:
            return worst(mask, rest, USER)
    shares = {*said.parts, *(int(count) for count, mask in counts.items() if mask & USER and count <= _MOST_SHARES)}
    if not shares and not said.percents:
        return 0
    for amount, mask in every.items():
        for percent in said.percents:
            part = amount * percent / 100
            if target in {p.quantize(_CENT) for p in (part, amount + part, amount - part)}:
                return worst(mask, USER)
    for amount, mask in amounts.items():
        for share in shares:
            if abs(amount / share - target) < _CENT and target == (amount / share).quantize(_CENT):
                return worst(mask, USER)
    return 0
