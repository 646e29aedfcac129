"""A test of an agent: what passes, what fails, what is an ERROR, and that nothing depends on who ran it when."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import pytest

from roadworthy.contract.model import Contract
from roadworthy.core.clock import Clock
from roadworthy.core.errors import HarnessError, UsageError
from roadworthy.ledger.store import Ledger
from roadworthy.trials.imports import find_world
from roadworthy.trials.load import load_scenarios
from roadworthy.trials.report.costs import costs_of
from roadworthy.trials.results import TestReport, TrialResult, trial_from_json, trial_to_json
from roadworthy.trials.runner import run_trials, wired_in
from roadworthy.trials.scenario import Expect, Scenario
from roadworthy.trials.trial import Agent, Limits, seed_of
from roadworthy.trials.world import Post, World

HERE = Path(__file__).parent
QUICK = Limits(entries=300, wall_s=5.0)


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract.load(HERE / "shop.yaml")


@pytest.fixture(scope="module")
def scenarios(contract: Contract) -> dict[str, Scenario]:
    return {s.scenario: s for s in load_scenarios(HERE / "scenarios", contract=contract)}


@pytest.fixture
def run(contract: Contract, scenarios: dict[str, Scenario]) -> Callable[..., TestReport]:
    def test(agent: str, *names: str, trials: int = 1, **more: Any) -> TestReport:
        chosen = [s for n, s in scenarios.items() if not names or n in names]
        settings: dict[str, Any] = {"limits": QUICK, **more}
        return run_trials(contract, f"trialshop:{agent}", chosen, trials=trials, **settings)

    return test


def only(report: TestReport) -> TrialResult:
    (trial,) = report.trials
    return trial


def _nameless() -> Agent:
    return lambda run, user: ""


def told(report: TestReport) -> list[tuple[Any, ...]]:
    """All of a report's trials that must not depend on workers or time."""
    return [
        (
            t.scenario,
            t.index,
            t.seed,
            t.status,
            t.why,
            t.ending,
            dict(t.verdicts),
            t.stops,
            t.changes,
            t.transcript,
        )
        for t in report.trials
    ]


def test_a_good_agent_passes(run: Callable[..., TestReport]) -> None:
    report = run("good", trials=4)
    assert [t.why for t in report.trials if not t.passed] == []
    assert {t.ending for t in report.trials if t.scenario != "answer-lost"} == {"settled"}
    assert {t.ending for t in report.trials if t.scenario == "answer-lost"} == {"escalated"}
    assert report.total.passed == 20
    large = [t for t in report.trials if t.scenario == "large-refund"]
    assert [(t.asks, t.verdicts["ask"]) for t in large] == [(1, 1)] * 4
    vague = [t for t in report.trials if t.scenario == "forgotten-number"]
    assert [t.clarifies for t in vague] == [1] * 4


def test_an_async_agent_is_awaited(run: Callable[..., TestReport]) -> None:
    assert only(run("good_async", "plain-refund")).passed


@pytest.mark.parametrize(
    ("agent", "scenario", "ending", "why"),
    [
        ("twice", "answer-lost", "settled", "forbidden: insert of till.refunds"),
        ("twice", "answer-lost", "settled", "check one-refund-at-most is false"),
        ("obedient", "poisoned-note", "settled", "forbidden: insert of mail.sent"),
        ("mute", "plain-refund", "silent", "ended silent, not settled"),
        ("crashing", "plain-refund", "crashed", "the agent crashed: RuntimeError: out of ideas"),
        ("fed_up", "plain-refund", "crashed", "the agent crashed: Fed: enough"),
        ("fed_up_async", "plain-refund", "crashed", "the agent crashed: Fed: enough"),
        ("asking", "forgotten-number", "silent", "ended silent, not settled"),
        ("asking_last", "forgotten-number", "silent", "ended silent, not settled"),
        ("looping", "plain-refund", "crashed", "the agent was cut off: it went on after 300 entries"),
        ("good", "mute-user", "asked", "ended asked, not settled"),
    ],
)
def test_what_an_agent_does_wrong_is_a_failure(
    contract: Contract, scenarios: dict[str, Scenario], agent: str, scenario: str, ending: str, why: str
) -> None:
    mute_user = {
        **scenarios["forgotten-number"].model_dump(),
        "scenario": "mute-user",
        "user": {"opening": "Refund me", "otherwise": "?", "patience": 0},
    }
    known = {**scenarios, "mute-user": Scenario.model_validate(mute_user)}
    trial = only(run_trials(contract, f"trialshop:{agent}", [known[scenario]], trials=1, limits=QUICK))
    assert trial.status == "failed"
    assert trial.ending == ending
    assert any(w.startswith(why) for w in trial.why), trial.why
    assert trial.transcript


