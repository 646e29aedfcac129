"""A ledger of an earlier version keeps every byte of its entries when it is brought into today's form."""

from __future__ import annotations

import math
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, cast

import psycopg
import pytest

from roadworthy.core.errors import Conflict, LedgerError
from roadworthy.core.types import Claim, Draft, Entry, Kind, Reservation
from roadworthy.ledger.batch import Batch
from roadworthy.ledger.heads import Group
from roadworthy.ledger.merkle import leaf_hash, root_of
from roadworthy.ledger.migrate import migrate
from roadworthy.ledger.rows import LOOKED_FOR, row_of
from roadworthy.ledger.sqlite import APPLICATION_ID
from roadworthy.ledger.store import Ledger
from roadworthy.ledger.verify import verify

from .conftest import beside, draft, raw

Make = Callable[..., Draft]
Script = Callable[..., "subprocess.Popen[str]"]

_KINDS: tuple[Kind, ...] = ("heard", "question", "action", "said", "heard", "outcome", "answer")
_ODD = {
    "ratio": 0.1,
    "much": math.inf,
    "big": 2**70,
    "text": "ü\n\x00 \ud800",
    "deep": [{"$float": "no"}],
    "none": None,
}


def _drafts(count: int) -> list[Draft]:
    """Runs that take turns, what belongs to none, every world, and bodies that are hard to write."""
    made: list[Draft] = []
    for n in range(count):
        if n % 40 == 39:
            made.append(draft(n, run=None, kind="stop"))
        else:
            run, world = f"run {n // 5 % 7}", ("production", "shadow", "test")[n // 90 % 3]
            body = {"n": n, **(_ODD if n % 11 == 0 else {"words": "x" * (n % 300)})}
            made.append(draft(n, run=run, world=cast("Any", world), kind=_KINDS[n % 7], body=body, cause=f"c#{n}"))
    return made


def _make_old(url: str, drafts: Sequence[Draft]) -> list[Entry]:
    """A ledger as version 1 wrote it, and its entries."""
    batch = Batch()
    batch.append(drafts)
    entries = list(batch.entries())
    with raw(url) as connection:
        if isinstance(connection, sqlite3.Connection):
            migrate(connection, "sqlite", to=1, begin=lambda: connection.execute("BEGIN") and None)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            marks = ", ".join("?" * 8)
        else:
            connection.autocommit = False
            migrate(connection, "postgresql+psycopg", to=1, begin=lambda: None)
            connection.autocommit = True
            marks = ", ".join(["%s"] * 8)
        rows: list[tuple[Any, ...]] = []
        for made, entry in zip(drafts, entries, strict=True):
            at, world, run, kind, cause, body = row_of(made)
            rows.append((entry.seq, at, world, run, entry.run_seq, kind, cause, body))
        connection.execute("BEGIN")
        connection.cursor().executemany(f"INSERT INTO entries VALUES ({marks})", rows)
        connection.execute("INSERT INTO identity VALUES ('0123456789abcdef0123456789abcdef')")
        connection.execute("INSERT INTO accounts VALUES ('refunds', '60.50')")
        connection.execute("INSERT INTO claims VALUES ('question 1', 'deny')")
        connection.execute("COMMIT")
    return entries


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 2500])
def test_entries_are_what_they_were(shared: str, count: int) -> None:
    drafts = _drafts(count)
    wanted = _make_old(shared, drafts)
    with Ledger.open(shared) as ledger:
        assert list(ledger.entries()) == wanted
        assert ledger.id == "0123456789abcdef0123456789abcdef"
        assert ledger.size == count
        for kind in ("stop", "question", "answer"):
            assert list(ledger.entries(kind=kind)) == [entry for entry in wanted if entry.kind == kind]
        assert list(ledger.entries(run="run 3")) == [entry for entry in wanted if entry.run == "run 3"]
        assert list(ledger.controls()) == [entry for entry in wanted if entry.kind == "stop"]
        (after,) = ledger.append([draft(count, run="run 3")])
        assert (after.seq, after.run_seq) == (count + 1, 1 + sum(entry.run == "run 3" for entry in wanted))
    with Ledger.open(shared, read_only=True) as ledger:
        assert list(ledger.entries(limit=count)) == wanted


