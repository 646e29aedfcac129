"""Erasing: the keys of a subject are destroyed, and what was sealed under them can be read by nobody any more.

The ledger keeps every byte that it had, so that its proofs hold; what is gone is in the vault. That it was done, by
whom and why stands in an `erasure` entry, which names the slots and not the subject. It is written first: where the
keys could not be destroyed after it, the same erasure asked for again destroys them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, cast

import orjson

from roadworthy.core.errors import UsageError
from roadworthy.core.types import Draft, Entry
from roadworthy.ledger.heads import Group, segments
from roadworthy.ledger.store import Ledger

NAMED: Final = 20
"""The most entries that are named one by one."""

_NO_VAULT: Final = "what is erased are keys, and they lie in the vault: give it, by --vault or ROADWORTHY_VAULT"
_NO_WHY: Final = "an erasure names who wants it and why: by and because must not be empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A file that was made of the ledger, and may hold what is erased here."""

    seq: int
    """Of the `export` entry that names it."""
    path: str
    what: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What an erasure destroys, or would."""

    slots: tuple[str, ...]
    """The slots whose keys go, in hex."""
    entries: int
    """Entries that lose fields by it."""
    runs: tuple[str, ...]
    """The runs of these entries."""
    derived: tuple[Derived, ...]
    """Files to see to by hand, the latest last."""
    plain: tuple[int, ...]
    """Entries in which the subject's key itself stands in plain, in an id or because there was no vault; at most
    `NAMED`. These stay as they are."""
    seq: int | None = None
    """Of the `erasure` entry; None where nothing was erased yet."""


def plan(ledger: Ledger, *, subject: str | None = None, run: str | None = None) -> Erasure:
    """What `erase` would destroy. Reads the whole ledger once.

    Raises UsageError where the ledger was opened without its vault, and LedgerError.
    """
    if ledger.vault is None:
        raise UsageError(_NO_VAULT)
    return _counted(ledger, ledger.vault.slots_of(ledger.id, subject=subject, run=run), subject)


def _counted(ledger: Ledger, slots: Sequence[bytes], subject: str | None = None) -> Erasure:
    wanted = frozenset(slots)
    named = None if subject is None else _standing_alone(subject)
    entries, first = 0, 0
    pruned = False
    runs: dict[str, None] = {}
    plain: list[int] = []
    for group in ledger.groups():
        pruned = pruned or not group.heads
        lost = _lost(group, wanted)
        if lost:
            entries += lost
            first = first or group.first
            if group.run is not None:
                runs[group.run] = None
        if named is not None and group.world != "test" and named.search(group.heads) and len(plain) < NAMED:
            plain += [group.first + i for i, head in enumerate(group.lines) if named.search(head)]
    return Erasure(
        slots=tuple(slot.hex() for slot in slots),
        entries=entries,
        runs=tuple(runs),
        # Of entries that were pruned nobody can tell whose they were, so that any file may hold them.
        derived=tuple(_derived(ledger.entries(kind="export", after=0 if pruned else first), None if pruned else runs))
        if entries or (pruned and wanted)
        else (),
        plain=tuple(plain[:NAMED]),
    )


def erase(
    ledger: Ledger, *, subject: str | None = None, run: str | None = None, by: str, because: str, at: datetime
) -> Erasure:
    """Erase what a ledger holds about a subject, or what a run wrote before its subject was known.

    Nothing of it can be read from then on, by no process and from no copy, as long as nobody brings back an old copy of
    the vault. `by` and `because` stay in plain for good. Raises UsageError where there is nothing to erase, where
    `because` names the subject, and where the ledger was opened without its vault; LedgerError.
    """
    if not by.strip() or not because.strip():
        raise UsageError(_NO_WHY)
    for word in (by, because):
        if subject is not None and _standing_alone(subject.casefold(), escaped=False).search(word.casefold().encode()):
            raise UsageError(
                "an erasure entry stays in plain for good, and this one would name whom it is to forget: write the "
                "reason without the name, such as the number of the request"
            )
    found = plan(ledger, subject=subject, run=run)
    if not found.slots:
        whose = f"run {run!r}" if run is not None else f"{subject!r}"
        raise UsageError(
            f"the vault has no key of {whose}: this ledger holds nothing of theirs that is encrypted, or it was erased "
            "before. Subjects are named by their key, as `roadworthy ledger show` lists them"
        )
    vault = ledger.vault
    assert vault is not None, "plan() has seen it"
    seq = _write(ledger, found.slots, found.entries, len(found.runs), by, because, at)
    gone = {slot.hex() for slot in vault.erase(ledger.id, subject=subject, run=run)}
    late = gone - set(found.slots)
    if late:  # the run went on meanwhile
        _write(ledger, sorted(late), 0, 0, by, because, at)
    return replace(found, slots=tuple(sorted(gone)), seq=seq)


def erased_before(ledger: Ledger) -> tuple[str, ...]:
    """Slots that were erased and whose keys are there all the same: the vault was restored from an old copy.

    Raises UsageError where the ledger was opened without its vault, and LedgerError.
    """
    if ledger.vault is None:
        raise UsageError(_NO_VAULT)
    gone: dict[str, None] = {}
    for entry in ledger.entries(kind="erasure"):
        gone |= dict.fromkeys(cast("list[str]", entry.body.get("slots") or []))
    return tuple(slot for slot in gone if callable(ledger.vault.opener(bytes.fromhex(slot))))


def erase_again(ledger: Ledger, *, by: str, because: str, at: datetime) -> Erasure:
    """Destroy the keys of everything that was erased before, after the vault was restored from an old copy.

    Writes an `erasure` entry where there were any. Raises UsageError, LedgerError.
    """
    if not by.strip() or not because.strip():
        raise UsageError(_NO_WHY)
    slots = erased_before(ledger)
    if not slots:
        return Erasure(slots=(), entries=0, runs=(), derived=(), plain=())
    found = _counted(ledger, [bytes.fromhex(slot) for slot in slots])
    seq = _write(ledger, slots, found.entries, len(found.runs), by, because, at)
    assert ledger.vault is not None, "erased_before() has seen it"
    ledger.vault.erase_slots([bytes.fromhex(slot) for slot in slots])
    return replace(found, seq=seq)


def _write(ledger: Ledger, slots: Iterable[str], entries: int, runs: int, by: str, because: str, at: datetime) -> int:
    body = {"slots": list(slots), "entries": entries, "runs": runs, "by": by, "because": because}
    (entry,) = ledger.append([Draft(kind="erasure", world="production", run=None, body=body, at=at)])
    return entry.seq


def _lost(group: Group, slots: Collection[bytes]) -> int:
    """How many entries of a group lose fields with these slots."""
    if not slots or group.sealed is None:
        return 0
    digests = {one.digest.encode() for one in segments(group.sealed) if one.slot in slots}
    return sum(any(digest in head for digest in digests) for head in group.lines) if digests else 0


def _standing_alone(name: str, *, escaped: bool = True) -> re.Pattern[bytes]:
    """Finds a name as a word of its own; `escaped`: as JSON writes it."""
    written = orjson.dumps(name)[1:-1] if escaped else name.encode()
    return re.compile(rb"(?<![0-9A-Za-z])" + re.escape(written) + rb"(?![0-9A-Za-z])")


def _derived(exports: Iterable[Entry], runs: Collection[str] | None) -> Iterable[Derived]:
    """The files that hold anything in plain, but for those of other runs alone; `runs`: None where it may be any."""
    for entry in exports:
        body = entry.body
        if body.get("form") == "parquet":
            continue  # what is sealed is sealed there, too
        named = body.get("runs")
        only = set(cast("list[str]", named)) if isinstance(named, list) else set[str]()
        if runs is not None and only and only.isdisjoint(runs):
            continue
        yield Derived(
            seq=entry.seq,
            path=str(body.get("path") or body.get("file") or "?"),
            what=str(body.get("what") or body.get("form") or "export"),
            sha256=str(body.get("sha256", "")),
        )
