"""The report as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from roadworthy.pages.paper import Pages, write_page
from roadworthy.trials.report import page as pages
from roadworthy.trials.report import plots, wording
from roadworthy.trials.report.page import Figure
from roadworthy.trials.results import TestReport


def render_html(report: TestReport, *, first: int = 3, worth: Sequence[Figure] = ()) -> str:
    """The whole page; `first` failures of each scenario are shown in full, the rest are counted.

    `worth`: figures of the same trials with the gate and without it, from whoever has run them twice.
    Raises UsageError where Jinja2 is not installed.
    """
    page = pages.page_of(report, first=first, worth=worth)
    return _pages().render("page.html.j2", "page.css", page=page, report=report)


def prepare() -> None:
    """Find out before long work whether a page can be made. Raises UsageError where Jinja2 is not installed."""
    _pages().prepare()


def write_html(report: TestReport, path: str | Path, *, first: int = 3) -> Path:
    """Write the page to a file, and return its path. Raises UsageError where that cannot be done."""
    return write_page(render_html(report, first=first), path, "the report")


@cache
def _pages() -> Pages:
    return Pages(
        "roadworthy.trials.report",
        filters={
            "percent": wording.percent,
            "required": wording.required_percent,
            "points": wording.points,
            "words": wording.words,
            "sentence": wording.sentence,
            "capital": wording.capital,
        },
        names={
            "plural": wording.plural,
            "interval": wording.interval,
            "rates": plots.RATES,
            "difference_scale": plots.difference_scale,
            "curve": plots.curve,
            "curve_ticks": plots.curve_ticks,
        },
    )
