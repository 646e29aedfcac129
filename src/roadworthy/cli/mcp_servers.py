"""An MCP server as a command line names it: a command after `--`, or an address, with the credentials that it gets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from roadworthy.core.errors import UsageError, told_why

if TYPE_CHECKING:
    from roadworthy.adapters.mcp.server import Behind

Headers: TypeAlias = Annotated[
    Path | None, typer.Option(help="A file of headers for --url, `Name: value` a line: the server's credentials.")
]
EnvFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="A file of the server's environment, NAME=value a line: its credentials.")
]
EnvNames: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="A variable of ours that the server sees; repeatable.")
]

_INHERITED: Final = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
"""What a server sees of our own environment, beside what is named: nothing that holds credentials."""


def need_mcp() -> None:
    """Raises UsageError, which says how to install it, where the MCP SDK is not there."""
    import_module("roadworthy.adapters.mcp.proxy")


def server_named(
    words: Sequence[str], url: str | None, headers: Path | None, env_file: Path | None, names: Sequence[str]
) -> Behind:
    """The server that a command or --url names; `names` are variables of ours that it sees. Raises UsageError."""
    from roadworthy.adapters.mcp.server import Address, Command

    if (url is None) == (not words):
        raise UsageError("give the server either as a command after `--`, or by --url")
    if url is not None:
        if env_file is not None or names:
            raise UsageError("--env-file and --env go with a command; a server by --url gets its --headers")
        if not url.startswith(("https://", "http://")):
            raise UsageError(f"--url {url!r} is no address; write https://HOST/PATH")
        return Address(url=url, headers=_pairs(headers, ":") if headers is not None else {})
    if headers is not None:
        raise UsageError("--headers goes with --url; a command gets its credentials by --env-file")
    given = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    for name in names:
        if name not in os.environ:
            raise UsageError(f"--env {name}: there is no such variable in our environment")
        given[name] = os.environ[name]
    if env_file is not None:
        given.update(_pairs(env_file, "="))
    return Command(words=tuple(words), env=given)


def _pairs(path: Path, sign: str) -> Mapping[str, str]:
    """The lines of a file of credentials. Raises UsageError, in which no value stands."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {told_why(error)}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, there, value = line.partition(sign)
        if not there or not name.strip():
            raise UsageError(f"{path}:{number}: write NAME{sign} and the value on one line")
        found[name.strip()] = value.strip()
    return found


def tools_told(behind: Behind, *, timeout_s: float) -> list[dict[str, Any]]:
    """What a server says of its tools: name, description, schemas, annotations. Raises UsageError."""
    from roadworthy.adapters.mcp.proxy import listed_by

    listed = asyncio.run(listed_by(behind, timeout_s=timeout_s))
    if not listed.tools:
        raise UsageError("the MCP server lists no tools; there is nothing to draft a contract from")
    for name in sorted(listed.twice):
        raise UsageError(f"the MCP server lists {name!r} twice; which of them would be called is anybody's guess")
    return [{"name": name, "inputSchema": {"type": "object"}, **told} for name, told in listed.tools.items()]
