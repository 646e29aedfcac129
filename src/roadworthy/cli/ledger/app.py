"""`roadworthy ledger`: the verbs that read a ledger, prove it, and hand on or give up what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

import typer

VERBS: Final = (
    "show",
    "explain",
    "replay",
    "report",
    "verify",
    "export",
    "prune",
    "signal",
    "erase",
    "receipt",
    "key",
    "witness",
    "cosign",
)
"""In the order of `roadworthy ledger --help`. Each is a file of this folder that has a function `command`."""



def application(words: Sequence[str]) -> typer.Typer:
    """The verbs for this command line: where it names one of them, only that one is imported."""
    named = [word for word in words if word in VERBS][:1]
    app = typer.Typer(add_completion=False)
    app.callback()(group)
    for verb in VERBS:
        if named and verb not in named:
            app.command(verb)(_not_asked_for)
        else:
            app.command(verb)(import_module(f"roadworthy.cli.ledger.{verb}").command)
    return app


def group() -> None:
    """Read what an agent did, prove that nobody has changed it, and hand it on."""


def _not_asked_for() -> NoReturn:
    raise AssertionError("only the verb that the command line names is run")
