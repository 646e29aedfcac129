"""`roadworthy init`: draft a contract from tools, an MCP server or recorded runs, and a world to try it in."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from shutil import which
from typing import Annotated, Any

import typer

from roadworthy.adapters.calls import OFFERED
from roadworthy.cli.mcp_servers import EnvFile, EnvNames, Headers, need_mcp, server_named, tools_told
from roadworthy.cli.terminal import err, out, shown
from roadworthy.cli.tools import find_tools
from roadworthy.contract.code import CodeTool
from roadworthy.contract.draft import Draft, draft, small
from roadworthy.contract.learn import Call, learn_tools
from roadworthy.contract.model import Contract
from roadworthy.contract.reach import reach
from roadworthy.core.errors import RunsError, UsageError, told_why
from roadworthy.trials.recorded import BrokenLine, RecordedRun
from roadworthy.trials.skeleton import skeleton
from roadworthy.trials.traces.chat import is_object
from roadworthy.trials.traces.read import Format, format_named, holds_runs, read_recorded

_RUNS = (".jsonl", ".ndjson", ".csv")
_CONTRACTS = (".yaml", ".yml")
_LONGEST = 64


def command(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="After `--`: the command that starts an MCP server.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="module:name of tools or of an agent that has some, in any framework (module:name() is called first); "
            "a .json file of function schemas; a file of recorded runs or traces; a contract, with --world.",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="What a file of runs holds: openai, otel, openinference, langfuse or langsmith. Default: what it "
            "looks like."
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Instead of a command: an MCP server that runs already, by streamable HTTP.")
    ] = None,
    headers: Headers = None,
    env_file: EnvFile = None,
    env: EnvNames = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that an MCP server may take for an answer.")] = 60.0,
    output: Annotated[Path, typer.Option("--out", "-o", help="The file to write; - for standard output.")] = Path(
        "contract.yaml"
    ),
    world: Annotated[
        Path | None,
        typer.Option(
            help="Write a world to try it in to this new folder, too: tables and stand-ins from `returns`, a scenario "
            "for each capability, a place for the agent."
        ),
    ] = None,
    agent: Annotated[str, typer.Option(help="The agent's name.")] = "my-agent",
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
) -> int:
    """Draft a contract from an agent's tools, an MCP server or recorded runs.

    Nothing in it is allowed beyond shadow, and every guess is marked `# review`. Exit codes: 0 written, 2 not.
    """
    if words or url is not None:
        if source is not None or format is not None:
            raise UsageError("draft either from an MCP server (a command after `--`, or --url) or from --from")
        if words and len(words) == 1 and which(words[0]) is None:
            raise UsageError(f"there is no command {words[0]!r}; to draft from what it names write --from {words[0]}")
    elif headers is not None or env_file is not None or env:
        raise UsageError("--headers, --env-file and --env are for an MCP server: a command after `--`, or --url")
    named = format_named(format) if format is not None else None
    package = _package(world, force=force) if world is not None else None
    if source is not None and Path(source).suffix.lower() in _CONTRACTS:
        if world is None or package is None:
            raise UsageError(f"{source} is a contract already; name the folder of a world for it with --world")
        _write_world(Contract.load(Path(source)), world, package, source)
        return 0
    to_file = str(output) != "-"
    if to_file and output.exists() and not force:
        raise UsageError(f"{output} is there already; name another file with --out, or write over it with --force")
    if words or url is not None:
        need_mcp()
        told = tools_told(server_named(words or [], url, headers, env_file, env or []), timeout_s=timeout)
        made = _drafted(_Found(reach(told).tools), agent, "an MCP server")
    else:
        made = _draft(source, named, agent)
    contract = Contract.loads(made.text, file=str(output))
    if to_file:
        _write(output, made.text)
        out().print(
            shown(
                f"Wrote {output}: {made.tools} tools, all in shadow, {made.review} places to review. "
                f"Next: roadworthy check {output}",
                lines=False,
            )
        )
    else:
        sys.stdout.write(made.text)
    if world is not None and package is not None:
        _write_world(contract, world, package, str(output) if to_file else "a contract", quiet=not to_file)
    return 0


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is to draft from."""

    tools: Sequence[CodeTool]
    left_out: Sequence[str] = ()


def _draft(source: str | None, format: Format | None, agent: str) -> Draft:
    if source is None:
        return small(agent)
    found = _found(source, format)
    if not found.tools:
        for why in found.left_out:
            err().print(shown(f"left out: {why}", lines=False))
        raise UsageError(f"there are no tools in {source}; name what holds them: a list, an agent or a module")
    return _drafted(found, agent, Path(source).name)


def _drafted(found: _Found, agent: str, source: str) -> Draft:
    for why in found.left_out:
        err().print(shown(f"left out: {why}", lines=False))
    return draft(found.tools, agent=agent, source=source, left_out=found.left_out)


