"""What a ledger asks of the engine that keeps its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias

from roadworthy.core.errors import Conflict, LedgerError
from roadworthy.core.types import Guard
from roadworthy.ledger.heads import Bundle, Group

Append: TypeAlias = tuple[Sequence[Bundle], Sequence[Guard]]
"""Entries that belong together, and what must hold for them to be written."""


class Busy(LedgerError):
    """Another process held the ledger for too long. Nothing was written; the next append tries again."""


class Outdated(LedgerError):
    """The ledger is of an earlier version, and can only be read once it has been brought up to date."""


class Store(Protocol):
    """Keeps groups on a medium. `write` is called by one thread at a time, everything else by any."""

    read_only: bool
    direct: bool
    """Whether any thread may call `write`, and is not to wait for another one to do it."""
    waits: bool
    """Whether `write` waits for a disk or a network, so that no event loop may call it."""

    @property
    def name(self) -> str:
        """Where it lies, for messages."""
        ...

    @property
    def id(self) -> str:
        """What tells this store from all others, for as long as it exists."""
        ...

    def write(self, appends: Sequence[Append]) -> list[list[Group] | Conflict]:
        """Write the appends in one transaction, and return once they are durable.

        An append whose guards do not all hold is left out, whole, and the others are written. Guards see what earlier
        appends have changed, and what other processes have, who may append to the same store.
        Raises Busy where another process holds the store for too long, LedgerError for what will not go away by itself.
        """
        ...

    def groups(
        self, *, run: str | None, kind: str | None, world: str | None, after: int, limit: int
    ) -> Sequence[Group]:
        """At most `limit` committed groups that may hold such entries with seq > after, in order.

        With `kind` of LOOKED_FOR, only groups that hold one; with others they may hold none.
        """
        ...

    def sought(self, kind: str, after: int) -> Sequence[int]:
        """The places of all entries of a kind of LOOKED_FOR with seq > after, in order."""
        ...

    def recent_runs(self, *, world: str | None, limit: int | None) -> Sequence[str]:
        """Ids of runs, the latest active first; with `world`, those whose first entry is of it."""
        ...

    def control_groups(self, after: int) -> Sequence[Group]:
        """Groups that hold entries of the kinds that control running gates, with last > after.

        Cheap where nothing was committed since.
        """
        ...

    def tip(self) -> tuple[int, str]:
        """How many entries there are, and the checkpoint of the last commit; `(0, "")` in a ledger without entries."""
        ...

    def tile(self, level: int, index: int) -> bytes | None:
        """The hashes of a tile of the Merkle tree, one that is not complete as far as it goes.

        None for one of the lowest level that is not complete: its hashes are those of the entries.
        """
        ...

    def cosigned(self) -> Sequence[tuple[int, str]]:
        """Checkpoints that witnesses have signed, by size."""
        ...

    def keep_cosigned(self, size: int, note: str) -> None:
        """Keep a checkpoint that a witness has signed, in place of one of the same size. Durable on return."""
        ...

    def rows(self, table: str) -> Iterator[tuple[Any, ...]]:
        """All rows of a table, by its primary key, as of one moment and not all at once: for whoever checks them."""
        ...

    def faults(self) -> Sequence[str]:
        """What the engine finds wrong with its medium, and what stands beside our tables that is not ours."""
        ...

    def give_up(self, firsts: Sequence[int]) -> None:
        """Take the content of the groups that begin there, and what tells where their entries are. Durable on return.

        Their rows stay, with heads that are empty.
        """
        ...

    def close(self) -> None:
        """Give everything up. May be called twice."""
        ...