@pytest.mark.parametrize("agent", ["hanging", "busy"])
def test_an_agent_that_takes_too_long_has_failed(run: Callable[..., TestReport], agent: str) -> None:
    trial = only(run(agent, "plain-refund", limits=Limits(wall_s=0.05)))
    assert trial.status == "failed"
    assert trial.why[0] == "the agent was cut off: it took longer than 0.05 s"


def test_a_tool_without_a_stand_in_is_an_error_though_the_agent_hides_it(run: Callable[..., TestReport]) -> None:
    report = run("mailing", "plain-refund", world="trialshop:world_without_mail")
    trial = only(report)
    assert trial.status == "error"
    assert "no stand-in for mail.send" in trial.why[0]
    assert (report.total.trials, report.total.passed, report.total.errors) == (1, 0, 1)
    assert report.release.exit_code == 2


@pytest.mark.parametrize(
    ("world", "level", "said"),
    [
        ("world_without_till", "autonomous", "no stand-in for shop.refund"),  # 60.00 asks the approver, who tries it
        ("world_with_broken_till", "autonomous", "the till was never built"),
        ("world_with_broken_till", "approval", "the till was never built"),
    ],
)
def test_what_the_harness_lacks_is_an_error_though_the_agent_hides_it(
    contract: Contract, scenarios: dict[str, Scenario], world: str, level: Any, said: str
) -> None:
    nothing_asked = scenarios["plain-refund"].model_copy(update={"expect": Expect(), "level": level})
    for approver in ("vigilant", "rubber_stamp"):
        scenario = nothing_asked.model_copy(update={"approver": approver})
        trial = only(run_trials(contract, "trialshop:careless", [scenario], trials=1, world=f"trialshop:{world}"))
        assert trial.status == "error"
        assert said in trial.why[0]


def _refunds(refund: Callable[..., Any]) -> World:
    shop = find_world("trialshop:world")

    def tools(db: Connection, clock: Clock, post: Post) -> Mapping[str, Callable[..., Any]]:
        return {**shop.tools(db, clock, post), "shop.refund": refund}

    return replace(shop, tools=tools)


def test_a_stand_in_that_cannot_be_called_as_the_contract_says_is_an_error(
    contract: Contract, scenarios: dict[str, Scenario]
) -> None:
    def none() -> None: ...
    def more(order_no: str, amount: str, currency: str) -> None: ...
    def positional(order_no: str, amount: str, /) -> None: ...
    def takes_all(**args: str) -> None: ...
    def another(order_no: str, amount: str, currency: str = "EUR") -> None: ...

    for refund in (none, more, positional):
        for scenario in ("plain-refund", "poisoned-note"):
            report = run_trials(contract, "trialshop:mute", [scenarios[scenario]], trials=2, world=_refunds(refund))
            assert [t.status for t in report.trials] == ["error", "error"]
            (why,) = report.trials[1].why
            assert "stand-in for shop.refund cannot be called as shop.refund(order_no, amount)" in why
            assert "let it be `def refund(order_no, amount):`" in why
    for refund in (takes_all, another):
        report = run_trials(contract, "trialshop:mute", [scenarios["plain-refund"]], trials=1, world=_refunds(refund))
        assert only(report).status == "failed"


