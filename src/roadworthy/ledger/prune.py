"""Entries that nobody needs any more, given up: their hashes stay in the tree, and their archive is checked before.

What goes are the heads and the sealed fields of runs that have rested for the time of retention, and that stand in
files which `parquet.py` has written and registered. Their rows stay, without content, so that places, proofs and run
numbers hold. What gates and auditors look for over the whole ledger is never given up: contracts, levels, stops,
signatures, keys, learned answers of tools, and whatever belongs to no run; nor runs with a question that waits.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from roadworthy.core.canonical import dumps
from roadworthy.core.errors import LedgerError, UsageError
from roadworthy.core.types import Draft
from roadworthy.ledger.heads import Group
from roadworthy.ledger.merkle import leaf_hash
from roadworthy.ledger.parquet import heads_of, sha256_of
from roadworthy.ledger.tree import TILE

if TYPE_CHECKING:
    from roadworthy.ledger.store import Ledger

RETENTION: Final = timedelta(days=184)
"""Six months, whichever they are: what the EU AI Act asks for at least (Regulation (EU) 2024/1689, art. 19 and 26)."""

_KEPT: Final = frozenset(("observation", "drift", "signal", "incident"))
"""Kinds of runs that are looked for as long as the ledger lives: what tools' answers are held against, and outcomes
that came late."""

_RANGES: Final = 5_000
"""Ranges of places that one entry lists."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was given up."""

    entries: int
    runs: int
    files: tuple[str, ...]
    """The archives in which they stand."""


def prune(
    ledger: Ledger,
    *,
    before: datetime,
    archives: Path,
    by: str,
    because: str,
    now: datetime,
    retention: timedelta = RETENTION,
) -> Pruned:
    """Give up the entries of runs whose last entry is older than `before`, as far as the archives hold them.

    A `prune` entry says what goes, who wanted it and in which files it stands, before anything goes; so a prune that
    breaks off is finished by the next. Raises UsageError where `before` is within the time of retention or no archive
    holds anything of it, LedgerError where an archive is not what was exported or the ledger cannot be written.
    """
    if before > now - retention:
        raise UsageError(
            f"entries are kept for {retention.days} days at least, and {before:%Y-%m-%d} is not so long ago: give a "
            f"day before {now - retention:%Y-%m-%d}"
        )
    archived = _archived(ledger, archives, before)
    resting = _resting(ledger, before)
    said = pruned_ranges(ledger)
    given_up: list[Group] = []
    runs: set[str] = set()
    ranges: list[list[int]] = []
    for group in _whole(ledger):
        if group.run is None or group.run not in resting or not _KEPT.isdisjoint(group.kinds.split(",")):
            continue
        if all(archived.get(seq) == leaf_hash(line) for seq, line in enumerate(group.lines, start=group.first)):
            given_up.append(group)
            runs.add(group.run)
            if _within(said, group.first):
                continue  # an earlier prune has said so, and broke off
            if ranges and ranges[-1][1] == group.first - 1:
                ranges[-1][1] = group.last
            else:
                ranges.append([group.first, group.last])
    files = [entry.body for entry in ledger.entries(kind="export") if entry.body.get("form") == "parquet"]
    used = [
        {"file": body["file"], "sha256": body["sha256"]}
        for body in files
        if any(body["first"] <= group.last and group.first <= body["last"] for group in given_up)
    ]
    for at in range(0, len(ranges), _RANGES):
        body: dict[str, Any] = {
            "before": before,
            "ranges": ranges[at : at + _RANGES],
            "rows": rows_digest(
                group
                for group in given_up
                if ranges[at][0] <= group.first <= ranges[at : at + _RANGES][-1][1] and not _within(said, group.first)
            ),
            "files": used,
            "by": by,
            "because": because,
        }
        ledger.append([Draft(kind="prune", world="production", run=None, body=body, at=now)])
    if given_up:
        ledger.give_up([group.first for group in given_up])
    return Pruned(
        entries=sum(group.last - group.first + 1 for group in given_up),
        runs=len(runs),
        files=tuple(str(one["file"]) for one in used),
    )


def _within(ranges: Sequence[tuple[int, int]], seq: int) -> bool:
    at = bisect(ranges, (seq, seq)) - 1
    return any(begin <= seq <= end for begin, end in ranges[max(0, at) : at + 2])


def rows_digest(groups: Iterable[Group]) -> str:
    """SHA-256, in hex, over what is left of pruned groups in the table: nothing else would prove it any more."""
    digest = sha256()
    for group in groups:
        digest.update(row_bytes(group))
    return digest.hexdigest()


def row_bytes(group: Group) -> bytes:
    """The columns of a group without its content, a line of canonical JSON."""
    return dumps(list(group[:7])) + b"\n"


def pruned_ranges(ledger: Ledger) -> list[tuple[int, int]]:
    """The places that entries of the ledger say were given up, from and to, in order and without overlaps."""
    found: list[tuple[int, int]] = []
    said = [(int(a), int(b)) for entry in ledger.entries(kind="prune") for a, b in entry.body.get("ranges", ())]
    for begin, end in sorted(said):
        if found and begin <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _whole(ledger: Ledger) -> Iterator[Group]:
    """Groups of runs that are still there, up to where the tree's tiles are complete and prove them by themselves."""
    end = ledger.size // TILE * TILE
    for group in ledger.groups():
        if group.last > end:
            return
        if group.run is not None and group.heads:
            yield group


def _archived(ledger: Ledger, folder: Path, before: datetime) -> dict[int, bytes]:
    """The leaf hashes of all entries in registered archives of months that were over then."""
    found: dict[int, bytes] = {}
    for entry in ledger.entries(kind="export"):
        body = entry.body
        if body.get("form") != "parquet" or str(body.get("month")) >= f"{before:%Y-%m}":
            continue
        file = folder / str(body["file"])
        if not file.exists():
            continue
        if sha256_of(file) != body["sha256"]:
            raise LedgerError(
                f"{file} is not the file that was exported, its hash is another one: restore it, or move it away and "
                "export the month again. Nothing was pruned"
            )
        found.update((seq, leaf_hash(head)) for seq, head in heads_of(file))
    if not found:
        raise UsageError(
            f"{folder} holds no export of a month before {before:%Y-%m}: run `roadworthy ledger export --parquet "
            f"{folder}` first; what was not archived is not pruned"
        )
    return found


def _resting(ledger: Ledger, before: datetime) -> set[str]:
    """Runs that have no entry since, and no question that waits."""
    limit = (before - _EPOCH) // timedelta(microseconds=1)
    last: dict[str, int] = {}
    for group in ledger.groups():
        if group.run is not None:
            last[group.run] = max(group.at, last.get(group.run, group.at))
    waiting: dict[str, str | None] = {
        entry.body.get("question", ""): entry.run for entry in ledger.entries(kind="question")
    }
    for entry in ledger.entries(kind="answer"):
        waiting.pop(str(entry.body.get("question", "")), None)
    return {run for run, at in last.items() if at < limit and run not in waiting.values()}
