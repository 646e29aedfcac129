"""When two values are the same, however they are written.

A value has *forms*, canonical keys that say what it is and how it is told from others:

| form | what |
|---|---|
| `n:42.5` | a number |
| `d:2026-03-31`, `d:--03-31` | a day; a day of any year |
| `t:14:30`, `dt:2026-03-31T12:30:00Z` | an hour; a moment, in UTC where its zone is known (`Z`) |
| `e:ada@example.com` | a mail address |
| `u:https://example.com/`, `u://example.com/` | a link; a link without its scheme |
| `p:+49301234567`, `p:301234567` | a telephone number; one without its country |
| `i:DE89370400440532013000` | a bank account |
| `x:c-000123` | an id: its groups of letters and of digits, joined by hyphens |
| `w:ada lovelace` | words |

A value stands in a text when one of the forms by which it is `sought` is among those that `scan` finds in the text.
What is only alike has other forms: as ids, 00123456 and 123456 are two, C-000123 and C-0001234, and 12-345 and 123-45.

Three ways of writing say less than the value itself, and hold in one direction only: "31 March" may mean 2026-03-31,
but 2025-03-31 never does. So there are forms that only texts have (`d:--03-31`) and forms of the parts that a shorter
way of writing asks for (`j:` digits whose groups were joined, `xd:` digits of which an id may have been meant without
the letters that all ids of its kind begin with, `pt:` a telephone number behind its country, `u:*//` a link behind its
scheme). `sought` adds the first to the forms of a value, `seen` and `scan` add the second. Keep a
typed value under `seen`, a text under `scan` or `keys`, and look a value up by `sought`; `forms_of` alone, on both
sides, is what is exactly the same.

A numeral that some read as thousands and some as a fraction (`1,234`) has both forms, unless a currency stands beside
it or another numeral of the same text shows how its author writes fractions. A date such as 03/04/2026 likewise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple, cast

from roadworthy.contract.shapes import Shape
from roadworthy.gate.forms import encodings, readings
from roadworthy.gate.forms.wording import bare, clean, split_words

Form = str
"""The canonical key of a value: its kind, a colon, the value."""

MOST_SCANNED = 1_000_000
"""Characters of one text that are looked at. What comes after counts as seen nowhere."""
MOST_OF_A_VALUE = 1_000
"""Longer values are free text: they have no form of their own, only what stands in them has."""


class Found(NamedTuple):
    """A form that stands in a text, from `start` up to `end` of the text as it was given."""

    form: Form
    start: int
    end: int
    unit: str | None = None
    """What stands beside a number: its currency by ISO 4217, `$` where that is all that is said, `%`."""


def words(text: str) -> list[str]:
    """The words of a text, in order: runs of letters and digits, without case and invisible characters."""
    return split_words(clean(text)[0])


def shingles(found: Sequence[str], n: int) -> list[str]:
    """All runs of `n` words, each joined by blanks."""
    return [" ".join(found[i : i + n]) for i in range(len(found) - n + 1)]


def compact(text: str) -> str:
    """Letters and digits only, without case, accents, invisible and look-alike characters.

    What is left of a value that was quoted, split or embedded; made to find what leaks, not to tell values apart.
    """
    return bare(text)


def decoded(text: str) -> Iterator[str]:
    """What the encoded parts of a text say, and what encoded parts of those say, a few levels deep.

    Base64, base32 and hex, percent-encoding, HTML entities, quoted-printable, escapes, character codes, invisible
    characters that stand for letters, addresses spelt out, the text turned around and by rot13. Bounded in depth and
    size; the text itself is not among the results.
    """
    return encodings.decoded(text)


_new = cast("Callable[[type[Found], tuple[Form, int, int, str | None]], Found]", cast("Any", tuple).__new__)
"""Found without the detour over its keywords: a text has dozens."""


def _each(names: str) -> list[str]:
    return names.split()


_PLAIN_WORDS = frozenset(_each("true false none null yes okay oder this that with from home open"))


def weak(form: Form) -> bool:
    """Whether a form is so common that it proves little: it counts only in a field of the same meaning.

    Numbers of at most two digits, ids and words of at most three letters or digits, and a few words such as `true`.
    """
    kind, _, rest = form.partition(":")
    if kind == "n":
        return sum(map(str.isdigit, rest)) <= 2
    if kind in ("w", "x", "xd"):
        return rest in _PLAIN_WORDS or (rest.isascii() and sum(map(str.isalnum, rest)) < 4)
    return kind == "d" and rest.startswith("--")


# -- scanning -------------------------------------------------------------------------------------------------------

_AFTER_A_WORD = ".,;:!?)"
_PIECE = re.compile(r"[^\W_]+(?:[-_.,:/'+#&][^\W_]+)*")
_RUN_OF_LETTERS = re.compile(r"[^\W\d_]+")
_GROUP = re.compile(r"[^\W\d_]+|\d+")
_DIGIT = re.compile(r"\d")
_LETTER = re.compile(r"[^\W\d_]")
_OWN_WORD = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_SIMPLE_CHUNK = re.compile(
    r"[(\"'#]?(?:(\d+(?:[.,]\d+)?)|([a-z][a-z0-9._+-]*@[a-z0-9-]+(?:\.[a-z0-9-]+)+)|([a-z]{1,3})-?(\d{3,10}))[.,;:!?)\"']*"
)
"""What most runs of characters are that are no words: a numeral, a mail address, an id."""
_ID_BREAK = re.compile(r"[,:'+#&]")
_AMOUNT = re.compile(r"([a-z]{2,6})?(\d[\d.,']*)([a-z]{1,8})?")
_HOUR = re.compile(r"[0-2]?\dh[0-5]\d")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}")
_BETWEEN = re.compile(r" ?\(?|[)/-]|\) ?[-/]?|(?: [-/] )")
_NOTED: Mapping[str, int] = {
    **{word: 100 + n for word, n in readings.MONTHS.items()},
    **dict.fromkeys(readings.NUMBER_WORDS, 1),
}
_MOST_IN_A_RUN = 8
_LEAST_BARE = 4
"""Digits that an id has, at least, when its letters may be left out."""
_LETTERS_BEFORE = re.compile(r"(?:^|[^\w.,/@&+%-])([^\W\d_]{1,4})$")
_NO_ID_BEGINS = frozenset(
    _each(
        "a an and at by for from has in is it my no nr of on or per the to with was we you all only get got pay send"
        " für und oder am an auf bis im ab von vom mit et de du des les le la el los un une y o ref call sum than"
    )
)
"""Words that stand before a number and are no part of an id."""
_LINKISH = ("://", "www.", ":\\", "//", "javascript:", "vbscript:", "data:", "http:", "https:")


def scan(text: str) -> list[Found]:
    """Every value that stands in a text, with its place, in no particular order; several readings where there are.

    The time is linear in the length of the text, of which at most `MOST_SCANNED` characters are looked at.
    """
    if len(text) > MOST_SCANNED:
        text = text[:MOST_SCANNED]
    plain, back = clean(text)
    found = _Scan(plain).found
    if back is None:
        return found
    return [Found(one.form, back[one.start], back[one.end - 1] + 1, one.unit) for one in found]


def keys(text: str) -> set[Form]:
    """The forms that stand in a text, without their places."""
    if len(text) > MOST_SCANNED:
        text = text[:MOST_SCANNED]
    return {one[0] for one in _Scan(clean(text)[0]).found}


class _Scan:
    """One pass over a text that is clean."""

    __slots__ = ("covered", "found", "fractions", "low", "numerals", "open_days", "open_numbers", "order", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        low = text.lower()
        self.low = low
        found: list[Found] = []
        self.found = found
        self.covered: set[int] = set()
        """Places inside values of which the parts say nothing by themselves."""
        self.numerals: list[tuple[int, int]] = []
        """Pieces of digits and separators, in order."""
        self.fractions: str | None = None
        """The sign before fractions, where some numeral of the text leaves no doubt."""
        self.order: str | None = None
        self.open_numbers: list[tuple[str, str, str, int, int, str | None]] = []
        self.open_days: list[tuple[str, str, int, int]] = []
        noted: list[tuple[str, int, int]] = []
        ascii_only = text.isascii()
        find = low.find
        end = 0
        for word in low.split():
            start = find(word, end)
            end = start + len(word)
            until = end
            if not word.isalpha():
                word = word.rstrip(_AFTER_A_WORD)
                if not word.isalpha():
                    self.chunk(start, end, noted)
                    continue
                until = start + len(word)
            if not ascii_only and not word.isascii():
                if _OWN_WORD.search(word):
                    self.letters(start, until, noted)
                    continue
                word = word.casefold()
            if word in _NOTED:
                noted.append((word, start, until))
            found.append(_new(Found, ("w:" + word, start, until, None)))
        if noted:
            self.noted(noted)
        if self.numerals:
            self.runs()
        for grouped, fraction, sign, start, end, unit in self.open_numbers:
            if self.fractions is None or self.fractions != sign:
                self.number(grouped, start, end, unit)
            if self.fractions is None or self.fractions == sign:
                self.number(fraction, start, end, unit)
        for key, order, start, end in self.open_days:
            if self.order is None or self.order == order:
                self.add("d:" + key, start, end)

    def add(self, form: Form, start: int, end: int, unit: str | None = None) -> None:
        self.found.append(_new(Found, (form, start, end, unit)))

    def chunk(self, start: int, end: int, noted: list[tuple[str, int, int]]) -> None:
        """A run of characters without a blank that is not simply a word."""
        low = self.low
        chunk = low[start:end]
        simple = _SIMPLE_CHUNK.fullmatch(chunk)
        if simple is not None:
            kind = simple.lastindex
            if kind == 1:
                self.numerals.append((start + simple.start(1), start + simple.end(1)))
            elif kind == 2:
                self.add("e:" + simple[2], start + simple.start(2), start + simple.end(2))
            elif simple[3] not in _NOTED and simple[3] not in readings.CURRENCIES:
                self.add(f"x:{simple[3]}-{simple[4]}", start + simple.start(3), start + simple.end(4))
            else:
                self.pieces(start, end, noted)
            return
        if "@" in chunk:
            at = start
            for match in readings.EMAIL.finditer(low, start, end):
                for key, skipped in readings.email_keys(match[1], match[2]):
                    self.add("e:" + key, match.start() + skipped, match.end())
                self.pieces(at, match.start(), noted)
                at = match.end()
            start = at
        elif ("/" in chunk or ":" in chunk or "www." in chunk) and any(mark in chunk for mark in _LINKISH):
            at = start
            for match in readings.LINK.finditer(self.text, start, end):
                self.link(match.start(), match[0])
                self.pieces(at, match.start(), noted)
                at = match.start()
            start = at
        elif "." in chunk and "hxxp" not in chunk:
            match = readings.HOST.search(low, start, end)
            if match is not None and readings.ends_as_host(match[1], True):
                shown = self.text[match.start() : match.end()]
                top = self.text[match.start(1) : match.end(1)]
                if top.islower() or shown.partition("/")[0].isupper():
                    self.link(match.start(), shown)
        self.pieces(start, end, noted)

    def link(self, start: int, written: str) -> None:
        written = readings.trim_link(written)
        glued = readings.GLUED.search(written)
        if glued is not None:  # what it is without the first word of the next sentence; what is written counts, too
            self.one_link(start, readings.trim_link(written[: glued.start()]))
        self.one_link(start, written)

    def one_link(self, start: int, written: str) -> None:
        if not written:
            return
        end = start + len(written)
        scheme, rest = readings.link_parts(written)
        if scheme in ("", "http", "https"):
            if "." not in rest and "/" not in rest[1:] and not scheme:
                return
            self.add(f"u:{scheme}://{rest}" if scheme else f"u://{rest}", start, end)
            if scheme:
                self.add(f"u:*//{rest}", start, end)
        elif len(rest) > 1:
            self.add(
                f"u:{scheme}:{rest}" if scheme in ("data", "javascript", "vbscript") else f"u:{scheme}://{rest}",
                start,
                end,
            )

    def pieces(self, start: int, end: int, noted: list[tuple[str, int, int]]) -> None:
        low = self.low
        for match in _PIECE.finditer(low, start, end):
            piece = match[0]
            if not _DIGIT.search(piece):
                self.letters(match.start(), match.end(), noted)
            elif not _LETTER.search(piece):
                self.numerals.append(match.span())
            else:
                self.mixed(match.start(), match.end(), noted)

    def letters(self, start: int, end: int, noted: list[tuple[str, int, int]]) -> None:
        for match in _RUN_OF_LETTERS.finditer(self.low, start, end):
            word = match[0]
            at, until = match.span()
            if not word.isascii():
                if _OWN_WORD.search(word):
                    for place in range(at, until):
                        self.add("w:" + self.low[place].casefold(), place, place + 1)
                    continue
                word = word.casefold()
            if word in _NOTED:
                noted.append((word, at, until))
            self.add("w:" + word, at, until)

    def mixed(self, start: int, end: int, noted: list[tuple[str, int, int]]) -> None:
        """A piece that has letters and digits: an id, a moment, an amount with its currency, an account."""
        low = self.low
        piece = low[start:end]
        said = readings.moment(low, start) if low[start + 4 : start + 5] == "-" else None
        if said is not None:
            key, day, hour, until = said
            self.add("dt:" + key, start, until)
            self.add("d:" + day, start, start + 10)
            self.add("t:" + hour, start + 11, until)
            return
        if not piece.isascii():
            day_and_end = readings.east_asian_day(low, start)
            if day_and_end is not None:
                self.add("d:" + day_and_end[0], start, day_and_end[1])
        if "h" in piece and _HOUR.fullmatch(piece):
            self.hours(piece, None, start, end)
        amount = _AMOUNT.fullmatch(piece)
        if amount is not None and self.amount(amount, start, end):
            return
        for word in _RUN_OF_LETTERS.findall(piece):
            if _NOTED.get(word, 0) > 100:
                at = start + piece.index(word)
                noted.append((word, at, at + len(word)))
        if piece[:2].isalpha() and piece[2:4].isdigit():
            for key, until in readings.grouped_iban(low, start):
                self.add("i:" + key, start, until)
                self.covered.update(range(start, until))
        at = start
        for part in _ID_BREAK.split(piece):
            until = at + len(part)
            if not _DIGIT.search(part):
                self.letters(at, until, noted)
            elif not _LETTER.search(part):
                self.numerals.append((at, until))
            else:
                self.id(part, at, until)
            at = until + 1

    def id(self, part: str, start: int, end: int) -> None:
        if readings.IBAN.fullmatch(part):
            self.add("i:" + part.upper(), start, end)
        self.add(_id_form(part), start, end)
        if "/" in part:
            at = start
            for inner in part.split("/"):
                if _DIGIT.search(inner):
                    self.add(_id_form(inner), at, at + len(inner))
                at += len(inner) + 1

    def amount(self, match: re.Match[str], start: int, end: int) -> bool:
        """Whether a piece such as `eur42.50`, `42k` or `2pm` was one; it may be an id all the same."""
        before, written, after = match.groups()
        unit: str | None = None
        if before is not None:
            unit = readings.CURRENCIES.get(before)
            if unit is None:
                return False
        if after is not None:
            said = readings.suffix(after, 0)
            if said is None or said[1] != len(after):
                return False
            found = said[0]
            if found.clock is not None:
                for hour in readings.clock(written, found.clock):
                    self.add("t:" + hour, start, end)
                return found.clock != "h"
            unit = found.unit or unit
            if found.scale is not None:
                self.numeral(start, start + match.end(2), scale=found.scale, until=end, unit=unit)
                return False
        if unit is None:
            return False
        self.numeral(start + match.start(2), start + match.end(2), unit=unit, since=start, until=end)
        return False

    # -- numerals ---------------------------------------------------------------------------------------------------

    def number(self, written: str, start: int, end: int, unit: str | None, scale: int | None = None) -> None:
        if scale is None and unit != "%":
            self.add("n:" + readings.shortest(written), start, end, unit)
            return
        value = Decimal(written) * (scale or 1)
        self.add("n:" + readings.number_key(value), start, end, unit)
        if unit == "%":
            self.add("n:" + readings.number_key(value.scaleb(-2)), start, end, unit)

    def numeral(
        self,
        start: int,
        end: int,
        *,
        unit: str | None = None,
        scale: int | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> None:
        """What digits with separators between them say by themselves."""
        low = self.low
        written = low[start:end]
        clock: str | None = None
        first = start if since is None else since
        last = end if until is None else until
        if until is None and end < len(low):
            after = readings.suffix(low, end)
            if after is not None:
                clock = after[0].clock
                if clock is None:
                    unit, scale, last = after[0].unit, after[0].scale, after[1]
        if since is None and start:
            before = readings.prefix(low, start)
            if before is not None:
                unit, first = before
        sign = ""
        if first and low[first - 1] in "+-" and (first == 1 or low[first - 2] in " \n\t(:="):
            if low[first - 1] == "-":
                sign = "-"
            first -= 1
        elif first < start and low[start - 1] == "-":
            sign = "-"
        if written.isdigit():
            if clock is not None:
                self.hours(written, clock, start, end)
                if clock != "h":
                    return
            if len(written) <= readings.MOST_DIGITS and (written[0] != "0" or len(written) == 1):
                self.number(sign + written, first, last, unit, scale)
            self.add("x:" + written, start, end)
            if len(written) >= _LEAST_BARE:
                self.add("xd:" + written, start, end)
            if len(written) == 8:
                day = readings.compact_day(written)
                if day is not None:
                    self.add("d:" + day, start, end)
            return
        self.separated(written, start, end, sign, unit, scale, first, last, clock)

    def hours(self, written: str, half: str | None, start: int, end: int) -> None:
        for hour in readings.clock(written, half):
            self.add("t:" + hour, start, end)

    def separated(
        self, written: str, start: int, end: int, sign: str, unit: str | None, scale: int | None, first: int, last: int,
        clock: str | None,
    ) -> None:  # fmt: skip
        if ":" in written or clock is not None:
            self.hours(written, clock, start, end)
        numbers = readings.number_readings(written)
        if len(numbers) == 1:
            self.number(sign + numbers[0], first, last, unit, scale)
            if "." in numbers[0]:
                self.fractions = written[-len(numbers[0].partition(".")[2]) - 1]
        elif numbers:
            fraction_sign = written[-4]
            if unit is not None and unit != "%" and scale is None:
                self.number(sign + numbers[0], first, last, unit)
            elif scale is not None:
                self.number(sign + numbers[1], first, last, unit, scale)
            else:
                self.open_numbers.append((sign + numbers[0], sign + numbers[1], fraction_sign, first, last, unit))
        days: list[tuple[str, str]] = []
        if unit is None and len(written) <= 10:
            if len(numbers) != 1:
                days = readings.day_readings(written)
            elif self.low[end : end + 1] == "." and len(written) <= 5:
                days = [d for d in readings.day_readings(written.replace(".", "/")) if d[1] == "dmy"]
        if len(days) == 1:
            self.add("d:" + days[0][0], start, end)
            if "/" in written and days[0][1] in ("dmy", "mdy"):
                self.order = days[0][1]
        else:
            self.open_days += [(key, order, start, end) for key, order in days]
        full_day = bool(days) and not days[0][0].startswith("--")
        if full_day or ":" in written:
            return
        if "," in written or "'" in written or "+" in written or "&" in written:
            if not numbers or self.is_list(written):
                self.parts(written, start)
            return
        groups = _GROUP.findall(written)
        self.add("x:" + "-".join(groups), start, end)
        if "/" in written or "#" in written or ("-" in written and self.is_range(groups)):
            self.parts(written, start)

    @staticmethod
    def is_list(written: str) -> bool:
        before, _, after = written.partition(",")
        return len(before) >= 4 and len(after) >= 4

    @staticmethod
    def is_range(groups: list[str]) -> bool:
        return len(groups) == 2 and len(groups[0]) <= 3 and len(groups[1]) <= 3 and int(groups[0]) < int(groups[1])

    def parts(self, written: str, start: int) -> None:
        """The numerals of a list or a range, each by itself."""
        for match in re.finditer(r"\d+(?:\.\d+)?", written):
            part = match[0]
            at, until = start + match.start(), start + match.end()
            if len(part) <= readings.MOST_DIGITS and (part[0] != "0" or part[:2] in ("0", "0.")):
                self.number(part, at, until, None)
            if part.isdigit():
                self.add("x:" + part, at, until)

    def runs(self) -> None:
        """Numerals one by one, and those that stand together: grouped digits, telephone numbers, ids, moments."""
        numerals = self.numerals
        low = self.low
        if self.covered:
            numerals = [n for n in numerals if n[0] not in self.covered]
        last = len(numerals) - 1
        at = 0
        while at <= last:
            start, end = numerals[at]
            until = at
            while (
                until < last
                and until - at < _MOST_IN_A_RUN
                and numerals[until + 1][0] - numerals[until][1] <= 3
                and _BETWEEN.fullmatch(low, numerals[until][1], numerals[until + 1][0]) is not None
            ):
                until += 1
            if until > at:
                self.run(numerals[at : until + 1])
            else:
                self.numeral(start, end)
                if end - start >= 7 or (start and low[start - 1] == " "):
                    self.together(start, end, [(start, end)])
            at = until + 1

    def run(self, run: list[tuple[int, int]]) -> None:
        """Numerals that stand close together. What is surely one value is not taken apart."""
        low = self.low
        start, end = run[0][0], run[-1][1]
        if low[start + 4 : start + 5] == "-" and low[run[0][1]] == " ":
            said = readings.moment(low, start)
            if said is not None:
                self.add("dt:" + said[0], start, said[3])
        if self.together(start, end, run):
            return
        if len(run) > 4:
            for at in range(len(run) - 3):
                self.card(run[at : at + 4])
        for at, until in run:
            self.numeral(at, until)

    def card(self, run: list[tuple[int, int]]) -> None:
        """The number of a card that stands among other numerals."""
        start, end = run[0][0], run[-1][1]
        groups = _GROUP.findall(self.low[start:end])
        digits = "".join(groups)
        if [len(group) for group in groups] == [4, 4, 4, 4] and _luhn(digits):
            self.add("j:" + digits, start, end)

    def lettered(self, start: int) -> str | None:
        """Up to four letters that stand before digits, a blank between them: `C 000123`."""
        low = self.low
        if start < 2 or low[start - 1] != " " or not low[start - 2].isalpha():
            return None
        match = _LETTERS_BEFORE.search(low[max(0, start - 7) : start - 1])
        if match is None or match[1] in _NO_ID_BEGINS or match[1] in readings.CURRENCIES:
            return None
        return match[1]

    def together(self, start: int, end: int, run: list[tuple[int, int]]) -> bool:
        """What numerals say as one. Whether they surely are one, so that each by itself says nothing."""
        low = self.low
        written = low[start:end]
        if len(run) == 1 and written.isdigit():
            if len(written) >= 3:
                letters = self.lettered(start)
                if letters is not None:
                    self.add(f"x:{letters}-{written}", start - len(letters) - 1, end)
            return len(written) >= 7 and low[start - 1 : start] == "+" and self.phone(start, end, [written], written)
        groups = _GROUP.findall(written)
        digits = "".join(groups)
        size = len(digits)
        if size > 34:
            return False
        if len(run) > 1 and " " in written:
            numbers = (
                readings.number_readings(written) if len(groups[-1]) == 3 or "." in written or "," in written else []
            )
            if len(numbers) == 1:
                after = readings.suffix(low, end)
                unit = after[0].unit if after is not None else None
                until = after[1] if after is not None and unit is not None else end
                before = readings.prefix(low, start)
                if before is not None:
                    unit = before[0]
                self.number(numbers[0], before[1] if before is not None else start, until, unit)
                if "." in numbers[0]:
                    return True
        if size < 7:
            return False
        if self.phone(start, end, groups, digits):
            return True
        if len(groups) == 1 or min(map(len, groups[1:])) < 2 or any(c in written for c in ":,'"):
            return False
        if len(run) == 1 and readings.day_readings(written):
            return False
        self.add("j:" + digits, start, end)
        if len(run) > 1:
            self.add("x:" + "-".join(groups), start, end)
        if size <= 15 and len(groups) <= 5:
            self.add("p:" + (digits[1:] if digits[0] == "0" else digits), start, end)
        return 13 <= size <= 19 and len(groups[0]) == 4 and _luhn(digits)

    def phone(self, start: int, end: int, groups: list[str], digits: str) -> bool:
        """Whether digits are a telephone number with its country, which they say by `+` or `00`."""
        low = self.low
        if start and low[start - 1] == "(":
            start -= 1
        trunk = groups.index("0") if "0" in groups and "(0)" in low[start:end] else 0
        if start and low[start - 1] == "+" and groups[0][0] != "0":
            start -= 1
        elif digits.startswith("00") and digits[2:3] != "0" and len(groups) > 1:
            groups = [groups[0][2:], *groups[1:]]
        else:
            return False
        digits = "".join(group for n, group in enumerate(groups) if not trunk or n != trunk)
        if not 7 <= len(digits) <= 15:
            return False
        self.add("p:+" + digits, start, end)
        self.add("pt:" + digits[readings.country_code(digits) :], start, end)
        return True

    # -- words that say numbers and months ---------------------------------------------------------------------------

    def noted(self, noted: list[tuple[str, int, int]]) -> None:
        run: list[int] = []
        began = ended = 0
        for word, start, end in sorted(noted, key=_place):
            month = readings.MONTHS.get(word)
            if month is not None:
                for key, first, last in readings.named_day(self.low, start, end, month):
                    self.add("d:" + key, first, last)
                    if key[0] != "-":
                        self.covered.update(range(first, last))
            value = readings.NUMBER_WORDS.get(word)
            if value is None:
                continue
            if run and not (self.low[ended:start] in (" ", "-", " and ") and _goes_on(run[-1], value)):
                self.spoken(run, began, ended)
                run = []
            if not run:
                began = start
            run.append(value)
            ended = end
        if run:
            self.spoken(run, began, ended)

    def spoken(self, run: list[int], start: int, end: int) -> None:
        if len(run) > 1 or run[0] < 100:
            after = readings.suffix(self.low, end)
            unit = after[0].unit if after is not None else None
            self.add(f"n:{readings.spoken(run)}", start, end if after is None or unit is None else after[1], unit)


def _place(one: tuple[str, int, int]) -> int:
    return one[1]


def _goes_on(before: int, value: int) -> bool:
    """Whether a number word goes on with the number that the one before it says."""
    if value >= 100:
        return (before != value and before not in (100, 12)) or before == 100 < value
    return before >= 100 or (20 <= before < 100 and value < 10)


def _luhn(digits: str) -> bool:
    """Whether the check digit of a card's number is right (ISO/IEC 7812-1)."""
    doubled = [int(d) * 2 for d in digits[-2::-2]]
    return (sum(d - 9 if d > 9 else d for d in doubled) + sum(map(int, digits[::-2]))) % 10 == 0


