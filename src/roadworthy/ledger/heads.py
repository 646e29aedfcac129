"""Entries as they are stored and hashed: a head for each, a line of canonical JSON that is made once and never again.

A head says all that is not private: the entry's place, its public fields, and the hashes of the sealed segments that
hold the others. What one append writes for one run stands together in a group, sealed segments and all.

    {"at":…,"body":{…},"cause":…,"i":…,"kind":…,"run":…,"run_seq":…,"sealed":[…],"seq":…,"v":1,"world":…}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeAlias, cast

import orjson

from roadworthy.core.canonical import loads
from roadworthy.core.errors import LedgerError, Unreadable
from roadworthy.core.types import Entry, Kind, Realm, Withheld
from roadworthy.ledger.public import merge
from roadworthy.ledger.rows import LOOKED_FOR, Row, time_of
from roadworthy.ledger.upcast import FIRST, STEPS, upcast, version_of

SLOT: Final = 16
"""Bytes of the name of a key."""

_LENGTH: Final = 4

Opener: TypeAlias = Callable[[bytes, bytes], bytes]
"""Decrypts: nonce and ciphertext, and what they are bound to."""

Openers: TypeAlias = Callable[[bytes], "Opener | Withheld"]
"""The opener for the key of a slot, or why there is none."""


class Bundle:
    """Consecutive entries of one append, of one run and world, ready but for their places."""

    __slots__ = ("at", "kinds", "lines", "run", "sealed", "size", "sought", "tail", "world")

    def __init__(self, run: str | None, world: str, at: int) -> None:
        self.run = run
        self.world = world
        self.at = at
        self.kinds: set[str] = set()
        self.lines: list[tuple[bytes, bytes, bytes]] = []
        """Of each head what stands before `run_seq`, what stands between that and `seq`, and what stands after."""
        self.tail = _tail(FIRST, world)
        self.sealed: bytes | None = None
        self.sought: list[tuple[str, int]] = []
        """Kinds that are looked for, and where in the bundle they are."""
        self.size = 0
        """Bytes, more or less."""


_PLAIN: Final = b',"sealed":[],"seq":'


@cache
def _tail(version: int, world: str) -> bytes:
    return b',"v":%d,"world":"%b"}' % (version, world.encode())


def bundles(rows: Sequence[Row]) -> list[Bundle]:
    """Rows as bundles, nothing of them sealed."""
    made: list[Bundle] = []
    current: Bundle | None = None
    name = b"null"
    for at, world, run, kind, cause, body in rows:
        if current is None or current.run != run or current.world != world:
            current = Bundle(run, world, at)
            made.append(current)
            name = b"null" if run is None else orjson.dumps(run)
        add(current, name, at, kind, cause, body, _PLAIN)
    return made


def add(bundle: Bundle, run: bytes, at: int, kind: str, cause: str | None, body: bytes, sealed: bytes) -> None:
    """Add an entry to a bundle; `run` as JSON, `sealed` as it stands in the head, up to `seq`."""
    lines = bundle.lines
    i = len(lines)
    line = b'{"at":%d,"body":%b,"cause":%b,"i":%d,"kind":"%b","run":%b,"run_seq":' % (
        at,
        body,
        b"null" if cause is None else orjson.dumps(cause),
        i,
        kind.encode(),
        run,
    )
    # As long as no kind ever changed its form, there is nothing to look up.
    lines.append((line, sealed, _tail(version_of(kind), bundle.world) if STEPS else bundle.tail))
    bundle.kinds.add(kind)
    bundle.size += len(line) + 200
    if kind in LOOKED_FOR:
        bundle.sought.append((kind, i))


class Group(NamedTuple):
    """A row of the table of groups."""

    first: int
    """The seq of its first entry."""
    last: int
    run: str | None
    run_first: int
    """The run_seq of its first entry, 0 for entries of no run."""
    world: str
    at: int
    """Of its first entry, in microseconds since 1970, UTC."""
    kinds: str
    """The kinds that are in it, sorted, with commas between them."""
    heads: bytes
    """The heads, with line feeds between them."""
    sealed: bytes | None
    """The sealed segments, one after the other."""

    @property
    def lines(self) -> list[bytes]:
        """The heads; none where the group was pruned. Raises LedgerError where what stands there are no bytes."""
        if type(self.heads) is not bytes:
            raise LedgerError(
                f"entries {self.first} to {self.last} are damaged, what is stored there is no line of bytes: restore "
                "the ledger from a backup"
            )
        return self.heads.split(b"\n") if self.heads else []


def placed(bundle: Bundle, seq: int, run_seq: int) -> tuple[Group, list[bytes]]:
    """A bundle in its place, and the hashes of its leaves; its first entry gets these numbers."""
    first, run_first = seq, run_seq
    heads: list[bytes] = []
    leaves: list[bytes] = []
    step = 0 if bundle.run is None else 1
    for before, between, tail in bundle.lines:
        head = b"%b%d%b%d%b" % (before, run_seq, between, seq, tail)
        heads.append(head)
        leaves.append(sha256(b"\x00" + head).digest())
        seq += 1
        run_seq += step
    kinds = bundle.kinds
    group = Group(
        first,
        seq - 1,
        bundle.run,
        run_first,
        bundle.world,
        bundle.at,
        next(iter(kinds)) if len(kinds) == 1 else ",".join(sorted(kinds)),
        b"\n".join(heads),
        bundle.sealed,
    )
    return group, leaves


# Segments -------------------------------------------------------------------------------------------------------------


class Segment(NamedTuple):
    """A sealed segment: what is encrypted under one key."""

    slot: bytes
    """Names the key."""
    box: bytes
    """Nonce, ciphertext and tag."""
    digest: str
    """SHA-256 over all of it, in hex: what heads hold."""


def segment(slot: bytes, box: bytes) -> tuple[bytes, str]:
    """A segment as it is stored, and its digest."""
    whole = b"%b%b%b" % (slot, len(box).to_bytes(_LENGTH, "big"), box)
    return whole, sha256(whole).hexdigest()


def segments(sealed: bytes | None) -> list[Segment]:
    """The segments of a group. Raises LedgerError for bytes that are none."""
    found: list[Segment] = []
    at, given = 0, sealed or b""
    while at < len(given):
        start = at + SLOT + _LENGTH
        end = start + int.from_bytes(given[at + SLOT : start], "big")
        if start > len(given) or end > len(given):
            raise LedgerError("sealed fields are damaged: `roadworthy ledger verify` says where; restore a backup")
        found.append(Segment(given[at : at + SLOT], given[start:end], sha256(given[at:end]).hexdigest()))
        at = end
    return found


# Reading --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Opened:
    """What could be read of a group's segments."""

    fields: Mapping[str, Mapping[int, Mapping[str, Any]] | Withheld]
    """By digest: the private fields by the entry's index, or why they cannot be read."""


