"""Agents in plain Python, as the conformance suite wants them: a loop over `dispatch`, and one over gated functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from roadworthy.adapters.conformance import Adapter
from roadworthy.adapters.conformance.script import Message, Respond
from roadworthy.adapters.plain import (
    adispatch,
    adrive,
    areply,
    back,
    dispatch,
    drive,
    guard,
    news,
    reply,
    tool_schemas,
)
from roadworthy.core.errors import Suspended
from roadworthy.examples.scripted.messages import answer
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run, current_run
from roadworthy.gate.values import as_text

Call = dict[str, Any]


def run_of_talk() -> Run:
    run = current_run()
    if run is None:
        raise LookupError("this loop is handed its run")
    return run


@dataclass
class Loop:
    """An agent that is a loop over a chat model."""

    gate: Gate
    respond: Respond
    functions: Callable[[], Mapping[str, Callable[..., Any]]]
    """Raw functions are kept where nobody gets at them by mistake."""

    def messages(self, run: Run | None, text: str) -> list[Message]:
        return [*(news(run) if run is not None else []), {"role": "user", "content": text}]

    def said(self, messages: list[Message]) -> Message:
        said = answer(self.respond, messages, tool_schemas(self.gate.contract))
        messages.append(said)
        return said


class Dispatching(Adapter):
    """Calls are handed to `dispatch` with their run."""

    finds_runs = False

    def build(self, gate: Gate, functions: Mapping[str, Callable[..., Any]], respond: Respond) -> Loop:
        return Loop(gate, respond, lambda: functions)

    def talk(self, agent: Loop, text: str) -> str:
        run = run_of_talk()
        messages = agent.messages(run, text)
        while True:
            said = agent.said(messages)
            if said.get("tool_calls"):
                messages += [dispatch(run, call, agent.functions()) for call in said["tool_calls"]]
            elif (told := reply(run, said["content"], deliver=False)).back is None:
                return told.text
            else:
                messages.append(back(told))

    async def atalk(self, agent: Loop, text: str) -> str:
        run = run_of_talk()
        messages = agent.messages(run, text)
        while True:
            said = agent.said(messages)
            if said.get("tool_calls"):
                messages += [await adispatch(run, call, agent.functions()) for call in said["tool_calls"]]
            elif (told := await areply(run, said["content"], deliver=False)).back is None:
                return told.text
            else:
                messages.append(back(told))

    def drive(self, agent: Loop, run: Run, start: str | None) -> str | Suspended:
        return drive(lambda run, start: self.talk(agent, start), run, start)

    async def adrive(self, agent: Loop, run: Run, start: str | None) -> str | Suspended:
        return await adrive(lambda run, start: self.atalk(agent, start), run, start)

    def reach(self, agent: Loop) -> Iterable[tuple[str, Callable[[Mapping[str, Any]], Any]]]:
        def calling(name: str) -> Callable[[Mapping[str, Any]], Any]:
            def call(args: Mapping[str, Any]) -> Any:
                given = {"id": "by hand", "function": {"name": name, "arguments": json.dumps(args)}}
                return adispatch(run_of_talk(), given, agent.functions())

            return call

        return [(name, calling(name)) for name in agent.functions()]


class Gated(Adapter):
    """Functions are gated once, and called like any others."""

    def build(self, gate: Gate, functions: Mapping[str, Callable[..., Any]], respond: Respond) -> Loop:
        guarded = guard(functions, gate)
        return Loop(gate, respond, lambda: guarded)

    async def atalk(self, agent: Loop, text: str) -> str:
        run = current_run()
        messages = agent.messages(run, text)
        while True:
            said = agent.said(messages)
            for call in said.get("tool_calls", ()):
                messages.append(await self._result(agent, run, call))
            if said.get("tool_calls"):
                continue
            if run is None:
                return said["content"]
            told = await areply(run, said["content"], deliver=False)
            if told.back is None:
                return told.text
            messages.append(back(told))

    async def _result(self, agent: Loop, run: Run | None, call: Call) -> Message:
        name, given = call["function"]["name"], call["function"]["arguments"]
        try:
            args = json.loads(given)
        except ValueError:
            args = given
        if name not in agent.functions() or not isinstance(args, dict):
            return await adispatch(run_of_talk(), call)
        found = agent.functions()[name](**args)
        text = as_text(await found if hasattr(found, "__await__") else found)
        return {"role": "tool", "tool_call_id": call["id"], "name": name, "content": text}

    async def adrive(self, agent: Loop, run: Run, start: str | None) -> str | Suspended:
        return await adrive(lambda run, start: self.atalk(agent, start), run, start)

    def reach(self, agent: Loop) -> Iterable[tuple[str, Callable[[Mapping[str, Any]], Any]]]:
        def calling(function: Callable[..., Any]) -> Callable[[Mapping[str, Any]], Any]:
            return lambda args: function(**args)

        return [(name, calling(function)) for name, function in agent.functions().items()]
