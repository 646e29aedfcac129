"""The desk's agent in LangGraph: `create_agent`, guarded once."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType]  # a generic left open
from langchain_core.tools import StructuredTool

from roadworthy.adapters.langgraph import guard
from roadworthy.examples.desk.agents.start import MOST_STEPS, build_gate, description, first_message, functions
from roadworthy.examples.desk.model import PROMPT, respond
from roadworthy.examples.scripted.langgraph import model
from roadworthy.gate.run import Run
from roadworthy.trials.users import SimulatedUser


@cache
def build() -> Any:
    """The graph, behind the gate."""
    tools = [
        StructuredTool.from_function(function, name=name, description=description(name))
        for name, function in functions().items()
    ]
    graph: Any = cast("Any", create_agent)(model(respond), tools, system_prompt=PROMPT)
    return guard(graph, build_gate())


def agent(run: Run, user: SimulatedUser) -> str:
    """Settles one customer's request; its model is scripted, no language model takes part.

    Returns the last words to the customer.
    """
    start = {"messages": [{"role": "user", "content": first_message(run, user)}]}
    with run.bind():
        end = build().invoke(start, {"recursion_limit": 2 * MOST_STEPS + 1})
    return str(end["messages"][-1].text)
