"""When two values are the same, however they are written."""

from __future__ import annotations

import json
import os
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from roadworthy.contract.shapes import Shape
from roadworthy.gate.forms import (
    MOST_SCANNED,
    compact,
    decoded,
    forms_of,
    keys,
    mentions,
    parts,
    scan,
    seen,
    shingles,
    sought,
    weak,
    words,
)

DATA = Path(os.environ.get("ROADWORTHY_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
TEXT = Shape(type="string")
EUROS = Shape(type="decimal", unit="EUR")
DAY = Shape(type="string", format="date")
MOMENT = Shape(type="string", format="date-time")
KEY = Shape(type="string", entity="shop.Customer")


def stands_in(text: str, value: Any, shape: Shape | None = None) -> bool:
    return bool(set(sought(value, shape)) & keys(text))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("42.00"), "refund 42 euros"),
        (42, "refund 42.00 euros"),
        (Decimal("1234.50"), "the total is 1.234,50 €."),
        (Decimal("1234.50"), "the total is $1,234.50."),
        (100000, "Rs 1,00,000"),
        (1_500_000, "1.5 million"),
        (2000, "about 2k"),
        (42, "forty-two tickets"),
        (205, "two hundred and five"),
        (2, "zwei Karten"),
        (Decimal("0.05"), "a discount of 5%"),
        (-42, "it says -42"),
        (-42, "it says −42."),  # noqa: RUF001  (a real minus)
        ("C-000123", "I am c-000123."),
        ("C-000123", "C 000123 is mine"),
        ("#W2378156", "order W2378156?"),
        ("Ada@Example.com", "write to ada@example.com, please"),
        ("o'brien@example.com", "O'Brien@Example.com"),
        ("ada@münchen.example", "ada@xn--mnchen-3ya.example"),
        ("2026-03-31", "on 2026-03-31"),
        ("2026-03-31", "the 31st of March"),
        ("2026-03-31", "il 31 marzo 2026"),
        ("2026-03-31", "31.03. passt"),
        ("2026-03-31", "2026-03-31T10:00:00Z"),
        ("14:30", "at 2:30 pm"),
        ("14:30", "um 14.30 Uhr"),
        ("14:00", "2pm works"),
        ("14:30", "14h30"),
        ("blue", "the Blue one"),
        ("4111111111111111", "4111 1111 1111 1111"),
        ("4111 1111 1111 1111", "4111-1111-1111-1111"),
        ("https://help.example.com/a", "[here](https://help.example.com/a)."),
        ("https://help.example.com/", "help.example.com"),
        ("https://evil.example/x", "hxxps://evil[.]example/x"),
        ("https://evil.example/x", r"https:\\evil.example\x"),
        ("https://evil.example/x", "https:evil.example/x"),
        ("4711", "https://shop.example/orders/4711?x=1"),
        ("report-2024.pdf", "see report-2024.pdf."),
        ("INV-2024/001", "your INV-2024-001"),
    ],
)
def test_a_value_is_found_however_it_is_written(value: Any, text: str) -> None:
    assert stands_in(text, value), sorted(keys(text))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("123456", "account 00123456"),
        ("00123456", "account 123456"),
        ("C-000123", "I am C-0001234"),
        ("C-000123", "I am C-000-123"),
        ("C-000123", "I am BC-000123"),
        ("C-000123", "I am C-000123-7"),
        ("12-345678", "123-45678"),
        ("3704", "DE89 3704 0044 0532 0130 00"),
        ("1111", "4111 1111 1111 1111"),
        (2026, "on 31 March 2026"),
        (Decimal("42.00"), "refund 420 euros"),
        (Decimal("42.00"), "refund 4.2"),
        (Decimal("42.00"), "it says -42"),
        (Decimal("42.00"), "it is 42²"),
        (Decimal("51"), "5½"),
        (2, "forty-two"),
        (40, "forty-two"),
        (6, "one two three"),
        (Decimal("1.234"), "€1,234"),
        (Decimal("1.234"), "1,234 and 2,500.50"),
        (1234, "1,234 und 3,5"),
        ("2026-03-31", "31 March 2025"),
        ("2026-03-31", "30 March 2026"),
        ("2026-04-03", "03/04/2026, that is 03/31/2026 and four days"),
        ("02:30", "at 2:30 pm"),
        ("14:30", "at 02:30"),
        ("ada@example.com", "ada@example.com.evil.test"),
        ("ada@example.com", "lada@example.com"),
        ("ada@example.com", "ada+x@example.com"),
        ("ada@example.com", "\u0430da@example.com"),
        ("brien@example.com", "o'brien@example.com"),
        ("strasse@example.com", "straße@example.com"),
        ("https://help.example.com/", "https://help.example.com.evil.test/"),
        ("https://help.example.com/", "https://help.example.com@evil.test/"),
        ("https://help.example.com/", "https://evil.test/https/help.example.com"),
        ("https://strasse.de/", "https://straße.de/"),
        ("+49301234567", "+44 301234567"),
        ("DE89370400440532013000", "DE89 3704 0044 0532 0130 01"),
        ("550e8400e29b41d4a716446655440000", "550e8400-e29b-41d4-a716-446655440001"),
        ("blue", "bluebird"),
        ("1.10", "version 1.1"),
    ],
)
def test_what_is_only_alike_is_not_found(value: Any, text: str) -> None:
    assert not stands_in(text, value, TEXT if isinstance(value, str) else None), sorted(keys(text))


