"""The one door of the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pytest
import typer

from roadworthy.cli.app import VERBS, Verb, main
from roadworthy.core.errors import ContractError, Finding, LedgerError

Capture = pytest.CaptureFixture[str]


def _install(monkeypatch: pytest.MonkeyPatch, command: Callable[..., Any]) -> None:
    """Put a function in the place of `roadworthy stop`."""
    module = ModuleType("roadworthy_cli_of_this_test")
    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    verbs = {**VERBS, "stop": Verb(module=module.__name__, about="For this test.")}
    monkeypatch.setattr("roadworthy.cli.app.VERBS", verbs)


def test_help_without_a_word(capsys: Capture) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in VERBS)


def test_the_version(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("roadworthy ")


def test_a_verb_imports_only_itself() -> None:
    code = (
        "import sys\n"
        "from roadworthy.cli import main\n"
        "main(['ledger', 'show', '--help'])\n"
        "print([m for m in sys.modules if m.startswith(('roadworthy.trials', 'roadworthy.gate', 'roadworthy.contract'))"
        " or m in ('sqlalchemy', 'numpy', 'jinja2')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["stpo", "x.db"], "did you mean `stop`?"),
        (["dance"], "there are demo, init"),
        (["stop"], "Missing argument"),
        (["stop", "x.db", "--by", "me"], "--because"),
        (["stop", "x.db", "--wrong"], "No such option"),
        (["--wrong"], "No such option"),
        (["ledger"], "Missing command"),
        (["ledger", "dance"], "No such command"),
        (["ledger", "show", "x.db", "--limit", "none"], "--limit"),
        (["ledger", "show", "x.db", "--limit", "0"], "--limit"),
    ],
)
def test_a_command_line_that_is_not_understood(words: list[str], says: str, capsys: Capture) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert says in told.err
    assert main([*words, "--json"]) == 2
    told = capsys.readouterr()
    error = json.loads(told.out)["error"]
    assert error["code"] == "RW-201"
    assert error["findings"] == []


def test_an_error_is_text_and_a_line_of_json(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def command(json: Annotated[bool, typer.Option("--json")] = False) -> None:
        del json
        raise ContractError([Finding(text="mend \x1b[2Jthis", file="c.yaml", line=3, path=("tools", "a.b"))])

    _install(monkeypatch, command)
    assert main(["stop"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "[RW-101] c.yaml:3:1: tools.a.b: mend <U+001B>[2Jthis\n"
    assert main(["stop", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "RW-101"
    assert error["findings"][0]["path"] == ["tools", "a.b"]
    assert error["findings"][0]["line"] == 3


def test_markup_of_strangers_is_text(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def command() -> None:
        raise LedgerError("[bold]not bold[/bold] :boom: " + "long " * 60)

    _install(monkeypatch, command)
    assert main(["stop"]) == 2
    assert capsys.readouterr().err == "[RW-301] [bold]not bold[/bold] :boom: " + "long " * 60 + "\n"


@pytest.mark.parametrize(
    ("returned", "code"), [(None, 0), (0, 0), (1, 1), (3, 3), (typer.Exit(2), 2), (SystemExit(1), 1)]
)
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, returned: Any, code: int) -> None:
    def command() -> Any:
        if isinstance(returned, BaseException):
            raise returned
        return returned

    _install(monkeypatch, command)
    assert main(["stop"]) == code


def test_ctrl_c_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def command() -> None:
        raise KeyboardInterrupt

    _install(monkeypatch, command)
    assert main(["stop"]) == 130
    assert "Interrupted" in capsys.readouterr().err


def test_a_defect_is_no_verdict(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def command(json: Annotated[bool, typer.Option("--json")] = False) -> None:
        raise ZeroDivisionError(f"oh {json}")

    _install(monkeypatch, command)
    assert main(["stop", "--json"]) == 2
    told = capsys.readouterr()
    assert "Traceback" in told.err
    assert "a defect in Roadworthy" in json.loads(told.out)["error"]["text"]


def test_what_is_no_exception_is_no_verdict_either(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    class Fed(BaseException):
        pass

    def command() -> None:
        raise Fed("enough")

    _install(monkeypatch, command)
    assert main(["stop"]) == 2
    assert "a defect in Roadworthy, please report it: Fed: enough" in capsys.readouterr().err


def test_a_missing_verb_says_so(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    verbs = {**VERBS, "stop": Verb(module="roadworthy.cli.not_there", about="Missing.")}
    monkeypatch.setattr("roadworthy.cli.app.VERBS", verbs)
    assert main(["stop"]) == 2
    assert "this installation has no verb `stop`" in capsys.readouterr().err


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "verb_that_needs_more.py").write_text("import a_package_that_nobody_has.part\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    verbs = {**VERBS, "stop": Verb(module="verb_that_needs_more", about="Needs more.")}
    monkeypatch.setattr("roadworthy.cli.app.VERBS", verbs)
    assert main(["stop"]) == 2
    assert "needs the package `a_package_that_nobody_has`" in capsys.readouterr().err
