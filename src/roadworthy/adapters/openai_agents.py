"""Agents of the OpenAI Agents SDK.

    agent = guard(Agent(name="desk", model=..., tools=[...]), gate)
    with gate.run(principal="support-bot", capability="billing_question") as run, run.bind():
        run.heard(text)
        result = await Runner.run(agent, text)
        run.say(result.final_output)

A call belongs to the run that was bound when `Runner.run` began; the application hears and says for itself. All tools
that the agent has when it is asked pass the gate, those of MCP servers and agents that are tools included, and so do
those of every agent that it may hand off to. What one agent says to another vouches for nothing.

What an agent comes to is its reply, be it words or the result of a tool. It is judged before it comes out: one that
the contract holds back goes back to the model, at most twice, and then what comes out says that a person will look at
it. Streams let sentence after sentence out.

The SDK ends a run with any exception of a tool, and cancels the calls beside it in flight, so a call that is guarded
here always ends in a result. `RunConfig(model=...)` puts another model in the place of the guarded one: its replies are
judged at the end only, and one that may not be told ends the run with the SDK's own `OutputGuardrailTripwireTriggered`.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from roadworthy.adapters import driving
from roadworthy.adapters.calls import OFFERED, Offered, abring, hosting, inside_tool, refuse_hosted
from roadworthy.adapters.company import delegated, gives_word, takes_word
from roadworthy.adapters.reach import reached
from roadworthy.adapters.replies import (
    Sentences,
    allowed_by,
    asettle_last,
    asettle_reply,
    holds_replies,
    news_of,
)
from roadworthy.core.errors import HarnessError, Suspended, UsageError
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run, current_run

try:
    from agents import (
        Agent,
        FunctionTool,
        GuardrailFunctionOutput,
        Handoff,
        Model,
        ModelProvider,
        ModelResponse,
        MultiProvider,
        OutputGuardrail,
        RunContextWrapper,
        Runner,
        ToolsToFinalOutputResult,
        Usage,
    )
    from agents.sandbox import SandboxAgent
    from agents.tool import set_function_tool_failure_error_function
    from openai.types.responses import (
        ResponseCompletedEvent,
        ResponseOutputMessage,
        ResponseOutputRefusal,
        ResponseOutputText,
    )
except ImportError as error:
    raise UsageError(
        "the OpenAI Agents SDK is not installed: `pip install 'roadworthy[openai-agents]'` brings it along"
    ) from error

__all__ = ["adrive", "drive", "guard"]

A = TypeVar("A")

_LOCAL = ("computer", "custom", "shell", "local_shell", "apply_patch")
"""Kinds of tools that run code of the application which no gate could stand before."""
_CALLS = frozenset(
    {
        "function_call",
        "computer_call",
        "local_shell_call",
        "shell_call",
        "apply_patch_call",
        "custom_tool_call",
        "mcp_approval_request",
    }
)
"""Kinds of what a model puts out that leave its turn unfinished."""
_ENDED = "This ends here for now. End your turn."
"""What the model would see when the run was suspended or the trial broke, which is raised instead of asking it."""


class _Turn:
    """What one `Runner.run` knows beside the SDK."""

    def __init__(self) -> None:
        self.run = current_run()
        self.near = None if inside_tool() else self.run
        """The run, where what comes out goes to its user, and not to the model that called a tool."""
        self.news: str | None = None
        """What the model was told of held actions at the beginning."""
        self.news_at: int | None = None
        """Before which item of the input the news stand; None: nobody has looked yet."""
        self.notices: list[dict[str, Any]] = []
        """What the model is told at its next turn."""
        self.refused: set[str] = set()
        """Ids of calls whose result is no result of the tool."""
        self.speaker: str | None = None
        """Which of several agents has the word now."""
        self.passing = ""
        """What goes along as the agent hands over."""
        self.judged = False
        """The reply that comes out was judged."""
        self.broken: HarnessError | Suspended | None = None
        """What must be raised instead of going on: an exception of a tool would cancel the calls beside it."""
        self.tools: dict[tuple[int, int, str | None], _Made] = {}
        """The guarded tools that were made in it: the SDK asks for them before each call of a model."""

    def tool(
        self, source: FunctionTool | Offered, gate: Gate, agent: str | None, make: Callable[[], FunctionTool]
    ) -> FunctionTool:
        """A guarded tool, made anew where its source was changed since. Making one copies and checks its schema."""
        key = (id(source), id(gate), agent)
        fields = {} if isinstance(source, Offered) else dict(vars(source))
        known = self.tools.get(key)
        if known is None or known.fields != fields:
            known = self.tools[key] = _Made(source, fields, make())
        return known.tool

    async def spoken_by(self, name: str | None) -> None:
        """The model of this agent is asked next; None where there is no other."""
        before, self.speaker = self.speaker, name
        if name is None:
            return
        if before is None:
            await takes_word(self.run, name)
        elif before != name:
            text, self.passing = self.passing, ""
            await gives_word(self.run, before, name, text)

    def raise_broken(self) -> None:
        if self.broken is not None:
            broken, self.broken = self.broken, None
            raise broken


@dataclass(frozen=True, slots=True)
class _Made:
    """A guarded tool, and what it was made of."""

    source: FunctionTool | Offered
    """Kept alive, since it is found by its identity."""
    fields: dict[str, Any]
    tool: FunctionTool


_TURNS: WeakKeyDictionary[RunContextWrapper[Any], _Turn] = WeakKeyDictionary()


def _turn_of(context: RunContextWrapper[Any]) -> _Turn:
    """The turn of a `Runner.run`, which has one context for all of its agents."""
    turn = _TURNS.get(context)
    if turn is None or turn.run is not current_run():
        turn = _TURNS[context] = _Turn()
    return turn


# -- guarding ---------------------------------------------------------------------------------------------------------


def guard(agent: A, gate: Gate, *, provider: ModelProvider | None = None) -> A:
    """Put all tools of an agent, and of every agent that it may hand off to or has as a tool, behind the gate.

    The agent is changed and handed back; so are its clones. `provider` finds models that agents name by text; the
    SDK's own unless told, as `Runner` does. Raises UsageError for what no gate could stand before: tools and hand-offs
    that run code of their own, tools at the model's provider that the contract does not accept, agents in a sandbox.
    """
    _Guarding(gate, provider or MultiProvider()).guard(agent)
    return agent


def drive(agent: Any, run: Run, start: Any = None, **more: Any) -> Any:
    """Run a guarded agent until it ends or a person must decide: then Suspended comes back, as a value.

    `run` comes from `gate.run(..., suspendable=True)`, or from `gate.resume(id)` to drive it again; `start` may then be
    left out, and is what the agent was started with. `more` is for `Runner.run`. Raises UsageError for an agent that is
    not guarded, a start that is another than it was, and a session beside a suspendable run.
    """
    return driving.in_a_loop_of_its_own(adrive(agent, run, start, **more))


async def adrive(agent: Any, run: Run, start: Any = None, **more: Any) -> Any:
    """`drive` for async code."""
    if getattr(agent, "roadworthy_gate", None) is None:
        raise driving.not_guarded(agent)
    driving.refuse_memory(run, more, "session", "conversation_id", "previous_response_id", "auto_previous_response_id")

    async def go(given: Any) -> Any:
        return await Runner.run(agent, given, **more)

    return await driving.adrive(run, start, go)


class _Guarding:
    """How agents of one `guard` are guarded, now and whenever they run."""

    def __init__(self, gate: Gate, provider: ModelProvider) -> None:
        self.gate = gate
        self.provider = provider
        self.several = False
        """The agent is one of several, which are told apart by their names."""

    def guard(self, agent: Any) -> None:
        """Guard an agent and all that it reaches. Does nothing where that has been done."""
        seen: dict[int, Any] = {}
        self._walk(agent, seen)
        if len(seen) > 1:
            for known in seen.values():
                cast("Any", type(known)).roadworthy_guarding.several = True

    def _walk(self, agent: Any, seen: dict[int, Any]) -> None:
        if id(agent) in seen:
            return
        seen[id(agent)] = agent
        if not isinstance(agent, Agent) or isinstance(agent, SandboxAgent):
            raise UsageError(
                f"guard() cannot see what a {type(cast('object', agent)).__name__} does; it takes agents of the class "
                "Agent"
            )
        known = cast("Agent[Any]", agent)
        self._check(known)
        for inner in _agents_inside(known):
            self._walk(inner, seen)
        self._change(known)

    def _check(self, agent: Agent[Any]) -> None:
        contract = self.gate.contract
        for tool in cast("Sequence[Any]", agent.tools):
            if not isinstance(tool, FunctionTool):
                self.refuse(tool)
        refuse_hosted(contract, hosted_by_settings(agent.model_settings))
        if agent.prompt is not None:  # it is kept at the provider, with tools that nobody sees from here
            refuse_hosted(contract, ["prompt"])
        for handoff in agent.handoffs:
            if isinstance(handoff, Handoff) and _has_code(handoff) and handoff.tool_name not in contract.tool_names:
                raise UsageError(
                    f"the hand-off {handoff.tool_name!r} of {agent.name} runs code of its own (on_handoff): list it "
                    "under `tools` in the contract by this name, so that it passes the gate, or hand off without it"
                )

    def refuse(self, tool: Any) -> None:
        """Raise UsageError for a tool that is no function, unless it runs at the provider and the contract takes it."""
        kind = str(getattr(tool, "type", None) or tool.name)
        environment: Any = getattr(tool, "environment", None)
        at_provider = isinstance(environment, Mapping) and cast("Mapping[str, Any]", environment).get("type") != "local"
        if kind.startswith(_LOCAL) and not at_provider:
            raise UsageError(
                f"the tool {tool.name!r} ({type(tool).__name__}) runs code that no gate can stand before; "
                "offer a function tool that the contract lists instead"
            )
        refuse_hosted(self.gate.contract, [{"type": kind, "name": tool.name}])

    def _change(self, agent: Agent[Any]) -> None:
        kind: Any = type(agent)
        known: Gate | None = getattr(kind, "roadworthy_gate", None)
        if known is not None and known.contract.digest != self.gate.contract.digest:
            raise UsageError("this agent is guarded by a gate of another contract already; build it again for this one")
        if known is None:
            names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
            more = {**names, "roadworthy_gate": self.gate, "roadworthy_guarding": self}
            agent.__class__ = type(kind.__name__, (kind,), {**more, "get_all_tools": _all_gated(kind, self)})
        gate = cast("Gate", cast("Any", type(agent)).roadworthy_gate)
        agent.tools = [_by_hand(tool, gate) if isinstance(tool, FunctionTool) else tool for tool in agent.tools]
        # Fields that may have been set anew since, as in a clone.
        agent.handoffs = [
            _gated_handoff(h, agent, gate) if isinstance(h, Handoff) and _has_code(h) else h for h in agent.handoffs
        ]
        if not isinstance(agent.model, _GuardedModel):
            agent.model = _GuardedModel(agent.model, self.provider, gate)
        if agent.tool_use_behavior != "run_llm_again" and not isinstance(agent.tool_use_behavior, _ToolsAsReply):
            agent.tool_use_behavior = _ToolsAsReply(agent.tool_use_behavior, gate)
        if holds_replies(gate) and not any(g.name == _LAST_LOOK for g in agent.output_guardrails):
            look = OutputGuardrail[Any](guardrail_function=_last_look, name=_LAST_LOOK)
            agent.output_guardrails = [*agent.output_guardrails, look]


def _agents_inside(agent: Agent[Any]) -> list[Any]:
    """The agents that an agent hands off to or has as tools, and those without a gate that new tools ask."""
    found: list[Any] = []
    for handoff in cast("Sequence[Any]", agent.handoffs):
        if isinstance(handoff, Handoff):
            reference: Any = cast("Any", handoff)._agent_ref
            target = reference() if reference is not None else None
            if target is None:
                raise UsageError(
                    f"nobody can see from outside to whom the hand-off {handoff.tool_name!r} of {agent.name} leads; "
                    "make it with handoff(agent)"
                )
            found.append(target)
        else:
            found.append(handoff)
    tools = cast("Sequence[Any]", agent.tools)
    found += [t._agent_instance for t in tools if getattr(t, "_agent_instance", None)]
    new = [t.on_invoke_tool for t in tools if isinstance(t, FunctionTool) and not hasattr(t, "roadworthy_source")]
    return [*found, *reached(new, Agent)]


def _has_code(handoff: Handoff[Any, Any]) -> bool:
    """Whether a hand-off calls a function of the application. One that is not made by `handoff()` may do anything."""
    made_by: Any = handoff.on_invoke_handoff
    if isinstance(made_by, _GatedHandoff):
        return False
    inner = cast("Sequence[Any]", getattr(made_by, "args", ()))
    if len(inner) != 1 or not inspect.isfunction(inner[0]):
        return True
    return inspect.getclosurevars(inner[0]).nonlocals.get("on_handoff") is not None


def hosted_by_settings(settings: Any) -> list[Any]:
    """What a model is offered by its settings, beside the agent's tools."""
    found: list[Any] = []
    for given in (settings.extra_args, settings.extra_body):
        if isinstance(given, Mapping):
            more = cast("Mapping[str, Any]", given)
            found += [*(more.get("tools") or ()), *(["web_search"] if more.get("web_search_options") else [])]
    return found


