"""How each capability may act today: by the contract, by what people have signed, by what was set since.

The level in effect is the lowest of three: the one that stands (the contract's `start`, or what a `level` entry has set
since), the contract's `ceiling`, and the highest level that all roles under `signatures` have signed for:
this contract, or one that it only narrows.
A gate believes no entry: it looks for itself whether a person who may do so has signed it. Anybody may make an agent
more careful, as anybody may stop it; only a signed word of whoever is accountable makes it freer.

A run keeps the levels that it began with, save that it follows every one that is lowered.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from roadworthy.contract.model import Contract
from roadworthy.contract.narrow import only_narrows
from roadworthy.contract.people import People
from roadworthy.contract.recorded import read_again
from roadworthy.core.types import LEVELS, Entry, Level

if TYPE_CHECKING:
    from roadworthy.ledger.store import Appender

RANK: Mapping[Level, int] = {level: rank for rank, level in enumerate(LEVELS)}
"""The higher, the freer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelPolicy:
    """What a contract says about levels."""

    contract: Contract
    agent: str
    digest: str
    accountable: str
    """The person or role that answers for the agent, and so may raise a level."""
    start: Mapping[str, Level]
    ceiling: Mapping[str, Level]
    needed: Mapping[Level, frozenset[str]]
    """By level, all roles that must have signed before it is used, those of the levels below it among them."""
    people: People | None


def compile_levels(contract: Contract) -> LevelPolicy:
    """What a contract says about levels, looked up once."""
    needed: dict[Level, frozenset[str]] = {}
    roles: frozenset[str] = frozenset()
    for level in LEVELS:
        roles |= frozenset(contract.signatures.get(level, ()))
        needed[level] = roles
    return LevelPolicy(
        contract=contract,
        agent=contract.agent,
        digest=contract.digest,
        accountable=contract.owner.accountable,
        start={name: spec.autonomy.start for name, spec in contract.capabilities.items()},
        ceiling={name: spec.autonomy.ceiling for name, spec in contract.capabilities.items()},
        needed=needed,
        people=contract.members,
    )


# What people sign ----------------------------------------------------------------------------------------------------


def signature_body(contract: Contract, *, level: Level, role: str, by: str) -> dict[str, Any]:
    """What a person signs who allows a contract to be used at a level: `keys.seal` it for the purpose `contract`."""
    return {
        "agent": contract.agent,
        "version": contract.version,
        "contract": contract.digest,
        "level": level,
        "role": role,
        "by": by,
    }


def signature_fault(policy: LevelPolicy, body: Mapping[str, Any]) -> str | None:
    """Why the body of a `signature` entry counts for nothing; None where it counts.

    A signature for a level is one for the levels below it, too. That it is about another version of the contract is no
    fault of its own.
    """
    people, by, role = policy.people, body.get("by"), body.get("role")
    if body.get("agent") != policy.agent:
        return f"it is about another agent than {policy.agent}"
    if body.get("level") not in LEVELS:
        return f"{body.get('level')!r} is no level"
    if people is None:
        return "the contract names no `people`, so nobody can sign it"
    if not isinstance(by, str) or not isinstance(role, str) or not people.holds(by, role):
        return f"{by!r} does not hold the role {role!r}"
    if not people.sealed("contract", body):
        return f"this is not the signature of {by} under it"
    return None


def level_body(
    *, ledger: str, agent: str, capability: str, level: Level, because: str, by: str, nonce: str | None = None
) -> dict[str, Any]:
    """The body of a `level` entry. Where a level is raised, `keys.seal` it for the purpose `level`.

    `ledger`: its id. `nonce`: random; drawn here unless it is given.
    """
    return {
        "ledger": ledger,
        "agent": agent,
        "capability": capability,
        "level": level,
        "because": because,
        "by": by,
        "nonce": nonce or secrets.token_hex(16),
    }


# What is in effect ---------------------------------------------------------------------------------------------------


