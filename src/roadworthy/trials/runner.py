"""Runs an agent through scenarios, many times, and gives a verdict."""

from __future__ import annotations

import inspect
import os
import signal
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal, cast, get_args

from roadworthy.contract.model import Contract
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Draft, Entry, Level
from roadworthy.gate.entries import contract_drafts
from roadworthy.gate.gate import Gate
from roadworthy.ledger.address import told
from roadworthy.ledger.batch import Batch
from roadworthy.ledger.store import Ledger
from roadworthy.trials.imports import check_agent, find_agent, find_world, name_of
from roadworthy.trials.load import against_contract, against_world, load_scenarios, refuse
from roadworthy.trials.results import BarEntry, Manifest, ScenarioEntry, TestReport, TrialResult
from roadworthy.trials.scenario import Scenario
from roadworthy.trials.scorers import SCORERS
from roadworthy.trials.tally import Tally
from roadworthy.trials.trial import Agent, Bench, Ground, GroundMaker, Limits, in_memory
from roadworthy.trials.workers import Job, Setup, pool
from roadworthy.trials.world import World

GATHER_S = 0.05
"""Finished trials are handed to the ledger's writer together, this often: it syncs the disk once for all of them."""

MOST_IN_FLIGHT = 128
"""So many trials may wait for the disk before the next one does."""

OnTrial = Callable[[TrialResult], None]
"""Told of every trial as soon as it is graded, with its transcript if it did not pass or was stopped in something."""


def run_trials(
    contract: Contract | str | Path,
    agent: Agent | str,
    scenarios: Sequence[Scenario] | str | Path,
    *,
    trials: int = 10,
    seed: int = 0,
    level: Level | None = None,
    workers: int = 1,
    ledger: Ledger | str | Path | None = None,
    world: World | str | None = None,
    enforce: bool = True,
    limits: Limits | None = None,
    ground: GroundMaker = in_memory,
    only_trial: int | None = None,
    on_trial: OnTrial | None = None,
    reproduce: str | None = None,
) -> TestReport:
    """Run an agent through every scenario, `trials` times each, and report what was found.

    `agent`: `def agent(run, user)` or `async def`, or its name `module:function`. `world`: instead of those that the
    scenarios name. `level`: forced upon all trials; else the scenario's, else the capability's ceiling. `ledger`: where
    the manifest, every entry of every trial and the verdict are written; None: nowhere. `only_trial`: run one trial of
    each scenario, the one with this number. `ground`: `wired_in(folder)` for files and SMTP instead of memory. Ctrl-C
    ends the run; the report then covers the trials that were finished, and says `interrupted`.
    Raises ContractError, ScenarioError and UsageError before anything is run; LedgerError.
    """
    plan = _Plan.make(contract, agent, scenarios, level=level, world=world, trials=trials, workers=workers)
    if ground is not in_memory and workers > 1:
        raise UsageError("a ground of one's own works in this process only: give workers=1")
    opened = Ledger.open(ledger) if isinstance(ledger, str | Path) else None
    try:
        runner = _Runner(
            plan,
            trials=trials,
            seed=seed,
            level=level,
            workers=workers,
            ledger=opened or cast("Ledger | None", ledger),
            enforce=enforce,
            limits=limits or Limits(),
            ground=ground,
            only_trial=only_trial,
            on_trial=on_trial,
        )
        where = told(ledger) if isinstance(ledger, str | Path) else None
        return runner.run(where=where, reproduce=reproduce)
    finally:
        if opened is not None:
            opened.close()


def wired_in(folder: Path, *, smtp: tuple[str, int] | None = None) -> GroundMaker:
    """Grounds on SQLite files, each trial in a folder of its own below this one; mail goes out by SMTP."""

    def make(world: World, scenario: Scenario, seed: int) -> Ground:
        return world.wired(folder / f"{scenario.scenario}-{seed}", rows=scenario.rows, seed=seed, smtp=smtp)

    return make


