"""What must hold when an append is written: budgets that are shared, and things that may happen once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Context, Decimal, Inexact

from roadworthy.core.errors import Conflict, LedgerError
from roadworthy.core.types import Guard, Reservation

MAX_DIGITS = 100
"""Digits that a sum may have, before and after its point together."""

MAX_NAME = 2_500
"""Bytes that the name of an account or a claimed key may have, in UTF-8: not every engine finds rows by more."""

_LARGEST = 40
_EXACT = Context(prec=MAX_DIGITS, traps=[Inexact])


def checked(guards: Sequence[Guard]) -> Sequence[Guard]:
    """The guards themselves. Raises LedgerError for what no ledger can keep."""
    for guard in guards:
        text = (guard.account,) if isinstance(guard, Reservation) else (guard.key, guard.value)
        try:
            sizes = [len(part.encode()) for part in text]
        except UnicodeEncodeError as cause:
            raise LedgerError(f"a guard cannot be written: {cause}; write text that is UTF-8") from cause
        if sizes[0] > MAX_NAME or "\x00" in "".join(text):
            raise LedgerError(
                f"a guard cannot be written: {text[0][:40]!r} has more than {MAX_NAME:,} bytes, or holds a zero byte"
            )
        if isinstance(guard, Reservation):
            for number in (guard.amount, guard.limit):
                if number is not None and not _is_amount(number):
                    raise LedgerError(
                        f"{number} cannot be reserved on {guard.account}: an amount is finite, with at most {_LARGEST} "
                        "digits before its point and as many behind it"
                    )
    return guards


def _is_amount(number: Decimal) -> bool:
    if not number.is_finite():
        return False
    exponent = number.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -_LARGEST and number.adjusted() < _LARGEST


class Tally:
    """What accounts and claims come to while appends are judged in turn. Not thread-safe.

    `total` and `claimed` look up what stood before; each is asked once for a name. `totals` and `claims` hold what has
    changed since.
    """

    __slots__ = ("_claimed", "_total", "claims", "totals")

    def __init__(
        self,
        total: Callable[[str], Decimal | None] = lambda _: None,
        claimed: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._total = total
        self._claimed = claimed
        self.totals: dict[str, Decimal] = {}
        self.claims: dict[str, str] = {}

    def admit(self, guards: Sequence[Guard]) -> Conflict | None:
        """Take the guards in, all or none; the first that does not hold is the conflict."""
        totals: dict[str, Decimal] = {}
        claims: dict[str, str] = {}
        for guard in guards:
            if isinstance(guard, Reservation):
                account = guard.account
                held = totals[account] if account in totals else self._held(account)
                after = _EXACT.add(held, guard.amount)
                if guard.amount > 0 and guard.limit is not None and after > guard.limit:
                    return Conflict(guard, held)
                totals[account] = after
            else:
                standing = claims[guard.key] if guard.key in claims else self._standing(guard.key)
                if standing is not None and not (guard.again and standing == guard.value):
                    return Conflict(guard, standing)
                claims[guard.key] = guard.value
        self.totals.update(totals)
        self.claims.update(claims)
        return None

    def _held(self, account: str) -> Decimal:
        if account in self.totals:
            return self.totals[account]
        return self._total(account) or Decimal(0)

    def _standing(self, key: str) -> str | None:
        return self.claims[key] if key in self.claims else self._claimed(key)