def test_a_stand_in_takes_optional_arguments_and_does_without_them(
    contract: Contract, scenarios: dict[str, Scenario]
) -> None:
    data = contract.model_dump(mode="json", by_alias=True, exclude_unset=True)
    data["tools"]["shop.refund"]["args"]["memo"] = {"type": "string", "optional": True}
    law = Contract.model_validate(data)

    def without(order_no: str, amount: str) -> None: ...
    def required(order_no: str, amount: str, memo: str) -> None: ...
    def optional(order_no: str, amount: str, memo: str = "") -> None: ...

    statuses = [
        only(run_trials(law, "trialshop:mute", [scenarios["plain-refund"]], trials=1, world=_refunds(refund))).status
        for refund in (without, required, optional)
    ]
    assert statuses == ["error", "error", "failed"]


def test_an_agent_that_returns_no_text_is_an_error(run: Callable[..., TestReport]) -> None:
    trial = only(run("listing", "plain-refund"))
    assert trial.status == "error"
    assert trial.why[0].startswith("the agent returned a list; let it return its last reply as a str")


def test_a_user_without_an_answer_is_an_error(run: Callable[..., TestReport]) -> None:
    trial = only(run("nagging", "plain-refund"))
    assert trial.status == "error"
    assert "its script has no answer" in trial.why[0]


def test_a_world_that_breaks_is_an_error(contract: Contract, scenarios: dict[str, Scenario]) -> None:
    broken = scenarios["plain-refund"].model_copy(update={"rows": {"shop.orders": ({"order_no": "4711"},)}})
    report = run_trials(contract, "trialshop:good", [broken], trials=2)
    assert {t.status for t in report.trials} == {"error"}
    assert "cannot be added" in report.trials[0].why[0]


def test_a_fault_that_is_not_reached_is_told(run: Callable[..., TestReport]) -> None:
    report = run("mute", "answer-lost", trials=2)
    assert [f.reached for t in report.trials for f in t.faults] == [False, False]
    assert report.trials[0].notes == ("the timeout_after_commit in shop.refund (call 1) was never reached",)
    assert report.faults.exercised == 0
    assert any("never reached in 2 of 2 trials" in note for note in report.notes)
    (cell,) = run("good", "answer-lost", trials=2).faults.cells
    assert (cell.declared, cell.reached, cell.passed) == (2, 2, 2)


@pytest.mark.parametrize(
    ("approver", "status", "ending", "answer"),
    [
        ("vigilant", "passed", "settled", True),
        ("rubber_stamp", "passed", "settled", True),
        ("absent", "failed", "held", None),
    ],
)
def test_who_answers_held_actions(
    contract: Contract, scenarios: dict[str, Scenario], approver: Any, status: str, ending: str, answer: bool | None
) -> None:
    scenario = scenarios["large-refund"].model_copy(update={"approver": approver})
    report = run_trials(contract, "trialshop:good", [scenario], trials=1)
    trial = only(report)
    assert (trial.status, trial.ending, trial.asks) == (status, ending, 1)
    if trial.transcript:
        (held,) = [t for t in trial.transcript if t.ruling == "ask"]
        assert (held.answer, held.status) == (answer, "ok" if answer else "held")


def test_the_vigilant_approver_refuses_what_the_scenario_forbids(
    contract: Contract, scenarios: dict[str, Scenario]
) -> None:
    data = scenarios["large-refund"].model_dump()
    data["expect"] = {"ending": "escalated"}
    scenario = Scenario.model_validate(data)
    assert only(run_trials(contract, "trialshop:good", [scenario], trials=1)).passed
    stamped = scenario.model_copy(update={"approver": "rubber_stamp"})
    assert not only(run_trials(contract, "trialshop:good", [stamped], trials=1)).passed


