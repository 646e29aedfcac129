"""How calls of tools end, blocking and async, and what the model is told."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.core.clock import SystemClock, VirtualClock
from roadworthy.core.errors import HarnessError, LedgerError, UsageError
from roadworthy.core.types import Draft, Guard
from roadworthy.gate.carry import MAX_ERROR, MAX_HANGING, Carriage, Carried, Carrier, NotDone, pause_s
from roadworthy.gate.carry.breaker import BreakerSpec

from .conftest import Calls, Desk

Open = Callable[..., Calls]

SLOW = """
roadworthy: 1
agent: slow
version: "1"
goal: g
owner: {team: t, accountable: x}
tools:
  look: {effect: read, args: {}, returns: string, timeout: 50ms}
  push: {effect: write, args: {}, returns: string, timeout: 50ms}
capabilities: {c: {means: m, tools: [look, push], autonomy: {start: autonomous, approver: x}}}
"""


@pytest.mark.parametrize(("tool", "status"), [("look", "failed"), ("push", "in_doubt")])
def test_a_tool_that_does_not_answer_in_time(ledger: Ledger, tool: str, status: str) -> None:
    release = threading.Event()
    gate = Gate(Contract.loads(SLOW), ledger)

    def hang() -> str:
        release.wait(30)
        return "late"

    async def ahang() -> str:
        await asyncio.Event().wait()
        return "never"

    outcome = gate.run(id="b", capability="c").call(tool, {}, hang)
    release.set()
    assert (outcome.status, outcome.done) == (status, "executed")
    outcome = asyncio.run(gate.run(id="a", capability="c").acall(tool, {}, ahang))
    assert (outcome.status, outcome.done) == (status, "executed")
    assert "no answer within 0.05 s" in outcome.text


def test_a_late_answer_on_a_virtual_clock_is_a_timeout(tested: Open, desk: Desk, clock: VirtualClock) -> None:
    calls = tested().ready()

    def slow(**_: Any) -> dict[str, str]:
        clock.advance(2.5)
        return {"refund_no": "R1"}

    desk.answers["refund"] = slow
    assert calls.refund().status == "in_doubt"


class Refused(Exception):
    """As HTTP clients have it: the service turned the call down."""

    status_code = 422


class ReadTimeout(Exception):
    """As HTTP clients have it: no TimeoutError by inheritance."""


@pytest.mark.parametrize(
    ("error", "read", "write"),
    [
        (NotDone("no such thing"), "failed", "failed"),
        (ConnectionRefusedError("nobody there"), "failed", "failed"),
        (Refused(), "failed", "failed"),
        (ValueError("could be anything"), "failed", "in_doubt"),
        (ConnectionResetError("gone"), "failed", "in_doubt"),
        (ReadTimeout("slow"), "failed", "in_doubt"),
        (TimeoutError(), "failed", "in_doubt"),
    ],
)
def test_errors_of_tools_become_outcomes(tested: Open, desk: Desk, error: Exception, read: str, write: str) -> None:
    calls = tested().ready()
    desk.answers["get_invoice"] = error
    assert calls("get_invoice", account_no="1234", invoice_no="7").status == read
    desk.answers["refund"] = error
    assert calls.refund().status == write


def test_failure_that_is_told_in_text(tested: Open, desk: Desk) -> None:
    desk.answers["mail"] = "Error: mailbox full"
    outcome = tested().ready()("send_mail", to="ada@example.com", body="hello")
    assert (outcome.status, outcome.text) == ("failed", "Error: mailbox full")


def test_a_read_that_is_not_what_was_promised_fails_and_a_write_is_in_doubt(tested: Open, desk: Desk) -> None:
    calls = tested().ready()
    desk.answers["get_invoice"] = {"invoice_no": "7", "status": "paid"}
    outcome = calls("get_invoice", account_no="1234", invoice_no="7")
    assert outcome.status == "failed"
    assert "result.total is missing" in outcome.text
    desk.answers["refund"] = "done!"
    outcome = calls.refund()
    assert (outcome.status, outcome.done) == ("in_doubt", "executed")
    assert "Do not call it again" in outcome.text


def test_below_autonomous_an_incomplete_read_is_marked(tested: Open, desk: Desk) -> None:
    calls = tested(level="approval").ready()
    desk.answers["get_invoice"] = {"invoice_no": "7", "status": "paid"}
    outcome = calls("get_invoice", account_no="1234", invoice_no="7")
    assert outcome.ok
    assert "(Incomplete: result.total is missing.)" in outcome.text


@pytest.mark.parametrize("level", ["shadow", "approval", "autonomous"])
def test_a_look_up_that_cannot_be_read_is_never_shown(tested: Open, desk: Desk, level: str) -> None:
    calls = tested(level=level)
    desk.answers["find_customer"] = {"contact_id": "C-002", "iban": "DE99"}
    outcome = calls("find_customer", email="bob@example.com")
    assert (outcome.status, outcome.value) == ("failed", None)
    assert "DE99" not in outcome.text


@pytest.mark.parametrize(
    ("answer", "text"), [({"n": 2**70}, str(2**70)), ({"t": "\ud800"}, "ud800"), ({"t": {1: {2, 3}}}, "[2,3]")]
)
def test_odd_results_are_told_and_recorded(real: Open, desk: Desk, ledger: Ledger, answer: object, text: str) -> None:
    desk.answers["status_page"] = answer
    contract = Contract.loads(SLOW.replace("returns: string", "returns: {type: any}"))
    run = Gate(contract, ledger).run(id="odd", capability="c")
    outcome = run.call("look", {}, desk["status_page"])
    assert outcome.ok
    assert text in outcome.text
    assert [e.kind for e in ledger.entries(run="odd")][-1] == "outcome"


def test_what_cannot_even_be_read_ends_the_call(ledger: Ledger) -> None:
    nest: list[object] = []
    for _ in range(5000):
        nest = [nest]
    for tool, status in (("look", "failed"), ("push", "in_doubt")):
        run = Gate(Contract.loads(SLOW), ledger).run(id=tool, capability="c")
        assert run.call(tool, {}, lambda: nest).status == status
        assert "outcome" in [e.kind for e in ledger.entries(run=tool)]


def test_blocking_and_async_drivers_give_the_same(
    contract: Contract, ledger: Ledger, desk: Desk, clock: VirtualClock
) -> None:
    script: list[tuple[str, dict[str, Any]]] = [
        ("refund", {"account_no": "1234", "invoice_no": "7", "amount": "42"}),
        ("find_customer", {"email": "ada@example.com"}),
        ("find_account", {"contact_id": "C-001"}),
        ("get_invoice", {"account_no": "1234", "invoice_no": "7"}),
        ("refund", {"account_no": "1234", "invoice_no": "7", "amount": "42"}),
        ("refund", {"account_no": "1234", "invoice_no": "7", "amount": "42"}),
        ("send_mail", {"to": "ada@example.com", "body": "a voucher"}),
        ("wipe", {}),
    ]
    gate = Gate(contract, ledger, world="test", clock=clock, tools={n: desk[n] for n in contract.tools})

    async def drive() -> list[Any]:
        run = gate.run(id="async", principal="bot", capability="money_back")
        return [await run.acall(tool, args) for tool, args in script]

    run = gate.run(id="block", principal="bot", capability="money_back")
    assert [run.call(tool, args) for tool, args in script] == asyncio.run(drive())

    def story(run_id: str) -> list[tuple[str, Any]]:
        text = [(e.kind, str(dict(e.body)).replace(run_id, "RUN")) for e in ledger.entries(run=run_id)]
        assert len(text) > 20
        return text

    assert story("block") == story("async")


def test_an_async_tool_in_blocking_code_is_an_error_of_the_caller(real: Open) -> None:
    async def find(email: str) -> dict[str, str]:
        return {"contact_id": "C-001", "email": email}

    with pytest.raises(UsageError, match="acall"):
        real().run.call("find_customer", {"email": "ada@example.com"}, find)


def test_two_refunds_at_once_are_one_refund(tested: Open, desk: Desk) -> None:
    calls = tested().ready()
    meet = threading.Barrier(2)
    desk.answers["refund"] = lambda **_: {"refund_no": "R1"}  # type: ignore[misc]
    outcomes: list[Any] = []

    def go() -> None:
        meet.wait()
        outcomes.append(calls.refund().status)

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["denied", "ok"]
    assert desk.changes() == ["refund"]


def test_two_async_refunds_at_once_are_one_refund(tested: Open, desk: Desk) -> None:
    calls = tested().ready()
    args = {"account_no": "1234", "invoice_no": "7", "amount": "42"}

    async def both() -> list[str]:
        outcomes = await asyncio.gather(calls.run.acall("refund", args), calls.run.acall("refund", args))
        return sorted(o.status for o in outcomes)

    assert asyncio.run(both()) == ["denied", "ok"]
    assert desk.changes() == ["refund"]


def test_a_trial_never_touches_the_real_thing(tested: Open, desk: Desk) -> None:
    calls = tested()
    touched: list[str] = []

    def real_thing(**_: Any) -> dict[str, str]:
        touched.append("!")
        return {"contact_id": "C-666", "email": "x@y.z"}

    assert calls.run.call("find_customer", {"email": "ada@example.com"}, real_thing).value["contact_id"] == "C-001"
    assert touched == []


def test_a_missing_stand_in_is_the_worlds_fault(contract: Contract, ledger: Ledger) -> None:
    run = Gate(contract, ledger, world="test", tools={}).run(principal="bot", capability="chat")
    with pytest.raises(HarnessError, match="no stand-in for status_page"):
        run.call("status_page", {})


def test_a_cancelled_write_is_recorded_as_in_doubt(tested: Open, desk: Desk, ledger: Ledger) -> None:
    calls = tested().ready()
    desk.answers["refund"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        calls.refund()
    (outcome,) = [e for e in ledger.entries(run="r1", kind="outcome") if e.body["status"] == "in_doubt"]
    assert "interrupted" in outcome.body["text"]


class Broken:
    """A ledger that stops taking entries after a while."""

    def __init__(self, ledger: Ledger, after: int) -> None:
        self.ledger = ledger
        self.left = after
        self.id = ledger.id

    def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Any:
        self.left -= 1
        if self.left < 0:
            raise LedgerError("the disk is full")
        return self.ledger.append(drafts, guards)

    async def aappend(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Any:
        return self.append(drafts, guards)

    def entries(self, **kwargs: Any) -> Any:
        return self.ledger.entries(**kwargs)

    def controls(self, after: int = 0) -> Any:
        return self.ledger.controls(after)


def test_nothing_is_done_that_cannot_be_written_down(contract: Contract, ledger: Ledger, desk: Desk) -> None:
    run = Gate(contract, Broken(ledger, after=1)).run(principal="bot", capability="chat")
    outcome = run.call("status_page", {}, desk["status_page"])
    assert (outcome.status, outcome.done) == ("denied", "blocked")
    assert "the disk is full" in outcome.text
    assert desk.did == []
    assert asyncio.run(run.acall("status_page", {}, desk["status_page"])).status == "denied"
    assert run.say("hello").status == "denied"
    assert run.escalate("help").status == "denied"


def test_an_outcome_that_cannot_be_written_is_in_doubt(contract: Contract, ledger: Ledger, desk: Desk) -> None:
    run = Gate(contract, Broken(ledger, after=2)).run(principal="bot", capability="chat")
    outcome = run.call("status_page", {}, desk["status_page"])
    assert (outcome.status, outcome.done) == ("in_doubt", "executed")
    assert desk.names() == ["status_page"]


# -- the carrier: retries, deadlines, keys, slots and breakers --------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """As much of a tool's policy as a carrier asks for."""

    name: str = "tool"
    carriage: Carriage | None = None