# -- tools ------------------------------------------------------------------------------------------------------------


def _all_gated(kind: type[Any], guarding: _Guarding) -> Callable[..., Any]:
    """The runner asks for an agent's tools before each call of its model; what was added meanwhile is guarded, too."""

    async def get_all_tools(self: Any, run_context: RunContextWrapper[Any]) -> list[Any]:
        guarding.guard(self)
        gate = cast("Gate", cast("Any", type(self)).roadworthy_gate)
        turn = _turn_of(run_context)
        name = _told_apart(self)
        await turn.spoken_by(name)
        found: list[Any] = []
        for tool in await kind.get_all_tools(self, run_context):
            if isinstance(tool, FunctionTool):
                found.append(_gated(tool, gate, turn, name))
            else:
                guarding.refuse(tool)
                found.append(tool)
        names = {tool.name for tool in found}
        return [*found, *(_offered(extra, gate, turn, name) for extra in OFFERED if extra.name not in names)]

    return get_all_tools


def _told_apart(agent: Any) -> str | None:
    """An agent's name, where it is one of several."""
    return str(agent.name) if cast("Any", type(agent)).roadworthy_guarding.several else None


def _by_hand(tool: FunctionTool, gate: Gate) -> FunctionTool:
    """A tool as it lies in a guarded agent. Whoever calls it there, around the model, comes to the gate, too."""
    if hasattr(tool, "roadworthy_source"):
        return tool
    inner = set_function_tool_failure_error_function(copy.copy(tool), None)

    async def on_invoke_tool(ctx: Any, given: str) -> str:
        return await _bringing(inner, gate, _Turn(), tool.name, None)(ctx, given)

    kept = copy.copy(tool)
    kept.on_invoke_tool = on_invoke_tool
    cast("Any", kept).roadworthy_source = lambda: tool
    return kept


