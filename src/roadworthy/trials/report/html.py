"""The report as one HTML file: no script, no network, nothing that a stranger's text could set off."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

from roadworthy.core.errors import UsageError
from roadworthy.core.visible import pieces, visible
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
    style = _style()
    # The hash stands for this one style sheet: neither script nor another style could run, whatever a tool returned.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return cast("str", _template().render(page=page, report=report, style=style, style_hash=digest))


def prepare() -> None:
    """Find out before long work whether a page can be made. Raises UsageError where Jinja2 is not installed."""
    _template()


def write_html(report: TestReport, path: str | Path, *, first: int = 3) -> Path:
    """Write the page to a file, and return its path. Raises UsageError where that cannot be done."""
    target = Path(path)
    text = render_html(report, first=first)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
    except OSError as e:
        raise UsageError(f"The report cannot be written to {target}: {e.strerror or e}. Give another path.") from e
    return target


@cache
def _style() -> str:
    return _file("page.css")


def _file(name: str) -> str:
    return resources.files("roadworthy.trials.report").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    try:
        import jinja2
        import markupsafe
    except ImportError as e:
        raise UsageError("The HTML report needs Jinja2: install the extra `test` (roadworthy[test]).") from e

    def shown(value: object) -> markupsafe.Markup:
        """Escape a text, and turn characters that would hide or mislead into named marks."""
        out: list[str] = []
        for piece, named in pieces(str(value)):
            escaped = str(markupsafe.escape(piece))
            out.append(f'<span class="cp">{escaped}</span>' if named else escaped)
        return markupsafe.Markup("".join(out))

    def plain(value: object) -> markupsafe.Markup:
        """The same for attributes, where no mark can stand."""
        return markupsafe.escape(visible(str(value)))

    def finalize(value: object) -> object:
        """Every `{{ … }}` passes here, so that no place can forget to show what a text really holds."""
        if isinstance(value, markupsafe.Markup) or not isinstance(value, str):
            return value
        return shown(value)

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_file),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    filters: dict[str, Any] = environment.filters  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    filters |= {
        "plain": plain,
        "percent": wording.percent,
        "required": wording.required_percent,
        "points": wording.points,
        "words": wording.words,
        "sentence": wording.sentence,
        "capital": wording.capital,
    }
    names: dict[str, Any] = environment.globals  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    names |= {
        "plural": wording.plural,
        "interval": wording.interval,
        "rates": plots.RATES,
        "difference_scale": plots.difference_scale,
        "curve": plots.curve,
        "curve_ticks": plots.curve_ticks,
    }
    return environment.get_template("page.html.j2")
