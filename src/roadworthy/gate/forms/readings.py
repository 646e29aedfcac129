"""How numbers, days, hours, telephone numbers, accounts and links are written, and what they say.

Everything here takes text that `wording.clean` has seen, in lower case unless it says otherwise, and gives canonical
parts. Each pattern is bounded, so that a hostile text costs no more than an ordinary one.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_to_bytes

MOST_DIGITS = 18
"""Longer numerals are ids, not amounts."""


def _each(names: str) -> list[str]:
    return names.split()


# -- numbers --------------------------------------------------------------------------------------------------------

CURRENCIES = {
    **{
        code: code.upper()
        for code in _each(
            "eur usd gbp chf jpy cny inr sek nok dkk pln czk huf aud cad nzd sgd hkd brl mxn zar try ils krw thb ron"
            " bgn aed sar php idr myr uah btc eth"
        )
    },
    **dict.fromkeys(("€", "euro", "euros"), "EUR"),
    **dict.fromkeys(("$", "dollar", "dollars", "bucks"), "$"),
    **dict.fromkeys(("£", "pound", "pounds", "quid"), "GBP"),
    **dict.fromkeys(("¥", "yen"), "JPY"),
    **dict.fromkeys(("franken", "francs", "fr"), "CHF"),
    **dict.fromkeys(("₹", "rupees", "rupee"), "INR"),
    "us$": "USD",
    "₺": "TRY",
    "₩": "KRW",
    "₪": "ILS",
}
"""How currencies are written, and their codes; `$` is that of any country that calls its money so."""
_DOLLARS = frozenset({"USD", "AUD", "CAD", "NZD", "SGD", "HKD", "MXN", "BRL", "$"})
_SCALES = {
    "k": 1000,
    **dict.fromkeys(("thousand", "tausend", "tsd", "mille", "mil"), 1000),
    **dict.fromkeys(("million", "millions", "millionen", "mio", "mln", "millones", "milioni"), 10**6),
    **dict.fromkeys(("billion", "billions", "milliarde", "milliarden", "mrd"), 10**9),
}
_HALVES = ("am", "a.m.", "a.m", "pm", "p.m.", "p.m")
_CLOCKS = ("uhr", "o'clock", "h")


_SYMBOLS = "%€$£¥₹₺₩₪"
_NEXT = re.compile(rf" ?([^\W\d_]+(?:\.m\.?|'clock|\$)?|[{_SYMBOLS}])(?![^\W_])")


class Suffix(NamedTuple):
    """What stands after a numeral: a unit, a scale such as `million`, or the half of a day."""

    unit: str | None = None
    scale: int | None = None
    clock: str | None = None


_SUFFIXES: dict[str, Suffix] = {
    "%": Suffix(unit="%"),
    **{word: Suffix(unit=code) for word, code in CURRENCIES.items()},
    **{word: Suffix(scale=scale) for word, scale in _SCALES.items()},
    **{word: Suffix(clock=word) for word in (*_HALVES, *_CLOCKS)},
}


def suffix(text: str, at: int) -> tuple[Suffix, int] | None:
    """What belongs to the numeral that ends at a place, and where that ends."""
    match = _NEXT.match(text, at)
    if match is None:
        return None
    found = _SUFFIXES.get(match[1])
    if found is None:
        return None
    end = match.end()
    if found.scale is None:
        return found, end
    if text[end : end + 1] == ".":
        end += 1
    after = _NEXT.match(text, end)
    unit = CURRENCIES.get(after[1]) if after is not None else None
    return (Suffix(unit=unit, scale=found.scale), after.end()) if after is not None and unit else (found, end)


def prefix(text: str, at: int) -> tuple[str, int] | None:
    """The currency that stands before a numeral, and where it begins."""
    if at == 0:
        return None
    last = at - 1 if text[at - 1] == " " else at
    since = max(0, last - 9)
    start = text.rfind(" ", since, last) + 1
    if not start and since:
        return None
    word = text[start:last]
    unit = CURRENCIES.get(word)
    if unit is None and word and not word[0].isalpha():
        cut = len(word) - len(word.lstrip("([{<\"'=:+-*~_"))
        start, unit = start + cut, CURRENCIES.get(word[cut:])
    if unit is None and word and word[-1] in _SYMBOLS:
        start, unit = last - 1, CURRENCIES.get(word[-1])
    return (unit, start) if unit is not None else None


def same_unit(said: str | None, meant: str | None) -> bool:
    """Whether a currency that was said does not contradict the one that is meant."""
    if said is None or meant is None or said == meant.upper():
        return True
    return "$" in (said, meant) and said in _DOLLARS and meant.upper() in _DOLLARS


def number_key(value: Decimal) -> str:
    """A number in the one way of writing it: without trailing zeros and exponents."""
    return shortest(format(value, "f"))


def shortest(text: str) -> str:
    """A number as it is written in Python, without zeros that say nothing."""
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


_DECIMAL_TAIL = re.compile(r"(\d+)[.,](\d+)")
_GROUPS = {
    # By what groups: groups of three, or two and at last three as in India; then an optional fraction.
    group: re.compile(
        rf"(\d{{1,3}}(?:{re.escape(group)}\d{{3}})+|\d{{1,2}}(?:{re.escape(group)}\d\d)+{re.escape(group)}\d{{3}})(?:{fraction}(\d+))?"
    )
    for group, fraction in ((",", r"\."), (".", ","), ("'", r"[.,]"), (" ", r"[.,]"))
}
_EITHER = re.compile(r"([1-9]\d{0,2})([.,])(\d{3})")


def number_readings(written: str) -> list[str]:
    """The numbers that a numeral may say, as they are written in Python; the second reading is that of a fraction.

    `1,234` has two: some write thousands so, some fractions. `1,234.5` and `1.234,5` have one, `1.2.3` has none.
    """
    if len(written) > 2 * MOST_DIGITS:
        return []
    either = _EITHER.fullmatch(written)
    if either is not None:
        return [either[1] + either[3], f"{either[1]}.{either[3]}"]
    tail = _DECIMAL_TAIL.fullmatch(written)
    if tail is not None:
        whole = tail[1]
        return [f"{whole}.{tail[2]}"] if whole == "0" or whole[0] != "0" else []
    for group, pattern in _GROUPS.items():
        if group in written:
            match = pattern.fullmatch(written)
            if match is not None and written[0] != "0":
                whole = match[1].replace(group, "")
                return [f"{whole}.{match[2]}" if match[2] else whole]
    return []


_COUNTED = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen",
    ". eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    "zéro . deux trois quatre cinq . sept huit neuf dix",
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez",
)
NUMBER_WORDS: dict[str, int] = {
    **{word: n for names in _COUNTED for n, word in enumerate(_each(names)) if word != "."},
    **{word: 10 * n for n, word in enumerate(_each("twenty thirty forty fifty sixty seventy eighty ninety"), 2)},
    **{"hundred": 100, "thousand": 1000, "million": 10**6, "dozen": 12, "eine": 1, "einen": 1},
}
"""Numbers in words. Left out are words that mean something else more often, such as `un` and `six` in French."""


def spoken(found: list[int]) -> int:
    """The number that number words say one after the other: `two hundred forty two`."""
    total = current = 0
    for value in found:
        if value == 100:
            current = (current or 1) * 100
        elif value >= 1000:
            total, current = total + (current or 1) * value, 0
        else:
            current += value
    return total + current


# -- days and hours -------------------------------------------------------------------------------------------------

_MONTH_NAMES = (
    "january jan januar jänner janvier janv enero ene gennaio gen januari janeiro",
    "february feb februar février fevrier fév febrero febbraio febr februari fevereiro",
    "march mar märz maerz mrz mars marzo maart mrt março",
    "april apr avril avr abril abr aprile",
    "may mai mayo maggio mag mei maio",
    "june jun juni juin junio giugno giu junho",
    "july jul juli juillet juil julio luglio lug julho",
    "august aug août aout agosto ago augustus",
    "september sep sept septembre septiembre settembre set setembro",
    "october oct oktober okt octobre octubre ottobre ott outubro",
    "november nov novembre noviembre novembro",
    "december dec dezember dez décembre déc diciembre dic dicembre desember dezembro",
)
MONTHS: dict[str, int] = {name: n for n, names in enumerate(_MONTH_NAMES, 1) for name in names.split()}
_DAY_BEFORE = re.compile(r"(?:^|[^\w.,:/-])(?P<day>[0-3]?\d)(?:(?:st|nd|rd|th|er|º|°)|\.)?(?: ?(?:of|de|do) ?| ?-? ?)$")
_YEAR_AFTER = re.compile(r"\.?,?(?: (?:of|de|del|do) |[ -])?(?:(?P<year>[12]\d{3})|'(?P<short>\d\d))(?![\w:]|[.,/-]\d)")
_DAY_AFTER = re.compile(
    r"\.?(?: the)? (?P<day>[0-3]?\d)(?:st|nd|rd|th)?(?![\w:]|[.,/-]\d)"
    r"(?:(?:,| of)? (?P<year>[12]\d{3})(?![\w:]|[.,/-]\d))?"
)
_NUMERIC_DAY = re.compile(r"(\d{1,4})([-./])(\d{1,2})\2(\d{1,4})")
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[t ](\d\d:\d\d(?::\d\d)?)(?:[.,]\d{1,9})?(?: ?(z|utc|gmt|[+-]\d\d:?\d\d))?(?![\w:])"
)
_EAST_ASIAN_DAY = re.compile(r"(\d{4})[年년] ?(\d{1,2})[月월] ?(\d{1,2})[日일]")
_CLOCK = re.compile(r"(\d{1,2})(?:[:.h](\d\d))?(?::(\d\d))?(am|pm|h)?")


def day_key(year: int | None, month: int, day: int) -> str | None:
    """`2026-03-31`, or `--03-31` where no year was said; None where there is no such day."""
    try:
        found = date(year if year is not None else 2000, month, day)
    except ValueError:
        return None
    return f"--{month:02d}-{day:02d}" if year is None else found.isoformat()


def _year(text: str) -> int | None:
    if len(text) == 4:
        return int(text) if text[0] in "12" else None
    return (2000 if int(text) < 70 else 1900) + int(text) if len(text) == 2 else None


def day_readings(written: str) -> list[tuple[str, str]]:
    """The days that a numeral such as `31.03.2026`, `3/31/26` or `3/31` may say, each with the order of its parts.

    `03/04/2026` has two readings: day first (`dmy`) and month first (`mdy`). With dots the day comes first.
    """
    match = _NUMERIC_DAY.fullmatch(written)
    if match is None:
        first, _, second = written.partition("/")
        if not (first.isdigit() and second.isdigit() and len(first) < 3 and len(second) < 3):
            return []
        found = [(day_key(None, int(second), int(first)), "dmy"), (day_key(None, int(first), int(second)), "mdy")]
    else:
        first, sep, second, third = match.groups()
        if len(first) == 4:
            year = _year(first)
            found = [(day_key(year, int(second), int(third)) if year and len(third) < 3 else None, "ymd")]
        else:
            year = _year(third)
            if year is None or len(first) > 2:
                return []
            found = [(day_key(year, int(second), int(first)), "dmy")]
            if sep != ".":
                found.append((day_key(year, int(first), int(second)), "mdy"))
    readings = [(key, order) for key, order in found if key is not None]
    return readings[:1] if len(readings) == 2 and readings[0][0] == readings[1][0] else readings


def compact_day(digits: str) -> str | None:
    """The day that eight digits in a row may say, year first."""
    if len(digits) != 8 or digits[:2] not in ("19", "20"):
        return None
    return day_key(int(digits[:4]), int(digits[4:6]), int(digits[6:]))


def named_day(text: str, start: int, end: int, month: int) -> Iterator[tuple[str, int, int]]:
    """The days said around the name of a month, each with its place."""
    low = max(0, start - 16)
    before = _DAY_BEFORE.search(text[low:start])
    if before is not None:
        year = _YEAR_AFTER.match(text, end)
        said = None if year is None else int(year["year"]) if year["year"] else _year(year["short"])
        key = day_key(said, month, int(before["day"]))
        if key is not None:
            yield key, low + before.start("day"), end if year is None else year.end()
    after = _DAY_AFTER.match(text, end)
    if after is not None and not (before is not None and after["year"] is None):
        key = day_key(int(after["year"]) if after["year"] else None, month, int(after["day"]))
        if key is not None:
            yield key, start, after.end()


def east_asian_day(text: str, start: int) -> tuple[str, int] | None:
    """The day that `2026年3月31日` says, and where it ends."""
    match = _EAST_ASIAN_DAY.match(text, start)
    key = day_key(int(match[1]), int(match[2]), int(match[3])) if match is not None else None
    return (key, match.end()) if match is not None and key is not None else None


def hour_keys(hour: int, minute: int, second: int, half: str | None, *, sure: bool = True) -> list[str]:
    """`14:30`, or `14:30:05`; both halves of the day where neither was said and the hour stands without a zero."""
    if half is not None and half[:1] in "ap" and not 1 <= hour <= 12:
        return []
    if not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59):
        return []
    tail = f":{minute:02d}" + (f":{second:02d}" if second else "")
    if half is not None and half[:1] in "ap":
        return [f"{hour % 12 + (12 if half[0] == 'p' else 0):02d}{tail}"]
    if not sure and half is None and 1 <= hour <= 11:
        return [f"{hour:02d}{tail}", f"{hour + 12:02d}{tail}"]
    return [f"{hour:02d}{tail}"]


def clock(written: str, half: str | None) -> list[str]:
    """The hours that `14:30`, `2.30` before `pm`, `2pm` or `14h30` may say."""
    match = _CLOCK.fullmatch(written)
    if match is None:
        return []
    half = match[4] or half
    if match[2] is None and half is None:
        return []
    if "." in written and half is None:
        return []
    if "h" in written and half is None:
        half = "h"
    return hour_keys(
        int(match[1]), int(match[2] or 0), int(match[3] or 0), half, sure=len(match[1]) == 2 or "h" in written
    )


def moment(text: str, start: int) -> tuple[str, str, str, int] | None:
    """A moment such as `2026-03-31T14:30:00+02:00`: its key, its day and hour as written, and its end."""
    match = _MOMENT.match(text, start)
    if match is None:
        return None
    zone = match[3]
    try:
        at = datetime.fromisoformat(f"{match[1]}t{match[2]}")
        if zone is not None:
            offset = "+00:00" if zone in ("z", "utc", "gmt") else zone
            moved = datetime.fromisoformat(f"{match[1]}t{match[2]}{offset}").astimezone(UTC)
            return moment_key(moved), match[1], hour_key(at), match.end()
    except (ValueError, OverflowError):
        return None
    return moment_key(at), match[1], hour_key(at), match.end()


def moment_key(at: datetime) -> str:
    """`2026-03-31T12:30:00Z`, in UTC; without `Z` where no zone is known. Parts of a second are left out."""
    if at.tzinfo is None:
        return at.isoformat(timespec="seconds")
    try:
        at = at.astimezone(UTC)
    except OverflowError:  # the first and the last day of the calendar
        return at.isoformat(timespec="seconds")
    return at.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def hour_key(at: datetime) -> str:
    """The hour of a moment as it was written."""
    return f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"


# -- telephone numbers and accounts ---------------------------------------------------------------------------------

_TWO_DIGIT_CODES = frozenset(
    _each(
        "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86"
        " 90 91 92 93 94 95 98"
    )
)


def country_code(digits: str) -> int:
    """How many digits of an international number are its country's (ITU-T E.164)."""
    if digits[:1] in ("1", "7"):
        return 1
    return 2 if digits[:2] in _TWO_DIGIT_CODES else 3


