"""Reading scenarios as strictly as a contract is read: all that is wrong at once, with its place and its cure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from roadworthy.contract.model import Contract
from roadworthy.contract.names import did_you_mean
from roadworthy.contract.resolve import shapes_of
from roadworthy.contract.shapes import Shape
from roadworthy.contract.written import Written, read
from roadworthy.core.errors import Finding, ScenarioError, told_why
from roadworthy.core.types import LEVELS
from roadworthy.trials.faults import Fault
from roadworthy.trials.scenario import Answer, AttackSpec, Expect, RowPattern, Scenario, UserScript
from roadworthy.trials.world import MAIL, World

DEFAULTS = "_defaults.yaml"
"""What all scenarios of a folder have in common; a scenario's own keys replace it."""

Location = tuple[str | int, ...]

_BREAK = re.compile(r"^---(?=\s|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Document:
    written: Written
    data: Mapping[str, Any]
    defaults: Written | None

    def found(self, path: Location, text: str, *, key: bool = False) -> Finding:
        source = self.written
        if self.defaults is not None and path and path[0] not in self.data and (path[0],) in self.defaults.keys:
            source = self.defaults
        return source.found(path, text, code="scenario", at=source.keys.get(path) if key else None)


def load_scenarios(path: str | Path, *, contract: Contract | None = None) -> tuple[Scenario, ...]:
    """All scenarios of a file, or of a folder and those below it, in the order of their files' names.

    With a contract they are checked against it, too. Files that start with `_` are no scenarios. Raises ScenarioError
    with every finding.
    """
    root = Path(path)
    findings: list[Finding] = []
    scenarios: list[Scenario] = []
    for file in _files(root):
        for document in _documents(file, findings):
            scenario = _build(document, findings)
            if scenario is not None:
                scenarios.append(scenario)
    if not scenarios and not findings:
        raise ScenarioError(
            f"{root} holds no scenarios; a scenario file ends in .yaml and starts with `scenario: its-id`"
        )
    findings += _twice(scenarios)
    if contract is not None:
        for scenario in scenarios:
            findings += against_contract(scenario, contract)
    refuse(findings)
    return tuple(scenarios)


def refuse(findings: Sequence[Finding]) -> None:
    """Raises ScenarioError where there are any findings."""
    if findings:
        raise ScenarioError("\n".join(str(f) for f in findings))


def _files(root: Path) -> list[Path]:
    if root.is_dir():
        found = [p for p in root.rglob("*") if p.suffix in (".yaml", ".yml") and not p.name.startswith("_")]
        return sorted(found)
    if not root.exists():
        raise ScenarioError(f"{root}: there is no such file or folder; give the folder that holds the scenarios")
    return [root]


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise ScenarioError(f"{file}: byte {e.start} is no UTF-8; save the file as UTF-8") from e
    except OSError as e:
        raise ScenarioError(f"{file} cannot be read: {told_why(e)}") from e


def _documents(file: Path, findings: list[Finding]) -> Iterator[_Document]:
    defaults = _defaults(file.parent / DEFAULTS, findings)
    text = _text(file)
    starts = [0, *(m.end() for m in _BREAK.finditer(text))]
    ends = [*(m.start() for m in _BREAK.finditer(text)), len(text)]
    for start, end in zip(starts, ends, strict=True):
        # Empty lines stand for the documents before, so that lines are counted as in the file.
        written = read("\n" * text.count("\n", 0, start) + text[start:end], file=str(file))
        findings += written.findings
        if written.data is None:
            continue
        if not isinstance(cast("object", written.data), dict):
            findings.append(written.found((), "a scenario is written as `key: value` lines", code="scenario"))
            continue
        yield _Document(written, _mapping(written), defaults)


def _defaults(file: Path, findings: list[Finding]) -> Written | None:
    if not file.exists():
        return None
    written = read(_text(file), file=str(file))
    found = list(written.findings)
    known = _keys(Scenario) - {"scenario"}
    for key in _mapping(written):
        if key not in known:
            text = f"there is no key {key!r} here; {did_you_mean(key, known)}"
            found.append(written.found((key,), text, code="scenario", at=written.keys.get((key,))))
    findings += [f for f in found if f not in findings]  # the defaults are read once for each file beside them
    return written


def _mapping(written: Written) -> dict[str, Any]:
    data: object = written.data
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}


