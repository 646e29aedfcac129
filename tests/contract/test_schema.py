"""The JSON Schema for editors says what the loader reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from roadworthy.contract.schema import SCHEMA_FILE, written

from .edits import REFERENCE, edited

SCHEMA = json.loads(SCHEMA_FILE.read_bytes())
EXAMPLES = sorted((Path(__file__).parents[2] / "src" / "roadworthy" / "examples").rglob("contract.yaml"))


def errors(text: str) -> list[str]:
    reader: Any = YAML(typ="safe", pure=True)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    found: Any = validator.iter_errors(reader.load(text))  # pyright: ignore[reportUnknownMemberType]  # untyped library
    return [str(error.json_path) for error in found]


def test_the_shipped_schema_is_the_model_s() -> None:
    assert SCHEMA_FILE.read_bytes() == written(), "run `python -m roadworthy.contract.schema`"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_key_is_explained() -> None:
    keys = {"Contract": SCHEMA, "Tool": SCHEMA["$defs"]["Tool"], "Rule": SCHEMA["$defs"]["Rule"]}
    silent = {
        f"{name}.{key}"
        for name, part in keys.items()
        for key, inner in part["properties"].items()
        if "description" not in inner
    }
    assert silent <= {"Rule.id", "Contract.budgets"} | {f"Tool.{key}" for key in ("idempotent", "breaker")}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.parent.name)
def test_shipped_contracts_fit(path: Path) -> None:
    assert errors(path.read_text(encoding="utf-8")) == []


def test_the_reference_contract_fits() -> None:
    assert errors(REFERENCE) == []


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("agent: hotel-desk", "agnt: hotel-desk", "$"),
        ('version: "7"', "version: 7", "$.version"),
        ("effect: compute", "effect: computes", "$.tools['hotel.nights'].effect"),
        ("timeout: 3s", "timeout: 3", "$.tools['stays.find_guest'].timeout"),
        ('min: "0.01"', "min: 0.01", "$.types.Euro.min"),
        (
            "{email: {type: string, format: email}}",
            "{email: {type: string, formt: email}}",
            "$.tools['stays.find_guest']",
        ),
        ("  stays.cancel:\n", "  stays cancel:\n", "$.tools"),
    ],
)
def test_an_editor_marks_what_the_loader_refuses(old: str, new: str, path: str) -> None:
    assert any(found.startswith(path) for found in errors(edited((old, new))))
