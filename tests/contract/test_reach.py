"""Tools are found in whatever holds them; what cannot be read is named, and nothing runs away."""

from __future__ import annotations

from typing import Any

import pytest

from roadworthy.contract.reach import reach
from roadworthy.core.errors import UsageError


def find(order_no: str) -> str:
    """Find an order."""
    return order_no


def cancel(order_no: str) -> None:
    """Cancel it."""


class Holder:
    """An agent of nobody's framework."""

    def __init__(self, *tools: Any, **more: Any) -> None:
        self.tools = list(tools)
        self.__dict__.update(more)


class Asked:
    """A workbench that must be asked, and says how it was treated."""

    def __init__(self, *tools: Any, why: Exception | None = None) -> None:
        self.listed = list(tools)
        self.why = why
        self.stopped = False

    async def list_tools(self) -> list[Any]:
        if self.why is not None:
            raise self.why
        return self.listed

    async def call_tool(self, name: str) -> None: ...

    async def stop(self) -> None:
        self.stopped = True


def names(source: Any) -> list[str]:
    return [tool.name for tool in reach(source).tools]


def test_what_is_reached_twice_counts_once() -> None:
    inner = Holder(find)
    assert names([inner, Holder(find, cancel, handoffs=[inner])]) == ["find", "cancel"]


def test_agents_that_hand_over_to_each_other_end() -> None:
    first, second = Holder(find), Holder(cancel)
    first.__dict__["handoffs"], second.__dict__["handoffs"] = [second], [first]
    assert names(first) == ["find", "cancel"]


def test_two_tools_of_one_name_are_told() -> None:
    def other(text: str) -> str:
        return text

    other.__name__ = "find"
    found = reach([Holder(find), Holder(other)])
    assert [tool.name for tool in found.tools] == ["find"]
    assert found.left_out == ("another tool is called find and takes other arguments; give each its own name",)


async def test_a_workbench_is_asked_and_stopped() -> None:
    workbench = Asked({"name": "look", "parameters": {"type": "object", "properties": {}}})
    assert names(Holder(_workbench=[workbench])) == ["look"]
    assert workbench.stopped


def test_a_workbench_that_fails_is_told() -> None:
    workbench = Asked(why=ConnectionError("nobody there"))
    found = reach([workbench, find])
    assert [tool.name for tool in found.tools] == ["find"]
    assert found.left_out[0].startswith("Asked cannot be asked for its tools (ConnectionError: nobody there)")
    assert workbench.stopped


def test_what_an_agent_keeps_among_its_tools_and_is_none_is_told() -> None:
    found = reach(Holder(find, 7))
    assert [tool.name for tool in found.tools] == ["find"]
    assert found.left_out == ("int is no function here: where it runs there is no gate",)


def test_an_object_that_has_everything_comes_to_an_end() -> None:
    class Everything:
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return Everything()

    assert reach(Holder(find, agent=Everything())).tools[0].name == "find"


@pytest.mark.parametrize("what", [7, "text", None, object(), [object()], {"find": 3}])
def test_what_is_no_tool_and_has_none_is_refused(what: Any) -> None:
    with pytest.raises(UsageError, match="is no tool: give functions, tools or agents of a framework"):
        reach(what)
