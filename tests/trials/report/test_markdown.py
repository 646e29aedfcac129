"""The summary of a build: short, and nothing in it can be set off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from roadworthy.core.errors import UsageError
from roadworthy.trials.report.markdown import escaped, render_markdown, write_markdown
from roadworthy.trials.results import TestReport

NASTY = (
    "[x](javascript:1) ![i](http://e.example/i.png) @team #9876 www.e.example <b>|`$a$`\n# h :tada: https://e.example"
)


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(text):
        found.append(token)
        found.extend(token.children or [])
    return found


def test_it_says_the_verdict_the_gap_and_what_to_mend(report: TestReport) -> None:
    text = render_markdown(report)
    assert text.startswith("## \u26d4 BLOCK: road test of support-desk, version 3\n")
    assert "| <code>routing</code> | 100\u202f% (84\u2013100\u202f%) | 68\u202f%" in text
    assert "1. **Timeout after commit: 20 trials** of <code>billing&#95;question</code>." in text
    assert (
        text.index("What to mend first") < text.index("What each condition costs") < text.index("What the gate stopped")
    )
    assert sum(1 for t in _tokens(text) if t.type == "table_open") == 3


def test_a_gate_that_only_watched_says_so_first(unenforced: TestReport) -> None:
    text = render_markdown(unenforced)
    assert text.index("Not enforced.") < text.index("The reality gap")
    assert "What the gate would have stopped" in text


def test_text_of_strangers_makes_no_link_mention_cell_or_heading(report: TestReport) -> None:
    plain = _tokens(render_markdown(report))
    told = _tokens(
        render_markdown(
            replace(
                report,
                manifest=replace(report.manifest, agent=NASTY, tried=NASTY),
                stops=tuple(replace(s, because=NASTY) for s in report.stops),
                trials=[t if t.passed else replace(t, why=(NASTY,)) for t in report.trials],
            )
        )
    )
    kinds = [t.type for t in told]
    assert not {"link_open", "image", "code_inline", "strong_open"} & set(kinds) - {t.type for t in plain}
    html = {t.content.strip() for t in told if t.type in ("html_inline", "html_block")}
    assert html <= {
        "<code>", "</code>", "<span>", "</span>", "</details>", "<details><summary>Run a failing trial again</summary>"
    }  # fmt: skip
    for kind in ("heading_open", "td_open", "list_item_open"):
        assert kinds.count(kind) == sum(t.type == kind for t in plain)
    raw = render_markdown(replace(report, manifest=replace(report.manifest, agent=NASTY)))
    assert not [bad for bad in ("@team", "#9876", "www.e", "https://", ":tada:", "$a$") if bad in raw]


@given(st.text(max_size=60))
def test_escaped_text_is_one_run_of_text(text: str) -> None:
    shown = escaped(text)
    tokens = [t for t in _tokens(shown) if t.type not in ("text", "text_special", "inline")]
    tokens = [t for t in tokens if t.type != "html_inline" or t.content not in ("<span>", "</span>")]
    assert [t.type for t in tokens] in (["paragraph_open", "paragraph_close"], [])
    assert "\n" not in shown


def test_it_can_be_added_to_a_summary(report: TestReport, tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n", encoding="utf-8")
    write_markdown(report, path, append=True)
    assert path.read_text(encoding="utf-8") == "before\n" + render_markdown(report)
    write_markdown(report, path)
    assert path.read_text(encoding="utf-8") == render_markdown(report)


def test_a_place_that_cannot_be_written_is_named(report: TestReport, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write_markdown(report, tmp_path)
