"""Agents in CrewAI: crews, single agents, and tools.

    crew = guard(Crew(agents=[...], tasks=[...]), gate)
    with gate.run(principal="support-bot", capability="billing_question") as run, run.bind():
        run.heard(text)
        answer = crew.kickoff(inputs={"ticket": text})
        run.say(answer.raw)

A call belongs to the bound run; the application hears and says for itself. All tools that an agent gets for a task
pass the gate, those that CrewAI adds by itself (delegation, memory, skills, MCP) included: what the contract does not
list is denied. CrewAI's own tool cache is bypassed, since it answers without asking anybody.

A hook refuses every tool that came to a guarded agent some other way. It is a tripwire, not the gate: CrewAI goes on
when a hook raises, and drops a hook's reasons.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from crewai import Agent, Crew, Process
from crewai.hooks import register_before_tool_call_hook
from crewai.hooks.tool_hooks import ToolCallHookContext, get_before_tool_call_hooks
from crewai.tools import BaseTool
from crewai.tools.agent_tools.deferred_tool_result_reader import DeferredToolResultReader
from crewai.tools.tool_failure import ToolFailure
from crewai.utilities.string_utils import sanitize_tool_name
from pydantic import PrivateAttr, create_model

from roadworthy.adapters.calls import OFFERED, Offered, bring, logger
from roadworthy.core.errors import HarnessError, UsageError
from roadworthy.core.types import Outcome
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run, current_run

__all__ = ["GatedTool", "guard"]

C = TypeVar("C")


class _Scope:
    """What the gated tools of one execution share."""

    def __init__(self, run: Run | None) -> None:
        self.run = run
        """The run that was bound when the execution began; threads of CrewAI may have lost it."""
        self.broken: HarnessError | None = None
        """What the trial must learn when the agent has ended: CrewAI turns exceptions of tools into text."""

    def find(self) -> Run | None:
        return self.run or current_run()

    def raise_broken(self) -> None:
        if self.broken is not None:
            raise self.broken


class GatedTool(BaseTool):
    """A tool of a crew whose every call passes the gate."""

    inner: BaseTool | None = None
    """The tool itself; None for those that Roadworthy offers."""
    _gate: Gate = PrivateAttr()
    _scope: _Scope = PrivateAttr()

    @classmethod
    def around(cls, tool: BaseTool, gate: Gate, scope: _Scope) -> GatedTool:
        """The tool, gated. One that is gated already gets this execution's scope."""
        inner = tool.inner if isinstance(tool, GatedTool) else tool
        gated = cls(
            name=tool.name,
            description=tool.description,
            args_schema=tool.args_schema,
            env_vars=tool.env_vars,
            cache_function=_never,
            result_as_answer=tool.result_as_answer,
            tool_failure_policy=tool.tool_failure_policy,
            inner=inner,
        )
        gated._gate, gated._scope = gate, scope
        return gated

    @classmethod
    def offering(cls, extra: Offered, gate: Gate, scope: _Scope) -> GatedTool:
        """One of the tools that every agent is offered."""
        fields: dict[str, Any] = {extra.argument: (str, ...)}
        schema = create_model(extra.name, **fields)
        gated = cls(name=extra.name, description=extra.description, args_schema=schema, cache_function=_never)
        gated._gate, gated._scope = gate, scope
        return gated

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Bring the call to the gate with the arguments as the model wrote them: the gate says what is wrong."""
        return self._run(*args, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        given: object = args or kwargs
        try:
            outcome = bring(self._gate, self._scope.find(), _contract_name(self._gate, self.name), given, self._inner())
        except HarnessError as error:
            self._scope.broken = error
            outcome = Outcome(status="failed", done="blocked", text="The trial is broken. End your turn.")
        if self.result_as_answer and not outcome.ok:
            return ToolFailure(message=outcome.text)  # CrewAI takes any other result of such a tool for the answer
        return outcome.text

    def _inner(self) -> Callable[..., Any] | None:
        tool = self.inner
        if tool is None:
            return None

        def run_tool(**args: Any) -> Any:
            result = tool.run(**args)
            if isinstance(result, ToolFailure):
                raise _ToolFailed(result.as_agent_message())
            return result

        return run_tool


class _ToolFailed(Exception):
    """The tool says that it failed; its text goes to the model."""


def _never(*_: Any) -> bool:
    return False


def _contract_name(gate: Gate, name: str) -> str:
    """The name that the contract knows. CrewAI tools have names in prose, and models see them in lower case."""
    names = gate.contract.tool_names
    if name in names:
        return name
    plain = sanitize_tool_name(name)
    return next((key for known, key in names.items() if sanitize_tool_name(known) == plain), plain)


# -- guarding ---------------------------------------------------------------------------------------------------------


def guard(thing: C, gate: Gate) -> C:
    """Put all tools of a crew, of an agent, or of a list of tools behind the gate.

    A crew or agent is changed and handed back; for tools, gated ones come back, to be used instead. Raises UsageError
    for what no gate could stand before: agents of other frameworks in a crew, and a manager that CrewAI makes itself.
    """
    if isinstance(thing, Crew):
        _guard_crew(thing, gate)
    elif isinstance(thing, Agent):
        _guard_agent(thing, gate)
    elif isinstance(thing, BaseTool):
        return cast("C", GatedTool.around(thing, gate, _Scope(None)))
    elif isinstance(thing, list | tuple):
        tools = cast("Iterable[Any]", thing)
        return cast("C", type(cast("list[Any]", thing))(guard(tool, gate) for tool in tools))
    else:
        raise UsageError(
            f"guard() takes a Crew, an Agent or tools of CrewAI, not a {type(cast('object', thing)).__name__}"
        )
    return thing


def _guard_crew(crew: Crew, gate: Gate) -> None:
    if crew.process == Process.hierarchical and crew.manager_agent is None:
        raise UsageError(
            "a hierarchical crew makes its manager when it starts, past the gate: give it a manager_agent, and list "
            "`delegate_work_to_coworker` and `ask_question_to_coworker` in the contract"
        )
    agents: list[Any] = [*crew.agents, *(task.agent for task in crew.tasks), crew.manager_agent]
    for agent in agents:
        if agent is None:
            continue
        if not isinstance(agent, Agent):
            raise UsageError(
                f"guard() cannot see what a {type(agent).__name__} does inside a crew; guard it in its own framework"
            )
        _guard_agent(agent, gate)
    crew.cache = False
    _change_class(crew, gate, {})


def _guard_agent(agent: Agent, gate: Gate) -> None:
    if _same_contract(type(agent), gate):
        return
    kind = type(agent)
    agent.cache = False
    agent.tools_handler.cache = None
    methods: dict[str, Any] = {"_add_skill_loader_tool": _all_gated(kind, gate)}
    for name in ("execute_task", "kickoff"):
        methods[name] = _ended(getattr(kind, name))
    for name in ("aexecute_task", "kickoff_async", "akickoff"):
        methods[name] = _aended(getattr(kind, name))
    _change_class(agent, gate, methods)
    _set_tripwire()


def _all_gated(kind: type[Any], gate: Gate) -> Callable[..., list[BaseTool]]:
    """What CrewAI calls last before it hands tools to an execution, for a task as for a talk (crewai 1.15)."""

    def _add_skill_loader_tool(self: Any, tools: list[BaseTool], task: Any = None) -> list[BaseTool]:
        scope = _EXECUTION.get() or _Scope(current_run())
        given = kind._add_skill_loader_tool(self, tools, task=task)
        names = {sanitize_tool_name(tool.name) for tool in given}
        extras = [extra for extra in OFFERED if extra.name not in names]
        return [
            *(GatedTool.around(tool, gate, scope) for tool in given),
            *(GatedTool.offering(extra, gate, scope) for extra in extras),
        ]

    return _add_skill_loader_tool


_EXECUTION: ContextVar[_Scope | None] = ContextVar("roadworthy_crewai_execution", default=None)
"""The scope of the execution that begins now, until its tools have it."""


def _ended(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def ended(self: Any, *args: Any, **kwargs: Any) -> Any:
        scope = _Scope(current_run())
        token = _EXECUTION.set(scope)
        try:
            result = method(self, *args, **kwargs)
        finally:
            _EXECUTION.reset(token)
        scope.raise_broken()
        return result

    return ended


def _aended(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def ended(self: Any, *args: Any, **kwargs: Any) -> Any:
        scope = _Scope(current_run())
        token = _EXECUTION.set(scope)
        try:
            result = await method(self, *args, **kwargs)
        finally:
            _EXECUTION.reset(token)
        scope.raise_broken()
        return result

    return ended


def _same_contract(kind: type[Any], gate: Gate) -> bool:
    """Whether a class is guarded already. Raises UsageError when that is for another contract."""
    known = getattr(kind, "roadworthy_gate", None)
    if known is not None and known.contract.digest != gate.contract.digest:
        raise UsageError("this is guarded by a gate of another contract already; build it again for this one")
    return known is not None


def _change_class(thing: Any, gate: Gate, methods: dict[str, Any]) -> None:
    """Give an object a subclass of its own class: it stays what it was, its copies are guarded, no twin is left."""
    kind: Any = cast("Any", type(thing))
    if _same_contract(kind, gate):
        return
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    guarded: Any = type(kind)(kind.__name__, (kind,), {**methods, **names})
    type.__setattr__(guarded, "roadworthy_gate", gate)
    object.__setattr__(thing, "__class__", guarded)


def _set_tripwire() -> None:
    if _tripwire not in get_before_tool_call_hooks():
        register_before_tool_call_hook(_tripwire)


def _tripwire(context: ToolCallHookContext) -> bool | None:
    """Refuse a tool that came to a guarded agent or crew without a gate. Anything but False lets CrewAI go on."""
    try:
        guarded = any(hasattr(type(part), "roadworthy_gate") for part in (context.agent, context.crew))
        if not guarded:
            return None
        tool = getattr(context.tool, "_original_tool", None)
        if isinstance(tool, GatedTool | DeferredToolResultReader):  # the reader shows results that the gate has passed
            return None
        logger.error("refused %s: it came to a guarded agent past the gate", context.tool_name)
    except Exception:
        logger.exception("the tripwire of a guarded crew failed")
    return False
