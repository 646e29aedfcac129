"""Kills a witness before each line that it would run next, from an empty folder on, and looks at what is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from logs import Log  # pyright: ignore[reportMissingImports, reportUnknownVariableType]  # beside this script

from roadworthy.core.errors import RoadworthyError
from roadworthy.ledger.checkpoint import LogKey, Note, Signature, Verifier
from roadworthy.ledger.witness import Witness

WATCHED = ("witness.py", "witness_memory.py")
LOG: Any = Log(key=LogKey.from_bytes(bytes(range(32)), name="example.com/log")).grow(40)
OTHER: Any = Log(key=LOG.key).grow(40, "other ")


def dies(folder: Path, step: int, pipe: int, first: int) -> None:
    """Be a witness in a process of its own, killed before line number `step`; the answer goes into the pipe."""
    left = step

    def trace(frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.endswith(WATCHED):
            return None
        if event == "line":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    if not first:
        sys.settrace(trace)  # from the empty folder on; where the witness only wakes up, it writes nothing
    with Witness(folder, [LOG.key.vkey], name="w") as witness:
        sys.settrace(trace)
        answer = witness.add_checkpoint(LOG.request(first, 20))
        os.write(pipe, answer.body.encode())


def one(folder: Path, step: int, first: int) -> tuple[bool, str]:
    """Whether it was killed, and what it had answered."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            dies(folder, step, writing, first)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answered = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status), answered


def main(root: Path) -> None:
    told: dict[str, Any] = {"killed": 0, "forgotten": [], "broken": [], "before": 0, "after": 0}
    for first in (0, 10):
        seen = root / f"seen-{first}"
        if first:
            with Witness(seen, [LOG.key.vkey], name="w") as witness:
                assert witness.add_checkpoint(LOG.request(0, first)).status == 200
        step = 0
        while True:
            folder = root / f"{first}-{step}"
            if first:
                shutil.copytree(seen, folder)
            killed, answered = one(folder, step, first)
            told["killed"] += killed
            try:
                look(folder, answered, first, told, f"{first}-{step}")
            except (RoadworthyError, AssertionError) as error:
                told["broken"].append(f"{first}-{step}: {error!r}")
            shutil.rmtree(folder)
            if not killed:
                break
            step += 1
    print(json.dumps(told))


def look(folder: Path, answered: str, first: int, told: dict[str, Any], place: str) -> None:
    with Witness(folder, [LOG.key.vkey]) as witness:
        if answered:
            line = Signature.parse(answered)
            assert Note(text=LOG.text(20), signatures=(line,)).checked([Verifier.parse(witness.vkey)])
        found = witness.memory.all_seen()
        after = bool(found) and found[0].checkpoint.size == 20
        size = 20 if after else first
        told["after" if after else "before"] += 1
        if answered and not after:
            told["forgotten"].append(place)
        # A second history is not signed, neither at the size that was asked for nor at the one from before.
        if after:
            assert witness.add_checkpoint(OTHER.request(20, 20)).status == 422
            assert witness.add_checkpoint(OTHER.request(first, 20)).status == 409
        elif first:
            assert witness.add_checkpoint(OTHER.request(first, 20)).status == 422
        assert witness.add_checkpoint(LOG.request(size, 20)).status == 200
        assert witness.add_checkpoint(LOG.request(20, 40)).status == 200


if __name__ == "__main__":
    main(Path(sys.argv[1]))
