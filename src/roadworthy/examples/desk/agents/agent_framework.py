"""The desk's agent in Microsoft Agent Framework, guarded once."""

from __future__ import annotations

from functools import cache
from typing import Any

from agent_framework import Agent, FunctionTool

from roadworthy.adapters.agent_framework import guard
from roadworthy.examples.desk.agents.start import MOST_STEPS, build_gate, description, first_message, functions
from roadworthy.examples.desk.model import PROMPT, respond
from roadworthy.examples.scripted.agent_framework import model
from roadworthy.gate.run import Run
from roadworthy.trials.users import SimulatedUser


@cache
def build() -> Agent[Any]:
    """The agent, behind the gate."""
    tools = [
        FunctionTool(name=name, description=description(name), func=function) for name, function in functions().items()
    ]
    client = model(respond)
    client.function_invocation_configuration["max_iterations"] = MOST_STEPS
    return guard(Agent(client, PROMPT, name="desk", tools=tools), build_gate())


async def agent(run: Run, user: SimulatedUser) -> str:
    """Settles one customer's request; its model is scripted, no language model takes part.

    Returns the last words to the customer.
    """
    with run.bind():
        result = await build().run(first_message(run, user))
    return result.text