IBAN = re.compile(r"[a-z]{2}\d\d[a-z0-9]{11,30}")
"""An account number as in ISO 13616, unbroken."""
_GROUPED_IBAN = re.compile(r"[a-z]{2}\d\d((?:[ -][a-z0-9]{4}){2,7})((?:[ -][a-z0-9]{1,3})?)(?![^\W_])")


def valid_iban(text: str) -> bool:
    """Whether the check digits of an account number are right (ISO 7064, MOD 97-10)."""
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def grouped_iban(text: str, start: int) -> list[tuple[str, int]]:
    """The account numbers that begin at a place and are written in groups of four, each with its end.

    Where check digits are right for some ends, those; else the longest whose groups look like parts of a number.
    """
    match = _GROUPED_IBAN.match(text, start)
    if match is None:
        return []
    ends = [match.end(), *range(match.end(1), start + 13, -5)]
    found: list[tuple[str, int]] = []
    for end in dict.fromkeys(ends):
        key = text[start:end].replace(" ", "").replace("-", "")
        if len(key) >= 15 and valid_iban(key):
            found.append((key.upper(), end))
    if not found:
        end = match.end() if any(c.isdigit() for c in match[2]) else match.end(1)
        key = text[start:end].replace(" ", "").replace("-", "")
        if len(key) >= 15 and sum(c.isdigit() for c in key) * 2 > len(key):
            found.append((key.upper(), end))
    return found


