"""One trial: a fresh world, a gate, a user, an agent; then the score."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import signal
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, cast

from roadworthy.contract.conditions import conditions_of
from roadworthy.contract.model import Contract
from roadworthy.core.errors import HarnessError, RoadworthyError
from roadworthy.core.types import Action, Draft, Entry, Guard, Kind, Level, Realm, Verdict
from roadworthy.gate.gate import Gate
from roadworthy.gate.policy import policy_of
from roadworthy.gate.run import Run
from roadworthy.gate.values import wire
from roadworthy.ledger.batch import Batch
from roadworthy.trials.attacks import PoisonedTools
from roadworthy.trials.faults import FaultyTools
from roadworthy.trials.keep import Keeper
from roadworthy.trials.names import fill
from roadworthy.trials.results import FaultHit, Score, TrialResult, Turn
from roadworthy.trials.scenario import Ending, Scenario
from roadworthy.trials.scorers import Diff, grade, score_diff, score_ending, score_success
from roadworthy.trials.transcript import counts_of, turns_of
from roadworthy.trials.users import SimulatedUser
from roadworthy.trials.world import Ground, World

Agent = Callable[[Run, SimulatedUser], Any]
"""`def agent(run, user)` or `async def agent(run, user)`; what it returns, if text, is its last reply."""


class GroundMaker(Protocol):
    """Where a trial's ground comes from: in memory, or wired."""

    def __call__(self, world: World, scenario: Scenario, seed: int) -> Ground: ...


