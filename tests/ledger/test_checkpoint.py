"""Notes, checkpoints and keys: what C2SP's formats take and what they do not."""

from __future__ import annotations

import base64
import subprocess
import sys
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.core.curve import WEAK
from roadworthy.core.errors import UsageError
from roadworthy.ledger.checkpoint import (
    Checkpoint,
    LogKey,
    Note,
    NoteError,
    Signature,
    Verifier,
    WitnessKey,
)

# The example of Go's note package: key, text and signature that other implementations are tested with, too.
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
LINE = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
NOTE = f"{TEXT}\n{LINE}"

# The example of tlog-cosignature; its keys are not published.
COSIGNED = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501

ROOT = sha256(b"some root").digest()
CHECKPOINT = Checkpoint(origin="roadworthy/4f2a", size=1042, root=ROOT)


@pytest.fixture(scope="module")
def log() -> LogKey:
    return LogKey.new("roadworthy/4f2a")


@pytest.fixture(scope="module")
def witness() -> WitnessKey:
    return WitnessKey.new("witness.example.com/w1")


# Notes ----------------------------------------------------------------------------------------------------------------


def test_the_example_of_the_go_package_is_read_and_written() -> None:
    key = LogKey.from_bytes(PETER_SEED, name="PeterNeumann")
    assert key.vkey == PETER
    assert key.sign(TEXT) == LINE
    note = Note.parse(NOTE)
    assert (note.text, str(note)) == (TEXT, NOTE)
    assert [signed.by for signed in note.checked([Verifier.parse(PETER)])] == [key.verifier]


def test_the_example_of_the_cosignature_specification_is_read() -> None:
    note = Note.parse(COSIGNED)
    assert str(note) == COSIGNED
    checkpoint = Checkpoint.parse(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == note.text
    _, cosignature = note.signatures
    reader = Verifier(name=cosignature.name, algorithm=0x04, public=bytes(32))
    assert reader.time_of(cosignature.signature) == 1679315147


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("", id="nothing"),
        pytest.param(TEXT, id="no signatures"),
        pytest.param(TEXT + "\n", id="an empty line and nothing"),
        pytest.param(TEXT + LINE, id="no empty line"),
        pytest.param(NOTE[:-1], id="no line feed at the end"),
        pytest.param(NOTE + "\n", id="an empty line at the end"),
        pytest.param("\x01" + NOTE, id="a control character"),
        pytest.param(NOTE.replace("\n", "\r\n"), id="carriage returns"),
        pytest.param(NOTE.replace("x08go", "\tx08go"), id="a tab"),
        pytest.param("\ud800" + NOTE, id="no UTF-8"),
        pytest.param(NOTE + "Unexpected line.\n", id="a line that is no signature"),
        pytest.param(NOTE + LINE.replace("— ", "- "), id="a hyphen"),
        pytest.param(NOTE + LINE.replace("— ", "—  "), id="two spaces"),
        pytest.param(NOTE + LINE.replace("PeterNeumann", "Peter\u00a0Neumann"), id="a space in the name"),
        pytest.param(NOTE + LINE.replace("PeterNeumann", "Peter\u2028Neumann"), id="a line separator in the name"),
        pytest.param(NOTE + LINE.replace("PeterNeumann", "Peter+Neumann"), id="a plus in the name"),
        pytest.param(NOTE + LINE.replace("PeterNeumann ", ""), id="no name"),
        pytest.param(NOTE + LINE.replace("=\n", "\n"), id="no padding"),
        pytest.param(NOTE + LINE.replace("=\n", "==\n"), id="too much padding"),
        pytest.param(NOTE + LINE.replace("AM=\n", "AN=\n"), id="bits after the end of the base64"),
        pytest.param(NOTE + LINE.replace("/", "_"), id="base64 for addresses"),
        pytest.param(NOTE + LINE.replace("x08go", "x08g\u043e"), id="a letter that only looks like one"),
        pytest.param(NOTE + "— PeterNeumann x08gow==\n", id="a key id and no signature"),
        pytest.param(NOTE + "— PeterNeumann x08g\n", id="not even a key id"),
        pytest.param(TEXT + "\n" + LINE * 101, id="101 signatures"),
        pytest.param("x" * 1_000_000 + "\n\n" + LINE, id="a million characters"),
    ],
)
def test_what_is_no_note(written: str) -> None:
    with pytest.raises(NoteError):
        Note.parse(written)


