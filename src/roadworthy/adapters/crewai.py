"""Agents in CrewAI: crews, single agents, and tools.

    crew = guard(Crew(agents=[...], tasks=[...]), gate)
    with gate.run(principal="support-bot", capability="billing_question") as run, run.bind():
        run.heard(text)
        answer = crew.kickoff(inputs={"ticket": text})
        run.say(answer.raw)

A call belongs to the bound run; the application hears and says for itself. All tools that an agent gets for a task
pass the gate, those that CrewAI adds by itself (delegation, memory, skills, MCP) included: what the contract does not
list is denied. CrewAI's own tool cache is bypassed, since it answers without asking anybody.

The reply is what the last task, or a talk, comes to. It is judged before it comes out: one that the contract holds back
goes back to the agent in the same conversation, at most twice, and then what comes out says that a person will look at
it. Where the contract says anything of replies, a crew that streams hands its reply out whole, once it was judged; step
and task callbacks see what was held back, too. What one agent hands on to another vouches for nothing.

A hook refuses every tool that came to a guarded agent some other way. It is a tripwire, not the gate: CrewAI goes on
when a hook raises, and drops a hook's reasons.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from crewai import Agent, Crew, Process
from crewai.hooks import register_before_tool_call_hook
from crewai.hooks.tool_hooks import ToolCallHookContext, get_before_tool_call_hooks
from crewai.tools import BaseTool
from crewai.tools.agent_tools.deferred_tool_result_reader import DeferredToolResultReader
from crewai.tools.tool_failure import ToolFailure
from crewai.types.streaming import CrewStreamingOutput, StreamChunk, StreamChunkType
from crewai.utilities.agent_utils import _llm_stop_words_applied  # pyright: ignore[reportPrivateUsage]  # as it does
from crewai.utilities.string_utils import sanitize_tool_name
from pydantic import BaseModel, PrivateAttr, create_model

from roadworthy.adapters.calls import OFFERED, Offered, bring, inside_tool, logger, refuse_hosted
from roadworthy.adapters.replies import Reply, asettle_reply, holds_replies, news_of, settle_last, settle_reply
from roadworthy.core.errors import HarnessError, Suspended, UsageError
from roadworthy.core.types import Outcome
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run, current_run

__all__ = ["GatedTool", "guard"]

C = TypeVar("C")


class _Scope:
    """What the gated tools of one execution share."""

    def __init__(self, run: Run | None, *, replies: bool = False) -> None:
        self.run = run
        """The run that was bound when the execution began; threads of CrewAI may have lost it."""
        self.replies = replies
        """What comes of it is a reply to the user, and is held back until it was judged."""
        self.broken: HarnessError | Suspended | None = None
        """What must be raised when the agent has ended: CrewAI turns exceptions of tools into text."""

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
        if self._scope.broken is not None:
            return _ENDED
        try:
            outcome = bring(self._gate, self._scope.find(), _contract_name(self._gate, self.name), given, self._inner())
        except (HarnessError, Suspended) as error:
            self._scope.broken = error
            outcome = Outcome(status="failed", done="blocked", text=_ENDED)
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


_ENDED = "This ends here for now. End your turn."
"""What the model sees when the run was suspended or the trial broke, which is raised when the agent has ended."""


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
    refuse_hosted(gate.contract, _hosted(crew.manager_llm))
    _change_class(crew, gate, _crew_methods(type(crew), gate))


def _guard_agent(agent: Agent, gate: Gate) -> None:
    if _same_contract(type(agent), gate):
        return
    kind = cast("Any", type(agent))
    refuse_hosted(gate.contract, _hosted(agent.llm))
    agent.cache = False
    agent.tools_handler.cache = None
    methods: dict[str, Any] = {
        "_add_skill_loader_tool": _all_gated(kind, gate),
        "execute_task": _task_ended(kind.execute_task),
        "aexecute_task": _atask_ended(kind.aexecute_task),
        "kickoff": _talk_ended(kind.kickoff),
        "kickoff_async": _atalk_ended(kind.kickoff_async),
        "akickoff": _atalk_ended(kind.akickoff),
        "_execute_without_timeout": _judged(kind._execute_without_timeout),
        "_aexecute_without_timeout": _ajudged(kind._aexecute_without_timeout),
        "_execute_and_build_output": _judged_talk(kind._execute_and_build_output),
        "_execute_and_build_output_async": _ajudged_talk(kind._execute_and_build_output_async),
    }
    _change_class(agent, gate, methods)
    _set_tripwire()


def _hosted(llm: Any) -> list[Any]:
    """What a model is offered by its own settings, as far as it can be seen."""
    more: Any = getattr(llm, "additional_params", None)
    given = cast("Mapping[str, Any]", more if isinstance(more, Mapping) else {})
    options = ["web_search"] if given.get("web_search_options") is not None else []
    return [*(getattr(llm, "builtin_tools", None) or ()), *(given.get("tools") or ()), *options]


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


# -- what an execution begins with, and what comes of it --------------------------------------------------------------


def _near_user() -> Run | None:
    """The bound run, where what comes out goes to its user, and not to the model that called a tool."""
    return None if inside_tool() else current_run()


def _holding(thing: Any) -> bool:
    return holds_replies(cast("Any", type(thing)).roadworthy_gate)


def _is_last(agent: Any, task: Any) -> bool:
    """Whether a task's output is what a crew comes to."""
    crew = agent.crew
    return not isinstance(crew, Crew) or not crew.tasks or crew.tasks[-1] is task


