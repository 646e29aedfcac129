"""The verifier that is one file: what it finds in exports and receipts, with nothing of Roadworthy beside it."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cryptography
import pytest

import roadworthy.verify_ledger as single
from roadworthy.contract.keys import SigningKey, seal
from roadworthy.ledger.checkpoint import Checkpoint, LogKey, WitnessKey
from roadworthy.ledger.merkle import inclusion, leaf_hash, root_of
from roadworthy.verify_ledger import Asked, Findings, Key, Misfit, Report, Unreadable, check_export, check_receipt, told

ID = "4f" * 16
FILE = Path(single.__file__)


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def segment(data: bytes) -> bytes:
    body = bytes(12) + data + bytes(16)
    return bytes(16) + len(body).to_bytes(4, "big") + body


@dataclass
class Book:
    """A ledger that is made up, to be exported whole or broken."""

    key: LogKey | None = field(default_factory=lambda: LogKey.new(f"roadworthy/{ID}"))
    groups: list[tuple[list[bytes], bytes | None]] = field(default_factory=list[tuple[list[bytes], bytes | None]])
    cosigned: list[str] = field(default_factory=list[str])
    runs: dict[str, int] = field(default_factory=dict[str, int])
    vkeys: list[str] = field(default_factory=list[str])
    controls: bool = False
    """Checkpoints say which stops, levels and signatures there are."""
    pruned: set[int] = field(default_factory=set[int])
    """Where the groups begin of which the hashes alone are left."""

    def __post_init__(self) -> None:
        if self.key is not None:
            self.introduce(self.key, {"vkey": self.key.vkey})

    def introduce(self, key: LogKey, body: dict[str, Any]) -> None:
        self.vkeys.append(key.vkey)
        self.key = key
        self.add([("key", body)])

    @property
    def heads(self) -> list[bytes]:
        return [head for heads, _ in self.groups for head in heads]

    def add(
        self,
        entries: Sequence[tuple[str, dict[str, Any]]],
        *,
        run: str | None = None,
        cause: str | None = None,
        private: Sequence[bytes] = (),
        world: str = "production",
        at: int = 1_000_000,
    ) -> None:
        """A group; all of its entries speak of all that is private in it."""
        segments = [segment(data) for data in private]
        heads: list[bytes] = []
        for i, (kind, body) in enumerate(entries):
            run_seq = 0
            if run is not None:
                run_seq = self.runs[run] = self.runs.get(run, 0) + 1
            head = {
                "at": at,
                "body": body,
                "cause": cause,
                "i": i,
                "kind": kind,
                "run": run,
                "run_seq": run_seq,
                "sealed": [hashlib.sha256(one).hexdigest() for one in segments],
                "seq": len(self.heads) + len(heads) + 1,
                "v": 1,
                "world": world,
            }
            heads.append(canonical(head))
        self.groups.append((heads, b"".join(segments) or None))

    def text(self, size: int | None = None) -> str:
        """The text of the checkpoint over the first entries."""
        size = len(self.heads) if size is None else size
        root = root_of([leaf_hash(head) for head in self.heads[:size]])
        more: tuple[str, ...] = ()
        if self.controls:
            count, digest = 0, bytes(32)
            for head in self.heads[:size]:
                if json.loads(head)["kind"] in ("level", "stop", "signature"):
                    count, digest = count + 1, hashlib.sha256(digest + leaf_hash(head)).digest()
            more = (f"controls {count} {base64.b64encode(digest).decode()}",)
        return Checkpoint(origin=f"roadworthy/{ID}", size=size, root=root, extensions=more).text()

    def note(self, size: int | None = None) -> str:
        text = self.text(size)
        return text if self.key is None else f"{text}\n{self.key.sign(text)}"

    def lines(self) -> list[dict[str, Any]]:
        front: dict[str, Any] = {"format": 1, "ledger": ID, "origin": f"roadworthy/{ID}", "vkeys": self.vkeys}
        rows: list[dict[str, Any]] = [{"cosigned": note} for note in self.cosigned]
        seq = 0
        for heads, sealed in self.groups:
            first, seq = seq + 1, seq + len(heads)
            row: dict[str, Any] = {
                "group": [first, seq],
                "heads": [head.decode() for head in heads],
                "sealed": None if sealed is None else base64.b64encode(sealed).decode(),
            }
            if first in self.pruned:
                leaves = base64.b64encode(b"".join(map(leaf_hash, heads))).decode()
                row = {"leaves": leaves, "pruned": [first, seq]}
            rows.append(row)
        return [front, *rows, {"checkpoint": self.note(), "size": len(self.heads)}]

    def export(self) -> list[bytes]:
        return [canonical(line) + b"\n" for line in self.lines()]


def book(**given: Any) -> Book:
    """Five groups: the key, a contract, a run with an action that is carried, and one that is private."""
    made = Book(**given)
    made.add([("contract", {"digest": "d", "agent": "a", "owner": {"accountable": "ada"}, "contract": {}})])
    made.add([("run", {"agent": "a", "contract": "d"})], run="r1", cause="r1")
    made.add(
        [("action", {"id": "r1#1", "tool": "t"}), ("intent", {}), ("outcome", {"status": "ok"})], run="r1", cause="r1#1"
    )
    made.add([("heard", {}), ("said", {"done": "executed"})], run="r1", private=[b"hello", b"there"])
    return made


def check(lines: list[bytes], **asked: Any) -> Report:
    return check_export(lines, Asked(**asked))[0]


def codes(report: Report) -> set[str]:
    return {found.code for found in report.findings if found.severity == "error"}


def trusted(made: Book) -> tuple[Key, ...]:
    return tuple(Key.parse(vkey) for vkey in made.vkeys[:1])


def test_an_export_that_is_whole_is_intact() -> None:
    made = book()
    report = check(made.export(), keys=trusted(made))
    assert report.intact
    assert (report.size, report.trusted, report.signed) == (8, True, made.vkeys[0])
    assert report.findings == ()


def test_an_export_without_a_given_key_says_that_it_vouches_for_itself() -> None:
    report = check(book().export())
    assert report.intact
    assert not report.trusted
    assert [found.code for found in report.findings] == ["first_use"]


def test_a_flood_of_equal_findings_is_counted() -> None:
    findings = Findings()
    for seq in range(1, 151):
        findings.note("clock", f"entry {seq} is dated back", seq)
        findings.add("leaf", f"entry {seq} was changed", seq)
    findings.add("root", "something was changed")
    whole = Report(
        ledger="0", size=150, root="", signed=None, trusted=False, window=None,
        findings=tuple(findings.sorted()),
        counts={f"{severity}:{code}": count for (severity, code), count in findings.counts.items()},
    )  # fmt: skip
    lines = list(told(whole))
    assert [line for line in lines if "clock" in line][4:] == [
        "note   clock: entry 5 is dated back",
        "note   clock: and 145 more",
    ]
    assert [line for line in lines if "leaf" in line][19:] == [
        "wrong  leaf: entry 20 was changed",
        "wrong  leaf: and 130 more",
    ]
    assert "wrong  root: something was changed" in lines


def test_an_unsigned_ledger_is_intact_and_says_that_nobody_has_signed_it() -> None:
    report = check(book(key=None).export())
    assert report.intact
    assert report.signed is None
    assert [found.code for found in report.findings] == ["unsigned"]


def test_an_unsigned_ledger_is_not_what_somebody_asks_for_who_gives_a_key() -> None:
    report = check(book(key=None).export(), keys=trusted(book()))
    assert "signature" in codes(report) or "key" in codes(report)


def test_no_byte_of_an_export_can_be_another_one() -> None:
    """Each byte of a small export in turn: what comes out is wrong, or no export any more."""
    made = book()
    whole = b"".join(made.export())
    unseen: list[tuple[int, bytes]] = []
    for at in range(len(whole)):
        broken = bytearray(whole)
        broken[at] ^= 0x01 if at % 2 else 0x20
        try:
            report = check(bytes(broken).splitlines(keepends=True), keys=trusted(made))
        except Unreadable:
            continue
        if report.intact:
            unseen.append((at, whole[max(0, at - 20) : at + 20]))
    assert not unseen


def removed(lines: list[bytes], at: int) -> list[bytes]:
    return [*lines[:at], *lines[at + 1 :]]


def swapped(lines: list[bytes], one: int, other: int) -> list[bytes]:
    changed = list(lines)
    changed[one], changed[other] = changed[other], changed[one]
    return changed


Lines = list[bytes]
CHANGES: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "deleted": (lambda lines: removed(lines, 3), "seq"),
    "reordered": (lambda lines: swapped(lines, 3, 4), "seq"),
    "doubled": (lambda lines: [*lines[:4], lines[3], *lines[4:]], "seq"),
    "tail cut": (lambda lines: removed(lines, 5), "size"),
    "end cut": (lambda lines: lines[:-1], "export"),
    "half": (lambda lines: lines[:3], "export"),
    "more behind": (lambda lines: [*lines, lines[3]], "export"),
    "nonsense": (lambda lines: [*lines[:2], b"nonsense\n", *lines[2:]], "export"),
    "deep": (lambda lines: [*lines[:2], b"[" * 100_000 + b"\n", *lines[2:]], "export"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_lines_that_are_missing_doubled_or_moved_are_found(name: str) -> None:
    attack, code = CHANGES[name]
    made = book()
    assert code in codes(check(attack(made.export()), keys=trusted(made)))


def test_the_tail_can_be_cut_with_an_older_checkpoint_and_only_memory_tells() -> None:
    made = book()
    kept = made.note()
    old = book(key=made.key)
    old.groups, old.vkeys = made.groups[:3], made.vkeys
    assert check(old.export(), keys=trusted(made)).intact
    report = check(old.export(), keys=trusted(made), since=kept)
    assert codes(report) == {"earlier"}


def test_another_history_under_the_same_key_is_told_by_memory() -> None:
    made = book()
    kept = made.note(6)
    other = book(key=made.key)
    other.vkeys = made.vkeys
    other.groups = [
        *made.groups[:3],
        *[([head.replace(b'"t"', b'"u"') for head in heads], s) for heads, s in made.groups[3:]],
    ]
    assert check(other.export(), keys=trusted(made)).intact
    assert codes(check(other.export(), keys=trusted(made), since=kept)) == {"earlier"}
    assert check(made.export(), keys=trusted(made), since=kept).intact


def test_a_ledger_that_was_written_anew_with_another_key_does_not_bear_the_trusted_one() -> None:
    made, other = book(), book()
    assert check(other.export()).intact
    assert codes(check(other.export(), keys=trusted(made))) == {"key"}


def test_a_witness_says_how_much_rests_on_the_key_alone() -> None:
    made = book()
    witness = WitnessKey.new("witness.example")
    text = made.text(6)
    made.cosigned.append(f"{made.note(6)}{witness.cosign(text, at=1_700_000_000)}")
    report = check(made.export(), keys=trusted(made), witnesses=(Key.parse(witness.vkey),))
    assert report.intact
    window = report.window
    assert window is not None
    assert (window.size, window.after, window.witness) == (6, 2, "witness.example")
    assert window.at == datetime.fromtimestamp(1_700_000_000, UTC)


def test_without_a_cosignature_all_is_exposed() -> None:
    made = book()
    report = check(made.export(), witnesses=(Key.parse(WitnessKey.new("w").vkey),))
    assert report.window is not None
    assert (report.window.size, report.window.after, report.window.at) == (0, 8, None)


def test_a_history_that_a_witness_has_not_seen_is_found() -> None:
    made, other = book(), book()
    witness = WitnessKey.new("witness.example")
    made.cosigned.append(f"{other.note(6)}{witness.cosign(other.text(6), at=1)}")
    assert codes(check(made.export(), witnesses=(Key.parse(witness.vkey),))) == {"earlier"}


def test_a_cosignature_that_is_not_the_witness_s_is_found() -> None:
    made = book()
    witness = WitnessKey.new("witness.example")
    line = witness.cosign(made.text(5), at=1)
    made.cosigned.append(f"{made.note(6)}{line}")
    assert codes(check(made.export(), witnesses=(Key.parse(witness.vkey),))) == {"cosignature"}


def test_a_pruned_export_is_proven_by_the_hashes_that_are_left() -> None:
    made = book()
    made.add([("prune", {"ranges": [[4, 6]]})])
    made.pruned = {4}
    report = check(made.export(), keys=trusted(made))
    assert report.intact
    assert report.size == 9
    assert [found.code for found in report.findings] == ["pruned"]
    lines = made.lines()
    (at,) = (i for i, line in enumerate(lines) if "pruned" in line)
    lines[at]["leaves"] = base64.b64encode(bytes(96)).decode()
    assert codes(check([canonical(line) + b"\n" for line in lines], keys=trusted(made))) == {"root"}


@pytest.mark.parametrize("ranges", [[[4, 5]], [[1, 2]], [[4, 9]], [[6, 4]], None, [[4]]])
def test_what_no_entry_says_was_pruned_was_taken_away(ranges: Any) -> None:
    made = book()
    made.add([("prune", {"ranges": ranges})])
    made.pruned = {4}
    assert codes(check(made.export(), keys=trusted(made))) == {"pruned"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"seq": 9}, "seq"),
        ({"run_seq": 3}, "run_seq"),
        ({"i": 1}, "group"),
        ({"more": 1}, "head"),
        ({"at": "now"}, "head"),
        ({"at": 10**30}, "head"),
        ({"run_seq": 2**63}, "head"),
        ({"world": "elsewhere"}, "head"),
        ({"sealed": ["00" * 32]}, "sealed"),
        ({"run": None}, "run_seq"),
    ],
)
def test_an_insider_who_signs_nonsense_is_found(change: dict[str, Any], code: str) -> None:
    """The root and its signature are good; what the entry says is not."""
    made = book()
    head = json.loads(made.groups[2][0][0]) | change
    made.groups[2] = [canonical(head)], None
    report = check(made.export(), keys=trusted(made))
    assert code in codes(report)
    assert next(f.seq for f in report.findings if f.code == code) == 3


def test_an_entry_with_a_key_twice_is_found() -> None:
    made = book()
    (head,), _ = made.groups[2]
    made.groups[2] = [head.replace(b'"at":', b'"at":5,"at":')], None
    assert "head" in codes(check(made.export(), keys=trusted(made)))


@pytest.mark.parametrize("number", [b"1.5", b"1e3", b"NaN", b"-Infinity"])
def test_a_number_that_two_programs_may_read_apart_is_found(number: bytes) -> None:
    made = book()
    (head,), _ = made.groups[2]
    made.groups[2] = [head.replace(b'"contract":"d"', b'"contract":' + number)], None
    assert "head" in codes(check(made.export(), keys=trusted(made)))


def test_a_checkpoint_that_leaves_a_stop_out_is_found() -> None:
    made = book(controls=True)
    made.add([("stop", {"capability": None, "lifted": False})])
    made.add([("heard", {})], run="r1")
    assert check(made.export(), keys=trusted(made)).intact
    lines = made.lines()
    text = made.text().replace("controls 1 ", "controls 2 ")
    assert made.key is not None
    lines[-1]["checkpoint"] = f"{text}\n{made.key.sign(text)}"
    assert codes(check([canonical(line) + b"\n" for line in lines], keys=trusted(made))) == {"checkpoint"}


def test_something_encrypted_that_no_entry_speaks_of_is_found() -> None:
    made = book()
    heads, sealed = made.groups[4]
    made.groups[4] = heads, (sealed or b"") + segment(b"more")
    assert codes(check(made.export(), keys=trusted(made))) == {"sealed"}


def test_what_is_open_in_doubt_missing_or_dated_back_is_said_and_is_no_error() -> None:
    made = book()
    made.add([("action", {"id": "r1#2"}), ("intent", {})], run="r1", cause="r1#2", at=10**9)
    made.add([("intent", {}), ("outcome", {"status": "in_doubt"})], run="r1", cause="r1#3~x")
    made.add([("gap", {})], run="r1")
    report = check(made.export(), keys=trusted(made))
    assert report.intact
    assert {found.code for found in report.findings} == {"open", "in_doubt", "gap", "clock"}


def law(key: SigningKey, *, more: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "digest": "law",
        "agent": "a",
        "owner": {"accountable": "ada"},
        "contract": {"capabilities": {"refunds": {"autonomy": {"start": "approval", "ceiling": "autonomous"}}}},
        "people": {"members": {"ada": {"roles": ["lead"], "keys": [key.public]}}},
        **(more or {}),
    }


def acted(entries: Sequence[tuple[str, dict[str, Any]]], key: SigningKey) -> Report:
    made = book()
    made.add([("contract", law(key))])
    made.add([("run", {"agent": "a", "contract": "law"})], run="r9")
    for kind, body in entries:
        made.add([(kind, dict(body))], run="r9" if kind in ("answer", "undo") else None)
    return check(made.export(), keys=trusted(made))


ANSWER = {"ledger": ID, "run": "r9", "question": "q", "role": "lead", "ruling": "approve", "by": "ada", "because": "é"}
LIFT = {"capability": None, "lifted": True, "by": "ada", "because": "", "ledger": ID, "nonce": "n2"}
LEVEL = {"agent": "a", "capability": "refunds", "level": "autonomous", "by": "ada", "ledger": ID, "nonce": "n1"}
SIGNED = {"agent": "a", "contract": "law", "level": "approval", "role": "lead", "by": "ada", "version": "1"}
UNDO: dict[str, Any] = {
    "ledger": ID,
    "run": "r9",
    "contract": "law",
    "actions": [],
    "by": "ada",
    "because": "",
    "nonce": "n3",
}
ACTS: list[tuple[str, Any, dict[str, Any]]] = [
    ("answer", "answer", ANSWER),
    ("stop", "stop", LIFT),
    ("level", "level", LEVEL),
    ("signature", "contract", SIGNED),
    ("undo", "undo", UNDO),
]


@pytest.mark.parametrize(("kind", "purpose", "body"), ACTS, ids=[kind for kind, _, _ in ACTS])
def test_what_people_decide_counts_with_their_signature_only(kind: str, purpose: Any, body: dict[str, Any]) -> None:
    ada, eve = SigningKey.new(), SigningKey.new()
    good = seal(ada, purpose, body)
    assert acted([(kind, good)], ada).intact
    forged = [
        body,
        seal(eve, purpose, body),
        {**good, "by": "eve"},
        {**good, "because": "other"},
        seal(ada, "undo" if purpose != "undo" else "stop", body),
    ]
    for one in forged:
        assert codes(acted([(kind, one)], ada)) == {"act"}


def test_a_signed_word_counts_once_and_in_its_own_ledger() -> None:
    ada = SigningKey.new()
    lower = {**LEVEL, "level": "shadow"}
    assert acted([("level", lower)], ada).intact
    raised = seal(ada, "level", LEVEL)
    assert codes(acted([("level", raised), ("level", lower), ("level", raised)], ada)) == {"act"}
    assert codes(acted([("level", seal(ada, "level", {**LEVEL, "ledger": "other"}))], ada)) == {"act"}
    assert codes(acted([("answer", seal(ada, "answer", {**ANSWER, "role": "boss"}))], ada)) == {"act"}


def test_a_contract_that_names_nobody_is_no_way_around_the_people_of_an_earlier_one() -> None:
    ada = SigningKey.new()
    bare = {name: value for name, value in law(ada).items() if name != "people"} | {"digest": "bare"}
    for kind, body in (("level", LEVEL), ("stop", LIFT)):
        report = acted([("contract", bare), (kind, body)], ada)
        assert codes(report) == {"act"}
        assert "people" in {found.code for found in report.findings}


# Receipts and texts ---------------------------------------------------------------------------------------------------


def receipt(made: Book, seq: int) -> str:
    hashes = [leaf_hash(head) for head in made.heads]

    def node(level: int, index: int) -> bytes:
        return root_of(hashes[index << level : (index + 1) << level])

    proof = [base64.b64encode(one).decode() for one in inclusion(seq - 1, len(hashes), node)]
    return "\n".join(["c2sp.org/tlog-proof@v1", f"index {seq - 1}", *proof, "", made.note()])


def rotated() -> Book:
    """A ledger whose key was followed by another one after five groups."""
    made = book()
    old = made.key
    assert old is not None
    new = LogKey.new(old.name)
    line = old.sign(f"roadworthy/key/1\n{old.vkey}\n{new.vkey}\n")
    body = {"after": old.vkey, "by": "ada", "because": "", "vkey": new.vkey, "signature": line.split(" ")[2].strip()}
    made.introduce(new, body)
    made.add([("stop", {"capability": None, "lifted": False})])
    return made


def test_a_key_is_followed_by_the_one_that_it_has_signed() -> None:
    made = rotated()
    first, second = (Key.parse(vkey) for vkey in made.vkeys)
    for key in (first, second):
        report = check(made.export(), keys=(key,))
        assert (report.intact, report.trusted, report.signed) == (True, True, second.text)
    assert codes(check(made.export(), keys=trusted(book()))) == {"key"}


def test_a_key_that_the_one_before_it_has_not_signed_is_found() -> None:
    made = book()
    new = LogKey.new(f"roadworthy/{ID}")
    body = {"after": made.vkeys[0], "by": "", "because": "", "vkey": new.vkey}
    made.introduce(new, {**body, "signature": new.sign("x").split(" ")[2].strip()})
    assert {"key", "signature"} <= codes(check(made.export(), keys=trusted(made)))
    assert not check(made.export()).intact


def test_a_receipt_after_a_rotation_holds_for_whoever_knows_the_first_key() -> None:
    made = rotated()
    body = json.loads(made.heads[8])["body"]
    extra = base64.b64encode(canonical({"head": made.heads[2].decode(), "keys": [body]})).decode()
    text = receipt(made, 3).replace("@v1\n", f"@v1\nextra {extra}\n", 1)
    assert check_receipt(text, None, trusted(made)) == []
    assert check_receipt(text, made.heads[2], [Key.parse(made.vkeys[1])]) == []
    assert check_receipt(text, made.heads[3], trusted(made))
    assert check_receipt(text, None, trusted(book()))
    assert check_receipt(receipt(made, 3), made.heads[2], trusted(made))


def test_a_receipt_proves_its_entry_and_no_other() -> None:
    made = book()
    for seq, head in enumerate(made.heads, 1):
        text = receipt(made, seq)
        assert check_receipt(text, head, trusted(made)) == []
        assert check_receipt(text, head + b" ", trusted(made))
        assert check_receipt(text, head, trusted(book()))
        assert check_receipt(text.replace(f"index {seq - 1}", f"index {seq % 8}"), head, trusted(made))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v2\nindex 0\n\n",
        "c2sp.org/tlog-proof@v1\nindex 01\n\n",
        "c2sp.org/tlog-proof@v1\nindex -1\n\na\n1\nAAAA\n",
        "c2sp.org/tlog-proof@v1\nextra !\nindex 0\n\na\n1\nAAAA\n",
        "c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\na\n1\nAAAA\n",
    ],
)
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(Misfit):
        check_receipt(text, b"", ())


@pytest.mark.parametrize(
    "vkey", ["", "a", "a+b", "a+00000000+AAAA", "a b+0+A", "n+12345678+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
)
def test_what_is_no_key_is_refused(vkey: str) -> None:
    with pytest.raises(Misfit):
        Key.parse(vkey)


def test_with_a_key_of_small_order_nothing_is_signed() -> None:
    """The point 1 as a public key accepts R = 1, s = 0 under every message, as OpenSSL has it."""
    assert not single.ed25519(bytes([1]) + bytes(31), b"anything", bytes([1]) + bytes(63))


ODD: list[Any] = [[], {}, 7, ["x"], {"x": []}]
"""What stands in place of a name, where anything may stand."""


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize(("kind", "purpose", "body"), ACTS, ids=[kind for kind, _, _ in ACTS])
def test_a_word_in_which_anything_stands_ends_no_check(kind: str, purpose: Any, body: dict[str, Any], odd: Any) -> None:
    ada = SigningKey.new()
    good = seal(ada, purpose, body)
    for name in good:
        found = codes(acted([(kind, {**good, name: odd})], ada))
        assert found <= {"act"}
        # An agent or a capability that no contract knows concerns nobody here, and what is empty says nothing.
        assert found or name in ("agent", "capability") or not odd


@pytest.mark.parametrize("keys", [5, None, "x", [5], [{}], [{"after": [], "vkey": {}}]])
def test_a_receipt_may_say_anything_beside_its_proof(keys: Any) -> None:
    made = book()
    above, blank, note = receipt(made, 3).partition("\n\n")
    first, index, *proof = above.split("\n")
    head = made.heads[2]
    extra = base64.b64encode(json.dumps({"head": head.decode(), "keys": keys}).encode()).decode()
    text = "\n".join([first, f"extra {extra}", index, *proof]) + blank + note
    assert check_receipt(text, None, trusted(made)) == []
    extra = base64.b64encode(json.dumps({"head": "\ud800"}).encode()).decode()
    with pytest.raises(Misfit):
        check_receipt("\n".join([first, f"extra {extra}", index, *proof]) + blank + note, None, trusted(made))


# As a file of its own -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a copy of the file where nothing is installed but `cryptography` and what that needs."""
    folder = tmp_path_factory.mktemp("alone")
    library = Path(cryptography.__file__).parents[1]
    for name in ("cryptography", "cffi", "pycparser"):
        if (library / name).exists():
            (folder / name).symlink_to(library / name)
    for file in library.glob("_cffi_backend*"):
        (folder / file.name).symlink_to(file)
    copy = folder / "verify_ledger.py"
    copy.write_bytes(FILE.read_bytes())
    start = (
        "import runpy, sys; sys.path.insert(0, sys.argv[1]); sys.argv = sys.argv[2:]\n"
        "try:\n    import roadworthy\nexcept ImportError:\n    pass\nelse:\n    sys.exit('roadworthy is importable')\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", start, str(folder), str(copy), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={},
            timeout=60,
        )

    return run


