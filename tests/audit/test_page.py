"""The contract as a page: every construct is told, nothing that the gate does not do, and no text plays tricks."""

from __future__ import annotations

import html as entities
import importlib
import importlib.util
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from tests.contract.edits import REFERENCE
from tests.trials.report.test_browser import FLAGS, OVERFLOWING, UNREADABLE

import roadworthy
from roadworthy import Contract, Ledger
from roadworthy.audit.page import Words, page_of, plain, render_html
from roadworthy.cli.app import main
from roadworthy.contract.keys import SigningKey, seal
from roadworthy.core.types import LEVELS, Action, Draft
from roadworthy.gate.decide import decide
from roadworthy.gate.entries import contract_drafts
from roadworthy.gate.levels import signature_body
from roadworthy.gate.passage import simulates
from roadworthy.gate.policy import policy_of
from roadworthy.gate.state import RunState

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
EXAMPLES = Path(roadworthy.__file__).parent / "examples"
LAW = Contract.loads(REFERENCE, folder=ROOT / "tests" / "contract")

WORDS = {
    "deny": "denied",
    "clarify": "the user must say more",
    "ask": "a person",
    "shadow": "Shadow",
    "approval": "Approval",
    "autonomous": "Autonomous",
    "read": "looks things up",
    "compute": "computes",
    "write": "changes something",
    "send": "sends something to somebody",
    "allow": "While nothing can be recorded, it may look things up",
    "decimal": "an amount",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "yes or no",
    "array": "a list",
    "object": "a record",
    "null": "or nothing",
    "email": "an e-mail address",
    "uri": "a web address",
    "owner": "whom it belongs to",
    "nobody": "it goes into no reply",
    "requester": "whoever asked for it",
    "trusted": "a trusted result",
    "untrusted": "outsiders",
    "subject": "for each one it acts for",
    "agent": "over all runs together",
    "user": "the user",
    "forever": "for ever",
    "suspend": "the run waits meanwhile",
    "reply": "what the user is told",
    "refuse": "Use tools that run at the model's provider",
    "undo": "Only the gate calls it, to take something back",
    "out_of_scope": "something that it is not for",
    "budget": "a limit is reached",
    "repeated_denial": "denied three times",
    "in_doubt": "it is in doubt",
    "diverged": "does something else than before",
    "Euro": "an amount in EUR",
    "Night": "a date",
    "Note": "author",
    "Room": "beds",
    "value": "look an address up",
    "anyone": "may belong to anyone",
}
"""How the words of the format are told."""
UNTOLD = {
    "roadworthy": "the version of the file format",
    "wire": "how the tool takes a number",
    "as": "a name in conditions",
    "title": "for editors",
    "examples": "of a type or a rule: they are tried when the contract is loaded",
    "on_silence": "always deny, and told with `within`",
    "not": "told as the origins that are left",
    "types": "told where they are used",
    "people": "told by roles and members",
    "description": "of a type: for models",
    "meanwhile": "tell is the default, suspend is told",
    "writes": "always deny",
    "by": "always the user",
}
TIME = re.compile(r"(\d+(?:\.\d+)?)s")


def text_of(markup: str) -> str:
    body = markup[markup.index("<body>") :]
    return " ".join(entities.unescape(re.sub(r"<[^>]*>", "", re.sub(r"</(p|li|td|th|h\d|div)>", " ", body))).split())


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for n, inner in enumerate(cast("list[Any]", value)):
            yield from leaves(inner, (*path, n))
    else:
        yield path, value


def untold(path: tuple[Any, ...]) -> bool:
    if path[:1] == ("capabilities",) or path[-2:] == ("budgets", "writes") or path[:2] == ("budgets", "run"):
        return False
    if path[0] == "tools" and len(path) == 3 and path[2] == "description":
        return False
    if path[0] in ("tools", "facts") and "undo" in path and "args" in path:
        return True  # where an undo takes its arguments from, which people need not know
    if path[0] == "tools" and "lookup" in path and "args" in path:
        return True
    return any(step in UNTOLD for step in path if isinstance(step, str))


