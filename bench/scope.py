"""How well is it told from a few examples what a user wants, and that they want something else altogether?

On CLINC150 (150 intents, 100 examples each, and questions that belong to none): the accuracy on what is in scope, and
how well the best score parts what is in scope from what is not (AUROC), learnt from all examples and from 20 and 5 an
intent. Beside it TF-IDF with logistic regression, where scikit-learn is installed. And what contracts usually are: 3 or
10 capabilities, strangers being the questions of the other intents, too, which is the harder kind; there the intent's
name stands for `means`, and the shares of in, uncertain and out are told.

The data is looked for in $ROADWORTHY_DATA/clinc150, else in ../shared/data/clinc150; without it the script says so and
ends well. `--split val` measures on the part that was used for building it. With `--json` the last line is one JSON
object.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from roadworthy.gate.scope import ScopePolicy, classify, learnt

DATA = Path(os.environ.get("ROADWORTHY_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
TURNS = DATA / "clinc150" / "data_full.json"
DRAWS = 3
"""How often examples are drawn for 20 and 5 an intent; the figures are means."""
USUAL = ((3, 5), (3, 20), (10, 5), (10, 20))
USUAL_DRAWS = 15
STRANGERS = 600
Turns = Mapping[str, Sequence[str]]


def grouped(rows: Iterable[Sequence[str]]) -> dict[str, list[str]]:
    """Turns by their intent."""
    found: dict[str, list[str]] = {}
    for turn, intent in rows:
        found.setdefault(intent, []).append(turn)
    return found


def drawn(turns: Turns, count: int, seed: int) -> dict[str, list[str]]:
    """Some examples of each intent."""
    chance = random.Random(f"{count} examples, draw {seed}")
    return {intent: chance.sample(list(given), count) for intent, given in sorted(turns.items())}


def auroc(inside: Sequence[float], outside: Sequence[float]) -> float:
    """The chance that a turn in scope scores above one out of scope; ties count half."""
    ranked = sorted([(score, 1) for score in inside] + [(score, 0) for score in outside])
    total = 0.0
    at = 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        total += sum(inner for _, inner in ranked[at:end]) * (at + 1 + end) / 2
        at = end
    return (total - len(inside) * (len(inside) + 1) / 2) / (len(inside) * len(outside))


def policy_of(examples: Turns, *, named: bool = False) -> ScopePolicy:
    """Intents as capabilities."""
    return ScopePolicy(
        capabilities=tuple((i, i.replace("_", " ") if named else "", tuple(e)) for i, e in sorted(examples.items()))
    )


def ours(examples: Turns, turns: Turns, strangers: Sequence[str], *, named: bool = False) -> dict[str, float]:
    """The figures of one learning."""
    policy = policy_of(examples, named=named)
    start = time.process_time()
    learnt(policy)
    train_s = time.process_time() - start
    start = time.process_time()
    inside = [(intent, classify(policy, turn)) for intent in examples for turn in turns[intent]]
    outside = [classify(policy, turn) for turn in strangers]
    classify_us = (time.process_time() - start) / (len(inside) + len(outside)) * 1e6
    learnt.cache_clear()
    floor = min(score for _, scope in inside for score in scope.scores.values()) - 1.0
    kinds = Counter(scope.certainty for _, scope in inside)
    strange = Counter(scope.certainty for scope in outside)
    return {
        "accuracy": mean(next(iter(scope.scores), "") == intent for intent, scope in inside),
        "auroc": auroc(
            [max(scope.scores.values(), default=floor) for _, scope in inside],
            [max(scope.scores.values(), default=floor) for scope in outside],
        ),
        "in_scope_in": kinds["in"] / len(inside),
        "in_scope_uncertain": kinds["uncertain"] / len(inside),
        "in_scope_out": kinds["out"] / len(inside),
        "in_scope_taken_for_another": mean(s.certainty == "in" and s.capability != intent for intent, s in inside),
        "strangers_in": strange["in"] / len(outside),
        "strangers_uncertain": strange["uncertain"] / len(outside),
        "strangers_out": strange["out"] / len(outside),
        "train_s": train_s,
        "classify_us": classify_us,
    }


def baseline(examples: Turns, turns: Turns, strangers: Sequence[str]) -> dict[str, float]:
    """TF-IDF over words with logistic regression, the score being the highest probability."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
    from sklearn.linear_model import LogisticRegression  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    seen: Any = TfidfVectorizer(sublinear_tf=True)
    model: Any = LogisticRegression(C=10.0, max_iter=1000)
    model.fit(
        seen.fit_transform([t for e in examples.values() for t in e]), [i for i, e in examples.items() for _ in e]
    )
    said = [(intent, turn) for intent in examples for turn in turns[intent]]
    inside = model.predict_proba(seen.transform([turn for _, turn in said]))
    outside = model.predict_proba(seen.transform(list(strangers)))
    guessed = [model.classes_[row.argmax()] for row in inside]
    return {
        "accuracy": mean(bool(guess == intent) for guess, (intent, _) in zip(guessed, said, strict=True)),
        "auroc": auroc([float(row.max()) for row in inside], [float(row.max()) for row in outside]),
    }