def test_sixteen_signatures_and_more_are_read() -> None:
    assert len(Note.parse(TEXT + "\n" + LINE * 100).signatures) == 100


def test_the_text_ends_at_the_last_empty_line() -> None:
    text = "a poem\n\nof two parts\n"
    key = LogKey.from_bytes(PETER_SEED, name="PeterNeumann")
    note = Note.parse(f"{text}\n{key.sign(text)}")
    assert note.text == text
    assert len(note.checked([key.verifier])) == 1


def test_a_note_without_signatures_is_read_only_where_that_is_meant() -> None:
    note = Note.parse(CHECKPOINT.text(), unsigned=True)
    assert (note.text, note.signatures, str(note)) == (CHECKPOINT.text(), (), CHECKPOINT.text())
    with pytest.raises(NoteError, match="no signatures"):
        Note.parse(CHECKPOINT.text())
    assert len(Note.parse(NOTE, unsigned=True).signatures) == 1


def test_an_error_says_who_must_act() -> None:
    with pytest.raises(UsageError, match=r"^\[RW-201\] this is no signed note"):
        Note.parse(TEXT)


# Who signed -----------------------------------------------------------------------------------------------------------


def test_signatures_of_others_are_passed_over(log: LogKey, witness: WitnessKey) -> None:
    text = CHECKPOINT.text()
    note = Note.parse(f"{text}\n{log.sign(text)}{witness.cosign(text, at=1_767_603_600)}")
    assert [(one.by, one.at) for one in note.checked([witness.verifier])] == [(witness.verifier, 1_767_603_600)]
    assert [(one.by, one.at) for one in note.checked([witness.verifier, log.verifier])] == [
        (log.verifier, None),
        (witness.verifier, 1_767_603_600),
    ]
    assert note.checked([]) == ()
    # Of the same name, and of the same id under another name: neither is the key that is known.
    assert note.checked([LogKey.new(log.name).verifier]) == ()
    assert note.checked([LogKey.from_bytes(log.to_bytes(), name="other").verifier]) == ()


def test_a_wrong_signature_of_a_known_key_spoils_the_note(log: LogKey, witness: WitnessKey) -> None:
    text = CHECKPOINT.text()
    good = Note.parse(f"{text}\n{log.sign(text)}{witness.cosign(text, at=7)}")
    for changed in (text.replace("1042", "1043"), text.replace("4f2a", "4f2b")):
        forged = Note(text=changed, signatures=good.signatures)
        for known in ([log.verifier], [witness.verifier], [log.verifier, witness.verifier]):
            with pytest.raises(NoteError, match="is not right"):
                forged.checked(known)
    # A good one beside it does not help.
    spoilt = Signature(name=log.name, key_id=log.verifier.key_id, signature=bytes(64))
    with pytest.raises(NoteError, match="is not right"):
        good.plus(spoilt).checked([log.verifier])
    with pytest.raises(NoteError, match="is not right"):
        good.plus(Signature(name=log.name, key_id=log.verifier.key_id, signature=b"x")).checked([log.verifier])


@given(st.data())
def test_a_bit_of_a_signature_that_is_turned_over_is_noticed(data: st.DataObject) -> None:
    key = LogKey.from_bytes(PETER_SEED, name="PeterNeumann")
    signature = Note.parse(NOTE).signatures[0].signature
    bit = data.draw(st.integers(0, len(signature) * 8 - 1))
    turned = (int.from_bytes(signature, "big") ^ 1 << bit).to_bytes(len(signature), "big")
    assert key.verifier.verify(TEXT, signature)
    assert not key.verifier.verify(TEXT, turned)


