"""The desk's agent in plain Python: a loop over a chat model's tool calls."""

from __future__ import annotations

from functools import cache
from typing import Any

from roadworthy.adapters.plain import back, dispatch, reply, tool_schemas
from roadworthy.examples.desk.agents.start import MOST_STEPS, UNFINISHED, build_gate, first_message
from roadworthy.examples.desk.model import PROMPT, respond
from roadworthy.gate.run import Run
from roadworthy.trials.users import SimulatedUser


@cache
def _schemas() -> list[dict[str, Any]]:
    return tool_schemas(build_gate().contract)


def agent(run: Run, user: SimulatedUser) -> str:
    """Settles one customer's request; its model is scripted, no language model takes part.

    Returns the last words to the customer.
    """
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": PROMPT},
        {"role": "user", "content": first_message(run, user)},
    ]
    for _ in range(MOST_STEPS):
        message = respond(messages, _schemas())
        messages.append(message)
        if calls := message.get("tool_calls"):
            messages += [dispatch(run, call) for call in calls]
        elif (told := reply(run, message["content"], deliver=False)).back is None:
            return told.text
        else:
            messages.append(back(told))
    return UNFINISHED
