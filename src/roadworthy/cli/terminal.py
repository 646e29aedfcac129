"""What the verbs write to: people read text, programs read lines of JSON.

Everything that came from a user, a model or a tool goes through `shown` before it reaches a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from rich.cells import cell_len
from rich.console import Console

from roadworthy.core.visible import visible


def out() -> Console:
    """A console on standard output. It reads no markup and paints no emoji, so text stays what it is."""
    return Console(markup=False, highlight=False, emoji=False, soft_wrap=True)


def err() -> Console:
    """A console on standard error, as plain as `out`."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def shown(text: str, *, lines: bool = True) -> str:
    """Text of strangers, with control and bidirectional characters as code points and tabs as blanks.

    `lines=False` keeps the result on one line.
    """
    return visible(text.replace("\t", "    "), lines=lines)


def json_line(value: Mapping[str, Any]) -> None:
    """Write one line of JSON to standard output. Times, dates and dataclasses are written as JSON knows them."""
    try:
        line = orjson.dumps(value, default=str).decode()
    except TypeError:  # integers and broken text that tools may send and orjson refuses
        line = json.dumps(value, default=str, separators=(",", ":"))
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table, every column as wide as its widest cell; cells are shown safely, on one line."""
    lines = [[shown(cell, lines=False) for cell in row] for row in (header, *rows)]
    widths = [max(cell_len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
