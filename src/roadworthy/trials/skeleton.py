"""A first world, a first scenario for each capability and a place for the agent, drafted from a contract.

What is written runs: every read finds one row, every tool that acts writes one. It says nothing about the agent until a
person has gone through every `# review`.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, cast

from roadworthy.contract.draft import scalar
from roadworthy.contract.model import Contract
from roadworthy.contract.resolve import shapes_of
from roadworthy.contract.shapes import Shape

_WIDTH: Final = 112
_MOST_ITEMS: Final = 100
_MOST_LETTERS: Final = 10_000
_FORMATS: Final[Mapping[str, str]] = {
    "email": "ada@example.com",
    "uri": "https://example.com/1",
    "date": "2026-03-02",
    "date-time": "2026-03-02T10:00:00Z",
    "time": "10:00:00",
    "uuid": "00000000-0000-4000-8000-000000000001",
}
_TERM: Final = re.compile(r"(\\.|\[[^\]]+\]|[^\\\[\](){}?*+|^$.])(\{(\d+)(,\d*)?\}|[+*?])?")
_CHOICE: Final = re.compile(r"\((?:\?:)?([^()|]*)(?:\|[^()]*)?\)")
_CLASSES: Final[Mapping[str, str]] = {"\\d": "0", "\\w": "a", "\\s": " "}
_TAKEN: Final = frozenset(
    ("find", "note", "one", "stored", "told", "column", "tools", "db", "clock", "post", "args", "json", "sqlite3")
)


def skeleton(contract: Contract, *, package: str, source: str) -> Mapping[str, str]:
    """Texts by their paths in the folder that Python imports as `package`. `source` is told in their first lines."""
    said = "".join(c if c.isprintable() else " " for c in source)
    files = {"world.py": _world(contract, said), "agent.py": _agent(contract, said)}
    for name in contract.capabilities:
        files[f"scenarios/{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.yaml"] = _scenario(contract, name, package, said)
    return files


# values -------------------------------------------------------------------------------------------------------------


def sample(shape: Shape, name: str = "value", *, most: int = _MOST_ITEMS) -> Any:
    """A value of a type, as JSON has it: the same one each time, with at most `most` items.

    Types may be strangers': a server may say of a list that it has a billion of them.
    """
    if shape.default is not None:
        return shape.default
    if shape.enum:
        return shape.enum[0]
    match shape.type:
        case "string":
            return _text(shape, name)
        case "integer":
            return int(_number(shape, Decimal(1)))
        case "number":
            return float(_number(shape, Decimal(1)))
        case "decimal":
            value = _number(shape, Decimal("1.00"))
            return float(value) if shape.wire == "number" else str(value)
        case "boolean":
            return True
        case "array":
            count = max(1, min(shape.min_items or 0, most)) if shape.max_items != 0 else 0
            inner = shape.items if shape.items is not None else Shape(type="string")
            names = [f"{name}-{i + 1}" if shape.unique_items else name for i in range(count)]
            return [sample(inner, one, most=most // count) for one in names]
        case "object":
            return {key: sample(inner, key, most=most) for key, inner in shape.fields.items()}
        case "any":
            return f"{name}-1"


def _text(shape: Shape, name: str) -> str:
    if shape.format in _FORMATS:
        return _FORMATS[shape.format]
    if shape.pattern is not None:
        made = _matching(shape.pattern)
        return made if made is not None else f"{name}-1"
    text = f"{name}-1".ljust(min(shape.min_length or 0, _MOST_LETTERS), "x")
    return text[: shape.max_length] if shape.max_length is not None else text


def _matching(pattern: str) -> str | None:
    """A text that a simple pattern such as `(INV|ACC)-[0-9]{4}` fits; None where it is not simple."""
    plain, before = pattern, ""
    while plain != before:  # of words to choose from, the first
        plain, before = _CHOICE.sub(r"\1", plain), plain
    made, at = "", 0
    while at < len(plain):
        found = _TERM.match(plain, at)
        if found is None:
            return None
        one = _character(found[1])
        count = int(found[3]) if found[3] else 0 if found[2] in ("*", "?") else 1
        if len(made) + count > _MOST_LETTERS:
            return None
        made, at = made + one * count, found.end()
    return made if re.fullmatch(pattern, made) else None


def _character(term: str) -> str:
    if term.startswith("["):
        ranges = re.match(r"\[(\\.|[^\\^\]])", term)
        return _CLASSES.get(ranges[1], ranges[1][-1]) if ranges is not None else "~"
    return _CLASSES.get(term, term[-1])


def _number(shape: Shape, usual: Decimal) -> Decimal:
    step = shape.multiple_of
    low, high = shape.minimum, shape.maximum
    unit = step or (Decimal(1) if shape.type == "integer" else Decimal("0.01"))
    if shape.exclusive_minimum is not None:
        low = shape.exclusive_minimum + unit
    if shape.exclusive_maximum is not None:
        high = shape.exclusive_maximum - unit
    value = usual
    if low is not None and value < low:
        value = low
    if high is not None and value > high:
        value = high
    try:
        if step is not None and value % step:
            value = (value // step) * step
            value += step if low is not None and value < low else 0
    except InvalidOperation:  # a step so small, and a number so large, that nobody means it
        return value
    return value


# the world ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """What a stand-in works on."""

    name: str
    columns: Sequence[str]
    row: Mapping[str, Any] | None
    """The base row; None where the table begins empty."""


_HEAD = '''"""A world to try {agent} in: tables, a first row for what is read, and a stand-in for each tool.

