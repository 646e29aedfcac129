"""One commit: which entries are written, in which places, and the checkpoint over them. The same for every engine."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

from roadworthy.core.canonical import dumps
from roadworthy.core.errors import Conflict, LedgerError
from roadworthy.ledger.engine import Append
from roadworthy.ledger.guards import Tally
from roadworthy.ledger.heads import Bundle, Group, bundles, entry_of_head, placed
from roadworthy.ledger.merkle import leaf_hash
from roadworthy.ledger.rows import CONTROLS
from roadworthy.ledger.tree import EMPTY, Controls, Frontier, Tile

if TYPE_CHECKING:
    from roadworthy.ledger.checkpoint import LogKey, Note

_KNOWN_RUNS: Final = 20_000
_GAP: Final = "\n\n"
"""Stands in a signed note, and in no checkpoint by itself."""

ORIGIN: Final = "roadworthy/"
"""What a ledger's name in its checkpoints begins with; its id follows."""


class Tip(NamedTuple):
    """The row of the table of this name."""

    size: int
    note: str


class Keys(Protocol):
    """Where the keys lie that sign a ledger's checkpoints."""

    def known(self) -> Sequence[LogKey]:
        """All that were kept for this ledger: the one that is in use, and such as are to come into use."""
        ...

    def new(self) -> LogKey:
        """One to begin with, made where there is none."""
        ...

    def has_signed(self) -> bool:
        """Whether checkpoints of this ledger were signed before."""
        ...

    def note_signed(self) -> None:
        """Remember it. Raises LedgerError where that cannot be done now."""
        ...


class Medium(Protocol):
    """What a commit looks up in the engine, inside of its transaction."""

    def total(self, account: str) -> Decimal | None:
        """What an account holds."""
        ...

    def claimed(self, key: str) -> str | None:
        """What stands behind a claimed key."""
        ...

    def run_end(self, run: str) -> int:
        """The highest run_seq of a run; 0 where it has none."""
        ...

    def edge(self, size: int) -> Frontier:
        """The edge of the tree over the entries that are there, by tiles and heads."""
        ...

    def controls(self, after: int) -> Sequence[Group]:
        """Groups that hold entries of the kinds of CONTROLS with seq > after, in order."""
        ...


@dataclass(slots=True)
class Composed:
    """What one commit writes."""

    tip: Tip
    key: LogKey | None
    """The key that is in use after it."""
    results: list[list[Group] | Conflict]
    """What came of each append: its groups, or the guard that did not hold."""
    controls: Controls
    """The hash over all stops and the like after it."""
    groups: list[Group] = field(default_factory=list[Group])
    sought: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    tiles: list[Tile] = field(default_factory=list[Tile])
    totals: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    claims: dict[str, str] = field(default_factory=dict[str, str])


