"""Entries as they are stored: plain tuples whose body is already canonical bytes.

The bytes are made once, when an entry is appended, and are never made again: what is hashed, shipped between processes
and read back is what was written then, whatever the caller does to its values afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, cast, get_args, overload

import orjson

from roadworthy.core.canonical import dumps, loads
from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Draft, Entry, Kind, Realm

Row: TypeAlias = tuple[int, str, str | None, str, str | None, bytes]
"""at (microseconds since 1970, UTC), world, run, kind, cause, body."""

Place: TypeAlias = tuple[int, int]
"""seq, run_seq."""

MAX_BODY = 4 * 2**20
"""Bytes that the body of one entry may have."""

MAX_NAME = 2_000
"""Bytes that the name of a run may have, in UTF-8: not every engine finds rows by more."""

_ALWAYS_FITS = 200
"""Characters: so many have fewer bytes than that, whatever they are."""

CONTROLS: tuple[Kind, ...] = ("level", "stop", "signature")
"""Kinds that change what gates may do."""

OF_THE_WHOLE: frozenset[Kind] = frozenset(
    ("contract", "level", "stop", "signature", "manifest", "release", "export", "prune", "key", "erasure")
)
"""Kinds that belong to no run."""

SOUGHT: tuple[Kind, ...] = ("question", "answer", "undo", "observation", "drift")
"""Kinds that belong to runs, and are looked for over the whole ledger. What stands here is part of the format."""

LOOKED_FOR: frozenset[str] = OF_THE_WHOLE | frozenset(SOUGHT)
"""Kinds whose entries can be found without reading all others."""

_KINDS = frozenset(get_args(Kind))
_WORLDS = frozenset(get_args(Realm))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run at a glance."""

    run: str
    world: Realm
    """Of its first entry; a run may change from production to shadow and back."""
    first: datetime
    last: datetime
    entries: int
    agent: str | None
    principal: str | None
    subject: str | None
    """The last that is known."""
    status: str
    """`open`, `held`, `escalated`, `stopped` or `closed`."""
    counts: Mapping[str, int]
    """Entries by kind."""


def row_of(draft: Draft, public: Mapping[str, Any] | None = None) -> Row:
    """A draft as it will be stored, with nothing but its public fields where these are given.

    Raises LedgerError for what no ledger can keep.
    """
    kind, world = draft.kind, draft.world
    if kind not in _KINDS or world not in _WORLDS:
        raise LedgerError(
            f"an entry of kind {kind!r} in world {world!r} cannot be written: "
            f"kinds are {', '.join(sorted(_KINDS))}; worlds are {', '.join(sorted(_WORLDS))}"
        )
    if kind in OF_THE_WHOLE and draft.run is not None:
        raise LedgerError(
            f"an entry of kind {kind!r} belongs to no run, and this one names {draft.run!r}: leave it out"
        )
    run, cause = draft.run, draft.cause
    if run is not None and (len(run) > _ALWAYS_FITS or "\x00" in run or not run.isascii()):
        _check_run(run, kind)
    if cause is not None and not cause.isascii():
        _check_text(cause, kind)
    try:
        at = _microseconds(draft.at)
    except (TypeError, ValueError) as wrong:
        raise LedgerError(f"an entry of kind {kind!r} cannot be written: {wrong}; times are aware") from wrong
    return at, world, run, kind, cause, written(draft.body if public is None else public, kind)


def written(body: Any, kind: str, count: int = 1) -> bytes:
    """The bytes of what so many entries say, one of this kind. Raises LedgerError for what no ledger can keep."""
    try:
        found = dumps(body)
    except (TypeError, ValueError, RecursionError) as cause:
        raise LedgerError(
            f"an entry of kind {kind!r} cannot be written: {cause or type(cause).__name__}; bodies hold text, numbers, "
            "lists and mappings, and times are aware"
        ) from cause
    if len(found) > MAX_BODY * count:
        raise LedgerError(
            f"an entry of kind {kind!r} has {len(found):,} bytes, and {MAX_BODY:,} is the most: keep the large part "
            "somewhere else and write down where"
        )
    return found


