"""The desk's agent in CrewAI with a real model: a crew of one."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from inspect import Parameter, signature
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, Field, create_model

from roadworthy.examples.scripted.crewai import quiet  # first: it imports CrewAI without its calls home

from crewai import LLM, Agent, Crew, Task  # isort: skip
from crewai.hooks import register_before_llm_call_hook, unregister_before_llm_call_hook  # isort: skip
from crewai.tools import BaseTool  # isort: skip
from crewai.tools.tool_failure import ToolExecutionFailedError  # isort: skip

from real_model.desk import MOST_TOKENS, PROMPT, SEED, STEPS, Hands, Looping, Model, Told
from roadworthy.adapters.crewai import guard


class DeskTool(BaseTool):
    """One tool of the desk as CrewAI wants it."""

    function: Callable[..., Any]

    def _run(self, **args: Any) -> Any:
        return self.function(**args)


def _arguments(name: str, function: Callable[..., Any]) -> type[BaseModel]:
    types = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for key, parameter in signature(function).parameters.items():
        meaning = next(iter(get_args(types[key])[1:]), None)
        default = ... if parameter.default is Parameter.empty else parameter.default
        fields[key] = (types[key], Field(default, description=meaning))
    return create_model(name, **fields)


class _Counting:
    """Counts what the model is asked, and lets it be asked no more than STEPS times.

    CrewAI would otherwise ask once more, with other words and without tools.
    """

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, context: Any) -> bool | None:
        if self.calls == STEPS:
            return False
        self.calls += 1
        return None

    def __enter__(self) -> _Counting:
        register_before_llm_call_hook(self)
        return self

    def __exit__(self, *_: object) -> None:
        unregister_before_llm_call_hook(self)


def answer(model: Model, hands: Hands, request: str) -> Told:
    """Settle one customer's request. Raises Looping."""
    client = LLM(
        model=model.name,
        provider="openai",
        base_url=model.base_url,
        api_key=model.key,
        temperature=0,
        seed=SEED,
        max_tokens=MOST_TOKENS,
        timeout=model.timeout_s,
        max_retries=0,
    )
    given: list[BaseTool] = [
        DeskTool(
            name=name, description=hands.described(name), function=function, args_schema=_arguments(name, function)
        )
        for name, function in hands.tools.items()
    ]
    worker = Agent(
        role="Support desk",
        goal="Settle the customer's request.",
        backstory=PROMPT,
        llm=client,
        tools=given,
        max_iter=STEPS + 2,
        max_retry_limit=0,
        verbose=False,
    )
    task = Task(description="{request}", expected_output="A short answer to the customer.", agent=worker)
    crew = hands.guard(Crew(agents=[worker], tasks=[task], verbose=False), guard)
    # CrewAI prints a warning of its own when it is stopped in the middle.
    with quiet(), hands.bind(), _Counting() as counting, redirect_stdout(io.StringIO()):
        try:
            result = crew.kickoff(inputs={"request": request})
        except ToolExecutionFailedError as e:  # CrewAI breaks off the same call again and again
            raise Looping(counting.calls) from e
        except ValueError as e:
            if counting.calls < STEPS:
                raise
            raise Looping(counting.calls) from e
    return Told(text=str(result.raw), calls=counting.calls)
