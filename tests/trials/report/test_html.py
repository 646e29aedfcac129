"""The page says what was found, in the order of who must decide, and strangers' text stays text."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.core.errors import UsageError
from roadworthy.trials.report.html import render_html, write_html
from roadworthy.trials.report.page import Figure
from roadworthy.trials.results import Release, TestReport, TrialResult, Turn

VOID = {"meta", "circle", "rect", "path", "line"}


class Outline(HTMLParser):
    """What a browser would make of the page: tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.text: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.text.append(data)

    @property
    def words(self) -> str:
        """All text, white space folded."""
        return " ".join("".join(self.text).split())

    def values(self, name: str) -> list[str]:
        """The values of one attribute, wherever it stands."""
        return [value or "" for _, attrs in self.tags for key, value in attrs if key == name]


def test_it_starts_with_the_verdict_and_its_reasons_and_ends_with_the_method(report: TestReport) -> None:
    words = Outline(render_html(report)).words
    parts = (
        "Release verdict: BLOCK",
        "2 of 3 capabilities stay below what the contract asks for",
        "refund-timeout passed 0 of 20 times",
        "What to mend first",
        "The reality gap",
        "What each condition costs",
        "Passing again and again",
        "What the gate stopped",
        "Interval password_reset",
        "possible faults",
        "Run this trial again",
        "How it was measured",
    )
    places: list[int] = []
    for part in parts:
        assert part in words
        # The table of contents names the sections before they come.
        places.append(words.rindex(part) if words.count(part) > 1 else words.index(part))
    assert places == sorted(places)


def test_a_release_manager_reads_what_costs_most(report: TestReport) -> None:
    words = Outline(render_html(report)).words
    assert "Timeout after commit Missing: insert of mail.sent. Forbidden: insert of billing.refunds." in words
    assert "20 trials 27 % of what was lost" in words
    assert "Finance signs refunds above 50 EUR." in words
    assert "\u2212100" in words


def test_a_scripted_agent_is_called_one(report: TestReport) -> None:
    words = Outline(render_html(report)).words
    assert words.index("its model is scripted.") < words.index("Release verdict")
    assert "of itself: Settles" in words


