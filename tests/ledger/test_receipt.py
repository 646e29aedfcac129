"""Receipts: what they prove, to whom, and what they do not."""

from __future__ import annotations

import base64
import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.core.errors import LedgerError, UsageError
from roadworthy.core.types import Draft
from roadworthy.ledger.checkpoint import LogKey, Note, NoteError, Signature, Verifier, WitnessKey
from roadworthy.ledger.merkle import included, leaf_hash, root
from roadworthy.ledger.receipt import Receipt, Unproven, check_receipt, receipt, still_there
from roadworthy.ledger.rotation import keys_of, rotate
from roadworthy.ledger.store import Ledger

from .conftest import raw

Make = Callable[..., Draft]
ENTRIES = 40
WITNESS = WitnessKey.new("witness.example/1")


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vault") / "vault.db"


def _vkey(ledger: Ledger) -> str:
    link = keys_of(ledger)[-1]
    assert link.key is not None
    return link.key.vkey


@pytest.fixture
def ledger(shared: str, vault: Path, make: Make) -> Iterator[Ledger]:
    with Ledger.open(shared, vault=vault) as opened:
        for number in range(0, ENTRIES - 1, 13):
            opened.append([make(number + more, body={"text": f"{number + more}"}) for more in range(13)])
        yield opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A receipt that was given out, and what it is checked with."""

    text: str
    vkey: str
    head: bytes
    seq: int


@pytest.fixture(scope="module")
def given_out(tmp_path_factory: pytest.TempPathFactory, vault: Path) -> Given:
    path = tmp_path_factory.mktemp("ledger") / "runs.db"
    drafts = [
        Draft(kind="heard", world="production", run="r", body={"text": str(n)}, at=datetime(2026, 1, 5, tzinfo=UTC))
        for n in range(11)
    ]
    with Ledger.open(path, vault=vault) as made:
        made.append(drafts)
        vkey = _vkey(made)
        rotate(made, by="ada", because="because")
        note = Note.parse(made.checkpoint() or "")
        cosigned = note.plus(Signature.parse(WITNESS.cosign(note.text, at=1_767_603_600)))
        made.keep_cosigned(13, str(cosigned))
        return Given(text=receipt(made, 6), vkey=vkey, head=made.head(6), seq=6)


# Giving ---------------------------------------------------------------------------------------------------------------


def test_every_entry_gets_one(ledger: Ledger) -> None:
    vkey = _vkey(ledger)
    for seq, head in ledger.heads():
        proven = check_receipt(receipt(ledger, seq), vkey, head)
        assert (proven.seq, proven.head, proven.entry["seq"]) == (seq, head, seq)
        assert (proven.checkpoint.size, proven.by.vkey, proven.witnesses) == (ENTRIES, vkey, ())
        assert still_there(ledger, proven) is None


def test_it_is_written_as_c2sp_says(ledger: Ledger) -> None:
    first, extra, index, *rest = receipt(ledger, 3).split("\n")
    assert first == "c2sp.org/tlog-proof@v1"
    assert index == "index 2"
    said = json.loads(base64.b64decode(extra.removeprefix("extra "), validate=True))
    assert said == {"head": ledger.head(3).decode()}
    gap = rest.index("")
    proof = [base64.b64decode(line, validate=True) for line in rest[:gap]]
    assert "\n".join(rest[gap + 1 :]) == ledger.checkpoint()
    assert included(leaf_hash(ledger.head(3)), 2, ENTRIES, proof, root(ENTRIES, ledger.node))


def test_a_receipt_of_another_log_is_read_where_its_entry_is_given(ledger: Ledger) -> None:
    """Roadworthy's own words are in a line that the specification leaves to everybody."""
    vkey, head = _vkey(ledger), ledger.head(5)
    text = receipt(ledger, 5)
    for extra in ("", "extra aGVsbG8=\n", "extra WzFd\n", "extra \n"):
        other = re.sub("extra .*\n", extra, text)
        assert check_receipt(other, vkey, head).seq == 5
        with pytest.raises(Unproven, match="does not bring its entry along"):
            check_receipt(other, vkey)


def test_an_entry_that_there_is_not(ledger: Ledger) -> None:
    for seq in (0, -1, ENTRIES + 1):
        with pytest.raises(UsageError, match=f"no entry {seq}"):
            receipt(ledger, seq)


def test_a_ledger_that_nobody_signed_gives_none(shared: str, make: Make) -> None:
    with Ledger.open(shared) as ledger:
        with pytest.raises(UsageError, match="no entries"):
            receipt(ledger, 1)
        ledger.append([make(1)])
        with pytest.raises(LedgerError, match="not signed"):
            receipt(ledger, 1)


