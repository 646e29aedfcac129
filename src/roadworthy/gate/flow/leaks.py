"""Whether labelled values stand in a text: quoted, embedded, re-formatted, split, reversed or encoded.

Everything is compared *squeezed*: letters and digits only, without case, accents and look-alikes. Other ways of
writing a value (a date in words, an amount with separators, an address spelt out) are worked out when the value is
learnt, so that looking a text over costs by the text's length and not by how much the run has seen.

A value that many harmless texts hold by chance ("yes", 42, a first name alone, today's date) is *common*: it counts
only where a field of the same name holds it and nothing else.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import compress, permutations
from typing import Any, NamedTuple

from roadworthy.contract.shapes import Shape
from roadworthy.gate.forms.encodings import MOST_TEXTS, decoded
from roadworthy.gate.forms.lookalikes import LOOKALIKES
from roadworthy.gate.values import exact

GRAM, STEP, LEAST = 4, 2, 5
"""A value of at least `LEAST` squeezed characters is looked up by its first `STEP` grams, a text by every `STEP`th."""
WINDOW, WIDE_STEP, STRIDE, QUOTE = 12, 4, 5, 32
"""Long values are kept as windows every `STRIDE` characters, and texts looked up every `WIDE_STEP`: as the two are
prime to each other, a quote of `QUOTE` characters always meets one."""
LONG = 48
"""From so many squeezed characters on, a part of a text is enough."""
MOST_PATTERNS = 60_000
"""Ways of writing values that one run keeps. What comes after them cannot be looked for."""
MOST_SOURCES = 64
"""Owners of one and the same value that are told apart; it is nobody else's."""
MOST_WINDOWS = 2_000
"""Windows of one long text; of a longer one they lie farther apart."""
MOST_LOOKED = 200_000
"""Characters of one text that are looked over."""
_PIECE = 4
_MOST_OPEN = 32
_TAIL = 4_000
_BORDER = 96
_AROUND_DAYS = 800

_COMMON_NAMES = frozenset(
    re.findall(
        r"\w+",
        """
        will mark rose may price hope grace faith joy june april august summer dawn bill rich frank drew chase grant
        hunter mason cooper page banks brooks young long short small little good best love day white black brown green
        gray gold silver king church hall wood woods stone field fields rice bush park parks ford cash case cook baker
        miller smith carpenter fisher potter walker rider driver porter turner parker singer ward wells waters rivers
        snow winter winters summers frost rain cloud star art gene jack pat penny peg bob dale cliff glen heath ray
        rusty sandy sky van lane major power powers sharp strong wise noble bright swift hardy moody savage sweet sage
        justice destiny harmony melody crystal ruby pearl jade amber opal ginger olive basil rosemary daisy lily iris
        violet ivy holly heather fern willow ash robin jay wren drake hawk fox wolf lamb buck colt angel christian
        virginia georgia paris london chelsea austin dallas houston jordan israel china asia america charity trinity
        mercy serenity victor victoria sterling marshall sergeant bishop pope dean judge law bond care service support
        team sales billing customer account office please thanks dear hello
        """,
    )
)
"""Names that are words, too: a value of nothing but these counts only where it is written as a name."""


class _Folded(dict[int, str]):
    """How each character is written when squeezed; empty for those that are left out."""

    def __missing__(self, code: int) -> str:
        folded = _fold(chr(code))
        if len(self) < 20_000:
            self[code] = folded
        return folded


def _fold(char: str) -> str:
    code = ord(char)
    if 0xE0020 <= code < 0xE007F:  # tags: invisible doubles of ASCII
        char = chr(code - 0xE0000)
    elif 0x1F1E6 <= code <= 0x1F1FF:  # letters of flags
        char = chr(code - 0x1F1E6 + ord("a"))
    kept: list[str] = []
    for part in unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", char).casefold()):
        digit = unicodedata.decimal(part, -1)
        if digit >= 0:
            kept.append(str(digit))
        elif part.isalnum():
            kept.append(part.translate(LOOKALIKES))
    return "".join(kept)


_FOLDED = _Folded()
_ASCII = {code: _fold(chr(code)) or None for code in range(128)}


def squeeze(text: str) -> str:
    """Letters and digits only, without case, accents, invisible characters and look-alikes of other alphabets."""
    return text.translate(_ASCII) if text.isascii() else text.translate(_FOLDED)


