"""A new key for a ledger: who follows it, and who cannot pass one off."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from roadworthy.core.errors import LedgerError, UsageError
from roadworthy.core.types import Draft
from roadworthy.ledger.checkpoint import Checkpoint, LogKey, Note, Verifier, WitnessKey
from roadworthy.ledger.rotation import Link, followers, in_force, keys_of, links, rotate, statement, succession
from roadworthy.ledger.store import Ledger
from roadworthy.ledger.vault import Vault

Make = Callable[..., Draft]
ORIGIN = "roadworthy/4f2a"


@pytest.fixture
def vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a vault may be made, apart from the ledger."""
    return tmp_path_factory.mktemp("vault") / "vault.db"


def _signers(ledger: Ledger) -> list[bytes]:
    return [one.key_id for one in Note.parse(ledger.checkpoint() or "").signatures]


def _key(link: Link) -> Verifier:
    assert link.key is not None, link.wrong
    return link.key


def test_a_new_key_signs_from_then_on(shared: str, vault: Path, make: Make) -> None:
    with Ledger.open(shared, vault=vault) as ledger:
        ledger.append([make(1), make(2)])
        (first,) = keys_of(ledger)
        assert _signers(ledger) == [_key(first).key_id]
        link = rotate(ledger, by="ada", because="a year has gone by")
        assert keys_of(ledger) == (first, link)
        assert _signers(ledger) == [_key(first).key_id, _key(link).key_id]
        assert len(Note.parse(ledger.checkpoint() or "").checked([_key(first), _key(link)])) == 2
        ledger.append([make(3)])
        assert _signers(ledger) == [_key(link).key_id]
        (entry,) = [entry for entry in ledger.entries(kind="key") if entry.seq == link.seq]
        assert (entry.body["by"], entry.body["because"]) == ("ada", "a year has gone by")
    with Ledger.open(shared, vault=vault) as ledger:
        (written,) = ledger.append([make(4)])
        assert written.seq == 6
        assert _signers(ledger) == [_key(link).key_id]


def test_other_processes_follow_at_their_next_append(shared: str, vault: Path, make: Make) -> None:
    with Ledger.open(shared, vault=vault) as one, Ledger.open(shared, vault=vault) as other:
        other.append([make(1)])
        first = rotate(one, by="ada", because="because")
        second = rotate(other, by="ada", because="because")
        one.append([make(2)])
        assert _signers(one) == [_key(second).key_id]
        assert [link.seq for link in keys_of(one)[1:]] == [first.seq, second.seq]


def test_the_old_key_is_destroyed(path: Path, vault: Path, make: Make) -> None:
    with Vault.open(vault) as keys, Ledger.open(path, vault=keys) as ledger:
        ledger.append([make(1)])
        (old,) = keys.log_keys(ledger.id, f"roadworthy/{ledger.id}")
        secret = old.to_bytes()
        assert any(secret in file.read_bytes() for file in vault.parent.iterdir())
        link = rotate(ledger, by="ada", because="because")
        (kept,) = keys.log_keys(ledger.id, f"roadworthy/{ledger.id}")
        assert kept.verifier == link.key
    assert not [file for file in vault.parent.iterdir() if secret in file.read_bytes()]


def test_a_ledger_from_before_the_new_key_is_not_written_to(
    path: Path, vault: Path, make: Make, tmp_path: Path
) -> None:
    backup = tmp_path / "backup.db"
    with Ledger.open(path, vault=vault) as ledger:
        ledger.append([make(1)])
    shutil.copy(path, backup)
    with Ledger.open(path, vault=vault) as ledger:
        rotate(ledger, by="ada", because="because")
    with pytest.raises(LedgerError, match="not signed with the key that this vault has"):
        Ledger.open(backup, vault=vault)
    with Ledger.open(path, vault=vault) as ledger:
        ledger.append([make(2)])


