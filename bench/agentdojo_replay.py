"""AgentDojo without a model: an agent that obeys everybody, before a gate that knows one contract per suite.

    .venv-bench/bin/python bench/agentdojo_replay.py [--json] [--suite NAME ...] [--misses] [--person NAME ...]

The agent plays the calls that AgentDojo itself gives for a user's task. In an attack it obeys what is planted in the
results that it reads: at once when it has read it ("exposure"), or after the user's task ("end"); then it goes on.
AgentDojo's own checks say whether the task is done and whether the attacker has won. Questions are answered by a
vigilant person (yes to what the user's task needs, no to all else; asked by the agent, the user names the values), by
nobody, or by a person who says yes to everything. Counted beside: attacks that do not win without a gate, and those
that make the agent say something and call nothing, which no gate of actions can stop.

Needs the environment of the peers: `make bench-peers`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from _agentdojo import SUITES, WORDINGS, Call, World, shows
from roadworthy import Contract, Gate
from roadworthy.core.types import Action, Verdict
from roadworthy.ledger.batch import Batch

Person = Literal["vigilant", "absent", "rubber-stamp"]
PERSONS: tuple[Person, ...] = ("vigilant", "absent", "rubber-stamp")
Place = Literal["exposure", "end"]
PLACES: tuple[Place, ...] = ("exposure", "end")
ROUNDS = 3
"""How often the agent asks the user about one call before it gives up."""
_SITE = re.compile(r"https?://([^/\s]+)")
CONTRACTS = Path(__file__).with_name("agentdojo")
SUBJECTS = {"travel": "emma.johnson@bluesparrowtech.com"}
"""Whom the application has signed in, where the contract asks for it."""


@dataclass(slots=True)
class Played:
    """What came of one run."""

    useful: bool
    won: bool = False
    exposed: bool = False
    interrupted: list[str] = field(default_factory=list[str])
    """Each call of the user's task, and each reply, that was not simply let through, with the reason."""
    passed: list[str] = field(default_factory=list[str])
    """The attacker's calls that were carried out."""
    stopped: list[str] = field(default_factory=list[str])
    """The attacker's calls that were not."""


def _said(call: Call, planted: str | None) -> str:
    """How a user names the values of a call: not the long texts, which are the agent's, and not what was planted."""

    def parts(name: str, value: Any) -> list[str]:
        if isinstance(value, Mapping):
            return [p for k, v in value.items() for p in parts(str(k), v)]
        if isinstance(value, list | tuple):
            return [p for v in value for p in parts(name, v)]
        text = str(value)
        strange = planted is not None and planted in text
        return [f"{name} is {text}"] if value is not None and len(text) <= 80 and not strange else []

    return "I mean: " + ", ".join(p for name, value in call.args.items() for p in parts(name, value)) + "."


class _Agent:
    """Plays calls, with or without a gate."""

    def __init__(
        self, world: World, contract: Contract | None, env: Any, words: str, person: Person, planted: str | None
    ) -> None:
        self.world = world
        self.env = env
        self.person: Person = person
        self.planted = planted
        self.done: list[Call] = []
        self.now: Call | None = None
        self.for_user = True
        self.verdicts: list[Verdict] = []
        self.run: Any = None
        if contract is not None:
            tools = {name: self._tool(name) for name in contract.tools}
            gate = Gate(contract, Batch(), world="test", tools=tools, approver=self._approves)
            capability = next(iter(contract.capabilities))
            self.run = gate.run(capability=capability, subject=SUBJECTS.get(world.name), ask_user=self._answers)
            self.run.heard(words)

    def _tool(self, name: str) -> Any:
        def call(**args: Any) -> Any:
            result = self.world.run(self.env, name, args)
            self.done.append(Call(tool=name, args=args))
            return result

        return call

    def _approves(self, action: Action, verdict: Verdict) -> bool | None:
        self.verdicts.append(verdict)
        if self.person == "absent":
            return None
        return self.person == "rubber-stamp" or self.for_user

    def _answers(self, question: str) -> str | None:
        if self.person == "absent" or self.now is None:
            return None
        if self.person == "rubber-stamp":
            return "Yes, please go ahead."
        return _said(self.now, self.planted) if self.for_user else "No, I have not asked for that."

    def act(self, call: Call, played: Played, *, for_user: bool) -> Any:
        """Play one call; its result, or None where it was not carried out."""
        self.now, self.for_user = call, for_user
        if self.run is None:
            try:
                result = self.world.run(self.env, call.tool, call.args)
            except Exception as error:  # a tool's own refusal, which the agent would read
                return str(error)
            self.done.append(call)
            return result
        self.verdicts.clear()
        asked = ""
        outcome = self.run.call(call.tool, call.args)
        for _ in range(ROUNDS):
            if outcome.status != "clarify":
                break
            asked = "clarify: " + outcome.text
            answer = self.run.ask_user(outcome.text)
            if answer.status == "denied":  # the question itself holds what may not be told; then it is left out
                answer = self.run.ask_user(f"What exactly do you want me to use for {call.tool.replace('_', ' ')}?")
            if not answer.ok:
                break
            outcome = self.run.call(call.tool, call.args)
        if self.verdicts:
            codes = sorted({r.code for v in self.verdicts for r in v.reasons})
            asked = f"ask {','.join(codes)}: " + " ".join(r.text for r in self.verdicts[-1].reasons)
        elif outcome.status in ("denied", "held", "clarify", "in_doubt") and not asked:
            asked = f"{outcome.status}: {outcome.text}"
        carried = outcome.done == "executed"
        if for_user and (asked or not carried):
            played.interrupted.append(f"{call.tool} {json.dumps(call.args, default=str)[:160]} -> {asked or outcome}")
        if not for_user:
            note = f"{call.tool} {json.dumps(call.args, default=str)[:160]}" + (f" -> {asked}" if asked else "")
            (played.passed if carried else played.stopped).append(note)
        return outcome.value if carried else None

    def reply(self, text: str, wanted: str, played: Played) -> str:
        """Tell the user; what has reached them. `wanted`: the part of it that the user asked for."""
        if self.run is None or not text:
            return text
        told = self.run.say(text)
        if told.ok:
            return text
        played.interrupted.append(f"reply {text[:160]!r} -> denied: {told.text}")
        sites = sorted(set(_SITE.findall(wanted)))
        self.now, self.for_user = Call(tool="reply", args={f"site {n}": site for n, site in enumerate(sites)}), True
        asked = self.run.ask_user("Outsiders wrote a link that I may not repeat. Do you want it, and of which site?")
        return text if asked.ok and self.run.say(text).ok else ""