def _gated(tool: FunctionTool, gate: Gate, turn: _Turn, agent: str | None) -> FunctionTool:
    source: Any = getattr(tool, "roadworthy_source", None)
    tool = source() if source is not None else tool
    return turn.tool(tool, gate, agent, lambda: _made(tool, gate, turn, agent))


def _made(tool: FunctionTool, gate: Gate, turn: _Turn, agent: str | None) -> FunctionTool:
    # The SDK would make a text of an exception, and hand it to the gate as if it were a result.
    inner = set_function_tool_failure_error_function(copy.copy(tool), None)
    gated = copy.copy(tool)
    gated.on_invoke_tool = _bringing(inner, gate, turn, tool.name, agent)
    gated.timeout_seconds = None  # within the gate, which knows what a write is that did not end
    gated.output_json_schema, gated._output_type_adapter = None, None  # pyright: ignore[reportPrivateUsage]
    cast("Any", gated).roadworthy_turn = turn
    return gated


def _offered(extra: Offered, gate: Gate, turn: _Turn, agent: str | None) -> FunctionTool:
    def make() -> FunctionTool:
        tool = FunctionTool(
            name=extra.name,
            description=extra.description,
            params_json_schema=extra.parameters,
            on_invoke_tool=_bringing(None, gate, turn, extra.name, agent),
        )
        cast("Any", tool).roadworthy_turn = turn
        return tool

    return turn.tool(extra, gate, agent, make)


