"""The root of a ledger's tree by what its entries say now, and not by the hashes that are kept beside them.

Proofs are made from tiles, which is fast, and enough for whoever checks the one entry that a proof is for. Whether all
entries are still those that somebody has signed for, tiles cannot tell: who changes an entry leaves them as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from roadworthy.ledger.heads import Group
from roadworthy.ledger.merkle import Node, leaf_hash
from roadworthy.ledger.tree import Frontier


class Stored(Protocol):
    """What is asked of a ledger here."""

    @property
    def node(self) -> Node: ...
    def rows(self, table: str) -> Iterator[tuple[Any, ...]]: ...


def root_of_entries(ledger: Stored, size: int) -> bytes | None:
    """The root over the first `size` entries, each hashed anew; None where there are fewer.

    Of entries that were pruned their hashes are taken, which is all that is left of them. Reads the whole ledger.
    Raises LedgerError where it cannot be read.
    """
    edge = Frontier()
    # By the table's key, as of one moment: columns by which entries are found may have been changed as well.
    for row in ledger.rows("groups") if size else ():
        edge.extend(_leaves(ledger, Group(*row), size)[: size - edge.size])
        if edge.size == size:
            break
    return edge.root() if edge.size == size else None


def _leaves(ledger: Stored, group: Group, size: int) -> Sequence[bytes]:
    with suppress(LookupError, TypeError, AttributeError):  # a file may hold anything, and then it is no entry
        if group.heads:
            return [leaf_hash(line) for line in group.lines]
        return [ledger.node(0, at) for at in range(group.first - 1, min(group.last, size))]
    return ()
