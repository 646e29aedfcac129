"""Runs that stop for a person and are driven again from their start, in another process: nothing is done twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger, Suspended
from roadworthy.adapters.calls import abring, bring
from roadworthy.core.canonical import dumps, loads
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import UsageError
from roadworthy.gate.carry.drift import ENOUGH
from roadworthy.gate.run import Run

from .office import Office, law

SUSPEND = "role: lead, meanwhile: suspend"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Callable[..., Office]]:
    """Opens the office: `office(SUSPEND)`."""
    opened: list[Office] = []

    def open_it(ask: str = SUSPEND, *rules: str, **kwargs: Any) -> Office:
        made = Office(tmp_path, law(ask, *rules, **kwargs))
        opened.append(made)
        return made

    yield open_it
    for one in opened:
        one.open.close()


Opened = Callable[..., Office]


def began(at: Office, job: Callable[[Run], object], **kwargs: Any) -> None:
    """The first drive, up to where it stops."""
    with pytest.raises(Suspended, match="Held") as stopped:
        job(at.run(suspendable=True, **kwargs))
    assert stopped.value.run == "r"


# what comes back ------------------------------------------------------------------------------------------------------


def test_a_job_goes_on_elsewhere_as_if_it_had_never_stopped(office: Opened) -> None:
    at = office()
    seen: list[list[Any]] = []

    def job(run: Run) -> None:
        told: list[Any] = []
        seen.append(told)
        run.heard("money back for 7")
        told.append(run.call("find", {"no": "7"}, at.till.find))
        told.append(run.say("I am looking at it."))
        told.append(at.note(run, "began"))
        told.append(run.call("refund", {"no": "7", "amount": "nonsense"}, at.till.refund))
        told += [run.recall("model", lambda: {"tool": "refund", "n": len(seen)}), run.now(), run.uuid(), run.uuid()]
        at.clock.sleep(60)
        told.append(at.refund(run))
        told.append(at.note(run, "done"))

    began(at, job)
    assert at.till.notes == ["began"]
    with pytest.raises(Suspended):
        job(at.elsewhere().resume("r"))
    at.answer("ada")
    other = at.elsewhere()
    run = other.resume("r")
    assert at.till.paid == [("7", "250")], "carried before the agent is driven again"
    job(run)
    assert (at.till.paid, at.till.notes) == ([("7", "250")], ["began", "done"])
    first, second, third = seen
    assert first == second == third[: len(first)]
    assert third[-2].value == "paid 250"
    entries = list(other.ledger.entries(run="r"))
    assert [e.body["text"] for e in entries if e.kind == "heard"] == ["money back for 7"]
    assert [e.body["text"] for e in entries if e.kind == "said"] == ["I am looking at it."]
    assert sum(e.kind == "action" for e in entries) == 5
    assert (run.status, run.replaying) == ("open", False)


def test_a_no_comes_back_as_the_outcome_of_the_call(office: Opened) -> None:
    at = office()
    began(at, at.refund)
    at.answer("ada", "deny", because="Paid before.")
    outcome = at.refund(at.elsewhere().resume("r"))
    assert (outcome.status, outcome.text) == ("denied", "ada said no to refund (Paid before.).")
    assert at.till.paid == []


def test_nothing_but_a_promise_to_repeat_itself_lets_a_run_stop(office: Opened) -> None:
    at = office()
    run = at.run()
    assert at.refund(run).status == "held"
    assert at.note(run).ok
    with pytest.raises(UsageError, match="suspendable"):
        at.elsewhere().resume("r")
    with pytest.raises(UsageError, match="no run 'x'"):
        at.gate.resume("x")


def test_the_same_call_made_twice_comes_back_twice(office: Opened) -> None:
    at = office()
    count = iter(range(9))

    def numbered(text: str) -> str:
        return f"{text} {next(count)}"

    def job(run: Run) -> list[Any]:
        args = {"text": "again"}
        found = [run.call("note", args, numbered).value for _ in range(3)]
        at.refund(run)
        return found

    began(at, job)
    at.answer("ada")
    assert job(at.elsewhere().resume("r")) == ["again 0", "again 1", "again 2"]


def test_parallel_calls_come_back_in_whatever_order_they_are_made(office: Opened) -> None:
    at = office()

    def job(run: Run, order: tuple[str, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def one(text: str) -> None:
            found[text] = at.note(run, text).value

        for text in order:
            thread = threading.Thread(target=one, args=(text,))
            thread.start()
            thread.join()
        at.refund(run)
        return found

    began(at, lambda run: job(run, ("a", "b", "c")))
    at.answer("ada")
    run = at.elsewhere().resume("r")
    assert job(run, ("c", "a", "b")) == {"a": "noted", "b": "noted", "c": "noted"}
    assert at.till.notes == ["a", "b", "c"]
    assert run.status == "open"


def test_a_job_that_takes_another_way_does_nothing_more(office: Opened) -> None:
    at = office()

    def job(run: Run) -> None:
        at.note(run, "one")
        at.refund(run)

    began(at, job)
    at.answer("ada")
    run = at.elsewhere().resume("r")
    strange = at.note(run, "another")
    assert (strange.status, strange.done) == ("denied", "blocked")
    assert "took another way" in strange.text
    assert run.status == "escalated"
    assert at.till.notes == ["one"]
    assert [e.body["to"] for e in at.gate.ledger.entries(run="r", kind="handover")] == ["lead"]
    assert at.note(run, "one").ok, "what it did before is still told"
    assert at.till.notes == ["one"]


def test_what_the_user_has_answered_is_not_asked_again(office: Opened) -> None:
    at = office(
        SUSPEND, "id: wish, tools: [note], when: args.text.size() > 5, then: ask, ask: {role: user}, because: Long."
    )
    asked: list[str] = []

    def channel(question: str) -> str:
        asked.append(question)
        return "yes"

    def job(run: Run) -> list[Any]:
        run.ask_user_channel = channel
        return [run.ask_user("Which one?").value, at.note(run, "a long note").status, at.refund(run).status]

    began(at, job)
    assert len(asked) == 2
    with pytest.raises(Suspended):
        job(at.elsewhere().resume("r"))
    at.answer("ada")
    assert job(at.elsewhere().resume("r")) == ["yes", "ok", "ok"]
    assert (len(asked), at.till.notes, at.till.paid) == (2, ["a long note"], [("7", "250")])


def test_a_question_that_nobody_could_put_to_the_user_leaves_no_second_action(office: Opened) -> None:
    at = office(
        SUSPEND, "id: wish, tools: [note], when: args.text.size() > 5, then: ask, ask: {role: user}, because: Long."
    )

    def job(run: Run) -> list[str]:
        return [at.note(run, "a long note").status, at.refund(run).status, at.note(run, "end").status]

    began(at, job)
    for _ in range(2):
        with pytest.raises(Suspended):
            job(at.elsewhere().resume("r"))
    at.answer("ada")
    assert job(at.elsewhere().resume("r")) == ["clarify", "ok", "ok"]
    assert sum(e.kind == "action" for e in at.gate.ledger.entries(run="r")) == 3


def test_a_run_that_was_settled_elsewhere_is_open_wherever_it_is_opened(office: Opened) -> None:
    at = office()
    began(at, at.refund)
    at.answer("ada")
    assert at.elsewhere().settle("r") == 1
    run = at.run(gate=at.elsewhere())
    assert run.status == "open"
    assert at.note(run).ok


# standing still -------------------------------------------------------------------------------------------------------


def test_a_run_stops_when_its_other_threads_have_ended(office: Opened) -> None:
    at = office()
    run = at.run(suspendable=True)
    inside, go_on, stopped = threading.Event(), threading.Event(), threading.Event()

    def slow(text: str) -> str:
        inside.set()
        assert go_on.wait(30)
        return at.till.note(text)

    def stops() -> None:
        with pytest.raises(Suspended):
            at.refund(run)
        stopped.set()

    other = threading.Thread(target=run.call, args=("note", {"text": "slow"}, slow))
    other.start()
    assert inside.wait(30)
    stopping = threading.Thread(target=stops)
    stopping.start()
    while run.status != "held":
        assert stopping.is_alive()
    refused = at.note(run, "late")
    assert (refused.status, refused.done) == ("denied", "blocked")
    assert not stopped.is_set()
    go_on.set()
    stopping.join(30)
    other.join(30)
    assert stopped.is_set()
    assert at.till.notes == ["slow"]


def test_a_call_inside_of_a_call_stops_both(office: Opened) -> None:
    at = office()
    run = at.run(suspendable=True)

    def agent(text: str) -> str:
        at.refund(run)
        return f"refunded, {text}"

    done: list[BaseException] = []

    def outer() -> None:
        try:
            run.call("note", {"text": "please"}, agent)
        except Suspended as stopped:
            done.append(stopped)

    thread = threading.Thread(target=outer, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "each of the two calls waits for the other one"
    assert len(done) == 1
    assert run.status == "held"


async def test_a_call_inside_of_a_call_stops_both_in_async_code(office: Opened) -> None:
    at = office()
    run = at.run(suspendable=True)

    async def agent(text: str) -> str:
        await run.acall("refund", {"no": "7", "amount": "250.00"}, at.till.refund)
        return f"refunded, {text}"

    with pytest.raises(Suspended):
        await asyncio.wait_for(run.acall("note", {"text": "please"}, agent), 30)
    assert run.status == "held"


def test_a_run_stops_when_its_other_tasks_have_ended(office: Opened) -> None:
    at = office()

    async def job() -> None:
        run = at.run(suspendable=True)
        go_on = asyncio.Event()

        async def slow(text: str) -> str:
            await go_on.wait()
            return at.till.note(text)

        async def stops() -> None:
            with pytest.raises(Suspended):
                await run.acall("refund", {"no": "7", "amount": "250"}, at.till.refund)
            assert at.till.notes == ["slow"]

        other = asyncio.create_task(run.acall("note", {"text": "slow"}, slow))
        stopping = asyncio.create_task(stops())
        while run.status != "held":  # noqa: ASYNC110  # the run tells nobody that it is about to stop
            await asyncio.sleep(0)
        assert (await run.acall("note", {"text": "late"}, at.till.note)).status == "denied"
        assert not stopping.done()
        go_on.set()
        await stopping
        assert (await other).ok

    asyncio.run(job())
    at.answer("ada")

    async def again() -> None:
        run = at.elsewhere().resume("r")
        assert (await run.acall("refund", {"no": "7", "amount": "250"}, at.till.refund)).ok
        assert (await run.acall("note", {"text": "slow"}, at.till.note)).ok

    asyncio.run(again())
    assert (at.till.notes, at.till.paid) == (["slow"], [("7", "250")])


def test_an_adapter_lets_a_run_stop(office: Opened) -> None:
    at = office()
    run = at.run(suspendable=True)
    args = {"no": "7", "amount": "250"}
    with pytest.raises(Suspended):
        bring(at.gate, run, "refund", args, at.till.refund)

    async def later() -> None:
        with pytest.raises(Suspended):
            await abring(at.gate, at.run("s", suspendable=True), "refund", args, at.till.refund)

    asyncio.run(later())
    assert bring(at.gate, at.run("t"), "refund", args, at.till.refund).status == "held"


# the same to whoever reads the run again ------------------------------------------------------------------------------


def test_what_the_model_sees_is_what_a_later_drive_gives_back(office: Opened) -> None:
    at = office()
    odd = {"f": 0.1, "big": 2**80, "deep": [[[{"x": None}]]], "\ud800": "\ud800", "many": list(range(30_000))}

    def note(text: str) -> Any:
        return odd

    def job(run: Run) -> Any:
        outcome = run.call("note", {"text": "x"}, note)
        at.refund(run)
        return outcome

    run = at.run(suspendable=True)
    first = run.call("note", {"text": "x"}, note)
    plain = at.run("plain").call("note", {"text": "x"}, note)
    assert first.value == loads(dumps(plain.value))
    with pytest.raises(Suspended):
        at.refund(run)
    at.answer("ada")
    again = job(at.elsewhere().resume("r"))
    assert again == first


RESTING = """
roadworthy: 1
agent: resting
version: "1"
goal: g
owner: {team: t, accountable: x}
tools:
  push: {effect: write, args: {n: integer}, returns: string, breaker: {failures: 1, within: 1h, open_for: 1h}}
