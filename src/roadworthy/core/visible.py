"""Text from users, models and tools, made safe to look at.

A terminal escape can clear a screen, a bidirectional override can make `exe.fdp` read as `pdf.exe`, and a run of tag
characters can carry an instruction that nobody sees. Wherever people look, such characters stand as code points.
"""

from __future__ import annotations

import re
import unicodedata

_INVISIBLE = re.compile(
    # Default ignorable letters and marks, and the blank Braille cell: categories do not tell them.
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0000-\U000e0fff]"
)
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
_SAFE = re.compile(r"[ -~\n\u00a1-\u00ac\u00ae-\u02ff]*")
_JOINER = "\u200d"
_EMOJI_STYLE = "\ufe0f"


def _pictorial(character: str) -> bool:
    return unicodedata.category(character) in {"So", "Sk"} or character == _EMOJI_STYLE


def _hidden(text: str, at: int) -> bool:
    character = text[at]
    if character == "\n":
        return False
    before = text[at - 1] if at else ""
    after = text[at + 1] if at + 1 < len(text) else ""
    if character == _JOINER:
        return not (before and after and _pictorial(before) and _pictorial(after))
    if character == _EMOJI_STYLE:
        return not (before and unicodedata.category(before) in {"So", "Sm", "Po", "Nd"})
    return (
        unicodedata.category(character) in _HIDDEN_CATEGORIES
        or _INVISIBLE.match(character) is not None
        or _is_no_character(ord(character))
    )


def _is_no_character(code: int) -> bool:
    """Code points that Unicode never gives to a character (section 23.7); XML refuses some of them."""
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF


def pieces(text: str) -> list[tuple[str, bool]]:
    """The text cut into runs of plain text (False) and code points that must be named (True), such as `U+202E`.

    Line feeds are plain; a carriage return before one is dropped; an emoji keeps the joiners and the style that it is
    made of.
    """
    text = text.replace("\r\n", "\n")
    if _SAFE.fullmatch(text):
        return [(text, False)] if text else []
    found: list[tuple[str, bool]] = []
    start = 0
    for at, character in enumerate(text):
        if _hidden(text, at):
            if at > start:
                found.append((text[start:at], False))
            found.append((f"U+{ord(character):04X}", True))
            start = at + 1
    if start < len(text):
        found.append((text[start:], False))
    return found


def visible(text: str, *, lines: bool = True) -> str:
    """The text with control, bidirectional and invisible characters written out: `<U+202E>`.

    `lines=False` writes line feeds out as well, so that the result stays on one line.
    """
    shown = "".join(f"<{piece}>" if named else piece for piece, named in pieces(text))
    return shown if lines else shown.replace("\n", "<U+000A>")
