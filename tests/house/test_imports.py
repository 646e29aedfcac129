"""The floors of the house hold, and importing the package costs little."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]

LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Import-linter over the package in `folder`/src, with the contracts of `folder`/pyproject.toml."""
    env = {**os.environ, "PYTHONPATH": str(folder / "src"), "COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-c", LINT], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


def test_every_file_imports_only_downwards() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("core/clock.py", "def upwards() -> None:\n    import roadworthy.contract.model\n"),
        ("core/clock.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import roadworthy.gate\n"),
        ("contract/shapes.py", "import roadworthy.ledger\n"),
        ("stats/__init__.py", "import roadworthy.core.clock\n"),
        ("gate/__init__.py", "import roadworthy.trials\n"),
        ("adapters/__init__.py", "import roadworthy.trials\n"),
        ("core/clock.py", "import numpy\n"),
        ("gate/__init__.py", "import langgraph\n"),
    ],
)
def test_an_import_upwards_is_caught(tmp_path: Path, file: str, line: str) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "src" / "roadworthy" / file).open("a", encoding="utf-8") as out:
        out.write(f"\n\n{line}")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    source = f"roadworthy.{file.removesuffix('.py').replace('/', '.').removesuffix('.__init__')}"
    target = line.split("import ")[-1].strip()
    assert re.search(rf"{re.escape(source)} -> {re.escape(target)}\b", done.stdout), done.stdout


def test_no_room_goes_through_the_front_door() -> None:
    graph = grimp.build_graph("roadworthy", cache_dir=None)
    through = {
        module
        for module in graph.find_modules_that_directly_import("roadworthy")
        if not module.startswith("roadworthy.examples")
    }
    assert not through, f"import from the file that defines the name, not from `roadworthy`: {sorted(through)}"


def test_importing_the_package_loads_little() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "imports.py"), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["modules"] < 150
    assert figures["heavy"] == []