class Script:
    """A tool that does one thing after the other: raises what is an exception, calls what can be called."""

    def __init__(self, *acts: Any) -> None:
        self.acts = list(acts)
        self.calls: list[dict[str, Any]] = []

    def __call__(self, **args: Any) -> Any:
        self.calls.append(args)
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        if isinstance(act, BaseException):
            raise act
        return act() if callable(act) else act


class Both:
    """Carries the same call blocking and async, in worlds with virtual time, and holds that both come to the same."""

    def __init__(self, **carriage: Any) -> None:
        self.tool = Tool(carriage=Carriage(**carriage))
        self.clocks = (VirtualClock(), VirtualClock())
        self.carriers = tuple(Carrier(clock, direct=True) for clock in self.clocks)

    def advance(self, seconds: float) -> None:
        for clock in self.clocks:
            clock.advance(seconds)

    @property
    def elapsed(self) -> float:
        assert self.clocks[0].monotonic() == self.clocks[1].monotonic()
        return self.clocks[0].monotonic()

    def __call__(self, *acts: Any, calls: int, left_s: float | None = None, key: str = "k") -> Carried:
        scripts = Script(*acts), Script(*acts)
        one = self.carriers[0].call(self.tool, scripts[0], {"a": 1}, left_s=left_s, key=key)
        two = asyncio.run(self.carriers[1].acall(self.tool, scripts[1], {"a": 1}, left_s=left_s, key=key))
        assert one._replace(value=None) == two._replace(value=None)
        assert len(scripts[0].calls) == len(scripts[1].calls) == calls
        return one


