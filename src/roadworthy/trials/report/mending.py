"""What to mend first: failures by what they have in common."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from roadworthy.trials.report.wording import AXIS, ENDINGS, plural, sentence, words
from roadworthy.trials.results import TestReport, TrialResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """What mending would do for one capability."""

    capability: str
    now: float
    """Its pass rate, in [0, 1]."""
    then: float
    """The same if these trials had passed: the most that mending can bring in these trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mend:
    """One thing to mend, with what it costs now."""

    title: str
    """The condition under which the agent fails; for failures under none the capability."""
    whys: tuple[str, ...]
    """Reasons, the most frequent first, with the number of trials of each where not all have it."""
    lost: int
    """Trials that did not pass."""
    share: float
    """Of all trials that did not pass, in (0, 1]."""
    lifts: tuple[Lift, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A failing trial that stands on the page."""

    scenario: str
    index: int
    anchor: str


def mends_of(
    report: TestReport, lost: Sequence[TrialResult], anchors: Mapping[tuple[str, int], str]
) -> tuple[Mend, ...]:
    """Failures by what is hard about their scenarios: that is what one change of the agent is most likely to mend."""
    alike: dict[tuple[str, ...], list[TrialResult]] = defaultdict(list)
    for trial in lost:
        if trial.status == "failed":
            hard = tuple(words(c) for c in trial.conditions if c not in AXIS)
            alike[hard or (trial.capability,)].append(trial)
    rates = {c.capability: c.rate for c in report.capabilities}
    found: list[Mend] = []
    for hard, trials in alike.items():
        first = {t.scenario: t for t in reversed(trials) if (t.scenario, t.index) in anchors}
        by_capability = Counter(t.capability for t in trials)
        found.append(
            Mend(
                title=" and ".join(hard),
                whys=_whys(trials),
                lost=len(trials),
                share=len(trials) / len(lost),
                lifts=tuple(
                    Lift(
                        capability=name,
                        now=rates[name].passed / rates[name].trials,
                        then=(rates[name].passed + count) / rates[name].trials,
                    )
                    for name, count in by_capability.most_common()
                ),
                examples=tuple(
                    Example(scenario=t.scenario, index=t.index, anchor=anchors[t.scenario, t.index])
                    for t in sorted(first.values(), key=lambda t: t.scenario)
                ),
            )
        )
    return tuple(sorted(found, key=lambda m: (-m.lost, m.title)))


def _whys(trials: Sequence[TrialResult]) -> tuple[str, ...]:
    """The reasons of these trials, those that start alike in one line, with how many trials have each."""
    counts, shown = Counter[str](), dict[str, str]()
    for trial in trials:
        for why in dict.fromkeys(trial.why or (ENDINGS[trial.ending],)):
            # Numbers and quoted words differ from trial to trial; the reason is the same.
            alike = re.sub(r"\d+([.,:-]\d+)*|'[^']*'|\"[^\"]*\"", "\u2026", why)
            counts[alike] += 1
            shown.setdefault(alike, why)
    lines: dict[str, list[str]] = defaultdict(list)
    for alike, n in counts.most_common():
        head, colon, rest = shown[alike].partition(": ")
        if head not in ("missing", "forbidden"):
            head, colon, rest = shown[alike], "", ""
        times = "" if n == len(trials) else f" ({plural(n, 'trial')})" if not lines else f" ({n:,})"
        lines[head + colon].append(rest + times)
    return tuple(sentence(head + ", ".join(parts)) for head, parts in lines.items())
