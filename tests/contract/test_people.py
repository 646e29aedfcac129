"""Who may decide what, and what proves that it was they."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from roadworthy import Contract, ContractError
from roadworthy.contract.check import check
from roadworthy.contract.keys import (
    KeyLocked,
    Purpose,
    SigningKey,
    project_of,
    refuse_inside,
    seal,
    verify,
    wrong_with_key,
)
from roadworthy.contract.load import assure
from roadworthy.contract.people import People
from roadworthy.core import canonical
from roadworthy.core.curve import WEAK
from roadworthy.core.errors import UsageError

from .edits import REFERENCE, REFERENCE_FILE, edited, place_of_mark

ADA, GRACE = SigningKey.new(), SigningKey.new()
TEXT = f"""\
people: 1
roles: [engineering, finance]
members:
  ada: {{roles: [engineering], keys: [{ADA.public}]}}
  grace: {{roles: [engineering, finance], keys: [{GRACE.public}]}}
  joan: {{roles: [finance]}}
"""


@pytest.fixture
def people() -> People:
    return People.loads(TEXT)


def test_roles_are_held_by_those_who_were_given_them(people: People) -> None:
    assert people.holds("grace", "finance")
    assert not people.holds("ada", "finance")
    assert not people.holds("eve", "finance")
    assert people.holding("finance") == ("grace", "joan")


def test_a_signature_holds_for_one_person_purpose_and_payload(people: People) -> None:
    payload = {"question": "q1", "ruling": "approve", "amount": "50.00", "rate": 0.5, "name": "Zoë"}
    signature = ADA.sign("answer", payload)
    assert people.verify("ada", "answer", payload, signature)
    assert people.verify("ada", "answer", dict(reversed(payload.items())), signature)
    assert not people.verify("grace", "answer", payload, signature)
    assert not people.verify("joan", "answer", payload, signature)
    assert not people.verify("eve", "answer", payload, signature)
    assert not people.verify("ada", "contract", payload, signature)
    assert not people.verify("ada", "answer", {**payload, "amount": "500.00"}, signature)
    assert not people.verify("ada", "answer", {**payload, "more": None}, signature)


def test_the_body_of_an_entry_is_signed_as_a_whole(people: People) -> None:
    body = seal(ADA, "contract", {"contract": "c0ffee", "role": "engineering", "by": "ada", "rate": 0.5})
    assert people.sealed("contract", body)
    assert people.sealed("contract", canonical.loads(canonical.dumps(body)))
    assert not people.sealed("level", body)
    for key in body:
        assert not people.sealed("contract", {k: v for k, v in body.items() if k != key}), key
        assert not people.sealed("contract", {**body, key: f"{body[key]}x"}), key
    assert not people.sealed("contract", {**body, "more": 1})
    for unnamed in ({"role": "engineering"}, {"by": "", "role": "x"}, body):
        with pytest.raises(ValueError, match="under `by`"):
            seal(ADA, "contract", unnamed)


def test_a_signature_is_written_in_one_way_only(people: People) -> None:
    signature = ADA.sign("answer", {})
    assert people.verify("ada", "answer", {}, signature)
    data = signature.removeprefix("ed25519:")
    last = "AEIMQUYcgkosw048"  # the four values that two bits leave to the last letter; only one of them is written
    assert data[-1] in "AQgw"
    others = [f"ed25519:{data[:-1]}{letter}" for letter in last if letter != data[-1]]
    for other in [
        *others,
        f"ed25519:{data}==",
        f" {signature}",
        data,
        signature.upper(),
        f"{signature}\n",
        b"x",
        1,
        None,
    ]:
        assert not people.verify("ada", "answer", {}, other), other


def test_nothing_unforeseen_raises(people: People) -> None:
    signature = ADA.sign("answer", {})
    loop: dict[str, object] = {}
    loop["again"] = loop
    for strange in ({"a": object()}, {"a": {1, 2}}, loop, {"a": "\ud800"}, {"$float": "x"}):
        assert not people.verify("ada", "answer", strange, signature)
    with pytest.raises(ValueError, match="nothing is signed for 'payment'"):
        ADA.sign(cast("Purpose", "payment"), {})
    assert not verify(ADA.public, "payment", {}, signature)
    no_point = f"ed25519:{base64.urlsafe_b64encode((2).to_bytes(32, 'little')).decode().rstrip('=')}"
    assert not verify(no_point, "answer", {}, signature)


def test_the_weak_keys_are_the_points_of_small_order() -> None:
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p

    def recover_square_of_x(y: int) -> int:
        return (y * y - 1) * pow(d * y * y + 1, -1, p) % p

    for y in WEAK:
        x2 = recover_square_of_x(y)
        for _ in range(3):  # doubling three times leads to the neutral element (0, 1)
            denominator = d * x2 * y * y % p
            y_next = (y * y + x2) * pow(1 - denominator, -1, p) % p
            x2, y = 4 * x2 * y * y * pow(1 + denominator, -2, p) % p, y_next
        assert (x2, y) == (0, 1)
    assert len(WEAK) == 5


@pytest.mark.parametrize("y", [*sorted(WEAK), 2**255 - 19, 2**255 - 18])
@pytest.mark.parametrize("sign", [0, 1])
def test_a_key_with_which_anybody_could_sign_is_none(y: int, sign: int) -> None:
    key = (y | sign << 255).to_bytes(32, "little")
    text = f"ed25519:{base64.urlsafe_b64encode(key).decode().rstrip('=')}"
    assert "anybody could sign" in str(wrong_with_key(text))
    # The signature that holds for every message under such a key: R the key itself or the neutral element, S zero.
    for r in (key, (1).to_bytes(32, "little")):
        forged = f"ed25519:{base64.urlsafe_b64encode(r + bytes(32)).decode().rstrip('=')}"
        assert not verify(text, "answer", {}, forged)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param("people: 1", "people: ‸2", "write `people: 1`", id="version"),
        pytest.param("people: 1\n", "‸", "`people` is missing; add people: 1", id="no-version"),
        pytest.param("roles: [engineering, finance]", "‸rolls: [engineering]", "did you mean roles?", id="unknown-key"),
        pytest.param("{roles: [finance]}", "{‸role: [finance]}", "did you mean roles?", id="unknown-key-below"),
        pytest.param("joan: {roles: [finance]}", "joan: {roles: [‸finanze]}", "did you mean finance?", id="role"),
        pytest.param("joan: {roles: [finance]}", "joan: {‸roles: []}", "holds no role", id="no-role"),
        pytest.param("joan: {roles: [finance]}", "joan: {roles: ‸finance}", "a list stands here", id="no-list"),
        pytest.param("roles: [engineering, finance]", "roles: [engineering, finance, ‸finance]", "twice", id="twice"),
        pytest.param(
            "roles: [engineering, finance]", "roles: [engineering, finance, ‸user]", "something else", id="own"
        ),
        pytest.param("  joan:", "  ‸jo an:", "is no name of a person", id="name"),
        pytest.param("  joan:", "  ‸requester:", "something else", id="reserved"),
        pytest.param("  joan:", "  ‸Ada:", "capitals only", id="capitals"),
        pytest.param("  joan:", "  ‸ada:", "a second time", id="same-name"),
        pytest.param(f"[{GRACE.public}]", f"[‸{ADA.public}]", "the key of ada, too", id="shared-key"),
        pytest.param(f"[{GRACE.public}]", f"[{GRACE.public}, ‸{GRACE.public}]", "twice", id="same-key"),
        pytest.param(f"[{GRACE.public}]", "[‸ed25519:abc]", "is no public key", id="no-key"),
        pytest.param(f"[{GRACE.public}]", f"[‸ed25519:{'A' * 43}]", "anybody could sign", id="weak-key"),
        pytest.param("  joan: {roles: [finance]}", "  joan: ‸no", "unquoted no", id="trap"),
    ],
)
def test_what_is_wrong_with_a_people_file_is_said_at_its_place(old: str, new: str, said: str) -> None:
    assert old in TEXT
    text, line, column = place_of_mark(TEXT.replace(old, new, 1))
    with pytest.raises(ContractError) as caught:
        People.loads(text, file="people.yaml")
    (finding, *more) = caught.value.findings
    assert said in finding.text
    assert (finding.file, finding.line, finding.column) == ("people.yaml", line, column)
    assert not more


@pytest.mark.parametrize("text", ["", "- ada\n", "ada", "people: [\n"])
def test_a_file_without_people_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        People.loads(text)


def test_the_digest_of_people_covers_who_may_do_what_and_no_more() -> None:
    def digest(text: str) -> str:
        return People.loads(text).digest

    other_order = TEXT.replace("[engineering, finance]", "[finance, engineering]").replace("people: 1", "people: 1 # x")
    assert digest(other_order) == digest(TEXT)
    lines = TEXT.splitlines(keepends=True)
    assert digest("".join([*lines[:3], *reversed(lines[3:])])) == digest(TEXT)
    for old, new in (
        ("joan: {roles: [finance]}", "joan: {roles: [engineering]}"),
        ("joan:", "jean:"),
        (ADA.public, SigningKey.new().public),
        ("roles: [engineering, finance]", "roles: [engineering, finance, audit]"),
    ):
        assert digest(TEXT.replace(old, new, 1)) != digest(TEXT)


# In a contract -------------------------------------------------------------------------------------------------------


def folder_with(tmp_path: Path, *changes: tuple[str, str], people: str | None = None) -> Path:
    """The reference contract in a folder, with its people beside it."""
    text = people if people is not None else (REFERENCE_FILE.parent / "people.yaml").read_text(encoding="utf-8")
    (tmp_path / "people.yaml").write_text(text, encoding="utf-8")
    path = tmp_path / "contract.yaml"
    path.write_text(edited(*changes), encoding="utf-8")
    return path


def test_a_contract_carries_its_people_and_its_digest_covers_them(tmp_path: Path) -> None:
    path = folder_with(tmp_path)
    before = Contract.load(path)
    assert before.members is not None
    assert before.members.holds("grace", "finance")
    people = tmp_path / "people.yaml"
    people.write_text("# reviewed\n" + people.read_text(), encoding="utf-8")
    assert Contract.load(path) == before
    people.write_text(people.read_text().replace("roles: [finance]", "roles: [finance, desk-lead]"), encoding="utf-8")
    assert Contract.load(path).digest != before.digest


def test_a_text_without_a_folder_can_be_read_but_no_gate_takes_it(tmp_path: Path) -> None:
    path = folder_with(tmp_path)
    bare = Contract.loads(REFERENCE)
    assert bare.members is None
    with pytest.raises(ContractError, match="the people file was not read"):
        assure(bare)
    whole = Contract.loads(REFERENCE, folder=tmp_path)
    assert whole == Contract.load(path)
    assert bare != whole
    assure(whole)
    made = bare.with_people(People.load(tmp_path / "people.yaml"))
    assert made == whole
    assure(made)
    assert made.model_copy(update={"version": "8"}).members == made.members
    assert made.model_copy(update={"people": None}).members is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("autonomous: [engineering, finance]", "autonomous: [engineering, ‸finanze]"),
        ("{readers: [reception, housekeeping]}", "{readers: [‸receptoin, housekeeping]}"),
        ("approver: reception}", "approver: ‸recption}"),
        ("ask: {role: finance,", "ask: {role: ‸financ,"),
        ("not: [requester]", "not: [‸requestor]"),
        ("escalate: {to: reception,", "escalate: {to: ‸receptionist,"),
    ],
)
def test_a_role_that_nobody_knows_is_refused(tmp_path: Path, old: str, new: str) -> None:
    text, line, column = place_of_mark(edited((old, new)))
    folder_with(tmp_path)
    with pytest.raises(ContractError) as caught:
        Contract.loads(text, folder=tmp_path, file="contract.yaml")
    (finding,) = caught.value.findings
    assert "is not a role here; did you mean" in finding.text
    assert (finding.file, finding.line, finding.column) == ("contract.yaml", line, column)


def test_what_is_wrong_in_both_files_is_said_at_once(tmp_path: Path) -> None:
    path = folder_with(
        tmp_path, ("agent: hotel-desk", "agnt: hotel-desk"), people="people: 2\nroles: []\nmembers: {}\n"
    )
    with pytest.raises(ContractError) as caught:
        Contract.load(path)
    files = [finding.file for finding in caught.value.findings]
    assert set(files) == {str(path), str(tmp_path / "people.yaml")}


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("nobody.yaml", "cannot be read"),
        (".", "cannot be read"),
        ("/etc/people.yaml", "holds on one machine only"),
        ('""', "cannot be read"),
        (r'"a\0b"', "cannot be read"),
    ],
)
def test_people_that_cannot_be_read_are_an_error_in_the_contract(tmp_path: Path, named: str, said: str) -> None:
    path = folder_with(tmp_path, ("people: people.yaml", f"people: {named}"))
    with pytest.raises(ContractError) as caught:
        Contract.load(path)
    (finding,) = caught.value.findings
    assert said in finding.text
    assert (finding.file, finding.line) == (str(path), 7)


def test_check_says_who_cannot_decide(tmp_path: Path) -> None:
    def found(text: str, *changes: tuple[str, str]) -> list[str]:
        law = Contract.load(folder_with(tmp_path, *changes, people=text))
        return [f.text for f in check(law) if f.code in ("nobody_to_decide", "unknown_person")]

    text = (REFERENCE_FILE.parent / "people.yaml").read_text(encoding="utf-8")
    assert found(text) == []
    joan = text[text.index("  joan:") : text.index("  linus:")]
    alone = found(text.replace(joan, ""))
    assert len(alone) == 1
    assert alone[0].startswith("2 people with the role finance")
    assert "only grace can" in alone[0]
    no_key = found(text.replace(joan, "  joan: {roles: [finance]}\n"))
    assert no_key == alone
    by_name = found(text, ("not: [requester]", "not: [joan]"))
    assert len(by_name) == 1
    agent = found(text, ("  desk-bot: {auth", "  Joan: {auth"))
    assert len(agent) == 1
    assert found(text, ("accountable: desk-lead", "accountable: boss")) == [
        f"boss is neither a role nor a person in {tmp_path / 'people.yaml'}"
    ]


def test_check_says_when_answers_prove_nothing() -> None:
    codes = {f.code for f in check(Contract.loads(edited(("people: people.yaml\n", ""))))}
    assert {"unsigned_answers", "no_people"} <= codes
    assert "people_not_read" in {f.code for f in check(Contract.loads(REFERENCE))}


# Private keys --------------------------------------------------------------------------------------------------------


def test_a_key_is_kept_in_a_file_of_its_own_that_nobody_else_can_read(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "ada.pem"
    ADA.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert SigningKey.load(path).sign("answer", {}) == ADA.sign("answer", {})
    with pytest.raises(UsageError, match="never overwritten"):
        GRACE.save(path)
    assert SigningKey.load(path).public == ADA.public
    assert "PRIVATE" not in repr(ADA)


def test_a_key_may_be_encrypted(tmp_path: Path) -> None:
    path = tmp_path / "ada.pem"
    ADA.save(path, passphrase="correct horse")
    assert SigningKey.load(path, passphrase="correct horse").public == ADA.public
    for passphrase in (None, "", "battery"):
        with pytest.raises(KeyLocked):
            SigningKey.load(path, passphrase=passphrase)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ada.pem"
    ADA.save(path)
    for mode in (0o640, 0o604, 0o660):
        path.chmod(mode)
        with pytest.raises(UsageError, match="others may read"):
            SigningKey.load(path)


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.pem"
    ADA.save(elsewhere)
    other = tmp_path / "rsa.pem"
    pem = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    other.write_bytes(pem)
    text = tmp_path / "text.pem"
    text.write_text("ed25519:abc")
    link = tmp_path / "link.pem"
    link.symlink_to(elsewhere)
    os.mkfifo(tmp_path / "pipe.pem")
    for path in (other, text):
        path.chmod(0o600)
    for name, said in (
        ("none.pem", "there is no key"),
        ("rsa.pem", "another kind of key"),
        ("text.pem", "no private key"),
        ("link.pem", "is a link"),
        ("pipe.pem", "is no file"),
        (".", "is no file"),
    ):
        with pytest.raises(UsageError, match=said):
            SigningKey.load(tmp_path / name)


def test_keys_do_not_lie_in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    project = home / "work" / "agent"
    law = project / "contracts" / "people.yaml"
    law.parent.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    assert project_of(law) == law.parent
    (home / ".git").mkdir()
    assert project_of(law) == law.parent
    (project / ".git").mkdir()
    assert project_of(law) == project
    link = tmp_path / "link"
    link.symlink_to(project)
    for inside in (project, project / "keys", project / "contracts" / ".." / "keys", link / "keys"):
        with pytest.raises(UsageError, match="do not belong into the project"):
            refuse_inside(inside, {"the project": project})
    refuse_inside(home / "keys", {"the project": project})