class _Plan:
    """What is to be tried, found and checked before the first trial."""

    def __init__(
        self,
        contract: Contract,
        agent: Agent,
        agent_name: str,
        scenarios: Sequence[Scenario],
        worlds: Mapping[str, World],
    ) -> None:
        self.contract = contract
        self.agent = agent
        self.agent_name = agent_name
        self.scenarios = scenarios
        self.worlds = worlds
        self.world_names: Sequence[str] = ()

    @classmethod
    def make(
        cls,
        contract: Contract | str | Path,
        agent: Agent | str,
        scenarios: Sequence[Scenario] | str | Path,
        *,
        level: Level | None,
        world: World | str | None,
        trials: int,
        workers: int,
    ) -> _Plan:
        if trials < 1 or workers < 1:
            raise UsageError(f"trials and workers are at least 1, not {trials} and {workers}")
        if level is not None and level not in get_args(Level):
            raise UsageError(f"{level!r} is no level; choose from {', '.join(get_args(Level))}")
        law = contract if isinstance(contract, Contract) else Contract.load(contract)
        Gate(law, Batch(), world="test")  # refuses a contract that no gate can keep, before the first trial
        if isinstance(scenarios, str | Path):
            found: Sequence[Scenario] = load_scenarios(scenarios, contract=law)
        else:
            found = tuple(scenarios)
            if not found:
                raise UsageError("there are no scenarios to run")
            twice = {s.scenario for s in found if sum(o.scenario == s.scenario for o in found) > 1}
            if twice:
                raise UsageError(f"several scenarios have the id {min(twice)}; rename all but one")
            refuse([f for s in found for f in against_contract(s, law)])
        if isinstance(agent, str):
            agent_name, function = agent, find_agent(agent)
        else:
            agent_name, function = name_of(agent) or getattr(agent, "__qualname__", repr(agent)), agent
            check_agent(function, agent_name)
        worlds: dict[str, World] = {}
        for scenario in found:
            given = world if world is not None else scenario.world
            if given is None:
                raise UsageError(
                    f"scenario {scenario.scenario} has no world; write `world: module:name` in the _defaults.yaml of "
                    "its folder, or pass world="
                )
            worlds[scenario.scenario] = given if isinstance(given, World) else find_world(given)
        refuse([f for s in found for f in against_world(s, worlds[s.scenario])])
        plan = cls(law, function, agent_name, found, worlds)
        if workers > 1:
            plan.world_names = plan._names(world, agent)
        return plan

    def _names(self, world: World | str | None, agent: Agent | str) -> list[str]:
        if isinstance(world, World):
            raise UsageError('several workers import the world by its name: pass world="module:name", or workers=1')
        if not isinstance(agent, str) and name_of(agent) is None:
            raise UsageError(
                f"several workers import the agent by its name, and {self.agent_name} has none: make it a function of "
                'a module, pass agent="module:function", or workers=1'
            )
        return [cast("str", world or s.world) for s in self.scenarios]


