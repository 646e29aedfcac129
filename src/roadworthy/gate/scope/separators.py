"""Linear separators, learnt one class against the rest: support vector machines with squared hinge loss.

Solved by coordinate descent in the dual; source: Hsieh and others, A Dual Coordinate Descent Method for Large-scale
Linear SVM (ICML 2008), algorithm 1, with its shrinking in a simpler form: an example that a class has no trouble with
is looked at no more. The examples are shuffled the same way every time, so equal input gives equal separators.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter, mul
from typing import cast

from roadworthy.gate.scope.phrasing import Vector

_EASY = 0.1
"""How far beyond its margin an example must lie to be looked at no more."""
_SMALL = 1e-9


class Separators:
    """A weight for each column and class. `fit` may go on from what was learnt, with other examples left out."""

    __slots__ = ("_costs", "_picks", "_shares", "_squares", "_vectors", "classes", "labels", "weights")

    def __init__(
        self, vectors: Sequence[Vector], labels: Sequence[int], *, classes: int, columns: int, costs: Sequence[float]
    ) -> None:
        """`labels`: the class of each example, from 0; a label of `classes` or more belongs to none of them.

        `costs`: how much an example's being on the wrong side counts, by example.
        """
        self.classes = classes
        self.labels = labels
        self.weights = [array("d", bytes(8 * columns)) for _ in range(classes)]
        self._vectors = vectors
        self._picks = [_picker(columns) for columns, _ in vectors]
        self._squares = [sum(v * v for v in values) for _, values in vectors]
        self._costs = [1.0 / (2.0 * cost) for cost in costs]
        self._shares: list[dict[int, float]] = [{} for _ in vectors]

    def copy(self) -> Separators:
        """The same separators, to go on from without changing these."""
        other = object.__new__(Separators)
        other.classes, other.labels = self.classes, self.labels
        other._vectors, other._picks = self._vectors, self._picks
        other._squares, other._costs = self._squares, self._costs
        other.weights = [weights[:] for weights in self.weights]
        other._shares = [dict(shares) for shares in self._shares]
        return other

    def forget(self, examples: Iterable[int]) -> None:
        """Take back what some examples have put into the weights."""
        for example in examples:
            columns, values = self._vectors[example]
            for k, share in self._shares[example].items():
                by = -share if k == self.labels[example] else share
                weights = self.weights[k]
                for column, value in zip(columns, values, strict=True):
                    weights[column] += by * value
            self._shares[example] = {}

    def fit(self, examples: Sequence[int], *, rounds: int, still: float) -> int:
        """Go over some of the examples until little moves, and at most so often; tells how often.

        `still`: the part of the largest move of a round below which a round has settled it.
        """
        every = range(self.classes)
        active: list[list[int]] = [list(every) for _ in examples]
        most = 0.0
        for round_ in range(rounds):
            moved = 0.0
            for at in _shuffled(len(examples), round_):
                example = examples[at]
                columns, values = self._vectors[example]
                pick = self._picks[example]
                square = self._squares[example]
                slack = self._costs[example]
                shares = self._shares[example]
                label = self.labels[example]
                busy: list[int] = []
                for k in active[at]:
                    weights = self.weights[k]
                    margin = sum(map(mul, values, pick(weights)))
                    share = shares.get(k, 0.0)
                    gradient = (margin if k == label else -margin) - 1.0 + slack * share
                    if gradient >= 0.0 and not share:
                        if gradient < _EASY or not round_:
                            busy.append(k)
                        continue
                    busy.append(k)
                    new = max(share - gradient / (square + slack), 0.0)
                    by = new - share if k == label else share - new
                    if -_SMALL < by < _SMALL:
                        continue
                    shares[k] = new
                    moved += abs(by)
                    for column, value in zip(columns, values, strict=True):
                        weights[column] += by * value
                active[at] = busy
            most = max(most, moved)
            if moved <= still * most:
                return round_ + 1
        return rounds

    def margins(self, vector: Vector) -> list[float]:
        """On which side of each separator a vector lies, and how far; examples are meant to be at 1."""
        columns, values = vector
        pick = _picker(columns)
        return [sum(map(mul, values, pick(weights))) for weights in self.weights]


def _shuffled(count: int, round_: int) -> list[int]:
    """The numbers below `count`, far from their order and otherwise in each round; the same on every machine."""
    return sorted(
        range(count), key=lambda at: ((at + 1) * 2_654_435_761 + round_ * 40_503) * 2_246_822_519 % 4_294_967_291
    )


def _picker(columns: Sequence[int]) -> Callable[[Sequence[float]], tuple[float, ...]]:
    if len(columns) == 1:
        (only,) = columns
        return lambda weights: (weights[only],)
    return cast("Callable[[Sequence[float]], tuple[float, ...]]", itemgetter(*columns))
