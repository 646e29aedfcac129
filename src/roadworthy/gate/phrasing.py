"""How something is phrased: a text as a sparse vector of its words, pairs of words and parts of words.

What counts is what a text shares with the examples of a contract, and how much of it they do not know: a word that no
example has adds to the length of the vector and to nothing else, so that strange texts come out small.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

_TOKEN = re.compile(r"([^\s@]{1,64}@[^\s@]{1,255}|\w{2,10}://\S+|www\.\S+)|[^\W_]+")
_APOSTROPHE = re.compile(r"(?<=\w)['\u2019\u02bc](?=\w)")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_SUFFIXES = ("ings", "ing", "ed", "es", "s", "ly")
_LONGEST = 40
"""A longer word is cut: its parts would outweigh the rest of the text."""
NUMBER = "0"
"""Stands for a word with a digit in it: which number it is says nothing of what is wanted."""
ADDRESS = "@"
"""Stands for an e-mail address or a link."""

_PARTS = (2, 3, 4, 5)
"""How many characters the parts of a word have; its beginning and end count as one."""
_WEIGHTS = (0.5, 1.0, 0.5, 1.5)
"""How much words, stems, pairs of words and parts of words count beside each other."""

Vector = tuple[tuple[int, ...], tuple[float, ...]]
"""The columns in which a text has a value, and the values."""


def words(text: str) -> list[str]:
    """The words of a text, folded; a number and an address is stood for by its mark."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).casefold()
    found: list[str] = []
    for match in _TOKEN.finditer(_APOSTROPHE.sub("", text)):
        word = match[0]
        if match[1] is not None:
            found.append(ADDRESS)
        elif word.isalpha() or not any(c.isdigit() for c in word):
            found.append(word[:_LONGEST])
        else:
            found.append(NUMBER)
    return found


def stem(word: str) -> str:
    """A word without the endings of English; other languages lose little by it."""
    if len(word) <= 3:
        return word
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
                word = word[:-1]
            break
    if word.endswith("e") and len(word) > 4:
        word = word[:-1]
    if word.endswith("y") and len(word) > 3:
        word = word[:-1] + "i"
    return word


@lru_cache(maxsize=8192)
def _parts(word: str) -> tuple[str, ...]:
    if word in (NUMBER, ADDRESS):
        return (word,)
    padded = f" {word} "
    return tuple(padded[at : at + n] for n in _PARTS for at in range(len(padded) - n + 1))


def _kinds(found: Sequence[str]) -> tuple[list[str], ...]:
    """Every feature of a text, each kind by itself."""
    return (
        list(found),
        [stem(word) for word in found],
        [f"{a} {b}" for a, b in pairwise(found)],
        [part for word in found for part in _parts(word)],
    )


def _counted(features: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for feature in features:
        counts[feature] = counts.get(feature, 0) + 1
    return counts


def _of_count(count: int) -> float:
    return 1.0 + math.log(count) if count > 1 else 1.0


class Phrasing:
    """The phrasing of some texts: which columns they have, and the vector of any other text in these columns.

    Features that stand in the same texts equally often (nearly all parts of a word that one example has) share one
    column of the same length; that changes no product of two vectors and makes them several times as short.
    """

    __slots__ = ("_known", "_strange", "columns", "learnt")

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        """Learns from texts, each as its `words`."""
        kinds = [_kinds(text) for text in texts]
        rows: list[tuple[list[int], list[float]]] = [([], []) for _ in texts]
        lengths = [0.0 for _ in texts]
        self.columns = 1  # the first is every text's: what is so before anything is said
        self._strange = self._rarity(0, len(texts))
        self._known: list[dict[str, tuple[int, float, float]]] = []
        for kind, weight in enumerate(_WEIGHTS):
            standing: dict[str, list[tuple[int, int]]] = {}
            for text, features in enumerate(kinds):
                for feature, count in _counted(features[kind]).items():
                    standing.setdefault(feature, []).append((text, count))
            alike: dict[tuple[tuple[int, int], ...], list[str]] = {}
            for feature, places in standing.items():
                alike.setdefault(tuple(places), []).append(feature)
            known: dict[str, tuple[int, float, float]] = {}
            squares = [0.0 for _ in texts]
            begun = [len(row[0]) for row in rows]
            for places, features in alike.items():
                column = self.columns
                self.columns += 1
                rarity = self._rarity(len(places), len(texts))
                together = math.sqrt(len(features))
                for feature in features:
                    known[feature] = (column, rarity, 1.0 / together)
                for text, count in places:
                    value = _of_count(count) * rarity * together
                    squares[text] += value * value
                    rows[text][0].append(column)
                    rows[text][1].append(value)
            for text, square in enumerate(squares):
                if square:
                    lengths[text] += weight * weight
                    values = rows[text][1]
                    scale = weight / math.sqrt(square)
                    values[begun[text] :] = [v * scale for v in values[begun[text] :]]
            self._known.append(known)
        self.learnt: list[Vector] = [
            ((0, *columns), (1.0, *(v / math.sqrt(length) for v in values)) if length else (1.0,))
            for (columns, values), length in zip(rows, lengths, strict=True)
        ]
        """The vectors of the texts that were learnt from; but for the first column they have length 1."""

    @staticmethod
    def _rarity(places: int, texts: int) -> float:
        return math.log((1 + texts) / (1 + places)) + 1.0

    def vector(self, text: Sequence[str]) -> Vector:
        """A text, as its `words`, in these columns; but for the first at most 1 long, shorter by what is strange."""
        columns: dict[int, float] = {}
        length = 0.0
        strange = self._strange
        for features, known, weight in zip(_kinds(text), self._known, _WEIGHTS, strict=True):
            square = 0.0
            here: list[tuple[int, float]] = []
            for feature, count in _counted(features).items():
                entry = known.get(feature)
                if entry is None:
                    value = _of_count(count) * strange
                else:
                    value = _of_count(count) * entry[1]
                    here.append((entry[0], value * entry[2]))
                square += value * value
            if square:
                length += weight * weight
                scale = weight / math.sqrt(square)
                for column, value in here:
                    columns[column] = columns.get(column, 0.0) + value * scale
        scale = 1.0 / math.sqrt(length) if length else 0.0
        return ((0, *columns), (1.0, *(v * scale for v in columns.values())))
