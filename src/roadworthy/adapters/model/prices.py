"""What an answer of a model used and cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from roadworthy.core.errors import UsageError, told_why
from roadworthy.gate.models import Used

_PER: Final = 1_000_000
"""Tokens that a price is for."""
_FIELDS: Final = ("input", "cached", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a million tokens of a model cost, in any currency that the contract's `model_cost` is in, too."""

    input: Decimal
    """Read by the model."""
    output: Decimal
    """Written by it."""
    cached: Decimal | None = None
    """Read, and known to it from before; as `input` unless told."""


def read_prices(path: Path) -> dict[str, Price]:
    """A YAML file of `MODEL: {input: "0.15", output: "0.60"}` a line. Raises UsageError."""
    yaml: Any = YAML(typ="safe", pure=True)
    try:
        read: object = yaml.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise UsageError(f"the prices {path} cannot be read: {told_why(error)}") from error
    if not isinstance(read, dict):
        raise UsageError(
            f'{path} holds no prices: write a line `MODEL: {{input: "0.15", output: "0.60"}}` for each model'
        )
    return {str(name): _price(path, str(name), value) for name, value in cast("dict[Any, Any]", read).items()}


def _price(path: Path, model: str, value: Any) -> Price:
    fields = cast("dict[Any, Any]", value) if isinstance(value, dict) else {}
    if not {"input", "output"} <= fields.keys() <= set(_FIELDS):
        raise UsageError(
            f"{path}: a price of {model} has input, output and, where it differs, cached; this is {value!r}"
        )
    amounts: dict[str, Decimal] = {}
    for name, amount in fields.items():
        try:
            amounts[name] = Decimal(str(amount))
        except InvalidOperation:
            amounts[name] = Decimal("NaN")
        if not amounts[name].is_finite() or amounts[name] < 0:
            raise UsageError(f"{path}: {model}.{name} is {amount!r}, and no price; write a number such as 0.15")
    return Price(input=amounts["input"], output=amounts["output"], cached=amounts.get("cached"))


def used_by(answer: Mapping[str, Any], price: Price | None) -> Used | None:
    """What an answer says that it used; None where it does not say."""
    usage = answer.get("usage")
    told: Mapping[str, Any] = cast("Mapping[str, Any]", usage) if isinstance(usage, Mapping) else {}
    read = _count(told, "prompt_tokens", "input_tokens")
    written = _count(told, "completion_tokens", "output_tokens")
    if read is None or written is None:
        return None
    model = answer.get("model")
    return Used(
        input=read,
        output=written,
        cost=None if price is None else _cost(price, read, min(_cached(told), read), written),
        model=model if isinstance(model, str) else "",
    )


def _cost(price: Price, read: int, cached: int, written: int) -> Decimal:
    known = price.input if price.cached is None else price.cached
    return ((read - cached) * price.input + cached * known + written * price.output) / _PER


def _cached(usage: Mapping[str, Any]) -> int:
    for name in ("prompt_tokens_details", "input_tokens_details"):
        details = usage.get(name)
        if isinstance(details, Mapping):
            return _count(cast("Mapping[str, Any]", details), "cached_tokens") or 0
    return 0


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = usage.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
