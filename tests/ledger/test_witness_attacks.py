"""What an insider with every key of a ledger can do to it: the ledger does not show it, and a witness elsewhere does.

Each attack is held against both: `alone` says whether the ledger by itself can tell, with the log's own public key at
hand; the witness, and what it has signed, tell the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from roadworthy.audit.verify import verify
from roadworthy.core.clock import VirtualClock
from roadworthy.ledger.checkpoint import Checkpoint, LogKey, Note
from roadworthy.ledger.cosigning import Contradicted, NoAnswer, compare, cosign
from roadworthy.ledger.exposure import exposure
from roadworthy.ledger.store import Ledger
from roadworthy.ledger.witness import Witness
from roadworthy.ledger.witness_memory import place_of

from .witnessing import House, at, entries, within


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.add(300)
    return made


@pytest.fixture
def witness(house: House) -> Iterator[Witness]:
    with Witness(house.root / "w1", [house.vkey()], name="example.com/w1", clock=VirtualClock()) as opened:
        yield opened


@pytest.fixture
def other(house: House) -> Iterator[Witness]:
    with Witness(house.root / "w2", [house.vkey()], name="example.com/w2", clock=VirtualClock()) as opened:
        yield opened


def origin(house: House) -> str:
    return house.vkey().split("+")[0]


def signed(house: House, witness: Witness, file: Path | None = None) -> int:
    """Have the witness sign a copy of the ledger as it is now."""
    with house.open(file) as ledger:
        return cosign(ledger, at(witness), ask=within(witness)).size


def alone(house: House, file: Path | None = None) -> bool:
    """Whether the ledger passes for intact where nobody is asked: its own verification, and opening it to append."""
    key = house.vkey()
    with Ledger.open(file or house.file, read_only=True, vault=house.vault) as ledger:
        intact = verify(ledger, keys=[key]).intact
    with house.open(file) as ledger:
        assert ledger.size
    return intact


def asked(house: House, witness: Witness, file: Path | None = None) -> str:
    """What an auditor with a copy hears from the witness: what it has signed against the copy, or nothing."""
    with Ledger.open(file or house.file, read_only=True) as ledger:
        try:
            compare(ledger, at(witness), ask=within(witness))
        except Contradicted as error:
            found = error
        else:
            return ""
    # What the witness shows proves it to others.
    assert Note.parse(found.note or "").checked([at(witness).key])
    return found.text


def since(house: House, witness: Witness, file: Path | None = None) -> bool:
    """Whether verification from the witness's last checkpoint on finds the ledger intact."""
    note = witness.latest(place_of(origin(house))).body
    with Ledger.open(file or house.file, read_only=True, vault=house.vault) as ledger:
        return verify(ledger, keys=[house.vkey()], witnesses=[witness.vkey], since=note).intact


def test_a_ledger_that_nobody_touched_is_found_intact_by_all(house: House, witness: Witness) -> None:
    signed(house, witness)
    house.add(20)
    assert alone(house)
    assert since(house, witness)
    assert asked(house, witness) == ""


@pytest.mark.parametrize("later", [0, 5])
def test_going_back_to_a_backup_is_found_with_a_witness_only(house: House, witness: Witness, later: int) -> None:
    signed(house, witness)
    backup = house.copy("backup")
    house.add(20)
    signed(house, witness)
    house.restore(backup)
    if later:
        house.add(later, "other ")
    assert alone(house)
    assert "entries were cut off" in asked(house, witness)
    assert not since(house, witness)
    with house.open() as ledger, pytest.raises(Contradicted, match="entries were cut off"):
        cosign(ledger, at(witness), ask=within(witness))


@pytest.mark.parametrize("later", [20, 21, 700])
def test_a_history_that_was_written_anew_is_found_with_a_witness_only(
    house: House, witness: Witness, later: int
) -> None:
    """The insider takes an old copy, has the gate's own path write something else, and goes on from there."""
    backup = house.copy("backup")
    house.add(20)
    signed(house, witness)
    house.restore(backup)
    house.add(later, "never happened ")
    assert alone(house)
    assert "rewritten" in asked(house, witness)
    assert not since(house, witness)
    with house.open() as ledger, pytest.raises(Contradicted, match="rewritten") as found:
        cosign(ledger, at(witness), ask=within(witness))
    assert found.value.note is not None
    # At the same size the log has signed two roots, and the witness keeps both as evidence.
    (dispute,) = witness.memory.disputes(origin(house))
    assert dispute.certain is (later == 20)


def test_one_entry_written_anew_by_its_keeper_is_found_with_a_witness_only(tmp_path: Path) -> None:
    """The whole ledger is made again with the same keys, and one word in it is another."""
    house = House(tmp_path)
    with house.open() as ledger:
        ledger.append(entries(1))
    seed = house.copy("seed")
    house.add(50)
    with Witness(tmp_path / "w1", [house.vkey()], name="example.com/w1") as witness:
        signed(house, witness)
        house.restore(seed)
        with house.open() as ledger:
            drafts = entries(50, first=ledger.size + 1)
            drafts[25] = entries(1, "approved: ", first=ledger.size + 26)[0]
            ledger.append(drafts)
        assert alone(house)
        assert "rewritten" in asked(house, witness)


