"""Values brought into their types."""

from __future__ import annotations

from typing import Any

import pytest

from roadworthy.contract.shapes import Shape
from roadworthy.gate.values import BadValue, compile_shape

TEXTS = Shape(type="array", items=Shape(type="string"), enum=(["a"], ["b", "c"]))
OBJECT = Shape(type="object", fields={"a": Shape(type="string")}, enum=({"a": "b"},))
ANY = Shape(type="any", enum=("a", 1))


@pytest.mark.parametrize(("shape", "value"), [(TEXTS, ["b", "c"]), (OBJECT, {"a": "b"}), (ANY, "a"), (ANY, 1)])
def test_a_member_of_an_enum_passes_whatever_its_type(shape: Shape, value: Any) -> None:
    assert compile_shape(shape)(value, "x") == value


@pytest.mark.parametrize(("shape", "value"), [(TEXTS, ["evil"]), (OBJECT, {"a": "evil"}), (ANY, "evil"), (ANY, True)])
def test_what_is_no_member_of_an_enum_is_refused_whatever_its_type(shape: Shape, value: Any) -> None:
    with pytest.raises(BadValue, match="x must be one of"):
        compile_shape(shape)(value, "x")
