"""What does it cost to call a tool through the gate's carrier, beyond the call itself?

The same function bare, as a plain tool (nothing declared), with a timeout and retries on a virtual clock, and with them
in production, where a blocking tool with a timeout runs in a thread of its own. With `--json` the last line is one JSON
object: `bare_us`, `plain_us`, `plain_extra_us`, `planned_virtual_us`, `planned_thread_us`.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from roadworthy.core.clock import SystemClock, VirtualClock
from roadworthy.gate.carry import Carriage, Carrier

ROUNDS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """As much of a tool's policy as a carrier asks for."""

    name: str = "tool"
    carriage: Carriage | None = None


def look(number: int) -> int:
    """The tool."""
    return number


def _us(call: Callable[[], Any], times: int) -> float:
    took: list[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(times):
            call()
        took.append((time.perf_counter() - start) / times * 1e6)
    return statistics.median(took)


def main() -> int:
    """Print the figures."""
    args = {"number": 1}
    real, virtual = Carrier(SystemClock()), Carrier(VirtualClock(), direct=True)
    plain, planned = Tool(), Tool(carriage=Carriage(timeout_s=3.0, attempts=3))
    bare = _us(lambda: look(**args), 50_000)
    carried = _us(lambda: real.call(plain, look, args, key="k"), 50_000)
    result = {
        "bare_us": round(bare, 2),
        "plain_us": round(carried, 2),
        "plain_extra_us": round(carried - bare, 2),
        "planned_virtual_us": round(_us(lambda: virtual.call(planned, look, args, key="k"), 10_000), 1),
        "planned_thread_us": round(_us(lambda: real.call(planned, look, args, key="k"), 500), 1),
    }
    print(
        f"A plain tool costs {result['plain_extra_us']} µs beyond its {result['bare_us']} µs; with timeout and retries "
        f"{result['planned_virtual_us']} µs on a virtual clock, {result['planned_thread_us']} µs in a thread."
    )
    if "--json" in sys.argv[1:]:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
