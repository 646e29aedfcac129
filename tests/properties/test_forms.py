"""Laws of forms: a value is found in whatever way it is written, and what is only alike never is."""

from __future__ import annotations

import base64
import calendar
import html
import json
import quopri
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from roadworthy.contract.shapes import Shape
from roadworthy.gate.forms import compact, decoded, forms_of, keys, mentions, parts, scan, seen, shingles, sought, words
from roadworthy.gate.forms.readings import valid_iban

PLAIN = Shape(type="string")
ENTITY = Shape(type="string", entity="shop.Customer")
AMOUNT = Shape(type="decimal", unit="EUR")

SENTENCES = st.sampled_from(
    ["{}", "It is {}.", "({})", "so: {}, please", "is it {}?", '"{}"', "**{}**", "before\n{}\nafter", "- {};"]
)


def stands_in(text: str, value: Any, shape: Shape | None = None) -> bool:
    return bool(set(sought(value, shape)) & keys(text))


# -- numbers --------------------------------------------------------------------------------------------------------

AMOUNTS = st.decimals(min_value=Decimal("0.01"), max_value=Decimal("9999999.99"), places=2)


def grouped(value: Decimal, group: str, fraction: str) -> str:
    return f"{value:,.2f}".replace(",", "\0").replace(".", fraction).replace("\0", group)


AMOUNT_WAYS: list[Callable[[Decimal], str]] = [
    lambda v: f"{v}",
    lambda v: f"{v.normalize():f}",
    lambda v: f"{v}".replace(".", ","),
    lambda v: f"€{v}",
    lambda v: f"€ {v}",
    lambda v: f"{v} EUR",
    lambda v: f"EUR {v}",
    lambda v: f"{v}€",
    lambda v: f"{v} euros",
    lambda v: grouped(v, ",", "."),
    lambda v: grouped(v, ".", ",") + " €",
    lambda v: grouped(v, "'", "."),
    lambda v: grouped(v, "\u2019", "."),
    lambda v: grouped(v, " ", ","),
    lambda v: grouped(v, "\u00a0", ","),
    lambda v: grouped(v, "\u202f", ",") + "\u202f€",
    lambda v: "".join(chr(ord(c) + 0xFEE0) for c in f"{v}"),  # as wide as Chinese characters
    lambda v: "".join("\u066b" if c == "." else chr(ord(c) - ord("0") + 0x660) for c in f"{v}"),  # in Arabic
]


@given(AMOUNTS, st.sampled_from(AMOUNT_WAYS), SENTENCES)
def test_an_amount_is_found_however_it_is_written(value: Decimal, way: Callable[[Decimal], str], where: str) -> None:
    text = where.format(way(value))
    assert stands_in(text, value), (text, sorted(keys(text)))
    assert mentions(text, value, AMOUNT)


@given(AMOUNTS, AMOUNTS, st.sampled_from(AMOUNT_WAYS), SENTENCES)
def test_another_amount_is_not(value: Decimal, other: Decimal, way: Callable[[Decimal], str], where: str) -> None:
    assume(value not in (other, 1000 * other, 100 * other))
    text = where.format(way(value))
    assert not stands_in(text, other), (text, sorted(keys(text)))


@given(AMOUNTS, st.integers(0, 5), st.sampled_from(AMOUNT_WAYS))
def test_neither_is_an_amount_that_differs_in_one_place(
    value: Decimal, place: int, way: Callable[[Decimal], str]
) -> None:
    near = value + Decimal(10) ** (place - 2)
    assume(value not in (1000 * near, 100 * near) and near not in (1000 * value, 100 * value))
    assert not stands_in(f"It is {way(value)}.", near)
    assert not stands_in(f"It is {way(near)}.", value)
    assert not stands_in(f"It is {way(value)}.", -value)


@given(st.integers(1, 10**12))
def test_thousands_beside_a_currency_are_thousands(value: int) -> None:
    for text in (f"€{value:,}", f"{value:,} EUR", f"{value:,} euros".replace(",", ".")):
        assert stands_in(text, value)
        assert not stands_in(text, Decimal(value) / 1000) or value < 1000


# -- days and moments -----------------------------------------------------------------------------------------------

DAYS = st.dates(date(1970, 1, 1), date(2069, 12, 31))
_ENGLISH = tuple(calendar.month_name)[1:]
_GERMAN = re.findall(r"\w+", "Januar Februar März April Mai Juni Juli August September Oktober November Dezember")


