"""The documentation site builds without a warning, and a built page loads nothing from another host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("material", reason="the documentation tools are in the core environment only")

ROOT = Path(__file__).resolve().parents[2]
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc\s*=\s*["']?(?P<src>(?:https?:)?//[^"'>\s]+)
    |<link\b(?![^>]*\brel=["']?(?:canonical|prev|next|edit))[^>]*?\bhref\s*=\s*["']?(?P<href>(?:https?:)?//[^"'>\s]+)
    |@import\s+(?:url\()?["']?(?P<import>(?:https?:)?//[^"')\s]+)
    |url\(\s*["']?(?P<url>(?:https?:)?//[^"')\s]+)""",
    re.VERBOSE,
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def loads(text: str) -> list[str]:
    """The addresses of other hosts that a page, style or script tag loads something from."""
    return [next(group for group in found.groups() if group) for found in LOADED.finditer(text)]


def test_pages_and_styles_load_nothing_from_another_host(site: Path) -> None:
    files = [file for file in site.rglob("*") if file.suffix in {".html", ".css"}]
    assert len(files) > 10
    found = {str(file.relative_to(site)): loads(file.read_text(encoding="utf-8")) for file in files}
    assert not {name: hosts for name, hosts in found.items() if hosts}


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        "@import url(https://fonts.example/css);",
        "a { background: url('https://img.example/a.png') }",
    ],
)
def test_what_would_be_loaded_is_found(text: str) -> None:
    assert len(loads(text)) == 1


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert listed == pages
