"""Private fields on their way into a ledger: encrypted, each under the key of whom it belongs to.

What is private, `public.py` says. A test world is made up and stays in plain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Claim, Draft, Guard, Reservation
from roadworthy.ledger.heads import Bundle, add, segment
from roadworthy.ledger.public import apart, split
from roadworthy.ledger.rows import binding, row_of, written

if TYPE_CHECKING:
    from roadworthy.ledger.checkpoint import LogKey
    from roadworthy.ledger.vault import Slot, Vault

_Private: TypeAlias = list[Any]
"""The index of an entry in its bundle, and fields of it: a list, as JSON has no other kind."""


class Sealing:
    """Makes bundles of drafts with the keys of a vault, for one ledger."""

    def __init__(self, vault: Vault, ledger_id: str) -> None:
        self._vault = vault
        self._id = ledger_id
        self.bound = binding(ledger_id)

    def bundles(self, drafts: Sequence[Draft]) -> list[Bundle]:
        """Drafts as bundles. Raises LedgerError for what no ledger can keep and where the vault fails."""
        made: list[Bundle] = []
        at = 0
        while at < len(drafts):
            first = drafts[at]
            end = at + 1
            while end < len(drafts) and drafts[end].run == first.run and drafts[end].world == first.world:
                end += 1
            made.append(self._bundle(drafts[at:end]))
            at = end
        return made

    def _bundle(self, drafts: Sequence[Draft]) -> Bundle:
        run, world = drafts[0].run, drafts[0].world
        plain = world == "test"
        hidden: dict[str | None, list[_Private]] = {}
        theirs: dict[str, list[_Private]] = {}
        ready: list[tuple[int, str, str | None, bytes]] = []
        whose: list[tuple[list[_Private], ...]] = []
        for i, draft in enumerate(drafts):
            if plain:
                at, _, _, kind, cause, body = row_of(draft)
                mine: tuple[list[_Private], ...] = ()
            else:
                said: Mapping[str, Any] = draft.body
                others: Mapping[str, Mapping[str, Any]] = {}
                if draft.owners:
                    owners = {at: owner for at, owner in draft.owners.items() if owner != draft.subject}
                    said, others = apart(said, owners)
                public, private = split(draft.kind, said)
                at, _, _, kind, cause, body = row_of(draft, public)
                mine = ()
                if private:
                    belongs = hidden.setdefault(draft.subject, [])
                    belongs.append([i, private])
                    mine = (belongs,)
                for owner, fields in others.items():
                    belongs = theirs.setdefault(owner, [])
                    belongs.append([i, fields])
                    mine = (*mine, belongs)
            ready.append((at, kind, cause, body))
            whose.append(mine)
        bundle = Bundle(run, world, ready[0][0])
        digests = self._seal(bundle, run, hidden, theirs, [draft.kind for draft in drafts])
        name = b"null" if run is None else orjson.dumps(run)
        for (at, kind, cause, body), mine in zip(ready, whose, strict=True):
            listed = b",".join([digests[id(part)] for part in mine])
            add(bundle, name, at, kind, cause, body, b',"sealed":[%b],"seq":' % listed)
        return bundle

    def _seal(
        self,
        bundle: Bundle,
        run: str | None,
        hidden: Mapping[str | None, list[_Private]],
        theirs: Mapping[str, list[_Private]],
        kinds: Sequence[str],
    ) -> dict[int, bytes]:
        digests: dict[int, bytes] = {}
        stored: list[bytes] = []
        for parts, of_run in ((hidden, True), (theirs, False)):
            for subject, listed in parts.items():
                slot: Slot = self._vault.slot(self._id, run=run if of_run else None, subject=subject)
                whole, digest = segment(
                    slot.id, slot.seal(written(listed, kinds[listed[0][0]], len(listed)), self.bound)
                )
                stored.append(whole)
                digests[id(listed)] = b'"%b"' % digest.encode()
        if stored:
            bundle.sealed = b"".join(stored)
            bundle.size += len(bundle.sealed)
        return digests

    def guards(self, guards: Sequence[Guard]) -> list[Guard]:
        """Guards whose names tell nothing of whom they are about."""
        return [
            Reservation(account=self._name(guard.account), amount=guard.amount, limit=guard.limit)
            if isinstance(guard, Reservation)
            # What may be claimed again is only ever compared, and may be made of what is private.
            else Claim(
                key=self._name(guard.key),
                value=self._name(guard.value) if guard.again else guard.value,
                again=guard.again,
            )
            for guard in guards
        ]

    def _name(self, name: str) -> str:
        return self._vault.pseudonym(self._id, name)


class LogKeys:
    """The keys of a ledger's checkpoints, as a vault has them."""

    def __init__(self, vault: Vault, ledger_id: str, origin: str) -> None:
        self._vault = vault
        self._id = ledger_id
        self._origin = origin

    def known(self) -> Sequence[LogKey]:
        """All that were kept for this ledger: the one that is in use, and such as are to come into use."""
        return self._vault.log_keys(self._id, self._origin)

    def new(self) -> LogKey:
        """One to begin with, made where there is none."""
        from roadworthy.ledger.checkpoint import LogKey

        found = self.known()
        if not found:
            self._vault.keep_log_key(self._id, LogKey.new(self._origin))
            found = self.known()  # another process may have been faster
        if not found:
            raise LedgerError("the vault did not keep the key of this ledger: see that it can be written")
        return found[0]
