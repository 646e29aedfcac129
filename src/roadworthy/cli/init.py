"""`roadworthy init`: draft a contract from an agent's tools or from recorded runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from roadworthy.cli.terminal import err, out, shown
from roadworthy.cli.tools import find_tools
from roadworthy.contract.code import CodeTool, code_tools
from roadworthy.contract.draft import Draft, draft, small
from roadworthy.contract.learn import Call, learn_tools
from roadworthy.contract.model import Contract
from roadworthy.core.errors import RunsError, UsageError
from roadworthy.trials.recorded import BrokenLine, RecordedRun, read_runs


def command(
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="module:tools (functions, or tools of LangChain, AutoGen or CrewAI), a .json file of OpenAI function "
            "schemas, or a .jsonl file of recorded runs.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--out", "-o", help="The file to write; - for standard output.")] = Path(
        "contract.yaml"
    ),
    agent: Annotated[str, typer.Option(help="The agent's name.")] = "my-agent",
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> int:
    """Draft a contract from an agent's tools or from recorded runs.

    Nothing in it is allowed beyond shadow, and every guess is marked `# review`. Exit codes: 0 written, 2 not.
    """
    to_file = str(output) != "-"
    if to_file and output.exists() and not force:
        raise UsageError(f"{output} is there already; name another file with --out, or write over it with --force")
    made = _draft(source, agent)
    Contract.loads(made.text, file=str(output))
    if not to_file:
        sys.stdout.write(made.text)
        return 0
    try:
        output.write_text(made.text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror or error}") from error
    out().print(
        shown(
            f"Wrote {output}: {made.tools} tools, all in shadow, {made.review} places to review. "
            f"Next: roadworthy check {output}",
            lines=False,
        )
    )
    return 0


def _draft(source: str | None, agent: str) -> Draft:
    if source is None:
        return small(agent)
    if source.endswith((".jsonl", ".ndjson")):
        tools = _recorded(Path(source))
    elif source.endswith(".json"):
        tools = code_tools(_schemas(Path(source)))
    else:
        tools = code_tools(find_tools(source))
    if not tools:
        raise UsageError(f"there are no tools in {source}; name the list, mapping or module that holds them")
    return draft(tools, agent=agent, source=Path(source).name)


def _schemas(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from error


def _recorded(path: Path) -> tuple[CodeTool, ...]:
    broken: list[BrokenLine] = []
    tools = learn_tools(_calls(path, broken))
    for line in broken:
        err().print(shown(f"{path}:{line.line}: left out: {line.text}", lines=False))
    if not tools:
        raise RunsError(f"no run in {path} calls a tool; there is nothing to draft a contract from")
    return tools


def _calls(path: Path, broken: list[BrokenLine]) -> Iterator[Call]:
    for run in read_runs(path):
        if isinstance(run, BrokenLine):
            broken.append(run)
        else:
            yield from _calls_of(run)


def _calls_of(run: RecordedRun) -> Iterator[Call]:
    results = {m.call_id: m.text for m in run.messages if m.role == "tool" and m.call_id is not None}
    for message in run.messages:
        for call in message.calls:
            if call.arguments is not None:
                yield Call(tool=call.name, args=call.arguments, result=results.get(call.id) if call.id else None)
