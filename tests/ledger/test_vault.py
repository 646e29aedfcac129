"""The vault: keys are durable before they are used, private, and gone for everybody once they are erased."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Draft
from roadworthy.ledger.checkpoint import LogKey
from roadworthy.ledger.store import Ledger
from roadworthy.ledger.vault import Vault

from .conftest import POSTGRES, raw, schema

AAD = b"roadworthy/1/L"


@pytest.fixture(params=["file", POSTGRES])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a vault may be made."""
    if request.param == "postgres":
        with schema() as url:
            yield url
    else:
        yield str(tmp_path / "vault.db")


def keys_of(place: str) -> list[bytes]:
    """The keys that stand in a vault, past its face."""
    with raw(place) as connection:
        return [bytes(row[0]) for row in connection.execute("SELECT key FROM slots").fetchall()]


def all_bytes(folder: Path) -> bytes:
    """Everything that lies in a folder."""
    return b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def opened(vault: Vault, slot: bytes, sealed: bytes, aad: bytes = AAD) -> bytes:
    opener = vault.opener(slot)
    assert not isinstance(opener, str)
    return opener(sealed, aad)


# -- sealing and opening ----------------------------------------------------------------------------------------------


def test_what_is_sealed_opens_again_in_another_process(place: str) -> None:
    with Vault.open(place) as vault:
        slot = vault.slot("L", run="r", subject="ada")
        sealed = slot.seal(b"her words", AAD)
    with Vault.open(place, create=False) as again:
        assert opened(again, slot.id, sealed) == b"her words"
        assert again.slot("L", run="other", subject="ada").id == slot.id


def test_every_sealing_differs_and_is_bound_to_its_ledger(place: str) -> None:
    with Vault.open(place) as vault:
        slot = vault.slot("L", run=None, subject="ada")
        one, two = slot.seal(b"yes", AAD), slot.seal(b"yes", AAD)
        assert one != two
        assert len(one) == 12 + 3 + 16
        for wrong in (one[:-1], one[:-1] + bytes([one[-1] ^ 1]), b"", b"short"):
            with pytest.raises(LedgerError, match="changed or damaged"):
                opened(vault, slot.id, wrong)
        with pytest.raises(LedgerError, match="changed or damaged"):
            opened(vault, slot.id, one, b"roadworthy/1/M")


def test_who_has_a_slot_of_their_own(place: str) -> None:
    with Vault.open(place) as vault:
        ids = [
            vault.slot("L", run="r", subject="ada").id,
            vault.slot("L", run="r", subject=None).id,
            vault.slot("L", run="ada", subject=None).id,
            vault.slot("L", run="r", subject="bob").id,
            vault.slot("M", run="r", subject="ada").id,
            vault.slot("L", run=None, subject=None).id,
        ]
        assert len(set(ids)) == len(ids)
        assert all(len(id) == 16 for id in ids)
        assert vault.slot("L", run="s", subject="ada").id == ids[0]


def test_several_slots_are_taken_at_once(place: str) -> None:
    wanted = [("r", None), ("r", "ada"), ("s", "ada"), ("r", None), (None, "bob")]
    with Vault.open(place) as vault:
        one, two, three, again, bob = vault.slots("L", wanted)
        assert two.id == three.id
        assert one.id == again.id
        assert len({one.id, two.id, bob.id}) == 3
        assert [slot.id for slot in vault.slots("L", wanted)] == [one.id, two.id, two.id, one.id, bob.id]


def test_threads_and_vaults_that_come_at_once_share_one_key(place: str) -> None:
    seen: list[bytes] = []
    Vault.open(place).close()
    ready = threading.Barrier(6)

    def take() -> None:
        with Vault.open(place) as vault:
            ready.wait()
            seen.append(vault.slot("L", run="r", subject="ada").id)

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 6
    assert len(set(seen)) == 1