def test_signatures_are_added_once(log: LogKey, witness: WitnessKey) -> None:
    text = CHECKPOINT.text()
    note = Note(text=text)
    signature = Signature.parse(log.sign(text))
    cosignature = Signature.parse(witness.cosign(text, at=7).removesuffix("\n"))
    assert note.plus(signature).plus(signature, cosignature).plus(cosignature).signatures == (signature, cosignature)
    assert str(note.plus(signature, cosignature)) == f"{text}\n{log.sign(text)}{witness.cosign(text, at=7)}"


def test_a_cosignature_is_over_its_time_and_the_text(witness: WitnessKey) -> None:
    text = CHECKPOINT.text()
    made = Signature.parse(witness.cosign(text, at=1679315147)).signature
    assert made[:8] == (1679315147).to_bytes(8, "big")
    message = b"cosignature/v1\ntime 1679315147\n" + text.encode()
    Ed25519PublicKey.from_public_bytes(witness.verifier.public).verify(made[8:], message)
    later = (1679315148).to_bytes(8, "big") + made[8:]
    assert witness.verifier.verify(text, made)
    assert not witness.verifier.verify(text, later)
    assert not witness.verifier.verify(text, (2**63).to_bytes(8, "big") + made[8:])
    assert not witness.verifier.verify(text, made[:8])
    for at in (-1, 2**63):
        with pytest.raises(ValueError, match="after 1970"):
            witness.cosign(text, at=at)


def test_what_a_witness_signs_is_worth_nothing_as_a_logs_signature() -> None:
    """With one private key in both places, a cosignature is no signature of the log, nor the other way round."""
    seed = bytes(range(32))
    log, witness = LogKey.from_bytes(seed, name="one"), WitnessKey.from_bytes(seed, name="one")
    text = CHECKPOINT.text()
    cosignature, signature = Signature.parse(witness.cosign(text, at=7)), Signature.parse(log.sign(text))
    assert cosignature.key_id != signature.key_id
    assert not log.verifier.verify(text, cosignature.signature)
    assert not log.verifier.verify(text, cosignature.signature[8:])
    assert not witness.verifier.verify(text, signature.signature)


# Checkpoints ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_is_read_as_it_was_written(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin="roadworthy/4f2a", size=size, root=root)
    assert Checkpoint.parse(checkpoint.text()) == checkpoint
    assert checkpoint.text() == f"roadworthy/4f2a\n{size}\n{base64.b64encode(root).decode()}\n"


def test_further_lines_are_kept() -> None:
    text = CHECKPOINT.text() + "one\ntwo\n"
    assert Checkpoint.parse(text).extensions == ("one", "two")
    assert Checkpoint.parse(text).text() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n\n",
        "origin\n1\n",
        f"origin\n1\n{base64.b64encode(ROOT).decode()}",
        f"\n1\n{base64.b64encode(ROOT).decode()}\n",
        f"origin\n1\n{base64.b64encode(ROOT).decode()}\n\n",
        f"origin\n1\n{base64.b64encode(ROOT).decode()}\n\nmore\n",
        f"ori\x00gin\n1\n{base64.b64encode(ROOT).decode()}\n",
        *(f"origin\n{size}\n{base64.b64encode(ROOT).decode()}\n" for size in (
            "", "01", "00", "+1", "-1", " 1", "1 ", "1.0", "1e3", "0x1", "1_000", "\u0661", "²", 2**63, "9" * 5_000,
        )),
        *(f"origin\n1\n{root}\n" for root in (
            base64.b64encode(ROOT[:31]).decode(),
            base64.b64encode(ROOT + b"x").decode(),
            base64.b64encode(ROOT).decode().rstrip("="),
            base64.urlsafe_b64encode(bytes([255]) * 32).decode(),
            base64.b64encode(ROOT).decode()[:-2] + "/=",
            base64.b64encode(ROOT).decode() + " ",
            ROOT.hex(),
        )),
    ],
)  # fmt: skip
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


