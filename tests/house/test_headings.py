"""Every key, entry kind, verb and error code has a heading in the documentation."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from roadworthy import Contract
from roadworthy.cli.app import VERBS
from roadworthy.contract.model import TypeSpec
from roadworthy.core import errors
from roadworthy.core.types import Kind
from roadworthy.trials.scenario import Scenario

DOCS = Path(__file__).resolve().parents[2] / "docs"
HEADING = re.compile(r"^(#{2,4}) (.*)$", re.MULTILINE)


def sections(page: str, level: int = 2) -> Iterator[tuple[str, str]]:
    """Each heading of a page at a level, with the text below it up to the next heading of its level or above."""
    text = re.sub(r"^```.*?^```$", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = [m for m in HEADING.finditer(text) if len(m[1]) <= level]
    ends = [*(m.start() for m in found[1:]), len(text)]
    for heading, end in zip(found, ends, strict=True):
        if len(heading[1]) == level:
            yield heading[2], text[heading.end() : end]


def keys(heading: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", heading))


def written_as(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for name, info in model.model_fields.items():
        yield info.alias or name, info.annotation


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        if not isinstance(inner, typing.TypeVar):
            yield from models_in(inner)


def keys_below(annotation: Any, done: set[type[BaseModel]]) -> Iterator[str]:
    """All keys that may be written below a key, but those of types, which have a section of their own."""
    for model in models_in(annotation):
        if model in done:
            continue
        done.add(model)
        for key, inner in written_as(model):
            yield key
            yield from keys_below(inner, done)


def missing(page: str, root: type[BaseModel], *, own: type[BaseModel] | None = None) -> list[str]:
    """The keys of a model that have no heading in their section of a page."""
    said = {key: text for heading, text in sections(page) for key in keys(heading)}
    lacking: list[str] = []
    for key, annotation in written_as(root):
        if key not in said:
            lacking.append(key)
            continue
        headings = {k for m in HEADING.finditer(said[key]) for k in keys(m[2])}
        lacking += [f"{key}: {k}" for k in keys_below(annotation, {own} if own else set()) if k not in headings]
    return lacking


def test_every_contract_key_has_a_heading() -> None:
    assert not missing("contract.md", Contract, own=TypeSpec)


def test_every_key_of_a_type_has_a_heading() -> None:
    ((_, text),) = [(h, t) for h, t in sections("contract.md") if "types" in keys(h)]
    headings = {k for m in HEADING.finditer(text) for k in keys(m[2])}
    assert not [k for k in keys_below(TypeSpec, set()) if k not in headings]


def test_every_scenario_key_has_a_heading() -> None:
    assert not missing("scenarios.md", Scenario)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("ledger.md", get_args(Kind)),
        ("cli.md", tuple(f"roadworthy {verb}" for verb in VERBS)),
        (
            "errors.md",
            tuple(
                error.code
                for error in vars(errors).values()
                if isinstance(error, type) and issubclass(error, errors.RoadworthyError)
            ),
        ),
    ],
)
def test_every_name_has_a_heading(page: str, names: tuple[str, ...]) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    headings = {k for m in HEADING.finditer(text) for k in keys(m[2])}
    assert not [name for name in names if name not in headings]
    assert names
