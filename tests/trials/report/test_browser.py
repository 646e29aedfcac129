"""The page in a real browser: it fits a phone, runs nothing, loads nothing."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roadworthy.trials.report.html import write_html
from roadworthy.trials.results import TestReport

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
]

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]

OVERFLOWING = """() => [...document.querySelectorAll('body *')]
    .filter(e => !e.closest('.only-read, .skip, svg') && e.getBoundingClientRect().right > innerWidth + 0.5)
    .map(e => e.tagName + '.' + e.className)"""

UNREADABLE = """() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true})
    const rgb = text => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1)
        return [...canvas.getImageData(0, 0, 1, 1).data] }
    const light = c => { const [r, g, b] = c.map(v => { v /= 255
        return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 }); return 0.2126 * r + 0.7152 * g + 0.0722 * b }
    const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor)
        if (c[3] === 255) return c } return rgb('white') }
    const found = []
    for (const e of document.querySelectorAll('body *')) {
        if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.closest('.only-read, .skip')) continue
        const style = getComputedStyle(e), svg = e.closest('svg')
        const [a, b] = [light(rgb(svg ? style.fill : style.color)), light(behind(e))].sort((x, y) => y - x)
        if ((a + 0.05) / (b + 0.05) < 4.5) found.push(e.tagName + '.' + e.getAttribute('class') + ' ' + e.textContent)
    }
    return found
}"""


@pytest.fixture
def browser() -> Iterator[Any]:
    api: Any = importlib.import_module("playwright.sync_api")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_in_a_browser(browser: Any, report: TestReport, tmp_path: Path, width: int, scheme: str) -> None:
    path = write_html(report, tmp_path / "report.html")
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []

    def hear(message: Any) -> None:
        said.append(str(message))

    def see(request: Any) -> None:
        asked.append(str(request.url))

    page.on("console", hear)
    page.on("pageerror", hear)
    page.on("request", see)
    page.goto(path.as_uri())
    for details in page.query_selector_all("details"):
        details.query_selector("summary").click()

    assert said == []  # neither an error nor a violation of the content security policy
    assert asked == [path.as_uri()]
    assert page.title() == "BLOCK: road test of support-desk, version 3"  # planted script would have renamed it
    assert page.get_by_text("document.title='owned'").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate(UNREADABLE) == []
    page.close()


def test_links_of_what_to_mend_open_at_the_failure(browser: Any, report: TestReport, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(write_html(report, tmp_path / "report.html").as_uri())
    page.locator("#mend a").first.click()
    page.wait_for_function("document.querySelector(':target') !== null")
    assert page.locator("details:target summary").is_visible()
    page.close()


def test_nothing_is_hidden_in_print(browser: Any, report: TestReport, tmp_path: Path) -> None:
    page = browser.new_page()
    page.goto(write_html(report, tmp_path / "report.html").as_uri())
    page.emulate_media(media="print")
    turn = page.locator("details .turn").first
    assert turn.evaluate("e => e.checkVisibility({contentVisibilityAuto: true})")
    assert turn.bounding_box()["height"] > 0
    page.close()