def _places(text: str) -> list[int]:
    """For each squeezed character the place in the text that it comes from."""
    if text.isascii():
        return list(compress(range(len(text)), map(str.isalnum, text)))
    return [i for i, char in enumerate(text) for _ in _FOLDED[ord(char)]]


@dataclass(slots=True, eq=False)
class Pattern:
    """One way of writing a value, and the sources that it would come from."""

    text: str
    """Squeezed."""
    sources: list[Hashable] = field(default_factory=list[Hashable])
    edges: bool = True
    """It must not go on, on either side, with a letter or digit."""
    digits: bool = False
    """It must not go on, on either side, with a character of its own kind: 1234 does not stand in 12345."""
    capitals: bool = False
    """It must be written with a capital, for it is a word, too."""
    number: Decimal | None = None
    """What it must come to when read as a number."""
    solid: bool = False
    """It has no blanks, so that parts of it have none either."""
    day: date | None = None
    """The day that it is, however that is written."""
    parts: bool = False
    """Parts of it, wherever they stand, say it together; those of a name are words like others."""
    heard: bool = False
    """The user has said it."""


class Match(NamedTuple):
    """A value that stands in a text."""

    pattern: Pattern
    start: int
    end: int
    """In squeezed characters."""


class Fragment(NamedTuple):
    """The first part of a value that has left already."""

    pattern: Pattern
    length: int


# How a value may be written ------------------------------------------------------------------------------------------

_EMAIL = re.compile(r"[^\s@<>()]+@[^\s@<>()]+\.[^\s@<>()]+")
_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}:\d{2})(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?")
_PART_OF_DAY = re.compile(r"\d{4}-\d{2}|\d{1,2}:\d{2}(:\d{2})?|\d{2}-\d{2}")
_PLAIN_NUMBER = re.compile(r"-?\d{1,15}\.\d{1,15}")
_PHONE = re.compile(r"[+0(][\d\s()./-]{7,}")
_INSIDE = re.compile(r"[^\s@<>(),;:]+@[^\s@<>(),;:]+\.[^\W_]+|\+?\d(?:[ /().-]?\d){6,}|[^\W_]*\d[^\W_]*(?:-[^\W_]+)*")
_WORDS = re.compile(r"[^\W\d_]+(?:['\u2019.-][^\W\d_]+)*\.?")
_UMLAUTS = {0xE4: "ae", 0xF6: "oe", 0xFC: "ue", 0xC4: "Ae", 0xD6: "Oe", 0xDC: "Ue"}
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            ("january", "jan", "januar"), ("february", "feb", "februar"), ("march", "mar", "marz"), ("april", "apr"),
            ("may", "mai"), ("june", "jun", "juni"), ("july", "jul", "juli"), ("august", "aug"),
            ("september", "sep", "sept"), ("october", "oct", "oktober", "okt"), ("november", "nov"),
            ("december", "dec", "dezember", "dez"),
        ), start=1,
    ) for name in names
}  # fmt: skip
_FIGURED = re.compile(r"(?<!\d)(?:(\d{4}|\d{1,2})\s?[./-]\s?(\d{1,2})\s?[./-]\s?(\d{4}|\d{2})|(\d{8}))(?!\d)")
_FIGURES_OF_DAYS = re.compile(r"\d(?:\d{0,3}\s?[./-]\s?\d{1,2}\s?[./-]\s?\d{2,4}|\d{7}(?!\d)|\d{3}(?!\d))")
_TOKEN = re.compile(r"[^\W_]+")
_ORDINAL = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?", re.IGNORECASE)


