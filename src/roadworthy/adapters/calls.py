"""What every adapter does with one tool call of a model: find its run, bring it to the gate, and never let it slip by.

An adapter translates its framework's call into `bring`, and the `Outcome` that comes back into its framework's result.
Whatever goes wrong on the way becomes an `Outcome` that says so; a tool runs only when the gate has carried it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

from roadworthy.contract.model import Contract
from roadworthy.core.errors import HarnessError, Suspended, UsageError
from roadworthy.core.types import Outcome
from roadworthy.gate.carry import is_async
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run

logger = logging.getLogger("roadworthy.adapters")

NO_RUN = (
    "Nothing was done: this call belongs to no run. Tell the user that it does not work right now. "
    "(For the application: open a run around the agent, `with gate.run(...) as run, run.bind():`.)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A tool that adapters offer to every agent, beside those of the contract."""

    name: str
    description: str
    argument: str
    """Its only argument, a text."""
    meaning: str
    """What the argument is, for the model."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments as JSON Schema."""
        return {
            "type": "object",
            "properties": {self.argument: {"type": "string", "description": self.meaning}},
            "required": [self.argument],
            "additionalProperties": False,
        }


ASK_USER = Offered(
    name="ask_user",
    description="Ask the user a question, when something is missing or unclear. The answer comes back as the result.",
    argument="question",
    meaning="The question, in the user's language.",
)
ESCALATE = Offered(
    name="escalate",
    description="Hand the conversation over to a person, when you cannot or may not settle it yourself.",
    argument="reason",
    meaning="Why a person is needed, in one sentence.",
)


OFFERED = (ASK_USER, ESCALATE)
"""What every agent is offered. No tool of a contract may have these names."""


def refuse_hosted(contract: Contract, tools: Iterable[object]) -> None:
    """Raise UsageError for a tool that runs at the model's provider, unless the contract accepts it by name.

    `tools` are what a model is offered, as far as they are descriptions and not functions: mappings with a `type` other
    than `function`, or bare names of such types. A tool is accepted by its type or by its own name.
    """
    accepted = contract.hosted_tools if isinstance(contract.hosted_tools, tuple) else ()
    for tool in tools:
        if isinstance(tool, Mapping):
            described = cast("Mapping[str, Any]", tool)
            kind, name = described.get("type"), described.get("name")
            if kind is None and described:  # as Gemini has them: {"google_search": {}}
                kind = next(iter(described)) if "name" not in described and "function" not in described else None
        else:
            kind, name = (tool, None) if isinstance(tool, str) else (None, None)
        if kind in (None, "function", "custom") or kind in accepted or name in accepted:
            continue
        law = f"[{', '.join(accepted)}]" if accepted else "refuse"
        raise UsageError(
            f"the tool {kind!r} runs at the model's provider, where no gate can see it; take it from the agent's "
            f"tools, or accept it by its name (the contract says `hosted_tools: {law}`)"
        )


_INSIDE: ContextVar[bool] = ContextVar("roadworthy_inside_tool", default=False)


def inside_tool() -> bool:
    """Whether a guarded tool runs now. An agent inside it speaks with a model and not with the user."""
    return _INSIDE.get()


@contextmanager
def hosting() -> Generator[None]:
    """While a tool runs that is nothing but another agent, whose own calls come to the gate.

    Where the run is suspended in there, it is entered again when the run is driven again.
    """
    try:
        yield
    except Suspended as waits:
        waits.within = True
        raise


@contextmanager
def inside() -> Generator[None]:
    """While a tool runs by which one agent gives way to another one: that one speaks with a model, too."""
    token = _INSIDE.set(True)
    try:
        yield
    finally:
        _INSIDE.reset(token)


