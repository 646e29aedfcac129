"""Literals of conditions, judged when the contract is loaded by the engine that will read them later."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache, lru_cache

from cel_expr_python import cel  # pyright: ignore[reportMissingTypeStubs]  # its .pyi lies in the package
from google.protobuf import wrappers_pb2

_MEANT = {
    "duration": 'write a number and h, m, s or ms, such as duration("36h") or duration("1h30m")',
    "timestamp": 'write date, time and zone, such as timestamp("2026-03-31T14:30:00Z")',
    "int": "write a whole number",
    "double": "write a number such as 12.5",
    "bool": 'write "true" or "false"',
}
_DAYS = re.compile(r"(\d+)d")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_KEPT = 64


@cache
def _env() -> cel.Env:
    return cel.NewEnv(variables={"s": cel.Type("google.protobuf.StringValue")})


def quoted(text: str) -> str:
    """A text as a CEL literal."""
    return json.dumps(text, ensure_ascii=False)


def regex_fault(pattern: str) -> str | None:
    """Why a pattern is no regular expression of RE2, and the cure; None where it is one."""
    value = _env().compile(f"''.matches({quoted(pattern)})").eval().value()
    if value is True or value is False:
        return None
    reason = str(value).split("invalid regular expression:")[-1].strip()
    return f"{quoted(pattern)} is no regular expression ({reason}); to find the characters themselves use contains()"


@lru_cache(maxsize=256)
def regex(pattern: str) -> Callable[[str], bool]:
    """Whether a text matches, by RE2, as CEL does it; the latest texts are remembered. Raises ValueError."""
    env = _env()
    expression = env.compile(f"s.matches({quoted(pattern)})")
    wrap, activation = wrappers_pb2.StringValue, env.Activation

    @lru_cache(maxsize=_KEPT)
    def matches(text: str) -> bool:
        value = expression.eval(activation({"s": wrap(value=text)})).value()
        if value is not True and value is not False:
            raise ValueError(str(value))
        return value

    return matches


def conversion_fault(function: str, text: str) -> str | None:
    """Why a literal cannot be converted, and the cure; None where it can."""
    call = f"{function}({quoted(text)})"
    value = _env().compile(f"type({call}) == type({call})").eval().value()
    if value is True:
        return None
    cure = _MEANT[function]
    days = _DAYS.fullmatch(text)
    if function == "duration" and days is not None:
        cure = f'CEL has no days; write duration("{int(days[1]) * 24}h")'
    elif function == "timestamp" and _DAY.fullmatch(text):
        cure = (
            f'write the time and the zone, too, such as timestamp("{text}T00:00:00Z"), or compare `today == "{text}"`'
        )
    return f"{call} is no {function}; {cure}"


def zone_fault(zone: str) -> str | None:
    """Why a time zone is not known; None where it is."""
    value = _env().compile(f"timestamp('2026-01-01T00:00:00Z').getHours({quoted(zone)}) >= 0").eval().value()
    if value is True:
        return None
    return f'{quoted(zone)} is no time zone of this machine; write one such as "Europe/Berlin" or "+01:00"'
