"""`roadworthy ledger explain`: why one action was allowed, held or denied."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from roadworthy.cli.ledger.show import COLOURS
from roadworthy.cli.ledgers import Book, VaultChoice, reading
from roadworthy.cli.terminal import json_line, out, shown
from roadworthy.gate.signed import narrows
from roadworthy.ledger.explain import explain as explained
from roadworthy.ledger.explain import in_words


def command(
    ledger: Book,
    action: Annotated[str, typer.Argument(help="The action's id, or RUN#3 for the third action of a run.")],
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="All of it as a line of JSON, uncut.")] = False,
) -> int:
    """Explain one action: who wanted it, by which contract, what was ruled and why, who agreed, and what came of it.

    The ledger is only read. Exit codes: 0 explained, 2 no such ledger or action.
    """
    with reading(ledger, vault) as opened:
        found = explained(opened, action, inherits=narrows)
    if json:
        json_line(asdict(found))
        return 0
    for label, text in in_words(found):
        first, *more = shown(text).split("\n")
        label = shown(label, lines=False)
        out().print(Text.assemble((f"{label:<9}", COLOURS.get(label, "bold")), " ", first))
        for line in more:
            out().print(Text(" " * 10 + line))
    return 0
