"""Every code fence of the README and the documentation is executed, or says why not.

What a fence's language means here:

- `python`: the fences of one page run in order, in one namespace and one empty folder.
- `console`: lines after `$ ` are run by bash in that folder; the lines below are what must come out, `...` standing for
  anything. The exit code must be 0, or what `<!-- exits with N -->` in front of the fence says.
- `yaml` with `title="x.yaml"`: written to that file and loaded as a contract, as people or as scenarios. Without a
  title, and with `<!-- part of the contract -->` or `<!-- part of the scenario -->` in front: put together with the
  others of its page, and the whole must load.
- `python` and `jsonl` with a title: written to that file for what comes after.
- `json`, `toml`: must parse.
- `text`: is not code. With `<!-- prints -->` in front it is what the Python fence before it printed.

`<!-- not run: REASON -->` in front of a fence keeps it from being run, `<!-- needs: frameworks -->` leaves it to the
environment that has the agent frameworks, and `<!-- setup: CODE -->` runs CODE first: what a reader has at hand
already, such as a model.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from roadworthy import Contract
from roadworthy.contract.people import People
from roadworthy.core.errors import RoadworthyError
from roadworthy.trials.load import load_scenarios

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "AGENTS.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<body>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!--\s*(?P<text>(?:(?!-->).)*?)\s*-->\Z", re.DOTALL)
LANGUAGES = {"python", "console", "yaml", "json", "jsonl", "toml", "text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """One fence of a page."""

    page: str
    line: int
    """Of its first line of code, counted from 1."""
    language: str
    title: str | None
    marks: tuple[str, ...]
    """The comments directly in front of it, in their order."""
    body: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    def mark(self, start: str) -> str | None:
        """The rest of the comment that starts so, if there is one."""
        for mark in self.marks:
            if mark.startswith(start):
                return mark.removeprefix(start).strip()
        return None


def fences(page: Path) -> Iterator[Fence]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        marks: list[str] = []
        before = text[: found.start()].rstrip()
        while (mark := MARK.search(before)) is not None:
            marks.insert(0, mark["text"])
            before = before[: mark.start()].rstrip()
        language, _, rest = found["info"].strip().partition(" ")
        title = re.search(r'title="([^"]+)"', rest)
        indent = found["indent"]
        yield Fence(
            page=str(page.relative_to(ROOT)),
            line=text.count("\n", 0, found.start("body")) + 1,
            language=language,
            title=title[1] if title else None,
            marks=tuple(marks),
            body="".join(line.removeprefix(indent) for line in found["body"].splitlines(keepends=True)),
        )


def same_output(expected: str, got: str) -> bool:
    """Whether the output is as expected: `...` stands for anything, a line of its own for any number of lines."""
    pattern = "".join(
        r"(?:[^\n]*\n)*?" if line.strip() == "..." else ".*?".join(map(re.escape, line.rstrip().split("..."))) + "\n"
        for line in expected.strip().splitlines()
    )
    have = "".join(f"{line.rstrip()}\n" for line in got.strip().splitlines())
    return re.fullmatch(pattern, have, re.DOTALL) is not None


class Page:
    """Runs the fences of one page in order, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module = ModuleType("__page__")
        self.printed = ""
        self.parts: dict[str, list[Fence]] = {"contract": [], "scenario": []}

    def run(self, fence: Fence) -> None:
        """Run one fence. Raises AssertionError with its place when it does not do what the page says."""
        getattr(self, f"_{fence.language}")(fence)

    def close(self) -> None:
        """Load what the parts of the page make together."""
        for kind, parts in self.parts.items():
            if parts:
                path = self.folder / f"_{kind}.yaml"
                path.write_text("\n".join(part.body for part in parts), encoding="utf-8")
                self._load(path, place=f"{parts[0].page} ({kind})", kind=kind)

    def _python(self, fence: Fence) -> None:
        if fence.title is not None:
            self._write(fence)
            return
        setup = fence.mark("setup:")
        if setup is not None:
            exec(compile(setup, f"{fence.place} (setup)", "exec"), self.module.__dict__)
        padded = "\n" * (fence.line - 1) + fence.body
        code = compile(padded, str(ROOT / fence.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            result = eval(code, self.module.__dict__)
            if inspect.iscoroutine(result):
                asyncio.run(result)
        self.printed = out.getvalue()

    def _console(self, fence: Fence) -> None:
        code = int(fence.mark("exits with") or 0)
        for command, expected in commands(fence.body):
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=self.folder,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=300,
            )
            shown = f"{fence.place}: $ {command}\nexit code {done.returncode}, and it printed:\n{done.stdout}"
            assert done.returncode == code, shown
            assert not expected or same_output(expected, done.stdout), f"{shown}\nexpected:\n{expected}"

    def _yaml(self, fence: Fence) -> None:
        if fence.title is not None:
            path = self._write(fence)
            if not path.name.startswith("_"):
                first = re.search(r"^(roadworthy|people):", fence.body, re.MULTILINE)
                kind = "scenario" if first is None else "contract" if first[1] == "roadworthy" else "people"
                self._load(path, place=fence.place, kind=kind)
            return
        kind = fence.mark("part of the")
        assert kind in self.parts, f"{fence.place}: a yaml fence has a title, is part of something, or says why not run"
        self.parts[kind].append(fence)

    def _load(self, path: Path, *, place: str, kind: str) -> None:
        try:
            if kind == "contract":
                Contract.load(path)
            elif kind == "people":
                People.load(path)
            else:
                load_scenarios(path)
        except RoadworthyError as error:
            raise AssertionError(f"{place}: {error}") from error

    def _json(self, fence: Fence) -> None:
        json.loads(fence.body)

    def _jsonl(self, fence: Fence) -> None:
        for line in fence.body.splitlines():
            json.loads(line)
        if fence.title is not None:
            self._write(fence)

    def _toml(self, fence: Fence) -> None:
        tomllib.loads(fence.body)

    def _text(self, fence: Fence) -> None:
        if "prints" in fence.marks:
            assert same_output(fence.body, self.printed), f"{fence.place}: it printed\n{self.printed}"

    def _write(self, fence: Fence) -> Path:
        assert fence.title is not None
        path = self.folder / fence.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(fence.body, encoding="utf-8")
        if fence.language == "python":
            compile(fence.body, str(path), "exec")
        return path


def commands(body: str) -> Iterator[tuple[str, str]]:
    """Each command of a console fence with the output that stands below it."""
    command: list[str] = []
    output: list[str] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            if command:
                yield "\n".join(command), "\n".join(output)
            command, output = [line[2:]], []
        elif command and command[-1].endswith("\\") and not output:
            command.append(line)
        else:
            assert command, f"a console fence starts with `$ `: {line!r}"
            output.append(line)
    if command:
        yield "\n".join(command), "\n".join(output)


def environment() -> dict[str, str]:
    """A plain terminal, with this environment's commands in front."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}


def run_page(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, frameworks: bool) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    before = set(sys.modules)
    runner = Page(folder)
    monkeypatch.setitem(sys.modules, runner.module.__name__, runner.module)
    try:
        for fence in fences(page):
            if fence.mark("not run:") is not None or (fence.mark("needs:") is not None and not frameworks):
                continue
            try:
                runner.run(fence)
            except (RoadworthyError, AssertionError):
                raise
            except Exception as error:
                raise AssertionError(f"{fence.place}: {type(error).__name__}: {error}") from error
        runner.close()
    finally:
        for name in set(sys.modules) - before:
            file: Any = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(folder):
                del sys.modules[name]


def needs_frameworks(page: Path) -> bool:
    return any(fence.mark("needs:") is not None for fence in fences(page))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_fence_has_a_language_and_known_marks(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(list(fences(page))), "a fence is not closed, or lies within a line"
    for fence in fences(page):
        assert fence.language in LANGUAGES, f"{fence.place}: language {fence.language!r}"
        reason = fence.mark("not run:")
        assert reason is None or len(reason.split()) >= 3, f"{fence.place}: say why it is not run"
        assert fence.mark("needs:") in {None, "frameworks"}, f"{fence.place}: only frameworks can be needed"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_fence_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_page(page, tmp_path, monkeypatch, frameworks=False)


@pytest.fixture(scope="module")
def frameworks() -> None:
    """Frameworks warn while they are imported, and here warnings are errors; the pages themselves stay strict."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (
            "autogen_agentchat.agents",
            "langchain.agents",
            "roadworthy.examples.scripted.crewai",
            "agents",
            "pydantic_ai",
        ):
            import_module(name)