Drafted from {source}.
Go through every `# review`: tools that tell of the same thing should share a table, and what one
of them changes the others should see.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from roadworthy import World

SCHEMA = """
{schema}
"""

ROWS: dict[str, list[dict[str, Any]]] = {rows}


def stored(value: Any) -> Any:
    """A value as SQLite keeps it."""
    return value if value is None or isinstance(value, str | int | float) else json.dumps(value, default=str)


def find(db: sqlite3.Connection, sql: str, args: Mapping[str, Any], whole: Sequence[str]) -> list[dict[str, Any]]:
    """Rows by the columns that `args` names. `whole` are the columns that `told` is for."""
    given = {{name: stored(value) for name, value in args.items() if value is not None}}
    where = " AND ".join(f"{{column(name)}} = ?" for name in given) or "1"
    cursor = db.execute(f"{{sql}} WHERE {{where}}", tuple(given.values()))
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [{{n: told(v) if n in whole else v for n, v in row.items()}} for row in rows]


def told(value: Any) -> Any:
    """What SQLite has no type for: truth values are kept as numbers, all else as JSON."""
    return json.loads(value) if isinstance(value, str) else None if value is None else bool(value)


def column(name: str) -> str:
    """The name of a column or table, quoted."""
    return '"' + name.replace('"', '""') + '"'


def one(rows: list[dict[str, Any]], what: str) -> dict[str, Any]:
    """The one row that was found. Raises LookupError: a tool that finds nothing says so."""
    if not rows:
        raise LookupError(f"{{what}}: there is none")
    return rows[0]


def note(db: sqlite3.Connection, table: str, args: Mapping[str, Any]) -> None:
    """Keep what a tool was called with: the change of the world that scenarios look for."""
    given = {{name: stored(value) for name, value in args.items()}} or {{"at": "now"}}
    names, marks = ", ".join(map(column, given)), ", ".join("?" * len(given))
    db.execute(f"INSERT INTO {{column(table)}} ({{names}}) VALUES ({{marks}})", tuple(given.values()))


def tools(db: sqlite3.Connection, clock: Any, post: Any) -> Mapping[str, Callable[..., Any]]:
    """The stand-ins, by the contract's names. `clock` tells the time of the trial; `post.send` sends mail."""
