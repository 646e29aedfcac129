"""Write the help pages of the command line into docs/cli.md, as the commands print them.

Every `text` fence titled `roadworthy ... --help` is replaced by what that command prints. With `--check` nothing is
written, and the exit code is 1 where a page is out of date.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
FENCE = re.compile(r'^```text title="(roadworthy[^"]* --help)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def printed(command: str) -> str:
    """What a help command prints on a plain terminal of 100 columns. Raises CalledProcessError."""
    env = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb"}
    words = [sys.executable, "-c", "import sys; from roadworthy.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*words, *shlex.split(command)[1:]], env=env, capture_output=True, text=True, check=True, timeout=60
    )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.strip().splitlines())


def renewed(text: str) -> str:
    """The page with every help fence as the commands print it now."""
    return FENCE.sub(lambda found: f'```text title="{found[1]}"\n{printed(found[1])}```', text)


def main() -> int:
    """Renew the page, or with --check compare it."""
    before = PAGE.read_text(encoding="utf-8")
    after = renewed(before)
    if before == after:
        return 0
    if "--check" in sys.argv[1:]:
        print("docs/cli.md: the help pages are not what the commands print; run `make docs`", file=sys.stderr)
        return 1
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
