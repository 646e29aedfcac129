"""The one door of the command line: finds the verb, runs it, and turns what went wrong into text and an exit code.

    0    it ran; yes; pass
    1    no; findings; block
    2    the command line, an input file or the machinery is broken
    3    inconclusive
    130  Ctrl-C

With `--json` standard output carries lines of JSON and nothing else; an error is the line
`{"error": {"code", "text", "findings"}}`. People read errors on standard error in either case.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import Any, NoReturn, Protocol, runtime_checkable

import typer
from typer.main import get_command

from roadworthy.cli.terminal import err, json_line, out, shown
from roadworthy.core.errors import ContractError, Finding, RoadworthyError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """A verb of the command line, known before its module is imported."""

    module: str
    """Has a function `command` with typer's annotations, which returns its exit code or None for 0; or, for a verb
    with verbs of its own, a `typer.Typer` named `app` or a function `application` that makes one for these words."""
    about: str
    """One line for `roadworthy --help`."""


VERBS: Mapping[str, Verb] = {
    "demo": Verb(module="roadworthy.cli.demo", about="Watch a support agent take its road test and see the report."),
    "init": Verb(module="roadworthy.cli.init", about="Draft a contract from an agent's tools or from recorded runs."),
    "check": Verb(module="roadworthy.cli.check", about="Find what is wrong or dangerous in a contract."),
    "diff": Verb(module="roadworthy.cli.diff", about="Say what a new version of a contract newly allows or forbids."),
    "test": Verb(module="roadworthy.cli.test", about="Run an agent through scenarios and give a release verdict."),
    "backtest": Verb(module="roadworthy.cli.backtest", about="Judge recorded runs by a contract without running them."),
    "inbox": Verb(module="roadworthy.cli.inbox", about="See what waits for a person, and answer it."),
    "worker": Verb(module="roadworthy.cli.worker", about="Do what people have decided, and drive on what waited."),
    "stop": Verb(module="roadworthy.cli.stop", about="Stop an agent, or one capability, at its next action."),
    "undo": Verb(module="roadworthy.cli.undo", about="Take back what a run has done."),
    "proxy": Verb(module="roadworthy.cli.proxy", about="Put a gate in front of an MCP server, for any client."),
    "model": Verb(module="roadworthy.cli.model", about="Record what a model answers, and replay it without the model."),
    "people": Verb(module="roadworthy.cli.people", about="Say who may decide what, and make the keys that prove it."),
    "contract": Verb(module="roadworthy.cli.contract", about="Sign a contract, or put it on a page for people."),
    "ledger": Verb(module="roadworthy.cli.ledger.app", about="Read what an agent did, and prove it unchanged."),
}  # fmt: skip
"""Every verb, in the order in which a newcomer needs them."""

_INTERRUPTED = 130


@runtime_checkable
class _UsageProblem(Protocol):
    """What typer raises for a bad command line.

    The class itself has moved between typer's releases (click's own at first, a private copy of it now), its two
    members have not.
    """

    exit_code: int

    def format_message(self) -> str: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit code. Raises nothing but what Python must."""
    words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    as_json = "--json" in words
    try:
        command = get_command(_application(words))
        result: object = command.main(args=words, prog_name="roadworthy", standalone_mode=False)
    except RoadworthyError as problem:
        return _broken(problem, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except SystemExit as left:
        return _interrupted() if left.code == _INTERRUPTED else _code(left.code)
    except BaseException as problem:  # an agent or a world may bring exceptions that are no Exception
        if isinstance(problem, _UsageProblem):
            return _misused(problem, as_json=as_json)
        return _defect(problem, as_json=as_json)
    return _interrupted() if result == _INTERRUPTED else _code(result)


def _code(result: object) -> int:
    if result is None:
        return 0
    return result if isinstance(result, int) else 2


def _application(words: Sequence[str]) -> typer.Typer:
    """The application for this command line: only the verb that it names is imported."""
    app = typer.Typer(
        name="roadworthy",
        help="Decides whether an AI agent may drive: road test, licence, traffic rules and black box.",
        epilog="Exit codes: 0 pass or ran, 1 block or findings, 2 broken input or harness, 3 inconclusive.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    wanted = next((word for word in words if not word.startswith("-")), None)
    for name, verb in VERBS.items():
        if name != wanted:
            app.command(name, help=verb.about)(_not_asked_for)
            continue
        module = _load(name, verb)
        group = verbs_of(module, words[words.index(name) + 1 :])
        if group is not None:
            app.add_typer(group, name=name, help=verb.about)
        else:
            app.command(name)(module.command)
    if wanted is not None and wanted not in VERBS:
        near = get_close_matches(wanted, VERBS, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(VERBS)}."
        raise UsageError(f"there is no verb `{wanted}`: {hint}")
    return app


def verbs_of(module: ModuleType, words: Sequence[str] = ()) -> typer.Typer | None:
    """The verbs below a verb, those that these words need; None for one that has none."""
    make = getattr(module, "application", None)
    if make is not None:
        made: typer.Typer = make(words)
        return made
    group = getattr(module, "app", None)
    return group if isinstance(group, typer.Typer) else None


def _load(name: str, verb: Verb) -> ModuleType:
    try:
        return import_module(verb.module)
    except ModuleNotFoundError as missing:
        if missing.name == verb.module:
            raise UsageError(
                f"this installation has no verb `{name}` ({verb.module} is missing): install a complete one, "
                "with `pip install roadworthy`"
            ) from missing
        if missing.name is None or missing.name.split(".")[0] == "roadworthy":
            raise
        raise UsageError(
            f"`roadworthy {name}` needs the package `{missing.name}`, which is not installed: "
            "`pip install 'roadworthy[test]'` brings it along"
        ) from missing


def _not_asked_for() -> NoReturn:
    raise AssertionError("only the verb that the command line names is run")


def _show_version(wanted: bool) -> None:
    if wanted:
        out().print(f"roadworthy {version('roadworthy')}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and leave."
    ),
) -> None:
    del version


def _complain(code: str, text: str, findings: Sequence[Finding], *, as_json: bool) -> int:
    if as_json:
        listed: list[dict[str, Any]] = [asdict(finding) for finding in findings]
        json_line({"error": {"code": code, "text": text, "findings": listed}})
    return 2


def _broken(problem: RoadworthyError, *, as_json: bool) -> int:
    findings = problem.findings if isinstance(problem, ContractError) else ()
    err().print(shown(str(problem)))
    return _complain(problem.code, problem.text, findings, as_json=as_json)


def _misused(problem: _UsageProblem, *, as_json: bool) -> int:
    text = problem.format_message()
    context = getattr(problem, "ctx", None)
    path = getattr(context, "command_path", "roadworthy")
    err().print(shown(f"[{UsageError.code}] {text}\nTry `{path} --help`."))
    return _complain(UsageError.code, text, (), as_json=as_json)


def _defect(problem: BaseException, *, as_json: bool) -> int:
    text = f"a defect in Roadworthy, please report it: {type(problem).__name__}: {problem}"
    err().print(shown("".join(traceback.format_exception(problem))))
    err().print(shown(f"[{RoadworthyError.code}] {text}"))
    return _complain(RoadworthyError.code, text, (), as_json=as_json)


def _interrupted() -> int:
    err().print("Interrupted. What was written before stands; start the command again to go on.")
    return _INTERRUPTED
