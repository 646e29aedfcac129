"""Spans of what passes the gate, through OpenTelemetry, for whoever collects them.

`invoke_agent {agent}` spans what happens inside `with run:`, `execute_tool {tool}` one call from the moment it comes to
the gate until its outcome is on disk. Names are those of OpenTelemetry's conventions for generative AI (status:
development); what they have no name for is `roadworthy.*`. What an agent, a user or a tool said is in no span, unless
OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT asks for it.

Nothing of OpenTelemetry is imported before the application has done so: without its provider nobody listens.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Final, TypeVar

from roadworthy.core.canonical import dumps
from roadworthy.core.errors import Suspended
from roadworthy.core.types import Action, Entry, Outcome, Verdict
from roadworthy.gate.carry import Carried

if TYPE_CHECKING:
    from opentelemetry.context import Context as Surroundings
    from opentelemetry.trace import Span, SpanContext, Tracer, TracerProvider

    from roadworthy.gate.core import Core, Steps
    from roadworthy.gate.entries import Context, Step
    from roadworthy.gate.gate import Gate
    from roadworthy.gate.policy import ToolPolicy

T = TypeVar("T")

_log = logging.getLogger("roadworthy.gate")

SCOPE: Final = "roadworthy"
"""The name of the instrumentation."""

_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_NAMED: Final = "OTEL_PYTHON_TRACER_PROVIDER" in os.environ
"""Whether a provider is made for whoever asks for one first."""

_known: tuple[TracerProvider, Tracer] | None = None


def _tracer() -> Tracer | None:
    """What makes our spans; None where nobody listens."""
    global _known
    trace = sys.modules.get("opentelemetry.trace")
    if not _NAMED:
        # Whoever sets a provider has imported it. Frameworks import it, too, and set none: to ask for a provider then
        # costs more than all else here, so that the place where it would stand is looked at first, while it has one.
        if trace is None or getattr(trace, "_TRACER_PROVIDER", trace) is None:
            return None
    else:
        trace = importlib.import_module("opentelemetry.trace")
    asked = getattr(trace, "get_tracer_provider", None)
    if asked is None:
        return None  # another thread is about to import it, so that nobody has set a provider yet
    provider: TracerProvider = asked()
    known = _known
    if known is None or known[0] is not provider:
        if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
            return None
        known = _known = provider, provider.get_tracer(SCOPE)
    return known[1]


def _tells_content() -> bool:
    """Whether arguments and results are wanted in spans. The application's own switch, for all its instrumentations."""
    return os.environ.get(_CONTENT, "").strip().lower() in ("true", "1", "span_only", "span_and_event")


def trace_of(span: Span) -> str | None:
    """How an entry names a span: `TRACE-SPAN`, 32 and 16 hexadecimal digits. None for one that nobody records."""
    if not span.is_recording():
        return None
    known = span.get_span_context()
    return f"{known.trace_id:032x}-{known.span_id:016x}"


def context_of(trace: str) -> SpanContext | None:
    """The span that an entry names; None for what names none."""
    from opentelemetry.trace import SpanContext, TraceFlags

    trace_id, _, span_id = trace.partition("-")
    try:
        known = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(1))
    except ValueError:
        return None
    return known if known.is_valid else None


def _surroundings(core: Core) -> Surroundings:
    """Where a span of a run belongs: under the application's own span, else under the run's, in whatever thread."""
    from opentelemetry import context, trace

    here = context.get_current()
    if core.span is not None and not trace.get_current_span(here).get_span_context().is_valid:
        return trace.set_span_in_context(core.span, here)
    return here


def _enter(span: Span, around: Surroundings) -> Token[Surroundings]:
    from opentelemetry import context, trace

    return context.attach(trace.set_span_in_context(span, around))


def _leave(token: Token[Surroundings]) -> None:
    # Steps that are given up may be closed by whoever finds them, and what surrounds them there is not ours.
    with suppress(ValueError):
        token.var.reset(token)


def _failed(span: Span, kind: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def _of_run(gate: Gate, core: Core, operation: str) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.agent.name": gate.contract.agent,
        "gen_ai.agent.version": gate.contract.version,
        "gen_ai.conversation.id": core.id,
        "roadworthy.contract": gate.contract.digest,
        "roadworthy.world": gate.world,
        "roadworthy.enforce": gate.enforce,
    }