def test_names_stand_in_no_vault(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    with Vault.open(path) as vault:
        vault.slot("L", run="run-of-lovelace", subject="customer:lovelace")
        name = vault.pseudonym("L", "budget/customer:lovelace")
        assert name == vault.pseudonym("L", "budget/customer:lovelace")
        assert name != vault.pseudonym("M", "budget/customer:lovelace")
        assert b"lovelace" not in all_bytes(tmp_path)
    with Vault.open(path) as again, Vault.open(tmp_path / "other.db") as other:
        assert again.pseudonym("L", "budget/customer:lovelace") == name
        assert other.pseudonym("L", "budget/customer:lovelace") != name


# -- erasing ----------------------------------------------------------------------------------------------------------


def test_a_subject_is_erased_with_what_their_runs_wrote_before_they_were_known(place: str) -> None:
    with Vault.open(place) as vault:
        early = vault.slot("L", run="r", subject=None)
        hers = vault.slot("L", run="r", subject="ada")
        others = [vault.slot("L", run="s", subject=None), vault.slot("L", run="s", subject="bob")]
        elsewhere = vault.slot("M", run="r", subject="ada")
        sealed = others[1].seal(b"bob", AAD)
        assert set(vault.erase("L", subject="ada")) == {early.id, hers.id}
        assert vault.opener(early.id) == vault.opener(hers.id) == "erased"
        assert vault.opener(b"unknown-slot-16b") == "sealed"
        assert opened(vault, others[1].id, sealed) == b"bob"
        assert not isinstance(vault.opener(elsewhere.id), str)
        assert vault.erase("L", subject="ada") == ()
        assert vault.slot("L", run="r", subject="ada").id not in (early.id, hers.id)


def test_a_run_is_erased_alone(place: str) -> None:
    with Vault.open(place) as vault:
        early, hers = vault.slots("L", [("r", None), ("r", "ada")])
        assert vault.erase("L", run="r") == (early.id,)
        assert vault.opener(early.id) == "erased"
        assert not isinstance(vault.opener(hers.id), str)


@pytest.mark.parametrize("given", [{}, {"subject": "a", "run": "r"}])
def test_erasing_is_about_one_of_the_two(tmp_path: Path, given: dict[str, str]) -> None:
    with Vault.open(tmp_path / "vault.db") as vault, pytest.raises(LedgerError, match="a subject or about a run"):
        vault.erase("L", **given)


def test_nobody_seals_under_a_key_that_another_process_has_destroyed(place: str) -> None:
    with Vault.open(place) as here, Vault.open(place) as there:
        before = here.slot("L", run="r", subject="ada")
        there.erase("L", subject="ada")
        after = here.slot("L", run="r", subject="ada")
        assert after.id != before.id
        assert here.opener(before.id) == "erased"
        assert opened(there, after.id, after.seal(b"new", AAD)) == b"new"


def test_readers_forget_a_destroyed_key_soon(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("roadworthy.ledger.vault.time.monotonic", lambda: now[0])
    with Vault.open(place) as here, Vault.open(place) as there:
        slot = here.slot("L", run="r", subject="ada")
        assert not isinstance(here.opener(slot.id), str)
        there.erase("L", subject="ada")
        now[0] += 0.25
        assert here.opener(slot.id) == "erased"


def test_no_byte_of_a_destroyed_key_stays_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    order = random.Random(4)
    people = [f"person-{n}" for n in range(300)]
    order.shuffle(people)
    with Vault.open(path) as vault:
        for n in range(0, 300, 20):
            vault.slots("L", [(f"run of {name}", subject) for name in people[n : n + 20] for subject in (None, name)])
        assert len(keys_of(str(path))) == 600
        gone: list[bytes] = []
        left = b""
        order.shuffle(people)
        for name in people[:12]:
            before = set(keys_of(str(path)))
            assert len(vault.erase("L", subject=name)) == 2
            gone += before - set(keys_of(str(path)))
            left = all_bytes(tmp_path)
            assert not [key.hex() for key in gone if key in left or key[:12] in left]
        assert len(gone) == 24
        assert all(key in left for key in keys_of(str(path)))


@pytest.mark.postgres
def test_no_row_of_a_destroyed_key_stays_in_the_database() -> None:
    with schema() as url, Vault.open(url) as vault:
        vault.slots("L", [(None, f"person-{n}") for n in range(50)])
        vault.erase("L", subject="person-7")
        with raw(url) as connection:
            dead = connection.execute("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'slots'").fetchone()
            pages = connection.execute("SELECT pg_relation_size('slots') / 8192, count(*) FROM slots").fetchone()
        assert dead == (0,) or dead is None
        assert pages == (1, 49)


# -- signing ----------------------------------------------------------------------------------------------------------


def test_keys_that_sign_are_kept_by_ledger_and_name(place: str) -> None:
    one, two = LogKey.new("roadworthy/L"), LogKey.new("roadworthy/L")
    with Vault.open(place) as vault:
        assert vault.log_key("L", "roadworthy/L") is None
        vault.keep_log_key("L", one)
        vault.keep_log_key("L", two)
        vault.keep_log_key("M", LogKey.new("roadworthy/M"))
    with Vault.open(place) as again:
        found = again.log_key("L", "roadworthy/L")
        assert found is not None
        assert found.vkey == two.vkey
        assert [key.vkey for key in again.log_keys("L", "roadworthy/L")] == [one.vkey, two.vkey]
        assert again.log_key("L", "roadworthy/M") is None


# -- the file ---------------------------------------------------------------------------------------------------------


def test_a_vault_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    before = os.umask(0)
    try:
        with Vault.open(path) as vault:
            vault.slot("L", run="r", subject="ada")
            assert {p.name: p.stat().st_mode & 0o777 for p in tmp_path.iterdir() if p.stat().st_mode & 0o077} == {}
    finally:
        os.umask(before)
    for mode in (0o640, 0o604, 0o660):
        path.chmod(mode)
        with pytest.raises(LedgerError, match=rf"mode {mode:04o}.*chmod 600"):
            Vault.open(path)


@pytest.mark.parametrize("ledger", ["a/runs.db", "runs.db", "sqlite:///{}/runs.db"])
def test_a_vault_does_not_lie_in_the_ledgers_folder(tmp_path: Path, ledger: str) -> None:
    folder = tmp_path / "a"
    (folder / "keys").mkdir(parents=True)
    url = ledger.format(tmp_path) if "://" in ledger else str(tmp_path / ledger)
    with Vault.open(folder / "keys" / "vault.db") as vault, pytest.raises(LedgerError, match="Keep it somewhere else"):
        vault.keep_apart(url)


def test_a_vault_beside_the_ledgers_folder_is_apart(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "way").symlink_to(tmp_path / "ledger")
    with Vault.open(tmp_path / "vault.db") as vault:
        vault.keep_apart(tmp_path / "ledger" / "runs.db")
        vault.keep_apart(":memory:")
        vault.keep_apart("postgresql://db/roadworthy")
    with Vault.open(tmp_path / "ledger" / "vault.db") as vault, pytest.raises(LedgerError, match="Keep it somewhere"):
        vault.keep_apart(tmp_path / "way" / "runs.db")


def test_no_vault_is_made_where_it_may_not_lie(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="Keep it somewhere else"):
        Ledger.open(tmp_path / "runs.db", vault=tmp_path / "vault.db")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "says"), [("runs.db", "no ledger at"), ("keys", "is a folder"), ("empty", "empty")])
