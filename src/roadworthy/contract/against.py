"""Do the code and the contract still agree? A tool renamed in one of them is found before an agent meets it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from roadworthy.contract.code import CodeTool, Parameter, Schema
from roadworthy.contract.model import Contract
from roadworthy.contract.names import did_you_mean, nearest
from roadworthy.contract.reach import code_tools
from roadworthy.contract.shapes import Shape
from roadworthy.core.errors import Finding

Path = tuple[str | int, ...]
Severity = Literal["error", "warning", "note"]

_FITS: Mapping[str, tuple[str, ...]] = {
    "string": ("string",),
    "integer": ("integer", "number", "decimal"),
    "number": ("number", "decimal"),
    "boolean": ("boolean",),
    "decimal": ("decimal", "number", "string"),
    "array": ("array",),
    "object": ("object",),
}
"""What a contract's type may be handed to."""
_WIRE = {"string": ("decimal", "string"), "number": ("decimal", "number")}


def against(contract: Contract, tools: Any) -> list[Finding]:
    """What the contract says of its tools and their code does not, and the other way round.

    `tools` is a module, a mapping from names to tools, a list of tools, or one: functions, framework tools or OpenAI
    function schemas. Raises UsageError for what is no tool.
    """
    found = [contract.located(f) for f in _differences(contract, code_tools(tools))]
    return sorted(found, key=lambda f: (f.line or 0, f.column or 0))


def _differences(contract: Contract, tools: tuple[CodeTool, ...]) -> Iterator[Finding]:
    by_name: dict[str, CodeTool] = {}
    for tool in tools:
        name = _named(contract, tool.name)
        if name is None:
            cure = did_you_mean(tool.name, contract.tools, none="declare it under tools")
            near = nearest(tool.name, contract.tools)
            text = f"the code has a tool {tool.name} that the contract does not know, so that every call is denied; "
            yield _finding(
                ("tools",), text + (cure if near is not None else "declare it, or leave it out"), "extra_tool"
            )
        else:
            by_name[name] = tool
    for name in contract.tools:
        tool = by_name.get(name)
        if tool is None:
            cure = did_you_mean(name.rsplit(".", 1)[-1], [t.name for t in tools], none="there are no tools in it")
            yield _finding(("tools", name), f"there is no code for {name}; {cure}", "missing_tool")
        else:
            yield from _arguments(contract, name, tool)


def _finding(path: Path, text: str, code: str, severity: Severity = "warning") -> Finding:
    return Finding(text=text, path=path, code=code, severity=severity)


def _named(contract: Contract, name: str) -> str | None:
    """The contract's name of a tool of the code: its own, the model's, or the one whose last part it is."""
    words = re.sub(r"\W+", "_", name)  # CrewAI's titles: "Route Ticket" is route_ticket
    known = contract.tool_names.get(name) or contract.tool_names.get(words) or contract.tool_names.get(words.lower())
    if known is not None:
        return known
    ends = [tool for tool in contract.tools if tool.rsplit(".", 1)[-1] == name]
    return ends[0] if len(ends) == 1 else None


def _arguments(contract: Contract, name: str, tool: CodeTool) -> Iterator[Finding]:
    shapes = contract.shapes.args[name]
    path: Path = ("tools", name)
    idempotent = contract.tools[name].idempotent
    filled = {idempotent.passed_as} if idempotent is not None else set[str]()
    for arg in sorted(filled - set(tool.parameters)):
        if not tool.open:
            text = f"{tool.name} takes no {arg}, in which the gate would pass the key; add it to the code"
            yield _finding((*path, "idempotent", "passed_as"), text, "missing_argument")
    for arg, shape in shapes.items():
        at: Path = (*path, "args", arg)
        parameter = tool.parameters.get(arg)
        if parameter is None:
            if not tool.open:
                cure = did_you_mean(arg, set(tool.parameters) - set(shapes), none="it takes no other")
                yield _finding(at, f"{tool.name} takes no argument {arg}; {cure}", "missing_argument")
            continue
        if shape.optional and shape.default is None and parameter.required:
            text = f"{tool.name} cannot do without {arg}, which is optional here; drop `optional`, or give it a default"
            yield _finding(at, text, "required_argument")
        yield from _types(at, arg, shape, parameter, tool.name)
    for arg, parameter in tool.parameters.items():
        if arg in shapes or arg in filled:
            continue
        cure = did_you_mean(arg, set(shapes) - set(tool.parameters), none="declare it under args")
        if parameter.required:
            text = f"{tool.name} cannot do without {arg}, which the contract does not know; {cure}"
            yield _finding((*path, "args"), text, "extra_argument")
        else:
            text = f"{tool.name} also takes {arg}, which the contract does not know and no model can pass"
            yield _finding((*path, "args"), text, "extra_argument", "note")


def _types(path: Path, arg: str, shape: Shape, parameter: Parameter, tool: str) -> Iterator[Finding]:
    theirs: Schema = parameter.schema
    kind = str(theirs.get("type", "any"))
    if kind == "any" or shape.type == "any":
        return
    fitting = _WIRE[shape.wire] if shape.type == "decimal" else _FITS[shape.type]
    if kind not in fitting:
        cure = f"write type: {kind}"
        if shape.type == "decimal" and kind in ("number", "string"):
            cure = f"write wire: {kind}"
        text = f"{arg} is of type {shape.type} here, and {tool} takes {kind}; {cure}, or change the code"
        yield _finding(path, text, "argument_type")
        return
    if shape.nullable and not theirs.get("nullable") and parameter.required:
        text = f"{arg} may be null here, and {tool} takes no null; drop `nullable`, or change the code"
        yield _finding(path, text, "argument_type")
    words = theirs.get("enum")
    if words is None:
        return
    if shape.enum is None:
        text = f"{tool} takes only {', '.join(map(str, words))} as {arg}; add `enum:` here"
        yield _finding(path, text, "argument_enum")
        return
    more = [str(w) for w in shape.enum if w not in words]
    fewer = [str(w) for w in words if w not in shape.enum]
    if more:
        yield _finding(path, f"{tool} does not take {', '.join(more)} as {arg}; remove it here", "argument_enum")
    if fewer:
        text = f"{tool} also takes {', '.join(fewer)} as {arg}, which no model may pass"
        yield _finding(path, text, "argument_enum", "note")
