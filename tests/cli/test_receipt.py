"""`roadworthy ledger receipt` and `ledger key`: proofs for people who have not got the ledger."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate
from roadworthy.cli.app import main
from roadworthy.core.types import Draft
from roadworthy.ledger.checkpoint import Note, Signature, WitnessKey
from roadworthy.ledger.store import Ledger

Capture = pytest.CaptureFixture[str]
CONTRACT = Contract.loads("""
roadworthy: 1
agent: desk
version: "1"
goal: Give money back.
owner: {team: Billing, accountable: billing-lead}
tools:
  look: {effect: read, args: {amount: decimal}}
capabilities:
  refunds: {means: Somebody wants money back., tools: [look], success: [{id: one, check: count.look >= 1}]}
""")


@pytest.fixture
def vault(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("vault") / "vault.db"
    monkeypatch.delenv("ROADWORTHY_VAULT", raising=False)
    return path


def _look(amount: Decimal) -> None:
    assert amount


@pytest.fixture
def ledger(tmp_path: Path, vault: Path) -> Path:
    """A ledger with one action that was carried out and one that was not."""
    path = tmp_path / "runs.db"
    with Ledger.open(path, vault=vault) as opened:
        run = Gate(CONTRACT, opened).run(id="run-1", capability="refunds")
        run.heard("42.00 please")
        run.call("look", {"amount": Decimal("42.00")}, _look)
        run.call("steal", {}, lambda: None)
    return path


def _entries(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Heads by the action that they follow from."""
    found: dict[str, list[dict[str, Any]]] = {}
    with Ledger.open(path, read_only=True) as opened:
        for _, head in opened.heads():
            entry = json.loads(head)
            found.setdefault(str(entry["cause"]).partition(".")[0], []).append(entry)
    return found


def _key(path: Path, capsys: Capture) -> str:
    assert main(["ledger", "key", "show", str(path)]) == 0
    return capsys.readouterr().out.split()[-1]