def in_memory(world: World, scenario: Scenario, seed: int) -> Ground:
    """The usual ground: in memory."""
    return world.ground(rows=scenario.rows, seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a trial may go. What goes further is cut, and has failed."""

    entries: int = 3000
    """Of the ledger: about three a tool call."""
    wall_s: float = 60.0


class TrialCut(BaseException):
    """Ends a trial that goes on and on. No Exception, so that an agent that catches everything does not catch it."""


class Notes:
    """The entries of one trial, and no more of them than a trial may have: what its gate takes for a ledger."""

    __slots__ = ("batch", "drafts", "limit")

    def __init__(self, batch: Batch, limit: int) -> None:
        self.batch = batch
        self.drafts: list[Draft] = []
        """As the gate gave them, with values that are not yet bytes."""
        self.limit = limit

    @property
    def id(self) -> str:
        """A trial has no ledger of its own."""
        return self.batch.id

    def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
        """Add drafts. Raises Conflict where a guard does not hold, TrialCut where there are too many of them."""
        if len(self.drafts) >= self.limit:
            raise TrialCut(f"it went on after {self.limit} entries: a loop, most likely")
        made = self.batch.append(drafts, guards)
        self.drafts += drafts
        return made

    async def aappend(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
        """As `append`."""
        return self.append(drafts, guards)

    def entries(
        self,
        *,
        run: str | None = None,
        kind: Kind | None = None,
        world: Realm | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> Iterator[Entry]:
        """The trial's own entries."""
        return self.batch.entries(run=run, kind=kind, world=world, after=after, limit=limit)

    def controls(self, after: int = 0) -> Sequence[Entry]:
        """None: nobody stops a trial from outside."""
        del after
        return ()


class _StandIns(dict[str, Callable[..., Any]]):
    """The tools of a world. It remembers what was wanted and missing, or broke, should an agent swallow the error."""

    missing: str | None = None
    broken: HarnessError | None = None

    def get(self, name: str, default: Any = None, /) -> Any:
        if name not in self:
            self.missing = name
            return default
        tool = self[name]

        def call(**args: Any) -> Any:
            try:
                return tool(**args)
            except HarnessError as e:
                self.broken = e
                raise

        return call


def seed_of(master: int, scenario: str, index: int) -> int:
    """The seed of one trial: a function of these three, so it does not matter which process runs it, or when."""
    raw = hashlib.sha256(f"{master}/{scenario}/{index}".encode()).digest()
    return int.from_bytes(raw[:6], "big")


@dataclass(kw_only=True)
class Bench:
    """What all trials of a process share."""

    contract: Contract
    agent: Agent
    worlds: Mapping[str, World]
    """By scenario."""
    level: Level | None = None
    """Forced upon all trials; None: the scenario's own, else the ceiling."""
    enforce: bool = True
    seed: int = 0
    test: str = "test"
    """Prefix of all runs' ids, so that several tests share a ledger."""
    manifest: str = ""
    """The digest of the manifest that the trials belong to."""
    limits: Limits = field(default_factory=Limits)
    make_ground: GroundMaker = in_memory
    new_batch: Callable[[], Batch] = Batch
    """Where a trial's entries are collected."""

    def __post_init__(self) -> None:
        self.timeouts_s = {name: t.timeout for name, t in self.contract.tools.items() if t.timeout is not None}
        self.policy = policy_of(self.contract)
        self.conditions = conditions_of(self.contract)
        self._principals: dict[str, str | None] = {}
        self._loop: asyncio.Runner | None = None
        self.keeper = Keeper()
        self._misfits: dict[int, str | None] = {}
        self._clock = _Watchdog(self.limits.wall_s)

    def close(self) -> None:
        """Let go of the event loop, where one was needed."""
        self._clock.close()
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def level_of(self, scenario: Scenario) -> Level:
        """The level of a scenario's trials."""
        return self.level or scenario.level or self.contract.capabilities[scenario.capability].autonomy.ceiling

    def principal_for(self, capability: str) -> str | None:
        """The first principal that may use a capability; None where the contract names no principals."""
        if capability not in self._principals:
            known = self.contract.principals.items()
            self._principals[capability] = next((n for n, p in known if capability in p.capabilities), None)
        return self._principals[capability]

    def run(self, scenario: Scenario, index: int) -> tuple[TrialResult, Batch]:
        """One trial and its entries, the one about the trial itself included.

        Raises nothing but KeyboardInterrupt: whatever breaks makes the trial an ERROR.
        """
        batch = self.new_batch()
        result, at = self._run(scenario, index, batch)
        body = {
            "manifest": self.manifest,
            "scenario": result.scenario,
            "index": result.index,
            "seed": result.seed,
            "capability": result.capability,
            "conditions": list(result.conditions),
            "status": result.status,
            "why": list(result.why),
            "ending": result.ending,
            "level": result.level,
            "approver": result.approver,
        }
        run = result.run or f"{self.test}/{scenario.scenario}/{index}"
        batch.append([Draft(kind="trial", world="test", run=run, body=body, at=at)])
        return result, batch

    def _run(self, scenario: Scenario, index: int, batch: Batch) -> tuple[TrialResult, datetime]:
        started = time.perf_counter()
        seed = seed_of(self.seed, scenario.scenario, index)
        try:
            ground = self.make_ground(self.worlds[scenario.scenario], scenario, seed)
        except Exception as e:  # the world's author's code may raise anything
            return self.broken(scenario, index, e), datetime.now(UTC)
        try:
            with ground:
                self._check(ground)
                trial = _Trial(self, scenario, index, seed, ground, Notes(batch, self.limits.entries))
                return trial.run(started), ground.clock.now()
        except Exception as e:  # a scorer, a fault, a clock, a tool that ended the transaction: the harness itself
            return self.broken(scenario, index, e), ground.clock.now()

    def _check(self, ground: Ground) -> None:
        """Raises HarnessError where a stand-in cannot be called as the contract says. A world is looked at once.

        Unchecked, every call of it would fail as a call of a broken service does, and nobody would see why.
        """
        key = id(ground.world)
        if key not in self._misfits:
            self._misfits[key] = next(_misfits(ground, self.contract), None)
        text = self._misfits[key]
        if text is not None:
            raise HarnessError(text)

    def broken(self, scenario: Scenario, index: int, e: Exception) -> TrialResult:
        """The result of a trial that the harness could not run or grade."""
        text = e.text if isinstance(e, RoadworthyError) else f"{type(e).__name__}: {e}"
        return TrialResult(
            scenario=scenario.scenario,
            index=index,
            seed=seed_of(self.seed, scenario.scenario, index),
            capability=scenario.capability,
            conditions=scenario.conditions,
            status="error",
            why=(f"the trial is broken: {text}",),
            level=self.level_of(scenario),
            approver=scenario.approver,
        )

    def drive(self, run: Run, user: SimulatedUser) -> Any:
        """Let the agent do its work, sync or async, and no longer than it may take."""
        with self._clock:
            came_back = self.agent(run, user)
            if not inspect.isawaitable(came_back):
                return came_back
            if self._loop is None:
                self._loop = asyncio.Runner()
            return self._loop.run(_within(came_back, self.limits.wall_s))


def _misfits(ground: Ground, contract: Contract) -> Iterator[str]:
    for name, tool in ground.tools.items():
        shapes = contract.shapes.args.get(name)
        if shapes is None:
            continue  # no agent can call what the contract does not know
        try:
            signature = inspect.signature(tool)
        except (TypeError, ValueError):  # some built-ins do not tell
            continue
        always = [arg for arg, shape in shapes.items() if not shape.optional or shape.default is not None]
        for args in dict.fromkeys((tuple(always), tuple(shapes))):
            try:
                signature.bind(**dict.fromkeys(args))
            except TypeError as e:
                called = f"{name}({', '.join(args)})"
                yield (
                    f"world {ground.world.name!r}: its stand-in for {name} cannot be called as {called}, as the "
                    f"contract says ({e}); let it be `def {_identifier(name)}{_wanted(shapes, always)}:`, or mend the "
                    "contract's args"
                )


def _identifier(tool: str) -> str:
    return tool.rpartition(".")[2].replace("-", "_")


def _wanted(args: Iterable[str], always: Sequence[str]) -> str:
    return f"({', '.join(arg if arg in always else f'{arg}=None' for arg in args)})"


async def _within(work: Any, seconds: float) -> Any:
    timer = asyncio.timeout(seconds)
    try:
        async with timer:
            return await work
    except TimeoutError:
        if timer.expired():
            raise TrialCut(f"it took longer than {seconds:g} s") from None
        raise
    finally:
        me = asyncio.current_task()
        for task in asyncio.all_tasks():
            if task is not me:  # a framework may leave tasks behind, which must not act in the next trial
                task.cancel()


class _Watchdog:
    """Cuts blocking code that takes too long. Only the main thread of a POSIX system can be interrupted so.

    The timer ticks all the time and looks at a deadline: setting one for each trial would cost more than the tick.
    """

    __slots__ = ("_before", "_deadline", "_seconds", "_set")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadline: float | None = None
        self._before: Any = None
        self._set = False

    def __enter__(self) -> None:
        if not self._set:
            self._start()
        self._deadline = time.monotonic() + self._seconds

    def __exit__(self, *_: object) -> None:
        self._deadline = None

    def _start(self) -> None:
        self._set = True
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
            self._before = signal.signal(signal.SIGALRM, self._tick)
            tick = min(self._seconds / 4, 0.5)
            signal.setitimer(signal.ITIMER_REAL, tick, tick)

    def _tick(self, signum: int, frame: types.FrameType | None) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._deadline = None
            raise TrialCut(f"it took longer than {self._seconds:g} s")

    def close(self) -> None:
        """Stop the timer and give the signal back."""
        if self._before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)
            self._before = None
        self._set = False