def test_levels(run: Callable[..., TestReport]) -> None:
    approved = only(run("good", "plain-refund", level="approval"))
    assert (approved.status, approved.asks, approved.level) == ("passed", 1, "approval")
    shadow = only(run("good", "plain-refund", level="shadow"))
    assert shadow.status == "failed"
    assert shadow.why == ("missing: insert of till.refunds", "missing: update of shop.orders")
    assert shadow.changes == ()


def test_reporting_only(run: Callable[..., TestReport]) -> None:
    report = run("good", "large-refund", enforce=False)
    assert not report.enforced
    assert only(report).passed
    assert only(report).asks == 0
    assert [(s.rule, s.ruling, s.times) for s in report.stops] == [] or report.stops[0].rule == "above-50-asks"


def test_reporting_only_is_sealed_and_never_a_pass(run: Callable[..., TestReport], tmp_path: Path) -> None:
    enforced = run("good", "plain-refund", trials=20, ledger=tmp_path / "l.db")
    watched = run("good", "plain-refund", trials=20, ledger=tmp_path / "l.db", enforce=False)
    tighter = run("good", "plain-refund", trials=20, limits=Limits(entries=200))
    assert watched.total.passed == enforced.total.passed == 20
    assert (enforced.release.verdict, watched.release.verdict) == ("PASS", "INCONCLUSIVE")
    assert "not enforced" in watched.release.reasons[0]
    assert len({r.manifest.digest for r in (enforced, watched, tighter)}) == 3
    with Ledger.open(tmp_path / "l.db", read_only=True) as ledger:
        assert [e.body["enforce"] for e in ledger.entries(kind="release")] == [True, False]
        assert [e.body["manifest"]["enforce"] for e in ledger.entries(kind="manifest")] == [True, False]


def test_transcripts_tell_calls_faults_and_attacks(run: Callable[..., TestReport]) -> None:
    turns = only(run("twice", "answer-lost")).transcript
    assert [t.who for t in turns] == ["user", "tool", "tool", "agent"]
    first, second = turns[1], turns[2]
    assert (first.tool, first.fault, first.status, first.done) == (
        "shop.refund",
        "timeout_after_commit",
        "in_doubt",
        "executed",
    )
    assert (first.args, first.at_s) == ({"order_no": "4711", "amount": "42"}, 0.0)
    assert (second.fault, second.status, second.at_s) == (None, "ok", 5.0)
    attacked = only(run("obedient", "poisoned-note")).transcript
    assert [t.attack for t in attacked if t.who == "tool"] == [True, False, False]
    crash = only(run("crashing", "plain-refund")).transcript[-1]
    assert (crash.who, crash.text) == ("trial", "the agent crashed: RuntimeError: out of ideas <script>\x1b[2J")


def test_seeds_depend_on_nothing_but_their_origin() -> None:
    seeds = {(m, s, i): seed_of(m, s, i) for m in range(3) for s in ("a", "b") for i in range(3)}
    assert len(set(seeds.values())) == len(seeds)
    assert seed_of(1, "a", 0) == 13792930033550


def test_equal_seeds_give_equal_trials_and_others_do_not(run: Callable[..., TestReport]) -> None:
    one, same, other = (run("coin", trials=12, seed=seed) for seed in (1, 1, 2))
    assert told(one) == told(same)
    assert one.manifest.digest == same.manifest.digest != other.manifest.digest
    assert [t.passed for t in one.trials] != [t.passed for t in other.trials]
    again = run("coin", trials=12, seed=1, only_trial=7)
    assert [t.seed for t in again.trials] == [t.seed for t in one.trials if t.index == 7]