def _check_text(name: str, kind: str) -> int:
    """How many bytes a name of a run or a cause has."""
    try:
        return len(name.encode())
    except UnicodeEncodeError as cause:
        raise LedgerError(
            f"an entry of kind {kind!r} cannot be written: the name {name!r} of its run or cause is no UTF-8 ({cause})"
        ) from cause


def _check_run(run: str, kind: str) -> None:
    size = _check_text(run, kind)
    if size > MAX_NAME:
        raise LedgerError(
            f"an entry of kind {kind!r} cannot be written: the name {run[:40]!r}… of its run has {size:,} bytes, and "
            f"{MAX_NAME:,} is the most"
        )
    if "\x00" in run:
        raise LedgerError(f"an entry of kind {kind!r} cannot be written: the name {run!r} of its run holds a zero byte")


@lru_cache(maxsize=8)
def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def draft_of(row: Row) -> Draft:
    """The draft behind a row. Decimals and times of its body are the text that they were written as."""
    at, world, run, kind, cause, body = row
    return Draft(
        kind=cast("Kind", kind),
        world=cast("Realm", world),
        run=run,
        body=loads(body),
        at=time_of(at),
        cause=cause,
    )


def entry_of(row: Row, place: Place) -> Entry:
    """The entry behind a row. Raises LedgerError where the stored bytes are not what was written."""
    at, world, run, kind, cause, body = row
    try:
        known = loads(body)
    except ValueError as broken:
        raise LedgerError(
            f"entry {place[0]} cannot be read, its bytes are damaged ({broken}): restore the ledger from a backup"
        ) from broken
    return Entry(
        seq=place[0],
        at=time_of(at),
        world=cast("Realm", world),
        run=run,
        run_seq=place[1],
        kind=cast("Kind", kind),
        cause=cause,
        body=known,
    )


def binding(ledger_id: str) -> bytes:
    """What sealed fields are bound to: in another ledger they do not open."""
    return b"roadworthy/1/" + ledger_id.encode()


def time_of(microseconds: int) -> datetime:
    """A stored time. Raises LedgerError for one outside of the calendar."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError as cause:
        raise LedgerError(f"{microseconds} is no time, so the ledger is damaged: restore it from a backup") from cause


class Span(NamedTuple):
    """Where entries of one run stand that were appended together."""

    first: int
    """The seq of the first."""
    last: int
    run_first: int
    """The run_seq of the first; the others follow it."""


class Appended(Sequence[Entry]):
    """The entries that an append made, in order. They are built when they are looked at, which few callers do."""

    __slots__ = ("_at", "_count", "span")

    def __init__(self, count: int, at: Callable[[int], Entry], span: Span | None = None) -> None:
        """`span`: where they stand, if they are of one run and durable."""
        self._count = count
        self._at = at
        self.span = span

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Entry, ...]: ...
    def __getitem__(self, index: int | slice) -> Entry | tuple[Entry, ...]:
        at = range(self._count)[index]
        return tuple(map(self._at, at)) if isinstance(at, range) else self._at(at)


def pack(rows: Iterable[Row]) -> bytes:
    """Rows as one string of bytes, to be sent to another process."""
    return orjson.dumps([(*row[:5], row[5].decode()) for row in rows])


def unpack(packed: bytes) -> list[Row]:
    """The rows behind packed bytes, to the byte. Raises LedgerError for bytes that are no packed rows."""
    try:
        given = cast("list[list[Any]]", orjson.loads(packed))
        rows: list[Row] = [(at, world, run, kind, cause, body.encode()) for at, world, run, kind, cause, body in given]
        if all(type(row[0]) is int and row[1] in _WORLDS and row[3] in _KINDS for row in rows):
            return rows
    except (ValueError, TypeError, AttributeError) as cause:
        raise LedgerError(f"these bytes are no batch of entries ({cause}): send what Batch.pack() gave") from cause
    raise LedgerError("these bytes are no batch of entries: send what Batch.pack() gave")
