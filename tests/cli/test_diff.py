"""`roadworthy diff`: two files, or a ledger and a file; what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roadworthy import Contract, Ledger
from roadworthy.cli.app import main
from roadworthy.contract.keys import SigningKey, seal
from roadworthy.core.clock import SystemClock
from roadworthy.core.types import Draft
from roadworthy.gate.entries import contract_drafts
from roadworthy.gate.levels import signature_body

Capture = pytest.CaptureFixture[str]
KEY = SigningKey.new()
PEOPLE = f"""
people: 1
roles: [lead]
members:
  ada: {{roles: [lead], keys: ["{KEY.public}"]}}
"""
LAW = """
roadworthy: 1
agent: desk
version: "1"
goal: Help people.
owner: {team: IT, accountable: lead}
people: people.yaml
signatures: {approval: [lead]}
tools:
  look: {effect: read, args: {x: string}, returns: string}
  mail: {effect: send, args: {to: string}, returns: string}
capabilities:
  help:
    means: Somebody needs help.
    tools: [look, mail]
    autonomy: {start: approval, ceiling: approval, approver: lead}
    success: [{id: looked, check: count.look >= 1}]
budgets: {run: {writes: 3}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "people.yaml").write_text(PEOPLE)
    return tmp_path


def law(folder: Path, name: str, *changes: tuple[str, str]) -> str:
    text = LAW
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return str(folder / name)


def signed(folder: Path, *contracts: str, sign: bool = True) -> str:
    """A ledger in which these versions were signed one after the other."""
    now = SystemClock().now()
    path = folder / "runs.db"
    with Ledger.open(path) as ledger:
        for name in contracts:
            contract = Contract.load(name)
            body = seal(KEY, "contract", signature_body(contract, level="approval", role="lead", by="ada"))
            signature = Draft(kind="signature", world="production", run=None, body=body, at=now)
            ledger.append([*contract_drafts(contract, ledger, now), *([signature] if sign else [])])
    return str(path)


def test_narrower_is_0_and_wider_is_1(folder: Path, capsys: Capture) -> None:
    old = law(folder, "old.yaml")
    assert main(["diff", old, law(folder, "narrow.yaml", ("writes: 3", "writes: 2"))]) == 0
    printed = capsys.readouterr().out
    assert "It allows less:\n" in printed
    assert "narrow.yaml:18:25: writes in a run: 2 instead of 3\n" in printed
    assert "It only narrows: whoever has signed the old version has signed enough." in printed

    assert main(["diff", old, law(folder, "wide.yaml", ("writes: 3", "writes: 4"), ("[look, mail]", "[look]"))]) == 1
    printed = capsys.readouterr().out
    assert "It allows more:\n" in printed
    assert "mail is closed in help" in printed
    assert "It is wider: signatures of the old version do not hold for it, and it must be signed anew." in printed

    assert main(["diff", old, old]) == 0
    assert "They mean the same, and have one digest." in capsys.readouterr().out


def test_lines_of_json(folder: Path, capsys: Capture) -> None:
    wide = law(folder, "wide.yaml", ("writes: 3", "writes: 4"))
    assert main(["diff", law(folder, "old.yaml"), wide, "--json"]) == 1
    change, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert (change["kind"], change["path"], change["line"]) == ("widens", ["budgets", "run", "writes"], 18)
    assert summary["summary"]["only_narrows"] is False
    assert summary["summary"]["new"]["digest"] == Contract.load(wide).digest


def test_against_the_version_that_was_signed_last(folder: Path, capsys: Capture) -> None:
    first = law(folder, "1.yaml", ("writes: 3", "writes: 9"))
    second = law(folder, "2.yaml", ('version: "1"', 'version: "2"'))
    third = law(folder, "3.yaml", ('version: "1"', 'version: "3"'), ("writes: 3", "writes: 5"))
    ledger = signed(folder, first, second)
    assert main(["diff", ledger, third]) == 1
    assert "desk: version 3 against version 2." in capsys.readouterr().out
    assert main(["diff", ledger, third, "--digest", Contract.load(first).digest[:9]]) == 0
    assert "writes in a run: 5 instead of 9" in capsys.readouterr().out
    assert main(["diff", ledger, second]) == 0  # the one before it
    assert "version 2 against version 1." in capsys.readouterr().out


def test_a_ledger_in_which_nobody_signed_is_2_and_says_what_there_is(folder: Path, capsys: Capture) -> None:
    first = law(folder, "1.yaml")
    ledger = signed(folder, first, sign=False)
    second = law(folder, "2.yaml", ('version: "1"', 'version: "2"'))
    assert main(["diff", ledger, second]) == 2
    assert f"name one with --digest: 1 ({Contract.load(first).digest[:12]})" in capsys.readouterr().err
    assert main(["diff", ledger, second, "--digest", "ffffff"]) == 2
    assert "no version has a digest that begins with 'ffffff'" in capsys.readouterr().err
    assert main(["diff", first, second, "--digest", "ffffff"]) == 2
    assert "--digest names a version in a ledger" in capsys.readouterr().err
    assert main(["diff", str(folder / "none.yaml"), second]) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_strangers_text_stays_on_its_line(folder: Path, capsys: Capture) -> None:
    new = law(folder, "new.yaml", ("goal: Help people.", 'goal: "Help\\u202e\\npeople \\u001b[2J"'))
    main(["diff", law(folder, "old.yaml"), new])
    printed = capsys.readouterr().out
    assert "\u202e" not in printed
    assert "\x1b" not in printed
