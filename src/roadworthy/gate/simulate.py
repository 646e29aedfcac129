"""What a tool would have returned: a value of the declared shape, made up and marked as such."""

from __future__ import annotations

from typing import Any

from roadworthy.contract.shapes import Shape
from roadworthy.gate.state import SIMULATED


def simulated(shape: Shape | None, name: str = "result") -> Any:
    """A value of the shape for a write that shadow did not carry; None where there is no shape, or no honest value.

    Text says that it is simulated. Ids with a pattern, and numbers, are left out: a made-up one could pass for real.
    """
    if shape is None or shape.optional:
        return None
    if shape.type == "object":
        fields = {key: simulated(inner, key) for key, inner in shape.fields.items()}
        return {key: value for key, value in fields.items() if value is not None or not shape.fields[key].optional}
    if shape.type == "array":
        return []
    if shape.type == "string" and shape.enum is None and shape.pattern is None and shape.format is None:
        return f"{SIMULATED}{name}"
    return None
