"""What a guarded agent of CrewAI does with a task or in a talk: whose run it is, who has the word, what comes out."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

from crewai import Crew
from crewai.utilities.agent_utils import _llm_stop_words_applied  # pyright: ignore[reportPrivateUsage]  # as it does
from pydantic import BaseModel

from roadworthy.adapters.calls import inside_tool
from roadworthy.adapters.crewai.work import EXECUTION, Scope, give_turn, label_of, near_user, working
from roadworthy.adapters.replies import Reply, asettle_reply, holds_replies, news_of, settle_last, settle_reply
from roadworthy.gate.run import Run, current_run

# -- what an execution begins with, and what comes of it --------------------------------------------------------------


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


@contextmanager
def _execution(agent: Any, *, last: bool) -> Generator[tuple[Scope, Run | None]]:
    """One execution of an agent: its scope, and the run to whose user it speaks."""
    near = near_user()
    with working() as work, work.going():
        replies = near is not None and _holding(agent) and last
        scope = Scope(current_run(), work, agent=label_of(agent), replies=replies)
        token = EXECUTION.set(scope)
        try:
            yield scope, near
        except Exception:
            work.raise_broken()  # CrewAI may have made an error of its own of it
            raise
        finally:
            EXECUTION.reset(token)
        work.raise_broken()


def task_ended(method: Callable[..., Any]) -> Callable[..., Any]:
    """`execute_task` of a guarded agent."""

    @functools.wraps(method)
    def ended(self: Any, task: Any, context: str | None = None, tools: Any = None) -> Any:
        with _execution(self, last=_is_last(self, task)) as (scope, near):
            run = scope.run
            turn = give_turn(run, scope.work, self, task)
            if turn is not None:
                turn[0].handover(turn[1], source=turn[2], how="turn")
            if run is not None and context:
                run.read(context, trust="agent", source="other tasks")
            return method(self, task, _with_news(context, news_of(near) if near is not None else None), tools)

    return ended


def atask_ended(method: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """`aexecute_task` of a guarded agent."""

    @functools.wraps(method)
    async def ended(self: Any, task: Any, context: str | None = None, tools: Any = None) -> Any:
        with _execution(self, last=_is_last(self, task)) as (scope, near):
            run = scope.run
            turn = give_turn(run, scope.work, self, task)
            if turn is not None:
                await turn[0].ahandover(turn[1], source=turn[2], how="turn")
            if run is not None and context:
                await asyncio.to_thread(run.read, context, trust="agent", source="other tasks")
            told = await asyncio.to_thread(news_of, near) if near is not None else None
            return await method(self, task, _with_news(context, told), tools)

    return ended


def with_memory(method: Callable[..., str]) -> Callable[..., str]:
    """`_retrieve_memory_context` of a guarded agent: what comes from its memory vouches for nothing."""

    @functools.wraps(method)
    def remembered(self: Any, task: Any, task_prompt: str) -> str:
        found = method(self, task, task_prompt)
        run = current_run()
        if run is not None and found != task_prompt:
            run.read(found.removeprefix(task_prompt), source="memory")
        return found

    return remembered


def _given_word(scope: Scope, outer: Scope | None) -> str | None:
    """A talk with one of several agents. Inside a tool it is a piece of work; its id, so that it can come back."""
    if scope.run is None or scope.agent is None:
        return None
    if inside_tool():
        return scope.run.handover(scope.agent, source=outer.agent if outer is not None else None, how="delegate")
    if scope.agent not in scope.work.turned:
        scope.work.turned.add(scope.agent)
        scope.run.handover(scope.agent, how="turn")
    return None


def talk_ended(method: Callable[..., Any]) -> Callable[..., Any]:
    """`kickoff` of a guarded agent."""

    @functools.wraps(method)
    def ended(self: Any, messages: Any, *args: Any, **kwargs: Any) -> Any:
        outer = EXECUTION.get()
        with _execution(self, last=True) as (scope, near):
            work = _given_word(scope, outer)
            given = _with_news(messages, news_of(near) if near is not None else None)
            result = method(self, given, *args, **kwargs)
            if inspect.isawaitable(result):  # inside an event loop CrewAI goes on with its async twin
                return result
            scope.work.raise_broken()
            if work is not None and scope.run is not None:
                scope.run.returned(work, str(result.raw))
            return last_look(near if scope.replies else None, result)

    return ended


def atalk_ended(method: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """`akickoff` and `kickoff_async` of a guarded agent."""

    @functools.wraps(method)
    async def ended(self: Any, messages: Any, *args: Any, **kwargs: Any) -> Any:
        outer = EXECUTION.get()
        with _execution(self, last=True) as (scope, near):
            work = await asyncio.to_thread(_given_word, scope, outer)
            told = await asyncio.to_thread(news_of, near) if near is not None else None
            result = await method(self, _with_news(messages, told), *args, **kwargs)
            scope.work.raise_broken()
            if work is not None and scope.run is not None:
                await scope.run.areturned(work, str(result.raw))
            return last_look(near if scope.replies else None, result)

    return ended


def last_look(run: Run | None, result: Any) -> Any:
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
    scope = EXECUTION.get()
    return scope.run if scope is not None and scope.replies and scope.work.broken is None else None


def _told(output: Any, reply: Reply) -> Any:
    return output if reply.text == _text(output) else reply.text


def judged(method: Callable[..., Any]) -> Callable[..., Any]:
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


def ajudged(method: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
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


def judged_talk(method: Callable[..., Any]) -> Callable[..., Any]:
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


def ajudged_talk(method: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
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
