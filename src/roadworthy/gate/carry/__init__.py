"""The only place that calls a tool. It never raises for what a tool does; it says how the call ended.

A call is a row of steps (wait for a slot, try, pause, try again), laid out once; two thin drivers take them, one
blocking and one async. Time comes from the clock that is passed in, and so do the pauses: a virtual clock waits for
nothing.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import zlib
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from types import FunctionType, MethodType, NoneType
from typing import Any, Literal, NamedTuple, Protocol

from roadworthy.core.clock import Clock
from roadworthy.core.errors import HarnessError, Suspended, UsageError
from roadworthy.gate.carry.breaker import Breaker, BreakerSpec, Slots

ToolFunction = Callable[..., Any]

Ending = Literal["returned", "timed_out", "lost", "raised", "refused"]
"""`raised`: it failed and did nothing. `lost`: it failed, and nobody knows whether it did its work. `refused`: it was
not called at all: too many calls at a time, a tool that is left alone, no time left."""

UNSURE: frozenset[Ending] = frozenset({"timed_out", "lost"})
"""Endings after which nobody knows whether the tool did its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carriage:
    """How the calls of one tool are carried, from the contract."""

    timeout_s: float | None = None
    """How long one attempt may take."""
    attempts: int = 1
    """1 and the retries."""
    concurrency: int | None = None
    """The most calls at a time."""
    breaker: BreakerSpec | None = None
    passed_as: str | None = None
    """The argument in which the tool gets the idempotency key."""


class Carriable(Protocol):
    """What the carrier asks of a tool's policy."""

    @property
    def name(self) -> str: ...
    @property
    def carriage(self) -> Carriage | None:
        """None for a plain tool: one attempt, however long it takes."""
        ...


class Carried(NamedTuple):
    """How one call of a tool ended. A tuple by speed alone: to make a frozen dataclass costs more than the rest."""

    ending: Ending
    value: Any = None
    error: str = ""
    """What the tool's error said, for the model and the ledger; cut at MAX_ERROR characters."""
    attempts: int = 1
    """How often the tool was called; 0 when it was refused."""
    after_doubt: bool = False
    """It returned, but an earlier attempt of the same call ended in doubt."""
    passing: bool = False
    """The error may be gone at the next attempt: no answer, an overload, a failure of the service."""
    retry_after_s: float | None = None
    """How long the service asked to be left alone."""


class NotDone(Exception):
    """For tools to raise when they know that nothing was done: only then may a failed write be tried again.

    One that carries the `status` of an HTTP answer (429, 503) is tried again by the gate where retries are declared.
    """


MAX_ERROR = 2_000
"""The most characters of an error that are told and recorded."""
MAX_HANGING = 64
"""So many given-up calls of one tool may hang on in threads; then it is not called any more."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
SLOT_WAIT_S = 10.0
"""How long a call waits for a slot where the tool has no timeout; else it waits as long as an attempt may take."""
CLEAN_UP_S = 1.0
"""How long an async tool that was given up may take to clean up behind itself."""

_TIMEOUT = ("Timeout", "TimeoutError", "TimeoutException", "DeadlineExceeded")
_OURS = (
    TypeError, AttributeError, NameError, LookupError, AssertionError, ArithmeticError, ImportError,
    NotImplementedError, RecursionError, MemoryError,
)  # fmt: skip
"""Mistakes in the tool's own code: they come again, and say nothing about the service behind it."""
_PASSING = (408, 425, 429)
_VALUES = frozenset({dict, list, str, int, float, bool, tuple, NoneType})
"""What tools mostly return; none of it can be awaited, and asking each time takes longer than all else here."""


def told(error: BaseException) -> str:
    """What an error says, whatever it is: some have no text, a huge one, or fail when asked for it."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:
        return name
    if len(text) > MAX_ERROR:
        text = text[:MAX_ERROR] + " ..."
    return f"{name}: {text}" if text else name


def _of(holder: Any, name: str) -> Any:
    try:
        return getattr(holder, name, None)
    except Exception:  # errors of tools are foreign code, and their attributes may be computed
        return None


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error stands for, where it stands for one."""
    for holder in (_of(error, "response"), error):
        for name in ("status_code", "status"):
            code = _of(holder, name)
            if isinstance(code, int) and not isinstance(code, bool):
                return code
    return None


