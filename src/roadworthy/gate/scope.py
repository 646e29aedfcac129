"""Is what the user wants in scope, and under which capability does it fall?

Learnt from `means` and `examples` of the contract's capabilities and from nothing else, so it needs no model, no
network and no data, and gives the same answer everywhere. It is a help for opening a capability, never a permission:
what an open capability allows is decided action by action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import Literal

from roadworthy.contract.model import Contract
from roadworthy.gate.phrasing import Phrasing, words
from roadworthy.gate.separators import Separators

Certainty = Literal["in", "uncertain", "out"]

_ROUNDS = 5
_COST = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What the user's words were taken for."""

    capability: str | None
    """The capability that fits best; None where nothing fits at all."""
    certainty: Certainty
    """in: the words fall under the capability; uncertain: the user should be asked; out: no capability is meant."""
    scores: Mapping[str, float]
    """How well each capability fits, best first; comparable within one contract only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopePolicy:
    """What the capabilities of a contract sound like. It is learnt from when first asked, once per meaning."""

    capabilities: tuple[tuple[str, tuple[str, ...]], ...]
    """Each capability with its meaning and its examples, in the order of their names."""


def compile_scope(contract: Contract) -> ScopePolicy | None:
    """The scope of a contract; None where no capability gives examples of what users say."""
    if not any(spec.examples for spec in contract.capabilities.values()):
        return None
    return ScopePolicy(
        capabilities=tuple((name, (spec.means, *spec.examples)) for name, spec in sorted(contract.capabilities.items()))
    )


@lru_cache(maxsize=64)
def _learnt(policy: ScopePolicy) -> tuple[Phrasing, Separators]:
    by_capability = [[(words(text), k) for text in texts] for k, (_, texts) in enumerate(policy.capabilities)]
    turns = [turn for row in zip_longest(*by_capability) for turn in row if turn is not None]
    phrasing = Phrasing([text for text, _ in turns])
    separators = Separators(
        phrasing.learnt,
        [k for _, k in turns],
        classes=len(by_capability),
        columns=phrasing.columns,
        costs=[_COST] * len(turns),
    )
    separators.fit(range(len(turns)), rounds=_ROUNDS)
    return phrasing, separators


def classify(policy: ScopePolicy, text: str) -> Scope:
    """What the user wants, by what they said in a turn."""
    phrasing, separators = _learnt(policy)
    margins = separators.margins(phrasing.vector(words(text)))
    names = [name for name, _ in policy.capabilities]
    scores = dict(sorted(zip(names, margins, strict=True), key=lambda item: -item[1]))
    best = next(iter(scores))
    certainty: Certainty = "in" if scores[best] >= 0.0 else "uncertain" if scores[best] >= -0.6 else "out"
    return Scope(capability=None if certainty == "out" else best, certainty=certainty, scores=scores)