def test_bodies_are_kept_to_the_byte_and_stand_in_the_tree(shared: str) -> None:
    drafts = _drafts(700)
    _make_old(shared, drafts)
    with Ledger.open(shared) as ledger:
        heads = [head for _, head in ledger.heads()]
        for made, head in zip(drafts, heads, strict=True):
            assert b',"body":%b,"cause":' % row_of(made)[5] in head
        leaves = [leaf_hash(head) for head in heads]
        assert ledger.node(8, 1) == root_of(leaves[256:512])
        assert ledger.node(0, 699) == leaves[699]
        said = ledger.checkpoint()
        assert said is not None
        assert said.splitlines()[:2] == [f"roadworthy/{ledger.id}", "700"]


def test_what_was_brought_up_is_proved_and_from_then_on_signed(
    shared: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    wanted = _make_old(shared, _drafts(300))
    keys = tmp_path_factory.mktemp("elsewhere")
    with Ledger.open(shared, vault=keys / "vault.db") as ledger:
        assert verify(ledger).intact
        (made,) = ledger.append([draft(300, run="run 3", body={"text": "what ada said"})])
        *old, key, new = ledger.entries()
        assert (old, key.kind, new) == (wanted, "key", made)
        report = verify(ledger)
        assert report.intact, report.findings
    with pytest.raises(LedgerError, match="only with its vault"):
        Ledger.open(shared)


def test_guards_stand_as_before(shared: str) -> None:
    _make_old(shared, _drafts(3))
    with Ledger.open(shared) as ledger:
        with pytest.raises(Conflict):
            ledger.append([draft(4)], [Claim(key="question 1", value="approve")])
        with pytest.raises(Conflict):
            ledger.append([draft(4)], [Reservation(account="refunds", amount=Decimal("40"), limit=Decimal(100))])
    assert beside(shared) == ({"refunds": Decimal("60.50")}, {"question 1": "deny"})


_DESCRIBED = {
    "sqlite": "SELECT type, name, sql FROM sqlite_master ORDER BY name",
    "postgresql": (
        "SELECT c.relname, c.relkind::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, "
        "pg_get_indexdef(c.oid) IS NULL, coalesce(regexp_replace(pg_get_indexdef(c.oid), 'ON [^ ]*', ''), '') "
        "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped "
        "WHERE c.relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'i') ORDER BY 1, a.attnum"
    ),
}


def _described(url: str) -> list[Any]:
    with raw(url) as connection:
        which = "sqlite" if isinstance(connection, sqlite3.Connection) else "postgresql"
        found = connection.execute(_DESCRIBED[which]).fetchall()
    return [tuple(" ".join(part.split()) if isinstance(part, str) else part for part in row) for row in found]


def test_the_tables_are_those_of_a_new_ledger(shared: str, tmp_path: Path) -> None:
    from .conftest import schema

    _make_old(shared, _drafts(10))
    with Ledger.open(shared):
        pass
    if shared.startswith("postgresql"):
        with schema() as other:
            with Ledger.open(other):
                pass
            assert _described(shared) == _described(other)
    else:
        new = str(tmp_path / "new.db")
        with Ledger.open(new):
            pass
        assert _described(shared) == _described(new)


def test_whoever_only_reads_changes_nothing_and_is_told(shared: str) -> None:
    _make_old(shared, _drafts(10))
    before = _described(shared)
    with pytest.raises(LedgerError, match=r"earlier Roadworthy \(its format is 1, this one reads 2\).*open it once to"):
        Ledger.open(shared, read_only=True)
    assert _described(shared) == before


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ("UPDATE entries SET body = '{\"n\": 1' WHERE seq = 7", "entry 7 cannot be read"),
        ("UPDATE entries SET body = '[1]' WHERE seq = 7", "entry 7 cannot be read"),
        ("UPDATE entries SET body = '{\"n\":1}' || chr WHERE seq = 7", "entry 7 cannot be read"),
        ("DELETE FROM entries WHERE seq = 5", "entries after 0 are missing"),
    ],
)
def test_a_damaged_ledger_is_left_as_it_is(shared: str, spoil: str, says: str) -> None:
    _make_old(shared, _drafts(10))
    with raw(shared) as connection:
        lite = isinstance(connection, sqlite3.Connection)
        as_bytes = "CAST({} AS BLOB)" if lite else "convert_to({}, 'UTF8')"
        if " body = " in spoil:
            value = spoil.split(" body = ")[1].split(" WHERE")[0]
            feed = "char(10)" if lite else "chr(10)"
            spoil = spoil.replace(value, as_bytes.format(value.replace("chr", feed)))
        connection.execute(spoil)
    before = _described(shared)
    for _ in range(2):
        with pytest.raises(LedgerError, match=says):
            Ledger.open(shared)
    assert _described(shared) == before