class Levels:
    """The levels of one contract in one ledger. Grows with the entries that control gates; safe to share."""

    __slots__ = ("_changes", "_inherited", "_levels", "_lock", "_nonces", "_signed", "ledger", "policy", "seen")

    def __init__(self, policy: LevelPolicy, ledger: str) -> None:
        self.policy = policy
        self.ledger = ledger
        """The id of the ledger, to which a level that is raised must be bound."""
        self.seen = 0
        """The seq up to which entries are taken in."""
        self._levels: dict[str, Level] = dict(policy.start)
        self._signed: dict[str, set[tuple[Level, str]]] = {}
        self._inherited: dict[str, bool] = {}
        self._nonces: set[str] = set()
        self._changes: list[tuple[int, str, Level]] = []
        self._lock = Lock()

    def refresh(self, ledger: Appender) -> None:
        """Take in what was written since. Takes microseconds where nothing was."""
        found = ledger.controls(self.seen)
        if found:
            self.feed(found)
            self._inherit(ledger)

    def feed(self, entries: Iterable[Entry]) -> None:
        """Take entries in, in order; those that were taken in before are passed over, and so are all other kinds."""
        with self._lock:
            for entry in entries:
                if entry.seq <= self.seen:
                    continue
                self.seen = entry.seq
                if entry.world != "production":
                    continue
                if entry.kind == "level":
                    self._set(entry)
                elif entry.kind == "signature" and signature_fault(self.policy, entry.body) is None:
                    body = entry.body
                    self._signed.setdefault(str(body.get("contract")), set()).add((body["level"], body["role"]))

    @property
    def cap(self) -> Level:
        """The highest level that this contract is signed for."""
        highest: Level = "shadow"
        for level in LEVELS:
            if self.missing(level):
                break
            highest = level
        return highest

    def missing(self, level: Level) -> frozenset[str]:
        """The roles that have not signed for a level, neither this contract nor one that it only narrows."""
        needed = self.policy.needed[level]
        if not needed:
            return needed
        digests = [self.policy.digest, *(digest for digest, narrower in list(self._inherited.items()) if narrower)]
        signed = [pair for digest in digests for pair in list(self._signed.get(digest, ()))]
        return needed - {role for given, role in signed if RANK[given] >= RANK[level]}

    @property
    def levels(self) -> dict[str, Level]:
        """The level of each capability now: what a run begins with."""
        return self.now[0]

    @property
    def now(self) -> tuple[dict[str, Level], int]:
        """The level of each capability, and the seq up to which entries are in it: what `bound` asks for later."""
        with self._lock:
            cap = self.cap
            return {name: self._effective(name, level, cap) for name, level in self._levels.items()}, self.seen

    def bound(self, levels: Mapping[str, Level], after: int) -> dict[str, Level]:
        """The levels of a run that has followed the ledger up to `after`: some may be lower now, none is higher."""
        with self._lock:
            bound = dict(levels)
            for seq, name, level in reversed(self._changes):
                if seq <= after:
                    break
                if RANK[level] < RANK[bound.get(name, "shadow")]:
                    bound[name] = level
            return bound

    def fault(self, body: Mapping[str, Any]) -> str | None:
        """Why the body of a `level` entry would have no effect now, in words; None where it would have one."""
        with self._lock:
            return self._fault(body)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _inherit(self, ledger: Appender) -> None:
        """Look at the signed contracts that this one may only narrow, where its own signatures are not enough."""
        policy = self.policy
        with self._lock:
            others = self._signed.keys() - self._inherited.keys() - {policy.digest}
            if not others or self.cap == LEVELS[-1]:
                return
        for entry in ledger.entries(kind="contract"):
            digest = entry.body.get("digest")
            if isinstance(digest, str) and digest in others:
                # What a ledger says of a contract is believed as far as it has the digest that was signed.
                old = read_again(entry.body, policy.people)
                if old is not None:
                    narrower = only_narrows(policy.contract, old)
                    with self._lock:
                        self._inherited[digest] = narrower

    def _effective(self, name: str, level: Level, cap: Level) -> Level:
        return min(level, self.policy.ceiling[name], cap, key=RANK.__getitem__)

    def _set(self, entry: Entry) -> None:
        body = entry.body
        if self._fault(body) is not None:
            return
        name, level = cast("str", body["capability"]), cast("Level", body["level"])
        # Whatever it was good for, it was used: else one that raised nothing today could be written again tomorrow.
        self._nonces.add(str(body.get("nonce")))
        if RANK[level] < RANK[self._levels[name]]:
            self._changes.append((entry.seq, name, level))
        self._levels[name] = level

    def _fault(self, body: Mapping[str, Any]) -> str | None:
        policy = self.policy
        name, level = body.get("capability"), body.get("level")
        if body.get("agent") != policy.agent:
            return f"it is about another agent than {policy.agent}"
        if not isinstance(name, str) or name not in self._levels:
            return f"the contract has no capability {name!r}"
        if not isinstance(level, str) or level not in LEVELS:
            return f"{level!r} is no level; write one of {', '.join(LEVELS)}"
        if RANK[level] <= RANK[self._levels[name]]:
            return None
        if RANK[level] > RANK[policy.ceiling[name]]:
            return f"the ceiling of {name} is {policy.ceiling[name]}; a higher level needs a change of the contract"
        people, by, nonce = policy.people, body.get("by"), body.get("nonce")
        if people is None:
            return None
        if body.get("ledger") != self.ledger:
            return "it was signed for another ledger"
        if not isinstance(nonce, str) or not nonce or nonce in self._nonces:
            return "it has no nonce, or one that was used before"
        if not isinstance(by, str) or not (by == policy.accountable or people.holds(by, policy.accountable)):
            return f"a level is raised by {policy.accountable}, who is accountable, and {by!r} is not"
        if not people.sealed("level", body):
            return f"this is not the signature of {by} under it"
        return None
