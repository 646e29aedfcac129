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

_WEAK_WORDS = """
ok okay right sure correct exactly exact richtig stimmt genau claro vale certo
"""
_WEAK = frozenset(_WEAK_WORDS.split())
"""Words with which people also take note of something, and go on to something else."""
_ASKING_WORDS = """
what what's when where why how who which whose tell wann warum wieso wie wer quand pourquoi
"""
_ASKING = frozenset(_ASKING_WORDS.split())
_MEANT_WORDS = """
please proceed go do that's fine thanks bitte danke merci gracias favor
"""
_MEANT = frozenset(_MEANT_WORDS.split())
"""Words that make a yes of what a weak one begins."""
_SHORT = 3
"""Words that may follow a weak yes which nothing else makes a strong one."""

_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")
_CLOSER = re.compile(
    r"\b(?:(?:any|some)(?:thing|body)? else|anything (?:more|further)|any (?:other|further|more) (?:questions?|help)|"
    r"else i can|further assistance|sonst noch|noch etwas|weitere fragen|autre chose|algo m[aá]s|otra cosa|altro)\b"
)
"""Questions that end a talk: whoever says yes to one wants more, and has not said yes to what stands before it."""

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
    phrase = _begins_with_phrase(together)
    if said[0] not in YES and not phrase:
        return False
    if not phrase and _takes_note_only(said):
        return False
    if _ends_the_talk(question):
        return False
    asked = set(_NUMBER.findall(question))
    return all(number in asked for number in _NUMBER.findall(answer))


def _begins_with_phrase(words: str) -> bool:
    return any(words == p or words.startswith(f"{p} ") for p in YES_PHRASES)


def _takes_note_only(said: Sequence[str]) -> bool:
    """Whether a yes may be no more than "I see": it is a weak one, and goes on about something else."""
    if said[0] not in _WEAK:
        return False
    rest = list(said[1:])
    while rest and rest[0] in _WEAK:
        del rest[0]
    if not rest or rest[0] in YES or _begins_with_phrase(" ".join(rest)):
        return False
    return any(word in _ASKING for word in rest) or (len(rest) > _SHORT and _MEANT.isdisjoint(rest))


def _ends_the_talk(question: str) -> bool:
    """Whether the last question of a text is one such as "anything else?"."""
    asked = [part for part in _SENTENCES.split(question) if part.rstrip(" )*_\"'").endswith("?")]
    return bool(asked) and _CLOSER.search(unicodedata.normalize("NFKC", asked[-1]).casefold()) is not None


def _names(question: str, tool: str) -> bool:
    """Whether a question names a tool, by its whole name or by all words of the last part of it."""
    if tool.casefold() in unicodedata.normalize("NFKC", question).casefold():
        return True
    return set(_words(tool.rpartition(".")[2].replace("_", " "))) <= set(_words(question))


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

    def heard(self, text: str, answers: str | None = None) -> None:
        """The user answered. A yes affirms what was said since the last turn; a no takes back every earlier yes.

        `answers`: the question that was put by itself, and that these words answer.
        """
        question = "\n".join(self._asked if answers is None else [*self._asked, answers])
        self._asked.clear()
        if question and affirms(text, question):
            self._affirmed.append(question)
            del self._affirmed[:-_KEPT]
        elif refuses(text):
            self._affirmed.clear()
            self._used.clear()

    def missing(
        self,
        key: Any,
        args: Mapping[str, Any],
        shapes: Mapping[str, Shape],
        names: Sequence[str],
        *,
        tool: str,
        named: bool = False,
    ) -> list[str]:
        """The arguments that no affirmed question has read out; empty when a yes covers the call.

        Each yes covers a call once: `key` tells the call from others. `tool` is what the model calls the tool; a
        question must name it where `named` says so, and where there is no argument to be read out.
        """
        given = [name for name in names if args.get(name) is not None]
        covering, least = 0, given
        for question in self._affirmed:
            if (named or not given) and not _names(question, tool):
                continue
            left = [name for name in given if not mentions(question, args[name], shapes.get(name))]
            if not left:
                covering += 1
            elif len(left) < len(least):
                least = left
        if covering > self._used[key]:
            return []
        return least or list(names) or [tool]

    def use(self, key: Any, by: int = 1) -> None:
        """A call has used up a yes; `by=-1` gives it back, for nothing was done."""
        self._used[key] += by
