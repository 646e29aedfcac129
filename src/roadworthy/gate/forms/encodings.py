"""What the encoded parts of a text say.

Not every way of hiding text can be undone: who encrypts, hides. What is undone here is what tools, models and mail
programs do by themselves and what people reach for first.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import quopri
import re
from collections.abc import Callable, Iterator
from html import unescape
from urllib.parse import unquote

MOST_DEEP = 3
"""How often text was encoded, one way over another."""
MOST_TEXTS = 64
"""Encoded parts of one text, and of what they say."""
MOST_READ = 1_000_000
"""Characters that are looked at, of the text and of what its parts say together."""

_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{8,}(?:\r?\n[A-Za-z0-9+/_-]{8,})*={0,2}")
_BASE64_SPACED = re.compile(r"(?<![A-Za-z0-9+/_-])(?:[A-Za-z0-9+/_-]{2,8}[ ,.|]){3,}[A-Za-z0-9+/_-]{2,8}={0,2}")
_BASE32 = re.compile(r"(?<![A-Za-z0-9])(?:[A-Z2-7]{13,}|[a-z2-7]{13,})={0,6}")
_HEX = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{8,}")
_HEX_BYTES = re.compile(
    r"(?<![0-9A-Za-z])(?:0x)?[0-9a-fA-F]{2}(?:[ :,;-]{1,2}(?:0x)?[0-9a-fA-F]{2}){3,}(?![0-9A-Za-z])"
)
_NOT_HEX = re.compile(r"0x|[^0-9a-fA-F]")
_STRETCH = re.compile(rb"[\x20-\x7e]{8,}")
_CODES = re.compile(r"(?:\d{2,3}[ ,;.-]{1,2}){3,}\d{2,3}(?!\d)")
_BITS = re.compile(r"(?:[01]{7,8} ?){3,}")
_PERCENT = re.compile(r"%[0-9a-fA-F]{2}")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,31});?")
_QUOTED = re.compile(r"=[0-9A-Fa-f]{2}|=\r?\n")
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|U([0-9a-fA-F]{8})|([0-7]{3}))")
_TAGS = re.compile("[\U000e0020-\U000e007e]{4,}")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_NOUGHTS = re.compile("[\u200b\u200c\u200d\u2060\ufeff]{16,}")
_SPELT = re.compile(r"(?i) ?[\[({<] ?(at|dot|punkt|ät) ?[\])}>] ?")
_SPELT_ADDRESS = re.compile(r"(?i)\b([\w.+-]{1,64}) at ([\w-]{1,63}(?: dot [\w-]{1,63}){1,4})\b")


_BLANK_OR_HIDDEN = frozenset("\n\t\r\u200b\u200c\u200d\u2060\ufeff") | {chr(code) for code in range(0xE0020, 0xE007F)}


def _readable(data: bytes) -> str | None:
    """Bytes as text, where they are text."""
    if len(data) < 3:
        return None
    if data[1::2].count(0) * 2 > len(data) // 2 and len(data) > 5:
        encoding = "utf-16-le"
    elif data[::2].count(0) * 2 > len(data) // 2 and len(data) > 5:
        encoding = "utf-16-be"
    else:
        encoding = "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        # Something may stand glued to what was encoded; eight readable bytes in a row are no chance.
        return " ".join(stretch.decode() for stretch in _STRETCH.findall(data)) or None
    shown = sum(map(str.isprintable, text)) + sum(map(_BLANK_OR_HIDDEN.__contains__, text))
    return text if shown >= 0.9 * len(text) else None


def _from_base64(run: str) -> Iterator[str]:
    if run.isalpha() and run[1:].islower():
        return  # a word; base64 of text mixes capitals and small letters
    run = run.rstrip("=").translate(_TO_STANDARD)
    # Something may stand glued before it; then the groups of four begin later.
    for skipped in range(4 if len(run) >= 12 else 1):
        part = run[skipped:]
        part = part[: len(part) - 1] if len(part) % 4 == 1 else part
        try:
            data = base64.b64decode(part + "=" * (-len(part) % 4), validate=True)
        except binascii.Error:
            continue
        text = _readable(data)
        if text is not None:
            yield text
            return


_TO_STANDARD = str.maketrans("-_", "+/", "\r\n ,.|")


def _base64(text: str) -> Iterator[str]:
    for match in _BASE64.finditer(text):
        yield from _from_base64(match[0])
        if "/" in match[0] or "-" in match[0]:  # a path, or words joined by hyphens, of which one is encoded
            for part in re.split(r"[/-]", match[0]):
                if len(part) >= 8:
                    yield from _from_base64(part)
    for match in _BASE64_SPACED.finditer(text):
        yield from _from_base64(match[0])


def _base32(text: str) -> Iterator[str]:
    for match in _BASE32.finditer(text):
        run = match[0].rstrip("=").upper()
        try:
            said = _readable(base64.b32decode(run + "=" * (-len(run) % 8)))
        except binascii.Error:
            continue
        if said is not None:
            yield said


def _hex(text: str) -> Iterator[str]:
    for match in _HEX.finditer(text):
        run = match[0]
        for skipped in (0, 1):
            part = run[skipped:]
            said = _readable(bytes.fromhex(part[: len(part) & ~1]))
            if said is not None:
                yield said
                break
    for match in _HEX_BYTES.finditer(text):
        said = _readable(bytes.fromhex(_NOT_HEX.sub("", match[0])))
        if said is not None:
            yield said


def _codes(text: str) -> Iterator[str]:
    for match in _CODES.finditer(text):
        numbers = [int(n) for n in re.findall(r"\d+", match[0])]
        if all(32 <= n < 256 for n in numbers):
            said = _readable(bytes(numbers))
            if said is not None:
                yield said
    for match in _BITS.finditer(text):
        groups = match[0].split() if " " in match[0] else re.findall(r"[01]{8}", match[0])
        said = _readable(bytes(int(g, 2) for g in groups if len(g) <= 8))
        if said is not None:
            yield said


def _percent(text: str) -> Iterator[str]:
    if _PERCENT.search(text):
        yield unquote(text.replace("+", " "), errors="replace")


def _entities(text: str) -> Iterator[str]:
    if _ENTITY.search(text):
        yield unescape(text)


def _quoted(text: str) -> Iterator[str]:
    if _QUOTED.search(text):
        data = quopri.decodestring(text.encode("utf-8", "replace"))
        yield data.decode("utf-8", "replace")


def _escaped(match: re.Match[str]) -> str:
    octal = match[5]
    code = int(octal, 8) if octal else int(match[1] or match[2] or match[3] or match[4], 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else match[0]


_PAIR = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)
"""A character beyond the first plane, as JSON escapes it: in two halves."""


def _paired(match: re.Match[str]) -> str:
    return chr(0x10000 + ((int(match[1], 16) - 0xD800) << 10) + int(match[2], 16) - 0xDC00)


def _escapes(text: str) -> Iterator[str]:
    if _ESCAPE.search(text):
        yield _ESCAPE.sub(_escaped, _PAIR.sub(_paired, text))


def _invisible(text: str) -> Iterator[str]:
    for match in _TAGS.finditer(text):
        yield "".join(chr(ord(c) - 0xE0000) for c in match[0])
    for match in _SELECTORS.finditer(text):
        codes = [ord(c) for c in match[0]]
        said = _readable(bytes(c - 0xFE00 if c < 0xFE10 else c - 0xE0100 + 16 for c in codes))
        if said is not None:
            yield said
    for match in _NOUGHTS.finditer(text):
        kinds = list(dict.fromkeys(match[0]))
        if len(kinds) == 2:
            for nought in kinds:
                bits = "".join("0" if c == nought else "1" for c in match[0])
                said = _readable(bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8)))
                if said is not None:
                    yield said


def _spelt(text: str) -> Iterator[str]:
    said = _SPELT.sub(lambda m: "@" if m[1].lower() in ("at", "ät") else ".", text)
    said = _SPELT_ADDRESS.sub(lambda m: f"{m[1]}@{re.sub('(?i) dot ', '.', m[2])}", said)
    if said != text:
        yield said


_Decoder = Callable[[str], Iterator[str]]
_DECODERS: tuple[tuple[re.Pattern[str], _Decoder], ...] = (
    # What must stand in a text before a decoder is worth its time.
    (re.compile(r"[A-Za-z0-9+/_-]{8}|(?:[A-Za-z0-9+/_-]{2,8}[ ,.|]){3}"), _base64),
    (re.compile(r"[A-Z2-7]{13}|[a-z2-7]{13}"), _base32),
    (re.compile(r"[0-9a-fA-F]{8}|[0-9a-fA-F]{2}[ :,;-]{1,2}(?:0x)?[0-9a-fA-F]{2}[ :,;-]"), _hex),
    (re.compile(r"\d{2,3}[ ,;.-]{1,2}\d{2,3}[ ,;.-]|[01]{7}"), _codes),
    (_PERCENT, _percent),
    (_ENTITY, _entities),
    (_QUOTED, _quoted),
    (_ESCAPE, _escapes),
    (re.compile("[\u200b-\u200d\u2060\ufeff\ufe00-\ufe0f\U000e0020-\U000e007e\U000e0100-\U000e01ef]{4}"), _invisible),
    (re.compile(r"(?i)[\[({<] ?(?:at|ät|dot|punkt)\b| dot "), _spelt),
)


def decoded(text: str) -> Iterator[str]:
    """What the encoded parts of a text say, a few levels deep, then the text by rot13 and turned around."""
    text = text[:MOST_READ]
    left = MOST_READ
    known = {text}
    level = [text]
    for _ in range(MOST_DEEP):
        below: list[str] = []
        for one in level:
            for trigger, decode in _DECODERS:
                if trigger.search(one) is None:
                    continue
                for said in decode(one):
                    if said in known:
                        continue
                    if len(known) > MOST_TEXTS or len(said) > left:
                        break
                    known.add(said)
                    left -= len(said)
                    below.append(said)
                    yield said
        level = below
        if not level:
            break
    if text:
        yield codecs.encode(text, "rot13")
        yield text[::-1]
