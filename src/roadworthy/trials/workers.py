"""Trials in several processes. What passes between them is JSON bytes, and only the parent writes the ledger."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import orjson

from roadworthy.contract.model import Contract
from roadworthy.contract.people import People
from roadworthy.core.errors import HarnessError
from roadworthy.core.types import Level
from roadworthy.ledger.batch import Batch
from roadworthy.trials.imports import find_agent, find_world
from roadworthy.trials.results import TrialResult, trial_from_json, trial_to_json
from roadworthy.trials.scenario import Scenario
from roadworthy.trials.trial import Bench, Limits, seed_of

Job = tuple[int, int]
"""(which scenario, which trial of it)."""

_AHEAD = 8
"""How many jobs a worker is given at once, so that it need not wait for the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a worker must know to make the same trials as its parent would."""

    contract: Contract
    agent: str
    worlds: Sequence[str]
    """By scenario, `module:name`."""
    scenarios: Sequence[Scenario]
    level: Level | None
    enforce: bool
    seed: int
    test: str
    manifest: str
    limits: Limits

    def to_json(self) -> bytes:
        """As bytes for the way to a worker."""
        members = self.contract.members
        return orjson.dumps(
            {
                # What was written, and no more: whether a default was spelt out can matter.
                "contract": self.contract.model_dump(mode="json", by_alias=True, exclude_unset=True),
                "people": None if members is None else members.model_dump(mode="json"),
                "digest": self.contract.digest,
                "agent": self.agent,
                "worlds": list(self.worlds),
                "scenarios": [s.model_dump(mode="json", by_alias=True) for s in self.scenarios],
                "level": self.level,
                "enforce": self.enforce,
                "seed": self.seed,
                "test": self.test,
                "manifest": self.manifest,
                "limits": self.limits,
            }
        )


def _bench(raw: dict[str, Any]) -> tuple[Bench, list[Scenario]]:
    contract = Contract.model_validate(raw["contract"])
    if raw["people"] is not None:
        contract = contract.with_people(People.model_validate(raw["people"]))
    if contract.digest != raw["digest"]:
        raise HarnessError("the contract changed on its way to a worker process; this is a defect, please report it")
    scenarios = [Scenario.model_validate(s) for s in raw["scenarios"]]
    worlds = {name: find_world(name) for name in set(raw["worlds"])}
    bench = Bench(
        contract=contract,
        agent=find_agent(raw["agent"]),
        worlds={s.scenario: worlds[name] for s, name in zip(scenarios, raw["worlds"], strict=True)},
        level=raw["level"],
        enforce=raw["enforce"],
        seed=raw["seed"],
        test=raw["test"],
        manifest=raw["manifest"],
        limits=Limits(**raw["limits"]),
    )
    return bench, scenarios


def serve(connection: Connection, setup: bytes) -> None:
    """A worker's life: take jobs, send back results. Called in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    try:
        bench, scenarios = _bench(orjson.loads(setup))
    except Exception as e:  # told to the parent, who raises it
        connection.send_bytes(orjson.dumps({"broken": f"{type(e).__name__}: {e}"}))
        return
    while True:
        try:
            jobs: list[Job] = orjson.loads(connection.recv_bytes())
        except EOFError:
            break
        for which, index in jobs:
            connection.send_bytes(pack(*bench.run(scenarios[which], index)))
    bench.close()


def pack(result: TrialResult, entries: Batch) -> bytes:
    """A result and its entries as bytes."""
    head = trial_to_json(result)
    return len(head).to_bytes(4, "big") + head + entries.pack()


def unpack(message: bytes) -> tuple[TrialResult, bytes]:
    """The result behind such bytes, and the entries for `Ledger.submit`."""
    size = int.from_bytes(message[:4], "big")
    return trial_from_json(message[4 : 4 + size]), message[4 + size :]


class _Worker:
    def __init__(self, setup: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=serve, args=(theirs, setup), daemon=True)
        self.process.start()
        theirs.close()
        self.jobs: deque[Job] = deque()

    def give(self, jobs: Sequence[Job]) -> None:
        self.jobs.extend(jobs)
        self.connection.send_bytes(orjson.dumps(jobs))


class Pool:
    """Some worker processes. A worker that dies fails the trial it was at, and is replaced."""

    def __init__(self, setup: Setup, workers: int) -> None:
        self._setup = setup
        self._bytes = setup.to_json()
        self._workers = [_Worker(self._bytes) for _ in range(workers)]

    def run(self, jobs: Iterable[Job]) -> Generator[tuple[TrialResult, bytes | None]]:
        """The trials of these jobs, in this order, whichever worker ran them. Raises HarnessError."""
        todo = deque(jobs)
        order = list(todo)
        done: dict[Job, bytes | TrialResult] = {}
        next_up = 0
        share = max(1, min(_AHEAD, len(order) // (4 * len(self._workers))))
        for worker in self._workers:
            _feed(worker, todo, share)
        while next_up < len(order):
            busy = {w.connection: w for w in self._workers if w.jobs}
            for ready in wait(list(busy)):
                worker = busy[ready]  # pyright: ignore[reportArgumentType]  # these are the connections given
                try:
                    message = worker.connection.recv_bytes()
                except (EOFError, ConnectionError):
                    job = worker.jobs.popleft()
                    done[job] = self._died(worker, job)
                    todo.extendleft(reversed(worker.jobs))
                    worker = self._replace(worker)
                else:
                    if message.startswith(b'{"broken"'):
                        raise HarnessError(f"a worker process could not start: {orjson.loads(message)['broken']}")
                    done[worker.jobs.popleft()] = message
                if len(worker.jobs) <= share // 2:
                    _feed(worker, todo, share)
            while next_up < len(order) and order[next_up] in done:
                found = done.pop(order[next_up])
                next_up += 1
                yield unpack(found) if isinstance(found, bytes) else (found, None)

    def _replace(self, worker: _Worker) -> _Worker:
        worker.connection.close()
        fresh = _Worker(self._bytes)
        self._workers[self._workers.index(worker)] = fresh
        return fresh

    def _died(self, worker: _Worker, job: Job) -> TrialResult:
        worker.process.join(timeout=5)
        scenario = self._setup.scenarios[job[0]]
        capability = self._setup.contract.capabilities[scenario.capability]
        return TrialResult(
            scenario=scenario.scenario,
            index=job[1],
            seed=seed_of(self._setup.seed, scenario.scenario, job[1]),
            capability=scenario.capability,
            conditions=scenario.conditions,
            status="failed",
            why=(f"the agent ended its process (exit code {worker.process.exitcode})",),
            ending="crashed",
            level=self._setup.level or scenario.level or capability.autonomy.ceiling,
            approver=scenario.approver,
        )

    def close(self) -> None:
        """End the workers, whatever they are at."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(timeout=5)
            if worker.process.is_alive():
                worker.process.kill()


def _feed(worker: _Worker, todo: deque[Job], share: int) -> None:
    jobs = [todo.popleft() for _ in range(min(share, len(todo)))]
    if jobs:
        worker.give(jobs)


@contextmanager
def pool(setup: Setup, workers: int) -> Generator[Pool]:
    """A pool that is closed at the end, however it ends."""
    made = Pool(setup, workers)
    try:
        yield made
    finally:
        made.close()