def test_workers_change_nothing(run: Callable[..., TestReport], tmp_path: Path) -> None:
    one = run("coin", trials=6, seed=4, ledger=tmp_path / "one.db")
    two = run("coin", trials=6, seed=4, ledger=tmp_path / "two.db", workers=2)
    assert told(one) == told(two)
    assert one.release == two.release
    entries: list[list[tuple[Any, ...]]] = []
    for name in ("one.db", "two.db"):
        with Ledger.open(tmp_path / name, read_only=True) as ledger:
            entries.append(
                [(e.kind, e.run, e.world, e.cause, e.body) for e in ledger.entries() if e.kind != "manifest"]
            )
    assert entries[0] == entries[1]
    assert len(entries[0]) > 100


def test_an_agent_that_ends_its_process_fails_that_trial_only(run: Callable[..., TestReport]) -> None:
    report = run("fatal", "plain-refund", trials=6, workers=2)
    assert [t.status for t in report.trials] == ["passed", "failed", *["passed"] * 4]
    assert report.trials[1].why == ("the agent ended its process (exit code 7)",)


def test_the_ledger_seals_the_manifest_first_and_the_verdict_last(
    run: Callable[..., TestReport], tmp_path: Path
) -> None:
    report = run("good", trials=2, ledger=tmp_path / "l.db")
    run("good", "plain-refund", trials=1, ledger=tmp_path / "l.db")
    with Ledger.open(tmp_path / "l.db", read_only=True) as ledger:
        entries = list(ledger.entries())
        kinds = [e.kind for e in entries]
        assert kinds[0] == "manifest"
        assert kinds.count("manifest") == kinds.count("release") == 2
        assert kinds.count("trial") == 11
        assert {e.world for e in entries} == {"test"}
        first = next(ledger.entries(kind="manifest"))
        assert first.body["digest"] == report.manifest.digest
        release = next(ledger.entries(kind="release"))
        assert (release.body["verdict"], release.body["manifest"]) == (report.release.verdict, report.manifest.digest)
        runs = {e.run for e in ledger.entries(kind="trial")}
        assert len(runs) == 11  # two tests in one ledger never share a run
        assert {t.run for t in report.trials} <= runs
        assert next(ledger.entries(run=report.trials[0].run)).run_seq == 1


def test_results_survive_the_way_between_processes(run: Callable[..., TestReport]) -> None:
    for agent in ("good", "twice", "crashing"):
        for trial in run(agent).trials:
            assert trial_from_json(trial_to_json(trial)) == trial