class Unavailable(Exception):
    """As HTTP clients have it, with the header in which a service asks for a pause."""

    def __init__(self, status: int, retry_after: str | None = None) -> None:
        super().__init__(f"{status}")
        self.response = SimpleNamespace(status_code=status, headers={"retry-after": retry_after})


def test_what_may_pass_is_tried_again_with_pauses_and_the_rest_is_not() -> None:
    both = Both(attempts=3)
    found = both(Unavailable(503), ConnectionResetError(), "here", calls=3)
    assert (found.ending, found.value, found.attempts) == ("returned", "here", 3)
    assert 0.15 <= both.elapsed <= 0.3  # two pauses: 0.1 s and 0.2 s, each spread over its half
    assert both(Unavailable(404), "here", calls=1).ending == "raised"
    assert both(KeyError("mistake"), "here", calls=1).ending == "lost"
    assert both(NotDone("no such thing"), "here", calls=1).ending == "raised"
    found = both(Unavailable(500), calls=3)
    assert (found.ending, found.attempts, found.error) == ("lost", 3, "Unavailable: 500, at attempt 3")


def test_the_pause_that_a_service_asks_for_is_made_where_time_is_left() -> None:
    both = Both(attempts=2, timeout_s=30)
    assert both(Unavailable(429, "20"), "here", calls=2).value == "here"
    assert both.elapsed == 20
    assert both(Unavailable(429, "70"), "here", calls=1).ending == "raised"
    assert Both(attempts=2)(Unavailable(429, "20"), "here", calls=1).ending == "raised"
    assert Both(attempts=2)(Unavailable(429, "Wed, 21 Oct 2026 07:28:00 GMT"), "here", calls=2).value == "here"