# -- links ----------------------------------------------------------------------------------------------------------

LINK = re.compile(
    r"(?:(?:https?|hxxps?|ftps?|wss?):[/\\]*|[a-z][a-z0-9+.-]{1,15}://|(?<![\w:/\\])[/\\]{2}(?=[\w-]{1,63}\.)|www\."
    r"|(?:javascript|vbscript|data):)"
    r"[^\s<>\"`]+",
    re.IGNORECASE,
)
HOST = re.compile(
    r"(?<![\w@.%+-])(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}([a-z]{2,24})(?![\w-])(?::\d{1,5})?(?:[/?#][^\s<>\"`]*)?"
)
_GENERIC = frozenset(
    _each(
        "com org net edu gov mil int info biz name pro app dev page web online site shop store cloud tech blog email"
        " link live news wiki xyz top icu club agency digital global world group services support systems solutions"
        " software io ai example test localhost zip mov"
    )
)
_NO_COUNTRY = frozenset(
    _each(
        "am an as at be by do he if is it me my no or so to us we pm py md sh rs pl ps cc js ts gz go cs db vb hs ml mk"
        " ad id pt tv"
    )
)
_PORTS = {"http": "80", "https": "443", "ftp": "21", "ws": "80", "wss": "443"}
_UNRESERVED = re.compile(r"%(2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])")
_SPLIT = re.compile(
    r"(?:(https?|hxxps?|ftps?|wss?|[a-z][a-z0-9+.-]*(?=:[/\\]))(?::))?[/\\]*([^/\\?#]*)([^?#]*)(.*)",
    re.DOTALL | re.IGNORECASE,
)
_TRAIL = ".,;:!?'\"*_~"