def test_a_ledger_that_was_changed_gives_none(shared: str, vault: Path, make: Make) -> None:
    with Ledger.open(shared, vault=vault) as ledger:
        ledger.append([make(1)])
        ledger.append([make(2)])
    with raw(shared) as database:
        ((heads,),) = database.execute("SELECT heads FROM groups WHERE last = 3").fetchall()
        place = "?" if "://" not in shared else "%s"
        changed = bytes(heads).replace(b'"kind":"heard"', b'"kind":"said"')
        database.execute(f"UPDATE groups SET heads = {place} WHERE last = 3", (changed,))
    with Ledger.open(shared, read_only=True) as ledger:
        for seq in (2, 3):
            with pytest.raises(LedgerError, match="not what was signed for"):
                receipt(ledger, seq)


def test_the_latest_checkpoint_that_a_witness_has_signed_is_taken(ledger: Ledger, make: Make) -> None:
    for _ in range(2):
        note = Note.parse(ledger.checkpoint() or "")
        size = ledger.size
        ledger.keep_cosigned(size, str(note.plus(Signature.parse(WITNESS.cosign(note.text, at=size)))))
        ledger.append([make(size)])
    vkey = _vkey(ledger)
    for seq, size in ((1, ENTRIES + 1), (ENTRIES + 1, ENTRIES + 1), (ENTRIES + 2, ENTRIES + 2)):
        proven = check_receipt(receipt(ledger, seq), vkey, witnesses=[WITNESS.vkey])
        assert proven.checkpoint.size == size
        times = [one.at for one in proven.witnesses]
        assert times == ([] if size == ENTRIES + 2 else [size])


# Checking -------------------------------------------------------------------------------------------------------------


def test_it_counts_for_whoever_knew_the_key_before(given_out: Given) -> None:
    proven = check_receipt(given_out.text, given_out.vkey, witnesses=[WITNESS.verifier])
    assert (proven.seq, proven.head) == (given_out.seq, given_out.head)
    assert proven.by.vkey != given_out.vkey, "the key was followed by another one"
    (witness,) = proven.witnesses
    assert (witness.by, witness.at) == (WITNESS.verifier, 1_767_603_600)
    assert check_receipt(given_out.text, proven.by).by == proven.by


def test_an_earlier_key_says_nothing_to_whoever_knows_a_later_one(ledger: Ledger) -> None:
    early = receipt(ledger, 1)
    before = _vkey(ledger)
    rotate(ledger, by="ada", because="because")
    assert check_receipt(early, before).seq == 1
    with pytest.raises(Unproven, match="has no signature"):
        check_receipt(early, _vkey(ledger))


def test_for_another_entry_it_proves_nothing(given_out: Given) -> None:
    other = given_out.head.replace(b'"seq":6', b'"seq":7')
    with pytest.raises(Unproven, match="for another entry"):
        check_receipt(given_out.text, given_out.vkey, other)
    forged = json.dumps({"head": other.decode()}).encode()
    text = re.sub("extra .*", f"extra {base64.b64encode(forged).decode()}", given_out.text)
    proven_key = check_receipt(given_out.text, given_out.vkey).by
    with pytest.raises(Unproven, match="does not lead"):
        check_receipt(text, proven_key)


def test_a_strangers_key_proves_nothing(given_out: Given) -> None:
    found = Receipt.parse(given_out.text)
    for stranger in (LogKey.new(found.checkpoint.origin), LogKey.new("roadworthy/other")):
        with pytest.raises(Unproven):
            check_receipt(given_out.text, stranger.vkey)
        with pytest.raises(NoteError, match="no public key"):
            check_receipt(given_out.text, stranger.vkey[:-1])
    # Signed by a stranger, with the right proof: it is the signature that counts.
    own = LogKey.new(found.checkpoint.origin)
    text = str(Note(text=found.note.text).plus(Signature.parse(own.sign(found.note.text))))
    forged = f"{given_out.text.partition(chr(10) * 2)[0]}\n\n{text}"
    assert check_receipt(forged, own.vkey).seq == given_out.seq
    with pytest.raises(Unproven, match="has no signature"):
        check_receipt(forged, given_out.vkey)


@given(st.data())
def test_whatever_is_changed_it_proves_the_same_or_nothing(given_out: Given, data: st.DataObject) -> None:
    text = given_out.text
    place = data.draw(st.integers(0, len(text) - 1))
    instead = data.draw(st.sampled_from(["", "\n", " ", "A", "0", "=", "+", "—", "\ud800", text[place : place + 20]]))
    changed = text[:place] + instead + text[place + 1 :]
    try:
        proven = check_receipt(changed, given_out.vkey, witnesses=[WITNESS.verifier])
    except (Unproven, NoteError):
        return
    assert (proven.seq, proven.head) == (given_out.seq, given_out.head)


