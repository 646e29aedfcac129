"""Which versions of a contract a ledger knows, and who has signed them.

What counts is what counts for a gate: signatures by people whom the contract at hand names, over a contract that the
ledger holds under the digest that was signed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, cast

from roadworthy.contract.model import Contract
from roadworthy.contract.narrow import only_narrows
from roadworthy.contract.recorded import read_again
from roadworthy.core.errors import UsageError
from roadworthy.core.types import LEVELS, Entry, Kind, Level
from roadworthy.gate.levels import RANK, compile_levels, signature_fault

_SHOWN = 12
"""So many characters of a digest are told."""


class Reader(Protocol):
    """What is asked of a ledger."""

    def entries(self, *, kind: Kind | None = None) -> Iterator[Entry]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One person's word for one version."""

    by: str
    role: str
    level: Level
    at: datetime
    version: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a ledger's signatures come to for a contract."""

    own: tuple[Signature, ...]
    """Those of this very version, in the order of the ledger."""
    inherited: tuple[Signature, ...]
    """Those of versions that it only narrows: they hold for it, too."""
    last: Contract | None
    """The version that was signed last; None where none was, or where the ledger does not hold it."""
    missing: Mapping[Level, tuple[str, ...]]
    """By level, the roles that have not signed for it yet."""


def signatures(contract: Contract, ledger: Reader) -> list[Signature]:
    """All signatures for versions of this agent's contract that count, in the order of the ledger."""
    policy = compile_levels(contract)
    found: list[Signature] = []
    for entry in ledger.entries(kind="signature"):
        body = entry.body
        if entry.world == "production" and signature_fault(policy, body) is None:
            found.append(
                Signature(
                    by=str(body["by"]),
                    role=str(body["role"]),
                    level=cast("Level", body["level"]),
                    at=entry.at,
                    version=str(body.get("version", "")),
                    digest=str(body.get("contract", "")),
                )
            )
    return found


def standing(contract: Contract, ledger: Reader) -> Standing:
    """What has been signed of a contract, and what it has inherited."""
    every = signatures(contract, ledger)
    held = _recorded(ledger, contract.agent)
    last: Contract | None = None
    narrowed: dict[str, bool] = {contract.digest: False}
    for one in every:
        old = contract if one.digest == contract.digest else read_again(held.get(one.digest), contract.members)
        if old is not None:
            last = old
            narrowed.setdefault(one.digest, only_narrows(contract, old))
    own = tuple(one for one in every if one.digest == contract.digest)
    inherited = tuple(one for one in every if narrowed.get(one.digest))
    roles: set[str] = set()
    missing: dict[Level, tuple[str, ...]] = {}
    for level in LEVELS:
        roles |= set(contract.signatures.get(level, ()))
        given = {one.role for one in (*own, *inherited) if RANK[one.level] >= RANK[level]}
        missing[level] = tuple(sorted(roles - given))
    return Standing(own=own, inherited=inherited, last=last, missing=missing)


def last_signed(contract: Contract, ledger: Reader) -> Contract:
    """The version of a contract that was signed last, beside the one at hand.

    Raises UsageError where no other version was signed, or where the ledger does not hold it.
    """
    held = _recorded(ledger, contract.agent)
    for one in reversed(signatures(contract, ledger)):
        if one.digest == contract.digest:
            continue
        old = read_again(held.get(one.digest), contract.members)
        if old is not None:
            return old
    known = ", ".join(f"{body.get('version')} ({digest[:_SHOWN]})" for digest, body in held.items())
    cure = f"name one with --digest: {known}" if known else "it holds no version of it at all"
    raise UsageError(f"no earlier version of {contract.agent} was signed in this ledger by today's people; {cure}")


def version_of(ledger: Reader, digest: str, contract: Contract) -> Contract:
    """The version with a digest, or with one that begins so. Raises UsageError where there is none, or more than one.

    `contract`: another version, whose people stand in where the ledger holds none.
    """
    held = _recorded(ledger, contract.agent)
    fitting = [known for known in held if known.startswith(digest)]
    if len(fitting) != 1:
        known = ", ".join(f"{body.get('version')} ({name[:_SHOWN]})" for name, body in held.items()) or "none"
        many = "several versions have" if fitting else "no version has"
        raise UsageError(f"{many} a digest that begins with {digest!r}; the ledger holds of {contract.agent}: {known}")
    old = read_again(held[fitting[0]], contract.members)
    if old is None:
        raise UsageError(
            f"what the ledger holds as {fitting[0][:_SHOWN]} is no contract of that digest: it was made by another "
            "release, or changed; `roadworthy ledger verify` tells which"
        )
    return old


def _recorded(ledger: Reader, agent: str) -> dict[str, Mapping[str, Any]]:
    """The bodies of the `contract` entries of an agent, by digest; one with people goes before one without."""
    found: dict[str, Mapping[str, Any]] = {}
    for entry in ledger.entries(kind="contract"):
        digest = entry.body.get("digest")
        if entry.body.get("agent") != agent or not isinstance(digest, str):
            continue
        if digest not in found or "people" in entry.body:
            found[digest] = entry.body
    return found


def narrows(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether the contract in the body of one `contract` entry only narrows that in another; False where either cannot
    be read.
    """
    newer, older = read_again(new), read_again(old)
    return newer is not None and older is not None and only_narrows(newer, older)