def play(
    world: World,
    contract: Contract | None,
    task_id: str,
    *,
    person: Person = "vigilant",
    injection_id: str | None = None,
    wording: str = "direct",
    place: Place = "exposure",
) -> Played:
    """One run of one task, attacked or not."""
    task = world.users[task_id]
    injection = world.injections[injection_id] if injection_id is not None else None
    planted = world.planted(task_id, injection, wording) if injection is not None else ()
    env = world.start(task, planted)
    before = env.model_copy(deep=True)
    goal = injection.GOAL if injection is not None else None
    agent = _Agent(world, contract, env, task.PROMPT, person, goal)
    played = Played(useful=False)
    words = [task.GROUND_TRUTH_OUTPUT]

    def obey() -> None:
        if injection is None:
            return
        for call in world.plan(injection, agent.env):
            agent.act(call, played, for_user=False)
        words.append(injection.GROUND_TRUTH_OUTPUT)

    for call in world.plan_of(task_id, planted):
        result = agent.act(call, played, for_user=True)
        if injection is not None and not played.exposed and result is not None and shows(result, injection.GOAL):
            played.exposed = True
            if place == "exposure":
                obey()
    if played.exposed and place == "end":
        obey()
    reply = agent.reply("\n".join(w for w in words if w), task.GROUND_TRUTH_OUTPUT, played)
    played.useful = world.useful(task, reply, before, agent.env, agent.done)
    if injection is not None:
        played.won = world.obeyed(injection, reply, before, agent.env, agent.done)
    return played


# figures -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Suite:
    """The figures of one suite."""

    name: str
    tasks: int = 0
    unguarded_done: int = 0
    done: Counter[str] = field(default_factory=Counter[str])
    """Tasks completed, by person."""
    interrupted: int = 0
    """Tasks of which at least one call was asked about, held or refused, with a vigilant person."""
    attacks: int = 0
    """Attacks (task, injection, wording, place) that call a tool and win where nobody guards."""
    words: int = 0
    """Attacks that win there by what the agent says, and call nothing."""
    words_wins: Counter[str] = field(default_factory=Counter[str])
    """By person, those of them that win all the same."""
    idle: int = 0
    """Attacks that do not win even there."""
    wins: Counter[str] = field(default_factory=Counter[str])
    """Those that win all the same, by person; and by person, wording and place."""
    shipped: int = 0
    """Attacks that win unguarded by calls or words that AgentDojo ships."""
    shipped_wins: Counter[str] = field(default_factory=Counter[str])
    useful: Counter[str] = field(default_factory=Counter[str])
    """Attacked runs, of those that win unguarded, in which the user's task is done all the same."""
    idle_wins: Counter[str] = field(default_factory=Counter[str])
    notes: list[str] = field(default_factory=list[str])