@given(st.text(max_size=300) | st.text(alphabet="— \n+=aA0/", max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (Note.parse, Checkpoint.parse, Verifier.parse, Signature.parse):
        try:
            found = read(text)
        except NoteError:
            continue
        written = found.text() if isinstance(found, Checkpoint) else str(found) if isinstance(found, Note) else None
        if isinstance(found, Signature):
            written = found.line()
        elif isinstance(found, Verifier):
            written = found.vkey
        assert written in (text, text + "\n")


# Keys -----------------------------------------------------------------------------------------------------------------


def test_no_part_and_no_neighbour_of_a_key_is_a_key() -> None:
    assert Verifier.parse(PETER).vkey == PETER
    for start in range(len(PETER) + 1):
        for end in range(start, len(PETER) + 1):
            if end - start < len(PETER):
                with pytest.raises(NoteError):
                    Verifier.parse(PETER[start:end])
    for place, character in enumerate(PETER):
        with pytest.raises(NoteError):
            Verifier.parse(PETER[:place] + chr(ord(character) + 1) + PETER[place + 1 :])


def _vkey(data: bytes, name: str = "name") -> str:
    key_id = sha256(name.encode() + b"\n" + data).hexdigest()[:8]
    return f"{name}+{key_id}+{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("vkey", "said"),
    [
        pytest.param(_vkey(b"\x01" + ROOT, "na me"), "no public key", id="space"),
        pytest.param(_vkey(b"\x01" + ROOT, ""), "no public key", id="no name"),
        pytest.param(_vkey(b"\x01" + ROOT)[:-1], "no public key", id="padding"),
        pytest.param(_vkey(b"\x01" + ROOT).replace("name+", "name+0"), "no public key", id="nine digits"),
        pytest.param(PETER.replace("c74f20a3", "C74F20A3"), "no public key", id="capitals"),
        pytest.param(_vkey(b"\x02" + ROOT), "another kind", id="ECDSA"),
        pytest.param(_vkey(b"\x06" + bytes(1312)), "another kind", id="ML-DSA"),
        pytest.param(_vkey(b"\x01" + ROOT + b"x"), "another kind", id="33 bytes"),
        pytest.param(_vkey(b"\x01" + ROOT).replace("name", "game"), "not that of its key", id="another name"),
    ],
)
def test_what_is_no_key(vkey: str, said: str) -> None:
    assert Verifier.parse(_vkey(b"\x01" + ROOT)).public == ROOT
    with pytest.raises(NoteError, match=said):
        Verifier.parse(vkey)


@pytest.mark.parametrize("y", [*sorted(WEAK), 2**255 - 19, 2**255 - 18])
@pytest.mark.parametrize("sign", [0, 1])
def test_a_key_with_which_anybody_could_sign_is_none(y: int, sign: int) -> None:
    public = (y | sign << 255).to_bytes(32, "little")
    for algorithm in (b"\x01", b"\x04"):
        with pytest.raises(NoteError, match="anybody could sign"):
            Verifier.parse(_vkey(algorithm + public))


def test_bytes_that_are_no_point_verify_nothing() -> None:
    nowhere = Verifier.parse(_vkey(b"\x01" + (2).to_bytes(32, "little")))
    assert not nowhere.verify(TEXT, bytes(64))


def test_a_private_key_is_kept_as_bytes_and_shows_itself_nowhere(log: LogKey, witness: WitnessKey) -> None:
    for key in (log, witness):
        again = type(key).from_bytes(key.to_bytes(), name=key.name)
        assert (again.vkey, again.verifier, len(key.to_bytes())) == (key.vkey, key.verifier, 32)
        assert Verifier.parse(key.vkey) == key.verifier
        assert key.to_bytes().hex() not in repr(key)
        assert base64.b64encode(key.to_bytes()).decode() not in repr(key)
        with pytest.raises(NoteError, match="31 bytes instead of 32"):
            type(key).from_bytes(key.to_bytes()[:31], name=key.name)
        for name in ("", "two words", "a+b", "line\nfeed", "\x00"):
            with pytest.raises(NoteError, match="cannot name a key"):
                type(key).new(name)


def test_a_ledger_that_signs_nothing_does_not_load_openssl() -> None:
    script = (
        "import sys; from roadworthy.ledger.checkpoint import Checkpoint, Note; "
        "Note.parse(Checkpoint(origin='a', size=0, root=bytes(32)).text(), unsigned=True).checked([]); "
        "sys.exit('cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