class _Runner:
    def __init__(
        self,
        plan: _Plan,
        *,
        trials: int,
        seed: int,
        level: Level | None,
        workers: int,
        ledger: Ledger | None,
        enforce: bool,
        limits: Limits,
        ground: GroundMaker,
        only_trial: int | None,
        on_trial: OnTrial | None,
    ) -> None:
        self.plan = plan
        self.seed = seed
        self.level: Level | None = level
        self.workers = workers
        self.ledger = ledger
        self.enforce = enforce
        self.limits = limits
        self.ground = ground
        self.on_trial = on_trial
        indexes = range(trials) if only_trial is None else [only_trial]
        # All scenarios once, then again: a run that is cut short has tried each of them about as often.
        self.jobs: list[Job] = [(which, index) for index in indexes for which in range(len(plan.scenarios))]
        self.manifest = self._manifest(len(indexes))
        self.gathered: list[Batch | bytes] = []
        self.handed_over = time.monotonic()
        self.pending: deque[Future[Sequence[Entry]]] = deque()
        self.clock = lambda: datetime.now(UTC)

    def run(self, *, where: str | None, reproduce: str | None) -> TestReport:
        started, began = self.clock(), time.perf_counter()
        test = self._seal(started)
        tally = Tally(self.manifest, self.plan.contract)
        with _Interrupts() as interrupts:
            for result, entries in self._results(test, interrupts):
                self._keep(entries)
                tally.add(result)
                if self.on_trial is not None:
                    self.on_trial(result)
            if self.ledger is not None:
                self._hand_over(self.ledger)
                self._wait(0)
        judgement = tally.judgement()
        report = tally.report(
            judgement,
            started=started,
            duration_s=time.perf_counter() - began,
            interrupted=interrupts.came,
            enforced=self.enforce,
            ledger=where,
            reproduce=reproduce,
        )
        if self.ledger is not None:
            body = {
                "manifest": self.manifest.digest,
                "verdict": report.release.verdict,
                "reasons": list(report.release.reasons),
                "trials": report.total.trials,
                "passed": report.total.passed,
                "errors": report.total.errors,
                "interrupted": report.interrupted,
                "enforce": self.enforce,
            }
            self.ledger.append([Draft(kind="release", world="test", run=None, body=body, at=self.clock())])
        return report

    def _seal(self, started: datetime) -> str:
        """Write down what will be run and how it will be judged; the prefix of this test's run ids."""
        if self.ledger is None:
            return f"test-{self.manifest.digest[:8]}"
        body = {"digest": self.manifest.digest, "manifest": _plain(asdict(self.manifest))}
        manifest = Draft(kind="manifest", world="test", run=None, body=body, at=started)
        # With the contract beside it the ledger alone tells by which law each verdict was made.
        law = contract_drafts(self.plan.contract, self.ledger, started, world="test")
        return f"test-{self.ledger.append([manifest, *law])[0].seq}"

    def _results(self, test: str, interrupts: _Interrupts) -> Iterable[tuple[TrialResult, Batch | bytes | None]]:
        return self._here(test, interrupts) if self.workers == 1 else self._elsewhere(test, interrupts)

    def _here(self, test: str, interrupts: _Interrupts) -> Generator[tuple[TrialResult, Batch]]:
        bench = Bench(
            contract=self.plan.contract,
            agent=self.plan.agent,
            worlds=self.plan.worlds,
            level=self.level,
            enforce=self.enforce,
            seed=self.seed,
            test=test,
            manifest=self.manifest.digest,
            limits=self.limits,
            make_ground=self.ground,
            new_batch=self.ledger.batch if self.ledger is not None else Batch,
        )
        try:
            for which, index in self.jobs:
                if interrupts.came:
                    return
                try:
                    with interrupts.at_once():
                        done = bench.run(self.plan.scenarios[which], index)
                except KeyboardInterrupt:
                    interrupts.came = True
                    return
                yield done
        finally:
            bench.close()

    def _elsewhere(self, test: str, interrupts: _Interrupts) -> Generator[tuple[TrialResult, bytes | None]]:
        setup = Setup(
            contract=self.plan.contract,
            agent=self.plan.agent_name,
            worlds=self.plan.world_names,
            scenarios=self.plan.scenarios,
            level=self.level,
            enforce=self.enforce,
            seed=self.seed,
            test=test,
            manifest=self.manifest.digest,
            limits=self.limits,
        )
        with pool(setup, min(self.workers, len(self.jobs))) as workers:
            results = workers.run(self.jobs)
            while not interrupts.came:
                try:
                    with interrupts.at_once():
                        done = next(results, None)
                except KeyboardInterrupt:
                    interrupts.came = True
                    return
                if done is None:
                    return
                yield done

    def _keep(self, entries: Batch | bytes | None) -> None:
        """Put a trial's entries among those that the ledger will be handed next; each trial is a transaction."""
        if self.ledger is None or entries is None:
            return
        self.gathered.append(entries)
        now = time.monotonic()
        if now - self.handed_over > GATHER_S:
            self.handed_over = now
            self._hand_over(self.ledger)
            self._wait(MOST_IN_FLIGHT)

    def _hand_over(self, ledger: Ledger) -> None:
        gathered, self.gathered = self.gathered, []
        self.pending += [e.submit() if isinstance(e, Batch) else ledger.submit(e) for e in gathered]

    def _wait(self, most: int) -> None:
        """Wait until at most so many trials are not yet on disk. Raises LedgerError."""
        while len(self.pending) > most:
            self.pending.popleft().result()

    def _manifest(self, trials: int) -> Manifest:
        plan, law = self.plan, self.plan.contract
        bars: dict[str, BarEntry | None] = {}
        tried = {s.capability for s in plan.scenarios}
        for name, capability in law.capabilities.items():
            evidence = capability.evidence
            if evidence is not None:
                bars[name] = BarEntry(pass_rate=evidence.pass_rate, confidence=evidence.confidence)
            elif name in tried:
                bars[name] = None
        worlds = {f"{w.name}@{w.digest[:12]}" for w in plan.worlds.values()}
        where: Literal["in memory", "files and SMTP"] = "in memory" if self.ground is in_memory else "files and SMTP"
        return Manifest(
            agent=law.agent,
            version=law.version,
            contract=law.digest,
            tried=plan.agent_name,
            world=", ".join(sorted(worlds)),
            ground=where,
            scenarios=tuple(
                ScenarioEntry(
                    id=s.scenario,
                    digest=s.digest,
                    capability=s.capability,
                    conditions=s.conditions,
                    must_pass=s.must_pass,
                    level=self.level or s.level or law.capabilities[s.capability].autonomy.ceiling,
                    about=s.about,
                )
                for s in plan.scenarios
            ),
            bars=bars,
            trials=trials,
            seed=self.seed,
            scorers=SCORERS,
            roadworthy=version("roadworthy"),
            enforce=self.enforce,
            most_entries=self.limits.entries,
            most_wall_s=self.limits.wall_s,
            about=(inspect.getdoc(plan.agent) or "").partition("\n")[0] if inspect.isroutine(plan.agent) else "",
        )


def _plain(value: object) -> object:
    """A manifest as the ledger may hold it: no floats."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in cast("dict[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in cast("list[object]", value)]
    return str(value) if isinstance(value, float) else value


class _Interrupts:
    """Ctrl-C ends a trial at once, but never between a trial and its entries."""

    def __init__(self) -> None:
        self.came = False
        self._open = False
        self._before: object = None

    def __enter__(self) -> _Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, cast("signal.Handlers", self._before))

    @contextmanager
    def at_once(self) -> Generator[None]:
        """Inside, Ctrl-C raises KeyboardInterrupt; outside it waits for the next look."""
        self._open = True
        try:
            yield
        finally:
            self._open = False

    def _take(self, signum: int, frame: types.FrameType | None) -> None:
        if self.came:  # the second time somebody means it
            os.kill(os.getpid(), signal.SIGTERM)
        self.came = True
        if self._open:
            raise KeyboardInterrupt
