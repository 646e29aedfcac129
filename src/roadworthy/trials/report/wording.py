"""How numbers and reasons are worded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from roadworthy.core.types import Ruling
from roadworthy.trials.results import Rate, ScenarioReport, Turn

AXIS = frozenset({"curated", "messy"})
"""The two conditions that every scenario has one of."""

_PER_CENT = "\u202f%"
"""The sign after a thin space that does not break."""


def percent(value: float) -> str:
    """`0.614` as `61 %`; what is not quite all or nothing never reads as 100 % or 0 %."""
    value = round(value, 9)  # an interval that ends at 1 may fall short of it by the last digit of a float
    shown = round(value * 100)
    if (shown == 100 and value < 1) or (shown == 0 and value > 0):
        near = f"{value * 100:.1f}"
        return f"{'<0.1' if near == '0.0' else '>99.9' if near == '100.0' else near}{_PER_CENT}"
    return f"{shown}{_PER_CENT}"


def interval(rate: Rate) -> str:
    """`84\u2013100 %`; empty where there was no trial."""
    if not rate.trials:
        return ""
    return f"{percent(rate.low).removesuffix(_PER_CENT)}\u2013{percent(rate.high)}"


def required_percent(value: float) -> str:
    """A rate that a contract asks for, with all its digits: `98 %`, `99.5 %`."""
    return f"{value * 100:.4f}".rstrip("0").rstrip(".") + _PER_CENT


def points(value: float) -> str:
    """A difference of rates in points of per cent, with a sign."""
    shown = round(value * 100)
    if shown == 0:
        return "0"
    return f"+{shown}" if shown > 0 else f"\u2212{-shown}"


def words(name: str) -> str:
    """A name of a program as words: `timeout_after_commit` as `timeout after commit`."""
    return name.replace("_", " ").replace("-", " ")


_STARTS = ("missing:", "forbidden:", "check ", "ended ", "the ", "a ", "an ")
"""How reasons start that are words, not names."""


def sentence(text: str) -> str:
    """A reason as a sentence: a capital where it starts with a word, not with a name, and a point at its end."""
    if text.startswith(_STARTS):
        text = text[0].upper() + text[1:]
    text = re.sub(r"(?<=\d) %", _PER_CENT, text)
    return text if not text or text[-1] in ".!?:;\u2026" else text + "."


def capital(text: str) -> str:
    """Words with a capital in front. A name with a line or a point in it keeps its own."""
    return text[0].upper() + text[1:] if text and not re.search("[_.]", text.split(" ", 1)[0]) else text


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 trial`, `2 trials`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


ENDINGS: Mapping[str, str] = {
    "settled": "the agent gave its last reply",
    "escalated": "handed to a person",
    "asked": "a question to the user was left open",
    "held": "an action waits for a person",
    "stopped": "the run was stopped",
    "silent": "the agent came back without a word",
    "crashed": "the agent crashed",
}
"""How a trial ended, in words."""


def curated(scenario: ScenarioReport) -> bool:
    """True for a scenario where nothing is wrong but what a demo shows."""
    return "curated" in scenario.conditions


WOULD: Mapping[Ruling, str] = {
    "deny": "denied",
    "ask": "put to a person",
    "clarify": "put to the user",
    "allow": "allowed",
}
"""What the gate does to a call, after "would have been"."""


def shown(value: Any) -> str:
    """A value of a call or a row, as JSON writes it; money with its digits."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Decimal):
        return format(value, "f")
    return json.dumps(value, ensure_ascii=False, default=str)


def args_of(turn: Turn) -> tuple[tuple[str, str], ...]:
    """The arguments of a call: name and value."""
    return tuple((name, shown(value)) for name, value in (turn.args or {}).items())