def ends_as_host(top: str, bare_host: bool) -> bool:
    """Whether a name ends as hosts do. Words that begin a sentence without a blank before are no top-level domains."""
    return top in _GENERIC or (len(top) == 2 and (not bare_host or top not in _NO_COUNTRY))


GLUED = re.compile(r"(?<=[a-z0-9/])\.[A-Z][a-z]*$")
"""The end of a sentence and the first word of the next, where nobody put a blank between them."""


def trim_link(text: str) -> str:
    """A link as it stands in a sentence, without the punctuation that belongs to the sentence."""
    end = len(text)
    unopened = {close: text.count(close) - text.count(start) for start, close in ("()", "[]", "{}")}
    while end:
        last = text[end - 1]
        if unopened.get(last, 0) > 0:
            unopened[last] -= 1
        elif last not in _TRAIL:
            break
        end -= 1
    return text[:end]


def _host(text: str) -> str:
    with contextlib.suppress(UnicodeDecodeError):
        text = unquote(text, errors="strict")
    text = text.lower().replace("[.]", ".").rstrip(".")
    if text.isascii():
        return text
    labels: list[str] = []
    for label in text.split("."):
        try:
            labels.append(label if label.isascii() else "xn--" + label.encode("punycode").decode())
        except UnicodeError:
            labels.append(label)
    return ".".join(labels)


