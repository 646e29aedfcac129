"""What a ledger asks of the engine that keeps its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from roadworthy.core.errors import Conflict, LedgerError
from roadworthy.core.types import Guard
from roadworthy.ledger.rows import Place, Row, RunSummary

Append: TypeAlias = tuple[Sequence[Row], Sequence[Guard]]
"""Rows that belong together, and what must hold for them to be written."""


class Busy(LedgerError):
    """Another process held the ledger for too long. Nothing was written; the next append tries again."""


class Store(Protocol):
    """Keeps rows on a medium. `write` is called by one thread at a time, everything else by any."""

    read_only: bool

    @property
    def name(self) -> str:
        """Where it lies, for messages."""
        ...

    @property
    def id(self) -> str:
        """What tells this store from all others, for as long as it exists. Raises LedgerError where it has none yet."""
        ...

    def write(self, appends: Sequence[Append]) -> list[list[Place] | Conflict]:
        """Write the appends in one transaction, and return once they are durable.

        An append whose guards do not all hold is left out, whole, and the others are written. Guards see what earlier
        appends have changed, and what other processes have, who may append to the same store.
        Raises Busy where another process holds the store for too long, LedgerError for what will not go away by itself.
        """
        ...

    def read(
        self, *, run: str | None, kind: str | None, world: str | None, after: int, limit: int
    ) -> Sequence[tuple[Row, Place]]:
        """At most `limit` committed rows with seq > after, in order of seq."""
        ...

    def runs(self, *, world: str | None, limit: int | None) -> Sequence[RunSummary]:
        """Runs, the latest active first."""
        ...

    def controls(self, after: int) -> Sequence[tuple[Row, Place]]:
        """Rows of the kinds that control running gates, with seq > after. Cheap where nothing was committed since."""
        ...

    def close(self) -> None:
        """Give everything up. May be called twice."""
        ...
