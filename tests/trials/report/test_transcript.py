"""What a trial's entries tell of several agents, and how reports and JUnit show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO

import pytest
from tests.gate.office import Till, law

from roadworthy import Gate
from roadworthy.core.clock import VirtualClock
from roadworthy.core.types import Draft
from roadworthy.ledger.batch import Batch
from roadworthy.trials.junit import write_junit
from roadworthy.trials.report.failures import failures_of
from roadworthy.trials.report.html import render_html
from roadworthy.trials.results import TestReport, TrialResult, Turn
from roadworthy.trials.transcript import turns_of


@pytest.fixture
def turns() -> tuple[Turn, ...]:
    ledger, clock, till = Batch(), VirtualClock(), Till()
    run = Gate(law("role: lead"), ledger, world="test", tools=till.tools, clock=clock).run(
        id="r", principal="bot", capability="refunds"
    )
    began = clock.now()
    run.heard("Please refund order 7.")
    work = run.handover("billing", source="triage", how="delegate", text="Is it paid?")
    run.call("find", {"no": "7"}, agent="billing")
    run.returned(work, "It is.")
    quiet = run.handover("care", how="delegate")
    run.returned(quiet)
    run.say("It was.", agent="triage")
    run.escalate("too hard", agent="triage")
    drafts = [
        Draft(kind=e.kind, world=e.world, run=e.run, body=e.body, at=e.at, cause=e.cause)
        for e in ledger.entries(run="r")
    ]
    return turns_of(drafts, began=began, questions=(), faults={}, attacked=())


def test_a_transcript_says_which_agent_and_what_they_gave_each_other(turns: tuple[Turn, ...]) -> None:
    assert [(turn.who, turn.agent, turn.text.partition("\n")[0]) for turn in turns] == [
        ("user", None, "Please refund order 7."),
        ("agents", None, "billing, for triage: Is it paid?"),
        ("tool", "billing", '{"no":"7","total":"250.00","remark":"none"}'),
        ("agents", None, "back: It is."),
        ("agents", None, "care, on a piece of work"),
        ("agents", None, "back"),
        ("agent", "triage", "It was."),
        ("trial", None, "handed over to lead: too hard"),
    ]


def test_reports_and_junit_name_the_agent(
    turns: tuple[Turn, ...], report: TestReport, build_report: Callable[[list[TrialResult]], TestReport]
) -> None:
    lost = next(trial for trial in report.trials if trial.transcript and not trial.passed)
    told = build_report([replace(lost, transcript=turns)])
    ((failure,),) = [group.shown for group in failures_of(told, told.trials, 3)]
    assert [(step.kind, step.who, step.agent) for step in failure.steps][1:3] == [
        ("agents", "Agents", ""),
        ("tool", "Tool call", "billing"),
    ]
    page = render_html(told)
    assert "Tool call <b>billing</b>" in page
    assert "billing, for triage: Is it paid?" in page
    xml = StringIO()
    write_junit(told, xml)
    assert "agents: billing, for triage: Is it paid?" in xml.getvalue()
    assert "billing: find({" in xml.getvalue()
    assert "agent triage: It was." in xml.getvalue()