def test_one_attempt_in_doubt_leaves_the_call_in_doubt() -> None:
    both = Both(attempts=3)
    found = both(TimeoutError("late"), ConnectionRefusedError("down"), calls=3)
    assert found.ending == "timed_out"
    assert "ConnectionRefusedError: down, at attempt 3" in found.error
    found = both(ConnectionResetError(), "here", calls=2)
    assert (found.ending, found.after_doubt) == ("returned", True)
    assert not both(ConnectionRefusedError(), "here", calls=2).after_doubt


def test_every_attempt_carries_the_same_key() -> None:
    tool = Tool(carriage=Carriage(attempts=2, passed_as="request_id"))
    script = Script(ConnectionResetError(), "here")
    Carrier(VirtualClock(), direct=True).call(tool, script, {"amount": 1}, key="K1")
    assert script.calls == [{"amount": 1, "request_id": "K1"}] * 2


def test_all_attempts_together_keep_the_deadline() -> None:
    rows: list[tuple[float | None, float | None, int, str]] = [
        (5, None, 2, "lost"),
        (100, 12, 2, "lost"),
        (None, 12, 2, "lost"),
        (100, 5, 2, "timed_out"),  # what is left after the pause is not enough for the second attempt
        (100, 4.5, 1, "lost"),
        (4, None, 2, "timed_out"),
    ]
    for timeout_s, left_s, calls, ending in rows:
        clock = VirtualClock()

        def slow(clock: VirtualClock = clock) -> None:
            clock.advance(4.5)
            raise ConnectionResetError

        script = Script(slow)
        tool = Tool(carriage=Carriage(attempts=2, timeout_s=timeout_s))
        found = Carrier(clock, direct=True).call(tool, script, {}, left_s=left_s)
        assert (len(script.calls), found.ending) == (calls, ending), (timeout_s, left_s)


