"""Bring the agents and servers of others that are in no environment of ours into `.others/`: `make others`.

They come from their package registries, by name and version, and stay as their authors wrote them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INTO = ROOT / ".others"
SOURCE = "openai-agents==0.20.0"
"""A source package, for the examples in it."""
SITE = "pydantic-ai-examples==2.62.0"
"""A package of which two files are used; what the others would need is left out."""
SERVER = "@modelcontextprotocol/server-filesystem@2026.8.31"
OWN = ("deepagents==0.7.32", "langchain-openai==1.7.3")
"""What needs an environment of its own, since it needs a newer protobuf than AutoGen allows."""


def main() -> int:
    """Fetch what is not there yet."""
    INTO.mkdir(exist_ok=True)
    for name, fetch in {"openai-agents": source, "site": site, "npm": server, "deepagents": environment}.items():
        made = INTO / name
        if made.exists():
            continue
        print(f"fetching {name} ...", flush=True)
        try:
            fetch(made)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)  # half of it would be taken for all of it the next time
            raise
    return 0


def source(made: Path) -> None:
    """The source package, unpacked."""
    with tempfile.TemporaryDirectory() as place:
        pip("download", "--no-deps", "--no-build-isolation", "--no-binary", ":all:", "-d", place, SOURCE)
        (archive,) = Path(place).iterdir()
        with tarfile.open(archive) as packed:
            packed.extractall(place, filter="data")
        (unpacked,) = (path for path in Path(place).iterdir() if path.is_dir())
        shutil.move(unpacked, made)


def site(made: Path) -> None:
    """The package alone."""
    pip("install", "--no-deps", "--target", str(made), SITE)


def server(made: Path) -> None:
    """The server and what it needs; no script of theirs runs."""
    made.mkdir()
    words = ["npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", SERVER]
    subprocess.run([*words, "--prefix", str(made)], check=True)


def environment(made: Path) -> None:
    """An environment with the agent and this project."""
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(made)], check=True)
    words = ["pip", "install", "--quiet", "--python", str(made), "--editable", f"{ROOT}[langgraph]", *OWN]
    subprocess.run([*uv, *words], check=True)


def pip(*words: str) -> None:
    """The pip of this environment."""
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words], check=True)


if __name__ == "__main__":
    sys.exit(main())
