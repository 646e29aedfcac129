"""The report as Markdown, for the summary of a build (`$GITHUB_STEP_SUMMARY`) or a comment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from roadworthy.core.errors import UsageError, told_why
from roadworthy.core.visible import visible
from roadworthy.trials.report import page as pages
from roadworthy.trials.report import wording
from roadworthy.trials.report.page import Page
from roadworthy.trials.results import Rate, TestReport

_PLAIN = re.compile(r"[A-Za-z0-9 ,()\u0080-\U0010ffff-]+|(?<=[A-Za-z0-9])[.:;](?= |$)")
_MOST = 5
"""How many things to mend and rules are listed; the page has the rest."""

_SIGNS = {"PASS": "\u2705", "BLOCK": "\u26d4", "ERROR": "\u26a0\ufe0f", "INCONCLUSIVE": "\u2754"}


def escaped(text: str) -> str:
    """Text that Markdown shows as it is: no link, no mention, no markup, no second table cell, no second line.

    What is neither letter, digit, space nor one of a few signs becomes an entity. `@` and `#` stand in an element of
    their own as well, because mentions and references are looked for in what Markdown has been turned into.
    """
    shown = visible(text, lines=False)
    out: list[str] = []
    at = 0
    while at < len(shown):
        plain = _PLAIN.match(shown, at)
        out.append(plain[0] if plain else _entity(shown[at]))
        at = plain.end() if plain else at + 1
    # Nothing must start as a list does.
    return re.sub(r"^(-|\d+(?=[.)]))", lambda m: f"{_entity(m[0][0])}{m[0][1:]}", "".join(out))


def _entity(character: str) -> str:
    entity = f"&#{ord(character)};"
    return f"<span>{entity}</span>" if character in "@#" else entity


def _code(text: str) -> str:
    return f"<code>{escaped(text)}</code>" if text else ""


def render_markdown(report: TestReport) -> str:
    """The verdict with its reasons, what to mend first, the reality gap and what the gate stopped."""
    return "\n".join(_lines(pages.page_of(report))) + "\n"


def write_markdown(report: TestReport, path: str | Path, *, append: bool = False) -> Path:
    """Write it to a file, or to its end, as a build summary wants it. Raises UsageError where that cannot be done."""
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a" if append else "w", encoding="utf-8", newline="\n") as file:
            file.write(render_markdown(report))
    except OSError as e:
        raise UsageError(f"The summary cannot be written to {target}: {told_why(e)}. Give another path.") from e
    return target


def _lines(page: Page) -> Iterable[str]:
    report, manifest = page.report, page.report.manifest
    verdict = report.release.verdict
    name = f"{escaped(manifest.agent)}, version {escaped(manifest.version)}"
    yield f"## {_SIGNS[verdict]} {verdict}: road test of {name}"
    yield ""
    for headline, text in page.notices:
        yield f"> **{escaped(headline)}** {escaped(text)}"
        yield ""
    yield escaped(page.sentence)
    yield ""
    for ground in page.grounds:
        yield f"- {_SIGNS[ground.verdict]} {escaped(wording.sentence(ground.text))}"
    if page.grounds:
        yield ""
    yield "### The reality gap"
    yield ""
    yield from _table(
        ("Capability", "Curated", "Messy", "All", "Required", "Verdict"),
        (
            (
                _code(g.capability.capability),
                _rate(g.capability.curated),
                _rate(g.capability.messy),
                _rate(g.capability.rate),
                wording.required_percent(g.required) if g.required is not None else "nothing",
                g.capability.verdict,
            )
            for g in page.gaps
        ),
    )
    if page.mends:
        yield "### What to mend first"
        yield ""
        for number, mend in enumerate(page.mends[:_MOST], 1):
            why = " ".join(escaped(w) for w in mend.whys[:3])
            where = ", ".join(_code(lift.capability) for lift in mend.lifts)
            what = f"{escaped(wording.capital(mend.title))}: {wording.plural(mend.lost, 'trial')}"
            yield f"{number}. **{what}** of {where}. {why}"
        yield ""
    if page.costs:
        yield "### What each condition costs"
        yield ""
        yield from _table(
            ("Condition", "Points", "Passed", "Curated"),
            (
                (
                    escaped(wording.words(c.condition)),
                    f"**{wording.points(c.delta)}** ({wording.points(c.low)} to {wording.points(c.high)})",
                    _rate(c.rate),
                    wording.percent(c.base.passed / c.base.trials),
                )
                for c in page.costs
            ),
        )
    if page.stops:
        yield "### " + ("What the gate stopped" if report.enforced else "What the gate would have stopped")
        yield ""
        yield from _table(
            ("Rule", "Ruling", "Times", "Tools", "Because"),
            (
                (
                    _code(s.rule),
                    s.title,
                    f"{s.times:,}",
                    ", ".join(_code(tool) for tool, _ in s.tools),
                    escaped(s.because),
                )
                for s in page.stops[: 2 * _MOST]
            ),
        )
    yield from _measured(page)


def _measured(page: Page) -> Iterable[str]:
    report = page.report
    failed = [g for g in page.failures if g.shown and g.shown[0].command]
    if failed:
        yield "<details><summary>Run a failing trial again</summary>"
        yield ""
        for group in failed[: 2 * _MOST]:
            yield f"- {_code(group.scenario.scenario)}: {_code(group.shown[0].command or '')}"
        yield ""
        yield "</details>"
        yield ""
    about = f" ({escaped(report.manifest.about)})" if report.manifest.about else ""
    trials = wording.plural(len(report.trials), "trial")
    scenarios = wording.plural(len(report.scenarios), "scenario")
    yield (
        f"{trials} of {scenarios}, seed {report.manifest.seed}, world {report.manifest.ground}, "
        f"tried as {_code(report.manifest.tried)}{about}, contract {_code(report.manifest.contract[:12])}, "
        f"roadworthy {escaped(report.manifest.roadworthy)}. Intervals: {wording.percent(1 - report.manifest.alpha)}."
    )


def _rate(rate: Rate) -> str:
    if not rate.trials:
        return "none"
    return f"{wording.percent(rate.passed / rate.trials)} ({wording.interval(rate)})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield "| " + " | ".join(head) + " |"
    yield "| " + " | ".join("---" for _ in head) + " |"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""
