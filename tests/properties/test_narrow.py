"""The law of inherited signatures: whatever a version that only narrows allows, the old one allowed.

Versions are made up by changing the reference contract anywhere, and driven side by side through real gates.
"""

from __future__ import annotations

import os
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.properties.versions import base, changed, follow

from roadworthy.contract.diff import differences
from roadworthy.contract.model import Contract
from roadworthy.contract.narrow import only_narrows

EXAMPLES = int(os.environ.get("ROADWORTHY_NARROW_EXAMPLES", "40"))
"""How many pairs are tried; thousands take minutes."""
RUNS = 6
"""Runs of one pair."""
DATA = base()
BASE = Contract.model_validate(DATA)

seeds = st.integers(0, 2**32)


def told(old: Contract, new: Contract) -> str:
    return "\n".join(f"{change.kind}: {change.text}" for change in differences(old, new))


@given(seed=seeds)
@settings(deadline=None, max_examples=EXAMPLES)
def test_whatever_a_narrower_version_allows_the_old_one_allowed(seed: int) -> None:
    chance = random.Random(seed)
    made = changed(chance, DATA)
    if made is None:
        return
    new, old = (made[0], BASE) if chance.random() < 0.7 else (BASE, made[0])
    if not only_narrows(new, old):
        return
    for _ in range(RUNS):
        wider = follow(new, old, chance, Counter())
        assert wider is None, f"{wider}\n{told(old, new)}"


def test_the_law_says_something() -> None:
    """A good share of the versions narrow, their runs get somewhere, and what is wider is seen to be wider."""
    chance = random.Random(7)
    tally: Counter[str] = Counter()
    pairs = narrower = wider = 0
    while pairs < 60:
        made = changed(chance, DATA)
        if made is None or made[0].digest == BASE.digest:
            continue
        pairs += 1
        new = made[0]
        if not only_narrows(new, BASE):
            continue
        narrower += 1
        for _ in range(2):
            assert follow(new, BASE, chance, tally) is None, told(BASE, new)
        wider += any(follow(BASE, new, chance, Counter()) is not None for _ in range(4))
    assert narrower >= pairs // 5
    assert wider >= narrower // 5
    assert tally["executed"] > tally["blocked"] / 2
    assert all(tally[what] for what in ("asked", "simulated", "said"))