def _id_form(part: str) -> Form:
    if len(part) in (32, 36) and _UUID.fullmatch(part):
        return "x:" + part.replace("-", "")
    return "x:" + "-".join(_GROUP.findall(part if part.isascii() else part.casefold()))


# -- values ---------------------------------------------------------------------------------------------------------

_SIMPLE_EMAIL = re.compile(r"[a-z][a-z0-9._+-]{0,63}@[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_NORTH_AMERICAN = re.compile(r"(?:1[ .-])?\(?\d{3}\)?[ .-] ?\d{3}[ .-]\d{4}")
_ISO_DAY = re.compile(r"[12]\d{3}-\d\d-\d\d")
_SIMPLE_ID = re.compile(r"#?([a-z]+)[-_ ]?([0-9]+)")


def forms_of(value: Any, shape: Shape | None = None) -> tuple[Form, ...]:
    """The forms of a scalar; none for null, lists, objects and free text of more than `MOST_OF_A_VALUE` characters.

    The shape tells what text means: an entity's key is an id, whatever it looks like; text without a format or a unit
    is a number only where the contract does not say that it is text.
    """
    if isinstance(value, str):
        return _forms_of_text(value, shape)
    if isinstance(value, bool):
        return ("w:true",) if value else ("w:false",)
    if isinstance(value, int):
        if abs(value) >= 10**40:
            return ()
        if shape is not None and shape.entity is not None:
            return (f"x:{value}",)
        return (f"n:{value}", f"x:{value}") if value >= 0 else (f"n:{value}",)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")) or abs(value) > 1e40:
            return ()
        return _forms_of_decimal(Decimal(repr(value)), shape)
    if isinstance(value, Decimal):
        return _forms_of_decimal(value, shape) if value.is_finite() and abs(value.adjusted()) <= 40 else ()
    if isinstance(value, datetime):
        return ("dt:" + readings.moment_key(value),)
    if isinstance(value, date):
        return ("d:" + value.isoformat(),)
    if isinstance(value, time):
        return ("t:" + (f"{value:%H:%M:%S}" if value.second else f"{value:%H:%M}"),)
    return ()


def _forms_of_decimal(value: Decimal, shape: Shape | None) -> tuple[Form, ...]:
    key = readings.number_key(value)
    if shape is not None and shape.entity is not None:
        return ("x:" + key,)
    return ("n:" + key,)


def _forms_of_text(value: str, shape: Shape | None) -> tuple[Form, ...]:
    if len(value) > MOST_OF_A_VALUE:
        return ()
    if value.isascii():
        if value.isalpha():
            return ("w:" + value.lower(),)
        low = value.lower()
        if low.replace(" ", "").isalpha():
            said = low.split()
            if not any(word in _NOTED for word in said):
                return ("w:" + " ".join(said),)
        elif _SIMPLE_EMAIL.fullmatch(low):
            return ("e:" + low,)
        elif low[4:5] == "-" and (shape is None or shape.entity is None) and _ISO_DAY.fullmatch(low):
            day = readings.day_key(int(low[:4]), int(low[5:7]), int(low[8:]))
            if day is not None:
                return ("d:" + day,)
        simple = _SIMPLE_ID.fullmatch(low)
        if simple is not None and len(value) < 15 and simple[1] not in _NOTED and simple[1] not in readings.CURRENCIES:
            return (f"x:{simple[1]}-{simple[2]}",)
        if low.isdigit() and shape is not None and shape.unit is None and shape.type != "any":
            return ("x:" + low,)
    text = clean(value)[0].strip()
    if not text:
        return ()
    whole = len(text)
    start = 1 if text[0] == "#" else 0
    found = [one.form for one in _Scan(text).found if one.end == whole and one.start <= start]
    kept = _by_shape(found, shape, text)
    if kept:
        return kept
    said = split_words(text)
    return ("w:" + " ".join(said),) if said else ("w:" + " ".join(text.lower().split()),)


def _by_shape(found: list[Form], shape: Shape | None, text: str) -> tuple[Form, ...]:
    """Those of the readings of a whole text that its meaning allows."""
    kinds: dict[str, list[Form]] = {}
    for form in found:
        if not form.startswith(("j:", "xd:", "pt:", "u:*", "d:--")):
            inside = kinds.setdefault(form.partition(":")[0], [])
            if form not in inside:
                inside.append(form)
    if "p" in kinds and text[0] not in "+0(" and _NORTH_AMERICAN.fullmatch(text) is None:
        del kinds["p"]  # digits in groups, but nothing says that they are a telephone number
    if not kinds:
        return ()
    if shape is not None and shape.entity is not None:
        order: tuple[tuple[str, ...], ...] = (("x", "i"), ("e",), ("u",))
    elif shape is not None and shape.type == "string" and shape.unit is None:
        ids = ("i", "x", "p")
        order = (("e",), ("dt",), ("d",), ("t",), ("u",), ids, ("p",), ("n",))
    else:
        order = (("e",), ("dt",), ("d",), ("t",), ("u",), ("n", "i", "x", "p"))
    for wanted in order:
        kept = [form for kind in wanted for form in kinds.get(kind, ())]
        if kept:
            return tuple(kept)
    return tuple(kinds.get("w", ())) if len(kinds) == 1 else ()


_ALL_BEGIN = re.compile(r"\^?#?([A-Za-z]{1,6})[-_]?(?:\[0-9\]|\\d)(?:[+*]|\{\d+(?:,\d*)?\})\$?")


@lru_cache(maxsize=1024)
def _letters_of_all(pattern: str) -> str:
    """The letters with which all ids of a pattern such as `C-[0-9]{6}` begin; empty where there are none."""
    match = _ALL_BEGIN.fullmatch(pattern)
    return match[1].lower() if match is not None else ""


def sought(value: Any, shape: Shape | None = None) -> tuple[Form, ...]:
    """The forms by which a value is looked up: its own, and the looser ones that only a text has.

    A day is found without its year, a telephone number without its country, a link without its scheme, digits however
    they are grouped, and an id without its letters where its pattern says that all ids of the kind begin with them.
    """
    own = forms_of(value, shape)
    more: list[Form] = []
    for form in own:
        kind = form[:2]
        if kind == "d:":
            more.append("d:-" + form[6:])
        elif kind == "x:":
            rest = form[2:]
            if rest.isdigit():
                if len(rest) >= 7:
                    more.append("j:" + rest)
            elif len(rest) > 7 and (joined := rest.replace("-", "")).isdigit():
                more.append("x:" + joined)
            elif shape is not None and shape.pattern is not None:
                letters = _letters_of_all(shape.pattern)
                digits = rest[len(letters) + 1 :]
                if letters and rest.startswith(letters + "-") and digits.isdigit() and len(digits) >= _LEAST_BARE:
                    more.append("xd:" + digits)
        elif kind == "p:":
            if form[2] == "+":
                digits = form[3:]
                more.append("p:" + digits[readings.country_code(digits) :])
                if digits[0] == "1":
                    more.append("p:" + digits)
            else:
                more.append("pt:" + form[2:])
        elif kind == "u:":
            if form.startswith(("u:https://", "u:http://")):
                more.append("u:" + form[form.index("//") :])
            elif form.startswith("u://"):
                more.append("u:*" + form[2:])
    return (*own, *more) if more else own


def seen(value: Any, shape: Shape | None = None) -> tuple[Form, ...]:
    """The forms under which a typed value is kept: its own, and those by which shorter ways of writing it ask."""
    own = forms_of(value, shape)
    more: list[Form] = list(parts(value, shape))
    for form in own:
        if form.startswith("p:+"):
            digits = form[3:]
            more.append("pt:" + digits[readings.country_code(digits) :])
        elif form.startswith(("u:https://", "u:http://")):
            more.append("u:*" + form[form.index("//") :])
        elif len(form) > 9 and form[0] == "x" and "-" in form and (joined := form[2:].replace("-", "")).isdigit():
            more.append("j:" + joined)
    return (*own, *more) if more else own


def parts(value: Any, shape: Shape | None = None) -> tuple[Form, ...]:
    """The forms that say a value together: the day and the hour of a moment, as they are written. Else none.

    "on 31 March at 2:30 pm" says 2026-03-31T14:30:00 although nobody wrote the moment as one.
    """
    if isinstance(value, datetime):
        return ("d:" + value.date().isoformat(), "t:" + readings.hour_key(value))
    if isinstance(value, str) and 16 <= len(value) <= 40 and value[4] == "-":
        said = readings.moment(value.lower(), 0)
        if said is not None and said[3] == len(value):
            return ("d:" + said[1], "t:" + said[2])
    return ()


# -- reading out ----------------------------------------------------------------------------------------------------

_MASKED = re.compile(r"(?:[*•…#]|(?<![^\W_])x{2,}|\.{2,})[ -]?$")
_TAIL_WORDS = frozenset(
    _each(
        "ending ends end last digits four in with card account iban konto karte number no nr nummer kontonummer compte"
        " carte cuenta tarjeta endet endend endung auf mit letzte letzten vier ziffern"
    )
)
_LONG_ID = 8


def mentions(text: str, value: Any, shape: Shape | None = None) -> bool:
    """Whether a text reads a value out, so that whoever says yes to the text says yes to the value.

    In any way of writing that `scan` knows; words as a phrase; of an id of at least eight letters and digits the last
    four do, where the text says that they are an ending ("•••• 3000", "the account ending in 3000"). A number beside
    another currency than the shape's is another amount. Lists and objects: all that is in them.
    """
    if value is None:
        return True
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        return all(mentions(text, inner, _inner(shape, name)) for name, inner in fields.items())
    if isinstance(value, list | tuple):
        items = cast("Sequence[Any]", value)
        return all(mentions(text, inner, shape.items if shape is not None else None) for inner in items)
    return _Read(text).says(value, shape)


def _inner(shape: Shape | None, name: str) -> Shape | None:
    return None if shape is None else shape.fields.get(name) or shape.extra


_YES = {True: ("true", "yes", "on", "ja", "oui", "sí"), False: ("false", "no", "off", "nein", "non", "without", "ohne")}


class _Read:
    """A text that is asked what it reads out."""

    __slots__ = ("by_form", "said", "text")

    def __init__(self, text: str) -> None:
        self.text = clean(text[:MOST_SCANNED])[0]
        self.said = split_words(self.text)
        self.by_form: dict[Form, list[Found]] = {}
        for one in _Scan(self.text).found:
            self.by_form.setdefault(one.form, []).append(one)

    def says(self, value: Any, shape: Shape | None) -> bool:
        if isinstance(value, bool):
            return any("w:" + word in self.by_form for word in _YES[value])
        asked = sought(value, shape)
        unit = shape.unit if shape is not None else None
        for form in asked:
            for one in self.by_form.get(form, ()):
                if form[0] != "n" or readings.same_unit(one.unit, unit):
                    return True
        apart = parts(value, shape)
        if apart and all(self.part(form) for form in apart):
            return True
        if any(form[0] in "xi" and self.ending(form) for form in asked):
            return True
        if isinstance(value, str):
            phrase = split_words(clean(value)[0])
            return bool(phrase) and (not asked or asked[0][:2] == "w:") and _stands_in(phrase, self.said)
        return False

    def part(self, form: Form) -> bool:
        return form in self.by_form or (form[:2] == "d:" and "d:-" + form[6:] in self.by_form)

    def ending(self, form: Form) -> bool:
        whole = form[2:].replace("-", "").lower()
        if len(whole) < _LONG_ID:
            return False
        low = self.text.lower()
        tail = whole[-4:]
        at = low.find(tail)
        while at >= 0:
            after = low[at + 4 : at + 5]
            if not after.isalnum():
                before = low[max(0, at - 40) : at]
                if _MASKED.search(before):
                    return True
                if (
                    not before[-1:].isalnum()
                    and before[-1:] not in "-.,/"
                    and set(split_words(before)[-2:]) & _TAIL_WORDS
                ):
                    return True
            at = low.find(tail, at + 1)
        return False


def _stands_in(phrase: list[str], said: list[str]) -> bool:
    size = len(phrase)
    if size == 1:
        return phrase[0] in said
    return f" {' '.join(phrase)} " in f" {' '.join(said)} "
