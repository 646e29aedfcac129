"""A process that appends signed and encrypted entries and says of each that it is durable, until something ends it.

appending.py LEDGER VAULT NAME COUNT [THREADS]
"""

from __future__ import annotations

import os
import sys
import threading
from datetime import UTC, datetime

from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Draft
from roadworthy.ledger.store import Ledger


def draft(name: str, number: int) -> Draft:
    """One of five runs, for one of three subjects."""
    body = {"text": f"{name} said {number}"}
    run, subject = f"{name}-{number % 5}", f"subject-{number % 3}"
    return Draft(kind="heard", world="production", run=run, subject=subject, body=body, at=datetime.now(UTC))


def say(text: str) -> None:
    """A line, in one piece: print() would mix those of several threads."""
    os.write(1, f"{text}\n".encode())


def main() -> None:
    """Append until told otherwise; each durable entry is a line, and so is whatever ended it."""
    path, vault, name, count = sys.argv[1:5]
    threads = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    try:
        with Ledger.open(path, vault=vault) as ledger:

            def work(own: str) -> None:
                try:
                    for number in range(int(count)):
                        one = draft(own, number)
                        ledger.append([one])
                        say(one.body["text"])
                except LedgerError as error:
                    say(f"refused: {error.text}")

            hands = [threading.Thread(target=work, args=(f"{name}.{hand}",)) for hand in range(threads)]
            for hand in hands:
                hand.start()
            for hand in hands:
                hand.join()
    except LedgerError as error:
        say(f"refused: {error.text}")


if __name__ == "__main__":
    main()
