"""What the user has said yes to: questions that the agent put, and whether an answer affirms them.

Whoever reads a yes into words that are none moves somebody's money, so an answer affirms only when it says yes in
plain words, says nothing against it, and brings no number that was not in the question.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from roadworthy.contract.shapes import Shape
from roadworthy.gate.forms import mentions

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")

_YES = """
yes yep yeah yup sure ok okay correct right confirm confirmed approved agreed absolutely certainly exactly proceed
ja jawohl genau gerne einverstanden richtig stimmt oui d'accord exact parfait sí si claro correcto vale certo esatto
giusto sim isso da tak
"""
YES = frozenset(_YES.split())
"""Words that an answer may begin with to be a yes."""

YES_PHRASES = (
    "go ahead", "please do", "do it", "do so", "that's right", "that is right", "that's correct", "that is correct",
    "sounds good", "looks good", "i confirm", "i agree", "i do", "please go ahead", "please proceed", "of course",
    "mach das", "bitte machen", "auf jeden fall", "in ordnung", "vas-y", "allez-y", "bien sûr", "de acuerdo",
    "por favor", "va bene", "d'accordo",
)  # fmt: skip
"""Beginnings of several words that are a yes, too."""

_AGAINST = """
no nope nah not don't dont never cancel stop wait hold instead but except unless wrong incorrect rather first before
only maybe perhaps if isn't isnt won't wont can't cant cannot didn't doesn't without
nein nicht kein keine doch aber stopp warte sondern falsch vielleicht erst wenn non pas mais attends sauf jamais plutôt
pero espera nunca quizás cancela ma aspetta però mas não espere
"""
AGAINST = frozenset(_AGAINST.split())
"""Words after which an answer is no plain yes any more."""

_KEPT = 20
"""Affirmed questions that a run remembers."""


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()
    return _WORD.findall(plain)


def affirms(answer: str, question: str) -> bool:
    """Whether an answer is a plain yes to a question, without a condition, a doubt or another figure."""
    said = _words(answer)
    if not said or "?" in answer or any(word in AGAINST for word in said):
        return False
    together = " ".join(said)
    if said[0] not in YES and not any(together == p or together.startswith(f"{p} ") for p in YES_PHRASES):
        return False
    asked = set(_NUMBER.findall(question))
    return all(number in asked for number in _NUMBER.findall(answer))


def refuses(answer: str) -> bool:
    """Whether an answer takes back what was affirmed: it says no, or asks to wait."""
    return any(word in AGAINST for word in _words(answer))


class Confirmations:
    """The questions that the user has affirmed in one run, and which calls have used them up."""

    __slots__ = ("_affirmed", "_asked", "_used")

    def __init__(self) -> None:
        self._asked: list[str] = []
        self._affirmed: list[str] = []
        self._used: Counter[Any] = Counter()

    def said(self, text: str) -> None:
        """The agent told the user something; it may be a question."""
        self._asked.append(text)

    def heard(self, text: str) -> None:
        """The user answered. A yes affirms what was said since the last turn; a no takes back every earlier yes."""
        question = "\n".join(self._asked)
        self._asked.clear()
        if question and affirms(text, question):
            self._affirmed.append(question)
            del self._affirmed[:-_KEPT]
        elif refuses(text):
            self._affirmed.clear()
            self._used.clear()

    def missing(
        self, key: Any, args: Mapping[str, Any], shapes: Mapping[str, Shape], names: Sequence[str]
    ) -> list[str]:
        """The arguments that no affirmed question has read out; empty when a yes covers the call.

        Each yes covers a call once: `key` tells the call from others.
        """
        given = [name for name in names if args.get(name) is not None]
        covering, least = 0, given
        for question in self._affirmed:
            left = [name for name in given if not mentions(question, args[name], shapes.get(name))]
            if not left:
                covering += 1
            elif len(left) < len(least):
                least = left
        if covering > self._used[key]:
            return []
        return least or list(names)

    def use(self, key: Any, by: int = 1) -> None:
        """A call has used up a yes; `by=-1` gives it back, for nothing was done."""
        self._used[key] += by