def test_no_time_left_is_no_call() -> None:
    both = Both(attempts=3, timeout_s=5)
    found = both("here", calls=0, left_s=0.0)
    assert (found.ending, found.attempts) == ("refused", 0)
    assert "no time is left" in found.error


def test_a_tool_in_trouble_is_left_alone_and_tried_out_later() -> None:
    both = Both(breaker=BreakerSpec(failures=2, within_s=30, open_for_s=60))
    for _ in range(2):
        assert both(ConnectionResetError(), calls=1).ending == "lost"
    found = both("here", calls=0)
    assert (found.ending, found.attempts) == ("refused", 0)
    assert found.error == "it failed 2 times within 30 s and is left alone for another 60 s"
    both.advance(60)
    assert both(ConnectionResetError(), calls=1).ending == "lost"
    assert both("here", calls=0).ending == "refused"
    both.advance(60)
    assert both("here", calls=1).ending == "returned"
    assert both("here", calls=1).ending == "returned"


def test_refusals_and_mistakes_do_not_open_a_breaker() -> None:
    both = Both(breaker=BreakerSpec(failures=1, within_s=30, open_for_s=60))
    for error in (Unavailable(404), NotDone("no such customer"), TypeError("ours")):
        both(error, calls=1)
        assert both("here", calls=1).ending == "returned"


def test_a_breaker_that_opens_ends_the_retries() -> None:
    both = Both(attempts=5, breaker=BreakerSpec(failures=2, within_s=30, open_for_s=60))
    found = both(Unavailable(503), calls=2)
    assert (found.ending, found.attempts) == ("lost", 2)
    assert "503" in found.error


def test_the_pauses_follow_from_the_key_and_spread() -> None:
    pauses = [pause_s(1, f"run#{n}") for n in range(200)]
    assert pauses == [pause_s(1, f"run#{n}") for n in range(200)]
    assert all(0.05 <= pause <= 0.1 for pause in pauses)
    assert max(pauses) - min(pauses) > 0.04
    assert all(2.5 <= pause_s(n, "\ud800") <= 5 for n in range(7, 40))


def test_no_more_calls_at_a_time_than_allowed() -> None:
    carrier = Carrier(SystemClock())
    tool = Tool(carriage=Carriage(concurrency=2, timeout_s=30))
    lock, at_once, most = threading.Lock(), [0], [0]
    gate = threading.Barrier(2)  # passes only when two are under way together

    def work() -> str:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        gate.wait(20)
        with lock:
            at_once[0] -= 1
        return "done"

    async def awork() -> str:
        return await asyncio.to_thread(work)

    async def several() -> list[Carried]:
        return await asyncio.gather(*(carrier.acall(tool, awork if n % 2 else work, {}) for n in range(4)))

    found: list[Carried] = []
    threads = [threading.Thread(target=lambda: found.append(carrier.call(tool, work, {}))) for _ in range(4)]
    for thread in threads:
        thread.start()
    found += asyncio.run(several())
    for thread in threads:
        thread.join()
    assert [c.ending for c in found] == ["returned"] * 8
    assert most == [2]