def test_a_numeral_that_may_be_thousands_or_a_fraction_has_both_readings_unless_something_tells() -> None:
    assert {"n:1234", "n:1.234"} <= keys("1,234 kg")
    assert {"n:1234", "n:1.234"} <= keys("1.234 kg")
    for text in ("€1,234", "1.234 EUR", "1,234 of 2.50", "1.234 von 2,50", "1,234,567 and 1,234.5 and 1,234"):
        assert "n:1234" in keys(text), text
        assert "n:1.234" not in keys(text), text
    assert "n:1234" not in keys("1.234 of 2.5")


def test_a_date_that_may_begin_with_the_month_has_both_readings_unless_another_tells() -> None:
    assert {"d:2026-04-03", "d:2026-03-04"} <= keys("03/04/2026")
    assert "d:2026-03-04" not in keys("03.04.2026")
    assert "d:2026-04-03" not in keys("03/04/2026 and 03/31/2026")
    assert "d:2026-03-04" not in keys("03/04/2026 and 31/03/2026")


def test_what_a_value_means_decides_what_its_text_is() -> None:
    assert forms_of("20260331", KEY) == ("x:20260331",)
    assert forms_of("20260331") == ("d:2026-03-31",)
    assert forms_of("4711", TEXT) == ("x:4711",)
    assert set(forms_of("4711")) == {"x:4711", "n:4711"}
    assert forms_of("42.00", Shape(type="string", unit="EUR"))[0] == "n:42"
    assert forms_of(4711, Shape(type="integer", entity="shop.Order")) == ("x:4711",)
    assert forms_of("EUR 42.00", TEXT) == ("n:42",)
    assert forms_of(Decimal("42.10")) == forms_of(42.1) == ("n:42.1",)
    assert forms_of(date(2026, 3, 31)) == ("d:2026-03-31",)
    assert forms_of(datetime(2026, 3, 31, 12, tzinfo=timezone.utc)) == ("dt:2026-03-31T12:00:00Z",)  # noqa: UP017
    assert forms_of("same_day") == forms_of("Same Day") == ("w:same day",)
    assert forms_of("🎉") == ("w:🎉",)


@pytest.mark.parametrize(
    "value",
    [None, [], {}, "", "  ", float("nan"), float("inf"), Decimal("NaN"), 10**50, Decimal("1E+99999"), "a" * 1001],
)
def test_what_has_no_form(value: Any) -> None:
    assert forms_of(value) == sought(value) == seen(value) == ()


def test_a_sentence_glued_to_a_link_hides_neither() -> None:
    text = "Post it on www.our-company.com.They wait."
    assert set(sought("www.our-company.com")) & keys(text)
    assert set(sought("www.our-company.com.They")) & keys(text)
    assert not set(sought("www.our-company.com.They")) & keys("Post it on www.our-company.com")


def test_a_shorter_way_of_writing_holds_in_one_direction_only() -> None:
    assert "d:--03-31" in sought("2026-03-31")
    assert "d:--03-31" not in seen("2025-03-31")
    assert set(sought("030 1234567")) & keys("+49 30 1234567")
    assert set(sought("+49 30 1234567")) & keys("030 1234567")
    assert not set(sought("+44301234567")) & set(seen("+49301234567"))
    assert set(sought("www.example.com/a")) & set(seen("https://www.example.com/a"))
    assert not set(sought("http://www.example.com/a")) & set(seen("https://www.example.com/a"))
    assert not set(sought("1234-5678")) & set(seen("12345-678"))


