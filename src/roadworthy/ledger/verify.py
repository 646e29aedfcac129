"""Whether a ledger is what was written: every byte of it that its proofs cover, and every row that is made from them.

The entries themselves are looked at by `roadworthy.verify_ledger`, the same that checks an export without Roadworthy.
Here stands what only the ledger has: columns, tiles, and the tables by which entries are found.
"""

from __future__ import annotations

import contextlib
from array import array
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from roadworthy.core.errors import LedgerError
from roadworthy.ledger.heads import Group
from roadworthy.ledger.jsonl import leaves_of
from roadworthy.ledger.prune import row_bytes
from roadworthy.ledger.rows import LOOKED_FOR
from roadworthy.ledger.schema import VERSION
from roadworthy.ledger.tree import TILE, Frontier, Tile
from roadworthy.verify_ledger import Asked, Audit, Checkpoint, Findings, Head, Misfit, Report

if TYPE_CHECKING:
    from roadworthy.ledger.store import Ledger

_HEIGHT: Final = 8
_HASH: Final = 32


def verify(
    ledger: Ledger, asked: Asked | None = None, *, findings: Findings | None = None, acts: bool = True
) -> Report:
    """Check a whole ledger as it stands now, while others may go on writing to it.

    `findings`: what was found already, and is to stand in the report, too. `acts`: check what people have signed by the
    heads alone; `audit.verify` does it by all that a contract says. Holds a few bytes for each entry that is looked
    for over the whole ledger, and for each run. Raises LedgerError where nothing can be read at all.
    """
    asked = asked or Asked()
    findings = findings or Findings()
    cosigned = ledger.cosigned()  # before the checkpoint, so that honest ones are no later than it
    tips = list(ledger.rows("tip"))
    size, note = (_number(tips[0][1]), tips[0][2]) if tips else (0, None)
    for fault in ledger.faults():
        findings.add("medium", f"the engine says: {fault}")
    _identity(ledger, findings, tips)
    check = _Check(ledger, findings, size, acts=acts)
    notes = [text for _, text in cosigned]
    for text in (*notes, *((asked.since,) if asked.since is not None else ())):
        check.want(text)
    try:
        check.groups()
    except LedgerError as broken:
        findings.add("medium", f"the entries after {check.size} cannot be read: {broken.text}", check.size + 1)
    audit = check.audit
    signed, trusted = audit.checkpoint(note, trusted=asked.keys)
    check.tables(root_is_good=_good(note, audit))
    if asked.since is not None:
        audit.remembered(asked.since)
    for of, text in cosigned:
        if of != _size_of(text):
            findings.add("cosignature", f"a cosigned checkpoint of {_size_of(text)} entries is kept as one of {of}")
    window = audit.cosigned(notes, asked.witnesses)
    audit.end()
    return audit.report(signed=signed, trusted=trusted, window=window)


def _good(note: str | None, audit: Audit) -> bool:
    """Whether the entries are those that the last checkpoint was written for."""
    try:
        last = Checkpoint.parse(note or "")
    except Misfit:
        return False
    return (last.size, last.root) == (audit.tree.size, audit.tree.root)


def _size_of(note: Any) -> int:
    try:
        return Checkpoint.parse(note).size
    except Misfit:
        return -1


def _identity(ledger: Ledger, findings: Findings, tips: Sequence[tuple[Any, ...]]) -> None:
    """The tables of one row have one, and say what they must."""
    if list(ledger.rows("identity")) != [(ledger.id,)]:
        findings.add("identity", "the ledger has not one id, but several")
    if list(ledger.rows("ledger")) != [(VERSION,)]:
        findings.add("identity", "the ledger has not one version, but several")
    for row in tips[1:]:
        findings.add("checkpoint", f"a second last checkpoint stands in the ledger, of {row[1]} entries")
    for row in tips[:1]:
        if row[0] != 1 or row[1] != _size_of(str(row[2])):
            findings.add("checkpoint", f"the last checkpoint is kept as one of {row[1]} entries, and is not")


