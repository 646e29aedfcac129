"""Whatever is done to a contract, it loads or is refused with places and cures; it never ends in another error."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from roadworthy.contract.load import load_text
from roadworthy.core.errors import ContractError, Finding

from .edits import REFERENCE

Path = tuple[Any, ...]


def _plain() -> Any:
    reader: Any = YAML(typ="safe", pure=True)
    return json.loads(json.dumps(reader.load(REFERENCE)))


DOCUMENT = _plain()


def _paths(value: Any, path: Path = ()) -> list[Path]:
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # JSON
    elif isinstance(value, list):
        inner = list(enumerate(value))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # JSON
    found = [path] if path else []
    return [*found, *(p for key, below in inner for p in _paths(below, (*path, key)))]


PATHS = _paths(DOCUMENT)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["args.x", "result", "stays.Guest", "Euro", "((", "12:30", "no", "\u202e", "1.10", "a" * 600]),
    st.sampled_from([[], {}, ["x"], [[]], {"x": "y"}, {"type": "string"}, {"": 1}, {"type": ["string", None]}]),
    st.sampled_from([{"enum": []}, {"type": "decimal", "default": 1}, {"type": "object", "properties": {"a": None}}]),
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The reference contract after one to four changes: something deleted, renamed or put in another's place."""
    document = copy.deepcopy(DOCUMENT)
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(PATHS))
        parent = document
        try:
            for step in path[:-1]:
                parent = parent[step]
            _change(draw, parent, path[-1])
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took it away
    return json.dumps(document, ensure_ascii=draw(st.booleans()))


def _change(draw: st.DrawFn, parent: Any, key: Any) -> None:
    how = draw(st.sampled_from(["delete", "rename", "replace"]))
    if how == "delete":
        del parent[key]
    elif how == "rename" and isinstance(key, str):
        parent[key + draw(st.sampled_from(["x", " ", ".y", "\x07"]))] = parent.pop(key)
    else:
        parent[key] = draw(VALUES)


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_a_changed_contract_loads_or_is_refused_in_plain_words(text: str) -> None:
    for finding in findings(text):
        assert finding.file == "mutated.yaml"
        assert finding.line is not None
        assert finding.column is not None
        for jargon in ("Input should", "pydantic", "literal_error", "validation error", "Traceback"):
            assert jargon not in finding.text


def findings(text: str) -> tuple[Finding, ...]:
    """All findings; none where the contract loads. Any other error than ContractError is the failure looked for."""
    try:
        load_text(text, file="mutated.yaml")
    except ContractError as error:
        return error.findings
    return ()
