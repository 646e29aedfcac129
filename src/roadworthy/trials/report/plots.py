"""Where marks stand in a plot. Across, places are in per cent of its width, so that a plot fits a phone and a desk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

_EDGE = 1.5
"""Room at both ends, in per cent of the width, so that a mark at 0 or 1 is not cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A line of the grid with what it stands for."""

    x: str
    text: str
    anchor: str
    """`start`, `middle` or `end`: the outermost texts stay inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """From values to places."""

    low: float
    high: float

    def x(self, value: float) -> str:
        """The place of a value, such as `61.25%`; values beyond the ends stand at the ends."""
        inside = min(max(value, self.low), self.high)
        place = _EDGE + (100 - 2 * _EDGE) * (inside - self.low) / (self.high - self.low)
        return f"{place:.2f}%"

    def ticks(self, step: float, *, signed: bool = False) -> list[Tick]:
        """Lines every `step`, written in per cent."""
        count = round((self.high - self.low) / step)
        found: list[Tick] = []
        for i in range(count + 1):
            value = self.low + i * step
            shown = round(value * 100)
            sign = "" if not signed or shown == 0 else ("+" if shown > 0 else "\u2212")
            text = f"{sign}{abs(shown) if signed else shown}" + ("" if signed else "\u202f%")
            anchor = "start" if i == 0 else "end" if i == count else "middle"
            found.append(Tick(x=self.x(value), text=text, anchor=anchor))
        return found


RATES = Scale(low=0.0, high=1.0)
"""From 0 % to 100 %."""


def difference_scale(lowest: float, highest: float) -> Scale:
    """A scale for differences that holds them all and zero, in steps of a quarter."""
    low = -0.25
    while low > lowest and low > -1:
        low -= 0.25
    high = 0.0
    while high < highest and high < 1:
        high += 0.25
    return Scale(low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A piece of a curve."""

    x1: str
    y1: str
    x2: str
    y2: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A point of a curve."""

    x: str
    y: str


_CURVE_TOP, _CURVE_BOTTOM = 10.0, 130.0
"""The heights of 100 % and 0 % in a plot of curves, in pixels; the template draws its grid there."""

_CURVE_LEFT = 16.0
"""Room for the texts of the grid at the left of a plot of curves, in per cent of its width."""


def _curve_x(k: int, last: int) -> str:
    # Doubling k is one step: the first few repetitions are where curves differ.
    along = math.log2(k) / math.log2(last) if last > 1 else 0.0
    return f"{_CURVE_LEFT + (100 - _EDGE - _CURVE_LEFT) * along:.2f}%"


def curve(values: Mapping[int, float], last: int) -> tuple[list[Dot], list[Segment]]:
    """The marks of pass^k up to k = `last`."""
    dots = [
        Dot(x=_curve_x(k, last), y=f"{_CURVE_BOTTOM - (_CURVE_BOTTOM - _CURVE_TOP) * v:.1f}")
        for k, v in sorted(values.items())
    ]
    return dots, [Segment(x1=a.x, y1=a.y, x2=b.x, y2=b.y) for a, b in pairwise(dots)]


def curve_ticks(last: int) -> list[Tick]:
    """1, 2, 4, ... and `last`, which takes the place of a neighbour that is too near."""
    powers = [2**i for i in range(max(last, 1).bit_length())]
    ks = [k for k in powers if k * 1.4 < last]
    ks.append(last)
    return [
        Tick(x=_curve_x(k, last), text=f"k = {k}" if k == 1 else str(k), anchor="end" if k == last > 1 else "middle")
        for k in ks
    ]
