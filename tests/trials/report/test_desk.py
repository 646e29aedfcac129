"""The page of a real test: the desk that ships with the package, run for this."""

from __future__ import annotations

from importlib.resources import as_file, files

import pytest

from roadworthy.trials.report.html import render_html
from roadworthy.trials.report.markdown import render_markdown
from roadworthy.trials.report.page import page_of
from roadworthy.trials.results import TestReport
from roadworthy.trials.runner import run_trials


@pytest.fixture(scope="module")
def desk() -> TestReport:
    with as_file(files("roadworthy.examples.desk")) as home:
        return run_trials(
            home / "contract.yaml",
            "roadworthy.examples.desk.agents.plain:agent",
            home / "scenarios",
            trials=2,
            reproduce="roadworthy test contract.yaml --agent desk:agent --scenarios scenarios --seed 0",
        )


def test_every_rule_that_stopped_something_has_a_case(desk: TestReport) -> None:
    stops = page_of(desk).stops
    assert sum(s.times for s in stops) == sum(s.times for s in desk.stops) > 0
    assert [s.rule for s in stops if not s.call or not s.because] == []


def test_every_failure_can_be_run_again(desk: TestReport) -> None:
    page = page_of(desk)
    shown = [f for g in page.failures for f in g.shown]
    assert shown
    assert [f.trial.scenario for f in shown if not f.steps or not f.command or not f.trial.why] == []
    assert sum(len(g.shown) + g.more for g in page.failures) == page.lost


def test_the_agent_is_called_scripted(desk: TestReport) -> None:
    assert "its model is scripted" in render_html(desk)
    assert "its model is scripted" in render_markdown(desk)


def test_only_some_transcripts_of_passed_trials_are_kept(desk: TestReport) -> None:
    kept = [t for t in desk.trials if t.passed and t.transcript]
    assert all(t.stops for t in kept)
    assert len(kept) <= len({(s.rule, s.ruling) for s in desk.stops})