def _with_news(given: Any, told: str | None) -> Any:
    if told is None:
        return given
    if isinstance(given, list):
        return [{"role": "user", "content": told}, *cast("list[Any]", given)]
    return f"{told}\n\n{given}" if given else told


def _task_ended(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def ended(self: Any, task: Any, context: str | None = None, tools: Any = None) -> Any:
        run, near = current_run(), _near_user()
        if run is not None and context:
            run.read(context, trust="agent", source="other tasks")
        scope = _Scope(run, replies=near is not None and _holding(self) and _is_last(self, task))
        token = _EXECUTION.set(scope)
        try:
            result = method(self, task, _with_news(context, news_of(near) if near is not None else None), tools)
        finally:
            _EXECUTION.reset(token)
        scope.raise_broken()
        return result

    return ended


def _atask_ended(method: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def ended(self: Any, task: Any, context: str | None = None, tools: Any = None) -> Any:
        run, near = current_run(), _near_user()
        if run is not None and context:
            await asyncio.to_thread(run.read, context, trust="agent", source="other tasks")
        told = await asyncio.to_thread(news_of, near) if near is not None else None
        scope = _Scope(run, replies=near is not None and _holding(self) and _is_last(self, task))
        token = _EXECUTION.set(scope)
        try:
            result = await method(self, task, _with_news(context, told), tools)
        finally:
            _EXECUTION.reset(token)
        scope.raise_broken()
        return result

    return ended


def _talk_ended(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def ended(self: Any, messages: Any, *args: Any, **kwargs: Any) -> Any:
        near = _near_user()
        scope = _Scope(current_run(), replies=near is not None and _holding(self))
        token = _EXECUTION.set(scope)
        try:
            given = _with_news(messages, news_of(near) if near is not None else None)
            result = method(self, given, *args, **kwargs)
        finally:
            _EXECUTION.reset(token)
        if inspect.isawaitable(result):  # inside an event loop CrewAI goes on with its async twin
            return result
        scope.raise_broken()
        return _last_look(near if scope.replies else None, result)

    return ended


def _atalk_ended(method: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def ended(self: Any, messages: Any, *args: Any, **kwargs: Any) -> Any:
        near = _near_user()
        scope = _Scope(current_run(), replies=near is not None and _holding(self))
        token = _EXECUTION.set(scope)
        try:
            told = await asyncio.to_thread(news_of, near) if near is not None else None
            result = await method(self, _with_news(messages, told), *args, **kwargs)
        finally:
            _EXECUTION.reset(token)
        scope.raise_broken()
        return _last_look(near if scope.replies else None, result)

    return ended


def _last_look(run: Run | None, result: Any) -> Any:
    """A guardrail or a callback of the crew may have changed a reply after it was judged: then nobody tries again."""
    if run is None:
        return result
    told = settle_last(run, str(result.raw), deliver=False).text
    if told != result.raw:
        for output in (result, *getattr(result, "tasks_output", ())[-1:]):
            output.raw = told
            output.pydantic = None
            if hasattr(output, "json_dict"):
                output.json_dict = None
    return result


# -- a reply that is held back goes back to the agent -----------------------------------------------------------------


def _text(output: Any) -> str:
    return output.model_dump_json() if isinstance(output, BaseModel) else str(output)


def _replying() -> Run | None:
    """The run to whose user the execution speaks, where its replies are held back. What broke has no reply."""
    scope = _EXECUTION.get()
    return scope.run if scope is not None and scope.replies and scope.broken is None else None


def _told(output: Any, reply: Reply) -> Any:
    return output if reply.text == _text(output) else reply.text


def _judged(method: Callable[..., Any]) -> Callable[..., Any]:
    """A task's answer, judged. The agent goes on where it was, as it does after a person's feedback."""

    @functools.wraps(method)
    def judged(self: Any, task_prompt: str, task: Any) -> Any:
        output = method(self, task_prompt=task_prompt, task=task)
        while (run := _replying()) is not None:
            reply = settle_reply(run, _text(output), deliver=False)
            if reply.back is None:
                return _told(output, reply)
            output = _go_on(self.agent_executor, reply.back)
        return output

    return judged


def _ajudged(method: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def judged(self: Any, task_prompt: str, task: Any) -> Any:
        output = await method(self, task_prompt=task_prompt, task=task)
        while (run := _replying()) is not None:
            reply = await asettle_reply(run, _text(output), deliver=False)
            if reply.back is None:
                return _told(output, reply)
            output = await _ago_on(self.agent_executor, reply.back)
        return output

    return judged


def _judged_talk(method: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a talk with one agent."""

    @functools.wraps(method)
    def judged(self: Any, executor: Any, inputs: Any, response_format: Any = None, usage_baseline: Any = None) -> Any:
        output = method(self, executor, inputs, response_format, usage_baseline)
        while (run := _replying()) is not None:
            reply = settle_reply(run, output.raw, deliver=False)
            if reply.back is None:
                return _with_words(output, reply)
            result = {"output": _go_on(executor, reply.back)}
            failures = output.tool_failures
            output = self._build_output_from_result(result, executor, response_format, usage_baseline, failures)
        return output

    return judged


def _ajudged_talk(method: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def judged(
        self: Any, executor: Any, inputs: Any, response_format: Any = None, usage_baseline: Any = None
    ) -> Any:
        output = await method(self, executor, inputs, response_format, usage_baseline)
        while (run := _replying()) is not None:
            reply = await asettle_reply(run, output.raw, deliver=False)
            if reply.back is None:
                return _with_words(output, reply)
            result = {"output": await _ago_on(executor, reply.back)}
            failures = output.tool_failures
            output = self._build_output_from_result(result, executor, response_format, usage_baseline, failures)
        return output

    return judged


def _with_words(output: Any, reply: Reply) -> Any:
    if reply.text != output.raw:
        output.raw, output.pydantic = reply.text, None
    return output


def _go_on(executor: Any, back: str) -> Any:
    executor._append_message_to_state(back, role="user")
    with _llm_stop_words_applied(executor.llm, executor):
        answer = executor._invoke_loop()
    executor._complete_feedback(answer)
    return answer.output


async def _ago_on(executor: Any, back: str) -> Any:
    executor._append_message_to_state(back, role="user")
    with _llm_stop_words_applied(executor.llm, executor):
        answer = await executor._ainvoke_loop()
    executor._complete_feedback(answer)
    return answer.output


# -- crews ------------------------------------------------------------------------------------------------------------

_STREAMED: ContextVar[list[str] | None] = ContextVar("roadworthy_crewai_streamed", default=None)
"""Where a crew that streams puts its reply, once it was judged."""


class _JudgedChunk(StreamChunk):
    """A reply that was judged."""


def _crew_methods(kind: Any, gate: Gate) -> dict[str, Any]:
    def _post_kickoff(self: Any, result: Any) -> Any:
        result = _last_look(_near_user() if holds_replies(gate) else None, kind._post_kickoff(self, result))
        streamed = _STREAMED.get()
        if streamed is not None:
            streamed.append(str(result.raw))
        return result

    methods: dict[str, Any] = {"_post_kickoff": _post_kickoff, "kickoff": _streaming(kind.kickoff, gate)}
    for name in ("kickoff_async", "akickoff", "kickoff_for_each_async", "akickoff_for_each"):
        methods[name] = _astreaming(getattr(kind, name), gate)
    return methods


def _streaming(method: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    @functools.wraps(method)
    def kickoff(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _screened(method(self, *args, **kwargs), gate)

    return kickoff


def _astreaming(method: Callable[..., Awaitable[Any]], gate: Gate) -> Callable[..., Any]:
    @functools.wraps(method)
    async def kickoff(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _screened(await method(self, *args, **kwargs), gate)

    return kickoff


def _screened(result: Any, gate: Gate) -> Any:
    """A crew that streams begins when its stream is read; it belongs to the run that was bound when it was started."""
    if isinstance(result, CrewStreamingOutput):
        run = current_run()
        holds = holds_replies(gate) and _near_user() is not None
        parts = cast("Any", result)
        if parts._sync_iterator is not None:
            parts._sync_iterator = _chunks(parts._sync_iterator, run, holds=holds)
        if parts._async_iterator is not None:
            parts._async_iterator = _achunks(parts._async_iterator, run, holds=holds)
    return result


class _Chunks:
    """Holds words back while a crew streams; at the end there is its reply."""

    def __init__(self) -> None:
        self.replies: list[str] = []
        self._last: StreamChunk | None = None

    def passes(self, chunk: Any) -> bool:
        if isinstance(chunk, _JudgedChunk) or chunk.chunk_type != StreamChunkType.TEXT:
            return True
        self._last = chunk
        return False

    def end(self) -> list[_JudgedChunk]:
        like: dict[str, Any] = self._last.model_dump() if self._last is not None else {}
        return [_JudgedChunk.model_validate({**like, "content": reply}) for reply in self.replies]


def _chunks(items: Iterator[Any], run: Run | None, *, holds: bool) -> Iterator[Any]:
    chunks = _Chunks()
    try:
        while True:
            token = _STREAMED.set(chunks.replies if holds else None)
            try:
                with run.bind() if run is not None else nullcontext():
                    chunk = next(items, None)  # the first of these starts the crew
            finally:
                _STREAMED.reset(token)
            if chunk is None:
                break
            if not holds or chunks.passes(chunk):
                yield chunk
    finally:
        cast("Any", items).close()
    yield from chunks.end() if holds else ()


async def _achunks(items: AsyncIterator[Any], run: Run | None, *, holds: bool) -> AsyncIterator[Any]:
    chunks = _Chunks()
    try:
        while True:
            token = _STREAMED.set(chunks.replies if holds else None)
            try:
                with run.bind() if run is not None else nullcontext():
                    chunk = await anext(items, None)
            finally:
                _STREAMED.reset(token)
            if chunk is None:
                break
            if not holds or chunks.passes(chunk):
                yield chunk
    finally:
        await cast("Any", items).aclose()
    for chunk in chunks.end() if holds else ():
        yield chunk


# -- classes and the tripwire -----------------------------------------------------------------------------------------


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