def _build(document: _Document, findings: list[Finding]) -> Scenario | None:
    shared = _mapping(document.defaults) if document.defaults is not None else {}
    known = _keys(Scenario)
    data = {**{k: v for k, v in shared.items() if k in known}, **document.data}
    try:
        scenario = Scenario.model_validate(data, strict=True)
    except ValidationError as e:
        findings += _problems(e, document)
        return None
    scenario.written_at(document.found)
    return scenario


# What does not fit the model ----------------------------------------------------------------------------------------


def _problems(error: ValidationError, document: _Document) -> list[Finding]:
    seen: dict[Location, list[str]] = {}
    unknown: set[Location] = set()
    for e in error.errors(include_url=False):
        path = _as_written(e["loc"], document)
        if e["type"] == "missing":
            path = (*path, str(e["loc"][-1]))
        elif e["type"] == "extra_forbidden":
            unknown.add(path)
        text = _explained(e["type"], e["input"], e["loc"], e.get("ctx") or {}, e["msg"], path)
        if text not in seen.setdefault(path, []):
            seen[path].append(text)
    # One reading of a value that goes deeper tells more than another that stops at its door.
    kept = {p: t for p, t in seen.items() if not any(q != p and q[: len(p)] == p for q in seen) or len(p) == 0}
    return [document.found(path, " or ".join(texts), key=path in unknown) for path, texts in kept.items()]


def _as_written(loc: Location, document: _Document) -> Location:
    at: Location = ()
    for step in loc:
        further = (*at, step)
        sources = [document.written, *([document.defaults] if document.defaults is not None else [])]
        if any(further in w.keys or further in w.values for w in sources):
            at = further
    return at


def _explained(kind: str, value: Any, loc: Location, context: Mapping[str, Any], message: str, path: Location) -> str:
    if kind == "missing":
        return f"`{loc[-1]}` is missing; {_LOOKS_LIKE.get(str(loc[-1]), 'add it')}"
    if kind == "extra_forbidden":
        return f"there is no key {path[-1]!r} here; {did_you_mean(str(path[-1]), _keys(_model_at(path[:-1])))}"
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        return f"{value!r} is none of the words that can stand here; {did_you_mean(str(value), words)}"
    if kind == "value_error":
        return str(context.get("error", message))
    if kind == "string_type":
        quoted = f'; quote it: "{value}"' if isinstance(value, int | float) and not isinstance(value, bool) else ""
        return f"text stands here, not {_thing(value)}{quoted}"
    if kind == "string_pattern_mismatch":
        return f"{value!r} is no id; write letters, digits, points, hyphens and underscores"
    wanted = _WANTED.get(kind)
    return f"{wanted} stands here, not {_thing(value)}" if wanted else message


_WANTED = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "tuple_type": "a list",
}
_LOOKS_LIKE = {
    "scenario": "a scenario starts with `scenario: its-id`",
    "capability": "name the contract's capability that it is about",
    "user": 'write user: {opening: "what the user says first"}',
    "opening": 'write opening: "what the user says first"',
    "tool": "name the tool",
    "kind": "say what goes wrong, such as kind: timeout_after_commit",
    "says": "write the planted text",
}


def _thing(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list | tuple):
        return "a list"
    return "a mapping" if isinstance(value, dict) else repr(cast("object", value))


def _keys(model: type[BaseModel]) -> set[str]:
    return {f.alias or name for name, f in model.model_fields.items()}


def _model_at(path: Location) -> type[BaseModel]:
    if len(path) == 0:
        return Scenario
    parts: Mapping[str, type[BaseModel]] = {"user": UserScript, "faults": Fault, "attack": AttackSpec, "expect": Expect}
    if path[:2] == ("user", "answers") and len(path) > 2:
        return Answer
    return parts.get(str(path[0]), Scenario)


def _twice(scenarios: Sequence[Scenario]) -> Iterator[Finding]:
    first: dict[str, Scenario] = {}
    for scenario in scenarios:
        other = first.setdefault(scenario.scenario, scenario)
        if other is not scenario:
            where = other.found(("scenario",), "").file
            yield scenario.found(
                ("scenario",), f"{scenario.scenario} is the id of another one (in {where}); rename one"
            )


# What does not fit the contract or the world ------------------------------------------------------------------------


