"""`roadworthy people` and `roadworthy contract sign`: who may decide what, and what they have put their name to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from roadworthy import Contract, Ledger
from roadworthy.cli.app import main
from roadworthy.contract.keys import SigningKey
from roadworthy.contract.people import People
from roadworthy.core.clock import SystemClock
from roadworthy.core.types import Draft
from roadworthy.gate.levels import Levels, compile_levels

Capture = pytest.CaptureFixture[str]

WITH_COMMENTS = """\
# Reviewed every quarter.
people: 1
roles:
  - "engineering"   # builds it
  - security

members:
    ada:   # since 2021
        roles: [engineering]   # and nothing else
        keys:
          - {key}
    # the security team
    grace: {{roles: [security]}}
"""

LAW = """\
roadworthy: 1
agent: greeter
version: "1"
goal: Look people up.
owner: {team: IT, accountable: engineering}
people: people.yaml
signatures: {approval: [engineering], autonomous: [engineering, security]}
tools:
  find_user: {effect: read, args: {email: string}, returns: {user_id: string}}
capabilities:
  look_up:
    means: Somebody wants to know who somebody is.
    tools: [find_user]
    autonomy: {start: autonomous, ceiling: autonomous}
    success: [{id: looked, check: count.find_user >= 1}]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a project, where the commands are typed; keys go to another one."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ROADWORTHY_KEYS", str(tmp_path / "keys"))
    monkeypatch.delenv("ROADWORTHY_PASSPHRASE", raising=False)
    return folder


def run(*words: str) -> int:
    return main(list(words))


def said(capsys: Capture) -> str:
    caught = capsys.readouterr()
    return caught.out + caught.err


# people --------------------------------------------------------------------------------------------------------------


