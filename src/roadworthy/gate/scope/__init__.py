"""Is what the user wants in scope, and under which capability does it fall?

Learnt from `means` and `examples` of the contract's capabilities and a small everyday vocabulary, so it needs no model,
no network and no data, and gives the same answer everywhere. It helps to open a capability and is never a permission:
what an open capability allows is decided action by action.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import Literal

from roadworthy.contract.model import Contract
from roadworthy.gate.scope.background import ELSEWHERE
from roadworthy.gate.scope.phrasing import Phrasing, says_nothing, words
from roadworthy.gate.scope.separators import Separators

Certainty = Literal["in", "uncertain", "out"]

_ROUNDS = 10
_MANY = 500
"""From so many turns on, more rounds tell more; with fewer they only take longer."""
_FOLDS = 4
_ENOUGH = 100
"""So many turns tell well enough how turns come out that were not learnt from."""
_COST = 2.0
_COST_ELSEWHERE = 0.05
_STRANGERS = ELSEWHERE[1::2]
_LEARNT_AGAINST = ELSEWHERE[::2]
_TAIL = 1.645
"""Standard deviations from the mean beyond which 1 of 20 lies."""
_USUAL_SPREAD = 0.25
_USUAL_WEIGHT = 5
"""The spread of few scores is not known well; it is taken together with so many usual ones."""

_LONGEST = 8000
"""Characters that are read, the last ones: what was said last counts."""
_MOST_SENTENCES = 40
_SENTENCE = re.compile(r"[.!?;\n\u3002\uff01\uff1f]+(?:\s|$)|\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What the user's words were taken for."""

    capability: str | None
    """The capability that fits best; None where nothing is asked for or nothing fits."""
    certainty: Certainty
    """in: the words fall under the capability; uncertain: the user should be asked; out: no capability is meant."""
    scores: Mapping[str, float]
    """How well each capability fits, best first; from `bounds.sure` on it is taken to be meant."""
    within: tuple[str, ...] = ()
    """All capabilities that the words fall under, best first; several where a turn asks for several things."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """From where on a score is taken for something, as found with turns that were left out of the learning."""

    sure: float
    """Reached by about 1 of 20 strangers' turns, or fewer: in scope."""
    possible: float
    """Missed by about 1 of 20 turns that are in scope, or fewer: below it, out of scope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopePolicy:
    """What the capabilities of a contract sound like. It is learnt from when first asked, once per meaning."""

    capabilities: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Each capability with its meaning and its examples, in the order of their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """A scope policy made ready for use."""

    phrasing: Phrasing
    separators: Separators
    bounds: Bounds
    small_talk: bool
    """Whether a capability is about small talk: an example is nothing else."""


def compile_scope(contract: Contract) -> ScopePolicy | None:
    """The scope of a contract; None where no capability gives examples of what users say."""
    capabilities = tuple(
        (name, spec.means, tuple(example for example in spec.examples if words(example)))
        for name, spec in sorted(contract.capabilities.items())
    )
    return ScopePolicy(capabilities=capabilities) if any(examples for _, _, examples in capabilities) else None


@lru_cache(maxsize=64)
def learnt(policy: ScopePolicy) -> Learnt:
    """The policy made ready; takes time in proportion to its examples, and none when it was asked for before."""
    count = len(policy.capabilities)
    rows = [
        [(words(text), k, at > 0) for at, text in enumerate((means, *examples))]
        for k, (_, means, examples) in enumerate(policy.capabilities)
    ]
    rows.append([(words(text), count, False) for text in _LEARNT_AGAINST])
    # Turn about: what is learnt from many examples of one class in a row is forgotten over the next.
    turns = [turn for row in zip_longest(*rows) for turn in row if turn is not None and turn[0]]
    phrasing = Phrasing([text for text, _, _ in turns])
    separators = Separators(
        phrasing.learnt,
        [k for _, k, _ in turns],
        classes=count,
        columns=phrasing.columns,
        costs=[_COST_ELSEWHERE if k == count else _COST for _, k, _ in turns],
    )
    separators.fit(range(len(turns)), rounds=_ROUNDS, still=0.1 if len(turns) >= _MANY else 0.2)
    said = {at: text for at, (text, _, example) in enumerate(turns) if example}
    return Learnt(
        phrasing=phrasing,
        separators=separators,
        bounds=_bounds(phrasing, separators, said),
        small_talk=any(map(says_nothing, said.values())),
    )


def _bounds(phrasing: Phrasing, separators: Separators, said: Mapping[int, list[str]]) -> Bounds:
    """Calibrates on examples left out a part at a time, and on strangers' turns that were never learnt from."""
    meant: list[float] = []
    strange = [max(separators.margins(phrasing.vector(words(text)))) for text in _STRANGERS]
    every = range(len(separators.labels))
    of_class: dict[int, int] = {}
    fold: dict[int, int] = {}
    folds = max(_FOLDS, len(said) // _ENOUGH)
    for example in said:
        label = separators.labels[example]
        fold[example] = of_class[label] = (of_class.get(label, -1) + 1) % folds
    for part in range(folds):
        if len(meant) >= _ENOUGH:
            break
        left_out = [example for example in said if fold[example] == part]
        if not left_out:
            break
        others = separators.copy()
        others.forget(left_out)
        others.fit(
            [example for example in every if fold.get(example) != part],
            rounds=2 if len(every) >= _MANY else 1,
            still=0.0,
        )
        for example in left_out:
            margins = others.margins(phrasing.vector(said[example], own=True))
            meant.append(max(margins))
            del margins[separators.labels[example]]
            strange += [max(margins)] if margins else []
    low = _mean(meant) - _TAIL * _spread(meant)
    high = _mean(strange) + _TAIL * _spread(strange)
    return Bounds(sure=max(low, high), possible=min(low, high))


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)


def _spread(scores: Sequence[float]) -> float:
    mean = _mean(scores)
    squares = sum((score - mean) ** 2 for score in scores) + _USUAL_WEIGHT * _USUAL_SPREAD**2
    return math.sqrt(squares / (len(scores) + _USUAL_WEIGHT))


def classify(policy: ScopePolicy, text: str) -> Scope:
    """What the user wants, by what they said in one turn.

    A turn of several sentences is in scope when one of them is: people greet, thank and tell stories around what they
    want. A turn that asks for nothing ("yes please", a number, an address) is uncertain and names no capability,
    unless there is a capability for small talk.
    """
    ready = learnt(policy)
    text = text[-_LONGEST:]
    sentences = [words(part) for part in _SENTENCE.split(text)[-_MOST_SENTENCES:] if part.strip()]
    parts = [words(text), *(sentences if len(sentences) > 1 else ())]
    asking = [part for part in parts if ready.small_talk or not says_nothing(part)]
    margins = [ready.separators.margins(ready.phrasing.vector(part)) for part in asking or parts[:1]]
    best = [max(of_one) for of_one in zip(*margins, strict=True)]
    order = sorted(range(len(best)), key=lambda k: -best[k])
    scores = {policy.capabilities[k][0]: best[k] for k in order}
    first = policy.capabilities[order[0]][0]
    if not asking:
        return Scope(capability=None, certainty="uncertain", scores=scores)
    within = tuple(name for name, score in scores.items() if score >= ready.bounds.sure)
    if within:
        return Scope(capability=first, certainty="in", scores=scores, within=within)
    if scores[first] < ready.bounds.possible:
        return Scope(capability=None, certainty="out", scores=scores)
    return Scope(capability=first, certainty="uncertain", scores=scores)