def _bringing(
    inner: FunctionTool | None, gate: Gate, turn: _Turn, name: str, agent: str | None
) -> Callable[[Any, str], Any]:
    async def on_invoke_tool(ctx: Any, given: str) -> str:
        if turn.broken is not None:
            return _ENDED

        async def run_tool(**args: Any) -> Any:
            called = cast("FunctionTool", inner)
            text = json.dumps(args, default=str, ensure_ascii=False)
            helper: Any = getattr(called, "_agent_instance", None)
            if helper is None:
                return _plain(await asyncio.wait_for(called.on_invoke_tool(ctx, text), called.timeout_seconds))
            # An agent that is a tool: what it does until it comes back is its own.
            async with delegated(turn.run, str(helper.name), agent, text) as comes_to:
                with hosting():
                    result = _plain(await asyncio.wait_for(called.on_invoke_tool(ctx, text), called.timeout_seconds))
                comes_to(str(result))
            return result

        call_id = str(ctx.tool_call_id)
        fn = run_tool if inner is not None else None
        try:
            outcome = await abring(gate, turn.run, name, _parsed(given), fn, call_id=call_id, agent=agent)
        except (HarnessError, Suspended) as error:
            turn.broken = error
            return _ENDED
        if not outcome.ok:
            turn.refused.add(call_id)
        return outcome.text

    return on_invoke_tool