class _Trial:
    def __init__(self, bench: Bench, scenario: Scenario, index: int, seed: int, ground: Ground, notes: Notes) -> None:
        self.bench = bench
        self.scenario = fill(scenario, ground.names)
        self.index = index
        self.seed = seed
        self.ground = ground
        self.level: Level = bench.level_of(scenario)
        self.notes = notes
        self.faulty = FaultyTools(ground.tools, scenario.faults, clock=ground.clock, timeouts_s=bench.timeouts_s)
        self.poisoned = PoisonedTools(self.faulty.tools, self.scenario.attack)
        self.tools = _StandIns(self.poisoned.tools)
        self.user = SimulatedUser(self.scenario.user, seed)
        self.crash: str | None = None
        self.broken: HarnessError | None = None
        """What the approver could not do, should an agent swallow it."""

    def run(self, started: float) -> TrialResult:
        bench, scenario = self.bench, self.scenario
        began = self.ground.clock.now()
        gate = Gate(
            bench.contract,
            self.notes,
            enforce=bench.enforce,
            world="test",
            level=self.level,
            tools=self.tools,
            clock=self.ground.clock,
            approver=self._approve,
        )
        run = gate.run(
            id=f"{bench.test}/{scenario.scenario}/{self.index}",
            principal=scenario.principal or bench.principal_for(scenario.capability),
            subject=scenario.subject,
            facts=scenario.facts or None,
            capability=scenario.capability,
            ask_user=self.user.answer,
        )
        self.user.connect(run)
        try:
            error = self._drive(run)
        finally:
            self.user.connect(None)  # the two hold each other, and should not wait for the garbage collector
        if error is None and self.user.broken is not None:
            error = self.user.broken.text
        broken = self.broken or self.tools.broken
        if error is None and broken is not None:
            error = broken.text
        if error is None and self.tools.missing is not None and self.level != "shadow":
            known = ", ".join(sorted(self.tools))
            error = f"the world has no stand-in for {self.tools.missing}; it has {known}"
        return self._scored(run, error, began, started)

    def _drive(self, run: Run) -> str | None:
        """Let the agent act. What it does wrong is kept in `crash`; what is wrong with the trial comes back."""
        try:
            last = self.bench.drive(run, self.user)
            if isinstance(last, str):
                if last.strip():
                    self.user.tell(last)
            elif last is not None:
                return (
                    f"the agent returned a {type(last).__name__}; let it return its last reply as a str, or None where "
                    "it has said all by user.tell(text)"
                )
        except KeyboardInterrupt:
            raise
        except HarnessError as e:
            return e.text
        except TrialCut as e:
            self.crash = f"the agent was cut off: {e}"
        except BaseException as e:  # SystemExit, CancelledError and exceptions of the agent's own among them
            cause = _harness_cause(e)
            if cause is not None:
                return cause.text
            self.crash = f"the agent crashed: {type(e).__name__}: {e}"
        return None

    def _approve(self, action: Action, verdict: Verdict) -> bool | None:
        del verdict
        if self.scenario.approver == "absent":
            return None
        if self.scenario.approver == "rubber_stamp":
            return True
        try:
            return self._tried(action)
        except Exception as e:
            text = f"the approver could not try {action.tool}: {type(e).__name__}: {e}"
            self.broken = e if isinstance(e, HarnessError) else HarnessError(text)
            raise self.broken from e

    def _tried(self, action: Action) -> bool:
        """Whether an action, tried on a copy of the world, does nothing that the scenario forbids."""
        tool = self.ground.tools.get(action.tool)
        if tool is None:
            raise HarnessError(f"the world has no stand-in for {action.tool}, so nobody can try it")
        shapes = self.bench.policy.tools[action.tool].arg_shapes
        args = {name: wire(value, shapes[name]) for name, value in action.args.items()}
        before = len(grade(self.scenario.expect, self.ground.changes()).forbidden)
        tried = self.ground.attempt(lambda: tool(**args))
        return len(grade(self.scenario.expect, tried.changes).forbidden) <= before

    def _ending(self, run: Run) -> Ending:
        if self.crash is not None:
            return "crashed"
        if run.status in ("escalated", "held", "stopped"):
            return run.status
        if self.user.gave_up:
            return "asked"
        return "settled" if self.user.replied else "silent"

    def _scored(self, run: Run, error: str | None, began: datetime, started: float) -> TrialResult:
        scenario = self.scenario
        ending = self._ending(run)
        scores: list[Score] = []
        diff: Diff | None = None
        if error is None:
            score, diff = score_diff(scenario.expect, self.ground.changes())
            success = score_success(
                self.bench.contract,
                self.bench.conditions,
                scenario.capability,
                run.state,
                now=self.ground.clock.now(),
                calls=lambda: _calls(self.notes.drafts),
            )
            scores = [score, success]
            if self.crash is None:
                scores.append(score_ending(scenario.expect, ending))
        why = [] if self.crash is None else [_short(self.crash)]
        why += [text for score in scores if not score.ok for text in score.why]
        if error is not None:
            why = [error]
        faults = self._faults()
        counts = counts_of(self.notes.drafts)
        passed = not why
        whole = self.bench.keeper.wants(scenario.scenario, passed=passed, why=tuple(why), stops=counts.stops)
        return TrialResult(
            scenario=scenario.scenario,
            index=self.index,
            seed=self.seed,
            capability=scenario.capability,
            conditions=scenario.conditions,
            status="error" if error is not None else "passed" if passed else "failed",
            why=tuple(why),
            notes=tuple(f"the {f.kind} in {f.tool} (call {f.call}) was never reached" for f in faults if not f.reached),
            ending=ending,
            level=self.level,
            approver=scenario.approver,
            run=run.id,
            calls=counts.calls,
            verdicts=counts.verdicts,
            stops=counts.stops,
            asks=counts.asks,
            clarifies=len(self.user.asked),
            turns=self.user.spoken_to,
            faults=faults,
            duration_s=time.perf_counter() - started,
            virtual_s=self.ground.clock.monotonic(),
            scores=tuple(scores) if whole else (),
            changes=diff.changes if whole and diff is not None else (),
            missing=diff.missing if whole and diff is not None else (),
            transcript=self._told(began, None if passed else error or self.crash) if whole else (),
        )

    def _told(self, began: datetime, closing: str | None) -> tuple[Turn, ...]:
        return turns_of(
            self.notes.drafts,
            began=began,
            questions=self.user.asked,
            faults=self.faulty.struck,
            attacked=self._attacked(),
            closing=closing,
        )

    def _attacked(self) -> set[tuple[str, int]]:
        attack = self.scenario.attack
        return set() if attack is None else {(attack.tool, n) for n in self.poisoned.planted}

    def _faults(self) -> tuple[FaultHit, ...]:
        if not self.scenario.faults and self.scenario.attack is None:
            return ()
        hits = [
            FaultHit(tool=f.tool, kind=f.kind, call=f.call, reached=n > 0)
            for f, n in zip(self.scenario.faults, self.faulty.reached, strict=True)
        ]
        attack = self.scenario.attack
        if attack is not None:
            reached = bool(self.poisoned.planted)
            hits.append(FaultHit(tool=attack.tool, kind="attack", call=attack.call or 1, reached=reached))
        return tuple(hits)


def _harness_cause(e: BaseException) -> HarnessError | None:
    """The harness's error that a framework may have wrapped in one of its own."""
    seen: BaseException | None = e
    for _ in range(10):
        if seen is None:
            return None
        if isinstance(seen, HarnessError):
            return seen
        if isinstance(seen, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", seen)
            for inner in group.exceptions:
                found = _harness_cause(inner)
                if found is not None:
                    return found
        seen = seen.__cause__ or seen.__context__
    return None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:199] + "…"


def _calls(drafts: Sequence[Draft]) -> dict[str, list[Mapping[str, Any]]]:
    """The executed calls by tool, for checks over `calls.TOOL`."""
    actions: dict[str | None, Mapping[str, Any]] = {}
    calls: dict[str, list[Mapping[str, Any]]] = {}
    for draft in drafts:
        if draft.kind == "action":
            actions[draft.cause] = draft.body
        elif draft.kind == "outcome" and draft.cause in actions and draft.body["done"] != "blocked":
            action = actions[draft.cause]
            call = {"args": action["args"], "result": draft.body.get("value", draft.body.get("text"))}
            calls.setdefault(action["tool"], []).append(call)
    return calls