def against_contract(scenario: Scenario, contract: Contract) -> list[Finding]:
    """What a scenario names that the contract lacks."""
    found: list[Finding] = []
    name = scenario.capability
    capability = contract.capabilities.get(name)
    if capability is None:
        hint = did_you_mean(name, contract.capabilities)
        found.append(scenario.found(("capability",), f"the contract has no capability {name!r}; {hint}"))
    elif scenario.level is not None and LEVELS.index(scenario.level) > LEVELS.index(capability.autonomy.ceiling):
        text = f"{scenario.level} is above the ceiling of {name}, which is {capability.autonomy.ceiling}"
        found.append(scenario.found(("level",), text))
    if scenario.principal is not None and contract.principals:
        spec = contract.principals.get(scenario.principal)
        if spec is None:
            hint = did_you_mean(scenario.principal, contract.principals)
            found.append(
                scenario.found(("principal",), f"the contract has no principal {scenario.principal!r}; {hint}")
            )
        elif capability is not None and name not in spec.capabilities:
            found.append(scenario.found(("principal",), f"{scenario.principal} may not use {name} by the contract"))
    if scenario.subject is not None and contract.subject is None:
        found.append(scenario.found(("subject",), "the contract names no `subject`, so none can be given"))
    for fact in scenario.facts:
        if fact not in contract.facts:
            text = f"the contract has no fact {fact!r}; {did_you_mean(fact, contract.facts)}"
            found.append(scenario.found(("facts", fact), text, key=True))
    for i, fault in enumerate(scenario.faults):
        found += _about_tool(scenario, contract, ("faults", i), fault.tool, fault.field, text_only=False)
    if scenario.attack is not None:
        found += _about_tool(
            scenario, contract, ("attack",), scenario.attack.tool, scenario.attack.field, text_only=True
        )
    return found


def _about_tool(
    scenario: Scenario, contract: Contract, path: Location, tool: str, field: str | None, *, text_only: bool
) -> Iterator[Finding]:
    if tool not in contract.tools:
        yield scenario.found(
            (*path, "tool"), f"the contract has no tool {tool!r}; {did_you_mean(tool, contract.tools)}"
        )
        return
    shape = shapes_of(contract).returns[tool]
    if field is None or shape is None:
        return
    for step in field.split("."):
        while shape.type == "array" and shape.items is not None:
            shape = shape.items
        if shape.type == "any" or (shape.extra is not None and step not in shape.fields):
            return
        if step not in shape.fields:
            hint = did_you_mean(step, shape.fields, none="its result has no fields")
            yield scenario.found((*path, "field"), f"the result of {tool} has no field {step!r}; {hint}")
            return
        shape = shape.fields[step]
    if text_only and not _may_be_text(shape):
        yield scenario.found((*path, "field"), f"{field} of {tool} is no text, so nothing can be planted there")


def _may_be_text(shape: Shape) -> bool:
    return shape.type in ("string", "any")


def against_world(scenario: Scenario, world: World) -> list[Finding]:
    """What a scenario names that its world lacks."""
    found: list[Finding] = []
    expect = scenario.expect
    for table, rows in scenario.rows.items():
        found += _about_table(scenario, world, ("rows", table), table, rows)
    for table, patterns in expect.required.items():
        found += _about_table(scenario, world, ("expect", "required", table), table, _columns(patterns))
    for part, changes in (("allowed", expect.allowed), ("forbidden", expect.forbidden)):
        for table, patterns in changes.items():
            columns = () if patterns == "any" else _columns(patterns)
            found += _about_table(scenario, world, ("expect", part, table), table, columns)
    return found


def _columns(patterns: Sequence[RowPattern]) -> list[list[str]]:
    return [[*p.row, *p.was] for p in patterns]


def _about_table(
    scenario: Scenario, world: World, path: Location, table: str, rows: Iterable[Iterable[str]]
) -> Iterator[Finding]:
    known = world.tables.get(table)
    if known is None or (path[0] == "rows" and table == MAIL):
        hint = did_you_mean(table, world.tables)
        yield scenario.found(path, f"the world {world.name!r} has no table {table!r}; {hint}", key=True)
        return
    for i, columns in enumerate(rows):
        for column in columns:
            if column not in known:
                text = f"{table} has no column {column!r}; {did_you_mean(column, known)}"
                yield scenario.found((*path, i, column), text, key=True)
