"""The few shapes that everything in Roadworthy passes around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

Ruling = Literal["allow", "clarify", "ask", "deny"]
"""What the gate says about an action. Strictest first: deny, clarify, ask, allow."""

Level = Literal["shadow", "approval", "autonomous"]
"""How a capability may act today."""

Done = Literal["executed", "simulated", "held", "blocked"]
"""What then happened to an action: a second fact beside the ruling, never the same field."""

Status = Literal["ok", "denied", "clarify", "held", "failed", "in_doubt"]
"""What the model is told about an action."""

Realm = Literal["test", "shadow", "production"]
"""Where an entry comes from. Trials never feed what is learned from, or spent in, production."""

Kind = Literal[
    "contract", "run", "heard", "said", "action", "verdict", "intent", "outcome", "question", "answer",
    "level", "stop", "signature", "handover", "model_call", "observation", "drift", "budget", "undo",
    "trial", "manifest", "release", "signal", "incident", "erasure", "export", "prune", "key", "gap",
]  # fmt: skip
"""The kinds of ledger entries."""

Withheld = Literal["erased", "sealed"]
"""Why a part of an entry cannot be read."""

LEVELS: tuple[Level, ...] = ("shadow", "approval", "autonomous")
"""All levels, the most careful first."""

STRICTNESS: Mapping[Ruling, int] = {"allow": 0, "ask": 1, "clarify": 2, "deny": 3}
"""How strict a ruling is: the highest number among the reasons of a verdict wins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who runs the agent: the identity that the application has authenticated."""

    name: str
    """A key of the contract's `principals`, where it has any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A tool call that is about to happen."""

    id: str
    """Unique in its ledger."""
    run: str
    principal: str
    subject: str | None
    """The key of the entity that the run acts for, once that is known."""
    capability: str | None
    """The open capability under which the call is judged; None where only common tools are open."""
    tool: str
    """The contract's name of the tool, not the model's."""
    args: Mapping[str, Any]
    """Typed by the tool's schema: decimals are Decimal, absent optional arguments are absent."""
    call_id: str | None
    """The model's id of the call, where the framework has one."""
    at: datetime
    """Aware, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One ground of a verdict. A verdict keeps them all, not only the one that decided."""

    rule: str
    """Id of the contract's rule, or the name of a built-in check such as `access` or `values`."""
    code: str
    """A stable word for programs, such as `tool_not_open`."""
    text: str
    """For the model and for people: what was wrong and what would put it right."""
    ruling: Ruling
    enforced: bool = True
    """False: recorded as "would have", with no effect on the ruling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate says about one action."""

    ruling: Ruling
    reasons: tuple[Reason, ...] = ()
    """Strictest first. Empty when nothing spoke against the action."""
    level: Level = "shadow"
    origins: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Where the value of each checked argument was seen; empty until an argument is checked for it."""

    @property
    def rule(self) -> str | None:
        """The rule that decided, or None where nothing spoke against the action."""
        for reason in self.reasons:
            if reason.enforced and reason.ruling == self.ruling:
                return reason.rule
        return None

    @property
    def text(self) -> str:
        """All enforced reasons in one line, the deciding ones first."""
        return " ".join(dict.fromkeys(r.text for r in self.reasons if r.enforced))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an adapter gives back to the model. Always a value, never an exception."""

    status: Status
    done: Done
    value: Any = None
    """The tool's result, as the model may see it; None where there is none."""
    text: str = ""
    """The same in words: the result as text, or why there is none and what to do about it."""

    @property
    def ok(self) -> bool:
        """True when there is a result, executed or simulated."""
        return self.status == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An entry before the ledger has given it its place."""

    kind: Kind
    world: Realm
    run: str | None
    """The run it belongs to; None for entries about the whole ledger, such as a stop."""
    body: Mapping[str, Any]
    """Values that `core.canonical` can write."""
    at: datetime
    cause: str | None = None
    """Id of the action, question or trial that it follows from."""
    subject: str | None = None
    """Whose data the body holds, once that is known: a ledger with a vault encrypts them under this subject's key, and
    what a run writes before its subject is known under a key of the run, which is given up with the subject's."""
    owners: Mapping[str, str] = field(default_factory=dict[str, str])
    """JSON Pointers (RFC 6901) into the body, and the subject to whom what stands there belongs, where that is another
    one. Several stand there with line feeds between them: it can be read until the first of them is erased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One record of the ledger."""

    seq: int
    """Its place: gap-free from 1, in commit order."""
    at: datetime
    world: Realm
    run: str | None
    run_seq: int
    """Its place in its run, gap-free from 1; 0 for entries that belong to no run."""
    kind: Kind
    cause: str | None
    body: Mapping[str, Any]
    """Without the fields that cannot be read; `withheld` says that there are any."""
    withheld: frozenset[Withheld] = frozenset()
    """Why fields are missing: `erased`: their key was given up for good; `sealed`: the vault with their key was not
    given when the ledger was opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A guard of an append: an amount taken from a budget that several runs and processes share.

    It holds where the account's sum with this amount does not pass the limit; then the amount is in the sum.
    """

    account: str
    """Names the budget; accounts begin at 0 and are made when they are first named."""
    amount: Decimal
    """Finite. An amount below 0 gives back, and always holds."""
    limit: Decimal | None
    """The most that the account may then hold; None: as much as it likes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A guard of an append: something that is to happen once. The first to claim a key has it for good."""

    key: str
    value: str
    """What stands behind the key from then on."""
    again: bool = False
    """Whether the claim holds where the key stands with this same value already."""


Guard: TypeAlias = Reservation | Claim
"""What must hold, in the very transaction that writes the entries; where it does not, nothing is written."""