# one call -------------------------------------------------------------------------------------------------------------


class CallSpan:
    """The span of one call that comes to the gate. It begins once there is an action, and ends with its steps."""

    __slots__ = ("_broke", "_ctx", "_error", "_outcome", "_seq", "_step", "_token", "_tracer", "_undecided", "span")

    def __init__(self, tracer: Tracer, ctx: Context) -> None:
        self._tracer = tracer
        self._ctx = ctx
        self.span: Span | None = None
        self._token: Token[Surroundings] | None = None
        self._step: Step | None = None
        self._outcome: Outcome | None = None
        self._error: str | None = None
        self._seq: int | None = None
        self._broke: str | None = None
        self._undecided: Verdict | None = None

    def open(self, step: Step, *, held_in: str | None = None, judged: bool = True) -> None:
        """Begin, in whatever span the application has here; where it has begun, it tells of this step from now on.

        `held_in`: the span in which the action was held before, as its entry names it. `judged`: the step has its
        verdict already, and not one that stands there until it is decided.
        """
        self._step = step
        self._undecided = None if judged else step.verdict
        step.span = self
        try:
            if self.span is None:
                self._begin(step.action, step.tool, step.agent)
            self.link(held_in)
        except Exception:  # what an application collects spans with is foreign code, and must not stop a call
            _log.exception("no span could be begun for %s", step.action.id)

    def _begin(self, action: Action, tool: ToolPolicy | None, agent: str | None) -> None:
        ctx = self._ctx
        attributes = _of_run(ctx.gate, ctx.core, "execute_tool")
        if agent is not None:
            attributes["gen_ai.agent.name"] = agent
            attributes["roadworthy.agent"] = ctx.gate.contract.agent
        attributes["gen_ai.tool.type"] = "function"
        name = "execute_tool"
        if tool is not None:  # the name of a tool that the contract does not know is the model's word, and not told
            name = f"execute_tool {tool.name}"
            attributes["gen_ai.tool.name"] = tool.name
            if _tells_content():
                attributes["gen_ai.tool.call.arguments"] = dumps(action.args).decode()
        if action.call_id is not None:
            attributes["gen_ai.tool.call.id"] = action.call_id
        around = _surroundings(ctx.core)
        self.span = self._tracer.start_span(name, context=around, attributes=attributes)
        self._token = _enter(self.span, around)

    def link(self, trace: str | None) -> None:
        """Point to the span in which an action was held, as its entry names it."""
        known = context_of(trace) if trace is not None else None
        if known is not None and self.span is not None:
            self.span.add_link(known)

    @property
    def trace(self) -> str | None:
        """How the action's entry names it."""
        return None if self.span is None else trace_of(self.span)

    def wrote(self, written: Sequence[Entry]) -> None:
        """Note where the ledger tells of the call."""
        if self._seq is None and self._ctx.gate.world != "test":  # a trial's entries find their places at its end
            self._seq = next((entry.seq for entry in written if entry.kind != "gap"), None)

    def came(self, outcome: Outcome, carried: Carried | None = None) -> None:
        """Note how the call ended."""
        self._outcome = outcome
        if carried is not None and outcome.status in ("failed", "in_doubt") and carried.ending != "returned":
            kind = carried.error.partition(":")[0]
            known = carried.ending in ("raised", "lost") and kind.isidentifier()
            self._error = kind if known else carried.ending

    def broke(self, error: Exception) -> None:
        """Note why the gate could not do its own work; the call is denied then."""
        self._broke = type(error).__qualname__

    def around(self, steps: Steps[T]) -> Steps[T]:
        """Steps, and the end of the span behind them."""
        try:
            came = yield from steps
        except BaseException as error:
            self._end(error)
            raise
        if isinstance(came, Outcome):
            self.came(came)
        self._end(None)
        return came

    def _end(self, error: BaseException | None) -> None:
        span, token = self.span, self._token
        if span is None or token is None:
            return  # an earlier drive of the run has made this call, and nothing was done here
        _leave(token)
        try:
            if span.is_recording():
                self._tell(span, error)
            span.end()
        except Exception:
            _log.exception("the span of %s could not be ended", self._ctx.core.id)

    def _tell(self, span: Span, error: BaseException | None) -> None:
        step, outcome = self._step, self._outcome
        told: dict[str, Any] = {}
        if self._seq is not None:
            told["roadworthy.seq"] = self._seq
        if step is not None:
            outcome = outcome or step.outcome  # a run that stops here comes to no value
            self._tell_verdict(step, told)
        if outcome is not None:
            told["roadworthy.status"] = outcome.status
            told["roadworthy.done"] = outcome.done
            if _tells_content() and outcome.done in ("executed", "simulated"):
                value = outcome.text if outcome.value is None else outcome.value
                told["gen_ai.tool.call.result"] = value if isinstance(value, str) else dumps(value).decode()
        span.set_attributes(told)
        if error is not None and not isinstance(error, Suspended):
            _failed(span, type(error).__qualname__)
        elif self._broke is not None:
            _failed(span, self._broke)
        elif outcome is not None and outcome.status in ("failed", "in_doubt"):
            _failed(span, self._error or outcome.status)

    def _tell_verdict(self, step: Step, told: dict[str, Any]) -> None:
        action, verdict = step.action, step.verdict
        told["roadworthy.action"] = action.id
        for name, value in (("capability", action.capability), ("by", step.by), ("for", step.serves)):
            if value is not None:
                told[f"roadworthy.{name}"] = value
        if verdict is self._undecided:
            return
        told["roadworthy.ruling"] = verdict.ruling
        told["roadworthy.level"] = verdict.level
        if verdict.rule is not None:
            told["roadworthy.rule"] = verdict.rule
        if verdict.reasons:
            told["roadworthy.codes"] = [reason.code for reason in verdict.reasons]