def test_two_histories_for_two_auditors_are_found_with_a_witness_only(house: House, witness: Witness) -> None:
    mine = house.copy("mine")
    yours = house.copy("yours")
    house.add(20, "for you ", mine)
    house.add(20, "for me ", yours)
    signed(house, witness, mine)
    # Each auditor by himself sees a ledger that is signed and whole.
    assert alone(house, mine)
    assert alone(house, yours)
    # The witness has signed for one of them, and does not sign for the other.
    assert asked(house, witness, mine) == ""
    assert "rewritten" in asked(house, witness, yours)
    with house.open(yours) as ledger, pytest.raises(Contradicted):
        cosign(ledger, at(witness), ask=within(witness))


def test_a_history_for_each_of_two_witnesses_is_found_by_whoever_asks_both(
    house: House, witness: Witness, other: Witness
) -> None:
    mine = house.copy("mine")
    yours = house.copy("yours")
    house.add(20, "for you ", mine)
    house.add(20, "for me ", yours)
    signed(house, witness, mine)
    signed(house, other, yours)
    assert asked(house, witness, mine) == asked(house, other, yours) == ""
    assert "rewritten" in asked(house, other, mine)
    assert "rewritten" in asked(house, witness, yours)
    # Who wants both of them to have signed is not content with either copy.
    for file in (mine, yours):
        with Ledger.open(file, read_only=True) as ledger:
            assert exposure(ledger, [witness.vkey, other.vkey]).size == ledger.size
            assert exposure(ledger, [witness.vkey, other.vkey], quorum=2).size == 0


def test_signatures_that_speak_against_the_ledger_are_found_where_it_keeps_them(house: House, witness: Witness) -> None:
    """The insider forgets to clear away what the witness had signed."""
    backup = house.copy("backup")
    house.add(20)
    signed(house, witness)
    with house.open() as ledger:
        kept = list(ledger.cosigned())
    house.restore(backup)
    house.add(30, "never happened ")
    with house.open() as ledger:
        for size, note in kept:
            ledger.keep_cosigned(size, note)
        found = exposure(ledger, [witness.vkey])
        assert found.size == 0
        assert len(found.contradictions) == 1
        assert "rewritten" in found.contradictions[0]
    with Ledger.open(house.file, read_only=True, vault=house.vault) as ledger:
        assert not verify(ledger, keys=[house.vkey()], witnesses=[witness.vkey]).intact


def test_the_insider_cannot_sign_as_the_witness(house: House, witness: Witness) -> None:
    signed_at = signed(house, witness)
    house.add(5)
    with house.open() as ledger:
        forged = LogKey.new("example.com/w1").sign(Note.parse(ledger.checkpoint() or "").text)
        ledger.keep_cosigned(ledger.size, f"{ledger.checkpoint()}{forged}")
        assert exposure(ledger, [witness.vkey]).size == signed_at


def test_what_came_after_the_last_signature_can_be_dropped_and_is_told_as_exposed(
    house: House, witness: Witness
) -> None:
    """No witness finds this: it is what the exposure window is printed for."""
    size = signed(house, witness)
    backup = house.copy("backup")
    house.add(7, "dropped later ")
    with house.open() as ledger:
        found = exposure(ledger, [witness.vkey])
        assert (found.size, found.after) == (size, 7)
    house.restore(backup)
    house.add(7, "never happened ")
    assert alone(house)
    assert asked(house, witness) == ""
    assert since(house, witness)


def test_who_has_stolen_the_key_is_found_out_by_the_owner(house: House, witness: Witness) -> None:
    """The thief has a history of his own signed; the true ledger is then not taken for its continuation."""
    stolen = house.copy("stolen")
    signed(house, witness)
    house.add(3, "theirs ", stolen)
    signed(house, witness, stolen)
    house.add(9)
    with house.open() as ledger, pytest.raises(Contradicted) as found:
        cosign(ledger, at(witness), ask=within(witness))
    assert Checkpoint.parse(Note.parse(found.value.note or "").text).size == 304


def test_a_ledger_begun_anew_is_another_log_to_the_witness(house: House, witness: Witness, tmp_path: Path) -> None:
    signed(house, witness)
    (tmp_path / "anew").mkdir()
    fresh = House(tmp_path / "anew")
    fresh.add(10)
    with fresh.open() as ledger, pytest.raises(NoAnswer, match="does not sign for roadworthy/"):
        cosign(ledger, at(witness), ask=within(witness))
    with fresh.open() as ledger:
        assert compare(ledger, at(witness), ask=within(witness)) is None