def test_a_ledger_that_is_none_is_named_before_its_vault(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "empty").touch()
    with pytest.raises(LedgerError, match=says):
        Ledger.open(tmp_path / name, read_only=True, vault=tmp_path / "keys" / "vault.db")


def test_another_vault_is_told_from_a_changed_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    path = tmp_path / "ledger" / "runs.db"
    said = Draft(kind="heard", world="production", run="r", body={}, at=datetime.now(UTC))
    with Ledger.open(path, vault=tmp_path / "vault.db") as ledger:
        ledger.append([said])
    with pytest.raises(LedgerError, match="signed with another vault"):
        Ledger.open(path, vault=tmp_path / "other.db")
    with Ledger.open(path, vault=tmp_path / "vault.db") as ledger:
        assert ledger.append([said])[0].seq == 3


@pytest.mark.postgres
def test_a_vault_does_not_lie_in_the_ledgers_database() -> None:
    with schema() as url, Vault.open(url) as vault:
        with pytest.raises(LedgerError, match="a database of its own"):
            vault.keep_apart(url.partition("?")[0] + "?schema=other")
        vault.keep_apart("postgresql://127.0.0.1:1/roadworthy")


@pytest.mark.postgres
def test_a_database_is_the_same_by_whatever_name_it_is_called() -> None:
    with schema() as url, Vault.open(url) as vault:
        parts = urlsplit(url)
        user, port = f"{parts.username}@" if parts.username else "", parts.port or 5432
        names = {
            f"postgresql://{user}/{parts.path[1:]}?host={parts.hostname}&port={port}",
            f"postgresql+psycopg://{user}{parts.hostname}:{port}/%{ord(parts.path[1]):02x}{parts.path[2:]}",
        }
        if parts.hostname == "127.0.0.1":
            names.add(f"postgres://{user}127.1:{port}{parts.path}")
        for name in names:
            with pytest.raises(LedgerError, match="a database of its own"):
                vault.keep_apart(name)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
    path.chmod(0o600)


