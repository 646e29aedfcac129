"""The desk's agent in AutoGen: an `AssistantAgent`, guarded once."""

from __future__ import annotations

from functools import cache

from autogen_agentchat.agents import AssistantAgent
from autogen_core.tools import FunctionTool

from roadworthy.adapters.autogen import guard
from roadworthy.examples.desk.agents.start import MOST_STEPS, build_gate, description, first_message, functions
from roadworthy.examples.desk.model import PROMPT, respond
from roadworthy.examples.scripted.autogen import model
from roadworthy.gate.run import Run
from roadworthy.trials.users import SimulatedUser


def build() -> AssistantAgent:
    """A fresh assistant, behind the gate. It remembers its conversation, so each trial has its own."""
    assistant = AssistantAgent(
        "desk", model(respond), tools=[*_tools()], system_message=PROMPT, max_tool_iterations=MOST_STEPS
    )
    return guard(assistant, build_gate())


@cache
def _tools() -> tuple[FunctionTool, ...]:
    return tuple(
        FunctionTool(function, name=name, description=description(name)) for name, function in functions().items()
    )


async def agent(run: Run, user: SimulatedUser) -> str:
    """Settles one customer's request; its model is scripted, no language model takes part.

    Returns the last words to the customer.
    """
    with run.bind():
        result = await build().run(task=first_message(run, user))
    return result.messages[-1].to_text()