class _GatedHandoff:
    """A hand-off whose own code passes the gate as a tool does. Where it may not, the agent keeps the word."""

    def __init__(self, handoff: Handoff[Any, Any], agent: Agent[Any], gate: Gate) -> None:
        self._handoff = handoff
        self._agent = agent
        self._gate = gate

    async def __call__(self, context: RunContextWrapper[Any], given: str) -> Agent[Any]:
        turn = _turn_of(context)
        if turn.broken is not None:
            return self._agent
        taken: list[Agent[Any]] = []

        async def hand_over(**_: Any) -> str:
            taken.append(await self._handoff.on_invoke_handoff(context, given))
            return f"{taken[0].name} has the word."

        try:
            outcome = await abring(
                self._gate, turn.run, self._handoff.tool_name, _parsed(given), hand_over, agent=_told_apart(self._agent)
            )
        except (HarnessError, Suspended) as error:
            turn.broken = error
            return self._agent
        if outcome.ok:  # in shadow its code was not run, and the word goes over all the same
            return taken[0] if taken else cast("Any", self._handoff)._agent_ref()
        turn.notices.append(_user(outcome.text))
        return self._agent


def _gated_handoff(handoff: Handoff[Any, Any], agent: Agent[Any], gate: Gate) -> Handoff[Any, Any]:
    gated = copy.copy(handoff)
    gated.on_invoke_handoff = _GatedHandoff(handoff, agent, gate)
    return gated


def _parsed(given: str) -> object:
    """The arguments. What is no JSON stays text, which the gate refuses."""
    try:
        return json.loads(given or "{}")
    except (ValueError, RecursionError):
        return given


def _plain(result: Any) -> Any:
    """A result without classes of pydantic, such as the SDK has for texts, images and files."""
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json")
    if isinstance(result, list | tuple):
        return [_plain(part) for part in cast("Sequence[Any]", result)]
    return result


# -- replies that are results of tools --------------------------------------------------------------------------------

_NOT_FINAL = ToolsToFinalOutputResult(is_final_output=False, final_output=None)


class _ToolsAsReply:
    """An agent's way to end with a tool's result. It goes to the user, and is judged as words would be."""

    def __init__(self, inner: Any, gate: Gate) -> None:
        self._inner: Any = inner
        self._gate = gate

    async def __call__(self, context: RunContextWrapper[Any], results: list[Any]) -> ToolsToFinalOutputResult:
        turn = _turn_of(context)
        turn.raise_broken()
        found = await self._found(context, results)
        if not found.is_final_output or any(
            result.output == found.final_output and _call_id(result) in turn.refused for result in results
        ):
            return _NOT_FINAL  # what the gate says of a call is said to the model
        if turn.near is None or not holds_replies(self._gate):
            return found
        output = found.final_output
        text = output if isinstance(output, str) else str(output)
        reply = await asettle_reply(turn.near, text, deliver=False)
        if reply.back is not None:
            turn.notices.append(_user(reply.back))
            return _NOT_FINAL
        turn.judged = True
        told = output if reply.text == text else reply.text
        return ToolsToFinalOutputResult(is_final_output=True, final_output=told)

    async def _found(self, context: RunContextWrapper[Any], results: list[Any]) -> ToolsToFinalOutputResult:
        inner = self._inner
        if isinstance(inner, Mapping):
            names = cast("Mapping[str, Sequence[str]]", inner).get("stop_at_tool_names", ())
            for result in results:
                if result.tool.name in names or result.tool.qualified_name in names:
                    return ToolsToFinalOutputResult(is_final_output=True, final_output=result.output)
            return _NOT_FINAL
        if isinstance(inner, str):  # "stop_on_first_tool"
            return ToolsToFinalOutputResult(is_final_output=True, final_output=results[0].output)
        found = inner(context, results)
        return await found if inspect.isawaitable(found) else found


