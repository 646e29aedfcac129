"""The desk's agent in Pydantic AI, guarded once."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic_ai import Agent, Tool, UsageLimits

from roadworthy.adapters.pydantic_ai import guard
from roadworthy.examples.desk.agents.start import MOST_STEPS, build_gate, description, first_message, functions
from roadworthy.examples.desk.model import PROMPT, respond
from roadworthy.examples.scripted.pydantic_ai import model
from roadworthy.gate.run import Run
from roadworthy.trials.users import SimulatedUser


@cache
def build() -> Agent[Any, str]:
    """The agent, behind the gate."""
    tools = [
        Tool[Any](function, takes_ctx=False, name=name, description=description(name))
        for name, function in functions().items()
    ]
    return guard(Agent(model(respond), instructions=PROMPT, tools=tools), build_gate())


async def agent(run: Run, user: SimulatedUser) -> str:
    """Settles one customer's request; its model is scripted, no language model takes part.

    Returns the last words to the customer.
    """
    with run.bind():
        result = await build().run(first_message(run, user), usage_limits=UsageLimits(request_limit=MOST_STEPS))
    return result.output