def ordinal(day: int) -> str:
    return f"{day}" + ("th" if 4 <= day <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th"))


DAY_WAYS: list[Callable[[date], str]] = [
    lambda d: d.isoformat(),
    lambda d: f"{d:%Y/%m/%d}",
    lambda d: f"{d:%d.%m.%Y}",
    lambda d: f"{d.day}.{d.month}.{d.year}",
    lambda d: f"{d:%d.%m.%y}",
    lambda d: f"{d:%m/%d/%Y}",
    lambda d: f"{d:%d/%m/%Y}",
    lambda d: f"{d:%d-%m-%Y}",
    lambda d: f"{d:%Y%m%d}",
    lambda d: f"{d.day} {_ENGLISH[d.month - 1]} {d.year}",
    lambda d: f"{ordinal(d.day)} of {_ENGLISH[d.month - 1]} {d.year}",
    lambda d: f"{_ENGLISH[d.month - 1]} {d.day}, {d.year}",
    lambda d: f"{_ENGLISH[d.month - 1][:3]} {ordinal(d.day)}, {d.year}",
    lambda d: f"{d.day}-{_ENGLISH[d.month - 1][:3]}-{d.year}",
    lambda d: f"{d.day}. {_GERMAN[d.month - 1]} {d.year}",
    lambda d: f"{d.year}年{d.month}月{d.day}日",
]
YEARLESS: list[Callable[[date], str]] = [
    lambda d: f"{d.day} {_ENGLISH[d.month - 1]}",
    lambda d: f"{_ENGLISH[d.month - 1]} {ordinal(d.day)}",
    lambda d: f"{d.day}. {_GERMAN[d.month - 1]}",
]


@given(DAYS, st.sampled_from(DAY_WAYS + YEARLESS), SENTENCES)
def test_a_day_is_found_however_it_is_written(day: date, way: Callable[[date], str], where: str) -> None:
    text = where.format(way(day))
    assert stands_in(text, day.isoformat()), (text, sorted(keys(text)))
    assert stands_in(text, day)
    assert mentions(text, day.isoformat(), Shape(type="string", format="date"))


@given(DAYS, DAYS, st.sampled_from(DAY_WAYS + YEARLESS), SENTENCES)
def test_another_day_is_not(day: date, other: date, way: Callable[[date], str], where: str) -> None:
    assume(day != other)
    # Day and month may have changed places, and where no year was said it may be any.
    assume((day.year, day.month, day.day) != (other.year, other.day, other.month))
    assume(way not in YEARLESS or (day.month, day.day) != (other.month, other.day))
    assert not stands_in(where.format(way(day)), other.isoformat())


@given(DAYS, st.integers(1, 30), st.sampled_from(DAY_WAYS))
def test_neither_is_the_same_day_of_another_year(day: date, years: int, way: Callable[[date], str]) -> None:
    other = f"{day.year + years}-{day:%m-%d}"
    assert not stands_in(f"on {way(day)}", other)
    assert not set(sought(other)) & set(seen(day.isoformat()))


ZONES = st.sampled_from([timezone(timedelta(minutes=m)) for m in (-570, -300, 0, 60, 120, 330)])


@given(st.datetimes(datetime(1970, 1, 2), datetime(2069, 12, 30)), ZONES, ZONES)
def test_a_moment_is_the_same_in_every_zone(at: datetime, one: timezone, two: timezone) -> None:
    there = at.replace(microsecond=0, tzinfo=one)
    here = there.astimezone(two)
    assert forms_of(there.isoformat()) == forms_of(here.isoformat()) == forms_of(here)
    assert stands_in(f"at {here.isoformat()}, they said", there.isoformat())
    later = there + timedelta(seconds=1)
    assert not stands_in(f"at {here.isoformat()}, they said", later.isoformat())


@given(st.datetimes(datetime(1970, 1, 2), datetime(2069, 12, 30)))
def test_a_day_and_an_hour_say_a_moment_together(at: datetime) -> None:
    at = at.replace(second=0, microsecond=0)
    half = f"{at.hour % 12 or 12}:{at:%M} {'pm' if at.hour >= 12 else 'am'}"
    text = f"on {at.day} {_ENGLISH[at.month - 1]} {at.year}, please come at {half}"
    assert set(parts(at.isoformat())) <= keys(text)
    assert mentions(text, at.isoformat(), Shape(type="string", format="date-time"))
    other = at + timedelta(hours=1)
    assert not mentions(text, other.isoformat(), Shape(type="string", format="date-time"))


# -- ids ------------------------------------------------------------------------------------------------------------

LETTERS = st.sampled_from(["C", "INV", "W", "PO", "CASE", "R", "KD", "TX"])
NUMBERS = st.text("0123456789", min_size=4, max_size=9)
ID_WAYS: list[Callable[[str, str], str]] = [
    lambda a, n: f"{a}-{n}",
    lambda a, n: f"{a}{n}",
    lambda a, n: f"{a} {n}",
    lambda a, n: f"{a}_{n}",
    lambda a, n: f"{a.lower()}-{n}",
    lambda a, n: f"#{a}{n}",
    lambda a, n: f"{a}‑{n}",  # noqa: RUF001  (a hyphen that does not break)
    lambda a, n: f"{a}-\u200b{n}",
]


@given(LETTERS, NUMBERS, st.sampled_from(ID_WAYS), SENTENCES)
def test_an_id_is_found_however_it_is_written(
    letters: str, number: str, way: Callable[[str, str], str], where: str
) -> None:
    text = where.format(way(letters, number))
    for shape in (PLAIN, ENTITY, None):
        assert stands_in(text, f"{letters}-{number}", shape), (text, sorted(keys(text)))
    assert mentions(text, f"{letters}-{number}", ENTITY)


@st.composite
def alike(draw: st.DrawFn, ids: st.SearchStrategy[str]) -> tuple[str, str]:
    """An id and another that differs in one place, by one more or by one less."""
    one = draw(ids)
    at = draw(st.integers(0, len(one) - 1))
    digit = draw(st.sampled_from("0123456789"))
    other = draw(
        st.sampled_from([one[:at] + digit + one[at:], one[:at] + one[at + 1 :], one[:at] + digit + one[at + 1 :]])
    )
    assume(one != other and other)
    return one, other


@given(LETTERS, alike(NUMBERS), st.sampled_from(ID_WAYS), SENTENCES)
def test_an_id_that_is_only_alike_is_not(
    letters: str, pair: tuple[str, str], way: Callable[[str, str], str], where: str
) -> None:
    one, other = pair
    text = where.format(way(letters, one))
    for shape in (PLAIN, ENTITY, None):
        assert not stands_in(text, f"{letters}-{other}", shape), (text, sorted(keys(text)))
    assert not mentions(text, f"{letters}-{other}", ENTITY)


LONG_NUMBERS = st.text("0123456789", min_size=8, max_size=12)


@given(LONG_NUMBERS, st.sampled_from(" -"), st.integers(2, 4), SENTENCES)
def test_long_digits_are_found_however_they_are_grouped(digits: str, sep: str, size: int, where: str) -> None:
    groups = [digits[at : at + size] for at in range(0, len(digits), size)]
    assume(len(groups[-1]) > 1 and len(groups) <= 5 and not digits.startswith("00"))
    text = where.format(sep.join(groups))
    assume(not any(key.startswith("d:") for key in keys(text)))
    assert stands_in(text, digits, ENTITY), (text, sorted(keys(text)))


@given(alike(LONG_NUMBERS), st.sampled_from(["", " ", "-"]), st.integers(2, 4), SENTENCES)
def test_other_digits_are_not(pair: tuple[str, str], sep: str, size: int, where: str) -> None:
    digits, other = pair
    text = where.format(sep.join(digits[at : at + size] for at in range(0, len(digits), size)))
    assert not stands_in(text, other, ENTITY), (text, sorted(keys(text)))


@given(st.uuids())
def test_a_uuid_is_found_with_and_without_hyphens(value: Any) -> None:
    for text in (str(value), str(value).upper(), value.hex, f"id={value}"):
        assert stands_in(f"see {text}.", str(value))
        assert stands_in(f"see {text}.", value.hex, ENTITY)


# -- addresses ------------------------------------------------------------------------------------------------------

LOCALS = st.from_regex(r"[a-z][a-z0-9]{0,8}([._+-][a-z0-9]{1,6})?", fullmatch=True)
HOSTS = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,4})?\.(com|example|co\.uk|de)", fullmatch=True)
EMAIL_WAYS: list[Callable[[str], str]] = [
    str,
    str.upper,
    str.title,
    lambda e: f"<{e}>",
    lambda e: f"mailto:{e}",
    lambda e: f"[write]({e})",
    lambda e: f"'{e}'",
    lambda e: f"to={e}",
    lambda e: e.replace("@", "\uff20"),
    lambda e: e.replace("@", "\u200b@\u2060"),
]