def _retry_after(error: BaseException) -> float | None:
    headers = _of(_of(error, "response"), "headers") or _of(error, "headers")
    try:
        found = headers.get("retry-after") or headers.get("Retry-After")
        seconds = float(found)
    except Exception:  # none, a date, or headers of a kind of their own
        return None
    return seconds if 0 <= seconds < 1e6 else None


def _never_entered(fn: ToolFunction, error: BaseException) -> bool:
    """Whether the arguments did not fit the function, so that not a line of it ran: no frame of it is in the trace."""
    trace = error.__traceback__
    return (
        isinstance(error, TypeError)
        and isinstance(fn, FunctionType | MethodType)
        and trace is not None
        and trace.tb_next is None
    )


def _ended(error: BaseException) -> Carried:
    """Sort an exception of a tool. HTTP clients have timeouts of their own, known here by name only."""
    text = told(error)
    if any(c.__name__.endswith(_TIMEOUT) for c in type(error).__mro__):
        return Carried(ending="timed_out", error=text, passing=True)
    status = _status(error)
    if status is not None:
        passing = status in _PASSING or status >= 500
        sure = isinstance(error, NotDone) or (400 <= status < 500 and status not in (408, 409, 425))
    else:
        sure = isinstance(error, NotDone | ConnectionRefusedError)
        passing = not isinstance(error, (NotDone, *_OURS))
    return Carried(
        ending="raised" if sure else "lost",
        error=text,
        passing=passing,
        retry_after_s=_retry_after(error) if passing else None,
    )


def is_async(fn: ToolFunction) -> bool:
    """Whether calling a function gives an awaitable."""
    code = getattr(fn, "__code__", None)
    if code is not None:
        return bool(code.co_flags & inspect.CO_COROUTINE)
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def _no_answer(limit_s: float | None) -> Carried:
    return Carried(ending="timed_out", error=f"no answer within {round(limit_s or 0, 3):g} s", passing=True)


def _too_late(limit_s: float | None, began: float, now: float) -> bool:
    return limit_s is not None and now - began > limit_s


def _foreign(error: BaseException) -> bool:
    """Whether a BaseException that came out of a tool is the tool's, and not a wish to end the program or the task."""
    return not isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | asyncio.CancelledError)


def _must_pass(error: BaseException) -> bool:
    """Errors that are not the tool's, though they come out of it."""
    # A tool that is an agent may have stopped the run by a call of its own.
    return isinstance(error, HarnessError | Suspended) or not (isinstance(error, Exception) or _foreign(error))


def _run(fn: ToolFunction, args: Mapping[str, Any]) -> Carried:
    try:
        value = fn(**args)
    except BaseException as error:
        return _failed(fn, error)
    return Carried("returned", value)


def _failed(fn: ToolFunction, error: BaseException) -> Carried:
    """How a call ended that raised; raises what is not the tool's own."""
    if _must_pass(error):
        raise error
    if _never_entered(fn, error):
        return Carried(ending="raised", error=told(error))
    return _ended(error)


def _unawaited(carried: Carried) -> Carried:
    """A blocking call that gave an awaitable: nobody can wait for it here."""
    value = carried.value
    if type(value) in _VALUES or not inspect.isawaitable(value):
        return carried
    error = "the tool is async and was called from blocking code: use `await run.acall(...)`"
    if inspect.iscoroutine(value):
        value.close()
        return Carried(ending="raised", error=error)
    return Carried(ending="lost", error=error)  # a task or future may be at work already


# -- calls beside us: a blocking tool that may be given up ------------------------------------------------------------