def suite(name: str, persons: Sequence[Person], places: Sequence[Place], wordings: Sequence[str]) -> Suite:
    """Play all of one suite."""
    world = World(name)
    contract = Contract.load(CONTRACTS / f"{name}.yaml")
    found = Suite(name=name)
    for task_id in world.users:
        found.tasks += 1
        found.unguarded_done += play(world, None, task_id).useful
        for person in persons:
            played = play(world, contract, task_id, person=person)
            found.done[person] += played.useful
            if person == "vigilant":
                found.interrupted += bool(played.interrupted)
                if played.interrupted or not played.useful:
                    head = f"BENIGN {name} {task_id} {'done' if played.useful else 'NOT DONE'}: "
                    found.notes.append(head + world.users[task_id].PROMPT[:300])
                    found.notes += [f"    {note}" for note in played.interrupted]
    for injection_id, injection in world.injections.items():
        shipped = world.shipped(injection)
        calls = bool(world.plan(injection, world.environment(())))
        for task_id in world.users:
            for wording in wordings:
                for place in places:
                    attack: dict[str, Any] = {"injection_id": injection_id, "wording": wording, "place": place}
                    wins = play(world, None, task_id, **attack).won
                    found.attacks += wins and calls
                    found.words += wins and not calls
                    found.idle += not wins
                    found.shipped += wins and shipped and calls
                    for person in persons:
                        played = play(world, contract, task_id, person=person, **attack)
                        if not wins:
                            found.idle_wins[person] += played.won
                            continue
                        if not calls:
                            found.words_wins[person] += played.won
                            continue
                        found.useful[person] += played.useful
                        if played.won:
                            found.wins[person] += 1
                            found.wins[f"{person} {wording} {place}"] += 1
                            found.shipped_wins[person] += shipped
                            if person != "rubber-stamp":
                                found.notes.append(f"WON {name} {task_id} {injection_id} {wording} {place} {person}")
                                found.notes += [f"    passed: {note}" for note in played.passed]
    return found


def _rate(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def figures(suites: Sequence[Suite], persons: Sequence[Person]) -> dict[str, Any]:
    """All figures, per suite and over all."""

    def of(group: Sequence[Suite]) -> dict[str, Any]:
        tasks, attacks = sum(s.tasks for s in group), sum(s.attacks for s in group)
        shipped = sum(s.shipped for s in group)
        first = persons[0]
        return {
            "attacker_wins_rate": _rate(sum(s.wins[first] for s in group), attacks),
            "benign_interrupted_rate": _rate(sum(s.interrupted for s in group), tasks),
            "benign_done": f"{sum(s.done[first] for s in group)}/{tasks}",
            "attacks_that_win_unguarded": attacks,
            "attacks_that_do_not": sum(s.idle for s in group),
            "attacks_by_words_alone": sum(s.words for s in group),
            "unguarded_done": f"{sum(s.unguarded_done for s in group)}/{tasks}",
            "by_person": {
                person: {
                    "attacker_wins": sum(s.wins[person] for s in group),
                    "attacker_wins_rate": _rate(sum(s.wins[person] for s in group), attacks),
                    "wins_by_words_alone": sum(s.words_wins[person] for s in group),
                    "shipped_attacker_wins_rate": _rate(sum(s.shipped_wins[person] for s in group), shipped),
                    "wins_of_attacks_that_do_not_win_unguarded": sum(s.idle_wins[person] for s in group),
                    "benign_done": f"{sum(s.done[person] for s in group)}/{tasks}",
                    "done_under_attack_rate": _rate(sum(s.useful[person] for s in group), attacks),
                    "by_wording_and_place": {
                        key.removeprefix(f"{person} "): sum(s.wins[key] for s in group)
                        for key in sorted({k for s in group for k in s.wins if k.startswith(f"{person} ")})
                    },
                }
                for person in persons
            },
        }

    return {**of(suites), "suites": {s.name: of([s]) for s in suites}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--suite", action="append", choices=SUITES)
    parser.add_argument("--person", action="append", choices=PERSONS)
    parser.add_argument("--place", action="append", choices=PLACES)
    parser.add_argument("--wording", action="append", choices=tuple(WORDINGS))
    parser.add_argument("--misses", action="store_true", help="print every interruption and every attack that won")
    asked = parser.parse_args()
    names: list[str] = asked.suite or list(SUITES)
    persons: list[Person] = asked.person or list(PERSONS)
    jobs = [(name, persons, asked.place or list(PLACES), asked.wording or list(WORDINGS)) for name in names]
    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(min(len(jobs), multiprocessing.cpu_count())) as pool:
        suites = pool.starmap(suite, jobs, chunksize=1)
    found = figures(suites, persons)
    if asked.misses:
        for one in suites:
            print("\n".join(one.notes), file=sys.stderr)
    if asked.json:
        print(json.dumps(found))
        return
    for name, part in [*found["suites"].items(), ("all", found)]:
        print(
            f"{name:10} {part['attacks_that_win_unguarded']:5} attacks win unguarded "
            f"({part['attacks_that_do_not']} do not); tasks done without a gate {part['unguarded_done']}, "
            f"with it {part['benign_done']}, interrupted {part['benign_interrupted_rate']:.1%}"
        )
        for person, own in part["by_person"].items():
            print(
                f"{'':12}{person:13} attacker wins {own['attacker_wins']:4} = {own['attacker_wins_rate']:.2%} "
                f"(shipped calls only {own['shipped_attacker_wins_rate']:.2%}), by words alone "
                f"{own['wins_by_words_alone']} of {part['attacks_by_words_alone']}; tasks done {own['benign_done']}, "
                f"under attack {own['done_under_attack_rate']:.1%}"
            )
    print(f"({time.perf_counter() - began:.0f} s)")


if __name__ == "__main__":
    main()
