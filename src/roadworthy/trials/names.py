"""Values of a trial's world in the words of its scenario: `${customer.email}` stands for what the seed made up.

A world's `seed` function returns the names that its scenarios may use. They are filled in wherever a scenario holds
text: rows, facts, the user's words, what is planted, and what is expected. Two seeds of one scenario then differ in
more than their order.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel

from roadworthy.core.errors import ScenarioError
from roadworthy.trials.scenario import Scenario

_NAME = re.compile(r"\$\{([^{}]*)\}")

Filler = Callable[[Mapping[str, str]], Any]


def fill(scenario: Scenario, names: Mapping[str, str]) -> Scenario:
    """The scenario of one trial, every `${name}` replaced; raises ScenarioError for a name that the world has not."""
    plans = vars(scenario)
    filler = plans.get("_rw_filler")
    if filler is None:
        filler = _filler(scenario) or _as_it_is(scenario)
        plans["_rw_filler"] = filler  # the plan is made once; models are frozen but for their caches
    try:
        return cast("Scenario", filler(names))
    except KeyError as e:
        raise _unknown(scenario.scenario, str(e.args[0]), names) from None


def fill_rows(rows: Mapping[str, Sequence[Mapping[str, Any]]], names: Mapping[str, str]) -> Any:
    """Rows with every `${name}` replaced. Raises ScenarioError for a name that the world does not give."""
    filler = _filler(rows)
    if filler is None:
        return rows
    try:
        return filler(names)
    except KeyError as e:
        raise _unknown("its rows", str(e.args[0]), names) from None


def _unknown(where: str, name: str, names: Mapping[str, str]) -> ScenarioError:
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; do you mean ${{{near[0]}}}?" if near else ""
    given = ", ".join(sorted(names)) or "none"
    return ScenarioError(f"scenario {where}: the world gives no ${{{name}}}{hint} It gives {given}.")


def _as_it_is(value: Any) -> Filler:
    def same(names: Mapping[str, str]) -> Any:
        del names
        return value

    return same


def _filler(value: Any) -> Filler | None:
    """A function that makes the filled value, or None where there is nothing to fill."""
    if isinstance(value, str):
        return _text_filler(value) if "${" in value else None
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        parts = _parts(fields)
        return _model_filler(value, fields, parts) if parts else None
    if isinstance(value, Mapping):
        given = cast("Mapping[Any, Any]", value)
        parts = _parts(given)
        return _mapping_filler(given, parts) if parts else None
    if isinstance(value, (list, tuple)):
        return _sequence_filler(tuple(cast("Sequence[Any]", value)))
    return None


def _parts(values: Mapping[Any, Any]) -> dict[Any, Filler]:
    found = {key: _filler(inner) for key, inner in values.items()}
    return {key: filler for key, filler in found.items() if filler is not None}


def _text_filler(text: str) -> Filler:
    pieces = _NAME.split(text)
    if len(pieces) == 1:
        return _as_it_is(text)

    def filled(names: Mapping[str, str]) -> str:
        return "".join(names[piece] if i % 2 else piece for i, piece in enumerate(pieces))

    return filled


def _model_filler(value: BaseModel, fields: dict[str, Any], parts: dict[str, Filler]) -> Filler:
    kind, given = type(value), set(value.model_fields_set)
    kept = {name: inner for name, inner in fields.items() if name not in parts}
    fillers = tuple(parts.items())

    def filled(names: Mapping[str, str]) -> BaseModel:
        # What was valid with `${...}` in it is not validated again: that would cost more than the trial.
        return kind.model_construct(given, **kept, **{name: fill_in(names) for name, fill_in in fillers})

    return filled


def _mapping_filler(value: Mapping[Any, Any], parts: dict[Any, Filler]) -> Filler:
    def filled(names: Mapping[str, str]) -> dict[Any, Any]:
        made = dict(value)
        for key, filler in parts.items():
            made[key] = filler(names)
        return made

    return filled


def _sequence_filler(values: tuple[Any, ...]) -> Filler | None:
    fillers = [_filler(inner) for inner in values]
    if not any(fillers):
        return None

    def filled(names: Mapping[str, str]) -> tuple[Any, ...]:
        return tuple(v if f is None else f(names) for v, f in zip(values, fillers, strict=True))

    return filled