def patterns_of(value: Any, shape: Shape | None, around: date) -> list[Pattern]:
    """The ways of writing a value that are told from other texts; none where the value is common.

    `around`: days near this one are common.
    """
    if isinstance(value, bool) or value is None or (shape is not None and shape.enum is not None):
        return []
    if isinstance(value, int | float | Decimal):
        return _numbers(value)
    if not isinstance(value, str):
        return patterns_of(str(value), None, around)
    text = value.strip()
    if _EMAIL.fullmatch(text):
        return _email(text)
    day = _DAY.fullmatch(text)
    if day is not None:
        then = _day_of(day[1], day[2], day[3])
        if then is None:
            return _text(text)
        time = day[4].replace(":", "") if day[4] else ""
        found = [Pattern(text=f"{then:%Y%m%d}{time}", digits=True, edges=False)] if time else []
        if abs((then - around).days) >= _AROUND_DAYS:
            found.append(Pattern(text=f"{then:%Y%m%d}", edges=False, day=then))
        return found
    if _PLAIN_NUMBER.fullmatch(text):
        return _numbers(Decimal(text))
    if _PART_OF_DAY.fullmatch(text):
        return []
    if _PHONE.fullmatch(text):
        return _phone(text)
    found = _text(text)
    if found and not text.isascii() and (plain := text.translate(_UMLAUTS)) != text:
        found = found + _text(plain)
    return found


def _numbers(value: int | float | Decimal) -> list[Pattern]:
    if value != value or value in (float("inf"), float("-inf")):
        return []
    number = abs(exact(Decimal(repr(value)) if isinstance(value, float) else Decimal(value)))
    whole, _, part = f"{number:f}".partition(".")
    significant = len((whole + part).strip("0"))
    if significant < 4 or (not part and 1900 <= number < 2100):
        return []
    return [
        Pattern(text=whole + part.ljust(places, "0"), digits=True, edges=False, number=number, solid=True)
        for places in range(len(part), max(len(part), 2) + 1)
        if places != 1 or len(part) == 1
    ]


def _email(text: str) -> list[Pattern]:
    local, _, domain = text.partition("@")
    spelt = squeeze(local), squeeze(domain)
    spoken = "dot".join(squeeze(part) for part in domain.split("."))
    said = "dot".join(squeeze(part) for part in local.split("."))
    if sum(map(len, spelt)) < LEAST:
        return []
    found = ("".join(spelt), "at".join(spelt), f"{spelt[0]}at{spoken}", f"{said}at{spoken}")
    return [Pattern(text=one, solid=True, parts=True) for one in dict.fromkeys(found)]