class _Left:
    """What is left of pruned groups, held against what the `prune` entries say of it.

    Entries that say it in another form are damaged, and are told of as such.
    """

    def __init__(self, ledger: Ledger, findings: Findings) -> None:
        self._findings = findings
        self._said: dict[int, tuple[str, Any]] = {}
        """By the seq of a `prune` entry: the digest that it gives, and the one that comes out."""
        self._ranges: list[tuple[int, int, int]] = []
        with contextlib.suppress(LedgerError, TypeError, ValueError, KeyError):
            for entry in ledger.entries(kind="prune"):
                ranges = [(int(a), int(b), entry.seq) for a, b in entry.body["ranges"]]
                self._said[entry.seq] = str(entry.body["rows"]), sha256()
                self._ranges += ranges
        self._ranges.sort()

    def take(self, group: Group) -> None:
        """The next group, with its content or without."""
        if type(group.first) is not int:
            return
        at = bisect(self._ranges, (group.first, self._end, 0)) - 1
        if at >= 0 and self._ranges[at][0] <= group.first <= self._ranges[at][1]:
            self._said[self._ranges[at][2]][1].update(row_bytes(group))

    _end = 1 << 63

    def end(self) -> None:
        """After all groups."""
        for seq, (said, found) in self._said.items():
            if found.hexdigest() != said:
                self._findings.add(
                    "columns", f"what is left of the groups that were pruned by entry {seq} is not what was left", seq
                )


