"""Agents in plain Python: functions behind the gate, and what a loop over an OpenAI-style chat API needs.

messages += hear(run, text)
while True:
    message = chat(messages, tool_schemas(contract, "billing_question"))
    messages.append(message)
    if calls := message.get("tool_calls"):
        messages += [dispatch(run, call, functions) for call in calls]
    elif (told := reply(run, message["content"])).back is None:
        break                             # told.text is what the user sees
    else:
        messages.append(back(told))       # it may not be said: the model is told why, and tries again
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar, cast, overload

from roadworthy.adapters import driving
from roadworthy.adapters.calls import abring, bring
from roadworthy.adapters.calls import refuse_hosted as refuse_hosted
from roadworthy.adapters.replies import Reply, asettle_reply, news_of, settle_reply
from roadworthy.adapters.schemas import tool_schemas
from roadworthy.core.errors import Suspended
from roadworthy.core.types import Outcome
from roadworthy.gate.carry import is_async
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run, current_run

__all__ = [
    "Reply",
    "adispatch",
    "adrive",
    "areply",
    "back",
    "dispatch",
    "drive",
    "gated",
    "guard",
    "hear",
    "news",
    "refuse_hosted",
    "reply",
    "result_of",
    "tool_schemas",
]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def result_of(outcome: Outcome) -> Any:
    """What a gated function returns: the tool's result where there is one, else the text that tells the model why."""
    return outcome.value if outcome.ok and outcome.value is not None else outcome.text


