"""How the verbs are told which ledger is meant and which vault holds its keys, and how they open it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from roadworthy.core.errors import UsageError
from roadworthy.ledger.address import file_of, on_server, told
from roadworthy.ledger.engine import Outdated
from roadworthy.ledger.store import Ledger

LEDGER_ENV: Final = "ROADWORTHY_LEDGER"
"""Names the ledger where no option does."""
VAULT_ENV: Final = "ROADWORTHY_VAULT"
"""Names the vault where no option does."""

_MEANS: Final = "a path, or postgresql://HOST/DATABASE"

Book = Annotated[str, typer.Argument(metavar="LEDGER", help=f"The ledger: {_MEANS}.")]
"""The ledger as the verb's first argument."""
GateBook = Annotated[
    str, typer.Option("--ledger", envvar=LEDGER_ENV, help=f"The ledger that the agent's gates write to: {_MEANS}.")
]
"""The ledger as an option that has no default."""
VaultChoice = Annotated[
    str | None,
    typer.Option(
        "--vault", envvar=VAULT_ENV, help="The vault with the ledger's keys: a path, or postgresql://HOST/DATABASE."
    ),
]
"""The vault, which every verb that opens a ledger takes."""


def reading(ledger: str, vault: str | None) -> Ledger:
    """A ledger that is only read. Raises LedgerError."""
    return Ledger.open(ledger, read_only=True, vault=vault)


def appending(ledger: str, vault: str | None, *, create: bool = False) -> Ledger:
    """A ledger that is there and may be appended to; `create`: one that is not there is made.

    Never makes a ledger out of something else: an empty file, opened to write, would become one that no gate reads.
    Raises UsageError where there is none, LedgerError.
    """
    there = _is_there(ledger)
    if not there and not create:
        raise UsageError(f"there is no ledger at {told(ledger)}: give the one that the agent's gates write to")
    if there and not (create and on_server(ledger)):
        # Refuses what is no ledger yet; one of an earlier version is brought up to date below.
        with suppress(Outdated), reading(ledger, vault):
            pass
    return Ledger.open(ledger, vault=vault)


def its_folder(ledger: str) -> Mapping[str, Path]:
    """The folder that a ledger lies in, with what it is: no private key may lie there. Empty for one on a server."""
    file = file_of(ledger)
    return {} if file is None else {"the ledger's folder": file.absolute().parent}


def _is_there(ledger: str) -> bool:
    """False where it is known that there is none; only a server knows what it holds."""
    file = file_of(ledger)
    if file is not None:
        return file.exists()
    if not on_server(ledger):
        raise UsageError("a ledger in memory is gone when the command ends: give a path, or postgresql://HOST/DATABASE")
    return True
