"""Agents of Pydantic AI.

    agent = guard(Agent(model, tools=[...]), gate)
    with gate.run(principal="support-bot", capability="billing_question") as run, run.bind():
        run.heard(text)
        result = await agent.run(text)
        run.say(result.output)

A call belongs to the run that was bound when the agent began to run; the application hears and says for itself. All
tools that a run of the agent has pass the gate, with the arguments as the model wrote them: those of toolsets, of MCP
servers, and of capabilities that are only given to a run. Output functions and tools that are carried out elsewhere
would run past the gate, and are refused.

What the agent comes to is its reply, be it words or an output of a type. It is judged before it comes out: one that the
contract holds back goes back to the model, at most twice, and then what comes out says that a person will look at it.
Where the contract says anything of replies, a stream hands the reply out whole, once it was judged.

Pydantic AI ends a run with any exception of a tool, and cancels the calls beside it in flight, so a call that is
guarded here always ends in a result.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from pydantic import BaseModel
from pydantic_core import SchemaValidator, core_schema

from roadworthy.adapters import driving
from roadworthy.adapters.armed import armed, carried
from roadworthy.adapters.calls import OFFERED, abring, inside_tool, refuse_hosted
from roadworthy.adapters.company import asking, working
from roadworthy.adapters.reach import reached
from roadworthy.adapters.replies import allowed_by, asettle_reply, holds_replies, news_of
from roadworthy.core.errors import HarnessError, Suspended, UsageError
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run, current_run

try:
    from pydantic_ai import Agent, RunContext, ToolReturn
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.exceptions import UnexpectedModelBehavior
    from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, ToolCallPart, UserPromptPart
    from pydantic_ai.models import CompletedStreamedResponse, Model
    from pydantic_ai.models.wrapper import WrapperModel
    from pydantic_ai.tools import ToolDefinition
    from pydantic_ai.toolsets import AbstractToolset, FunctionToolset, ToolsetTool, WrapperToolset
except ImportError as error:
    raise UsageError(
        "Pydantic AI is not installed, or older than the oldest that is known here: "
        "`pip install 'roadworthy[pydantic-ai]'` brings it along"
    ) from error

__all__ = ["adrive", "drive", "guard"]

A = TypeVar("A")

_ENDED = "This ends here for now. End your turn."
"""What the model would see when the run was suspended or the trial broke, which is raised instead of asking it."""
_AS_WRITTEN = SchemaValidator(core_schema.dict_schema(core_schema.str_schema(), core_schema.any_schema()))
"""Any JSON object: the gate reads the arguments, and says what is wrong with them."""


class _Turn:
    """What one run of an agent knows beside Pydantic AI."""

    def __init__(self, agent: str | None) -> None:
        self.agent = agent
        """The agent's name, where it has one that tells it from others."""
        self.run = current_run()
        self.near = None if inside_tool() else self.run
        """The run, where what comes out goes to its user, and not to the model that called a tool."""
        self.news: Any = None
        """What the model was told of held actions at the beginning."""
        self.news_at: int | None = None
        """Before which of the messages the news stand; None: nobody has looked yet."""
        self.broken: HarnessError | Suspended | None = None
        """What must be raised instead of going on: an exception of a tool would cancel the calls beside it."""

    def raise_broken(self) -> None:
        if self.broken is not None:
            broken, self.broken = self.broken, None
            raise broken


# -- guarding ---------------------------------------------------------------------------------------------------------


def guard(agent: A, gate: Gate) -> A:
    """Put all tools of an agent behind the gate, and those of agents that its tools ask, and judge what it says.

    The agent is changed and handed back. Raises UsageError for kinds of agents that are not known here, and for tools
    at the model's provider that the contract does not accept. Those that only a run brings are refused when it begins.
    """
    if not isinstance(agent, Agent):
        raise UsageError(
            f"guard() cannot see what a {type(agent).__name__} does; it takes agents of the class Agent, before they "
            "are wrapped"
        )
    guarded: Any = cast("Any", agent)
    kind = cast("Any", type(guarded))
    known: Gate | None = getattr(kind, "roadworthy_gate", None)
    if known is not None:
        if known.contract.digest != gate.contract.digest:
            raise UsageError("this agent is guarded by a gate of another contract already; build it again for this one")
        return guarded
    _refuse_native(gate, getattr(guarded, "_cap_native_tools", ()))
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    more = {**names, "roadworthy_gate": gate, "iter": _iter(kind, gate, guarded.name), "realtime": _no_realtime}
    guarded.__class__ = type(kind.__name__, (kind,), more)
    _arm(guarded)
    return guarded


def drive(agent: Any, run: Run, start: Any = None, **more: Any) -> Any:
    """Run a guarded agent until it ends or a person must decide: then Suspended comes back, as a value.

    `run` comes from `gate.run(..., suspendable=True)`, or from `gate.resume(id)` to drive it again; `start` may then be
    left out, and is what the agent was started with. `more` is for `agent.run`. Raises UsageError for an agent that is
    not guarded, and for a start that is another than it was.
    """
    return driving.in_a_loop_of_its_own(adrive(agent, run, start, **more))