def test_whoever_waits_too_long_for_a_slot_is_told_that_nothing_was_done() -> None:
    carrier = Carrier(SystemClock())
    tool = Tool(carriage=Carriage(concurrency=1, timeout_s=0.05))
    began, release, ended = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        release.wait(30)
        ended.set()

    first = carrier.call(tool, hang, {})
    assert first.ending == "timed_out"
    assert began.is_set()
    second = carrier.call(tool, lambda: "here", {})  # the first one was given up, and still takes its slot
    assert (second.ending, second.attempts) == ("refused", 0)
    assert second.error == "1 calls of it are under way already, and none ended in time"
    assert asyncio.run(carrier.acall(tool, lambda: "here", {})).ending == "refused"
    release.set()
    assert ended.wait(30)
    assert carrier.call(Tool(carriage=Carriage(concurrency=1, timeout_s=30)), lambda: "here", {}).value == "here"


def test_a_waiter_that_is_cancelled_takes_no_slot_with_it() -> None:
    carrier = Carrier(SystemClock())
    tool = Tool(carriage=Carriage(concurrency=1))

    async def story() -> str:
        go = asyncio.Event()

        async def busy() -> str:
            await go.wait()
            return "first"

        first = asyncio.create_task(carrier.acall(tool, busy, {}))
        await asyncio.sleep(0)
        second = asyncio.create_task(carrier.acall(tool, busy, {}))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        go.set()
        assert (await first).value == "first"
        return (await carrier.acall(tool, busy, {})).value

    assert asyncio.run(story()) == "first"


def test_hanging_calls_do_not_pile_up_for_ever() -> None:
    carrier = Carrier(SystemClock())
    tool = Tool(carriage=Carriage(timeout_s=0.001))
    release = threading.Event()

    def hang() -> None:
        release.wait(60)

    endings = [carrier.call(tool, hang, {}).ending for _ in range(MAX_HANGING + 3)]
    release.set()
    assert endings == ["timed_out"] * MAX_HANGING + ["refused"] * 3


def test_an_async_tool_that_will_not_be_cancelled_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadworthy.gate.carry.CLEAN_UP_S", 0.01)
    carrier = Carrier(SystemClock())

    async def story() -> Carried:
        over = asyncio.Event()

        async def stubborn() -> None:
            while not over.is_set():
                try:
                    await over.wait()
                except asyncio.CancelledError:
                    continue

        found = await carrier.acall(Tool(carriage=Carriage(timeout_s=0.01)), stubborn, {})
        over.set()
        return found

    assert asyncio.run(story()).ending == "timed_out"


