"""What somebody can do to a ledger, and who finds it.

A real ledger, written by a gate, holds every kind of entry. It is attacked in every field, column and place, by
somebody who may write to its file, by somebody who has a key of their own, and by an insider who has the vault. Each
time `verify` is asked, and `verify_ledger.py` over the export, and whoever opens the ledger to append to it. What can
only be found by whoever remembers a checkpoint, or has a witness, is shown not to be found otherwise.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast, get_args

import orjson
import pytest
from tests.gate.office import KEYS, LAW, PEOPLE, Office
from tests.ledger.forging import chain_anew

from roadworthy import Contract, Ledger
from roadworthy.audit.verify import verify
from roadworthy.contract.keys import SigningKey, seal
from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Draft, Kind, Reservation
from roadworthy.gate.levels import level_body, signature_body
from roadworthy.gate.people.answers import signed_answer
from roadworthy.gate.stops import lift_body, stop_body
from roadworthy.ledger import jsonl
from roadworthy.ledger import verify as proofs
from roadworthy.ledger.checkpoint import LogKey, WitnessKey
from roadworthy.ledger.schema import metadata
from roadworthy.verify_ledger import Asked, Key, Report, Unreadable, check_export

BUDGET = 'budgets: {day: [{sum: {tool: refund, arg: amount}, max: "5000.00", per: agent}]}'
CONTRACT = Contract.loads(
    LAW.replace("ASK", "role: lead").replace("RULES", "").replace("ESCALATE", BUDGET)
).with_people(PEOPLE)
AT = datetime(2026, 1, 6, tzinfo=UTC)
FILLER = 300
"""Entries that fill the first tile of the tree, so that there is one; all kinds stand behind it."""

Connection = sqlite3.Connection


def kept(kind: Kind, body: dict[str, Any], run: str | None = None) -> Draft:
    return Draft(
        kind=kind, world="production", run=run, body=body, at=AT, cause=run and f"{run}#1", subject=run and "ada@x"
    )


# One body for each kind that the run of the gate below does not write.
OTHERS: list[Draft] = [
    kept("model_call", {"tokens": 12, "text": "what it said"}, "r"),
    kept("observation", {"recall": "now", "value": "2026"}, "r"),
    kept("drift", {"tool": "find", "principal": "bot", "change": "added", "breaking": False}, "r"),
    kept("handover", {"to": "lead", "reason": "too hard"}, "r"),
    kept(
        "undo", {"action": "r#1", "tool": "note", "came": "left", "code": "no_undo", "text": "Stays.", "by": "ada"}, "r"
    ),
    kept("signal", {"name": "ticket_reopened", "value": 1}, "r"),
    kept("incident", {"what": "Somebody complained."}, "r"),
    kept("budget", {"what": "tokens", "left": 3}, "r"),
    kept("gap", {"unrecorded_reads": 1, "why": "the ledger could not be written"}, "r"),
    kept("trial", {"scenario": "s", "seed": 1}, "r"),
    kept("said", {"text": "Done.", "done": "executed"}, "r"),
    kept("manifest", {"files": ["a"]}),
    kept("release", {"verdict": "PASS"}),
    kept("erasure", {"slots": ["00"], "by": "ada", "because": "asked"}),
    kept("export", {"file": "runs.parquet", "sha256": "00" * 32}),
    kept("prune", {"ranges": [], "by": "ada", "because": "old"}),
]


@dataclass(frozen=True)
class Book:
    """A ledger at rest, to be copied and spoilt."""

    path: Path
    vault: Path
    witness: WitnessKey
    size: int
    earlier: Path
    """The same ledger as it was before its last entries."""
    known: str
    """The key that its owner has told to others."""
    kept: str
    """The checkpoint that somebody has remembered."""

    def copy(self, to: Path, *, earlier: bool = False) -> Path:
        shutil.copy(self.earlier if earlier else self.path, to)
        return to

    @property
    def asked(self) -> dict[str, Any]:
        return {"keys": [self.known]}


def signed_level(ledger: Ledger, level: Any, key: SigningKey, by: str = "ada") -> dict[str, Any]:
    body = level_body(ledger=ledger.id, agent="refund-bot", capability="refunds", level=level, because="", by=by)
    return seal(key, "level", body)


def fill(at: Office) -> None:
    """A day in the office: people answer, set levels, stop, lift and sign."""
    ledger = at.gate.ledger
    assert isinstance(ledger, Ledger)
    run = at.run()
    run.heard("Please refund my order 7, my name is Ada.")
    run.call("find", {"no": "7"}, at.till.find)
    at.note(run)
    assert at.refund(run).status == "held"
    at.answer("ada")
    run.heard("and now?")
    assert at.refund(run, amount="50.00", no="8").ok
    assert at.till.paid == [("7", "250"), ("8", "50")]
    gate = at.gate
    gate.set_level("refunds", "approval", because="careful", by="ada")
    raised = signed_level(ledger, "autonomous", KEYS["ada"])
    gate.set_level("refunds", "autonomous", because="", by="ada", nonce=raised["nonce"], signature=raised["signature"])
    lift = seal(KEYS["ada"], "stop", lift_body(ledger=ledger.id, capability=None, because="fine", by="ada"))
    word = signature_body(CONTRACT, level="autonomous", role="lead", by="ada")
    ledger.append([kept("stop", stop_body(capability=None, because="alarm", by="joan")), kept("stop", lift)])
    ledger.append([kept("signature", seal(KEYS["ada"], "contract", word))])
    ledger.append(OTHERS)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    return written(tmp_path_factory, FILLER)


@pytest.fixture(scope="module")
def thin(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """The same with fewer entries, for what is tried a thousand times."""
    return written(tmp_path_factory, 1)


def written(folders: pytest.TempPathFactory, filler: int) -> Book:
    folder, safe = folders.mktemp("ledger"), folders.mktemp("safe") / "keys.vault"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROADWORTHY_VAULT", str(safe))
        made = Book(folder / "runs.db", safe, WitnessKey.new("witness.example"), 0, folder / "before.db", "", "")
        with Ledger.open(made.path) as ledger:
            ledger.append([kept("heard", {"text": f"words {i}"}, "filler") for i in range(filler)])
        at = Office(folder, CONTRACT)
        with at.open:
            fill(at)
        shutil.copy(made.path, made.earlier)
        with Ledger.open(made.path) as ledger:
            for i in range(3):
                ledger.append([kept("heard", {"text": f"late words {i}"}, f"late-{i}")])
            note, size = str(ledger.checkpoint()), ledger.size
            text = note.partition("\n\n")[0] + "\n"
            ledger.keep_cosigned(size, note + made.witness.cosign(text, at=1_760_000_000))
            (known,) = [str(entry.body["vkey"]) for entry in ledger.entries(kind="key")]
            kinds = {entry.kind for entry in ledger.entries()}
    assert kinds == set(get_args(Kind))
    return Book(made.path, safe, made.witness, size, made.earlier, known, note)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


# Who looks ------------------------------------------------------------------------------------------------------------


def codes(report: Report) -> set[str]:
    return {found.code for found in report.findings if found.severity == "error"}


def by_the_ledger(path: Path, vault: Path | None, **asked: Any) -> Report:
    with Ledger.open(path, read_only=True, vault=vault) as ledger:
        return verify(ledger, **asked)


def by_the_file(path: Path, keys: list[str], **asked: Any) -> set[str]:
    """What `verify_ledger.py` finds in the export; where there can be no export, that."""
    witnesses = tuple(Key.parse(vkey) for vkey in asked.pop("witnesses", ()))
    with Ledger.open(path, read_only=True) as ledger:
        try:
            report, _ = check_export(
                jsonl.lines(ledger), Asked(keys=tuple(map(Key.parse, keys)), witnesses=witnesses, **asked)
            )
        except (LedgerError, Unreadable):
            return {"no export"}
    return codes(report)


def opens(path: Path, vault: Path | None) -> bool:
    """Whether somebody who would append can open it."""
    try:
        with Ledger.open(path, vault=vault):
            return True
    except LedgerError:
        return False


def found_by_all(book: Book, path: Path, *, opened: bool = False) -> set[str]:
    """What `verify` finds, where the file finds something as well, and whether whoever appends notices."""
    found = codes(by_the_ledger(path, book.vault, **book.asked))
    assert found
    assert _export(path) == _export(book.path) or by_the_file(path, [book.known])
    assert opens(path, book.vault) == opened
    return found


def test_a_ledger_that_nobody_has_touched_is_intact(book: Book, path: Path) -> None:
    book.copy(path)
    report = by_the_ledger(path, book.vault, **book.asked, witnesses=[book.witness.vkey], since=book.kept)
    assert report.intact
    assert (report.size, report.trusted) == (book.size, True)
    assert report.window is not None
    assert (report.window.size, report.window.after) == (book.size, 0)
    assert not {f.code for f in report.findings} - {"gap", "clock"}
    assert not by_the_file(path, [book.known], since=book.kept, witnesses=[book.witness.vkey])
    assert opens(path, book.vault)


# Every field of every kind of entry -----------------------------------------------------------------------------------


def other(value: Any) -> Any:
    """Another value of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}x" if len(value) != 64 else f"{int(value[0], 16) ^ 1:x}{value[1:]}"
        case list():
            return [*cast("list[Any]", value), "x"]
        case dict():
            return {**cast("dict[str, Any]", value), "x": 1}
        case _:
            return "x"