def test_what_is_cut_short_by_a_crash_is_done_again(shared: str, vault: Path, make: Make) -> None:
    """Killed before the entry was written, or before the old key was destroyed: the ledger is as well as before."""
    with Vault.open(vault) as keys, Ledger.open(shared, vault=keys) as ledger:
        ledger.append([make(1)])
        origin = f"roadworthy/{ledger.id}"
        (old,) = keys.log_keys(ledger.id, origin)
        keys.keep_log_key(ledger.id, LogKey.new(origin))
    with Ledger.open(shared, vault=vault) as ledger:
        ledger.append([make(2)])
        assert _signers(ledger) == [old.verifier.key_id]
        link = rotate(ledger, by="ada", because="because")
    with Vault.open(vault) as keys:
        keys.keep_log_key(ledger.id, old)
        with Ledger.open(shared, vault=keys) as ledger:
            ledger.append([make(3)])
            assert _signers(ledger) == [_key(link).key_id]
            assert all(link.wrong is None for link in keys_of(ledger))


def test_of_two_at_once_one_is_told(shared: str, vault: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with Vault.open(vault) as keys, Ledger.open(shared, vault=keys) as one, Ledger.open(shared, vault=vault) as other:
        one.append([make(1)])
        keep = keys.keep_log_key

        def late(ledger_id: str, key: LogKey) -> None:
            keep(ledger_id, key)
            rotate(other, by="bob", because="faster")

        monkeypatch.setattr(keys, "keep_log_key", late)
        with pytest.raises(LedgerError, match="somebody else has given"):
            rotate(one, by="ada", because="slower")
        assert [entry.body.get("by") for entry in one.entries(kind="key")] == [None, "bob"]
        one.append([make(2)])
        (kept,) = keys.log_keys(one.id, f"roadworthy/{one.id}")
        assert _signers(one) == [kept.verifier.key_id]


def test_a_key_that_is_gone_when_it_is_looked_for_was_followed_meanwhile(
    shared: str, vault: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the checkpoint and the look into the vault another process brings in the next key."""
    with Vault.open(vault) as keys, Ledger.open(shared, vault=vault) as other:
        other.append([make(1)])
        look, times = keys.log_keys, [0]

        def late(ledger_id: str, name: str) -> tuple[LogKey, ...]:
            times[0] += 1
            if times[0] in (1, 4):
                rotate(other, by="bob", because="faster")
            return look(ledger_id, name)

        monkeypatch.setattr(keys, "log_keys", late)
        with Ledger.open(shared, vault=keys) as ledger:
            assert times[0] == 2
            ledger.append([make(2)])
            times[0] = 3
            rotate(ledger, by="ada", because="slower")
            assert times[0] > 4
            assert [link.wrong for link in keys_of(ledger)] == [None] * 4
            assert [entry.body.get("by") for entry in ledger.entries(kind="key")] == [None, "bob", "bob", "ada"]


def test_entries_around_it_may_be_of_one_append(shared: str, vault: Path, make: Make) -> None:
    with Vault.open(vault) as keys, Ledger.open(shared, vault=keys) as ledger:
        ledger.append([make(1)])
        origin = f"roadworthy/{ledger.id}"
        (old,) = keys.log_keys(ledger.id, origin)
        new, newer = LogKey.new(origin), LogKey.new(origin)
        for key in (new, newer):
            keys.keep_log_key(ledger.id, key)
        ledger.append(
            [
                make(2),
                make(3, run=None, kind="key", body=succession(old, new, by="ada", because="")),
                make(4),
                make(5, run=None, kind="key", body=succession(new, newer, by="ada", because="")),
            ]
        )
        assert _signers(ledger) == [old.verifier.key_id, newer.verifier.key_id]
        ledger.append([make(6)])
        assert _signers(ledger) == [newer.verifier.key_id]
        assert [link.key for link in keys_of(ledger)] == [old.verifier, new.verifier, newer.verifier]


def test_a_key_that_was_not_signed_for_does_not_come_into_use(shared: str, vault: Path, make: Make) -> None:
    with Vault.open(vault) as keys, Ledger.open(shared, vault=keys) as ledger:
        ledger.append([make(1)])
        origin = f"roadworthy/{ledger.id}"
        (old,) = keys.log_keys(ledger.id, origin)
        stranger, unsigned = LogKey.new(origin), LogKey.new(origin)
        keys.keep_log_key(ledger.id, unsigned)
        forged: list[Mapping[str, Any]] = [
            {"vkey": stranger.vkey},
            succession(stranger, unsigned, by="eve", because="none"),
            {**succession(stranger, unsigned, by="eve", because="none"), "after": old.vkey},
        ]
        ledger.append([make(9, run=None, kind="key", body=body) for body in forged])
        ledger.append([make(2)])
        assert _signers(ledger) == [old.verifier.key_id]
        assert [link.key for link in keys_of(ledger)] == [old.verifier, None, None, None]


def test_what_a_rotation_needs(shared: str, vault: Path, make: Make) -> None:
    with Ledger.open(shared) as ledger:
        with pytest.raises(LedgerError, match="give the vault"):
            rotate(ledger, by="ada", because="because")
        ledger.append([make(1)])
    with Ledger.open(shared, vault=vault) as ledger:
        with pytest.raises(UsageError, match="no key yet"):
            rotate(ledger, by="ada", because="because")
        ledger.append([make(2)])
        assert rotate(ledger, by="ada", because="because").seq == 4


# What entries of kind `key` come to -----------------------------------------------------------------------------------


def _chain(count: int) -> tuple[list[LogKey], list[tuple[int, Mapping[str, Any]]]]:
    keys = [LogKey.new(ORIGIN) for _ in range(count)]
    bodies = [succession(old, new, by="ada", because="") for old, new in pairwise(keys)]
    return keys, [(1, {"vkey": keys[0].vkey}), *((10 * place, body) for place, body in enumerate(bodies, start=1))]


def test_which_key_signs_for_how_many_entries() -> None:
    keys, bodies = _chain(3)
    found = list(links(bodies, origin=ORIGIN))
    assert [in_force(found, size) for size in (0, 1, 9, 10, 19, 20, 99)] == [
        None, *(keys[n].verifier for n in (0, 0, 1, 1, 2, 2)),
    ]  # fmt: skip


def test_from_a_trusted_key_to_later_ones_and_not_to_earlier_ones() -> None:
    keys, bodies = _chain(4)
    verifiers = [key.verifier for key in keys]
    said = [body for _, body in bodies]
    for place, trusted in enumerate(verifiers):
        assert list(followers(trusted, said)) == verifiers[place:]
    assert list(followers(verifiers[0], reversed(said))) == verifiers[:2]
    forged = succession(LogKey.new(ORIGIN), LogKey.new(ORIGIN), by="eve", because="")
    assert list(followers(verifiers[0], [forged, *said])) == verifiers


def test_what_does_not_follow_brings_no_key_into_use() -> None:
    (first, second, third), (begin, good, last) = _chain(3)
    stranger = LogKey.new(ORIGIN)
    witness = WitnessKey.from_bytes(second.to_bytes(), name=ORIGIN)
    elsewhere = LogKey.new("roadworthy/other")
    for wrong in (
        {},
        {"vkey": None},
        {"vkey": "no key"},
        {"vkey": second.vkey},
        {**good[1], "signature": ""},
        {**good[1], "signature": None},
        {**good[1], "signature": "é"},
        {**good[1], "signature": succession(stranger, second, by="", because="")["signature"]},
        {**good[1], "vkey": third.vkey},
        {**good[1], "after": third.vkey},
        succession(stranger, second, by="eve", because=""),
        {**good[1], "vkey": witness.vkey},
        succession(first, elsewhere, by="eve", because=""),
    ):
        found = list(links([begin, (10, wrong), (11, good[1]), last], origin=ORIGIN))
        assert [link.key for link in found] == [first.verifier, None, second.verifier, third.verifier], wrong
        assert found[1].wrong
    (alone,) = links([good], origin=ORIGIN)
    assert alone.key is None


def test_a_statement_is_no_checkpoint() -> None:
    """Else whoever gets a log to sign the one could have the other."""
    keys, _ = _chain(2)
    text = statement(keys[0].verifier, keys[1].verifier)
    assert text == f"roadworthy/key/1\n{keys[0].vkey}\n{keys[1].vkey}\n"
    with pytest.raises(UsageError, match="size"):
        Checkpoint.parse(text)