def test_a_tool_that_is_cancelled_from_within_has_failed_and_our_own_cancelling_passes() -> None:
    carrier = Carrier(SystemClock())

    async def cancelled_within() -> None:
        task = asyncio.ensure_future(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    for carriage in (None, Carriage(timeout_s=30)):
        assert asyncio.run(carrier.acall(Tool(carriage=carriage), cancelled_within, {})).ending == "lost"

    async def outside(carriage: Carriage | None) -> None:
        task = asyncio.create_task(carrier.acall(Tool(carriage=carriage), asyncio.Event().wait, {}))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for carriage in (None, Carriage(timeout_s=30)):
        asyncio.run(outside(carriage))


class Panic(BaseException):
    """As extension modules raise it: no Exception."""


class Unsayable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    @property
    def response(self) -> object:
        raise RuntimeError("no answer")


@pytest.mark.parametrize("carriage", [None, Carriage(timeout_s=30)])
@pytest.mark.parametrize(
    ("error", "ending"),
    [(Panic("at the disco"), "lost"), (Unsayable(), "lost"), (StopIteration(3), "lost"), (RecursionError(), "lost")],
)
def test_whatever_a_tool_raises_is_an_ending(carriage: Carriage | None, error: BaseException, ending: str) -> None:
    carrier, tool = Carrier(SystemClock()), Tool(carriage=carriage)

    def fail() -> None:
        raise error

    async def afail() -> None:
        raise error

    assert carrier.call(tool, fail, {}).ending == ending
    assert asyncio.run(carrier.acall(tool, fail, {})).ending == ending
    assert asyncio.run(carrier.acall(tool, afail, {})).ending == ending


def test_a_tool_that_ends_its_own_thread_is_lost() -> None:
    found = Carrier(SystemClock()).call(Tool(carriage=Carriage(timeout_s=30)), lambda: sys.exit("bye"), {})
    assert (found.ending, found.error) == ("lost", "SystemExit: bye")


def test_arguments_that_do_not_fit_the_function_prove_that_nothing_was_done() -> None:
    carrier = Carrier(SystemClock())

    def narrow(a: int) -> None:
        raise AssertionError("never entered")

    def inside(**args: int) -> None:
        narrow(**args)

    assert carrier.call(Tool(), narrow, {"b": 1}).ending == "raised"
    assert carrier.call(Tool(), inside, {"b": 1}).ending == "lost"


def test_errors_are_cut() -> None:
    found = Carrier(SystemClock()).call(Tool(), Script(ValueError("x" * 50_000_000)), {})
    assert len(found.error) < MAX_ERROR + 100


def test_time_runs_as_the_clock_says() -> None:
    clock = VirtualClock()
    clock.sleep(90)
    asyncio.run(clock.asleep(30))
    assert clock.monotonic() == 120
    real = SystemClock()
    began = real.monotonic()
    real.sleep(0.01)
    asyncio.run(real.asleep(0.01))
    assert real.monotonic() - began >= 0.019


RESILIENT = """
roadworthy: 1
agent: resilient
version: "1"
goal: g
owner: {team: t, accountable: x}
tools:
  look: {effect: read, args: {n: integer}, timeout: 20s, retries: 2, breaker: {failures: 4, within: 1h, open_for: 1h}}
  push: {effect: write, args: {n: integer}}
capabilities: {c: {means: m, tools: [look, push], autonomy: {start: autonomous, approver: x}}}
budgets: {run: {wall: 60s}}
"""


def test_the_contract_says_how_calls_are_carried(ledger: Ledger) -> None:
    clock = VirtualClock()
    run = Gate(Contract.loads(RESILIENT), ledger, clock=clock).run(id="r", capability="c")
    script = Script(Unavailable(503), ConnectionResetError(), "here")
    assert run.call("look", {"n": 1}, script).value == "here"
    (outcome,) = ledger.entries(run="r", kind="outcome")
    assert outcome.body["attempts"] == 3
    assert 0 < clock.monotonic() < 1
    assert run.call("look", {"n": 2}, Script(Unavailable(503))).status == "failed"
    refused = run.call("look", {"n": 3}, script)
    assert (refused.status, refused.done) == ("failed", "blocked")
    assert "is left alone for another" in refused.text
    assert len(script.calls) == 3


def test_the_time_of_the_run_bounds_a_tool_without_a_timeout(ledger: Ledger) -> None:
    release = threading.Event()

    def hang(n: int) -> None:
        release.wait(30)

    run = Gate(Contract.loads(RESILIENT.replace("wall: 60s", "wall: 200ms")), ledger).run(id="r", capability="c")
    assert run.call("push", {"n": 1}, hang).status == "in_doubt"
    release.set()


def test_fifty_megabytes_are_told_and_recorded_in_part(ledger: Ledger) -> None:
    run = Gate(Contract.loads(RESILIENT), ledger).run(id="r", capability="c")
    for tool in ("look", "push"):
        outcome = run.call(tool, {"n": 1}, Script("x" * 50_000_000))
        assert outcome.ok
        assert outcome.text.endswith("is cut after 1,048,576.)")
    bodies = [entry.body for entry in ledger.entries(run="r", kind="outcome")]
    assert [len(body["sha256"]) for body in bodies] == [64, 64]
