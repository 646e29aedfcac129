"""The contract's format as JSON Schema, for editors: names, words and types are completed and checked while one writes.

Made from the model, with the short forms of types and the texts of the fields. `python -m roadworthy.contract.schema`
writes it anew; what it cannot say (references, conditions, traps of YAML) the loader does.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import orjson

from roadworthy.contract import model
from roadworthy.contract.model import Contract

SCHEMA_FILE = Path(__file__).with_name("contract.schema.json")
"""The schema that is shipped; a contract names it in its first line, after `# yaml-language-server: $schema=`."""

_LONG_FORM = {"anyOf": [{"required": [key]} for key in ("type", "enum", "const")]}


def json_schema() -> dict[str, Any]:
    """The schema of a contract file."""
    schema = _plain(Contract.model_json_schema(by_alias=True))
    definitions = cast("dict[str, dict[str, Any]]", schema["$defs"])
    texts = _texts()
    for name, definition in {**definitions, "Contract": schema}.items():
        definition.pop("description", None)
        fields = {f.alias or key: key for key, f in getattr(model, name).model_fields.items()}
        for key, inner in cast("dict[str, Any]", definition.get("properties", {})).items():
            text = texts.get((name, fields[key]))
            if text is not None:
                inner["description"] = text
    long_form = definitions["TypeSpec"]
    long_form["properties"]["type"] = {
        "description": "A JSON type, `decimal`, `any`, or the name of a type or entity; [string, null] for nullable.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "null"]}}],
    }
    definitions["TypeSpec"] = {
        "description": "A type: a word, a mapping with `type`, or a mapping from field names to types.",
        "type": ["string", "object"],
        "if": {"type": "object", **_LONG_FORM},
        "then": {"$ref": "#/$defs/LongForm"},
        "else": {"additionalProperties": {"$ref": "#/$defs/TypeSpec"}},
    }
    definitions["LongForm"] = long_form
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Roadworthy contract",
        "description": "What an agent is for, may do and must achieve.",
        **schema,
        "$defs": dict(sorted(definitions.items())),
    }


def _plain(node: Any) -> Any:
    """Without titles, and without null where it only means that a key is left out."""
    if isinstance(node, list):
        return [_plain(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    given = cast("dict[str, Any]", node)
    kept = {
        key: {name: _plain(inner) for name, inner in value.items()} if key in ("properties", "$defs") else _plain(value)
        for key, value in given.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and value in (None, {}, []))
    }
    options = kept.get("anyOf")
    if isinstance(options, list):
        real = [option for option in cast("list[Any]", options) if option != {"type": "null"}]
        kept["anyOf"] = real
        if len(real) == 1:
            del kept["anyOf"]
            kept = {**real[0], **kept}
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    return kept


def _texts() -> Mapping[tuple[str, str], str]:
    """The text under each field of the model, by class and field."""
    texts: dict[tuple[str, str], str] = {}
    for part in ast.parse(inspect.getsource(model)).body:
        if not isinstance(part, ast.ClassDef):
            continue
        for field, below in zip(part.body, part.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                texts[part.name, field.target.id] = inspect.cleandoc(below.value.value)
    return texts


def written() -> bytes:
    """The schema as it stands in the file."""
    return orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    SCHEMA_FILE.write_bytes(written())