async def adrive(agent: Any, run: Run, start: Any = None, **more: Any) -> Any:
    """`drive` for async code."""
    if getattr(agent, "roadworthy_gate", None) is None:
        raise driving.not_guarded(agent)

    async def go(given: Any) -> Any:
        return await agent.run(given, **more)

    return await driving.adrive(run, start, go)


def _iter(kind: type[Any], gate: Gate, name: str | None) -> Any:
    """What every way to run an agent comes down to. `name` is the one that it was built with."""

    @contextlib.asynccontextmanager
    async def iter(self: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
        turn = _Turn(name)
        _arm(self)  # what was added since
        kwargs["capabilities"] = [*(kwargs.get("capabilities") or ()), _Guarding(gate=gate, turn=turn)]
        given: Any = args[0] if args else kwargs.get("user_prompt")
        async with working(turn.run, name, given if isinstance(given, str) else "") as comes_to:
            async with kind.iter(self, *args, **kwargs) as running:
                yield running
            turn.raise_broken()  # an output came beside the call that broke, and nobody has asked the model since
            comes_to(str(running.result.output) if running.result is not None else "")

    return iter


def _arm(agent: Any) -> None:
    """Put the functions of an agent's tools behind the tripwire, where they lie, and guard the agents that they ask."""
    new: list[Any] = []

    def visit(toolset: AbstractToolset[Any]) -> None:
        if not isinstance(toolset, FunctionToolset):
            return
        tools = toolset.tools
        for key, tool in list(tools.items()):
            function = armed(tool.function, tool.name)
            if function is not tool.function:
                new.append(tool.function)
                kept = copy.copy(tool)  # an agent without a gate may have the same one
                kept.function, kept.function_schema = function, replace(tool.function_schema, function=function)
                tools[key] = kept

    for toolset in (agent._function_toolset, *agent._user_toolsets, *agent._cap_toolsets):
        if isinstance(toolset, AbstractToolset):
            cast("AbstractToolset[Any]", toolset).apply(visit)
    for asked in reached(new, Agent):
        guard(asked, agent.roadworthy_gate)


def _no_realtime(self: Any, *_: Any, **__: Any) -> Any:
    raise UsageError("a guarded agent cannot speak in realtime: nobody could judge what it says before it is heard")


def _refuse_native(gate: Gate, tools: Sequence[Any]) -> None:
    # Every agent has `tool_search`: it finds tools of the agent, whose calls pass the gate.
    kinds = [str(tool.kind) for tool in tools if hasattr(tool, "kind")]
    refuse_hosted(gate.contract, [kind for kind in kinds if kind != "tool_search"])


@dataclass(kw_only=True)
class _Guarding(AbstractCapability[Any]):
    """What a run of a guarded agent is given beside its own capabilities."""

    gate: Gate
    turn: _Turn

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        return _GatedToolset(wrapped=toolset, gate=self.gate, turn=self.turn)

    def get_wrapper_model(self, model: Model) -> Model:
        return _GuardedModel(model, self.gate, self.turn)

    async def wrap_output_process(self, ctx: RunContext[Any], *, output_context: Any, output: Any, handler: Any) -> Any:
        if output_context.has_function:
            raise UsageError(
                f"the output function {output_context.function_name or ''!r} runs past the gate: make it a tool that "
                "the contract lists, and let the agent put out a type"
            )
        return await handler(output)


# -- tools ------------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _GatedTool(ToolsetTool[Any]):
    """A tool whose arguments the gate reads."""

    source: ToolsetTool[Any] | None
    """The tool itself; None for those that Roadworthy offers."""


@dataclass
class _GatedToolset(WrapperToolset[Any]):
    """The tools of a run. Every call of one passes the gate."""

    gate: Gate
    turn: _Turn

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        tools: dict[str, ToolsetTool[Any]] = {}
        for name, tool in (await self.wrapped.get_tools(ctx)).items():
            if tool.tool_def.kind == "external":
                raise UsageError(
                    f"the tool {name!r} is carried out by somebody else, past the gate: make it a tool of the agent"
                )
            tools[name] = self._gated(tool.tool_def, tool.max_retries, tool)
        for extra in OFFERED:
            if extra.name not in tools:
                definition = ToolDefinition(
                    name=extra.name, description=extra.description, parameters_json_schema=extra.parameters
                )
                tools[extra.name] = self._gated(definition, 1, None)
        return tools

    def _gated(self, definition: ToolDefinition, retries: int, source: ToolsetTool[Any] | None) -> _GatedTool:
        return _GatedTool(
            toolset=self, tool_def=definition, max_retries=retries, args_validator=_AS_WRITTEN, source=source
        )

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        turn = self.turn
        if turn.broken is not None:
            return _ENDED
        source = cast("_GatedTool", tool).source
        wrapped = self.wrapped

        async def run_tool(**args: Any) -> Any:
            known = cast("ToolsetTool[Any]", source)
            typed = known.args_validator.validate_python(args, context=ctx.validation_context)
            if known.args_validator_func is not None:
                checked = known.args_validator_func(ctx, **typed)
                if asyncio.iscoroutine(checked):
                    await checked
            with carried(), asking(turn.agent, name):
                return _plain(await wrapped.call_tool(name, typed, ctx, known))

        try:
            fn = run_tool if source is not None else None
            outcome = await abring(self.gate, turn.run, name, tool_args, fn, call_id=ctx.tool_call_id, agent=turn.agent)
        except (HarnessError, Suspended) as error:
            turn.broken = error
            return _ENDED
        return outcome.text


def _plain(result: Any) -> Any:
    """A result without classes of pydantic. What a `ToolReturn` holds beside its value goes to nobody."""
    if isinstance(result, ToolReturn):
        return _plain(cast("Any", result).return_value)
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json")
    if isinstance(result, list | tuple):
        return [_plain(part) for part in cast("Sequence[Any]", result)]
    return result


# -- the model --------------------------------------------------------------------------------------------------------


class _GuardedModel(WrapperModel):
    """A model whose replies are judged before the agent has them."""

    def __init__(self, wrapped: Model, gate: Gate, turn: _Turn) -> None:
        super().__init__(wrapped)
        self._gate = gate
        self._turn = turn

    async def request(self, messages: list[Any], model_settings: Any, model_request_parameters: Any) -> ModelResponse:
        asked = await self._asked(messages, model_settings, model_request_parameters)
        run = self._turn.near
        while True:
            response = await self.wrapped.request(asked, model_settings, model_request_parameters)
            if run is None or not holds_replies(self._gate):
                return response
            text, calls = _said(response, model_request_parameters)
            if calls:
                allowed = allowed_by(run)  # words beside calls are no reply, but whoever watches the run sees them
                parts = [p for p in response.parts if not isinstance(p, TextPart) or allowed(p.content)]
                return replace(response, parts=parts)
            if not text:
                return response
            reply = await asettle_reply(run, text, deliver=False)
            if reply.back is not None:
                asked = [*asked, *_answered(response), _from_gate(reply.back, asked)]
                continue
            return response if reply.text == text else _with_words(response, reply.text, model_request_parameters)

    @contextlib.asynccontextmanager
    async def request_stream(
        self, messages: list[Any], model_settings: Any, model_request_parameters: Any, run_context: Any = None
    ) -> AsyncGenerator[Any]:
        if self._turn.near is not None and holds_replies(self._gate):
            response = await self.request(messages, model_settings, model_request_parameters)
            yield CompletedStreamedResponse(
                response, model_request_parameters=model_request_parameters, replay_events=True
            )
            return
        asked = await self._asked(messages, model_settings, model_request_parameters)
        async with self.wrapped.request_stream(asked, model_settings, model_request_parameters, run_context) as stream:
            yield stream

    async def _asked(self, messages: list[Any], settings: Any, parameters: Any) -> list[Any]:
        turn = self._turn
        turn.raise_broken()
        _refuse_native(self._gate, parameters.native_tools)
        given: Any = settings.get("extra_body") if settings else None
        if isinstance(given, Mapping):
            refuse_hosted(self._gate.contract, cast("Mapping[str, Any]", given).get("tools") or ())
        if turn.news_at is None:
            turn.news_at = max(0, len(messages) - 1)
            told = await asyncio.to_thread(news_of, turn.near) if turn.near is not None else None
            turn.news = ModelRequest(parts=[UserPromptPart(told)]) if told is not None else None
        if turn.news is None:
            return messages
        at = min(turn.news_at, len(messages))
        return [*messages[:at], turn.news, *messages[at:]]


def _said(response: ModelResponse, parameters: Any) -> tuple[str, bool]:
    """What a response comes to for the user, and whether it goes on with calls of tools instead."""
    outputs = {tool.name for tool in parameters.output_tools}
    texts: list[str] = []
    calls = False
    for part in response.parts:
        if isinstance(part, TextPart):
            texts.append(part.content)
        elif isinstance(part, ToolCallPart):
            if part.tool_name in outputs:
                return part.args_as_json_str(), False
            calls = True
    return "".join(texts), calls


def _answered(response: ModelResponse) -> list[Any]:
    """The response as part of a conversation: as words alone, since a call must have a result."""
    words = [TextPart(p.args_as_json_str()) if isinstance(p, ToolCallPart) else p for p in response.parts]
    return [replace(response, parts=words)]


def _from_gate(text: str, messages: Sequence[Any]) -> ModelRequest:
    return ModelRequest(parts=[UserPromptPart(text)], instructions=getattr(messages[-1], "instructions", None))


def _with_words(response: ModelResponse, text: str, parameters: Any) -> ModelResponse:
    if not parameters.allow_text_output or parameters.output_mode not in ("text", "tool"):
        raise UnexpectedModelBehavior(text)  # the output has a type, and the words are none of it
    return replace(response, parts=[TextPart(text)])