def test_a_receipt_is_given_and_checked_without_the_ledger(ledger: Path, tmp_path: Path, capsys: Capture) -> None:
    key, file = _key(ledger, capsys), tmp_path / "entry.tlog-proof"
    assert main(["ledger", "receipt", str(ledger), "3"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("c2sp.org/tlog-proof@v1\n")
    assert main(["ledger", "receipt", str(ledger), "3", "--out", str(file)]) == 0
    assert file.read_text() == printed
    assert capsys.readouterr().out == ""
    with Ledger.open(ledger, read_only=True) as opened:
        head = opened.head(3).decode()
    ledger.unlink()
    assert main(["ledger", "receipt", "--check", str(file), "--key", key]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Proven: entry 3, kind {json.loads(head)['kind']}")
    assert head in said
    assert key in said
    assert "the ledger's keeper alone vouches for it" in said


@pytest.mark.parametrize(
    ("action", "options", "kind"),
    [
        ("run-1#1", (), "outcome"),
        ("run-1#1", ("--kind", "verdict"), "verdict"),
        ("run-1#1", ("--kind", "action"), "action"),
        ("run-1#2", ("--kind", "verdict"), "verdict"),
    ],
)
def test_of_an_action_the_entry_is_taken_that_says_how_it_ended(
    ledger: Path, capsys: Capture, action: str, options: tuple[str, ...], kind: str
) -> None:
    assert main(["ledger", "receipt", str(ledger), action, *options, "--json"]) == 0
    given = json.loads(capsys.readouterr().out)
    (wanted,) = [one for one in _entries(ledger)[action] if one["kind"] == kind]
    assert given["seq"] == wanted["seq"]


def test_what_there_is_not(ledger: Path, tmp_path: Path, capsys: Capture) -> None:
    for given, said in (
        (["ledger", "receipt"], "LEDGER ENTRY"),
        (["ledger", "receipt", str(ledger)], "LEDGER ENTRY"),
        (["ledger", "receipt", str(ledger), "99"], "no entry 99"),
        (["ledger", "receipt", str(ledger), "0"], "no entry 0"),
        (["ledger", "receipt", str(ledger), "9" * 400], "no entry"),
        (["ledger", "receipt", str(ledger), "run-1#9"], "no action"),
        (["ledger", "receipt", str(ledger), "run-1#1", "--kind", "nonsense"], "no kind 'nonsense'"),
        (["ledger", "receipt", str(ledger), "run-1#1", "--kind", "stop"], "no entry of kind stop; it has action"),
        (["ledger", "receipt", str(ledger), "1", "--kind", "stop"], "is one entry"),
        (["ledger", "receipt", str(ledger), "1", "--key", "k"], "--check FILE"),
        (["ledger", "receipt", str(ledger), "1", "--out", str(tmp_path)], "cannot be written"),
        (["ledger", "receipt", "--check", str(tmp_path), "--key", "k"], "cannot be read"),
        (["ledger", "receipt", "--check", str(ledger), "--key", "k"], "no receipt"),
        (["ledger", "receipt", "--check", str(ledger)], "ledger key show"),
        (["ledger", "receipt", str(ledger), "1", "--check", "x", "--key", "k"], "leave ENTRY"),
        (["ledger", "receipt", str(tmp_path / "none.db"), "1"], "no ledger"),
        (["ledger", "key", "show", str(ledger), "--by", "ada"], "changes nothing"),
        (["ledger", "key", "rotate", str(ledger)], "who wanted it and why"),
        (["ledger", "key", "rotate", str(ledger), "--by", " ", "--because", "x"], "who wanted it and why"),
        (["ledger", "key", "rotate", str(ledger), "--by", "ada", "--because", "x"], "only with its vault"),
        (["ledger", "key", "turn", str(ledger)], "'turn'"),
    ):
        assert main(given) == 2, given
        assert said in capsys.readouterr().err, given


def test_what_is_not_proven(ledger: Path, vault: Path, tmp_path: Path, capsys: Capture) -> None:
    key, file, backup = _key(ledger, capsys), tmp_path / "entry.tlog-proof", tmp_path / "backup.db"
    witness = WitnessKey.new("witness.example")
    shutil.copy(ledger, backup)
    with Ledger.open(ledger, vault=vault) as opened:
        opened.append([Draft(kind="heard", world="production", run="r", body={}, at=datetime.now(UTC))])
    assert main(["ledger", "receipt", str(ledger), "4", "--out", str(file)]) == 0
    check = ["ledger", "receipt", "--check", str(file), "--key"]
    assert main([*check, key, "--witness", witness.vkey]) == 1
    assert "no signature of the witness" in capsys.readouterr().out
    assert main([*check, key.replace("roadworthy/", "roadworthy/x")]) == 2
    capsys.readouterr()
    assert main([*check, witness.vkey, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["proven"] is False
    # The ledger from before the receipt: with that at hand, too, it is seen that something is gone.
    assert main(["ledger", "receipt", str(ledger), *check[2:], key]) == 0
    assert "still holds all" in capsys.readouterr().out
    assert main(["ledger", "receipt", str(backup), *check[2:], key]) == 1
    assert "cut off or rewritten" in capsys.readouterr().out
    file.write_bytes(b"\xff\xfe")
    assert main([*check, key]) == 2
    assert "no text in UTF-8" in capsys.readouterr().err


def test_a_witness_is_named_where_it_is_trusted(ledger: Path, vault: Path, tmp_path: Path, capsys: Capture) -> None:
    witness, key, file = WitnessKey.new("witness.example"), _key(ledger, capsys), tmp_path / "entry.tlog-proof"
    with Ledger.open(ledger, vault=vault) as opened:
        note = Note.parse(opened.checkpoint() or "")
        opened.keep_cosigned(opened.size, str(note.plus(Signature.parse(witness.cosign(note.text, at=1767603600)))))
    assert main(["ledger", "receipt", str(ledger), "2", "--out", str(file)]) == 0
    check = ["ledger", "receipt", "--check", str(file), "--key", key, "--witness", witness.vkey]
    assert main(check) == 0
    assert "witness   witness.example, 2026-01-05T09:00:00+00:00" in capsys.readouterr().out
    assert main([*check, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["witnesses"] == [{"vkey": witness.vkey, "at": "2026-01-05T09:00:00+00:00"}]
    assert (said["proven"], said["still_there"]) == (True, None)


def test_keys_are_shown_and_changed(ledger: Path, vault: Path, tmp_path: Path, capsys: Capture) -> None:
    old, file = _key(ledger, capsys), tmp_path / "entry.tlog-proof"
    rotate = ["ledger", "key", "rotate", str(ledger), "--vault", str(vault), "--by", "ada", "--because", "a year"]
    assert main(rotate) == 0
    new = capsys.readouterr().out.strip()
    assert main([*rotate, "--json"]) == 0
    newer = json.loads(capsys.readouterr().out)
    assert main(["ledger", "key", "show", str(ledger)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{newer['vkey']}\n"
    assert [line.split()[-1] for line in said.err.splitlines()] == [old, new]
    assert main(["ledger", "key", "show", str(ledger), "--json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["vkey"], one["in_use"]) for one in shown] == [(old, False), (new, False), (newer["vkey"], True)]
    assert main(["ledger", "receipt", str(ledger), "2", "--out", str(file)]) == 0
    for known in (old, new, newer["vkey"]):
        assert main(["ledger", "receipt", "--check", str(file), "--key", known]) == 0


def test_a_key_that_was_passed_off_is_shown_as_wrong(ledger: Path, vault: Path, capsys: Capture) -> None:
    with Ledger.open(ledger, vault=vault) as opened:
        forged = {"vkey": "\x1b[2Jroadworthy/x"}
        opened.append([Draft(kind="key", world="production", run=None, body=forged, at=datetime.now(UTC))])
    assert main(["ledger", "key", "show", str(ledger)]) == 1
    said = capsys.readouterr()
    assert len(said.out.split()) == 1
    assert "brings no key into use" in said.err
    assert "\x1b" not in said.err


def test_a_ledger_without_a_vault_has_no_keys(tmp_path: Path, vault: Path, capsys: Capture) -> None:
    path = tmp_path / "plain.db"
    with Ledger.open(path) as opened:
        opened.append([Draft(kind="heard", world="production", run="r", body={}, at=datetime.now(UTC))])
    assert main(["ledger", "key", "show", str(path)]) == 2
    assert "is not signed" in capsys.readouterr().err
    assert main(["ledger", "receipt", str(path), "1"]) == 2
    assert "is not signed" in capsys.readouterr().err
    assert not vault.exists()
