"""One run in three processes: the first is killed while a person decides, the second ends it, the third repeats it."""

from __future__ import annotations

import atexit
import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any

from roadworthy.adapters.conformance.adapter import Adapter
from roadworthy.adapters.conformance.bench import WAYS, Bench, Failed, Way, contains, equal, expect
from roadworthy.adapters.conformance.case import case
from roadworthy.adapters.conformance.shop import CONTRACT, SUSPENDING, deeds
from roadworthy.contract.model import Contract
from roadworthy.gate.gate import Gate
from roadworthy.ledger.store import Ledger

_PARTS = 6
"""How many talks one process goes through: it may take so much longer than one."""

Deeds = list[tuple[str, dict[str, Any]]]


class Story:
    """What became of it, process by process."""

    def __init__(self, adapter: type[Adapter]) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="roadworthy-conformance-")
        atexit.register(self._home.cleanup)
        self.adapter = adapter
        self.told: dict[str, Any] = {}
        """What each process told, by its part."""
        self.did: dict[str, dict[Way, Deeds]] = {}
        """What had been done when each process had ended."""
        self.broken: Failed | None = None
        try:
            self._tell()
        except Failed as failed:
            self.broken = failed

    def of(self, bench: Bench, act: str) -> Any:
        """What the process of this part told. Raises Failed where it did not come so far."""
        if act not in self.told and self.broken is not None:
            raise self.broken
        return self.told[act][bench.way]

    def done(self, bench: Bench, act: str) -> Deeds:
        """What had been done when the process of this part had ended."""
        self.of(bench, act)
        return self.did[act][bench.way]

    def _tell(self) -> None:
        for act in ("begin", "go_on", "replay"):
            self.told[act] = self._process(act)
            self.did[act] = {way: deeds(Path(self._home.name) / f"{way}.did") for way in WAYS}
            if act == "begin":
                for way in WAYS:
                    self._answer(way)

    def _answer(self, way: Way) -> None:
        with Ledger.open(Path(self._home.name) / f"{way}.db") as ledger:
            for contract in (SUSPENDING, CONTRACT):
                gate = Gate(Contract.loads(contract), ledger)
                for asked in gate.questions():
                    ruling: Any = "deny" if asked.run == "denied" else "approve"
                    because = "The parcel was delivered." if ruling == "deny" else ""
                    gate.answer(asked.id, by="shop-lead", ruling=ruling, because=because)

    def _process(self, act: str) -> Any:
        kind = self.adapter
        order = {
            "module": kind.__module__,
            "class": kind.__qualname__,
            "file": inspect.getsourcefile(kind),
            "act": act,
            "home": self._home.name,
        }
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        command = [sys.executable, "-m", "roadworthy.adapters.conformance.process", json.dumps(order)]
        complaints = Path(self._home.name) / f"{act}.stderr"
        with (
            complaints.open("wb") as stderr,
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, "PYTHONPATH": path},
            ) as process,
        ):
            too_long = threading.Timer(_PARTS * kind.timeout_s, process.kill)
            too_long.start()
            try:
                line = process.stdout.readline() if process.stdout is not None else b""
            finally:
                too_long.cancel()
                process.send_signal(signal.SIGKILL)  # in the first part, while an approval waits
        if not line.endswith(b"\n"):
            last = complaints.read_text(errors="replace").strip().splitlines()[-12:]
            raise Failed(f"the process that was to {act} ended before it had done so: " + "\n".join(last))
        return json.loads(line)


@cache
def story(adapter: type[Adapter]) -> Story:
    """The story of an adapter, told once for all cases."""
    return Story(adapter)


def _names(did: Deeds) -> list[str]:
    return sorted(name for name, _ in did)


@case("processes")
def a_process_suspends_and_does_nothing_of_what_waits(bench: Bench) -> None:
    """Until a person has answered, nothing of it has happened."""
    found = story(type(bench.adapter))
    told = found.of(bench, "begin")
    for run in ("approved", "denied"):
        expect(told[run]["suspended"], f"drive() must give back Suspended, and it gave {told[run]['reply']!r}")
    equal(told["held"]["reply"], "A person looks at it.", "the reply where the talk goes on")
    expect("refund" not in _names(found.done(bench, "begin")), "what is held is not done")


@case("processes")
def a_process_that_is_killed_while_an_approval_waits_loses_nothing(bench: Bench) -> None:
    """The second process knows the ledger alone: what was approved is done once, beside what was done before."""
    found = story(type(bench.adapter))
    told = found.of(bench, "go_on")["approved"]
    equal(told["reply"], "Done.", "the reply of the second process")
    did = found.done(bench, "go_on")
    equal(did.count(("notify", {"text": "hello"})), 2, "notes sent by the two runs that called for one each")
    results = [m["content"] for m in told["requests"][-1]["messages"] if m["role"] == "tool"]
    equal(len(results), 2, "the number of calls that the model was told of")
    contains(results[1], "R-7", "what the model was told of its call")


@case("processes")
def a_talk_whose_process_is_killed_while_an_approval_waits_goes_on(bench: Bench) -> None:
    """Held actions of a talk that went on are carried in the next process, when the user is heard again."""
    found = story(type(bench.adapter))
    told = found.of(bench, "go_on")["held"]
    equal(told["reply"], "It was done.", "the reply of the second process")
    contains(told["requests"][0]["messages"], "R-7", "what the model was told at the beginning of the turn")
    did = found.done(bench, "go_on")
    equal(did.count(("refund", {"order_no": "7", "amount": 51})), 2, "refunds made for the two runs that were approved")


@case("processes")
def a_denied_answer_reaches_the_model_in_another_process(bench: Bench) -> None:
    """The person's no is the result of the call, and nothing was done."""
    found = story(type(bench.adapter))
    told = found.of(bench, "go_on")["denied"]
    equal(told["reply"], "Done.", "the reply of the second process")
    results = [m["content"] for m in told["requests"][-1]["messages"] if m["role"] == "tool"]
    contains(results, "The parcel was delivered.", "what the model was told of its calls")


@case("processes")
def a_third_process_replays_the_run_and_does_nothing(bench: Bench) -> None:
    """A finished run that is driven again comes to the same words, and nothing is done."""
    found = story(type(bench.adapter))
    told = found.of(bench, "replay")
    equal([told[run]["reply"] for run in ("approved", "denied")], ["Done.", "Done."], "the replies")
    equal(found.done(bench, "replay"), found.done(bench, "go_on"), "what had been done when the third process ended")


@case("processes")
def a_third_process_sends_the_model_the_same_requests(bench: Bench) -> None:
    """To the byte, so that recorded responses fit; the first request of a drive is always the same."""
    found = story(type(bench.adapter))
    before, again = found.of(bench, "go_on"), found.of(bench, "replay")
    first = found.of(bench, "begin")
    for run in ("approved", "denied"):
        equal(again[run]["requests"], before[run]["requests"], f"the requests of the {run} run in the third process")
        equal(before[run]["requests"][0], first[run]["requests"][0], "the first request of the second process")
