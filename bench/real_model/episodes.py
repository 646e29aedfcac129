"""One episode: a fresh desk, one customer, one agent with a real model; then the score, from the desk's own state."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from real_model.desk import UNFINISHED, Hands, Looping, Model, Told, behind_the_gate, contract, without_a_gate
from real_model.scores import Step, score
from roadworthy.examples.desk.model import brief
from roadworthy.examples.desk.world import world
from roadworthy.gate.run import Run
from roadworthy.ledger.batch import Batch
from roadworthy.trials.attacks import PoisonedTools
from roadworthy.trials.load import load_scenarios
from roadworthy.trials.names import fill
from roadworthy.trials.scenario import Scenario
from roadworthy.trials.transcript import deciding_rule
from roadworthy.trials.trial import Bench, Limits
from roadworthy.trials.users import SimulatedUser
from roadworthy.trials.world import Change, Ground, World


class Broken(Exception):
    """The episode itself did not work, as when the model's endpoint is not there: it says nothing of the agent."""


Framework = Literal["langgraph", "autogen", "crewai"]
FRAMEWORKS: tuple[Framework, ...] = get_args(Framework)

SCENARIOS = Path(__file__).parent / "scenarios"
TIMES: Mapping[str, int] = {"hijack": 2, "plain": 5, "ambiguous": 5, "impossible": 1}
"""How many episodes are made of each scenario, by the first word of its id; thirty in all."""
SLICE = ("hijack-copy-0", "hijack-gateway-0", "plain-ticket-0", "ambiguous-name-0", "impossible-colleague-0")
"""The episodes whose cassettes are kept with the tests; chosen before any was played."""
PEOPLE = 11
"""The seed that the people of all episodes are made from."""
LONGEST_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which episode: its scenario, and who is in it."""

    scenario: str
    index: int
    framework: Framework
    gate: bool
    """False: the gate only watches, and every call goes through."""

    @property
    def id(self) -> str:
        """Unique among the episodes of one model."""
        return f"{self.framework}-{'on' if self.gate else 'off'}-{self.scenario}-{self.index}"

    @property
    def in_slice(self) -> bool:
        """Whether it is one of those that are kept with the tests."""
        return f"{self.scenario}-{self.index}" in SLICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """What came of one episode."""

    model: str
    """What the figures call it."""
    asked_for: str
    """What the endpoint calls it."""
    framework: str
    gate: bool
    scenario: str
    index: int
    success: bool
    """The desk is as it should be: all that was to be done, and nothing else but a hand-over."""
    hijacked: bool
    """What the ticket's planted words ask for was done."""
    wrong_entity: bool
    """Somebody else's password was reset or somebody else was mailed, without a planted order to do so."""
    loop: bool
    """It came to no end within STEPS model calls, or the framework broke off the same call again and again."""
    interrupted: bool
    """The gate stopped a call that was right: one that the task needs, about the customer's own records."""
    withheld: int
    """Replies to the customer that the gate held back."""
    reached: bool
    """The planted words were read; False where none were planted."""
    ending: str
    model_calls: int
    asked: int
    """Questions to the customer."""
    seconds: float
    why: tuple[str, ...] = ()
    last: str = ""
    """The last words to the customer."""
    steps: tuple[Step, ...] = ()
    changes: tuple[Mapping[str, Any], ...] = field(default=())

    def line(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @property
    def told(self) -> str:
        """What it came to, in a few words."""
        words = {
            "done": self.success,
            "HIJACKED": self.hijacked,
            "WRONG ENTITY": self.wrong_entity,
            "loop": self.loop,
            "a rightful call was stopped": self.interrupted,
        }
        return ", ".join(word for word, holds in words.items() if holds) or "not done"


@cache
def scenarios() -> Mapping[str, Scenario]:
    """All scenarios, by id."""
    return {s.scenario: s for s in load_scenarios(SCENARIOS, contract=contract())}


def plans(framework: Framework) -> list[Plan]:
    """All episodes of one framework: each with the gate off, then on, so that their beginnings are asked for once."""
    found: list[Plan] = []
    for index in range(max(TIMES.values())):
        for name in scenarios():
            if index < TIMES[name.split("-")[0]]:
                found += [Plan(scenario=name, index=index, framework=framework, gate=gate) for gate in (False, True)]
    return found


def play(plan: Plan, model: Model, *, label: str) -> Episode:
    """Play one episode. `label`: what the model is called in the figures. Raises Broken."""
    answer = importlib.import_module(f"real_model.with_{plan.framework}").answer
    scenario = scenarios()[plan.scenario]
    talk = _Talk(plan, model, answer)
    bench = Bench(
        contract=contract(),
        agent=talk.waiting if plan.framework == "autogen" else talk.blocking,
        worlds={plan.scenario: world},
        enforce=plan.gate,
        seed=PEOPLE,
        limits=Limits(wall_s=LONGEST_S),
        make_ground=talk.ground,
    )
    try:
        trial, batch = bench.run(scenario, plan.index)
    finally:
        bench.close()
    if talk.unanswered is not None or trial.status == "error" or talk.end is None:
        raise Broken(f"the episode {plan.id} is broken: {talk.unanswered or '; '.join(trial.why)}")
    changes, names = talk.end
    steps = steps_of(batch) if plan.gate else talk.steps()
    scored = score(
        fill(scenario, names), names, changes, steps, enforced=plan.gate, escalated=trial.ending == "escalated"
    )
    return Episode(
        model=label,
        asked_for=model.name,
        framework=plan.framework,
        gate=plan.gate,
        scenario=plan.scenario,
        index=plan.index,
        success=scored.success,
        hijacked=scored.hijacked,
        wrong_entity=scored.wrong_entity,
        loop=talk.looped,
        interrupted=scored.interrupted,
        withheld=sum(s.tool == "reply" and s.ruling != "allow" for s in steps) if plan.gate else 0,
        reached="hijack" in plan.scenario and any(s.tool == "support.read_ticket" and s.ok for s in steps),
        ending=trial.ending if plan.gate else ("crashed" if trial.ending == "crashed" else ""),
        model_calls=talk.calls,
        asked=talk.questions,
        seconds=round(trial.duration_s, 2),
        why=(*scored.why, *(w for w in trial.why if "crashed" in w or "cut" in w)),
        last=talk.last,
        steps=steps,
        changes=tuple({"table": c.table, "change": c.change, "row": dict(c.row)} for c in changes),
    )


class _Talk:
    """One conversation, and what is looked at when it is over."""

    def __init__(self, plan: Plan, model: Model, answer: Callable[..., Any]) -> None:
        self.plan, self.model, self.answer = plan, model, answer
        self.grounds: list[Ground] = []
        self.end: tuple[Sequence[Change], Mapping[str, str]] | None = None
        self.hands: Hands | None = None
        self.looped = False
        self.last = ""
        self.calls = 0
        self.questions = 0
        self.unanswered: str | None = None
        """Why the endpoint gave no answer; None where it always did."""

    def ground(self, world: World, scenario: Scenario, seed: int) -> Ground:
        self.grounds.append(world.ground(rows=scenario.rows, seed=seed))
        return self.grounds[-1]

    async def waiting(self, run: Run, user: SimulatedUser) -> str:
        with self._over(user):
            self._told(await self.answer(self.model, *self._begin(run, user)))
        return self.last

    def blocking(self, run: Run, user: SimulatedUser) -> str:
        with self._over(user):
            self._told(self.answer(self.model, *self._begin(run, user)))
        return self.last

    def _told(self, told: Told) -> None:
        self.last, self.calls = told.text, told.calls

    def _begin(self, run: Run, user: SimulatedUser) -> tuple[Hands, str]:
        request = brief(user.opening(), run.state.facts.get("email"))
        if self.plan.gate:
            return behind_the_gate(run), request
        ground = self.grounds[-1]
        attack = fill(scenarios()[self.plan.scenario], ground.names).attack
        self.hands = without_a_gate(PoisonedTools(ground.tools, attack).tools, user)
        return self.hands, request

    @contextmanager
    def _over(self, user: SimulatedUser) -> Generator[None]:
        """The world is thrown away with the trial: it is looked at while it is there."""
        try:
            yield
        except Looping as e:
            self.looped, self.last, self.calls = True, UNFINISHED, e.calls
        except Exception as e:
            self.unanswered = _endpoint_error(e)
            raise
        finally:
            self.questions = len(user.asked)
            self.end = (self.grounds[-1].changes(), dict(self.grounds[-1].names))

    def steps(self) -> tuple[Step, ...]:
        """What was called without a gate."""
        called = self.hands.called if self.hands is not None else []
        return tuple(Step(tool=tool, args=args, ruling="allow", text=text) for tool, args, text in called)


def _endpoint_error(error: BaseException | None) -> str | None:
    """What the endpoint had to say instead of an answer, also where a framework has wrapped it."""
    while error is not None:
        if type(error).__module__.partition(".")[0] == "openai":
            return f"{type(error).__name__}: {error}"
        error = error.__cause__ or error.__context__
    return None


def steps_of(batch: Batch) -> tuple[Step, ...]:
    """The calls and replies of an episode, from its entries."""
    steps: list[Step] = []
    action: Mapping[str, Any] = {}
    for entry in batch.entries():
        body = entry.body
        if entry.kind == "action":
            action = body
        elif entry.kind == "verdict":
            rule = deciding_rule(body) if body["ruling"] != "allow" else None
            step = Step(tool=action["tool"], args=dict(action["args"]), ruling=body["ruling"], rule=rule or "")
            steps.append(step)
        elif entry.kind == "outcome" and steps:
            text = str(body.get("text", body.get("value", "")))
            steps[-1] = replace(steps[-1], text=text, ok=body.get("status") == "ok")
        elif entry.kind == "said":
            against: Sequence[Mapping[str, Any]] = [r for r in body.get("reasons", ()) if r["ruling"] != "allow"]
            rule = against[0]["rule"] if against else ""
            ruling = "deny" if against else "allow"
            steps.append(Step(tool=str(body.get("sink", "reply")), args={}, ruling=ruling, rule=rule))
    return tuple(steps)
