"""What the user may be told only when it was done: "refunded", "your money is on its way".

A claim's words are looked for as whole words, whatever stands between them. They may stand in a text while nothing
was done only where the text plainly says something else: that it did *not* happen, that something waits *until* it
has, or whether the user *wants* it. Whatever is not plainly one of these is a claim.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from roadworthy.contract.model import Claim
from roadworthy.gate.forms.lookalikes import INVISIBLE, LOOKALIKES

_QUOTES = {0x2018: "'", 0x2019: "'"}
_TAG = re.compile(r"<[^<>]*>")
_WORD = r"[^\W_]"
_FILLING = (
    "be|been|being|is|are|was|were|has|have|had|get|got|gets|it|this|that|the|your|my|our|any|yet|already|so|far|"
    "worden|wurde|noch|ihr|ihre|dein|deine|das|fue|sido|ha|encore|\u00e9t\u00e9"
)
_NOT = (
    r"(?:not|never|cannot|can't|couldn't|won't|wasn't|weren't|isn't|aren't|hasn't|haven't|hadn't|didn't|don't|"
    r"doesn't|wouldn't|nothing|unable[ \t]+to|nicht|nie|pas|jamais|nunca)"
)
_DENIED = re.compile(rf"(?<!{_WORD}){_NOT}(?:[ \t]+(?:{_FILLING}))*[ \t]+$")
_NOT_BEFORE = re.compile(rf"(?<!{_WORD})(?:why|whether|if|that|not|never)\s+$")
_WAITING = re.compile(
    rf"(?<!{_WORD})(?:if|unless|until|once|as[ ]soon[ ]as|whether|sobald|falls|wenn|bis)"
    r"(?:[ \t]+(?:it|this|that|the|your|is|are|can|could|be|been|has|have|gets|amount|payment|money|invoice|order))*"
    r"[ \t]+$"
)
_WANTED = re.compile(
    r"^\W*(?:(?:so|or|hello|hi|ok|okay|now)\W+)*"
    r"(?:(?:do|would)\s+you\s+(?:want|like|wish|prefer|need)|(?:shall|should|may|can|could)\s+(?:i|we)|"
    r"m\u00f6chten\s+sie|m\u00f6chtest\s+du|soll\s+ich|sollen\s+wir)(?!\w)"
)
_SAID_ALREADY = re.compile(
    r"(?<!\w)(?:that|was|were|been|has|had|already|know|hear|told|tell|say|inform|confirm|announce|mention|remind|because|since|"
    r"wurde|worden|dass|but|and)(?!\w)"
)
_SENTENCE = re.compile(r"[.!?:;\n]+(?=\s|$)|\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledClaim:
    """Words that may be told the user only when a tool was called."""

    says: tuple[str, ...]
    needs: str
    words: re.Pattern[str]
    heads: tuple[str, ...]
    """The first word of each phrase: a text without any of them makes no claim."""


def compile_claims(claims: Sequence[Claim]) -> tuple[CompiledClaim, ...]:
    """The claims of a contract, ready to be looked for. Words without a letter or digit are left out."""
    compiled: list[CompiledClaim] = []
    for claim in claims:
        phrases = [r"[\W_]+".join(map(re.escape, re.findall(r"[^\W_]+", plain(says)))) for says in claim.says]
        given = [phrase for phrase in phrases if phrase]
        if given:
            words = re.compile(rf"(?<!{_WORD})(?:{'|'.join(given)})(?!{_WORD})")
            heads = tuple(dict.fromkeys(phrase.split(r"[\W_]+")[0] for phrase in given))
            compiled.append(CompiledClaim(says=claim.says, needs=claim.needs, words=words, heads=heads))
    return tuple(compiled)


def plain(text: str) -> str:
    """A text as it is read once rendered: without case, marks, invisible characters and look-alikes."""
    text = text.casefold()
    if "*" in text or "`" in text:
        text = text.replace("*", "").replace("`", "")
    if "<" in text:
        text = _TAG.sub("", text)
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text.translate(INVISIBLE)).casefold().translate(LOOKALIKES).translate(_QUOTES)
    return "".join(char for char in text if not unicodedata.category(char).startswith("C") or char in "\n\t\r")


def claimed(text: str, claim: CompiledClaim) -> str | None:
    """The words of a claim that a text, as `plain` has it, makes; None where it makes none."""
    if not any(head in text for head in claim.heads):
        return None
    for found in claim.words.finditer(text):
        if not _says_otherwise(text, found.start(), found.end()):
            return found[0]
    return None


def _says_otherwise(text: str, start: int, end: int) -> bool:
    before = text[max(start - 120, 0) : start]
    denied = _DENIED.search(before)
    if denied is not None and _NOT_BEFORE.search(before[: denied.start()]) is None:
        return True
    if _WAITING.search(before) is not None:
        return True
    begins = 0
    for cut in _SENTENCE.finditer(text, max(start - 400, 0), start):
        begins = cut.end()
    stop = _SENTENCE.search(text, end)
    sentence = text[begins : stop.end() if stop is not None else len(text)].strip()
    return (
        "?" in sentence[-3:]
        and _WANTED.search(sentence) is not None
        and _SAID_ALREADY.search(text, begins, start) is None
    )
