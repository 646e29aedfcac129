"""A first contract, drafted from an agent's tools: everything in shadow, every guess marked `# review`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from roadworthy.contract.code import CodeTool, Schema
from roadworthy.contract.learn import REMARK
from roadworthy.contract.model import TypeSpec
from roadworthy.contract.references import SINKS
from roadworthy.contract.resolve import APPLIES, pattern_fault
from roadworthy.contract.written import trap_of

_WIDTH = 112
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*([ ./-][A-Za-z0-9_]+)*")
_NOT_TEXT = {"true", "false", "null", "~"}
_KEYWORDS = {f.alias or name: name for name, f in TypeSpec.model_fields.items()}

_READS = {
    "find", "get", "list", "search", "read", "fetch", "lookup", "look", "check", "show", "view", "query", "describe",
    "count", "browse", "load", "retrieve", "is", "has",
}  # fmt: skip
_COMPUTES = {"calculate", "compute", "calc", "convert", "think", "format", "parse", "validate", "estimate", "sum"}
_SENDS = {"send", "email", "mail", "notify", "sms", "publish", "reply", "message", "tweet"}
_ACTS = _SENDS | {
    "add", "apply", "approve", "assign", "book", "buy", "cancel", "charge", "close", "commit", "create", "delete",
    "deploy", "destroy", "disable", "drop", "edit", "enable", "execute", "grant", "insert", "merge", "modify", "move",
    "order", "pay", "post", "purge", "push", "put", "refund", "remove", "rename", "replace", "reset", "restart",
    "revoke", "run", "save", "set", "start", "stop", "submit", "transfer", "update", "upload", "write",
}  # fmt: skip
"""Words of names for which nobody's promise of only reading is taken."""
_HAND_OVER = re.compile(r"human|escalat|hand_?over|hand_?off|supervisor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A contract to begin with."""

    text: str
    tools: int
    review: int
    """How many lines ask for a decision."""


def effect_of(name: str) -> str:
    """The effect that a tool's name suggests; what is not clearly anything else is a write."""
    words = _words_of(name)
    first = words[0] if words else ""
    if first in _READS:
        return "read"
    if first in _COMPUTES:
        return "compute"
    return "send" if first in _SENDS else "write"


def _effect(tool: CodeTool) -> tuple[str, str]:
    """The effect, and who says so. Nobody's word makes a read of what is called by a word for acting."""
    named = effect_of(tool.name)
    if tool.why is None:
        return named, "guessed from its name"
    if tool.effect == "read":
        words = set(_words_of(tool.name))
        return (named, f"{tool.why}, its name does not") if words & _ACTS else ("read", tool.why)
    return (named if named == "send" else "write"), tool.why


def _words_of(name: str) -> list[str]:
    return [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+", name.rsplit(".", 1)[-1])]


def draft(tools: Sequence[CodeTool], *, agent: str, source: str, left_out: Sequence[str] = ()) -> Draft:
    """A contract over these tools in which nothing is allowed beyond shadow. `source` is told in its first line.

    `left_out`: tools that could not be read, each with why, for a remark.
    """
    names = _names(tools)
    lines = [*_head(agent, source), "tools:"]
    hand_over = next((names[i] for i, t in enumerate(tools) if _HAND_OVER.search(t.name.lower())), None)
    shown = {n.replace(".", "_") for n in names.values()} | set(names.values()) | set(SINKS)
    for i, tool in enumerate(tools):
        lines += _tool(names[i], tool, shown - {names[i], names[i].replace(".", "_")})
        shown.add(tool.name)
    lines += [f"  # review: left out: {_comment(why)}" for why in left_out]
    offered = [name for name in names.values() if name != hand_over]
    lines += [
        "",
        "capabilities:  # review: one capability for all; split it by what users want, each with the tools it needs",
        "  everything:",
        "    means: Whatever this agent does today.",
        *_list("    tools", offered),
        "    autonomy: {start: shadow, ceiling: shadow}  # nothing but reads and computing is carried out",
        "    success: []  # review: when has it succeeded? such as - {id: done-once, check: count.TOOL == 1}",
    ]
    if hand_over is not None:
        lines += ["", f"escalate: {{to: team-lead, tool: {scalar(hand_over)}}}  # review: who takes over?"]
    text = "\n".join(lines) + "\n"
    return Draft(text=text, tools=len(tools), review=text.count("# review"))


def _head(agent: str, source: str) -> list[str]:
    return [
        f"# Drafted from {_comment(source)}. Go through every `# review`, then run `roadworthy check` on this file.",
        "roadworthy: 1",
        f"agent: {scalar(agent)}",
        'version: "1"',
        "goal: Say in one sentence what this agent is for.  # review",
        "owner: {team: my-team, accountable: team-lead}  # review: somebody always answers for an agent",
        "",
    ]


SMALL = """\
# The smallest contract worth having; everything left out has a safe default.
# Go through every `# review`, then run `roadworthy check` on this file.
roadworthy: 1
agent: {agent}
version: "1"
goal: Get people who forgot their password back in.  # review: what is your agent for?
owner: {{team: my-team, accountable: team-lead}}  # review: somebody always answers for an agent

tools:  # review: these are examples; name your own, or draft them with `roadworthy init --from module:tools`
  find_user: {{effect: read, args: {{email: string}}, returns: {{user_id: string, email: string}}}}
  send_reset: {{effect: send, args: {{user_id: string}}, returns: string}}

capabilities:
  password_reset:
    means: The person cannot sign in.
    tools: [find_user, send_reset]
    autonomy: {{start: shadow, ceiling: shadow}}  # review: shadow carries out nothing but reads
    success:
      - {{id: sent-once, check: count.send_reset == 1}}

rules:
  - id: one-reset-per-run
    tools: [send_reset]
    when: count.send_reset >= 1
    then: deny
    because: A second reset in one conversation is a mistake or an attack.
    examples:
      caught: [{{count: {{send_reset: 1}}}}]
      passed: [{{count: {{send_reset: 0}}}}]
"""


def small(agent: str) -> Draft:
    """The contract that `roadworthy init` writes where it is given nothing to draft from."""
    text = SMALL.format(agent=scalar(agent))
    return Draft(text=text, tools=2, review=text.count("# review"))


# tools --------------------------------------------------------------------------------------------------------------


def _names(tools: Sequence[CodeTool]) -> dict[int, str]:
    """For each tool a name that a contract can use and that no other has."""
    names: dict[int, str] = {}
    for i, tool in enumerate(tools):
        given = tool.name.lower() if " " in tool.name else tool.name  # CrewAI's titles: "Route Ticket" is route_ticket
        parts = [re.sub(r"\W+", "_", part, flags=re.ASCII) for part in given.split(".")]
        name = ".".join(p if re.match(r"[A-Za-z_]", p) else f"_{p}" for p in parts if p) or f"tool_{i + 1}"
        if name in SINKS:
            name += "_tool"
        taken = {n.replace(".", "_") for n in names.values()}
        free, count = name, 2
        while free.replace(".", "_") in taken or any(_prefix(free, n) for n in names.values()):
            free, count = f"{name.replace('.', '_')}_{count}", count + 1
        names[i] = free
    return names


def _prefix(a: str, b: str) -> bool:
    return a.startswith(f"{b}.") or b.startswith(f"{a}.")


def _tool(name: str, tool: CodeTool, taken: set[str]) -> Iterator[str]:
    seen = f", called {tool.seen} times" if tool.seen > 1 else ", called once" if tool.seen else ""
    yield f"  {name}:"
    if tool.name != name and tool.name.lower().replace(" ", "_") != name:
        free = tool.name not in taken and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", tool.name)
        yield (
            f"    name: {scalar(tool.name)}"
            if free
            else f"    # review: the code calls it {_comment(tool.name)}, which is taken or too odd; rename it there"
        )
    effect, why = _effect(tool)
    yield f"    effect: {effect}  # review: {why}{seen}"
    if tool.description:
        yield f"    description: {scalar(' '.join(tool.description.split()))}"
    if tool.parameters:
        yield "    args:"
        spoken: set[str] = set()
        for arg, parameter in tool.parameters.items():
            schema = dict(parameter.schema)
            if not parameter.required:
                schema["optional"] = True
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", arg):
                alias = _free(re.sub(r"\W+", "_", f"_{arg}", flags=re.ASCII), {*tool.parameters, *spoken})
                spoken.add(alias)
                schema["as"] = alias
            yield from _type(arg, schema, 6)
    if tool.fails is not None:
        yield f"    fails_when: 'text.startsWith({json.dumps(tool.fails)})'  # review: seen in its results"
    if tool.returns.get("type", "any") != "any" or len(tool.returns) > 1:
        yield from _type("returns", dict(tool.returns), 4)
    else:
        yield "    # returns:  # review: say what it returns; until then its result is untrusted and untyped"


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


# types --------------------------------------------------------------------------------------------------------------


def _type(name: str, schema: Schema, indent: int) -> Iterator[str]:
    """A type under its name: on one line where it fits, else field by field."""
    ours = clean(schema)
    remark = schema.get(REMARK)
    comment = f"  # {_comment(str(remark))}" if remark else ""
    pad = " " * indent
    line = f"{pad}{key(name)}: {_flow(ours)}"
    inner = _raw_fields(ours)
    if len(line) + len(comment) <= _WIDTH and not any(_remarks(v) for v in _raw_fields(schema).values()):
        yield line + comment
        return
    raw = _raw_fields(schema)
    if inner and set(ours) == {"type", "properties"} and _short(inner):
        yield f"{pad}{key(name)}:{comment}"
        for field_name in inner:
            yield from _type(field_name, raw[field_name], indent + 2)
        return
    yield f"{pad}{key(name)}:{comment}"
    for keyword, value in ours.items():
        if keyword == "properties":
            yield f"{pad}  properties:"
            for field_name in inner:
                yield from _type(field_name, raw[field_name], indent + 4)
        elif keyword in ("items", "additionalProperties") and isinstance(value, Mapping):
            yield from _type(keyword, schema[keyword], indent + 2)
        else:
            yield f"{pad}  {keyword}: {_flow_value(value)}"


def _raw_fields(schema: Schema) -> Mapping[str, Any]:
    fields = schema.get("properties")
    return cast("Mapping[str, Any]", fields) if isinstance(fields, Mapping) else {}


def _remarks(schema: Any) -> bool:
    return isinstance(schema, Mapping) and (
        REMARK in schema or any(_remarks(v) for v in cast("Mapping[str, Any]", schema).values())
    )


def _short(fields: Mapping[str, Any]) -> bool:
    """Whether the short form of an object means the same: no field may be taken for a keyword of types."""
    return not {"type", "enum", "const"} & set(fields) and not all(name in _KEYWORDS for name in fields)


def clean(schema: Schema) -> dict[str, Any]:
    """A type without what a contract would refuse: keywords of other types, patterns that cannot be bounded."""
    kind = str(schema.get("type", "any"))
    ours: dict[str, Any] = {"type": kind}
    for keyword, value in schema.items():
        attribute = _KEYWORDS.get(keyword)
        applies = APPLIES.get(attribute or "")
        if attribute is None or keyword == "type" or value is None or (applies is not None and kind not in applies):
            continue
        if keyword == "pattern":
            value = _whole(str(value))
        elif keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"):
            value = _number(value, positive=keyword == "multipleOf")
        elif keyword in ("minLength", "maxLength", "minItems", "maxItems"):
            value = value if isinstance(value, int) and 0 <= value < 10**9 else None
        elif keyword == "enum":
            value = _words(kind, cast("Sequence[Any]", value))
        elif keyword == "properties":
            value = {str(n): clean(cast("Schema", s)) for n, s in cast("Mapping[str, Any]", value).items() if str(n)}
        elif keyword in ("items", "additionalProperties") and isinstance(value, Mapping):
            value = clean(cast("Schema", value))
        if value is not None and value != {}:
            ours[keyword] = value
    for low, high in (("minLength", "maxLength"), ("minItems", "maxItems"), ("minimum", "maximum")):
        if low in ours and high in ours and ours[low] > ours[high]:
            del ours[low], ours[high]
    return ours


def _whole(pattern: str) -> str | None:
    """A contract's patterns match in full, JSON Schema's anywhere: only those that are anchored mean the same."""
    if not (pattern.startswith("^") and pattern.endswith("$") and not pattern.endswith("\\$")):
        return None
    inner = pattern[1:-1]
    return None if pattern_fault(inner) is not None or "|" in inner else inner


def _number(value: Any, *, positive: bool) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) >= 10**15 or value != value:
        return None
    return None if positive and value <= 0 else value


def _words(kind: str, values: Sequence[Any]) -> list[Any] | None:
    fitting = {"string": str, "integer": int, "boolean": bool}.get(kind)
    if fitting is None or any(type(v) is not fitting for v in values):
        return None
    words = [v for v in dict.fromkeys(values) if not (isinstance(v, int) and abs(v) >= 10**15)]
    return words or None


# YAML ---------------------------------------------------------------------------------------------------------------


def scalar(value: Any) -> str:
    """A text, number or truth value as one YAML scalar that no reader takes for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT and trap_of(text) is None:
        return text
    return _quoted(text)


def key(name: str) -> str:
    """The key of a mapping."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name) else _quoted(name)


def _quoted(text: str) -> str:
    escaped: list[str] = []
    for character in text:
        code = ord(character)
        if character in '"\\':
            escaped.append(f"\\{character}")
        elif character.isprintable() and not 0xD800 <= code <= 0xDFFF:
            escaped.append(character)
        elif 0xD800 <= code <= 0xDFFF:
            escaped.append("\\ufffd")
        else:
            escaped.append(f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}")
    return f'"{"".join(escaped)}"'


def _comment(text: str) -> str:
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown.encode("utf-8", "replace").decode()[:200]


def _flow(schema: Mapping[str, Any]) -> str:
    if set(schema) == {"type"}:
        return scalar(schema["type"])
    fields = schema.get("properties")
    if set(schema) == {"type", "properties"} and isinstance(fields, Mapping):
        inner = cast("Mapping[str, Any]", fields)
        if inner and _short(inner):
            return "{" + ", ".join(f"{key(n)}: {_flow(s)}" for n, s in inner.items()) + "}"
    return "{" + ", ".join(f"{keyword}: {_flow_value(value)}" for keyword, value in schema.items()) + "}"


def _flow_value(value: Any) -> str:
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        if "type" in mapping and isinstance(mapping["type"], str):
            return _flow(mapping)
        return "{" + ", ".join(f"{key(n)}: {_flow_value(v)}" for n, v in mapping.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(scalar(v) for v in cast("Sequence[Any]", value)) + "]"
    return scalar(value)


def _list(name: str, words: Sequence[str]) -> list[str]:
    words = [scalar(word) for word in words]
    line = f"{name}: [{', '.join(words)}]"
    if len(line) <= _WIDTH:
        return [line]
    pad = " " * (len(name) - len(name.lstrip()) + 2)
    return [f"{name}:", *(f"{pad}- {word}" for word in words)]
