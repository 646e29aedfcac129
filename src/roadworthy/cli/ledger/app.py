"""`roadworthy ledger`: the verbs that read a ledger, prove it, and hand on or give up what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final, NoReturn

import typer

VERBS: Final[Mapping[str, str]] = {
    "show": "List the runs, or tell one run's story.",
    "explain": "Explain one action: who wanted it, and why it was allowed.",
    "replay": "Decide runs again, under their own contract or another.",
    "report": "Write a page about what an agent did, for auditors.",
    "verify": "Prove that nobody has changed the ledger.",
    "export": "Hand it on, as proofs, archives, recorded runs or spans.",
    "prune": "Give up old runs that an archive holds.",
    "signal": "Report what became known of a run later.",
    "erase": "Erase a person's data: destroy their keys.",
    "receipt": "Prove one entry to somebody else, or check such a proof.",
    "key": "Print the ledger's public key, or bring a new one in.",
    "witness": "Be the witness of ledgers on other machines.",
    "cosign": "Have witnesses sign the ledger's last checkpoint.",
}
"""In the order of `roadworthy ledger --help`, with what it says there. Each is a file that has a function `command`."""


def application(words: Sequence[str]) -> typer.Typer:
    """The verbs for this command line: where it names one of them, only that one is imported."""
    named = [word for word in words if word in VERBS][:1]
    app = typer.Typer(add_completion=False)
    app.callback()(group)
    for verb, about in VERBS.items():
        if named and verb not in named:
            app.command(verb, short_help=about)(_not_asked_for)
        else:
            app.command(verb, short_help=about)(import_module(f"roadworthy.cli.ledger.{verb}").command)
    return app


def group() -> None:
    """Read what an agent did, prove that nobody has changed it, and hand it on."""


def _not_asked_for() -> NoReturn:
    raise AssertionError("only the verb that the command line names is run")
