"""What stands in the repository's files, and what must not."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> list[Path]:
    """Every file under version control that is text."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git work tree: which files belong to the repository cannot be told")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [file for file in files if file.is_file() and b"\0" not in file.read_bytes()]


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _word(*parts: str) -> str:
    # Put together here, so that this file does not hold what it forbids.
    return re.escape(".".join(parts))


HOSTS = re.compile(
    "|".join(
        [
            _word("pypi", "org"),
            _word("pythonhosted", "org"),
            _word("npmjs", "org"),
            _word("npmjs", "com"),
            _word("yarnpkg", "com"),
            _word("deb", "debian", "org"),
        ]
    ),
    re.IGNORECASE,
)
MACHINE = re.compile(r"(?<![\w.])/(?:home|root|Users|wo" + r"rk)/[\w.]")


def _hits(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{number}: {found[0]}"
        for file in tracked()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if (found := pattern.search(line))
    ]


def test_no_file_names_a_package_registry() -> None:
    assert not _hits(HOSTS)


def test_no_file_holds_a_path_of_one_machine() -> None:
    assert not _hits(MACHINE)


@pytest.mark.parametrize("name", ["core.txt", "frameworks.txt", "bench.txt"])
def test_every_dependency_is_pinned_without_an_address(name: str) -> None:
    lines = (ROOT / "constraints" / name).read_text(encoding="utf-8").splitlines()
    assert lines
    loose = [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.!+]+( ; .+)?", line)]
    assert not loose


def test_pins_cover_what_the_project_asks_for() -> None:
    meta = project()["project"]
    asked = [*meta["dependencies"]]
    for extra in ("test", "dev", "docs"):
        asked += meta["optional-dependencies"][extra]
    pinned = {
        line.split("==")[0] for line in (ROOT / "constraints" / "core.txt").read_text(encoding="utf-8").splitlines()
    }
    names = {re.split(r"[\[<>=!~ ;]", one)[0].lower().replace(".", "-").replace("_", "-") for one in asked}
    assert names <= pinned, f"run `make constraints`: {sorted(names - pinned)}"


def fragments() -> list[Path]:
    return sorted(p for p in (ROOT / "changelog.d").iterdir() if p.name not in {"README.md", ".gitkeep"})


@pytest.mark.parametrize("path", fragments(), ids=lambda p: p.name)
def test_a_changelog_fragment_says_what_changed_for_a_user(path: Path) -> None:
    kinds = [kind["directory"] for kind in project()["tool"]["towncrier"]["type"]]
    found = re.fullmatch(r"(?:\d+|\+[\w-]+)\.(\w+)\.md", path.name)
    assert found, f"{path.name}: name it NUMBER.CATEGORY.md, or +words.CATEGORY.md where there is no number"
    assert found[1] in kinds, f"{path.name}: the category is one of {', '.join(kinds)}"
    text = path.read_text(encoding="utf-8").strip()
    assert text.endswith("."), f"{path.name}: write whole sentences"


def test_the_type_marker_is_shipped() -> None:
    assert (ROOT / "src" / "roadworthy" / "py.typed").is_file()
