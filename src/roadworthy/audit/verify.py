"""Whether a ledger is what was written, and whether people have signed what it says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from roadworthy.audit.acts import check_acts
from roadworthy.audit.sums import check_sums
from roadworthy.core.errors import UsageError
from roadworthy.ledger.verify import verify as verified
from roadworthy.verify_ledger import Asked, Findings, Key, Misfit, Report, Unreadable

if TYPE_CHECKING:
    from roadworthy.ledger.store import Ledger


def verify(
    ledger: Ledger, *, keys: Sequence[str] = (), witnesses: Sequence[str] = (), since: str | None = None
) -> Report:
    """Check a ledger: its bytes, its signatures, the tables made from it, and what people have signed.

    `keys`: public keys of the log that are trusted. `witnesses`: those of witnesses. `since`: a checkpoint that
    somebody has kept. Raises UsageError for what is none of these, LedgerError where nothing can be read.
    """
    try:
        asked = Asked(keys=tuple(map(Key.parse, keys)), witnesses=tuple(map(Key.parse, witnesses)), since=since)
        findings = Findings()
        check_acts(ledger, findings)
        check_sums(ledger, findings)
        return verified(ledger, asked, findings=findings, acts=False)
    except (Misfit, Unreadable) as wrong:
        raise UsageError(str(wrong)) from wrong