def test_ctrl_c_leaves_a_report_and_a_whole_ledger(run: Callable[..., TestReport], tmp_path: Path) -> None:
    seen: list[TrialResult] = []

    def interrupt(trial: TrialResult) -> None:
        seen.append(trial)
        if len(seen) == 7:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    report = run("good", trials=50, ledger=tmp_path / "l.db", on_trial=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    assert report.interrupted
    assert report.total.trials == 7
    assert report.release.verdict == "INCONCLUSIVE"
    assert any("of 50 trials were run" in reason for reason in report.release.reasons)
    with Ledger.open(tmp_path / "l.db", read_only=True) as ledger:
        assert sum(1 for _ in ledger.entries(kind="trial")) == 7
        assert [e.body["interrupted"] for e in ledger.entries(kind="release")] == [True]


def test_ctrl_c_in_the_middle_of_a_trial_drops_that_trial(contract: Contract, scenarios: dict[str, Scenario]) -> None:
    calls = 0

    def agent(run: Any, user: Any) -> str:
        nonlocal calls
        calls += 1
        user.opening()
        if calls == 3:
            os.kill(os.getpid(), signal.SIGINT)
            while True:  # the signal ends this
                pass
        return "Done."

    report = run_trials(contract, agent, [scenarios["plain-refund"]], trials=9)
    assert report.interrupted
    assert report.total.trials == 2


def test_ctrl_c_stops_workers(run: Callable[..., TestReport]) -> None:
    seen: list[TrialResult] = []

    def interrupt(trial: TrialResult) -> None:
        seen.append(trial)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    report = run("good", "plain-refund", trials=400, workers=2, on_trial=interrupt)
    assert report.interrupted
    assert 3 <= report.total.trials < 400


def test_the_wired_ground_gives_equal_verdicts(
    contract: Contract, scenarios: dict[str, Scenario], tmp_path: Path
) -> None:
    for agent in ("good", "twice", "obedient"):
        chosen = list(scenarios.values())
        plain = run_trials(contract, f"trialshop:{agent}", chosen, trials=2)
        wired = run_trials(contract, f"trialshop:{agent}", chosen, trials=2, ground=wired_in(tmp_path / agent))
        assert told(plain) == told(wired)
        assert (plain.manifest.ground, wired.manifest.ground) == ("in memory", "files and SMTP")


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        ("trialshop", "module:function"),
        ("trialshop:goood", "did you mean good?"),
        ("trialshopp:good", "no module 'trialshopp'"),
        ("trialshop:three_arguments", r"cannot be called as agent\(run, user\)"),
        ("trialshop:not_callable", "is a int"),
        ("trialshop:yielding", "is a generator function"),
        ("trialshop:yielding_async", "is a generator function"),
        ("trialshop:streaming", "is a generator function"),
        ("leaving:agent", "cannot be imported: SystemExit: 0"),
    ],
)
def test_an_agent_that_is_none_is_refused_before_anything_runs(
    contract: Contract, scenarios: dict[str, Scenario], agent: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        run_trials(contract, agent, list(scenarios.values()))


def test_bad_settings_are_refused(contract: Contract, scenarios: dict[str, Scenario], tmp_path: Path) -> None:
    some = list(scenarios.values())
    cases: list[tuple[dict[str, Any], str]] = [
        ({"trials": 0}, "at least 1"),
        ({"workers": 0}, "at least 1"),
        ({"level": "careful"}, "choose from"),
        ({"workers": 2, "world": find_world("trialshop:world")}, "by its name"),
        ({"workers": 2, "ground": wired_in(tmp_path)}, "workers=1"),
        ({"world": "trialshop:good"}, "World"),
        ({"world": "trialshop:nowhere"}, "no 'nowhere'"),
    ]
    for more, said in cases:
        with pytest.raises(UsageError, match=said):
            run_trials(contract, "trialshop:good", some, **more)
    with pytest.raises(UsageError, match="has no world"):
        run_trials(contract, "trialshop:good", [some[0].model_copy(update={"world": None})])
    with pytest.raises(UsageError, match="by its name"):
        run_trials(contract, _nameless(), some, workers=2)
    with pytest.raises(UsageError, match="several scenarios have the id"):
        run_trials(contract, "trialshop:good", [some[0], some[0]])


def test_errors_of_the_harness_that_a_framework_wraps_stay_errors(
    contract: Contract, scenarios: dict[str, Scenario]
) -> None:
    def agent(run: Any, user: Any) -> str:
        user.opening()
        try:
            raise HarnessError("a broken stand-in")
        except HarnessError as e:
            raise RuntimeError("the framework failed") from e

    trial = only(run_trials(contract, agent, [scenarios["plain-refund"]], trials=1))
    assert (trial.status, trial.why) == ("error", ("a broken stand-in",))


def test_many_trials_take_little_room(run: Callable[..., TestReport]) -> None:
    report = run("twice", "answer-lost", "forgotten-number", trials=60)
    assert len([t for t in report.trials if t.transcript]) <= 12
    assert len(report.failures) >= 2
    whys = {id(t.why) for t in report.trials if t.scenario == "answer-lost"}
    assert len(whys) == 1


def test_what_a_condition_costs_is_the_same_in_every_report(run: Callable[..., TestReport]) -> None:
    report = run("twice", trials=4)
    costs = {c.condition: c.cost for c in report.conditions}
    assert costs == {c.condition: -c.delta for c in costs_of(report)}
    curated = {c.condition: c.without for c in report.conditions}["fault"]
    assert (curated.trials, curated.passed) == (8, report.curated.passed)  # no trial of another messy scenario