def newer(path: Path) -> None:
    Vault.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE vault SET version = 9")
        connection.commit()


def folder(path: Path) -> None:
    path.mkdir()


def text_file(path: Path) -> None:
    path.write_text("this is no database at all, but it is longer than a header of one would be " * 20)
    path.chmod(0o600)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (foreign, "is no vault"),
        (newer, "upgrade"),
        (text_file, "no vault"),
        (folder, "is a folder"),
    ],
)
def test_what_is_no_vault_is_refused(tmp_path: Path, spoil: Callable[[Path], Any], said: str) -> None:
    path = tmp_path / "vault.db"
    spoil(path)
    with pytest.raises(LedgerError, match=said):
        Vault.open(path)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://x/y", "cannot be kept in 'mysql'"),
        ("", "needs a path"),
        ("{}/missing/vault.db", "is not there"),
        ("{}/vault.db", "there is no vault"),
    ],
)
def test_a_vault_that_is_not_there_is_not_made_by_a_reader(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(LedgerError, match=said):
        Vault.open(url.format(tmp_path), create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.postgres
def test_a_password_is_never_shown() -> None:
    with pytest.raises(LedgerError) as caught:
        Vault.open("postgresql://kim:pass-word@127.0.0.1:1/vaults?connect_timeout=1")
    assert "127.0.0.1:1/vaults" in caught.value.text
    assert "pass-word" not in caught.value.text
    assert caught.value.__cause__ is None


def test_a_closed_vault_says_so(place: str) -> None:
    vault = Vault.open(place)
    vault.close()
    vault.close()
    with pytest.raises(LedgerError, match="was closed"):
        vault.slot("L", run="r", subject="ada")


def test_a_fork_opens_it_again_and_the_parents_vault_stays_whole(tmp_path: Path) -> None:
    code = """
import os, sys
from roadworthy.core.errors import LedgerError
from roadworthy.ledger.vault import Vault
vault = Vault.open(sys.argv[1])
slot = vault.slot("L", run="r", subject="ada")
pid = os.fork()
if pid == 0:
    try:
        vault.slot("L", run="s", subject="bob")
    except LedgerError as error:
        assert "a fork of it" in error.text
    vault.close()
    with Vault.open(sys.argv[1]) as own:
        assert own.slot("L", run="r", subject="ada").id == slot.id
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert vault.slot("L", run="s", subject="ada").id == slot.id
print("whole")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "vault.db")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("whole\n", "")


def test_a_key_is_on_disk_before_anybody_has_it(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from roadworthy.ledger.vault import Vault
slot = Vault.open(sys.argv[1]).slot("L", run="r", subject="ada")
print(slot.id.hex(), slot.seal(b"kept", b"x").hex(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "vault.db"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    id, sealed = done.stdout.split()
    with Vault.open(path) as vault:
        assert opened(vault, bytes.fromhex(id), bytes.fromhex(sealed), b"x") == b"kept"


def test_closing_one_vault_leaves_the_locks_of_another_on_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    one, two = Vault.open(path), Vault.open(path)
    with raw(str(path)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        one.close()
        code = f"""
import sqlite3
try:
    sqlite3.connect({str(path)!r}, timeout=0, isolation_level=None).execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError:
    print("locked")
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
        writing.execute("ROLLBACK")
    assert done.stdout == "locked\n"
    two.slot("L", run=None, subject="ada")
    two.close()


def test_an_erasure_that_was_broken_off_is_finished_by_whoever_opens_the_vault(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from roadworthy.ledger.vault import Vault
from roadworthy.ledger.vault_file import FileKeeper
FileKeeper._rewrite = lambda self: os.kill(os.getpid(), signal.SIGKILL)
vault = Vault.open(sys.argv[1])
slot = vault.slot("L", run=None, subject="ada")
print(slot.id.hex(), flush=True)
vault.erase("L", subject="ada")
"""
    path = tmp_path / "vault.db"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    with raw(str(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    with Vault.open(path) as vault:
        assert vault.opener(bytes.fromhex(done.stdout.strip())) == "erased"
    with raw(str(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
