"""Instructions planted where an agent reads: in a field of what a tool returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from roadworthy.trials.paths import changed
from roadworthy.trials.scenario import AttackSpec

Tools = Mapping[str, Callable[..., Any]]


class PoisonedTools:
    """Stand-ins of which one carries the planted text, for one trial."""

    def __init__(self, tools: Tools, attack: AttackSpec | None) -> None:
        self.planted: set[int] = set()
        """At which calls of the tool, from 1, the text was in the result."""
        self.tools: Tools = tools
        if attack is not None and attack.tool in tools:
            self.tools = {**tools, attack.tool: self._wrap(tools[attack.tool], attack)}

    def _wrap(self, tool: Callable[..., Any], attack: AttackSpec) -> Callable[..., Any]:
        calls = 0

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            value = tool(*args, **kwargs)
            if attack.call is not None and calls != attack.call:
                return value
            value, found = planted(value, attack)
            if found:
                self.planted.add(calls)
            return value

        return call


def planted(value: Any, attack: AttackSpec) -> tuple[Any, bool]:
    """The result with the attack's words in it, and whether there was a text field to put them in."""
    if attack.field is None:
        return (_joined(value, attack), True) if isinstance(value, str) else (value, False)
    hit = False

    def plant(parent: dict[str, Any], name: str) -> None:
        nonlocal hit
        if isinstance(parent[name], str) or parent[name] is None:
            parent[name] = _joined(parent[name] or "", attack)
            hit = True

    value, _ = changed(value, attack.field.split("."), plant)
    return value, hit


def _joined(text: str, attack: AttackSpec) -> str:
    if attack.position == "replace" or not text:
        return attack.says
    return f"{attack.says}\n{text}" if attack.position == "start" else f"{text}\n{attack.says}"