def gated(
    gate: Gate,
    name: str | None = None,
    *,
    run: Callable[[], Run | None] = current_run,
    beside: Callable[[str, object], Mapping[str, Any]] | None = None,
) -> Callable[[F], F]:
    """Put a function behind the gate, blocking or async. It keeps its signature.

    `name`: the contract's or the model's name of the tool; the function's own unless told. `run` finds the run of a
    call: the bound one, unless told. `beside(tool, arguments)`: what else `bring` is to know of a call. A refused call
    returns the text that tells the model why; whoever must tell results from refusals uses `run.call`, which returns
    the whole `Outcome`.
    """

    def wrap(function: F) -> F:
        tool = name or function.__name__
        signature = inspect.signature(function)

        def named(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> object:
            if not args:
                return kwargs
            # A call that does not fit the signature goes to the gate all the same, which says what is wrong with it.
            try:
                placed = signature.bind_partial(*args).arguments
            except TypeError:
                return args
            return args if placed.keys() & kwargs.keys() else {**placed, **kwargs}

        if is_async(function):

            @functools.wraps(function)
            async def acalled(*args: Any, **kwargs: Any) -> Any:
                given = named(args, kwargs)
                more: Mapping[str, Any] = beside(tool, given) if beside is not None else {}
                return result_of(await abring(gate, run(), tool, given, function, **more))

            return cast("F", acalled)

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            given = named(args, kwargs)
            more: Mapping[str, Any] = beside(tool, given) if beside is not None else {}
            return result_of(bring(gate, run(), tool, given, function, **more))

        return cast("F", called)

    return wrap


@overload
def guard(functions: Mapping[str, Callable[..., Any]], gate: Gate) -> dict[str, Callable[..., Any]]: ...
@overload
def guard(functions: Iterable[Callable[..., Any]], gate: Gate) -> list[Callable[..., Any]]: ...
def guard(
    functions: Mapping[str, Callable[..., Any]] | Iterable[Callable[..., Any]], gate: Gate
) -> dict[str, Callable[..., Any]] | list[Callable[..., Any]]:
    """Put functions behind the gate: a mapping by the tools' names, or a list of functions that bear them."""
    if isinstance(functions, Mapping):
        named = cast("Mapping[str, Callable[..., Any]]", functions)
        return {name: gated(gate, name)(function) for name, function in named.items()}
    return [gated(gate)(function) for function in functions]


def dispatch(
    run: Run, tool_call: Any, functions: Mapping[str, Callable[..., Any]] | None = None, *, agent: str | None = None
) -> dict[str, Any]:
    """Answer one tool call of an OpenAI-style assistant message with the tool message that goes back to the model.

    `tool_call` is a mapping or an object of the OpenAI library. `functions` are the tools, by the contract's or the
    model's names; in a test world the stand-ins are called and they are not needed. `agent` is the name of the agent
    that asks, where your loop has several; it is recorded, and decides nothing.
    """
    call_id, name, args = _parts(tool_call)
    function = _function(run, name, functions)
    return _message(call_id, name, bring(run.gate, run, name, args, function, call_id=call_id, agent=agent))


async def adispatch(
    run: Run, tool_call: Any, functions: Mapping[str, Callable[..., Any]] | None = None, *, agent: str | None = None
) -> dict[str, Any]:
    """`dispatch` for async code; functions may be async or not."""
    call_id, name, args = _parts(tool_call)
    function = _function(run, name, functions)
    outcome = await abring(run.gate, run, name, args, function, call_id=call_id, agent=agent)
    return _message(call_id, name, outcome)


def drive(agent: Callable[[Run, Any], T], run: Run, start: Any = None) -> T | Suspended:
    """Call `agent(run, start)` until it ends or a person must decide: then Suspended comes back, as a value.

    `run` comes from `gate.run(..., suspendable=True)`, or from `gate.resume(id)` to drive it again; `start` may then be
    left out, and is what the agent was started with. Raises UsageError for a start that is another than it was.
    """
    return driving.drive(run, start, lambda given: agent(run, given))


async def adrive(agent: Callable[[Run, Any], Awaitable[T]], run: Run, start: Any = None) -> T | Suspended:
    """`drive` for async code."""
    return await driving.adrive(run, start, lambda given: agent(run, given))


def hear(run: Run, text: str) -> list[dict[str, Any]]:
    """The user's words reach the run; the messages that begin the turn: what became of held actions, and the words."""
    run.heard(text)
    return [*news(run), {"role": "user", "content": text}]


def news(run: Run) -> list[dict[str, Any]]:
    """A message that tells the model what became of held actions meanwhile, once; none where nothing did."""
    told = news_of(run)
    return [{"role": "user", "content": told}] if told is not None else []


def reply(run: Run, text: str, *, deliver: bool = True) -> Reply:
    """Tell the user something, through the gate. Where it may not be said, `back` is for the model, which tries again.

    After two more tries the user is told that a person will look at it, and the run is handed over. `deliver=False`:
    it is judged only, and whoever calls the agent says what comes back. Before the user sees it, `text` of what comes
    back is to be shown, and nothing else; in shadow (`outcome.done` is `simulated`) nothing is.
    """
    return settle_reply(run, text, deliver=deliver)


async def areply(run: Run, text: str, *, deliver: bool = True) -> Reply:
    """`reply` for async code."""
    return await asettle_reply(run, text, deliver=deliver)


def back(told: Reply) -> dict[str, Any]:
    """The message that goes back to the model when a reply was held back."""
    return {"role": "user", "content": told.back}


def _parts(tool_call: Any) -> tuple[str, str, object]:
    """Id, name and arguments of a call. Arguments that are no JSON come back as text, which the gate refuses."""
    if isinstance(tool_call, Mapping):
        call = cast("Mapping[str, Any]", tool_call)
        call_id, name, arguments = call["id"], call["function"]["name"], call["function"]["arguments"]
    else:
        call_id, name, arguments = tool_call.id, tool_call.function.name, tool_call.function.arguments
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            return call_id, name, arguments
    return call_id, name, arguments


def _function(run: Run, name: str, functions: Mapping[str, Callable[..., Any]] | None) -> Callable[..., Any] | None:
    if not functions:
        return None
    names = run.gate.contract.tool_names
    if name in functions or name not in names:
        return functions.get(name)
    return next((f for known, f in functions.items() if names.get(known) == names[name]), None)


def _message(call_id: str, name: str, outcome: Outcome) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "name": name, "content": outcome.text}