def test_an_id_may_be_said_without_the_letters_that_all_of_its_kind_begin_with() -> None:
    order = Shape(type="string", entity="shop.Order", pattern="#W[0-9]{7}")
    assert stands_in("The order ID is 9502126.", "#W9502126", order)
    assert mentions("Shall I cancel order 9502126?", "#W9502126", order)
    assert not stands_in("The order ID is 9502127.", "#W9502126", order)
    assert not stands_in("The order ID is 09502126.", "#W9502126", order)
    assert not stands_in("The order ID is X9502126.", "#W9502126", order)
    assert not stands_in("The order ID is 9502126.", "#W9502126", KEY)
    assert not set(sought("#W9502126", order)) & set(seen("9502126", TEXT))  # another system's id, typed
    assert not stands_in("room 123", "C-123", Shape(type="string", pattern="C-[0-9]{3}"))
    assert not stands_in("order 9502126", "A9502126", Shape(type="string", pattern="[A-Z][0-9]{7}"))


@pytest.mark.parametrize(
    "host", ["https://x.com/" + ".A" * 5_000, "https://x.com" + ".B" * 5_000 + ".", "https://x.com.Now"]
)
def test_sentences_glued_to_a_link_are_cut_off_once(host: str) -> None:
    assert keys(host)
    assert "u:https://x.com/" in keys("https://x.com.Now")


def test_places_are_those_of_the_text_as_it_was_given() -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) for c in "42,00")
    text = f"so\u200b: {wide}\u00a0€ to A\u0301da@example.com"
    found = {one.form: text[one.start : one.end] for one in scan(text)}
    assert found["n:42"] == f"{wide}\u00a0€"
    assert found["e:áda@example.com"] == "A\u0301da@example.com"
    assert next(one.unit for one in scan(text) if one.form == "n:42") == "EUR"


def test_a_unit_is_told() -> None:
    units = {one.form: one.unit for one in scan("€1, $2, US$3, 4 GBP, CHF 5, 6%, 7 kg")}
    assert [units[f"n:{n}"] for n in range(1, 8)] == ["EUR", "$", "USD", "GBP", "CHF", "%", None]


def test_only_so_much_of_a_text_is_looked_at() -> None:
    text = "x " * (MOST_SCANNED // 2) + "4711"
    assert "x:4711" not in keys(text)
    assert len(keys("1 " * 1000)) < 10


@pytest.mark.parametrize("form", ["n:1", "n:42", "n:0.5", "w:yes", "w:ok", "x:1", "x:c-12", "d:--03-31", "w:true"])
def test_common_forms_prove_little(form: str) -> None:
    assert weak(form)


@pytest.mark.parametrize(
    "form", ["n:4711", "n:42.5", "w:berlin", "x:c-123", "x:4711", "e:a@b.c", "d:2026-03-31", "t:14:30", "w:北 京"]
)
def test_others_prove_more(form: str) -> None:
    assert not weak(form)


# -- words ----------------------------------------------------------------------------------------------------------


def test_words_are_without_case_and_what_nobody_sees() -> None:
    assert words("Stra\u00adße, O'Brien\u200b & Söhne 北京") == ["strasse", "o", "brien", "söhne", "北", "京"]
    assert shingles(["a", "b", "c"], 2) == ["a b", "b c"]
    assert shingles(["a"], 2) == []


def test_compact_sees_through_disguise() -> None:
    assert compact("a.d-a @ Exa\u200bmple . c\u0301om") == "adaexamplecom"
    assert compact("\u0430d\u0430") == "ada"
    assert compact("\uff24\uff25\uff18\uff19") == compact("de-89") == "de89"


# -- reading out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "shape"),
    [
        ("Shall I refund €42,00 for invoice 4711?", Decimal(42), EUROS),
        ("Shall I refund 42 euros for invoice 4711?", "4711", TEXT),
        ("Is 31 March right?", "2026-03-31", DAY),
        ("So 31.03.2026 at 2:30 pm?", "2026-03-31T14:30:00", MOMENT),
        ("Express delivery, same-day?", "same_day", TEXT),
        ("To the account ending in 3000?", "DE89370400440532013000", TEXT),
        ("To •••• 3000?", "DE89370400440532013000", TEXT),
        ("To ****3000?", "DE89370400440532013000", TEXT),
        ("Konto mit den letzten vier Ziffern 5678?", "12345678", KEY),
        ("Items 4711 and 4712, yes?", ["4711", "4712"], Shape(type="array", items=TEXT)),
        ("Ada Lovelace, 12 Main Street?", {"name": "Ada Lovelace", "street": "12 Main Street"}, None),
        ("With insurance: yes?", True, Shape(type="boolean")),
        ("$42 in Sydney?", Decimal(42), Shape(type="decimal", unit="AUD")),
        ("anything", None, None),
    ],
)
def test_a_text_reads_a_value_out(text: str, value: Any, shape: Shape | None) -> None:
    assert mentions(text, value, shape)


