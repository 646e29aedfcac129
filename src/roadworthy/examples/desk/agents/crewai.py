"""The desk's agent in CrewAI: a crew of one, guarded once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import Parameter, signature
from typing import Any, cast, get_type_hints

from pydantic import BaseModel, create_model

from roadworthy.examples.scripted.crewai import model, quiet  # first: it imports CrewAI without its calls home

from crewai import Agent, Crew, Task  # isort: skip
from crewai.tools import BaseTool  # isort: skip

from roadworthy.adapters.crewai import guard
from roadworthy.examples.desk.agents.start import MOST_STEPS, build_gate, description, first_message, functions
from roadworthy.examples.desk.model import PROMPT, respond
from roadworthy.gate.run import Run
from roadworthy.trials.users import SimulatedUser


class DeskTool(BaseTool):
    """One tool of the desk as CrewAI wants it."""

    function: Callable[..., Any]

    def _run(self, **args: Any) -> Any:
        return self.function(**args)


def _arguments(name: str, function: Callable[..., Any]) -> type[BaseModel]:
    """The arguments of a function as a model, which is how CrewAI tells the chat model about them."""
    types = get_type_hints(function)
    fields: dict[str, Any] = {
        key: (types[key], ... if parameter.default is Parameter.empty else parameter.default)
        for key, parameter in signature(function).parameters.items()
    }
    return create_model(name, **fields)


@cache
def build() -> Crew:
    """The crew, behind the gate. `{request}` in its task is the first message of the conversation."""
    tools: list[BaseTool] = [
        DeskTool(name=name, description=description(name), function=function, args_schema=_arguments(name, function))
        for name, function in functions().items()
    ]
    worker = Agent(
        role="Support desk",
        goal="Settle the customer's request.",
        backstory=PROMPT,
        llm=model(respond),
        tools=tools,
        max_iter=MOST_STEPS,
        verbose=False,
    )
    task = Task(description="{request}", expected_output="A short answer to the customer.", agent=worker)
    return guard(Crew(agents=[worker], tasks=[task], verbose=False), build_gate())


def agent(run: Run, user: SimulatedUser) -> str:
    """Settles one customer's request; its model is scripted, no language model takes part.

    Returns the last words to the customer.
    """
    with quiet(), run.bind():
        result = cast("Any", build()).kickoff(inputs={"request": first_message(run, user)})
    return str(result.raw)
