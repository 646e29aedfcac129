"""What the verbs write to: people read text, programs read lines of JSON.

Everything that came from a user, a model or a tool goes through `shown` before it reaches a terminal.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
from rich.cells import cell_len
from rich.console import Console

from roadworthy.core.visible import visible

_STEERING: Final = re.compile("[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""Control, invisible and bidirectional characters that writers of JSON leave as they are."""


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


class _Shown(logging.Formatter):
    """Log lines as people may see them: what strangers say is in some of them."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


def log_to_standard_error() -> None:
    """Warnings of whatever runs here, for verbs that serve until they are told to end."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Shown("roadworthy: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def json_line(value: Mapping[str, Any]) -> None:
    """Write one line of JSON to standard output. Times, dates and dataclasses are written as JSON knows them.

    Such lines end up before people as well, so what would steer a terminal is escaped, which JSON reads as the same.
    """
    try:
        line = orjson.dumps(value, default=str).decode()
    except TypeError:  # integers and broken text that tools may send and orjson refuses
        line = json.dumps(value, default=str, separators=(",", ":"))
    sys.stdout.write(_STEERING.sub(_escaped, line) + "\n")
    sys.stdout.flush()


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table, every column as wide as its widest cell; cells are shown safely, on one line."""
    lines = [[shown(cell, lines=False) for cell in row] for row in (header, *rows)]
    widths = [max(cell_len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