def test_the_first_person_makes_the_file_and_the_key(project: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run("people", "add", "ada", "--role", "engineering", "--role", "billing-lead") == 0
    assert "ada decides as engineering, billing-lead" in said(capsys)
    people = People.load(project / "people.yaml")
    assert people.roles == ("engineering", "billing-lead")
    private = tmp_path / "keys" / "ada.pem"
    assert private.stat().st_mode & 0o777 == 0o600
    assert people.verify("ada", "answer", {"a": 1}, SigningKey.load(private).sign("answer", {"a": 1}))
    assert [p.name for p in project.iterdir()] == ["people.yaml"]


def test_comments_and_everything_else_stay_as_they_were(project: Path, capsys: Capture) -> None:
    file = project / "people.yaml"
    text = WITH_COMMENTS.format(key=SigningKey.new().public)
    file.write_text(text)
    file.chmod(0o640)
    joan = SigningKey.new().public
    assert run("people", "add", "joan", "--role", "security", "--public-key", joan) == 0
    assert file.read_text() == f"{text}    joan:\n        roles: [security]\n        keys: [{joan}]\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert run("people", "add", "ada", "--role", "audit", "--new-role") == 0
    lines = file.read_text().splitlines()
    assert "  - audit" in lines
    assert [line.split() for line in lines if "and nothing else" in line] == [
        ["roles:", "[engineering,", "audit]", "#", "and", "nothing", "else"]
    ]
    assert [line for line in text.splitlines() if line.strip() and line not in lines] == [
        "        roles: [engineering]   # and nothing else"
    ]
    assert "must be signed anew" in said(capsys)


def test_roles_that_yaml_would_misread_are_quoted(project: Path) -> None:
    roles = ["on", "true", "1.10", "2026-01-05", "0x1f", "007"]
    assert run("people", "add", "ada", *(w for role in roles for w in ("--role", role))) == 0
    assert People.load(project / "people.yaml").members["ada"].roles == tuple(roles)


def test_a_person_makes_their_own_key_and_another_adds_it(project: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run("people", "key", "ada", "--keys", str(tmp_path / "hers")) == 0
    public = capsys.readouterr().out.strip()
    assert run("people", "add", "ada", "--role", "engineering", "--public-key", public) == 0
    assert not (tmp_path / "keys").exists()
    assert People.load(project / "people.yaml").members["ada"].keys == (public,)
    assert run("people", "key", "ada", "--keys", str(tmp_path / "hers")) == 2
    assert "never overwritten" in said(capsys)


def test_a_key_that_is_there_already_is_taken(project: Path, capsys: Capture) -> None:
    assert run("people", "key", "ada", "--json") == 0
    public = json.loads(capsys.readouterr().out)["public_key"]
    assert run("people", "add", "ada", "--role", "engineering", "--json") == 0
    added = json.loads(capsys.readouterr().out)
    assert (added["public_key"], added["roles"]) == (public, ["engineering"])


def test_a_second_key_can_be_added_to_a_person(project: Path) -> None:
    assert run("people", "add", "ada", "--role", "engineering") == 0
    second = SigningKey.new()
    assert run("people", "add", "ada", "--public-key", second.public) == 0
    people = People.load(project / "people.yaml")
    assert len(people.members["ada"].keys) == 2
    assert people.verify("ada", "answer", {}, second.sign("answer", {}))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("ada",), "say what ada decides as"),
        (("a b", "--role", "engineering"), "no name of a person"),
        (("../ada", "--role", "engineering"), "no name of a person"),
        (("user", "--role", "engineering"), "something else"),
        (("joan", "--role", "user"), "something else"),
        (("joan", "--role", "enginering"), "did you mean engineering; --new-role declares a new one"),
        (("joan", "--role", "engineering", "--public-key", "ed25519:abc"), "is no public key"),
        (("joan", "--role", "engineering", "--keys", "keys"), "do not belong into the project"),
        (("grace", "--role", "engineering"), "with all of that already"),
        (("GRACE", "--role", "engineering"), "capitals only"),
    ],
)
def test_what_cannot_be_added_changes_nothing(
    project: Path, tmp_path: Path, capsys: Capture, words: tuple[str, ...], why: str
) -> None:
    assert run("people", "add", "grace", "--role", "engineering") == 0
    capsys.readouterr()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert run("people", "add", *words) == 2
    assert why in said(capsys)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_without_a_folder_for_keys_none_is_made(
    project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROADWORTHY_KEYS")
    for words in (("add", "ada", "--role", "engineering"), ("key", "ada")):
        assert run("people", *words) == 2
        assert "--keys DIR, or ROADWORTHY_KEYS=DIR" in said(capsys)
    assert not any(project.iterdir())


def test_keys_stay_out_of_the_whole_project(project: Path, tmp_path: Path, capsys: Capture) -> None:
    (project / ".git").mkdir()
    (project / "contracts").mkdir()
    words = ("people", "add", "ada", "--role", "x", "--file", "contracts/people.yaml", "--keys", "keys")
    assert run(*words) == 2
    assert "do not belong into the project" in said(capsys)
    assert not (project / "keys").exists()


def test_an_encrypted_key_wants_its_passphrase(
    project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run("people", "add", "ada", "--role", "engineering", "--passphrase") == 2
    assert "set ROADWORTHY_PASSPHRASE" in said(capsys)
    monkeypatch.setenv("ROADWORTHY_PASSPHRASE", "")
    assert run("people", "add", "ada", "--role", "engineering", "--passphrase") == 2
    monkeypatch.setenv("ROADWORTHY_PASSPHRASE", "correct horse")
    assert run("people", "add", "ada", "--role", "engineering", "--passphrase") == 0
    assert b"ENCRYPTED" in (tmp_path / "keys" / "ada.pem").read_bytes()
    assert run("people", "check", "--keys", str(tmp_path / "keys")) == 0
    (project / "contract.yaml").write_text(LAW.replace("[engineering, security]", "[engineering]"))
    sign = ("contract", "sign", "contract.yaml", "--as", "ada", "--role", "engineering", "--level", "autonomous")
    ledger = ("--ledger", str(tmp_path / "data" / "runs.db"))
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("ROADWORTHY_PASSPHRASE", "battery")
    assert run(*sign, *ledger) == 2
    assert "this is not the passphrase" in said(capsys)
    monkeypatch.setenv("ROADWORTHY_PASSPHRASE", "correct horse")
    assert run(*sign, *ledger) == 0


def test_people_are_listed(project: Path, capsys: Capture) -> None:
    (project / "people.yaml").write_text(WITH_COMMENTS.format(key=SigningKey.new().public))
    assert run("people", "list") == 0
    assert capsys.readouterr().out.splitlines() == [
        "person  roles        keys",
        "ada     engineering  1",
        "grace   security     0",
    ]
    assert run("people", "list", "--json") == 0
    assert [json.loads(line)["person"] for line in capsys.readouterr().out.splitlines()] == ["ada", "grace"]
    assert run("people", "list", "--file", "none.yaml") == 2
    assert "roadworthy people add" in said(capsys)


def test_check_says_who_cannot_decide(project: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run("people", "add", "ada", "--role", "engineering") == 0
    assert run("people", "check") == 0
    capsys.readouterr()
    file = project / "people.yaml"
    file.write_text(
        file.read_text().replace("[engineering]\nmembers", "[engineering, audit]\nmembers")
        + "  joan:\n    roles: [engineering]\n"
    )
    key = tmp_path / "keys" / "ada.pem"
    key.unlink()
    SigningKey.new().save(key)
    assert run("people", "check", "--json") == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"].partition(";")[0] for line in lines[:-1]] == [
        "nobody holds the role audit",
        "joan has no key and can sign nothing",
        f"the private key in {key} fits no public key of ada",
    ]
    assert lines[-1]["summary"]["people"] == 2
    key.chmod(0o644)
    assert run("people", "check") == 1
    assert "others may read" in said(capsys)


# contract sign -------------------------------------------------------------------------------------------------------


@pytest.fixture
def law(project: Path, tmp_path: Path, capsys: Capture) -> Path:
    """A contract with two people who are to sign it; its ledger lies in a folder of its own."""
    for name, role in (("ada", "engineering"), ("grace", "security")):
        assert run("people", "add", name, "--role", role, "--new-role") == 0
    (tmp_path / "data").mkdir()
    path = project / "contract.yaml"
    path.write_text(LAW)
    capsys.readouterr()
    return path


def sign(law: Path, who: str, role: str, level: str, *more: str) -> int:
    ledger = str(law.parent.parent / "data" / "runs.db")
    return run("contract", "sign", str(law), "--as", who, "--role", role, "--level", level, "--ledger", ledger, *more)


def levels(law: Path) -> dict[str, str]:
    contract = Contract.load(law)
    with Ledger.open(law.parent.parent / "data" / "runs.db") as ledger:
        standing = Levels(compile_levels(contract), ledger.id)
        standing.refresh(ledger)
        return dict(standing.levels)


def test_a_contract_is_used_as_far_as_it_is_signed(law: Path, capsys: Capture) -> None:
    assert levels(law) == {"look_up": "shadow"}
    assert sign(law, "ada", "engineering", "approval") == 0
    printed = capsys.readouterr().out
    assert "ada (engineering) has signed it: greeter version 1 for approval." in printed
    assert "It may be used up to approval" in printed
    assert "Not signed for autonomous yet: engineering, security." in printed
    assert levels(law) == {"look_up": "approval"}
    assert sign(law, "grace", "security", "autonomous") == 0
    assert levels(law) == {"look_up": "approval"}
    assert sign(law, "ada", "engineering", "autonomous", "--json") == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (line["usable_up_to"], line["missing"], line["written"]) == ("autonomous", {}, True)
    assert levels(law) == {"look_up": "autonomous"}


def test_the_same_signature_is_written_once(law: Path, capsys: Capture) -> None:
    assert sign(law, "ada", "engineering", "approval") == 0
    assert sign(law, "ada", "engineering", "approval") == 1
    assert "had signed it already" in said(capsys)
    with Ledger.open(law.parent.parent / "data" / "runs.db", read_only=True) as ledger:
        assert len(list(ledger.entries(kind="signature"))) == 1


def test_a_changed_contract_or_changed_people_must_be_signed_anew(law: Path) -> None:
    assert sign(law, "ada", "engineering", "approval") == 0
    law.write_text(LAW.replace("{email: string}", "{email: string, all: boolean}"))
    assert levels(law) == {"look_up": "shadow"}
    law.write_text(LAW.replace("Look people up.", "Look people up in the staff list."))
    assert levels(law) == {"look_up": "approval"}, "it allows nothing more than the one that was signed"
    law.write_text(f"# the same\n{LAW}")
    assert levels(law) == {"look_up": "approval"}
    assert run("people", "add", "eve", "--role", "engineering") == 0
    assert levels(law) == {"look_up": "shadow"}


def test_a_ledger_alone_says_who_could_sign_which_contract(law: Path) -> None:
    assert sign(law, "ada", "engineering", "approval") == 0
    assert sign(law, "grace", "security", "autonomous") == 0
    with Ledger.open(law.parent.parent / "data" / "runs.db", read_only=True) as ledger:
        (written,) = ledger.entries(kind="contract")
        people = People.model_validate(written.body["people"])
        contract = Contract.model_validate(written.body["contract"]).with_people(people)
        signatures = list(ledger.entries(kind="signature"))
    assert contract.digest == written.body["digest"] == Contract.load(law).digest
    assert [people.sealed("contract", entry.body) for entry in signatures] == [True, True]
    assert {entry.body["contract"] for entry in signatures} == {contract.digest}


@pytest.mark.parametrize(
    ("who", "role", "level", "why"),
    [
        ("ada", "security", "autonomous", "ada does not hold the role security; grace can sign as security"),
        ("ada", "engineering", "full", "there is no level 'full'"),
        ("ada", "engineering", "shadow", "asks for no signature for shadow"),
        ("grace", "security", "approval", "wants no signature of 'security' for approval"),
        ("ada", "enginering", "approval", "did you mean engineering?"),
        ("eve", "engineering", "approval", "'eve' does not stand in"),
    ],
)
def test_what_nobody_asked_for_is_not_signed(
    law: Path, capsys: Capture, who: str, role: str, level: str, why: str
) -> None:
    assert sign(law, who, role, level) == 2
    assert why in said(capsys)
    assert not (law.parent.parent / "data" / "runs.db").exists()


def test_only_the_right_key_from_the_right_place_signs(law: Path, tmp_path: Path, capsys: Capture) -> None:
    other = tmp_path / "other"
    SigningKey.new().save(other / "ada.pem")
    assert sign(law, "ada", "engineering", "approval", "--keys", str(other)) == 2
    assert "is not one of those" in said(capsys)
    for folder in (law.parent / "keys", tmp_path / "data" / "keys"):
        assert sign(law, "ada", "engineering", "approval", "--keys", str(folder)) == 2
        assert "do not belong into" in said(capsys)
    assert sign(law, "ada", "engineering", "approval", "--keys", str(tmp_path / "none")) == 2
    assert "there is no key at" in said(capsys)
    assert not os.listdir(tmp_path / "data")


def test_a_contract_without_people_or_a_file_that_is_no_ledger_is_refused(law: Path, capsys: Capture) -> None:
    no_ledger = law.parent.parent / "data" / "runs.db"
    no_ledger.write_text("notes")
    assert sign(law, "ada", "engineering", "approval") == 2
    assert no_ledger.read_text() == "notes"
    law.write_text(LAW.replace("people: people.yaml\n", ""))
    assert sign(law, "ada", "engineering", "approval") == 2
    assert "names no `people`" in said(capsys)


def test_a_signature_that_somebody_wrote_into_the_ledger_raises_nothing(law: Path) -> None:
    contract = Contract.load(law)
    assert sign(law, "ada", "engineering", "approval") == 0
    with Ledger.open(law.parent.parent / "data" / "runs.db") as ledger:
        (entry,) = ledger.entries(kind="signature")
        eve = SigningKey.new()
        for body in (
            {**entry.body, "level": "autonomous"},
            {**entry.body, "role": "security", "level": "autonomous"},
            {**entry.body, "level": "autonomous", "signature": eve.sign("contract", {**entry.body})},
            {"agent": "greeter", "contract": contract.digest, "level": "autonomous", "role": "security", "by": "grace"},
        ):
            draft = Draft(kind="signature", world="production", run=None, body=body, at=SystemClock().now())
            ledger.append([draft])
    assert levels(law) == {"look_up": "approval"}