class _Check:
    """One pass over a ledger."""

    def __init__(self, ledger: Ledger, findings: Findings, size: int, *, acts: bool) -> None:
        self.ledger = ledger
        self.findings = findings
        self.size = size
        """Entries that there were when the check began."""
        self.audit = Audit(findings, ledger=ledger.id, read=orjson.loads, write=_canonical, acts=acts)
        self._frontier = Frontier()
        self._tiles: dict[tuple[int, int], tuple[bytes, bytes]] = {}
        """Of each tile that is complete by the entries, the hash of its hashes, and its root."""
        self._sought: dict[str, array[int]] = {kind: array("q") for kind in sorted(LOOKED_FOR)}
        self._changed: int | None = None
        self._left = _Left(ledger, findings)

    def want(self, note: str) -> None:
        """Keep the root at the size of a checkpoint."""
        self.audit.want(_size_of(note))

    # -- the entries ----------------------------------------------------------------------------------------------

    def groups(self) -> None:
        """Take in all groups up to the size. Raises LedgerError where one cannot be read."""
        self._stored = {
            (level, index): (sha256(hashes).digest(), root) for level, index, hashes, root in _tiles(self.ledger)
        }
        for row in self.ledger.rows("groups"):
            if type(row[0]) is int and row[0] > self.size:
                # Somebody has gone on writing; then the checkpoint has gone on as well.
                if _number(row[1]) > _number(self.ledger.size):
                    self.findings.add("size", f"entry {row[0]} stands behind the last checkpoint", row[0])
                return
            self._group(Group(*row))

    def _group(self, group: Group) -> None:
        audit, first = self.audit, self.audit.tree.size + 1
        if type(group.heads) is not bytes or type(group.sealed) not in (bytes, type(None)):
            self.findings.add("columns", f"the entries from {group.first} on are no bytes", first)
            return
        # Those that are still there, too: a prune that broke off is finished by the next.
        self._left.take(group)
        if group.first != first:
            what = "are missing" if _above(group.first, first) else "stand there twice, or in another place"
            self.findings.add(
                "seq", f"the group of entry {group.first} stands where {first} belongs: entries {what}", first
            )
        if not group.heads and group.sealed is None and type(group.last) is int and group.last >= group.first:
            leaves = leaves_of(self.ledger, group)
            audit.skip(leaves)
            self._add(leaves)
            return
        found = audit.group(group.heads.split(b"\n"), group.sealed)
        heads = [head for _, head in found]
        self._hold_columns(group, heads, first)
        for head in heads:
            if head is not None and head["kind"] in LOOKED_FOR:
                self._sought[head["kind"]].append(head["seq"])
        self._add([leaf for leaf, _ in found])

    def _hold_columns(self, group: Group, heads: Sequence[Head | None], first: int) -> None:
        told = _columns(heads, first)
        for name, right, there in zip(Group._fields, told or (), group, strict=False):
            if right != there or type(right) is not type(there):
                text = f"entry {first}: `{name}` of its group is {there!r}, and the entries say {right!r}"
                self.findings.add("columns", text, first)

    def _add(self, leaves: Sequence[bytes]) -> None:
        for tile in self._frontier.extend(leaves):
            self._tile(tile)

    def _tile(self, tile: Tile) -> None:
        place = tile.level, tile.idx
        mine = sha256(tile.hashes).digest(), tile.root
        self._tiles[place] = mine
        if tile.level == 0 and self._changed is None and place in self._stored and self._stored[place][0] != mine[0]:
            there = next((row[2] for row in _tiles(self.ledger) if row[:2] == place), b"")
            at = next((i for i in range(TILE) if _slice(there, i) != _slice(tile.hashes, i)), 0)
            self._changed = tile.idx * TILE + at + 1

    # -- what is made from them -----------------------------------------------------------------------------------

    def tables(self, *, root_is_good: bool) -> None:
        """Hold the other tables against the entries."""
        self._left.end()
        if self._changed is not None and not root_is_good:
            self.findings.add("leaf", f"entry {self._changed} is not the one that was written there", self._changed)
        if root_is_good:
            self._tiles_as_entries(_number(self.ledger.size))
        self._sought_as_entries()

    def _tiles_as_entries(self, now: int) -> None:
        for place, mine in self._tiles.items():
            there = self._stored.get(place)
            if there != mine:
                what = "is missing" if there is None else "was changed"
                self.findings.add("tiles", f"tile {place[1]} of level {place[0]} {what}")
        for level, index in self._stored.keys() - self._tiles.keys():
            end = (index + 1) << (_HEIGHT * (level + 1))
            if not self.size < end <= now:  # else it was completed since
                self.findings.add("tiles", f"tile {index} of level {level} is there, and no entries for it")

    def _sought_as_entries(self) -> None:
        there: dict[str, array[int]] = {kind: array("q") for kind in self._sought}
        later: list[tuple[Any, Any]] = []
        for kind, seq in self.ledger.rows("sought"):
            if type(seq) is int and kind in there and 1 <= seq <= self.size:
                there[kind].append(seq)
            else:
                later.append((kind, seq))
        now = _number(self.ledger.size)  # after them, so that what was written meanwhile is no later than it
        for kind, seq in later:
            if type(seq) is not int or kind not in there or not 1 <= seq <= now:
                self.findings.add("sought", f"{kind!r} is looked for at entry {seq!r}, where no such entry is")
        for kind, right in self._sought.items():
            if right == there[kind]:
                continue
            for seq in sorted(set(right) - set(there[kind])):
                self.findings.add("sought", f"entry {seq} ({kind}) would not be found: its place was taken away", seq)
            for seq in sorted(set(there[kind]) - set(right)):
                self.findings.add("sought", f"entry {seq} is looked for as {kind}, which it is not", seq)


def _tiles(ledger: Ledger) -> Iterator[tuple[int, int, bytes, bytes]]:
    for level, index, hashes, root in ledger.rows("tiles"):
        if type(level) is int and type(index) is int and type(hashes) is bytes and type(root) is bytes:
            yield level, index, hashes, root
        else:
            yield -1, -1, b"", b""  # found as a tile that no entries are for


def _number(value: Any) -> int:
    """A number that an engine keeps in a column of numbers, where it may keep other things as well."""
    return value if type(value) is int else 0


def _slice(hashes: bytes, at: int) -> bytes:
    return hashes[at * _HASH : (at + 1) * _HASH]


def _above(one: Any, other: int) -> bool:
    return type(one) is int and one > other


def _columns(heads: Sequence[Head | None], first: int) -> tuple[Any, ...] | None:
    """What the columns of a group say, by its heads; None where these cannot be read."""
    if not heads or any(head is None for head in heads):
        return None
    known = cast("Sequence[Mapping[str, Any]]", heads)
    one = known[0]
    kinds = ",".join(sorted({head["kind"] for head in known}))
    return first, first + len(known) - 1, one["run"], one["run_seq"], one["world"], one["at"], kinds


def _canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