def test_one_style_sheet_and_nothing_else_may_run_or_load(report: TestReport) -> None:
    html = render_html(report)
    outline = Outline(html)
    tags = Counter(tag for tag, _ in outline.tags)
    assert tags["style"] == 1
    assert not tags.keys() & {"script", "img", "iframe", "object", "embed", "form", "link", "base", "foreignobject"}
    assert not [
        a for _, attrs in outline.tags for a, _ in attrs if a.startswith("on") or a in ("style", "src", "srcset")
    ]
    digest = base64.b64encode(hashlib.sha256(outline.style.encode()).digest()).decode()
    policies = [v for v in outline.values("content") if "default-src" in v]
    assert policies == [f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"]
    assert not re.search(r"url\(|@import|@font-face|https?:", html)


def test_every_link_leads_to_a_place_on_the_page(report: TestReport) -> None:
    outline = Outline(render_html(report))
    ids = outline.values("id")
    assert len(ids) == len(set(ids))
    links = outline.values("href")
    assert links
    assert {link[1:] for link in links} <= set(ids)
    assert {name for value in outline.values("aria-labelledby") for name in value.split()} <= set(ids)


def test_text_of_strangers_stays_text(report: TestReport) -> None:
    html = render_html(report)
    assert "<script" not in html
    assert "<img" not in html
    assert "<script>document.title='owned'</script>" in Outline(html).words


def test_hidden_characters_are_named(report: TestReport) -> None:
    html = render_html(report)
    assert "\u202e" not in html
    assert '<span class="cp">U+202E</span>' in html


def _with_words(report: TestReport, text: str) -> TestReport:
    def trial(old: TrialResult) -> TrialResult:
        if not old.transcript:
            return old
        turns = (
            Turn(who="user", text=text),
            Turn(
                who="tool",
                text=text,
                tool=text,
                args={text: text, f"{text}2": [text]},
                rule=text,
                why=(text,),
                fault=text,
            ),
            Turn(who="trial", text=text),
        )
        return replace(old, why=(text,), notes=(text,), missing=(text,), transcript=turns, changes=())

    written = text.encode(errors="replace").decode()  # no file holds lone surrogates; what a tool returns may
    return replace(
        report,
        manifest=replace(report.manifest, agent=written, version=written, tried=written, about=written),
        trials=[trial(t) for t in report.trials],
        scenarios=tuple(replace(s, about=text) for s in report.scenarios),
        capabilities=tuple(replace(c, reasons=(text,)) for c in report.capabilities),
        stops=tuple(replace(s, because=text) for s in report.stops),
        release=Release(verdict="BLOCK", reasons=(text,)),
        notes=(text,),
        ledger=text,
        reproduce=text.replace(" ", "_"),
    )


_NASTY = st.text(
    alphabet=st.one_of(st.sampled_from("<>&\"'/={}%#;:-! \n\u202e\u2028\x00\x1b`"), st.characters()),
    min_size=1,
    max_size=40,
)


@settings(max_examples=25, deadline=None)
@given(text=_NASTY)
def test_what_strangers_write_never_changes_the_shape_of_the_page(
    make_report: Callable[[], TestReport], text: str
) -> None:
    report = make_report()

    def shape(words: str) -> list[tuple[str, object]]:
        def known(name: str, attrs: tuple[tuple[str, str | None], ...]) -> tuple[str, object]:
            # Labels hold text of the contract; whether a call is long is told by a class.
            kept = tuple((k, v) for k, v in attrs if k not in ("aria-label", "content"))
            return name, () if kept == (("class", "args"),) else kept

        found = [known(*tag) for tag in Outline(render_html(_with_words(report, words))).tags]
        return [tag for tag in found if tag != ("span", (("class", "cp"),))]

    assert shape(text) == shape("a" * len(text))


def test_failures_are_bounded_and_the_rest_is_counted(report: TestReport) -> None:
    one, three = (Outline(render_html(report, first=n)) for n in (1, 3))
    assert [tag for tag, _ in one.tags].count("details") == 7
    assert [tag for tag, _ in three.tags].count("details") == 19
    assert "19 further trials of this scenario did not pass" in one.words
    assert "17 further trials of this scenario did not pass" in three.words


def test_each_failure_shown_names_the_command_that_runs_it_again(report: TestReport) -> None:
    words = Outline(render_html(report)).words
    shown = [t for t in report.failures if f"Trial {t.index}, seed {t.seed};" in words]
    assert len(shown) > 15
    for trial in report.failures:
        if trial.scenario == "refund-timeout" and trial.index < 3:
            assert (report.command_for(trial) or "no command") in words


def test_a_transcript_tells_what_became_of_each_call(report: TestReport) -> None:
    words = Outline(render_html(report)).words
    for told in (
        "a person refused it",
        "by refund-above-50-asks: Finance signs refunds above 50 EUR.",
        "in doubt: it may have been done",
        "fault: timeout after commit",
        "carries a planted instruction",
        "required, missing insert of mail.sent",
        'forbidden, found billing.refunds: insert refund_no: "R-2"',
        'status: "paid" \u2192 "refunded"',
    ):
        assert told in words


def test_a_gate_that_only_watched_is_the_headline(unenforced: TestReport) -> None:
    words = Outline(render_html(unenforced)).words
    assert words.index("Not enforced.") < words.index("Release verdict")
    assert "What the gate would have stopped" in words
    assert "would have been put to a person" in words


def test_what_the_gate_is_worth_is_shown_where_it_was_measured(report: TestReport) -> None:
    figures = [Figure(name="harm without", value="449", beside="80 mails"), Figure(name="harm with", value="28")]
    assert "harm without 449 80 mails harm with 28" in Outline(render_html(report, worth=figures)).words
    assert "What the gate is worth" not in Outline(render_html(report)).words


def test_an_agent_that_passed_has_nothing_to_mend(clean: TestReport) -> None:
    outline = Outline(render_html(clean))
    assert "Release verdict: PASS" in outline.words
    assert "What to mend first" not in outline.words
    assert "None: every trial passed." in outline.words
    assert "details" not in {tag for tag, _ in outline.tags}


def test_broken_trials_are_told_apart_from_failures(broken: TestReport) -> None:
    words = Outline(render_html(broken)).words
    assert "broke. The world, a fault, a scorer or a simulated user failed, not the agent." in words
    assert "the trial itself broke" in words


def test_an_interrupted_test_without_any_trial_still_has_a_page(empty: TestReport) -> None:
    words = Outline(render_html(empty)).words
    assert "Interrupted. 0 of 240 trials were run" in words


def test_the_page_is_written_where_it_is_wanted(report: TestReport, tmp_path: Path) -> None:
    path = write_html(report, tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == render_html(report)


def test_a_place_that_cannot_be_written_is_named(report: TestReport, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_html(report, tmp_path / "file" / "report.html")
