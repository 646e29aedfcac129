"""What people say instead of a date or a number: "tomorrow", "next Friday", "for two hours", "a third of it".

Only words of a closed list are read. A word that is missing costs a question to the user; a word that is read wrongly
would let a date through that nobody meant, so a reading must be exact: a day, or the days of one week or month.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache

from roadworthy.gate.forms import words

_COUNTS = {
    word: n
    for n, written in enumerate(
        (
            "zero null cero zéro", "one a an ein eine einen einem einer un une una uno", "two couple zwei deux dos",
            "three drei trois tres", "four vier quatre cuatro", "five fünf cinq cinco", "six sechs seis",
            "seven sieben sept siete", "eight acht huit ocho", "nine neun neuf nueve", "ten zehn dix diez",
            "eleven elf onze once", "twelve dozen zwölf dutzend douze doce",
        )
    )
    for word in written.split()
}  # fmt: skip
_ARTICLES = frozenset(("a", "an", "ein", "eine", "einen", "einem", "einer", "un", "une", "una", "uno", "once"))
"""Words that count only beside a unit."""
_DAYS = {
    "today": 0, "tonight": 0, "heute": 0, "hoy": 0, "tomorrow": 1, "demain": 1, "mañana": 1, "übermorgen": 2,
    "yesterday": -1, "gestern": -1, "hier": -1, "ayer": -1, "vorgestern": -2, "overmorrow": 2,
}  # fmt: skip
_WEEKDAYS = {
    word: n
    for n, written in enumerate(
        (
            "monday mondays mon montag montags lundi lunes",
            "tuesday tuesdays tue tues dienstag dienstags mardi martes",
            "wednesday wednesdays wed mittwoch mittwochs mercredi miércoles",
            "thursday thursdays thu thurs donnerstag donnerstags jeudi jueves",
            "friday fridays fri freitag freitags vendredi viernes",
            "saturday saturdays sat samstag sonnabend samedi sábado",
            "sunday sundays sonntag sonntags dimanche domingo",
        )
    )
    for word in written.split()
}  # fmt: skip
_UNITS = {
    word: unit
    for unit, written in {
        "minute": "minute minutes min mins minuten minuto minutos",
        "hour": "hour hours hr hrs h stunde stunden heure heures hora horas",
        "day": "day days tag tage tagen jour jours día días",
        "week": "week weeks woche wochen semaine semaines semana semanas",
        "fortnight": "fortnight fortnights",
        "month": "month months monat monate monaten mois mes meses",
        "year": "year years jahr jahre jahren année ans año años",
    }.items()
    for word in written.split()
}
_SIDES = {
    word: side
    for side, written in {
        1: "next coming following nächste nächsten nächster nächstes kommende kommenden prochain prochaine próximo",
        0: "this current diese diesen dieser dieses ce cette este esta",
        -1: "last past previous letzte letzten letzter letztes vorige vorigen dernier dernière pasado pasada",
    }.items()
    for word in written.split()
}
_EXTREMES = {
    word: side
    for side, written in {
        1: "largest biggest highest latest newest last most longest maximum largest dearest best greatest "
        "größte größten größtes höchste höchsten neueste neuesten letzte letzten teuerste teuersten längste meisten",
        -1: "smallest lowest earliest oldest first least shortest minimum cheapest fewest "
        "kleinste kleinsten niedrigste niedrigsten älteste ältesten erste ersten billigste günstigste kürzeste",
    }.items()
    for word in written.split()
}
_WEEKEND = frozenset(("weekend", "weekends", "wochenende"))
_ORDINAL = re.compile(r"([1-9]|[12]\d|3[01])(?:st|nd|rd|th)")
_GERMAN_ORDINAL = re.compile(r"(?i)\b(?:am|vom|zum|bis zum|der|den|dem)\s+([1-9]|[12]\d|3[01])\.(?!\d)")
_PERCENT = re.compile(r"(\d{1,3}(?:[.,]\d{1,2})?)\s*(?:%|percent\b|per cent\b|prozent\b)", re.IGNORECASE)
_HALVES = {"half": 2, "hälfte": 2, "halb": 2, "halbe": 2, "third": 3, "drittel": 3, "quarter": 4, "viertel": 4}
_HYPHEN = re.compile(r"(?<=\w)-(?=\w)")
_WORTH_A_LOOK = 400
"""Words of one turn that are read: nobody says "tomorrow" after so many, but a pasted letter does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What the user's words say about days, times and counts."""

    offsets: frozenset[int] = frozenset()
    """Whole days from a day: tomorrow is 1."""
    months: frozenset[int] = frozenset()
    """Whole months from a day, to the same day of the month."""
    weekdays: frozenset[int] = frozenset()
    """0 is Monday."""
    of_month: frozenset[int] = frozenset()
    """Days of a month that is not named: the 15th."""
    weeks: frozenset[int] = frozenset()
    """Whole weeks: 0 is this one, 1 the next."""
    whole_months: frozenset[int] = frozenset()
    minutes: frozenset[int] = frozenset()
    """How long something takes, or how much later it is."""
    counts: frozenset[int] = frozenset()
    """Numbers written as words."""
    percents: frozenset[Decimal] = frozenset()
    extremes: frozenset[int] = frozenset()
    """1 for the largest, latest and the like; -1 for the smallest, earliest and the like."""
    parts: frozenset[int] = frozenset()
    """2 for a half, 3 for a third, 4 for a quarter."""

    def with_(self, other: Spoken) -> Spoken:
        """What both say."""
        if other is NOTHING:
            return self
        return Spoken(**{f.name: getattr(self, f.name) | getattr(other, f.name) for f in fields(self)})

    def means(self, day: date, base: date) -> bool:
        """Whether these words, said of a base, name the day."""
        apart = (day - base).days
        if apart in self.offsets:
            return True
        if day.weekday() in self.weekdays and -7 <= apart <= 14:
            return True
        if day.day in self.of_month and -31 <= apart <= 62:
            return True
        if self.weeks:
            monday = base - timedelta(days=base.weekday())
            if (day - monday).days // 7 in self.weeks:
                return True
        ahead = (day.year - base.year) * 12 + day.month - base.month
        if ahead in self.whole_months:
            return True
        return ahead in self.months and (
            day.day == base.day or ((day + timedelta(days=1)).day == 1 and day.day < base.day)
        )