def told_as(value: Any) -> list[str]:
    """Ways in which a value may be told; one of them must stand on the page."""
    text = str(value)
    found = [text, f"{value:,}"] if isinstance(value, int) else [text]
    if text in WORDS:
        found = [WORDS[text]]
    span = TIME.fullmatch(text)
    if span is not None:
        seconds = float(span[1])
        found = [
            f"{int(seconds // size)} {unit}"
            for size, unit in ((1, "second"), (60, "minute"), (3600, "hour"), (86400, "day"))
        ]
    comparison = re.fullmatch(r"(?:args|count)\.([\w.]+) *(?:>=|==|>|<=) *(.*)", text)
    if comparison is not None:
        found.append(f" {comparison[2]}")
    if text.startswith("[") or isinstance(value, float):
        found.append(text.removesuffix(".0"))
    return found


def test_every_construct_is_told() -> None:
    page = text_of(render_html(page_of(LAW)))
    missing: list[tuple[Any, ...]] = []
    seen = 0
    for path, value in leaves(LAW.model_dump(mode="json", by_alias=True, exclude_defaults=True)):
        if untold(path) or isinstance(value, bool) or value is None:
            continue
        seen += 1
        if not any(" ".join(way.split()) in page for way in told_as(value)):
            missing.append((*path, value))
    assert missing == []
    assert seen > 200
    for sentence in (
        "It may be left out.",  # optional
        "Where there are several candidates, the user's words must tell which booking_id is meant.",
        "nothing twice",
        "trusted where",
        "The agent may hand over at any time, by hotel.hand_over",
        "credit-above-100 ledger.credit",
        "It is open before it is known for whom the run acts.",
        "only recorded it stops nothing; noted is: the user must say more",
        "grace, joan",
    ):
        assert sentence in page, sentence


@pytest.mark.parametrize("name", ["desk", "retail"])
def test_what_the_page_says_of_levels_is_what_the_gate_does(name: str) -> None:
    law = Contract.load(EXAMPLES / name / "contract.yaml")
    policy = policy_of(law)

    def named(sentences: tuple[Words, ...]) -> set[str]:
        return {plain(sentence).split(" ")[0] for sentence in sentences}

    for level in LEVELS:
        page = page_of(law, levels=dict.fromkeys(law.capabilities, level))
        for does in page.does:
            state = RunState(policy, principal="bot", started=NOW, levels=dict.fromkeys(law.capabilities, level))
            state.open(does.name)
            offered = named(does.alone) | named(does.asks) | named(does.plays)
            assert offered == {*law.common, *law.capabilities[does.name].tools}
            for key in offered:
                tool = policy.tools[key]
                action = Action(id="1", run="r", principal="bot", subject=None, capability=does.name, tool=key, args={},
                                call_id=None, at=NOW)  # fmt: skip
                verdict = decide(policy, state, action, now=NOW)
                assert ("level_approval" in {r.code for r in verdict.reasons}) == (key in named(does.asks)), key
                assert simulates(state, tool, verdict, {}) == (key in named(does.plays)), key
                assert "tool_not_open" not in {r.code for r in verdict.reasons}


def test_without_people_nobody_is_said_to_sign() -> None:
    small = Contract.loads(
        """
roadworthy: 1
agent: bot
version: "1"
goal: Help.
owner: {team: IT, accountable: lead}
tools: {look: {effect: read, args: {}}}
capabilities: {help: {means: Help., tools: [look], autonomy: {start: shadow, ceiling: approval}}}
"""
    )
    page = text_of(render_html(page_of(small)))
    assert "nobody's answer needs a signature, and anybody may raise a level" in page
    assert "It may be raised up to approval, by anybody." in page
    assert "Such a stop is lifted by anybody." in page
    assert "While nothing can be recorded, no tool is called at all." in page
    assert "The contract says" not in page
    assert "with a signature" not in page


def test_strangers_text_is_only_text() -> None:
    evil = '</p><script>alert(1)</script>\u202etxt\u200b "onload="x'
    law = LAW.model_copy(update={"goal": evil, "agent": f"bot{evil}"})
    markup = render_html(page_of(law), at=NOW)
    assert "<script" not in markup
    assert "\u202e" not in markup
    assert '<span class="cp">U+202E</span>' in markup
    assert "default-src &#39;none&#39;; style-src &#39;sha256-" in markup
    assert not re.search(r"\b(src|href)=\"(?!#)", markup)
    assert markup.count("<style>") == 1
    assert " style=" not in markup