class _Beside:
    """A blocking tool in a thread of its own, so that it can be given up. It may still finish: nothing kills a thread.

    `done` is called in that thread when the tool has really ended.
    """

    __slots__ = ("_args", "_context", "_done", "_fn", "carried", "error")

    def __init__(self, fn: ToolFunction, args: Mapping[str, Any], done: Callable[[], None]) -> None:
        self._fn = fn
        self._args = args
        self._done = done
        self._context = contextvars.copy_context()
        self.carried: Carried | None = None
        self.error: BaseException | None = None
        """What must pass on to whoever called."""

    def start(self) -> bool:
        """False when this machine has no thread left: then nothing was called."""
        try:
            threading.Thread(target=self._work, name="roadworthy-carry", daemon=True).start()
        except RuntimeError:
            return False
        return True

    def _work(self) -> None:
        try:
            self.carried = self._context.run(_run, self._fn, self._args)
        except SystemExit as error:  # signals go to the main thread: this one is the tool's own
            self.carried = Carried(ending="lost", error=told(error))
        except BaseException as error:
            self.error = error
        finally:
            self._done()

    def result(self) -> Carried:
        """How it ended, once it has."""
        if self.error is not None:
            raise self.error
        assert self.carried is not None
        return self.carried


# -- one tool ---------------------------------------------------------------------------------------------------------


class _Place:
    """What the carrier remembers of one tool. Thread-safe."""

    __slots__ = ("_lock", "breaker", "hanging", "slots")

    def __init__(self, plan: Carriage) -> None:
        self.breaker = Breaker(plan.breaker) if plan.breaker is not None else None
        self.slots = Slots(plan.concurrency) if plan.concurrency is not None else None
        self.hanging = 0
        """Given-up calls that have not ended."""
        self._lock = threading.Lock()

    def hangs(self, by: int) -> None:
        with self._lock:
            self.hanging += by


class _Visit:
    """One attempt's hold on its slot: given back when the tool has really ended, which may be after we gave it up."""

    __slots__ = ("_ended", "_given_up", "_lock", "place")

    def __init__(self, place: _Place) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._ended = False
        self._given_up = False

    @property
    def given_up(self) -> bool:
        return self._given_up

    def end(self) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
            hung = self._given_up
        if hung:
            self.place.hangs(-1)
        if self.place.slots is not None:
            self.place.slots.give_back()

    def give_up(self) -> None:
        with self._lock:
            if self._ended or self._given_up:
                return
            self._given_up = True
            self.place.hangs(1)


@dataclass(slots=True)
class _Enter:
    """Wait for a slot; send back whether there was one."""

    slots: Slots
    wait_s: float


@dataclass(slots=True)
class _Try:
    """Call the tool once; send back how it ended."""

    args: Mapping[str, Any]
    limit_s: float | None
    visit: _Visit


@dataclass(slots=True)
class _Pause:
    seconds: float


_Step = _Enter | _Try | _Pause
_PLAIN = Carriage()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unknown:
    """A tool that no contract names."""

    name: str = ""
    carriage: Carriage | None = None


_UNKNOWN = _Unknown()


def _refused(error: str, attempts: int) -> Carried:
    return Carried(ending="refused", error=error, attempts=attempts, passing=True)


def pause_s(attempt: int, key: str) -> float:
    """How long to wait after the n-th failed attempt, from 1: doubling, and spread over half of it by the call's key.

    The spread keeps many callers from coming back at once; that it follows from the key makes a trial repeatable.
    """
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (attempt - 1))
    return longest * (0.5 + zlib.crc32(f"{key}#{attempt}".encode("utf-8", "replace")) / 2**33)