def over(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The means of figures."""
    return {name: round(mean(run[name] for run in runs), 4) for name in runs[0]}


def usual(train: Turns, turns: Turns, strangers: Sequence[str], count: int, examples: int) -> dict[str, float]:
    """Contracts of some capabilities, drawn at random; the other intents' turns are strangers, too."""
    runs: list[dict[str, float]] = []
    for draw in range(USUAL_DRAWS):
        chance = random.Random(f"{count} capabilities, {examples} examples, draw {draw}")
        intents = sorted(chance.sample(sorted(train), count))
        others = [turn for intent in sorted(train) if intent not in intents for turn in turns[intent]]
        given = {intent: chance.sample(list(train[intent]), examples) for intent in intents}
        out = chance.sample([*strangers, *others], STRANGERS)
        runs.append(ours(given, {intent: turns[intent] for intent in intents}, out, named=True))
    return over(runs)


def measure(split: str) -> dict[str, Any]:
    """All figures of this page."""
    data = json.loads(TURNS.read_text(encoding="utf-8"))
    train, turns = grouped(data["train"]), grouped(data[split])
    strangers = [turn for turn, _ in data[f"oos_{split}"]]
    sets: dict[str, list[dict[str, list[str]]]] = {
        "full": [train],
        "at_20": [drawn(train, 20, seed) for seed in range(DRAWS)],
        "at_5": [drawn(train, 5, seed) for seed in range(DRAWS)],
    }
    result: dict[str, Any] = {"split": split}
    compared = importlib.util.find_spec("sklearn") is not None
    for name, draws in sets.items():
        result[name] = over([ours(examples, turns, strangers) for examples in draws])
        print(f"{name}: {result[name]}", flush=True)
        if compared:
            result[f"baseline_{name}"] = over([baseline(examples, turns, strangers) for examples in draws])
            print(f"  TF-IDF and logistic regression: {result[f'baseline_{name}']}", flush=True)
    for count, examples in USUAL:
        name = f"usual_{count}_by_{examples}"
        result[name] = usual(train, turns, strangers, count, examples)
        print(f"{name}: {result[name]}", flush=True)
    full = result["full"]
    return {
        "auroc": full["auroc"],
        "accuracy": full["accuracy"],
        "train_s": full["train_s"],
        "classify_us": full["classify_us"],
        "baseline": result.get("baseline_full"),
        **result,
    }


def main() -> int:
    """Print the figures, or why there are none."""
    if not TURNS.exists():
        reason = "CLINC150 is not there; name the folder that holds clinc150/ in ROADWORTHY_DATA"
        print(f"skipped: {reason}")
        if "--json" in sys.argv[1:]:
            print(json.dumps({"skipped": reason}))
        return 0
    result = measure("val" if "val" in sys.argv[1:] else "test")
    if "baseline_full" not in result:
        print("TF-IDF and logistic regression: left out, scikit-learn is not installed here (make bench-peers)")
    if "--json" in sys.argv[1:]:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
