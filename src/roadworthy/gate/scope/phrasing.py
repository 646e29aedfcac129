"""How something is phrased: a text as a sparse vector of its ideas, words, pairs of words and parts of words.

What counts is what a text shares with the examples of a contract, and how much of it they do not know: a word that no
example has adds to the length of the vector and to nothing else, so that strange texts come out small.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import pairwise

from roadworthy.gate.scope.background import IDEAS, SMALL_TALK

_TOKEN = re.compile(r"([^\s@]{1,64}@[^\s@]{1,255}|\w{2,10}://\S+|www\.\S+)|[^\W_]+(?:[-_./][^\W_]+)*")
_PIECE = re.compile(r"[^\W_]+")
_APOSTROPHE = re.compile(r"(?<=\w)['\u2019\u02bc](?=\w)")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_SUFFIXES = ("ings", "ing", "ed", "es", "s", "ly")
_LONGEST = 40
"""A longer word is cut: its parts would outweigh the rest of the text."""
_SHORTEST = 4
"""Shorter letters beside digits are part of an id."""
NUMBER = "0"
"""Stands for whatever has a digit in it: which number it is says nothing of what is wanted."""
ADDRESS = "@"
"""Stands for an e-mail address or a link."""

_PARTS = (3, 4, 5)
"""How many characters the parts of a word have; its beginning and end count as one."""
_WEIGHTS = (1.0, 1.0, 1.5, 1.5)
"""How much ideas, stems, pairs of near words and parts of words count beside each other."""

_FIRST = 0.5
"""The value of the first column, which is every text's: what is so before anything is said. Smaller learns faster."""

Vector = tuple[tuple[int, ...], tuple[float, ...]]
"""The columns in which a text has a value, and the values."""


