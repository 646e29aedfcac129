"""What the pages on frameworks say of versions and extras is what is tested, and all of them answer the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "frameworks"
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
FRAMEWORKS = ["langgraph", "autogen", "crewai", "openai-agents", "pydantic-ai", "agent-framework"]
HEADINGS = [
    "Before and after",
    "Under a web server",
    "Several agents",
    "A person must decide",
    "On a road test",
    "What is refused",
    "Pitfalls",
    "Beside it",
]


def pinned() -> dict[str, set[str]]:
    """The versions of each distribution that the tests run with; several where it depends on the Python."""
    text = (ROOT / "constraints" / "frameworks.txt").read_text(encoding="utf-8")
    pins: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text, re.MULTILINE):
        pins.setdefault(name, set()).add(version)
    return pins


def told(text: str) -> list[tuple[str, str]]:
    """The distributions with the versions that a line names: `langgraph 1.2.22, langchain 1.4.7`."""
    return re.findall(r"\b([a-z][a-z0-9-]*) (\d+\.\d+(?:\.\d+)?)", text)


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def rows() -> dict[str, str]:
    """The rows of the table of all frameworks, by the extra that they install."""
    return {
        found[1]: found[0] for found in re.finditer(r"^\|.*roadworthy\[([a-z-]+)\].*$", page("index"), re.MULTILINE)
    }


def test_the_table_has_every_extra_of_a_framework() -> None:
    assert set(rows()) == {*FRAMEWORKS, "mcp"}


@pytest.mark.parametrize("name", [*FRAMEWORKS, "mcp"])
def test_the_table_names_the_versions_that_are_tested(name: str) -> None:
    versions = told(rows()[name])
    pins = pinned()
    assert versions
    assert [(one, version) for one, version in versions if version not in pins[one]] == []
    assert {one for one, _ in versions} <= {re.split(r"[<>=\[]", needed)[0] for needed in EXTRAS[name]}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_page_names_what_to_install_and_the_same_versions(name: str) -> None:
    line = next(line for line in page(name).splitlines() if line.startswith("`pip install"))
    assert f"'roadworthy[{name}]'" in line
    assert told(line) == told(rows()[name])


@pytest.mark.parametrize("name", ["plain", *FRAMEWORKS])
def test_a_page_answers_what_all_of_them_answer(name: str) -> None:
    headings = re.findall(r"^## (.+)$", page(name), re.MULTILINE)
    assert [heading for heading in headings if heading in HEADINGS] == HEADINGS
    assert any("treams" in heading for heading in headings)


@pytest.mark.parametrize("name", ["plain", *FRAMEWORKS])
def test_all_pages_are_about_one_contract(name: str) -> None:
    contract = re.compile(r'^```yaml title="contract.yaml"\n(.*?)^```', re.MULTILINE | re.DOTALL)
    one, same = contract.findall(page("index")), contract.findall(page(name))
    assert len(one) == 1
    assert one == same