class Carrier:
    """Calls the tools of one gate. Thread-safe, and safe to use from several event loops.

    `direct`: blocking tools run in the caller's thread, and their lateness is read off the clock, as worlds with
    virtual time need it. What it remembers (which tools are in trouble, how many calls are under way) lives as long
    as the gate, in this process.
    """

    __slots__ = ("_clock", "_direct", "_lock", "_places")

    def __init__(self, clock: Clock, *, direct: bool = False) -> None:
        self._clock = clock
        self._direct = direct
        self._places: dict[str, _Place] = {}
        self._lock = threading.Lock()

    def call(
        self,
        tool: Carriable | None,
        fn: ToolFunction,
        args: Mapping[str, Any],
        *,
        left_s: float | None = None,
        key: str = "",
    ) -> Carried:
        """Call a blocking tool; one that no contract names (None) is called as it is.

        `left_s`: what is left of the run's time; `key`: the idempotency key of this call.
        Raises UsageError for an async function, and nothing for what the tool does.
        """
        if is_async(fn):
            raise UsageError("this tool is async: call it through `await run.acall(...)`, or give a blocking function")
        if left_s is None and (tool is None or tool.carriage is None):
            # As `_run` and `_unawaited` in a row; most calls pass here, and two calls more are felt.
            try:
                value = fn(**args)
            except BaseException as error:
                return _failed(fn, error)
            carried = Carried("returned", value)
            return carried if type(value) in _VALUES else _unawaited(carried)
        tool = tool or _UNKNOWN
        steps = self._steps(tool, args, left_s, key)
        answer: Any = None
        try:
            while True:
                step = steps.send(answer)
                if isinstance(step, _Try):
                    answer = self._try(fn, step)
                elif isinstance(step, _Enter):
                    answer = _wait(step)
                else:
                    self._clock.sleep(step.seconds)
        except StopIteration as end:
            return end.value
        finally:
            steps.close()

    async def acall(
        self,
        tool: Carriable | None,
        fn: ToolFunction,
        args: Mapping[str, Any],
        *,
        left_s: float | None = None,
        key: str = "",
    ) -> Carried:
        """`call` for async code: an async tool is awaited, a blocking one runs in a thread and nothing else waits."""
        tool = tool or _UNKNOWN
        if tool.carriage is None and left_s is None and (self._direct or is_async(fn)):
            carried = _run(fn, args)
            if carried.ending == "returned" and inspect.isawaitable(carried.value):
                return await _finish(carried.value)
            return carried
        steps = self._steps(tool, args, left_s, key)
        answer: Any = None
        try:
            while True:
                step = steps.send(answer)
                if isinstance(step, _Try):
                    answer = await self._atry(fn, step)
                elif isinstance(step, _Enter):
                    answer = await _await_slot(step)
                else:
                    await self._clock.asleep(step.seconds)
        except StopIteration as end:
            return end.value
        finally:
            steps.close()

    # -- the steps of a call ------------------------------------------------------------------------------------------

    def _place(self, tool: Carriable, plan: Carriage) -> _Place:
        place = self._places.get(tool.name)
        if place is None:
            with self._lock:
                place = self._places.setdefault(tool.name, _Place(plan))
        return place

    def _steps(
        self, tool: Carriable, args: Mapping[str, Any], left_s: float | None, key: str
    ) -> Generator[_Step, Any, Carried]:
        plan = tool.carriage or _PLAIN
        place, clock = self._place(tool, plan), self._clock
        if plan.passed_as is not None:
            args = {**args, plan.passed_as: key}
        total = plan.timeout_s * plan.attempts if plan.timeout_s is not None else None
        if left_s is not None:
            total = left_s if total is None else min(total, left_s)
        until = None if total is None else clock.monotonic() + total
        last: Carried | None = None
        doubt: Carried | None = None
        made = 0
        while True:
            ended = yield from self._attempt(plan, place, args, until)
            if ended.ending == "refused":
                # What came of the attempts before says more than that there was no further one.
                last = last or ended
                break
            made += 1
            last = ended
            if ended.ending in UNSURE:
                doubt = ended
            if not ended.passing or made >= plan.attempts:
                break
            pause = max(pause_s(made, key), ended.retry_after_s or 0.0)
            if pause > (LONGEST_PAUSE_S if until is None else until - clock.monotonic()):
                break
            yield _Pause(pause)
        if made > 1 or doubt is not None:
            last = _summed_up(last, doubt, made)
        return last

    def _attempt(
        self, plan: Carriage, place: _Place, args: Mapping[str, Any], until: float | None
    ) -> Generator[_Step, Any, Carried]:
        """One attempt, or the reason why there is none."""
        clock, breaker = self._clock, place.breaker
        refusal = self._refusal(plan, place, until)
        if refusal is not None:
            return refusal
        if place.slots is not None:
            wait_s = plan.timeout_s or SLOT_WAIT_S
            if until is not None:
                wait_s = min(wait_s, until - clock.monotonic())
            if not (yield _Enter(place.slots, wait_s)):
                return _refused(f"{place.slots.size} calls of it are under way already, and none ended in time", 0)
        visit = _Visit(place)
        began = clock.monotonic()
        limit = plan.timeout_s
        if until is not None:
            if until <= began:
                visit.end()
                return _refused("no time is left for it in this run", 0)
            limit = until - began if limit is None else min(limit, until - began)
        if breaker is not None:
            resting = breaker.enter(began)
            if resting is not None:
                visit.end()
                return self._resting(breaker, resting)
        health: Literal["well", "badly", "unknown"] = "unknown"
        try:
            ended: Carried = yield _Try(args, limit, visit)
            if ended.ending == "returned":
                health = "well"
            elif ended.passing:
                health = "badly"
        finally:
            if breaker is not None:
                breaker.leave(clock.monotonic(), health, began=began)
        return ended

    def _refusal(self, plan: Carriage, place: _Place, until: float | None) -> Carried | None:
        now = self._clock.monotonic()
        if until is not None and now >= until:
            return _refused("no time is left for it in this run", 0)
        if place.breaker is not None:
            resting = place.breaker.resting_s(now)
            if resting is not None:
                return self._resting(place.breaker, resting)
        if place.hanging >= MAX_HANGING:
            return _refused(f"{place.hanging} earlier calls of it never came back", 0)
        return None

    @staticmethod
    def _resting(breaker: Breaker, resting_s: float) -> Carried:
        spec = breaker.spec
        rest = f"for another {resting_s:.0f} s" if resting_s >= 1 else "until a call that tries it out has ended"
        error = f"it failed {spec.failures} times within {spec.within_s:g} s and is left alone {rest}"
        return _refused(error, 0)

    # -- one attempt --------------------------------------------------------------------------------------------------

    def _try(self, fn: ToolFunction, step: _Try) -> Carried:
        visit, limit_s = step.visit, step.limit_s
        if self._direct or limit_s is None:
            began = self._clock.monotonic()
            try:
                carried = _unawaited(_run(fn, step.args))
            finally:
                visit.end()
            if self._direct and _too_late(limit_s, began, self._clock.monotonic()):
                return _no_answer(limit_s)
            return carried
        over = threading.Event()

        def done() -> None:
            visit.end()
            over.set()

        beside = _Beside(fn, step.args, done)
        if not beside.start():
            visit.end()
            return _refused("this machine can start no more threads", 0)
        try:
            over.wait(limit_s)
        except BaseException:
            visit.give_up()
            raise
        if not over.is_set():
            visit.give_up()
            return _no_answer(limit_s)
        return _unawaited(beside.result())

    async def _atry(self, fn: ToolFunction, step: _Try) -> Carried:
        visit, limit_s = step.visit, step.limit_s
        began = self._clock.monotonic()
        if not is_async(fn) and not self._direct:
            carried = await self._abeside(fn, step)
            if carried.ending != "returned" or not inspect.isawaitable(carried.value):
                return carried
            waiting: Awaitable[Any] = carried.value
        else:
            try:
                carried = _run(fn, step.args)
            except BaseException:
                visit.end()
                raise
            if carried.ending != "returned" or not inspect.isawaitable(carried.value):
                visit.end()
                if self._direct and _too_late(limit_s, began, self._clock.monotonic()):
                    return _no_answer(limit_s)
                return carried
            waiting = carried.value
        if self._direct or limit_s is None:
            try:
                carried = await _finish(waiting)
            finally:
                visit.end()
            if self._direct and _too_late(limit_s, began, self._clock.monotonic()):
                return _no_answer(limit_s)
            return carried
        return await self._in_time(waiting, limit_s, visit)

    async def _in_time(self, waiting: Awaitable[Any], limit_s: float, visit: _Visit) -> Carried:
        task = asyncio.ensure_future(_finish(waiting))

        def done(ended: asyncio.Future[Carried]) -> None:
            visit.end()
            if not ended.cancelled():
                ended.exception()  # read, so that nobody is told that it never was

        task.add_done_callback(done)
        try:
            await asyncio.wait({task}, timeout=limit_s)
        except BaseException:
            visit.give_up()
            task.cancel()
            raise
        if not task.done():
            # One that will not be cancelled is left behind: waiting for it is what the limit is there to prevent.
            visit.give_up()
            task.cancel()
            await asyncio.wait({task}, timeout=CLEAN_UP_S)
            return _no_answer(limit_s)
        if task.cancelled():
            return Carried(ending="lost", error="the tool was cancelled from within", passing=True)
        return task.result()

    async def _abeside(self, fn: ToolFunction, step: _Try) -> Carried:
        visit = step.visit
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not over.done():
                over.set_result(None)

        def done() -> None:
            # What it returned may have to be awaited, and its slot is held until then.
            if visit.given_up or not _returned_awaitable(beside.carried):
                visit.end()
            try:
                loop.call_soon_threadsafe(wake)
            except RuntimeError:  # the loop is closed: nobody waits any more
                visit.end()

        beside = _Beside(fn, step.args, done)
        if not beside.start():
            visit.end()
            return _refused("this machine can start no more threads", 0)
        try:
            await asyncio.wait({over}, timeout=step.limit_s)
        except BaseException:
            visit.give_up()
            if _returned_awaitable(beside.carried):
                visit.end()
            raise
        if not over.done():
            visit.give_up()
            if _returned_awaitable(beside.carried):
                visit.end()
            return _no_answer(step.limit_s)
        return beside.result()