@given(LOCALS, HOSTS, st.sampled_from(EMAIL_WAYS), SENTENCES)
def test_a_mail_address_is_found_however_it_is_written(
    local: str, host: str, way: Callable[[str], str], where: str
) -> None:
    address = f"{local}@{host}"
    text = where.format(way(address))
    for shape in (PLAIN, Shape(type="string", format="email"), None):
        assert stands_in(text, address, shape), (text, sorted(keys(text)))


@given(LOCALS, HOSTS, st.sampled_from(EMAIL_WAYS), SENTENCES)
def test_an_address_that_is_only_alike_is_not(local: str, host: str, way: Callable[[str], str], where: str) -> None:
    text = where.format(way(f"{local}@{host}"))
    for other in (
        f"{local}x@{host}",
        f"x{local}@{host}",
        f"{local}@{host}.evil.example",
        f"{local}@x{host}",
        f"{local}+tag@{host}",
        f"{local}@{host.rpartition('.')[0]}.test",
        f"{local}@{host}".replace("a", "\u0430") if "a" in local + host else "b@c.de",
    ):
        assert not stands_in(text, other), (text, other)


@given(HOSTS, st.sampled_from(["", "/", "/a", "/a/b?c=d"]), SENTENCES)
def test_a_link_is_found_with_and_without_its_scheme(host: str, path: str, where: str) -> None:
    link = f"https://{host}{path}"
    for written in (link, f"HTTPS://{host.upper()}{path}", f"https://{host}:443{path}", f"www.{host}{path}"):
        text = where.format(written)
        asked = f"https://www.{host}{path}" if written.startswith("www.") else link
        assert stands_in(text, asked), (text, sorted(keys(text)))
    assert stands_in(where.format(link), f"{host}{path}") or "." not in host


