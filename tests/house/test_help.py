"""The help pages in the documentation are what the commands print, and every verb has one."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from typer.models import CommandInfo

from roadworthy.cli.app import VERBS, verbs_of

ROOT = Path(__file__).resolve().parents[2]


def test_help_pages_are_what_the_commands_print() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "help_pages.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_verb_has_a_help_page() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    shown = set(re.findall(r'```text title="(roadworthy[^"]*) --help"', page))
    wanted = {"roadworthy", *(f"roadworthy {verb}" for verb in VERBS)}
    for name, verb in VERBS.items():
        group = verbs_of(import_module(verb.module))
        if group is not None:
            wanted |= {f"roadworthy {name} {_named(command)}" for command in group.registered_commands}
    assert shown == wanted


def _named(command: CommandInfo) -> str:
    return command.name or (command.callback.__name__ if command.callback is not None else "")
