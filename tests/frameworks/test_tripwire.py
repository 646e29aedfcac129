"""Around the gate: every tool that can be reached from the desk's agent is called by hand, in every framework."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import conforming
import pytest

from roadworthy.adapters.conformance import Adapter
from roadworthy.adapters.conformance.bench import Bench
from roadworthy.examples.desk.agents.start import build_gate, functions
from roadworthy.examples.scripted.crewai import quiet
from roadworthy.gate.gate import Gate
from roadworthy.ledger.store import Ledger

DESKS: dict[str, type[Adapter]] = {
    "langgraph": conforming.LangGraph,
    "autogen": conforming.AutoGen,
    "crewai": conforming.CrewAI,
    "openai_agents": conforming.OpenAIAgents,
    "pydantic_ai": conforming.PydanticAI,
    "agent_framework": conforming.AgentFramework,
}
OF_A_TYPE: Mapping[Any, Any] = {str: "x", int: 1, float: 1.0, bool: True}


def arguments(function: Callable[..., Any]) -> dict[str, Any]:
    """Arguments of the right types, so that nothing but the gate keeps a tool from running."""
    types = get_type_hints(function)
    needed = [
        name for name, p in inspect.signature(function).parameters.items() if p.default is inspect.Parameter.empty
    ]
    return {name: OF_A_TYPE.get(types[name], "1.00") for name in needed}


def left_alone(agent: Any, gate: Gate) -> Any:
    """What `guard` is where there is no gate."""
    return agent


class Desk:
    """A desk's agent, built of tools that only write down that they ran."""

    def __init__(self, framework: str, monkeypatch: pytest.MonkeyPatch, *, guarded: bool) -> None:
        module = importlib.import_module(f"roadworthy.examples.desk.agents.{framework}")
        self.ran: list[str] = []
        self.tools = dict(functions())
        noting = {name: self._noting(name, function) for name, function in self.tools.items()}
        monkeypatch.setattr(module, "functions", lambda: noting)
        if not guarded:
            monkeypatch.setattr(module, "guard", left_alone)
        if framework == "autogen":
            module._tools.cache_clear()
        build = inspect.unwrap(module.build)
        self.adapter = DESKS[framework]()
        self.bench = Bench(self.adapter, "async")
        with quiet():
            self.agent: Any = build()
        if framework == "autogen":
            module._tools.cache_clear()

    def _noting(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def noting(*args: Any, **kwargs: Any) -> str:
            self.ran.append(name)
            return "done"

        return noting

    def call_all(self) -> set[str]:
        """Call every tool in every way that there is; the names of those that were reached."""
        reached: set[str] = set()
        with quiet():
            for name, call in self.adapter.reach(self.agent):
                if name in self.tools:
                    reached.add(name)
                    self.bench.call(call, arguments(self.tools[name]))
        self.bench.close()
        return reached


@pytest.mark.parametrize("framework", DESKS)
class TestDesk:
    def test_every_tool_is_refused_around_the_gate(self, framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
        desk = Desk(framework, monkeypatch, guarded=True)
        assert desk.call_all() == set(desk.tools)
        assert desk.ran == []

    def test_within_a_run_nothing_runs_that_the_gate_has_not_let(
        self, framework: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk = Desk(framework, monkeypatch, guarded=True)
        with Ledger.open(":memory:") as ledger:
            gate = Gate(build_gate().contract, ledger)
            with gate.run(id="r", principal=next(iter(gate.contract.principals), None)).bind():
                assert desk.call_all() == set(desk.tools)
            tools = {e.body["id"]: e.body["tool"] for e in ledger.entries(run="r", kind="action")}
            let = [gate.contract.model_name(tools[str(e.cause)]) for e in ledger.entries(run="r", kind="intent")]
        assert sorted(desk.ran) == sorted(let)

    def test_without_a_gate_every_one_of_them_runs(self, framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
        desk = Desk(framework, monkeypatch, guarded=False)
        assert desk.call_all() == set(desk.tools)
        assert set(desk.ran) == set(desk.tools)