def _dots(path: str) -> str:
    """A path without `.` and `..` (RFC 3986, section 5.2.4)."""
    kept: list[str] = []
    parts = path.split("/")
    for part in parts[1:]:
        if part == "..":
            if kept:
                kept.pop()
        elif part != ".":
            kept.append(part)
    if parts[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _percent(text: str) -> str:
    """Percent-encoding in one way: what needs none has none, the rest is in capitals."""
    text = re.sub(r"%[0-9A-Fa-f]{2}", lambda m: m[0].upper(), text)
    text = _UNRESERVED.sub(lambda m: unquote_to_bytes(m[0]).decode("ascii"), text)
    return text if text.isascii() else quote(text, safe="%/?#[]@!$&'()*+,;=:~", errors="replace")


def link_parts(text: str) -> tuple[str, str]:
    """The scheme of a link in lower case (empty where it has none), and the rest in one way of writing it.

    Host without case, international names as in DNS (RFC 3492), no usual port, no dot segments; user names before the
    host, the query and the fragment stay: they make another link.
    """
    match = _SPLIT.fullmatch(text)
    if match is None:
        return "", text
    scheme, authority, path, rest = match.groups()
    scheme = (scheme or "").lower().replace("hxxp", "http")
    if scheme in ("javascript", "vbscript", "data"):
        return scheme, text.partition(":")[2]
    user, at, host = authority.rpartition("@")
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name, port = host, ""
    if port == _PORTS.get(scheme, ""):
        port = ""
    path = _dots(path.replace("\\", "/")) if path else "/"
    where = f"{user}{at}{_host(name)}" + (f":{port}" if port else "")
    return scheme, f"{where}{_percent(path)}{_percent(rest)}"


# -- mail addresses -------------------------------------------------------------------------------------------------

_LOCAL = r"[\w.!#$%&*+/=?^`{|}~'-]"
EMAIL = re.compile(rf"(?<!{_LOCAL})({_LOCAL}{{1,64}})@((?:[\w-]{{1,63}}\.){{0,8}}[\w-]{{1,63}})")


def email_keys(local: str, domain: str) -> list[tuple[str, int]]:
    """The addresses that `local@domain` may be, each with how many characters before it are something else."""
    host = _host(domain)
    found: list[tuple[str, int]] = []
    start = len(local) - len(local.lstrip("'`*_/|{="))
    found.append((f"{local[start:]}@{host}", start))
    cut = max(local.rfind(c) for c in "=/?&|") + 1
    if cut > start and cut < len(local):
        found.append((f"{local[cut:]}@{host}", cut))
    return [(key, skipped) for key, skipped in found if not key.startswith("@")]