NOTHING = Spoken()


@lru_cache(maxsize=256)
def spoken(text: str) -> Spoken:
    """What a turn of the user says about days, times and counts."""
    said = words(_HYPHEN.sub(" ", text))[:_WORTH_A_LOOK]
    offsets: set[int] = set()
    months: set[int] = set()
    weekdays: set[int] = set()
    of_month: set[int] = {int(found) for found in _GERMAN_ORDINAL.findall(text)}
    weeks: set[int] = set()
    whole_months: set[int] = set()
    minutes: set[int] = set()
    counts: set[int] = set()
    parts: set[int] = set()
    extremes = {_EXTREMES[word] for word in said if word in _EXTREMES}
    for i, word in enumerate(said):
        before = said[i - 1] if i else ""
        after = said[i + 1] if i + 1 < len(said) else ""
        if word in _DAYS:
            offsets.add(_day_of(said, i))
        elif word == "morgen" and before not in ("guten", "am"):
            offsets.add(1)
        elif word in _WEEKDAYS:
            weekdays.add(_WEEKDAYS[word])
        elif word in _WEEKEND:
            weekdays |= {5, 6}
        elif word in _SIDES and after in _UNITS:
            unit = _UNITS[after]
            if unit == "week":
                weeks.add(_SIDES[word])
            elif unit == "month":
                whole_months.add(_SIDES[word])
            elif unit == "year":
                months.add(12 * _SIDES[word])
            elif unit == "day":
                offsets.add(_SIDES[word])
        elif word in _HALVES:
            parts.add(_HALVES[word])
            if "hour" in (_UNITS.get(after), _UNITS.get(said[i + 2] if i + 2 < len(said) else "")):
                minutes |= {60 // _HALVES[word], 60 + 60 // _HALVES[word]}
        ordinal = _ORDINAL.fullmatch(word)
        if ordinal:
            of_month.add(int(ordinal[1]))
        count = _COUNTS.get(word)
        if count is None and word.isdecimal() and word.isascii() and len(word) <= 3:
            count = int(word)
        if count is None:
            continue
        unit = _UNITS.get(after) or (
            _UNITS.get(said[i + 2]) if after in ("more", "full", "of") and i + 2 < len(said) else None
        )
        if unit is None:
            if word not in _ARTICLES and not word.isdecimal():
                counts.add(count)
            continue
        if word not in _ARTICLES:
            counts.add(count)
        if unit in ("minute", "hour"):
            minutes.add(count * (60 if unit == "hour" else 1))
        elif unit in ("month", "year"):
            months |= {n * count * (12 if unit == "year" else 1) for n in (-1, 1)}
        else:
            days = count * {"day": 1, "week": 7, "fortnight": 14}[unit]
            offsets |= {days, -days}
    percents = {Decimal(found.replace(",", ".")) for found in _PERCENT.findall(text[: 8 * _WORTH_A_LOOK])}
    if not (
        offsets
        or months
        or weekdays
        or of_month
        or weeks
        or whole_months
        or minutes
        or counts
        or percents
        or parts
        or extremes
    ):
        return NOTHING
    return Spoken(
        offsets=frozenset(offsets),
        months=frozenset(months),
        weekdays=frozenset(weekdays),
        of_month=frozenset(of_month),
        weeks=frozenset(weeks),
        whole_months=frozenset(whole_months),
        minutes=frozenset(minutes),
        counts=frozenset(counts),
        percents=frozenset(percents),
        parts=frozenset(parts),
        extremes=frozenset(extremes),
    )


def _day_of(said: list[str], at: int) -> int:
    """Today and its like, and "the day after tomorrow"."""
    offset = _DAYS[said[at]]
    if said[max(0, at - 2) : at] == ["day", "after"]:
        return offset + 1
    if said[max(0, at - 2) : at] == ["day", "before"]:
        return offset - 1
    return offset
