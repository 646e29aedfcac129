"""A ledger by month as Parquet, for DuckDB and whatever else reads it, and as an archive that can be checked.

A row an entry: its head as it is hashed, what is most asked for of it in columns of its own, and for the first entry of
each group the sealed segments of the group, still encrypted. So a file holds all that was pruned, and an erasure holds
for it, too. Needs the extra `parquet`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from roadworthy.core.errors import LedgerError, UsageError, told_why
from roadworthy.core.types import Draft
from roadworthy.ledger.heads import Group

if TYPE_CHECKING:
    from roadworthy.ledger.store import Ledger

FIELDS: Final = ("tool", "capability", "principal", "ruling", "level", "status", "done", "by", "role", "name")
"""Public fields of bodies that have a column of their own; null where an entry has none, or none that is text."""

_ROWS: Final = 131_072
"""Entries that are held at once; a row group of the file."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A file that was written."""

    file: Path
    sha256: str
    month: date
    """The first day of the month, UTC."""
    first: int
    """The seq of its first entry."""
    last: int
    entries: int

    def body(self) -> dict[str, Any]:
        """What the ledger's `export` entry says of it."""
        return {
            "form": "parquet",
            "file": self.file.name,
            "sha256": self.sha256,
            "month": f"{self.month:%Y-%m}",
            "first": self.first,
            "last": self.last,
            "entries": self.entries,
        }


def export_months(ledger: Ledger, folder: Path, *, months: Sequence[date] = (), now: datetime) -> list[Archive]:
    """Write a file for each month of the ledger that is over, or for the months given, and register each in the ledger.

    A group belongs to the month of its first entry. A month whose file was registered before, and still has that
    hash, is not written again. Raises UsageError where pyarrow is not installed or the folder cannot be written to,
    LedgerError.
    """
    _pyarrow("pyarrow")
    known = {entry.body.get("sha256") for entry in ledger.entries(kind="export")}
    made: list[Archive] = []
    for month, groups in _by_month(ledger.groups()):
        if month not in months if months else month >= _month_of(now):
            continue
        file = folder / f"entries-{month:%Y-%m}.parquet"
        if file.exists() and sha256_of(file) in known:
            continue
        if file.exists():
            raise UsageError(
                f"{file} is there already, and is none that this ledger has written: move it, or give another folder"
            )
        made.append(_write(file, month, groups))
    if made:
        ledger.append([Draft(kind="export", world="production", run=None, body=one.body(), at=now) for one in made])
    return made


def _by_month(groups: Iterable[Group]) -> Iterator[tuple[date, Iterator[Group]]]:
    """Groups by month. Clocks go back, so a month may come twice; then its later part is left for the month's end."""
    held: dict[date, list[Group]] = {}
    for group in groups:
        if group.heads:
            held.setdefault(_month_of(_EPOCH + timedelta(microseconds=group.at)), []).append(group)
    return ((month, iter(held[month])) for month in sorted(held))


def _month_of(at: datetime) -> date:
    return at.date().replace(day=1)


def _write(file: Path, month: date, groups: Iterator[Group]) -> Archive:
    parquet = _pyarrow("pyarrow.parquet")
    part = file.with_name(f"{file.name}.part")
    first = last = count = 0
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # What is read is written while the next is being read: Arrow does either without Python's lock.
        with (
            parquet.ParquetWriter(part, _schema(), compression="zstd", use_dictionary=True) as writer,
            ThreadPoolExecutor(max_workers=1) as beside,
        ):
            writing: Future[Any] | None = None
            for batch in tables(groups):
                seqs = batch.column("seq")
                first = first or seqs[0].as_py()
                last = seqs[-1].as_py()
                count += batch.num_rows
                if writing is not None:
                    writing.result()
                writing = beside.submit(writer.write_table, batch)
            if writing is not None:
                writing.result()
        with part.open("rb+") as handle:
            os.fsync(handle.fileno())
        digest = sha256_of(part)
        part.replace(file)
    except OSError as cause:
        raise UsageError(f"{file} cannot be written ({told_why(cause)}): give another folder") from cause
    finally:
        part.unlink(missing_ok=True)
    return Archive(file=file, sha256=digest, month=month, first=first, last=last, entries=count)


