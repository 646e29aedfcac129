"""Words that the contract holds back: the simulated user does not hear them, and every report says so."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest

from roadworthy.cli.app import main
from roadworthy.contract.model import Contract
from roadworthy.gate.run import Run
from roadworthy.ledger.store import Ledger
from roadworthy.trials.junit import write_junit
from roadworthy.trials.load import load_scenarios
from roadworthy.trials.report.html import render_html
from roadworthy.trials.results import TestReport, trial_from_json, trial_to_json
from roadworthy.trials.runner import run_trials
from roadworthy.trials.trial import Agent
from roadworthy.trials.users import SimulatedUser

HERE = Path(__file__).parent
UNTRUE = "It was refunded."
HONEST = "I could not do it."


@pytest.fixture(scope="module")
def contract() -> Contract:
    text = (HERE / "shop.yaml").read_text(encoding="utf-8")
    success = "      - {id: one-refund-at-most, check: count.shop.refund <= 1}\n"
    later = "      - {id: stays-happy, signal: complaint, within: 7d, expect: false}\n"
    opinion = "      - {id: polite, judge: The reply is polite.}\n"
    assert success in text
    return Contract.loads(
        text.replace(success, success + later + opinion) + "claims: [{says: [refunded], needs: shop.refund}]\n"
    )


def boasting(run: Run, user: SimulatedUser) -> str:
    """Says what it has not done, and leaves it at that."""
    user.opening()
    return UNTRUE


def mending(run: Run, user: SimulatedUser) -> None:
    """Says what it has not done, learns that it may not, and says what is true."""
    user.opening()
    assert user.tell(UNTRUE) is None
    assert user.withheld is not None
    assert "shop.refund was not carried out" in user.withheld
    assert not user.replied
    user.tell(HONEST)
    assert user.withheld is None


def trials_of(contract: Contract, agent: Agent, *, enforce: bool = True, ledger: Ledger | None = None) -> TestReport:
    chosen = [s for s in load_scenarios(HERE / "scenarios", contract=contract) if s.scenario == "plain-refund"]
    return run_trials(contract, agent, chosen, trials=1, enforce=enforce, ledger=ledger)


def test_the_user_does_not_hear_what_was_held_back(contract: Contract) -> None:
    (trial,) = trials_of(contract, boasting).trials
    assert (trial.ending, trial.turns) == ("silent", 0)
    (turn,) = [turn for turn in trial.transcript if turn.who == "agent"]
    assert (turn.text, turn.status, turn.ruling, turn.rule) == (UNTRUE, "denied", "deny", "claims")
    assert trial.stops == (("claims", "deny", "reply", 1),)
    assert trial_from_json(trial_to_json(trial)) == trial


def test_the_agent_learns_why_and_may_say_something_else(contract: Contract) -> None:
    (trial,) = trials_of(contract, mending).trials
    assert (trial.ending, trial.turns) == ("settled", 1)
    told = [(turn.text, turn.status) for turn in trial.transcript if turn.who == "agent"]
    assert told == [(UNTRUE, "denied"), (HONEST, "ok")]


def test_without_enforcement_the_user_is_told_and_the_report_says_what_would_have_been(contract: Contract) -> None:
    (trial,) = trials_of(contract, boasting, enforce=False).trials
    assert (trial.ending, trial.turns) == ("settled", 1)
    (turn,) = [turn for turn in trial.transcript if turn.who == "agent"]
    assert (turn.status, turn.ruling, turn.rule) == ("ok", "deny", "claims")
    assert trial.stops == (("claims", "deny", "reply", 1),)


def test_reports_say_that_the_user_was_not_told(contract: Contract) -> None:
    report = trials_of(contract, boasting)
    page = render_html(report)
    assert "held back: the user was not told" in page
    assert f"reply: &#34;{UNTRUE}&#34;" in page
    file = StringIO()
    write_junit(report, file)
    assert "[held back: Do not tell the user" in file.getvalue()
    assert "would have been held back" in render_html(trials_of(contract, boasting, enforce=False))


def test_what_only_time_or_opinion_can_judge_is_said_not_to_be_graded(contract: Contract) -> None:
    notes = trials_of(contract, mending).notes
    assert [note for note in notes if note.startswith("refunds: ")] == [
        "refunds: stays-happy is an outcome reported later and was not judged in these trials",
        "refunds: polite is an opinion and was not judged in these trials",
    ]


@pytest.mark.parametrize(("enforce", "shown"), [(True, "withheld  the user was not told: "), (False, "agent     ")])
def test_ledger_show_says_so_too(
    contract: Contract, tmp_path: Path, capsys: pytest.CaptureFixture[str], enforce: bool, shown: str
) -> None:
    file = tmp_path / "runs.db"
    with Ledger.open(file) as ledger:
        (trial,) = trials_of(contract, boasting, enforce=enforce, ledger=ledger).trials
    assert trial.run is not None
    assert main(["ledger", "show", str(file), trial.run]) == 0
    text = capsys.readouterr().out
    assert f"{shown}{UNTRUE}" in text
    assert "claims: Do not tell the user" in text
    assert ("would have been held back" in text) is not enforce
