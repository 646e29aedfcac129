"""Stopping an agent, and letting it go again.

Anybody may stop. Where the contract names people, a stop is taken back by a signed word of whoever is accountable
under `owner`: else whoever can write to the ledger could wave a stop away.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from roadworthy.contract.model import Contract


def stop_body(*, capability: str | None, because: str, by: str) -> dict[str, Any]:
    """The body of a `stop` entry that stops a capability, or with None the whole agent."""
    return {"capability": capability, "because": because, "by": by, "lifted": False}


def lift_body(
    *, ledger: str, capability: str | None, because: str, by: str, nonce: str | None = None
) -> dict[str, Any]:
    """The body of a `stop` entry that takes one back. Where people are named, `keys.seal` it for the purpose `stop`.

    `ledger`: its id. `nonce`: random; drawn here unless it is given.
    """
    body = {"capability": capability, "because": because, "by": by, "lifted": True}
    return {**body, "ledger": ledger, "nonce": nonce or secrets.token_hex(16)}


class Stops:
    """What is stopped in one ledger, as one contract judges it. Grows with the ledger's `stop` entries."""

    __slots__ = ("_contract", "_ledger", "_nonces", "standing")

    def __init__(self, contract: Contract, ledger: str) -> None:
        self._contract = contract
        self._ledger = ledger
        self._nonces: set[str] = set()
        self.standing: dict[str | None, str] = {}
        """What is stopped, and why: a capability, or None for the whole agent."""

    def feed(self, body: Mapping[str, Any]) -> None:
        """Take in the body of a `stop` entry, in order. A lift that nobody has signed who may changes nothing."""
        capability = body.get("capability")
        if not body.get("lifted"):
            self.standing[capability] = f"{body.get('because')}, by {body.get('by')}"
        elif self.fault(body) is None:
            self._nonces.add(str(body.get("nonce")))
            self.standing.pop(capability, None)

    def fault(self, body: Mapping[str, Any]) -> str | None:
        """Why a lift would have no effect, in words; None where it has one."""
        people, by, nonce = self._contract.members, body.get("by"), body.get("nonce")
        if people is None:
            return None
        accountable = self._contract.owner.accountable
        if body.get("ledger") != self._ledger:
            return "it was signed for another ledger"
        if not isinstance(nonce, str) or not nonce or nonce in self._nonces:
            return "it has no nonce, or one that was used before"
        if not isinstance(by, str) or not (by == accountable or people.holds(by, accountable)):
            return f"a stop is taken back by {accountable}, who is accountable, and {by!r} is not"
        if not people.sealed("stop", body):
            return f"it is not signed by {by}"
        return None
