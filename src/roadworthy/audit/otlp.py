"""The entries of a ledger as OpenTelemetry spans, made after the fact, for whoever collects them over OTLP.

A run is a trace: `invoke_agent {agent}` over all of it, `execute_tool {tool}` over each action from when it came to the
gate until the last that is known of it, and every entry as an event where it belongs. Entries about the whole ledger
are traces of their own. Ids are made from those of the ledger, so that exporting twice gives the same spans twice.

Only fields that stand in plain in a ledger with a vault are told: a ledger without one is exported no further.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol, cast, get_args
from urllib.parse import SplitResult, urlsplit

from roadworthy.core.canonical import dumps
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Entry, Kind, Realm
from roadworthy.gate.replay import root_of
from roadworthy.gate.telemetry import SCOPE, context_of
from roadworthy.ledger.agents import Branch, Stretch, several_agents, tree_of
from roadworthy.ledger.public import split
from roadworthy.ledger.rows import RunSummary

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Link, SpanContext

BATCH: Final = 256
"""Spans that are sent at a time."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_OF_RUNS: Final = frozenset(
    ("run", "heard", "said", "action", "verdict", "intent", "outcome", "question", "answer", "handover", "model_call",
     "undo", "signal")
)  # fmt: skip
"""Kinds of which every entry belongs to a run."""
_REASON: Final = ("rule", "code", "ruling", "enforced")
_IDS: Final = ("traceId", "spanId", "parentSpanId")


class Reader(Protocol):
    """What is asked of a ledger."""

    @property
    def id(self) -> str: ...
    def entries(self, *, run: str | None = None, kind: Kind | None = None) -> Iterator[Entry]: ...
    def runs(self, *, world: Realm | None = None) -> Iterator[RunSummary]: ...


def spans(
    ledger: Reader, *, since: datetime | None = None, until: datetime | None = None, world: Realm | None = None
) -> Iterator[ReadableSpan]:
    """All spans of a ledger, run by run; one run is held in memory at a time.

    `since`, `until`: runs of which something happened then, whole, and other entries of that time. Raises UsageError
    where OpenTelemetry's SDK is not installed.
    """
    _installed()
    for run in ledger.runs(world=world):
        if (since is None or run.last >= since) and (until is None or run.first < until):
            yield from _of_run(ledger, run)
    for kind in cast("Sequence[Kind]", get_args(Kind)):
        for entry in ledger.entries(kind=kind) if kind not in _OF_RUNS else ():
            within = (since is None or entry.at >= since) and (until is None or entry.at < until)
            if entry.run is None and within and world in (None, entry.world):
                yield _of_entry(ledger, entry)


# what they are made of ------------------------------------------------------------------------------------------------


def _id(length: int, *of: str) -> int:
    """The same number for the same names, which is never 0."""
    digest = hashlib.sha256("\x00".join(("roadworthy/otlp", *of)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:length]) or 1