def mutations(head: bytes) -> Iterator[tuple[str, bytes]]:
    """Heads that are not this one: each field changed and taken away, each byte class, and more."""
    known = orjson.loads(head)

    def written(value: Any) -> bytes:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)

    for name, value in known.items():
        yield f"{name} changed", written(known | {name: other(value)})
        yield f"{name} of another type", written(known | {name: [value]})
        yield f"{name} taken away", written({k: v for k, v in known.items() if k != name})
    for name, value in known["body"].items():
        yield f"body.{name} changed", written(known | {"body": known["body"] | {name: other(value)}})
        yield (
            f"body.{name} taken away",
            written(known | {"body": {k: v for k, v in known["body"].items() if k != name}}),
        )
    yield "a field added", written(known | {"more": 1})
    yield "a blank added", head.replace(b",", b", ", 1)
    yield "a key twice", head.replace(b'"at":', b'"at":1,"at":', 1)
    yield "the order of keys", orjson.dumps(dict(reversed(list(known.items()))))
    yield "no JSON", head[:-1]
    for at in (0, len(head) // 2, len(head) - 1):
        yield f"a bit of byte {at}", head[:at] + bytes([head[at] ^ 1]) + head[at + 1 :]


def groups_of(path: Path) -> dict[str, tuple[int, int, list[bytes]]]:
    """By kind, the last group that holds one: its first seq, the index of the entry, and all heads."""
    found: dict[str, tuple[int, int, list[bytes]]] = {}
    with closing(sqlite3.connect(path)) as db:
        for first, heads in db.execute("SELECT first, heads FROM groups ORDER BY first"):
            lines = bytes(heads).split(b"\n")
            for i, line in enumerate(lines):
                found[orjson.loads(line)["kind"]] = first, i, lines
    return found


@pytest.mark.parametrize("kind", get_args(Kind))
def test_no_field_of_an_entry_can_be_another_one(thin: Book, path: Path, kind: str) -> None:
    thin.copy(path)
    first, i, lines = groups_of(path)[kind]
    with Ledger.open(path, read_only=True) as ledger:
        export = list(jsonl.lines(ledger))
    (place,) = [n for n, line in enumerate(export) if line.startswith(b'{"group":[%d,' % first)]
    trusted = Asked(keys=(Key.parse(thin.known),))
    unseen: list[tuple[str, str]] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for what, changed in mutations(lines[i]):
            assert changed != lines[i], what
            spoilt = [*lines[:i], changed, *lines[i + 1 :]]
            db.execute("UPDATE groups SET heads = ? WHERE first = ?", (b"\n".join(spoilt), first))
            with Ledger.open(path, read_only=True) as ledger:
                if proofs.verify(ledger, trusted).intact:
                    unseen.append(("verify", what))
            try:
                row = orjson.loads(export[place]) | {"heads": [line.decode() for line in spoilt]}
                told = orjson.dumps(row, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
                if check_export([*export[:place], told, *export[place + 1 :]], trusted)[0].intact:
                    unseen.append(("verify_ledger.py", what))
            except UnicodeDecodeError:
                pass  # it cannot even be exported
            # It looks at the root alone, so one change of each kind is as good as all.
            if what == "at changed" and opens(path, thin.vault):
                unseen.append(("opening", what))
    assert not unseen


def test_the_entry_that_was_changed_is_named(book: Book, path: Path) -> None:
    """In the part of the tree that its tiles cover."""
    book.copy(path)
    with closing(sqlite3.connect(path)) as db, db:
        first, heads = db.execute("SELECT first, heads FROM groups WHERE first <= 100 AND last >= 100").fetchone()
        lines: list[bytes] = bytes(heads).split(b"\n")
        at = 100 - int(first)
        lines[at] = lines[at].replace(b'"heard"', b'"haerd"')
        db.execute("UPDATE groups SET heads = ? WHERE first = ?", (b"\n".join(lines), first))
    report = by_the_ledger(path, book.vault)
    assert {"leaf", "root"} <= codes(report)
    assert next(found.seq for found in report.findings if found.code == "leaf") == 100


# Every column of every table ------------------------------------------------------------------------------------------

COLUMNS = [(table.name, column.name) for table in metadata.sorted_tables for column in table.columns]


def spoilt(value: Any) -> list[Any]:
    """Other values for a column: near, far, of another type, none."""
    match value:
        case bytes():
            return [value[:-1] + bytes([value[-1] ^ 1]), value[:-1], value + b"x", b"", "text"]
        case int():
            return [value + 1, value - 1, 10**9, "text"]
        case str():
            return [f"{value}x", value[:-1], "", 7]
        case _:
            return ["text", 7, b"x"]


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[".".join(one) for one in COLUMNS])
def test_no_column_can_be_another_one(book: Book, path: Path, table: str, column: str) -> None:
    """In the first row, one in the middle and the last: found, or refused."""
    whole = book.copy(path.with_name("whole.db"))
    with closing(sqlite3.connect(whole)) as db:
        rows = [row for (row,) in db.execute(f"SELECT rowid FROM {table}")] if table != "sought" else [0]
        where = "rowid = ?" if table != "sought" else "rowid_of_sought = ?"
        where = where if table != "sought" else "seq + ? = (SELECT max(seq) FROM sought)"
        before = {row: db.execute(f"SELECT {column} FROM {table} WHERE {where}", (row,)).fetchone()[0] for row in rows}
        export = _export(whole)
    assert rows
    unseen: list[Any] = []
    for row in {rows[0], rows[len(rows) // 2], rows[-1]}:
        for value in spoilt(before[row]):
            shutil.copy(whole, path)
            with closing(sqlite3.connect(path)) as db:
                try:
                    with db:
                        db.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value, row))
                except sqlite3.IntegrityError:
                    continue
            try:
                found = codes(by_the_ledger(path, book.vault, **book.asked))
                # Where the export is the same to the byte, nothing that it could tell was changed.
                told = _export(path) == export or by_the_file(path, [book.known])
            except LedgerError:
                continue
            if not found or not told:
                unseen.append((row, value))
    assert not unseen


def _export(path: Path) -> list[bytes]:
    with Ledger.open(path, read_only=True) as ledger:
        try:
            return list(jsonl.lines(ledger))
        except LedgerError:
            return []


def without(table: str) -> Callable[[Connection], None]:
    def attack(db: Connection) -> None:
        db.execute(f"DELETE FROM {table}")

    return attack


@pytest.mark.parametrize("table", ["accounts", "claims", "groups", "identity", "sought", "tiles", "tip"])
def test_no_table_can_be_emptied(book: Book, path: Path, table: str) -> None:
    book.copy(path)
    spoil(path, without(table))
    with contextlib.suppress(LedgerError):  # it may not even be a ledger any more
        assert codes(by_the_ledger(path, book.vault, **book.asked))


def test_what_is_no_table_of_ours_is_found(book: Book, path: Path) -> None:
    book.copy(path)
    spoil(path, lambda db: db.execute("CREATE TRIGGER t AFTER INSERT ON groups BEGIN DELETE FROM sought; END"))
    assert codes(by_the_ledger(path, book.vault, **book.asked)) == {"medium"}


# What stands where ----------------------------------------------------------------------------------------------------


def spoil(path: Path, attack: Callable[[Connection], object]) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        attack(db)


def last_firsts(db: Connection, count: int) -> list[int]:
    return [first for (first,) in db.execute("SELECT first FROM groups ORDER BY first DESC LIMIT ?", (count,))]


def _delete(db: Connection) -> None:
    db.execute("DELETE FROM groups WHERE first = ?", (last_firsts(db, 2)[1],))


def _swap(db: Connection) -> None:
    one, two = last_firsts(db, 2)
    (a,) = db.execute("SELECT heads FROM groups WHERE first = ?", (one,)).fetchone()
    (b,) = db.execute("SELECT heads FROM groups WHERE first = ?", (two,)).fetchone()
    db.execute("UPDATE groups SET heads = ? WHERE first = ?", (b, one))
    db.execute("UPDATE groups SET heads = ? WHERE first = ?", (a, two))


def _double(db: Connection) -> None:
    row = db.execute("SELECT * FROM groups ORDER BY first DESC LIMIT 1").fetchone()
    db.execute("INSERT INTO groups VALUES (?,?,?,?,?,?,?,?,?)", (row[0] + 1, row[1] + 1, "again", *row[3:]))


def _cut(db: Connection) -> None:
    db.execute("DELETE FROM groups WHERE first = ?", (last_firsts(db, 1)[0],))


def _merge(db: Connection) -> None:
    """Two groups as one: the same entries, and other places of what is encrypted."""
    one, two = last_firsts(db, 2)
    (a, last) = db.execute("SELECT heads, last FROM groups WHERE first = ?", (one,)).fetchone()
    db.execute("DELETE FROM groups WHERE first = ?", (one,))
    db.execute("UPDATE groups SET heads = CAST(heads || x'0a' || ? AS BLOB), last = ? WHERE first = ?", (a, last, two))


def _seal(db: Connection) -> None:
    db.execute("UPDATE groups SET sealed = zeroblob(100) WHERE first = ?", (last_firsts(db, 1)[0],))


def _unseal(db: Connection) -> None:
    db.execute("UPDATE groups SET sealed = NULL WHERE first = ?", (last_firsts(db, 1)[0],))


def _empty(db: Connection) -> None:
    """As a prune leaves it, and no entry says so."""
    db.execute(
        "UPDATE groups SET sealed = NULL, heads = x'' WHERE first = (SELECT min(first) FROM groups WHERE first > 1)"
    )


def _unsigned(db: Connection) -> None:
    chain_anew(db)


PLACES: dict[str, tuple[Callable[[Connection], None], bool]] = {
    "deleted": (_delete, False),
    "reordered": (_swap, False),
    # What stands behind the last checkpoint, and what is encrypted, nobody needs who appends.
    "doubled": (_double, False),
    "tail cut": (_cut, False),
    "put together": (_merge, True),
    "encrypted part changed": (_seal, True),
    "encrypted part taken away": (_unseal, True),
    "pruned unsaid": (_empty, False),
    "signature taken away": (_unsigned, False),
}


@pytest.mark.parametrize("name", PLACES)
def test_entries_keep_their_places(book: Book, path: Path, name: str) -> None:
    attack, opened = PLACES[name]
    book.copy(path)
    spoil(path, attack)
    assert found_by_all(book, path, opened=opened)


# What only memory or a witness finds ----------------------------------------------------------------------------------


def seen_only_by_those_who_remember(book: Book, path: Path, *, opened: bool) -> None:
    """Nobody finds it by the ledger and the vault; the remembered checkpoint and the witness find it."""
    assert by_the_ledger(path, book.vault, **book.asked).intact
    assert not by_the_file(path, [book.known])
    assert opens(path, book.vault) == opened
    assert codes(by_the_ledger(path, book.vault, **book.asked, since=book.kept)) == {"earlier"}
    assert by_the_file(path, [book.known], since=book.kept) == {"earlier"}


def put_cosigned_back(book: Book, path: Path) -> None:
    """The auditor has the witness's word from elsewhere, and holds it against the ledger."""
    with closing(sqlite3.connect(book.path)) as db:
        rows = db.execute("SELECT size, note FROM cosigned").fetchall()
    spoil(path, lambda db: db.executemany("INSERT OR REPLACE INTO cosigned VALUES (?, ?)", rows))


def found_with_a_witness(book: Book, path: Path) -> None:
    witnesses = [book.witness.vkey]
    window = by_the_ledger(path, book.vault, **book.asked, witnesses=witnesses).window
    assert window is not None
    assert window.size == 0, "all of it is exposed, which is said"
    put_cosigned_back(book, path)
    assert codes(by_the_ledger(path, book.vault, **book.asked, witnesses=witnesses)) == {"earlier"}
    assert by_the_file(path, [book.known], witnesses=witnesses) == {"earlier"}


def test_a_rollback_to_a_backup_is_found_by_memory_and_by_a_witness_alone(book: Book, path: Path) -> None:
    book.copy(path, earlier=True)
    seen_only_by_those_who_remember(book, path, opened=True)
    found_with_a_witness(book, path)


def test_a_tail_cut_off_with_the_checkpoint_of_then_is_found_by_memory_and_by_a_witness_alone(
    book: Book, path: Path
) -> None:
    """Somebody has kept an earlier checkpoint, and needs no backup of the entries."""
    book.copy(path)
    with closing(sqlite3.connect(book.earlier)) as db:
        ((size, note),) = db.execute("SELECT size, note FROM tip")
    spoil(path, lambda db: db.execute("DELETE FROM groups WHERE first > ?", (size,)))
    spoil(path, lambda db: db.execute("DELETE FROM cosigned"))
    spoil(path, lambda db: db.execute("UPDATE tip SET size = ?, note = ?", (size, note)))
    seen_only_by_those_who_remember(book, path, opened=True)
    found_with_a_witness(book, path)


def resign(db: Connection, key: LogKey) -> None:
    """Make tree and checkpoint anew, with what stops and levels there are as it was."""
    (before,) = db.execute("SELECT note FROM tip").fetchone()
    extensions = before.partition("\n\n")[0].split("\n")[3:]
    chain_anew(db)
    (text,) = db.execute("SELECT note FROM tip").fetchone()
    text = "\n".join([*text.split("\n")[:3], *extensions, ""])
    db.execute("UPDATE tip SET note = ?", (f"{text}\n{key.sign(text)}",))


def rewritten(db: Connection, old: bytes, new: bytes) -> None:
    for first, heads in db.execute("SELECT first, heads FROM groups").fetchall():
        db.execute("UPDATE groups SET heads = ? WHERE first = ?", (bytes(heads).replace(old, new), first))


def test_an_insider_with_the_vault_is_found_by_memory_and_by_a_witness_alone(book: Book, path: Path) -> None:
    """Whoever has the ledger's key can write any history."""
    book.copy(path)
    with Ledger.open(path, read_only=True, vault=book.vault) as ledger:
        assert ledger.vault is not None
        key = ledger.vault.log_key(ledger.id, f"roadworthy/{ledger.id}")
    assert key is not None

    def attack(db: Connection) -> None:
        db.execute("DELETE FROM cosigned")
        rewritten(db, b'"verdict":"PASS"', b'"verdict":"pass"')
        resign(db, key)

    spoil(path, attack)
    seen_only_by_those_who_remember(book, path, opened=True)
    found_with_a_witness(book, path)


def test_two_histories_for_two_auditors_are_found_where_one_hears_of_the_other(book: Book, tmp_path: Path) -> None:
    one, two = book.copy(tmp_path / "one.db", earlier=True), book.copy(tmp_path / "two.db", earlier=True)
    notes: list[str] = []
    for path, words in ((one, "for one"), (two, "for the other")):
        with Ledger.open(path, vault=book.vault) as ledger:
            ledger.append([kept("heard", {"text": words}, "late")])
            notes.append(str(ledger.checkpoint()))
    for path in (one, two):
        assert by_the_ledger(path, book.vault, **book.asked).intact
        assert not by_the_file(path, [book.known])
    for path, note in ((one, notes[1]), (two, notes[0])):
        assert codes(by_the_ledger(path, book.vault, **book.asked, since=note)) == {"earlier"}
        assert by_the_file(path, [book.known], since=note) == {"earlier"}


def test_who_writes_it_anew_with_a_key_of_their_own_is_found_by_whoever_knows_the_key(book: Book, path: Path) -> None:
    book.copy(path)
    mine = LogKey.new(book.known.split("+")[0])

    def attack(db: Connection) -> None:
        db.execute("DELETE FROM cosigned")
        rewritten(db, book.known.encode(), mine.vkey.encode())
        resign(db, mine)

    spoil(path, attack)
    report = by_the_ledger(path, None)
    assert report.intact
    assert "first_use" in {found.code for found in report.findings}, "which says that nobody vouches for the key"
    assert found_by_all(book, path) == {"key"}


# Forged words of people -----------------------------------------------------------------------------------------------


def words(ledger: Ledger) -> dict[str, Draft]:
    """What somebody writes who may append, and has nobody's key."""
    eve = SigningKey.new()
    lower = level_body(
        ledger=ledger.id, agent="refund-bot", capability="refunds", level="shadow", because="", by="joan"
    )
    ledger.append([kept("level", lower)])
    lift = lift_body(ledger=ledger.id, capability="refunds", because="", by="ada")
    word = signature_body(CONTRACT, level="autonomous", role="lead", by="grace")
    return {
        "level": kept("level", signed_level(ledger, "autonomous", eve)),
        "level by whoever is not accountable": kept("level", signed_level(ledger, "autonomous", KEYS["joan"], "joan")),
        "stop": kept("stop", seal(eve, "stop", lift)),
        "stop without a signature": kept("stop", lift),
        "signature": kept("signature", seal(eve, "contract", word)),
        "signature of another role": kept("signature", seal(KEYS["joan"], "contract", {**word, "by": "joan"})),
    }


WORDS = (
    "level",
    "level by whoever is not accountable",
    "stop",
    "stop without a signature",
    "signature",
    "signature of another role",
)


@pytest.mark.parametrize("name", WORDS)
def test_a_forged_word_is_found_though_it_was_written_as_any_other(book: Book, path: Path, name: str) -> None:
    book.copy(path)
    with Ledger.open(path, vault=book.vault) as ledger:
        (entry,) = ledger.append([words(ledger)[name]])
    report = by_the_ledger(path, book.vault, **book.asked)
    assert codes(report) == {"act"}
    assert [found.seq for found in report.findings if found.code == "act"] == [entry.seq]
    assert by_the_file(path, [book.known]) == {"act"}


def office(folder: Path, vault: Path | None) -> Iterator[Office]:
    with pytest.MonkeyPatch.context() as patch:
        if vault is None:
            patch.delenv("ROADWORTHY_VAULT", raising=False)
        else:
            patch.setenv("ROADWORTHY_VAULT", str(vault))
        at = Office(folder, CONTRACT)
        with at.open:
            yield at


@pytest.fixture(params=["plain", "vault"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Office, Path | None]]:
    """The office, with a question that waits."""
    folder = tmp_path / "office"
    folder.mkdir()
    vault = tmp_path / "keys.vault" if request.param == "vault" else None
    for at in office(folder, vault):
        at.refund(at.run())
        yield at, vault


def test_a_forged_answer_is_found(desk: tuple[Office, Path | None]) -> None:
    at, vault = desk
    asked = at.asked()
    body = signed_answer(asked.question, KEYS["joan"], by="ada", ruling="approve")
    draft = Draft(kind="answer", world="production", run="r", body=body, at=at.clock.now(), cause=asked.id)
    (entry,) = at.gate.ledger.append([draft])
    with Ledger.open(at.path, read_only=True, vault=vault) as ledger:
        report = verify(ledger)
        assert [found.seq for found in report.findings if found.code == "act"] == [entry.seq]
        single, _ = check_export(jsonl.lines(ledger))
    if vault is None:
        assert codes(single) == {"act"}
    else:
        # The signature is encrypted like the words that it is about: who has no vault is told so.
        assert single.intact
        assert any(found.code == "act" and "encrypted" in found.text for found in single.findings)


def test_without_the_vault_it_is_said_that_words_were_not_checked(desk: tuple[Office, Path | None]) -> None:
    at, vault = desk
    at.answer("ada")
    with Ledger.open(at.path, read_only=True, vault=vault) as ledger:
        assert not [found for found in verify(ledger).findings if found.code == "act"]
    if vault is not None:
        os.environ.pop("ROADWORTHY_VAULT")
        with Ledger.open(at.path, read_only=True) as ledger:
            report = verify(ledger)
        assert report.intact
        assert {"act", "sums"} <= {found.code for found in report.findings}


def test_budgets_that_were_given_back_by_hand_are_found(desk: tuple[Office, Path | None]) -> None:
    at, vault = desk
    assert at.refund(at.run("r2"), amount="60.00", no="9").ok
    at.open.close()
    with Ledger.open(at.path, read_only=True, vault=vault) as ledger:
        assert verify(ledger).intact
        ((account, total),) = ledger.rows("accounts")
        assert total == "60.00" or total == "60"
    with Ledger.open(at.path, vault=vault) as ledger:
        name = account
        if vault is None:
            ledger.append(
                [kept("heard", {"text": "x"}, "x")], [Reservation(account=name, amount=-_D("50"), limit=None)]
            )
    if vault is not None:
        spoil(at.path, lambda db: db.execute("UPDATE accounts SET total = '10'"))
    with Ledger.open(at.path, read_only=True, vault=vault) as ledger:
        assert codes(verify(ledger)) == {"sums"}


def _D(text: str) -> Any:
    from decimal import Decimal

    return Decimal(text)


def test_a_change_of_the_people_is_said(tmp_path: Path) -> None:
    """Whoever appends a contract with people of their own cannot do so unseen."""
    with Ledger.open(tmp_path / "runs.db") as ledger:
        from roadworthy.gate.entries import contract_drafts

        mine = PEOPLE.model_copy(
            update={
                "members": {
                    **PEOPLE.members,
                    "eve": PEOPLE.members["ada"].model_copy(update={"keys": (SigningKey.new().public,)}),
                }
            }
        )
        ledger.append(contract_drafts(CONTRACT, ledger, AT))
        ledger.append(contract_drafts(CONTRACT.with_people(mine), ledger, AT))
        report = verify(ledger)
    assert report.intact
    assert [found.seq for found in report.findings if found.code == "people"] == [2]
