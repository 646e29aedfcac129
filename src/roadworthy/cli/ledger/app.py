"""`roadworthy ledger`: the verbs that read a ledger, prove it, and hand on or give up what it holds."""

from __future__ import annotations

from importlib import import_module
from typing import Final

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

app = typer.Typer(add_completion=False)


@app.callback()
def group() -> None:
    """Read what an agent did, prove that nobody has changed it, and hand it on."""


for _verb in VERBS:
    app.command(_verb)(import_module(f"roadworthy.cli.ledger.{_verb}").command)
