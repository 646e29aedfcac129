"""Tools of CrewAI whose every call passes the gate, and a tripwire for those that came some other way.

A hook refuses every tool that came to a guarded agent some other way. It is a tripwire, not the gate: CrewAI goes on
when a hook raises, and drops a hook's reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from crewai.hooks import register_before_tool_call_hook
from crewai.hooks.tool_hooks import ToolCallHookContext, get_before_tool_call_hooks
from crewai.tools import BaseTool
from crewai.tools.agent_tools.base_agent_tools import BaseAgentTool
from crewai.tools.agent_tools.deferred_tool_result_reader import DeferredToolResultReader
from crewai.tools.tool_failure import ToolFailure
from crewai.utilities.string_utils import sanitize_tool_name
from pydantic import PrivateAttr, create_model

from roadworthy.adapters.calls import OFFERED, Offered, bring, hosting, logger
from roadworthy.adapters.crewai.work import EXECUTION, IN_FLOW, Scope, work_here
from roadworthy.core.errors import HarnessError, Suspended
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import current_run

__all__ = ["GatedTool", "all_gated", "gated_list", "set_tripwire"]


class GatedTool(BaseTool):
    """A tool of a crew whose every call passes the gate."""

    _behind: Callable[[], BaseTool | None] = PrivateAttr()
    """The tool itself; None for those that Roadworthy offers. No attribute of a guarded agent leads to a bare tool."""
    _gate: Gate = PrivateAttr()
    _scope: Scope | None = PrivateAttr(default=None)
    """That of an execution; None for a tool that waits in an agent or task, or is called by itself."""

    @classmethod
    def around(cls, tool: BaseTool, gate: Gate, scope: Scope | None) -> GatedTool:
        """The tool, gated. One that is gated already gets this execution's scope."""
        gated = cls(
            name=tool.name,
            description=tool.description,
            args_schema=tool.args_schema,
            env_vars=tool.env_vars,
            cache_function=_never,
            result_as_answer=tool.result_as_answer,
            tool_failure_policy=tool.tool_failure_policy,
        )
        gated._behind = tool._behind if isinstance(tool, GatedTool) else lambda: tool
        gated._gate, gated._scope = gate, scope
        return gated

    @classmethod
    def offering(cls, extra: Offered, gate: Gate, scope: Scope) -> GatedTool:
        """One of the tools that every agent is offered."""
        fields: dict[str, Any] = {extra.argument: (str, ...)}
        schema = create_model(extra.name, **fields)
        gated = cls(name=extra.name, description=extra.description, args_schema=schema, cache_function=_never)
        gated._behind = _nothing
        gated._gate, gated._scope = gate, scope
        return gated

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Bring the call to the gate with the arguments as the model wrote them: the gate says what is wrong."""
        return self._run(*args, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        given: object = args or kwargs
        here = work_here()
        scope = self._scope or Scope(current_run(), here)
        # A call beside one that has suspended the run comes to the gate, too: driven again, nobody takes it for new.
        if isinstance(scope.work.broken, HarnessError):
            return self._ended()
        try:
            outcome = bring(
                self._gate,
                scope.find(),
                _contract_name(self._gate, self.name),
                given,
                self._carried(scope),
                agent=scope.agent,
            )
        except (HarnessError, Suspended) as error:
            if self._scope is None and here is None:
                raise  # nobody would do it later
            scope.work.broke(error)
            return self._ended()
        if scope.work.broken is not None:
            return self._ended()
        if self.result_as_answer and not outcome.ok:
            return ToolFailure(message=outcome.text)  # CrewAI takes any other result of such a tool for the answer
        return outcome.text

    def _ended(self) -> str:
        self.result_as_answer = True  # so that CrewAI asks the model nothing more
        return _ENDED

    def _carried(self, scope: Scope) -> Callable[..., Any] | None:
        tool = self._behind()
        if tool is None:
            return None

        def run_tool(**args: Any) -> Any:
            result = _delegated(tool, args, scope) if isinstance(tool, BaseAgentTool) else tool.run(**args)
            if isinstance(result, ToolFailure):
                raise _ToolFailed(result.as_agent_message())
            return result

        return run_tool


_ENDED = "This ends here for now. End your turn."
"""What the model would see when the run was suspended or the trial broke, which is raised when the agent has ended."""


class _ToolFailed(Exception):
    """The tool says that it failed; its text goes to the model."""


def _never(*_: Any) -> bool:
    return False


def _nothing() -> None:
    return None


def _contract_name(gate: Gate, name: str) -> str:
    """The name that the contract knows. CrewAI tools have names in prose, and models see them in lower case."""
    names = gate.contract.tool_names
    if name in names:
        return name
    plain = sanitize_tool_name(name)
    return next((key for known, key in names.items() if sanitize_tool_name(known) == plain), plain)


def _delegated(tool: BaseAgentTool, args: Mapping[str, Any], scope: Scope) -> Any:
    """Give work or a question to a coworker, and take back what it made of it."""
    parts = cast("Any", tool)
    asked = parts._get_coworker(args.get("coworker"), **{k: v for k, v in args.items() if k == "co_worker"})
    wanted = tool.sanitize_agent_name(str(asked or ""))
    coworker = next((one for one in tool.agents if tool.sanitize_agent_name(one.role) == wanted), None)
    run = scope.find()
    if coworker is None or run is None:
        return tool.run(**args)  # which says whom there is to ask
    text = str(args.get("task") or args.get("question") or "")
    work = run.handover(str(coworker.role).strip(), source=scope.agent, how="delegate", text=text)
    with hosting():
        result = tool.run(**args)
        scope.work.raise_broken()  # CrewAI makes a text of what the coworker's execution has raised
    run.returned(work, str(result))
    return result


def gated_list(tools: Any, gate: Gate) -> list[BaseTool]:
    """The tools that wait in an agent or a task; those that only lead to other agents stay what they are."""
    return [
        tool if isinstance(tool, BaseAgentTool | GatedTool) else GatedTool.around(tool, gate, None)
        for tool in cast("list[BaseTool]", tools or [])
    ]


def all_gated(kind: type[Any], gate: Gate) -> Callable[..., list[BaseTool]]:
    """What CrewAI calls last before it hands tools to an execution, for a task as for a talk (crewai 1.15)."""

    def _add_skill_loader_tool(self: Any, tools: list[BaseTool], task: Any = None) -> list[BaseTool]:
        scope = EXECUTION.get() or Scope(current_run(), work_here())
        given = kind._add_skill_loader_tool(self, tools, task=task)
        names = {sanitize_tool_name(tool.name) for tool in given}
        extras = [extra for extra in OFFERED if extra.name not in names]
        return [
            *(GatedTool.around(tool, gate, scope) for tool in given),
            *(GatedTool.offering(extra, gate, scope) for extra in extras),
        ]

    return _add_skill_loader_tool


def set_tripwire() -> None:
    """Have CrewAI ask the tripwire before every tool call."""
    if _tripwire not in get_before_tool_call_hooks():
        register_before_tool_call_hook(_tripwire)


def _tripwire(context: ToolCallHookContext) -> bool | None:
    """Refuse a tool that came to a guarded agent, crew or flow without a gate. Anything but False lets CrewAI go on."""
    try:
        guarded = IN_FLOW.get() or any(hasattr(type(part), "roadworthy_gate") for part in (context.agent, context.crew))
        if not guarded:
            return None
        tool = getattr(context.tool, "_original_tool", None)
        if isinstance(tool, GatedTool | DeferredToolResultReader):  # the reader shows results that the gate has passed
            return None
        logger.error("refused %s: it came to a guarded agent past the gate", context.tool_name)
    except Exception:
        logger.exception("the tripwire of a guarded crew failed")
    return False
