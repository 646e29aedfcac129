"""Text brought into one way of writing, so that values and words in it can be compared.

Two ways, for two questions. `clean` is careful: it undoes what a keyboard or a typesetter did (digits of other
scripts, wide letters, thin blanks, zero-width characters) and nothing else, because a value that is only alike must
not be taken for the same. `bare` is greedy: it takes off accents and look-alike letters, too, because what leaves the
house in disguise has left the house.
"""

from __future__ import annotations

import re
import unicodedata

# Characters that are themselves in NFKC, whatever stands beside them but marks; plus a few that must stay as they are
# (an ellipsis would become three full stops).
_SAFE = (
    "\x00-\x7f\u00a1-\u00a7\u00a9\u00ab\u00ac\u00ae\u00b0\u00b1\u00b6\u00b7\u00bb\u00bf-\u012f\u0131\u014a-\u017e"
    "\u0180-\u01c3\u01cd-\u01f0\u01f4-\u02af\u038e-\u03a1\u03a3-\u03cf\u0400-\u0482\u048a-\u052f\u05d0-\u05ea"
    "\u061d-\u063a\u0641-\u064a\u0904-\u0927\u092a-\u0930\u201a\u201c-\u201e\u2020-\u2022\u2026\u20ac\u2190-\u21ff"
    "\u2500-\u27bf\u3001\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\U0001f300-\U0001f64f"
)
_ODD = re.compile(f"[^{_SAFE}]")
_MOST_MARKS = 8
"""Marks of one letter that are looked at; more than a language has are decoration."""
_STAYS = ("<super>", "<sub>", "<fraction>", "<circle>")
"""Kinds of characters that are not what they would become: 42² is not 422."""


_SAME_ROOM = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\ufe58", "-"),
    **dict.fromkeys("\u2014\u2015\u2028\u2029\u0085\u202d\u202e", " "),  # overrides: nothing is read across them
    **dict.fromkeys("\u2018\u2019\u201b\u2032\u02bc\u066c", "'"),
    **dict.fromkeys("\u066b\u3002\uff61", "."),
    **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    "\u066a": "%",
    "\u2044": "/",
    "\u2215": "/",
    "\u0130": "I",
}
"""Characters with one that stands for them and takes the same room; digits of all scripts and blanks are added."""


def _as_usual(character: str) -> str:
    """The character of the same width that stands for this one, or itself."""
    found = _SAME_ROOM.get(character)
    if found is not None:
        return found
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return " " if category == "Zs" else character


_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufe00-\ufe0f\U000e0000-\U000e0fff]")


def _hidden(character: str) -> bool:
    return unicodedata.category(character) == "Cf" or _INVISIBLE.match(character) is not None


def _in_room(match: re.Match[str]) -> str:
    return _as_usual(match[0])


def clean(text: str) -> tuple[str, list[int] | None]:
    """The text in one way of writing, and for each of its places the place in the text as it was given.

    The second is None where both have the same places. It has one more item than the text has characters.
    """
    if text.isascii() or not _ODD.search(text):
        return text, None
    text = _ODD.sub(_in_room, text)
    if not _ODD.search(text):
        return text, None
    made: list[str] = []
    back: list[int] = []
    marks = 0
    for at, character in enumerate(text):
        if not _ODD.match(character):
            made.append(character)
            back.append(at)
            marks = 0
        elif _hidden(character):
            continue
        elif made and (unicodedata.combining(character) or 0x1160 <= ord(character) <= 0x11FF):
            marks += 1
            if marks <= _MOST_MARKS:
                made[-1] = unicodedata.normalize("NFKC", made[-1] + character)
        else:
            marks = 0
            stays = unicodedata.decomposition(character).startswith(_STAYS)
            written = character if stays else unicodedata.normalize("NFKC", character)
            made.append("".join(_as_usual(c) for c in written))
            back.append(at)
    if all(len(piece) == 1 for piece in made):
        return "".join(made), [*back, len(text)]
    places = [start for piece, start in zip(made, back, strict=True) for _ in piece]
    return "".join(made), [*places, len(text)]


_WORD = re.compile(r"[^\W_]+")
_OWN_WORDS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
"""Letters of scripts that put no blanks between words: each counts as a word."""


def split_words(text: str) -> list[str]:
    """The words of a text that is clean: runs of letters and digits, without case."""
    if text.isascii():
        return _WORD.findall(text.lower())
    return _WORD.findall(_OWN_WORDS.sub(r" \g<0> ", text.lower()).casefold())


_NOT_BARE = re.compile(r"[\W_\u115f\u1160\u3164\uffa0]+")
_OTHER_DIGIT = re.compile(r"[^\x00-\x7f\D]")
_ALIKE = str.maketrans(
    # Cyrillic, then Greek.
    "АВЕКМНОРСТУХЅІЈаеокрсухѕіјԁԛԝһӏ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαειοκνρυ",
    "ABEKMHOPCTYXSIJaeokpcyxsijdqwhl" + "ABEZHIKMNOPTYXaeiokvpu",
)


def bare(text: str) -> str:
    """Letters and digits only, without case, accents, invisible characters and look-alike letters."""
    if text.isascii():
        return _NOT_BARE.sub("", text.lower())
    kept: list[str] = []
    for piece in _cut_marks(text):
        kept.append(_NOT_BARE.sub("", unicodedata.normalize("NFKD", piece).translate(_ALIKE).casefold()))
    made = "".join(kept)
    return _OTHER_DIGIT.sub(_in_room, made) if _OTHER_DIGIT.search(made) else made


_MARKS = "[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]"
_MANY_MARKS = re.compile(f"({_MARKS}{{{_MOST_MARKS}}}){_MARKS}+")
_PIECE = 4096


def _cut_marks(text: str) -> list[str]:
    """The text in pieces that can be normalised in linear time: heaps of marks make that quadratic."""
    text = _MANY_MARKS.sub(r"\1", text)
    return [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