def opened(group: Group, openers: Openers | None, bound: bytes) -> _Opened:
    """The segments of a group, decrypted as far as their keys are there. Raises LedgerError for damaged ones."""
    found: dict[str, Mapping[int, Mapping[str, Any]] | Withheld] = {}
    for slot, box, digest in segments(group.sealed):
        opener = "sealed" if openers is None else openers(slot)
        if not callable(opener):
            found[digest] = opener
            continue
        try:
            listed = cast("list[tuple[int, dict[str, Any]]]", loads(opener(box, bound)))
            found[digest] = {int(i): fields for i, fields in listed}
        except Exception as broken:
            raise LedgerError(
                f"the sealed fields of entries {group.first} to {group.last} cannot be decrypted, they are not what "
                "was written: `roadworthy ledger verify` says what else was changed; restore the ledger from a backup"
            ) from broken
    return _Opened(found)


def entry_of_head(line: bytes, private: _Opened | None = None) -> Entry:
    """The entry behind a head, with the private fields that could be read.

    Raises LedgerError where the stored bytes are not what was written.
    """
    withheld: set[Withheld] = set()
    try:
        head = cast("dict[str, Any]", loads(line))
        if not _is_head(head):
            raise ValueError("what stands in it is of another kind than it must be")
        body: Mapping[str, Any] = head["body"]
        parts: list[Mapping[str, Any]] = []
        for digest in head["sealed"]:
            fields = private.fields.get(digest) if private is not None else "sealed"
            if fields is None:
                raise ValueError(f"its sealed fields {digest[:12]}… are missing")
            if isinstance(fields, str):
                withheld.add(fields)
            elif head["i"] in fields:
                parts.append(fields[head["i"]])
        body = merge(body, parts) if parts else body
        if STEPS or head["v"] != FIRST:
            body = upcast(head["kind"], head["v"], body)
        return Entry(
            seq=head["seq"],
            at=time_of(head["at"]),
            world=cast("Realm", head["world"]),
            run=head["run"],
            run_seq=head["run_seq"],
            kind=cast("Kind", head["kind"]),
            cause=head["cause"],
            body=body,
            withheld=frozenset(withheld) if withheld else _NOTHING,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as broken:
        raise LedgerError(
            f"an entry cannot be read, its bytes are damaged ({broken}; {line[:80]!r}…): `roadworthy ledger verify` "
            "says which; restore the ledger from a backup"
        ) from broken


def _is_head(head: Mapping[str, Any]) -> bool:
    """Whether there are numbers, texts and a mapping where readers expect them; for a file may hold anything."""
    run, cause = head["run"], head["cause"]
    return (
        type(head["body"]) is dict
        and type(head["seq"]) is type(head["run_seq"]) is type(head["i"]) is type(head["at"]) is int
        and type(head["kind"]) is type(head["world"]) is str
        and (run is None or type(run) is str)
        and (cause is None or type(cause) is str)
    )


_NOTHING: Final[frozenset[Withheld]] = frozenset()


_BYTES_OR_NONE: Final = (bytes, type(None))


def entries_of(group: Group, openers: Openers | None, bound: bytes) -> list[Entry]:
    """The entries of a group. Raises Unreadable where they are not what was written."""
    try:
        return _entries_of(group, openers, bound)
    except LedgerError as broken:
        raise Unreadable(group.run, None, broken.text, last=group.last) from broken


def _entries_of(group: Group, openers: Openers | None, bound: bytes) -> list[Entry]:
    if type(group.heads) is not bytes or type(group.sealed) not in _BYTES_OR_NONE:
        raise LedgerError(
            f"entries {group.first} to {group.last} are damaged, what is stored there is no line of bytes: restore the "
            "ledger from a backup"
        )
    private = opened(group, openers, bound) if group.sealed else None
    return [entry_of_head(line, private) for line in group.lines]
