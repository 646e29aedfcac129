"""Private fields on their way into a ledger: encrypted, each under the key of whom it belongs to.

What is private, `public.py` says. A test world is made up and stays in plain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Claim, Draft, Guard, Reservation
from roadworthy.ledger.heads import Bundle, add, bundles, segment
from roadworthy.ledger.public import apart, split
from roadworthy.ledger.rows import Row, binding, row_of, written

if TYPE_CHECKING:
    from roadworthy.ledger.checkpoint import LogKey
    from roadworthy.ledger.vault import Slot, Vault

_Private: TypeAlias = list[Any]
"""The index of an entry in its bundle, and fields of it: a list, as JSON has no other kind."""


class _Parted:
    """Consecutive drafts of one run and world, their private fields taken apart by whom they belong to."""

    __slots__ = ("hidden", "ready", "run", "theirs", "whose", "world")

    def __init__(self, run: str | None, world: str) -> None:
        self.run = run
        self.world = world
        self.hidden: dict[str | None, list[_Private]] = {}
        """By the subject of the run, where it has one."""
        self.theirs: dict[str, list[_Private]] = {}
        """By subjects whom the run does not act for."""
        self.ready: list[tuple[int, str, str | None, bytes]] = []
        """Of each draft its time, kind, cause and public fields."""
        self.whose: list[tuple[list[_Private], ...]] = []
        """Of each draft the lists that hold fields of it."""

    def take(self, draft: Draft) -> None:
        i = len(self.ready)
        said: Mapping[str, Any] = draft.body
        others: Mapping[str, Mapping[str, Any]] = {}
        if draft.owners:
            owners = {at: owner for at, owner in draft.owners.items() if owner != draft.subject}
            said, others = apart(said, owners)
        public, private = split(draft.kind, said)
        at, _, _, kind, cause, body = row_of(draft, public)
        mine: tuple[list[_Private], ...] = ()
        if private:
            belongs = self.hidden.setdefault(draft.subject, [])
            belongs.append([i, private])
            mine = (belongs,)
        for owner, fields in others.items():
            belongs = self.theirs.setdefault(owner, [])
            belongs.append([i, fields])
            mine = (*mine, belongs)
        self.ready.append((at, kind, cause, body))
        self.whose.append(mine)

    def pairs(self) -> list[tuple[str | None, str | None]]:
        """Runs and subjects under whose keys something is to be sealed, in the order of the segments."""
        return [*((self.run, subject) for subject in self.hidden), *((None, owner) for owner in self.theirs)]

    def segments(self) -> list[list[_Private]]:
        """What is to be sealed under each."""
        return [*self.hidden.values(), *self.theirs.values()]


class Sealing:
    """Makes bundles of drafts with the keys of a vault, for one ledger."""

    def __init__(self, vault: Vault, ledger_id: str) -> None:
        self._vault = vault
        self._id = ledger_id
        self.bound = binding(ledger_id)

    def bundles(self, drafts: Sequence[Draft]) -> list[Bundle]:
        """Drafts as bundles. Raises LedgerError for what no ledger can keep and where the vault fails."""
        made: list[_Parted | Bundle] = []
        rows: list[Row] = []
        current: _Parted | None = None
        for draft in drafts:
            if draft.world == "test":
                current = None
                rows.append(row_of(draft))
                continue
            if rows:
                made += bundles(rows)
                rows = []
            if current is None or current.run != draft.run or current.world != draft.world:
                current = _Parted(draft.run, draft.world)
                made.append(current)
            current.take(draft)
        made += bundles(rows)
        # All keys at once: those that are new cost one sync together.
        wanted = [pair for one in made if isinstance(one, _Parted) for pair in one.pairs()]
        slots = iter(self._vault.slots(self._id, wanted) if wanted else ())
        return [self._sealed(one, slots) if isinstance(one, _Parted) else one for one in made]

    def _sealed(self, parted: _Parted, slots: Iterator[Slot]) -> Bundle:
        ready = parted.ready
        bundle = Bundle(parted.run, parted.world, ready[0][0])
        digests: dict[int, bytes] = {}
        stored: list[bytes] = []
        for listed in parted.segments():
            slot = next(slots)
            kind = ready[int(listed[0][0])][1]
            whole, digest = segment(slot.id, slot.seal(written(listed, kind, len(listed)), self.bound))
            stored.append(whole)
            digests[id(listed)] = b'"%b"' % digest.encode()
        if stored:
            bundle.sealed = b"".join(stored)
            bundle.size += len(bundle.sealed)
        name = b"null" if parted.run is None else orjson.dumps(parted.run)
        for (at, kind, cause, body), mine in zip(ready, parted.whose, strict=True):
            listed_in = b",".join([digests[id(part)] for part in mine])
            add(bundle, name, at, kind, cause, body, b',"sealed":[%b],"seq":' % listed_in)
        return bundle

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

    def has_signed(self) -> bool:
        """Whether checkpoints of this ledger were signed before."""
        return self._vault.has_signed(self._id)

    def note_signed(self) -> None:
        """Remember it."""
        self._vault.note_signed(self._id)