@given(HOSTS, st.sampled_from(["/a", "/a/b", "/a?b=c"]))
def test_a_link_that_is_only_alike_is_not(host: str, path: str) -> None:
    link = f"https://{host}{path}"
    for other in (
        f"https://{host}{path}x",
        f"https://{host}.evil.example{path}",
        f"https://evil.example/{host}{path}",
        f"https://{host}@evil.example{path}",
        f"https://x{host}{path}",
        f"https://{host}/{path}",
    ):
        assert not stands_in(f"see {other} now", link), other
        assert not stands_in(f"see {link} now", other), other


@st.composite
def ibans(draw: st.DrawFn) -> str:
    country = draw(st.sampled_from(["DE", "GB", "FR", "CH"]))
    body = draw(st.text("0123456789", min_size=12, max_size=20))
    return next(
        f"{country}{check:02d}{body}" for check in range(100) if valid_iban(f"{country}{check:02d}{body}".lower())
    )


@given(ibans(), SENTENCES)
def test_an_account_is_found_however_it_is_grouped(iban: str, where: str) -> None:
    groups = " ".join(iban[at : at + 4] for at in range(0, len(iban), 4))
    for written in (
        iban,
        iban.lower(),
        groups,
        groups.lower(),
        groups.replace(" ", "-"),
        groups.replace(" ", "\u00a0"),
    ):
        text = where.format(written)
        assert stands_in(text, iban, PLAIN), (text, sorted(keys(text)))
        assert mentions(text, iban, PLAIN)
        wrong = iban[:-1] + str((int(iban[-1]) + 1) % 10)
        assert not stands_in(text, wrong, PLAIN)
        assert not stands_in(text, iban[4:8], ENTITY) or written in (iban, iban.lower())


COUNTRIES = st.sampled_from(["49", "1", "44", "351"])


@given(COUNTRIES, st.from_regex(r"[1-9][0-9]{8,9}", fullmatch=True), SENTENCES)
def test_a_telephone_number_is_found_however_it_is_grouped(country: str, number: str, where: str) -> None:
    whole = f"+{country}{number}"
    apart = f"{number[:3]} {number[3:6]} {number[6:]}"
    for written in (
        whole,
        f"+{country} {apart}",
        f"+{country}-{apart.replace(' ', '-')}",
        f"+{country} (0){apart}",
        f"+{country} ({number[:3]}) {number[3:]}",
        f"00{country} {apart}",
        f"0{apart}",
        f"({number[:3]}) {number[3:6]}-{number[6:]}",
    ):
        text = where.format(written)
        assert stands_in(text, whole), (text, sorted(keys(text)))
        near = whole[:-1] + str((int(whole[-1]) + 1) % 10)
        assert not stands_in(text, near), (text, near)
    assert not stands_in(f"+7{number}", whole)


# -- words ----------------------------------------------------------------------------------------------------------

