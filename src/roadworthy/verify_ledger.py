"""Checks an exported ledger, its signatures and its receipts, with the standard library and `cryptography` alone.

This file imports nothing else of Roadworthy: copy it to where the ledger is to be checked, read it, and run it. Where
Roadworthy is installed, `python -m roadworthy.verify_ledger` runs it, too.

    python verify_ledger.py EXPORT.jsonl --key VKEY [--since CHECKPOINT] [--witness VKEY]
    python verify_ledger.py --receipt FILE --key VKEY

An export is what `roadworthy ledger export --jsonl` writes: a line of JSON that says which ledger it is; a line for
each checkpoint that witnesses have cosigned; a line for each group of entries, with the stored bytes of their heads and
of what is encrypted beside them, or with the hashes alone where they were pruned; and a line with the last checkpoint.
Exit codes: 0 intact, 1 something is wrong, 2 this cannot be read.

Formats: RFC 6962 (the tree), c2sp.org/signed-note, /tlog-checkpoint, /tlog-cosignature and /tlog-proof@v1.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, cast

FORMAT: Final = 1
"""Of exports."""

MOST: Final = 100
"""Findings that are kept of one code; beyond that they are counted."""

TOLD: Final[Mapping[Severity, int]] = {"error": 20, "note": 5}
"""Findings of one code that stand in a report in lines of text; the others are counted there."""

LINE: Final = 1 << 30
"""The most characters that one line of an export may have."""


class Unreadable(Exception):
    """What was given is no export, no receipt or no key, so that nothing can be said about it."""


class Misfit(ValueError):
    """A text that is not what its format asks for."""


# Hashes and the tree (RFC 6962) --------------------------------------------------------------------------------------

EMPTY: Final = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf: SHA-256 over 0x00 and its bytes."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node: SHA-256 over 0x01 and the hashes below it."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """A tree that grows by leaves and keeps only the roots of its complete subtrees, the largest first."""

    __slots__ = ("peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self.peaks: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Add the hash of a leaf."""
        rest, peaks, sha256 = self.size, self.peaks, hashlib.sha256
        while rest & 1:
            leaf = sha256(b"\1" + peaks.pop() + leaf).digest()
            rest >>= 1
        peaks.append(leaf)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self.peaks:
            return EMPTY
        found = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            found = node_hash(peak, found)
        return found


def included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the hash of a leaf stands at an index of the tree of this size and root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(other, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, other)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


# Signed notes and checkpoints (C2SP) ----------------------------------------------------------------------------------

_LOG: Final = 1
_WITNESS: Final = 4
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


