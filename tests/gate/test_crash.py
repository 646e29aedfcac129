"""Whatever breaks off at whatever moment, a job that is driven again comes to the effects of one that was never broken
off, or to a doubt that a person is told of; and nothing is ever done twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from roadworthy import Contract, Gate, Ledger, Suspended
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Draft, Entry, Guard
from roadworthy.gate.run import Run

LAW = """
roadworthy: 1
agent: refund-bot
version: "1"
goal: Give people their money back.
owner: {team: Care, accountable: lead}
types:
  Money: {type: decimal, unit: EUR, min: "0.01", max: "900.00"}
tools:
  find: {effect: read, args: {order: string}, returns: {order: string, paid: boolean}}
  refund:
    effect: write
    args: {order: string, amount: Money}
    returns: string
    idempotent: {key: [order], passed_as: request_id, scope: forever}
    lookup: {tool: find, done_when: result.paid}
  note: {effect: write, args: {text: string}, returns: string}
capabilities:
  refunds:
    means: Somebody wants money back.
    tools: [find, refund, note]
    autonomy: {start: autonomous, ceiling: autonomous, approver: lead}
    success: [{id: one, check: count.refund >= 0}]
rules:
  - id: large
    tools: [refund]
    when: args.amount > 100.00
    then: ask
    ask: {role: lead, meanwhile: suspend}
    because: Large refunds are signed.
  - {id: most, tools: [refund], when: count.refund >= 3, then: deny, because: Three at most.}
budgets: {run: {writes: 5}}
"""
CONTRACT = Contract.loads(LAW)
ORDERS = st.sampled_from(["1", "2", "3"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("find"), ORDERS),
        st.tuples(st.just("refund"), ORDERS),
        st.tuples(st.just("large"), ORDERS),
        st.tuples(st.just("note"), st.sampled_from(["a", "b"])),
    ),
    min_size=1,
    max_size=6,
)
CRASHES = st.lists(st.integers(0, 14), max_size=4)
"""In each drive, after how many writes to the ledger or effects it dies."""


class Died(BaseException):
    """The process is gone; nothing in it may catch this and go on."""


class Life:
    """How long a process lives. Once it is dead, nothing that it does has an effect."""

    def __init__(self, left: int | None) -> None:
        self.left = left

    def step(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Died


class Mortal(Ledger):
    """A ledger whose process may die before and after every write."""

    life: Life

    def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]:
        self.life.step()
        written = super().append(drafts, guards)
        self.life.step()
        return written


class World:
    """What is really done, whoever dies over it."""

    def __init__(self) -> None:
        self.done: Counter[tuple[str, str]] = Counter()
        self.requests: set[str] = set()

    def tools(self, life: Life) -> dict[str, Callable[..., Any]]:
        def find(order: str) -> dict[str, Any]:
            return {"order": order, "paid": bool(self.done["refund", order])}

        def refund(order: str, amount: str, request_id: str) -> str:
            life.step()
            if request_id not in self.requests:
                self.requests.add(request_id)
                self.done["refund", order] += 1
            life.step()
            return "paid"

        def note(text: str) -> str:
            life.step()
            self.done["note", text] += 1
            life.step()
            return "noted"

        return {"find": find, "refund": refund, "note": note}


def job(run: Run, steps: Sequence[tuple[str, str]]) -> None:
    """The agent: does its steps in order; what is known not to have been done it does again."""
    run.heard("begin")
    for what, of in steps:
        if what == "find":
            run.call("find", {"order": of})
        elif what == "note":
            run.call("note", {"text": of})
        else:
            args = {"order": of, "amount": "20.00" if what == "refund" else "200.00"}
            while run.call("refund", args).status == "failed":
                pass
    run.say("Done.")
    run.close()


def driven(
    file: Path, world: World, steps: Sequence[tuple[str, str]], lives: Sequence[int]
) -> tuple[str, list[Entry], int]:
    """Drives the job until it ends; its status, its entries, and how often it died."""
    clock, died = VirtualClock(), 0
    plan: list[int | None] = [*lives, *([None] * 20)]
    for left in plan:
        life = Life(left)
        with Mortal.open(file) as ledger:
            ledger.life = life
            gate = Gate(CONTRACT, ledger, tools=world.tools(life), clock=clock)
            try:
                try:
                    run = gate.resume("job")
                except UsageError:
                    run = gate.run(id="job", capability="refunds", suspendable=True)
                job(run, steps)
            except Died:
                died += 1
                continue
            except Suspended:
                life.left = None
                for asked in gate.questions():
                    gate.answer(asked.id, by="lead", ruling="approve")
                continue
            life.left = None
            return run.status, list(ledger.entries(run="job")), died
    raise AssertionError("it never came to an end")


@settings(max_examples=50, deadline=None)
@given(steps=STEPS, lives=CRASHES)
@example(steps=[("find", "1"), ("note", "a")], lives=[9, 1])
@example(steps=[("large", "1"), ("refund", "2"), ("note", "a")], lives=[12, 6, 3])
def test_a_broken_off_job_comes_to_the_same_effects_or_to_a_doubt(
    steps: list[tuple[str, str]], lives: list[int]
) -> None:
    with TemporaryDirectory() as folder:
        whole, broken = World(), World()
        status, _, _ = driven(Path(folder, "whole.db"), whole, steps, ())
        came, entries, died = driven(Path(folder, "broken.db"), broken, steps, lives)
        assert all(broken.done[effect] <= whole.done[effect] for effect in broken.done), "nothing is done twice"
        doubtful = [e for e in entries if e.kind == "handover" and "nobody knows" in e.body["reason"]]
        if doubtful:
            assert (came, len(doubtful), died > 0) == ("escalated", 1, True)
            assert any(e.kind == "outcome" and e.body["status"] == "in_doubt" for e in entries)
        else:
            assert (came, broken.done) == (status, whole.done)
        with Ledger.open(Path(folder, "broken.db")) as ledger:
            gate = Gate(CONTRACT, ledger)
            again, once_more = gate.run(id="job"), gate.resume("job")
            assert again.status == once_more.status == came
            assert again.state.counts == once_more.state.counts
            for name in ("refund", "note"):
                done = sum(n for (what, _), n in broken.done.items() if what == name)
                assert again.state.counts.get(name, 0) >= done, "what was done is counted"
