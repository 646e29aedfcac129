"""One process of a story that goes over several: it is told who its adapter is, what to do and where.

python -m roadworthy.adapters.conformance.process '{"module": …, "class": …, "file": …, "act": "begin", "home": …}'

It writes one line of JSON when it has done its part. After `begin` it then waits to be killed.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roadworthy.adapters.conformance.adapter import Adapter
from roadworthy.adapters.conformance.bench import WAYS, Bench, Way
from roadworthy.adapters.conformance.script import Message, Script, ToolSchema
from roadworthy.adapters.conformance.shop import BIG, CONTRACT, NOTE, SUSPENDING, LastingShop
from roadworthy.contract.model import Contract
from roadworthy.core.errors import Suspended
from roadworthy.gate.gate import Gate
from roadworthy.ledger.store import Ledger

WORDS = "51 euro back for order 7, and a note please"


class Recording(Script):
    """A script that also keeps which tools it was offered, request by request."""

    def __init__(self, *turns: Any) -> None:
        super().__init__(*turns)
        self.requests: list[dict[str, Any]] = []

    def __call__(self, messages: list[Message], tools: list[ToolSchema]) -> Message:
        self.requests.append(
            {"messages": copy.deepcopy(messages), "tools": sorted(tool["function"]["name"] for tool in tools)}
        )
        return super().__call__(messages, tools)


class Teller:
    """A process's part in the story, in one way of running agents."""

    def __init__(self, adapter: Adapter, way: Way, home: Path) -> None:
        self.bench = Bench(adapter, way)
        self.way = way
        self.bench.shop = LastingShop(path=home / f"{way}.did")
        self.bench.ledger = Ledger.open(home / f"{way}.db")

    def begin(self) -> Mapping[str, Any]:
        """Two runs come to a refund that a person must approve; one of them suspends, and so does a third."""
        found: dict[str, Any] = {}
        for run in ("approved", "denied"):
            found[run] = self._drive(run, self._gate(SUSPENDING).run(id=run, capability="refunds", suspendable=True))
        gate = self._gate(CONTRACT)
        run = gate.run(id="held", capability="refunds")
        run.heard(WORDS)
        found["held"] = {"reply": self.bench.talk(gate, Script([BIG], "A person looks at it."), WORDS, run=run)}
        return found

    def go_on(self) -> Mapping[str, Any]:
        """People have answered: all of them go on, in a process that knows nothing but the ledger."""
        found: dict[str, Any] = {}
        for run in ("approved", "denied"):
            found[run] = self._drive(run, self._gate(SUSPENDING).resume(run))
        gate = self._gate(CONTRACT, tools={"shop.refund": self.bench.functions()["shop_refund"]})
        run = gate.run(id="held")
        self.bench.hear(run, "And?")
        script = Recording("It was done.")
        found["held"] = {"reply": self.bench.talk(gate, script, "And?", run=run), "requests": script.requests}
        return found

    def replay(self) -> Mapping[str, Any]:
        """A run that has ended is driven once more."""
        return {run: self._drive(run, self._gate(SUSPENDING).resume(run)) for run in ("approved", "denied")}

    def _gate(self, contract: str, **more: Any) -> Gate:
        return Gate(Contract.loads(contract), self.bench.ledger, **more)

    def _drive(self, name: str, run: Any) -> dict[str, Any]:
        script = Recording([NOTE, BIG], "Done.")
        run.heard(WORDS)
        came = self.bench.drive(run.gate, script, run, WORDS if not run.replaying else None)
        reply = None if isinstance(came, Suspended) else came
        if reply is not None:
            run.say(reply)
        return {"reply": reply, "suspended": isinstance(came, Suspended), "requests": script.requests}


def adapter_of(module: str, name: str, file: str | None) -> type[Adapter]:
    """The class of an adapter, by its module or, where that cannot be imported by name, by its file."""
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError:
        if file is None:
            raise
        spec = importlib.util.spec_from_file_location(module.replace(".", "_"), file)
        if spec is None or spec.loader is None:
            raise
        found = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = found
        spec.loader.exec_module(found)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def main(order: Mapping[str, Any]) -> None:
    """Do one part of the story."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # frameworks print whatever they like
    adapter = adapter_of(order["module"], order["class"], order.get("file"))
    found: dict[str, Any] = {}
    for way in WAYS:
        teller = Teller(adapter(), way, Path(order["home"]))
        found[way] = {"begin": teller.begin, "go_on": teller.go_on, "replay": teller.replay}[order["act"]]()
    out.write(json.dumps(found) + "\n")
    out.flush()
    if order["act"] == "begin":
        sys.stdin.read()  # for ever: an approval waits, and somebody kills this process
    os._exit(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