@pytest.mark.frameworks
@pytest.mark.usefixtures("frameworks")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai")  # it reads its own deprecated fields
@pytest.mark.parametrize("page", [page for page in PAGES if needs_frameworks(page)], ids=name_of)
def test_every_fence_runs_with_the_frameworks(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_page(page, tmp_path, monkeypatch, frameworks=True)


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ("a\nb\n", "a  \nb", True),
        ("a ... c", "a b\nb c", True),
        ("a", "b", False),
        ("a\n...", "a", True),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\n...", "b\na", False),
        ("a\n...\nc", "a\nb", False),
        ("1 + 1", "1111", False),
    ],
)
def test_output_is_compared(expected: str, got: str, same: bool) -> None:
    assert same_output(expected, got) is same


@pytest.mark.parametrize(
    "text",
    [
        "```python\nassert 1 == 2\n```\n",
        "```console\n$ echo hello\ngood bye\n```\n",
        "```console\n$ false\n```\n",
        "```yaml\na: 1\n```\n",
        '```yaml title="c.yaml"\nroadworthy: 1\n```\n',
        "```python\nprint(1)\n```\n<!-- prints -->\n```text\n2\n```\n",
        "```json\n{\n```\n",
    ],
)
def test_a_fence_that_lies_is_found(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    with pytest.raises((AssertionError, RoadworthyError)):
        run_page(page, tmp_path, monkeypatch, frameworks=False)