def _decoded(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Misfit(f"{text[:60]!r} is no base64") from error
    if base64.b64encode(data).decode() != text:  # some bytes have several spellings, and only one is meant
        raise Misfit(f"{text[:60]!r} is not how base64 is written")
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A public key of a log or a witness."""

    name: str
    id: bytes
    """Four bytes, from its name and itself."""
    algorithm: int
    """1: Ed25519 of a log; 4: timestamped Ed25519 of a witness."""
    public: bytes
    text: str
    """As it is written: `NAME+ID+KEY`."""

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read `NAME+ID+KEY`. Raises Misfit."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3 or not parts[0] or re.search(r"\s", parts[0]):
            raise Misfit(f"{text[:80]!r} is no public key of a log or witness: it looks like NAME+0a1b2c3d+BASE64")
        name, number, encoded = parts
        data = _decoded(encoded)
        if len(data) != 33 or data[0] not in (_LOG, _WITNESS):
            raise Misfit(f"the key {name} is of a kind that is not known here; Ed25519 is (1 or 4 as its first byte)")
        known = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
        if number != known.hex():
            raise Misfit(f"the key {name} does not belong to its id: {number} is written and {known.hex()} comes out")
        return cls(name=name, id=known, algorithm=data[0], public=data[1:], text=text.strip())

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether a signature of 64 bytes is this key's, under this message."""
        return ed25519(self.public, message, signature)


_FIELD: Final = 2**255 - 19
_EIGHTH: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_WEAK: Final = frozenset((0, 1, _FIELD - 1, _EIGHTH, _FIELD - _EIGHTH))
"""The y coordinates of points of small order: with such a public key anybody could sign."""


def ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature (RFC 8032) was made under a message. Never raises for wrong keys and signatures."""
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    if y % _FIELD in _WEAK or y >= _FIELD:
        return False
    # Imported here, so that whoever only counts entries needs no OpenSSL.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A signed tree head."""

    origin: str
    """Which log it is of."""
    size: int
    root: bytes
    text: str
    """What is signed: three lines or more, each with its line feed."""
    extensions: tuple[str, ...]
    """The lines after the first three."""
    signatures: tuple[tuple[str, bytes, bytes], ...]
    """Name, key id and signature of each line below it."""

    @classmethod
    def parse(cls, note: str) -> Checkpoint:
        """Read a note with its signatures, of which there may be none. Raises Misfit."""
        if not isinstance(cast("Any", note), str) or not note.endswith("\n"):
            raise Misfit("a checkpoint ends with a line feed")
        body, blank, below = note.rpartition("\n\n")
        if not blank:
            body, below = note.removesuffix("\n"), ""
        text = f"{body}\n"
        lines = body.split("\n")
        if len(lines) < 3 or not all(lines):
            raise Misfit("a checkpoint has three lines: origin, size and root")
        if any(ord(character) < 32 for line in lines for character in line):
            raise Misfit("a checkpoint holds control characters")
        origin, size, root = lines[:3]
        if _SIZE.fullmatch(size) is None:
            raise Misfit(f"the size of a checkpoint is a number without leading zeros, and this is {size[:40]!r}")
        digest = _decoded(root)
        if len(digest) != 32:
            raise Misfit(f"the root of a checkpoint has 32 bytes, and this one {len(digest)}")
        signatures: list[tuple[str, bytes, bytes]] = []
        for line in below.removesuffix("\n").split("\n") if below else ():
            found = _SIGNATURE.fullmatch(line)
            if found is None:
                raise Misfit(f"{line[:80]!r} is no line of a signature")
            data = _decoded(found[2])
            if len(data) < 5:
                raise Misfit(f"the signature of {found[1]} is too short")
            signatures.append((found[1], data[:4], data[4:]))
        return cls(
            origin=origin,
            size=int(size),
            root=digest,
            text=text,
            extensions=tuple(lines[3:]),
            signatures=tuple(signatures),
        )

    def signed_by(self, key: Key) -> bool:
        """Whether a log's key has signed it. A second signature under the key's name and id must be good, too."""
        mine = [signature for name, id, signature in self.signatures if (name, id) == (key.name, key.id)]
        return bool(mine) and all(key.signed(self.text.encode(), signature) for signature in mine)

    def cosigned_at(self, key: Key) -> datetime | None:
        """When a witness has cosigned it; None where it has not, or its signature is not good."""
        for name, id, signature in self.signatures:
            if (name, id) == (key.name, key.id) and len(signature) == 72:
                seconds = int.from_bytes(signature[:8], "big")
                message = f"cosignature/v1\ntime {seconds}\n{self.text}".encode()
                if seconds < 253_402_300_800 and key.signed(message, signature[8:]):
                    return datetime.fromtimestamp(seconds, UTC)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """That an entry stands in a log, as `tlog-proof@v1` says it."""

    index: int
    """From 0; the entry's seq is one more."""
    proof: tuple[bytes, ...]
    checkpoint: Checkpoint
    head: bytes | None
    """The entry's head, where the receipt holds it."""
    keys: tuple[Mapping[str, Any], ...]
    """What introduced the log's keys, each by the one before it, in order."""

    @classmethod
    def parse(cls, text: str) -> Receipt:
        """Read a receipt. Raises Misfit."""
        above, blank, note = text.partition("\n\n")
        lines = above.split("\n")
        if not blank or lines[0] != "c2sp.org/tlog-proof@v1":
            raise Misfit("this is no receipt: its first line is not c2sp.org/tlog-proof@v1")
        rest = lines[1:]
        extra: dict[str, Any] = {}
        if rest and rest[0].startswith("extra "):
            extra = _extra(_decoded(rest[0].removeprefix("extra ")))
            rest = rest[1:]
        number = rest[0].removeprefix("index ") if rest and rest[0].startswith("index ") else ""
        if _SIZE.fullmatch(number) is None:
            raise Misfit("this receipt does not say at which index its entry stands")
        proof = tuple(_decoded(line) for line in rest[1:])
        if len(proof) > 63 or any(len(one) != 32 for one in proof):
            raise Misfit("the proof in this receipt is a list of at most 63 hashes of 32 bytes")
        head, keys = extra.get("head"), extra.get("keys")
        try:
            data = head.encode() if isinstance(head, str) else None
        except UnicodeEncodeError:
            raise Misfit("the entry in this receipt is no text in UTF-8") from None
        named = cast("list[Any]", keys) if isinstance(keys, list) else []
        return cls(
            index=int(number),
            proof=proof,
            checkpoint=Checkpoint.parse(note),
            head=data,
            keys=tuple(cast("dict[str, Any]", one) for one in named if isinstance(one, dict)),
        )

    def signed(self, trusted: Sequence[Key]) -> bool:
        """Whether a trusted key has signed the checkpoint, or one that follows from it."""
        known = {key.text: key for key in trusted if key.name == self.checkpoint.origin}
        for body in self.keys:
            old = known.get(str(body.get("after")))
            try:
                new = Key.parse(str(body.get("vkey")))
            except Misfit:
                continue
            if old is not None and introduced(old, new, body):
                known[new.text] = new
        return any(self.checkpoint.signed_by(key) for key in known.values())


def _extra(data: bytes) -> dict[str, Any]:
    """What a receipt of Roadworthy says beside the proof; nothing for another log's."""
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def check_receipt(text: str, head: bytes | None, trusted: Sequence[Key]) -> list[str]:
    """What is wrong with a receipt; nothing where it holds.

    `head`: the entry's, as it is stored; None takes the one in the receipt. `trusted`: keys of the log, of which one,
    or one that follows from it, must have signed the checkpoint. Raises Misfit.
    """
    receipt = Receipt.parse(text)
    if head is None and receipt.head is None:
        raise Misfit("this receipt does not hold its entry, so that the entry's head must be given")
    wrong: list[str] = []
    if head is not None and receipt.head is not None and head != receipt.head:
        wrong.append("the entry in it is another one than was given")
    if not receipt.signed(trusted):
        wrong.append("its checkpoint is not signed by a key that is trusted here, or that follows from one")
    size, root = receipt.checkpoint.size, receipt.checkpoint.root
    leaf = leaf_hash(head if head is not None else cast("bytes", receipt.head))
    if not included(leaf, receipt.index, size, receipt.proof, root):
        wrong.append("it does not prove that just this entry stands in the tree of its checkpoint")
    return wrong


# What is found ----------------------------------------------------------------------------------------------------

Severity = Literal["error", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One thing that a check has found."""

    code: str
    """A stable word for programs, such as `root` or `sealed`."""
    text: str
    """What is wrong, in words."""
    seq: int | None = None
    """The first entry that it is about; None where it is about none."""
    severity: Severity = "error"
    """`error`: the ledger is not what was written; `note`: worth knowing."""


class Findings:
    """What a check has found, of each code at most MOST, and how many there were."""

    __slots__ = ("counts", "kept")

    def __init__(self) -> None:
        self.kept: list[Found] = []
        self.counts: dict[tuple[Severity, str], int] = {}

    def add(self, code: str, text: str, seq: int | None = None, *, severity: Severity = "error") -> None:
        """Keep one more."""
        count = self.counts[severity, code] = self.counts.get((severity, code), 0) + 1
        if count <= MOST:
            self.kept.append(Found(code=code, text=text, seq=seq, severity=severity))

    def note(self, code: str, text: str, seq: int | None = None) -> None:
        """Keep one that is no error."""
        self.add(code, text, seq, severity="note")

    @property
    def errors(self) -> int:
        """How many errors there were."""
        return sum(count for (severity, _), count in self.counts.items() if severity == "error")

    def sorted(self) -> list[Found]:
        """What was kept, errors first, by entry."""
        return sorted(self.kept, key=lambda f: (f.severity != "error", f.seq is None, f.seq or 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How much of a ledger no witness has seen: it could be dropped or rewritten by whoever holds the log's key."""

    size: int
    """Entries that a trusted witness has cosigned; 0 where none has."""
    at: datetime | None
    """When."""
    witness: str | None
    after: int
    """Entries written since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check of a whole ledger came to."""

    ledger: str
    """Its id."""
    size: int
    """Its entries, those that were pruned among them."""
    root: str
    """The root that comes out of what is there, in base64."""
    signed: str | None
    """The public key that has signed the last checkpoint; None where nobody has, or the signature is not good."""
    trusted: bool
    """That key follows from one that was given, and not only from the ledger itself."""
    window: Window | None
    """None where no witness was named."""
    findings: tuple[Found, ...]
    counts: Mapping[str, int]
    """How many there were of each code, `error` and `note` apart: `{"error:root": 1}`."""

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not any(name.startswith("error:") for name in self.counts)


# The entries -----------------------------------------------------------------------------------------------------

_HEAD: Final = frozenset(("at", "body", "cause", "i", "kind", "run", "run_seq", "sealed", "seq", "v", "world"))
_WORLDS: Final = frozenset(("test", "shadow", "production"))
_CONTROLS: Final = frozenset(("level", "stop", "signature"))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BEYOND: Final = 2**63
"""Above every number of a head: places, and times in microseconds."""

Head = dict[str, Any]


def _refused(text: str) -> Any:
    raise ValueError(f"{text[:40]} is no number of a ledger, which holds integers alone")


_DECODER: Final = json.JSONDecoder(parse_float=_refused, parse_constant=_refused)


def decoded(data: bytes) -> Any:
    """The value that canonical bytes mean. Raises ValueError: also for floats, which two programs may read apart."""
    return _DECODER.decode(data.decode())


def canonical(value: Any) -> bytes:
    """The one way in which a value of a ledger is written: sorted keys, no white space, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def segments_of(sealed: bytes) -> Iterator[bytes]:
    """The encrypted segments of a group, each with its slot and length. Raises Misfit."""
    at = 0
    while at < len(sealed):
        end = at + 20 + int.from_bytes(sealed[at + 16 : at + 20], "big")
        if end > len(sealed) or end - at < 20 + 12 + 16:
            raise Misfit("what is encrypted is cut short")
        yield sealed[at:end]
        at = end


class Audit:
    """Takes a ledger in, group by group, and checks all that its entries say of themselves and of each other.

    Keeps a number for each run and each key, and nothing of the entries.
    """

    def __init__(
        self,
        findings: Findings,
        *,
        ledger: str | None = None,
        sizes: Iterable[int] = (),
        read: Callable[[bytes], Any] = decoded,
        write: Callable[[Any], bytes] = canonical,
        acts: bool = True,
    ) -> None:
        """`read` and `write`: JSON, by another library. `acts`: check what people have signed, by the heads alone."""
        self.findings = findings
        self.ledger = ledger
        self.tree = Tree()
        self.gone: list[tuple[int, int]] = []
        """Entries of which only the hashes are here, from and to, in order."""
        self.roots: dict[int, bytes] = {}
        """By size, for the sizes that were asked for and that the tree has passed."""
        self.keys = KeyChain(findings)
        self.acts = Acts(findings, ledger) if acts else None
        self.head: tuple[int, bytes] | None = None
        """An entry that was asked for: its seq and its stored bytes."""
        self.wanted = 0
        """The seq of it; 0 for none."""
        self._sizes: set[int] = set()
        self._read = read
        self._write = write
        self._runs: dict[str, int] = {}
        self._latest = 0
        self._open: dict[tuple[str, str], int] = {}
        self._doubts: dict[tuple[str, str], int] = {}
        self._given_up: list[tuple[int, int]] = []
        self._controls = 0, bytes(32)
        for size in sizes:
            self.want(size)

    def want(self, size: int) -> None:
        """Remember the root at a size that the tree has yet to reach."""
        self._sizes.add(size)
        if size == self.tree.size:
            self.roots[size] = self.tree.root

    def group(self, heads: Sequence[bytes], sealed: bytes | None) -> list[tuple[bytes, Head | None]]:
        """Take in the next group: the hash of each leaf, and what it says; None where it cannot be read."""
        segments = self._segments(sealed)
        used: set[str] = set()
        found: list[tuple[bytes, Head | None]] = []
        of: tuple[Any, Any] | None = None
        for i, data in enumerate(heads):
            seq = self.tree.size + 1
            leaf = hashlib.sha256(b"\0" + data).digest()
            self.tree.add(leaf)
            if seq in self._sizes:
                self.roots[seq] = self.tree.root
            if seq == self.wanted:
                self.head = seq, data
            head = self._head(seq, data)
            found.append((leaf, head))
            if head is None:
                continue
            if head["i"] != i:
                self.findings.add("group", f"entry {seq} is number {i} of its group and says {head['i']}", seq)
            if of is None:
                of = head["run"], head["world"]
            elif of != (head["run"], head["world"]):
                self.findings.add("group", f"entry {seq} is of another run or world than its group", seq)
            for one in head["sealed"]:
                used.add(one)
                if one not in segments:
                    self.findings.add(
                        "sealed", f"what is encrypted of entry {seq} was changed or taken away: {one[:16]}…", seq
                    )
        for one in segments - used if segments else ():
            self.findings.add(
                "sealed",
                f"beside entry {self.tree.size} something is encrypted that no entry speaks of: {one[:16]}…",
                self.tree.size,
            )
        return found

    def skip(self, leaves: Sequence[bytes]) -> None:
        """Take in entries that were pruned, by the hashes that are left of them."""
        first = self.tree.size + 1
        for leaf in leaves:
            self.tree.add(leaf)
            if self.tree.size in self._sizes:
                self.roots[self.tree.size] = self.tree.root
        if self.gone and self.gone[-1][1] == first - 1:
            first = self.gone.pop()[0]
        self.gone.append((first, self.tree.size))

    def _segments(self, sealed: bytes | None) -> set[str]:
        if sealed is None:
            return set()
        found: set[str] = set()
        try:
            for segment in segments_of(sealed):
                name = hashlib.sha256(segment).hexdigest()
                if name in found:
                    self.findings.add("sealed", "the same encrypted part stands twice", self.tree.size + 1)
                found.add(name)
        except Misfit as wrong:
            self.findings.add("sealed", f"from entry {self.tree.size + 1} on: {wrong}", self.tree.size + 1)
        return found

    def _head(self, seq: int, data: bytes) -> Head | None:
        try:
            head = self._read(data)
            if self._write(head) != data:
                self.findings.add("head", f"entry {seq} is not written as entries are", seq)
        except (ValueError, TypeError, RecursionError):
            self.findings.add("head", f"entry {seq} cannot be read: its bytes are no JSON", seq)
            return None
        wrong = _wrong_head(head)
        if wrong is not None:
            self.findings.add("head", f"entry {seq} is no entry: {wrong}", seq)
            return None
        head = cast("Head", head)
        if head["seq"] != seq:
            self.findings.add("seq", f"entry {head['seq']} stands where entry {seq} belongs", seq)
        self._run(seq, head)
        self._time(seq, head)
        self._story(seq, head)
        kind = head["kind"]
        if kind in _CONTROLS:
            count, digest = self._controls
            self._controls = count + 1, hashlib.sha256(digest + leaf_hash(data)).digest()
        if kind == "key":
            self.keys.take(seq, head["body"])
        elif kind == "prune":
            self._prune(seq, head["body"].get("ranges"))
        if self.acts is not None:
            self.acts.take(seq, head)
        return head

    def _run(self, seq: int, head: Head) -> None:
        run, given = head["run"], head["run_seq"]
        if run is None:
            if given != 0:
                self.findings.add("run_seq", f"entry {seq} belongs to no run and says it is number {given} of it", seq)
            return
        known = self._runs.get(run)
        expected = (known or 0) + 1
        # What is gone may have been of this run.
        if given != expected and not (self.gone and given > expected):
            self.findings.add("run_seq", f"entry {seq} is number {given} of run {run}, and {expected} is next", seq)
        self._runs[run] = given

    def _time(self, seq: int, head: Head) -> None:
        at = head["at"]
        if head["world"] == "test":
            return  # a trial has a clock of its own
        if at < self._latest:
            back = timedelta(microseconds=self._latest - at)
            # Entries bear the time at which something began, so a few seconds mean nothing.
            if back > timedelta(minutes=1):
                self.findings.note("clock", f"entry {seq} is dated {back} before one that was written earlier", seq)
        else:
            self._latest = at

    def _story(self, seq: int, head: Head) -> None:
        kind = head["kind"]
        if kind == "intent":
            self._open[str(head["run"]), str(head["cause"]).partition("~")[0]] = seq
        elif kind == "outcome":
            place = str(head["run"]), str(head["cause"]).partition("~")[0]
            self._open.pop(place, None)
            if head["body"].get("status") == "in_doubt":
                self._doubts[place] = seq
            else:
                self._doubts.pop(place, None)
        elif kind == "gap":
            self.findings.note("gap", f"entry {seq} says that something could not be written", seq)

    def _prune(self, seq: int, ranges: Any) -> None:
        try:
            said = [(int(begin), int(end)) for begin, end in ranges]
        except (TypeError, ValueError):
            self.findings.add("pruned", f"entry {seq} does not say which entries were pruned", seq)
            return
        if any(not 1 <= begin <= end < seq for begin, end in said):
            self.findings.add("pruned", f"entry {seq} says that entries were pruned which were not there then", seq)
        self._given_up += said

    def _gone_unsaid(self) -> None:
        """Say what is gone, and whether entries say that it was to go."""
        said: list[tuple[int, int]] = []
        for begin, end in sorted(self._given_up):
            if said and begin <= said[-1][1] + 1:
                begin, end = said[-1][0], max(said.pop()[1], end)
            said.append((begin, end))
        for first, last in self.gone:
            at = first
            within = bisect_right(said, (first, _BEYOND)) - 1
            if within >= 0:
                at = max(at, said[within][1] + 1)
            if at <= last:
                text = f"the entries {at} to {last} were taken away, and no entry says that they were pruned"
                self.findings.add("pruned", text, at)
            else:
                self.findings.note("pruned", f"the entries {first} to {last} were pruned; their hashes are left", first)

    def end(self) -> None:
        """Say what is only known at the end."""
        self._gone_unsaid()
        for (run, action), seq in self._open.items():
            self.findings.note(
                "open", f"{action} of run {run} was begun, and no entry says how it ended: it runs, or broke off", seq
            )
        for (run, action), seq in self._doubts.items():
            self.findings.note("in_doubt", f"nobody knows whether {action} of run {run} was done", seq)
        if self.acts is not None:
            self.acts.end()

    # -- what stands above the entries --------------------------------------------------------------------------------

    def checkpoint(self, note: str | None, *, trusted: Sequence[Key] = ()) -> tuple[str | None, bool]:
        """Check the last checkpoint; the key that has signed it, and whether that key follows from a trusted one."""
        add = self.findings.add
        if note is None:
            if self.tree.size:
                add("checkpoint", "there is no checkpoint of the last entry")
            return None, False
        try:
            last = Checkpoint.parse(note)
        except Misfit as wrong:
            add("checkpoint", f"the last checkpoint cannot be read: {wrong}")
            return None, False
        self._origin(last)
        if last.size != self.tree.size:
            many = "more" if self.tree.size > last.size else "fewer"
            add(
                "size",
                f"there are {self.tree.size} entries, {many} than the {last.size} of the last checkpoint",
                min(self.tree.size, last.size) + 1,
            )
        elif last.root != self.tree.root:
            add("root", "the entries do not give the root of the last checkpoint: something in them was changed")
        elif self._other_controls(last):
            add("checkpoint", "the last checkpoint is about other stops, levels and signatures than the entries hold")
        return self._signed(last, trusted)

    def _other_controls(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint says of what controls gates another hash than comes out; some say nothing of it."""
        said = [line for line in checkpoint.extensions if line.startswith("controls ")]
        count, digest = self._controls
        return bool(said) and said != [f"controls {count} {base64.b64encode(digest).decode()}"]

    def _origin(self, checkpoint: Checkpoint) -> None:
        if self.ledger is not None and checkpoint.origin != f"roadworthy/{self.ledger}":
            self.findings.add("checkpoint", f"a checkpoint of {checkpoint.origin} is none of the ledger {self.ledger}")

    def _signed(self, last: Checkpoint, trusted: Sequence[Key]) -> tuple[str | None, bool]:
        add, chain = self.findings.add, self.keys
        present = chain.present or (trusted[-1] if trusted else None)
        if present is None:
            if last.signatures:
                add("key", "the last checkpoint is signed, and no entry names the key")
            else:
                self.findings.note(
                    "unsigned",
                    "nobody has signed this ledger: whoever could write it could have written all of it anew. "
                    "Give it a vault",
                )
            return None, False
        if present.name != last.origin:
            add("key", f"the key {present.name} is none of the log {last.origin}")
        if not last.signed_by(present):
            add("signature", f"the last checkpoint is not signed by {present.text}")
            return None, False
        if not trusted:
            self.findings.note(
                "first_use",
                f"no key was given, so that this ledger vouches for itself. Keep {present.text}, and give it next time",
            )
            return present.text, False
        if not chain.follows(trusted, present):
            add("key", f"the key {present.text} does not follow from the one that was given")
            return present.text, False
        return present.text, True

    def remembered(self, note: str) -> None:
        """Check that the ledger goes on from a checkpoint that somebody has kept."""
        try:
            earlier = Checkpoint.parse(note)
        except Misfit as wrong:
            raise Unreadable(f"the remembered checkpoint cannot be read: {wrong}") from None
        self._origin(earlier)
        self._continues(earlier, "the checkpoint that was remembered")

    def _continues(self, earlier: Checkpoint, what: str) -> bool:
        if earlier.size > self.tree.size:
            self.findings.add(
                "earlier",
                f"{what} has {earlier.size} entries and the ledger only {self.tree.size}: its end was cut off, "
                "or it is an old copy",
                self.tree.size + 1,
            )
            return False
        root = EMPTY if earlier.size == 0 else self.roots.get(earlier.size)
        if root != earlier.root:
            self.findings.add(
                "earlier", f"{what} has another history: the first {earlier.size} entries are not those of then"
            )
            return False
        return True

    def cosigned(self, notes: Iterable[str], witnesses: Sequence[Key]) -> Window | None:
        """Check what witnesses have cosigned; how much they have not seen."""
        best: tuple[int, datetime, str] | None = None
        strangers: set[str] = set()
        known = {(key.name, key.id) for key in witnesses}
        for note in notes:
            try:
                checkpoint = Checkpoint.parse(note)
            except Misfit as wrong:
                self.findings.add("cosignature", f"a cosigned checkpoint cannot be read: {wrong}")
                continue
            self._origin(checkpoint)
            what = f"the checkpoint of {checkpoint.size} entries that was cosigned"
            strangers |= {
                name
                for name, id, signature in checkpoint.signatures
                if (name, id) not in known and len(signature) == 72
            }
            good = False
            for key in witnesses:
                at = checkpoint.cosigned_at(key)
                if at is not None:
                    good = True
                    if best is None or checkpoint.size > best[0]:
                        best = checkpoint.size, at, key.name
                elif any((name, id) == (key.name, key.id) for name, id, _ in checkpoint.signatures):
                    self.findings.add("cosignature", f"{what} does not bear the signature of {key.name}")
            # Without a witness's word it is no more than a line of the file, but it must fit all the same.
            self._continues(checkpoint, what if good else f"{what} by nobody who is known here")
        if not witnesses:
            if strangers:
                self.findings.note(
                    "witness", f"{', '.join(sorted(strangers))} cosigned; give the keys to see that they did"
                )
            return None
        if best is None:
            return Window(size=0, at=None, witness=None, after=self.tree.size)
        return Window(size=best[0], at=best[1], witness=best[2], after=max(0, self.tree.size - best[0]))

    def report(self, *, signed: str | None, trusted: bool, window: Window | None) -> Report:
        """What all of it came to."""
        return Report(
            ledger=self.ledger or "",
            size=self.tree.size,
            root=base64.b64encode(self.tree.root).decode(),
            signed=signed,
            trusted=trusted,
            window=window,
            findings=tuple(self.findings.sorted()),
            counts={f"{severity}:{code}": count for (severity, code), count in self.findings.counts.items()},
        )


def _wrong_head(head: Any) -> str | None:
    if not isinstance(head, dict):
        return "it is no mapping"
    given = cast("dict[str, Any]", head)
    if given.keys() != _HEAD:
        odd = min(given.keys() ^ _HEAD)
        return f"it lacks {odd}" if odd in _HEAD else f"it has {odd!r}"
    if not all(type(given[name]) is int and 0 <= given[name] < _BEYOND for name in ("i", "run_seq", "seq", "v")):
        return "a number in it is none"
    if type(given["at"]) is not int or not -_BEYOND < given["at"] < _BEYOND:
        return "its time is none"
    if type(given["kind"]) is not str or type(given["world"]) is not str or not isinstance(given["body"], dict):
        return "its kind, world or body is none"
    if given["world"] not in _WORLDS:
        return "its world is none"
    if not all(given[name] is None or type(given[name]) is str for name in ("run", "cause")):
        return "its run or cause is no text"
    sealed = given["sealed"]
    if not isinstance(sealed, list) or not all(type(one) is str for one in cast("list[Any]", sealed)):
        return "what it says of its encrypted parts is no list of hashes"
    return None


class KeyChain:
    """The keys that have signed a ledger, each introduced by the one before it."""

    __slots__ = ("findings", "keys", "named")

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.keys: list[Key] = []
        self.named: list[str] = []
        """Whatever entries name, keys or not."""

    def take(self, seq: int, body: Mapping[str, Any]) -> None:
        """Take in the body of a `key` entry."""
        self.named.append(str(body.get("vkey")))
        try:
            key = Key.parse(str(body.get("vkey")))
        except Misfit as wrong:
            self.findings.add("key", f"entry {seq} names a key that is none: {wrong}", seq)
            return
        if self.keys and not introduced(self.keys[-1], key, body):
            self.findings.add("key", f"entry {seq} names a key that the one before it has not signed", seq)
            return
        self.keys.append(key)

    @property
    def present(self) -> Key | None:
        """The last key."""
        return self.keys[-1] if self.keys else None

    def follows(self, trusted: Sequence[Key], key: Key) -> bool:
        """Whether a key is trusted, or stands in the chain after one that is."""
        known = {one.text for one in trusted}
        if key.text in known:
            return True
        place = next((i for i, one in enumerate(self.keys) if one.text in known), None)
        return place is not None and any(one.text == key.text for one in self.keys[place:])


def introduced(old: Key, new: Key, body: Mapping[str, Any]) -> bool:
    """Whether the body of a `key` entry bears the signature of the old key over the new one."""
    try:
        data = _decoded(str(body.get("signature")))
    except Misfit:
        return False
    message = f"roadworthy/key/1\n{old.text}\n{new.text}\n".encode()
    return (
        body.get("after") == old.text and new.name == old.name and data[:4] == old.id and old.signed(message, data[4:])
    )


# What people sign --------------------------------------------------------------------------------------------------

_LEVELS: Final = ("shadow", "approval", "autonomous")
_PURPOSES: Final[Mapping[str, str]] = {"signature": "contract", "level": "level", "stop": "stop"}
_NO_WORD: Final = (TypeError, ValueError, AttributeError, LookupError, RecursionError)
"""What reading a body may raise in which anything may stand, such as a list in place of a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """What a `contract` entry says of who may decide."""

    agent: str
    accountable: str
    people: Mapping[str, tuple[frozenset[str], tuple[str, ...]]] | None
    """By name, roles and public keys; None where the contract names nobody."""
    start: Mapping[str, str]
    """By capability, the level of the first day."""
    ceiling: Mapping[str, str]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Law:
        """Read the body of a `contract` entry. Raises KeyError, TypeError and AttributeError for what is none."""
        people: dict[str, tuple[frozenset[str], tuple[str, ...]]] | None = None
        if body.get("people") is not None:
            people = {
                str(name): (frozenset(map(str, member["roles"])), tuple(map(str, member.get("keys", ()))))
                for name, member in body["people"]["members"].items()
            }
        autonomy = {name: spec.get("autonomy", {}) for name, spec in body["contract"].get("capabilities", {}).items()}
        return cls(
            agent=str(body["agent"]),
            accountable=str(body["owner"]["accountable"]),
            people=people,
            start={name: str(spec.get("start", "shadow")) for name, spec in autonomy.items()},
            ceiling={name: str(spec.get("ceiling", "autonomous")) for name, spec in autonomy.items()},
        )

    def holds(self, person: object, role: object) -> bool:
        """Whether a person holds a role, or is it."""
        member = (self.people or {}).get(str(person))
        return member is not None and (role in member[0] or role == person)

    def signed(self, purpose: str, body: Mapping[str, Any]) -> bool:
        """Whether whoever stands under `by` has signed the rest of a body for a purpose."""
        member = (self.people or {}).get(str(body.get("by")))
        signature = _unpadded(body.get("signature"))
        if member is None or signature is None:
            return False
        rest = {name: value for name, value in body.items() if name != "signature"}
        message = b"roadworthy/1/" + purpose.encode() + b"\n" + canonical(rest)
        keys = (_unpadded(key) for key in member[1])
        return any(key is not None and ed25519(key, message, signature) for key in keys)


def _unpadded(text: object) -> bytes | None:
    """The bytes of a person's key or signature, `ed25519:` and base64url; None for anything else."""
    if not isinstance(text, str) or not text.startswith("ed25519:"):
        return None
    encoded = text.removeprefix("ed25519:")
    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except (binascii.Error, ValueError):
        return None


class Acts:
    """Answers, undos, levels, stops that are taken back and signatures under contracts: did those people sign them?

    Looks at the keys that the ledger's own `contract` entries name. What is encrypted cannot be looked at here;
    `roadworthy ledger verify --vault` does, and also judges who may decide what by all of the contract.
    """

    __slots__ = ("_controls", "_findings", "_laws", "_ledger", "_levels", "_nonces", "_runs", "_sealed")

    def __init__(self, findings: Findings, ledger: str | None) -> None:
        self._findings = findings
        self._ledger = ledger
        self._laws: dict[str, Law] = {}
        self._runs: dict[str, str] = {}
        self._controls: list[tuple[int, str, Mapping[str, Any]]] = []
        self._levels: dict[tuple[str, str], str] = {}
        self._nonces: set[str] = set()
        self._sealed = 0

    def take(self, seq: int, head: Head) -> None:
        """Take an entry in. Those of trials are passed over: nobody signs there."""
        kind, body = head["kind"], head["body"]
        if head["world"] == "test":
            return
        if kind in ("answer", "undo"):
            try:
                self._of_run(seq, kind, head)
            except _NO_WORD:
                self._findings.add("act", f"entry {seq} ({kind}) counts for nothing: it cannot be read", seq)
        elif kind == "contract":
            try:
                self._law(seq, str(body["digest"]), Law.of(body))
            except (KeyError, TypeError, AttributeError):
                self._findings.add("act", f"entry {seq} holds no contract that can be read", seq)
        elif kind == "run" and "contract" in body:
            law = self._laws.get(str(body["contract"]))
            if law is not None and law.people is not None:
                self._runs[str(head["run"])] = sys.intern(str(body["contract"]))
        elif kind in _PURPOSES:
            self._controls.append((seq, kind, body))

    def _law(self, seq: int, digest: str, law: Law) -> None:
        before = [known for known in self._laws.values() if known.agent == law.agent]
        if before and before[-1].people != law.people:
            self._findings.note(
                "people", f"from entry {seq} on a contract of {law.agent} names other people or keys", seq
            )
        self._laws[digest] = law

    def end(self) -> None:
        """Judge what concerns the whole ledger, now that all contracts are known."""
        for seq, kind, body in self._controls:
            try:
                wrong = {"signature": self._signature, "level": self._level, "stop": self._stop}[kind](body)
            except _NO_WORD:
                wrong = "it cannot be read"
            if wrong is not None:
                self._findings.add("act", f"entry {seq} ({kind}) counts for nothing: {wrong}", seq)
        if self._sealed:
            self._findings.note(
                "act", f"{self._sealed} answers and undos are encrypted, and were not checked: that takes the vault"
            )

    def _of_run(self, seq: int, kind: str, head: Head) -> None:
        body = head["body"]
        law = self._laws.get(self._runs.get(str(head["run"]), ""))
        asked_for = kind == "answer" or "nonce" in body
        if law is None or not asked_for or str(body.get("by", "")).startswith("rule:"):
            return
        if "signature" not in body and head["sealed"]:
            self._sealed += 1
            return
        wrong = None
        if not law.signed(kind, body):
            wrong = f"{body.get('by')} has not signed it"
        elif kind == "answer" and not law.holds(body.get("by"), body.get("role")):
            wrong = f"{body.get('by')} does not hold the role {body.get('role')}"
        elif self._ledger is not None and body.get("ledger") != self._ledger:
            wrong = "it was signed for another ledger"
        elif body.get("run") != head["run"]:
            wrong = "it was signed for another run"
        if wrong is not None:
            self._findings.add("act", f"entry {seq} ({kind}) counts for nothing: {wrong}", seq)

    def _signature(self, body: Mapping[str, Any]) -> str | None:
        law = self._laws.get(str(body.get("contract")))
        if law is None:
            return "the contract that it is about does not stand in the ledger"
        if body.get("agent") != law.agent or body.get("level") not in _LEVELS:
            return "it is about another agent, or about no level"
        if not law.holds(body.get("by"), body.get("role")):
            return f"{body.get('by')} does not hold the role {body.get('role')}"
        return None if law.signed("contract", body) else f"{body.get('by')} has not signed it"

    def _level(self, body: Mapping[str, Any]) -> str | None:
        agent, name, level = str(body.get("agent")), str(body.get("capability")), body.get("level")
        laws = self._of_agent(agent, name)
        if level not in _LEVELS:
            return f"{level!r} is no level"
        if not laws:
            return None  # whoever reads the ledger with that contract will judge it
        now = self._levels.get((agent, name), laws[-1].start[name])
        if _LEVELS.index(level) > _rank(now):
            wrong = self._nobody_accountable(laws, "level", body, level=str(level), capability=name)
            if wrong is not None:
                return wrong
        self._nonces.add(str(body.get("nonce")))
        self._levels[agent, name] = str(level)
        return None

    def _stop(self, body: Mapping[str, Any]) -> str | None:
        if not body.get("lifted"):
            return None
        wrong = None
        for agent in dict.fromkeys(law.agent for law in self._laws.values()):
            laws = self._of_agent(agent, body.get("capability"))
            wrong = wrong or (self._nobody_accountable(laws, "stop", body) if laws else None)
        if wrong is None:
            self._nonces.add(str(body.get("nonce")))
        return wrong

    def _of_agent(self, agent: str, capability: object) -> list[Law]:
        """The contracts of an agent that have a capability; once one of them names people, those alone that do.

        A contract without people that anybody appends later is thus no way around them.
        """
        laws = [law for law in self._laws.values() if law.agent == agent]
        laws = [law for law in laws if capability is None or capability in law.start]
        return [law for law in laws if law.people is not None] or laws

    def _nobody_accountable(
        self, laws: list[Law], purpose: str, body: Mapping[str, Any], *, level: str = "shadow", capability: str = ""
    ) -> str | None:
        """Why no contract lets this count; None where one does."""
        by, wrong = body.get("by"), "no contract lets it"
        for law in laws:
            if _LEVELS.index(level) > _rank(law.ceiling.get(capability, "autonomous")):
                wrong = f"the ceiling of {capability} is {law.ceiling[capability]}"
            elif law.people is None:
                return None
            elif self._ledger is not None and body.get("ledger") != self._ledger:
                wrong = "it was signed for another ledger"
            elif not body.get("nonce") or str(body["nonce"]) in self._nonces:
                wrong = "it has no nonce, or one that was used before"
            elif by != law.accountable and not law.holds(by, law.accountable):
                wrong = f"{law.accountable} is accountable, and {by} is not"
            elif not law.signed(purpose, body):
                wrong = f"{by} has not signed it"
            else:
                return None
        return wrong


def _rank(level: str) -> int:
    return _LEVELS.index(level) if level in _LEVELS else 0


# An export -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an export is checked against."""

    keys: tuple[Key, ...] = ()
    """Public keys of the log that are trusted."""
    witnesses: tuple[Key, ...] = ()
    """Public keys of witnesses that are trusted."""
    since: str | None = None
    """A checkpoint that was kept, as a note."""
    seq: int = 0
    """An entry whose stored bytes are wanted; 0 for none."""


@dataclass(slots=True)
class _Front:
    """What stands before the groups of an export."""

    ledger: str
    origin: str
    vkeys: list[str]
    cosigned: list[str] = field(default_factory=list[str])


def check_export(lines: Iterable[bytes], asked: Asked | None = None) -> tuple[Report, bytes | None]:
    """Check an export, line by line; the report, and the head of the entry that was asked for.

    Raises Unreadable for what is no export.
    """
    asked = asked or Asked()
    source = enumerate(lines, 1)
    front = _front(source)
    findings = Findings()
    sizes = [_size_of(note) for note in (*front.cosigned, *((asked.since,) if asked.since is not None else ()))]
    audit = Audit(findings, ledger=front.ledger, sizes=sizes)
    audit.wanted = asked.seq
    if front.origin != f"roadworthy/{front.ledger}":
        findings.add("export", f"the export says that it is of {front.origin} and of the ledger {front.ledger}")
    last = _groups(audit, source, front)
    if audit.keys.named != front.vkeys:
        findings.add("export", "the export names other keys than its entries do")
    if last is None:
        findings.add("export", "the export is cut off: its last line, with the checkpoint, is missing")
        signed, trusted = None, False
    else:
        if last["size"] != audit.tree.size:
            findings.add("export", f"the export says that it has {last['size']} entries, and has {audit.tree.size}")
        signed, trusted = audit.checkpoint(last["checkpoint"], trusted=asked.keys)
    if asked.since is not None:
        audit.remembered(asked.since)
    window = audit.cosigned(front.cosigned, asked.witnesses)
    audit.end()
    head = audit.head[1] if audit.head is not None else None
    return audit.report(signed=signed, trusted=trusted, window=window), head


_FIRST: Final = frozenset(("format", "ledger", "origin", "vkeys"))


def _size_of(note: str) -> int:
    try:
        return Checkpoint.parse(note).size
    except Misfit:
        return 0


def _front(source: Iterator[tuple[int, bytes]]) -> _Front:
    try:
        _, line = next(source)
        first: Any = decoded(line)
        if not isinstance(first, dict):
            raise Unreadable("this is no export of a ledger: its first line is no mapping")
        given = cast("dict[str, Any]", first)
        if given.get("format") != FORMAT or given.keys() != _FIRST or canonical(given) + b"\n" != line:
            raise Unreadable(f"this is no export of a ledger, or one of another format than {FORMAT}")
        vkeys = [str(vkey) for vkey in given["vkeys"]]
        return _Front(ledger=str(given["ledger"]), origin=str(given["origin"]), vkeys=vkeys)
    except StopIteration:
        raise Unreadable("this is no export of a ledger: it is empty") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(f"this is no export of a ledger: its first line cannot be read ({error})") from None


def _groups(audit: Audit, source: Iterator[tuple[int, bytes]], front: _Front) -> dict[str, Any] | None:
    """Take all lines in; the last one, where it is what it must be."""
    last: dict[str, Any] | None = None
    begun = False
    add = audit.findings.add
    for number, line in source:
        if last is not None:
            add("export", f"line {number} stands behind the end of the export")
            break
        try:
            found = decoded(line)
            if canonical(found) + b"\n" != line:
                add("export", f"line {number} is not written as exports are")
            if found.keys() == {"cosigned"} and not begun:
                note = str(found["cosigned"])
                front.cosigned.append(note)
                audit.want(_size_of(note))
            elif found.keys() == {"group", "heads", "sealed"}:
                begun = True
                _group(audit, number, found)
            elif found.keys() == {"leaves", "pruned"}:
                begun = True
                _pruned(audit, number, found)
            elif found.keys() == {"checkpoint", "size"}:
                last = found
            else:
                add("export", f"line {number} is none of an export")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            add("export", f"line {number} cannot be read ({error})")
    return last


def _group(audit: Audit, number: int, found: dict[str, Any]) -> None:
    first = audit.tree.size + 1
    heads = [head.encode() for head in found["heads"]]
    if found["group"] != [first, first + len(heads) - 1] or not heads:
        audit.findings.add(
            "seq",
            f"line {number} is the group of entries {found['group']}, and entry {first} is next: "
            "entries are missing, doubled or out of order",
            first,
        )
    audit.group(heads, None if found["sealed"] is None else _decoded(found["sealed"]))


def _pruned(audit: Audit, number: int, found: dict[str, Any]) -> None:
    first, data = audit.tree.size + 1, _decoded(found["leaves"])
    leaves = [data[at : at + 32] for at in range(0, len(data), 32)]
    if not leaves or len(data) % 32 or found["pruned"] != [first, first + len(leaves) - 1]:
        text = f"line {number} is about the pruned entries {found['pruned']}, and entry {first} is next"
        audit.findings.add("seq", text, first)
    audit.skip(leaves)


# The command line ----------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="verify_ledger.py",
        description="Check an exported ledger, or a receipt. 0: intact; 1: something is wrong; 2: it cannot be read.",
    )
    parser.add_argument("export", nargs="?", type=Path, help="what `roadworthy ledger export --jsonl` wrote")
    parser.add_argument("--key", action="append", default=[], metavar="VKEY", help="a key of the log that you trust")
    parser.add_argument("--witness", action="append", default=[], metavar="VKEY", help="a witness that you trust")
    parser.add_argument("--since", type=Path, metavar="FILE", help="a checkpoint that you have kept")
    parser.add_argument("--receipt", type=Path, metavar="FILE", help="a receipt for an entry (tlog-proof@v1)")
    parser.add_argument("--head", type=Path, metavar="FILE", help="its entry's head, where the receipt lacks it")
    parser.add_argument("--json", action="store_true", help="a line of JSON, and nothing else")
    given = parser.parse_args(arguments)
    try:
        return _run(given)
    except (Unreadable, Misfit, OSError, UnicodeDecodeError) as error:
        print(f"verify_ledger: {_shown(str(error))}", file=sys.stderr)
        return 2


def _run(given: argparse.Namespace) -> int:
    receipt = given.receipt.read_text(encoding="utf-8") if given.receipt is not None else None
    keys = tuple(Key.parse(text) for text in given.key)
    if given.export is None:
        if receipt is None or not keys:
            raise Unreadable("give an export, or --receipt and --key")
        head = given.head.read_bytes().removesuffix(b"\n") if given.head is not None else None
        return _receipt(receipt, head, keys, as_json=given.json)
    asked = Asked(
        keys=keys,
        witnesses=tuple(Key.parse(text) for text in given.witness),
        since=given.since.read_text(encoding="utf-8") if given.since is not None else None,
        seq=Receipt.parse(receipt).index + 1 if receipt is not None else 0,
    )
    with given.export.open("rb") as file:
        report, head = check_export(_lines(file), asked)
    wrong: list[str] = []
    if receipt is not None:
        known = keys or ((Key.parse(report.signed),) if report.signed is not None else ())
        wrong = ["its entry is not in this export"] if head is None else check_receipt(receipt, head, known)
    if given.json:
        found = asdict(report) | {"intact": report.intact and not wrong, "receipt": wrong}
        print(json.dumps(found, default=str, separators=(",", ":")))
    else:
        for line in (*told(report), *(f"receipt: {text}" for text in wrong)):
            print(_shown(line))
    return 0 if report.intact and not wrong else 1


def _receipt(text: str, head: bytes | None, keys: Sequence[Key], *, as_json: bool) -> int:
    wrong = check_receipt(text, head, keys)
    if as_json:
        print(json.dumps({"intact": not wrong, "receipt": wrong}, separators=(",", ":")))
    else:
        print(
            "\n".join(_shown(f"receipt: {one}") for one in wrong) or "The receipt holds: this entry stands in the log."
        )
    return 1 if wrong else 0


def _lines(file: Any) -> Iterator[bytes]:
    while line := file.readline(LINE):
        yield line


def told(report: Report) -> Iterator[str]:
    """A report in lines of text."""
    many = "1 entry" if report.size == 1 else f"{report.size:,} entries"
    yield f"{'Intact' if report.intact else 'NOT INTACT'}: ledger {report.ledger}, {many}, root {report.root}"
    if report.signed is not None:
        yield f"signed by {report.signed}{'' if report.trusted else ' (which nobody but the ledger vouches for)'}"
    window = report.window
    if window is not None and window.at is None:
        yield f"exposed: no named witness has cosigned anything; {window.after:,} entries rest on the log's key alone"
    elif window is not None:
        yield (
            f"exposed: {window.witness} cosigned {window.size:,} entries on {window.at}; "
            f"the {window.after:,} after them rest on the log's key alone"
        )
    so_far: dict[tuple[Severity, str], int] = {}
    for found in report.findings:
        kind = (found.severity, found.code)
        count = so_far[kind] = so_far.get(kind, 0) + 1
        word = "wrong" if found.severity == "error" else "note "
        most, there = TOLD[found.severity], report.counts[f"{found.severity}:{found.code}"]
        if count <= most or there == count == most + 1:
            yield f"{word}  {found.code}: {found.text}"
        elif count == most + 1:
            yield f"{word}  {found.code}: and {there - most:,} more"


def _shown(text: str) -> str:
    """Text of strangers with everything that steers a terminal as code points."""
    return "".join(c if c.isprintable() else f"<U+{ord(c):04X}>" for c in text)


if __name__ == "__main__":
    sys.exit(main())