def span_of(ctx: Context) -> CallSpan | None:
    """A span for a call that comes to the gate; None where nobody listens."""
    tracer = _tracer()
    return None if tracer is None else CallSpan(tracer, ctx)


# one drive ------------------------------------------------------------------------------------------------------------


class Drive:
    """What happens inside one `with run:`."""

    __slots__ = ("core", "inner", "span", "token", "was")

    def __init__(self, core: Core) -> None:
        self.core = core
        self.span: Span | None = None
        """None within another `with` of the same run: both are one drive."""
        self.was: Span | None = None
        """That of the drive of the same run that went on before, elsewhere."""
        self.token: Token[Surroundings] | None = None
        self.inner: Token[Drive | None] | None = None


_DRIVE: ContextVar[Drive | None] = ContextVar("roadworthy_drive", default=None)


def enter_run(gate: Gate, core: Core) -> Drive | None:
    """Begin to drive a run here; None where nobody listens."""
    tracer = _tracer()
    if tracer is None:
        return None
    outer = _DRIVE.get()
    drive = Drive(core)
    if outer is None or outer.core is not core:
        try:
            _begin_drive(drive, tracer, gate)
        except Exception:
            _log.exception("no span could be begun for run %s", core.id)
    drive.inner = _DRIVE.set(drive)
    return drive


def _begin_drive(drive: Drive, tracer: Tracer, gate: Gate) -> None:
    from opentelemetry import context

    core, here = drive.core, context.get_current()
    attributes = {**_of_run(gate, core, "invoke_agent"), "roadworthy.principal": core.state.principal}
    span = tracer.start_span(f"invoke_agent {gate.contract.agent}", context=here, attributes=attributes)
    drive.span, drive.was, core.span = span, core.span, span
    drive.token = _enter(span, here)


def leave_run(drives: list[Drive], error: BaseException | None) -> None:
    """End the latest drive that began here; of those that are open, where it began elsewhere, the last."""
    drive = _DRIVE.get()
    if drive is None or drive not in drives:
        drive = drives[-1]
    drives.remove(drive)
    if drive.inner is not None:
        with suppress(ValueError):
            _DRIVE.reset(drive.inner)
    span, token = drive.span, drive.token
    if span is None or token is None:
        return
    if drive.core.span is span:
        drive.core.span = drive.was
    _leave(token)
    try:
        span.set_attribute("roadworthy.run_status", drive.core.state.status)
        if isinstance(error, Exception) and not isinstance(error, Suspended):
            _failed(span, type(error).__qualname__)
        span.end()
    except Exception:
        _log.exception("the span of run %s could not be ended", drive.core.id)
