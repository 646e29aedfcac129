"""Arithmetic on decimals in conditions: exact, or an error.

CEL has no decimals. A decimal travels as a double, which gives every decimal of at most 15 significant digits back
unchanged (`Decimal(repr(x))`; IEEE 754 double, DBL_DIG = 15) and keeps their order. So `add`, `sub`, `mul` and `total`
turn their doubles back into decimals, compute, and refuse a result that needs a 16th digit.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Subnormal, Underflow
from typing import Any

MAX_DIGITS = 15
"""Decimals of up to this many significant digits survive a double unchanged."""

_EXACT = Context(
    prec=MAX_DIGITS, Emin=-290, Emax=290, traps=[Inexact, InvalidOperation, Overflow, Underflow, Subnormal]
)


def fits(value: Decimal) -> Decimal:
    """The value itself, where a double carries it unchanged. Raises ArithmeticError where not."""
    return _EXACT.plus(value)


def decimal_of(value: Any) -> Decimal:
    """The decimal behind a double, an integer or a decimal. Raises ArithmeticError beyond 15 digits, TypeError else."""
    if isinstance(value, Decimal):
        return _EXACT.plus(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{type(value).__name__} is no number")
    return _EXACT.plus(Decimal(repr(value)))


def add(left: Decimal, right: Decimal) -> Decimal:
    return _EXACT.add(left, right)


def sub(left: Decimal, right: Decimal) -> Decimal:
    return _EXACT.subtract(left, right)


def mul(left: Decimal, right: Decimal) -> Decimal:
    return _EXACT.multiply(left, right)


def total(values: Iterable[Decimal]) -> Decimal:
    sum_ = Decimal(0)
    for value in values:
        sum_ = _EXACT.add(sum_, value)
    return sum_
