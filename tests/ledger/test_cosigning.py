"""A ledger has its checkpoints signed by witnesses, and knows how much of it they vouch for."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest

from roadworthy.cli.app import main
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import UsageError
from roadworthy.ledger.checkpoint import Checkpoint, LogKey, Note, WitnessKey
from roadworthy.ledger.cosigning import (
    Contradicted,
    NoAnswer,
    Reply,
    WitnessAt,
    compare,
    cosign,
    cosign_all,
    over_http,
)
from roadworthy.ledger.exposure import exposure
from roadworthy.ledger.rotation import keys_of, rotate
from roadworthy.ledger.store import Ledger
from roadworthy.ledger.witness import Witness
from roadworthy.ledger.witness_http import WitnessServer

from .witnessing import House, answers, at, entries, names, nobody, within

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.add(9)
    return made


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def witness(house: House, clock: VirtualClock) -> Iterator[Witness]:
    with Witness(house.root / "w1", [house.vkey()], name="example.com/w1", clock=clock) as opened:
        yield opened


@pytest.fixture
def other(house: House, clock: VirtualClock) -> Iterator[Witness]:
    with Witness(house.root / "w2", [house.vkey()], name="example.com/w2", clock=clock) as opened:
        yield opened


def test_a_ledger_is_signed_as_it_grows(house: House, witness: Witness, clock: VirtualClock) -> None:
    sizes: list[int] = []
    for count in (1, 300, 2, 513):
        clock.advance(60)
        sizes.append(house.add(count))
        with house.open() as ledger:
            found = cosign(ledger, at(witness), ask=within(witness))
            assert (found.witness, found.size, found.at) == ("example.com/w1", ledger.size, clock.now())
            assert exposure(ledger, [witness.vkey]).after == 0
    with house.open() as ledger:
        assert names(ledger, [witness.vkey]) == {size: {"example.com/w1"} for size in sizes}


def test_what_witnesses_sign_is_kept_on_every_engine(
    shared: str, tmp_path_factory: pytest.TempPathFactory, clock: VirtualClock
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with Ledger.open(shared, vault=elsewhere / "keys.db") as ledger:
        ledger.append(entries(300))
        vkey = keys_of(ledger)[0].key
        assert vkey is not None
        with Witness(elsewhere / "witness", [vkey.vkey], clock=clock) as witness:
            cosign(ledger, at(witness), ask=within(witness))
            ledger.append(entries(300))
            cosign(ledger, at(witness), ask=within(witness))
            with Ledger.open(shared, read_only=True) as copy:
                assert [size for size, _ in copy.cosigned()] == [301, 601]
                found = exposure(copy, [witness.vkey])
                assert (found.size, found.at, found.after) == (601, clock.now(), 0)
                assert compare(copy, at(witness), ask=within(witness)) is not None


def test_what_is_kept_is_a_checkpoint_that_anybody_can_check(house: House, witness: Witness) -> None:
    with house.open() as ledger:
        cosign(ledger, at(witness), ask=within(witness))
        ((size, note),) = ledger.cosigned()
        assert note.startswith(ledger.checkpoint() or "nothing")
        assert Note.parse(note).checked([at(witness).key])
        assert Checkpoint.parse(Note.parse(note).text).size == size == ledger.size


def test_several_witnesses_sign_one_checkpoint(house: House, witness: Witness, other: Witness) -> None:
    with house.open() as ledger:
        for one in (witness, other, witness):
            cosign(ledger, at(one), ask=within(one))
        assert names(ledger, [witness.vkey, other.vkey]) == {ledger.size: {"example.com/w1", "example.com/w2"}}
        ((_, note),) = ledger.cosigned()
        assert len(Note.parse(note).signatures) == 3


def test_a_later_signature_of_the_same_size_takes_the_place_of_the_earlier(
    house: House, witness: Witness, clock: VirtualClock
) -> None:
    with house.open() as ledger:
        cosign(ledger, at(witness), ask=within(witness))
        clock.advance(3600)
        cosign(ledger, at(witness), ask=within(witness))
        ((_, note),) = ledger.cosigned()
        assert len(Note.parse(note).signatures) == 2
        assert exposure(ledger, [witness.vkey]).at == clock.now()


def test_who_has_forgotten_what_was_signed_is_told(house: House, witness: Witness) -> None:
    backup = house.copy("copy")
    with house.open() as ledger:
        cosign(ledger, at(witness), ask=within(witness))
    house.add(100)
    with house.open() as ledger:
        cosign(ledger, at(witness), ask=within(witness))
    house.add(100)
    # Its own memory of the signatures is gone, and the tree is the same: the witness says how far it was.
    with house.open(backup) as old, house.open() as ledger:
        assert [size for size, _ in old.cosigned()] == []
        assert cosign(ledger, at(witness), ask=within(witness)).size == ledger.size
        with pytest.raises(Contradicted, match="entries were cut off"):
            cosign(old, at(witness), ask=within(witness))


def test_two_processes_may_have_one_ledger_signed(house: House, witness: Witness) -> None:
    ask = within(witness)

    def meanwhile(address: str, body: bytes | None) -> Reply:
        """Another process appends and is faster, between our look at the ledger and our asking."""
        if body is not None and not done:
            done.append(house.add(5))
            with house.open() as second:
                cosign(second, at(witness), ask=ask)
        return ask(address, body)

    done: list[int] = []
    with house.open() as ledger:
        assert cosign(ledger, at(witness), ask=meanwhile).size == done[0]


def test_a_ledger_without_a_vault_has_nobody_sign_for_it(tmp_path: Path, witness: Witness) -> None:
    with Ledger.open(tmp_path / "plain.db") as ledger:
        with pytest.raises(UsageError, match="no entries yet"):
            cosign(ledger, at(witness), ask=nobody)
        ledger.append(entries(1))
        with pytest.raises(UsageError, match="give the ledger a vault"):
            cosign(ledger, at(witness), ask=nobody)


def test_a_new_key_of_the_ledger_must_be_told_to_the_witness(house: House, witness: Witness) -> None:
    with house.open() as ledger:
        cosign(ledger, at(witness), ask=within(witness))
        link = rotate(ledger, by="ada", because="it is time")
        assert link.key is not None
        # The first checkpoint after the change has both signatures.
        cosign(ledger, at(witness), ask=within(witness))
        ledger.append(entries(1))
        with pytest.raises(NoAnswer, match="start it with --log and the present key"):
            cosign(ledger, at(witness), ask=within(witness))
        old = house.vkey()
        witness.close()
        with Witness(house.root / "w1", [old, link.key.vkey]) as again:
            assert cosign(ledger, at(again), ask=within(again)).size == ledger.size


# Answers that are none -----------------------------------------------------------------------------------------------

TEXT = "text/plain"
SIZE = "text/x.tlog.size"


def test_a_signature_of_somebody_else_is_not_kept(house: House, witness: Witness, other: Witness) -> None:
    with house.open() as ledger, pytest.raises(NoAnswer, match=r"did not sign as example\.com/w1"):
        cosign(ledger, at(witness), ask=within(other))
    with house.open() as ledger:
        assert list(ledger.cosigned()) == []


def test_signatures_of_strangers_beside_its_own_are_passed_over(house: House, witness: Witness, other: Witness) -> None:
    def both(address: str, body: bytes | None) -> Reply:
        found = within(witness)(address, body)
        return Reply(status=found.status, media=found.media, body=within(other)(address, body).body + found.body)

    with house.open() as ledger:
        cosign(ledger, at(witness), ask=both)
        assert names(ledger, [witness.vkey, other.vkey]) == {ledger.size: {"example.com/w1"}}


@pytest.mark.parametrize("body", ["", "\n", "hello\n", "— example.com/w1 AAAA\n", "— example.com/w1 \n"])
def test_what_is_no_signature_is_not_kept(house: House, witness: Witness, body: str) -> None:
    ask, _ = answers(Reply(status=200, media=TEXT, body=body))
    with house.open() as ledger:
        with pytest.raises(NoAnswer):
            cosign(ledger, at(witness), ask=ask)
        assert list(ledger.cosigned()) == []


def test_a_wrong_signature_is_not_kept(house: House, witness: Witness) -> None:
    with house.open() as ledger:
        key = WitnessKey.new("example.com/w1")
        at_key = WitnessAt.parse("http://witness.test", key.vkey)
        for text, time in (("something else\n", 5), (Note.parse(ledger.checkpoint() or "").text, 0)):
            ask, _ = answers(Reply(status=200, media=TEXT, body=key.cosign(text, at=time)))
            with pytest.raises(NoAnswer):
                cosign(ledger, at_key, ask=ask)
        assert list(ledger.cosigned()) == []


@pytest.mark.parametrize(
    ("status", "media", "body", "says"),
    [
        (409, SIZE, "many\n", "does not say which size"),
        (409, SIZE, "-1\n", "does not say which size"),
        (409, SIZE, "9" * 5000, "does not say which size"),
        (409, TEXT, "5\n", "does not say which size"),
        (404, TEXT, "no\n", "does not sign for roadworthy/"),
        (403, TEXT, "no\n", "knows another key"),
        (400, TEXT, "no\n", "did not sign .400"),
        (302, TEXT, "", "did not sign .302"),
        (500, TEXT, "broken\x1b[2J", "did not sign .500"),
    ],
)
def test_a_witness_that_does_not_sign_is_no_finding(
    house: House, witness: Witness, status: int, media: str, body: str, says: str
) -> None:
    ask, _ = answers(Reply(status=status, media=media, body=body))
    with house.open() as ledger, pytest.raises(NoAnswer, match=says):
        cosign(ledger, at(witness), ask=ask)


def test_a_witness_that_names_another_size_each_time_is_left(house: House, witness: Witness) -> None:
    ask, asked = answers(*[Reply(status=409, media=SIZE, body=f"{n}\n") for n in (1, 2, 3, 4, 5)])
    with house.open() as ledger, pytest.raises(NoAnswer, match="another size each time"):
        cosign(ledger, at(witness), ask=ask)
    assert len(asked) == 4


def test_what_a_witness_says_without_showing_is_told_as_its_word(house: House, witness: Witness) -> None:
    for status, media, body in ((422, TEXT, "no\n"), (409, SIZE, "1000\n")):
        nothing = Reply(status=404, media=TEXT, body="")
        ask, _ = answers(Reply(status=status, media=media, body=body), nothing)
        with house.open() as ledger, pytest.raises(Contradicted) as found:
            cosign(ledger, at(witness), ask=ask)
        assert found.value.note is None


def test_a_witness_that_speaks_against_what_it_has_signed_is_not_believed(house: House, witness: Witness) -> None:
    with house.open() as ledger:
        cosign(ledger, at(witness), ask=within(witness))
        for says in (Reply(status=422, media=TEXT, body="no\n"), Reply(status=409, media=SIZE, body="1000\n")):

            def lies(address: str, body: bytes | None, says: Reply = says) -> Reply:
                return within(witness)(address, body) if body is None else says

            with pytest.raises(NoAnswer, match="something is wrong with the witness"):
                cosign(ledger, at(witness), ask=lies)


@pytest.mark.parametrize(
    "url", ["", "witness", "ftp://w", "http://", "http://u:p@w", "http://w?x", "http://w:x", "http://[::", "file:///x"]
)
def test_what_is_no_address_is_refused(witness: Witness, url: str) -> None:
    with pytest.raises(UsageError, match="no such address"):
        WitnessAt.parse(url, witness.vkey)


def test_the_key_must_be_one_of_a_witness() -> None:
    for vkey in (LogKey.new("example.com/log").vkey, "nonsense"):
        with pytest.raises(UsageError):
            WitnessAt.parse("http://w", vkey)


# What an auditor asks -------------------------------------------------------------------------------------------------


def test_a_copy_is_compared_with_what_the_witness_has_signed(house: House, witness: Witness) -> None:
    with Ledger.open(house.file, read_only=True) as ledger:
        assert compare(ledger, at(witness), ask=within(witness)) is None
    with house.open() as ledger:
        cosign(ledger, at(witness), ask=within(witness))
    house.add(7)
    with Ledger.open(house.file, read_only=True) as ledger:
        found = compare(ledger, at(witness), ask=within(witness))
        assert found is not None
        assert ledger.size - found.size == 7


@pytest.mark.parametrize("body", ["", "x", "x\n\n— example.com/w1 AAAAAAAA\n"])
def test_what_a_witness_shows_must_be_signed_by_it(house: House, witness: Witness, other: Witness, body: str) -> None:
    with house.open() as ledger:
        cosign(ledger, at(other), ask=within(other))
        with pytest.raises(NoAnswer, match=r"not signed by example\.com/w1"):
            compare(ledger, at(witness), ask=within(other))
        ask, _ = answers(Reply(status=200, media=TEXT, body=body))
        with pytest.raises(NoAnswer):
            compare(ledger, at(witness), ask=ask)


def test_an_entry_that_was_changed_by_hand_is_found_where_the_tiles_still_agree(house: House, witness: Witness) -> None:
    house.add(300)
    with house.open() as ledger:
        cosign(ledger, at(witness), ask=within(witness))
    with closing(sqlite3.connect(house.file)) as db, db:
        first, heads = db.execute("SELECT first, heads FROM groups WHERE first > 1 LIMIT 1").fetchone()
        db.execute("UPDATE groups SET heads = ? WHERE first = ?", (heads.replace(b'"heard"', b'"haerd"', 1), first))
    with (
        Ledger.open(house.file, read_only=True) as ledger,
        pytest.raises(Contradicted, match="changed by hand") as found,
    ):
        compare(ledger, at(witness), ask=within(witness))
    assert found.value.note is not None


# Exposure ------------------------------------------------------------------------------------------------------------


def test_what_nobody_has_signed_is_exposed(house: House, witness: Witness) -> None:
    with house.open() as ledger:
        found = exposure(ledger, [witness.vkey])
        assert (found.size, found.at, found.after, found.witnesses) == (0, None, ledger.size, ())
        cosign(ledger, at(witness), ask=within(witness))
        assert exposure(ledger, []).size == 0


def test_what_came_after_the_last_signature_is_exposed(house: House, witness: Witness, clock: VirtualClock) -> None:
    with house.open() as ledger:
        cosign(ledger, at(witness), ask=within(witness))
        signed = ledger.size
    house.add(42)
    with Ledger.open(house.file, read_only=True) as ledger:
        found = exposure(ledger, [witness.vkey])
        assert (found.size, found.at, found.after) == (signed, clock.now(), 42)
        assert found.contradictions == ()


def test_a_quorum_counts_as_far_as_enough_have_signed(
    house: House, witness: Witness, other: Witness, clock: VirtualClock
) -> None:
    keys = [witness.vkey, other.vkey]
    with house.open() as ledger:
        first = cosign(ledger, at(witness), ask=within(witness)).size
        ledger.append(entries(5))
        clock.advance(100)
        second = cosign(ledger, at(other), ask=within(other)).size
        assert exposure(ledger, keys).size == second
        both = exposure(ledger, keys, quorum=2)
        assert (both.size, both.at, [one.witness for one in both.witnesses]) == (
            first, clock.now(), ["example.com/w2", "example.com/w1"],
        )  # fmt: skip
        assert exposure(ledger, keys, quorum=3).size == 0
        # The same key twice is one witness.
        assert exposure(ledger, [witness.vkey, witness.vkey], quorum=2).size == 0


def test_a_note_from_elsewhere_counts_as_one_in_the_ledger(house: House, witness: Witness) -> None:
    with house.open() as ledger:
        kept = ledger.cosigned
        cosign(ledger, at(witness), ask=within(witness))
        notes = [note for _, note in kept()]
        size = ledger.size
    fresh = house.copy("fresh")
    with house.open(fresh) as ledger:
        assert exposure(ledger, [witness.vkey], notes=[*notes, "nonsense"]).size == size


def test_what_was_signed_for_another_ledger_counts_for_nothing(house: House, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    second = House(tmp_path / "second")
    second.add(9)
    with Witness(tmp_path / "w", [house.vkey(), second.vkey()], name="example.com/w") as witness:
        with second.open() as ledger:
            cosign(ledger, at(witness), ask=within(witness))
            ((_, note),) = ledger.cosigned()
        shown = answers(Reply(status=200, media=TEXT, body=note))[0]
        with house.open() as ledger:
            found = exposure(ledger, [witness.vkey], notes=[note])
            assert found.size == 0
            assert "another log" in found.contradictions[0]
            with pytest.raises(Contradicted, match="another log"):
                compare(ledger, at(witness), ask=shown)


def test_signatures_that_are_wrong_count_for_nothing(house: House, witness: Witness, other: Witness) -> None:
    with house.open() as ledger:
        cosign(ledger, at(witness), ask=within(witness))
        ((size, note),) = ledger.cosigned()
        ledger.append(entries(1))
        later = Note.parse(ledger.checkpoint() or "")
        ledger.keep_cosigned(ledger.size, str(later.plus(Note.parse(note).signatures[-1])))
        ledger.keep_cosigned(3, "nonsense")
        found = exposure(ledger, [witness.vkey, other.vkey])
        assert (found.size, found.contradictions) == (size, ())


# Over HTTP -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(witness: Witness) -> Iterator[WitnessServer]:
    with WitnessServer(("127.0.0.1", 0), witness) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_all_of_it_works_over_http(house: House, witness: Witness, served: WitnessServer) -> None:
    there = WitnessAt.parse(f"{served.url}/", witness.vkey)
    with house.open() as ledger:
        assert compare(ledger, there) is None
        cosign(ledger, there)
        ledger.append(entries(400))
        assert cosign(ledger, there).size == ledger.size
        found = compare(ledger, there)
        assert found is not None
        assert found.size == ledger.size


def test_who_does_not_answer_keeps_nobody_else_waiting(
    house: House, witness: Witness, other: Witness, served: WitnessServer
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        gone = taken.getsockname()[1]
    with house.open() as ledger:
        dead, alive = WitnessAt.parse(f"http://127.0.0.1:{gone}", other.vkey), WitnessAt.parse(served.url, witness.vkey)
        came = cosign_all(ledger, [dead, alive])
        assert isinstance(came[0], NoAnswer)
        assert "cannot be reached" in came[0].text
        assert not isinstance(came[1], Exception)
        assert came[1].size == ledger.size


def test_a_redirect_is_not_followed(served: WitnessServer) -> None:
    assert over_http(f"{served.url}/nowhere", b"").status == 404


# The verb ------------------------------------------------------------------------------------------------------------


def verb(house: House, served: WitnessServer, *more: str, file: Path | None = None) -> int:
    words = ["ledger", "cosign", str(file or house.file), "--witness", served.url, "--key", served.witness.vkey]
    return main([*words, *more])


def test_the_verb_has_it_signed_and_compares(house: House, served: WitnessServer, capsys: Capture) -> None:
    vault = ["--vault", str(house.vault)]
    assert verb(house, served, "--compare") == 3
    assert verb(house, served, *vault) == 0
    assert "example.com/w1 has signed the first 10 entries, at 2026-01-05 09:00:00 UTC; 0 came after" in (
        capsys.readouterr().out
    )
    house.add(3)
    assert verb(house, served, "--compare", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["size"], told["after"]) == ("signed", 10, 3)
    assert datetime.fromisoformat(told["at"]) == datetime(2026, 1, 5, 9, tzinfo=UTC)


def test_another_history_is_a_finding(house: House, served: WitnessServer, capsys: Capture) -> None:
    backup = house.copy("backup")
    house.add(5)
    assert verb(house, served, "--vault", str(house.vault)) == 0
    capsys.readouterr()
    assert verb(house, served, "--compare", file=backup) == 1
    shown = capsys.readouterr()
    assert "entries were cut off" in shown.err
    # What the witness has signed is printed, so that it can be shown to others.
    assert Note.parse(shown.out).checked([at(served.witness).key])
    assert verb(house, served, "--vault", str(house.vault), file=backup) == 1
    assert verb(house, served, "--vault", str(house.vault), "--every", "60", file=backup) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--key", "x+00000000+AAAA"], "2 keys were given"),
        (["--compare", "--every", "1"], "leave --every out"),
        ([], "vault"),
    ],
)
def test_a_command_line_that_is_wrong_is_said(
    house: House, served: WitnessServer, words: list[str], says: str, capsys: Capture
) -> None:
    assert verb(house, served, *words) == 2
    assert says in capsys.readouterr().err


def test_it_goes_on_as_the_ledger_grows(house: House, served: WitnessServer) -> None:
    """One process has it signed whenever it has grown, while another appends."""
    words = ["ledger", "cosign", str(house.file), "--witness", served.url, "--key", served.witness.vkey]
    more = ["--vault", str(house.vault), "--every", "0.05", "--json"]
    code = "import sys; from roadworthy.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *words, *more], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline())["size"] == 10
            house.add(3)
            assert json.loads(process.stdout.readline())["size"] == 13
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