def _returned_awaitable(carried: Carried | None) -> bool:
    return carried is not None and carried.ending == "returned" and inspect.isawaitable(carried.value)


async def _finish(waiting: Awaitable[Any]) -> Carried:
    """Wait for what a tool returned, however it ends. Being cancelled from outside passes; the tool's own doing not."""
    try:
        value = await waiting
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return Carried(ending="lost", error=told(error), passing=True)
    except BaseException as error:
        if _must_pass(error):
            raise
        return _ended(error)
    return Carried(ending="returned", value=value)


def _summed_up(last: Carried, doubt: Carried | None, made: int) -> Carried:
    """What several attempts come to: one that is in doubt leaves the whole call in doubt, unless it was answered."""
    if last.ending == "returned":
        return last._replace(attempts=made, after_doubt=doubt is not None)
    error = f"{last.error}, at attempt {made}" if made > 1 else last.error
    if doubt is None:
        return last._replace(attempts=made, error=error)
    return last._replace(ending=doubt.ending if last.ending not in UNSURE else last.ending, attempts=made, error=error)


def _wait(step: _Enter) -> bool:
    """Wait in this thread for a slot. The time is the machine's: what is waited for are other threads."""
    mine = threading.Event()
    if step.slots.take(mine.set):
        return True
    try:
        got = mine.wait(step.wait_s)
    except BaseException:
        if not step.slots.give_up(mine.set):
            step.slots.give_back()
        raise
    return got or not step.slots.give_up(mine.set)


async def _await_slot(step: _Enter) -> bool:
    loop = asyncio.get_running_loop()
    turn: asyncio.Future[None] = loop.create_future()
    slots = step.slots

    def arrive() -> None:
        if turn.done():
            slots.give_back()  # whoever waited is gone
        else:
            turn.set_result(None)

    def mine() -> None:
        try:
            loop.call_soon_threadsafe(arrive)
        except RuntimeError:
            slots.give_back()

    if slots.take(mine):
        return True
    try:
        await asyncio.wait({turn}, timeout=step.wait_s)
    except BaseException:
        if turn.done():
            slots.give_back()
        else:
            turn.cancel()
            slots.give_up(mine)
        raise
    if turn.done():
        return True
    turn.cancel()  # a slot that is on its way goes on to the next
    slots.give_up(mine)
    return False
