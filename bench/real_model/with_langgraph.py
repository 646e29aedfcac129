"""The desk's agent in LangGraph with a real model."""

from __future__ import annotations

from typing import Any, cast

from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType]  # a generic left open
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI
from langgraph.errors import GraphRecursionError
from pydantic import SecretStr

from real_model.desk import MOST_TOKENS, PROMPT, SEED, STEPS, Hands, Looping, Model, Told
from roadworthy.adapters.langgraph import guard


class _Counting(BaseCallbackHandler):
    """Counts what the model is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def on_chat_model_start(self, *given: Any, **named: Any) -> None:
        self.calls += 1


def answer(model: Model, hands: Hands, request: str) -> Told:
    """Settle one customer's request. Raises Looping."""
    client = ChatOpenAI(
        model=model.name,
        base_url=model.base_url,
        api_key=SecretStr(model.key),
        temperature=0,
        seed=SEED,
        max_tokens=MOST_TOKENS,  # pyright: ignore[reportCallIssue]  # the alias that the endpoint knows
        timeout=model.timeout_s,
        max_retries=0,
    )
    given = [
        StructuredTool.from_function(function, name=name, description=hands.described(name))
        for name, function in hands.tools.items()
    ]
    graph = hands.guard(cast("Any", create_agent)(client, given, system_prompt=PROMPT), guard)
    counting = _Counting()
    start = {"messages": [{"role": "user", "content": request}]}
    try:
        with hands.bind():
            end = graph.invoke(start, {"recursion_limit": 2 * STEPS, "callbacks": [counting]})
    except GraphRecursionError as e:
        raise Looping(counting.calls) from e
    return Told(text=str(end["messages"][-1].text), calls=counting.calls)