@given(st.text(max_size=200))
def test_what_is_no_receipt_is_refused(given_out: Given, text: str) -> None:
    for written in (text, f"c2sp.org/tlog-proof@v1\n{text}", f"c2sp.org/tlog-proof@v1\nindex 0\n{text}"):
        with pytest.raises(NoteError):
            Receipt.parse(written)
        with pytest.raises(NoteError):
            check_receipt(written, given_out.vkey)


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ("index 5", "index 05"),
        ("index 5", "index -5"),
        ("index 5", "index 5 "),
        ("index 5", "index 99999999999999999999"),
        ("index 5", "Index 5"),
        ("index 5\n", ""),
        ("index 5\n", "index 5\nindex 5\n"),
        ("index 5\n", "index 5\nAAAA\n"),
        ("index 5\n", "index 5\n" + "A" * 43 + "=\n" * 64),
        ("tlog-proof@v1", "tlog-proof@v2"),
        ("\n\n", "\n"),
        ("\n\n", "\n\n\n"),
        ("extra ", "extra  "),
        ("\nindex", "\r\nindex"),
    ],
)
def test_it_is_read_as_it_is_written_or_not_at_all(given_out: Given, what: str, instead: str) -> None:
    assert what in given_out.text
    with pytest.raises(NoteError):
        Receipt.parse(given_out.text.replace(what, instead, 1))


def test_a_receipt_is_written_as_it_was_read(given_out: Given) -> None:
    assert str(Receipt.parse(given_out.text)) == given_out.text


def test_an_entry_in_the_wrong_place_is_none(given_out: Given) -> None:
    """Signed for by the log itself: it would be the log that lies, and the receipt says so."""
    key = LogKey.new("roadworthy/liar")
    for said in (given_out.head, b'{"seq":1}', b"[]", b"no JSON"):
        text = f"roadworthy/liar\n1\n{base64.b64encode(leaf_hash(said)).decode()}\n"
        lying = f"c2sp.org/tlog-proof@v1\nindex 0\n\n{text}\n{key.sign(text)}"
        if said == b'{"seq":1}':
            assert check_receipt(lying, key.vkey, said).seq == 1
        else:
            with pytest.raises(Unproven, match="what was signed for"):
                check_receipt(lying, key.vkey, said)


# The ledger, later ----------------------------------------------------------------------------------------------------


def test_a_ledger_that_has_grown_still_holds_it(ledger: Ledger, make: Make) -> None:
    proven = check_receipt(receipt(ledger, 7), _vkey(ledger))
    for _ in range(3):
        ledger.append([make(number) for number in range(100)])
    assert still_there(ledger, proven) is None


def test_a_ledger_that_was_cut_or_written_anew_is_found(
    path: Path, vault: Path, make: Make, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With the log's own key: nobody else could find it in the file."""
    backup = tmp_path / "backup.db"
    with Ledger.open(path, vault=vault) as ledger:
        ledger.append([make(1)])
        vkey = _vkey(ledger)
    shutil.copy(path, backup)
    with Ledger.open(path, vault=vault) as ledger:
        ledger.append([make(2), make(3)])
        proven = check_receipt(receipt(ledger, 3), vkey)
        assert still_there(ledger, proven) is None
    with Ledger.open(backup, vault=vault) as ledger:
        assert "held 4 entries, and now it holds 2" in str(still_there(ledger, proven))
        ledger.append([make(2)])
        ledger.append([make(4)])
        assert "entry 3 was another one" in str(still_there(ledger, proven))
        early = check_receipt(receipt(ledger, 1), vkey)
    with Ledger.open(path, vault=vault) as ledger:
        assert "are not those that were there" in str(still_there(ledger, early))
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "runs.db"
    with Ledger.open(elsewhere, vault=vault) as ledger:
        ledger.append([make(1)])
        assert "is of the ledger" in str(still_there(ledger, proven))


def test_a_trusted_witness_whose_signature_is_wrong_spoils_it(given_out: Given) -> None:
    found = Receipt.parse(given_out.text)
    line = next(one for one in found.note.signatures if one.name == WITNESS.name)
    bad = Signature(name=line.name, key_id=line.key_id, signature=line.signature[:-1] + b"\x00")
    text = given_out.text.replace(line.line(), bad.line())
    assert check_receipt(text, given_out.vkey).witnesses == ()
    with pytest.raises(Unproven, match="is not right"):
        check_receipt(text, given_out.vkey, witnesses=[Verifier.parse(WITNESS.vkey)])


def test_an_entry_that_was_changed_by_hand_is_found_by_the_receipt_of_any_other(
    path: Path, vault: Path, make: Make
) -> None:
    """The tiles of the tree are left as they were, so that the ledger opens and every proof comes out right."""
    with Ledger.open(path, vault=vault) as ledger:
        ledger.append([make(n, kind="verdict", body={"ruling": "deny"}) for n in range(300)])
        proven = check_receipt(receipt(ledger, 290), _vkey(ledger))
        assert still_there(ledger, proven) is None
    with closing(sqlite3.connect(path)) as db, db:
        ((heads,),) = db.execute("SELECT heads FROM groups WHERE first = 2")
        db.execute("UPDATE groups SET heads = ? WHERE first = 2", (heads.replace(b'"deny"', b'"pass"', 1),))
    with Ledger.open(path, vault=vault) as ledger:
        assert check_receipt(receipt(ledger, 290), _vkey(ledger)).head == proven.head
        assert "are not those that were there" in str(still_there(ledger, proven))
