"""Run every benchmark of this folder with no argument; exit 1 when one of them cannot run.

`--peers` runs those that need other worlds and gates, in the environment that has them: `make bench-peers`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEED_PEERS = ("agentdojo_replay.py",)
"""What cannot run without them."""
WITH_PEERS = ("decide.py", "scope.py", *NEED_PEERS)
"""What `--peers` runs: the first two measure others, too, where they are installed."""


def chosen(peers: bool) -> list[Path]:
    """The benchmarks to run, by name."""
    scripts = [s for s in sorted(HERE.glob("*.py")) if s.name != Path(__file__).name and not s.name.startswith("_")]
    return [s for s in scripts if (s.name in WITH_PEERS if peers else s.name not in NEED_PEERS)]


def main() -> int:
    """Run one benchmark after the other, so that none disturbs another's figures."""
    failed: list[str] = []
    for script in chosen("--peers" in sys.argv[1:]):
        print(f"==== bench/{script.name}", flush=True)
        start = time.perf_counter()
        if subprocess.run([sys.executable, str(script)], cwd=HERE.parent, check=False).returncode != 0:
            failed.append(script.name)
        print(f"({time.perf_counter() - start:.1f} s)\n", flush=True)
    if failed:
        print(f"could not run: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