'''


def _world(contract: Contract, source: str) -> str:
    shapes = shapes_of(contract)
    tables: list[_Table] = []
    functions: list[str] = []
    names = _functions(contract)
    for name, tool in contract.tools.items():
        function = names[name]
        returns = shapes.returns[name]
        if tool.effect == "read":
            table, body = _reading(function, shapes.args[name], returns)
        elif tool.effect == "compute":
            table, body = None, _given(returns, "what does it work out?")
        else:
            columns = tuple(shapes.args[name]) or ("at",)
            kept = "args"
            if _alike(columns):  # to SQLite, which knows no case
                columns, kept = ("args",), '{"args": args}'
            table = _Table(name=function, columns=columns, row=None)
            body = [f'note(db, "{function}", {kept})', *_given(returns, "what does it answer?")]
        if table is not None:
            tables.append(table)
        functions += [f"    def {function}(**args: Any) -> Any:", *(f"        {line}" for line in body), ""]
    returned = "".join(f"        {_string(name)}: {function},\n" for name, function in names.items())
    rows = {t.name: [dict(t.row)] for t in tables if t.row is not None}
    schema = "\n".join(f"CREATE TABLE {_sql(t.name)} ({', '.join(map(_sql, t.columns))});" for t in tables)
    head = _HEAD.format(
        agent=_docs(contract.agent),
        source=_docs(source),
        schema=schema if _plain(schema) else "",
        rows=_rows(rows),
    )
    if not _plain(schema):
        head = head.replace('SCHEMA = """\n\n"""', f"SCHEMA = {schema!r}")
    body = "\n".join(functions)
    closing = f"    return {{\n{returned}    }}"
    return f"{head}\n{body}\n{closing}\n\n\nworld = World({_string(contract.agent)}, SCHEMA, tools, rows=ROWS)\n"


def _reading(function: str, args: Mapping[str, Shape], returns: Shape | None) -> tuple[_Table | None, list[str]]:
    listed = returns.items if returns is not None and returns.type == "array" else None
    found = listed if listed is not None else returns
    if (
        found is None
        or found.type != "object"
        or not found.fields
        or _alike((*found.fields, *(args.keys() - found.fields)))
    ):
        return None, _given(returns, "what does it find?")
    told = {name: sample(shape, name) for name, shape in found.fields.items()}
    keys = {
        name: sample(shape, name)
        for name, shape in args.items()
        if _keeps(shape) and (listed is None or name in told)  # a search is no question for one row
    }
    bound = {n: v for n, v in keys.items() if n not in told or not _bound(found.fields[n])}
    row = {**keys, **told, **bound}  # of a name that is both, the one whose type says more
    whole = tuple(n for n, s in found.fields.items() if not _scalar(s))
    truths = tuple(n for n, s in found.fields.items() if s.type == "boolean")
    columns = ", ".join(map(_sql, found.fields))
    asked = f"{{k: v for k, v in args.items() if k in {_columns(tuple(keys))}}}" if keys else "{}"
    asked = "args" if len(keys) == len(args) else asked
    body = [
        f"sql = {_string(f'SELECT {columns} FROM {_sql(function)}')}",
        f"rows = find(db, sql, {asked}, {_columns((*whole, *truths))})",
        "return rows" if listed is not None else f"return one(rows, {_string(function)})",
    ]
    kept = {n: json.dumps(v) if n in whole else v for n, v in row.items()}
    return _Table(name=function, columns=tuple(row), row=kept), body


def _bound(shape: Shape) -> bool:
    return shape.enum is not None or shape.pattern is not None or shape.format is not None


def _alike(columns: Sequence[str]) -> bool:
    return len({c.lower() for c in columns}) < len(columns)


def _keeps(shape: Shape) -> bool:
    """Whether rows are found by an argument of this type."""
    return _scalar(shape) and shape.type != "boolean"


def _scalar(shape: Shape) -> bool:
    return shape.type in ("string", "integer", "number", "decimal", "boolean")


def _given(returns: Shape | None, question: str) -> list[str]:
    value: Any = "done" if returns is None else sample(returns, "result")
    text = _literal(value)
    return [f"return {text}  # review: {question}"]


def _rows(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The base rows as Python: a table a line, its row field by field where it is long."""
    lines = ["{  # review: what is there before the trial?"]
    for table, some in rows.items():
        line = f"    {_literal(table)}: {_literal(list(some))},"
        if len(line) <= _WIDTH:
            lines.append(line)
            continue
        lines += [f"    {_literal(table)}: [", *(f"        {line}" for row in some for line in _row(row)), "    ],"]
    return "\n".join([*lines, "}"])


def _row(row: Mapping[str, Any]) -> Iterator[str]:
    yield "{"
    for column, value in row.items():
        yield f"    {_literal(column)}: {_literal(value)},"
    yield "},"


def _literal(value: Any) -> str:
    """A JSON value as Python writes it, in double quotes."""
    if isinstance(value, dict):
        inner = cast("Mapping[str, Any]", value)
        return "{" + ", ".join(f"{_literal(k)}: {_literal(v)}" for k, v in inner.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, cast("list[Any]", value))) + "]"
    return _string(value) if isinstance(value, str) else repr(value)


def _columns(names: Sequence[str]) -> str:
    return f"({', '.join(map(_string, names))}{',' if len(names) == 1 else ''})"


def _functions(contract: Contract) -> Mapping[str, str]:
    """By tool: what its stand-in and its table are called."""
    names: dict[str, str] = {}
    for tool in contract.tools:
        names[tool] = _identifier(tool.replace(".", "_"), {*names.values(), *_TAKEN})
    return names


def _identifier(name: str, taken: set[str]) -> str:
    made = re.sub(r"\W", "_", name, flags=re.ASCII)
    made = made if made.isidentifier() and not keyword.iskeyword(made) else f"_{made}"
    while made.lower() in {t.lower() for t in taken}:
        made += "_"
    return made


def _plain(schema: str) -> bool:
    return '"""' not in schema and "\\" not in schema and schema.replace("\n", "").isprintable()


def _sql(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _string(text: str) -> str:
    """A Python literal in double quotes where that needs no escapes."""
    return f'"{text}"' if text.isprintable() and not {'"', "\\"} & set(text) else repr(text)


def _docs(text: str) -> str:
    return "".join(c if c.isprintable() and c not in '\\"' else " " for c in text)


# the agent ----------------------------------------------------------------------------------------------------------


def _agent(contract: Contract, source: str) -> str:
    return f'''"""Where {_docs(contract.agent)} is tried. Drafted from {_docs(source)}."""

