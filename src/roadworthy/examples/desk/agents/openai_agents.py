"""The desk's agent in the OpenAI Agents SDK, guarded once."""

from __future__ import annotations

from functools import cache
from typing import Any

from agents import Agent, RunConfig, Runner, function_tool

from roadworthy.adapters.openai_agents import guard
from roadworthy.examples.desk.agents.start import MOST_STEPS, build_gate, description, first_message, functions
from roadworthy.examples.desk.model import PROMPT, respond
from roadworthy.examples.scripted.openai_agents import model
from roadworthy.gate.run import Run
from roadworthy.trials.users import SimulatedUser


@cache
def build() -> Agent[Any]:
    """The agent, behind the gate."""
    tools = [
        function_tool(function, name_override=name, description_override=description(name), strict_mode=False)
        for name, function in functions().items()
    ]
    return guard(Agent(name="desk", instructions=PROMPT, model=model(respond), tools=[*tools]), build_gate())


async def agent(run: Run, user: SimulatedUser) -> str:
    """Settles one customer's request; its model is scripted, no language model takes part.

    Returns the last words to the customer.
    """
    with run.bind():
        result = await Runner.run(
            build(), first_message(run, user), max_turns=MOST_STEPS, run_config=RunConfig(tracing_disabled=True)
        )
    return str(result.final_output)
