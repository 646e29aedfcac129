"""`roadworthy ledger key`: the key that a ledger's checkpoints are signed with, and a new one in its place."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from roadworthy.cli.ledgers import Book, VaultChoice, appending, reading
from roadworthy.cli.terminal import err, json_line, out, shown
from roadworthy.core.errors import UsageError
from roadworthy.ledger.rotation import Link, keys_of, rotate

_DEEDS: Final = ("show", "rotate")


def command(
    deed: Annotated[str, typer.Argument(metavar="show|rotate", help="Print the keys, or bring a new one into use.")],
    ledger: Book,
    vault: VaultChoice = None,
    by: Annotated[str | None, typer.Option(help="With rotate: who changes the key.")] = None,
    because: Annotated[str | None, typer.Option(help="With rotate: why.")] = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON for each key.")] = False,
) -> int:
    """Print a ledger's public key, or bring a new one into use.

    `show` prints the key that is in use, and earlier ones on standard error. Give it to whoever shall check the ledger
    or its receipts, and to witnesses. `rotate` needs the vault; the old private key signs for the new one and is then
    destroyed. Exit codes: 0 shown or changed, 1 an entry names a key that came into use by no right, 2 broken input.
    """
    if deed not in _DEEDS:
        raise UsageError(f"there is nothing to do named {deed!r}: it is `key show LEDGER` or `key rotate LEDGER`")
    if deed == "show":
        if by is not None or because is not None:
            raise UsageError("--by and --because are for `key rotate`; `key show` changes nothing")
        return _show(ledger, vault, json=json)
    if not (by or "").strip() or not (because or "").strip():
        raise UsageError("a new key names who wanted it and why: --by and --because must not be empty")
    with appending(ledger, vault) as opened:
        link = rotate(opened, by=by or "", because=because or "")
    if json:
        json_line(_facts(link, in_use=True))
    else:
        out().print(f"{link.key.vkey if link.key else ''}")
        err().print(shown(f"This key signs from entry {link.seq} on. Tell it to those who check, and to witnesses."))
    return 0


def _show(ledger: str, vault: str | None, *, json: bool) -> int:
    with reading(ledger, vault) as opened:
        links = keys_of(opened)
        if not links:
            raise UsageError(
                f"the ledger {opened.name} is not signed: it gets a key with the first entry that is written with a "
                "vault (--vault, ROADWORTHY_VAULT)"
            )
    last = next((link for link in reversed(links) if link.key is not None), None)
    for link in links:
        if json:
            json_line(_facts(link, in_use=link is last))
        elif link.key is None:
            err().print(shown(f"Entry {link.seq} brings no key into use: {link.wrong}.", lines=False))
        elif link is last:
            out().print(link.key.vkey)
        else:
            err().print(f"earlier, from entry {link.seq} on: {link.key.vkey}")
    return 1 if any(link.key is None for link in links) else 0


def _facts(link: Link, *, in_use: bool) -> dict[str, object]:
    return {
        "vkey": None if link.key is None else link.key.vkey,
        "since": link.seq,
        "in_use": in_use,
        "wrong": link.wrong,
    }