def bring(
    gate: Gate,
    run: Run | None,
    tool: str,
    args: object,
    fn: Callable[..., Any] | None,
    *,
    call_id: str | None = None,
    agent: str | None = None,
    again: bool = False,
) -> Outcome:
    """Bring a call to the gate. `fn(**args)` is the framework's own way to run the tool.

    `gate` is the one that the agent is guarded by; a run of another gate is good enough when its contract is the same.
    `agent` is the framework's name of the agent that asks, where the application has several; it is only recorded.
    `again`: the framework may have begun a step anew in which this call was made; what came of it then comes back.
    Raises HarnessError in test worlds, and Suspended in runs that were opened as `suspendable`; nothing else.
    """
    refused = _refused(gate, run, args)
    if refused is not None:
        return refused
    run, given = cast("Run", run), cast("Mapping[str, Any]", args)
    started = _Started(fn)
    try:
        extra = _offered_call(tool, given)
        if extra is not None:
            text = str(given[extra.argument])
            return run.ask_user(text, agent=agent) if extra is ASK_USER else run.escalate(text, agent=agent)
        known = run.made_before(tool, given, call_id) if again and call_id is not None else None
        return known or run.call(tool, given, started.function, call_id=call_id, agent=agent)
    except (HarnessError, Suspended):
        raise
    except Exception as error:  # the gate or its ledger broke: nobody may take that for a yes
        return _broken(tool, started, error)


async def abring(
    gate: Gate,
    run: Run | None,
    tool: str,
    args: object,
    fn: Callable[..., Any] | None,
    *,
    call_id: str | None = None,
    agent: str | None = None,
    again: bool = False,
) -> Outcome:
    """`bring` for async code; `fn` may be async or not."""
    refused = _refused(gate, run, args)
    if refused is not None:
        return refused
    run, given = cast("Run", run), cast("Mapping[str, Any]", args)
    started = _Started(fn)
    try:
        extra = _offered_call(tool, given)
        if extra is not None:
            text = str(given[extra.argument])
            asked = run.aask_user(text, agent=agent) if extra is ASK_USER else run.aescalate(text, agent=agent)
            return await asked
        known = None
        if again and call_id is not None:
            known = await asyncio.to_thread(run.made_before, tool, given, call_id)
        return known or await run.acall(tool, given, started.function, call_id=call_id, agent=agent)
    except (HarnessError, Suspended):
        raise
    except Exception as error:  # as in `bring`
        return _broken(tool, started, error)


class _Started:
    """Knows whether a tool was called at all, for when the gate breaks."""

    def __init__(self, fn: Callable[..., Any] | None) -> None:
        self.yes = False
        self.function: Callable[..., Any] | None = None
        if fn is None:
            return
        if is_async(fn):
            awaited = cast("Callable[..., Awaitable[Any]]", fn)

            async def acalled(**args: Any) -> Any:
                self.yes = True
                token = _INSIDE.set(True)
                try:
                    return await awaited(**args)
                finally:
                    _INSIDE.reset(token)

            self.function = acalled
        else:
            blocking = fn

            def called(**args: Any) -> Any:
                self.yes = True
                token = _INSIDE.set(True)
                try:
                    return blocking(**args)
                finally:
                    _INSIDE.reset(token)

            self.function = called


def _refused(gate: Gate, run: Run | None, args: object) -> Outcome | None:
    if run is None:
        logger.warning(
            "a guarded tool was called outside any run; open one with `with gate.run(...) as run, run.bind():`"
        )
        return Outcome(status="denied", done="blocked", text=NO_RUN)
    if run.gate.contract.digest != gate.contract.digest:
        logger.warning("run %s is of another contract than the one that this agent is guarded by", run.id)
        text = (
            "Nothing was done: this run is under another contract than this agent. Tell the user that it does not work."
        )
        return Outcome(status="denied", done="blocked", text=text)
    if not isinstance(args, Mapping):
        return Outcome(status="denied", done="blocked", text="The arguments must be a JSON object with named values.")
    return None


def _offered_call(tool: str, args: Mapping[str, Any]) -> Offered | None:
    return next((extra for extra in OFFERED if extra.name == tool and args.get(extra.argument)), None)


def _broken(tool: str, started: _Started, error: Exception) -> Outcome:
    logger.error("the gate failed at a call of %s", tool, exc_info=error)
    kind = type(error).__name__
    if started.yes:
        text = (
            f"{tool} was called, but the gate failed before its outcome was recorded ({kind}). "
            "Do not call it again; escalate to a person."
        )
        return Outcome(status="in_doubt", done="executed", text=text)
    text = f"Nothing was done: the gate failed ({kind}). Tell the user that it does not work right now."
    return Outcome(status="denied", done="blocked", text=text)