def _context(trace: int, span: int) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(trace, span, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _nanoseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND * 1000


def _plain(value: Any) -> Any:
    """A value as an attribute may hold it; what is deeper is written as JSON. None for nothing."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in cast("list[Any]", value)):
        return tuple(cast("list[str]", value))
    return dumps(value).decode()


def _public(entry: Entry) -> Mapping[str, Any]:
    """What an entry may tell to anybody. Of a contract, who and which: it stands in the ledger for who wants it all."""
    body = dict(entry.body)
    reasons = body.pop("reasons", None)
    known, _ = split(entry.kind, body)
    if isinstance(reasons, list):
        # Of each reason all but its text, also where the text is sealed and so not there.
        given = [cast("Mapping[str, Any]", one) for one in cast("list[Any]", reasons) if isinstance(one, Mapping)]
        known = {**known, "reasons": [{key: one[key] for key in _REASON if key in one} for one in given]}
    if entry.kind == "contract":
        return {key: known[key] for key in ("agent", "version", "digest", "owner") if key in known}
    return known


def _attributes(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {"roadworthy.seq": entry.seq}
    for key, value in _public(entry).items():
        made = _plain(value)
        if made is not None:
            found[f"roadworthy.{entry.kind}.{key}"] = made
    return found


def _event(entry: Entry) -> Event:
    from opentelemetry.sdk.trace import Event

    return Event(f"{SCOPE}.{entry.kind}", attributes=_attributes(entry), timestamp=_nanoseconds(entry.at))


@dataclass(slots=True)
class _Told:
    """One span as the entries come by."""

    name: str
    context: SpanContext
    parent: SpanContext | None
    first: datetime
    last: datetime
    attributes: dict[str, Any]
    events: list[Event] = field(default_factory=list["Event"])
    links: list[Link] = field(default_factory=list["Link"])
    failed: str | None = None

    def take(self, entry: Entry) -> None:
        self.last = max(self.last, entry.at)
        self.events.append(_event(entry))

    def made(self, ledger: str) -> ReadableSpan:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanKind, Status, StatusCode

        if self.failed is not None:
            self.attributes["error.type"] = self.failed
        service = os.environ.get("OTEL_SERVICE_NAME") or SCOPE
        return ReadableSpan(
            self.name,
            context=self.context,
            parent=self.parent,
            resource=Resource({"service.name": service, "roadworthy.ledger": ledger}),
            attributes={key: value for key, value in self.attributes.items() if value is not None},
            events=self.events,
            links=self.links,
            kind=SpanKind.INTERNAL,
            status=Status(StatusCode.UNSET if self.failed is None else StatusCode.ERROR),
            start_time=_nanoseconds(self.first),
            end_time=_nanoseconds(self.last),
            instrumentation_scope=InstrumentationScope(SCOPE),
        )


def _of_entry(ledger: Reader, entry: Entry) -> ReadableSpan:
    place = str(entry.seq)
    made = _Told(
        name=f"{SCOPE}.{entry.kind}",
        context=_context(_id(16, ledger.id, "entry", place), _id(8, ledger.id, "entry", place)),
        parent=None,
        first=entry.at,
        last=entry.at,
        attributes={**_attributes(entry), "roadworthy.world": entry.world},
    )
    return made.made(ledger.id)


def _of_run(ledger: Reader, run: RunSummary) -> Iterator[ReadableSpan]:
    trace = _id(16, ledger.id, "run", run.run)
    shared: dict[str, Any] = {"gen_ai.conversation.id": run.run}
    if run.agent is not None:
        shared["gen_ai.agent.name"] = run.agent
    root = _Told(
        name=f"invoke_agent {run.agent}" if run.agent is not None else "invoke_agent",
        context=_context(trace, _id(8, ledger.id, "run", run.run)),
        parent=None,
        first=run.first,
        last=run.first,
        attributes={
            **shared,
            "gen_ai.operation.name": "invoke_agent",
            "roadworthy.principal": run.principal,
            "roadworthy.run_status": run.status,
            "roadworthy.world": run.world,
        },
    )
    actions: dict[str, _Told] = {}
    entries = list(ledger.entries(run=run.run))
    pieces = _Pieces(ledger, root, entries)
    for entry in entries:
        public = _public(entry)
        if entry.kind == "run":
            _note_contract(root, shared, public)
        if entry.kind == "action" and isinstance(public.get("id"), str):
            above = actions.get(str(public.get("for"))) or pieces.around.get(entry.seq, root)
            actions[str(public["id"])] = _of_action(ledger, above, shared, entry, public)
        mine = actions.get(root_of(entry.cause), root)
        mine.take(entry)
        root.last = max(root.last, entry.at)
        if mine is not root:
            _note(mine, entry, public)
    yield root.made(ledger.id)
    for told_of in (*pieces.told(shared), *actions.values()):
        yield told_of.made(ledger.id)


class _Pieces:
    """The pieces of work that agents gave to each other: a span each, around the calls that were made for it."""

    def __init__(self, ledger: Reader, root: _Told, entries: Sequence[Entry]) -> None:
        self.around: dict[int, _Told] = {}
        """By the seq of its entry, the piece of work that a call was made for; none where it was the run's own."""
        self._ledger = ledger
        self._trace = root.context.trace_id
        self._told: list[_Told] = []
        if several_agents(entries):
            self._go(tree_of(entries), root)

    def told(self, shared: Mapping[str, Any]) -> Iterator[_Told]:
        """The spans; `shared` is what all spans of the run say."""
        agent = {"roadworthy.agent": shared.get("gen_ai.agent.name")}
        for one in self._told:
            one.attributes = {**shared, "gen_ai.agent.name": None, **agent, **one.attributes}
            yield one

    def _go(self, branch: Branch, around: _Told) -> None:
        for item in branch.items:
            for part in item.parts if isinstance(item, Stretch) else ():
                if isinstance(part, Branch):
                    piece = self._of(part, around)
                    self._go(part, piece)
                    around.last = max(around.last, piece.last)
                    continue
                if part.kind == "action":
                    self.around[part.seq] = around
                around.last = max(around.last, part.at)

    def _of(self, branch: Branch, around: _Told) -> _Told:
        first = branch.items[0]
        given = cast("Entry", first.given if isinstance(first, Stretch) else first)
        id, agent = str(given.body.get("id")), given.body.get("agent")
        made = _Told(
            name=f"invoke_agent {agent}" if agent is not None else "invoke_agent",
            context=_context(self._trace, _id(8, self._ledger.id, "handover", str(given.run), id)),
            parent=around.context,
            first=given.at,
            last=max(given.at, branch.returned.at if branch.returned is not None else given.at),
            attributes={
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": agent,
                "roadworthy.handover": id,
                "roadworthy.seq": given.seq,
                "roadworthy.world": given.world,
            },
        )
        self._told.append(made)
        return made


def _note_contract(root: _Told, shared: dict[str, Any], public: Mapping[str, Any]) -> None:
    for key, name in (("version", "gen_ai.agent.version"), ("contract", "roadworthy.contract")):
        if key in public:
            shared[name] = root.attributes[name] = public[key]
    if "enforce" in public:
        root.attributes["roadworthy.enforce"] = public["enforce"]


def _of_action(
    ledger: Reader, above: _Told, shared: Mapping[str, Any], entry: Entry, public: Mapping[str, Any]
) -> _Told:
    from opentelemetry.trace import Link

    id, tool = str(public["id"]), public.get("tool")
    asked = entry.body.get("agent")
    agent = {"gen_ai.agent.name": asked, "roadworthy.agent": shared.get("gen_ai.agent.name")} if asked else {}
    made = _Told(
        name="execute_tool" if tool is None else f"execute_tool {tool}",
        context=_context(above.context.trace_id, _id(8, ledger.id, "action", id)),
        parent=above.context,
        first=entry.at,
        last=entry.at,
        attributes={
            **shared,
            **agent,
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool,
            "gen_ai.tool.type": "function",
            "roadworthy.action": id,
            "roadworthy.capability": public.get("capability"),
            "roadworthy.by": public.get("by"),
            "roadworthy.for": public.get("for"),
            "roadworthy.seq": entry.seq,
            "roadworthy.world": entry.world,
        },
    )
    live = context_of(str(public["trace"])) if "trace" in public else None
    if live is not None:
        made.links.append(Link(live))
    return made


def _note(action: _Told, entry: Entry, public: Mapping[str, Any]) -> None:
    """What the last verdict was and what came of the action."""
    attributes = action.attributes
    if entry.kind == "verdict":
        attributes["roadworthy.ruling"] = public.get("ruling")
        attributes["roadworthy.level"] = public.get("level")
        reasons = cast("Sequence[Mapping[str, Any]]", public.get("reasons") or ())
        decided = (r for r in reasons if r.get("enforced") and r.get("ruling") == public.get("ruling"))
        attributes["roadworthy.rule"] = next((r.get("rule") for r in decided), None)
        attributes["roadworthy.codes"] = tuple(str(r.get("code")) for r in reasons) or None
    elif entry.kind == "outcome":
        attributes["roadworthy.status"] = public.get("status")
        attributes["roadworthy.done"] = public.get("done")
        status = public.get("status")
        action.failed = str(status) if status in ("failed", "in_doubt") else None


# where they go --------------------------------------------------------------------------------------------------------


def send(made: Iterable[ReadableSpan], url: str, *, timeout_s: float = 10.0) -> int:
    """Send spans to a collector over OTLP/HTTP; how many there were.

    `url`: the collector's, such as http://127.0.0.1:4318; without a path, that of traces is added. Headers come from
    OTEL_EXPORTER_OTLP_HEADERS, as for all of OpenTelemetry. `timeout_s`: for each batch, with what is tried again.
    Raises UsageError where spans are not taken, and says how many were.
    """
    _installed()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    exporter = OTLPSpanExporter(endpoint=_endpoint(url), timeout=timeout_s)
    heard, count = _Heard(), 0
    log = logging.getLogger("opentelemetry.exporter")
    log.addHandler(heard)
    try:
        for batch in _batches(made):
            if exporter.export(batch) is not SpanExportResult.SUCCESS:
                why = f": {heard.last.rstrip('.')}" if heard.last else ""
                raise UsageError(
                    f"the collector at {_shown(url)} did not take the spans after the first {count:,}{why}. Spans keep "
                    "their ids, so that all of them can be sent again"
                )
            count += len(batch)
    finally:
        log.removeHandler(heard)
        exporter.shutdown()
    return count


def lines(made: Iterable[ReadableSpan]) -> Iterator[bytes]:
    """Spans as OTLP writes them into files: each line is a batch as JSON, which collectors can read in."""
    _installed()
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    for batch in _batches(made):
        written = MessageToDict(encode_spans(batch), use_integers_for_enums=True)
        yield json.dumps(_hexadecimal(written), separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _hexadecimal(value: Any) -> Any:
    """Ids as OTLP writes them in JSON, where protobuf has base64 (OTLP specification, JSON Protobuf Encoding)."""
    if isinstance(value, list):
        return [_hexadecimal(one) for one in cast("list[Any]", value)]
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {
            key: _bytes(inner).hex() if key in _IDS and isinstance(inner, str) else _hexadecimal(inner)
            for key, inner in items.items()
        }
    return value


def _bytes(text: str) -> bytes:
    from base64 import b64decode

    return b64decode(text)


class _Heard(logging.Handler):
    """Keeps why an exporter failed, which it tells nobody else."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


def _batches(made: Iterable[ReadableSpan]) -> Iterator[Sequence[ReadableSpan]]:
    rest = iter(made)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _endpoint(url: str) -> str:
    parts = _parts(url)
    if parts is None:
        raise UsageError("that is no address of a collector: give one such as http://127.0.0.1:4318")
    return f"{url.rstrip('/')}/v1/traces" if parts.path in ("", "/") and not parts.query else url


def _parts(url: str) -> SplitResult | None:
    """An address of a collector in its parts; None for what is none."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if known else None


def _shown(url: str) -> str:
    """An address without user and password."""
    parts = _parts(url)
    if parts is None:
        return "this address"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _installed() -> None:
    try:
        import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        import_module("opentelemetry.sdk.trace")
    except ImportError as cause:
        raise UsageError(
            "spans are made with OpenTelemetry's SDK, which is not installed: `pip install 'roadworthy[otel]'` brings "
            "it along"
        ) from cause
