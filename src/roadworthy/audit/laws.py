"""The contracts that a ledger holds: what its runs were judged by, to be read again."""

from __future__ import annotations

from collections.abc import Iterable

from roadworthy.contract.model import Contract
from roadworthy.contract.recorded import read_again
from roadworthy.core.types import Entry
from roadworthy.ledger.store import Ledger


class Laws:
    """The contracts of a ledger by their digest, each read when it is first asked for."""

    __slots__ = ("_known", "_written")

    def __init__(self, ledger: Ledger, also: Iterable[Contract] = ()) -> None:
        """`also`: contracts that the ledger may not hold; ledgers of trials do not."""
        self._known: dict[str, Contract | None] = {contract.digest: contract for contract in also}
        self._written: dict[str, list[Entry]] = {}
        for entry in ledger.entries(kind="contract"):
            self._written.setdefault(str(entry.body.get("digest")), []).append(entry)

    def of(self, digest: str) -> Contract | None:
        """The contract with this digest; None where the ledger does not hold it whole.

        An entry is believed as far as what it holds has the digest that it names.
        """
        if digest not in self._known:
            found = (read_again(entry.body) for entry in self._written.get(digest, ()))
            self._known[digest] = next((contract for contract in found if contract is not None), None)
        return self._known[digest]

    @property
    def written(self) -> tuple[Entry, ...]:
        """The first entry of each contract, in order."""
        return tuple(sorted((entries[0] for entries in self._written.values()), key=lambda e: e.seq))