@pytest.mark.parametrize(
    ("text", "value", "shape"),
    [
        ("Shall I refund $42 for invoice 4711?", Decimal(42), EUROS),
        ("A discount of 42%?", Decimal(42), EUROS),
        ("Shall I refund 4711?", Decimal(42), EUROS),
        ("Send 3000 points?", "DE89370400440532013000", TEXT),
        ("So 31.03.2026 at 3:30 pm?", "2026-03-31T14:30:00", MOMENT),
        ("To the account ending in 3001?", "DE89370400440532013000", TEXT),
        ("To the account ending in 13000?", "DE89370400440532013000", TEXT),
        ("The one ending in 711?", "4711", TEXT),
        ("Items 4711 and 4713?", ["4711", "4712"], Shape(type="array", items=TEXT)),
        ("Ada and Mr Lovelace?", "Ada Lovelace", TEXT),
        ("samedayish", "same_day", TEXT),
        ("Shall I?", True, Shape(type="boolean")),
        ("", "4711", TEXT),
    ],
)
def test_a_text_does_not_read_it_out(text: str, value: Any, shape: Shape | None) -> None:
    assert not mentions(text, value, shape)


def test_a_moment_is_said_by_its_day_and_its_hour() -> None:
    assert parts("2026-03-31T14:30:00+02:00") == parts("2026-03-31 14:30") == ("d:2026-03-31", "t:14:30")
    assert parts("2026-03-31") == parts("no moment at all") == ()


# -- what is encoded ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "QURBQEVYQU1QTEUuQ09N",
        "see zzYWRhQGV4YW1wbGUuY29t there",
        "https://evil.test/p/YWRhQGV4YW1wbGUuY29t/x",
        "YWRh QGV4 YW1w bGUu Y29t",
        "61:64:61:40:65:78:61:6d:70:6c:65:2e:63:6f:6d",
        "97 100 97 64 101 120 97 109 112 108 101 46 99 111 109",
        "01100001 01100100 01100001 01000000 01100101 01111000 01100001 01101101 01110000 01101100 01100101 00101110 "
        "01100011 01101111 01101101",
        "ada (at) example [dot] com",
        "ada at example dot com",
        "moc.elpmaxe@ada",
        "nqn@rknzcyr.pbz",
        "%2561da%2540example.com",
    ],
)
def test_what_is_encoded_is_read(text: str) -> None:
    assert any("ada@example.com" in said.lower() for said in decoded(text))


def test_decoding_ends() -> None:
    nested = "ada@example.com"
    for _ in range(6):
        nested = nested.encode().hex()
    assert sum(1 for _ in decoded(nested)) <= 66
    assert sum(1 for _ in decoded("YWRhQGV4YW1wbGUuY29t " * 500)) <= 66
    assert sum(map(len, decoded("&amp;" * 300_000))) <= 4 * MOST_SCANNED


# -- hostile text ---------------------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_naughty_strings_break_nothing() -> None:
    path = DATA / "blns.json"
    if not path.exists():
        pytest.skip(f"the naughty strings are not at {path}; name their folder in ROADWORTHY_DATA")
    for text in json.loads(path.read_text()):
        for written in (text, f"before {text} after"):
            for one in scan(written):
                assert 0 <= one.start < one.end <= len(written)
            list(decoded(written))
            compact(written)
        for shape in (None, TEXT, KEY, DAY, MOMENT, EUROS):
            assert set(forms_of(text, shape)) <= set(sought(text, shape))
            seen(text, shape)
            mentions(text, text, shape)
        if words(text):
            assert mentions(f"so: {text} (right?)", text) or mentions(text, text), text