def words(text: str) -> list[str]:
    """The words of a text, folded; numbers, ids and addresses are stood for by a mark."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).casefold()
    found: list[str] = []
    for match in _TOKEN.finditer(_APOSTROPHE.sub("", text)):
        if match[1] is not None:
            found.append(ADDRESS)
            continue
        pieces = _PIECE.findall(match[0])
        if any(map(str.isdigit, match[0])):  # an id, an amount or a date, which may have a word before it
            found += [piece[:_LONGEST] for piece in pieces if len(piece) >= _SHORTEST and piece.isalpha()]
            found.append(NUMBER)
        else:
            found += [piece[:_LONGEST] for piece in pieces]
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


_stem = lru_cache(maxsize=8192)(stem)
_SAYS_NOTHING = frozenset(map(stem, SMALL_TALK.split()))


def says_nothing(found: Sequence[str]) -> bool:
    """Whether words ask for nothing: small talk, numbers and addresses alone."""
    return all(word in (NUMBER, ADDRESS) or _stem(word) in _SAYS_NOTHING for word in found)


@lru_cache(maxsize=8192)
def _parts(word: str) -> tuple[str, ...]:
    if len(word) == 1:
        return (word,)
    padded = f" {word} "
    return tuple(padded[at : at + n] for n in _PARTS for at in range(len(padded) - n + 1))


@cache
def _ideas() -> dict[str, tuple[str, ...]]:
    """From a stem, or two with a blank between them, to the ideas that it belongs to."""
    index: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(IDEAS.strip().splitlines()):
        for word in line.split():
            key = " ".join(map(stem, word.split("-")))
            if str(number) not in index.get(key, ()):
                index[key] = (*index.get(key, ()), str(number))
    return index


def _kinds(found: Sequence[str]) -> tuple[list[str], ...]:
    """Every feature of a text, each kind by itself. What is no known idea and no small talk is an idea of its own."""
    stems = [_stem(word) for word in found]
    index = _ideas()
    ideas: list[str] = []
    before = ""
    for word in stems:
        ideas_here = (*index.get(word, ()), *index.get(f"{before} {word}", ()))
        if ideas_here:
            ideas += ideas_here
        elif word not in _SAYS_NOTHING:
            ideas.append(word)
        before = word
    return (
        ideas,
        stems,
        [
            *(f"{a} {b}" for a, b in pairwise(("", *found, ""))),  # where a text begins and ends tells something, too
            *(f"{a}  {b}" for a, b in zip(found, found[2:], strict=False)),
        ],
        [part for word in found for part in _parts(word)],
    )


def _counted(features: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for feature in features:
        counts[feature] = counts.get(feature, 0) + 1
    return counts


def _of_count(count: int) -> float:
    return 1.0 + math.log(count) if count > 1 else 1.0


@lru_cache(maxsize=8192)
def _rarity(places: int, texts: int) -> float:
    return math.log((1 + texts) / (1 + places)) + 1.0


class Phrasing:
    """The phrasing of some texts: which columns they have, and the vector of any other text in these columns.

    Features that stand in the same texts equally often share one column of the same length, and so do all that only
    one text has; that changes no product of two vectors and makes them several times as short.
    """

    __slots__ = ("_known", "_texts", "columns", "learnt")

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        """Learns from texts, each as its `words`."""
        kinds = [_kinds(text) for text in texts]
        rows: list[tuple[list[int], list[float]]] = [([0], [_FIRST]) for _ in texts]
        lonely: list[list[tuple[int, list[str], float]]] = [[] for _ in texts]
        scales: list[list[float]] = []
        lengths = [0.0 for _ in texts]
        self._texts = len(texts)
        self._known: list[dict[str, tuple[int, int, float]]] = [{} for _ in _WEIGHTS]
        self.columns = 1
        shared: list[tuple[int, tuple[tuple[int, int], ...], int, float]] = []
        for kind, weight in enumerate(_WEIGHTS):
            standing: dict[str, list[tuple[int, int]]] = {}
            for text, features in enumerate(kinds):
                for feature, count in _counted(features[kind]).items():
                    standing.setdefault(feature, []).append((text, count))
            alike: dict[tuple[tuple[int, int], ...], list[str]] = {}
            for feature, places in standing.items():
                alike.setdefault(tuple(places), []).append(feature)
            squares = [0.0 for _ in texts]
            for places, features in alike.items():
                rarity = _rarity(len(places), len(texts))
                for text, count in places:
                    squares[text] += len(features) * (_of_count(count) * rarity) ** 2
                if len(places) == 1:
                    lonely[places[0][0]].append((kind, features, _of_count(places[0][1]) * rarity))
                    continue
                together = math.sqrt(len(features))
                entry = (self.columns, len(places), 1.0 / together)
                self._known[kind].update(dict.fromkeys(features, entry))
                shared.append((kind, places, self.columns, rarity * together))
                self.columns += 1
            for text, square in enumerate(squares):
                lengths[text] += weight * weight if square else 0.0
            scales.append([weight / math.sqrt(square) if square else 0.0 for square in squares])
        lengths = [math.sqrt(length) for length in lengths]
        for kind, places, column, value in shared:
            for text, count in places:
                rows[text][0].append(column)
                rows[text][1].append(_of_count(count) * value * scales[kind][text] / lengths[text])
        for text, found in enumerate(lonely):
            if found:
                own = math.sqrt(sum(len(f) * (value * scales[kind][text]) ** 2 for kind, f, value in found))
                for kind, features, value in found:
                    entry = (self.columns, 1, value * scales[kind][text] / own)
                    self._known[kind].update(dict.fromkeys(features, entry))
                rows[text][0].append(self.columns)
                rows[text][1].append(own / lengths[text])
                self.columns += 1
        self.learnt: list[Vector] = [(tuple(columns), tuple(values)) for columns, values in rows]
        """The vectors of the texts that were learnt from; but for the first column they have length 1."""

    def vector(self, text: Sequence[str], *, own: bool = False) -> Vector:
        """A text, as its `words`, in these columns; but for the first at most 1 long, shorter by what is strange.

        `own`: the text is one of those that were learnt from, and its vector is to be as if it were not.
        """
        columns: dict[int, float] = {}
        length = 0.0
        less = 1 if own else 0
        texts = self._texts - less
        strange = _rarity(0, texts)
        for features, known, weight in zip(_kinds(text), self._known, _WEIGHTS, strict=True):
            square = 0.0
            here: list[tuple[int, float]] = []
            for feature, count in _counted(features).items():
                entry = known.get(feature)
                if entry is None or entry[1] == less:
                    value = _of_count(count) * strange
                else:
                    value = _of_count(count) * _rarity(entry[1] - less, texts)
                    here.append((entry[0], value * entry[2]))
                square += value * value
            if square:
                length += weight * weight
                scale = weight / math.sqrt(square)
                for column, value in here:
                    columns[column] = columns.get(column, 0.0) + value * scale
        scale = 1.0 / math.sqrt(length) if length else 0.0
        return ((0, *columns), (_FIRST, *(v * scale for v in columns.values())))