Alone = Callable[..., subprocess.CompletedProcess[str]]


def test_it_runs_alone(alone: Alone, tmp_path: Path) -> None:
    made = book()
    file, since, proof, head = (tmp_path / name for name in ("export.jsonl", "note", "receipt", "head"))
    file.write_bytes(b"".join(made.export()))
    since.write_text(made.note(5), encoding="utf-8")
    proof.write_text(receipt(made, 4), encoding="utf-8")
    head.write_bytes(made.heads[3])
    done = alone(file, "--key", made.vkeys[0], "--since", since, "--receipt", proof)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Intact: ledger {ID}, 8 entries")
    assert alone("--receipt", proof, "--head", head, "--key", made.vkeys[0]).returncode == 0
    assert alone("--receipt", proof, "--head", file, "--key", made.vkeys[0]).returncode == 1
    lines = made.export()
    file.write_bytes(b"".join(removed(lines, 3)))
    done = alone(file, "--key", made.vkeys[0], "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["intact"] is False
    assert "seq" in {found["code"] for found in told["findings"]}


def test_what_cannot_be_read_is_said_without_a_traceback(alone: Alone, tmp_path: Path) -> None:
    file = tmp_path / "export"
    for data in (b"", b"{}\n", b"\xff\n", b'{"format":2}\n', b"[" * 100_000):
        file.write_bytes(data)
        done = alone(file)
        assert done.returncode == 2, data
        assert done.stderr.startswith("verify_ledger: ")
        assert len(done.stderr.splitlines()) == 1
    file.write_bytes(b"\xff\n")
    for given in (("--receipt", file, "--key", book().vkeys[0]), (file, "--since", file)):
        done = alone(*given)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert alone(tmp_path / "none").returncode == 2
    assert alone(tmp_path / "none", "--key", "nonsense").returncode == 2
    assert alone().returncode == 2


def test_what_strangers_wrote_steers_no_terminal(alone: Alone, tmp_path: Path) -> None:
    made = book()
    made.add([("action", {"id": "x"}), ("intent", {})], run="\x1b[2Jevil\u202e", cause="\x07")
    file = tmp_path / "export"
    file.write_bytes(b"".join(made.export()))
    done = alone(file, "--key", made.vkeys[0])
    assert done.returncode == 0
    assert "<U+001B>[2Jevil<U+202E>" in done.stdout


def test_it_imports_nothing_of_roadworthy() -> None:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    imports = [line.split()[1] for line in lines if line.lstrip().startswith(("import ", "from "))]
    foreign = {name.partition(".")[0] for name in imports} - set(sys.stdlib_module_names)
    assert foreign == {"cryptography"}