def sha256_of(file: Path) -> str:
    """The hash of a file, in hex."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def tables(groups: Iterable[Group]) -> Iterator[Any]:
    """Groups as Arrow tables of this form, some ten thousand entries each."""
    held: list[Group] = []
    rows = 0
    for group in groups:
        held.append(group)
        rows += group.last - group.first + 1
        if rows >= _ROWS:
            yield _table(held)
            held, rows = [], 0
    if held:
        yield _table(held)


def _schema() -> Any:
    arrow = _pyarrow("pyarrow")
    text = arrow.string()
    columns = [
        ("seq", arrow.int64()),
        ("at", arrow.timestamp("us", tz="UTC")),
        ("world", text),
        ("run", text),
        ("run_seq", arrow.int64()),
        ("kind", text),
        ("cause", text),
        *((name, text) for name in FIELDS),
        ("head", text),
        ("group_first", arrow.int64()),
        ("sealed", arrow.binary()),
    ]
    return arrow.schema(columns)


def _table(groups: Sequence[Group]) -> Any:
    arrow, compute = _pyarrow("pyarrow"), _pyarrow("pyarrow.compute")
    joined = b"\n".join([group.heads for group in groups])
    parsed = _parsed(joined)
    body = parsed.column("body").combine_chunks()
    seqs = parsed.column("seq")
    lengths = [group.last - group.first + 1 for group in groups]
    starts = list(chain.from_iterable([group.first] * n for group, n in zip(groups, lengths, strict=True)))
    sealed: list[bytes | None] = []
    for group, n in zip(groups, lengths, strict=True):
        sealed.append(group.sealed)
        sealed += [None] * (n - 1)
    columns = {
        "seq": seqs,
        "at": parsed.column("at").cast(arrow.timestamp("us", tz="UTC")),
        **{name: parsed.column(name) for name in ("world", "run", "run_seq", "kind", "cause")},
        **{name: body.field(name) for name in FIELDS},
        "head": compute.split_pattern(arrow.array([joined], arrow.large_binary()).cast(arrow.large_string()), "\n")
        .flatten()
        .cast(arrow.string()),
        "group_first": arrow.array(starts, arrow.int64()),
        "sealed": arrow.array(sealed, arrow.binary()),
    }
    return arrow.table(columns, schema=_schema())


def _parsed(joined: bytes) -> Any:
    """Heads as a table of Arrow, which reads JSON Lines many times as fast as Python does."""
    arrow, reader = _pyarrow("pyarrow"), _pyarrow("pyarrow.json")
    text, number = arrow.string(), arrow.int64()
    body = arrow.struct([(name, text) for name in FIELDS])
    form = arrow.schema(
        [("at", number), ("body", body), ("cause", text), ("kind", text), ("run", text), ("run_seq", number),
         ("seq", number), ("world", text)]
    )  # fmt: skip
    options = reader.ParseOptions(explicit_schema=form, unexpected_field_behavior="ignore")
    blocks = reader.ReadOptions(block_size=max(1 << 22, len(joined) // 4))
    try:
        return reader.read_json(arrow.BufferReader(joined), read_options=blocks, parse_options=options)
    except arrow.ArrowInvalid:
        # A field that is text nearly always is something else in one of them: those are read one by one.
        return arrow.Table.from_pylist([_row(line) for line in joined.split(b"\n")], schema=form)


def _row(line: bytes) -> dict[str, Any]:
    try:
        head = orjson.loads(line)
        fields = head["body"]
        head["body"] = {name: fields[name] if isinstance(fields.get(name), str) else None for name in FIELDS}
    except (ValueError, KeyError, TypeError, AttributeError) as broken:
        raise LedgerError(
            f"an entry cannot be exported, its bytes are damaged ({broken}; {line[:80]!r}…): `roadworthy ledger "
            "verify` says which; restore the ledger from a backup"
        ) from broken
    return head


def heads_of(file: Path) -> Iterator[tuple[int, bytes]]:
    """The seq and the head of each entry in a file, as they were in the ledger. Raises UsageError for another file."""
    parquet = _pyarrow("pyarrow.parquet")
    arrow = _pyarrow("pyarrow")
    try:
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(columns=["seq", "head"]):
                for seq, head in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True):
                    yield seq, head.encode()
    except (OSError, KeyError, arrow.ArrowException) as cause:
        raise UsageError(f"{file} is no export of a ledger ({cause}): give one that `ledger export` wrote") from cause


def _pyarrow(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        raise UsageError(
            "Parquet is written and read by pyarrow, which is not installed: pip install 'roadworthy[parquet]'"
        ) from missing
