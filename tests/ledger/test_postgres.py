"""What only a ledger on a server can meet: several machines, lost connections, other people's settings."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from roadworthy.core.errors import Conflict, LedgerError
from roadworthy.core.types import Claim, Draft, Reservation
from roadworthy.ledger.engine import Busy
from roadworthy.ledger.postgres import PostgresStore
from roadworthy.ledger.server import Server
from roadworthy.ledger.store import Ledger

from .conftest import SERVER, beside, held, raw, schema, settle
from .proxy import Wire

Make = Callable[..., Draft]
Script = Callable[..., "subprocess.Popen[str]"]

pytestmark = pytest.mark.postgres


def _store(ledger: Ledger) -> PostgresStore:
    found = ledger._store  # pyright: ignore[reportPrivateUsage]
    assert isinstance(found, PostgresStore)
    return found


@contextmanager
def _administrator() -> Generator[psycopg.Connection[Any]]:
    with psycopg.connect(SERVER, autocommit=True) as connection:
        yield connection


def _numbers(ledger: Ledger) -> list[int]:
    return [entry.body["n"] for entry in ledger.entries()]


# -- several processes ------------------------------------------------------------------------------------------------

_SPEND = """
from decimal import Decimal
from roadworthy.core.errors import Conflict
from roadworthy.core.types import Reservation
with Ledger.open(path) as ledger:
    print("open")
    sys.stdin.readline()
    spent = []
    for n in range(60):
        try:
            made = ledger.append(
                [draft(n, run=sys.argv[2], kind="intent"), draft(n, run="shared")],
                [Reservation(account="all", amount=Decimal("0.50"), limit=Decimal(50))],
            )
            spent.append(made[0].seq)
        except Conflict:
            ledger.append([draft(n, run=sys.argv[2])])
    print(json.dumps(spent))
