"""What is not installed is named, with the command that installs it: for every extra."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from roadworthy.core.errors import UsageError

ADAPTERS = [
    ("langgraph", "langgraph", "langgraph"),
    ("autogen", "autogen_agentchat", "autogen"),
    ("crewai", "crewai", "crewai"),
    ("openai_agents", "agents", "openai-agents"),
    ("pydantic_ai", "pydantic_ai", "pydantic-ai"),
    ("agent_framework", "agent_framework", "agent-framework"),
    ("mcp.proxy", "mcp", "mcp"),
]


@pytest.mark.parametrize(("adapter", "library", "extra"), ADAPTERS)
def test_an_adapter_names_the_extra_that_it_needs(
    adapter: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"roadworthy.adapters.{adapter}", raising=False)
    with pytest.raises(UsageError, match=rf"pip install 'roadworthy\[{extra}\]'"):
        importlib.import_module(f"roadworthy.adapters.{adapter}")


OTHERS = {
    "test": ("jinja2", 'from roadworthy.cli import main; sys.exit(main(["demo", "--trials", "1", "--out", "o"]))'),
    "postgres": ("psycopg", 'from roadworthy.cli import main; sys.exit(main(["ledger", "show", "postgresql://h/d"]))'),
    "parquet": (
        "pyarrow",
        'from roadworthy import Ledger; Ledger.open("runs.db").close(); from roadworthy.cli import main; '
        'sys.exit(main(["ledger", "export", "runs.db", "--parquet", "out"]))',
    ),
    "otel": (
        "opentelemetry.sdk.trace",
        'from roadworthy import Ledger; Ledger.open("runs.db").close(); from roadworthy.cli import main; '
        'sys.exit(main(["ledger", "export", "runs.db", "--otlp-file", "out.json"]))',
    ),
}
"""Extras that are no frameworks: a package that each of them brings, and a program that needs it."""


@pytest.mark.parametrize("extra", OTHERS)
def test_the_command_line_names_the_extra_that_it_needs(extra: str, tmp_path: Path) -> None:
    library, program = OTHERS[extra]
    code = f"import sys; sys.modules[{library!r}] = None; {program}"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert f"pip install 'roadworthy[{extra}]'" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_no_extra_is_left_out() -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    extras = set(project["project"]["optional-dependencies"])
    assert {*OTHERS, *(extra for _, _, extra in ADAPTERS)} == extras - {"all", "docs", "dev", "dev-frameworks"}