def test_the_earliest_ledgers_get_what_they_lack(path: Path) -> None:
    """Before there were guards, a ledger had no id and nothing beside its entries."""
    wanted = _make_old(str(path), _drafts(50))
    with closing(sqlite3.connect(path)) as connection, connection:
        for part in ("TABLE identity", "TABLE accounts", "TABLE claims", "INDEX entries_by_sought"):
            connection.execute(f"DROP {part}")
    with Ledger.open(path) as ledger:
        mine = ledger.id
        assert len(mine) == 32
        ledger.append([draft(50)], [Claim(key="k", value="v")])
        assert list(ledger.entries(limit=50)) == wanted
    with Ledger.open(path, read_only=True) as ledger:
        assert ledger.id == mine


_OPEN_ONLY = """
print("ready")
sys.stdin.readline()
with Ledger.open(path) as ledger:
    print(ledger.id, ledger.size)
"""


def test_of_several_processes_that_open_it_one_brings_it_up(script: Script, shared: str) -> None:
    wanted = _make_old(shared, _drafts(600))
    processes = [script(_OPEN_ONLY, shared, stdin=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        cast("IO[str]", process.stdout).readline()
    said: set[str] = set()
    for process in processes:
        cast("IO[str]", process.stdin).write("go\n")
        cast("IO[str]", process.stdin).flush()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        said.add(out.strip())
    assert said == {"0123456789abcdef0123456789abcdef 600"}
    with Ledger.open(shared, read_only=True) as ledger:
        assert list(ledger.entries()) == wanted


_KILLED = """
import signal
import roadworthy.ledger.migrations.versions as versions
from alembic.script import ScriptDirectory
from roadworthy.ledger import migrate

def die(scripts, **given):
    for step in walk(scripts, **given):
        upgrade = step.module.upgrade
        def then_die(upgrade=upgrade):
            upgrade()
            os.kill(os.getpid(), signal.SIGKILL)
        step.module.upgrade = then_die
        yield step

walk, ScriptDirectory.walk_revisions = ScriptDirectory.walk_revisions, die
Ledger.open(path)
"""


def test_a_process_that_is_killed_over_it_has_changed_nothing(script: Script, shared: str) -> None:
    wanted = _make_old(shared, _drafts(600))
    process = script(_KILLED, shared)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, err
    with raw(shared) as connection:
        if not isinstance(connection, sqlite3.Connection):  # wait until the server has noticed
            with cast("psycopg.Connection[Any]", connection).transaction():
                connection.execute("LOCK TABLE ledger")
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (600,)
    with Ledger.open(shared) as ledger:
        assert list(ledger.entries()) == wanted


def test_groups_are_one_runs_and_found_by_kind(path: Path) -> None:
    _make_old(str(path), _drafts(900))
    with Ledger.open(path) as ledger:
        groups: list[Group] = list(ledger.groups())
        assert [group.first for group in groups] == [1, *(group.last + 1 for group in groups[:-1])]
        assert all(len(group.lines) == group.last - group.first + 1 for group in groups)
        found = [entry for entry in ledger.entries() if entry.kind in LOOKED_FOR]
        with raw(path) as connection:
            places = connection.execute("SELECT kind, seq FROM sought ORDER BY seq").fetchall()
        assert places == [(entry.kind, entry.seq) for entry in found]