class Composer:
    """Knows the tip of a ledger between commits, so that one that nobody else has moved costs no reading.

    Used under the engine's lock. `keys` has the key that signs the checkpoints; None: they are not signed.
    """

    def __init__(self, name: str, origin: str, keys: Keys | None) -> None:
        self._name = name
        self.origin = origin
        self._keys = keys
        self.key: LogKey | None = None
        self._noted = False
        self._tip: Tip | None = None
        self._edge = Frontier()
        self._controls = Controls()
        self._controlled = 0
        """The seq up to which they were counted."""
        self._runs: dict[str, int] = {}
        self.moved = 0
        """How often somebody else had written since the last commit."""

    def forget(self) -> None:
        """After a commit that failed: everything is read again."""
        self._tip = None
        self._runs.clear()

    def follow(self, tip: Tip | None, medium: Medium) -> None:
        """Take up the tip as it stands in the ledger, and see that the entries are those that it was written for.

        Raises LedgerError where they are not, and where this ledger was signed with another key than ours.
        """
        if tip is None:
            tip = Tip(0, "")
        if tip == self._tip:
            if len(self._runs) > _KNOWN_RUNS:
                self._runs.clear()
            return
        size, written = cast("tuple[Any, Any]", tip)  # where a file is changed by hand, anything may stand
        if type(size) is not int or size < 0 or type(written) is not str:
            raise self._changed(f"its last checkpoint is kept as one of {size!r} entries")
        if self._tip is not None:
            self.moved += 1
        self._runs.clear()
        if tip.size < self._edge.size and self._tip is not None:
            raise self._changed(f"it had {self._edge.size} entries, and has {tip.size} now")
        self._edge = self.checked(tip, medium)
        self._tip = tip

    def checked(self, tip: Tip, medium: Medium) -> Frontier:
        """The edge of the tree, which agrees with the checkpoint of the tip. Raises LedgerError."""
        edge = medium.edge(tip.size)
        if tip.size == 0 and not tip.note:
            if edge.root() != EMPTY:
                raise self._changed("it holds entries, and its last checkpoint is gone")
            self._begin()
            return edge
        from roadworthy.ledger.checkpoint import Checkpoint, Note, NoteError

        try:
            note = Note.parse(tip.note, unsigned=True)
            said = Checkpoint.parse(note.text)
        except NoteError as broken:
            raise self._changed(f"its last checkpoint is damaged ({broken.text})") from broken
        if said.origin != self.origin or said.size != tip.size:
            raise self._changed(f"its last checkpoint is for {said.size} entries of {said.origin!r}")
        if said.root != edge.root():
            raise self._changed("its last entries are not those that its last checkpoint was written for")
        controls = self._counted(tip.size, medium)
        # A ledger of an earlier form has no such line until its next commit.
        if said.extensions != controls.lines() and (said.extensions or note.signatures):
            raise self._changed("stops, levels or signatures were taken out of it or changed")
        self._controls, self._controlled = controls, tip.size
        if not note.signatures:
            self._begin()
        elif self._keys is None:
            raise LedgerError(
                f"the ledger {self._name} is signed, and is written to only with its vault: give vault=…, --vault "
                "or ROADWORTHY_VAULT, the one that it was made with"
            )
        else:
            self.key = self._signer(note, self._keys)
            self._signed()
        return edge

    def _counted(self, size: int, medium: Medium) -> Controls:
        """The hash over the stops and the like that are there. Raises LedgerError for what is no entry."""
        found = self._controls
        for group in medium.controls(self._controlled):
            for seq, line in enumerate(group.lines, start=group.first):
                if self._controlled < seq <= size and entry_of_head(line).kind in CONTROLS:
                    found = found.plus(leaf_hash(line))
        return found

    def _begin(self) -> None:
        """Take a key for a ledger that nobody has signed. Raises LedgerError where somebody had."""
        if self._keys is None:
            return
        # Else whoever can write the file takes the signature away, and the next commit signs what they have written.
        if self._keys.has_signed():
            raise self._changed("its last checkpoint bears no signature, and earlier ones did")
        if self.key is None:
            self.key = self._keys.new()

    def _signed(self) -> None:
        """A checkpoint with our signature is in the ledger: from now on there is none without."""
        if self._keys is not None and not self._noted:
            with contextlib.suppress(LedgerError):  # what was committed stays so; the next commit tries again
                self._keys.note_signed()
                self._noted = True

    def _signer(self, note: Note, keys: Keys) -> LogKey:
        """The key that has signed a checkpoint; where there was a new one, that is the last of two.

        Another process may have brought it into use. Raises LedgerError where it is none that the vault has.
        """
        from roadworthy.ledger.checkpoint import NoteError

        signed = [one.key_id for one in note.signatures if one.name == self.origin][-1:]
        known = [self.key] if self.key is not None and [self.key.verifier.key_id] == signed else keys.known()
        for key in known:
            if [key.verifier.key_id] == signed:
                try:
                    note.checked([key.verifier])
                except NoteError as wrong:
                    raise self._changed("the signature under its last checkpoint is not right") from wrong
                return key
        if not known:
            raise LedgerError(
                f"the ledger {self._name} was signed with another vault: this one has no key for it. Nothing was "
                "appended. Give the vault that it was made with, under vault=…, --vault or ROADWORTHY_VAULT"
            )
        raise self._changed("its last checkpoint was not signed with the key that this vault has for it")

    def _changed(self, what: str) -> LedgerError:
        return LedgerError(
            f"the ledger {self._name} is not what was written: {what}. Nothing was appended. `roadworthy ledger "
            "verify` says what was changed; restore it from a backup, or begin another one"
        )

    def compose(self, appends: Sequence[Append], medium: Medium) -> Composed:
        """Place the appends after the tip. Those whose guards do not hold are left out, whole."""
        assert self._tip is not None, "follow() comes first"
        edge = self._edge
        seq = edge.size
        composed = Composed(self._tip, self.key, [], self._controls)
        tally: Tally | None = None
        leaves: list[bytes] = []
        if self.key is not None and _GAP not in self._tip.note:
            at = next((bundle.at for given, _ in appends for bundle in given), 0)
            seq = self._place(_first_key(self.key, at), seq, composed, leaves, medium)[0]
        for given, guards in appends:
            if guards:
                tally = tally or Tally(medium.total, medium.claimed)
                conflict = tally.admit(guards)
                if conflict is not None:
                    composed.results.append(conflict)
                    continue
            seq, written = self._place(given, seq, composed, leaves, medium)
            composed.results.append(written)
        if tally is not None:
            composed.totals, composed.claims = tally.totals, tally.claims
        if leaves:
            first = edge.size + 1
            composed.tiles = edge.extend(leaves)
            composed.key = self._successor(composed)
            for kind, at in composed.sought:
                if kind in CONTROLS:
                    composed.controls = composed.controls.plus(leaves[at - first])
            composed.tip = Tip(edge.size, self._note(edge, composed.controls, composed.key))
        return composed

    def _successor(self, composed: Composed) -> LogKey | None:
        """The key that is in use after a commit: another one where an entry brings it into use, signed by the last."""
        key = self.key
        places = [seq for kind, seq in composed.sought if kind == "key"]
        if key is None or self._keys is None or not places:
            return key
        from roadworthy.ledger.rotation import followed

        known = {one.verifier: one for one in self._keys.known()}
        for group in composed.groups:
            for seq in places:
                if group.first <= seq <= group.last:
                    new = followed(key.verifier, entry_of_head(group.lines[seq - group.first]).body, self.origin)
                    key = key if isinstance(new, str) else known.get(new, key)
        return key

    def _place(
        self, given: Sequence[Bundle], seq: int, composed: Composed, leaves: list[bytes], medium: Medium
    ) -> tuple[int, list[Group]]:
        runs = self._runs
        written: list[Group] = []
        for bundle in given:
            run, run_seq = bundle.run, 0
            if run is not None:
                last = runs.get(run)
                run_seq = (medium.run_end(run) if last is None else last) + 1
                runs[run] = run_seq + len(bundle.lines) - 1
            group, hashes = placed(bundle, seq + 1, run_seq)
            if bundle.sought:
                composed.sought += [(kind, seq + 1 + i) for kind, i in bundle.sought]
            seq += len(hashes)
            leaves += hashes
            written.append(group)
        composed.groups += written
        return seq, written

    def _note(self, edge: Frontier, controls: Controls, key: LogKey | None) -> str:
        lines = (self.origin, str(edge.size), base64.b64encode(edge.root()).decode(), *controls.lines())
        text = "".join([f"{line}\n" for line in lines])
        if self.key is None or key is None:
            return text
        later = "" if key is self.key else key.sign(text)
        return f"{text}\n{self.key.sign(text)}{later}"

    def keep(self, composed: Composed) -> None:
        """The commit was made."""
        self._tip = composed.tip
        self._controls, self._controlled = composed.controls, composed.tip.size
        self.key = composed.key
        if self.key is not None and _GAP in self._tip.note:
            self._signed()


