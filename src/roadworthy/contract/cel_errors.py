"""What the CEL compiler says, in words that the author of a contract can act on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from roadworthy.contract.messages import Message
from roadworthy.contract.names import did_you_mean, nearest
from roadworthy.contract.shapes import Shape

_ENTRY = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*?)(?=\nERROR: |\n \| |\s*\[[A-Z_]+\]\s*$|\Z)", re.DOTALL)
_FIELD = re.compile(r"undefined field '([^']*)' not found in struct '([^']*)'")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '(.*)'", re.DOTALL)
_SELECT = re.compile(r"expression of type '([^']*)' cannot be the operand of a select operation")
_EXACT = {"_+_": "add", "_-_": "sub", "_*_": "mul"}
_SIGNS = {
    "_+_": "+",
    "_-_": "-",
    "_*_": "*",
    "_/_": "/",
    "_%_": "%",
    "_==_": "==",
    "_!=_": "!=",
    "_<_": "<",
    "_<=_": "<=",
    "_>_": ">",
    "_>=_": ">=",
    "@in": "in",
    "_&&_": "&&",
    "_||_": "||",
    "!_": "!",
    "_[_]": "[…]",
    "_?_:_": "?:",
    "-_": "-",
}
_FUNCTIONS = (
    "add", "sub", "mul", "total", "size", "has", "contains", "startsWith", "endsWith", "matches", "string", "int",
    "double", "bool", "duration", "timestamp", "all", "exists", "exists_one", "filter", "map", "getHours", "getMinutes",
    "getSeconds", "getDayOfWeek", "getDayOfMonth", "getDate", "getMonth", "getFullYear", "type",
)  # fmt: skip
_WORDS = {"and": "&&", "or": "||", "not": "!", "AND": "&&", "OR": "||", "NOT": "!"}
_ELSEWHERE = {
    "result": "result is what a tool gave back, known in fails_when, needs and lookup; in a rule bind one by `with:`",
    "calls": "lists of calls are known in success checks only; write count.TOOL or sum.TOOL.ARG",
    "args": "args are those of a tool call, which is not what this condition is about",
    "item": "item is known in `trust: {when: …}` only",
    "facts": "the contract declares no facts; add them under `facts:`",
}


def explain(
    said: str, *, text: str, names: Mapping[str, Shape], messages: Mapping[str, Message], place: str
) -> Iterator[tuple[int | None, str]]:
    """What is wrong, with its place in the text counted from 0.

    `names` are the variables of the place, `messages` the types of objects.
    """
    seen: set[str] = set()
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    found = [(starts[int(line) - 1] + int(column) - 1, what) for line, column, what in _ENTRY.findall(said)]
    syntax = [entry for entry in found if entry[1].startswith("Syntax error")]
    for at, what in syntax[:1] or found:
        cure = _cure(what, at, text, names, messages, place)
        if cure is not None and cure not in seen:
            seen.add(cure)
            yield at, cure
    if not seen:
        yield None, f"CEL does not understand it: {said.split(chr(10))[0]}"


def _cure(
    what: str, at: int, text: str, names: Mapping[str, Shape], messages: Mapping[str, Message], place: str
) -> str | None:
    if what.startswith(("Syntax error", "unsupported syntax")):
        return _syntax(text, what)
    match = _FIELD.search(what)
    if match is not None:
        field, message = match[1], messages.get(match[2])
        return f"there is no field {field!r}; {_unknown_field(field, message)}"
    match = _UNDECLARED.search(what)
    if match is not None:
        return _undeclared(match[1], at, text, names, place)
    match = _OVERLOAD.search(what)
    if match is not None:
        return _overload(match[1], _types(match[2].strip("()")), messages)
    match = _SELECT.search(what)
    if match is not None:
        return f"a {_type(match[1], messages)} has no fields; leave out what follows the point"
    return what.strip()


def _choose(name: str, known: Iterable[str]) -> str:
    return did_you_mean(name, known, none="there is none")


def _unknown_field(name: str, message: Message | None) -> str:
    if message is None:
        return "check how it is written"
    for key in message.unspoken:
        if key.startswith(name):
            return f"{key!r} is no name that a condition can say; give it one by `as:` in its type"
    return did_you_mean(name, message.names, none="the object has none that a condition can name")


def _syntax(text: str, what: str) -> str:
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", lambda m: " " * len(m[0]), text)
    for word, sign in _WORDS.items():
        if re.search(rf"(?<![\w.]){word}(?![\w(.])", bare) or (
            sign == "!" and re.search(rf"(?<![\w.]){word}\s*\(", bare)
        ):
            return f"{word} is no word of CEL; write {sign}"
    if re.search(r"(?<![=!<>])=(?!=)", bare):
        return "one = is no comparison; write =="
    if "<>" in bare:
        return "<> is no comparison; write !="
    if re.search(r"\.(in|true|false|null)\b", bare):
        word = re.search(r"\.(in|true|false|null)\b", bare)
        name = word[1] if word else "in"
        return f"{name} is a word of CEL and cannot be a field's name; give the field another one by `as:`"
    if bare.count("(") != bare.count(")"):
        return "a bracket is opened and never closed, or closed and never opened"
    if re.search(r"\.\?|\[\?", bare):
        return "optional fields are asked for with has(x.field), not with ?"
    if text.count('"') % 2 or text.count("'") % 2:
        return "a quote is opened and never closed"
    return f"this is no CEL ({what.split('error: ')[-1].split(' expecting')[0]}); check quotes, brackets and operators"


def _undeclared(name: str, at: int, text: str, names: Mapping[str, Shape], place: str) -> str | None:
    root = name.split(".", 1)[0]
    called = re.match(rf"\s*{re.escape(name)}\s*\(", text[at:]) or re.match(r"\s*\(", text[at:])
    member = re.match(rf"\.?\s*{re.escape(name)}\s*\(", text[at:])
    if name == "dyn":
        return "dyn() would go round the types; convert with string(x), int(x), double(x) or bool(x)"
    if name in _WORDS:
        return f"{name} is no word of CEL; write {_WORDS[name]}"
    if (called or member) and "." not in name:
        near = nearest(name, _FUNCTIONS)
        if name in ("lowerAscii", "upperAscii", "toLowerCase", "lower"):
            return f'there is no function {name}; write x.matches("(?i)…") to compare without case'
        return f"there is no function {name}; " + (
            f"did you mean {near}?" if near else "CEL's own functions, add, sub, mul and total are there"
        )
    if root in ("count", "sum") and root not in names:
        known = [n for n in names if n.startswith(f"{root}.")]
        if root == "sum":
            return f"there is no {name}; {_choose(name, known)} (a sum is of a tool's number argument: sum.TOOL.ARG)"
        return f"there is no {name}; {_choose(name, known)}"
    if root == "calls" and any(n.startswith("calls.") for n in names):
        return f"there is no {name}; {_choose(name, [n for n in names if n.startswith('calls.')])}"
    if root in _ELSEWHERE:
        return f"{name} is not known in {place}: {_ELSEWHERE[root]}"
    roots = {n.split(".", 1)[0] for n in names}
    known = roots | {"args"} if place == "a rule" and nearest(root, ("args",)) else roots
    return f"there is no {name}; {did_you_mean(root, known)}"


def _types(applied: str) -> list[str]:
    """`double, list(int)` apart, brackets respected."""
    parts: list[str] = []
    depth, current = 0, ""
    for character in applied:
        depth += (character in "(<") - (character in ")>")
        if character == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [*parts, current.strip()] if current.strip() else parts


def _bare(type_: str) -> str:
    return type_.removeprefix("wrapper(").removesuffix(")") if type_.startswith("wrapper(") else type_


def _type(type_: str, messages: Mapping[str, Message]) -> str:
    bare = _bare(type_)
    if bare in messages:
        shown = ", ".join(messages[bare].names[:4])
        return f"object with the fields {shown}" if shown else "object"
    names: Mapping[str, str] = {
        "double": "decimal or number",
        "int": "whole number",
        "string": "text",
        "bool": "true/false",
    }
    if bare.startswith("list("):
        return f"list of {_type(bare[5:-1], messages)}"
    return names.get(bare, bare)


def _overload(function: str, types: list[str], messages: Mapping[str, Message]) -> str:
    sign = _SIGNS.get(function, function)
    bare = [_bare(t) for t in types]
    said = " and ".join(_type(t, messages) for t in types)
    if function in _EXACT and "double" in bare:
        exact = _EXACT[function]
        return f"{sign} is not exact on decimals; write {exact}(a, b), with literals such as 2.00"
    if function == "_/_" and "double" in bare:
        return "/ is not exact on decimals; multiply the other side instead: a > mul(b, 2.00)"
    if function in ("add", "sub", "mul"):
        cure = "write literals with a point (2.00) and double(x) around whole numbers"
        return f"{function} takes two decimals, not {said}; {cure}"
    if function == "string" and bare == ["double"]:
        return "the text of a decimal is not fixed (5, 5.0 or 5.00?); compare the number instead"
    if len(bare) == 2 and function in _SIGNS:
        pair = set(bare)
        flat = {b.removeprefix("list(").removesuffix(")") for b in bare}
        if pair == {"double", "int"} or flat == {"double", "int"}:
            cure = "write 50.00 instead of 50, or double(x) around a count"
            return f"{sign} stands between a decimal and a whole number; {cure}"
        if "string" in flat and flat & {"double", "int"}:
            return (
                f"{sign} stands between text and a number; quote the literal if it is text, "
                "or declare the field as a number"
            )
        if "null_type" in pair or "null" in pair:
            return f"{sign} null: the value is never null; leave it out, or use has()"
    if function in ("_&&_", "_||_", "!_", "_?_:_"):
        return f"{sign} takes conditions that are true or false, not {said}; write a comparison"
    if function == "total":
        return f'total takes a list of objects and the name of a field, total(list, "field"), not {said}'
    return f"{sign} does not go with {said}; compare values of one type"
