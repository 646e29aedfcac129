"""A small log for tests of witnesses: its leaves in a list, and a key that signs whatever it is told to."""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field

from roadworthy.ledger.checkpoint import Checkpoint, LogKey
from roadworthy.ledger.merkle import consistency, leaf_hash, root, root_of


@dataclass(kw_only=True)
class Log:
    """Grows by `grow`, and forks by being copied."""

    key: LogKey = field(default_factory=lambda: LogKey.new("example.com/log"))
    leaves: list[bytes] = field(default_factory=list[bytes])

    def grow(self, size: int, tag: str = "") -> Log:
        """This log with leaves up to a size, and itself left as it is."""
        more = [f"{tag}{number}".encode() for number in range(len(self.leaves), size)]
        return Log(key=self.key, leaves=[*self.leaves[:size], *more])

    def node(self, level: int, index: int) -> bytes:
        return root_of([leaf_hash(leaf) for leaf in self.leaves[index << level : (index + 1) << level]])

    def text(self, size: int | None = None) -> str:
        size = len(self.leaves) if size is None else size
        return Checkpoint(origin=self.key.name, size=size, root=root(size, self.node)).text()

    def note(self, size: int | None = None) -> str:
        text = self.text(size)
        return f"{text}\n{self.key.sign(text)}"

    def request(self, old: int, size: int | None = None) -> bytes:
        """An add-checkpoint request that is right, as long as the witness has seen `old`."""
        size = len(self.leaves) if size is None else size
        return request(old, consistency(old, size, self.node), self.note(size))


def request(old: int | str, proof: Sequence[bytes], note: str) -> bytes:
    """An add-checkpoint request of any parts."""
    lines = "".join(binascii.b2a_base64(one).decode() for one in proof)
    return f"old {old}\n{lines}\n{note}".encode()