"""


def test_four_processes_extend_one_order_and_pass_no_budget_together(script: Script, server: str) -> None:
    with Ledger.open(server):
        pass
    processes = [script(_SPEND, server, name, stdin=subprocess.PIPE) for name in "abcd"]
    for process in processes:
        cast("IO[str]", process.stdout).readline()
    for process in processes:
        cast("IO[str]", process.stdin).write("go\n")
        cast("IO[str]", process.stdin).flush()
    spent: list[list[int]] = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        spent.append(json.loads(out))
    with Ledger.open(server) as ledger:
        entries = list(ledger.entries())
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        for name, mine in zip("abcd", spent, strict=True):
            of_run = [entry for entry in entries if entry.run == name]
            assert [entry.run_seq for entry in of_run] == list(range(1, 61))
            assert [entry.seq for entry in of_run if entry.kind == "intent"] == mine
        assert [entry.run_seq for entry in ledger.entries(run="shared")] == list(range(1, 101))
        assert sum(map(len, spent)) == 100
        assert beside(server)[0] == {"all": Decimal("50.00")}
        with pytest.raises(Conflict):
            ledger.append([], [Reservation(account="all", amount=Decimal("0.01"), limit=Decimal(50))])


def test_a_ledger_that_many_make_at_once_is_one(server: str) -> None:
    begin = threading.Barrier(6)
    ids: list[str] = []

    def make() -> None:
        begin.wait()
        with Ledger.open(server) as ledger:
            ids.append(ledger.id)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 6
    assert len(set(ids)) == 1


def test_whoever_comes_too_late_in_the_queue_is_told_and_may_try_again(
    server: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadworthy.ledger.server.BUSY_S", 0.2)
    with Ledger.open(server) as ledger:
        ledger.append([make(0)])
        with held(server), pytest.raises(LedgerError, match=r"held by others.*nothing was written: try again"):
            ledger.append([make(1)])
        ledger.append([make(2)])
        assert _numbers(ledger) == [0, 2]


# -- lost connections -------------------------------------------------------------------------------------------------


@pytest.fixture
def wire(server: str) -> Iterator[Wire]:
    """A wire to a schema of its own."""
    made = Wire(server)
    yield made
    made.close()


def test_a_connection_that_was_lost_between_commits_is_made_anew(wire: Wire, make: Make) -> None:
    with Ledger.open(wire.url) as ledger:
        for n in range(5):
            ledger.append([make(n)], [Claim(key=str(n), value="")])
            assert _numbers(ledger) == list(range(n + 1))
            wire.hang_up()
        assert ledger.controls() == ()


def _is_commit(data: bytes) -> bool:
    return b"COMMIT" in data


def _takes_turn(data: bytes) -> bool:
    return b"pg_current_xact_id" in data or b"BEGIN" in data


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("moment", ["before the turn", "before the commit", "after the commit"])
def test_a_connection_that_is_lost_in_a_commit_loses_nothing_and_writes_nothing_twice(
    wire: Wire, make: Make, moment: str, guarded: bool
) -> None:
    with Ledger.open(wire.url) as ledger:
        ledger.append([make(0)])
        for n in range(1, 8):
            if moment == "after the commit":
                wire.cut_after = _is_commit
            else:
                wire.cut_before = _takes_turn if moment == "before the turn" else _is_commit
            (entry,) = ledger.append([make(n)], [Claim(key=str(n), value="x")] if guarded else ())
            assert (entry.seq, entry.run_seq, entry.body) == (n + 1, n + 1, {"n": n})
        assert wire.cuts == 7
        assert _numbers(ledger) == list(range(8))
    with Ledger.open(wire.url, read_only=True) as ledger:
        assert [entry.run_seq for entry in ledger.entries()] == list(range(1, 9))


def test_many_groups_at_once_survive_a_lost_answer(wire: Wire, make: Make) -> None:
    with Ledger.open(wire.url) as ledger:
        wire.cut_after = _is_commit
        ledger.append([make(n, run=f"run-{n}") for n in range(100)])
        assert wire.cuts == 1
        assert _numbers(ledger) == list(range(100))


def test_a_server_that_is_gone_for_longer_is_named_and_nothing_is_written(
    wire: Wire, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadworthy.ledger.postgres.BUSY_S", 0.2)
    with Ledger.open(wire.url) as ledger:
        ledger.append([make(0)])
        wire.refusing = True
        wire.hang_up()
        with pytest.raises(Busy, match="nothing was written, and the next append tries again"):
            ledger.append([make(1)])
        with pytest.raises(LedgerError, match="see that the server runs"):
            list(ledger.entries())
        wire.refusing = False
        ledger.append([make(2)])
        assert _numbers(ledger) == [0, 2]


def test_where_nobody_knows_what_became_of_a_commit_nothing_more_is_written(
    wire: Wire, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadworthy.ledger.postgres.DOUBT_S", 0.2)
    with Ledger.open(wire.url) as ledger:
        ledger.append([make(0)])

        def cut(data: bytes) -> bool:
            wire.refusing = _is_commit(data)
            return wire.refusing

        wire.cut_after = cut
        with pytest.raises(LedgerError, match="nobody knows whether the last entries were written"):
            ledger.append([make(1)])
        with pytest.raises(LedgerError, match="nothing is written"):
            ledger.append([make(2)])
    wire.refusing = False
    settle(_direct(wire.url))
    with Ledger.open(wire.url) as ledger:
        ledger.append([make(3)])
        assert _numbers(ledger) == [0, 1, 3]


def _direct(url: str) -> str:
    return f"{SERVER}?{urlsplit(url).query}"


_KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = %s"


def test_a_server_that_keeps_ending_sessions_loses_nothing(server: str, make: Make) -> None:
    """An administrator ends sessions at any moment; every append ends once, whatever it was at."""
    mine = f"{server}&application_name=rw-ended"
    with Ledger.open(mine) as ledger, _administrator() as administrator:
        done = threading.Event()
        ended = 0

        def end_sessions() -> None:
            nonlocal ended
            while not done.is_set():
                ended += len(administrator.execute(_KILL, ["rw-ended"]).fetchall())
                done.wait(0.05)  # time enough to come back and to be at something

        ending = threading.Thread(target=end_sessions)
        ending.start()
        written: list[int] = []
        while ended < 20:
            n = len(written)
            try:
                ledger.append([make(n)], [Claim(key=str(n), value="")])
            except Busy:
                continue  # it says that nothing was written
            written.append(n)
        done.set()
        ending.join()
        assert _numbers(ledger) == written


# -- what a server can be like ----------------------------------------------------------------------------------------


def test_what_is_acknowledged_is_on_disk_whatever_the_user_is_set_to(server: str, make: Make) -> None:
    with Ledger.open(f"{server}&options=-c%20synchronous_commit%3Doff") as ledger:
        ledger.append([make(0)])
        session = _store(ledger)._writing  # pyright: ignore[reportPrivateUsage]
        assert session is not None
        assert session.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert session.execute("SHOW transaction_isolation").fetchone() == ("read committed",)


@pytest.mark.parametrize("settings", ["default_transaction_isolation%3Dserializable", "search_path%3Dpg_temp"])
def test_other_peoples_settings_change_nothing(server: str, make: Make, settings: str) -> None:
    with Ledger.open(f"{server}&options=-c%20{settings}") as one, Ledger.open(server) as other:
        for n in range(10):
            (one, other)[n % 2].append([make(n)])
        assert _numbers(one) == list(range(10))


def test_a_database_that_cannot_keep_all_text_is_refused() -> None:
    with schema():  # where there is no server, this is skipped
        pass
    with _administrator() as administrator:
        administrator.execute(
            "CREATE DATABASE rw_test_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
        try:
            url = urlsplit(SERVER)._replace(path="/rw_test_ascii").geturl()
            with pytest.raises(LedgerError, match=r"keeps text as SQL_ASCII.*createdb --encoding UTF8"):
                Ledger.open(url)
        finally:
            administrator.execute("DROP DATABASE rw_test_ascii")


@pytest.fixture
def clerk(server: str) -> Iterator[str]:
    """A user who may read the schema, and do nothing else in it: their address of the ledger."""
    name = "rw_test_clerk"
    with raw(server) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {name}")
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'geheim-7'")
        (place,) = connection.execute("SELECT current_schema()").fetchone()
        connection.execute(f"GRANT USAGE ON SCHEMA {place} TO {name}")
        connection.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {place} GRANT SELECT ON TABLES TO {name}")
        parts = urlsplit(server)
        yield parts._replace(netloc=f"{name}:geheim-7@{parts.netloc.rpartition('@')[2]}").geturl()
        connection.execute(f"DROP OWNED BY {name}")
        connection.execute(f"DROP ROLE {name}")


def test_a_user_without_rights_is_told_and_may_read(clerk: str, server: str, make: Make) -> None:
    with pytest.raises(LedgerError, match="this user may not do that"):
        Ledger.open(clerk)
    with Ledger.open(server) as ledger:
        ledger.append([make(0)])
    with Ledger.open(clerk, read_only=True) as ledger:
        assert _numbers(ledger) == [0]
    with Ledger.open(clerk) as ledger, pytest.raises(LedgerError, match="this user may not do that"):
        ledger.append([make(1)])


def test_no_password_is_ever_told(clerk: str, server: str, make: Make, tmp_path: Path) -> None:
    with Ledger.open(server) as ledger:
        ledger.append([make(0)])
    told: list[str] = []
    wrong = clerk.replace("geheim-7", "geheim-8")
    for url in (
        clerk,
        wrong.replace("127.0.0.1", "no.such.host.invalid"),
        clerk.replace(":5432", ":1"),
        f"{wrong}&x=y",
    ):
        try:
            with Ledger.open(url) as ledger:
                told.append(ledger.name + repr(_store(ledger)))
                ledger.append([make(1)])
        except LedgerError as error:
            told += [str(error), repr(error.__cause__), repr(error.__context__)]
    assert len(told) > 8
    assert not re.search("geheim", "".join(told))


def test_there_must_be_something_to_read(server: str) -> None:
    with pytest.raises(LedgerError, match=r"there is no ledger at postgresql://.*\?schema=rw_test_"):
        Ledger.open(server, read_only=True)
    with raw(server) as connection:
        assert connection.execute("SELECT to_regclass('ledger')").fetchone() == (None,)


def test_a_schema_is_made_where_there_is_none(server: str, make: Make) -> None:
    name = 'rw test "quoted" %&?\'x'
    url = server.partition("?")[0] + "?schema=rw%20test%20%22quoted%22%20%25%26%3F%27x"
    try:
        with Ledger.open(url) as ledger:
            ledger.append([make(0)])
            assert ledger.name.endswith(f"?schema={name}")
        with Ledger.open(url, read_only=True) as ledger:
            assert _numbers(ledger) == [0]
    finally:
        with _administrator() as administrator:
            administrator.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


@pytest.mark.parametrize("table", ["accounts (name text)", "ledger (name text)", "ledger (version int, more int)"])
def test_other_peoples_tables_are_left_alone(server: str, table: str) -> None:
    with raw(server) as connection:
        connection.execute(f"CREATE TABLE {table}")
        with pytest.raises(LedgerError, match=r"a schema of its own, with \?schema=NAME"):
            Ledger.open(server)
        count = "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
        assert connection.execute(count).fetchone() == (1,)


def test_a_newer_ledger_is_left_alone(server: str) -> None:
    with Ledger.open(server):
        pass
    with raw(server) as connection:
        connection.execute("UPDATE ledger SET version = 7")
    for read_only in (False, True):
        with pytest.raises(LedgerError, match=r"newer Roadworthy \(its format is 7.*pip install --upgrade"):
            Ledger.open(server, read_only=read_only)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u:p@[::1/db", "is no address of a database"),
        ("postgresql://localhost/db?schema=a&schema=b", "names its schema twice"),
        ("postgresql://localhost/db?schema=", "names its schema twice, or not at all"),
        ("postgresql://localhost/db?schema=%ff", "is no address of a database"),
        ("postgresql://localhost/db?nonsense=1", "is no address of a database"),
        ("mysql://localhost/db", "cannot be kept in 'mysql'"),
    ],
)
def test_an_address_that_cannot_be(url: str, says: str) -> None:
    with pytest.raises(LedgerError, match=says):
        Ledger.open(url)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgres://u:p@db.example:6432/book", "postgresql://db.example:6432/book"),
        ("postgresql+psycopg://db.example/book?schema=a&sslmode=require", "postgresql://db.example/book?schema=a"),
        ("postgresql:///book?host=/var/run/postgresql&user=u&password=p", "postgresql:///book"),
    ],
)
def test_every_way_to_write_an_address_has_one_name(url: str, name: str) -> None:
    assert Server(url).name == name


# -- what was changed behind its back ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE groups SET heads = convert_to(replace(convert_from(heads, 'UTF8'), '\"n\":3', '\"n\":4'), 'UTF8')",
        "DELETE FROM groups WHERE first = 4",
        "UPDATE tip SET size = 3",
        "UPDATE tip SET note = replace(note, E'\\n5\\n', E'\\n4\\n')",
        "DELETE FROM tip",
    ],
)
def test_a_ledger_that_was_changed_is_not_appended_to(server: str, make: Make, spoil: str) -> None:
    with Ledger.open(server) as ledger:
        for n in range(5):
            ledger.append([make(n)])
    with raw(server) as connection:
        connection.execute(spoil)
    with pytest.raises(LedgerError, match="is not what was written"):
        Ledger.open(server)


def test_what_would_change_entries_is_found(server: str) -> None:
    with Ledger.open(server) as ledger, raw(server) as connection:
        assert ledger.faults() == []
        connection.execute("CREATE RULE quiet AS ON INSERT TO groups DO INSTEAD NOTHING")
        connection.execute("DROP INDEX groups_by_run")
        connection.execute("DROP TABLE cosigned")
        connection.execute("ALTER TABLE claims SET UNLOGGED")
        assert sorted(ledger.faults()) == [
            "the index groups_by_run is missing",
            "the rule quiet of the table groups is none of a ledger's",
            "the table claims is not written to the server's log, and is lost when it crashes",
            "the table cosigned is missing",
        ]


@pytest.mark.parametrize(
    "disturb",
    [
        "CREATE RULE quiet AS ON INSERT TO groups DO INSTEAD NOTHING",
        "CREATE TRIGGER quiet BEFORE UPDATE ON tip FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE POLICY quiet ON sought USING (kind <> 'stop')",
    ],
)
def test_tables_that_change_or_hide_what_is_written_are_not_appended_to(server: str, make: Make, disturb: str) -> None:
    with Ledger.open(server) as ledger:
        ledger.append([make(1)])
    with raw(server) as connection:
        connection.execute(disturb.encode())
    with pytest.raises(LedgerError, match=r"the \w+ quiet of the table \w+ is none.*Nothing was appended"):
        Ledger.open(server)
    with Ledger.open(server, read_only=True) as ledger:
        assert len(ledger.faults()) == 1


def test_tables_are_read_as_of_one_moment(server: str, make: Make) -> None:
    with Ledger.open(server) as ledger:
        for n in range(3):
            ledger.append([make(n)])
        rows = ledger.rows("groups")
        assert next(rows)[0] == 1
        ledger.append([make(3)])
        assert [row[0] for row in rows] == [2, 3]


def test_what_is_given_up_leaves_the_tables_and_the_tree_goes_on(server: str, make: Make) -> None:
    with Ledger.open(server) as ledger, Ledger.open(server) as other:
        ledger.append([make(n, run=f"run-{n}", kind="question" if n % 9 == 0 else "heard") for n in range(300)])
        ledger.append([make(300, run=None, kind="stop")])
        nodes = [ledger.node(0, 7), ledger.node(8, 0)]
        ledger.give_up(range(1, 257))
        assert [entry.body["n"] for entry in ledger.entries()] == list(range(256, 301))
        assert [entry.body["n"] for entry in ledger.entries(kind="question")] == [261, 270, 279, 288, 297]
        assert [entry.body["n"] for entry in ledger.controls()] == [300]
        assert [ledger.node(0, 7), ledger.node(8, 0)] == nodes
        with raw(server) as connection:
            assert connection.execute("SELECT count(*) FROM groups WHERE length(heads) = 0").fetchone() == (256,)
            assert connection.execute("SELECT count(*) FROM sought WHERE seq <= 256").fetchone() == (0,)
        other.append([make(301)])
        ledger.append([make(302)])
    with Ledger.open(server) as ledger:
        ledger.append([make(303)])
        assert ledger.size == 304


# -- with a vault -----------------------------------------------------------------------------------------------------


def test_with_a_vault_nothing_private_reaches_the_server(server: str, tmp_path: Path) -> None:
    said = Draft(
        kind="heard",
        world="production",
        run="run-1",
        body={"text": "my number is 4711-ada"},
        at=datetime(2026, 1, 5, tzinfo=UTC),
        subject="ada",
    )
    vault = tmp_path / "vault" / "keys.db"
    vault.parent.mkdir()
    with Ledger.open(server, vault=vault) as ledger:
        ledger.append([said], [Reservation(account="refunds/ada", amount=Decimal(1), limit=None)])
        assert [entry.body for entry in ledger.entries(run="run-1")] == [{"text": "my number is 4711-ada"}]
        note = ledger.checkpoint()
        assert note is not None
        assert "\n— roadworthy/" in note
    with raw(server) as connection:
        tables = ("groups", "sought", "accounts", "claims", "tip", "tiles", "identity")
        stored = [str(row) for table in tables for row in connection.execute(f"SELECT * FROM {table}").fetchall()]
    assert stored
    assert not re.search("4711|ada", "".join(stored))
    with pytest.raises(LedgerError, match="only with its vault"):
        Ledger.open(server)
    with Ledger.open(server, read_only=True) as ledger:
        (entry,) = ledger.entries(run="run-1")
        assert entry.withheld == {"sealed"}


def test_closing_gives_all_connections_back(server: str, make: Make) -> None:
    mine = f"{server}&application_name=rw-closing"
    with Ledger.open(mine) as ledger:
        ledger.append([make(0)])
        readers = [threading.Thread(target=lambda: list(ledger.entries())) for _ in range(12)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        ledger.controls()
    counted = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rw-closing'"
    with closing(psycopg.connect(SERVER, autocommit=True)) as connection:
        while connection.execute(counted).fetchone() != (0,):  # the server takes a moment to notice
            connection.execute("SELECT pg_stat_clear_snapshot()")
