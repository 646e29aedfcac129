"""Every tool that can be reached from a guarded agent is guarded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roadworthy.adapters.conformance.bench import Bench, Failed, equal, expect
from roadworthy.adapters.conformance.case import case
from roadworthy.adapters.conformance.script import Script
from roadworthy.adapters.conformance.shop import CONTRACT, NAMES, NOTE

_NONE: Mapping[str, Any] = {}
_ARGS: Mapping[str, Mapping[str, Any]] = {
    "shop_find_order": {"order_no": "7"},
    "shop_refund": {"order_no": "7", "amount": 51},
    "send_note": {"text": "hello"},
    "shop_fail": _NONE,
    "wipe": _NONE,
}


@case("tripwire")
def a_tool_that_is_called_around_the_model_is_refused(bench: Bench) -> None:
    """Whoever holds the agent and calls its tools by hand passes the gate, or gets nothing: without a run, nothing."""
    gate = bench.gate()
    agent = bench.build(gate, Script("unused"))
    reached: set[str] = set()
    for name, call in bench.adapter.reach(agent):
        reached.add(name)
        if name not in _ARGS:
            continue  # what Roadworthy offers beside them
        came = bench.call(call, _ARGS[name])
        if bench.shop.did:
            raise Failed(f"{name} ran, though it was called around the gate: it did {bench.shop.did} and gave {came!r}")
    missing = [name for name in NAMES if name not in reached]
    expect(not missing, f"reach() finds all tools of the agent, and it misses {', '.join(missing)}")


@case("tripwire")
def a_tool_that_is_called_around_the_model_has_no_more_rights(bench: Bench) -> None:
    """Within a run the gate decides of such a call, too, or it is refused: what is denied is not done."""
    gate = bench.gate(CONTRACT.replace("then: ask\n", "then: deny\n"))
    agent = bench.build(gate, Script("unused"))
    run = gate.run(capability="refunds")
    with run.bind():
        for name, call in bench.adapter.reach(agent):
            if name in ("shop_refund", "wipe"):
                came = bench.call(call, _ARGS[name])
                equal(bench.shop.did, [], f"what {name} did when it was called by hand (it gave {came!r})")


@case("tripwire")
def a_tool_that_is_reached_is_the_one_that_the_model_calls(bench: Bench) -> None:
    """After all tools were reached, the agent works as before."""
    gate, script = bench.gate(), Script([NOTE], "Done.")
    agent = bench.build(gate, script)
    expect(list(bench.adapter.reach(agent)), "reach() finds tools")
    with gate.run(capability="refunds").bind():
        if bench.way == "async":
            reply = bench.finish(bench.adapter.atalk(agent, "please"))
        else:
            reply = bench.limited(lambda: bench.adapter.talk(agent, "please"))
    equal(reply, "Done.", "the reply")
    equal(bench.shop.did, [("notify", {"text": "hello"})], "what the tools have done")
