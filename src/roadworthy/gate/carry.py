"""The only place that calls a tool. It never raises for what a tool does; it says how the call ended."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

from roadworthy.core.clock import Clock
from roadworthy.core.errors import HarnessError, UsageError

ToolFunction = Callable[..., Any]

Ending = Literal["returned", "timed_out", "lost", "raised"]
"""`raised`: it failed and did nothing. `lost`: it failed, and nobody knows whether it did its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """How one call of a tool ended."""

    ending: Ending
    value: Any = None
    error: str = ""
    """What the tool's error said, for the model and the ledger."""


class NotDone(Exception):
    """For tools to raise when they know that nothing was done: only then may a failed write be tried again."""


_TIMEOUT = ("Timeout", "TimeoutError", "TimeoutException", "DeadlineExceeded")


def _ended(error: Exception) -> Carried:
    """Sort an exception of a tool. HTTP clients have timeouts of their own, known here by name only."""
    names = [c.__name__ for c in type(error).__mro__]
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if any(name.endswith(_TIMEOUT) for name in names):
        return Carried(ending="timed_out", error=text)
    return Carried(ending="raised" if _nothing_done(error) else "lost", error=text)


def _nothing_done(error: Exception) -> bool:
    """Whether an error proves that the tool did nothing: it says so, nobody answered, or the service turned it down."""
    if isinstance(error, NotDone | ConnectionRefusedError):
        return True
    answer = getattr(error, "response", None)
    for holder in (answer, error):
        for name in ("status_code", "status"):
            code = getattr(holder, name, None)
            if isinstance(code, int) and not isinstance(code, bool):
                return 400 <= code < 500 and code not in (408, 409, 425)
    return False


def is_async(fn: ToolFunction) -> bool:
    """Whether calling a function gives an awaitable."""
    code = getattr(fn, "__code__", None)
    if code is not None:
        return bool(code.co_flags & inspect.CO_COROUTINE)
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def _late(clock: Clock, began: float, timeout_s: float | None) -> Carried | None:
    # A virtual clock moves while the tool runs; a real one may show that the tool was late though it did return.
    if timeout_s is not None and clock.monotonic() - began > timeout_s:
        return Carried(ending="timed_out", error=f"no answer within {timeout_s:g} s")
    return None


def _in_thread(fn: ToolFunction, args: Mapping[str, Any], timeout_s: float) -> Any:
    """Run a blocking tool beside us, so that it can be given up. It may still finish: a thread cannot be killed."""
    future: Future[Any] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            future.set_result(context.run(fn, **args))
        except BaseException as error:  # handed over to the waiting caller, whatever it is
            future.set_exception(error)

    threading.Thread(target=work, name="roadworthy-carry", daemon=True).start()
    return future.result(timeout=timeout_s)


def carry(fn: ToolFunction, args: Mapping[str, Any], *, timeout_s: float | None, clock: Clock, direct: bool) -> Carried:
    """Call a blocking tool. `direct`: in this thread, its lateness read off the clock (worlds with virtual time)."""
    if is_async(fn):
        raise UsageError("this tool is async: call it through `await run.acall(...)`, or give a blocking function")
    began = clock.monotonic()
    try:
        value = fn(**args) if direct or timeout_s is None else _in_thread(fn, args, timeout_s)
    except HarnessError:
        raise
    except TimeoutError as error:
        return Carried(ending="timed_out", error=str(error) or f"no answer within {timeout_s or 0:g} s")
    except Exception as error:
        return _ended(error)
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        return Carried(
            ending="raised", error="the tool is async and was called from blocking code: use `await run.acall(...)`"
        )
    return (_late(clock, began, timeout_s) if direct else None) or Carried(ending="returned", value=value)


async def acarry(
    fn: ToolFunction, args: Mapping[str, Any], *, timeout_s: float | None, clock: Clock, direct: bool
) -> Carried:
    """Call a tool from async code: an async one is awaited, a blocking one runs in a thread and nothing else waits."""
    began = clock.monotonic()
    try:
        if is_async(fn):
            value = await (fn(**args) if direct or timeout_s is None else asyncio.wait_for(fn(**args), timeout_s))
        elif direct:
            value = fn(**args)
        else:
            value = await asyncio.wait_for(asyncio.to_thread(fn, **args), timeout_s)
        if inspect.isawaitable(value):
            value = await (value if direct or timeout_s is None else asyncio.wait_for(value, timeout_s))
    except HarnessError:
        raise
    except TimeoutError as error:
        return Carried(ending="timed_out", error=str(error) or f"no answer within {timeout_s or 0:g} s")
    except Exception as error:
        return _ended(error)
    return (_late(clock, began, timeout_s) if direct else None) or Carried(ending="returned", value=value)