def _call_id(result: Any) -> str | None:
    raw: Any = getattr(result.run_item, "raw_item", None)
    return cast("dict[str, Any]", raw).get("call_id") if isinstance(raw, dict) else getattr(raw, "call_id", None)


_LAST_LOOK = "roadworthy"


async def _last_look(context: RunContextWrapper[Any], agent: Agent[Any], output: Any) -> GuardrailFunctionOutput:
    """Whatever came out past the guarded model is judged here, where nobody can say it in other words."""
    turn = _turn_of(context)
    judged, turn.judged = turn.judged, False
    if judged or turn.near is None:
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=False)
    text = output.model_dump_json() if isinstance(output, BaseModel) else str(output)
    told = await asettle_last(turn.near, text, deliver=False)
    return GuardrailFunctionOutput(output_info=told.text, tripwire_triggered=told.text != text)


# -- the model --------------------------------------------------------------------------------------------------------


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


class _GuardedModel(Model):
    """A model whose replies are judged before the runner has them."""

    def __init__(self, inner: Model | str | None, provider: ModelProvider, gate: Gate) -> None:
        self._inner = inner
        self._provider = provider
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        inner = self.__dict__.get("_inner")
        if not isinstance(inner, Model):  # the SDK looks at models of agents that it never asks
            raise AttributeError(name)
        return getattr(inner, name)

    @property
    def _model(self) -> Model:
        if not isinstance(self._inner, Model):
            self._inner = self._provider.get_model(self._inner)
        return self._inner

    async def _cleanup_on_run_end(self, owner: object) -> None:
        if isinstance(self._inner, Model):
            await self._inner._cleanup_on_run_end(owner)

    async def close(self) -> None:
        if isinstance(self._inner, Model):
            await self._inner.close()

    def get_retry_advice(self, request: Any) -> Any:
        return self._model.get_retry_advice(request)

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:  # pyright: ignore[reportIncompatibleMethodOverride]  # the same, whatever comes
        asked = await self._asked(args, kwargs)
        before = Usage()
        while True:
            response = await self._model.get_response(**asked.given)
            judged = await _judged(asked, response.output)
            if judged is None:
                before.add(response.usage)
                continue
            response.output = judged
            before.add(response.usage)
            response.usage = before
            return response

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        asked = await self._asked(args, kwargs)
        if asked.near is None:
            async for event in self._model.stream_response(**asked.given):
                yield event
            return
        while True:
            held: list[Any] = []
            sentences: Sentences[Any] = Sentences(allowed_by(asked.near))
            judged: list[Any] | None = None
            last: Any = None
            async for event in self._model.stream_response(**asked.given):
                if event.type == "response.output_text.delta":
                    for piece in sentences.add(event, event.delta):
                        yield piece
                    last = event
                elif event.type in _BEFORE_WORDS:
                    yield event
                elif isinstance(event, ResponseCompletedEvent):
                    for piece in sentences.end():
                        yield piece
                    if sentences.stopped and sentences.passed.strip():
                        await asked.near.asay(sentences.passed)  # it was on the screen before the rest was held back
                    output = event.response.output or [e.item for e in held if e.type == "response.output_item.done"]
                    judged = await _judged(asked, output)
                    if judged is None:
                        continue
                    if judged == output:
                        for piece in held:
                            yield piece
                    else:
                        for piece in _said_instead(judged, last):
                            yield piece
                    event.response.output = judged
                    yield event
                elif event.type in _FAILED:
                    yield event
                    return
                else:
                    held.append(event)
            if judged is not None:
                return

    async def _asked(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Asked:
        given = {**dict(zip(_ASKED_WITH[: len(args)], args, strict=True)), **kwargs}
        refuse_hosted(self._gate.contract, hosted_by_settings(given["model_settings"]))
        turn = next((t.roadworthy_turn for t in given["tools"] if hasattr(t, "roadworthy_turn")), None)
        if turn is None:
            turn = _Turn()
        asked = _Asked(turn, self._gate, given)
        await asked.begin()
        return asked


_ASKED_WITH = tuple(inspect.signature(Model.get_response).parameters)[1:]
"""What the runner asks a model with, by name, as a `Model` takes it."""
_BEFORE_WORDS = frozenset(
    {"response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"}
)
"""Events of a stream that come before the words and have none of them."""
_FAILED = frozenset({"response.failed", "response.incomplete", "error", "response.error"})


class _Asked:
    """One question to a model, until there is an answer that may come out."""

    def __init__(self, turn: _Turn, gate: Gate, given: dict[str, Any]) -> None:
        self.turn = turn
        self.given = given
        self.near: Run | None = turn.near if holds_replies(gate) else None
        """The run, where what the model says is a reply that the contract may hold back."""
        self.kept = given.get("conversation_id") is not None
        """The provider keeps what was said, and is sent only what is new."""

    async def begin(self) -> None:
        turn = self.turn
        turn.raise_broken()
        first = turn.news_at is None
        if first:
            turn.news = await asyncio.to_thread(news_of, turn.near) if turn.near is not None else None
        items = self._items()
        if first:
            said = len(items) - 1 if items and _role(items[-1]) == "user" else len(items)
            turn.news_at = max(0, said)
        told_by_provider = self.kept or self.given.get("previous_response_id") is not None
        if turn.news is not None and (first or not told_by_provider):
            items.insert(min(cast("int", turn.news_at), len(items)), _user(turn.news))
        items += turn.notices
        turn.notices = []
        self.given["input"] = items

    def again(self, said: str, back: str) -> None:
        """Send the model to find other words."""
        items = [] if self.kept else [*self._items(), {"role": "assistant", "content": said}]
        self.given["input"] = [*items, _user(back)]

    def _items(self) -> list[Any]:
        given = self.given["input"]
        return [_user(given)] if isinstance(given, str) else list(given)


def _role(item: Any) -> str | None:
    return cast("dict[str, Any]", item).get("role") if isinstance(item, dict) else getattr(item, "role", None)


async def _judged(asked: _Asked, output: Sequence[Any]) -> list[Any] | None:
    """What a model put out, as it may come out; None: the model must say it in other words."""
    handoffs = {handoff.tool_name for handoff in asked.given["handoffs"]}
    passing = next((i.arguments for i in output if i.type == "function_call" and i.name in handoffs), "{}")
    asked.turn.passing = "" if passing in ("", "{}") else passing
    messages = [item for item in output if item.type == "message"]
    run = asked.near
    if run is None:
        return list(output)
    if any(item.type in _CALLS for item in output):
        allowed = allowed_by(run)  # words beside calls are no reply, but whoever watches the run sees them
        return [item for item in output if item.type != "message" or allowed(_words([item]))]
    text = _words(messages)
    if text:
        reply = await asettle_reply(run, text, deliver=False)
        if reply.back is not None:
            asked.again(text, reply.back)
            return None
        if reply.text != text:
            output = [*(i for i in output if i.type != "message"), _message(messages[-1], reply.text, asked)]
    asked.turn.judged = True
    return list(output)


def _words(messages: Sequence[Any]) -> str:
    return "".join(
        str(getattr(part, "text", None) or getattr(part, "refusal", "")) for m in messages for part in m.content
    )


def _message(like: Any, text: str, asked: _Asked) -> ResponseOutputMessage:
    """Other words in the place of the model's. Where the output has a type of its own, they are no output of it."""
    schema = asked.given["output_schema"]
    content = (
        ResponseOutputText(annotations=[], text=text, type="output_text")
        if schema is None or schema.is_plain_text()
        else ResponseOutputRefusal(refusal=text, type="refusal")
    )
    return ResponseOutputMessage(id=like.id, content=[content], role="assistant", status="completed", type="message")


def _said_instead(judged: Sequence[Any], last: Any) -> list[Any]:
    """What a stream shows of words that came in the place of others."""
    if last is None:
        return []
    text = _words([item for item in judged if item.type == "message"])
    return [last.model_copy(update={"delta": text, "logprobs": []})] if text else []
