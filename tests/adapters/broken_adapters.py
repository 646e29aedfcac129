"""Adapters that do not do what every adapter must, each in its own way."""

from __future__ import annotations

import asyncio
import inspect
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from plain_adapters import Dispatching, Loop, run_of_talk

from roadworthy.adapters.conformance import Adapter
from roadworthy.adapters.conformance.script import Message, Respond
from roadworthy.adapters.plain import adispatch, tool_schemas
from roadworthy.core.errors import HarnessError, Suspended
from roadworthy.examples.scripted.messages import answer
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run
from roadworthy.gate.values import as_text


class Ungated(Adapter):
    """No gate at all."""

    def build(self, gate: Gate, functions: Mapping[str, Callable[..., Any]], respond: Respond) -> Loop:
        return Loop(gate, respond, lambda: functions)

    async def atalk(self, agent: Loop, text: str) -> str:
        messages: list[Message] = [{"role": "user", "content": text}]
        while True:
            said = agent.said(messages)
            if not said.get("tool_calls"):
                return str(said["content"])
            for call in said["tool_calls"]:
                name = call["function"]["name"]
                function = agent.functions().get(name, _no_such_tool)
                try:
                    found = function(**_guessed(call["function"]["arguments"]))
                    told = as_text(await found if hasattr(found, "__await__") else found)
                except Exception as error:  # whatever it is, the model gets it
                    told = repr(error)
                messages.append({"role": "tool", "tool_call_id": call["id"], "name": name, "content": told})

    async def adrive(self, agent: Loop, run: Run, start: str | None) -> str | Suspended:
        with run.bind():
            return await self.atalk(agent, start or "please")

    def reach(self, agent: Loop) -> Iterable[tuple[str, Callable[[Mapping[str, Any]], Any]]]:
        def calling(function: Callable[..., Any]) -> Callable[[Mapping[str, Any]], Any]:
            return lambda args: function(**args)

        return [(name, calling(function)) for name, function in agent.functions().items()]


def _no_such_tool(**_: Any) -> str:
    return "no such tool"


def _guessed(arguments: str) -> dict[str, Any]:
    """What the model may have meant."""
    if not arguments.startswith("{") or not arguments.endswith("}"):
        return {"order_no": "7", "amount": 20}
    return json.loads(arguments)


class Mute(Dispatching):
    """The gate decides, and the model is told nothing of it; nor is the user."""

    async def atalk(self, agent: Loop, text: str) -> str:
        run, messages = run_of_talk(), list[Message]([{"role": "user", "content": text}])
        while True:
            said = answer(agent.respond, messages, tool_schemas(agent.gate.contract))
            messages.append(said)
            if not said.get("tool_calls"):
                return ""
            for call in said["tool_calls"]:
                told = await adispatch(run, call, agent.functions())
                messages.append({**told, "content": "done"})

    def talk(self, agent: Loop, text: str) -> str:
        return asyncio.run(self.atalk(agent, text))

    def reach(self, agent: Loop) -> Iterable[tuple[str, Callable[[Mapping[str, Any]], Any]]]:
        return []


class Swallowing(Dispatching):
    """What ends a run is taken for an answer."""

    def talk(self, agent: Loop, text: str) -> str:
        try:
            return super().talk(agent, text)
        except (Suspended, HarnessError) as error:
            return str(error)

    async def atalk(self, agent: Loop, text: str) -> str:
        try:
            return await super().atalk(agent, text)
        except (Suspended, HarnessError) as error:
            return str(error)


class Twice(Dispatching):
    """Each tool is called once more, for good measure."""

    def build(self, gate: Gate, functions: Mapping[str, Callable[..., Any]], respond: Respond) -> Loop:
        def twice(function: Callable[..., Any]) -> Callable[..., Any]:
            if inspect.iscoroutinefunction(function):

                async def acalled(**args: Any) -> Any:
                    await function(**args)
                    return await function(**args)

                return acalled

            def called(**args: Any) -> Any:
                function(**args)
                return function(**args)

            return called

        return super().build(gate, {name: twice(function) for name, function in functions.items()}, respond)


class Leaving(Dispatching):
    """A task goes on when the agent has ended."""

    async def atalk(self, agent: Loop, text: str) -> str:
        asyncio.get_running_loop().create_task(asyncio.Event().wait(), name="left behind")
        return await super().atalk(agent, text)


class Wandering(Dispatching):
    """Driven again, it starts with other words, and never minds which."""

    def drive(self, agent: Loop, run: Run, start: str | None) -> str | Suspended:
        with run.bind():
            try:
                return self.talk(agent, f"please ({uuid.uuid4()})")
            except Suspended as waits:
                return waits

    async def adrive(self, agent: Loop, run: Run, start: str | None) -> str | Suspended:
        with run.bind():
            try:
                return await self.atalk(agent, f"please ({uuid.uuid4()})")
            except Suspended as waits:
                return waits


class Hanging(Adapter):
    """It never ends."""

    timeout_s = 0.05

    def build(self, gate: Gate, functions: Mapping[str, Callable[..., Any]], respond: Respond) -> Loop:
        return Loop(gate, respond, lambda: functions)

    async def atalk(self, agent: Loop, text: str) -> str:
        await asyncio.Event().wait()
        return ""


class Crashing(Adapter):
    """Its process dies before it has done its part."""

    def build(self, gate: Gate, functions: Mapping[str, Callable[..., Any]], respond: Respond) -> Loop:
        raise MemoryError("of a process that dies")