# With a ledger --------------------------------------------------------------------------------------------------------

KEY = SigningKey.new()
PEOPLE = f'people: 1\nroles: [lead]\nmembers: {{ada: {{roles: [lead], keys: ["{KEY.public}"]}}}}\n'
SIGNED = """
roadworthy: 1
agent: desk
version: "1"
goal: Help people.
owner: {team: IT, accountable: lead}
people: people.yaml
signatures: {approval: [lead]}
tools:
  look: {effect: read, args: {x: string}, returns: string}
  mail: {effect: send, args: {to: string}, returns: string}
capabilities: {help: {means: Help is wanted., tools: [look, mail], autonomy: {start: approval, approver: lead}}}
budgets: {run: {writes: 3}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project whose first version was signed."""
    (tmp_path / "people.yaml").write_text(PEOPLE)
    (tmp_path / "1.yaml").write_text(SIGNED)
    law = Contract.load(tmp_path / "1.yaml")
    body = seal(KEY, "contract", signature_body(law, level="approval", role="lead", by="ada"))
    with Ledger.open(tmp_path / "runs.db") as ledger:
        drafts = contract_drafts(law, ledger, NOW)
        ledger.append([*drafts, Draft(kind="signature", world="production", run=None, body=body, at=NOW)])
    return tmp_path


def written(folder: Path, text: str) -> str:
    (folder / "2.yaml").write_text(text.replace('version: "1"', 'version: "2"'))
    out = folder / "pages" / "page.html"
    assert (
        main(["contract", "page", str(folder / "2.yaml"), "--ledger", str(folder / "runs.db"), "--html", str(out)]) == 0
    )
    return text_of(out.read_text(encoding="utf-8"))


def test_a_narrower_version_has_the_signatures_of_the_old_one(folder: Path) -> None:
    page = written(folder, SIGNED.replace("writes: 3", "writes: 2"))
    assert "Narrower than what was signed. Version 1 was signed last" in page
    assert "Approval lead ada (lead), 2026-01-05, for version 1 nobody" in page
    assert "It allows less writes in a run: 2 instead of 3" in page
    assert "help Approval Help is wanted." in page


def test_a_wider_version_is_said_to_be_wider_and_stays_lower(folder: Path) -> None:
    page = written(folder, SIGNED.replace("writes: 3", "writes: 4"))
    assert "Not as it was signed. Version 1 was signed last, and this one allows more, or may." in page
    assert "It allows more writes in a run: 4 instead of 3" in page
    assert "Approval lead nobody lead" in page
    assert "help Shadow today; the contract starts it in approval" in page


def test_what_cannot_be_written_is_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["contract", "page", str(folder / "1.yaml"), "--html", str(folder / "1.yaml" / "x.html")]) == 2
    assert "the page cannot be written to" in capsys.readouterr().err
    assert main(["contract", "page", str(folder / "none.yaml"), "--html", str(folder / "x.html")]) == 2
    assert not (folder / "x.html").exists()


# In a browser ---------------------------------------------------------------------------------------------------------

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    api: Any = importlib.import_module("playwright.sync_api")
    path = tmp_path / "page.html"
    path.write_text(render_html(page_of(LAW), at=NOW), encoding="utf-8")
    said: list[str] = []
    asked: list[str] = []

    def hear(message: Any) -> None:
        said.append(str(message))

    def see(request: Any) -> None:
        asked.append(str(request.url))

    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for width in (360, 1200):
            for scheme in ("light", "dark"):
                page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
                page.on("console", hear)
                page.on("pageerror", hear)
                page.on("request", see)
                page.goto(path.as_uri())
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                assert page.evaluate(OVERFLOWING) == []
                assert page.evaluate(UNREADABLE) == []
                page.close()
        browser.close()
    assert said == []
    assert set(asked) == {path.as_uri()}
