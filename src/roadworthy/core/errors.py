"""What can go wrong, by who must act.

    RoadworthyError
    ├── ContractError      the author of the contract: every finding with file, line and cure
    ├── UsageError         the caller: an argument, a file or a command line is not what it must be
    │   ├── ScenarioError  the author of a scenario
    │   └── RunsError      whoever recorded the runs file
    ├── LedgerError        whoever runs the machine: disk, lock, version
    │   ├── Conflict       the caller: somebody was first, or a budget is used up
    │   └── Unreadable     nobody, for what was erased; else whoever has the vault, or a backup
    ├── HarnessError       the trials themselves are broken; never counted as the agent's failure
    └── Suspended          nobody: the run waits for a person

Every error has a stable code, the facts as attributes, and a text that says what, where and what to do.
The command line turns each of them into exit code 2 and its text, never a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Literal

from roadworthy.core.types import Guard, Reservation, Withheld


def told_why(error: Exception) -> str:
    """Why something failed, in the words of the operating system where it says so, without its number and the path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class RoadworthyError(Exception):
    """The root of all errors that Roadworthy raises on purpose."""

    code: ClassVar[str] = "RW-000"

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"[{self.code}] {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong with a file, at a place."""

    text: str
    """What is wrong and what to do."""
    path: tuple[str | int, ...] = ()
    """Where in the document, from its root: `("tools", "billing.refund", "args", "amount")`."""
    file: str | None = None
    line: int | None = None
    """Counted from 1."""
    column: int | None = None
    """Counted from 1."""
    code: str = "contract"
    """A stable word for programs."""
    severity: Literal["error", "warning", "note"] = "error"
    """`error`: it cannot be used; `warning`: somebody should act; `note`: worth knowing."""

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place = f"{place}:{self.line}:{self.column or 1}"
        where = ".".join(str(p) for p in self.path)
        return ": ".join(part for part in (place, where, self.text) if part)


class ContractError(RoadworthyError):
    """A contract cannot be loaded, or a gate cannot keep what it says. Holds every finding, not only the first."""

    code = "RW-101"

    def __init__(self, findings: Sequence[Finding] | str) -> None:
        if isinstance(findings, str):
            findings = [Finding(text=findings)]
        self.findings = tuple(findings)
        super().__init__("\n".join(str(f) for f in self.findings))


class UsageError(RoadworthyError):
    """An argument, a file or a command line is not what it must be."""

    code = "RW-201"


class ScenarioError(UsageError):
    """A scenario cannot be run as it is written."""

    code = "RW-202"


class RunsError(UsageError):
    """A recorded-runs file, or a line of it, cannot be read."""

    code = "RW-203"


class LedgerError(RoadworthyError):
    """The ledger cannot be read or written. What was acknowledged before stays."""

    code = "RW-301"


class Conflict(LedgerError):
    """A guard of an append did not hold, so nothing of that append was written. The ledger itself is well."""

    code = "RW-302"

    def __init__(self, guard: Guard, found: Decimal | str) -> None:
        if isinstance(guard, Reservation):
            text = (
                f"{guard.account} holds {found}, and {guard.amount} more would pass its limit of {guard.limit}; "
                "nothing was written. Ask for less, or wait until something is given back"
            )
        else:
            text = f"{guard.key} was claimed before, for {found}; nothing was written. Go by what stands there"
        super().__init__(text)
        self.guard = guard
        """The first one that did not hold."""
        self.found = found
        """What the account holds now, or what stands behind the claimed key."""


class Unreadable(LedgerError):
    """What a run did cannot be read to its end, so nothing is done in it on a guess. Other runs go on as ever."""

    code = "RW-303"

    def __init__(self, run: str | None, why: Withheld | None, text: str, *, last: int = 0) -> None:
        super().__init__(text)
        self.run = run
        self.last = last
        """The seq of the last entry that is lost with it, where bytes are damaged; reading may go on after it."""
        self.why: Withheld | None = why
        """`erased`, for good; `sealed`: it can be read with the vault; None: it is not what was written."""


class HarnessError(RoadworthyError):
    """The trials themselves are broken: a world, a fault, a scorer or a simulated user."""

    code = "RW-401"


class Suspended(RoadworthyError):
    """A run stopped because a person must decide first."""

    code = "RW-501"

    def __init__(self, run: str, text: str) -> None:
        super().__init__(text)
        self.run = run
        self.within = False
        """It comes out of a tool that is another agent: driven again, the run goes on in there."""