class Watch:
    """Holds stops and the like, as they come to gates that run, against what the checkpoints say of them.

    Whoever can write the file can put a row there that lifts a stop; the checkpoint over it they cannot sign. Not
    thread-safe.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._found = Controls()
        self.groups: list[Group] = []
        """All that were learnt, in order."""

    @property
    def last(self) -> int:
        """The seq up to which they were learnt."""
        return self.groups[-1].last if self.groups else 0

    def learn(self, new: Callable[[int], Sequence[Group]], tip: Callable[[], tuple[int, str]]) -> None:
        """Take in what is new after a seq. Raises LedgerError where the checkpoint speaks of others."""
        if not new(self.last):
            return
        # The checkpoint first: what comes after it is of the next one, and is learnt with that.
        size, note = tip()
        groups = [group for group in new(self.last) if group.last <= size]
        if not groups:
            return
        found = self._found
        for group in groups:
            for line in group.lines:
                if entry_of_head(line).kind in CONTROLS:
                    found = found.plus(leaf_hash(line))
        if not _speaks_of(found, note):
            raise LedgerError(
                f"the ledger {self._name} holds a stop, a level or a signature that its last checkpoint does not know, "
                "so somebody has written past it: nothing is taken from it. `roadworthy ledger verify` says what was "
                "changed; restore it from a backup"
            )
        self._found = found
        self.groups += groups


def _speaks_of(controls: Controls, note: str) -> bool:
    """Whether a checkpoint is of just these. One that nobody has signed, of an earlier form, says nothing of them."""
    text, _, signatures = note.partition(_GAP)
    lines = tuple(text.removesuffix("\n").split("\n")[3:])
    return lines == controls.lines() or not (lines or signatures)


def _first_key(key: LogKey, at: int) -> Sequence[Bundle]:
    """The entry that a signed ledger begins with, dated as what is written with it."""
    return bundles([(at, "production", None, "key", None, dumps({"vkey": key.vkey}))])
