"""Outcomes that become known later: the ticket was opened again, the parcel came, the customer complained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final, Protocol, cast

from roadworthy.core.canonical import dumps, loads
from roadworthy.core.errors import Conflict, UsageError
from roadworthy.core.types import Claim, Draft, Entry, Guard, Kind
from roadworthy.ledger.rows import RunSummary

NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
"""What a signal may be called."""

_LONGEST: Final = 200
"""The most characters of an id, and of the name of whoever reports."""


class Book(Protocol):
    """What is asked of a ledger."""

    def append(self, drafts: Sequence[Draft], guards: Sequence[Guard] = ()) -> Sequence[Entry]: ...
    def entries(self, *, run: str | None = None, kind: Kind | None = None) -> Iterator[Entry]: ...
    def runs(self) -> Iterator[RunSummary]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Signalled:
    """A signal that stands in the ledger."""

    entry: Entry
    new: bool
    """False where it stood there before, under the same id."""


def signal(
    ledger: Book,
    run: str,
    name: str,
    *,
    value: Any = None,
    by: str | None = None,
    at: datetime | None = None,
    id: str | None = None,
    now: datetime,
) -> Signalled:
    """Write down what became known of a run, however long it is over.

    `name`: one that the run's contract waits for in `success`; where it waits for none, any word. `value`: what JSON
    can carry. `by`: who reports it. `at`: when it happened, where that is known; aware. `id`: the reporter's own, so
    that a report which is sent twice is written once. Raises UsageError for an unknown run or name, for an id under
    which something else was reported, and for all but the name where the run was erased.
    """
    began = next(ledger.entries(run=run), None)
    if began is None or not run:
        raise UsageError(_no_such_run(ledger, run))
    _check_name(ledger, run, name)
    for what, given in (("by", by), ("id", id)):
        if given is not None and not 0 < len(given.strip()) <= len(given) <= _LONGEST:
            raise UsageError(f"{what}={given!r}: give 1 to {_LONGEST} characters, or leave it out")
    if at is not None and at.tzinfo is None:
        raise UsageError(f"at={at.isoformat()} says no time zone: give an aware time, such as 2026-01-05T09:00:00Z")
    if at is not None and at > now:
        raise UsageError(f"at={at.isoformat()} is still to come: a signal tells of what has happened")
    subject, erased = _subject(ledger, run)
    if erased and (value, by, id) != (None, None, None):
        raise UsageError(
            f"run {run!r} was erased, and what is written of it now would not be: report the name {name!r} alone, "
            "without value, by and id"
        )
    body = _body(name, value=value, by=by, at=at, id=id)
    draft = Draft(kind="signal", world=began.world, run=run, body=body, at=now, subject=subject)
    if id is None:
        return Signalled(entry=ledger.append([draft])[0], new=True)
    try:
        return Signalled(entry=ledger.append([draft], [Claim(key=f"signal/{run}/{id}", value="")])[0], new=True)
    except Conflict:
        return Signalled(entry=_earlier(ledger, run, body), new=False)


def _body(name: str, *, value: Any, by: str | None, at: datetime | None, id: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {"name": name}
    if value is not None:
        body["value"] = value
    if by is not None:
        body["by"] = by
    if at is not None:
        body["happened"] = at.astimezone(UTC).isoformat()
    if id is not None:
        body["id"] = id
    try:
        return cast("dict[str, Any]", loads(dumps(body)))
    except (TypeError, ValueError, RecursionError) as cause:
        raise UsageError(f"the signal {name!r} of this value cannot be written: {cause}") from cause


def _earlier(ledger: Book, run: str, body: Mapping[str, Any]) -> Entry:
    """The signal that stands under the same id. Raises UsageError where it tells something else."""
    latest: Entry | None = None
    for entry in ledger.entries(run=run, kind="signal"):
        if entry.body.get("id") == body["id"]:
            if dict(entry.body) == body:
                return entry
            raise UsageError(
                f"under the id {body['id']!r} another signal of run {run!r} was reported (entry {entry.seq}): give "
                "this one an id of its own"
            )
        if entry.withheld and entry.body.get("name") == body["name"]:
            latest = entry  # its id cannot be read any more, and only one that tells the same is looked for
    if latest is not None:
        return latest
    raise UsageError(f"under the id {body['id']!r} another signal of run {run!r} was reported: give this one its own")


def _subject(ledger: Book, run: str) -> tuple[str | None, bool]:
    """For whom a run was, as far as that is known, and whether it was erased."""
    found: str | None = None
    erased = False
    for entry in ledger.entries(run=run, kind="run"):
        given = entry.body.get("subject")
        found = str(given) if given is not None else found
        erased = erased or "erased" in entry.withheld
    return found, erased


def _check_name(ledger: Book, run: str, name: str) -> None:
    if NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name!r} is no name of a signal: it begins with a letter, and letters, digits, `_`, `.` and `-` follow"
        )
    known = awaited(ledger, run)
    if known and name not in known:
        near = get_close_matches(name, known, n=1)
        cure = f"do you mean {near[0]!r}?" if near else f"it waits for {', '.join(known)}"
        raise UsageError(f"the contract of run {run!r} waits for no signal {name!r}; {cure}")


def awaited(ledger: Book, run: str) -> Sequence[str]:
    """The signals for which the contract of a run waits, as the ledger has it; empty where it has none."""
    digest = None
    for entry in ledger.entries(run=run, kind="run"):
        digest = entry.body.get("contract", digest)
    terms = next(
        (e.body.get("contract") for e in ledger.entries(kind="contract") if e.body.get("digest") == digest), None
    )
    names: dict[str, None] = {}
    for capability in _values(terms, "capabilities"):
        for criterion in cast("Sequence[Any]", _of(capability, "success") or ()):
            name = _of(criterion, "signal")
            if isinstance(name, str):
                names[name] = None
    return tuple(names)


def _of(holder: Any, key: str) -> Any:
    return cast("Mapping[str, Any]", holder).get(key) if isinstance(holder, Mapping) else None


def _values(holder: Any, key: str) -> Sequence[Any]:
    found = _of(holder, key)
    return tuple(cast("Mapping[str, Any]", found).values()) if isinstance(found, Mapping) else ()


def _no_such_run(ledger: Book, run: str) -> str:
    near = get_close_matches(run, [summary.run for summary in ledger.runs()], n=1)
    cure = f"do you mean {near[0]!r}?" if near else "`roadworthy ledger show` lists the runs"
    return f"there is no run {run!r}, and so nothing to report of it; {cure}"