def _found(source: str, format: Format | None) -> _Found:
    path = Path(source)
    suffix = path.suffix.lower()
    if format is not None or suffix in _RUNS:
        return _recorded(path, format)
    if suffix == ".py":
        raise UsageError(f"{path} is a file of Python: name the module and what holds the tools, as {path.stem}:tools")
    if suffix == ".json":
        value = _json(path)
        return _recorded(path, None) if value is _SEVERAL or holds_runs(value) else _reached(value)
    if path.is_file():
        return _recorded(path, None)
    return _reached(find_tools(source, calling=True))


def _reached(source: Any) -> _Found:
    """Without what the gate itself offers every agent: an agent that is guarded already has it."""
    own = {(tool.name, tool.description) for tool in OFFERED}
    reached = reach(source)
    return _Found([t for t in reached.tools if (t.name, t.description) not in own], reached.left_out)


_SEVERAL: Any = object()
"""A file that is no JSON as a whole, but may be one value after another."""


def _json(path: Path) -> Any:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {told_why(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 (byte {error.start + 1}); save it as UTF-8") from error
    try:
        return json.loads(text)
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deep") from error
    except ValueError as error:
        try:
            json.JSONDecoder().raw_decode(text.lstrip())
        except ValueError:
            raise UsageError(f"{path} is no JSON: {error}") from error
        return _SEVERAL


def _recorded(path: Path, format: Format | None) -> _Found:
    broken: list[BrokenLine] = []
    schemas: dict[str, Mapping[str, Any]] = {}
    calls = list(_calls(read_recorded(path, format), broken, schemas))
    tools = learn_tools(calls, _declared(schemas.values()))
    for line in broken:
        err().print(shown(f"{path}:{line.line}: left out: {line.text}", lines=False))
    if not tools:
        raise RunsError(f"no run in {path} calls a tool; there is nothing to draft a contract from")
    return _Found(tools)


def _declared(schemas: Iterable[Mapping[str, Any]]) -> Iterator[CodeTool]:
    for schema in schemas:
        try:
            yield from reach([schema]).tools
        except UsageError:
            continue  # what was seen of its calls is left


def _calls(
    runs: Iterable[RecordedRun | BrokenLine], broken: list[BrokenLine], schemas: dict[str, Mapping[str, Any]]
) -> Iterator[Call]:
    for run in runs:
        if isinstance(run, BrokenLine):
            broken.append(run)
            continue
        for schema in run.tools:
            inner = schema.get("function", schema)
            if is_object(inner) and isinstance(inner.get("name"), str):
                schemas[inner["name"]] = schema  # the last says how it is now
        yield from _calls_of(run)


def _calls_of(run: RecordedRun) -> Iterator[Call]:
    results = {m.call_id: m.text for m in run.messages if m.role == "tool" and m.call_id is not None}
    for message in run.messages:
        for call in message.calls:
            if call.arguments is not None:
                yield Call(tool=call.name, args=call.arguments, result=results.get(call.id) if call.id else None)


# -- the world --------------------------------------------------------------------------------------------------------


def _package(world: Path, *, force: bool) -> str:
    """The folder's name in Python. Raises UsageError where it has none, or where something else has it."""
    parts = world.parts
    if world.is_absolute() or not parts or not all(part.isidentifier() and len(part) <= _LONGEST for part in parts):
        raise UsageError(
            f"--world {str(world)!r}: name a folder below this one by words that Python can import, such as trial"
        )
    if world.exists() and not force:
        raise UsageError(f"{world} is there already; name another folder with --world, or write over it with --force")
    here = Path.cwd().resolve()
    known = PathFinder.find_spec(parts[0]) if parts[0] not in sys.builtin_module_names else True
    origin = getattr(known, "origin", None)
    taken = parts[0] in sys.stdlib_module_names or (
        known is not None and origin is not None and here not in Path(origin).resolve().parents
    )
    if taken:
        raise UsageError(f"--world {str(world)!r}: Python has a module {parts[0]} already; name the folder otherwise")
    return ".".join(parts)


def _write_world(contract: Contract, world: Path, package: str, source: str, *, quiet: bool = False) -> None:
    files = skeleton(contract, package=package, source=Path(source).name)
    for name, text in files.items():
        path = world / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{path.parent} cannot be made: {told_why(error)}") from error
        _write(path, text)
    if quiet:
        return
    review = sum(text.count("# review") - text.count("`# review`") for text in files.values())
    out().print(
        shown(
            f"Wrote {world}: {len(files)} files, {review} places to review. Next: roadworthy test {source} "
            f"--agent {package}.agent:agent --scenarios {world}/scenarios",
            lines=False,
        )
    )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {told_why(error)}") from error