from __future__ import annotations

from typing import Any


def agent(run: Any, user: Any) -> str:
    """Stands in for your agent: it does nothing, so that no trial passes.  # review: call yours here

    `user.opening()` are the user's first words, `run.call(tool, args, fn)` calls a tool, what is returned is the last
    reply. An agent of a framework is guarded, and is called with `run` bound.
    """
    user.opening()
    run.escalate("No agent is connected yet.")
    return "No agent is connected yet."
'''


# scenarios ----------------------------------------------------------------------------------------------------------


def _scenario(contract: Contract, name: str, package: str, source: str) -> str:
    return "\n".join(_lines(contract, name, package, source)) + "\n"


def _lines(contract: Contract, name: str, package: str, source: str) -> Iterator[str]:
    capability = contract.capabilities[name]
    yield f"# Drafted from {source}. Go through every `# review`; write more like it, messy ones with them."
    yield f"scenario: {scalar(re.sub(r'[^A-Za-z0-9_.-]', '_', name).lstrip('_.-') or 'first')}"
    yield f"capability: {scalar(name)}"
    yield "conditions: [curated]  # review: or messy, with what is hard about it"
    yield f"world: {package}.world:world"
    principal = next((p for p, spec in contract.principals.items() if name in spec.capabilities), None)
    if principal is not None:
        yield f"principal: {scalar(principal)}  # review: who runs the agent?"
    facts = shapes_of(contract).facts
    if facts:
        yield "facts:  # review: what does your application vouch for?"
        for fact, shape in facts.items():
            yield f"  {scalar(fact)}: {_flow(sample(shape, fact))}"
    yield "user:"
    opening = " ".join(capability.means.split()) or "Hello."
    yield f"  opening: {scalar(opening)}  # review: what does a user say first?"
    yield "  otherwise: That is all I know.  # review: answers to what the agent asks"
    yield "expect:"
    acting = [t for t in capability.tools if contract.tools[t].effect not in ("read", "compute")]
    if acting:
        tables = _functions(contract)
        yield "  required:  # review: what must have been done at the end? In shadow nothing is: see `autonomy`"
        yield f"    {tables[acting[0]]}: [{{change: insert}}]"
        if acting[1:]:
            yield "  allowed:  # review: what may have been done beside it?"
            yield from (f"    {tables[tool]}: any" for tool in acting[1:])
    yield "  ending: settled"


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        inner = cast("Mapping[str, Any]", value)
        return "{" + ", ".join(f"{scalar(k)}: {_flow(v)}" for k, v in inner.items()) + "}"
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return "[" + ", ".join(map(_flow, items)) + "]"
    return scalar(value)
