"""Spans of what a model was asked, beside those of calls: `chat {model}`, in the run's own span or the client's.

What was said is in no span. Names are those of OpenTelemetry's conventions for generative AI.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from roadworthy.gate import telemetry

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from roadworthy.gate.entries import Context
    from roadworthy.gate.models import Used

_log = logging.getLogger("roadworthy.gate")


class ChatSpan:
    """The span of one request to a model. It is nobody's current span: what is asked is asked elsewhere."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def ended(self, *, source: str, answer: Mapping[str, Any], used: Used | None) -> None:
        """The model has answered. `source`: `live`, `cassette` or `journal`, which is an earlier drive of the run."""
        told: dict[str, Any] = {"roadworthy.model.source": source}
        for name, field in (("model", "model"), ("id", "id")):
            if isinstance(answer.get(field), str):
                told[f"gen_ai.response.{name}"] = answer[field]
        if used is not None:
            told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"] = used.input, used.output
        self._close(told, None)

    def failed(self, kind: str) -> None:
        """There is no answer. `kind`: a short word for why."""
        self._close({}, kind)

    def _close(self, told: Mapping[str, Any], error: str | None) -> None:
        try:
            self._span.set_attributes(dict(told))
            if error is not None:
                telemetry._failed(self._span, error)  # pyright: ignore[reportPrivateUsage]  # the two are one thing
            self._span.end()
        except Exception:  # what an application collects spans with is foreign code
            _log.exception("the span of a request to a model could not be ended")


def chat_span(ctx: Context | None, model: str, *, trace: str | None = None) -> ChatSpan | None:
    """A span for a request to a model; None where nobody listens. `trace`: the `traceparent` that the client sent."""
    tracer = telemetry._tracer()  # pyright: ignore[reportPrivateUsage]  # the two are one thing
    if tracer is None:
        return None
    try:
        from opentelemetry import propagate
        from opentelemetry.trace import SpanKind

        attributes: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
        if ctx is not None:
            attributes |= telemetry._of_run(ctx.gate, ctx.core, "chat")  # pyright: ignore[reportPrivateUsage]
        if trace is not None:
            around = propagate.extract({"traceparent": trace})
        else:
            around = telemetry._surroundings(ctx.core) if ctx is not None else None  # pyright: ignore[reportPrivateUsage]
        name = f"chat {model}" if model else "chat"
        return ChatSpan(tracer.start_span(name, context=around, kind=SpanKind.CLIENT, attributes=attributes))
    except Exception:
        _log.exception("no span could be begun for a request to a model")
        return None