def _day_of(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def days_in(text: str) -> Iterator[tuple[date, int, int]]:
    """Every day that a text may mean, written in figures or with the month's name, and where it stands."""
    done = 0
    for found in _FIGURES_OF_DAYS.finditer(text):
        if found.end() - found.start() == 4:
            yield from _named_days(text, found.start(), found.end())
        elif found.start() >= done:
            start = found.start() - 2 if text[max(found.start() - 2, 0) : found.start()].isdecimal() else found.start()
            for day in _FIGURED.finditer(text, max(start, 0), found.end() + 2):
                done = day.end()
                yield from ((reading, day.start(), day.end()) for reading in _figured_days(day))


def _figured_days(found: re.Match[str]) -> Iterator[date]:
    one, two, three = found[1], found[2], found[3]
    if one is None:
        run = found[4]
        readings = [(run[:4], run[4:6], run[6:]), (run[4:], run[2:4], run[:2]), (run[4:], run[:2], run[2:4])]
    elif len(one) == 4:
        readings = [(one, two, three)]
    else:
        years = [three] if len(three) == 4 else [f"19{three}", f"20{three}"]
        readings = [reading for year in years for reading in ((year, two, one), (year, one, two))]
    for reading in readings:
        day = _day_of(*reading)
        if day is not None:
            yield day


def _named_days(text: str, start: int, end: int) -> Iterator[tuple[date, int, int]]:
    """The days that a year says together with the words before or after it."""
    before = list(_TOKEN.finditer(text, max(start - 24, 0), start))
    after = list(_TOKEN.finditer(text, end, end + 24))
    pairs: list[tuple[re.Match[str], re.Match[str]]] = []
    if len(before) >= 2:
        pairs.append((before[-2], before[-1]))
        if before[-2][0].casefold() == "of" and len(before) >= 3:
            pairs.append((before[-3], before[-1]))
    if len(after) >= 2:
        pairs.append((after[0], after[1]))
    for one, two in pairs:
        for name, number in ((one[0], two[0]), (two[0], one[0])):
            month, figures = _MONTHS.get(squeeze(name)), _ORDINAL.fullmatch(number)
            day = _day_of(text[start:end], str(month), figures[1]) if month is not None and figures else None
            if day is not None:
                yield day, min(one.start(), start), max(two.end(), end)


def _phone(text: str) -> list[Pattern]:
    digits = squeeze(text)
    if not digits.isdigit() or not 8 <= len(digits) <= 15:
        return _text(text)
    found = [Pattern(text=digits, digits=len(digits) < 10, edges=False, parts=True)]
    if len(digits) >= 11:
        found.append(Pattern(text=digits[-9:], edges=False))
    elif digits[0] == "0" and len(digits) == 10 and digits[1] != "0":
        found.append(Pattern(text=digits[1:], edges=False))
    return found


def _text(text: str) -> list[Pattern]:
    squeezed = squeeze(text)
    words = text.split()
    size = len(squeezed)
    if not size:
        return []
    if any(char.isdigit() for char in squeezed):
        if len(words) > 6 or size >= LONG:
            return _prose(squeezed)
        if size < LEAST and (len(text) > LEAST or not text.isascii()):
            return []
        if squeezed.isdigit():
            significant = len(squeezed.strip("0"))
            if size < 4 or significant < 3 or (size == 4 and "1900" <= squeezed < "2100"):
                return []
        elif size < 4:
            return []
        near = size < 10
        solid = len(words) == 1
        letters = sum(map(str.isalpha, squeezed))
        return [Pattern(text=squeezed, digits=near, edges=False, solid=solid, parts=solid or letters <= 4)]
    if not squeezed.isascii() and 3 <= size < 10 and not any(char.islower() or char.isupper() for char in text):
        return [Pattern(text=squeezed, edges=False)]  # scripts without capitals say much in few characters
    names = [word.strip(".,'\u2019").casefold() for word in words]
    usual = all(name in _COMMON_NAMES or len(name) <= 2 for name in names)
    if len(words) == 1:
        if size >= 8 and not usual and text[0].isupper():
            return [Pattern(text=squeezed, capitals=size < 12, solid=True)]
        if size >= 12 and not text.isalpha():
            return [Pattern(text=squeezed, edges=False, solid=True)]  # a key or a handle, not a word
        return []
    if len(words) <= 4 and all(_WORDS.fullmatch(word.strip(",")) for word in words) and _is_name(words):
        orders = [words, [*words[-1:], *words[:-1]]]
        if len(words) == 3:
            orders += [[words[0], words[2]], [words[2], words[0]], [words[1], words[0], words[2]]]
        found = {squeeze("".join(order)) for order in orders}
        return [Pattern(text=one, edges=size < 10, capitals=usual) for one in sorted(found) if len(one) >= LEAST]
    return _prose(squeezed)


def _is_name(words: Sequence[str]) -> bool:
    return all(word[:1].isupper() or len(word) <= 3 for word in words) and words[-1][:1].isupper()


def _prose(squeezed: str) -> list[Pattern]:
    return [Pattern(text=squeezed, edges=False)] if len(squeezed) >= 20 else []


def _inside(text: str) -> Iterator[str]:
    """What a long text holds that says much by itself: addresses, numbers of calls and of accounts, ids."""
    for n, match in enumerate(_INSIDE.finditer(text)):
        if n >= 200:
            return
        size = sum(map(str.isalnum, match[0]))
        if size >= 6:
            yield match[0]


# Looking for them ----------------------------------------------------------------------------------------------------

_STEPS = [(i, slice(i, i + GRAM)) for i in range(0, 8192, STEP)]
_WIDE_STEPS = [(i, slice(i, i + WINDOW)) for i in range(0, 8192, WIDE_STEP)]
_SHORT = re.compile(r"\d+(?:[.,'\u2019 /-]?\d+)*")
_TAG = re.compile(r"<[^<>]*>")
_RARE = re.compile(r"%[0-9A-Fa-f]{2}|&#?\w{2,31};?|=[0-9A-Fa-f]{2}|=\r?\n|\\[uxUX0-7]")
_CODES = re.compile(r"(?:\d{2,3}[ ,;.-]{1,2}){3}\d{2}|[01]{7}[01 ]|\d{16}")
_FIGURES = re.compile(r"\d[\d ,;.-]{7,}")
_SPACED = re.compile(r"(?:[0-9A-Fa-f]{2}[\s:,;-]{1,2}){4}")
_UNSEEN = re.compile("[\u200b-\u200d\u2060\ufeff\ufe00-\ufe0f\U000e0020-\U000e007e\U000e0100-\U000e01ef]{3}")
_KINDS = {
    **dict.fromkeys(map(ord, "abcdefghijklmnopqrstuvwxyz"), "a"),
    **dict.fromkeys(map(ord, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), "A"),
    **dict.fromkeys(map(ord, "0123456789"), "0"),
}
_MIXED = ("aA", "a0", "0a", "A0", "0A")


class Looked(NamedTuple):
    """What stands in a text."""

    readings: list[tuple[str, list[Match]]]
    """The text as it is, and what it says decoded, as far as kept values stand in it."""
    pieced: list[Pattern]
    """Values of which a part stands in the text, and all other parts in it or in what was sent before."""
    unread: bool = False
    """More parts of it are encoded than can be read."""


_NOTHING = Looked([], [])


class Leaks:
    """The labelled values of one run, ready to be found in texts."""

    __slots__ = (
        "_around",
        "_common",
        "_days",
        "_grams",
        "_heard",
        "_heard_days",
        "_last",
        "_open",
        "_patterns",
        "_short",
        "_tail",
        "_tiny",
        "_windows",
    )

    def __init__(self, around: date) -> None:
        self._around = around
        self._patterns: dict[tuple[str, bool, bool, Decimal | None, date | None], Pattern] = {}
        self._grams: dict[str, list[tuple[Pattern, int]]] = {}
        self._short: dict[str, list[Pattern]] = {}
        self._days: dict[date, Pattern] = {}
        self._tiny: dict[str, list[Pattern]] = {}
        self._windows: dict[str, list[tuple[Pattern, int]]] = {}
        self._common: dict[tuple[str, str], list[Hashable]] = {}
        self._heard = ""
        self._heard_days: set[date] = set()
        self._tail = ""
        self._last = ""
        self._open: list[Fragment] = []

    def __bool__(self) -> bool:
        return bool(self._patterns or self._common)

    @property
    def full(self) -> bool:
        """Whether there were more values than are kept, so that no text can be said to be free of them."""
        return len(self._patterns) >= MOST_PATTERNS or len(self._common) >= MOST_PATTERNS

    def add(self, value: Any, shape: Shape | None, name: str, source: Hashable) -> bool:
        """Keep a value that stood in a field of this name; whether it can be told from other texts."""
        found = patterns_of(value, shape, self._around)
        if not found:
            if self.full:
                return False
            common = self._common.setdefault((name, squeeze(str(value))), [])
            if len(common) < MOST_SOURCES and source not in common:
                common.append(source)
            return False
        for pattern in found:
            self._keep(pattern, source)
        text = found[0].text
        if isinstance(value, str) and len(text) >= LONG:
            for inner in _inside(value[:MOST_LOOKED]):
                for pattern in patterns_of(inner, None, self._around):
                    self._keep(pattern, source)
        elif 6 <= len(text) < LONG and found[0].number is None and found[0].day is None:
            for turned in (text[::-1], codecs.encode(text, "rot13")):
                if turned != text:
                    near = found[0].edges and len(text) < 10
                    self._keep(Pattern(text=turned, edges=near, digits=found[0].digits), source)
        return True

    def add_together(self, values: Sequence[str], source: Hashable) -> None:
        """Keep what single words of one record, such as a first and a last name, say beside each other."""
        for pair in permutations(values[:5], 2):
            text = squeeze("".join(pair))
            usual = all(word.casefold() in _COMMON_NAMES for word in pair)
            if len(text) >= LEAST:
                self._keep(Pattern(text=text, edges=len(text) < 10, capitals=usual), source)

    def _keep(self, pattern: Pattern, source: Hashable) -> None:
        key = (pattern.text, pattern.edges, pattern.capitals, pattern.number, pattern.day)
        known = self._patterns.get(key)
        if known is not None:
            if len(known.sources) < MOST_SOURCES and source not in known.sources:
                known.sources.append(source)
            return
        if self.full:
            return
        pattern.sources.append(source)
        self._patterns[key] = pattern
        text = pattern.text
        if pattern.day is not None:
            self._days[pattern.day] = pattern
        elif len(text) >= LONG:
            self._keep_windows(pattern)
        elif len(text) >= LEAST:
            for offset in range(STEP):
                self._grams.setdefault(text[offset : offset + GRAM], []).append((pattern, offset))
        elif text.isascii():
            self._short.setdefault(text, []).append(pattern)
        else:
            self._tiny.setdefault(text[:2], []).append(pattern)
        pattern.heard = text in self._heard or pattern.day in self._heard_days

    def _keep_windows(self, pattern: Pattern) -> None:
        text = pattern.text
        step = STRIDE if len(text) <= STRIDE * MOST_WINDOWS else len(text) // MOST_WINDOWS
        for at in range(0, len(text) - WINDOW + 1, step):
            self._windows.setdefault(text[at : at + WINDOW], []).append((pattern, at))

    # the user's words, and what has left already ---------------------------------------------------------------------

    def heard(self, text: str) -> None:
        """The user said this: telling it back gives nothing away."""
        for _, matches in self.look(text).readings:
            for match in matches:
                match.pattern.heard = True
        self._heard = (self._heard + squeeze(text))[-50_000:]
        if len(self._heard_days) < 1_000:
            self._heard_days.update(day for day, _, _ in days_in(text))

    def sent(self, text: str) -> None:
        """This has left: the rest of a value that follows later completes it."""
        if not self._grams:
            return
        text = text[-MOST_LOOKED:]
        squeezed = squeeze(text)
        self._open.extend(self._begun(text, squeezed, self._hits(squeezed)))
        self._open = list(dict.fromkeys(self._open))[-_MOST_OPEN:]
        self._tail = f"{self._tail}\n{text}"[-_TAIL:]
        self._last = self._tail[-_BORDER:]

    # texts -----------------------------------------------------------------------------------------------------------

    def common(self, name: str, value: Any) -> Sequence[Hashable]:
        """The sources of a common value that stood in a field of the same name."""
        return self._common.get((name, squeeze(str(value))), ()) if self._common else ()

    def whole(self, text: str) -> bool:
        """Whether a text is one kept value and nothing else."""
        squeezed = squeeze(text)
        return any(one.text == squeezed for one, _ in self._grams.get(squeezed[:GRAM], ()))

    def look(self, text: str) -> Looked:
        """What stands in a text. The time depends on the length of the text, not on how many values are kept."""
        if not self._patterns:
            return _NOTHING
        text = text[:MOST_LOOKED]
        squeezed = squeeze(text)
        hits = self._hits(squeezed)
        readings: list[tuple[str, list[Match]]] = []
        matches = self._find(text, squeezed, hits)
        if matches:
            readings.append((text, matches))
        read = 0
        for reading in _readings(text):
            read += 1
            inner = squeeze(reading[:MOST_LOOKED])
            matches = self._find(reading, inner, self._hits(inner))
            if matches:
                readings.append((reading, matches))
        pieced: list[Pattern] = []
        if hits:
            self._pieced(text, squeezed, hits, pieced)
        if self._open:
            pieced.extend(f.pattern for f in self._open if _covered(f.pattern, f.length, text, squeezed))
        if self._last:
            self._over_the_border(text, pieced)
        unread = read >= MOST_TEXTS
        return Looked(readings, pieced, unread) if readings or pieced or unread else _NOTHING

    def _hits(self, squeezed: str) -> list[int]:
        """The places of a squeezed text at which a value may stand."""
        grams = self._grams
        if not grams:
            return []
        size = len(squeezed) - GRAM + 1
        if size > _STEPS[-1][0]:
            return [at for at in range(0, size, STEP) if squeezed[at : at + GRAM] in grams]
        return [at for at, part in _STEPS[: (size + STEP - 1) // STEP] if squeezed[part] in grams]

    def _starts(self, squeezed: str, hits: list[int]) -> Iterator[tuple[int, Pattern]]:
        for hit in hits:
            for pattern, offset in self._grams[squeezed[hit : hit + GRAM]]:
                if hit >= offset:
                    yield hit - offset, pattern

    def _find(self, text: str, squeezed: str, hits: list[int]) -> list[Match]:
        found: list[Match] = []
        if hits:
            for at, pattern in self._starts(squeezed, hits):
                if squeezed.startswith(pattern.text, at):
                    found.append(Match(pattern, at, at + len(pattern.text)))
        if self._short:
            self._find_short(text, squeezed, found)
        if self._tiny and not squeezed.isascii():
            for at in range(len(squeezed) - 1):
                for pattern in self._tiny.get(squeezed[at : at + 2], ()):
                    if squeezed.startswith(pattern.text, at):
                        found.append(Match(pattern, at, at + len(pattern.text)))
        if found:
            places = _places(text)
            found = [match for match in found if _holds(match, text, places)]
        if self._days:
            for day, start, end in days_in(text):
                if day in self._days:
                    at = len(squeeze(text[:start]))
                    found.append(Match(self._days[day], at, at + len(squeeze(text[start:end]))))
        if self._windows:
            self._quotes(squeezed, found)
        return found

    def _find_short(self, text: str, squeezed: str, found: list[Match]) -> None:
        """Values of four characters with digits: they must be words of their own."""
        for token in _SHORT.finditer(text):
            for start, end in _surroundings(text, *token.span()):
                short = squeeze(text[start:end])
                if short in self._short:
                    at = len(squeeze(text[:start]))
                    found.extend(Match(pattern, at, at + len(short)) for pattern in self._short[short])

    def _quotes(self, squeezed: str, found: list[Match]) -> None:
        windows, size = self._windows, len(squeezed) - WINDOW + 1
        if size <= 0:
            return
        if size > _WIDE_STEPS[-1][0]:
            hits = [at for at in range(0, size, WIDE_STEP) if squeezed[at : at + WINDOW] in windows]
        else:
            steps = _WIDE_STEPS[: (size + WIDE_STEP - 1) // WIDE_STEP]
            hits = [at for at, part in steps if squeezed[part] in windows]
        until = 0
        for at in hits:
            if at < until:
                continue
            for pattern, offset in windows[squeezed[at : at + WINDOW]]:
                before = _common_back(squeezed, at, pattern.text, offset)
                length = before + _common_length(squeezed, at, pattern.text, offset)
                if length >= QUOTE:
                    found.append(Match(pattern, at - before, at - before + length))
                    until = at - before + length

    def _begun(self, text: str, squeezed: str, hits: list[int]) -> list[Fragment]:
        """Values whose first part, and not the whole, stands in a text as a word of its own."""
        places: list[int] | None = None
        found: list[Fragment] = []
        for at, pattern in self._starts(squeezed, hits):
            if not pattern.parts:
                continue
            if squeezed.startswith(pattern.text, at):
                continue
            length = min(_common_length(squeezed, at, pattern.text, 0), len(pattern.text) - _PIECE)
            if length < LEAST:
                continue
            places = places or _places(text)
            length = _piece(text, places, at, length, solid=pattern.solid)
            if length >= LEAST:
                found.append(Fragment(pattern, length))
        return found

    def _pieced(self, text: str, squeezed: str, hits: list[int], pieced: list[Pattern]) -> None:
        begun = self._begun(text, squeezed, hits)
        if begun:
            together = f"{self._tail}\n{text}"
            both = squeeze(together)
            pieced.extend(f.pattern for f in begun if _covered(f.pattern, f.length, together, both))

    def _over_the_border(self, text: str, pieced: list[Pattern]) -> None:
        joined = self._last + text[:_BORDER]
        squeezed, border = squeeze(joined), len(squeeze(self._last))
        hits = self._hits(squeezed)
        if hits:
            found = self._find(joined, squeezed, hits)
            pieced.extend(match.pattern for match in found if match.start < border < match.end)


def _surroundings(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The word around a place, by itself and with the one that is joined to it on either side: `AB-12`."""
    while start > 0 and text[start - 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    yield start, end
    if start > 1:
        left = start - 1
        while left > 0 and text[left - 1].isalnum():
            left -= 1
        yield left, end
    if end < len(text):
        right = end + 1
        while right < len(text) and text[right].isalnum():
            right += 1
        yield start, right


def _readings(text: str) -> Iterator[str]:
    """What a text says besides when it is rendered or decoded."""
    if "<" in text and (bare := _TAG.sub("", text)) != text:
        yield bare
    if _is_encoded(text):
        # Turned around and by rot13 every value is kept, so that no text has to be looked over for these again.
        turned = text[::-1], codecs.encode(text, "rot13")
        for said in decoded(text):
            if said not in turned:
                yield said


def _is_encoded(text: str) -> bool:
    """Whether any part of a text may be an encoding: a quick look, so that plain words cost nothing more."""
    if ("%" in text or "&" in text or "=" in text or "\\" in text) and _RARE.search(text):
        return True
    if not text.isascii() and _UNSEEN.search(text):
        return True
    kinds = text.translate(_KINDS)
    if "AAAAAAAAAAAAA" in kinds:
        return True
    if "aA" in kinds or "a0" in kinds or "0a" in kinds or "A0" in kinds or "0A" in kinds:
        short = 0
        for token in text.split():
            inner = token.strip(".,;:!?()\"'").translate(_KINDS)
            if any(pair in inner for pair in _MIXED):
                short += 1
                if len(inner) >= 8 or short >= 3:
                    return True
        if short and _SPACED.search(text):
            return True
    if kinds.count("0") < 8:
        return False
    return any(_CODES.search(run[0]) is not None for run in _FIGURES.finditer(text))


def _common_length(text: str, at: int, other: str, offset: int) -> int:
    most = min(len(text) - at, len(other) - offset)
    for n in range(most):
        if text[at + n] != other[offset + n]:
            return n
    return most


def _common_back(text: str, at: int, other: str, offset: int) -> int:
    most = min(at, offset)
    for n in range(most):
        if text[at - 1 - n] != other[offset - 1 - n]:
            return n
    return most


def _covered(pattern: Pattern, length: int, text: str, squeezed: str) -> bool:
    """Whether a text holds all of a value that follows its first `length` characters, in parts."""
    wanted, places = pattern.text, None
    while length < len(wanted):
        piece = wanted[length : length + _PIECE]
        if len(piece) < _PIECE:
            return False
        at, taken = squeezed.find(piece), 0
        while at >= 0:
            places = places or _places(text)
            run = _piece(text, places, at, _common_length(squeezed, at, wanted, length), solid=pattern.solid)
            if run >= _PIECE:
                taken = max(taken, run)
            at = squeezed.find(piece, at + 1)
        if not taken:
            return False
        length += taken
    return True


def _piece(text: str, places: list[int], start: int, length: int, *, solid: bool) -> int:
    """How many of `length` squeezed characters are words of their own, without blanks where the value has none."""
    first = places[start]
    if first > 0 and text[first - 1].isalnum():
        return 0
    if solid:
        blank = next((i for i in range(first, places[start + length - 1]) if text[i].isspace()), None)
        while blank is not None and length and places[start + length - 1] > blank:
            length -= 1
    while length:
        after = places[start + length - 1] + 1
        if after >= len(text) or not text[after].isalnum():
            return length
        length -= 1
    return 0


def _holds(match: Match, text: str, places: list[int]) -> bool:
    """Whether what was found squeezed is the value in the text as it stands."""
    pattern = match.pattern
    first, last = places[match.start], places[match.end - 1]
    before = text[first - 1] if first > 0 else " "
    after = text[last + 1] if last + 1 < len(text) else " "
    if pattern.edges and (before.isalnum() or after.isalnum()):
        return False
    if pattern.digits and (_same_kind(before, text[first]) or _same_kind(after, text[last])):
        return False
    if pattern.capitals and not text[first].isupper():
        return False
    return pattern.number is None or _comes_to(text, first, last, pattern.number)


def _same_kind(one: str, other: str) -> bool:
    return (one.isdigit() and other.isdigit()) or (one.isalpha() and other.isalpha())


def _comes_to(text: str, first: int, last: int, number: Decimal) -> bool:
    """Whether the digits from `first` to `last` are this number, in some way of writing numbers."""
    if first > 1 and text[first - 1] in ".," and text[first - 2].isdigit():
        return False
    if last + 2 < len(text) and text[last + 1] in ".," and text[last + 2].isdigit():
        return False
    written = "".join(char for char in text[first : last + 1] if not char.isspace() and char not in "'\u2019_")
    return any(reading == number for reading in _as_numbers(written))


def _as_numbers(written: str) -> Iterator[Decimal]:
    bare = written.replace(",", "").replace(".", "")
    if not bare.isdecimal():
        return
    yield Decimal(bare)
    cut = max(written.rfind("."), written.rfind(","))
    if cut >= 0:
        part = written[cut + 1 :]
        if part.isdecimal() and written.count(written[cut]) == 1:
            whole = written[:cut].replace(",", "").replace(".", "")
            yield Decimal(f"{whole or 0}.{part}")