capabilities: {c: {means: m, tools: [push], autonomy: {start: autonomous, approver: x}}}
budgets: {run: {tool_calls: 3}}
"""


def test_a_call_that_was_refused_is_no_call_to_whoever_reads_the_run_again(tmp_path: Path) -> None:
    contract, clock = Contract.loads(RESTING), VirtualClock()

    def broken(n: int) -> str:
        raise RuntimeError("boom")

    with Ledger.open(tmp_path / "runs.db") as ledger, Ledger.open(tmp_path / "runs.db") as other:
        run = Gate(contract, ledger, clock=clock).run(id="r", capability="c")
        assert run.call("push", {"n": 1}, broken).done == "executed"
        for n in range(5):
            refused = run.call("push", {"n": n}, broken)
            assert (refused.status, refused.done) == ("failed", "blocked")
        again = Gate(contract, other, clock=clock).run(id="r")
        for one in (run.state, again.state):
            assert (one.tool_calls, one.writes, one.counts) == (1, 1, {"push": 1})
        assert run.state.last_calls.keys() == again.state.last_calls.keys()


def test_what_answers_look_like_is_known_from_shadow_too(tmp_path: Path) -> None:
    shape = """
roadworthy: 1
agent: looker
version: "1"
goal: g
owner: {team: t, accountable: x}
tools:
  look: {effect: read, args: {n: integer}}
capabilities: {c: {means: m, tools: [look], autonomy: {start: shadow, approver: x}}}
"""
    contract = Contract.loads(shape)

    def look(n: int) -> dict[str, Any]:
        return {"n": n, "name": "x"}

    with Ledger.open(tmp_path / "runs.db") as ledger:
        gate = Gate(contract, ledger)
        run = gate.run(id="r", capability="c")
        for n in range(2 * ENOUGH):
            assert run.call("look", {"n": n}, look).ok
        assert {e.world for e in ledger.entries(kind="observation")} == {"shadow"}
        trial = Gate(contract, ledger, world="test", tools={"look": look})
        assert trial.learned is None
    with Ledger.open(tmp_path / "runs.db") as other:
        known = Gate(contract, other).learned
        assert known is not None
        assert known.calls("look", "looker") >= ENOUGH