NAMES = st.lists(st.from_regex(r"[A-Za-zäöüßéñç]{2,9}", fullmatch=True), min_size=1, max_size=4).map(" ".join)


@given(NAMES, st.text(max_size=20))
def test_words_are_read_out_as_a_phrase(name: str, rest: str) -> None:
    for written in (name, name.upper(), name.replace(" ", "  "), name.replace(" ", "\u00a0"), "\u200b".join(name)):
        assert mentions(f"{rest} {written} {rest}", name), written
    assert not mentions(name, f"{name} xq")
    assert not mentions(name + "xq", name)


@given(NAMES)
def test_the_words_of_a_value_are_those_of_a_text(name: str) -> None:
    (form, *_) = forms_of(name)
    said = words(f"before {name}, after")
    assert form.startswith("n:") or form[2:] in shingles(said, form.count(" ") + 1)


# -- any text at all ------------------------------------------------------------------------------------------------

ANY_TEXT = st.text(st.characters(), max_size=60)
"""Lone surrogates, controls and all."""


@settings(max_examples=300)
@given(ANY_TEXT)
def test_no_text_breaks_it_and_every_place_is_in_the_text(text: str) -> None:
    for found in scan(text):
        assert 0 <= found.start < found.end <= len(text), found
    assert keys(text) == {found.form for found in scan(text)}
    for given_shape in (None, PLAIN, ENTITY):
        for form in (*sought(text, given_shape), *seen(text, given_shape)):
            assert form[:2].rstrip("t:") or ":" in form
    mentions(text, text)
    compact(text)
    list(decoded(text))


@settings(max_examples=300)
@given(ANY_TEXT)
def test_a_text_reads_itself_out(text: str) -> None:
    if words(text):
        assert mentions(f"so: {text} (right?)", text) or mentions(text, text)


@given(st.one_of(AMOUNTS, NAMES, DAYS.map(date.isoformat), NUMBERS, st.integers(), st.booleans()))
def test_a_value_is_itself(value: Any) -> None:
    assert set(forms_of(value)) <= set(seen(value))
    assert set(forms_of(value)) <= set(sought(value))
    assert forms_of(value) == forms_of(value)


# -- what is hidden -------------------------------------------------------------------------------------------------

ENCODERS: list[Callable[[str], str]] = [
    lambda t: base64.b64encode(t.encode()).decode(),
    lambda t: base64.urlsafe_b64encode(t.encode()).decode().rstrip("="),
    lambda t: base64.b32encode(t.encode()).decode(),
    lambda t: base64.b64encode(t.encode("utf-16-le")).decode(),
    lambda t: t.encode().hex(),
    lambda t: " ".join(f"{byte:02X}" for byte in t.encode()),
    lambda t: "".join(f"\\x{byte:02x}" for byte in t.encode()) if t.isascii() else t.encode().hex(),
    lambda t: "".join(f"%{byte:02X}" for byte in t.encode()),
    lambda t: quote(t, safe=""),
    lambda t: "".join(f"&#{ord(c)};" for c in t),
    lambda t: "".join(f"&#x{ord(c):x};" for c in t),
    lambda t: html.escape(t),
    lambda t: quopri.encodestring(t.encode(), quotetabs=True).decode(),
    lambda t: "".join(f"={byte:02X}" for byte in t.encode()),
    lambda t: json.dumps(t) if not t.isascii() else "".join(f"\\u{ord(c):04x}" for c in t),
    lambda t: "".join(chr(0xE0000 + ord(c)) for c in t) if t.isascii() else t.encode().hex(),
]
SECRETS = st.from_regex(r"[a-z]{3,8}@[a-z]{3,8}\.com C-[0-9]{6}", fullmatch=True)


@given(SECRETS, st.lists(st.sampled_from(ENCODERS), min_size=1, max_size=2), st.sampled_from(["{}", "see {} there"]))
def test_what_is_encoded_is_read(secret: str, encoders: list[Callable[[str], str]], where: str) -> None:
    assume(encoders != [ENCODERS[3], ENCODERS[-1]])  # invisible letters in UTF-16
    text = secret
    for encode in reversed(encoders):
        text = encode(text)
    hidden = where.format(text)
    assert any(secret in said for said in (hidden, *decoded(hidden))), hidden


@given(NAMES, st.sampled_from([" ", "-", "\u200b", ".", "_", "\u00ad", " / ", "\u0301", "\u202e"]))
def test_what_is_split_is_left_together(name: str, between: str) -> None:
    assert compact(between.join(name)) == compact(name)
    assert compact(f"xx{name}yy") == f"xx{compact(name)}yy"
