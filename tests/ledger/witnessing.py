"""Ledgers with a vault, and witnesses that answer in this process as they do over HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from roadworthy.core.types import Draft
from roadworthy.ledger.checkpoint import Note, Signature, Verifier
from roadworthy.ledger.cosigning import Ask, NoAnswer, Reply, WitnessAt
from roadworthy.ledger.store import Ledger
from roadworthy.ledger.witness import Answer, Witness

START = datetime(2026, 1, 5, 9, tzinfo=UTC)


def entries(count: int, tag: str = "", *, first: int = 1) -> list[Draft]:
    """Entries whose texts begin with a tag."""
    return [
        Draft(
            kind="heard", world="production", run=f"run-{n % 3}", body={"text": f"{tag}{n}"},
            at=START + timedelta(seconds=n),
        )
        for n in range(first, first + count)
    ]  # fmt: skip


class House:
    """One ledger with its vault, in folders of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.vault = root / "vault" / "keys.db"
        self.file = root / "ledger" / "runs.db"
        self.file.parent.mkdir()
        self.vault.parent.mkdir()

    def open(self, file: Path | None = None) -> Ledger:
        return Ledger.open(file or self.file, vault=self.vault)

    def add(self, count: int, tag: str = "", file: Path | None = None) -> int:
        """Append through the gate's own path, with the keys; how many entries there are then."""
        with self.open(file) as ledger:
            ledger.append(entries(count, tag, first=ledger.size + 1))
            return ledger.size

    def copy(self, name: str) -> Path:
        """A copy of the ledger as it is now: a backup."""
        folder = self.root / name
        shutil.copytree(self.file.parent, folder)
        return folder / self.file.name

    def restore(self, backup: Path) -> None:
        """Put a copy in the ledger's place."""
        shutil.rmtree(self.file.parent)
        shutil.copytree(backup.parent, self.file.parent)

    def vkey(self) -> str:
        """The public key of the log."""
        with Ledger.open(self.file, read_only=True) as ledger:
            return next(entry.body["vkey"] for entry in ledger.entries(kind="key"))


def within(witness: Witness) -> Ask:
    """Asks a witness of this process."""

    def ask(address: str, body: bytes | None) -> Reply:
        answer: Answer
        if body is not None:
            assert address.endswith("/add-checkpoint")
            answer = witness.add_checkpoint(body)
        else:
            answer = witness.latest(address.split("/")[-2])
        return Reply(status=answer.status, media=answer.media.partition(";")[0], body=answer.body)

    return ask


def nobody(address: str, body: bytes | None) -> Reply:
    """A network that is down."""
    raise NoAnswer(f"{address} {body!r}: nobody there")


def at(witness: Witness) -> WitnessAt:
    return WitnessAt.parse("http://witness.test", witness.vkey)


def answers(*replies: Reply) -> tuple[Ask, list[bytes | None]]:
    """A witness that says what it was told to, and what it was asked."""
    left = list(replies)
    asked: list[bytes | None] = []

    def ask(_address: str, body: bytes | None) -> Reply:
        asked.append(body)
        return left.pop(0)

    return ask, asked


def names(ledger: Ledger, keys: Iterable[str]) -> dict[int, set[str]]:
    """Which of some keys have signed, by size, as the ledger keeps it."""
    known = [Verifier.parse(key) for key in keys]
    return {size: {one.by.name for one in Note.parse(note).checked(known)} for size, note in ledger.cosigned()}


def line_of(note: str, name: str) -> Signature:
    """The last signature of that name under a note."""
    return [one for one in Note.parse(note).signatures if one.name == name][-1]
