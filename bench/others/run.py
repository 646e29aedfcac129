"""Play every case of every agent, with the gate off and on: `make others`. What is printed is the table of README.md.

Needs the environment of the frameworks, and what `fetch.py` brings. Names of agents choose; `--json` prints one line a
case instead; `--write` puts the table into README.md. Exit 1 when an agent could not be played.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OTHERS = HERE.parents[1] / ".others"
README = HERE / "README.md"
BEGIN, END = "<!-- played -->\n", "<!-- end -->"


def agents() -> list[str]:
    """The agents, by name."""
    return sorted(path.parent.name for path in HERE.glob("*/drive.py"))


def interpreter(agent: str) -> str:
    """The Python that has the agent: one of its own, or this one."""
    own = OTHERS / agent / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def played(agent: str) -> list[dict[str, Any]] | None:
    """What came of an agent's cases, in order; None where it could not be played."""
    done = subprocess.run(
        [interpreter(agent), str(HERE / agent / "drive.py")],
        env={**os.environ, "ROADWORTHY_OTHERS": str(OTHERS)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        print(f"{agent} could not be played:\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    return [json.loads(line) for line in done.stdout.splitlines()]


def rows(lines: list[dict[str, Any]]) -> list[str]:
    """A row for each case, from its two lines."""
    found: list[str] = []
    for off, on in zip(lines[::2], lines[1::2], strict=True):
        said = ", ".join(f"{count} x {what}" for what, count in on["verdicts"].items()) or "nothing"
        found.append(f"| {off['agent']} | {off['case']} | {off['kind']} | {_word(off)} | {_word(on)} | {said} |")
    return found


def _word(line: dict[str, Any]) -> str:
    return "happened" if line["happened"] else "did not"


def table(lines: list[dict[str, Any]]) -> str:
    """The table of README.md."""
    head = ["| agent | case | kind | gate off | gate on | what the gate said |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows(lines)]) + "\n"


def main() -> int:
    """Play and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("agents", nargs="*", choices=[[], *agents()])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    lines: list[dict[str, Any]] = []
    failed = False
    for agent in chosen.agents or agents():
        found = played(agent)
        failed |= found is None
        lines += found or []
        if chosen.json:
            print("\n".join(json.dumps(line, ensure_ascii=False) for line in found or []), flush=True)
    if not chosen.json:
        print(table(lines), end="")
    if chosen.write and not failed:
        before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        README.write_text(before + BEGIN + table(lines) + END + after, encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
